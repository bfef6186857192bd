# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of `container_options`; its documentation is in plugins/modules/container_options.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action, plain


class ActionModule(Action):
    """Renders the options of the container of Redis or of Sentinel, and runs nothing."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the options for each engine, and the digest in the container's label."""
        # Not above: each process that Ansible forks would load them to find any action plugin.
        from ansible_collections.tethys.channels.plugins.plugin_utils import redis_container
        from ansible_collections.tethys.channels.plugins.plugin_utils.model import CONFIG_LABEL
        from ansible_collections.tethys.channels.plugins.plugin_utils.step_types import RedisStep

        result: dict[str, Any] = super().run(tmp, task_vars)
        args, variables = plain(self._task.args), self.variables(task_vars or {})
        step, settings = RedisStep(**args["step"]), args["settings"]
        if args.get("sentinel"):
            return {**result, "docker": redis_container.of_sentinel(step, settings, args["sentinel"]).docker()}
        engine, memory = variables.read("redis_container_engine"), variables.read("redis_container_memory_mb")
        container = redis_container.of_redis(step, settings, memory, args["start_wait"], engine)
        digest = settings["config_sum"]
        if engine == "docker":
            return {**result, "docker": container.docker(), "digest": digest}
        options = container.podman(variables.read("redis_container_name"))
        digest = redis_container.podman_digest(digest, options)
        options += [f"--label={CONFIG_LABEL}={digest}"]
        return {**result, "podman": options, "command": container.command, "digest": digest}
