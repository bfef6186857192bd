# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of `tethys_docker_plan`; its documentation is in plugins/modules/tethys_docker_plan.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action, plain


class ActionModule(Action):
    """Decides what a run does on a project of Tethys Docker, and does nothing on a server."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan, or fail with every reason against it."""
        # Not above: each process that Ansible forks would load them to find any action plugin.
        from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
        from ansible_collections.tethys.channels.plugins.plugin_utils.decide.project import DockerFound
        from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown
        from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal, texts
        from ansible_collections.tethys.channels.plugins.plugin_utils.tethys_docker import docker_plan

        result: dict[str, Any] = super().run(tmp, task_vars)
        variables, args = self.variables(task_vars or {}), self._task.args
        values = variables.tethys
        portal: Portal = args.get("portal", {})
        found: DockerFound = {
            "names": list(values),
            "values": values,
            "known": variables.read("preflight_known_variables", ()),
            "docker": args.get("docker"),
            "portal": portal,
        }
        try:
            plan = plain(shown(docker_plan(variables.tethys_docker, found)))
        except Refusal as refusal:
            return {**result, "failed": True, "msg": ["Refused; nothing was changed.", *texts(refusal.problems)]}
        # With the project's facts alone, those of the portal are still to come.
        if plan["refusals"] and ("portal" in args or "docker" not in args):
            return {**result, "failed": True, "msg": ["Refused; nothing was changed.", *plan["refusals"]]}
        # What a result calls warnings, Ansible prints in its own way.
        return {**result, "cautions": plan.pop("warnings"), **plan}
