# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker or Podman: which is queried, what is installed, and what a change from one to the other means."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.model import CORE_BACKEND, MEMORY_BACKEND
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.samples import plan
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided

ASKED = samples.asked(tethys_home="/srv/home", tethys_conda_prefix="/srv/env", tethys_bokeh="not_in_use")
WORKS = samples.WORKS
BROKEN = {"installed": True, "running": False, "version": None, "problem": "no"}
NONE = samples.MISSING
MANUALS: Any = samples.manuals_container()
OTHER = {"docker": "podman", "podman": "docker"}
TITLES = {"docker": "Docker", "podman": "Podman"}


def judge(engine: str = "podman", goal: str = "site", asked: Any = None, options: Any = None, **server: Any) -> Any:
    """The plan of a server with both engines and these differences."""
    portal = samples.portal(**server.pop("portal", {}))
    wanted = {"redis_container_engine": engine, "redis_container_transport": "unix", **(options or {})}
    return samples.planned(
        {**ASKED, **(asked or {})},
        samples.options(goal=goal, **wanted),
        portal=portal,
        server=samples.server(**{"podman": WORKS, **server}),
    )


# --- one engine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", OTHER)
def test_only_the_engine_asked_for_matters(engine: str) -> None:
    found = judge(engine, **{OTHER[engine]: NONE})
    assert (found["refusals"], found["engine"], found["install_engine"]) == ([], engine, False)
    assert found["left_container"] is None


@pytest.mark.parametrize("engine", OTHER)
def test_one_that_is_missing_is_installed(engine: str) -> None:
    found = judge(engine, **{engine: NONE}, docker_library=False)
    assert (found["refusals"], found["install_engine"]) == ([], True)
    assert found["install_docker_library"] is (engine == "docker")
    [refused] = judge(engine, options={"redis_container_install_engine": False}, **{engine: NONE})["refusals"]
    assert refused.startswith(f"{TITLES[engine]} is not installed and redis_container_install_engine is false: install")
    [refused] = judge(engine, os={"id": "void"}, **{engine: NONE})["refusals"]
    assert refused.startswith(f"{TITLES[engine]} is not installed, and this collection cannot install it")


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("docker", "Docker is installed on this server and its engine does not answer: start it (`systemctl start"),
        ("podman", "Podman is installed on this server and does not work (no): fix what `podman ps`, run"),
    ],
)
def test_one_that_does_not_answer(engine: str, words: str) -> None:
    [refused] = judge(engine, **{engine: BROKEN})["refusals"]
    assert refused.startswith(words)
    assert refused.endswith(", or set tethys_layer_hosts to a Redis that exists already.")


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        ("podman", "Install Docker in the place of podman-docker"),
        ("snap", "Install Docker from the distribution's packages"),
        ("rootless", "Install Docker for root"),
        ("userns-remap", "Remove userns-remap from /etc/docker/daemon.json"),
    ],
)
def test_what_is_in_dockers_place_is_refused(kind: str, fix: str, is_running: bool) -> None:
    there = {**WORKS, "kind": kind, "running": is_running}
    [refused] = judge("docker", docker=there)["refusals"]
    assert refused.startswith("redis_container_engine is docker: on this server ")
    assert f"{fix}, or set redis_container_engine to podman, or set tethys_layer_hosts to" in refused
    assert judge("podman", docker=there)["refusals"] == []
    assert judge("docker", docker=there, asked={"tethys_layer_hosts": ["redis://10.0.0.5"]})["refusals"] == []


def test_the_image_is_named_alike() -> None:
    assert judge("podman", image_present=False)["redis_image"] == "docker.io/library/redis:8.2"
    assert judge("podman", image_name="localhost/redis:8.2")["redis_image"] == "localhost/redis:8.2"
    # What is there is no other image for that.
    assert judge("podman", container=samples.container("unix", image="localhost/redis:8.2"))["announce"] == []


def test_without_a_container_nothing_is_installed() -> None:
    found = judge("podman", asked={"tethys_layer_backend": MEMORY_BACKEND, "tethys_asgi_processes": 1}, podman=NONE)
    assert (found["refusals"], found["install_engine"]) == ([], False)


@pytest.mark.parametrize("value", ["containerd", "Podman", ""])
def test_an_engine_that_is_none(value: str) -> None:
    found = decided(plan, ASKED, {"redis_container_engine": value}, {"values": {"redis_container_engine": value}})
    assert found["refusals"] == [f"redis_container_engine is {value!r}: set it to one of docker, podman."]


# --- from one to the other ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ("unix", "published"))
@pytest.mark.parametrize("engine", OTHER)
def test_a_change_of_the_engine_is_announced(engine: str, way: str) -> None:
    before = OTHER[engine]
    port = [{"port": 6379, "address": "loopback", "pid": 7, "user": "root", "command": "docker-proxy"}]
    found = judge(
        engine,
        options={"redis_container_transport": way},
        left_container=samples.container(way, engine=before),
        listeners=port if way == "published" else [],
        portal={"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": [["127.0.0.1", 6379]]}},
        docker_library=False,
    )
    assert found["refusals"] == []
    assert found["announce"] == [
        f"The layer's Redis currently runs in {TITLES[before]}, and will run in {TITLES[engine]}"
        " (redis_container_engine): it is replaced, and WebSockets fail from then until their process has restarted,"
        " one after the other."
    ]
    assert found["left_container"]["engine"] == before
    assert found["left_container"]["restart_policy"] == "unless-stopped"
    # Docker's module is needed in both directions.
    assert found["install_docker_library"] is True
    assert (found["engine"], found["engine_now"], found["ours_in"]) == (engine, before, [before])
    assert found["redis_now"] == ({"path": samples.SOCKET} if way == "unix" else {"host": "127.0.0.1", "port": 6379})


def test_a_change_that_was_killed_on_its_way() -> None:
    stopped = samples.container("unix", engine="docker", running=False)
    found = judge("podman", left_container=stopped)
    assert (found["refusals"], found["announce"], found["engine_now"]) == ([], [], "podman")
    # The new one serves, and the old one is still to be taken away.
    found = judge("podman", container=samples.container("unix"), left_container=stopped)
    assert (found["refusals"], found["announce"], found["engine_now"]) == ([], [], "podman")
    assert found["left_container"]["engine"] == "docker"
    assert found["ours_in"] == ["docker", "podman"]


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        ({"docker": BROKEN, "state": ["credentials.json"]}, True),
        ({"docker": WORKS, "state": ["credentials.json"]}, False),
        ({"docker": NONE, "state": ["credentials.json"]}, False),
        ({"docker": BROKEN, "state": []}, False),
        # Said once.
        (
            {
                "docker": BROKEN,
                "state": ["credentials.json"],
                "redis_unit": True,
                "container": samples.container("unix"),
            },
            False,
        ),
    ],
)
def test_a_docker_that_sleeps_may_hold_one_of_ours(server: dict[str, Any], warned: bool) -> None:
    found = judge("podman", **server)
    assert (found["refusals"], bool(found["warnings"])) == ([], warned)
    assert all("Start Docker and run again, or disable it." in text for text in found["warnings"])


def test_a_unit_that_is_left_goes_too() -> None:
    assert judge("docker", goal="remove", redis_unit=True)["ours_in"] == ["podman"]
    assert judge("docker", goal="remove", container=samples.container("unix"))["ours_in"] == ["docker"]
    assert judge("docker", goal="remove", container=samples.container("unix", labels={}))["ours_in"] == []


def test_one_of_somebody_else_by_our_name() -> None:
    [refused] = judge("podman", container=samples.container("unix", labels={}))["refusals"]
    assert refused.startswith("redis_container_name is tethys-channels-redis, and the container of that name")


# --- the manual's container -----------------------------------------------------------------------------------------

SERVES = {"settings": {"layer_backend": CORE_BACKEND, "layer_hosts": [["127.0.0.1", 6379]]}}


@pytest.mark.parametrize("engine", OTHER)
def test_the_manuals_container_is_taken_over_by_either(engine: str) -> None:
    found = judge(engine, redis_port_container=MANUALS, portal=SERVES, docker_library=False)
    assert (found["refusals"], found["adopted_container"]) == ([], MANUALS)
    [said] = found["announce"]
    who = "Container eager_euler (redis:5), currently the portal's Redis on port 6379"
    assert said.startswith(f"{who}, will be stopped")
    assert found["install_docker_library"] is True


def test_the_manuals_container_beside_ours_in_the_other_engine() -> None:
    [refused] = judge(
        "podman", redis_port_container=MANUALS, portal=SERVES, left_container=samples.container("unix", engine="docker")
    )["refusals"]
    assert refused == (
        "Container eager_euler (redis:5) publishes port 6379, which portal_config.yml names, and tethys-channels-redis"
        " is still in Docker: stop the former (`docker stop 0123456789ab`) and run again."
    )


# --- where it comes from --------------------------------------------------------------------------------------------

ROCKY = {"id": "rocky", "id_like": "rhel centos fedora", "name": "Rocky Linux", "version_id": "9.4"}


def test_where_docker_is_not_to_be_had_podman_is() -> None:
    bare = {"docker": NONE, "podman": NONE, "docker_library": False}
    assert judge("docker", os=ROCKY, **bare)["refusals"][0].startswith("Docker is not installed, and Rocky Linux 9.4")
    found = judge("podman", os=ROCKY, **bare)
    assert (found["refusals"], found["platform"]["podman"]["packages"]) == ([], ["podman"])
    [refused] = judge("podman", os={**ROCKY, "version_id": "8.10"}, **bare)["refusals"]
    assert refused.startswith("Podman is not installed, and Ansible cannot install packages on Rocky Linux 8.10 (")
    assert "(`dnf install podman`), and run again, or set tethys_layer_hosts" in refused


@pytest.mark.parametrize(
    "other", [{"left_container": samples.container("unix", engine="docker")}, {"redis_port_container": MANUALS}]
)
def test_a_container_in_docker_is_stopped_by_a_library(other: dict[str, Any]) -> None:
    given = {"os": {"id": "void"}, "docker_library": False, "portal": SERVES}
    assert judge("podman", **given)["refusals"] == []
    [refused] = judge("podman", **given, **other)["refusals"]
    assert refused.startswith(
        "The library requests of Python 3.11, by which Ansible speaks to Docker, is not installed"
    )
