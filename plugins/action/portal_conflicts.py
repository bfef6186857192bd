# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action `portal_conflicts`; what is in conflict is in plugin_utils/decide/inventory.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The process that forks the workers loads them, once for this action and those that need them later.
from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import inventory
from ansible_collections.tethys.channels.plugins.plugin_utils.display import refused


class ActionModule(Action):
    """See plugins/modules/portal_conflicts.py."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Fail with what portals of one server have in common and cannot."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        held, portals = task_vars or {}, self._task.args["portals"]
        rest = held["groups"].get("portals", [])
        problems = inventory.problems({*portals, *rest}, held["hostvars"], portals)
        return {**result, "failed": True, "msg": refused(problems)} if problems else result
