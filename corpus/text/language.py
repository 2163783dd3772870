"""stub"""
import numpy as np, polars as pl
from corpus.text.units import units
LANGUAGES = ("zh", "en", "mixed", "other")
def languages(texts):
    u = units(texts); return languages_of(u, texts)
def languages_of(u, texts):
    return pl.Series(["zh"]*len(texts))
