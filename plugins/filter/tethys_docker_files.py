# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `tethys_docker_files`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal


def tethys_docker_files(asked: Any, look: Any, redis: Any = None, layers: Any = None) -> dict[str, Any]:
    """See tethys_docker_files.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import compose_file

    try:
        return {
            "override": compose_file.override_file(asked, look, redis) if look.get("project") else "",
            "dockerfile": compose_file.dockerfile_block(asked),
            "carried": compose_file.carried(asked),
            "config_sum": compose_file.config_sum(redis) if redis else "",
            "layers": compose_file.layers(asked, (redis or {}).get("credentials")),
            "further": compose_file.further(asked, (redis or {}).get("credentials"), layers),
            "bare": compose_file.bare(asked, layers),
            "locked_out": compose_file.locked_out(asked, layers),
            "is_ours": compose_file.is_ours(asked, layers),
        }
    except Refusal as refusal:
        raise AnsibleFilterError(f"tethys_docker_files: {refusal}") from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"tethys_docker_files": tethys_docker_files}
