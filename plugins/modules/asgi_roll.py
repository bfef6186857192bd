#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the portal's ASGI processes to what their files say, one at a time where Supervisor allows it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asgi_roll
short_description: Start, or restart one at a time, a portal's ASGI processes under Supervisor
version_added: 1.0.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Tells Supervisor of a new or changed program, which stops and starts that program's processes together.
  - Otherwise restarts, one at a time, only the processes that run with something older than the files they read.
  - A process that does not answer again stops the roll, so that the others keep serving.
  - Which files a process runs with is kept for each process id, so that a run that was killed is finished by the next.
attributes:
  check_mode:
    support: full
    description: Tells what would be restarted, and leaves Supervisor alone.
  diff_mode:
    support: none
    description: Processes have no text to compare.
  platform:
    support: full
    platforms: posix
    description: Linux with Supervisor.
options:
  program:
    description: The Supervisor group.
    type: str
    default: asgi
  processes:
    description: How many processes the program file asks for; 0 for a file that is not the collection's.
    type: int
    required: true
  port:
    description: Where the program file is not the collection's, the port on the loopback on which its processes answer.
    type: int
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
  record:
    description: The file in which to keep what each process runs with.
    type: path
    default: /etc/tethys_channels/processes.json
  pending:
    description: In check mode, that earlier tasks would have changed what the processes read.
    type: bool
    default: false
  program_changed:
    description: In check mode, that the program file would have changed.
    type: bool
    default: false
  force:
    description: Restart every process, one at a time, whatever it runs with.
    type: bool
    default: false
  timeout:
    description: Seconds that a process may take until it answers.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Bring the processes up to date
  tethys.channels.asgi_roll:
    processes: 3
    run_dir: /run/tethys
    log_dir: /var/log/tethys
    reads: [/var/lib/tethys/portal_config.yml]
    site_packages: /opt/conda/envs/tethys/lib/python3.12/site-packages
"""

RETURN = r"""
restarted:
  description: The processes that were restarted one at a time.
  returned: always
  type: list
  elements: str
regrouped:
  description: Whether Supervisor stopped and started the whole program, because its file changed.
  returned: always
  type: bool
removed:
  description: Sockets and locks without a process, which were removed.
  returned: always
  type: list
  elements: str
"""

import hashlib
import http.client
import json
import os
import socket
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.services import Supervisor, UnixConnection

# The kernel tells a start, and how long it runs, in hundredths of a second. A process reads its files much later than
# this after its start, so one that started so shortly before a change has the change.
SLACK_SECONDS = 0.05


class RollError(Exception):
    """One sentence for the administrator."""


def process_key(pid: int) -> str | None:
    """The process id with its start time in clock ticks since boot: unlike a date, no change of the clock moves it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return f"{pid}:{fields[19]}"


def started_at(key: str) -> float:
    """The wall-clock time at which a process started, as well as the clock can tell."""
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    ticks = int(key.partition(":")[2])
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")


class Sources:
    """What a process reads at its start: a sum over it, and when it last changed."""

    def __init__(self, files: list[str], site_packages: str) -> None:
        digest = hashlib.sha256()
        newest = 0.0
        for name in files:
            path = Path(name)
            if path.is_file():
                digest.update(name.encode() + b"\0" + path.read_bytes())
                newest = max(newest, path.stat().st_mtime)
        for entry in sorted(Path(site_packages).glob("*.dist-info")):
            digest.update(entry.name.encode() + b"\0")
            newest = max(newest, entry.stat().st_mtime)
        self.sum = digest.hexdigest()
        self.newest = newest


def heard(connection: http.client.HTTPConnection) -> bool:
    """Whether an HTTP server answers there, with whatever status."""
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def answers(path: str) -> bool:
    """Whether an HTTP server answers on this socket."""
    return heard(UnixConnection(path, timeout=5.0))


def port_answers(port: int) -> bool:
    """Whether an HTTP server answers on this port of the loopback."""
    return heard(http.client.HTTPConnection("127.0.0.1", port, timeout=5.0))


def held(path: Path) -> bool:
    """Whether somebody accepts connections on this socket."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(2.0)
    try:
        probe.connect(str(path))
    except socket.timeout:
        return True
    except OSError:
        return False
    finally:
        probe.close()
    return True


class Roll:
    """One run of the module."""

    def __init__(self, params: dict[str, Any], rpc: Any) -> None:
        self.params = params
        self.rpc = rpc
        self.group: str = params["program"]
        self.restarted: list[str] = []
        self.regrouped = False
        self.removed: list[str] = []

    def rows(self) -> list[dict[str, Any]]:
        """Supervisor's processes of the group, in order."""
        rows = [row for row in self.rpc.getAllProcessInfo() if row["group"] == self.group]
        return sorted(rows, key=lambda row: (len(row["name"]), row["name"]))

    def reread(self) -> None:
        """Let Supervisor take over a new or changed program file."""
        try:
            added, changed, removed = self.rpc.reloadConfig()[0]
        except xmlrpc.client.Fault as error:
            raise RollError(
                f"Supervisor cannot read its configuration ({error.faultString}):"
                " `supervisorctl reread` shows which file."
            ) from error
        if self.group in changed or self.group in removed:
            self.rpc.stopProcessGroup(self.group, True)
            self.rpc.removeProcessGroup(self.group)
        if self.group in changed or self.group in added:
            self.rpc.addProcessGroup(self.group)
            self.regrouped = True
            for row in self.rows():
                self.wait(row["name"])

    def wait(self, name: str) -> None:
        """Until the process answers; an error names the log to read."""
        port = self.params["port"]
        path = str(Path(self.params["run_dir"]) / f"{name}.sock")
        end = time.monotonic() + self.params["timeout"]
        while not (port_answers(port) if port else answers(path)):
            state = self.rpc.getProcessInfo(f"{self.group}:{name}")["statename"]
            if state == "FATAL" or time.monotonic() > end:
                others = [row["name"] for row in self.rows() if row["name"] != name and row["statename"] == "RUNNING"]
                raise RollError(
                    f"Process {self.group}:{name} does not answer ({state}) after {self.params['timeout']} s at the"
                    f" most: read {self.params['log_dir']}/{name}.log."
                    f" {'Still serving: ' + ', '.join(others) if others else 'No other process is running'}."
                )
            time.sleep(0.2)

    def restart(self, name: str) -> None:
        """One process, until it answers again."""
        full = f"{self.group}:{name}"
        try:
            self.rpc.stopProcess(full, True)
        except xmlrpc.client.Fault as error:
            if "NOT_RUNNING" not in error.faultString:
                raise
        try:
            self.rpc.startProcess(full, True)
        except xmlrpc.client.Fault as error:
            if "ALREADY_STARTED" not in error.faultString:
                raise RollError(
                    f"Supervisor cannot start {full} ({error.faultString}): read {self.params['log_dir']}/{name}.log."
                ) from error
        self.wait(name)

    def outdated(self, sources: Sources, record: dict[str, str]) -> list[str]:
        """The processes that are not running, or run with something older than the files now there."""
        names = []
        for row in self.rows():
            key = process_key(row["pid"]) if row["statename"] == "RUNNING" else None
            if key is None:
                names.append(row["name"])
            elif key in record:
                if record[key] != sources.sum:
                    names.append(row["name"])
            elif started_at(key) + SLACK_SECONDS < sources.newest:
                names.append(row["name"])
        return names

    def keep(self, sources: Sources, record: dict[str, str], done: set[str]) -> None:
        """Write down what each process runs with."""
        kept = {}
        for row in self.rows():
            key = process_key(row["pid"])
            if key:
                kept[key] = sources.sum if row["name"] in done or key not in record else record[key]
        path = Path(self.params["record"])
        if kept != record and path.parent.is_dir():
            new = path.with_suffix(".new")
            new.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
            new.replace(path)

    def sweep(self, dry: bool) -> None:
        """Remove the sockets that no process holds, with their lock links."""
        for folder in dict.fromkeys([self.params["run_dir"], *self.params["old_run_dirs"]]):
            for path in sorted(Path(folder).glob("tethys_asgi*.sock")):
                if not held(path):
                    lock = Path(f"{path}.lock")
                    for name in (path, lock):
                        if name.is_symlink() or name.exists():
                            self.removed.append(str(name))
                            if not dry:
                                name.unlink()


def read_record(path: Path) -> dict[str, str]:
    """What an earlier run wrote down, or nothing."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "str", "default": "asgi"},
            "processes": {"type": "int", "required": True},
            "port": {"type": "int"},
            "run_dir": {"type": "path", "required": True},
            "old_run_dirs": {"type": "list", "elements": "path", "default": ["/run"]},
            "log_dir": {"type": "path", "required": True},
            "reads": {"type": "list", "elements": "path", "required": True},
            "site_packages": {"type": "path", "required": True},
            "record": {"type": "path", "default": "/etc/tethys_channels/processes.json"},
            "pending": {"type": "bool", "default": False},
            "program_changed": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    params = module.params
    supervisor = Supervisor(timeout=params["timeout"] + 30.0)
    if supervisor.state() is None:
        if module.check_mode:
            module.exit_json(changed=True, restarted=[], regrouped=True, removed=[])
        module.fail_json(
            msg=f"Supervisor does not answer on {supervisor.socket_path}: start it (systemctl start supervisor) and run"
            " again."
        )
    roll = Roll(params, supervisor.rpc())
    record = read_record(Path(params["record"]))
    try:
        if module.check_mode:
            sources = Sources(params["reads"], params["site_packages"])
            everything = [row["name"] for row in roll.rows()]
            roll.regrouped = params["program_changed"] or not everything
            if not roll.regrouped:
                roll.restarted = everything if params["pending"] or params["force"] else roll.outdated(sources, record)
            roll.sweep(dry=True)
        else:
            roll.reread()
            sources = Sources(params["reads"], params["site_packages"])
            done: set[str] = set()
            if roll.regrouped:
                done.update(row["name"] for row in roll.rows())
            else:
                names = [row["name"] for row in roll.rows()] if params["force"] else roll.outdated(sources, record)
                for name in names:
                    roll.restart(name)
                    roll.restarted.append(name)
                    done.add(name)
            running = [row for row in roll.rows() if row["statename"] == "RUNNING"]
            if params["processes"] and len(running) != params["processes"]:
                raise RollError(
                    f"{len(running)} of {params['processes']} processes run in Supervisor's group {roll.group}:"
                    f" `supervisorctl status` shows which are missing, their logs are in {params['log_dir']}."
                )
            roll.keep(sources, record, done)
            roll.sweep(dry=False)
    except RollError as error:
        module.fail_json(msg=str(error), restarted=roll.restarted, regrouped=roll.regrouped, removed=roll.removed)
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        module.fail_json(msg=f"Supervisor stopped answering: {error}. `systemctl status supervisor` tells more.")
    module.exit_json(
        changed=roll.regrouped or bool(roll.restarted) or bool(roll.removed),
        restarted=roll.restarted,
        regrouped=roll.regrouped,
        removed=roll.removed,
    )


if __name__ == "__main__":
    main()
