# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action `decide`: what a run does on a host, from what `gather` found there, or every reason against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.tethys.channels.plugins.plugin_utils import plan
from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action, plain
from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Facts, Gathered
from ansible_collections.tethys.channels.plugins.plugin_utils.steps import steps

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan


class ActionModule(Action):
    """See plugins/modules/decide.py."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan of the run."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = self.variables(task_vars or {})
        is_redis = variables.read("preflight_kind") == "redis"
        plan = plain(shown({**(_of_redis_host(variables) if is_redis else _of_portal(variables))}))
        if plan["refusals"]:
            # The Redis that portals share has been brought up by then.
            where = " on this server" if variables.read("__preflight_logins") is not None else ""
            return {**result, "failed": True, "msg": [f"Refused; nothing was changed{where}.", *plan["refusals"]]}
        plan["as_proved"] = bool(plan.get("as_proved")) and not boolean(self._task.args.get("compares_all", False))
        decided = {
            # What a result calls warnings, Ansible prints in its own way.
            "cautions": plan["warnings"],
            "announce": plan["announce"],
            "trust": plan["trust"],
            "platform": plan["platform"],
            **steps(plan),
        }
        if variables.goal == "check":
            # What the page is written from.
            decided["layer_check"]["page"] = {
                "plan": plan,
                "asked": {
                    "backend": variables.backend_now,
                    "container_name": variables.of_role("redis_container_name"),
                    "image": variables.of_role("redis_container_image"),
                },
                "packages": plain(variables.found["packages"]),
            }
        return {**result, **decided}


def _of_portal(variables: Variables) -> Plan:
    found = variables.found
    shared = variables.read("__preflight_shared", {})
    decision = plan.decide(variables.inputs, Facts.given(cast(Gathered, {"redis": shared.get("redis"), **found})))
    # By this server's clock.
    started_at = shared.get("started_at") and shared["started_at"] + (found["server"].get("clock_ahead") or 0)
    decision.step.update(
        {
            "requirements": variables.requirements,
            "upstream": variables.of_role("nginx_upstream_name"),
            "container_name": variables.of_role("redis_container_name"),
            "recorded": found["recorded"],
            "prefix": variables.prefix,
            "home": variables.read("preflight_home"),
            "conda_prefix": variables.read("preflight_conda_prefix"),
            "run_dir": variables.of_role("asgi_service_run_dir"),
            "log_dir": variables.of_role("asgi_service_log_dir"),
            "redis_acl": variables.redis_acl,
            "backend": variables.backend,
            "backend_now": variables.backend_now,
            "redis_started_at": started_at or 0,
        }
    )
    return decision.printed()


def _of_redis_host(variables: Variables) -> Plan:
    # Not above: only a run with a Redis that portals share needs it.
    from ansible_collections.tethys.channels.plugins.plugin_utils.decide import shared

    files, unread = variables.certificate_files()
    found: shared.RedisFound = {
        "names": list(variables.values),
        "values": variables.values,
        "known": variables.read("preflight_known_variables"),
        "files": files,
        "unreadable": unread,
        "server": variables.found["server"],
    }
    plan = shared.redis_plan(variables.redis_options, found, variables.held["hostvars"])
    return {**plan, "redis_acl": variables.redis_acl}
