"""A tokenizer with further tokens, its files, and what the embeddings of these tokens begin as.

`new_embeddings.json` says for each new id the base's ids, with repetitions, that its text was before; their mean is what its rows begin as,
in the input and the output matrix and the output bias. Before any training, a model reads with such rows what it read on average, and a new
token is never likelier than all of its parts; small random rows may outshine a whole vocabulary (Hewitt 2021, "Initializing New Word
Embeddings for Pretrained Language Models"). Costlier ways do no better once training goes on (Mundra et al. 2024, "An Empirical Comparison
of Vocabulary Expansion and Initialization Approaches for Language Models"). A character that was bytes begins as the mean of bytes, which
says little.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from corpus.errors import UsageError
from corpus.tokenizer import extend_base
from corpus.tokenizer.extend_base import Base, Encoder, Layout
from corpus.tokenizer.folder import GAIN, MANIFEST, MODEL, REPORT, check_above, replacing
from corpus.tokenizer.spm_format import Piece, Type, appended, pieces
from corpus.warehouse.commit import write_bytes

EMBEDDINGS = "new_embeddings.json"
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx", ".ckpt", ".tiktoken"}
_REPLACED = {"tokenizer.json", MODEL, "vocab.json", "merges.txt", EMBEDDINGS, MANIFEST, REPORT, GAIN}
"""What is written anew, and what tells of the base alone."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was added.

    Attributes:
        id: its number.
        name: what it is called in the vocabulary.
        text: what it stands for; a part of a character where it is no UTF-8.
        parts: the base's ids that this text was before.
    """

    id: int
    name: str
    text: bytes
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Extended:
    """A tokenizer with further tokens.

    Attributes:
        base: what it was.
        tokens: what was added, in the order of ids.
        merges: byte-level: names of the pairs that are merged after the base's own merges, in order. Not all make a new token: some make
            another of the base's from parts that the base does not join.
        facts: numbers of the training.
    """

    base: Base
    tokens: tuple[NewToken, ...]
    merges: tuple[tuple[str, str], ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """One more than the highest id: rows that a model's embeddings need."""
        return self.base.rows + len(self.tokens)

    def description(self) -> dict[str, Any] | None:
        """Its tokenizer.json; None where the base has none."""
        return None if self.base.description is None else _description(self, self.base.description)

    def model(self) -> bytes | None:
        """Its sentencepiece model; None where the base has none."""
        return None if self.base.model is None else _model(self, self.base.model)

    def encoder(self) -> Encoder:
        """Encodes as it does."""
        return extend_base.encoder(self.description(), self.model())

    def embeddings(self) -> dict[str, Any]:
        """What `new_embeddings.json` says: for each new id the base's ids whose rows it begins with the mean of."""
        return {
            "method": "mean",
            "formula": "row[id] = mean of row[i] for i in from, in the input and in the output embeddings (and the output bias)",
            "base_rows": self.base.rows,
            "rows": self.rows,
            "tokens": [{"id": t.id, "text": t.text.decode(errors="replace"), "from": list(t.parts)} for t in self.tokens],
        }


def check_empty(folder: Path) -> None:
    """Sees to it that nothing is lost by writing a tokenizer into a folder.

    Raises:
        UsageError: when there is something in it, or it cannot be made.
    """
    check_above(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: there is something already; name a folder that is new or empty, so that no tokenizer is overwritten")


def write(extended: Extended, folder: Path) -> None:
    """Writes the tokenizer, with everything else of the base's folder but weights (and folders in it).

    Args:
        extended: the tokenizer.
        folder: where; new, or empty.

    Raises:
        UsageError: when there is something in it.
    """
    check_empty(folder)
    with replacing(folder) as new:
        _write(extended, new)


def _write(extended: Extended, folder: Path) -> None:
    source = extended.base.folder
    for path in sorted(source.iterdir()):
        weights = path.suffix in _WEIGHTS or path.name.endswith(".index.json")
        if path.is_file() and path.name not in _REPLACED and not weights:
            shutil.copyfile(path, folder / path.name)
    description, model = extended.description(), extended.model()
    if description is not None:
        write_bytes(folder / "tokenizer.json", orjson.dumps(description, option=orjson.OPT_INDENT_2))
        if (source / "vocab.json").is_file():
            write_bytes(folder / "vocab.json", orjson.dumps(description["model"]["vocab"]))
        if (source / "merges.txt").is_file():
            pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in description["model"]["merges"])
            write_bytes(folder / "merges.txt", "".join(f"{line}\n" for line in ("#version: 0.2", *pairs)).encode())
    if model is not None:
        write_bytes(folder / MODEL, model)
    write_bytes(folder / EMBEDDINGS, orjson.dumps(extended.embeddings(), option=orjson.OPT_INDENT_2))


def _description(extended: Extended, description: dict[str, Any]) -> dict[str, Any]:
    model = description["model"]
    # The library numbers added tokens that are not in the vocabulary by its size, whatever number they are given; so all are put into it.
    vocabulary = {**model["vocab"], **{text: i for i, text in extended.base.added.items()}, **{t.name: t.id for t in extended.tokens}}
    added = _marked_merges(extended) if extended.base.layout == Layout.MARKED else extended.merges
    old = model["merges"]
    pairs = bool(old) and not isinstance(old[0], str)
    merges = [*old, *(list(pair) if pairs else " ".join(pair) for pair in added)]
    return {**description, "model": {**model, "vocab": vocabulary, "merges": merges}}


def _marked_merges(extended: Extended) -> list[tuple[str, str]]:
    """Merges as sentencepiece would do them: any two pieces whose texts together are a piece, those of better score first.

    A piece of the base that new pieces make has the base's better score, and so comes before all new ones.
    """
    base = extended.base
    others = {*base.fallbacks(), *base.added}
    ordinary = {name: i for i, name in base.names.items() if i not in others}
    new = {t.name: t.id for t in extended.tokens}
    ids = {**ordinary, **new}
    merges: list[tuple[str, str]] = []
    for name in (*sorted(ordinary, key=ordinary.__getitem__), *new):
        splits = ((name[:k], name[k:]) for k in range(1, len(name)))
        known = [(a, b) for a, b in splits if a in ids and b in ids and (name in new or a in new or b in new)]
        merges.extend(sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]])))
    return merges


def _model(extended: Extended, model: bytes) -> bytes:
    own = pieces(model)
    special = {int(t["id"]) for t in (extended.base.description or {}).get("added_tokens") or [] if t.get("special")}
    new = []
    for i in range(len(own), extended.base.rows):  # pieces are numbered by their places: whatever stands behind the model's own goes in
        kind = Type.CONTROL if i in special else Type.USER_DEFINED
        known = extended.base.added.get(i)
        new.append(Piece(known, 0.0, kind) if known else Piece(f"<unused{i}>", 0.0, Type.UNUSED))
    lowest = min(piece.score for piece in own)
    new.extend(Piece(t.name, float(np.floor(lowest)) - 1.0 - k) for k, t in enumerate(extended.tokens))
    return appended(model, new)
