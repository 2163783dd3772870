"""CSV and TSV: the standard library's reader, watched over record by record.

The reader is run in strict mode over the lines of a block, so that it says where quoting goes wrong instead of running on to the next
quote, thousands of records later. Positions come from counting the lines that each record took.
"""

from __future__ import annotations

import bisect
import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from corpus.sources.base import Frame
from corpus.sources.framing.encoding import NotText, decode
from corpus.sources.framing.lines import LineBlock, line_blocks, reject_too_large, split_lines
from corpus.sources.framing.stream import Builder, Limits, Stream

DELIMITERS = ",\t;|"
# The limit belongs to the process. Limits.record_bytes bounds the lines that are fed, so the largest value that every platform takes is
# safe.
csv.field_size_limit(0x7FFFFFFF)
_MOST_LINES = 1 << 19
"""Lines of a quoted field. A waiting line takes some 150 bytes beside its text, so that short ones would pass any bound on memory."""
_CR_STANDS_FOR = "\ue00d"


def unique_names(names: Sequence[str]) -> list[str]:
    """Column names made unique: a second `a` is `a_2`, a name that is empty is `column` and its number."""
    out: dict[str, None] = {}
    given, tried = set(names), Counter[str]()
    for at, name in enumerate(names, 1):
        base = each = name or f"column_{at}"
        n = max(1, tried[base])
        while each in out or (n > 1 and each in given):
            n += 1
            each = f"{base}_{n}"
        tried[base] = n
        out[each] = None
    return list(out)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How fields are parted, and whether quotes quote."""

    delimiter: str
    quoted: bool = True


def reader(lines: Iterator[str] | list[str], dialect: Dialect, *, strict: bool = True) -> Iterator[list[str]]:
    """The standard library's reader for a dialect."""
    if dialect.quoted:
        return csv.reader(lines, delimiter=dialect.delimiter, strict=strict)
    return csv.reader(lines, delimiter=dialect.delimiter, quoting=csv.QUOTE_NONE, strict=strict)


def rows_of(text: str, dialect: Dialect, *, strict: bool = False) -> list[list[str]]:
    """The records of a piece of text that is small; as many as can be read."""
    rows: list[list[str]] = []
    try:
        rows += (row for row in reader(list(io.StringIO(text, newline="\n")), dialect, strict=strict) if row)
    except csv.Error:
        pass  # What comes behind the damage is not needed to know the dialect.
    return rows


def find_dialect(sample: str) -> Dialect:
    """The delimiter under which the records of a sample most often have the same number of fields, more than one.

    Tab-separated text often has quotes that quote nothing: there they count only if every field that begins with one also ends with one.
    """
    best, dialect = (0.0, 0), Dialect(",")
    for delimiter in DELIMITERS:
        rows = rows_of(sample, Dialect(delimiter))[:200]
        if len(rows) > 1:
            rows = rows[:-1]  # the sample may cut the last one
        if not rows or len(rows[0]) < 2:
            continue
        score = (sum(len(row) == len(rows[0]) for row in rows) / len(rows), len(rows[0]))
        if score[0] > best[0] + 0.2 or best[1] == 0:
            best, dialect = score, Dialect(delimiter)
    if dialect.delimiter == "\t":
        fields = [f for line in sample.split("\n")[:-1] for f in line.rstrip("\r").split("\t") if f.startswith('"')]
        if not fields or not all(len(f) > 1 and f.endswith('"') for f in fields):
            dialect = Dialect("\t", quoted=False)
    return dialect


@dataclass(slots=True)
class _Lines:
    """Lines that wait to be read, as text with their ends, and where they are."""

    first: int = 0
    texts: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    notes: dict[int, str] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)

    def append(self, block: LineBlock, encoding: str) -> None:
        starts, lengths = block.extents()
        before = len(self.texts)
        try:
            self.texts += list(io.StringIO(block.data.decode(encoding), newline="\n"))
        except UnicodeDecodeError:
            for at, line in enumerate(split_lines(block.data), before):
                try:
                    text, note = decode(line, encoding)
                except NotText as e:
                    # Structure matters even where text is lost: the record is rejected, and its neighbours are not.
                    text, note, self.bad[at] = line.decode("utf-8", "surrogateescape"), None, str(e)
                self.texts.append(text + "\n")
                if note is not None:
                    self.notes[at] = note
        self.starts += starts.tolist()
        self.lengths += lengths.tolist()

    def drop(self, count: int) -> None:
        """Forgets the first lines."""
        self.first += count
        for column in (self.texts, self.starts, self.lengths):
            del column[:count]
        self.notes = {at - count: note for at, note in self.notes.items() if at >= count}
        self.bad = {at - count: why for at, why in self.bad.items() if at >= count}


class _Delimited:
    """Frames the records of one file. `header`: whether the first record names the fields of the others."""

    def __init__(self, stream: Stream, limits: Limits, dialect: Dialect, header: bool) -> None:
        self._stream = stream
        self._limits = limits
        self._dialect = dialect
        self._header = header
        self._names: list[str] | None = None
        self._builder = Builder(limits)
        self._blocks = line_blocks(stream, limits)
        self._lines = _Lines()
        self._ordinal = 0
        self._ended = False
        self._awaited = 0

    def frames(self) -> Iterator[Frame]:
        """All records."""
        for block in self._blocks:
            if block.too_large:
                yield from self._settle()
                self._ordinal += 1
                reject_too_large(self._builder, block, self._limits)
                continue
            if not self._lines.texts:
                self._lines.first = block.first
            self._lines.append(block, self._stream.encoding)
            if len(self._lines.texts) >= self._awaited:
                self._awaited = 0
                yield from self._read()
        yield from self._settle()
        yield from self._builder.flush()

    def _settle(self) -> Iterator[Frame]:
        """Reads what waits as if the file ended here."""
        self._ended = True
        yield from self._read()
        self._ended = False

    def _read(self) -> Iterator[Frame]:
        """Takes records off the waiting lines until the next may need more of them."""
        lines, done, waiting = self._lines, 0, False
        while done < len(lines.texts) and not waiting:
            taken, complete = done, True
            # Lines are dropped at the end, not behind every bad record: that would move all others each time.
            source = reader(map(lines.texts.__getitem__, range(done, len(lines.texts))), self._dialect)
            try:
                for row in source:
                    upto = done + source.line_num  # type: ignore[attr-defined]
                    if not self._accept(row, taken, upto):
                        complete = False
                        break
                    taken = upto
            except csv.Error:
                complete = False
            waiting = complete or self._slow(taken, done + source.line_num)  # type: ignore[attr-defined]
            if not complete and not waiting:
                taken += self._taken_slowly
            done = taken
            if self._builder.full:
                yield from self._builder.flush()
        lines.drop(done)

    _taken_slowly = 0

    def _accept(self, row: list[str], begin: int, upto: int, note: str | None = None) -> bool:
        """Adds the record that lines begin:upto hold; False when they do not hold one."""
        lines, names = self._lines, self._names
        if not row:
            return True
        if self._header and names is None:
            self._names = unique_names([n.strip() for n in row])
            return True
        if names is not None and len(row) != len(names):
            return False
        if upto - begin > 1 and self._is_beyond_bound(begin, upto) and self._swallows_records(begin):
            return False
        if lines.bad and any(at in lines.bad for at in range(begin, upto)):
            return False
        if lines.notes:
            notes = {lines.notes[at]: None for at in range(begin, upto) if at in lines.notes}
            note = "; ".join([*notes, *([note] if note else [])]) or None
        offset, last = lines.starts[begin], upto - 1
        value = dict(zip(names, row, strict=True)) if names is not None else row
        self._builder.add(value, self._ordinal, offset, lines.starts[last] + lines.lengths[last] - offset, note)
        self._ordinal += 1
        return True

    def _slow(self, at: int, upto: int) -> bool:
        """Takes the record that begins at line `at` and that the reader could not read, having looked at lines up to `upto`.

        Returns True when that needs more lines than are there; else `_taken_slowly` says how many were taken.
        """
        lines = self._lines
        try:
            row = next(reader(lines.texts[at:upto], self._dialect))
        except (csv.Error, StopIteration):
            row = None
        span = upto - at
        if row is None:
            unclosed = self._is_unclosed(at)
            if unclosed and not self._ended and self._may_go_on(at):
                self._awaited = 2 * (len(lines.texts) - at)  # Less would scan a long field over and over.
                return True
            self._one_line(at, "a quote that is opened and never closed" if unclosed else "text after a closing quote")
        elif span > 1 and self._is_record(lines.texts[at + 1]) and len(self._names or ()) > 1:
            self._one_line(at, "a quoted field that ends within another record")
        else:
            self._reject(at, span, row)
        return False

    def _is_unclosed(self, at: int) -> bool:
        """Whether the reader, beginning at line `at`, comes to the last line within quotes."""
        try:
            next(reader(map(self._lines.texts.__getitem__, range(at, len(self._lines.texts))), self._dialect))
        except csv.Error as e:
            return "unexpected end" in str(e)
        except StopIteration:
            return False
        return False

    def _may_go_on(self, at: int) -> bool:
        """Whether a quoted field that is still open is to be followed further: always up to a bound, then only if nothing in it
        looks like records."""
        lines, limits = self._lines, self._limits
        if not self._is_beyond_bound(at, len(lines.texts)):
            return True
        if lines.starts[-1] - lines.starts[at] > limits.record_bytes or len(lines.texts) - at > _MOST_LINES:
            return False
        return not self._swallows_records(at)

    def _is_beyond_bound(self, begin: int, upto: int) -> bool:
        """Whether lines begin:upto are more than a quoted field usually has."""
        size = self._lines.starts[upto - 1] - self._lines.starts[begin]
        return upto - begin > self._limits.quoted_lines or size > self._limits.quoted_bytes

    def _swallows_records(self, at: int) -> bool:
        """Whether half of the lines behind line `at`, which opens a quote, are records on their own. With one column no line can tell."""
        lines, limits = self._lines, self._limits
        if len(self._names or ()) < 2:
            return False
        last = bisect.bisect(lines.starts, lines.starts[at] + limits.quoted_bytes)
        inner = lines.texts[at + 1 : min(at + 1 + min(50, limits.quoted_lines), last)]
        return bool(inner) and 2 * sum(self._is_record(line) for line in inner) >= len(inner)

    def _is_record(self, text: str) -> bool:
        """Whether a line alone is a record with the right number of fields."""
        try:
            row = next(reader([text], self._dialect))
        except (csv.Error, StopIteration):
            return False
        return self._names is None or len(row) == len(self._names)

    def _one_line(self, at: int, what: str) -> None:
        """Takes line `at` alone: as a record if the reader finds one in lenient mode, else as a reject."""
        text = self._lines.texts[at]
        self._taken_slowly = 1
        inside = text.rstrip("\r\n")
        note = None
        row: list[str] | None
        if "\r" in inside:
            text = inside.replace("\r", _CR_STANDS_FOR)
        try:
            row = next(reader([text], self._dialect))
        except (csv.Error, StopIteration):
            note = what
            row = self._lenient(text)
        if row is not None and "\r" in inside:
            row = [f.replace(_CR_STANDS_FOR, "\r") for f in row]
        if row is None or not self._accept(row, at, at + 1, note):
            self._reject(at, 1, row, what if row is None else None)

    def _lenient(self, text: str) -> list[str] | None:
        """A line whose quotes are closed but followed by text; None when one is not closed."""
        try:
            row = next(reader([text, "\n", "\n"], self._dialect, strict=False))
        except (csv.Error, StopIteration):
            return None
        return None if any("\n" in f for f in row) else row

    def _reject(self, at: int, span: int, row: list[str] | None, quote: str | None = None) -> None:
        lines = self._lines
        self._taken_slowly = span
        last = at + span - 1
        offset = lines.starts[at]
        length = lines.starts[last] + lines.lengths[last] - offset
        bad = next((lines.bad[i] for i in range(at, at + span) if i in lines.bad), None)
        raw = "".join(lines.texts[at : at + span])[:4096].encode("utf-8", "surrogateescape")
        if bad is not None:
            reason, detail = "encoding", bad
        elif quote is not None or row is None:
            reason, detail = "csv_quote", quote or "quoting that cannot be followed"
        else:
            reason, detail = "csv_columns", f"found {len(row)} fields, expected {len(self._names or ())}: {', '.join(self._names or ())}"
        self._builder.reject(self._ordinal, offset, length, reason, detail, raw)
        self._ordinal += 1


def frame_table(stream: Stream, limits: Limits, sample: str) -> Iterator[Frame]:
    """Records of a file whose first record names the fields: dicts. The ordinal is the number of the record behind the header."""
    return _Delimited(stream, limits, find_dialect(sample), True).frames()


def frame_rows(stream: Stream, limits: Limits, sample: str) -> Iterator[Frame]:
    """Records of a file without a header: lists of str, of whatever length."""
    return _Delimited(stream, limits, find_dialect(sample), False).frames()
