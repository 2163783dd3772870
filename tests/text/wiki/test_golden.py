"""Small pages by hand, in Chinese and English, each with what a reader is to see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from corpus.text.wikitext import Policy, extract, site

GOLDEN = Path(__file__).parent / "golden"
PAGES = [(lang, page) for lang in ("zh", "en") for page in yaml.safe_load((GOLDEN / f"{lang}.yaml").read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("lang", "page"), PAGES, ids=[f"{lang}: {page['name']}" for lang, page in PAGES])
def test_page(lang: str, page: dict[str, Any]) -> None:
    title = page.get("title", "")
    found = extract(page["page"], title, wiki=site(f"{lang}wiki", lang), policy=Policy(**page.get("policy", {})))
    assert found.text == page["text"].rstrip("\n")
    assert found.kind == page.get("kind", "article")
    assert found.title == page.get("shown", title)
    if "sections" in page:
        assert [[s.level, s.title] for s in found.sections] == page["sections"]
    for section in found.sections:
        text = found.text[section.start : section.end]
        assert text == text.strip("\n")
        assert not section.level or text.startswith(f"{'#' * section.level} {section.title}")


def test_there_are_enough() -> None:
    assert len(PAGES) >= 40
    assert len({(lang, page["name"]) for lang, page in PAGES}) == len(PAGES)
