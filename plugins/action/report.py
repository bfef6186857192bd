# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of `report`; its documentation is in plugins/modules/report.py."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action, plain
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables


class ActionModule(Action):
    """Evaluates what a run found, and does nothing on a server."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what is to be printed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables, args = self.variables(task_vars or {}), self._task.args
        of = {"delivery": _delivery, "layer": _layer, "portals": _portals}[str(args["of"])]
        return {**result, **plain(of(variables, args))}


def _delivery(_variables: Variables, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lines about a delivery check, or fail with what it found wrong."""
    # Not above: each process that Ansible forks would load them to find any action plugin.
    from ansible_collections.tethys.channels.plugins.plugin_utils import run_summary
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown

    probe = args["probe"]
    if not probe["ok"]:
        problems = shown({"problems": probe["problems"], "codes": probe["codes"]})["problems"]
        return {"failed": True, "msg": ["The channel layer does not deliver.", *problems]}
    steps, is_unchanged = args.get("changed_steps"), bool(args.get("unchanged", False))
    return shown({"lines": run_summary.summary(probe, steps, is_unchanged)})


def _layer(variables: Variables, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of a check, and the same as a status."""
    from ansible_collections.tethys.channels.plugins.module_utils.text import each_text
    from ansible_collections.tethys.channels.plugins.plugin_utils import status
    from ansible_collections.tethys.channels.plugins.plugin_utils.check import page
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown

    decided = args["decided"]
    site = {**args["site"], "packages": decided["packages"]}
    found = page.judged(
        {
            "plan": decided["plan"],
            "asked": decided["asked"],
            "health": args["health"],
            "probe": args["probe"],
            "site": site,
        }
    )
    data = status.status(found, str(variables.read("inventory_hostname")), time.time())
    return {**shown({**page.page(found)}), "status": each_text(data)}


def _portals(variables: Variables, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the page of portals that share a layer."""
    from ansible_collections.tethys.channels.plugins.plugin_utils import fleet
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown

    # Only in a check are the gathered settings current; a run of site has changed them since.
    page = fleet.page(args["portals"], variables.held["hostvars"], variables.goal == "check")
    return shown({**page})
