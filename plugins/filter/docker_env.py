# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `docker_env`; what it does is in plugin_utils/docker_env.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal


def docker_env(value: Any, carrier: str = "dockerfile") -> str:
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import docker_env as carriers

    try:
        return carriers.docker_env(value, carrier)
    except Refusal as refusal:
        raise AnsibleFilterError(f"docker_env: {refusal}") from None


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"docker_env": docker_env}
