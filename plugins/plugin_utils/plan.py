# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Step 1 of a run: what was asked for and what was found go in, the plan and every reason against it come out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES, UNIT, UNIT_PATH, full_name
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import is_of_the_system, is_shared, who_can
from ansible_collections.tethys.channels.plugins.module_utils.services import REDIS_SOCKET, is_asgi_group
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils import own_files
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import trust
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import (
    MOST_SOCKET_PATH,
    channel_layers,
    redis_endpoints,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, Refusal, codes, texts
from ansible_collections.tethys.channels.plugins.plugin_utils.platforms import (
    engine_refusal,
    library_refusal,
    platform_of,
    supervisor_refusal,
    wants_repository,
    yaml_refusal,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.processes import (
    BACKENDS,
    CORE_BACKEND,
    MAX_PROCESSES,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
    asgi_processes,
    bokeh_pins,
    choice_refusal,
    closest,
    show,
    whole_number,
)

ROLES = Path(__file__).parents[2] / "roles"
BOKEH = ("auto", "in_use", "not_in_use")
VARIABLES = (
    "tethys_home",
    "tethys_conda_prefix",
    "tethys_asgi_processes",
    "tethys_port",
    "tethys_user",
    "tethys_layer_backend",
    "tethys_layer_hosts",
    "tethys_layer_redis",
    "tethys_serial",
    "tethys_bokeh",
    "tethys_bokeh_policy",
    "tethys_asgi_layout",
    "tethys_hosts",
)
# Redis 5 has no users and had its last fix in 2022; 6.0 and 7.0 have none for CVE-2025-49844 (Lua, by any user).
END_OF_LIFE = {"5": "2022-04-27", "6.0": "2022-05", "7.0": "2024-07"}
# Folders of Supervisor's that must not be given to the portal nor taken away with it, besides those that all share.
SYSTEM_FOLDERS = ("/etc/supervisor", "/etc/supervisord.d")
# As useradd takes it, or name@domain, as SSSD and winbind have the users of a directory.
_USER = r"[A-Za-z_][A-Za-z0-9_.-]*\$?(@[A-Za-z0-9][A-Za-z0-9.-]*)?"
# Folders of this collection's own.
OWN_FOLDERS = (str(PurePosixPath(REDIS_SOCKET).parent), "/etc/tethys_channels")
# Where a portal has the certificate of the authority by which it knows the Redis that it shares with others.
SHARED_CA_HERE = f"{PurePosixPath(REDIS_SOCKET).parent}/redis-ca.pem"
# The least that a role's number may be, where that is not 1.
LEAST = {
    "asgi_service_drain_seconds": 0,
    "asgi_service_log_backups": 0,
    "layer_check_idle_seconds": 0,
    "layer_check_processes": 0,
    "redis_container_tls_renew_days": 0,
    "redis_container_memory_mb": 16,
    "redis_container_sentinel_down_seconds": 2,
    "tethys_docker_redis_memory_mb": 16,
}
# The most, where that is less than any number. A certificate is good for two years: one that is made anew sooner than
# after a half would be so in every run, or nearly.
MOST = {"redis_container_tls_renew_days": 365, "redis_container_sentinel_down_seconds": 60}
# A message is thrown away by the clock of whoever reads it, when it is older than `expiry` (60 s by default).
MOST_SECONDS_APART = 20
LARGEST_PORT = 65535
BACKEND = "tethys_layer_backend"
DEFAULT_REDIS_PORT = 6379
# The label by which our container tells how it is reached.
TRANSPORT_LABEL = "tethys.channels.transport"
APART = "socket_per_process"
# The problems that depend on what is known of Bokeh.
BOKEH_CODES = ("bokeh-needs-one-process", "bokeh-facts-invalid")
# What of a plan decides how the server shall be and comes from the look, not from the variables; and what of it is done
# once, where no sum over the server tells that it is due.
GONE_BY = ("pins", "user", "program_path", "selinux", "platform")
GONE_BY_OF_PORTAL = ("group", "site_packages")
CHANGES = ("moves", "install_docker_library", "install_yaml", "adopted_container", "adopted_program", "left_container")


@lru_cache(maxsize=1)
def role_options() -> dict[str, dict[str, Any]]:
    """Every role's variables with their argument specs, read from the roles themselves."""
    options: dict[str, dict[str, Any]] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        specs = own_files.read(path)["argument_specs"]
        for entry in specs.values():
            options.update(entry.get("options") or {})
    return options


@lru_cache(maxsize=1)
def sources() -> dict[str, str]:
    """The role variables that take their value from a `tethys_` variable, with that one."""
    found: dict[str, str] = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        for name, value in own_files.read(path).items():
            match = re.match(r"\{\{ (tethys_\w+)", str(value))
            if match:
                found[name] = match.group(1)
    return found


def misspelt(names: Iterable[str], known: Any = ()) -> list[Problem]:
    """A problem for each variable that looks like this collection's and is not."""
    options = role_options()
    roles = tuple(f"{path.name}_" for path in sorted(ROLES.iterdir()) if path.is_dir())
    # One that is no list is refused by its type.
    own = re.split(r"[,\s]+", known) if isinstance(known, str) else known if isinstance(known, (list, tuple)) else []
    allowed = {*VARIABLES, *options, *(str(name) for name in own)}
    found = []
    for name in sorted(set(names) - allowed):
        if name.startswith("tethys_"):
            near = closest(name, [*VARIABLES, *options])
        elif name.startswith(roles):
            near = closest(name, options)
            if not near:
                continue  # a user's own variable that happens to begin like a role's name
        else:
            continue
        found.append(
            Problem(
                "unknown-variable",
                name,
                f"{name} is not a variable of tethys.channels{near}: correct its name, or, if it is your own, "
                f"list it in preflight_known_variables.",
            )
        )
    return found


def wrong_role_values(values: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Problem]:
    """A problem for each role variable whose value its argument spec does not take.

    A value that came from a `tethys_` variable is judged under that name, the one that the administrator wrote.
    """
    options = role_options()
    found = []
    for name in sorted(set(values) & set(options)):
        value, source = values[name], sources().get(name)
        if source and (value is None or repr(value) == repr(asked.get(source))):
            continue
        if value is None and "default" not in options[name]:
            continue
        reason = _role_value_refusal(name, options[name], value, asked)
        if not reason and source and not name.startswith("layer_check_") and str(value) != str(asked.get(source)):
            # What was judged is the tethys_ variable: a role that went by another value would escape every rule.
            # Hosts may hold a password.
            seen = "differs" if source == "tethys_layer_hosts" else f"is {show(value)}, and differs"
            reason = Problem(
                "source-differs", name, f"{name} {seen} from {source}, by which the run is judged: set {source} only."
            )
        if reason:
            found.append(reason)
    return found


def _plain(value: Any) -> Any:
    """The value without Ansible's own containers: a copy of one of those copies Ansible's templating with it."""
    if isinstance(value, Mapping):
        return {key: _plain(held) for key, held in value.items()}
    return [_plain(held) for held in value] if isinstance(value, list) else value


def _socket_refusal(name: str, value: Any, asked: Mapping[str, Any]) -> Problem | None:
    """Return why the processes' sockets cannot be in that folder, or None."""
    last = (whole_number(asked["tethys_asgi_processes"]) or 1) - 1
    path = f"{value}/tethys_asgi{last}.sock"
    if name != "asgi_service_run_dir" or len(path.encode()) <= MOST_SOCKET_PATH:
        return None
    return Problem(
        "socket-path-too-long",
        name,
        f"{name} is {show(value)}: the path of a socket in it, tethys_asgi{last}.sock, has {len(path.encode())} bytes,"
        f" and the kernel takes {MOST_SOCKET_PATH}. Set it to a folder with a shorter path.",
    )


def _role_value_refusal(
    name: str, described: Mapping[str, Any], value: Any, asked: Mapping[str, Any]
) -> Problem | None:
    option = {key: held for key, held in described.items() if key not in ("description", "version_added", "default")}
    secret = bool(option.pop("no_log", False))
    kind = option.get("type", "str")
    if name == "redis_container_topology" and value == "cluster":
        return Problem(
            "topology-cluster",
            name,
            f"{name} is cluster, and channels_redis cannot use a Redis Cluster: set it to sentinel, or to"
            " standalone, with which several hosts of the group share the messages.",
        )
    if name == "portal_config_layer_options":
        return _layer_options_refusal(name, value, asked)
    if name in ("asgi_service_run_dir", "asgi_service_log_dir"):
        return (
            _path_refusal(name, value, "a folder on the server", unquoted=True)
            or _system_folder(name, value)
            or _socket_refusal(name, value, asked)
        )
    auto = name in ("redis_container_acl", "tethys_docker_redis_acl", "layer_check_idle_seconds")
    if auto:
        kind = option["type"] = "int" if name == "layer_check_idle_seconds" else "bool"
    if kind == "raw" or (auto and value == "auto"):
        return None
    if kind == "int":
        least, most = LEAST.get(name, 1), LARGEST_PORT if name.endswith("_port") else MOST.get(name)
        number = 0 if str(value) == "0" else whole_number(value)
        if number is not None and number >= least and (most is None or number <= most):
            return None
        way_out = f"a whole number (int) {f'from {least} to {most}' if most else f'of at least {least}'}"
    elif value is not None and not ArgumentSpecValidator({name: option}).validate({name: _plain(value)}).error_messages:
        return None
    elif option.get("choices"):
        way_out = "one of " + ", ".join(str(choice) for choice in option["choices"])
    else:
        way_out = f"a value of type {kind}"
    return Problem(
        "value-invalid",
        name,
        f"{name} is {'not shown' if secret else show(value)}: set it to {'auto or ' if auto else ''}{way_out}.",
    )


def _layer_options_refusal(name: str, value: Any, asked: Mapping[str, Any]) -> Problem | None:
    """What the layer's class would not take is refused before a server is touched, not when the file is written."""
    backend = asked.get("tethys_layer_backend")
    if not isinstance(backend, str) or backend not in BACKENDS:
        return None  # refused by itself
    try:
        channel_layers([["127.0.0.1", 6379]], options=value, backend=backend)
    except Refusal as refusal:
        return Problem("layer-options-invalid", name, f"{name}: {refusal}")
    prefix = (value or {}).get("prefix")
    if prefix and not asked.get("tethys_layer_hosts") and not re.fullmatch(r"[A-Za-z0-9_.:-]+", prefix):
        return Problem(
            "prefix-not-for-acl",
            name,
            f"{name} has the prefix {show(prefix)}, which Redis's access rules cannot name: use letters, digits and"
            " the signs _ . : - only.",
        )
    return None


def _ours_refusal(name: str, value: str) -> Problem | None:
    """Why a folder cannot lie in one that this collection makes, and takes away."""
    for own in OWN_FOLDERS:
        if PurePosixPath(own) in (PurePosixPath(value), *PurePosixPath(value).parents):
            return Problem(
                "folder-of-the-collection",
                name,
                f"{name} is {show(value)}, and {own} is this collection's own: set it to another folder.",
            )
    return None


def is_system_folder(folder: PurePosixPath) -> bool:
    """Whether a folder cannot be one of the collection's or the portal's own."""
    return is_shared(str(folder)) or str(folder) in SYSTEM_FOLDERS


def _system_folder(name: str, value: str) -> Problem | None:
    """Why a folder that the system shares cannot be the portal's own."""
    folder = PurePosixPath(value)
    ours = _ours_refusal(name, value)
    if ours:
        return ours
    if not is_system_folder(folder) and ".." not in folder.parts:
        return None
    own = folder / "tethys"
    return Problem(
        "folder-shared",
        name,
        f"{name} is {show(value)}, which is not the portal's alone: set it to a folder of its own, such as {own}.",
    )


def _path_refusal(variable: str, value: Any, what: str, unquoted: bool = False) -> Problem | None:
    """Why a path cannot be used; `unquoted` if it stands in the program's shell line without quotes."""
    if value in (None, ""):
        return Problem("path-missing", variable, f"{variable} is not set: set it to {what}.")
    if not isinstance(value, str) or not PurePosixPath(value).is_absolute():
        return Problem(
            "path-relative", variable, f"{variable} is {show(value)}: set it to {what}, as an absolute path."
        )
    if re.search(r"[\x00-\x1f\x7f\"'`$\\;%]" + (r"|[\s*?\[\](){}<>|&#!~]" if unquoted else ""), value):
        return Problem(
            "path-not-plain",
            variable,
            f"{variable} is {show(value)}, which has a character that Supervisor or a shell would read:"
            " use a plain path.",
        )
    return None


def _slash_refusal(variable: str, value: str) -> Problem | None:
    """A slash that is written one day and left away another would make the program another one each time."""
    return (
        Problem("path-ends-in-slash", variable, f"{variable} is {show(value)}: write it without the slash at its end.")
        if value.endswith("/")
        else None
    )


def check_variables(asked: Mapping[str, Any]) -> list[Problem]:
    """A problem for each `tethys_` variable whose value can be refused without looking at the server."""
    problems: list[Problem | None] = [
        _path_refusal("tethys_home", asked["tethys_home"], "the folder of portal_config.yml")
        or _ours_refusal("tethys_home", asked["tethys_home"])
        or _slash_refusal("tethys_home", asked["tethys_home"]),
        _path_refusal(
            "tethys_conda_prefix", asked["tethys_conda_prefix"], "the Tethys conda environment", unquoted=True
        )
        or _ours_refusal("tethys_conda_prefix", asked["tethys_conda_prefix"])
        or _slash_refusal("tethys_conda_prefix", asked["tethys_conda_prefix"]),
    ]
    port, processes = whole_number(asked["tethys_port"]), whole_number(asked["tethys_asgi_processes"])
    if port is None or port > LARGEST_PORT:
        problems.append(
            Problem(
                "port-invalid",
                "tethys_port",
                f"tethys_port is {show(asked['tethys_port'])}: set it to a port number from 1 to 65535.",
            )
        )
    user = asked["tethys_user"]
    if user not in (None, "") and not (isinstance(user, str) and re.fullmatch(_USER, user)):
        problems.append(
            Problem(
                "user-invalid",
                "tethys_user",
                f"tethys_user is {show(user)}: set it to the name of a user on the server.",
            )
        )
    problems.append(choice_refusal("tethys_bokeh", asked["tethys_bokeh"], BOKEH))
    try:
        # Bokeh is decided once the portal was read; all that can be said of the other values is said here.
        asgi_processes(
            asked["tethys_asgi_processes"],
            bokeh="not_in_use",
            policy=asked["tethys_bokeh_policy"],
            backend=asked["tethys_layer_backend"],
            layout=asked["tethys_asgi_layout"],
        )
    except Refusal as refusal:
        problems.extend(refusal.problems)
    if asked["tethys_asgi_layout"] == APART and port and processes and port + processes - 1 > LARGEST_PORT >= port:
        problems.append(
            Problem(
                "ports-past-the-last",
                "tethys_port",
                f"tethys_port is {port}, and {processes} ports from there do not exist: set a lower one.",
            )
        )
    hosts = asked["tethys_layer_hosts"]
    if hosts not in (None, "", []):
        try:
            redis_endpoints(hosts)
        except Refusal as refusal:
            problems.extend(refusal.problems)
        if asked["tethys_layer_backend"] == MEMORY_BACKEND:
            problems.append(
                Problem(
                    "hosts-without-redis",
                    "tethys_layer_hosts",
                    f"tethys_layer_hosts is given with tethys_layer_backend {MEMORY_BACKEND}, which uses no Redis: "
                    "remove one of the two.",
                )
            )
    shared = asked.get("tethys_layer_redis")
    if shared and hosts not in (None, "", []):
        problems.append(
            Problem(
                "hosts-beside-shared",
                "tethys_layer_hosts",
                f"tethys_layer_hosts is given, and the inventory has hosts for a Redis that the portals share"
                f" ({', '.join(shared)}): remove one of the two.",
            )
        )
    elif shared and asked["tethys_layer_backend"] == MEMORY_BACKEND:
        problems.append(
            Problem(
                "memory-beside-shared",
                "tethys_layer_backend",
                f"tethys_layer_backend is {MEMORY_BACKEND}, and the inventory has hosts for a Redis that the portals"
                f" share ({', '.join(shared)}): remove one of the two.",
            )
        )
    return [problem for problem in problems if problem]


def image_version(image: str) -> str | None:
    """The version that an image's tag tells, as `8.2` or `5`, or None."""
    # A digest behind the tag has a colon of its own.
    found = re.fullmatch(r".*:(\d+(?:\.\d+)?)[^/]*", image.partition("@")[0])
    return found.group(1) if found else None


def image_warning(image: str) -> Problem | None:
    """A warning for an image that no longer gets security fixes."""
    version = image_version(image)
    if version is None or not re.search(r"redis[^/]*:", image):
        return None
    for old, date in END_OF_LIFE.items():
        if version == old or version.startswith(f"{old}."):
            return Problem(
                "image-end-of-life",
                "redis_container_image",
                f"redis_container_image is {image}: Redis {old} had its last security fix by {date}. "
                "Set it to one that still gets them, such as redis:8.2.",
            )
    return None


def image_name(image: str) -> str:
    """An image's name without what an engine takes for granted in it."""
    name = image if re.search(r"[:@][^/]*$", image) else f"{image}:latest"
    return re.sub(r"^(docker\.io/|localhost/)?(library/)?", "", name)


def rotates(values: Mapping[str, Any]) -> bool:
    """Whether this run is to make another password for Redis; a value that is no boolean is refused by its type."""
    return bool(boolean(values.get("redis_container_rotate") or False, strict=False))


def elsewhere(asked: Mapping[str, Any]) -> bool:
    """Whether the portal's server needs no Redis of its own."""
    return bool(
        asked["tethys_layer_hosts"]
        or asked.get("tethys_layer_redis")
        or asked["tethys_layer_backend"] == MEMORY_BACKEND
    )


def port_reasons(values: Mapping[str, Any], options: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Problem]:
    """A port that nothing would listen on."""
    if elsewhere(asked):
        return []
    port = values.get("redis_container_port")
    if values.get("redis_container_topology") == "sentinel":
        return [
            Problem(
                "sentinel-without-shared",
                "redis_container_topology",
                "redis_container_topology is sentinel, and this portal's Redis is its own: leave it away, or put three"
                " servers for a Redis that portals share into the inventory's group `layer_redis`.",
            )
        ]
    if options.get("redis_container_transport") == "tls":
        return [
            Problem(
                "tls-without-shared",
                "redis_container_transport",
                "redis_container_transport is tls, and this portal's Redis is its own: set it to unix, published or"
                " host, or put a server for a Redis that portals share into the inventory's group `layer_redis`.",
            )
        ]
    if options.get("redis_container_transport", "unix") != "unix" or whole_number(port) in (None, DEFAULT_REDIS_PORT):
        return []
    return [
        Problem(
            "port-without-listener",
            "redis_container_port",
            f"redis_container_port is {show(port)}, and redis_container_transport is unix, which has no port: leave"
            " redis_container_port away, or set redis_container_transport to published or host.",
        )
    ]


def rotation_reasons(values: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Problem]:
    """Why it cannot."""
    if not rotates(values):
        return []
    if values.get("redis_container_password"):
        return [
            Problem(
                "rotate-beside-password",
                "redis_container_rotate",
                "redis_container_rotate is true, and redis_container_password is given: set redis_container_password to"
                " another value, and leave redis_container_rotate away.",
            )
        ]
    if asked.get("tethys_layer_redis"):
        return []  # it is for the servers of the Redis that the portals share
    if elsewhere(asked):
        return [
            Problem(
                "rotate-without-redis",
                "redis_container_rotate",
                "redis_container_rotate is true, and the layer's Redis is not one that this collection runs: leave it"
                " away.",
            )
        ]
    return []


def clock_reasons(server: Mapping[str, Any], name: str) -> list[Problem]:
    """Why messages would be lost by the clock."""
    ahead = server.get("clock_ahead")
    if ahead is None or abs(ahead) <= MOST_SECONDS_APART:
        return []
    return [
        Problem(
            "clock-differs",
            name,
            f"The clock of {name} is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the controller's, and"
            " a message that crosses servers is thrown away by its age: set the clocks (`timedatectl set-ntp true`)"
            " and run again.",
        )
    ]


def not_root() -> Problem:
    """The tasks lack the rights that they need."""
    return Problem(
        "not-root",
        "ansible_become",
        "The tasks do not run as root: set ansible_become to true, or ansible_user to root, for this host.",
    )


class Look:
    """What the look at a server found, and what follows from it."""

    def __init__(self, asked: Mapping[str, Any], options: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        self.asked = asked
        self.options = options
        self.portal: Mapping[str, Any] = found.get("portal") or {}
        self.server: Mapping[str, Any] = found.get("server") or {}
        self.packages: Mapping[str, Any] = found.get("packages") or {}
        self.given_redis: Mapping[str, Any] = found.get("redis") or {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.announce: list[str] = []

    def refuse(self, code: str, subject: str, text: str) -> None:
        """Add a problem that ends the run."""
        self.problems.append(Problem(code, subject, text))

    def warn(self, code: str, subject: str, text: str) -> None:
        """Add a problem that does not end the run."""
        self.warnings.append(Problem(code, subject, text))

    @property
    def goal(self) -> str:
        """What the run is for: `site`, `check`, `restart` or `remove`."""
        return str(self.options.get("goal", "site"))

    @property
    def redis(self) -> str:
        """Where the layer's Redis comes from: `container`, `shared`, `given` or `none`."""
        if self.asked["tethys_layer_backend"] == MEMORY_BACKEND:
            return "none"
        if self.asked.get("tethys_layer_redis"):
            return "shared"
        return "given" if self.asked["tethys_layer_hosts"] else "container"

    @property
    def engine(self) -> str:
        """The engine that the container shall be in: `docker` or `podman`."""
        asked = str(self.options.get("redis_container_engine", "docker"))
        return asked if asked in ENGINES else "docker"

    @property
    def loss_of_a_new_image(self) -> str:
        """What is felt where a container is replaced."""
        return (
            "messages of about a second are lost, and the processes restart one at a time, since Redis forgets who"
            " listens"
        )

    @property
    def left_container(self) -> Mapping[str, Any] | None:
        """Our container in the other engine, which goes when the one asked for serves."""
        left = self.server.get("left_container") if self.redis == "container" else None
        return {**left, "restart_policy": "unless-stopped"} if left else None

    @property
    def engine_now(self) -> str:
        """The engine that our container is in at present."""
        left = self.left_container
        return str(left["engine"]) if left and left["running"] and not self.server.get("container") else self.engine

    @property
    def ours_in(self) -> list[str]:
        """The engines in which something of ours is."""
        ours, left = self.server.get("container") or {}, self.server.get("left_container") or {}
        found = {self.engine} if "tethys.channels.config" in ours.get("labels", {}) else set()
        found |= {str(left["engine"])} if left else set()
        return sorted(found | ({"podman"} if self.server.get("redis_unit") else set()))

    @property
    def redis_port(self) -> int:
        """The port of the container, a number also where the command line delivered its digits."""
        return whole_number(self.options["redis_container_port"]) or DEFAULT_REDIS_PORT

    @property
    def transport(self) -> str:
        """How the portal reaches its container: `published`, `host` or `unix`."""
        return str(self.options.get("redis_container_transport", "unix"))

    @property
    def redis_endpoint(self) -> dict[str, Any]:
        """Where the container answers."""
        return {"path": REDIS_SOCKET} if self.transport == "unix" else {"host": "127.0.0.1", "port": self.redis_port}

    @property
    def redis_place(self) -> str:
        """The same in a word."""
        return REDIS_SOCKET if self.transport == "unix" else f"127.0.0.1:{self.redis_port}"

    @property
    def redis_way(self) -> str:
        """What a container carries as its label that is reached as it shall be."""
        group = f" (group {self.portal.get('group')})" if self.transport == "unix" else ""
        return f"{self.transport} {self.redis_place}{group}"

    @property
    def redis_way_now(self) -> str:
        """How our container is reached at present, in the words of `redis_way`; empty where that is not known."""
        ours: Mapping[str, Any] = self.server.get("container") or self.left_container or {}
        ports = ours.get("ports") or []
        # One that was made before there was the label.
        published = f"published 127.0.0.1:{ports[0]}" if ports else ""
        return str((ours.get("labels") or {}).get(TRANSPORT_LABEL) or published)

    @property
    def redis_now(self) -> dict[str, Any]:
        """Where our container answers at present."""
        ours: Mapping[str, Any] = self.server.get("container") or self.left_container or {}
        way = self.redis_way_now
        port = whole_number(way.rpartition(":")[2])
        if not ours.get("running") or not way:
            return self.redis_endpoint
        return {"host": "127.0.0.1", "port": port} if port else {"path": REDIS_SOCKET}

    def of_redis(self, adopted_container: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What of the plan the role redis_container goes by."""
        server = self.server
        # A container of Docker's is stopped by a module that needs the library, whichever engine takes over.
        docker = "docker" in (self.engine, (self.left_container or {}).get("engine")) or bool(adopted_container)
        return {
            "warnings": texts(self.warnings),
            "announce": self.announce,
            "redis": self.redis,
            "engine": self.engine,
            "engine_now": self.engine_now,
            "ours_in": self.ours_in,
            "redis_image": server.get("image_name") or full_name(str(self.options["redis_container_image"])),
            "redis_unit": UNIT,
            "redis_unit_path": UNIT_PATH,
            "transport": self.transport,
            "redis_endpoint": self.redis_endpoint,
            "redis_place": self.redis_place,
            "redis_way": self.redis_way,
            "redis_way_now": self.redis_way_now,
            "redis_now": self.redis_now,
            "redis_socket": REDIS_SOCKET,
            "platform": platform_of(server),
            # Where there is SELinux, a container reads a folder of the server only under a label for it.
            "selinux": (server.get("selinux") or {}).get("mode", "disabled") != "disabled",
            "install_engine": self.redis == "container" and not (server.get(self.engine) or {}).get("installed"),
            "install_docker_library": self.redis == "container" and docker and not server.get("docker_library"),
            "adopted_container": adopted_container,
            "left_container": self.left_container,
            "server": dict(server),
        }

    def portal_reasons(self) -> None:
        """The environment, the home, the file and the user."""
        portal, asked = self.portal, self.asked
        if not self.server.get("root"):
            self.problems.append(not_root())
            return
        blocked = [row for row in portal.get("access") or [] if not row["ok"]]
        prefix = str(asked["tethys_conda_prefix"])
        # That the user cannot start the environment's Python is told once, by what stands in its way.
        startable = not any(row["path"].startswith(prefix) for row in blocked)
        if portal.get("prefix_problem") and startable:
            self.refuse(
                "prefix-unusable",
                "tethys_conda_prefix",
                f"tethys_conda_prefix is {show(asked['tethys_conda_prefix'])}: {_tail(portal['prefix_problem'])}"
                " Set it to the environment in which `tethys` is installed (`conda env list` shows it).",
            )
        # Where nobody could be asked for another reason, nothing is known of the environment.
        elif (
            startable
            and not (portal.get("home_problem") or portal.get("user_problem"))
            and not (portal.get("versions") or {}).get("tethys_platform")
        ):
            self.refuse(
                "tethys-missing",
                "tethys_conda_prefix",
                f"tethys_conda_prefix is {show(asked['tethys_conda_prefix'])}, and tethys-platform is not installed"
                " there: set it to the environment in which `tethys` is installed (`conda env list` shows it).",
            )
        if portal.get("home_problem"):
            self.refuse(
                "home-unusable",
                "tethys_home",
                f"tethys_home is {show(asked['tethys_home'])}: {_tail(portal['home_problem'])}"
                " Set it to the folder of portal_config.yml.",
            )
        if asked["tethys_user"] and portal.get("user_problem"):
            self.refuse(
                "user-unusable",
                "tethys_user",
                f"tethys_user is {show(asked['tethys_user'])}: {_tail(portal['user_problem'])}"
                " Set it to a user of this server.",
            )
        elif not portal.get("user"):
            self.refuse(
                "user-missing",
                "tethys_user",
                "tethys_user is not set and no web server's user (nginx, www-data, apache) was found on this server:"
                " set it to the user that shall run the portal.",
            )
        config = portal.get("config") or {}
        if config.get("problem"):
            self.refuse(
                "config-unsafe",
                str(config.get("path")),
                f"{config.get('path')} cannot be edited safely: {_tail(config['problem'])}"
                " Correct the file and run again.",
            )
        elif portal.get("settings_problem") and not portal.get("prefix_problem") and not portal.get("home_problem"):
            self.warn(
                "settings-unreadable",
                "portal_config.yml",
                f"The portal's settings could not be read: {_tail(portal['settings_problem'])}",
            )
        for place in dict.fromkeys(row["blocked_by"] or row["path"] for row in blocked):
            self.problems.append(
                self._access_reason(place, [row for row in blocked if (row["blocked_by"] or row["path"]) == place])
            )

    def _access_reason(self, place: str, rows: list[Mapping[str, Any]]) -> Problem:
        """One sentence for everything that one file or folder keeps from the portal's user."""
        user, owner, need = self.portal.get("user"), rows[0].get("owner"), rows[0]["need"]
        inside = list(dict.fromkeys(row["path"] for row in rows if row["path"] != place))
        if inside:
            paths = " and ".join(inside[:2]) + (f" and {len(inside) - 2} more" if len(inside) > 2 else "")
            what, right = f"enter {place}, and has to reach {paths}", "x"
        else:
            what = {"traverse": "enter", "execute": "run", "read": "read", "write": "write to"}[need] + f" {place}"
            right = {"traverse": "x", "execute": "rx", "read": "r", "write": "rwX"}[need]
        target, ways_out = str(rows[0].get("real") or place), []
        own = self._can_be_given(target)
        if own or (right == "x" and self._is_on_the_way(target)):
            ways_out.append(f"give it access (`{shell_words('setfacl', '-m', f'u:{user}:{right}', target)}`)")
        elif is_of_the_system(target):
            ways_out.append(f"have the portal use another place, since {target} is the system's own")
        else:
            ways_out.append(
                f"have the portal use a place in tethys_home, or give it access to {target} yourself if that is only"
                " the portal's"
            )
        if own and need == "write" and not inside:
            ways_out.append(f"hand that over (`{shell_words('chown', '-h', user, target)}`)")
        if owner and owner not in (user, "root"):
            ways_out.append(f"set tethys_user to {owner}, whose it is")
        return Problem(
            "user-lacks-access",
            place,
            f"tethys_user {user} (who would run the portal) cannot {what}: {', or '.join(ways_out)}.",
        )

    def _can_be_given(self, path: str) -> bool:
        """Return whether a printed command may give the portal's user rights on a path without links.

        Only in TETHYS_HOME and the environment, which the inventory names: an app can choose any other.
        """
        place = PurePosixPath(path)
        return ".." not in place.parts and any(each in (place, *place.parents) for each in self._own_folders)

    def _is_on_the_way(self, path: str) -> bool:
        """Return whether a path is a folder above TETHYS_HOME or the environment, and not the system's."""
        return any(PurePosixPath(path) in each.parents for each in self._own_folders) and not is_of_the_system(path)

    @property
    def _own_folders(self) -> list[PurePosixPath]:
        return [PurePosixPath(str(self.asked[name])) for name in ("tethys_home", "tethys_conda_prefix")]

    @property
    def could_look(self) -> bool:
        """Whether the portal's Python could be started at all, so that what it did not say means something."""
        return bool(self.server.get("root")) and not any(
            self.portal.get(problem) for problem in ("prefix_problem", "home_problem", "user_problem")
        )

    @property
    def apart(self) -> bool:
        """Whether each process is a program of its own, with a port of its own."""
        return bool(self.asked["tethys_asgi_layout"] == APART)

    @property
    def ports(self) -> list[int]:
        """The ports of the processes; one for all of them, or one for each."""
        first = whole_number(self.asked["tethys_port"]) or 0
        return [first + number for number in range(self.wanted if self.apart else 1)]

    @property
    def wanted(self) -> int:
        """The number of processes asked for, whether it is refused or not."""
        return min(whole_number(self.asked["tethys_asgi_processes"]) or 1, MAX_PROCESSES)

    @property
    def gapless(self) -> bool:
        """Whether somebody serves while a process is replaced."""
        return self.apart and self.wanted > 1

    @property
    def new_layer(self) -> bool:
        """Whether packages or settings change which a process reads when it starts."""
        settings = self.portal.get("settings") or {}
        return bool(self.packages.get("moves") or settings.get("layer_backend") != self.asked["tethys_layer_backend"])

    @property
    def bokeh(self) -> Any:
        """What is known of Bokeh, as `asgi_processes` takes it."""
        if self.asked["tethys_bokeh"] != "auto":
            return self.asked["tethys_bokeh"]
        # Where nobody could look, the reason for that is told already.
        return self.portal.get("bokeh", "unknown") if self.could_look else "not_in_use"

    @property
    def pins(self) -> list[str]:
        """The paths that nginx is to send to one process."""
        return bokeh_pins(self.bokeh) if self.apart and self.asked["tethys_bokeh_policy"] == "pin" else []

    def processes(self) -> int | None:
        """The number of processes, once Bokeh is known."""
        asked, bokeh = self.asked, self.bokeh
        try:
            return asgi_processes(
                asked["tethys_asgi_processes"],
                bokeh=bokeh,
                policy=asked["tethys_bokeh_policy"],
                backend=asked["tethys_layer_backend"],
                layout=asked["tethys_asgi_layout"],
            )
        except Refusal as refusal:
            reason = self.portal.get("bokeh_problem") if bokeh == "unknown" or isinstance(bokeh, list) else None
            why = f" (Why it is not known: {_tail(reason)})" if reason else ""
            if reason and bokeh != "unknown":
                why = f" ({reason.rstrip('.')}.)"
            for problem in refusal.problems:
                told = problem.text + (why if problem.code in BOKEH_CODES else "")
                self.problems.append(replace(problem, text=told))
            return None

    def redis_reasons(self) -> Mapping[str, Any] | None:
        """The container engine and the Redis port; returns the container that is taken over, if there is one."""
        server, engine, title = self.server, self.server.get(self.engine) or {}, ENGINES[self.engine].title
        if self.redis in ("given", "shared"):
            for number, text in enumerate(dict.fromkeys(self.given_redis.get("problems") or [])):
                self.refuse("redis-unusable", f"endpoint {number}", text)
            self._leave_own()
            return None
        if self.redis == "none":
            return None
        image = str(self.options["redis_container_image"])
        warning = image_warning(image)
        if warning:
            self.warnings.append(warning)
        if not engine.get("running"):
            if engine.get("installed"):
                self.refuse(
                    "engine-silent",
                    title,
                    f"{title} is installed on this server and"
                    f" {ENGINES[self.engine].silent.format(problem=engine.get('problem'))}, or set tethys_layer_hosts"
                    " to a Redis that exists already.",
                )
            elif not self.options.get("redis_container_install_engine", True):
                self.refuse(
                    "engine-missing",
                    title,
                    f"{title} is not installed and redis_container_install_engine is false: install it, set that to"
                    " true, or set tethys_layer_hosts to a Redis that exists already.",
                )
            else:
                refusal = engine_refusal(server, self.engine, title)
                if refusal:
                    self.refuse(
                        "engine-not-installable",
                        title,
                        f"{refusal}, or set tethys_layer_hosts to a Redis that exists already.",
                    )
        if self.engine == "podman" and not server.get("redis_unit") and "credentials.json" in server.get("state", []):
            docker = server.get("docker") or {}
            if docker.get("installed") and not docker.get("running"):
                self.warn(
                    "docker-silent-beside-podman",
                    "Docker",
                    "Docker is installed here and its engine does not answer, so that nobody knows whether an earlier"
                    " run's Redis is in it, which would start with it beside the one in Podman: start Docker and run"
                    " again, or see that it never starts.",
                )
        other: Mapping[str, Any] | None = server.get("redis_port_container")
        port = self.redis_port
        ours, left = server.get("container") or {}, self.left_container
        if "docker" in (self.engine, (left or {}).get("engine")):
            self._library_reasons()
        if ours and "tethys.channels.config" not in ours.get("labels", {}):
            self.refuse(
                "container-of-somebody",
                "redis_container_name",
                f"redis_container_name is {ours['name']}, and the container of that name ({ours['image']}) is not this"
                " collection's: set redis_container_name to a name of its own.",
            )
            return None
        if self.transport == "unix" and server.get("socket_folder_problem"):
            self.refuse(
                "socket-folder-unusable",
                str(PurePosixPath(REDIS_SOCKET).parent),
                f"{PurePosixPath(REDIS_SOCKET).parent}, in which Redis's socket shall be,"
                f" {server['socket_folder_problem']}: move it away, or set redis_container_transport to published.",
            )
        if other:
            why = self._not_the_layers(other, port)
            if why is None and left:
                self.refuse(
                    "container-found-beside-left",
                    str(other["name"]),
                    f"Container {other['name']} ({other['image']}) publishes port {port}, which portal_config.yml"
                    f" names, and {left['name']} is still in {ENGINES[str(left['engine'])].title}: stop the former"
                    f" (`{shell_words('docker', 'stop', other['id'])}`) and run again.",
                )
            elif why is None:
                if self.engine != "docker":
                    self._library_reasons()
                self.announce.append(
                    f"Container {other['name']} ({other['image']}), the portal's Redis on port {port} until now, is"
                    " stopped and kept; WebSockets fail from then until the processes have restarted."
                )
                return other
            elif self.transport != "unix":
                self.refuse(
                    "redis-port-published",
                    str(port),
                    f"Container {other['name']} ({other['image']}) publishes port {port}, and {why}: if it served only"
                    f" the channel layer, stop it (`{shell_words('docker', 'stop', other['id'])}`) and run again, else"
                    " set redis_container_port to a free port.",
                )
                return None
        if left and left["running"]:
            self.announce.append(
                f"The layer's Redis runs in {ENGINES[str(left['engine'])].title} until now, and will in {title}"
                " (redis_container_engine): it is replaced, and WebSockets fail from then until their process has"
                " restarted, one after the other."
            )
        way = self.redis_way_now
        backend = (self.portal.get("settings") or {}).get("layer_backend")
        if ours.get("running") and way != self.redis_way:
            self.announce.append(
                f"The layer's Redis is reached by {way or 'another way'}, and will be by {self.redis_way}"
                " (redis_container_transport): it is replaced, and WebSockets fail from then until their process has"
                " restarted, one after the other."
            )
        elif ours.get("running") and backend in (CORE_BACKEND, PUBSUB_BACKEND) and backend != self.asked[BACKEND]:
            self.announce.append(
                f"{BACKEND} changes from {backend} to {self.asked[BACKEND]}: Redis starts anew with other rights, and"
                " WebSockets fail from then until their process has restarted, one after the other."
            )
        elif ours.get("running") and image_name(ours["image"]) != image_name(image):
            self.announce.append(
                f"The Redis container runs {ours['image']} and redis_container_image is {image}: it is replaced,"
                f" {self.loss_of_a_new_image}."
            )
        taken = [] if self.transport == "unix" else [port]
        kept = [number for number in self._ports_of_the_layer() if number not in taken]
        if kept and not ours and not left:
            self.announce.append(
                f"The Redis on port {kept[0]}, which portal_config.yml names until now, is left as it is: stop it where"
                " nobody else uses it."
            )
        if self.transport != "unix" and not any(self._holds_port(one) for one in (ours, left) if one):
            for row in server.get("listeners") or []:
                if row["port"] == port and self.in_the_way(row):
                    self.refuse(
                        "redis-port-in-use",
                        str(port),
                        f"Port {port}, on which Redis shall answer, is held by process {row['pid']} of {row['user']}"
                        f" ({row['command']}): stop it, set redis_container_port to a free port, or, if it is a Redis"
                        f" that the layer may use, set tethys_layer_hosts to [['127.0.0.1', {port}]].",
                    )
                    break
        return None

    def _library_reasons(self) -> None:
        """Why Docker's containers cannot be started and stopped."""
        if self.server.get("docker_library") is False:
            refusal = library_refusal(self.server)
            if refusal:
                self.refuse("docker-library-not-installable", "requests", refusal)

    def _holds_port(self, ours: Mapping[str, Any]) -> bool:
        """Whether a container of ours is why the port is taken."""
        way = ours.get("labels", {}).get(TRANSPORT_LABEL)
        return bool(ours.get("running")) and (
            way == f"host {self.redis_place}" or self.redis_port in ours.get("ports", [])
        )

    def in_the_way(self, listener: Mapping[str, Any]) -> bool:
        """Whether a listener on Redis's port is on the loopback as well."""
        return bool(listener.get("address") != "other")

    def _leave_own(self) -> None:
        """A container of ours that this server's portal does not need any more."""
        ours: Mapping[str, Any] = self.server.get("container") or {}
        name = ours.get("name")
        docker = self.engine == "docker"
        away = shell_words("docker", "rm", "-f", name) if docker else f"systemctl disable --now {UNIT}"
        if self.redis == "shared" and ours.get("running") and "tethys.channels.config" in ours.get("labels", {}):
            self.announce.append(
                f"The layer's messages go through the Redis of {', '.join(self.asked['tethys_layer_redis'])} from now"
                f" on; WebSockets do not hear each other until every process has restarted. Container {name} of"
                f" this server stays: `{away}` removes it when all is well."
            )

    def _not_the_layers(self, other: Mapping[str, Any], port: int) -> str | None:
        """Why a container that publishes the port is somebody else's; None for the manual's own."""
        redis = other.get("redis") or {}
        if redis.get("problem"):
            return f"it cannot be asked what it holds ({redis['problem']})"
        if redis.get("foreign_key"):
            return f"it holds keys that are not a channel layer's ({show(redis['foreign_key'])})"
        if not self._is_the_layers(port):
            return "portal_config.yml names no channel layer on that port of this server"
        return None

    def _is_the_layers(self, port: int) -> bool:
        """Whether the portal's own settings have its channel layer on that port of this server."""
        return port in self._ports_of_the_layer()

    def _ports_of_the_layer(self) -> list[int]:
        """The ports of this server on which the portal's own settings have its channel layer."""
        settings = self.portal.get("settings") or {}
        if not str(settings.get("layer_backend") or "").startswith("channels_redis."):
            return []
        here = {"127.0.0.1", "localhost", "::1", self.server.get("name")}
        ports: list[int] = []
        # channels_redis, told no hosts, takes this one. An app can set anything in place of a list.
        hosts = settings.get("layer_hosts") or [["localhost", 6379]]
        for host in hosts if isinstance(hosts, list) else []:
            try:
                found = redis_endpoints([host])
            except Refusal:
                continue
            ports += [endpoint["port"] for endpoint in found if endpoint["host"] in here and endpoint["port"]]
        return ports

    @property
    def program_path(self) -> str | None:
        """Where the portal's program is, or shall be: in the first folder of which Supervisor reads any file."""
        programs, supervisor = self.server.get("programs") or [], self.server.get("supervisor") or {}
        if programs:
            return str(programs[0]["path"])
        if not supervisor.get("installed"):
            return ((platform_of(self.server) or {}).get("supervisor") or {}).get("program_file")
        patterns = [
            text for text in supervisor.get("include") or [] if re.fullmatch(r"[^*?\[]*/[^*?\[/]*\*[^*?\[/]*", text)
        ]
        return patterns[0].replace("*", "asgi_supervisord") if patterns else None

    def program_reasons(self) -> Mapping[str, Any] | None:
        """Supervisor, the program and the port; returns the program file that is taken over, if there is one."""
        server, supervisor = self.server, self.server.get("supervisor") or {}
        if supervisor.get("installed") and not supervisor.get("running"):
            if supervisor.get("silent"):
                self.refuse(
                    "supervisor-silent",
                    "Supervisor",
                    "A supervisord runs on this server and does not answer on its unix socket: set [unix_http_server]"
                    " in its configuration (Debian's has it), restart it, and run again.",
                )
            elif platform_of(server):
                self.announce.append("Supervisor is installed and not running: it will be started.")
            else:
                self.refuse(
                    "supervisor-not-startable",
                    "Supervisor",
                    "Supervisor is installed and not running, and this collection does not know how this system starts"
                    " it: start it first.",
                )
        if supervisor.get("installed") and "include" in supervisor and not self.program_path:
            self.refuse(
                "supervisor-includes-nothing",
                "Supervisor",
                f"{supervisor.get('config') or 'The configuration of Supervisor'} names no folder in its [include] of"
                " which Supervisor reads any file: give it one (`files = /etc/supervisord.d/*.ini`), restart"
                " Supervisor, and run again.",
            )
        if not supervisor.get("installed"):
            refusal = supervisor_refusal(server)
            if refusal:
                self.refuse("supervisor-not-installable", "Supervisor", refusal)
            elif wants_repository(server):
                self.announce.append(
                    "Supervisor is not installed, and comes from EPEL: the package epel-release adds that repository to"
                    " this server."
                )
        programs: list[Mapping[str, Any]] = server.get("programs") or []
        if len(programs) > 1:
            files = " and ".join(program["path"] for program in programs)
            self.refuse(
                "program-in-two-files",
                "asgi",
                f"Supervisor's program asgi is defined in {files}: leave it in one file only.",
            )
            return None
        program = programs[0] if programs else None
        if program and program["others"]:
            self.refuse(
                "program-not-alone",
                str(program["path"]),
                f"{program['path']} defines {', '.join(program['others'])} besides the portal's program, and would lose"
                " it: move the portal's program (asgi) into a file of its own.",
            )
        for port in self.ports:
            self._port_reasons(port)
        if program and not program["managed"] and program["user"] != self.portal.get("user"):
            self.problems.extend(self._leftover_reasons(program["user"]))
        if program and not program["managed"]:
            before = f"run by {program['user']}" if program["user"] != self.portal.get("user") else "as they are"
            how = (
                "nginx goes over to the new ones"
                if self.gapless
                else "Supervisor stops and starts them together for it"
            )
            self.announce.append(
                f"{program['path']} is taken over (processes {before} until now; they will run as"
                f" {self.portal.get('user')}): {how}."
            )
            return program
        return None

    def _port_reasons(self, port: int) -> None:
        """Who else is on a port that one of the portal's processes is to have."""
        server, first = self.server, self.ports[0]
        served = {row["pid"] for row in server.get("processes") or []}
        held = [row for row in server.get("listeners") or [] if row["port"] == port and row.get("address") != "other"]
        # Supervisor holds the sockets of its fcgi-programs itself; which of its programs serves there is what matters.
        known = {*served, (server.get("supervisor") or {}).get("pid")}
        strangers = [
            row for row in held if row["pid"] not in known and not is_asgi_group(str(row.get("program") or ""))
        ]
        if not strangers or any(row["pid"] in served for row in held):
            return
        row = strangers[0]
        who = f"process {row['pid']} of {row['user']} ({row['command']})"
        if port != first:
            self.refuse(
                "port-in-use",
                str(port),
                f"tethys_port is {first}, and port {port}, which the processes need besides ({APART}), is held by"
                f" {who}: stop it, or set tethys_port to the first of as many free ports as there are processes.",
            )
        elif row.get("program"):
            self.refuse(
                "port-in-use",
                str(port),
                f"tethys_port {port} is held by Supervisor's program {row['program']} ({who}), and the portal's"
                " program is to be asgi: rename it to asgi in its file, or take that file away, and run"
                " `supervisorctl update`; or set tethys_port to another port, to which nginx then has to send the"
                " portal's requests.",
            )
        else:
            self.refuse(
                "port-in-use",
                str(port),
                f"tethys_port {port} is held by {who}, which is not the portal's under Supervisor: stop it, or set"
                " tethys_port to the port that nginx sends the portal's requests to.",
            )

    def moves(self, processes: int | None, adopted: bool) -> None:
        """Say beforehand what those who use the portal will feel of the processes' coming and going."""
        server = self.server
        there = len(server.get("processes") or [])
        programs = server.get("programs") or []
        if not there or not processes or adopted:
            return
        before = programs[0]["layout"] if programs else self.asked["tethys_asgi_layout"]
        if programs:
            self._program_changes(programs[0])
        if before != self.asked["tethys_asgi_layout"]:
            gap = "WebSockets are closed" if self.gapless else "requests of the seconds until they answer fail"
            self.announce.append(
                f"tethys_asgi_layout changes from {before} to {self.asked['tethys_asgi_layout']}: every process is"
                f" replaced, and {gap}."
            )
        elif not self.apart and programs and self._port_of(programs[0]) not in (None, self.ports[0]):
            self.announce.append(
                f"tethys_port changes from {self._port_of(programs[0])} to {self.ports[0]}: Supervisor stops and starts"
                " the processes together for it, and requests fail until the proxy in front sends them to the new port,"
                " which is yours to change."
            )
        elif there != processes and not self.apart:
            self.announce.append(
                f"Supervisor runs {there} process(es) and tethys_asgi_processes is {processes}: it"
                " stops and starts them together for it, and requests of those seconds fail."
            )
        elif there > processes:
            self.announce.append(
                f"Of {there} processes {there - processes} end once nginx has let go of them, and their WebSockets are"
                " closed."
            )
        elif processes == there == 1 and self.new_layer:
            self.announce.append(
                "The one process has to restart for the new layer: requests of the seconds until it answers again fail."
            )

    def _program_changes(self, program: Mapping[str, Any]) -> None:
        """Show what changes in our own program: another folder of logs, or what an earlier version did not write."""
        logs, new_logs = program.get("logs"), self.options.get("asgi_service_log_dir")
        changes = []
        if logs and new_logs and PurePosixPath(logs) != PurePosixPath(new_logs):
            changes.append(f"logs go to {new_logs} (asgi_service_log_dir), and those in {logs} stay there")
        if program.get("unbuffered") is False:
            changes.append("requests are logged at once")
        if changes:
            how = (
                "The processes restart one at a time"
                if self.apart
                else ("Supervisor stops and starts the processes together, once, and requests of those seconds fail")
            )
            self.announce.append(f"{program['path']} changes: {'; '.join(changes)}. {how}.")

    @staticmethod
    def _port_of(program: Mapping[str, Any]) -> int | None:
        """The port on which the processes of a program listen."""
        return whole_number(str(program.get("socket") or "").rpartition(":")[2])

    def selinux_warning(self) -> None:
        """What SELinux keeps from nginx, unless the ports are labelled for it, which takes seconds to find out."""
        selinux = self.server.get("selinux") or {}
        enforcing = selinux.get("mode") == "enforcing"
        if self.goal in ("site", "check") and enforcing and selinux.get("web_connects") is False:
            ports = f"{self.ports[0]}-{self.ports[-1]}" if len(self.ports) > 1 else str(self.ports[0])
            self.warn(
                "selinux-blocks-nginx",
                "httpd_can_network_connect",
                "SELinux is enforcing here and its boolean httpd_can_network_connect is off, so that nginx reaches the"
                f" portal only on ports of the type http_port_t: switch it on (`setsebool -P httpd_can_network_connect"
                f" on`), or give the ports that type (`semanage port -a -t http_port_t -p tcp {ports}`, with -m in"
                " place of -a where they have another).",
            )

    def nginx_reasons(self) -> None:
        """The upstream block, through which alone nginx can tell the processes apart."""
        nginx = self.server.get("nginx") or {}
        if not self.apart or self.goal == "remove":
            # Without an nginx that runs there is nothing to put back.
            if nginx.get("problem") and nginx.get("running") and self.goal in ("site", "remove"):
                self.refuse(
                    "nginx-not-restorable",
                    "nginx",
                    f"nginx's upstream block is to be put back as it was: {_tail(nginx['problem'])}",
                )
            return
        if nginx.get("problem"):
            self.refuse(
                "nginx-unusable",
                "nginx",
                f"tethys_asgi_layout is {APART}, which needs nginx's upstream block for the portal:"
                f" {_tail(nginx['problem'])}",
            )
            return
        if self.pins and nginx.get("method"):
            self.refuse(
                "balancing-method-beside-pins",
                str(nginx["path"]),
                f"tethys_bokeh_policy is pin, and the upstream block in {nginx['path']} has a balancing method of its"
                f" own ({nginx['method']}): take that line away, or set tethys_bokeh_policy to single.",
            )
        if nginx.get("websocket_problem"):
            self.warn("nginx-websockets", "nginx", _tail(nginx["websocket_problem"]))

    def trust_reasons(self, adopted: Mapping[str, Any] | None) -> trust.Verdict:
        """Who besides root could steer the run."""
        starts_nginx = self.apart or "nginx_upstream.original" in (self.server.get("state") or [])
        found = trust.verdict(
            self.server.get("trust"), starts_nginx=starts_nginx, adopted=str(adopted["path"]) if adopted else None
        )
        self.problems.extend(self._others_programs())
        # Checks report everything on their page and change nothing.
        if self.goal != "check":
            self.problems.extend(found.refusals)
            self.warnings.extend(found.warnings)
        return found

    def _others_programs(self) -> Iterable[Problem]:
        """Refuse the portal's programs in a file that others can change: Supervisor would run them, or merge them in.

        A run of `site` and of `remove` replaces the one file that there is.
        """
        server = self.server
        programs = server.get("programs") or []
        writers = {row["path"]: row["writers"][0] for row in (server.get("trust") or {}).get("open") or []}
        ours = any(program["managed"] for program in programs) or "program.original" in (server.get("state") or [])
        if self.goal == "check" or (self.goal == "remove" and not ours):
            return
        if self.goal == "restart" or (self.goal == "remove" and len(programs) > 1):
            for path in (str(program["path"]) for program in programs if program["path"] in writers):
                yield (
                    Problem(
                        "program-open-to-others",
                        path,
                        f"{path} defines a program of the portal's (asgi or tethys_asgi and a number), which"
                        f" Supervisor starts, and {who_can(writers[path])} can change it: read that file, and delete"
                        " the program from it.",
                    )
                )
        for path in server.get("unread_programs") or []:
            if path in writers:
                yield (
                    Problem(
                        "program-unreadable",
                        path,
                        f"{path} cannot be read, and {who_can(writers[path])} can change it, so it may define a"
                        " program of the portal's, which Supervisor starts: it has to be a configuration file of at"
                        " most 64 KiB that its owner can read, or take it away.",
                    )
                )

    def restart_reasons(self) -> None:
        """A restart is of our own program, with as many processes as asked for."""
        programs = [program for program in self.server.get("programs") or [] if program["managed"]]
        asked = str(self.asked["tethys_asgi_processes"])
        if not programs:
            self.refuse(
                "program-not-managed",
                "asgi",
                "The portal's processes are not run by this collection yet: run tethys.channels.site first.",
            )
        elif programs[0]["layout"] != self.asked["tethys_asgi_layout"]:
            self.refuse(
                "layout-differs",
                "tethys_asgi_layout",
                f"tethys_asgi_layout is {self.asked['tethys_asgi_layout']} and the processes run as"
                f" {programs[0]['layout']}: run tethys.channels.site, which changes the layout.",
            )
        elif programs[0]["numprocs"] != asked:
            self.refuse(
                "number-differs",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {asked} and the program has {programs[0]['numprocs']}: run"
                " tethys.channels.site, which changes the number.",
            )

    def gaps(self) -> None:
        """What users notice of a restart that was asked for, and of a removal."""
        there = len(self.server.get("processes") or [])
        if self.goal == "restart" and there == 1:
            self.announce.append("The one process restarts: requests of the seconds until it answers again fail.")
        elif self.goal == "remove" and there and any(each["managed"] for each in self.server.get("programs") or []):
            found = "program.original" in (self.server.get("state") or [])
            then = "those of the program that was found" if found else "one process on the in-memory layer"
            self.announce.append(
                f"The processes are stopped, and {then} started in their place: WebSockets are"
                " closed, and requests of those seconds may fail."
                + (
                    " If that program is the manual's link into TETHYS_HOME, Supervisor starts what the file there says"
                    " now, with root's rights if it says so: read it first."
                    if found
                    else ""
                )
            )

    def _leftover_reasons(self, before: str) -> Iterable[Problem]:
        """What the user who ran the portal until now has left in its data folders, and the new one cannot write."""
        user = self.portal.get("user")
        for row in self.portal.get("leftovers") or []:
            if row["owner"] == before:
                folder = str(row.get("real") or row["folder"])
                command = f"{shell_words('find', folder, '-user', before, '-exec', 'chown', '-h', user)} {{}} +"
                hand_over = f" (`{command}`)" if self._can_be_given(folder) else ""
                more = f" and {row['count'] - 1} more in {row['folder']}" if row["count"] > 1 else ""
                stay = f", or set tethys_user to {before}" if before != "root" else ""
                yield (
                    Problem(
                        "file-of-previous-user",
                        str(row["folder"]),
                        f"tethys_user {user} (who would run the portal) cannot write {row['example']}{more}, of"
                        f" {before}, who runs it until now: hand that over{hand_over}{stay}.",
                    )
                )


def _tail(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", ")", "?")) else text + "."


def _sum_of(*parts: Any) -> str:
    """A sum over parts of a plan."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def plan(asked: Mapping[str, Any], options: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """The plan of a run, with every reason against it.

    Args:
        asked: the `tethys_` variables, each with its default.
        options: the roles' variables that matter to the decision.
        found: `names` and `values` of the host's variables, `known` ones of the user's own, and what the modules
            returned (`portal`, `server`, `packages`, `redis`); without `server`, only the variables are judged.

    Returns:
        `refusals`, `warnings` and `announce` (sentences), and, where nothing is refused, what the roles do. They do
        nothing where `as_proved` says that all is as a run has left and proved it whose plan had the same `sum`.
    """
    look = Look(asked, options, found)
    problems = [
        *misspelt(found.get("names") or [], found.get("known") or []),
        *wrong_role_values(found.get("values") or {}, asked),
        *check_variables(asked),
        *rotation_reasons(found.get("values") or {}, asked),
        *(port_reasons(found.get("values") or {}, options, asked) if look.goal in ("site", "check") else []),
    ]
    # Where to look is known before anything was seen.
    result: dict[str, Any] = {
        "refusals": texts(problems),
        "codes": codes(problems),
        "warnings": [],
        "announce": [],
        "ports": look.ports,
    }
    if not found.get("server"):
        return result

    look.portal_reasons()
    if look.redis == "shared" and look.goal in ("site", "check"):
        found_by_clock = look.problems if look.goal == "site" else look.warnings
        found_by_clock.extend(clock_reasons(look.server, "this server"))
    adopted_container = adopted_program = processes = None
    if look.goal in ("site", "remove") and look.server.get("root") and look.server.get("yaml_library") is False:
        refusal = yaml_refusal(look.server)
        if refusal:
            look.problems.append(Problem("yaml-not-installable", "PyYAML", refusal))
    if look.goal == "site" and look.server.get("root"):
        adopted_container = look.redis_reasons()
        adopted_program = look.program_reasons()
        if look.packages.get("msg"):
            look.problems.append(Problem("packages-unusable", "channels_redis", _tail(str(look.packages["msg"]))))
    elif look.goal == "restart" and look.server.get("root"):
        look.restart_reasons()
    if look.server.get("root"):
        look.nginx_reasons()
        look.selinux_warning()
    trusted = look.trust_reasons(adopted_program)
    if look.goal != "remove":
        processes = look.processes()
    look.gaps()
    serial = whole_number((found.get("values") or {}).get("tethys_serial"))
    at_once = whole_number(options.get("hosts_at_once")) or 0
    if look.goal == "site" and serial and at_once > serial:
        look.problems.append(
            Problem(
                "serial-exceeded",
                "tethys_serial",
                f"tethys_serial is {serial}, and {at_once} portals would be done at once: a play cannot see a variable"
                f" of the inventory, so give it on the command line, with -e tethys_serial={serial}.",
            )
        )
    problems.extend(problem for problem in look.problems if problem not in problems)

    portal, server = look.portal, look.server
    if look.goal == "site":
        look.moves(processes, bool(adopted_program))
        if rotates(found.get("values") or {}):
            look.announce.append(
                "redis_container_rotate is true: Redis gets a new password, and the processes restart one at a time."
            )
    if portal.get("lifecycle_consumer") is False and look.could_look:
        version = (portal.get("versions") or {}).get("tethys_platform")
        look.warnings.append(
            Problem(
                "delivery-not-verifiable",
                "tethys_platform",
                f"Tethys {version} has no consumer to prove delivery through (Tethys 4.4 brings it):"
                " the layer is provisioned, and the run cannot prove that messages arrive.",
            )
        )
    supervisor = server.get("supervisor") or {}
    result.update(
        refusals=texts(problems),
        codes=codes(problems),
        processes=processes,
        layout=asked["tethys_asgi_layout"],
        pins=look.pins,
        user=portal.get("user"),
        shared_ca=SHARED_CA_HERE,
        moves=look.packages.get("moves") or [],
        program_path=look.program_path,
        install_supervisor=not supervisor.get("installed"),
        start_supervisor=not supervisor.get("running"),
        install_yaml=server.get("yaml_library") is False,
        adopted_program=adopted_program,
        managed=any(program["managed"] for program in server.get("programs") or []),
        portal=dict(portal),
        trust={"lines": trust.lines(trusted, portal), "problems": texts(trusted.refusals)},
        **look.of_redis(adopted_container),
    )
    nginx = (server.get("nginx") or {}).get("path")
    result["sum"] = _sum_of([result[name] for name in GONE_BY], [portal.get(name) for name in GONE_BY_OF_PORTAL], nginx)
    result["as_proved"] = (
        look.goal == "site"
        and not problems
        and server.get("proved_plan") == result["sum"]
        and not any(result[name] for name in CHANGES)
        # Where the proof sees nothing of the messages, it cannot stand for the rest.
        and portal.get("lifecycle_consumer") is not False
        # Of an earlier layout, what nginx had before is still to be put back.
        and look.apart == ("nginx_upstream.original" in (server.get("state") or []))
    )
    return result
