# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Portals of one inventory that are on one server, and a portal whose name is another's or none."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.tethys.channels.plugins.action import portal_conflicts
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import inventory, neighbors
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND
from ansible_collections.tethys.channels.tests.unit.plugins.action.run_action import run_action
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

PROD = {"ansible_host": "server1", "tethys_home": "/srv/prod", "tethys_port": 8000}
STAGING = {"ansible_host": "server1", "tethys_home": "/srv/staging", "tethys_port": "8010", "tethys_portal_name": "s"}


def codes(**hosts: dict[str, Any]) -> list[str]:
    """What is wrong with these portals of one inventory."""
    return [problem.code for problem in inventory.problems(hosts, hosts)]


def test_two_portals_of_one_server() -> None:
    assert codes(prod=PROD, staging=STAGING) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tethys_portal_name": ""}, "portal-name-twice"),
        ({"tethys_portal_name": None}, "portal-name-twice"),
        ({"tethys_home": "/srv/prod"}, "portal-home-twice"),
        ({"tethys_port": 8000}, "portal-port-twice"),
        (
            {"tethys_port": 7998, "tethys_asgi_layout": "socket_per_process", "tethys_asgi_processes": 3},
            "portal-port-twice",
        ),
    ],
)
def test_what_they_cannot_have_in_common(change: dict[str, Any], code: str) -> None:
    assert codes(prod=PROD, staging={**STAGING, **change}) == [code]
    # On another server, or through another server's port, they can.
    for other in ({"ansible_host": "server2"}, {"ansible_port": 2222}):
        assert codes(prod=PROD, staging={**STAGING, **change, **other}) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ansible_port": 22}, {}),
        ({"ansible_connection": "local"}, {"ansible_connection": "local", "ansible_host": "server2"}),
    ],
    ids=str,
)
def test_one_server_under_two_addresses(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert codes(prod={**PROD, **one}, staging={**STAGING, "tethys_home": "/srv/prod", **other}) == [
        "portal-home-twice"
    ]


def test_a_portal_that_is_listed_twice_and_one_of_tethys_docker_are_no_other_portals() -> None:
    assert codes(prod=PROD, again=PROD, docker={"ansible_host": "server1"}) == []


@pytest.mark.parametrize(
    "both",
    [
        {"redis_container_name": "redis"},
        {"asgi_service_run_dir": "/run/portals"},
        {"asgi_service_log_dir": "/var/log/portals/"},
        {"nginx_upstream_name": "channels-backend"},
        {"layer_check_url": "https://portal.example.org/"},
        {"layer_check_status_json": "/var/lib/status.json"},
        {"redis_container_transport": "published"},
        {"redis_container_transport": "host", "redis_container_port": 6380},
        {"tethys_layer_hosts": ["redis://:secret@redis:6379"]},
        {"tethys_layer_hosts": ["redis://:secret@redis:6379"], "portal_config_layer_options": {"prefix": "p"}},
    ],
    ids=lambda both: next(iter(both)),
)
def test_a_value_for_all_portals_is_not_for_two_of_one_server(both: dict[str, Any]) -> None:
    hosts = {"prod": {**PROD, **both}, "staging": {**STAGING, **both}}
    assert codes(**hosts) == ["portal-value-twice"]
    assert "secret" not in inventory.problems(hosts, hosts)[0].text
    assert codes(prod={**PROD, **both}, staging={**STAGING, **both, "ansible_host": "server2"}) == []


@pytest.mark.parametrize(
    "only",
    [
        {"redis_container_name": "tethys-channels-redis"},
        {"asgi_service_run_dir": "/run/tethys/staging"},
        {"nginx_upstream_name": "channels-backend"},
    ],
    ids=lambda only: next(iter(only)),
)
def test_the_default_of_the_other_portal_is_not_a_value(only: dict[str, Any]) -> None:
    assert codes(prod=PROD, staging={**STAGING, **only}) == ["portal-value-twice"]
    assert codes(prod={**PROD, "asgi_service_run_dir": "/run/tethys-s"}, staging=STAGING) == ["portal-value-twice"]
    assert codes(prod={**PROD, "redis_container_name": "mine"}, staging=STAGING) == []


def test_what_differs_is_no_conflict() -> None:
    one = {"redis_container_transport": "published", "redis_container_port": 6380, "asgi_service_run_dir": "/run/one"}
    one |= {"tethys_layer_hosts": ["redis://redis"], "portal_config_layer_options": {"prefix": "one"}}
    other = {"redis_container_transport": "published", "asgi_service_run_dir": "/run/other"}
    assert codes(prod={**PROD, **one}, staging={**STAGING, **other}) == []
    assert codes(prod={**PROD, **one}, staging={**STAGING, **one, **other, "portal_config_layer_options": {}}) == []
    # On the controller one file is for all hosts.
    status = {"layer_check_status_json": "status.json", "layer_check_status_on": "controller"}
    assert codes(prod={**PROD, **status}, staging={**STAGING, **status}) == []


@pytest.mark.parametrize("port", [None, "auto", ""])
def test_the_usual_port_is_that_of_the_portal_without_a_name(port: str | None) -> None:
    prod = {**PROD, "tethys_port": port}
    assert codes(prod=prod, staging={**STAGING, "tethys_port": 8000}) == ["portal-port-twice"]
    assert codes(prod=prod, staging={**STAGING, "tethys_port": "auto"}) == []


@pytest.mark.parametrize("unknown", ["tethys_port", "tethys_portal_name", "tethys_home"])
def test_what_is_not_known_yet_is_no_conflict(unknown: str) -> None:
    class Later(dict[str, Any]):
        def get(self, name: Any, default: Any = None) -> Any:
            if name == unknown:
                raise AnsibleError("'ansible_facts' is undefined")
            return super().get(name, default)

    assert codes(prod=PROD, staging=Later({**STAGING, unknown: PROD.get(unknown)})) == []


def test_the_sentence_names_both_and_the_fix() -> None:
    hosts = {"prod": PROD, "staging": {**STAGING, "tethys_portal_name": ""}}
    groups: dict[str, Any] = {}
    refused, calls = run_action(portal_conflicts, args={"portals": list(hosts)}, hosts=hosts, groups=groups)
    assert calls == {}
    assert refused["failed"]
    assert refused["msg"] == [
        "Refused; nothing was changed.",
        "tethys_portal_name is '' for prod and staging, which are on one server (server1). Set it to another name for"
        " one of them, such as staging. [portal-name-twice]",
    ]
    assert not run_action(portal_conflicts, args={"portals": ["prod"]}, hosts=hosts, groups=groups)[0].get("failed")


def test_a_portal_of_the_run_is_compared_with_the_rest_of_the_group() -> None:
    hosts = {"prod": PROD, "staging": {**STAGING, "tethys_portal_name": ""}, "third": {**PROD, "tethys_home": "/t"}}
    groups = {"portals": ["prod", "staging"]}
    refused, _calls = run_action(portal_conflicts, args={"portals": ["prod"]}, hosts=hosts, groups=groups)
    assert "for prod and staging," in refused["msg"][1]
    # Of two others, the run changes none.
    hosts["elsewhere"] = {**PROD, "ansible_host": "server2"}
    args = {"portals": ["elsewhere"]}
    assert not run_action(portal_conflicts, args=args, hosts=hosts, groups=groups)[0].get("failed")


# --- on the server ----------------------------------------------------------------------------------------------------

OURS = {"path": "/c/asgi.conf", "managed": True, "user": "www-data"}


def decided(
    goal: str = "site",
    name: str = "",
    transport: str = "published",
    *,
    asked: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    portal: Any = None,
    packages: Any = None,
    **server: Any,
) -> dict[str, Any]:
    """The plan of a portal of that name."""
    more = {"packages": packages} if packages else {}
    return samples.planned(
        samples.asked(tethys_portal_name=name, **(asked or {})),
        samples.options(goal=goal, redis_container_transport=transport, **(options or {})),
        portal=portal or samples.portal(),
        server=samples.server(**server),
        **more,
    )


@pytest.mark.parametrize("goal", ["site", "check", "restart", "remove"])
@pytest.mark.parametrize(("name", "group"), [("", "asgi"), ("s", "tethys_s_asgi")])
def test_a_second_portal_of_one_name_is_refused_for_whatever_run(goal: str, name: str, group: str) -> None:
    other = {"path": "/c/asgi.conf", "group": group, "home": "/srv/prod"}
    plan = decided(goal, name, other_programs=[other])
    assert "second-portal" in [row["code"] for row in plan["codes"]]
    fix = "another name" if name else "a name for this portal, such as staging"
    assert any(f"Set tethys_portal_name to {fix}" in text for text in plan["refusals"])


def test_a_portal_that_was_set_up_beside_a_managed_one_gets_the_name() -> None:
    ours = samples.program(**OURS, groups=["asgi"])
    other = {"path": "/c/other.conf", "group": "asgi", "home": "/srv/staging"}
    texts = decided(programs=[ours], other_programs=[other])["refusals"]
    [text] = [text for text in texts if "runs the portal of /srv/staging" in text]
    assert "Run tethys.channels.site for that portal first, with a tethys_portal_name for it, such as staging" in text
    assert "Set tethys_portal_name" not in text
    assert decided("check", programs=[ours], other_programs=[other])["refusals"] == []


@pytest.mark.parametrize("goal", ["site", "check", "restart", "remove"])
@pytest.mark.parametrize(("name", "group", "other"), [("s", "asgi", ""), ("", "tethys_s_asgi", "s")])
def test_a_portal_keeps_its_name(goal: str, name: str, group: str, other: str) -> None:
    program = samples.program(**OURS, groups=[group])
    plan = decided(goal, name, programs=[program])
    assert "portal-has-other-name" in [row["code"] for row in plan["codes"]]
    assert any(f"Set tethys_portal_name to {other!r}; for another name" in text for text in plan["refusals"])


@pytest.mark.parametrize("managed", [True, False])
def test_a_program_that_is_adopted_gets_the_name(managed: bool) -> None:
    group = "tethys_s_asgi" if managed else "asgi"
    program = samples.program(path="/c/asgi.conf", managed=managed, user="www-data", groups=[group])
    plan = decided(name="s", programs=[program])
    assert plan["refusals"] == []
    assert plan["group"] == "tethys_s_asgi"
    assert plan["replaced_groups"] == ([] if managed else ["asgi"])


NEIGHBOR = {
    "path": "/c/asgi_supervisord.conf",
    "group": "asgi",
    "home": "/srv/prod",
    "managed": True,
    "port": 8000,
    "sockets": "/run/tethys",
    "logs": "/var/log/tethys_channels",
}


def test_a_port_of_another_portal_is_not_taken_also_while_it_does_not_run() -> None:
    [reason] = decided(name="s", neighbors=[NEIGHBOR])["refusals"]
    assert reason == (
        "tethys_port is 8000: Supervisor's program asgi (/c/asgi_supervisord.conf) of another portal has port 8000. Set"
        " tethys_port to another port, or delete that program if nobody uses it."
    )
    # The processes of the other one run.
    row = {"port": 8000, "pid": 7, "user": "www-data", "command": "daphne", "address": "loopback", "program": "asgi"}
    assert decided(name="s", neighbors=[NEIGHBOR], listeners=[row])["refusals"] == [reason]
    assert decided(name="s", neighbors=[{**NEIGHBOR, "port": 8001}])["refusals"] == []
    layout = {"tethys_asgi_layout": "socket_per_process"}
    apart = decided(name="s", asked=layout, neighbors=[{**NEIGHBOR, "port": 8002}], nginx=NGINX)
    assert [row["code"] for row in apart["codes"]] == ["port-of-other-portal"]


NGINX = {"installed": True, "running": True, "servers": [], "by": "nginx"}


def test_a_portal_with_a_name_does_not_take_the_usual_port() -> None:
    port = {"tethys_port": "auto", "tethys_bind_address": "auto"}
    found = decided(name="s", asked=port)
    assert [row["code"] for row in found["codes"]] == ["port-not-set"]
    assert decided(asked=port)["refusals"] == []
    there = samples.program(path="/c/s.conf", managed=True, groups=["tethys_s_asgi"], user="www-data", port=8010)
    assert decided(name="s", asked=port, programs=[there])["refusals"] == []


def test_the_upstream_of_another_portal_is_not_written() -> None:
    nginx = {**NGINX, "servers": [{"address": "127.0.0.1:8000", "down": False}]}
    layout = {"tethys_asgi_layout": "socket_per_process", "tethys_port": 8010}
    found = decided(name="s", asked=layout, neighbors=[NEIGHBOR], nginx=nginx)
    assert "upstream-of-other-portal" in [row["code"] for row in found["codes"]]
    nginx["servers"][0]["address"] = "127.0.0.1:8010"
    assert decided(name="s", asked=layout, neighbors=[NEIGHBOR], nginx=nginx)["refusals"] == []


@pytest.mark.parametrize("goal", ["site", "check", "remove"])
@pytest.mark.parametrize(
    ("variable", "value"), [("asgi_service_run_dir", "/run/tethys/"), ("asgi_service_log_dir", NEIGHBOR["logs"])]
)
def test_the_folder_of_another_portal_is_not_used(goal: str, variable: str, value: str) -> None:
    other = {**NEIGHBOR, "port": 8001}
    found = decided(goal, "s", options={variable: value}, neighbors=[other])
    assert [row["code"] for row in found["codes"]] == ["folder-of-other-portal"]
    assert f"{variable} is '{value}'" in found["refusals"][0]
    # The manual's processes have no files of our names.
    assert decided(goal, "s", options={variable: value}, neighbors=[{**other, "managed": False}])["refusals"] == []
    assert decided(goal, "s", options={variable: f"{value}/s"}, neighbors=[other])["refusals"] == []
    # What is removed with this portal has nothing of the other one in it.
    inside = {**other, "sockets": "/run/tethys/prod", "logs": f"{NEIGHBOR['logs']}/prod"}
    assert decided(goal, "s", options={variable: value}, neighbors=[inside])["refusals"] != []


@pytest.mark.parametrize("goal", ["site", "check", "restart", "remove"])
@pytest.mark.parametrize("place", ["container", "left_container"])
@pytest.mark.parametrize(("name", "owner"), [("", "s"), ("s", ""), ("s", "other")])
def test_the_container_of_another_portal_is_left(goal: str, place: str, name: str, owner: str) -> None:
    theirs = samples.container("published", engine="docker")
    ours = samples.container("published", engine="docker")
    for container, whose in ((theirs, owner), (ours, name)):
        if whose:
            container["labels"]["tethys.channels.portal"] = whose
    refused = {row["code"] for row in decided(goal, name, **{place: theirs})["codes"]}
    assert "container-of-other-portal" in refused
    assert "container-of-other-portal" not in {row["code"] for row in decided(goal, name, **{place: ours})["codes"]}


def test_the_redis_that_portals_may_share_is_not_stopped() -> None:
    manuals = samples.manuals_container()
    settings = {"layer_backend": CORE_BACKEND, "layer_hosts": [["127.0.0.1", 6379]]}
    portal = samples.portal(settings=settings)
    found = {"transport": "unix", "portal": portal, "redis_port_container": manuals}
    other = {**NEIGHBOR, "port": 8001, "managed": False}
    assert decided(**found)["adopted_container"] is not None
    for name, others in (("", [other]), ("s", [])):
        plan = decided(name=name, neighbors=others, **found)
        assert (plan["adopted_container"], plan["refusals"]) == (None, [])
        assert any("The Redis on port 6379" in line and "is not changed" in line for line in plan["announce"])
    found["transport"] = "published"
    [reason] = decided(neighbors=[other], **found)["refusals"]
    assert "another portal on this server may use it" in reason


def test_the_redis_of_another_portal_is_not_adopted() -> None:
    other = samples.container("published")
    other["redis"] = {"version": "8.2", "foreign_key": None, "problem": None}
    [reason] = decided(name="s", redis_port_container=other)["refusals"]
    assert reason == (
        "redis_container_port is 6379: container tethys-channels-redis, the Redis of another portal on this server,"
        " publishes that port. Set redis_container_port to a free port."
    )
    assert decided(name="s", transport="unix", redis_port_container=other)["refusals"] == []


def test_packages_of_an_environment_that_another_portal_may_use() -> None:
    moves = {"moves": [{"name": "channels_redis", "from": None, "to": "4.3.0"}]}
    other = {**NEIGHBOR, "port": 8001}
    warnings = decided(name="s", neighbors=[other], packages=moves)["warnings"]
    assert any("the portal of /srv/prod" in text and "restart its processes after" in text for text in warnings)
    assert not any("/srv/prod" in text for text in decided(name="s", neighbors=[other])["warnings"])


@pytest.mark.parametrize(
    ("asked", "values", "code"),
    [
        ({"tethys_layer_redis": ["redis"]}, {}, "portal-name-with-shared-redis"),
        ({"tethys_layer_hosts": ["redis://redis"]}, {}, "portal-without-prefix"),
        (
            {"tethys_layer_hosts": ["redis://redis"]},
            {"portal_config_layer_options": {}},
            "portal-without-prefix",
        ),
        (
            {"tethys_layer_hosts": ["redis://redis"]},
            {"portal_config_layer_options": {"prefix": "asgi"}},
            "portal-without-prefix",
        ),
        ({"tethys_layer_hosts": ["redis://redis"]}, {"portal_config_layer_options": {"prefix": "s"}}, None),
        ({}, {}, None),
    ],
)
def test_portals_do_not_share_messages(asked: dict[str, Any], values: dict[str, Any], code: str | None) -> None:
    def found(name: str) -> list[str]:
        named = {**samples.asked(**asked), "tethys_portal_name": name}
        return [problem.code for problem in neighbors.shared_redis_problems(named, values)]

    assert found("s") == ([code] if code else [])
    assert found("") == []


def test_the_file_of_another_portals_program_is_not_written() -> None:
    supervisor = {**samples.server()["supervisor"], "include": ["/c/*.conf"]}
    # Adopted where the manual's program was.
    named = {**NEIGHBOR, "group": "tethys_s_asgi", "port": 8001}
    found = decided(supervisor=supervisor, neighbors=[named], options={"asgi_service_run_dir": "/run/x"})
    assert found["program_path"] == "/c/tethys_asgi_supervisord.conf"
    assert decided(supervisor=supervisor)["program_path"] == "/c/asgi_supervisord.conf"


def test_a_program_is_not_put_back_beside_another_one_of_its_name() -> None:
    taken = [{"path": "/c/asgi_supervisord.conf", "group": "asgi", "home": "/srv/prod"}]
    state = ["program.original"]
    [reason] = decided("remove", "s", taken_names=taken, state=state)["refusals"]
    assert reason == (
        "/etc/tethys_channels-s/program.original is put back by tethys.channels.remove, and its program asgi has the"
        " name of Supervisor's program asgi in /c/asgi_supervisord.conf: give the program in"
        " /etc/tethys_channels-s/program.original another name."
    )
    assert decided("check", "s", taken_names=taken, state=state)["refusals"] == []


@pytest.mark.parametrize(("name", "folder"), [("", "/var/log/tethys_channels"), ("s", "/var/log/tethys_channels-s")])
def test_the_folder_for_logs_is_the_portals(name: str, folder: str) -> None:
    writer = {"path": "/l", "how": "owner", "name": "alice", "who": "its owner alice", "link": None, "fix": None}
    file = {"path": "/l", "use": "logs", "target": "/l", "writers": [writer]}
    [text] = decided(name=name, trust={"files": 9, "open": [file]})["refusals"]
    assert text.endswith(f"such as {folder}.")


def test_a_new_portal_has_a_program_file_and_a_socket_of_its_own() -> None:
    plan = decided(name="my-site")
    assert plan["program_path"] == "/c/asgi_supervisord-my-site"
    assert plan["redis_socket"] == "/var/lib/tethys_channels-my-site/redis.sock"
    assert plan["redis_unit"] == "tethys-channels-redis-my-site.service"
    supervisor = {"installed": False, "running": False, "silent": False}
    path = decided(name="my-site", supervisor=supervisor)["program_path"]
    assert path == "/etc/supervisor/conf.d/asgi_supervisord-my-site.conf"


@pytest.mark.parametrize(("name", "suffix"), [("", ""), ("s", "-s")])
def test_each_portal_has_its_own_unit_and_socket_in_podman(name: str, suffix: str) -> None:
    works = {"installed": True, "running": True, "version": "5.4", "problem": None, "kind": "podman"}
    plan = decided(name=name, transport="unix", options={"redis_container_engine": "podman"}, podman=works)
    assert plan["refusals"] == []
    unit = f"tethys-channels-redis{suffix}.service"
    assert (plan["redis_unit"], plan["redis_unit_path"]) == (unit, f"/etc/systemd/system/{unit}")
    assert plan["redis_endpoint"] == {"path": f"/var/lib/tethys_channels{suffix}/redis.sock"}
    assert (plan["engine"], plan["portal_name"]) == ("podman", name)
    assert plan["state_dir"] == f"/etc/tethys_channels{suffix}"
