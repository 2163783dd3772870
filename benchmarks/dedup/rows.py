"""Real rows: a folder of upstream files becomes one parquet of row_id, source, text.

`python -m benchmarks.dedup.rows --data FOLDER --out FILE [--cap ROWS]`. Nothing is cleaned, and none of the project's own readers is
used, so that what is compared does not depend on them: bytes are decoded, records parsed, and the question and the answer joined by a line
break. The first folder of a path names the source.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import html
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

CAP = 3000
"""Rows taken of one file, so that no publisher's file outweighs all others."""

_SKIP = re.compile(
    r"manifest\.json$|\.zip$|\.yaml$|dataset_info\.json$|cmp_data_scores\.json$|test_ground_truth\.json$"
    r"|self_instruct_zh/problems/|smallwiki-latest-pages-articles\.xml$|/user_prompts/"
)
"""Files without rows of text: ids, scores, prompts that are repeated elsewhere, slices of a whole file."""
_PLAIN = re.compile(r"\.(txt|tsv)$")
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()

_PAIRS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("instruction", "input"), ("output", "response", "chosen")),
    (("instruction",), ("output", "response", "chosen")),
    (("instruction_zh", "input_zh"), ("ans",)),
    (("INSTRUCTION",), ("RESPONSE",)),
    (("title", "ask"), ("answer",)),
    (("title", "desc"), ("answer", "content")),
    (("question", "opa", "opb", "opc", "opd"), ("exp",)),
    (("QUESTION",), ("LONG_ANSWER",)),
    (("question", "A", "B", "C", "D"), ("answer",)),
    (("question",), ("response_chosen", "std_answer", "answer", "output")),
    (("input",), ("target", "output")),
    (("context",), ("target",)),
    (("act", "prompt"), ()),
    (("prompt",), ("chosen", "selected", "response", "completion")),
    (("content", "prompt"), ("result_list",)),
    (("text",), ("answer", "spo_list")),
    (("title", "summary"), ()),
    (("title",), ("text", "content")),
    (("chosen",), ()),
    (("headlines",), ("text",)),
    (("text",), ()),
    (("content",), ()),
]
"""Fields of the question and of the answer: the first line counts whose question fields a record has all."""
_TURNS = ("conversations", "conversation", "messages", "chat")
_TURN_TEXT = ("value", "content", "Human", "human", "MOSS", "assistant", "text")


def _decode(raw: bytes) -> str:
    """UTF-8 where it is UTF-8, otherwise GB18030; a byte that fits neither becomes U+FFFD."""
    for codec in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return raw.decode("gb18030", errors="replace")


def _array(text: str) -> Iterator[Any]:
    """The values of a JSON array one by one, so that a comma too many costs nothing."""
    at = text.index("[") + 1
    while True:
        at = _SPACE.match(text, at).end()
        if at >= len(text) or text[at] == "]":
            return
        if text[at] == ",":
            at += 1
            continue
        value, at = _DECODER.raw_decode(text, at)
        yield value


def _json(text: str) -> Iterator[Any]:
    """The values of a JSON array, of an object of objects, or of JSON lines, of which broken ones are skipped."""
    head = text.lstrip()[:1]
    if head == "[":
        yield from _array(text)
        return
    if head == "{":
        try:
            whole = json.loads(text)
        except json.JSONDecodeError:
            whole = None
        if isinstance(whole, dict):
            nested = len(whole) > 3 and all(isinstance(v, dict) for v in whole.values()) and "chat" not in whole
            yield from whole.values() if nested else [whole]
            return
    for line in filter(str.strip, text.split("\n")):
        try:
            yield json.loads(line.strip().rstrip(","))
        except json.JSONDecodeError:
            continue


def _pages(text: str) -> Iterator[Any]:
    """The pages of a MediaWiki dump, with their markup."""
    for page in re.findall(r"<page>(.*?)</page>", text, re.S):
        title, body = (re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.S) for tag in ("title", "text"))
        if title and body:
            yield {"title": html.unescape(title.group(1)), "text": html.unescape(body.group(1))}


def _records(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        try:
            yield from pq.read_table(path).to_pylist()
        except pa.ArrowInvalid as error:
            print(f"unreadable: {path.name}: {error}", file=sys.stderr)
        return
    raw = path.read_bytes()
    text = _decode(gzip.decompress(raw) if path.suffix == ".gz" else bz2.decompress(raw) if path.suffix == ".bz2" else raw)
    if ".xml" in path.name or "pages-articles" in path.name:
        yield from _pages(text)
    elif path.suffix == ".csv":
        reader = csv.reader(io.StringIO(text, newline=""))
        head = next(reader)
        for row in reader:
            yield dict(zip(head, row, strict=True)) if len(row) == len(head) else ",".join(row)
    elif text.startswith("<doc "):
        yield from re.findall(r"<doc [^>]*>\n(.*?)\n</doc>", text, re.S)
    elif _PLAIN.search(path.name) and not text.lstrip().startswith("{"):
        yield from filter(str.strip, text.split("\n"))
    else:
        yield from _json(text)


def _flat(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _dialogue(turns: Any) -> str:
    parts: list[str] = []
    for turn in turns.values() if isinstance(turns, dict) else turns:
        parts += [_flat(turn[key]) for key in _TURN_TEXT if turn.get(key)] if isinstance(turn, dict) else [_flat(turn)]
    return "\n".join(parts)


def text_of(record: Any) -> str:
    """The text of an upstream record: all turns, or question and answer, or all values."""
    if not isinstance(record, dict):
        return _flat(record)
    for key in _TURNS:
        if record.get(key):
            answer = record.get("chosen")
            return _dialogue(record[key]) + ("\n" + _dialogue([answer]) if answer else "")
    if isinstance(record.get("prompt"), dict):  # a tree of messages: the prompt and its first reply
        root = record["prompt"]
        return "\n".join([_flat(root.get("text"))] + [_flat(reply.get("text")) for reply in root.get("replies", [])[:1]])
    for question, answer in _PAIRS:
        if all(key in record for key in question):
            said = [_flat(record[key]) for key in question if record[key]]
            return "\n".join(said + [_flat(record[key]) for key in answer if record.get(key)][:1])
    return "\n".join(map(_flat, record.values()))


def make(data: Path, out: Path, cap: int = CAP) -> Counter[str]:
    """Writes the rows of all files under `data`, at most `cap` of each (0: all), and returns how many rows each source has.

    Raises:
        ValueError: when there are none.
    """
    csv.field_size_limit(1 << 30)
    sources: list[str] = []
    texts: list[str] = []
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data).as_posix()
        if not path.is_file() or "/" not in name or _SKIP.search(name):
            continue
        before = len(texts)
        for record in _records(path):
            if cap and len(texts) - before >= cap:
                break
            text = text_of(record)
            if text.strip():
                texts.append(text.encode("utf-8", "replace").decode("utf-8"))  # parquet has no lone surrogates, JSON escapes do
                sources.append(name.split("/", 1)[0])
    if not texts:
        raise ValueError(f"{data} holds no files with records, in folders named after their sources")
    out.parent.mkdir(parents=True, exist_ok=True)
    columns = {"row_id": pa.array(range(len(texts)), pa.int64()), "source": pa.array(sources), "text": pa.array(texts, pa.large_string())}
    pq.write_table(pa.table(columns), out, compression="zstd")
    return Counter(sources)


def main() -> None:
    """Makes the file and says what came from where."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup.rows", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of upstream files")
    parser.add_argument("--out", type=Path, required=True, help="parquet file to write")
    parser.add_argument("--cap", type=int, default=CAP, help=f"rows taken of one file, 0 for all [{CAP}]")
    given = parser.parse_args()
    made = make(given.data, given.out, given.cap)
    print(f"{made.total()} rows: " + ", ".join(f"{source} {count}" for source, count in made.most_common()))


if __name__ == "__main__":
    main()
