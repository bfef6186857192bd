# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal's programs and processes under Supervisor, and those that only have their names."""

from __future__ import annotations

import hashlib
import http.client
import os
import xmlrpc.client
from pathlib import Path
from typing import Iterator, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import (
    OUR_HEADER,
    asgi_groups,
    asgi_number,
    is_asgi_group,
)
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    addresses,
    conda_variables,
    portal_program,
    supervisor_files,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisor_files import File, SupervisorFiles
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    Process,
    Program,
)
from ansible_collections.tethys.channels.plugins.module_utils.services import (
    Supervisor,
)

# The kinds of sections that define a program.
PROGRAMS = ("program", "fcgi-program")


class Programs(NamedTuple):
    """The programs of Supervisor's that have a portal's name, or run the portal."""

    portals: list[Program]
    others: list[portal_program.OtherProgram]
    # The programs of this server's other portals, whatever their names.
    neighbors: list[portal_program.Neighbor]
    # The names of those that receive from channels of the portal, running or not.
    receivers: list[str]


NO_PROGRAMS = Programs([], [], [], [])


def programs(supervisor: Supervisor | SupervisorFiles, home: str = "", prefix: str = "", portal: str = "") -> Programs:
    """Return the files that define the portal's programs, and the programs that only have their names.

    A program of another name counts where none with a portal's name is the portal's.

    Args:
        home: the portal's TETHYS_HOME. Without one, the name alone decides.
        prefix: its environment.
        portal: its name, where the server has several.
    """
    by_name: list[Program] = []
    by_command: list[Program] = []
    others: list[portal_program.OtherProgram] = []
    neighbors: list[portal_program.Neighbor] = []
    receivers: list[str] = []
    # Supervisor's own file too: it may hold programs besides what the distribution has in it.
    for file in supervisor.files():
        named = [title for title in file.sections if asgi_groups([title], portal)]
        runs = {
            title: portal_program.is_portals(title, section, home, prefix, portal) if home else None
            for title, section in file.sections.items()
            if title.partition(":")[0].strip() in PROGRAMS
        }
        ours = [title for title in named if _counts_by_name(title, runs.get(title), home)]
        unnamed = [title for title, is_ours in runs.items() if is_ours and title not in named]
        if ours:
            by_name.append(_program(file, ours, prefix, portal))
        elif unnamed:
            by_command.append(_program(file, unnamed, prefix, portal))
        others.extend(_other_program(file, title) for title in named if title not in ours)
        neighbors.extend(_neighbors(file, [title for title, is_ours in runs.items() if is_ours is False]))
        receives = [title for title in runs if portal_program.receives(file.sections[title], home, prefix)]
        receivers += [clean(title.partition(":")[2].strip(), 200) for title in receives if home]
    # What this collection runs for the same TETHYS_HOME under another name is named, and not passed over.
    twice = [program for program in by_command if by_name and program["managed"]]
    return Programs([*by_name, *twice] or by_command, others, neighbors, receivers)


def taken_names(supervisor: Supervisor, found: Programs, original: Path) -> list[portal_program.OtherProgram]:
    """Return what has a name by now that a program has which a removal puts back: Supervisor would merge the two.

    Args:
        original: the program file that was found.
    """
    is_link = original.is_symlink()
    file = supervisor_files.read(os.readlink(original) if is_link else str(original), kept=not is_link)
    names = {_group(title) for title in file.sections} - {""} if file else set()
    ours = {program["path"] for program in found.portals}
    return [
        _other_program(other, title)
        for other in (supervisor.files() if file and names else ())
        # A removal that was killed has put it back already.
        if other.path not in ours and file and other.raw != file.raw
        for title in other.sections
        if _group(title) in names
    ]


def _neighbors(file: File, titles: list[str]) -> Iterator[portal_program.Neighbor]:
    """Describe those of these programs, which are not the portal's, that run another portal."""
    for title in titles:
        section = file.sections[title]
        if (portal_program.application_of(section) or "").partition(":")[0] == portal_program.PORTAL:
            yield portal_program.neighbor(file.path, _group(title), section, OUR_HEADER.encode() in file.raw)


def _counts_by_name(title: str, runs: bool | None, home: str) -> bool:
    """Return whether a program with a portal's name is the portal's, even if its command does not show it.

    Nobody but this collection names one `tethys_asgi`, and its command shows what it runs.
    """
    return runs is not False if not home or _group(title) != "tethys_asgi" else runs is True


def _group(title: str) -> str:
    return clean(title.partition(":")[2].strip(), 200)


def _program(file: File, ours: list[str], prefix: str, portal: str) -> Program:
    """Describe a file that defines the portal's programs, by the first of them."""
    section = {option: clean(value) for option, value in file.sections[ours[0]].items()}
    names = asgi_groups(ours, portal)
    apart = bool(names) and asgi_number(names[0]) is not None
    endpoint = portal_program.endpoint_of(section)
    environment, lost = portal_program.environment_of(section, prefix, conda_variables.accepted)
    arguments, lost_arguments = portal_program.arguments_of(section)
    return {
        "path": file.path,
        "link": os.readlink(file.path) if Path(file.path).is_symlink() else None,
        "others": [clean(title) for title in file.sections if title not in ours],
        "groups": [_group(title) for title in ours],
        "user": section.get("user", "root"),
        "layout": "socket_per_process" if apart else "shared_socket",
        "numprocs": str(len(ours)) if apart else section.get("numprocs", "1"),
        "socket": section.get("socket", ""),
        "address": endpoint.address,
        "address_here": not addresses.is_address(endpoint.address)
        or addresses.reaches_this_server(endpoint.address or ""),
        "port": endpoint.port,
        "unix_socket": endpoint.path,
        "logs": str(Path(section.get("stdout_logfile", "/")).parent),
        "unbuffered": "PYTHONUNBUFFERED=" in section.get("environment", ""),
        # By name: values may be secret, and stay on the server.
        "environment": sorted(environment),
        "environment_lost": lost,
        "arguments": arguments,
        "arguments_lost": lost_arguments,
        "settings": portal_program.settings_of(section, prefix),
        "managed": OUR_HEADER.encode() in file.raw,
        "sha256": hashlib.sha256(file.raw).hexdigest(),
    }


def _other_program(file: File, title: str) -> portal_program.OtherProgram:
    section = file.sections[title]
    application = portal_program.application_of(section) or ""
    is_portal = application.partition(":")[0] == portal_program.PORTAL
    home = clean(portal_program.home_of(section), 4096) if is_portal else ""
    return {"path": file.path, "group": _group(title), "home": home}


def processes(supervisor: Supervisor, found: Programs = NO_PROGRAMS, portal: str = "") -> list[Process]:
    """Return Supervisor's processes of the portal."""
    try:
        rows = supervisor.rpc().getAllProcessInfo()
    except (OSError, http.client.HTTPException, xmlrpc.client.Error):
        return []
    groups = {group for program in found.portals for group in program["groups"]}
    not_ours = {program["group"] for program in found.others} - groups
    return [
        {"name": row["name"], "state": row["statename"], "pid": row["pid"]}
        for row in rows
        if row["group"] in groups or (is_asgi_group(row["group"], portal) and row["group"] not in not_ours)
    ]
