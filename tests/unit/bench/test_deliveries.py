# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was due to sockets that close and open, and when a fault was over."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils import sentinel, shared
from ansible_collections.tethys.channels.tests.bench.programs.deliveries import (
    CALM_SECONDS,
    LATE_SECONDS,
    MARGIN_SECONDS,
    SETTLED_SECONDS,
    Message,
    Place,
    Span,
    figures,
)
from hypothesis import given
from hypothesis import strategies as st


def flow(seconds: int, group: str = "5", **failed: bool) -> list[Message]:
    """A message a second, each sent within 10 ms."""
    return [Message(at, group, at, at + 0.01, failed.get(f"at{at}", False)) for at in range(seconds)]


def place(received: dict[int, float] | list[int], *spans: Span, group: str = "5") -> Place:
    """A client that received each number after 20 ms, or when a mapping says."""
    times = received if isinstance(received, dict) else {number: number + 0.02 for number in received}
    return Place(group, list(spans) or [Span(-10)], dict(times))


def test_a_message_is_due_to_a_socket_that_is_open_all_the_while() -> None:
    at = 100.0
    message = Message(1, "5", at, at + 0.5)
    settled = at - SETTLED_SECONDS
    wanted = at + 0.5 + MARGIN_SECONDS
    for span, due in (
        (Span(settled), True),
        (Span(settled + 0.01), False),
        (Span(settled, wanted + 0.01), True),
        (Span(settled, wanted), False),
    ):
        assert Place("5", [span]).expects(message) is due, span
    assert Place("5", [Span(0, 50), Span(60)]).expects(message)
    assert not Place("5").expects(message)


def test_what_is_due_and_received_is_counted_for_each_place() -> None:
    places = [place(list(range(10))), place([0, 1, 2, 3, 4, 5, 6, 7, 8]), place([3], group="30"), place([], Span(6.5))]
    found = figures([*flow(10), Message(99, "slow_clients", 1, 1)], places, None)
    assert (found["messages"], found["due"], found["received"]) == (10, 10 + 10 + 2, 10 + 9 + 0)
    assert found["refused"] == found["twice"] == found["closed"] == 0
    assert found["until_seconds"] is found["watched_seconds"] is None


def test_what_the_sender_was_refused_is_not_due() -> None:
    found = figures(flow(10, at3=True), [place([number for number in range(10) if number != 3])], None)
    assert (found["refused"], found["due"], found["received"]) == (1, 9, 9)
    assert (found["wanted"], found["missed"]) == (10, 1)


def test_a_message_received_again_is_counted_once_and_as_twice() -> None:
    one = place([])
    for number in (1, 2, 2, 2):
        one.receive(number, 5.0)
    found = figures(flow(3), [one], None)
    assert (found["received"], found["twice"]) == (2, 2)


def test_closed_sockets_are_counted() -> None:
    assert figures(flow(3), [place([], Span(0, 1), Span(2, 3), Span(4))], None)["closed"] == 2


@pytest.mark.parametrize(
    ("missed", "failed", "received_late", "until"),
    [
        ([], {}, {}, 0.0),
        # What was missed before the fault is not its fault.
        ([1], {}, {}, 0.0),
        ([11, 14], {}, {}, 4.01),
        ([], {"at12": True}, {}, 2.01),
        # As long as a message needs to arrive, the fault lasts.
        ([], {}, {11: 17.0}, 7.0),
        ([], {}, {11: 11 + LATE_SECONDS}, 0.0),
        # It is not over if messages are missed at the end.
        ([27], {}, {}, None),
    ],
)
def test_a_fault_is_over_when_every_place_receives_every_message(
    missed: list[int], failed: dict[str, bool], received_late: dict[int, float], until: float | None
) -> None:
    times: dict[int, float] = {number: number + 0.02 for number in range(30) if number not in missed}
    found = figures(flow(30, **failed), [place(list(range(30))), place({**times, **received_late})], 10.0)
    assert found["until_seconds"] == (None if until is None else pytest.approx(until))
    assert found["watched_seconds"] == 19


def test_a_fault_lasts_while_a_closed_socket_misses_messages() -> None:
    """None of them is due, but its client receives nothing."""
    away = place([*range(10), *range(20, 30)], Span(-10, 10.0), Span(18.9))
    found = figures(flow(30), [place(list(range(30))), away], 10.0)
    assert found["due"] == found["received"] == 30 + 7 + 10
    assert (found["wanted"], found["missed"]) == (60, 10)
    assert found["until_seconds"] == pytest.approx(9.01)


@given(st.sets(st.integers(0, 29)), st.integers(0, 29))
def test_no_more_is_received_than_due_and_the_end_of_a_fault_is_after_what_was_missed(
    missed: set[int], fault: int
) -> None:
    found: Any = figures(flow(30), [place([number for number in range(30) if number not in missed])], fault)
    assert found["due"] - found["received"] == len(missed)
    after = [number for number in missed if number >= fault]
    if found["until_seconds"] is None:
        assert max(after) + 0.01 > 29 - CALM_SECONDS
    else:
        assert all(number < fault + found["until_seconds"] for number in after)


def test_the_hosts_are_those_that_a_run_writes() -> None:
    from ansible_collections.tethys.channels.tests.bench import fault_hosts

    assert fault_hosts.PATIENCE == {"shared": shared.PATIENCE, "sentinel": sentinel.PATIENCE}
    assert fault_hosts.SENTINEL_PATIENCE == sentinel.PATIENCE_WITH_SENTINEL
