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
from corpus.text.script import scripts


def as_dialogues(rows: pa.Table, most: int) -> pa.Table:
    """Gives documents (columns row_id, kind, title, text, messages) messages: a question, and an answer of at most `most` characters.

    Rows of other kinds stay as they are. Which way of asking is chosen hangs on the row alone.
    """
    at = pc.indices_nonzero(pc.equal(rows["kind"], "document")).to_pylist()
    if not at:
        return rows
    messages = rows["messages"].to_pylist()
    ids, titles, texts = (rows[name].to_pylist() for name in ("row_id", "title", "text"))
    written = scripts(pl.Series([texts[n] for n in at], dtype=pl.String)).to_list()
    for n, script in zip(at, written, strict=True):
        text = texts[n] or ""
        asked = question(titles[n] or "", int(ids[n][:8], 16), traditional=script == "hant")
        messages[n] = [{"role": "user", "content": asked}, {"role": "assistant", "content": _opening(text, most)}]
    return rows.set_column(rows.schema.get_field_index("messages"), rows.schema.field("messages"), pa.array(messages, MESSAGES))


def _opening(text: str, most: int) -> str:
    """The first sentences of a text, within `most` characters where the first one leaves any choice; all of a text without a sentence."""
    while not (found := lead(text, most)) and most < len(text):
        most *= 2
    return found or text
