# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A problem: its code is for programs and tests, its text for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Problem:
    """One reason against a run, or a warning.

    Args:
        code: what is wrong, a slug that never changes, such as `port-in-use`.
        subject: what it is wrong with: a variable, a path, a port, a host.
        text: the sentence that is printed. No decision depends on it, so comparisons leave it out.
    """

    code: str
    subject: str
    text: str = field(compare=False)


def texts(problems: Iterable[Problem]) -> list[str]:
    """Return the sentences of problems, as printed."""
    return [problem.text for problem in problems]


def codes(problems: Iterable[Problem]) -> list[dict[str, str]]:
    """Return the codes and subjects of problems, in the order of `texts`."""
    return [{"code": problem.code, "subject": problem.subject} for problem in problems]
