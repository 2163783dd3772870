"""stub"""
def lead(text, most): return text[:most]
def first(text): return text
def question(title, number): return title
