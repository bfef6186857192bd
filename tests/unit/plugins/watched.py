# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers on which a Redis and a Sentinel run, made up: what they answer, and what was sent to them."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.tethys.channels.plugins.module_utils.redis.client import RedisError

REDIS_PORT = 6379
SENTINEL_PORT = 26379
NO_MASTER = "ERR No such master with that name"


class MadeUp:
    """A fake server; `errors` has the next replies to a command instead, by its first words."""

    def __init__(self) -> None:
        self.errors: dict[str, list[Exception]] = {}
        # The logins and the commands, in turn.
        self.logins: list[dict[str, Any]] = []
        self.seen: list[tuple[str, ...]] = []

    def answer(self, words: tuple[str, ...]) -> Any:
        raise NotImplementedError

    def command(self, *words: str | int) -> Any:
        told = tuple(str(word) for word in words)
        self.seen.append(told)
        for opening, left in self.errors.items():
            if left and " ".join(told).startswith(opening):
                raise left.pop(0)
        return self.answer(told)

    def told(self, *asking: str) -> list[tuple[str, ...]]:
        """Return the commands that change something, without those that only read."""
        return [words for words in self.seen if not " ".join(words).startswith(asking)]


class MadeUpRedis(MadeUp):
    """A Redis that is the primary, or copies one, and has so many copies."""

    ASKING = ("ROLE", "INFO")

    def __init__(self, copies: bool = False, of: tuple[str, int] = ("192.0.2.5", REDIS_PORT)) -> None:
        super().__init__()
        self.of: tuple[str, int] | None = of if copies else None
        self.link = "connected"
        # The state of each replica.
        self.copies = ["online", "online"]

    @property
    def changed(self) -> list[tuple[str, ...]]:
        """Return the commands that change something."""
        return self.told(*self.ASKING)

    def answer(self, words: tuple[str, ...]) -> Any:
        if words == ("ROLE",):
            return ["slave", *self.of, self.link, 0] if self.of else ["master", 0, []]
        if words == ("INFO", "replication"):
            rows = [f"slave{number}:ip=x,state={state},lag=0" for number, state in enumerate(self.copies)]
            return "\r\n".join(["# Replication", "role:master", "slave_read_only:1", *rows, ""])
        if words[0] == "REPLICAOF":
            self.of = (words[1], int(words[2]))
            return "OK"
        assert words[:3] == ("CLIENT", "KILL", "TYPE"), words
        return 1


class MadeUpSentinel(MadeUp):
    """A Sentinel that has this primary, these settings, and this user for the portal."""

    ASKING = ("ACL GETUSER", "INFO", "SENTINEL MASTER", "SENTINEL REPLICAS", "SENTINEL GET-MASTER-ADDR-BY-NAME")

    def __init__(
        self,
        primary: tuple[str, int] | None = ("192.0.2.5", REDIS_PORT),
        opens: list[str] | None = None,
        reads: str = "sentinel-0123456789ab.conf",
    ) -> None:
        super().__init__()
        self.primary = primary
        # The configuration that it was started with.
        self.reads = reads
        self.opens: list[str] | None = [] if opens is None else opens
        self.about = {
            "flags": "master",
            "num-other-sentinels": "2",
            "quorum": "2",
            "down-after-milliseconds": "5000",
            "failover-timeout": "10000",
            "parallel-syncs": "3",
        }
        self.replicas = ["slave", "slave"]
        # The replica to which it fails over on command.
        self.next: tuple[str, int] | None = None

    @property
    def changed(self) -> list[tuple[str, ...]]:
        """Return the commands that change something."""
        return self.told(*self.ASKING)

    def answer(self, words: tuple[str, ...]) -> Any:
        if words[0] == "ACL":
            return self.users(words)
        if words == ("INFO", "server"):
            lines = ["# Server", "redis_mode:sentinel", "executable:/data/redis-server"]
            return "\r\n".join([*lines, f"config_file:/etc/tethys-sentinel/{self.reads}", "io_threads_active:0", ""])
        assert words[0] == "SENTINEL", words
        if words[1] == "FLUSHCONFIG":
            return "OK"
        assert words[2] == "tethys-channels", words
        if words[1] == "GET-MASTER-ADDR-BY-NAME":
            return list(map(str, self.primary)) if self.primary else []
        if words[1] == "MONITOR":
            return self.monitor(words)
        if not self.primary:
            raise RedisError(NO_MASTER)
        if words[1] == "MASTER":
            return [word for pair in self.about.items() for word in pair]
        if words[1] == "REPLICAS":
            return [["name", f"r{number}", "flags", flags] for number, flags in enumerate(self.replicas)]
        if words[1] == "SET":
            assert len(words) == 5, words
            self.about[words[3]] = words[4]
            return "OK"
        assert words[1:] == ("FAILOVER", "tethys-channels"), words
        self.primary = self.next or self.primary
        return "OK"

    def monitor(self, words: tuple[str, ...]) -> str:
        """Monitor one more, of which only the address and Sentinel's own settings are known."""
        assert (len(words), self.primary) == (6, None), words
        self.primary = (words[3], int(words[4]))
        self.about.update({"quorum": words[5], "down-after-milliseconds": "30000", "failover-timeout": "180000"})
        self.about["parallel-syncs"] = "1"
        return "OK"

    def users(self, words: tuple[str, ...]) -> Any:
        """The portal's user, and a change of it."""
        assert words[2] == "tethys", words
        if words[1] == "GETUSER":
            return [] if self.opens is None else ["flags", ["on"], "passwords", list(self.opens), "keys", ""]
        assert (words[1], self.opens is None) == ("SETUSER", False), words
        for word in words[3:]:
            if word[0] == "#":
                self.opens.append(word[1:])  # type: ignore[union-attr]
            else:
                assert word[0] == "!"
                self.opens.remove(word[1:])  # type: ignore[union-attr]
        return "OK"


class Connection:
    """What takes the place of client.Redis."""

    def __init__(self, server: MadeUp) -> None:
        self.command = server.command

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_reason: object) -> None:
        pass


class Network(dict[tuple[str, int], MadeUp]):
    """Those that answer, by address and port; where there is nobody, the connection is refused."""

    def connect(self, endpoint: dict[str, Any]) -> Connection:
        server = self.get((endpoint["host"], endpoint["port"]))
        if server is None:
            raise ConnectionRefusedError(111, "Connection refused")
        server.logins.append(endpoint)
        return Connection(server)


class Clock:
    """A module's `time`, which passes only where it sleeps; `then` holds what happens in each sleep, in turn."""

    def __init__(self, *then: Callable[[], Any]) -> None:
        self.then = list(then)
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if self.then:
            self.then.pop(0)()
