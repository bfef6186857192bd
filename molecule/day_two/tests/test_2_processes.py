# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an administrator does in production, under requests that never pause, half of them POST.

The tests stand in their order: what one leaves behind the next one finds.
"""

from __future__ import annotations

import json
from typing import Any

import bed

# Nobody waits for a process to end, which may take 10 seconds. How long it does take is printed: machines are noisy.
WAITED = 8
LEAST_REQUESTS = 400


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


def test_the_manuals_way_fails_under_the_same_load(host: Any, shared_socket: None) -> None:
    """What the rest is compared with: one socket for all, restarted and rescaled as the manual has it."""
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


def test_from_one_socket_to_one_for_each_process(host: Any, production: dict[str, Any]) -> None:
    """With one process, as the next test begins; nothing is left of the other layout."""
    show("shared_socket -> socket_per_process", production)
    assert ports(host) == [8000]
    assert sorted(pids(host)) == ["tethys_asgi0"]
    assert "asgi:" not in host.run("supervisorctl status").stdout


def test_from_one_to_six_to_two(host: Any, production: dict[str, Any]) -> None:
    one = pids(host)
    assert len(one) == 1
    site(tethys_asgi_processes=6)
    six = pids(host)
    assert len(six) == 6
    assert bed.client(host, "ws_fanout", "--url", bed.CHAT.replace(":8000", ""), "--processes", "6")["delivered"] > 6
    site()
    assert ports(host) == [8000, 8001]
    assert pids(host) == {name: pid for name, pid in six.items() if name in ("tethys_asgi0", "tethys_asgi1")}
    assert six["tethys_asgi0"] == one["tethys_asgi0"]
    assert host.check_output("ls /run/tethys").split() == [
        f"tethys_asgi_{port}.sock{lock}" for port in (8000, 8001) for lock in ("", ".lock")
    ]


def test_another_number_of_processes_loses_nothing(host: Any, production: dict[str, Any]) -> None:
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
    assert "end after nginx has drained them" in fewer
    assert "restarts all of them at once" not in more + fewer


def test_a_restart_loses_no_request(host: Any, production: dict[str, Any]) -> None:
    """Not a slow one either, which is still being answered when its process has to go: two loads, one restart."""
    before = pids(host)
    with bed.load(host, "--connections", "4") as quick, bed.load(host, "--sleep", "2", "--connections", "6") as slow:
        run = bed.playbook("restart")
    show("rolling restart", quick)
    show("rolling restart, requests that take 2 s", slow)
    assert run.returncode == 0, run.stdout
    assert quick["failed"] == slow["failed"] == 0, (quick, slow)
    assert quick["slowest_seconds"] < WAITED
    assert slow["slowest_seconds"] < 2 + WAITED
    assert quick["requests"] > 200
    assert slow["requests"] > 20
    after = pids(host)
    assert set(after) == set(before)
    assert not set(after.values()) & set(before.values())
