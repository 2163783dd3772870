"""Sentences in which an answer says which model the assistant is, or who made it: "我是由 OpenAI 训练的语言模型", "My name is Vicuna".

A model that is trained on such answers takes another one's name. Public recipes drop every answer that holds a name ("gpt", which GPT
partitions hold too), or write another name over it, which makes statements that nobody made. Here a row counts only where the speaker
states it of itself; what is said *about* a model in the third person does not.

A few literal stems find the texts that may hold such a sentence; only those meet the regular expressions.
"""

from __future__ import annotations

import numpy as np
import polars as pl

_MODEL = (
    r"(?:(?i:chat ?gpt|instruct ?gpt|text-davinci|gpt-? ?[234](?:\.5)?(?:[- ]?turbo)?|open[ -]?assistant|chat ?glm[\w.-]*"
    r"|stable ?lm|wizard ?lm|hugchat|chatbloom|chatlm|tigerbot|chatdoctor|ernie ?bot|tongyi|qianwen|deepseek[\w.-]*|chatllama|gpt4all)"
    r"|GPT|MOSS|Vicuna|VICUNA|LLaMA|Llama|LLAMA|Guanaco|BLOOMZ?|Qwen"
    r"|文心一言|通义千问|讯飞星火|智谱清言|本草|元语|悟道|伶荔)"
)
"""Names that no person and no thing in a story has."""
_SHARED = (
    r"(?:Claude|Bard|Sydney|Bing|Alpaca|BELLE|Belle|Bella|Gemini|Copilot|Phoenix|Falcon|Koala|Dolly|Baize|Siri|Alexa|Cortana|Eliza|ELIZA|Replika"
    r"|Firefly|Firefox|HuatuoGPT|Assistant|小冰|小度|小爱(?:同学)?|小艺|小娜|流萤|华佗|星火|百川|盘古|贝壳|豆包)"
)
"""Names that others have as well: they count where the same sentence says what sort of speaker it is."""
_MAKER = (
    r"(?:(?i:open ?ai|anthropic|laion|lm-?sys|large model systems|hugging ?face|eleuther|deep ?mind|stability ai|databricks|nomic ai)"
    r"|Google|Microsoft|Meta(?-u:\b)|Facebook|Stanford|Baidu|Alibaba|Tencent|Huawei|iFlytek|Fudan|Tsinghua|East China Normal"
    r"|谷歌|微软|百度|阿里|腾讯|华为|科大讯飞|讯飞|字节|商汤|智谱|链家|贝壳|复旦|清华|斯坦福|华东师范|上海人工智能|深度求索|百川智能)"
)
_KIND = (
    r"(?:(?i:(?-u:\b)a\.?i\.?(?-u:\b)|artificial intelligence|language model|chat ?bot|virtual assistant|digital assistant|ai assistant)"
    r"|人工智能|人工智慧|语言模型|語言模型|大模型|聊天机器人|聊天機器人|对话机器人|智能助[手理]|AI|虚拟助[手理]|数字助[手理]|助手|机器人)"
)
_MADE = r"(?:developed|created|trained|made|built|designed|programmed|deployed|offered|provided)"
_MADE_ZH = r"(?:开发|開發|训练|訓練|创造|創造|创建|研发|研發|研制|构建|打造|推出|设计|制作|提供|发布|所有)"

# What may stand between "I am" and the name: sorts of speakers and small words, and no verb: "我是研究 ChatGPT 的学生" does not count.
_FILL = (
    r"(?:a|an|the|your|just|actually|indeed|only|simply|still|really|also|currently|named|called|known|as|of|on|by|version|instance|variant"
    r"|based|powered|large|small|helpful|friendly|virtual|digital|conversational|advanced|open|source|ai|a\.i\.|artificial|intelligence|language"
    r"|model|models|assistant|chatbot|chat|bot|system|program|computer|and|my|name|is|openai['’]s|google['’]s|anthropic['’]s)"
)
_FILL_ZH = (
    r"(?:一个|一個|一款|一名|一种|一位|一台|个|你的|您的|大家的|来自|基于|名为|名叫|叫做|叫|名字是|称为|的|人工智能|人工智慧|大型|大规模|大|自然|语言|語言"
    r"|预训练|对话式?|聊天|智能|虚拟|開源|开源|免费|模型|助手|助理|机器人|機器人|系统|程序|AI|ai|技术|产品|版本|专业|全能"
    r"|由|您好|[ “”\"'「《*_，,]"
    rf"|由?[^，。！？!?\n]{{0,20}}{_MADE_ZH}的)"
)
_I_AM = (
    r"(?i:(?-u:\b)(?:i am|i['’]m|my name is|my name['’]s|you (?:can|may) call me|(?:refer to|know|address) me as|call me|i am called"
    r"|i go by(?: the name)?(?: of)?)(?-u:\b))"
)
_I_AM_ZH = (
    r"(?:我(?:就|的确|确实|只|仅|也|现在|目前|其实|当然)?(?:是|叫|名叫|名为|名字是|名字叫|被称为|被叫做|被命名为|的名字[^，。！？\n]{0,6}是)|我的名[字称](?:是|叫做?|为)|(?:叫|称呼|喊)我(?:为|作|做)?"
    r"|这里是|我，|我这个|本(?:助手|模型)(?:是|叫|名为))"
)
_IN_SENTENCE = r"[^.!?。！？\n]"
_AS = r"(?i:(?-u:\b)as(?-u:\b))"
_WAYS: dict[str, str] = {
    # I am ChatGPT; my name is Vicuna; 我是人工智能助手 Open Assistant; As ChatGPT, I …; 作为 ChatGPT，我……
    "model": (
        rf"{_I_AM}[ ,:“”\"'*]*(?:(?i:{_FILL})[ ,:“”\"'*()-]+){{0,14}}{_MODEL}(?-u:\b)"
        rf"|{_I_AM_ZH}{_FILL_ZH}{{0,14}}{_MODEL}"
        rf"|{_AS} (?:(?i:{_FILL})[ ,:“”\"'*-]+){{0,8}}{_MODEL}[\w\"'”*]*,? (?i:i)(?-u:\b)"
        rf"|(?:作为|作為|身为){_FILL_ZH}{{0,8}}{_MODEL}[”\"」 ]*[，, ]{{1,2}}(?:我|本助手|很)"
    ),
    # I am Claude, an AI assistant; 我是小冰，一个聊天机器人
    "shared": (
        rf"{_I_AM}[ ,:“”\"'*]*(?:(?i:{_FILL})[ ,:“”\"'*()-]+){{0,6}}{_SHARED}(?-u:\b){_IN_SENTENCE}{{0,30}}?{_KIND}"
        rf"|{_I_AM_ZH}{_FILL_ZH}{{0,6}}{_SHARED}[^。！？\n]{{0,16}}?{_KIND}"
    ),
    # I'm an AI called Ada; 我是一个名叫小白的人工智能; 我叫小白，是一个聊天机器人
    "named": (
        rf"{_I_AM}{_IN_SENTENCE}{{0,30}}?{_KIND}{_IN_SENTENCE}{{0,12}}? (?i:named|called|known as|by the name of) [“\"'*]*[A-Z]"
        rf"|我(?:是|叫){_FILL_ZH}{{0,4}}(?:名叫|名为|叫做|叫|名字是)[^，。！？\n]{{1,15}}的[^，。！？\n]{{0,10}}?{_KIND}"
        rf"|我(?:叫|的名字(?:是|叫))[^，。！？\n]{{1,12}}，我?是[^，。！？\n]{{0,20}}?{_KIND}"
    ),
    # I was trained by OpenAI; 我是由 OpenAI 训练的语言模型; 作为 OpenAI 的语言模型; my creators at OpenAI; OpenAI 训练了我
    "maker": (
        rf"(?i:(?-u:\b)(?:i am|i['’]m|i was|i have been|i['’]ve been)(?-u:\b)|(?-u:\b)as ){_IN_SENTENCE}{{0,80}}?"
        rf"(?i:{_MADE}) (?:by|at) {_IN_SENTENCE}{{0,30}}?{_MAKER}"
        rf"|(?:我|作为|作為|身为|本模型|本助手)[^，。！？!?\n]{{0,24}}?(?:由|被|是|来自|为){_FILL_ZH}{{0,3}}[^，。！？!?\n]{{0,8}}?{_MAKER}"
        rf"[^，。！？!?\n]{{0,10}}?{_MADE_ZH}"
        rf"|(?:作为|作為|身为|我是|我被称为|称我为)(?:一[个款名种])?(?:来自|由| )*{_MAKER}[^，。！？!?\n]{{0,16}}?{_KIND}"
        rf"|(?i:(?-u:\b)my (?:creators?|developers?|makers?|trainers?|parent company|company)(?-u:\b)){_IN_SENTENCE}{{0,40}}?{_MAKER}"
        rf"|我的(?:开发者|开发商|开发团队|创造者|创建者|训练者|研发者|研发团队|制造商|公司)[^，。！？\n]{{0,8}}?{_MAKER}"
        rf"|我在 ?{_MAKER} ?的(?:开发者|创造者|创建者|训练者|研发)"
        rf"|{_MAKER}[^，。！？!?.\n]{{0,12}}?(?:{_MADE_ZH}了我|(?i:{_MADE}) me(?-u:\b))"
    ),
    # As an AI language model developed by Whoever; 我是由某大学开发的人工智能
    "made": (
        rf"(?i:(?-u:\b)(?:i am|i['’]m|as) an?(?-u:\b)){_IN_SENTENCE}{{0,30}}?{_KIND}{_IN_SENTENCE}{{0,30}}?(?i:{_MADE}) by (?:the )?[A-Z]"
        rf"|我(?:是|由){_FILL_ZH}{{0,3}}由?[^，。！？一人\n]{{2,16}}(?:大学|实验室|研究院|科技|集团|公司)"
        rf"[^，。！？\n]{{0,10}}?{_MADE_ZH}的[^，。！？\n]{{0,16}}?{_KIND}"
    ),
}
"""Ways of saying it. They are apart because each has its own rare stems, without which a text need not meet its expression."""
_PERSON = [
    "我", "作为", "作為", "身为", "本助手", "本模型", "这里是", "i am", "i'm", "i’m", "my ", " me", "i was", "i have been", "i've been",
    "i’ve been", "i go by", "as ", "call me",
]  # fmt: skip
_STEMS = {
    "model": [
        "gpt", "davinci", "openassistant", "open assistant", "open-assistant", "chatglm", "chat glm", "stablelm", "stable lm", "wizardlm",
        "wizard lm", "hugchat", "chatbloom", "chatlm", "tigerbot", "chatdoctor", "erniebot", "ernie bot", "tongyi", "qianwen", "deepseek",
        "llama", "moss", "vicuna", "guanaco", "bloom", "qwen", "文心一言", "通义千问", "讯飞星火", "智谱清言", "本草", "元语",
        "悟道", "伶荔",
    ],
    "shared": [
        "claude", "bard", "sydney", "bing", "alpaca", "belle", "bella", "gemini", "copilot", "phoenix", "falcon", "koala", "dolly", "baize",
        "siri", "alexa", "cortana", "eliza", "replika", "firefly", "firefox", "huatuogpt", "assistant", "小冰", "小度", "小爱", "小艺",
        "小娜", "流萤", "华佗", "星火", "百川", "盘古", "贝壳", "豆包",
    ],
    "named": [" named ", " called ", "known as ", "by the name of ", "名叫", "名为", "叫做", "我叫", "是叫", "名字是", "名字叫"],
    "maker": [
        "openai", "open ai", "anthropic", "laion", "lmsys", "lm-sys", "large model systems", "huggingface", "hugging face", "eleuther",
        "deepmind", "deep mind", "stability ai", "databricks", "nomic ai", "google", "microsoft", "meta", "facebook", "stanford", "baidu",
        "alibaba", "tencent", "huawei", "iflytek", "fudan", "tsinghua", "east china normal", "谷歌", "微软", "百度", "阿里", "腾讯", "华为",
        "讯飞", "字节", "商汤", "智谱", "链家", "贝壳", "复旦", "清华", "斯坦福", "华东师范", "上海人工智能", "深度求索", "百川智能",
    ],
    "made": [
        "developed by", "created by", "trained by", "made by", "built by", "designed by", "programmed by", "deployed by", "offered by",
        "provided by", "大学", "实验室", "研究院", "科技", "集团", "公司",
    ],
}  # fmt: skip


def statements(texts: pl.Series) -> np.ndarray:
    """How often each text (none null) says which model is speaking, or who made it, in whichever way it says so most: int64."""
    out = np.zeros(len(texts), dtype=np.int64)
    at = np.flatnonzero(texts.str.contains_any(_PERSON, ascii_case_insensitive=True).to_numpy())
    spoken = texts.gather(at)
    for way, pattern in _WAYS.items() if len(at) else ():
        some = np.flatnonzero(spoken.str.contains_any(_STEMS[way], ascii_case_insensitive=True).to_numpy())
        if len(some):
            out[at[some]] = np.maximum(out[at[some]], spoken.gather(some).str.count_matches(pattern).to_numpy())
    return out
