"""What a page needs to know of its wiki: its language, and what its namespaces are called.

A dump names its namespaces in `<siteinfo>`, but not their aliases, and a page may use the English names in any wiki. So the English and
Chinese names with their aliases are always known, and the names of files and categories in some more languages for pages without a
`<siteinfo>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

MEDIA, SPECIAL, FILE, TEMPLATE, CATEGORY = -2, -1, 6, 10, 14

_NAMES: dict[int, str] = {
    -2: "Media|媒体|媒體|媒体文件|媒體檔案",
    -1: "Special|特殊",
    1: "Talk|讨论|討論|对话|對話",
    2: "User|U|用户|用戶|使用者",
    3: "User talk|UT|用户讨论|用戶討論|用户对话|用戶對話|使用者討論",
    4: "Wikipedia|Project|WP|PJ|维基百科|維基百科|计划|計劃|专案|專案",
    5: "Wikipedia talk|Project talk|WT|维基百科讨论|維基百科討論",
    6: "File|Image|文件|档案|檔案|图像|圖像|图片|圖片|影像|Datei|Bild|Fichier|Archivo|Imagen|Ficheiro|Файл|ファイル|画像|파일",
    7: "File talk|Image talk|文件讨论|檔案討論|文件对话|檔案對話|图像讨论|圖像討論",
    8: "MediaWiki|界面|介面",
    9: "MediaWiki talk|MediaWiki讨论|MediaWiki討論",
    10: "Template|T|模板|样板|樣板",
    11: "Template talk|模板讨论|模板討論|样板讨论|樣板討論",
    12: "Help|H|帮助|幫助|使用说明|使用說明",
    13: "Help talk|帮助讨论|幫助討論",
    14: "Category|CAT|分类|分類|Kategorie|Catégorie|Categoría|Categoria|Категория|Категорія|カテゴリ|분류|Kategoria|Kategori",
    15: "Category talk|分类讨论|分類討論",
    100: "Portal|主题|主題",
    101: "Portal talk|主题讨论|主題討論",
    118: "Draft|草稿",
    119: "Draft talk|草稿讨论|草稿討論",
    828: "Module|模块|模組",
    829: "Module talk|模块讨论|模組討論",
}  # fmt: skip
"""English and Chinese names and aliases by number, then some languages' names for files and categories."""


_CATEGORY = re.compile(r"[kc]at[eé]gor\w{1,8}|катег[оó]р\w{1,4}")
"""The word of most European languages, for pages without a `<siteinfo>`."""
_CHINESE = frozenset(
    ("zh", "zh-cn", "zh-sg", "zh-my", "zh-tw", "zh-hk", "zh-mo", "zh-hans", "zh-hant", "zh-yue", "yue", "wuu", "gan", "lzh", "zh-classical")
)


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A wiki.

    Attributes:
        dbname: its name as a database (`zhwiki`), "" when unknown.
        lang: language code of its content.
        names: folded name or alias of a namespace → its number.
    """

    dbname: str = ""
    lang: str = ""
    names: Mapping[str, int] = field(default_factory=dict)

    @property
    def chinese(self) -> bool:
        """Whether its pages are written in Chinese."""
        return self.lang in _CHINESE

    def namespace(self, prefix: str) -> int | None:
        """The number of the namespace that `prefix` (what stands before a colon) names; None when it names none."""
        name = _fold(prefix)
        number = self.names.get(name)
        return CATEGORY if number is None and _CATEGORY.fullmatch(name) else number


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


_KNOWN = {_fold(name): number for number, names in _NAMES.items() for name in names.split("|")}
# One letter names no namespace in every wiki: `T:` and `H:` are aliases where the dump says Chinese, an article elsewhere.
_SHORT = ("t", "h", "u")


@lru_cache(maxsize=256)
def _site(dbname: str, lang: str, namespaces: tuple[tuple[int, str], ...]) -> Site:
    names = dict(_KNOWN)
    if not lang.startswith("zh"):
        for name in _SHORT:
            del names[name]
    names.update((_fold(name), number) for number, name in namespaces if name)
    return Site(dbname, lang, names)


def site(dbname: str | None = None, lang: str | None = None, namespaces: Iterable[tuple[int, str]] = ()) -> Site:
    """The wiki that a dump says it is of.

    Args:
        dbname: as in `<dbname>`; the language is taken from it (`zh_yuewiki`: zh-yue) when `lang` is not given.
        lang: as in `<mediawiki xml:lang>`.
        namespaces: (key, name) of the namespaces in `<siteinfo>`.
    """
    if not lang and dbname:
        lang = dbname.removesuffix("wiki").replace("_", "-")
    return _site(dbname or "", (lang or "").lower(), tuple(namespaces))
