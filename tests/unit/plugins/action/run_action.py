# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an action plugin with a host's variables and without a server."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

DEFAULTS = Path(__file__).parents[4] / "roles" / "preflight" / "defaults" / "main.yml"
MINE = {
    "inventory_hostname": "portal",
    "ansible_play_batch": ["portal"],
    "ansible_run_tags": ["all"],
    "ansible_skip_tags": [],
    "ansible_check_mode": False,
    "tethys_home": samples.HOME,
    "tethys_conda_prefix": samples.PREFIX,
}


def held(hosts: Any = None, **variables: Any) -> dict[str, Any]:
    """A host's variables, with the defaults of the role preflight, and those of other hosts."""
    defaults = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))
    known = {
        name: trust_as_template(value) if isinstance(value, str) else value
        for name, value in {**defaults, **MINE, **variables}.items()
    }
    return {"hostvars": {"portal": variables, **(hosts or {})}, **known}


Answers = dict[str, dict[str, Any]]


def run_action(plugin: Any, answers: Answers | None = None, args: Any = None, **variables: Any) -> tuple[Any, Answers]:
    """Run an action, whose modules give these answers; return its result and what each module was given."""
    known, calls, loader = held(**variables), {}, DataLoader()
    templar = Templar(loader=loader, variables=known)
    task = Mock(async_val=0, args=args or {})
    action = plugin.ActionModule(task, Mock(), Mock(), loader, templar, Mock())

    def execute(module_name: str, module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        assert not gc.isenabled(), f"garbage is searched for while {module_name} is packed"
        name = module_name.removeprefix("tethys.channels.")
        calls[name] = module_args
        return dict((answers or {})[name])

    action._execute_module = execute
    return action.run(task_vars=known), calls
