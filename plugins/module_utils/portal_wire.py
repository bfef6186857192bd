# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSockets to the portal and messages through its channel layer. This module runs in the portal's own Python.

It is the other process of the delivery check: it holds the sockets and sends to their group with the portal's own
settings. Its caller sees which socket ended up in which process, since it may read other users' processes, and gives
the commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qs, urlsplit

from ansible_collections.tethys.channels.plugins.module_utils.portal_bokeh import attempt
from ansible_collections.tethys.channels.plugins.module_utils.portal_common import (
    CORE,
    DELIVERY_PACKAGES,
    host_name,
    sentence,
    versions,
)
from ansible_collections.tethys.channels.plugins.module_utils.secrets import Hider, secrets_in

# With six processes on one listening socket, 36 WebSockets opened at this pace met all six in 28 of 28 trials; opened
# all at once, it took up to 288 of them.
STAGGER_SECONDS = 0.002
# Between portals: the interval of greetings, how long sending one may take, and how often a portal that has received
# all of them reports this before it leaves.
GREETING_SECONDS = 0.3
# Each greeting goes to all sockets of all portals. From this many portals on the pause grows with their square, so that
# the check puts no more load on Redis than with fewer.
MANY_PORTALS = 10
ANSWER_SECONDS = 10.0
FAREWELLS = 3
# How long the core class has Redis wait for a message.
BLOCKING_SECONDS = 5.0


def main(params: dict[str, Any], say: Callable[[dict[str, Any]], None], commands: Any) -> None:
    """Print the portal's settings, then run commands until they end."""
    settings, layers = attempt(_settings)
    default = layers.get("default") or {} if isinstance(layers, dict) else {}
    hide = Hider()
    hide.learn(*secrets_in(layers))
    expected = params.get("expected_layers")
    if params.get("settings_file"):
        expected = layers_in(params["settings_file"])
    prefix = str(getattr(settings, "PREFIX_URL", None) or "").strip("/")
    say(
        {
            "backend": default.get("BACKEND"),
            "settings_match": None if expected is None else has_layers(layers, expected),
            "versions": versions(DELIVERY_PACKAGES),
            "host": host_name(settings.ALLOWED_HOSTS),
            "prefix_url": prefix,
            "consumer": has_consumer(),
            "sentinel": behind_sentinel(default),
            "short_reads": short_reads(layers, versions(["redis"])["redis"]),
        }
    )
    wire = Wire(params["address"], host_name(settings.ALLOWED_HOSTS), prefix, hide, params.get("word"))
    asyncio.run(wire.obey(commands, say))


def _settings() -> tuple[Any, Any]:
    settings = importlib.import_module("django.conf").settings
    return settings, settings.CHANNEL_LAYERS


def has_layers(layers: Any, expected: Any) -> bool:
    """Return whether the setting has each expected layer; it may have others as well."""
    if not isinstance(layers, dict) or not isinstance(expected, dict):
        return plain(layers) == plain(expected)
    return all(name in layers and plain(layers[name]) == plain(layer) for name, layer in expected.items())


def behind_sentinel(layer: dict[str, Any]) -> bool:
    """Whether a layer finds its Redis through Sentinel."""
    hosts = (layer.get("CONFIG") or {}).get("hosts") or []
    return any(isinstance(host, dict) and "master_name" in host for host in hosts)


def short_reads(layers: Any, redis_py: str | None) -> dict[str, float]:
    """Return the layers of the core class whose reads end before Redis answers, with the seconds after which they do.

    The class blocks in a read for 5 s. If a host's entry has no socket_timeout, redis-py 8 and later end it after 5 s.

    Args:
        layers: the setting CHANNEL_LAYERS.
        redis_py: the version of redis-py, or None where it is not installed.
    """
    number = (redis_py or "").partition(".")[0]
    default = BLOCKING_SECONDS if number.isdigit() and int(number) >= 8 else None
    found = {}
    for name, layer in layers.items() if isinstance(layers, dict) else ():
        if not isinstance(layer, dict) or layer.get("BACKEND") != CORE:
            continue
        config = layer.get("CONFIG")
        hosts = (config.get("hosts") if isinstance(config, dict) else None) or [None]
        limits = [read_limit(host, default) for host in (hosts if isinstance(hosts, (list, tuple)) else ())]
        short = [limit for limit in limits if limit is not None and limit <= BLOCKING_SECONDS]
        if short:
            found["".join(sign for sign in str(name) if sign.isprintable())[:200]] = min(short)
    return found


def read_limit(host: Any, default: float | None) -> float | None:
    """Return after how many seconds a read from this host of a layer fails, or None for never."""
    found = host.get("socket_timeout", default) if isinstance(host, dict) else default
    address = host.get("address") if isinstance(host, dict) else host
    if isinstance(address, str):
        with contextlib.suppress(ValueError):
            # The URL wins over the other keys.
            found = parse_qs(urlsplit(address).query).get("socket_timeout", [found])[0]
    try:
        return None if found is None else max(0.0, min(float(found), 1e6))
    except (TypeError, ValueError):
        return None


def layers_in(path: str) -> Any:
    """CHANNEL_LAYERS as a portal_config.yml says it, or an empty mapping."""
    # Tethys reads the file by it, and nothing else here does.
    read = importlib.import_module("yaml").safe_load(Path(path).read_text(encoding="utf-8"))
    return ((read or {}).get("settings") or {}).get("CHANNEL_LAYERS") or {}


def plain(value: Any) -> str:
    """A setting as text that is equal for equal settings, whether they came from YAML, JSON or Python."""
    text = json.dumps(value, default=lambda v: v.decode() if isinstance(v, bytes) else str(v))
    # Numbers for keys are texts by now, and sorted as such on either side.
    return json.dumps(json.loads(text), sort_keys=True)


def refusal(reason: str, seconds: float) -> tuple[int, str]:
    """Return the HTTP status of a WebSocket that was not opened, and why, from Autobahn's reason.

    Returns:
        The status, 0 where the connection was dropped without one, or -1; and the reason in words.
    """
    status = re.search(r"upgrade failed \[(\d{3})\]", reason)
    if status:
        return int(status.group(1)), f"the portal answered HTTP {status.group(1)}"
    if "handshake timeout" in reason:
        return -1, f"there was no answer within {seconds:g} seconds"
    return (0 if "peer dropped the TCP connection" in reason else -1), reason


def has_consumer() -> bool:
    """Whether this Tethys routes ws/app-lifecycle. Its routes are read, for importing them would start every app."""
    spec = importlib.util.find_spec("tethys_portal")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        with contextlib.suppress(OSError):
            return "ws/app-lifecycle" in Path(folder, "urls.py").read_text(encoding="utf-8")
    return False


def is_of(token: str, name: str, content: bool = False) -> bool:
    """Whether a greeting is of that portal, and, where it matters, of one that has received all others."""
    sender, _number, flag = (*token.split(" "), "", "")[:3]
    return sender == name and (flag == "1" or not content)


class Socket:
    """One WebSocket of the delivery check."""

    def __init__(self, number: int, port: int) -> None:
        self.number = number
        self.port = port
        self.local_port = 0
        self.opened = False
        self.problem: str | None = None
        self.status = -1
        self.close_code: int | None = None
        self.arrived: dict[str, float] = {}
        self.protocol: Any = None
        self.settled = asyncio.Event()

    @property
    def alive(self) -> bool:
        return self.opened and self.close_code is None


class Wire:
    """The sockets and the channel layer of one delivery check."""

    def __init__(self, address: str, host: str, prefix: str, hide: Hider, word: str | None = None) -> None:
        self._address = address
        self._host = host
        self._hide = hide
        self._word = f"layer_probe_{word or secrets.token_hex(8)}"
        self._path = "/{}ws/app-lifecycle/{}/".format(prefix + "/" if prefix else "", self._word)
        self._sockets: dict[int, Socket] = {}
        self._arrival = asyncio.Event()
        self._layer: Any = None

    async def obey(self, commands: Any, say: Callable[[dict[str, Any]], None]) -> None:
        loop = asyncio.get_running_loop()
        self._arrival = asyncio.Event()
        while True:
            line = await loop.run_in_executor(None, commands.readline)
            if not line:
                break
            command = json.loads(line)
            do = command.pop("do")
            if do == "quit":
                break
            say(await getattr(self, "do_" + do)(**command))
        await self.do_keep([])

    async def do_open(self, ports: dict[str, int], seconds: float) -> dict[str, Any]:
        """Open that many sockets on each port, each while the ones before it are still being answered.

        So a process that is busy leaves the next to another one. All at once would not do: an ASGI server takes every
        connection that is waiting when it comes to look.
        """
        fresh, opening = [], []
        for port, count in ports.items():
            for _again in range(count):
                socket = Socket(len(self._sockets), int(port))
                self._sockets[socket.number] = socket
                fresh.append(socket)
                opening.append(asyncio.ensure_future(self._open(socket, seconds)))
                await asyncio.sleep(STAGGER_SECONDS)
        await asyncio.gather(*opening)
        return {
            "opened": [{"id": s.number, "port": s.port, "local_port": s.local_port} for s in fresh if s.alive],
            "failed": [
                {
                    "port": s.port,
                    "status": s.status,
                    "why": s.problem or f"it was closed at once with code {s.close_code}",
                }
                for s in fresh
                if not s.alive
            ],
        }

    async def _open(self, socket: Socket, seconds: float) -> None:
        websocket = importlib.import_module("autobahn.asyncio.websocket")
        wire = self

        class Client(websocket.WebSocketClientProtocol):  # type: ignore[misc,name-defined]
            def onOpen(self) -> None:
                socket.opened = True
                socket.settled.set()

            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                try:
                    token = json.loads(payload.decode("utf-8"))["layer_probe"]
                except (ValueError, KeyError, TypeError):
                    return
                socket.arrived.setdefault(token, time.monotonic())
                wire._arrival.set()

            def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
                socket.close_code = code or 1006
                if not socket.opened:
                    reason = str(reason or f"it was closed with code {code}")
                    socket.status, socket.problem = refusal(reason, seconds)
                socket.settled.set()
                wire._arrival.set()

        factory = websocket.WebSocketClientFactory(
            f"ws://{self._host}:{socket.port}{self._path}", origin=f"http://{self._host}"
        )
        factory.protocol = Client
        factory.setProtocolOptions(openHandshakeTimeout=seconds)
        try:
            transport, socket.protocol = await asyncio.wait_for(
                asyncio.get_running_loop().create_connection(factory, self._address, socket.port), seconds
            )
            socket.local_port = transport.get_extra_info("sockname")[1]
            await asyncio.wait_for(socket.settled.wait(), seconds)
        except asyncio.TimeoutError:
            socket.problem = f"there was no answer within {seconds:g} seconds"
            if socket.protocol is not None:
                socket.protocol.transport.abort()
        except OSError as error:
            socket.problem = os.strerror(error.errno) if error.errno else str(error)

    async def do_keep(self, ids: list[int]) -> dict[str, Any]:
        """Close all sockets but these."""
        kept = set(ids)
        for number in [n for n in self._sockets if n not in kept]:
            socket = self._sockets.pop(number)
            if socket.alive:
                socket.protocol.sendClose(1000)
        await asyncio.sleep(0.05)
        return {"kept": len(self._sockets)}

    async def do_send(self, seconds: float) -> dict[str, Any]:
        """One message to the group, then wait until every living socket has it."""
        token = secrets.token_hex(8)
        waiting = [s for s in self._sockets.values() if s.alive]
        started = time.monotonic()
        problem = await self._send(token, seconds)
        while problem is None and any(s.alive and token not in s.arrived for s in waiting):
            self._arrival.clear()
            left = started + seconds - time.monotonic()
            if left <= 0:
                break
            try:
                await asyncio.wait_for(self._arrival.wait(), left)
            except asyncio.TimeoutError:
                break
        return {
            "problem": problem,
            "of": [s.number for s in waiting],
            "received": {str(s.number): round(s.arrived[token] - started, 4) for s in waiting if token in s.arrived},
            "closed": self._closed(),
        }

    async def _send(self, token: str, seconds: float) -> str | None:
        """One message to the group; why it could not be sent, or None."""
        try:
            if self._layer is None:
                self._layer = importlib.import_module("channels.layers").get_channel_layer()
            message = {"type": "progress.message", "progress_metadata": {"layer_probe": token}}
            await asyncio.wait_for(self._layer.group_send(f"app_{self._word}", message), seconds)
        except asyncio.TimeoutError:
            return f"there was no answer within {seconds:g} seconds"
        except Exception as error:
            return str(self._hide.everywhere(sentence(error)))
        return None

    async def do_greet(self, name: str, names: list[str], seconds: float) -> dict[str, Any]:
        """Send to the group, and receive what this program sends on other servers, until all have received all.

        Each greeting contains its sender and whether that sender has received all others on all of its sockets, so that
        none leaves while others still wait for a greeting.
        """
        until, number, farewells = time.monotonic() + seconds, 0, 0
        problem: str | None = None
        while time.monotonic() < until and farewells < FAREWELLS and not problem:
            living = [s for s in self._sockets.values() if s.alive]
            heard = {one: sum(any(is_of(token, one) for token in s.arrived) for s in living) for one in names}
            content = bool(living) and all(heard[one] == len(living) for one in names)
            others = [one for one in names if one != name]
            told = {one for one in others for s in living if any(is_of(token, one, True) for token in s.arrived)}
            farewells += content and told == set(others)
            problem = await self._send(f"{name} {number} {int(content)}", ANSWER_SECONDS)
            number += 1
            await asyncio.sleep(GREETING_SECONDS * max(1, len(names) / MANY_PORTALS) ** 2)
        living = [s for s in self._sockets.values() if s.alive]
        return {
            "problem": problem,
            "of": [s.number for s in living],
            "heard": {
                one: [s.number for s in living if any(is_of(token, one) for token in s.arrived)] for one in names
            },
        }

    async def do_rest(self, seconds: float) -> dict[str, Any]:
        """Be silent for a while, then say which sockets did not live through it."""
        await asyncio.sleep(seconds)
        return {"closed": self._closed()}

    def _closed(self) -> dict[str, int | None]:
        return {str(s.number): s.close_code for s in self._sockets.values() if s.opened and not s.alive}
