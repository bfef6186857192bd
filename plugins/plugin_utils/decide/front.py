# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the delivery check goes through the web server in front."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.module_utils.web_socket import split_url
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import AUTO, Place, portals_front
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Data, Problem
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.server.front import Front

# Daphne's, in seconds, where its options name no other.
PING_INTERVAL = 20.0
# Tethys 4.6 writes `^/(.*/ws)$`, which no consumer with a slash at its end matches.
APACHE_ROUTE = "ProxyPassMatch ^/((?:.*/)?ws/(?:app-lifecycle/.*)?)$ ws://{}:{}/$1"


class FrontStep(TypedDict):
    """The web server on this host, as `layer_probe` takes it."""

    called: str
    address: str
    port: int
    tls: bool
    name: str
    fix: str
    closes_after: float | None


def step(server: Server, where: Place, arguments: Sequence[str]) -> FrontStep | None:
    """Return how the web server on this host is reached; None if its configuration does not show it.

    Args:
        where: where the processes listen.
        arguments: daphne's options.
    """
    front = portals_front(server)
    door = front["door"] if front else None
    if not front or not door:
        return None
    silence = door["silence"]
    return {
        "called": f"{front['server']} ({door['path']}, line {door['line']})",
        "address": door["address"],
        "port": door["port"],
        "tls": door["tls"],
        "name": door["name"],
        "fix": _fix(front, where),
        "closes_after": silence if silence is not None and silence <= _ping_interval(arguments) else None,
    }


def _fix(front: Front, where: Place) -> str:
    """Return what lets WebSockets through, as a sentence; empty where the configuration lacks nothing."""
    door = front["door"]
    if front["server"] == "Apache":
        route = APACHE_ROUTE.format(where.reached_at, where.port)
        return f"Add `{route}` before `ProxyPass /` in {front['path']}, and reload Apache."
    if not door or not door["missing"]:
        return ""
    return f"Add `{' '.join(door['missing'])}` beside the `proxy_pass` at {door['beside']}, and reload nginx."


def _ping_interval(arguments: Sequence[str]) -> float:
    """Return after how many seconds daphne pings a silent WebSocket."""
    given = re.search(r"--ping-interval[= ](\d{1,9})(?: |$)", " ".join(arguments))
    return float(given.group(1)) if given else PING_INTERVAL


def url_problem(url: object) -> Problem | None:
    """Return why a value cannot be layer_check_url, or None."""
    if url in (None, AUTO, "") or split_url(url):
        return None
    return Problem(
        "url-invalid",
        "layer_check_url",
        f"layer_check_url is {show(url)}: set it to the portal's address, as https://portal.example.org/ without a"
        " password, or to auto, or to an empty text for no check through the web server.",
    )


def url_problems(values: Data) -> list[Problem]:
    """Return why layer_check_url cannot be used."""
    found = url_problem(values.get("layer_check_url"))
    return [found] if found else []
