"""Sentencepiece's two kinds, compiled: exactly the ids of the library, from tokenizer.json alone.

Such a tokenizer looks at a text as a whole, and a text as a whole is seen only once. But most characters are neighbours in no token, and
between two that never are nothing is joined: there a text can be cut, and what is between the cuts is short and comes again, so that it is
encoded once (`corpus.tokenizer.fast`).

- BPE: a merge joins the last character of one token to the first of another. Where no merge joins these two, merging on either side does
  not depend on the other side.
- Unigram: a token that reaches over a place has its two neighbours in it. Where none has, every way to divide the text ends a token there,
  and the best one is the best of either side. The scores of models that are trained here are eighths (`spm_model.quantised`), so their sums
  are exact wherever they begin, and ties are ties on either side too.

Which characters are neighbours is a table of bits under a hash: two pairs may share a bit, and then a cut is missed, which changes nothing.

A space is U+2581 in tokens, and one byte in a text. A text that has U+2581 itself is encoded as if it were a space, since to the library
these are the same, and places are moved apart afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from corpus.tokenizer.encode import Encoded
from corpus.tokenizer.fast import Fast, Tables, hashed, looked_for
from corpus.tokenizer.spelling import FALLBACKS, SPACE
from corpus.tokenizer.spm_model import ranges

_NORMALIZER = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_KEYS = {
    "BPE": {
        "type", "vocab", "merges", "unk_token", "fuse_unk", "byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix",
        "ignore_merges",
    },
    "Unigram": {"type", "vocab", "unk_id", "byte_fallback"},
}  # fmt: skip
"""What is known of each model. The unknown token has no use where every byte is a token."""
_OFF = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
_UNKNOWN = 10.0
"""What the library takes from the lowest score for a character without a token."""
_QUANTUM = 8
_MOST = 2.0**20
"""Scores up to this, in eighths, have exact sums over any text that fits into memory."""
_BITS = 22
"""Of the table of neighbours: half of a megabyte. Models with 32,000 tokens set one bit in fifty."""


@dataclass(frozen=True, slots=True)
class Spaced:
    """Encodes with a tokenizer that writes spaces as U+2581; see `corpus.tokenizer.encode.Encoder`.

    Attributes:
        fast: encodes texts without U+2581.
    """

    fast: Fast

    def __call__(self, texts: pa.Array) -> Encoded:
        """The tokens of texts (string, without nulls). Places are in bytes."""
        wide = pc.match_substring(texts, SPACE).to_numpy(zero_copy_only=False)
        if not wide.any():
            return self.fast(texts)
        found = self.fast(pc.replace_substring(texts, SPACE, " "))
        for row in np.flatnonzero(wide):
            at = slice(found.offsets[row], found.offsets[row + 1])
            begins = np.array([m.start() for m in re.finditer(SPACE.encode(), texts[row].as_buffer().to_pybytes())])
            shrunk = begins - 2 * np.arange(len(begins))
            for places in (found.starts[at], found.ends[at]):
                places += 2 * np.searchsorted(shrunk, places, side="left").astype(places.dtype)
        return found


@dataclass(frozen=True, slots=True)
class Joints:
    """Cuts texts between characters that are neighbours in no token.

    Attributes:
        bits: one for every hash of two characters that are neighbours (uint64[2^22 / 64]).
    """

    bits: np.ndarray

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Joints:
        """Those of pairs of characters."""
        bits = np.zeros(1 << (_BITS - 6), dtype=np.uint64)
        codes = np.array([(ord(a), ord(b)) for a, b in pairs], dtype=np.int64).reshape(-1, 2)
        _fill(codes, bits)
        return cls(bits)

    def __call__(self, bounds: np.ndarray, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where pieces end, and how many there are before each segment; see `pieces.split`."""
        counts = np.zeros(len(bounds), dtype=np.int64)
        ends = np.empty(int(bounds[-1] - bounds[0]), dtype=np.int64)
        return ends[: _cut(bounds, data, self.bits, ends, counts)], counts


def encoder(settings: Mapping[str, Any]) -> Spaced | None:
    """What encodes with a tokenizer of these kinds, where everything that says how it encodes is known; else None.

    Args:
        settings: tokenizer.json. Its special tokens are encoded as text.
    """
    model = settings["model"]
    kind = model.get("type")
    if settings.get("normalizer") != _NORMALIZER or kind not in _KEYS or set(model) - _KEYS[kind] or not model.get("byte_fallback"):
        return None
    added = settings.get("added_tokens") or []
    if any(not t["content"] or t["single_word"] or t["lstrip"] or t["rstrip"] or t["content"] in FALLBACKS for t in added):
        return None
    if any(not t["normalized"] and (" " in t["content"] or SPACE in t["content"]) for t in added):
        return None  # it would matter which of the two a text has
    found = _bpe(settings, model) if kind == "BPE" else _unigram(settings, model)
    if found is None:
        return None
    vocabulary, letters, rest = found
    sizes = np.zeros(max([*vocabulary.values(), *(t["id"] for t in added)]) + 1, dtype=np.int32)
    for token, i in vocabulary.items():
        sizes[i] = len(token.replace(SPACE, " ").encode())
    sizes[[vocabulary[name] for name in FALLBACKS]] = 1
    for t in added:
        sizes[t["id"]] = len(t["content"].replace(SPACE, " ").encode())
    plain = [{**t, "content": t["content"].replace(SPACE, " ")} for t in added]
    if len({t["content"] for t in plain}) < len(plain):
        return None
    return Spaced(Fast(Tables(letters=letters, sizes=sizes, added=looked_for(plain), **rest)))


_Found = tuple[dict[str, int], np.ndarray, dict[str, Any]]
"""Tokens and their ids, the id of every byte, and what else `Tables` has of a model."""


def _bpe(settings: Mapping[str, Any], model: Mapping[str, Any]) -> _Found | None:
    vocabulary: dict[str, int] = model["vocab"]
    if settings.get("pre_tokenizer") is not None or any(model.get(name) for name in _OFF):
        return None
    if any(name not in vocabulary for name in (SPACE, *FALLBACKS)):
        return None
    spelled = set(FALLBACKS)
    pairs: dict[tuple[int, int], tuple[int, int]] = {}
    joined = set()
    for rank, pair in enumerate(model["merges"]):
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary or left in spelled or right in spelled:
            return None
        pairs[vocabulary[left], vocabulary[right]] = rank, vocabulary[left + right]
        joined.add((left[-1], right[0]))
    whole = np.full(0x110000, -1, dtype=np.int32)
    for token, i in vocabulary.items():
        if len(token) == 1:
            whole[ord(token)] = i
    letters = np.array([vocabulary[name] for name in FALLBACKS], dtype=np.int32)
    ascii_ = whole[:0x80].copy()
    ascii_[0x20] = vocabulary[SPACE]
    letters[:0x80] = np.where(ascii_ >= 0, ascii_, letters[:0x80])
    joints = Joints.of((a.replace(SPACE, " "), b.replace(SPACE, " ")) for a, b in joined)
    return vocabulary, letters, {"whole": whole, "merges": hashed(pairs), "split": joints}


def _unigram(settings: Mapping[str, Any], model: Mapping[str, Any]) -> _Found | None:
    scores = np.array([score for _, score in model["vocab"]], dtype=np.float64)
    vocabulary = {token: i for i, (token, _) in enumerate(model["vocab"])}
    if len(vocabulary) < len(scores) or any(name not in vocabulary for name in FALLBACKS):
        return None
    if (scores * _QUANTUM != np.round(scores * _QUANTUM)).any() or (np.abs(scores) > _MOST).any():
        return None
    alphabet = _alphabet(settings.get("pre_tokenizer"), [t for t in vocabulary if len(t) == 1 and scores[vocabulary[t]] > scores.min()])
    if alphabet is None:
        return None
    tree: dict[tuple[int, int], tuple[int, int]] = {}
    endings = [-1]
    joined: set[tuple[str, str]] = set()
    for token, i in vocabulary.items():
        # Spaces are U+2581 when the model looks for tokens, and what is not of the alphabet stands alone.
        if not token or " " in token or (len(token) > 1 and not alphabet.issuperset(token)):
            continue
        text = token.replace(SPACE, " ")
        joined.update(pairwise(text))
        node = 0
        for byte in text.encode():
            node = tree.setdefault((node, byte), (0, len(endings)))[1]
            if node == len(endings):
                endings.append(-1)
        endings[node] = i
    letters = np.array([vocabulary[name] for name in FALLBACKS], dtype=np.int32)
    return vocabulary, letters, {
        "whole": np.zeros(0, dtype=np.int32), "merges": hashed(tree), "split": Joints.of(joined),
        "scores": np.append(scores, scores.min() - _UNKNOWN), "endings": np.array(endings, dtype=np.int32),
    }  # fmt: skip


def _alphabet(pre_tokenizer: Any, alone: list[str]) -> set[str] | None:
    """The characters that the pre-tokenizer of `spm_model.unigram` does not isolate; None where it is another one."""
    pattern = f"[^{ranges(''.join(sorted(alone)))}]"
    ours = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return set(alone) if pre_tokenizer == ours else None


@njit(cache=True, nogil=True)
def _bit(first: np.int64, second: np.int64) -> np.uint64:
    mixed = (np.uint64(first) << np.uint64(21) | np.uint64(second)) * np.uint64(0x9E3779B97F4A7C15)
    return mixed >> np.uint64(64 - _BITS)


@njit(cache=True, nogil=True)
def _fill(codes: np.ndarray, bits: np.ndarray) -> None:
    for i in range(len(codes)):
        bit = _bit(codes[i, 0], codes[i, 1])
        bits[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))


@njit(cache=True, nogil=True)
def _cut(bounds: np.ndarray, data: np.ndarray, bits: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> int:
    found = 0
    for segment in range(len(bounds) - 1):
        at, end = bounds[segment], bounds[segment + 1]
        before = np.int64(-1)
        while at < end:
            b = np.int64(data[at])
            size = 1 if b < 0x80 else 2 if b < 0xE0 else 3 if b < 0xF0 else 4
            code = b if size == 1 else b & (0xFF >> (size + 1))
            for k in range(1, size):
                code = code << 6 | (np.int64(data[at + k]) & 0x3F)
            if before >= 0:
                bit = _bit(before, code)
                if not (bits[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
                    ends[found] = at
                    found += 1
            before = code
            at += size
        if before >= 0:
            ends[found] = end
            found += 1
        counts[segment + 1] = found
    return found
