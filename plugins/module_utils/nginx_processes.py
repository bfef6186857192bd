# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nginx processes of this server, and how their files are read as nginx reads them."""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.server import proc

MAX_BYTES = 32 * 1024 * 1024


class Master(NamedTuple):
    """A running master process; `started` distinguishes it from a later process with the same pid."""

    pid: int
    started: int
    options: list[str]
    cwd: str
    by: str


def decode(raw: bytes) -> str:
    """Text from which the very same bytes come back; nginx does not care for their encoding."""
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """Text that can be printed."""
    return encode(text).decode("utf-8", "replace")


def read(path: str) -> bytes:
    """A regular file; without O_NONBLOCK a named pipe would wait for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return raw


def title_options(title: str) -> list[str]:
    """The options in the title of a master process; its words are joined by single spaces there."""
    found: list[str] = []
    for option, value in re.findall(r" -([cpeg]) ?(.*?)(?= -[A-Za-z?]|$)", title):
        if value:
            found += ["-" + option, value]
    return found


class Processes:
    """nginx's processes."""

    def __init__(self, root: str = proc.ROOT) -> None:
        self.root = root

    def masters(self) -> list[Master]:
        """Return the master processes of this server's own nginx: root's, and none of a container."""
        found = []
        for pid in proc.pids(self.root):
            title = proc.title(pid, self.root)
            match = re.match(r"nginx: master process (\S+)", title)
            started = proc.started(pid, self.root) if match and self._is_ours(pid) else None
            if match and started is not None and proc.is_of_this_server(pid, self.root):
                options, cwd = title_options(title[match.end() :]), proc.working_folder(pid, self.root)
                found.append(Master(pid, started, options, cwd, self._by(pid)))
        return found

    def _is_ours(self, pid: int) -> bool:
        """Return whether the program of a process, with its options, may be started here: root starts root's alone."""
        if os.geteuid() == 0:
            return proc.is_roots(pid, self.root)
        return proc.user_id(pid, self.root) in (0, os.geteuid())

    def _by(self, pid: int) -> str:
        """Return what restarts it, from its ancestors, because nginx overwrites its environment with its title."""
        ancestor = proc.parent(pid, self.root)
        while ancestor > 1:
            if re.search(r"(^|[/ ])supervisord( |$)", proc.title(ancestor, self.root)):
                return "supervisor"
            ancestor = proc.parent(ancestor, self.root)
        unit = re.search(r"/([^/\n]+)\.service(?:/|$)", proc.text(pid, "cgroup", self.root), re.MULTILINE)
        if unit and re.match(r"supervisor", unit.group(1)):
            return "supervisor"
        return "systemd" if unit else "other"

    def workers(self, master: int) -> set[tuple[int, int]]:
        """Return the workers that take new connections, each with its start."""
        found = set()
        for pid in proc.pids(self.root):
            started = proc.started(pid, self.root) if proc.parent(pid, self.root) == master else None
            title = proc.title(pid, self.root) if started is not None else ""
            if started is not None and title.startswith("nginx: worker process") and "shutting down" not in title:
                found.add((pid, started))
        return found

    def other_web_server(self) -> str | None:
        """Return the program that listens on port 80 or 443, where that is not this server's nginx."""
        own = {master.pid for master in self.masters()}
        for row in sorted(proc.listeners((80, 443), self.root), key=lambda row: row.pid):
            if not {row.pid, proc.parent(row.pid, self.root)} & own:
                name = proc.name_of(row.pid, self.root)
                return {"nginx": "an nginx in a container", "docker-proxy": "a container"}.get(name, name) or None
        return None


def includes(conf_dir: str, pattern: str) -> list[str]:
    """The files behind an include, as nginx finds them: from the main file's folder, sorted by name."""
    full = str(Path(conf_dir, pattern))
    if not re.search(r"[*?\[]", full):
        return [full]
    # The C library's glob takes a backslash as the sign that the next character is no pattern.
    full = re.sub(r"\\(.)", lambda match: f"[{match.group(1)}]" if match.group(1) in "*?[]\\" else match.group(1), full)
    return sorted(glob.glob(full), key=os.fsencode)  # noqa: PTH207


def failure(err: str) -> str:
    """nginx's own words on why it does not take a configuration."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    # With a date and a process number where nginx has a log open on standard error already.
    found = (re.search(r"\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?(.+)", line) for line in lines)
    told = [match.group(1) for match in found if match] or [line for line in lines if "[warn]" not in line]
    return shown(told[0] if told else "it says nothing")
