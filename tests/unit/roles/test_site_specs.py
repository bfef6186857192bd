# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In site, Ansible does not validate each role's variables again: the preflight refuses all that the specs refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import wrong_role_values
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

ROOT = Path(__file__).parents[3]
WRONG: list[Any] = ["nonsense", "", 1.5, -1, True, [1], [{"a": 1}], {"a": 1}]


def site() -> list[dict[str, Any]]:
    """Return the tasks of the play that provisions portals."""
    plays = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text(encoding="utf-8"))
    [play] = [play for play in plays if play["name"] == "Provision the channel layer"]
    assert play["roles"] == [{"role": "tethys.channels.preflight"}]
    found: list[dict[str, Any]] = play["tasks"]
    return found


def imported() -> list[str]:
    """Return the roles that are not validated again."""
    roles = [task["ansible.builtin.import_role"] for task in site() if "ansible.builtin.import_role" in task]
    return [role["name"].rpartition(".")[2] for role in roles if role.get("rolespec_validate") is False]


def test_each_step_of_a_run_has_its_tag() -> None:
    tags = {task["ansible.builtin.import_role"]["name"]: task["tags"] for task in site()[:-1]}
    assert tags == {f"tethys.channels.{name}": [name] for name in imported()}
    assert imported() == [
        "redis_container", "channels_redis", "portal_config", "asgi_service", "nginx_upstream", "layer_check"
    ]  # fmt: skip


def test_the_preflight_refuses_what_the_specs_refuse() -> None:
    refused = []
    for role in imported():
        text = (ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
        spec = yaml.safe_load(text)["argument_specs"]["main"]
        # What needs several variables at once is not among what the preflight compares.
        assert set(spec) <= {"short_description", "version_added", "author", "description", "options"}
        for name, option in spec["options"].items():
            assert not option.get("required"), name
            for value in WRONG:
                if ArgumentSpecValidator({name: option}).validate({name: value}).error_messages:
                    refused.append(name)
                    assert wrong_role_values({name: value}, samples.asked()), f"{name}: {value!r}"
    assert len(set(refused)) > 20
