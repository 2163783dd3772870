"""Names of languages in English and Chinese, for templates that write the name before a foreign word (`{{lang-de|Wort}}`)."""

from __future__ import annotations

LANGUAGES: dict[str, tuple[str, str]] = {
    "af": ("Afrikaans", "南非语"), "ain": ("Ainu", "阿伊努语"), "am": ("Amharic", "阿姆哈拉语"), "ang": ("Old English", "古英语"), "ar": ("Arabic", "阿拉伯语"),
    "az": ("Azerbaijani", "阿塞拜疆语"), "be": ("Belarusian", "白俄罗斯语"), "bg": ("Bulgarian", "保加利亚语"), "bn": ("Bengali", "孟加拉语"),
    "bo": ("Tibetan", "藏语"), "br": ("Breton", "布列塔尼语"), "bs": ("Bosnian", "波斯尼亚语"), "ca": ("Catalan", "加泰罗尼亚语"), "cs": ("Czech", "捷克语"),
    "cy": ("Welsh", "威尔士语"), "da": ("Danish", "丹麦语"), "de": ("German", "德语"), "el": ("Greek", "希腊语"), "en": ("English", "英语"),
    "eo": ("Esperanto", "世界语"), "es": ("Spanish", "西班牙语"), "et": ("Estonian", "爱沙尼亚语"), "eu": ("Basque", "巴斯克语"), "fa": ("Persian", "波斯语"),
    "fi": ("Finnish", "芬兰语"), "fr": ("French", "法语"), "ga": ("Irish", "爱尔兰语"), "gd": ("Scottish Gaelic", "苏格兰盖尔语"), "gl": ("Galician", "加利西亚语"),
    "got": ("Gothic", "哥特语"), "grc": ("Ancient Greek", "古希腊语"), "haw": ("Hawaiian", "夏威夷语"), "he": ("Hebrew", "希伯来语"), "hi": ("Hindi", "印地语"),
    "hr": ("Croatian", "克罗地亚语"), "hu": ("Hungarian", "匈牙利语"), "hy": ("Armenian", "亚美尼亚语"), "id": ("Indonesian", "印尼语"), "is": ("Icelandic", "冰岛语"),
    "it": ("Italian", "意大利语"), "ja": ("Japanese", "日语"), "ka": ("Georgian", "格鲁吉亚语"), "kk": ("Kazakh", "哈萨克语"), "km": ("Khmer", "高棉语"),
    "ko": ("Korean", "韩语"), "ku": ("Kurdish", "库尔德语"), "ky": ("Kyrgyz", "吉尔吉斯语"), "la": ("Latin", "拉丁语"), "lb": ("Luxembourgish", "卢森堡语"),
    "lo": ("Lao", "老挝语"), "lt": ("Lithuanian", "立陶宛语"), "lv": ("Latvian", "拉脱维亚语"), "mi": ("Māori", "毛利语"), "mk": ("Macedonian", "马其顿语"),
    "mn": ("Mongolian", "蒙古语"), "mnc": ("Manchu", "满语"), "ms": ("Malay", "马来语"), "mt": ("Maltese", "马耳他语"), "my": ("Burmese", "缅甸语"),
    "nan": ("Hokkien", "闽南语"), "ne": ("Nepali", "尼泊尔语"), "nl": ("Dutch", "荷兰语"), "nn": ("Norwegian Nynorsk", "新挪威语"), "no": ("Norwegian", "挪威语"),
    "oc": ("Occitan", "奥克语"), "pa": ("Punjabi", "旁遮普语"), "pl": ("Polish", "波兰语"), "pt": ("Portuguese", "葡萄牙语"), "ro": ("Romanian", "罗马尼亚语"),
    "ru": ("Russian", "俄语"), "sa": ("Sanskrit", "梵语"), "sk": ("Slovak", "斯洛伐克语"), "sl": ("Slovene", "斯洛文尼亚语"), "sq": ("Albanian", "阿尔巴尼亚语"),
    "sr": ("Serbian", "塞尔维亚语"), "sv": ("Swedish", "瑞典语"), "sw": ("Swahili", "斯瓦希里语"), "ta": ("Tamil", "泰米尔语"), "te": ("Telugu", "泰卢固语"),
    "th": ("Thai", "泰语"), "tl": ("Tagalog", "他加禄语"), "tr": ("Turkish", "土耳其语"), "tt": ("Tatar", "鞑靼语"), "ug": ("Uyghur", "维吾尔语"),
    "uk": ("Ukrainian", "乌克兰语"), "ur": ("Urdu", "乌尔都语"), "uz": ("Uzbek", "乌兹别克语"), "vi": ("Vietnamese", "越南语"), "yi": ("Yiddish", "意第绪语"),
    "yue": ("Cantonese", "粤语"), "zh": ("Chinese", "中文"),
}  # fmt: skip
