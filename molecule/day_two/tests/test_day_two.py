# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an administrator does in production, under requests that never pause, half of them POST."""

from __future__ import annotations

import json
from typing import Any

import bed
import pytest

# Nobody waits for a process to end, which may take 10 seconds. How long it does take is printed: machines are noisy.
WAITED = 8
LEAST_REQUESTS = 3000


def show(what: str, figures: dict[str, Any]) -> None:
    """Print what the run of the tests keeps."""
    print(f"\n{what}: {json.dumps(figures)}")


def site(**variables: Any) -> str:
    """Run the site playbook, which has to end well."""
    run = bed.playbook("site", **variables)
    assert run.returncode == 0, run.stdout
    return run.stdout


def pids(host: Any) -> dict[str, int]:
    """The processes by their names."""
    rows = [line.split() for line in host.run("supervisorctl status").stdout.splitlines()]
    return {row[0]: int(row[3].rstrip(",")) for row in rows if row[1] == "RUNNING" and row[0].startswith("tethys_asgi")}


def ports(host: Any) -> list[int]:
    """The ports of the portal on which somebody listens."""
    lines = host.check_output("ss -Hltn 'sport >= 8000 and sport < 8100'").splitlines()
    assert all(line.split()[3].startswith("127.0.0.1:") for line in lines), lines
    return sorted(int(line.split()[3].rpartition(":")[2]) for line in lines)


@pytest.mark.parametrize("seconds", [0, 2])
def test_a_restart_loses_no_request(host: Any, seconds: int) -> None:
    """Not a slow one either, which is still being answered when its process has to go."""
    before = pids(host)
    slow = ["--sleep", str(seconds), "--connections", "6"] if seconds else ["--connections", "4"]
    with bed.load(host, *slow) as figures:
        run = bed.playbook("restart")
    show(f"rolling restart, requests that take {seconds} s", figures)
    assert run.returncode == 0, run.stdout
    assert figures["failed"] == 0, figures
    assert figures["slowest_seconds"] < seconds + WAITED
    assert figures["requests"] > (20 if seconds else 500)
    after = pids(host)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())


def test_another_number_of_processes_loses_nothing(host: Any) -> None:
    stays = pids(host)
    with bed.load(host, "--connections", "4", "--websockets", "12") as figures:
        more = site(tethys_asgi_processes=3)
        during = pids(host)
        assert ports(host) == [8000, 8001, 8002]
        fewer = site()
    show("2 -> 3 -> 2 processes", figures)
    assert figures["requests"] >= LEAST_REQUESTS
    assert figures["failed"] == 0, figures
    assert figures["slowest_seconds"] < WAITED
    assert figures["websockets"]["closed"] == 0, "The sockets are of processes that stay."
    assert {name: during[name] for name in stays} == stays == pids(host)
    assert ports(host) == [8000, 8001]
    assert "end once nginx has let go of them" in fewer
    assert "requests of those seconds fail" not in more + fewer


def test_from_one_to_six_to_two(host: Any) -> None:
    site(tethys_asgi_processes=1)
    one = pids(host)
    assert len(one) == 1
    site(tethys_asgi_processes=6)
    six = pids(host)
    assert len(six) == 6
    assert bed.client(host, "ws_fanout", "--url", bed.CHAT.replace(":8000", ""), "--processes", "6")["delivered"] > 6
    site()
    assert pids(host) == {name: pid for name, pid in six.items() if name in ("tethys_asgi0", "tethys_asgi1")}
    assert six["tethys_asgi0"] == one["tethys_asgi0"]
    assert host.check_output("ls /run/tethys").split() == [
        f"tethys_asgi_{port}.sock{lock}" for port in (8000, 8001) for lock in ("", ".lock")
    ]


def test_the_manuals_way_fails_under_the_same_load(host: Any) -> None:
    """What it is compared with: one socket for all, restarted and rescaled as the manual has it."""
    site(tethys_asgi_layout="shared_socket")
    file = "/etc/supervisor/conf.d/asgi_supervisord.conf"
    with bed.load(host, "--connections", "4") as restart:
        host.check_output("supervisorctl restart asgi:*")
        host.run("sleep 5")
    show("the manual's restart", restart)
    with bed.load(host, "--connections", "4") as rescale:
        host.check_output(f"sed -i s/^numprocs=2/numprocs=3/ {file} && supervisorctl update")
        host.run("sleep 5")
    show("the manual's 2 -> 3", rescale)
    assert restart["failed"] > 0
    assert rescale["failed"] > 0
    # Back to where the scenario began, and nothing is left of the other layout.
    with bed.load(host, "--connections", "4") as back:
        site()
    show("shared_socket -> socket_per_process", back)
    assert ports(host) == [8000, 8001]
    assert sorted(pids(host)) == ["tethys_asgi0", "tethys_asgi1"]
    assert "asgi:" not in host.run("supervisorctl status").stdout
