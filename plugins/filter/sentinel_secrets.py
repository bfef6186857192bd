# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `sentinel_secrets`; what it does is in plugin_utils/sentinel.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal


def sentinel_secrets(names: Any, hosts: Any, rotate: Any = False) -> dict[str, str]:
    """See sentinel_secrets.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import sentinel

    try:
        return sentinel.common_secrets(names, hosts, bool(rotate))
    except Refusal as refusal:
        raise AnsibleFilterError(f"sentinel_secrets: {refusal}") from None


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"sentinel_secrets": sentinel_secrets}
