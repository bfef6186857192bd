# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read /proc: processes, the TCP sockets of this server, and which process holds which socket. As root.

Other users decide how much there is to read, so every read is bounded. A process that has ended has no data.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import pwd
import re
import socket
import stat
import time
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.server import trust

LISTEN = "0A"
ESTABLISHED = "01"
ROOT = "/proc"
# Bytes. An environment is at most a fourth of the stack (8 MiB by default); a row of net/tcp has 150.
MOST = {"environ": 2 << 20, "children": 1 << 20, "fdinfo": 1 << 20, "net/tcp": 64 << 20, "net/tcp6": 64 << 20}
MOST_ELSEWHERE = 64 << 10
# Of a name that a process's environment has.
MOST_NAME = 200
# What the kernel adds to the path of a program that was deleted, such as by a package's upgrade.
_DELETED = " (deleted)"
# The states, in the kernel's letters, of a process that a signal has stopped or that is traced.
STOPPED = "Tt"


class Process(NamedTuple):
    """A process that accepts connections; ``started`` (by the kernel) differs from that of a later one with its pid."""

    pid: int
    port: int
    user: str
    started: int
    started_at: float
    state: str
    age_seconds: float
    supervisor_name: str | None
    log: str | None

    @property
    def frozen(self) -> bool:
        """Whether it was stopped by a signal, or is traced, and so does not respond."""
        return self.state in STOPPED


class Connection(NamedTuple):
    """One line of the kernel's table of TCP sockets."""

    address: str
    port: int
    remote_address: str
    remote_port: int
    state: str
    inode: int


class Listener(NamedTuple):
    """A process that holds a listening TCP socket; the address is the kernel's table's."""

    port: int
    address: str
    pid: int
    user: str
    command: str
    program: str | None


# -- one process ---------------------------------------------------------------------------------------------------


def _read(name: str, proc: str, kind: str = "") -> str:
    """Return the text of a file below /proc; OSError where it is gone or not ours to read."""
    with Path(proc, name).open("rb") as file:
        return file.read(MOST.get(kind or name, MOST_ELSEWHERE)).decode("utf-8", "replace")


def text(pid: int, name: str, proc: str = ROOT) -> str:
    """Return the text of one of a process's files, or an empty text."""
    try:
        return _read(f"{pid}/{name}", proc, name)
    except OSError:
        return ""


def pids(proc: str = ROOT) -> list[int]:
    """Return the process ids, sorted."""
    return sorted(int(entry.name) for entry in Path(proc).iterdir() if entry.name.isdigit())


def stat_fields(pid: int | str, proc: str) -> list[str]:
    """Return the fields of a process's stat from the state on.

    The name before them may hold anything, also parentheses. OSError where the process is gone. The text of this
    function also runs in a portal's container, so it reads nothing else of this file.
    """
    with Path(proc, str(pid), "stat").open("rb") as file:
        fields = file.read(65536).rpartition(b")")[2].decode().split()
    if len(fields) < 20:
        raise ProcessLookupError(pid)
    return fields


def parent(pid: int, proc: str = ROOT) -> int:
    """Return the parent's process id, or 0."""
    try:
        return int(stat_fields(pid, proc)[1])
    except OSError:
        return 0


def started(pid: int, proc: str = ROOT) -> int | None:
    """Return when a process started, in clock ticks since boot. It differs from that of a later one with its pid."""
    try:
        return int(stat_fields(pid, proc)[19])
    except OSError:
        return None


def process_key(pid: int) -> str | None:
    """Return the process id and its start in clock ticks: unlike a date, no change of the clock moves it."""
    ticks = started(pid)
    return None if ticks is None else f"{pid}:{ticks}"


def _uptime(proc: str) -> float:
    return float(_read("uptime", proc).split()[0])


def started_at(key: str) -> float:
    """Return the wall-clock time at which the process of that key started, as well as the clock allows."""
    return time.time() - _uptime(ROOT) + int(key.partition(":")[2]) / os.sysconf("SC_CLK_TCK")


def is_stopped(pid: int, proc: str = ROOT) -> bool:
    """Return whether a process was stopped by a signal, or is traced, and so does not respond."""
    try:
        return stat_fields(pid, proc)[0] in STOPPED
    except OSError:
        return False


def title(pid: int, proc: str = ROOT) -> str:
    """Return a process's command line, its words joined by spaces."""
    return text(pid, "cmdline", proc).replace("\0", " ").strip()


def memory(pid: int, proc: str = ROOT) -> int | None:
    """Return a process's resident memory in bytes; None where it is gone."""
    words = text(pid, "statm", proc).split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if len(words) > 1 else None


def name_of(pid: int, proc: str = ROOT) -> str:
    """Return the kernel's name of a process."""
    return text(pid, "comm", proc).strip()


def user_id(pid: int, proc: str = ROOT) -> int | None:
    """Return the effective user of a process, or None where it is gone."""
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


def working_folder(pid: int, proc: str = ROOT) -> str:
    """Return the folder that a process runs in, or / where there is none."""
    try:
        folder = os.readlink(str(Path(proc, str(pid), "cwd")))
    except OSError:
        return "/"
    return folder if Path(folder).is_dir() else "/"


def is_of_this_server(pid: int, proc: str = ROOT) -> bool:
    """Return whether a process belongs to this server and not to a container.

    By its pid namespace and its root folder. The mount namespace does not help: systemd gives a service with a private
    /tmp a separate one.
    """
    own, other = Path(proc, "self"), Path(proc, str(pid))
    try:
        same = os.readlink(str(own / "ns" / "pid")) == os.readlink(str(other / "ns" / "pid"))
        return same and (own / "root").samefile(other / "root")
    except OSError:
        return False


def program(pid: int, proc: str = ROOT) -> str:
    """Return the path of the program that a process runs, also where the file was deleted since; empty if unknown."""
    try:
        path = os.readlink(str(Path(proc, str(pid), "exe")))
    except OSError:
        return ""
    return path[: -len(_DELETED)] if path.endswith(_DELETED) else path


def is_roots(pid: int, proc: str = ROOT) -> bool:
    """Return whether root started a process. Its command line and environment are then root's.

    Any user can run a set-user-ID program of root's, with whatever command line and environment. The real user alone
    is not enough: sudo changes it to root before it prompts for a password.
    """
    before = _is_all_root(pid, proc)
    try:
        # Of the file that runs, not of what has its path by now.
        mode = Path(proc, str(pid), "exe").stat().st_mode
    except OSError:
        return False
    # A process may run another program, and so be another user's, from one line to the next.
    return before and not mode & (stat.S_ISUID | stat.S_ISGID) and _is_all_root(pid, proc)


def _is_all_root(pid: int, proc: str) -> bool:
    """Return whether the real, the effective and the saved user of a process are root."""
    found = re.search(r"^Uid:\s+(\d+)\s+(\d+)\s+(\d+)", text(pid, "status", proc), re.MULTILINE)
    return found is not None and set(found.groups()) == {"0"}


def writers_of_program(pid: int, proc: str = ROOT) -> list[trust.Writer]:
    """Return every right of somebody besides root to change the program that a process runs."""
    path = program(pid, proc)
    return trust.writable_by_others(path) if path.startswith("/") else []


def named(name: str, proc: str = ROOT) -> list[int]:
    """Return the processes of that name (the kernel's) that are of this server and not of a container."""
    return [pid for pid in pids(proc) if name_of(pid, proc) == name and is_of_this_server(pid, proc)]


def is_supervisord(pid: int, proc: str = ROOT) -> bool:
    """Return whether a process is a supervisord, also one that is the argument of a Python (`python …/supervisord`)."""
    name = name_of(pid, proc)
    if not name.startswith("python"):
        return name == "supervisord"
    words = text(pid, "cmdline", proc).split("\0")
    for number, word in enumerate(words[1:], 1):
        if word == "-m":
            return "".join(words[number + 1 : number + 2]) == "supervisor.supervisord"
        if not word.startswith("-") and words[number - 1] not in ("-W", "-X"):
            return posixpath.basename(word) == "supervisord"
    return False


def supervisords(proc: str = ROOT) -> list[int]:
    """Return the supervisords of this server, without those in containers."""
    return [pid for pid in pids(proc) if is_supervisord(pid, proc) and is_of_this_server(pid, proc)]


def children(pid: int | str, proc: str = ROOT) -> list[int]:
    """Return the child processes of a process (``self`` is this one)."""
    found: list[int] = []
    for task in Path(proc, str(pid), "task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, _read(str(task.relative_to(proc)), proc, "children").split())
    return found


def descendants(pid: int, proc: str = ROOT) -> Iterator[int]:
    """Yield a process and all that descend from it."""
    yield pid
    for child in children(pid, proc):
        yield from descendants(child, proc)


def environment(pid: int, proc: str = ROOT) -> dict[str, str]:
    """Return the environment that a process was started with."""
    pairs = (entry.partition("=") for entry in text(pid, "environ", proc).split("\0"))
    return {key: value for key, _equals, value in pairs}


# -- sockets -------------------------------------------------------------------------------------------------------


def connections(proc: str = ROOT) -> Iterator[Connection]:
    """Yield the TCP sockets of this network namespace."""
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = _read(table, proc).splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if len(words) > 9:
                (address, port), (remote, remote_port) = words[1].split(":"), words[2].split(":")
                yield Connection(address, int(port, 16), remote, int(remote_port, 16), words[3], int(words[9]))


def in_table(address: str) -> tuple[str, ...]:
    """Return an IP address as net/tcp and net/tcp6 write it: words of four bytes, each reversed."""
    if ":" not in address:
        word = socket.inet_aton(address)[::-1].hex().upper()
        return word, "0000000000000000FFFF0000" + word
    # The tables do not have the device of a link-local address.
    packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return ("".join(packed[start : start + 4][::-1].hex().upper() for start in range(0, 16, 4)),)


def answers_on(address: str, host: str) -> bool:
    """Return whether connecting to that IPv4 host reaches a socket that listens on this address of the table."""
    return set(address) == {"0"} or address in in_table(host)


def other_end(server: tuple[str, int], client: tuple[str, int], proc: str = ROOT) -> int | None:
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


def holders(inode: int, proc: str = ROOT) -> list[int]:
    """Return the processes that hold a socket."""
    return [pid for pid in pids(proc) if inode in sockets_of(pid, proc)]


def listening(host: str, ports: Iterable[int], proc: str = ROOT) -> dict[int, int]:
    """Return the listening sockets of these ports: inode to port."""
    wanted = set(ports)
    return {
        c.inode: c.port
        for c in connections(proc)
        if c.state == LISTEN and c.port in wanted and answers_on(c.address, host)
    }


def _fds(pid: int, proc: str) -> Iterator[tuple[str, str]]:
    """Yield a process's file descriptors and what they are; none where it is gone or not ours to read."""
    try:
        entries = list(Path(proc, str(pid), "fd").iterdir())
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            # Not Path.readlink: it came with Python 3.9.
            yield entry.name, os.readlink(str(entry))


def sockets_of(pid: int, proc: str = ROOT) -> set[int]:
    """Return the inodes of the sockets that a process holds."""
    found = (re.match(r"socket:\[(\d+)\]$", target) for _fd, target in _fds(pid, proc))
    return {int(match.group(1)) for match in found if match}


def standard_input(pid: int, proc: str = ROOT) -> int | None:
    """Return the inode of the socket that is a process's standard input, or None."""
    found = re.match(r"socket:\[(\d+)\]$", dict(_fds(pid, proc)).get("0", ""))
    return int(found.group(1)) if found else None


def accepted(pids: Iterable[int], proc: str = ROOT) -> dict[int, int]:
    """Return how many open TCP connections each process has accepted.

    These are the ones at a port on which the process holds a listening socket as well.
    """
    table = {c.inode: c for c in connections(proc)}
    found = {}
    for pid in pids:
        held = [table[inode] for inode in sockets_of(pid, proc) & set(table)]
        ports = {c.port for c in held if c.state == LISTEN}
        found[pid] = sum(c.state == ESTABLISHED and c.port in ports for c in held)
    return found


def _watched(pid: int, proc: str) -> set[int]:
    """Return the inodes of the sockets that a process waits on with epoll."""
    inodes: set[int] = set()
    for fd, target in _fds(pid, proc):
        if target == "anon_inode:[eventpoll]":
            with contextlib.suppress(OSError):
                info = _read(f"{pid}/fdinfo/{fd}", proc, "fdinfo")
                inodes |= {int(word, 16) for word in re.findall(r"\bino:([0-9a-f]+)", info)}
    return inodes


def accepting(host: str, ports: Iterable[int], proc: str = ROOT) -> list[Process]:
    """Return the processes that accept connections on these ports.

    Holding the listening socket is not enough: Supervisor holds the sockets of its fcgi-programs, and a shell around
    the ASGI server, or a program that an app has started, inherits one as its standard input. The one that accepts
    waits for it. Where no process is seen waiting, the holders without a holding child are taken.
    """
    sockets = listening(host, ports, proc)
    if not sockets:
        return []
    holders = {pid: held for pid in pids(proc) for held in [sockets_of(pid, proc) & set(sockets)] if held}
    waiting = {pid: held for pid in holders for held in [holders[pid] & _watched(pid, proc)] if held}
    if not waiting:
        parents = {parent(pid, proc) for pid in holders}
        waiting = {pid: held for pid, held in holders.items() if pid not in parents}
    found = (describe(pid, sockets[min(held)], proc) for pid, held in waiting.items())
    return sorted((process for process in found if process), key=lambda process: (process.port, process.pid))


def describe(pid: int, port: int, proc: str = ROOT) -> Process | None:
    """Describe a process; None where it is gone."""
    try:
        status = stat_fields(pid, proc)
        user = user_name(Path(proc, str(pid)).stat().st_uid)
        up = _uptime(proc)
    except OSError:
        return None
    ticks = int(status[19])
    age = max(0.0, up - ticks / os.sysconf("SC_CLK_TCK"))
    environ = environment(pid, proc)
    name, group = ((environ.get(f"SUPERVISOR_{what}_NAME") or "")[:MOST_NAME] for what in ("PROCESS", "GROUP"))
    if name and group and name != group:
        name = f"{group}:{name}"
    log = dict(_fds(pid, proc)).get("2", "")
    is_file = log.startswith("/") and not log.startswith("/dev/")
    return Process(
        pid, port, user, ticks, time.time() - age, status[0], round(age, 1), name or None, log if is_file else None
    )


def still_there(process: Process, proc: str = ROOT) -> bool:
    """Return whether that very process still runs."""
    try:
        status = stat_fields(process.pid, proc)
        return int(status[19]) == process.started and status[0] not in "ZX"
    except OSError:
        return False


def who_holds(ends: Iterable[tuple[int, int]], pids: Iterable[int], proc: str = ROOT) -> dict[tuple[int, int], int]:
    """Return the process at the other end of each connection, given as (server's port, client's port)."""
    wanted = set(ends)
    inodes = {
        c.inode: (c.port, c.remote_port)
        for c in connections(proc)
        if c.state == ESTABLISHED and (c.port, c.remote_port) in wanted
    }
    return {inodes[inode]: pid for pid in pids for inode in sockets_of(pid, proc) if inode in inodes}


def _supervisor_group(pid: int, proc: str) -> str | None:
    """Return the group of Supervisor's that a process is of, or None.

    Supervisor gives each program its names, and programs pass their environment on. Any user can start a process with
    such a name, but not as a child of root's supervisord.
    """
    group = environment(pid, proc).get("SUPERVISOR_GROUP_NAME", "")[:MOST_NAME]
    above = pid
    while group and above > 1:
        above = parent(above, proc)
        if is_supervisord(above, proc) and is_roots(above, proc):
            return group
    return None


def listeners(ports: Iterable[int], proc: str = ROOT) -> list[Listener]:
    """Return who listens on these TCP ports, one row for each process and socket."""
    wanted = set(ports)
    rows = {row.inode: row for row in connections(proc) if row.state == LISTEN and row.port in wanted}
    found: list[Listener] = []
    for pid in pids(proc) if rows else []:
        held = sockets_of(pid, proc) & set(rows)
        uid = user_id(pid, proc) if held else None
        if uid is None:
            continue
        program = _supervisor_group(pid, proc)
        about = (pid, user_name(uid), title(pid, proc)[:200], program)
        found.extend(Listener(rows[inode].port, rows[inode].address, *about) for inode in sorted(held))
    return sorted(found, key=lambda row: (row.port, row.pid))
