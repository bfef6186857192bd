# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run goes by that does not come from the server: variables, and the collection itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.release import __version__

ROOT = Path(__file__).parents[2]
FOLDERS = ("playbooks", "plugins", "roles")


def sum_of(values: Mapping[str, Any], root: Path = ROOT) -> str:
    """A sum over the variables, the collection's files and ansible-core's version."""
    digest = hashlib.sha256(json.dumps([values, __version__], sort_keys=True, default=str).encode())
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*")):
        # What Python keeps beside a file for itself is made when it is first used.
        if path.suffix != ".pyc" and path.is_file():
            digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
