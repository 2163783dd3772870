"""What a tokenizer is to be, and what training one gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator, model_validator

from corpus.errors import nearest
from corpus.recipe_base import Model, as_tuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Kind(StrEnum):
    """How a tokenizer is learnt."""

    BPE = "bpe"
    SENTENCEPIECE_BPE = "sentencepiece-bpe"
    SENTENCEPIECE_UNIGRAM = "sentencepiece-unigram"
    JIEBA_WORDS = "jieba-words"


SAMPLE: dict[Kind, int] = {
    Kind.BPE: 400_000_000,
    Kind.SENTENCEPIECE_BPE: 200_000_000,
    Kind.SENTENCEPIECE_UNIGRAM: 100_000_000,
    Kind.JIEBA_WORDS: 400_000_000,
}
"""Bytes of text that a kind is trained on at most, when the recipe does not say: memory stays below 4 GB then (docs/tokenizers.md)."""


class TokenizerSpec(Model):
    """What to train; the recipe's `training.tokenizer`, with what the command line says over it.

    Attributes:
        kind: how.
        vocab_size: all tokens together: special ones, bytes, pieces. There may be fewer where the text has no more.
        sample: at most so many bytes of text are trained on, rows drawn by chance over the whole split; None for what suits the kind.
        seed: of that chance.
        words: jieba-words: a dictionary of the user's own, in jieba's format (word, count, tag); relative to where the command runs.
        symbols: texts that are always one token, wherever they occur: `\\n`, names, markup.
    """

    kind: Kind = Kind.BPE
    vocab_size: Annotated[int, Field(ge=300, le=1_000_000)] = 32_000
    sample: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    words: Path | None = None
    symbols: tuple[str, ...] = ()

    @field_validator("kind", mode="before")
    @classmethod
    def _kind(cls, value: Any) -> Any:
        known = [k.value for k in Kind]
        if isinstance(value, str) and value not in known:
            raise ValueError(f"there is no kind {value!r}{nearest(value, known)}; known are {', '.join(known)}")
        return Kind(value) if isinstance(value, str) else value

    @field_validator("words", mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        return Path(value) if isinstance(value, str) else value

    @field_validator("symbols", mode="before")
    @classmethod
    def _symbols(cls, value: Any) -> Any:
        value = as_tuple(value)
        if isinstance(value, tuple) and any(not symbol for symbol in value):
            raise ValueError("a symbol is a text of at least one character; one is empty")
        for symbol in value if isinstance(value, tuple) else ():
            if isinstance(symbol, str) and any("\ud800" <= char <= "\udfff" for char in symbol):
                raise ValueError(f"the symbol {symbol!r} is no text: half of a surrogate pair, or a byte that is not UTF-8")
        return value

    @model_validator(mode="after")
    def _words_of_jieba(self) -> TokenizerSpec:
        if self.words is not None and self.kind is not Kind.JIEBA_WORDS:
            raise ValueError(f"words: a dictionary is for the kind {Kind.JIEBA_WORDS.value}; this one is {self.kind.value}")
        return self

    @property
    def most_bytes(self) -> int:
        """Bytes of text to train on at most."""
        return SAMPLE[self.kind] if self.sample is None else self.sample


@dataclass(frozen=True, slots=True)
class Trained:
    """A tokenizer that was learnt.

    Attributes:
        tokenizer: as the `tokenizers` library runs it, special tokens added, without truncation, padding and post-processor.
        model: the bytes of sentencepiece's `.model`; None for other kinds.
        facts: what is worth knowing of the training, for the manifest: numbers and short words, by name.
    """

    tokenizer: Tokenizer
    model: bytes | None = None
    facts: dict[str, Any] = field(default_factory=dict)
