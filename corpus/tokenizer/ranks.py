"""tiktoken's rank files as tokenizers that the `tokenizers` library runs, with the ids that tiktoken gives.

A file has a line for each token: its bytes in base64, and its rank, which is its id. Two things that tiktoken needs are not in it. The
pattern that cuts text into pieces is code of whoever publishes the file, and is chosen by the file's name here; special tokens are not
known, so none is added.

tiktoken joins, in a piece, the two neighbours whose joined bytes have the lowest rank; the library wants the pairs that may be joined. A
token comes from one pair only, the one that is left last when its own bytes are joined alone: as long as nothing joins across a token's
ends, what happens between them does not depend on what stands around.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from corpus.errors import DataError
from corpus.tokenizer.spelling import spelled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SMALL = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LARGE = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_CL100K = rf"{_WORDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_SIGNS}|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"
_QWEN = rf"{_WORDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_SIGNS}|\s*[\r\n]+|\s+(?!\S)|\s+"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_LARGE}*{_SMALL}+{_WORDS}?|[^\r\n\p{{L}}\p{{N}}]?{_LARGE}+{_SMALL}*{_WORDS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_R50K = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+\z|\s+(?!\S)|\s"
_PATTERNS = {"qwen": _QWEN, "o200k": _O200K, "r50k": _R50K, "p50k": _R50K, "gpt2": _R50K, "cl100k": _CL100K}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A rank file that was read.

    Attributes:
        tokenizer: what gives tiktoken's ids.
        pattern: whose pattern cuts the text: a key of the known ones.
        guessed: whether the file's name did not say so, and GPT-4's was taken.
    """

    tokenizer: Tokenizer
    pattern: str
    guessed: bool


def read(path: Path) -> Ranked:
    """Reads a rank file.

    Args:
        path: the file; `qwen`, `o200k`, `cl100k`, `p50k`, `r50k` or `gpt2` in its name says which pattern cuts the text.

    Raises:
        DataError: naming file and line, where a line is not base64 and a rank, or a byte has no token.
    """
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

    ranks = _ranks(path)
    names = {token: spelled(token) for token in ranks}
    pairs = [(rank, pair) for token, rank in ranks.items() if (pair := _parts(token, ranks))]
    merges = [(names[left], names[right]) for _, (left, right) in sorted(pairs)]
    # A piece that is a token is that token, even where no joining leads to it.
    tokenizer = Tokenizer(BPE({names[t]: rank for t, rank in ranks.items()}, merges, ignore_merges=True))
    named = next((name for name in _PATTERNS if name in path.name.lower()), None)
    pattern = Regex(_PATTERNS[named or "cl100k"])
    tokenizer.pre_tokenizer = Sequence([Split(pattern, "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = Decoder()
    return Ranked(tokenizer, named or "cl100k", named is None)


def _ranks(path: Path) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    used: set[int] = set()
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line:
            continue
        try:
            shown, rank = line.split()
            token, at = base64.b64decode(shown, validate=True), int(rank)
        except (ValueError, binascii.Error) as e:
            raise DataError(f"{path}, line {number}: {line[:60]!r}, expected a token in base64, a space and its rank") from e
        if not token or token in ranks or at in used or not 0 <= at < 2**31:
            raise DataError(f"{path}, line {number}: {line[:60]!r}, expected a token and a rank that no line before has")
        ranks[token] = at
        used.add(at)
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise DataError(f"{path}: the byte 0x{missing[0]:02x} has no token ({len(missing)} have none); a rank file of tiktoken has all 256")
    return ranks


def _parts(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes] | None:
    """The two tokens that become this one when its bytes are joined; None for a byte, and where joining ends before."""
    parts = [token[i : i + 1] for i in range(len(token))]
    never = len(ranks) + 2**31
    joined = [ranks.get(a + b, never) for a, b in itertools.pairwise(parts)]
    while len(parts) > 2:
        best = min(joined)
        if best == never:
            return None
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        del joined[at]
        if at:
            joined[at - 1] = ranks.get(parts[at - 1] + parts[at], never)
        if at < len(joined):
            joined[at] = ranks.get(parts[at] + parts[at + 1], never)
    return (parts[0], parts[1]) if len(parts) == 2 else None
