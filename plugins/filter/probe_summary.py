# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `probe_summary`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def probe_summary(probe: Any, steps: Any = None, unchanged: Any = False) -> list[str]:
    """See probe_summary.yml."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.module_utils.text import each_text
    from ansible_collections.tethys.channels.plugins.plugin_utils.health import delivery, end_of_run, through_front

    if not isinstance(probe, Mapping) or "processes" not in probe:
        raise AnsibleFilterError(f"probe_summary: {probe!r:.60} is no answer of layer_probe: give its `probe`.")
    versions = probe.get("versions") or {}
    known = ", ".join(f"{name} {versions[name]}" for name in sorted(versions) if versions[name])
    lines = [*delivery(probe), *through_front(probe), f"{probe['backend']}, {known}", *(probe.get("warnings") or [])]
    return list(each_text(lines if steps is None else [*lines, *end_of_run(steps, bool(unchanged))]))


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"probe_summary": probe_summary}
