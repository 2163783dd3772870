"""The publishers' real files, where `DATA_REAL` names the folder that holds them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sources.framing.support import Seen, read_path

FOLDER = Path(os.environ.get("DATA_REAL", ""))
pytestmark = [pytest.mark.real, pytest.mark.skipif("DATA_REAL" not in os.environ, reason="DATA_REAL names no folder")]

# file, format → records, rejects, notes; what is not plain about each
EXPECTED: dict[tuple[str, str], tuple[int, list[str], int]] = {
    ("belle/older/eval_set.json", "records"): (1080, ["json"] * 4, 0),
    ("instructionwild/user_2.jsonl", "records"): (180, [], 2),
    ("instructionwild/user_3.jsonl", "records"): (139, [], 2),
    ("chinese_medical_dialogue/样例_内科5000-6000.csv", "records"): (4969, [], 0),
    ("chinese_medical_dialogue/内科.txt", "lines"): (3000, [], 0),
    ("self_instruct_zh/answers/answer_1.csv", "records"): (48, [], 0),
    ("self_instruct_zh/answers/answer_4.csv", "records"): (4600, [], 0),
    ("llama2_chinese/dev_sft.csv", "records"): (140, [], 0),
    ("llama2_chinese/dev_sft_sharegpt.csv", "records"): (120, [], 0),
    ("alpaca_zh_hikariming/代码问题.json", "records"): (5887, [], 0),
    ("alpaca_zh_hikariming/学术问题.json", "records"): (138, [], 0),
    ("alpaca_zh_hikariming/整数加减法.json", "records"): (325, [], 0),
    ("awesome_chatgpt_prompts/2026/prompts.csv", "records"): (300, [], 0),
    ("alpaca/alpaca_data.json", "records"): (15000, [], 0),
    ("hh_rlhf/harmless-base/test.jsonl.gz", "records"): (1600, [], 0),
    ("pubmedqa/ori_pqal.json", "keyed"): (700, [], 0),
    ("reward_zh_sentiment/sentiment_analysis/dev.tsv", "rows"): (1500, [], 0),
    ("wikiextractor/en-0/wiki_00", "wikiextractor"): (67, [], 0),
    ("wikiextractor/zh-0/wiki_00", "wikiextractor"): (45, [], 0),
    ("wikipedia_xml/bgwiki-latest-pages-articles-shortened.xml.bz2", "mediawiki"): (3, [], 0),
    ("wikipedia_xml/smallwiki-latest-pages-articles.xml.bz2", "mediawiki"): (1000, [], 0),
    ("wikipedia_xml/minidumps/zh/wiki.xml.bz2", "mediawiki"): (1, [], 0),
    ("zhihu_kol/train-00000-of-00005-a1278ede4e8c5cdb_sample.parquet", "records"): (700, [], 0),
}


@pytest.mark.parametrize(("file", "format"), EXPECTED)
def test_real_file(file: str, format: str) -> None:
    path = FOLDER / file
    seen: Seen
    (seen,) = read_path(path, format)
    assert (seen.records, seen.reasons, len(seen.notes)) == EXPECTED[file, format]
    assert seen.bytes == path.stat().st_size


def test_every_file_is_accounted_for() -> None:
    """Whatever format is asked for, nothing raises, and the account is right (`support` asserts it)."""
    for path in sorted(p for p in FOLDER.rglob("*") if p.is_file())[::5]:
        for form in ("records", "lines"):
            for seen in read_path(path, form):
                assert seen.records
