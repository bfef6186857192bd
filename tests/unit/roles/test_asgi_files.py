# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the role asgi_service writes: a verified run records each of them, by the plan alone."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.tethys.channels.plugins.plugin_utils.steps import process_files, steps
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_steps import MORE
from ansible_collections.tethys.channels.tests.unit.roles.test_asgi_program import ROLE, trusted


@pytest.mark.parametrize("watch", [False, True])
def test_what_is_recorded_is_what_is_written(watch: bool) -> None:
    found = {"portal": samples.portal(), "server": samples.server()}
    plan: Any = {**samples.planned(samples.asked(), samples.options(), **found), **MORE, "watch": watch}
    known: dict[str, Any] = {"__preflight_plan": steps(plan)}
    for part in ("defaults", "vars"):
        values = yaml.safe_load((ROLE / part / "main.yml").read_text(encoding="utf-8"))
        known.update({name: trusted(value) for name, value in values.items()})
    templar = Templar(loader=DataLoader(), variables=known)
    [task] = yaml.safe_load((ROLE / "tasks/expect.yml").read_text(encoding="utf-8"))
    facts = task["ansible.builtin.set_fact"]
    written = facts["__asgi_service_expected"] + (facts["__asgi_service_watch_files"] if watch else [])
    assert process_files(plan) == [templar.template(trusted(file["path"])) for file in written]
