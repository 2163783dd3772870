"""What the tests of exports share."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.splits.templates import TEMPLATES, Template
from tests.export.made import answer, make_warehouse, turns

ODD = "中文 \"quoted\" \\n \u2028\u2029 \x00\x01\x1f\x7f\x85 \U0001f600 </s> \r\n\t</script> [END] 'a' \ufffe"

_STUBS = (
    Template("plain", dict.fromkeys(("system", "user", "assistant"), ""), {"system": "\n", "user": "\n", "assistant": "</s>"}, (), ()),
    Template(
        "hugchat", {"system": "", "user": "Human: ", "assistant": " HugChat: "}, {"system": "\n", "user": " \n", "assistant": " \n\n"},
        (("Human:", "Human："), ("HugChat:", "HugChat：")), (("\n\n", "\n"),),
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The templates that some formats are written in."""
    for stub in _STUBS:
        if stub.name not in TEMPLATES:
            monkeypatch.setitem(TEMPLATES, stub.name, stub)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A warehouse with a build of every form of split."""
    sft = [
        {"messages": turns("Q1", "A1")},
        {"messages": turns("Q1", "A1", "Q2", "A2", "Q3", ODD, system="S")},
        {"messages": turns(ODD, "答")},
    ]
    pairs = [
        {"prompt": turns("Q", "A", ODD), "chosen": answer("good"), "rejected": answer("bad")},
        {"prompt": turns("P", system="Be brief."), "chosen": answer(ODD), "rejected": answer("")},
        {"prompt": turns("T"), "chosen": answer("x") + turns("y", "z"), "rejected": answer("w")},
    ]
    return make_warehouse(
        tmp_path / "wh",
        {
            "pretrain:train": [[{"text": ODD, "title": "T", "kind": "document"}, {"text": "two\n\nlines", "kind": "document"}]],
            "sft:train": [sft, [{"messages": turns("last", "file"), "repeat": 1}]],
            "sft:eval": [[{"messages": turns("held", "out")}]],
            "rm:train": [pairs],
            "ppo:train": [[{"prompt": turns("Q", "A", "Q2", system="S")}, {"prompt": turns(ODD)}]],
            "test:test": [[{"messages": turns("T", "A")}, {"messages": turns("only a prompt")}]],
            "pairs:train": [[{"prompt": "P", "response": "R</s>"}]],
            "dpo-requests:train": [[{"prompt": turns("Q"), "chosen": answer("A")}]],
        },
    )
