# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load programs make of a server's bytes and of their times."""

from __future__ import annotations

import asyncio

import pytest
from ansible_collections.tethys.channels.tests.bench.programs import idle_receivers, layer_load, socket_load
from hypothesis import given
from hypothesis import strategies as st


def sent(operation: int, payload: bytes) -> bytes:
    """A frame as a server sends it, of any length."""
    size = len(payload)
    if size < 126:
        return bytes([128 | operation, size]) + payload
    if size < 65536:
        return bytes([128 | operation, 126]) + size.to_bytes(2, "big") + payload
    return bytes([128 | operation, 127]) + size.to_bytes(8, "big") + payload


PAYLOADS = st.one_of(st.binary(max_size=300), st.integers(65530, 65540).map(bytes))
FRAMES = st.lists(st.tuples(st.sampled_from([socket_load.TEXT, socket_load.PING]), PAYLOADS), max_size=5)


@given(FRAMES, st.lists(st.integers(0, 70000), max_size=6))
def test_frames_are_read_wherever_the_network_cuts_them(wanted: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(sent(*each) for each in wanted)
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    found: list[tuple[int, bytes]] = []
    rest = b""
    for start, end in zip(places, places[1:], strict=False):
        more, rest = socket_load.frames(rest + stream[start:end])
        found += more
    assert found == wanted
    assert rest == b""


def test_a_clients_frame_is_masked() -> None:
    assert socket_load.frame(socket_load.PONG, b"hi", masked=True) == b"\x8a\x82\0\0\0\0hi"
    assert socket_load.frames(socket_load.frame(socket_load.TEXT, b"hi")) == ([(socket_load.TEXT, b"hi")], b"")


@pytest.mark.parametrize("program", [layer_load, socket_load])
@pytest.mark.parametrize(("share", "value"), [(0, 1), (0.5, 51), (0.99, 100), (1, 100)])
def test_percentiles(program: object, share: float, value: float) -> None:
    assert program.percentile([float(each) for each in range(1, 101)], share) == value  # type: ignore[attr-defined]


def test_what_does_not_arrive_is_counted_and_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_load, "LOST_SECONDS", 0.05)

    async def run() -> tuple[dict[str, float], int]:
        orders: list[int] = []
        load = socket_load.Load(2, orders.append)

        def deliver(number: int) -> None:
            # The second message reaches one of two.
            payload = b'{"bench": [%d, 0.0]}' % number
            for _each in range(1 if number == 2 else 2):
                asyncio.get_running_loop().call_soon(load.heard, payload, 1.0)

        load.order = deliver
        return await load.flow(0.2, 1), load.number

    found, number = asyncio.run(run())
    assert found["lost"] == 1
    assert number > 2
    assert found["p50_ms"] == 1000


class Layer:
    """A channel layer of which one channel fails and one never gets anything."""

    def __init__(self) -> None:
        self.queues: dict[str, asyncio.Queue[str]] = {}

    async def new_channel(self) -> str:
        name = f"c{len(self.queues)}"
        self.queues[name] = asyncio.Queue()
        return name

    async def receive(self, channel: str) -> str:
        if channel == "c0":
            raise TimeoutError
        return await self.queues[channel].get()

    async def send(self, channel: str, _message: object) -> None:
        if channel == "c1":
            self.queues[channel].put_nowait("x")
        elif channel == "c2":
            raise ConnectionError


def test_receivers_are_counted_by_what_became_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle_receivers, "ARRIVAL_SECONDS", 0.05)

    async def run() -> dict[str, object]:
        case = idle_receivers.Case(Layer(), 3)
        await case.start()
        case.fault()
        await case.send()
        return case.result()

    found = asyncio.run(run())
    assert (found["received"], found["ended"], found["waiting"]) == (1, 1, 1)
    assert found["sender_after"] == 0


@pytest.mark.parametrize(
    ("timeout", "rest"),
    [("absent", {}), ("null", {"socket_timeout": None}), ("15", {"socket_timeout": 15.0})],
)
def test_the_entry_of_a_case(timeout: str, rest: dict[str, object]) -> None:
    assert idle_receivers.entry("redis://r", timeout) == {"address": "redis://r", **rest}
