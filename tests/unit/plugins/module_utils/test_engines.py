# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engines: Docker's socket and Podman's command, answered from tables."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import engines
from ansible_collections.tethys.channels.plugins.module_utils.engines import (
    ENGINES,
    NEVER,
    DockerEngine,
    PodmanEngine,
    full_name,
)

# As `podman ps --all --format json` of 5.4 and of 3.0 has it, less what nobody reads.
ROWS = [
    {
        "Id": "a" * 64,
        "Image": "docker.io/library/redis:8.2",
        "Labels": {"tethys.channels.config": "sum"},
        "Names": ["tethys-channels-redis"],
        "Pid": 4321,
        "Ports": [{"host_ip": "127.0.0.1", "container_port": 6379, "host_port": 6390, "range": 1, "protocol": "tcp"}],
        "State": "running",
    },
    {"Id": "b" * 64, "Image": "x", "Labels": None, "Names": ["web"], "Pid": 0, "Ports": None, "State": "exited"},
    {
        "Id": "c" * 64,
        "Image": "x",
        "Names": ["old"],
        "Ports": [{"hostPort": 80, "containerPort": 80}],
        "State": "created",
    },
]
Answers = Callable[..., PodmanEngine]


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """A Podman that prints this, or fails so."""

    def make(out: Any = None, code: int = 0, problem: str = "", images: tuple[str, ...] = ()) -> PodmanEngine:
        (tmp_path / "out").write_text(json.dumps(out) if out is not None else "", encoding="utf-8")
        known = "|".join(images) or "none"
        script = (
            "#!/bin/sh\n"
            f'echo "$@" >> {tmp_path}/asked\n'
            'case "$1 $2" in "--version ") echo "podman version 5.4.2"; exit 0;; esac\n'
            f'case "$1" in image) case "$3" in {known}) exit 0;; *) exit {code or 1};; esac;; esac\n'
            f"cat {tmp_path}/out\n"
            f"[ {code} = 0 ] || printf '%s\\n' 'time=\"now\" level=warning' '{problem}' >&2\n"
            f"exit {code}\n"
        )
        (tmp_path / "podman").write_text(script, encoding="utf-8")
        (tmp_path / "podman").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return PodmanEngine()

    return make


def test_what_podman_runs(podman: Answers, tmp_path: Path) -> None:
    engine = podman(ROWS)
    assert (engine.installed(), engine.version()) == (True, "5.4.2")
    found = engine.containers()
    assert [row["Names"][0] for row in found] == ["tethys-channels-redis", "web", "old"]
    assert [row["Ports"] for row in found] == [[{"PublicPort": 6390}], [], [{"PublicPort": 80}]]
    assert engine.process("tethys-channels-redis") == (4321, NEVER)
    assert engine.process("web") == (0, NEVER)
    assert engine.process("none") == (0, NEVER)
    asked = set((tmp_path / "asked").read_text(encoding="utf-8").splitlines())
    assert asked == {"ps --all --format json", "--version"}, "Nothing but a look."


@pytest.mark.parametrize("out", [None, [], "null"])
def test_a_podman_that_runs_nothing(podman: Answers, out: Any) -> None:
    assert podman(None if out == "null" else out).containers() == []


def test_a_podman_that_cannot_read_its_store(podman: Answers) -> None:
    engine = podman(code=125, problem="Error: mounting storage")
    for ask in (engine.containers, engine.version, lambda: engine.process("x")):
        with pytest.raises(OSError, match=r"^Error: mounting storage$"):
            ask()


@pytest.mark.parametrize(
    ("there", "asked", "name"),
    [
        ("docker.io/library/redis:8.2", "redis:8.2", "docker.io/library/redis:8.2"),
        ("docker.io/library/redis:8.2", "docker.io/library/redis:8.2", "docker.io/library/redis:8.2"),
        ("docker.io/library/redis:8.2", "redis:8.0", None),
        ("docker.io/library/redis:8.2", "quay.io/library/redis:8.2", None),
        # Built or loaded there.
        ("localhost/ours/redis:8.2", "ours/redis:8.2", "localhost/ours/redis:8.2"),
        ("localhost/quay.io/redis:8.2", "quay.io/redis:8.2", None),
    ],
)
def test_the_name_of_an_image(podman: Answers, there: str, asked: str, name: str | None) -> None:
    assert podman(images=(there,)).holds(asked) == name


def test_a_store_in_which_images_cannot_be_looked_for(podman: Answers) -> None:
    with pytest.raises(OSError, match="failed"):
        podman(code=125).holds("redis:8.2")


def test_no_podman(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not PodmanEngine().installed()
    with pytest.raises(OSError, match="No such file"):
        PodmanEngine().containers()


def test_a_podman_that_hangs(podman: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = podman(ROWS)
    (tmp_path / "podman").write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    monkeypatch.setattr(engines, "PODMAN_SECONDS", 0.2)
    with pytest.raises(OSError, match=r"^`podman ps --all --format json`: podman did not end within 0.2 s$"):
        engine.containers()


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("redis:8.2", "docker.io/library/redis:8.2"),
        ("redis", "docker.io/library/redis"),
        ("valkey/valkey:8.1", "docker.io/valkey/valkey:8.1"),
        ("docker.io/library/redis:8.2", "docker.io/library/redis:8.2"),
        ("quay.io/a/redis@sha256:00", "quay.io/a/redis@sha256:00"),
        ("registry:5000/redis:8", "registry:5000/redis:8"),
        ("localhost/redis:8", "localhost/redis:8"),
    ],
)
def test_full_name(image: str, name: str) -> None:
    assert full_name(image) == name


class Api:
    """Docker's socket, from a table."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def get(self, url: str) -> Any:
        return self.answers.get(url)

    def image(self, name: str) -> Any:
        return self.answers.get(name)


def test_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = "2026-11-22T10:00:00.5Z"
    answers = {
        "/version": {"Version": "26.1"},
        "/containers/json?all=1": [{"Id": "1"}],
        "redis:8": {"Id": "sha256:1"},
        "/containers/ours/json": {"State": {"Pid": 7, "FinishedAt": ended}},
    }
    monkeypatch.setattr(engines, "Docker", lambda: Api(answers))
    engine = DockerEngine()
    assert (engine.version(), engine.containers()) == ("26.1", [{"Id": "1"}])
    assert (engine.holds("redis:8"), engine.holds("redis:7")) == ("redis:8", None)
    assert (engine.process("ours"), engine.process("none")) == ((7, ended), (0, NEVER))


@pytest.mark.parametrize(
    ("version", "info", "kind"),
    [
        ({}, {"SecurityOptions": ["name=seccomp,profile=default"], "DockerRootDir": "/var/lib/docker"}, "docker"),
        ({"Components": [{"Name": "Engine"}]}, None, "docker"),
        ({"Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]}, {}, "podman"),
        ({}, {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}, "rootless"),
        ({}, {"SecurityOptions": ["name=userns"]}, "userns-remap"),
        ({}, {"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}, "snap"),
    ],
)
def test_what_answers_in_dockers_place(
    monkeypatch: pytest.MonkeyPatch, version: dict[str, Any], info: dict[str, Any] | None, kind: str
) -> None:
    monkeypatch.setattr(engines, "Docker", lambda: Api({"/version": version, "/info": info}))
    assert DockerEngine().kind() == kind


@pytest.mark.parametrize(
    ("text", "daemon", "kind"),
    [
        ('#!/bin/sh\nexec /usr/bin/podman "$@"\n', None, "podman"),
        ("\x7fELF", None, "docker"),
        ('#!/bin/sh\nexec /usr/bin/podman "$@"\n', "/usr/bin/dockerd", "docker"),
    ],
)
def test_a_docker_command_that_is_podmans(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, daemon: str | None, kind: str
) -> None:
    command = tmp_path / "docker"
    command.write_text(text, encoding="utf-8")
    monkeypatch.setattr(engines.shutil, "which", lambda name: str(command) if name == "docker" else daemon)
    assert DockerEngine().kind_of_command() == kind
    assert PodmanEngine().kind() == PodmanEngine().kind_of_command() == "podman"


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_has_its_words(name: str) -> None:
    engine = ENGINES[name]
    assert engine.title.lower() == name
    assert engine.silent
    assert name in engine.back.lower()
    assert engine.logs("ours") in ("docker logs ours", "journalctl -u 'tethys-channels-redis*'")


STATE = {"Status": "running", "Pid": 7, "StartedAt": "2026-11-28T12:00:00Z"}


@pytest.mark.parametrize("health", ["Health", "Healthcheck"])
def test_a_container_is_told_without_what_changes_by_itself(monkeypatch: pytest.MonkeyPatch, health: str) -> None:
    def whole(more: dict[str, Any], engine: str) -> Any:
        found = {"Id": "a", "ExecIDs": None, **more}
        if engine == "podman":
            answers = {"container": json.dumps([found]), "image": "sha256:1\n"}
            monkeypatch.setattr(PodmanEngine, "_ask", lambda _self, *words, **_more: (0, answers[words[0]]))
            return PodmanEngine().whole("redis", "docker.io/library/redis:8.2")
        docker = DockerEngine()
        monkeypatch.setattr(
            docker.api, "get", lambda url: found if url == "/containers/redis/json" else {"Id": "sha256:1"}
        )
        return docker.whole("redis", "redis:8.2")

    for engine in ENGINES:
        mounts = [{"Destination": "/run", "RW": True}, {"Destination": "/data", "RW": True}]
        host = {"CapDrop": ["CAP_KILL", "CAP_CHOWN"], "Memory": 1}
        before = whole({"State": {**STATE, health: {"Log": [1]}}, "Mounts": mounts, "HostConfig": host}, engine)
        after = {"State": {**STATE, health: {"Log": [2]}}, "ExecIDs": ["b"], "Mounts": mounts[::-1]}
        after["HostConfig"] = {**host, "CapDrop": host["CapDrop"][::-1]}  # type: ignore[index]
        assert whole(after, engine) == before
        assert whole({**after, "Mounts": mounts[:1]}, engine) != before
        assert whole({**after, "HostConfig": {**host, "Memory": 2}}, engine) != before
        assert whole({"State": {**STATE, "Pid": 8}}, engine) != before
        assert whole({"State": STATE, "Name": "other"}, engine) != before


def test_no_container_and_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    docker = DockerEngine()
    monkeypatch.setattr(docker.api, "get", lambda _url: None)
    assert docker.whole("redis", "redis:8.2") == [None, None]


# --- where a container is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "addresses"),
    [
        ({"IPAddress": "172.17.0.2", "Networks": {"bridge": {"IPAddress": "172.17.0.2"}}}, ["172.17.0.2"]),
        ({"IPAddress": "", "Networks": {"own": {"IPAddress": "10.88.0.2"}, "other": None}}, ["10.88.0.2"]),
        ({"IPAddress": "", "Networks": {"host": {"IPAddress": ""}}}, []),
        ({"Networks": None}, []),
        (None, []),
    ],
)
def test_where_a_container_is(
    podman: Answers, monkeypatch: pytest.MonkeyPatch, networks: Any, addresses: list[str]
) -> None:
    found = {"State": {"Pid": 7}, "NetworkSettings": networks}
    assert podman([found]).place("redis") == (7, addresses)
    docker = DockerEngine()
    asked: list[str] = []
    monkeypatch.setattr(docker.api, "get", lambda url: asked.append(url) or found)
    assert docker.place("redis") == (7, addresses)
    assert asked == ["/containers/redis/json"]


def test_where_no_container_is(podman: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert podman(code=125, problem='Error: no such container "redis"').place("redis") == (0, [])
    with pytest.raises(OSError, match="mounting storage"):
        podman(code=125, problem="Error: mounting storage").place("redis")
    docker = DockerEngine()
    monkeypatch.setattr(docker.api, "get", lambda _url: None)
    assert docker.place("redis") == (0, [])
