"""A tokenizer that there is already, as `extend` needs it: what each of its ids stands for, and how it cuts and encodes text.

Two layouts can be extended. In a **byte-level** one (GPT-2, BLOOM, Qwen, Llama 3) a token is a string of characters that stand for bytes,
and tokens may end inside of a character of the text. In a **marked** one (LLaMA 2, Mistral, Gemma; sentencepiece's BPE) a token is text
with ▁ for the blank, and a character that the vocabulary lacks falls back to tokens of one byte, which nothing can be merged with.

Ids are what a model's embeddings are numbered by, so they are taken as they are: with holes, and with special tokens behind the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from corpus.errors import DataError
from corpus.tokenizer import spm_format
from corpus.tokenizer.library import check_ids, refusals
from corpus.tokenizer.spelling import FALLBACKS, SPACE, fallback, spelled, unspelled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH = 1 << 20
"""Characters that are encoded at once: what the library keeps of a token (offsets, text, words) takes some 100 bytes."""
_FILES = ("tokenizer.json", "tokenizer.model")


class Layout(StrEnum):
    """How tokens stand for text."""

    BYTES = "byte-level"
    MARKED = "marked"


@dataclass(frozen=True, slots=True)
class Base:
    """A tokenizer that can be extended.

    Attributes:
        folder: where it is.
        layout: how its tokens stand for text.
        names: what each id is called in the vocabulary, by id; added tokens are not among them.
        added: texts of added tokens (special ones and others), by id.
        description: tokenizer.json; None where there is only sentencepiece's model.
        model: the bytes of sentencepiece's `.model`; None where there is none.
    """

    folder: Path
    layout: Layout
    names: dict[int, str]
    added: dict[int, str]
    description: dict[str, Any] | None
    model: bytes | None

    @property
    def rows(self) -> int:
        """One more than the highest id: rows that a model's embeddings need, and the first id that is free."""
        return max((*self.names, *self.added)) + 1

    def texts(self) -> list[bytes]:
        """What each id stands for in text, by id; distinct, and for what stands for none (holes, added and fallback tokens) no UTF-8."""
        out = [b"\xff" + i.to_bytes(4, "big") for i in range(self.rows)]
        taken = set(self.added)
        for i, name in self.names.items():
            if i in taken or not name or (self.layout == Layout.MARKED and " " in name):
                continue
            if self.layout == Layout.BYTES:
                if (known := unspelled(name)) is not None:
                    out[i] = known
            elif fallback(name) is None:
                out[i] = name.replace(SPACE, " ").encode()
        return out

    def fallbacks(self) -> dict[int, int]:
        """Which byte the fallback tokens of a marked tokenizer stand for, by id."""
        if self.layout == Layout.BYTES:
            return {}
        found = ((i, fallback(name)) for i, name in self.names.items())
        return {i: byte for i, byte in found if byte is not None}

    def name(self, text: bytes) -> str:
        """What a token of this text is called in the vocabulary."""
        if self.layout == Layout.BYTES:
            return spelled(text)
        return text.decode().replace(" ", SPACE)

    def encoder(self) -> Encoder:
        """Encodes as this tokenizer does."""
        return encoder(self.description, self.model)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes columns of text, without special tokens: text that spells one is text.

    Attributes:
        run: gives the ids of some texts.
        tokenizer: what tells pre-tokens; None for sentencepiece, which has none.
    """

    run: Callable[[list[str]], list[list[int]]]
    tokenizer: Tokenizer | None = None

    def encode(self, texts: pl.Series) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids of texts, some at a time.

        Args:
            texts: String; nulls count as empty.

        Yields:
            The ids of some texts (int32[t]), and how many tokens each of these texts has (int64[n]).
        """
        for rows in self._batches(texts):
            ids = [np.array(found, dtype=np.int32) for found in self.run(rows)]
            yield _joined(ids), np.array([len(i) for i in ids], dtype=np.int64)

    def pieces(self, texts: pl.Series) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids of texts, and where a new pre-token of the tokenizer's own begins.

        Yields:
            The ids of some texts (int32[t]), and whether each begins a pre-token or a text (bool[t]).
        """
        if self.tokenizer is None:
            for ids, lengths in self.encode(texts):
                begins = np.zeros(len(ids), dtype=np.bool_)
                starts = np.cumsum(lengths) - lengths
                begins[starts[lengths > 0]] = True
                yield ids, begins
            return
        for rows in self._batches(texts):
            found = [e for e in self.tokenizer.encode_batch(rows, add_special_tokens=False) if len(e)]
            words = [np.array(e.word_ids, dtype=np.int32) for e in found]
            first = _joined([np.concatenate([[True], w[1:] != w[:-1]]) for w in words], np.bool_)
            yield _joined([np.array(e.ids, dtype=np.int32) for e in found]), first

    def _batches(self, texts: pl.Series) -> Iterator[list[str]]:
        sizes = texts.fill_null("").str.len_chars().to_numpy().astype(np.int64)
        parts = np.cumsum(sizes) // BATCH
        for part in np.split(np.arange(len(texts)), np.flatnonzero(np.diff(parts)) + 1):
            if len(part):
                yield texts[int(part[0]) : int(part[-1]) + 1].fill_null("").to_list()


def encoder(description: dict[str, Any] | None, model: bytes | None) -> Encoder:
    """An encoder of a tokenizer.json, or else of a sentencepiece model."""
    if description is not None:
        from tokenizers import Tokenizer

        settings = description["model"]
        # What is left to chance in training is none here: ids, and what is learnt from them, are the same every time.
        settings = {**settings, "dropout": None} if "dropout" in settings else settings
        tokenizer = Tokenizer.from_str(orjson.dumps({**description, "model": settings}).decode())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        return Encoder(lambda texts: [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False)], tokenizer)
    if model is None:
        raise ValueError("neither tokenizer.json nor a sentencepiece model")
    processor = spm_format.processor(model)
    return Encoder(lambda texts: list(processor.encode(texts, out_type=int)))


def read(folder: Path) -> Base:
    """Reads a tokenizer that is to be extended.

    Args:
        folder: with tokenizer.json, tokenizer.model, or both, as `transformers` saves them.

    Raises:
        DataError: when there is none, it cannot be read, or it is of a kind that cannot be extended.
    """
    json, proto = (folder / name for name in _FILES)
    if not json.is_file() and not proto.is_file():
        raise DataError(f"{folder}: no tokenizer; expected tokenizer.json or tokenizer.model in it (save one with `save_pretrained`)")
    if not json.is_file():
        return _of_model(folder, proto)
    try:
        description = orjson.loads(json.read_bytes())
        kind = description["model"].get("type") or ("BPE" if "merges" in description["model"] else "of no type")
        added = {int(t["id"]): str(t["content"]) for t in description.get("added_tokens") or []}
        vocabulary = description["model"]["vocab"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{json}: not a description of a tokenizer as the tokenizers library writes it ({error})") from None
    if kind != "BPE" or not isinstance(vocabulary, dict):
        raise DataError(_unsupported(json, kind))
    _readable(json, description, {**vocabulary, **{text: i for i, text in added.items()}})
    names = {i: name for name, i in vocabulary.items() if i not in added}
    if affix := description["model"].get("continuing_subword_prefix") or description["model"].get("end_of_word_suffix"):
        raise DataError(
            f"{json}: BPE that marks where words go on or end ({affix!r}) cannot be extended; byte-level can, and sentencepiece"
        )
    if _byte_level(description):
        return Base(folder, Layout.BYTES, names, added, description, None)
    if description["model"].get("byte_fallback") and all(name in vocabulary for name in FALLBACKS):
        base = Base(folder, Layout.MARKED, names, added, description, _model(proto) if proto.is_file() else None)
        _agree(base, proto)
        return base
    raise DataError(
        f"{json}: BPE that is neither byte-level nor has tokens to fall back to for all 256 bytes, so text that it does not know is lost; "
        "only such tokenizers can be extended"
    )


def _readable(path: Path, description: dict[str, Any], ids: dict[str, int]) -> None:
    """Sees to it that the library reads a tokenizer.json, and gives each token the id that the file says."""
    with refusals(f"{path}: the tokenizers library does not read it", "save it again with its save()"):
        tokenizer = encoder(description, None).tokenizer
    found = {} if tokenizer is None else tokenizer.get_vocab(with_added_tokens=True)
    check_ids(max(found.values(), default=-1), str(path))
    for text, i in ids.items():
        if found.get(text, i) != i:
            raise DataError(
                f"{path}: says that {text[:40]!r} is token {i}, and the tokenizers library makes it {found[text]}; save it again with its "
                "save(), so that the ids are those that are used"
            )


def _of_model(folder: Path, path: Path) -> Base:
    model = _model(path)
    pieces = spm_format.pieces(model)
    # Pieces that the user defined are never merged with others, as added tokens are not.
    ordinary = (spm_format.Type.NORMAL, spm_format.Type.BYTE)
    added = {i: piece.text for i, piece in enumerate(pieces) if piece.type not in ordinary}
    names = {i: piece.text for i, piece in enumerate(pieces) if i not in added}
    if not {FALLBACKS[0], FALLBACKS[255]} <= set(names.values()):
        raise DataError(f"{path}: a model without byte fallback: text that it does not know is lost; only those with it can be extended")
    return Base(folder, Layout.MARKED, names, added, None, model)


def _model(path: Path) -> bytes:
    """The bytes of a `.model` that is BPE."""
    model = path.read_bytes()
    try:
        spm_format.processor(model)
        kind = spm_format.model_type(model)
    except DataError as error:
        raise DataError(f"{path}: sentencepiece cannot read it ({error})") from None
    if kind != spm_format.BPE:
        raise DataError(_unsupported(path, "Unigram" if kind == 1 else f"model type {kind}"))
    return model


def _agree(base: Base, path: Path) -> None:
    """Holds the two files of a folder together."""
    if base.model is None:
        return
    for i, piece in enumerate(spm_format.pieces(base.model)):
        known = base.names.get(i, base.added.get(i))
        if known != piece.text:
            raise DataError(f"{path}: id {i} is {piece.text!r} there and {known!r} in tokenizer.json; both must be of one tokenizer")


def _unsupported(path: Path, kind: str) -> str:
    return (
        f"{path}: a {kind} tokenizer; only BPE can be extended (byte-level as in BLOOM, Qwen and Llama 3, or sentencepiece's with byte "
        "fallback as in LLaMA 2): its merges go on where they ended, while new pieces of a Unigram change how old text is cut"
    )


def _byte_level(description: dict[str, Any]) -> bool:
    """Whether the pre-tokenizer turns bytes into characters."""

    def within(part: Any) -> bool:
        return isinstance(part, dict) and (part.get("type") == "ByteLevel" or any(map(within, part.get("pretokenizers") or [])))

    return within(description.get("pre_tokenizer"))


def _joined(arrays: list[np.ndarray], dtype: Any = np.int32) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=dtype)
