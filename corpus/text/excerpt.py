"""From an article to a prompt and an answer that ends at a sentence.

Public recipes cut articles after 512 characters, wherever that is, and so teach a model to stop in the middle of a word. Here the answer is
the longest beginning of whole sentences that fits; an article whose first sentence does not fit gives none.
"""

from __future__ import annotations

import re

from corpus.text.scripts import TO_TRADITIONAL, converter

_TOKENS = re.compile(r"```|\n|[（(\[［【「『“《〔]|[）)\]］】」』”》〕]|[。！？!?]+|\.+|…+")
_OPENING = frozenset("（([［【「『“《〔")
_CLOSING = frozenset("）)]］】」』”》〕")
_AFTER = "）)]］】」』”’》〕\"'"
"""What may stand between the end of a sentence and the next one, and belongs to the first."""
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff]")
_WORD_BEFORE = re.compile(r"[^\s（(\[“\"'/-]{0,12}\Z")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
"""A letter or letters with periods, as in names and `U.S.`: taken for no end of a sentence, even where it might be one."""
_ITEM = re.compile(r"(?:\A|\n) *[0-9a-zA-Z]{1,3}\Z")
"""The number of an item, before its period."""
_SHORT = (
    "mr|mrs|ms|dr|prof|st|sr|jr|gen|col|lt|sgt|capt|cmdr|adm|gov|sen|rep|rev|hon|pres|mt|ft|no|nos|vol|vols|pp|ed|eds|fig|figs|eq|sec|ch|art|"
    "vs|cf|eg|ie|viz|al|ca|approx|est|dept|univ|inc|ltd|co|corp|bros|assn|ave|blvd|rd|fl|lit|lat|op|ph|trans|pl|sing|var|sp|spp|subsp|"
    "jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun"
)
_ABBREVIATIONS = frozenset(_SHORT.split("|"))


def lead(text: str, most: int) -> str:
    """The longest beginning of `text` that consists of whole sentences.

    A sentence ends at 。！？, or at . ! ? where no abbreviation, initial, number or lower-case word says otherwise, with the closing quotes
    and brackets behind it; never in an open bracket or quotation, in a heading or in a block of code.

    Args:
        text: Markdown, as :func:`corpus.text.wikitext.extract` writes it.
        most: characters that the result may have.

    Returns:
        "" when the first sentence alone is longer.
    """
    start = len(text) - len(text.lstrip())
    limit = min(len(text), start + most)
    best = depth = 0
    in_code = False
    heading = text.startswith("#", start)
    for found in _TOKENS.finditer(text, start, limit):
        mark, at = found[0], found.end()
        if mark == "```":
            in_code = not in_code
        elif in_code:
            continue
        elif mark == "\n":
            depth = 0  # what is open at the end of a paragraph was never meant to close
            heading = text.startswith("#", at)
        elif mark in _OPENING:
            depth += 1
        elif mark in _CLOSING:
            depth = max(0, depth - 1)
        elif not heading:
            end = at
            inside = depth
            while end < len(text) and text[end] in _AFTER:
                inside -= text[end] in _CLOSING
                end += 1
            if inside <= 0 and end <= limit and _ends(text, found.start(), mark, end):
                best = end
    return text[start:best]


def _ends(text: str, start: int, mark: str, end: int) -> bool:
    """Whether the mark at `start` ends a sentence of which closing quotes and brackets reach up to `end`."""
    if text[start - 1 : start] in ("", "\n"):
        return False
    following = text[end : end + 1]
    if mark[0] in "。！？":
        return True
    if mark[0] == "…":
        return following in ("", "\n")
    if following and not following.isspace():
        return mark[0] in "!?" and _HAN.match(following) is not None
    if mark == ".":
        if _ITEM.search(text[max(0, start - 12) : start]):
            return False
        word = _WORD_BEFORE.search(text[max(0, start - 12) : start])
        before = word[0] if word is not None else ""
        # At the end of a paragraph an abbreviation ends a sentence as well.
        if following not in ("", "\n") and (_INITIALS.fullmatch(before) or before.replace(".", "").lower() in _ABBREVIATIONS):
            return False
    if following in ("", "\n"):
        return True
    after = text[end : end + 8].lstrip()
    return not after[:1].islower()


_CHINESE = (
    "请介绍一下{}。",
    "{}是什么？",
    "你了解{}吗？请详细说说。",
    "请简要说明{}。",
    "关于{}，你知道些什么？",
    "我想了解{}，能讲讲吗？",
    "用几句话解释{}。",
    "给我讲讲{}吧。",
    "什么是{}？",
    "请写一段文字介绍{}。",
    "能不能帮我科普一下{}？",
    "说说你对{}的了解。",
    "请为“{}”写一个词条的开头。",
    "“{}”指的是什么？",
    "{}这个词条讲的是什么？",
    "请概括地说明一下{}。",
    "有人问起{}，该怎么介绍？",
    "第一次听说{}，请讲得明白一些。",
    "百科全书会怎样描述{}？",
    "请回答：{}是怎么回事？",
    "帮我查一下{}的资料。",
    "{}：请给出简介。",
    "想写一篇关于{}的短文，开头怎么写？",
    "我需要一段关于{}的说明。",
)
_ENGLISH = (
    "Tell me about {}.",
    "Please explain: {}.",
    "What do you know about {}?",
    "Give me a short introduction to {}.",
    "I would like to learn about {}.",
    "Could you describe {} for me?",
    "Write an overview of {}.",
    "What should I know about {}?",
    "Can you explain the topic “{}”?",
    "Summarise {}.",
    "Write the opening of an encyclopedia entry on {}.",
    "Help me understand {}.",
    "What does “{}” refer to?",
    "I came across {} and want to know more.",
    "How would an encyclopedia describe {}?",
    "In a few sentences: {}.",
    "Please write a paragraph about {}.",
    "{} – what is meant by that?",
    "Give some background on {}.",
    "I have to present {}. How should I begin?",
    "Look up {} for me.",
    "Briefly introduce {}.",
    "Explain {} to somebody who has never heard of it.",
    "What is there to say about {}?",
)


def question(title: str, number: int, *, chinese: bool | None = None, traditional: bool = False) -> str:
    """A prompt that asks for what an article says.

    Args:
        title: of the article.
        number: which wording, any number: a hash of the row, say.
        chinese: the language of the article; None to tell by the title.
        traditional: whether a Chinese question is to be in traditional script.
    """
    if chinese is None:
        chinese = _HAN.search(title) is not None
    wordings = _CHINESE if chinese else _ENGLISH
    wording = wordings[number % len(wordings)]
    if chinese and traditional:
        wording = converter(TO_TRADITIONAL).convert(wording)
    return wording.replace("{}", title)
