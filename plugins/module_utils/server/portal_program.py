# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program of Supervisor's serves, where it listens, and whether it is the portal's."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from typing import Callable, Iterator, Mapping, NamedTuple, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import portal_of
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import pairs

SERVERS = ("daphne", "uvicorn", "gunicorn", "hypercorn", "granian")
PORTAL = "tethys_portal.asgi"
# The command of Channels by which a process receives from channels by their names.
RUNWORKER = "runworker"
MOST_PORT = 65535
_APPLICATION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_SOCKET = re.compile(r"tcp://([A-Za-z0-9.*-]{1,253}):([0-9]{1,5})")
_PREFIX = re.compile(rf"(/.+)/bin/(?:python[0-9.]*|{'|'.join(SERVERS)})")
_HOME = re.compile(r"TETHYS_HOME=[\"']?([^\s\"';&|]+)")
# The most words of a command that are read: the file may be another user's.
MOST_WORDS = 1000
MOST_WORD = 4096
_HOST_OPTIONS = ("-b", "--bind", "--host")
_PORT_OPTIONS = ("-p", "--port")
# Variables that the collection's program has as well, and in the same way.
STANDARD_VARIABLES = (*("TETHYS_HOME", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "USER", "HOME", "PYTHONUNBUFFERED"),)
# daphne's options, with a value each besides the flags.
FLAGS = ("--proxy-headers", "--no-server-name")
KEPT_OPTIONS = (
    *("-v", "--verbosity", "-t", "--http-timeout", "--websocket_timeout", "--websocket_connect_timeout"),
    *("--ping-interval", "--ping-timeout", "--application-close-timeout", "--root-path", "--request-buffer-size"),
    *("--proxy-headers-host", "--proxy-headers-port", "-s", "--server-name", "--no-server-name", "--log-fmt"),
)
OUR_OPTIONS = ("-u", "--unix-socket", "--fd", "--proxy-headers", "-b", "--bind", "-p", "--port")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w{0,200})=")
# A long option's name, or a short one's, which a value may follow at once (`-v2`).
_OPTION = re.compile(r"--[A-Za-z][\w-]{0,60}|-[A-Za-z]")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@+-]{1,200}")
# What `tethys gen asgi_service` or this collection writes; an empty tuple for what is checked elsewhere.
STANDARD_SETTINGS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("command", "environment", "socket", "process_name", "numprocs", "user"), ()),
    **dict.fromkeys(("autostart", "autorestart", "stopasgroup", "killasgroup", "redirect_stderr"), ("true",)),
    "stopsignal": ("QUIT", "TERM"),
    "stdout_logfile": ("/var/log/tethys/tethys.log",),
}
_PATH_OPTIONS = ("-u", "--unix-socket", "--uds")


class Endpoint(NamedTuple):
    """Where a program listens: an address and a port, or a unix socket."""

    address: str | None
    port: int | None
    path: str | None


class OtherProgram(TypedDict):
    """A program that has the name of the portal's, and runs something else."""

    path: str
    group: str
    # The TETHYS_HOME of another portal, or an empty text.
    home: str


class Neighbor(TypedDict):
    """A program that runs another portal on this server."""

    path: str
    group: str
    home: str
    # Whether this collection has written it.
    managed: bool
    port: int | None
    # The folders of its unix socket and of its log, or an empty text.
    sockets: str
    logs: str


def neighbor(path: str, group: str, section: Mapping[str, str], managed: bool) -> Neighbor:
    """Describe a program that runs another portal."""
    socket = _first(_options(_arguments(section)), _PATH_OPTIONS) or ""
    log = section.get("stdout_logfile", "")
    return {
        "path": path,
        "group": group,
        "home": clean(home_of(section), 4096),
        "managed": managed,
        "port": endpoint_of(section).port,
        "sockets": clean(posixpath.dirname(socket), 4096),
        "logs": clean(posixpath.dirname(log), 4096),
    }


def words_of(command: str) -> list[str]:
    """Return the words of a command, those of a shell's `-c` among them."""
    try:
        words = shlex.split(command)
        words = [word for each in words for word in (shlex.split(each) if re.search(r"\s", each) else [each])]
    except ValueError:
        words = command.split()
    return [word.rstrip(";") for word in words if len(word) <= MOST_WORD][:MOST_WORDS]


def _arguments(section: Mapping[str, str]) -> list[str]:
    """Return the words that follow the ASGI server's name in a program's command; none where there is no such."""
    words = words_of(section.get("command", ""))
    found = [number for number, word in enumerate(words) if posixpath.basename(word) in SERVERS]
    return words[found[-1] + 1 :] if found else []


def application_of(section: Mapping[str, str]) -> str | None:
    """Return what a program's ASGI server runs, as `tethys_portal.asgi:application`, or None."""
    return next((word for word in _arguments(section) if _APPLICATION.fullmatch(word)), None)


def home_of(section: Mapping[str, str]) -> str:
    """Return the TETHYS_HOME that a program is given; an empty text without one, or with one that is to be expanded."""
    given = pairs(section.get("environment", "")).get("TETHYS_HOME")
    found = _HOME.search(section.get("command", ""))
    home = given or (found.group(1) if found else "")
    return home if home.startswith("/") and not re.search(r"[$~%]", home) else ""


def is_portals(title: str, section: Mapping[str, str], home: str, prefix: str, portal: str = "") -> bool | None:
    """Return whether a program runs this portal; None where its command does not show what it runs.

    TETHYS_HOME decides. For a program without one, the environment whose Python or ASGI server it starts decides. It is
    never one of a further portal, which has a name and may share the environment of the first one.

    Args:
        title: the program's section, as `fcgi-program:asgi`.
    """
    application = application_of(section)
    if application is None:
        return None
    if application.partition(":")[0] != PORTAL:
        return False
    given = home_of(section)
    if given:
        return _same(given, home)
    if portal or portal_of(title.partition(":")[2].strip()):
        return False
    found = [_PREFIX.fullmatch(word) for word in words_of(section.get("command", ""))]
    prefixes = [match.group(1) for match in found if match]
    return not prefixes or any(_same(each, prefix) for each in prefixes)


def receives(section: Mapping[str, str], home: str, prefix: str) -> bool:
    """Return whether a program is a worker of this portal that receives from channels by their names."""
    words = words_of(section.get("command", ""))
    if RUNWORKER not in words:
        return False
    given = home_of(section)
    found = [_PREFIX.fullmatch(word) for word in words]
    return _same(given, home) if given else any(match and _same(match.group(1), prefix) for match in found)


def _same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def environment_of(
    section: Mapping[str, str], prefix: str, accepted: Callable[[object, object], bool]
) -> tuple[dict[str, str], list[str]]:
    """Return the variables of a program that can be kept, and the names of those that cannot.

    Args:
        prefix: the environment, whose programs are found first, as with conda.
        accepted: whether the processes can be given a name and value.
    """
    given = pairs(section.get("environment", ""))
    others = {name: value for name, value in given.items() if name not in STANDARD_VARIABLES}
    # What is still to be expanded is nothing that anybody means.
    good = {name: value for name, value in others.items() if "%" not in value and accepted(name, value)}
    path = good.get("PATH")
    if path and f"{prefix}/bin" not in path.split(":"):
        good["PATH"] = f"{prefix}/bin:{path}"
    # What the command sets itself (`env A=b daphne`) is not written again, whatever it is.
    lost = (set(others) - set(good)) | set(_set_by_command(section))
    return good, sorted(clean(name, 200) for name in lost)


def _set_by_command(section: Mapping[str, str]) -> list[str]:
    """Return the names of the variables that a command sets before its ASGI server."""
    words = words_of(section.get("command", ""))
    number = next((number for number, word in enumerate(words) if posixpath.basename(word) in SERVERS), 0)
    found = [_ASSIGNMENT.match(word) for word in words[:number]]
    return [match.group(1) for match in found if match and match.group(1) not in STANDARD_VARIABLES]


def arguments_of(section: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return daphne's options that can be kept, and the names of those that cannot, or that the program has anyway.

    Values that are not kept may be secret, and are not returned.
    """
    words = words_of(section.get("command", ""))
    server = next((name for name in map(posixpath.basename, reversed(words)) if name in SERVERS), "daphne")
    kept: list[str] = []
    lost: list[str] = [] if server == "daphne" else [server]
    for name, value in _given_options(_arguments(section)):
        is_flag = name in FLAGS and not value
        is_plain = _PLAIN.fullmatch(value) and not value.startswith("-") and not _APPLICATION.fullmatch(value)
        if server == "daphne" and name in KEPT_OPTIONS and (is_flag or (is_plain and name not in FLAGS)):
            kept += [name] if is_flag else [name, value]
        elif not _is_ours(name, value):
            lost.append(name)
    return kept, lost


def _given_options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the options of a command with their values; an empty value where an option has none."""
    number = 0
    while number < len(words):
        word = words[number]
        found = _OPTION.match(word)
        number += 1
        if not found:
            continue
        name, rest = found.group(), word[found.end() :]
        following = words[number] if number < len(words) else ""
        if rest or name in FLAGS or (following.startswith("-") and following != "-"):
            yield name, rest[1:] if rest.startswith("=") else rest
        else:
            number += 1
            yield name, following


def _is_ours(name: str, value: str) -> bool:
    return name in OUR_OPTIONS or (name == "--access-log" and value == "-")


def settings_of(section: Mapping[str, str], prefix: str) -> list[str]:
    """Return what else a program sets, as `name=value`, that `tethys gen asgi_service` does not write."""
    found = []
    for name, value in section.items():
        standard = STANDARD_SETTINGS.get(name, ("",))
        # The folder in which `tethys gen` has the processes start, as this collection has.
        is_ours = name == "directory" and re.fullmatch(re.escape(prefix) + r"/lib/python3\.\d+/site-packages/?", value)
        if standard != () and value not in standard and not is_ours:
            found.append(clean(f"{name}={value}", 200))
    return sorted(found)


def endpoint_of(section: Mapping[str, str]) -> Endpoint:
    """Return where a program listens, by the socket that Supervisor gives it, or by its server's options."""
    socket = _SOCKET.fullmatch(section.get("socket", "").strip())
    if socket:
        return Endpoint(socket.group(1), _port(socket.group(2)), None)
    if section.get("socket", "").startswith("unix://"):
        return Endpoint(None, None, clean(section["socket"][len("unix://") :], 4096))
    options = _options(_arguments(section))
    address, port, path = (_first(options, names) for names in (_HOST_OPTIONS, _PORT_OPTIONS, _PATH_OPTIONS))
    if path and not port:
        return Endpoint(None, None, clean(path, 4096))
    # gunicorn and hypercorn take both in one, or a unix socket.
    both = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]{2,60})\]|([A-Za-z0-9.*-]{1,253})):([0-9]{1,5})", address or "")
    if both:
        return Endpoint(both.group(1) or both.group(2), _port(both.group(3)), None)
    if address and address.startswith("unix:"):
        return Endpoint(None, None, clean(address[len("unix:") :], 4096))
    plain = address if re.fullmatch(r"[A-Za-z0-9.:*-]{1,253}", address or "") else None
    return Endpoint(plain, _port(port or ""), None)


def _port(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,4}", text) and int(text) <= MOST_PORT else None


def _options(words: list[str]) -> dict[str, str]:
    """Return the options with a value, as `-p 8001`, `-p8001` or `--port=8001`."""
    found: dict[str, str] = {}
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            found.setdefault(name, value if equals else following)
        elif re.match(r"-[a-z]", word):
            found.setdefault(word[:2], word[2:] or following)
    return found


def _first(options: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((options[name] for name in names if name in options), None)
