"""Which terms allow commercial use: every licence of the registry, so that a new source forces a decision."""

from __future__ import annotations

import pytest

from corpus.licenses import commercial
from corpus.sources import registry

EXPECTED: dict[str, bool | None] = {
    "Apache-2.0": True,
    "Apache-2.0 repository": True,
    "CC BY-SA": True,
    "CC BY-SA 3.0": True,
    "CC BY-SA 3.0 / GFDL (Wikipedia text)": True,
    "CC0 1.0": True,
    "MIT": True,
    "MIT (MedMCQA)": True,
    "MIT (MedQA)": True,
    "MIT (PubMedQA)": True,
    "MIT (repository); CC BY-SA 3.0 (Wikipedia text)": True,
    "ODC-By (C4)": True,
    "Apache-2.0 (code); data for research only": False,
    "Apache-2.0 code; academic research only": False,
    "Apache-2.0 code; data for academic research only, no commercial use": False,
    "Apache-2.0 code; data for research only": False,
    "Baidu's terms for DuIE: research": False,
    "CC BY-NC 4.0": False,
    "CC BY-NC 4.0 (Alpaca)": False,
    "CC BY-NC-SA": False,
    "GPL-3.0 on the hub; research use only, no commercial use (BELLE data README)": False,
    "ODC-By (DATA_LICENSE); research use only, no commercial use (BELLE data README)": False,
    "academic research only, no commercial use": False,
    "for non-commercial research purpose only": False,
    "none stated; derived from Alpaca (CC BY-NC 4.0)": False,
    "MIT (repository); web content": None,
    "none stated": None,
    "none stated; Stack Exchange content is CC BY-SA": None,
    "none stated; scraped from Reddit under its API terms of use, user content is owned by the users": None,
    "none stated; user content of zhihu.com": None,
    "other": None,
}


def test_every_licence_of_the_registry_is_decided() -> None:
    assert {s.license for s in registry().values()} == set(EXPECTED)


@pytest.mark.parametrize(("license", "expected"), EXPECTED.items())
def test_licences_of_the_registry(license: str, expected: bool | None) -> None:
    assert commercial(license) is expected


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        ("cc-by-4.0", True),
        ("CC_BY_NC_4.0", False),
        ("cc-by-nc-nd-4.0", False),
        ("CC BY-ND 4.0", None),
        ("MIT License", True),
        ("mit", True),
        ("permitted to members", None),
        ("Free for research and commercial use", True),
        ("for research and commercial use", True),
        ("Commercial use is allowed", True),
        ("Commercial use is not allowed", False),
        ("commercial use prohibited", False),
        ("may not be used commercially", False),
        ("for noncommercial purposes", False),
        ("Apache-2.0 code", None),
        ("Apache-2.0 (code)", None),
        ("Apache-2.0 code; data CC BY 4.0", True),
        ("Acme, Inc. MIT", True),
        ("GPL-3.0", True),
        ("public domain", True),
        ("可商用", True),
        ("允许商业使用", True),
        ("不可商用", False),
        ("禁止商业用途", False),
        ("仅供学术研究使用", False),
        ("非商业用途", False),
        ("internal", None),
        ("all rights reserved", False),
        ("", None),
    ],
)
def test_other_terms(license: str, expected: bool | None) -> None:
    assert commercial(license) is expected
    assert commercial(license.upper()) is expected
