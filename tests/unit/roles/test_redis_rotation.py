# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an old password of Redis is removed: once every portal has the new one, and delivery was verified with it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.tethys.channels.tests.unit.roles.test_redis_unit import ROLE, trusted

PROVED = {"__layer_check_result": {"probe": {"ok": True}}}
DONE = {"__portal_config_result": {}, "__asgi_service_result": {}, **PROVED}


def rotated(kind: str, portals: dict[str, Any], check: bool = False, rotating: bool = True) -> Any:
    """The role's verdict for a portal by the name of `here`, or for a Redis that all portals share."""
    known = trusted(yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8")))
    known.update(
        __redis_container_settings={"rotating": rotating},
        preflight_kind=kind,
        preflight_portals=list(portals) if kind == "redis" else [],
        inventory_hostname="redis" if kind == "redis" else "here",
        ansible_check_mode=check,
        hostvars=portals,
    )
    return Templar(loader=DataLoader(), variables=known).template(known["__redis_container_rotated"])


@pytest.mark.parametrize("missing", [None, *DONE])
def test_a_portal_has_gone_through_all_roles(missing: str | None) -> None:
    found = {name: value for name, value in DONE.items() if name != missing}
    assert rotated("portal", {"here": found, "other": {}}) is (missing is None)
    # A dry run verifies nothing where something would change.
    assert rotated("portal", {"here": found}, check=True) is (missing in (None, "__layer_check_result"))
    assert rotated("portal", {"here": found}, rotating=False) is False


def test_processes_that_no_run_restarts_are_named_at_the_end() -> None:
    def has(*commands: str) -> dict[str, Any]:
        return {"__preflight_found": {"server": {"workers": [{"command": each} for each in commands]}}}

    known = trusted(yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8")))
    known.update(preflight_kind="redis", preflight_portals=["one", "two", "three", "four"])
    known["hostvars"] = {"one": has("celery"), "two": has("celery", "runworker"), "three": {}, "four": has()}
    found = Templar(loader=DataLoader(), variables=known).template(known["__redis_container_keepers"])
    assert found == ["celery", "runworker"]


def test_a_message_that_did_not_arrive_keeps_the_old_password() -> None:
    assert rotated("portal", {"here": {**DONE, "__layer_check_result": {"probe": {"ok": False}}}}) is False


@pytest.mark.parametrize("missing", [None, *DONE])
@pytest.mark.parametrize("check", [False, True])
def test_every_portal_of_a_shared_redis_has(missing: str | None, check: bool) -> None:
    second = {name: value for name, value in DONE.items() if name != missing}
    assert rotated("redis", {"one": DONE, "two": second}, check) is (missing is None)
