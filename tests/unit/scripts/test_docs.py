# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's search leads to the pages that an administrator looks for."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "docsite" / "rst"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/docs."""
    sys.dont_write_bytecode = True
    loader = SourceFileLoader("docs_script", str(ROOT / "scripts" / "docs"))
    spec = importlib.util.spec_from_loader("docs_script", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_words_of_a_search_are_on_its_page(script: ModuleType) -> None:
    missing = []
    for search, page in script.SEARCHES.items():
        text = (PAGES / f"{page}.rst").read_text(encoding="utf-8").lower()
        # Without the ending, as the search compares them.
        missing += [(page, word) for word in search.lower().split() if word.rstrip("e") not in text]
    assert missing == []


@pytest.mark.parametrize(
    ("terms", "titles", "found"),
    [
        ({"dri": [0, 1], "run": [1]}, {}, True),
        ({"dri": 1}, {"run": 1}, True),
        ({"dri": 1, "run": 0}, {}, False),
        ({"dri": 1}, {}, False),
    ],
    ids=["one page has both words", "a title counts", "two pages have a word each", "a word is nowhere"],
)
def test_a_search_needs_every_word_on_the_page(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, terms: object, titles: object, found: bool
) -> None:
    index = {"docnames": ["collections/other", "collections/page"], "terms": terms, "titleterms": titles}
    monkeypatch.setattr(script, "SEARCHES", {"dry run": "page"})
    wrong = script.not_found(f"Search.setIndex({json.dumps(index)})", {"dry": "dri", "run": "run"})
    assert wrong == ([] if found else ["The site's search for 'dry run' does not find page."])


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        (":The run says: ``… is gone``\n", ["… is gone"]),
        (
            "For the container, the run\nprints ``will be stopped\nbut not removed`` and ``is replaced``, as here.\n",
            ["will be stopped but not removed", "is replaced"],
        ),
        ("A refusal begins\nwith ``Refused; nothing was changed.``\n", ["Refused; nothing was changed."]),
        ("The command prints ``SUCCESS``.\n", []),
    ],
    ids=["a field", "a sentence with two", "a refusal", "another program"],
)
def test_what_a_page_quotes_is_found(script: ModuleType, text: str, quoted: list[str]) -> None:
    assert list(script.quotations(text)) == quoted
