# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run goes by that does not come from the server: variables, and the collection itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.release import __version__

ROOT = Path(__file__).parents[2]
FOLDERS = ("playbooks", "plugins", "roles")
# What is gone by in a run, and nothing on the server is as it is because of it.
OF_THE_RUN = re.compile(
    r"(tethys_hosts|tethys_serial|preflight_pipelining|(layer_check|fleet_check|tethys_docker)_.*)$"
)


def sum_of(values: Mapping[str, Any], root: Path = ROOT) -> str:
    """A sum over the variables, the collection's files and ansible-core's version."""
    decisive = {name: value for name, value in values.items() if not OF_THE_RUN.match(name)}
    # Twice, since numbers and texts that are keys of one mapping cannot be sorted before they all are texts.
    texts = json.loads(json.dumps([decisive, __version__], default=str))
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*")):
        # What Python keeps beside a file for itself is made when it is first used.
        if path.suffix != ".pyc" and path.is_file():
            digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
