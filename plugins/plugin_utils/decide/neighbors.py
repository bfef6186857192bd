# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other portals on the server: nothing of theirs is taken for this portal's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from ansible_collections.tethys.channels.plugins.module_utils.portal_names import portal_of
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisord import client
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import ContainerFacts
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CONFIG_LABEL, PORTAL_LABEL, Data, Problem
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import mapping_of
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show, whole_number

NAME = "tethys_portal_name"


def shared_redis_problems(asked: Data, values: Data) -> Iterable[Problem]:
    """Yield why a portal that has a name would receive the messages of another one, through one Redis."""
    name = asked.get("tethys_portal_name")
    if name and asked.get("tethys_layer_redis"):
        yield Problem(
            "portal-name-with-shared-redis",
            "tethys_portal_name",
            f"tethys_portal_name is {show(name)}, and the inventory has a group whose Redis the portals share: that is"
            " for hosts of one portal. Run this portal separately, with -e tethys_layer_redis=none.",
        )
    options = mapping_of(values.get("portal_config_layer_options"))
    if name and asked["tethys_layer_hosts"] and (options.get("prefix") or "asgi") == "asgi":
        yield Problem(
            "portal-without-prefix",
            "portal_config_layer_options",
            f"tethys_portal_name is {show(name)}, and portal_config_layer_options has no prefix other than asgi, which"
            " is that of every portal without one: in the Redis of tethys_layer_hosts it would receive the messages of"
            " another portal. Set a prefix for this portal.",
        )


class Neighbors(Subject):
    """What this portal and the others of its server cannot have in common."""

    def reasons(self) -> None:
        """Check what exists already, whatever the run is for."""
        self._state()
        self._own_name()
        self._program()
        self._folders()
        self._container()
        if self.goal == "remove":
            self._put_back()
        if self.goal == "site":
            self._port()
            self._upstream()
            self._environment()

    @property
    def _fix(self) -> str:
        """What to set the name to."""
        return "another name" if self.names.portal else "a name for this portal, such as staging"

    def _state(self) -> None:
        """Refuse the state of another portal, which `remove` would delete."""
        other = self.server.get("state_of_other")
        if other:
            notes = "portal_config.original.json"
            if notes not in (self.server.get("state") or []):
                notes = "credentials.json"
            self.refuse(
                "state-of-other-portal",
                NAME,
                f"tethys_portal_name is {show(self.names.portal)}: the state in {self.names.state} is that of {other},"
                f" and tethys_home is {show(self.asked['tethys_home'])}. Set tethys_portal_name to {self._fix}; if the"
                f" portal has moved, replace that path in {self.names.state}/{notes}.",
            )

    def _own_name(self) -> None:
        """Refuse another name for a portal that the collection runs already."""
        for program in self.server.get("programs") or []:
            for group in program.get("groups") or [] if program["managed"] else []:
                owner = portal_of(group)
                if owner is not None and owner != self.names.portal:
                    self.refuse(
                        "portal-has-other-name",
                        NAME,
                        f"tethys_portal_name is {show(self.names.portal)}: this collection runs this portal as {group}"
                        f" ({program['path']}). Set tethys_portal_name to {show(owner)}; for another name, run"
                        f" tethys.channels.remove with that one first, delete {program['path']}, and run"
                        f" `{client((self.server.get('supervisor') or {}).get('config'), 'update')}`.",
                    )

    def _program(self) -> None:
        """Refuse a second portal of one name: its program would replace the first one's."""
        # What is managed already is this portal's, whatever was set up beside it since.
        managed = any(program["managed"] for program in self.server.get("programs") or [])
        if self.goal != "site" and managed:
            return
        fix = f"Set tethys_portal_name to {self._fix}"
        if managed:
            fix = "Run tethys.channels.site for that portal first, with a tethys_portal_name for it, such as staging"
        for program in self.server.get("other_programs") or []:
            if program["home"]:
                self.refuse(
                    "second-portal",
                    NAME,
                    f"tethys_portal_name is {show(self.names.portal)}: Supervisor's program {program['group']}"
                    f" ({program['path']}) runs the portal of {program['home']}, and tethys_home is"
                    f" {show(self.asked['tethys_home'])}. {fix}; if the portal has moved, delete that program"
                    " first.",
                )

    def _put_back(self) -> None:
        """Refuse to put back a program whose name is another one's by now, which Supervisor would stop or replace."""
        for other in self.server.get("taken_names") or []:
            original = f"{self.names.state}/program.original"
            self.refuse(
                "name-of-other-program",
                original,
                f"{original} is put back by tethys.channels.remove, and its program {other['group']} has the name of"
                f" Supervisor's program {other['group']} in {other['path']}: give the program in {original} another"
                " name.",
            )

    def _folders(self) -> None:
        """Refuse a folder in which another portal has files, which may have the same names."""
        for name, key in (("asgi_service_run_dir", "sockets"), ("asgi_service_log_dir", "logs")):
            folder = str(self.options.get(name) or "")
            for other in self.server.get("neighbors") or []:
                theirs = PurePosixPath({"sockets": other["sockets"], "logs": other["logs"]}[key])
                # A removal deletes the folder with all that is in it.
                if other["managed"] and folder and PurePosixPath(folder) in (theirs, *theirs.parents):
                    self.refuse(
                        "folder-of-other-portal",
                        name,
                        f"{name} is {show(folder)}: Supervisor's program {other['group']} ({other['path']}) of another"
                        f" portal uses that folder. Set {name} to another folder for one of them.",
                    )
                    break

    def _container(self) -> None:
        """Refuse the Redis of another portal, which the run would replace or remove."""
        found: list[ContainerFacts | None] = [self.server.get("container"), self.server.get("left_container")]
        for container in found:
            labels = container.get("labels", {}) if container else {}
            owner = labels.get(PORTAL_LABEL, "")
            if container and CONFIG_LABEL in labels and owner != self.names.portal:
                whose = f"the portal with tethys_portal_name {show(owner)}" if owner else "the portal without a name"
                self.refuse(
                    "container-of-other-portal",
                    "redis_container_name",
                    f"redis_container_name is {container['name']}: that container is the Redis of {whose}. Set"
                    " redis_container_name to another name for one of them.",
                )

    def _port(self) -> None:
        """Refuse a port of another portal, also while that one does not run."""
        if self.names.portal and not whole_number(self.asked["tethys_port"]) and not self.place.port_from:
            self.refuse(
                "port-not-set",
                "tethys_port",
                f"tethys_port is not set, and {self.place.port} is for the portal without a name: set tethys_port to a"
                " port for this portal.",
            )
        for other in self.server.get("neighbors") or []:
            if other["port"] in self.ports:
                self.refuse(
                    "port-of-other-portal",
                    str(other["port"]),
                    f"tethys_port is {self.place.port}: Supervisor's program {other['group']} ({other['path']}) of"
                    f" another portal has port {other['port']}. Set tethys_port to another port"
                    f"{', with as many free ports from there on as there are processes' if self.apart else ''}, or"
                    " delete that program if nobody uses it.",
                )

    def _upstream(self) -> None:
        """Refuse the upstream block of another portal, whose servers the run would replace."""
        servers = (self.server.get("nginx") or {}).get("servers") or [] if self.apart else []
        used = {server["address"].rpartition(":")[2] for server in servers}
        for other in self.server.get("neighbors") or []:
            if str(other["port"]) in used:
                self.refuse(
                    "upstream-of-other-portal",
                    "nginx_upstream_name",
                    f"nginx_upstream_name is {show(self.options.get('nginx_upstream_name'))}: that block sends requests"
                    f" to port {other['port']}, on which Supervisor's program {other['group']} of another portal"
                    " listens. Set nginx_upstream_name to the block of this portal.",
                )
                break

    def _environment(self) -> None:
        """Warn that packages change which the processes of another portal may use."""
        others = sorted({other["home"] for other in self.server.get("neighbors") or [] if other["home"]})
        if others and self.packages.get("moves"):
            self.warn(
                "packages-of-other-portal",
                "channels_redis",
                f"Packages change in {self.asked['tethys_conda_prefix']}. If the portal of {' or '.join(others)} runs"
                " in that environment, restart its processes after this run.",
            )
