"""Chinese instruction sets outside BELLE and pCLUE: Chinese-Vicuna, self-instruct-zh, Firefly, Llama2-Chinese, PromptCBLUE, ChatLM-mini."""

from __future__ import annotations

import re
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Hub, Message, Reject, Source
from corpus.sources.shapes import ASSISTANT, USER, alpaca, answer_of, common_prefix, emit_conversation, need, preference, rest, text_of
from corpus.text.settings import Traits

_FIREFLY = "https://github.com/yangjianxin1/Firefly"
_CHATLM = "https://github.com/charent/ChatLM-mini-Chinese"

_BOUNDARY = re.compile(r"</s><s>(Human|Assistant): ")

_pairs = preference()


def parse_parallel(record: Any, emit: Emit, /) -> None:
    """Chinese-Vicuna's chats, {input: [question, …], output: [answer, …]}."""
    need(record, "input", "output")
    questions, answers = record["input"], record["output"]
    if not isinstance(questions, list) or not isinstance(answers, list):
        raise Reject("shape", f"fields 'input', 'output' hold {type(questions).__name__}, {type(answers).__name__}, expected two lists")
    if not all(isinstance(text, str) for text in [*questions, *answers]):
        raise Reject("shape", "fields 'input', 'output' hold something else than strings")
    if not questions or len(questions) - len(answers) not in (0, 1):
        raise Reject("shape", f"{len(questions)} questions with {len(answers)} answers")
    messages: list[Message] = []
    for i, question in enumerate(questions):
        messages.append((USER, question))
        messages += [(ASSISTANT, answer) for answer in answers[i : i + 1]]
    emit_conversation(messages, emit, meta=rest(record, "input", "output"))


def parse_firefly_chat(record: Any, emit: Emit, /) -> None:
    """Firefly's conversations, {conversation: [{human, assistant}], category, …}."""
    need(record, "conversation")
    messages: list[Message] = []
    for turn in record["conversation"] or ():
        need(turn, "human")
        messages.append((USER, text_of(turn, "human")))
        if turn.get("assistant") is not None:
            messages.append((ASSISTANT, text_of(turn, "assistant")))
    if not messages:
        raise Reject("no_rows", "a conversation without a message")
    emit_conversation(messages, emit, meta=rest(record, "conversation"))


def parse_firefly_preference(record: Any, emit: Emit, /) -> None:
    """UltraFeedback's layout: `chosen` and `rejected` are whole conversations; `prompt` and `messages` only repeat parts of them.

    Answers with equal scores are a tie: which of them is "chosen" is then chance.
    """
    need(record, "chosen", "rejected")
    good, bad = answer_of(record["chosen"]), answer_of(record["rejected"])
    shared = min(common_prefix(good, bad), len(good) - 1, len(bad) - 1)
    head, good, bad = good[:shared], good[shared:], bad[shared:]
    if not head:
        raise Reject("shape", "the two conversations do not begin with the same message")
    meta = rest(record, "chosen", "rejected") or {}
    if meta.get("messages") == record["chosen"]:
        del meta["messages"]
    if meta.get("prompt") == head[-1][1]:
        del meta["prompt"]
    score = record.get("score_chosen")
    tie = good == bad or (score is not None and score == record.get("score_rejected"))
    emit.preference(head, good, bad, meta=meta, skip="tie" if tie else None)


def parse_text(record: Any, emit: Emit, /) -> None:
    """{text}."""
    emit.document(text_of(need(record, "text"), "text", empty=False), meta=rest(record, "text"))


def parse_llama2(record: Any, emit: Emit, /) -> None:
    r"""{text: "<s>Human: …\n</s><s>Assistant: …\n</s>"}.

    A turn ends where `</s><s>` and the *other* role's name follow; anything else is text, also the names alone. The line break
    before `</s>` is the format's.
    """
    text = text_of(need(record, "text"), "text").strip()
    if not text.startswith("<s>Human: ") or not text.endswith("</s>"):
        raise Reject("shape", f"the text begins with {text[:20]!r} and ends with {text[-20:]!r}, expected '<s>Human: ' and '</s>'")
    messages: list[Message] = []
    role, start = "Human", len("<s>Human: ")
    for boundary in _BOUNDARY.finditer(text):
        if boundary[1] != role:
            messages.append((USER if role == "Human" else ASSISTANT, text[start : boundary.start()].removesuffix("\n")))
            role, start = boundary[1], boundary.end()
    messages.append((USER if role == "Human" else ASSISTANT, text[start:].removesuffix("</s>").removesuffix("\n")))
    emit_conversation(messages, emit, meta=rest(record, "text"))


def parse_promptcblue(record: Any, emit: Emit, /) -> None:
    """{input, target, answer_choices, task_type, task_dataset, sample_id}; the test set's targets are empty."""
    need(record, "input")
    user, target = text_of(record, "input", empty=False), text_of(record, "target")
    subset = text_of(record, "task_dataset") or None
    meta = rest(record, "input", "target", "task_dataset")
    if target.strip():
        emit.dialogue([(USER, user), (ASSISTANT, target)], subset=subset, meta=meta)
    else:
        emit.prompt([(USER, user)], subset=subset, meta=meta)


def parse_chatlm_pairs(record: Any, emit: Emit, /) -> None:
    """{prompt, chosen, rejected}; files that were not yet merged say `reject`."""
    if isinstance(record, dict) and "reject" in record and "rejected" not in record:
        record = {("rejected" if k == "reject" else k): v for k, v in record.items()}
    _pairs(record, emit)


SOURCES: tuple[Source, ...] = (
    Source(
        name="chinese-vicuna-chat",
        about="Chinese-Vicuna's sample conversations, in traditional characters",
        address="https://github.com/Facico/Chinese-Vicuna/tree/master/sample/chat",
        license="Apache-2.0",
        folder="chinese_vicuna",
        files=(Files("chinese_vicuna/**/chat/*.json*"), Files("sample/chat/*.json*")),
        parse=parse_parallel,
        languages=("zh",),
        obtain="copy the folder sample of the repository to chinese_vicuna",
    ),
    Source(
        name="chinese-vicuna-instruct",
        about="Chinese-Vicuna's instructions: samples, and the merge of BELLE and Guanaco",
        address="https://github.com/Facico/Chinese-Vicuna",
        license="Apache-2.0",
        folder="chinese_vicuna",
        files=(Files("chinese_vicuna/**/instruct/*.json*"), Files("sample/instruct/*.json*"), Files("chinese_vicuna/merge.json*")),
        parse=alpaca(),
        languages=("zh",),
        hub=Hub("Chinese-Vicuna/guanaco_belle_merge_v1.0", ("merge.json",)),
        traits=Traits(escapes=True),
    ),
    Source(
        name="self-instruct-zh",
        about="self-instruct-zh: 35,588 Chinese instructions answered by ChatGPT, and its seeds",
        address="https://github.com/wptoux/self-instruct-zh",
        license="none stated",
        folder="self_instruct_zh",
        files=(Files("seed_chatgpt.csv*", subset="seeds"), Files("answers/answer_*.csv*"), Files("self_instruct_zh/**/answer_*.csv*")),
        parse=alpaca("instruction_zh", "input_zh", "ans"),
        languages=("zh",),
        obtain="copy seed_chatgpt.csv and the folder answers of the repository",
        traits=Traits(placeholders=("无", "没有")),
    ),
    Source(
        name="firefly",
        about="Firefly: 1.1 million Chinese instructions over 23 kinds of tasks",
        address="https://huggingface.co/datasets/YeungNLP/firefly-train-1.1M",
        license="none stated",
        folder="firefly",
        files=(Files("firefly-train-1.1M*.jsonl*"),),
        parse=alpaca("input", None, "target", None),
        languages=("zh",),
        hub=Hub("YeungNLP/firefly-train-1.1M", ("*.jsonl",)),
        traits=Traits(html=True),
    ),
    Source(
        name="firefly-chat",
        about="Firefly's sample conversations, from MOSS, in Chinese and English",
        address=_FIREFLY,
        license="none stated",
        folder="firefly",
        files=(Files("firefly/**/dummy_data.jsonl*"),),
        parse=parse_firefly_chat,
        languages=("zh", "en"),
        obtain="copy data/dummy_data.jsonl of the repository to firefly/",
    ),
    Source(
        name="firefly-preference",
        about="Firefly's sample of preference pairs, from UltraFeedback",
        address=_FIREFLY,
        license="none stated",
        folder="firefly",
        files=(Files("dummy_dpo.jsonl*"),),
        parse=parse_firefly_preference,
        kinds=(Kind.PREFERENCE,),
        obtain="copy data/dummy_dpo.jsonl of the repository",
    ),
    Source(
        name="firefly-pretrain",
        about="Firefly's sample of pretraining texts",
        address=_FIREFLY,
        license="none stated",
        folder="firefly",
        files=(Files("dummy_pretrain.jsonl*"),),
        parse=parse_text,
        kinds=(Kind.DOCUMENT,),
        languages=("zh",),
        obtain="copy data/pretrain/dummy_pretrain.jsonl of the repository",
    ),
    Source(
        name="llama2-chinese",
        about="Llama2-Chinese's sample conversations: single instructions, and ShareGPT dialogues",
        address="https://github.com/FlagAlpha/Llama2-Chinese/tree/main/data",
        license="none stated",
        folder="llama2_chinese",
        files=(
            Files("dev_sft.csv*", split="validation"),
            Files("dev_sft_sharegpt.csv*", subset="sharegpt", split="validation"),
            Files("train_sft.csv*", split="train"),
        ),
        parse=parse_llama2,
        languages=("zh",),
        obtain="copy data/*_sft*.csv of the repository",
    ),
    Source(
        name="promptcblue",
        about="PromptCBLUE: Chinese medical tasks as prompts",
        address="https://github.com/michael-wzhu/PromptCBLUE",
        license="academic research only, no commercial use",
        folder="promptcblue",
        files=tuple(
            Files(f"{folder}/**/{name}.json*", split=split)
            for folder in ("promptcblue", "PromptCBLUE")
            for name, split in (("train", "train"), ("dev", "validation"), ("test*", "test"))
        ),
        parse=parse_promptcblue,
        kinds=(Kind.DIALOGUE, Kind.PROMPT),
        languages=("zh",),
        obtain="copy datasets/PromptCBLUE/toy_examples of the repository, or register for the full set on Tianchi, to promptcblue/",
    ),
    Source(
        name="chatlm-mini",
        about="ChatLM-mini-Chinese: cleaned Chinese question and answer pairs",
        address=_CHATLM,
        license="Apache-2.0",
        folder="chatlm_mini",
        files=(
            Files("my_train_dataset*.parquet", split="train"),
            Files("my_valid_dataset*.parquet", split="validation"),
            Files("my_test_dataset*.parquet", split="test"),
        ),
        parse=alpaca("prompt", None, "response", None),
        languages=("zh",),
        obtain="copy data/*.parquet of the repository",
        traits=Traits(html=True, escapes=True, cap=320),
    ),
    Source(
        name="chatlm-mini-preference",
        about="ChatLM-mini-Chinese's preference pairs, as its scripts write them",
        address=_CHATLM,
        license="Apache-2.0",
        folder="chatlm_mini",
        files=(
            Files("my_dpo_data.json*"),
            Files("my_dpo_alpaca_gpt4_data_zh.json*"),
            Files("my_dpo_train.json*", split="train"),
            Files("my_dpo_eval.json*", split="validation"),
        ),
        parse=parse_chatlm_pairs,
        kinds=(Kind.PREFERENCE,),
        languages=("zh",),
        obtain="run utils/dpo_data_process.py of the repository; it writes data/my_dpo_*.json",
    ),
)
