# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes serve a TCP port, and which of them holds which connection; read from /proc, as root."""

from __future__ import annotations

import os
import pwd
import re
from typing import Iterable, Iterator, NamedTuple

LISTEN = "0A"
ESTABLISHED = "01"


class Process(NamedTuple):
    """A process that accepts connections."""

    pid: int
    port: int
    user: str
    started: int
    state: str
    age_seconds: float
    supervisor_name: str | None
    log: str | None


class Connection(NamedTuple):
    """One line of the kernel's table of TCP sockets."""

    address: str
    port: int
    remote_port: int
    state: str
    inode: int


def connections(proc: str = "/proc") -> Iterator[Connection]:
    """The TCP sockets of this network namespace."""
    for table in ("net/tcp", "net/tcp6"):
        try:
            with open(os.path.join(proc, table), encoding="ascii") as handle:
                lines = handle.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            address, _colon, port = words[1].rpartition(":")
            yield Connection(address, int(port, 16), int(words[2].rpartition(":")[2], 16), words[3], int(words[9]))


def answers_on(address: str, host: str) -> bool:
    """Whether a socket listening on an address of the kernel's table is reached by connecting to that IPv4 host."""
    try:
        wanted = "".join("%02X" % int(part) for part in reversed(host.split(".")))
    except ValueError:
        return True
    return set(address) == {"0"} or address.endswith(wanted)


def listening(host: str, ports: Iterable[int], proc: str = "/proc") -> dict[int, int]:
    """The listening sockets behind these ports: inode to port."""
    wanted = set(ports)
    return {
        c.inode: c.port for c in connections(proc) if c.state == LISTEN and c.port in wanted and answers_on(c.address, host)
    }


def _pids(proc: str) -> Iterator[int]:
    for name in os.listdir(proc):
        if name.isdigit():
            yield int(name)


def _fds(pid: int, proc: str) -> Iterator[tuple[int, str]]:
    folder = "%s/%d/fd" % (proc, pid)
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            yield int(name), os.readlink(os.path.join(folder, name))
        except OSError:
            continue


def sockets_of(pid: int, proc: str = "/proc") -> set[int]:
    """The inodes of the sockets that a process holds."""
    found = (re.match(r"socket:\[(\d+)\]$", target) for _fd, target in _fds(pid, proc))
    return {int(match.group(1)) for match in found if match}


def _watched(pid: int, proc: str) -> set[int]:
    """The inodes of the sockets that a process waits on with epoll."""
    inodes: set[int] = set()
    for fd, target in _fds(pid, proc):
        if target != "anon_inode:[eventpoll]":
            continue
        try:
            with open("%s/%d/fdinfo/%d" % (proc, pid, fd), encoding="ascii") as handle:
                inodes |= {int(word, 16) for word in re.findall(r"\bino:([0-9a-f]+)", handle.read())}
        except OSError:
            continue
    return inodes


def _status(pid: int, proc: str) -> list[str]:
    # The name in parentheses may hold anything, spaces and parentheses too.
    with open("%s/%d/stat" % (proc, pid), encoding="utf-8", errors="replace") as handle:
        return handle.read().rpartition(")")[2].split()


def accepting(host: str, ports: Iterable[int], proc: str = "/proc") -> list[Process]:
    """The processes that accept connections on these ports.

    Holding the listening socket is not enough: Supervisor holds the sockets of its fcgi-programs, and a shell around the ASGI
    server, or a program that an app has started, inherits one as its standard input. The one that accepts waits for it.
    Where no process is seen waiting, the holders without a holding child are taken.
    """
    sockets = listening(host, ports, proc)
    if not sockets:
        return []
    holders = {pid: held for pid in _pids(proc) for held in [sockets_of(pid, proc) & set(sockets)] if held}
    waiting = {pid: held & _watched(pid, proc) for pid, held in holders.items()}
    waiting = {pid: held for pid, held in waiting.items() if held}
    if not waiting:
        parents = set()
        for pid in holders:
            try:
                parents.add(int(_status(pid, proc)[1]))
            except (OSError, IndexError):
                continue
        waiting = {pid: held for pid, held in holders.items() if pid not in parents}
    found = (describe(pid, sockets[inode], proc) for pid, held in waiting.items() for inode in sorted(held)[:1])
    return sorted((p for p in found if p), key=lambda p: (p.port, p.pid))


def describe(pid: int, port: int, proc: str = "/proc") -> Process | None:
    """What there is to say about a process; None when it has gone."""
    try:
        status = _status(pid, proc)
        uid = os.stat("%s/%d" % (proc, pid)).st_uid
        with open("%s/uptime" % proc, encoding="ascii") as handle:
            up = float(handle.read().split()[0])
    except (OSError, IndexError):
        return None
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    started = int(status[19])
    age = max(0.0, up - started / os.sysconf("SC_CLK_TCK"))
    environ = _environ(pid, proc)
    name, group = environ.get("SUPERVISOR_PROCESS_NAME"), environ.get("SUPERVISOR_GROUP_NAME")
    if name and group and name != group:
        name = "%s:%s" % (group, name)
    log = dict(_fds(pid, proc)).get(2, "")
    return Process(pid, port, user, started, status[0], round(age, 1), name, log if _is_log(log) else None)


def _is_log(target: str) -> bool:
    return target.startswith("/") and not target.startswith("/dev/")


def _environ(pid: int, proc: str) -> dict[str, str]:
    try:
        with open("%s/%d/environ" % (proc, pid), encoding="utf-8", errors="replace") as handle:
            pairs = (entry.partition("=") for entry in handle.read().split("\0"))
            return {key: value for key, _equals, value in pairs}
    except OSError:
        return {}


def still_there(process: Process, proc: str = "/proc") -> bool:
    """Whether that very process still runs."""
    try:
        status = _status(process.pid, proc)
    except OSError:
        return False
    return len(status) > 19 and int(status[19]) == process.started and status[0] not in "ZX"


def who_holds(
    ends: Iterable[tuple[int, int]], pids: Iterable[int], proc: str = "/proc"
) -> dict[tuple[int, int], int]:
    """The process at the other end of each connection, given as (server's port, client's port)."""
    wanted = set(ends)
    inodes = {
        c.inode: (c.port, c.remote_port)
        for c in connections(proc)
        if c.state == ESTABLISHED and (c.port, c.remote_port) in wanted
    }
    return {inodes[inode]: pid for pid in pids for inode in sockets_of(pid, proc) if inode in inodes}
