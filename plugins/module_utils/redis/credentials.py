# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passwords of a Redis of the collection's own: how they are created, and how a rotation replaces them."""

from __future__ import annotations

import secrets
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.redis.users import sha256


def next_credentials(
    kept: dict[str, Any],
    password: str | None,
    *,
    peer_password: str | None = None,
    owner: str | None = None,
    acl: bool = True,
    rotate: bool = False,
    retire: bool = False,
) -> dict[str, Any]:
    """What to keep: the passwords, and of those before, while a rotation is under way, their sums.

    `owner` is the portal_config.yml of the portal whose Redis this is, kept with the first passwords: a run that was
    killed after them has left nothing else to recognize its portal by.
    """
    before = kept.get("password") or None
    owner = kept.get("portal_config") if before else owner
    found = {
        "password": password or (None if rotate else before) or secrets.token_urlsafe(32),
        "admin_password": kept.get("admin_password") or secrets.token_urlsafe(32),
        **({"peer_password": peer_password} if peer_password else {}),
        **({"portal_config": owner} if owner else {}),
    }
    if not acl or not before:
        # A server without users takes one password only.
        return found
    now = sha256(found["password"])
    # A rotation that follows one which was stopped keeps that one's old password: a process may still run with it.
    previous = [each for each in [*(kept.get("previous") or []), sha256(before)] if each != now]
    if previous and not retire:
        found["previous"] = list(dict.fromkeys(previous))
    # The container's label is a digest that includes its password.
    first = kept.get("first") or sha256(before)
    if first != now:
        found["first"] = first
    return found
