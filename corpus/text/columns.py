"""The columns that are measured of every row: names, types and meanings. `measures` computes them.

They stand apart from what computes them because schemas and recipes need them, and should not need a compiler.
"""

from __future__ import annotations

import pyarrow as pa

_INT, _SHARE, _BOOL = pa.int32(), pa.float32(), pa.bool_()

MEASURES: tuple[tuple[str, pa.DataType, str], ...] = (
    ("chars", _INT, "characters of all texts of the row"),
    ("units", _INT, "Han, kana and Hangul characters, runs of other letters and runs of digits"),
    ("prompt_chars", _INT, "characters of the row but for its last answer and, in a preference, the rejected one; of a document its title"),
    ("answer_chars", _INT, "characters of the last answer; of a preference the chosen one, of a document its text; 0 where there is none"),
    ("turns", _INT, "turns of the conversation, continuations included; 0 for a document"),
    ("han_share", _SHARE, "Han characters, as a share of the characters that are not blank"),
    ("latin_share", _SHARE, "Latin letters, as a share of the characters that are not blank"),
    ("digit_share", _SHARE, "digits, as a share of the characters that are not blank"),
    ("symbol_share", _SHARE, "punctuation marks and symbols, as a share of the characters that are not blank"),
    ("script", pa.string(), "hans, hant or mixed; null for a row without Han, or Japanese or Korean more than Chinese"),
    ("language", pa.string(), "zh, en, mixed or other; null for a row without words"),
    ("replacement", _INT, "replacement characters (U+FFFD): what a broken decoder left"),
    ("lines", _INT, "lines that are not blank"),
    ("list_lines", _SHARE, "list items outside code fences, as a share of the lines"),
    ("code_lines", _SHARE, "lines inside code fences or that look like code, as a share of the lines"),
    ("ellipsis_lines", _SHARE, "lines that end in an ellipsis, as a share of the lines"),
    ("end_lines", _SHARE, "lines that end in sentence-final punctuation, as a share of the lines"),
    ("dup_lines", _SHARE, "share of the characters that are not blank in lines of 10 or more of them that the row had before"),
    ("distinct_2", _SHARE, "different pairs of units that follow one another, as a share of all such pairs; 1 when there are none"),
    ("distinct_4", _SHARE, "different sequences of four units, as a share of all of them; 1 when there are none"),
    ("top_2", _SHARE, "the most frequent pair of units, as a share of all pairs; 0 when there are none"),
    ("mean_word", _SHARE, "mean length of the words written in letters, in letters; 0 when there are none"),
    ("stop_words", _INT, "how many of 8 English and 8 Chinese function words occur"),
    ("repeat", _INT, "length in characters of the longest span that a text, or two texts of the row, hold twice"),
    ("repeat_share", _SHARE, "that length, as a share of the characters"),
    ("ends", _BOOL, "whether the last answer, or the document, ends as a finished text does; true when there is none"),
    ("truncated", _BOOL, "whether an answer breaks off at the length at which its publisher cut answers"),
    ("self_reference", _INT, "how often answers say that an AI or a language model is speaking"),
    ("identity", _INT, "how often answers say which model the assistant is, or who made it, in whichever way they say so most"),
    ("refusals", _INT, "how often answers decline in the first person"),
    ("emails", _INT, "e-mail addresses"),
    ("phones", _INT, "telephone numbers of persons or offices"),
    ("id_numbers", _INT, "Chinese identity numbers"),
    ("bank_cards", _INT, "bank card numbers"),
    ("ips", _INT, "routed IP addresses"),
    ("score", pa.float64(), "how the publisher, or its users, rate the row (stars, votes); null where the source has no such number"),
)
"""Name, type and meaning of every measure, in the order of the columns."""

SHARES = frozenset(name for name, of, _ in MEASURES if of == pa.float32() and name != "mean_word")
"""Measures that are from 0 to 1."""
WORDS = {"script": ("hans", "hant", "mixed"), "language": ("zh", "en", "mixed", "other")}
"""The values of measures that are words."""
