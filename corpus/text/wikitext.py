"""MediaWiki pages → text: prose with Markdown headings and lists, for pretraining and for prompts with answers.

See :func:`extract`; the steps are in :mod:`corpus.text.wiki`.

Why a scanner of its own and not one of the well-kept parsers: the target is 3 MB of wikitext a second on a core. Over 525 articles in
six languages (`python -m benchmarks.wikitext`), mwparserfromhell 0.7 makes 1.4 MB/s, wikitextparser 2.8, WikiExtractor 8.6, this 15. The
C tokenizer of mwparserfromhell alone would do (7 MB/s), but the tree of nodes that it makes does not, and what those extractors lack
(conversion markup, glossaries, text in templates) would come on top.
"""

from __future__ import annotations

import re

from corpus.text.wiki import holes, links, markup, tables
from corpus.text.wiki.blocks import Blocks, decode
from corpus.text.wiki.carriers import Setting
from corpus.text.wiki.dispatch import Dispatch
from corpus.text.wiki.marks import GAP, purify
from corpus.text.wiki.policy import Page, PageKind, Policy, Section
from corpus.text.wiki.sections import Lines, assemble
from corpus.text.wiki.site import Site, site
from corpus.text.wiki.templates import resolve
from corpus.text.wiki.variants import Converter, is_traditional

__all__ = ["Page", "Policy", "Section", "Site", "closed", "converted", "extract", "redirect", "site", "structured"]

_REDIRECT = re.compile(
    r"\s*+[#＃]\s*+(?:redirect|重定向|重新導向|転送|weiterleitung|redirection|redirección|перенаправление|넘겨주기)\s*+[:：]?\s*+\[\[([^\[\]|\n]*+)",
    re.IGNORECASE,
)
_DISAMBIGUATION_TITLE = re.compile(r"[（(](?:disambiguation|消歧[义義]|曖昧さ回避)[）)]\s*\Z", re.IGNORECASE)
_DISAMBIGUATION_SWITCH = re.compile(r"__(?:DISAMBIG|消歧[义義])__", re.IGNORECASE)
_LIST_TITLE = re.compile(
    r"(?:lists?|index|outline|glossary) of |.*(?:列表|一[览覽]表?|名[单單]|清[单單]|の一覧)(?:\s*[（(].*[）)])?\s*\Z", re.IGNORECASE
)
_VARIANT = re.compile(r"-\{([^{}]*+)\}-")
_VARIANT_LEVELS = 4
_UNSEEN = re.compile(r"[\x01-\x08\x0e-\x1f]")


def redirect(wikitext: str) -> str | None:
    """Where a page leads that only leads elsewhere, in English, Chinese and some other languages' words; None for other pages."""
    found = _REDIRECT.match(wikitext)
    return found[1].strip() if found is not None else None


def extract(wikitext: str, title: str = "", *, wiki: Site | None = None, policy: Policy = Policy()) -> Page:
    """The text of a page.

    Never raises, and takes time linear in the length of the page, whatever is in it.

    Args:
        wikitext: the text of a revision as a dump has it, after XML decoding.
        title: of the page.
        wiki: which wiki it is of; None for one of which nothing is known.
        policy: what to keep.
    """
    wiki = wiki or site()
    target = redirect(wikitext)
    if target is not None:
        return Page("", title, (), "redirect", target)
    converter, traditional = _converter(wikitext, policy, wiki.chinese)
    blocks = Blocks(policy)
    dispatch = Dispatch(
        wiki, policy, Setting(wiki.chinese, traditional, title, wiki.chinese or wiki.lang in ("", "en", "simple")), converter
    )

    def inline(text: str) -> str:
        text = resolve(text, dispatch, converter.show)
        if policy.tables == "drop":
            text = links.resolve(tables.strays(tables.drop(text)), wiki)
        else:
            text = tables.markdown(links.resolve(text, wiki))
        text = converter.finish(markup.quotes(markup.tags(text)))
        return holes.mend(decode(text))

    text = blocks.lift(purify(wikitext))
    disambiguation = _DISAMBIGUATION_SWITCH.search(text) is not None if "__" in text else False
    lines = Lines(chinese=wiki.chinese, apparatus=policy.apparatus == "keep")
    lines.read(inline(text))
    for number, note in enumerate(blocks.notes, 1):
        lines.add(f"{chr(10) if number == 1 else ''}[^{number}]: {' '.join(inline(note).split())}")
    text, sections = assemble([(level, blocks.put_back(head), _clean(blocks.put_back(body))) for level, head, body in lines.finish()])
    kind: PageKind = "article"
    if disambiguation or dispatch.disambiguation or _DISAMBIGUATION_TITLE.search(title):
        kind = "disambiguation"
    elif _LIST_TITLE.match(title):
        kind = "list"
    return Page(text, (converter.title if policy.variant != "keep" else None) or title, sections, kind)


def _clean(body: str) -> str:
    return _UNSEEN.sub("", body)


def _converter(text: str, policy: Policy, chinese: bool) -> tuple[Converter, bool]:
    """The converter for a page, and whether what it shows is in traditional characters."""
    if policy.variant != "keep":
        return Converter(policy.variant, convert=True), policy.variant in ("zh-hant", "zh-tw", "zh-hk", "zh-mo")
    traditional = (chinese or "-{" in text) and is_traditional(text)
    return Converter("zh-tw" if traditional else "zh-cn", convert=False), traditional


_EMPTIED = re.compile(
    r"（[ ，,、；;]*[）)]|(?<=[，、；])(?=[，、；。])"
    r"|(?<![\w)\]])\((?:[ ]*[，,、；;][ ，,、；;]*[）)]|[）)](?=[ ]?[，,。]|[ ]?[a-z\u4e00-\u9fff]))"
)
"""Brackets and separators between which an extractor dropped all there was. `main()` is none, and `f ()` at the end of a line neither."""
_LEVELS = re.compile(r"^(={2,6})[ \t]*([^=\n][^\n]*?)[ \t]*\1[ \t]*$", re.MULTILINE)
_ITEMS = re.compile(r"^(\*{1,6})[ \t]*(?=[^\s*][^*\n]*$)", re.MULTILINE)
_FRAME = re.compile(r"\A(?:(?:right|left|center|thumb)\n)+")


def closed(text: str) -> str:
    """Text that another extractor made of a page, without the brackets and separators that it left empty (`安徽省（）`, `，，`)."""
    return holes.mend(_EMPTIED.sub(GAP, text)) if GAP not in text else text


def structured(text: str) -> str:
    """Text in which another extractor left headings and lists as wikitext, with both as Markdown."""
    text = _ITEMS.sub(lambda m: "  " * (len(m[1]) - 1) + "- ", _FRAME.sub("", text))
    return _LEVELS.sub(lambda m: f"{'#' * len(m[1])} {m[2]}", text)


def converted(text: str, policy: Policy = Policy()) -> str:
    """Text that another extractor made of a page, with the conversion markup that it left there resolved."""
    if "-{" not in text:
        return text
    converter, _ = _converter(text, policy, True)
    for _ in range(_VARIANT_LEVELS):
        text, count = _VARIANT.subn(lambda m: converter.show(m[1]), text)
        if not count:
            break
    return _UNSEEN.sub("", converter.finish(text))
