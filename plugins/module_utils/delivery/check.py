# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A delivery check: what was requested, what was seen, what is wrong, and the words for it."""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.front_check import FrontCheck
from ansible_collections.tethys.channels.plugins.module_utils.portal_common import DELIVERY_PACKAGES
from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem, codes, texts
from ansible_collections.tethys.channels.plugins.module_utils.server import proc

HANDSHAKE_SECONDS = 10.0


class Failure(NamedTuple):
    """A WebSocket that could not be opened, or a request that failed.

    Args:
        port: where.
        why: in words.
        status: the HTTP status; 0 where the connection was dropped without one, -1 where neither is the case.
    """

    port: int
    why: str
    status: int = -1


class Check:
    """One delivery check: what was requested, what was seen, what is wrong."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.host: str = given["host"]
        self.address = socket.gethostbyname(self.host)
        self.ports: list[int] = given["ports"]
        self.started = time.monotonic()
        self.deadline = self.started + given["timeout"]
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.short_reads: dict[str, float] = {}
        self.processes: list[proc.Process] = []
        self.holder: dict[int, int] = {}
        self.failed: Counter[Failure] = Counter()
        self.got_first: set[int] = set()
        self.word = given["word"] or secrets.token_hex(8)
        self.front: FrontCheck | None = None
        self.result: dict[str, Any] = {
            "provable": False,
            "reason": "not_started",
            "messages": 0,
            "sent": 0,
            "received": 0,
            "delivery_seconds": None,
            "idle": None,
            "among": None,
            "front": None,
            "settings_match": None,
            "backend": None,
            "versions": dict.fromkeys(DELIVERY_PACKAGES),
        }

    def report_problem(self, code: str, subject: str, text: str) -> None:
        """Add something that is wrong."""
        self.problems.append(Problem(code, subject, text))

    def able(self) -> list[proc.Process]:
        """The processes that are not stopped."""
        return [process for process in self.processes if not process.frozen]

    def called(self, process: proc.Process) -> str:
        """What a person finds a process by."""
        name = f" ({process.supervisor_name})" if process.supervisor_name else ""
        return f"The ASGI process {process.pid}{name} on port {process.port}"

    def places(self) -> str:
        """Return the addresses to check, as one text."""
        return ", ".join(f"{self.host}:{port}" for port in self.ports)

    def log_of(self, process: proc.Process) -> str:
        """Where that process says more."""
        if process.log:
            return f"; see {process.log}"
        if process.supervisor_name:
            # Not above: it reads much that a portal that delivers does not need.
            from ansible_collections.tethys.channels.plugins.module_utils.server import supervisord

            return f"; see `{supervisord.client_of(process.pid, 'tail', process.supervisor_name)}` and its log file"
        return ""

    def logs_on(self, port: int) -> str:
        """Where to look when only the port is known."""
        logs = {self.log_of(process) for process in self.processes if process.port == port} - {""}
        return logs.pop() if len(logs) == 1 else "; see the logs of the processes on that port" if logs else ""

    def any_log(self) -> str:
        """Where to look when every process is meant."""
        logs = {self.log_of(process) for process in self.processes} - {""}
        return logs.pop() if len(logs) == 1 else "; see the processes' logs" if logs else ""

    def age_hint(self, process: proc.Process) -> str:
        """A process older than the settings still runs with the old ones."""
        try:
            changed = Path(self.given["home"], "portal_config.yml").stat().st_mtime
        except OSError:
            return ""
        if process.started_at < changed:
            return "; it was started before portal_config.yml was last changed, so it has to be restarted"
        return ""

    def short_read(self, name: str, seconds: float) -> str:
        """Return the sentence for a layer of the core class whose reads end before Redis answers."""
        client = self.result["versions"].get("redis")
        return (
            f"CHANNEL_LAYERS.{name} ends a read after {seconds:g} s (redis-py {client}), and its class waits in one"
            " for 5 s, so that idle WebSockets are closed with code 1011. Set socket_timeout to 15 in each of its"
            " hosts."
        )

    def report(self) -> dict[str, Any]:
        """The answer of the module."""
        held = Counter(self.holder.values())
        got = Counter(pid for number, pid in self.holder.items() if number in self.got_first)
        return {
            **self.result,
            "ok": not self.problems,
            "problems": texts(self.problems),
            "codes": codes(self.problems),
            "warnings": [*self.warnings, *(self.short_read(*each) for each in self.short_reads.items())],
            "processes": [
                {
                    "pid": process.pid,
                    "user": process.user,
                    "port": process.port,
                    "age_seconds": process.age_seconds,
                    "sockets": held[process.pid],
                    "received": got[process.pid],
                    "alive": proc.still_there(process),
                    "name": process.supervisor_name,
                }
                for process in self.processes
            ],
            "listeners": [
                {"port": port, "processes": sum(process.port == port for process in self.processes)}
                for port in self.ports
            ],
            "seconds": round(time.monotonic() - self.started, 2),
        }
