# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of what a process reads: of ordinary files, and of what others may replace them with."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.asgi_record import Sources


def test_the_sum_changes_with_files_and_packages(tmp_path: Path) -> None:
    file, packages = tmp_path / "portal_config.yml", tmp_path / "site-packages"
    packages.mkdir()
    sums = {Sources([str(file)], str(packages)).sum}
    file.write_text("a", encoding="utf-8")
    sums.add(Sources([str(file)], str(packages)).sum)
    file.write_text("b", encoding="utf-8")
    sums.add(Sources([str(file)], str(packages)).sum)
    (packages / "redis-7.0.dist-info").mkdir()
    os.utime(packages / "redis-7.0.dist-info", (2_000_000_000, 2_000_000_000))
    found = Sources([str(file)], str(packages))
    assert found.newest == 2_000_000_000
    assert len({*sums, found.sum}) == 4
    (packages / "other").mkdir()
    assert Sources([str(file)], str(packages)).sum == found.sum


@pytest.mark.parametrize("kind", ["fifo", "zero", "sparse", "folder", "dangling"])
def test_what_is_no_ordinary_file_is_passed_over_at_once(tmp_path: Path, kind: str) -> None:
    path, packages = tmp_path / "portal_config.yml", tmp_path / "site-packages"
    packages.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(200 * 1024**3)
    else:
        path.symlink_to({"zero": "/dev/zero", "dangling": "/nowhere"}[kind])
    (packages / "gone.dist-info").symlink_to("/nowhere")
    os.mkdir(os.fsencode(packages) + b"/\xff.dist-info")  # noqa: PTH102 - the name is no text
    started = time.monotonic()
    assert Sources([str(path)], str(packages)).sum == Sources([str(path)], str(packages)).sum
    assert Sources([str(path)], str(tmp_path / "none")).sum
    assert time.monotonic() - started < 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could read what its owner may not")
def test_a_file_of_roots_behind_somebodys_link_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    secret, home = tmp_path / "secret", tmp_path / "home"
    secret.write_text("root's", encoding="utf-8")
    secret.chmod(0o600)
    home.mkdir()
    (home / "portal_config.yml").symlink_to(secret)
    os.chown(home, 4711, 4711)
    readable = Sources([str(secret)], str(tmp_path))
    assert asgi_record.read_file(str(secret), None, 100) == b"root's"
    with pytest.raises(PermissionError):
        asgi_record.read_file(str(home / "portal_config.yml"), None, 100)
    assert Sources([str(home / "portal_config.yml")], str(tmp_path)).sum != readable.sum
