# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter run_plan; the decisions themselves are tested beside the code behind it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.run_plan import FilterModule, run_plan
from ansible_collections.tethys.channels.plugins.plugin_utils import plan
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, Refusal
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

ASKED = samples.asked(tethys_asgi_processes=1)


def test_the_variables_alone() -> None:
    before = copy.deepcopy(ASKED)
    assert run_plan(ASKED, {}, {}) == {
        "refusals": [], "codes": [], "warnings": [], "announce": [], "ports": [8000], "port_count": 1,
    }  # fmt: skip
    assert before == ASKED


def test_reasons_are_in_the_answer_and_raise_nothing() -> None:
    result = run_plan({**ASKED, "tethys_port": "x", "tethys_home": ""}, {}, {"names": ["tethys_hme"]})
    assert [reason.split()[0] for reason in result["refusals"]] == ["tethys_hme", "tethys_home", "tethys_port"]
    assert result["codes"] == [
        {"code": "unknown-variable", "subject": "tethys_hme"},
        {"code": "path-missing", "subject": "tethys_home"},
        {"code": "port-invalid", "subject": "tethys_port"},
    ]


def test_a_refusal_that_escapes_is_the_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        raise Refusal(Problem("no", "it", "No."))

    monkeypatch.setattr(plan, "plan", refuse)
    with pytest.raises(AnsibleFilterError, match=r"^run_plan: No\.$"):
        run_plan(ASKED, {}, {})


def test_the_filter_is_found() -> None:
    assert FilterModule().filters() == {"run_plan": run_plan}
