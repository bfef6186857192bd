# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of the platform: by which module, what a dry run shows, and lists that were emptied within the hour."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

TASKS = Path(__file__).parents[3] / "roles" / "preflight" / "tasks"
# Stands in for apt: without lists it finds nothing, and with cache_valid_time it takes no lists for fresh.
APT = """#!/usr/bin/python3
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "list"}, "update_cache": {"type": "bool"}, "cache_valid_time": {"type": "int"},
                        "install_recommends": {"type": "bool"}, "lock_timeout": {"type": "int"}})
if module.params["cache_valid_time"]:
    module.fail_json(msg="No package matching 'python3-requests' is available")
module.exit_json(changed=True)
"""
DNF = APT.replace('"install_recommends"', '"install_weak_deps"').replace('params["cache_valid_time"]', "check_mode")
# As the roles do.
ROLE = [
    {
        "name": "Install",
        "ansible.builtin.include_tasks": "{{ role_path }}/../preflight/tasks/packages.yml",
        "vars": {"__preflight_wanted": "{{ wanted }}"},
    }
]


def play(place: Path, *arguments: str) -> str:
    """Install packages by a role on a server with apt and on one with dnf, and return what the run printed."""
    for name, content in (("apt", APT), ("dnf", DNF)):
        (place / "library").mkdir(exist_ok=True)
        (place / "library" / f"stub_{name}.py").write_text(content)
    for name, tasks in [("one", yaml.safe_dump(ROLE)), *((path.stem, "") for path in TASKS.glob("packages*.yml"))]:
        role = place / "roles" / ("one" if tasks else "preflight") / "tasks"
        role.mkdir(parents=True, exist_ok=True)
        text = tasks or (TASKS / f"{name}.yml").read_text(encoding="utf-8")
        text = re.sub(r"ansible\.builtin\.(apt|dnf):", r"stub_\1:", text)
        (role / ("main.yml" if tasks else f"{name}.yml")).write_text(text)
    hosts = {name: {"__preflight_plan": {"platform": {"manager": name}}} for name in ("apt", "dnf")}
    variables = {"wanted": ["python3-requests"], "ansible_connection": "local"}
    (place / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}}))
    (place / "play.yml").write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "roles": ["one"]}]))
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.yml", "play.yml", *arguments],
        cwd=place,
        env={**os.environ, "ANSIBLE_LIBRARY": "library", "ANSIBLE_PYTHON_INTERPRETER": sys.executable},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def recap(output: str, host: str) -> dict[str, int]:
    """Return the counts of a host."""
    [line] = re.findall(rf"^{host} +: (.*)$", output, re.MULTILINE)
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


def test_each_manager_installs_and_lists_are_refreshed_where_a_package_is_not_found(tmp_path: Path) -> None:
    output = play(tmp_path)
    by_apt, by_dnf = recap(output, "apt"), recap(output, "dnf")
    assert (by_apt["changed"], by_apt["rescued"], by_apt["skipped"]) == (1, 1, 0)
    assert (by_dnf["changed"], by_dnf["rescued"], by_dnf["skipped"]) == (1, 0, 0)


def test_a_dry_run_shows_the_packages_and_installs_none(tmp_path: Path) -> None:
    output = play(tmp_path, "--check")
    assert output.count("Would install python3-requests") == 2
    for counts in (recap(output, host) for host in ("apt", "dnf")):
        assert (counts["changed"], counts["rescued"], counts["skipped"]) == (1, 0, 0)
