# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a portal that serve no requests, such as Celery's: they keep what they have read of its settings."""

from __future__ import annotations

from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.server import proc

# What stands in the command of a process that serves requests, or of what starts those.
_SERVING = ("tethys_portal.asgi", "supervisord")
# More than an administrator would read.
_MOST = 20


class Worker(TypedDict):
    """Such a process, without those that it has started itself."""

    pid: int
    user: str
    command: str


def workers_of(home: str, prefix: str, root: str = proc.ROOT) -> list[Worker]:
    """Return the processes with this TETHYS_HOME, or whose Python is that of the environment.

    Args:
        home: the portal's TETHYS_HOME.
        prefix: the portal's environment.
        root: where the kernel's files are.
    """
    found: dict[int, Worker] = {}
    for pid in proc.pids(root):
        words = proc.text(pid, "cmdline", root).split("\0")
        is_its = words[0].startswith(f"{prefix}/bin/") or proc.environment(pid, root).get("TETHYS_HOME") == home
        command = " ".join(filter(None, words))
        if is_its and not any(word in command for word in _SERVING) and proc.is_of_this_server(pid, root):
            uid = proc.user_id(pid, root)
            user = "" if uid is None else proc.user_name(uid)
            found[pid] = {"pid": pid, "user": user, "command": command[:200]}
    return [worker for pid, worker in found.items() if proc.parent(pid, root) not in found][:_MOST]
