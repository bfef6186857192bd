# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module `redis_settings`, with what is on the controller: the certificate, and what Sentinel's servers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables


class ActionModule(Action):
    """See plugins/modules/redis_settings.py."""

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run the module on the server."""
        # Not above: each process that Ansible forks would load it to find any action plugin.
        from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal

        result: dict[str, Any] = super().run(tmp, task_vars)
        variables, args = self.variables(task_vars or {}), self._task.args
        try:
            # A play of somebody's own may give this role another image than the preflight had.
            users: dict[str, Any] = {"acl": variables.redis_acl}
            if variables.channel_rights is not None:
                users["channel_rights"] = variables.channel_rights
            given = {**users, **_certificate(variables, args), **_common_secrets(variables, args), **args}
        except Refusal as refusal:
            return {**result, "failed": True, "msg": str(refusal)}
        return {**result, **self.ask("redis_settings", variables.held, **given)}


def _certificate(variables: Variables, args: Mapping[str, Any]) -> dict[str, str]:
    """Return the current certificate; a dry run may have none."""
    if args.get("transport") != "tls":
        return {}
    texts, _unread = variables.certificate_files()
    parts = ("tls_cert", "tls_key", "tls_ca")
    is_there = bool(texts["redis_container_tls_cert"])
    return {part: texts[f"redis_container_{part}"] if is_there else "" for part in parts}


def _common_secrets(variables: Variables, args: Mapping[str, Any]) -> dict[str, str]:
    """Return the passwords that all servers have which Sentinel watches."""
    from ansible_collections.tethys.channels.plugins.plugin_utils.sentinel import common_secrets

    if args.get("topology") != "sentinel":
        return {}
    rotates = variables.is_set("redis_container_rotate") and not boolean(args.get("retire", False))
    return common_secrets(variables.read("preflight_layer_redis"), variables.held["hostvars"], rotates)
