# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis that portals share: how they reach it, and what is refused before anything changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.plugin_utils import tls
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import address_reason
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.shared import redis_plan
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import check_variables
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import channel_layers
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
    texts,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.shared import shared_redis
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import make
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.samples import plan
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided

HOSTS: dict[str, dict[str, Any]] = {
    "redis2": {"redis_container_address": "192.0.2.2", "redis_container_port": "7000"},
    "redis1": {"redis_container_address": "2001:db8::1"},
    "portal1": {"portal_config_layer_options": None},
    "portal2": {},
}
WATCHED = {"redis_container_address": "2001:db8::1", "redis_container_topology": "sentinel"}
# In two, as a test of the tarball takes the whole of it for a secret.
LOCKED = "ENCRYPTED" + " PRIVATE KEY"
ROWS = [
    {"login": {"username": "tethys", "password": "p@1", "ca": "one\n", "started_at": 5.0}},
    {"login": {"username": "tethys", "password": "p2", "ca": "one", "started_at": 9.0}},
]
ADDRESS = "192.0.2.2"
NAME = "Redis of Tethys portals"
AUTHORITY = make(NAME)
GOOD = make("redis", AUTHORITY, ADDRESS)


def test_every_portal_gets_the_same_hosts_in_the_same_order() -> None:
    found = shared_redis(["redis2", "redis1"], HOSTS, CORE_BACKEND, ROWS)
    assert found == shared_redis(["redis1", "redis2"], HOSTS, CORE_BACKEND, ROWS)
    assert [host["address"] for host in found["hosts"]] == ["rediss://[2001:db8::1]:6379", "rediss://192.0.2.2:7000"]
    assert [host["password"] for host in found["hosts"]] == ["p@1", "p2"]
    assert [(row["host"], row["port"], row["tls"]) for row in found["endpoints"]] == [
        ("2001:db8::1", 6379, True),
        ("192.0.2.2", 7000, True),
    ]
    assert (found["authorities"], found["started_at"], found["missing"]) == ("one\n", 9.0, [])


@pytest.mark.parametrize("backend", [CORE_BACKEND, PUBSUB_BACKEND])
def test_channels_redis_takes_them(backend: str) -> None:
    hosts = shared_redis(["redis1"], HOSTS, backend, ROWS)["hosts"]
    assert channel_layers(hosts, backend=backend)["default"]["CONFIG"]["hosts"] == hosts
    # Nobody waits for an answer with pub/sub: the kernel finds out that the server has gone.
    assert hosts[0].get("socket_keepalive_options", {}).get(18) == (30000 if backend == PUBSUB_BACKEND else None)
    # A read of the core layer lasts 5 s; one that may last for ever hangs on a server that has gone.
    assert hosts[0]["socket_timeout"] > 5
    assert hosts[0]["ssl_check_hostname"] is True


def test_a_dry_run_before_there_is_a_login() -> None:
    nothing = {"username": "tethys", "password": None, "ca": None, "started_at": 0}
    found = shared_redis(["redis1"], HOSTS, CORE_BACKEND, [{"login": nothing}])
    assert found["missing"] == ["redis1"]
    assert found["hosts"][0]["password"] == "made by the run"
    assert shared_redis([], HOSTS, CORE_BACKEND)["hosts"] == []


@pytest.mark.parametrize(
    ("value", "here", "words"),
    [
        (None, None, "is not set"),
        ("", None, "is not set"),
        ("redis.example.org", None, "is not an IP address"),
        ("0.0.0.0", True, "is every address of this server"),  # noqa: S104
        ("::", True, "is every address of this server"),
        ("127.0.0.1", True, "no other server reaches"),
        ("192.0.2.2", False, "is not an address of this server"),
    ],
)
def test_addresses_that_are_refused(value: Any, here: bool | None, words: str) -> None:
    problem = address_reason(value, here)
    reason = problem.text if problem else ""
    assert reason.startswith("redis_container_address ")
    assert words in reason
    assert reason.endswith(": for this host, set it to the address at which the portals reach this server.")


def test_an_address_of_the_server() -> None:
    assert address_reason("192.0.2.2", True) is None
    assert address_reason("2001:db8::1", None) is None


def judge(
    values: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    hosts: dict[str, Any] | None = None,
    files: dict[str, str] | None = None,
    unreadable: list[str] | None = None,
    **server: Any,
) -> dict[str, Any]:
    """The plan for a server on which all is well."""
    asked = {
        "goal": "site",
        "name": "redis2",
        "names": ["redis1", "redis2"],
        "portals": ["portal1", "portal2"],
        "topology": "standalone",
        "sentinel_name": "tethys-channels-sentinel",
        "sentinel_port": 26379,
        "address": ADDRESS,
        "transport_asked": "",
        "redis_container_image": "redis:8.2",
        "redis_container_port": 6379,
        "redis_container_acl": "auto",
        "certificate_given": bool(files),
        "renew_days": 30,
        **(options or {}),
    }
    there = {
        "root": True,
        "name": "redis2",
        "os": {"id": "debian"},
        "docker": {"installed": True, "running": True},
        "docker_library": True,
        "redis_address_here": True,
        "clock_ahead": 1.5,
        **server,
    }
    given = {"redis_container_address": ADDRESS, "redis_container_tls_dir": "/srv/authority", **(values or {})}
    given = {name: value for name, value in given.items() if value is not None}
    found = {"names": list(given), "values": given, "files": files or {}, "server": there}
    found["unreadable"] = unreadable or []
    return decided(redis_plan, asked, found, {"CA": {}, **HOSTS, **(hosts or {})})


def test_all_is_well() -> None:
    plan_ = judge()
    assert plan_["refusals"] == []
    assert plan_["certificate_due"] == "does not exist yet"
    assert plan_["redis_way"] == "tls 192.0.2.2:6379"
    assert (plan_["backend"], plan_["prefix"]) == (PUBSUB_BACKEND, "asgi")
    options = {"portal_config_layer_options": {"expiry": 30}}
    assert judge(hosts={"portal1": options, "portal2": options})["backend"] == CORE_BACKEND


CORE = {"tethys_layer_backend": CORE_BACKEND}
NEEDS = {"portal_config_layer_options": {"expiry": 30}}


@pytest.mark.parametrize(
    "hosts", [{"portal2": NEEDS}, {"portal1": CORE}, {"portal1": CORE, "portal2": NEEDS}, {"redis1": WATCHED}], ids=str
)
def test_all_portals_have_core_where_one_needs_it(hosts: dict[str, Any]) -> None:
    plan_ = judge(hosts=hosts)
    assert [reason for reason in plan_["refusals"] if "share one Redis" in reason] == []
    assert plan_["backend"] == CORE_BACKEND


def test_a_portal_that_asks_for_pubsub_beside_one_that_needs_core_is_refused_with_the_reason() -> None:
    pubsub = {"tethys_layer_backend": PUBSUB_BACKEND}
    [reason] = judge(hosts={"portal1": pubsub, "portal2": NEEDS})["refusals"]
    why = "for portal2, which shares the Redis, portal_config_layer_options has expiry, which only the core class takes"
    assert f"{CORE_BACKEND!r} on portal2 and {PUBSUB_BACKEND!r} on portal1 ({why}), and they share one Redis" in reason


STRANGER = {"port": 6379, "pid": 7, "user": "ana", "command": "redis-server"}
FOREIGN = {"id": "0123456789ab", "name": "busy", "image": "redis:5", "running": True, "redis": {}}


def ours(place: str) -> dict[str, Any]:
    """Our container, as it runs that answers there."""
    labels = {"tethys.channels.config": "s", "tethys.channels.transport": f"tls {place}"}
    return {"name": "tethys-channels-redis", "image": "redis:8.2", "running": True, "ports": [6379], "labels": labels}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"values": {"redis_container_address": None}}, "redis_container_address is not set"),
        ({"redis_address_here": False}, "is not an address of this server"),
        (
            {"options": {"transport_asked": "unix"}},
            "redis_container_transport is 'unix' for redis2, whose Redis answers",
        ),
        ({"options": {"name": "portal1"}}, "portal1 is a portal and a host of the Redis that the portals share"),
        ({"options": {"redis_container_image": "redis:5"}}, "Redis 5 has neither users nor TLS"),
        ({"options": {"redis_container_acl": False}}, "redis_container_acl is False for redis2"),
        ({"clock_ahead": 61.0}, "The clock of redis2 is 61 s ahead of the controller's"),
        ({"clock_ahead": -3600.0}, "The clock of redis2 is 3600 s behind the controller's"),
        ({"root": False}, "The tasks do not run as root"),
        ({"docker": {"installed": True, "running": False}}, "its engine does not answer"),
        ({"listeners": [{**STRANGER, "address": "everything"}]}, "Port 6379, on which Redis is to answer, is held by"),
        ({"listeners": [{**STRANGER, "address": "redis"}]}, "Port 6379, on which Redis is to answer, is held by"),
        (
            {"listeners": [{**STRANGER, "address": "redis"}], "container": ours("192.0.2.3:6379")},
            "Port 6379, on which Redis is to answer, is held by",
        ),
        ({"redis_port_container": FOREIGN}, "Container busy (redis:5) publishes port 6379, and it is not this"),
        ({"container": {**FOREIGN, "labels": {}}}, "redis_container_name is busy, and the container of that name"),
        ({"values": {"redis_container_tls_dir": None}}, "redis_container_tls_dir is not set"),
        ({"values": {"redis_container_tls_dir": "here"}}, "as a full path"),
        ({"values": {"redis_container_adress": "x", "redis_container_address": ADDRESS}}, "did you mean"),
        ({"values": {"redis_container_memory_mb": "much"}}, "redis_container_memory_mb is 'much'"),
        (
            {
                "hosts": {
                    "portal2": {"tethys_layer_backend": MEMORY_BACKEND},
                    "portal1": {"tethys_layer_backend": MEMORY_BACKEND},
                }
            },
            "tethys_layer_backend is channels.layers.InMemoryChannelLayer on portal1",
        ),
        (
            {
                "hosts": {
                    "portal1": {"tethys_layer_backend": PUBSUB_BACKEND},
                    "portal2": {"tethys_layer_backend": CORE_BACKEND},
                }
            },
            "tethys_layer_backend is 'channels_redis.core",
        ),
        (
            {"hosts": {"portal2": {"portal_config_layer_options": {"prefix": "b"}}}},
            "prefix (of portal_config_layer_options) is 'asgi' on portal1 and 'b' on portal2, and they share one Redis",
        ),
    ],
    ids=str,
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    [reason] = judge(**given)["refusals"]
    assert words in reason
    assert reason.endswith(".")


def test_who_listens_elsewhere_is_not_in_the_way() -> None:
    rows = [{**STRANGER, "address": place} for place in ("loopback", "other")]
    assert judge(listeners=rows)["refusals"] == []
    # Docker's proxy listens for the container that is ours.
    rows = [{**STRANGER, "address": "redis"}]
    assert judge(listeners=rows, container=ours("192.0.2.2:6379"))["refusals"] == []


def test_the_way_back_is_open_whatever_the_inventory_says() -> None:
    assert judge(options={"goal": "remove", "transport_asked": "unix"}, redis_address_here=False)["refusals"] == []
    assert judge(options={"goal": "remove"}, root=False)["refusals"] != []
    for address in ("", "no address"):
        options = {"goal": "remove", "address": address, "certificate_given": False}
        found = judge(options=options, files=FILES, redis_address_here=False)
        assert (found["refusals"], found["certificate_due"]) == ([], None)


FILES = {
    "redis_container_tls_cert": GOOD.text,
    "redis_container_tls_key": GOOD.key_text,
    "redis_container_tls_ca": AUTHORITY.text,
}
PATHS = {name: f"/srv/{name}" for name in FILES}
PRIVATE = {**FILES, "authority_key": AUTHORITY.key_text}


def test_certificates_of_ones_own() -> None:
    plan_ = judge(values={**PATHS, "redis_container_tls_dir": None}, files=FILES)
    assert (plan_["refusals"], plan_["certificate_due"]) == ([], None)


@pytest.mark.parametrize(
    ("values", "files", "words"),
    [
        ({"redis_container_tls_ca": None}, FILES, "redis_container_tls_cert is given without redis_container_tls_ca"),
        (
            {},
            {**FILES, "redis_container_tls_key": ""},
            "redis_container_tls_key is '/srv/redis_container_tls_key', and there",
        ),
        (
            {},
            {**FILES, "redis_container_tls_ca": make(NAME).text},
            "this certificate was not issued by its CA",
        ),
        ({"redis_container_address": "192.0.2.9"}, FILES, "does not name the address 192.0.2.9"),
    ],
)
def test_certificates_that_are_refused(values: dict[str, Any], files: dict[str, str], words: str) -> None:
    [reason] = judge(values={**PATHS, **values}, files=files)["refusals"]
    assert words in reason


def test_a_private_authority_renews_in_time() -> None:
    def due(days: int, address: str = ADDRESS) -> Any:
        options = {"certificate_given": False, "renew_days": days, "address": address}
        values = {"redis_container_address": address}
        return judge(values=values, files=PRIVATE, options=options)["certificate_due"]

    # That CA expires together with the certificate that it issued.
    options = {"certificate_given": False, "renew_days": 101}
    assert judge(files=PRIVATE, options=options)["authority_due"] is True
    assert judge(files=PRIVATE, options={**options, "renew_days": 30})["authority_due"] is False
    assert judge()["authority_due"] is False
    assert due(30) is None
    assert "ends on" in due(101)
    assert "does not name the address" in due(30, "192.0.2.9")


def test_an_authority_that_begins_in_the_future_is_made_anew() -> None:
    # The state after a run with a clock that was ahead: a new certificate for the server alone would never help.
    authority = make(NAME, begins=1)
    given = make("redis", authority, ADDRESS)
    files = {
        "redis_container_tls_cert": given.text,
        "redis_container_tls_key": given.key_text,
        "redis_container_tls_ca": authority.text,
        "authority_key": authority.key_text,
    }
    plan_ = judge(files=files, options={"certificate_given": False})
    assert "begins on" in plan_["certificate_due"]
    assert plan_["authority_due"] is True


def test_a_private_authority_is_kept() -> None:
    assert judge(files=PRIVATE, options={"certificate_given": False})["refusals"] == []
    # A run that was killed between two files goes on.
    for names in (["authority_key"], ["authority_key", "redis_container_tls_ca"]):
        files = {name: PRIVATE[name] for name in names}
        plan_ = judge(files=files, options={"certificate_given": False})
        assert (plan_["refusals"], plan_["certificate_due"]) == ([], "does not exist yet")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"redis_container_tls_ca": make("Corp").text},
            "its content: ca.crt, which was given by CN=Corp",
        ),
        ({"authority_key": f"-----BEGIN {LOCKED}-----"}, "did not create its content: ca.key, which is no"),
        ({"redis_container_tls_key": "no"}, "did not create its content: redis2.key, which is not a private key"),
    ],
)
def test_what_is_somebody_elses_is_not_written_over(files: dict[str, str], words: str) -> None:
    [reason] = judge(files=files, options={"certificate_given": False})["refusals"]
    assert reason.startswith("redis_container_tls_dir is '/srv/authority', and")
    assert words in reason
    assert reason.endswith(
        ". To keep that, set it to an empty folder, or give certificates of your own by redis_container_tls_cert,"
        " redis_container_tls_key, redis_container_tls_ca."
    )


def test_an_authority_whose_key_is_elsewhere() -> None:
    assert judge(files=FILES, options={"certificate_given": False})["refusals"] == []
    [reason] = judge(files=FILES, options={"certificate_given": False, "renew_days": 101})["refusals"]
    assert "holds the CA's ca.crt without its ca.key: restore ca.key" in reason


@pytest.mark.parametrize(
    ("unreadable", "words"),
    [
        (["authority_key"], "cannot read ca.key (or it is empty)"),
        (["redis_container_tls_cert", "redis_container_tls_key"], "cannot read redis2.crt and redis2.key"),
        (["redis_container_tls_dir"], "is not a folder or one that this user of the controller cannot enter"),
    ],
)
def test_what_cannot_be_read_is_not_taken_for_absent(unreadable: list[str], words: str) -> None:
    [reason] = judge(unreadable=unreadable)["refusals"]
    assert reason.startswith("redis_container_tls_dir is '/srv/authority', ")
    assert words in reason


def test_a_certificate_of_ones_own_that_cannot_be_read() -> None:
    files = {**FILES, "redis_container_tls_key": ""}
    [reason] = judge(values=PATHS, files=files, unreadable=["redis_container_tls_key"])["refusals"]
    assert "that file is empty, or this user of the controller cannot read it: correct it." in reason


def test_no_host_has_the_authoritys_name() -> None:
    [reason] = judge(options={"name": "ca"}, hosts={"ca": {}})["refusals"]
    assert "ca is the name of this host" in reason
    assert judge(values={**PATHS}, files=FILES, options={"name": "ca"}, hosts={"ca": {}})["refusals"] == []


def test_the_tasks_make_what_is_known_as_ours() -> None:
    roles = Path(__file__).parents[4] / "roles"
    _predict, block = yaml.safe_load((roles / "redis_container" / "tasks" / "certificate.yml").read_text("utf-8"))
    # An inventory's variables for all its hosts reach the controller, unless the tasks have their own.
    assert block["vars"] == {
        "ansible_become": False,
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    folder = block["block"][0]["ansible.builtin.file"]
    assert folder["mode"] == "{{ omit if __redis_container_tls_dir is exists else '0700' }}"
    keys = [
        task["community.crypto.openssl_privatekey"]
        for task in block["block"]
        if "community.crypto.openssl_privatekey" in task
    ]
    assert [(key["type"], key["curve"], key["regenerate"]) for key in keys] == [("ECC", "secp256r1", "never")] * 2
    [authority] = [
        task["community.crypto.openssl_csr_pipe"]["common_name"]
        for task in block["block"]
        if task.get("register") == "__redis_container_authority"
    ]
    assert f"CN={authority}" == tls.AUTHORITY


# --- the portal's own plan ------------------------------------------------------------------------------------------

ASKED = samples.asked(tethys_bokeh="not_in_use", tethys_layer_redis=["redis1"])
OPTIONS = samples.options()


def portals_plan(**server: Any) -> dict[str, Any]:
    """The plan of a portal that shares a Redis."""
    redis = {"problems": server.pop("problems", [])}
    there = samples.server(**{"docker": samples.MISSING, **server})
    return samples.planned(ASKED, OPTIONS, portal=samples.portal(), server=there, redis=redis)


def test_a_portal_needs_no_docker() -> None:
    found = portals_plan()
    assert found["refusals"] == []
    assert (found["redis"], found["install_engine"]) == ("shared", False)


def test_a_portal_is_refused_that_cannot_reach_it() -> None:
    assert portals_plan(problems=["The shared Redis … cannot be reached."])["refusals"] == [
        "The shared Redis … cannot be reached."
    ]
    [reason] = portals_plan(clock_ahead=-100.0)["refusals"]
    assert "The clock of this server is 100 s behind" in reason


def test_a_redis_of_the_portals_own_stays_until_it_is_taken_away() -> None:
    ours = {"name": "tethys-channels-redis", "image": "r", "running": True, "labels": {"tethys.channels.config": "s"}}
    [said] = portals_plan(container=ours)["announce"][:1]
    assert "`docker rm -f tethys-channels-redis` removes it" in said


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"tethys_layer_hosts": [["127.0.0.1", 6379]]}, "tethys_layer_hosts is given, and the inventory has hosts"),
        (
            {"tethys_layer_backend": MEMORY_BACKEND, "tethys_asgi_processes": 1},
            "tethys_layer_backend is channels.layers",
        ),
    ],
)
def test_two_kinds_of_layer_at_once(more: dict[str, Any], words: str) -> None:
    [reason] = texts(check_variables({**ASKED, **more}))
    assert words in reason


def test_tls_is_for_a_shared_redis_only() -> None:
    asked = {**ASKED, "tethys_layer_redis": []}
    options = {**OPTIONS, "redis_container_transport": "tls"}
    [reason] = decided(plan, asked, options, {"values": {}})["refusals"]
    assert "redis_container_transport is tls, and this portal has its own Redis" in reason
