"""The line of `corpus encode`: a build's split files → token ids, file by file, on several threads and in bounded memory.

Files are read and written in one thread and encoded in others, some megabytes of text at a time: encoding is all but the whole work, and
both the library and the kernels let other threads run. So one large file keeps all cores busy, and the bytes that are written cannot
depend on how many there are.

An output folder keeps a manifest of its own, as a warehouse does: what was made from the same file with the same tokenizer is not made
again, and what a killed run committed is kept. The manifest.json of a split is there only when all of it is.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpus import __version__
from corpus.errors import DataError, LockedError, UsageError, WarehouseError
from corpus.executors.task import Report
from corpus.export.run import form_in
from corpus.recipe_splits import Form
from corpus.splits.budget import TOKENIZER
from corpus.splits.groups import cuts
from corpus.splits.templates import TEMPLATES, Template
from corpus.tokenizer.encode import BATCH_BYTES, Figures, Way, check_marks, encode_rows, lengths, one, prepared, width
from corpus.tokenizer.encoded import MANIFEST, SEQUENCES, Layout, writing
from corpus.tokenizer.folder import FOLDER, RUNS, check_above, check_outside
from corpus.tokenizer.library import one_thread
from corpus.warehouse.builds import Build, Warehouse
from corpus.warehouse.commit import TMP_MARK, reading, write_bytes
from corpus.warehouse.lock import writer_lock
from corpus.warehouse.manifest import FileEntry, Partition, fingerprint
from corpus.warehouse.splits import Found, find

NAME = "encode"
VERSION = 1

_FLYING_BYTES = 64 << 20
"""Texts that are waiting to be encoded or written, unless a single row is longer."""

_OURS = re.compile(r"(?:train|eval|test)-\d+-of-\d+\.(?:parquet|ids|offsets|learned|ranges)(?:\.tmp-\d+)?|manifest\.json\.tmp-\d+")
"""Names of files that an encoding may have written to the folder of a split, and that may go when nothing refers to them."""


@dataclass(frozen=True, slots=True)
class Job:
    """A split file that is to be encoded."""

    split: str
    part: str
    form: Form
    file: FileEntry
    parts: dict[str, Any]

    @property
    def stem(self) -> str:
        """The place of what is made of it, without the end of its name."""
        return f"{self.split}/{Path(self.file.path).stem}"

    @property
    def fingerprint(self) -> str:
        """Hash of everything that can change its bytes."""
        return fingerprint(self.parts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: the folder, split → its manifest, and how many files were made and how many were there already."""

    out: Path
    splits: dict[str, dict[str, Any]]
    made: int
    reused: int


def run(
    root: Path,
    recipe: str | None = None,
    splits: Sequence[str] = (),
    parts: Sequence[str] = (),
    *,
    tokenizer: Path | None = None,
    out: Path | None = None,
    layout: Layout = Layout.PARQUET,
    workers: int = 1,
    watch: Callable[[int], Any] | None = None,
) -> Outcome:
    """Encodes splits of a build: `<split>/<name of the split file>` and `<split>/manifest.json` in a folder.

    Args:
        root: the warehouse.
        recipe: whose build; by default the last one.
        splits: which of its splits; by default all.
        parts: which parts of them; by default all.
        tokenizer: a tokenizer.json or the folder of one; by default runs/<recipe>/tokenizer.
        out: the folder; by default runs/<recipe>/encoded.
        layout: parquet or flat.
        workers: threads that encode.
        watch: given the bytes of the files that are to be read, a context manager that gives a `Report` or None.

    Raises:
        UsageError: when there is no such split or part, or the folder holds something else.
        DataError: when the tokenizer cannot be read, or does not have the template's marks as one token each.
        WarehouseError: when there is no build, or a file is not what the manifest says.
        LockedError: when another process encodes into the folder.
    """
    build, found = find(root, recipe, splits, parts)
    if not found:
        raise UsageError(f"the build of recipe {build.recipe!r} has no rows in what was asked for; leave out --part or --split")
    out = RUNS / build.recipe / "encoded" if out is None else out
    check_out(out, root)
    told, ways, jobs, wanted = plan(root, build, found, RUNS / build.recipe / FOLDER if tokenizer is None else tokenizer, layout)
    try:
        with writer_lock(out), one_thread():
            (out / "manifests").mkdir(exist_ok=True)
            (out / "manifests" / f"{NAME}.jsonl").touch()
            return _run(root, out, build, told, ways, jobs, wanted, layout, workers, watch)
    except LockedError as e:
        raise LockedError(f"{out}: another process encodes into it; wait for it to end, or choose another folder with --out") from e


def check_out(out: Path, root: Path) -> None:
    """Sees to it that nothing is lost by an encoding into a folder.

    Raises:
        UsageError: when it is no folder, holds something else, or is in the warehouse.
    """
    check_outside(out, root)
    check_above(out)
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is no folder; choose another one with --out")
    held = {p.name for p in out.iterdir()} - {".lock", "manifests"}
    if held and not (out / "manifests" / f"{NAME}.jsonl").is_file():
        raise UsageError(f"{out} holds something that `corpus encode` did not write ({min(held)}); choose another folder with --out")


def plan(
    root: Path, build: Build, found: Found, tokenizer: Path, layout: Layout
) -> tuple[dict[str, Any], dict[bool, Way], list[Job], set[tuple[str, str]]]:
    """What is to be done; reads the tokenizer and the schemas of files, and writes nothing.

    Returns:
        What the manifests tell of the tokenizer; how texts are encoded, by whether they are rendered conversations; a job for every file
        of every split that is asked for, in all its parts; and which (split, part) are asked for.
    """
    path = tokenizer / TOKENIZER if tokenizer.is_dir() else tokenizer
    if path.suffix == ".model":
        raise UsageError(f"{path}: splits are encoded with a tokenizer.json; name the one beside it, or its folder")
    try:
        settings = path.read_bytes()
    except OSError as e:
        raise DataError(
            f"the tokenizer {path} cannot be read ({e.strerror}); `make tokenizer` trains one, --tokenizer names another"
        ) from e
    digest = sha256(settings).hexdigest()
    template = TEMPLATES.get(str(build.settings.get("template")))
    all_files = find(root, build.recipe, tuple(dict.fromkeys(split for split, _ in found)))[1]
    forms = {split: form_in(root, files[0]) for (split, _), files in all_files.items()}
    ways: dict[bool, Way] = {}
    marked = None if template is None else prepared(settings, path, template.specials)
    told: dict[str, Any] = {"sha256": digest}
    if any(form is Form.TEXT for form in forms.values()):
        whole, encoder = prepared(settings, path)
        token, number = _closing(path, whole.token_to_id, template)
        rendered = marked[1] if marked is not None else None
        ways[False] = Way(encoder, width(whole), number, rendered)
        told["end_of_text"] = {"token": token, "id": number}
    if any(form is not Form.TEXT for form in forms.values()):
        if template is None or marked is None:
            raise WarehouseError(f"{root}: the build of recipe {build.recipe!r} names no template that is known; build again")
        library, encoder = marked
        check_marks(library, template, path)
        ways[True] = Way(encoder, width(library))
    told["ids"] = str(next(iter(ways.values())).ids)
    jobs = []
    for (split, part), files in all_files.items():
        form = forms[split]
        text = form is Form.TEXT
        parts = {
            "stage": NAME, "version": VERSION, "form": str(form), "layout": str(layout), "tokenizer": digest, "ids": told["ids"],
            "template": _template(template), "closing": ways[False].closing if text else None,
            "libraries": {name: version(name) for name in ("pyarrow", "tokenizers")},
        }  # fmt: skip
        jobs += [Job(split, part, form, file, {**parts, "input": file.sha256}) for file in files]
    return told, ways, jobs, set(found)


def _template(template: Template | None) -> dict[str, Any] | None:
    return None if template is None else {"name": template.name, "version": template.version}


def _closing(path: Path, id_of: Callable[[str], int | None], template: Template | None) -> tuple[str, int]:
    """The token that ends a document: what tokenizer_config.json calls eos, or else what the tokenizers that are trained here have."""
    names = []
    try:
        named = json.loads((path.parent / "tokenizer_config.json").read_bytes()).get("eos_token")
        names.append(named.get("content") if isinstance(named, dict) else named)
    except (OSError, ValueError, AttributeError, RecursionError):
        from corpus.tokenizer.specials import specials

        names += [specials(template).eos] if template is not None else []
    for name in names:
        number = id_of(name) if isinstance(name, str) else None
        if number is not None:
            return str(name), number
    raise DataError(
        f"{path}: it is not known which token ends a document; name it as eos_token in {path.parent / 'tokenizer_config.json'}, "
        "or train a tokenizer with `make tokenizer`"
    )


def _run(
    root: Path, out: Path, build: Build, told: dict[str, Any], ways: dict[bool, Way], jobs: list[Job], wanted: set[tuple[str, str]],
    layout: Layout, workers: int, watch: Callable[[int], Any] | None,
) -> Outcome:  # fmt: skip
    warehouse = Warehouse(out)
    have = {job.stem: p for job in jobs if (p := warehouse.reusable(NAME, job.stem, job.fingerprint)) is not None}
    missing = [job for job in jobs if job.stem not in have and (job.split, job.part) in wanted]
    for split in {job.split for job in missing}:
        (out / split / MANIFEST).unlink(missing_ok=True)
    with _watched(watch, sum(job.file.bytes for job in missing)) as progress, ThreadPoolExecutor(workers) as pool:
        for job in missing:
            have[job.stem] = _encode_file(root, out, job, ways[job.form is not Form.TEXT], layout, pool, workers, progress)
            warehouse.commit(have[job.stem])
    manifests = {}
    for split in dict.fromkeys(job.split for job in jobs):
        mine = [job for job in jobs if job.split == split]
        manifests[split] = _manifest(build, told, mine, have, layout)
        data = (json.dumps(manifests[split], ensure_ascii=False, indent=1) + "\n").encode()
        path = out / split / MANIFEST
        if not path.is_file() or path.read_bytes() != data:
            write_bytes(path, data)
        kept = {Path(file.path).name for job in mine if job.stem in have for file in have[job.stem].files}
        for left in sorted(p for p in (out / split).iterdir() if p.name not in kept and _OURS.fullmatch(p.name)):
            left.unlink()
    for left in (p for folder in (out, out / "manifests") for p in folder.glob(f"*.json*{TMP_MARK}*")):
        left.unlink(missing_ok=True)
    current = {(p.key, p.fingerprint) for p in have.values()}
    done = {job.split for job in jobs}
    warehouse.manifests.forget(p for p in warehouse.manifests.all() if p.key.split("/")[0] not in done or (p.key, p.fingerprint) in current)
    warehouse.save_verified()
    return Outcome(out, manifests, len(missing), sum((job.split, job.part) in wanted for job in jobs) - len(missing))


@contextmanager
def _watched(watch: Callable[[int], Any] | None, total: int) -> Iterator[Report | None]:
    if watch is None:
        yield None
        return
    with watch(total) as progress:
        yield progress


def _encode_file(
    root: Path, out: Path, job: Job, way: Way, layout: Layout, pool: ThreadPoolExecutor, workers: int, progress: Report | None
) -> Partition:
    figures = Figures()
    with writing(out, job.stem, layout, job.form, way.ids, f"encoded:{job.split}:{job.part}") as writer:
        waiting: deque[tuple[Future[tuple[pa.RecordBatch, Figures]], int, int, int]] = deque()
        flying = 0

        def write() -> None:
            nonlocal flying
            future, size, share, rows = waiting.popleft()
            made, found = future.result()
            writer.add(made)
            figures.add(found)
            flying -= size
            if progress is not None:
                progress(share, rows)

        try:
            for rows, size, share in _pieces(root, job):
                while waiting and (len(waiting) >= 2 * workers + 2 or flying + size > _FLYING_BYTES):
                    write()
                waiting.append((pool.submit(encode_rows, rows, job.form, way), size, share, rows.num_rows))
                flying += size
            while waiting:
                write()
        except BaseException:
            for future, *_ in waiting:
                future.cancel()
            raise
    return Partition(NAME, job.stem, job.fingerprint, job.parts, writer.entries, figures.told())


def _pieces(root: Path, job: Job) -> Iterator[tuple[pa.Table, int, int]]:
    """The rows of a split file, about a megabyte of text at a time, with the bytes of their texts, and of the file."""
    path = root / job.file.path
    texts = [text for text, _, _, _ in SEQUENCES[job.form]]
    names = ["row_id", "source", "kind", "repeat", *(name for text, spans, _, _ in SEQUENCES[job.form] for name in (text, spans) if name)]
    seen = 0
    with reading(path), pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number, columns=names)
            sizes = np.sum([lengths(one(rows, name)) for name in texts], axis=0)
            for first, after in cuts(sizes, BATCH_BYTES):
                share = job.file.bytes * (after - first) // max(1, job.file.rows)
                yield rows.slice(first, after - first), int(sizes[first:after].sum()), share
            seen += rows.num_rows
    if seen != job.file.rows:
        raise WarehouseError(f"{path}: has {seen:,} rows, {job.file.rows:,} were written; `corpus build --verify` makes it again")


def _manifest(build: Build, told: dict[str, Any], jobs: Iterable[Job], have: dict[str, Partition], layout: Layout) -> dict[str, Any]:
    """What is told of a split: only parts of which every file is there."""
    jobs = list(jobs)
    form = jobs[0].form
    count = Counter(job.part for job in jobs)
    parts: dict[str, Any] = {}
    for part in count:
        mine = [job for job in jobs if job.part == part and job.stem in have]
        if len(mine) < count[part]:
            continue
        figures = Figures()
        listed = []
        for job in mine:
            partition = have[job.stem]
            figures.add(Figures.of(dict(partition.stats)))
            made = [{"path": Path(f.path).name, "bytes": f.bytes, "sha256": f.sha256} for f in partition.files]
            split_file = {"path": job.file.path, "sha256": job.file.sha256}
            listed.append({"of": split_file, "rows": job.file.rows, "tokens": partition.stats["tokens"], "files": made})
        parts[part] = {**figures.told(), "files": listed}
    return {
        "format": 1, "recipe": build.recipe, "build": build.fingerprint, "split": jobs[0].split, "form": str(form), "layout": str(layout),
        "columns": [into for _, _, into, _ in SEQUENCES[form]], "ids": told["ids"], "tokenizer": told["sha256"],
        "template": jobs[0].parts["template"], "end_of_text": told["end_of_text"] if form is Form.TEXT else None, "parts": parts,
        "versions": {"corpus": __version__, **jobs[0].parts["libraries"]},
    }  # fmt: skip


def show(outcome: Outcome, *, as_json: bool) -> None:
    """Prints what the splits come to."""
    from corpus.console import OUT, count, table, to_json, write

    if as_json:
        write(to_json({"out": str(outcome.out), "made": outcome.made, "reused": outcome.reused, "splits": outcome.splits}) + "\n")
        return
    head = ("split", "part", "rows", "tokens", "learned", "bytes per token", "longest", "straddling")
    rows = [
        [
            split, part, told["rows"], told["tokens"], told["learned"], f"{told['bytes'] / max(1, told['tokens']):.2f}", told["longest"],
            sum(told["straddling"].values()),
        ]
        for split, manifest in outcome.splits.items()
        for part, told in manifest["parts"].items()
    ]  # fmt: skip
    table(head, rows, right=head[2:])
    OUT.print()
    done = f"{count(outcome.made, 'file')} encoded, {outcome.reused:,} unchanged; they are in {outcome.out}"
    OUT.print(done, markup=False)
