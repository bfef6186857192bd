# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a verified run: digests of its inputs and of the server's state, and whether they are unchanged.

Before the delivery check, a run records a digest of everything that its roles write and read on the server, and a
digest of its inputs. If a later run finds both unchanged, the roles have nothing to do.
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
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import is_asgi_group
from ansible_collections.tethys.channels.plugins.module_utils.read_as import names_in, read_file
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import RedisError
from ansible_collections.tethys.channels.plugins.module_utils.redis.peer import Container, login
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import ADMIN_USER, sha256
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import group_name, user_name
from ansible_collections.tethys.channels.plugins.module_utils.services import Supervisor

NAME = "proof.json"
# If a query fails, the state counts as changed.
NO_ANSWER = (OSError, Rejected, http.client.HTTPException, xmlrpc.client.Error, RedisError, ValueError)


def _attributes(found: os.stat_result) -> list[Any]:
    # What has a number now may be another user or group one day.
    user, group = user_name(found.st_uid), group_name(found.st_gid)
    return [oct(found.st_mode), found.st_uid, user, found.st_gid, group]


def _entry(path: Path) -> list[Any]:
    """Return a file with its content, or a folder with the sockets in it, with owner and mode."""
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

    Without Supervisor's state name, which changes once a process counts as started.
    """
    every = Supervisor().rpc().getAllProcessInfo()
    portal = of.get("portal_name", "")
    rows = [row for row in every if is_asgi_group(row["group"], portal) and row["group"] not in of["other_groups"]]
    return {row["name"]: [proc.process_key(row["pid"]), proc.is_stopped(row["pid"])] for row in rows}


def _sum(state: Any) -> str:
    return sha256(json.dumps(state, sort_keys=True))


def users(state_dir: Path, of: dict[str, Any]) -> str | None:
    """Return a digest of the users of the running Redis, which are in no file, if this Redis is ours."""
    if not of["endpoint"]:
        return None
    password = atomic_file.read_notes(state_dir / "credentials.json").get("admin_password")
    admin = {**of["endpoint"], "username": ADMIN_USER, "password": password}
    with login(admin, Container(of["engine"], of["container"])) as redis:
        return _sum(redis.command("ACL", "LIST"))


def seen(state_dir: Path, of: dict[str, Any]) -> str:
    """Return a digest of the server's state: files, packages, container, image and processes.

    Args:
        state_dir: the folder with the collection's state, all of which is included.
        of: the other `files` and folders, `site_packages`, the `other_groups` of Supervisor's, and, where a
            container of ours is run (else null),
            `container`, `image`, `engine`, and `endpoint`, if its Redis supports users; and `portal_name`, if any.
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
    """Return the plan of the verified run with these inputs if nothing has changed since; else None."""
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


def state_of_other(state_dir: Path, home: str) -> str | None:
    """Return the portal_config.yml of another portal, if the state is kept for that one by its notes.

    Before a first run has changed that file, the credentials of its Redis name the portal.
    """
    kept = atomic_file.read_notes(state_dir / "portal_config.original.json").get("realpath")
    kept = kept or atomic_file.read_notes(state_dir / "credentials.json").get("portal_config")
    is_own = not home or kept == os.path.realpath(f"{home}/portal_config.yml")
    return kept if isinstance(kept, str) and not is_own else None
