from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.sources.framing import Limits, Part, open_file
from tests.sources.framing.support import read, read_all_ways, read_path

GOOD = b'{"a": "\xe4\xbd\xa0\xe5\xa5\xbd"}'

DAMAGE: dict[str, tuple[bytes, list[Any], str | None]] = {
    "regex escapes": (rb'{"a": "\d+\s \( \n \u4f60 \\d"}', [{"a": "\\d+\\s \\( \n 你 \\d"}], "invalid escape"),
    "unfinished unicode escape": (rb'{"a": "\u12 C:\users"}', [{"a": "\\u12 C:\\users"}], "invalid escape"),
    "raw tab": (b'{"a": "x\ty"}', [{"a": "x\ty"}], "control character in string"),
    "raw NUL": (b'{"a": "x\0y"}', [{"a": "x\0y"}], "control character in string"),
    "NUL padding": (b'\0\0{"a": 1}\0', [{"a": 1}], "NUL bytes around the record"),
    "escape and tab": (b'{"a": "\\d\t"}', [{"a": "\\d\t"}], "invalid escape; control character in string"),
    "two objects": (b'{"a": 1}{"a": 2} , {"a": 3}', [{"a": 1}, {"a": 2}, {"a": 3}], "several objects on one line"),
    "trailing comma": (b'{"a": 1},', [{"a": 1}], "comma around the record"),
    "lone surrogate": (rb'{"a": "x\ud83d y"}', [{"a": "x\ufffd y"}], "lone surrogate"),
    "low surrogate in a key": (rb'{"\udc00": "\ud83d\ude00"}', [{"\ufffd": "😀"}], "lone surrogate"),
    "NaN": (b'{"a": NaN}', [{"a": None}], "NaN"),
    "Infinity": (b'{"a": [-Infinity]}', [{"a": [None]}], "Infinity"),
    "long integer": (b'{"a": 123456789012345678901234567890}', [{"a": "123456789012345678901234567890"}], "number beyond 64 bits"),
    "long negative": (b'{"a": -9223372036854775809}', [{"a": "-9223372036854775809"}], "number beyond 64 bits"),
    "largest": (b'{"a": 18446744073709551615}', [{"a": 18446744073709551615}], None),
    "digits in a string": (b'{"a": "12345678901234567890123"}', [{"a": "12345678901234567890123"}], None),
    "long fraction": (b'{"a": 0.12345678901234567890123}', [{"a": 0.12345678901234567890123}], None),
    "huge float": (b'{"a": 1e999}', [{"a": "1e999"}], "number beyond 64 bits"),
    "duplicate keys": (b'{"a": 1, "a": 2}', [{"a": 2}], None),
    "mark within the file": (b'\xef\xbb\xbf{"a": 1}', [{"a": 1}], "byte order mark within the file"),
    "GB18030 line": ('{"a": "你好，世界。"}'.encode("gb18030"), [{"a": "你好，世界。"}], "decoded as gb18030"),
    "surrogates in UTF-8": (b'{"a": "\xed\xa0\xbd\xed\xb8\x80"}', [{"a": "😀"}], "surrogates in UTF-8"),
    "record over two lines": (b'{"a": "x\ny"}', [{"a": "x\ny"}], "record over 2 lines; control character in string"),
    "pretty-printed record": (b'{\n  "a": [\n    1\n  ]\n}', [{"a": [1]}], "record over 5 lines"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_damage_is_repaired_and_noted(tmp_path: Path, name: str, end: bytes) -> None:
    line, values, note = DAMAGE[name]
    data = GOOD + end + line + end + GOOD + end
    seen = read_all_ways(tmp_path / "x.json", data)
    assert seen.container == "json lines"
    assert seen.values == [{"a": "你好"}, *values, {"a": "你好"}]
    assert set(seen.notes.values()) == ({note} if note else set())
    assert not seen.rejects
    assert seen.ordinals == [0, *[1] * len(values), 2 + line.count(b"\n")]
    at, size = seen.offsets[1], seen.lengths[1]
    assert data[at : at + size] == line


REJECTED = {
    "unescaped quote": (b'{"a": "say "hi" now"}', "json"),
    "cut off": (b'{"a": "x', "json"),
    "no JSON": (b"hello", "json"),
    "only NUL": (b"\0\0\0", "json"),
    "text behind": (b'{"a": 1} x', "json"),
    "bytes that are no text": (b'{"a": "\xff\xfe\xfd"}', "encoding"),
    "half a character": (b'{"a": "caf\xc3"}', "encoding"),
    "deep": (b"[" * 100_000, "json"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_what_would_need_a_guess_costs_only_its_line(tmp_path: Path, name: str) -> None:
    line, reason = REJECTED[name]
    seen = read_all_ways(tmp_path / "x.json", GOOD + b"\n" + line + b"\n" + GOOD)
    assert seen.ordinals == [0, 2]
    (reject,) = seen.rejects
    assert (reject.record, reject.offset, reject.length, reject.reason) == (1, len(GOOD) + 1, len(line), reason)
    assert reject.raw == line[:4096]
    assert reject.detail


def test_a_broken_record_does_not_swallow_a_sound_one(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.json", GOOD + b'\n{"a": "x\n{"a": 2}\ny"}\n')
    assert seen.ordinals == [0, 2]
    assert [r.record for r in seen.rejects] == [1, 3]


def test_a_record_is_not_followed_forever(tmp_path: Path) -> None:
    data = GOOD + b'\n{"a": "' + b"x\n" * 70 + b'"}\n'
    assert read(tmp_path / "x.json", data).records == 72
    assert read(tmp_path / "x.json", data, joined_lines=100).values[1] == {"a": "x\n" * 70}


def test_blank_lines_are_lines_but_no_records(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.json", b"\n" + GOOD + b"\n\r\n  \n" + GOOD + b"\n\n")
    assert seen.ordinals == [1, 4]
    assert seen.records == 2


def test_a_line_beyond_the_limit_is_dropped_unread(tmp_path: Path) -> None:
    line = b'{"a": "' + b"x" * 10_000 + b'"}'
    data = GOOD + b"\n" + line + b"\n" + GOOD
    seen = read_all_ways(tmp_path / "x.json", data, record_bytes=5000)
    assert seen.ordinals == [0, 2]
    assert [(r.record, r.offset, r.length, r.reason) for r in seen.rejects] == [(1, len(GOOD) + 1, len(line), "too_large")]
    assert seen.rejects[0].raw == line[:4096]
    assert read(tmp_path / "x.json", data, record_bytes=20_000).records == 3


def test_line_ends_of_old_macs(tmp_path: Path) -> None:
    assert read_all_ways(tmp_path / "x.json", GOOD + b"\r" + GOOD + b"\r").ordinals == [0, 1]


def test_frames_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes((GOOD + b"\n") * 30_000)
    assert max(f.records for opened in open_file(path, "x.json") for f in opened.frames) == 8192


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3), max_leaves=8)
records = st.lists(st.dictionaries(st.text(), values, max_size=4), min_size=1, max_size=8)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(records=records, size=st.integers(1, 300), ascii_only=st.booleans(), end=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_round_trip(tmp_path: Path, records: list[Any], size: int, ascii_only: bool, end: str) -> None:
    lines = [json.dumps(r, ensure_ascii=ascii_only) for r in records]
    data = "".join(line + end for line in lines).encode("utf-8", "surrogatepass")
    seen = read(tmp_path / "x.json", data, "records", block_bytes=size)
    assert seen.values == records
    assert [data[o : o + n].decode() for o, n in zip(seen.offsets, seen.lengths, strict=True)] == lines


pieces = st.sampled_from(
    [GOOD, *(line for line, _, _ in DAMAGE.values()), *(line for line, _ in REJECTED.values() if len(line) < 100), b"", b"{"]
)


@quick
@given(lines=st.lists(pieces, min_size=1, max_size=12), cuts=st.lists(st.integers(0, 40), max_size=5), size=st.integers(1, 200))
def test_parts_together_are_the_whole(tmp_path: Path, lines: list[bytes], cuts: list[int], size: int) -> None:
    path = tmp_path / "x.json"
    data = b"\n".join([GOOD, *lines])
    path.write_bytes(data)
    (whole,) = read_path(path)
    if whole.container != "json lines" or whole.encoding != "utf-8":
        return
    starts = [0] + [at + 1 for at, c in enumerate(data) if c == 0x0A]
    begins = sorted({0, *(starts[c % len(starts)] for c in cuts)})
    parts = [Part(b, e, data[:b].count(b"\n")) for b, e in zip(begins, [*begins[1:], None], strict=True)]
    seen = [read_path(path, part=part, limits=Limits(block_bytes=size))[0] for part in parts]
    got = [[x for s in seen for x in s.outcome()[i]] for i in (0, 1, 2, 3, 5)]
    assert got == [whole.outcome()[i] for i in (0, 1, 2, 3, 5)]
    assert sum(s.bytes for s in seen) == len(data)


def test_a_file_that_cannot_be_shared_belongs_to_the_first_part(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'[{"a": 1},\n{"a": 2}]')
    assert read_path(path, part=Part(0, 10, 0))[0].records == 2
    assert read_path(path, part=Part(10, None, 1)) == []
