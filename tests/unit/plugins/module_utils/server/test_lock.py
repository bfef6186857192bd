# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run after the other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    with alone(tmp_path):
        assert subprocess.run(["flock", "-n", str(tmp_path), "true"], check=False).returncode != 0
        with pytest.raises(Busy, match=r"Another run is changing this server, and has not ended for 0 s"):
            alone(tmp_path, 0).__enter__()
    assert subprocess.run(["flock", "-n", str(tmp_path), "true"], check=False).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_is_remembered_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    with alone(tmp_path / "none"):
        pass
    assert not (tmp_path / "none").exists()
