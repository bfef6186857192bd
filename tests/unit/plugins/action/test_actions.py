# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions: which modules they run, with which variables, and what they return or refuse."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.action import (
    decide,
    gather,
    layer_health,
    proof_record,
    redis_settings,
    shared_class,
    shared_redis,
)
from ansible_collections.tethys.channels.plugins.plugin_utils import inputs
from ansible_collections.tethys.channels.plugins.plugin_utils.action import Action
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, MEMORY_BACKEND, PUBSUB_BACKEND
from ansible_collections.tethys.channels.tests.unit.plugins.action.run_action import Answers
from ansible_collections.tethys.channels.tests.unit.plugins.action.run_action import run_action as run
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

# A host of the Redis that portals share.
REDIS = {"preflight_kind": "redis", "preflight_layer_redis": ["portal"], "redis_container_address": "192.0.2.1"}
LOGIN = {"username": "tethys", "password": "p", "ca": "CA", "started_at": 5}


def looked(**portal: Any) -> Answers:
    """What server_info returns."""
    return {"server_info": {"portal": samples.portal(lacking=[], **portal), "server": samples.server()}}


def read(_self: Any, path: str, _task_vars: Any) -> str:
    """Return what Ansible's lookup of a file does, which needs its loader of plugins."""
    return Path(path).read_text(encoding="utf-8").rstrip() if Path(path).exists() else ""


def test_the_controller_does_not_load_what_reads_a_server() -> None:
    """Ansible compiles a collection's files anew in each run."""
    own = "ansible_collections.tethys.channels.plugins"
    of_a_run = ("portal_conflicts", "message", "gather", "decide", "layer_probe", "report")
    program = f"import sys; from {own}.action import {', '.join(of_a_run)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.removeprefix(f"{own}.module_utils.") for name in done.stdout.split() if name.startswith(own)}
    assert "server_facts" in loaded
    assert not loaded & {
        *("nginx_search", "nginx_config", "nginx_blocks", "nginx_processes", "front_check", "files.owned_file"),
        *("server.front", "server.front_door", "server.root_files", "server.workers", "server.kept_environment"),
    }


# --- gather ----------------------------------------------------------------------------------------------------------


def test_invalid_variables_are_refused_before_a_connection() -> None:
    result, calls = run(gather, tethys_port="x", tethys_hme=1)
    assert result["failed"]
    assert result["msg"][0] == "Refused; nothing was changed."
    assert [text.split()[0] for text in result["msg"][1:]] == ["tethys_hme", "tethys_port"]
    assert calls == {}


def test_two_portals_of_a_server_are_compared_where_a_limit_leaves_out_the_first_play() -> None:
    mine = {"ansible_host": "server1", "tethys_home": "/srv/prod"}
    other = {"ansible_host": "server1", "tethys_home": "/srv/staging"}
    away = {**other, "ansible_host": "server2"}

    def refused(hosts: Any, **more: Any) -> Any:
        groups = {"portals": ["portal", *hosts]}
        result, calls = run(
            gather, looked(), hosts=hosts, groups=groups, ansible_play_hosts_all=["portal"], **mine, **more
        )
        assert bool(calls) != bool(result.get("failed"))
        return result.get("msg", [])

    text = refused({"other": other}, ansible_limit="portal,other")
    assert text[0] == "Refused; nothing was changed."
    assert "for other and portal, which are on one server" in text[1]
    assert refused({"other": away}, ansible_limit="portal") == []
    # What others have in common is no reason against this one.
    more = {"other": away, "third": {**away, "tethys_home": "/srv/third"}}
    assert refused(more, ansible_limit="portal") == []
    # The play of localhost has compared them.
    assert refused({"other": other}) == []


def test_the_search_for_garbage_goes_on_after_a_module() -> None:
    gc.unfreeze()
    run(gather, looked())
    assert gc.isenabled()
    # But not for what is left of packing it.
    assert gc.get_freeze_count()
    gc.unfreeze()


def test_one_module_reads_a_server_that_has_everything() -> None:
    result, calls = run(gather, looked(), tethys_port=8080, redis_container_name="mine", tethys_user="web")
    assert list(calls) == ["server_info"]
    given = calls["server_info"]
    assert (given["ports"], given["port_count"], given["container_name"]) == ([8080], 1, "mine")
    assert given["portal"]["user"] == "web"
    assert given["portal"]["requirements"][0].startswith("channels_redis")
    # By the default of a role that the play does not have.
    assert (given["engine"], given["upstream"]) == ("docker", "channels-backend")
    assert "controller_time" not in given
    assert "proof_inputs" not in given
    assert result["recorded"] is False
    assert result["portal"]["user"] == "www-data"


@pytest.mark.parametrize("given", [{}, {"preflight_timeout": 300}])
def test_a_portal_has_the_time_to_start_that_is_set(given: dict[str, Any]) -> None:
    _result, calls = run(gather, looked(), **given)
    assert calls["server_info"]["portal"]["timeout"] == given.get("preflight_timeout", 60)


def test_packages_are_resolved_where_some_are_missing() -> None:
    missing = looked()
    missing["server_info"]["portal"]["lacking"] = ["channels_redis"]
    missing["layer_packages"] = {"failed": True, "msg": "No.", "changed": True}
    result, calls = run(gather, missing, channels_redis_proxy="http://proxy", channels_redis_hiredis="yes")
    assert result["packages"] == {"msg": "No.", "changed": True}
    assert not result.get("failed")
    given = calls["layer_packages"]
    assert (given["proxy"], given["user"], given["requirements"][-1]) == ("http://proxy", "www-data", "hiredis>=3.2")
    assert "cert" not in given
    # Not for what installs nothing, nor where the environment cannot be used.
    assert "layer_packages" not in run(gather, missing, preflight_goal="restart")[1]
    missing["server_info"]["portal"]["prefix_problem"] = "no"
    assert "layer_packages" not in run(gather, missing)[1]


def test_a_redis_that_is_there_is_asked() -> None:
    answers = {**looked(), "redis_ping": {"problems": ["away"]}}
    result, calls = run(gather, answers, tethys_layer_hosts=["redis://:p@192.0.2.1:6379"])
    assert result["redis"] == {"problems": ["away"]}
    assert calls["redis_ping"]["endpoints"][0]["host"] == "192.0.2.1"
    assert run(gather, {**answers, "redis_ping": {"failed": True, "msg": "No."}}, tethys_layer_hosts=["redis://a"])[
        0
    ] == {
        "failed": True,
        "msg": "No.",
    }


def test_what_a_module_fails_with_is_the_result() -> None:
    assert run(gather, {"server_info": {"failed": True, "msg": "No."}})[0] == {"failed": True, "msg": "No."}


@pytest.mark.parametrize(
    ("root", "more", "asked"),
    [
        (True, {}, ["server_info"]),
        (True, {"redis_container_topology": "sentinel"}, ["server_info", "sentinel_info"]),
        (False, {"redis_container_topology": "sentinel"}, ["server_info"]),
        (True, {"redis_container_topology": "sentinel", "preflight_goal": "remove"}, ["server_info"]),
    ],
)
def test_a_host_of_a_shared_redis(root: bool, more: dict[str, Any], asked: list[str]) -> None:
    answers = {"server_info": {"server": samples.server(root=root)}, "sentinel_info": {"sentinel": {"set_up": True}}}
    result, calls = run(gather, answers, **REDIS, **more)
    assert list(calls) == asked
    assert calls["server_info"]["redis_address"] == "192.0.2.1"
    assert calls["server_info"]["ports"] == ([26379] if more else [])
    assert result.get("sentinel") == ({"set_up": True} if len(asked) > 1 else None)


# --- the digest of the variables -------------------------------------------------------------------------------------

SITE = {"__preflight_of_site": True}


def test_a_run_of_site_has_a_digest() -> None:
    digest = run(gather, looked(), **SITE)[1]["server_info"]["proof_inputs"]
    assert len(digest) == 64
    assert run(gather, looked(), **SITE, asgi_service_max_files=1000)[1]["server_info"]["proof_inputs"] != digest
    result, calls = run(proof_record, {"proof_record": {"path": "/x"}}, {"plan": "sum"}, **SITE)
    assert calls["proof_record"] == {"inputs": digest, "plan": "sum"}
    assert result["path"] == "/x"
    assert digest not in str(run(gather, looked(), **SITE)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"__preflight_of_site": False},
        {"preflight_trust_proof": "no"},
        {"ansible_check_mode": True},
        {"preflight_layer_redis": ["redis"]},
        {"redis_container_rotate": "true"},
        {"ansible_run_tags": ["all", "layer_check"]},
        {"ansible_skip_tags": ["channels_redis"]},
    ],
)
def test_a_run_that_compares_everything_has_none(change: dict[str, Any]) -> None:
    assert "proof_inputs" not in run(gather, looked(), **{**SITE, **change})[1]["server_info"]


# --- decide ----------------------------------------------------------------------------------------------------------


def found(**changes: Any) -> dict[str, Any]:
    return {"__preflight_found": {"portal": samples.portal(), "server": samples.server(**changes), "recorded": True,
                                  "packages": {"moves": []}}}  # fmt: skip


def test_the_plan_is_the_result() -> None:
    result, calls = run(decide, **found(), tethys_asgi_processes=3)
    assert (result["layer_check"]["processes"], result["fleet_check"]["ports"]) == (3, [8000])
    assert result["layer_check"]["records"] is True
    assert "page" not in result["layer_check"]
    assert not result.get("failed")
    # Ansible would print them in its own way.
    assert "warnings" not in result
    assert calls == {}


@pytest.mark.parametrize(("more", "where"), [({}, ""), ({"__preflight_logins": {"results": []}}, " on this server")])
def test_a_refusal_is_the_message(more: dict[str, Any], where: str) -> None:
    result, _calls = run(decide, **found(root=False), **more)
    assert result["failed"]
    assert result["msg"][0] == f"Refused; nothing was changed{where}."
    assert len(result["msg"]) > 1
    assert "asgi_service" not in result


def test_the_restart_of_a_shared_redis_is_by_this_servers_clock() -> None:
    shared = {"preflight_layer_redis": ["redis"], "__preflight_shared": {"redis": {"problems": []}, "started_at": 100}}
    core = {"tethys_layer_backend": CORE_BACKEND}
    assert run(decide, **found(clock_ahead=3), **shared, **core)[0]["asgi_service"]["redis_started_at"] == 103
    assert run(decide, **found(clock_ahead=3), **core)[0]["asgi_service"]["redis_started_at"] is None
    # A process of the pub/sub class subscribes again by itself.
    assert run(decide, **found(clock_ahead=3), **shared)[0]["asgi_service"]["redis_started_at"] is None
    assert run(decide, **found(clock_ahead=3))[0]["asgi_service"]["redis_container"] == ""


@pytest.mark.parametrize(
    ("variables", "backend"),
    [
        ({}, PUBSUB_BACKEND),
        ({"tethys_layer_backend": "auto"}, PUBSUB_BACKEND),
        ({"tethys_layer_backend": CORE_BACKEND}, CORE_BACKEND),
        ({"portal_config_layer_options": {"capacity": 200}}, CORE_BACKEND),
        ({"portal_config_layer_options": {"prefix": "x", "capacity": None}}, PUBSUB_BACKEND),
        ({"portal_config_layer_options": {"prefix": "x"}}, PUBSUB_BACKEND),
        ({"portal_config_layer_options": {"capacity": 200}, "tethys_layer_backend": "auto"}, CORE_BACKEND),
    ],
    ids=str,
)
def test_every_role_goes_by_the_chosen_class(variables: dict[str, Any], backend: str) -> None:
    result, _calls = run(decide, **found(), **variables)
    assert not result.get("failed"), result
    classes = [result["redis_container"]["backend"], result["portal_config"]["backend"]]
    assert classes == [backend] * 2
    assert result["layer_check"]["backlog"] is (backend == CORE_BACKEND)


RUNWORKER = {"pid": 7, "user": "www-data", "command": "python manage.py runworker jobs", "of_channels": True}


def has_class(found: dict[str, Any], backend: str, **settings: Any) -> dict[str, Any]:
    """What was found of a portal with this class."""
    there = found["__preflight_found"]
    portal = {**there["portal"], "settings": {**there["portal"]["settings"], "layer_backend": backend, **settings}}
    return {"__preflight_found": {**there, "portal": portal}}


def test_what_was_found_on_the_server_counts() -> None:
    layers = {"channel_layers": {"jobs": {"BACKEND": CORE_BACKEND}}}
    for there in (found(workers=[RUNWORKER]), has_class(found(), MEMORY_BACKEND, **layers)):
        for more, backend in (({}, CORE_BACKEND), ({"tethys_layer_backend": PUBSUB_BACKEND}, PUBSUB_BACKEND)):
            result, _calls = run(decide, **there, **more)
            assert not result.get("failed"), result
            assert result["portal_config"]["backend"] == backend
            assert any("so the layer's class is" in said for said in result["cautions"]) is (backend == CORE_BACKEND)


def test_a_class_that_the_server_chooses_is_another_plan() -> None:
    digest = run(decide, **found())[0]["layer_check"]["digest"]
    assert run(decide, **found(proved_plan=digest))[0]["layer_check"]["is_unchanged"]
    assert not run(decide, **found(proved_plan=digest, workers=[RUNWORKER]))[0]["layer_check"]["is_unchanged"]


def test_a_given_redis_is_asked_for_the_rights_of_the_class_that_the_server_chooses() -> None:
    for workers, backend in (([], PUBSUB_BACKEND), ([RUNWORKER], CORE_BACKEND)):
        answers = {"server_info": {"portal": samples.portal(lacking=[]), "server": samples.server(workers=workers)}}
        _result, calls = run(gather, {**answers, "redis_ping": {"problems": []}}, tethys_layer_hosts=["redis://[::1]"])
        assert calls["server_info"]["workers"] is True
        assert calls["redis_ping"]["backend"] == backend


def test_portals_that_share_a_redis_have_one_class() -> None:
    # Ansible does not reach one of the servers.
    logins = {"results": [{"login": {"classes": ["core"]}}, {"unreachable": True}]}
    known: dict[str, Any] = {
        "preflight_layer_redis": ["redis"],
        "preflight_portals": ["portal", "other"],
        "__preflight_logins": logins,
    }
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({}, {}, "this run does not inspect other, which may need the core class"),
        (found(), {}, ""),
        ({"portal_config_layer_options": {"capacity": 9}}, {}, "for other, which shares the Redis, portal_config_"),
        ({"tethys_layer_backend": CORE_BACKEND}, {}, f"it is {CORE_BACKEND} for other"),
        (found(workers=[RUNWORKER]), {}, "for other, which shares the Redis, a worker receives"),
        ({}, {"redis_container_topology": "sentinel"}, "redis_container_topology is sentinel, and"),
    ]
    for other, redis, reason in cases:
        answer, calls = run(shared_class, hosts={"other": other, "redis": redis}, **found(), **known)
        assert answer["reason"].startswith(reason), (other, redis)
        assert (bool(answer["reason"]), calls) == (bool(reason), {})
        mine = {**known, "__preflight_class": answer, "__preflight_shared": {"redis": {"problems": []}}}
        result, _calls = run(decide, **found(), **mine)
        assert not result.get("failed"), result
        assert result["portal_config"]["backend"] == (CORE_BACKEND if reason else PUBSUB_BACKEND)
    # It is for those only.
    assert run(decide, **found(), __preflight_class={"reason": "x"})[0]["portal_config"]["backend"] == PUBSUB_BACKEND


def test_a_check_goes_by_the_class_that_the_portal_has() -> None:
    result, _calls = run(decide, **has_class(found(), CORE_BACKEND), preflight_goal="check")
    page, step = result["layer_check"]["page"], result["layer_check"]
    assert (page["asked"]["backend"], page["plan"]["backend"]) == (CORE_BACKEND, PUBSUB_BACKEND)
    assert step["backlog"] is True
    assert result["portal_config"]["backend"] == PUBSUB_BACKEND
    assert result["asgi_service"]["redis_container"] == "tethys-channels-redis"
    # One that was never set up has none of them.
    result, _calls = run(decide, **found(), preflight_goal="check")
    assert result["layer_check"]["page"]["asked"]["backend"] == PUBSUB_BACKEND
    assert result["layer_check"]["backlog"] is False
    # A run of site gives it the other class.
    assert run(decide, **has_class(found(), CORE_BACKEND))[0]["layer_check"]["backlog"] is False


def test_a_role_cannot_have_another_class() -> None:
    given = {"tethys_layer_backend": PUBSUB_BACKEND, "portal_config_layer_backend": CORE_BACKEND}
    result, calls = run(gather, **given)
    assert result["failed"]
    assert "portal_config_layer_backend is 'channels_redis.core" in result["msg"][1]
    assert "set tethys_layer_backend only" in result["msg"][1]
    assert calls == {}


def test_a_host_of_a_shared_redis_is_judged_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Action, "_text", read)
    (tmp_path / "ca.crt").touch()
    variables = {**REDIS, "preflight_portals": [], "redis_container_tls_dir": str(tmp_path), **found()}
    result, _calls = run(decide, **variables)
    assert result["failed"]
    assert "redis_container_tls_ca" in " ".join(result["msg"])


def test_a_server_that_is_unchanged_can_be_compared_anyway() -> None:
    digest = run(decide, **found())[0]["layer_check"]["digest"]
    for args, is_unchanged in ((None, True), ({"compares_all": True}, False)):
        result, _calls = run(decide, args=args, **found(proved_plan=digest))
        steps = [step["is_unchanged"] for step in result.values() if isinstance(step, dict) and "is_unchanged" in step]
        assert steps == [is_unchanged] * 6


def test_a_check_has_what_its_page_is_written_from() -> None:
    result, _calls = run(decide, **found(), preflight_goal="check")
    page = result["layer_check"]["page"]
    assert page["plan"]["portal"]["user"] == "www-data"
    assert page["asked"]["container_name"] == "tethys-channels-redis"
    assert page["packages"] == {"moves": []}


# --- what portals share ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "facts", "asked"),
    [
        (LOGIN, {}, True),
        ({**LOGIN, "password": None}, {}, False),
        (LOGIN, {"__redis_container_result": {"changed": True}}, False),
    ],
)
def test_a_shared_redis_is_asked_unless_a_dry_run_would_change_it(login: Any, facts: Any, asked: bool) -> None:
    logins = {"results": [{"login": login}]}
    mine = {**REDIS, "preflight_kind": "portal", "__preflight_logins": logins, "ansible_check_mode": True, **facts}
    result, calls = run(shared_redis, {"redis_ping": {"problems": []}}, **mine)
    assert bool(calls) is asked
    assert ("redis" in result) is asked
    assert result["hosts"][0]["address"] == "rediss://192.0.2.1:6379"
    assert result["missing"] == ([] if login["password"] else ["portal"])


# --- the certificate, which is on the controller ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "names", "given"),
    [
        ("unix", ["ca.crt", "portal.crt", "portal.key"], {}),
        ("tls", ["ca.crt", "portal.crt", "portal.key"],
         {"tls_ca": "of ca.crt", "tls_cert": "of portal.crt", "tls_key": "of portal.key"}),
        ("tls", ["ca.crt"], dict.fromkeys(("tls_ca", "tls_cert", "tls_key"), "")),
    ],
)  # fmt: skip
def test_the_certificate_goes_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str, names: list[str], given: dict[str, str]
) -> None:
    for name in names:
        (tmp_path / name).write_text(f"of {name}\n")
    monkeypatch.setattr(Action, "_text", read)
    answers, args = {"redis_settings": {"changed": True}}, {"transport": transport, "port": 6379}
    result, calls = run(redis_settings, answers, args, redis_container_tls_dir=str(tmp_path))
    assert calls["redis_settings"] == {"acl": True, "channel_rights": True, **args, **given}
    assert result["changed"]


@pytest.mark.parametrize(
    ("variables", "acl"),
    [({"redis_container_image": "redis:5"}, False), ({"redis_container_acl": False}, False), ({}, True)],
)
def test_redis_has_users_by_the_roles_own_variables(variables: dict[str, Any], acl: bool) -> None:
    _result, calls = run(redis_settings, {"redis_settings": {}}, {"transport": "unix", "port": 6379}, **variables)
    assert calls["redis_settings"]["acl"] is acl


@pytest.mark.parametrize(
    ("image", "rights"),
    [
        ("redis:6.0", False),
        ("x:5000/redis:6.0.16-alpine", False),
        ("redis:7", True),
        ("redis:6.2", True),
        ("valkey:8.1@sha256:1", True),
        # The server is asked.
        ("redis", None),
        ("x:5000/redis@sha256:6.0", None),
        ("redis:prod", None),
        # Of an image that was fetched long ago, it may be 6.0.
        ("redis:6", None),
        ("redis:6-alpine", None),
    ],
)
def test_redis_6_0_has_no_rights_on_channels(image: str, rights: bool | None) -> None:
    given = {"redis_container_image": image}
    _result, calls = run(redis_settings, {"redis_settings": {}}, {"transport": "unix", "port": 6379}, **given)
    assert calls["redis_settings"].get("channel_rights") is rights


def peers(kept: str | None, offered: str) -> dict[str, Any]:
    """What redis_login read on a server that Sentinel watches."""
    known = {"password": kept, "peer_password": kept and f"{kept} of peers"}
    return {"login": {"kept": known, "offered": {"password": offered, "peer_password": f"{offered} of peers"}}}


@pytest.mark.parametrize(
    ("args", "more", "password"),
    [
        ({}, {}, "old"),
        ({}, {"redis_container_rotate": "yes"}, "new"),
        ({"retire": True}, {"redis_container_rotate": "yes"}, "old"),
        ({"password": "mine"}, {}, "mine"),
    ],
)
def test_servers_that_sentinel_watches_share_their_passwords(args: Any, more: Any, password: str) -> None:
    known = {**REDIS, "__redis_container_peers": peers("old", "new"), **more}
    answers, args = {"redis_settings": {"changed": True}}, {"topology": "sentinel", **args}
    _result, calls = run(redis_settings, answers, args, **known)
    assert (calls["redis_settings"]["password"], calls["redis_settings"]["peer_password"]) == (password, "old of peers")
    assert "peer_password" not in run(redis_settings, answers, {"topology": "standalone"}, **known)[1]["redis_settings"]


def test_passwords_that_nobody_read_are_a_refusal() -> None:
    result, calls = run(redis_settings, {}, {"topology": "sentinel"}, **REDIS)
    assert result["failed"]
    assert result["msg"].startswith("Nothing was read of what the servers keep")
    assert calls == {}


# --- which Redis a check queries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("redis", "hosts"), [("given", ["192.0.2.9"]), ("shared", ["192.0.2.1"]), ("container", []), ("none", [])]
)
def test_the_redis_that_a_check_asks(redis: str, hosts: list[str]) -> None:
    known = {
        "__layer_check_step": {"redis": redis},
        "tethys_layer_hosts": ["redis://192.0.2.9:6379"],
        "__preflight_shared": {"endpoints": [{"host": "192.0.2.1"}]},
    }
    _result, calls = run(layer_health, {"layer_health": {"health": {}}}, {"prefix": "asgi"}, **known)
    assert [row["host"] for row in calls["layer_health"]["endpoints"]] == hosts
    assert calls["layer_health"]["prefix"] == "asgi"


@pytest.mark.parametrize(("own", "given"), [({"A": "b"}, '{"A": "b"}'), ("auto", "")])
def test_the_variables_of_the_processes_go_to_the_server_alone(own: Any, given: str) -> None:
    known = {"__layer_check_step": {"redis": "none"}, "asgi_service_environment": own}
    args = {"environment": {"path": "/etc/tethys_channels.env"}}
    result, calls = run(layer_health, {"layer_health": {"health": {}}}, args, **known)
    assert calls["layer_health"]["environment"] == {"path": "/etc/tethys_channels.env", "given": given}
    assert "environment" not in run(layer_health, {"layer_health": {"health": {}}}, {}, **known)[1]["layer_health"]
    assert "b" not in str(result)


# --- files of a certificate ------------------------------------------------------------------------------------------


def test_files_of_a_certificate_that_say_nothing(tmp_path: Path) -> None:
    def variables(read_file: Callable[[str], str], folder: Path) -> inputs.Variables:
        known = {"inventory_hostname": "a", "redis_container_tls_dir": str(folder)}
        return inputs.Variables(known, lambda value: value, read_file)

    assert variables(lambda _path: "", tmp_path).certificate_files()[1] == []
    (tmp_path / "a.key").touch()
    assert variables(lambda _path: "", tmp_path).certificate_files()[1] == ["redis_container_tls_key"]
    assert variables(lambda path: path, tmp_path).certificate_files() == (
        {
            "redis_container_tls_cert": str(tmp_path / "a.crt"),
            "redis_container_tls_key": str(tmp_path / "a.key"),
            "redis_container_tls_ca": str(tmp_path / "ca.crt"),
            "authority_key": str(tmp_path / "ca.key"),
        },
        [],
    )
    # No folder.
    assert variables(lambda _path: "", tmp_path / "a.key").certificate_files()[1] == ["redis_container_tls_dir"]


def test_where_this_user_may_not_look_there_is_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_options: Any) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    # As before Python 3.12; root may look everywhere.
    monkeypatch.setattr(Path, "exists", refuse)
    known = {"inventory_hostname": "a", "redis_container_tls_dir": str(tmp_path)}
    given = inputs.Variables(known, lambda value: value, lambda _path: "")
    assert given.certificate_files()[1] == []


@pytest.mark.parametrize("given", ["redis, channels_redis>=4.2", ["redis", "channels_redis>=4.2"]])
def test_requirements_may_be_one_text(given: Any) -> None:
    known = {"channels_redis_requirements": given}
    found = inputs.Variables(known, lambda value: value, lambda _path: "").requirements
    assert found == ["redis", "channels_redis>=4.2"]
