# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layer's Redis: the engine, the container, where it answers, and what is in the way there."""

from __future__ import annotations

import re
from ipaddress import ip_address

from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES, full_name
from ansible_collections.tethys.channels.plugins.module_utils.facts import Settings
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    ContainerFacts,
    EngineState,
    ListenerFacts,
    Server,
)
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import client
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.image import (
    image_name,
    image_version,
    image_warning,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis_way import RedisEndpoint, Way, portals_way
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CONFIG_LABEL,
    CORE_BACKEND,
    PORTAL_LABEL,
    TRANSPORT_LABEL,
    Facts,
    Inputs,
    Problem,
    Refusal,
    names_of,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import list_of, texts_of, unique
from ansible_collections.tethys.channels.plugins.plugin_utils.platforms import (
    engine_refusal,
    library_refusal,
    platform_of,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show, whole_number

# What may be in Docker's place, why Redis cannot run in it as it has to, and what to do about Docker.
UNFIT = {
    "podman": ("Podman answers in Docker's place", "install Docker in the place of podman-docker"),
    "snap": (
        "Docker is a snap, which cannot read root's folders",
        "install Docker from the distribution's packages",
    ),
    "rootless": (
        "Docker runs without root, so that its containers cannot serve a socket of root's",
        "install Docker for root",
    ),
    "userns-remap": (
        "Docker maps the users of its containers (userns-remap), so that Redis can neither read its password nor give"
        " the portal its socket",
        "remove userns-remap from /etc/docker/daemon.json",
    ),
}
# A message is thrown away by the clock of whoever reads it, when it is older than `expiry` (60 s by default).
MOST_SECONDS_APART = 20


def clock_reasons(server: Server, name: str) -> list[Problem]:
    """Why messages would be lost by the clock."""
    ahead = server.get("clock_ahead")
    if ahead is None or abs(ahead) <= MOST_SECONDS_APART:
        return []
    return [
        Problem(
            "clock-differs",
            name,
            f"The clock of {name} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the controller's, and"
            " a message that crosses servers is discarded by its age: set the clocks (`timedatectl set-ntp true`)"
            " and run again.",
        )
    ]


def address_reason(value: object, here: bool | None) -> Problem | None:
    """Why Redis cannot answer on that address of its server."""
    out = "for this host, set it to the address at which the portals reach this server"
    if value in (None, ""):
        return Problem("address-missing", "redis_container_address", f"redis_container_address is not set: {out}.")
    try:
        address = ip_address(str(value))
    except ValueError:
        return Problem(
            "address-invalid",
            "redis_container_address",
            f"redis_container_address is {show(value)}, which is not an IP address: {out}.",
        )
    if address.is_unspecified:
        every = "which is every address of this server, also those that face the internet"
        return Problem(
            "address-unspecified", "redis_container_address", f"redis_container_address is {address}, {every}: {out}."
        )
    if address.is_loopback:
        return Problem(
            "address-loopback",
            "redis_container_address",
            f"redis_container_address is {address}, which no other server reaches: {out}.",
        )
    if here is False:
        return Problem(
            "address-not-here",
            "redis_container_address",
            f"redis_container_address is {address}, which is not an address of this server: {out}.",
        )
    return None


class Redis(Subject):
    """The layer's Redis."""

    def __init__(self, inputs: Inputs, facts: Facts, way: Way | None = None) -> None:
        super().__init__(inputs, facts)
        self.way = way or portals_way(inputs.options, facts.portal.get("group"), names_of(inputs.asked).redis_socket)

    @property
    def redis(self) -> str:
        """Where the layer's Redis comes from; on a shared Redis host it is always a container of ours."""
        return "container" if self.way.is_shared else super().redis

    @property
    def engine(self) -> str:
        """Return the configured engine of the container: `docker` or `podman`."""
        asked = str(self.options.get("redis_container_engine", "docker"))
        return asked if asked in ENGINES else "docker"

    def state_of(self, engine: str) -> EngineState:
        """Return what is known of a container engine."""
        return (self.server.get("podman") if engine == "podman" else self.server.get("docker")) or {}

    @property
    def left_container(self) -> ContainerFacts | None:
        """Our container in the other engine, which goes when the one asked for serves."""
        left = self.server.get("left_container") if self.redis == "container" else None
        return {**left, "restart_policy": "unless-stopped"} if left else None

    @property
    def engine_now(self) -> str:
        """The engine that our container is in at present."""
        left = self.left_container
        return str(left["engine"]) if left and left["running"] and not self.server.get("container") else self.engine

    @property
    def ours_in(self) -> list[str]:
        """The engines in which something of ours is."""
        ours: ContainerFacts = self.server.get("container") or {}
        left: ContainerFacts = self.server.get("left_container") or {}
        found = {self.engine} if CONFIG_LABEL in ours.get("labels", {}) else set()
        found |= {str(left["engine"])} if left else set()
        return sorted(found | ({"podman"} if self.server.get("redis_unit") else set()))

    @property
    def redis_way_now(self) -> str:
        """How our container is reached at present, in the words of `redis_way`; empty where that is not known."""
        ours: ContainerFacts = self.server.get("container") or self.left_container or {}
        ports = ours.get("ports") or []
        # One that was made before there was the label.
        published = f"published 127.0.0.1:{ports[0]}" if ports else ""
        return str((ours.get("labels") or {}).get(TRANSPORT_LABEL) or published)

    @property
    def redis_now(self) -> RedisEndpoint:
        """Where our container answers at present."""
        ours: ContainerFacts = self.server.get("container") or self.left_container or {}
        way = self.redis_way_now
        port = whole_number(way.rpartition(":")[2])
        # A shared Redis answers at its configured address, or not at all.
        if self.way.is_shared or not ours.get("running") or not way:
            return self.way.endpoint
        return {"host": "127.0.0.1", "port": port} if port else {"path": self.names.redis_socket}

    def of_redis(self, adopted_container: ContainerFacts | None = None) -> Plan:
        """What of the plan the role redis_container goes by."""
        server = self.server
        # A Docker container is stopped by a module that needs the library, whichever engine is next.
        docker = "docker" in (self.engine, (self.left_container or {}).get("engine")) or bool(adopted_container)
        return {
            "redis": self.redis,
            "engine": self.engine,
            "engine_now": self.engine_now,
            "ours_in": self.ours_in,
            "redis_image": server.get("image_name") or full_name(str(self.options["redis_container_image"])),
            "redis_unit": self.names.redis_unit,
            "redis_unit_path": self.names.redis_unit_path,
            "transport": self.way.transport,
            "redis_endpoint": self.way.endpoint,
            "redis_place": self.way.place,
            "redis_way": self.way.label,
            "redis_way_now": self.redis_way_now,
            "redis_now": self.redis_now,
            "redis_socket": self.names.redis_socket,
            "state_dir": self.names.state,
            "platform": platform_of(server),
            # Where there is SELinux, a container reads a folder of the server only under a label for it.
            "selinux": (server.get("selinux") or {}).get("mode", "disabled") != "disabled",
            "install_engine": self.redis == "container" and not self.state_of(self.engine).get("installed"),
            "install_docker_library": self.redis == "container" and docker and not server.get("docker_library"),
            "adopted_container": adopted_container,
            "left_container": self.left_container,
            "server": server,
        }

    def redis_reasons(self) -> ContainerFacts | None:
        """The container engine and the Redis port; returns the container that is adopted, if there is one."""
        if self.redis in ("given", "shared"):
            for number, text in enumerate(unique(texts_of(self.given_redis.get("problems")))):
                self.refuse("redis-unusable", f"endpoint {number}", text)
            self.problems.extend(self._old_redis_reasons())
            self._leave_own()
            return None
        if self.redis == "none":
            return None
        warning = image_warning(str(self.options["redis_container_image"]))
        if warning:
            self.warnings.append(warning)
        self.problems.extend(self._old_redis_reasons())
        self._engine_reasons()
        if "docker" in (self.engine, (self.left_container or {}).get("engine")):
            self._library_reasons()
        if not self._name_reasons():
            return None
        other: ContainerFacts | None = self.server.get("redis_port_container")
        if other and not self._is_another_portals(other):
            why = self._not_the_layers(other, self.way.port)
            if why is None and (self.names.portal or self.server.get("neighbors")):
                why = "another portal on this server may use it"
            if why is None and not self.left_container:
                return self._adopted(other)
            if not self._port_is_free(other, why):
                return None
        self._replacement()
        self._kept_redis()
        self._listener_reasons()
        return None

    def _old_redis_reasons(self) -> list[Problem]:
        """Why redis-py cannot connect to a Redis older than 6."""
        redis_py = client.client_version(self.packages, self.portal)
        image, hosts = str(self.options.get("redis_container_image", "")), self.asked.get("tethys_layer_hosts")
        found = []
        if self.redis == "container" and re.search(r"(^|/)redis:", image):
            fix = f"Set it to docker.io/library/redis:8.2, or {client.OLDER_CLIENT}."
            version = image_version(image)
            found.append(client.hello_refusal("redis_container_image", image, version, redis_py, fix, ours=True))
        elif self.redis == "given" and client.without_protocol(hosts):
            fix = f"Upgrade that Redis, set protocol: 2 in its entry, or set {client.OLDER_CLIENT}."
            for version in unique(texts_of(self.given_redis.get("versions"))):
                found.append(client.hello_refusal("tethys_layer_hosts", "a Redis", version, redis_py, fix))
        return [reason for reason in found if reason]

    def _engine_reasons(self) -> None:
        """Why the container engine cannot be used, or installed."""
        server, engine, title = self.server, self.state_of(self.engine), ENGINES[self.engine].title
        unfit = UNFIT.get(engine.get("kind") or "") if self.engine == "docker" else None
        if unfit:
            what, fix = unfit
            # Sentinel runs in Docker only, and a host of the shared Redis has no other.
            others = "" if self.way.is_shared else ", or set tethys_layer_hosts to a Redis that exists already"
            podman = "" if self.options.get("topology") == "sentinel" else ", or set redis_container_engine to podman"
            self.refuse(
                "engine-unfit",
                "redis_container_engine",
                f"redis_container_engine is docker: on this server {what}. {fix[0].upper()}{fix[1:]}{podman}{others}.",
            )
        elif not engine.get("running"):
            if engine.get("installed"):
                self.refuse(
                    "engine-silent",
                    title,
                    f"{title} is installed on this server and"
                    f" {ENGINES[self.engine].silent.format(problem=engine.get('problem'))}, or set tethys_layer_hosts"
                    " to a Redis that exists already.",
                )
            elif not self.options.get("redis_container_install_engine", True):
                self.refuse(
                    "engine-missing",
                    title,
                    f"{title} is not installed and redis_container_install_engine is false: install it, set that to"
                    " true, or set tethys_layer_hosts to a Redis that exists already.",
                )
            else:
                refusal = engine_refusal(server, self.engine, title)
                if refusal:
                    self.refuse(
                        "engine-not-installable",
                        title,
                        f"{refusal}, or set tethys_layer_hosts to a Redis that exists already.",
                    )
        if self.engine == "podman" and not server.get("redis_unit") and "credentials.json" in server.get("state", []):
            docker = self.state_of("docker")
            if docker.get("installed") and not docker.get("running"):
                self.warn(
                    "docker-silent-beside-podman",
                    "Docker",
                    "Docker is installed here and its engine does not answer, so an earlier run's Redis in it cannot"
                    " be found, and would start beside the one in Podman. Start Docker and run again, or disable it.",
                )

    def _name_reasons(self) -> bool:
        """Whether the container's name is free or ours; whether the folder of the socket can be used is said too."""
        server, ours = self.server, self.server.get("container") or {}
        if ours and CONFIG_LABEL not in ours.get("labels", {}):
            self.refuse(
                "container-of-somebody",
                "redis_container_name",
                f"redis_container_name is {ours['name']}, and the container of that name ({ours['image']}) is not this"
                " collection's: set redis_container_name to another name.",
            )
            return False
        if self.way.transport == "unix" and server.get("socket_folder_problem"):
            self.refuse(
                "socket-folder-unusable",
                self.names.socket_folder,
                f"{self.names.socket_folder}, in which Redis's socket is to be,"
                f" {server['socket_folder_problem']}: move it away, or set redis_container_transport to published.",
            )
        return True

    def _port_is_free(self, other: ContainerFacts, why: str | None) -> bool:
        """Whether a run can go on beside a container on the port, which `why` says is not the layer's."""
        port, left = self.way.port, self.left_container
        if why is None and left:
            self.refuse(
                "container-found-beside-left",
                str(other["name"]),
                f"Container {other['name']} ({other['image']}) publishes port {port}, which portal_config.yml"
                f" names, and {left['name']} is still in {ENGINES[str(left['engine'])].title}: stop the former"
                f" (`{shell_words('docker', 'stop', other['id'])}`) and run again.",
            )
        elif self.way.transport != "unix":
            self.refuse(
                "redis-port-published",
                str(port),
                f"Container {other['name']} ({other['image']}) publishes port {port}, and {why}: if it served only"
                f" the channel layer, stop it (`{shell_words('docker', 'stop', other['id'])}`) and run again, else"
                " set redis_container_port to a free port.",
            )
            return False
        return True

    def _is_another_portals(self, other: ContainerFacts) -> bool:
        """Return whether a container is another portal's Redis, whose port is refused."""
        labels = other.get("labels", {})
        found = CONFIG_LABEL in labels and labels.get(PORTAL_LABEL, "") != self.names.portal
        if found and self.way.transport != "unix":
            self.refuse(
                "redis-port-of-portal",
                str(self.way.port),
                f"redis_container_port is {self.way.port}: container {other['name']}, the Redis of another portal on"
                " this server, publishes that port. Set redis_container_port to a free port.",
            )
        return found

    def _adopted(self, other: ContainerFacts) -> ContainerFacts:
        """Return the portal's previous container, which the run stops."""
        if self.engine != "docker":
            self._library_reasons()
        self.announce.append(
            f"Container {other['name']} ({other['image']}), currently the portal's Redis on port {self.way.port}, will"
            " be stopped but not removed; WebSockets will fail from that moment until the processes have restarted."
        )
        return other

    def _replacement(self) -> None:
        """What users notice where our container is replaced."""
        ours, left = self.server.get("container") or {}, self.left_container
        title, image = ENGINES[self.engine].title, str(self.options["redis_container_image"])
        is_core = self.asked["tethys_layer_backend"] == CORE_BACKEND
        if left and left["running"]:
            how = (
                "WebSockets fail from then until their process has restarted, one after the other"
                if is_core
                else self.way.loss
            )
            self.announce.append(
                f"The layer's Redis currently runs in {ENGINES[str(left['engine'])].title}, and will run in {title}"
                f" (redis_container_engine): it is replaced, and {how}."
            )
        way = self.redis_way_now
        if ours.get("running") and way != self.way.label:
            self.announce.append(
                f"The layer's Redis is reached by {way or 'another way'}, and will be by {self.way.label}"
                " (redis_container_transport): it is replaced, and WebSockets fail from then until their process has"
                " restarted, one after the other."
            )
        elif ours.get("running") and image_name(ours["image"]) != image_name(image):
            self.announce.append(
                f"The Redis container runs {ours['image']} and redis_container_image is {image}: it is replaced,"
                f" {self.way.loss_of_core if is_core else self.way.loss}."
            )

    def _kept_redis(self) -> None:
        """Another Redis of the layer, which the run leaves."""
        ours, left, port = self.server.get("container"), self.left_container, self.way.port
        taken = [] if self.way.transport == "unix" else [port]
        kept = [number for number in self._ports_of_the_layer() if number not in taken]
        if kept and not ours and not left:
            self.announce.append(
                f"The Redis on port {kept[0]}, which portal_config.yml currently names, is not changed: stop it if"
                " nothing else uses it."
            )

    def _listener_reasons(self) -> None:
        """Who else listens on Redis's port."""
        server, port = self.server, self.way.port
        ours, left = self.server.get("container") or {}, self.left_container
        if self.way.transport != "unix" and not any(self._holds_port(one) for one in (ours, left) if one):
            for row in server.get("listeners") or []:
                if row["port"] == port and self.in_the_way(row):
                    self.refuse(
                        "redis-port-in-use",
                        str(port),
                        f"Port {port}, on which Redis is to answer, is held by process {row['pid']} of {row['user']}"
                        f" ({row['command']}): stop it, set redis_container_port to a free port, or, if it is a Redis"
                        f" that the layer may use, set tethys_layer_hosts to [['127.0.0.1', {port}]].",
                    )
                    break

    def _library_reasons(self) -> None:
        """Why Docker's containers cannot be started and stopped."""
        if self.server.get("docker_library") is False:
            refusal = library_refusal(self.server)
            if refusal:
                self.refuse("docker-library-not-installable", "requests", refusal)

    def _holds_port(self, ours: ContainerFacts) -> bool:
        """Whether a container of ours is why the port is taken."""
        way = ours.get("labels", {}).get(TRANSPORT_LABEL)
        if self.way.is_shared:
            # It may publish the same port of another address.
            return bool(ours.get("running")) and way == self.way.label
        return bool(ours.get("running")) and (way == f"host {self.way.place}" or self.way.port in ours.get("ports", []))

    def in_the_way(self, listener: ListenerFacts) -> bool:
        """Whether a listener on Redis's port is on an address of Redis's as well: its own, or the loopback."""
        address = listener.get("address")
        return address in ("redis", "everything") if self.way.is_shared else address != "other"

    def _leave_own(self) -> None:
        """A container of ours that this server's portal does not need any more."""
        ours: ContainerFacts = self.server.get("container") or {}
        name = ours.get("name")
        docker = self.engine == "docker"
        away = shell_words("docker", "rm", "-f", name) if docker else f"systemctl disable --now {self.names.redis_unit}"
        if self.redis == "shared" and ours.get("running") and CONFIG_LABEL in ours.get("labels", {}):
            hosts = ", ".join(texts_of(self.asked["tethys_layer_redis"]))
            self.announce.append(
                f"The layer's messages go through the Redis of {hosts} from now on; WebSockets of different"
                " processes do not receive each other's messages until every process has restarted."
                f" Container {name} of this server stays: `{away}` removes it when all is well."
            )

    def _not_the_layers(self, other: ContainerFacts, port: int) -> str | None:
        """Return why a container that publishes the port is not the layer's; None for the documented one."""
        if self.way.is_shared:
            return "it is not this collection's"
        redis = other.get("redis") or {}
        if redis.get("problem"):
            return f"its keys cannot be listed ({redis['problem']})"
        if redis.get("foreign_key"):
            return f"it holds keys that are not a channel layer's ({show(redis['foreign_key'])})"
        if not self._is_the_layers(port):
            return "portal_config.yml names no channel layer on that port of this server"
        return None

    def _is_the_layers(self, port: int) -> bool:
        """Whether the portal's own settings have its channel layer on that port of this server."""
        return port in self._ports_of_the_layer()

    def _ports_of_the_layer(self) -> list[int]:
        """The ports of this server on which the portal's own settings have its channel layer."""
        settings: Settings = self.portal.get("settings") or {}
        if not str(settings.get("layer_backend") or "").startswith("channels_redis."):
            return []
        here = {"127.0.0.1", "localhost", "::1", self.server.get("name")}
        ports: list[int] = []
        # The default of channels_redis. An app can set anything instead of a list.
        hosts = settings.get("layer_hosts") or [["localhost", 6379]]
        for host in list_of(hosts):
            try:
                found = redis_endpoints([host])
            except Refusal:
                continue
            ports += [endpoint["port"] for endpoint in found if endpoint["host"] in here and endpoint["port"]]
        return ports
