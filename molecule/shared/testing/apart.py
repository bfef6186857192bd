# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests ask of a portal that has a port for each of its three processes."""

from __future__ import annotations

import re
from typing import Any

import bed

N = 3
PORTS = [8000 + number for number in range(N)]
SITE = "/etc/nginx/sites-available/tethys"
THROUGH_NGINX = [f"--url={bed.CHAT.replace(':8000', '')}", "--host-header=portal.example.org"]
EVERY_PORT = {f"127.0.0.1:{port}" for port in PORTS}
EVERY_PROGRAM = {f"tethys_asgi{number}": "RUNNING" for number in range(N)}


def site(**variables: Any) -> str:
    """Run the playbook, which has to succeed; returns what it said, its line breaks folded."""
    run = bed.playbook("site", **variables)
    assert run.returncode == 0, run.stdout
    return " ".join(run.stdout.replace("''", "'").split())


def remove() -> None:
    """Run the way back, which has to succeed."""
    run = bed.playbook("remove")
    assert run.returncode == 0, run.stdout


def programs(host: Any) -> dict[str, str]:
    """The portal's processes under Supervisor, with their states."""
    rows = [line.split()[:2] for line in host.run("supervisorctl status").stdout.splitlines()]
    return {name: state for name, state in rows if "asgi" in name}


def listeners(host: Any) -> set[str]:
    """The addresses at which the portal's processes can be reached, those of other layouts included."""
    found = host.check_output("ss -Hltn 'sport >= 8000 and sport < 8100' | awk '{print $4}'").split()
    return set(found)


def block(host: Any) -> str:
    """The portal's upstream block, as nginx itself has read it."""
    text = host.check_output("nginx -T 2>/dev/null")
    [found] = re.findall(r"upstream channels-backend \{.*?\n\}", text, re.DOTALL)
    return str(found)


def nginx_file(host: Any) -> str:
    """The text of the portal's nginx site."""
    return str(host.check_output(f"cat {SITE}"))


def every_listener_hears(host: Any) -> None:
    """Send a message through nginx to listeners at every process."""
    found = bed.client(host, "ws_fanout", *THROUGH_NGINX, "--clients=12", f"--processes={N}", "--timeout=30")
    assert found["delivered"] == found["clients"] >= 12, f"{found}"
    assert len(found["pids"]) == N, f"{found}"


def every_plot_moves(host: Any, loads: int, **options: Any) -> None:
    """Load the Bokeh page so often: each time there is a plot, and its slider moves the curve."""
    found = bed.plots(host, loads, **options)
    assert (found["plots"], found["moved"]) == (loads, loads), f"{found}"


def moves_in_a_browser(host: Any, loads: int, **options: Any) -> None:
    """The same in Chromium, which wants nothing from elsewhere."""
    found = bed.browser(host, "--loads", str(loads), **options)
    assert (found["plots"], found["moved"], found["errors"], found["elsewhere"]) == (loads, loads, [], []), f"{found}"


def logged(host: Any) -> dict[str, int]:
    """How many lines each process has logged."""
    rows = host.check_output("wc -l /var/log/tethys/tethys_asgi?.log").splitlines()
    return {name: int(count) for count, name in (row.split() for row in rows) if name != "total"}


def asked(host: Any, since: dict[str, int], pattern: str) -> list[str]:
    """The processes that have logged a request for such a path since then."""
    return [
        name.rpartition("/")[2].partition(".")[0]
        for name, lines in since.items()
        if host.run(f"tail -n +{lines + 1} {name} | grep -Eq '{pattern}'").rc == 0
    ]


def serves(host: Any) -> bool:
    """Whether the portal answers through nginx."""
    return bool(host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0)
