# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The project of Tethys Docker on a server: Compose, its files, the services, and what is in the way there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TypedDict, cast

from ansible_collections.tethys.channels.plugins.module_utils.docker_facts import (
    ComposeProject,
    DockerFacts,
    PortalContainer,
    RedisContainer,
    Service,
)
from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.compose_file import REDIS, our_services, redis_of
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_inputs import DockerInputs
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Data, Found
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show

VARIABLES = ("ASGI_PROCESSES", "CHANNEL_LAYERS_BACKEND", "CHANNEL_LAYERS_CONFIG")
# `!override` and `!reset`, by which our file takes a list of the user's file away, came with 2.24.
LEAST_COMPOSE = (2, 24)
# Docker's own rules for a name, and Compose's for a project's.
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class DockerFound(TypedDict, total=False):
    """What is known of a host: the names of its variables, those to check, the user's own, and the facts."""

    names: Sequence[str]
    values: Data
    known: object
    docker: DockerFacts | None
    portal: Portal


class Project(Found):
    """The project, and what is found about it."""

    def __init__(self, asked: DockerInputs, found: DockerFound) -> None:
        super().__init__()
        self.asked = asked
        self.look: DockerFacts = found.get("docker") or cast(DockerFacts, {})
        self.portal: Portal = found.get("portal") or {}
        self.processes: int | None = None

    @property
    def absent(self) -> bool:
        """Whether the layer is to be removed."""
        return bool(self.asked.state == "absent")

    @property
    def wrote(self) -> bool:
        """Whether an earlier run wrote our file or our block."""
        return bool(self.look["override"]["ours"] or self.look["dockerfile"]["ours"])

    @property
    def ours(self) -> bool:
        """Whether anything of ours is there for this project."""
        inside = self.look["inside"] or {}
        return bool(self.wrote or self.redis_container.get("ours") or inside.get("kept"))

    @property
    def project(self) -> ComposeProject:
        """What Compose makes of the files; nothing where it has no part."""
        return self.look["project"] or {}

    @property
    def container(self) -> PortalContainer:
        """The portal's container; nothing where there is none."""
        return self.look["container"] or {}

    @property
    def redis_container(self) -> RedisContainer:
        """The container of Redis's name; nothing where there is none."""
        return self.look["redis_container"] or {}

    @property
    def service(self) -> str:
        """Return the portal's service, which may have been found by its image."""
        return str(self.look.get("portal_service") or self.asked.portal_service)

    @property
    def redis_before(self) -> str | None:
        """The service under which an earlier run had Compose run Redis."""
        # It becomes a word of a command.
        return next((name for name in our_services(self.look["override"]["text"]) if NAME.fullmatch(name)), None)

    @property
    def redis(self) -> str:
        """Where the layer's Redis comes from: `compose`, `container`, `given` or `none`."""
        return redis_of(self.asked)

    def server(self) -> None:
        """Docker, Compose and the folder."""
        look, asked = self.look, self.asked
        if not look["engine"]:
            self.refuse(
                "engine-silent",
                "Docker",
                "No Docker engine answers on this server: start it (`systemctl start docker`).",
            )
        if not look["folder"]:
            self.refuse(
                "project-missing",
                "tethys_docker_project_dir",
                f"tethys_docker_project_dir is {show(asked.project_dir)}, and there is no such folder on the server:"
                " set it to the folder of the compose file (or of the Dockerfile).",
            )
            return
        if look["files"]:
            self.compose()
        elif asked.carrier == "compose" or self.redis == "compose":
            self.refuse(
                "compose-file-missing",
                "tethys_docker_project_dir",
                f"tethys_docker_project_dir is {show(asked.project_dir)}, and Compose finds no compose file"
                " there: set it to the folder of docker-compose.yml, or set tethys_docker_carrier to dockerfile and"
                " tethys_docker_redis to container.",
            )
        if asked.carrier == "dockerfile":
            self.dockerfile()
        of = look["credentials_of"]
        if of and PurePosixPath(of) != PurePosixPath(asked.project_dir) and (self.redis in REDIS or self.absent):
            self.refuse(
                "credentials-of-other-project",
                "tethys_docker_credentials_dir",
                f"tethys_docker_credentials_dir is {asked.credentials_dir}, and the credentials in it are those of"
                f" the project in {of}: set it to a folder of this project's own.",
            )
        if self.absent:
            return
        self.other_image()
        self.first_run()
        self.other_redis()
        if self.redis == "container" and self.redis_container.get("ours") is False:
            self.refuse(
                "container-of-somebody",
                "tethys_docker_redis_service",
                f"tethys_docker_redis_service is {asked.redis_service}, and a container of that name"
                f" ({self.redis_container['image']}) is not this collection's: remove it, or set"
                " tethys_docker_redis_service to another name.",
            )

    def first_run(self) -> None:
        """A volume that cannot be read: its content could not be kept before it is changed."""
        look, container = self.look, self.look["container"]
        if self.wrote or (container and (container["running"] or not container["persisted"])):
            return
        if container or look["volume"]:
            what = f"container {container['name']}" if container else f"service {self.service}"
            self.refuse(
                "volume-unreadable",
                "tethys_docker_portal_service",
                f"The portal's volume is there, and its {what} does not run, so the settings on the volume cannot be"
                " read and kept. Start the portal unchanged, and run again.",
            )

    def other_redis(self) -> None:
        """The layer's previous Redis, if another one is wanted."""
        asked, before = self.asked, self.redis_before
        if self.redis_container.get("ours") and self.redis != "container":
            before = f"container {asked.redis_service}"
        elif before and (self.redis != "compose" or before != asked.redis_service):
            before = f"service {before}"
        else:
            return
        self.refuse(
            "redis-left-behind",
            "tethys_docker_redis_service",
            f"The layer's Redis currently runs as {before}, which would be left behind, since the variables name"
            " another one: run once with -e tethys_docker_state=absent, and then this again.",
        )

    def removal(self) -> None:
        """What stands in the way of putting back what the portal's volume held."""
        look, container, inside = self.look, self.look["container"], self.look["inside"] or {}
        if look["elsewhere"] and not look["override"]["ours"]:
            self.refuse(
                "override-file-elsewhere",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {self.asked.override_file}, and an earlier run wrote"
                f" {' and '.join(look['elsewhere'])}: set tethys_docker_override_file to its name.",
            )
        if not self.ours:
            return
        if container and container["running"]:
            if inside.get("kept") and not self.portal.get("site_packages"):
                logs = shell_words("docker", "logs", container["name"])
                self.refuse(
                    "portal-starting",
                    "tethys_docker_state",
                    f"tethys_docker_state is absent, and container {container['name']} does not answer yet: wait until"
                    f" its portal has started, or see why it does not (`{logs}`).",
                )
            return
        if container or look["volume"] is not False:
            name = container["name"] if container else self.service if look["files"] else self.asked.container
            by_hand = (
                ""
                if container or look["files"]
                else (
                    " If its volume is gone, delete the block, Redis's container and"
                    f" {self.asked.credentials_dir} yourself."
                )
            )
            self.refuse(
                "portal-stopped",
                "tethys_docker_state",
                f"tethys_docker_state is absent, and container {name} does not run: start it, so that the settings on"
                f" its volume can be put back.{by_hand}",
            )

    def compose(self) -> None:
        """Compose, its files and its services."""
        look, asked, project = self.look, self.asked, self.project
        if not look["compose"]:
            self.refuse(
                "compose-missing",
                "Docker Compose",
                "Docker's Compose plugin is not on this server: install it (Debian 13 and later: `apt install"
                " docker-compose`).",
            )
            return
        version = tuple(int(number.group()) for number in re.finditer(r"\d+", look["compose"]))[:2]
        if version < LEAST_COMPOSE:
            self.refuse(
                "compose-too-old",
                "Docker Compose",
                f"Docker's Compose plugin has the version {look['compose']}, and"
                f" {'.'.join(map(str, LEAST_COMPOSE))} is the first that this collection can use: install a newer one.",
            )
        self._override_reasons()
        if look["problem"]:
            self.refuse(
                "compose-file-unusable",
                str(look["files"][0]),
                f"Compose cannot use {' and '.join(look['files'])}: {look['problem']}. Correct that.",
            )
            return
        self._start_reasons()
        if not project["portal"]:
            self.refuse(
                "portal-service-unknown",
                "tethys_docker_portal_service",
                f"tethys_docker_portal_service is {asked.portal_service}, and the services of"
                f" {' and '.join(look['files'])} are {', '.join(project['services'])}: set it to the portal's.",
            )
            return
        if not self.absent:
            self._service_reasons()

    def _start_reasons(self) -> None:
        """Why a start from here would be that of another portal, or of this one with other variables."""
        look, asked = self.look, self.asked
        names = look["project_names"]
        if names:
            self.refuse(
                "project-name-ambiguous",
                "tethys_docker_project_name",
                f"tethys_docker_project_name is not set, and the containers of {asked.project_dir} were started"
                f" under the names {' and '.join(names)}: set it to one of them.",
            )
        if look["stack"]:
            self.refuse(
                "stack-not-supported",
                "tethys_docker_project_dir",
                f"tethys_docker_project_dir is {asked.project_dir}, and its portal runs in the stack"
                f" {look['stack']} (`docker stack deploy`), beside which Compose would start a second one: the stack"
                " has the portal's image, and Compose runs no container of this folder. Remove the stack"
                f" (`{shell_words('docker', 'stack', 'rm', look['stack'])}`), unless it is another portal's, and start"
                " the portal with `docker compose up -d`.",
            )
        if look["unset"]:
            one = look["unset"][0]
            self.refuse(
                "shell-variable-unset",
                "compose",
                f"{' and '.join(look['files'])} use {', '.join(look['unset'])}, which is set neither in .env nor for"
                " root: a new container of the portal would get an empty value. Write each into"
                f" {PurePosixPath(asked.project_dir) / '.env'} ({one}=…, or {one}= where it is to be empty).",
            )

    def _override_reasons(self) -> None:
        """Why our compose file cannot have its name."""
        look, asked = self.look, self.asked
        override = look["override"]
        if override["exists"] and not override["ours"] and not self.absent:
            self.refuse(
                "override-file-of-somebody",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {asked.override_file}, and that file is there and not this"
                " collection's: set it to another name, such as docker-compose.channels.yml.",
            )
        elif look["earlier"]:
            self.refuse(
                "override-file-elsewhere",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {asked.override_file}, and Compose still reads"
                f" {' and '.join(look['earlier'])}, which an earlier run wrote: delete that, or set"
                " tethys_docker_override_file to its name.",
            )
        elif self.absent:
            pass
        elif look["in_place"]:
            self.refuse(
                "override-file-shadowed",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {asked.override_file}, and Compose reads {look['in_place']}"
                " instead. Set it to a name that Compose does not search for, such as docker-compose.channels.yml.",
            )
        elif not look["reads_ours"]:
            names = ":".join([*look["files"], asked.override_file])
            self.warn(
                "override-file-not-read",
                "tethys_docker_override_file",
                f"Compose does not read {asked.override_file} automatically: for your own calls of `docker compose`,"
                f" write COMPOSE_FILE={names} into the file .env beside it.",
            )

    def _service_reasons(self) -> None:
        """Why the portal's service cannot have the layer."""
        asked, project = self.asked, self.project
        portal: Service = project["portal"] or {}
        mode = portal["network_mode"]
        if mode and self.redis in REDIS:
            self.refuse(
                "network-mode-set",
                "tethys_docker_portal_service",
                f"The service {self.service} (tethys_docker_portal_service) has network_mode {mode}, with"
                " which it can join no network of Redis's: take network_mode out of the compose file, or set"
                " tethys_layer_hosts to a Redis that the portal reaches.",
            )
        if asked.carrier == "dockerfile":
            stronger = [name for name in VARIABLES if name in portal["env"]]
            if stronger:
                self.refuse(
                    "compose-outranks-dockerfile",
                    "tethys_docker_carrier",
                    f"tethys_docker_carrier is dockerfile, and the service {self.service} sets"
                    f" {' and '.join(stronger)} in the compose file, which wins: remove them, or set"
                    " tethys_docker_carrier to compose.",
                )
        if self.redis == "compose":
            self.redis_service()

    def other_image(self) -> None:
        """A portal's image, or container, that is not one of Tethys Docker's."""
        look = self.look
        if look["is_tethys_docker"] is not False:
            return
        name = "tethys_docker_portal_service" if look["project"] else "tethys_docker_container"
        value = self.service if look["project"] else self.asked.container
        it: Service | PortalContainer | None = self.project["portal"] if look["project"] else look["container"]
        image = (it and it["image"]) or "built from a Dockerfile"
        self.refuse(
            "image-not-tethys-docker",
            name,
            f"{name} is {value}, and its image ({image}) does not have the variables of Tethys Docker (TETHYS_HOME,"
            " TETHYS_PERSIST, ASGI_PROCESSES, CHANNEL_LAYERS_BACKEND). Set it to the portal's.",
        )

    def redis_service(self) -> None:
        """A service of Redis's name that the user's file has already, such as the manual's."""
        asked, project = self.asked, self.project
        theirs = project["redis"]
        if not theirs:
            return
        name, image = asked.redis_service, theirs["image"] or "built from a Dockerfile"
        way_out = "set tethys_docker_redis_service to another name, such as channels-redis."
        if not re.search(r"(redis|valkey)[^/]*$", image):
            self.refuse(
                "service-not-redis",
                "tethys_docker_redis_service",
                f"tethys_docker_redis_service is {name}, and the service of that name is not a Redis"
                f" ({image}): {way_out}",
            )
        elif project["redis_users"]:
            self.refuse(
                "service-used-by-others",
                "tethys_docker_redis_service",
                f"tethys_docker_redis_service is {name}, and that service is used by"
                f" {' and '.join(project['redis_users'])} as well, which would lose it: {way_out}",
            )
        elif theirs["network_mode"]:
            self.refuse(
                "network-mode-set",
                "tethys_docker_redis_service",
                f"tethys_docker_redis_service is {name}, and that service has network_mode {theirs['network_mode']}:"
                f" {way_out}",
            )
        elif "volumes" in theirs["keys"] and not self.look["override"]["ours"]:
            self.refuse(
                "service-has-volumes",
                "tethys_docker_redis_service",
                f"tethys_docker_redis_service is {name}, and that service has volumes, so it may keep what is not the"
                f" channel layer's: {way_out}",
            )
        elif not self.look["override"]["ours"]:
            published = " and is no longer published" if "ports" in theirs["keys"] else ""
            self.announce.append(
                f"The service {name} ({image}) of your compose file runs with tethys_docker_redis_image and a password"
                f" from now on{published}; the file itself is not changed."
            )

    def dockerfile(self) -> None:
        """The file that takes the ENV block."""
        about, name = self.look["dockerfile"], self.asked.dockerfile
        if not about["exists"]:
            self.refuse(
                "dockerfile-missing",
                "tethys_docker_dockerfile",
                f"tethys_docker_dockerfile is {name}, and there is no such file: set it to its name.",
            )
        elif about["problem"]:
            self.refuse(
                "dockerfile-unusable",
                "tethys_docker_dockerfile",
                f"tethys_docker_dockerfile is {name}, and it {about['problem']}: correct that.",
            )
