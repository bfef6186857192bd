# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused, announced and written for Tethys Docker."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.plugin_utils import compose_file, tethys_docker
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_inputs import DockerInputs
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
)
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided

ROLES = Path(__file__).parents[4] / "roles"
REDIS = {
    "config_dir": "/etc/x/redis",
    "config_sum": "abc",
    "credentials": {
        "username": "tethys",
        "password": "p'w",
        "admin_username": "tethys_admin",
        "admin_password": "adm",
    },
}
CONFIG = {"hosts": [{"host": "redis", "port": 6379, "socket_timeout": 15}]}


BARE = {"exists": True, "ours": False, "text": ""}
OURS = {"exists": True, "ours": True, "text": "x"}


class _Loader(yaml.SafeLoader):
    """Reads what Compose reads."""


RESET = object()
_Loader.add_constructor("!reset", lambda _loader, _node: RESET)
_Loader.add_constructor("!override", lambda loader, node: ("override", _value(loader, node)))


def _value(loader: Any, node: Any) -> Any:
    mapping = isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node, deep=True) if mapping else loader.construct_sequence(node, deep=True)


def asked(**changes: Any) -> dict[str, Any]:
    """The role's variables with their defaults."""
    values = yaml.safe_load((ROLES / "tethys_docker/defaults/main.yml").read_text(encoding="utf-8"))
    values.update(
        tethys_docker_project_dir="/srv/tethys",
        tethys_docker_asgi_processes=1,
        tethys_docker_layer_backend=CORE_BACKEND,
        tethys_docker_layer_hosts=[],
        tethys_docker_bokeh="auto",
        tethys_docker_redis_port=None,
    )
    return {**values, **{f"tethys_docker_{name}": value for name, value in changes.items()}}


def look(**changes: Any) -> dict[str, Any]:
    """The facts of a project that was started once, before the first run."""
    found: dict[str, Any] = {
        "engine": "26.1",
        "compose": "2.26.1",
        "folder": {"owner": 1000, "group": 1000},
        "files": ["docker-compose.yml"],
        "reads_ours": True,
        "in_place": None,
        "earlier": [],
        "elsewhere": [],
        "override": {"exists": False, "ours": False, "text": ""},
        "dockerfile": {"exists": True, "ours": False, "problem": None},
        "problem": None,
        "candidate_problem": None,
        "portal_service": "tethys",
        "project_names": [],
        "stack": None,
        "unset": [],
        "log_has_settings": False,
        "persist_mounted": True,
        "is_tethys_docker": True,
        "project": {
            "name": "tethys",
            "services": ["db", "tethys"],
            "networks": {"internal": "tethys_internal"},
            "portal": service(networks=["internal"]),
            "redis": None,
            "redis_users": [],
        },
        "container": None,
        "volume": False,
        "image_id": "sha256:1",
        "inside": None,
        "redis_container": None,
        "network": None,
        "groups_lost_at": 0,
        "credentials_of": None,
        "wait_problem": None,
    }
    return {**found, **changes}


def inputs(**changes: Any) -> DockerInputs:
    """The same as the plan takes them."""
    return DockerInputs.given(asked(**changes))


def service(**changes: Any) -> dict[str, Any]:
    """A service of the user's own file."""
    found: dict[str, Any] = {
        "image": "tethysplatform/tethys-core",
        "build": False,
        "networks": ["default"],
        "network_mode": None,
        "container_name": None,
        "env": {},
        "keys": [],
    }
    return {**found, **changes}


def project(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = look()["project"]
    return {**found, **changes}


def container(**changes: Any) -> dict[str, Any]:
    """A container that runs."""
    found: dict[str, Any] = {
        "id": "c0ffee",
        "name": "tethys",
        "running": True,
        "image": "x",
        "image_id": "sha256:1",
        "env": {},
        "created": 1000.0,
        "persisted": True,
        "unnamed": False,
        "ended": False,
        "restarts": 0,
        "started": 1000.0,
        "mounts": ["/var/lib/tethys_persist"],
    }
    return {**found, **changes}


def inside(**changes: Any) -> dict[str, Any]:
    return {
        "set_up": True,
        "set_up_at": 900.0,
        "ready": True,
        "listens": True,
        "cannot_serve": [],
        "processes": 1,
        "others_can_read": False,
        "kept": None,
        **changes,
    }


def plan(variables: dict[str, Any], found: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return decided(tethys_docker.docker_plan, DockerInputs.given(variables), {"docker": found, **more})


# --- refusals -------------------------------------------------------------------------------------------------------


def test_nothing_speaks_against_the_defaults() -> None:
    found = plan(asked(), look())
    assert (found["refusals"], found["warnings"], found["announce"]) == ([], [], [])
    assert found["processes"] == 1
    assert found["redis"] == "compose"
    assert found["files"] == ["docker-compose.yml", "docker-compose.override.yml"]


def test_the_trust_report_is_shown() -> None:
    writer = {
        "path": "/srv/x",
        "how": "owner",
        "name": "ann",
        "who": ["ann"],
        "link": "",
        "fix": "chown -h root /srv/x",
    }
    file = {"path": "/srv/x/docker-compose.yml", "use": "compose", "target": "", "writers": [writer]}
    clean = "Trust: only root can change the 7 files and folders that root executes or reads as configuration"
    assert plan(asked(), look(trust={"files": 7, "open": []}))["trust"] == [clean]
    report = plan(asked(), look(trust={"files": 7, "open": [file]}))["trust"]
    assert report == ["Trust: /srv/x/docker-compose.yml: its owner ann can change /srv/x"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("project_dir", ""),
        ("project_dir", "tethys"),
        ("carrier", "podman"),
        ("redis", "none"),
        ("state", "gone"),
        ("portal_service", "a b"),
        ("project_name", "River"),
        ("project_name", 5),
        ("redis_service", ""),
        ("network", "-x"),
        ("container", None),
        ("override_file", "a/b.yml"),
        ("override_file", ".env"),
        ("override_file", "channels"),
        ("redis_image", ""),
        ("user", ""),
        ("dockerfile", ".."),
        ("credentials_dir", "/etc"),
        ("credentials_dir", "/var/lib"),
        ("credentials_dir", "x"),
    ],
)
def test_each_variable_is_refused_by_its_name(name: str, value: Any) -> None:
    (reason,) = plan(asked(**{name: value}))["refusals"]
    assert reason.startswith(f"tethys_docker_{name} is ")
    assert reason.endswith(".")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("redis_acl", "banana", "set it to auto or a value of type bool."), ("redis_memory_mb", 1, "of at least 16.")],
)
def test_a_value_that_would_weaken_redis(name: str, value: Any, words: str) -> None:
    variables = asked(**{name: value})
    (reason,) = plan(variables, values=variables)["refusals"]
    assert reason.startswith(f"tethys_docker_{name} is ")
    assert reason.endswith(words)
    for right in ("auto", True, "no") if name == "redis_acl" else (16, "64"):
        variables = asked(**{name: right})
        assert plan(variables, values=variables)["refusals"] == []


@pytest.mark.parametrize("value", ["many", 0, 1.5, True, 5000])
def test_a_number_of_processes_that_is_none(value: Any) -> None:
    (reason,) = plan(asked(asgi_processes=value))["refusals"]
    assert reason.startswith("tethys_asgi_processes is ")


def test_all_reasons_come_at_once() -> None:
    wrong = asked(asgi_processes=0, carrier="x", bokeh="perhaps", layer_hosts="nowhere", layer_options={"capacity": 0})
    found = plan(wrong, names=["tethys_dokcer_state"])
    assert len(found["refusals"]) == 6
    for name in ("tethys_asgi_processes", "tethys_docker_carrier", "tethys_bokeh", "tethys_layer_hosts", "capacity"):
        assert sum(name in reason for reason in found["refusals"]) == 1, name
    assert found["refusals"][0].startswith("tethys_dokcer_state is not a variable")


@pytest.mark.parametrize("value", ["a*b", "x~", "p q"])
def test_a_prefix_that_the_access_rules_cannot_name(value: str) -> None:
    (reason,) = plan(asked(layer_options={"prefix": value}))["refusals"]
    assert reason.startswith("tethys_docker_layer_options has the prefix")
    assert plan(asked(layer_options={"prefix": value}, layer_hosts=[["h", 1]]))["refusals"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": None}, "No Docker engine answers"),
        ({"folder": None}, "there is no such folder"),
        ({"files": [], "project": None}, "Compose finds no compose file"),
        ({"compose": None}, "Compose plugin is not on this server"),
        ({"compose": "2.21.0"}, "2.24 is the first"),
        ({"override": {"exists": True, "ours": False, "text": ""}}, "is there and not this collection's"),
        ({"in_place": "compose.override.yml", "reads_ours": False}, "Compose reads compose.override.yml instead"),
        ({"earlier": ["docker-compose.override.yml"]}, "Compose still reads docker-compose.override.yml"),
        ({"problem": "services.x must be a mapping"}, "services.x must be a mapping"),
        ({"project": project(portal=None)}, "the services of docker-compose.yml are db, tethys"),
        ({"project": project(portal=service(network_mode="host"))}, "has network_mode host"),
        ({"project": project(redis=service(image="postgres:16"))}, "is not a Redis (postgres:16)"),
        (
            {"project": project(redis=service(image="redis:5"), redis_users=["celery"])},
            "is used by celery as well",
        ),
        ({"project": project(redis=service(image="redis:5", network_mode="host"))}, "has network_mode host"),
        ({"project": project(redis=service(image="redis:5", keys=["image", "volumes"]))}, "that service has volumes"),
        ({"credentials_of": "/srv/other"}, "are those of the project in /srv/other"),
        ({"project_names": ["lake", "river"]}, "were started under the names lake and river: set it to one of them"),
        ({"stack": "lakes"}, "its portal runs in the stack lakes (`docker stack deploy`)"),
        ({"unset": ["HOST", "SITE"]}, "use HOST, SITE, which is set neither in .env nor for root"),
        (
            {"is_tethys_docker": False, "project": project(portal=service(image="nginx:1"))},
            "tethys_docker_portal_service is tethys, and its image (nginx:1) does not have the variables of Tethys",
        ),
        ({"container": container(), "inside": inside(cannot_serve=["no-fd"])}, "starts daphne without `--fd 0`"),
        ({"container": container(), "inside": inside(cannot_serve=["no-endpoint"])}, "lacks twisted/plugins/fd_endp"),
        (
            {"container": container(), "inside": {"problem": "unable to find user www"}},
            "tethys_docker_user is 'www', and nothing can be run as that user",
        ),
    ],
)
def test_what_the_server_makes_impossible(changes: dict[str, Any], words: str) -> None:
    (reason,) = plan(asked(), look(**changes))["refusals"]
    assert words in reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dockerfile": {"exists": False, "ours": False, "problem": None}}, "there is no such file"),
        ({"dockerfile": {"exists": True, "ours": False, "problem": "has no FROM"}}, "and it has no FROM"),
        ({"project": project(portal=service(env={"ASGI_PROCESSES": "1"}))}, "sets ASGI_PROCESSES in the compose file"),
    ],
)
def test_what_a_dockerfile_makes_impossible(changes: dict[str, Any], words: str) -> None:
    (reason,) = plan(asked(carrier="dockerfile"), look(**changes))["refusals"]
    assert words in reason


def test_a_volume_that_nobody_can_look_at() -> None:
    down = look(volume=True)
    (reason,) = plan(asked(), down)["refusals"]
    assert reason.startswith("The portal's volume is there, and its service tethys does not run")
    stopped = look(container=container(running=False), volume=True)
    (reason,) = plan(asked(), stopped)["refusals"]
    assert "its container tethys does not run" in reason
    # What an earlier run found is kept already.
    assert plan(asked(), {**down, "override": OURS})["refusals"] == []


def test_what_nobody_can_be_asked_is_not_recreated() -> None:
    """A container without a volume, whose portal does not run: whatever it holds would be gone."""
    bare = container(running=False, persisted=False, env=compose_file.environment(inputs(), "compose"))
    (reason,) = plan(asked(), look(container=bare))["refusals"]
    assert reason.startswith("Container tethys has no volume at TETHYS_PERSIST and is recreated")
    assert "(`docker start tethys`)" in reason
    # One that stays loses nothing; a newer image replaces it.
    assert plan(asked(), look(container=bare, override=OURS))["refusals"] == []
    assert plan(asked(), look(container=bare, override=OURS, image_id="sha256:2"))["refusals"] == [reason]


@pytest.mark.parametrize(
    ("variables", "changes", "words"),
    [
        ({"redis": "container"}, {}, "currently runs as service redis"),
        ({"layer_hosts": [["h", 1]]}, {}, "currently runs as service redis"),
        ({"layer_backend": MEMORY_BACKEND}, {}, "currently runs as service redis"),
        ({"redis_service": "channels-redis"}, {}, "currently runs as service redis"),
        (
            {},
            {"redis_container": {"id": "1", "image": "redis:8", "ours": True}, "override": {**BARE, "ours": True}},
            "currently runs as container redis",
        ),
    ],
)
def test_a_redis_that_would_be_left_behind(variables: dict[str, Any], changes: dict[str, Any], words: str) -> None:
    text = compose_file.override_file(inputs(), look(), REDIS)
    held = look(**{"override": {"exists": True, "ours": True, "text": text}, **changes})
    (reason,) = plan(asked(**variables), held)["refusals"]
    assert words in reason
    assert "tethys_docker_state=absent" in reason
    gone = plan(asked(**variables, state="absent"), held)
    assert gone["refusals"] == []
    assert gone["redis_before"] == (None if changes else "redis")


@pytest.mark.parametrize("theirs", [None, ["environment", "labels", "networks", "ports", "tmpfs", "volumes"]])
def test_our_own_redis_is_found_again_in_our_file(theirs: list[str] | None) -> None:
    project_ = project(redis=theirs and service(image="redis:5", keys=theirs))
    text = compose_file.override_file(inputs(), look(project=project_), REDIS)
    held = look(project=project_, override={"exists": True, "ours": True, "text": text})
    found = plan(asked(), held)
    assert (found["refusals"], found["redis_before"]) == ([], "redis")


@pytest.mark.parametrize("text", ["", "x", "services: []", "services: {a: }", ":\n- {", "services: {a: {labels: 1}}"])
def test_a_file_of_ours_that_somebody_has_changed(text: str) -> None:
    assert plan(asked(), look(override={"exists": True, "ours": True, "text": text}))["redis_before"] is None


def test_a_container_of_redis_that_is_somebody_elses() -> None:
    theirs = {"id": "1", "image": "redis:5", "ours": False}
    (reason,) = plan(asked(redis="container"), look(redis_container=theirs))["refusals"]
    assert "a container of that name (redis:5) is not this collection's" in reason
    assert plan(asked(redis="container"), look(redis_container={**theirs, "ours": True}))["refusals"] == []
    # As a service, its name is the project's matter.
    assert plan(asked(), look(redis_container=theirs))["refusals"] == []


def test_the_candidate_can_be_written_before_there_are_credentials() -> None:
    found = yaml.load(compose_file.override_file(inputs(), look()), _Loader)  # noqa: S506 - a SafeLoader
    assert found["services"]["redis"]["volumes"][0]["source"] == "/etc/tethys-channels-docker/redis"


# --- Bokeh ----------------------------------------------------------------------------------------------------------

HANDLER = {"app": "plot", "name": "home", "url": "/apps/plot/"}


@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize(
    ("bokeh", "portal", "changes", "words"),
    [
        ("not_in_use", {}, {}, ""),
        ("in_use", {}, {}, "Bokeh is in use (tethys_bokeh: in_use)"),
        ("auto", {}, {}, "the portal's container does not run"),
        ("auto", {"bokeh": []}, {"container": container(), "inside": inside(processes=3)}, ""),
        ("auto", {"bokeh": [HANDLER]}, {"container": container(), "inside": inside()}, "plot: home at /apps/plot/"),
        (
            "auto",
            {"bokeh": "unknown", "bokeh_problem": "no database"},
            {"container": container(), "inside": inside()},
            "(Why it is not known: no database)",
        ),
        # The portal that runs has no Bokeh, but the one that is about to start is another.
        (
            "auto",
            {"bokeh": []},
            {"container": container(), "inside": inside(), "image_id": "sha256:2"},
            "the portal's image is newer",
        ),
    ],
)
def test_the_bokeh_rule(
    processes: int, bokeh: str, portal: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    found = plan(asked(asgi_processes=processes, bokeh=bokeh), look(**changes), portal=portal)
    if processes == 1 or not words:
        assert found["refusals"] == []
        return
    (reason,) = found["refusals"]
    assert reason.startswith("tethys_asgi_processes is 3 and ")
    assert words in reason
    assert "set tethys_asgi_processes to 1" in reason
    assert ("tethys_bokeh to not_in_use" in reason) == (bokeh == "auto" and portal.get("bokeh") != [HANDLER])


def test_several_processes_on_the_layer_in_memory() -> None:
    found = plan(asked(asgi_processes=2, layer_backend=MEMORY_BACKEND, bokeh="not_in_use"), look())
    (reason,) = found["refusals"]
    assert "only the sender's own process receives a message" in reason


# --- announcements --------------------------------------------------------------------------------------------------


def test_a_volume_that_was_set_up_before_is_told() -> None:
    found = plan(
        asked(asgi_processes=2, bokeh="not_in_use"),
        look(container=container(), inside=inside(processes=3)),
        portal={"settings": {"layer_backend": MEMORY_BACKEND}},
    )
    assert found["refusals"] == []
    recreated, number, setting = found["announce"]
    assert "Container tethys is recreated" in recreated
    assert "(3 now, then 2)" in number
    assert "CHANNEL_LAYERS is changed inside the container" in setting


def test_nothing_is_told_where_nothing_changes() -> None:
    variables = asked()
    env = compose_file.environment(DockerInputs.given(variables), "compose")
    found = plan(
        variables,
        look(container=container(env=env), inside=inside(), override={"exists": True, "ours": True, "text": "x"}),
        portal={"settings": {"layer_backend": CORE_BACKEND}},
    )
    assert (found["refusals"], found["warnings"], found["announce"]) == ([], [], [])


def test_the_manuals_own_redis_is_told_once() -> None:
    theirs = project(redis=service(image="redis:5", keys=["image", "ports"]))
    (told,) = plan(asked(), look(project=theirs))["announce"]
    assert "The service redis (redis:5)" in told
    assert "no longer published" in told
    ours = {"exists": True, "ours": True, "text": "x"}
    assert plan(asked(), look(project=theirs, override=ours))["announce"] == []


def test_a_file_that_compose_does_not_read_by_itself() -> None:
    (told,) = plan(asked(override_file="channels.yml"), look(reads_ours=False))["warnings"]
    assert "COMPOSE_FILE=docker-compose.yml:channels.yml" in told


def test_a_volume_that_compose_did_not_name() -> None:
    """As with Tethys's own compose file, which mounts nothing: its image declares a volume."""
    sentence = "after `docker compose down` the next container begins with an empty one"
    (told,) = plan(asked(), look(persist_mounted=False))["warnings"]
    assert sentence in told
    (told,) = plan(asked(), look(container=container(unnamed=True), inside=inside()))["warnings"]
    assert sentence in told
    # What it has counts, not what the next one will have.
    kept = look(container=container(), inside=inside(), persist_mounted=False)
    assert plan(asked(), kept)["warnings"] == []
    assert plan(asked(state="absent"), look(persist_mounted=False))["warnings"] == []


def test_a_log_that_will_have_the_password() -> None:
    seen = look(container=container(), inside=inside(), log_has_settings=True)
    (told,) = plan(asked(), seen)["warnings"]
    assert told.startswith(
        "Container tethys printed portal_config.yml to its log when it started (`docker logs tethys`)"
    )
    assert plan(asked(layer_hosts=[["h", 1]]), seen)["warnings"] == []


def test_an_image_that_is_not_here_is_not_judged() -> None:
    assert plan(asked(), look(is_tethys_docker=None))["refusals"] == []
    bare = look(files=[], project=None, volume=None, container=container(image="nginx:1"), is_tethys_docker=False)
    (reason,) = plan(asked(carrier="dockerfile", redis="container"), bare)["refusals"]
    assert reason.startswith("tethys_docker_container is tethys, and its image (nginx:1)")


def test_the_service_that_was_found_is_the_one() -> None:
    """By its image, where there is no service of the default's name."""
    found = look(portal_service="web", project=project(portal=service(networks=["internal", "external"])))
    assert plan(asked(), found)["portal_service"] == "web"
    assert plan(asked(), look())["portal_service"] == "tethys"
    assert list(override(asked(), found)["services"]) == ["web", "redis"]
    down = {**found, "volume": True}
    (reason,) = plan(asked(), down)["refusals"]
    assert "its service web does not run" in reason


def test_why_a_started_portal_cannot_answer_is_in_the_plan() -> None:
    found = plan(asked(), look(container=container(), inside=inside(cannot_serve=["no-fd"])))
    assert found["after_start"] == found["refusals"]
    assert plan(asked(), look())["after_start"] == []


def test_a_container_without_a_volume() -> None:
    (told,) = plan(asked(), look(container=container(persisted=False)))["warnings"]
    assert "has no volume at TETHYS_PERSIST" in told


def test_removing_needs_the_portal_that_was_changed() -> None:
    ours = {"exists": True, "ours": True, "text": "x"}
    stopped = look(container=container(running=False), override=ours)
    (reason,) = plan(asked(state="absent"), stopped)["refusals"]
    assert "does not run" in reason
    running = look(container=container(), inside=inside(kept={"fresh": True}), override=ours)
    assert plan(asked(state="absent"), running, portal={"site_packages": "/x"})["refusals"] == []
    (reason,) = plan(asked(state="absent"), running)["refusals"]
    assert "does not answer yet" in reason
    # Without a container there may be a volume.
    assert plan(asked(state="absent", asgi_processes=3), look(override=ours))["refusals"] == []
    (reason,) = plan(asked(state="absent"), look(override=ours, volume=True))["refusals"]
    assert "container tethys does not run" in reason
    assert plan(asked(state="absent"), look(volume=True))["refusals"] == []


def test_credentials_that_are_this_projects_or_not_needed() -> None:
    assert plan(asked(), look(credentials_of="/srv/tethys/"))["refusals"] == []
    assert plan(asked(layer_hosts=[["h", 1]]), look(credentials_of="/srv/other"))["refusals"] == []


def test_removing_from_a_dockerfile_needs_the_portal_too() -> None:
    variables = asked(state="absent", carrier="dockerfile", redis="container", container="river")
    files = {"files": [], "project": None, "volume": None}
    block = {"exists": True, "ours": True, "problem": None}
    (reason,) = plan(variables, look(**files, dockerfile=block))["refusals"]
    assert "container river does not run" in reason
    assert "delete the block" in reason
    (reason,) = plan(variables, look(**files, dockerfile=block, container=container(running=False)))["refusals"]
    assert "start it" in reason
    redis = {"id": "1", "image": "redis:8", "ours": True}
    assert len(plan(variables, look(**files, redis_container=redis))["refusals"]) == 1
    assert plan(variables, look(**files))["refusals"] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine": None}, "No Docker engine answers"),
        ({"folder": None}, "there is no such folder"),
        ({"files": [], "project": None}, "Compose finds no compose file"),
        ({"compose": None}, "Compose plugin is not on this server"),
        ({"earlier": ["docker-compose.override.yml"]}, "Compose still reads docker-compose.override.yml"),
        ({"elsewhere": ["channels.yml"]}, "an earlier run wrote channels.yml"),
        ({"problem": "services.x must be a mapping"}, "services.x must be a mapping"),
        ({"project": project(portal=None)}, "the services of docker-compose.yml are db, tethys"),
        ({"credentials_of": "/srv/other"}, "are those of the project in /srv/other"),
    ],
)
def test_what_makes_removing_impossible(changes: dict[str, Any], words: str) -> None:
    (reason,) = plan(asked(state="absent"), look(**changes))["refusals"]
    assert words in reason


def test_credentials_go_only_with_what_is_this_projects() -> None:
    assert plan(asked(state="absent"), look())["ours"] is False
    assert plan(asked(state="absent"), look(override=BARE))["ours"] is False
    for changes in (
        {"override": OURS},
        {"dockerfile": {"exists": True, "ours": True, "problem": None}},
        {"container": container(), "inside": inside(kept={"fresh": True})},
        {"redis_container": {"id": "1", "image": "x", "ours": True}},
    ):
        assert plan(asked(state="absent"), look(**changes))["ours"] is True


@pytest.mark.parametrize(("at", "here"), [(900.0, False), (1000.0, True), (1060.5, True), (None, False)])
def test_who_set_the_volume_up(at: float | None, here: bool) -> None:
    found = plan(asked(), look(container=container(), inside=inside(set_up_at=at)))
    assert found["set_up_here"] is here
    assert plan(asked(), look())["set_up_here"] is False


def test_the_layer_in_memory_is_the_same_without_a_config() -> None:
    variables = asked(layer_backend=MEMORY_BACKEND)
    settings = {"layer_backend": MEMORY_BACKEND, "channel_layers": {"default": {"BACKEND": MEMORY_BACKEND}}}
    ours = container(env=compose_file.environment(DockerInputs.given(variables), "compose"))
    found = plan(variables, look(container=ours, inside=inside()), portal={"settings": settings})
    assert found["announce"] == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"hosts": [{**CONFIG["hosts"][0], "username": "tethys", "password": "********"}]}, 0),
        ({"hosts": [{"host": "redis", "port": 6379, "username": "tethys", "password": "********"}]}, 1),
        ({**CONFIG, "capacity": 5}, 1),
    ],
)
def test_a_changed_setting_is_told_also_with_the_same_backend(config: dict[str, Any], told: int) -> None:
    variables = asked()
    settings = {
        "layer_backend": CORE_BACKEND,
        "channel_layers": {"default": {"BACKEND": CORE_BACKEND, "CONFIG": config}},
    }
    ours = container(env=compose_file.environment(DockerInputs.given(variables), "compose"))
    found = plan(variables, look(container=ours, inside=inside()), portal={"settings": settings})
    assert len([text for text in found["announce"] if "CHANNEL_LAYERS is changed inside" in text]) == told


FURTHER = {"BACKEND": CORE_BACKEND, "CONFIG": {"hosts": [{"host": "redis", "port": 6379}], "prefix": "asgi:tribs"}}


def settings_with(**layers: Any) -> dict[str, Any]:
    ours = {"BACKEND": CORE_BACKEND, "CONFIG": CONFIG}
    return {"settings": {"layer_backend": CORE_BACKEND, "channel_layers": {"default": ours, **layers}}}


def told_of(**layers: Any) -> dict[str, Any]:
    variables = asked()
    ours = container(env=compose_file.environment(DockerInputs.given(variables), "compose"))
    return plan(variables, look(container=ours, inside=inside(), override=OURS), portal=settings_with(**layers))


def test_a_further_layer_is_no_change_of_ours() -> None:
    elsewhere = {"BACKEND": CORE_BACKEND, "CONFIG": {"hosts": [["other", 6379]]}}
    found = told_of(tribs=elsewhere, memory={"BACKEND": MEMORY_BACKEND})
    assert (found["refusals"], found["announce"]) == ([], [])


def test_a_further_layer_on_our_redis_gets_the_login() -> None:
    found = told_of(tribs=FURTHER)
    assert found["refusals"] == []
    assert found["announce"] == [
        "The login of Redis is also written for CHANNEL_LAYERS.tribs, which the same Redis serves."
    ]
    now = {"default": {}, "tribs": FURTHER}
    login = {"username": "tethys", "password": "p'w"}
    # The whole layer: the merge of settings replaces one layer by another.
    written = {"tribs": {**FURTHER, "CONFIG": {**FURTHER["CONFIG"], "hosts": [{**CONFIG["hosts"][0], **login}]}}}
    assert compose_file.further(inputs(), REDIS["credentials"], now) == written
    # The next run finds the login masked, and writes what is there.
    masked = {"host": "redis", "port": 6379, "socket_timeout": 15, "username": "tethys", "password": "********"}
    now = {"tribs": {**FURTHER, "CONFIG": {**FURTHER["CONFIG"], "hosts": [masked]}}}
    assert compose_file.further(inputs(), REDIS["credentials"], now) == written
    assert told_of(**now)["announce"] == []


def test_the_login_is_taken_out_of_a_further_layer_again() -> None:
    """With `absent`, on a volume that was set up with our variables: it points at a Redis that is gone."""
    masked = {**CONFIG["hosts"][0], "username": "tethys", "password": "********"}
    layer = {**FURTHER, "CONFIG": {**FURTHER["CONFIG"], "hosts": [masked]}}
    elsewhere = {"BACKEND": CORE_BACKEND, "CONFIG": {"hosts": [["other", 6379]]}}
    now = {"default": {}, "tribs": layer, "else": elsewhere}
    assert compose_file.bare(inputs(), now) == {
        "tribs": {**FURTHER, "CONFIG": {**FURTHER["CONFIG"], "hosts": [CONFIG["hosts"][0]]}}
    }
    assert compose_file.bare(inputs(layer_hosts=[["h", 1]]), now) == {}
    assert compose_file.bare(inputs(), None) == {}


@pytest.mark.parametrize(
    ("now", "ours"),
    [
        ({"default": {"BACKEND": CORE_BACKEND, "CONFIG": CONFIG}}, True),
        # What app states did at the first start: another layer, and the layer in memory, which takes no hosts.
        ({"default": {"BACKEND": CORE_BACKEND, "CONFIG": CONFIG}, "tribs": FURTHER}, True),
        ({"default": {"BACKEND": MEMORY_BACKEND, "CONFIG": CONFIG}}, True),
        ({"default": {"BACKEND": CORE_BACKEND, "CONFIG": {"hosts": [{**CONFIG["hosts"][0], "password": "*"}]}}}, True),
        ({"default": {"BACKEND": CORE_BACKEND, "CONFIG": {"hosts": [{"host": "redis", "port": 6379}]}}}, False),
        ({"default": {"BACKEND": MEMORY_BACKEND}}, False),
        ({"tribs": FURTHER}, False),
        (None, False),
    ],
)
def test_what_was_set_up_with_our_variables(now: Any, ours: bool) -> None:
    assert compose_file.is_ours(inputs(), now) is ours


def test_a_further_layer_may_have_a_longer_prefix() -> None:
    layer = {**FURTHER, "CONFIG": {**FURTHER["CONFIG"], "prefix": "asgi-tribs"}}
    assert told_of(tribs=layer)["refusals"] == []
    assert list(compose_file.further(inputs(), REDIS["credentials"], {"tribs": layer})) == ["tribs"]


@pytest.mark.parametrize(
    "variables",
    [{"layer_hosts": [["h", 1]]}, {"layer_backend": MEMORY_BACKEND}, {"redis_service": "channels-redis"}],
)
def test_a_further_layer_on_another_redis_is_left_alone(variables: dict[str, Any]) -> None:
    assert compose_file.further(inputs(**variables), REDIS["credentials"], {"tribs": FURTHER}) == {}
    assert compose_file.further(inputs(), None, {"tribs": FURTHER}) == {}
    own = {"host": "redis", "username": "app", "password": "********"}
    assert compose_file.further(inputs(), REDIS["credentials"], {"t": {"CONFIG": {"hosts": [own]}}}) == {}


@pytest.mark.parametrize(
    "config",
    [
        {"hosts": [["redis", 6379], ["other", 6379]]},
        {"hosts": [["redis", 6379]], "symmetric_encryption_keys": ["********"]},
        {"hosts": [["redis", 6379]], "channel_capacity": {"auth.events": "********"}},
        {"hosts": ["redis://********@redis:6379/0"]},
        {"hosts": [{"host": "redis", "port": 6379, "username": "app", "password": "********"}]},
        {"hosts": [{"host": "redis", "port": 6379, "password": "********"}]},
        # The login reaches neither another prefix nor another class's commands.
        {"hosts": [["redis", 6379]], "prefix": "tribs"},
        {"hosts": [["redis", 6379]], "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer"},
    ],
)
def test_a_further_layer_that_cannot_be_written_is_refused(config: dict[str, Any]) -> None:
    layer = {"BACKEND": config.get("BACKEND", CORE_BACKEND), "CONFIG": config}
    found = told_of(tribs=layer)
    (reason,) = found["refusals"]
    assert reason.startswith("CHANNEL_LAYERS.tribs uses Redis at redis:6379, which gets a password, and it has other")
    assert found["announce"] == []
    assert compose_file.further(inputs(), REDIS["credentials"], {"tribs": layer}) == {}
    # On a volume that this run set up, the run ends with it.
    assert compose_file.locked_out(inputs(), {"tribs": layer}) == [reason]
    assert compose_file.locked_out(inputs(layer_hosts=[["h", 1]]), {"tribs": layer}) == []


def test_the_fix_for_a_further_layer_of_another_class() -> None:
    layer = {"BACKEND": PUBSUB_BACKEND, "CONFIG": {"hosts": [["redis", 6379]]}}
    (reason,) = told_of(tribs=layer)["refusals"]
    assert f"Set tethys_layer_backend to {PUBSUB_BACKEND}, or tethys_docker_redis_service to another" in reason
    # The class is not all that it lacks.
    (reason,) = told_of(tribs={**layer, "CONFIG": {**layer["CONFIG"], "prefix": "tribs"}})["refusals"]
    assert "`default`. Set tethys_docker_redis_service to another name" in reason


@pytest.mark.parametrize("odd", ["x", [], {"CONFIG": 5}, {"CONFIG": {"hosts": 5}}, {"CONFIG": {"hosts": [5, None]}}])
def test_a_further_layer_may_be_anything(odd: Any) -> None:
    assert told_of(tribs=odd)["refusals"] == []


@pytest.mark.parametrize(
    ("variables", "redis_py", "refused"),
    [
        ({"redis_image": "redis:5"}, "8.1.0", True),
        ({"redis_image": "redis:5"}, "7.4.1", False),
        ({"redis_image": "redis:5"}, None, False),
        ({"redis_image": "redis:6"}, "8.1.0", False),
        ({"redis_image": "redis:5", "layer_hosts": [["h", 1]]}, "8.1.0", False),
    ],
)
def test_redis_5_and_redis_py_8(variables: dict[str, Any], redis_py: str | None, refused: bool) -> None:
    found = plan(asked(**variables), look(), portal={"versions": {"redis": redis_py}})
    assert len(found["refusals"]) == refused
    if refused:
        assert found["refusals"][0].startswith(
            "tethys_docker_redis_image is redis:5: redis-py 8.1.0 opens a connection"
        )


DOWN = "the portal does not answer until it has started again."
SQLITE = {"setting": "DATABASES.default.NAME", "path": "/usr/lib/tethys/tethys_platform.sqlite", "holds": True}


@pytest.mark.parametrize(
    ("variables", "changes", "row", "refused"),
    [
        ({}, {}, SQLITE, True),
        ({}, {}, {**SQLITE, "holds": False}, False),
        ({}, {}, {**SQLITE, "path": "/var/lib/tethys_persist/tethys_platform.sqlite"}, False),
        ({}, {}, {**SQLITE, "path": "/var/lib/tethys_persist2/tethys_platform.sqlite"}, True),
        ({}, {}, {"setting": "MEDIA_ROOT", "path": "/usr/lib/tethys/media", "holds": True}, True),
        # A container that stays is left alone.
        ({}, {"override": OURS}, SQLITE, False),
        ({"asgi_processes": 2, "bokeh": "not_in_use"}, {"override": OURS}, SQLITE, True),
        # Our file adds a network, or the container gets the image with our variables.
        ({"carrier": "dockerfile"}, {}, SQLITE, True),
        ({"carrier": "dockerfile"}, {"override": OURS, "image_id": "sha256:2"}, SQLITE, True),
        ({"carrier": "dockerfile"}, {"override": OURS}, SQLITE, False),
        ({"carrier": "dockerfile", "layer_hosts": [["h", 1]]}, {}, SQLITE, False),
        ({"start": False}, {}, SQLITE, False),
        ({"state": "absent"}, {}, SQLITE, False),
        ({"state": "absent"}, {"override": OURS}, SQLITE, True),
    ],
)
def test_data_outside_every_volume(
    variables: dict[str, Any], changes: dict[str, Any], row: dict[str, Any], refused: bool
) -> None:
    ours = container(env=compose_file.environment(inputs(), "compose"))
    portal = settings_with()
    portal["settings"]["data"] = [row]
    portal["site_packages"] = "/x"
    found = plan(asked(**variables), look(container=ours, inside=inside(), **changes), portal=portal)
    assert len(found["refusals"]) == refused
    if refused:
        assert found["refusals"][0].startswith(
            f"{row['setting']} is {row['path']}, which no volume of container tethys"
        )
        # An app may choose `.ssh` or `.bashrc`, and the administrator may be in /root.
        assert f"(`docker cp tethys:{row['path']} portal-data-1`)" in found["refusals"][0]


@pytest.mark.parametrize(
    ("variables", "changes", "why"),
    [
        ({}, {}, "its service in Compose changes"),
        ({}, {"override": OURS}, ""),
        ({"asgi_processes": 2, "bokeh": "not_in_use"}, {"override": OURS}, "its variables change"),
        ({}, {"override": OURS, "image_id": "sha256:2"}, "its image has changed"),
        ({"carrier": "dockerfile"}, {"override": OURS, "image_id": "sha256:2"}, "its image has changed"),
        ({"state": "absent"}, {"override": OURS}, "only your own compose file applies again"),
        ({"state": "absent"}, {}, ""),
        ({"state": "absent", "start": False}, {"override": OURS}, ""),
    ],
)
def test_the_downtime_of_a_new_container_is_announced(
    variables: dict[str, Any], changes: dict[str, Any], why: str
) -> None:
    ours = container(env=compose_file.environment(inputs(), "compose"))
    found = plan(asked(**variables), look(container=ours, inside=inside(set_up=False), **changes))
    assert found["announce"] == ([f"Container tethys is recreated, since {why}: {DOWN}"] if why else [])


NO_PROJECT: dict[str, Any] = {"files": [], "project": None, "volume": None, "persist_mounted": None}


def test_what_the_next_docker_run_loses_is_told() -> None:
    """As ngiab-client's script does it: the run recreates nothing, and the administrator does."""
    portal = {**settings_with(), "site_packages": "/x"}
    portal["settings"]["data"] = [SQLITE]
    variables = asked(carrier="dockerfile", redis="container")
    found = plan(variables, look(container=container(unnamed=True), inside=inside(), **NO_PROJECT), portal=portal)
    assert found["refusals"] == []
    data, volume = found["warnings"]
    assert data.startswith(f"DATABASES.default.NAME is {SQLITE['path']}, which no volume of container tethys holds")
    assert volume.startswith("The volume of container tethys at TETHYS_PERSIST has no name: the next `docker run`")
    named = look(container=container(mounts=["/usr/lib/tethys"]), inside=inside(), **NO_PROJECT)
    assert plan(variables, named, portal=portal)["warnings"] == []


# --- the files ------------------------------------------------------------------------------------------------------


def override(variables: dict[str, Any], found: dict[str, Any], redis: dict[str, Any] | None = None) -> Any:
    text = compose_file.override_file(DockerInputs.given(variables), found, redis or REDIS)
    assert text.startswith("# Managed by tethys.channels")
    for secret in ("p'w", "adm"):
        assert secret not in text.replace("adm" + "in", "")
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with one tag more


def test_the_compose_file() -> None:
    found = override(asked(asgi_processes=3), look())
    portal, redis = found["services"]["tethys"], found["services"]["redis"]
    assert set(found) == {"services"}
    assert portal["environment"] == {
        "ASGI_PROCESSES": "3",
        "CHANNEL_LAYERS_BACKEND": CORE_BACKEND,
        "CHANNEL_LAYERS_CONFIG": f"'{json.dumps(CONFIG)}'",
    }
    assert portal["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "networks" not in portal
    assert redis["networks"] == {"internal": None}
    assert "ports" not in redis
    assert "environment" not in redis
    assert redis["volumes"][0]["read_only"] is True


def test_a_network_that_is_not_there_yet_is_closed_and_the_default_one_stays() -> None:
    found = override(asked(), look(project=project(networks={"default": "x"}, portal=service(networks=["default"]))))
    assert found["networks"] == {"internal": {"internal": True}}
    assert found["services"]["tethys"]["networks"] == {"default": None, "internal": None}


def test_a_published_port_is_on_the_loopback_and_its_network_open() -> None:
    found = override(asked(redis_port=6400), look(project=project(networks={})))
    assert found["services"]["redis"]["ports"] == ["127.0.0.1:6400:6379"]
    assert found["networks"] == {"internal": {"internal": False}}


def test_the_manuals_own_redis_is_overridden_where_compose_would_merge() -> None:
    theirs = project(redis=service(image="redis:5", keys=["image", "networks", "ports", "restart", "volumes"]))
    redis = override(asked(), look(project=theirs))["services"]["redis"]
    assert redis["ports"] == ("override", [])
    assert redis["networks"] == ("override", {"internal": None})
    assert redis["volumes"][0] == "override"
    assert redis["tmpfs"] == ["/data:size=1m"]


def test_nothing_but_its_name_stays_of_their_redis() -> None:
    """Its build, rights, processes, health check and number would go on under our image's name."""
    keys = ["build", "cap_add", "cap_drop", "container_name", "deploy", "environment", "healthcheck", "hostname"]
    keys += ["image", "labels", "logging", "pid", "privileged", "profiles", "scale", "security_opt"]
    redis = override(asked(), look(project=project(redis=service(image="redis:5", keys=keys))))["services"]["redis"]
    gone = {name for name, value in redis.items() if value is RESET}
    assert gone == {"build", "cap_add", "deploy", "env_file", "pid", "privileged", "profiles", "scale"}
    # Compose would add ours to theirs: an unconfined profile, a check that is off, another driver's options.
    for name in ("cap_drop", "environment", "healthcheck", "logging", "security_opt"):
        assert redis[name][0] == "override", name
    assert redis["healthcheck"][1]["interval"] == "3s"
    assert not {"container_name", "hostname"} & redis.keys()


def test_redis_started_directly_is_joined_from_outside() -> None:
    found = override(asked(redis="container", network="channels"), look())
    assert set(found["services"]) == {"tethys"}
    assert found["networks"] == {"tethys_channels": {"external": True, "name": "channels"}}
    assert found["services"]["tethys"]["networks"] == {"internal": None, "tethys_channels": None}
    assert "depends_on" not in found["services"]["tethys"]


def test_a_redis_that_exists_already_keeps_its_password_out_of_the_file() -> None:
    hosts = [{"address": "redis://u:p'w@h:1/0"}, {"host": "h", "username": "u", "password": "adm"}]
    found = override(asked(layer_hosts=hosts), look())
    assert set(found["services"]) == {"tethys"}
    config = found["services"]["tethys"]["environment"]["CHANNEL_LAYERS_CONFIG"]
    assert json.loads(config.strip("'")) == {
        "hosts": [{"address": "redis://h:1/0", "socket_timeout": 15}, {"host": "h", "port": 6379, "socket_timeout": 15}]
    }


def test_the_layer_in_memory_needs_no_redis() -> None:
    found = override(asked(layer_backend=MEMORY_BACKEND), look())
    assert set(found["services"]) == {"tethys"}
    assert found["services"]["tethys"]["environment"]["CHANNEL_LAYERS_CONFIG"] == "'{}'"


def test_a_dockerfile_carries_the_variables_instead() -> None:
    variables = asked(carrier="dockerfile")
    assert "environment" not in override(variables, look())["services"]["tethys"]
    assert compose_file.dockerfile_block(DockerInputs.given(variables)).splitlines() == [
        "ENV ASGI_PROCESSES=1",
        f"ENV CHANNEL_LAYERS_BACKEND={CORE_BACKEND}",
        r"""ENV CHANNEL_LAYERS_CONFIG="'{\"hosts\": [{\"host\": \"redis\", \"port\": 6379, """
        r'''\"socket_timeout\": 15}]}'"''',
    ]


def test_a_dollar_sign_is_none_of_composes() -> None:
    text = compose_file.override_file(inputs(redis_image="r$x:1"), look(), {**REDIS, "config_dir": "/etc/${x}"})
    assert "r$$x:1" in text
    assert "/etc/$${x}" in text


def test_the_setting_has_the_password_and_the_variables_have_not() -> None:
    variables = asked()
    assert compose_file.layers(DockerInputs.given(variables), REDIS["credentials"])["default"]["CONFIG"]["hosts"] == [
        {**CONFIG["hosts"][0], "username": "tethys", "password": "p'w"}
    ]
    assert compose_file.carried(DockerInputs.given(variables)) == {
        "default": {"BACKEND": CORE_BACKEND, "CONFIG": CONFIG}
    }


@pytest.mark.parametrize("key", ["password", "admin_password"])
def test_a_new_password_makes_a_new_redis(key: str) -> None:
    other = copy.deepcopy(REDIS)
    other["credentials"][key] = "other"  # type: ignore[index]
    assert compose_file.config_sum(other) != compose_file.config_sum(REDIS)


@pytest.mark.parametrize(
    "host",
    [
        "redis://h:1/0?password=geheim",
        "REDIS://u:geheim@h",
        {"address": "rediss://h:1", "ssl_password": "geheim"},
        {"master_name": "m", "sentinels": [["h", 1]], "password": "geheim", "sentinel_kwargs": {"password": "geheim"}},
    ],
)
def test_no_secret_of_a_host_is_in_what_others_read(host: Any) -> None:
    variables = asked(layer_hosts=[host])
    assert plan(variables, look())["refusals"] == []
    for text in (
        compose_file.override_file(DockerInputs.given(variables), look()),
        compose_file.dockerfile_block(DockerInputs.given(variables)),
    ):
        assert "geheim" not in text
    assert "geheim" in repr(compose_file.layers(DockerInputs.given(variables)))
