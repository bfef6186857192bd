# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what a run in Tethys Docker does to further channel layers, and to data that no volume holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.secrets import is_secret
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import DEFAULT_PORT
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
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


class _Further(NamedTuple):
    """A layer besides `default` on the Redis of `default`."""

    layer: Mapping[str, Any]
    # Whether nothing keeps the role from writing it: all its hosts are that Redis, and no secret of its own is masked.
    writable: bool

    @property
    def hosts(self) -> list[Any]:
        """Return the layer's hosts."""
        return list(self.layer["CONFIG"]["hosts"])


def _on_redis(layers: Any, service: str, user: str) -> dict[str, _Further]:
    """Return the further layers of which a host is that Redis."""
    found: dict[str, _Further] = {}
    for name, layer in layers.items() if isinstance(layers, Mapping) else ():
        config = layer.get("CONFIG") if isinstance(layer, Mapping) else None
        hosts = config.get("hosts") if isinstance(config, Mapping) else None
        if name == OURS or not isinstance(config, Mapping) or not isinstance(hosts, list):
            continue
        same = [_reaches(host, service, user) for host in hosts]
        if any(same):
            found[str(name)] = _Further(layer, all(same) and not any(map(is_secret, config)))
    return found


def further_logins(layers: Any, service: str, login: Mapping[str, Any]) -> dict[str, Any]:
    """Return the further layers on the same Redis as they are, with the login in their hosts.

    Args:
        layers: CHANNEL_LAYERS as the portal has it, with its secrets masked.
        service: the host name of Redis.
        login: `username` and `password` of the portal.
    """
    found = {}
    for name, further in _on_redis(layers, service, str(login["username"])).items():
        if further.writable:
            bare = [_without_login(host) for host in further.hosts]
            hosts = channel_layers(bare, login)[OURS]["CONFIG"]["hosts"]
            found[name] = {**further.layer, "CONFIG": {**further.layer["CONFIG"], "hosts": hosts}}
    return found


def _without_login(host: Any) -> Any:
    if not isinstance(host, Mapping):
        return host
    return {key: value for key, value in host.items() if key not in ("username", "password")}


def lacking_login(layers: Any, service: str, user: str) -> list[str]:
    """Return the further layers on that Redis that have no login yet and can get one."""
    return [
        name
        for name, further in _on_redis(layers, service, user).items()
        if further.writable and any(not each["password"] for host in further.hosts for each in redis_endpoints([host]))
    ]


def further_refusals(layers: Any, service: str, user: str) -> list[Problem]:
    """Return why further layers cannot get the login: they use another Redis besides, or have secrets."""
    return [
        Problem(
            "further-layer-not-writable",
            name,
            f"CHANNEL_LAYERS.{name} uses Redis at {service}:{DEFAULT_PORT}, which gets a password, and it has other"
            " hosts or secrets besides. Set tethys_docker_redis_service to another name, such as channels-redis.",
        )
        for name, further in _on_redis(layers, service, user).items()
        if not further.writable
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
