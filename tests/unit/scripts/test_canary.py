# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the canary says of newer versions, and that its environments have the bounds of the role."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/canary, which has no suffix."""
    sys.dont_write_bytecode = True  # a cache beside it would be one more file in scripts/
    spec = spec_from_loader("canary", SourceFileLoader("canary", str(ROOT / "scripts" / "canary")))
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules["canary"] = module
    spec.loader.exec_module(module)
    return module


def read(path: str) -> Any:
    """Return a YAML file of the repository."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_newest_within_our_bounds_is_within_the_roles_bounds(script: ModuleType) -> None:
    bounds = {Requirement(line) for line in read(script.LAYER)["channels_redis_requirements"]}
    portals = read("tests/versions.yml")["portals"]
    assert bounds <= {Requirement(line) for line in portals["portal:newest"] if not line.startswith("-")}
    assert {bound.name for bound in bounds} <= set(portals["portal:beyond"])
    assert portals["portal:newest"][0] == portals["portal:beyond"][0] == "--pre"


@pytest.mark.parametrize(
    ("requirement", "newest", "outside"),
    [
        ("redis>=4.6,!=8.1.0", "8.1.0", True),
        ("redis>=4.6,!=8.1.0", "8.1.1", False),
        ("channels_redis>=4.2,<5", "5.0.0b1", True),
        ("channels_redis>=4.2,<5", "4.4.0rc1", False),
        ("ruff==0.17.6", "0.18.0", True),
    ],
)
def test_a_pre_release_counts(script: ModuleType, requirement: str, newest: str, outside: bool) -> None:
    bound = script.Bound("a file", Requirement(requirement), Version("1"), Version(newest))
    assert bound.outside is outside
    assert len(script.table([bound])) == 2 + outside


def test_every_result_is_a_sentence(script: ModuleType) -> None:
    bound = script.Bound(script.LAYER, Requirement("redis!=8.1.0"), Version("8.1.0"), Version("8.1.0"))
    good, _ansible, lifted = script.verdicts([bound], True, True, True)
    assert "passed" in good
    assert lifted == "redis!=8.1.0 can be lifted: redis 8.1.0 passed."
    bad, ansible, needed = script.verdicts([bound], False, False, False)
    assert "FAILED" in bad
    assert "FAILED" in ansible
    assert needed.startswith("redis!=8.1.0 is needed")
    assert len(script.verdicts([], True, None, True)) == 2
