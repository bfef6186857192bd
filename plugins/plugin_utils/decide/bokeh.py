# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Bokeh rule: how many ASGI processes a portal may run, and what goes to one of them.

The filter `asgi_processes` is the rule alone; the class is what the run has it decide from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import given
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject, sentence
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    AUTO,
    BACKENDS,
    CORE_BACKEND,
    LAYOUTS,
    MAX_PROCESSES,
    MEMORY_BACKEND,
    POLICIES,
    PUBSUB_BACKEND,
    Problem,
    Refusal,
    refused,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import list_of, mapping_of
from ansible_collections.tethys.channels.plugins.plugin_utils.values import choice_refusal, show, truth, whole_number

_NO_BOKEH_OBJECTS = "Give a boolean, 'in_use', 'not_in_use', 'unknown' or a list of {app, name, url}."
# The problems that depend on what is known of Bokeh.
BOKEH_CODES = ("bokeh-needs-one-process", "bokeh-facts-invalid")


def _handlers(found: Iterable[object]) -> str:
    """Bokeh handlers as a person reads them: `app: name at url`."""
    shown = []
    for handler in found:
        if not isinstance(handler, Mapping) or not any(handler.get(key) for key in ("app", "name", "url")):
            raise refused(
                "bokeh-facts-invalid",
                "tethys_bokeh",
                f"The list of Bokeh handlers has the entry {show(handler)}. {_NO_BOKEH_OBJECTS}",
            )
        owner = ": ".join(str(handler[key]) for key in ("app", "name") if handler.get(key))
        url = str(handler.get("url") or "")
        shown.append(f"{owner} at {url}" if owner and url else owner or url)
    return ", ".join(shown)


def bokeh_in_use(bokeh: object) -> str | None:
    """Why Bokeh counts as in use, as the first half of a sentence, or None where it is known not to be."""
    if bokeh is None or (isinstance(bokeh, str) and bokeh in ("unknown", "auto")):
        return "it could not be found out whether an app uses Bokeh, which counts as in use"
    if isinstance(bokeh, bool):
        return "Bokeh is in use" if bokeh else None
    if isinstance(bokeh, str) and bokeh in ("in_use", "not_in_use"):
        return "Bokeh is in use (tethys_bokeh: in_use)" if bokeh == "in_use" else None
    if isinstance(bokeh, (list, tuple)):
        return f"Bokeh is in use ({_handlers(bokeh)})" if bokeh else None
    raise refused(
        "bokeh-facts-invalid",
        "tethys_bokeh",
        f"tethys_bokeh is {show(bokeh)}. {_NO_BOKEH_OBJECTS}",
    )


# What a Bokeh page of any app requests after it was loaded; an ordinary Tethys consumer ends in `/ws/`.
_BOKEH_REQUESTS = r"/(?:autoload\.js|ws)$"


def bokeh_pins(bokeh: object) -> list[str]:
    """Regular expressions of the paths that have to meet in one process: Bokeh's requests, and the pages found.

    The first covers the handlers of an app that is installed after the run, too. Empty where surely no app uses Bokeh.
    """
    if bokeh in (False, "not_in_use"):
        return []
    handlers = map(mapping_of, list_of(bokeh))
    pages = {str(handler["url"]).rstrip("/") for handler in handlers if handler.get("url")}
    # A variable of a URL stands in braces.
    plain = (re.sub(r"\\\{[^{}]*\\\}", "[^/]+", re.escape(page)) for page in sorted(pages))
    return [_BOKEH_REQUESTS, *(f"^{page}/?$" for page in plain)]


def _number_refusal(value: object) -> Problem | None:
    """Return the problem of a value that is not a number of processes, or None."""
    number = whole_number(value)
    if number is None:
        return Problem(
            "processes-invalid",
            "tethys_asgi_processes",
            f"tethys_asgi_processes is {show(value)}: set it to a whole number of at least 1, written in digits.",
        )
    if number > MAX_PROCESSES:
        return Problem(
            "processes-too-many",
            "tethys_asgi_processes",
            f"tethys_asgi_processes is {show(value)}, and each of these processes would be a whole portal in"
            f" memory: set it to the number of processes that the server can hold, at most {MAX_PROCESSES}.",
        )
    return None


def _several_refusals(
    number: int, in_use: str | None, is_known: bool, policy: object, backend: object, layout: object
) -> Iterable[Problem]:
    """Yield why several processes would lose messages or break Bokeh pages."""
    if backend == MEMORY_BACKEND:
        yield Problem(
            "memory-layer-needs-one-process",
            "tethys_asgi_processes",
            f"tethys_asgi_processes is {number} with tethys_layer_backend {backend}, where only the sender's own"
            " process receives a message: set tethys_asgi_processes to 1, or tethys_layer_backend to"
            f" {PUBSUB_BACKEND}.",
        )
    if policy == "single" and in_use:
        known = "" if is_known else ", or tethys_bokeh to not_in_use where no app uses it"
        yield Problem(
            "bokeh-needs-one-process",
            "tethys_asgi_processes",
            f"tethys_asgi_processes is {number} and {in_use}, whose pages work in a single process only"
            " (tethys_bokeh_policy: single): set tethys_asgi_processes to 1, or tethys_bokeh_policy to pin"
            f" together with tethys_asgi_layout to socket_per_process{known}.",
        )
    if policy == "pin" and layout != "socket_per_process":
        yield Problem(
            "pin-needs-layout",
            "tethys_bokeh_policy",
            f"tethys_bokeh_policy is pin with tethys_asgi_processes {number} and tethys_asgi_layout {layout}, in"
            " which nginx cannot distinguish the processes: set tethys_asgi_layout to socket_per_process, or"
            " tethys_asgi_processes to 1.",
        )


def asgi_processes(
    value: object,
    bokeh: object = None,
    policy: object = "single",
    backend: object = CORE_BACKEND,
    layout: object = "shared_socket",
) -> int:
    """Return the number of ASGI processes, or refuse with every reason found.

    Args:
        value: what the administrator wrote, a whole number of at least 1 or its digits.
        bokeh: a boolean, a list of `{app, name, url}`, `in_use`, `not_in_use`, or None, `unknown` or `auto`, which
            count as in use.
        policy: `single` (Bokeh in use means one process) or `pin` (Bokeh traffic goes to one of several processes).
        backend: the channel layer's class.
        layout: `shared_socket` or `socket_per_process`.

    Raises:
        Refusal: the number is none, or so many processes would lose messages or break Bokeh pages.
    """
    problems = [
        choice_refusal("tethys_bokeh_policy", policy, POLICIES),
        choice_refusal("tethys_layer_backend", backend, (AUTO, *BACKENDS)),
        choice_refusal("tethys_asgi_layout", layout, LAYOUTS),
    ]
    in_use: str | None = None
    try:
        in_use = bokeh_in_use(bokeh)
    except Refusal as refusal:
        problems.extend(refusal.problems)
    number = whole_number(value)
    problems.append(_number_refusal(value))
    if not any(problems) and number and number > 1:
        is_known = bokeh not in (None, "unknown", "auto")
        problems.extend(_several_refusals(number, in_use, is_known, policy, backend, layout))
    found = [problem for problem in problems if problem]
    if found or number is None:
        raise Refusal(*found)
    return number


class Bokeh(Subject):
    """What is known of Bokeh, and what follows for the processes."""

    @property
    def bokeh(self) -> object:
        """What is known of Bokeh, as `asgi_processes` takes it."""
        if self.asked["tethys_bokeh"] != "auto":
            return self.asked["tethys_bokeh"]
        # If the portal could not be inspected, that is reported already.
        return self.portal.get("bokeh", "unknown") if self.could_look else "not_in_use"

    @property
    def pins(self) -> list[str]:
        """The paths that nginx is to send to one process."""
        return bokeh_pins(self.bokeh) if self.apart and self.asked["tethys_bokeh_policy"] == "pin" else []

    @property
    def has_watch(self) -> bool:
        """Whether a process that hangs is killed. A callback of Bokeh may hold the event loop for minutes."""
        value = given(self.values, "asgi_service_watch")
        if value != AUTO:
            return truth(value)
        if self.bokeh == "unknown":
            # An app that fails to import in one run is no reason to remove the watch, nor to add one.
            return bool(self.server.get("systemd")) and self.server.get("watch") is not None
        return bool(self.server.get("systemd")) and self.bokeh in (False, "not_in_use", [])

    def watch_reasons(self) -> None:
        """Refuse a watch that nothing could run, and announce one that is added or removed."""
        is_there, unit = self.server.get("watch") is not None, self.names.watch_unit
        if self.has_watch and not self.server.get("systemd"):
            self.refuse(
                "watch-needs-systemd",
                "asgi_service_watch",
                f"asgi_service_watch is {show(given(self.values, 'asgi_service_watch'))}: systemd does not run on this"
                " server. Set it to auto or false.",
            )
        elif self.has_watch and not is_there:
            self.announce.append(
                f"The service {unit} is added (asgi_service_watch). It kills an ASGI process that does not answer for"
                " 40 s, which Supervisor then starts again."
            )
        elif is_there and not self.has_watch:
            self.announce.append(
                f"The service {unit} is removed (asgi_service_watch): an ASGI process that hangs is not restarted."
            )

    def processes(self) -> int | None:
        """The number of processes, once Bokeh is known."""
        asked, bokeh = self.asked, self.bokeh
        try:
            return asgi_processes(
                asked["tethys_asgi_processes"],
                bokeh=bokeh,
                policy=asked["tethys_bokeh_policy"],
                backend=asked["tethys_layer_backend"],
                layout=asked["tethys_asgi_layout"],
            )
        except Refusal as refusal:
            reason = self.portal.get("bokeh_problem") if bokeh == "unknown" or isinstance(bokeh, list) else None
            why = f" (Why it is not known: {sentence(reason)})" if reason else ""
            if reason and bokeh != "unknown":
                why = f" ({reason.rstrip('.')}.)"
            for problem in refusal.problems:
                told = problem.text + (why if problem.code in BOKEH_CODES else "")
                self.problems.append(replace(problem, text=told))
            return None
