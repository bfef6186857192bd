# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a portal that serve no requests, such as Celery's: they keep what they have read of its settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import account
from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import RUNWORKER

# What stands in the command of a process that serves requests, or of what starts those.
_SERVING = ("tethys_portal.asgi", "supervisord")
# More than an administrator would read. A Python and its program in an environment take 90 characters.
_MOST = 10
_LONGEST = 200


class Worker(TypedDict):
    """Such a process; `of_channels` is whether it receives from channels by their names."""

    pid: int
    user: str
    command: str
    of_channels: bool


def workers_of(
    home: str, prefix: str, user: str | None = None, root: str = proc.ROOT, me: int | None = None
) -> list[Worker]:
    """Return the Pythons with this TETHYS_HOME, and those of the environment without any, that serve no requests.

    What one of them has started itself is left out, unless it receives from channels. Those that do come first.

    Any user of the server can start a Python with this TETHYS_HOME, and what receives from channels decides the class
    of the layer. So only processes of who already decides over the portal do, and those of others come last.

    Args:
        home: the portal's TETHYS_HOME.
        prefix: the portal's environment.
        user: who runs the portal.
        root: where the kernel's files are.
        me: this process, which may have started a Python of the portal to read its settings.
    """
    me = os.getpid() if me is None else me
    owners = _owners(home, prefix, user)
    found: dict[int, Worker] = {}
    others: set[int] = set()
    ours = set(_ancestors(me, root))
    for pid in proc.pids(root):
        words = [word for word in proc.text(pid, "cmdline", root).split("\0") if word]
        if pid in ours or not words or not Path(proc.program(pid, root)).name.startswith("python"):
            continue
        # Several portals may have one environment.
        given = _home(pid, root)
        is_its = given == os.path.realpath(home) or (not given and words[0].startswith(f"{prefix}/bin/"))
        serves = any(one in word for one in _SERVING for word in words)
        if is_its and not serves and proc.is_of_this_server(pid, root) and me not in _ancestors(pid, root):
            uid = proc.user_id(pid, root)
            name = "" if uid is None else proc.user_name(uid)
            named = RUNWORKER in words and uid in owners
            found[pid] = {"pid": pid, "user": name, "command": _name(words), "of_channels": named}
            if uid not in owners:
                others.add(pid)
    first = [worker for pid, worker in found.items() if worker["of_channels"] or proc.parent(pid, root) not in found]
    return sorted(first, key=lambda worker: (not worker["of_channels"], worker["pid"] in others))[:_MOST]


def _owners(home: str, prefix: str, user: str | None) -> set[int]:
    """Return the users who decide what the portal does: root, who runs it, and who may change what it runs."""
    who = account(user)
    owners = {0, who.uid} if who else {0}
    for folder in (home, prefix):
        with contextlib.suppress(OSError):
            owners.add(Path(folder).stat().st_uid)
    return owners


def _ancestors(pid: int, root: str) -> Iterator[int]:
    """Yield a process and all that it descends from."""
    while pid:
        yield pid
        pid = proc.parent(pid, root)


def _home(pid: int, root: str) -> str:
    """Return the TETHYS_HOME of a process, or an empty text."""
    home = proc.environment(pid, root).get("TETHYS_HOME")
    return os.path.realpath(home) if home else ""


def _name(words: list[str]) -> str:
    """Return the program and the words before its first option: any other may be a password, as in a broker's URL."""
    return " ".join(takewhile(lambda word: not word.startswith("-") and "://" not in word, words))[:_LONGEST]
