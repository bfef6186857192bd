# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `health_report`; what it does is in plugin_utils/health.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def health_report(seen: Any) -> dict[str, Any]:
    """See health_report.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.module_utils.text import each_text
    from ansible_collections.tethys.channels.plugins.plugin_utils import health, status
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown

    needed = ("plan", "asked", "health", "probe")
    missing = [name for name in needed if not isinstance(seen, Mapping) or not isinstance(seen.get(name), Mapping)]
    if missing:
        raise AnsibleFilterError(
            f"health_report: {', '.join(missing)} is missing or not a mapping: set plan, asked, health and probe."
        )
    report = health.judged(seen)
    found = status.status(report, str(seen.get("host", "")), float(seen.get("checked_at", 0)))
    return {**shown(health.page(report)), "status": each_text(found)}


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"health_report": health_report}
