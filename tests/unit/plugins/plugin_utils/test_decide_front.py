# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the delivery check goes through the web server in front."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import front
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import Place
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_decide_processes import (
    SITE,
    decide,
    fronts,
    target,
)

WHERE = Place("127.0.0.1", 8000, "")


def door(**changes: Any) -> dict[str, Any]:
    """Where browsers reach the site."""
    return {
        "path": SITE,
        "line": 8,
        "address": "127.0.0.1",
        "port": 443,
        "tls": True,
        "name": "portal.example.org",
        "missing": [],
        "beside": f"{SITE}, line 20",
        "silence": None,
        **changes,
    }


def step(server: str = "nginx", arguments: list[str] | None = None, **changes: Any) -> Any:
    found = fronts(target("127.0.0.1:8000", 8000), server=server, door=door(**changes))
    return front.step({"fronts": found}, WHERE, arguments or [])  # type: ignore[typeddict-item]


def test_the_web_server_is_asked_as_browsers_do() -> None:
    assert step() == {
        "called": f"nginx ({SITE}, line 8)",
        "address": "127.0.0.1",
        "port": 443,
        "tls": True,
        "name": "portal.example.org",
        "fix": "",
        "closes_after": None,
    }


def test_the_plan_has_it() -> None:
    found = decide(fronts=fronts(target("127.0.0.1:8000", 8000), door=door()))
    assert found["front"]["name"] == "portal.example.org"
    assert decide(fronts=fronts(target("127.0.0.1:8000", 8000)))["front"] is None
    assert decide(fronts=None)["front"] is None


@pytest.mark.parametrize(
    ("silence", "arguments", "closes_after"),
    [
        (5, [], 5),
        (20, [], 20),
        (20.5, [], None),
        (60, ["--ping-interval", "60"], 60),
        (60, ["--ping-interval=90"], 60),
        (60, ["--ping-interval", "30"], None),
        (5, ["--websocket_timeout", "3600", "--ping-interval", "2"], None),
    ],
)
def test_a_time_limit_below_the_ping(silence: float, arguments: list[str], closes_after: float | None) -> None:
    assert step(silence=silence, arguments=arguments)["closes_after"] == closes_after


def test_the_lines_that_are_missing_are_named_with_their_place() -> None:
    text = step(missing=["proxy_http_version 1.1;", "proxy_set_header Upgrade $http_upgrade;"])["fix"]
    assert text == (
        "Add `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;` beside the `proxy_pass` at"
        f" {SITE}, line 20, and reload nginx."
    )


def test_apaches_route_is_named() -> None:
    text = step("Apache")["fix"]
    [line] = re.findall(r"`(ProxyPassMatch [^`]*)`", text)
    assert f"before `ProxyPass /` in {SITE}" in text
    pattern, url = line.split()[1:]
    assert url == "ws://127.0.0.1:8000/$1"
    for path in ("ws/app-lifecycle/x/", "tethys/ws/app-lifecycle/x/", "apps/chat/room/ws/"):
        found = re.match(pattern, f"/{path}")
        assert found
        assert found.group(1) == path
    for path in ("/apps/chat/", "/static/ws.js", "/apps/ws-app/", "/jaws/"):
        assert not re.match(pattern, path)


@pytest.mark.parametrize(("layout", "refused"), [("socket_per_process", True), ("shared_socket", False)])
def test_a_socket_for_each_process_behind_apache_is_refused(layout: str, refused: bool) -> None:
    found = decide({"tethys_asgi_layout": layout}, fronts=fronts(target("127.0.0.1:8000", 8000), server="Apache"))
    codes = [row["code"] for row in found["codes"]]
    assert ("apache-with-socket-per-process" in codes) is refused
    assert "nginx-unusable" not in codes


@pytest.mark.parametrize("url", ["auto", "", "https://portal.example.org/", "http://portal.example.org:8080/x"])
def test_addresses_that_can_be_asked(url: Any) -> None:
    assert decide(values={"layer_check_url": url})["refusals"] == []


@pytest.mark.parametrize("url", ["portal.example.org", "https://a:b@portal.example.org/", True, ["https://a/"], "none"])
def test_addresses_that_cannot_be_asked_are_refused(url: Any) -> None:
    found = decide(values={"layer_check_url": url})
    assert [row["code"] for row in found["codes"]] == ["url-invalid"]
    assert "set it to the portal's address, as https://portal.example.org/" in found["refusals"][0]
