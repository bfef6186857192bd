# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery check through the web server in front of the processes."""

from __future__ import annotations

import contextlib
import http.client
import time
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.delivery.check import HANDSHAKE_SECONDS, Check
from ansible_collections.tethys.channels.plugins.module_utils.front_check import Front, FrontCheck
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.web_socket import status_of

# Problems with which the web server in front may work.
BESIDE_THE_FRONT = {"number-differs", "settings-differ"}


def open_all(check: Check, about: dict[str, Any], count: int) -> None:
    """Ask the web server in front for a page and WebSockets, unless what is behind it is at fault."""
    given, able = check.given["front"], check.able()
    faults = {problem.code for problem in check.problems} - BESIDE_THE_FRONT
    if not given or check.given["among"] or not able or faults or check.failed:
        return
    front = Front.given(given, about["host"], about["prefix_url"])
    check.front = FrontCheck(front, check.deadline)
    if check.front.look(direct_status(check, able[0], front)):
        check.front.open_sockets(
            check.word, count, check.deadline - time.monotonic() + check.given["idle_seconds"] + 60
        )


def direct_status(check: Check, process: proc.Process, front: Front) -> int | None:
    """Return how a process answers the request for the page; None where it does not."""
    place = front.place._replace(address=check.address, port=process.port, tls=False)
    with contextlib.suppress(OSError, http.client.HTTPException):
        return status_of(place, front.page, HANDSHAKE_SECONDS)
    return None


def close_all(check: Check) -> None:
    """Close the WebSockets through the web server, and add their problems and warnings."""
    if check.front:
        check.front.close()
        check.result["front"] = check.front.answer()
        check.problems += check.front.problems
        check.warnings += check.front.warnings
