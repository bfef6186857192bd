# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A channel layer for Tethys Docker: what was asked for and what was found go in, the plan and the files come out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import yaml
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PORTAL_USER
from ansible_collections.tethys.channels.plugins.module_utils.secrets import without_secrets
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import compose, trust
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import (
    is_system_folder,
    misspelt,
    wrong_role_values,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_env import docker_env
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, Refusal, codes, texts
from ansible_collections.tethys.channels.plugins.plugin_utils.processes import (
    CORE_BACKEND,
    MAX_PROCESSES,
    MEMORY_BACKEND,
    bokeh_in_use,
    choice_refusal,
    show,
    whole_number,
)

HEADER = "# Managed by tethys.channels: each run of its role tethys_docker writes this file anew.\n"
BOKEH = ("auto", "in_use", "not_in_use")
CARRIERS = ("compose", "dockerfile")
REDIS = ("compose", "container")
VARIABLES = ("ASGI_PROCESSES", "CHANNEL_LAYERS_BACKEND", "CHANNEL_LAYERS_CONFIG")
# Inside the Redis container.
MOUNT = "/etc/tethys-channels"
# The network of a Redis that is started directly, as our compose file calls it.
OUTSIDE = "tethys_channels"
CONFIG_LABEL = "tethys.channels.config"
# `!override` and `!reset`, by which our file takes a list of the user's file away, came with 2.24.
LEAST_COMPOSE = (2, 24)
# Docker's own rules for a name.
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
# Lists and mappings that Compose merges: what the user's file has there would stay.
_MERGED = ("environment", "networks", "ports", "tmpfs", "volumes")


class _Replaced(dict[str, Any]):
    """A mapping that takes the place of the one in the user's file."""


class _ReplacedList(list[Any]):
    """A list that does."""


class _Dumper(yaml.SafeDumper):
    """YAML for Compose."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _Loader(yaml.SafeLoader):
    """Reads what the dumper wrote."""


_Loader.add_multi_constructor("!", lambda _loader, _tag, _node: None)
_Dumper.add_representer(_Replaced, lambda dumper, data: dumper.represent_mapping("!override", data))
_Dumper.add_representer(_ReplacedList, lambda dumper, data: dumper.represent_sequence("!override", data))


def layers(asked: Mapping[str, Any], credentials: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The setting CHANNEL_LAYERS; without credentials, as the variables carry it."""
    backend, hosts = asked["tethys_docker_layer_backend"], asked["tethys_docker_layer_hosts"]
    login = None
    if not hosts and backend != MEMORY_BACKEND:
        hosts, login = (
            [{"host": asked["tethys_docker_redis_service"], "port": 6379}],
            credentials and {key: credentials[key] for key in ("username", "password")},
        )
    return channel_layers(hosts, login, asked["tethys_docker_layer_options"], backend)


def further(asked: Mapping[str, Any], credentials: Mapping[str, Any] | None, layers_now: Any) -> dict[str, Any]:
    """Return what CHANNEL_LAYERS gets besides `default`: the login in each layer that the same Redis serves."""
    if not credentials or asked["tethys_docker_layer_hosts"] or asked["tethys_docker_layer_backend"] == MEMORY_BACKEND:
        return {}
    login = {key: credentials[key] for key in ("username", "password")}
    return compose.further_logins(layers_now, asked["tethys_docker_redis_service"], login)


def carried(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The setting CHANNEL_LAYERS as the variables bring it about, without a secret."""
    layer = layers(asked)["default"]
    return {"default": {"BACKEND": layer["BACKEND"], "CONFIG": without_secrets(layer.get("CONFIG", {}))}}


def environment(asked: Mapping[str, Any], carrier: str) -> dict[str, str]:
    """The three variables as the carrier has to hold them."""
    layer = carried(asked)["default"]
    return {
        "ASGI_PROCESSES": str(whole_number(asked["tethys_docker_asgi_processes"])),
        "CHANNEL_LAYERS_BACKEND": layer["BACKEND"],
        "CHANNEL_LAYERS_CONFIG": docker_env(layer["CONFIG"], carrier),
    }


def config_sum(redis: Mapping[str, Any]) -> str:
    """A sum of all that Redis reads when it starts, its users' passwords included.

    The sum of `redis_settings` leaves them out, since there a running server is told of a new one. This one can be
    reached by the portal only, and is made anew. The admin's password, which nobody chose, keeps a guessable one safe.
    """
    secret = redis["credentials"]
    told = "\n".join([redis["config_sum"], secret["admin_password"], secret["password"]])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def dockerfile_block(asked: Mapping[str, Any]) -> str:
    """The ENV instructions of a Dockerfile."""
    return "\n".join(f"ENV {name}={value}" for name, value in environment(asked, "dockerfile").items())


class _Plan:
    """The decisions of one run."""

    def __init__(self, asked: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        self.asked = {name.removeprefix("tethys_docker_"): value for name, value in asked.items()}
        self.written = asked
        self.look: Mapping[str, Any] = found.get("docker") or {}
        self.portal: Mapping[str, Any] = found.get("portal") or {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.announce: list[str] = []
        self.processes: int | None = None

    def refuse(self, code: str, subject: str, text: str) -> None:
        """Add a problem that ends the run."""
        self.problems.append(Problem(code, subject, text))

    def warn(self, code: str, subject: str, text: str) -> None:
        """Add a problem that does not end the run."""
        self.warnings.append(Problem(code, subject, text))

    @property
    def absent(self) -> bool:
        """Whether the layer shall go."""
        return bool(self.asked["state"] == "absent")

    @property
    def wrote(self) -> bool:
        """Whether an earlier run wrote our file or our block."""
        return bool(self.look["override"]["ours"] or self.look["dockerfile"]["ours"])

    @property
    def ours(self) -> bool:
        """Whether anything of ours is there for this project."""
        redis, inside = self.look["redis_container"] or {}, self.look["inside"] or {}
        return bool(self.wrote or redis.get("ours") or inside.get("kept"))

    @property
    def redis_before(self) -> str | None:
        """The service under which an earlier run had Compose run Redis."""
        try:
            services = (yaml.load(self.look["override"]["text"], _Loader) or {})["services"]  # noqa: S506 - a SafeLoader
            names = (str(name) for name, held in services.items() if CONFIG_LABEL in (held.get("labels") or {}))
            # It becomes a word of a command.
            return next((name for name in names if _NAME.fullmatch(name)), None)
        except (yaml.YAMLError, AttributeError, KeyError, TypeError):
            return None

    @property
    def redis(self) -> str:
        """Where the layer's Redis comes from: `compose`, `container`, `given` or `none`."""
        if self.asked["layer_backend"] == MEMORY_BACKEND:
            return "none"
        return "given" if self.asked["layer_hosts"] else str(self.asked["redis"])

    # --- the variables ----------------------------------------------------------------------------------------------

    def variables(self) -> None:
        """What can be refused without a look at the server."""
        asked = self.asked
        folder = asked["project_dir"]
        if not isinstance(folder, str) or not PurePosixPath(folder).is_absolute():
            seen = f"is {show(folder)}" if folder else "is not set"
            self.refuse(
                "path-relative",
                "tethys_docker_project_dir",
                f"tethys_docker_project_dir {seen}: set it to the folder of the compose file (or of the Dockerfile) on"
                " the server, as an absolute path.",
            )
        for name, choices in (("carrier", CARRIERS), ("redis", REDIS), ("state", ("present", "absent"))):
            wrong = choice_refusal(f"tethys_docker_{name}", asked[name], choices)
            if wrong:
                self.problems.append(wrong)
        for name in ("portal_service", "redis_service", "container", "network"):
            if not isinstance(asked[name], str) or not _NAME.fullmatch(asked[name]):
                self.refuse(
                    "name-invalid",
                    f"tethys_docker_{name}",
                    f"tethys_docker_{name} is {show(asked[name])}: set it to a name as Docker takes it, of letters,"
                    " digits, and _ . - after the first.",
                )
        kept = PurePosixPath(str(asked["credentials_dir"]))
        if not kept.is_absolute() or ".." in kept.parts or is_system_folder(kept):
            self.refuse(
                "folder-shared",
                "tethys_docker_credentials_dir",
                f"tethys_docker_credentials_dir is {show(asked['credentials_dir'])}: set it to a folder of its own, as"
                " an absolute path, such as /etc/tethys-channels-docker.",
            )
        for name in ("redis_image", "user"):
            if not isinstance(asked[name], str) or not asked[name]:
                what = "an image with its tag" if name == "redis_image" else "the user that runs the portal in it"
                self.refuse(
                    "value-missing",
                    f"tethys_docker_{name}",
                    f"tethys_docker_{name} is {show(asked[name])}: set it to {what}.",
                )
        for name in ("override_file", "dockerfile"):
            value = asked[name]
            if not isinstance(value, str) or not value or "/" in value or value in (".", ".."):
                self.refuse(
                    "file-name-invalid",
                    f"tethys_docker_{name}",
                    f"tethys_docker_{name} is {show(value)}: set it to the name of a file in"
                    " tethys_docker_project_dir.",
                )
            elif name == "override_file" and PurePosixPath(value).suffix not in (".yml", ".yaml"):
                self.refuse(
                    "file-name-invalid",
                    "tethys_docker_override_file",
                    f"tethys_docker_override_file is {show(value)}: set it to a name that ends in .yml or .yaml.",
                )
        wrong = choice_refusal("tethys_bokeh", asked["bokeh"], BOKEH)
        if wrong:
            self.problems.append(wrong)
        number = whole_number(asked["asgi_processes"])
        if number is None or number > MAX_PROCESSES:
            self.refuse(
                "processes-invalid",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {show(asked['asgi_processes'])}: set it to a whole number from 1 to"
                f" {MAX_PROCESSES}, written in digits.",
            )
        else:
            self.processes = number
        try:
            # The name of Redis's service is judged above.
            layers({**self.written, "tethys_docker_redis_service": "redis"})
        except Refusal as refusal:
            self.problems.extend(refusal.problems)
        prefix = (asked["layer_options"] or {}).get("prefix") if isinstance(asked["layer_options"], Mapping) else None
        if prefix and self.redis in REDIS and not re.fullmatch(r"[A-Za-z0-9_.:-]+", str(prefix)):
            self.refuse(
                "prefix-not-for-acl",
                "tethys_docker_layer_options",
                f"tethys_docker_layer_options has the prefix {show(prefix)}, which Redis's access rules cannot name:"
                " use letters, digits and the signs _ . : - only.",
            )

    # --- the server -------------------------------------------------------------------------------------------------

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
                f"tethys_docker_project_dir is {show(asked['project_dir'])}, and there is no such folder on the server:"
                " set it to the folder of the compose file (or of the Dockerfile).",
            )
            return
        if look["files"]:
            self.compose()
        elif asked["carrier"] == "compose" or self.redis == "compose":
            self.refuse(
                "compose-file-missing",
                "tethys_docker_project_dir",
                f"tethys_docker_project_dir is {show(asked['project_dir'])}, and Compose finds no file of its own"
                " there: set it to the folder of docker-compose.yml, or set tethys_docker_carrier to dockerfile and"
                " tethys_docker_redis to container.",
            )
        if asked["carrier"] == "dockerfile":
            self.dockerfile()
        of = look["credentials_of"]
        if of and PurePosixPath(of) != PurePosixPath(asked["project_dir"]) and (self.redis in REDIS or self.absent):
            self.refuse(
                "credentials-of-other-project",
                "tethys_docker_credentials_dir",
                f"tethys_docker_credentials_dir is {asked['credentials_dir']}, and the credentials in it are those of"
                f" the project in {of}: set it to a folder of this project's own.",
            )
        if self.absent:
            return
        self.first_run()
        self.other_redis()
        if self.redis == "container" and (look["redis_container"] or {}).get("ours") is False:
            self.refuse(
                "container-of-somebody",
                "tethys_docker_redis_service",
                f"tethys_docker_redis_service is {asked['redis_service']}, and a container of that name"
                f" ({look['redis_container']['image']}) is not this collection's: remove it, or set"
                " tethys_docker_redis_service to another name.",
            )

    def first_run(self) -> None:
        """A volume that nobody can look at: what it holds could not be kept before it is changed."""
        look, container = self.look, self.look["container"]
        if self.wrote or (container and (container["running"] or not container["persisted"])):
            return
        if container or look["volume"]:
            what = f"container {container['name']}" if container else f"service {self.asked['portal_service']}"
            self.refuse(
                "volume-unreadable",
                "tethys_docker_portal_service",
                f"The portal's volume is there, and its {what} does not run, so that nobody can look what the volume"
                " holds: start the portal as it was until now, so that this can be kept before it is changed.",
            )

    def other_redis(self) -> None:
        """The layer's Redis of until now, where another one is asked for."""
        asked, before = self.asked, self.redis_before
        if (self.look["redis_container"] or {}).get("ours") and self.redis != "container":
            before = f"container {asked['redis_service']}"
        elif before and (self.redis != "compose" or before != asked["redis_service"]):
            before = f"service {before}"
        else:
            return
        self.refuse(
            "redis-left-behind",
            "tethys_docker_redis_service",
            f"The layer's Redis runs as {before} until now, which would be left behind, since the variables ask for"
            " another one: run once with -e tethys_docker_state=absent, and then this again.",
        )

    def removal(self) -> None:
        """What stands in the way of putting back what the portal's volume held."""
        look, container, inside = self.look, self.look["container"], self.look["inside"] or {}
        if look["elsewhere"] and not look["override"]["ours"]:
            self.refuse(
                "override-file-elsewhere",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {self.asked['override_file']}, and an earlier run wrote"
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
            name = container["name"] if container else self.asked["portal_service" if look["files"] else "container"]
            by_hand = (
                ""
                if container or look["files"]
                else (
                    " If its volume is gone, delete the block, Redis's container and"
                    f" {self.asked['credentials_dir']} yourself."
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
        look, asked, project = self.look, self.asked, self.look["project"]
        if not look["compose"]:
            self.refuse(
                "compose-missing",
                "Docker Compose",
                "Docker's Compose plugin is not on this server: install it (Debian 13 and later: `apt install"
                " docker-compose`).",
            )
            return
        version = tuple(int(number) for number in re.findall(r"\d+", look["compose"])[:2])
        if version < LEAST_COMPOSE:
            self.refuse(
                "compose-too-old",
                "Docker Compose",
                f"Docker's Compose plugin has the version {look['compose']}, and"
                f" {'.'.join(map(str, LEAST_COMPOSE))} is the first that this collection can use: install a newer one.",
            )
        override = look["override"]
        if override["exists"] and not override["ours"] and not self.absent:
            self.refuse(
                "override-file-of-somebody",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {asked['override_file']}, and that file is there and not this"
                " collection's: set it to another name, such as docker-compose.channels.yml.",
            )
        elif look["earlier"]:
            self.refuse(
                "override-file-elsewhere",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {asked['override_file']}, and Compose still reads"
                f" {' and '.join(look['earlier'])}, which an earlier run wrote: delete that, or set"
                " tethys_docker_override_file to its name.",
            )
        elif self.absent:
            pass
        elif look["in_place"]:
            self.refuse(
                "override-file-shadowed",
                "tethys_docker_override_file",
                f"tethys_docker_override_file is {asked['override_file']}, and Compose reads {look['in_place']} in its"
                " place: set it to a name that Compose does not look for by itself, such as"
                " docker-compose.channels.yml.",
            )
        elif not look["reads_ours"]:
            names = ":".join([*look["files"], asked["override_file"]])
            self.warn(
                "override-file-not-read",
                "tethys_docker_override_file",
                f"Compose does not read {asked['override_file']} by itself: for your own calls of `docker compose`,"
                f" write COMPOSE_FILE={names} into the file .env beside it.",
            )
        if look["problem"]:
            self.refuse(
                "compose-file-unusable",
                str(look["files"][0]),
                f"Compose cannot use {' and '.join(look['files'])}: {look['problem']}. Correct that.",
            )
            return
        if not project["portal"]:
            self.refuse(
                "portal-service-unknown",
                "tethys_docker_portal_service",
                f"tethys_docker_portal_service is {asked['portal_service']}, and the services of"
                f" {' and '.join(look['files'])} are {', '.join(project['services'])}: set it to the portal's.",
            )
            return
        if self.absent:
            return
        mode = project["portal"]["network_mode"]
        if mode and self.redis in REDIS:
            self.refuse(
                "network-mode-set",
                "tethys_docker_portal_service",
                f"The service {asked['portal_service']} (tethys_docker_portal_service) has network_mode {mode}, with"
                " which it can join no network of Redis's: take network_mode out of the compose file, or set"
                " tethys_layer_hosts to a Redis that the portal reaches.",
            )
        if asked["carrier"] == "dockerfile":
            stronger = [name for name in VARIABLES if name in project["portal"]["env"]]
            if stronger:
                self.refuse(
                    "compose-outranks-dockerfile",
                    "tethys_docker_carrier",
                    f"tethys_docker_carrier is dockerfile, and the service {asked['portal_service']} sets"
                    f" {' and '.join(stronger)} in the compose file, which wins: take that out, or set"
                    " tethys_docker_carrier to compose.",
                )
        if self.redis == "compose":
            self.redis_service()

    def redis_service(self) -> None:
        """A service of Redis's name that the user's file has already, such as the manual's."""
        asked, project = self.asked, self.look["project"]
        theirs = project["redis"]
        if not theirs:
            return
        name, image = asked["redis_service"], theirs["image"] or "built from a Dockerfile"
        way_out = "set tethys_docker_redis_service to another name, such as channels-redis."
        if not re.search(r"(redis|valkey)[^/]*$", image):
            self.refuse(
                "service-not-redis",
                "tethys_docker_redis_service",
                f"tethys_docker_redis_service is {name}, and the service of that name is no Redis ({image}): {way_out}",
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
                f" from now on{published}; the file itself stays as it is."
            )

    def dockerfile(self) -> None:
        """The file that takes the ENV block."""
        about, name = self.look["dockerfile"], self.asked["dockerfile"]
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

    # --- the portal -------------------------------------------------------------------------------------------------

    def bokeh(self) -> None:
        """The single-process rule, and what only several processes need."""
        number, asked = self.processes, self.asked
        if number is None or number == 1:
            return
        if asked["layer_backend"] == MEMORY_BACKEND:
            self.refuse(
                "memory-layer-needs-one-process",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {number} with tethys_layer_backend {MEMORY_BACKEND}, where only the sender's"
                f" own process hears a message: set tethys_asgi_processes to 1, or tethys_layer_backend to"
                f" {CORE_BACKEND}.",
            )
        if asked["bokeh"] not in BOKEH:
            return
        bokeh, why = asked["bokeh"], ""
        if bokeh == "auto":
            bokeh, why = self.asked_portal()
        in_use = bokeh_in_use(bokeh)
        if in_use:
            known = ", or tethys_bokeh to not_in_use where no app uses it" if bokeh == "unknown" else ""
            self.refuse(
                "bokeh-needs-one-process",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {number} and {in_use}, whose pages work in a single process only: set"
                f" tethys_asgi_processes to 1{known}.{why}",
            )

    def asked_portal(self) -> tuple[Any, str]:
        """What is known of Bokeh, and why it is not known."""
        container, image = self.look["container"], self.look["image_id"]
        if not container or not container["running"]:
            return "unknown", " (Why it is not known: the portal's container does not run, so nobody can be asked.)"
        if image and image != container["image_id"]:
            return "unknown", " (Why it is not known: the portal's image is newer than the container that runs.)"
        problem = self.portal.get("bokeh_problem")
        return self.portal.get("bokeh", "unknown"), f" (Why it is not known: {problem})" if problem else ""

    def inside(self) -> None:
        """What a portal that runs has to put up with."""
        look, container, inside = self.look, self.look["container"], self.look["inside"] or {}
        if inside.get("problem"):
            self.refuse(
                "user-unusable",
                "tethys_docker_user",
                f"tethys_docker_user is {show(self.asked['user'])}, and nothing can be run as that user in container"
                f" {container['name']}: {inside['problem']}. Set it to the user that runs the portal there.",
            )
            return
        if container and self.recreates:
            data = (self.portal.get("settings") or {}).get("data") or []
            self.problems += compose.loose_data(data, container["mounts"], container["name"])
        if not container or not self.processes or self.asked["state"] == "absent":
            return
        if self.asked["start"] and self.asked["carrier"] == "compose" and look["project"]:
            wanted = environment(self.written, "compose")
            if any(container["env"].get(name) != value for name, value in wanted.items()):
                self.announce.append(
                    f"Container {container['name']} is made anew, since its variables change: the portal does not"
                    " answer until it has started again."
                )
        if inside.get("set_up"):
            before = inside.get("processes")
            if before != self.processes:
                self.announce.append(
                    f"The portal's volume was set up before, and Tethys Docker ignores ASGI_PROCESSES then: the number"
                    f" of processes ({before} until now, {self.processes} from now on) is changed inside the container."
                    " Supervisor stops and starts them together for it, and requests of those seconds fail."
                )
            settings = self.portal.get("settings") or {}
            now = settings.get("channel_layers")
            if isinstance(now, Mapping) and isinstance(now.get("default"), Mapping):
                # The in-memory layer needs no CONFIG, and the variables carry an empty one.
                now = {**now, "default": {"CONFIG": {}, **now["default"]}}
            # Layers besides `default` are the project's own.
            if settings.get("layer_backend", self.asked["layer_backend"]) != self.asked["layer_backend"] or (
                now and without_secrets({"default": now.get("default")}) != carried(self.written)
            ):
                self.announce.append(
                    "The portal's volume was set up before, and Tethys Docker ignores CHANNEL_LAYERS_BACKEND and"
                    " CHANNEL_LAYERS_CONFIG then: CHANNEL_LAYERS is changed inside the container."
                )
            self.further_layers(settings.get("channel_layers"))
        if not container["persisted"]:
            self.warn(
                "volume-missing",
                str(container["name"]),
                f"Container {container['name']} has no volume at TETHYS_PERSIST: what is changed inside is lost when it"
                " is made anew, until the next run.",
            )

    @property
    def recreates(self) -> bool:
        """Whether the run makes Compose replace the portal's container."""
        ours, container = self.look["override"]["ours"], self.look["container"]
        if self.absent:
            return bool(ours)
        if not self.processes or not self.asked["start"] or self.asked["carrier"] != "compose":
            return False
        wanted = environment(self.written, "compose")
        return not ours or any(container["env"].get(name) != value for name, value in wanted.items())

    def further_layers(self, layers: Any) -> None:
        """Layers besides `default` on the Redis that gets a password."""
        if self.redis not in REDIS:
            return
        service = self.asked["redis_service"]
        self.problems += compose.mixed_refusals(layers, service, PORTAL_USER)
        new = compose.lacking_login(layers, service, PORTAL_USER)
        if new:
            self.announce.append(compose.login_announcement(new))


def docker_plan(asked: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a run, with every reason against it.

    Args:
        asked: the role's variables, by their names.
        found: `names` and `values` of the host's variables, `known` ones of the user's own, and what the modules
            returned (`docker`, `portal`); without `docker`, only the variables are judged.

    Returns:
        `refusals`, `warnings` and `announce` (sentences), and what the role does.
    """
    plan = _Plan(asked, found)
    values = dict(found.get("values") or {})
    plan.variables()
    problems = [
        *misspelt(found.get("names") or [], found.get("known") or []),
        *(
            problem
            for problem in wrong_role_values(
                {name: value for name, value in values.items() if name.startswith("tethys_docker_")},
                {
                    "tethys_asgi_processes": plan.asked["asgi_processes"],
                    "tethys_layer_backend": plan.asked["layer_backend"],
                    "tethys_layer_hosts": plan.asked["layer_hosts"],
                    "tethys_bokeh": plan.asked["bokeh"],
                },
            )
            # Said already, in words of its own.
            if problem.subject not in {known.subject for known in plan.problems}
        ),
    ]
    if not found.get("docker"):
        refused = [*problems, *plan.problems]
        return {"refusals": texts(refused), "codes": codes(refused), "warnings": [], "announce": []}
    plan.server()
    if plan.absent:
        plan.removal()
    else:
        plan.bokeh()
    plan.inside()
    look = plan.look
    trusted = trust.verdict(look.get("trust"))
    plan.problems += trusted.refusals
    plan.warnings += trusted.warnings
    container, inside = look["container"] or {}, look["inside"] or {}
    env = container.get("env") or {}
    prefix = f"{env.get('CONDA_HOME', '/opt/conda')}/envs/{env.get('CONDA_ENV_NAME', 'tethys')}"
    home = env.get("TETHYS_HOME", "/usr/lib/tethys")
    persist = env.get("TETHYS_PERSIST", "/var/lib/tethys_persist")
    refused = [*problems, *plan.problems]
    return {
        "refusals": texts(refused),
        "codes": codes(refused),
        "warnings": texts(plan.warnings),
        "announce": plan.announce,
        # The portal's own files are inside the container, whose user root never is.
        "trust": trust.lines(trusted, {}),
        "processes": plan.processes,
        "redis": plan.redis,
        "files": [*look["files"], plan.asked["override_file"]],
        "container": container.get("id"),
        "running": bool(container.get("running")),
        "kept": inside.get("kept"),
        "ours": plan.ours,
        # Whether the volume was set up by this very container, and so with the variables that it has.
        "set_up_here": (inside.get("set_up_at") or 0) >= container.get("created", 0) > 0,
        "redis_before": plan.redis_before,
        "prefix": prefix,
        "home": home,
        "persist": persist,
        "port": whole_number(env.get("TETHYS_PORT")) or 8000,
        "docker": dict(look),
    }


def override_file(asked: Mapping[str, Any], look: Mapping[str, Any], redis: Mapping[str, Any] | None = None) -> str:
    """The text of our compose file.

    Args:
        asked: the role's variables, by their names.
        look: what `tethys_docker_info` returned.
        redis: what `redis_settings` returned, where Redis is a service.
    """
    ours = {name.removeprefix("tethys_docker_"): value for name, value in asked.items()}
    project = look["project"]
    portal: dict[str, Any] = {}
    services: dict[str, Any] = {ours["portal_service"]: portal}
    networks: dict[str, Any] = {}
    kind = _Plan(asked, {"docker": look}).redis
    if ours["carrier"] == "compose":
        portal["environment"] = environment(asked, "compose")
    if kind in REDIS:
        network = ours["network"]
        if kind == "container":
            networks[OUTSIDE] = {"external": True, "name": network}
            network = OUTSIDE
        elif network not in project["networks"]:
            # Nothing of a channel layer has business outside; a port can only be published where it has.
            networks[network] = {"internal": not ours.get("redis_port")}
        joined = project["portal"]["networks"]
        if network not in joined:
            # A service that names networks is no longer on the default one by itself.
            portal["networks"] = {name: None for name in [*joined, network]}
        if kind == "compose":
            portal["depends_on"] = {ours["redis_service"]: {"condition": "service_healthy"}}
            services[ours["redis_service"]] = _redis_service(ours, project, network, redis or {})
    if not portal:
        del services[ours["portal_service"]]
    text = _escaped({"services": services, **({"networks": networks} if networks else {})})
    return HEADER + yaml.dump(text, Dumper=_Dumper, sort_keys=False, width=1000)


def _escaped(value: Any) -> Any:
    """The same in plain types, with every dollar sign doubled, since Compose would take one for a variable."""
    if isinstance(value, Mapping):
        plain = {str(key): _escaped(held) for key, held in value.items()}
        return _Replaced(plain) if isinstance(value, _Replaced) else plain
    if isinstance(value, (list, tuple)):
        rows = [_escaped(held) for held in value]
        return _ReplacedList(rows) if isinstance(value, _ReplacedList) else rows
    if isinstance(value, str):
        return str(value).replace("$", "$$")
    return value if value is None or isinstance(value, bool) else int(value)


def _redis_service(
    ours: Mapping[str, Any], project: Mapping[str, Any], network: str, redis: Mapping[str, Any]
) -> dict[str, Any]:
    """Redis with the hardening of the role redis_container."""
    uid, memory = ours["redis_uid"], f"{ours['redis_memory_mb']}m"
    port = ours.get("redis_port")
    service: dict[str, Any] = {
        "image": ours["redis_image"],
        "restart": "unless-stopped",
        "entrypoint": ["redis-server"],
        "command": [f"{MOUNT}/redis.conf"],
        "user": f"{uid}:{uid}",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "pids_limit": 64,
        "networks": {network: None},
        "ports": [f"127.0.0.1:{port}:6379"] if port else [],
        # Some images declare a volume, and nothing is ever kept in it.
        "tmpfs": ["/data:size=1m"],
        "volumes": [
            {
                "type": "bind",
                # As redis_settings will make it.
                "source": redis.get("config_dir") or f"{ours['credentials_dir']}/redis",
                "target": MOUNT,
                "read_only": True,
                "bind": {"create_host_path": False},
            }
        ],
        "environment": {},
        "healthcheck": {
            # Without a password: an answer of any kind shows that the server works through its queue.
            "test": ["CMD-SHELL", "redis-cli ping 2>&1 | grep -qE 'PONG|NOAUTH'"],
            "interval": "3s",
            "timeout": "3s",
            "retries": 5,
        },
        "logging": {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}},
        # A changed configuration makes a new container.
        "labels": {CONFIG_LABEL: config_sum(redis) if redis else ""},
    }
    theirs = (project["redis"] or {}).get("keys", [])
    for key in _MERGED:
        held = service[key]
        if key in theirs:
            service[key] = _Replaced(held) if isinstance(held, dict) else _ReplacedList(held)
        elif not held:
            del service[key]
    return service
