# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filter takes; what it says is tested in plugin_utils/test_health.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.health_report import FilterModule, health_report
from ansible_collections.tethys.channels.plugins.plugin_utils import health
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_health import SEEN


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (None, "plan, asked, health, probe is missing"),
        ("page", "plan, asked, health, probe is missing"),
        ({"plan": {}, "asked": {}, "health": None}, "health, probe is missing"),
    ],
)
def test_what_is_no_look_is_refused(seen: Any, words: str) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"^health_report: {words} or not a mapping: set "):
        health_report(seen)


def test_the_filter_is_the_report_and_the_status() -> None:
    page = FilterModule().filters()["health_report"]({**SEEN, "host": "portal", "checked_at": 1790000000.5})
    assert page["lines"] == health.report(SEEN)["lines"]
    assert page["ok"] and page["status"]["host"] == "portal" and page["status"]["checked_at"] == 1790000000


def test_no_text_of_the_status_acts_on_a_terminal() -> None:
    seen = copy.deepcopy(SEEN)
    seen["health"]["processes"][0]["name"] = "asgi:\x1b[31m\x9b\u202e"
    [process, *_others] = health_report({**seen, "host": "portal", "checked_at": 0})["status"]["processes"]
    assert process["name"].isprintable()
