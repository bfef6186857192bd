# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ports of the portal's processes, and who else is on them."""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.module_utils.portal_names import is_asgi_group
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisord import client
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.supervisor import Supervisor
from ansible_collections.tethys.channels.plugins.plugin_utils.model import APART


class Ports(Supervisor):
    """Who holds a port that a process is to have."""

    @property
    def other_groups(self) -> list[str]:
        """The groups of Supervisor's that have a name of the portal's and run something else."""
        return sorted({program["group"] for program in self.server.get("other_programs") or []})

    def is_portals_group(self, name: str) -> bool:
        groups = {group for program in self.server.get("programs") or [] for group in program.get("groups", [])}
        return name in groups or (is_asgi_group(name, self.names.portal) and name not in self.other_groups)

    def port_reasons(self, port: int) -> None:
        """Who else is on a port that one of the portal's processes is to have."""
        server, first = self.server, self.ports[0]
        served = {row["pid"] for row in server.get("processes") or []}
        held = [row for row in server.get("listeners") or [] if row["port"] == port and row.get("address") != "other"]
        # Supervisor holds the sockets of its fcgi-programs itself; which of its programs serves there is what matters.
        known = {*served, (server.get("supervisor") or {}).get("pid")}
        strangers = [
            row for row in held if row["pid"] not in known and not self.is_portals_group(str(row.get("program") or ""))
        ]
        # That of another portal is refused as such.
        others = {other["port"] for other in server.get("neighbors") or []}
        if not strangers or port in others or any(row["pid"] in served for row in held):
            return
        row = strangers[0]
        who = f"process {row['pid']} of {row['user']} ({row['command']})"
        if port != first:
            self.refuse(
                "port-in-use",
                str(port),
                f"tethys_port is {first}, and port {port}, which the processes need besides ({APART}), is held by"
                f" {who}: stop it, or set tethys_port to the first of as many free ports as there are processes.",
            )
        elif row.get("program"):
            stop = client((server.get("supervisor") or {}).get("config"), "stop", f"{row['program']}:*")
            self.refuse(
                "port-in-use",
                str(port),
                f"tethys_port is {port}: Supervisor's program {row['program']} ({who}) listens there, and its command"
                f" does not show that it runs this portal. Stop it (`{stop}`) and delete it from its file, or set"
                " tethys_port to another port, to which nginx then has to send the portal's requests.",
            )
        else:
            self.refuse(
                "port-in-use",
                str(port),
                f"tethys_port {port} is held by {who}, which is not the portal's under Supervisor: stop it, or set"
                " tethys_port to the port that nginx sends the portal's requests to.",
            )
