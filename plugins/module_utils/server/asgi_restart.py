# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart ASGI processes under Supervisor, one at a time, so that the others serve meanwhile."""

from __future__ import annotations

import contextlib
import functools
import json
import stat
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable, Iterable

from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.asgi_record import Sources
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, clean
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import NginxError
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Nginx
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import (
    PortalNames,
    asgi_number,
    is_asgi_group,
)
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    portal_program,
    proc,
    supervisor_files,
    supervisord,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.answers import (
    answers,
    held,
    mode_of,
    port_answers,
    sockets_in,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.copies import copied
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import alone_on_server
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import writable_by_others

# A process that Supervisor has started again so often while it was waited for crashes as it starts.
MOST_STARTS = 3
# The folder of the sockets is the portal's user's, who can put any number of them there.
SWEEP_SECONDS = 10.0
# Supervisor kills a process that has not ended after its program's stopwaitsecs, which may be minutes.
STOP_SECONDS = 900.0
# Supervisor's states of a process that does not run and is not about to.
ENDED = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")


class RollError(Exception):
    """One sentence for the administrator."""


def endpoints_of(program: str, portal: str = "") -> dict[str, portal_program.Endpoint | None]:
    """Return where each group of a program file listens that has a portal's name or runs the portal.

    None if Supervisor has to expand it, as in `%(process_num)d`.
    """
    file = supervisor_files.read(program)
    found: dict[str, portal_program.Endpoint | None] = {}
    for title, section in file.sections.items() if file else ():
        kind, _colon, group = title.partition(":")
        runs = (portal_program.application_of(section) or "").partition(":")[0] == portal_program.PORTAL
        if is_asgi_group(group.strip(), portal) or (runs and kind.strip() in ("program", "fcgi-program")):
            where = portal_program.endpoint_of(section)
            as_written = where.path or ("" if where.address and where.port else " ".join(section.values()))
            found[group.strip()] = None if "%" in as_written else where
    return found


def names_of(file: supervisor_files.File) -> set[str]:
    """Return the names of the groups and programs that a file defines, of whatever kind."""
    return {title.partition(":")[2].strip() for title in file.sections} - {""}


def members_of(file: supervisor_files.File, groups: set[str]) -> set[str]:
    """Return the programs that a file puts into these groups, as `[group:x]` with `programs=a,b`."""
    found: set[str] = set()
    for title, section in file.sections.items():
        kind, _colon, name = title.partition(":")
        if kind.strip() == "group" and name.strip() in groups:
            found.update(program.strip() for program in section.get("programs", "").split(","))
    return found - {""}


def _listening(inodes: set[int]) -> set[int]:
    """Return the ports of the sockets among these that listen."""
    return {c.port for c in proc.connections() if c.state == proc.LISTEN and c.inode in inodes}


class Roll:
    """One run of the module."""

    def __init__(
        self,
        params: dict[str, Any],
        rpc: Any,
        nginx: Nginx | None = None,
        files: Callable[[], Iterable[supervisor_files.File]] = tuple,
        paths: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self.params = params
        self.rpc = rpc
        self.nginx = nginx
        self._files = files
        self._paths = paths
        # Where each group of the file listens that a removal puts back.
        self.names = PortalNames(params.get("portal_name", ""))
        is_back = params.get("program") and not params["processes"]
        self.put_back = endpoints_of(params["program"], self.names.portal) if is_back else {}
        # The ports that each group holds, and the groups of which no process answers: nginx sends them nothing.
        self.serving: dict[str, set[int]] = {}
        self.silent: set[str] = set()
        self.restarted: list[str] = []
        self.started: set[str] = set()
        self.regrouped = False
        self.removed: list[str] = []

    @property
    def apart(self) -> bool:
        """Return whether each process is a separate program."""
        return bool(self.params["layout"] == "socket_per_process")

    def rows(self) -> list[dict[str, Any]]:
        """Supervisor's processes of the portal, in order."""
        rows = [row for row in self.rpc.getAllProcessInfo() if self.is_portals(row["group"])]
        return sorted(rows, key=lambda row: (len(row["name"]), row["name"]))

    def is_portals(self, group: str) -> bool:
        """Return whether a group runs the portal, by its name and by what the file says that is put back."""
        if is_asgi_group(group, self.names.portal) and group not in self.params["other_groups"]:
            return True
        # A file of the portal's user can name a group that root has in another file.
        return (group in self.params["replaces"] or group in self.put_back) and group not in self.elsewhere

    @functools.cached_property
    def files(self) -> list[supervisor_files.File]:
        """The files that Supervisor reads, as they were when this was first asked for."""
        return list(self._files())

    @functools.cached_property
    def elsewhere(self) -> set[str]:
        """The groups and programs that files besides the program file define."""
        program = self.params.get("program")
        return {name for file in self.files if program and file.path != program for name in names_of(file)}

    def wanted_ports(self, group: str) -> set[int]:
        """The ports that a group's program has in the file."""
        where = self.put_back.get(group)
        port = where.port if where else None
        return {port or self.params["port"] + (asgi_number(group) or 0)}

    def held_ports(self, group: str) -> set[int]:
        """Return the ports of a group's processes from the kernel, whatever a file says."""
        pids = [row["pid"] for row in self.rows() if row["group"] == group and row["pid"]]
        # Supervisor passes the group's socket as standard input; an app may also listen on other ports.
        inodes = {inode for inode in map(proc.standard_input, pids) if inode}
        if inodes:
            return _listening(inodes)
        # A plain program's processes open their ports themselves: each may hold one that this run needs.
        own = {inode for pid in pids for each in proc.descendants(pid) for inode in proc.sockets_of(each)}
        needed = {port for each in self.expected() for port in self.wanted_ports(each)}
        return _listening(own) & needed

    # --- programs ---------------------------------------------------------------------------------------------------

    def reread(self) -> None:
        """Make Supervisor apply new and changed programs, and end removed ones."""
        found = self.reload()
        added, changed, dropped = (set(groups) for groups in found)
        expected = self.expected()
        added, changed, dropped = added & expected, changed & expected, set(filter(self.is_portals, dropped))
        self.refuse_others(added | changed)
        for group in {row["group"] for row in self.rows()} - added:
            self.serving[group] = self.held_ports(group) or self.wanted_ports(group)
            if not any(self.answers(row) for row in self.rows() if row["group"] == group):
                self.silent.add(group)
        self.regrouped = bool(added or changed or dropped)
        self.rearrange(added, changed, dropped)

    def reload(self) -> list[list[str]]:
        """Have Supervisor read its files, and return its new, changed and dropped groups."""
        try:
            # What others can change is checked as Supervisor reads it.
            with alone_on_server("supervisor"), copied(self._paths(), supervisor_files.MOST_OF_OTHERS):
                found: list[list[str]]
                found, _files = self.rpc.reloadConfig()[0], self.files
        except Rejected as error:
            raise RollError(f"{error}: Supervisor reads it as root. Correct it and run again.") from error
        except xmlrpc.client.Fault as error:
            raise RollError(
                f"Supervisor cannot read its configuration ({error.faultString}):"
                f" `{supervisord.client(self.params.get('supervisor_config'), 'reread')}` shows which file."
            ) from error
        return found

    def expected(self) -> set[str]:
        """The groups that this run is to start. Supervisor starts a program without `user` as root."""
        if not self.params["processes"] and self.params.get("program"):
            return set(self.put_back) or {self.params["group"]}
        apart = {f"{self.names.group_of_one}{number}" for number in range(self.params["processes"])}
        return apart if self.apart else {self.params["group"]}

    def refuse_others(self, groups: set[str]) -> None:
        """Start no group that two files define, one of which others can change: Supervisor merges their sections."""
        program = str(self.params.get("program") or "")
        files = self.files if groups and program else []
        # A [group:x] runs the programs of these names.
        names = groups.union(*(members_of(file, groups) for file in files))
        for file in files:
            both = names & names_of(file)
            if not both or file.path == program:
                continue
            for path, other in ((file.path, program), (program, file.path)):
                if writable_by_others(path):
                    raise RollError(
                        f"{path} defines {', '.join(sorted(both))} besides {other}, and a user other than root can"
                        " change it: read that file, delete the program from it, and run again."
                    )

    def rearrange(self, added: set[str], changed: set[str], dropped: set[str]) -> None:
        """Start what can be started, then make room for the rest: somebody serves as long as that is possible."""
        while added or changed or dropped:
            free = {group for group in added if not self.blocking(group)}
            if free:
                self.add(free)
                added -= free
                continue
            movable = sorted(group for group in changed if not self.blocking(group))
            blockers = {other for group in added | changed for other in self.blocking(group)}
            if movable:
                changed.remove(movable[0])
                self.drop({movable[0]}, back=True)
                self.add({movable[0]})
            elif dropped:
                leaving = dropped & blockers or set(dropped)
                dropped -= leaving
                self.drop(leaving)
            elif not changed:
                others = sorted(other for group in added for other in self.blocking(group))
                raise RollError(
                    f"Supervisor's {', '.join(others)} holds the port of {', '.join(sorted(added))} and is not the"
                    " program file's: take it out of the file that defines it, and run again."
                )
            else:
                # Programs that are to swap their ports: one has to go first.
                first = sorted(changed & blockers or changed)[0]
                changed.remove(first)
                self.drop({first})
                added.add(first)

    def blocking(self, group: str) -> set[str]:
        """The other groups that hold a port which this one is to have."""
        wanted = self.wanted_ports(group)
        return {other for other, ports in self.serving.items() if other != group and ports & wanted}

    def add(self, groups: set[str]) -> None:
        """Start groups together, and let them serve once all of their processes answer."""
        for group in sorted(groups):
            self.rpc.addProcessGroup(group)
        for row in self.rows():
            if row["group"] in groups:
                self.wait(row)
                self.started.add(row["name"])
        self.serving.update({group: self.wanted_ports(group) for group in groups})
        self.silent -= groups
        self.balance()

    def drop(self, groups: set[str], back: bool = False) -> None:
        """End groups, once nginx sends them nothing more; `back` where they are to come back at once."""
        self.let_go(groups, back)
        for group in sorted(groups):
            # While it waits for a process to end, Supervisor uses all of a core, and this connection may time out.
            self.rpc.stopProcessGroup(group, False)
            for row in self.rpc.getAllProcessInfo():
                if row["group"] == group:
                    self.until_ended(row)
            self.rpc.removeProcessGroup(group)
            self.serving.pop(group, None)
            self.silent.discard(group)

    # --- nginx ------------------------------------------------------------------------------------------------------

    def balance(self, without: set[str] | None = None, back: bool = False) -> bool:
        """Have nginx send requests to all who serve, `without` some; False where nobody would be left."""
        out = self.silent | (without or set())
        ports = {port for group, held in self.serving.items() if group not in out for port in held}
        if not self.nginx or not ports:
            return False
        # Those that come back keep their place, so that what is pinned to the first process stays with it.
        gone = set() if back else without or set()
        down = {port for group in out - gone for port in self.serving.get(group, ())} - ports
        try:
            self.nginx.put(sorted(ports | down), down=down, pins=self.params["pins"])
        except NginxError:
            # When this layout is left, nginx may be stopped or replaced by another web server.
            if self.apart:
                raise
            return False
        return True

    def let_go(self, groups: set[str], back: bool) -> None:
        """Have nginx send nothing more to these groups, and let them end what they have begun."""
        if not self.balance(groups, back):
            return
        ports = {port for group in groups for port in self.serving.get(group, ())}
        ports -= {port for group, held in self.serving.items() if group not in groups for port in held}
        end = time.monotonic() + self.params["drain_seconds"]
        while time.monotonic() < end and any(
            c.state == proc.ESTABLISHED and c.port in ports for c in proc.connections()
        ):
            time.sleep(0.1)

    def settle(self, moved: bool) -> bool:
        """Configure nginx for the layout; return whether its configuration was changed permanently."""
        if not self.nginx:
            return False
        if not self.apart:
            return self.nginx.give_back(self.params["port"]).changed
        if moved:
            self.balance()
        return False

    # --- processes --------------------------------------------------------------------------------------------------

    def own_socket(self, row: dict[str, Any]) -> str:
        """The unix socket on which this process alone answers. While the layout changes, both groups have one each."""
        number = asgi_number(row["group"])
        name = row["name"] if number is None else f"tethys_asgi_{self.params['port'] + number}"
        return str(Path(self.params["run_dir"]) / f"{name}.sock")

    def answers(self, row: dict[str, Any]) -> bool:
        """Whether this process answers."""
        host = self.params["host_name"]
        if self.params["processes"]:
            return answers(self.own_socket(row), host)
        where = self.put_back.get(row["group"])
        if where is None and row["group"] in self.put_back:
            # Only Supervisor has the address.
            return str(self.rpc.getProcessInfo(f"{row['group']}:{row['name']}")["statename"]) == "RUNNING"
        if where and where.path:
            return answers(where.path, host)
        address = where.address if where and where.address not in (None, "*", "0.0.0.0") else None  # noqa: S104
        return port_answers((where.port if where else None) or self.params["port"], address or "127.0.0.1", host)

    def wait(self, row: dict[str, Any]) -> None:
        """Until the process answers; an error names the log to read."""
        name, full = row["name"], f"{row['group']}:{row['name']}"
        end = time.monotonic() + self.params["timeout"]
        pids: set[int] = set()
        while True:
            is_up, info = self.answers(row), self.rpc.getProcessInfo(full)
            state = info["statename"]
            pids |= {info["pid"]} - {0}
            # One that answers within a second is still STARTING for Supervisor.
            if is_up and state == "RUNNING":
                return
            why = ""
            if len(pids) > MOST_STARTS:
                why = f"Process {full} ended {MOST_STARTS} times while it started ({state})"
            elif state == "FATAL" or time.monotonic() > end:
                why = f"Process {full} does not answer ({state}) after {self.params['timeout']} s at the most"
            if why:
                raise RollError(f"{why}: read {self.log_of(info)}. {self.others_serving(name)}")
            time.sleep(0.2)

    def log_of(self, info: dict[str, Any]) -> str:
        """Return the log of a process: the one that its program names, as several processes may share one."""
        return clean(str(info.get("stdout_logfile") or f"{self.params['log_dir']}/{info.get('name')}.log"), 1000)

    def others_serving(self, name: str) -> str:
        """Say which processes besides that one answer. One that crashes as it starts is STARTING or RUNNING, too."""
        others = [row["name"] for row in self.rows() if row["name"] != name and self.answers(row)]
        return f"Still serving: {', '.join(others)}." if others else "No other process answers."

    def stop(self, row: dict[str, Any]) -> None:
        """One process, until it has ended."""
        full = f"{row['group']}:{row['name']}"
        try:
            # While it waits for a process to end, Supervisor uses all of a core.
            self.rpc.stopProcess(full, False)
        except xmlrpc.client.Fault as error:
            if "NOT_RUNNING" not in error.faultString:
                raise
            return
        self.until_ended(row)

    def until_ended(self, row: dict[str, Any]) -> None:
        """Wait until a process has ended."""
        full, end = f"{row['group']}:{row['name']}", time.monotonic() + STOP_SECONDS
        while (state := self.rpc.getProcessInfo(full)["statename"]) not in ENDED:
            if time.monotonic() > end:
                others = self.others_serving(row["name"])
                raise RollError(f"Process {full} has not ended ({state}) after {STOP_SECONDS:g} s. {others}")
            time.sleep(0.1)

    def restart(self, row: dict[str, Any]) -> None:
        """One process, until it answers again."""
        full = f"{row['group']}:{row['name']}"
        if self.apart:
            self.let_go({row["group"]}, back=True)
        self.stop(row)
        try:
            # wait() checks whether it started: what Supervisor's own wait reports of a crash depends on its time.
            self.rpc.startProcess(full, False)
        except xmlrpc.client.Fault as error:
            if "ALREADY_STARTED" not in error.faultString:
                why = f"Supervisor cannot start {full} ({error.faultString})"
                log = self.log_of(self.rpc.getProcessInfo(full))
                raise RollError(f"{why}: read {log}. {self.others_serving(row['name'])}") from error
        self.wait(row)
        self.silent.discard(row["group"])
        self.restarted.append(row["name"])

    def outdated(self, sources: Sources, record: dict[str, str]) -> list[dict[str, Any]]:
        """The processes that do not run, do not answer, or are older than the files or the Redis there now."""
        rows = []
        name = self.params["redis_container"]
        started = self.params["redis_started_at"]
        redis = asgi_record.groups_lost_at(name, self.params["redis_engine"]) if name else started
        for row in self.rows():
            key = proc.process_key(row["pid"]) if row["statename"] == "RUNNING" else None
            # One that hangs, or was stopped by a signal, still runs for Supervisor.
            if (
                key is None
                or asgi_record.precedes(key, redis)
                or not self.answers(row)
                or asgi_record.is_outdated(key, sources, record)
            ):
                rows.append(row)
        return rows

    def estimate(self, sources: Sources, record: dict[str, str], written: list[str], is_pending: bool) -> None:
        """Find what a run would start or restart, for check mode; everything where what is read `is_pending`."""
        rows = self.rows()
        self.regrouped = self.params["program_changed"] or self.params.get("program") in written or not rows
        if not self.regrouped:
            outdated = rows if is_pending else self.outdated(sources, record)
            self.restarted = [row["name"] for row in outdated]

    def keep(self, sources: Sources, record: dict[str, str]) -> None:
        """Write down what each process runs with."""
        done = {*self.restarted, *self.started}
        kept = {}
        for row in self.rows():
            key = proc.process_key(row["pid"])
            if key:
                kept[key] = sources.sum if row["name"] in done or key not in record else record[key]
        path = Path(self.params["record"])
        if kept != record and path.parent.is_dir():
            atomic_file.remove_leftovers(str(path))
            atomic_file.replace(str(path), (json.dumps(kept, indent=2) + "\n").encode())

    def sweep(self, dry: bool) -> None:
        """Remove the sockets that no process holds, with their lock links, until a time limit."""
        end = time.monotonic() + SWEEP_SECONDS
        for folder in dict.fromkeys([self.params["run_dir"], *self.params["old_run_dirs"]]):
            for path in sockets_in(Path(folder)):
                left = end - time.monotonic()
                if left <= 0:
                    return
                if held(path, min(2.0, left)):
                    continue
                lock = Path(f"{path}.lock")
                is_lock = stat.S_ISLNK(mode_of(lock)) or stat.S_ISREG(mode_of(lock))
                for name in [path, lock] if is_lock else [path]:
                    # The processes serve already, and what was exchanged meanwhile is no reason to fail.
                    with contextlib.suppress(OSError):
                        if not dry:
                            name.unlink()
                        self.removed.append(str(name))
