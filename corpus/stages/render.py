"""render: clean rows and their assignment → the files of the splits.

One task per clean partition writes that partition's rows of every split, in the form of the split:
`splits/<recipe>/<split>/<part>-<source>-….parquet`, a layout from which `datasets.load_dataset("parquet", data_dir=…)` finds
train and eval by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.recipe_splits import SPLIT_FORMS, Form
from corpus.schema import DIALOGUE_SPLIT, MESSAGES, PREFERENCE_SPLIT, PROMPT_SPLIT, TEXT_SPLIT, Kind, Table
from corpus.splits.articles import as_dialogues
from corpus.splits.templates import TEMPLATES, Template, opened, render
from corpus.stages.base import Context, parts
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import Partition

NAME = "render"
VERSION = 2

FORM_TABLES: dict[Form, Table] = {
    Form.TEXT: TEXT_SPLIT,
    Form.DIALOGUE: DIALOGUE_SPLIT,
    Form.PREFERENCE: PREFERENCE_SPLIT,
    Form.PROMPT: PROMPT_SPLIT,
}


def plan(context: Context, cleaned: list[Partition], allocated: Partition) -> list[Task]:
    """One task per clean partition of which a row is in a split."""
    template = TEMPLATES[context.recipe.template]
    answers = {name: spec.answer for name, spec in context.recipe.splits.items() if spec.kinds and Kind.DOCUMENT in spec.kinds}
    tasks = []
    for partition in cleaned:
        found = allocated.of(f"assigned:{partition.key}")
        if found and not found[0].rows:
            continue
        digest = found[0].sha256 if found else ""
        clean = partition.of("clean")
        tasks.append(
            Task(
                stage=NAME,
                key=f"{context.folder}:{partition.key}",
                parts=parts(
                    NAME,
                    VERSION,
                    writes=tuple(FORM_TABLES.values()),
                    inputs={partition.key: partition.fingerprint, "assigned": digest},
                    libs=("pyarrow", "polars"),
                    template={"name": template.name, "version": template.version},
                    answers=answers,
                ),
                run=run,
                spec={
                    "clean": clean[0] if clean else None,
                    "assigned": found[0] if found else None,
                    "template": template.name,
                    "answers": answers,
                    "folder": context.folder,
                    "stem": partition.key.replace("/", "-"),
                },
                size=clean[0].bytes if clean else 0,
            )
        )
    return tasks


def run(task: Task, root: Path, report: Report) -> Partition:
    """Writes one partition's rows of every split."""
    template = TEMPLATES[task.spec["template"]]
    assigned = pq.read_table(root / task.spec["assigned"].path)
    places = sorted({(s, p) for s, p in zip(assigned["split"].to_pylist(), assigned["part"].to_pylist(), strict=True)})
    wanted = {
        place: assigned.filter(pc.and_(pc.equal(assigned["split"], place[0]), pc.equal(assigned["part"], place[1])))[
            "row_id"
        ].combine_chunks()
        for place in places
    }
    writers: dict[tuple[str, str], PartitionWriter] = {}
    for split, part in places:
        table = FORM_TABLES[SPLIT_FORMS[split]]
        relative = f"splits/{task.spec['folder']}/{split}/{part}-{task.spec['stem']}.parquet"
        writers[split, part] = PartitionWriter(root, relative, table.schema, f"split:{split}:{part}")
    try:
        entry = task.spec["clean"]
        file = pq.ParquetFile(root / entry.path)
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            for (split, part), ids in wanted.items():
                mine = rows.filter(pc.is_in(rows["row_id"], ids)).combine_chunks()
                if mine.num_rows:
                    writers[split, part].write(shape(mine, SPLIT_FORMS[split], template, task.spec["answers"].get(split)))
            report(entry.bytes // max(1, file.num_row_groups), rows.num_rows)
    except BaseException as e:
        for writer in writers.values():
            writer.__exit__(type(e), e, None)
        raise
    for writer in writers.values():
        writer.__exit__(None, None, None)
    return task.done([w.committed for w in writers.values()])


def shape(rows: pa.Table, form: Form, template: Template, answer: int | None = None) -> pa.Table:
    """Rows of schema CLEAN in the form of a split. `answer`: characters that a document may answer with, in splits that take them."""
    table = FORM_TABLES[form]
    if answer is not None and form is not Form.TEXT:
        rows = as_dialogues(rows, answer)
    columns: dict[str, Any] = {name: rows[name] for name in ("row_id", "source", "subset", "license", "kind")}
    columns["repeat"] = pa.array(np.zeros(rows.num_rows, dtype=np.int32))
    if form is Form.TEXT:
        columns |= _text(rows, template)
    elif form is Form.DIALOGUE:
        messages = _one(rows["messages"])
        text, spans = render(template, messages)
        columns |= {"messages": messages, "text": text, "spans": spans}
    elif form is Form.PREFERENCE:
        prompt = _one(rows["messages"])
        columns["prompt"] = prompt
        for name, text_name, span_name in (("chosen", "text", "spans"), ("rejected", "rejected_text", "rejected_spans")):
            answer = _one(rows[name])
            columns[name] = answer
            whole, learned = _concat(prompt, answer)
            columns[text_name], columns[span_name] = render(template, whole, learned)
    else:
        prompt = _without_answer(_one(rows["messages"]))
        columns |= {"prompt": prompt, "text": opened(template, prompt)}
    return pa.table([columns[c.name] for c in table.columns], schema=table.schema)


def _text(rows: pa.Table, template: Template) -> dict[str, Any]:
    title, text = _one(rows["title"]), _one(rows["text"])
    heading = pc.if_else(pc.is_null(title), "", pc.binary_join_element_wise(pc.fill_null(title, ""), "", "\n\n"))
    rendered, _ = render(template, _one(rows["messages"]))
    return {
        "title": title,
        "text": pc.if_else(pc.is_null(text), rendered, pc.binary_join_element_wise(heading, pc.fill_null(text, ""), "")),
    }


def _concat(first: pa.ListArray, second: pa.ListArray) -> tuple[pa.ListArray, np.ndarray]:
    """Joins two columns of conversations row by row; also which messages of the result are assistant turns of the second."""
    a, b = pc.list_value_length(first).to_numpy(), pc.list_value_length(second).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(a + b)]).astype(np.int32)
    where = np.empty(int(offsets[-1]), dtype=np.int64)
    in_second = np.zeros(len(where), dtype=bool)
    row = np.repeat(np.arange(len(a)), a + b)
    within = np.arange(len(where)) - offsets[:-1][row]
    in_second = within >= a[row]
    where[~in_second] = np.arange(int(a.sum()))
    where[in_second] = int(a.sum()) + np.arange(int(b.sum()))
    flat = pa.concat_arrays([first.flatten(), second.flatten()]).take(pa.array(where))
    learned = in_second & pc.equal(flat.field("role"), "assistant").to_numpy(zero_copy_only=False)
    return pa.ListArray.from_arrays(pa.array(offsets), flat, type=MESSAGES), learned


def _without_answer(messages: pa.ListArray) -> pa.ListArray:
    """Conversations without a final assistant turn."""
    lengths = pc.list_value_length(messages).to_numpy()
    flat = messages.flatten()
    ends = np.cumsum(lengths) - 1
    answers = pc.equal(flat.field("role"), "assistant").to_numpy(zero_copy_only=False)
    cut = (lengths > 0) & answers[np.maximum(ends, 0)] if len(answers) else np.zeros(len(lengths), dtype=bool)
    keep = np.ones(len(flat), dtype=bool)
    keep[ends[cut]] = False
    offsets = np.concatenate([[0], np.cumsum(lengths - cut)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat.filter(pa.array(keep)), type=MESSAGES)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
