"""Wikipedia: XML dumps, what extractors make of them, and filtered or sampled collections of articles.

Extractors and collections write the title of an article into its text, each in its own way; here it becomes the row's title, and
the text begins with the article.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from corpus.schema import Kind
from corpus.sources.base import Emit, Files, Frame, Hub, Parse, Reject, Source
from corpus.sources.shapes import need, rest, text_of
from corpus.text.wikitext import Policy, Site, closed, converted, extract, redirect, site, structured

_WIKIPEDIA = "CC BY-SA 3.0 / GFDL (Wikipedia text)"
_CC_BY_SA = "CC BY-SA 3.0"

_FOLDER = re.compile(r"(?:^|/)minidumps/([a-z][a-z_-]*)/")
_DUMP = re.compile(r"(?:^|/)([a-z][a-z_]*wiki)-[^/]*$")
_USED = ("title", "text", "lang", "dbname", "format")


_VARIANTS: dict[str, Policy] = {"keep": Policy(), "simplified": Policy(variant="zh-cn"), "traditional": Policy(variant="zh-tw")}
"""What is kept of a page of a dump (prose, headings, lists and formulas), by the script that the recipe asks for: `-{…}-` and the glossary
of a page are resolved for readers of that script; its other characters are for the cleaning rule `script`."""


def pages(script: str = "keep") -> Parse:
    """The parse function for pages of dumps, for a script (keep, simplified or traditional).

    Articles and lists come as text; redirects and pages outside the main namespace as the dump has them, and disambiguation pages as text,
    all three to be dropped by name. What a page is, if no article, is in `meta` (`page`).
    """
    policy = _VARIANTS[script]

    def parse(record: Any, emit: Emit, /) -> None:
        need(record, "title")
        title, text = text_of(record, "title"), text_of(record, "text")
        namespace = int(record.get("ns") or 0)
        meta = rest(record, *_USED) or {}
        if meta.get("model") == "wikitext":
            del meta["model"]
        meta["ns"] = namespace
        wiki = _wiki(record, emit.file)
        skip = None
        if record.get("redirect") is not None or redirect(text) is not None:
            skip = "redirect"
        elif namespace != 0:
            skip = "namespace"
        elif "model" not in meta:
            page = extract(text, title, wiki=_site(wiki, record, emit), policy=policy)
            text, title = page.text, page.title
            if page.kind != "article":
                meta["page"] = page.kind
            skip = "disambiguation" if page.kind == "disambiguation" else None
        emit.document(text, title, subset=wiki, meta=meta, skip=skip)

    return parse


def _site(wiki: str | None, record: Any, emit: Emit) -> Site:
    """The wiki of a page, with the names that the dump gives to its namespaces."""
    lang = record.get("lang") if record.get("dbname") in (None, wiki) else None
    return site(wiki, lang, emit.header or ())


def _wiki(record: Any, file: str) -> str | None:
    """Which wiki a page is of. The folder comes first: DBpedia's mini dumps of other languages carry the header of the English one."""
    if (folder := _FOLDER.search(file)) is not None:
        return folder[1].replace("-", "_") + "wiki"
    if record.get("dbname"):
        return str(record["dbname"])
    if (dump := _DUMP.search(file)) is not None:
        return dump[1]
    return record.get("lang") or None


_HOLES = (
    (re.compile(r"（[，、；,;][，、；,; ]*+"), "（"),
    (re.compile(r"[，、；]++(?=）)"), ""),
    (re.compile(r"</?+(?:poem|ref|br)[ ]?/?>\n?"), ""),
)
"""What extractors leave beside what they drop, besides empty brackets: 47 separators next to a bracket and 38 tags in 300 articles."""


def _mended(text: str) -> str:
    """An extracted text without the marks around what the extractor dropped."""
    for hole, filling in _HOLES:
        text = hole.sub(filling, text)
    return closed(text)


def _extracted(script: str = "keep") -> Parse:
    """The parse function for {id, url, title, text}, where the text repeats the title as its first line, for a script.

    Conversion markup that an extractor left in the text is resolved, and the holes that it left are closed.
    """
    policy = _VARIANTS[script]

    def parse(record: Any, emit: Emit, /) -> None:
        need(record, "title", "text")
        title, text = text_of(record, "title"), text_of(record, "text")
        first, _, body = text.partition("\n")
        if first.strip() == title.strip():
            text = body.lstrip("\n")
        emit.document(_mended(converted(text, policy)), title, meta=rest(record, "title", "text"))

    return parse


_TITLE_LENGTH = 64


def _completion(record: Any, emit: Emit, /) -> None:
    """{completion, source}: a third of the texts begin with a line that is the title, the others with the article itself."""
    need(record, "completion")
    text = text_of(record, "completion", empty=False)
    title, _, body = text.partition("\n")
    if not body.strip() or not _is_title(title, body):
        title, body = "", text
    emit.document(body, title or None, meta=rest(record, "completion"))


def _is_title(line: str, body: str) -> bool:
    """Whether a first line is a title: short, no sentence, no opening of a list; with a comma only if the article then repeats it."""
    if not line.strip() or len(line) > _TITLE_LENGTH or "。" in line or line.rstrip().endswith(("：", ":", "，", "；", "、")):
        return False
    return "，" not in line or line.split(" (")[0].strip() in body.split("\n", 1)[0]


_BRACKETED = re.compile(r"【(.*?)】[ \t]*(?:\n|\Z)")


def _bracketed(record: Any, emit: Emit, /) -> None:
    """{text}, whose first line is 【title】, with headings and lists as wikitext has them."""
    need(record, "text")
    text = text_of(record, "text", empty=False)
    head = _BRACKETED.match(text)
    title = head[1] if head else None
    emit.document(closed(structured(text[head.end() :] if head else text)), title, meta=rest(record, "text"))


def _line(record: Any, emit: Emit, /) -> None:
    """One article per line, without a title."""
    if not isinstance(record, str):
        raise Reject("shape", f"found {type(record).__name__}, expected a line of text")
    emit.document(_mended(record))


def _article(record: Any, emit: Emit, /) -> None:
    need(record, "text")
    emit.document(_mended(text_of(record, "text")), record.get("title"))


_TITLE_BYTES = 255 + len("：".encode())
"""MediaWiki's bound on a title, and the colon: a longer line is the first of a list."""


@dataclass(frozen=True, slots=True)
class Articles:
    """A framer over paragraphs: one whose first line ends in a full-width colon begins an article, of which that line is the title.

    Attributes:
        base: the format whose frames this one takes.
        most: characters after which an article ends although no title follows, so that a file without titles is not held in memory as one.
    """

    base: str = "paragraphs"
    most: int = 8 << 20

    def __call__(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Frames of {title, text}; an article may begin in one frame and end in another. What precedes all titles has title None."""
        article: _Open | None = None
        for frame in frames:
            closed: list[_Open] = []
            for at, paragraph in enumerate(frame.values):
                first, _, body = paragraph.partition("\n")
                first = first.rstrip()
                titled = first.endswith("：") and "。" not in first and len(first.encode()) <= _TITLE_BYTES
                if article is not None and (titled or article.title is None or article.size > self.most):
                    closed.append(article)
                    article = None
                if article is None:
                    article = _Open(first[:-1].strip() if titled else None)
                article.add(body if titled else paragraph, frame, at)
            out = _frame(closed)
            out.rejects, out.records, out.bytes = frame.rejects, frame.records, frame.bytes
            yield out
        if article is not None:
            yield _frame([article])


class _Open:
    """An article to which paragraphs are still added."""

    def __init__(self, title: str | None) -> None:
        self.title = title
        self.size = 0
        self.paragraphs: list[str] = []
        self.ordinals: list[int] = []
        self.notes: list[str] = []
        self.span: tuple[int, int] | None = None

    def add(self, paragraph: str, frame: Frame, at: int) -> None:
        """Adds the paragraph that is number `at` of `frame`."""
        if paragraph:
            self.paragraphs.append(paragraph)
        self.size += len(paragraph)
        self.ordinals += frame.groups.get(at) or [int(frame.ordinals[at])]
        if at in frame.notes:
            self.notes.append(frame.notes[at])
        if frame.offsets is not None and frame.lengths is not None:
            start = int(frame.offsets[at])
            self.span = (self.span[0] if self.span else start, start + int(frame.lengths[at]))


def _frame(articles: list[_Open]) -> Frame:
    spans = [a.span for a in articles if a.span is not None]
    known = len(spans) == len(articles)
    return Frame(
        values=[{"title": a.title, "text": "\n\n".join(a.paragraphs)} for a in articles],
        ordinals=[a.ordinals[0] for a in articles],
        offsets=[start for start, _ in spans] if known else None,
        lengths=[end - start for start, end in spans] if known else None,
        groups={n: a.ordinals for n, a in enumerate(articles) if len(a.ordinals) > 1},
        notes={n: "; ".join(dict.fromkeys(a.notes)) for n, a in enumerate(articles) if a.notes},
    )


SOURCES: tuple[Source, ...] = (
    Source(
        name="wikipedia-dump",
        about="Wikipedia in the XML of its dumps, any language: articles as plain text, redirects and other namespaces marked",
        address="https://dumps.wikimedia.org",
        license=_WIKIPEDIA,
        folder="wikipedia_xml",
        files=(
            Files("*wiki-*-pages-articles*.xml*"),
            Files("wiki.xml*"),
            Files("wikipedia_xml/**/*.xml*"),
        ),
        parse=pages(),
        by_script=pages,
        format="mediawiki",
        kinds=(Kind.DOCUMENT,),
        languages=("zh", "en"),
        obtain="download zhwiki-YYYYMMDD-pages-articles-multistream.xml.bz2 from https://dumps.wikimedia.org/zhwiki/ into wikipedia_xml/",
        version=2,
    ),
    Source(
        name="wikiextractor",
        about="Wikipedia articles as WikiExtractor writes them, <doc> blocks or JSON lines",
        address="https://github.com/attardi/wikiextractor",
        license=_CC_BY_SA,
        folder="wikiextractor",
        files=(Files("wikiextractor/**/wiki_*"), Files("wiki_[0-9][0-9]*")),
        parse=_extracted(),
        by_script=_extracted,
        format="wikiextractor",
        kinds=(Kind.DOCUMENT,),
        languages=("zh", "en"),
        obtain="run WikiExtractor over a dump with wikiextractor/ as its output folder (files AA/wiki_00, AA/wiki_01 …)",
        version=3,
    ),
    Source(
        name="wiki-zh",
        about="A million Chinese Wikipedia articles of February 2019 as JSON lines",
        address="https://github.com/brightmart/nlp_chinese_corpus",
        license="MIT (repository); CC BY-SA 3.0 (Wikipedia text)",
        folder="wiki_zh",
        files=(Files("wiki_zh/**/wiki_*"), Files("wiki_zh_*.zip"), Files("wiki2019zh*.zip")),
        parse=_extracted(),
        by_script=_extracted,
        format="wikiextractor",
        kinds=(Kind.DOCUMENT,),
        languages=("zh",),
        obtain="download wiki2019zh from the address and unpack it (or leave wiki_zh_2019.zip packed) into wiki_zh/: files AA/wiki_00 …",
        version=3,
    ),
    Source(
        name="wikipedia-cn-filtered",
        about="254,547 Chinese Wikipedia articles of July 2023, filtered and in simplified characters",
        address="https://huggingface.co/datasets/pleisto/wikipedia-cn-20230720-filtered",
        license=_CC_BY_SA,
        folder="wikipedia_cn_filtered",
        files=(Files("wikipedia-cn-20230720-filtered*.json"),),
        parse=_completion,
        kinds=(Kind.DOCUMENT,),
        languages=("zh",),
        hub=Hub("pleisto/wikipedia-cn-20230720-filtered", ("wikipedia-cn-20230720-filtered.json",)),
    ),
    Source(
        name="wiki-txt",
        about="Wikipedia as one text file: a title line that ends in a full-width colon, then the article",
        address="https://github.com/apertium/WikiExtractor",
        license=_CC_BY_SA,
        folder="wiki_txt",
        files=(Files("wiki.txt"),),
        parse=_article,
        format=Articles(),
        kinds=(Kind.DOCUMENT,),
        languages=("zh",),
        obtain="run apertium's WikiExtractor over a zhwiki dump; it writes wiki.txt",
        version=2,
    ),
    Source(
        name="wiki-demo",
        about="English Wikipedia articles, one per line",
        address="https://github.com/hiyouga/LLaMA-Factory/tree/main/data",
        license="CC BY-SA",
        folder="wikipedia_text",
        files=(Files("wiki_demo.txt"),),
        parse=_line,
        format="lines",
        kinds=(Kind.DOCUMENT,),
        obtain="download data/wiki_demo.txt of the repository into wikipedia_text/",
        version=2,
    ),
    Source(
        name="mnbvc-wiki",
        about="Chinese Wikipedia articles of MNBVC, with section marks",
        address="https://github.com/esbatmop/MNBVC",
        license="MIT",
        folder="mnbvc",
        files=(Files("mnbvc/MNBVC_wiki*.jsonl"), Files("MNBVC_wiki.jsonl")),
        parse=_bracketed,
        kinds=(Kind.DOCUMENT,),
        languages=("zh",),
        version=2,
        obtain="put the file MNBVC_wiki.jsonl, JSON lines of {text}, into mnbvc/",
    ),
)
