# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `inputs_sum`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def inputs_sum(values: Any) -> str:
    """See inputs_sum.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.plugin_utils import inputs

    if not isinstance(values, Mapping):
        raise AnsibleFilterError(f"inputs_sum: {values!r:.60} is no dictionary: give variables by their names.")
    return inputs.sum_of(values)


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"inputs_sum": inputs_sum}
