"""The embedded sample: small, completely listed in its README, and dirty exactly where the README says so.

The counts here are taken by the simplest means that a format allows, on purpose without the project's own readers.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

SAMPLES = Path(__file__).parents[2] / "corpus" / "samples"
README = (SAMPLES / "README.md").read_text(encoding="utf-8")
MOST_BYTES = 2_000_000
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| (\d+) \|$", re.MULTILINE)
LISTED = {m[1]: (m[2].strip(), int(m[3])) for m in _ROW.finditer(README)}


def files() -> dict[str, Path]:
    """All files of the sample but its README, by relative path."""
    return {p.relative_to(SAMPLES).as_posix(): p for p in sorted(SAMPLES.rglob("*")) if p.is_file() and p.name != "README.md"}


def content(name: str) -> bytes:
    """The decompressed bytes of a file."""
    data = (SAMPLES / name).read_bytes()
    if name.endswith(".gz") and not name.endswith(".tar.gz"):
        return gzip.decompress(data)
    return bz2.decompress(data) if name.endswith(".bz2") else data


def count(name: str, layout: str) -> int:
    """Records of a file, by the means that its layout allows."""
    if layout.startswith("Parquet"):
        return int(pq.ParquetFile(SAMPLES / name).metadata.num_rows)
    if layout.startswith("tar.gz"):
        with tarfile.open(SAMPLES / name) as tar:
            members = [tar.extractfile(m) for m in tar.getmembers()]
            return sum(len(json.load(m)["instances"]) for m in members if m is not None)
    data = content(name)
    if layout.startswith("JSON lines"):
        return sum(bool(line.strip()) for line in data.split(b"\n"))
    if layout.startswith(("JSON array", "JSON object, keyed")):
        return len(json.loads(data))
    if layout.startswith("JSON object"):
        return int(isinstance(json.loads(data), dict))
    if layout.startswith("CSV"):
        text = data.decode("gb18030" if "GB18030" in layout else "utf-8")
        return sum(1 for _ in csv.reader(io.StringIO(text, newline=""))) - 1
    if layout.startswith("XML"):
        return data.decode("utf-16" if "UTF-16" in layout else "utf-8").count("<page>")
    if layout.startswith("doc blocks"):
        return data.count(b"<doc ")
    if layout.startswith("text, titles"):
        return len(re.findall(r"(?m)^\n.+：$", data.decode("utf-8")))
    raise AssertionError(f"{name}: no way to count {layout!r}")


def test_the_sample_is_small() -> None:
    assert sum(p.stat().st_size for p in SAMPLES.rglob("*") if p.is_file()) <= MOST_BYTES


def test_every_file_is_listed_and_every_listed_file_is_there() -> None:
    assert sorted(LISTED) == sorted(files())


@pytest.mark.parametrize("name", sorted(LISTED))
def test_the_number_of_records_is_as_listed(name: str) -> None:
    layout, records = LISTED[name]
    assert count(name, layout) == records


def test_the_readme_states_the_total() -> None:
    total = sum(records for _, records in LISTED.values())
    assert f"{len(LISTED)} files, {total} records" in README


def test_malformed_lines_stay_below_a_tenth_of_their_file() -> None:
    for name, (layout, records) in LISTED.items():
        if not layout.startswith("JSON lines"):
            continue
        bad = 0
        for line in content(name).removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            if line.strip():
                try:
                    json.loads(line)
                except ValueError:
                    bad += 1
        assert bad == 0 or bad * 10 < records, name


def test_exact_duplicates_lie_within_and_across_sources() -> None:
    belle = Counter(content("belle/Belle_open_source_1M.json").split(b"\n"))
    assert max(belle.values()) == 2
    bullet = b'Explain the idiom \\"to bite the bullet\\".'
    assert bullet in content("alpaca/alpaca_data.json")
    assert bullet in content("instructionwild/instinwild_en.json")
    train, test = (pq.read_table(SAMPLES / f"chatlm_mini/my_{x}.parquet").to_pylist() for x in ("train_dataset_3k", "test_dataset_2k"))
    assert [row for row in test if row in train]


def test_evaluation_questions_occur_in_training_files() -> None:
    exact = "小明有 24 颗糖，分给 5 个朋友，每人分得一样多，最多每人几颗？还剩几颗？"
    changed = "小红有 24 颗糖，分给 5 个朋友，每人分得一样多，最多每人几颗？还剩几颗？"
    assert exact.encode() in content("belle/eval_set.json")
    assert exact.encode() in content("belle/Belle_open_source_1M.json")
    assert changed.encode() in content("belle/train_2M_CN.json")
    within = "研究人员追踪了五千名老人十年，发现每周步行超过一百五十分钟的人，患心血管疾病的风险比很少运动的人低约三成。"
    assert within.encode() in content("belle/eval_set.json")
    assert within.encode() in content("belle/train_2M_CN.json")


@pytest.mark.parametrize(
    ("name", "needle"),
    [
        ("belle/Belle_open_source_0.5M.json", b"\xef\xbb\xbf{"),
        ("belle/Belle_open_source_1M.json", rb"[3-9]\d{9}"),
        ("belle/Belle_open_source_1M.json", '解释"画蛇添足"的意思'.encode()),
        ("belle/Belle_open_source_1M.json", "１２３".encode()),
        ("belle/Belle_open_source_1M.json", "作为AI语言模型".encode()),
        ("belle/Belle_open_source_1M.json", "什麼是「沉沒成本」".encode()),
        ("belle/Belle.train.json", rb"\\n\\n"),
        ("belle/train_2M_CN.json", "\u200b".encode()),
        ("belle/train_2M_CN.json", rb"\u000b"),
        ("alpaca/alpaca_data.json", b'"No input"'),
        ("alpaca/alpaca_data.json", b"### Instruction:"),
        ("alpaca/alpaca_data.json", b"&nbsp;"),
        ("alpaca/alpaca_data.json", rb"\u00e2\u20ac\u2122"),
        ("firefly/firefly-train-1.1M.jsonl", "ÁßãÂ≠£".encode()),
        ("firefly/firefly-train-1.1M.jsonl", "閫傚害".encode()),
        ("firefly/firefly-train-1.1M.jsonl", "æµ\x81æ".encode()),
        ("firefly/firefly-train-1.1M.jsonl", rb"\ud83d"),
        ("chinese_medical_dialogue/外科5-14000.csv", "䶮".encode("gb18030")),
        ("self_instruct_zh/answers/answer_2.csv", "第四列".encode()),
        ("instructionwild/user_2.jsonl", b"\r\n"),
        ("sharegpt_52k/sg_90k_part1.json", b"Copy code"),
        ("sharegpt_52k/sg_90k_part1.json", b"1 / 2"),
        ("alpaca/alpaca_data.json", "Warm\u00a0crumb".encode()),
        ("alpaca/alpaca_data.json", "\u200b the starch\ufeff".encode()),
        ("alpaca/alpaca_data.json", b"!!!!!!!!!!"),
        ("alpaca/alpaca_data.json", "２０２３／１１／０５".encode()),
        ("alpaca/alpaca_data.json", b"@lantern-bakery.co.uk"),
        ("alpaca/alpaca_data.json", b"I cannot help"),
        ("alpaca_zh_carbonz0/zh-data-part-00.json", b"std::cout &lt;&lt; i"),
        ("alpaca_zh_carbonz0/zh-data-part-00.json", "&lt;无输入&gt;".encode()),
        ("alpaca_zh_hikariming/建议类问题.json", "：/n一、".encode()),
        ("belle/train_2M_CN.json", "！！！！！！！！！！".encode()),
        ("belle/train_2M_CN.json", "２０２３年".encode()),
        ("belle/train_2M_CN.json", b"13800138000"),
        ("belle/train_2M_CN.json", "\u2003和弦".encode()),
        ("belle/train_2M_CN.json", "請介紹一種臺灣小吃".encode()),
        ("firefly/firefly-train-1.1M.jsonl", "闆ㄥ悗".encode()),
        ("firefly/firefly-train-1.1M.jsonl", "I don‚Äôt".encode()),
        ("firefly/firefly-train-1.1M.jsonl", "美味しい".encode()),
        ("hh_rlhf/helpful-online/train.jsonl.gz", rb"Assistant: Human:"),
        ("huatuo_llama_med/liver_cancer.json", r"\n用户:".encode()),
        ("self_instruct_zh/answers/answer_3.csv", ",无,".encode()),
        ("sharegpt_vicuna_unfiltered/ShareGPT_V3_unfiltered_cleaned_split.json", b"Regenerate response"),
        ("wikipedia_xml/enwiki-20240101-pages-articles1.xml", b"{{disambiguation}}"),
        ("wikipedia_xml/enwiki-20240101-pages-articles1.xml", b"List of knots"),
        ("wikipedia_xml/zhwiki-20240101-pages-articles-multistream.xml.bz2", "茶叶列表".encode()),
    ],
)
def test_planted_dirt_is_there(name: str, needle: bytes) -> None:
    assert needle in content(name)


def test_an_answer_is_cut_at_320_characters() -> None:
    answers = pq.read_table(SAMPLES / "chatlm_mini/my_train_dataset_3k.parquet")["response"].to_pylist()
    assert [len(a) for a in answers].count(320) == 1


def test_a_record_is_cut_off_at_the_end_of_a_file() -> None:
    last = content("belle/school_math_0.25M.json").split(b"\n")[-1]
    assert last
    with pytest.raises(ValueError, match="Unterminated string"):
        json.loads(last)


def test_one_line_is_very_long() -> None:
    assert max(map(len, content("belle/train_3.5M_CN.json").split(b"\n"))) > 59_000


def test_a_conversation_ends_on_the_human() -> None:
    rows = [json.loads(line) for line in content("belle/train_3.5M_CN.json").splitlines()]
    assert [row["id"] for row in rows if row["conversations"][-1]["from"] == "human"]


def test_preference_pairs_with_equal_answers() -> None:
    rows = [json.loads(line) for line in content("hh_rlhf/helpful-base/train.jsonl.gz").splitlines()]
    assert sum(row["chosen"] == row["rejected"] for row in rows) == 1


def test_the_dump_has_several_streams_and_the_small_one_is_utf16() -> None:
    data = (SAMPLES / "wikipedia_xml/zhwiki-20240101-pages-articles-multistream.xml.bz2").read_bytes()
    assert data.count(b"BZh91AY&SY") > 2
    text = content("wikipedia_xml/zhwiki-20240101-pages-articles-multistream.xml.bz2").decode("utf-8")
    markup = "{{NoteTA -{zh-hans: -{A| [[文件: [[分类: [[Category: #重定向 &lt;ref &lt;math&gt; {{formatnum: {{lang| {{noteTA -{H| {{convert {{lang-en -{zh-cn:"
    for construct in markup.split():
        assert construct in text, construct
    assert content("wikipedia_xml/minidumps/zh/wiki.xml.bz2").startswith(b"\xff\xfe")
