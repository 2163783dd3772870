"""Small tokenizers in the layouts that are met in the wild, and text to train them and to extend them with; all written for the tests."""

from __future__ import annotations

import json
import random
from io import BytesIO
from pathlib import Path

ENGLISH = (
    "The patient was treated in the hospital for two weeks.",
    "A tokenizer turns text into numbers, and numbers into text again.",
    "def add(a, b):\n    return a + b  # it's 12345",
    "What is the capital of the country, and who lives there?",
    "Water boils at 100 degrees; ice melts at 0.",
)
CHINESE = (
    "患者在医院接受治疗，两周后出院。",
    "高血压患者应当注意饮食，定期到医院检查血压。",
    "糖尿病是一种常见的慢性疾病，需要长期治疗。",
    "医生建议患者多休息，少吃盐，按时服药。",
    "分词器把文本变成数字，再把数字变成文本。",
    "他问医生：“这种疾病能不能治好？”",
)


def english(rows: int, seed: int = 0) -> list[str]:
    """Rows of English: the sentences above, and words made of them."""
    return _rows(ENGLISH, rows, seed, " ")


def chinese(rows: int, seed: int = 0) -> list[str]:
    """Rows of Chinese."""
    return _rows(CHINESE, rows, seed, "")


def _rows(sentences: tuple[str, ...], rows: int, seed: int, between: str) -> list[str]:
    draw = random.Random(seed)
    return [between.join(draw.choices(sentences, k=draw.randint(1, 4))) for _ in range(rows)]


BLOOM_PATTERN = r" ?[^(\s|[.,!?…。，、।۔،])]+"
QWEN_PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _byte_level(folder: Path, pattern: str, special: list[str], in_front: bool, config: dict, crossing: bool) -> Path:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if not in_front:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special if in_front else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    some = chinese(3)
    tokenizer.train_from_iterator([*english(200), *(some if crossing else map("\n".join, some))], trainer)
    tokenizer.add_special_tokens(special)
    if not in_front:
        tokenizer.add_tokens(["<tool_call>"])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def bloom(folder: Path, crossing: bool = False) -> Path:
    """BLOOM's layout: byte-level, special tokens in front.

    Args:
        folder: where.
        crossing: whether it has tokens of the end of one character and the beginning of the next.
    """
    config = {
        "tokenizer_class": "BloomTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
    }  # fmt: skip
    path = _byte_level(folder, BLOOM_PATTERN, ["<unk>", "<s>", "</s>", "<pad>"], True, config, crossing)
    (path / "config.json").write_text(json.dumps({"model_type": "bloom", "vocab_size": 512}))
    return path


def qwen(folder: Path) -> Path:
    """Qwen's layout: byte-level, added tokens behind the vocabulary, vocab.json and merges.txt beside."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    config = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    path = _byte_level(folder, QWEN_PATTERN, special, False, config, False)
    model = json.loads((path / "tokenizer.json").read_text())["model"]
    (path / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{line}\n" for line in lines))
    (path / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": 640}))
    return path


def sentencepiece(folder: Path, model_type: str = "bpe", byte_fallback: bool = True) -> Path:
    """A sentencepiece model alone."""
    import sentencepiece as spm

    out = BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([*english(200), *chinese(2)]),
        model_writer=out,
        model_type=model_type,
        vocab_size=420 if byte_fallback else 150,
        byte_fallback=byte_fallback,
        split_digits=True,
        normalization_rule_name="identity",
        character_coverage=0.995,
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=3,
    )
    folder.mkdir(parents=True)
    (folder / "tokenizer.model").write_bytes(out.getvalue())
    return folder


def llama(folder: Path, behind: bool = False) -> Path:
    """LLaMA's layout: sentencepiece's model, and tokenizer.json that does the same (as transformers converts it).

    Args:
        folder: where.
        behind: whether a padding token stands behind the model's pieces.
    """
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    sentencepiece(folder)
    sp = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    names = [sp.id_to_piece(i) for i in range(sp.get_piece_size())]
    ids = {name: i for i, name in enumerate(names)}
    merges = []
    for name in sorted(
        (n for i, n in enumerate(names) if not (sp.is_byte(i) or sp.is_control(i) or sp.is_unknown(i))), key=ids.__getitem__
    ):
        merges += [(name[:k], name[k:]) for k in range(1, len(name)) if name[:k] in ids and name[k:] in ids]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    if behind:
        tokenizer.add_special_tokens([AddedToken("<pad>", normalized=False, special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
