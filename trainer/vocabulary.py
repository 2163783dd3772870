"""The tokenizer of a run: the recipe's own, or a published one with the marks of the recipe's template.

What `corpus encode` asks of a tokenizer holds for both: the end of the assistant's turn, and each mark of the template, is one token.
A published tokenizer is not rebuilt for that. Its tokenizer.json is taken to the letter, what it lacks is appended behind its highest id,
and where it lacks nothing its bytes, and so its hash and the token ids that were made with it, stay. Padding is always a token of its own:
where it is also the end, labels and attention lose the real end, and a model never stops (huggingface/trl#976).

The folder holds what `AutoTokenizer` reads, and `vocabulary.json`, from which a finished run's folder is read again. It names the generic
class of fast tokenizers: classes of single architectures build their own rules, which need not be those of tokenizer.json.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from corpus.errors import DataError, UsageError
from corpus.splits.guards import Mark
from corpus.splits.jinja import jinja
from corpus.splits.templates import TEMPLATES, Template
from corpus.tokenizer.extended import EMBEDDINGS
from corpus.tokenizer.folder import MANIFEST, MODEL, check_above, read_manifest, replacing
from corpus.tokenizer.library import check_ids, refusals
from corpus.warehouse.commit import write_bytes

FILE = "vocabulary.json"
FORMAT = "yuliao-vocabulary-1"
TOKENIZER = "tokenizer.json"
PAD = "<|pad|>"
_PADS = ("<pad>", "<|padding|>", PAD, "[PAD]", "<|finetune_right_pad_id|>")
"""Padding tokens that published tokenizers have without saying so: Pythia's, LLaMA 3's."""
_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", MODEL, EMBEDDINGS)
_NAMED = ("unk_token", "bos_token", "eos_token", "pad_token")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer in its folder.

    Attributes:
        folder: where.
        sha256: of its tokenizer.json.
        template: the template whose marks it has.
        size: its highest id + 1. A model may have more rows.
        end: the token that ends an assistant's turn.
        eos: the token that ends a document; may be the same.
        pad: padding; neither of them.
        bos: the beginning of a text, if it has such a token; nothing here puts it anywhere.
        added: tokens that the published tokenizer did not have.
        replaced: whether a chat template of the publisher's gave way to the recipe's.
    """

    folder: Path
    sha256: str
    template: Template
    size: int
    end: int
    eos: int
    pad: int
    bos: int | None = None
    added: tuple[str, ...] = ()
    replaced: bool = False


def own(folder: Path, template: Template) -> Vocabulary:
    """A tokenizer that `corpus tokenizer` trained.

    Args:
        folder: its folder.
        template: the recipe's.

    Raises:
        DataError: when there is none, or it was trained for another template.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise DataError(f"{folder} is not the folder of a tokenizer that was trained here; `make tokenizer` trains one")
    if manifest.get("template") != template.name:
        raise DataError(
            f"{folder} was trained for template {str(manifest.get('template'))[:40]!r}, the recipe has {template.name!r}; "
            "train one for this recipe (`make tokenizer RECIPE=…`)"
        )
    return _read(folder, template, _json(folder / "tokenizer_config.json"))


def read(folder: Path) -> Vocabulary:
    """The vocabulary that `write` or `fitted` left in a folder: a run's model/.

    Raises:
        DataError: when there is none, or its files do not belong together.
    """
    told = _json(folder / FILE)
    template = TEMPLATES.get(str(told.get("template")))
    if told.get("format") != FORMAT or template is None or told.get("version") != template.version:
        raise DataError(
            f"{folder / FILE}: expected a template of this version of Yuliao, found {str(told.get('template'))[:40]!r}; train again"
        )
    found = _read(folder, template, told)
    if told.get("sha256") != found.sha256:
        raise DataError(f"{folder / TOKENIZER} is not the one that {FILE} beside it was written for; restore the folder, or train again")
    return replace(found, added=tuple(map(str, told.get("added") or ())), replaced=bool(told.get("replaced")))


def write(vocabulary: Vocabulary, folder: Path) -> None:
    """Puts a vocabulary's files beside a model's, to the byte, so that `read` and `AutoTokenizer` find them there."""
    for name in _FILES:
        if (vocabulary.folder / name).is_file():
            shutil.copyfile(vocabulary.folder / name, folder / name)
    write_bytes(folder / FILE, _told(vocabulary, {}))


def fitted(source: Path, template: Template, out: Path) -> Vocabulary:
    """A published tokenizer with the marks of a template.

    Args:
        source: its folder: of a model of the hub, of a run, or one that `corpus tokenizer extend` wrote.
        template: the recipe's.
        out: where it is written; left as it is where it has been made of the same files.

    Returns:
        The vocabulary in `out`.

    Raises:
        DataError: when there is no tokenizer, or it cannot be read.
        UsageError: when `out` holds something else.
    """
    settings = _settings(source)
    names = _names(source)
    made_of = _fingerprint(settings, names, template, source)
    if out.is_dir() and any(out.iterdir()):
        try:
            if _json(out / FILE).get("made_of") == made_of:
                return read(out)
        except DataError as e:
            if not (out / FILE).is_file():
                raise UsageError(f"{out} holds something that is no vocabulary; move it away") from e
    check_above(out)
    changed, names, added = _with_marks(settings, names, template, source / TOKENIZER)
    told = {**names, "made_of": made_of, "added": list(added), "replaced": _has_template(source)}
    with replacing(out) as new:
        write_bytes(new / TOKENIZER, changed)
        for name, data in _described(changed, names, template).items():
            write_bytes(new / name, data)
        for name in (MODEL, EMBEDDINGS):
            if (source / name).is_file():
                shutil.copyfile(source / name, new / name)
        found = replace(_read(new, template, names), added=added, replaced=_has_template(source))
        write_bytes(new / FILE, _told(found, told))
    return replace(found, folder=out)


def _read(folder: Path, template: Template, names: dict[str, Any]) -> Vocabulary:
    """Reads a folder whose special tokens have these names."""
    from corpus.tokenizer.encode import check_marks, prepared

    path = folder / TOKENIZER
    settings = _bytes(path)
    tokenizer, _ = prepared(settings, path, template.specials)
    check_marks(tokenizer, template, path)
    ids: dict[str, int | None] = {}
    for what in _NAMED:
        name = _content(names.get(what))
        ids[what] = None if name is None else tokenizer.token_to_id(name)
    end = tokenizer.encode(template.end, add_special_tokens=False).ids[0]
    eos, pad = ids["eos_token"], ids["pad_token"]
    if eos is None or pad is None:
        what = "ends a text (eos_token)" if eos is None else "pads (pad_token)"
        raise DataError(f"{folder}: no token that {what} is named in tokenizer_config.json; name one there, or train a tokenizer")
    if pad in (eos, end):
        raise DataError(
            f"{folder}: padding and the end are one token, {template.end!r}, so that a model would not learn to end; train a tokenizer"
        )
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    return Vocabulary(folder, sha256(settings).hexdigest(), template, size, end, eos, pad, ids["bos_token"])


def _settings(source: Path) -> bytes:
    """A tokenizer.json: the folder's own, or what transformers makes of older files."""
    if (source / TOKENIZER).is_file():
        return _bytes(source / TOKENIZER)
    if not source.is_dir() or not any((source / name).is_file() for name in ("vocab.json", MODEL, "spiece.model")):
        raise DataError(f"{source} has no tokenizer ({TOKENIZER}, vocab.json with merges.txt, or {MODEL}); name the folder that has one")
    if "auto_map" in _json(source / "tokenizer_config.json", lenient=True):
        raise DataError(
            f"{source} asks for code that comes with its tokenizer (auto_map), which is never run here; name a folder with {TOKENIZER}"
        )
    from transformers import AutoTokenizer

    with refusals(
        f"{source} has a tokenizer that transformers cannot convert", "save it as tokenizer.json (save_pretrained of a fast tokenizer)"
    ):
        found = AutoTokenizer.from_pretrained(str(source), use_fast=True, trust_remote_code=False, local_files_only=True)
        backend = getattr(found, "backend_tokenizer", None)
        if backend is None:
            raise ValueError(f"{type(found).__name__} is no fast tokenizer")
        return (backend.to_str() + "\n").encode()


def _names(source: Path) -> dict[str, str | None]:
    """What a published tokenizer calls its special tokens; ids of its model's configuration where the tokenizer's does not say."""
    told = {**_json(source / "special_tokens_map.json", lenient=True), **_json(source / "tokenizer_config.json", lenient=True)}
    found = {what: _content(told.get(what)) for what in _NAMED}
    ids = {**_json(source / "config.json", lenient=True), **_json(source / "generation_config.json", lenient=True)}
    for what in _NAMED:
        number = ids.get(f"{what}_id")
        number = number[0] if isinstance(number, list) and number else number
        if found[what] is None and isinstance(number, int):
            found[what] = f"#{number}"
    return found


def _with_marks(
    settings: bytes, names: dict[str, str | None], template: Template, path: Path
) -> tuple[bytes, dict[str, str | None], tuple[str, ...]]:
    """A tokenizer.json that has the template's marks and padding, which tokens are which, and what was added.

    Its bytes stay where it lacks nothing.
    """
    from tokenizers import AddedToken, Tokenizer

    with refusals(f"{path} is no tokenizer that the tokenizers library reads", "save it again with its save()"):
        told: dict[str, Any] = json.loads(settings)
        tokenizer = Tokenizer.from_str(settings.decode())
    ids = tokenizer.get_vocab(with_added_tokens=True)
    check_ids(max(ids.values(), default=-1), str(path))
    by_id = {i: name for name, i in ids.items()}
    names = {what: by_id.get(int(name[1:])) if name and name not in ids and name[0] == "#" else name for what, name in names.items()}
    names = {what: name if name in ids else None for what, name in names.items()}
    marks = tuple(dict.fromkeys((template.end, *template.specials)))
    if names["eos_token"] is None:
        names["eos_token"] = template.end
    taken = {names["eos_token"], names["bos_token"], names["unk_token"], *marks}
    special = {t["content"] for t in told.get("added_tokens") or () if t.get("special")}
    if names["pad_token"] is None or names["pad_token"] in taken:
        names["pad_token"] = next((p for p in _PADS if p in special and p not in taken), PAD)
    wanted = {mark: mark in template.specials for mark in marks} | {str(names["pad_token"]): True, str(names["eos_token"]): True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    known = {t["content"]: t for t in told.get("added_tokens") or ()}
    # A mark that takes the blanks beside it, or is looked for in normalized text, is not found where it stands.
    wrong = [t for mark in marks if (t := known.get(mark)) and any(t[key] != value for key, value in plain.items())]
    lacking = [t for t in wanted if t not in known]
    if not wrong and not lacking:
        return settings, names, ()
    for token in wrong:
        token |= plain
    with refusals(f"{path} cannot be given the marks of template {template.name}", "train a tokenizer with `make tokenizer`"):
        tokenizer = Tokenizer.from_str(json.dumps(told))
        tokenizer.add_tokens([AddedToken(t, normalized=False, special=wanted[t]) for t in lacking])
        changed = tokenizer.to_str(pretty=True) + "\n"
    after = Tokenizer.from_str(changed).get_vocab(with_added_tokens=True)
    moved = [name for name, i in ids.items() if after.get(name) != i]
    if moved:
        raise DataError(
            f"{path}: the marks of template {template.name} would move {moved[0][:40]!r} to another id (holes); train a tokenizer"
        )
    return changed.encode(), names, tuple(t for t in lacking if t not in ids)


def _described(settings: bytes, names: dict[str, str | None], template: Template) -> dict[str, bytes]:
    """What says which token is which: file name → bytes."""
    special = [t["content"] for t in json.loads(settings).get("added_tokens") or () if t.get("special")]
    named = {what: name for what, name in names.items() if name is not None}
    # Whoever renders with the chat template encodes what comes out, where these would be special in a content.
    marks = tuple(
        Mark(t, f"{t[0]} {t[1:]}")
        for t in dict.fromkeys((*named.values(), *special))
        if t not in template.specials and len(t) > 1 and t.strip()
    )
    template_text = jinja(replace(template, marks=(*template.marks, *marks)))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "additional_special_tokens": [t for t in special if t not in named.values()],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,
        "chat_template": template_text,
    }
    return {
        "tokenizer_config.json": _dumped(config),
        "special_tokens_map.json": _dumped(named),
        "chat_template.jinja": template_text.encode(),
    }


def _told(vocabulary: Vocabulary, more: dict[str, Any]) -> bytes:
    names = {what: _content(value) for what, value in _json(vocabulary.folder / "tokenizer_config.json").items() if what in _NAMED}
    template = vocabulary.template
    return _dumped({
        "format": FORMAT, "template": template.name, "version": template.version, "sha256": vocabulary.sha256, **names,
        "added": list(vocabulary.added), "replaced": vocabulary.replaced, **more,
    })  # fmt: skip


def _fingerprint(settings: bytes, names: dict[str, str | None], template: Template, source: Path) -> str:
    """Hash of everything that what is fitted depends on."""
    digest = sha256(settings)
    extra = (source / EMBEDDINGS).read_bytes() if (source / EMBEDDINGS).is_file() else b""
    for part in (json.dumps(names), jinja(template), json.dumps([template.name, template.version, FORMAT]), sha256(extra).hexdigest()):
        digest.update(sha256(part.encode()).digest())
    return digest.hexdigest()


def _has_template(source: Path) -> bool:
    """Whether the publisher has a chat template of its own; a run's is ours."""
    if (source / FILE).is_file() or (source / MANIFEST).is_file():
        return False
    return (source / "chat_template.jinja").is_file() or bool(_json(source / "tokenizer_config.json", lenient=True).get("chat_template"))


def _content(token: Any) -> str | None:
    """Names of tokens are strings, or the fields of an added token."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) and token else None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise DataError(f"the tokenizer {path} cannot be read ({e.strerror}); `make tokenizer` trains one") from e


def _json(path: Path, *, lenient: bool = False) -> dict[str, Any]:
    """A JSON object; empty where there is no file and that is all right."""
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError as e:
        if lenient:
            return {}
        raise DataError(f"{path} is missing; restore the folder, or make it again") from e
    except (OSError, ValueError, RecursionError) as e:
        raise DataError(f"{path} is no JSON ({str(e)[:100]}); restore the folder, or make it again") from e
    if not isinstance(told, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(told).__name__}; restore the folder, or make it again")
    return told


def _dumped(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
