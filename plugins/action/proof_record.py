# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module `proof_record`, with the digest of the variables, which is in no variable: it may be one of passwords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action


class ActionModule(Action):
    """See plugins/modules/proof_record.py."""

    def run(self, tmp: Any = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run the module on the server."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = self.variables(task_vars or {})
        given = {
            "inputs": variables.digest,
            **variables.of_portal,
            **self._task.args,
        }
        return {**result, **self.ask("proof_record", task_vars or {}, **given)}
