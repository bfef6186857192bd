# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a run, as the decisions make it, and the steps and the page of a check read it."""

from __future__ import annotations

from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import ContainerFacts, Program, Server
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.front import FrontStep
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis_way import RedisEndpoint
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.trust import TrustReport
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import SentinelStep
from ansible_collections.tethys.channels.plugins.plugin_utils.platforms import Platform


class Printed(TypedDict, total=False):
    """What a run prints of it: sentences, and the codes of the refusals."""

    refusals: list[str]
    codes: list[dict[str, str]]
    warnings: list[str]
    announce: list[str]
    trust: TrustReport


class OfRedis(TypedDict, total=False):
    """Where the layer's Redis comes from, and how it is reached: `…_now` is what is there before the run."""

    redis: str
    backend: str
    backend_now: str
    prefix: str
    container_name: str
    engine: str
    engine_now: str
    ours_in: list[str]
    state_dir: str
    redis_image: str
    redis_unit: str
    redis_unit_path: str
    redis_socket: str
    transport: str
    redis_endpoint: RedisEndpoint
    redis_now: RedisEndpoint
    redis_acl: bool
    redis_place: str
    redis_way: str
    redis_way_now: str
    redis_started_at: float
    install_engine: bool
    install_docker_library: bool
    selinux: bool
    adopted_container: ContainerFacts | None
    left_container: ContainerFacts | None
    certificate_due: str | None
    authority_due: bool
    sentinel: SentinelStep | None


class OfProcesses(TypedDict, total=False):
    """How the processes run, and where the web server in front reaches them."""

    layout: str
    processes: int | None
    ports: list[int]
    port_count: int
    port: int
    address: str
    reached_at: str
    portal_name: str
    group: str
    other_groups: list[str]
    replaced_groups: list[str]
    arguments: list[str]
    environment: bool
    pins: list[str]
    user: str | None
    program_path: str | None
    home: str
    conda_prefix: str
    run_dir: str
    log_dir: str
    watch: bool
    watch_runs: bool | None
    adopted_program: Program | None
    managed: bool
    install_supervisor: bool
    start_supervisor: bool
    upstream: str
    front: FrontStep | None


class Plan(Printed, OfRedis, OfProcesses, total=False):
    """All of it. `sum` is its digest, `as_proved` whether the server is as a run with that digest left it."""

    portal: Portal
    server: Server
    platform: Platform | None
    moves: list[object]
    requirements: list[str]
    install_yaml: bool
    shared_ca: str
    recorded: bool
    sum: str
    as_proved: bool
