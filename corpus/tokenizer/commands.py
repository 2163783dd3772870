"""The commands `corpus tokenizer train`, `report` and `extend`: what each does, and what it tells of it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from corpus.console import ERR, OUT, command, count, progress, table, to_json, write
from corpus.errors import UsageError
from corpus.tokenizer import text_file
from corpus.tokenizer.folder import FOLDER, GAIN, REPORT, RUNS, check_outside, read_manifest
from corpus.tokenizer.load import Loaded, load
from corpus.tokenizer.report import as_json, as_markdown, as_table
from corpus.tokenizer.report import report as measured
from corpus.tokenizer.spec import TokenizerSpec
from corpus.tokenizer.text import texts
from corpus.tokenizer.train import train as trained
from corpus.warehouse.commit import write_bytes

_HELD = 32
"""Of a file's rows, every so manieth is held out."""
_FEW = 100
"""Rows: what is measured on fewer is told so."""
_ROWS = 1000
_LEARNT = 100_000_000
"""Bytes that are learnt from: the tokenizer that is extended encodes them first, at some 2 MB/s."""


def train(root: Path, recipe: str, spec: TokenizerSpec, out: Path | None, *, in_json: bool) -> None:
    """Trains a tokenizer, measures it, and prints both; the report is left in its folder.

    Raises:
        CorpusError: see `corpus.tokenizer.train.train`.
    """
    found = texts(root, recipe)
    check_outside(out or RUNS, root)
    before = read_manifest(out or RUNS / found.build.recipe / FOLDER)
    with progress(min(found.bytes, spec.most_bytes), quiet=in_json, what="read") as watch:
        folder, told = trained(found, spec, out, watch)
    if not in_json:
        size, rows = told["trained"]["bytes"], told["trained"]["rows"]
        OUT.print(
            f"{folder}: {spec.kind}, {told['vocab_size']:,} tokens, learnt from {rows:,} rows ({size / 1e6:,.1f} MB of "
            f"{found.bytes / 1e6:,.1f}) in {told['trained']['seconds']:,.1f} s",
            markup=False,
        )
        if before is not None:
            OUT.print(f"it takes the place of another: {before.get('kind')}, {before.get('vocab_size', 0):,} tokens", markup=False)
        if told["vocab_size"] < spec.vocab_size:
            OUT.print(f"{spec.vocab_size:,} tokens were asked for; the text has no more that occur twice", markup=False)
    held = found.held_out()
    if not len(held):
        ERR.print("the split is too small to hold anything out: there is nothing to measure on", markup=False)
        made = None
    else:
        made = measured([load(str(folder))], held, _about(found.build.recipe, len(held)))
        write_bytes(folder / REPORT, (as_json(made) + "\n").encode())
    if in_json:
        write(to_json({"folder": str(folder), **told}) + "\n")
        return
    if made is not None:
        as_table(made)
        if len(held) < _FEW:
            OUT.print(f"{count(len(held), 'row')} to measure on: the figures say little", markup=False)
    where = "" if root == Path("warehouse") else f" --warehouse {shlex.quote(str(root))}"
    given = f"--recipe {found.build.recipe}{where} --tokenizer {shlex.quote(str(folder))}"
    if out is None:  # where a model of this recipe that is trained from scratch finds it
        names = {"RECIPE": recipe if recipe != "sample" else "", "WAREHOUSE": str(root) if where else ""}
        told_make = "".join(f" {name}={shlex.quote(value)}" for name, value in names.items() if value)
        OUT.print(f"train a model with it: make sft{told_make}", markup=False)
    OUT.print(f"encode the splits with it: {command()} encode {given}", markup=False)


def report(names: Sequence[str], recipe: str | None, root: Path, text: Path | None, plot: Path | None, how: str) -> None:
    """Measures tokenizers side by side and prints the report.

    Raises:
        CorpusError: when a tokenizer or the text cannot be read.
    """
    if plot is not None:
        from corpus.tokenizer import plot as drawing

        drawing.check_place(plot)
    if text is not None:
        if recipe is not None:
            raise UsageError("give either --recipe, for the rows that its tokenizers were not trained on, or --text FILE")
        held, about = text_file.read(text), str(text)
    else:
        found = texts(root, recipe)
        held = found.held_out()
        about = _about(found.build.recipe, len(held))
    made = measured(_each(names), held, about, tell=lambda name: None if how == "json" else ERR.print(f"measuring {name}", markup=False))
    if plot is not None:
        drawing.plot(made, plot)
    match how:
        case "json":
            write(as_json(made) + "\n")
        case "markdown":
            write(as_markdown(made) + "\n")
        case _:
            as_table(made)


def extend(base: Path, add: int, recipe: str | None, root: Path, text: Path | None, out: Path, *, in_json: bool) -> None:
    """Extends a tokenizer, measures what was gained on text that it has not learnt from, and prints it; both are left in the folder.

    Raises:
        CorpusError: when the tokenizer cannot be extended, there is nothing to learn from, or the folder is not empty.
    """
    from corpus.tokenizer import extended as files
    from corpus.tokenizer.extend import extend as extending
    from corpus.tokenizer.extend_gain import gain

    if text is not None:
        if recipe is not None:
            raise UsageError("give either --recipe, to learn from its tokenizer split, or --text FILE")
        rows = text_file.read(text).with_row_index("at")
        if len(rows) < 2:
            raise UsageError(
                f"{text}: one row of text; expected at least two, one of which is kept back to measure on (rows of a .txt are paragraphs)"
            )
        last = (pl.col("at") % _HELD == _HELD - 1) | (pl.col("at") == min(len(rows), _HELD) - 1)
        held, learnt = rows.filter(last), rows.filter(~last)["text"]
        columns: Iterator[pl.Series] = (learnt[i : i + _ROWS] for i in range(0, len(learnt), _ROWS))
        about = f"every {_HELD}nd row of {text}"
    else:
        found = texts(root, recipe)
        held, columns = found.held_out(), (column for column, _ in found.training(_LEARNT, 0))
        about = _about(found.build.recipe, len(held))
    check_outside(out, root)
    files.check_empty(out)
    extended = extending(base, columns, add)
    gained = gain(extended, held["text"], held["language"])
    files.write(extended, out)
    told = {"base": str(base), "measured_on": about, "rows": extended.rows, **extended.facts, **gained.as_json()}
    write_bytes(out / GAIN, (to_json(told) + "\n").encode())
    if in_json:
        write(to_json({"folder": str(out), **told}) + "\n")
        return
    OUT.print(f"{out}: {len(extended.tokens):,} tokens added to the {extended.base.rows:,} of {base}", markup=False)
    if len(extended.tokens) < add:
        OUT.print(f"{add:,} were asked for; the text has no more that occur twice", markup=False)
    figures = ("bytes_per_token_before", "bytes_per_token", "chars_per_token_before", "chars_per_token")
    shown = [
        [r["language"], r["texts"], *(f"{r[name]:.3f}" for name in figures), f"{100 * r['changed']:.1f}", f"{100 * r['covered']:.1f}"]
        for r in gained.languages.to_dicts()
    ]
    heads = ("language", "rows", "bytes/token before", "after", "chars/token before", "after", "rows changed %", "text in new tokens %")
    table(heads, shown, title=about, right=heads[1:])
    OUT.print(f"{len(gained.unused):,} of the new tokens do not occur there", markup=False)
    OUT.print(f"a model needs {extended.rows:,} rows of embeddings; {files.EMBEDDINGS} says what the new ones begin as", markup=False)


def _each(names: Sequence[str]) -> Iterator[Loaded]:
    """One at a time: a vocabulary of 250,000 takes a GB."""
    return (load(name) for name in names)


def _about(recipe: str, rows: int) -> str:
    return f"{rows:,} rows of recipe {recipe} that no tokenizer of it is trained on"
