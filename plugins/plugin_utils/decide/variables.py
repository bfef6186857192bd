# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validate the inventory's variables, before a server is inspected."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from ansible_collections.tethys.channels.plugins.module_utils.portal_names import LONGEST_NAME, PortalNames, is_name
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import is_shared
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.plugin_utils.class_choice import named_workers
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import processes as processes_place
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.bokeh import asgi_processes
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import MOST_SOCKET_PATH
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    APART,
    AUTO,
    BACKENDS,
    DEFAULT_REDIS_PORT,
    LARGEST_PORT,
    MEMORY_BACKEND,
    Data,
    Problem,
    Refusal,
    names_of,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import is_mapping, list_of, mapping_of, texts_of
from ansible_collections.tethys.channels.plugins.plugin_utils.role_variables import ROLES, role_options, sources
from ansible_collections.tethys.channels.plugins.plugin_utils.values import (
    choice_refusal,
    closest,
    is_of_option,
    show,
    truth,
    whole_number,
)

BOKEH = ("auto", "in_use", "not_in_use")
VARIABLES = (
    "tethys_home",
    "tethys_conda_prefix",
    "tethys_portal_name",
    "tethys_asgi_processes",
    "tethys_port",
    "tethys_bind_address",
    "tethys_supervisor_config",
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
# Folders of Supervisor's that must not be given to the portal nor taken away with it, besides those that all share.
SYSTEM_FOLDERS = ("/etc/supervisor", "/etc/supervisord.d")
# As useradd takes it, or name@domain, as SSSD and winbind have the users of a directory.
_USER = r"[A-Za-z_][A-Za-z0-9_.-]*\$?(@[A-Za-z0-9][A-Za-z0-9.-]*)?"
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
# The maximum, if there is one. A certificate is valid for two years: with a larger value, nearly every run would renew
# it.
MOST = {"redis_container_tls_renew_days": 365, "redis_container_sentinel_down_seconds": 60}

# The type of what may be `auto` as well.
AUTOMATIC = {
    "redis_container_acl": "bool",
    "tethys_docker_redis_acl": "bool",
    "layer_check_idle_seconds": "int",
    "layer_check_port": "int",
    "asgi_service_port": "int",
    "asgi_service_watch": "bool",
}

STATUS_FILES = ("layer_check_status_json", "layer_check_status_prometheus", "layer_check_status_html")


def misspelt(names: Iterable[str], known: object = ()) -> list[Problem]:
    """A problem for each variable that looks like this collection's and is not."""
    options = role_options()
    roles = tuple(f"{path.name}_" for path in sorted(ROLES.iterdir()) if path.is_dir())
    # A value that is not a list is refused by its type.
    own = known.replace(",", " ").split() if isinstance(known, str) else texts_of(known)
    allowed = {*VARIABLES, *options, *own}
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


def wrong_role_values(values: Data, asked: Data) -> list[Problem]:
    """A problem for each role variable whose value its argument spec does not take.

    A value from a `tethys_` variable is checked under that name, which the administrator wrote.
    """
    options = role_options()
    found = []
    for name in sorted(set(values) & set(options)):
        value, source = values[name], sources().get(name)
        is_chosen = source == "tethys_layer_backend" and value == AUTO
        if source and (value is None or is_chosen or repr(value) == repr(asked.get(source))):
            continue
        if value is None and "default" not in options[name]:
            continue
        reason = _role_value_refusal(name, options[name], value, asked)
        if not reason and source and not name.startswith("layer_check_") and str(value) != str(asked.get(source)):
            # The tethys_ variable was checked: a role with another value would bypass every rule.
            # Hosts may hold a password.
            seen = "differs" if source == "tethys_layer_hosts" else f"is {show(value)}, and differs"
            reason = Problem(
                "source-differs", name, f"{name} {seen} from {source}, which the run is checked by: set {source} only."
            )
        if reason:
            found.append(reason)
    return found


def _plain(value: object) -> object:
    """The value without Ansible's own containers: a copy of one of those copies Ansible's templating with it."""
    if is_mapping(value):
        return {key: _plain(held) for key, held in value.items()}
    return [_plain(held) for held in list_of(value)] if isinstance(value, list) else value


def _socket_refusal(name: str, value: object, asked: Data) -> Problem | None:
    """Return why the processes' sockets cannot be in that folder, or None."""
    last = (whole_number(asked["tethys_asgi_processes"]) or 1) - 1
    path = f"{value}/tethys_asgi{last}.sock"
    if name != "asgi_service_run_dir" or len(path.encode()) <= MOST_SOCKET_PATH:
        return None
    return Problem(
        "socket-path-too-long",
        name,
        f"{name} is {show(value)}: the path of a socket in it, tethys_asgi{last}.sock, has {len(path.encode())} bytes,"
        f" and Linux allows {MOST_SOCKET_PATH}. Set it to a folder with a shorter path.",
    )


def _role_value_refusal(name: str, described: Data, value: object, asked: Data) -> Problem | None:
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
            or _system_folder(name, str(value), asked)
            or _socket_refusal(name, value, asked)
        )
    if name in STATUS_FILES and value:
        return _path_refusal(name, value, "a file")
    auto = name in AUTOMATIC
    if auto:
        kind = option["type"] = AUTOMATIC[name]
    if kind == "raw" or (auto and value == "auto"):
        return None
    if kind == "int":
        least, most = LEAST.get(name, 1), LARGEST_PORT if name.endswith("_port") else MOST.get(name)
        number = 0 if str(value) == "0" else whole_number(value)
        if number is not None and number >= least and (most is None or number <= most):
            return None
        way_out = f"a whole number (int) {f'from {least} to {most}' if most else f'of at least {least}'}"
    elif value is not None and is_of_option(name, option, _plain(value)):
        return None
    elif option.get("choices"):
        way_out = "one of " + ", ".join(texts_of(option["choices"]))
    else:
        way_out = f"a value of type {kind}"
    return Problem(
        "value-invalid",
        name,
        f"{name} is {'not shown' if secret else show(value)}: set it to {'auto or ' if auto else ''}{way_out}.",
    )


def _layer_options_refusal(name: str, value: object, asked: Data) -> Problem | None:
    """What the layer's class would not take is refused before a server is touched, not when the file is written."""
    backend = asked.get("tethys_layer_backend")
    if not isinstance(backend, str) or backend not in BACKENDS:
        return None  # refused elsewhere
    try:
        channel_layers([["127.0.0.1", 6379]], options=value, backend=backend)
    except Refusal as refusal:
        return Problem("layer-options-invalid", name, f"{name}: {refusal}")
    prefix = mapping_of(value).get("prefix")
    if prefix and not asked.get("tethys_layer_hosts") and not re.fullmatch(r"[A-Za-z0-9_.:-]+", str(prefix)):
        return Problem(
            "prefix-not-for-acl",
            name,
            f"{name} has the prefix {show(prefix)}, which Redis's access rules cannot name: use letters, digits and"
            " the signs _ . : - only.",
        )
    return None


def _ours_refusal(name: str, value: str, asked: Data) -> Problem | None:
    """Why a folder cannot lie in one that this collection makes, and takes away."""
    own_folders = [
        folder for names in (PortalNames(), names_of(asked)) for folder in (names.socket_folder, names.state)
    ]
    for own in own_folders:
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


def _system_folder(name: str, value: str, asked: Data) -> Problem | None:
    """Why a folder that the system shares cannot be the portal's own."""
    folder = PurePosixPath(value)
    ours = _ours_refusal(name, value, asked)
    if ours:
        return ours
    if not is_system_folder(folder) and ".." not in folder.parts:
        return None
    own = folder / "tethys"
    return Problem(
        "folder-shared",
        name,
        f"{name} is {show(value)}, which other programs use: set it to a separate folder, such as {own}.",
    )


def _path_refusal(variable: str, value: object, what: str, unquoted: bool = False) -> Problem | None:
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


def check_variables(asked: Data) -> list[Problem]:
    """Return the problems of `tethys_` variables that can be found without the server's facts."""
    found = [_name_problem(asked.get("tethys_portal_name", "")), *_of_folders(asked), *_of_processes(asked)]
    found += [_supervisor_problem(asked.get("tethys_supervisor_config", AUTO)), *_of_hosts(asked)]
    return [problem for problem in found if problem]


def _supervisor_problem(config: object) -> Problem | None:
    what = "the configuration of the Supervisor that runs the portal"
    return None if config == AUTO else _path_refusal("tethys_supervisor_config", config, what, unquoted=True)


def _name_problem(name: object) -> Problem | None:
    """Return why a portal cannot have that name, or None."""
    if is_name(name):
        return None
    return Problem(
        "portal-name-invalid",
        "tethys_portal_name",
        f"tethys_portal_name is {show(name)}: set it to at most {LONGEST_NAME} lower-case letters and digits, with"
        " single dashes or underscores between them, such as staging.",
    )


def _of_folders(asked: Data) -> Iterable[Problem | None]:
    for name, what, unquoted in (
        ("tethys_home", "the folder of portal_config.yml", False),
        ("tethys_conda_prefix", "the Tethys conda environment", True),
    ):
        value = asked[name]
        wrong = _path_refusal(name, value, what, unquoted)
        yield wrong or _ours_refusal(name, str(value), asked) or _slash_refusal(name, str(value))


def _of_processes(asked: Data) -> Iterable[Problem | None]:
    port, processes = whole_number(asked["tethys_port"]), whole_number(asked["tethys_asgi_processes"])
    yield processes_place.port_problem(asked["tethys_port"])
    yield processes_place.address_problem(asked.get("tethys_bind_address", "auto"), asked["tethys_asgi_layout"])
    user = asked["tethys_user"]
    if user not in (None, "") and not (isinstance(user, str) and re.fullmatch(_USER, user)):
        yield Problem(
            "user-invalid", "tethys_user", f"tethys_user is {show(user)}: set it to the name of a user on the server."
        )
    yield choice_refusal("tethys_bokeh", asked["tethys_bokeh"], BOKEH)
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
        yield from refusal.problems
    if asked["tethys_asgi_layout"] == APART and port and processes and port + processes - 1 > LARGEST_PORT >= port:
        yield Problem(
            "ports-past-the-last",
            "tethys_port",
            f"tethys_port is {port}, and {processes} ports from there do not exist: set a lower one.",
        )


def _of_hosts(asked: Data) -> Iterable[Problem]:
    hosts, backend, shared = asked["tethys_layer_hosts"], asked["tethys_layer_backend"], asked.get("tethys_layer_redis")
    given = hosts not in (None, "", [])
    if given:
        try:
            redis_endpoints(hosts)
        except Refusal as refusal:
            yield from refusal.problems
        if backend == MEMORY_BACKEND:
            yield Problem(
                "hosts-without-redis",
                "tethys_layer_hosts",
                f"tethys_layer_hosts is given with tethys_layer_backend {MEMORY_BACKEND}, which uses no Redis: "
                "remove one of the two.",
            )
    if not shared:
        return
    names = ", ".join(texts_of(shared))
    if given:
        yield Problem(
            "hosts-beside-shared",
            "tethys_layer_hosts",
            f"tethys_layer_hosts is given, and the inventory has hosts for a Redis that the portals share ({names}):"
            " remove one of the two.",
        )
    elif backend == MEMORY_BACKEND:
        yield Problem(
            "memory-beside-shared",
            "tethys_layer_backend",
            f"tethys_layer_backend is {MEMORY_BACKEND}, and the inventory has hosts for a Redis that the portals share"
            f" ({names}): remove one of the two.",
        )


def rotates(values: Data) -> bool:
    """Return whether this run creates a new Redis password; a value of another type is refused elsewhere."""
    return truth(values.get("redis_container_rotate") or False)


def rotation_warnings(server: Server) -> list[Problem]:
    """Name the processes that keep the old password, which they have read of portal_config.yml."""
    rows = server.get("workers") or []
    if not rows:
        return []
    return [
        Problem(
            "workers-keep-password",
            "redis_container_rotate",
            f"redis_container_rotate is true: Redis will refuse the old password, which processes of the portal that"
            f" this collection does not restart may have read from portal_config.yml: {named_workers(rows)}. Restart"
            " them after the run.",
        )
    ]


def elsewhere(asked: Data) -> bool:
    """Return whether the portal's server needs no separate Redis."""
    return bool(
        asked["tethys_layer_hosts"]
        or asked.get("tethys_layer_redis")
        or asked["tethys_layer_backend"] == MEMORY_BACKEND
    )


def port_reasons(values: Data, options: Data, asked: Data) -> list[Problem]:
    """A port that nothing would listen on."""
    if elsewhere(asked):
        return []
    port = values.get("redis_container_port")
    if values.get("redis_container_topology") == "sentinel":
        return [
            Problem(
                "sentinel-without-shared",
                "redis_container_topology",
                "redis_container_topology is sentinel, and this portal has its own Redis: remove it, or put three"
                " servers for a shared Redis into the inventory's group `layer_redis`.",
            )
        ]
    if options.get("redis_container_transport") == "tls":
        return [
            Problem(
                "tls-without-shared",
                "redis_container_transport",
                "redis_container_transport is tls, and this portal has its own Redis: set it to unix, published or"
                " host, or put a shared Redis host into the inventory's group `layer_redis`.",
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


def rotation_reasons(values: Data, asked: Data) -> list[Problem]:
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
                "redis_container_rotate is true, and this collection does not run the layer's Redis: remove it.",
            )
        ]
    return []
