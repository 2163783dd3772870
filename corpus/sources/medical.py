"""Medical consultations, dialogues and texts. The exam sets are in :mod:`corpus.sources.medical_exams`.

Most of these sets are instruction rows whose publisher folded something into a field that is not part of the question: a fixed sentence
to the doctor, a prompt template, the earlier turns of the dialogue. Taking that apart again is what this module is for.
"""

from __future__ import annotations

import re
from typing import Any

from corpus.schema import Kind
from corpus.sources import shapes
from corpus.sources.base import Emit, Files, Hub, Message, Reject, Source
from corpus.sources.line_pairs import LinePairs
from corpus.sources.shapes import ASSISTANT, ROLE_NAMES, SYSTEM, USER, join_input, need, rest, text_of
from corpus.text.settings import Traits

# ---- Chinese-medical-dialogue-data ----

_NO_QUESTION = "无"
"""What the publisher writes into `ask` where the patient gave nothing but a title."""


def patient(title: str, ask: str) -> str:
    """The patient's turn: the title and the question, unless one of them already contains the other."""
    short, long = title.strip(), ask.strip()
    if not long or long == _NO_QUESTION or long in short:
        return title
    return ask if short in long else f"{title}\n{ask}"


def department_dialogue(record: Any, emit: Emit, /) -> None:
    """A row of department, title, ask (`question` in some releases) and answer."""
    need(record, "title", "answer")
    key = "ask" if "ask" in record else "question"
    need(record, key)
    question = patient(text_of(record, "title"), text_of(record, key))
    if not question.strip():
        raise Reject("no_rows", f"neither a title nor a question in {key!r}")
    emit.dialogue([(USER, question), (ASSISTANT, text_of(record, "answer"))], meta=rest(record, "title", key, "answer"))


def paired_lines(record: Any, emit: Emit, /) -> None:
    """Two lines, as :class:`~corpus.sources.line_pairs.LinePairs` folds them: `title,ask` without quoting, and the answer."""
    question, answer = record
    title, _, ask = question.partition(",")
    emit.dialogue([(USER, patient(title, ask)), (ASSISTANT, answer)])


# ---- ChatDoctor and its relatives ----

_TO_THE_DOCTOR = frozenset(
    {
        "If you are a doctor, please answer the medical questions based on the patient's description.",
        "如果您是医生，请根据患者的描述回答医学问题。",
    }
)
"""The instruction of every ChatDoctor row, and DoctorGLM's translation of it."""

_alpaca = shapes.alpaca()


def consultation(record: Any, emit: Emit, /) -> None:
    """An instruction row, in which ChatDoctor's constant instruction becomes the system message.

    The sentence says who is to answer, and the patient's words are in `input`. Joined to them it would stand before every question of the
    set, and make questions look alike that are not.
    """
    need(record, "instruction")
    extra = text_of(record, "input")
    if record["instruction"] not in _TO_THE_DOCTOR or not extra.strip() or record.get("output") is None:
        _alpaca(record, emit)
        return
    messages = [(SYSTEM, record["instruction"]), (USER, extra), (ASSISTANT, text_of(record, "output"))]
    emit.dialogue(messages, meta=rest(record, "instruction", "input", "output"))


def chatdoctor(record: Any, emit: Emit, /) -> None:
    """A consultation, or a row of the iCliniq comparison: the doctor's answer is the answer, those of the models go to meta."""
    if isinstance(record, dict) and "answer_icliniq" in record:
        need(record, "input")
        messages = [(USER, text_of(record, "input")), (ASSISTANT, text_of(record, "answer_icliniq"))]
        emit.dialogue(messages, meta=rest(record, "input", "answer_icliniq"))
    else:
        consultation(record, emit)


_ITEM = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ITEMS = re.compile(_ITEM, re.DOTALL)
_LIST = re.compile(rf"\[(?:(?:{_ITEM})(?:,\s*(?:{_ITEM}))*)?\]", re.DOTALL)
_ESCAPED = re.compile(r"\\(['\"\\])")
_DISEASE = {
    "Symptom": "Symptoms",
    "reason": "Reason",
    "TestsAndProcedures": "Tests and procedures",
    "commonMedications": "Common medications",
}  # fmt: skip


def _listed(value: str) -> str:
    """A Python list of strings, as pandas wrote it to CSV, as "a, b, c"; any other text as it is. Read by hand: data is never evaluated."""
    value = value.strip()
    if not _LIST.fullmatch(value):
        return value
    return ", ".join(_ESCAPED.sub(r"\1", item[1:-1]) for item in _ITEMS.findall(value))


_BYTES = re.compile(r"(?:\\x[0-9a-f]{2})+|\\'")


def _unescaped(value: str) -> str:
    r"""The text of the inside of a Python bytes literal, as which the table was written: `it\'s`, and `\xe2\x80\x93` for a dash.

    Escapes that are no UTF-8 stay as they are.
    """

    def text(found: re.Match[str]) -> str:
        escapes = found.group()
        if escapes == r"\'":
            return "'"
        try:
            return bytes.fromhex(escapes.replace(r"\x", "")).decode()
        except UnicodeDecodeError:
            return escapes

    return _BYTES.sub(text, value)


def disease(record: Any, emit: Emit, /) -> None:
    """A row of ChatDoctor's disease table as a document: one paragraph for each column that says something."""
    need(record, "disease", *_DISEASE)
    told = [(heading, _unescaped(_listed(text_of(record, column)))) for column, heading in _DISEASE.items()]
    text = "\n".join(f"{heading}: {value}" for heading, value in told if value)
    if not text:
        raise Reject("no_rows", f"nothing is told of {record['disease']!r}")
    emit.document(text, title=text_of(record, "disease"), meta=rest(record, "disease", *_DISEASE))


# ---- other publishers ----

_TURN = re.compile(r" <(user|bot)>: ")


def huatuo(record: Any, emit: Emit, /) -> None:
    """An instruction row; in the literature files the instruction is the dialogue so far, ` <user>: ` or ` <bot>: ` before each turn."""
    need(record, "instruction")
    text = text_of(record, "instruction")
    if not _TURN.match(text):
        _alpaca(record, emit)
        return
    pieces = _TURN.split(text)
    messages: list[Message] = [(ROLE_NAMES[pieces[i]], pieces[i + 1]) for i in range(1, len(pieces), 2)]
    role, content = messages.pop()
    if role != USER:
        raise Reject("shape", "the dialogue in 'instruction' ends with the bot, expected the user's turn that 'output' answers")
    messages.append((USER, join_input(content, text_of(record, "input"))))
    meta = rest(record, "instruction", "input", "output")
    if record.get("output") is None:
        emit.prompt(messages, meta=meta)
    else:
        emit.dialogue([*messages, (ASSISTANT, text_of(record, "output"))], meta=meta)


_TEMPLATES = {
    "instruction": re.compile(r"\A(?:\n\n### Instruction:\n)+"),
    "output": re.compile(r"\A(?:\n\n### Response:\n)+"),
}


def tigerbot(record: Any, emit: Emit, /) -> None:
    """An instruction row whose fields begin with the headings of the publisher's prompt template (once, in one row twice)."""
    need(record, *_TEMPLATES)
    _alpaca({**record, **{key: heading.sub("", text_of(record, key)) for key, heading in _TEMPLATES.items()}}, emit)


def paragraph(record: Any, emit: Emit, /) -> None:
    """A line of text as a document."""
    emit.document(record)


_reward = shapes.preference("question", "response_chosen", "response_rejected")


def shibing624(record: Any, emit: Emit, /) -> None:
    """A row of any of the three parts: a text, a question with two answers, or an instruction."""
    if isinstance(record, dict) and "text" in record:
        emit.document(text_of(record, "text", empty=False), meta=rest(record, "text"))
    elif isinstance(record, dict) and "response_chosen" in record:
        need(record, "question")
        _reward(record, emit)
    else:
        consultation(record, emit)


_DEPARTMENTS = ("内科", "男科", "妇产科", "肿瘤科", "儿科", "外科")
_TOYHOM = "https://github.com/Toyhom/Chinese-medical-dialogue-data"
_CHATDOCTOR = "https://github.com/Kent0n-Li/ChatDoctor"
_CHATDOCTOR_TERMS = "Apache-2.0 code; academic research only"
_PARTS = (("train", "train"), ("valid", "validation"), ("test", "test"))

SOURCES: tuple[Source, ...] = (
    Source(
        name="chinese-medical-dialogue",
        about="Questions of patients and answers of doctors from six departments, in Chinese",
        address=_TOYHOM,
        license="MIT",
        folder="chinese_medical_dialogue",
        files=(*(Files(f"{d}*.csv", subset=d) for d in _DEPARTMENTS), *(Files(f"样例_{d}*.csv", subset=d) for d in _DEPARTMENTS)),
        parse=department_dialogue,
        languages=("zh",),
        obtain=f"clone {_TOYHOM} and put the CSV files below Data_数据/ (内科5000-33000.csv and so on) into chinese_medical_dialogue/",
        traits=Traits(html=True),
    ),
    Source(
        name="chinese-medical-dialogue-text",
        about="Questions of patients and answers of doctors, internal medicine, as pairs of lines without department",
        address=_TOYHOM,
        license="MIT",
        folder="chinese_medical_dialogue",
        files=(Files("内科.txt", subset="内科"),),
        parse=paired_lines,
        format=LinePairs(),
        languages=("zh",),
        obtain=f"clone {_TOYHOM} and put Data_数据/IM_内科/内科.txt into chinese_medical_dialogue/",
    ),
    Source(
        name="huatuo-llama-med",
        about="Instructions from a Chinese medical knowledge base, and dialogues about the literature on liver cancer",
        address="https://github.com/SCIR-HI/Huatuo-Llama-Med-Chinese",
        license="Apache-2.0 code; data for academic research only, no commercial use",
        folder="huatuo_llama_med",
        files=(Files("llama_data.json", subset="knowledge"), Files("liver_cancer.json", subset="literature")),
        parse=huatuo,
        languages=("zh",),
        obtain="clone the repository and put data/llama_data.json and data-literature/liver_cancer.json into huatuo_llama_med/",
        traits=Traits(speakers=(("用户:", "user"), ("用户：", "user"))),
    ),
    Source(
        name="chatdoctor",
        about="Consultations in English: generated (GenMedGPT) and from two web sites with doctors (HealthCareMagic, iCliniq)",
        address=_CHATDOCTOR,
        license=_CHATDOCTOR_TERMS,
        folder="chatdoctor",
        files=(
            Files("chatdoctor5k.json", subset="GenMedGPT-5k"),
            Files("GenMedGPT-5k.json", subset="GenMedGPT-5k"),
            Files("HealthCareMagic*.json", subset="HealthCareMagic"),
            Files("iCliniq*.json", subset="iCliniq"),
        ),
        parse=chatdoctor,
        obtain="take chatdoctor5k.json from the repository, and HealthCareMagic-100k.json and iCliniq.json from the addresses in its "
        "README, and put them into chatdoctor/",
    ),
    Source(
        name="chatdoctor-diseases",
        about="A table of diseases with symptoms, tests and medications, in English",
        address=_CHATDOCTOR,
        license=_CHATDOCTOR_TERMS,
        folder="chatdoctor",
        files=(Files("chatdoctor/format_dataset.csv"),),
        parse=disease,
        kinds=(Kind.DOCUMENT,),
        obtain="take format_dataset.csv from the repository and put it into chatdoctor/",
    ),
    Source(
        name="chatdoctor-zh",
        about="GenMedGPT-5k of ChatDoctor, translated into Chinese by machine",
        address="https://github.com/xionghonglin/DoctorGLM",
        license="none stated",
        folder="chatdoctor_zh",
        files=(Files("GenMedGPT-5k-ch.json"),),
        parse=consultation,
        languages=("zh",),
        obtain="take Doctor_GLM/GenMedGPT-5k-ch.json from the repository and put it into chatdoctor_zh/",
    ),
    Source(
        name="tigerbot-medical-qa",
        about="Short medical questions and answers in Chinese",
        address="https://github.com/TigerResearch/TigerBot",
        license="Apache-2.0 repository",
        folder="tigerbot_medical_qa",
        files=(Files("medical_qa_6000.jsonl"),),
        parse=tigerbot,
        languages=("zh",),
        obtain="take train/data/medical_qa_6000.jsonl from the history of the repository and put it into tigerbot_medical_qa/",
    ),
    Source(
        name="medicalgpt-fever",
        about="A Chinese textbook on infectious diseases, one paragraph or heading a line",
        address="https://github.com/shibing624/MedicalGPT",
        license="Apache-2.0 code; data for research only",
        folder="medicalgpt",
        files=(Files("medicalgpt/**/fever.txt"),),
        parse=paragraph,
        format="lines",
        kinds=(Kind.DOCUMENT,),
        languages=("zh",),
        obtain="take data/pretrain/fever.txt from the repository and put it into medicalgpt/",
    ),
    Source(
        name="shibing624-medical",
        about="Chinese and English medical texts, instructions and preferences",
        address="https://huggingface.co/datasets/shibing624/medical",
        license="Apache-2.0",
        folder="shibing624_medical",
        files=(
            *(Files(f"finetune/{a}_{b}.json", f"finetune-{b[:2]}", s) for a, s in _PARTS for b in ("zh_0", "en_1")),
            *(Files(f"pretrain/{a}_encyclopedia.json", "encyclopedia", s) for a, s in _PARTS),
            Files("pretrain/medical_book_zh.json", "books"),
            *(Files(f"*medical/reward/{a}.json", "reward", s) for a, s in _PARTS),
        ),
        parse=shibing624,
        kinds=(Kind.DOCUMENT, Kind.DIALOGUE, Kind.PREFERENCE),
        languages=("zh", "en"),
        hub=Hub("shibing624/medical", ("finetune/*.json", "pretrain/*.json", "reward/*.json")),
    ),
)
