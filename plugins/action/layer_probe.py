# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs the module `layer_probe`, and meanwhile holds WebSockets open to `url` from the controller."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.tethys.channels.plugins.module_utils.problem import codes, texts
from ansible_collections.tethys.channels.plugins.plugin_utils.action import uncollected

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.front_check import FrontCheck

MODULE = "tethys.channels.layer_probe"
WEB_SOCKETS = 6
# For the start of the portal's Python, and for what is on the way.
MARGIN_SECONDS = 120
ARRIVAL_SECONDS = 4.0
TIMEOUT = 60


class ActionModule(ActionBase):
    """See plugins/modules/layer_probe.py."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, with what the controller sees in its answer."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        url = arguments.pop("url", None)
        if not url:
            result.update(self._module(arguments, task_vars))
            return result
        # Not above: few portals have such an address.
        from ansible_collections.tethys.channels.plugins.module_utils.front_check import Front, FrontCheck
        from ansible_collections.tethys.channels.plugins.module_utils.web_socket import split_url

        found = split_url(url)
        if found is None or arguments.get("front") or arguments.get("among"):
            raise AnsibleActionFail(f"url is {url!r}: give https://portal.example.org/, and neither front nor among.")
        place, prefix = found
        arguments["word"] = arguments.get("word") or secrets.token_hex(8)
        seconds = int(arguments.get("timeout") or TIMEOUT) + int(arguments.get("idle_seconds") or 0)
        check = FrontCheck(Front(place.origin + prefix, place, prefix), time.monotonic() + seconds)
        try:
            if check.look(None):
                check.open_sockets(str(arguments["word"]), WEB_SOCKETS, seconds + MARGIN_SECONDS)
            result.update(self._module(arguments, task_vars))
            self._judge(check, result.get("probe") or {})
        finally:
            check.close()
        if result.get("probe"):
            result["probe"] = _with_front(result["probe"], check)
        return result

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        wrap = self._task.async_val and not self._connection.has_native_async
        with uncollected():
            answer: dict[str, Any] = self._execute_module(
                module_name=MODULE, module_args=arguments, task_vars=task_vars, wrap_async=wrap
            )
        return answer

    @staticmethod
    def _judge(check: FrontCheck, probe: Mapping[str, Any]) -> None:
        """Check what arrived here, if the processes got it."""
        if not probe.get("sent") or probe["received"] < probe["sent"]:
            return
        idle = probe.get("idle")
        check.mark(1 if idle else 0)
        check.wait(ARRIVAL_SECONDS)
        check.judge(f" after {idle['seconds']} seconds of silence" if idle else "")


def _with_front(probe: Mapping[str, Any], check: FrontCheck) -> dict[str, Any]:
    """Return the answer of the module with what the controller saw."""
    return {
        **probe,
        "ok": probe["ok"] and not check.problems,
        "problems": [*probe["problems"], *texts(check.problems)],
        "codes": [*probe["codes"], *codes(check.problems)],
        "warnings": [*probe["warnings"], *check.warnings],
        "front": check.answer(),
    }
