from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.framing.support import read, read_all_ways
from tests.sources.framing.test_jsonlines import quick, records, values

A, B, C = {"id": 1, "t": "你好 [x], {y}"}, {"id": 2, "t": 'say "hi" \\ '}, {"id": 3, "t": [{"id": 9}]}


def dumped(*items: Any, **more: Any) -> list[str]:
    return [json.dumps(item, ensure_ascii=False, **more) for item in items]


LAYOUTS = {
    "one line": "[" + ", ".join(dumped(A, B, C)) + "]",
    "minified": json.dumps([A, B, C], separators=(",", ":")),
    "indented": json.dumps([A, B, C], indent=4, ensure_ascii=False),
    "CRLF": json.dumps([A, B, C], indent=2).replace("\n", "\r\n"),
    "by hand": "[\n" + " ,\n\n".join(dumped(A, B)) + ",\r\n\t" + dumped(C, indent=1)[0] + "\n]\n",
    "trailing comma": "[" + ",".join(dumped(A, B, C)) + ",]",
    "objects on lines": json.dumps(A, indent=2) + "\n" + json.dumps(B, indent=2) + "\n" + json.dumps(C, indent=2),
    "objects without space": "".join(dumped(A, B, C, indent=2)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    data = LAYOUTS[layout].encode()
    seen = read_all_ways(tmp_path / "x.json", data)
    assert seen.values == [A, B, C]
    assert seen.ordinals == [0, 1, 2]
    assert [json.loads(data[o : o + n]) for o, n in zip(seen.offsets, seen.lengths, strict=True)] == [A, B, C]
    assert not seen.notes
    assert not seen.rejects


def test_commas_that_are_missing_or_too_many(tmp_path: Path) -> None:
    a, b, c = dumped(A, B, C)
    seen = read_all_ways(tmp_path / "x.json", f"[{a} {b},,{c}]".encode())
    assert seen.values == [A, B, C]
    assert seen.notes == {1: "missing comma", 2: "extra comma"}


DAMAGED = {
    "unescaped quote": ('{"id": 2, "t": "say "hi" now"}', [], ["json"]),
    "missing closing quote": ('{"id": 2, "t": "say hi}', [], ["json"]),
    "missing brace": ('{"id": 2, "t": [1, 2]', [], ["json"]),
    "nested objects": ('{"id": 2, "c": [{"from": "x", "value": "a "b" c"}, {"from": "y", "value": "d"}]}', [], ["json"]),
    "word": ("nonsense", [], ["json"]),
    "invalid escape": (r'{"id": 2, "t": "\d \" {["}', [{"id": 2, "t": '\\d " {['}], []),
    "raw line break": ('{"id": 2, "t": "x\ny"}', [{"id": 2, "t": "x\ny"}], []),
    "NaN": ('{"id": 2, "t": NaN}', [{"id": 2, "t": None}], []),
    "long number": ('{"id": 2, "t": 123456789012345678901}', [{"id": 2, "t": "123456789012345678901"}], []),
    "lone surrogate": (r'{"id": 2, "t": "\ud800"}', [{"id": 2, "t": "\ufffd"}], []),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("where", ["middle", "last"])
def test_a_damaged_element_costs_only_itself(tmp_path: Path, name: str, indent: int | None, where: str) -> None:
    bad, values, reasons = DAMAGED[name]
    a, c = dumped(A, C, indent=indent)
    items = [a, bad, c] if where == "middle" else [a, c, bad]
    if name == "word" and where == "last":
        return  # behind it there is nothing to go on with
    separator = ", " if indent is None else ",\n"
    data = ("[" + separator.join(items) + "]").encode()
    seen = read_all_ways(tmp_path / "x.json", data)
    assert seen.values == ([A, *values, C] if where == "middle" else [A, C, *values])
    assert seen.reasons == reasons
    assert len(seen.notes) == len(values)
    for reject in seen.rejects:
        assert data[reject.offset : reject.offset + reject.length].decode().rstrip(", \n") == bad


def test_a_truncated_array_gives_its_complete_elements(tmp_path: Path) -> None:
    data = json.dumps([A, B, C], indent=2).encode()
    cut = data[: data.rindex(b'"id": 9') + 3]
    seen = read_all_ways(tmp_path / "x.json", cut)
    assert seen.values == [A, B]
    assert seen.reasons == ["truncated"]
    assert read_all_ways(tmp_path / "x.json", data.rstrip(b"\n]")[:-1].rstrip() + b"}").reasons == ["truncated"]


def test_text_after_the_array_is_one_reject(tmp_path: Path) -> None:
    data = json.dumps([A]).encode() + b"\n]]} some text\n" * 300
    seen = read_all_ways(tmp_path / "x.json", data)
    assert seen.values == [A]
    assert seen.reasons == ["json"]


def test_an_element_beyond_the_limit(tmp_path: Path) -> None:
    data = json.dumps([A, {"id": 2, "t": "x" * 5000}, C]).encode()
    seen = read_all_ways(tmp_path / "x.json", data, record_bytes=1000)
    assert seen.values == [A, C]
    assert seen.reasons == ["too_large"]


def test_an_empty_array_has_no_record(tmp_path: Path) -> None:
    assert read_all_ways(tmp_path / "x.json", b"[ ]").reasons == ["empty_file"]


def test_gb18030_has_brackets_and_backslashes_in_its_characters(tmp_path: Path) -> None:
    text = "乗乘亃亄亅亇亊亖亗亙亜亝亞亣亪亯亰亱亴亶亷亸亹亼亽亾仈仌仏仐仒俓偺僜"
    rows = [{"id": 1, "t": "这是一个中文的例子，用来看编码。" * 20 + text}, {"id": 2, "t": text}]
    data = json.dumps(rows, ensure_ascii=False, indent=1).encode("gb18030")
    seen = read_all_ways(tmp_path / "x.json", data)
    assert seen.encoding == "gb18030"
    assert seen.values == rows


def test_gb18030_behind_a_head_of_ascii(tmp_path: Path) -> None:
    rows = [{"id": i, "t": "plain ascii text"} for i in range(10_000)] + [{"id": 1, "t": "后面才有中文字符。"}]
    data = json.dumps(rows, ensure_ascii=False).encode("gb18030")
    assert read(tmp_path / "x.json", data).values == rows
    lines = b"\n".join(json.dumps(r, ensure_ascii=False).encode("gb18030") for r in rows)
    seen = read(tmp_path / "x.json", lines)
    assert seen.values == rows
    assert seen.notes == {10_000: "decoded as gb18030"}


@quick
@given(
    records=st.lists(st.dictionaries(st.text(), values, min_size=1, max_size=4), min_size=1, max_size=8),
    size=st.integers(1, 300),
    indent=st.sampled_from([None, 0, 1, 4]),
    ascii_only=st.booleans(),
)
def test_array_round_trip(tmp_path: Path, records: list[Any], size: int, indent: int | None, ascii_only: bool) -> None:
    data = json.dumps(records, ensure_ascii=ascii_only, indent=indent).encode()
    seen = read(tmp_path / "x.json", data, block_bytes=size)
    assert seen.values == records
    assert [json.loads(data[o : o + n]) for o, n in zip(seen.offsets, seen.lengths, strict=True)] == records
    assert not seen.notes


@quick
@given(records=records, size=st.integers(1, 300))
def test_objects_round_trip(tmp_path: Path, records: list[Any], size: int) -> None:
    records = [{"k": 1, **r} for r in records]
    data = "\n".join(json.dumps(r, indent=2) for r in records).encode()
    seen = read(tmp_path / "x.json", data, block_bytes=size)
    assert seen.values == records


@quick
@given(
    garbage=st.lists(
        st.sampled_from(["{", "}", "[", "]", '"', ",", ":", "\\", "a", "\n", " ", '{"id": 1}', '"id"', "1", "\0", "é"]), max_size=40
    ),
    size=st.integers(1, 50),
)
def test_garbage_is_accounted_for(tmp_path: Path, garbage: list[str], size: int) -> None:
    for opening in ("[", "{", ""):
        data = (opening + "".join(garbage)).encode()
        for form in ("records", "keyed", "instances", "object"):
            if data:
                first = read(tmp_path / "x.json", data, form)
                assert first.records
                assert read(tmp_path / "x.json", data, form, block_bytes=size).outcome() == first.outcome()


def test_object(tmp_path: Path) -> None:
    data = json.dumps({"a": [1, 2], "b": {"c": "你"}}, indent=2).encode()
    seen = read_all_ways(tmp_path / "x.json", data, "object")
    assert seen.values == [{"a": [1, 2], "b": {"c": "你"}}]
    assert (seen.offsets, seen.lengths) == ([0], [len(data)])
    assert read_all_ways(tmp_path / "x.json", data[:-3], "object").reasons == ["json"]
    assert read_all_ways(tmp_path / "x.json", b'{"a": 1}', "object").values == [{"a": 1}]
    assert read_all_ways(tmp_path / "x.json", b'{"a": 1}\n{"a": 2}\n', "object").values == [{"a": 1}, {"a": 2}]


def test_keyed(tmp_path: Path) -> None:
    members = {"12": {"Q": "a {b}", "Y": None}, '3"4': {"Q": "你"}, "x": 5}
    for indent in (None, 2):
        seen = read_all_ways(tmp_path / "x.json", json.dumps(members, indent=indent).encode(), "keyed")
        assert seen.values == [{"_key": "12", "Q": "a {b}", "Y": None}, {"_key": '3"4', "Q": "你"}, {"_key": "x", "_value": 5}]
        assert seen.container == "json keyed"


def test_a_damaged_member_costs_only_itself(tmp_path: Path) -> None:
    data = b'{"1": {"Q": "a"}, "2": {"Q": "b "c" d"}, "3": {"Q": "e"}}'
    seen = read_all_ways(tmp_path / "x.json", data, "keyed")
    assert [v["_key"] for v in seen.values] == ["1", "3"]
    assert seen.reasons == ["json"]


def test_instances(tmp_path: Path) -> None:
    whole = {"type": "text2text", "instances": [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}]}
    want = [{"_type": "text2text", **i} for i in whole["instances"]]
    for indent in (None, 4):
        assert read_all_ways(tmp_path / "x.json", json.dumps(whole, indent=indent).encode(), "instances").values == want
    behind = {"instances": [{"text": "a"}], "type": "text_only"}
    seen = read_all_ways(tmp_path / "x.json", json.dumps(behind).encode(), "instances")
    assert seen.values == [{"text": "a"}]
    assert not seen.rejects
    assert read_all_ways(tmp_path / "x.json", b'{"a": {"b": 1}}', "instances").reasons == ["shape"]
