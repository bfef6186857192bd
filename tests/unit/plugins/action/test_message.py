# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message that is shown, that a task fails with, or that nobody reads."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tethys.channels.plugins.action import message


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ActionBase, "run", lambda *_args: {})


def run(**args: Any) -> Any:
    """Run the action with these arguments."""
    return message.ActionModule(Mock(args=args, async_val=0), Mock(), Mock(), Mock(), Mock(), Mock()).run(None, {})


SHOWN = {"_ansible_verbose_always": True}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, {}),
        ({"fails": False, "shows": "no"}, {}),
        ({"shows": True}, {"msg": ["One."], **SHOWN}),
        ({"fails": "yes"}, {"msg": ["One."], "failed": True}),
        ({"fails": True, "shows": True}, {"msg": ["One."], "failed": True}),
    ],
)
def test_a_message_is_seen_if_its_condition_is_true(args: dict[str, Any], expected: dict[str, Any]) -> None:
    assert run(msg=["One."], **args) == expected


@pytest.mark.parametrize("args", [{}, {"msg": "One.", "fails": "perhaps"}, {"msg": "One.", "when": True}])
def test_other_arguments_are_an_error(args: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError):
        run(**args)
