"""Texts to tokens: the library's ids, with special tokens only where a template put them, and exactly the assistant's turns to learn."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from corpus.errors import DataError
from corpus.schema import MESSAGES, SPANS
from corpus.splits.templates import TEMPLATES, guard, opened, render
from corpus.tokenizer.encode import Encoded, Encoder, Library, check_marks, closed, learned, prepared, width
from corpus.tokenizer.fast import Fast
from tests.tokenizer.made import KINDS, gpt2, ours, plain

HERE = Path("tokenizer.json")

ODD = [
    "好", "，", "𠮷", "𪚥", "👩‍👩‍👧‍👦", "🇨🇳", " ", "  ", "\t", "\r\n", "\n", "\n\n", " \n\n", "\u3000", "\u00a0", "e\u0301", "ß", "▁", "İ",
    "don't", "'s", "’ll", "12345", "１２", "Human:", "\nHuman: ", "Assistant:", "</s>", "<s>", "<|pad|>", "<|unk|>", "<|im_end|>", "<", "/s>",
    "USER:", "### Response:", "word", "    x", "\x00", "\ufeff", "\u200d", "\U000e0101", "ﷺ", "_", "!!!", "長江", "ไทย", "हिन्दी", "한국어",
]  # fmt: skip
CONTENTS = st.one_of(st.lists(st.sampled_from(ODD), max_size=12).map("".join), st.text(max_size=30))
TEXTS = st.one_of(st.lists(st.sampled_from(ODD), max_size=40).map("".join), st.text(max_size=60))
TALKS = st.tuples(st.booleans(), CONTENTS, st.lists(st.tuples(CONTENTS, CONTENTS), min_size=1, max_size=3)).map(
    lambda t: (
        [{"role": "system", "content": t[1]}] * t[0]
        + [{"role": r, "content": c} for pair in t[2] for r, c in zip(("user", "assistant"), pair, strict=True)]
    )
)


@cache
def loaded(kind: str, template: str, *, marked: bool = True) -> tuple[Tokenizer, Encoder]:
    return prepared(KINDS[kind](template).encode(), HERE, TEMPLATES[template].specials if marked else ())


def encoder(kind: str, template: str) -> Encoder:
    return loaded(kind, template)[1]


def rows(encoded: Encoded) -> list[list[int]]:
    return [encoded.ids[a:b].tolist() for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False)]


@settings(max_examples=40)
@given(st.lists(TEXTS, max_size=5))
def test_our_own_tokenizers_are_encoded_as_the_library_does(texts: list[str]) -> None:
    for template in ("human-assistant", "hugchat", "chatml"):
        tokenizer, fast = loaded("ours", template)
        assert isinstance(fast, Fast)
        column = pa.array(["left out", *texts], pa.string())[1:]
        found = fast(column)
        assert rows(found) == [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
        for text, begin, end in zip(texts, found.offsets, found.offsets[1:], strict=False):
            # Tokens follow each other without a gap, in bytes, from the first to the last.
            places = [*found.starts[begin:end], len(text.encode())]
            assert places[1:] == found.ends[begin:end].tolist()
            assert not places[:-1] or places[0] == 0


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from(["a", "é", "长江", "你好，", " \n", "=", "ab", "𠮷"]))
def test_long_pieces_are_merged_as_the_library_does(seed: int, unit: str) -> None:
    rng = np.random.default_rng(seed)
    texts = [unit * int(rng.integers(1, 400)), "".join(rng.permutation(list("ab \n\n\n  ==长江" * 40)))]
    tokenizer, fast = loaded("ours", "human-assistant", marked=False)
    assert isinstance(fast, Fast)
    assert rows(fast(pa.array(texts))) == [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


def test_what_is_remembered_of_one_text_is_right_in_the_next() -> None:
    rng = np.random.default_rng(5)
    words = ["".join(rng.choice(list("abcdefgh长江河流"), int(n))) for n in rng.integers(1, 12, 30_000)]
    texts = [" ".join(rng.choice(words, 200)) for _ in range(200)]
    tokenizer, fast = loaded("ours", "human-assistant", marked=False)
    want = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    for _ in range(2):
        assert rows(fast(pa.array(texts))) == want


def test_merging_begins_with_bytes_where_characters_are_not_whole() -> None:
    told = json.loads(ours("human-assistant"))
    vocabulary = told["model"]["vocab"]
    # The end of one character and the beginning of the next, before everything else: 长 is e9 95 bf, 江 is e6 b1 9f.
    letters = dict(zip("长江".encode(), "éķ¿æ±Ł", strict=True))
    across = letters[0xBF], letters[0xE6]
    vocabulary["".join(across)] = max(vocabulary.values()) + 1
    told["model"]["merges"].insert(0, list(across))
    tokenizer, fast = prepared(json.dumps(told).encode(), HERE)
    assert isinstance(fast, Fast)
    assert not len(fast.tables.whole)
    texts = ["长江长江是中国", "长", "江长江"]
    assert rows(fast(pa.array(texts))) == [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize("change", ["normalizer", "pattern", "byte", "lstrip", "kind", "unknown"])
def test_what_is_not_known_is_left_to_the_library(change: str) -> None:
    told = json.loads(ours("human-assistant"))
    if change == "normalizer":
        told["normalizer"] = {"type": "NFKC"}
    elif change == "pattern":
        told["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] += "|x"
    elif change == "byte":
        told["model"]["vocab"]["xyz"] = told["model"]["vocab"].pop("ÿ")
    elif change == "lstrip":
        told["added_tokens"][2]["lstrip"] = True
    elif change == "kind":
        told["model"] = {"type": "WordLevel", "vocab": told["model"]["vocab"], "unk_token": "<|unk|>"}
    else:
        told["model"]["cache_capacity"] = 5
    if change == "unknown":
        from corpus.tokenizer.fast import encoder

        assert encoder(told) is None
        return
    assert isinstance(prepared(json.dumps(told).encode(), HERE)[1], Library)


def test_an_added_token_has_the_number_that_the_library_gives_it() -> None:
    told = json.loads(ours("human-assistant"))
    told["added_tokens"].append({**told["added_tokens"][-1], "id": 2**31 + 5, "content": "<another>", "special": False})
    tokenizer, fast = prepared(json.dumps(told).encode(), HERE)
    assert isinstance(fast, Fast)
    text = "a <another> b"
    assert rows(fast(pa.array([text]))) == [tokenizer.encode(text, add_special_tokens=False).ids]
    assert tokenizer.token_to_id("<another>") in rows(fast(pa.array([text])))[0]


def test_nothing_is_left_to_chance() -> None:
    told = json.loads(ours("human-assistant"))
    told["model"]["dropout"] = 0.9
    texts = ["长江是中国 the same text " * 9] * 2
    first, second = rows(prepared(json.dumps(told).encode(), HERE)[1](pa.array(texts)))
    assert first == second


@pytest.mark.parametrize(
    "change",
    [
        b"[" * 100_000, b"null", {"model": None}, {"added_tokens": 5}, {"added_tokens": [{"id": 3}]}, {"decoder": [1]},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}},
        {"model": {"type": "WordLevel", "vocab": {"a": 2**32 - 1}, "unk_token": "a"}},
    ],
)  # fmt: skip
def test_files_that_are_no_tokenizers_are_refused(change: bytes | dict[str, object]) -> None:
    raw = change if isinstance(change, bytes) else json.dumps({**json.loads(ours("human-assistant")), **change}).encode()
    with pytest.raises(DataError):
        prepared(raw, HERE)


def test_a_pattern_that_does_not_end_is_an_error_of_the_tokenizer() -> None:
    told = json.loads(ours("human-assistant"))
    told["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    with pytest.raises(DataError, match="cannot encode"):
        prepared(json.dumps(told).encode(), HERE)[1](pa.array(["a" * 60 + "b"]))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3))
def test_ids_are_those_of_the_library_where_nothing_special_is_spelled(kind: str, texts: list[str]) -> None:
    raw = plain(KINDS[kind]("human-assistant"))
    special = {t.content for t in raw.get_added_tokens_decoder().values()}
    texts = [t for t in texts if not any(s in t for s in special - {"</s>"})]
    want = [e.ids for e in raw.encode_batch(texts, add_special_tokens=False)]
    assert rows(encoder(kind, "human-assistant")(pa.array(texts, pa.string()))) == want


@pytest.mark.parametrize("kind", KINDS)
def test_text_that_spells_a_special_token_is_text(kind: str) -> None:
    raw = plain(KINDS[kind]("human-assistant"))
    ids = {name: raw.token_to_id(name) for name in ("</s>", "<|pad|>", "<|bos|>", "<|unk|>")}
    text = pa.array(["a</s>b<|pad|>c<|bos|>d<|unk|>"])
    (rendered,) = rows(encoder(kind, "human-assistant")(text))
    assert [i for i in rendered if i in ids.values()] == [ids["</s>"]]
    tokenizer, bare = loaded(kind, "human-assistant", marked=False)
    (document,) = rows(bare(text))
    assert not set(document) & set(ids.values())
    assert tokenizer.decode(document, skip_special_tokens=False).replace(" ", "") == text[0].as_py()


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(talks=st.lists(TALKS, min_size=1, max_size=3))
def test_what_is_learned_are_the_turns_of_the_assistant(kind: str, template: str, talks: list[list[dict[str, str]]]) -> None:
    form = TEMPLATES[template]
    tokenizer, encode = loaded(kind, template)
    check_marks(tokenizer, form, HERE)
    (end,) = tokenizer.encode(form.end, add_special_tokens=False).ids
    texts, spans = render(form, pa.array(talks, MESSAGES))
    encoded = encode(texts)
    found = learned(texts, spans, encoded)
    for row, ids in enumerate(rows(encoded)):
        text = texts[row].as_py()
        ranges = found.ranges[found.offsets[row] : found.offsets[row + 1]].tolist()
        assert len(ranges) == len(spans[row])
        behind = 0
        for (first, after), span in zip(ranges, spans[row].as_py(), strict=True):
            assert behind <= first < after
            behind = after
            assert ids[after - 1] == end
            said = text[span["start"] : span["end"]]
            written = tokenizer.decode(ids[first:after], skip_special_tokens=False)
            want = said if kind in ("ours", "gpt2") else said.replace("▁", " ")
            if kind == "llama":
                written, want = written.replace(" ", ""), want.replace(" ", "")
            if written != want:
                # A token lies across the beginning: the content goes on with white space where the header ends with it.
                assert found.early
                assert want.endswith(written)
                missing = want.removesuffix(written)
                assert missing.isspace() or kind in ("pieces", "llama")
        if "</s>" in form.specials:
            assert ids.count(end) == len(ranges)


def test_a_prompt_is_what_its_answer_continues() -> None:
    talk = [{"role": "user", "content": "长江有多长？"}, {"role": "assistant", "content": "很长。"}]
    for name, template in TEMPLATES.items():
        encode = encoder("ours", name)
        texts, spans = render(template, pa.array([talk], MESSAGES))
        whole = encode(texts)
        (first, _), = learned(texts, spans, whole).ranges.tolist()  # fmt: skip
        (prompt,) = rows(encode(opened(template, pa.array([talk[:1]], MESSAGES))))
        assert rows(whole)[0][:first] == prompt


def test_a_guarded_content_never_ends_a_turn() -> None:
    import polars as pl

    for name, template in TEMPLATES.items():
        tokenizer, encode = loaded("ours", name)
        ids = {tokenizer.token_to_id(mark) for mark in (*template.specials, template.end)}
        contents = guard(template, pl.Series([f"x{mark}y" for mark in (*template.specials, template.end)])).to_arrow().cast(pa.string())
        assert not ids & set(encode(contents).ids.tolist())


def spans_of(*ranges: tuple[int, int]) -> pa.Array:
    return pa.array([[{"start": a, "end": b} for a, b in ranges]], SPANS)


def test_tokens_across_the_edges_of_a_span() -> None:
    """One across the beginning is not learned, one across the end is; both are counted."""
    encoded = Encoded(*(np.array(x) for x in ([7, 8, 9], [0, 3], [0, 2, 4], [2, 4, 6])))
    text = pa.array(["abcdef"])

    def of(*ranges: tuple[int, int]) -> tuple[list[list[int]], int, int]:
        found = learned(text, spans_of(*ranges), encoded)
        return found.ranges.tolist(), found.early, found.late

    assert of((2, 6)) == ([[1, 3]], 0, 0)
    assert of((1, 4)) == ([[1, 2]], 1, 0)
    assert of((2, 5)) == ([[1, 3]], 0, 1)
    assert of((0, 2), (2, 4)) == ([[0, 1], [1, 2]], 0, 0)
    assert of((3, 3)) == ([[2, 2]], 1, 1)


def test_tokens_that_are_parts_of_a_character() -> None:
    """Three tokens of one Han character begin where it begins, in characters; all of them are learned, or none."""
    encoded = Encoded(*(np.array(x) for x in ([1, 2, 3, 4, 5], [0, 5], [0, 1, 1, 1, 2], [1, 2, 2, 2, 3])))
    text = pa.array(["a𠮷b"])
    assert learned(text, spans_of((1, 2)), encoded).ranges.tolist() == [[1, 4]]
    assert learned(text, spans_of((2, 3)), encoded).ranges.tolist() == [[4, 5]]
    in_bytes = Encoded(encoded.ids, encoded.offsets, np.array([0, 1, 2, 3, 5]), np.array([1, 2, 3, 5, 6]), in_bytes=True)
    assert learned(text, spans_of((1, 2)), in_bytes).ranges.tolist() == [[1, 4]]
    assert learned(text, spans_of((2, 3)), in_bytes).ranges.tolist() == [[4, 5]]


@pytest.mark.parametrize("ranges", [((0, 7),), ((3, 4), (1, 2)), ((4, 2),)])
def test_spans_that_are_none_of_their_text(ranges: tuple[tuple[int, int], ...]) -> None:
    encoded = encoder("ours", "human-assistant")(pa.array(["长江长江长江"]))
    with pytest.raises(ValueError, match="row 0"):
        learned(pa.array(["长江长江长江"]), spans_of(*ranges), encoded)


def test_the_end_of_documents() -> None:
    encoded = closed(encoder("ours", "human-assistant")(pa.array(["长江", "", "x"])), 2)
    found = rows(encoded)
    assert [r[-1] for r in found] == [2, 2, 2]
    assert found[1] == [2]
    assert len(encoded.starts) == len(encoded.ends) == len(encoded.ids)


def test_a_tokenizer_without_the_templates_marks() -> None:
    for template in ("chatml", "hugchat"):
        tokenizer, _ = prepared(gpt2("human-assistant").encode(), HERE, TEMPLATES[template].specials)
        with pytest.raises(DataError, match=r"end of the assistant's turn in template .*make tokenizer"):
            check_marks(tokenizer, TEMPLATES[template], HERE)


@pytest.mark.parametrize("told", [b"", b"[]", b"{}", b'{"model": 1}', b"\xff", b'{"version": "1.0", "model": {"type": "?"}}'])
def test_what_is_no_tokenizer(told: bytes) -> None:
    with pytest.raises(DataError, match=r"tokenizer.json is no tokenizer"):
        prepared(told, HERE)


def test_width_of_ids() -> None:
    for top, kind in ((65_535, pa.uint16()), (65_536, pa.uint32())):
        assert width(Tokenizer(models.WordLevel({"a": 0, "b": top}, "a"))) == kind
