# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `asgi_processes`; what it decides is in plugin_utils/decide/bokeh.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import bokeh as rule
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, Refusal


def asgi_processes(
    value: Any,
    bokeh: Any = None,
    policy: str = "single",
    backend: str = CORE_BACKEND,
    layout: str = "shared_socket",
) -> int:
    try:
        return rule.asgi_processes(value, bokeh, policy, backend, layout)
    except Refusal as refusal:
        raise AnsibleFilterError(f"asgi_processes: {refusal}") from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"asgi_processes": asgi_processes}
