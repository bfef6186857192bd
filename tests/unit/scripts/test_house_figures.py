# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures of the house are counted as they say."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "house-figures"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("house_figures", str(SCRIPT))
    spec = importlib.util.spec_from_loader("house_figures", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["house_figures"] = module
    loader.exec_module(module)
    return module


def test_a_mapping_under_another_name_counts_too(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "Data = Mapping[str, Any]\n"
        "def f(a: Data, b: dict, c: dict[str, int], d: Sequence[dict[str, object]]) -> Mapping[str, Any]: ...\n"
    )
    # The alias, its use, the bare one, the one of objects, and what is returned.
    assert script.untyped(tmp_path) == 5


def test_a_role_reads_its_own_variables_and_those_of_others(script: ModuleType, tmp_path: Path) -> None:
    for role, text in {
        "portal": "{{ portal_home }} {{ __portal_x }} {{ __portal_config_plan }} {{ portal_config_file }}",
        "portal_config": "{{ __portal_config_plan }} {{ __portal_x.__portal_y }}",
    }.items():
        (tmp_path / role / "tasks").mkdir(parents=True)
        (tmp_path / role / "tasks" / "main.yml").write_text(text)
    assert script.foreign_reads(tmp_path) == (2, 1)


def test_this_tree_has_figures(script: ModuleType) -> None:
    found = script.figures(SCRIPT.parents[1])
    assert found["filters"] >= 4
    assert found["functions over 80 lines"] <= found["functions over 50 lines"]
    assert found["lines of plugins"] < found["product lines"]
