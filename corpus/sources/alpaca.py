"""Stanford Alpaca and the sets that share its layout: GPT-4 answers to its prompts, GPTeacher, LIMA, the Chinese translations.

Most of them are declarations over :func:`~corpus.sources.shapes.alpaca`. Translations and samples differ in field names only; placeholders
such as `Noinput` and HTML entities are in the data, not in the format, and are left to the cleaning rules.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Message, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, alpaca, emit_conversation, join_input, need, rest, text_of
from corpus.text.settings import Traits

_NC = "CC BY-NC 4.0"
_GPT4_LLM = "https://github.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM"

_TEMPLATE = re.compile(
    r"Below is an instruction that describes a task(?P<paired>, paired with an input that provides further context)?\. "
    r"Write a response that appropriately completes the request\.\n\n### Instruction:\n(?P<text>.*?)(?:\n\n### Response:\s*)?",
    re.DOTALL,
)

_plain = alpaca()
_zh = alpaca("instruction_zh", "input_zh", "output_zh")


def instances(record: Any, emit: Emit, /) -> None:
    """Seed tasks of the self-instruct layout, {instruction, instances: [{input, output}], …}: one row per instance."""
    need(record, "instruction", "instances")
    instruction, items = text_of(record, "instruction"), record["instances"]
    if not isinstance(items, list):
        raise Reject("shape", f"field 'instances' holds {type(items).__name__}, expected a list")
    meta = rest(record, "instruction", "instances") or {}
    if not items and instruction.strip():
        emit.prompt([(USER, instruction)], meta=meta)
    for item in items:
        user = join_input(instruction, text_of(need(item), "input"))
        more = meta | (rest(item, "input", "output") or {})
        if item.get("output") is None:
            emit.prompt([(USER, user)], meta=more)
        else:
            emit.dialogue([(USER, user), (ASSISTANT, text_of(item, "output"))], meta=more)


def parse_alpaca(record: Any, emit: Emit, /) -> None:
    """{instruction, input, output}; with the suffix `_zh` in one translation; the hub's `text` only renders the three and is left out."""
    if isinstance(record, dict):
        if "instruction_zh" in record:
            _zh(record, emit)
            return
        if "text" in record:
            record = {k: v for k, v in record.items() if k != "text"}
    _plain(record, emit)


def unwrap(prompt: str) -> str:
    """A prompt without Alpaca's template around it, in which the comparison data stores every `user_input`."""
    found = _TEMPLATE.fullmatch(prompt)
    if found is None:
        return prompt
    text = found["text"]
    if found["paired"]:
        instruction, mark, extra = text.partition("\n\n### Input:\n")
        return join_input(instruction, extra) if mark else text
    return text


def parse_comparison(record: Any, emit: Emit, /) -> None:
    """GPT-4's comparisons in both versions.

    Version 1 is {user_input, completion_a, completion_b}, a being better. Version 2 is {user_input, responses_and_scores: [{response,
    source, score}]} and yields a pair for every two responses with different scores, the best first, with their places among all
    responses in meta; where all scores are equal, one tie.
    """
    need(record, "user_input")
    head: list[Message] = [(USER, unwrap(text_of(record, "user_input")))]
    if "responses_and_scores" not in record:
        need(record, "completion_a", "completion_b")
        a, b = text_of(record, "completion_a"), text_of(record, "completion_b")
        meta = rest(record, "user_input", "completion_a", "completion_b")
        emit.preference(head, [(ASSISTANT, a)], [(ASSISTANT, b)], meta=meta, skip="tie" if a == b else None)
        return
    items = record["responses_and_scores"]
    if not isinstance(items, list) or len(items) < 2:
        raise Reject("shape", "field 'responses_and_scores' does not hold a list of two or more responses")
    ranked = sorted(items, key=lambda item: -float(item["score"]))
    pairs = [(i, j) for i, j in combinations(range(len(ranked)), 2) if float(ranked[i]["score"]) > float(ranked[j]["score"])]
    more = rest(record, "user_input", "responses_and_scores") or {}
    for i, j in pairs or [(0, 1)]:
        x, y = ranked[i], ranked[j]
        good, bad = text_of(x, "response"), text_of(y, "response")
        meta = {"ranks": [i, j], "ranked": len(ranked)} | more | {"score_chosen": x["score"], "score_rejected": y["score"]}
        meta |= {f"{k}_chosen": v for k, v in (rest(x, "response", "score") or {}).items()}
        meta |= {f"{k}_rejected": v for k, v in (rest(y, "response", "score") or {}).items()}
        emit.preference(head, [(ASSISTANT, good)], [(ASSISTANT, bad)], meta=meta, skip="tie" if not pairs or good == bad else None)


def parse_lima(record: Any, emit: Emit, /) -> None:
    """The hub's {conversations: [text, …], source}, user first and in turns (the test part is prompts), or the Alpaca layout."""
    if not isinstance(record, dict) or "conversations" not in record:
        _plain(record, emit)
        return
    texts = record["conversations"]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Reject("shape", "field 'conversations' does not hold a list of strings")
    if not texts:
        raise Reject("no_rows", "a conversation without a message")
    messages = [(ASSISTANT if i % 2 else USER, text) for i, text in enumerate(texts)]
    emit_conversation(messages, emit, meta=rest(record, "conversations"))


SOURCES: tuple[Source, ...] = (
    Source(
        name="alpaca",
        about="Stanford Alpaca: 52,002 English instructions answered by text-davinci-003",
        address="https://github.com/tatsu-lab/stanford_alpaca",
        license=_NC,
        folder="alpaca",
        files=(Files("alpaca_data.json*"), Files("alpaca/data/train-*.parquet")),
        parse=parse_alpaca,
        hub=Hub("tatsu-lab/alpaca", ("data/*.parquet",)),
        traits=Traits(placeholders=("N/A", "None")),
    ),
    Source(
        name="alpaca-seed-tasks",
        about="Stanford Alpaca's 175 seed tasks, those of self-instruct",
        address="https://github.com/tatsu-lab/stanford_alpaca",
        license=_NC,
        folder="alpaca",
        files=(Files("seed_tasks.jsonl*"),),
        parse=instances,
        obtain="copy seed_tasks.jsonl of the repository",
    ),
    Source(
        name="alpaca-gpt4-en",
        about="Alpaca's instructions answered by GPT-4",
        address=_GPT4_LLM,
        license=_NC,
        folder="alpaca_gpt4",
        files=(
            Files("alpaca_gpt4_data.json*"),
            Files("alpaca_gpt4_data_en.json*"),
            Files("alpaca_en_demo.json*"),
            Files("alpaca_gpt4_en_demo.json*"),
            Files("alpaca_gpt4/data/*.parquet"),
        ),
        parse=parse_alpaca,
        hub=Hub("vicgalle/alpaca-gpt4", ("data/*.parquet",)),
        traits=Traits(placeholders=("N/A", "None")),
    ),
    Source(
        name="alpaca-gpt4-zh",
        about="Alpaca's instructions in Chinese, answered by GPT-4",
        address=_GPT4_LLM,
        license=_NC,
        folder="alpaca_gpt4_zh",
        files=(
            Files("alpaca_gpt4_data_zh.json*"),
            Files("alpaca-gpt4-data-zh*.json*"),
            Files("alpaca_zh_demo.json*"),
            Files("alpaca_gpt4_zh_demo.json*"),
            Files("alpaca_gpt4_zh/**/*.parquet"),
            Files("alpaca_gpt4_zh/**/*.json*"),
        ),
        parse=parse_alpaca,
        languages=("zh",),
        hub=Hub("llm-wizard/alpaca-gpt4-data-zh", ("**/*.parquet", "**/*.json", "**/*.jsonl")),
        obtain="publisher's own file: data/alpaca_gpt4_data_zh.json of GPT-4-LLM; the hub's older name is c-s-ale/alpaca-gpt4-data-zh",
    ),
    Source(
        name="alpaca-gpt4-comparison",
        about="Answers of GPT-4, GPT-3.5 and OPT-IML to Alpaca's instructions, ranked by GPT-4",
        address=_GPT4_LLM,
        license=_NC,
        folder="gpt4_llm",
        files=(Files("comparison_data.json*"), Files("comparison_data_v2.json*")),
        parse=parse_comparison,
        kinds=(Kind.PREFERENCE,),
        obtain="copy data/comparison_data_v2.json (or, of older revisions, data/comparison_data.json) of the repository",
        version=2,
    ),
    Source(
        name="gpt4-llm-user-oriented",
        about="GPT-4-LLM's 252 user-oriented instructions with the application that each is about",
        address=_GPT4_LLM,
        license=_NC,
        folder="gpt4_llm",
        files=(Files("user_oriented_instructions.jsonl*"),),
        parse=instances,
        obtain="copy plots/data/user_oriented_instructions.jsonl of the repository",
    ),
    Source(
        name="gpteacher",
        about="GPTeacher: English instructions answered by GPT-4: general, role play, code, tool use",
        address="https://github.com/teknium1/GPTeacher",
        license="MIT",
        folder="gpteacher",
        files=(
            Files("codegen-instruct*.json*", subset="codegen"),
            Files("roleplay-*instruct*.json*", subset="roleplay"),
            Files("toolformer-*dataset*.json*", subset="toolformer"),
            Files("gpt4-instruct-*dataset*.json*", subset="instruct"),
        ),
        parse=alpaca(output="response"),
        obtain="copy the JSON files below Codegen, Instruct, Roleplay and Toolformer; of each set's five thresholds of similarity take one",
    ),
    Source(
        name="lima",
        about="LIMA: 1,030 curated English questions with long answers, and 300 prompts for testing",
        address="https://huggingface.co/datasets/GAIR/lima",
        license="CC BY-NC-SA",
        folder="lima",
        files=(Files("lima.json*"), Files("lima/**/train.jsonl*", split="train"), Files("lima/**/test.jsonl*", split="test")),
        parse=parse_lima,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        hub=Hub("GAIR/lima", ("*.jsonl",)),
        obtain="the hub asks for a login and consent to the terms",
        traits=Traits(html=True),
    ),
    Source(
        name="alpaca-zh-carbonz0",
        about="Alpaca translated into Chinese by machine: 20,465 rows",
        address="https://github.com/carbonz0/alpaca-chinese-dataset",
        license="none stated; derived from Alpaca (CC BY-NC 4.0)",
        folder="alpaca_zh_carbonz0",
        files=(Files("zh-data-part-*.json*"),),
        parse=_plain,
        languages=("zh",),
        obtain="copy zh-data-part-00.json and zh-data-part-01.json of the repository",
        traits=Traits(escaped=True, placeholders=("不适用", "<无输入>", "`<无输入>`")),
    ),
    Source(
        name="alpaca-zh-hikariming",
        about="Chinese questions that supplement Alpaca: code, arithmetic, terms, scholarship, advice, party building",
        address="https://github.com/hikariming/alpaca_chinese_dataset",
        license="MIT",
        folder="alpaca_zh_hikariming",
        files=(
            Files("代码问题.json*", subset="代码问题"),
            Files("党建类数据集.json*", subset="党建类数据集"),
            Files("名词解释类问题.json*", subset="名词解释类问题"),
            Files("学术问题.json*", subset="学术问题"),
            Files("整数加减法.json*", subset="整数加减法"),
            Files("建议类问题.json*", subset="建议类问题"),
            Files("其他中文问题补充/*.json*"),
        ),
        parse=_plain,
        languages=("zh",),
        obtain="copy the JSON files below history/其他中文问题补充 of the repository",
        traits=Traits(slash_n=True),
    ),
)
