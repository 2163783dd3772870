"""What must hold for every source at once, and for every real file where `DATA_REAL` names a folder of them."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpus.errors import RecipeError
from corpus.schema import ROLES, UPSTREAM_SPLITS, Kind
from corpus.sources import _MODULES, claim, get, registry
from corpus.sources.base import Source
from corpus.sources.read import FileStats, Occurrences, read_file

SOURCES = registry()
GOLDEN = Path(__file__).parent / "golden"
DATA_REAL = os.environ.get("DATA_REAL")
BY_NAME = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
LINE_FORMATS = ("lines",)
NOT_DATA = ("README.md", "SHA256SUMS")

# Loaders of the Hugging Face hub guess the split of a file from these words in its name.
SPLIT_WORDS = {"train", "training", "test", "testing", "dev", "eval", "evaluation", "valid", "validation"}


def test_names_are_unique() -> None:
    names = [source.name for module in _MODULES for source in module.SOURCES]
    assert sorted(names) == sorted(set(names))


@BY_NAME
def test_traits_can_be_used(source: Source) -> None:
    """A marker or placeholder of white space would match everywhere."""
    assert all(marker.strip() and role in ROLES for marker, role in source.traits.speakers)
    assert all(text.strip() for text in source.traits.placeholders)
    assert source.traits.cap is None or source.traits.cap > 0


@BY_NAME
def test_name_is_legal(source: Source) -> None:
    assert re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", source.name)
    assert not SPLIT_WORDS & set(re.split(r"[.-]", source.name))


@BY_NAME
def test_declaration_is_complete(source: Source) -> None:
    assert source.about.strip()
    assert "\n" not in source.about
    assert source.address.startswith("https://")
    assert source.license.strip()
    assert re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+)*", source.folder)
    assert source.files
    assert source.kinds
    assert set(source.kinds) <= set(Kind)
    assert source.languages
    assert all(re.fullmatch(r"[a-z]{2,3}", code) for code in source.languages)
    assert source.version >= 1


@BY_NAME
def test_says_how_to_get_it(source: Source) -> None:
    assert source.hub is not None or source.obtain.strip()
    if source.hub is not None:
        assert source.hub.repo
        assert source.hub.files


@BY_NAME
def test_patterns_are_sound(source: Source) -> None:
    globs = [f.glob for f in source.files]
    assert sorted(globs) == sorted(set(globs))
    for file in source.files:
        assert not file.glob.startswith("/")
        assert ".." not in file.glob.split("/")
        assert file.split is None or file.split in UPSTREAM_SPLITS
        assert file.subset is None or file.subset.strip()


@BY_NAME
def test_finds_what_its_hub_would_put_there(source: Source) -> None:
    """A pattern of the hub without a wildcard names one file: fetched, it must belong to this source."""
    for name in source.hub.files if source.hub is not None else ():
        if not set(name) & set("*?["):
            owner = claim(f"{source.folder}/{name}", SOURCES.values())
            assert owner is not None, f"no source claims {source.folder}/{name}"
            assert owner.name == source.name


def test_unknown_name_is_refused_with_the_nearest() -> None:
    name = next(iter(SOURCES))
    assert get(name, SOURCES) is SOURCES[name]
    with pytest.raises(RecipeError, match=re.escape(repr(name))):
        get(name + "x", SOURCES)


def files_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file below a data folder, and its relative name."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield path, path.relative_to(folder).as_posix()


def disputed(name: str) -> list[str]:
    """The names of the sources that claim a file with the greatest weight, when there are several."""
    weights = {source.name: found.weight for source in SOURCES.values() if (found := source.match(name)) is not None}
    best = [source for source, weight in weights.items() if weight == max(weights.values())]
    return best if len(best) > 1 else []


def test_no_golden_file_is_claimed_twice() -> None:
    names = [name for folder in sorted(GOLDEN.iterdir()) if folder.is_dir() for _, name in files_below(folder / "data")]
    assert {name: claims for name in names if (claims := disputed(name))} == {}


@pytest.fixture(scope="module")
def real() -> Path:
    if DATA_REAL is None:
        pytest.skip("DATA_REAL is not set")
    return Path(DATA_REAL)


@pytest.mark.real
def test_every_real_file_is_claimed_once(real: Path) -> None:
    names = [name for _, name in files_below(real) if name not in NOT_DATA]
    assert names
    assert [name for name in names if claim(name, SOURCES.values()) is None] == []
    assert {name: claims for name in names if (claims := disputed(name))} == {}


def counts(readme: str) -> dict[str, int]:
    """Records per file, from the rows `| `file` | where from | records upstream | records here | …` of the data folder's README."""
    rows = re.findall(r"^\| `([^`]+)` \|[^|\n]+\| [\d,]+ \| ([\d,]+) \| [\d,]+ \|", readme, flags=re.MULTILINE)
    return {glob: int(here.replace(",", "")) for glob, here in rows}


COUNTED_DIFFERENTLY = {
    "instructionwild/user_3.jsonl": 139,  # the README counts lines, and one record is over two
    "wikipedia_xml/bgwiki-latest-pages-articles-shortened.xml.bz2": 3,  # pages; the README counts the file
    "wikipedia_xml/enwiki-table-markup.xml.bz2": 5,
}


def blank_lines(path: Path) -> int:
    return sum(not line.strip() for line in path.read_bytes().removesuffix(b"\n").split(b"\n"))


def matches(name: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(name, glob.replace("**", "*"))


@pytest.mark.real
@BY_NAME
def test_real_records_are_all_accounted_for(source: Source, real: Path) -> None:
    """Each record is in rows or in rejects, and there are as many as whoever put the folder together has counted."""
    claims = {name: path for path, name in files_below(real) if (owner := claim(name, SOURCES.values())) and owner.name == source.name}
    if not claims:
        pytest.skip(f"there is no real file of {source.name}")
    expected = counts((real / "README.md").read_text(encoding="utf-8"))
    found: dict[str, int] = {}
    for name, path in claims.items():
        if name in NOT_DATA:
            continue
        stats: list[FileStats] = []
        rows = rejects = 0
        for batch in read_file(source, path, name, Occurrences(), on_file=stats.append):
            rows += batch.rows.num_rows if batch.rows is not None else 0
            rejects += len(batch.rejects)
        assert sum(s.records for s in stats) == sum(s.row_records + s.rejects for s in stats), name
        assert (rows, rejects) == (sum(s.rows for s in stats), sum(s.rejects for s in stats)), name
        base = source.format if isinstance(source.format, str) else getattr(source.format, "base", "")
        # A blank line is no record, but the README counts it as one.
        found[name] = sum(s.records for s in stats) + (blank_lines(path) if base in LINE_FORMATS else 0)
    for glob, count in expected.items():
        here = [name for name in found if matches(name, glob)]
        if here:
            assert sum(found[name] for name in here) == COUNTED_DIFFERENTLY.get(glob, count), f"{glob}: {source.name}"
    assert [name for name in found if not any(matches(name, glob) for glob in expected)] == []
