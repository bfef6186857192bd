# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The samples that decisions are tested with have the form that the modules return."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import Upstream
from ansible_collections.tethys.channels.plugins.module_utils.server.front import Fronts
from ansible_collections.tethys.channels.plugins.module_utils.server.kept_environment import Names
from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import Neighbor, OtherProgram
from ansible_collections.tethys.channels.plugins.module_utils.server.root_files import Trust
from ansible_collections.tethys.channels.plugins.module_utils.server.workers import Worker
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    ContainerFacts,
    ListenerFacts,
    Program,
    Server,
)
from ansible_collections.tethys.channels.plugins.modules import server_info
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

# What server_facts names without loading it: the controller would load what reads a server.
OF_MODULES = {each.__name__: each for each in (Fronts, Names, Neighbor, OtherProgram, Trust, Upstream, Worker)}


def misfits(value: Any, kind: Any, place: str) -> list[str]:
    """Return where a value differs from its declared type."""
    if kind is Any:
        return []
    if is_typeddict(kind):
        hints = get_type_hints(kind, localns=OF_MODULES)
        if not isinstance(value, dict):
            return [f"{place} is no mapping"]
        wrong = [f"{place} has {key}" for key in value if key not in hints]
        wrong += [f"{place} lacks {key}" for key in kind.__required_keys__ if key not in value]
        return wrong + [
            each for key in value if key in hints for each in misfits(value[key], hints[key], f"{place}.{key}")
        ]
    if get_origin(kind) in (Union, types.UnionType):
        found = [misfits(value, each, place) for each in get_args(kind)]
        return [] if [] in found else min(found, key=len)
    if get_origin(kind) is list:
        if not isinstance(value, list):
            return [f"{place} is no list"]
        return [each for held in value for each in misfits(held, get_args(kind)[0], f"{place}[]")]
    if get_origin(kind) is dict:
        return [] if isinstance(value, dict) else [f"{place} is no mapping"]
    return [] if isinstance(value, (int, float) if kind is float else kind) else [f"{place} is {value!r}"]


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        (samples.portal(), Portal),
        (samples.server(), Server),
        (samples.container(), ContainerFacts),
        (samples.manuals_container(), ContainerFacts),
        (samples.program(), Program),
    ],
    ids=["portal", "server", "container", "manuals_container", "program"],
)
def test_a_sample_has_its_declared_type(sample: Any, kind: Any) -> None:
    assert misfits(sample, kind, kind.__name__) == []


def test_a_sample_of_another_form_is_found() -> None:
    wrong = samples.server(root="yes", listeners=[{"port": 1}], programs=None, unheard_of=1)
    assert misfits(wrong, Server, "server") == [
        "server has unheard_of",
        "server.root is 'yes'",
        "server.programs is no list",
        *(f"server.listeners[] lacks {key}" for key in ListenerFacts.__required_keys__ if key != "port"),
    ]


def test_server_info_returns_what_is_declared(run_module: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """This machine's own facts, which have every key of the declaration and of the sample, and no other."""
    found = run_module(
        server_info.main,
        ports=[8000],
        container_name="tethys-channels-redis",
        container_image="redis:8.2",
        redis_port=6379,
        state_dir=str(tmp_path),
        upstream_wanted=True,
    )["server"]
    assert misfits(found, Server, "server") == []
    assert set(found) == set(Server.__annotations__) == set(samples.server())
