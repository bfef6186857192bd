# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the portal's processes listen: what the administrator set, else what is there, else the defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.server.conda_variables import accepted
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Program, Server
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.model import APART, LARGEST_PORT, Data, Problem, names_of
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import (
    is_list,
    list_of,
    mapping_of,
    texts_of,
    unique,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show, whole_number

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.server.front import Front, Target
    from ansible_collections.tethys.channels.plugins.module_utils.server.kept_environment import Names

# The variables for settings of a Supervisor program.
OF_SETTINGS = {
    "stopwaitsecs": "asgi_service_stop_timeout",
    "stdout_logfile": "asgi_service_log_dir",
    "stdout_logfile_maxbytes": "asgi_service_log_max_mb",
    "stdout_logfile_backups": "asgi_service_log_backups",
}
AUTO = "auto"
PORT = 8000
LOOPBACK = "127.0.0.1"
ANY = "0.0.0.0"  # noqa: S104 - it is compared
# Only root's programs listen below it, so it is followed from a file of root's only.
LEAST_OF_OTHERS = 1024


class Place(NamedTuple):
    """Where the processes listen, and the file that says so where the inventory does not."""

    address: str
    port: int
    port_from: str

    @property
    def reached_at(self) -> str:
        """The address at which this server reaches them."""
        return LOOPBACK if self.address == ANY else self.address


def port_problem(port: object) -> Problem | None:
    """Return why a port cannot be tethys_port, or None."""
    number = whole_number(port)
    if port == AUTO or (number is not None and number <= LARGEST_PORT):
        return None
    return Problem(
        "port-invalid", "tethys_port", f"tethys_port is {show(port)}: set it to a port number from 1 to 65535."
    )


def address_problem(address: object, layout: object) -> Problem | None:
    """Return why an address cannot be tethys_bind_address, or None."""
    if address == AUTO:
        return None
    if not isinstance(address, str) or not _ipv4(address):
        return Problem(
            "address-invalid",
            "tethys_bind_address",
            f"tethys_bind_address is {show(address)}: Supervisor listens on an IPv4 address. Set it to 127.0.0.1,"
            " 0.0.0.0 or one of this server's addresses.",
        )
    if layout == APART and address not in (LOOPBACK, ANY):
        return Problem(
            "address-without-loopback",
            "tethys_bind_address",
            f"tethys_bind_address is {address}: with tethys_asgi_layout socket_per_process nginx reaches the processes"
            " at 127.0.0.1. Set it to 127.0.0.1 or 0.0.0.0.",
        )
    return None


def _ipv4(text: str) -> bool:
    try:
        return isinstance(ip_address(text), IPv4Address)
    except ValueError:
        return False


def place(asked: Data, server: Server) -> Place:
    """Return where the processes listen.

    Args:
        asked: the `tethys_` variables.
        server: the facts of `server_info`; empty before they are gathered.
    """
    programs = server.get("programs") or []
    program: Program = programs[0] if programs else {}
    address = asked.get("tethys_bind_address", AUTO)
    if address == AUTO:
        address = LOOPBACK if _not_followed(program, server) else _address_of(program)
    port = whole_number(asked["tethys_port"])
    if port:
        return Place(str(address), port, "")
    front = portals_front(server)
    # With several ports nothing shows which is the portal's, except in nginx's upstream block for it.
    targets = front["targets"] if front and (front["each"] or len(_ports_here(front)) == 1) else []
    rows = [(program.get("port"), program.get("path"))]
    rows += [(target["port"], front["path"]) for target in targets if front and target["here"]]
    open_files = _open_files(server)
    for followed, path in rows:
        if followed and (followed >= LEAST_OF_OTHERS or path not in open_files):
            return Place(str(address), followed, str(path))
    return Place(str(address), PORT, "")


def _address_of(program: Program) -> str:
    """Return the IPv4 address on which a program listens, or the loopback."""
    found = {"localhost": LOOPBACK, "*": ANY}.get(str(program.get("address")), program.get("address"))
    return found if found and _ipv4(found) else LOOPBACK


def _open_files(server: Server) -> set[str]:
    """Return the files of root's programs that somebody besides root can change."""
    trust = server.get("trust")
    return {row["path"] for row in trust["open"]} if trust else set()


def _not_followed(program: Program, server: Server) -> str:
    """Return why the address of a program is not followed, or an empty text."""
    address = program.get("address")
    if not address or address in ("localhost", "*") or _ipv4(address):
        if ip_address(_address_of(program)).is_loopback:
            return ""
        if program.get("address_here") is False:
            return "which is not an address of this server"
        return "and users besides root can change that file" if program["path"] in _open_files(server) else ""
    return "and tethys_bind_address takes an IPv4 address"


def portals_front(server: Server) -> Front | None:
    """Return what sends the portal's requests on, where that is known."""
    fronts = server.get("fronts")
    return fronts["portal"] if fronts else None


def front_problems(where: Place, ports: Sequence[int], server: Server, is_apart: bool) -> list[Problem]:
    """Return why the web server's requests would not reach the processes.

    Args:
        where: where the first of them listens.
        ports: all of their ports.
        is_apart: whether each has a separate port: then the run writes nginx's upstream block.
    """
    front = portals_front(server)
    if not front or front["ours"] or (is_apart and front["server"] == "nginx"):
        return []
    lost = [target for target in front["targets"] if not _is_served(target, where, ports)]
    elsewhere = [target for target in lost if target["here"]] if front["each"] else []
    if not elsewhere and len(lost) < len(front["targets"]):
        return []
    return [_front_problem(where, front, (elsewhere or lost)[0])]


def ports_warnings(asked: Data, where: Place, server: Server) -> Iterable[Problem]:
    """Name the ports of a site that sends requests to several, of which none was followed."""
    front = portals_front(server)
    found = _ports_here(front) if front and not front["each"] else []
    if front and len(found) > 1 and not where.port_from and not whole_number(asked["tethys_port"]):
        yield Problem(
            "front-ports-differ",
            "tethys_port",
            f"tethys_port is {AUTO}: {front['server']} sends requests of the portal's site to the ports"
            f" {', '.join(map(str, found))} ({front['path']}, line {front['line']}), and the processes will listen on"
            f" {where.port}. Set tethys_port to the portal's port.",
        )


def is_moved(asked: Data, where: Place, server: Server) -> bool:
    """Return whether the run, by no port that the administrator set, begins to serve or changes port or address."""
    if whole_number(asked["tethys_port"]):
        return False
    programs = server.get("programs") or []
    is_auto = asked.get("tethys_bind_address", AUTO) == AUTO
    if not programs or (is_auto and _not_followed(programs[0], server)):
        return True
    return (_address_of(programs[0]), programs[0].get("port")) != (where.address, where.port)


def with_proxy(problems: Iterable[Problem], where: Place, is_refused: bool) -> Iterable[Problem]:
    """Add what holds where a cache or another proxy is between the web server and the processes."""
    fix = f"set tethys_port to {where.port}" if is_refused else "nothing has to change"
    text = f"If a cache or proxy at that address sends them on to {where.reached_at}:{where.port}, {fix}."
    return [Problem(problem.code, problem.subject, f"{problem.text} {text}") for problem in problems]


def _ports_here(front: Front) -> list[int]:
    """Return the ports of this server to which the portal's requests are sent."""
    return sorted({target["port"] for target in front["targets"] if target["here"] and target["port"]})


def _front_problem(where: Place, front: Front, target: Target) -> Problem:
    server, there = front["server"], f"{target['address']} ({front['path']}, line {front['line']})"
    here, host = f"{where.reached_at}:{where.port}", _host_of(target)
    if target["here"] and ":" in host:
        return Problem(
            "front-elsewhere",
            "tethys_bind_address",
            f"tethys_bind_address is {where.address}: {server} sends the portal's requests to {there}, and Supervisor"
            f" listens on IPv4 addresses only. Have {server} send them to {here}.",
        )
    if target["here"] and target["port"] == where.port:
        return Problem(
            "front-elsewhere",
            "tethys_bind_address",
            f"tethys_bind_address is {where.address}: {server} sends the portal's requests to {there}."
            f" Set it to {host if _ipv4(host) else ANY}, or have {server} send them to {here}.",
        )
    source = f" (from {where.port_from})" if where.port_from else ""
    fixes = [f"have {server} send them to {here}"]
    if target["here"] and _ports_here(front) == [target["port"]]:
        fixes.insert(0, f"set tethys_port to {target['port']}")
    elif not front["each"] and len(_ports_here(front)) > 1:
        fixes.insert(0, "set tethys_port to the portal's port")
    elif server == "nginx" and front["each"] and target["here"]:
        fixes.append("set tethys_asgi_layout to socket_per_process, with which the run writes that upstream block")
    fix = ", or ".join(fixes)
    return Problem(
        "front-elsewhere",
        "tethys_port",
        f"tethys_port is {where.port}{source}: {server} sends the portal's requests to {there}."
        f" {fix[0].upper()}{fix[1:]}.",
    )


def _host_of(target: Target) -> str:
    """Return the host of a target, an IPv4 address also where it is written as IPv6; empty for a unix socket."""
    host = re.sub(r":\d+$", "", target["address"]) if target["port"] else ""
    if not (host.startswith("[") and host.endswith("]")):
        return host
    try:
        address = ip_address(host[1:-1])
    except ValueError:
        return host[1:-1]
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _is_served(target: Target, where: Place, ports: Sequence[int]) -> bool:
    if not target["here"] or target["port"] not in ports:
        return False
    host = _host_of(target)
    if ":" in host:
        return False
    loopback = not _ipv4(host) or host == ANY or ip_address(host).is_loopback
    return where.address == ANY or (loopback and where.address == LOOPBACK) or host == where.address


def front_warnings(where: Place, ports: Sequence[int], server: Server) -> list[Problem]:
    """Return what is said where the web server sends requests, and none of them to the portal's ports."""
    fronts = server.get("fronts")
    if not fronts or fronts["portal"] or not fronts["addresses"]:
        return []
    if any(address.endswith(f":{port}") for address in fronts["addresses"] for port in ports):
        return []
    shown = ", ".join(fronts["addresses"][:3]) + (" and others" if len(fronts["addresses"]) > 3 else "")
    return [
        Problem(
            "front-unknown",
            "tethys_port",
            f"The web server on this host sends requests to {shown}, and none to {where.reached_at}:{where.port}, where"
            " the portal will listen. If it is the portal's web server, set tethys_port to the port in its"
            " configuration.",
        )
    ]


def start_problem(portal: Portal) -> str | None:
    """Return why Django does not start in the portal's environment, in its own words, or None."""
    found = portal.get("start_problem") or (portal.get("settings_problem") if not portal.get("settings") else None)
    return str(found) if found and not portal.get("prefix_problem") and not portal.get("home_problem") else None


def start_refusal(asked: Data, portal: Portal, server: Server) -> Problem | None:
    """Refuse to restart processes that would not start again."""
    found = start_problem(portal)
    if not found:
        return None
    command, variables = _start_command(asked, portal, server)
    return Problem(
        "portal-does-not-start",
        "tethys_home",
        f"tethys_home is {show(asked['tethys_home'])}: the portal does not start. {found.strip().rstrip('.')}. Correct"
        f" that until `{command}` works{variables}, or set preflight_timeout to more seconds if the portal needs them.",
    )


def _start_command(asked: Data, portal: Portal, server: Server) -> tuple[str, str]:
    """Return the command that starts Tethys as its processes do, and which variables have to be set for it besides.

    Values may be secret. A run keeps them in a file; before the first one they are in the program, and conda's.
    """
    as_user = ("sudo", "-u", str(portal.get("user")))
    start = ("env", f"TETHYS_HOME={asked['tethys_home']}", f"{asked['tethys_conda_prefix']}/bin/tethys", "list")
    environment = server.get("environment")
    if environment and environment["kept"] is not None:
        return shell_words(*as_user, "sh", "-c", f". {names_of(asked).environment}; exec {shell_words(*start)}"), ""
    programs = server.get("programs") or []
    given = [(programs[0].get("environment") or [], str(programs[0]["path"]))] if programs else []
    given += [(environment["conda"], "by conda")] if environment else []
    named = [f"{', '.join(names)} ({source})" for names, source in given if names]
    return shell_words(*as_user, *start), f" with the variables {' and '.join(named)}" if named else ""


class Kept(NamedTuple):
    """What the processes get besides what every portal has."""

    arguments: list[str]
    # Whether there is a file with variables.
    environment: bool


_ARGUMENT = re.compile(r"[A-Za-z0-9_./:=,@+-]+")


def arguments_problem(value: object) -> Problem | None:
    """Return why the value of asgi_service_arguments cannot be used, or None."""
    is_right = all(isinstance(word, str) and _ARGUMENT.fullmatch(word) for word in list_of(value))
    if value == AUTO or (is_list(value) and is_right):
        return None
    return Problem(
        "arguments-invalid",
        "asgi_service_arguments",
        f"asgi_service_arguments is {show(value)}: set it to auto, or to a list of daphne's options, each word one"
        " entry, without blanks, quotes or other characters that a shell reads.",
    )


def environment_problem(value: object) -> Problem | None:
    """Return why the value of asgi_service_environment cannot be used, or None. Values may be secret."""
    if value == AUTO:
        return None
    if not isinstance(value, Mapping):
        text = "asgi_service_environment is not shown: set it to auto, or to a mapping of names to texts."
        return Problem("environment-invalid", "asgi_service_environment", text)
    wrong = [show(name) for name, text in value.items() if not accepted(name, text)]
    if not wrong:
        return None
    return Problem(
        "environment-invalid",
        "asgi_service_environment",
        f"asgi_service_environment has {', '.join(wrong)}: the processes take no such variable. Remove it, or write a"
        " name that the program does not set itself, and a text of one line.",
    )


def kept_problems(values: Data) -> list[Problem]:
    """Return why the variables for what is kept cannot be used."""
    found = (
        arguments_problem(given(values, "asgi_service_arguments")),
        environment_problem(given(values, "asgi_service_environment")),
    )
    return [problem for problem in found if problem]


def given(values: Data, name: str) -> object:
    """Return the value of a role's variable that is `auto` by default."""
    value = values.get(name)
    return AUTO if value is None else value


def kept(values: Data, server: Server) -> Kept:
    """Return what the processes get: what the administrator set, else what is there.

    Args:
        values: the variables of the roles.
        server: the facts of `server_info`.
    """
    programs = server.get("programs") or []
    program: Program = programs[0] if programs else {}
    own = given(values, "asgi_service_arguments")
    arguments = program.get("arguments") or [] if own == AUTO else texts_of(own)
    names: Names = server.get("environment") or {"kept": None, "conda": [], "rejected": []}
    here = bool(program.get("environment") or names.get("conda"))
    if given(values, "asgi_service_environment") != AUTO or names.get("kept") is not None:
        return Kept(arguments, True)
    return Kept(arguments, here and not program.get("managed"))


def kept_lines(where: Place, found: Kept, server: Server, values: Data) -> Iterable[str]:
    """Announce what of an adopted program is kept, and what is not.

    Args:
        values: the variables of the roles.
    """
    program = server["programs"][0]
    names: Names = server.get("environment") or {"kept": None, "conda": [], "rejected": []}
    variables = _variables(values, program, names) if found.environment else []
    parts = [f"address {where.address}:{where.port}"]
    parts += [f"variables {', '.join(variables)}"] if variables else []
    parts += [f"daphne's {' '.join(found.arguments)}"] if found.arguments else []
    yield f"{program['path']}: the processes keep {'; '.join(parts)}."
    replaced = _own_variables(values, names) or []
    names_lost = [name for name in program.get("environment", []) if name not in variables]
    names_lost += [*program.get("environment_lost", []), *names.get("rejected", [])]
    lost = [
        # Supervisor's value is kept, which the command replaces.
        f"variable {name}{' as its command sets it' if name in variables else ''}"
        for name in unique(names_lost)
        if name not in replaced
    ]
    arguments, settings = program.get("arguments_lost", []), program.get("settings", [])
    fixes = ["asgi_service_environment"] if lost else []
    fixes += ["asgi_service_arguments"] if arguments else []
    fixes += [OF_SETTINGS[name] for name in (text.partition("=")[0] for text in settings) if name in OF_SETTINGS]
    lost += [*arguments, *settings]
    if lost:
        fix = f" Set {' or '.join(unique(fixes))} if the portal needs one of them." if fixes else ""
        yield f"{program['path']}: the processes do not keep {', '.join(lost)}.{fix}"


def _variables(values: Data, program: Program, names: Names) -> list[str]:
    """Return the names of the variables in the file that the processes read, in the order of `kept_environment`."""
    own = _own_variables(values, names)
    return sorted({*(program.get("environment", []) if own is None else own), *names["conda"]})


def _own_variables(values: Data, names: Names) -> list[str] | None:
    """Return the names of the variables that replace those of an adopted program; None where nothing does."""
    setting = given(values, "asgi_service_environment")
    return names["kept"] if setting == AUTO else list(mapping_of(setting))


def conda_warnings(found: Kept, server: Server) -> Iterable[Problem]:
    """Name conda's variables that the processes of an earlier version do not get."""
    names = server.get("environment")
    if names and names["conda"] and not found.environment:
        yield Problem(
            "conda-variables-missing",
            "asgi_service_environment",
            f"`conda activate` sets {', '.join(names['conda'])}, which the portal's processes do not get. Set"
            " asgi_service_environment to {} if they need them. The processes then restart.",
        )


def address_warnings(asked: Data, server: Server) -> Iterable[Problem]:
    """Name the address of a program that the run does not follow."""
    programs = server.get("programs") or []
    reason = _not_followed(programs[0], server) if programs else ""
    if reason and asked.get("tethys_bind_address", AUTO) == AUTO:
        yield Problem(
            "address-not-kept",
            "tethys_bind_address",
            f"{programs[0]['path']} listens on {programs[0]['address']}, {reason}: the processes will listen on"
            f" {LOOPBACK}. Set tethys_bind_address if that is not what the web server uses.",
        )
