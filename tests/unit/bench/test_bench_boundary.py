# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Some hundred generated answers, and that the count would see what it is to find."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import boundary
from ansible_collections.tethys.channels.tests.bench import bench_boundary


def test_generated_answers_do_not_break_the_boundary() -> None:
    found = bench_boundary.through(500)
    assert found["accepted"] > 50
    assert found["rejected"] > 50
    assert found.total() == found["accepted"] + found["rejected"]


@pytest.mark.parametrize(
    ("accept", "seen"),
    [
        (lambda raw, schema: {"user": "root"}, "unlisted keys"),
        (lambda raw, schema: {"a": ["\x1b[2J"]}, "values with control characters"),
        (lambda raw, schema: 1 / 0, "tracebacks"),
    ],
)
def test_what_comes_through_is_counted(monkeypatch: pytest.MonkeyPatch, accept: Any, seen: str) -> None:
    monkeypatch.setattr(boundary, "accept", accept)
    assert bench_boundary.through(5)[seen] == 5
