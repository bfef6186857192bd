# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What server_info returns of a server: every key, for the module and for the decisions on the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import Upstream
    from ansible_collections.tethys.channels.plugins.module_utils.server.front import Fronts
    from ansible_collections.tethys.channels.plugins.module_utils.server.kept_environment import Names
    from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import Neighbor, OtherProgram
    from ansible_collections.tethys.channels.plugins.module_utils.server.root_files import Trust
    from ansible_collections.tethys.channels.plugins.module_utils.server.workers import Worker


class EngineState(TypedDict, total=False):
    """A container engine."""

    installed: bool
    running: bool
    version: str | None
    problem: str | None
    # `docker` or `podman`; for Docker also what is there instead: `podman`, `snap`, `rootless` or `userns-remap`.
    kind: str


class RedisContent(TypedDict, total=False):
    """What a Redis without a password holds."""

    version: str | None
    foreign_key: str | None
    problem: str | None


class ContainerFacts(TypedDict, total=False):
    """A container; the last three only where they matter."""

    id: str
    name: str
    image: str
    running: bool
    labels: dict[str, str]
    ports: list[int]
    engine: str
    redis: RedisContent
    restart_policy: str


class SELinux(TypedDict, total=False):
    """How SELinux is set."""

    mode: str
    web_connects: bool | None


class SupervisorState(TypedDict, total=False):
    """Supervisor."""

    installed: bool
    running: bool
    silent: bool
    pid: int | None
    version: str | None
    config: str | None
    # The configuration of a supervisord of root's that runs the portal, or only another one, and is not used, since
    # users besides root can change it.
    config_of_others: str | None
    config_of_another_portal: str | None
    # The configuration of the supervisord that an earlier run has used and that does not run now.
    config_stopped: str | None
    # Those of several Supervisors that run portals, where it is not clear which one is the portal's.
    candidates: list[str]
    # Whether the configuration is a file.
    has_config: bool
    # Whether only a digest of the socket's password is known.
    is_password_hashed: bool
    include: list[str]


class Program(TypedDict, total=False):
    """A file under Supervisor that defines programs of the portal."""

    path: str
    link: str | None
    others: list[str]
    groups: list[str]
    user: str
    layout: str
    numprocs: str
    socket: str
    address: str | None
    # Whether it is one of this server's; a name is not looked up.
    address_here: bool
    port: int | None
    unix_socket: str | None
    logs: str
    unbuffered: bool
    # Names of variables, which may be secret; daphne's options; Supervisor's other settings.
    environment: list[str]
    environment_lost: list[str]
    arguments: list[str]
    arguments_lost: list[str]
    settings: list[str]
    managed: bool
    sha256: str


class Process(TypedDict):
    """A process of the portal, as Supervisor has it."""

    name: str
    state: str
    pid: int


class ListenerFacts(TypedDict):
    """Who listens on a port."""

    port: int
    address: str
    pid: int
    user: str
    command: str
    program: str | None


class Server(TypedDict, total=False):
    """Everything that server_info returns of the server."""

    root: bool
    name: str
    os: dict[str, str]
    python: str
    repositories: list[str]
    selinux: SELinux
    docker: EngineState
    podman: EngineState | None
    docker_library: bool
    yaml_library: bool
    image_present: bool
    image_name: str | None
    container: ContainerFacts | None
    left_container: ContainerFacts | None
    sentinel_container: ContainerFacts | None
    redis_unit: bool
    redis_port_container: ContainerFacts | None
    supervisor: SupervisorState
    workers: list[Worker]
    programs: list[Program]
    other_programs: list[OtherProgram]
    neighbors: list[Neighbor]
    # The programs that receive from channels of the portal by their names, running or not.
    channel_programs: list[str]
    taken_names: list[OtherProgram]
    unread_programs: list[str]
    environment: Names | None
    systemd: bool
    # Whether the watch runs, None where there is none.
    watch: bool | None
    processes: list[Process]
    fronts: Fronts | None
    nginx: Upstream | None
    listeners: list[ListenerFacts]
    redis_address_here: bool | None
    clock_ahead: float | None
    state: list[str]
    state_of_other: str | None
    proved_plan: str | None
    trust: Trust | None
    socket_folder_problem: str | None
