# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 11: provisioned, checked, restarted and given back by modules that run in Python 3.9."""

from __future__ import annotations

from typing import Any

import bed

N = 2


def test_it_is_debian_11(host: Any) -> None:
    assert 'VERSION_ID="11"' in host.check_output("cat /etc/os-release")
    assert host.check_output("/usr/bin/python3 --version").startswith("Python 3.9")
    assert host.check_output(f"{bed.PREFIX}/bin/python --version").startswith("Python 3.11")


def test_every_process_hears(host: Any) -> None:
    assert {row["user"] for row in bed.daphnes(host)} == {"www-data"}
    found = bed.client(host, "ws_fanout", "--clients", "12", "--processes", str(N))
    assert (found["delivered"], len(found["pids"])) == (found["clients"], N)
    assert bed.client(host, "ws_idle", "--clients", "4", "--seconds", "7")["alive"] == 4


def test_check_finds_nothing(host: Any) -> None:
    run = bed.playbook("check")
    assert run.returncode == 0, run.stdout
    assert "Redis 6.0" in bed.words(run)


def test_a_restart_replaces_each_process(host: Any) -> None:
    before = {row["pid"] for row in bed.daphnes(host)}
    run = bed.playbook("restart")
    assert run.returncode == 0, run.stdout
    after = {row["pid"] for row in bed.daphnes(host)}
    assert len(after) == N
    assert not before & after


def test_the_way_back(host: Any) -> None:
    run = bed.playbook("remove")
    assert run.returncode == 0, run.stdout
    assert host.run("cmp /root/portal_config.before /var/lib/tethys/portal_config.yml").rc == 0
    assert host.run("docker ps -aq").stdout == ""
