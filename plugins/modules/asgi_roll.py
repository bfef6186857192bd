#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the portal's ASGI processes to what their files say, one at a time where Supervisor allows it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asgi_roll
short_description: Start, or restart one at a time, a portal's ASGI processes under Supervisor
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Makes Supervisor load new, changed and dropped programs, and otherwise restarts, one at a time, only the processes
    that run with something older than the files they read.
  - Supervisor stops and starts the processes of one program together. Where each process is a separate program,
    behind an nginx upstream that is managed, a process serves from when it answers, and leaves before it ends.
  - A process that does not answer again stops the roll, so that the others keep serving.
  - Which files a process runs with is kept for each process id, so that a run that was killed is finished by the next.
seealso:
  - module: tethys.channels.nginx_upstream
  - module: tethys.channels.service_files
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.environment_file
attributes:
  check_mode:
    support: full
    description: Shows what would be restarted, and leaves Supervisor alone.
  diff_mode:
    support: full
    description: Shows each of O(files) that is written before and after; processes have no text to compare.
  platform:
    description: Linux with Supervisor.
options:
  processes:
    description: How many processes the program file has; 0 for a file that is not the collection's.
    type: int
    required: true
  port:
    description: The port on the loopback on which the processes, or the first of them, answer.
    type: int
    required: true
  layout:
    description:
      - V(shared_socket) is the one Supervisor program C(asgi) on O(port).
      - V(socket_per_process) is a program C(tethys_asgi0), C(tethys_asgi1) and so on for each process, on O(port) and
        those that follow.
    type: str
    choices: [shared_socket, socket_per_process]
    default: shared_socket
  upstream:
    description:
      - The name of nginx's upstream block, if the block is managed. Processes that have to move leave it and come back.
      - With O(layout=shared_socket) the block is put back as it was found.
    type: str
  pins:
    description: Regular expressions of the paths that the upstream sends to the first process, which are Bokeh's.
    type: list
    elements: str
    default: []
  drain_seconds:
    description:
      - The seconds that requests may take to end in a process that nginx drains. WebSockets that are still open
        then are closed.
    type: int
    default: 10
  run_dir:
    description: The folder of the processes' own sockets, C(tethys_asgi0.sock) and so on.
    type: path
    required: true
  old_run_dirs:
    description: Folders in which an earlier set-up may have left such sockets; those that nobody holds are removed.
    type: list
    elements: path
    default: ["/run"]
  log_dir:
    description: The folder of the processes' logs, for the messages.
    type: path
    required: true
  reads:
    description: The files that a process reads when it starts.
    type: list
    elements: path
    required: true
  site_packages:
    description: The environment's site-packages; an installed, removed or changed package there counts as read too.
    type: path
    required: true
  redis_container:
    description:
      - The name of the container in which the layer's Redis runs. A process that is older than its last start is
        restarted, since the groups that its WebSockets had joined are gone, and they receive nothing.
    type: str
  redis_engine:
    description: The engine that O(redis_container) is in.
    type: str
    choices: [docker, podman]
    default: docker
  redis_started_at:
    description: When the layer's Redis last started, where that is on another server, in seconds since 1970.
    type: float
    default: 0
  files:
    description:
      - The files and folders that the processes need, their program among them. They are put right first, as
        M(tethys.channels.service_files) does, where a separate task would cost another connection in every run.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Its path.
        type: path
        required: true
      content:
        description: What is in the file. Without it, O(files[].path) is a folder.
        type: str
      owner:
        description: Its owner.
        type: str
        default: root
      group:
        description: Its group; without it, any group is right.
        type: str
      mode:
        description: Its mode as octal digits.
        type: str
        required: true
      logs:
        description:
          - Whether it is a folder in which root writes logs. Links and FIFOs of others and hard links are deleted.
        type: bool
        default: false
  program:
    description:
      - The program file. Groups that another file defines, and that somebody besides root can change, are not started.
      - With O(processes=0) the groups that it defines are the portal's; without it, C(asgi) alone.
    type: path
  group:
    description: The name of the group that holds all processes (V(shared_socket)).
    type: str
    default: asgi
  other_groups:
    description: Groups that have a name of the portal's and run something else. They are left alone.
    type: list
    elements: str
    default: []
  replaces:
    description: Groups of other names that run the portal. They are ended where no file defines them any more.
    type: list
    elements: str
    default: []
  record:
    description: The file in which to keep what each process runs with.
    type: path
    default: /etc/tethys_channels/processes.json
  pending:
    description: In check mode, that earlier tasks would have changed what the processes read.
    type: bool
    default: false
  program_changed:
    description: In check mode, that an earlier task would have changed the program file.
    type: bool
    default: false
  force:
    description: Restart every process, one at a time, whatever it runs with.
    type: bool
    default: false
  host_name:
    description:
      - The name in the request that shows whether a process answers. Django writes an error with a traceback into the
        log for a name that C(ALLOWED_HOSTS) lacks.
    type: str
    default: localhost
  timeout:
    description: Seconds that a process may take until it answers.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Update ASGI processes
  tethys.channels.asgi_roll:
    processes: 3
    run_dir: /run/tethys
    log_dir: /var/log/tethys_channels
    reads: [/var/lib/tethys/portal_config.yml]
    site_packages: /opt/conda/envs/tethys/lib/python3.12/site-packages
"""

RETURN = r"""
restarted:
  description: The processes that were restarted one at a time.
  returned: always
  type: list
  elements: str
  sample: [tethys_asgi0, tethys_asgi1]
regrouped:
  description: Whether Supervisor loaded new, changed or dropped programs.
  returned: always
  type: bool
  sample: false
written:
  description: The paths of O(files) that were not as expected.
  returned: always
  type: list
  elements: str
  sample: [/etc/supervisor/conf.d/asgi_supervisord.conf]
removed:
  description: Sockets and locks without a process, which were removed.
  returned: always
  type: list
  elements: str
  sample: [/run/tethys/tethys_asgi2.sock]
"""

import contextlib
import functools
import http.client
import itertools
import json
import os
import socket
import stat
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable, Iterable

from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.asgi_record import Sources
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, ask_within, clean
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.expected_files import (
    OPTIONS,
    NotPut,
    how_differs,
    put_all_right,
)
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Nginx, NginxError
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    kept_environment,
    portal_program,
    proc,
    supervisor_files,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.copies import copied
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import writable_by_others
from ansible_collections.tethys.channels.plugins.module_utils.services import (
    Supervisor,
    UnixConnection,
    asgi_number,
    is_asgi_group,
)

# A process that has not begun to answer after so long is taken for one that hangs.
ANSWER_SECONDS = 10.0
# A process that Supervisor has started again so often while it was waited for crashes as it starts.
MOST_STARTS = 3
# The folder of the sockets is the portal's user's, who can put any number of them there.
SWEEP_SECONDS = 10.0
# Supervisor kills a process that has not ended after its program's stopwaitsecs.
STOP_SECONDS = 60.0
# Supervisor's states of a process that does not run and is not about to.
ENDED = ("STOPPED", "EXITED", "FATAL", "UNKNOWN")
MOST_NAMES = 1000


class RollError(Exception):
    """One sentence for the administrator."""


def heard(connection: http.client.HTTPConnection, host: str) -> bool:
    """Whether an HTTP server answers there, with whatever status."""
    try:
        ask_within(connection, ANSWER_SECONDS, "HEAD", "/", {"Host": host})
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def answers(path: str, host: str = "localhost") -> bool:
    """Whether an HTTP server answers on this socket."""
    return heard(UnixConnection(path, timeout=ANSWER_SECONDS), host)


def port_answers(port: int, address: str = "127.0.0.1", host: str = "localhost") -> bool:
    """Whether an HTTP server answers on this port of an address of this server."""
    return heard(http.client.HTTPConnection(address, port, timeout=ANSWER_SECONDS), host)


def endpoints_of(program: str) -> dict[str, portal_program.Endpoint | None]:
    """Return where each group of a program file listens that has a portal's name or runs the portal.

    That is None where Supervisor is still to expand it, as `%(process_num)d`.
    """
    file = supervisor_files.read(program)
    found: dict[str, portal_program.Endpoint | None] = {}
    for title, section in file.sections.items() if file else ():
        kind, _colon, group = title.partition(":")
        runs = (portal_program.application_of(section) or "").partition(":")[0] == portal_program.PORTAL
        if is_asgi_group(group.strip()) or (runs and kind.strip() in ("program", "fcgi-program")):
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


def changes_reads(files: list[dict[str, Any]], reads: list[str]) -> bool:
    """Return whether the text of a file is to change that the processes read when they start."""
    problems = [how_differs(expected) for expected in files if expected["path"] in reads]
    return any(problem and problem.code not in ("owner-differs", "mode-differs") for problem in problems)


def mode_of(path: Path) -> int:
    """The mode of a file or link itself; 0 where there is none."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def sockets_in(folder: Path) -> list[Path]:
    """The sockets of processes in a folder, which may be the portal's user's; links are none."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, MOST_NAMES)]
    except OSError:
        return []
    paths = [folder / name for name in sorted(names) if name.startswith("tethys_asgi") and name.endswith(".sock")]
    return [path for path in paths if stat.S_ISSOCK(mode_of(path))]


def held(path: Path, seconds: float = 2.0) -> bool:
    """Whether somebody accepts connections on this socket, or does not tell within so many seconds."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(seconds)
    try:
        probe.connect(str(path))
    except (socket.timeout, BlockingIOError):
        # With a timeout the socket does not block: EAGAIN says that the queue of connections is full.
        return True
    except OSError:
        return False
    finally:
        probe.close()
    return True


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
        self.put_back = endpoints_of(params["program"]) if params.get("program") and not params["processes"] else {}
        # The ports that each group holds, and the groups of which no process answers: nginx sends them nothing.
        self.serving: dict[str, set[int]] = {}
        self.silent: set[str] = set()
        self.restarted: list[str] = []
        self.started: set[str] = set()
        self.regrouped = False
        self.removed: list[str] = []

    @property
    def apart(self) -> bool:
        """Whether each process is a program of its own."""
        return bool(self.params["layout"] == "socket_per_process")

    def rows(self) -> list[dict[str, Any]]:
        """Supervisor's processes of the portal, in order."""
        rows = [row for row in self.rpc.getAllProcessInfo() if self.is_portals(row["group"])]
        return sorted(rows, key=lambda row: (len(row["name"]), row["name"]))

    def is_portals(self, group: str) -> bool:
        """Return whether a group runs the portal, by its name and by what the file says that is put back."""
        if is_asgi_group(group) and group not in self.params["other_groups"]:
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
        """The ports that a group's processes serve, as the kernel tells it, whatever a file says."""
        pids = [row["pid"] for row in self.rows() if row["group"] == group and row["pid"]]
        # Supervisor hands the group's socket over as standard input; an app may listen on ports of its own besides.
        inodes = {inode for inode in map(proc.standard_input, pids) if inode}
        return {c.port for c in proc.connections() if c.state == proc.LISTEN and c.inode in inodes}

    # --- programs ---------------------------------------------------------------------------------------------------

    def reread(self) -> None:
        """Let Supervisor take over new and changed programs and end dropped ones."""
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
            with copied(self._paths(), supervisor_files.MOST_OF_OTHERS):
                found: list[list[str]]
                found, _files = self.rpc.reloadConfig()[0], self.files
        except Rejected as error:
            raise RollError(f"{error}: Supervisor reads it as root. Correct it and run again.") from error
        except xmlrpc.client.Fault as error:
            raise RollError(
                f"Supervisor cannot read its configuration ({error.faultString}):"
                " `supervisorctl reread` shows which file."
            ) from error
        return found

    def expected(self) -> set[str]:
        """The groups that this run is to start. Supervisor starts a program without `user` as root."""
        if not self.params["processes"] and self.params.get("program"):
            return set(self.put_back) or {self.params["group"]}
        apart = {f"tethys_asgi{number}" for number in range(self.params["processes"])}
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
            self.rpc.stopProcessGroup(group, True)
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
            # On the way out of this layout nginx may be stopped, or gone for another web server.
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
        """Leave nginx as the layout wants it; returns whether its configuration was changed for good."""
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
        end = time.monotonic() + STOP_SECONDS
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
            # wait() judges whether it came up: what Supervisor's own wait says of a crash depends on its moment.
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
        """Remove the sockets that no process holds, with their lock links, as far as it is done in a short time."""
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


def estimate(roll: Roll, params: dict[str, Any], files: list[dict[str, Any]], written: list[str]) -> bool:
    """Find out what a run would do; return whether nginx would be changed besides."""
    record = atomic_file.read_notes(Path(params["record"]))
    sources = Sources(params["reads"], params["site_packages"])
    is_pending = params["pending"] or params["force"] or changes_reads(files, params["reads"])
    roll.estimate(sources, record, written, is_pending)
    settled = bool(roll.nginx and not roll.apart and roll.nginx.give_back(params["port"], dry=True).changed)
    roll.sweep(dry=True)
    return settled


def update(roll: Roll, params: dict[str, Any]) -> bool:
    """Restart what is outdated, one at a time; return whether nginx was changed at the end."""
    record = atomic_file.read_notes(Path(params["record"]))
    # Before any process starts: one that reads a file which changes only then is outdated.
    sources = Sources(params["reads"], params["site_packages"])
    roll.reread()
    rows = roll.rows() if params["force"] else roll.outdated(sources, record)
    # Those that do not serve first, so that somebody serves while the others restart.
    for row in sorted(rows, key=lambda row: row["group"] not in roll.silent):
        if row["name"] not in roll.started:
            roll.restart(row)
    settled = roll.settle(roll.regrouped or bool(roll.restarted))
    running = [row for row in roll.rows() if row["statename"] == "RUNNING"]
    if params["processes"] and len(running) != params["processes"]:
        raise RollError(
            f"{len(running)} of {params['processes']} processes run under Supervisor:"
            f" `supervisorctl status` shows which are missing, their logs are in {params['log_dir']}."
        )
    roll.keep(sources, record)
    roll.sweep(dry=False)
    return settled


ARGUMENTS = {
    "processes": {"type": "int", "required": True},
    "port": {"type": "int", "required": True},
    "layout": {
        "type": "str",
        "choices": ["shared_socket", "socket_per_process"],
        "default": "shared_socket",
    },
    "upstream": {"type": "str"},
    "pins": {"type": "list", "elements": "str", "default": []},
    "drain_seconds": {"type": "int", "default": 10},
    "run_dir": {"type": "path", "required": True},
    "old_run_dirs": {"type": "list", "elements": "path", "default": ["/run"]},
    "log_dir": {"type": "path", "required": True},
    "reads": {"type": "list", "elements": "path", "required": True},
    "site_packages": {"type": "path", "required": True},
    "redis_container": {"type": "str"},
    "redis_engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
    "redis_started_at": {"type": "float", "default": 0},
    "files": {"type": "list", "elements": "dict", "default": [], "options": OPTIONS},
    "program": {"type": "path"},
    "environment": {"type": "dict", "options": kept_environment.OPTIONS},
    "group": {"type": "str", "default": "asgi"},
    "other_groups": {"type": "list", "elements": "str", "default": []},
    "replaces": {"type": "list", "elements": "str", "default": []},
    "record": {"type": "path", "default": "/etc/tethys_channels/processes.json"},
    "pending": {"type": "bool", "default": False},
    "program_changed": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "host_name": {"type": "str", "default": "localhost"},
    "timeout": {"type": "int", "default": 90},
}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    params = module.params
    try:
        # First, while the program that is adopted is still there.
        files = [*kept_environment.expected(params["environment"]), *params["files"]]
        written, diff = put_all_right(files, dry=module.check_mode)
    except (NotPut, kept_environment.Unusable) as error:
        module.fail_json(msg=str(error))
    supervisor = Supervisor(timeout=params["timeout"] + 30.0)
    if supervisor.state() is None:
        if module.check_mode:
            module.exit_json(changed=True, restarted=[], regrouped=True, removed=[], written=written, diff=diff)
        why = f" ({supervisor.stranger})" if supervisor.stranger else ""
        module.fail_json(
            msg=f"Supervisor does not answer on {supervisor.socket_path}{why}: start it (systemctl start supervisor)"
            " and run again."
        )
    state_dir = str(Path(params["record"]).parent)
    nginx = Nginx(params["upstream"], state_dir) if params["upstream"] else None
    roll = Roll(params, supervisor.rpc(), nginx, supervisor.files, supervisor.program_files)
    settled = False
    try:
        if module.check_mode:
            settled = estimate(roll, params, files, written)
        else:
            with alone(Path(params["record"]).parent):
                settled = update(roll, params)
    except (RollError, NginxError, Busy) as error:
        module.fail_json(msg=str(error), restarted=roll.restarted, regrouped=roll.regrouped, removed=roll.removed)
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        if isinstance(error, OSError) and error.filename:
            name = error.filename2 or error.filename
            module.fail_json(msg=f"{name}: {error.strerror}. Correct that and run again; the processes serve.")
        module.fail_json(msg=f"Supervisor stopped answering: {error}. Read `systemctl status supervisor`.")
    module.exit_json(
        changed=bool(written) or roll.regrouped or bool(roll.restarted) or bool(roll.removed) or settled,
        restarted=roll.restarted,
        regrouped=roll.regrouped,
        removed=roll.removed,
        written=written,
        diff=diff,
    )


if __name__ == "__main__":
    main()
