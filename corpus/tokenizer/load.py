"""Any tokenizer, as the report needs it: texts to ids and back, and the bytes that every id stands for.

What is read: `tokenizer.json` (or a folder with one), sentencepiece's `.model`, tiktoken's rank files, and a name on the Hugging Face hub,
of which only `tokenizer.json` or `tokenizer.model` is fetched. Nothing of a tokenizer is run but the libraries: no code of a repository.

Everything is measured as training reads it. A special token's spelling in a text is text, nothing is added around a text, and nothing is
cut off.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson

from corpus.errors import DataError, FetchError, UsageError
from corpus.tokenizer import ranks, spm_format
from corpus.tokenizer.folder import read_manifest
from corpus.tokenizer.library import check_ids, one_thread, refusals
from corpus.tokenizer.spelling import SPACE, fallback, unspelled
from corpus.tokenizer.vocabulary import Vocabulary

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_FILES = (".json", ".model", ".tiktoken")
_RANKED = re.compile(rb"[A-Za-z0-9+/]+=* [0-9]+\r?\n")


class Engine(Protocol):
    """A library that has read a tokenizer."""

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The ids of every text, on one thread."""

    def decode(self, ids: list[list[int]]) -> list[str]:
        """The text of every list of ids; special tokens are shown."""


@dataclass(frozen=True)
class Loaded:
    """A tokenizer that is ready to be measured.

    Attributes:
        name: as the user gave it.
        what: what it is, in a few words.
        engine: what encodes and decodes.
        vocabulary: what its ids stand for.
    """

    name: str
    what: str
    engine: Engine
    vocabulary: Vocabulary

    @property
    def size(self) -> int:
        """How many tokens there are, special ones included."""
        return int(self.vocabulary.there.sum())

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The ids of all texts, one text after another (int32[tokens]), and where each begins and the last ends (int64[texts + 1])."""
        rows = self.engine.encode(list(texts))
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.empty(offsets[-1], dtype=np.int32)
        for row, start in zip(rows, offsets[:-1], strict=True):
            ids[start : start + len(row)] = row
        return ids, offsets

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text that ids stand for."""
        return self.engine.decode([[int(i) for i in ids]])[0]

    def decode_all(self, ids: np.ndarray, offsets: np.ndarray) -> list[str]:
        """The texts of what `encode` gives."""
        return self.engine.decode([ids[a:b].tolist() for a, b in itertools.pairwise(offsets)])


def load(name: str) -> Loaded:
    """Loads a tokenizer.

    Args:
        name: a folder, a `tokenizer.json`, a `.model` of sentencepiece, a `.tiktoken` rank file, or a name on the Hugging Face hub.

    Raises:
        UsageError: when there is no such file, or no tokenizer in the folder.
        DataError: when a file is not what its name says.
        FetchError: when the hub has no such tokenizer, or cannot be reached and nothing is in its cache.
    """
    path = Path(name)
    if path.is_dir():
        return _file(name, _in_folder(path))
    if path.exists():
        return _file(name, path)
    if name.endswith(_FILES) or not _HUB.fullmatch(name) or ("/" in name and path.parent.is_dir()):
        raise UsageError(
            f"{name!r}: there is no such file or folder, and it is no name on the hub; expected a folder with tokenizer.json, a "
            "tokenizer.json, a .model of sentencepiece, a .tiktoken file, or a name like Qwen/Qwen3-0.6B"
        )
    return _file(name, _from_hub(name))


def _in_folder(folder: Path) -> Path:
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    for ending in (".model", ".tiktoken"):
        found = sorted(p for p in folder.glob(f"*{ending}") if p.is_file())
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(p.name for p in found)
            raise UsageError(f"{folder}: {len(found)} files end in {ending} ({names}) and none is tokenizer.json; name one of them")
    raise UsageError(f"{folder}: no tokenizer.json, .model or .tiktoken file in this folder; name the folder that a tokenizer was saved in")


def _file(name: str, path: Path) -> Loaded:
    # LLaMA 3's tokenizer.model is a rank file.
    ranked = path.suffix == ".model" and _RANKED.match(path.open("rb").read(4096))
    if path.suffix == ".model" and not ranked:
        return _sentencepiece(name, path)
    if path.suffix == ".tiktoken" or ranked:
        read = ranks.read(path)
        says = f"{read.pattern}'s pattern" + (", since the file's name says no other" if read.guessed else "")
        return _ready(name, f"tiktoken ranks, {says}, no special tokens", read.tokenizer, None)
    if path.suffix == ".json":
        return _tokenizers(name, path)
    raise UsageError(f"{path}: expected a file that ends in .json (tokenizer.json), .model (sentencepiece) or .tiktoken")


def _from_hub(name: str) -> Path:
    # Imported here: the hub's client takes half a second, and most tokenizers are files.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

    get = f"`hf download {name} --include 'tokenizer*'` where there is a network, or name a folder"
    names = ("tokenizer.json", "tokenizer.model")
    try:
        # The cache first: without a network the client waits 23 seconds before it looks there.
        for file in names:
            cached = try_to_load_from_cache(name, file)
            if isinstance(cached, str):
                return Path(cached)
        for file in names:
            try:
                path = Path(hf_hub_download(name, file))
            except LocalEntryNotFoundError as e:
                raise FetchError(f"{name}: neither a file here nor in the hub's cache, and the hub cannot be reached; {get}") from e
            except EntryNotFoundError:
                continue
            if file == "tokenizer.json":
                with suppress(EntryNotFoundError):  # beside it, as in a folder
                    hf_hub_download(name, "tokenizer_config.json")
            return path
    except RepositoryNotFoundError as e:
        raise FetchError(f"{name}: neither a file here nor a repository on the hub (or one that needs `hf auth login`)") from e
    except (HFValidationError, OSError) as e:
        raise FetchError(f"{name}: the hub did not give its tokenizer: {e}; {get}") from e
    raise FetchError(f"{name}: the repository has neither tokenizer.json nor tokenizer.model, and code of a repository is not run")


def _tokenizers(name: str, path: Path) -> Loaded:
    from tokenizers import Tokenizer

    with refusals(f"{path}: not a tokenizer.json that the tokenizers library reads", "save it again with its save()"):
        tokenizer = Tokenizer.from_str(path.read_text("utf-8"))
    config = path.with_name("tokenizer_config.json")
    told: Any = None
    if config.is_file():
        try:
            told = orjson.loads(config.read_bytes())
        except orjson.JSONDecodeError as e:
            raise DataError(f"{config}: not valid JSON: {e}") from e
        if not isinstance(told, dict):
            raise DataError(f"{config}: expected a JSON object")
    ours = read_manifest(path.parent) if path.name == "tokenizer.json" else None
    return _ready(name, f"{ours['kind']}, trained here" if ours and "kind" in ours else "", tokenizer, told)


def _ready(name: str, what: str, tokenizer: Tokenizer, config: dict[str, Any] | None) -> Loaded:
    # Text that spells a special token is text.
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _no_dropout(tokenizer)
    spelled = {at: token for token, at in tokenizer.get_vocab(with_added_tokens=True).items()}
    check_ids(max(spelled, default=-1), name)
    told = orjson.loads(tokenizer.to_str())  # walks through all ids up to the highest
    model = told["model"]
    spelling = _Spelling.of(told)
    vocabulary = _vocabulary(tokenizer, spelled, model, config or {}, spelling)
    kind = model.get("type") or "model"
    return Loaded(name, what or f"tokenizers {kind}{spelling.says}", _Tokenizers(name, tokenizer), vocabulary)


def _no_dropout(tokenizer: Tokenizer) -> None:
    """Takes chance away that some are trained with: the same text has the same ids then."""
    if getattr(tokenizer.model, "dropout", None):
        tokenizer.model.dropout = None


def _vocabulary(
    tokenizer: Tokenizer, spelled: dict[int, str], model: dict[str, Any], config: dict[str, Any], spelling: _Spelling
) -> Vocabulary:
    size = max(spelled) + 1
    there, special, unknown, fallback = (np.zeros(size, dtype=bool) for _ in range(4))
    tokens = [b""] * size
    for at, token in spelled.items():
        there[at] = True
        tokens[at], fallback[at] = spelling.bytes_of(token)
    for at, added in tokenizer.get_added_tokens_decoder().items():
        tokens[at], fallback[at], special[at] = added.content.encode(), False, added.special
    ids = {token: at for at, token in spelled.items()}
    for key in ("unk_token", "bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token"):
        said = config.get(key)
        said = said.get("content") if isinstance(said, dict) else said
        if isinstance(said, str) and said in ids:
            special[ids[said]] = True
            # Some name as unknown what is their end, too (GPT-2): there it says nothing.
            unknown[ids[said]] |= key == "unk_token" and said == model.get("unk_token")
    unk = model.get("unk_id") if model.get("type") == "Unigram" else ids.get(model.get("unk_token") or "")
    if isinstance(unk, int) and unk < size:
        special[unk] = unknown[unk] = True
        tokens[unk] = spelled[unk].encode()
    return Vocabulary(tuple(tokens), there, special, unknown, fallback)


@dataclass(frozen=True, slots=True)
class _Spelling:
    """How a `tokenizer.json` spells bytes in its tokens.

    Attributes:
        level: whether it is byte-level.
        blank: what stands for a space, as in `▁`; empty where nothing does.
        fallback: whether `<0x41>` is a byte.
        prefix: what says that a token goes on with a word, as BERT's `##`.
    """

    level: bool
    blank: str
    fallback: bool
    prefix: str

    @classmethod
    def of(cls, told: dict[str, Any]) -> _Spelling:
        """Reads it from the decoder, which has to know."""
        decoder = told.get("decoder") or {}
        parts = decoder.get("decoders", []) if decoder.get("type") == "Sequence" else [decoder]
        kinds = {part.get("type"): part for part in parts}
        blank = kinds.get("Metaspace", {}).get("replacement", "")
        if not blank and kinds.get("Replace", {}).get("content") == " ":
            blank = kinds["Replace"].get("pattern", {}).get("String", "")
        falls = "ByteFallback" in kinds or bool(told["model"].get("byte_fallback"))
        return cls("ByteLevel" in kinds, blank, falls, kinds.get("WordPiece", {}).get("prefix", ""))

    @property
    def says(self) -> str:
        """The same in words."""
        return ", byte level" if self.level else ", byte fallback" if self.fallback else ""

    def bytes_of(self, token: str) -> tuple[bytes, bool]:
        """The bytes of a token, and whether it is one byte to fall back to."""
        if self.level:
            known = unspelled(token)
            return token.encode() if known is None else known, False
        byte = fallback(token) if self.fallback else None
        if byte is not None:
            return bytes([byte]), True
        token = token.replace(self.blank, " ") if self.blank else token
        return (token.removeprefix(self.prefix) if self.prefix else token).encode(), False


class _Tokenizers:
    """A tokenizer of the `tokenizers` library."""

    def __init__(self, name: str, tokenizer: Tokenizer) -> None:
        self._name = name
        self._tokenizer = tokenizer

    def encode(self, texts: list[str]) -> list[list[int]]:
        """See `Engine`."""
        with one_thread(), refusals(f"{self._name}: the tokenizers library cannot encode the text with it", "choose another tokenizer"):
            return [found.ids for found in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: list[list[int]]) -> list[str]:
        """See `Engine`."""
        with one_thread():
            return list(self._tokenizer.decode_batch(ids, skip_special_tokens=False))


def _sentencepiece(name: str, path: Path) -> Loaded:
    try:
        processor = spm_format.processor(path.read_bytes())
    except (DataError, OSError) as e:
        raise DataError(f"{path}: {e}") from e
    size = processor.GetPieceSize()
    pieces = [processor.IdToPiece(i) for i in range(size)]
    flags = ([f(i) for i in range(size)] for f in (processor.IsByte, processor.IsControl, processor.IsUnknown, processor.IsUnused))
    byte, control, unknown, unused = (np.array(f, dtype=bool) for f in flags)
    special = control | unknown
    tokens = [
        bytes.fromhex(piece[3:5]) if is_byte else (piece if is_special else piece.replace(SPACE, " ")).encode()
        for piece, is_byte, is_special in zip(pieces, byte, special, strict=True)
    ]
    says = ", byte fallback" if byte.any() else ""
    return Loaded(name, f"sentencepiece{says}", _Sentencepiece(processor), Vocabulary(tuple(tokens), ~unused, special, unknown, byte))


class _Sentencepiece:
    """A model of sentencepiece."""

    def __init__(self, processor: SentencePieceProcessor) -> None:
        self._processor = processor

    def encode(self, texts: list[str]) -> list[list[int]]:
        """See `Engine`."""
        rows: list[list[int]] = self._processor.encode(texts, out_type=int, num_threads=1, add_bos=False, add_eos=False)
        return rows

    def decode(self, ids: list[list[int]]) -> list[str]:
        """See `Engine`."""
        texts: list[str] = self._processor.decode(ids, num_threads=1) if ids else []
        return texts
