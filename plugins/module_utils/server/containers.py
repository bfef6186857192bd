# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of Redis and Sentinel in Docker and Podman, and another one that has Redis's port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.engines import (
    ENGINES,
    NO_ANSWER,
    DockerEngine,
    Engine,
    PodmanEngine,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    ContainerFacts,
    EngineState,
    RedisContent,
    Server,
)


def engine_state(engine: Engine) -> EngineState:
    """Whether an engine is there and answers."""
    state: EngineState = {"installed": engine.installed(), "running": False, "version": None, "problem": None}
    try:
        state["version"], state["kind"] = engine.version(), engine.kind()
        state["running"] = state["installed"] = True
    except NO_ANSWER as error:
        state["problem"], state["kind"] = str(error), engine.kind_of_command()
    if isinstance(engine, DockerEngine) and state["kind"] == "podman":
        # Podman answers on Docker's socket. It has Podman's containers, for which Podman itself is queried.
        state["installed"] = state["running"] = False
    return state


def _container(found: dict[str, Any]) -> ContainerFacts:
    return {
        "id": found["Id"][:12],
        "name": found["Names"][0].lstrip("/") if found.get("Names") else "",
        "image": found["Image"],
        "running": found["State"] == "running",
        "labels": found.get("Labels") or {},
        "ports": sorted({port["PublicPort"] for port in found.get("Ports") or [] if port.get("PublicPort")}),
    }


def publishes(found: dict[str, Any], port: int, address: str | None) -> bool:
    """Whether a container publishes a port, on that address of the server where there is one."""
    rows = [row for row in found.get("Ports") or [] if row.get("PublicPort") == port]
    every = (None, "", "0.0.0.0", "::", address)  # noqa: S104 - it is compared
    return bool(rows) and (not address or any(row.get("IP") in every for row in rows))


def containers(
    engine: Engine, name: str, port: int, address: str | None = None
) -> tuple[ContainerFacts | None, ContainerFacts | None]:
    """Our container, and the other one that publishes the Redis port, on that address where there is one."""
    ours = other = None
    for found in engine.containers():
        row = _container(found)
        if row["name"] == name:
            ours = row
        elif row["running"] and publishes(found, port, address):
            other = row
    return ours, other


def named(engine: Engine, name: str) -> ContainerFacts | None:
    """The container of that name, or None."""
    return next((row for row in map(_container, engine.containers()) if row["name"] == name), None)


def left_over(engine: str, found: ContainerFacts | None, name: str, unit: bool) -> ContainerFacts | None:
    """Our container in the engine that is not asked for; where there is only its unit, as one that is stopped."""
    if found and "tethys.channels.config" in found["labels"]:
        return {**found, "engine": engine}
    if engine == "podman" and unit:
        return {"engine": engine, "id": "", "name": name, "image": "", "running": False, "labels": {}, "ports": []}
    return None


def restart_policy(engine: DockerEngine, container: str) -> str:
    """A container's restart policy, as `docker update --restart` takes it."""
    policy = (engine.api.get(f"/containers/{container}/json") or {}).get("HostConfig", {}).get("RestartPolicy") or {}
    name, retries = policy.get("Name") or "no", policy.get("MaximumRetryCount")
    return f"{name}:{retries}" if retries else str(name)


def describe_redis(port: int, layer_prefix: str = "asgi") -> RedisContent:
    """What an open Redis on the loopback holds: its version, and a key that is not the layer's."""
    try:
        with Redis({"host": "127.0.0.1", "port": port}) as redis:
            return {"version": redis.version(), "foreign_key": redis.foreign_key(layer_prefix), "problem": None}
    except (OSError, RedisError) as error:
        return {"version": None, "foreign_key": None, "problem": str(error)}


def container_facts(params: dict[str, Any], address: str | None, names: PortalNames) -> Server:
    """Return what the container engines have of Redis and Sentinel."""
    asked = params["engine"]
    unit = Path(names.redis_unit_path).exists()
    docker = DockerEngine()
    # Podman takes a tenth of a second to answer, so it is queried only if it matters.
    engines: dict[str, Engine] = {"docker": docker, **({"podman": PodmanEngine()} if asked == "podman" or unit else {})}
    states = {name: engine_state(engine) for name, engine in engines.items()}
    ours: dict[str, ContainerFacts | None] = dict.fromkeys(ENGINES)
    other = None
    for name in engines:
        if states[name]["running"]:
            ours[name], there = containers(engines[name], params["container_name"], params["redis_port"], address)
            other = there if name == "docker" else other
    if other:
        other["redis"] = describe_redis(params["redis_port"])
        other["restart_policy"] = restart_policy(docker, other["id"])
    [away] = set(ENGINES) - {asked}
    image = engines[asked].holds(params["container_image"]) if states[asked]["running"] else None
    return {
        "docker": states["docker"],
        "podman": states.get("podman"),
        "image_present": image is not None,
        "image_name": image,
        "container": ours[asked],
        "left_container": left_over(away, ours[away], params["container_name"], unit),
        # Sentinel is run in Docker only.
        "sentinel_container": (
            named(docker, params["sentinel_name"]) if params["sentinel_name"] and states["docker"]["running"] else None
        ),
        "redis_unit": unit,
        "redis_port_container": other,
    }
