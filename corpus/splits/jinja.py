"""A template as a Jinja chat template, for `tokenizer.chat_template`.

`tokenizer.apply_chat_template` and every server that reads a tokenizer then write what training read: the same text as
:func:`corpus.splits.templates.render`, with `add_generation_prompt` the same as :func:`corpus.splits.templates.opened`, the guard included.
transformers runs such templates in a sandbox (`ImmutableSandboxedEnvironment`, `trim_blocks`, `lstrip_blocks`, the extension
`loopcontrols`) without regular expressions, so each kind of mark is written out with the methods of strings.
"""

from __future__ import annotations

import json
import string

from corpus.schema import ROLES
from corpus.splits.guards import GAP, Mark, Where
from corpus.splits.templates import Template


def jinja(template: Template) -> str:
    """The Jinja template that renders as `template` does.

    Args:
        template: the template.

    Returns:
        A template of `messages` (role, content) and `add_generation_prompt`. Every line of it is one block with `-` on both sides, so
        that no white space but that of strings reaches the text.
    """
    lines = [f"set before = {_roles(template.before)}", f"set after = {_roles(template.after)}"]
    if template.default_system:
        lines += [
            "if messages | selectattr('role', 'equalto', 'system') | list | length == 0",
            _say(_quoted(template.preamble)),
            "endif",
        ]
    lines += ["for message in messages", "set text = message['content']"]
    name = "text"
    for number, mark in enumerate(template.marks):
        guarded = f"text_{number}"
        lines += [f"set {guarded} = {name}", f"if {_suspects(mark, name)}", f"set {guarded}", *_broken(mark, name), "endset", "endif"]
        name = guarded
    lines += [_say(f"before.get(message['role'], '') ~ {name} ~ after.get(message['role'], '')"), "endfor"]
    if template.opens:
        lines += ["if add_generation_prompt", _say(_quoted(template.opens)), "endif"]
    return "\n".join(line if line.startswith("{") else f"{{%- {line} -%}}" for line in lines)


def _suspects(mark: Mark, name: str) -> str:
    """A condition that holds where the mark may be in the text called `name`."""
    found = f"{_quoted(mark.text)} in {name}"
    return found if mark.where is not Where.GAP else f"{found} or {name}.lstrip(' ').startswith('\\n')"


def _broken(mark: Mark, name: str) -> list[str]:
    """Lines that write the text called `name` without the mark."""
    text, instead = _quoted(mark.text), _quoted(mark.instead)
    match mark.where:
        case Where.ANYWHERE:
            return [_say(f"{name}.replace({text}, {instead})")]
        case Where.LINE:
            return [
                f"for line in {name}.split('\\n')",
                _say("'' if loop.first else '\\n'"),
                _say(f"line.replace({text}, {instead}, 1) if line.lstrip(' \\t').startswith({text}) else line"),
                "endfor",
            ]
        case Where.WORD:
            word = _quoted(string.ascii_letters + string.digits + "_")
            return [
                f"for part in {name}.split({text})",
                "if not loop.first",
                _say(f"{text} if loop.previtem and loop.previtem[-1] in {word} else {instead}"),
                "endif",
                _say("part"),
                "endfor",
            ]
        case Where.GAP:
            return _without_gaps(name)


def _without_gaps(name: str) -> list[str]:
    """Writes the text without gaps. Parts between gaps that are white space belong to a chain, and go with it."""
    return [
        # Up to the last empty line before the first character that is none: `rfind` is -1 where there is no empty line.
        f"set lead = {name}[:({name} | length) - ({name}.lstrip(' \\n') | length)]",
        f"set rest = {name}[lead.rfind('\\n\\n') + 2:] if '\\n\\n' in lead else {name}",
        f"for part in rest.split({_quoted(GAP)})",
        "if loop.first",
        "set body = part",
        "else",
        "set lead = part[:(part | length) - (part.lstrip(' \\n') | length)]",
        "set body = part[('\\n\\n' ~ lead).rfind('\\n\\n'):]",
        "endif",
        "if loop.last",
        _say("('' if loop.first else '\\n\\n') ~ body"),
        "elif loop.first or part.strip(' \\n')",
        "set kept = body.rstrip(' \\n')",
        "set tail = body[kept | length:]",
        _say("('' if loop.first else '\\n\\n') ~ kept ~ tail.split(' ')[0]"),
        "endif",
        "endfor",
    ]


def _roles(texts: dict[str, str]) -> str:
    return "{" + ", ".join(f"{_quoted(role)}: {_quoted(texts[role])}" for role in ROLES) + "}"


def _quoted(text: str) -> str:
    """A Jinja string. Jinja reads the same escapes as Python and JSON do in all that templates are made of."""
    return json.dumps(text, ensure_ascii=False)


def _say(expression: str) -> str:
    return f"{{{{- {expression} -}}}}"
