# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of `tethys_docker_files`; its documentation is in plugins/modules/tethys_docker_files.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action, plain


class ActionModule(Action):
    """Renders the files of a project of Tethys Docker, and writes nothing."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the files, and the new CHANNEL_LAYERS."""
        # Not above: each process that Ansible forks would load it to find any action plugin.
        from ansible_collections.tethys.channels.plugins.plugin_utils import compose_file

        result: dict[str, Any] = super().run(tmp, task_vars)
        args, asked = self._task.args, self.variables(task_vars or {}).tethys_docker
        portal, redis = args.get("portal") or {}, args.get("redis")
        layers = (portal.get("settings") or {}).get("channel_layers")
        return {**result, **plain(compose_file.files(asked, args["docker"], redis, layers))}
