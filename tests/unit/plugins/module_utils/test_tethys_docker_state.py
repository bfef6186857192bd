# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of the portal in its container: its program, and whether it answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_state import (
    NO_ENDPOINT,
    NO_FD,
    portal_program,
    script,
    state_of,
)
from hypothesis import given
from hypothesis import strategies as st

COMMAND = (
    'command=bash -c "/opt/conda/envs/tethys/bin/daphne -u /run/tethys_asgi%(process_num)d.sock --fd 0 --access-log -'
    ' --proxy-headers tethys_portal.asgi:application"'
)
PORTAL = f"[fcgi-program:asgi]\n{COMMAND}\nnumprocs=3\n"
WORKER = "[program:worker]\ncommand=celery worker\nnumprocs=8\n"


@pytest.mark.parametrize(
    ("text", "processes"),
    [
        (PORTAL, 3),
        (WORKER + PORTAL, 3),
        (PORTAL + WORKER, 3),
        # Its own name decides where the command does not.
        (WORKER + "[fcgi-program:asgi]\ncommand=/start.sh\nnumprocs = 5\n", 5),
        # Another name, and the portal's command.
        (WORKER + PORTAL.replace("fcgi-program:asgi", "program:portal"), 3),
        (WORKER, None),
        (f"[fcgi-program:asgi]\n{COMMAND}\n", None),
        ("", None),
        ("[x]\nno option\n" + PORTAL, 3),
    ],
)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_the_portals_own_program(text: str, processes: int | None, ends: bytes) -> None:
    raw = text.encode().replace(b"\n", ends)
    found = portal_program(raw)
    assert (found and found.processes) == processes
    if found:
        assert raw[found.start : found.end] == str(processes).encode()


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_bytes_may_stand_beside_it(before: bytes, after: bytes) -> None:
    text = before + b"\n" + PORTAL.encode() + b"[end]\n" + after
    found = portal_program(text)
    assert found is not None
    assert text[found.start : found.end].isdigit()


def said(program: str = PORTAL, **more: Any) -> str:
    found = {
        "set_up": True,
        "set_up_at": 1.0,
        "listens": True,
        "answers": True,
        "program": program.splitlines(),
        "lacks_endpoint": False,
        "others_can_read": False,
        "kept": None,
        "oldest": None,
    }
    return json.dumps({**found, **more})


@pytest.mark.parametrize(
    ("program", "more", "cannot_serve"),
    [
        (PORTAL, {}, []),
        # As tethysportal-demo has it after `sed -i 's/--fd 0 //'`.
        (PORTAL.replace("--fd 0 ", ""), {}, [NO_FD]),
        # The portal that removes it since its daphne is 4.2.0.
        (PORTAL.replace("--fd 0 ", ""), {"lacks_endpoint": True}, [NO_FD, NO_ENDPOINT]),
        (PORTAL.replace("--fd 0", "--fd=0"), {}, []),
        (PORTAL.replace("--fd 0", "-e fd:fileno=0"), {}, []),
        (PORTAL, {"lacks_endpoint": True}, [NO_ENDPOINT]),
        (PORTAL.replace(COMMAND, "command=/start.sh"), {"lacks_endpoint": True}, []),
        (WORKER, {"lacks_endpoint": True}, []),
    ],
)
def test_a_program_that_cannot_answer(program: str, more: dict[str, Any], cannot_serve: list[str]) -> None:
    assert state_of(said(program, **more))["cannot_serve"] == cannot_serve


@pytest.mark.parametrize(
    ("more", "ready"),
    [({}, True), ({"answers": False}, False), ({"set_up": False}, False), ({"program": [WORKER]}, False)],
)
def test_when_a_portal_is_ready(more: dict[str, Any], ready: bool) -> None:
    assert state_of(json.dumps({**json.loads(said()), **more}))["ready"] is ready


@pytest.mark.parametrize("answers", [True, False])
def test_who_listens_has_not_answered_yet(tmp_path: Path, answers: bool) -> None:
    """Supervisor holds the socket while no process accepts."""
    (tmp_path / "asgi_supervisord.conf").write_bytes(PORTAL.replace("[f", "# caf\xe9\x1b\n[f").encode("latin-1"))
    (tmp_path / "setup_complete").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _address = server.accept()
            with connection:
                assert connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        if answers:
            threading.Thread(target=serve, daemon=True).start()
        port = str(server.getsockname()[1])
        env = {**os.environ, "TETHYS_PERSIST": str(tmp_path), "TETHYS_PORT": port}
        text = script().replace("settimeout(5)", "settimeout(0.5)")
        done = subprocess.run([sys.executable, "-I", "-c", text], env=env, capture_output=True, text=True, check=True)
    found = state_of(done.stdout)
    assert (found["listens"], found["ready"], found["processes"]) == (True, answers, 3)


def test_the_oldest_process_holds_a_lock(tmp_path: Path) -> None:
    (tmp_path / "tethys_asgi0.sock.lock").symlink_to(str(os.getpid()))
    # Of a process that is gone.
    (tmp_path / "tethys_asgi1.sock.lock").symlink_to("999999999")
    text = script().replace("/run/tethys_asgi", f"{tmp_path}/tethys_asgi")
    env = {**os.environ, "TETHYS_PERSIST": str(tmp_path), "TETHYS_PORT": "1"}
    done = subprocess.run([sys.executable, "-I", "-c", text], env=env, capture_output=True, text=True, check=True)
    key = proc.process_key(os.getpid())
    assert key
    assert state_of(done.stdout)["oldest"] == pytest.approx(proc.started_at(key), abs=1)
