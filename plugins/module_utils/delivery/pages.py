# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests to each process, for a Tethys without the consumer."""

from __future__ import annotations

import http.client
import time

from ansible_collections.tethys.channels.plugins.module_utils.bounded_socket import ask_within
from ansible_collections.tethys.channels.plugins.module_utils.delivery.check import HANDSHAKE_SECONDS, Check, Failure
from ansible_collections.tethys.channels.plugins.module_utils.delivery.sockets import OPENED_PER_PROCESS
from ansible_collections.tethys.channels.plugins.module_utils.server import proc


def request_pages(check: Check, name: str, prefix_url: str) -> None:
    """Check that every process answers an HTTP request, as far as chance distributes requests to all of them."""
    kept: list[http.client.HTTPConnection] = []
    for process in check.able():
        for _try in range(OPENED_PER_PROCESS):
            if process.pid in check.holder.values() or time.monotonic() > check.deadline:
                break
            # Connections stay open until all are done: the process of a closed one cannot be found.
            kept.append(http.client.HTTPConnection(check.address, process.port, timeout=HANDSHAKE_SECONDS))
            if not request_page(check, kept[-1], process.port, name, f"/{prefix_url}/" if prefix_url else "/"):
                break
    for connection in kept:
        connection.close()
    for (port, why, _status), times in sorted(check.failed.items()):
        where = f"{check.host}:{port}"
        check.report_problem(
            "requests-failed",
            where,
            f"{times} of our requests to {where} failed: {why.rstrip('.')}{check.logs_on(port)}.",
        )
    for process in check.able():
        if process.pid not in check.holder.values():
            check.report_problem(
                "process-answered-nothing",
                str(process.pid),
                f"{check.called(process)} answered none of our requests{check.log_of(process)}.",
            )


def request_page(check: Check, connection: http.client.HTTPConnection, port: int, name: str, path: str) -> bool:
    """Ask once and note who answered; returns whether there was an answer at all."""
    try:
        connection.connect()
        end = (port, connection.sock.getsockname()[1])
        status = ask_within(connection, HANDSHAKE_SECONDS, "GET", path, {"Host": name})
    except (OSError, http.client.HTTPException) as error:
        check.failed[Failure(port, str(error) or type(error).__name__)] += 1
        return False
    if status >= 500:
        check.failed[Failure(port, f"HTTP {status}", status)] += 1
    for holder in proc.who_holds([end], [process.pid for process in check.able()]).values():
        check.holder[len(check.holder)] = holder
    return True
