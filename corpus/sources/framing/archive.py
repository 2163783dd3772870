"""Archives: the regular files in a tar or zip archive, one after the other, never written to disk under a name from the archive.

Skipped, because they hold no data: folders, and what macOS adds (`__MACOSX/…`, `._name`, `.DS_Store`). Everything else that is no plain
file inside the archive's folder (links, devices, absolute names, names with `..`) is one reject. Random access, which zip and parquet
need, is had for members of archives through an anonymous temporary file.
"""

from __future__ import annotations

import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from corpus.sources.framing.stream import Blocks, Fault, Limits, Reader

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_SPOOL = 32 << 20
_MOST_HEADER = 1 << 20
"""Bytes of a tar extension header (long names, pax records). tarfile reads them into memory whole."""


@dataclass(slots=True)
class Member:
    """A member to be read, or the fault because of which it is not."""

    name: str
    blocks: Iterator[bytes] | None
    fault: Fault | None = None


class _Info(tarfile.TarInfo):
    """Tar headers with a bound on those that are read into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Info:
        info = super().frombuf(buf, encoding, errors)
        if info.type in (*tarfile.GNU_TYPES, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE) and info.size > _MOST_HEADER:
            raise Fault("unsafe_archive", f"an extension header of {info.size} bytes")
        return info


def is_tar(head: bytes) -> bool:
    """Whether a file begins with a tar header whose checksum is right."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def tar_members(blocks: Blocks, limits: Limits) -> Iterator[Member]:
    """The members of a tar archive, which is read once, forwards. Exhaust a member's blocks before taking the next."""
    reader = Reader(blocks)
    budget = _Budget(limits)
    try:
        with tarfile.open(fileobj=reader, mode="r|", tarinfo=_Info, bufsize=1 << 16, errorlevel=1) as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile remembers every header
                fault = budget.member()
                if fault is not None:
                    yield Member("", None, fault)
                    return
                if info.isdir() or _is_noise(info.name):
                    continue
                fault = _name_fault(info.name)
                if fault is None and not info.isreg():
                    fault = Fault("unsafe_archive", "a link or device, not a plain file")
                if fault is not None:
                    yield Member(_shown(info.name), None, fault)
                    continue
                file = tar.extractfile(info)
                if file is not None:
                    yield Member(_shown(info.name), _read(cast("BinaryIO", file), budget, limits, reader))
                if budget.spent:
                    return
    except (tarfile.TarError, EOFError, OSError) as e:
        fault = reader.fault or Fault("truncated" if "end of" in str(e) else "corrupt", f"the tar archive is damaged: {e}")
        yield Member("", None, fault)
        return
    except Fault as e:
        yield Member("", None, e)
        return
    if reader.fault is not None:
        yield Member("", None, reader.fault)


def zip_members(file: BinaryIO, limits: Limits) -> Iterator[Member]:
    """The members of a zip archive, which must be seekable."""
    budget = _Budget(limits)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError) as e:
        yield Member("", None, Fault("truncated", f"a zip archive without its directory: it was cut ({e})"))
        return
    with archive:
        for info in archive.infolist():
            fault = budget.member()
            if fault is not None:
                yield Member("", None, fault)
                return
            mode = info.external_attr >> 16
            if info.is_dir() or _is_noise(info.filename):
                continue
            fault = _name_fault(info.orig_filename)
            if fault is None and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                fault = Fault("unsafe_archive", "a link or device, not a plain file")
            if fault is None and info.flag_bits & 1:
                fault = Fault("unreadable", "the member is encrypted")
            if fault is not None:
                yield Member(_shown(info.filename), None, fault)
                continue
            try:
                member = archive.open(info)
            except (zipfile.BadZipFile, NotImplementedError, OSError, RuntimeError, ValueError) as e:
                yield Member(_shown(info.filename), None, Fault("corrupt", f"the member cannot be opened: {e}"))
                continue
            with member:
                yield Member(_shown(info.filename), _read(cast("BinaryIO", member), budget, limits, None))
            if budget.spent:
                return


class _Budget:
    """Counts members and expanded bytes of one archive."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._members = self._bytes = 0
        self.spent = False

    def member(self) -> Fault | None:
        self._members += 1
        if self._members > self._limits.archive_members:
            return Fault("unsafe_archive", f"more than {self._limits.archive_members} members; the rest is not read")
        return None

    def take(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limits.archive_bytes:
            self.spent = True
            raise Fault("unsafe_archive", f"expands to more than {self._limits.archive_bytes} bytes; the rest is not read")


def _read(file: BinaryIO, budget: _Budget, limits: Limits, reader: Reader | None) -> Iterator[bytes]:
    while True:
        try:
            block = file.read(limits.block_bytes)
        except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as e:
            fault = reader.fault if reader is not None else None
            truncated = isinstance(e, EOFError) or "unexpected end" in str(e)
            raise fault or Fault("truncated" if truncated else "corrupt", f"the member is damaged: {e or 'it ends early'}") from e
        if not block:
            return
        budget.take(len(block))
        yield block


def spool(blocks: Blocks) -> tuple[BinaryIO, Fault | None]:
    """Blocks as a seekable, anonymous temporary file, and the fault that cut them short."""
    file = cast("BinaryIO", tempfile.SpooledTemporaryFile(_SPOOL))  # noqa: SIM115  the caller closes it
    fault = None
    try:
        for block in blocks:
            file.write(block)
    except Fault as e:
        fault = e
    file.seek(0)
    return file, fault


def _is_noise(name: str) -> bool:
    path = PurePosixPath(name)
    return "__MACOSX" in path.parts or path.name.startswith("._") or path.name == ".DS_Store"


def _name_fault(name: str) -> Fault | None:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\0" in name or (len(name) > 1 and name[1] == ":"):
        return Fault("unsafe_archive", f"the name {name[:100]!r} leads out of the archive")
    return None


def _shown(name: str) -> str:
    """A member's name as text that can be written as UTF-8."""
    return name.removeprefix("./").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
