"""From a path to logical files: compression, archives, encoding, container; and the account of bytes and faults around every framer."""

from __future__ import annotations

import codecs
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, cast

from corpus.sources.base import RAW_BOUND, Frame, Rejected
from corpus.sources.framing import archive, compression, detect, jsondoc, jsonwhole
from corpus.sources.framing.columnar import MAGIC as PARQUET_MAGIC
from corpus.sources.framing.columnar import frame_parquet
from corpus.sources.framing.delimited import frame_rows, frame_table
from corpus.sources.framing.encoding import detect as detect_encoding
from corpus.sources.framing.encoding import transcode, utf8_blocks
from corpus.sources.framing.jsonlines import first_line_of, frame_json_lines
from corpus.sources.framing.lines import frame_lines, frame_paragraphs
from corpus.sources.framing.multistream import frame_streams
from corpus.sources.framing.stream import Blocks, Counted, Disk, Fault, Framer, Limits, Part, Stream
from corpus.sources.framing.wikidoc import frame_wikiextractor
from corpus.sources.framing.xml import frame_mediawiki

FORMATS = ("records", "object", "keyed", "instances", "rows", "lines", "paragraphs", "mediawiki", "wikiextractor")
_HEAD = 1 << 18
_SAMPLE = 1 << 17
_SINGLE: dict[str, Framer] = {"object": jsonwhole.frame_object, "keyed": jsondoc.frame_keyed, "instances": jsonwhole.frame_instances}
"""Formats whose file is one JSON object. A file of JSON lines or an array, where one was expected, is framed as what it is."""
BZIP2_XML = "xml (bzip2)"
"""The container of a dump that is read by streams, if its encoding is UTF-8."""
_DEEPEST = 3
"""Archives within archives and compressions within compressions."""

Folding = Callable[[Iterator[Frame]], Iterator[Frame]]


@dataclass(slots=True)
class Opened:
    """One logical file: a plain or compressed file, or a member of an archive. Exhaust `frames` before asking for the next one."""

    name: str
    container: str
    encoding: str | None
    frames: Iterator[Frame]


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What the head of a file shows: `parts` when the file may be read in byte ranges (:class:`Part`)."""

    container: str | None
    encoding: str | None
    compression: str | None

    @property
    def parts(self) -> bool:
        return self.compression is None and self.container == detect.JSON_LINES and self.encoding in ("utf-8", "gb18030")


def open_file(
    path: Path,
    name: str,
    format: str | Callable[..., Iterator[Frame]] = "records",
    *,
    part: Part | None = None,
    limits: Limits = Limits(),
) -> Iterator[Opened]:
    """Opens one upstream file.

    Args:
        path: where it is.
        name: what it is called in `Opened.name`.
        format: one of `FORMATS`, or a function of frames to frames (see the package's docstring).
        part: frame only the records that begin in this byte range of an uncompressed JSON lines file, or in the bzip2 streams that
            begin in it. Any other file cannot be shared: it belongs to the part that begins at 0 as a whole, and the others are empty.
        limits: bounds and grain.

    Yields:
        Its logical files, at least one. Whatever the file holds, and even if there is none, nothing is raised: what cannot be
        read is a reject.

    Raises:
        ValueError: for an unknown format.
    """
    base = format if isinstance(format, str) else getattr(format, "base", "records")
    if base not in FORMATS:
        raise ValueError(f"unknown format {base!r}; known are {', '.join(FORMATS)}")
    fold = None if isinstance(format, str) else format
    fault = _kind_fault(path)
    if fault is None:
        try:
            raw = path.open("rb")
        except OSError as e:
            fault = Fault("unreadable", f"{e.strerror or e}")
    if fault is not None:
        yield _folded(_rejected(name, fault), fold)
        return
    with raw:
        opener = _Opener(Counted(raw), name, base, fold, limits)
        streams = opener.open_streams(part or Part(0, None, 0)) if base == "mediawiki" else None
        seen = sniff(path) if part is not None else None
        if streams is not None:
            yield streams
        elif part is not None and seen is not None and seen.parts and base == "records":
            yield opener.open_part(part, seen.encoding or "utf-8")
        elif part is None or part.start == 0:
            yield from opener.open()


def sniff(path: Path) -> Sniffed:
    """What the head of a file shows, for planning. Files that cannot be read show nothing."""
    if _kind_fault(path) is not None:
        return Sniffed(None, None, None)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return Sniffed(None, None, None)
    if head.startswith(PARQUET_MAGIC):
        return Sniffed("parquet", None, None)
    packed = compression.sniff(head) or ("zip" if head.startswith(archive.ZIP_MAGIC) else "tar" if archive.is_tar(head) else None)
    if packed or head.startswith(detect.LFS_MAGIC) or detect.is_binary(head):
        return Sniffed(None, None, packed)
    whole = len(head) < _HEAD
    encoding = detect_encoding(head, whole=whole)
    return Sniffed(detect.find_container(_sample(head[encoding.mark :], encoding.name), whole=whole), encoding.name, None)


def _kind_fault(path: Path) -> Fault | None:
    try:
        mode = path.stat().st_mode
    except OSError as e:
        return Fault("unreadable", f"{e.strerror or e}")
    except ValueError as e:
        return Fault("unreadable", str(e))
    if not stat.S_ISREG(mode):
        return Fault("not_a_file", "a directory" if stat.S_ISDIR(mode) else "a socket, pipe or device")
    return None


def _rejected(name: str, fault: Fault, raw: bytes = b"", taken: int = 0, container: str = "unknown") -> Opened:
    reject = Rejected(0, None, None, fault.reason, fault.detail, raw[:RAW_BOUND])
    return Opened(name, container, None, iter([Frame(rejects=[reject], records=1, bytes=taken)]))


def _folded(opened: Opened, fold: Folding | None) -> Opened:
    if fold is not None:
        opened.frames = fold(opened.frames)
    return opened


def _sample(head: bytes, encoding: str) -> str:
    """The head as text, as far as it is; the detection of containers does not need every character."""
    return codecs.getincrementaldecoder(encoding)("backslashreplace").decode(head)


def _is_plain(blocks: Blocks) -> bool:
    """Whether this is text in UTF-8, as far as it can be decompressed."""
    head = blocks.peek(_HEAD)
    if compression.sniff(head) or head.startswith((*archive.ZIP_MAGIC, PARQUET_MAGIC, detect.LFS_MAGIC)) or archive.is_tar(head):
        return False
    if not head.strip():
        return blocks.fault is not None
    return not detect.is_binary(head) and detect_encoding(head, whole=len(head) < _HEAD).name == "utf-8"


class _Opener:
    """Opens the logical files of one file on disk, in one format."""

    def __init__(self, file: Counted, name: str, format: str, fold: Folding | None, limits: Limits) -> None:
        self._file = file
        self._name = name
        self._format = format
        self._fold = fold
        self._limits = limits

    def open(self) -> Iterator[Opened]:
        """All logical files of the file."""
        for opened in self._open(Blocks(iter(Disk(self._file, self._limits.block_bytes))), self._name, "", 0, self._file):
            yield _folded(opened, self._fold)

    def open_part(self, part: Part, encoding: str) -> Opened:
        """The records of a JSON lines file that begin in a byte range."""
        offset, line = first_line_of(self._file, part, self._limits, encoding)
        self._file.seek(offset)
        self._file.restart(part.start, part.end)
        blocks = Blocks(iter(Disk(self._file, self._limits.block_bytes)))
        if offset == 0:
            blocks.skip(detect_encoding(blocks.peek(_HEAD), whole=False).mark)
            offset = blocks.skipped
        stream = Stream(self._name, blocks, encoding, offset=offset, line=line, begin=part.start, end=part.end)
        frames = self._accounted(frame_json_lines(stream, self._limits), stream, empty=part.start == 0 and part.end is None)
        return _folded(Opened(self._name, detect.JSON_LINES, encoding, frames), self._fold)

    def open_streams(self, part: Part) -> Opened | None:
        """The pages of a bzip2 file that begin in a byte range; None for any other file, or one that is not UTF-8 inside."""
        blocks = Blocks(iter(Disk(self._file, self._limits.block_bytes)))
        opened = None
        if compression.sniff(blocks.peek(_HEAD)) == "bzip2" and _is_plain(Blocks(compression.decompress(blocks, "bzip2"))):
            frames = self._accounted(frame_streams(self._file, self._name, part, self._limits), None, empty=False)
            opened = _folded(Opened(self._name, BZIP2_XML, "utf-8", frames), self._fold)
        self._file.seek(0)
        self._file.restart(part.start, part.end)
        return opened

    def _open(self, blocks: Blocks, name: str, packed: str, depth: int, file: Counted | None) -> Iterator[Opened]:
        """Opens blocks whatever they are. `file` is the seekable file that they come from, if there is one."""
        head = blocks.peek(_HEAD)
        fault = self._head_fault(head, blocks.fault, depth)
        if fault is not None:
            yield _rejected(name, fault, head, self._file.rest() if depth == 0 else self._file.taken())
        elif (compressed := compression.sniff(head)) is not None:
            plain = Blocks(compression.decompress(blocks, compressed))
            yield from self._open(plain, name, f"{packed} ({compressed})", depth + 1, None)
        elif head.startswith(archive.ZIP_MAGIC):
            with self._seekable(blocks, file) as (seekable, _):
                yield from self._members(archive.zip_members(seekable, self._limits), name, f" (zip){packed}", depth)
        elif archive.is_tar(head):
            yield from self._members(archive.tar_members(blocks, self._limits), name, f" (tar){packed}", depth)
        elif head.startswith(PARQUET_MAGIC):
            with self._seekable(blocks, file) as (seekable, fault):
                frames = self._accounted(frame_parquet(seekable, self._limits), None, fault)
                yield Opened(name, f"parquet{packed}", None, frames)
        else:
            yield self._text(blocks, name, packed)

    def _head_fault(self, head: bytes, fault: Fault | None, depth: int) -> Fault | None:
        """Why a file that begins with `head` cannot be framed, as far as its beginning shows."""
        if depth > _DEEPEST:
            return Fault("unsafe_archive", f"archives or compressions nested deeper than {_DEEPEST}")
        if not head:
            return fault or Fault("empty_file", "the file has no bytes")
        if head.startswith(detect.LFS_MAGIC):
            return Fault("lfs_pointer", "a Git LFS pointer, not the file: fetch it with `git lfs pull` in the publisher's repository")
        return None

    @contextmanager
    def _seekable(self, blocks: Blocks, file: Counted | None) -> Iterator[tuple[BinaryIO, Fault | None]]:
        """The file itself, or what it expands to in a temporary file; and the fault that cut the latter."""
        if file is not None:
            yield cast("BinaryIO", file), None
            return
        spooled, fault = archive.spool(blocks)
        with spooled:
            yield spooled, fault

    def _members(self, members: Iterator[archive.Member], name: str, packed: str, depth: int) -> Iterator[Opened]:
        none = True
        seen: Counter[bytes] = Counter()  # of hashes: an archive may have a million members, and names of any length
        for member in members:
            none = False
            inner = f"{name}!{member.name}" if member.name else name
            key = blake2b(inner.encode(), digest_size=8).digest()
            seen[key] += 1
            if seen[key] > 1:  # `tar -r` appends a member anew; both are read, and a record's place must name one file
                inner = f"{name}!{member.name}#{seen[key]}"
            if member.blocks is None:
                yield _rejected(inner, member.fault or Fault("corrupt", "unreadable member"), taken=self._file.taken())
            else:
                blocks = Blocks(member.blocks)
                yield from self._open(blocks, inner, packed, depth + 1, None)
                for _ in blocks.rest():
                    pass  # The next member begins where this one ends.
        if none:
            yield _rejected(name, Fault("empty_file", "an archive without a file"), taken=self._file.taken())

    # ---- text ----

    def _text(self, blocks: Blocks, name: str, packed: str) -> Opened:
        head = blocks.peek(_HEAD)
        whole = len(head) < _HEAD
        encoding = detect_encoding(head, whole=whole)
        blocks.skip(encoding.mark)
        stream = Stream(name, blocks, encoding.name, offset=0 if encoding.wide else encoding.mark)
        if encoding.wide:
            stream = Stream(name, Blocks(transcode(blocks, encoding.name)))
        head = stream.blocks.peek(_HEAD)
        sample = _sample(head, stream.encoding)
        if detect.is_binary(head):
            container, frames = "binary", _one_reject("unknown_format", f"no text: found {head[:24]!r}", head)
        elif whole and not sample.strip("\ufeff \t\r\n"):
            container, frames = "text", _one_reject("empty_file", "nothing but white space", head)
        else:
            container, frames = self._framed(stream, sample, whole)
        return Opened(name, container + packed, encoding.name, self._accounted(frames, stream))

    def _framed(self, stream: Stream, sample: str, whole: bool) -> tuple[str, Iterator[Frame]]:
        """The container's name and the frames of a text."""
        form, limits = self._format, self._limits
        if form in ("lines", "paragraphs"):
            return "text", (frame_lines if form == "lines" else frame_paragraphs)(stream, limits)
        if form == "rows":
            return "table", frame_rows(stream, limits, sample[:_SAMPLE])
        if form == "mediawiki":
            return "xml", frame_mediawiki(self._in_utf8(stream), limits)
        found = detect.find_container(sample, whole=whole)
        if form == "wikiextractor" and found not in (detect.JSON_LINES, detect.JSON_ARRAY, detect.JSON_OBJECTS):
            return "doc blocks", frame_wikiextractor(stream, limits)
        if form in _SINGLE and (found == detect.JSON_OBJECTS or (found == detect.JSON_LINES and detect.is_single(sample, whole=whole))):
            return f"json {form}", _SINGLE[form](self._in_utf8(stream), limits)
        if found == detect.JSON_LINES:
            return found, frame_json_lines(stream, limits)
        if found == detect.JSON_ARRAY:
            return found, jsondoc.frame_array(self._in_utf8(stream), limits)
        if found == detect.JSON_OBJECTS:
            return found, jsondoc.frame_objects(self._in_utf8(stream), limits)
        if found == detect.TABLE and form == "records":
            return found, frame_table(stream, limits, sample[:_SAMPLE])
        detail = f"expected JSON{', CSV or TSV with a header, or parquet' if form == 'records' else ''}; found {sample[:60]!r}"
        return "unknown", _one_reject("unknown_format", detail, sample[:RAW_BOUND].encode("utf-8", "surrogatepass"))

    def _in_utf8(self, stream: Stream) -> Stream:
        """The stream for a framer that takes UTF-8 only."""
        stream.blocks = Blocks(utf8_blocks(stream.blocks, stream.encoding))
        stream.encoding = "utf-8"
        return stream

    def _accounted(self, frames: Iterator[Frame], stream: Stream | None, fault: Fault | None = None, empty: bool = True) -> Iterator[Frame]:
        """Frames with their bytes on disk; after them, what ended the file early, or that it held no record."""
        records = 0
        for frame in frames:
            frame.bytes = self._file.taken()
            records += frame.records
            yield frame
        if stream is not None:
            for _ in stream:
                pass  # A fault may come after what the framer wanted to read.
            last = stream.last_word(records)
        else:
            last = _reject_frame(records, fault.reason, fault.detail, b"") if fault is not None else None
        if last is None and not records and empty:
            last = _reject_frame(0, "empty_file", "the file has no record", b"")
        left = self._file.rest()
        if last is not None or left:
            last = last or Frame()
            last.bytes = left
            yield last


def _reject_frame(record: int, reason: str, detail: str, raw: bytes) -> Frame:
    return Frame(rejects=[Rejected(record, None, None, reason, detail, raw[:RAW_BOUND])], records=1)


def _one_reject(reason: str, detail: str, raw: bytes) -> Iterator[Frame]:
    yield _reject_frame(0, reason, detail, raw)
