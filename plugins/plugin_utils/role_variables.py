# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The roles' variables, as the roles themselves describe them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from ansible_collections.tethys.channels.plugins.plugin_utils import own_files
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Data

ROLES = Path(__file__).parents[2] / "roles"


@cache
def role_options() -> dict[str, Data]:
    """Return every role's variables with their argument specs."""
    options: dict[str, Data] = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        for entry in own_files.read(path)["argument_specs"].values():
            options.update(entry.get("options") or {})
    return options


@cache
def sources() -> dict[str, str]:
    """Return the role variables that take their value from a `tethys_` variable, with that one."""
    found: dict[str, str] = {}
    for path in sorted(ROLES.glob("*/defaults/main.yml")):
        for name, value in own_files.read(path).items():
            match = re.match(r"\{\{ (tethys_\w+)", str(value))
            if match:
                found[name] = match.group(1)
    return found
