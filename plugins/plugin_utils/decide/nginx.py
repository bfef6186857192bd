# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""nginx in front of the processes: its upstream block, and what SELinux keeps from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import SELinux
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import processes
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.bokeh import Bokeh
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject, sentence
from ansible_collections.tethys.channels.plugins.plugin_utils.model import APART

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import Upstream


class Nginx(Subject):
    """nginx in front of the processes."""

    def selinux_warning(self) -> None:
        """What SELinux keeps from nginx, unless the ports are labelled for it, which takes seconds to find out."""
        selinux: SELinux = self.server.get("selinux") or {}
        enforcing = selinux.get("mode") == "enforcing"
        if self.goal in ("site", "check") and enforcing and selinux.get("web_connects") is False:
            ports = f"{self.ports[0]}-{self.ports[-1]}" if len(self.ports) > 1 else str(self.ports[0])
            self.warn(
                "selinux-blocks-nginx",
                "httpd_can_network_connect",
                "SELinux is enforcing here and its boolean httpd_can_network_connect is off, so that nginx reaches the"
                f" portal only on ports of the type http_port_t: switch it on (`setsebool -P httpd_can_network_connect"
                f" on`), or give the ports that type (`semanage port -a -t http_port_t -p tcp {ports}`, with -m"
                " instead of -a where they have another).",
            )

    def front_reasons(self) -> None:
        """Whether the web server on this host sends requests to the processes."""
        found = processes.front_problems(self.place, self.ports, self.server, self.apart)
        is_refused = self.goal == "site" and processes.is_moved(self.asked, self.place, self.server)
        found = list(processes.with_proxy(found, self.place, is_refused))
        if is_refused:
            self.problems.extend(found)
        elif self.goal in ("site", "check"):
            self.warnings.extend(found)
        if self.goal in ("site", "check"):
            self.warnings.extend(processes.ports_warnings(self.asked, self.place, self.server))
            self.warnings.extend(processes.front_warnings(self.place, self.ports, self.server))
            self.warnings.extend(processes.address_warnings(self.asked, self.server))

    def nginx_reasons(self) -> None:
        """The upstream block, which alone lets nginx address each process."""
        nginx: Upstream = self.server.get("nginx") or {}
        if not self.apart or self.goal == "remove":
            # Without an nginx that runs there is nothing to put back.
            if nginx.get("problem") and nginx.get("running") and self.goal in ("site", "remove"):
                self.refuse(
                    "nginx-not-restorable",
                    "nginx",
                    f"nginx's upstream block is to be put back as it was: {sentence(nginx['problem'])}",
                )
            return
        front = processes.portals_front(self.server)
        if front and front["server"] == "Apache":
            self.refuse(
                "apache-with-socket-per-process",
                "tethys_asgi_layout",
                f"tethys_asgi_layout is {APART}: Apache sends the portal's requests to one port ({front['path']}, line"
                f" {front['line']}), and that layout needs nginx. Set tethys_asgi_layout to shared_socket.",
            )
            return
        if nginx.get("problem"):
            self.refuse(
                "nginx-unusable",
                "nginx",
                f"tethys_asgi_layout is {APART}, which needs nginx's upstream block for the portal:"
                f" {sentence(nginx['problem'])}",
            )
            return
        if Bokeh(self.inputs, self.facts).pins and nginx.get("method"):
            self.refuse(
                "balancing-method-beside-pins",
                str(nginx["path"]),
                f"tethys_bokeh_policy is pin, and the upstream block in {nginx['path']} has its own balancing method"
                f" ({nginx['method']}): remove that line, or set tethys_bokeh_policy to single.",
            )
        if nginx.get("websocket_problem"):
            self.warn("nginx-websockets", "nginx", sentence(nginx["websocket_problem"]))
