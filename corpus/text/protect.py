"""What no rule may touch: code, addresses, formulas, tables.

A rule that is right for prose is wrong for code: two spaces there are an indentation, `&lt;` is what somebody asked about, `\\n` is what
the program prints. So every rule that changes characters looks only at what is left when these are taken out. In doubt a piece is
protected: prose that keeps its dirt can be read, code that lost a character cannot be run.

A rule does not get the free pieces one by one, because it would lose sight of what stands around them (a blank before a code span is no
trailing blank). It gets the whole text with one character, `STAND_IN`, in place of each protected piece.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator

import polars as pl

from corpus.text.code_lines import PROGRAMS, SQL, code_lines

STAND_IN = "\ufdd0"
"""In place of a protected piece. A noncharacter, never to be interchanged; where a text has one all the same, it is protected itself."""

_LONGEST_FENCE = 8
"""Longer fences are treated as this long, so that a search for a closing one fails for six lengths at most."""

_MAYBE = (
    r"[`$\\|@{};=<\[\]()#\x{FDD0}]|[\"'][ \t]*:|:[ \t\r]*(?:\n|\z)|//|>>>|[wW]\.|~~~|import"
    rf"|(?:^|\n)[ \t>]*(?:{SQL}|{PROGRAMS}|print|echo|puts)[ \t]"
)
"""Whether there can be a protected piece at all (a regex of polars)."""

_FENCE = re.compile(
    r"(?P<indent>^[ \t>]*+(?:[-*+][ \t]++|[0-9]{1,3}[.)、][ \t]*+)?)?+(?P<ticks>`{3,})"
    r"|^[ \t>]*+(?P<tildes>~{3,})[ \t]*+(?P<info>[A-Za-z0-9+#_.-]*+)[ \t\r]*+$",
    re.MULTILINE,
)
_TO_LINE_END = re.compile(r"[ \t\r]*+$", re.MULTILINE)

_NOT_URL = r"\s<>\"'`{}|\\^\[\]，。！？；：、（）《》〈〉「」『』“”‘’【】…\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufdd0\ufeff"
_MAIL = r"|(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)++"
_INLINE, _INLINE_OR_MAIL = (
    re.compile(
        r"(?P<escaped>\\[\\$`])"
        r"|(?P<code>`+)"
        r"|(?P<dollars>\$\$?)"
        r"|(?P<open>\\[\[(])"
        r"|\\begin\{(?P<env>[^{}\n]{1,40}+)\}"
        rf"|(?P<plain>(?:[hH][tT][tT][pP][sS]?|[fF][tT][pP][sS]?|file|wss?)://[^{_NOT_URL}]++"
        rf"|(?:www|WWW|Www)\.[A-Za-z0-9-]++\.[^{_NOT_URL}]++"
        rf"{mail}"
        r"|[A-Za-z]:\\(?<![A-Za-z0-9][A-Za-z]:\\)[^\s\"'`<>|，。；、（）]++"
        r"|\{\s*+[\"'][^{}\n]*+\}"
        r"|\ufdd0)"
        r"|(?P<raw><(?:code|pre)\b[^<>]*+>)"
        r"|(?P<tag><!--|</?[A-Za-z][A-Za-z0-9:_-]*+(?:[\s/][^<>]*+)?>)",
    )
    for mail in ("", _MAIL)
)
_HINTS = ("`", "$", "\\", "{", "<", "://", "ww.", "WW.", STAND_IN)
_PARAGRAPH = re.compile(r"\n[ \t\r]*+\n")
_ENDS = {"\\[": "\\]", "\\(": "\\)"}
_END_ENV = re.compile(r"\\end\{([^{}\n]{1,40}+)\}")
_RAW_END = re.compile(r"</(?:code|pre)\s*+>")

_TABLE_LINE = re.compile(r"^[ \t>]*+(?:\|[^|\n]*+\|[^\n]*+|\+[-=+]{3,}+[ \t\r]*+)$", re.MULTILINE)
_TABLE_RULE = re.compile(r"^[ \t>]*+\|?[ \t]*+:?-{2,}+[-:| \t]*+\r?$", re.MULTILINE)

Span = tuple[int, int]


def pieces(text: str, *, markup: bool = True) -> list[tuple[bool, str]]:
    """Splits a text into what rules may change and what they may not.

    Args:
        text: any text.
        markup: whether tags of HTML and lines that begin with one are protected. Not for the rule that removes them: it keeps only
            what stands in `<code>` and `<pre>`.

    Returns:
        (protected, piece) in order; none is empty, and together they are the text. Takes time proportional to its length.
    """
    out: list[tuple[bool, str]] = []
    at = 0
    for start, end in _spans(text, markup):
        if start > at:
            out.append((False, text[at:start]))
        out.append((True, text[start:end]))
        at = end
    if at < len(text):
        out.append((False, text[at:]))
    return out


def outside(texts: pl.Series, change: Callable[[pl.Series], pl.Series], *, markup: bool = True, tables: bool = True) -> pl.Series:
    """Changes texts outside their protected pieces.

    Args:
        texts: strings, none of them null.
        change: texts → texts; sees a `STAND_IN` for every protected piece, and must keep all of them, in their order.
        markup: as for `pieces`.
        tables: whether tables are protected. Not for a rule that changes single characters for others of their width.

    Returns:
        The texts after the change. One from which `change` took a stand-in, or to which it added one, is returned as it was.
    """
    maybe = texts.str.contains(_MAYBE)
    if not maybe.any():
        return change(texts)
    where: list[int] = []
    before: list[str] = []
    spans: list[list[Span]] = []
    at = maybe.arg_true()
    for i, text in zip(at.to_list(), texts.gather(at).to_list(), strict=True):
        found = _spans(text, markup, tables)
        if found:
            where.append(i)
            before.append(text)
            spans.append(found)
    if not where:
        return change(texts)
    covered = [_covered(text, found) for text, found in zip(before, spans, strict=True)]
    changed = change(texts.clone().scatter(where, pl.Series(covered, dtype=pl.String)))
    back = [_uncovered(text, old, found) for text, old, found in zip(changed.gather(where).to_list(), before, spans, strict=True)]
    return changed.clone().scatter(where, pl.Series(back, dtype=pl.String))


def outside_each(texts: pl.Series, change: Callable[[str], str], *, markup: bool = True) -> pl.Series:
    """As `outside`, for a change that is not made of column operations.

    What is protected is looked for only in texts that `change` would change if nothing were: it has to do nothing to the free part of a
    text when it does nothing to all of it.
    """
    values = texts.to_list()
    plain = [change(text) for text in values]
    at = [i for i, text in enumerate(values) if plain[i] != text]
    if not at:
        return texts
    changed = [plain[i] for i in at]
    maybe = texts.gather(at).str.contains(_MAYBE).to_list()
    for n, i in enumerate(at):
        spans = _spans(values[i], markup) if maybe[n] else []
        if spans:
            changed[n] = _uncovered(change(_covered(values[i], spans)), values[i], spans)
    return texts.clone().scatter(at, pl.Series(changed, dtype=pl.String))


def _uncovered(text: str, before: str, spans: list[Span]) -> str:
    """The text with its pieces in place of the stand-ins; the text as it was when there are not as many of them."""
    parts = text.split(STAND_IN)
    if len(parts) != len(spans) + 1:
        return before
    return parts[0] + "".join(before[start:end] + part for (start, end), part in zip(spans, parts[1:], strict=True))


def _covered(text: str, spans: list[Span]) -> str:
    """The text with stand-ins."""
    return STAND_IN.join(text[start:end] for start, end in _free(spans, len(text)))


def _free(spans: list[Span], length: int) -> Iterator[Span]:
    """What is before, between and behind spans; empty where they touch."""
    at = 0
    for start, end in spans:
        yield at, start
        at = end
    yield at, length


def _spans(text: str, markup: bool, tables: bool = True) -> list[Span]:
    """What is protected, as (start, end), ascending and apart from each other."""
    fences = _fences(text) if "```" in text or "~~~" in text else []
    found = list(fences)
    pattern = _INLINE_OR_MAIL if "@" in text else _INLINE
    if pattern is _INLINE_OR_MAIL or any(hint in text for hint in _HINTS):
        for start, end in _free(fences, len(text)):
            found += _inline(text, start, end, pattern, markup)
    found += code_lines(text, markup)
    if tables and ("|" in text or "+-" in text):
        found += _tables(text)
    found.sort()
    out: list[Span] = []
    for start, end in found:
        if out and (start <= out[-1][1] or (start == out[-1][1] + 1 and text[start - 1] == "\n")):
            if end > out[-1][1]:
                out[-1] = (out[-1][0], end)
        elif end > start:
            out.append((start, end))
    return out


def _fences(text: str) -> list[Span]:
    """Fenced code. A fence that is not closed goes to the end; one in the middle of a line counts as well, models write it so."""
    runs = list(_FENCE.finditer(text))
    out: list[Span] = []
    unclosed: dict[str, int] = {"`": _LONGEST_FENCE + 1, "~": _LONGEST_FENCE + 1}
    i = 0
    while i < len(runs):
        m = runs[i]
        sign, length = _fence(m)
        close: int | None = None
        if sign == "`" and i + 1 < len(runs) and runs[i + 1]["ticks"] and text.find("\n", m.end(), runs[i + 1].start("ticks")) < 0:
            close = i + 1
        elif length < unclosed[sign]:
            close = next((j for j in range(i + 1, len(runs)) if _closes(text, runs[j], sign, length)), None)
            if close is None:
                unclosed[sign] = length
        if close is None and sign == "`":
            close = next((j for j in range(i + 1, len(runs)) if runs[j]["ticks"] and _fence(runs[j])[1] >= length), None)
        if close is not None:
            end = runs[close].end()
            i = close + 1
        elif sign == "`" or m["info"]:
            end = len(text)
            i = len(runs)
        else:
            i += 1
            continue
        out.append((m.start(), end))
    return out


def _fence(m: re.Match[str]) -> tuple[str, int]:
    ticks = m["ticks"]
    return ("`", min(len(ticks), _LONGEST_FENCE)) if ticks else ("~", min(len(m["tildes"]), _LONGEST_FENCE))


def _closes(text: str, m: re.Match[str], sign: str, length: int) -> bool:
    """Whether a fence can be the end of a block: as long as the first one, and alone in its line."""
    mine, own = _fence(m)
    if mine != sign or own < length:
        return False
    return not m["info"] if sign == "~" else m["indent"] is not None and _TO_LINE_END.match(text, m.end()) is not None


def _inline(text: str, start: int, end: int, pattern: re.Pattern[str], markup: bool) -> list[Span]:
    """Code spans, formulas, addresses and tags in text[start:end], which has no fences."""
    out: list[Span] = []
    found = [m for m in pattern.finditer(text, start, end) if m.lastgroup != "escaped"]
    if not found:
        return out
    ticks: dict[int, list[int]] = {}
    closing: list[int] = []
    doubles: list[int] = []
    envs: dict[str, list[int]] = {}
    for m in found:
        if m["code"]:
            ticks.setdefault(len(m["code"]), []).append(m.start())
        elif m["dollars"] == "$$":
            doubles.append(m.start())
        elif m["dollars"]:
            at = m.start()
            if at > start and not text[at - 1].isspace() and not text[at + 1 : at + 2].isdecimal():
                closing.append(at)
    if any(m["env"] for m in found):
        for m in _END_ENV.finditer(text, start, end):
            envs.setdefault(m[1], []).append(m.end())
    breaks = [m.start() for m in _PARAGRAPH.finditer(text, start, end)] if ticks or closing else []
    without: set[str] = set()
    until = start
    for m in found:
        at = m.start()
        if at < until:
            continue
        stop: int | None = None
        kind = m.lastgroup
        if kind == "plain":
            stop = m.end()
        elif kind == "tag":
            if markup:
                stop = m.end()
        elif kind == "raw":
            stop = _find(_RAW_END, text, m.end(), end, without)
            if stop is None and markup:
                stop = m.end()
        elif kind == "code":
            size = len(m["code"])
            stop = _next(ticks[size], m.end(), breaks)
            stop = stop + size if stop is not None else None
        elif kind == "dollars" and len(m["dollars"]) == 2:
            place = bisect_left(doubles, m.end())
            stop = doubles[place] + 2 if place < len(doubles) else None
        elif kind == "dollars":
            if not text[m.end() : m.end() + 1].isspace():
                stop = _next(closing, m.end() + 1, breaks)
                stop = stop + 1 if stop is not None else None
        elif kind == "open":
            sign = _ENDS[m["open"]]
            if sign not in without:
                place = text.find(sign, m.end(), end)
                stop = place + 2 if place >= 0 else None
                if stop is None:
                    without.add(sign)
        elif m["env"]:
            ends = envs.get(m["env"], [])
            place = bisect_left(ends, m.end())
            stop = ends[place] if place < len(ends) else None
        if stop is not None:
            out.append((at, stop))
            until = stop
    return out


def _next(places: list[int], after: int, breaks: list[int]) -> int | None:
    """The first place at or after `after` that is in the same paragraph."""
    place = bisect_left(places, after)
    if place == len(places):
        return None
    stop = bisect_left(breaks, after)
    return places[place] if stop == len(breaks) or places[place] < breaks[stop] else None


def _find(pattern: re.Pattern[str], text: str, start: int, end: int, without: set[str]) -> int | None:
    """The end of the first match, or None; that there was none is remembered in `without`."""
    if pattern.pattern in without:
        return None
    m = pattern.search(text, start, end)
    if m is None:
        without.add(pattern.pattern)
        return None
    return m.end()


def _tables(text: str) -> list[Span]:
    """Lines of Markdown tables and of tables that are drawn with characters."""
    out = [m.span() for m in _TABLE_LINE.finditer(text)]
    until = -1
    for m in _TABLE_RULE.finditer(text):
        if "|" not in m[0] or m.start() < until:
            continue
        start, end = m.span()
        head = text.rfind("\n", 0, max(start - 1, 0)) + 1
        if start and "|" in text[head:start]:
            start = head
        while end < len(text):
            line = text.find("\n", end + 1)
            line = line if line >= 0 else len(text)
            if "|" not in text[end:line]:
                break
            end = line
        out.append((start, end))
        until = end
    return out
