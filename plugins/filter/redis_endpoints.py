# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `redis_endpoints`; what it does is in plugin_utils/layer_hosts.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal


def redis_endpoints(hosts: Any, credentials: Any = None) -> list[Any]:
    """See redis_endpoints.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import layer_hosts

    try:
        return list(layer_hosts.redis_endpoints(hosts, credentials))
    except Refusal as refusal:
        raise AnsibleFilterError(f"redis_endpoints: {refusal}") from refusal


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"redis_endpoints": redis_endpoints}
