# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `docker` of the test steps leaves all but a command in a test server to the real one."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TESTING = Path(os.environ.get("TETHYS_CHANNELS_ROOT", ".")) / "molecule" / "shared" / "testing"
REAL = """#!/bin/sh
if [ "$1" = inspect ]; then
    for name in "$@"; do :; done
    case $name in
        server-*) echo "default $(printf '%064d' 7) {pid}" ;;
        *) echo " $(printf '%064d' 8) {pid}" ;;
    esac
    exit
fi
printf '<%s>' real "$@"
"""


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """A copy of it in a separate tree, and a real one behind it in the PATH, whose servers do not run."""
    place = tmp_path / "molecule" / "shared" / "testing" / "bin"
    real = tmp_path / "real"
    place.mkdir(parents=True)
    real.mkdir()
    (place / "docker").write_text((TESTING / "bin" / "docker").read_text(encoding="utf-8"), encoding="utf-8")
    (real / "docker").write_text(REAL.replace("{pid}", str(os.getpid())), encoding="utf-8")
    for path in (place / "docker", real / "docker"):
        path.chmod(0o755)
    return place / "docker"


@pytest.mark.parametrize(
    "words",
    [
        ["ps", "-a"],
        ["exec", "--user", "www", "server-a", "true"],
        ["exec", "-it", "server-a", "bash"],
        ["exec", "-i", "-u", "root", "server-a", "true"],
        ["exec", "someone-elses", "echo", "a  b", ""],
        # A server whose first process has another control group, as where the engine is on another machine.
        ["exec", "-i", "server-a", "sh", "-c", 'echo "$HOME"'],
        ["exec", "server-a", "true"],
        ["exec"],
        [],
    ],
    ids=" ".join,
)
def test_what_is_left_to_the_real_one(docker: Path, words: list[str]) -> None:
    path = os.pathsep.join([str(docker.parent), str(docker.parents[4] / "real"), os.environ["PATH"]])
    run = subprocess.run(["docker", *words], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert run.stdout == "".join(f"<{word}>" for word in ["real", *words]), run.stderr
    assert not list(docker.parents[4].glob(".cache/servers/*"))


def test_without_a_real_one(docker: Path) -> None:
    env = {"PATH": f"{docker.parent}"}
    run = subprocess.run([str(docker), "ps"], env=env, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (127, "docker is not in the PATH.\n")
