# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every decision a second time, with a random text instead of each problem's: it has to be the same."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem

TEXTS = ("refusals", "warnings", "problems", "after_start")


@contextmanager
def random_texts() -> Iterator[None]:
    """Have every problem that is made meanwhile say something else."""
    make = Problem.__init__

    def scrambled(self: Problem, code: str, subject: str, text: str) -> None:
        make(self, code, subject, secrets.token_urlsafe())

    with patch.object(Problem, "__init__", scrambled):
        yield


def without_texts(result: Any) -> Any:
    """Return a result with the number of its problems instead of their texts."""
    if not isinstance(result, dict):
        return result
    return {
        key: len(value) if key in TEXTS and isinstance(value, list) else without_texts(value)
        for key, value in result.items()
    }


def decided(decide: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Return what was decided, after a second time with other texts."""
    again = copy.deepcopy(given)
    result = decide(*given)
    with random_texts():
        other = decide(*again)
    assert without_texts(other) == without_texts(result), "A decision depends on the text of a message."
    return result
