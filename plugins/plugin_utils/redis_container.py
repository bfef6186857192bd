# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The container of a Redis or a Sentinel: what it is given, and the same for Docker, Podman and Compose.

A changed byte of a rendering recreates the container on every server: test_redis_container.py has recorded ones.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.redis.answer import SettingsAnswer
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CONFIG_LABEL, PORTAL_LABEL, TRANSPORT_LABEL

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.plugin_utils.step_types import RedisStep

# Inside the container.
MOUNT = "/etc/tethys-channels"
SOCKET_MOUNT = "/run/tethys-channels"
SENTINEL_MOUNT = "/etc/tethys-sentinel"
SENTINEL_MEMORY_MB = 64
PIDS = 64
RESTART = "unless-stopped"
LOG_DRIVER = "json-file"
LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}
# A health check takes this long at most, and is repeated so often.
HEALTH_TIMEOUT = "3s"
HEALTH_RETRIES = 5
# With Podman each check is a separate command, so there are fewer.
HEALTH_RETRIES_OF_PODMAN = 3


class Volume(NamedTuple):
    """A folder of the server in the container, with its options such as `ro` and a label of SELinux."""

    source: str
    target: str
    options: tuple[str, ...] = ("ro",)

    def __str__(self) -> str:
        return ":".join(filter(None, [self.source, self.target, ",".join(filter(None, self.options))]))


class Health(NamedTuple):
    """The health check: redis-cli as it reaches the server, and the seconds between two checks and before the first."""

    cli: str = "redis-cli"
    # Docker starts four processes for each check: every 3 s, that took 2 % of a core.
    interval: int = 30
    start_period: int | None = None

    @property
    def command(self) -> str:
        """Without a password: an answer of any kind shows that the server works through its queue."""
        return f"{self.cli} ping 2>&1 | grep -qE 'PONG|NOAUTH'"


@dataclass(frozen=True)
class Container:
    """What differs between our containers; all that hardens them is in the renderings.

    Args:
        command: what follows the entrypoint.
        user: the user and the group as numbers.
        labels: all, a changed one of which makes another container.
        network: the network mode, such as `none`, or nothing for the engine's own.
        ports: the ports to publish, or nothing to leave them.
    """

    command: list[str]
    user: str
    memory_mb: object
    volumes: list[Volume]
    labels: dict[str, str]
    entrypoint: str = "redis-server"
    network: str | None = None
    ports: list[str] | None = None
    health: Health | None = None

    @property
    def memory(self) -> str:
        """The limit of the memory, with and without swap."""
        return f"{self.memory_mb}m"

    def docker(self) -> dict[str, Any]:
        """Return the options of community.docker.docker_container."""
        options = {
            "entrypoint": [self.entrypoint],
            "command": self.command,
            "command_handling": "correct",
            "user": self.user,
            "network_mode": self.network,
            "published_ports": self.ports,
            "volumes": list(map(str, self.volumes)),
            "read_only": True,
            "cap_drop": ["all"],
            "security_opts": ["no-new-privileges:true"],
            "memory": self.memory,
            "memory_swap": self.memory,
            "pids_limit": PIDS,
            "restart_policy": RESTART,
            # Some images declare a volume, and nothing is ever kept in it.
            "keep_volumes": False,
            "log_driver": LOG_DRIVER,
            "log_options": LOG_OPTIONS,
            "healthcheck": _docker_health(self.health) if self.health else None,
            "labels": self.labels,
        }
        return {name: value for name, value in options.items() if value is not None}

    def podman(self, name: str) -> list[str]:
        """Return the options of `podman run`, without the label that is a digest of them."""
        health = self.health or Health()
        return [
            f"--name={name}",
            f"--entrypoint={self.entrypoint}",
            f"--user={self.user}",
            *([f"--network={self.network}"] if self.network else []),
            *(f"--publish={port}" for port in self.ports or []),
            *(f"--volume={volume}" for volume in self.volumes),
            "--read-only",
            # Podman would put folders that can be written into one that is read-only.
            "--read-only-tmpfs=false",
            "--image-volume=ignore",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
            f"--memory={self.memory}",
            f"--memory-swap={self.memory}",
            f"--pids-limit={PIDS}",
            "--log-driver=journald",
            f"--health-cmd={health.command}",
            f"--health-interval={health.interval}s",
            f"--health-timeout={HEALTH_TIMEOUT}",
            f"--health-retries={HEALTH_RETRIES_OF_PODMAN}",
            *(f"--label={label}={value}" for label, value in self.labels.items() if label != CONFIG_LABEL),
        ]

    def compose(self, network: str) -> dict[str, Any]:
        """Return the service of Compose, without an image."""
        return {
            "restart": RESTART,
            "entrypoint": [self.entrypoint],
            "command": self.command,
            "user": self.user,
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "mem_limit": self.memory,
            "memswap_limit": self.memory,
            "pids_limit": PIDS,
            "networks": {network: None},
            "ports": self.ports or [],
            # Some images declare a volume, and nothing is ever kept in it.
            "tmpfs": ["/data:size=1m"],
            "volumes": [
                {
                    "type": "bind",
                    "source": volume.source,
                    "target": volume.target,
                    "read_only": "ro" in volume.options,
                    "bind": {"create_host_path": False},
                }
                for volume in self.volumes
            ],
            "environment": {},
            "healthcheck": _docker_health(self.health or Health()),
            "logging": {"driver": LOG_DRIVER, "options": LOG_OPTIONS},
            "labels": self.labels,
        }


def _docker_health(health: Health) -> dict[str, object]:
    start = {} if health.start_period is None else {"start_period": f"{health.start_period}s"}
    return {
        "test": ["CMD-SHELL", health.command],
        "interval": f"{health.interval}s",
        "timeout": HEALTH_TIMEOUT,
        "retries": HEALTH_RETRIES,
        **start,
    }


def podman_digest(config_sum: str, options: list[str]) -> str:
    """Return the value of the label by which another configuration or other options make a new container in Podman."""
    return hashlib.sha256(json.dumps([config_sum, *options]).encode()).hexdigest()[:32]


def of_redis(step: RedisStep, settings: SettingsAnswer, memory_mb: object, start_wait: int, engine: str) -> Container:
    """Return the container of the role `redis_container`.

    Args:
        step: the step of the role.
        settings: what `redis_settings` returned.
        memory_mb: the limit of its memory.
        start_wait: the seconds that a Redis which Sentinel watches may take to start.
        engine: `docker` or `podman`.
    """
    start, watched = settings["start_file"], [_sentinel_folder(step)] if step.sentinel else []
    # Loopback or that one address only: a port published on every address also passes by ufw.
    ports = [f"{step.place}:6379"] if step.transport in ("published", "tls") else None
    # A socket needs no network, so it gets none.
    network = {"unix": "none", "host": "host"}.get(step.transport)
    socket = Volume(str(PurePosixPath(step.endpoint.get("path", "")).parent), SOCKET_MOUNT, (_selinux(step),))
    return Container(
        entrypoint="sh" if start else "redis-server",
        command=[f"{MOUNT}/{start or settings['config_file']}"],
        user=settings["run_as"],
        memory_mb=memory_mb,
        network=network,
        ports=ports,
        volumes=[_config(step, settings), *([socket] if step.transport == "unix" else []), *watched],
        health=Health(_cli(step), start_period=start_wait if start else None),
        labels=_labels(step, settings["config_sum"], engine),
    )


def of_sentinel(step: RedisStep, settings: SettingsAnswer, sentinel: SettingsAnswer) -> Container:
    """Return the container of a Sentinel: with what `redis_settings` and `redis_sentinel` returned."""
    port = (step.sentinel or {"port": 0})["port"]
    # Sentinel writes down there whom it watches and who the primary is.
    folder = Volume(sentinel["config_dir"], SENTINEL_MOUNT, ("rw", _selinux(step)))
    return Container(
        command=[f"{SENTINEL_MOUNT}/{sentinel['config_file']}", "--sentinel"],
        user=settings["run_as"],
        memory_mb=SENTINEL_MEMORY_MB,
        ports=[f"{step.endpoint['host']}:{port}:26379"],
        volumes=[_config(step, settings), folder],
        labels={CONFIG_LABEL: sentinel["config_sum"]},
    )


def _selinux(step: RedisStep) -> str:
    """Return the label of a folder that lets this container at it, and no other but Sentinel."""
    return ("z" if step.sentinel else "Z") if step.selinux else ""


def _config(step: RedisStep, settings: SettingsAnswer) -> Volume:
    return Volume(settings["config_dir"], MOUNT, ("ro", _selinux(step)))


def _sentinel_folder(step: RedisStep) -> Volume:
    """Return what the script reads that starts a Redis, so that it does not come back as an empty primary."""
    return Volume(f"{step.state_dir}/sentinel", SENTINEL_MOUNT, ("ro", _selinux(step)))


def _cli(step: RedisStep) -> str:
    """Return redis-cli with the options by which it reaches the server inside the container."""
    options = {
        "unix": f" -s {SOCKET_MOUNT}/redis.sock",
        "host": f" -p {step.endpoint.get('port')}",
        "tls": f" --tls --cacert {MOUNT}/ca.crt",
    }
    return "redis-cli" + options.get(step.transport, "")


def _labels(step: RedisStep, config_sum: str, engine: str) -> dict[str, str]:
    """Return the labels. In Docker, a container from before there was that of the transport goes on without it."""
    has_none = step.answers and TRANSPORT_LABEL not in (step.container or {"labels": {}})["labels"]
    transport = {} if has_none and engine == "docker" else {TRANSPORT_LABEL: step.way}
    portal = {PORTAL_LABEL: step.portal_name} if step.portal_name else {}
    return {CONFIG_LABEL: config_sum, **transport, **portal}
