# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run has left a server on which delivery was proved then, and whether it is so still.

Before the proof a run writes down a sum over all that its roles write and go by on the server, beside one over what it
was asked for. Where a later run finds both the same, the roles would find nothing to do.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import stat
import xmlrpc.client
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.asgi_record import MOST_FILE, Sources
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected
from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.read_as import names_in, read_file
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import RedisError
from ansible_collections.tethys.channels.plugins.module_utils.redis.peer import Container, login
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import ADMIN_USER, sha256
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import group_name, user_name
from ansible_collections.tethys.channels.plugins.module_utils.services import Supervisor, is_asgi_group

NAME = "proof.json"
# What cannot be asked cannot be said to be as it was.
NO_ANSWER = (OSError, Rejected, http.client.HTTPException, xmlrpc.client.Error, RedisError, ValueError)


def _attributes(found: os.stat_result) -> list[Any]:
    # What has a number now may be another user or group one day.
    user, group = user_name(found.st_uid), group_name(found.st_gid)
    return [oct(found.st_mode), found.st_uid, user, found.st_gid, group]


def _entry(path: Path) -> list[Any]:
    """A file with its content, or a folder with the sockets in it: whose it is, and its mode."""
    try:
        itself, found = path.lstat(), path.stat()
    except FileNotFoundError:
        return [str(path), None]
    link = os.readlink(path) if stat.S_ISLNK(itself.st_mode) else None
    content: Any = None
    if path.is_file():
        try:
            content = hashlib.sha256(read_file(str(path), None, MOST_FILE)).hexdigest()
        except PermissionError:
            # A file of root's in a folder whose owner cannot read it.
            content = [found.st_size, found.st_mtime_ns]
    elif path.is_dir():
        content = [name for name in names_in(str(path)) if (path / name).is_socket()]
    return [str(path), *_attributes(itself), link, *_attributes(found), content]


def _processes(of: dict[str, Any]) -> dict[str, Any]:
    """The portal's processes by name, each with its number and the moment of its start, and whether it is stopped.

    Supervisor's word for its state changes by itself when it has run for a while.
    """
    every = Supervisor().rpc().getAllProcessInfo()
    rows = [row for row in every if is_asgi_group(row["group"]) and row["group"] not in of["other_groups"]]
    return {row["name"]: [proc.process_key(row["pid"]), proc.is_stopped(row["pid"])] for row in rows}


def _sum(state: Any) -> str:
    return sha256(json.dumps(state, sort_keys=True))


def users(state_dir: Path, of: dict[str, Any]) -> str | None:
    """A sum over whom the running Redis lets in, which no file tells; for where it is known to be our own."""
    if not of["endpoint"]:
        return None
    password = atomic_file.read_notes(state_dir / "credentials.json").get("admin_password")
    admin = {**of["endpoint"], "username": ADMIN_USER, "password": password}
    with login(admin, Container(of["engine"], of["container"])) as redis:
        return _sum(redis.command("ACL", "LIST"))


def seen(state_dir: Path, of: dict[str, Any]) -> str:
    """A sum over the server as it is: files, packages, container, image and processes.

    Args:
        state_dir: the folder in which the collection keeps what it must remember, all of which counts.
        of: the other `files` and folders, `site_packages`, the `other_groups` of Supervisor's, and, where a
            container of ours is run (else null),
            `container`, `image`, `engine`, and `endpoint`, where its Redis knows users.
    """
    inside = sorted(path for path in state_dir.rglob("*") if path.name != NAME)
    engine = ENGINES[of["engine"]]() if of["container"] else None
    state = [
        [_entry(path) for path in [state_dir, *inside, *map(Path, of["files"])]],
        Sources([], of["site_packages"]).sum,
        engine.whole(of["container"], of["image"]) if engine else None,
        _processes(of),
    ]
    return _sum(state)


def are_up_to_date(state_dir: Path, of: dict[str, Any]) -> bool:
    """Whether each process runs with what it would read now, as the roll has written it down: an edit comes between."""
    now = Sources(of["reads"], of["site_packages"]).sum
    kept = atomic_file.read_notes(state_dir / "processes.json")
    return all(kept.get(key) == now for key, _stopped in _processes(of).values())


def proved_plan(state_dir: Path, inputs: str) -> str | None:
    """The plan by which delivery was proved with these inputs, where all is as it was then; else None."""
    kept = atomic_file.read_notes(state_dir / NAME)
    try:
        of = kept["of"]
        if kept["inputs"] != inputs or kept["seen"] != seen(state_dir, of):
            return None
        if kept["users"] == users(state_dir, of):
            return str(kept["plan"])
    except (KeyError, TypeError, *NO_ANSWER):
        pass
    return None


def keep(state_dir: Path, inputs: str, plan: str, of: dict[str, Any]) -> None:
    """Write down how a run has left the server."""
    path = state_dir / NAME
    atomic_file.remove_leftovers(str(path))
    kept = None
    try:
        if are_up_to_date(state_dir, of):
            kept = {"inputs": inputs, "plan": plan, "of": of, "users": users(state_dir, of)}
            kept["seen"] = seen(state_dir, of)
    except NO_ANSWER:
        pass
    if kept is None:
        atomic_file.unlink(str(path))
    elif kept != atomic_file.read_notes(path):
        atomic_file.replace(str(path), (json.dumps(kept, indent=2) + "\n").encode())
