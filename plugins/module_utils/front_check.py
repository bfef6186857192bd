# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery check through the web server in front: its certificate, a page, and WebSockets that all receive."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from typing import Any, Mapping, NamedTuple, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, clean, load
from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem
from ansible_collections.tethys.channels.plugins.module_utils.web_socket import (
    Place,
    Refused,
    WebSocket,
    is_name,
    judge_certificate,
    status_of,
)

ANSWER_SECONDS = 10.0
# Problems that can be temporary: HTTP 500 of a process that has lost Redis, and, if the portal is busy, HTTP 403 of
# daphne, or HTTP 502 and 504 of the web server, from which daphne has dropped the connection.
PASSING = {403, 500, 502, 504}
# Different messages that a WebSocket is noted to have received.
MOST_MESSAGES = 100
POLL_SECONDS = 0.02
CONSUMER = "/ws/app-lifecycle/layer_probe_{}/"


class FrontAnswer(TypedDict):
    """What was seen through the web server in front."""

    at: str
    through: str
    # The status of a page; None where there was no answer.
    page: int | None
    sockets: int
    received: int


class Front(NamedTuple):
    """A web server in front of the portal.

    Args:
        called: what a person finds it by.
        place: its address as browsers have it.
        prefix: the portal's path on the site, without a slash at its end.
        fix: what lets WebSockets through, as a sentence; empty where that is not known.
        closes_after: after how many seconds it closes a WebSocket before the ASGI server pings; None for not.
        is_named: whether its certificate has to be for the name; else the name was only guessed.
    """

    called: str
    place: Place
    prefix: str = ""
    fix: str = ""
    closes_after: float | None = None
    is_named: bool = True

    @classmethod
    def given(cls, option: Mapping[str, Any], host: str, prefix_url: str) -> Front:
        """Return what the option `front` of the module `layer_probe` says.

        Args:
            host: the name to use where the site has none.
            prefix_url: Django's PREFIX_URL, without slashes at its ends.
        """
        place = Place(
            option["name"] or (host if is_name(host) else "localhost"), option["address"], option["port"], option["tls"]
        )
        prefix = f"/{prefix_url}" if prefix_url else ""
        return cls(option["called"], place, prefix, option["fix"], option["closes_after"], bool(option["name"]))

    @property
    def page(self) -> str:
        """The path of the portal's first page."""
        return f"{self.prefix}/"


class _Socket:
    """A WebSocket and the messages that it has received."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.known = 0
        # Whether it was reported already.
        self.is_judged = False
        self.socket: WebSocket | None = None

    def hear(self, message: bytes) -> None:
        try:
            said = load(message, 4096)
        except Rejected:
            return
        token = said.get("layer_probe") if isinstance(said, dict) else None
        if isinstance(token, str) and len(self.tokens) < MOST_MESSAGES:
            self.tokens.add(token)

    @property
    def is_new(self) -> bool:
        """Whether it has received something since the last message was about to be sent."""
        return len(self.tokens) > self.known


class FrontCheck:
    """One check through a web server in front: what was seen, what is wrong."""

    def __init__(self, front: Front, deadline: float) -> None:
        self.front = front
        self.deadline = deadline
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._status: int | None = None
        self._sockets: list[_Socket] = []
        self._received = 0
        self._is_sent = False

    def _report(self, code: str, text: str) -> None:
        self.problems.append(Problem(code, self.front.place.origin, text))

    def _seconds(self) -> float:
        return max(1.0, min(ANSWER_SECONDS, self.deadline - time.monotonic()))

    # --- before anything is sent --------------------------------------------------------------------------------------

    def look(self, direct: int | None) -> bool:
        """Check certificate, page and time limit; return whether WebSockets can be opened.

        Args:
            direct: the status with which a process answers the same request; None where that is not known.
        """
        front, place = self.front, self.front.place
        try:
            if place.tls:
                self._judge_certificate()
            self._status = status_of(place, front.page, self._seconds())
        except (OSError, http.client.HTTPException) as error:
            self._report(
                "front-unreachable",
                f"{front.called} does not answer at {place.address} port {place.port}: {_why(error)}. Start it, or set"
                " layer_check_url to the address that browsers use.",
            )
            return False
        if front.closes_after is not None:
            self._report(
                "front-timeout-short",
                f"{front.called} closes a WebSocket that is silent for {front.closes_after:g} s, which is before the"
                " ASGI server pings it, so pages stop receiving. Set proxy_read_timeout there to 60s or more.",
            )
        return self._is_page_good(self._status, direct)

    def _judge_certificate(self) -> None:
        front, name = self.front, self.front.place.name
        found = judge_certificate(front.place, self._seconds())
        if found.failure and front.is_named:
            self._report(
                "front-certificate",
                f"{front.called} shows a certificate that is not valid for {name}: {clean(found.failure, 300)}. Renew"
                " it for the names of the portal.",
            )
        elif found.failure or found.warning:
            why = clean(found.failure or found.warning, 300)
            self.warnings.append(f"The certificate of {front.called} could not be verified for {name}: {why}.")

    def _is_page_good(self, status: int, direct: int | None) -> bool:
        front, at = self.front, f"{self.front.place.origin}{self.front.page}"
        if status == 401:
            self.warnings.append(f"{front.called} requires a login at {at}: delivery through it was not checked.")
            return False
        if status < 400 or (status == direct and status != 400):
            return True
        if status == 400 and direct in (None, 400):
            self._report(
                "front-host-not-allowed",
                f"ALLOWED_HOSTS lacks {front.place.name}, the name of {front.called}: {at} answers HTTP 400. Add the"
                " name to ALLOWED_HOSTS in portal_config.yml and restart the processes.",
            )
        elif status == 400:
            self._report(
                "front-host-not-sent",
                f"{front.called} answers HTTP 400 at {at}, and the processes answer HTTP {direct} to that name: it"
                " sends them another one. Have it send the browser's: `proxy_set_header Host $host;` in nginx,"
                " `ProxyPreserveHost On` in Apache.",
            )
        else:
            there = "" if direct is None else f", and the processes answer HTTP {direct}"
            fix = (
                "If it admits some addresses only, set layer_check_url to an empty text."
                if status == 403
                else "Have it send the portal's requests to the address and port on which the processes listen."
            )
            self._report(
                "front-page",
                f"{front.called} answers HTTP {status} at {at}{there}. {fix}",
            )
        return False

    # --- WebSockets ---------------------------------------------------------------------------------------------------

    def open_sockets(self, word: str, count: int, lifetime: float) -> None:
        """Open so many WebSockets, and as many again where some were refused for a reason that may have passed.

        After a refusal for another reason, or in the second batch, no more are opened: one of several servers behind
        the web server may be at fault.
        """
        refused: list[str] = []
        for is_last in (False, True):
            before = len(refused)
            for _each in range(count):
                why, status = self._open_one(CONSUMER.format(word), lifetime)
                if status == 401:
                    self.warnings.append(f"{self.front.called} requires a login for WebSockets: they were not checked.")
                    return
                refused += [why] if why else []
                is_late = time.monotonic() > self.deadline
                if why and (is_last or is_late or status not in PASSING):
                    break
            if len(refused) == before:
                break
            if is_last or is_late or status not in {*PASSING, 101} or len(refused) == count:
                self._report(
                    "front-sockets-refused",
                    f"A WebSocket through {self.front.called} could not be opened: {refused[-1]}."
                    f" {self.front.fix or 'Read its log and that of the processes.'}",
                )
                return
        if refused:
            self.warnings.append(
                f"{len(refused)} of our first WebSockets through {self.front.called} were refused ({refused[-1]}), and"
                " none after them: a process that lost Redis refuses once, and a busy portal while it is busy."
            )

    def _open_one(self, path: str, lifetime: float) -> tuple[str, int]:
        """Open a WebSocket; return why it could not be opened, and the HTTP status, -1 where there was none."""
        one = _Socket()
        try:
            one.socket = WebSocket(self.front.place, self.front.prefix + path, self._seconds(), lifetime, one.hear)
        except Refused as error:
            return str(error), error.status
        except OSError as error:
            return _why(error), -1
        self._sockets.append(one)
        return "", 101

    def mark(self, known: int | None = None) -> None:
        """Take note that the next message is about to be sent.

        Args:
            known: how many messages there were before, where this is called after it.
        """
        for one in self._sockets:
            one.known = len(one.tokens) if known is None else known

    def wait(self, seconds: float) -> bool:
        """Wait until each WebSocket that is open has received something since then; return whether each has."""
        until = time.monotonic() + seconds
        while any(not one.is_new and one.socket and not one.socket.closed for one in self._sockets):
            if time.monotonic() > until:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def judge(self, when: str = "") -> None:
        """Report WebSockets that were closed, and those that did not receive what was sent."""
        asked = [one for one in self._sockets if not one.is_judged]
        lost = [one for one in asked if one.socket and one.socket.closed]
        deaf = [one for one in asked if not one.is_new and one not in lost]
        if not self._is_sent:
            self._received, self._is_sent = sum(one.is_new for one in self._sockets), True
        for one in (*lost, *deaf):
            one.is_judged = True
        of = f"of {len(asked)} WebSockets through {self.front.called}"
        if lost:
            known = sorted({str(one.socket.code) for one in lost if one.socket and one.socket.code})
            code = f" (code {', '.join(known)})" if known else ""
            self._report(
                "front-sockets-closed",
                f"{len(lost)} {of} were closed{when}{code}. If the processes' logs name no error, have the web server"
                " keep silent connections for 60 s or more.",
            )
        if deaf:
            self._report(
                "front-message-not-received",
                f"The message arrived on {len(asked) - len(deaf) - len(lost)} {of}{when}. Have it send the"
                " portal's requests to this portal's processes alone.",
            )

    def close(self) -> None:
        """Close the WebSockets."""
        for one in self._sockets:
            if one.socket:
                one.socket.close()

    def answer(self) -> FrontAnswer:
        """Return what was seen."""
        return {
            "at": self.front.place.origin + self.front.page,
            "through": self.front.called,
            "page": self._status,
            "sockets": len(self._sockets),
            "received": self._received,
        }


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) or str(error) == "timed out":
        return "there was no answer in time"
    number = getattr(error, "errno", None)
    text = os.strerror(number) if number and number > 0 and not isinstance(error, ssl.SSLError) else str(error)
    return clean(text or type(error).__name__, 300).rstrip(".")
