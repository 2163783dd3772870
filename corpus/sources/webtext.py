"""Web text: crawled pages as documents, and a forum's questions with the best answers."""

from __future__ import annotations

import re
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Source
from corpus.sources.qa_zh import question
from corpus.sources.shapes import ASSISTANT, USER, need, rest, text_of
from corpus.text.settings import Traits

_BREAK = re.compile(r"<br[ \t]*/?>", re.IGNORECASE)


def _page(record: Any, emit: Emit, /) -> None:
    """{text, timestamp, url}; samples have the text alone."""
    need(record, "text")
    emit.document(text_of(record, "text"), meta=rest(record, "text"))


def _webtext(record: Any, emit: Emit, /) -> None:
    """{qid, title, desc, topic, star, content, …}: `content` is the answer, which the hidden part of the set lacks.

    `desc` was HTML: its `<br>` are line breaks.
    """
    need(record, "title")
    messages = [(USER, question(text_of(record, "title"), _BREAK.sub("\n", text_of(record, "desc"))))]
    meta = rest(record, "title", "desc", "content")
    if record.get("content") is None:
        emit.prompt(messages, meta=meta)
    else:
        emit.dialogue([*messages, (ASSISTANT, text_of(record, "content"))], meta=meta)


SOURCES: tuple[Source, ...] = (
    Source(
        name="c4",
        about="Colossal Clean Crawled Corpus: English web pages of Common Crawl, April 2019",
        address="https://huggingface.co/datasets/allenai/c4",
        license="ODC-By (C4)",
        folder="c4",
        files=(
            Files("c4-train.*.json.gz"),
            Files("c4-validation.*.json.gz", split="validation"),
            Files("c4/**/*.jsonl"),
            Files("c4/en/c4-train.*.json.gz", subset="en"),
            Files("c4/en/c4-validation.*.json.gz", subset="en", split="validation"),
            Files("c4/realnewslike/c4-train.*.json.gz", subset="realnewslike"),
            Files("c4/realnewslike/c4-validation.*.json.gz", subset="realnewslike", split="validation"),
            Files("c4/multilingual/c4-zh.*.json.gz", subset="zh"),
            Files("c4/multilingual/c4-zh-validation.*.json.gz", subset="zh", split="validation"),
        ),
        parse=_page,
        kinds=(Kind.DOCUMENT,),
        languages=("en", "zh"),
        # One of 1024 shards, 356,317 pages: the whole is 305 GB, and whoever wants it says so.
        hub=Hub("allenai/c4", ("en/c4-train.00000-of-01024.json.gz",)),
    ),
    Source(
        name="webtext2019zh",
        about="4.1 million answers of a Chinese community forum, the well-rated ones, with topics and stars",
        address="https://github.com/brightmart/nlp_chinese_corpus",
        license="MIT (repository); web content",
        folder="webtext2019zh",
        files=(
            Files("web_text_zh_train*.json"),
            Files("web_text_zh_valid*.json", split="validation"),
            Files("web_text_zh_test*.json", split="test"),
        ),
        parse=_webtext,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh",),
        obtain="download webtext2019zh from the address and unpack web_text_zh_{train,valid,testa}.json into webtext2019zh/",
        traits=Traits(html=True, score="star"),
    ),
)
