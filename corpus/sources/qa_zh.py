"""Chinese question and answer sites. A question there is a title and, for some, a description, which often repeats the title."""

from __future__ import annotations

import re
from typing import Any

import orjson

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, join_input, need, rest, text_of
from corpus.text.settings import Traits

_SPACE = re.compile(r"\s+")


def question(title: str, description: str) -> str:
    """Title and description of a question as one text, without what would be said twice.

    Spaces aside, a description that is part of the title adds nothing, and one that begins with the title stands for both.
    """
    short, long = _SPACE.sub("", title), _SPACE.sub("", description)
    if long in short:
        return title
    return description if long.startswith(short) else join_input(title, description)


def _baike(record: Any, emit: Emit, /) -> None:
    """{qid, category, title, desc, answer}; the hidden part of the set lacks the answer."""
    need(record, "title")
    _answered(question(text_of(record, "title"), text_of(record, "desc")), record, "answer", rest(record, "title", "desc", "answer"), emit)


def _finance(record: Any, emit: Emit, /) -> None:
    """{title, prompt, reply, is_best}; the description is called `question` in the older release."""
    need(record, "title", "reply")
    more = text_of(record, "prompt") or text_of(record, "question")
    meta = rest(record, "title", "prompt", "question", "reply")
    _answered(question(text_of(record, "title"), more), record, "reply", meta, emit)


def _zhihu(record: Any, emit: Emit, /) -> None:
    """{INSTRUCTION, RESPONSE, SOURCE, METADATA}, where METADATA is a JSON object in a string."""
    need(record, "INSTRUCTION", "RESPONSE")
    meta = rest(record, "INSTRUCTION", "RESPONSE", "METADATA") or {}
    _answered(text_of(record, "INSTRUCTION"), record, "RESPONSE", meta | _opened(record.get("METADATA")) or None, emit)


def _opened(metadata: Any) -> dict[str, Any]:
    """The object that the publisher wrote as JSON text, or the text itself where it is none."""
    if not metadata:
        return {}
    try:
        value = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        value = None
    return value if isinstance(value, dict) else {"METADATA": metadata}


def _answered(asked: str, record: Any, answer: str, meta: dict[str, Any] | None, emit: Emit) -> None:
    if record.get(answer) is None:
        emit.prompt([(USER, asked)], meta=meta)
    else:
        emit.dialogue([(USER, asked), (ASSISTANT, text_of(record, answer))], meta=meta)


_ANSWER = re.compile(r"^答：", re.MULTILINE)


def _asked(record: Any, emit: Emit, /) -> None:
    """{text}: 问：…, and from a new line 答：…; a question alone is a prompt."""
    need(record, "text")
    text = text_of(record, "text", empty=False)
    if not text.startswith("问："):
        raise Reject("shape", f"the text begins with {text[:10]!r}, expected 问：")
    found = _ANSWER.search(text)
    if found is None:
        if "答：" in text:
            raise Reject("shape", "no line begins with 答：, though the text holds it")
        emit.prompt([(USER, text[len("问：") :])], meta=rest(record, "text"))
        return
    asked = text[len("问：") : found.start()].rstrip("\r\n")
    emit.dialogue([(USER, asked), (ASSISTANT, text[found.end() :])], meta=rest(record, "text"))


SOURCES: tuple[Source, ...] = (
    Source(
        name="baike-qa2019",
        about="1.5 million questions and answers of a Chinese encyclopedia's community, in 434 categories",
        address="https://github.com/brightmart/nlp_chinese_corpus",
        license="MIT (repository); web content",
        folder="baike_qa2019",
        files=(
            Files("baike_qa_train*.json"),
            Files("baike_qa_valid*.json", split="validation"),
            Files("baike_qa_test*.json", split="test"),
        ),
        parse=_baike,
        languages=("zh",),
        obtain="download baike2018qa from the address and unpack baike_qa_train.json and baike_qa_valid.json into baike_qa2019/",
        traits=Traits(html=True),
    ),
    Source(
        name="zhihu-kol",
        about="A million answers of well-known authors on zhihu.com, with upvotes",
        address="https://huggingface.co/datasets/wangrui6/Zhihu-KOL",
        license="none stated; user content of zhihu.com",
        folder="zhihu_kol",
        files=(Files("zhihu_kol/**/*.parquet"), Files("Zhihu-KOL/**/*.parquet")),
        parse=_zhihu,
        languages=("zh",),
        hub=Hub("wangrui6/Zhihu-KOL", ("data/*.parquet",)),
        traits=Traits(html=True, score="upvotes"),
    ),
    Source(
        name="financezhidao",
        about="Questions on finance with their answers from Baidu Zhidao",
        address="https://github.com/SophonPlus/ChineseNlpCorpus",
        license="none stated",
        folder="financezhidao",
        files=(Files("financezhidao_filter*.csv"),),
        parse=_finance,
        languages=("zh",),
        obtain="download financezhidao_filter.csv from the links of the address into financezhidao/",
    ),
    Source(
        name="mnbvc-qa",
        about="Questions and answers of MNBVC, in one text each",
        address="https://github.com/esbatmop/MNBVC",
        license="MIT",
        folder="mnbvc",
        files=(Files("mnbvc/MNBVC_qa*.jsonl"), Files("MNBVC_qa.jsonl")),
        parse=_asked,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh",),
        obtain="put the file MNBVC_qa.jsonl, JSON lines of {text}, into mnbvc/",
    ),
)
