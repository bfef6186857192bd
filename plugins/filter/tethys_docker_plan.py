# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `tethys_docker_plan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal


def tethys_docker_plan(asked: Any, found: Any) -> dict[str, Any]:
    """See tethys_docker_plan.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils.display import shown
    from ansible_collections.tethys.channels.plugins.plugin_utils.tethys_docker import docker_plan

    try:
        return shown(docker_plan(asked, found))
    except Refusal as refusal:
        raise AnsibleFilterError(f"tethys_docker_plan: {refusal}") from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"tethys_docker_plan": tethys_docker_plan}
