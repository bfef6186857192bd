# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the server's supervisords is the portal's: the distribution's, or one with its configuration elsewhere."""

from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import NamedTuple, Sequence

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import PORTAL, is_portals
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import (
    SupervisorFiles,
    config_of,
    is_same,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import writable_by_others
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

# In the portal's state.
NOTE = "supervisor.json"
# Where `supervisorctl` looks without `-c`: EPEL's and Debian's.
OF_CLIENT = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
# The configuration that the administrator has set, or that an earlier module of the run has found. A module has one.
_selected: list[str] = []


class Found(NamedTuple):
    """The configuration to read, and those of root's supervisords with a portal that users besides root can change.

    If several Supervisors run portals and it is not clear which one is the portal's, `candidates` are their
    configurations.
    """

    config: str | None
    is_running: bool = False
    of_others: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


class Portal(NamedTuple):
    """What a portal's program is recognized by: TETHYS_HOME, environment, and name if it has one."""

    home: str = ""
    prefix: str = ""
    name: str = ""


ANY = Portal()


def select(config: str | None) -> None:
    """Have `find` return this configuration in this process, whatever else is there; None for any that it finds."""
    _selected[:] = [config] if config else []


def find(usual: Sequence[str], portal: Portal = ANY) -> Found:
    """Return the configuration of the supervisord that runs the portal, else the first usual one that exists.

    Args:
        usual: the places in which distributions have it.
        portal: the portal. A supervisord that only runs others counts if no other runs one.
    """
    started = [(pid, config_of(pid)) for pid in proc.supervisords() if proc.is_roots(pid)]
    shown = [path for _pid, path in started if path]
    if _selected:
        selected = _selected[0]
        pids = [pid for pid, path in started if is_same(path, selected)]
        is_open = bool(writable_by_others(selected)) or any(_is_of_others(pid, selected) for pid in pids)
        rest = [] if portal == ANY or _runs_a_portal(selected, portal) else dict.fromkeys(shown)
        of_portal = [path for path in rest if not is_same(path, selected) and _runs_a_portal(path, portal)]
        return Found(selected, bool(pids), (selected,) if is_open else (), tuple(of_portal))
    there = next((name for name in usual if Path(name).is_file()), None)
    elsewhere = [(pid, path) for pid, path in started if path and not is_same(path, *usual) and _runs_a_portal(path)]
    of_others = tuple(path for pid, path in elsewhere if _is_of_others(pid, path))
    candidates = [there] if there and _runs_a_portal(there) else []
    for _pid, path in elsewhere:
        if path not in of_others and not is_same(path, *candidates):
            candidates.append(path)
    if len(candidates) > 1:
        candidates = [path for path in candidates if _runs_a_portal(path, portal)] or candidates
        # What a stopped one has left does not count. One whose command does not show its configuration may be usual.
        may_run = [path for path in candidates if is_same(path, *shown) or len(shown) < len(started)]
        candidates = may_run or candidates
    config = candidates[0] if candidates else there
    several = tuple(candidates) if len(candidates) > 1 else ()
    return Found(config, is_same(config, *shown), of_others, several)


def runs_with(config: str | None, usual: Sequence[str]) -> bool:
    """Return whether a supervisord runs with that configuration, or with a usual or an unknown one."""
    return any(is_same(config_of(pid), None, config, *usual) for pid in proc.supervisords())


def keep(state_dir: Path, config: str | None, usual: Sequence[str]) -> None:
    """Record the configuration of the Supervisor that runs the portal, if it is elsewhere."""
    path, kept = state_dir / NOTE, {} if config is None or is_same(config, *usual) else {"config": config}
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
    runs = any(is_same(config_of(pid), config) for pid in proc.supervisords() if proc.is_roots(pid))
    return None if runs else config


def client(config: str | None, *words: str) -> str:
    """Return the command line with which `supervisorctl` reaches the supervisord that runs with a configuration."""
    where = ["-c", config] if config and config not in OF_CLIENT else []
    return shell_words("supervisorctl", *where, *words)


def unit(config: str | None) -> str:
    """Return the systemd unit of the distribution's Supervisor: EPEL's and Debian's differ in name as in place."""
    return "supervisord" if config == OF_CLIENT[0] else "supervisor"


def starter(config: str | None) -> str:
    """Return the command line that starts the Supervisor with a configuration."""
    if not config or config in OF_CLIENT:
        return f"systemctl start {unit(config)}"
    return shell_words("supervisord", "-c", config)


def client_of(pid: int, *words: str) -> str:
    """Return the same for the supervisord that a process is, or that runs it."""
    while pid > 1 and not proc.is_supervisord(pid):
        pid = proc.parent(pid)
    return client(config_of(pid) if pid > 1 else None, *words)


def _runs_a_portal(path: str, portal: Portal | None = None) -> bool:
    """Return whether a program of a configuration runs that portal, or without one, a Tethys Portal, whichever."""
    sections = [(title, each) for file in SupervisorFiles(path).files() for title, each in file.sections.items()]
    if portal is None:
        return any(PORTAL in section.get("command", "") for _title, section in sections)
    return any(is_portals(title, section, *portal) for title, section in sections)


def _is_of_others(pid: int, config: str) -> bool:
    """Return whether users besides root can change what a supervisord of root's executes, or its configuration.

    Its program is Python. What it executes is also its script, and the packages of the environment of both.
    """
    words = proc.text(pid, "cmdline").split("\0")
    end = next((number for number, word in enumerate(words) if posixpath.basename(word) == "supervisord"), 0)
    started = [posixpath.join(proc.working_folder(pid), word) for word in words[: end + 1] if not word.startswith("-")]
    # A script is also called by a link to it. An environment's Python is a link, whose place tells the environment.
    prefixes = {posixpath.dirname(posixpath.dirname(path)) for path in [*started, posixpath.realpath(started[-1])]}
    packages = (
        path
        for prefix in prefixes
        for pattern in ("pyvenv.cfg", "lib/python3*/site-packages", "lib/python3*/site-packages/supervisor/*.py")
        for path in Path(prefix).glob(pattern)
    )
    return bool(proc.writers_of_program(pid)) or any(map(writable_by_others, [config, *started, *map(str, packages)]))
