# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `channel_layers`; what it does is in plugin_utils/layers.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, Refusal

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.plugin_utils.layers import Layer


def channel_layers(
    hosts: Any,
    credentials: Any = None,
    options: Any = None,
    backend: str = CORE_BACKEND,
) -> dict[str, Layer]:
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import layers

    try:
        return layers.channel_layers(hosts, credentials, options, backend)
    except Refusal as refusal:
        raise AnsibleFilterError(f"channel_layers: {refusal}") from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"channel_layers": channel_layers}
