# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the portal reaches its Redis: where that is, who may stand in the way there, and what a change of it costs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import check_variables, port_reasons
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    texts,
)
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

SOCKET = samples.SOCKET
WAYS = samples.WAYS
ASKED = samples.asked(tethys_home="/srv/home", tethys_conda_prefix="/srv/env", tethys_asgi_processes=2)
FOREIGN: Any = samples.manuals_container(name="busy_name", redis={})
STRANGER = {"port": 6379, "address": "loopback", "pid": 7, "user": "ana", "command": "redis-server", "program": None}


def judge(
    transport: str,
    layer_hosts: Any = None,
    port: Any = 6379,
    values: dict[str, Any] | None = None,
    layer_backend: str = CORE_BACKEND,
    goal: str = "site",
    **server: Any,
) -> dict[str, Any]:
    """The plan for a healthy server; without `layer_hosts` its portal has no layer in Redis yet."""
    options = samples.options(goal=goal, redis_container_port=port, redis_container_transport=transport)
    settings = {"layer_backend": layer_backend if layer_hosts else None, "layer_hosts": layer_hosts}
    there = samples.server(**{"name": "portal1", **server})
    return samples.planned(ASKED, options, values=values or {}, portal=samples.portal(settings=settings), server=there)


# --- where it is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "port", "endpoint", "place"),
    [
        ("unix", 6379, {"path": SOCKET}, SOCKET),
        ("published", 6379, {"host": "127.0.0.1", "port": 6379}, "127.0.0.1:6379"),
        ("published", "6380", {"host": "127.0.0.1", "port": 6380}, "127.0.0.1:6380"),
        ("host", 6379, {"host": "127.0.0.1", "port": 6379}, "127.0.0.1:6379"),
        ("host", "6380", {"host": "127.0.0.1", "port": 6380}, "127.0.0.1:6380"),
    ],
)
def test_where_redis_answers(transport: str, port: Any, endpoint: dict[str, Any], place: str) -> None:
    found = judge(transport, port=port)
    assert (found["refusals"], found["announce"]) == ([], [])
    assert (found["redis_endpoint"], found["redis_place"]) == (endpoint, place)
    assert found["redis_way"] == f"{transport} {place}" + (" (group www-data)" if transport == "unix" else "")
    assert found["redis_now"] == endpoint


# --- who stands in the way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redis", [{}, {"foreign_key": "session:1"}, {"problem": "NOAUTH"}], ids=str)
def test_a_socket_is_in_nobodys_way(redis: dict[str, Any]) -> None:
    hosts = [["10.0.0.9", 6379]] if not redis else [["127.0.0.1", 6379]]
    found = judge("unix", hosts, redis_port_container={**FOREIGN, "redis": redis}, listeners=[STRANGER])
    assert (found["refusals"], found["adopted_container"]) == ([], None)
    assert len(found["announce"]) == bool(redis)
    # Nor does it hide what else is to be said.
    found = judge(
        "unix", hosts, redis_port_container={**FOREIGN, "redis": redis}, container=samples.container("host x")
    )
    assert "is reached by host x" in found["announce"][0]


@pytest.mark.parametrize("transport", WAYS)
def test_the_manuals_own_container_is_taken_over_whatever_the_transport(transport: str) -> None:
    found = judge(transport, [["127.0.0.1", 6379]], redis_port_container=FOREIGN, listeners=[STRANGER])
    assert found["refusals"] == []
    assert found["adopted_container"] == FOREIGN
    (said,) = found["announce"]
    assert said.startswith("Container busy_name (redis:5), currently the portal's Redis on port 6379, will be stopped")


@pytest.mark.parametrize("transport", ["published", "host"])
@pytest.mark.parametrize(
    ("hosts", "redis", "why"),
    [
        ([["10.0.0.9", 6379]], {}, "portal_config.yml names no channel layer on that port of this server"),
        ([["127.0.0.1", 6379]], {"foreign_key": "s:1"}, "it holds keys that are not a channel layer's ('s:1')"),
        ([["127.0.0.1", 6379]], {"problem": "NOAUTH"}, "its keys cannot be listed (NOAUTH)"),
    ],
)
def test_a_port_of_another_container_is_refused(transport: str, hosts: Any, redis: dict[str, Any], why: str) -> None:
    found = judge(transport, hosts, redis_port_container={**FOREIGN, "redis": redis}, listeners=[STRANGER])
    assert found["refusals"] == [
        f"Container busy_name (redis:5) publishes port 6379, and {why}: if it served only the channel layer, stop it"
        " (`docker stop 0123456789ab`) and run again, else set redis_container_port to a free port."
    ]
    assert found["adopted_container"] is None


@pytest.mark.parametrize("transport", ["published", "host"])
@pytest.mark.parametrize(
    ("container", "refused"),
    [
        (None, True),
        (samples.container("host 127.0.0.1:6379"), False),
        (samples.container("published 127.0.0.1:6379", ports=[6379]), False),
        (samples.container(None, ports=[6379]), False),  # made before there was a label
        (samples.container("host 127.0.0.1:6380"), True),
        (samples.container("published 127.0.0.1:6380", ports=[6380]), True),
        (samples.container(WAYS["unix"]), True),
        (samples.container("host 127.0.0.1:6379", running=False), True),
    ],
)
def test_who_listens_on_the_port(transport: str, container: Any, refused: bool) -> None:
    found = judge(transport, container=container, listeners=[STRANGER])
    assert bool(found["refusals"]) is refused
    if refused:
        (reason,) = found["refusals"]
        assert reason.startswith("Port 6379, on which Redis is to answer, is held by process 7 of ana (redis-server):")


@pytest.mark.parametrize("transport", WAYS)
def test_a_container_of_our_name_that_is_not_ours(transport: str) -> None:
    (reason,) = judge(transport, container=samples.container(labels={}))["refusals"]
    assert reason.startswith("redis_container_name is tethys-channels-redis, and the container of that name ")


@pytest.mark.parametrize("transport", WAYS)
def test_nor_is_it_taken_for_ours_beside_one_that_is_adopted(transport: str) -> None:
    found = judge(
        transport, [["127.0.0.1", 6379]], redis_port_container=FOREIGN, container=samples.container(labels={})
    )
    assert found["refusals"][0].startswith("redis_container_name is tethys-channels-redis, and the container of that ")
    assert found["adopted_container"] is None


@pytest.mark.parametrize(("transport", "refused"), [("unix", True), ("host", False)])
@pytest.mark.parametrize("problem", ["is a link", "is not a folder"])
def test_the_folder_of_the_socket(transport: str, refused: bool, problem: str) -> None:
    reasons = judge(transport, socket_folder_problem=problem)["refusals"]
    assert len(reasons) == refused
    assert all(f"/var/lib/tethys_channels, in which Redis's socket is to be, {problem}: move" in one for one in reasons)


@pytest.mark.parametrize("folder", ["/var/lib/tethys_channels", "/var/lib/tethys_channels/x", "/etc/tethys_channels"])
@pytest.mark.parametrize("name", ["tethys_home", "tethys_conda_prefix"])
def test_the_portal_does_not_live_in_our_own_folders(name: str, folder: str) -> None:
    (reason,) = texts(check_variables({**ASKED, name: folder}))
    assert reason.startswith(f"{name} is '{folder}', and ")
    assert reason.endswith("is this collection's own: set it to another folder.")
    assert texts(check_variables({**ASKED, name: "/var/lib/tethys_channels_of_mine"})) == []


@pytest.mark.parametrize("name", ["asgi_service_run_dir", "asgi_service_log_dir"])
def test_nor_do_its_logs(name: str) -> None:
    (reason,) = judge("unix", values={name: "/var/lib/tethys_channels/log"})["refusals"]
    assert "is this collection's own" in reason


# --- what changes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [*WAYS.values(), None])
@pytest.mark.parametrize("transport", WAYS)
def test_a_change_of_transport_is_announced(transport: str, before: str | None) -> None:
    container = samples.container(before, ports=[6379] if before is None else [])
    # Another image is no second replacement.
    for image in ("redis:8.2", "redis:7.0"):
        found = judge(transport, container={**container, "image": image})
        assert found["refusals"] == []
        (said,) = found["announce"] or [""]
        # One from before there was the label is known by its port.
        way = before or WAYS["published"]
        assert (found["redis_way_now"], found["redis_way"]) == (way, WAYS[transport])
        if way == WAYS[transport]:
            assert said.startswith("The Redis container runs redis:7.0" if image == "redis:7.0" else "")
            assert bool(said) is (image == "redis:7.0")
            continue
        assert said.startswith(
            f"The layer's Redis is reached by {way}, and will be by {WAYS[transport]}"
            " (redis_container_transport): it is replaced, and WebSockets "
        )


@pytest.mark.parametrize("transport", ["published", "host"])
def test_another_port_is_another_way(transport: str) -> None:
    container = samples.container(f"{transport} 127.0.0.1:6379", ports=[6379])
    (said,) = judge(transport, port=6380, container=container)["announce"]
    assert f"reached by {transport} 127.0.0.1:6379, and will be by {transport} 127.0.0.1:6380 " in said


def test_another_group_is_another_way() -> None:
    (said,) = judge("unix", container=samples.container(f"unix {SOCKET} (group alice)"))["announce"]
    assert "(group alice), and will be by unix" in said


@pytest.mark.parametrize("before", [*WAYS.values(), "host 127.0.0.1:6390", None])
def test_where_it_is_now(before: str | None) -> None:
    now = judge("unix", container=samples.container(before, ports=[6378] if before is None else []))["redis_now"]
    port = {None: 6378, "host 127.0.0.1:6390": 6390, WAYS["host"]: 6379, WAYS["published"]: 6379}.get(before)
    assert now == ({"host": "127.0.0.1", "port": port} if port else {"path": SOCKET})


def test_a_redis_that_the_portal_leaves_is_told_of() -> None:
    (said,) = judge("unix", [["127.0.0.1", 6380]])["announce"]
    assert said.startswith("The Redis on port 6380, which portal_config.yml currently names, is not changed: stop it")
    assert (
        judge("unix", [["127.0.0.1", 6380]], container=samples.container("host 127.0.0.1:6380", running=False))[
            "announce"
        ]
        == []
    )
    assert judge("published", [["127.0.0.1", 6379]])["announce"] == []


def test_one_that_is_stopped_is_missed_by_nobody() -> None:
    found = judge("unix", container=samples.container(WAYS["host"], running=False, image="redis:7.0"))
    assert (found["refusals"], found["announce"]) == ([], [])


# --- the variables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("transport", "refused"), [("unix", True), ("published", False), ("host", False)])
@pytest.mark.parametrize("port", [6380, "6380"])
def test_a_port_that_nothing_would_listen_on(transport: str, port: Any, refused: bool) -> None:
    sentence = (
        f"redis_container_port is {port!r}, and redis_container_transport is unix, which has no port: leave"
        " redis_container_port away, or set redis_container_transport to published or host."
    )
    found = judge(transport, port=port, values={"redis_container_port": port})
    assert found["refusals"] == ([sentence] if refused else [])
    # It does not prevent `remove`.
    assert judge(transport, port=port, values={"redis_container_port": port}, goal="remove")["refusals"] == []


@pytest.mark.parametrize("values", [{}, {"redis_container_port": 6379}, {"redis_container_port": "6379"}], ids=str)
def test_the_default_port_may_stand_beside_a_socket(values: dict[str, Any]) -> None:
    assert judge("unix", values=values)["refusals"] == []


@pytest.mark.parametrize(
    "asked", [{"tethys_layer_hosts": [["redis", 6379]]}, {"tethys_layer_backend": MEMORY_BACKEND}], ids=str
)
def test_a_port_left_over_where_no_container_is_run(asked: dict[str, Any]) -> None:
    assert (
        texts(port_reasons({"redis_container_port": 6380}, {"redis_container_transport": "unix"}, {**ASKED, **asked}))
        == []
    )


def test_a_port_that_is_none_is_refused_once() -> None:
    (reason,) = judge("unix", port="banana", values={"redis_container_port": "banana"})["refusals"]
    assert reason == "redis_container_port is 'banana': set it to a whole number (int) from 1 to 65535."


@pytest.mark.parametrize("transport", ["tcp", "Unix", "", 6379])
def test_a_transport_that_is_none(transport: Any) -> None:
    (reason,) = judge(transport, values={"redis_container_transport": transport})["refusals"]
    assert reason == f"redis_container_transport is {transport!r}: set it to one of unix, published, host, tls."


@pytest.mark.parametrize("transport", WAYS)
def test_a_transport_that_is_one(transport: str) -> None:
    assert judge(transport, values={"redis_container_transport": transport})["refusals"] == []
