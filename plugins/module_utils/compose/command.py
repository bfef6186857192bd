# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's command line, and what of its answers and of a project's files is read."""

from __future__ import annotations

import calendar
import os
import re
import time
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, clean
from ansible_collections.tethys.channels.plugins.module_utils.read_as import read_file
from ansible_collections.tethys.channels.plugins.module_utils.run_command import CommandFailed, run_command
from ansible_collections.tethys.channels.plugins.module_utils.secrets import may_hold_secret

# A compose file, a Dockerfile or `.env`; and what Compose makes of all of them.
MOST_TEXT = 256 * 1024
MARK = "# Managed by tethys.channels"
MOST_SAID = 500
# What of a container's or a service's variables matters here and is no secret.
VARIABLES = (
    "ASGI_PROCESSES",
    "CHANNEL_LAYERS_BACKEND",
    "CHANNEL_LAYERS_CONFIG",
    "CONDA_ENV_NAME",
    "CONDA_HOME",
    "TETHYS_HOME",
    "TETHYS_PERSIST",
    "TETHYS_PORT",
)


def call(*words: str, given: str = "", timeout: float = 60) -> tuple[int, str, str]:
    """The exit code and the output of one command."""
    try:
        done = run_command(words, seconds=timeout, env=os.environ, stdin=given)
    except CommandFailed as error:
        return 127, "", str(error)
    return done.code, done.out, done.err


def read(path: Path) -> str:
    """A text of the project's folder, read as whoever can change it; OSError or Rejected where it cannot be."""
    return read_file(str(path), None, MOST_TEXT).decode("utf-8", "replace")


def last_line(text: str) -> str:
    """What a command said last, as part of a sentence."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return clean(lines[-1].rstrip("."), MOST_SAID) if lines else "no reason was given"


def chosen(pairs: Any) -> dict[str, str]:
    """The variables that may be shown, from a mapping or a list of NAME=VALUE.

    A CONFIG that the user wrote may hold a password, so only whether it is ours is returned.
    """
    if isinstance(pairs, list):
        pairs = dict(str(pair).partition("=")[::2] for pair in pairs)
    found = {name: str(value) for name, value in (pairs or {}).items() if name in VARIABLES}
    if may_hold_secret(found.get("CHANNEL_LAYERS_CONFIG", "")):
        found["CHANNEL_LAYERS_CONFIG"] = "not shown"
    return found


def moment(text: str) -> float:
    """Docker's way to write a time, as seconds since 1970."""
    return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))


def head(path: Path) -> str:
    """What a file begins with."""
    try:
        return read(path)[: len(MARK)]
    except (OSError, Rejected):
        return ""


def first(folder: Path, names: tuple[str, ...]) -> str | None:
    """The first of these files that is there."""
    return next((name for name in names if (folder / name).is_file()), None)


def named_in_dotenv(folder: Path) -> list[str]:
    """The files that COMPOSE_FILE in `.env` names."""
    try:
        text = read(folder / ".env")
    except (OSError, Rejected):
        return []
    found = re.findall(r"^[ \t]*(?:export[ \t]+)?COMPOSE_FILE[ \t]*=(.*)$", text, re.MULTILINE)
    return [name for name in found[-1].strip().strip("'\"").split(":") if name] if found else []
