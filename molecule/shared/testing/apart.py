# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests ask of a portal that has a port for each of its three processes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import bed

N = 3
PORTS = [8000 + number for number in range(N)]
SITE = "/etc/nginx/sites-available/tethys"
# Loads of a plot that all succeed where they are pinned. Without a pin each fails more often than not.
FEW_LOADS = 12
THROUGH_NGINX = [f"--url={bed.CHAT.replace(':8000', '')}", "--host-header=portal.example.org"]
# How daphne writes a time.
STAMP = "%d/%b/%Y:%H:%M:%S"
EVERY_PORT = {f"127.0.0.1:{port}" for port in PORTS}
EVERY_PROGRAM = {f"tethys_asgi{number}": "RUNNING" for number in range(N)}


def site(**variables: Any) -> str:
    """Run the playbook, which has to succeed; returns what it said, its line breaks folded."""
    run = bed.playbook("site", **variables)
    assert run.returncode == 0, run.stdout
    return " ".join(run.stdout.replace("''", "'").split())


def remove() -> None:
    """Run `remove`, which has to succeed."""
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
    """Check the same in Chromium, which requests nothing from other machines."""
    found = bed.browser(host, "--loads", str(loads), **options)
    assert (found["plots"], found["moved"], found["errors"], found["elsewhere"]) == (loads, loads, [], []), f"{found}"


def clock(host: Any) -> datetime:
    """The server's time, which no earlier request shares."""
    return datetime.strptime(host.check_output(f"sleep 1; date +{STAMP}"), STAMP)


def asked(host: Any, since: datetime, pattern: str) -> list[str]:
    """The processes that have logged a request for such a path since then."""
    found = []
    for number in range(N):
        text = host.check_output(f"cat /var/log/tethys_channels/tethys_asgi{number}.log")
        requests = re.findall(r"\[(\S+)\] \"(\S+) (.*?)\" \S+ \S+$", text, re.MULTILINE)
        if any(
            # A socket that was opened before may end now.
            method != "WSDISCONNECT" and datetime.strptime(time, STAMP) >= since and re.search(pattern, path)
            for time, method, path in requests
        ):
            found.append(f"tethys_asgi{number}")
    return found


def serves(host: Any) -> bool:
    """Whether the portal answers through nginx."""
    return bool(host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0)
