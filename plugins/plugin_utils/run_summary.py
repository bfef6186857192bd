# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines at the end of a run: what the delivery check found, what was changed, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import Probe
from ansible_collections.tethys.channels.plugins.plugin_utils.check.delivery import delivery, through_front
from ansible_collections.tethys.channels.plugins.plugin_utils.check.words import enumerated

CHECK = "tethys.channels.check"
REMOVE = "tethys.channels.remove"


def summary(probe: Probe, steps: Mapping[str, bool] | None = None, unchanged: bool = False) -> list[str]:
    """Return what the delivery check found, in lines; with `steps`, also what the run has changed and what is next."""
    versions = probe.get("versions") or {}
    known = ", ".join(f"{name} {versions[name]}" for name in sorted(versions) if versions[name])
    lines = [*delivery(probe), *through_front(probe), f"{probe['backend']}, {known}", *(probe.get("warnings") or [])]
    return lines if steps is None else [*lines, *end_of_run(steps, unchanged)]


def end_of_run(steps: Mapping[str, bool], unchanged: bool) -> list[str]:
    """Return what a run has changed, and what to do next.

    Args:
        steps: what a run may change, each with whether this one did.
        unchanged: whether the server is as the last verified run left it, so that only delivery was checked.
    """
    changed = [name for name, value in steps.items() if value]
    first = f"Changed: {enumerated(changed) if changed else 'nothing'}."
    if unchanged:
        first += " The server is unchanged since the last verified run, so only delivery was checked."
    undo = f"; {REMOVE} undoes all runs" if changed else ""
    return [first, f"Next: nothing to do. {CHECK} reports the layer's state at any time{undo}."]
