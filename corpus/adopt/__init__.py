"""Adoption: answers that a user's own model generated for requests become rows of the warehouse, with their lineage.

A recipe whose split `rm` or `dpo` takes dialogues has *requests*: prompts whose chosen answer is the publisher's and whose rejected one is
yet to be written. A model answers them and leaves a run folder (:mod:`corpus.sources.generated` is the contract); :func:`adopt` puts each
answer beside its request into `adopted/<recipe>/<run>.jsonl`. Such a record holds all that a row needs, so that it outlives the build that
asked: the next build reads it as the source `adopted` (:mod:`corpus.sources.adopted`) and asks for that answer no more.

Adoption refuses only what cannot be a row. Whether the two sides of a pair are too much alike is for the pipeline, which judges all
pairs alike and keeps account of those that it drops. The files are a function of the run and the requests: adopting a run again changes
nothing, before and after the next build.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import orjson

from corpus.adopt import join
from corpus.errors import DataError, WarehouseError, nearest
from corpus.sources import adopted, generated
from corpus.sources.generated import Manifest, Refused
from corpus.stages import sql
from corpus.warehouse.builds import Build, Warehouse
from corpus.warehouse.commit import TMP_MARK, sync_folder, write_bytes
from corpus.warehouse.lock import writer_lock

_SIDECAR = ".manifest.json"
_EXAMPLES = 3
_SORTED = orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


@dataclass(slots=True)
class Adopted:
    """What became of a run.

    Attributes:
        run: the name under which it is adopted.
        recipe: whose requests it answers.
        path: the file with its records.
        read: answers that were read; each is adopted or refused.
        adopted: answers that were adopted.
        requests: requests that they answer.
        refused: how many were refused, by reason (see `generated.REASONS`).
        examples: the first of each reason.
        changed: whether anything was written.
    """

    run: str
    recipe: str
    path: Path
    read: int = 0
    adopted: int = 0
    requests: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Refused]] = field(default_factory=dict)
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """An adopted run, as a list shows it. `built`: whether the last build of the recipe has read it as it is."""

    recipe: str
    run: str
    model: str
    adopted: int
    requests: int
    refused: int
    bytes: int
    built: bool


def adopt(root: Path, folder: Path, *, recipe: str | None = None, name: str | None = None, replace: bool = False) -> Adopted:
    """Takes the answers of the run in `folder` into the warehouse at `root`.

    Args:
        root: the warehouse.
        folder: of the run, see `corpus.sources.generated`.
        recipe: whose requests are answered; by default that of the last build.
        name: what the run is called in the warehouse; by default what its manifest says.
        replace: take it in place of another run of the same name.

    Raises:
        DataError: when the folder is no run, none of its answers can be adopted, or another run has this name.
        WarehouseError: when the recipe was not built, or has no requests.
        LockedError: while a build writes to the warehouse.
    """
    said = generated.manifest(folder)
    run = generated.check_name(name if name is not None else said.run, f"{folder / 'manifest.json'}: run" if name is None else "--as")
    _check_built(root)
    paths = generated.files(folder)
    with writer_lock(root), ExitStack() as stack:
        warehouse = Warehouse(root)
        build = _build(warehouse, recipe)
        target = root / adopted.NAME / build.recipe / f"{run}{adopted.ENDING}"
        done = Adopted(run, build.recipe, target)
        target.parent.mkdir(parents=True, exist_ok=True)
        stack.callback(_leave, target.parent)
        _sweep(target.parent)
        records = stack.enter_context(_Waiting(target))
        refusals = stack.enter_context(_Waiting(target.with_name(f"{run}{adopted.REFUSED}")))

        def refuse(each: Refused) -> None:
            done.read += 1
            done.refused[each.reason] += 1
            shown = done.examples.setdefault(each.reason, [])
            if len(shown) < _EXAMPLES:
                shown.append(each)
            refusals.write(orjson.dumps({k: v for k, v in asdict(each).items() if v is not None}, option=_SORTED))

        try:
            with sql.session(root) as db:
                join.make(db)
                join.take_answers(db, paths, refuse)
                join.take_requests(db, warehouse, build, target, replace=replace)
                _write(db, said, done, records.write, refuse)
        except duckdb.Error as e:
            raise WarehouseError(f"warehouse {root}: {e}; `corpus build --verify` finds damaged files and makes them again") from e
        if not done.adopted:
            raise DataError(_nothing(folder, done))
        done.changed = _commit(done, said, records, refusals, replace=replace)
    return done


def listed(root: Path, recipe: str | None = None) -> list[Run]:
    """The adopted runs of all recipes, or of one, by recipe and name.

    Raises:
        WarehouseError: when there is no warehouse.
    """
    _check_built(root)
    warehouse = Warehouse(root)
    builds = warehouse.builds()
    found = []
    for folder in sorted((root / adopted.NAME).glob("*")):
        if not folder.is_dir() or recipe not in (None, folder.name):
            continue
        made = builds[folder.name].made if folder.name in builds else ()
        inputs = {name: told[0] for p in made if p.stage == "parse" for name, told in p.parts["inputs"].items()}
        for file in adopted.found(root, folder.name):
            if file.fault is None:
                told = _sidecar(file.path)
                found.append(
                    Run(
                        folder.name,
                        file.path.name.removesuffix(adopted.ENDING),
                        str(told.get("model", "")),
                        _whole(told.get("adopted")),
                        _whole(told.get("requests")),
                        sum(map(_whole, told["refused"].values())) if isinstance(told.get("refused"), dict) else 0,
                        file.path.stat().st_size,
                        inputs.get(file.name) == warehouse.index.look(file.path).digest,
                    )
                )
    return found


def remove(root: Path, run: str, *, recipe: str | None = None) -> Path:
    """Takes a run out of the warehouse; the next build asks for its answers again. Returns the file that is gone.

    Raises:
        DataError: for a name that no run can have.
        WarehouseError: when there is no such run.
    """
    generated.check_name(run, "--remove")
    _check_built(root)
    with writer_lock(root):
        name = _build(Warehouse(root), recipe).recipe
        path = root / adopted.NAME / name / f"{run}{adopted.ENDING}"
        if not os.path.lexists(path):
            known = [f.path.name.removesuffix(adopted.ENDING) for f in adopted.found(root, name)]
            raise WarehouseError(
                f"no run {run!r} was adopted for recipe {name!r}{nearest(run, known)}; adopted are {', '.join(known) or 'none'}"
            )
        for each in (path, *_beside(path)):  # the records first: without them, the others say nothing
            if each.is_dir() and not each.is_symlink():
                raise WarehouseError(f"{each}: a folder, expected a file of `corpus adopt`; take it away")
            each.unlink(missing_ok=True)
        _sweep(path.parent)
        sync_folder(path.parent)
        _leave(path.parent)
    return path


def _check_built(root: Path) -> None:
    if not (root / "manifests").is_dir():
        raise WarehouseError(f"warehouse {root}: nothing has been built there yet; run `corpus build` first")


def _build(warehouse: Warehouse, recipe: str | None) -> Build:
    """The last complete build of a recipe, or of all.

    Raises:
        WarehouseError: when there is none.
    """
    builds, history = warehouse.builds(), warehouse.history()
    name = recipe if recipe is not None else str(history[-1]["recipe"]) if history else ""
    if name not in builds:
        known = f"{nearest(name, builds)}; built are {', '.join(sorted(builds)) or 'none'}"
        raise WarehouseError(f"warehouse {warehouse.root}: recipe {name!r} was never built in this warehouse{known}")
    return builds[name]


def _write(
    db: duckdb.DuckDBPyConnection, said: Manifest, done: Adopted, write: Callable[[bytes], None], refuse: Callable[[Refused], None]
) -> None:
    """Writes a record for every answer that has a request, and refuses the others."""
    last: tuple[Any, ...] = ()
    for a in join.answers(db):
        key = (a["split"], a["row_id"], a["n"])
        if found := join.problem(a, key == last):
            reason, detail = found
            refuse(Refused(a["file"], a["line"], reason, detail, a["row_id"], a["n"]))
            continue
        done.read += 1
        done.adopted += 1
        done.requests += key[:2] != last[:2]
        last = key
        record = {
            "request": a["row_id"], "split": a["split"], "n": a["n"], "run": done.run, "model": said.model, "settings": said.settings,
            "source": a["source"], "subset": a["subset"], "license": a["license"],
            "prompt": a["prompt"], "chosen": a["chosen"], "rejected": a["answer"],
        }  # fmt: skip
        record |= {k: a[k] for k in ("upstream_split", "finished") if a[k] is not None}
        if a["more"] != "{}":
            record["more"] = orjson.loads(a["more"])
        write(orjson.dumps(record, option=_SORTED))


def _commit(done: Adopted, said: Manifest, records: _Waiting, refusals: _Waiting, *, replace: bool) -> bool:
    """Puts the files in place, that with the records last. Returns whether the records are others than before.

    Raises:
        DataError: when others are there, and are not to be replaced.
    """
    digest = records.finish()
    there = os.path.lexists(done.path)
    same = there and not done.path.is_symlink() and done.path.is_file() and _digest(done.path) == digest
    if there and not same and not replace:
        raise DataError(
            f"{done.path}: a run {done.run!r} was adopted before, and what it would be now is not the same; give this one another "
            "name with --as NAME, or take it in place of the other with --replace"
        )
    manifest, refused = _beside(done.path)
    if not (same and manifest.exists()):
        told = {
            "run": done.run, "recipe": done.recipe, "model": said.model, "answers": done.read, "adopted": done.adopted,
            "requests": done.requests, "refused": dict(done.refused), "manifest": said.whole,
        }  # fmt: skip
        write_bytes(manifest, orjson.dumps(told, option=_SORTED | orjson.OPT_INDENT_2))
    if done.refused and not (same and refused.exists()):
        refusals.finish()
        refusals.place()
    elif not done.refused and not same:
        refused.unlink(missing_ok=True)
    if not same:
        records.place()
    return not same


def _nothing(folder: Path, done: Adopted) -> str:
    if not done.read:
        return f"run {folder}: no answers in its files; nothing was adopted"
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in done.refused.most_common())
    first = [e for shown in done.examples.values() for e in shown[:1]][:_EXAMPLES]
    shown = "".join(f"\n    {e.file}:{e.line}: {e.reason}: {e.detail}" for e in first)
    return (
        f"run {folder}: none of its {done.read:,} answers can be adopted for recipe {done.recipe!r} ({reasons}){shown}\n"
        "nothing was written; is it the run of another recipe or warehouse? --recipe and --warehouse name them"
    )


class _Waiting:
    """A file that is written beside its place and put there at the end, or not at all."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self._tmp = final.with_name(f"{final.name}{TMP_MARK}{os.getpid()}")
        self._file = self._tmp.open("xb")
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)

    def finish(self) -> str:
        """Makes what was written durable; returns its sha256."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()

    def place(self) -> None:
        """Puts the file where it belongs."""
        os.replace(self._tmp, self.final)
        sync_folder(self.final.parent)

    def __enter__(self) -> _Waiting:
        return self

    def __exit__(self, *problem: object) -> None:
        self._file.close()
        self._tmp.unlink(missing_ok=True)


def _beside(path: Path) -> tuple[Path, Path]:
    """What lies beside the records of a run: its manifest, and the list of refused answers."""
    stem = path.name.removesuffix(adopted.ENDING)
    return path.with_name(stem + _SIDECAR), path.with_name(stem + adopted.REFUSED)


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        told = orjson.loads(_beside(path)[0].read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _sweep(folder: Path) -> None:
    """Removes what a killed adoption left."""
    for left in folder.glob(f"*{TMP_MARK}*"):
        left.unlink(missing_ok=True)


def _leave(folder: Path) -> None:
    """Removes the folders of adopted files where nothing is in them."""
    for each in (folder, folder.parent):
        with suppress(OSError):
            each.rmdir()


def _digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


__all__ = ["Adopted", "Run", "adopt", "listed", "remove"]
