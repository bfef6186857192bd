# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tests can see a change."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PLUGINS = "ansible_collections.tethys.channels.plugins"
TREE = {
    "plugins/module_utils/proc.py": "",
    "plugins/module_utils/server/__init__.py": "",
    "plugins/module_utils/server/portal.py": f"from {PLUGINS}.module_utils import proc",
    "plugins/modules/server_info.py": f"from {PLUGINS}.module_utils.server.portal import look",
    "plugins/modules/other.py": "",
    "tests/unit/plugins/modules/test_server_info.py": f"import {PLUGINS}.modules.server_info",
    "tests/unit/plugins/modules/test_other.py": f"import {PLUGINS}.modules.other",
    "tests/unit/roles/test_specs.py": "",
    "tests/unit/plugins/test_steps.py": "ROLES = ROOT / 'roles'",
    "tests/unit/plugins/test_pip.py": "NAME, COMMAND = 'channels_redis', 'check'",
    "tests/unit/scripts/test_map.py": "FILES = 'playbooks/*.yml'",
    "tests/unit/conftest.py": "",
    "molecule/default/molecule.yml": "",
    "molecule/default/tests/test_default.py": "",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/changed_tests.py."""
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("changed_tests", ROOT / "scripts" / "changed_tests.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small collection."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_role_and_playbook_has_a_scenario(script: ModuleType) -> None:
    roles = {f"roles/{path.name}" for path in (ROOT / "roles").iterdir() if path.is_dir()}
    playbooks = {f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml")}
    assert set(script.SCENARIOS) == roles | playbooks
    assert all((ROOT / "molecule" / name / "molecule.yml").exists() for name in script.SCENARIOS.values())


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("plugins/module_utils/proc.py", ["tests/unit/plugins/modules/test_server_info.py"]),
        ("plugins/module_utils/server/portal.py", ["tests/unit/plugins/modules/test_server_info.py"]),
        ("plugins/module_utils/server/__init__.py", ["tests/unit/plugins/modules/test_server_info.py"]),
        ("plugins/modules/other.py", ["tests/unit/plugins/modules/test_other.py"]),
        ("tests/unit/plugins/modules/test_other.py", ["tests/unit/plugins/modules/test_other.py"]),
        (
            "roles/channels_redis/tasks/main.yml",
            ["tests/unit/plugins/test_steps.py", "tests/unit/roles/test_specs.py"],
        ),
        ("playbooks/check.yml", ["tests/unit/scripts/test_map.py"]),
        ("tests/unit/conftest.py", ["tests/unit"]),
        ("LICENSE", []),
    ],
)
def test_a_unit_test_sees_what_it_imports_and_what_it_names(
    script: ModuleType, tree: Path, changed: str, tests: list[str]
) -> None:
    assert script.unit_tests(tree, [changed]) == tests


def test_a_role_brings_its_scenario_and_a_scenario_itself(script: ModuleType, tree: Path) -> None:
    changed = ["roles/nginx_upstream/tasks/main.yml", "molecule/default/tests/test_default.py", "molecule/shared/x.py"]
    assert script.scenarios(tree, changed) == ["bokeh_pin", "default"]
    assert script.scenarios(tree, ["plugins/modules/other.py", "roles/nginx_upstream_of_others/main.yml"]) == []


def test_files_that_differ_from_a_commit_are_found_committed_or_not(script: ModuleType, tree: Path) -> None:
    def git(*words: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
        subprocess.run(command, cwd=tree, check=True, capture_output=True)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    (tree / "plugins/modules/other.py").write_text("A = 1\n")
    git("commit", "-qam", "two")
    (tree / "plugins/modules/server_info.py").unlink()
    (tree / "README ä.md").write_text("new\n")
    assert script.changed_files(tree, "HEAD") == ["README ä.md", "plugins/modules/server_info.py"]
    assert "plugins/modules/other.py" in script.changed_files(tree, "HEAD~1")
