"""Tokenizers that are extended: no id changes, no text gets longer, and what is gained is used alike by every library that loads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.errors import DataError, UsageError
from corpus.tokenizer import base as bases
from corpus.tokenizer.extend import EMBEDDINGS, Extended, extend, write
from corpus.tokenizer.gain import gain
from tests.tokenizer.bases import CHINESE, bloom, chinese, english, llama, qwen, sentencepiece

pytest.importorskip("sentencepiece")

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "bloom": bloom, "crossing": lambda p: bloom(p, crossing=True), "qwen": qwen, "llama": llama, "llama-pad": lambda p: llama(p, behind=True), "sentencepiece": sentencepiece,
}  # fmt: skip
LEARNT = [pl.Series(chinese(300, 5)), pl.Series(english(60, 6))]
ADD = 60
ODD = (
    "", " ", "  two  spaces ", "tab\tand\r\nCRLF\n\n", "１２３，。！？", "👩‍👩‍👧 é e\u0301", "𠀀𪚥 龘", "<s>患者</s> <unk> <0x41> <|im_end|>", "▁患者 ▁▁",
    "12345 患者 67", "治疗治疗治疗，治疗。", "\u200b\ufeff",
)  # fmt: skip


@pytest.fixture(scope="module", params=list(LAYOUTS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Extended, Path]:
    """A tokenizer that was extended, and the folder that it was written to."""
    root = tmp_path_factory.mktemp(request.param)
    extended = extend(LAYOUTS[request.param](root / "base"), LEARNT, ADD)
    write(extended, root / "extended")
    return extended, root / "extended"


def ids(encoder: bases.Encoder, text: str) -> list[int]:
    return [i for found, _ in encoder.encode(pl.Series([text])) for i in found.tolist()]


def spelled(extended: Extended, tokens: list[int]) -> list[int]:
    """Tokens as the base's ids that they are made of."""
    parts = {t.id: t.parts for t in extended.tokens}
    return [i for token in tokens for i in parts.get(token, (token,))]


def test_tokens_are_added_behind_all_ids(made: tuple[Extended, Path]) -> None:
    extended, _ = made
    assert len(extended.tokens) > 30
    assert len({t.name for t in extended.tokens}) == len(extended.tokens)
    assert [t.id for t in extended.tokens] == list(range(extended.base.rows, extended.rows))
    assert extended.base.rows > max(extended.base.added, default=0)
    texts = extended.base.texts()
    assert len({t.text for t in extended.tokens} | set(texts)) == len(extended.tokens) + len(texts)
    assert any(len(t.text.decode(errors="ignore")) > 1 for t in extended.tokens)


def test_new_tokens_are_whole_characters_or_within_one(made: tuple[Extended, Path]) -> None:
    for token in made[0].tokens:
        try:
            text = token.text.decode()
        except UnicodeDecodeError:
            # A part of one character: at most its first bytes, then only bytes that go on.
            assert len(token.text) < 4
            assert all(b & 0xC0 == 0x80 for b in token.text[1:])
            continue
        assert not any(c.isdigit() for c in text)


@pytest.mark.parametrize("text", [*ODD, *english(10, 20), *chinese(10, 21)])
def test_text_is_what_it_was_merged_further(made: tuple[Extended, Path], text: str) -> None:
    extended, _ = made
    before, after = ids(extended.base.encoder(), text), ids(extended.encoder(), text)
    assert len(after) <= len(before)
    if not any(i >= extended.base.rows for i in after) and len(after) == len(before):
        assert after == before
    texts = extended.base.texts()
    joined = b"".join(texts[i] for i in spelled(extended, after))
    assert joined == b"".join(texts[i] for i in before)


def test_nothing_is_changed_where_nothing_is_gained(made: tuple[Extended, Path]) -> None:
    extended, _ = made
    old, new = extended.base.encoder(), extended.encoder()
    for text in ("zyx qvk zyx 999 !?", "Ünïcödé ß", "한국어 ไทย"):
        assert ids(new, text) == ids(old, text)


def test_what_was_learnt_is_used(made: tuple[Extended, Path]) -> None:
    extended, _ = made
    texts, languages = pl.Series([*chinese(40, 9), *english(40, 9)]), pl.Series(["zh"] * 40 + ["en"] * 40)
    found = gain(extended, texts, languages)
    table = {row["language"]: row for row in found.languages.to_dicts()}
    assert list(table) == ["en", "zh", "all"]
    assert table["zh"]["tokens"] < 0.8 * table["zh"]["tokens_before"]
    assert table["en"]["tokens"] <= table["en"]["tokens_before"]
    assert all(row["longer"] == 0 for row in table.values())
    assert table["zh"]["changed"] == 1
    assert 0 < table["zh"]["covered"] <= 1
    assert table["all"]["tokens"] == table["zh"]["tokens"] + table["en"]["tokens"]
    assert found.uses["count"].sum() > 0
    assert len(found.unused) == found.as_json()["unused"] == found.uses.filter(pl.col("count") == 0).height
    json.dumps(found.as_json())


def test_the_share_that_is_covered_is_counted_in_bytes(made: tuple[Extended, Path]) -> None:
    extended, _ = made
    text = f"{CHINESE[0]}zyx"
    after = ids(extended.encoder(), text)
    sizes = {t.id: len(t.text) for t in extended.tokens}
    found = gain(extended, pl.Series([text, ""]), pl.Series(["zh", "zh"]))
    row = found.languages.row(0, named=True)
    assert row["covered"] == sum(sizes.get(i, 0) for i in after) / len(text.encode())
    assert row["changed"] == 0.5


def test_transformers_loads_it(made: tuple[Extended, Path]) -> None:
    extended, folder = made
    if extended.base.description is None:
        pytest.skip("transformers reads a .model alone only with protobuf")
    transformers = pytest.importorskip("transformers")
    before = transformers.AutoTokenizer.from_pretrained(str(extended.base.folder))
    after = transformers.AutoTokenizer.from_pretrained(str(folder))
    assert type(after) is type(before)
    old, new = before.get_vocab(), after.get_vocab()
    assert {name: new[name] for name in old} == old
    assert {t.name: new[t.name] for t in extended.tokens} == {t.name: t.id for t in extended.tokens}
    assert len(new) == len(old) + len(extended.tokens)
    assert before.special_tokens_map == after.special_tokens_map
    assert before.chat_template == after.chat_template
    encoder = extended.encoder()
    for text in (*ODD, *chinese(20, 30), *english(20, 31)):
        found = after(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert found == ids(encoder, text)
        assert after.decode(found) == before.decode(before(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    plain = [*chinese(20, 30), *english(20, 31)]
    assert [after.decode(after.encode(t, add_special_tokens=False)) for t in plain] == plain
    text = f"{after.eos_token}患者"
    assert after.encode(text, add_special_tokens=False)[0] == before.eos_token_id == after.eos_token_id


def test_sentencepiece_gives_the_same_ids(made: tuple[Extended, Path]) -> None:
    extended, folder = made
    model = extended.model()
    if model is None:
        pytest.skip("a byte-level tokenizer")
    from sentencepiece import SentencePieceProcessor

    old = SentencePieceProcessor(model_proto=extended.base.model)
    new = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert new.get_piece_size() == extended.rows
    size = old.get_piece_size()
    assert [new.id_to_piece(i) for i in range(size)] == [old.id_to_piece(i) for i in range(size)]
    assert [new.id_to_piece(t.id) for t in extended.tokens] == [t.name for t in extended.tokens]
    assert [new.is_control(i) for i in range(size, extended.base.rows)] == [True] * (extended.base.rows - size)
    encoder = extended.encoder()
    for text in (*chinese(30, 40), *english(30, 41), "12345 患者 67", "治疗治疗治疗，治疗。", "𠀀龘患者"):
        found = new.encode(text)
        assert new.decode(found) == text
        assert len(found) <= len(old.encode(text))
        if extended.base.description is not None:
            assert found == ids(encoder, text)


def test_everything_but_weights_is_kept(made: tuple[Extended, Path]) -> None:
    extended, folder = made
    base = extended.base.folder
    before = {p.name for p in base.iterdir()} - {"model.safetensors"}
    assert {p.name for p in folder.iterdir()} == before | {EMBEDDINGS}
    for name in before - {"tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt"}:
        assert (folder / name).read_bytes() == (base / name).read_bytes()
    if (base / "merges.txt").is_file():
        old, new = ((p / "merges.txt").read_text(encoding="utf-8").splitlines() for p in (base, folder))
        assert new[: len(old)] == old
        assert len(new) == len(old) + len(extended.merges)
        assert json.loads((folder / "vocab.json").read_text())[extended.tokens[-1].name] == extended.rows - 1


def test_embeddings_say_what_each_token_was(made: tuple[Extended, Path]) -> None:
    extended, folder = made
    said = json.loads((folder / EMBEDDINGS).read_text())
    assert (said["base_rows"], said["rows"], said["method"]) == (extended.base.rows, extended.rows, "mean")
    assert [t["id"] for t in said["tokens"]] == [t.id for t in extended.tokens]
    texts = extended.base.texts()
    fallbacks = extended.base.fallbacks()
    for token, row in zip(extended.tokens, said["tokens"], strict=True):
        assert b"".join(bytes([fallbacks[i]]) if i in fallbacks else texts[i] for i in row["from"]) == token.text
        assert len(row["from"]) > 1
        assert all(0 <= i < extended.base.rows for i in row["from"])


def test_twice_the_same(made: tuple[Extended, Path]) -> None:
    extended, _ = made
    again = extend(extended.base.folder, LEARNT, ADD)
    assert again.tokens == extended.tokens
    assert again.description() == extended.description()
    assert again.model() == extended.model()


_ALPHABET = "患者在医院接受治疗，两周后出院。高血压 thepatintwsdo 1234\n\t𠀀é▁<s>"


@settings(max_examples=150, deadline=None)
@given(st.text(st.one_of(st.sampled_from(_ALPHABET), st.characters(codec="utf-8")), max_size=40), st.integers(0, 2))
def test_any_text_comes_back_and_gets_no_longer(text: str, which: int) -> None:
    extended, old, new = _PROPERTY(which)
    before, after = ids(old, text), ids(new, text)
    assert len(after) <= len(before)
    texts = extended.base.texts()
    assert b"".join(texts[i] for i in spelled(extended, after)) == b"".join(texts[i] for i in before)
    if extended.base.layout == bases.Layout.BYTES and new.tokenizer is not None and "Qwen" not in extended.base.folder.name:
        assert new.tokenizer.decode(after, skip_special_tokens=False) == text


_WORDS = (
    "患者",
    "在",
    "医院",
    "治疗",
    "，两周",
    "后出院",
    "高",
    "血压",
    "，",
    "。",
    " the",
    " patient",
    "pat",
    "ient",
    "ing",
    "12",
    "𠀀",
    "\n",
    "é",
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=25).map("".join).filter(lambda text: not text.startswith(" ")))
def test_both_files_of_one_tokenizer_give_the_same_ids(text: str) -> None:
    extended, _, new = _PROPERTY(2)
    assert [i for found, _ in bases.encoder(None, extended.model()).encode(pl.Series([text])) for i in found.tolist()] == ids(new, text)


class _Property:
    """The three layouts, made once: Hypothesis takes no fixtures of a function."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Extended, bases.Encoder, bases.Encoder]] = {}
        self.root: Path | None = None

    def __call__(self, which: int) -> tuple[Extended, bases.Encoder, bases.Encoder]:
        if which not in self._made:
            assert self.root is not None
            name = ("bloom", "Qwen", "llama")[which]
            extended = extend((bloom, qwen, llama)[which](self.root / name), LEARNT, ADD)
            self._made[which] = extended, extended.base.encoder(), extended.encoder()
        return self._made[which]


_PROPERTY = _Property()


@pytest.fixture(scope="module", autouse=True)
def _root(tmp_path_factory: pytest.TempPathFactory) -> None:
    _PROPERTY.root = tmp_path_factory.mktemp("property")


def _with(folder: Path, change: Callable[[dict], None]) -> Path:
    path = folder / "tokenizer.json"
    description = orjson.loads(path.read_bytes())
    change(description)
    path.write_bytes(orjson.dumps(description))
    return folder


def test_ids_with_holes_and_far_behind(tmp_path: Path) -> None:
    def far(description: dict) -> None:
        vocabulary = description["model"]["vocab"]
        last = max(vocabulary, key=vocabulary.__getitem__)
        vocabulary["qqqqq"] = vocabulary[last] + 50

    folder = _with(bloom(tmp_path / "b"), far)
    extended = extend(folder, LEARNT, 20)
    assert extended.base.rows == extended.tokens[0].id == max(bases.read(folder).names) + 1
    assert ids(extended.encoder(), "治疗") != ids(extended.base.encoder(), "治疗")
    assert max(ids(extended.encoder(), LEARNT[0][0])) >= extended.base.rows


def test_a_word_that_is_a_special_token_is_no_new_one(tmp_path: Path) -> None:
    folder = bloom(tmp_path / "b")
    known = {t.text.decode(errors="replace"): t for t in extend(folder, LEARNT, ADD).tokens}
    word = "治疗"
    assert word in known

    def special(description: dict) -> None:
        at = max(t["id"] for t in description["added_tokens"]) + 1000
        name = known[word].name
        description["added_tokens"].append(
            {"id": at, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        )
        description["model"]["vocab"][name] = at

    extended = extend(_with(folder, special), LEARNT, ADD)
    assert word not in {t.text.decode(errors="replace") for t in extended.tokens}
    special_id = next(i for i, name in extended.base.added.items() if name == known[word].name)
    assert special_id not in ids(extended.encoder(), word)


def test_a_piece_of_the_base_made_in_another_way_gets_no_new_id(tmp_path: Path) -> None:
    def unreachable(description: dict) -> None:
        # "治疗" is in the vocabulary, and no merge makes it.
        vocabulary = description["model"]["vocab"]
        vocabulary[name] = max(vocabulary.values()) + 1

    folder = bloom(tmp_path / "b")
    name = next(t.name for t in extend(folder, LEARNT, ADD).tokens if t.text.decode(errors="replace") == "治疗")
    extended = extend(_with(folder, unreachable), LEARNT, ADD)
    there = extended.description()["model"]["vocab"][name]
    assert there < extended.base.rows
    assert name not in {t.name for t in extended.tokens}
    assert ids(extended.encoder(), "治疗") == [there]


def test_merges_as_pairs_and_as_strings(tmp_path: Path) -> None:
    def swapped(description: dict) -> None:
        merges = description["model"]["merges"]
        strings = isinstance(merges[0], str)
        description["model"]["merges"] = [m.split(" ") if strings else " ".join(m) for m in merges]

    one = extend(qwen(tmp_path / "a"), LEARNT, 20)
    other = extend(_with(qwen(tmp_path / "b"), swapped), LEARNT, 20)
    assert one.tokens == other.tokens
    kinds = [{type(m) for m in e.description()["model"]["merges"]} for e in (one, other)]
    assert kinds in ([{str}, {list}], [{list}, {str}])
    assert ids(one.encoder(), LEARNT[0][0]) == ids(other.encoder(), LEARNT[0][0])


def test_byte_fallback_is_never_merged(tmp_path: Path) -> None:
    extended = extend(llama(tmp_path / "b"), LEARNT, ADD)
    for left, right in pairwise(("<0x0A>", "<0xE4>", "患")):
        assert [left, right] not in extended.description()["model"]["merges"]
        assert f"{left} {right}" not in extended.description()["model"]["merges"]
    assert all("<0x" not in t.name for t in extended.tokens)


def test_fewer_than_asked_where_the_text_has_no_more(tmp_path: Path) -> None:
    extended = extend(bloom(tmp_path / "b"), [pl.Series(["患者患者患者", None, ""])], 500)
    assert 0 < len(extended.tokens) < 20
    assert extended.facts["asked"] == 500
    assert extended.facts["added"] == len(extended.tokens)
    assert extend(tmp_path / "b", [pl.Series(["a"])], 5).tokens == ()


def test_what_cannot_be_extended_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no tokenizer; expected tokenizer\.json or tokenizer\.model"):
        bases.read(tmp_path)
    with pytest.raises(DataError, match="a Unigram tokenizer; only BPE can be extended"):
        bases.read(sentencepiece(tmp_path / "unigram", "unigram"))
    with pytest.raises(DataError, match="without byte fallback"):
        bases.read(sentencepiece(tmp_path / "lossy", byte_fallback=False))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "tokenizer.model").write_bytes(b"\xff" * 20)
    with pytest.raises(DataError, match="sentencepiece cannot read it"):
        bases.read(tmp_path / "broken")
    (tmp_path / "broken" / "tokenizer.model").unlink()
    for content in (b"{", b"[]", b'{"model": 5}', b'{"model": {"type": "BPE"}}'):
        (tmp_path / "broken" / "tokenizer.json").write_bytes(content)
        with pytest.raises(DataError, match="not a description of a tokenizer"):
            bases.read(tmp_path / "broken")
    (tmp_path / "broken" / "tokenizer.json").write_bytes(b'{"model": {"type": "WordPiece", "vocab": {}}}')
    with pytest.raises(DataError, match="a WordPiece tokenizer"):
        bases.read(tmp_path / "broken")
    with pytest.raises(DataError, match="neither byte-level nor"):
        bases.read(_with(bloom(tmp_path / "plain"), lambda d: d.update(pre_tokenizer=None)))


def test_marks_of_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="marks where words go on or end"):
        bases.read(_with(bloom(tmp_path / "b"), lambda d: d["model"].update(end_of_word_suffix="</w>")))


def test_whole_words_that_skip_the_merges(tmp_path: Path) -> None:
    # Llama 3: a pre-token that is in the vocabulary is one token, whatever the merges say.
    extended = extend(_with(qwen(tmp_path / "b"), lambda d: d["model"].update(ignore_merges=True)), LEARNT, ADD)
    old, new = extended.base.encoder(), extended.encoder()
    texts = extended.base.texts()
    for text in (*ODD, *chinese(20, 50), *english(10, 51)):
        before, after = ids(old, text), ids(new, text)
        assert len(after) <= len(before)
        assert b"".join(texts[i] for i in spelled(extended, after)) == b"".join(texts[i] for i in before)


def test_two_files_of_two_tokenizers_are_refused(tmp_path: Path) -> None:
    folder = llama(tmp_path / "b")

    def other(description: dict) -> None:
        vocabulary = description["model"]["vocab"]
        a, b = list(vocabulary)[-2:]
        vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]

    with pytest.raises(DataError, match="both must be of one tokenizer"):
        bases.read(_with(folder, other))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    extended = extend(bloom(tmp_path / "b"), LEARNT, 5)
    with pytest.raises(UsageError, match="there is something already"):
        write(extended, tmp_path / "b")
    with pytest.raises(UsageError, match="at least 1"):
        extend(tmp_path / "b", LEARNT, 0)


def test_the_order_of_counts_is_kept(tmp_path: Path) -> None:
    # What is learnt first is what occurs most: a smaller extension is the beginning of a larger one.
    folder = bloom(tmp_path / "b")
    few, many = extend(folder, LEARNT, 20), extend(folder, LEARNT, 60)
    assert many.tokens[: len(few.tokens)] == few.tokens
    assert np.array_equal([t.id for t in few.tokens], np.arange(few.base.rows, few.rows))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"added_tokens": None}, "does not read it"),
        ({"model": {"vocab": {"a": None}}}, "does not read it"),
        ({"model": {"merges": [["a", "b", "c"]]}}, "does not read it"),
        ({"model": {"vocab": {"zzz": 2**31}}}, "the highest id"),
        ({"added_tokens": [{"id": 9000, "content": "a", "special": False}]}, "makes it"),
    ],
)
def test_a_file_that_the_library_does_not_read_as_it_says_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    from tests.tokenizer.small import byte_level

    told = json.loads(byte_level().to_str())
    for key, value in change.items():
        if key == "added_tokens" and value is not None:
            told[key] += [{**told[key][0], **token} for token in value]
        elif isinstance(value, dict):
            for name, new in value.items():
                told[key][name] = {**told[key][name], **new} if isinstance(new, dict) else told[key][name] + new
        else:
            told[key] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=says):
        bases.read(tmp_path)
