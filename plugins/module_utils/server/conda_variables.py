# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that `conda activate` sets: `conda env config vars`, and those of packages in `env_vars.d`."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, is_clean, load
from ansible_collections.tethys.channels.plugins.module_utils.read_as import ask_as, names_in, read_file, reader_of

MOST_BYTES = 64 * 1024
MOST_FILES = 100
MOST_NAME_BYTES = 4 * 1024 * 1024
# Variables of all files together. Environments of the sciences have some twenty.
MOST_VARIABLES = 1000
# For all files together.
SECONDS = 10.0
MOST_VALUE = 8192
# All names and values together, as a shell reads them.
MOST_TOTAL = 32 * 1024
# As conda writes that a variable is not to be set.
UNSET = "***unset***"
# Those that the program sets itself, and those that a shell does not let one set.
OWN = (
    "TETHYS_HOME",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "USER",
    "HOME",
    "PYTHONUNBUFFERED",
    "BASHOPTS",
    "SHELLOPTS",
    "UID",
    "EUID",
    "PPID",
    "IFS",
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


def accepted(name: object, value: object) -> bool:
    """Return whether a variable can be given to the processes: one line, and none of those that the program sets."""
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and bool(_NAME.fullmatch(name))
        and name not in OWN
        and not name.startswith("SUPERVISOR_")
        and len(value) <= MOST_VALUE
        and is_clean(value)
    )


def of_conda(prefix: str) -> tuple[dict[str, str], list[str]]:
    """Return the variables that `conda activate` sets, and the names of those that the processes cannot be given.

    The files are the environment owner's, and are read as that user.
    """
    found: dict[str, object] = {}
    for values_of_file in _files(prefix):
        found.update(values_of_file)
    values = {name: value for name, value in found.items() if value != UNSET}
    good: dict[str, str] = {}
    left = MOST_TOTAL
    for name, value in sorted(values.items()):
        if not accepted(name, value):
            continue
        left -= len(name) + len(shlex.quote(str(value)).encode())
        if left >= 0:
            good[name] = str(value)
    return good, sorted(name[:200] for name in set(values) - set(good) if is_clean(name))


def _files(prefix: str) -> list[dict[str, object]]:
    """Return the variables of each file, in the order in which conda sets them, if they are read in time.

    The first file that is rejected, or brings too many, ends it: each takes its time, and there may be many.
    """
    end = time.monotonic() + SECONDS
    folder = str(Path(prefix, "etc/conda/env_vars.d"))
    found: list[dict[str, object]] = []
    try:
        # First, since the packages' files may be many.
        state = _object(str(Path(prefix, "conda-meta/state")), end).get("env_vars")
        of_state = state if isinstance(state, dict) else {}
        if len(of_state) > MOST_VARIABLES:
            return []
    except Rejected:
        return []
    with contextlib.suppress(OSError, Rejected):
        names = [name for name in _names(folder, end) if name.endswith(".json")]
        left = MOST_VARIABLES - len(of_state)
        for name in names[:MOST_FILES]:
            of_file = _object(str(Path(folder, name)), end)
            left -= len(of_file)
            if left < 0:
                break
            found.append(of_file)
    return [*found, of_state]


def _left(end: float) -> float:
    """Return the seconds until a moment of ``time.monotonic()``; Rejected where it has passed."""
    left = end - time.monotonic()
    if left <= 0:
        raise Rejected("there is no time left")
    return left


def _names(folder: str, end: float) -> list[str]:
    """Return the names in a folder, read as its owner."""
    raw = ask_as(reader_of(folder), lambda: b"\0".join(map(os.fsencode, names_in(folder))), MOST_NAME_BYTES, _left(end))
    return [os.fsdecode(name) for name in raw.split(b"\0") if name]


def _object(path: str, end: float) -> dict[str, object]:
    """Return the object in a file, or an empty one where there is none; Rejected where it cannot be read in time."""
    try:
        raw = read_file(path, None, MOST_BYTES, _left(end))
    except OSError:
        return {}
    try:
        found = load(raw)
    except Rejected:
        return {}
    return found if isinstance(found, dict) else {}
