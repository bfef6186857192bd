# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a Python of the system's has PyYAML. Root runs that of no environment, which is its owner's."""

from __future__ import annotations

import importlib.util

from ansible.module_utils.common.respawn import probe_interpreters_for_module

SYSTEM_PYTHONS = ["/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3"]
# What it has to import. The second came with Python 3.8, which the modules need.
WITH_YAML = "yaml, importlib.metadata"


def has_yaml() -> bool:
    """Return whether this Python or another of the system's has PyYAML."""
    if importlib.util.find_spec("yaml") is not None:
        return True
    return probe_interpreters_for_module(SYSTEM_PYTHONS, WITH_YAML) is not None
