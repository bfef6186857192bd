# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs in the portal's Python share, with each other and with what starts them."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any, Iterable

# The distributions whose versions an inspection returns, and those that carry a message.
PACKAGES = (
    "tethys_platform",
    "django",
    "channels",
    "channels_redis",
    "redis",
    "daphne",
    "asgiref",
    "bokeh",
    "bokeh_django",
    "hiredis",
    "msgpack",
    "autobahn",
)
DELIVERY_PACKAGES = ("tethys_platform", "channels", "channels_redis", "redis", "daphne", "autobahn")
# Why the Bokeh handlers are read from the source, until Tethys has started.
NO_END = "the start of Tethys came to no end"
# An app may raise anything when it is imported, and may even try to leave.
ANYTHING = (Exception, SystemExit)
CORE = "channels_redis.core.RedisChannelLayer"


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """The installed versions of these distributions; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in names:
        found[name] = None
        # Older Pythons find a distribution only under the spelling it was installed with.
        for spelling in (name, name.replace("_", "-")):
            try:
                found[name] = importlib.metadata.version(spelling)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def sentence(error: BaseException | None) -> str:
    """An error as part of a sentence."""
    if error is None:
        return "no reason was given"
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said[:400]}" if said else type(error).__name__


def host_name(allowed: Any) -> str:
    """A name by which the portal lets itself be called."""
    for name in allowed:
        if name != "*" and re.match(r"^\.?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*$", str(name)):
            return str(name).lstrip(".")
    return "localhost"
