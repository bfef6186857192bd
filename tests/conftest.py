# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A busy machine makes an example slow, not wrong.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a real portal run where there is one; `scripts/run-tests portal` makes it."""
    if not os.environ.get("TETHYS_TEST_PYTHON"):
        reason = "TETHYS_TEST_PYTHON does not name the Python of a Tethys environment (scripts/run-tests portal does)"
        for item in items:
            if item.get_closest_marker("portal") or item.get_closest_marker("versions"):
                item.add_marker(pytest.mark.skip(reason=reason))
