"""What the kernels make of some texts, to the bit. When one of these changes, everything that was sketched before is worth nothing."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.dedup.minhash import Scheme
from corpus.dedup.units import Unit

SCHEME = Scheme(0.8, 3, 4)


@dataclass(frozen=True)
class Golden:
    """A row: its unit, its texts and their parts, and what is made of it (hexadecimal)."""

    unit: Unit
    row: list[tuple[str, int]]
    shingles: str
    whole: str
    signature: str
    keys: str


GOLDEN = [
    Golden(
        Unit.MIXED,
        [("", 0)],
        "7de53de772ea6940",
        "48218226ff3cd4bf 33d6527be0e930ef",
        ("e240f058 db44be83 d4a68c71 b7892060 38a17362 aa9c11c5 bd15cbee c28370a0 9377f15a d09a1189 14bbc636 da5be440"),
        "fa29977788 771824d61c 8d52ac29c4",
    ),
    Golden(
        Unit.MIXED,
        [("我们今天去公园散步吧。", 0)],
        ("efb5ea89fd8bc8c0 5a4191f05149d5c0 c0d606d24bbad740 bdf7c753bd72d900 19979a4254a89fc0 24f7933027fcc400"),
        "6960e259a3ed6724 ca4c384b1de35738",
        ("2fae0bb1 6b65fba2 2fb80699 2d522a69 5a19bb69 3777fc3f 75532ce0 06f6c518 295518b6 01322c3e 024d4b01 2964bdac"),
        "cdbf2a6720 85a5e1f9d6 b14ac1df80",
    ),
    Golden(
        Unit.MIXED,
        [("The quick fox jumps over 3 lazy dogs.", 0)],
        "c0145de9b667a7c0 1ed4e5820937b380 734bcb82872b7f80 1a9243fb31e0ec00",
        "5d51baf291fe4edd 23a2250e40b1ab07",
        ("a69d007b 17fc7a92 11c3b0d2 0694e059 44130c79 243ffe10 3d79eb65 3bd8da0b 72d97ad9 a11dfc50 1b99a0df 5ce0cedb"),
        "19daa8a91e b38c9d3677 6e644304bf",
    ),
    Golden(
        Unit.MIXED,
        [("用 pip install 安装 numpy，然後運行！", 0)],
        ("fe2bbe42e97489c0 751c718a2a6badc0 5fb937c27b563f40 c898eb30a74afac0 2bad815369553ec0 e3671a79cb83bd80"),
        "ba3ccfaba4df8d8e cd0edb224b9b4252",
        ("2c150886 4725d01b 1749f3c7 1312cdf8 a449e922 22c614bd 1ca5f386 28962160 125ce3d0 35090453 660f6b5e 42f29c88"),
        "2f00322cc2 7129ad0c86 e57e42bd0e",
    ),
    Golden(
        Unit.MIXED,
        [("😀👨\u200d👩\u200d👧❤️", 0)],
        "811f58493f158780",
        "458b24ea3c943e2f d93d169930cef313",
        ("adae1315 3d5abcd4 584b83b0 db06d167 ccaaf94b 2815d87a 6fb4507f ea33309d 5e0aada3 8dba6a20 e909ac2d 47703f85"),
        "9419a6044e fac7c82da4 932ae71123",
    ),
    Golden(
        Unit.MIXED,
        [("茶是什么？", 1), ("茶是一种饮料。Tea is a drink.", 2), ("不知道。", 4)],
        (
            "c2d269233a325a01 b43dd8d57e739542 58f7ca9b106b3f42 4bea60dd23164c82 8bd4272f04c5d882 "
            "687c11f9c9306a82 f1529bccf4c33a42 05f213a339bab6c4"
        ),
        "7f79a974d602e212 16707f2ffb17157a",
        ("05a540ff 0377aa04 18c444fe 0cb114b7 1b1b63cf 01d64fde 005d267f 3d4b98ce 64cad566 0fdda99c 00b77529 0c733fff"),
        "bfff98da0a d007951db1 d915f10bbb",
    ),
    Golden(
        Unit.CHAR,
        [("", 0)],
        "7de53de772ea6940",
        "48218226ff3cd4bf 33d6527be0e930ef",
        ("e240f058 db44be83 d4a68c71 b7892060 38a17362 aa9c11c5 bd15cbee c28370a0 9377f15a d09a1189 14bbc636 da5be440"),
        "fa29977788 771824d61c 8d52ac29c4",
    ),
    Golden(
        Unit.CHAR,
        [("我们今天去公园散步吧。", 0)],
        ("efb5ea89fd8bc8c0 5a4191f05149d5c0 c0d606d24bbad740 bdf7c753bd72d900 19979a4254a89fc0 24f7933027fcc400 dbc2e861979e0f40"),
        "bbb29d2926395083 89daee052f419733",
        ("2fae0bb1 6b65fba2 2fb80699 2d522a69 50472527 3777fc3f 75532ce0 06f6c518 295518b6 01322c3e 024d4b01 2964bdac"),
        "cdbf2a6720 9ee09d83ef b14ac1df80",
    ),
    Golden(
        Unit.CHAR,
        [("The quick fox jumps over 3 lazy dogs.", 0)],
        (
            "64fb4091bd68a4c0 3abf2342c9fa3d80 769ddb334449f0c0 ca18361a799a8780 2597c4762270fec0 "
            "d9cbc62cb638db80 60a7d09436b02440 a7abac787dc26400 141a1886e2a4d580 f538075b416ffa40 "
            "245f4697d848bc00 c837f22e58409180 42ddfb3374ff0140 689d1ec7a77fe300 5f3110fb5e637e40 "
            "d5b09546113d3280 614eb56b37f140c0 a89de98288a962c0 1c5025fb38e1e780 b17b331ec6042d80 "
            "89e0be8734885e40 003b6d911c461540 384da5baad6bbac0 4ea21e9a81489840 d8a9ca2eba3ac800 "
            "b8e6dc1e99fe9200"
        ),
        "b348c553f7be19a0 1afee198b9048a31",
        ("0971f9cc 14558317 0f75b59d 055b177d 06fce920 100707ac 021d66dc 08eaa2ff 01f026a8 0446140d 132d8030 026313d4"),
        "68533f49c3 b785bcc64e 623ec6947e",
    ),
    Golden(
        Unit.CHAR,
        [("用 pip install 安装 numpy，然後運行！", 0)],
        (
            "e710a0a84b7e39c0 b8537962f1694780 fc6574fb64119200 f26a5eab35dfb540 5ad01c744b057140 "
            "656f9ac1ac61af40 2f127e1c717e26c0 592ced56a6468280 d5cc11c89aef8d00 60bc787b811a7b00 "
            "45f534fb671c2bc0 68b8cb0aa2bd8000 64739186ec9ca180 7833ac815ae0e700 854c511c3bcb5980 "
            "927d807c31ae2080 510b7c0e4041f600 09829a0b872ad0c0 6c4acecad9011980 5ae57a4f9b05ee80"
        ),
        "756583bddf443cd0 1d02760595944cb8",
        ("0bcc5cc2 12a28825 05e8e3c6 0823563e 0e3c5bbd 0068408a 13d6aeb2 1125af5f 0f77c67a 07c2d433 29973bdd 03b5001c"),
        "3d93dfcc31 7e0f001d65 694fd92ee6",
    ),
    Golden(
        Unit.CHAR,
        [("😀👨\u200d👩\u200d👧❤️", 0)],
        "4e2b4feb72388800 30d9e7790ac85040 1de19eb577627ec0 8ac705c01b84a040",
        "4ef074121503de58 88e227683f7aacbe",
        ("76be0a53 12a6843f 1fdf6c1a 202fdac9 08ef02be 4dd891f1 44aeed6d 2b790ad0 1194aea1 7b2e882d 29be34c6 1cf759f0"),
        "ea5d82061c 6f0b6de5fa c45a5eebb7",
    ),
    Golden(
        Unit.CHAR,
        [("茶是什么？", 1), ("茶是一种饮料。Tea is a drink.", 2), ("不知道。", 4)],
        (
            "1f10c1a004326501 b43dd8d57e739542 58f7ca9b106b3f42 841ccff59723b7c2 fbce425817211e02 "
            "8ecb04a57fd71982 fce5658fc22bd9c2 8b3e30b9761d4e42 4a88f7d85e000b42 027c371a6629e342 "
            "d13a324a90d8a342 bd6e6b951ae7da42 0c5344f6d5966582 b7f31da392707082 34a5c1fd7376b002 "
            "c8735021b54fa9c2 32fce72f44f85904"
        ),
        "b36a971bfd4239d9 62ec0b6d83e5d931",
        ("06220889 0377aa04 0478ff2c 0cb114b7 0f36bdfa 131679ce 0052e362 0ace2f4f 03fcd5ed 00b6d457 062dc09e 32b63275"),
        "991f3a361a af8cbe63ce 07c5cf0967",
    ),
]
