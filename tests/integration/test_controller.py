# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller does of a run before it reaches a server, and what it needs for that.

scripts/check-versions runs this in environments that hold ansible-core and what meta/execution-environment.yml lists.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(os.environ.get("TETHYS_CHANNELS_ROOT") or Path(__file__).parents[2])
PORTALS = {
    "hosts": {"portal.invalid": {}},
    "vars": {"tethys_home": "/var/lib/tethys", "tethys_conda_prefix": "/opt/conda/envs/tethys"},
}


@pytest.fixture(scope="session")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the collection is installed, from its tarball, as the only one besides those that come with Ansible."""
    folder = tmp_path_factory.mktemp("controller")
    found = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(folder),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_NOCOLOR": "1",
    }
    build = ["ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(folder)]
    subprocess.run(build, env=found, capture_output=True, check=True)
    (tarball,) = folder.glob("*.tar.gz")
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", str(folder), str(tarball)]
    subprocess.run(install, env=found, capture_output=True, check=True)
    return found


@pytest.mark.parametrize(
    ("playbook", "given", "sentence"),
    [
        ("site", {"tethys_asgi_processes": "none"}, "tethys_asgi_processes is 'none'"),
        ("site", {"redis_container_prot": 1}, "did you mean 'redis_container_port'?"),
        ("check", {"tethys_layer_backend": "x"}, "tethys_layer_backend is 'x'"),
    ],
)
def test_a_wrong_variable_is_refused_before_the_server_is_asked(
    variables: dict[str, str], tmp_path: Path, playbook: str, given: dict[str, object], sentence: str
) -> None:
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(json.dumps({"portals": PORTALS}), encoding="utf-8")
    command = ["ansible-playbook", "-i", str(inventory), "-e", json.dumps(given), f"tethys.channels.{playbook}"]
    ran = subprocess.run(
        command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    said = " ".join((ran.stdout + ran.stderr).split())
    assert ran.returncode != 0, said
    assert "Refused; nothing was changed." in said
    assert sentence in said
    # The name of that host does not exist: if it were contacted, it would be unreachable.
    assert "UNREACHABLE" not in said
    assert "Traceback" not in said


def test_what_a_controller_imports_is_told() -> None:
    # Anything else that a filter imports would have to be in meta/ee-requirements.txt.
    names = set()
    for folder in ("filter", "plugin_utils"):
        for path in (ROOT / "plugins" / folder).glob("*.py"):
            names.update(re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    listed = (ROOT / "meta" / "ee-requirements.txt").read_text(encoding="utf-8")
    wanted = {line.lower() for line in listed.splitlines() if line and not line.startswith("#")}
    assert {re.split(r"[<>=]", name)[0] for name in wanted} == {"cryptography", "pyyaml"}
    assert names - set(sys.stdlib_module_names) - {"ansible", "ansible_collections"} <= {"cryptography", "yaml"}


def test_the_collections_that_a_controller_needs_are_those_of_the_manifest() -> None:
    listed = yaml.safe_load((ROOT / "meta" / "ee-requirements.yml").read_text(encoding="utf-8"))["collections"]
    manifest = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert {entry["name"]: entry["version"] for entry in listed} == manifest["dependencies"]


def test_the_roles_and_playbooks_call_no_other_collection() -> None:
    known = {"ansible.builtin", "tethys.channels", "community.crypto", "community.docker"}
    found = set()
    for folder in ("roles", "playbooks"):
        for path in (ROOT / folder).rglob("*.yml"):
            if "meta" not in path.parts:
                text = path.read_text(encoding="utf-8")
                found.update(re.findall(r"^[ -]+([a-z_]+\.[a-z_]+)\.[a-z_0-9]+:(?: |$)", text, re.MULTILINE))
    assert found == known
