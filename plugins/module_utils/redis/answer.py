# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What redis_settings returns, for the module and for what reads its answer on the controller."""

from __future__ import annotations

from typing import TypedDict


class Credentials(TypedDict):
    """The portal's login and root's; without access rules there are no user names and one password."""

    username: str | None
    password: str
    admin_username: str | None
    admin_password: str


class Diff(TypedDict):
    """The texts of redis.conf before and after, without passwords."""

    before: str
    after: str
    before_header: str
    after_header: str


class SettingsAnswer(TypedDict, total=False):
    """Everything that redis_settings returns of its files."""

    config: list[str]
    config_dir: str
    config_file: str
    start_file: str | None
    config_sum: str
    run_as: str
    rotating: bool
    leaving: list[str]
    credentials: Credentials
    diff: Diff
