# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' private variables: each one that is read is set somewhere."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
FILES = [
    path
    for folder in ("roles", "playbooks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".yml", ".j2") and "platforms" not in path.parts
]
NAME = re.compile(r"(?<![\w.])__[a-z]\w+")
# A variable, a fact, an answer that is kept, or what a loop or a template names.
SET = re.compile(r"^[ -]*(__[a-z]\w+):|register: (__[a-z]\w+)|loop_var: (__[a-z]\w+)", re.MULTILINE)


def texts() -> str:
    """Return the roles and playbooks without their comments."""
    return "\n".join(re.sub(r"(?m)^ *#.*$", "", path.read_text(encoding="utf-8")) for path in FILES)


def test_what_is_read_is_set() -> None:
    text = texts()
    known = {name for names in SET.findall(text) for name in names if name}
    assert set(NAME.findall(text)) - known == set()
