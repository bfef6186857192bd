# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables that `conda activate` sets: `conda env config vars`, and those of packages in `env_vars.d`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Rejected,
    is_clean,
    load,
    names_in,
    read_file,
)

MOST_BYTES = 64 * 1024
MOST_FILES = 100
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
    folder = str(Path(prefix, "etc/conda/env_vars.d"))
    try:
        names = [name for name in names_in(folder) if name.endswith(".json")][:MOST_FILES]
    except (OSError, Rejected):
        names = []
    found: dict[str, object] = {}
    for name in names:
        found.update(_object(str(Path(folder, name))))
    of_state = _object(str(Path(prefix, "conda-meta/state"))).get("env_vars")
    found.update(of_state if isinstance(of_state, dict) else {})
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


def _object(path: str) -> dict[str, object]:
    try:
        found = load(read_file(path, None, MOST_BYTES))
    except (OSError, Rejected):
        return {}
    return found if isinstance(found, dict) else {}
