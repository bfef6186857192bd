# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of this server, and a child that has become one of them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.read_as import ask_as
from ansible_collections.tethys.channels.plugins.module_utils.run_command import run_command
from ansible_collections.tethys.channels.plugins.module_utils.server import accounts

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def nobody() -> accounts.Account:
    found = accounts.account("nobody")
    assert found is not None
    return found


def test_a_user_without_a_name_has_its_number() -> None:
    assert accounts.account_of(4_200_000_001) == accounts.Account("4200000001", 4_200_000_001, 4_200_000_001, "/")
    assert accounts.account("no-such-user") is None
    assert accounts.account("") is None


def test_root_stays_root_and_who_is_not_root_stays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accounts.become(accounts.account_of(0)) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert accounts.become(nobody()) is None


def privileges(status: str) -> dict[str, str]:
    return dict(re.findall(r"^(Uid|Gid|Groups|Cap\w+|NoNewPrivs):\s*(.*)$", status.replace("\t", " "), re.MULTILINE))


@ROOT
def test_a_program_has_that_users_rights_and_gains_none() -> None:
    who = nobody()
    become = accounts.become(who)
    program = run_command(["cat", "/proc/self/status"], seconds=20, env={"PATH": "/bin:/usr/bin"}, become=become).out
    child = ask_as(who, lambda: Path("/proc/self/status").read_bytes(), 100_000, 20).decode()
    for found in map(privileges, (program, child)):
        assert set(found["Uid"].split()) == {str(who.uid)}
        assert set(found["Gid"].split()) == {str(who.gid)}
        assert "0" not in found["Groups"].split()
        assert {int(found[each], 16) for each in ("CapPrm", "CapEff", "CapAmb")} == {0}
        assert found["NoNewPrivs"] == "1"


@ROOT
def test_a_child_of_root_is_closed_to_its_user() -> None:
    def memory() -> bytes:
        return b"%d" % Path("/proc/self/mem").stat().st_uid

    # The kernel gives the folder of a process that changed its user, and may hold secrets, to root.
    assert ask_as(nobody(), memory, 100, 20) == b"0"
