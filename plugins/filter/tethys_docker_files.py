# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `tethys_docker_files`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.processes import Refusal
from ansible_collections.tethys.channels.plugins.plugin_utils.tethys_docker import (
    carried,
    config_sum,
    dockerfile_block,
    layers,
    override_file,
)


def tethys_docker_files(asked: Any, look: Any, redis: Any = None) -> dict[str, Any]:
    """See tethys_docker_files.yml."""
    try:
        return {
            "override": override_file(asked, look, redis) if look.get("project") else "",
            "dockerfile": dockerfile_block(asked),
            "carried": carried(asked),
            "config_sum": config_sum(redis) if redis else "",
            "layers": layers(asked, (redis or {}).get("credentials")),
        }
    except Refusal as refusal:
        raise AnsibleFilterError(f"tethys_docker_files: {refusal}") from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"tethys_docker_files": tethys_docker_files}
