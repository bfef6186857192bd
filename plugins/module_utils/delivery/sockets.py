# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSockets to each process, opened within bounds, and how they were refused."""

from __future__ import annotations

import os
import time
from collections import Counter

from ansible_collections.tethys.channels.plugins.module_utils import asgi_record, facts, portal_env
from ansible_collections.tethys.channels.plugins.module_utils.delivery.check import HANDSHAKE_SECONDS, Check, Failure
from ansible_collections.tethys.channels.plugins.module_utils.server import proc

# One socket in each process would do for one message; a few more make "all of its sockets" mean something.
ENOUGH_PER_PROCESS = 3
# For each process on a port.
OPENED_AT_ONCE = 6
# With a shared listening socket, chance decides who takes a connection, so there have to be bounds.
OPENED_PER_PROCESS = 40
# With what daphne ends a handshake that took too long; 0 is a dropped connection.
GIVEN_UP = {0, 403}


def open_enough(check: Check, portal: portal_env.PortalProcess) -> None:
    """Open WebSockets until every process holds some, within bounds of number and time."""
    opened = rounds = 0
    fruitless: Counter[int] = Counter()
    bound = OPENED_PER_PROCESS * len(check.processes)
    until = min(check.deadline, time.monotonic() + 2 * HANDSHAKE_SECONDS)
    while opened < bound and time.monotonic() < until:
        held = Counter(check.holder.values())
        # One socket in each process is what is needed, a few more are tried for.
        least = 1 if rounds >= 2 else ENOUGH_PER_PROCESS
        short = Counter(p.port for p in check.able() if held[p.pid] < least and fruitless[p.port] < 2)
        if not short:
            break
        rounds += 1
        counts = {str(port): OPENED_AT_ONCE * number for port, number in short.items()}
        opened += sum(counts.values())
        # A port where a whole batch came to nothing is not tried again, or once if the portal was only too slow.
        opened_on, given_up_on = open_batch(check, portal, counts)
        for port in {int(port) for port in counts} - opened_on:
            fruitless[port] += 1 if port in given_up_on else 2


def open_batch(check: Check, portal: portal_env.PortalProcess, counts: dict[str, int]) -> tuple[set[int], set[int]]:
    """Open so many on each port; the ports on which any was opened, and those where the portal only gave up."""
    portal.send({"do": "open", "ports": counts, "seconds": HANDSHAKE_SECONDS})
    answer = portal.receive(min(check.deadline, time.monotonic() + 3 * HANDSHAKE_SECONDS), facts.WIRE_OPENED)
    ends = {(one["port"], one["local_port"]): one["id"] for one in answer["opened"]}
    holders = proc.who_holds(ends, [process.pid for process in check.processes])
    check.holder.update({ends[end]: pid for end, pid in holders.items()})
    for one in answer["failed"]:
        check.failed[Failure(one["port"], one["why"], one["status"])] += 1
    given_up = {one["port"] for one in answer["failed"]}
    given_up -= {one["port"] for one in answer["failed"] if one["status"] not in GIVEN_UP}
    return {one["port"] for one in answer["opened"]}, given_up


def forgive_once(check: Check, portal: portal_env.PortalProcess, may_be_stale: bool) -> None:
    """Open as many again, and go by these alone, where what was refused may be accepted now.

    HTTP 403, and a connection that is dropped: daphne gives up a WebSocket that the portal has not accepted in
    time, as happens on a busy server. HTTP 500: after a failover redis-py takes a connection to the primary of
    before, which its kernel gave up, for a good one, and connects it to that server again. After a restart of
    Redis, redis-py 8.1 does so with each connection that Redis closed, and each redis-py with the one by which the
    pub/sub class subscribes, while nothing is subscribed. So a process that nobody has used since refuses once for
    each of them, and then never.

    Args:
        portal: the portal's Python.
        may_be_stale: whether this redis-py, or this class of the layer, may have kept such connections.
    """
    held = Counter(check.holder.values())
    passing = {*GIVEN_UP, 500} if may_be_stale else GIVEN_UP
    statuses = {failure.status for failure in check.failed}
    if not statuses or statuses - passing or not all(held[process.pid] for process in check.able()):
        return
    before, check.failed, known = check.failed, Counter(), set(check.holder)
    counts = Counter(process.port for process in check.able())
    batch = {str(port): OPENED_AT_ONCE * number for port, number in counts.items()}
    silent = {process.pid for process in check.able()}
    until = time.monotonic() + HANDSHAKE_SECONDS
    try:
        # Chance decides which process takes one, on a port that they share.
        for _again in range(OPENED_PER_PROCESS // OPENED_AT_ONCE):
            open_batch(check, portal, batch)
            silent -= {pid for number, pid in check.holder.items() if number not in known}
            if check.failed or not silent or time.monotonic() > until:
                break
    finally:
        if check.failed or silent:
            check.failed += before
    if not check.failed:
        warn_of_refused(check, before)


def warn_of_refused(check: Check, failed: Counter[Failure]) -> None:
    """Warn of WebSockets that were refused first and would be accepted now."""
    statuses = {failure.status for failure in failed}
    causes = []
    if 500 in statuses:
        causes.append("a process that nobody used since Redis restarted, or another one is the primary, refuses once")
    if statuses & GIVEN_UP:
        causes.append(
            "daphne refuses a WebSocket that the portal does not accept in time, as on a busy server (load"
            f" {os.getloadavg()[0]:.1f}, processors {os.cpu_count()})"
        )
    number = sum(failed.values())
    check.warnings.append(f"{number} of our first WebSockets were refused, and none after them: {'; '.join(causes)}.")


def keeps_closed_connections(check: Check) -> bool:
    """Return whether this redis-py uses a connection again that Redis has closed."""
    numbers = (check.result["versions"].get("redis") or "").split(".")[:2]
    return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= (8, 1)


def may_have_been_closed(check: Check) -> bool:
    """Return whether a process may be older than the Redis that runs now, which then closed its connections.

    It may where that is unknown: what is reached over a network may have lost them also while Redis ran.
    """
    name = check.given["redis_container"]
    since = asgi_record.groups_lost_at(name, check.given["redis_engine"]) if name else 0
    return not since or any(process.started_at + asgi_record.SLACK_SECONDS < since for process in check.able())


def judge(check: Check) -> None:
    """Say which processes took none, and how the others were refused."""
    for (port, why, _status), times in sorted(check.failed.items()):
        where = f"{check.host}:{port}"
        check.report_problem(
            "sockets-refused",
            str(port),
            f"{times} of our WebSockets to {where} could not be opened: {why.rstrip('.')}{check.logs_on(port)}.",
        )
    held = Counter(check.holder.values())
    # Where nobody on a port took one, the sentence above says it of them all.
    refused = {failure.port for failure in check.failed} - {p.port for p in check.processes if held[p.pid]}
    for process in check.able():
        if not held[process.pid] and process.port not in refused:
            check.report_problem(
                "process-took-no-socket",
                str(process.pid),
                f"{check.called(process)} took none of our WebSockets{check.log_of(process)}.",
            )
