# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Supervisor: the folder in which the portal's program is, and why Supervisor cannot be used or installed."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ansible_collections.tethys.channels.plugins.module_utils.server.supervisord import NOTE, OF_CLIENT, starter
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import SupervisorState
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject
from ansible_collections.tethys.channels.plugins.plugin_utils.model import AUTO
from ansible_collections.tethys.channels.plugins.plugin_utils.platforms import (
    platform_of,
    supervisor_refusal,
    wants_repository,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show


class Supervisor(Subject):
    """Supervisor, and where it reads the portal's program."""

    @property
    def program_path(self) -> str | None:
        """Return the path of the portal's program, existing or new: in the first folder that Supervisor includes."""
        programs, supervisor = self.server.get("programs") or [], self.server.get("supervisor") or {}
        if programs:
            return str(programs[0]["path"])
        if not supervisor.get("installed"):
            usual = ((platform_of(self.server) or {}).get("supervisor") or {}).get("program_file")
            return str(PurePosixPath(usual).with_stem(self.names.program_file)) if usual else None
        patterns = [
            text for text in supervisor.get("include") or [] if re.fullmatch(r"[^*?\[]*/[^*?\[/]*\*[^*?\[/]*", text)
        ]
        return self._free_file(patterns[0].replace("*", self.names.program_file)) if patterns else None

    def _free_file(self, path: str) -> str:
        """Return another path if the program of another portal, which was adopted there, is in that file."""
        taken = [other["path"] for other in self.server.get("neighbors") or []]
        return str(PurePosixPath(path).with_name(f"tethys_{PurePosixPath(path).name}")) if path in taken else path

    def stopped_reasons(self) -> bool:
        """Refuse while the Supervisor that an earlier run has used does not run; return whether that is so.

        Once it starts, it would run the portal's program besides the distribution's.
        """
        config = (self.server.get("supervisor") or {}).get("config_stopped")
        if not config or self.server.get("programs"):
            return False
        self.refuse(
            "supervisor-stopped",
            config,
            f"The supervisord that runs the portal with {config} is stopped: start it first. If the distribution's"
            f" Supervisor is to run the portal, delete the portal's program there and {self.names.state}/{NOTE}.",
        )
        return True

    def of_others_reasons(self) -> bool:
        """Refuse a Supervisor with the portal's program that root must not use; return whether that is so."""
        # Where the distribution's has the portal's program as well, that one counts.
        config = None if self.server.get("programs") else (self.server.get("supervisor") or {}).get("config_of_others")
        if config:
            self.refuse(
                "supervisor-of-others",
                config,
                f"Supervisor runs with {config}, and users besides root can change that file or its program, which"
                " root executes. Run the portal's program under the distribution's Supervisor, or make root the owner"
                " of both and of the folders above them.",
            )
        return bool(config)

    def choice_reasons(self) -> bool:
        """Refuse a configuration that is set and cannot be used, or one to be chosen of several; return whether so."""
        supervisor, asked = self.server.get("supervisor") or {}, self.asked.get("tethys_supervisor_config", AUTO)
        several = supervisor.get("candidates") or []
        if asked != AUTO and several:
            self.refuse(
                "supervisor-elsewhere",
                "tethys_supervisor_config",
                f"tethys_supervisor_config is {show(asked)}: the Supervisor with {several[0]} runs this portal. Set"
                f" tethys_supervisor_config to that file or to {AUTO}.",
            )
            return True
        if asked != AUTO:
            return self._config_reasons(supervisor, show(asked))
        if several:
            self.refuse(
                "supervisor-several",
                "tethys_supervisor_config",
                f"tethys_supervisor_config is {AUTO}: several Supervisors run portals on this server, with"
                f" {' and '.join(several)}. Set it to the configuration of the one that is to run this portal.",
            )
        return bool(several)

    def choice_warnings(self) -> None:
        """Warn of the same: a check reports on what it finds under the Supervisor that it would use."""
        before = len(self.problems)
        self.choice_reasons()
        self.warnings += self.problems[before:]
        del self.problems[before:]

    def _config_reasons(self, supervisor: SupervisorState, shown: str) -> bool:
        config, before = str(supervisor.get("config")), len(self.problems)
        of_others = supervisor.get("config_of_others"), supervisor.get("config_of_another_portal")
        answers = supervisor.get("running") or supervisor.get("is_password_hashed")
        if not supervisor.get("has_config"):
            self.refuse(
                "supervisor-config-missing",
                "tethys_supervisor_config",
                f"tethys_supervisor_config is {shown}: there is no such file on the server. Set it to the configuration"
                f" with which Supervisor runs there, or to {AUTO}.",
            )
        elif config in of_others:
            self.refuse(
                "supervisor-of-others",
                "tethys_supervisor_config",
                f"tethys_supervisor_config is {shown}: users besides root can change that file or its program, which"
                " root executes. Make root the owner of both and of the folders above them.",
            )
        elif supervisor.get("silent") and not answers:
            self.refuse(
                "supervisor-silent",
                "tethys_supervisor_config",
                f"tethys_supervisor_config is {shown}: the supervisord that runs with it does not answer on its unix"
                " socket. Set [unix_http_server] in that file, and restart Supervisor.",
            )
        # The distribution's is started.
        elif not answers and config not in OF_CLIENT:
            self.refuse(
                "supervisor-stopped",
                "tethys_supervisor_config",
                f"tethys_supervisor_config is {shown}: no supervisord runs with it. Start it (`{starter(config)}`) and"
                " run again.",
            )
        return len(self.problems) > before

    def supervisor_reasons(self) -> None:
        """Why Supervisor cannot be used, or installed."""
        server, supervisor = self.server, self.server.get("supervisor") or {}
        if self.choice_reasons() or self.stopped_reasons() or self.of_others_reasons():
            return
        anothers = supervisor.get("config_of_another_portal")
        if anothers and not server.get("programs"):
            self.announce.append(
                f"Supervisor runs another portal with {anothers}, and users besides root can change that file or its"
                " program: it is not used. The portal's program comes under the distribution's Supervisor."
            )
        if supervisor.get("installed") and not supervisor.get("running"):
            if supervisor.get("silent") and supervisor.get("is_password_hashed"):
                self.refuse(
                    "supervisor-password-hashed",
                    "Supervisor",
                    f"{supervisor.get('config')} has only a digest of the password in [unix_http_server], and"
                    " [supervisorctl] does not have the password: set `username` and `password` there.",
                )
            elif supervisor.get("silent"):
                self.refuse(
                    "supervisor-silent",
                    "Supervisor",
                    "A supervisord runs on this server and does not answer on its unix socket: set [unix_http_server]"
                    " in its configuration (Debian's has it), restart it, and run again.",
                )
            elif platform_of(server):
                self.announce.append("Supervisor is installed and not running: it will be started.")
            else:
                self.refuse(
                    "supervisor-not-startable",
                    "Supervisor",
                    "Supervisor is installed and not running, and this collection cannot start it on this"
                    " system: start it first.",
                )
        if supervisor.get("installed") and "include" in supervisor and not self.program_path:
            self.refuse(
                "supervisor-includes-nothing",
                "Supervisor",
                f"{supervisor.get('config') or 'The configuration of Supervisor'} names no folder in its [include] in"
                " which Supervisor reads every file: add one (`files = /etc/supervisord.d/*.ini`), restart"
                " Supervisor, and run again.",
            )
        if not supervisor.get("installed"):
            refusal = supervisor_refusal(server)
            if refusal:
                self.refuse("supervisor-not-installable", "Supervisor", refusal)
            elif wants_repository(server):
                self.announce.append(
                    "Supervisor is not installed, and comes from EPEL: the package epel-release adds that repository to"
                    " this server."
                )
