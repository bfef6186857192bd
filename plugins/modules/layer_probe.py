#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_probe
short_description: Verify that a message reaches every ASGI process of a Tethys Portal
version_added: 0.9.0
description:
  - Opens WebSockets to the portal's built-in consumer C(ws/app-lifecycle) until every process that accepts on the
    portal's ports holds some, then sends one message to their group from another process, with the portal's own
    settings, and counts.
  - After a time of silence it looks again, because some faults of a channel layer only show then.
  - A failed delivery check does not fail the module. RV(probe.ok) is then false, and RV(probe.problems) has the
    reasons.
options:
  prefix:
    description: The conda (or other) environment that Tethys is installed in; C(<prefix>/bin/python) is started.
    type: path
    required: true
  home:
    description: The folder of C(portal_config.yml), TETHYS_HOME.
    type: path
    required: true
  user:
    description: The user that the portal's processes run as; without it the web server's user.
    type: str
  host:
    description: The IPv4 address that the processes listen on.
    type: str
    default: 127.0.0.1
  ports:
    description: The ports that the processes listen on. Processes that share a listening socket have one port.
    type: list
    elements: int
    default: [8000]
  processes:
    description: How many processes there have to be; V(0) takes those that are there.
    type: int
    default: 0
  idle_seconds:
    description: How long to be silent before everything is checked again; V(0) for not at all.
    type: int
    default: 0
  idle_always:
    description:
      - Whether to be silent also if the layer's settings and client library show that silence does no harm. These are
        the classes of C(channels_redis) without a read timeout that ends before Redis answers.
    type: bool
    default: true
  expected_layers:
    description:
      - What the setting C(CHANNEL_LAYERS) has to be. Without it and O(settings_file) the setting is not compared.
    type: dict
  settings_file:
    description: The C(portal_config.yml) that has them instead of O(expected_layers).
    type: path
  name:
    description: What the portals in O(among) call this one.
    type: str
  among:
    description:
      - Portals, this one among them, on which the module runs with the same options at the same time. Then each of
        them sends until each of its WebSockets has received messages of all of them, and all of them say so. Nothing
        else is sent then.
    type: list
    elements: str
  word:
    description:
      - What the portals in O(among) have in common for this one check; else any word, by which the group is named
        that the message is sent to.
    type: str
  front:
    description:
      - The web server on this server that is in front of the processes. A page and WebSockets are requested through it
        too, and each of these WebSockets has to receive the messages.
    type: dict
    suboptions:
      called:
        description: What a person finds it by.
        type: str
        default: The web server in front
      address:
        description: The address that it listens on.
        type: str
        default: 127.0.0.1
      port:
        description: The port that it listens on.
        type: int
        required: true
      tls:
        description: Whether it speaks TLS there. A certificate for another name, or out of date, fails the check.
        type: bool
        default: false
      name:
        description: The name by which browsers reach it; without it one that ALLOWED_HOSTS has.
        type: str
        default: ""
      fix:
        description: The sentence to print where it lets no WebSockets through.
        type: str
        default: ""
      closes_after:
        description: The seconds after which it closes a silent WebSocket, if that is too early.
        type: float
  url:
    description:
      - The portal's address as browsers have it. The controller sends it the same requests as to O(front), for a proxy
        on another machine, such as a load balancer. C(PREFIX_URL) is part of it.
    type: str
  timeout:
    description: Seconds after which the check is given up, the time of silence not counted.
    type: int
    default: 60
seealso:
  - module: tethys.channels.layer_health
extends_documentation_fragment:
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the same, since it changes nothing.
  diff_mode:
    support: N/A
    description: Changes nothing.
  platform:
    description: Runs on Linux, on the portal's own server; as root, since it reads which process holds which
      connection.
author:
  - tethys.channels contributors (@tethys-channels)
"""

EXAMPLES = r"""
- name: Verify the delivery, also after seven seconds of silence
  tethys.channels.layer_probe:
    prefix: /opt/conda/envs/tethys
    home: /var/lib/tethys
    ports: [8000]
    processes: 3
    idle_seconds: 7
  register: proof

- name: Stop when a message does not arrive everywhere
  ansible.builtin.assert:
    that: proof.probe.ok
    fail_msg: "{{ proof.probe.problems | join(' ') }}"
"""

RETURN = r"""
probe:
  description: The delivery check.
  returned: always
  type: dict
  contains:
    ok:
      description: Whether everything that could be verified holds.
      type: bool
    problems:
      description: What is wrong, in sentences.
      type: list
      elements: str
    codes:
      description:
        - The same for programs, in the order of RV(probe.problems), with C(code), which is C(port-closed) where nothing
          listens, and does not change when its sentence does, and C(subject), which it is wrong with.
      type: list
      elements: dict
    provable:
      description: Whether delivery could be verified; if not, only the answers of the processes were checked.
      type: bool
    reason:
      description:
        - Why delivery could not be verified. V(in_memory) is one process on the in-memory layer, which nothing outside
          of it can send to; V(no_consumer) is a Tethys before 4.4; V(not_started) means that the portal's Python
          could not be used.
      type: str
    processes:
      description:
        - The processes that accept on the ports, with C(pid), C(user), C(port), C(age_seconds), C(sockets) (how many
          of our WebSockets it held), C(received) (how many of these received the first message), C(alive) (still
          running at the end), C(name) (what Supervisor calls it, or null).
      type: list
      elements: dict
    listeners:
      description: How many processes accept on each port, with C(port) and C(processes).
      type: list
      elements: dict
    messages:
      description: How many messages were sent to the group; more than one where a delivery was missing.
      type: int
    sent:
      description: The deliveries to expect, which is the number of WebSockets that a message was sent to.
      type: int
    received:
      description: The deliveries that came.
      type: int
    delivery_seconds:
      description: The time until the last of them, or null.
      type: float
    idle:
      description:
        - What was left after the silence, with C(seconds), C(of) (WebSockets before it), C(alive), C(received)
          (deliveries of the second message), C(close_codes) (how often each code). Null when it was not asked for or
          not come to.
      type: dict
    among:
      description:
        - With O(among), how many WebSockets this portal had (C(sockets)), and how many of them received messages
          of each portal (C(heard)). Else null.
      type: dict
    front:
      description:
        - With O(front) or O(url), the address (C(at)), what is there (C(through)), the status of the page (C(page)),
          how many WebSockets were open (C(sockets)), and how many got the first message (C(received)). Else null.
      type: dict
    settings_match:
      description: Whether the portal's CHANNEL_LAYERS is what was expected; null when nothing was.
      type: bool
    backend:
      description: The class of the portal's channel layer.
      type: str
    versions:
      description: The versions of the packages that carry the message.
      type: dict
    warnings:
      description: Sentences about what did not fail the check but is worth knowing.
      type: list
      elements: str
    seconds:
      description: How long the check took.
      type: float
"""

import contextlib
import http.client
import os
import secrets
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils import (
    facts,
    portal_env,
    portal_wire,
)
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, ask_as, ask_within
from ansible_collections.tethys.channels.plugins.module_utils.front_check import Front, FrontCheck
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.portal_state import user_problem
from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem, codes, texts
from ansible_collections.tethys.channels.plugins.module_utils.secrets import secrets_in
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, account_of
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.module_utils.web_socket import status_of

IN_MEMORY = "channels.layers.InMemoryChannelLayer"
# Measured with redis-py 5 to 8.1: of these only the first loses idle WebSockets, and only with a short read timeout.
QUIET_CLASSES = (portal_wire.CORE, "channels_redis.pubsub.RedisPubSubChannelLayer")
# One socket in each process would do for one message; a few more make "all of its sockets" mean something.
ENOUGH_PER_PROCESS = 3
# For each process on a port.
OPENED_AT_ONCE = 6
# With a shared listening socket, chance decides who takes a connection, so there have to be bounds.
OPENED_PER_PROCESS = 40
HANDSHAKE_SECONDS = 10.0
# With what daphne ends a handshake that took too long; 0 is a dropped connection.
GIVEN_UP = {0, 403}
ARRIVAL_SECONDS = 4.0
MESSAGES = 3
# Which process answers through the web server in front cannot be told there.
LEAST_THROUGH_FRONT = 4
# Problems with which the web server in front may work.
BESIDE_THE_FRONT = {"number-differs", "settings-differ"}
MOST_THROUGH_FRONT = 12


class Failure(NamedTuple):
    """A WebSocket that could not be opened, or a request that failed.

    Args:
        port: where.
        why: in words.
        status: the HTTP status; 0 where the connection was dropped without one, -1 where neither is the case.
    """

    port: int
    why: str
    status: int = -1


class Probe:
    """One proof: what was asked, what was seen, what is wrong."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.host: str = given["host"]
        self.address = socket.gethostbyname(self.host)
        self.ports: list[int] = given["ports"]
        self.started = time.monotonic()
        self.deadline = self.started + given["timeout"]
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.short_reads: dict[str, float] = {}
        self.processes: list[proc.Process] = []
        self.holder: dict[int, int] = {}
        self.failed: Counter[Failure] = Counter()
        self.got_first: set[int] = set()
        self.word = given["word"] or secrets.token_hex(8)
        self.front: FrontCheck | None = None
        self.result: dict[str, Any] = {
            "provable": False,
            "reason": "not_started",
            "messages": 0,
            "sent": 0,
            "received": 0,
            "delivery_seconds": None,
            "idle": None,
            "among": None,
            "front": None,
            "settings_match": None,
            "backend": None,
            "versions": dict.fromkeys(portal_wire.PACKAGES),
        }

    def report_problem(self, code: str, subject: str, text: str) -> None:
        """Add something that is wrong."""
        self.problems.append(Problem(code, subject, text))

    # --- the order of a proof ---------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Prove what can be proved."""
        self.find_processes()
        given = self.given
        name = portal_env.resolve_user(given["user"])
        who = portal_env.runner_for(name, given["home"])
        self.leave_out_strangers(who)
        if who is None:
            self.report_problem(
                "check-not-possible",
                "portal",
                f"The delivery check could not be carried out: {user_problem(name, who, given['home'])}",
            )
            return self.report()
        params = {"address": self.address, "word": self.word}
        params.update({name: given[name] for name in ("expected_layers", "settings_file")})
        try:
            with portal_env.PortalProcess(given["prefix"], given["home"], who, portal_wire, params) as portal:
                try:
                    self.with_portal(portal)
                finally:
                    self.close_front()
                    self.warnings += portal.warnings
        except (portal_env.PortalEnded, portal_env.PortalTimeout) as error:
            self.report_problem("check-not-possible", "portal", f"The delivery check could not be carried out: {error}")
        for process in self.processes:
            if not proc.still_there(process):
                self.report_problem(
                    "process-ended",
                    str(process.pid),
                    f"{self.called(process)} ended during the delivery check{self.log_of(process)}.",
                )
        return self.report()

    def with_portal(self, portal: portal_env.PortalProcess) -> None:
        """Everything that needs the portal's Python."""
        about = portal.receive(self.deadline, facts.WIRE_ABOUT)
        self.result.update({key: about[key] for key in ("backend", "settings_match", "versions")})
        self.short_reads.update(about["short_reads"])
        if about["settings_match"] is False:
            self.report_problem(
                "settings-differ",
                str(self.given["home"]),
                f"CHANNEL_LAYERS as Django reads it in {self.given['home']} is not what was written there; "
                "look for another value in ADDITIONAL_SETTINGS_FILES.",
            )
        if not about["consumer"]:
            self.result["reason"] = "no_consumer"
            self.http_answers(about["host"], about["prefix_url"])
            self.open_front(about, 0)
            return
        in_memory = about["backend"] == IN_MEMORY
        self.result["provable"] = not (in_memory and len(self.processes) <= 1)
        self.result["reason"] = None if self.result["provable"] else "in_memory"
        if self.processes:
            self.open_sockets(portal)
            self.forgive_once(portal, about["sentinel"] or self.keeps_closed_connections())
            self.open_front(about, max(LEAST_THROUGH_FRONT, min(2 * len(self.processes), MOST_THROUGH_FRONT)))
        # Where no process serves, nobody can get a message, and whoever listens in the place of Redis would get the
        # password with which it is sent.
        if self.able() and self.given["among"]:
            self.greet(portal, self.given["among"])
        elif self.able() and self.result["provable"]:
            self.prove(portal, in_memory)
        self.judge_sockets()
        portal.send({"do": "quit"})

    def find_processes(self) -> None:
        """Which processes there are; a process that is just being started gets a moment."""
        wanted = self.given["processes"]
        patience = min(self.deadline, self.started + 10)
        while True:
            self.processes = proc.accepting(self.address, self.ports)
            served = {process.port for process in self.processes}
            enough = len(self.processes) == wanted if wanted else bool(self.processes)
            if (enough and served == set(self.ports)) or time.monotonic() > patience:
                break
            time.sleep(0.5)
        for port in self.ports:
            if port not in served:
                self.problems.append(self.nobody_on(port))
        if wanted and served and len(self.processes) != wanted:
            there = "1 is" if len(self.processes) == 1 else f"{len(self.processes)} are"
            self.report_problem(
                "number-differs",
                "processes",
                f"{wanted} ASGI processes are expected on {self.places()}, and {there} there.",
            )
        for process in self.processes:
            if process not in self.able():
                self.report_problem(
                    "process-stopped",
                    str(process.pid),
                    f"{self.called(process)} is stopped (state {process.state}) and answers nothing.",
                )

    def leave_out_strangers(self, who: Account | None) -> None:
        """Leave out each process whose user cannot read the portal's settings, and so cannot be the portal.

        While the portal is down, any user of the server can listen on its port, and on that of Redis: the message that
        is sent for such a process would bring that user the password.
        """
        config = str(Path(self.given["home"], "portal_config.yml"))
        can_read = {0: True, os.geteuid(): True, **({who.uid: True} if who else {})}
        for process in list(self.processes):
            uid = proc.user_id(process.pid)
            if uid is None:
                continue
            if uid not in can_read:
                can_read[uid] = may_read(config, uid)
            if not can_read[uid]:
                self.processes.remove(process)
                self.report_problem(
                    "process-of-stranger",
                    str(process.pid),
                    f"Process {process.pid} on port {process.port} is of user {process.user}, who cannot read {config}:"
                    " it is not the portal's. Stop it and start the portal.",
                )

    def able(self) -> list[proc.Process]:
        """The processes that are not stopped."""
        return [process for process in self.processes if process.state not in "Tt"]

    def nobody_on(self, port: int) -> Problem:
        """Return the problem of a port without a process."""
        place = f"{self.host}:{port}"
        if not proc.listening(self.address, [port]):
            return Problem("port-closed", str(port), f"Nothing listens on {place}.")
        if os.geteuid() != 0:
            return Problem(
                "port-not-visible",
                str(port),
                f"Only root can see which process listens on {place}, and this does not run as root (become).",
            )
        return Problem(
            "port-not-accepting",
            str(port),
            f"{place} is held open, but no process accepts there; 'supervisorctl status' says why.",
        )

    # --- sockets ----------------------------------------------------------------------------------------------------

    def open_sockets(self, portal: portal_env.PortalProcess) -> None:
        """Open WebSockets until every process holds some, within bounds of number and time."""
        opened = rounds = 0
        fruitless: Counter[int] = Counter()
        bound = OPENED_PER_PROCESS * len(self.processes)
        until = min(self.deadline, time.monotonic() + 2 * HANDSHAKE_SECONDS)
        while opened < bound and time.monotonic() < until:
            held = Counter(self.holder.values())
            # One socket in each process is what is needed, a few more are tried for.
            least = 1 if rounds >= 2 else ENOUGH_PER_PROCESS
            short = Counter(p.port for p in self.able() if held[p.pid] < least and fruitless[p.port] < 2)
            if not short:
                break
            rounds += 1
            counts = {str(port): OPENED_AT_ONCE * number for port, number in short.items()}
            opened += sum(counts.values())
            # A port where a whole batch came to nothing is not tried again, or once if the portal was only too slow.
            opened_on, given_up_on = self.open_batch(portal, counts)
            for port in {int(port) for port in counts} - opened_on:
                fruitless[port] += 1 if port in given_up_on else 2

    def open_batch(self, portal: portal_env.PortalProcess, counts: dict[str, int]) -> tuple[set[int], set[int]]:
        """Open so many on each port; the ports on which any was opened, and those where the portal only gave up."""
        portal.send({"do": "open", "ports": counts, "seconds": HANDSHAKE_SECONDS})
        answer = portal.receive(min(self.deadline, time.monotonic() + 3 * HANDSHAKE_SECONDS), facts.WIRE_OPENED)
        ends = {(one["port"], one["local_port"]): one["id"] for one in answer["opened"]}
        holders = proc.who_holds(ends, [process.pid for process in self.processes])
        self.holder.update({ends[end]: pid for end, pid in holders.items()})
        for one in answer["failed"]:
            self.failed[Failure(one["port"], one["why"], one["status"])] += 1
        given_up = {one["port"] for one in answer["failed"]}
        given_up -= {one["port"] for one in answer["failed"] if one["status"] not in GIVEN_UP}
        return {one["port"] for one in answer["opened"]}, given_up

    def forgive_once(self, portal: portal_env.PortalProcess, may_be_stale: bool) -> None:
        """Open as many again, and go by these alone, where what was refused may be accepted now.

        HTTP 403, and a connection that is dropped: daphne gives up a WebSocket that the portal has not accepted in
        time, as happens on a busy server. HTTP 500: after a failover redis-py takes a connection to the primary of
        before, which its kernel gave up, for a good one, and connects it to that server again. After a restart of
        Redis, redis-py 8.1 does so with each connection that Redis closed. So a process that nobody has used since
        refuses once for each of them, and then never.

        Args:
            portal: the portal's Python.
            may_be_stale: whether this redis-py may keep such connections.
        """
        held = Counter(self.holder.values())
        passing = {*GIVEN_UP, 500} if may_be_stale else GIVEN_UP
        statuses = {failure.status for failure in self.failed}
        if not statuses or statuses - passing or not all(held[process.pid] for process in self.able()):
            return
        before, self.failed, known = self.failed, Counter(), set(self.holder)
        counts = Counter(process.port for process in self.able())
        batch = {str(port): OPENED_AT_ONCE * number for port, number in counts.items()}
        silent = {process.pid for process in self.able()}
        until = time.monotonic() + HANDSHAKE_SECONDS
        try:
            # Chance decides which process takes one, on a port that they share.
            for _again in range(OPENED_PER_PROCESS // OPENED_AT_ONCE):
                self.open_batch(portal, batch)
                silent -= {pid for number, pid in self.holder.items() if number not in known}
                if self.failed or not silent or time.monotonic() > until:
                    break
        finally:
            if self.failed or silent:
                self.failed += before
        if not self.failed:
            self.warn_of_refused(before)

    def warn_of_refused(self, failed: Counter[Failure]) -> None:
        """Warn of WebSockets that were refused first and would be accepted now."""
        statuses = {failure.status for failure in failed}
        causes = []
        if 500 in statuses:
            causes.append(
                "a process that nobody used since Redis restarted, or another one is the primary, refuses once"
            )
        if statuses & GIVEN_UP:
            causes.append(
                "daphne refuses a WebSocket that the portal does not accept in time, as on a busy server (load"
                f" {os.getloadavg()[0]:.1f}, processors {os.cpu_count()})"
            )
        number = sum(failed.values())
        self.warnings.append(
            f"{number} of our first WebSockets were refused, and none after them: {'; '.join(causes)}."
        )

    def keeps_closed_connections(self) -> bool:
        """Return whether this redis-py uses a connection again that Redis has closed."""
        numbers = (self.result["versions"].get("redis") or "").split(".")[:2]
        return all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= (8, 1)

    def judge_sockets(self) -> None:
        """Say which processes took none, and how the others were refused."""
        for (port, why, _status), times in sorted(self.failed.items()):
            where = f"{self.host}:{port}"
            self.report_problem(
                "sockets-refused",
                str(port),
                f"{times} of our WebSockets to {where} could not be opened: {why.rstrip('.')}{self.logs_on(port)}.",
            )
        held = Counter(self.holder.values())
        # Where nobody on a port took one, the sentence above says it of them all.
        refused = {failure.port for failure in self.failed} - {p.port for p in self.processes if held[p.pid]}
        for process in self.able():
            if not held[process.pid] and process.port not in refused:
                self.report_problem(
                    "process-took-no-socket",
                    str(process.pid),
                    f"{self.called(process)} took none of our WebSockets{self.log_of(process)}.",
                )

    # --- the web server in front ------------------------------------------------------------------------------------

    def open_front(self, about: dict[str, Any], count: int) -> None:
        """Ask the web server in front for a page and WebSockets, unless what is behind it is at fault."""
        given, able = self.given["front"], self.able()
        faults = {problem.code for problem in self.problems} - BESIDE_THE_FRONT
        if not given or self.given["among"] or not able or faults or self.failed:
            return
        front = Front.given(given, about["host"], about["prefix_url"])
        self.front = FrontCheck(front, self.deadline)
        if self.front.look(self.direct_status(able[0], front)):
            self.front.open_sockets(
                self.word, count, self.deadline - time.monotonic() + self.given["idle_seconds"] + 60
            )

    def direct_status(self, process: proc.Process, front: Front) -> int | None:
        """Return how a process answers the request for the page; None where it does not."""
        place = front.place._replace(address=self.address, port=process.port, tls=False)
        with contextlib.suppress(OSError, http.client.HTTPException):
            return status_of(place, front.page, HANDSHAKE_SECONDS)
        return None

    def close_front(self) -> None:
        """Take over what was seen there."""
        if self.front:
            self.front.close()
            self.result["front"] = self.front.answer()
            self.problems += self.front.problems
            self.warnings += self.front.warnings

    # --- messages ---------------------------------------------------------------------------------------------------

    def prove(self, portal: portal_env.PortalProcess, in_memory: bool) -> None:
        """Send, count, be silent, look, send again."""
        first = self.send(portal, 1 if in_memory else MESSAGES)
        self.got_first = {int(number) for number in first["received"]}
        self.result.update(
            sent=len(first["of"]),
            received=len(self.got_first),
            delivery_seconds=max(first["received"].values(), default=None),
        )
        if in_memory:
            self.report_problem(
                "memory-layer-needs-one-process",
                "CHANNEL_LAYERS",
                f"CHANNEL_LAYERS is the in-memory layer, which stays inside one process, and {len(self.processes)} "
                "processes serve the portal: a message reaches only the clients of the process that sent it.",
            )
            return
        self.judge_delivery(first, first["of"], "")
        self.judge_front(first, first["of"], "")
        silence = self.given["idle_seconds"]
        if not (self.given["idle_always"] or self.silence_may_harm()):
            return
        if not silence or first["problem"] or not self.got_first:
            return
        # Those that heard nothing in the first place have had their sentence.
        living = [number for number in self.got_first if str(number) not in first["closed"]]
        portal.send({"do": "rest", "seconds": silence})
        closed = portal.receive(time.monotonic() + silence + HANDSHAKE_SECONDS, facts.WIRE_RESTED)["closed"]
        self.deadline += silence
        codes = Counter(str(code) for number, code in closed.items() if int(number) in living)
        second = self.send(portal)
        again = [number for number in living if str(number) in second["received"]]
        self.result["idle"] = {
            "seconds": silence,
            "of": len(living),
            "alive": len(living) - sum(codes.values()),
            "received": len(again),
            "close_codes": dict(codes),
        }
        if codes:
            self.report_problem(
                "sockets-closed-in-silence",
                "sockets",
                f"{sum(codes.values())} of {len(living)} WebSockets were closed during {silence} seconds of silence"
                f" (code {', '.join(sorted(codes))}){self.any_log()}.",
            )
            if "default" in self.short_reads:
                text = self.short_read("default", self.short_reads.pop("default"))
                self.report_problem("read-timeout-short", "default", text)
        left = [number for number in living if str(number) not in closed]
        for judge in (self.judge_delivery, self.judge_front):
            judge(second, left, f" after {silence} seconds of silence")

    def silence_may_harm(self) -> bool:
        """Return whether an idle WebSocket may stop receiving: a read timeout is short, or the class is not known."""
        return self.result["backend"] not in QUIET_CLASSES or "default" in self.short_reads

    def greet(self, portal: portal_env.PortalProcess, names: list[str]) -> None:
        """Send to the other portals and hear them."""
        mine = self.given["name"]
        left = self.deadline - time.monotonic()
        portal.send({"do": "greet", "name": mine, "names": names, "seconds": left})
        answer = portal.receive(self.deadline + 3 * HANDSHAKE_SECONDS, facts.WIRE_GREETED)
        heard = {name: len(answer["heard"].get(name, [])) for name in names}
        sockets = len(answer["of"])
        self.result["among"] = {"sockets": sockets, "heard": heard}
        if answer["problem"]:
            self.report_problem(
                "layer-not-writable",
                "CHANNEL_LAYERS",
                f"Nothing can be sent through the channel layer with the settings of {mine}: {answer['problem']}.",
            )
        for name, number in heard.items():
            if number < sockets:
                self.report_problem(
                    "portal-not-received",
                    name,
                    f"What {name} sends reached {number} of {sockets} WebSockets on {mine}: either {name} has another"
                    f" Redis, prefix or order of hosts in CHANNEL_LAYERS, or its delivery check ended early.",
                )

    def send(self, portal: portal_env.PortalProcess, messages: int = MESSAGES) -> dict[str, Any]:
        """A message to all sockets, and another where one is missing; returns who heard any of them.

        Channels promises to deliver at most once, and its Redis layer does lose a message now and then, for a whole
        process, when one of that process's clients leaves at that moment. A socket that hears none of several messages
        has no such excuse. For the same reason no socket of ours is closed before the last message.
        """
        heard: dict[str, float] = {}
        asked: list[int] = []
        sent = 0
        if self.front:
            self.front.mark()
        while sent < messages:
            portal.send({"do": "send", "seconds": ARRIVAL_SECONDS if messages > 1 else 1})
            answer = portal.receive(max(self.deadline, time.monotonic()) + 2 * ARRIVAL_SECONDS, facts.WIRE_SENT)
            asked = asked or answer["of"]
            heard = {**answer["received"], **heard}
            sent += 1
            missed = {str(n) for n in asked} - heard.keys() - answer["closed"].keys()
            # What a process did not get itself cannot come through the web server.
            if answer["problem"] or not (missed or (self.front and not self.front.wait(ARRIVAL_SECONDS))):
                break
        self.result["messages"] += sent
        if sent > 1 and not answer["problem"] and all(str(n) in heard for n in asked):
            self.warnings.append(
                f"It took {sent} messages until each WebSocket had received one: the layer may lose one when a client"
                " leaves."
            )
        return {**answer, "of": asked, "received": heard}

    def judge_delivery(self, answer: dict[str, Any], asked: list[int], when: str) -> None:
        """Say who did not get a message."""
        if answer["problem"]:
            self.report_problem(
                "layer-not-writable",
                "CHANNEL_LAYERS",
                f"Nothing can be sent through the channel layer with the portal's settings{when}: {answer['problem']}.",
            )
            return
        for process in self.processes:
            mine = [n for n in asked if self.holder.get(n) == process.pid]
            got = [n for n in mine if str(n) in answer["received"]]
            if len(got) < len(mine):
                self.report_problem(
                    "message-not-received",
                    str(process.pid),
                    f"{self.called(process)} got the message on {len(got)} of its {len(mine)} WebSockets"
                    f"{when}{self.age_hint(process)}{self.log_of(process)}.",
                )

    def judge_front(self, answer: dict[str, Any], asked: list[int], when: str) -> None:
        """Report what did not get through the web server in front, unless the processes did not get it either."""
        if self.front and not answer["problem"] and all(str(n) in answer["received"] for n in asked):
            self.front.judge(when)

    # --- a Tethys without the consumer ------------------------------------------------------------------------------

    def http_answers(self, name: str, prefix_url: str) -> None:
        """See that every process answers an HTTP request, as far as chance lets one meet them all."""
        kept: list[http.client.HTTPConnection] = []
        for process in self.able():
            for _try in range(OPENED_PER_PROCESS):
                if process.pid in self.holder.values() or time.monotonic() > self.deadline:
                    break
                # A connection stays open until all are done: closed ones cannot be told whose they were.
                kept.append(http.client.HTTPConnection(self.address, process.port, timeout=HANDSHAKE_SECONDS))
                if not self.http_answer(kept[-1], process.port, name, f"/{prefix_url}/" if prefix_url else "/"):
                    break
        for connection in kept:
            connection.close()
        for (port, why, _status), times in sorted(self.failed.items()):
            where = f"{self.host}:{port}"
            self.report_problem(
                "requests-failed",
                where,
                f"{times} of our requests to {where} failed: {why.rstrip('.')}{self.logs_on(port)}.",
            )
        for process in self.able():
            if process.pid not in self.holder.values():
                self.report_problem(
                    "process-answered-nothing",
                    str(process.pid),
                    f"{self.called(process)} answered none of our requests{self.log_of(process)}.",
                )

    def http_answer(self, connection: http.client.HTTPConnection, port: int, name: str, path: str) -> bool:
        """Ask once and note who answered; returns whether there was an answer at all."""
        try:
            connection.connect()
            end = (port, connection.sock.getsockname()[1])
            status = ask_within(connection, HANDSHAKE_SECONDS, "GET", path, {"Host": name})
        except (OSError, http.client.HTTPException) as error:
            self.failed[Failure(port, str(error) or type(error).__name__)] += 1
            return False
        if status >= 500:
            self.failed[Failure(port, f"HTTP {status}", status)] += 1
        for holder in proc.who_holds([end], [process.pid for process in self.able()]).values():
            self.holder[len(self.holder)] = holder
        return True

    # --- words ------------------------------------------------------------------------------------------------------

    def called(self, process: proc.Process) -> str:
        """What a person finds a process by."""
        name = f" ({process.supervisor_name})" if process.supervisor_name else ""
        return f"The ASGI process {process.pid}{name} on port {process.port}"

    def places(self) -> str:
        """The addresses that were asked for."""
        return ", ".join(f"{self.host}:{port}" for port in self.ports)

    def log_of(self, process: proc.Process) -> str:
        """Where that process says more."""
        if process.log:
            return f"; see {process.log}"
        if process.supervisor_name:
            return f"; see `{shell_words('supervisorctl', 'tail', process.supervisor_name)}` and its log file"
        return ""

    def logs_on(self, port: int) -> str:
        """Where to look when only the port is known."""
        logs = {self.log_of(process) for process in self.processes if process.port == port} - {""}
        return logs.pop() if len(logs) == 1 else "; see the logs of the processes on that port" if logs else ""

    def any_log(self) -> str:
        """Where to look when every process is meant."""
        logs = {self.log_of(process) for process in self.processes} - {""}
        return logs.pop() if len(logs) == 1 else "; see the processes' logs" if logs else ""

    def age_hint(self, process: proc.Process) -> str:
        """A process older than the settings still runs with the old ones."""
        try:
            changed = Path(self.given["home"], "portal_config.yml").stat().st_mtime
        except OSError:
            return ""
        if process.started_at < changed:
            return "; it was started before portal_config.yml was last changed, so it has to be restarted"
        return ""

    def short_read(self, name: str, seconds: float) -> str:
        """Return the sentence for a layer of the core class whose reads end before Redis answers."""
        client = self.result["versions"].get("redis")
        return (
            f"CHANNEL_LAYERS.{name} ends a read after {seconds:g} s (redis-py {client}), and its class waits in one"
            " for 5 s, so that idle WebSockets are closed with code 1011. Set socket_timeout to 15 in each of its"
            " hosts."
        )

    def report(self) -> dict[str, Any]:
        """The answer of the module."""
        held = Counter(self.holder.values())
        got = Counter(pid for number, pid in self.holder.items() if number in self.got_first)
        return {
            **self.result,
            "ok": not self.problems,
            "problems": texts(self.problems),
            "codes": codes(self.problems),
            "warnings": [*self.warnings, *(self.short_read(*each) for each in self.short_reads.items())],
            "processes": [
                {
                    "pid": process.pid,
                    "user": process.user,
                    "port": process.port,
                    "age_seconds": process.age_seconds,
                    "sockets": held[process.pid],
                    "received": got[process.pid],
                    "alive": proc.still_there(process),
                    "name": process.supervisor_name,
                }
                for process in self.processes
            ],
            "listeners": [
                {"port": port, "processes": sum(process.port == port for process in self.processes)}
                for port in self.ports
            ],
            "seconds": round(time.monotonic() - self.started, 2),
        }


def may_read(path: str, uid: int) -> bool:
    """Return whether the user with that number may read a file."""
    try:
        return ask_as(account_of(uid), lambda: b"%d" % os.access(path, os.R_OK), 1, HANDSHAKE_SECONDS) == b"1"
    except Rejected:
        return False


def secret_values(layers: Any) -> set[str]:
    """What has to stay hidden of CHANNEL_LAYERS: its passwords and keys, and whole URLs that hold one."""
    found = secrets_in(layers)

    def walk(value: Any) -> None:
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
            walk(item)
        if isinstance(value, str) and secrets_in(value):
            found.add(value)

    walk(layers)
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "home": {"type": "path", "required": True},
            "user": {"type": "str"},
            "host": {"type": "str", "default": "127.0.0.1"},
            "ports": {"type": "list", "elements": "int", "default": [8000]},
            "processes": {"type": "int", "default": 0},
            "idle_seconds": {"type": "int", "default": 0},
            "idle_always": {"type": "bool", "default": True},
            "expected_layers": {"type": "dict", "no_log": True},
            "settings_file": {"type": "path"},
            "name": {"type": "str"},
            "among": {"type": "list", "elements": "str"},
            "word": {"type": "str"},
            "front": {
                "type": "dict",
                "options": {
                    "called": {"type": "str", "default": "The web server in front"},
                    "address": {"type": "str", "default": "127.0.0.1"},
                    "port": {"type": "int", "required": True},
                    "tls": {"type": "bool", "default": False},
                    "name": {"type": "str", "default": ""},
                    "fix": {"type": "str", "default": ""},
                    "closes_after": {"type": "float"},
                },
            },
            "url": {"type": "str"},
            "timeout": {"type": "int", "default": 60},
        },
        mutually_exclusive=[("expected_layers", "settings_file")],
        required_together=[("name", "among")],
        required_by={"among": ["word"]},
        supports_check_mode=True,
    )
    # Ansible would mask every value of the setting wherever it stands in the answer, be it 127.0.0.1 or tethys.
    expected = module.params["expected_layers"] or {}
    module.no_log_values = {s for s in secret_values(expected) if s}
    module.exit_json(changed=False, probe=Probe(dict(module.params)).run())


if __name__ == "__main__":
    main()
