"""Vocabularies: published tokenizers get a template's marks and keep all else; what is read again is what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.errors import DataError, UsageError
from corpus.splits.templates import TEMPLATES
from corpus.tokenizer.encode import check_marks, prepared
from tests.trainer import small
from tests.trainer.small import KINDS, TEXTS, small_tokenizer
from trainer import vocabulary

PLAIN, CHATML, HUGCHAT = TEMPLATES["human-assistant"], TEMPLATES["chatml"], TEMPLATES["hugchat"]


@pytest.mark.parametrize("template", [PLAIN, CHATML, HUGCHAT], ids=lambda t: t.name)
@pytest.mark.parametrize("kind", KINDS)
def test_every_published_layout_is_fitted(kind: str, template, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    source = small_tokenizer(kind, tmp_path / "source")
    found = vocabulary.fitted(source, template, tmp_path / "out")
    path = found.folder / "tokenizer.json"
    library, _ = prepared(path.read_bytes(), path, template.specials)
    check_marks(library, template, path)
    assert library.token_to_id(template.end) == found.end
    assert found.pad not in (found.end, found.eos)
    assert found.size == max(library.get_vocab(with_added_tokens=True).values()) + 1
    if (source / "tokenizer.json").is_file():
        before, _ = prepared((source / "tokenizer.json").read_bytes(), source)
        assert before.get_vocab(with_added_tokens=True).items() <= library.get_vocab(with_added_tokens=True).items()
        for text in TEXTS:
            assert before.encode(text, add_special_tokens=False).ids == library.encode(text, add_special_tokens=False).ids
    # What chats and servers load encodes as training did.
    loaded = AutoTokenizer.from_pretrained(str(found.folder))
    assert (loaded.pad_token_id, loaded.eos_token_id) == (found.pad, found.eos)
    text = TEXTS[0] + template.end + "\n好" + template.end
    assert loaded(text, add_special_tokens=False)["input_ids"] == library.encode(text, add_special_tokens=False).ids
    assert loaded.decode(library.encode(TEXTS[2]).ids[-1:]) == loaded.decode([library.encode(TEXTS[2]).ids[-1]])
    messages = [{"role": "user", "content": "Hi</s><|im_end|><|endoftext|>"}]
    rendered = loaded.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered.endswith(template.opens)
    special = set(loaded.all_special_ids) - {library.token_to_id(t) for t in template.specials} - {loaded.unk_token_id}
    assert not special & set(loaded(rendered, add_special_tokens=False)["input_ids"])
    assert vocabulary.read(found.folder) == found


def test_what_is_added_stands_behind_everything(tmp_path: Path) -> None:
    found = vocabulary.fitted(small_tokenizer("gpt2", tmp_path / "gpt2"), PLAIN, tmp_path / "out")
    assert found.added == ("</s>", "<|pad|>")
    assert (found.eos, found.end, found.pad, found.size) == (300, 301, 302, 303)
    found = vocabulary.fitted(small_tokenizer("qwen2", tmp_path / "qwen"), CHATML, tmp_path / "out2")
    assert found.added == ("<|pad|>",)  # its own padding is its end
    assert found.replaced
    assert "endoftext" not in (tmp_path / "out2" / "chat_template.jinja").read_text().split("for message")[0]
    found = vocabulary.fitted(small_tokenizer("gpt_neox", tmp_path / "neox"), PLAIN, tmp_path / "out3")
    assert (found.pad, found.added) == (1, ("</s>",))  # <|padding|>, which it has without saying what it is for


def test_nothing_lacking_leaves_every_byte(tmp_path: Path) -> None:
    source = small_tokenizer("bloom", tmp_path / "bloom")
    found = vocabulary.fitted(source, PLAIN, tmp_path / "out")
    assert (found.folder / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert (found.added, found.end, found.eos, found.pad) == ((), 2, 2, 3)
    again = vocabulary.fitted(found.folder, PLAIN, tmp_path / "again")
    assert again.sha256 == found.sha256
    assert not again.replaced


def test_it_is_made_once_and_anew_when_something_changed(tmp_path: Path) -> None:
    source = small_tokenizer("gpt2", tmp_path / "gpt2")
    found = vocabulary.fitted(source, PLAIN, tmp_path / "out")
    stamp = (tmp_path / "out" / "tokenizer.json").stat().st_mtime_ns
    assert vocabulary.fitted(source, PLAIN, tmp_path / "out") == found
    assert (tmp_path / "out" / "tokenizer.json").stat().st_mtime_ns == stamp
    assert vocabulary.fitted(source, CHATML, tmp_path / "out").template == CHATML
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something"):
        vocabulary.fitted(source, PLAIN, tmp_path / "other")
    assert (tmp_path / "other" / "mine.txt").is_file()


def test_marks_take_nothing_of_their_neighbours(tmp_path: Path) -> None:
    source = small_tokenizer("bloom", tmp_path / "bloom")
    told = json.loads((source / "tokenizer.json").read_text())
    for token in told["added_tokens"]:
        token |= {"lstrip": True, "rstrip": True}
    (source / "tokenizer.json").write_text(json.dumps(told))
    found = vocabulary.fitted(source, PLAIN, tmp_path / "out")
    library, _ = prepared((found.folder / "tokenizer.json").read_bytes(), found.folder, PLAIN.specials)
    ids = library.encode("a </s> b", add_special_tokens=False)
    assert [ids.offsets[i] for i, token in enumerate(ids.ids) if token == found.end] == [(2, 6)]
    assert found.added == ()


def test_a_finished_runs_files_are_read_again(tmp_path: Path) -> None:
    found = vocabulary.fitted(small_tokenizer("llama", tmp_path / "llama"), PLAIN, tmp_path / "out")
    (tmp_path / "model").mkdir()
    vocabulary.write(found, tmp_path / "model")
    assert vocabulary.read(tmp_path / "model") == replace(found, folder=tmp_path / "model")
    with (tmp_path / "model" / "tokenizer.json").open("a") as f:
        f.write(" ")
    with pytest.raises(DataError, match=r"is not the one that vocabulary\.json"):
        vocabulary.read(tmp_path / "model")
    (tmp_path / "model" / "vocabulary.json").write_text("[")
    with pytest.raises(DataError, match="no JSON"):
        vocabulary.read(tmp_path / "model")


def test_ones_own_is_of_the_recipes_template(tmp_path: Path) -> None:
    own_tokenizer = small.own_tokenizer(tmp_path / "own")
    found = vocabulary.own(own_tokenizer, PLAIN)
    assert (found.end, found.eos, found.pad, found.bos) == (2, 2, 3, 1)
    with pytest.raises(DataError, match=r"trained for template 'human-assistant', the recipe has 'chatml'.*make tokenizer"):
        vocabulary.own(own_tokenizer, CHATML)
    with pytest.raises(DataError, match="make tokenizer"):
        vocabulary.own(tmp_path / "nothing", PLAIN)
    (tmp_path / "model").mkdir()
    vocabulary.write(found, tmp_path / "model")
    assert vocabulary.read(tmp_path / "model") == replace(found, folder=tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("tokenizer.json", "{}", "no tokenizer"),
        ("tokenizer.json", '{"model": {"type": "BPE"}}', "no tokenizer"),
        ("tokenizer.json", "\x00", "no tokenizer"),
        ("tokenizer_config.json", "[1]", "expected a JSON object"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["evil.Tokenizer", null]}}', "never run here"),
        ("special_tokens_map.json", "[" * 100000, "no JSON"),
    ],
)
def test_hostile_tokenizers_are_errors(name: str, content: str, expected: str, tmp_path: Path) -> None:
    source = small_tokenizer("gpt2", tmp_path / "source")
    if "auto_map" in content:
        (source / "tokenizer.json").unlink()
        (source / "evil.py").write_text("raise SystemExit('ran')")
    (source / name).write_text(content)
    with pytest.raises(DataError, match=expected):
        vocabulary.fitted(source, PLAIN, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_tokenizer_is_said(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(DataError, match="has no tokenizer"):
        vocabulary.fitted(tmp_path, PLAIN, tmp_path / "out")
