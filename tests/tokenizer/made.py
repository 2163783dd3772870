"""Tokenizers of the kinds that splits are encoded with, learnt in a moment from a few lines."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import TYPE_CHECKING

import polars as pl

from corpus.splits.templates import TEMPLATES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LINES = [
    "Human: 请介绍一下长江。\n\nAssistant: 长江是中国最长的河流，全长约6300公里。</s>",
    "USER: What is the capital of France? ASSISTANT: The capital of France is Paris, on the Seine.</s>",
    "    def f(x):\n        return x + 1  # 加一\r\n\tif True:\r\n\t\tpass\n\n\n",
    "It's the user's own; don't say that they'll be there. 不要说他们会来，“好”吗？",
    "Numbers: 1234567 and 3.14159, 2026年11月21日, １２３ ４５６.",
    "👩‍👩‍👧‍👦 family, 🇨🇳 flag, e\u0301 accent, 𠮷野家 and 𪚥 are rare. ﷽ ㎏ ﬁ",
] * 3


@cache
def ours(template: str) -> str:
    """tokenizer.json of a byte-level tokenizer as they are trained here."""
    from corpus.tokenizer.bpe import train
    from corpus.tokenizer.spec import TokenizerSpec
    from corpus.tokenizer.specials import specials

    return train([pl.Series(LINES)], TokenizerSpec(vocab_size=600), specials(TEMPLATES[template])).tokenizer.to_str()


@cache
def gpt2(template: str) -> str:
    """Byte level with another pre-tokenizer, trimmed offsets and a limit of length, as published models have them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    from corpus.tokenizer.specials import specials

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.add_tokens(specials(TEMPLATES[template]).added())
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(pad_id=0, pad_token="<|pad|>")
    return tokenizer.to_str()


def pieces(template: str) -> str:
    """A model of sentencepiece with byte fallback: blanks are ▁, and nothing is cut before it is merged."""
    return _pieces(template, prefix=False)


def llama(template: str) -> str:
    """The same with a blank put before every text, and so after every special token, as LLaMA's tokenizer.json has it."""
    return _pieces(template, prefix=True)


@cache
def _pieces(template: str, *, prefix: bool) -> str:
    import sentencepiece
    from tokenizers import Tokenizer, decoders, models, normalizers

    from corpus.tokenizer.specials import specials

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line for text in LINES for line in text.split("\n")), model_writer=model, vocab_size=500, model_type="bpe",
        byte_fallback=True, normalization_rule_name="identity", split_digits=True, remove_extra_whitespaces=False, minloglevel=2,
        hard_vocab_limit=False,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    vocabulary = {name: i for i, name in enumerate(names)}
    scores = {name: processor.get_score(i) for i, name in enumerate(names)}
    splits = [
        (name[:cut], name[cut:])
        for name in sorted((n for n in names if scores[n] < 0 or len(n) == 2), key=lambda n: -scores[n])
        for cut in range(1, len(name))
        if name[:cut] in vocabulary and name[cut:] in vocabulary and not processor.is_byte(vocabulary[name])
    ]
    tokenizer = Tokenizer(models.BPE(vocabulary, splits, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    blanks = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), blanks]) if prefix else blanks
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_tokens(specials(TEMPLATES[template]).added())
    return tokenizer.to_str()


KINDS = {"ours": ours, "gpt2": gpt2, "pieces": pieces, "llama": llama}


def plain(settings: str) -> Tokenizer:
    """The tokenizer as the library has it, with nothing but its limits taken away."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(json.dumps({**json.loads(settings), "truncation": None, "padding": None}))
    tokenizer.post_processor = None  # type: ignore[assignment]
    return tokenizer
