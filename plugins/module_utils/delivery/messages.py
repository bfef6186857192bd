# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages to all WebSockets, before and after a time of silence, and who did not get them."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils import facts, portal_env
from ansible_collections.tethys.channels.plugins.module_utils.delivery.check import HANDSHAKE_SECONDS, Check
from ansible_collections.tethys.channels.plugins.module_utils.portal_common import CORE

# Measured with redis-py 5 to 8.1: of these only the first loses idle WebSockets, and only with a short read timeout.
QUIET_CLASSES = (CORE, "channels_redis.pubsub.RedisPubSubChannelLayer")
ARRIVAL_SECONDS = 4.0
MESSAGES = 3


def prove(check: Check, portal: portal_env.PortalProcess, in_memory: bool) -> None:
    """Send, count, be silent, look, send again."""
    first = send(check, portal, 1 if in_memory else MESSAGES)
    check.got_first = {int(number) for number in first["received"]}
    check.result.update(
        sent=len(first["of"]),
        received=len(check.got_first),
        delivery_seconds=max(first["received"].values(), default=None),
    )
    if in_memory:
        check.report_problem(
            "memory-layer-needs-one-process",
            "CHANNEL_LAYERS",
            f"CHANNEL_LAYERS is the in-memory layer, which stays inside one process, and {len(check.processes)} "
            "processes serve the portal: a message reaches only the clients of the process that sent it.",
        )
        return
    judge_delivery(check, first, first["of"], "")
    judge_front(check, first, first["of"], "")
    silence = check.given["idle_seconds"]
    if not (check.given["idle_always"] or silence_may_harm(check)):
        return
    if not silence or first["problem"] or not check.got_first:
        return
    # Those that received nothing the first time were reported then.
    living = [number for number in check.got_first if str(number) not in first["closed"]]
    portal.send({"do": "rest", "seconds": silence})
    closed = portal.receive(time.monotonic() + silence + HANDSHAKE_SECONDS, facts.WIRE_RESTED)["closed"]
    check.deadline += silence
    codes = Counter(str(code) for number, code in closed.items() if int(number) in living)
    second = send(check, portal)
    again = [number for number in living if str(number) in second["received"]]
    check.result["idle"] = {
        "seconds": silence,
        "of": len(living),
        "alive": len(living) - sum(codes.values()),
        "received": len(again),
        "close_codes": dict(codes),
    }
    if codes:
        check.report_problem(
            "sockets-closed-in-silence",
            "sockets",
            f"{sum(codes.values())} of {len(living)} WebSockets were closed during {silence} seconds of silence"
            f" (code {', '.join(sorted(codes))}){check.any_log()}.",
        )
        if "default" in check.short_reads:
            text = check.short_read("default", check.short_reads.pop("default"))
            check.report_problem("read-timeout-short", "default", text)
    left = [number for number in living if str(number) not in closed]
    for judge in (judge_delivery, judge_front):
        judge(check, second, left, f" after {silence} seconds of silence")


def silence_may_harm(check: Check) -> bool:
    """Return whether an idle WebSocket may stop receiving: a read timeout is short, or the class is not known."""
    return check.result["backend"] not in QUIET_CLASSES or "default" in check.short_reads


def greet(check: Check, portal: portal_env.PortalProcess, names: list[str]) -> None:
    """Send messages to the other portals, and receive theirs."""
    mine = check.given["name"]
    left = check.deadline - time.monotonic()
    portal.send({"do": "greet", "name": mine, "names": names, "seconds": left})
    answer = portal.receive(check.deadline + 3 * HANDSHAKE_SECONDS, facts.WIRE_GREETED)
    heard = {name: len(answer["heard"].get(name, [])) for name in names}
    sockets = len(answer["of"])
    check.result["among"] = {"sockets": sockets, "heard": heard}
    if answer["problem"]:
        check.report_problem(
            "layer-not-writable",
            "CHANNEL_LAYERS",
            f"Nothing can be sent through the channel layer with the settings of {mine}: {answer['problem']}.",
        )
    for name, number in heard.items():
        if number < sockets:
            check.report_problem(
                "portal-not-received",
                name,
                f"What {name} sends reached {number} of {sockets} WebSockets on {mine}: either {name} has another"
                f" Redis, prefix or order of hosts in CHANNEL_LAYERS, or its delivery check ended early.",
            )


def send(check: Check, portal: portal_env.PortalProcess, messages: int = MESSAGES) -> dict[str, Any]:
    """Send a message to all sockets, and more if one is missing; return the sockets that received any of them.

    Channels promises delivery at most once, and its core Redis layer may lose a message for a whole process if one of
    that process's clients leaves at that moment. This does not explain a socket that receives none of several
    messages. For the same reason no socket of ours is closed before the last message.
    """
    heard: dict[str, float] = {}
    asked: list[int] = []
    sent = 0
    if check.front:
        check.front.mark()
    while sent < messages:
        portal.send({"do": "send", "seconds": ARRIVAL_SECONDS if messages > 1 else 1})
        answer = portal.receive(max(check.deadline, time.monotonic()) + 2 * ARRIVAL_SECONDS, facts.WIRE_SENT)
        asked = asked or answer["of"]
        heard = {**answer["received"], **heard}
        sent += 1
        missed = {str(n) for n in asked} - heard.keys() - answer["closed"].keys()
        # What a process did not get itself cannot come through the web server.
        if answer["problem"] or not (missed or (check.front and not check.front.wait(ARRIVAL_SECONDS))):
            break
    check.result["messages"] += sent
    if sent > 1 and not answer["problem"] and all(str(n) in heard for n in asked):
        check.warnings.append(
            f"It took {sent} messages until each WebSocket had received one: the layer may lose one when a client"
            " leaves."
        )
    return {**answer, "of": asked, "received": heard}


def judge_delivery(check: Check, answer: dict[str, Any], asked: list[int], when: str) -> None:
    """Say who did not get a message."""
    if answer["problem"]:
        check.report_problem(
            "layer-not-writable",
            "CHANNEL_LAYERS",
            f"Nothing can be sent through the channel layer with the portal's settings{when}: {answer['problem']}.",
        )
        return
    for process in check.processes:
        mine = [n for n in asked if check.holder.get(n) == process.pid]
        got = [n for n in mine if str(n) in answer["received"]]
        if len(got) < len(mine):
            check.report_problem(
                "message-not-received",
                str(process.pid),
                f"{check.called(process)} got the message on {len(got)} of its {len(mine)} WebSockets"
                f"{when}{check.age_hint(process)}{check.log_of(process)}.",
            )


def judge_front(check: Check, answer: dict[str, Any], asked: list[int], when: str) -> None:
    """Report what did not get through the web server in front, unless the processes did not get it either."""
    if check.front and not answer["problem"] and all(str(n) in answer["received"] for n in asked):
        check.front.judge(when)
