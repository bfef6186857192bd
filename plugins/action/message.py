# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action `message`; its documentation is in plugins/modules/message.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

ARGUMENTS = {
    "msg": {"type": "raw", "required": True},
    "fails": {"type": "bool", "default": False},
    "shows": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Shows a message, fails with it, or does nothing; it needs no connection."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the message if it is to be seen."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        if given["fails"]:
            return {**result, "failed": True, "msg": given["msg"]}
        # The key by which Ansible's debug has its result printed without -v.
        return {**result, "msg": given["msg"], "_ansible_verbose_always": True} if given["shows"] else result
