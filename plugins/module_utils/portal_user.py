# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs the portal's Python: the web server's user, and never root."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Callable

from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import (
    Account,
    account,
    account_of,
)

NGINX_CONF = "/etc/nginx/nginx.conf"
WEB_SERVER_USERS = ("www-data", "nginx", "apache", "www")
ROOT = 0


def nginx_user(conf: str = NGINX_CONF) -> str | None:
    """The user that nginx's main configuration names."""
    try:
        text = Path(conf).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^\s*user\s+([^\s;]+)[^;]*;", text, re.MULTILINE)
    return found.group(1).strip("'\"") if found else None


def resolve_user(user: str | None = None, conf: str = NGINX_CONF) -> str | None:
    """Return the portal's user: the one given, else the web server's that is not root, else None."""
    if user:
        return user
    for name in (nginx_user(conf), *WEB_SERVER_USERS):
        found = account(name)
        if name and found and found.uid != ROOT:
            return name
    return None


def runner_for(user: str | None, home: str) -> Account | None:
    """Return who runs the portal's Python, which is never root; None if nobody can.

    Without a web server's user it is the owner of TETHYS_HOME. A module that does not run as root can only be itself.
    """
    if os.geteuid() != 0:
        return account_of(os.geteuid())
    known = account(user)
    if known is None and user is None:
        with contextlib.suppress(OSError):
            known = account_of(Path(home).stat().st_uid)
    return known if known and known.uid != ROOT else None


def user_problem(name: str | None, who: Account | None, home: str) -> str | None:
    """Return why the portal's Python cannot run, as that user or at all."""
    if name is None:
        whose = f"and {home} is root's" if yes(Path(home).exists) else f"and there is no {home}"
        return None if who else f"No web server's user is found on this server, {whose}: nothing is started as root."
    found = account(name)
    if found is None:
        return f"There is no user {name} on this server."
    if found.uid == ROOT:
        return "The portal's apps would run as root."
    if who is None or who.name != name:
        me = account_of(os.geteuid()).name
        return f"Only root can start the portal's Python as {name}, and this runs as {me} (become)."
    return None


def yes(question: Callable[[], bool]) -> bool:
    """The answer to a question about a path; who is not root may meet a folder on the way that it cannot enter."""
    try:
        return question()
    except OSError:
        return False
