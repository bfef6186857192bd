# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Tethys Docker reads: our compose file, the block of a Dockerfile, and the setting CHANNEL_LAYERS."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Union

import yaml
from ansible_collections.tethys.channels.plugins.module_utils.compose.project import FOLDER_LABEL
from ansible_collections.tethys.channels.plugins.module_utils.docker_facts import ComposeProject, DockerFacts
from ansible_collections.tethys.channels.plugins.module_utils.redis.answer import Credentials, SettingsAnswer
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PORTAL_USER
from ansible_collections.tethys.channels.plugins.module_utils.secrets import without_secrets
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import compose
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_env import docker_env
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_inputs import DockerInputs
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import Layer, channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CONFIG_LABEL, MEMORY_BACKEND, texts
from ansible_collections.tethys.channels.plugins.plugin_utils.redis_container import MOUNT, Container, Health, Volume
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number

HEADER = "# Managed by tethys.channels: each run of its role tethys_docker rewrites this file.\n"
REDIS = ("compose", "container")
# The network of a Redis that is started directly, as our compose file calls it.
OUTSIDE = "tethys_channels"
# What a service of the user's file keeps beside our Redis: how others find it, and what they read of it.
_KEPT = ("container_name", "expose", "hostname", "labels")


class Files(TypedDict):
    """The texts that the role writes, and CHANNEL_LAYERS with its secrets.

    Args:
        override: our compose file, empty where Compose has no part.
        dockerfile: the block of the Dockerfile.
        container: the options of Docker's module for a Redis that is started directly.
        layers: CHANNEL_LAYERS.
        further: layers besides `default` on the same Redis, with its login.
        bare: the same without a login.
        locked_out: why such layers cannot get the login.
        is_ours: whether CHANNEL_LAYERS was set up from the role's variables.
    """

    override: str
    dockerfile: str
    container: dict[str, Any]
    layers: dict[str, Layer]
    further: dict[str, Layer]
    bare: dict[str, Layer]
    locked_out: list[str]
    is_ours: bool


class _Replaced(dict[str, "Node"]):
    """A mapping that takes the place of the one in the user's file."""


class _ReplacedList(list["Node"]):
    """A list that does."""


class _Reset:
    """What takes a key of the user's file away."""


# What a compose file consists of.
Node = Union[str, int, bool, None, _Reset, list["Node"], dict[str, "Node"]]


class _Dumper(yaml.SafeDumper):
    """YAML for Compose."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class Loader(yaml.SafeLoader):
    """Reads what the dumper wrote."""


Loader.add_multi_constructor("!", lambda _loader, _tag, _node: None)
_Dumper.add_representer(_Replaced, lambda dumper, data: dumper.represent_mapping("!override", data))
_Dumper.add_representer(_Reset, lambda dumper, data: dumper.represent_scalar("!reset", "null"))
_Dumper.add_representer(_ReplacedList, lambda dumper, data: dumper.represent_sequence("!override", data))


def _login(credentials: Credentials) -> compose.Login:
    return {"username": credentials["username"], "password": credentials["password"]}


def layers(asked: DockerInputs, credentials: Credentials | None = None) -> dict[str, Layer]:
    """The setting CHANNEL_LAYERS; without credentials, as the variables carry it."""
    backend, hosts = asked.layer_backend, asked.layer_hosts
    login: compose.Login | None = None
    if not hosts and backend != MEMORY_BACKEND:
        hosts = [{"host": asked.redis_service, "port": 6379}]
        login = _login(credentials) if credentials else None
    return channel_layers(hosts, login, asked.layer_options, backend)


def further(asked: DockerInputs, credentials: Credentials | None, layers_now: Any) -> dict[str, Layer]:
    """Return what CHANNEL_LAYERS gets besides `default`: the login in each layer that the same Redis serves."""
    if not credentials or asked.layer_hosts or asked.layer_backend == MEMORY_BACKEND:
        return {}
    login = _login(credentials)
    served = compose.Served(asked.redis_service, login["username"], layers(asked)["default"])
    return compose.further_logins(layers_now, served, login)


def _served(asked: DockerInputs) -> compose.Served:
    return compose.Served(asked.redis_service, PORTAL_USER, layers(asked)["default"])


def bare(asked: DockerInputs, layers_now: Any) -> dict[str, Layer]:
    """Return the further layers that the same Redis serves, without the login that a run wrote into them."""
    return {} if redis_of(asked) not in REDIS else compose.without_logins(layers_now, _served(asked))


def locked_out(asked: DockerInputs, layers_now: Any) -> list[str]:
    """Return why further layers that the same Redis serves cannot get the login."""
    return [] if redis_of(asked) not in REDIS else texts(compose.further_refusals(layers_now, _served(asked)))


def is_ours(asked: DockerInputs, layers_now: Any) -> bool:
    """Return whether CHANNEL_LAYERS was set up from our variables, whatever else has been changed in it since.

    An app's state may add layers, or set another BACKEND, at the first start of a portal.
    """
    default = layers_now.get("default") if isinstance(layers_now, Mapping) else None
    config = default.get("CONFIG") if isinstance(default, Mapping) else None
    return isinstance(default, Mapping) and without_secrets(config or {}) == carried(asked)["default"]["CONFIG"]


def our_services(text: str) -> list[str]:
    """Return the names of the services of ours in the text of our compose file; none where it is damaged."""
    try:
        services = (yaml.load(text, Loader) or {})["services"]  # noqa: S506 - a SafeLoader
        return [str(name) for name, held in services.items() if CONFIG_LABEL in (held.get("labels") or {})]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return []


def carried(asked: DockerInputs) -> dict[str, Layer]:
    """The setting CHANNEL_LAYERS as the variables bring it about, without a secret."""
    layer = layers(asked)["default"]
    return {"default": {"BACKEND": layer["BACKEND"], "CONFIG": without_secrets(layer.get("CONFIG", {}))}}


def environment(asked: DockerInputs, carrier: str) -> dict[str, str]:
    """The three variables as the carrier has to hold them."""
    layer = carried(asked)["default"]
    return {
        "ASGI_PROCESSES": str(whole_number(asked.asgi_processes)),
        "CHANNEL_LAYERS_BACKEND": layer["BACKEND"],
        "CHANNEL_LAYERS_CONFIG": docker_env(layer["CONFIG"], carrier),
    }


def config_sum(redis: SettingsAnswer) -> str:
    """A digest of all that Redis reads when it starts, its users' passwords included.

    The digest of `redis_settings` leaves them out, since there a running server gets a new one. This one can be
    reached by the portal only, and is recreated. The admin's password, which nobody chose, keeps a guessable one safe.
    """
    secret = redis["credentials"]
    told = "\n".join([redis["config_sum"], secret["admin_password"], secret["password"]])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def dockerfile_block(asked: DockerInputs) -> str:
    """The ENV instructions of a Dockerfile."""
    return "\n".join(f"ENV {name}={value}" for name, value in environment(asked, "dockerfile").items())


def redis_of(asked: DockerInputs) -> str:
    """Return where the layer's Redis comes from, by the role's variables: `compose`, `container`, `given` or `none`."""
    if asked.layer_backend == MEMORY_BACKEND:
        return "none"
    return "given" if asked.layer_hosts else str(asked.redis)


def override_file(asked: DockerInputs, look: DockerFacts, redis: SettingsAnswer | None = None) -> str:
    """The text of our compose file.

    Args:
        asked: the role's variables.
        look: what `tethys_docker_info` returned.
        redis: what `redis_settings` returned, where Redis is a service.
    """
    # It may have been found by its image.
    portal_service = look.get("portal_service") or asked.portal_service
    project = look["project"]
    if project is None:
        raise ValueError("this file needs a project")
    portal: dict[str, Node] = {}
    services: dict[str, Node] = {portal_service: portal}
    networks: dict[str, Node] = {}
    kind = redis_of(asked)
    if asked.carrier == "compose":
        portal["environment"] = {**environment(asked, "compose")}
    if kind in REDIS:
        network = asked.network
        if kind == "container":
            networks[OUTSIDE] = {"external": True, "name": network}
            network = OUTSIDE
        elif network not in project["networks"]:
            # Nothing of a channel layer has business outside; a port can only be published where it has.
            networks[network] = {"internal": not asked.redis_port}
        joined = (project["portal"] or {})["networks"]
        if network not in joined:
            # A service that names networks is no longer on the default one.
            portal["networks"] = {name: None for name in [*joined, network]}
        if kind == "compose":
            portal["depends_on"] = {asked.redis_service: {"condition": "service_healthy"}}
            services[asked.redis_service] = _redis_service(asked, project, network, redis)
    if not portal:
        del services[portal_service]
    text = _escaped({"services": services, **({"networks": networks} if networks else {})})
    return HEADER + yaml.dump(text, Dumper=_Dumper, sort_keys=False, width=1000)


def files(asked: DockerInputs, look: DockerFacts, redis: SettingsAnswer | None, layers_now: Any) -> Files:
    """Return all that the role writes.

    Args:
        asked: the role's variables.
        look: what `tethys_docker_info` returned.
        redis: what `redis_settings` returned, nothing where it has not run.
        layers_now: CHANNEL_LAYERS as the portal has it.
    """
    credentials, writes = (redis or {}).get("credentials"), asked.state == "present"
    return {
        "override": override_file(asked, look, redis) if writes and look.get("project") else "",
        "dockerfile": dockerfile_block(asked),
        "container": _docker_options(asked, redis) if redis else {},
        "layers": layers(asked, credentials),
        "further": further(asked, credentials, layers_now),
        "bare": bare(asked, layers_now),
        "locked_out": locked_out(asked, layers_now),
        "is_ours": is_ours(asked, layers_now),
    }


def _escaped(value: Any) -> Any:
    """The same in plain types, with every dollar sign doubled, since Compose would take one for a variable."""
    if isinstance(value, Mapping):
        plain = {str(key): _escaped(held) for key, held in value.items()}
        return _Replaced(plain) if isinstance(value, _Replaced) else plain
    if isinstance(value, (list, tuple)):
        rows = [_escaped(held) for held in value]
        return _ReplacedList(rows) if isinstance(value, _ReplacedList) else rows
    if isinstance(value, _Reset):
        return value
    if isinstance(value, str):
        return str(value).replace("$", "$$")
    return value if value is None or isinstance(value, bool) else int(value)


def redis_container(asked: DockerInputs, redis: SettingsAnswer | None) -> Container:
    """Return the container of Redis, which runs as a service or is started directly."""
    uid, port = asked.redis_uid, asked.redis_port
    # As redis_settings will make it.
    folder = (redis or {}).get("config_dir") or f"{asked.credentials_dir}/redis"
    return Container(
        command=[f"{MOUNT}/redis.conf"],
        user=f"{uid}:{uid}",
        memory_mb=asked.redis_memory_mb,
        # A port published on every address also passes by ufw.
        ports=[f"127.0.0.1:{port}:6379"] if port else [],
        volumes=[Volume(folder, MOUNT)],
        # The portal's container, or the run, waits for the first answer.
        health=Health(interval=3),
        # A changed configuration makes a new container.
        labels={CONFIG_LABEL: config_sum(redis) if redis else ""},
    )


def _redis_service(
    asked: DockerInputs, project: ComposeProject, network: str, redis: SettingsAnswer | None
) -> dict[str, Node]:
    """Redis with the hardening of the role redis_container."""
    service = {"image": asked.redis_image, **redis_container(asked, redis).compose(network)}
    return _replacing(service, (project["redis"] or {}).get("keys", []))


def _docker_options(asked: DockerInputs, redis: SettingsAnswer) -> dict[str, Any]:
    """Return the options of a Redis that is started directly; by its label, absent takes away no other project's."""
    container = redis_container(asked, redis)
    return replace(container, labels={**container.labels, FOLDER_LABEL: asked.project_dir}).docker()


def _replacing(service: dict[str, Node], theirs: Sequence[str]) -> dict[str, Node]:
    """Return our service as it has to be written over one of the user's, of which it keeps next to nothing.

    Compose merges lists and mappings, and keeps every key that our file does not name: another build, more rights, the
    host's processes, no health check, several instances.
    """
    gone = [key for key in theirs if key not in service and key not in _KEPT]
    # Compose shows the variables of an env_file as the service's own.
    gone += ["env_file"] if "environment" in theirs else []
    found: dict[str, Node] = {key: _Reset() for key in gone}
    for key, held in service.items():
        if key in theirs and key not in _KEPT and isinstance(held, (dict, list)):
            found[key] = _Replaced(held) if isinstance(held, dict) else _ReplacedList(held)
        elif held or held is False:
            found[key] = held
    return found
