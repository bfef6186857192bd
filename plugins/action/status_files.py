# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's part of `status_files`; its documentation is in plugins/modules/status_files.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tethys.channels.plugins.plugin_utils import status_metrics, status_page
from ansible_collections.tethys.channels.plugins.plugin_utils.status import Status, with_fleet

ARGUMENTS = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "json": {"type": "str", "default": ""},
    "prometheus": {"type": "str", "default": ""},
    "html": {"type": "str", "default": ""},
}


def statuses(hosts: list[str], hostvars: Mapping[str, Any]) -> Iterator[Status]:
    """Yield the status of each host that was checked."""
    for host in hosts:
        seen = hostvars[host]
        found = seen.get("layer_check_status")
        if found:
            between = seen.get("__fleet_check_result") or {}
            yield with_fleet(found, between.get("probe"))


class ActionModule(ActionBase):
    """Renders what `check` found on hosts as the text of files; it does nothing on a server."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the files that were requested, each as a path and its text."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _spec, given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        found = list(statuses(given["hosts"], (task_vars or {})["hostvars"]))
        texts = {
            "json": lambda: json.dumps(found, indent=2, sort_keys=True) + "\n",
            "prometheus": lambda: status_metrics.as_metrics(found),
            "html": lambda: status_page.as_page(found),
        }
        files = (
            [{"path": given[name], "content": text()} for name, text in texts.items() if given[name]] if found else []
        )
        return {**result, "changed": False, "files": files}
