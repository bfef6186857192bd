# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run adopts from a portal that was set up by hand, and what prevents that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.bokeh import Bokeh
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.portal import Portal
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.programs import Programs
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import Redis
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    Facts,
    Inputs,
    texts,
)
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

CONTAINER: Any = samples.manuals_container(name="busy_name", redis={})
PROGRAM: Any = samples.program()
LISTENER = {"port": 8000, "address": "loopback", "pid": 7, "user": "root", "command": "daphne", "program": None}


def look(subject: type[Subject], portal: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> Any:
    """Decide for a server with a portal that follows the Tethys documentation, with these differences."""
    asked = samples.asked(tethys_home="/srv/home", tethys_conda_prefix="/srv/env", tethys_asgi_processes=2)
    settings = {"layer_backend": CORE_BACKEND, "layer_hosts": [["127.0.0.1", 6379]]}
    there = {"name": "portal1", "redis_port_container": CONTAINER, "programs": [PROGRAM], **(server or {})}
    facts = Facts(samples.portal(**{"settings": settings, **(portal or {})}), samples.server(**there))
    return subject(Inputs(asked, samples.options()), facts)


@pytest.mark.parametrize(
    "hosts",
    [
        [["127.0.0.1", 6379]],
        [["localhost", 6379]],
        ["redis://127.0.0.1"],
        ["redis://portal1:6379/0"],
        [{"host": "127.0.0.1", "port": 6379}],
        [["10.0.0.9", 6379], ["127.0.0.1", 6379]],
        None,  # channels_redis then takes localhost
    ],
    ids=str,
)
def test_the_container_that_the_settings_name_is_taken_over(hosts: Any) -> None:
    found = look(Redis, {"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": hosts}})
    assert found.redis_reasons() == CONTAINER
    assert texts(found.problems) == []
    assert "busy_name (redis:5)" in found.announce[0]


@pytest.mark.parametrize(
    ("portal", "redis", "why"),
    [
        ({"settings": None}, {}, "names no channel layer on that port of this server"),
        ({"settings": {"layer_backend": MEMORY_BACKEND, "layer_hosts": None}}, {}, "names no channel layer"),
        (
            {"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": [["10.0.0.9", 6379]]}},
            {},
            "names no channel layer",
        ),
        (
            {"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": [["127.0.0.1", 6380]]}},
            {},
            "names no channel layer",
        ),
        *(
            ({"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": hosts}}, {}, "names no channel layer")
            for hosts in (["********"], 5, True, "redis://127.0.0.1:6379", {"host": "127.0.0.1"}, [5, None, True, {}])
        ),
        ({}, {"foreign_key": "session:1"}, "holds keys that are not a channel layer's ('session:1')"),
        ({}, {"problem": "NOAUTH"}, "keys cannot be listed (NOAUTH)"),
    ],
    ids=str,
)
def test_another_container_is_left_alone_with_the_command_to_type(
    portal: dict[str, Any], redis: dict[str, Any], why: str
) -> None:
    found = look(Redis, portal, {"redis_port_container": {**CONTAINER, "redis": redis}})
    assert found.redis_reasons() is None
    [reason] = texts(found.problems)
    assert why in reason
    assert "(`docker stop 0123456789ab`)" in reason
    assert "set redis_container_port to a free port" in reason


@pytest.mark.parametrize(
    ("listeners", "processes"),
    [
        ([], []),
        ([LISTENER], [{"pid": 7}]),
        ([{**LISTENER, "pid": 300}, LISTENER], [{"pid": 7}]),
        ([{**LISTENER, "pid": 8}, LISTENER], [{"pid": 7}]),  # a child on the same socket
        ([{**LISTENER, "pid": 8, "program": "asgi"}], [{"pid": 7}]),  # a shell stands between
        ([{**LISTENER, "port": 6379}], []),
    ],
    ids=str,
)
def test_the_portals_own_processes_may_hold_the_port(listeners: list[Any], processes: list[Any]) -> None:
    found = look(Programs, server={"listeners": listeners, "processes": processes})
    assert found.program_reasons() == PROGRAM
    assert texts(found.problems) == []


@pytest.mark.parametrize(
    ("listeners", "words"),
    [
        ([LISTENER], ["tethys_port 8000 is held by process 7 of root (daphne)", "stop it"]),
        ([{**LISTENER, "program": "portal"}], ["Supervisor's program portal (process 7", "Stop it"]),
        ([{**LISTENER, "pid": 300}, {**LISTENER, "program": "portal"}], ["Supervisor's program portal (process 7"]),
    ],
    ids=str,
)
def test_somebody_elses_process_may_not(listeners: list[Any], words: list[str]) -> None:
    found = look(Programs, server={"listeners": listeners, "processes": []})
    found.program_reasons()
    [reason] = texts(found.problems)
    for word in words:
        assert word in reason


@pytest.mark.parametrize(
    ("before", "owner", "managed", "reasons"),
    [
        ("root", "root", False, 1),
        ("root", "ana", False, 0),  # not what the portal's processes wrote
        ("root", "root", True, 0),  # they run as www-data already
        ("www-data", "www-data", False, 0),  # its own, and read-only on purpose
    ],
)
def test_what_the_user_before_left_counts_where_the_user_changes(
    before: str, owner: str, managed: bool, reasons: int
) -> None:
    row = {"folder": "/srv/home/workspaces", "owner": owner, "count": 3, "example": "/srv/home/workspaces/app"}
    found = look(Programs, {"leftovers": [row]}, {"programs": [{**PROGRAM, "user": before, "managed": managed}]})
    found.program_reasons()
    assert len(texts(found.problems)) == reasons
    for reason in texts(found.problems):
        assert "cannot write /srv/home/workspaces/app and 2 more in /srv/home/workspaces, of root" in reason
        assert "`find /srv/home/workspaces -user root -execdir chown -h www-data {} +`" in reason


def row(path: str, need: str, blocked_by: str, owner: str) -> dict[str, Any]:
    """One thing that the portal's user lacks."""
    return {"path": path, "need": need, "ok": False, "blocked_by": blocked_by, "owner": owner}


def test_one_folder_in_the_way_is_one_reason() -> None:
    places = [
        ("/home/alice/env", "traverse"),
        ("/home/alice/env/bin/python", "execute"),
        ("/home/alice/home", "traverse"),
    ]
    found = look(
        Portal,
        {
            "access": [row(path, need, "/home/alice", "alice") for path, need in places],
            "versions": {},
            "prefix_problem": "/home/alice/env/bin/python cannot be started as the user www-data: Permission denied.",
            "bokeh": "unknown",
        },
    )
    places_of_alice = {"tethys_home": "/home/alice/home", "tethys_conda_prefix": "/home/alice/env"}
    found = Portal(replace(found.inputs, asked={**found.asked, **places_of_alice}), found.facts)
    found.portal_reasons()
    assert Bokeh(found.inputs, found.facts).processes() == 2
    assert texts(found.problems) == [
        "tethys_user www-data (who would run the portal) cannot enter /home/alice, and has to reach /home/alice/env and"
        " /home/alice/env/bin/python and 1 more: give it access (`setfacl -m u:www-data:x /home/alice`), or set"
        " tethys_user to alice, the owner."
    ]


@pytest.mark.parametrize(
    ("need", "owner", "words", "not_said"),
    [
        (
            "write",
            "root",
            ["write to /srv/home/db", "setfacl -m u:www-data:rwX /srv/home/db", "chown -h www-data /srv/home/db"],
            "to root",
        ),
        ("write", "ana", ["chown -h www-data /srv/home/db", "set tethys_user to ana"], "to root"),
        (
            "read",
            "ana",
            ["read /srv/home/db", "setfacl -m u:www-data:r /srv/home/db", "set tethys_user to ana"],
            "chown",
        ),
        ("read", "www-data", ["setfacl"], "set tethys_user"),
    ],
)
def test_each_reason_has_its_ways_out(need: str, owner: str, words: list[str], not_said: str) -> None:
    found = look(Portal, {"access": [row("/srv/home/db", need, "/srv/home/db", owner)]})
    found.portal_reasons()
    [reason] = texts(found.problems)
    for word in words:
        assert word in reason
    assert not_said not in reason


def test_who_is_not_root_is_told_just_that() -> None:
    found = look(Portal, {"prefix_problem": "There is no folder /srv/env.", "bokeh": "unknown"}, {"root": False})
    found.portal_reasons()
    assert Bokeh(found.inputs, found.facts).processes() == 2
    [reason] = texts(found.problems)
    assert reason.startswith("The tasks do not run as root")
