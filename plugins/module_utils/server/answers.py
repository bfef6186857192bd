# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sockets of ASGI processes there are, and whether an HTTP server answers on them."""

from __future__ import annotations

import http.client
import itertools
import os
import socket
import stat
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils.bounded_socket import ask_within
from ansible_collections.tethys.channels.plugins.module_utils.services import (
    UnixConnection,
)

# A process that has not begun to answer after so long is taken for one that hangs.
ANSWER_SECONDS = 10.0
MOST_NAMES = 1000


def heard(connection: http.client.HTTPConnection, host: str) -> bool:
    """Whether an HTTP server answers there, with whatever status."""
    try:
        ask_within(connection, ANSWER_SECONDS, "HEAD", "/", {"Host": host})
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def answers(path: str, host: str = "localhost") -> bool:
    """Whether an HTTP server answers on this socket."""
    return heard(UnixConnection(path, timeout=ANSWER_SECONDS), host)


def port_answers(port: int, address: str = "127.0.0.1", host: str = "localhost") -> bool:
    """Whether an HTTP server answers on this port of an address of this server."""
    return heard(http.client.HTTPConnection(address, port, timeout=ANSWER_SECONDS), host)


def mode_of(path: Path) -> int:
    """The mode of a file or link itself; 0 where there is none."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def sockets_in(folder: Path) -> list[Path]:
    """The sockets of processes in a folder, which may be the portal's user's; links are none."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, MOST_NAMES)]
    except OSError:
        return []
    paths = [folder / name for name in sorted(names) if name.startswith("tethys_asgi") and name.endswith(".sock")]
    return [path for path in paths if stat.S_ISSOCK(mode_of(path))]


def held(path: Path, seconds: float = 2.0) -> bool:
    """Return whether a process accepts connections on this socket, or does not answer within the seconds."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(seconds)
    try:
        probe.connect(str(path))
    except (socket.timeout, BlockingIOError):
        # With a timeout the socket does not block: EAGAIN says that the queue of connections is full.
        return True
    except OSError:
        return False
    finally:
        probe.close()
    return True
