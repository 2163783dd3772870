"""The rules that mend how a text was written down: references, escapes, characters that nobody sees, widths, blanks.

A rule looks for what it changes with one regular expression over the column; only the few texts in which that is found are changed one
by one, outside their protected pieces (see `protect`). What has been decided, and why:

- Two blanks after the end of an English sentence are a habit of typing, not dirt (2,567 of 9,560 texts of hh-rlhf have it), and stay. So do
  columns, blanks to be filled in, and Markdown's two blanks at the end of a line that is followed by another.
- Blanks between single Han characters stay: where real data have them, they are the subject (`去除空格`, results of word segmentation).
- Full-width letters and digits become half-width, Chinese punctuation stays. Full-width signs are changed only between two full-width
  letters or digits (`３．１４`, `２０２３／０５`), where they belong to the number or the address.
- `！！！！！！` is cut to three, `。。。。。。。。` and `........` to six (an ellipsis), `…………` to the two that Chinese
  writes (294, 123 and 42 of 258,489 real texts).
  What may be a rule, a blank to fill in or code (`-=_*#><|`) is never cut.
- NFC, not NFKC: `①`, `㎡` and `（` stay. Compatibility ideographs (U+F900-U+FAFF) become the unified ones that they are equal to.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from corpus.text import characters as c
from corpus.text import entities as html
from corpus.text.blanks import BLANKS, spaced
from corpus.text.marks import EDGE, REPEAT, RUN, TRAILING
from corpus.text.protect import STAND_IN, outside, outside_each
from corpus.text.rules import Rule
from corpus.text.settings import TextSettings

_ROUNDS = 3


def _settled(change: Callable[[pl.Series], pl.Series], texts: pl.Series) -> pl.Series:
    """Changes texts until nothing changes. One that does not come to rest in three rounds stays as it was, so that a rule is idempotent."""
    after = change(texts)
    moving = (after != texts).arg_true()
    for _ in range(_ROUNDS):
        if not len(moving):
            return after
        now = after.gather(moving)
        then = change(now)
        changed = then != now
        if not changed.any():
            return after
        moving = moving.filter(changed)
        after = after.clone().scatter(moving, then.filter(changed))
    return after.clone().scatter(moving, texts.gather(moving))


def _where(pattern: str, change: Callable[[pl.Series], pl.Series], texts: pl.Series) -> pl.Series:
    """Changes the texts in which `pattern` (a regex of polars) is found."""
    at = texts.str.contains(pattern).arg_true()
    if not len(at):
        return texts
    return texts.clone().scatter(at, _settled(change, texts.gather(at)))


def _each(change: Callable[[str], str], *, markup: bool = True) -> Callable[[pl.Series], pl.Series]:
    return lambda texts: outside_each(texts, change, markup=markup)


def tags(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Tags of HTML in texts that are not code become line breaks, or go."""
    return _where("<[A-Za-z/!]", _each(html.remove_tags, markup=False), texts)


def entities(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Character references become the characters that they stand for."""
    if settings.traits.escaped:
        at = texts.str.contains(html.ANY).arg_true()
        values = texts.gather(at).to_list()
        decoded = [html.decode_whole(text) for text in values]
        whole = [text if new is None else new for text, new in zip(values, decoded, strict=True)]
        texts = texts.clone().scatter(at, pl.Series(whole, dtype=pl.String)) if len(at) else texts
    if settings.traits.html:
        return _where(html.ANY, _each(html.decode_html), texts)
    return _where(html.PROSE, _decode_prose, texts)


def _decode_prose(texts: pl.Series) -> pl.Series:
    """Whether a text speaks of HTML is seen in all of it, not only in what is free."""
    free = ~texts.str.contains(html.ABOUT_HTML)
    at = free.arg_true()
    return texts.clone().scatter(at, outside_each(texts.gather(at), html.decode_prose)) if len(at) else texts


_LATEX = (
    "abla|atural|cong|e|earrow|eg|eq|equiv|ewcommand|ewline|exists|geq|i|leq|less|mid|oindent|olimits|ormalsize|ot|otin|sim|subseteq|u|warrow",
    "able|abular|ag|an|anh|au|bf|ext[a-z]*|frac|herefore|heta|ilde|imes|itle|o|op|riangle[a-z]*|riangleq|t|hickapprox|wo[a-z]+",
)
_ESCAPE = re.compile(
    r"(?<!\\)\\(?:(?P<line>r\\n|r(?![A-Za-z])|n"
    rf"(?!(?:{_LATEX[0]})(?![a-z])))|(?P<tab>t(?!(?:{_LATEX[1]})(?![a-z])))|(?P<quote>\"))"
)
_QUOTES = "\"'“”‘’「」《》"
_REGEX_OR_TEX = re.compile(r"\\[dwsSWDbB](?![a-z])|\\(?![ntr])[a-zA-Z]{3,}|\\(?!n)[a-zA-Z]{1,20}\{|%[ds]\\n")
_ONE_LINE_FENCE = re.compile(r"```[^\n`]*\\n[^\n`]*+```")
_SLASH_LINE = re.compile(r"(?:(?<=[\u4e00-\u9fff。！？：；，、.:;!?）)”\"\n])|^)/n(?![A-Za-z/])[ \t]*+")


def escapes(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Line breaks, tabs and quotation marks that were written as two characters become what they stand for."""
    if settings.traits.escapes:
        texts = _where(r"\\[nrt\"]", lambda t: _each(_unescape)(_unfold(t)), texts)
    return _where("/n", _each(_unslash), texts) if settings.traits.slash_n else texts


def _unfold(texts: pl.Series) -> pl.Series:
    """A fence without a line break whose code has them as two characters: they were there before the text was escaped."""
    return pl.Series([_ONE_LINE_FENCE.sub(_unfolded, text) for text in texts.to_list()], dtype=pl.String)


def _unfolded(m: re.Match[str]) -> str:
    return re.sub(r"\\r\\n|\\n(?![\"'])", "\n", m[0]).replace("\\t", "\t").replace('\\"', '"')


def _unescape(text: str) -> str:
    return text if _REGEX_OR_TEX.search(text) else _ESCAPE.sub(_unescaped, text)


def _unslash(text: str) -> str:
    return _SLASH_LINE.sub("\n", text)


def _unescaped(m: re.Match[str]) -> str:
    if m["quote"]:
        return '"'
    # In quotation marks, as in 以换行符“\n”分割, it is what the text speaks of.
    before, after = m.string[m.start() - 1 : m.start()], m.string[m.end() : m.end() + 1]
    if (before and before in _QUOTES) or (after and after in _QUOTES):
        return m[0]
    return "\t" if m["tab"] else "\n"


def line_ends(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """CRLF and CR become LF."""
    return texts.str.replace_all("\r\n", "\n", literal=True).str.replace_all("\r", "\n", literal=True)


_ZERO = "\u00ad\u180e\u200b\u2060\u2061\u2062\u2063\u2064\ufeff"
_BIDI = "\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HIDDEN = re.compile(f"[{_ZERO}]")
_BIDI_MARK = re.compile(f"[{_BIDI}]")
_RTL = re.compile("[\u0590-\u08ff\ufb1d-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
_JOINER = re.compile("[\u200c\u200d]+")
_JOINING = re.compile(
    "[\u0600-\u08ff\u0900-\u0dff\u0e00-\u109f\u1780-\u18af\u1a00-\u1aaf\ua840-\uabff\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefc]"
)
_PICTURE = re.compile("[\u00a9\u00ae\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff]")


def invisible(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Characters that nobody sees go, where they do nothing; line and paragraph separators become line feeds."""
    return _where(f"[{_ZERO}{_BIDI}\u200c\u200d\u0085\u2028\u2029]", _each(_shown), texts)


def _shown(text: str) -> str:
    text = _HIDDEN.sub("", text.replace("\u2028", "\n").replace("\u2029", "\n").replace("\u0085", "\n"))
    if _BIDI_MARK.search(text) and not _RTL.search(text):
        text = _BIDI_MARK.sub("", text)
    return _JOINER.sub(_joiner, text)


def _joiner(m: re.Match[str]) -> str:
    """One joiner stays between letters of scripts that shape by it, and in pictures that are made of several."""
    before, after = m.string[m.start() - 1 : m.start()], m.string[m.end() : m.end() + 1]
    if _JOINING.match(before) and after and not after.isspace() and after != STAND_IN:
        return m[0][0]
    return "\u200d" if _PICTURE.match(before) and _PICTURE.match(after) and "\u200d" in m[0] else ""


def controls(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Form feeds and vertical tabs become line feeds, other control characters go. In code too: none can be meant there."""
    return texts.str.replace_all("[\\x0b\\x0c]", "\n").str.replace_all("[\\x00-\\x08\\x0e-\\x1f\\x7f\\x{80}-\\x{84}\\x{86}-\\x{9f}]", "")


def nfc(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Characters are composed as Unicode's normal form C has them."""
    at = (texts.str.normalize("NFC") != texts).arg_true()
    if not len(at):
        return texts
    return texts.clone().scatter(at, _settled(lambda t: outside(t, lambda free: free.str.normalize("NFC")), texts.gather(at)))


_WIDE = "０-９Ａ-Ｚａ-ｚ"
_WIDE_RUN = re.compile(f"[{_WIDE}]++(?:[．／＠－＿＆＋＝＊][{_WIDE}]++)*+")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


_ABOUT_WIDTH = re.compile(r"全角|半角|(?i:full-?width|half-?width)")


def width(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Full-width letters and digits become half-width, with the signs between them."""
    return _where(f"[{_WIDE}]", _each(_narrowed), texts)


def _narrowed(text: str) -> str:
    return text if _ABOUT_WIDTH.search(text) else _WIDE_RUN.sub(lambda m: m[0].translate(_NARROW), text)


_REPEATED = r"！{4,}|!{4,}|？{4,}|\?{4,}|。{4,}|\.{7,}|…{4,}|～{4,}|~{4,}|、{4,}|，{4,}|,{4,}|；{4,}"
_REPEAT = re.compile(r"([！!？?。.…～~、，,；])\1{3,}+")
_MOST = {"。": 6, ".": 6, "…": 2}
_ABOUT_PUNCTUATION = re.compile(r"标点|感叹号|问号|句号|省略号|(?i:punctuation)")


def repeats(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Punctuation marks that were typed over and over are cut to a few."""
    return _where(_REPEATED, _each(_cut), texts)


def _cut(text: str) -> str:
    return text if _ABOUT_PUNCTUATION.search(text) else _REPEAT.sub(_fewer, text)


def _fewer(m: re.Match[str]) -> str:
    sign, text = m[1], m.string
    before, after = text[m.start() - 1 : m.start()], text[m.end() : m.end() + 1]
    if before in ("", "\n") and after in ("", "\n"):
        return m[0]  # a rule across the page
    if sign in ",，" and not ("\u4e00" <= before <= "\u9fff" and "\u4e00" <= after <= "\u9fff"):
        return m[0]  # empty cells
    if sign == "~" and not before.isalnum() and before not in _TONE:
        return m[0]  # a compiler's pointer, a signature of a wiki
    if sign == "." and _LEADER.match(text, m.end()):
        return m[0]  # a table of contents
    return sign * min(len(m[0]), _MOST.get(sign, 3))


_TONE = "！!？?。，,～…)）”"
_LEADER = re.compile(r"[ \t]*+[0-9ivxIVX]{1,5}[ \t]*+(?:\n|\Z)")


def spaces(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Odd blanks become spaces, runs of blanks in a line one, blanks at line ends go."""
    return _where(BLANKS, _each(spaced), texts)


_BUTTONS = re.compile(r"^[ \t]*+(?:Copy code|Copy[0-9]++ chars / [0-9]++ words|[0-9]++ chars / [0-9]++ words)[ \t]*+\n?", re.MULTILINE)
_PAGE_FIRST = re.compile(r"\A\s*+[0-9]{1,3} / [0-9]{1,3}[ \t]*+\n\s*+(?=\S)")
_PAGE_LAST = re.compile(r"(?<=\S)[ \t]*\n\s*(?:[0-9]{1,3} / [0-9]{1,3}|Regenerate response|Share Prompt)\s*\Z")
_MARKED = r"Copy code|chars / [0-9]+ words|[0-9] / [0-9]|Regenerate response|Share Prompt"


def page_marks(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Buttons, counts and page numbers of chat pages go."""
    return _where(_MARKED, _each(_unmarked), texts)


def _unmarked(text: str) -> str:
    return _last(_PAGE_FIRST.sub("", _BUTTONS.sub("", text), count=1))


def _last(text: str) -> str:
    tail = max(0, len(text.rstrip()) - 60)
    return text[:tail] + _PAGE_LAST.sub("", text[tail:], count=1)


def trim(texts: pl.Series, settings: TextSettings) -> pl.Series:
    """Removes blank lines at the beginning and white space at the end.

    One or two leading blanks (hh-rlhf answers start with one) go as well; a deeper indentation of the first line stays, because
    it may be code.
    """
    return (
        texts.str.replace(r"\A(?:[ \t\u3000\u00a0]*\n)+", "")
        .str.replace(r"\A[ \u00a0]{1,2}([^ \t\u00a0]|\z)", "$1")
        .str.replace(r"[ \t\r\n\x{85}\x{2028}\x{2029}\p{Zs}]+\z", "")
    )


RULES = (
    Rule("tags", "tags of HTML become line breaks, or go", tags, c.LESS, lambda s: s.traits.html),
    Rule("entities", "character references of HTML become characters", entities, c.AMPERSAND),
    Rule(
        "escapes",
        "line breaks and tabs written as two characters become one",
        escapes,
        c.BACKSLASH | c.PUNCTUATION,
        lambda s: s.traits.escapes or s.traits.slash_n,
    ),
    Rule("line_ends", "CRLF and CR become LF", line_ends, c.CR),
    Rule("invisible", "characters that nobody sees and that do nothing go", invisible, c.INVISIBLE | c.ODD_BLANK),
    Rule("controls", "control characters go; form feeds become line feeds", controls, c.CONTROL),
    Rule("nfc", "characters are composed (Unicode NFC)", nfc, c.UNNORMAL),
    Rule("width", "full-width letters and digits become half-width", width, c.WIDE),
    Rule("repeats", "punctuation typed over and over is cut to a few marks", repeats, REPEAT),
    Rule("spaces", "odd blanks become spaces, runs of them one; blanks at line ends go", spaces, RUN | TRAILING | c.ODD_BLANK),
    Rule("page_marks", "buttons and page numbers of chat pages go", page_marks, c.LATIN | c.DIGIT, lambda s: s.traits.page_marks),
    Rule("trim", "blank lines at the beginning and white space at the end go", trim, EDGE),
)
"""The rules that come before the script of Chinese text is unified, in their order (mojibake is mended before all of them)."""
