# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several Redis that Sentinel watches: how portals reach them, who the primary is, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.sentinel import (
    authority_reasons,
    host_reasons,
    plan_of,
    present_primary,
    quorum_reasons,
    topology_reasons,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.shared import redis_plan
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import port_reasons, wrong_role_values
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import redis_endpoints
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, PUBSUB_BACKEND, Refusal, texts
from ansible_collections.tethys.channels.plugins.plugin_utils.sentinel import common_secrets
from ansible_collections.tethys.channels.plugins.plugin_utils.shared import servers_of, shared_redis
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import make
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided

NAMES = ["redis3", "redis1", "redis2"]
LOGIN = {"username": "tethys", "password": "p@1", "ca": "one\n", "started_at": 5.0}
AWAY = {"unreachable": True, "msg": "no route"}
OURS = {
    "name": "tethys-channels-sentinel",
    "image": "redis:8.2",
    "running": True,
    "labels": {"tethys.channels.config": "s"},
}


BAD = "does not answer ([SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired)"


def view(
    primary: str | None = "192.0.2.1", problem: str | None = None, set_up: bool = True, **more: Any
) -> dict[str, Any]:
    """What a Sentinel said."""
    told = {"host": primary, "port": 6379} if primary and not problem else None
    code = None if not problem else "certificate-not-trusted" if problem == BAD else "silent"
    about = {"set_up": set_up, "problem": problem, "problem_code": code, "primary": told, "lacking": []}
    return {"sentinel": {**about, **more}}


def silent(role: str | None = None, last: str | None = None, set_up: bool = True) -> dict[str, Any]:
    """What is known where a Sentinel does not answer: what the Redis is, and where the primary was."""
    place = {"host": last, "port": 6379} if last else None
    return view(problem="is away", set_up=set_up, role=role, last=place)


def hosts(*views: dict[str, Any] | None, there: int = 3, **more: Any) -> dict[str, Any]:
    """The variables of three servers, with what their sentinels said, `there` of which have a container."""
    found = {}
    for number in (1, 2, 3):
        variables: dict[str, Any] = {
            "redis_container_address": f"192.0.2.{number}",
            "redis_container_topology": "sentinel",
            "__preflight_found": {"server": {"sentinel_container": OURS if number <= there else None}},
            **more,
        }
        if len(views) >= number and views[number - 1]:
            variables["__preflight_found"].update(views[number - 1])
        found[f"redis{number}"] = variables
    return found


def servers(variables: dict[str, Any]) -> list[dict[str, Any]]:
    """The servers in the order that everybody has them."""
    return servers_of(NAMES, variables)


# --- how portals reach them -----------------------------------------------------------------------------------------


def test_portals_ask_the_sentinels() -> None:
    found = shared_redis(NAMES, hosts(redis_container_sentinel_port="26380"), CORE_BACKEND, [{"login": LOGIN}] * 3)
    [entry] = found["hosts"]
    assert entry["sentinels"] == [[f"192.0.2.{number}", 26380] for number in (1, 2, 3)]
    assert (entry["username"], entry["password"]) == ("tethys", "p@1")
    assert entry["ssl_check_hostname"] is entry["sentinel_kwargs"]["ssl_check_hostname"] is True
    # redis-py's own retries would outlast the handshake of a WebSocket.
    assert entry["sentinel_kwargs"]["retry"] is None
    # A read of the core layer lasts 5 s.
    assert entry["socket_timeout"] > 5
    assert [(row["host"], row["port"], row["sentinel"]) for row in found["endpoints"]] == [
        (f"192.0.2.{number}", 26380, "tethys-channels") for number in (1, 2, 3)
    ]
    # They replicate each other's data: nothing is lost when one restarts.
    assert found["started_at"] == 0


@pytest.mark.parametrize("backend", [CORE_BACKEND, PUBSUB_BACKEND])
def test_channels_redis_takes_them(backend: str) -> None:
    found = shared_redis(NAMES, hosts(), CORE_BACKEND, [{"login": LOGIN}] * 3)["hosts"]
    assert channel_layers(found, backend=backend)["default"]["CONFIG"]["hosts"] == found
    assert [row["sentinel"] for row in redis_endpoints(found)] == ["tethys-channels"] * 3


def test_a_retry_that_redis_py_could_not_use_is_refused() -> None:
    [entry] = shared_redis(NAMES, hosts(), CORE_BACKEND, [{"login": LOGIN}] * 3)["hosts"]
    entry["sentinel_kwargs"]["retry"] = 3
    with pytest.raises(Refusal, match="a retry under sentinel_kwargs that is not null"):
        channel_layers([entry])


def test_one_server_is_enough_for_the_login() -> None:
    found = shared_redis(NAMES, hosts(), CORE_BACKEND, [AWAY, {"login": {**LOGIN, "password": None}}, {"login": LOGIN}])
    assert found["hosts"][0]["password"] == "p@1"
    assert (found["missing"], found["unreached"]) == ([], [])


def test_none_has_a_login() -> None:
    nothing = {"login": {**LOGIN, "password": None, "ca": None}}
    found = shared_redis(NAMES, hosts(), CORE_BACKEND, [AWAY, nothing, nothing])
    assert found["missing"] == ["redis1", "redis2", "redis3"]
    assert found["unreached"] == ["redis1 (no route)"]
    assert found["hosts"][0]["password"] == "made by the run"


def test_where_they_stand_alone_each_is_needed() -> None:
    alone = hosts(redis_container_topology="standalone")
    found = shared_redis(NAMES, alone, CORE_BACKEND, [{"login": LOGIN}, AWAY, {"login": LOGIN}])
    assert (found["missing"], found["unreached"]) == (["redis2"], ["redis2 (no route)"])
    assert len(found["hosts"]) == 3


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"msg": "Permission denied (publickey).\nand more"}, "Permission denied (publickey)"),
        ({"msg": "\n  Failed to connect:\r\n\r\n"}, "Failed to connect"),
        ({"msg": ""}, "no reason was given"),
        ({"msg": None}, "no reason was given"),
        ({}, "no reason was given"),
    ],
)
def test_why_one_is_not_reached(told: dict[str, Any], why: str) -> None:
    alone = hosts(redis_container_topology="standalone")
    found = shared_redis(NAMES, alone, CORE_BACKEND, [{"login": LOGIN}, told, {"login": LOGIN}])
    assert found["unreached"] == [f"redis2 ({why})"]


# --- what they have in common ---------------------------------------------------------------------------------------


def peers(*kept: dict[str, Any]) -> dict[str, Any]:
    """What was read on each of them."""
    rows = {}
    for number, secrets in enumerate(kept, start=1):
        offered = {"password": f"new{number}", "peer_password": f"newpeer{number}"}
        known = {"password": None, "peer_password": None, **secrets}
        rows[f"redis{number}"] = {"__redis_container_peers": {"login": {"kept": known, "offered": offered}}}
    return rows


@pytest.mark.parametrize(
    ("kept", "rotate", "expected"),
    [
        (({}, {}, {}), False, ("new1", "newpeer1")),
        # One that is new joins the others.
        (({}, {"password": "p", "peer_password": "q"}, {}), False, ("p", "q")),
        # A Redis that stood alone keeps its portals.
        (({"password": "p"}, {}, {}), False, ("p", "newpeer1")),
        (({"password": "p", "peer_password": "q"}, {}, {}), True, ("new1", "q")),
    ],
)
def test_the_passwords_of_all(kept: tuple[dict[str, Any], ...], rotate: bool, expected: tuple[str, str]) -> None:
    found = common_secrets(NAMES, peers(*kept), rotate)
    assert (found["password"], found["peer_password"]) == expected


@pytest.mark.parametrize("rows", [{}, {"__redis_container_peers": {"failed": True}}], ids=str)
@pytest.mark.parametrize("rotate", [False, True])
def test_where_nothing_was_read_there_are_no_passwords(rows: dict[str, Any], rotate: bool) -> None:
    # One that were made up here would be another on each of them.
    with pytest.raises(Refusal, match=r"^Nothing was read of what the servers keep .*: run tethys\.channels\.site\.$"):
        common_secrets(NAMES, dict.fromkeys(NAMES, rows), rotate)


def test_one_that_could_not_be_read_is_passed_by() -> None:
    rows = {**peers({}, {"password": "p", "peer_password": "q"}, {}), "redis1": {"__redis_container_peers": {}}}
    assert common_secrets(NAMES, rows) == {"password": "p", "peer_password": "q"}
    assert common_secrets(NAMES, rows, rotate=True) == {"password": "new2", "peer_password": "q"}


def test_what_is_kept_by_all_needs_no_offer() -> None:
    # The end of a rotation reads again what the run has kept.
    rows = peers(*[{"password": "p", "peer_password": "q"}] * 3)
    for row in rows.values():
        row["__redis_container_peers"]["login"]["offered"] = None
    assert common_secrets(NAMES, rows) == {"password": "p", "peer_password": "q"}
    with pytest.raises(Refusal):
        common_secrets(NAMES, rows, rotate=True)


# --- who the primary is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ((view(), view(), view()), "192.0.2.1"),
        ((view("192.0.2.3"), view("192.0.2.3"), view()), "192.0.2.3"),
        ((view("192.0.2.3"), view(problem="is away"), view("192.0.2.3")), "192.0.2.3"),
        # All that there are.
        ((view("192.0.2.2"), view(problem="is away"), view(problem="is away")), "192.0.2.2"),
        ((view("192.0.2.2"), view(problem="is away"), view("192.0.2.3")), None),
        ((view("192.0.2.2"), view("192.0.2.1"), view("192.0.2.3")), None),
        ((), None),
        # Where none answers, the one that is nobody's copy.
        ((silent("replica"), silent("primary"), silent("replica")), "192.0.2.2"),
        ((silent(), silent("replica"), silent("primary", "192.0.2.1")), "192.0.2.3"),
        ((silent("replica"), silent("primary", set_up=False), silent("replica")), "192.0.2.2"),
        # Where that says nothing, what was written down last.
        ((silent("primary", "192.0.2.3"), silent("primary", "192.0.2.3"), silent()), "192.0.2.3"),
        ((silent("primary", "192.0.2.3"), silent("primary", "192.0.2.2"), silent("replica", "192.0.2.3")), "192.0.2.3"),
        ((silent(last="192.0.2.2"), silent(), silent()), "192.0.2.2"),
        ((silent(last="192.0.2.2"), silent(last="192.0.2.1"), silent()), None),
        ((silent("primary"), silent("primary"), silent("replica")), None),
        # None of it counts for anything while one answers.
        ((view("192.0.2.2", role="replica"), silent("primary", "192.0.2.3"), silent(last="192.0.2.3")), "192.0.2.2"),
        ((view("192.0.2.2"), view("192.0.2.3", role="primary", last={"host": "x", "port": 1}), silent()), None),
        # Nor before there was any Sentinel: each stands alone then.
        ((silent("primary", set_up=False), silent(set_up=False), silent(set_up=False)), None),
        ((silent(None, "192.0.2.2", set_up=False), silent(set_up=False), silent(set_up=False)), None),
    ],
)
def test_who_it_is(views: tuple[dict[str, Any], ...], expected: str | None) -> None:
    variables = hosts(*views)
    found = present_primary(servers(variables), variables)
    assert found == ({"host": expected, "port": 6379} if expected else None)


def test_the_one_that_is_nobodys_copy_has_the_port_of_its_server() -> None:
    variables = hosts(silent("replica"), silent("primary"), silent("replica"), redis_container_port="7000")
    assert present_primary(servers(variables), variables) == {"host": "192.0.2.2", "port": 7000}
    assert [plan_of(name, servers(variables), variables)["is_primary"] for name in sorted(NAMES)] == [
        False,
        True,
        False,
    ]


def test_the_first_by_name_begins() -> None:
    variables = hosts()
    found = plan_of("redis1", servers(variables), variables)
    assert found["primary"] == {"host": "192.0.2.1", "port": 6379}
    # There is none yet that had to be replaced with care.
    assert found["is_primary"] is False
    assert [one["host"] for one in found["sentinels"]] == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]


def test_the_present_one_stays() -> None:
    variables = hosts(*[view("192.0.2.3")] * 3)
    assert [plan_of(name, servers(variables), variables)["is_primary"] for name in sorted(NAMES)] == [
        False,
        False,
        True,
    ]
    assert plan_of("redis1", servers(variables), variables)["primary"]["host"] == "192.0.2.3"


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        (["redis1", "redis2"], {}, "has 2 hosts (redis1, redis2): Sentinel needs an odd number of at least 3"),
        (["redis1"], {}, "has 1 host (redis1): Sentinel needs an odd number of at least 3"),
        (NAMES, {"redis2": "standalone"}, "is sentinel on redis1 and 'standalone' on redis2: give all hosts of the"),
        (NAMES, {}, None),
        (NAMES, dict.fromkeys(NAMES, "standalone"), None),
        (["redis1", "redis2"], dict.fromkeys(NAMES, "standalone"), None),
    ],
)
def test_hosts_that_do_not_go_together(names: list[str], changes: dict[str, str], words: str | None) -> None:
    variables = hosts()
    for name, topology in changes.items():
        variables[name]["redis_container_topology"] = topology
    found = texts(topology_reasons("redis1", servers_of(names, variables), variables))
    assert (found == []) if words is None else (len(found) == 1 and words in found[0]), found


@pytest.mark.parametrize(
    ("topology", "passwords", "refused"),
    [
        ("sentinel", {"redis1": "p", "redis2": "p", "redis3": "p"}, False),
        ("sentinel", {"redis1": "p", "redis2": "q", "redis3": "p"}, True),
        # One that has it, where the others' are made.
        ("sentinel", {"redis3": "p"}, True),
        ("standalone", {"redis1": "p", "redis2": "q"}, False),
    ],
)
def test_all_of_them_have_one_password(topology: str, passwords: dict[str, str], refused: bool) -> None:
    variables = hosts(redis_container_topology=topology)
    for name, password in passwords.items():
        variables[name]["redis_container_password"] = password
    found = texts(topology_reasons("redis1", servers(variables), variables))
    sentence = (
        "redis_container_password is not the same on all hosts of the group, and redis_container_topology is sentinel:"
        " give all of them one, since any of them may come to serve the portals."
    )
    assert found == ([sentence] if refused else [])


@pytest.mark.parametrize(
    ("views", "there", "words"),
    [
        ((view(), view(), view()), 3, None),
        ((view(), view(), view(problem="does not answer (refused)")), 3, None),
        (
            (view(), view(problem="does not answer (refused)"), view(problem="does not answer (refused)")),
            3,
            "Of 3 sentinels 1 answers (on redis2 it does not answer (refused); on redis3 it does not answer (refused))",
        ),
        ((view(problem="is away"),) * 3, 3, "Of 3 sentinels 0 answer (on redis1 it is away; on redis2"),
        # A first run was stopped before most of them were there: this one goes on.
        ((view(), view(problem="is away"), view(problem="is away")), 1, None),
        ((view(problem="was not set up yet", set_up=False),) * 3, 0, None),
        ((view(), view("192.0.2.2"), view("192.0.2.3")), 3, "do not agree on who the primary is"),
        ((view("192.0.2.9"),) * 3, 3, "has the primary at 192.0.2.9:6379, which is not a host of the group"),
        ((view(), view()), 3, "and this run does not reach redis3: name all hosts of the group"),
        # Starting one whose certificate has come to its end would help nobody.
        (
            (view(), view(problem=BAD), view(problem="is away")),
            3,
            f"1 of 3 sentinels have a valid certificate (on redis2 it {BAD}; on redis3 it is away): run with"
            " redis_container_topology standalone once, which creates valid certificates",
        ),
        ((view(), view(), view(problem=BAD)), 3, None),
        ((view(), view(problem=BAD), view(problem=BAD)), 1, None),
        # Without a Sentinel so far, none can disagree; otherwise, a Sentinel that reports nothing does not count.
        ((silent(set_up=False),) * 3, 3, "Of 3 sentinels 0 answer"),
        ((silent("primary", set_up=False), silent(set_up=False), silent(set_up=False)), 1, None),
        ((silent("primary", set_up=True), silent("primary"), silent(set_up=False)), 1, "do not agree on who the"),
        ((silent(last="192.0.2.2"), silent(set_up=False), silent(set_up=False)), 1, None),
        ((silent(last="192.0.2.9"), silent(set_up=False), silent(set_up=False)), 1, "at 192.0.2.9:6379, which is no"),
        ((silent(), silent(set_up=False), silent(set_up=False)), 1, "do not agree on who the primary is"),
    ],
)
def test_sentinels_that_leave_a_run_guessing(views: tuple[dict[str, Any], ...], there: int, words: str | None) -> None:
    variables = hosts(*views, there=there)
    found = texts(quorum_reasons(servers(variables), variables, "tethys-channels-sentinel"))
    assert (found == []) if words is None else (len(found) == 1 and words in found[0]), found


@pytest.mark.parametrize(
    ("present", "asked", "set_up", "refused"),
    [
        ("one\n", "one", True, False),
        ("\none\n", "one\n\n", True, False),
        ("one\n", "two\n", True, True),
        # Before there is a Sentinel, nobody copies anybody.
        ("one\n", "two\n", False, False),
        (None, "two\n", True, False),
        # One that the run would make is another one.
        ("one\n", "", True, True),
        ("one\n", "\n", True, True),
    ],
)
def test_another_authority(present: str | None, asked: str, set_up: bool, refused: bool) -> None:
    variables = hosts(view(), view(set_up=set_up, authority=present), view(authority="three"))
    found = texts(authority_reasons("redis2", variables, asked))
    sentence = (
        "The CA of the certificate of redis2 is not the one that the servers verify each other with, and replicas would"
        " refuse their primary: run with redis_container_topology standalone once, and then with"
        " sentinel; or give redis_container_tls_dir the files of before."
    )
    assert found == ([sentence] if refused else [])


def test_where_no_sentinel_was_asked_no_authority_is_wrong() -> None:
    assert texts(authority_reasons("redis2", hosts(), "two\n")) == []


OPTIONS = {
    "redis_container_engine": "docker",
    "redis_container_port": 6379,
    "sentinel_port": 26379,
    "address": "192.0.2.2",
}
STRANGER = {"port": 26379, "pid": 7, "user": "ana", "command": "nc", "address": "everything"}


@pytest.mark.parametrize(
    ("changes", "image", "server", "words"),
    [
        ({}, "redis:8.2", {}, None),
        ({}, "redis:6", {}, None),
        ({}, "example.org/mine@sha256:12", {}, None),
        ({}, "redis:6.0.16", {}, "redis_container_image is redis:6.0.16, and redis_container_topology is sentinel"),
        ({"redis_container_engine": "podman"}, "redis:8.2", {}, "which runs in Docker only"),
        ({"redis_container_port": "26379"}, "redis:8.2", {}, "on which Redis answers (redis_container_port)"),
        ({}, "redis:8.2", {"sentinel_container": {**OURS, "labels": {}}}, "is not this collection's: set"),
        (
            {},
            "redis:8.2",
            {"listeners": [STRANGER]},
            "Port 26379, on which Sentinel is to answer, is held by process 7",
        ),
        ({}, "redis:8.2", {"listeners": [{**STRANGER, "address": "loopback"}]}, None),
        ({}, "redis:8.2", {"listeners": [STRANGER], "sentinel_container": OURS}, None),
        (
            {"address": "2001:db8::2"},
            "redis:8.2",
            {},
            "redis_container_address is 2001:db8::2, and redis_container_topology is sentinel, which supports IPv4"
            " addresses only",
        ),
        ({"address": "redis.example.org"}, "redis:8.2", {}, None),
        ({}, "redis:8.2", {"sentinel_container": {**OURS, "ports": [26379]}}, None),
        ({}, "redis:8.2", {"sentinel_container": {**OURS, "ports": [7, 26379]}}, None),
        (
            {},
            "redis:8.2",
            {"sentinel_container": {**OURS, "ports": [27000]}},
            "redis_container_sentinel_port is 26379, and the Sentinel that runs on this server answers on 27000,"
            " which the others use: set it to that",
        ),
        # One that ended is recreated with that port, and others are ignored.
        ({}, "redis:8.2", {"sentinel_container": {**OURS, "running": False, "ports": [27000]}}, None),
        ({}, "redis:8.2", {"sentinel_container": {**OURS, "labels": {}, "ports": [27000]}}, "is not this collection's"),
    ],
)
def test_a_server_on_which_it_cannot_run(
    changes: dict[str, Any], image: str, server: dict[str, Any], words: str | None
) -> None:
    found = texts(host_reasons({**OPTIONS, **changes}, image, server))
    assert (found == []) if words is None else (len(found) == 1 and words in found[0]), found


def test_the_plan_of_a_server() -> None:
    variables = hosts(*[view("192.0.2.2")] * 3)
    variables["portal1"] = {}
    options = {
        "goal": "site",
        "name": "redis2",
        "names": NAMES,
        "portals": ["portal1"],
        "address": "192.0.2.2",
        "transport_asked": "",
        "redis_container_image": "redis:8.2",
        "redis_container_port": 6379,
        "redis_container_acl": "auto",
        "redis_container_engine": "docker",
        "topology": "sentinel",
        "sentinel_name": "tethys-channels-sentinel",
        "sentinel_port": 26379,
        "certificate_given": False,
        "renew_days": 30,
    }
    ours = {**OURS, "name": "tethys-channels-redis", "image": "redis:7.2", "ports": [6379]}
    ours["labels"] = {"tethys.channels.config": "s", "tethys.channels.transport": "tls 192.0.2.2:6379"}
    there = {
        "root": True,
        "os": {"id": "debian"},
        "docker": {"installed": True, "running": True},
        "docker_library": True,
        "redis_address_here": True,
        "clock_ahead": 0.0,
        "container": ours,
        "sentinel_container": OURS,
    }
    own = {"redis_container_address": "192.0.2.2", "redis_container_tls_dir": "/srv/authority"}
    found = {"names": list(own), "values": own, "files": {}, "unreadable": [], "server": there}
    told = decided(redis_plan, options, found, variables)
    assert told["refusals"] == []
    assert told["sentinel"]["is_primary"] is True
    [said] = told["announce"]
    assert "the primary after the others and once one of them has its place" in said
    # Another CA's certificate is refused, after what makes the answers of the sentinels useless.
    one, two = (make("Redis of Tethys portals").text for _each in range(2))
    views = [view("192.0.2.2", authority=one)] * 3
    theirs = {**found, "files": {"redis_container_tls_ca": two}}
    moved = {**hosts(*views), "portal1": {}}
    words = "The CA of the certificate of redis2 is not the one that t"
    assert [one[: len(words)] for one in decided(redis_plan, options, theirs, moved)["refusals"]].count(words) == 1
    kept = {**found, "files": {"redis_container_tls_ca": one.strip()}}
    assert not [one for one in decided(redis_plan, options, kept, moved)["refusals"] if one.startswith(words)]
    [reason] = decided(
        redis_plan, {**options, "address": "2001:db8::2"}, found, {**hosts(*[silent()] * 3), "portal1": {}}
    )["refusals"]
    assert "supports IPv4 addresses only" in reason
    # `remove` queries none.
    unasked = {**hosts(), "portal1": {}}
    assert decided(redis_plan, {**options, "goal": "remove"}, found, unasked)["refusals"] == []
    alone = hosts(redis_container_topology="standalone")
    alone["portal1"] = {}
    assert decided(redis_plan, {**options, "topology": "standalone"}, found, alone)["sentinel"] is None


def test_a_cluster_is_refused_in_words_of_its_own() -> None:
    [reason] = texts(wrong_role_values({"redis_container_topology": "cluster"}, {}))
    assert "channels_redis cannot use a Redis Cluster" in reason
    [reason] = texts(wrong_role_values({"redis_container_topology": "ring"}, {}))
    assert reason == "redis_container_topology is 'ring': set it to one of standalone, sentinel."


@pytest.mark.parametrize(("seconds", "refused"), [(1, True), (2, False), (60, False), (61, True)])
def test_for_how_long_a_primary_may_be_silent(seconds: int, refused: bool) -> None:
    sentence = f"redis_container_sentinel_down_seconds is {seconds}: set it to a whole number (int) from 2 to 60."
    assert texts(wrong_role_values({"redis_container_sentinel_down_seconds": seconds}, {})) == (
        [sentence] if refused else []
    )


def test_a_portal_of_its_own_has_no_sentinel() -> None:
    asked = {"tethys_layer_backend": CORE_BACKEND, "tethys_layer_hosts": [], "tethys_layer_redis": []}
    [reason] = texts(port_reasons({"redis_container_topology": "sentinel"}, {}, asked))
    assert "this portal has its own Redis" in reason
    assert (
        texts(port_reasons({"redis_container_topology": "sentinel"}, {}, {**asked, "tethys_layer_redis": ["redis1"]}))
        == []
    )
