# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server was when delivery was last proved on it, and whether it is so still.

A run ends by writing down a sum over all that its roles write and go by on the server, beside one over what it was
asked for. Where a later run finds both the same, the roles would find nothing to do.
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

from ansible_collections.tethys.channels.plugins.module_utils import serving, whole_file
from ansible_collections.tethys.channels.plugins.module_utils.asgi_record import Sources, process_key
from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES
from ansible_collections.tethys.channels.plugins.module_utils.services import Supervisor, is_asgi_group

NAME = "proof.json"
# What cannot be asked cannot be said to be as it was.
NO_ANSWER = (OSError, http.client.HTTPException, xmlrpc.client.Error, ValueError)


def _entry(path: Path) -> list[Any]:
    """A file with its content, or a folder: whose it is, and its mode."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return [str(path), None]
    link = os.readlink(path) if stat.S_ISLNK(found.st_mode) else None
    content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return [str(path), oct(found.st_mode), found.st_uid, found.st_gid, link, content]


def _processes() -> list[list[Any]]:
    """The portal's processes, each with its number and the moment of its start, if it runs, and whether it is stopped.

    Supervisor's word for its state changes by itself when it has run for a while.
    """
    rows = Supervisor().rpc().getAllProcessInfo()
    ours = [row for row in rows if is_asgi_group(row["group"])]
    return sorted([row["name"], process_key(row["pid"]), serving.is_stopped(row["pid"])] for row in ours)


def seen(state_dir: Path, of: dict[str, Any]) -> str:
    """A sum over the server as it is: files, packages, container, image and processes.

    Args:
        state_dir: the folder in which the collection keeps what it must remember, all of which counts.
        of: the other `files`, `site_packages`, and `container`, `image` and `engine`, the first null where none is run.
    """
    inside = sorted(path for path in state_dir.rglob("*") if path.name != NAME)
    engine = ENGINES[of["engine"]]() if of["container"] else None
    state = [
        [_entry(path) for path in [state_dir, *inside, *map(Path, of["files"])]],
        Sources([], of["site_packages"]).sum,
        engine.whole(of["container"], of["image"]) if engine else None,
        _processes(),
    ]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def proved_plan(state_dir: Path, inputs: str) -> str | None:
    """The plan by which delivery was proved with these inputs, where all is as it was then; else None."""
    kept = whole_file.read_notes(state_dir / NAME)
    try:
        if kept["inputs"] == inputs and kept["seen"] == seen(state_dir, kept["of"]):
            return str(kept["plan"])
    except (KeyError, TypeError, *NO_ANSWER):
        pass
    return None


def keep(state_dir: Path, inputs: str, plan: str, of: dict[str, Any]) -> None:
    """Write down that delivery is proved with the server as it is."""
    path = state_dir / NAME
    try:
        kept = {"inputs": inputs, "plan": plan, "of": of, "seen": seen(state_dir, of)}
    except NO_ANSWER:
        whole_file.unlink(str(path))
        return
    if kept != whole_file.read_notes(path):
        whole_file.remove_leftovers(str(path))
        whole_file.replace(str(path), (json.dumps(kept, indent=2) + "\n").encode())
