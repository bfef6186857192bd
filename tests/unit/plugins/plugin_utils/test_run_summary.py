# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences about a delivery check."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils import run_summary

PROBE: dict[str, Any] = {
    "provable": True,
    "reason": None,
    "processes": [{"pid": 101}, {"pid": 102}],
    "sent": 8,
    "received": 8,
    "delivery_seconds": 0.0123,
    "idle": None,
    "backend": "channels_redis.core.RedisChannelLayer",
    "versions": {"redis": "7.4.1", "channels": "4.3.2", "hiredis": None},
    "warnings": [],
}
NOT_THROUGH = "Delivery through a web server in front of the portal was not checked."
LAST = "channels_redis.core.RedisChannelLayer, channels 4.3.2, redis 7.4.1"


def summary(**changes: Any) -> list[str]:
    probe = {**copy.deepcopy(PROBE), **changes}
    before = copy.deepcopy(probe)
    lines = run_summary.summary(probe)
    assert probe == before
    return lines


def test_a_delivery() -> None:
    assert summary() == [
        "A message reached 8 of 8 WebSockets in 2 processes (101, 102) in 0.012 s. Another process sent it, using the"
        " portal's own settings.",
        NOT_THROUGH,
        LAST,
    ]


NGINX = "nginx (/etc/nginx/sites-enabled/tethys, line 8)"
FRONT = {"at": "https://portal.example.org/", "through": NGINX, "page": 200, "sockets": 4, "received": 3}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {},
            f"Through {NGINX}: https://portal.example.org/ answers HTTP 200, and a message reached 3 of 4 WebSockets.",
        ),
        ({"sockets": 0}, f"Through {NGINX}: https://portal.example.org/ answers HTTP 200."),
        ({"page": None}, f"{NGINX} does not answer."),
    ],
)
def test_what_is_in_front(changes: dict[str, Any], line: str) -> None:
    assert summary(front={**FRONT, **changes})[1] == line


def test_a_delivery_that_was_not_timed() -> None:
    assert summary(received=0, delivery_seconds=None)[0] == (
        "A message reached 0 of 8 WebSockets in 2 processes (101, 102). Another process sent it, using the portal's own"
        " settings."
    )


def test_a_delivery_in_no_time() -> None:
    assert " in 0.000 s." in summary(delivery_seconds=0)[0]


def test_a_silence() -> None:
    idle = {"seconds": 7, "of": 8, "alive": 6, "received": 5}
    assert summary(idle=idle)[1] == (
        "After 7 s of silence, 6 of 8 WebSockets were still open, and 5 received the next message."
    )


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("in_memory", "one process on the in-memory layer receives only its own messages"),
        ("no_consumer", "Tethys before 4.4 has no consumer to verify it through"),
        ("not_started", "the delivery check could not start"),
        ("other", "other"),
    ],
)
def test_no_proof(reason: str, why: str) -> None:
    lines = summary(provable=False, reason=reason, processes=[{"pid": 7}])
    assert lines == [f"1 process answers (7). Delivery was not verified: {why}.", LAST]


def test_warnings_come_last() -> None:
    assert summary(warnings=["One.", "Two."])[-2:] == ["One.", "Two."]


def test_without_versions() -> None:
    assert summary(versions=None)[-1].startswith("channels_redis.core.RedisChannelLayer")


NEXT = "Next: nothing to do. tethys.channels.check reports the layer's state at any time"


@pytest.mark.parametrize(
    ("changed", "unchanged", "lines"),
    [
        ([], False, ["Changed: nothing.", f"{NEXT}."]),
        (["Redis"], False, ["Changed: Redis.", f"{NEXT}; tethys.channels.remove undoes all runs."]),
        (
            ["Redis", "packages"],
            False,
            ["Changed: Redis and packages.", f"{NEXT}; tethys.channels.remove undoes all runs."],
        ),
        (
            ["Redis", "packages", "ASGI processes"],
            False,
            ["Changed: Redis, packages and ASGI processes.", f"{NEXT}; tethys.channels.remove undoes all runs."],
        ),
        (
            [],
            True,
            [
                "Changed: nothing. The server is unchanged since the last verified run, so only delivery was checked.",
                f"{NEXT}.",
            ],
        ),
    ],
)
def test_a_run_ends_with_what_it_changed_and_what_is_next(
    changed: list[str], unchanged: bool, lines: list[str]
) -> None:
    steps = {name: name in changed for name in ("Redis", "packages", "ASGI processes")}
    found = run_summary.summary(copy.deepcopy(PROBE), steps, unchanged)
    assert found[:-2] == summary()
    assert found[-2:] == lines
