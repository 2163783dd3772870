"""Adds pieces to somebody else's tokenizer: Chinese to one that has little, words of medicine or law to one that knows none.

The training of the tokenizer is continued. It encodes the text itself, its tokens are what merges are learnt from, and these are appended
behind its own: whatever the text, the tokenizer cuts it as it always did, and some of what it makes is merged further. So no id changes,
no text gets longer, and what has none of the new pieces is encoded as before. (Tokens that are merely added, as with `add_tokens`, are cut
out of text before the tokenizer sees it, also from within words.)

New ids follow the highest that there is, added special tokens included. Rows of a model's embeddings behind them, where it was padded to a
round number, were never trained; the new pieces take them.

**Embeddings.** `new_embeddings.json` says for each new id the base's ids, with repetitions, that its text was before; E is the input matrix
and U the output matrix (the same one where they are tied), a row for each id::

    E[new] = mean(E[i] for i in from)        U[new] = mean(U[i] for i in from)

Before any training, a model reads with such rows what it read on average, and the logit of a new token is the mean of its parts' logits, so
that it is never likelier than all of them; small random rows have logits about 0 and may outshine a whole vocabulary whose logits are far
below (Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models"). Rows within the hull of those that there are do as
well as costlier ones once training goes on (Mundra et al. 2024, "An Empirical Comparison of Vocabulary Expansion and Initialization
Approaches for Language Models"); no evidence was found for weights. The output bias, where there is one, follows the same formula. The
matrices are to have `rows` rows at least; a character that was bytes begins as the mean of bytes, which says little, and needs training.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from corpus.errors import UsageError
from corpus.tokenizer import base as bases
from corpus.tokenizer.base import Base, Encoder, Layout
from corpus.tokenizer.extend_pieces import Cutter, Pieces
from corpus.tokenizer.folder import check_above, replacing
from corpus.tokenizer.merges import Merges, learn
from corpus.tokenizer.spm_format import Piece, Type, appended
from corpus.warehouse.commit import write_bytes

EMBEDDINGS = "new_embeddings.json"
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".gguf", ".onnx", ".ckpt", ".tiktoken"}
_REPLACED = {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", EMBEDDINGS, "manifest.json", "report.json", "gain.json"}
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
        return bases.encoder(self.description(), self.model())

    def embeddings(self) -> dict[str, Any]:
        """What `new_embeddings.json` says: for each new id the base's ids whose rows it begins with the mean of."""
        return {
            "method": "mean",
            "formula": "row[id] = mean of row[i] for i in from, in the input and in the output embeddings (and the output bias)",
            "base_rows": self.base.rows,
            "rows": self.rows,
            "tokens": [{"id": t.id, "text": t.text.decode(errors="replace"), "from": list(t.parts)} for t in self.tokens],
        }


def extend(folder: Path, texts: Iterable[pl.Series], add: int, least: int = 2) -> Extended:
    """Learns further tokens for a tokenizer.

    Args:
        folder: of the tokenizer (`corpus.tokenizer.base.read`).
        texts: what to learn from, columns of some MB; the more of another language there is in it, the more is learnt for that one.
        add: how many tokens; there may be fewer where the text has no more.
        least: what occurs less often becomes no token.

    Raises:
        DataError: when the tokenizer cannot be read or extended.
        UsageError: when nothing is to be added.
    """
    if add < 1:
        raise UsageError(f"{add} tokens to add; expected at least 1")
    base = bases.read(folder)
    known = base.texts()
    cutter = Cutter(base, known)
    encoder = base.encoder()
    size = tokens = 0
    for column in texts:
        size += int(column.str.len_bytes().sum() or 0)
        for ids, begins in encoder.pieces(column):
            tokens += len(ids)
            cutter.add(ids, begins)
    pieces = cutter.pieces()
    atoms = [chr(c).encode() for c in pieces.codes.tolist()]
    merges = learn(pieces.symbols.copy(), pieces.offsets, pieces.weights, known + atoms, add, least=least)
    growth = _Growth(base, known, add)
    characters = _characters(pieces, known, least) if base.layout == Layout.BYTES else _fallbacks(pieces, least)
    _assemble(growth, merges, known + atoms, characters)
    facts = {"bytes": size, "base_tokens": tokens, "pieces": len(pieces.weights), "asked": add, "added": len(growth.tokens)}
    return Extended(base, tuple(growth.tokens), tuple(growth.merges), facts)


@dataclass(frozen=True, slots=True)
class _Characters:
    """What makes characters one token that were several, in the order of learning.

    Attributes:
        steps: left, right and made text; for a fallback the parts in place of left and right.
        counts: how often each step is taken.
        done: after how many steps a character is one token, by its text.
    """

    steps: list[tuple[bytes, bytes] | tuple[bytes, tuple[int, ...]]]
    counts: list[int]
    done: dict[bytes, int]


def _characters(pieces: Pieces, known: list[bytes], least: int) -> _Characters:
    """Merges within characters, from how often each of these occurs."""
    inside = pieces.parts >= 0
    symbols = pieces.parts[inside]
    offsets = np.concatenate([[0], np.cumsum(inside.sum(axis=1))]).astype(np.int64)
    merges = learn(symbols.copy(), offsets, pieces.counts, known, len(symbols), least=least)
    texts = list(known)
    steps: list[tuple[bytes, bytes] | tuple[bytes, tuple[int, ...]]] = []
    done: dict[bytes, int] = {}
    for left, right, made in _triples(merges):
        whole = texts[left] + texts[right]
        if made == len(texts):
            texts.append(whole)
        steps.append((texts[left], texts[right]))
        done.setdefault(whole, len(steps))
    return _Characters(steps, merges.counts.tolist(), done)


def _fallbacks(pieces: Pieces, least: int) -> _Characters:
    """Characters that a marked tokenizer writes byte by byte: each is a piece of its own, with nothing to merge."""
    order = np.lexsort((pieces.codes, -pieces.counts))
    order = order[pieces.counts[order] >= least]
    texts = [chr(c).encode() for c in pieces.codes[order].tolist()]
    parts = [tuple(i for i in row if i >= 0) for row in pieces.parts[order].tolist()]
    return _Characters(list(zip(texts, parts, strict=True)), pieces.counts[order].tolist(), {t: k + 1 for k, t in enumerate(texts)})


class _Growth:
    """The tokens and merges that there are so far."""

    def __init__(self, base: Base, known: list[bytes], add: int) -> None:
        self._base = base
        self._first = base.rows
        self._parts: dict[bytes, tuple[int, ...]] = {text: (i,) for i, text in enumerate(known)}
        self._taken = {*base.names.values(), *base.added.values()}
        self._add = add
        self.tokens: list[NewToken] = []
        self.merges: list[tuple[str, str]] = []

    @property
    def full(self) -> bool:
        return len(self.tokens) >= self._add

    def merge(self, left: bytes, right: bytes) -> bool:
        """Joins two tokens; False where one of them is none, or the name of what they make is another's: a special token's."""
        if left not in self._parts or right not in self._parts:
            return False
        if not self.token(left + right, self._parts[left] + self._parts[right]):
            return False
        self.merges.append((self._base.name(left), self._base.name(right)))
        return True

    def token(self, text: bytes, parts: tuple[int, ...]) -> bool:
        """Adds a token, unless there is one of this text."""
        if text in self._parts:
            return True
        name = self._base.name(text)
        if self.full or name in self._taken:
            return False
        self._parts[text] = parts
        self.tokens.append(NewToken(self._first + len(self.tokens), name, text, parts))
        return True


def _assemble(growth: _Growth, merges: Merges, texts: list[bytes], characters: _Characters) -> None:
    """Puts merges of characters and of their runs in one order, the more frequent first, until there is no more room.

    A character is made before it is merged with another: it occurs at least as often as any pair that it is in.
    """
    texts = list(texts)
    taken = 0
    counts = merges.counts.tolist()
    for k, (left, right, made) in enumerate(_triples(merges)):
        whole = texts[left] + texts[right]
        if made == len(texts):
            texts.append(whole)
        needed = max(characters.done.get(texts[left], 0), characters.done.get(texts[right], 0))
        while taken < len(characters.steps) and (taken < needed or characters.counts[taken] >= counts[k]):
            _step(growth, characters.steps[taken])
            taken += 1
        if growth.full:
            return
        growth.merge(texts[left], texts[right])
    for step in characters.steps[taken:]:
        if growth.full:
            return
        _step(growth, step)


def _step(growth: _Growth, step: tuple[bytes, bytes] | tuple[bytes, tuple[int, ...]]) -> None:
    text, rest = step
    if isinstance(rest, bytes):
        growth.merge(text, rest)
    else:
        growth.token(text, rest)


def _triples(merges: Merges) -> Iterable[tuple[int, int, int]]:
    return zip(merges.left.tolist(), merges.right.tolist(), merges.made.tolist(), strict=True)


def check_place(folder: Path) -> None:
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
    check_place(folder)
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
        write_bytes(folder / "tokenizer.model", model)
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
    from sentencepiece import SentencePieceProcessor

    sp = SentencePieceProcessor(model_proto=model)
    size = sp.get_piece_size()
    special = {int(t["id"]) for t in (extended.base.description or {}).get("added_tokens") or [] if t.get("special")}
    pieces = []
    for i in range(size, extended.base.rows):  # pieces are numbered by their places: whatever stands behind the model's own goes in
        kind = Type.CONTROL if i in special else Type.USER_DEFINED
        known = extended.base.added.get(i)
        pieces.append(Piece(known, 0.0, kind) if known else Piece(f"<unused{i}>", 0.0, Type.UNUSED))
    lowest = min((sp.get_score(i) for i in range(size)), default=0.0)
    pieces.extend(Piece(t.name, float(np.floor(lowest)) - 1.0 - k) for k, t in enumerate(extended.tokens))
    return appended(model, pieces)
