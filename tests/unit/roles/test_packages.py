# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of the platform, on a server whose lists were emptied within the hour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

TASKS = Path(__file__).parents[3] / "roles" / "preflight" / "tasks" / "packages_apt.yml"
# Stands in for apt: without lists it finds nothing, and with cache_valid_time it takes no lists for fresh.
APT = """#!/usr/bin/python3
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "list"}, "update_cache": {"type": "bool"}, "cache_valid_time": {"type": "int"},
                        "install_recommends": {"type": "bool"}})
if module.params["cache_valid_time"]:
    module.fail_json(msg="No package matching 'python3-requests' is available")
module.exit_json(changed=True)
"""


def test_lists_are_refreshed_where_a_package_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "apt.py").write_text(APT)
    tasks = yaml.safe_load(TASKS.read_text(encoding="utf-8").replace("ansible.builtin.apt", "apt"))
    variables = {"__preflight_wanted": ["python3-requests"], "__preflight_plan": {"platform": {"manager": "apt"}}}
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_LIBRARY": str(tmp_path / "library"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1" in done.stdout
    assert "rescued=1" in done.stdout
