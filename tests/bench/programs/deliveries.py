# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count what was due to WebSockets that may close and open again, and what they received. Nothing here measures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

# The pub/sub class does not wait until Redis has confirmed a subscription, so a socket counts from so long after its
# opening on.
SETTLED_SECONDS = 1.0
# A message is due to a socket that stays open for so long after it was sent.
MARGIN_SECONDS = 3.0
# A message that takes longer than this shows that a fault still lasts.
LATE_SECONDS = 2.0
# A fault is over if all messages arrive for so long.
CALM_SECONDS = 3.0


class Message(NamedTuple):
    """One message to a group: when the sender's call began and ended, and whether it raised."""

    number: int
    group: str
    start: float
    end: float
    failed: bool = False


@dataclass
class Span:
    """The time for which one socket was open."""

    opened: float
    closed: float | None = None


@dataclass
class Place:
    """One client in a group. It opens another socket when one is closed."""

    group: str
    spans: list[Span] = field(default_factory=list)
    times: dict[int, float] = field(default_factory=dict)
    twice: int = 0

    def receive(self, number: int, now: float) -> None:
        """Note a message."""
        if number in self.times:
            self.twice += 1
        else:
            self.times[number] = now

    def expects(self, message: Message) -> bool:
        """Return whether one of its sockets was open from before the message was sent until it had to be there."""
        return any(
            span.opened + SETTLED_SECONDS <= message.start
            and (span.closed is None or span.closed > message.end + MARGIN_SECONDS)
            for span in self.spans
        )

    @property
    def closed(self) -> int:
        """Return how many of its sockets were closed."""
        return sum(span.closed is not None for span in self.spans)


class Figures(TypedDict):
    """What came of all messages."""

    messages: int
    refused: int
    due: int
    received: int
    twice: int
    # For every client, be its socket open or closed, and whether the message was refused or not.
    wanted: int
    missed: int
    closed: int
    # From the fault on, and null where nothing broke: for how long messages were sent, and until all arrived again,
    # which is null too if that was not seen.
    watched_seconds: float | None
    until_seconds: float | None


def by_group(places: Sequence[Place]) -> dict[str, list[Place]]:
    """Return the places of each group."""
    found: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        found[place.group].append(place)
    return found


def trouble(message: Message, places: Sequence[Place]) -> float | None:
    """Return until when a message shows that a fault lasts: it was refused, late, or missed, by closed sockets too."""
    arrived = [place.times.get(message.number) for place in places]
    if message.failed or None in arrived:
        return message.end
    last = max((at for at in arrived if at is not None), default=message.start)
    return last if last - message.start > LATE_SECONDS else None


def until_all(messages: Sequence[Message], groups: Mapping[str, Sequence[Place]], fault: float) -> float | None:
    """Return the seconds from the fault until every place receives every message, or None if that is not seen."""
    after = [message for message in messages if message.start >= fault]
    ends = [end for end in (trouble(message, groups[message.group]) for message in after) if end is not None]
    if not ends:
        return 0.0
    last = max(message.start for message in after)
    return None if last - max(ends) < CALM_SECONDS else max(ends) - fault


def figures(messages: Sequence[Message], places: Sequence[Place], fault: float | None) -> Figures:
    """Return the figures of all messages to groups that have places."""
    groups = by_group(places)
    counted = [message for message in messages if message.group in groups]
    due = received = wanted = missed = 0
    for message in counted:
        wanted += len(groups[message.group])
        missed += sum(message.number not in place.times for place in groups[message.group])
        if message.failed:
            continue
        expected = [place for place in groups[message.group] if place.expects(message)]
        due += len(expected)
        received += sum(message.number in place.times for place in expected)
    return {
        "messages": len(counted),
        "refused": sum(message.failed for message in counted),
        "due": due,
        "received": received,
        "wanted": wanted,
        "missed": missed,
        "twice": sum(place.twice for place in places),
        "closed": sum(place.closed for place in places),
        "watched_seconds": None if fault is None else max(message.start for message in counted) - fault,
        "until_seconds": None if fault is None else until_all(counted, groups, fault),
    }
