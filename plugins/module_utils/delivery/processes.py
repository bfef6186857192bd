# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes that a delivery check goes by: those that accept on the portal's ports and are the portal's."""

from __future__ import annotations

import os
import time
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected
from ansible_collections.tethys.channels.plugins.module_utils.delivery.check import HANDSHAKE_SECONDS, Check
from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem
from ansible_collections.tethys.channels.plugins.module_utils.read_as import ask_as
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, account_of


def find(check: Check) -> None:
    """Which processes there are; a process that is just being started gets a moment."""
    wanted = check.given["processes"]
    patience = min(check.deadline, check.started + 10)
    while True:
        check.processes = proc.accepting(check.address, check.ports)
        served = {process.port for process in check.processes}
        enough = len(check.processes) == wanted if wanted else bool(check.processes)
        if (enough and served == set(check.ports)) or time.monotonic() > patience:
            break
        time.sleep(0.5)
    for port in check.ports:
        if port not in served:
            check.problems.append(nobody_on(check, port))
    if wanted and served and len(check.processes) != wanted:
        there = "1 is" if len(check.processes) == 1 else f"{len(check.processes)} are"
        check.report_problem(
            "number-differs",
            "processes",
            f"{wanted} ASGI processes are expected on {check.places()}, and {there} there.",
        )
    for process in check.processes:
        if process not in check.able():
            check.report_problem(
                "process-stopped",
                str(process.pid),
                f"{check.called(process)} is stopped (state {process.state}) and answers nothing.",
            )


def leave_out_strangers(check: Check, who: Account | None) -> None:
    """Leave out each process whose user cannot read the portal's settings, and so cannot be the portal.

    While the portal is down, any user of the server can listen on its port, and on that of Redis: the message that
    is sent for such a process would bring that user the password.
    """
    config = str(Path(check.given["home"], "portal_config.yml"))
    can_read = {0: True, os.geteuid(): True, **({who.uid: True} if who else {})}
    for process in list(check.processes):
        uid = proc.user_id(process.pid)
        if uid is None:
            continue
        if uid not in can_read:
            can_read[uid] = may_read(config, uid)
        if not can_read[uid]:
            check.processes.remove(process)
            check.report_problem(
                "process-of-stranger",
                str(process.pid),
                f"Process {process.pid} on port {process.port} is of user {process.user}, who cannot read {config}:"
                " it is not the portal's. Stop it and start the portal.",
            )


def nobody_on(check: Check, port: int) -> Problem:
    """Return the problem of a port without a process."""
    place = f"{check.host}:{port}"
    held = proc.listening(check.address, [port])
    if not held:
        return Problem("port-closed", str(port), f"Nothing listens on {place}.")
    if os.geteuid() != 0:
        return Problem(
            "port-not-visible",
            str(port),
            f"Only root can see which process listens on {place}, and this does not run as root (become).",
        )
    # Not above: it reads much that a portal that delivers does not need.
    from ansible_collections.tethys.channels.plugins.module_utils.server import supervisord

    pids = [pid for inode in held for pid in proc.holders(inode)]
    return Problem(
        "port-not-accepting",
        str(port),
        f"{place} is held open, but no process accepts there; `{supervisord.client_of(max(pids, default=0), 'status')}`"
        " shows why.",
    )


def may_read(path: str, uid: int) -> bool:
    """Return whether the user with that number may read a file."""
    try:
        return ask_as(account_of(uid), lambda: b"%d" % os.access(path, os.R_OK), 1, HANDSHAKE_SECONDS) == b"1"
    except Rejected:
        return False
