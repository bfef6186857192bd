# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries to the container engines, and their texts for messages. Read requests only."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple, Union

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import REDIS_UNIT
from ansible_collections.tethys.channels.plugins.module_utils.run_command import CommandFailed, run_command
from ansible_collections.tethys.channels.plugins.module_utils.services import Docker
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

# How Docker says that there is no such date.
NEVER = "0001-01-01T00:00:00Z"
PODMAN_SECONDS = 60.0
# What is raised where an engine does not answer, or with what is no answer.
NO_ANSWER = (OSError, http.client.HTTPException, ValueError)
# Docker's security options that keep a container from root's folders and users, and what each is called.
LIMITS = {"rootless": "rootless", "userns": "userns-remap"}


def _steady(found: Any) -> Any:
    """An engine's account of a container without how its last health checks went, and what ran for them.

    The mounts come in another order each time, with Podman 3.0 also the capabilities.
    """
    if not found:
        return None
    state = {name: held for name, held in found["State"].items() if name not in ("Health", "Healthcheck")}
    mounts = sorted(found.get("Mounts") or [], key=lambda mount: str(mount["Destination"]))
    host = found.get("HostConfig") or {}
    host = {**host, "CapDrop": sorted(host.get("CapDrop") or [])}
    return {**found, "State": state, "ExecIDs": None, "Mounts": mounts, "HostConfig": host}


class Place(NamedTuple):
    """Where a container is: its first process, 0 if none runs, and its addresses in separate networks."""

    pid: int
    addresses: list[str]


def _place(found: Any) -> Place:
    """The place of a container, from what `inspect` has of it; None stands for no container."""
    if not found:
        return Place(0, [])
    networks = found.get("NetworkSettings") or {}
    each = [networks, *(networks.get("Networks") or {}).values()]
    addresses = [str(one["IPAddress"]) for one in each if one and one.get("IPAddress")]
    return Place(int(found["State"].get("Pid") or 0), list(dict.fromkeys(addresses)))


class DockerEngine:
    """Docker, over its socket."""

    title = "Docker"
    # The message if it is installed and does not answer, with the fix.
    silent = "its engine does not answer: start it (`systemctl start docker`)"
    back = "Docker's engine does not answer; `systemctl start docker`"

    def __init__(self) -> None:
        self.api = Docker()

    @staticmethod
    def logs(container: str) -> str:
        """The command that shows what a container's Redis says."""
        return shell_words("docker", "logs", container)

    def installed(self) -> bool:
        """Whether it is there, though it may not answer."""
        return shutil.which("dockerd") is not None or shutil.which("docker") is not None

    def version(self) -> str:
        """Its version; OSError, HTTPException or ValueError where it does not answer, as for all that follows."""
        return str(self.api.get("/version")["Version"])

    def kind(self) -> str:
        """Return `docker`, or what answers instead: `podman`, `snap`, `rootless` or `userns-remap`."""
        parts = self.api.get("/version").get("Components") or []
        if any("Podman" in str(part.get("Name")) for part in parts):
            return "podman"
        about = self.api.get("/info") or {}
        options = " ".join(about.get("SecurityOptions") or [])
        if str(about.get("DockerRootDir")).startswith("/var/snap/"):
            return "snap"
        return next((kind for word, kind in LIMITS.items() if f"name={word}" in options), "docker")

    @staticmethod
    def kind_of_command() -> str:
        """Return the same by the command alone: that of podman-docker is a script, which needs no socket."""
        command = shutil.which("docker")
        if command is None or shutil.which("dockerd"):
            return "docker"
        with Path(command).open("rb") as file:
            return "podman" if b"podman" in file.read(4096) else "docker"

    def containers(self) -> list[dict[str, Any]]:
        """All containers, as Docker's list has them."""
        return list(self.api.get("/containers/json?all=1"))

    def holds(self, image: str) -> str | None:
        """The name by which it has an image, or None."""
        return None if self.api.image(image) is None else image

    def whole(self, name: str, image: str) -> Any:
        """Return all facts of a container, and the image ID of the name, without what changes while it runs."""
        return [_steady(self.api.get(f"/containers/{name}/json")), (self.api.image(image) or {}).get("Id")]

    def process(self, name: str) -> tuple[int, str]:
        """The process id of a container, 0 where none runs, and when it last ended."""
        state = (self.api.get(f"/containers/{name}/json") or {}).get("State") or {}
        return state.get("Pid") or 0, state.get("FinishedAt") or NEVER

    def place(self, name: str) -> Place:
        """Where a container is."""
        return _place(self.api.get(f"/containers/{name}/json"))


class PodmanEngine:
    """Podman, by its command: its socket is off unless somebody turned it on."""

    title = "Podman"
    silent = "does not work ({problem}): fix what `podman ps`, run as root, reports"
    back = "fix what `podman ps`, run as root, reports"

    @staticmethod
    def logs(container: str) -> str:
        """The command that shows what a container's Redis says; the container itself goes when it ends."""
        # The unit of a container that has another name is not known here: those of all portals are shown.
        return f"journalctl -u {REDIS_UNIT}" if container == REDIS_UNIT else f"journalctl -u '{REDIS_UNIT}*'"

    def _ask(self, *words: str, answers: tuple[int, ...] = (0,)) -> tuple[int, str]:
        """The exit code, one of those that are an answer, and what it printed."""
        try:
            run = run_command(["podman", *words], seconds=PODMAN_SECONDS, env=os.environ)
        except CommandFailed as error:
            raise OSError(f"`{shell_words('podman', *words)}`: {error}") from error
        if run.code not in answers:
            said = run.err.strip().splitlines() or [f"`{shell_words('podman', *words)}` failed"]
            raise OSError(clean(said[-1], 500))
        return run.code, run.out

    @staticmethod
    def kind() -> str:
        """Return `podman`: as root it is never anything else."""
        return "podman"

    kind_of_command = kind

    def installed(self) -> bool:
        """Whether it is there, though it may not work."""
        return shutil.which("podman") is not None

    def version(self) -> str:
        """Return its version. Its version command works even if its store is broken."""
        self.containers()
        return self._ask("--version")[1].split()[-1]

    def containers(self) -> list[dict[str, Any]]:
        """All of root's containers, as Docker's list would have them."""
        rows = json.loads(self._ask("ps", "--all", "--format", "json")[1] or "[]") or []
        for row in rows:
            # Podman 3 spells it otherwise.
            ports = row.get("Ports") or []
            row["Ports"] = [{"PublicPort": port.get("host_port") or port.get("hostPort")} for port in ports]
        return list(rows)

    def holds(self, image: str) -> str | None:
        """The name by which it has an image, or None."""
        # One that was built or loaded here without a registry in its name belongs to localhost.
        names = [full_name(image), *([] if full_name(image) == image else [f"localhost/{image}"])]
        return next((name for name in names if self._ask("image", "exists", name, answers=(0, 1))[0] == 0), None)

    def whole(self, name: str, image: str) -> Any:
        """Return all facts of a container, and the image ID of the name, without what changes while it runs."""
        found = json.loads(self._ask("container", "inspect", name)[1])
        return [*map(_steady, found), self._ask("image", "inspect", "--format", "{{.Id}}", image)[1]]

    def process(self, name: str) -> tuple[int, str]:
        """The process id of a container, 0 if none runs. Its unit recreates it, so it has no previous end."""
        return next((int(row.get("Pid") or 0) for row in self.containers() if name in row["Names"]), 0), NEVER

    def place(self, name: str) -> Place:
        """Where a container is."""
        try:
            out = self._ask("container", "inspect", name)[1]
        except OSError as error:
            if "no such container" in str(error).lower():
                return Place(0, [])
            raise
        return _place(json.loads(out)[0])


Engine = Union[DockerEngine, PodmanEngine]
ENGINES: dict[str, type[Engine]] = {"docker": DockerEngine, "podman": PodmanEngine}


def full_name(image: str) -> str:
    """An image's name with what Docker takes for granted in it, where Podman would search or ask."""
    first, slash, _rest = image.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
