# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a user gets it: built, installed into an empty folder, and called by its name.

TETHYS_CHANNELS_ROOT is the checkout that it is built from, with whatever lies around in it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from packaging.version import Version

ROOT = Path(os.environ.get("TETHYS_CHANNELS_ROOT") or Path(__file__).parents[2])
NAME = "tethys.channels"
VERSION = Version(yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"])
FILTERS = sorted(path.stem for path in (ROOT / "plugins" / "filter").glob("*.py"))
# An action without a module of its name has its documentation there too.
MODULES = sorted({path.stem for kind in ("modules", "action") for path in (ROOT / "plugins" / kind).glob("*.*")})
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
# What is in the tarball besides the files of the checkout.
MADE = {"MANIFEST.json", "FILES.json"}


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """One command, its output and errors in one stream as on a terminal."""
    return subprocess.run(
        command,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def answer(ran: subprocess.CompletedProcess[str]) -> Any:
    """The JSON in an output. ansible-core 2.20 prints a warning about its own collection before it."""
    return json.loads(ran.stdout[ran.stdout.index("{") :])


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, built from the checkout."""
    folder = tmp_path_factory.mktemp("built")
    built = run(["ansible-galaxy", "collection", "build", str(ROOT), "--output-path", str(folder)])
    assert built.returncode == 0, built.stdout
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="session")
def ansible(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Calls Ansible's programs where this is the only collection besides those that come with Ansible."""
    folder = tmp_path_factory.mktemp("user")
    variables = {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_HOME": str(folder / "home")}
    install = ["ansible-galaxy", "collection", "install", "--offline", "--no-deps", "-p", str(folder), str(tarball)]
    installed = run(install, **variables)
    assert installed.returncode == 0, installed.stdout

    def call(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run(list(command), **variables, **more)

    return call


@pytest.fixture(scope="session")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One portal, as the README has it."""
    path = tmp_path_factory.mktemp("inventory") / "inventory.yml"
    variables = {"tethys_home": "/var/lib/tethys", "tethys_conda_prefix": "/opt/conda/envs/tethys"}
    path.write_text(json.dumps({"portals": {"hosts": {"portal.example.org": {}}, "vars": variables}}), encoding="utf-8")
    return path


# --- the tarball ----------------------------------------------------------------------------------------------------


def test_the_tarball_holds_files_of_the_checkout_only(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = {member.name for member in archive.getmembers() if not member.isdir()}
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    known = set(listed.stdout.decode().split("\0"))
    assert sorted(names - MADE - known) == []
    assert names >= MADE
    for name in ("README.md", "LICENSE", "meta/runtime.yml", *(f"playbooks/{name}.yml" for name in PLAYBOOKS)):
        assert name in names
    for name in names:
        parts = PurePosixPath(name).parts
        assert not {".git", ".cache", ".venv", ".ansible", ".hypothesis", "__pycache__", ".ci"} & set(parts), name
    assert tarball.stat().st_size < 2_000_000


def test_the_tarball_holds_no_secret(tarball: Path) -> None:
    secret = re.compile(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bsecret_?key *[:=] *['\"]?[A-Za-z0-9!@#$%^&*(-]{40,}", re.IGNORECASE
    )
    with tarfile.open(tarball) as archive:
        for member in archive.getmembers():
            stream = archive.extractfile(member)
            if stream:
                assert not secret.search(stream.read()), member.name
            assert not member.name.endswith((".pem", ".key", ".sqlite", "credentials.json")), member.name


def test_the_manifest_is_galaxys(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        stream = archive.extractfile("MANIFEST.json")
        assert stream
        about = json.load(stream)["collection_info"]
    written = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert tarball.name == f"tethys-channels-{written['version']}.tar.gz"
    assert (about["namespace"], about["name"], about["version"]) == ("tethys", "channels", written["version"])
    assert about["license_file"] == "LICENSE"
    assert about["dependencies"] == {"community.crypto": ">=3.0.0", "community.docker": ">=3.11.0"}


def test_the_dependency_is_there(ansible: Any) -> None:
    listed = ansible("ansible-galaxy", "collection", "list", "--format", "json", "community.docker")
    versions = re.findall(r'"version": "(\d+)\.(\d+)', listed.stdout)
    assert versions, listed.stdout
    assert all((int(major), int(minor)) >= (3, 11) for major, minor in versions)


def test_one_line_installs_it_from_git(tmp_path: Path) -> None:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    address = f"git+{ROOT.resolve().as_uri()},{commit.stdout.strip()}"
    variables = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "home")}
    # Offline: the collections that it depends on come with the package `ansible`, or are in the environment.
    command = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(tmp_path), address]
    installed = run(command, **variables)
    assert installed.returncode == 0, installed.stdout
    found = answer(run(["ansible-galaxy", "collection", "list", "--format", "json", NAME], **variables))
    assert Version(found[str(tmp_path / "ansible_collections")][NAME]["version"]) == VERSION


def test_a_release_is_a_commit_with_notes_and_a_tag(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    # The tools of .venv, behind the ansible-core that is tested.
    where = f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}"
    release = [str(clone / "scripts" / "release"), "77.0.0"]
    for command in (
        ["git", "clone", "-q", str(ROOT), str(clone)],
        ["git", "-C", str(clone), "config", "user.email", "somebody@example.org"],
        ["git", "-C", str(clone), "config", "user.name", "Somebody"],
        release,
    ):
        made = run(command, PATH=where)
        assert made.returncode == 0, made.stdout
    log = yaml.safe_load((clone / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))
    assert "77.0.0" in log["releases"]
    # Nothing was released before the first one, so nothing of it is a correction or another default.
    first = log["releases"][min(log["releases"], key=Version)]
    assert set(first["changes"]) == {"release_summary", "major_changes", "known_issues"}
    assert "v77.0.0" in (clone / "CHANGELOG.rst").read_text(encoding="utf-8")
    assert list((clone / "changelogs" / "fragments").glob("*.yml")) == []
    last = run(["git", "-C", str(clone), "log", "-1", "--format=%s, %D"])
    assert last.stdout.startswith("Release 77.0.0, ")
    assert "tag: 77.0.0" in last.stdout
    again = run(release, PATH=where)
    assert (again.returncode, "is released already" in again.stdout) == (1, True)


# --- documentation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "names"), [("filter", FILTERS), ("module", MODULES)])
def test_every_plugin_is_documented(ansible: Any, kind: str, names: list[str]) -> None:
    assert names
    listed = answer(ansible("ansible-doc", "-t", kind, "-l", "-j", NAME))
    assert sorted(listed) == [f"{NAME}.{name}" for name in names]
    # ansible-doc succeeds for a plugin that does not exist.
    found = answer(ansible("ansible-doc", "-t", kind, "-j", *listed))
    assert sorted(found) == sorted(listed)
    for name, about in found.items():
        assert about["doc"]["short_description"], name
        assert Version(about["doc"]["version_added"]) <= VERSION, name
        assert about["doc"]["author"], name
        assert about["examples"], name
        assert about["return"], name
        assert f"{NAME}.{name.rpartition('.')[2]}" in str(about["examples"]), name


def test_every_role_is_documented(ansible: Any) -> None:
    ran = ansible("ansible-doc", "-t", "role", "-j", *(f"{NAME}.{role}" for role in ROLES))
    before = ran.stdout.partition("{\n")[0]
    warnings = [text.replace("\n", "") for text in re.findall(r"^\[[A-Z ]*WARNING\]: (?:.+\n)+", before, re.MULTILINE)]
    # ansible-core 2.20 prints a warning about its own collection, in an environment that is in this clone.
    assert [text for text in warnings if "tethys" in text.replace(str(ROOT), "")] == []
    found = answer(ran)
    assert sorted(found) == [f"{NAME}.{role}" for role in ROLES]
    for name, about in found.items():
        main = about["entry_points"]["main"]
        assert main["short_description"], name
        assert all(option["description"] for option in main["options"].values()), name


# --- playbooks and roles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_playbook_is_found_by_its_name(ansible: Any, inventory: Path, playbook: str) -> None:
    checked = ansible("ansible-playbook", "--syntax-check", "-i", str(inventory), f"{NAME}.{playbook}")
    assert checked.returncode == 0, checked.stdout
    assert "[ERROR]" not in checked.stdout


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_an_inventory_without_portals_is_an_error(ansible: Any, tmp_path: Path, playbook: str) -> None:
    path = tmp_path / "inventory.yml"
    path.write_text(json.dumps({"all": {"hosts": {"somewhere": {}}}}), encoding="utf-8")
    ran = ansible("ansible-playbook", "-i", str(path), f"{NAME}.{playbook}")
    assert ran.returncode != 0, ran.stdout
    assert (
        "No host matches 'portals': put the portals' hosts into the inventory's group `portals`, or name another"
        " pattern with -e tethys_hosts=…." in " ".join(ran.stdout.split())
    )


def test_another_pattern_is_named_in_the_error(ansible: Any, inventory: Path) -> None:
    ran = ansible("ansible-playbook", "-i", str(inventory), "-e", "tethys_hosts=servers", f"{NAME}.site")
    assert ran.returncode != 0, ran.stdout
    assert "No host matches 'servers'" in ran.stdout


def test_every_roles_defaults_and_specs_load(ansible: Any, tmp_path: Path) -> None:
    shown = {
        name: f"{{{{ {name} }}}}"
        for role in ROLES
        for name, value in yaml.safe_load(
            (ROOT / "roles" / role / "defaults" / "main.yml").read_text(encoding="utf-8")
        ).items()
        if "{{" not in str(value)
    }
    path = tmp_path / "play.yml"
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "roles": [{"role": f"{NAME}.{role}", "when": False} for role in ROLES],
        "post_tasks": [
            {
                "ansible.builtin.copy": {"content": "{{ shown | to_json }}", "dest": str(tmp_path / "shown")},
                "vars": {"shown": shown},
            }
        ],
    }
    path.write_text(json.dumps([play]), encoding="utf-8")
    # Without an inventory, so that it is Ansible's own Python that writes the file.
    ran = ansible("ansible-playbook", str(path))
    assert ran.returncode == 0, ran.stdout
    found = json.loads((tmp_path / "shown").read_text(encoding="utf-8"))
    assert len(found) >= 20
    assert found["redis_container_port"] == 6379
    assert found["preflight_goal"] == "site"


# --- filters --------------------------------------------------------------------------------------------------------

CALLS: dict[str, tuple[str, Any]] = {
    "asgi_processes": ("'3' | {}(bokeh=false)", 3),
    "channel_layers": (
        "[['127.0.0.1', 6379]] | {}(options={{'capacity': 500}})",
        {
            "default": {
                "BACKEND": "channels_redis.core.RedisChannelLayer",
                "CONFIG": {"hosts": [{"host": "127.0.0.1", "port": 6379, "socket_timeout": 15}], "capacity": 500},
            }
        },
    ),
    "docker_env": ("{{'hosts': []}} | {}('env_file')", None),
    "merge_settings": (
        "'settings:\n  A: 1  # ours\n' | {}({{'B': 2}})",
        "settings:\n  A: 1  # ours\n  B: 2\n",
    ),
}


def test_every_filter_is_called_somewhere() -> None:
    assert sorted(CALLS) == FILTERS


@pytest.mark.parametrize("name", [name for name, (_call, result) in CALLS.items() if result is not None])
def test_a_filter_in_an_ad_hoc_call(ansible: Any, name: str) -> None:
    call, result = CALLS[name]
    message = "{{ " + call.format(f"{NAME}.{name}") + " }}"
    ran = ansible("ansible", "localhost", "-c", "local", "-o", "-m", "debug", "-a", json.dumps({"msg": message}))
    assert ran.returncode == 0, ran.stdout
    said = json.loads(ran.stdout[ran.stdout.index("=> ") + 3 :])
    assert said["msg"] == result


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("3 | {}.asgi_processes", "tethys_asgi_processes is 3 and it could not be found out whether an app uses Bokeh"),
        ("[] | {}.channel_layers", "tethys_layer_hosts is empty"),
        ("'- 1' | {}.merge_settings({{}})", "mapping"),
    ],
)
def test_a_filter_refuses_in_a_play_too(ansible: Any, call: str, sentence: str) -> None:
    message = "{{ " + call.format(NAME) + " }}"
    ran = ansible("ansible", "localhost", "-c", "local", "-m", "debug", "-a", json.dumps({"msg": message}))
    assert ran.returncode != 0, ran.stdout
    assert sentence in " ".join(ran.stdout.split())
    assert "Traceback" not in ran.stdout


def test_a_container_has_no_say_in_later_tasks(ansible: Any, tmp_path: Path) -> None:
    """What code in a container answers in a module's place: nothing that Ansible, or a terminal, acts on."""
    there = tmp_path / "theirs"
    result = {"portal": {}, "ansible_facts": {"ansible_remote_tmp": str(there)}}
    told = json.dumps({"result": result, "warnings": ["\x1b[31mred\x9b0m"], "hidden": []})
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\ncat > {os.devnull}\nprintf %s '{told}'\n", encoding="utf-8")
    docker.chmod(0o755)
    called = {"container": "tethys", "python": "/usr/bin/python3", "module": "portal_info", "source": "pass"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable},
        "tasks": [
            {"tethys.channels.tethys_docker_exec": called, "ignore_errors": True},
            {"ansible.builtin.command": "true"},
        ],
    }
    path = tmp_path / "play.yml"
    path.write_text(json.dumps([play]), encoding="utf-8")
    where = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    # Without pipelining, so that the second task has files to put somewhere; and they stay there.
    files = {"ANSIBLE_PIPELINING": "0", "ANSIBLE_KEEP_REMOTE_FILES": "1", "ANSIBLE_REMOTE_TMP": str(tmp_path / "ours")}
    ran = ansible("ansible-playbook", "-i", "localhost,", str(path), PATH=where, **files)
    assert "ok=2" in ran.stdout, ran.stdout
    assert not there.exists()
    assert not re.search("[\x1b\x80-\x9f]", ran.stdout), ran.stdout
