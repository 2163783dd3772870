"""The folder of a tokenizer, as `transformers.AutoTokenizer.from_pretrained` reads it, and nothing of transformers to write it.

- `tokenizer.json`: all that encodes and decodes, for the `tokenizers` library;
- `tokenizer_config.json` and `special_tokens_map.json`: which token is which;
- `chat_template.jinja`: the recipe's template (and in the configuration too, where older readers look for it);
- `tokenizer.model`: sentencepiece's own file, for its two kinds;
- `manifest.json`: what it was trained on, and how;
- `report.json`, `gain.json`: how it was measured, left there by the commands.

It is written beside its place and moved there when it is whole. A folder that holds something else is not replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from corpus.errors import DataError, UsageError
from corpus.splits.guards import Mark
from corpus.splits.jinja import jinja
from corpus.splits.templates import Template
from corpus.tokenizer.spec import Trained
from corpus.tokenizer.specials import Specials
from corpus.warehouse.commit import sync_folder, write_bytes

RUNS = Path("runs")
FOLDER = "tokenizer"
"""Where the tokenizer of a recipe lies when nothing else is said: `runs/<recipe>/tokenizer`."""
MANIFEST = "manifest.json"
FORMAT = "yuliao-tokenizer-1"
MODEL = "tokenizer.model"
REPORT = "report.json"
GAIN = "gain.json"
_OURS = re.compile(
    r"(?:(?:tokenizer|tokenizer_config|special_tokens_map|manifest|report)\.json|tokenizer\.model|chat_template\.jinja)(?:\.tmp-\d+)?"
)
"""Names of what a folder of ours holds."""


def write_folder(out: Path, trained: Trained, specials: Specials, template: Template | None, manifest: dict[str, Any]) -> None:
    """Writes a tokenizer.

    Args:
        out: the folder; one that holds a tokenizer of ours is replaced.
        trained: the tokenizer.
        specials: its special tokens.
        template: for its chat template; None for none.
        manifest: what is to be told of it.

    Raises:
        UsageError: when the folder holds something else.
    """
    check_place(out)
    files = {"tokenizer.json": (trained.tokenizer.to_str(pretty=True) + "\n").encode()}
    if trained.model is not None:
        files[MODEL] = trained.model
    files |= _described(specials, template)
    files[MANIFEST] = _json({"format": FORMAT, **manifest})
    with replacing(out) as new:
        for name, data in files.items():
            write_bytes(new / name, data)


def _described(specials: Specials, template: Template | None) -> dict[str, bytes]:
    """What says which token is which: file name → bytes."""
    named = {"unk_token": specials.unk, "bos_token": specials.bos, "eos_token": specials.eos, "pad_token": specials.pad}
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "additional_special_tokens": list(specials.others),
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,
    }
    files = {"special_tokens_map.json": _json({**named, "additional_special_tokens": list(specials.others)})}
    if template is not None:
        # Whoever renders with it encodes what comes out, where these would be special in a content.
        others = tuple(
            Mark(t, f"{t[0]} {t[1:]}") for t in (specials.unk, specials.bos, specials.eos, specials.pad) if t not in template.specials
        )
        config["chat_template"] = jinja(replace(template, marks=(*template.marks, *others)))
        files["chat_template.jinja"] = config["chat_template"].encode()
    return {**files, "tokenizer_config.json": _json(config)}


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder beside a place, which on a clean exit is moved there: whoever looks finds the old one or the whole new one.

    Only a crash between two renames leaves nothing there; the old folder then lies beside it, as `.<name>.yuliao-old`, until the next
    run. One process at a time: the folder above is locked, which leaves nothing there. Links are followed.
    """
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    above = os.open(out.parent, os.O_RDONLY)
    try:
        fcntl.flock(above, fcntl.LOCK_EX)
        new, old = (out.with_name(f".{out.name}.yuliao-{what}") for what in ("tmp", "old"))
        shutil.rmtree(new, ignore_errors=True)  # of a run that was killed
        new.mkdir()
        try:
            yield new
            sync_folder(new)
            shutil.rmtree(old, ignore_errors=True)
            if out.exists():
                out.rename(old)
            new.rename(out)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        sync_folder(out.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        os.close(above)


def check_place(out: Path) -> None:
    """Sees to it that a tokenizer can be written into a folder, and that nothing is lost by it.

    Raises:
        UsageError: when there is something else than a tokenizer of ours, or something beside it, or no folder can be made there.
    """
    check_above(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is no folder; choose another one with --out")
    held = sorted(p.name for p in out.iterdir())
    if held and read_manifest(out) is None:
        raise UsageError(f"{out} holds something else than a tokenizer that was trained here; choose another folder with --out")
    if others := [name for name in held if not _OURS.fullmatch(name)]:
        raise UsageError(f"{out} holds a tokenizer and {others[0]}, which would be lost; move it, or choose another folder with --out")


def check_above(out: Path) -> None:
    """Sees to it that a folder can be made or replaced, before hours of work are lost.

    Raises:
        UsageError: when what is above it is no folder, or cannot be written to.
    """
    above = out.resolve().parent
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UsageError(f"{out}: {above} is no folder that can be written to; choose another one with --out")


def check_outside(out: Path, root: Path) -> None:
    """Sees to it that a folder is not in the warehouse.

    Raises:
        UsageError: when it is.
    """
    if out.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{out} is in the warehouse {root}, whose folders are its own; choose another folder with --out")


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What is told of a tokenizer that was trained here; None for other folders.

    Raises:
        DataError: when its manifest cannot be read.
    """
    try:
        told = json.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as e:
        raise DataError(f"{folder / MANIFEST} is no JSON ({e}); remove the folder and train again") from e
    return told if isinstance(told, dict) and told.get("format") == FORMAT else None


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
