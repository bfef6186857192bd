# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The look at a project: which files Compose reads, what is ours, and what may be shown."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.modules import tethys_docker_info

INSIDE = {
    "set_up": True,
    "set_up_at": 1795347000.5,
    "ready": True,
    "processes": 3,
    "others_can_read": False,
    "kept": {"fresh": True, "processes": 1},
    "oldest": 1795347001.0,
}
OURS = tethys_docker_info.MARK + ": x\n"


def look(folder: Path, **params: Any) -> tethys_docker_info.Look:
    given = {
        "project_dir": str(folder),
        "compose_files": [],
        "override_file": "docker-compose.override.yml",
        "dockerfile": "Dockerfile",
        "portal_service": "tethys",
        "redis_service": "redis",
        "container": "tethys",
        "network": "internal",
        "credentials_dir": None,
        "user": "www",
        "candidate": None,
    }
    return tethys_docker_info.Look({**given, **params})


def found(folder: Path, **params: Any) -> dict[str, Any]:
    one = look(folder, **params)
    one.files()
    return one.found


@pytest.mark.parametrize(
    ("names", "files", "reads_ours", "in_place"),
    [
        ([], [], False, None),
        (["docker-compose.yml"], ["docker-compose.yml"], True, None),
        (["compose.yaml", "docker-compose.yml"], ["compose.yaml"], True, None),
        (["docker-compose.yml", "docker-compose.override.yml"], ["docker-compose.yml"], True, None),
        (
            ["docker-compose.yml", "compose.override.yml"],
            ["docker-compose.yml", "compose.override.yml"],
            False,
            "compose.override.yml",
        ),
    ],
)
def test_the_files_that_compose_finds(
    tmp_path: Path, names: list[str], files: list[str], reads_ours: bool, in_place: str | None
) -> None:
    for name in names:
        (tmp_path / name).write_text(OURS if name == "docker-compose.override.yml" else "services: {}\n")
    about = found(tmp_path)
    assert (about["files"], about["reads_ours"], about["in_place"]) == (files, reads_ours, in_place)


def test_a_name_of_ones_own_beside_ones_own_override(tmp_path: Path) -> None:
    for name in ("docker-compose.yml", "docker-compose.override.yml"):
        (tmp_path / name).write_text("services: {}\n")
    about = found(tmp_path, override_file="channels.yml")
    assert about["files"] == ["docker-compose.yml", "docker-compose.override.yml"]
    assert about["reads_ours"] is False
    assert about["in_place"] is None
    (tmp_path / ".env").write_text("A=1\nCOMPOSE_FILE='docker-compose.yml:channels.yml'\n")
    about = found(tmp_path, override_file="channels.yml")
    assert (about["files"], about["reads_ours"]) == (["docker-compose.yml"], True)


def test_a_file_of_ours_under_its_earlier_name(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    (tmp_path / "docker-compose.override.yml").write_text(OURS)
    assert found(tmp_path)["earlier"] == []
    assert found(tmp_path, override_file="channels.yml")["earlier"] == ["docker-compose.override.yml"]
    # One that Compose does not read by itself.
    (tmp_path / "channels.yml").write_text(OURS)
    about = found(tmp_path)
    assert (about["earlier"], about["elsewhere"]) == ([], ["channels.yml"])


def test_files_that_are_named(tmp_path: Path) -> None:
    about = found(tmp_path, compose_files=["a.yml", "docker-compose.override.yml"])
    assert (about["files"], about["reads_ours"]) == (["a.yml"], True)


@pytest.mark.parametrize(("text", "ours"), [(OURS, True), ("services: {}\n# Managed by tethys.channels\n", False)])
def test_whose_the_file_is(tmp_path: Path, text: str, ours: bool) -> None:
    (tmp_path / "docker-compose.yml").write_text("")
    (tmp_path / "docker-compose.override.yml").write_text(text)
    about = found(tmp_path)["override"]
    assert (about["exists"], about["ours"], about["text"]) == (True, ours, text if ours else "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("FROM x\nCMD y\n", None),
        ("# a\n# escape=`\nFROM x\n", "escapes with another sign than the backslash"),
        ("# escape=\\\nFROM x\n", None),
        ("FROM x\n# escape=`\n", None),
        ("# only a comment\n", "has no FROM"),
        ("FROM x\nRUN a \\\n", "ends in the middle of an instruction"),
    ],
)
def test_a_dockerfile_that_can_take_a_block(tmp_path: Path, text: str, problem: str | None) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    one = look(tmp_path)
    one.docker_file()
    assert one.found["dockerfile"] == {"exists": True, "ours": False, "problem": problem}


def test_a_file_of_blank_lines_is_soon_read(tmp_path: Path) -> None:
    """A pattern that goes on over the ends of lines takes quadratic time."""
    for name in (".env", "Dockerfile"):
        (tmp_path / name).write_text("\n" * 50_000)
    started = time.monotonic()
    assert tethys_docker_info.named_in_dotenv(tmp_path) == []
    one = look(tmp_path)
    one.docker_file()
    assert one.found["dockerfile"]["problem"] == "has no FROM"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "text", ["COMPOSE_FILE=a.yml:b.yml", " export COMPOSE_FILE = 'a.yml:b.yml' \r", "A=\nCOMPOSE_FILE="]
)
def test_the_files_that_a_dotenv_names(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_bytes(f"{text}\nB=1\n".encode())
    assert tethys_docker_info.named_in_dotenv(tmp_path) == (["a.yml", "b.yml"] if "a.yml" in text else [])


@pytest.mark.parametrize("of", [dict, list])
def test_only_what_is_no_secret_is_told(of: type) -> None:
    env = {"ASGI_PROCESSES": "2", "TETHYS_DB_PASSWORD": "pass", "SECRET": "x", "TETHYS_HOME": "/usr/lib/tethys"}
    given = env if of is dict else [f"{name}={value}" for name, value in env.items()]
    assert tethys_docker_info.chosen(given) == {"ASGI_PROCESSES": "2", "TETHYS_HOME": "/usr/lib/tethys"}


@pytest.mark.parametrize(
    "config", ['\'{"hosts": [{"password": "x"}]}\'', "{'hosts': ['redis://:pw@h:1']}", "symmetric_encryption_keys"]
)
def test_a_config_of_the_users_own_may_hold_a_password(config: str) -> None:
    assert tethys_docker_info.chosen({"CHANNEL_LAYERS_CONFIG": config}) == {"CHANNEL_LAYERS_CONFIG": "not shown"}


def fake_docker(folder: Path, answers: dict[str, Any]) -> str:
    """A program in docker's place that answers by the words of its command line."""
    path = folder / "docker"
    path.write_text(
        "#!/usr/bin/env python3\nimport json, sys\n"
        f"answers = json.loads({json.dumps(json.dumps(answers))})\n"
        "line = ' '.join(sys.argv[1:])\n"
        "for words, answer in answers.items():\n"
        "    if all(word in line for word in words.split()):\n"
        "        sys.stdout.write(answer['out'] if isinstance(answer['out'], str) else json.dumps(answer['out']))\n"
        "        sys.stderr.write(answer.get('err', ''))\n"
        "        sys.exit(answer.get('code', 0))\n"
        "sys.exit(1)\n"
    )
    path.chmod(0o755)
    return str(path)


def test_what_compose_and_the_engine_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"5ed15": 1795347062.0}
    monkeypatch.setattr(tethys_docker_info.asgi_record, "groups_lost_at", lambda name: lost[name])
    project, tools = tmp_path / "project", tmp_path / "tools"
    project.mkdir()
    tools.mkdir()
    (project / "docker-compose.yml").write_text("services: {}\n")
    config = {
        "name": "river",
        "networks": {"default": {"name": "river_default"}},
        "volumes": {"data": {"name": "river_data"}},
        "services": {
            "tethys": {
                "image": "core:1",
                "networks": {"default": None},
                "volumes": [{"type": "volume", "source": "data", "target": "/p"}],
                "environment": {"ASGI_PROCESSES": "1", "TETHYS_DB_PASSWORD": "pass"},
            },
            "redis": {"image": "redis:5", "ports": [{"target": 6379}], "command": None},
            "celery": {"image": "x", "depends_on": {"redis": {}}},
            "worker": {"image": "x", "links": ["redis:store"]},
            "web": {"image": "x", "links": ["redis-cache"]},
        },
    }
    container = {
        "Id": "c0ffee",
        "Name": "/river-tethys-1",
        "State": {"Running": True},
        "Image": "sha256:1",
        "Created": "2026-11-22T11:30:00.123456789Z",
        "Config": {"Image": "core:1", "Env": ["TETHYS_PERSIST=/p", "TETHYS_DB_PASSWORD=pass"]},
        "Mounts": [{"Destination": "/p"}],
    }
    one = look(project, candidate="services: {}\n")
    one.docker = fake_docker(
        tools,
        {
            "compose version": {"out": "v2.26.1\n"},
            "version": {"out": "26.1.5\n"},
            "-f - config --quiet": {"out": "", "err": "a warning\nservices.tethys conflicts.\n", "code": 15},
            "compose config": {"out": config},
            "ps -aq service=redis": {"out": "5ed15\n"},
            "ps -aq": {"out": "c0ffee\n"},
            "image inspect json core:1": {"out": ["TETHYS_PERSIST=/p/tethys", "PATH=/bin"]},
            "volume inspect river_data": {"out": "[]"},
            "network inspect internal": {"out": {"tethys.channels.project": str(project)}},
            # Somebody else's, on the same server.
            "container inspect redis": {
                "out": [{"Id": "0", "Config": {"Image": "redis:5", "Labels": {"tethys.channels.config": "x"}}}]
            },
            "image inspect core:1": {"out": "sha256:2\n"},
            "container inspect c0ffee": {"out": [container]},
            "exec --user www c0ffee": {"out": INSIDE},
        },
    )
    about = one.run()
    assert (about["engine"], about["compose"]) == ("26.1.5", "2.26.1")
    assert about["candidate_problem"] == "services.tethys conflicts"
    assert about["project"]["networks"] == {"default": "river_default"}
    assert about["project"]["portal"]["env"] == {"ASGI_PROCESSES": "1"}
    assert about["project"]["redis"]["keys"] == ["image", "ports"]
    assert about["project"]["redis_users"] == ["celery", "worker"]
    assert about["container"]["persisted"] is True
    assert about["image_id"] == "sha256:2" != about["container"]["image_id"]
    assert about["inside"] == INSIDE
    assert about["groups_lost_at"] == 1795347062
    assert about["container"]["created"] == 1795347000
    assert about["volume"] is True
    assert about["network"] == {"ours": True}
    assert about["redis_container"] == {"id": "0", "image": "redis:5", "ours": False}
    assert "pass" not in json.dumps(about)


def test_whose_the_credentials_are(tmp_path: Path) -> None:
    one = look(tmp_path, credentials_dir=str(tmp_path))
    one.docker = str(tmp_path / "none")
    assert one.run()["credentials_of"] is None
    (tmp_path / "project").write_text("/srv/other\n")
    one = look(tmp_path, credentials_dir=str(tmp_path))
    one.docker = str(tmp_path / "none")
    assert one.run()["credentials_of"] == "/srv/other"


@pytest.mark.parametrize(
    ("mounts", "there"),
    [
        ([], False),
        ([{"type": "volume", "source": "data", "target": "/var/lib"}], True),
        ([{"type": "volume", "source": "data", "target": "/var/lib/tethys"}], False),
        ([{"type": "volume", "source": "other", "target": "/var/lib/tethys_persist"}], False),
        ([{"type": "bind", "source": "full", "target": "/var/lib/tethys_persist/"}], True),
        ([{"type": "bind", "source": "empty", "target": "/var/lib/tethys_persist"}], False),
        ([{"type": "bind", "source": "none", "target": "/var/lib/tethys_persist"}], False),
        ([{"type": "tmpfs", "target": "/var/lib/tethys_persist"}], False),
    ],
)
def test_what_the_portal_keeps(tmp_path: Path, mounts: list[dict[str, str]], there: bool) -> None:
    for name in ("full", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "full/setup_complete").touch()
    one = look(tmp_path)
    one.docker = fake_docker(tmp_path, {"volume inspect river_data": {"out": "[]"}})
    one.found["project"] = {"portal": {"env": {}}}
    one.volumes = {"data": "river_data", "other": "river_other"}
    one.mounts = [
        {**mount, "source": str(tmp_path / mount.get("source", ""))} if mount["type"] == "bind" else mount
        for mount in mounts
    ]
    assert one.volume("core:1") is there


@pytest.mark.parametrize(
    ("labels", "ours"),
    [
        ({"tethys.channels.project": "/srv/tethys/"}, True),
        ({"tethys.channels.project": "/srv/other"}, False),
        ({"tethys.channels.config": "x"}, False),
        ({}, False),
    ],
)
def test_what_was_made_for_this_folder(labels: dict[str, str], ours: bool) -> None:
    assert look(Path("/srv/tethys")).of_folder(labels) is ours


def test_a_server_without_docker(tmp_path: Path) -> None:
    one = look(tmp_path / "nothing")
    one.docker = str(tmp_path / "none")
    about = one.run()
    assert about["engine"] is about["compose"] is about["folder"] is None


@pytest.mark.parametrize(
    "answer",
    [
        {**INSIDE, "ansible_facts": {}},
        {**INSIDE, "processes": 10**9},
        {**INSIDE, "processes": "3; reboot"},
        {**INSIDE, "kept": {"fresh": True, "processes": "{{ 1 }}"}},
        {**INSIDE, "kept": []},
        {**INSIDE, "oldest": "now"},
        {"ready": True},
        [],
        "no JSON",
    ],
    ids=range(9),
)
def test_what_a_container_may_not_say_of_itself(tmp_path: Path, answer: Any) -> None:
    one = look(tmp_path)
    one.docker = fake_docker(tmp_path, {"exec --user www c0ffee": {"out": answer}})
    one.found["container"] = {"id": "c0ffee", "running": True, "env": {}}
    one.inside()
    assert list(one.found["inside"]) == ["problem"]
    assert "\n" not in one.found["inside"]["problem"]


def test_a_container_whose_last_words_move_the_cursor(tmp_path: Path) -> None:
    one = look(tmp_path)
    one.docker = fake_docker(tmp_path, {"exec --user www c0ffee": {"out": "", "err": "no \x1b[2Jway\u202e", "code": 1}})
    one.found["container"] = {"id": "c0ffee", "running": True, "env": {}}
    one.inside()
    assert one.found["inside"] == {"problem": "no [2Jway"}


@pytest.mark.parametrize("kind", ["fifo", "sparse", "folder", "loop"])
def test_what_is_no_text_in_the_project(tmp_path: Path, kind: str) -> None:
    names = ("Dockerfile", ".env", "docker-compose.override.yml", "docker-compose.yml", "other.yml")
    for name in names:
        path = tmp_path / name
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "sparse":
            with path.open("wb") as file:
                file.truncate(200 * 1024**3)
        elif kind == "folder":
            path.mkdir()
        else:
            path.symlink_to(path)
    one = look(tmp_path)
    started = time.monotonic()
    one.files()
    one.docker_file()
    assert time.monotonic() - started < 10
    about = one.found
    assert (about["earlier"], about["elsewhere"], about["override"]["ours"]) == ([], [], False)
    assert about["dockerfile"]["ours"] is False
