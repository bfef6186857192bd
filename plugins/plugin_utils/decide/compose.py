# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what a run in Tethys Docker does to further channel layers, and to data that no volume holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import (
    DEFAULT_PORT,
    channel_layers,
    redis_endpoints,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, Refusal

# The layer that the role writes.
OURS = "default"


def _reaches(host: Any, service: str, user: str) -> bool:
    """Return whether a host's entry is that Redis, without a login or with the portal's own."""
    try:
        found = redis_endpoints([host])
    except Refusal:
        return False
    return all(
        (each["host"], each["port"], each["sentinel"]) == (service, DEFAULT_PORT, None)
        and (not each["password"] or each["username"] == user)
        for each in found
    )


def _on_redis(layers: Any, service: str, user: str) -> dict[str, tuple[list[Any], list[Any]]]:
    """Return the further layers on that Redis: their hosts that are it, and all of them."""
    found: dict[str, tuple[list[Any], list[Any]]] = {}
    for name, layer in layers.items() if isinstance(layers, Mapping) else ():
        config = layer.get("CONFIG") if isinstance(layer, Mapping) else None
        hosts = config.get("hosts") if isinstance(config, Mapping) else None
        if name == OURS or not isinstance(hosts, list):
            continue
        same = [host for host in hosts if _reaches(host, service, user)]
        if same:
            found[str(name)] = (same, hosts)
    return found


def further_logins(layers: Any, service: str, login: Mapping[str, Any]) -> dict[str, Any]:
    """Return what CHANNEL_LAYERS gets besides `default`: the login in each further layer on the same Redis.

    Args:
        layers: CHANNEL_LAYERS as the portal has it, with its secrets masked.
        service: the host name of Redis.
        login: `username` and `password` of the portal.
    """
    found = {}
    for name, (same, hosts) in _on_redis(layers, service, str(login["username"])).items():
        if len(same) == len(hosts):
            bare = [_without_login(host) for host in hosts]
            found[name] = {"CONFIG": {"hosts": channel_layers(bare, login)[OURS]["CONFIG"]["hosts"]}}
    return found


def _without_login(host: Any) -> Any:
    if not isinstance(host, Mapping):
        return host
    return {key: value for key, value in host.items() if key not in ("username", "password")}


def lacking_login(layers: Any, service: str, user: str) -> list[str]:
    """Return the further layers on that Redis that have no login yet and can get one."""
    return [
        name
        for name, (same, hosts) in _on_redis(layers, service, user).items()
        if len(same) == len(hosts) and any(not each["password"] for host in same for each in redis_endpoints([host]))
    ]


def mixed_refusals(layers: Any, service: str, user: str) -> list[Problem]:
    """Return why further layers cannot get the login: one that uses another Redis besides."""
    return [
        Problem(
            "further-layer-mixed",
            name,
            f"CHANNEL_LAYERS.{name} uses Redis at {service}:{DEFAULT_PORT}, which gets a password, and another Redis"
            " besides. Set tethys_docker_redis_service to another name, such as channels-redis.",
        )
        for name, (same, hosts) in _on_redis(layers, service, user).items()
        if len(same) < len(hosts)
    ]


def login_announcement(names: Sequence[str]) -> str:
    """Return the sentence for further layers that get the login."""
    listed = ", ".join(f"CHANNEL_LAYERS.{name}" for name in names)
    return f"The login of Redis is also written for {listed}, which the same Redis serves."


def loose_data(data: Sequence[Mapping[str, Any]], mounts: Sequence[str], container: str) -> list[Problem]:
    """Return why the container may not be recreated: data of the portal in its own layer.

    Args:
        data: what the portal's settings name: `setting`, `path` without links, and `holds`, whether anything is there.
        mounts: where volumes and folders are mounted.
        container: the name of the container.
    """
    kept = [PurePosixPath(mount) for mount in mounts]
    found = []
    for row in data:
        path = PurePosixPath(row["path"])
        if row["holds"] and not any(mount in (path, *path.parents) for mount in kept):
            copy = shell_words("docker", "cp", f"{container}:{path}", ".")
            found.append(
                Problem(
                    "data-outside-volumes",
                    str(row["setting"]),
                    f"{row['setting']} is {path}, which no volume of container {container} holds: it is lost when the"
                    f" container is recreated. Copy it (`{copy}`), and mount a volume with it there.",
                )
            )
    return found
