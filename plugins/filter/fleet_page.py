# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `fleet_page`; what it does is in plugin_utils/fleet.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def fleet_page(names: Any, hosts: Any, compare: Any = False) -> dict[str, Any]:
    """See fleet_page.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import fleet
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown

    return shown(fleet.page(names, hosts, bool(compare)))


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"fleet_page": fleet_page}
