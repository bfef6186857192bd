# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that root executes or reads as configuration for a portal, and who besides root can change them."""

from __future__ import annotations

import contextlib
import os
import posixpath
import re
import shutil
import site
import sys
from pathlib import Path
from typing import Iterable, Mapping, Sequence, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils import nginx_config, nginx_processes
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.module_utils.portal_user import NGINX_CONF
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import Writer, writable_by_others
from ansible_collections.tethys.channels.plugins.module_utils.services import DOCKER_SOCKET, Supervisor

# Of a folder that others can change, so many files are named besides the folder itself.
MOST_IN_FOLDER = 100
PODMAN_SOCKET = "/run/podman/podman.sock"
FIRST = PortalNames()


class OpenFile(TypedDict):
    """A file or folder that root executes or reads as configuration, and others can change."""

    path: str
    # What root does with it: python, supervisor, program, nginx, site, state, folder, unit, compose, engine or
    # socket.
    use: str
    # What it leads to, where it is a link; else empty.
    target: str
    writers: list[Writer]


class Trust(TypedDict):
    """Who besides root can change what root executes or reads as configuration."""

    # How many files and folders there are.
    files: int
    open: list[OpenFile]


def of_python() -> list[str]:
    """Return root's own Python, and the folders of its library."""
    folders = [posixpath.dirname(os.__file__), *site.getsitepackages()]
    return [sys.executable, *(folder for folder in folders if Path(folder).is_dir())]


def of_supervisor(supervisor: Supervisor) -> list[str]:
    """Return Supervisor's program, the Python that runs it, its configuration and the folders that it reads."""
    # A pattern brings whatever is in its folder, also what somebody puts there later.
    folders = [posixpath.dirname(re.split(r"[*?\[]", pattern)[0] + "x") for pattern in supervisor.include_globs]
    pythons = [proc.program(pid) for pid in proc.supervisords() if proc.is_roots(pid)]
    own = [*_program("supervisord"), *pythons, supervisor.config or ""]
    return [*filter(None, own), *folders]


def _program(name: str) -> list[str]:
    found = shutil.which(name)
    return [found] if found else []


def _included(main: str) -> list[str]:
    """Return what one of nginx's main files includes: files, and folders of which it includes any file."""
    seen: list[str] = []
    folders: list[str] = []

    def read(file: str) -> str:
        seen.append(file)
        # Another user decides what it includes, and the file itself is reported.
        if writable_by_others(file):
            return ""
        try:
            return nginx_processes.decode(nginx_processes.read(file))
        except OSError:
            return ""

    def files(pattern: str) -> list[str]:
        if re.search(r"[*?\[]", pattern):
            whole = posixpath.join(posixpath.dirname(main), pattern)
            folder = posixpath.dirname(re.split(r"[*?\[]", whole)[0] + "x")
            folders.append(folder)
            if writable_by_others(folder):
                return nginx_processes.includes(posixpath.dirname(main), pattern)[:MOST_IN_FOLDER]
        return nginx_processes.includes(posixpath.dirname(main), pattern)

    # A file that nginx could not read either is reported as far as it can be read.
    with contextlib.suppress(nginx_config.NginxFileError, ValueError, RecursionError):
        nginx_config.Tree(main, read, files)
    return [*folders, *seen[1:]]


def of_nginx(processes: nginx_processes.Processes) -> tuple[list[str], list[str]]:
    """Return nginx's main files, and what they include: files, and folders of which they include any file.

    nginx is not started: it would execute a configuration that another user can change.
    """
    mains = main_files(processes)
    included = [path for main in mains for path in _included(main)]
    return mains, list(dict.fromkeys(included))


def main_files(processes: nginx_processes.Processes) -> list[str]:
    """Return the main file of each nginx that runs, or the one that a start would take."""
    found = []
    for master in processes.masters():
        options = dict(zip(master.options[::2], master.options[1::2]))
        found.append(posixpath.join(master.cwd, options.get("-p", ""), options.get("-c", NGINX_CONF)))
    return list(dict.fromkeys(found)) or ([NGINX_CONF] if Path(NGINX_CONF).exists() else [])


def survey(
    supervisor: Supervisor,
    processes: nginx_processes.Processes,
    state_dir: str,
    folders: Sequence[str],
    log_dir: str | None = None,
    names: PortalNames = FIRST,
) -> Trust:
    """Return who besides root can change what root executes or reads as configuration on this server.

    Args:
        supervisor: whose configuration and programs root runs.
        processes: nginx's.
        state_dir: the folder of the collection's state.
        folders: those that root makes for the portal. Those above them are checked too: they may be the portal's.
        log_dir: the folder in which Supervisor writes as root. It is checked too.
        names: of the portal's own files.
    """
    mains, included = of_nginx(processes)
    uses: dict[str, list[str]] = {
        "python": of_python(),
        "supervisor": of_supervisor(supervisor),
        "program": supervisor.program_files(),
        "nginx": [*_program("nginx"), *mains],
        "site": included,
        "state": [state_dir],
        # The folder of the socket is the container's user's.
        "folder": [posixpath.dirname(folder.rstrip("/")) for folder in (*folders, names.socket_folder)],
        # If it does not exist yet, the folder above it is checked.
        "logs": [log_dir] if log_dir and Path(log_dir).is_dir() else [],
        "unit": [names.redis_unit_path, names.tmpfiles],
        **_of_engines(supervisor.socket_path),
    }
    return _trust(uses)


def survey_project(folder: str, files: Iterable[str], state_dir: str | None) -> Trust:
    """Return the same for a project of Compose, whose files an engine obeys as root."""
    compose = [posixpath.join(folder, file) for file in files]
    state = [state_dir] if state_dir else []
    return _trust({"python": of_python(), "compose": [folder, *compose], "state": state, **_of_engines()})


def _of_engines(*sockets: str) -> dict[str, list[str]]:
    there = [path for path in (DOCKER_SOCKET, PODMAN_SOCKET, *sockets) if Path(path).exists()]
    return {"engine": [*_program("docker"), *_program("podman")], "socket": there}


def _trust(uses: Mapping[str, Iterable[str]]) -> Trust:
    """Those of these files, by their use, that somebody besides root can change."""
    found: dict[str, OpenFile] = {}
    files = {path for paths in uses.values() for path in paths}
    for use, paths in uses.items():
        for path in paths:
            writers = [] if path in found else writable_by_others(path)
            if writers:
                found[path] = {"path": path, "use": use, "target": _target(path), "writers": writers}
    return {"files": len(files), "open": list(found.values())}


def of_others(trust: Trust | None, *uses: str) -> bool:
    """Return whether somebody besides root can change a file of these kinds."""
    return trust is not None and any(file["use"] in uses for file in trust["open"])


def _target(path: str) -> str:
    return os.path.realpath(path) if Path(path).is_symlink() else ""
