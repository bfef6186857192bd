# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a program of Supervisor's is the portal's, and where it listens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import portal_program
from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import Endpoint
from hypothesis import given
from hypothesis import strategies as st

HOME, PREFIX = "/srv/home", "/srv/env"
APPLICATION = "tethys_portal.asgi:application"
DAPHNE = f'bash -c "source /opt/conda/bin/activate && {PREFIX}/bin/daphne -u /run/a.sock --fd 0 {APPLICATION}"'


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"command": DAPHNE, "environment": f"\nTETHYS_HOME={HOME}"}, True),
        ({"command": DAPHNE, "environment": f'A="b",TETHYS_HOME="{HOME}"'}, True),
        ({"command": DAPHNE, "environment": 'TETHYS_HOME="/srv/other"'}, False),
        # One environment may serve two portals, and one portal may move to another environment.
        ({"command": DAPHNE.replace(PREFIX, "/srv/old"), "environment": f"TETHYS_HOME={HOME}"}, True),
        ({"command": DAPHNE.replace('bash -c "', f'bash -c "export TETHYS_HOME={HOME}; ')}, True),
        ({"command": DAPHNE.replace('bash -c "', 'bash -c "export TETHYS_HOME=/srv/other; ')}, False),
        # One that is still to be expanded, or depends on the working folder, decides nothing.
        ({"command": DAPHNE.replace('bash -c "', 'bash -c "export TETHYS_HOME=$HOME/tethys; ')}, True),
        ({"command": DAPHNE.replace('bash -c "', 'bash -c "export TETHYS_HOME=~/tethys; ')}, True),
        ({"command": DAPHNE, "environment": 'TETHYS_HOME="/srv/%(program_name)s"'}, True),
        ({"command": DAPHNE, "environment": "TETHYS_HOME=tethys"}, True),
        ({"command": DAPHNE.replace(PREFIX, "/srv/other"), "environment": "TETHYS_HOME=$HOME"}, False),
        ({"command": DAPHNE}, True),
        ({"command": DAPHNE.replace(PREFIX, "/srv/other")}, False),
        ({"command": f"{PREFIX}/bin/uvicorn --fd 0 tethys_portal.asgi:application"}, True),
        ({"command": f"{PREFIX}/bin/python {PREFIX}/bin/daphne -p 8001 tethys_portal.asgi:application"}, True),
        ({"command": f"{PREFIX}/bin/python -m daphne tethys_portal.asgi:application"}, True),
        ({"command": "daphne tethys_portal.asgi:application"}, True),
        ({"command": "/home/library/venv/bin/daphne --fd 0 --proxy-headers chat.asgi:application"}, False),
        ({"command": f"{PREFIX}/bin/daphne chat.asgi:application", "environment": f"TETHYS_HOME={HOME}"}, False),
        # A command that does not show it.
        ({"command": "/usr/local/bin/start-portal"}, None),
        ({"command": "/home/u/x"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_whose_program_it_is(section: dict[str, str], expected: bool | None) -> None:
    assert portal_program.is_portals("fcgi-program:asgi", section, HOME, PREFIX) is expected


@pytest.mark.parametrize("home", ["$HOME/tethys", "~/tethys", "/srv/%(program_name)s", "tethys", "/srv/${A}"])
def test_a_home_that_is_not_known(home: str) -> None:
    assert portal_program.home_of({"environment": f'TETHYS_HOME="{home}"'}) == ""
    assert portal_program.home_of({"command": f"env TETHYS_HOME={home} daphne"}) == ""
    assert portal_program.home_of({"environment": f"TETHYS_HOME={HOME}"}) == HOME


def test_a_link_to_the_home_is_the_home(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    section = {"command": DAPHNE, "environment": f"TETHYS_HOME={tmp_path}/link"}
    assert portal_program.is_portals("fcgi-program:asgi", section, str(tmp_path / "home"), PREFIX)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"socket": "tcp://127.0.0.1:8080", "command": DAPHNE}, Endpoint("127.0.0.1", 8080, None)),
        ({"socket": "tcp://0.0.0.0:8000"}, Endpoint("0.0.0.0", 8000, None)),  # noqa: S104
        ({"socket": "tcp://localhost:8000"}, Endpoint("localhost", 8000, None)),
        ({"socket": "unix:///run/tethys.sock"}, Endpoint(None, None, "/run/tethys.sock")),
        ({"socket": "tcp://127.0.0.1:99999"}, Endpoint("127.0.0.1", None, None)),
        ({"command": "daphne -b 0.0.0.0 -p 8001 tethys_portal.asgi:application"}, Endpoint("0.0.0.0", 8001, None)),  # noqa: S104
        ({"command": "daphne -p8001 tethys_portal.asgi:application"}, Endpoint(None, 8001, None)),
        ({"command": "daphne -u /run/x.sock tethys_portal.asgi:application"}, Endpoint(None, None, "/run/x.sock")),
        ({"command": "uvicorn --host=10.0.0.1 --port=9 a.asgi:application"}, Endpoint("10.0.0.1", 9, None)),
        ({"command": "uvicorn --uds /run/u.sock a.asgi:application"}, Endpoint(None, None, "/run/u.sock")),
        ({"command": "gunicorn -b 127.0.0.1:8002 a.asgi:application"}, Endpoint("127.0.0.1", 8002, None)),
        ({"command": "hypercorn -b [::1]:8002 a.asgi:application"}, Endpoint("::1", 8002, None)),
        ({"command": "daphne -b ::1 -p 8001 tethys_portal.asgi:application"}, Endpoint("::1", 8001, None)),
        ({"command": "gunicorn --bind unix:/run/g.sock a.asgi:application"}, Endpoint(None, None, "/run/g.sock")),
        ({"command": "/usr/local/bin/start -p 5"}, Endpoint(None, None, None)),
        ({}, Endpoint(None, None, None)),
    ],
    ids=str,
)
def test_where_a_program_listens(section: dict[str, str], expected: Endpoint) -> None:
    assert portal_program.endpoint_of(section) == expected


@given(st.text(max_size=300), st.text(max_size=100), st.text(max_size=100))
def test_any_text_is_read(command: str, environment: str, socket: str) -> None:
    section = {"command": command, "environment": environment, "socket": socket}
    assert portal_program.is_portals("fcgi-program:asgi", section, HOME, PREFIX) in (True, False, None)
    endpoint = portal_program.endpoint_of(section)
    assert endpoint.port is None or 0 < endpoint.port <= 65535


@pytest.mark.parametrize(
    "text", ["/" * 60_000, "/a/bin" * 10_000, "daphne " + "-p 1 " * 10_000, '"' * 60_000, "a." * 30_000]
)
def test_a_command_of_64_kib_takes_no_time(text: str) -> None:
    began = time.monotonic()
    section = {"command": f"{text} tethys_portal.asgi:application", "environment": text}
    portal_program.is_portals("fcgi-program:asgi", section, HOME, PREFIX)
    portal_program.endpoint_of(section)
    assert time.monotonic() - began < 5


# --- what is kept -----------------------------------------------------------------------------------------------------


def command(options: str) -> dict[str, str]:
    return {"command": f'bash -c "{PREFIX}/bin/daphne {options} {APPLICATION}"'}


GENERATED = "-u /run/tethys_asgi%(process_num)d.sock --fd 0 --access-log - --proxy-headers"


@pytest.mark.parametrize(
    ("section", "kept", "lost"),
    [
        (command(GENERATED), [], []),
        (
            command(f"{GENERATED} --websocket_timeout 3600 --http-timeout=600 --root-path /hydro --no-server-name"),
            ["--websocket_timeout", "3600", "--http-timeout", "600", "--root-path", "/hydro", "--no-server-name"],
            [],
        ),
        (command("--access-log /var/log/a.log -v 2"), ["-v", "2"], ["--access-log"]),
        (command("-e ssl:443:privateKey=k.pem"), [], ["-e"]),
        (command("-s a$b"), [], ["-s"]),
        ({"command": f"uvicorn --fd 0 --workers 4 {APPLICATION}"}, [], ["uvicorn", "--workers"]),
        # Values may be secret.
        (command("-e DB_PASSWORD=s3cret --endpoint=ssl:s3cret"), [], ["-e", "--endpoint"]),
        (command("-eDB_PASSWORD=s3cret"), [], ["-e"]),
        (
            {"command": f"uvicorn --ssl-keyfile-password hunter2 --reload --fd 0 {APPLICATION}"},
            [],
            ["uvicorn", "--ssl-keyfile-password", "--reload"],
        ),
        # An option without its value would take the next word of the command that is written.
        (command("--root-path= -v 2"), ["-v", "2"], ["--root-path"]),
        (command("--server-name '' -v 2"), ["-v", "2"], ["--server-name"]),
        (command("--root-path --no-server-name"), ["--no-server-name"], ["--root-path"]),
        (command("-v 2 --root-path"), ["-v", "2"], ["--root-path"]),
        (command("--no-server-name=x"), [], ["--no-server-name"]),
        (command("-v2 --http-timeout 600"), ["-v", "2", "--http-timeout", "600"], []),
        (command("-v=2 -p8001 -t 5"), ["-v", "2", "-t", "5"], []),
        ({"command": "/usr/local/bin/start"}, [], []),
    ],
    ids=str,
)
def test_the_options_of_daphne(section: dict[str, str], kept: list[str], lost: list[str]) -> None:
    assert portal_program.arguments_of(section) == (kept, lost)


def test_the_collections_own_command_has_no_options_to_keep() -> None:
    text = "exec /e/bin/python /e/bin/daphne -u /run/tethys/a.sock --fd 0 --access-log - --proxy-headers -v 2 "
    section = {"command": f"/bin/bash -c 'export HOME=~www-data; {text}{APPLICATION}'"}
    assert portal_program.arguments_of(section) == (["-v", "2"], [])


def test_the_variables() -> None:
    from ansible_collections.tethys.channels.plugins.module_utils.server.conda_variables import accepted

    text = 'TETHYS_HOME="/srv/home",GDAL_DATA="/opt/gdal",HOME="/x",N="%(process_num)d",PATH="/opt/bin:/bin",1A="x"'
    assert portal_program.environment_of({"environment": text}, PREFIX, accepted) == (
        {"GDAL_DATA": "/opt/gdal", "PATH": f"{PREFIX}/bin:/opt/bin:/bin"},
        ["1A", "N"],
    )


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (f"env FOO=1 BAR=s3cret daphne {APPLICATION}", ["BAR", "FOO"]),
        (f"/bin/bash -c 'export DB=s3cret; HOME=/x TETHYS_HOME=/y exec daphne -s a=b {APPLICATION}'", ["DB"]),
        (f"daphne --root-path A=b {APPLICATION}", []),
        ("env FOO=1 /usr/local/bin/start", []),
    ],
    ids=str,
)
def test_variables_that_the_command_sets(text: str, lost: list[str]) -> None:
    section = {"command": text, "environment": "FOO=2"}
    found = portal_program.environment_of(section, PREFIX, lambda _name, _value: True)
    assert found == ({"FOO": "2"}, lost)


def test_other_settings_are_named() -> None:
    section = {"command": "x", "numprocs": "1", "autostart": "true", "stopsignal": "QUIT", "umask": "027"}
    section.update(priority="10", stdout_logfile="/var/log/tethys/tethys.log", autorestart="unexpected")
    section["directory"] = f"{PREFIX}/lib/python3.12/site-packages"
    assert portal_program.settings_of(section, PREFIX) == ["autorestart=unexpected", "priority=10", "umask=027"]
    section["directory"] = "/srv/apps"
    assert "directory=/srv/apps" in portal_program.settings_of(section, PREFIX)
