# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run: every reason against it in its own words, and none against a server that is as it should be."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import variables as of_variables
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.portal import Portal
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
    Facts,
    Inputs,
    texts,
)
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.samples import plan
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided
from hypothesis import given
from hypothesis import strategies as st

HOME, PREFIX = samples.HOME, samples.PREFIX
ASKED = samples.asked()
OPTIONS = samples.options()
PORTAL: Any = samples.portal()
SERVER: Any = samples.server()
MANUAL: Any = samples.program()
CONTAINER: Any = samples.container()
OURS = {**MANUAL, "user": "www-data", "numprocs": "3", "link": None, "managed": True}
THEIRS: Any = samples.manuals_container()


def merged(base: dict[str, Any], changes: dict[str, Any] | None) -> dict[str, Any]:
    return {**copy.deepcopy(base), **copy.deepcopy(changes or {})}


def judge(
    asked: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    portal: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    **found: Any,
) -> dict[str, Any]:
    """The plan for a healthy server with these differences."""
    parts = {"portal": samples.portal(**(portal or {})), "server": samples.server(**(server or {}))}
    result = samples.planned(samples.asked(**(asked or {})), samples.options(**(options or {})), **found, **parts)
    for sentence in [*result["refusals"], *result["warnings"], *result["announce"]]:
        assert sentence[0].isupper() or sentence.startswith(
            ("tethys_", "redis_", "asgi_", "/", "portal_", "layer_", "channels", "nginx")
        )
        assert sentence.endswith((".", ")")), sentence
        assert "\n" not in sentence
    return result


def refusals(*arguments: Any, **changes: Any) -> list[str]:
    found: list[str] = judge(*arguments, **changes)["refusals"]
    return found


def variables(asked: dict[str, Any] | None = None, **found: Any) -> list[str]:
    """Return the refusals before a server is inspected."""
    reasons: list[str] = decided(plan, merged(ASKED, asked), OPTIONS, found)["refusals"]
    return reasons


def row(pid: int, port: int, command: str = "python3 -m http.server", **more: Any) -> dict[str, Any]:
    return {
        "port": port,
        "address": "loopback",
        "pid": pid,
        "user": "alice",
        "command": command,
        "program": None,
        **more,
    }


# --- a server that is as it should be -------------------------------------------------------------------------------


def test_a_first_run() -> None:
    result = judge()
    assert (result["refusals"], result["warnings"], result["announce"]) == ([], [], [])
    assert {
        name: result[name] for name in ("processes", "user", "redis", "redis_place", "program_path", "managed")
    } == {
        "processes": 3,
        "user": "www-data",
        "redis": "container",
        "redis_place": "127.0.0.1:6379",
        "program_path": "/c/asgi_supervisord",
        "managed": False,
    }
    for name in ("install_engine", "install_docker_library", "install_supervisor", "start_supervisor"):
        assert result[name] is False, name
    assert (result["adopted_container"], result["adopted_program"], result["moves"]) == (None, None, [])


def test_a_later_run() -> None:
    host = {"host": "127.0.0.1", "port": 6379, "socket_timeout": 15, "password": "***"}
    result = judge(
        portal={"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": [host]}},
        server={
            "container": CONTAINER,
            "programs": [OURS],
            "processes": [{"name": f"tethys_asgi{n}", "state": "RUNNING", "pid": 400 + n} for n in range(3)],
            "listeners": [row(1, 6379, "docker-proxy"), row(300, 8000), row(400, 8000), row(401, 8000)],
        },
    )
    assert (result["refusals"], result["warnings"], result["announce"]) == ([], [], [])
    assert (result["managed"], result["adopted_program"]) == (True, None)


def test_a_bare_server() -> None:
    nothing = {"installed": False, "running": False}
    result = judge(server={"docker": nothing, "docker_library": False, "supervisor": {**nothing, "include": []}})
    assert result["refusals"] == []
    for name in ("install_engine", "install_docker_library", "install_supervisor", "start_supervisor"):
        assert result[name] is True, name


def test_the_packages_that_would_move_are_handed_on() -> None:
    moves = [{"name": "redis", "from": None, "to": "7.4.1"}]
    assert judge(packages={"moves": moves})["moves"] == moves


# --- the variables --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"tethys_home": "/a/"}, "tethys_home is '/a/': write it without the slash at its end."),
        ({"tethys_conda_prefix": "/a/"}, "tethys_conda_prefix is '/a/': write it without the slash at its end."),
        ({"tethys_home": ""}, "tethys_home is not set: set it to the folder of portal_config.yml."),
        ({"tethys_home": None}, "tethys_home is not set: set it to the folder of portal_config.yml."),
        (
            {"tethys_home": "tethys"},
            "tethys_home is 'tethys': set it to the folder of portal_config.yml, as an absolute path.",
        ),
        (
            {"tethys_home": ["/a"]},
            "tethys_home is ['/a']: set it to the folder of portal_config.yml, as an absolute path.",
        ),
        (
            {"tethys_home": '/a"b'},
            "tethys_home is '/a\"b', which has a character that Supervisor or a shell would read: use a plain path.",
        ),
        ({"tethys_conda_prefix": ""}, "tethys_conda_prefix is not set: set it to the Tethys conda environment."),
        (
            {"tethys_conda_prefix": "/opt/my envs/tethys"},
            "tethys_conda_prefix is '/opt/my envs/tethys', which has a character that Supervisor or a shell would read:"
            " use a plain path.",
        ),
        ({"tethys_port": 70000}, "tethys_port is 70000: set it to a port number from 1 to 65535."),
        ({"tethys_port": 0}, "tethys_port is 0: set it to a port number from 1 to 65535."),
        ({"tethys_port": True}, "tethys_port is True: set it to a port number from 1 to 65535."),
        ({"tethys_user": "no body"}, "tethys_user is 'no body': set it to the name of a user on the server."),
        ({"tethys_user": 33}, "tethys_user is 33: set it to the name of a user on the server."),
        ({"tethys_user": "a@b@c"}, "tethys_user is 'a@b@c': set it to the name of a user on the server."),
        (
            {"tethys_bokeh": "in_us"},
            "tethys_bokeh is 'in_us' (did you mean 'in_use'?): set it to one of auto, in_use, not_in_use.",
        ),
        ({"tethys_bokeh_policy": "x"}, "tethys_bokeh_policy is 'x': set it to one of single, pin."),
        (
            {"tethys_asgi_layout": "shared"},
            "tethys_asgi_layout is 'shared' (did you mean 'shared_socket'?): set it to one of shared_socket,"
            " socket_per_process.",
        ),
        (
            {"tethys_asgi_layout": "socket_per_process", "tethys_port": 65534},
            "tethys_port is 65534, and 3 ports from there do not exist: set a lower one.",
        ),
        (
            {"tethys_asgi_processes": "three"},
            "tethys_asgi_processes is 'three': set it to a whole number of at least 1, written in digits.",
        ),
        (
            {"tethys_layer_backend": MEMORY_BACKEND},
            f"tethys_asgi_processes is 3 with tethys_layer_backend {MEMORY_BACKEND}, where only the sender's own"
            " process receives a message: set tethys_asgi_processes to 1, or tethys_layer_backend to"
            f" {PUBSUB_BACKEND}.",
        ),
        (
            {"tethys_layer_backend": MEMORY_BACKEND, "tethys_asgi_processes": 1, "tethys_layer_hosts": [["a", 1]]},
            f"tethys_layer_hosts is given with tethys_layer_backend {MEMORY_BACKEND}, which uses no Redis: remove one"
            " of the two.",
        ),
        (
            {"tethys_layer_hosts": [["a", "b"]]},
            "tethys_layer_hosts entry 1 has the port 'b': write a number from 1 to 65535.",
        ),
    ],
)
def test_a_variable_is_refused(asked: dict[str, Any], sentence: str) -> None:
    assert variables(asked) == [sentence]
    assert sentence in refusals(asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"tethys_port": "8080"},
        {"tethys_asgi_processes": "2"},
        {"tethys_user": "svc.tethys-1$"},
        {"tethys_user": "svc-tethys@corp.example.org"},
        {"tethys_user": None},
        {"tethys_layer_hosts": None},
        {"tethys_layer_hosts": ["redis://redis:6379/1"]},
        {"tethys_home": "/srv/the portal"},
        {"tethys_home": "/srv/é"},
        {"tethys_layer_backend": PUBSUB_BACKEND},
        {"tethys_asgi_layout": "socket_per_process", "tethys_port": 65533},
        {"tethys_asgi_layout": "socket_per_process", "tethys_bokeh_policy": "pin"},
    ],
)
def test_a_variable_is_taken(asked: dict[str, Any]) -> None:
    assert variables(asked) == []


def test_every_reason_is_told_at_once() -> None:
    found = variables(
        {"tethys_home": "", "tethys_port": 0, "tethys_bokeh": "x", "tethys_asgi_processes": 0},
        names=["tethys_hme"],
        values={"redis_container_port": "banana"},
    )
    for word in ("tethys_home", "tethys_port", "tethys_bokeh", "tethys_asgi_processes", "tethys_hme", "banana"):
        assert [reason for reason in found if word in reason], word


ANYTHING: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["auto", "/a", "3"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries({name: st.just(value) | ANYTHING for name, value in ASKED.items()}))
def test_anything_is_judged_in_sentences(asked: dict[str, Any]) -> None:
    for sentence in decided(plan, asked, OPTIONS, {})["refusals"]:
        assert sentence.endswith((".", ")"))
        assert [name for name in ASKED if name in sentence], sentence
    decided(plan, asked, OPTIONS, {"server": SERVER, "portal": PORTAL})


# --- the names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("tethys_asgi_proceses", "tethys_asgi_processes"),
        ("tethys_layer_host", "tethys_layer_hosts"),
        ("redis_container_imgae", "redis_container_image"),
        ("asgi_service_log_maxmb", "asgi_service_log_max_mb"),
    ],
)
def test_a_misspelt_name(name: str, right: str) -> None:
    assert variables(names=["ansible_host", name]) == [
        f"{name} is not a variable of tethys.channels (did you mean '{right}'?): correct its name, or, if it is your"
        " own, list it in preflight_known_variables."
    ]


def test_a_name_like_none_of_ours() -> None:
    (reason,) = variables(names=["tethys_xyzzy_42"])
    assert reason.startswith("tethys_xyzzy_42 is not a variable of tethys.channels: correct its name")


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (list(ASKED), []),
        (["tethys_hosts", "redis_container_image", "preflight_goal", "channels_redis_index_url"], []),
        (["tethys_zzz"], ["tethys_zzz"]),
        (["tethys_zzz", "tethys_yyy"], "tethys_zzz, tethys_yyy"),
        (["layer_check_of_my_own_with_a_long_name"], []),
        (["other", "tethysapp_name"], []),
    ],
)
def test_names_that_are_right(names: list[str], known: Any) -> None:
    assert variables(names=names, known=known) == []


@pytest.mark.parametrize("known", [None, 7, {"a": 1}, [["a"]]])
def test_known_names_that_are_no_list_of_names(known: Any) -> None:
    assert len(variables(names=["tethys_zzz"], known=known)) == 1


# --- the roles' own variables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("redis_container_port", "banana", "is 'banana': set it to a whole number (int) from 1 to 65535."),
        ("redis_container_port", 0, "is 0: set it to a whole number (int) from 1 to 65535."),
        ("redis_container_port", 65536, "is 65536: set it to a whole number (int) from 1 to 65535."),
        ("redis_container_port", True, "is True: set it to a whole number (int) from 1 to 65535."),
        ("redis_container_port", "", "is '': set it to a whole number (int) from 1 to 65535."),
        ("redis_container_port", [], "is []: set it to a whole number (int) from 1 to 65535."),
        ("redis_container_port", None, "is None: set it to a whole number (int) from 1 to 65535."),
        ("redis_container_tls_renew_days", 366, "is 366: set it to a whole number (int) from 0 to 365."),
        ("redis_container_tls_renew_days", -1, "is -1: set it to a whole number (int) from 0 to 365."),
        ("redis_container_memory_mb", 8, "is 8: set it to a whole number (int) of at least 16."),
        ("redis_container_uid", 0, "is 0: set it to a whole number (int) of at least 1."),
        ("redis_container_acl", "perhaps", "is 'perhaps': set it to auto or a value of type bool."),
        ("layer_check_idle_seconds", -1, "is -1: set it to auto or a whole number (int) of at least 0."),
        ("asgi_service_processes", "four", "is 'four': set it to a whole number (int) of at least 1."),
        ("asgi_service_log_dir", "logs", "is 'logs': set it to a folder on the server, as an absolute path."),
        (
            "asgi_service_log_dir",
            "/var/log/",
            "is '/var/log/', which other programs use: set it to a separate folder, such as /var/log/tethys.",
        ),
        (
            "asgi_service_run_dir",
            "/run",
            "is '/run', which other programs use: set it to a separate folder, such as /run/tethys.",
        ),
        (
            "asgi_service_run_dir",
            "/run/" + "p" * 85,
            f"is '/run/{'p' * 51}...: the path of a socket in it, tethys_asgi2.sock, has 108 bytes,"
            " and Linux allows 107. Set it to a folder with a shorter path.",
        ),
        ("portal_config_backup", "perhaps", "is 'perhaps': set it to a value of type bool."),
        ("channels_redis_requirements", {"a": 1}, "is {'a': 1}: set it to a value of type list."),
        ("preflight_goal", "destroy", "is 'destroy': set it to one of site, check, restart, remove, look."),
    ],
)
def test_a_roles_value_is_refused(name: str, value: Any, sentence: str) -> None:
    assert variables(values={name: value}) == [f"{name} {sentence}"]


def test_a_secret_of_another_type_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"redis_container_password": {"type": "int", "no_log": True}}
    monkeypatch.setattr(of_variables, "role_options", lambda: options)
    found = texts(of_variables.wrong_role_values({"redis_container_password": "s3cret"}, ASKED))
    assert found == ["redis_container_password is not shown: set it to a whole number (int) of at least 1."]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis_container_port", "6380"),
        ("redis_container_acl", "auto"),
        ("redis_container_acl", False),
        ("redis_container_acl", "no"),
        ("redis_container_password", "it's"),
        ("redis_container_password", None),
        ("layer_check_idle_seconds", "auto"),
        ("layer_check_idle_seconds", 0),
        ("layer_check_processes", 0),
        ("asgi_service_log_backups", "0"),
        ("asgi_service_home", None),
        ("asgi_service_log_dir", "/srv/logs/tethys"),
        ("asgi_service_run_dir", "/run/portal"),
        ("asgi_service_run_dir", "/run/" + "p" * 84),
        ("portal_config_layer_hosts", []),
        ("asgi_service_processes", str(ASKED["tethys_asgi_processes"])),
        ("layer_check_processes", 7),
        ("portal_config_layer_options", {}),
        ("portal_config_layer_options", None),
        ("portal_config_layer_options", {"capacity": 500, "prefix": "mine"}),
        ("channels_redis_requirements", "redis<8"),
        ("unknown", object()),
    ],
)
def test_a_roles_value_is_taken(name: str, value: Any) -> None:
    assert variables(values={name: value}) == []


def test_a_value_that_came_from_a_tethys_variable_is_told_once() -> None:
    values = {"asgi_service_processes": "three", "layer_check_processes": "three", "redis_container_port": "three"}
    found = variables({"tethys_asgi_processes": "three"}, values=values)
    assert [reason.split()[0] for reason in found] == ["redis_container_port", "tethys_asgi_processes"]


@pytest.mark.parametrize(
    ("name", "value", "seen", "source"),
    [
        ("asgi_service_processes", 9, "is 9, and differs", "tethys_asgi_processes"),
        ("asgi_service_port", 9000, "is 9000, and differs", "tethys_port"),
        ("portal_config_home", "/srv/other", "is '/srv/other', and differs", "tethys_home"),
        ("portal_config_layer_hosts", ["redis://:s3cret@elsewhere"], "differs", "tethys_layer_hosts"),
    ],
)
def test_a_role_goes_by_no_other_value_than_the_one_that_was_judged(
    name: str, value: Any, seen: str, source: str
) -> None:
    found = variables(values={name: value})
    assert found == [f"{name} {seen} from {source}, which the run is checked by: set {source} only."]


@pytest.mark.parametrize(
    ("value", "asked", "words"),
    [
        ({"capcity": 1}, {}, "option 'capcity' (did you mean 'capacity'?)"),
        ({"capacity": "many"}, {}, "option capacity is 'many'"),
        ({"expiry": 30}, {"tethys_layer_backend": PUBSUB_BACKEND}, "is not an option of channels_redis.pubsub"),
        ("capacity: 1", {}, "options are not a mapping"),
        ({"prefix": "a b"}, {}, "has the prefix 'a b'"),
    ],
)
def test_the_layers_options_are_refused_before_a_server_is_touched(
    value: Any, asked: dict[str, Any], words: str
) -> None:
    (reason,) = variables(asked, values={"portal_config_layer_options": value})
    assert reason.startswith("portal_config_layer_options")
    assert words in reason


def test_a_redis_of_ones_own_may_have_any_prefix() -> None:
    options = {"portal_config_layer_options": {"prefix": "a b"}}
    assert variables({"tethys_layer_hosts": [["redis", 6379]]}, values=options) == []


@given(st.fixed_dictionaries({name: ANYTHING for name in sorted(of_variables.role_options())}))
def test_any_value_of_a_role_is_judged_in_sentences(values: dict[str, Any]) -> None:
    for sentence in decided(plan, ASKED, OPTIONS, {"values": values})["refusals"]:
        assert sentence.endswith((".", ")"))


def test_the_roles_own_defaults_are_taken() -> None:
    values = {name: option["default"] for name, option in of_variables.role_options().items() if "default" in option}
    assert variables(values=values) == []


# --- the portal -----------------------------------------------------------------------------------------------------


def test_without_root_nothing_else_is_said() -> None:
    assert refusals(portal={"prefix_problem": "No."}, server={"root": False}) == [
        "The tasks do not run as root: set ansible_become to true, or ansible_user to root, for this host."
    ]


@pytest.mark.parametrize(
    ("portal", "asked", "sentence"),
    [
        (
            {"prefix_problem": "/opt/x/bin/python does not exist"},
            {},
            f"tethys_conda_prefix is '{PREFIX}': /opt/x/bin/python does not exist. Set it to the environment in which"
            " `tethys` is installed (`conda env list` shows it).",
        ),
        (
            {"versions": {"tethys_platform": None}},
            {},
            f"tethys_conda_prefix is '{PREFIX}', and tethys-platform is not installed there: set it to the environment"
            " in which `tethys` is installed (`conda env list` shows it).",
        ),
        (
            {"home_problem": "It does not exist."},
            {},
            f"tethys_home is '{HOME}': It does not exist. Set it to the folder of portal_config.yml.",
        ),
        (
            {"user_problem": "There is no such user."},
            {"tethys_user": "nobody2"},
            "tethys_user is 'nobody2': There is no such user. Set it to a user of this server.",
        ),
        (
            {"user": None, "user_problem": "None was found."},
            {},
            "tethys_user is not set and no web server's user (nginx, www-data, apache) was found on this server: set it"
            " to the user that is to run the portal.",
        ),
        (
            {"config": {"path": "/p.yml", "exists": True, "problem": "Line 3 is no YAML"}},
            {},
            "/p.yml cannot be edited safely: Line 3 is no YAML. Correct the file and run again.",
        ),
    ],
)
def test_a_portal_is_refused(portal: dict[str, Any], asked: dict[str, Any], sentence: str) -> None:
    assert refusals(asked, portal=portal) == [sentence]


@pytest.mark.parametrize(
    ("portal", "problem"),
    [
        ({"start_problem": "Tethys cannot be started: ImportError: x."}, "Tethys cannot be started: ImportError: x"),
        (
            {"settings": None, "settings_problem": "Django's settings cannot be loaded."},
            "Django's settings cannot be loaded",
        ),
    ],
)
def test_a_portal_that_does_not_start_is_refused(portal: dict[str, Any], problem: str) -> None:
    sentence = (
        f"tethys_home is '{HOME}': the portal does not start. {problem}. Correct that until"
        f" `sudo -u www-data env TETHYS_HOME={HOME} {PREFIX}/bin/tethys list` works, or set preflight_timeout to more"
        " seconds if the portal needs them."
    )
    assert refusals(portal=portal) == [sentence]
    assert sentence in judge(options={"goal": "restart"}, portal=portal)["refusals"]
    for goal in ("check", "remove"):
        assert sentence not in judge(options={"goal": goal}, portal=portal)["refusals"]
    # Why the environment cannot be inspected is reported once.
    assert sentence not in refusals(portal={**portal, "prefix_problem": "There is none."})


@pytest.mark.parametrize(
    ("server", "command", "variables"),
    [
        ({"environment": {"kept": ["DB"], "conda": ["PROJ"], "rejected": []}}, True, ""),
        (
            {"environment": {"kept": None, "conda": ["PROJ"], "rejected": []}},
            False,
            f" with the variables DB, GDAL ({samples.program()['path']}) and PROJ (by conda)",
        ),
        (
            {"environment": {"kept": None, "conda": [], "rejected": []}},
            False,
            f" with the variables DB, GDAL ({samples.program()['path']})",
        ),
        ({"environment": {"kept": None, "conda": [], "rejected": []}, "programs": []}, False, ""),
    ],
)
def test_the_command_to_start_a_portal_has_the_variables_of_its_processes(
    server: dict[str, Any], command: bool, variables: str
) -> None:
    programs = [samples.program(environment=["DB", "GDAL"], user="www-data")]
    facts = Facts(samples.portal(start_problem="KeyError: 'DB'"), samples.server(**{"programs": programs, **server}))
    found = Portal(Inputs(samples.asked(), samples.options(), {}), facts)
    found.portal_reasons()
    [problem] = found.problems
    start = f"env TETHYS_HOME={HOME} {PREFIX}/bin/tethys list"
    with_file = f"sudo -u www-data sh -c '. /etc/tethys_channels.env; exec {start}'"
    assert f"`{with_file if command else f'sudo -u www-data {start}'}` works{variables}, or set" in problem.text


@pytest.mark.parametrize(
    ("program", "values", "warns"),
    [
        ({"environment": ["DB"]}, {}, False),
        ({"environment": ["DB"], "path": "/open.conf"}, {}, True),
        ({"environment": ["DB"], "user": "somebody"}, {}, True),
        ({"environment": ["DB"], "managed": True, "path": "/open.conf"}, {}, False),
        ({"environment": [], "path": "/open.conf"}, {}, False),
        ({"environment": []}, {"asgi_service_environment": {"DB": "x"}}, True),
        ({"environment": []}, {"asgi_service_environment": "auto"}, False),
    ],
    ids=str,
)
def test_a_start_without_the_variables_of_the_processes_is_a_warning(
    program: dict[str, Any], values: dict[str, Any], warns: bool
) -> None:
    """The check gets no variables of files that others can change, and none of the inventory."""
    facts = Facts(
        samples.portal(start_problem="KeyError: 'DB'"),
        samples.server(
            programs=[samples.program(**{"user": "www-data", **program})], trust={"open": [{"path": "/open.conf"}]}
        ),
    )
    found = Portal(Inputs(samples.asked(), samples.options(), values), facts)
    found.portal_reasons()
    assert [problem.code for problem in found.warnings] == (["portal-start-unknown"] if warns else [])
    assert [problem.code for problem in found.problems] == ([] if warns else ["portal-does-not-start"])


@pytest.mark.parametrize(("goal", "refuses"), [("site", True), ("restart", True), ("check", False), ("remove", False)])
def test_a_file_of_variables_that_cannot_be_read_is_refused(goal: str, refuses: bool) -> None:
    problem = "/etc/tethys_channels.env is larger than 131072 bytes. Correct it."
    names: Any = {"kept": [], "conda": [], "rejected": [], "problem": problem}
    facts = Facts(samples.portal(), samples.server(environment=names))
    for values, shown in (({}, True), ({"asgi_service_environment": {"A": "x"}}, False)):
        found = Portal(Inputs(samples.asked(), samples.options(goal=goal), values), facts)
        found.portal_reasons()
        assert texts(found.problems) == ([problem] if refuses and shown else [])
        assert texts(found.warnings) == ([problem] if not refuses and shown else [])


@pytest.mark.parametrize(
    ("values", "goal", "changed"),
    [
        ({}, "site", "'GDAL', 'TOKEN'"),
        ({"asgi_service_environment": {"A": "x", "TOKEN": "y"}}, "site", "'GDAL', 'TOKEN'"),
        ({"asgi_service_environment": {"A": "x", "GDAL": "y", "B": "z"}}, "site", "'B', 'GDAL', 'TOKEN'"),
        ({}, "check", None),
    ],
)
def test_restarts_for_new_variables_are_announced(values: dict[str, Any], goal: str, changed: str | None) -> None:
    names: Any = {"kept": ["A"], "conda": ["GDAL", "TOKEN"], "rejected": [], "changed": ["GDAL", "TOKEN"]}
    facts = Facts(samples.portal(), samples.server(environment=names))
    found = Portal(Inputs(samples.asked(), samples.options(goal=goal), values), facts)
    found.portal_reasons()
    line = f"/etc/tethys_channels.env changes ({changed}): the processes restart one at a time."
    assert found.announce == ([line] if changed else [])


@pytest.mark.parametrize(
    ("config", "options", "words"),
    [
        ({"hosts": [["127.0.0.1", 6379]]}, {}, ""),
        ({"hosts": [], "capacity": 500}, {"capacity": 500}, ""),
        ({"hosts": [], "capacity": 500, "expiry": 90}, {"expiry": 90}, "capacity 500 is removed. "),
        ({"capacity": 5, "prefix": "x"}, {"capacity": 2}, "capacity 5 becomes 2, prefix 'x' is removed. "),
        ({"symmetric_encryption_keys": ["s3cret"]}, {}, "symmetric_encryption_keys is removed. "),
        ({"symmetric_encryption_keys": ["********"]}, {"symmetric_encryption_keys": ["n3w"]}, ""),
        ({"capacity": 200}, {"capacity": "200"}, ""),
        # As the run writes it.
        ({"channel_capacity": {"http.request": 200}}, {"channel_capacity": {"http.request": "200"}}, ""),
        (
            {"channel_capacity": {"http.request": 200}},
            {"channel_capacity": {"http.request": "300"}},
            "channel_capacity {'http.request': 200} becomes {'http.request': 300}. ",
        ),
        # What is refused is shown as it is given.
        ({"capacity": 200}, {"capacity": "many"}, "capacity 200 becomes 'many'. "),
    ],
    ids=str,
)
def test_options_of_the_layer_that_are_lost_are_named(
    config: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    settings = {"channel_layers": {"default": {"BACKEND": samples.MEMORY_BACKEND, "CONFIG": config}}}
    found = judge(portal={"settings": settings}, values={"portal_config_layer_options": options})
    told = [line for line in found["announce"] if "portal_config_layer_options" in line]
    assert len(told) == bool(words)
    assert words in "".join(told)
    assert "s3cret" not in str(told)
    assert "n3w" not in str(told)
    for goal in ("check", "restart", "remove"):
        assert "layer_options" not in str(judge(options={"goal": goal}, portal={"settings": settings})["announce"])


@pytest.mark.parametrize(
    ("database", "limit", "processes", "words"),
    [
        ({"keeps_connections": False, "pool": None}, None, 30, []),
        ({"keeps_connections": True, "pool": None}, None, 3, ["CONN_MAX_AGE of the database is not 0"]),
        (
            {"keeps_connections": True, "pool": None},
            97,
            3,
            [
                "CONN_MAX_AGE of the database is not 0: an ASGI process runs each request in a new thread, and leaves"
                " the thread's connection open without using it again, and the database accepts 97 connections."
            ],
        ),
        ({"keeps_connections": True, "pool": None, "engine": "django.db.backends.sqlite3"}, None, 3, []),
        ({"keeps_connections": False, "pool": 20}, 97, 4, []),
        ({"keeps_connections": False, "pool": 20}, None, 5, []),
        (
            {"keeps_connections": False, "pool": 20},
            97,
            5,
            [
                "tethys_asgi_processes is 5: with a pool of 20 connections in each process, the portal may open 100"
                " connections, and its database accepts 97."
            ],
        ),
    ],
)
@pytest.mark.parametrize("goal", ["site", "check"])
def test_connections_of_the_database(
    goal: str, database: dict[str, Any], limit: int | None, processes: int, words: list[str]
) -> None:
    whole = {"engine": "django.db.backends.postgresql", "name": "tethys", "host": None, **database}
    portal = {"settings": {"database": whole}, "connection_limit": limit}
    found = judge({"tethys_asgi_processes": processes}, {"goal": goal}, portal=portal)
    told = [line for line in found["warnings"] if "onnection" in line]
    assert [line.startswith(word) for line, word in zip(told, words, strict=True)] == [True] * len(words), told


def test_settings_that_could_not_be_read_are_a_warning() -> None:
    result = judge(portal={"settings_problem": "KeyError: 'X'"})
    assert result["refusals"] == []
    assert "The portal's settings could not be read: KeyError: 'X'." in result["warnings"]


def blocked(path: str, need: str, by: str | None = None, owner: str | None = None) -> dict[str, Any]:
    return {"path": path, "need": need, "ok": False, "blocked_by": by, "owner": owner}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            [blocked(HOME, "traverse")],
            [
                f"tethys_user www-data (who would run the portal) cannot enter {HOME}:",
                f"setfacl -m u:www-data:x {HOME}",
            ],
        ),
        ([blocked(f"{HOME}/f", "read")], [f"cannot read {HOME}/f:", f"setfacl -m u:www-data:r {HOME}/f"]),
        ([blocked(f"{HOME}/f", "execute")], [f"cannot run {HOME}/f:", f"setfacl -m u:www-data:rx {HOME}/f"]),
        (
            [blocked(f"{HOME}/f", "write")],
            [f"cannot write to {HOME}/f:", f"u:www-data:rwX {HOME}/f", f"chown -h www-data {HOME}/f"],
        ),
        (
            [blocked("/home/alice/t", "traverse", "/home/alice", "alice")],
            [
                "cannot enter /home/alice, and has to reach /home/alice/t:",
                "give it access to /home/alice yourself if that is only the portal's, or",
                "set tethys_user to alice",
            ],
        ),
        (
            [blocked(f"/home/alice/{name}", "read", "/home/alice", "alice") for name in "abcd"],
            ["has to reach /home/alice/a and /home/alice/b and 2 more:"],
        ),
    ],
)
def test_what_the_user_cannot_reach(rows: list[dict[str, Any]], words: list[str]) -> None:
    (reason,) = refusals(portal={"access": rows})
    for word in words:
        assert word in reason
    assert "set tethys_user to root" not in reason


def test_a_tethys_that_cannot_prove() -> None:
    result = judge(portal={"lifecycle_consumer": False, "versions": {"tethys_platform": "4.3.8"}})
    assert result["refusals"] == []
    assert result["warnings"] == [
        "Tethys 4.3.8 has no consumer to verify delivery through (Tethys 4.4 has one): the layer is provisioned, and"
        " the run cannot verify that messages arrive."
    ]
    assert judge(portal={"lifecycle_consumer": None})["warnings"] == []


# --- Bokeh ----------------------------------------------------------------------------------------------------------

HANDLERS = [{"app": "plot", "name": "home", "url": "/apps/plot/"}]


@pytest.mark.parametrize(
    ("asked", "portal", "words"),
    [
        ({}, {"bokeh": HANDLERS}, ["plot: home at /apps/plot/", "tethys_asgi_layout to socket_per_process"]),
        ({}, {"bokeh": "unknown", "bokeh_problem": "No tables"}, ["(Why it is not known: No tables.)", "not_in_use"]),
        (
            {},
            {"bokeh": HANDLERS, "bokeh_problem": "There may be more Bokeh handlers than those listed: No tables."},
            ["plot: home at /apps/plot/", "(There may be more Bokeh handlers than those listed: No tables.)"],
        ),
        ({"tethys_bokeh": "in_use"}, {"bokeh": []}, ["Bokeh is in use (tethys_bokeh: in_use)"]),
    ],
)
def test_bokeh_with_several_processes(asked: dict[str, Any], portal: dict[str, Any], words: list[str]) -> None:
    (reason,) = refusals(asked, portal=portal)
    for word in ["tethys_asgi_processes is 3", "set tethys_asgi_processes to 1", *words]:
        assert word in reason
    assert judge(asked, portal=portal)["processes"] is None
    assert judge({**asked, "tethys_asgi_processes": 1}, portal=portal)["processes"] == 1


def test_bokeh_that_is_said_not_to_be_in_use() -> None:
    assert judge({"tethys_bokeh": "not_in_use"}, portal={"bokeh": HANDLERS})["processes"] == 3


def test_where_nobody_could_look_bokeh_is_no_second_reason() -> None:
    portal = {"home_problem": "It does not exist.", "bokeh": "unknown", "bokeh_problem": "x"}
    assert len(refusals(portal=portal)) == 1


# --- a port for each process ----------------------------------------------------------------------------------------

APART = {"tethys_asgi_layout": "socket_per_process"}
PIN = {**APART, "tethys_bokeh_policy": "pin"}
NGINX: dict[str, Any] = {"problem": None, "path": "/etc/nginx/site", "method": None, "websocket_problem": None}
PROCESSES = [{"name": f"tethys_asgi{number}", "state": "RUNNING", "pid": 301 + number} for number in range(3)]


def test_where_to_look_is_known_before_anything_was_seen() -> None:
    assert decided(plan, merged(ASKED, None), OPTIONS, {})["ports"] == [8000]
    assert decided(plan, merged(ASKED, APART), OPTIONS, {})["ports"] == [8000, 8001, 8002]
    assert decided(plan, merged(ASKED, {**APART, "tethys_asgi_processes": 10**9}), OPTIONS, {})["refusals"]


def test_bokeh_scales_with_pin() -> None:
    result = judge(PIN, portal={"bokeh": HANDLERS}, server={"nginx": NGINX})
    assert (result["refusals"], result["processes"], result["ports"]) == ([], 3, [8000, 8001, 8002])
    assert result["pins"] == [r"/(?:autoload\.js|ws)$", "^/apps/plot/?$"]
    assert judge(APART, server={"nginx": NGINX})["pins"] == []
    (reason,) = refusals(APART, portal={"bokeh": HANDLERS}, server={"nginx": NGINX})
    assert "tethys_bokeh_policy to pin together with" in reason


@pytest.mark.parametrize(
    ("value", "asked", "bokeh", "watch"),
    [
        (None, {}, [], True),
        ("auto", {}, [], True),
        # A callback of Bokeh may compute in the event loop for longer than the watch waits.
        ("auto", {}, HANDLERS, False),
        ("auto", {"tethys_bokeh": "in_use"}, [], False),
        ("auto", {"tethys_bokeh": "not_in_use"}, HANDLERS, True),
        (True, {}, HANDLERS, True),
        ("yes", {}, HANDLERS, True),
        (False, {}, [], False),
        ("no", {}, [], False),
    ],
)
def test_processes_are_watched_unless_bokeh_may_hold_them(
    value: Any, asked: dict[str, Any], bokeh: Any, watch: bool
) -> None:
    values = {} if value is None else {"asgi_service_watch": value}
    result = judge({"tethys_asgi_processes": 1, **asked}, portal={"bokeh": bokeh}, values=values)
    assert (result["refusals"], result["watch"]) == ([], watch)


@pytest.mark.parametrize("runs", [True, False, None])
def test_a_portal_of_which_bokeh_is_unknown_keeps_the_watch_that_it_has(runs: bool | None) -> None:
    result = judge({"tethys_asgi_processes": 1}, portal={"bokeh": "unknown"}, server={"watch": runs})
    assert result["watch"] is (runs is not None)


def test_without_systemd_there_is_no_watch_and_whoever_demands_one_is_refused() -> None:
    assert not judge(server={"systemd": False})["watch"]
    assert refusals(values={"asgi_service_watch": False}, server={"systemd": False}) == []
    [reason] = refusals(values={"asgi_service_watch": True}, server={"systemd": False})
    assert reason == ("asgi_service_watch is True: systemd does not run on this server. Set it to auto or false.")
    # One that a run added before is no reason to refuse.
    unknown = judge(
        {"tethys_asgi_processes": 1}, portal={"bokeh": "unknown"}, server={"systemd": False, "watch": False}
    )
    assert (unknown["refusals"], unknown["watch"]) == ([], False)


@pytest.mark.parametrize(
    ("value", "there", "line"),
    [
        (
            "auto",
            None,
            "The service tethys_channels_watch is added (asgi_service_watch). It kills an ASGI process that",
        ),
        (
            False,
            True,
            "The service tethys_channels_watch is removed (asgi_service_watch): an ASGI process that hangs is",
        ),
        ("auto", True, ""),
        ("auto", False, ""),
        (False, None, ""),
    ],
)
def test_a_watch_that_is_added_or_removed_is_announced(value: Any, there: bool | None, line: str) -> None:
    found = judge(values={"asgi_service_watch": value}, server={"watch": there})["announce"]
    assert [text for text in found if "watch" in text and text.startswith(line or "-")] == [
        text for text in found if "watch" in text
    ]
    assert bool(line) is any("watch" in text for text in found)


def test_the_watch_is_a_boolean_or_auto() -> None:
    [reason] = refusals(values={"asgi_service_watch": "always"})
    assert reason.startswith("asgi_service_watch is 'always'"), reason


@pytest.mark.parametrize("goal", ["site", "check", "restart"])
def test_nginx_that_cannot_tell_them_apart(goal: str) -> None:
    server = {"nginx": {"problem": "nginx is not installed: set tethys_asgi_layout to shared_socket"}}
    server["programs"] = [{**OURS, "layout": "socket_per_process"}]  # type: ignore[assignment]
    assert refusals(APART, options={"goal": goal}, server=server) == [
        "tethys_asgi_layout is socket_per_process, which needs nginx's upstream block for the portal: nginx is not"
        " installed: set tethys_asgi_layout to shared_socket."
    ]
    assert refusals(APART, options={"goal": "remove"}, server=server) == []


@pytest.mark.parametrize(("goal", "layout"), [("site", "shared_socket"), ("remove", "socket_per_process")])
def test_nginx_from_which_the_block_cannot_be_taken(goal: str, layout: str) -> None:
    asked, options = {"tethys_asgi_layout": layout}, {"goal": goal}
    nginx = {"problem": "/etc/nginx/site does not include it", "running": True}
    assert refusals(asked, options=options, server={"nginx": nginx}) == [
        "nginx's upstream block is to be put back as it was: /etc/nginx/site does not include it."
    ]
    assert refusals(asked, options=options, server={"nginx": {**nginx, "running": False}}) == []
    assert refusals(asked, options=options, server={"nginx": {**nginx, "problem": None}}) == []


@pytest.mark.parametrize("goal", ["check", "restart"])
def test_what_leaves_nginx_alone_asks_nothing_of_it(goal: str) -> None:
    server = {"nginx": {"problem": "It cannot be read", "running": True}, "programs": [OURS]}
    assert refusals(options={"goal": goal}, server=server) == []


def test_a_balancing_method_of_the_users_own() -> None:
    server = {"nginx": {**NGINX, "method": "ip_hash"}}
    assert refusals(APART, server=server) == []
    (reason,) = refusals(PIN, portal={"bokeh": HANDLERS}, server=server)
    assert "in /etc/nginx/site has its own balancing method (ip_hash): remove that line, or set" in reason
    assert refusals({**PIN, "tethys_bokeh": "not_in_use"}, server=server) == []


def test_a_site_without_websockets() -> None:
    server = {"nginx": {**NGINX, "websocket_problem": "/etc/nginx/site:40 lacks proxy_http_version 1.1"}}
    assert judge(APART, server=server)["warnings"] == ["/etc/nginx/site:40 lacks proxy_http_version 1.1."]


def test_a_port_further_on_that_somebody_holds() -> None:
    (reason,) = refusals(APART, server={"nginx": NGINX, "listeners": [row(7, 8002)]})
    assert reason == (
        "tethys_port is 8000, and port 8002, which the processes need besides (socket_per_process), is held by process"
        " 7 of alice (python3 -m http.server): stop it, or set tethys_port to the first of as many free ports as there"
        " are processes."
    )
    assert refusals(server={"listeners": [row(7, 8002)]}) == []
    assert refusals(APART, server={"nginx": NGINX, "listeners": [{**row(7, 8002), "program": "tethys_asgi2"}]}) == []


@pytest.mark.parametrize(
    ("asked", "before", "words"),
    [
        (APART, "shared_socket", ["from shared_socket to socket_per_process", "WebSockets are closed"]),
        ({}, "socket_per_process", ["from socket_per_process to shared_socket", "until the new ones answer"]),
        ({**APART, "tethys_asgi_processes": 1}, "shared_socket", ["requests fail until the new ones answer"]),
        ({**APART, "tethys_asgi_processes": 2}, "socket_per_process", ["Of 3 processes 1 end", "drained them"]),
        ({**APART, "tethys_asgi_processes": 4}, "socket_per_process", []),
        (APART, "socket_per_process", []),
        ({"tethys_asgi_processes": 2}, "shared_socket", ["The number of processes changes from 3 to 2"]),
    ],
)
def test_what_will_be_felt_is_said(asked: dict[str, Any], before: str, words: list[str]) -> None:
    server = {"nginx": NGINX, "programs": [{**OURS, "layout": before}], "processes": PROCESSES}
    said = judge(asked, server=server)["announce"]
    assert len(said) == (1 if words else 0)
    for word in words:
        assert word in said[0]


@pytest.mark.parametrize(
    ("asked", "program", "words"),
    [
        ({}, {"logs": "/var/log/tethys_channels", "unbuffered": True}, []),
        (
            {},
            {"logs": "/var/log/tethys", "unbuffered": False},
            [
                "/etc/supervisor/conf.d/asgi.conf changes: logs go to /var/log/tethys_channels (asgi_service_log_dir),"
                " and those in /var/log/tethys stay there; requests are logged at once. Supervisor restarts all"
                " processes at once, and requests fail or wait until they answer."
            ],
        ),
        (
            APART,
            {"logs": "/var/log/tethys_channels", "unbuffered": False, "layout": "socket_per_process"},
            [
                "/etc/supervisor/conf.d/asgi.conf changes: requests are logged at once. The processes restart one at a"
                " time."
            ],
        ),
    ],
)
def test_a_program_that_changes_is_announced(asked: dict[str, Any], program: dict[str, Any], words: list[str]) -> None:
    server = {"nginx": NGINX, "programs": [{**OURS, **program}], "processes": PROCESSES}
    options = {"asgi_service_log_dir": "/var/log/tethys_channels"}
    assert judge({"tethys_asgi_processes": 3, **asked}, options=options, server=server)["announce"] == words


def test_the_manuals_program_is_taken_over_without_a_gap() -> None:
    server = {"nginx": NGINX, "programs": [MANUAL], "processes": PROCESSES}
    assert "nginx switches to the new processes" in judge(APART, server=server)["announce"][0]
    one = judge({**APART, "tethys_asgi_processes": 1}, server=server)["announce"][0]
    assert "Supervisor restarts all processes at once" in one


def test_a_restart_is_of_the_layout_that_runs() -> None:
    server = {"nginx": NGINX, "programs": [OURS], "processes": PROCESSES}
    (reason,) = refusals(APART, options={"goal": "restart"}, server=server)
    assert "tethys_asgi_layout is socket_per_process and the processes run as shared_socket: run" in reason


# --- an unchanged server --------------------------------------------------------------------------------------------


def as_proved(asked: dict[str, Any] | None = None, there: dict[str, Any] | None = None, **more: Any) -> bool:
    """Return whether nothing is to be done after a verified run with this plan, on a server with these changes."""
    server = {**(there or {}), "proved_plan": judge(asked, server=there)["sum"], **more.pop("server", {})}
    return bool(judge(asked, server=server, **more)["as_proved"])


def test_nothing_is_to_be_done_where_all_is_as_it_was_proved() -> None:
    assert as_proved()
    assert as_proved(APART, {"nginx": NGINX, "state": ["nginx_upstream.original"]})
    # A state that already matched, such as in a first run, decides nothing.
    assert as_proved(portal={"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": []}, "lacking": []})


@pytest.mark.parametrize(
    "more",
    [
        {"server": {"proved_plan": None}},
        {"server": {"proved_plan": "another"}},
        # The watch has stopped.
        {"server": {"watch": False}},
        {"portal": {"user": "nginx"}},
        # An app that uses Bokeh was installed, so the watch is removed.
        {"asked": {"tethys_asgi_processes": 1}, "portal": {"bokeh": HANDLERS}},
        {"portal": {"group": "nginx"}},
        {"portal": {"lifecycle_consumer": False}},
        {"portal": {"site_packages": "/elsewhere"}},
        {"server": {"selinux": {"mode": "enforcing"}}},
        {"server": {"os": {"id": "rocky", "id_like": "rhel centos fedora", "version_id": "9"}}},
        {"server": {"docker_library": False}},
        {"server": {"supervisor": {**SERVER["supervisor"], "include": ["/d/*"]}}},
        {"server": {"programs": [{**MANUAL, "user": "www-data", "path": "/c/asgi_supervisord"}]}},
        {
            "portal": {"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": [["127.0.0.1", 6379]]}},
            "server": {"redis_port_container": THEIRS},
        },
        {"server": {"left_container": {**CONTAINER, "engine": "podman"}}},
        {"server": {"state": ["nginx_upstream.original"]}},
        {"packages": {"moves": [{"name": "redis", "before": None, "after": "7.4.1"}]}},
        # Refused.
        {"server": {"root": False}},
        {"portal": {"home_problem": "it is not there"}},
    ],
)
def test_something_is_to_be_done(more: dict[str, Any]) -> None:
    assert not as_proved(**more)


def test_an_app_with_bokeh_is_something_to_be_done() -> None:
    there = {"nginx": NGINX, "state": ["nginx_upstream.original"]}
    assert as_proved(PIN, there)
    assert not as_proved(PIN, there, portal={"bokeh": HANDLERS})


def test_another_file_of_nginx_is_another_plan() -> None:
    server = {"nginx": {**NGINX, "path": "/etc/nginx/other"}, "state": ["nginx_upstream.original"]}
    assert judge(APART, server=server)["sum"] != judge(APART, server={**server, "nginx": NGINX})["sum"]


@pytest.mark.parametrize("goal", ["check", "restart", "remove"])
def test_only_a_run_of_site_leaves_anything_out(goal: str) -> None:
    assert not as_proved(options={"goal": goal})


# --- Redis ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("docker", "options", "os", "words"),
    [
        ({"installed": True}, {}, "debian", ["engine does not answer: start it (`systemctl start docker`)"]),
        ({"installed": False}, {"redis_container_install_engine": False}, "debian", ["install_engine is false"]),
        ({"installed": False}, {}, "arch", ["cannot install it on this system"]),
    ],
)
def test_no_docker(docker: dict[str, Any], options: dict[str, Any], os: str, words: list[str]) -> None:
    server = {"docker": {**docker, "running": False}, "os": {"id": os}}
    (reason,) = refusals(options=options, server=server)
    for word in [*words, "set tethys_layer_hosts to a Redis that exists already"]:
        assert word in reason
    # With your own Redis, or without one, no Docker is needed.
    assert refusals({"tethys_layer_hosts": [["redis", 6379]]}, options=options, server=server) == []
    memory = {"tethys_layer_backend": MEMORY_BACKEND, "tethys_asgi_processes": 1}
    assert refusals(memory, options=options, server=server) == []


def test_where_redis_comes_from() -> None:
    assert judge({"tethys_layer_hosts": [["redis", 6379]]})["redis"] == "given"
    assert judge({"tethys_layer_backend": MEMORY_BACKEND, "tethys_asgi_processes": 1})["redis"] == "none"


def test_a_given_redis_that_is_refused() -> None:
    problems = ["tethys_layer_hosts: the Redis at redis:6379 cannot be reached: correct its address."]
    asked = {"tethys_layer_hosts": [["redis", 6379]]}
    assert refusals(asked, redis={"problems": problems}) == problems
    assert refusals(redis={"problems": problems}) == []


@pytest.mark.parametrize("port", [6380, "6380"])
def test_a_port_that_somebody_holds(port: Any) -> None:
    (reason,) = refusals(options={"redis_container_port": port}, server={"listeners": [row(7, 6380)]})
    assert reason == (
        "Port 6380, on which Redis is to answer, is held by process 7 of alice (python3 -m http.server): stop it, set"
        " redis_container_port to a free port, or, if it is a Redis that the layer may use, set tethys_layer_hosts to"
        " [['127.0.0.1', 6380]]."
    )
    assert judge(options={"redis_container_port": port})["redis_endpoint"]["port"] == 6380


def test_a_port_on_another_address_is_free() -> None:
    listeners = [row(7, 6379, address="other"), row(7, 8000, address="other")]
    assert refusals(server={"listeners": listeners}) == []


def test_our_own_container_may_hold_the_port() -> None:
    server = {"container": CONTAINER, "listeners": [row(7, 6379, "docker-proxy"), row(8, 6380)]}
    assert refusals(server=server) == []
    assert "Port 6380" in refusals(options={"redis_container_port": 6380}, server=server)[0]
    server["container"] = {**CONTAINER, "running": False}
    assert "Port 6379" in refusals(server=server)[0]


@pytest.mark.parametrize(
    ("runs", "asked", "same"),
    [
        ("redis:8.2", "docker.io/library/redis:8.2", True),
        ("docker.io/library/redis:8.2", "redis:8.2", True),
        ("redis", "redis:latest", True),
        ("registry.example.org:5000/redis", "registry.example.org:5000/redis:latest", True),
        ("redis:7.0", "redis:8.0", False),
        ("library/redis:8.2", "valkey/valkey:8.2", False),
        ("sha256:0123", "redis:8.2", False),
        ("registry.example.org:5000/redis:8.2", "redis:8.2", False),
    ],
)
def test_another_image_is_announced(runs: str, asked: str, same: bool) -> None:
    server = {"container": {**CONTAINER, "image": runs}}
    result = judge(options={"redis_container_image": asked}, server=server)
    assert (result["refusals"], result["announce"] == []) == ([], same)
    if not same:
        (sentence,) = result["announce"]
        assert sentence.startswith(
            f"The Redis container runs {runs} and redis_container_image is {asked}: it is replaced"
        )
        assert "messages of about a second are lost" in sentence
        stopped = {"container": {**CONTAINER, "image": runs, "running": False}}
        assert judge(options={"redis_container_image": asked}, server=stopped)["announce"] == []


@pytest.mark.parametrize("value", [True, "true", "yes", 1])
def test_a_new_password_is_announced_or_refused(value: Any) -> None:
    rotate = {"redis_container_rotate": value}
    assert "Redis gets a new password" in judge(values=rotate)["announce"][0]
    rows = [{"pid": 812, "user": "www-data", "command": "celery -A app worker", "of_channels": False}]
    (warning,) = judge(values=rotate, server={"workers": rows})["warnings"]
    assert "celery -A app worker (process 812 of www-data)" in warning
    assert judge(values=rotate)["warnings"] == judge(values={}, server={"workers": rows})["warnings"] == []
    (reason,) = refusals(values={**rotate, "redis_container_password": "mine-alone"})
    assert reason.startswith("redis_container_rotate is true, and redis_container_password is given: set ")
    assert "mine-alone" not in reason
    (reason,) = refusals(asked={"tethys_layer_hosts": [["redis.example.org", 6379]]}, values=rotate)
    assert "this collection does not run the layer" in reason


@pytest.mark.parametrize("value", [False, "no"])
def test_no_new_password(value: Any) -> None:
    result = judge(values={"redis_container_rotate": value, "redis_container_password": "mine"})
    assert (result["refusals"], result["announce"]) == ([], [])


def test_a_container_of_our_name_that_is_not_ours() -> None:
    (reason,) = refusals(server={"container": {**CONTAINER, "image": "redis:5", "labels": {}}})
    assert reason == (
        "redis_container_name is tethys-channels-redis, and the container of that name (redis:5) is not this"
        " collection's: set redis_container_name to another name."
    )


@pytest.mark.parametrize(
    ("image", "old"),
    [
        ("redis:5", "5"),
        ("redis:5.0.14-alpine", "5"),
        ("docker.io/library/redis:5@sha256:8ab", "5"),
        ("localhost:5000/redis:6.0", "6.0"),
        ("redis:7.0.15", "7.0"),
        ("redis:8.2", None),
        ("redis:8.2@sha256:5ab", None),
        ("redis:6.2", None),
        ("redis:7", None),
        ("redis", None),
        ("redis:latest", None),
        ("localhost:5000/redis", None),
        ("valkey/valkey:5", None),
        (5, None),
    ],
)
def test_an_image_without_fixes_earns_a_warning(image: Any, old: str | None) -> None:
    result = judge(options={"redis_container_image": image})
    assert result["refusals"] == []
    assert len(result["warnings"]) == bool(old)
    if old:
        assert result["warnings"][0].startswith(f"redis_container_image is {image}: Redis {old} had its last security")
        assert result["warnings"][0].endswith("such as redis:8.2.")
    assert judge({"tethys_layer_hosts": [["a", 1]]}, options={"redis_container_image": image})["warnings"] == []


def taken_over(layer_hosts: Any, backend: str = CORE_BACKEND, **theirs: Any) -> dict[str, Any]:
    settings = {"layer_backend": backend, "layer_hosts": layer_hosts}
    listeners = [row(9, 6379, "docker-proxy", address="everything")]
    server = {"redis_port_container": {**THEIRS, **theirs}, "listeners": listeners}
    return judge(portal={"settings": settings}, server=server)


@pytest.mark.parametrize(
    "hosts",
    [
        [["127.0.0.1", 6379]],
        ["redis://localhost:6379/0"],
        [{"host": "127.0.0.1", "port": 6379}],
        [["portal", 6379]],
        [["elsewhere", 1], ["::1", 6379]],
        None,
    ],
)
def test_the_manuals_container_is_taken_over(hosts: Any) -> None:
    result = taken_over(hosts)
    assert result["refusals"] == []
    assert result["adopted_container"]["id"] == THEIRS["id"]
    (sentence,) = [text for text in result["announce"] if "eager_euler" in text]
    assert sentence.startswith("Container eager_euler (redis:5), currently the portal's Redis on port 6379, will be")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"layer_hosts": [["127.0.0.1", 16379]]}, "names no channel layer on that port of this server"),
        ({"layer_hosts": [["redis.example.org", 6379]]}, "names no channel layer on that port of this server"),
        ({"layer_hosts": None, "backend": MEMORY_BACKEND}, "names no channel layer on that port of this server"),
        (
            {"layer_hosts": [["127.0.0.1", 6379]], "redis": {"foreign_key": "session:1"}},
            "holds keys that are not a channel layer's ('session:1')",
        ),
        (
            {"layer_hosts": [["127.0.0.1", 6379]], "redis": {"problem": "NOAUTH Authentication required."}},
            "its keys cannot be listed (NOAUTH Authentication required.)",
        ),
    ],
)
def test_a_container_of_somebody_else_is_not(arguments: dict[str, Any], why: str) -> None:
    result = taken_over(**arguments)
    (reason,) = result["refusals"]
    assert reason.startswith("Container eager_euler (redis:5) publishes port 6379, and ")
    assert why in reason
    assert "(`docker stop 0123456789ab`)" in reason
    assert "redis_container_port" in reason
    assert result["adopted_container"] is None


# --- Supervisor -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("supervisor", "code", "words"),
    [
        (
            {"config_of_others": "/home/a/etc/supervisord.conf", "installed": False, "running": False},
            "supervisor-of-others",
            "Supervisor runs with /home/a/etc/supervisord.conf, and users besides root can change that file",
        ),
        (
            {"running": False, "silent": True, "is_password_hashed": True},
            "supervisor-password-hashed",
            "/c has only a digest of the password in [unix_http_server], and [supervisorctl] does not have",
        ),
    ],
)
def test_a_supervisor_that_cannot_be_used(supervisor: dict[str, Any], code: str, words: str) -> None:
    found = judge(server={"supervisor": {**SERVER["supervisor"], **supervisor}})
    assert [row["code"] for row in found["codes"]] == [code]
    assert found["refusals"][0].startswith(words)


@pytest.mark.parametrize(
    ("supervisor", "code", "words"),
    [
        ({"has_config": False}, "supervisor-config-missing", "there is no such file on the server. Set it to"),
        ({"config_of_others": "/o/s.conf"}, "supervisor-of-others", "users besides root can change that file"),
        ({"config_of_another_portal": "/o/s.conf"}, "supervisor-of-others", "users besides root can change that file"),
        (
            {"running": False, "silent": True},
            "supervisor-silent",
            "the supervisord that runs with it does not answer on its unix socket. Set [unix_http_server] in that file",
        ),
        ({"running": False}, "supervisor-stopped", "no supervisord runs with it. Start it (`supervisord -c /o/"),
    ],
)
@pytest.mark.parametrize("programs", [[], [MANUAL]])
def test_a_configuration_of_supervisor_that_cannot_be_used(
    programs: list[Any], supervisor: dict[str, Any], code: str, words: str
) -> None:
    state = {**SERVER["supervisor"], "config": "/o/s.conf", "has_config": True, **supervisor}
    asked = {"tethys_supervisor_config": "/o/s.conf"}
    found = judge(asked, server={"supervisor": state, "programs": programs})
    assert found["codes"] == [{"code": code, "subject": "tethys_supervisor_config"}]
    assert found["refusals"][0].startswith(f"tethys_supervisor_config is '/o/s.conf': {words}")


def test_a_configuration_of_supervisor_that_is_set(name: str = "/o/s.conf") -> None:
    state = {**SERVER["supervisor"], "config": name, "has_config": True, "candidates": []}
    assert judge({"tethys_supervisor_config": name}, server={"supervisor": state})["refusals"] == []
    # The distribution's is started, as it is without the variable.
    usual = {**state, "config": "/etc/supervisor/supervisord.conf", "running": False}
    found = judge({"tethys_supervisor_config": usual["config"]}, server={"supervisor": usual})
    assert found["refusals"] == []
    assert "Supervisor is installed and not running: it will be started." in found["announce"]


@pytest.mark.parametrize("name", ["supervisord.conf", 7, "", None, "/o/`s`.conf", "/o/s s.conf"])
def test_a_configuration_of_supervisor_that_is_no_path(name: Any) -> None:
    [reason] = variables({"tethys_supervisor_config": name})
    assert reason.startswith("tethys_supervisor_config is ")


def test_several_supervisors_that_run_portals() -> None:
    state = {**SERVER["supervisor"], "candidates": ["/a.conf", "/b.conf"]}
    found = judge(server={"supervisor": state})
    assert found["codes"] == [{"code": "supervisor-several", "subject": "tethys_supervisor_config"}]
    assert found["refusals"] == [
        "tethys_supervisor_config is auto: several Supervisors run portals on this server, with /a.conf and /b.conf."
        " Set it to the configuration of the one that is to run this portal."
    ]


@pytest.mark.parametrize("goal", ["check", "restart", "remove"])
@pytest.mark.parametrize(
    ("asked", "supervisor", "code"),
    [
        ("/o/s.conf", {"config": "/o/s.conf", "has_config": False}, "supervisor-config-missing"),
        ("/o/s.conf", {"config": "/o/s.conf", "has_config": True, "running": False}, "supervisor-stopped"),
        ("/o/s.conf", {"config": "/o/s.conf", "has_config": True, "candidates": ["/a.conf"]}, "supervisor-elsewhere"),
        ("auto", {"candidates": ["/a.conf", "/b.conf"]}, "supervisor-several"),
    ],
)
def test_every_goal_needs_one_supervisor(goal: str, asked: str, supervisor: dict[str, Any], code: str) -> None:
    """Without the portal's, no program of it is found: a removal would delete the Redis that the processes use."""
    state = {**SERVER["supervisor"], "config_stopped": "/opt/conda/etc/supervisord.conf", **supervisor}
    found = judge(
        {"tethys_supervisor_config": asked}, {"goal": goal}, server={"supervisor": state, "programs": [], "state": []}
    )
    said = [sentence for sentence in found["refusals"] if "upervisor" in sentence]
    warned = [sentence for sentence in found["warnings"] if "upervisor" in sentence]
    assert [len(said), len(warned)] == ([0, 1] if goal == "check" else [1, 0])
    assert (said or warned)[0].startswith("tethys_supervisor_config is ")
    assert [row["code"] for row in found["codes"]] == ([] if goal == "check" else [code])


@pytest.mark.parametrize(("programs", "is_told"), [([], True), ([MANUAL], False)])
def test_a_supervisor_of_another_portal_is_left_alone(programs: list[Any], is_told: bool) -> None:
    supervisor = {**SERVER["supervisor"], "config_of_another_portal": "/home/a/etc/supervisord.conf"}
    found = judge(server={"supervisor": supervisor, "programs": programs})
    assert found["refusals"] == []
    assert any("/home/a/etc/supervisord.conf" in line for line in found["announce"]) is is_told


@pytest.mark.parametrize("goal", ["site", "restart", "remove"])
def test_the_stopped_supervisor_of_an_earlier_run(goal: str) -> None:
    supervisor = {"installed": True, "running": False, "config_stopped": "/opt/conda/etc/supervisord.conf"}
    found = judge(options={"goal": goal}, server={"supervisor": supervisor, "programs": []})
    [reason] = [row for row in found["codes"] if row["code"].startswith("supervisor")]
    assert reason["code"] == "supervisor-stopped"
    assert not [line for line in found["announce"] if "Supervisor is installed" in line]
    # The portal's program was moved to the distribution's.
    server = {"supervisor": {**SERVER["supervisor"], **supervisor}, "programs": [MANUAL]}
    found = judge(options={"goal": goal}, server=server)
    assert "supervisor-stopped" not in [row["code"] for row in found["codes"]]


@pytest.mark.parametrize("goal", ["restart", "remove"])
@pytest.mark.parametrize(("state", "code"), [(["processes.json"], ["supervisor-of-others"]), ([], [])])
def test_a_supervisor_that_others_can_change_by_now(goal: str, state: list[str], code: list[str]) -> None:
    """Its program is not read: a removal would delete the Redis that the processes use."""
    supervisor = {**SERVER["supervisor"], "config_of_others": "/home/a/etc/supervisord.conf"}
    found = judge(options={"goal": goal}, server={"supervisor": supervisor, "programs": [], "state": state})
    # Of a portal that was never provisioned, a restart says that.
    never = ["program-not-managed"] if goal == "restart" and not state else []
    assert [row["code"] for row in found["codes"]] == code + never


def test_supervisor_that_does_not_run_is_announced() -> None:
    result = judge(server={"supervisor": {"installed": True, "running": False, "pid": None}})
    assert result["refusals"] == []
    assert result["announce"] == ["Supervisor is installed and not running: it will be started."]
    assert (result["install_supervisor"], result["start_supervisor"]) == (False, True)


def test_a_supervisor_that_runs_and_does_not_answer() -> None:
    silent = {"installed": True, "running": False, "silent": True, "pid": None}
    (reason,) = refusals(server={"supervisor": silent})
    assert reason.startswith("A supervisord runs on this server and does not answer on its unix socket: set [unix_http")


def test_no_supervisor_on_an_unknown_system() -> None:
    (reason,) = refusals(server={"supervisor": {"installed": False}, "os": {"id": "arch"}})
    assert reason.startswith("Supervisor is not installed, and this collection cannot install it")


def test_the_program_in_two_files() -> None:
    (reason,) = refusals(server={"programs": [OURS, {**MANUAL, "path": "/b.conf"}]})
    assert reason == (
        f"Supervisor's program of the portal is defined in {OURS['path']} and /b.conf: leave it in one file only."
    )


def test_a_file_with_other_programs() -> None:
    result = judge(server={"programs": [{**MANUAL, "others": ["program:nginx", "program:celery"]}]})
    (reason,) = result["refusals"]
    assert reason == (
        f"{MANUAL['path']} defines program:nginx, program:celery besides the portal's program, and would lose it: move"
        " the portal's program (asgi) into a separate file."
    )


@pytest.mark.parametrize(
    ("user", "change"), [("root", "changes from root to www-data"), ("www-data", "stays www-data")]
)
def test_the_manuals_program_is_taken_over(user: str, change: str) -> None:
    program = {**MANUAL, "user": user}
    server = {"programs": [program], "processes": [{"name": "tethys_asgi0", "state": "RUNNING", "pid": 400}]}
    result = judge(server={**server, "listeners": [row(300, 8000), row(400, 8000)]})
    assert result["refusals"] == []
    assert result["adopted_program"] == program
    assert result["announce"] == [
        f"{MANUAL['path']} will be replaced with a file that this collection manages. The processes' user {change}."
        " Supervisor restarts all processes at once, and requests fail until the new ones answer, for at most 100 s.",
        f"{MANUAL['path']}: the processes keep address 127.0.0.1:8000.",
    ]


@pytest.mark.parametrize(
    ("settings", "timeout", "longest"),
    [([], 90, 100), (["priority=1", "stopwaitsecs=25"], 90, 115), (["stopwaitsecs=x"], 90, 90), ([], 300, 310)],
)
def test_how_long_requests_fail_at_most_while_a_program_is_replaced(
    settings: list[str], timeout: int, longest: int
) -> None:
    result = judge(
        options={"asgi_service_start_timeout": timeout}, server={"programs": [{**MANUAL, "settings": settings}]}
    )
    assert f"for at most {longest} s." in result["announce"][0]


def test_files_that_root_left_behind() -> None:
    leftovers = [{"folder": HOME, "owner": "root", "count": 3, "example": f"{HOME}/db.sqlite"}]
    (reason,) = refusals(portal={"leftovers": leftovers}, server={"programs": [MANUAL]})
    assert f"cannot write {HOME}/db.sqlite and 2 more in {HOME}, of root, who runs it now" in reason
    assert f"`find {HOME} -user root -execdir chown -h www-data {{}} +`" in reason
    assert refusals(portal={"leftovers": leftovers}, server={"programs": [OURS]}) == []


@pytest.mark.parametrize("port", [8000, "8000"])
def test_the_portals_port_is_held(port: Any) -> None:
    (reason,) = refusals({"tethys_port": port}, server={"listeners": [row(7, 8000)]})
    assert reason == (
        "tethys_port 8000 is held by process 7 of alice (python3 -m http.server), which is not the portal's under"
        " Supervisor: stop it, or set tethys_port to the port that nginx sends the portal's requests to."
    )


def test_the_portals_port_is_held_by_another_program_of_supervisor() -> None:
    (reason,) = refusals(server={"listeners": [row(300, 8000), row(7, 8000, program="portal")]})
    assert reason == (
        "tethys_port is 8000: Supervisor's program portal (process 7 of alice (python3 -m http.server)) listens there,"
        " and its command does not show that it runs this portal. Stop it (`supervisorctl -c /c stop 'portal:*'`) and"
        " delete it from its file, or set tethys_port to another port, to which nginx then has to send the portal's"
        " requests."
    )


def test_a_child_of_ours_may_hold_the_portals_port() -> None:
    server = {
        "programs": [OURS],
        "processes": [{"name": f"tethys_asgi{n}", "state": "RUNNING", "pid": 400 + n} for n in range(3)],
        "listeners": [row(400, 8000), row(500, 8000, "geoserver")],
    }
    assert refusals(server=server) == []


@pytest.mark.parametrize(
    ("running", "asked", "moves", "words"),
    [
        (1, 3, [], "The number of processes changes from 1 to 3: Supervisor restarts"),
        (3, 1, [], "The number of processes changes from 3 to 1: Supervisor restarts"),
        (3, 3, [{"name": "redis"}], None),
        (1, 1, [{"name": "redis"}], "The one process has to restart for the new layer"),
        (1, 1, [], None),
    ],
)
def test_a_gap_is_announced(running: int, asked: int, moves: list[Any], words: str | None) -> None:
    processes = [{"name": f"tethys_asgi{n}", "state": "RUNNING", "pid": 400 + n} for n in range(running)]
    result = judge(
        {"tethys_asgi_processes": asked},
        portal={"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": ["redis://127.0.0.1?socket_timeout=15"]}},
        server={"programs": [OURS], "processes": processes},
        packages={"moves": moves},
    )
    assert result["refusals"] == []
    assert len(result["announce"]) == bool(words)
    assert words is None or result["announce"][0].startswith(words)


NEW_KEY = "CHANNEL_LAYERS changes: its hosts get socket_timeout 15, which redis-py 8 needs."


@pytest.mark.parametrize(
    ("running", "settings", "announced"),
    [
        (3, {"layer_hosts": [["127.0.0.1", 6379]]}, [f"{NEW_KEY} The processes restart one at a time."]),
        (
            3,
            {"layer_hosts": [{"host": "a", "socket_timeout": 15}, "redis://b"]},
            [f"{NEW_KEY} The processes restart one"],
        ),
        (1, {"layer_hosts": [["127.0.0.1", 6379]]}, ["The one process has to restart for the new layer", NEW_KEY]),
        (2, {"layer_hosts": [["127.0.0.1", 6379]]}, ["The number of processes changes from 2 to 3", NEW_KEY]),
        # null is the administrator's own value, and another class is announced as such.
        (3, {"layer_hosts": [{"host": "a", "socket_timeout": None}]}, []),
        (3, {"layer_backend": PUBSUB_BACKEND, "layer_hosts": [["127.0.0.1", 6379]]}, []),
        (3, {"layer_hosts": None}, []),
        (0, {"layer_hosts": [["127.0.0.1", 6379]]}, []),
    ],
)
def test_a_layer_that_gets_socket_timeout(running: int, settings: dict[str, Any], announced: list[str]) -> None:
    result = judge(
        {"tethys_asgi_processes": 1 if running == 1 else 3},
        portal={"settings": {"layer_backend": CORE_BACKEND, **settings}},
        server={
            "programs": [OURS],
            "processes": [{"name": f"tethys_asgi{n}", "state": "RUNNING", "pid": 400 + n} for n in range(running)],
        },
    )
    assert result["refusals"] == []
    assert len(result["announce"]) == len(announced)
    for sentence, begins in zip(result["announce"], announced):
        assert sentence.startswith(begins)


GIVEN = {"tethys_layer_hosts": [["redis.example.org", 6379]]}


@pytest.mark.parametrize(
    ("asked", "image", "versions", "moves", "installed", "refused"),
    [
        ({}, "docker.io/library/redis:5", None, "8.1.0", None, "redis_container_image is docker.io/library/redis:5: "),
        ({}, "docker.io/library/redis:5", None, None, "8.0.1", "redis_container_image is docker.io/library/redis:5: "),
        ({}, "docker.io/library/redis:5", None, None, "7.4.1", None),
        ({}, "docker.io/library/redis:5", None, "7.4.1", "8.1.0", None),
        ({}, "docker.io/library/redis:5", None, None, None, None),
        ({}, "docker.io/library/redis:6", None, "8.1.0", None, None),
        ({}, "docker.io/library/redis:8.2", None, "8.1.0", None, None),
        ({}, "internal/cache:5", None, "8.1.0", None, None),
        ({}, "acme/redis-hardened:3.1", None, "8.1.0", None, None),
        (GIVEN, "docker.io/library/redis:5", ["5.0.6"], "8.1.0", None, "tethys_layer_hosts is a Redis: "),
        (GIVEN, "docker.io/library/redis:8.2", ["7.0.15", "5.0.6"], "8.1.0", None, "tethys_layer_hosts is a Redis: "),
        (GIVEN, "docker.io/library/redis:8.2", [None], "8.1.0", None, None),
        (GIVEN, "docker.io/library/redis:8.2", ["6.0.16"], "8.1.0", None, None),
        ({"tethys_layer_hosts": [{"host": "a", "protocol": 2}]}, "redis:8.2", ["5.0.6"], "8.1.0", None, None),
    ],
)
def test_redis_5_and_redis_py_8(
    asked: dict[str, Any], image: str, versions: Any, moves: Any, installed: Any, refused: str | None
) -> None:
    found = refusals(
        asked,
        {"redis_container_image": image},
        portal={"versions": {**PORTAL["versions"], "redis": installed}},
        packages={"moves": [{"name": "redis", "from": installed, "to": moves}] if moves else []},
        redis={"problems": [], "versions": versions or []},
    )
    assert len(found) == bool(refused)
    if refused:
        assert found[0].startswith(refused)
        assert "opens a connection with HELLO" in found[0]
        assert "'redis>=4.6,<8'" in found[0]


def test_another_port_is_announced() -> None:
    server = {"programs": [OURS], "processes": [{"name": "tethys_asgi0", "state": "RUNNING", "pid": 400}]}
    (told,) = judge({"tethys_asgi_processes": 1, "tethys_port": 8100}, server=server)["announce"]
    assert told.startswith("tethys_port changes from 8000 to 8100: Supervisor restarts all processes at once")
    assert "until you have changed the port in the proxy" in told


# --- packages and goals ---------------------------------------------------------------------------------------------


def test_packages_that_cannot_be_installed() -> None:
    message = "channels would move from 4.3.2 to 4.2.0: set channels_redis_allow_moves to true"
    assert refusals(packages={"msg": message}) == [message + "."]


@pytest.mark.parametrize("goal", ["check", "restart", "remove"])
def test_what_does_not_matter_to_other_goals(goal: str) -> None:
    result = judge(
        options={"goal": goal},
        server={
            "docker": {"installed": True, "running": False},
            "redis_port_container": {**THEIRS, "redis": {"foreign_key": "x"}},
            "container": {**CONTAINER, "labels": {}},
            "programs": [OURS, MANUAL],
            "listeners": [row(7, 8000), row(7, 6379)],
        },
        packages={"msg": "No."},
    )
    assert result["refusals"] == []
    assert (result["adopted_container"], result["adopted_program"]) == (None, None)
    assert result["processes"] == (None if goal == "remove" else 3)


@pytest.mark.parametrize(("goal", "refused"), [("check", True), ("restart", True), ("remove", False)])
def test_bokeh_matters_as_long_as_processes_run(goal: str, refused: bool) -> None:
    found = refusals(options={"goal": goal}, portal={"bokeh": HANDLERS}, server={"programs": [OURS]})
    assert bool(found) is refused


@pytest.mark.parametrize(
    ("programs", "words"),
    [
        ([], "The portal's processes are not run by this collection yet: run tethys.channels.site first."),
        ([MANUAL], "The portal's processes are not run by this collection yet: run tethys.channels.site first."),
        (
            [{**OURS, "numprocs": "2"}],
            "tethys_asgi_processes is 3 and the program has 2: run tethys.channels.site, which changes the number.",
        ),
    ],
)
def test_a_restart_is_of_the_collections_own_program(programs: list[Any], words: str) -> None:
    assert refusals(options={"goal": "restart"}, server={"programs": programs}) == [words]


@pytest.mark.parametrize("goal", ["site", "check", "restart", "remove"])
def test_every_goal_needs_root_and_a_portal(goal: str) -> None:
    ours = {"programs": [OURS]}
    assert len(refusals(options={"goal": goal}, server={**ours, "root": False})) == 1
    nowhere = {"home_problem": "No.", "versions": {"tethys_platform": None}}
    assert len(refusals(options={"goal": goal}, portal=nowhere, server=ours)) == 1


# --- what users notice of a restart and of a removal ---------------------------------------------------------------


def running(count: int) -> list[dict[str, Any]]:
    return [{"name": f"tethys_asgi{number}", "state": "RUNNING", "pid": 400 + number} for number in range(count)]


@pytest.mark.parametrize(
    ("goal", "server", "words"),
    [
        ("restart", {"processes": running(1)}, "The one process restarts: requests fail until it answers"),
        ("restart", {"processes": running(3)}, None),
        ("remove", {"processes": running(1), "state": ["program.original"]}, "those of the program that was found"),
        ("remove", {"processes": running(3)}, "one process on the in-memory layer"),
        ("remove", {"processes": []}, None),
        ("remove", {"processes": running(3), "programs": [MANUAL]}, None),
        ("check", {"processes": running(1)}, None),
    ],
)
def test_a_restart_and_a_removal_are_announced(goal: str, server: dict[str, Any], words: str | None) -> None:
    result = judge({"tethys_asgi_processes": 3}, options={"goal": goal}, server={"programs": [OURS], **server})
    assert [words is not None and words in text for text in result["announce"]] == ([True] if words else [])


@pytest.mark.parametrize("state", [[], ["program.original"]])
def test_a_removal_says_that_the_manuals_link_comes_back(state: list[str]) -> None:
    """The portal's user may have written a command of root's into the file behind it meanwhile."""
    server = {"programs": [OURS], "processes": running(1), "state": state}
    [told] = judge({"tethys_asgi_processes": 3}, options={"goal": "remove"}, server=server)["announce"]
    assert ("a link into TETHYS_HOME, Supervisor starts" in told) == bool(state)


@pytest.mark.parametrize(
    ("serial", "at_once", "refused"),
    [(1, 3, True), ("1", 3, True), (3, 3, False), (2, 1, False), ("30%", 9, False), (None, 9, False), (1, 0, False)],
)
def test_a_serial_that_the_play_did_not_see(serial: Any, at_once: int, refused: bool) -> None:
    found = refusals(options={"hosts_at_once": at_once}, values={"tethys_serial": serial})
    assert [f"-e tethys_serial={serial}" in reason for reason in found] == ([True] if refused else [])
    assert refusals(options={"hosts_at_once": at_once, "goal": "check"}, values={"tethys_serial": serial}) == []


# --- who besides root can change what root obeys ----------------------------------------------------------------------


def of_alice(path: str, use: str = "program", target: str = "") -> dict[str, Any]:
    """A file that alice owns."""
    writer = {"path": path, "how": "owner", "name": "alice", "who": ["alice"], "link": "", "fix": f"chown root {path}"}
    return {"path": path, "use": use, "target": target, "writers": [writer]}


def with_open(*files: dict[str, Any], goal: str = "site", **asked: Any) -> dict[str, Any]:
    """The plan for a server with these files."""
    server = {**SERVER, "trust": {"files": 9, "open": list(files)}, "programs": [OURS]}
    found = {"portal": PORTAL, "server": server, "packages": {"moves": []}}
    return decided(plan, {**ASKED, **asked}, {**OPTIONS, "goal": goal}, found)


@pytest.mark.parametrize("goal", ["site", "restart", "remove"])
def test_a_file_of_somebody_else_that_root_obeys(goal: str) -> None:
    result = with_open(of_alice("/etc/supervisor/conf.d/x.conf"), goal=goal)
    [reason] = [reason for reason in result["refusals"] if "alice" in reason]
    assert "`chown root /etc/supervisor/conf.d/x.conf`" in reason
    assert result["trust"]["problems"] == [reason]


NGINXS = {**MANUAL, "path": "/etc/supervisor/conf.d/nginx_supervisord.conf", "others": ["program:nginx"]}


@pytest.mark.parametrize(
    ("goal", "programs", "state", "refused"),
    [
        ("check", [OURS, NGINXS], [], False),
        ("site", [OURS, NGINXS], [], True),
        ("restart", [OURS, NGINXS], [], True),
        ("remove", [OURS, NGINXS], [], True),
        # What is left of a removal that was killed, and a portal that is not ours.
        ("remove", [NGINXS], ["program.original"], False),
        ("remove", [NGINXS, MANUAL], [], False),
        ("restart", [OURS], [], False),
    ],
)
def test_a_program_of_the_portals_in_a_file_of_somebody_else(
    goal: str, programs: list[dict[str, Any]], state: list[str], refused: bool
) -> None:
    """The manual's link into TETHYS_HOME, into which its owner writes `[program:tethys_asgi7]`."""
    link = of_alice(NGINXS["path"], target="/home/alice/nginx_supervisord.conf")
    server = {**SERVER, "trust": {"files": 9, "open": [link]}, "programs": programs, "state": state}
    found = {"portal": PORTAL, "server": server, "packages": {"moves": []}}
    reasons = decided(plan, ASKED, {**OPTIONS, "goal": goal}, found)["refusals"]
    assert any(NGINXS["path"] in reason for reason in reasons) == refused


@pytest.mark.parametrize(("goal", "refused"), [("site", True), ("restart", True), ("remove", True), ("check", False)])
def test_a_program_file_of_somebody_else_that_cannot_be_read(goal: str, refused: bool) -> None:
    link = of_alice(NGINXS["path"], target="/home/alice/nginx_supervisord.conf")
    unread = {"unread_programs": [NGINXS["path"], "/etc/supervisor/conf.d/large.conf"]}
    server = {**SERVER, "trust": {"files": 9, "open": [link]}, "programs": [OURS], **unread}
    found = {"portal": PORTAL, "server": server, "packages": {"moves": []}}
    reasons = decided(plan, ASKED, {**OPTIONS, "goal": goal}, found)["refusals"]
    told = [reason for reason in reasons if "cannot be read" in reason]
    assert [reason.partition(" cannot")[0] for reason in told] == ([NGINXS["path"]] if refused else [])


def test_two_links_of_one_user_are_both_refused() -> None:
    names = ("a.conf", "b.conf")
    links = [of_alice(f"/etc/supervisor/conf.d/{name}", target=f"/home/alice/{name}") for name in names]
    for link in links:
        link["writers"][0].update(path="/home/alice", link=link["path"])
    assert len([reason for reason in with_open(*links)["refusals"] if "alice" in reason]) == 2


def test_a_check_reports_it_on_its_page() -> None:
    result = with_open(of_alice("/etc/supervisor/conf.d/x.conf"), goal="check")
    assert not [reason for reason in result["refusals"] + result["warnings"] if "alice" in reason]
    assert len(result["trust"]["problems"]) == 1
    assert result["trust"]["lines"] == [
        "Trust: /etc/supervisor/conf.d/x.conf: its owner alice can change /etc/supervisor/conf.d/x.conf"
    ]


def test_a_site_of_nginx_matters_where_the_run_starts_nginx() -> None:
    site = of_alice("/etc/nginx/conf.d/x.conf", "site")
    result = with_open(site)
    assert not [reason for reason in result["refusals"] if "alice" in reason]
    assert [warning for warning in result["warnings"] if "alice" in warning]
    result = with_open(site, tethys_asgi_layout="socket_per_process")
    assert [reason for reason in result["refusals"] if "alice" in reason]


def test_nothing_to_report_is_one_line() -> None:
    line = "Trust: only root can change the 9 files and folders that root executes or reads as configuration"
    assert with_open()["trust"] == {"lines": [line], "problems": []}
