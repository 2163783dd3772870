"""Examples of what the cleaning rules do, for docs/text.md: `tests.test_docs` runs each of them and writes what comes out.

Every text rule has one in Chinese and one in English, and so has every turn rule. `WHEN` and `WHY` say of every rule what no code can say.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from corpus.schema import MESSAGES
from corpus.text.conversations import mend
from corpus.text.registry import TEXT_RULES, TURN_RULES
from corpus.text.rules import clean
from corpus.text.settings import PERSONAL, TextSettings, Traits

WHEN = {
    "mojibake": "always",
    "tags": "trait `html`",
    "entities": "always in prose; trait `html`: all of them; trait `escaped`: in code too",
    "escapes": "trait `escapes` (`\\n`, `\\t`), trait `slash_n` (`/n`)",
    "line_ends": "always",
    "invisible": "always",
    "controls": "always",
    "nfc": "always",
    "width": "always",
    "repeats": "always",
    "spaces": "always",
    "page_marks": "trait `page_marks`",
    "trim": "always",
    "script": "`clean.script` is `simplified` or `traditional`",
    "mask": "`clean.mask` names the kind",
    "placeholders": "always for what says “no input”; trait `placeholders` for bare words",
    "roles": "always for special tokens; trait `speakers` for words",
    "alternation": "always",
}
WHY = {
    "mojibake": "somebody read UTF-8 as another encoding; a model would learn the wrong letters",
    "tags": "they are for a browser; elsewhere they may be what the text is about",
    "entities": "a reader would see the character; a text that speaks of HTML keeps them",
    "escapes": "the publisher escaped line breaks twice; elsewhere `\\n` may be code",
    "line_ends": "one line end, so that equal texts are equal",
    "invisible": "they split words for a tokenizer, and nobody sees why",
    "controls": "none can be meant, in code neither",
    "nfc": "one writing of one character",
    "width": "`１２３` and `123` are one number; Chinese punctuation stays",
    "repeats": "twenty exclamation marks say no more than three",
    "spaces": "odd blanks come from web pages and word processors; indentation stays",
    "page_marks": "buttons of a chat page are nobody's words",
    "trim": "hh-rlhf begins every answer with a blank",
    "script": "one script, if the recipe wants one; Japanese stays",
    "mask": "personal data are no business of a model",
    "placeholders": "a model would learn that questions end in `No input`",
    "roles": "what is left of a template could make a model speak for others",
    "alternation": "templates need turns that alternate and end with an answer",
}


@dataclass(frozen=True, slots=True)
class Example:
    """A text for a text rule, or turns (role, content) for a turn rule, with what the rule is told."""

    rule: str
    before: str | tuple[tuple[str, str], ...]
    settings: TextSettings = field(default_factory=TextSettings)

    def after(self) -> str | tuple[tuple[str, str], ...]:
        """What the rule alone makes of it."""
        if isinstance(self.before, str):
            rules = [rule for rule in TEXT_RULES if rule.name == self.rule]
            return str(clean(pl.Series([self.before]), rules, self.settings)[0][0])
        messages = pa.array([[{"role": role, "content": content} for role, content in self.before]], MESSAGES)
        mended, _ = mend(messages, pl.Series(["dialogue"]), [rule for rule in TURN_RULES if rule.name == self.rule], self.settings)
        return tuple((turn["role"], turn["content"]) for turn in mended.to_pylist()[0])


_HTML = TextSettings(Traits(html=True))
_ESCAPED = TextSettings(Traits(escaped=True))
_ESCAPES = TextSettings(Traits(escapes=True))
_SLASH_N = TextSettings(Traits(slash_n=True))
_PAGE = TextSettings(Traits(page_marks=True))
_WORDS = TextSettings(Traits(placeholders=("无", "N/A")))
_SPEAKERS = TextSettings(Traits(speakers=(("Human:", "user"), ("Assistant:", "assistant"), ("用户:", "user"))))
_MASK = TextSettings(mask=PERSONAL)

EXAMPLES = (
    Example("mojibake", "雨后的空气里有泥土的味道。".encode().decode("mac_roman")),
    Example("mojibake", "I don’t know what “fine” means here.".encode().decode("cp1252", errors="replace").replace("\ufffd", "\x9d")),
    Example("tags", "步骤如下：<br>先烧水，<b>再</b>放面。", _HTML),
    Example("tags", "<p>Boil the water.</p><p>Then add salt.</p>", _HTML),
    Example("entities", "他说&ldquo;明天见&rdquo;&hellip;&hellip;", _HTML),
    Example("entities", "Tom &amp; Anna&#39;s bakery"),
    Example("entities", "if (a &lt; b) return &quot;less&quot;;", _ESCAPED),
    Example("escapes", "清单：\\n苹果\\n梨", _ESCAPES),
    Example("escapes", "Two lines:\\nfirst\\nsecond", _ESCAPES),
    Example("escapes", "先快走两周。/n再跑一分钟。", _SLASH_N),
    Example("line_ends", "第一行\r\n第二行"),
    Example("line_ends", "first\rsecond"),
    Example("invisible", "零宽\u200b字符\ufeff不见了"),
    Example("invisible", "soft\u00adhyphen and \u200bmore"),
    Example("controls", "响铃\x07在这里"),
    Example("controls", "page one\x0cpage two"),
    Example("nfc", "Cafe\u0301 在转角"),
    Example("nfc", "nai\u0308ve"),
    Example("width", "会议在２０２３年１１月５日，Ａ座３０１室。"),
    Example("width", "Order ＡＢ１２３４, ２０２３／１１／０５"),
    Example("repeats", "快来！！！！！！！！！！先到先得。。。。。。。。"),
    Example("repeats", "Come early!!!!!!!! They go fast.........."),
    Example("spaces", "尤克里里\u00a0\u00a0只有四根弦。 \n口琴也不错。"),
    Example("spaces", "a knife would  squash\u00a0it."),
    Example("page_marks", "用 wc 命令：\nCopy code\nwc -l notes.txt\nRegenerate response", _PAGE),
    Example("page_marks", "Sort them by size.\n1 / 2", _PAGE),
    Example("trim", "\n\n你好。\n"),
    Example("trim", " Hello there.  "),
    Example("script", "請介紹一種臺灣小吃。", TextSettings(script="simplified")),
    Example("script", "The word 電腦 means “computer”.", TextSettings(script="simplified")),
    Example("script", "皇后走在后面，头发很长。", TextSettings(script="traditional")),
    Example("mask", "请拨打13800138000，或发邮件到 lin@hehua-library.cn。", _MASK),
    Example("mask", "Write to okafor@lantern-bakery.co.uk; the camera is at 81.2.69.142.", _MASK),
    Example("placeholders", (("user", "说出三种谷物。\n无输入"), ("assistant", "水稻、小麦、玉米。"))),
    Example("placeholders", (("user", "说出三种谷物。\n无"), ("assistant", "水稻、小麦、玉米。")), _WORDS),
    Example("placeholders", (("user", "Name a berry.\nNo input required."), ("assistant", "The banana."))),
    Example("roles", (("user", "戒酒后能恢复吗？"), ("assistant", "多能恢复。\n用户: 要多久？")), _SPEAKERS),
    Example("roles", (("user", "How long?"), ("assistant", "Human: Seven minutes.<|im_end|>")), _SPEAKERS),
    Example("alternation", (("user", "你好"), ("user", "推荐一本书"), ("assistant", "《边城》。"), ("user", "谢谢"))),
    Example("alternation", (("assistant", "go on"), ("user", "Name a tea."), ("assistant", "Oolong."), ("user", ""))),
)

_EVERYTHING = TextSettings(
    Traits(html=True, escapes=True, slash_n=True, page_marks=True), script="simplified", mask=PERSONAL
)  # every rule is on
KEPT = (
    ("code in a fence", '```python\nprint("a\\n",  x)  # 電腦\n```', _EVERYTHING),
    ("code in a line", "用 `sed 's/&lt;/</'` 替换。", _EVERYTHING),
    ("code without a fence", "    for i in range(3):\n        print(i)", _EVERYTHING),
    ("formulas", "解得 $x_1 = \\nu  + 1$。", _EVERYTHING),
    ("addresses", "见 https://example.org/a?x=1&amp;y=2，不改。", _EVERYTHING),
    ("tables", "| 名称  | 價格 |\n| --- | --- |\n| 茶   | 12   |", TextSettings()),
    ("Markdown's line break", "first  \nsecond", _EVERYTHING),
    ("the paragraph's indent", "\u3000\u3000从前有座山。", _EVERYTHING),
    ("two blanks after a sentence", "It ends here.  Another one begins.", _EVERYTHING),
    ("Chinese punctuation", "（一）“你好”，他说：……", _EVERYTHING),
    ("Japanese", "この店の蕎麦は、また来ます。「國」は旧字体です。", _EVERYTHING),
    ("emoji joined by U+200D", "👩\u200d🌾 在田里", _EVERYTHING),
    ("what the text speaks of", "&lt;br&gt; is the HTML entity form of a tag.", TextSettings()),
)
"""What it is, the text, and the settings under which all rules together leave it as it is."""
