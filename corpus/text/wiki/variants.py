"""Chinese conversion markup: what `-{…}-` shows in a variant, and the glossary that it and `{{NoteTA}}` set up for the page.

Grammar, flags and fallback chains are those of MediaWiki (its ConverterRule.php and ZhConverter.php; Help:高级字词转换语法 of the Chinese
Wikipedia). Two things differ on purpose. Where neither the variant nor its chain has a wording, MediaWiki shows an error and
this shows the first wording there is. And the variants zh-hans and zh-hant take part in glossaries as all others do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from corpus.text.wiki.marks import FIXED, FIXED_END, RULES

NAMES = {
    "zh": "原文", "zh-hans": "简体", "zh-hant": "繁體", "zh-cn": "大陆", "zh-tw": "臺灣", "zh-hk": "香港", "zh-mo": "澳門",
    "zh-sg": "新加坡", "zh-my": "大马",
}  # fmt: skip
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "zh-hans": ("zh-cn", "zh-sg", "zh-my"),
    "zh-hant": ("zh-tw", "zh-hk", "zh-mo"),
    "zh-cn": ("zh-hans", "zh-sg", "zh-my"),
    "zh-sg": ("zh-my", "zh-hans", "zh-cn"),
    "zh-my": ("zh-sg", "zh-hans", "zh-cn"),
    "zh-tw": ("zh-hant", "zh-hk", "zh-mo"),
    "zh-hk": ("zh-mo", "zh-hant", "zh-tw"),
    "zh-mo": ("zh-hk", "zh-hant", "zh-tw"),
}

_FLAGS = re.compile(r"[^\[\]{}<>:\x02]*")
_ENTITY = re.compile(r"(&#?[A-Za-z0-9]{1,31});")
_SEMICOLON = "\x12"
"""A semicolon that ends an entity, and so no rule."""
_HEAD = re.compile(r"\s*+(zh(?:-[A-Za-z]{2,4})?)\s*+:")
_CHANGE = re.compile(rf"{RULES}(\d{{1,9}}){RULES}")
_MOST_CHANGES = 2000
_LONGEST_TERM = 64
"""Bounds on what a page may ask for: real pages have some dozens of rules, and terms of some ten characters."""

_SIMPLIFIED = re.compile(r"[们个这来时说国会学对发经后过开关点应还进车长无为与东从众专业两严]")
_TRADITIONAL = re.compile(r"[們個這來時說國會學對發經後過開關點應還進車長無為與東從眾專業兩嚴]")
_SAMPLE = 20_000


def is_traditional(text: str) -> bool:
    """Whether Chinese text is in traditional characters rather than simplified ones, by frequent characters of its beginning."""
    text = text[:_SAMPLE]
    return len(_TRADITIONAL.findall(text)) > len(_SIMPLIFIED.findall(text))


class Rules:
    """The rules in one `-{…}-`: wordings by variant, and one-way replacements by variant."""

    __slots__ = ("both", "one_way")

    def __init__(self) -> None:
        self.both: dict[str, str] = {}
        self.one_way: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self.both or self.one_way)

    def wording(self, variant: str) -> str | None:
        """What readers of `variant` see, by the fallback chain; None where the rules say nothing for the chain."""
        for each in (variant, *FALLBACKS[variant]):
            if each in self.both:
                return self.both[each]
        return None

    def shown(self, variant: str) -> str:
        """The wording, or else the best there is: one that is meant for the variant one way, the original, the first."""
        wording = self.wording(variant)
        if wording is not None:
            return wording
        if variant in self.one_way:
            return next(iter(self.one_way[variant].values()))
        if self.both:
            return self.both.get("zh") or next(iter(self.both.values()))
        return next(iter(next(iter(self.one_way.values())).values()))

    def glossary(self, variant: str) -> dict[str, str]:
        """Term → replacement for text in `variant`."""
        out: dict[str, str] = {}
        wording = self.wording(variant)
        if wording:
            out = {term: wording for term in self.both.values() if term != wording}
        for each in (*reversed(FALLBACKS[variant]), variant):
            out |= self.one_way.get(each, {})
        return out

    def described(self) -> str:
        """The rules as a reader of the flag D sees them."""
        out = [f"{NAMES[v]}：{text}；" for v, text in self.both.items()]
        out += [f"{term}⇒{NAMES[v]}：{text}；" for v, terms in self.one_way.items() for term, text in terms.items()]
        return "".join(out)


def parse_rules(text: str) -> Rules:
    """Rules such as `zh-hans:…;zh-hant:…` and `…=>zh-cn:…`; none at all where a part is no rule, as then the text is just text."""
    rules = Rules()
    if ":" not in text:
        return rules
    parts: list[tuple[str, str, list[str]]] = []  # variant, term, pieces of the wording
    if "&" in text:
        text = _ENTITY.sub(rf"\1{_SEMICOLON}", text)
    for piece in text.split(";"):
        term, arrow, rule = piece.partition("=>")
        if not arrow:
            term, rule = "", piece
        head = _HEAD.match(rule)
        if head is not None and head[1].lower() in NAMES:
            parts.append((head[1].lower(), term.strip(), [rule[head.end() :]]))
        elif piece.strip() and parts:
            parts[-1][2].append(piece)  # a semicolon of the wording
        elif piece.strip():
            return rules
    for variant, term, pieces in parts:
        wording = ";".join(pieces).strip().replace(_SEMICOLON, ";")
        if term:
            rules.one_way.setdefault(variant, {})[term.replace(_SEMICOLON, ";")] = wording
        elif wording:
            rules.both[variant] = wording
    return rules


class Converter:
    """Resolves the conversion markup of one page for one variant.

    Attributes:
        title: the wording of the page's title, where the page has a rule for it.
    """

    def __init__(self, variant: str, *, convert: bool) -> None:
        """Args: the target; and whether the page is converted, so that a glossary is wanted."""
        self.variant = variant
        self.title: str | None = None
        self._convert = convert
        self._changes: list[tuple[bool, dict[str, str]]] = []

    def show(self, content: str) -> str:
        """What stands in place of `-{content}-`."""
        if FIXED in content:
            content = content.replace(FIXED, "").replace(FIXED_END, "")
        flags, bar, text = content.partition("|")
        if not bar or not _FLAGS.fullmatch(flags):
            flags, text = "", content
        names = {name.strip() for name in flags.split(";")}
        if "R" in names:
            return self._fixed(text)
        if "N" in names:
            return self._fixed(NAMES.get(text.strip().lower(), ""))
        rules = parse_rules(text)
        if not names.isdisjoint(("A", "H", "+", "-", "T", "D")):
            return self._flagged(names, rules, text)
        return self._fixed(rules.shown(self.variant) if rules else text)

    def _flagged(self, names: set[str], rules: Rules, text: str) -> str:
        out = ""
        if "-" in names:
            return self._change(False, rules)
        if "T" in names and (rules or text.strip()):
            self.title = rules.shown(self.variant) if rules else text.strip()
        if not names.isdisjoint(("A", "H", "+")):
            out = self._change(True, rules)
        if "D" in names and "H" not in names:
            return out + self._fixed(rules.described())
        if "A" in names and "H" not in names:
            return out + self._fixed(rules.shown(self.variant) if rules else text)
        return out

    def note(self, arguments: Mapping[str, str]) -> str:
        """The glossary of a `{{NoteTA}}`. Its numbered arguments are rules; `T` words the title; groups (`G1`) are not in the page."""
        out = []
        for key, value in arguments.items():
            rules = parse_rules(value.replace(FIXED, "").replace(FIXED_END, ""))
            if key == "T" and rules:
                self.title = rules.shown(self.variant)
            elif key.isdecimal():
                out.append(self._change(True, rules))
        return "".join(out)

    def _fixed(self, text: str) -> str:
        return f"{FIXED}{text}{FIXED_END}" if self._convert and text else text

    def _change(self, add: bool, rules: Rules) -> str:
        if not self._convert or not rules or len(self._changes) >= _MOST_CHANGES:
            return ""
        terms = {term: to for term, to in rules.glossary(self.variant).items() if 0 < len(term) <= _LONGEST_TERM}
        if not terms:
            return ""
        self._changes.append((add, terms))
        return f"{RULES}{len(self._changes) - 1}{RULES}"

    def finish(self, text: str) -> str:
        """Applies the glossary, longest term first, from where each rule stands, and takes all marks away."""
        if RULES not in text:
            return text.replace(FIXED, "").replace(FIXED_END, "") if FIXED in text else text
        out: list[str] = []
        terms: dict[str, str] = {}
        for n, piece in enumerate(_CHANGE.split(text)):
            if n % 2 == 0:
                out.append(_apply(piece, terms))
                continue
            if int(piece) >= len(self._changes):
                continue
            add, more = self._changes[int(piece)]
            if add:
                terms |= more
            else:
                for term in more:
                    terms.pop(term, None)
        return "".join(out)


def _apply(text: str, terms: Mapping[str, str]) -> str:
    """Replaces terms outside of fixed text, at each place the longest one; takes the marks of fixed text away."""
    if not terms:
        return text.replace(FIXED, "").replace(FIXED_END, "") if FIXED in text else text
    lengths: dict[str, list[int]] = {}
    for term in terms:
        lengths.setdefault(term[0], []).append(len(term))
    for of_first in lengths.values():
        of_first[:] = sorted(set(of_first), reverse=True)
    out: list[str] = []
    done = 0
    for found in _stops(lengths).finditer(text):
        at = found.start()
        if at < done:
            continue
        first = text[at]
        if first == FIXED:
            out += (text[done:at], found[0][1:-1])
            done = found.end()
            continue
        for length in lengths.get(first, ()):
            replacement = terms.get(text[at : at + length])
            if replacement is not None:
                out += (text[done:at], replacement)
                done = at + length
                break
    out.append(text[done:])
    return "".join(out).replace(FIXED, "").replace(FIXED_END, "")


def _stops(firsts: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"{FIXED}[^{FIXED_END}]*+{FIXED_END}|[{''.join(map(re.escape, firsts))}]")
