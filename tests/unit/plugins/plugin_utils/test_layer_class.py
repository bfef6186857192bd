# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The class of the layer: what is chosen where the inventory names none, and what is announced of it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import chosen_class, core_reason
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, MEMORY_BACKEND, PUBSUB_BACKEND
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

HOST = [{"host": "127.0.0.1", "port": 6379}]


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
    for asked in (None, "auto"):
        assert chosen_class(asked, options, hosts) == (CORE_BACKEND if reason else PUBSUB_BACKEND)
    for asked in (CORE_BACKEND, PUBSUB_BACKEND, MEMORY_BACKEND, "x"):
        assert chosen_class(asked, options, hosts) == asked


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
    assert "of the other, nor of another portal that has the other class. To keep" in said


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
        f" the layer's class is {CORE_BACKEND}. Set tethys_layer_backend to that class to keep it without this message."
    )
    assert judge(CORE_BACKEND, CORE_BACKEND, CORE_BACKEND, reason)["warnings"] == []


def test_workers_that_keep_the_former_class_are_named() -> None:
    worker = {"pid": 7, "user": "www-data", "command": "/opt/conda/envs/tethys/bin/celery worker"}
    _change, said = judge("auto", PUBSUB_BACKEND, CORE_BACKEND, workers=[worker])["warnings"]
    assert "/opt/conda/envs/tethys/bin/celery worker (process 7 of www-data). Restart them after the run." in said
    assert judge("auto", PUBSUB_BACKEND, PUBSUB_BACKEND, workers=[worker])["warnings"] == []


def test_workers_of_a_channel_share_nothing_with_pubsub() -> None:
    worker = {"pid": 7, "user": "www-data", "command": "/opt/conda/envs/tethys/bin/python manage.py runworker jobs"}
    said = judge("auto", PUBSUB_BACKEND, CORE_BACKEND, workers=[worker])["warnings"]
    assert len(said) == 3
    assert "each worker of a channel receives every message, and none that was sent while it did not run" in said[2]
    assert f"Set tethys_layer_backend to {CORE_BACKEND} if each message is for one of them." in said[2]
    assert len(judge(CORE_BACKEND, CORE_BACKEND, PUBSUB_BACKEND, workers=[worker])["warnings"]) == 2


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
