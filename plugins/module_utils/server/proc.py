# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes serve a TCP port, and which of them holds which connection; read from /proc, as root."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import time
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple

LISTEN = "0A"
ESTABLISHED = "01"


class Process(NamedTuple):
    """A process that accepts connections; ``started``, the kernel's count, tells it from a later one with its pid."""

    pid: int
    port: int
    user: str
    started: int
    started_at: float
    state: str
    age_seconds: float
    supervisor_name: str | None
    log: str | None


class Connection(NamedTuple):
    """One line of the kernel's table of TCP sockets."""

    address: str
    port: int
    remote_address: str
    remote_port: int
    state: str
    inode: int


def connections(proc: str = "/proc") -> Iterator[Connection]:
    """The TCP sockets of this network namespace."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(proc, "net", table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            (address, port), (remote, remote_port) = words[1].split(":"), words[2].split(":")
            yield Connection(address, int(port, 16), remote, int(remote_port, 16), words[3], int(words[9]))


def answers_on(address: str, host: str) -> bool:
    """Whether a socket that listens on an address of the kernel's table is reached by connecting to that IPv4 host."""
    if set(address) == {"0"}:
        return True
    return address.endswith(socket.inet_aton(host)[::-1].hex().upper())


def other_end(server: tuple[str, int], client: tuple[str, int], proc: str = "/proc") -> int | None:
    """Return the inode of the server's end of a TCP connection over IPv4, given as (address, port) of each end.

    Returns:
        0 for one that the server has not accepted yet; None if this network namespace has no such end.
    """
    here, there = (socket.inet_aton(address)[::-1].hex().upper() for address, _port in (server, client))
    for c in connections(proc):
        if (c.state, c.port, c.remote_port) == (ESTABLISHED, server[1], client[1]) and (
            # An IPv6 socket has the address with zeros and FFFF before it.
            c.address.endswith(here) and c.remote_address.endswith(there)
        ):
            return c.inode
    return None


def holder(inode: int, proc: str = "/proc") -> int | None:
    """Return a process that holds a socket, or None if none is seen."""
    pids = (int(entry.name) for entry in Path(proc).iterdir() if entry.name.isdigit())
    return next((pid for pid in pids if inode in sockets_of(pid, proc)), None)


def user_id(pid: int, proc: str = "/proc") -> int | None:
    """Return the effective user of a process, or None if it has gone."""
    try:
        # Of the folder, not of what is in it: that is root's where a process may not be traced.
        return Path(proc, str(pid)).stat().st_uid
    except OSError:
        return None


def user_name(uid: int) -> str:
    """Return the name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def listening(host: str, ports: Iterable[int], proc: str = "/proc") -> dict[int, int]:
    """The listening sockets behind these ports: inode to port."""
    wanted = set(ports)
    return {
        c.inode: c.port
        for c in connections(proc)
        if c.state == LISTEN and c.port in wanted and answers_on(c.address, host)
    }


def _fds(pid: int, proc: str) -> Iterator[tuple[str, str]]:
    """A process's file descriptors and what they are; none where it has gone or is not ours to see."""
    try:
        entries = list(Path(proc, str(pid), "fd").iterdir())
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            # Not Path.readlink: it came with Python 3.9.
            yield entry.name, os.readlink(str(entry))


def sockets_of(pid: int, proc: str = "/proc") -> set[int]:
    """The inodes of the sockets that a process holds."""
    found = (re.match(r"socket:\[(\d+)\]$", target) for _fd, target in _fds(pid, proc))
    return {int(match.group(1)) for match in found if match}


def standard_input(pid: int, proc: str = "/proc") -> int | None:
    """The inode of the socket that a process has as its standard input, or None."""
    found = re.match(r"socket:\[(\d+)\]$", dict(_fds(pid, proc)).get("0", ""))
    return int(found.group(1)) if found else None


def _watched(pid: int, proc: str) -> set[int]:
    """The inodes of the sockets that a process waits on with epoll."""
    inodes: set[int] = set()
    for fd, target in _fds(pid, proc):
        if target == "anon_inode:[eventpoll]":
            with contextlib.suppress(OSError):
                text = Path(proc, str(pid), "fdinfo", fd).read_text(encoding="ascii")
                inodes |= {int(word, 16) for word in re.findall(r"\bino:([0-9a-f]+)", text)}
    return inodes


def _status(pid: int, proc: str) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on; the name before them may hold anything, parentheses too."""
    return Path(proc, str(pid), "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def is_stopped(pid: int, proc: str = "/proc") -> bool:
    """Whether a process was stopped by a signal, or is traced, and so answers nothing."""
    try:
        return _status(pid, proc)[0] in "Tt"
    except (OSError, IndexError):
        return False


def accepting(host: str, ports: Iterable[int], proc: str = "/proc") -> list[Process]:
    """The processes that accept connections on these ports.

    Holding the listening socket is not enough: Supervisor holds the sockets of its fcgi-programs, and a shell around
    the ASGI server, or a program that an app has started, inherits one as its standard input. The one that accepts
    waits for it. Where no process is seen waiting, the holders without a holding child are taken.
    """
    sockets = listening(host, ports, proc)
    if not sockets:
        return []
    pids = (int(entry.name) for entry in Path(proc).iterdir() if entry.name.isdigit())
    holders = {pid: held for pid in pids for held in [sockets_of(pid, proc) & set(sockets)] if held}
    waiting = {pid: held for pid in holders for held in [holders[pid] & _watched(pid, proc)] if held}
    if not waiting:
        parents = set()
        for pid in holders:
            with contextlib.suppress(OSError, IndexError):
                parents.add(int(_status(pid, proc)[1]))
        waiting = {pid: held for pid, held in holders.items() if pid not in parents}
    found = (describe(pid, sockets[min(held)], proc) for pid, held in waiting.items())
    return sorted((process for process in found if process), key=lambda process: (process.port, process.pid))


def describe(pid: int, port: int, proc: str = "/proc") -> Process | None:
    """What there is to say about a process; None when it has gone."""
    try:
        status = _status(pid, proc)
        uid = user_id(pid, proc)
        up = float(Path(proc, "uptime").read_text(encoding="ascii").split()[0])
        started = int(status[19])
    except (OSError, IndexError):
        return None
    if uid is None:
        return None
    user = user_name(uid)
    age = max(0.0, up - started / os.sysconf("SC_CLK_TCK"))
    environ = _environ(pid, proc)
    name, group = environ.get("SUPERVISOR_PROCESS_NAME"), environ.get("SUPERVISOR_GROUP_NAME")
    if name and group and name != group:
        name = f"{group}:{name}"
    log = dict(_fds(pid, proc)).get("2", "")
    is_file = log.startswith("/") and not log.startswith("/dev/")
    return Process(
        pid, port, user, started, time.time() - age, status[0], round(age, 1), name, log if is_file else None
    )


def _environ(pid: int, proc: str) -> dict[str, str]:
    try:
        text = Path(proc, str(pid), "environ").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (entry.partition("=") for entry in text.split("\0"))
    return {key: value for key, _equals, value in pairs}


def still_there(process: Process, proc: str = "/proc") -> bool:
    """Whether that very process still runs."""
    try:
        status = _status(process.pid, proc)
        return int(status[19]) == process.started and status[0] not in "ZX"
    except (OSError, IndexError):
        return False


def who_holds(ends: Iterable[tuple[int, int]], pids: Iterable[int], proc: str = "/proc") -> dict[tuple[int, int], int]:
    """The process at the other end of each connection, given as (server's port, client's port)."""
    wanted = set(ends)
    inodes = {
        c.inode: (c.port, c.remote_port)
        for c in connections(proc)
        if c.state == ESTABLISHED and (c.port, c.remote_port) in wanted
    }
    return {inodes[inode]: pid for pid in pids for inode in sockets_of(pid, proc) if inode in inodes}
