"""Articles as questions and answers, for models that learn text to text: asked about its title, an article answers with its first
sentences.

An answer ends where a sentence ends. When the first sentence alone is longer than the budget, it is the answer all the same: a row is
never cut, and a row that was allocated is never lost.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from corpus.schema import MESSAGES
from corpus.text.excerpt import lead, question
from corpus.text.language import languages_of
from corpus.text.script import scripts_of
from corpus.text.units import units


def as_dialogues(rows: pa.Table, most: int) -> pa.Table:
    """Gives documents (columns row_id, kind, title, text, messages) messages: a question, and an answer of at most `most` characters.

    Rows of other kinds stay as they are. Which way of asking is chosen hangs on the row alone; its language and script are the article's,
    so that a Chinese article on FORTRAN is asked for in Chinese. The title decides where the text is neither Chinese nor English.
    """
    at = pc.indices_nonzero(pc.equal(rows["kind"], "document")).to_pylist()
    if not at:
        return rows
    messages = rows["messages"].to_pylist()
    ids, titles, texts = (rows[name].to_pylist() for name in ("row_id", "title", "text"))
    articles = pl.Series([texts[n] or "" for n in at], dtype=pl.String)
    counted = units(articles)
    for n, text, script, language in zip(at, articles, scripts_of(counted), languages_of(counted, articles.gather), strict=True):
        asked = question(titles[n] or "", int(ids[n][:8], 16), chinese=_CHINESE.get(language), traditional=script == "hant")
        messages[n] = [{"role": "user", "content": asked}, {"role": "assistant", "content": _opening(text, most)}]
    return rows.set_column(rows.schema.get_field_index("messages"), rows.schema.field("messages"), pa.array(messages, MESSAGES))


_CHINESE = {"zh": True, "en": False}
"""The languages that decide in which one an article is asked for."""


def _opening(text: str, most: int) -> str:
    """The first sentences of a text, within `most` characters where the first one leaves any choice; all of a text without a sentence."""
    while not (found := lead(text, most)) and most < len(text):
        most *= 2
    return found or text
