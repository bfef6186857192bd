# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A supervisord with its configuration elsewhere, such as a conda environment's, is the one that runs the portal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import supervisord

PORTAL = "[fcgi-program:asgi]\ncommand=daphne tethys_portal.asgi:application\n"
PACKAGE = "conda/lib/python3.11/site-packages/supervisor/options.py"
OTHER = "[program:worker]\ncommand=/usr/bin/worker\n"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What is found on a server whose distribution has this configuration, and where these supervisords run."""
    usual = tmp_path / "etc.conf"

    def find(
        text: str | None, *commands: str, writers: tuple[str, ...] = (), portal: supervisord.Portal | None = None
    ) -> supervisord.Found:
        if text is not None:
            usual.write_text(text)
        words = [command.replace("FOLDER", str(tmp_path)).replace(" ", "\0") for command in commands]
        monkeypatch.setattr(supervisord.proc, "supervisords", lambda: list(range(len(words))))
        monkeypatch.setattr(supervisord.proc, "is_roots", lambda pid: "alice" not in words[pid])
        monkeypatch.setattr(supervisord.proc, "text", lambda pid, _name: words[pid])
        monkeypatch.setattr(supervisord.proc, "working_folder", lambda _pid: str(tmp_path))
        monkeypatch.setattr(supervisord.proc, "writers_of_program", lambda _pid: [])
        others = [f"{tmp_path}/{name}" for name in writers]
        monkeypatch.setattr(supervisord, "writable_by_others", lambda path: [path] if path in others else [])
        return supervisord.find([str(tmp_path / "none.conf"), str(usual)], portal or supervisord.Portal())

    yield find
    supervisord.select(None)


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """The configuration of a conda environment's supervisord, which reads the portal's program from a folder."""
    config = tmp_path / "conda" / "etc" / "supervisord.conf"
    (config.parent / "conf.d").mkdir(parents=True)
    config.write_text("[supervisord]\n[include]\nfiles = conf.d/*.conf\n")
    (config.parent / "conf.d" / "asgi.conf").write_text(PORTAL)
    (tmp_path / PACKAGE).parent.mkdir(parents=True)
    (tmp_path / PACKAGE).touch()
    return config


USUAL = "/usr/bin/python3 /usr/bin/supervisord -n -c FOLDER/etc.conf"
CONDA = "/usr/bin/python3.11 FOLDER/conda/bin/supervisord"
ELSEWHERE = "FOLDER/conda/etc/supervisord.conf"


@pytest.mark.parametrize(
    "command",
    [
        CONDA,
        f"{CONDA} -n -c FOLDER/conda/etc/supervisord.conf",
        f"{CONDA} -cFOLDER/conda/etc/supervisord.conf",
        f"{CONDA} -c conda/etc/supervisord.conf",
        f"{CONDA} --configuration FOLDER/conda/etc/supervisord.conf",
        f"{CONDA} --configuration=FOLDER/conda/x/../etc/supervisord.conf",
    ],
)
@pytest.mark.parametrize("text", [None, OTHER])
def test_one_that_runs_the_portal(server: Any, conda: Path, command: str, text: str | None) -> None:
    assert server(text, USUAL, command) == (str(conda), True, (), ())


@pytest.mark.parametrize("commands", [(), (USUAL,), (f"{CONDA} alice",), ("supervisord",)])
def test_the_distributions(server: Any, conda: Path, tmp_path: Path, commands: tuple[str, ...]) -> None:
    assert server(OTHER, *commands) == (f"{tmp_path}/etc.conf", commands == (USUAL,), (), ())
    (tmp_path / "etc.conf").unlink()
    assert server(None, *commands) == (None, False, (), ())


OF_PROD = PORTAL + "environment=TETHYS_HOME=/srv/prod\n"
OF_STAGING = PORTAL + "environment=TETHYS_HOME=/srv/staging\n"
PROD, THIRD = supervisord.Portal("/srv/prod", "/opt/conda"), supervisord.Portal("/srv/third", "/opt/conda")


@pytest.mark.parametrize(
    ("usual", "elsewhere", "portal", "which", "several", "of_stopped"),
    [
        (PORTAL, PORTAL, supervisord.Portal(), 0, True, 1),
        (OF_PROD, OF_STAGING, PROD, 0, False, 0),
        (OF_STAGING, OF_PROD, PROD, 1, False, 1),
        (OF_STAGING, OF_STAGING, THIRD, 0, True, 1),
        (OF_PROD, OF_PROD, PROD, 0, True, 1),
        # Only one runs a portal, whichever.
        (OTHER, OF_STAGING, THIRD, 1, False, 1),
        (OF_STAGING, OTHER, THIRD, 0, False, 0),
    ],
)
def test_which_of_two_that_run_portals(
    server: Any,
    conda: Path,
    tmp_path: Path,
    usual: str,
    elsewhere: str,
    portal: supervisord.Portal,
    which: int,
    several: bool,
    of_stopped: int,
) -> None:
    (conda.parent / "conf.d" / "asgi.conf").write_text(elsewhere)
    both = (f"{tmp_path}/etc.conf", str(conda))
    found = (both[which], True, (), both if several else ())
    assert server(usual, USUAL, CONDA, CONDA, portal=portal) == found
    # One whose command does not show its configuration may be the distribution's.
    assert server(usual, "supervisord", CONDA, portal=portal)[2:] == found[2:]
    # A program that a stopped one has left does not count beside one that runs.
    assert server(usual, CONDA, portal=portal) == (both[of_stopped], of_stopped == 1, (), ())


def test_the_distributions_configuration_is_a_link(server: Any, tmp_path: Path) -> None:
    """One file is one candidate, by whichever path its supervisord was started."""
    (tmp_path / "local.conf").write_text(PORTAL)
    (tmp_path / "etc.conf").symlink_to("local.conf")
    usual = [f"{tmp_path}/etc.conf"]
    assert server(None, USUAL.replace("etc.conf", "local.conf")) == (*usual, True, (), ())
    assert supervisord.runs_with(usual[0], usual) is True
    supervisord.keep(tmp_path, f"{tmp_path}/local.conf", usual)
    assert not (tmp_path / supervisord.NOTE).exists()


def test_one_that_a_run_has_used_runs_by_another_path(server: Any, conda: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("conda")
    supervisord.keep(tmp_path, str(conda), [])
    server(None, f"{CONDA} -c FOLDER/link/etc/supervisord.conf")
    assert supervisord.stopped(tmp_path) is None
    assert supervisord.runs_with(str(conda), []) is True


def test_two_elsewhere_that_run_portals(server: Any, conda: Path, tmp_path: Path) -> None:
    (tmp_path / "other.conf").write_text(OF_STAGING)
    (conda.parent / "conf.d" / "asgi.conf").write_text(OF_PROD)
    other = "/usr/bin/python3 /usr/bin/supervisord -c FOLDER/other.conf"
    both = (f"{tmp_path}/other.conf", str(conda))
    assert server(None, other, CONDA, portal=THIRD) == (both[0], True, (), both)
    assert server(None, other, CONDA, portal=PROD) == (both[1], True, (), ())


def test_the_one_that_is_set(server: Any, conda: Path, tmp_path: Path) -> None:
    supervisord.select(str(conda))
    assert server(PORTAL, CONDA) == (str(conda), True, (), ())
    assert server(PORTAL) == (str(conda), False, (), ())
    assert server(PORTAL, f"{CONDA} alice") == (str(conda), False, (), ())
    assert server(PORTAL, writers=("conda/etc/supervisord.conf",)) == (str(conda), False, (str(conda),), ())
    # It runs by another path, and others can change what it executes.
    (tmp_path / "link").symlink_to("conda")
    linked = "/usr/bin/python3.11 FOLDER/link/bin/supervisord -c FOLDER/link/etc/supervisord.conf"
    assert server(PORTAL, linked, writers=("link/bin/supervisord",)) == (str(conda), True, (str(conda),), ())
    supervisord.select(None)
    assert server(OTHER, CONDA).config == str(conda)


def test_the_one_that_is_set_while_another_runs_the_portal(server: Any, conda: Path, tmp_path: Path) -> None:
    (conda.parent / "conf.d" / "asgi.conf").write_text(OF_PROD)
    supervisord.select(f"{tmp_path}/etc.conf")
    assert server(OTHER, USUAL, CONDA, portal=PROD) == (f"{tmp_path}/etc.conf", True, (), (str(conda),))
    assert server(OF_PROD, USUAL, CONDA, portal=PROD).candidates == ()
    assert server(OTHER, USUAL, CONDA, portal=THIRD).candidates == ()
    # The other one does not run, or is not asked for a portal.
    assert server(OTHER, USUAL, portal=PROD).candidates == ()
    assert server(OTHER, USUAL, CONDA).candidates == ()


def test_the_command_of_its_client(server: Any, conda: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for config in (None, *supervisord.OF_CLIENT):
        assert supervisord.client(config, "status") == "supervisorctl status"
    assert supervisord.client("/opt/a b/s.conf", "stop", "a:*") == "supervisorctl -c '/opt/a b/s.conf' stop 'a:*'"
    assert supervisord.starter(None) == "systemctl start supervisor"
    assert supervisord.starter("/etc/supervisor/supervisord.conf") == "systemctl start supervisor"
    # EPEL's.
    assert supervisord.starter("/etc/supervisord.conf") == "systemctl start supervisord"
    assert supervisord.starter("/opt/s.conf") == "supervisord -c /opt/s.conf"
    server(None, CONDA)
    monkeypatch.setattr(supervisord.proc, "is_supervisord", lambda pid: pid == 2)
    monkeypatch.setattr(supervisord.proc, "parent", {9: 2, 7: 1}.get)
    monkeypatch.setattr(supervisord, "config_of", {2: str(conda)}.get)
    assert supervisord.client_of(9, "tail", "asgi") == f"supervisorctl -c {conda} tail asgi"
    assert supervisord.client_of(2, "status") == f"supervisorctl -c {conda} status"
    assert supervisord.client_of(7, "status") == "supervisorctl status"


def test_one_of_something_else_is_left_alone(server: Any, conda: Path) -> None:
    (conda.parent / "conf.d" / "asgi.conf").write_text(OTHER)
    assert server(None, CONDA) == (None, False, (), ())


@pytest.mark.parametrize(
    ("command", "writer"),
    [
        (CONDA, "conda/etc/supervisord.conf"),
        (CONDA, "conda/bin/supervisord"),
        (CONDA, PACKAGE),
        (CONDA, "conda/lib/python3.11/site-packages"),
        (f"/usr/bin/python3 conda/bin/supervisord -c {ELSEWHERE}", "conda/bin/supervisord"),
        # Started by the interpreter of an environment that the script is not in.
        (f"FOLDER/conda/bin/python3 /usr/bin/supervisord -c {ELSEWHERE}", PACKAGE),
        (f"FOLDER/conda/bin/python3 /usr/bin/supervisord -c {ELSEWHERE}", "conda/bin/python3"),
    ],
)
@pytest.mark.parametrize("text", [None, OTHER, PORTAL])
def test_one_that_others_can_change_is_not_used(
    server: Any, conda: Path, tmp_path: Path, text: str | None, command: str, writer: str
) -> None:
    usual = None if text is None else f"{tmp_path}/etc.conf"
    assert server(text, command, writers=(writer,)) == (usual, False, (str(conda),), ())


def test_one_that_others_can_change_is_named_beside_the_one_that_is_used(
    server: Any, conda: Path, tmp_path: Path
) -> None:
    (tmp_path / "theirs.conf").write_text(PORTAL)
    theirs = "/usr/bin/python3 /usr/bin/supervisord -c FOLDER/theirs.conf"
    found = server(None, theirs, CONDA, writers=("theirs.conf",))
    assert found == (str(conda), True, (f"{tmp_path}/theirs.conf",), ())


def test_which_one_does_not_answer(server: Any, conda: Path, tmp_path: Path) -> None:
    usual = [str(tmp_path / "etc.conf"), str(tmp_path / "other.conf")]
    server(OTHER, CONDA)
    assert supervisord.runs_with(usual[0], usual) is False
    assert supervisord.runs_with(str(conda), usual) is True
    server(OTHER, CONDA, "/usr/bin/python3 /usr/bin/supervisord -c FOLDER/other.conf")
    assert supervisord.runs_with(usual[0], usual) is True
    server(OTHER, "/usr/bin/python3 /usr/bin/supervisord")
    assert supervisord.runs_with(usual[0], usual) is True


# --- one that an earlier run has used ---------------------------------------------------------------------------------


def test_one_that_a_run_has_used_is_missed_once_it_does_not_run(server: Any, conda: Path, tmp_path: Path) -> None:
    server(None, CONDA)
    usual = [str(tmp_path / "etc.conf")]
    assert supervisord.stopped(tmp_path) is None
    supervisord.keep(tmp_path, str(conda), usual)
    assert supervisord.stopped(tmp_path) is None
    # The distribution's runs, and so does alice's, which only says that it has that configuration.
    server(OTHER, "/usr/bin/python3 /usr/bin/supervisord -n -c FOLDER/etc.conf", f"{CONDA} alice")
    assert supervisord.stopped(tmp_path) == str(conda)
    conda.unlink()
    assert supervisord.stopped(tmp_path) is None


def test_the_distributions_is_not_recorded(server: Any, conda: Path, tmp_path: Path) -> None:
    server(OTHER)
    usual = [str(tmp_path / "etc.conf")]
    supervisord.keep(tmp_path, str(conda), usual)
    supervisord.keep(tmp_path, usual[0], usual)
    assert supervisord.stopped(tmp_path) is None
    assert not (tmp_path / supervisord.NOTE).exists()
