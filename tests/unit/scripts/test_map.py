# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The map in CONTRIBUTING.md is the tree's: each file of Python that is shared has a place in it, and none is gone."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MAP = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([a-z_*]+\.py)`", MAP)
FOLDERS = re.findall(r"`([a-z_]+)/`", MAP)


def test_every_shared_file_has_a_place() -> None:
    shared = [path for folder in ("plugin_utils", "module_utils") for path in (ROOT / "plugins" / folder).rglob("*.py")]
    alone = [path for path in shared if path.name != "__init__.py" and path.parent.name not in FOLDERS]
    assert not [path for path in alone if not any(fnmatch(path.name, name) for name in NAMED)]


def test_every_named_file_is_there() -> None:
    there = {
        path.name for folder in ("plugins", "roles", "tests", "molecule") for path in (ROOT / folder).rglob("*.py")
    }
    assert not [name for name in NAMED if not any(fnmatch(found, name) for found in there)]
