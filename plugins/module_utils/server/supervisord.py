# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the server's supervisords is the portal's: the distribution's, or one with its configuration elsewhere."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import NamedTuple, Sequence

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import PORTAL
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import SupervisorFiles
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import writable_by_others

# In the portal's state.
NOTE = "supervisor.json"
_OPTION = re.compile(r"-c(.+)|--configuration=(.+)")


class Found(NamedTuple):
    """The configuration to read, and that of a supervisord of root's which users besides root could change."""

    config: str | None
    is_running: bool = False
    of_others: str | None = None


def find(usual: Sequence[str]) -> Found:
    """Return the configuration of the supervisord that runs a portal, else the first usual one that exists.

    Args:
        usual: the places in which distributions have it.
    """
    there = next((name for name in usual if Path(name).is_file()), None)
    started = [(pid, _config_of(pid)) for pid in proc.named("supervisord") if proc.is_roots(pid)]
    elsewhere = [(pid, path) for pid, path in started if path and path not in usual]
    if not elsewhere or (there and _runs_a_portal(there)):
        return Found(there)
    of_portals = [(pid, path) for pid, path in elsewhere if _runs_a_portal(path)]
    for pid, path in of_portals:
        if not proc.writers_of_program(pid) and not writable_by_others(path):
            return Found(path, is_running=True)
    return Found(there, of_others=of_portals[0][1] if of_portals else None)


def keep(state_dir: Path, config: str | None, usual: Sequence[str]) -> None:
    """Record the configuration of the Supervisor that runs the portal, if it is elsewhere."""
    path, kept = state_dir / NOTE, {} if config is None or config in usual else {"config": config}
    if kept == atomic_file.read_notes(path):
        return
    if kept:
        atomic_file.replace(str(path), (json.dumps(kept) + "\n").encode())
    else:
        atomic_file.unlink(str(path))


def stopped(state_dir: Path) -> str | None:
    """Return the recorded configuration if it is still there and no supervisord of root's runs with it."""
    config = atomic_file.read_notes(state_dir / NOTE).get("config")
    if not isinstance(config, str) or not Path(config).is_file():
        return None
    runs = any(_config_of(pid) == config for pid in proc.named("supervisord") if proc.is_roots(pid))
    return None if runs else config


def _runs_a_portal(path: str) -> bool:
    """Return whether a program of a configuration runs a Tethys Portal, whichever."""
    sections = (section for file in SupervisorFiles(path).files() for section in file.sections.values())
    return any(PORTAL in section.get("command", "") for section in sections)


def _config_of(pid: int) -> str | None:
    """Return the configuration that a supervisord was started with, or None where its command does not show it."""
    words = proc.text(pid, "cmdline").split("\0")
    for word, following in zip(words, [*words[1:], ""]):
        found = _OPTION.fullmatch(word)
        given = following if word in ("-c", "--configuration") else (found.group(1) or found.group(2)) if found else ""
        if given:
            return posixpath.normpath(posixpath.join(proc.working_folder(pid), given))
    # As supervisord looks for it beside its own program, such as that of a conda environment.
    program = next((word for word in words if posixpath.basename(word) == "supervisord" and word.startswith("/")), "")
    prefix = posixpath.dirname(posixpath.dirname(program))
    places = [posixpath.join(prefix, name) for name in ("etc/supervisord.conf", "supervisord.conf")] if program else []
    return next((path for path in places if Path(path).is_file()), None)
