# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own YAML files say the same to whichever loader there is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.plugin_utils import own_files

ROLES = Path(own_files.__file__).parents[2] / "roles"
FILES = [
    *sorted(ROLES.glob("*/meta/argument_specs.yml")),
    *sorted(ROLES.glob("*/defaults/main.yml")),
    *sorted(ROLES.glob("preflight/vars/platforms/*.yml")),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_both_loaders_read_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = own_files.read(path)
    monkeypatch.setattr(own_files, "LOADER", yaml.SafeLoader)
    assert found == own_files.read(path)
