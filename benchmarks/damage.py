"""What the cleaning rules do to real rows, and whether each does only that: `python -m benchmarks.damage FOLDER [SOURCE…]`.

FOLDER is a warehouse (its parse layer is read) or a folder of upstream files (they are parsed into a folder that is thrown away). Every
rule is applied to every text, in the order of the registry and in rounds, as the clean stage does. Two tables come out: the share of
rows of each source that each rule changed, and of each rule what it took and what it put in its place. And every pair of before and
after is held against what the rule is for, by a check that shares no code with the rule: `spaces` may touch nothing but blanks,
`width` nothing but full-width letters and their kin. What does not fit is a violation; there must be none.
"""

from __future__ import annotations

import argparse
import html
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import ROOT, table
from corpus.sources import resolve
from corpus.text import rules
from corpus.text.conversations import mend
from corpus.text.registry import TEXT_RULES, TURN_RULES
from corpus.text.settings import ALL_RULES, TextSettings
from corpus.text.turns import CONTINUATION

CONVERSATIONS, TEXTS = ("messages", "chosen", "rejected"), ("title", "text")
_ROUNDS = 9
_SHOWN = 4
"""Kinds of characters named for each rule."""

Talk = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Change:
    """What a rule made of a text (str) or of a conversation (its turns), and of which row of the table."""

    rule: str
    row: int
    before: Any
    after: Any


def changes(rows: pa.Table, settings: TextSettings) -> Iterator[Change]:
    """All changes that the rules make to rows of schema ROWS, rule by rule."""
    lists = {name: _whole(rows[name]) for name in CONVERSATIONS}
    lengths = {name: lists[name].value_lengths().fill_null(0).to_numpy() for name in CONVERSATIONS}
    pieces = [pl.Series(lists[name].flatten().field("content"), dtype=pl.String) for name in CONVERSATIONS]
    pieces += [pl.Series(_whole(rows[name]), dtype=pl.String) for name in TEXTS]
    every = np.arange(rows.num_rows)
    row_of = np.concatenate([*(np.repeat(every, lengths[name]) for name in CONVERSATIONS), every, every])
    texts = pl.concat(pieces)
    at = np.arange(len(texts))
    for _ in range(_ROUNDS):
        start = texts.gather(at)
        for rule in TEXT_RULES:
            before = texts.gather(at)
            after, _, _ = rules.clean(before, [rule], settings)
            new = np.flatnonzero(before.ne_missing(after).to_numpy())
            texts = texts.clone().scatter(at[new], after.gather(new))
            for i, old, made in zip(row_of[at[new]].tolist(), before.gather(new).to_list(), after.gather(new).to_list(), strict=True):
                yield Change(rule.name, i, old, made)
        at = at[start.ne_missing(texts.gather(at)).to_numpy()]
        if not len(at):
            break
    first = 0
    for name, piece in zip(CONVERSATIONS, pieces, strict=False):
        yield from _turns(lists[name], texts[first : first + len(piece)], rows["kind"], settings, name != "messages")
        first += len(piece)


def _turns(column: pa.ListArray, contents: pl.Series, kinds: pa.ChunkedArray, settings: TextSettings, continues: bool) -> Iterator[Change]:
    struct = pa.StructArray.from_arrays(
        [column.flatten().field("role"), contents.to_arrow().cast(pa.string())], fields=list(column.type.value_type)
    )
    offsets = np.concatenate([[0], np.cumsum(column.value_lengths().fill_null(0).to_numpy())]).astype(np.int32)
    now = pa.ListArray.from_arrays(pa.array(offsets), struct, type=column.type, mask=column.is_null())
    kind = pl.Series(_whole(kinds), dtype=pl.String)
    if continues:
        kind = pl.repeat(CONTINUATION, len(kind), dtype=pl.String, eager=True)
    for rule in TURN_RULES:
        after, mended = mend(now, kind, [rule], settings)
        for i in mended[rule.name].tolist():
            yield Change(rule.name, i, now[i].as_py(), after[i].as_py())
        now = after


def _whole(column: pa.ChunkedArray) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


_INVISIBLE = "[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
_BREAKS = "[\u0085\u2028\u2029]"
_BLANKS = r"[ \t\u3000\u00a0\u1680\u2000-\u200a\u202f\u205f]+"
_CONTROLS = "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]"
_TOKENS = re.compile(
    r"<\|[^|<>]*\|>|<｜[^｜<>]*｜>|</?s>|<[be]os>|<sop>|<eo[hamtcr]>|<(?:start|end)_of_turn>|\[/?INST\]|\[gMASK\]|\[EOS\]|<</?SYS>>", re.I
)
_MARKS = re.compile(r"Copy code|(?:Copy)?[0-9]+ chars / [0-9]+ words|[0-9]{1,3} / [0-9]{1,3}|Regenerate response|Share Prompt")
_NOTHING = re.compile(
    r"(?s)\s*(?:(?:input|[输輸]入)[^\n]{0,4}[:：]\s*)?\W*(?:The\W+)?(?:no.?input[^\n]{0,16}|[无無没沒不][^\n]{0,6}[输輸]入[^\n]{0,4}"
    r"|none|n/?a|null|nil|empty|无|無|空|没有|不适用)\W*",
    re.I,
)


def _bare(text: str) -> str:
    """The text without white space."""
    return "".join(text.split())


def _ink(text: str) -> str:
    """Its letters and digits."""
    return "".join(char for char in text if char.isalnum())


def _decoded(text: str) -> str:
    while (new := html.unescape(text)) != text:
        text = new
    return text


def _untagged(text: str) -> str:
    return _ink(re.sub(r"\]\(https?://[^)\s]*\)|<[^<>]*>|```[a-z+#]*\n", "", _decoded(text)))


def _wide(text: str) -> str:
    return "".join(chr(ord(char) - 0xFEE0) if "\uff01" <= char <= "\uff5e" else char for char in text)


def _narrowed(before: str, after: str) -> bool:
    """As long as before, and what differs is full-width ASCII, most of it letters and digits."""
    differ = [(a, b) for a, b in zip(before, after, strict=False) if a != b]
    return len(before) == len(after) and _wide(before) == _wide(after) and all(b.isalnum() or b in "./@-_&+=*" for _, b in differ)


def _unescaped(text: str) -> str:
    return _bare(re.sub(r'\\r\\n|\\[nrt]|(?:\\)(?=")|/n', "", text))


def _collapsed(text: str) -> str:
    return re.sub(r"([！!？?。.…～~、，,；;])\1+", r"\1", text)


def _masked(before: str, after: str) -> bool:
    """The pieces between masks stand in the text before, in order."""
    at = 0
    for piece in re.split(r"<(?:email|phone|id_number|bank_card|ip)>", after):
        at = before.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return True


def _converted(before: str, after: str) -> bool:
    han = re.compile("[\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
    return len(before) == len(after) and all(a == b or (han.match(a) and han.match(b)) for a, b in zip(before, after, strict=True))


def _unmarked(before: str, after: str) -> bool:
    """Only whole lines went, and each is a button, a count or a page number."""
    lost = Counter(map(str.strip, before.split("\n"))) - Counter(map(str.strip, after.split("\n")))
    kept = [line for line in before.split("\n") if not _MARKS.fullmatch(line.strip())]
    return all(_MARKS.fullmatch(line) for line in lost if line) and _bare("".join(kept)) == _bare(
        "".join(line for line in after.split("\n") if not _MARKS.fullmatch(line.strip()))
    )


def _read_anew(before: str, after: str) -> bool:
    """Each run beyond ASCII is as it was, or becomes what it was when its bytes are read in the wrong encoding, once or twice."""
    old, new = (re.findall(r"[^\x00-\x7f]+", text) for text in (before, after))
    if re.sub(r"[^\x00-\x7f]+", "\x00", before) != re.sub(r"[^\x00-\x7f]+", "\x00", after) or len(old) != len(new):
        return False
    return all(a == b or a in (once := _misread(b)) or any(a in _misread(each) for each in once) for a, b in zip(old, new, strict=True))


def _misread(text: str) -> set[str]:
    out = set()
    for right in ("utf-8", "gb18030", "big5"):
        data = text.encode(right, errors="replace")
        out |= {data.decode(wrong, errors="replace") for wrong in ("mac_roman", "gb18030", "gbk", "latin-1")}
        out.add("".join(bytes((byte,)).decode("cp1252", errors="ignore") or chr(byte) for byte in data))
    return out


def _placeholder(before: Talk, after: Talk) -> bool:
    if [t["role"] for t in before] != [t["role"] for t in after]:
        return False
    for old, new in zip(before, after, strict=True):
        if old != new and not (
            old["role"] == "user"
            and old["content"].startswith(new["content"])
            and _NOTHING.fullmatch(old["content"][len(new["content"]) :])
        ):
            return False
    return True


def _speech(turns: Talk) -> str:
    """All that is said, without special tokens and speakers' names."""
    text = "\n".join(turn["content"] for turn in turns)
    text = re.sub(
        r"(?m)^[ \t]*(?:(?:Human|Assistant|用户)[:：][ \t]*)+", "", _TOKENS.sub("", re.sub(r"([<\[]) (?=[|<｜/A-Za-z\[])", r"\1", text))
    )
    return _bare(text)


def _alternating(before: Talk, after: Talk) -> bool:
    """What is said now was said before, in this order; neighbours differ in role."""
    old, at = "\n\n".join(turn["content"] for turn in before), 0
    for turn in after:
        for piece in turn["content"].split("\n\n"):
            at = old.find(piece.strip(), at)
            if at < 0:
                return False
    return all(a["role"] != b["role"] for a, b in pairwise(after))


CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "mojibake": _read_anew,
    "tags": lambda a, b: _untagged(a) == _untagged(b),
    "entities": lambda a, b: _decoded(a) == _decoded(b) and len(b) < len(a),
    "escapes": lambda a, b: _unescaped(a) == _unescaped(b),
    "line_ends": lambda a, b: b == a.replace("\r\n", "\n").replace("\r", "\n"),
    "invisible": lambda a, b: re.sub(_INVISIBLE, "", re.sub(_BREAKS, "\n", a)) == re.sub(_INVISIBLE, "", b),
    "controls": lambda a, b: re.sub(_CONTROLS, "", re.sub("[\x0b\x0c]", "\n", a)) == b,
    "nfc": lambda a, b: unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b),
    "width": _narrowed,
    "repeats": lambda a, b: _collapsed(a) == _collapsed(b) and len(b) < len(a),
    # Words are neither glued together nor torn apart, and lines stay lines.
    "spaces": lambda a, b: re.sub(_BLANKS, " ", re.sub(_BLANKS + "\n", "\n", a)) == re.sub(_BLANKS, " ", re.sub(_BLANKS + "\n", "\n", b)),
    "page_marks": _unmarked,
    "trim": lambda a, b: a.strip() == b.strip() and b in a,
    "script": _converted,
    "mask": _masked,
    "placeholders": _placeholder,
    "roles": lambda a, b: _speech(a) == _speech(b),
    "alternation": _alternating,
}
"""For every rule whether a change (before, after) is of its kind. None shares code with the rule."""


@dataclass(slots=True)
class Account:
    """What was found.

    Attributes:
        rows: rows of every source.
        changed: rows that a rule changed, by (source, rule).
        texts: texts or conversations that a rule changed, by rule.
        lost, gained: characters that a rule took and put, by rule.
        violations: (source, row_id, change) for every change that is not of its rule's kind.
    """

    rows: Counter[str] = field(default_factory=Counter)
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    lost: dict[str, Counter[str]] = field(default_factory=dict)
    gained: dict[str, Counter[str]] = field(default_factory=dict)
    violations: list[tuple[str, str, Change]] = field(default_factory=list)

    def add(self, source: str, found: pa.Table, settings: TextSettings) -> None:
        """Takes rows of a source into account."""
        self.rows[source] += found.num_rows
        seen: set[tuple[str, int]] = set()
        for change in changes(found, settings):
            self.texts[change.rule] += 1
            seen.add((change.rule, change.row))
            before, after = Counter(_said(change.before)), Counter(_said(change.after))
            self.lost.setdefault(change.rule, Counter()).update(before - after)
            self.gained.setdefault(change.rule, Counter()).update(after - before)
            if not CHECKS[change.rule](change.before, change.after):
                self.violations.append((source, found["row_id"][change.row].as_py(), change))
        self.changed.update((source, rule) for rule, _ in seen)

    def show(self) -> str:
        """Both tables and the violations."""
        active = [rule for rule in ALL_RULES if self.texts[rule]]
        shares = []
        for source in sorted(self.rows):
            told = [f"{100 * n / self.rows[source]:.2f}" if (n := self.changed[source, rule]) else "" for rule in active]
            shares.append((source, f"{self.rows[source]:,}", *told))
        whole = sum(self.rows.values())
        totals = [f"{100 * sum(n for (_, r), n in self.changed.items() if r == rule) / whole:.2f}" for rule in active]
        kinds = [(rule, f"{self.texts[rule]:,}", _most(self.lost[rule]), _most(self.gained[rule])) for rule in active]
        wrong = "\n".join(f"- {source} {row_id} {c.rule}: {c.before!r:.300} → {c.after!r:.300}" for source, row_id, c in self.violations)
        return "\n\n".join((
            "Rows that a rule changed, in percent:",
            table(("source", "rows", *active), [*shares, ("all", f"{whole:,}", *totals)]),
            "What went and what came, in characters:",
            table(("rule", "texts", "went", "came"), kinds),
            f"{len(self.violations)} changes that are not of their rule's kind.",
            wrong,
        ))  # fmt: skip


def _said(what: str | Talk) -> str:
    return what if isinstance(what, str) else "\n".join(turn["content"] for turn in what)


def _most(counted: Counter[str]) -> str:
    """The most frequent kinds of characters, with their numbers."""
    kinds: Counter[str] = Counter()
    for char, n in counted.items():
        kinds[_kind(char)] += n
    return ", ".join(f"{name} {n:,}" for name, n in kinds.most_common(_SHOWN))


def _kind(char: str) -> str:
    if char.isalpha():
        name = unicodedata.name(char, "")
        return "Han" if "IDEOGRAPH" in name else "full-width letters" if name.startswith("FULLWIDTH") else "letters"
    if char.isdigit():
        return "full-width digits" if char > "\uff00" else "digits"
    if char.isascii() and char.isprintable() and char != " ":
        return f"`{char}`" if char not in "|`" else {"|": "bars", "`": "backticks"}[char]
    return f"`{char}`" if unicodedata.category(char)[0] in "PS" else f"U+{ord(char):04X}"


def account(folder: Path, sources: tuple[str, ...] = (), script: str = "simplified") -> Account:
    """Applies the rules to a warehouse, or to a folder of upstream files; to all sources when none is named."""
    with tempfile.TemporaryDirectory() as scratch:
        root = folder
        if not (folder / "parsed").is_dir():
            root = Path(scratch)
            _parse(folder, root)
        out = Account()
        for place in sorted((root / "parsed").iterdir()):
            if sources and place.name not in sources:
                continue
            settings = TextSettings(resolve(place.name).traits, script)  # type: ignore[arg-type]
            for path in sorted(place.glob("*.parquet")):
                file = pq.ParquetFile(path)
                for group in range(file.num_row_groups):
                    out.add(place.name, file.read_row_group(group), settings)
        return out


def _parse(folder: Path, root: Path) -> None:
    """Parses upstream files into `root`."""
    from corpus import pipeline
    from corpus.recipe import find, load
    from corpus.stages import parse
    from corpus.warehouse.builds import Warehouse

    context, _ = pipeline.context(load(find("everything", ROOT / "recipes")), folder, Warehouse(root).index)
    for task in parse.plan(context):
        task.run(task, root, lambda size, rows: None)


def main() -> None:
    """Prints the account of FOLDER."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.damage", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a warehouse, or a folder of upstream files")
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="only these sources")
    given = parser.parse_args()
    found = account(given.folder, tuple(given.sources))
    print(found.show())
    if found.violations:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
