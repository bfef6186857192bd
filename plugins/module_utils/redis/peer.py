# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log in to the Redis container of this server, and to no other program that answers at its address.

While the container is away, any local user can listen on its port. So a login is sent only after the kernel has shown
that the other end of the established connection belongs to a process of the container. A container with its own
network is reached at its own address, since a proxy answers at the published port. Over TLS, the certificate
identifies the server.
"""

from __future__ import annotations

import http.client
import socket
import struct
import time
from functools import partial
from typing import Any, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES, Place
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError
from ansible_collections.tethys.channels.plugins.module_utils.server import proc

# The port of Redis in a network of the container's own.
INSIDE_PORT = 6379
# How long a connection that the kernel has established may wait for its server to accept it.
ACCEPT_SECONDS = 5.0
PAUSE = 0.01
_PEER = struct.Struct("3i")


class Stranger(OSError):
    """The Redis container does not run, or another program answers at its address: nothing was sent to it."""


class Container(NamedTuple):
    """The Redis container of this server."""

    engine: str
    name: str


def login(endpoint: dict[str, Any], container: Container, timeout: float = 5.0) -> Redis:
    """Return a connection to the Redis container, logged in.

    Args:
        endpoint: as ``Redis`` takes it: where the portal reaches the container.
        container: the container that has to answer there.
        timeout: seconds for the connection, and for each command.

    Raises:
        Stranger: the container does not run, or something else answers. No login was sent.
        OSError, RedisError: as ``Redis``.
    """
    if endpoint.get("tls"):
        return Redis(endpoint, timeout)
    place = _place(container)
    if endpoint.get("path"):
        return Redis(endpoint, timeout, partial(_verify_unix, container=container, pid=place.pid))
    if place.addresses:
        endpoint = {**endpoint, "host": place.addresses[0], "port": INSIDE_PORT}
    return Redis(endpoint, timeout, partial(_verify_tcp, container=container, pid=place.pid))


def answers(endpoint: dict[str, Any], container: Container, timeout: float = 5.0) -> None:
    """Raise where the port that the engine publishes for a container does not lead to a Redis, without a login.

    The portal's processes log in there. Only root can have it lead elsewhere: what listens there has to be root's, such
    as the engine's proxy, or nothing does and the kernel forwards it.

    Raises:
        Stranger: a process that is not root's listens there.
        OSError, RedisError: as ``Redis``.
    """
    if endpoint.get("tls") or endpoint.get("path") or not _place(container).addresses:
        # It answers there itself.
        return

    def verify(connected: socket.socket) -> None:
        inode = _accepted(connected, container, "/proc/self")
        if inode:
            holders = proc.holders(inode)
            others = [pid for pid in holders if not (proc.is_roots(pid) and proc.is_of_this_server(pid))]
            # Any of them can answer.
            if others or not holders:
                raise Stranger(_answers_instead(others, container))

    with Redis({"host": endpoint["host"], "port": endpoint["port"]}, timeout, verify) as redis:
        try:
            redis.command("PING")
        except RedisError as error:
            if not str(error).startswith("NOAUTH"):
                raise


def _place(container: Container) -> Place:
    """Return where the container is; Stranger where it does not run."""
    try:
        place = ENGINES[container.engine]().place(container.name)
    except (http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        raise OSError(f"{container.engine} does not answer about container {container.name}") from error
    if not place.pid:
        raise Stranger(f"container {container.name} does not run")
    return place


def _verify_unix(connected: socket.socket, container: Container, pid: int) -> None:
    """Raise Stranger unless a process of the container listens at the other end of a unix socket."""
    other, _uid, _gid = _PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if other not in proc.descendants(pid):
        raise Stranger(_answers_instead([other], container))


def _verify_tcp(connected: socket.socket, container: Container, pid: int) -> None:
    """Raise Stranger unless a process of the container holds the other end of a TCP connection."""
    # In the network that the container is in: of itself, or the server's.
    inode = _accepted(connected, container, f"/proc/{pid}")
    if inode is None:
        host, port = connected.getpeername()
        raise Stranger(f"what answers at {host}:{port} is not container {container.name}")
    if not any(inode in proc.sockets_of(one) for one in proc.descendants(pid)):
        raise Stranger(_answers_instead(proc.holders(inode), container))


def _accepted(connected: socket.socket, container: Container, where: str) -> int | None:
    """Return the inode of the other end once its server has accepted it; None where it is not in that network.

    Args:
        where: the folder of a process in /proc, whose network it is.
    """
    server, client = connected.getpeername(), connected.getsockname()
    end = time.monotonic() + ACCEPT_SECONDS
    while True:
        inode = proc.other_end(server, client, where)
        if inode != 0:
            return inode
        # Established by the kernel, and not accepted yet.
        if time.monotonic() > end:
            raise Stranger(f"container {container.name} did not accept a connection within {ACCEPT_SECONDS:g} s")
        time.sleep(PAUSE)


def _answers_instead(pids: list[int], container: Container) -> str:
    """Return the sentence about the process, the first of these, that answers in the container's place."""
    about = "another process"
    pid = pids[0] if pids else 0
    uid = proc.user_id(pid) if pid else None
    if uid is not None:
        about = f'process {pid} ("{clean(proc.name_of(pid))}", user {proc.user_name(uid)})'
    return f"{about} answers instead of container {container.name}"
