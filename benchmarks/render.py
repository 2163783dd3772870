"""Rendering conversations beside the ways in which it is usually done: a chat template in Jinja, and a Python loop over turns.

`python -m benchmarks.render [--mb N] [--pairs N]`. Conversations are generated, half Chinese, half English, one to three questions and
answers, 300 to 2,000 characters together. `clean` is that text, in which hardly anything is to be guarded; in `marked` every content holds
a mark of every template, so that the guard has to write all of it anew.

- ours: texts and spans, a column at a time.
- Jinja: `corpus.splits.jinja` compiled and run as transformers does, the conversations as dictionaries: texts alone, as
  `apply_chat_template(tokenize=False)` gives them.
- loop: texts and spans turn by turn, as a careful Python programmer would write it: marks are looked for with `in` before a
  regular expression replaces them.

Every side runs in a process of its own, with one thread, in turn; CPU seconds of the work alone; MB are UTF-8 of the rendered text. Before
anything is timed, the texts of all three and the spans of both are held to be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.measure import fresh, table

if TYPE_CHECKING:
    import pyarrow as pa

    from corpus.splits.templates import Template

MODULE = "benchmarks.render"
TARGET = 50
SIDES = ("ours", "jinja", "loop")
HEAD = ("template", "text", "MB", "ours, MB/s", "Jinja, MB/s", "loop, MB/s", "times Jinja", "times loop")
_MARKS = ("\nHuman: ", " USER: ", "</s>", "\n### Response: ", "<|im_end|>", " \n\n", "\nHugChat: ")

Talk = list[dict[str, str]]


def run(megabytes: int, pairs: int) -> dict[str, Any]:
    """CPU seconds of every side, by text and template, `pairs` times."""
    fresh(MODULE, "--side", "same", "--mb", 1)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(pairs):
        for side in SIDES:
            runs[side].append(fresh(MODULE, "--side", side, "--mb", megabytes))
    return runs


def show(found: dict[str, Any]) -> str:
    """The result as a Markdown table of medians."""
    rows = []
    for text, by_template in found["ours"][0].items():
        for name, first in by_template.items():
            speeds = {side: first["bytes"] / statistics.median(r[text][name]["cpu"] for r in runs) / 1e6 for side, runs in found.items()}
            ours, peers = speeds["ours"], (speeds["jinja"], speeds["loop"])
            rows.append((
                name, text, f"{first['bytes'] / 1e6:.0f}", f"{ours:.0f}", *(f"{peer:.0f}" for peer in peers),
                *(f"{ours / peer:.1f}" for peer in peers),
            ))  # fmt: skip
    return table(HEAD, rows) + f"\n\nTarget: {TARGET} MB/s for every template, one thread."


def conversations(size: int, *, marked: bool) -> list[Talk]:
    """Generated conversations of some `size` bytes together."""
    import numpy as np

    from benchmarks.data import SEED, chinese, english

    rng = np.random.default_rng(SEED + 99)
    languages = ((chinese(), 25, 130), (english(), 15, 60))
    out: list[Talk] = []
    done = 0
    while done < size:
        for language, asked, answered in languages:
            questions, answers = language.texts(rng, 1000, asked), language.texts(rng, 1000, answered)
            at = 0
            while at < 1000:
                until = min(1000, at + int(rng.integers(1, 4)))
                talk = [
                    {"role": role, "content": content}
                    for pair in zip(questions[at:until], answers[at:until], strict=True)
                    for role, content in zip(("user", "assistant"), pair, strict=True)
                ]
                at = until
                if 300 <= sum(len(each["content"]) for each in talk) <= 2000:
                    out.append(talk)
                    done += sum(len(each["content"].encode()) for each in talk)
    if marked:
        for talk in out:
            for each in talk:
                half = len(each["content"]) // 2
                each["content"] = each["content"][:half] + "".join(_MARKS) + each["content"][half:]
    return out


def by_column(template: Template, column: pa.ListArray) -> tuple[Any, Any]:
    """Ours."""
    from corpus.splits.templates import render

    return render(template, column)


def by_jinja(template: Template) -> Callable[[list[Talk]], list[str]]:
    """The compiled chat template, over conversations."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from corpus.splits.jinja import jinja

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    compiled = environment.from_string(jinja(template))
    return lambda talks: [compiled.render(messages=talk, add_generation_prompt=False) for talk in talks]


def by_loop(template: Template) -> Callable[[list[Talk]], tuple[list[str], list[list[tuple[int, int]]]]]:
    """Turn by turn."""
    from corpus.splits.guards import Where

    rules: list[tuple[str, re.Pattern[str], str]] = []
    for mark in template.marks:
        text, instead = re.escape(mark.text), mark.instead.replace("\\", r"\\")
        if mark.where is Where.LINE:
            rules.append((mark.text, re.compile(rf"^([ \t]*){text}", re.MULTILINE), rf"\g<1>{instead}"))
        elif mark.where is Where.WORD:
            rules.append((mark.text, re.compile(rf"\b{text}", re.ASCII), instead))
        elif mark.where is Where.GAP:
            rules += [("\n\n", re.compile(r"\A[ \n]*\n\n"), ""), (mark.text, re.compile(r" [ \n]*\n\n"), instead)]
        else:
            rules.append((mark.text, re.compile(text), instead))
    unlearned = len(template.after["assistant"]) - len(template.end)

    def render(talks: list[Talk]) -> tuple[list[str], list[list[tuple[int, int]]]]:
        texts, spans = [], []
        for talk in talks:
            parts = [] if any(each["role"] == "system" for each in talk) else [template.preamble]
            at = len("".join(parts))
            learned = []
            for each in talk:
                role, content = each["role"], each["content"]
                for mark, pattern, instead in rules:
                    if mark in content:
                        content = pattern.sub(instead, content)
                part = template.before[role] + content + template.after[role]
                if role == "assistant":
                    learned.append((at + len(template.opens), at + len(part) - unlearned))
                at += len(part)
                parts.append(part)
            texts.append("".join(parts))
            spans.append(learned)
        return texts, spans

    return render


def _texts(megabytes: int) -> Iterator[tuple[str, list[Talk], pa.ListArray]]:
    import pyarrow as pa

    from corpus.schema import MESSAGES

    for name in ("clean", "marked"):
        talks = conversations(megabytes * 1_000_000, marked=name == "marked")
        yield name, talks, pa.array(talks, MESSAGES)


def same(megabytes: int) -> dict[str, Any]:
    """Holds the three sides against each other.

    Raises:
        RuntimeError: when they differ.
    """
    from corpus.splits.templates import TEMPLATES

    for name, talks, column in _texts(megabytes):
        for template in TEMPLATES.values():
            texts, spans = by_column(template, column)
            loop_texts, loop_spans = by_loop(template)(talks)
            own_spans = [[(span["start"], span["end"]) for span in each] for each in spans.to_pylist()]
            if not texts.to_pylist() == loop_texts == by_jinja(template)(talks) or own_spans != loop_spans:
                raise RuntimeError(f"template {template.name}, text {name}: the sides differ")
    return {}


def side(name: str, megabytes: int) -> dict[str, Any]:
    """Runs one side; CPU seconds and bytes of the rendered texts."""
    import pyarrow.compute as pc

    from corpus.splits.templates import TEMPLATES

    found: dict[str, Any] = {}
    for text, talks, column in _texts(megabytes):
        found[text] = {}
        for template in TEMPLATES.values():
            work = {
                "ours": partial(by_column, template, column),
                "jinja": partial(by_jinja(template), talks),
                "loop": partial(by_loop(template), talks),
            }[name]
            if name == "ours":
                work()  # the libraries make up their minds about the machine in the first call
            began = time.process_time()
            work()
            cpu = time.process_time() - began
            size = pc.sum(pc.binary_length(by_column(template, column)[0])).as_py()
            found[text][template.name] = {"cpu": cpu, "bytes": size}
    return found


def main() -> None:
    """Prints the table, or as JSON what one side took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.render", description=__doc__)
    parser.add_argument("--mb", type=int, default=30, help="MB of contents [30]")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each side [3]")
    parser.add_argument("--side", choices=(*SIDES, "same"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side is None:
        print(show(run(given.mb, given.pairs)))
        return
    if "polars" in sys.modules:
        raise RuntimeError("polars is loaded already, and would not be held to one thread")
    os.environ["POLARS_MAX_THREADS"] = "1"
    print(json.dumps(same(given.mb) if given.side == "same" else side(given.side, given.mb)))


if __name__ == "__main__":
    main()
