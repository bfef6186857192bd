# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `run_plan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal


def run_plan(asked: Any, options: Any, found: Any) -> dict[str, Any]:
    """See run_plan.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import plan
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown

    try:
        return shown(plan.plan(asked, options, found))
    except Refusal as refusal:
        raise AnsibleFilterError(f"run_plan: {refusal}") from refusal


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"run_plan": run_plan}
