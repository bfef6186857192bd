# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page on the classes shows what was measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ansible_collections.tethys.channels.tests.bench import figures

ROOT = Path(__file__).resolve().parents[3]
FAULTS = json.loads((ROOT / "docs" / "bench.json").read_text(encoding="utf-8"))["faults"]
PAGE = (ROOT / "docs" / "docsite" / "rst" / "explanation_classes.rst").read_text(encoding="utf-8")


def test_the_table_is_that_of_the_kept_figures() -> None:
    assert figures.written(PAGE, figures.page_tables(FAULTS)) == PAGE, "scripts/bench --only faults --keep writes it"


def test_both_classes_were_measured_under_the_same_faults() -> None:
    core, pubsub = ([row["name"] for row in FAULTS["rows"] if row["backend"] == each] for each in ("core", "pubsub"))
    assert core == pubsub
    assert {row["sockets"] for row in FAULTS["rows"] if row["name"] != "many"} == {sum(FAULTS["groups"])}


def test_each_count_in_the_words_is_in_the_figures() -> None:
    """Numbers with a thousands separator are counts; two more are of another scenario."""
    words = PAGE.partition("What the table shows")[2]
    counts = {int(text.replace(",", "")) for text in re.findall(r"\d+,\d{3}\b", words)}
    measured = {row[key] for row in FAULTS["rows"] for key in ("due", "received", "missed")}
    lost = {row["due"] - row["received"] for row in FAULTS["rows"]}
    assert counts - measured - lost == {40824, 32832}
