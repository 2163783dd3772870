"""What a source is, and how its records become rows.

A source is mostly a declaration: its name, address, licence and file patterns, the *format* that turns the bytes of a file
into records (:mod:`corpus.sources.framing`), and a *parse* function that turns one decoded record into rows by calling an
:class:`Emit`. Formats that share a shape share a parse function (:mod:`corpus.sources.shapes`).

Nothing is lost: a parse function either emits at least one row for a record or raises :class:`Reject`; a `KeyError`, `TypeError`,
`ValueError`, `IndexError` or `AttributeError` that hostile data provokes becomes a reject with reason `shape`. What the publisher
says beyond the canonical row goes to `meta`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import orjson
import pyarrow as pa

from corpus.schema import MESSAGES, Kind
from corpus.text.settings import Traits

Message = tuple[str, str]
"""(role, content); role is one of `schema.ROLES`."""

Meta = dict[str, Any] | None
"""What the publisher says of a row beyond its canonical columns."""

RAW_BOUND = 4096
"""Bytes of a rejected record that are kept. Enough to see what is wrong; a broken 100 MB record must not fill the warehouse."""

_MOST_DETAIL = 500


class Reject(Exception):
    """Raised by a parse function: the record cannot become a row. `reason` is a key of `schema.REJECT_REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail[:_MOST_DETAIL]


@dataclass(slots=True)
class Rejected:
    """A rejected record as it goes to the `rejects` table."""

    record: int
    offset: int | None
    length: int | None
    reason: str
    detail: str
    raw: bytes


@dataclass(slots=True)
class Frame:
    """A run of upstream records of one file, decoded but not interpreted. Frames of a file come in file order.

    Attributes:
        values: one decoded record each (a dict for JSON, CSV, parquet and XML records, a str for lines of text).
        ordinals: the 0-based ordinal of each in its file; for line formats the line on which it begins.
        offsets, lengths: where each is, in bytes of the decompressed file (after transcoding to UTF-8 where the file is UTF-16);
            None for formats without bytes of their own (parquet).
        groups: position in `values` → all the ordinals, for a value that folds several records.
        notes: position in `values` → how a damaged record was recovered.
        rejects: records in this stretch of the file that could not be decoded.
        raws: position in `values` → the record's bytes, only where they are at hand for nothing; others are read again if rejected.
        records: how many upstream records this frame accounts for: counted by the framer, independently of rows and rejects.
        bytes: bytes of the file on disk consumed since the last frame, for progress.
        header: what the file says of all its records, the same object in every frame; no part of any record.
    """

    values: list[Any] = field(default_factory=list)
    ordinals: Sequence[int] = field(default_factory=list)
    offsets: Sequence[int] | None = None
    lengths: Sequence[int] | None = None
    groups: dict[int, list[int]] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    rejects: list[Rejected] = field(default_factory=list)
    raws: Sequence[bytes] | None = None
    records: int = 0
    bytes: int = 0
    header: Any = None


@dataclass(frozen=True, slots=True)
class Files:
    """A glob over relative paths, with what the place of a file says about its records.

    A pattern matches the *tail* of a path: `train_2M_CN*` matches that name in any folder, `medmcqa/dev.json` that file in
    any folder called medmcqa. `*` and `?` stop at a slash, `**/` matches any number of folders.
    """

    glob: str
    subset: str | None = None
    split: str | None = None

    def matches(self, path: str) -> bool:
        """Whether the relative POSIX `path` matches."""
        return _match(("**", *self.glob.split("/")), tuple(path.split("/")))

    @property
    def weight(self) -> tuple[int, int]:
        """How specific the pattern is: literal characters first, then folders. The most specific source gets a file."""
        return sum(c not in "*?[]" for c in self.glob), self.glob.count("/")


def _match(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_match(pattern[1:], path[i:]) for i in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and _match(pattern[1:], path[1:])


@dataclass(frozen=True, slots=True)
class Hub:
    """Where `corpus fetch` finds a source on the Hugging Face hub, and where its files go under `--data`.

    `files` are globs within the repository; a file keeps its path, below `folder`.
    """

    repo: str
    files: tuple[str, ...] = ("*",)
    kind: str = "dataset"
    revision: str = "main"


class Parse(Protocol):
    """Turns one decoded record into rows, by calling `emit`; raises Reject when it cannot."""

    def __call__(self, record: Any, emit: Emit, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A data set that Yuliao reads in its publisher's own format.

    Attributes:
        name: lower case, digits, dots and hyphens, without the words train, test, dev, eval and validation (loaders guess splits
            from file names).
        about: one line in English: what it is.
        address: where the publisher describes or hands it out.
        license: the terms as the publisher states them.
        folder: the folder below `--data` into which `corpus fetch` puts it.
        files: which files are its own.
        parse: turns a record into rows.
        format: name of the framing (see `framing.FORMATS`), or a framer of the source's own.
        kinds: what it yields.
        languages: ISO codes.
        hub: where `corpus fetch` gets it; None when it is not on a hub.
        obtain: for a person: how to get the files, when `hub` is None.
        version: raise it when parse or format changes what comes out.
        by_script: for a source whose markup says how it reads in either Chinese script: the parse function for one of them (keep,
            simplified, traditional).
        traits: what its texts are known for; cleaning rules go by it.
        key: what of its rows is compared with other rows when duplicates are looked for: whole, prompt, answer, or
            exact for rows that are alike by design, of which only equal ones are duplicates.
    """

    name: str
    about: str
    address: str
    license: str
    folder: str
    files: tuple[Files, ...]
    parse: Parse
    format: str | Callable[..., Iterator[Frame]] = "records"
    kinds: tuple[Kind, ...] = (Kind.DIALOGUE,)
    languages: tuple[str, ...] = ("en",)
    hub: Hub | None = None
    obtain: str = ""
    version: int = 1
    by_script: Callable[[str], Parse] | None = None
    traits: Traits = field(default_factory=Traits)
    key: Literal["whole", "prompt", "answer", "exact"] = "whole"

    def match(self, path: str) -> Files | None:
        """The most specific pattern of this source that matches a relative path, or None."""
        found = [f for f in self.files if f.matches(path)]
        return max(found, key=lambda f: f.weight, default=None)


class Emit:
    """Collects rows in columns: flat lists that become Arrow arrays without a Python object per row and field.

    What most rows do not have (a title, a rejected answer, a mark of the publisher) is kept by row number only where there is any:
    a list entry per row and column would be half of the cost of an instruction row.

    `file`, `subset` and `split` tell the parse function where the record comes from; per-row `subset` and `split`
    arguments win over them. `header` is what the file says of all its records (see :class:`Frame`), None in most formats.
    """

    __slots__ = (
        "_chosen", "_kinds", "_licenses", "_messages", "_metas", "_rejected", "_skips", "_splits", "_subsets", "_texts", "_titles",
        "file", "header", "split", "subset",
    )  # fmt: skip

    def __init__(self, file: str = "", subset: str | None = None, split: str | None = None) -> None:
        self.file = file
        self.header: Any = None
        self.subset = subset
        self.split = split
        self.clear()

    def clear(self) -> None:
        """Forgets all rows."""
        self._kinds: list[str] = []
        self._messages = _Turns()
        self._chosen = _Turns()
        self._rejected = _Turns()
        self._subsets: dict[int, str] = {}
        self._splits: dict[int, str] = {}
        self._titles: dict[int, str] = {}
        self._texts: dict[int, str] = {}
        self._metas: dict[int, str] = {}
        self._skips: dict[int, str] = {}
        self._licenses: dict[int, str] = {}

    # The marks are spelled out in each signature: passing them on as **more would double what a row costs.

    def dialogue(
        self,
        messages: Iterable[Message],
        *,
        subset: str | None = None,
        split: str | None = None,
        meta: Meta = None,
        skip: str | None = None,
    ) -> None:
        """A conversation. `meta` is what else the publisher says of it, `skip` a key of schema.DROP_REASONS."""
        self._row("dialogue", messages, subset, split, meta, skip)

    def prompt(
        self,
        messages: Iterable[Message],
        *,
        subset: str | None = None,
        split: str | None = None,
        meta: Meta = None,
        skip: str | None = None,
    ) -> None:
        """A conversation that ends where the assistant is to speak."""
        self._row("prompt", messages, subset, split, meta, skip)

    def preference(
        self,
        messages: Iterable[Message],
        chosen: Iterable[Message],
        rejected: Iterable[Message],
        *,
        subset: str | None = None,
        split: str | None = None,
        meta: Meta = None,
        skip: str | None = None,
        license: str | None = None,
    ) -> None:
        """Two continuations of `messages`, of which the publisher prefers the first. `license`: its terms, where not the source's."""
        row = len(self._kinds)
        _put(self._licenses, row, license)
        self._chosen.add(row, chosen)
        self._rejected.add(row, rejected)
        self._row("preference", messages, subset, split, meta, skip)

    def document(
        self,
        text: str,
        title: str | None = None,
        *,
        subset: str | None = None,
        split: str | None = None,
        meta: Meta = None,
        skip: str | None = None,
    ) -> None:
        """A text."""
        row = len(self._kinds)
        _put(self._texts, row, text)
        _put(self._titles, row, title)
        self._row("document", (), subset, split, meta, skip)

    def _row(self, kind: str, messages: Iterable[Message], subset: str | None, split: str | None, meta: Meta, skip: str | None) -> None:
        row = len(self._kinds)
        self._messages.add(row, messages)
        if subset is not None:
            _put(self._subsets, row, subset)
        if split is not None:
            _put(self._splits, row, split)
        if meta:
            self._metas[row] = orjson.dumps(meta, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        if skip is not None:
            _put(self._skips, row, skip)
        self._kinds.append(kind)

    def __len__(self) -> int:
        return len(self._kinds)

    def rollback(self, rows: int) -> None:
        """Forgets all but the first `rows` rows: what a record emitted before it turned out to be bad."""
        del self._kinds[rows:]
        for column in (self._titles, self._texts, self._subsets, self._splits, self._metas, self._skips, self._licenses):
            while column and next(reversed(column)) >= rows:
                column.popitem()
        for turns in (self._messages, self._chosen, self._rejected):
            turns.rollback(rows)

    def licenses(self, source: str) -> pa.Array:
        """The terms of the rows so far, where the source's are `source`."""
        return strings(self._licenses, len(self._kinds), source)

    def columns(self) -> dict[str, pa.Array]:
        """The rows so far as Arrow arrays, by column name of `schema.ROWS`."""
        n = len(self._kinds)
        return {
            "kind": pa.array(self._kinds, pa.string()),
            "subset": strings(self._subsets, n, self.subset),
            "upstream_split": strings(self._splits, n, self.split),
            "messages": self._messages.array(n),
            "chosen": self._chosen.array(n),
            "rejected": self._rejected.array(n),
            "title": strings(self._titles, n),
            "text": strings(self._texts, n),
            "meta": strings(self._metas, n),
            "skip": strings(self._skips, n),
        }


def strings(values: dict[int, str], rows: int, default: str | None = None) -> pa.Array:
    """A column of `rows` strings of which only some are not the default, given by row number."""
    if not values:
        return pa.repeat(pa.scalar(default, pa.string()), rows)
    return pa.array([values.get(row, default) for row in range(rows)], pa.string())


def _put(column: dict[int, str], row: int, value: str | None) -> None:
    if isinstance(value, str):
        column[row] = value
    elif value is not None:
        raise Reject("shape", f"found {type(value).__name__}, expected a text")


class _Turns:
    """A column of conversations as flat lists: the roles and contents of all messages, and for each conversation its row and end."""

    __slots__ = ("contents", "ends", "roles", "rows")

    def __init__(self) -> None:
        self.roles: list[str] = []
        self.contents: list[str] = []
        self.rows: list[int] = []
        self.ends: list[int] = []

    def add(self, row: int, messages: Iterable[Message]) -> None:
        roles, contents = self.roles, self.contents
        for role, content in messages:
            if not isinstance(content, str):
                raise Reject("shape", f"a message of role {role!r} holds {type(content).__name__}, expected a text")
            roles.append(role)
            contents.append(content)
        self.rows.append(row)
        self.ends.append(len(roles))

    def rollback(self, rows: int) -> None:
        while self.rows and self.rows[-1] >= rows:
            self.rows.pop()
            self.ends.pop()
        end = self.ends[-1] if self.ends else 0
        del self.roles[end:]
        del self.contents[end:]

    def array(self, rows: int) -> pa.ListArray:
        """The column; rows without a conversation are null."""
        if not self.rows:
            return pa.nulls(rows, MESSAGES)
        struct = pa.StructArray.from_arrays(
            [pa.array(self.roles, pa.string()), pa.array(self.contents, pa.string())], fields=list(MESSAGES.value_type)
        )
        lengths = np.zeros(rows, np.int32)
        lengths[self.rows] = np.diff(self.ends, prepend=0)
        offsets = np.zeros(rows + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        mask = None
        if len(self.rows) < rows:
            absent = np.ones(rows, bool)
            absent[self.rows] = False
            mask = pa.array(absent)
        return pa.ListArray.from_arrays(pa.array(offsets), struct, type=MESSAGES, mask=mask)
