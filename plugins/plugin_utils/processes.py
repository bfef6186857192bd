# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many ASGI processes a portal may run: the Bokeh single-process rule and the limits of the in-memory layer."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, Refusal, refused

CORE_BACKEND = "channels_redis.core.RedisChannelLayer"
PUBSUB_BACKEND = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY_BACKEND = "channels.layers.InMemoryChannelLayer"
BACKENDS = (CORE_BACKEND, PUBSUB_BACKEND, MEMORY_BACKEND)
POLICIES = ("single", "pin")
LAYOUTS = ("shared_socket", "socket_per_process")

# Every ASGI process is a whole portal in memory, so no server runs this many. What arrives above it is another
# variable's value in the wrong place, most often the port, and would bring the server down.
MAX_PROCESSES = 1000

_DIGITS = re.compile(r"[1-9][0-9]*")
_NO_BOKEH_OBJECTS = "Give a boolean, 'in_use', 'not_in_use', 'unknown' or a list of {app, name, url}."


def show(value: Any) -> str:
    """A value as it is shown in a message: on one line and not too long."""
    try:
        text = repr(str(value)) if isinstance(value, str) else repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def type_name(value: Any) -> str:
    """Return the name of a value's type as YAML has it; Ansible gives texts, numbers and lists types of its own."""
    kinds = (bool, int, float, str, list, dict)
    return next((kind.__name__ for kind in kinds if isinstance(value, kind)), type(value).__name__)


def nearest(word: Any, choices: Iterable[str]) -> str | None:
    """Return the choice that a misspelt word is probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(str(word), list(choices), n=1)), None)


def closest(word: Any, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for a misspelt choice, or nothing."""
    meant = nearest(word, choices)
    return f" (did you mean '{meant}'?)" if meant else ""


def choice_refusal(variable: str, value: Any, choices: Iterable[str]) -> Problem | None:
    """Return the problem of a value that is none of the choices, or None."""
    if isinstance(value, str) and value in choices:
        return None
    return Problem(
        "choice-unknown",
        variable,
        f"{variable} is {show(value)}{closest(value, choices)}: set it to one of {', '.join(choices)}.",
    )


def whole_number(value: Any) -> int | None:
    """The whole number of at least 1 that a value stands for, or None.

    Inventories deliver numbers as text, so plain ASCII digits count. A leading zero does not: YAML 1.1 reads 010 as 8.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value) if value >= 1 else None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        # Beyond 4300 digits int() itself refuses, and any number of that size is too large all the same.
        return int(value[:1000])
    return None


def _handlers(found: Iterable[Any]) -> str:
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


def bokeh_in_use(bokeh: Any) -> str | None:
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
        f"What is known of Bokeh (tethys_bokeh) is {show(bokeh)}. {_NO_BOKEH_OBJECTS}",
    )


# What a Bokeh page asks for after it was loaded, whatever app it is of; an ordinary Tethys consumer ends in `/ws/`.
_BOKEH_REQUESTS = r"/(?:autoload\.js|ws)$"


def bokeh_pins(bokeh: Any) -> list[str]:
    """Regular expressions of the paths that have to meet in one process: Bokeh's requests, and the pages found.

    The first covers the handlers of an app that is installed after the run, too. Empty where surely no app uses Bokeh.
    """
    if bokeh in (False, "not_in_use"):
        return []
    found = bokeh if isinstance(bokeh, (list, tuple)) else []
    pages = {str(handler["url"]).rstrip("/") for handler in found if handler.get("url")}
    # A variable of a URL stands in braces.
    plain = (re.sub(r"\\\{[^{}]*\\\}", "[^/]+", re.escape(page)) for page in sorted(pages))
    return [_BOKEH_REQUESTS, *(f"^{page}/?$" for page in plain)]


def _number_refusal(value: Any) -> Problem | None:
    """Return the problem of a value that is no number of processes, or None."""
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
    number: int, in_use: str | None, is_known: bool, policy: str, backend: str, layout: str
) -> Iterable[Problem]:
    """Yield why several processes would lose messages or break Bokeh pages."""
    if backend == MEMORY_BACKEND:
        yield Problem(
            "memory-layer-needs-one-process",
            "tethys_asgi_processes",
            f"tethys_asgi_processes is {number} with tethys_layer_backend {backend}, where only the sender's own"
            f" process receives a message: set tethys_asgi_processes to 1, or tethys_layer_backend to {CORE_BACKEND}.",
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
    value: Any,
    bokeh: Any = None,
    policy: str = "single",
    backend: str = CORE_BACKEND,
    layout: str = "shared_socket",
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
        choice_refusal("tethys_layer_backend", backend, BACKENDS),
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
