"""Phrases by which an answer speaks of itself as a model, or declines: what makes instruction data sound alike.

Both are counted, not judged: an answer to a harmful question should decline, and what a recipe does with the counts is its own decision.
A search for a few literal stems finds the texts that may hold a phrase; only those meet the regular expressions.
"""

from __future__ import annotations

import numpy as np
import polars as pl

# (?-u:) for word boundaries: with those of Unicode the regex engine leaves its fast path at every character that is not ASCII.
_SELF = (
    r"(?i:(?-u:\b)as an? (?:large |helpful |virtual |digital )?(?:ai|a\.i\.|artificial intelligence|language model|chatbot)(?-u:\b)"
    r"(?: (?:language model|assistant|model|system|chatbot|program|developed by|created by|trained by))?"
    r"|(?-u:\b)i(?:'m|’m| am)(?: just| only| simply| merely)? an? (?:large |helpful |virtual )?"
    r"(?:ai|artificial intelligence|language model|chatbot|computer program)(?-u:\b)"
    r"(?: (?:language model|assistant|model|system|program))?)"
    r"|(?:作为|作為|我是|我只是|我仅是|我僅是|我也是|我不过是)(?:一?[个個名款种種位台] ?"
    r"|由[^，。！？\n]{1,20}(?:开发|開發|训练|訓練|创造|研发)的)?"
    r" ?(?:大型|大|基于|虚拟|虛擬|智能|您的|你的|专业的|一個|通用){0,3}"
    r"(?:人工智能|人工智慧|AI|ＡＩ|ai|Ai|语言模型|語言模型|语言大模型|聊天机器人|聊天機器人|智能助手|智能机器人|虚拟助手|机器人助手)"
    r"(?: ?(?:语言模型|語言模型|模型|助手|助理|程序|程式|机器人|機器人|系统|语言|語言|聊天))*"
)
_CANNOT = r"(?:cannot|can not|can['’]t|won['’]t|will not|am unable to|['’]m unable to|am not able to|['’]m not able to)"
_DO = (
    r"(?:help|assist|provide|fulfill?|comply|complete|answer|respond|generate|create|write|offer|give|do that|support|engage|access|browse"
    r"|process|discuss|share|suggest|recommend|continue|perform|execute|produce|understand|condone|promote|encourage|participate)"
)
_REFUSAL = (
    r"(?i:(?:(?-u:\b)sorry(?-u:\b)|(?-u:\b)apologi[sz]e(?-u:\b)|(?-u:\b)apologies(?-u:\b))[^.!?\n]{0,40}"
    r"(?-u:\b)i(?: |['’])[^.!?\n]{0,12}?(?:cannot|can not|can['’]t"
    r"|won['’]t|will not|am unable|m unable|am not able|m not able|am not allowed|don['’]t have|do not have|am not sure|m not sure)"
    rf"|(?-u:\b)i {_CANNOT} (?:\w+ ){{0,2}}?{_DO}(?-u:\b)|(?-u:\b)i{_CANNOT} (?:\w+ ){{0,2}}?{_DO}(?-u:\b)"
    r"|(?-u:\b)i(?:['’]m| am) not (?:comfortable|allowed|programmed|designed|permitted)(?-u:\b))"
    r"|(?:抱歉|对不起|對不起|不好意思|遗憾)[^。！？\n]{0,16}?(?:我|本人|作为|作為)?[^。！？\n]{0,10}?"
    r"(?:无法|無法|不能|没有办法|沒有辦法|没办法|不可以|不便|不会提供|没有权限|没有能力)"
    r"|我(?:们)?(?:无法|無法|不能|没办法|没有办法|沒有辦法|不便)(?:为您|为你|為您|為你|给您|给你|向您|向你|直接|继续)?"
    r"(?:提供|回答|回复|完成|协助|協助|帮助|幫助|满足|参与|支持|生成|执行|处理|透露|给出|进行|创建|访问|浏览|查看|写|推荐)"
    r"|我(?:必须|不得不|要|会)?拒绝(?:回答|提供|参与|执行|您|你|这)"
)


_STEMS = [
    "an ai", "a.i.", "artificial intelligence", "language model", "chatbot", "computer program", "人工智", "语言模型", "語言模型",
    "语言大模型", "聊天机器", "聊天機器", "智能助手", "智能机器", "虚拟助手", "机器人助手", "ＡＩ",
    *(f"{before}AI" for before in "为為是我个個名款种種位台的型大于拟擬能用您你 "),
    "sorry", "apolog", "cannot", "can not", "can't", "can’t", "will not", "unable to", "not able to", "won't", "won’t",
    "not comfortable", "not allowed",
    "not programmed", "not designed", "not permitted", "抱歉", "对不起", "對不起", "不好意思", "遗憾", "无法", "無法",
    "我不能", "我们不能", "没有办法", "沒有辦法",
    "没办法", "我不便", "我们不便", "拒绝",
]  # fmt: skip
_PATTERNS = {"self_reference": _SELF, "refusals": _REFUSAL}


def counts(texts: pl.Series) -> dict[str, np.ndarray]:
    """How often phrases of each sort occur in every text (none null): int64.

    Returns:
        `self_reference`, where an AI or a language model is said to be speaking, and `refusals`, where somebody declines in the first
        person. Regret alone (`I'm sorry to hear that`) is none.
    """
    out = {name: np.zeros(len(texts), dtype=np.int64) for name in _PATTERNS}
    at = np.flatnonzero(texts.str.contains_any(_STEMS, ascii_case_insensitive=True).to_numpy())
    for name, pattern in _PATTERNS.items() if len(at) else ():
        out[name][at] = texts.gather(at).str.count_matches(pattern).to_numpy()
    return out
