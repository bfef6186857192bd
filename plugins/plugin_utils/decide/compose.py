# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide what a run in Tethys Docker does to further channel layers, and what would be lost, or seen by others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple, TypedDict, cast

from ansible_collections.tethys.channels.plugins.module_utils.docker_facts import DockerFacts, Inside
from ansible_collections.tethys.channels.plugins.module_utils.facts import DataPlace
from ansible_collections.tethys.channels.plugins.module_utils.secrets import MASK
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_state import NO_ENDPOINT, NO_FD
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import DEFAULT_PORT, Endpoint
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import Layer, channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import BACKENDS, Problem, Refusal
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import is_mapping, list_of, mapping_of

# The layer that the role writes.
OURS = "default"
# Of channels_redis, where a layer names none.
PREFIX = "asgi"


class Login(TypedDict):
    """The portal's login to Redis."""

    username: str | None
    password: str


class Served(NamedTuple):
    """The Redis of `default`, which gets a login."""

    # Its host name in the project's network.
    service: str
    # Whose login the portal uses.
    user: str | None
    # The layer `default` as the run writes it: whoever logs in may use its prefix and its class's commands alone.
    default: Layer


class _Further(NamedTuple):
    """A layer besides `default` on the Redis of `default`."""

    layer: Layer
    # Whether the role can write the login into it, and it works with that login.
    writable: bool

    @property
    def hosts(self) -> list[object]:
        """Return the layer's hosts."""
        return list(self.layer["CONFIG"]["hosts"])

    def with_hosts(self, hosts: list[object]) -> Layer:
        """Return the layer with other hosts."""
        return {**self.layer, "CONFIG": {**self.layer["CONFIG"], "hosts": hosts}}


def _endpoints(host: object, served: Served) -> list[Endpoint]:
    """Return where a host's entry leads, if it is that Redis."""
    try:
        found = redis_endpoints([host])
    except Refusal:
        return []
    there = (served.service, DEFAULT_PORT, None)
    return found if all((each["host"], each["port"], each["sentinel"]) == there for each in found) else []


def _is_writable(layer: Layer, served: Served) -> bool:
    """Return whether all hosts are that Redis, without another login, and nothing else is secret or out of reach."""
    config, default = layer["CONFIG"], served.default.get("CONFIG") or {}
    ends = [_endpoints(host, served) for host in config["hosts"]]
    known = all(not each["password"] or each["username"] == served.user for found in ends for each in found)
    # What is masked cannot be written.
    shown = {**config, "hosts": [_without_login(host) for host in config["hosts"]]}
    return (
        all(ends)
        and known
        and layer.get("BACKEND") == served.default["BACKEND"]
        and str(config.get("prefix", PREFIX)).startswith(str(default.get("prefix", PREFIX)))
        and MASK not in str(shown)
    )


def _on_redis(layers: object, served: Served) -> dict[str, _Further]:
    """Return the further layers of which a host is that Redis."""
    found: dict[str, _Further] = {}
    for name, held in mapping_of(layers).items():
        layer = mapping_of(held)
        hosts = list_of(mapping_of(layer.get("CONFIG")).get("hosts"))
        if name != OURS and any(_endpoints(host, served) for host in hosts):
            # As the portal has it; what is not as a class takes it is not writable.
            further = cast(Layer, layer)
            found[name] = _Further(further, _is_writable(further, served))
    return found


def further_logins(layers: object, served: Served, login: Login) -> dict[str, Layer]:
    """Return the further layers on the same Redis, unchanged but for the login in their hosts.

    Args:
        layers: CHANNEL_LAYERS as the portal has it, with its secrets masked.
        served: the Redis of `default`.
        login: `username` and `password` of the portal.
    """
    found = {}
    for name, further in _on_redis(layers, served).items():
        if further.writable:
            bare = [_without_login(host) for host in further.hosts]
            found[name] = further.with_hosts(channel_layers(bare, login)[OURS]["CONFIG"]["hosts"])
    return found


def _without_login(host: object) -> object:
    if not is_mapping(host):
        return host
    return {key: value for key, value in host.items() if key not in ("username", "password")}


def without_logins(layers: object, served: Served) -> dict[str, Layer]:
    """Return the further layers on the same Redis without a login, as they were before a run wrote it."""
    return {
        name: further.with_hosts([_without_login(host) for host in further.hosts])
        for name, further in _on_redis(layers, served).items()
        if further.writable
    }


def lacking_login(layers: object, served: Served) -> list[str]:
    """Return the further layers on that Redis that have no login yet and can get one."""
    return [
        name
        for name, further in _on_redis(layers, served).items()
        if further.writable and any(not each["password"] for host in further.hosts for each in redis_endpoints([host]))
    ]


def further_refusals(layers: object, served: Served) -> list[Problem]:
    """Return why further layers cannot get the login: other hosts or secrets, or what the login may not use."""
    return [
        Problem(
            "further-layer-not-writable",
            name,
            f"CHANNEL_LAYERS.{name} uses Redis at {served.service}:{DEFAULT_PORT}, which gets a password, and it has"
            " other hosts or secrets, another BACKEND, or a prefix that does not begin with that of `default`."
            f" Set {_same_class(further.layer, served)}tethys_docker_redis_service to another name, such as"
            " channels-redis.",
        )
        for name, further in _on_redis(layers, served).items()
        if not further.writable
    ]


def _same_class(layer: Layer, served: Served) -> str:
    """Return the fix for a layer that lacks nothing but the class of `default`, as the beginning of a choice."""
    backend = str(layer.get("BACKEND"))
    alike = served._replace(default={**served.default, "BACKEND": backend})
    return f"tethys_layer_backend to {backend}, or " if backend in BACKENDS and _is_writable(layer, alike) else ""


def login_announcement(names: Sequence[str]) -> str:
    """Return the sentence for further layers that get the login."""
    listed = ", ".join(f"CHANNEL_LAYERS.{name}" for name in names)
    return f"The login of Redis is also written for {listed}, which the same Redis serves."


def loose_data(data: Sequence[DataPlace], mounts: Sequence[str], container: str) -> list[Problem]:
    """Return why the container may not be recreated: data of the portal in its own layer.

    Args:
        data: what the portal's settings name: `setting`, `path` without links, and `holds`, whether anything is there.
        mounts: where volumes and folders are mounted.
        container: the name of the container.
    """
    kept = [PurePosixPath(mount) for mount in mounts]
    found = []
    for number, row in enumerate(data, 1):
        path = PurePosixPath(row["path"])
        if row["holds"] and not any(mount in (path, *path.parents) for mount in kept):
            # Under a name that no app chooses: it could be that of a file that a shell or ssh obeys.
            copy = shell_words("docker", "cp", f"{container}:{path}", f"portal-data-{number}")
            found.append(
                Problem(
                    "data-outside-volumes",
                    str(row["setting"]),
                    f"{row['setting']} is {path}, which no volume of container {container} holds: it is lost when the"
                    f" container is recreated. Copy it (`{copy}`), and mount a volume with it there.",
                )
            )
    return found


def cannot_serve(inside: Inside, container: str | None) -> list[Problem]:
    """Return why the portal's processes cannot answer on its port, by the program on its volume and by daphne."""
    problems = {
        NO_FD: Problem(
            "program-without-fd",
            "asgi_supervisord.conf",
            f"asgi_supervisord.conf in container {container} starts daphne without `--fd 0`: Supervisor holds the"
            " portal's port, and no process accepts its connections. Take the command that removes `--fd 0` out of"
            " your Salt states or your image, and start the portal again.",
        ),
        NO_ENDPOINT: Problem(
            "daphne-without-endpoint",
            "daphne",
            f"daphne in container {container} lacks twisted/plugins/fd_endpoint.py, as the wheel of daphne 4.2.0"
            " does: it cannot accept the connections of Supervisor's port (`--fd 0`). Install daphne 4.2.1 or later"
            " in your image.",
        ),
    }
    return [problems[why] for why in inside.get("cannot_serve", ())]


def volume_warnings(look: DockerFacts, service: str) -> list[Problem]:
    """Return a warning where the portal's data is on a volume without a name."""
    container = look["container"]
    if not look["project"] and container and container["unnamed"]:
        return [
            Problem(
                "volume-unnamed",
                container["name"],
                f"The volume of container {container['name']} at TETHYS_PERSIST has no name: the next `docker run`"
                " begins with an empty one, and until the next run of this playbook its portal cannot log in to Redis."
                " Copy its content to a volume with a name, and start the portal with that (`docker run -v`).",
            )
        ]
    if look["project"] and (container["unnamed"] if container else look["persist_mounted"] is False):
        return [
            Problem(
                "volume-unnamed",
                service,
                f"The service {service} mounts no volume at TETHYS_PERSIST, and the one that its image declares has no"
                " name: after `docker compose down` the next container begins with an empty one. Copy its content to a"
                " volume with a name, and mount that there.",
            )
        ]
    return []


def log_warning(container: str) -> Problem:
    """Return a warning where a password in portal_config.yml gets into the container's log."""
    logs = shell_words("docker", "logs", container)
    return Problem(
        "log-has-settings",
        container,
        f"Container {container} printed portal_config.yml to its log when it started (`{logs}`). At its next start it"
        " prints the password of Redis with it. Take that command out of your Salt states.",
    )
