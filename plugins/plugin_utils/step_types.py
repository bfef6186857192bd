# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in the step of each role.

In a step, `is_unchanged` is whether the server is unchanged since the last verified run, so that the role does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import ContainerFacts
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.front import FrontStep
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis_way import RedisEndpoint
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import SentinelStep
from ansible_collections.tethys.channels.plugins.plugin_utils.platforms import SupervisorPackages


@dataclass(frozen=True)
class RedisStep:
    """What `redis_container` does, on a portal's server or on a host of a shared Redis.

    `answers` is whether the Redis that answers is our own container's: nobody else is sent a password. `askable` is
    whether what runs the container can report what it would do: Docker by its module, Podman by its unit. `before` is
    the container that makes room: the manual's, or our own in the other engine. `running_digest` is that of the
    configuration with which the container of a shared Redis was made: in either topology it answers at the same place.
    `tasks` is the file of tasks that provisions it: `shared` also removes a Sentinel that a portal's server still has.
    """

    is_unchanged: bool
    runs: bool
    tasks: str
    backend: str
    prefix: str
    transport: str
    endpoint: RedisEndpoint
    place: str
    way: str
    socket: str
    socket_group: str | None
    image: str
    image_present: bool
    unit: str
    unit_path: str
    has_unit: bool
    selinux: bool
    missing: list[str]
    starts_docker: bool
    docker_unit: str | None
    docker_library: bool
    askable: bool
    answers: bool
    container: ContainerFacts | None
    adopted: ContainerFacts | None
    left: ContainerFacts | None
    before: ContainerFacts | None
    ours_in: list[str]
    running_digest: str
    sentinel: SentinelStep | None
    sentinel_container: ContainerFacts | None
    certificate_due: str | None
    authority_due: bool
    shared_ca: str | None
    portal_name: str
    home: str
    state_dir: str
    state: list[str]


@dataclass(frozen=True)
class PackagesStep:
    """What `channels_redis` does: `due` is whether something is to be installed."""

    is_unchanged: bool
    due: bool
    requirements: list[str]
    user: str | None


@dataclass(frozen=True)
class SettingsStep:
    """What `portal_config` does: `redis` is where the layer's Redis comes from, `answers` whether our own answers."""

    is_unchanged: bool
    backend: str
    redis: str
    endpoint: RedisEndpoint
    place: str
    answers: bool
    shared_ca: str
    state_dir: str
    portal_name: str
    user: str | None
    file_exists: bool
    install_yaml: bool
    yaml_package: str | None


class EnvironmentFile(TypedDict):
    """The file with the variables that not every portal's processes have, without those that the inventory sets."""

    portal_name: str
    path: str
    group: str | None
    program: str | None
    prefix: str


@dataclass(frozen=True)
class ProcessesStep:
    """What `asgi_service` does.

    `kept_upstream` is nginx's upstream block where it is still as an earlier layout left it, `program_digest` that of
    the program file that is there, `group_of_one` what the group of a single process is called without its number.
    """

    is_unchanged: bool
    user: str | None
    user_group: str | None
    site_packages: str | None
    host_name: str
    bokeh: Any
    group: str
    group_of_one: str
    other_groups: list[str]
    replaced_groups: list[str]
    port: int
    address: str
    arguments: list[str]
    environment: bool
    portal_name: str
    state_dir: str
    environment_path: str
    tmpfiles: str
    watch_unit: str
    old_run_dirs: list[str]
    environment_file: EnvironmentFile
    reads: list[str]
    pins: list[str]
    program_path: str | None
    program_digest: str | None
    supervisor: SupervisorPackages
    supervisor_config: str | None
    install_supervisor: bool
    start_supervisor: bool
    adopts: bool
    managed: bool
    has_original: bool
    watch: bool
    watch_runs: bool | None
    has_state: bool
    is_running: bool
    upstream: str
    kept_upstream: str
    redis_container: str
    redis_engine: str
    redis_started_at: float | None


@dataclass(frozen=True)
class NginxStep:
    """What `nginx_upstream` does: `manages` is whether the block is the run's to write."""

    is_unchanged: bool
    state_dir: str
    portal_name: str
    manages: bool
    ports: list[int]
    pins: list[str]


@dataclass(frozen=True)
class DeliveryStep:
    """What `layer_check` verifies, and what it records of the server."""

    is_unchanged: bool
    portal_name: str
    state_dir: str
    digest: str
    records: bool
    redis_moves: bool
    apart: bool
    port: int
    processes: int
    reached_at: str
    front: FrontStep | None
    user: str | None
    site_packages: str | None
    other_groups: list[str]
    reads: list[str]
    environment_file: EnvironmentFile | None
    redis: str
    redis_container: str
    redis_image: str
    redis_engine: str
    redis_engine_now: str
    login_endpoint: RedisEndpoint | None
    redis_endpoint_now: RedisEndpoint | None
    redis_answers: bool
    redis_askable: bool
    redis_started_at: float | None
    prefix: str
    backlog: bool
    files: list[str]
    supervisor_config: str | None


@dataclass(frozen=True)
class FleetStep:
    """How `fleet_check` reaches the portal's processes."""

    portal_name: str
    user: str | None
    reached_at: str
    ports: list[int]


Step = RedisStep | PackagesStep | SettingsStep | ProcessesStep | NginxStep | DeliveryStep | FleetStep
