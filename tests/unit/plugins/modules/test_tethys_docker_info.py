# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inspection of a project: which files Compose reads, what is ours, and what may be shown."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.compose import command, project
from ansible_collections.tethys.channels.plugins.modules import tethys_docker_info

# As `tethys gen asgi_service --micromamba` writes it.
COMMAND = (
    'command=bash -c "/opt/conda/envs/tethys/bin/daphne -u /run/tethys_asgi%(process_num)d.sock --fd 0 --access-log -'
    ' --proxy-headers tethys_portal.asgi:application"'
)
PROGRAM = ["[fcgi-program:asgi]", "socket=tcp://127.0.0.1:8000", COMMAND, "", "numprocs=3"]
# What the script prints in the container, and what is made of it.
SAID = {
    "set_up": True,
    "set_up_at": 1795347000.5,
    "listens": True,
    "answers": True,
    "program": PROGRAM,
    "lacks_endpoint": False,
    "others_can_read": False,
    "kept": {"fresh": True, "processes": 1},
    "oldest": 1795347001.0,
}
INSIDE = {
    "set_up": True,
    "set_up_at": 1795347000.5,
    "listens": True,
    "ready": True,
    "processes": 3,
    "cannot_serve": [],
    "others_can_read": False,
    "kept": {"fresh": True, "processes": 1},
    "oldest": 1795347001.0,
}
OURS = project.MARK + ": x\n"


def look(folder: Path, **params: Any) -> project.Look:
    given = {
        "project_dir": str(folder),
        "project_name": "",
        "wait_seconds": 0,
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
    return project.Look({**given, **params})


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
    # One that Compose does not read automatically.
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
    assert command.named_in_dotenv(tmp_path) == []
    one = look(tmp_path)
    one.docker_file()
    assert one.found["dockerfile"]["problem"] == "has no FROM"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "text", ["COMPOSE_FILE=a.yml:b.yml", " export COMPOSE_FILE = 'a.yml:b.yml' \r", "A=\nCOMPOSE_FILE="]
)
def test_the_files_that_a_dotenv_names(tmp_path: Path, text: str) -> None:
    (tmp_path / ".env").write_bytes(f"{text}\nB=1\n".encode())
    assert command.named_in_dotenv(tmp_path) == (["a.yml", "b.yml"] if "a.yml" in text else [])


@pytest.mark.parametrize("of", [dict, list])
def test_only_what_is_no_secret_is_told(of: type) -> None:
    env = {"ASGI_PROCESSES": "2", "TETHYS_DB_PASSWORD": "pass", "SECRET": "x", "TETHYS_HOME": "/usr/lib/tethys"}
    given = env if of is dict else [f"{name}={value}" for name, value in env.items()]
    assert command.chosen(given) == {"ASGI_PROCESSES": "2", "TETHYS_HOME": "/usr/lib/tethys"}


@pytest.mark.parametrize(
    "config", ['\'{"hosts": [{"password": "x"}]}\'', "{'hosts': ['redis://:pw@h:1']}", "symmetric_encryption_keys"]
)
def test_a_config_of_the_users_own_may_hold_a_password(config: str) -> None:
    assert command.chosen({"CHANNEL_LAYERS_CONFIG": config}) == {"CHANNEL_LAYERS_CONFIG": "not shown"}


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
    monkeypatch.setattr(asgi_record, "groups_lost_at", lambda name: lost[name])
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
        "State": {"Running": True, "StartedAt": "2026-11-22T11:30:01Z"},
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
            "compose config": {"out": config, "err": """level=warning msg="The \\"RIVER\\" variable is not set.\"\n"""},
            "ps -aq service=redis": {"out": "5ed15\n"},
            "ps -aq": {"out": "c0ffee\n"},
            "image inspect json core:1": {"out": ["TETHYS_PERSIST=/p/tethys", "PATH=/bin"]},
            "volume inspect river_data": {"out": "[]"},
            "network inspect internal": {"out": {"tethys.channels.project": str(project)}},
            # Another user's, on the same server.
            "container inspect redis": {
                "out": [{"Id": "0", "Config": {"Image": "redis:5", "Labels": {"tethys.channels.config": "x"}}}]
            },
            "image inspect core:1": {"out": "sha256:2\n"},
            "container inspect c0ffee": {"out": [container]},
            "exec --user www c0ffee": {"out": SAID},
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
    assert about["volume"] is about["persist_mounted"] is True
    # Of an image of somebody's own.
    assert about["is_tethys_docker"] is False
    assert about["unset"] == ["RIVER"]
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
    mounted = any(mount["target"].rstrip("/") in ("/var/lib", "/var/lib/tethys_persist") for mount in mounts)
    is_kept = mounted and mounts[0]["type"] != "tmpfs"
    one.volumes = {"data": "river_data", "other": "river_other"}
    one.mounts = [
        {**mount, "source": str(tmp_path / mount.get("source", ""))} if mount["type"] == "bind" else mount
        for mount in mounts
    ]
    one.volume({})
    assert (one.found["volume"], one.found["persist_mounted"]) == (there, is_kept)


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
        {**SAID, "ansible_facts": {}},
        {**SAID, "program": ["x"] * 501},
        {**SAID, "lacks_endpoint": "perhaps"},
        {**SAID, "kept": {"fresh": True, "processes": "{{ 1 }}"}},
        {**SAID, "kept": []},
        {**SAID, "oldest": "now"},
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


# --- the project ----------------------------------------------------------------------------------------------------

ITS = [f"{name}={project.PERSIST}" for name in sorted(project.ITS_VARIABLES)]


def composed(folder: Path, config: dict[str, Any], answers: dict[str, Any] | None = None, **params: Any) -> Any:
    """Inspect a folder from which Compose gets this configuration."""
    (folder / "tools").mkdir()
    one = look(folder, **params)
    one.found["files"] = ["docker-compose.yml"]
    told = dict(answers or {})
    told.setdefault("compose config", {"out": config})
    one.docker = fake_docker(folder / "tools", told)
    one.compose()
    return one


WEB = {"name": "river", "services": {"web": {"image": "portal:1"}, "db": {"image": "postgis"}}}


@pytest.mark.parametrize(
    ("config", "answers", "service"),
    [
        # As the manual's tutorial has it.
        (WEB, {"image inspect portal:1": {"out": ITS}, "image inspect postgis": {"out": ["PGDATA=/x"]}}, "web"),
        # Not built or pulled yet, so that only its name identifies it.
        ({"services": {"web": {"image": "tethysplatform/tethys-core:dev"}, "db": {"image": "postgis"}}}, {}, "web"),
        ({"services": {"web": {"image": "me/tethys-core-2:dev"}}}, {}, "tethys"),
        # One that is built under the name that Compose gives it.
        ({"name": "river", "services": {"web": {"build": {}}}}, {"image inspect river-web": {"out": ITS}}, "web"),
        # Two portals: nobody says which.
        (
            {"services": {"a": {"image": "portal:1"}, "b": {"image": "portal:1"}}},
            {"image inspect portal:1": {"out": ITS}},
            "tethys",
        ),
        ({"services": {"tethys": {"image": "x"}, "web": {"image": "tethys-core"}}}, {}, "tethys"),
    ],
)
def test_the_portals_service_is_found_by_its_image(
    tmp_path: Path, config: dict[str, Any], answers: dict[str, Any], service: str
) -> None:
    one = composed(tmp_path, config, answers)
    assert one.found["portal_service"] == one.portal_service == service
    assert (one.found["project"]["portal"] is not None) is (service in config["services"])


def test_a_name_that_was_given_is_not_replaced(tmp_path: Path) -> None:
    one = composed(tmp_path, WEB, {"image inspect portal:1": {"out": ITS}}, portal_service="portal")
    assert one.found["portal_service"] == "portal"


@pytest.mark.parametrize(
    ("started", "params", "given", "names"),
    [
        ("", {}, None, []),
        ("river\nriver\n", {}, "river", []),
        ("river\nlake\n", {}, None, ["lake", "river"]),
        ("river\nlake\n", {"project_name": "lake"}, "lake", []),
    ],
)
def test_the_name_that_a_project_was_started_under(
    tmp_path: Path, started: str, params: dict[str, Any], given: str | None, names: list[str]
) -> None:
    """`docker compose -p river up` leaves containers that know their folder."""
    label = f"ps label=com.docker.compose.project.working_dir={tmp_path}"
    named = {"name": "named", "services": {"tethys": {"image": "x"}}}
    with_name = {f"--project-name {given} config": {"out": named}} if given else {}
    config = {"name": "folder", "services": {"tethys": {"image": "x"}}}
    one = composed(tmp_path, config, {label: {"out": started}, **with_name}, **params)
    assert one.found["project"]["name"] == ("named" if given else "folder")
    assert one.found["project_names"] == names


@pytest.mark.parametrize(
    ("rows", "stack"),
    [("lakes river:1@sha256:abc\n", "lakes"), ("lakes other:1\n", None), ("", None), ("lakes river:1 x\n", None)],
)
def test_a_stack_with_the_portals_image(tmp_path: Path, rows: str, stack: str | None) -> None:
    one = look(tmp_path)
    one.docker = fake_docker(tmp_path, {"ps label=com.docker.stack.namespace": {"out": rows}})
    assert one.stack("river:1") == stack


@pytest.mark.parametrize(
    "image", ["river", "river:latest", "docker.io/river", "docker.io/library/river:latest", "river@sha256:abc"]
)
def test_a_stack_whose_file_spells_the_image_in_another_way(tmp_path: Path, image: str) -> None:
    one = look(tmp_path)
    one.docker = fake_docker(tmp_path, {"ps label=com.docker.stack.namespace": {"out": "lakes river:latest\n"}})
    assert one.stack(image) == "lakes"
    assert one.stack(f"registry.example.org:5000/{image}") is None


def test_variables_of_a_shell_that_is_not_here(tmp_path: Path) -> None:
    """Compose says which it takes for empty; of those passed on by their names alone, those count that are in use."""
    said = 'time="x" level=warning msg="The \\"SITE\\" variable is not set. Defaulting to a blank string."\n' * 2
    services = {"tethys": {"image": "x", "environment": {"TOKEN": None, "OTHER": None, "GIVEN": "x"}}}
    answers = {
        "compose config": {"out": {"services": services}, "err": said},
        "container inspect c0ffee": {"out": [inspected(Config={"Image": "x", "Env": ["TOKEN=t", "OTHER="]})]},
    }
    one = composed(tmp_path, {}, answers)
    assert one.found["unset"] == ["SITE"]
    one.container("c0ffee")
    assert one.found["unset"] == ["SITE", "TOKEN"]


# --- the container --------------------------------------------------------------------------------------------------


def inspected(**changes: Any) -> dict[str, Any]:
    """What Docker reports of a container."""
    found = {
        "Id": "c0ffee",
        "Name": "/tethys",
        "State": {"Running": True, "Status": "running", "StartedAt": "2026-11-22T11:30:01Z"},
        "Image": "sha256:1",
        "Created": "2026-11-22T11:30:00.123456789Z",
        "Config": {"Image": "x", "Env": []},
        "Mounts": [],
    }
    return {**found, **changes}


@pytest.mark.parametrize(
    ("mount", "persisted", "unnamed"),
    [
        ({"Type": "volume", "Name": "a" * 64}, True, True),
        ({"Type": "volume", "Name": "river_data"}, True, False),
        ({"Type": "bind", "Source": "/srv/data"}, True, False),
        ({"Type": "volume", "Name": "b" * 64, "Destination": "/usr/lib/tethys/keys"}, False, False),
    ],
)
def test_a_volume_that_compose_did_not_name(
    tmp_path: Path, mount: dict[str, str], persisted: bool, unnamed: bool
) -> None:
    about = inspected(Mounts=[{"Destination": project.PERSIST, **mount}])
    one = look(tmp_path)
    one.docker = fake_docker(tmp_path, {"container inspect c0ffee": {"out": [about]}})
    container = one.container("c0ffee")
    assert container is not None
    assert (container["persisted"], container["unnamed"]) == (persisted, unnamed)


@pytest.mark.parametrize(
    ("log", "has"),
    [
        ("--set CHANNEL_LAYERS.default.CONFIG '{}'\n", False),
        # Salt prints what a command wrote with spaces before it.
        ("      stdout:\n          settings:\n            CHANNEL_LAYERS:\n              default:\n", True),
        ("", False),
    ],
)
def test_a_log_with_the_settings(tmp_path: Path, log: str, has: bool) -> None:
    one = look(tmp_path)
    one.docker = fake_docker(tmp_path, {"logs --since 1000 --until 2200 c0ffee": {"out": log}})
    one.found["container"] = {"id": "c0ffee", "running": True, "started": 1000.5}
    one.log()
    assert one.found["log_has_settings"] is has


def waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, containers: list[dict[str, Any]], inside: dict[str, Any]
) -> project.Look:
    """A wait of a minute, in which each look finds the next of these containers."""
    docker = fake_docker(
        tmp_path,
        {
            "version": {"out": "26\n"},
            "container inspect redis": {"code": 1, "out": ""},
            "exec c0ffee": {"out": inside, "code": 0 if inside else 1},
            "logs --tail 5 c0ffee": {"out": "one\n", "err": "DB_PASSWORD: pass\nDB was not available in time\n"},
        },
    )
    monkeypatch.setattr(project.shutil, "which", lambda _name: docker)
    monkeypatch.setattr(tethys_docker_info.time, "sleep", lambda _seconds: None)
    states = iter(containers)
    once = project.Look.inspect

    def inspect(self: project.Look, name: str) -> Any:
        return next(states) if name == "tethys" else once(self, name)

    monkeypatch.setattr(project.Look, "inspect", inspect)
    params = look(tmp_path).params
    return tethys_docker_info.waited({**params, "wait_seconds": 60})


def state(status: str, restarts: int = 0) -> dict[str, Any]:
    running = status in ("running", "restarting")
    about = {"Running": running, "Restarting": status == "restarting", "Status": status}
    return inspected(State={**about, "StartedAt": "2026-11-22T11:30:01Z"}, RestartCount=restarts)


@pytest.mark.parametrize(
    "containers",
    [
        [state("running"), state("exited")],
        [state("restarting", number) for number in (1, 2, 3, 4)],
        [state("exited")],
    ],
)
def test_a_wait_ends_with_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, containers: list[dict[str, Any]]
) -> None:
    """A look more than these would be an error."""
    found = waiting(tmp_path, monkeypatch, containers, {}).found
    assert found["wait_problem"] == (
        "Container tethys ended before the portal answered. The last lines of its log: one / (not shown: it may hold a"
        " secret) / DB was not available in time. Correct that, and run this again."
    )


def test_a_wait_ends_where_nobody_can_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {**SAID, "answers": False, "program": [line.replace("--fd 0", "") for line in PROGRAM]}
    found = waiting(tmp_path, monkeypatch, [state("running")], said).found
    assert (found["inside"]["cannot_serve"], found["wait_problem"]) == (["no-fd"], None)


def test_a_container_that_was_restarted_long_ago_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = waiting(tmp_path, monkeypatch, [state("running", 7)], SAID).found
    assert found["inside"]["ready"] is True
    assert found["wait_problem"] is None


@pytest.mark.parametrize(("inside", "words"), [(None, "did not listen"), ({"listens": True}, "accepted no connection")])
def test_why_a_portal_was_waited_for_in_vain(tmp_path: Path, inside: Any, words: str) -> None:
    one = look(tmp_path, wait_seconds=5)
    one.found["container"] = {"id": "c0ffee", "name": "river", "ended": False, "restarts": 0}
    one.found["inside"] = inside
    assert one.wait_problem(0) == (
        f"The portal in container river {words} within 5 seconds. Read `docker logs river`, or set"
        " tethys_docker_timeout to more seconds."
    )
