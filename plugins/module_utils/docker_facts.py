# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tethys_docker_info returns of a project: every key, for the module and for the decisions on the controller."""

from __future__ import annotations

from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.server.root_files import Trust


class Folder(TypedDict):
    """Who owns the project's folder, by number."""

    owner: int
    group: int


class OverrideFile(TypedDict):
    """Our compose file: its text only where it is ours."""

    exists: bool
    ours: bool
    text: str


class Dockerfile(TypedDict):
    """The Dockerfile, and why it can take no block."""

    exists: bool
    ours: bool
    problem: str | None


class Service(TypedDict, total=False):
    """A service as Compose has it; `keys` are those with a value."""

    image: str | None
    build: bool
    networks: list[str]
    network_mode: str | None
    container_name: str | None
    env: dict[str, str]
    keys: list[str]


class ComposeProject(TypedDict, total=False):
    """The project; `networks` by their names in its files, `redis_users` are services besides the portal's."""

    name: str
    services: list[str]
    networks: dict[str, str | None]
    portal: Service | None
    redis: Service | None
    redis_users: list[str]


class PortalContainer(TypedDict, total=False):
    """The portal's container; times are in seconds since 1970."""

    id: str
    name: str
    running: bool
    image: str
    image_id: str
    env: dict[str, str]
    created: float
    started: float
    persisted: bool
    unnamed: bool
    ended: bool
    restarts: int
    mounts: list[str]


class Kept(TypedDict):
    """What a run wrote down of the volume before its first change."""

    fresh: bool
    processes: int


class Inside(TypedDict, total=False):
    """What is on the volume of a container that runs, or the problem alone."""

    problem: str
    set_up: bool
    set_up_at: float | None
    listens: bool
    ready: bool
    processes: int | None
    cannot_serve: list[str]
    others_can_read: bool
    kept: Kept | None
    oldest: float | None


class RedisContainer(TypedDict, total=False):
    """The container of Redis's name."""

    id: str
    image: str
    ours: bool


class Network(TypedDict, total=False):
    """The network of Redis's: whether it was made for this project."""

    ours: bool


class DockerFacts(TypedDict):
    """Everything that tethys_docker_info returns."""

    engine: str | None
    compose: str | None
    folder: Folder | None
    files: list[str]
    reads_ours: bool
    in_place: str | None
    earlier: list[str]
    elsewhere: list[str]
    override: OverrideFile
    dockerfile: Dockerfile
    problem: str | None
    portal_service: str
    project_names: list[str]
    stack: str | None
    unset: list[str]
    log_has_settings: bool
    candidate_problem: str | None
    project: ComposeProject | None
    container: PortalContainer | None
    volume: bool | None
    persist_mounted: bool | None
    is_tethys_docker: bool | None
    image_id: str | None
    inside: Inside | None
    redis_container: RedisContainer | None
    network: Network | None
    groups_lost_at: float
    credentials_of: str | None
    wait_problem: str | None
    trust: Trust | None
