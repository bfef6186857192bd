# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action `gather`: reads the variables and the server, and refuses what no server could make right."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

# The process that forks the workers loads them, once for this action, `decide` and `report` on all hosts.
from ansible_collections.tethys.channels.plugins.plugin_utils import plan
from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action
from ansible_collections.tethys.channels.plugins.plugin_utils.display import refused, shown
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints
from ansible_collections.tethys.channels.plugins.plugin_utils.model import AUTO, Facts

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem


class ActionModule(Action):
    """See plugins/modules/gather.py."""

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what was found on the server."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = self.variables(task_vars or {})
        found = self._redis_host if variables.read("preflight_kind") == "redis" else self._portal
        return {**result, **found(variables)}

    def _portal(self, variables: Variables) -> dict[str, Any]:
        conflicts = _conflicts(variables)
        if conflicts:
            return {"failed": True, "msg": refused(conflicts)}
        of_variables = shown({**plan.decide(variables.inputs, Facts()).printed()})
        if of_variables["refusals"]:
            return {"failed": True, "msg": ["Refused; nothing was changed.", *of_variables["refusals"]]}
        digest = variables.digest
        answer = self._look(variables, digest, of_variables["ports"])
        if answer.get("failed"):
            return answer
        answer["recorded"] = bool(digest)
        answer["packages"] = self._packages(variables, answer["portal"])
        hosts = variables.read("preflight_layer_hosts")
        if hosts:
            redis = self.ask(
                "redis_ping",
                variables.held,
                endpoints=redis_endpoints(hosts),
                backend=variables.with_found(answer).backend,
                prefix=variables.prefix,
            )
            if redis.get("failed"):
                return redis
            answer["redis"] = redis
        return answer

    def _look(self, variables: Variables, digest: str, ports: list[int]) -> dict[str, Any]:
        """Return what one module finds of the portal and its server."""
        supervisor_config = variables.read("preflight_supervisor_config")
        folders = [variables.of_role("asgi_service_run_dir"), variables.of_role("asgi_service_log_dir")]
        portal = {
            "prefix": variables.read("preflight_conda_prefix"),
            "home": variables.read("preflight_home"),
            "timeout": variables.read("preflight_timeout"),
            "portal_name": variables.names.portal,
        }
        if variables.read("preflight_user"):
            portal["user"] = variables.read("preflight_user")
        if variables.wants_packages:
            portal["requirements"] = variables.requirements
        return self.ask(
            "server_info",
            variables.held,
            portal=portal,
            ports=ports,
            port_count=len(ports),
            upstream=variables.of_role("nginx_upstream_name"),
            upstream_wanted=variables.read("preflight_asgi_layout") == "socket_per_process",
            # They keep what a rotation or a change of the class replaces, and some need the core class.
            workers=True,
            engine=variables.of_role("redis_container_engine"),
            container_name=variables.of_role("redis_container_name"),
            container_image=variables.of_role("redis_container_image"),
            redis_port=variables.of_role("redis_container_port"),
            controller_time=time.time() if variables.read("preflight_layer_redis") else None,
            proof_inputs=digest or None,
            folders=folders,
            log_dir=folders[1],
            supervisor_config=None if supervisor_config == AUTO else supervisor_config,
        )

    def _packages(self, variables: Variables, portal: Mapping[str, Any]) -> dict[str, Any]:
        """Return how the packages would be resolved; a refusal (its `msg`) is reported together with the others."""
        # What has everything is not asked again.
        if not variables.wants_packages or portal.get("prefix_problem") or portal.get("lacking") == []:
            return {}
        source = ("index_url", "extra_index_urls", "proxy", "cert", "find_links")
        answer = self.ask(
            "layer_packages",
            variables.held,
            prefix=variables.read("preflight_conda_prefix"),
            requirements=variables.requirements,
            allow_moves=variables.of_role("channels_redis_allow_moves"),
            no_index=variables.of_role("channels_redis_no_index"),
            user=portal.get("user") or None,
            **{name: variables.read(f"channels_redis_{name}") for name in source},
        )
        return {name: value for name, value in answer.items() if name not in ("failed", "ansible_facts", "invocation")}

    def _redis_host(self, variables: Variables) -> dict[str, Any]:
        options = variables.redis_options
        watched = options["topology"] == "sentinel"
        answer = self.ask(
            "server_info",
            variables.held,
            ports=[options["sentinel_port"]] if watched else [],
            sentinel_name=options["sentinel_name"],
            engine=options["redis_container_engine"],
            container_name=options["redis_container_name"],
            container_image=options["redis_container_image"],
            redis_port=options["redis_container_port"],
            redis_address=options["address"],
            controller_time=time.time(),
        )
        # Nobody but root can read the login.
        if watched and options["goal"] != "remove" and not answer.get("failed") and answer["server"]["root"]:
            said = self.ask(
                "sentinel_info",
                variables.held,
                address=options["address"],
                port=options["redis_container_port"],
                sentinel_port=options["sentinel_port"],
                servers=len(options["names"]),
            )
            return said if said.get("failed") else {**answer, "sentinel": said["sentinel"]}
        return answer


def _conflicts(variables: Variables) -> list[Problem]:
    """Return the conflicts with other portals on this server, if no play has checked the inventory.

    With --limit, Ansible leaves out the play of localhost that does.
    """
    if not variables.held.get("ansible_limit"):
        return []
    from ansible_collections.tethys.channels.plugins.plugin_utils.decide import inventory

    hosts = {*variables.held["ansible_play_hosts_all"], *variables.held["groups"].get("portals", [])}
    portals = hosts - set(variables.read("preflight_layer_redis") or [])
    return inventory.problems(portals, variables.held["hostvars"], [variables.held["inventory_hostname"]])
