"""What is measured of every row, dropped or not: signals of quality from which the filter stage decides by thresholds.

A measure judges nothing and needs no model: the same row has the same numbers everywhere, every threshold can be changed without
measuring again, and the ledger can say by which number a row fell. They are signals that made web corpora usable for training, with
their unit of counting exchanged: where those papers split English at spaces into words, one Han, kana or Hangul character is a unit, a
run of other letters is one, and a run of digits (see `counting`); their thresholds on words do not carry over to characters as they are.

- Gopher (Rae et al. 2021, arXiv 2112.11446, A1.1): numbers of words, mean word length, symbols to words, shares of lines that begin with a
  bullet or end in an ellipsis, at least two stop words (the English eight; as many Chinese function words were added), characters in
  duplicate lines, most frequent n-gram. Here the mean length is that of words in letters only, list items also have Chinese numbering,
  and all signs of punctuation and symbols count, not `#` and the ellipsis alone.
- C4 (Raffel et al. 2020, arXiv 1910.10683): lines end in terminal punctuation; here also 。！？… and their kin, quotes and brackets after
  them aside.
- FineWeb (Penedo et al. 2024, arXiv 2406.17557): the share of lines that end so, and of characters in repeated lines.
- RedPajama-V2 (Weber et al. 2024, arXiv 2411.12372): signals are kept with every document, and decisions are left to the user. Its ratio
  of unique words became distinct-n (Li et al. 2016, arXiv 1510.03055) for 2 and 4 units, because single Chinese characters recur anyway.

For chat there are more: the lengths of question and answer, the longest repeated span, whether the last answer is finished, phrases in
which a model speaks of itself, says its name or declines, personal data, and the rating that comes with a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from corpus.text import characters, identity, marks, phrases
from corpus.text.columns import MEASURES
from corpus.text.counting import COLUMNS, count, stops
from corpus.text.language import languages_of
from corpus.text.personal import counts, suspects
from corpus.text.script import scripts_of
from corpus.text.settings import TextSettings
from corpus.text.units import Units, units_of

_PERSONAL = {"emails": "email", "phones": "phone", "id_numbers": "id_number", "bank_cards": "bank_card", "ips": "ip"}
_CAP_MARGIN = 2  # publishers cut before or after trimming


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as flat columns.

    Attributes:
        texts: all texts of all rows, in order: turns, or title and text; none is null.
        roles: of every text: system, user, assistant, chosen, rejected, title or text.
        rows: the row of every text, ascending (int64).
        count: number of rows, those without a text included.
        answers: whether the text is one that a model would learn (bool): an assistant's turn, a chosen answer, a document's text.
        scores: how the publisher rates every row (float64), not a number where it does not; None for a source without.
    """

    texts: pl.Series
    roles: pl.Series
    rows: np.ndarray
    count: int
    answers: np.ndarray
    scores: np.ndarray | None = None


def measure(rows: Rows, settings: TextSettings, utf8: tuple[np.ndarray, np.ndarray] | None = None) -> dict[str, pa.Array]:
    """Measures rows.

    Args:
        rows: what to measure.
        settings: `traits.cap` says where the publisher cut answers.
        utf8: the texts as `marks.utf8` gives them, where that is known already.

    Returns:
        For every name in MEASURES an array of its type, one value for every row; only script, language and score may be null.
    """
    offsets, data = utf8 or marks.utf8(rows.texts)
    first = np.searchsorted(rows.rows, np.arange(rows.count + 1)).astype(np.int64)
    counted, lengths, ended = count(offsets, data, first, characters.table(), *stops())
    n = dict(zip(COLUMNS, counted.T, strict=True))
    out = {name: n[name] for name in ("chars", "units", "replacement", "lines", "stop_words", "repeat")}
    for name, part in (("han_share", "han"), ("latin_share", "latin"), ("digit_share", "digits"), ("symbol_share", "symbols")):
        out[name] = _share(n[part], n["visible"])
    for name in ("list_lines", "code_lines", "ellipsis_lines", "end_lines"):
        out[name] = _share(n[name], n["lines"])
    out["dup_lines"] = _share(n["dup_chars"], n["visible"])
    out["distinct_2"] = _share(n["distinct_2"], n["grams_2"], 1)
    out["distinct_4"] = _share(n["distinct_4"], n["grams_4"], 1)
    out["top_2"] = _share(n["top_2"], n["grams_2"])
    out["mean_word"] = _share(n["word_chars"], n["words"])
    out["repeat_share"] = _share(n["repeat"], n["chars"])
    turns = ~rows.roles.is_in(["title", "text"]).to_numpy()
    out["turns"] = np.bincount(rows.rows[turns], minlength=rows.count)
    out |= _lengths(rows, lengths)
    out |= _endings(rows, lengths, ended, settings.traits.cap)
    out |= _phrases(rows)
    personal = counts(rows.texts, suspects(offsets, data))
    out |= {name: _sum(personal[kind], rows.rows, rows.count) for name, kind in _PERSONAL.items()}
    whole = _words(rows, first, units_of(offsets, data))
    whole["score"] = pa.nulls(rows.count, pa.float64()) if rows.scores is None else pa.array(rows.scores, pa.float64(), from_pandas=True)
    return {name: whole[name] if name in whole else pa.array(out[name].astype(of.to_pandas_dtype()), of) for name, of, _ in MEASURES}


def _words(rows: Rows, first: np.ndarray, counted: Units) -> dict[str, pa.Array]:
    """Script and language of every row, by all its texts together. `first`: the first text of every row, and their number."""
    found = counted.of_rows(rows.rows, rows.count)

    def together(at: np.ndarray) -> pl.Series:
        texts = [" ".join(rows.texts[start:end].to_list()) for start, end in zip(first[at].tolist(), first[at + 1].tolist(), strict=True)]
        return pl.Series(texts, dtype=pl.String)

    of = {"script": scripts_of(found), "language": languages_of(found, together)}
    return {name: series.cast(pl.String).to_arrow().cast(pa.string()) for name, series in of.items()}


def _share(part: np.ndarray, whole: np.ndarray, nothing: float = 0) -> np.ndarray:
    """part / whole, rounded once from float64 to float32; `nothing` where there is no whole."""
    return np.where(whole > 0, part / np.maximum(whole, 1), nothing).astype(np.float32)


def _sum(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """The sum of the values of every row: int64. Doubles hold them exactly."""
    some = np.flatnonzero(values)
    return np.bincount(rows[some], weights=values[some], minlength=count).astype(np.int64)


def _lengths(rows: Rows, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Characters of the last answer of every row, and of what is neither that nor rejected."""
    answers = np.flatnonzero(rows.answers)
    last = np.full(rows.count, -1)
    last[rows.rows[answers]] = answers  # of several the last one stays
    has = np.flatnonzero(last >= 0)
    asked = (rows.roles != "rejected").to_numpy()
    asked[last[has]] = False
    answer = np.zeros(rows.count, dtype=np.int64)
    answer[has] = lengths[last[has]]
    return {"prompt_chars": _sum(np.where(asked, lengths, 0), rows.rows, rows.count), "answer_chars": answer}


def _endings(rows: Rows, lengths: np.ndarray, ended: np.ndarray, cap: int | None) -> dict[str, np.ndarray]:
    """`ends` of the last answer of every row, and `truncated`."""
    ends = np.ones(rows.count, dtype=bool)
    truncated = np.zeros(rows.count, dtype=bool)
    answers = np.flatnonzero(rows.answers)
    ends[rows.rows[answers]] = ended[answers]  # of several the last one stays
    if cap is not None:
        cut = answers[~ended[answers] & (np.abs(lengths[answers] - cap) <= _CAP_MARGIN)]
        truncated[rows.rows[cut]] = True
    return {"ends": ends, "truncated": truncated}


def _phrases(rows: Rows) -> dict[str, np.ndarray]:
    answers = np.flatnonzero(rows.answers)
    texts = rows.texts.gather(answers)
    found = {**phrases.counts(texts), "identity": identity.statements(texts)}
    return {name: _sum(values, rows.rows[answers], rows.count) for name, values in found.items()}
