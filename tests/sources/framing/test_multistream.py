"""Dumps of many bzip2 streams: whatever the parts, and whatever is damaged, the records are those of the file read as one."""

from __future__ import annotations

import bz2
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.sources.framing import Limits, Part, stream_of
from corpus.sources.framing.multistream import END_BYTES, START, ends_stream
from corpus.sources.framing.xml import RECORDS_PER_BYTE
from corpus.warehouse.inputs import digest_file
from tests.sources.framing.support import Seen, read_path

HEAD = b"""<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">
  <siteinfo><sitename>W</sitename><dbname>zhwiki</dbname></siteinfo>
"""
TAIL = b"</mediawiki>\n"
SITE = {"lang": "zh", "dbname": "zhwiki"}


def page(n: int, text: str | None = None) -> bytes:
    words = random.Random(n)
    body = text if text is not None else "".join(chr(words.randrange(0x4E00, 0x9FA5)) for _ in range(words.randrange(20, 300)))
    return (
        f"  <page>\n    <title>第{n}頁</title>\n    <ns>0</ns>\n    <id>{n}</id>\n    <revision>\n      <id>{n}0</id>\n"
        f'      <text xml:space="preserve">{body}</text>\n    </revision>\n  </page>\n'
    ).encode()


def streams(pages: int = 600, seed: int = 1) -> list[bytes]:
    """A dump: the head, streams of 10 to 100 pages, the tail; each compressed."""
    sizes, n, out = random.Random(seed), 0, [HEAD]
    while n < pages:
        size = min(sizes.randrange(10, 101), pages - n)
        out.append(b"".join(page(i) for i in range(n, n + size)))
        n += size
    return [bz2.compress(s) for s in [*out, TAIL]]


def parts_of(path: Path, cut: int) -> list[Part]:
    cuts = digest_file(path, stream_cut_bytes=cut).cuts
    return [Part(s, e, f) for (s, f), e in zip([(0, 0), *cuts], [*(offset for offset, _ in cuts), None], strict=True)]


def one(found: Iterable[Seen]) -> Seen:
    (seen,) = found
    return seen


def details(seen: Seen) -> list[tuple[Any, ...]]:
    return [(r.record, r.offset, r.length, r.reason, r.detail, r.raw) for r in seen.rejects]


def read_both_ways(path: Path, data: bytes, *, cut: int = 20_000, least: int = 3, **limits: int) -> Seen:
    """The file read as one, after it was compared with the file read in parts."""
    path.write_bytes(data)
    bounds = Limits(**limits)
    whole = one(read_path(path, "mediawiki", limits=bounds))
    assert whole.bytes == len(data)
    parts = parts_of(path, cut)
    assert len(parts) >= least
    joined = Seen("", "", None)
    for part in parts:
        seen = one(read_path(path, "mediawiki", part=part, limits=bounds))
        assert seen.bytes == (part.end if part.end is not None else len(data)) - part.start
        assert (seen.container, seen.encoding) == (whole.container, whole.encoding) == ("xml (bzip2)", "utf-8")
        for name in ("values", "ordinals", "offsets", "lengths", "rejects"):
            getattr(joined, name).extend(getattr(seen, name))
        joined.records += seen.records
    assert (joined.values, joined.ordinals, joined.offsets, joined.lengths) == (whole.values, whole.ordinals, whole.offsets, whole.lengths)
    assert details(joined) == details(whole)
    assert joined.records == whole.records
    numbers = whole.ordinals + [r.record for r in whole.rejects]
    assert len(set(numbers)) == len(numbers) == whole.records
    return whole


def ids(seen: Seen) -> list[int]:
    return [v["id"] for v in seen.values]


def starts(packed: list[bytes]) -> list[int]:
    return [sum(map(len, packed[:n])) for n in range(len(packed))]


def test_parts_have_the_pages_of_the_whole(tmp_path: Path) -> None:
    packed = streams()
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed))
    assert ids(seen) == list(range(600))
    assert not seen.rejects
    assert all({k: v[k] for k in SITE} == SITE for v in seen.values)
    at = dict(zip(starts(packed), packed, strict=True))
    number = 0
    for n, (ordinal, offset, length) in enumerate(zip(seen.ordinals, seen.offsets, seen.lengths, strict=True)):
        start, within = divmod(ordinal, RECORDS_PER_BYTE)
        number = within and number + 1
        assert within == number
        assert bz2.decompress(at[start])[offset : offset + length] == page(n).strip()  # type: ignore[operator]
        if n % 50 == 0:
            alone = one(read_path(tmp_path / "x.xml.bz2", "mediawiki", part=stream_of(ordinal)))
            assert alone.values[alone.ordinals.index(ordinal)] == seen.values[n]
            assert len(alone.values) <= 100
    assert seen.ordinals == sorted(seen.ordinals)


def test_one_stream_has_plain_ordinals_and_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(bz2.compress(HEAD + b"".join(map(page, range(600))) + TAIL))
    assert parts_of(path, 10_000) == [Part(0, None, 0)]
    packed = one(read_path(path, "mediawiki"))
    path.write_bytes(HEAD + b"".join(map(page, range(600))) + TAIL)
    plain = one(read_path(path, "mediawiki"))
    assert packed.outcome() == plain.outcome()
    assert packed.ordinals == list(range(600))


@pytest.mark.parametrize("size", [50_000, 7_001])
def test_streams_that_do_not_hold_whole_pages(tmp_path: Path, size: int) -> None:
    """As pbzip2 packs them: a page, a tag and a character may be cut anywhere."""
    data = HEAD + b"".join(map(page, range(600))) + TAIL
    packed = [bz2.compress(data[i : i + size]) for i in range(0, len(data), size)]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed), cut=10_000)
    assert ids(seen) == list(range(600))
    assert not seen.rejects


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=5, max_size=60))
def test_streams_cut_anywhere(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    bad = [b"junk", page(3, "<b>"), page(4, "長" * 1000), page(5, "短").replace(b"</page>", b"")]
    data = HEAD + b"".join([page(1), page(2), *bad, page(6)]) + TAIL
    packed, at = [], 0
    for size in sizes:
        packed.append(bz2.compress(data[at : at + size]))
        at += size
    packed.append(bz2.compress(data[at:]))
    seen = read_both_ways(tmp_path_factory.mktemp("m") / "x.xml.bz2", b"".join(packed), cut=1, least=2, record_bytes=2000)
    assert ids(seen) == [1, 2, 6]
    assert sorted(seen.reasons) == ["too_large", "xml", "xml", "xml"]


def damaged(packed: bytes, at: int) -> bytes:
    broken = bytearray(packed)
    for i in range(at, min(at + 30, len(broken))):
        broken[i] ^= 0x5A
    return bytes(broken)


BODY = HEAD + b"".join(page(n, "字" * n) for n in range(60)) + TAIL
SMALL = b"".join(bz2.compress(BODY[i : i + 900]) for i in range(0, len(BODY), 900))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SMALL)), st.integers(0, 40), st.binary(max_size=12)), min_size=1, max_size=6))
def test_damage_anywhere(tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, bytes]]) -> None:
    """Bytes are lost, changed and added, in streams that do not hold whole pages: the parts still say what the whole says."""
    data = SMALL
    for at, lost, new in edits:
        data = data[:at] + new + data[at + lost :]
    if not START.match(data):
        return
    seen = read_both_ways(tmp_path_factory.mktemp("m") / "x.xml.bz2", data, cut=700, least=1)
    texts = {n: "字" * n for n in range(60)}
    assert all(v["text"] == texts[v["id"]] for v in seen.values)


@pytest.mark.parametrize("where", [1, 4, 7, -2])
def test_a_damaged_stream_costs_only_itself(tmp_path: Path, where: int) -> None:
    packed = streams()
    whole = one_of(tmp_path, packed)
    packed[where] = damaged(packed[where], len(packed[where]) // 2)
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed))
    start = starts(packed)[where]
    assert seen.reasons == ["corrupt"]
    assert seen.rejects[0].record == start * RECORDS_PER_BYTE
    assert f"{start:,}" in seen.rejects[0].detail
    assert ids(seen) == [i for i, o in enumerate(whole.ordinals) if o // RECORDS_PER_BYTE != start]


def one_of(tmp_path: Path, packed: list[bytes]) -> Seen:
    (tmp_path / "whole").write_bytes(b"".join(packed))
    return one(read_path(tmp_path / "whole", "mediawiki"))


def test_every_second_stream_is_damaged(tmp_path: Path) -> None:
    packed = [damaged(s, len(s) // 2) if n % 2 else s for n, s in enumerate(streams())]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed))
    assert set(seen.reasons) == {"corrupt"}
    assert len(seen.rejects) == len(packed) // 2


def test_pages_before_the_damage_are_kept(tmp_path: Path) -> None:
    """A stream of several blocks (100 kB each at level 1) of which the last is damaged."""
    middle = bz2.compress(b"".join(map(page, range(100, 700))), 1)
    packed = [bz2.compress(s) for s in (HEAD, b"".join(map(page, range(100))))]
    packed += [damaged(middle, len(middle) - 200), *(bz2.compress(s) for s in (b"".join(map(page, range(700, 800))), TAIL))]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed))
    start = starts(packed)[2]
    lost = seen.rejects[0]
    assert seen.reasons == ["corrupt"]
    assert lost.record // RECORDS_PER_BYTE == start
    first = 100 + lost.record % RECORDS_PER_BYTE
    assert 300 < first < 700
    assert ids(seen) == [*range(first), *range(700, 800)]
    assert page(first).strip().startswith(lost.raw[:200])


def test_damage_within_a_page_that_began_in_another_stream(tmp_path: Path) -> None:
    data = HEAD + b"".join(map(page, range(300))) + TAIL
    packed = [bz2.compress(data[i : i + 7_001]) for i in range(0, len(data), 7_001)]
    packed[5] = damaged(packed[5], 1000)
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed), cut=1)
    assert seen.reasons == ["corrupt", "corrupt"]
    assert [r.record // RECORDS_PER_BYTE for r in seen.rejects] == starts(packed)[4:6]


def test_a_damaged_head_loses_no_page(tmp_path: Path) -> None:
    packed = streams()
    packed[0] = damaged(packed[0], 20)
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed))
    assert ids(seen) == list(range(600))
    assert seen.reasons == ["corrupt"]
    assert seen.values[0]["dbname"] is None


@pytest.mark.parametrize("lost", [500, 5])
def test_a_cut_file(tmp_path: Path, lost: int) -> None:
    """A block that is there as a whole is read, though the end of its stream is not."""
    packed = streams()
    whole = one_of(tmp_path, packed)
    last = len(packed) - 2
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed[: last + 1])[:-lost])
    assert seen.reasons == ["truncated"]
    end = starts(packed)[last] + (lost < 10)
    assert ids(seen) == [i for i, o in enumerate(whole.ordinals) if o // RECORDS_PER_BYTE < end]


def test_a_file_that_ends_between_streams(tmp_path: Path) -> None:
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(streams()[:-1]))
    assert ids(seen) == list(range(600))
    assert seen.reasons == ["truncated"]


def test_a_stream_that_lacks_its_end(tmp_path: Path) -> None:
    packed = streams()
    whole = one_of(tmp_path, packed)
    start = starts(packed)[5]
    packed[5] = packed[5][:-500]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed))
    assert seen.reasons == ["corrupt"]
    assert ids(seen) == [i for i, o in enumerate(whole.ordinals) if o // RECORDS_PER_BYTE != start]


def test_a_file_of_beginnings_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(bz2.compress(HEAD) + b"BZh91AY&SY" * 5000 + b"".join(streams()[1:]))
    seen = one(read_path(path, "mediawiki"))
    assert set(seen.reasons) == {"corrupt"}
    assert len(seen.rejects) == 1001
    assert ["not read" in r.detail for r in seen.rejects] == [False] * 1000 + [True]


def test_a_page_that_expands_without_end(tmp_path: Path) -> None:
    """100 MB in 100 bytes: the page is rejected, and the next stream read."""
    packer = bz2.BZ2Compressor()
    bomb = b"".join([packer.compress(b"<page><title>"), *(packer.compress(b"x" * 1_000_000) for _ in range(100)), packer.flush()])
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join([bz2.compress(HEAD), bomb, *streams(100)[1:]]), cut=1)
    assert seen.reasons == ["too_large"]
    assert ids(seen) == list(range(100))


FAKE_END = (0x177245385090 << 32 | 0x12345678).to_bytes(10, "big")


@pytest.mark.parametrize(
    "junk", [b"garbage", b"BZh", b"BZh91AY&SY" + b"x" * 90, b"BZh9\x17rE8P\x90nonsense", FAKE_END + b"\0BZh91AY&SYno" * 3]
)
def test_garbage_between_streams(tmp_path: Path, junk: bytes) -> None:
    packed = streams()
    data = b"".join(packed[:4]) + junk + b"".join(packed[4:])
    seen = read_both_ways(tmp_path / "x.xml.bz2", data, cut=1)
    assert ids(seen) == list(range(600))
    assert set(seen.reasons) == {"corrupt"}
    at = starts(packed)[4]
    assert seen.rejects[0].record == at * RECORDS_PER_BYTE
    assert f"{at:,}" in seen.rejects[0].detail


def test_zeros_and_empty_streams_between_streams(tmp_path: Path) -> None:
    packed = streams()
    packed[3:3] = [b"\0" * 700, bz2.compress(b""), bz2.compress(b"")]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed) + b"\0" * 40_000, cut=1)
    assert ids(seen) == list(range(600))
    assert not seen.rejects


def test_the_magic_within_a_page(tmp_path: Path) -> None:
    """Text is compressed: what it says is no beginning. Bytes that are a stream within a stream are told of, and lose no page."""
    text = "BZh91AY&amp;SY " * 50
    packed = [bz2.compress(s) for s in (HEAD, *(b"".join(page(n * 10 + i, text) for i in range(10)) for n in range(50)), TAIL)]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed), cut=1)
    assert ids(seen) == list(range(500))
    assert not seen.rejects


def test_a_cut_that_is_none_is_told_of(tmp_path: Path) -> None:
    packed = streams()
    path = tmp_path / "x.xml.bz2"
    inside = starts(packed)[3] + 1000
    data = bytearray(b"".join(packed))
    data[inside : inside + 10] = b"BZh91AY&SY"
    path.write_bytes(data)
    seen = [one(read_path(path, "mediawiki", part=p)) for p in (Part(0, inside, 0), Part(inside, None, 0))]
    assert [s.reasons for s in seen] == [["corrupt"], ["corrupt"]]
    whole = one(read_path(path, "mediawiki"))
    assert ids(seen[0]) + ids(seen[1]) == ids(whole)


def test_junk_between_pages_of_two_streams(tmp_path: Path) -> None:
    bodies = [b"".join(page(n * 10 + i) for i in range(10)) for n in range(50)]
    bodies[20] = b"before" + bodies[20] + b"behind"
    bodies[30] = bodies[30].rstrip()
    bodies[31] = b"between" + bodies[31]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(map(bz2.compress, [HEAD, *bodies, TAIL])), cut=1)
    assert ids(seen) == list(range(500))
    assert seen.reasons == ["xml"] * 3


@pytest.mark.parametrize("head", [b"<html>", b"<!DOCTYPE x>" + HEAD])
def test_a_head_that_is_refused_is_refused_in_every_part(tmp_path: Path, head: bytes) -> None:
    packed = [bz2.compress(head), *streams()[1:]]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(packed))
    assert not seen.values
    assert len(seen.rejects) == 1


def test_no_page_at_all(tmp_path: Path) -> None:
    blank = [random.Random(n).randbytes(3000).hex().encode() for n in range(20)]
    seen = read_both_ways(tmp_path / "x.xml.bz2", b"".join(map(bz2.compress, [HEAD, *blank, TAIL])), cut=10_000)
    assert seen.reasons == ["empty_file"]


def test_what_is_no_text_in_utf8_belongs_to_the_first_part(tmp_path: Path) -> None:
    data = (HEAD + b"".join(map(page, range(600))) + TAIL).decode().encode("utf-16")
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(b"".join(bz2.compress(data[i : i + 50_000]) for i in range(0, len(data), 50_000)))
    parts = parts_of(path, 20_000)
    assert len(parts) > 2
    seen = [read_path(path, "mediawiki", part=part) for part in parts]
    assert ids(one(seen[0])) == list(range(600))
    assert seen[1:] == [[]] * (len(parts) - 1)


@pytest.mark.parametrize("block", [1, 7, 20, 21, 301, 5000])
def test_cuts_are_found_across_blocks(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.warehouse.inputs._BLOCK", block)
    packed = [bz2.compress(s) for s in (HEAD, *(b"".join(page(n * 10 + i) for i in range(10)) for n in range(8)), TAIL)]
    path = tmp_path / "x.xml.bz2"
    path.write_bytes(b"".join(packed))
    found = digest_file(path, stream_cut_bytes=1).cuts
    assert [offset for offset, _ in found] == starts(packed)[1:]
    assert all(first == offset * RECORDS_PER_BYTE for offset, first in found)
    few = [offset for offset, _ in digest_file(path, stream_cut_bytes=8000).cuts]
    assert set(few) < set(starts(packed))
    assert all(b - a >= 8000 for a, b in zip([0, *few], few, strict=False))


def test_the_end_of_a_stream_at_any_bit() -> None:
    seen = set()
    for n in range(200):
        packed = bz2.compress(random.Random(n).randbytes(n))
        assert START.match(packed)
        assert ends_stream(packed[-END_BYTES:])
        assert not ends_stream(packed[-END_BYTES - 1 : -1])
        tail = int.from_bytes(packed[-END_BYTES:], "big")
        seen |= {p for p in range(8) if tail >> p + 32 & (1 << 48) - 1 == 0x177245385090}
    assert seen == set(range(8))
