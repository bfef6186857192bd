# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tethys 4.3, 4.4 and 4.5 on a server: provisioned, checked and given back, each run for all three at once."""

from __future__ import annotations

from typing import Any

import bed
import pytest
from fleet import NETWORK, server

N = 3
LINES = ["4.3", "4.4", "4.5"]


def name(line: str) -> str:
    """The server with that line of Tethys."""
    return f"{NETWORK}-{line.replace('.', '')}"


def version(host: Any, package: str) -> str:
    """The version of a package in the portal's environment."""
    code = f"from importlib.metadata import version; print(version('{package}'))"
    return str(host.check_output(f'{bed.PREFIX}/bin/python -c "{code}"'))


@pytest.mark.parametrize("line", LINES)
def test_it_is_that_tethys(line: str) -> None:
    host = server(name(line))
    packages = ("tethys-platform", "Django", "channels", "channels_redis", "redis", "daphne")
    print(", ".join(f"{package} {version(host, package)}" for package in packages))
    assert version(host, "tethys-platform").startswith(f"{line}.")


@pytest.mark.parametrize("line", LINES)
def test_a_message_reaches_every_process(line: str) -> None:
    host = server(name(line))
    assert [row["user"] for row in bed.daphnes(host)] == ["www-data"] * N
    found = bed.client(host, "ws_fanout", "--clients", "12", "--processes", str(N))
    assert (found["delivered"], len(found["pids"])) == (found["clients"], N)
    assert bed.client(host, "ws_idle", "--clients", "4", "--seconds", "7")["alive"] == 4


@pytest.fixture(scope="module")
def checked() -> Any:
    """A check of all three."""
    return bed.playbook("check")


@pytest.mark.parametrize("line", LINES)
def test_check_finds_nothing(checked: Any, line: str) -> None:
    assert checked.returncode == 0, checked.stdout
    said = bed.said(checked, name(line))
    assert f"Tethys {line}." in said
    # Tethys 4.3 has no WebSocket to which a message could be sent.
    assert ("Tethys before 4.4 has no consumer to verify it through" in said) == (line == "4.3"), said


@pytest.fixture(scope="module")
def removed() -> Any:
    """The removal from all three."""
    return bed.playbook("remove")


@pytest.mark.parametrize("line", LINES)
def test_remove_gives_everything_back(removed: Any, line: str) -> None:
    assert removed.returncode == 0, removed.stdout
    host = server(name(line))
    assert host.run(f"cmp /root/portal_config.before {bed.CONFIG}").rc == 0
    assert host.run("docker ps -aq").stdout == ""
    # What a portal is left with that nothing served before: one process, without Redis.
    assert len(bed.daphnes(host)) == 1
    assert host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0
