# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `shared_redis_plan`; what it does is in plugin_utils/decide/shared.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def shared_redis_plan(options: Any, found: Any, hosts: Any) -> dict[str, Any]:
    """See shared_redis_plan.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils.decide import shared
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown

    return shown(shared.redis_plan(options, found, hosts))


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"shared_redis_plan": shared_redis_plan}
