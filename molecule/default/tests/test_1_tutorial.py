# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that the tutorials and the guide on monitoring give, on the server that `site` has set up.

The playbooks of the tutorials are run by the scenario and its other tests. Named so that it runs before them: it
changes nothing, and expects that every process runs.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import bed
import pytest

PAGES = Path(__file__).resolve().parents[3] / "docs" / "docsite" / "rst"
FIRST = (PAGES / "guide_first_portal.rst").read_text(encoding="utf-8")
MONITOR = (PAGES / "guide_monitor.rst").read_text(encoding="utf-8")
# Run by molecule and the other tests, or, as conda is, not on this server.
ELSEWHERE = ("ansible-playbook ", "export ", "conda ")


def blocks(text: str) -> list[str]:
    """Return the commands of the console blocks of a page."""
    return re.findall(r"^ +\$ (.+)$", text, re.MULTILINE)


def tables(text: str) -> list[str]:
    """Return the commands in the second column of a page's tables."""
    return re.findall(r"^   \* - .+\n     - ``(sudo (?:supervisorctl|docker|tail|ls|grep) .+?)``", text, re.MULTILINE)


CONTROLLER = [line for line in blocks(FIRST) if line.startswith("ansible ")]
SERVER = [line for line in blocks(FIRST) if not line.startswith(("ansible ", *ELSEWHERE))] + tables(FIRST)


def test_there_are_commands() -> None:
    assert len(CONTROLLER) == 1
    assert len(SERVER) >= 8
    assert len(tables(MONITOR)) == 4


@pytest.mark.parametrize("line", CONTROLLER)
def test_the_login_is_tested(line: str) -> None:
    words = [os.environ["MOLECULE_INVENTORY_FILE"] if word == "inventory.yml" else word for word in shlex.split(line)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize("line", SERVER)
def test_a_command_of_the_tutorial_shows_something(host: Any, line: str) -> None:
    # It would follow the log for ever.
    done = host.run(f"cd {bed.HOME} && {line.replace('tail -f', 'tail')}")
    assert done.rc == 0, done.stderr
    assert done.stdout.strip()


def test_the_commands_of_the_guide_on_monitoring_find_a_healthy_layer(host: Any) -> None:
    # Docker's health check runs every 30 s, and may not have run yet.
    starting = "docker inspect -f {{.State.Health.Status}} tethys-channels-redis | grep -q starting"
    host.check_output(f"timeout 40 sh -c 'while {starting}; do sleep 0.5; done'")
    status, health, memory, errors = (host.run(line) for line in tables(MONITOR))
    assert [line.split()[1] for line in status.stdout.splitlines()] == ["RUNNING"] * 3
    assert health.stdout.strip() == "healthy"
    assert "tethys-channels-redis" in memory.stdout
    assert errors.stdout.strip() == "0"
