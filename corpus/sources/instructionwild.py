"""InstructionWild: instructions that people shared of their ChatGPT sessions.

Version 1 grew some hundred seeds per language into 52,000 pairs in Alpaca's layout; version 2 is instructions without answers, some of
them with the kind of task (`instruction_type`) and a remark (`special_tag`).
"""

from __future__ import annotations

from corpus.schema import Kind
from corpus.sources.base import Files, Source
from corpus.sources.shapes import alpaca

_LICENSE = "for non-commercial research purpose only"
_ADDRESS = "https://github.com/XueFuzhao/InstructionWild"

SOURCES: tuple[Source, ...] = (
    Source(
        name="instructionwild",
        about="InstructionWild v1: 52,000 generated pairs each in English and Chinese",
        address=_ADDRESS,
        license=_LICENSE,
        folder="instructionwild",
        files=(Files("instinwild_en*.json*", subset="en"), Files("instinwild_ch*.json*", subset="zh")),
        parse=alpaca(),
        languages=("en", "zh"),
        obtain="download instinwild_en.json and instinwild_ch.json from the Google Drive links in data/README.md of the repository",
    ),
    Source(
        name="instructionwild-seeds",
        about="InstructionWild's seed instructions, 429 each in English and Chinese, translations of each other line by line",
        address=f"{_ADDRESS}/tree/main/data",
        license=_LICENSE,
        folder="instructionwild",
        files=(Files("seed_prompts_en.jsonl*", subset="en"), Files("seed_prompts_ch.jsonl*", subset="zh")),
        parse=alpaca(),
        kinds=(Kind.PROMPT,),
        languages=("en", "zh"),
        obtain="copy data/seed_prompts_en.jsonl and data/seed_prompts_ch.jsonl of the repository",
    ),
    Source(
        name="instructionwild-v2",
        about="InstructionWild v2: 110,000 English instructions by people, without answers",
        address=f"{_ADDRESS}/tree/main/data_v2",
        license=_LICENSE,
        folder="instructionwild",
        files=(Files("instructionwild/**/user_*.jsonl*"), Files("data_v2/user_*.jsonl*")),
        parse=alpaca(),
        kinds=(Kind.PROMPT,),
        languages=("en",),
        obtain="copy data_v2/user_*.jsonl of the repository to instructionwild/",
    ),
)
