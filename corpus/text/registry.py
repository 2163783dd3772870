"""All rules, in the order in which they apply: text rules first, then turn rules.

Repairs of bytes and of markup come before everything that reads characters; what the reader would see is then brought to one writing;
script and masks come last, over text that is otherwise done. Turn rules see finished texts.
"""

from __future__ import annotations

from corpus.text import conversion, mojibake, normal, personal
from corpus.text.conversations import TURN_RULES

TEXT_RULES = (*mojibake.RULES, *normal.RULES, *conversion.RULES, *personal.RULES)

__all__ = ["TEXT_RULES", "TURN_RULES"]
