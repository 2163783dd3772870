"""Programs, JSON and pages that stand in a text without fences, known by how their lines begin and end.

Nothing is parsed: a line is code when it begins as lines of programs do (`import x`, `def f(`, `x = 1`, `"key": …`), or ends with a
semicolon or an opening brace and holds some sign of programs. The patterns are wide on purpose, because what is taken for code is only
left alone.
"""

from __future__ import annotations

import re

SQL = "SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|FROM|WHERE|GROUP BY|ORDER BY|JOIN|LEFT JOIN|INNER JOIN|VALUES"
PROGRAMS = "sudo|pip3?|npm|yarn|git|apt|apt-get|brew|conda|docker|cd|mkdir|curl|wget"

_MARKUP_LINE = r"<[!?/]?[A-Za-z][^\n]*+"
_CODE = (
    # How lines of programs begin.
    r"import[ \t]++(?:static[ \t]++)?(?:[\w.*]++(?:[ \t]*+(?:[;,]|as[ \t]|from[ \t])|[ \t\r]*+$)|[{*\"'(])",
    r"from[ \t]++[\w.]++[ \t]++import\b",
    r"(?:async[ \t]++)?def[ \t]++\w++[ \t]*+\(",
    r"class[ \t]++[A-Za-z_]\w*+[ \t]*+[:({]",
    r"#[ \t]*+(?:include|define|ifdef|ifndef|if|endif|pragma|undef)\b",
    r"#!/",
    r"(?:export[ \t]++|default[ \t]++)*+(?:var|let|const)[ \t]++[^\n=]{1,80}+=",
    r"(?:export[ \t]++|default[ \t]++|async[ \t]++)*+function\b[ \t*]*+\w*+[ \t]*+\(",
    r"(?:\}[ \t]*+)?(?:else[ \t]++)?(?:if|for|while|switch|catch|foreach)[ \t]*+\(",
    r"(?:else|try|finally)[ \t]*+[:{]",
    r"for[ \t](?>[^\n]*?[ \t]in[ \t])[^\n]*+(?<=:)",
    r"except\b[^\n]*+(?<=:)",
    r"with[ \t](?>[^\n]*?[ \t]as[ \t])[^\n]*+(?<=:)",
    r"(?:if|elif|while)[ \t](?=[^\n]*[=<>()\[\].])[^\n]*+(?<=:)[ \t]*+$",
    r"return\b[^\n]*+(?<=[;)\]}])",
    r"(?:print|printf|echo|puts|println!?)[ \t]*+[(\"'$]",
    r"(?:console|System|std|math|np|pd|plt|self|this|document|window)(?:\.|::)\w",
    r"using[ \t]++(?:namespace|System)\b",
    r"(?:std::)?(?:cout|cin)[ \t]*+(?:<<|>>)",
    rf"(?:{SQL})[ \t]++[A-Za-z0-9_*`(\"'@#]",
    r">>>[ \t]",
    r"\$[ \t]++[a-z]",
    rf"(?:{PROGRAMS})[ \t]++[a-z~./-]",
    r"//|/\*|\*/",
    r"@[A-Za-z_][\w.]*+(?:\([^\n]*)?+[ \t\r]*+$",
    r"[\]})]++[;,)]*+[ \t\r]*+$",
    r"[{\[(][ \t\r]*+$",
    r"\{[^\n]*+(?<=[}\],])[ \t\r]*+$",
    r"\[[ \t]*+[\"'{\[]",
    r"\[[-\d., \t]++\]",
    r"[\"'][^\"'\n]*+[\"'][ \t]*+:[ \t]*+[\"'\[{\w-]",
    r"(?a:[A-Za-z_$][\w.$\[\]'\"]*+[ \t]*+(?:[-+*/%&|^:]?=|<-)[ \t]*+[^=\s>])",
    r"(?a:[A-Za-z_$][\w.$]*+\([^\n]*\)[ \t]*+[;:,{]?+[ \t\r]*+$)",
    r"(?a:[A-Za-z-]++[ \t]*+:[ \t]*+[^;\n]{1,80}+;[ \t\r]*+$)",
)
_CODE_LINE, _CODE_OR_MARKUP_LINE = (
    re.compile(rf"^[ \t>]*+(?:{'|'.join(starts)})[^\n]*+$", re.MULTILINE) for starts in (_CODE, (*_CODE, _MARKUP_LINE))
)
_CODE_END = re.compile(r"[;{][ \t\r]*+$", re.MULTILINE)
_SAID_BEFORE = re.compile(r"[^=(){}\[\]<>\"'`\n]*[。！？]")
"""Chinese sentences before code that ends the same line (`……第一条命令是 console.log(1);`). They are not part of it."""
_CODE_SIGN = re.compile(r"[=(){}\[\]<>\"']")
_GAP = re.compile(r"\n(?:[^\n]*+\n){0,2}")
_FOLLOWING = re.compile(r"\n(?:[ \t\r]*+\n)*+(?: {2}|\t)[ \t]*+[^\s][^\n]*+")


def code_lines(text: str, markup: bool) -> list[tuple[int, int]]:
    """Lines of code without fences, with one or two lines between them, and the indented lines that follow them.

    Args:
        text: any text.
        markup: whether a line that begins with a tag is code.

    Returns:
        (start, end) of each run of such lines, ascending and apart from each other. Takes time proportional to the length of the text.
    """
    pattern = _CODE_OR_MARKUP_LINE if markup else _CODE_LINE
    lines = [m.span() for m in pattern.finditer(text)]
    for m in _CODE_END.finditer(text) if ";" in text or "{" in text else ():
        start = text.rfind("\n", 0, m.start()) + 1
        said = _SAID_BEFORE.match(text, start, m.end())
        start = said.end() if said is not None else start
        if _CODE_SIGN.search(text, start, m.end()):
            lines.append((start, m.end()))
    lines.sort()
    out: list[tuple[int, int]] = []
    for start, end in lines:
        if out and end <= out[-1][1]:
            continue
        while (following := _FOLLOWING.match(text, end)) is not None:
            end = following.end()
        if out and (start <= out[-1][1] or _GAP.fullmatch(text, out[-1][1], start)):
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
