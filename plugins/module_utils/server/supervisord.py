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
    """The configuration to read, and those of root's supervisords with a portal that users besides root can change."""

    config: str | None
    is_running: bool = False
    of_others: tuple[str, ...] = ()


def find(usual: Sequence[str]) -> Found:
    """Return the configuration of the supervisord that runs a portal, else the first usual one that exists.

    Args:
        usual: the places in which distributions have it.
    """
    there = next((name for name in usual if Path(name).is_file()), None)
    started = [(pid, _config_of(pid)) for pid in proc.named("supervisord") if proc.is_roots(pid)]
    elsewhere = [(pid, path) for pid, path in started if path and path not in usual and _runs_a_portal(path)]
    of_others = tuple(path for pid, path in elsewhere if _is_of_others(pid, path))
    trusted = [path for _pid, path in elsewhere if path not in of_others]
    if trusted and not (there and _runs_a_portal(there)):
        return Found(trusted[0], is_running=True, of_others=of_others)
    return Found(there, of_others=of_others)


def runs_with(config: str | None, usual: Sequence[str]) -> bool:
    """Return whether a supervisord runs with that configuration, or with a usual or an unknown one."""
    return any(_config_of(pid) in (None, config, *usual) for pid in proc.named("supervisord"))


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
