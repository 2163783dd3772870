"""How often the language and the script of a line are told right, and how fast: on lines whose sources say what they are.

No detector labels anything; sources do. English is what English sets hold, less the rows that speak of another
language or of code at their beginning, or have a letter beyond ASCII anywhere; Chinese is what Chinese sets hold, less the
lines with fewer Han than two in three characters; mixed are joined from one of each; other languages are articles of the
Latgalian and the Japanese Wikipedia, answers to "translate into French" and the like, and the sentences in `sentences`.
Traditional script is what Taiwanese sets hold, and what OpenCC makes of simplified lines for Taiwan and Hong Kong.

Two halves prove less than they seem: lines that were chosen for their Han are Chinese to a detector that counts Han, and OpenCC
also says which characters belong to one script. English against other languages, and the lines that were written in either
script, are the test. Some labels are wrong all the same: mainland sets have lines in traditional script, answers to
"translate" are in English now and then.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opencc
import polars as pl

from benchmarks.sentences import OTHER
from corpus.text.language import languages
from corpus.text.script import scripts

LEAST = 20
"""Characters of the shortest line that counts."""
_MOST = 4000
"""Lines taken of one file."""
_ASKS = re.compile(
    r"translat|spanish|french|german|italian|portuguese|dutch|latin|swedish|polish|vietnamese|indonesian|japanese|chinese|korean|russian|hindi|arabic|languages?\b|"
    r"\bcode|program|function|html|sql|regular exp|regex|script|python|java|json|algorithm|equation|formula|url|anagram|"
    r"pig latin|cipher|encrypt|password|morse|unscramble",
    re.IGNORECASE,
)
_INTO = re.compile(r"\b(?:to|into|in) (Spanish|French|German|Italian|Portuguese|Dutch|Swedish|Polish|Vietnamese|Indonesian)\b")
_HAN = re.compile(r"[\u3400-\u9fff]")
_BARE = re.compile(r"<ref[^>/]*>.*?</ref>|\{\{[^{}]*\}\}|<[^>]*>|&[a-z]+;|'{2,}|\[https?:\S* ?|\[\[(?:[^|\[\]]*\|)?|\]\]?")


def _json(path: Path) -> Iterator[Any]:
    """Records of a JSON array or of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8-sig") as f:
        text = f.read()
    if text.lstrip().startswith("["):
        yield from json.loads(text)
    else:
        yield from map(json.loads, filter(str.strip, text.split("\n")))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("id", "class", "type", "lang", "role", "from", "category", "qid", "message_id", "parent_id", "model_name"):
                yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _lines(texts: Iterator[str]) -> list[str]:
    """Different lines, stripped, of some length and with letters for half of it: neither rules of tables nor rows of figures."""
    lines = dict.fromkeys(line.strip() for text in texts for line in text.split("\n"))
    return [line for line in lines if len(line) >= LEAST and sum(map(str.isalpha, line)) * 2 >= len(line)][:_MOST]


def _wiki(path: Path) -> Iterator[str]:
    """Running text of a dump: lines that begin with a letter and end like a sentence, without the markup inside."""
    with bz2.open(path) as f:
        dump = f.read().decode("utf-8", "ignore")
    for page in re.findall(r"<ns>0</ns>.*?<text[^>]*>(.*?)</text>", dump, re.DOTALL):  # talk pages and templates are often English
        for line in page.split("\n"):
            bare = "" if line.startswith("[[") else _BARE.sub("", line.replace("&lt;", "<").replace("&gt;", ">"))
            if bare[:1].isalpha() and bare.endswith((".", "。")) and not re.search(r"[{}|=<>]|https?:", bare):
                yield bare


def chinese(folder: Path) -> dict[str, list[str]]:
    """Lines of Chinese sets of the mainland, by set."""
    found = {}
    for name in (
        "belle/Belle_open_source_1k.json", "belle/train_2M_CN_sample.json", "belle/train_3.5M_CN_sample.json",
        "alpaca_gpt4/alpaca_zh_demo.json",
        "alpaca_zh_hikariming/建议类问题.json", "baike_qa2019/baike_qa_train_sample.json", "oasst_zh/oaast_sft_zh.json",
    ):  # fmt: skip
        paths = [folder / name] if (folder / name).is_file() else sorted((folder / name).glob("*.json*"))
        lines = _lines(text for path in paths for record in _json(path) for text in _strings(record))
        found[name] = [line for line in lines if len(_HAN.findall(line)) * 3 >= len(line) * 2]
    return found


def english(folder: Path) -> dict[str, list[str]]:
    """Lines of English sets, by set."""
    found = {}
    for name in (
        "alpaca/alpaca_data.json",
        "lima",
        "hh_rlhf/harmless-base/test.jsonl.gz",
        "c4/c4_demo.jsonl",
        "oasst1/en_100_message.jsonl",
        "gpteacher",
        "sharegpt_vicuna",
    ):
        paths = [folder / name] if (folder / name).is_file() else sorted((folder / name).rglob("*.json*"))
        records = ((record, json.dumps(record, ensure_ascii=False)) for path in paths for record in _json(path))
        kept = (
            record
            for record, text in records
            if not _ASKS.search(text[:2000]) and not any(char.isalpha() for char in text if not char.isascii())
        )
        found[name] = _lines(text for record in kept for text in _strings(record))
    return found


def others(folder: Path) -> dict[str, list[str]]:
    """Lines of other languages, by where they come from."""
    dumps = {
        "ltg wiki": "smallwiki-latest-pages-articles.xml.bz2",
        "ja wiki": "minidumps/ja/wiki.xml.bz2",
    }
    found = {name: _lines(_wiki(folder / "wikipedia_xml" / path)) for name, path in dumps.items()}
    asked = (
        r["output"]
        for r in _json(folder / "alpaca/alpaca_data.json")
        if _INTO.search(r["instruction"]) and len(_INTO.findall(r["instruction"])) == 1
    )
    found["alpaca translations"] = _lines(asked)
    found["sentences"] = _lines(text for texts in OTHER.values() for text in texts)
    return found


def labelled(folder: Path) -> list[tuple[str, str, str]]:
    """(language, where it comes from, line)."""
    zh, en = chinese(folder), english(folder)
    found = [
        (label, name, line)
        for label, sets in (("zh", zh), ("en", en), ("other", others(folder)))
        for name, lines in sets.items()
        for line in lines
    ]
    halves = zip(
        (x for x in zh["belle/Belle_open_source_1k.json"] if len(x) < 80),
        (x for x in en["alpaca/alpaca_data.json"] if len(x) > 60),
        strict=False,
    )
    return found + [("mixed", "joined", f"{a}\n{b}") for a, b in halves]


def scripted(folder: Path) -> list[tuple[str, str, str]]:
    """(script, where it comes from, line)."""
    found = []
    for name, lines in chinese(folder).items():
        found += [("hans", name, line) for line in lines]
    source = [line for _, _, line in found[::5]]
    for config in ("s2tw", "s2hk"):
        to = opencc.OpenCC(config)
        found += [("hant", config, to.convert(line)) for line in source]
    for name in ("awesome_chatgpt_prompts_zh/prompts-zh-TW.json", "chinese_vicuna/chat"):
        paths = [folder / name] if (folder / name).is_file() else sorted((folder / name).glob("*"))
        lines = _lines(text for path in paths for record in _json(path) for text in _strings(record))
        found += [("hant", name, line) for line in lines if len(_HAN.findall(line)) * 3 >= len(line) * 2]
    halves = zip(*(sorted((x for x in source[i::7] if len(x) < 200), key=len) for i in (0, 3)), strict=False)
    return found + [("mixed", "joined", f"{a}\n{to.convert(b)}") for a, b in halves]


def judge(rows: list[tuple[str, str, str]], said: list[str | None], show: int = 0) -> tuple[float, str]:
    """The share of right answers, and the table of what was said for what."""
    answers = sorted({x or "null" for x in said})
    table: dict[tuple[str, str], dict[str, int]] = {}
    for (label, name, _), answer in zip(rows, said, strict=True):
        cell = table.setdefault((label, name), dict.fromkeys(answers, 0))
        cell[answer or "null"] += 1
    head = f"| is | from | {' | '.join(answers)} |\n|{' --- |' * (len(answers) + 2)}"
    body = [f"| {label} | {name} | {' | '.join(str(cell[x]) for x in answers)} |" for (label, name), cell in table.items()]
    wrong = [(label, answer, name, line) for (label, name, line), answer in zip(rows, said, strict=True) if label != answer]
    shown = (
        [f"{label} said {answer} ({name}): {line[:160]!r}" for label, answer, name, line in wrong[:: max(1, len(wrong) // show)]]
        if show and wrong
        else []
    )
    return 1 - len(wrong) / len(rows), "\n".join([head, *body, *shown])


def main() -> None:
    """Prints both tables, and the speed over all lines."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.language", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("DATA_REAL"), help="folder of upstream files [$DATA_REAL]")
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print of each kind [0]")
    given = parser.parse_args()
    for name, rows, tell in (("language", labelled(given.data), languages), ("script", scripted(given.data), scripts)):
        texts = pl.Series([line for _, _, line in rows])
        tell(texts.head(10))
        started = time.perf_counter()
        said = tell(texts).to_list()
        seconds = time.perf_counter() - started
        share, table = judge(rows, said, given.show)
        size = sum(texts.str.len_bytes())
        speed = f"{size / seconds / 1e6:.0f} MB/s, {seconds / size * 1e9:.1f} ns a byte"
        print(f"## {name}: {share:.2%} of {len(rows)} lines right, {speed}\n\n{table}\n")


if __name__ == "__main__":
    main()
