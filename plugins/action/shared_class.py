# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action `shared_class`: why all portals that share a Redis have the core class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action


class ActionModule(Action):
    """See plugins/modules/shared_class.py."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the reason, which is the same for each of the portals."""
        # Not above: each process that Ansible forks would load it to find any action plugin.
        from ansible_collections.tethys.channels.plugins.plugin_utils.class_choice import shared_reason

        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = self.variables(task_vars or {})
        redis = variables.read("preflight_layer_redis")
        portals = {*variables.read("preflight_portals"), *variables.read("ansible_play_batch")} - set(redis)
        # A server that cannot be reached returns nothing.
        logins = [row["login"] for row in variables.read("__preflight_logins")["results"] if "login" in row]
        classes = {name for login in logins for name in login["classes"]}
        return {**result, "reason": shared_reason(sorted(portals), variables.held["hostvars"], redis, classes)}
