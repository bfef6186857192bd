# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module `layer_health`, with the hosts of a Redis that is not the portal's own container, and the variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action, plain
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables


class ActionModule(Action):
    """See plugins/modules/layer_health.py."""

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run the module on the server."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = self.variables(task_vars or {})
        given = {"endpoints": _endpoints(variables), **variables.of_portal, **self._task.args}
        if given.get("environment"):
            given["environment"] = {**given["environment"], "given": _environment(variables)}
        return {**result, **self.ask("layer_health", variables.held, **given)}


def _environment(variables: Variables) -> str:
    """Return the processes' variables that the inventory sets, which are in no step: they may be secrets."""
    own = variables.of_role("asgi_service_environment")
    return json.dumps(plain(own)) if isinstance(own, Mapping) else ""


def _endpoints(variables: Variables) -> list[Any]:
    # Not above: each process that Ansible forks would load it to find any action plugin.
    from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints

    redis = variables.read("__layer_check_step")["redis"]
    if redis == "given":
        return list(redis_endpoints(variables.read("preflight_layer_hosts")))
    return list(variables.read("__preflight_shared")["endpoints"]) if redis == "shared" else []
