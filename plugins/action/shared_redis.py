# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action `shared_redis`: how a portal reaches the Redis that it shares with others, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action, plain

# What a dry run registers of a host whose Redis it would change.
WOULD_CHANGE = ("__redis_container_settings", "__redis_container_result", "__redis_container_predicted")


class ActionModule(Action):
    """See plugins/modules/shared_redis.py."""

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return how the portal reaches the Redis, with its passwords, and what that answered."""
        # Not above: each process that Ansible forks would load it to find any action plugin.
        from ansible_collections.tethys.channels.plugins.plugin_utils.shared import shared_redis

        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = self.variables(task_vars or {})
        names, hosts = variables.read("preflight_layer_redis"), variables.held["hostvars"]
        shared = shared_redis(names, hosts, variables.backend, variables.read("__preflight_logins")["results"])
        result.update(plain(shared))
        # In a dry run nothing has been put right yet of what this run would.
        would_change = variables.is_set("ansible_check_mode") and any(
            (hosts[name].get(fact) or {}).get("changed") for name in names for fact in WOULD_CHANGE
        )
        if not shared["missing"] and not shared["unreached"] and not would_change:
            result["redis"] = self.ask(
                "redis_ping",
                variables.held,
                endpoints=shared["endpoints"],
                backend=variables.backend,
                prefix=variables.prefix,
            )
        return result
