from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.sources.framing.delimited import unique_names
from tests.sources.framing.support import read, read_all_ways
from tests.sources.framing.test_jsonlines import quick


def test_header_quotes_and_positions(tmp_path: Path) -> None:
    data = 'act,prompt\r\n"Poet, old","Line 1\nLine ""2"""\r\n你,\r\n'.encode()
    seen = read_all_ways(tmp_path / "x.csv", data)
    assert seen.values == [{"act": "Poet, old", "prompt": 'Line 1\nLine "2"'}, {"act": "你", "prompt": ""}]
    assert seen.ordinals == [0, 1]
    assert [data[o : o + n].decode() for o, n in zip(seen.offsets, seen.lengths, strict=True)] == [
        '"Poet, old","Line 1\nLine ""2"""',
        "你,",
    ]


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    data = "\n".join(delimiter.join(row) for row in (("a", "b", "c"), ("1, x", "2; y", "3") if delimiter == "\t" else ("1", "2", "3")))
    assert list(read_all_ways(tmp_path / "x.csv", data.encode()).values[0]) == ["a", "b", "c"]


def test_one_column(tmp_path: Path) -> None:
    data = b'"text"\n"<s>Human: a\n</s><s>Assistant: b, c\n</s>"\n"d"\n'
    assert read_all_ways(tmp_path / "x.csv", data).values == [{"text": "<s>Human: a\n</s><s>Assistant: b, c\n</s>"}, {"text": "d"}]


def test_names_are_made_unique() -> None:
    assert unique_names(["a", "a", "", "a_2", "a"]) == ["a", "a_3", "column_3", "a_2", "a_4"]


def test_mark_before_the_header(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.csv", b"\xef\xbb\xbfa,b\n1,2\n")
    assert seen.values == [{"a": "1", "b": "2"}]
    assert seen.offsets == [7]


def test_a_wrong_number_of_fields(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.csv", b"a,b\n1,2\n3\n4,5,6\n7,8\n\n9,10\n")
    assert [v["a"] for v in seen.values] == ["1", "7", "9"]
    assert seen.ordinals == [0, 3, 4]
    assert [(r.record, r.reason, r.raw) for r in seen.rejects] == [(1, "csv_columns", b"3\n"), (2, "csv_columns", b"4,5,6\n")]


def test_a_quote_that_is_never_closed_does_not_swallow_the_file(tmp_path: Path) -> None:
    rows = [b"a,b", b'1,"x', *(b"%d,y" % i for i in range(2, 3000))]
    seen = read_all_ways(tmp_path / "x.csv", b"\n".join(rows), quoted_lines=100)
    assert seen.reasons == ["csv_quote"]
    assert [int(v["a"]) for v in seen.values] == list(range(2, 3000))
    assert read(tmp_path / "x.csv", b"\n".join(rows)).outcome() == seen.outcome()


def test_a_quote_that_is_closed_by_the_next_ones_opening(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.csv", b'a,b\n1,"x\n2,"y"\n3,"z\n4,w\n5,"v"\n')
    assert [v["a"] for v in seen.values] == ["2", "4", "5"]
    assert seen.reasons == ["csv_quote", "csv_quote"]


def test_text_after_a_closing_quote(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.csv", b'a,b\n"x" y,2\n3,4\n')
    assert seen.values == [{"a": "x y", "b": "2"}, {"a": "3", "b": "4"}]
    assert seen.notes == {0: "text after a closing quote"}


def test_quotes_within_a_field_quote_nothing(tmp_path: Path) -> None:
    assert read_all_ways(tmp_path / "x.csv", 'a,b\n他说"好",2\n5" disk,3\n'.encode()).values == [
        {"a": '他说"好"', "b": "2"},
        {"a": '5" disk', "b": "3"},
    ]


def test_long_fields_are_records(tmp_path: Path) -> None:
    field = "x\n" * 200_000
    data = f'a,b\n1,"{field}"\n2,z\n'.encode()
    seen = read(tmp_path / "x.csv", data, block_bytes=5000)
    assert [v["b"] for v in seen.values] == [field, "z"]
    assert read(tmp_path / "x.csv", data, quoted_bytes=1000, quoted_lines=10).values == seen.values


def test_nul_and_lone_carriage_returns(tmp_path: Path) -> None:
    seen = read_all_ways(tmp_path / "x.csv", b"a,b\n1,x\0y\n2,p\rq\n3,z\n")
    assert [v["b"] for v in seen.values] == ["x\0y", "p\rq", "z"]


def test_encodings_mixed_in_one_file(tmp_path: Path) -> None:
    lines = ["问题,答案", "你好吗，朋友？,很好。", "今天天气怎么样,晴天。"]
    data = b"\n".join([lines[0].encode(), *[b"a,b"] * 3, lines[1].encode(), lines[2].encode("gb18030"), b"\xff\xff,\xfe", b"c,d"])
    seen = read_all_ways(tmp_path / "x.csv", data)
    assert [v["问题"] for v in seen.values] == ["a", "a", "a", "你好吗，朋友？", "今天天气怎么样", "c"]
    assert seen.notes == {4: "decoded as gb18030"}
    assert [(r.record, r.reason) for r in seen.rejects] == [(5, "encoding")]


def test_gb18030(tmp_path: Path) -> None:
    text = 'department,title,ask,answer\n心血管科,高血压,"我有高血压\n怎么办",注意休息，少吃盐。\n'
    data = text.encode("gb18030")
    seen = read_all_ways(tmp_path / "x.csv", data)
    assert seen.encoding == "gb18030"
    assert seen.values[0]["ask"] == "我有高血压\n怎么办"
    assert data[seen.offsets[0] :][: seen.lengths[0]].decode("gb18030") == text.split("\n", 1)[1].rstrip("\n")


def test_rows_without_a_header(tmp_path: Path) -> None:
    data = '好\t很"好\t"不好\t差\n一\t"二"三\t四\t五\n'.encode()
    seen = read_all_ways(tmp_path / "x.tsv", data, "rows")
    assert seen.values == [["好", '很"好', '"不好', "差"], ["一", '"二"三', "四", "五"]]


def test_quoted_tsv(tmp_path: Path) -> None:
    assert read_all_ways(tmp_path / "x.tsv", b'"a"\t"b ""c"""\n"d"\t"e"\n', "rows").values == [["a", 'b "c"'], ["d", "e"]]


cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), include_characters="\n\r\t"), max_size=12)


@quick
@given(
    rows=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=10), size=st.integers(1, 200), end=st.sampled_from(["\n", "\r\n"])
)
def test_round_trip(tmp_path: Path, rows: list[tuple[str, str, str]], size: int, end: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["one", "two", "three"])
    writer.writerows(rows)
    data = out.getvalue().encode()
    seen = read(tmp_path / "x.csv", data, block_bytes=size)
    assert [tuple(v.values()) for v in seen.values] == rows
    for offset, length, row in zip(seen.offsets, seen.lengths, rows, strict=True):
        assert next(csv.reader(io.StringIO(data[offset : offset + length].decode(), newline=""))) == list(row)


@quick
@given(
    junk=st.lists(st.sampled_from([b'"', b",", b"\n", b"a", b'""', b'","', b"\r\n", b"\r", "你".encode("gb18030"), b"\xff"]), max_size=40),
    size=st.integers(1, 30),
)
def test_junk_is_accounted_for(tmp_path: Path, junk: list[bytes], size: int) -> None:
    data = b"one,two\n1,2\n3,4\n5,6\n7,8\n" + b"".join(junk)
    for form in ("records", "rows"):
        whole = read(tmp_path / "x.csv", data, form)
        assert read(tmp_path / "x.csv", data, form, block_bytes=size).outcome() == whole.outcome()
