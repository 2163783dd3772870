"""clean: `parsed` → `clean` and `measures`, row for row.

Applies the recipe's text rules to every text of a row and its turn rules to every conversation, computes the keys by which later stages
find equal rows and equal prompts, and measures what the filter decides by. It drops nothing.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpus.executors.task import Report, Task
from corpus.recipe import Clean
from corpus.schema import CLEAN, MEASURED, MESSAGES, ROLES
from corpus.stages.base import Context, parts
from corpus.stages.spoken import CONVERSATIONS, TEXTS, Flat, Spoken, last_turns
from corpus.text.settings import TextSettings, Traits
from corpus.warehouse.commit import PartitionWriter
from corpus.warehouse.manifest import FileEntry, Partition

NAME = "clean"
VERSION = 6

_LIBRARIES = ("pyarrow", "polars", "numpy", "OpenCC", "pycld2")
_ABOUT_SCRIPT = ("繁体", "繁體", "正體中文", "正体中文", "简体", "簡體", "raditional Chinese", "implified Chinese")
_AS_PARSED = ("row_id", "source", "subset", "license", "file", "record", "kind", "upstream_split", "meta")


def plan(context: Context, inputs: list[tuple[Partition, FileEntry, str]]) -> list[Task]:
    """One task per partition that the identify stage hands on."""
    settings = context.recipe.clean
    told = {**settings.model_dump(mode="json", exclude={"rules", "without"}), "rules": list(settings.active)}
    tasks = []
    for partition, entry, digest in inputs:
        traits = context.traits[partition.key.partition("/")[0]]
        tasks.append(
            Task(
                stage=NAME,
                key=partition.key,
                parts=parts(
                    NAME, VERSION, writes=(CLEAN, MEASURED), inputs={partition.key: digest}, libs=_LIBRARIES,
                    unicode=unicodedata.unidata_version, clean=told,
                    traits=json.loads(json.dumps(asdict(traits))),  # as the manifest will have it
                ),
                run=run,
                inputs=(partition,),
                spec={"rows": entry, "clean": settings, "traits": traits},
                size=entry.bytes,
            )
        )  # fmt: skip
    return tasks


def run(task: Task, root: Path, report: Report) -> Partition:
    """Cleans one partition, row group by row group."""
    entry: FileEntry = task.spec["rows"]
    settings: Clean = task.spec["clean"]
    stem = f"{task.key}.{task.fingerprint[:8]}.parquet"
    changed: dict[str, int] = dict.fromkeys(settings.active, 0)
    with (
        PartitionWriter(root, f"clean/{stem}", CLEAN.schema, "clean") as rows,
        PartitionWriter(root, f"measures/{stem}", MEASURED.schema, "measures") as measures,
    ):
        file = pq.ParquetFile(root / entry.path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            for piece in slices(table):
                cleaned = clean(piece, settings, task.spec["traits"])
                rows.write(cleaned.rows)
                measures.write(cleaned.measures)
                for rule, n in cleaned.changed.items():
                    changed[rule] += n
            report(entry.bytes // max(1, file.num_row_groups), table.num_rows)
    return task.done([rows.committed, measures.committed], changed=changed)


_SLICE_BYTES = 8 << 20


def slices(table: pa.Table) -> Iterator[pa.Table]:
    """Cuts a row group whose texts are far larger than they were upstream (escapes, compression) into pieces of bounded size."""
    pieces = max(1, -(-table.nbytes // _SLICE_BYTES))
    step = max(1, -(-table.num_rows // pieces))
    for start in range(0, table.num_rows, step):
        yield table.slice(start, step).combine_chunks()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Rows after the rules (schema CLEAN), what was measured of them (schema MEASURED), and per rule the number of rows it changed."""

    rows: pa.Table
    measures: pa.Table
    changed: dict[str, int]


def clean(table: pa.Table, settings: Clean, traits: Traits) -> Cleaned:
    """Cleans rows of schema ROWS from a source of these traits."""
    from corpus.text.measures import Rows, measure

    n = table.num_rows
    text_settings = settings.settings(traits)
    written = rewrite(table, settings.active, text_settings)
    content, masks = written.content, written.masks
    flat = {name: Flat.of(content[name]) for name in CONVERSATIONS}
    spoken = Spoken.of(content, flat)
    found = keys(_whole(table["kind"]), spoken)
    columns = {
        **{name: _whole(table[name]) for name in _AS_PARSED},
        **content,
        **found,
        "opening_key": _openings(table, spoken, found["prompt_key"]),
        "asks": pa.array(_asks(flat["messages"], n) | _titled(content)),
        "changed_by": _changed_by(masks, n),
    }
    rows = pa.table([columns[c.name] for c in CLEAN.columns], schema=CLEAN.schema)
    scores = _scores(table["meta"], traits.score)
    measured = Rows(spoken.texts, spoken.named(), spoken.rows, n, spoken.learned(), scores)
    columns |= {
        "excluded": _whole(table["skip"]),
        "problem": _problems(table["kind"], written),
        **measure(measured, text_settings, utf8=spoken.utf8),
    }
    measures = pa.table([columns[c.name] for c in MEASURED.columns], schema=MEASURED.schema)
    return Cleaned(rows, measures, {name: int(mask.sum()) for name, mask in masks.items()})


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Rows after some rules.

    Attributes:
        content: the columns of content.
        masks: for each rule which rows it changed (bool[rows]).
        marks: of the contents of conversations, by column; only of those columns whose turns are as many as before.
    """

    content: dict[str, pa.Array]
    masks: dict[str, np.ndarray]
    marks: dict[str, np.ndarray]


def rewrite(table: pa.Table, active: tuple[str, ...], settings: TextSettings) -> Rewritten:
    """Takes all texts of rows through rules.

    Args:
        table: with the columns of content of schema ROWS.
        active: names of the rules.
        settings: for all of them.
    """
    from corpus.text import rules
    from corpus.text.conversations import mend
    from corpus.text.registry import TEXT_RULES, TURN_RULES

    n = table.num_rows
    masks = {name: np.zeros(n, dtype=bool) for name in active}
    lists = {name: _whole(table[name]) for name in CONVERSATIONS}
    flat = {name: Flat.of(column) for name, column in lists.items()}
    pieces = [*(flat[name].contents for name in CONVERSATIONS), *(pl.Series(_whole(table[name]), dtype=pl.String) for name in TEXTS)]
    row_of = np.concatenate([*(flat[name].rows for name in CONVERSATIONS), *(np.arange(n) for _ in TEXTS)])
    text_rules = tuple(r for r in TEXT_RULES if r.name in masks)
    whole = pl.concat(pieces)
    texts, changes, marks = rules.clean(whole, text_rules, settings)
    if "script" in masks and settings.script != "keep":
        # A row that is about the two scripts (请翻译成繁体中文) says nothing any more when all of it is in one.
        about = np.zeros(n, dtype=bool)
        about[row_of[whole.str.contains_any(list(_ABOUT_SCRIPT)).fill_null(False).to_numpy()]] = True
        about &= (pl.Series(_whole(table["kind"]), dtype=pl.String) != "document").to_numpy()
        at = np.flatnonzero(about[row_of])
        if len(at):
            kept, again, marks[at] = rules.clean(whole.gather(at), text_rules, replace(settings, script="keep"))
            texts = texts.clone().scatter(at, kept)
            changes = {name: np.concatenate([places[~about[row_of[places]]], at[again[name]]]) for name, places in changes.items()}
    for name, at in changes.items():
        masks[name][row_of[at]] = True
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    place = {name: slice(end - len(piece), end) for name, piece, end in zip((*CONVERSATIONS, *TEXTS), pieces, ends, strict=True)}
    content: dict[str, pa.Array] = {name: _strings(texts[place[name]]) for name in TEXTS}
    turn_rules = [r for r in TURN_RULES if r.name in masks]
    found = {}
    for name, kinds in _kinds(table["kind"]).items():
        content[name] = lists[name]
        if not len(flat[name].rows):
            continue
        found[name] = marks[place[name]]
        column = _listed(lists[name], flat[name].roles, texts[place[name]])
        content[name], mended = mend(column, kinds, turn_rules, settings, found[name], text_rules=text_rules)
        for rule, at in mended.items():
            masks[rule][at] = True
        if any(map(len, mended.values())):
            del found[name]
    return Rewritten(content, masks, found)


def _kinds(kinds: pa.ChunkedArray) -> dict[str, pl.Series]:
    """What the conversations of every column are, see `text.turns.Talk`."""
    from corpus.text.turns import CONTINUATION

    own = pl.Series(_whole(kinds), dtype=pl.String)
    continuation = pl.repeat(CONTINUATION, len(own), dtype=pl.String, eager=True)
    return {"messages": own, "chosen": continuation, "rejected": continuation}


def _problems(kinds: pa.ChunkedArray, written: Rewritten) -> pa.Array:
    """What is wrong with the structure of every row, or null."""
    from corpus.text.alternation import problems
    from corpus.text.conversations import talk_of
    from corpus.text.turns import WHITE

    content = written.content
    own = pl.Series(_whole(kinds), dtype=pl.String)
    document, preference = own == "document", own == "preference"
    found = [
        problems(talk_of(content[name], each, written.marks.get(name)))
        for name, each in _kinds(kinds).items()
        if name == "messages" or preference.any()
    ]
    missing = preference & (pl.Series(content["chosen"].is_null()) | pl.Series(content["rejected"].is_null()))
    blank = (pl.Series(content["text"], dtype=pl.String).str.strip_chars(WHITE) == "").fill_null(True)
    # A document has no conversation, and only a document has a text.
    whole = pl.select(pl.when((document & blank) | missing).then(pl.lit("empty")).when(~document).then(pl.coalesce(*found))).to_series()
    return _strings(whole)


def _listed(like: pa.ListArray, roles: pl.Series, contents: pl.Series) -> pa.ListArray:
    """Flat turns as lists of the lengths that `like` has."""
    struct = pa.StructArray.from_arrays([_strings(roles), _strings(contents)], fields=list(MESSAGES.value_type))
    lengths = pc.fill_null(pc.list_value_length(like), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, struct, type=MESSAGES, mask=pc.is_null(like) if like.null_count else None)


def _asks(turns: Flat, n: int) -> np.ndarray:
    """For each row, whether its messages, without a final answer, end with a user's turn."""
    users = (turns.roles == "user").to_numpy()
    answers = (turns.roles == "assistant").to_numpy()
    lengths = turns.counts(n)
    last = np.cumsum(lengths) - 1
    out = np.zeros(n, dtype=bool)
    some = lengths > 0
    out[some] = users[last[some]]
    pairs = lengths > 1
    out[pairs] |= answers[last[pairs]] & users[last[pairs] - 1]
    return out


def _titled(content: Mapping[str, pa.Array]) -> np.ndarray:
    """For each row, whether it has both a title and a text."""
    filled = [pc.fill_null(pc.not_equal(content[name], ""), False).to_numpy(zero_copy_only=False) for name in TEXTS]
    return filled[0] & filled[1]


def keys(kinds: pa.Array, spoken: Spoken) -> dict[str, pa.Array]:
    """row_key and prompt_key of every row: hashes of folded texts, with kinds, roles and boundaries."""
    from corpus.text.folding import folded

    ends, data = folded(spoken.utf8, spoken.places * 4 + spoken.roles + 1)
    bounds = np.concatenate([[0], ends])
    firsts = np.searchsorted(spoken.rows, np.arange(spoken.count + 1))
    starts = bounds[firsts]
    # A prompt ends before the final answer; a document is its own prompt.
    asked = (spoken.places == 0) | (spoken.places > 2)
    asked[last_turns(spoken)] = False
    prompts = starts[:-1].copy()
    np.maximum.at(prompts, spoken.rows[asked], ends[asked])
    view = memoryview(data.tobytes())
    letters = [kind[:3].encode() for kind in kinds.to_pylist()]
    row_keys = [
        blake2b(view[a:b], digest_size=16, person=kind).digest()
        for a, b, kind in zip(starts[:-1].tolist(), starts[1:].tolist(), letters, strict=True)
    ]
    prompt_keys = [blake2b(view[a:b], digest_size=16).digest() for a, b in zip(starts[:-1].tolist(), prompts.tolist(), strict=True)]
    return {"row_key": pa.array(row_keys, pa.binary(16)), "prompt_key": pa.array(prompt_keys, pa.binary(16))}


def _openings(table: pa.Table, spoken: Spoken, prompt_keys: pa.Array) -> pa.Array:
    """opening_key of every row: a hash of its first question, of a document of its title, without width, case, blanks and punctuation.

    Conversations that begin alike teach the same first answer, however they go on; articles of one title are asked for in the same words.
    Rows without either have their prompt_key, and those that ask nothing the key of their record, which all pairs of one ranking share.
    """
    from corpus.text.folding import folded
    from corpus.text.marks import utf8

    asked = (spoken.places == 0) & (spoken.roles == ROLES.index("user"))
    titled = spoken.places == len(CONVERSATIONS)
    at = np.flatnonzero(asked | titled)
    rows, first = np.unique(spoken.rows[at], return_index=True)
    at = at[first]
    ends, data = folded(utf8(spoken.texts.gather(at)), np.where(titled[at], 2, 1).astype(np.uint8), bare=True)
    view = memoryview(data.tobytes())
    found: list[bytes] = prompt_keys.to_pylist()
    nothing = blake2b(digest_size=16).digest()
    bare = [n for n, key in enumerate(found) if key == nothing]
    places = table.select(["source", "file", "record"]).take(pa.array(bare, pa.int64())).to_pylist()
    for n, place in zip(bare, places, strict=True):
        found[n] = blake2b("\0".join(map(str, place.values())).encode(), digest_size=16, person=b"place").digest()
    for row, start, end in zip(rows.tolist(), [0, *ends.tolist()][:-1], ends.tolist(), strict=True):
        if end - start > 1:  # more than its head
            found[row] = blake2b(view[start:end], digest_size=16, person=b"opening").digest()
    return pa.array(found, pa.binary(16))


def _changed_by(masks: Mapping[str, np.ndarray], n: int) -> pa.ListArray:
    names = list(masks)
    matrix = np.stack([masks[name] for name in names], axis=1) if names else np.zeros((n, 0), dtype=bool)
    _, which = np.nonzero(matrix)
    offsets = np.concatenate([[0], np.cumsum(matrix.sum(axis=1))]).astype(np.int32)
    values = pa.array([names[i] for i in which], pa.string())
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=CLEAN["changed_by"].type)


def _scores(meta: pa.ChunkedArray, key: str | None) -> np.ndarray | None:
    """The first number in the value of a key of meta (`赞同 1.2 万` is 12,000); not a number where there is none."""
    if key is None:
        return None
    told = pl.Series(_whole(meta), dtype=pl.String).str.json_path_match(f"$.{key}")
    number = told.str.extract(r"(-?[0-9]+(?:\.[0-9]+)?)").cast(pl.Float64)
    unit = told.str.extract(r"-?[0-9]+(?:\.[0-9]+)? ?([万萬kK])")
    return (number * unit.replace_strict({"万": 1e4, "萬": 1e4, "k": 1e3, "K": 1e3}, default=1.0, return_dtype=pl.Float64)).to_numpy()


def _strings(series: pl.Series) -> pa.Array:
    return series.to_arrow().cast(pa.string())


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
