# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers, times and lists as the page of `check` writes them."""

from __future__ import annotations

from collections.abc import Sequence

MIB = 2**20


def span(seconds: float) -> str:
    """A time as a person says it, in its two largest units."""
    left = int(seconds)
    found: list[str] = []
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, unit)
        if number or found or unit == 1:
            found.append(f"{number} {name}" if number else "")
    return " ".join(part for part in found[:2] if part) or "0 s"


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many}"


def enumerated(names: Sequence[str]) -> str:
    """Return names as a sentence lists them."""
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + [names[-1]])


def listed(names: Sequence[str], verb_one: str, verb_many: str) -> str:
    """Names as the subject of a sentence, with the verb."""
    return f"{enumerated(names)} {verb_one if len(names) == 1 else verb_many}"
