# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Supervisor and the portal's programs: what is there, what replaces it, and what users notice of that."""

from __future__ import annotations

from pathlib import PurePosixPath

from ansible_collections.tethys.channels.plugins.module_utils.facts import Settings
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import is_asgi_group
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Program
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import client
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import processes as processes_kept
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.portal import Portal
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.ports import Ports
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number

# Supervisor's own value of stopwaitsecs, in seconds.
STOPS_IN = 10


class Programs(Ports):
    """Supervisor and the portal's programs."""

    def program_reasons(self) -> Program | None:
        """Supervisor, the program and the port; returns the program file that is adopted, if there is one."""
        server = self.server
        self.supervisor_reasons()
        self.warnings.extend(processes_kept.conda_warnings(self.kept, server))
        self.name_reasons()
        programs = server.get("programs") or []
        if len(programs) > 1:
            files = " and ".join(program["path"] for program in programs)
            self.refuse(
                "program-in-two-files",
                "asgi",
                f"Supervisor's program of the portal is defined in {files}: leave it in one file only.",
            )
            return None
        program = programs[0] if programs else None
        if program and program["others"]:
            self.refuse(
                "program-not-alone",
                str(program["path"]),
                f"{program['path']} defines {', '.join(program['others'])} besides the portal's program, and would lose"
                " it: move the portal's program (asgi) into a separate file.",
            )
        for port in self.ports:
            self.port_reasons(port)
        if program and not program["managed"] and program["user"] != self.portal.get("user"):
            self.problems.extend(Portal(self.inputs, self.facts).leftover_reasons(program["user"]))
        return self._adopted(program) if program and not program["managed"] else None

    def name_reasons(self) -> None:
        """Refuse a name of the portal's programs that another file gives to something else: one would replace both."""
        programs = self.server.get("programs") or []
        ours = {group: str(program["path"]) for program in programs for group in program.get("groups") or []}
        new = [f"{self.names.group_of_one}{number}" for number in range(self.wanted)] if self.apart else [self.group]
        names = {*ours, *(new if self.goal == "site" else [])}
        for other in self.server.get("other_programs") or []:
            name, path = other["group"], other["path"]
            # A second portal has a separate reason.
            if name in names and not (other["home"] and name not in ours):
                where = f" and in {ours[name]}" if name in ours else ", and the portal's program needs that name"
                self.refuse(
                    "program-in-two-files",
                    name,
                    f"Supervisor's program {name} is defined in {path} for something other than the portal{where}: give"
                    f" the program in {path} another name.",
                )

    def _adopted(self, program: Program) -> Program:
        """Return the program that the run replaces, which was not ours."""
        user = self.portal.get("user")
        users = f"changes from {program['user']} to {user}" if program["user"] != user else f"stays {user}"
        # Where the old processes hold every port, they have to end before the first new one can start.
        held = {row["port"] for row in self.server.get("listeners") or []}
        is_gapless = self.gapless and not set(self.ports) <= held
        how = (
            "nginx switches to the new processes"
            if is_gapless
            else "Supervisor restarts all processes at once, and requests fail until the new ones answer, for at most"
            f" {self._longest_gap(program)} s"
        )
        self.announce.append(
            f"{program['path']} will be replaced with a file that this collection manages. The processes' user {users}."
            f" {how}."
        )
        self.announce.extend(processes_kept.kept_lines(self.place, self.kept, self.server, self.values))
        self.announce.extend(f"{program['path']}: {change}." for change in self._log_changes(program))
        if self.replaced_groups:
            self.announce.append(
                f"Supervisor's program {', '.join(self.replaced_groups)} runs the portal, and becomes"
                f" {f'{self.names.group_of_one}0 and so on' if self.apart else self.group}."
            )
        return program

    def _longest_gap(self, program: Program) -> int:
        """Return how many seconds Supervisor and the run wait at most until a program has stopped and its next answers.

        A run in which no process answers in time fails, and shows so.
        """
        given = [each.partition("=")[2] for each in program.get("settings") or [] if each.startswith("stopwaitsecs=")]
        stops = whole_number(given[0]) if given else STOPS_IN
        return (stops or 0) + (whole_number(self.options.get("asgi_service_start_timeout")) or 0)

    @property
    def group(self) -> str:
        """The name of the portal's group where it has one for all processes, which is free here."""
        ours = [program for program in self.server.get("programs") or [] if program["managed"]]
        kept = [name for name in ours[0].get("groups", []) if name in self.names.groups] if ours else []
        free = [name for name in self.names.groups if name not in self.other_groups]
        return [*kept, *free, self.names.groups[-1]][0]

    @property
    def replaced_groups(self) -> list[str]:
        """The groups of other names that run the portal, and that this run replaces."""
        programs = self.server.get("programs") or []
        groups = programs[0].get("groups", []) if programs and not programs[0]["managed"] else []
        return sorted(group for group in groups if not is_asgi_group(group, self.names.portal))

    @property
    def new_layer(self) -> bool:
        """Whether packages or settings change which a process reads when it starts."""
        settings: Settings = self.portal.get("settings") or {}
        other = settings.get("layer_backend") != self.asked["tethys_layer_backend"]
        return bool(self.packages.get("moves") or other or self.new_timeout)

    @property
    def new_timeout(self) -> bool:
        """Whether the layer gets socket_timeout, which an earlier version did not write."""
        return client.timeout_is_new(self.portal.get("settings") or {}, str(self.asked["tethys_layer_backend"]))

    def moves(self, processes: int | None, adopted: bool) -> None:
        """Say beforehand what those who use the portal will feel of the processes' coming and going."""
        server = self.server
        there = len(server.get("processes") or [])
        programs = server.get("programs") or []
        if not there or not processes or adopted:
            return
        before = programs[0]["layout"] if programs else self.asked["tethys_asgi_layout"]
        others = len(self.announce)
        if programs:
            self._program_changes(programs[0])
        if before != self.asked["tethys_asgi_layout"]:
            gap = "WebSockets are closed" if self.gapless else "requests fail until the new ones answer"
            self.announce.append(
                f"tethys_asgi_layout changes from {before} to {self.asked['tethys_asgi_layout']}: every process is"
                f" replaced, and {gap}."
            )
        elif not self.apart and programs and self._port_of(programs[0]) not in (None, self.ports[0]):
            self.announce.append(
                f"tethys_port changes from {self._port_of(programs[0])} to {self.ports[0]}: Supervisor restarts"
                " all processes at once, and requests fail until you have changed the port in the proxy in front of"
                " them."
            )
        elif there != processes and not self.apart:
            self.announce.append(
                f"The number of processes changes from {there} to {processes}: Supervisor restarts all of them at once,"
                " and requests fail or wait until they answer."
            )
        elif there > processes:
            self.announce.append(
                f"Of {there} processes {there - processes} end after nginx has drained them, and their WebSockets are"
                " closed."
            )
        elif processes == there == 1 and self.new_layer:
            self.announce.append(
                "The one process has to restart for the new layer: requests fail until it answers again."
            )
        if self.new_timeout:
            self.announce.append(client.timeout_announcement(rolls=len(self.announce) == others))

    def _program_changes(self, program: Program) -> None:
        """Show what changes in our own program: another folder of logs, or what an earlier version did not write."""
        changes = self._log_changes(program)
        if program.get("unbuffered") is False:
            changes.append("requests are logged at once")
        if changes:
            how = (
                "The processes restart one at a time"
                if self.apart
                else "Supervisor restarts all processes at once, and requests fail or wait until they answer"
            )
            self.announce.append(f"{program['path']} changes: {'; '.join(changes)}. {how}.")

    def _log_changes(self, program: Program) -> list[str]:
        """Return where the processes' logs go, if that changes."""
        logs, new_logs = program.get("logs"), self.options.get("asgi_service_log_dir")
        # Without a separate log, a program has Supervisor's, in a folder that changes.
        if not logs or logs == "/" or not new_logs or PurePosixPath(logs) == PurePosixPath(str(new_logs)):
            return []
        return [f"logs go to {new_logs} (asgi_service_log_dir), and those in {logs} stay there"]

    @staticmethod
    def _port_of(program: Program) -> int | None:
        """The port on which the processes of a program listen."""
        return whole_number(str(program.get("socket") or "").rpartition(":")[2])

    def present_reasons(self) -> None:
        """Refuse a restart or a removal of programs of which it is not clear where they are, or that are not ours."""
        # Without state there is nothing to restart or to remove.
        if self.choice_reasons() or (self.server.get("state") and self.of_others_reasons()):
            return
        if self.goal == "restart":
            self._restart_reasons()
        self.stopped_reasons()
        self.name_reasons()

    def _restart_reasons(self) -> None:
        """Refuse a restart unless the program is ours and has the configured number of processes."""
        programs = [program for program in self.server.get("programs") or [] if program["managed"]]
        asked = str(self.asked["tethys_asgi_processes"])
        if not programs:
            self.refuse(
                "program-not-managed",
                "asgi",
                "The portal's processes are not run by this collection yet: run tethys.channels.site first.",
            )
        elif programs[0]["layout"] != self.asked["tethys_asgi_layout"]:
            self.refuse(
                "layout-differs",
                "tethys_asgi_layout",
                f"tethys_asgi_layout is {self.asked['tethys_asgi_layout']} and the processes run as"
                f" {programs[0]['layout']}: run tethys.channels.site, which changes the layout.",
            )
        elif programs[0]["numprocs"] != asked:
            self.refuse(
                "number-differs",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {asked} and the program has {programs[0]['numprocs']}: run"
                " tethys.channels.site, which changes the number.",
            )

    def gaps(self) -> None:
        """Announce the downtime of the playbooks restart and remove."""
        there = len(self.server.get("processes") or [])
        if self.goal == "restart" and there == 1:
            self.announce.append("The one process restarts: requests fail until it answers again.")
        elif self.goal == "remove" and there and any(each["managed"] for each in self.server.get("programs") or []):
            found = "program.original" in (self.server.get("state") or [])
            then = "those of the program that was found" if found else "one process on the in-memory layer"
            self.announce.append(
                f"The processes are stopped, and {then} started instead: WebSockets are"
                " closed, and requests may fail until they answer."
                + (
                    " If that program is a link into TETHYS_HOME, Supervisor starts what the file there says"
                    " now, with root's rights if it says so: read it first."
                    if found
                    else ""
                )
            )
