"""`python -m benchmarks.wikitext DATA`: wikitext → text beside mwparserfromhell, wikitextparser and WikiExtractor.

The pages are all articles of the dumps in `DATA/wikipedia_xml`. Every extractor gets the same pages in a process of its own, and only its
extraction is timed (CPU time, best of two runs after a first one). The others are called as their manuals say: `parse(text).strip_code()`,
`parse(text).plain_text()`, `Extractor(…).clean_text(text)` with no templates to expand, as the dumps hold none.

- **debris** per 1,000 characters: matches of `DEBRIS`, in what was extracted.
- **prose lost**: of the sentences that a parser (mwparserfromhell, wikitextparser) and an extractor that drops references and tables
  (ours, WikiExtractor) both found, the share of runs of eight letters or digits that this one lacks. A sentence has 20 letters or digits at
  least (10 where it is Chinese or Japanese), and is found where nine tenths of its runs are. A sentence with a hole (`a road network of, of
  which is unpaved`) that two share counts, so filling the hole costs the runs across it.
- **all lost**: the same of the sentences that any two found, references, tables and categories included, so intended drops count.
- **debris as published**: the same count over the files in `DATA/wikiextractor`, which WikiExtractor wrote from Chinese and English dumps.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from corpus.sources.framing import open_file
from corpus.text.wikitext import Policy, extract, site

DEBRIS = {
    "{{ }} [[ ]]": r"\{\{|\}\}|\[\[|\]\]",
    "-{ }-": r"-\{|\}-",
    "thumb, px": r"\bthumb\||\b\d+px\b|(?:缩略图|縮圖)\|",
    "empty brackets": r"（\s*[，；：、]*\s*）|\(\s*[,;:]*\s*\)|「」|《》|“”",
    "bracket and comma": r"[（(]\s*[，；、,;]|[，；、,;]\s*[）)]",
    "double separators": r"，\s*，|、\s*、|，\s*。|,\s*,|\s,(?=\s)",
    "stray table": r"^\s*\|(?! )[^\n|]*$|^\s*\{\||^\s*\|[-}]|^!\s|\|\|",
    "tags": r"</?(?:ref|br|span|div|small|su[pb]|nowiki|gallery|table|t[rdh]|li|ul|ol|p|blockquote|math|center|font)\b[^<>\n]*>",
    "entities": r"&(?:nbsp|amp|lt|gt|quot|ndash|mdash|thinsp|#\d+);",
    "quotes, headings": r"'''|''|^==+|==+$",
    "switches": r"__[A-Z]{3,}__",
    "categories, files": r"\b(?:Category|File|Image):|(?:分类|分類|文件|檔案|カテゴリ|ファイル):",
}
_DEBRIS = {name: re.compile(pattern, re.MULTILINE) for name, pattern in DEBRIS.items()}
_SENTENCE = re.compile(r"[^。！？!?\n]+?(?:[。！？!?\n]|\.(?=\s|$)|$)")
_LETTERS = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_RUN = 8
_PLAIN = ("ours", "wikiextractor")
_PARSERS = ("mwparserfromhell", "wikitextparser")

Page = tuple[str, str, str, str, tuple[tuple[int, str], ...]]
"""Wiki, language, title, wikitext, namespaces."""


def pages(data: Path) -> list[Page]:
    """All articles of the dumps."""
    out = []
    for path in sorted((data / "wikipedia_xml").rglob("*.bz2")):
        folder = path.parent.name
        for opened in open_file(path, path.name, "mediawiki"):
            for frame in opened.frames:
                for value in frame.values:
                    if value["ns"] == 0 and value["redirect"] is None and value["text"]:
                        minidump = "minidumps" in path.parts
                        wiki = f"{folder}wiki" if minidump else str(value["dbname"])
                        lang = folder if minidump else str(value["lang"])
                        out.append((wiki, lang, value["title"], value["text"], frame.header))
    return out


def _ours(**policy: Any) -> Callable[[Page], str]:
    return lambda page: extract(page[3], page[2], wiki=site(page[0], page[1], page[4]), policy=Policy(**policy)).text


def _mwparserfromhell() -> Callable[[Page], str]:
    parser = importlib.import_module("mwparserfromhell")
    return lambda page: str(parser.parse(page[3]).strip_code())


def _wikitextparser() -> Callable[[Page], str]:
    parser = importlib.import_module("wikitextparser")
    return lambda page: str(parser.parse(page[3]).plain_text())


def _wikiextractor() -> Callable[[Page], str]:
    extractor = importlib.import_module("wikiextractor.extract").Extractor

    def text(page: Page) -> str:
        one = extractor("1", "1", "https://example.org", page[2], page[3].split("\n"), to_text=True)
        return "\n".join(one.clean_text(page[3], mark_headers=True, html_safe=False))

    return text


EXTRACTORS: dict[str, Callable[[], Callable[[Page], str]]] = {
    "ours": lambda: _ours(),
    "ours, zh-cn": lambda: _ours(variant="zh-cn"),
    "ours, all kept": lambda: _ours(tables="keep", references="keep", galleries="keep", infoboxes="keep", apparatus="keep"),
    "mwparserfromhell": _mwparserfromhell,
    "wikitextparser": _wikitextparser,
    "wikiextractor": _wikiextractor,
}


def _measure(task: tuple[str, list[Page], int]) -> tuple[list[str], float]:
    """The texts, and the best time of `runs` in seconds."""
    name, given, runs = task
    extractor = EXTRACTORS[name]()
    texts: list[str] = []
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        texts = [_safely(extractor, page) for page in given]
        best = min(best, time.process_time() - began)
    return texts, best


def _safely(extractor: Callable[[Page], str], page: Page) -> str:
    try:
        return extractor(page)
    except Exception as e:  # noqa: BLE001 - a peer that fails on a page has lost it, and the others are still to be measured
        print(f"{page[2]}: {type(e).__name__}: {e}")
        return ""


def debris(texts: list[str]) -> Counter[str]:
    """How often each kind of debris is in the texts."""
    return Counter({name: sum(len(pattern.findall(text)) for text in texts) for name, pattern in _DEBRIS.items()})


def _letters(text: str) -> str:
    return "".join(_LETTERS.findall(text)).lower()


def _runs(letters: str) -> list[str]:
    return [letters[at : at + _RUN] for at in range(len(letters) - _RUN + 1)]


def lost(texts: dict[str, list[str]], count: int) -> tuple[dict[str, float], dict[str, float]]:
    """The share that each extractor lacks of prose, and of all that two extractors found."""
    lacks = [dict.fromkeys(texts, 0), dict.fromkeys(texts, 0)]
    totals = [0, 0]
    for at in range(count):
        seen = {name: set(_runs(_letters(found[at]))) for name, found in texts.items()}
        sentences: set[str] = set()
        for name in (*_PLAIN, *_PARSERS):
            for sentence in _SENTENCE.findall(texts[name][at]):
                letters = _letters(sentence)
                if len(letters) >= (10 if _HAN.search(sentence) else 20):
                    sentences.add(letters)
        for letters in sentences:
            runs = _runs(letters)
            missing = {name: sum(run not in seen[name] for run in runs) for name in texts}
            found = {name for name, n in missing.items() if n <= 0.1 * len(runs)}
            common = len(found.intersection((*_PLAIN, *_PARSERS))) >= 2
            prose = not found.isdisjoint(_PLAIN) and not found.isdisjoint(_PARSERS)
            for which, counts in enumerate((prose, common)):
                if counts:
                    totals[which] += len(runs)
                    for name, n in missing.items():
                        lacks[which][name] += n
    prose_lost, all_lost = ({name: n / max(1, total) for name, n in of.items()} for of, total in zip(lacks, totals, strict=True))
    return prose_lost, all_lost


def published(data: Path) -> list[tuple[str, ...]]:
    """Debris in what WikiExtractor wrote, by file."""
    out = []
    for path in sorted((data / "wikiextractor").rglob("wiki_*")):
        found = [v["text"] for o in open_file(path, path.name, "wikiextractor") for f in o.frames for v in f.values]
        size = sum(map(len, found))
        kinds = debris(found)
        worst = ", ".join(f"{name} {n}" for name, n in kinds.most_common(3) if n)
        out.append((path.parent.name, str(len(found)), f"{1000 * kinds.total() / max(1, size):.2f}", worst))
    return out


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wikitext", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with wikipedia_xml/ and wikiextractor/")
    parser.add_argument("--runs", type=int, default=2, help="timed runs of each extractor [2]")
    parser.add_argument("--every", type=int, default=1, help="take every n-th page [1]")
    parser.add_argument("--texts", type=Path, help="write what each extracted to this file, JSON lines")
    given = parser.parse_args()
    found = pages(given.data)[:: given.every]
    size = sum(len(page[3].encode()) for page in found)
    wikis = ", ".join(f"{wiki} {n}" for wiki, n in Counter(page[0] for page in found).most_common())
    print(f"{len(found)} articles, {size / 1e6:.1f} MB of wikitext: {wikis}\n")
    context = multiprocessing.get_context("spawn")
    texts: dict[str, list[str]] = {}
    seconds: dict[str, float] = {}
    for name in EXTRACTORS:
        with context.Pool(1) as pool:
            texts[name], seconds[name] = pool.apply(_measure, ((name, found, given.runs),))
    prose_lost, all_lost = lost(texts, len(found))
    rows = []
    for name, own in texts.items():
        kinds = debris(own)
        length = sum(map(len, own))
        rows.append(
            (
                name,
                f"{size / 1e6 / seconds[name]:.1f}",
                f"{len(found) / seconds[name]:.0f}",
                f"{length / 1e6:.2f}",
                f"{1000 * kinds.total() / max(1, length):.3f}",
                f"{100 * prose_lost[name]:.2f}",
                f"{100 * all_lost[name]:.1f}",
                ", ".join(f"{kind} {n}" for kind, n in kinds.most_common(3) if n),
            )
        )
    head = ("extractor", "MB/s", "articles/s", "characters, M", "debris per 1,000", "prose lost, %", "all lost, %", "most frequent debris")
    print(table(head, rows))
    if (given.data / "wikiextractor").is_dir():
        print(f"\n{table(('published files', 'articles', 'debris per 1,000', 'most frequent'), published(given.data))}")
    if given.texts:
        lines = [
            json.dumps({"title": page[2], **{n: t[at] for n, t in texts.items()}}, ensure_ascii=False) for at, page in enumerate(found)
        ]
        given.texts.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
