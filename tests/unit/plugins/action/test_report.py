# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action `report` returns; the sentences are tested in plugin_utils/test_check.py and test_fleet.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.action import report
from ansible_collections.tethys.channels.plugins.plugin_utils import run_summary
from ansible_collections.tethys.channels.plugins.plugin_utils.check import page as check_page
from ansible_collections.tethys.channels.tests.unit.plugins.action.run_action import run_action
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_check import SEEN
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_fleet import ONE, TWO, host
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_run_summary import PROBE


def of_layer(seen: dict[str, Any]) -> dict[str, Any]:
    """The page of a check."""
    decided = {"plan": seen["plan"], "asked": seen["asked"], "packages": (seen.get("site") or {}).get("packages", {})}
    site = {name: step for name, step in (seen.get("site") or {}).items() if name != "packages"}
    args = {"of": "layer", "decided": decided, "health": seen["health"], "probe": seen["probe"], "site": site}
    result, calls = run_action(report, args=args)
    assert calls == {}
    return dict(result)


def test_a_check_has_the_page_and_the_status() -> None:
    page = of_layer(SEEN)
    assert page["lines"] == check_page.page(check_page.judged(SEEN))["lines"]
    assert page["ok"] and page["status"]["ok"]
    assert page["status"]["host"] == "portal"
    assert page["status"]["checked_at"] > 1790000000


def test_packages_to_install_are_on_the_page() -> None:
    moves = [{"name": "channels_redis", "from": None, "to": "4.3.0"}]
    page = of_layer({**SEEN, "site": {"packages": {"moves": moves}}})
    assert "the package channels_redis (not installed) -> 4.3.0" in page["lines"][-1]


def test_no_text_of_the_status_acts_on_a_terminal() -> None:
    seen = copy.deepcopy(SEEN)
    seen["health"]["processes"][0]["name"] = "asgi:\x1b[31m\x9b\u202e"
    [process, *_others] = of_layer(seen)["status"]["processes"]
    assert process["name"].isprintable()


def test_a_delivery_is_summed_up() -> None:
    args = {"of": "delivery", "probe": {**PROBE, "ok": True}}
    assert run_action(report, args=args)[0]["lines"] == run_summary.summary(PROBE)
    args.update(changed_steps={"Redis": True}, unchanged=False)
    assert run_action(report, args=args)[0]["lines"] == run_summary.summary(PROBE, {"Redis": True})


def test_messages_that_did_not_arrive_end_the_run() -> None:
    probe = {**PROBE, "ok": False, "problems": ["Two\nlines."], "codes": [{"code": "not-received", "subject": "1"}]}
    result, _calls = run_action(report, args={"of": "delivery", "probe": probe})
    assert result["failed"]
    assert result["msg"] == ["The channel layer does not deliver.", "Two lines. [not-received]"]


@pytest.mark.parametrize(("goal", "ok"), [("check", False), ("site", True)])
def test_only_a_check_compares_the_settings_of_portals(goal: str, ok: bool) -> None:
    args = {"of": "portals", "portals": ["a", "b"]}
    hosts = {"a": host([ONE]), "b": host([TWO])}
    result, _calls = run_action(report, args=args, hosts=hosts, preflight_goal=goal)
    assert result["ok"] is ok
    assert len(result["lines"]) == 2
