# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the portal in its container: what is on its volume, what its program starts, and whether it answers."""

from __future__ import annotations

import configparser
import inspect
import re
from typing import Any, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.boundary import accept
from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import (
    PORTAL,
    application_of,
    words_of,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.proc import stat_fields
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import parse
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_answers import INSIDE as ANSWER

_HEADER = re.compile(rb"^\[([^\]\r\n]*)\]", re.MULTILINE)
_NUMBER = re.compile(rb"^(numprocs[ \t]*=[ \t]*)([0-9]{1,4})", re.MULTILINE)
# As `tethys gen asgi_service` names it.
_NAME = b"fcgi-program:asgi"
# Why a portal cannot answer on its port, whatever it waits for.
NO_FD = "no-fd"
NO_ENDPOINT = "no-endpoint"

# Runs in the container, with the portal's Python. daphne answers an invalid request itself, without Django; a
# connection alone shows nothing, since Supervisor listens before a process accepts.
_SCRIPT = r"""
import glob, json, os, socket, sys, time
persist, port = os.environ.get("TETHYS_PERSIST", "/var/lib/tethys_persist"), int(os.environ.get("TETHYS_PORT") or 8000)
def text(name):
    try:
        with open(os.path.join(persist, name), encoding="latin-1") as stream:
            return stream.read(65536)
    except OSError:
        return ""
config = os.path.join(persist, "portal_config.yml")
try:
    kept = json.loads(text(".tethys_channels/before.json") or "null")
except ValueError:
    kept = None
listens = answers = False
try:
    with socket.create_connection(("127.0.0.1", port), 2) as connection:
        listens = True
        connection.settimeout(5)
        connection.sendall(b"?\r\n\r\n")
        answers = bool(connection.recv(1))
except OSError:
    pass
try:
    set_up_at = os.stat(os.path.join(persist, "setup_complete")).st_mtime
except OSError:
    set_up_at = None
with open("/proc/uptime", encoding="ascii") as stream:
    booted = time.time() - float(stream.read().split()[0])
started = []
for lock in glob.glob("/run/tethys_asgi*.sock.lock"):
    try:
        ticks = int(stat_fields(os.readlink(lock), "/proc")[19])
    except OSError:
        continue
    started.append(booted + ticks / os.sysconf("SC_CLK_TCK"))
packages = glob.glob(os.path.join(glob.escape(sys.prefix), "lib/python3*/site-packages"))
plain = lambda line: "".join(sign if sign.isprintable() or sign == "\t" else "?" for sign in line[:2000])
print(json.dumps({
    "set_up": set_up_at is not None,
    "set_up_at": set_up_at,
    "listens": listens,
    "answers": answers,
    "program": [plain(line).replace("\t", " ") for line in text("asgi_supervisord.conf").split("\n")[:500]],
    "lacks_endpoint": any(os.path.isdir(os.path.join(folder, "daphne")) for folder in packages)
    and not any(os.path.exists(os.path.join(folder, "twisted/plugins/fd_endpoint.py")) for folder in packages),
    "others_can_read": os.path.exists(config) and bool(os.stat(config).st_mode & 4),
    "kept": kept,
    "oldest": min(started) if started else None,
}))
"""


def script() -> str:
    """Return the script, with the function that reads a process's stat."""
    header = "from __future__ import annotations\nfrom pathlib import Path\n"
    return header + inspect.getsource(stat_fields) + _SCRIPT


class Program(NamedTuple):
    """The portal's program in the file that `tethys gen asgi_service` wrote."""

    # Where the digits of its number of processes stand.
    start: int
    end: int
    processes: int
    command: str


def portal_program(raw: bytes) -> Program | None:
    """Return the portal's program of a file, or None where it has none with a number of processes.

    It is the one that runs `tethys_portal.asgi`. Where none can be seen to, it is the one with the name that
    `tethys gen` gives it.
    """
    headers = list(_HEADER.finditer(raw))
    ends = [*(header.start() for header in headers[1:]), len(raw)]
    named = None
    for header, end in zip(headers, ends):
        number = _NUMBER.search(raw, header.end(), end)
        try:
            (section,) = parse(raw[header.start() : end].decode("latin-1")).values()
        except (configparser.Error, ValueError):
            section = {}
        if number is None:
            continue
        found = Program(*number.span(2), int(number.group(2)), section.get("command", ""))
        if (application_of(section) or "").partition(":")[0] == PORTAL:
            return found
        if header.group(1) == _NAME:
            named = found
    return named


def _cannot_serve(program: Program | None, lacks_endpoint: bool) -> list[str]:
    """Return all reasons why no process of the program can take a connection of the port that Supervisor holds."""
    words = words_of(program.command) if program else []
    if not any(word.rpartition("/")[2] == "daphne" for word in words):
        return []
    has_fd = any(word == "--fd" or word.startswith(("--fd=", "fd:")) for word in words)
    return [reason for reason, holds in ((NO_FD, not has_fd), (NO_ENDPOINT, lacks_endpoint)) if holds]


def state_of(raw: str) -> dict[str, Any]:
    """Return the state that the script printed; boundary.Rejected where it is none."""
    found = accept(raw, ANSWER)
    program = portal_program("\n".join(found.pop("program")).encode("latin-1", "replace"))
    answers, lacks_endpoint = found.pop("answers"), found.pop("lacks_endpoint")
    return {
        **found,
        "processes": program.processes if program else None,
        "cannot_serve": _cannot_serve(program, lacks_endpoint),
        "ready": found["set_up"] and answers and program is not None,
    }
