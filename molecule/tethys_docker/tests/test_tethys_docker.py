# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A portal in Tethys Docker: delivery, secrets, a volume that was set up before, refusals, and the removal.

The tests run in their order: what one leaves behind the next one finds.
"""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import bed
import pytest
import yaml
from ansible.plugins.loader import init_plugin_loader
from bed import changed, decoded, playbook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# What finds the installed collection, for the import below.
init_plugin_loader()
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_env import docker_env  # noqa: E402

IMAGE = "tethys-channels-test/tethys-core-stand-in:trixie"
PYTHON = "/opt/conda/envs/tethys/bin/python"
PERSIST = "/var/lib/tethys_persist"
CREDENTIALS = "/etc/tethys-channels-docker/credentials.json"
SEED = {"hosts": [{"host": "redis", "port": 6379}]}
CORE = "channels_redis.core.RedisChannelLayer"
# As it stands in the documentation of Tethys, in "Django Channels Layer", after ENV CHANNEL_LAYERS_CONFIG.
MANUAL = r'''"\"{'hosts':[{'host':\ 'redis',\ 'port':\ 6379}]}\""'''
# Without settings of a project's own.
MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
# The files of a portal that the manual's project keeps on its volume.
DATA = f"{PERSIST}/portal_config.yml {PERSIST}/asgi_supervisord.conf"
# The variables of each project.
FEWER = {"tethys_asgi_processes": 2}
BOKEH = {
    "tethys_asgi_processes": 3,
    "tethys_bokeh": "auto",
    "tethys_docker_project_dir": "/srv/bokeh",
    "tethys_docker_credentials_dir": "/etc/tethys-channels-bokeh",
}
FROM_IMAGE = {
    "tethys_docker_project_dir": "/srv/image",
    "tethys_docker_credentials_dir": "/etc/tethys-channels-image",
    "tethys_docker_carrier": "dockerfile",
    "tethys_docker_redis": "container",
    "tethys_docker_redis_service": "channels-redis",
    "tethys_docker_network": "channels",
    "tethys_docker_container": "river",
    "tethys_asgi_processes": 2,
}
MANUALS = {
    "tethys_docker_project_dir": "/srv/manual",
    "tethys_docker_credentials_dir": "/etc/tethys-channels-manual",
    "tethys_asgi_processes": 3,
    # The portal runs, and is inspected.
    "tethys_bokeh": "auto",
}
# The portals that cannot have the layer without changes.
DEMO = {
    "tethys_docker_project_dir": "/srv/demo",
    "tethys_docker_credentials_dir": "/etc/tethys-channels-demo",
    "tethys_asgi_processes": 1,
}
SQLITE = {
    "tethys_docker_project_dir": "/srv/sqlite",
    "tethys_docker_credentials_dir": "/etc/tethys-channels-sqlite",
    "tethys_asgi_processes": 1,
}
# What the portal's settings name: rows of its database, and files in its folders.
HELD = """
import json, os, sqlite3
from django.conf import settings
rows = sqlite3.connect(settings.DATABASES["default"]["NAME"]).execute
names = [name for (name,) in rows("select name from sqlite_master where type = 'table'").fetchall()]
folders = settings.MEDIA_ROOT, settings.TETHYS_WORKSPACES_ROOT
print(json.dumps({
    "rows": {name: rows(f"select count(*) from {name}").fetchone()[0] for name in names},
    "files": sorted(os.path.join(at, file) for root in folders for at, _, files in os.walk(root) for file in files),
}))
"""
LAYERS = "import json; from django.conf import settings; print(json.dumps(settings.CHANNEL_LAYERS))"


def passed(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A run that has to succeed."""
    assert done.returncode == 0, done.stdout
    return done


def run(name: str = "tethys_docker", *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """The playbook, which has to succeed."""
    return passed(playbook(name, *arguments, **variables))


def under(host: Any, folders: pytest.TempPathFactory, **names: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """The playbook for several projects of the server, each under a name and with variables of its own."""
    hosts = {name: {"ansible_host": host.backend.get_hostname(), **given} for name, given in names.items()}
    return playbook("tethys_docker", *bed.names(folders.mktemp("names"), **hosts), tethys_hosts=":".join(hosts))


def put(host: Any, path: str, text: str) -> None:
    """A file on the server."""
    host.check_output(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d > {path}")


def inside(host: Any, command: str, container: str = "tethys") -> str:
    """What a command in the portal's container prints, run as the portal's user."""
    return str(host.check_output(f"docker exec --user www {container} sh -c {shlex.quote(command)}"))


def layers(host: Any, container: str = "tethys") -> Any:
    """CHANNEL_LAYERS as Django has it in the container."""
    return json.loads(
        inside(host, f"DJANGO_SETTINGS_MODULE=tethys_portal.settings {PYTHON} -c {shlex.quote(LAYERS)}", container)
    )


def wait_for(host: Any, command: str) -> None:
    """Until a command succeeds, for a minute and a half at the most."""
    assert host.run(f"for i in $(seq 180); do {command} && exit; sleep 0.5; done; exit 1").rc == 0, command


def fanout(host: Any, processes: int, container: str = "tethys") -> dict[str, Any]:
    """Clients of the chat app in the container: who heard one of them."""
    done = host.run(
        f"docker exec {container} {PYTHON} -B /opt/clients/ws_fanout.py --clients 12 --processes {processes}"
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_delivers(host: Any, processes: int, container: str = "tethys") -> None:
    found = fanout(host, processes, container)
    assert len(found["pids"]) == processes, found
    assert found["delivered"] == found["connected"] == found["clients"], found


def running(host: Any, container: str = "tethys") -> list[str]:
    """The portal's processes as Supervisor has them."""
    rows = inside(host, "supervisorctl status 2>/dev/null; true", container).splitlines()
    return [row.split()[0] for row in rows if row.startswith("asgi:") and row.split()[1] == "RUNNING"]


def held(host: Any, container: str = "tethys") -> dict[str, Any]:
    """What the portal's settings name: rows of its database, and files in its folders."""
    command = f"DJANGO_SETTINGS_MODULE=tethys_portal.settings {PYTHON} -c {shlex.quote(HELD)}"
    found: dict[str, Any] = json.loads(inside(host, command, container))
    # What the portal writes itself while it is used.
    found["rows"].pop("django_session", None)
    return found


def passwords(host: Any) -> list[str]:
    kept = json.loads(host.check_output(f"cat {CREDENTIALS}"))
    return [kept["password"], kept["admin_password"]]


def state(host: Any) -> str:
    """What a refused run could have changed."""
    return str(
        host.check_output(
            "find /srv /etc/tethys* -type f -exec sha256sum {} + 2>/dev/null | sort; ls -laR --full-time /srv;"
            " docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort; docker network ls -q | sort;"
            f" docker exec tethys sha256sum {PERSIST}/portal_config.yml {PERSIST}/asgi_supervisord.conf"
        )
    )


# --- a fresh volume -------------------------------------------------------------------------------------------------


def test_a_message_reaches_everybody_over_three_processes(host: Any) -> None:
    assert_delivers(host, 3)
    assert running(host) == [f"asgi:tethys_asgi{number}" for number in range(3)]


def test_nobody_is_lost_in_20_seconds_of_silence(host: Any) -> None:
    """With redis-py 8, which gives up a read after 5 s unless it is told otherwise."""
    assert inside(host, f"{PYTHON} -c 'import redis; print(redis.__version__)'").startswith("8.")
    client = f"docker exec tethys {PYTHON} -B /opt/clients/ws_idle.py --clients 6 --seconds 20"
    found = json.loads(host.check_output(client))
    assert found["alive"] == found["connected"] == found["clients"] == 6, found


def test_no_password_shows_in_the_log_or_to_whoever_inspects_the_containers(host: Any) -> None:
    log = host.check_output("docker logs tethys 2>&1; docker logs tethys-redis-1 2>&1")
    assert "--set CHANNEL_LAYERS.default.CONFIG" in log, "the stand-in prints its command line, as Salt's report does"
    seen = log + host.check_output("docker inspect tethys tethys-redis-1; cat /srv/tethys/*; ps -eo args -ww")
    for password in passwords(host):
        assert password not in seen


def test_the_password_is_where_only_the_portal_reads_it(host: Any) -> None:
    held = layers(host)["default"]["CONFIG"]["hosts"]
    login = {"username": "tethys", "password": passwords(host)[0]}
    assert held == [{"host": "redis", "port": 6379, "socket_timeout": 15, **login}]
    assert inside(host, f"stat -c '%U %a' {PERSIST}/portal_config.yml").split() in (["www", "660"], ["www", "600"])


def test_redis_is_hardened_and_not_published(host: Any) -> None:
    about = json.loads(host.check_output("docker inspect tethys-redis-1"))[0]
    wanted = about["HostConfig"]
    assert wanted["ReadonlyRootfs"] is True
    assert wanted["CapDrop"] == ["ALL"]
    assert wanted["SecurityOpt"] == ["no-new-privileges:true"]
    assert wanted["Memory"] == wanted["MemorySwap"] == 256 * 1024 * 1024
    assert not wanted["PortBindings"]
    assert about["Config"]["User"] == "16379:16379"
    assert about["State"]["Health"]["Status"] == "healthy"
    assert about["Mounts"] == [mount for mount in about["Mounts"] if mount["Type"] == "bind"], "no volume is made"
    assert ":6379 " not in host.check_output("ss -Hltn")
    assert "NOAUTH" in host.check_output("docker exec tethys-redis-1 redis-cli ping 2>&1")
    # The portal's user reaches the layer's keys and nothing else.
    login = f"--user tethys --pass {passwords(host)[0]} --no-auth-warning"
    assert "NOPERM" in host.check_output(f"docker exec tethys-redis-1 redis-cli {login} get secret 2>&1")


def test_the_users_own_variables_and_file_stay(host: Any) -> None:
    host.check_output("cmp /srv/tethys/docker-compose.yml /root/srv.before/tethys/docker-compose.yml")
    assert inside(host, "echo $COST").strip() == "5$"
    override = host.file("/srv/tethys/docker-compose.override.yml")
    assert (override.uid, override.gid, override.mode) == (1000, 1000, 0o644)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(host: Any, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run that is refused for each of the server's names, and changes nothing."""
    put(host, "/srv/tethys/mine.yml", "services: {}\n")
    host.check_output("cd /srv/bokeh && DOCKER_BUILDKIT=0 docker build -q -t bokeh . 2>/dev/null")
    host.check_output("cd /srv/demo && DEMO_TOKEN=x docker compose -p lakes up -d 2>&1")
    host.check_output("cd /srv/sqlite && docker compose up -d 2>&1")
    for portal in ("lakes-web-1", "sqlite-tethys-1"):
        wait_for(host, f"docker exec {portal} test -e /run/tethys_asgi0.sock")
    compose = (
        "services: {tethys: {image: bokeh, environment: {ALLOWED_HOSTS: '\"[127.0.0.1, portal.example.org]\"'}}}\n"
    )
    put(host, "/srv/bokeh/docker-compose.yml", compose)
    wrong = {
        "tethys_asgi_processes": "many",
        "tethys_docker_carrier": "podman",
        "tethys_docker_override_file": "a/b",
        "tethys_dokcer": 1,
    }
    elses = {"tethys_docker_override_file": "mine.yml", "tethys_docker_portal_service": "portal"}
    no_project = {"tethys_docker_project_dir": "/srv/image"}
    no_image = {**BOKEH, "tethys_asgi_processes": 1, "tethys_docker_redis_image": "registry.invalid/redis:8"}
    before = state(host)
    names = {"wrong": wrong, "elses": elses, "no_project": no_project, "bokeh": BOKEH, "demo": DEMO, "sqlite": SQLITE}
    names["no_image"] = no_image
    done = under(host, tmp_path_factory, **names)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout
    assert changed(done) == 0
    assert state(host) == before
    host.check_output("rm /srv/tethys/mine.yml")
    host.check_output(
        "cd /srv/sqlite && docker compose down -v 2>&1; cd /srv/demo && docker compose -p lakes down -v 2>&1"
    )
    return done


def refusal(done: subprocess.CompletedProcess[str], name: str) -> str:
    """Why a run was refused under that name."""
    found = bed.fatal(done, name)
    assert "Refused; nothing was changed." in found, done.stdout
    return found


def test_everything_that_is_wrong_is_said_at_once(refused: subprocess.CompletedProcess[str]) -> None:
    found = refusal(refused, "wrong")
    for variable in ("tethys_asgi_processes", "tethys_docker_carrier", "tethys_docker_override_file", "tethys_dokcer"):
        assert f"{variable} is " in found, variable


def test_a_file_and_a_service_that_are_somebody_elses(refused: subprocess.CompletedProcess[str]) -> None:
    found = refusal(refused, "elses")
    assert "tethys_docker_override_file is mine.yml, and that file is there and not this collection's" in found
    assert "tethys_docker_portal_service is portal, and the services of docker-compose.yml" in found


def test_a_folder_that_has_no_project(refused: subprocess.CompletedProcess[str]) -> None:
    assert "Compose finds no compose file" in refusal(refused, "no_project")


def test_bokeh_in_an_image_that_does_not_run_cannot_be_known(refused: subprocess.CompletedProcess[str]) -> None:
    found = refusal(refused, "bokeh")
    assert "tethys_asgi_processes is 3 and it could not be found out whether an app uses Bokeh" in found
    assert "the portal's container does not run" in found


def test_an_image_of_redis_that_cannot_be_fetched(refused: subprocess.CompletedProcess[str]) -> None:
    found = bed.fatal(refused, "no_image")
    assert (
        "tethys_docker_redis_image is registry.invalid/redis:8, which is not on this server and could not be" in found
    )
    assert "registry.invalid" in found.partition("fetched (")[2], found
    assert "(`docker load`). Nothing was changed." in found


def test_a_portal_that_nobody_reaches_by_its_port(refused: subprocess.CompletedProcess[str]) -> None:
    """Found by its folder, though it was started as `docker compose -p lakes`, and its service by the image."""
    found = refusal(refused, "demo")
    assert "asgi_supervisord.conf in container lakes-web-1 starts daphne without `--fd 0`" in found
    assert "docker-compose.yml use DEMO_TOKEN, which is set neither in .env nor for root" in found


def test_a_database_that_no_volume_holds(refused: subprocess.CompletedProcess[str]) -> None:
    found = refusal(refused, "sqlite")
    database = "DATABASES.default.NAME is /usr/lib/tethys/tethys_platform.sqlite"
    assert f"{database}, which no volume of container sqlite-tethys-1 holds" in found


# --- a volume that was set up before, and other ways, four projects at a time ----------------------------------------


@pytest.fixture(scope="module")
def four(host: Any, refused: object, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """Fewer processes on the volume, and the first run for three other projects."""
    inside(host, f"echo kept > {PERSIST}/workspaces/data; touch -d '2020-01-01' {PERSIST}/setup_complete")
    host.check_output("cd /srv/manual && DOCKER_BUILDKIT=0 docker build -q -t portal:redis-py-7 . 2>/dev/null")
    # Compose cannot wait for a service whose health check is off.
    host.check_output("cd /srv/manual && docker compose up -d redis 2>&1 && docker compose up -d --wait tethys 2>&1")
    # A layer of the project's own on the same Redis.
    further = "{hosts: [{host: redis, port: 6379}]}"
    own = f"--set CHANNEL_LAYERS.tribs.BACKEND {CORE} --set CHANNEL_LAYERS.tribs.CONFIG {shlex.quote(further)}"
    inside(host, f"{Path(PYTHON).parent}/tethys settings {own}", "manual-tethys-1")
    host.check_output(f"docker exec manual-tethys-1 sha256sum {DATA} > /root/manual.before")
    assert ":6379 " in host.check_output("ss -Hltn")
    bokeh = {**BOKEH, "tethys_asgi_processes": 1}
    return passed(under(host, tmp_path_factory, tethys=FEWER, image=FROM_IMAGE, manual=MANUALS, bokeh=bokeh))


def test_fewer_processes_on_the_same_volume(host: Any, four: subprocess.CompletedProcess[str]) -> None:
    assert "ignores ASGI_PROCESSES" in bed.said(four, "tethys"), four.stdout
    assert_delivers(host, 2)
    assert running(host) == ["asgi:tethys_asgi0", "asgi:tethys_asgi1"]
    assert inside(host, f"cat {PERSIST}/workspaces/data").strip() == "kept"


def test_a_project_as_the_manual_has_it_is_taken_over(host: Any, four: subprocess.CompletedProcess[str]) -> None:
    found = bed.said(four, "manual")
    assert inside(host, f"{PYTHON} -c 'import redis; print(redis.__version__)'", "manual-tethys-1").startswith("7.")
    # Its image declares a volume, and its states print the settings.
    assert "after `docker compose down` the next container begins with an empty one" in found
    assert "Container manual-tethys-1 printed portal_config.yml to its log when it started" in found
    assert "The service redis (tethys-channels-test/redis:8.0) of your compose file runs with" in found
    assert "(2 now, then 3)" in found
    assert "The login of Redis is also written for CHANNEL_LAYERS.tribs, which the same Redis serves." in found
    now = layers(host, "manual-tethys-1")
    assert now["tribs"] == {"BACKEND": CORE, "CONFIG": {"hosts": now["default"]["CONFIG"]["hosts"]}}
    assert_delivers(host, 3, "manual-tethys-1")
    about = json.loads(host.check_output("docker inspect manual-redis-1"))[0]
    assert (about["HostConfig"]["CapAdd"], about["HostConfig"]["PidMode"]) == (None, "")
    assert about["State"]["Health"]["Status"] == "healthy"
    assert ":6379 " not in host.check_output("ss -Hltn")
    assert "NOAUTH" in host.check_output("docker exec manual-redis-1 redis-cli ping 2>&1")


def test_bokeh_in_the_image_runs_in_one_process(host: Any, four: subprocess.CompletedProcess[str]) -> None:
    assert running(host, "bokeh-tethys-1") == ["asgi:tethys_asgi0"]


def test_redis_in_a_new_container_and_a_dockerfile_beside_a_redis_started_directly(
    host: Any, four: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert "build it" in bed.said(four, "image")
    host.check_output("cd /srv/image && DOCKER_BUILDKIT=0 docker build -q -t river . 2>/dev/null")
    host.check_output("docker run -d --name river --network channels river")
    host.check_output("cd /srv/tethys && docker compose up -d --force-recreate --wait redis 2>&1")
    # redis-py 8.1 uses each connection that Redis closed once more, and a WebSocket is refused or closed each time.
    # The pool hands out the connection used last, so that more at once reach those at its bottom.
    client = f"docker exec tethys {PYTHON} -B /opt/clients/ws_fanout.py --clients 60 --processes 2"
    host.run(f"for i in $(seq 5); do {client} >/dev/null 2>&1; done")
    assert_delivers(host, 2)
    wait_for(host, "docker exec river test -e /run/tethys_asgi1.sock")
    done = passed(under(host, tmp_path_factory, tethys=FEWER, image=FROM_IMAGE))
    # The WebSockets of before are no longer in their groups: the run restarts what is older than Redis, once.
    assert bed.changed_on(done, "tethys") == 1, done.stdout
    assert_delivers(host, 2, "river")


def test_a_run_that_has_nothing_to_do_beside_one_that_is_refused(
    host: Any, four: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also not where all containers are new ones. The portal that runs names its Bokeh handlers."""
    host.check_output("cd /srv/tethys && docker compose down 2>&1 && docker compose up -d --wait 2>&1")
    wait_for(host, "docker exec tethys test -e /run/tethys_asgi1.sock")
    assert_delivers(host, 2)
    before = state(host)
    done = under(host, tmp_path_factory, tethys=FEWER, image=FROM_IMAGE, bokeh=BOKEH)
    assert "Traceback" not in done.stdout
    assert {name: bed.changed_on(done, name) for name in ("tethys", "image", "bokeh")} == {
        "tethys": 0,
        "image": 0,
        "bokeh": 0,
    }
    assert "fatal: [tethys]" not in done.stdout, done.stdout
    assert "fatal: [image]" not in done.stdout, done.stdout
    # Apps enter the database when they are first found.
    assert "tethys_asgi_processes is 3 and Bokeh is in use (bokehplot" in refusal(done, "bokeh")
    assert state(host) == before
    host.check_output("cd /srv/bokeh && docker compose down -v 2>&1 && rm -rf /srv/bokeh /etc/tethys-channels-bokeh")


def test_a_password_of_ones_own_is_applied_and_shown_nowhere(host: Any, tmp_path: Path) -> None:
    password = 'It\'s$5 "to" \\#é日 % {x}'
    # From a file, as from a vault: Ansible itself shows what is typed after -e.
    (tmp_path / "vars.json").write_text(json.dumps({"tethys_docker_redis_password": password}))
    done = run("tethys_docker", "-vvv", "-e", f"@{tmp_path}/vars.json", tethys_asgi_processes=2)
    assert_delivers(host, 2)
    kept = passwords(host)
    assert kept[0] == password
    output = done.stdout + decoded(done.stdout)
    log = host.check_output("docker logs tethys 2>&1")
    for secret in kept:
        assert secret not in output
        assert json.dumps(secret)[1:-1] not in output
        assert secret not in log


# --- the variables --------------------------------------------------------------------------------------------------


def set_up(host: Any, option: str, image: str = IMAGE) -> Any:
    """What the first start of a container makes of its variables, in Django's settings."""
    script = (
        f"{PYTHON} $TETHYS_HOME/states > /dev/null && DJANGO_SETTINGS_MODULE=tethys_portal.settings"
        f" {PYTHON} -c {shlex.quote(LAYERS)}"
    )
    out = host.check_output(f"docker run --rm --network none {option} {image} sh -c {shlex.quote(script)}")
    return json.loads(out.splitlines()[-1])["default"].get("CONFIG")


def test_the_manuals_values_arrive_by_each_carrier(host: Any) -> None:
    dockerfile = f"FROM {IMAGE}\nENV CHANNEL_LAYERS_CONFIG={docker_env(SEED)}\n"
    put(host, "/root/Dockerfile", dockerfile)
    host.check_output("DOCKER_BUILDKIT=0 docker build -q -t carried - < /root/Dockerfile")
    assert set_up(host, "", "carried") == SEED
    put(host, "/root/env", f"CHANNEL_LAYERS_CONFIG={docker_env(SEED, 'env_file')}\n")
    assert set_up(host, "--env-file /root/env") == SEED
    # The compose file of this scenario carried it on the fresh volume; what Compose hands over is what is tried here.
    config = json.loads(host.check_output("cd /srv/tethys && docker compose config --format json"))
    carried = config["services"]["tethys"]["environment"]["CHANNEL_LAYERS_CONFIG"]
    seed = {"hosts": [{**SEED["hosts"][0], "socket_timeout": 15}]}
    assert set_up(host, f"-e CHANNEL_LAYERS_CONFIG={shlex.quote(carried)}") == seed


def test_the_manuals_literal_string_does_not_arrive(host: Any) -> None:
    """A recorded fact: the backslashes stay, and make one key of what is meant as a key and a value."""
    put(host, "/root/Dockerfile", f"FROM {IMAGE}\nENV CHANNEL_LAYERS_CONFIG {MANUAL}\n")
    host.check_output("DOCKER_BUILDKIT=0 docker build -q -t manual - < /root/Dockerfile")
    assert set_up(host, "", "manual") == {"hosts": [{"host": "\\ 'redis'", "\\ 'port':\\ 6379": None}]}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text("'\"\\$`%#{}! \n:,[]&*~", max_size=40)
configs = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=3))


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=st.lists(configs, min_size=30, max_size=30))
def test_any_structure_passes_the_real_compose(host: Any, values: list[dict[str, Any]]) -> None:
    """Many at a time, since each call of Compose takes a while; then one shell word each, then YAML."""
    written = {f"V{number}": docker_env(value, "compose") for number, value in enumerate(values)}
    put(host, "/root/any.yml", yaml.safe_dump({"services": {"x": {"image": "x", "environment": written}}}))
    config = json.loads(host.check_output("docker compose -p any -f /root/any.yml config --format json"))
    read = config["services"]["x"]["environment"]
    line = "printf '%s\\0' " + " ".join(read[f"V{number}"] for number in range(len(values)))
    words = subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout.decode().split("\0")
    assert [yaml.safe_load(word) for word in words[:-1]] == values


# --- removal --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def removed(host: Any, four: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The way back of three projects; what the first had until then."""
    before = held(host)
    absent = {"tethys_docker_state": "absent"}
    passed(
        under(
            host,
            tmp_path_factory,
            tethys={**FEWER, **absent},
            image={**FROM_IMAGE, **absent},
            manual={**MANUALS, **absent},
        )
    )
    return before


def test_a_dockerfile_is_given_back(host: Any, removed: object) -> None:
    host.check_output("cmp /srv/image/Dockerfile /root/srv.before/image/Dockerfile")
    assert layers(host, "river") == {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert host.run("docker inspect channels-redis").rc != 0
    assert host.run("ls -d /etc/tethys-channels-image").rc != 0
    host.check_output("docker rm -fv river && docker network rm channels")


def test_a_project_as_the_manual_has_it_is_given_back(host: Any, removed: object) -> None:
    portal = "manual-tethys-1"
    assert host.check_output(f"docker exec {portal} sha256sum {DATA}") == host.check_output("cat /root/manual.before")
    assert host.run("diff -r /srv/manual /root/srv.before/manual").rc == 0
    wait_for(host, f"docker exec {portal} test -e /run/tethys_asgi1.sock")
    assert_delivers(host, 2, portal)
    assert ":6379 " in host.check_output("ss -Hltn")
    host.check_output("cd /srv/manual && docker compose down -v 2>&1")


def test_remove_leaves_the_project_as_it_was(host: Any, removed: dict[str, Any]) -> None:
    assert host.run("diff -r /srv/tethys /root/srv.before/tethys").rc == 0
    wait_for(host, "docker exec tethys test -e /run/tethys_asgi0.sock")
    assert running(host) == ["asgi:tethys_asgi0"]
    # The layer of an app's states is without the login of a Redis that is gone.
    tribs = {"BACKEND": CORE, "CONFIG": {"hosts": [{**SEED["hosts"][0], "socket_timeout": 15}]}}
    assert layers(host) == {"default": MEMORY, "tribs": tribs}
    assert held(host) == removed
    assert removed["rows"]["auth_user"] > 0
    assert removed["files"] == [f"{PERSIST}/workspaces/data"]
    assert host.check_output("docker ps -a --format '{{.Names}}'").split() == ["tethys"]
    assert host.run(f"docker exec tethys ls -d {PERSIST}/.tethys_channels").rc != 0
    assert host.run("ls -d /etc/tethys-channels-docker").rc != 0
    assert changed(run(tethys_docker_state="absent")) == 0
