# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide on scale shows what was measured, and what the current model estimates from that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ansible_collections.tethys.channels.tests.bench import converge, figures

ROOT = Path(__file__).resolve().parents[3]
KEPT = json.loads((ROOT / "docs" / "bench.json").read_text(encoding="utf-8"))


def test_the_guides_tables_are_those_of_the_kept_figures() -> None:
    converge.foretell_measured(KEPT["cost"], [*KEPT["cost"]["runs"], *KEPT["fleet"]["runs"]])
    page = (ROOT / "docs" / "docsite" / "rst" / "guide_scale.rst").read_text(encoding="utf-8")
    tables = figures.guide_tables(KEPT, converge.guide_rows(KEPT["cost"]))
    assert figures.written(page, tables) == page, "scripts/bench --keep writes them"


def test_the_figures_are_of_runs_that_changed_nothing() -> None:
    assert not any(run["changed"] for part in ("cost", "fleet") for run in KEPT[part]["runs"])


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Start the program as a user does."""
    command = [sys.executable, str(ROOT / "scripts" / "simulate-fleet"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_program_foretells_what_it_is_asked_for() -> None:
    done = simulate("--hosts", "7", "--forks", "3", "--cores", "1", "--serial", "2")
    assert done.returncode == 0, done.stderr
    seconds = round(converge.foretell(KEPT["cost"], 7, 3, 1, 2))
    assert done.stdout.splitlines()[-2].split() == ["7", "1", "2", str(seconds), "s"]


def test_the_program_refuses_what_is_no_number_and_what_holds_no_figures(tmp_path: Path) -> None:
    assert "'0' is no whole number of at least 1" in simulate("--hosts", "0").stderr
    (tmp_path / "none.json").write_text("{}", encoding="utf-8")
    done = simulate("--figures", str(tmp_path / "none.json"))
    assert done.returncode == 1
    assert "none.json holds no measured fleet: `scripts/bench" in done.stderr
