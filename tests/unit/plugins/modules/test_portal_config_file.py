# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A portal_config.yml is created by the portal's own command, with the rights of the portal's user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.module_utils import portal_user
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import account_of
from ansible_collections.tethys.channels.plugins.modules import portal_config_file

Create = Callable[..., dict[str, Any]]
GEN = """printf 'SECRET_KEY: s3cret\\n' > "$TETHYS_HOME/portal_config.yml"
printf '%s\\n' "$*" "$(umask)" "$(id -u)" "$(grep NoNewPrivs /proc/self/status)" "$(pwd)" > "$TETHYS_HOME/seen"
env > "$TETHYS_HOME/env"
"""
ROLES = Path(str(portal_config_file.__file__)).parents[2] / "roles"


@pytest.fixture
def user() -> str:
    """The portal's user: another one than root, where this is root."""
    return "nobody" if os.geteuid() == 0 else account_of(os.geteuid()).name


@pytest.fixture
def place(user: str) -> Iterator[Path]:
    """A folder that the user reaches, with a TETHYS_HOME and an environment of that user's."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "home").mkdir()
    (folder / "env" / "bin").mkdir(parents=True)
    if os.geteuid() == 0:
        for path in (folder / "home", folder / "env", folder / "env" / "bin"):
            os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def create(run_module: Create, place: Path, user: str) -> Create:
    """Runs the module with a `tethys` of that text."""

    def run(text: str = GEN, **arguments: Any) -> dict[str, Any]:
        program = place / "env" / "bin" / "tethys"
        program.write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)
        given = {"prefix": str(place / "env"), "home": str(place / "home"), "user": user, **arguments}
        return run_module(portal_config_file.main, **given)

    return run


def test_it_is_created_as_the_portals_user_and_for_nobody_else(create: Create, place: Path, user: str) -> None:
    path = place / "home" / "portal_config.yml"
    assert create() == {"changed": True, "path": str(path)}
    found = path.stat()
    assert (account_of(found.st_uid).name, stat.S_IMODE(found.st_mode)) == (user, 0o600)
    words, mask, uid, privileges, folder = (place / "home" / "seen").read_text().splitlines()
    assert (words, mask, int(uid), folder) == ("gen portal_config", "0077", found.st_uid, "/")
    if os.geteuid() == 0:
        assert privileges.split()[-1] == "1"
    assert "s3cret" not in json.dumps(create())


def test_nothing_of_ansibles_environment_is_handed_on(
    create: Create, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "admin")
    create()
    seen = (place / "home" / "env").read_text()
    assert f"TETHYS_HOME={place / 'home'}" in seen
    assert f"PATH={place / 'env' / 'bin'}:" in seen
    assert "SUDO_USER" not in seen


def test_no_program_of_the_environment_runs_as_this_process(create: Create, place: Path) -> None:
    """The owner of the environment has names there that root's own programs have."""
    for name in ("runuser", "sh", "python", "python3"):
        program = place / "env" / "bin" / name
        program.write_text(f'#!/bin/sh\n/usr/bin/id -u > "{place}/home/ran_$(/usr/bin/id -u)"\nexit 1\n')
        program.chmod(0o755)
    assert create()["changed"] is True
    if os.geteuid() == 0:
        assert not (place / "home" / "ran_0").exists()


@pytest.mark.parametrize("check", [False, True])
def test_one_that_exists_is_not_changed(create: Create, place: Path, check: bool) -> None:
    path = place / "home" / "portal_config.yml"
    path.write_text("mine")
    assert create(check=check)["changed"] is False
    assert path.read_text() == "mine"
    assert not (place / "home" / "seen").exists()


def test_check_mode_starts_nothing(create: Create, place: Path) -> None:
    assert create(check=True)["changed"] is True
    assert not list((place / "home").iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo 'No \x1b[31mspace.' >&2; exit 3", "ended with status 3, and its last line is: No [31mspace."),
        ("exit 0", "ended without an error, and the file does not exist"),
        ("sleep 60", "did not end within 1 s"),
        ("while :; do echo much; done", "wrote more than 65536 bytes"),
    ],
)
def test_why_it_is_not_created(
    create: Create, place: Path, user: str, text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_config_file, "MOST_BYTES", 65536)
    result = create(text, timeout=1 if "sleep" in text else 60)
    assert result["failed"]
    assert f"{place}/home/portal_config.yml is not created: {place}/env/bin/tethys" in result["msg"]
    assert words in result["msg"]
    assert f"as user {user}" in result["msg"]


@pytest.mark.parametrize("name", ["root", "nobody_of_that_name"])
def test_it_does_not_run_as_root(create: Create, place: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_user, "ROOT", 0)
    assert f"user is {name}: the portal's command cannot run as that user" in create(user=name)["msg"]
    assert not list((place / "home").iterdir())


def test_no_task_gives_root_an_environment() -> None:
    """A task's `environment` is that of root's own process, so a PATH there chooses what root executes."""
    waiting = [(path, task) for path in ROLES.glob("*/tasks/*.yml") for task in yaml.safe_load(path.read_text()) or []]
    assert waiting
    while waiting:
        path, task = waiting.pop()
        assert "environment" not in task, (path, task.get("name"))
        waiting += [(path, inner) for key in ("block", "rescue", "always") for inner in task.get(key) or []]
