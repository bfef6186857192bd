# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The class of the layer: what is chosen where the inventory names none, and what is announced of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.class_choice import (
    chosen_class,
    core_reason,
    shared_reason,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
    Refusal,
)
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

HOST = [{"host": "127.0.0.1", "port": 6379}]
SENTINEL = {"master_name": "layer", "sentinels": [["192.0.2.1", 26379], ["192.0.2.2", 26379]]}


@pytest.mark.parametrize(
    ("options", "hosts", "reason"),
    [
        (None, None, ""),
        ({}, [], ""),
        ({"prefix": "x", "symmetric_encryption_keys": ["k"], "serializer_format": "json"}, HOST, ""),
        ({"capacity": 200}, None, "portal_config_layer_options has capacity, which only the core class takes"),
        ({"expiry": 9, "capacity": 2}, None, "portal_config_layer_options has capacity, expiry, which only the core"),
        ({"channel_capacity": {}}, None, "portal_config_layer_options has channel_capacity, which"),
        ({"group_expiry": 9}, None, "portal_config_layer_options has group_expiry, which"),
        ({}, ["redis://127.0.0.1:6379/1"], "tethys_layer_hosts has a database, and a message of the pub/sub class"),
        ({}, [{"host": "127.0.0.1", "port": 6379, "db": 2}], "tethys_layer_hosts has a database"),
        ({}, ["redis://127.0.0.1:6379/0"], ""),
        ({}, ["redis://localhost:6379"], ""),
        ({}, [["::1", 6379]], ""),
        ({}, ["unix:///run/redis.sock"], ""),
        ({}, [*HOST, ["192.0.2.1", 6379]], "tethys_layer_hosts names a Redis that is reached over the network, and"),
        ({}, ["rediss://redis.example.org:6379"], "tethys_layer_hosts names a Redis that is reached over the network"),
        ({}, [SENTINEL], "tethys_layer_hosts names sentinels, and with the pub/sub class, messages are lost"),
        ({}, [{**SENTINEL, "db": 2}], "tethys_layer_hosts names sentinels"),
        # A role's defaults hand over what was not set as null.
        ({"capacity": None, "expiry": None}, None, ""),
        ({"capacity": None, "expiry": 9}, None, "portal_config_layer_options has expiry, which"),
        # These are refused by themselves.
        ("no mapping", None, ""),
        ({}, [["127.0.0.1", "b"]], ""),
    ],
    ids=str,
)
def test_what_needs_the_core_class(options: Any, hosts: Any, reason: str) -> None:
    found = core_reason(options, hosts)
    assert found.startswith(reason)
    assert bool(found) is bool(reason)
    for asked in (None, "", "auto"):
        assert chosen_class(asked, found) == (CORE_BACKEND if reason else PUBSUB_BACKEND)
    for asked in (CORE_BACKEND, PUBSUB_BACKEND, MEMORY_BACKEND, "x"):
        assert chosen_class(asked, found) == asked


def test_an_option_that_is_null_is_not_given() -> None:
    layer = channel_layers(HOST, options={"capacity": None, "prefix": "x"}, backend=PUBSUB_BACKEND)["default"]
    assert set(layer["CONFIG"]) == {"hosts", "prefix"}
    with pytest.raises(Refusal, match="capcity"):
        channel_layers(HOST, options={"capcity": None}, backend=PUBSUB_BACKEND)


def worker(command: str, of_channels: bool = False) -> dict[str, Any]:
    return {"pid": 7, "user": "www-data", "command": command, "of_channels": of_channels}


RUNWORKER = worker("/opt/conda/envs/tethys/bin/python manage.py runworker jobs", of_channels=True)
CELERY = worker("/opt/conda/envs/tethys/bin/celery worker")


def there(now: Any = PUBSUB_BACKEND, workers: Any = (), layers: Any = None, programs: Any = ()) -> Any:
    """What was found of a portal that has the class `now`."""
    settings = {"layer_backend": now, "channel_layers": layers}
    server = samples.server(workers=list(workers), channel_programs=list(programs))
    return {"portal": samples.portal(settings=settings), "server": server}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, ""),
        ({"portal": {"settings": None}, "server": {}}, ""),
        (there(workers=[CELERY]), ""),
        (
            there(CORE_BACKEND, workers=[CELERY, RUNWORKER], programs=["jobs"]),
            "a worker receives from a channel by its name, which needs the core class:"
            " /opt/conda/envs/tethys/bin/python manage.py runworker jobs (process 7 of www-data)",
        ),
        # One that does not run at this moment.
        (
            there(CORE_BACKEND, programs=["jobs", "mail"]),
            "a worker receives from a channel by its name, which needs the core class: the program jobs under"
            " Supervisor",
        ),
        # A portal that has no class yet.
        ({"server": samples.server(channel_programs=["jobs"])}, "a worker receives from a channel by its name, which"),
        # One that has pub/sub is not changed by a worker that runs for a minute.
        (there(PUBSUB_BACKEND, workers=[RUNWORKER], programs=["jobs"]), ""),
        (there(layers={"default": {"BACKEND": CORE_BACKEND}, "chat": {"BACKEND": PUBSUB_BACKEND}}), ""),
        (there(layers={"default": {"BACKEND": PUBSUB_BACKEND}, "odd": "x", "memory": {"BACKEND": MEMORY_BACKEND}}), ""),
        (
            there(layers={"default": {}, "jobs": {"BACKEND": CORE_BACKEND}, "chat": {"BACKEND": CORE_BACKEND}}),
            "CHANNEL_LAYERS has the core class under chat, jobs as well, and Redis is to accept one class",
        ),
        (there(layers="no mapping"), ""),
    ],
)
def test_what_of_a_server_needs_the_core_class(found: Any, reason: str) -> None:
    said = core_reason({}, None, found)
    assert (said.startswith(reason), bool(said)) == (True, bool(reason))
    # What the inventory says comes first.
    assert core_reason({"capacity": 2}, None, found).startswith("portal_config_layer_options has capacity")


NEEDS = {"portal_config_layer_options": {"capacity": 200}}


@pytest.mark.parametrize(
    ("portals", "redis", "reason"),
    [
        ({"a": {}, "b": {}}, {}, ""),
        ({"a": {}, "b": {}}, {"redis_container_topology": "standalone"}, ""),
        (
            {"a": {}, "b": {}},
            {"redis_container_topology": "sentinel"},
            "redis_container_topology is sentinel, and with the pub/sub class, messages are lost for a minute where the"
            " server of the primary vanishes",
        ),
        ({"a": {}, "b": NEEDS}, {}, "for b, which shares the Redis, portal_config_layer_options has capacity, which"),
        (
            {"a": {"__preflight_found": there(CORE_BACKEND, workers=[RUNWORKER])}, "b": {}},
            {},
            "for a, which shares the Redis, a worker receives",
        ),
        (
            {"a": {"tethys_layer_backend": CORE_BACKEND}, "b": {}},
            {},
            f"it is {CORE_BACKEND} for a, which shares the Redis",
        ),
        # They were asked for a class, which is compared elsewhere.
        ({"a": {"tethys_layer_backend": PUBSUB_BACKEND, **NEEDS}, "b": {}}, {}, ""),
        ({"a": {"tethys_layer_backend": "auto"}, "b": {"tethys_layer_backend": PUBSUB_BACKEND}}, {}, ""),
        # A run that does not see every portal does not change the class.
        (
            {"a": {"__preflight_found": there(CORE_BACKEND)}, "b": {}},
            {},
            "this run does not inspect b, which may need the core class and shares the Redis",
        ),
        ({"a": {"__preflight_found": there(CORE_BACKEND)}, "b": {"__preflight_found": there(CORE_BACKEND)}}, {}, ""),
        ({"a": {"__preflight_found": there(PUBSUB_BACKEND)}, "b": {}}, {}, ""),
        ({"a": {"__preflight_found": there(MEMORY_BACKEND)}, "b": {}}, {}, ""),
    ],
)
def test_what_of_portals_that_share_a_redis_needs_the_core_class(portals: Any, redis: Any, reason: str) -> None:
    found = shared_reason(["b", "a"], {**portals, "redis": redis}, ["redis"])
    assert found.startswith(reason)
    assert bool(found) is bool(reason)


@pytest.mark.parametrize(
    ("now", "classes", "reason"),
    [
        (None, {"core"}, "this run does not inspect b, which may need the core class"),
        (None, {"core", "pubsub"}, "this run does not inspect b"),
        (None, {"pubsub"}, ""),
        (None, set(), ""),
        # A change that a run has begun goes on.
        (PUBSUB_BACKEND, {"core", "pubsub"}, ""),
        (CORE_BACKEND, {"pubsub"}, "this run does not inspect b"),
    ],
)
def test_a_new_portal_has_the_class_of_those_that_a_run_does_not_inspect(now: Any, classes: Any, reason: str) -> None:
    hosts: Any = {"a": {"__preflight_found": there(now)}, "b": {}, "redis": {}}
    found = shared_reason(["a", "b"], hosts, ["redis"], classes)
    assert (found.startswith(reason), bool(found)) == (True, bool(reason))
    hosts["b"] = {"__preflight_found": there(now)}
    assert shared_reason(["a", "b"], hosts, ["redis"], classes) == ""


def judge(
    given: str, wanted: str, now: Any, reason: str = "", hosts: Any = (), goal: str = "site", **server: Any
) -> dict[str, Any]:
    """The plan for a portal whose layer has the class `now`."""
    asked = samples.asked(tethys_layer_backend=wanted, tethys_layer_hosts=list(hosts))
    options = samples.options(layer_backend=given, core_reason=reason, goal=goal)
    portal = samples.portal(settings={"layer_backend": now, "layer_hosts": [{"host": "127.0.0.1", "port": 6379}]})
    return samples.planned(asked, options, portal=portal, server=samples.server(**server))


CHANGES = f"CHANNEL_LAYERS changes from {CORE_BACKEND} to {PUBSUB_BACKEND}. Every process restarts, and until the last"
KEEP = f"To keep the class, set tethys_layer_backend to {CORE_BACKEND}."


def test_another_class_is_announced() -> None:
    [said] = judge("auto", PUBSUB_BACKEND, CORE_BACKEND)["warnings"]
    assert said.startswith(f"tethys_layer_backend is auto: {CHANGES}")
    assert "reaches no WebSocket of a process of the other. " in said
    assert said.endswith(KEEP)
    [said] = judge(PUBSUB_BACKEND, PUBSUB_BACKEND, CORE_BACKEND)["warnings"]
    assert said.startswith(f"tethys_layer_backend is {PUBSUB_BACKEND}: {CHANGES}")
    assert KEEP not in said
    [said] = judge("auto", PUBSUB_BACKEND, CORE_BACKEND, hosts=[["192.0.2.1", 6379]])["warnings"]
    assert "of the other, nor of another portal that has the other class. With pub/sub" in said
    # What an app may do with core and not with pub/sub, and not the other way round.
    limit = "elsewhere, as in a view or a Celery task, group_add raises RuntimeError, and group_discard has no effect."
    assert limit in said
    [said] = judge(CORE_BACKEND, CORE_BACKEND, PUBSUB_BACKEND)["warnings"]
    assert "group_add" not in said


@pytest.mark.parametrize("now", [PUBSUB_BACKEND, MEMORY_BACKEND, None, "own.Layer"])
def test_the_same_class_and_a_first_one_are_not(now: Any) -> None:
    assert judge("auto", PUBSUB_BACKEND, now)["warnings"] == []


@pytest.mark.parametrize("goal", ["check", "restart", "remove"])
def test_what_changes_no_class_announces_none(goal: str) -> None:
    assert not [said for said in judge("auto", PUBSUB_BACKEND, CORE_BACKEND, goal=goal)["warnings"] if "class" in said]


def test_a_portal_that_keeps_core_is_told_why() -> None:
    reason = core_reason({"capacity": 200}, None)
    [said] = judge("auto", CORE_BACKEND, CORE_BACKEND, reason)["warnings"]
    assert said == (
        "tethys_layer_backend is auto: portal_config_layer_options has capacity, which only the core class takes, so"
        f" the layer's class is {CORE_BACKEND}. Set tethys_layer_backend to that class to keep it when this reason is"
        " gone, without this message."
    )
    assert judge(CORE_BACKEND, CORE_BACKEND, CORE_BACKEND, reason)["warnings"] == []


def test_workers_that_keep_the_former_class_are_named() -> None:
    _change, said = judge("auto", PUBSUB_BACKEND, CORE_BACKEND, workers=[CELERY])["warnings"]
    assert "reach no WebSocket, and after the run Redis refuses them: /opt/conda/envs/tethys/bin/celery worker" in said
    assert said.endswith(" (process 7 of www-data). Restart them after the run.")
    assert judge("auto", PUBSUB_BACKEND, PUBSUB_BACKEND, workers=[CELERY])["warnings"] == []
    # A Redis that is not ours lets them in as before.
    _change, said = judge("auto", PUBSUB_BACKEND, CORE_BACKEND, hosts=HOST, workers=[CELERY])["warnings"]
    assert "reach no WebSocket: /opt/conda" in said


def test_workers_that_receive_nothing_with_pubsub_are_named() -> None:
    fix = f"Set tethys_layer_backend to {CORE_BACKEND} to use them."
    said = judge(PUBSUB_BACKEND, PUBSUB_BACKEND, CORE_BACKEND, workers=[RUNWORKER])["warnings"]
    assert len(said) == 3
    refused = "Redis refuses a channel that is named without the layer's prefix, so these workers receive nothing:"
    assert refused in said[2]
    assert said[2].endswith(fix)
    # Also in every run that leaves the class.
    assert judge(PUBSUB_BACKEND, PUBSUB_BACKEND, PUBSUB_BACKEND, workers=[RUNWORKER])["warnings"] == [said[2]]
    [said] = judge(PUBSUB_BACKEND, PUBSUB_BACKEND, PUBSUB_BACKEND, hosts=HOST, workers=[RUNWORKER])["warnings"]
    assert "each worker of a channel receives every message, and none that was sent while it did not run" in said
    assert len(judge(CORE_BACKEND, CORE_BACKEND, PUBSUB_BACKEND, workers=[RUNWORKER])["warnings"]) == 2


@pytest.mark.parametrize(
    ("wanted", "host", "is_announced"),
    [
        (PUBSUB_BACKEND, {"address": "rediss://192.0.2.1:6379", "socket_timeout": 15}, True),
        (PUBSUB_BACKEND, {"address": "rediss://192.0.2.1:6379", "socket_keepalive": True, "socket_timeout": 15}, False),
        (CORE_BACKEND, {"address": "rediss://192.0.2.1:6379", "socket_timeout": 15}, False),
    ],
)
def test_keepalive_for_a_shared_redis_is_announced(wanted: str, host: dict[str, Any], is_announced: bool) -> None:
    asked = samples.asked(tethys_layer_backend=wanted, tethys_layer_redis=["redis"])
    portal = samples.portal(settings={"layer_backend": wanted, "layer_hosts": [host]})
    said = samples.planned(asked, samples.options(layer_backend=wanted), portal=portal, server=samples.server())
    assert any("its hosts get socket_keepalive" in each for each in said["announce"]) is is_announced
