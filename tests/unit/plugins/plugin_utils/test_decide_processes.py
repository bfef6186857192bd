# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the portal's processes listen: port, address and program follow what is there."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import processes
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import wrong_role_values
from ansible_collections.tethys.channels.plugins.plugin_utils.model import texts
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.samples import plan

PATH = "/etc/supervisor/conf.d/asgi_supervisord.conf"
SITE = "/etc/nginx/sites-enabled/portal"
ASKED: dict[str, Any] = {
    "tethys_home": "/var/lib/tethys",
    "tethys_conda_prefix": "/opt/conda/envs/tethys",
    "tethys_asgi_processes": 2,
    "tethys_port": "auto",
    "tethys_bind_address": "auto",
    "tethys_user": "",
    "tethys_layer_backend": "channels_redis.core.RedisChannelLayer",
    "tethys_layer_hosts": [],
    "tethys_bokeh": "auto",
    "tethys_bokeh_policy": "single",
    "tethys_asgi_layout": "shared_socket",
}


def program(address: str | None = "127.0.0.1", port: int | None = 8000, **other: Any) -> dict[str, Any]:
    """A program that the manual's command has written."""
    return {
        "path": PATH,
        "link": None,
        "others": [],
        "groups": ["asgi"],
        "user": "www-data",
        "layout": "shared_socket",
        "numprocs": "1",
        "socket": f"tcp://{address}:{port}",
        "address": address,
        "port": port,
        "managed": False,
        **other,
    }


def target(address: str, port: int | None, here: bool = True) -> dict[str, Any]:
    return {"address": address, "port": port, "here": here}


def fronts(*targets: dict[str, Any], **other: Any) -> dict[str, Any]:
    front = {"server": "nginx", "path": SITE, "line": 3, "each": True, "ours": False, "targets": list(targets)}
    front["door"] = None
    return {"portal": {**front, **other}, "addresses": [each["address"] for each in targets]}


def decide(
    asked: dict[str, Any] | None = None, goal: str = "site", values: dict[str, Any] | None = None, **server: Any
) -> dict[str, Any]:
    """The plan for a server that is healthy besides."""
    options = {"goal": goal, "redis_container_image": "redis:8.2", "redis_container_port": 6379}
    portal = {"user": "www-data", "versions": {"tethys_platform": "4.6.1"}, "bokeh": [], "lifecycle_consumer": True}
    found = {
        "root": True,
        "docker": {"installed": True, "running": True},
        "supervisor": {"installed": True, "running": True, "pid": 300, "config": "/c", "include": ["/c/*"]},
        "programs": [],
        "processes": [],
        "listeners": [],
        "state": [],
        **server,
    }
    return plan({**ASKED, **(asked or {})}, options, {"portal": portal, "server": found, "values": values or {}})


# --- the order --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "server", "place"),
    [
        ({}, {}, ("127.0.0.1", 8000)),
        ({}, {"programs": [program(port=8080)]}, ("127.0.0.1", 8080)),
        ({}, {"programs": [program("0.0.0.0", 8000)]}, ("0.0.0.0", 8000)),  # noqa: S104
        ({}, {"programs": [program("localhost", 8080)]}, ("127.0.0.1", 8080)),
        ({}, {"programs": [program("10.1.2.3", 8080)]}, ("10.1.2.3", 8080)),
        (
            {},
            {"programs": [program(None, None)], "fronts": fronts(target("127.0.0.1:8081", 8081))},
            ("127.0.0.1", 8081),
        ),
        ({}, {"fronts": fronts(target("127.0.0.1:8081", 8081))}, ("127.0.0.1", 8081)),
        ({}, {"fronts": fronts(target("10.9.9.9:80", 80, here=False))}, ("127.0.0.1", 8000)),
        ({}, {"programs": [program(port=8080)], "fronts": fronts(target("127.0.0.1:8081", 8081))}, ("127.0.0.1", 8080)),
        ({"tethys_port": 9000}, {"programs": [program(port=8080)]}, ("127.0.0.1", 9000)),
        ({"tethys_port": "9000"}, {"programs": [program(port=8080)]}, ("127.0.0.1", 9000)),
        ({"tethys_bind_address": "127.0.0.1"}, {"programs": [program("0.0.0.0", 8080)]}, ("127.0.0.1", 8080)),  # noqa: S104
    ],
    ids=str,
)
def test_the_order(asked: dict[str, Any], server: dict[str, Any], place: tuple[str, int]) -> None:
    found = processes.place({**ASKED, **asked}, server)
    assert (found.address, found.port) == place


def test_the_manuals_portal_on_another_port_stays_there() -> None:
    result = decide(programs=[program(port=8080)], fronts=fronts(target("127.0.0.1:8080", 8080)))
    assert result["refusals"] == []
    assert (result["port"], result["ports"], result["address"], result["reached_at"]) == (
        8080,
        [8080],
        "127.0.0.1",
        "127.0.0.1",
    )
    assert not any("port" in line and "changes" in line for line in result["announce"])


def test_a_port_of_roots_is_followed_from_a_file_of_roots_only() -> None:
    server = {"programs": [program(port=25)], "trust": {"files": 1, "open": [{"path": PATH}]}}
    assert processes.place(ASKED, server).port == 8000
    assert processes.place(ASKED, {"programs": [program(port=25)]}).port == 25
    assert processes.place(ASKED, {**server, "programs": [program(port=8080)]}).port == 8080


@pytest.mark.parametrize(
    ("found", "is_open", "address", "reason"),
    [
        (program("0.0.0.0"), False, "0.0.0.0", ""),  # noqa: S104
        (program("10.1.2.3", address_here=True), False, "10.1.2.3", ""),
        (program("0.0.0.0"), True, "127.0.0.1", "0.0.0.0, and users besides root can change that file"),  # noqa: S104
        (program("*"), True, "127.0.0.1", "*, and users besides root can change that file"),
        (program("10.1.2.3"), True, "127.0.0.1", "10.1.2.3, and users besides root can change that file"),
        (program("127.0.0.5"), True, "127.0.0.5", ""),
        (program("localhost"), True, "127.0.0.1", ""),
        (program(None), True, "127.0.0.1", ""),
        (
            program("192.0.2.7", address_here=False),
            False,
            "127.0.0.1",
            "192.0.2.7, which is not an address of this server",
        ),
    ],
    ids=str,
)
def test_an_address_is_followed_from_a_file_of_roots_only(
    found: dict[str, Any], is_open: bool, address: str, reason: str
) -> None:
    server = {"programs": [found], "trust": {"files": 1, "open": [{"path": PATH}] if is_open else []}}
    assert processes.place(ASKED, server).address == address
    told = "".join(texts(processes.address_warnings(ASKED, server)))
    assert told.startswith(f"{PATH} listens on {reason}: the processes will listen on 127.0.0.1." if reason else "")
    assert bool(told) == bool(reason)
    set_here = {**ASKED, "tethys_bind_address": "10.1.2.3"}
    assert processes.place(set_here, server).address == "10.1.2.3"
    assert list(processes.address_warnings(set_here, server)) == []


def test_where_a_host_name_is_the_address() -> None:
    (told,) = texts(processes.address_warnings(ASKED, {"programs": [program("portal.example.org")]}))
    assert told.startswith(f"{PATH} listens on portal.example.org, and tethys_bind_address takes an IPv4 address")
    assert list(processes.address_warnings(ASKED, {"programs": [program("0.0.0.0")]})) == []  # noqa: S104


def test_a_program_on_an_address_of_ipv6_does_not_stay_there() -> None:
    found = fronts(target("[::1]:8000", 8000))
    server = {"programs": [program("::1")], "fronts": found}
    (told,) = texts(processes.address_warnings(ASKED, server))
    assert told.startswith(f"{PATH} listens on ::1, and tethys_bind_address takes an IPv4 address")
    # Without the web server's change, the run would end its service: that is refused.
    (reason,) = decide(**server)["refusals"]
    assert "listens on IPv4 addresses only. Have nginx send them to 127.0.0.1:8000." in reason
    assert decide(**{**server, "fronts": fronts(target("127.0.0.1:8000", 8000))})["refusals"] == []


def test_a_role_may_follow_too() -> None:
    values = {
        "asgi_service_port": "auto",
        "preflight_port": "auto",
        "layer_check_port": "auto",
        "asgi_service_bind_address": "auto",
    }
    assert wrong_role_values(values, ASKED) == []
    # What is compared is what was set, not what was found.
    (reason,) = texts(wrong_role_values({"asgi_service_port": 8000}, ASKED))
    assert (
        reason
        == "asgi_service_port is 8000, and differs from tethys_port, which the run is checked by: set tethys_port only."
    )
    (reason,) = texts(wrong_role_values({"layer_check_port": "x"}, ASKED))
    assert reason == "layer_check_port is 'x': set it to auto or a whole number (int) from 1 to 65535."


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found", "reason"),
    [
        (
            {},
            fronts(target("unix:/run/tethys/uvicorn.sock", None)),
            "tethys_port is 8000: nginx sends the portal's requests to unix:/run/tethys/uvicorn.sock"
            f" ({SITE}, line 3). Have nginx send them to 127.0.0.1:8000, or set tethys_asgi_layout to"
            " socket_per_process, with which the run writes that upstream block.",
        ),
        (
            {},
            fronts(target("127.0.0.1:8080", 8080), target("127.0.0.1:8081", 8081)),
            f"tethys_port is 8080 (from {SITE}): nginx sends the portal's requests to 127.0.0.1:8081 ({SITE}, line 3)."
            " Have nginx send them to 127.0.0.1:8080, or set tethys_asgi_layout to socket_per_process, with which the"
            " run writes that upstream block.",
        ),
        (
            {},
            fronts(target("10.9.9.9:8000", 8000, here=False)),
            f"tethys_port is 8000: nginx sends the portal's requests to 10.9.9.9:8000 ({SITE}, line 3). Have nginx send"
            " them to 127.0.0.1:8000.",
        ),
        (
            {},
            fronts(target("10.1.2.3:8000", 8000)),
            f"tethys_bind_address is 127.0.0.1: nginx sends the portal's requests to 10.1.2.3:8000 ({SITE}, line 3)."
            " Set it to 10.1.2.3, or have nginx send them to 127.0.0.1:8000.",
        ),
        *(
            (
                {},
                fronts(target(f"[{address}]:8000", 8000)),
                f"tethys_bind_address is 127.0.0.1: nginx sends the portal's requests to [{address}]:8000 ({SITE}, line"
                " 3), and Supervisor listens on IPv4 addresses only. Have nginx send them to 127.0.0.1:8000.",
            )
            for address in ("::1", "::", "2001:db8::7")
        ),
        (
            {"tethys_asgi_layout": "socket_per_process"},
            fronts(target("10.9.9.9:8080", 8080, here=False), server="Apache"),
            f"tethys_port is 8000: Apache sends the portal's requests to 10.9.9.9:8080 ({SITE}, line 3). Have Apache"
            " send them to 127.0.0.1:8000.",
        ),
    ],
    ids=str,
)
def test_a_web_server_that_sends_requests_elsewhere(asked: dict[str, Any], found: dict[str, Any], reason: str) -> None:
    plan = decide(asked, fronts=found)
    # The layout, which needs nginx, is refused besides.
    rows = zip(plan["codes"], plan["refusals"], strict=True)
    (refused,) = [text for row, text in rows if SITE in text and row["code"] != "apache-with-socket-per-process"]
    assert refused.startswith(f"{reason} If a cache or proxy at that address sends them on to 127.0.0.1:80")
    assert refused.endswith(f", set tethys_port to {processes.place({**ASKED, **asked}, {'fronts': found}).port}.")
    assert any(each.startswith(reason) for each in decide(asked, goal="check", fronts=found)["warnings"])
    for goal in ("restart", "remove"):
        assert reason not in str(decide(asked, goal=goal, fronts=found))


@pytest.mark.parametrize(
    ("asked", "programs"),
    [
        ({"tethys_port": 8000}, []),
        ({"tethys_port": 8000}, [program(port=9000)]),
        ({}, [program()]),
        ({}, [program("localhost")]),
        ({}, [program(managed=True)]),
        ({"tethys_asgi_processes": 4}, [program(managed=True)]),
    ],
    ids=str,
)
def test_a_proxy_between_the_web_server_and_the_processes(
    asked: dict[str, Any], programs: list[dict[str, Any]]
) -> None:
    found = fronts(target("127.0.0.1:6081", 6081))
    result = decide(asked, programs=programs, fronts=found)
    assert result["refusals"] == []
    (warning,) = [each for each in result["warnings"] if SITE in each]
    source = "" if asked.get("tethys_port") else f" (from {PATH})"
    assert warning == (
        f"tethys_port is 8000{source}: nginx sends the portal's requests to 127.0.0.1:6081 ({SITE}, line 3). Set"
        " tethys_port to 6081, or have nginx send them to 127.0.0.1:8000. If a cache or proxy at that address sends"
        " them on to 127.0.0.1:8000, nothing has to change."
    )


def test_a_program_that_would_leave_where_the_web_server_sends_requests() -> None:
    found = fronts(target("unix:/run/portal.sock", None))
    (reason,) = decide(programs=[program(None, None)], fronts=found)["refusals"]
    assert reason.startswith("tethys_port is 8000: nginx sends the portal's requests to unix:/run/portal.sock")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, None),
        ({}, fronts(target("127.0.0.1:8000", 8000))),
        ({}, fronts(target("localhost:8000", 8000))),
        ({}, fronts(target("[::ffff:127.0.0.1]:8000", 8000))),
        ({"tethys_bind_address": "0.0.0.0"}, fronts(target("10.1.2.3:8000", 8000))),  # noqa: S104
        ({"tethys_bind_address": "10.1.2.3"}, fronts(target("10.1.2.3:8000", 8000))),
        # A server among several that nginx spreads requests over.
        ({}, fronts(target("10.9.9.9:8000", 8000, here=False), target("127.0.0.1:8000", 8000))),
        # A site known by the portal's files may proxy other things besides.
        ({"tethys_port": 8000}, fronts(target("127.0.0.1:8000", 8000), target("127.0.0.1:3000", 3000), each=False)),
        # What this collection wrote, it also takes back.
        ({}, fronts(target("127.0.0.1:8000", 8000), target("127.0.0.1:8001", 8001), ours=True)),
        ({"tethys_asgi_layout": "socket_per_process", "tethys_port": 9000}, fronts(target("127.0.0.1:8080", 8080))),
    ],
    ids=str,
)
def test_a_web_server_that_sends_requests_here(asked: dict[str, Any], found: dict[str, Any] | None) -> None:
    result = decide(asked, fronts=found)
    assert [each for each in result["refusals"] if SITE in each] == []
    assert "sends requests" not in str(result["warnings"])


def test_a_site_that_nothing_tells_to_be_the_portals() -> None:
    found = {"portal": None, "addresses": ["unix:/run/tethys/uvicorn.sock"]}
    (told,) = [line for line in decide(fronts=found)["warnings"] if "web server" in line]
    assert told.startswith("The web server on this host sends requests to unix:/run/tethys/uvicorn.sock, and none to")
    assert "sends" not in str(decide(fronts={"portal": None, "addresses": ["127.0.0.1:8000"]})["warnings"])


def test_a_site_that_sends_requests_to_several_ports() -> None:
    found = fronts(target("127.0.0.1:8181", 8181), target("127.0.0.1:8000", 8000), each=False)
    result = decide(fronts=found)
    assert (result["refusals"], result["port"]) == ([], 8000)
    (told,) = [line for line in result["warnings"] if SITE in line]
    assert told == (
        f"tethys_port is auto: nginx sends requests of the portal's site to the ports 8000, 8181 ({SITE}, line 3), and"
        " the processes will listen on 8000. Set tethys_port to the portal's port."
    )
    assert SITE not in str(decide({"tethys_port": 8181}, fronts=found)["warnings"])
    assert SITE not in str(decide(programs=[program(port=8181)], fronts=found)["warnings"])
    # None of them is the default.
    found = fronts(target("127.0.0.1:8181", 8181), target("127.0.0.1:8001", 8001), each=False)
    (reason,) = decide(fronts=found)["refusals"]
    assert reason.startswith("tethys_port is 8000: nginx sends the portal's requests to 127.0.0.1:8181")
    assert "Set tethys_port to the portal's port, or have nginx send them to 127.0.0.1:8000." in reason


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tethys_bind_address": "portal"}, "tethys_bind_address is 'portal': Supervisor listens on an IPv4 address."),
        ({"tethys_bind_address": "::1"}, "tethys_bind_address is '::1': Supervisor listens on an IPv4 address."),
        ({"tethys_bind_address": 7}, "tethys_bind_address is 7: Supervisor listens on an IPv4 address."),
        (
            {"tethys_bind_address": "10.1.2.3", "tethys_asgi_layout": "socket_per_process"},
            "tethys_bind_address is 10.1.2.3: with tethys_asgi_layout socket_per_process nginx reaches",
        ),
    ],
)
def test_an_address_that_cannot_be_used(asked: dict[str, Any], words: str) -> None:
    (reason,) = plan({**ASKED, **asked}, {}, {})["refusals"]
    assert reason.startswith(words)


# --- whose program ----------------------------------------------------------------------------------------------------


def test_a_portal_behind_another_name_is_adopted() -> None:
    portal = program(port=8001, groups=["portal"], path="/etc/supervisor/conf.d/portal.conf")
    result = decide(
        programs=[portal],
        processes=[{"name": "portal", "state": "RUNNING", "pid": 7}],
        listeners=[
            {"port": 8001, "address": "loopback", "pid": 7, "user": "root", "command": "daphne", "program": "portal"}
        ],
    )
    assert result["refusals"] == []
    assert (result["program_path"], result["replaced_groups"], result["port"]) == (portal["path"], ["portal"], 8001)
    assert "Supervisor's program portal runs the portal, and becomes asgi." in result["announce"]


@pytest.mark.parametrize(
    ("held", "how"),
    [
        ([8000], "nginx switches to the new processes."),
        (
            [8000, 8001],
            "Supervisor restarts all processes at once, and requests fail until the new ones answer, for at most",
        ),
    ],
)
def test_a_portal_that_holds_every_port_has_to_end_first(held: list[int], how: str) -> None:
    rows = [{"port": port, "pid": port, "user": "www-data", "command": "daphne", "program": "portal"} for port in held]
    result = decide(
        {"tethys_asgi_layout": "socket_per_process"},
        programs=[program(groups=["portal"])],
        processes=[{"pid": pid} for pid in held],
        listeners=[{**row, "address": "loopback"} for row in rows],
        nginx={"servers": [], "problem": None},
    )
    assert how in next(line for line in result["announce"] if "will be replaced with a file" in line)


def test_another_django_site_keeps_its_program_and_its_name() -> None:
    listener = {"port": 8001, "address": "loopback", "pid": 400, "user": "library", "command": "daphne"}
    other = {"path": "/etc/supervisor/conf.d/asgi.conf", "group": "asgi", "home": ""}
    server = {"other_programs": [other], "listeners": [{**listener, "program": "asgi"}]}
    result = decide(**server)
    assert result["refusals"] == []
    assert result["adopted_program"] is None
    assert (result["group"], result["other_groups"]) == ("tethys_asgi", ["asgi"])
    assert result["program_path"] == "/c/asgi_supervisord"
    # On the port that the portal is to have, it is a stranger.
    (reason,) = decide({"tethys_port": 8001}, **server)["refusals"]
    assert reason.startswith("tethys_port is 8001: Supervisor's program asgi (process 400 of library (daphne))")


def test_a_name_is_kept_once_it_is_given() -> None:
    other = {"path": "/o.conf", "group": "asgi", "home": ""}
    ours = program(managed=True, groups=["tethys_asgi"])
    assert decide(programs=[ours], other_programs=[other])["group"] == "tethys_asgi"
    assert decide(programs=[ours])["group"] == "tethys_asgi"
    assert decide(programs=[program(managed=True)])["group"] == "asgi"
    assert decide()["group"] == "asgi"


@pytest.mark.parametrize("goal", ["site", "restart", "remove"])
@pytest.mark.parametrize("managed", [True, False])
def test_a_name_of_ours_that_another_file_has_too(goal: str, managed: bool) -> None:
    other = {"path": "/o.conf", "group": "asgi", "home": ""}
    ours = program(managed=managed, numprocs="2")
    refusals = decide(goal=goal, programs=[ours], other_programs=[other])["refusals"]
    assert [each for each in refusals if "/o.conf" in each] == [
        f"Supervisor's program asgi is defined in /o.conf for something other than the portal and in {PATH}: give the"
        " program in /o.conf another name."
    ]
    assert "/o.conf" not in str(decide(goal="check", programs=[ours], other_programs=[other])["refusals"])


def test_a_name_that_the_layout_needs() -> None:
    others = [{"path": "/o.conf", "group": name, "home": ""} for name in ("asgi", "tethys_asgi1", "tethys_asgi7")]
    assert decide(other_programs=others)["refusals"] == []
    (reason,) = [
        each
        for each in decide({"tethys_asgi_layout": "socket_per_process"}, other_programs=others)["refusals"]
        if "/o.conf" in each
    ]
    assert reason == (
        "Supervisor's program tethys_asgi1 is defined in /o.conf for something other than the portal, and the portal's"
        " program needs that name: give the program in /o.conf another name."
    )
    taken = [{"path": "/o.conf", "group": name, "home": ""} for name in ("asgi", "tethys_asgi")]
    (reason,) = decide(other_programs=taken)["refusals"]
    assert reason.startswith("Supervisor's program tethys_asgi is defined in /o.conf")


def test_a_second_portal_on_the_server_is_refused() -> None:
    other = {"path": PATH, "group": "asgi", "home": "/srv/prod"}
    (reason,) = decide(other_programs=[other])["refusals"]
    assert reason == (
        f"tethys_portal_name is '': Supervisor's program asgi ({PATH}) runs the portal of /srv/prod, and tethys_home is"
        " '/var/lib/tethys'. Set tethys_portal_name to a name for this portal, such as staging; if the portal has"
        " moved, delete that program first."
    )


@pytest.mark.parametrize("goal", ["check", "restart", "remove"])
def test_no_run_uses_what_another_portal_has(goal: str) -> None:
    other = {"path": PATH, "group": "asgi", "home": "/srv/prod"}
    assert any("runs the portal of /srv/prod" in text for text in decide(goal=goal, other_programs=[other])["refusals"])
    # Another user's program that was added later does not change what belongs to this portal.
    ours = program(managed=True, numprocs="2", groups=["tethys_asgi"])
    assert decide(goal=goal, programs=[ours], other_programs=[other], processes=[{"pid": 1}])["refusals"] == []


@pytest.mark.parametrize("goal", ["site", "check", "restart", "remove"])
@pytest.mark.parametrize(
    ("state", "notes"),
    [
        (["credentials.json", "portal_config.original", "portal_config.original.json"], "portal_config.original.json"),
        # What a first run has left that was killed before it changed that file.
        (["credentials.json"], "credentials.json"),
    ],
)
def test_the_state_of_another_portal_is_refused(goal: str, state: list[str], notes: str) -> None:
    server = {"programs": [program(managed=True, numprocs="2")], "processes": [{"pid": 1}], "state": state}
    found = decide(goal=goal, state_of_other="/srv/prod/portal_config.yml", **server)
    assert found["codes"] == [{"code": "state-of-other-portal", "subject": "tethys_portal_name"}]
    assert found["refusals"] == [
        "tethys_portal_name is '': the state in /etc/tethys_channels is that of /srv/prod/portal_config.yml, and"
        " tethys_home is '/var/lib/tethys'. Set tethys_portal_name to a name for this portal, such as staging; if the"
        f" portal has moved, replace that path in /etc/tethys_channels/{notes}."
    ]


# --- what is kept -----------------------------------------------------------------------------------------------------

EDITED = program(
    environment=["AWS_PROFILE", "GDAL_DATA"],
    environment_lost=["N"],
    arguments=["--websocket_timeout", "3600"],
    arguments_lost=["--access-log"],
    settings=["priority=10", "umask=027"],
)
NAMES = {"kept": None, "conda": ["GDAL_DATA", "TOKEN"], "rejected": ["BAD"]}


def test_what_an_adopted_program_has_is_kept_or_named() -> None:
    result = decide(programs=[EDITED], environment=NAMES)
    assert (result["arguments"], result["environment"]) == (["--websocket_timeout", "3600"], True)
    assert result["announce"][1:3] == [
        f"{PATH}: the processes keep address 127.0.0.1:8000; variables AWS_PROFILE, GDAL_DATA, TOKEN; daphne's"
        " --websocket_timeout 3600.",
        f"{PATH}: the processes do not keep variable N, variable BAD, --access-log, priority=10, umask=027. Set"
        " asgi_service_environment or asgi_service_arguments if the portal needs one of them.",
    ]


@pytest.mark.parametrize(
    ("setting", "names", "variables", "lost"),
    [
        ("auto", {}, "AWS_PROFILE, GDAL_DATA, TOKEN", "variable N, variable BAD"),
        ({}, {}, "GDAL_DATA, TOKEN", "variable AWS_PROFILE, variable N, variable BAD"),
        ({"N": "1"}, {}, "GDAL_DATA, N, TOKEN", "variable AWS_PROFILE, variable BAD"),
        # The file of an earlier run, which is used instead of the program's variables.
        ("auto", {"kept": ["OLD"]}, "GDAL_DATA, OLD, TOKEN", "variable AWS_PROFILE, variable N, variable BAD"),
        ("auto", {"kept": []}, "GDAL_DATA, TOKEN", "variable AWS_PROFILE, variable N, variable BAD"),
        ({}, {"conda": []}, None, "variable AWS_PROFILE, variable GDAL_DATA, variable N, variable BAD"),
    ],
    ids=str,
)
def test_the_variables_that_are_kept(setting: Any, names: dict[str, Any], variables: str | None, lost: str) -> None:
    result = decide(programs=[EDITED], environment={**NAMES, **names}, values={"asgi_service_environment": setting})
    keeps, loses = result["announce"][1:3]
    assert keeps.partition("variables ")[2].partition(";")[0] == (variables or "")
    assert loses.startswith(f"{PATH}: the processes do not keep {lost}, --access-log")


@pytest.mark.parametrize(
    ("found", "fix"),
    [
        ({"settings": ["priority=10", "umask=027"]}, ""),
        ({"arguments_lost": ["--access-log"]}, "asgi_service_arguments"),
        (
            {"settings": ["stdout_logfile=/srv/a.log", "stdout_logfile_maxbytes=20MB", "stopwaitsecs=30"]},
            "asgi_service_log_dir or asgi_service_log_max_mb or asgi_service_stop_timeout",
        ),
        (
            {"environment_lost": ["N"], "arguments_lost": ["-e"], "settings": ["stdout_logfile_backups=3"]},
            "asgi_service_environment or asgi_service_arguments or asgi_service_log_backups",
        ),
    ],
    ids=str,
)
def test_what_is_lost_is_named_with_the_variable_for_it(found: dict[str, Any], fix: str) -> None:
    (told,) = [line for line in decide(programs=[program(**found)])["announce"] if "do not keep" in line]
    assert told.partition(" Set ")[2] == (f"{fix} if the portal needs one of them." if fix else "")


@pytest.mark.parametrize(
    ("logs", "is_told"), [("/var/log/tethys", True), ("/var/log/tethys_channels", False), ("/", False), (None, False)]
)
def test_the_folder_of_the_logs_of_an_adopted_program(logs: str | None, is_told: bool) -> None:
    options = {"goal": "site", "asgi_service_log_dir": "/var/log/tethys_channels"}
    found = samples.planned({**ASKED}, samples.options(**options), server=samples.server(programs=[program(logs=logs)]))
    told = [line for line in found["announce"] if "logs go to" in line]
    stay = "logs go to /var/log/tethys_channels (asgi_service_log_dir), and those in /var/log/tethys stay there."
    assert told == ([f"{PATH}: {stay}"] if is_told else [])


def test_a_variable_that_the_command_sets_again() -> None:
    found = program(environment=["FOO"], environment_lost=["DB", "FOO"])
    keeps, loses = decide(programs=[found])["announce"][1:3]
    assert "variables FOO." in keeps
    assert "do not keep variable DB, variable FOO as its command sets it. Set" in loses
    set_here = {"asgi_service_environment": {"FOO": "1", "DB": "x"}}
    assert "do not keep" not in str(decide(programs=[found], values=set_here)["announce"])


def kept(values: dict[str, Any], **server: Any) -> tuple[list[str], bool]:
    found = processes.kept(values, server)
    return found.arguments, found.environment


def test_what_was_kept_stays_and_nothing_starts_by_an_upgrade() -> None:
    ours = program(managed=True, environment=["LANG", "PATH"], arguments=["-v", "2"])
    nothing = {"kept": None, "conda": [], "rejected": []}
    assert kept({}) == ([], False)
    assert kept({}, environment=nothing, programs=[program()]) == ([], False)
    assert kept({}, environment=NAMES) == ([], True)
    assert kept({}, environment=NAMES, programs=[ours]) == (["-v", "2"], False)
    assert kept({}, environment={**NAMES, "kept": []}, programs=[ours]) == (["-v", "2"], True)
    assert kept({"asgi_service_arguments": []}, environment=NAMES, programs=[ours]) == ([], False)
    assert kept({"asgi_service_environment": {}}, environment=nothing, programs=[ours]) == (["-v", "2"], True)
    assert kept({"asgi_service_environment": "auto", "asgi_service_arguments": None}, programs=[ours])[1] is False
    found = processes.kept({}, {"environment": NAMES, "programs": [ours]})
    (told,) = texts(processes.conda_warnings(found, {"environment": NAMES}))
    assert told.startswith("`conda activate` sets GDAL_DATA, TOKEN, which the portal's processes do not get.")
    assert list(processes.conda_warnings(processes.Kept([], True), {"environment": NAMES})) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"asgi_service_arguments": "-v 2"}, "asgi_service_arguments is '-v 2': set it to auto, or to a list"),
        ({"asgi_service_arguments": ["-v", 2]}, "asgi_service_arguments is ['-v', 2]: set it to auto, or to a list"),
        ({"asgi_service_arguments": ["$(id)"]}, "asgi_service_arguments is ['$(id)']: set it to auto, or to a list"),
        ({"asgi_service_environment": "A=s3cret"}, "asgi_service_environment is not shown: set it to auto, or to a"),
        ({"asgi_service_environment": {"A": "s3cret\nB"}}, "asgi_service_environment has 'A': the processes take no"),
        ({"asgi_service_environment": {"TETHYS_HOME": "/x"}}, "asgi_service_environment has 'TETHYS_HOME': the"),
        ({"asgi_service_environment": {"A": 7}}, "asgi_service_environment has 'A': the processes take no"),
    ],
    ids=str,
)
def test_values_that_cannot_be_kept(values: dict[str, Any], words: str) -> None:
    (reason,) = plan(ASKED, {}, {"values": values})["refusals"]
    assert reason.startswith(words)
    assert "s3cret" not in reason


def test_values_that_can() -> None:
    values = {"asgi_service_arguments": ["--root-path", "/hydro"], "asgi_service_environment": {"A": "s3cret ü"}}
    assert plan(ASKED, {}, {"values": values})["refusals"] == []
