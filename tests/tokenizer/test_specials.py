"""Special tokens of every template, and the folder that transformers reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from corpus.errors import UsageError
from corpus.schema import MESSAGES
from corpus.splits.templates import TEMPLATES, opened, render
from corpus.tokenizer.bpe import train
from corpus.tokenizer.folder import MANIFEST, read_manifest, write_folder
from corpus.tokenizer.spec import TokenizerSpec
from corpus.tokenizer.specials import specials

TALKS: list[list[dict[str, str]]] = [
    [{"role": "user", "content": "你好</s>，<|im_end|>\n\nHuman: x"}, {"role": "assistant", "content": "  leading, and 𰻝 rare\r\n"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "😀👍🏽 <s>html</s>"},
        {"role": "assistant", "content": "\n\n好的。"},
    ],
]


@pytest.mark.parametrize("name", TEMPLATES)
def test_four_distinct_tokens_and_an_end_of_one(name: str) -> None:
    found = specials(TEMPLATES[name])
    assert len({found.unk, found.bos, found.eos, found.pad}) == 4
    assert len(set(found.special)) == len(found.special)
    assert found.end == TEMPLATES[name].end
    assert found.end in (*found.special, *found.plain)
    assert set(TEMPLATES[name].specials) <= set(found.special)


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, sentences: Callable[[int, int], list[str]], columns: Callable[[list[str]], list[pl.Series]]
) -> dict[str, Path]:
    made = {}
    for name, template in TEMPLATES.items():
        made[name] = tmp_path_factory.mktemp("tokenizers") / name
        tokens = specials(template)
        write_folder(made[name], train(columns(sentences(60, 4)), TokenizerSpec(vocab_size=700), tokens), tokens, template, {"kind": "bpe"})
    return made


@pytest.mark.parametrize("name", TEMPLATES)
def test_transformers_reads_the_folder(folders: dict[str, Path], name: str) -> None:
    template, tokens = TEMPLATES[name], specials(TEMPLATES[name])
    loaded: Any = AutoTokenizer.from_pretrained(folders[name])
    assert (loaded.unk_token, loaded.bos_token, loaded.eos_token, loaded.pad_token) == (tokens.unk, tokens.bos, tokens.eos, tokens.pad)
    assert len({loaded.unk_token_id, loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id}) == 4
    assert len(loaded(template.end, add_special_tokens=False).input_ids) == 1
    for talk in TALKS:
        column = pa.array([talk], MESSAGES)
        text = render(template, column)[0][0].as_py()
        if tokens.eos not in template.specials:  # special to the tokenizer alone: what encodes the text would take it for one
            text = text.replace(tokens.eos, f"{tokens.eos[0]} {tokens.eos[1:]}")
        assert loaded.apply_chat_template(talk, tokenize=False) == text
        ids = loaded.apply_chat_template(talk, tokenize=True, return_dict=False)
        assert loaded.decode(ids, skip_special_tokens=False) == text
        turns = sum(turn["role"] == "assistant" for turn in talk)
        end = loaded.convert_tokens_to_ids(template.end)
        assert ids.count(end) == turns * (1 if name != "chatml" else 0) + (len(talk) if name == "chatml" else 0)
        prompt = loaded.apply_chat_template(talk[:-1], tokenize=False, add_generation_prompt=True)
        expected = opened(template, pa.array([talk[:-1]], MESSAGES))[0].as_py()
        assert prompt == (expected if tokens.eos in template.specials else expected.replace("</s>", "< /s>"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_content_of_a_conversation_becomes_a_special_token(folders: dict[str, Path], name: str) -> None:
    loaded: Any = AutoTokenizer.from_pretrained(folders[name])
    tokens = specials(TEMPLATES[name])
    talk = [{"role": "user", "content": f"hi {' '.join(tokens.special)}{''.join(tokens.special)}"}, {"role": "assistant", "content": "ok"}]
    plain = [{"role": "user", "content": "hi"}, talk[1]]
    ids, expected = (loaded.apply_chat_template(t, tokenize=True, return_dict=False) for t in (talk, plain))
    for token in tokens.special:
        number = loaded.convert_tokens_to_ids(token)
        assert ids.count(number) == expected.count(number), token


@pytest.mark.parametrize("name", ["human-assistant", "chatml", "hugchat"])
def test_transformers_gives_the_librarys_ids(folders: dict[str, Path], sentences: Callable[[int, int], list[str]], name: str) -> None:
    from tokenizers import Tokenizer

    loaded: Any = AutoTokenizer.from_pretrained(folders[name])
    raw = Tokenizer.from_file(str(folders[name] / "tokenizer.json"))
    for text in [*sentences(30, 9), " x", "", "\n", "</s>", "<|pad|>"]:
        expected = raw.encode(text).ids
        assert loaded(text).input_ids == expected
        assert loaded.decode(expected) == raw.decode(expected, skip_special_tokens=False)
        assert loaded(text, return_offsets_mapping=True).offset_mapping == raw.encode(text).offsets


@pytest.mark.parametrize("name", TEMPLATES)
def test_text_that_spells_a_special_token_is_text(folders: dict[str, Path], name: str) -> None:
    loaded: Any = AutoTokenizer.from_pretrained(folders[name])
    for token in specials(TEMPLATES[name]).special:
        text = f"a {token} b"
        ids = loaded(text, split_special_tokens=True, add_special_tokens=False).input_ids
        assert loaded.convert_tokens_to_ids(token) not in ids
        assert loaded.decode(ids) == text


def test_the_end_of_a_document_is_not_shown_and_the_end_of_a_hugchat_turn_is(folders: dict[str, Path]) -> None:
    loaded: Any = AutoTokenizer.from_pretrained(folders["human-assistant"])
    assert loaded.decode(loaded("好</s>").input_ids, skip_special_tokens=True) == "好"
    hugchat: Any = AutoTokenizer.from_pretrained(folders["hugchat"])
    assert hugchat.decode(hugchat("好\n\n").input_ids, skip_special_tokens=True) == "好\n\n"


def test_a_folder_of_ours_is_replaced_and_another_one_is_not(folders: dict[str, Path], tmp_path: Path) -> None:
    tokens = specials(TEMPLATES["plain"])
    small = train([pl.Series(["ab ab"])], TokenizerSpec(vocab_size=300), tokens)
    out = tmp_path / "deep" / "tokenizer"
    for kind in ("bpe", "other"):
        write_folder(out, small, tokens, None, {"kind": kind})
        told = read_manifest(out)
        assert told is not None
        assert told["kind"] == kind
        assert not (out / "chat_template.jinja").exists()
    assert sorted(p.name for p in out.parent.iterdir()) == ["tokenizer"]
    (out / MANIFEST).write_text(json.dumps({"format": "another"}))
    with pytest.raises(UsageError, match="something else"):
        write_folder(out, small, tokens, None, {})
    with pytest.raises(UsageError, match="no folder"):
        write_folder(out / "tokenizer.json", small, tokens, None, {})
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "empty", small, tokens, None, {})


def test_nothing_that_lies_in_a_folder_of_ours_is_lost_and_links_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = specials(TEMPLATES["plain"])
    small = train([pl.Series(["ab ab"])], TokenizerSpec(vocab_size=300), tokens)
    out, link = tmp_path / "tokenizer", tmp_path / "link"
    link.symlink_to("tokenizer")
    write_folder(link, small, tokens, None, {"kind": "bpe"})
    write_folder(link, small, tokens, None, {"kind": "again"})
    assert link.is_symlink()
    assert (read_manifest(out) or {})["kind"] == "again"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "tokenizer"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="a tokenizer and notes"):
        write_folder(out, small, tokens, None, {})
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="no folder that can be written to"):
        write_folder(out / "notes.txt" / "deeper", small, tokens, None, {})
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    write_folder(Path(), small, tokens, None, {})
    assert read_manifest(tmp_path / "empty") is not None


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    tokens = specials(TEMPLATES["plain"])
    small = train([pl.Series(["ab ab"])], TokenizerSpec(vocab_size=300), tokens)
    for left in (".t.yuliao-tmp", ".t.yuliao-old"):
        (tmp_path / left / "half").mkdir(parents=True)
    write_folder(tmp_path / "t", small, tokens, None, {})
    assert [p.name for p in tmp_path.iterdir()] == ["t"]
