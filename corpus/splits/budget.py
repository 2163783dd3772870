"""Conversations within a budget: what a turn counts, and which of the oldest turns a conversation that is too long loses.

A model that is trained on a conversation cut in the middle of an answer learns to stop in the middle of an answer. So a conversation is
cut between turns alone, at its front: what is left begins with a user's turn and ends as it ended before, and the system's turns stay
where they are.

Turns are counted one by one. A tokenizer may count the whole conversation a little lower, where it joins the end of one turn to the
beginning of the next; templates put line breaks or marks between turns, so that this is rare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from corpus.errors import DataError
from corpus.schema import MESSAGES, ROLES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Counter = Callable[[pl.Series], np.ndarray]
"""Texts → what each of them counts (int64); a null counts nothing."""

TOKENIZER = "tokenizer.json"
"""The name under which the `tokenizers` library saves a tokenizer."""

_SYSTEM, _USER = ROLES.index("system"), ROLES.index("user")
_BATCH_BYTES = 1 << 20
"""Texts that are encoded at a time. The library holds some 50 bytes for a byte of text until a batch is counted."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is left of n conversations.

    Attributes:
        starts: turns that are left out at the front, those of the system before them not counted (int32[n]).
        sizes: of what is left, `fixed` included (int64[n]).
        over: whether even the shortest cut is longer than allowed (bool[n]); `starts` and `sizes` are then those of that cut.
    """

    starts: np.ndarray
    sizes: np.ndarray
    over: np.ndarray


def fit(roles: np.ndarray, offsets: np.ndarray, sizes: np.ndarray, fixed: np.ndarray, most: int) -> Fitted:
    """Cuts conversations down to a budget.

    A conversation that is longer loses as few turns as will do. It keeps the system's turns at its front, and at least its last user's
    turn with what follows it; what is left behind the system begins with a user's turn. One without a user's turn is not cut.

    Args:
        roles: of every turn its number in `schema.ROLES` (uint8[turns], see `role_codes`).
        offsets: which turns each conversation has (int64[n + 1]).
        sizes: of every turn (int64[turns]).
        fixed: what each conversation counts besides: continuations, an opened header (int64[n]).
        most: the budget of one conversation.
    """
    n = len(offsets) - 1
    starts, left, over = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    _fit(
        roles,
        offsets.astype(np.int64, copy=False),
        sizes.astype(np.int64, copy=False),
        fixed.astype(np.int64, copy=False),
        most,
        starts,
        left,
        over,
    )
    return Fitted(starts, left, over)


def role_codes(roles: pa.Array) -> np.ndarray:
    """The number of every role in `schema.ROLES` (uint8).

    Raises:
        ValueError: when there is another role.
    """
    codes = pc.index_in(roles, pa.array(ROLES, roles.type))
    if codes.null_count:
        other = roles.filter(pc.is_null(codes))[0].as_py()
        raise ValueError(f"a turn has the role {other!r}, expected one of {', '.join(ROLES)}")
    return codes.to_numpy().astype(np.uint8)


def kept(roles: np.ndarray, offsets: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Which turns stay when conversations lose turns at the front, after those of the system (bool[turns]).

    Args:
        roles: of every turn its number in `schema.ROLES` (uint8[turns], see `role_codes`).
        offsets: which turns each conversation has (int64[n + 1]).
        starts: how many turns each loses, as `fit` has it (int32[n]).

    Raises:
        ValueError: when a conversation has fewer turns than it is to lose.
    """
    keep = np.ones(len(roles), dtype=np.bool_)
    lost = _drop(roles, offsets, starts, keep)
    if lost >= 0:
        found = int(offsets[lost + 1] - offsets[lost])
        raise ValueError(f"conversation {lost} has {found} turns with those of the system, and is to lose {starts[lost]} others")
    return keep


def drop_front(conversations: pa.ListArray, starts: np.ndarray) -> pa.ListArray:
    """Leaves out turns at the front of conversations, after those of the system.

    Args:
        conversations: list<struct<role, content>>, no nulls.
        starts: how many turns each loses, as `fit` has it (int32[n]).

    Returns:
        What is left; the conversations themselves when nothing is left out.

    Raises:
        ValueError: when a conversation has fewer turns than it is to lose.
    """
    if not starts.any():
        return conversations
    flat = conversations.flatten()
    offsets = conversations.offsets.to_numpy().astype(np.int64)
    offsets -= offsets[0]
    keep = kept(role_codes(flat.field("role")), offsets, starts)
    ends = offsets - np.concatenate([[0], np.cumsum(starts, dtype=np.int64)])
    return pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), flat.filter(pa.array(keep)), type=MESSAGES)


def characters(texts: pl.Series) -> np.ndarray:
    """The characters of every text (int64)."""
    return texts.str.len_chars().fill_null(0).to_numpy().astype(np.int64)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Counts the tokens of texts, special tokens that would be put around a text not included.

    Attributes:
        tokenizer: of the `tokenizers` library, without truncation and padding.
    """

    tokenizer: Tokenizer

    def __call__(self, texts: pl.Series) -> np.ndarray:
        counts = np.zeros(len(texts), dtype=np.int64)
        ends = np.cumsum(texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64))
        start = 0
        while start < len(texts):
            before = int(ends[start - 1]) if start else 0
            end = max(start + 1, int(np.searchsorted(ends, before + _BATCH_BYTES, side="right")))
            encoded = self.tokenizer.encode_batch_fast(texts[start:end].fill_null("").to_list(), add_special_tokens=False)
            counts[start:end] = np.fromiter(map(len, encoded), dtype=np.int64, count=end - start)
            start = end
        return counts


def counter(path: Path | None) -> Counter:
    """What sizes are counted with.

    Args:
        path: a tokenizer.json, or a folder that holds one: tokens are counted. None: characters are.

    Raises:
        DataError: when there is no such file, it cannot be read, or is no tokenizer.
    """
    if path is None:
        return characters
    data = _read(path)
    from tokenizers import Tokenizer  # takes a fifth of a second, which only recipes with a tokenizer need

    try:
        tokenizer = Tokenizer.from_buffer(data)
    except ValueError as e:
        raise DataError(f"{_file(path)} is no tokenizer that the tokenizers library reads ({e}); save it again with its save()") from e
    tokenizer.no_truncation()  # files of published models hold the settings that they were last used with: a limit of 512 counts 512
    tokenizer.no_padding()
    return Tokens(tokenizer)


def fingerprint(path: Path) -> str:
    """The SHA-256 of a tokenizer's file, in hexadecimal: what depends on counts depends on it.

    Raises:
        DataError: when there is no such file, or it cannot be read.
    """
    return sha256(_read(path)).hexdigest()


def _file(path: Path) -> Path:
    return path / TOKENIZER if path.is_dir() else path


def _read(path: Path) -> bytes:
    file = _file(path)
    try:
        return file.read_bytes()
    except FileNotFoundError as e:
        where = f"the folder {path} holds no {TOKENIZER}" if path.is_dir() else f"there is no file {path}"
        raise DataError(f"{where}; a tokenizer is a {TOKENIZER} as the tokenizers library saves it, or a folder with one") from e
    except OSError as e:
        raise DataError(f"the tokenizer {file} cannot be read: {e.strerror}") from e


@njit(cache=True, nogil=True)
def _fit(
    roles: np.ndarray,
    offsets: np.ndarray,
    sizes: np.ndarray,
    fixed: np.ndarray,
    most: int,
    starts: np.ndarray,
    left: np.ndarray,
    over: np.ndarray,
) -> None:
    for row in range(len(offsets) - 1):
        begin, end = offsets[row], offsets[row + 1]
        total = np.int64(fixed[row])
        for i in range(begin, end):
            total += sizes[i]
        left[row] = total
        if total <= most:
            continue
        while begin < end and roles[begin] == _SYSTEM:
            begin += 1
        rest = total
        for i in range(begin, end):
            if roles[i] == _USER:
                left[row] = rest
                starts[row] = i - begin
                if rest <= most:
                    break
            rest -= sizes[i]
        over[row] = left[row] > most


@njit(cache=True, nogil=True)
def _drop(roles: np.ndarray, offsets: np.ndarray, starts: np.ndarray, keep: np.ndarray) -> int:
    """Marks what goes; returns the first conversation that has not enough turns, or -1."""
    for row in range(len(offsets) - 1):
        if starts[row] == 0:
            continue
        at = offsets[row]
        while at < offsets[row + 1] and roles[at] == _SYSTEM:
            at += 1
        if starts[row] < 0 or at + starts[row] > offsets[row + 1]:
            return row
        keep[at : at + starts[row]] = False
    return -1
