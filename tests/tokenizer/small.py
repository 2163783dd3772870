"""Small tokenizers of every library, trained in well under a second on a few sentences, and texts for them."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path

from sentencepiece import SentencePieceTrainer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus.tokenizer.spelling import alphabet, unspelled

SENTENCES = [
    "今天天气很好，我们去公园散步吧。",
    "公园里有很多人在散步，也有人在放风筝。",
    "请把这句话翻译成英文：我们明天去图书馆。",
    "图书馆里有很多书，我们可以借三本书回家看。",
    "The weather is fine today, so we are going for a walk in the park.",
    "There are many people walking in the park, and some of them fly kites.",
    "Please translate this sentence: tomorrow we are going to the library.",
    "def add(a, b):\n    return a + b  # 返回两个数的和\n",
    "2024-05-01 12:30  3.14159\t100%",
] * 8


@cache
def byte_level() -> Tokenizer:
    """A byte-level BPE with two special tokens and one that is not."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(r"\p{Han}{1,16}| ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=list(alphabet()), show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.add_special_tokens([AddedToken("<|im_start|>", special=True), AddedToken("<|im_end|>", special=True)])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    return tokenizer


def rank_file(path: Path) -> dict[bytes, int]:
    """Writes the tokens of the byte-level BPE as tiktoken does; returns them."""
    added = {token.content for token in byte_level().get_added_tokens_decoder().values()}
    tokens = {token: at for token, at in byte_level().get_vocab().items() if token not in added}
    found = {text: at for token, at in tokens.items() if (text := unspelled(token))}
    write_ranks(path, found)
    return found


def write_ranks(path: Path, found: dict[bytes, int]) -> None:
    """Writes a rank file."""
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in sorted(found.items(), key=lambda each: each[1])]
    path.write_text("".join(lines))


@cache
def sentencepiece(*, lossless: bool) -> bytes:
    """A sentencepiece BPE: with identity normalisation and byte fallback, or the library's defaults."""
    out = io.BytesIO()
    settings = {
        "normalization_rule_name": "identity", "byte_fallback": True, "add_dummy_prefix": False, "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True, "split_digits": True,
    } if lossless else {}  # fmt: skip
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=out, model_type="bpe", vocab_size=500, minloglevel=2, hard_vocab_limit=False,
        character_coverage=1.0, **settings,
    )  # fmt: skip
    return out.getvalue()
