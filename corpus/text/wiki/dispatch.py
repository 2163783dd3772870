"""What stands in place of one template of a page: parser functions, carriers, infoboxes; and what its templates say of the page's kind."""

from __future__ import annotations

import re

from corpus.text.wiki import numbers
from corpus.text.wiki.carriers import Setting, country, labelled, link
from corpus.text.wiki.known import CARRIERS
from corpus.text.wiki.marks import GAP, gap
from corpus.text.wiki.policy import Policy
from corpus.text.wiki.site import TEMPLATE, Site
from corpus.text.wiki.templates import Arguments, split
from corpus.text.wiki.variants import Converter

_INFOBOX = re.compile(r"infobox|taxobox|geobox|chembox|drugbox|speciesbox|信息框|信息欄|資訊框|资讯框|信息栏")
_DISAMBIGUATION = re.compile(
    r"disambig(?:uation)?(?: page)?(?:[-/ ].*)?|dab|disamb|hndis(?:-cleanup)?|geodis|geo-dis|mil-unit-dis|numberdis|roaddis|schooldis|"
    r"mathdab|.{1,40} disambiguation(?: page)?|.{0,12}消歧[义義]页?|.{0,12}消歧[义義]頁?|aimai|曖昧さ回避|"
    r"多義|begriffsklärung|homonymie|desambiguación"
)
_NOT_DISAMBIGUATION = frozenset(("disambiguation needed", "disambiguation cleanup", "need disambiguation", "needs disambiguation"))
_NAMED_LINKS = re.compile(r"(?:link|internal link helper|ilh)[-/ ].+")
_LABELLED = re.compile(r"lang-([a-z]{2,3}(?:-[a-z]+)?)")
_LONGEST_NAME = 80
_FIELD = re.compile(r"[\w .()/-]{1,40}")


class Dispatch:
    """Replaces the templates of one page.

    Attributes:
        disambiguation: whether one of them says that the page is a disambiguation page.
    """

    def __init__(self, site: Site, policy: Policy, setting: Setting, converter: Converter) -> None:
        self._site = site
        self._policy = policy
        self._setting = setting
        self._converter = converter
        self.disambiguation = False

    def __call__(self, content: str) -> str:
        """What stands in place of `{{content}}`."""
        name, bar, rest = content.partition("|")
        name = name.replace("_", " ").strip()
        if ":" in name and not name.startswith(":"):
            prefix, _, after = name.partition(":")
            if self._site.namespace(prefix) == TEMPLATE:
                name = after.strip()
            else:
                shown = self._function(prefix.strip().lower(), content.partition(":")[2])
                return shown or gap(content)
        key = name.lower()
        if len(key) > _LONGEST_NAME:
            return gap(content)
        shown = self._shown(key, name, rest if bar else "")
        return shown or gap(content)

    def _shown(self, key: str, name: str, rest: str) -> str:
        carrier = CARRIERS.get(key)
        if carrier is not None:
            return carrier(Arguments(rest), self._setting)
        if key == "noteta" or key.startswith("noteta/"):
            return self._converter.note(_note_arguments(rest)) + GAP
        if (found := _LABELLED.fullmatch(key)) is not None:
            return labelled(found[1], Arguments(rest), self._setting)
        if _NAMED_LINKS.fullmatch(key):
            return link(Arguments(rest), self._setting)
        if key.startswith("script/"):
            return Arguments(rest).last
        if key.startswith(("ipa-", "api-")):
            return f"[{sounds}]" if (sounds := Arguments(rest)[1]) else ""
        if _DISAMBIGUATION.fullmatch(key) and key not in _NOT_DISAMBIGUATION:
            self.disambiguation = True
            return ""
        if _INFOBOX.search(key):
            return self._infobox(rest) if self._policy.infoboxes == "keep" else ""
        if key in ("pagename", "fullpagename", "subpagename", "basepagename"):
            return self._setting.title
        return country(name, self._setting) if not rest else ""

    @staticmethod
    def _infobox(rest: str) -> str:
        fields = (
            f"* {name.strip()}: {value.strip()}\n"
            for name, equals, value in (argument.partition("=") for argument in split(rest))
            if equals and value.strip(f" \n{GAP}") and "\n" not in value.strip() and _FIELD.fullmatch(name.strip())
        )
        return "\n" + "".join(fields)

    def _function(self, name: str, argument: str) -> str:
        if name == "formatnum":
            return numbers.formatnum(argument)
        if name in ("lc", "uc", "lcfirst", "ucfirst", "nowrap", "anchorencode", "#language"):
            text = argument.strip()
            if name in ("lc", "uc"):
                return text.lower() if name == "lc" else text.upper()
            first = text[:1].lower() if name == "lcfirst" else text[:1].upper() if name == "ucfirst" else text[:1]
            return first + text[1:]
        if name in ("#if", "#ifeq"):
            values = [value.strip() for value in split(argument)] + [""] * 4
            if name == "#if":
                return values[1] if values[0].strip(GAP) else values[2]
            return values[2] if values[0] == values[1] else values[3]
        return ""


def _note_arguments(rest: str) -> dict[str, str]:
    """Arguments of `{{NoteTA}}`, whose rules hold equals signs (`…=>zh-cn:…`) of their own."""
    out: dict[str, str] = {}
    unnamed = 0
    for argument in split(rest):
        name, equals, value = argument.partition("=")
        name = name.strip()
        if equals and not value.startswith(">") and (name.isdecimal() or name.isascii()) and len(name) < 8:
            out[name] = value.strip()
        else:
            unnamed += 1
            out[str(unnamed)] = argument.strip()
    return out
