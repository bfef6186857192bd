# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a playbook says where a required variable is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
REQUIRED = {
    **dict.fromkeys(("site", "check", "restart", "remove"), ("tethys_home", "tethys_conda_prefix")),
    "tethys_docker": ("tethys_docker_project_dir",),
}


@pytest.mark.parametrize("path", sorted(ROOT.glob("roles/*/defaults/main.yml")), ids=lambda path: path.parts[-3])
def test_no_default_fails_where_a_variable_is_missing(path: Path) -> None:
    for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        bare = re.findall(r"(?<!/)\btethys_\w+\b(?! *\| *default\()", str(value)) if "{{" in str(value) else []
        assert bare == [], name


def test_every_playbook_is_tried() -> None:
    assert {path.stem for path in ROOT.glob("playbooks/*.yml")} == set(REQUIRED)


def said_by_each(place: Path, inventory: str) -> dict[str, str]:
    """What each playbook prints with this inventory, with which it fails."""
    (place / "inventory").write_text(inventory)
    # At once, since each takes seconds to load.
    runs = {
        name: subprocess.Popen(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory", f"tethys.channels.{name}"],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(place / "home")},
            text=True,
        )
        for name in REQUIRED
    }
    found = {name: run.communicate(timeout=120)[0] for name, run in runs.items()}
    assert all(run.returncode for run in runs.values()), found
    assert not [text for text in found.values() if "undefined" in text], found
    return found


HOST = f"here ansible_connection=local ansible_python_interpreter={sys.executable}\n"


def test_a_required_variable_is_named_in_every_playbook(tmp_path: Path) -> None:
    for name, said in said_by_each(tmp_path, f"[portals]\n{HOST}").items():
        for variable in REQUIRED[name]:
            assert f"{variable} is not set: set it to" in said, said


def test_an_inventory_without_the_group_is_refused_by_every_playbook(tmp_path: Path) -> None:
    for said in said_by_each(tmp_path, f"[others]\n{HOST}").values():
        assert "No host matches 'portals': put the portals' hosts into the inventory's group `portals`" in said, said
