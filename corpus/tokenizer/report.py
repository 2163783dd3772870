"""Tokenizers side by side: for the terminal, for a program, for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from corpus.console import OUT, table, to_json
from corpus.splits.card import plain
from corpus.tokenizer.extra import INSTALL
from corpus.tokenizer.load import Loaded
from corpus.tokenizer.measure import Figures, Measured, measure
from corpus.tokenizer.sizes import sized
from corpus.tokenizer.vocabulary import SCRIPTS, Token

_SHOWN = 3
"""Longest tokens of a script, and unused ones, in a table; JSON has more."""
_CHARS = 32
_LINE = {"\n": "\\n", "\r": "\\r", "\t": "\\t", " ": "␣"}
_FIGURES = (
    ("bytes/token", "bytes_per_token", "{:.3f}"),
    ("chars/token", "chars_per_token", "{:.3f}"),
    ("tokens/word", "fertility", "{:.3f}"),
    ("unknown ‰", "unknown_share", "{:.3f}"),
    ("partial ‰", "partial_share", "{:.2f}"),
    ("exact %", "exact_share", "{:.2f}"),
)
_SCALE = {"unknown_share": 1000, "partial_share": 1000, "exact_share": 100}


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured of some tokenizers on the same text.

    Attributes:
        about: where the text is from.
        segmenter: what cut Chinese into words; empty where nothing did, and Chinese words were not counted.
        tokenizers: the tokenizers, in the order in which they were named.
    """

    about: str
    segmenter: str
    tokenizers: tuple[Measured, ...]


def report(tokenizers: Iterable[Loaded], rows: pl.DataFrame, about: str, tell: Callable[[str], None] = lambda name: None) -> Report:
    """Measures tokenizers on held-out rows.

    Args:
        tokenizers: what `load` gives; a generator keeps one in memory at a time.
        rows: columns row_id, source, language (zh, en, other) and text.
        about: where the rows are from, in a few words.
        tell: called with the name of each tokenizer before it is measured.

    Raises:
        UsageError: when the rows have no text.
    """
    held = sized(rows)
    found = []
    for loaded in tokenizers:
        tell(loaded.name)
        found.append(measure(loaded, held))
    return Report(about, held.segmenter, tuple(found))


def as_json(made: Report) -> str:
    """The report as JSON, without a line end behind: every count and every ratio."""
    return to_json({"about": made.about, "segmenter": made.segmenter or None, "tokenizers": [_told(m) for m in made.tokenizers]})


def as_table(made: Report) -> None:
    """Prints the report."""
    for number, (title, columns, lines, right) in enumerate(_tables(made)):
        if number:
            OUT.print()
        table(columns, lines, title=title, right=right)
    OUT.print()
    for note in _notes(made):
        OUT.print(note, markup=False)


def as_markdown(made: Report) -> str:
    """The report as a part of a page, without a line end behind, from headings of the third level down."""
    lines: list[str] = []
    for title, columns, rows, right in _tables(made):
        lines += [f"### {plain(title[:1].upper() + title[1:])}", "", f"| {' | '.join(plain(c) for c in columns)} |"]
        lines.append(f"| {' | '.join('---:' if c in right else '---' for c in columns)} |")
        # Numbers are ours; all else may be anybody's.
        shown = ([_cell(v) if c in right else plain(_cell(v)) for c, v in zip(columns, row, strict=True)] for row in rows)
        lines += [f"| {' | '.join(row)} |" for row in shown]
        lines.append("")
    return "\n".join([*lines, *(f"- {plain(note)}" for note in _notes(made))])


_Table = tuple[str, list[str], list[list[Any]], set[str]]


def _tables(made: Report) -> list[_Table]:
    names = short_names(made.tokenizers)
    return [
        _overview(made, names),
        _figures("by language", "language", [list(m.languages.items()) for m in made.tokenizers], names),
        _figures("by source", "source", [list(m.sources.items()) for m in made.tokenizers], names),
        _vocabulary(made, names),
        _longest(made, names),
        _unused(made, names),
        *_failed(made, names),
    ]


def _overview(made: Report, names: list[str]) -> _Table:
    columns = ["tokenizer", "what it is", "vocabulary", *(title for title, _, _ in _FIGURES), "probes exact", "unused %", "MB/s"]
    lines = [
        [
            name, m.what, m.size, *_ratios(m.everything), f"{sum(p.exact for p in m.probes)}/{len(m.probes)}",
            f"{100 * m.vocabulary.unused / max(1, m.vocabulary.usable):.1f}", f"{m.speed:.2f}",
        ]
        for name, m in zip(names, made.tokenizers, strict=True)
    ]  # fmt: skip
    return f"all of {made.about}", columns, lines, set(columns[2:])


def _figures(title: str, group: str, found: list[list[tuple[str, Figures]]], names: list[str]) -> _Table:
    """A line for each group and tokenizer, those of one group together."""
    columns = [group, "rows", "bytes", "tokenizer", "tokens", *(title for title, _, _ in _FIGURES)]
    lines = [
        [key, f.rows, f.bytes, name, f.tokens, *_ratios(f)] if first else ["", "", "", name, f.tokens, *_ratios(f)]
        for side_by_side in zip(*found, strict=True)
        for first, name, (key, f) in zip([True] + [False] * len(names), names, side_by_side, strict=False)
    ]
    return title, columns, lines, set(columns) - {group, "tokenizer"}


def _vocabulary(made: Report, names: list[str]) -> _Table:
    lines: list[list[Any]] = [
        [script, *counts] for script in SCRIPTS if any(counts := [m.vocabulary.scripts[script] for m in made.tokenizers])
    ]
    return "tokens by script", ["script", *names], lines, set(names)


def _longest(made: Report, names: list[str]) -> _Table:
    lines: list[list[Any]] = [
        [script, *(_tokens(m.vocabulary.longest.get(script, ())) for m in made.tokenizers)]
        for script in SCRIPTS
        if any(script in m.vocabulary.longest for m in made.tokenizers)
    ]
    return "longest tokens", ["script", *names], lines, set()


def _unused(made: Report, names: list[str]) -> _Table:
    lines: list[list[Any]] = [
        [name, m.vocabulary.usable, m.vocabulary.unused, _tokens(m.vocabulary.examples, 4 * _SHOWN)]
        for name, m in zip(names, made.tokenizers, strict=True)
    ]
    return (
        "tokens that this text does not use",
        ["tokenizer", "not special", "unused", "the first of them"],
        lines,
        {"not special", "unused"},
    )


def _failed(made: Report, names: list[str]) -> list[_Table]:
    lines: list[list[Any]] = [
        [probes[0].name, *("exact" if p.exact else "changed" for p in probes)]
        for probes in zip(*(m.probes for m in made.tokenizers), strict=True)
        if not all(p.exact for p in probes)
    ]
    return [("probes that do not come back as they were", ["probe", *names], lines, set())] if lines else []


def _notes(made: Report) -> list[str]:
    uncounted = f"Chinese ones are not counted ({INSTALL})"
    chinese = f"in Chinese those of {made.segmenter}" if made.segmenter else uncounted
    return [
        f"words: in English what white space separates; {chinese}; other rows, mixed ones among them, have none here",
        "unknown and partial: of 1,000 tokens; partial are those that are a part of a character, or one byte that is fallen back to",
        "exact: rows that decode to what they were; MB/s: texts to ids in batches of 1 MB, in a second of one processor of this machine",
    ]


def _ratios(figures: Figures) -> list[str]:
    values = [(getattr(figures, attribute), _SCALE.get(attribute, 1), form) for _, attribute, form in _FIGURES]
    return ["–" if value is None else form.format(_below(value, scale)) for value, scale, form in values]


def _below(value: float, scale: int) -> float:
    """A share that is not quite all is not shown as all: 99.99, never 100.00."""
    return min(value * scale, 99.99) if scale == 100 and value < 1 else value * scale


def short_names(tokenizers: Sequence[Measured]) -> list[str]:
    """What each is called in tables: short where that is enough to tell them apart, and different in any case."""
    # A file that is always called so says nothing; its folder does.
    places = [m.name.rstrip("/").removesuffix("/tokenizer.json").removesuffix("/tokenizer.model").split("/") for m in tokenizers]
    names = ["/".join(place) for place in places]
    for length in range(max(map(len, places), default=0), 0, -1):
        ends = ["/".join(place[-length:]) for place in places]
        names = [end if ends.count(end) == names.count(name) else name for end, name in zip(ends, names, strict=True)]
    return [n if names.count(n) == 1 else f"{n} ({names[: i + 1].count(n)})" for i, n in enumerate(names)]


def _tokens(tokens: Sequence[Token], most: int = _SHOWN) -> str:
    return "  ".join(_token(t.text) for t in tokens[:most])


def _token(text: str) -> str:
    """A token as a person can see it: white space as signs, a long one cut, one of a single character that repeats as how many."""
    if len(text) > 4 and text == text[0] * len(text):
        return f"{_visible(text[0])}×{len(text)}"
    return _visible(text) if len(text) <= _CHARS else f"{_visible(text[:_CHARS])}…"


def _visible(text: str) -> str:
    return "".join(_LINE.get(char, char if char.isprintable() else f"\\u{{{ord(char):x}}}") for char in text)


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _told(m: Measured) -> dict[str, Any]:
    shape = m.vocabulary
    return {
        "name": m.name,
        "what": m.what,
        "size": m.size,
        "megabytes_per_second": round(m.speed, 4),
        "all": _counts(m.everything),
        "languages": {name: _counts(f) for name, f in m.languages.items()},
        "sources": {name: _counts(f) for name, f in m.sources.items()},
        "probes": {p.name: {"tokens": p.tokens, "exact": p.exact} for p in m.probes},
        "vocabulary": {
            "scripts": shape.scripts,
            "longest": {name: [asdict(t) for t in tokens] for name, tokens in shape.longest.items()},
            "usable": shape.usable,
            "unused": shape.unused,
            "unused_examples": [asdict(p) for p in shape.examples],
        },
    }


def _counts(figures: Figures) -> dict[str, Any]:
    return {**asdict(figures), **{attribute: getattr(figures, attribute) for _, attribute, _ in _FIGURES}}
