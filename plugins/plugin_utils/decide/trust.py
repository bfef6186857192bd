# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who besides root can change what root executes or reads as configuration: what is refused, and the trust report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.facts import Config, Owner, Portal
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import Writer, is_shared, who_can
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem

if TYPE_CHECKING:
    from ansible_collections.tethys.channels.plugins.module_utils.server.root_files import OpenFile, Trust

# What `tethys gen` writes into TETHYS_HOME, and the manual has Supervisor read through a link.
MANUALS = ("asgi_supervisord.conf", "nginx_supervisord.conf")
LOGS = "/var/log/tethys_channels"
USES = {
    "python": "ansible_python_interpreter is {path}, which root executes",
    "supervisor": "Supervisor runs as root and reads {path}",
    "program": "Supervisor runs as root and reads {path}",
    "nginx": "nginx starts as root and reads {path}",
    "site": "nginx starts as root and reads {path}",
    "state": "The collection keeps its state in {path}",
    "folder": "Root makes the folders of the portal's logs and sockets in {path}",
    "logs": "asgi_service_log_dir is {path}, where Supervisor writes as root",
    "unit": "systemd runs as root and reads {path}",
    "compose": "Docker Compose runs as root and reads {path}",
    "engine": "Root executes {path}",
    "socket": "Root's programs execute commands from {path}",
}
# What matters on a server of the Redis that portals share.
OF_REDIS = ("python", "state", "unit", "engine", "socket")


class TrustReport(TypedDict, total=False):
    """What is printed of it: every file, and those that would be refused."""

    lines: list[str]
    problems: list[str]


class Verdict(NamedTuple):
    """What follows from the rights of others."""

    refusals: list[Problem]
    warnings: list[Problem]
    # A line each, for a person who wants to know of every one.
    report: list[str]


def verdict(
    trust: Trust | None,
    *,
    starts_nginx: bool = False,
    adopted: str | None = None,
    uses: Iterable[str] = tuple(USES),
    suffix: str = "",
) -> Verdict:
    """Return what is refused, what is a warning, and the report of a server.

    Args:
        trust: the facts of `server_info`; None where it could not read them.
        starts_nginx: whether the run itself has nginx read its configuration (`socket_per_process`).
        adopted: the program file that the run replaces with a file of root's.
        uses: the kinds of files that matter.
        suffix: what the portal's folders end in.
    """
    if trust is None:
        return Verdict([], [], [])
    refusals: list[Problem] = []
    warnings: list[Problem] = []
    report: list[str] = []
    told: set[tuple[str, bool]] = set()
    kinds = tuple(uses)
    for files, writer in _by_writer(file for file in trust["open"] if file["use"] in kinds and file["path"] != adopted):
        text = sentence(files, writer, suffix)
        if files[0]["use"] == "socket" and writer["how"] != "everybody":
            report.append(f"{files[0]['path']}: {who_can(writer)} can send commands to root's programs")
            continue
        report.append(f"{_names(files)}: {who_can(writer)} can change {writer['path']}")
        is_manuals = _is_manuals(files, writer, starts_nginx)
        # One command takes all rights behind a link away. A warning says less than a refusal.
        if writer["link"] and told & {(writer["link"], False), (writer["link"], is_manuals)}:
            continue
        told.add((writer["link"], is_manuals))
        # Two links may lead to one folder, and each has its own command.
        way = f"{writer['link']} to {writer['path']}" if writer["link"] else writer["path"]
        problem = Problem("open-to-others", f"{way} ({who_can(writer)})", text)
        (warnings if is_manuals else refusals).append(problem)
    clean = f"only root can change the {trust['files']} files and folders that root executes or reads as configuration"
    return Verdict(refusals, warnings, report or [clean])


def _by_writer(files: Iterable[OpenFile]) -> list[tuple[list[OpenFile], Writer]]:
    """Return each right of somebody with the files that it gives away, a right of every user first."""
    found: dict[tuple[str, ...], tuple[list[OpenFile], Writer]] = {}
    for file in files:
        for writer in file["writers"]:
            key = (writer["path"], writer["how"], writer["name"], writer["link"])
            found.setdefault(key, ([], writer))[0].append(file)
    rights = list(found.values())
    return [right for right in rights if right[1]["how"] == "everybody"] + [
        right for right in rights if right[1]["how"] != "everybody"
    ]


def _is_manuals(files: Iterable[OpenFile], writer: Writer, starts_nginx: bool) -> bool:
    """Whether it is how the manual has a portal set up, and the run itself obeys nothing of it."""
    if writer["how"] == "everybody":
        return False
    for file in files:
        manuals_program = file["use"] == "program" and PurePosixPath(file["target"]).name in MANUALS
        # A clone of Tethys Docker is its user's.
        if not manuals_program and file["use"] != "compose" and (file["use"] != "site" or starts_nginx):
            return False
    return True


def _names(files: list[OpenFile]) -> str:
    """The files in a few words."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0]['path']}{more}"


def sentence(files: list[OpenFile], writer: Writer, suffix: str = "") -> str:
    """Return one right of somebody in words, with the command that takes it away."""
    names, path = _names(files), writer["path"]
    use = USES[files[0]["use"]].format(path=names)
    what = "it" if path == names else path
    text = f"{use}, and {who_can(writer)} can change {what}"
    if files[0]["use"] == "logs":
        return f"{text}. Set asgi_service_log_dir to a folder that only root can change, such as {LOGS}{suffix}."
    if writer["link"] and writer["fix"]:
        return (
            f"{text}, to which the link {writer['link']} leads. Read that file, then run `{writer['fix']}`, which"
            " replaces the link by a copy that root owns."
        )
    if writer["link"]:
        return f"{text}, to which the link {writer['link']} leads. Replace that link with a file or folder of root's."
    if writer["fix"] and files[0]["use"] == "compose" and writer["how"] != "everybody":
        return f"{text}, which gives root's rights away. Run `{writer['fix']}` if that is not meant."
    if writer["fix"]:
        return f"{text}. Run `{writer['fix']}`."
    if is_shared(path):
        return f"{text}. Give {path} the owner and mode that the distribution gives it."
    return f"{text}. Move {files[0]['path']} to a folder that only root can change."


def others_programs(goal: str, server: Server) -> Iterable[Problem]:
    """Refuse the portal's programs in a file that others can change: Supervisor would run them, or merge them in.

    A run of `site` and of `remove` replaces the one file that there is.
    """
    programs = server.get("programs") or []
    trust = server.get("trust")
    writers = {row["path"]: row["writers"][0] for row in (trust["open"] if trust else [])}
    ours = any(program["managed"] for program in programs) or "program.original" in (server.get("state") or [])
    if goal == "check" or (goal == "remove" and not ours):
        return
    if goal == "restart" or (goal == "remove" and len(programs) > 1):
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


def lines(found: Verdict, portal: Portal) -> list[str]:
    """Return the trust report: who besides root can change what root executes, obeys, reads and writes for a portal."""
    config: Config = portal.get("config") or {}
    prefix: Owner | None = portal.get("prefix_owner")
    rows = ((config.get("path"), config.get("owner")), ("the environment", prefix["user"] if prefix else None))
    owned = [f"{what} ({owner})" for what, owner in rows if what and owner and owner != "root"]
    ends = f"; used with the owner's permissions: {', '.join(owned)}" if owned else ""
    return (
        [*(f"Trust: {line}" for line in found.report[:-1]), f"Trust: {found.report[-1]}{ends}"] if found.report else []
    )
