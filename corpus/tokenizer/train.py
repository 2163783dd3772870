"""The line of `make tokenizer`: the `tokenizer` split of a build → a tokenizer in its folder, measured on what it has not seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from corpus import __version__
from corpus.errors import RecipeError
from corpus.executors.task import Report
from corpus.recipe import Recipe
from corpus.splits.templates import TEMPLATES
from corpus.tokenizer.folder import FOLDER, RUNS, check_place, write_folder
from corpus.tokenizer.spec import Kind, TokenizerSpec, Trained
from corpus.tokenizer.specials import Specials, specials
from corpus.tokenizer.text import Texts

_LIBRARIES: dict[Kind, tuple[str, ...]] = {
    Kind.BPE: ("tokenizers",),
    Kind.JIEBA_WORDS: ("tokenizers", "jieba", "rjieba"),
    Kind.SENTENCEPIECE_BPE: ("tokenizers", "sentencepiece"),
    Kind.SENTENCEPIECE_UNIGRAM: ("tokenizers", "sentencepiece"),
}
"""What a kind is learnt with."""


class _Read:
    """Counts what goes through."""

    def __init__(self, watch: Report | None) -> None:
        self.rows = 0
        self.bytes = 0
        self._watch = watch

    def through(self, columns: Iterator[tuple[pl.Series, int]]) -> Iterator[pl.Series]:
        for column, rows in columns:
            size = int(column.str.len_bytes().sum())
            self.rows += rows
            self.bytes += size
            if self._watch is not None:
                self._watch(size, rows)
            yield column


def spec_of(recipe: Recipe, given: dict[str, Any]) -> TokenizerSpec:
    """What to train: the recipe's `training.tokenizer`, and what is given over it.

    Raises:
        RecipeError: for a key or value that there is not.
    """
    asked = {**recipe.training.get("tokenizer", {}), **given}
    try:
        return TokenizerSpec.model_validate(asked)
    except ValidationError as e:
        told = "; ".join(f"training.tokenizer.{'.'.join(map(str, x['loc']))}: {x['msg']}" for x in e.errors())
        known = ", ".join(TokenizerSpec.model_fields)
        raise RecipeError(f"recipe {recipe.name}: {told} (its keys are {known})") from e


def train(found: Texts, spec: TokenizerSpec, out: Path | None = None, watch: Report | None = None) -> tuple[Path, dict[str, Any]]:
    """Trains a tokenizer and writes its folder.

    Args:
        found: the split.
        spec: what to train.
        out: the folder; `runs/<recipe>/tokenizer` by default.
        watch: is told of what is read.

    Returns:
        The folder, and what is told of the tokenizer in its manifest.

    Raises:
        DataError: when there is nothing to train on, or no room in the vocabulary.
        UsageError: when the folder holds something else.
    """
    folder = out or RUNS / found.build.recipe / FOLDER
    check_place(folder)
    template = TEMPLATES[str(found.build.settings["template"])]
    tokens = specials(template, spec.symbols)
    read = _Read(watch)
    started = time.perf_counter()
    trained = learn(read.through(found.training(spec.most_bytes, spec.seed)), spec, tokens)
    seconds = time.perf_counter() - started
    manifest = {
        "kind": spec.kind.value,
        "vocab_size": trained.tokenizer.get_vocab_size(with_added_tokens=True),
        "spec": spec.model_dump(mode="json"),
        "template": template.name,
        "specials": {token: trained.tokenizer.token_to_id(token) for token in (*tokens.special, *tokens.plain)},
        "recipe": found.build.recipe,
        "build": found.build.fingerprint,
        "files": list(found.digests),
        "split": {"rows": found.rows, "bytes": found.bytes},
        "trained": {"rows": read.rows, "bytes": read.bytes, "seconds": round(seconds, 2), **trained.facts},
        "tokenizer_sha256": sha256((trained.tokenizer.to_str(pretty=True) + "\n").encode()).hexdigest(),
        "versions": {"yuliao": __version__, **{name: version(name) for name in _LIBRARIES[spec.kind]}},
    }
    write_folder(folder, trained, tokens, template, manifest)
    return folder, manifest


def learn(columns: Iterator[pl.Series], spec: TokenizerSpec, tokens: Specials) -> Trained:
    """Trains a tokenizer of the kind that is asked for on columns of texts.

    Raises:
        DataError: when there is no text, or no room in the vocabulary.
    """
    match spec.kind:
        case Kind.BPE:
            from corpus.tokenizer import bpe

            return bpe.train(columns, spec, tokens)
        case Kind.JIEBA_WORDS:
            from corpus.tokenizer import words

            return words.train(columns, spec, tokens)
        case _:
            from corpus.tokenizer import spm

            return spm.train(columns, spec, tokens)
