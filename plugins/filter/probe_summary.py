# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter `probe_summary`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def probe_summary(probe: Any) -> list[str]:
    """See probe_summary.yml."""
    if not isinstance(probe, Mapping) or "processes" not in probe:
        raise AnsibleFilterError(f"probe_summary: {probe!r:.60} is no answer of layer_probe: give its `probe`.")
    processes = probe["processes"]
    pids = ", ".join(str(process["pid"]) for process in processes)
    lines = []
    if probe["provable"]:
        line = f"A message reached {probe['received']} of {probe['sent']} WebSockets"
        line += f" over {len(processes)} process(es) ({pids})"
        if probe["delivery_seconds"] is not None:
            line += f" in {probe['delivery_seconds']:.3f} s"
        lines.append(line + ", sent from another process with the portal's own settings.")
        idle = probe.get("idle")
        if idle:
            lines.append(
                f"After {idle['seconds']} s of silence {idle['alive']} of {idle['of']} WebSockets were open,"
                f" and {idle['received']} got the next message."
            )
    else:
        why = {
            "in_memory": "one process on the in-memory layer hears only itself",
            "no_consumer": "Tethys before 4.4 has no consumer to prove it through",
        }.get(str(probe["reason"]), str(probe["reason"]))
        lines.append(f"{len(processes)} process(es) answer ({pids}); delivery was not proved: {why}.")
    versions = probe.get("versions") or {}
    known = ", ".join(f"{name} {versions[name]}" for name in sorted(versions) if versions[name])
    lines.append(f"{probe['backend']}, {known}")
    return [*lines, *(probe.get("warnings") or [])]


class FilterModule:
    """Ansible's way to the filter."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"probe_summary": probe_summary}
