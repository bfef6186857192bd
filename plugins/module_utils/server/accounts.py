# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users of this server, and how a child process becomes one of them."""

from __future__ import annotations

import os
import pwd
from typing import Callable, NamedTuple

_PR_SET_NO_NEW_PRIVS = 38


class Account(NamedTuple):
    """A user of this server."""

    name: str
    uid: int
    gid: int
    home: str


def account(name: str | None) -> Account | None:
    """Return the user of that name, or None if there is none."""
    if not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def account_of(uid: int) -> Account:
    """Return the user with that number; a number without a name is its own name."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, uid, "/")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def become(who: Account) -> Callable[[], None] | None:
    """Return a function for a child of root that makes it that user for good, or None if nothing needs to change.

    It sets the user, the group and all supplementary groups; with them the kernel takes away every capability. No
    set-user-ID program that it starts gives more (PR_SET_NO_NEW_PRIVS).
    """
    if os.geteuid() != 0 or who.uid == 0:
        return None
    gain_nothing = _no_new_privileges()

    def switch() -> None:
        try:
            os.initgroups(who.name, who.gid)
        except (KeyError, OSError):
            os.setgroups([who.gid])
        os.setresgid(who.gid, who.gid, who.gid)
        os.setresuid(who.uid, who.uid, who.uid)
        gain_nothing()

    return switch


def _no_new_privileges() -> Callable[[], object]:
    """Return a function for a child that keeps it from gaining privileges, if ctypes is there."""
    try:
        import ctypes

        prctl = ctypes.CDLL(None).prctl
        prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    except (ImportError, OSError, AttributeError):
        return lambda: None
    return lambda: prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
