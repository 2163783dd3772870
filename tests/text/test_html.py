"""HTML of chat pages → Markdown-like text: what it looks like, that nothing else is touched, and that hostile input stays cheap."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.text.html import looks_like_html, to_text
from corpus.text.markup import decode

CODE_BLOCK = (
    '<pre><div class="bg-black rounded-md"><div class="flex"><span>python</span><button class="x"><svg stroke="none">'
    '<path d="M16 4h2"></path></svg>Copy code</button></div><div class="p-4"><code class="!whitespace-pre hljs language-python">'
    '<span class="hljs-keyword">if</span> a &lt; b  &amp;&amp; x:\n\tprint(<span>"&amp;lt;"</span>)\n\n  # end \n</code></div></div></pre>'
)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<p>one\ntwo<br>three<br/>four</p>", "one\ntwo\nthree\nfour"),
        ("<p>  much \t space\n   here </p>", "much space\nhere"),
        ("<h1>A</h1><h3>B <em>c</em></h3>text", "# A\n\n### B *c*\n\ntext"),
        ("<ul><li>a</li><li>b<ol><li>c</li><li>d</li></ol></li><li>e</li></ul>after", "- a\n- b\n  1. c\n  2. d\n- e\n\nafter"),
        ('<ol start="9"><li>a</li><li>b</li></ol>', "9. a\n10. b"),
        ("<ol>\n<li>\n<p>a</p>\n<p>a2</p>\n</li>\n<li>\n<p>b</p>\n</li>\n</ol>", "1. a\n\n   a2\n\n2. b"),
        ("<p>a <strong> b </strong>c <em>d</em><b></b></p>", "a **b** c *d*"),
        ("<b><p>a</p><p>b</p></b>", "**a**\n\n**b**"),
        ("<b>a<i>b</b>c</i>", "**a*b***" + "*c*"),
        ("<p>use <code>a  &lt;b&gt;</code> or <code>`x`</code></p>", "use `a  <b>` or `` `x` ``"),
        ('<a href="https://a.b/c?x=1&amp;y=2">t</a> <a href="javascript:x()">u</a> <a href="/v">v</a>', "[t](https://a.b/c?x=1&y=2) u v"),
        ('<a href="http://a.b/(c"><b>t</b></a>', "[**t**](http://a.b/%28c)"),
        (
            "<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td>x|y</td></tr><tr><td>2</td></tr></tbody></table>end",
            "| A | B |\n| --- | --- |\n| 1 | x\\|y |\n| 2 |\n\nend",
        ),
        ("<table><tr><td><p>a</p><p>b</p></td><td><pre>c\nd</pre></td></tr></table>", "a\n\nb\n\n```\nc\nd\n```"),
        ("<table><tr><td>a<table><tr><td>b</td><td>c</td></tr></table></td></tr></table>", "a\n\n| b | c |\n| --- | --- |"),
        ("<blockquote><p>a</p><p>b</p></blockquote><p>c</p>", "> a\n>\n> b\n\nc"),
        ("<blockquote><p>a</p></blockquote><blockquote><p>b</p></blockquote>", "> a\n\n> b"),
        ("a<hr>b", "a\n\n---\n\nb"),
        ('<p>see <img src="x.png" alt="a &amp; b"></p><img src="y">', "see a & b"),
        ("a<script>if (a < b) { x('</p>') }</script><style>p { }</style>b", "ab"),
        ("<p>10<sup>5</sup>, H<sub>2</sub>O, 1<sup>st</sup></p>", "10^5, H2O, 1st"),
        ("<x-card>kept</x-card>", "kept"),
        ("<!-- gone --><p>a<!-- and this --></p>", "a"),
        ("<p>&amp;lt; &#39;q&#39; &hellip; &unknown; &copy=1</p>", "&lt; 'q' … &unknown; &copy=1"),
        ("<p>\u3000\u3000中文，\u00a0空格</p>\n\n<p>二</p>", "\u3000\u3000中文，\u00a0空格\n\n二"),
        (CODE_BLOCK, '```python\nif a < b  && x:\n\tprint("&lt;")\n\n  # end \n```'),
        ("<pre>cppCopy code\nint a;\n</pre>", "```cpp\nint a;\n```"),
        ("<pre><code>```\nx\n```</code></pre>", "````\n```\nx\n```\n````"),
        ('<pre><code class="language-c++">a</code></pre>', "```c++\na\n```"),
        ("<pre>\n  a\n b\n</pre>", "```\n  a\n b\n```"),
        ("<ol><li>Do:<pre><code>a\n\nb</code></pre></li></ol>", "1. Do:\n\n   ```\n   a\n\n   b\n   ```"),
        (
            '<p>E <span class="katex"><span class="katex-mathml"><math><mi>x</mi><annotation encoding="application/x-tex">x &lt; y^2'
            '</annotation></math></span><span class="katex-html"><span>x<span>y2</span></span></span></span>.</p>',
            "E $x < y^2$.",
        ),
    ],
)
def test_converts(html: str, text: str) -> None:
    assert to_text(html) == text


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "List<int> x; vector<std::string> y;",
        "<T> T f(T a)",
        "a <b",
        "x<y",
        "<your-api-key>",
        "<!-- never closed",
        "1 <2> 3",
        "<>",
        "<p",
    ],
)
def test_text_that_merely_contains_an_angle_bracket_survives(text: str) -> None:
    assert to_text(text) == text
    assert to_text(f"<p>{text}</p>") == text
    assert not looks_like_html(text)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            "<div><p>Answer.</p></div><div><button disabled><svg></svg></button><span>1 / 2</span><button></button></div>",
            "Answer.",
        ),
        ("<p>Half is <span>1 / 2</span></p>", "Half is 1 / 2"),
        ("<div><span>1 / 2</span></div><p>More.</p>", "1 / 2\n\nMore."),
        ("<p>Answer.Copy17 chars / 3 words</p>", "Answer."),
        ("<p>Answer.</p><div>Copy</div><div>17 chars / 3 words</div>", "Answer."),
        ("<p>Press Copy</p>", "Press Copy"),
    ],
)
def test_removes_what_belongs_to_the_page(html: str, text: str) -> None:
    assert to_text(html) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<div class="markdown prose w-full"><p>Hi</p></div>', True),
        ("<p>How do I <b>x</b>?</p>\n", True),
        ("<pre><code>x</code></pre>", True),
        ('  <div class="a">unclosed', True),
        ("<p> is the tag of a paragraph.", False),
        ("Use <b>bold</b> for this.", False),
        ("```html\n<p>x</p>\n```", False),
        ("<!DOCTYPE html>\n<html><body><p>x</p></body></html>", False),
        ("<T> is a type parameter", False),
        ("", False),
    ],
)
def test_looks_like_html(text: str, expected: bool) -> None:
    assert looks_like_html(text) is expected


@given(st.text())
def test_never_raises(text: str) -> None:
    to_text(text)
    looks_like_html(text)


TAGS = """<p> </p> <pre> </pre> <code> </code> <ul> <ol> <li> </ul> </li> <b> </b> <i> </i> <a/href='http://x'> </a> <table> <tr> <td> </td>
    </table> <hr> <blockquote> </blockquote> <h2> </h2> <br> <span> </span> <sup> <script> </script> <math> </math> <!-- --> <p/x=" " > <
    &amp; &#x110000; &#99999999999; Copy a 中 ` |"""
_PIECES = st.sampled_from([*TAGS.split(), " ", "\n", "1 / 2", "3 chars / 1 words"])


@given(st.lists(_PIECES, max_size=60).map("".join))
@settings(max_examples=300)
def test_any_markup_gives_text_without_stray_white_space(html: str) -> None:
    text = to_text(html)
    if "<" in html and text != decode(html):
        assert not text.startswith("\n")
        assert not text.endswith("\n")


@given(st.text(st.characters(exclude_characters="<&")))
def test_plain_text_is_unchanged(text: str) -> None:
    assert to_text(text) == text
    assert to_text(to_text(text)) == text


@given(st.text(st.characters(exclude_characters="\r", exclude_categories=("Cs",)), min_size=1))
def test_code_is_verbatim(code: str) -> None:
    escaped = code.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = to_text(f"<pre><code>{escaped}</code></pre>")
    if code.strip():
        assert "\n" + code.removesuffix("\n") + "\n```" in text


HOSTILE = """<b> <div> <ul><li>a <ol><li> <li> <blockquote>a <table><tr><td>a <a/href=" <a/=">" <!-- <!a <pre> <code> <math>
    <math><annotation> <svg> <h1>
    <sup> <p/ &# <x>a </ul><ul> <button> <b>a<p> a<br> <span>1</span> < ="' <span/class=katex-html> <script> <td>"""


@pytest.mark.parametrize("html", HOSTILE.split())
@pytest.mark.parametrize("end", ["", ">", "</x></math></p>"])
def test_hostile_input_takes_linear_time(html: str, end: str) -> None:
    began = time.process_time()
    to_text("<p>" + html * 20_000 + end)
    assert time.process_time() - began < 5  # some 0.1 s; a step that is quadratic takes much longer


@pytest.mark.parametrize("html", ["<div>", "<ul><li>", "<blockquote>", "<b>", "<table><tr><td>"])
def test_deep_nesting_needs_no_recursion(html: str) -> None:
    assert to_text(html * 100_000 + "x").endswith(("x", "x**", "x |\n| --- |"))
