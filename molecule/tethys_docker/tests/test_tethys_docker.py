# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A portal in Tethys Docker: delivery, secrets, a volume that was set up before, refusals, and the removal.

The tests run in their order: what one leaves behind the next one finds.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
DAPHNE = "/opt/conda/envs/tethys/bin/daphne"
PERSIST = "/var/lib/tethys_persist"
SEED = {"hosts": [{"host": "redis", "port": 6379}]}
# As it stands in the documentation of Tethys, in "Django Channels Layer", after ENV CHANNEL_LAYERS_CONFIG.
MANUAL = r'''"\"{'hosts':[{'host':\ 'redis',\ 'port':\ 6379}]}\""'''
# Without settings of a project's own.
MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
PASSWORD = 'It\'s$5 "to" \\#é日 % {x}'
# The files of a portal that the manual's project keeps on its volume.
DATA = f"{PERSIST}/portal_config.yml {PERSIST}/asgi_supervisord.conf"
BUILD = "DOCKER_BUILDKIT=0 docker build -q -t"
# The variables of each project.
FEWER = {"tethys_asgi_processes": 2}
# As Tethys's tutorial has it, with an app that uses Bokeh.
TUTORIAL = {
    "tethys_asgi_processes": 3,
    "tethys_bokeh": "auto",
    "tethys_docker_project_dir": "/srv/tutorial",
    "tethys_docker_credentials_dir": "/etc/tethys-channels-tutorial",
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
ENDS = {
    "tethys_docker_project_dir": "/srv/ends",
    "tethys_docker_credentials_dir": "/etc/tethys-channels-ends",
    "tethys_asgi_processes": 1,
}
OTHER = {"tethys_docker_project_dir": "/srv/other", "tethys_docker_credentials_dir": "/etc/tethys-channels-other"}
STACK = {"tethys_docker_project_dir": "/srv/stack", "tethys_docker_credentials_dir": "/etc/tethys-channels-stack"}
# The portal's container of each name in the inventory.
CONTAINERS = {"tethys": "tethys", "image": "river", "manual": "manual-tethys-1", "tutorial": "tutorial-web-1"}
# What the portal's settings name: rows of its database, and files in its folders; with `fill`, after adding to both.
HELD = """
import glob, hashlib, json, os, sqlite3, sys
import psycopg2, yaml
with open(os.environ["TETHYS_HOME"] + "/portal_config.yml", encoding="utf-8") as stream:
    settings = yaml.safe_load(stream)["settings"]
database, portal = settings["DATABASES"]["default"], settings["TETHYS_PORTAL_CONFIG"]
if database["ENGINE"].endswith("sqlite3"):
    connection, tables = sqlite3.connect(database["NAME"]), "select name from sqlite_master where type = 'table'"
else:
    login = {key: database[key.upper()] for key in ("user", "password", "host", "port")}
    connection = psycopg2.connect(dbname=database["NAME"], **login)
    tables = "select tablename from pg_tables where schemaname = 'public'"
cursor = connection.cursor()
def ask(query):
    cursor.execute(query)
    return cursor.fetchall()
folders = portal["MEDIA_ROOT"], portal["TETHYS_WORKSPACES_ROOT"]
if "fill" in sys.argv:
    cursor.execute("insert into auth_group (name) values ('hydrologists')")
    connection.commit()
    for folder in folders:
        with open(folder + "/data", "w", encoding="utf-8") as stream:
            stream.write("kept")
paths = [path for folder in folders for path in glob.glob(folder + "/**", recursive=True) if os.path.isfile(path)]
print(json.dumps({
    "engine": database["ENGINE"],
    "rows": {name: ask(f'select count(*) from "{name}"')[0][0] for (name,) in ask(tables)},
    "files": {path: hashlib.sha256(open(path, "rb").read()).hexdigest() for path in paths},
}))
"""
# Sockets that are silent for 20 s before one of them speaks.
SILENT = """
import asyncio, json, sys
sys.path.insert(0, "/opt/clients")
from ws_client import connect, connect_all, options
async def main():
    args = options("").parse_args(["--clients", "12"])
    clients, errors = await connect_all(args)
    while len({each.pid for each in clients}) < int(sys.argv[1]) and len(clients) < 200:
        clients.append(await connect(args))
    await asyncio.sleep(20)
    clients[0].say("after silence")
    await asyncio.sleep(2)
    heard = sum("after silence" in each.heard for each in clients)
    found = {"clients": max(12, len(clients)), "connected": len(clients), "delivered": heard, "errors": errors}
    print(json.dumps({**found, "pids": sorted({each.pid for each in clients})}))
asyncio.run(main())
"""
LAYERS = "import json; from django.conf import settings; print(json.dumps(settings.CHANNEL_LAYERS))"


def passed(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """A run that has to succeed."""
    assert done.returncode == 0, done.stdout
    return done


def run(host: Any, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """The playbook for the scenario's own project, which has to succeed."""
    with nothing_lost(host, "tethys"):
        return passed(playbook("tethys_docker", *arguments, **variables))


def under(
    host: Any, folders: pytest.TempPathFactory, *words: str, **names: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """The playbook for several projects of the server, each under a name and with variables of its own."""
    hosts = {name: {"ansible_host": host.backend.get_hostname(), **given} for name, given in names.items()}
    more = bed.names(folders.mktemp("names"), **hosts)
    with nothing_lost(host, *{"tethys", *names}):
        return playbook("tethys_docker", *words, *more, tethys_hosts=":".join(hosts))


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


def assert_all_heard(out: str, processes: int) -> None:
    """What a client of the chat app printed: each process has a socket, and each socket heard one of them."""
    assert out.startswith("{"), out
    found = json.loads(out)
    assert len(found["pids"]) == processes, found
    assert found["delivered"] == found["connected"] == found["clients"], found


def assert_delivers(host: Any, processes: int, container: str = "tethys") -> None:
    client = f"{PYTHON} -B /opt/clients/ws_fanout.py --clients 12 --processes {processes}"
    done = host.run(f"docker exec {container} {client}")
    assert_all_heard(done.stdout + done.stderr, processes)


def silence(host: Any, processes: int, container: str = "tethys") -> subprocess.Popen[str]:
    """Clients of the chat app that are silent while the tests go on."""
    words = ["docker", "exec", container, PYTHON, "-B", "-c", SILENT, str(processes)]
    return subprocess.Popen(["docker", "exec", host.backend.get_hostname(), *words], stdout=subprocess.PIPE, text=True)


def running(host: Any, container: str = "tethys") -> list[str]:
    """The portal's processes as Supervisor has them."""
    rows = inside(host, "supervisorctl status 2>/dev/null; true", container).splitlines()
    return [row.split()[0] for row in rows if row.startswith("asgi:") and row.split()[1] == "RUNNING"]


def held(host: Any, container: str = "tethys", *words: str) -> dict[str, Any]:
    """What the portal's settings name: rows of its database, and files in its folders."""
    wait_for(host, f"docker exec {container} test -e /run/tethys_asgi0.sock")
    found: dict[str, Any] = json.loads(inside(host, f"{PYTHON} -c {shlex.quote(HELD)} {' '.join(words)}", container))
    # What the portal writes itself while it is used.
    found["rows"].pop("django_session", None)
    return found


@contextmanager
def nothing_lost(host: Any, *names: str) -> Iterator[None]:
    """Rows, uploaded files and workspaces of these portals, as far as they run, counted before and after."""
    running = host.check_output("docker ps --format '{{.Names}}'").split()
    portals = [CONTAINERS[name] for name in names if name in CONTAINERS]
    before = {name: held(host, name) for name in portals if name in running}
    yield
    for name, had in before.items():
        has = held(host, name)
        assert has["files"] == had["files"], name
        fewer = {table: (count, has["rows"].get(table)) for table, count in had["rows"].items()}
        assert not {table: counts for table, counts in fewer.items() if (counts[1] or 0) < counts[0]}, name


def passwords(host: Any, folder: str = "/etc/tethys-channels-docker") -> list[str]:
    kept = json.loads(host.check_output(f"cat {folder}/credentials.json"))
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


@pytest.fixture(scope="module")
def silent_at_first(host: Any) -> subprocess.Popen[str]:
    """Silent clients on the fresh volume."""
    return silence(host, 3)


def test_a_message_reaches_everybody_over_three_processes(host: Any, silent_at_first: subprocess.Popen[str]) -> None:
    assert_delivers(host, 3)
    assert running(host) == [f"asgi:tethys_asgi{number}" for number in range(3)]


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
    # The portal needs its database and THREDDS; nobody asked for GeoServer.
    names = host.check_output("docker ps --format '{{.Names}}'").split()
    assert sorted(names) == ["tethys", "tethys-db-1", "tethys-redis-1", "tethys-thredds-1"]


def test_the_database_is_postgresql(host: Any) -> None:
    found = held(host, "tethys", "fill")
    assert found["engine"] == "django.db.backends.postgresql"
    assert found["rows"]["auth_user"] > 0
    assert found["rows"]["auth_group"] == 1
    assert sorted(found["files"]) == [f"{PERSIST}/media/data", f"{PERSIST}/workspaces/data"]


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(host: Any, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run that is refused for each of the server's names, and changes nothing."""
    put(host, "/srv/tethys/mine.yml", "services: {}\n")
    host.check_output(f"cd /srv/demo && {BUILD} portal:daphne-4.2.0 . 2>/dev/null")
    host.check_output("cd /srv/demo && DEMO_TOKEN=x docker compose -p lakes up -d 2>&1")
    host.check_output("cd /srv/sqlite && docker compose up -d 2>&1")
    host.check_output(f"cd /srv/manual && {BUILD} portal:redis-py-7 . 2>/dev/null && docker compose up -d 2>&1")
    host.check_output(f"cd /srv/tutorial && {BUILD} tethys-portal-docker:latest . 2>/dev/null")
    # A stack is known by its image, which no other project here has.
    host.check_output(f"docker tag {IMAGE} rivers-portal && docker swarm init --advertise-addr 127.0.0.1")
    host.check_output("docker stack deploy -c /srv/stack/docker-compose.yml rivers 2>&1")
    wait_for(host, "docker ps | grep -q rivers_tethys")
    for portal in ("lakes-web-1", "sqlite-tethys-1", CONTAINERS["manual"]):
        wait_for(host, f"docker exec {portal} test -e /run/tethys_asgi0.sock")
    wrong = {
        "tethys_asgi_processes": "many",
        "tethys_docker_carrier": "podman",
        "tethys_docker_override_file": "a/b",
        "tethys_dokcer": 1,
    }
    elses = {"tethys_docker_override_file": "mine.yml", "tethys_docker_portal_service": "portal"}
    no_project = {"tethys_docker_project_dir": "/srv/image"}
    no_image = {**TUTORIAL, "tethys_asgi_processes": 1, "tethys_docker_redis_image": "registry.invalid/redis:8"}
    prefix = {"tethys_docker_layer_options": {"prefix": "lakes"}}
    before = state(host)
    names = {"wrong": wrong, "elses": elses, "no_project": no_project, "tutorial": TUTORIAL, "demo": DEMO}
    names |= {"sqlite": SQLITE, "other": OTHER, "stack": STACK, "no_image": no_image, "prefix": prefix}
    done = under(host, tmp_path_factory, **names)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout
    assert changed(done) == 0
    assert state(host) == before
    host.check_output("rm /srv/tethys/mine.yml")
    host.check_output(
        "cd /srv/sqlite && docker compose down -v 2>&1; cd /srv/demo && docker compose -p lakes down -v 2>&1"
    )
    # The swarm stays: when it goes, names no longer resolve in the other projects' containers.
    host.check_output("docker stack rm rivers 2>&1")
    wait_for(host, "! docker ps -a | grep -q rivers_tethys")
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


def test_a_layer_of_an_app_that_would_lose_its_redis(refused: subprocess.CompletedProcess[str]) -> None:
    """An app's states added it, with the Redis of `default` and without a prefix."""
    found = refusal(refused, "prefix")
    assert "CHANNEL_LAYERS.tribs uses Redis at redis:6379, which gets a password, and it has" in found


def test_a_folder_that_has_no_project(refused: subprocess.CompletedProcess[str]) -> None:
    assert "Compose finds no compose file" in refusal(refused, "no_project")


def test_bokeh_in_an_image_that_does_not_run_cannot_be_known(refused: subprocess.CompletedProcess[str]) -> None:
    found = refusal(refused, "tutorial")
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
    # The states remove `--fd 0` since daphne 4.2.0 cannot take it: each has to change.
    assert "asgi_supervisord.conf in container lakes-web-1 starts daphne without `--fd 0`" in found
    assert "daphne in container lakes-web-1 lacks twisted/plugins/fd_endpoint.py, as the wheel of daphne 4.2.0" in found
    assert "docker-compose.yml use DEMO_TOKEN, which is set neither in .env nor for root" in found


def test_a_portal_in_a_stack(refused: subprocess.CompletedProcess[str]) -> None:
    assert "its portal runs in the stack rivers (`docker stack deploy`), beside which" in refusal(refused, "stack")


def test_a_project_of_another_image(refused: subprocess.CompletedProcess[str]) -> None:
    found = refusal(refused, "other")
    assert "is tethys, and its image (tethys-channels-test/redis:8.0) does not have the variables" in found


def test_a_database_that_no_volume_holds(refused: subprocess.CompletedProcess[str]) -> None:
    found = refusal(refused, "sqlite")
    database = "DATABASES.default.NAME is /usr/lib/tethys/tethys_platform.sqlite"
    assert f"{database}, which no volume of container sqlite-tethys-1 holds" in found


def test_everybody_hears_after_20_seconds_of_silence(host: Any, silent_at_first: subprocess.Popen[str]) -> None:
    """With redis-py 8, which gives up a read after 5 s unless a timeout is set."""
    assert inside(host, f"{PYTHON} -c 'import redis; print(redis.__version__)'").startswith("8.")
    assert_all_heard(silent_at_first.communicate(timeout=60)[0], 3)


# --- a volume that was set up before, and other ways, several projects at a time --------------------------------------


@pytest.fixture(scope="module")
def several(host: Any, refused: object, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """Fewer processes on the volume and another password, and the first run for four other projects."""
    inside(host, f"touch -d '2020-01-01' {PERSIST}/setup_complete")
    portal, backend = CONTAINERS["manual"], layers(host)["default"]["BACKEND"]
    # A layer of the project's own on the same Redis, a worker before the portal's program, and line ends of Windows.
    further = "{hosts: [{host: redis, port: 6379}]}"
    own = f"--set CHANNEL_LAYERS.tribs.BACKEND {backend} --set CHANNEL_LAYERS.tribs.CONFIG {shlex.quote(further)}"
    inside(host, f"{Path(PYTHON).parent}/tethys settings {own}", portal)
    worker = r"[program:worker]\ncommand=/bin/sleep 1000000\nprocess_name=worker%%(process_num)d\nnumprocs=4\n\n"
    program = f"{PERSIST}/asgi_supervisord.conf"
    inside(
        host, rf"{{ printf '{worker}'; cat {program}; }} | sed 's/$/\r/' > /tmp/new; cat /tmp/new > {program}", portal
    )
    held(host, portal, "fill")
    host.check_output(f"docker exec {portal} sha256sum {DATA} > /root/manual.before")
    assert ":6379 " in host.check_output("ss -Hltn")
    tutorial = {**TUTORIAL, "tethys_asgi_processes": 1}
    fewer = {**FEWER, "tethys_docker_redis_password": PASSWORD}
    names = {"tethys": fewer, "image": FROM_IMAGE, "manual": MANUALS, "tutorial": tutorial, "ends": ENDS}
    done = under(host, tmp_path_factory, "-vvv", **names)
    assert re.findall(r"^(\S+) +: .*\bfailed=[1-9]", done.stdout, re.MULTILINE) == ["ends"], done.stdout
    return done


@pytest.fixture(scope="module")
def silent_on_kept_volume(host: Any, several: object) -> subprocess.Popen[str]:
    """Silent clients on a volume that was set up before."""
    return silence(host, 2)


def test_a_password_of_ones_own_is_applied_and_shown_nowhere(
    host: Any, several: subprocess.CompletedProcess[str], silent_on_kept_volume: object
) -> None:
    assert passwords(host)[0] == PASSWORD
    folders = host.check_output("ls -d /etc/tethys-channels-*").split()
    assert len(folders) == 5
    seen = several.stdout + decoded(several.stdout) + host.check_output("docker logs tethys 2>&1")
    for secret in [secret for folder in folders for secret in passwords(host, folder)]:
        assert secret not in seen
        assert json.dumps(secret)[1:-1] not in seen


def test_a_project_as_the_manual_has_it_is_taken_over(
    host: Any, several: subprocess.CompletedProcess[str], silent_on_kept_volume: object
) -> None:
    found, portal = bed.said(several, "manual"), CONTAINERS["manual"]
    assert inside(host, f"{PYTHON} -c 'import redis; print(redis.__version__)'", portal).startswith("7.")
    # Its image declares a volume, and its states print the settings.
    assert "after `docker compose down` the next container begins with an empty one" in found
    assert f"Container {portal} printed portal_config.yml to its log when it started" in found
    assert "The service redis (tethys-channels-test/redis:8.0) of your compose file runs with" in found
    assert "(2 now, then 3)" in found
    assert "The login of Redis is also written for CHANNEL_LAYERS.tribs, which the same Redis serves." in found
    now = layers(host, portal)
    assert now["tribs"] == {
        "BACKEND": now["default"]["BACKEND"],
        "CONFIG": {"hosts": now["default"]["CONFIG"]["hosts"]},
    }
    assert_delivers(host, 3, portal)
    # The worker's number stays, and so does each line's end.
    program = f"{PERSIST}/asgi_supervisord.conf"
    assert inside(host, f"sed -n 's/^numprocs=//p' {program} | tr -d '\\r'", portal).split() == ["4", "3"]
    assert inside(host, rf'grep -vc "$(printf "\r")$" {program}; true', portal).strip() == "0"
    about = json.loads(host.check_output("docker inspect manual-redis-1"))[0]
    assert (about["HostConfig"]["CapAdd"], about["HostConfig"]["PidMode"]) == (None, "")
    assert about["State"]["Health"]["Status"] == "healthy"
    assert ":6379 " not in host.check_output("ss -Hltn")
    assert "NOAUTH" in host.check_output("docker exec manual-redis-1 redis-cli ping 2>&1")


def test_bokeh_in_the_tutorials_project_runs_in_one_process(
    host: Any, several: subprocess.CompletedProcess[str]
) -> None:
    """Its service is found by its image; its Redis is on a network of the project that the portal joins too."""
    portal = CONTAINERS["tutorial"]
    assert "The service redis (tethys-channels-test/redis:8.0) of your compose file runs" in bed.said(
        several, "tutorial"
    )
    assert running(host, portal) == ["asgi:tethys_asgi0"]
    assert_delivers(host, 1, portal)


def test_a_portal_that_ends_is_not_waited_for(host: Any, several: subprocess.CompletedProcess[str]) -> None:
    found = bed.fatal(several, "ends")
    assert (
        "Container ends-tethys-1 ended before the portal answered. The last lines of its log: The license of" in found
    )
    host.check_output("cd /srv/ends && docker compose down -v 2>&1 && rm -r /srv/ends /etc/tethys-channels-ends")


def test_fewer_processes_on_the_same_volume(
    host: Any, several: subprocess.CompletedProcess[str], silent_on_kept_volume: subprocess.Popen[str]
) -> None:
    assert "ignores ASGI_PROCESSES" in bed.said(several, "tethys"), several.stdout
    assert_delivers(host, 2)
    assert running(host) == ["asgi:tethys_asgi0", "asgi:tethys_asgi1"]
    assert_all_heard(silent_on_kept_volume.communicate(timeout=60)[0], 2)


def test_redis_in_a_new_container_and_a_dockerfile_beside_a_redis_started_directly(
    host: Any, several: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert "build it" in bed.said(several, "image")
    host.check_output(f"cd /srv/image && {BUILD} river . 2>/dev/null")
    host.check_output("docker run -d --name river --network channels river")
    host.check_output("cd /srv/tethys && docker compose up -d --force-recreate --wait redis 2>&1")
    # redis-py 8.1 uses each connection that Redis closed once more, and a WebSocket is refused or closed each time.
    # The pool hands out the connection used last, so that more at once reach those at its bottom.
    client = f"docker exec tethys {PYTHON} -B /opt/clients/ws_fanout.py --clients 60 --processes 2"
    host.run(f"for i in $(seq 5); do {client} >/dev/null 2>&1; done")
    assert_delivers(host, 2)
    wait_for(host, "docker exec river test -e /run/tethys_asgi1.sock")
    held(host, "river", "fill")
    done = passed(under(host, tmp_path_factory, tethys=FEWER, image=FROM_IMAGE))
    # It was started without one of its own.
    assert "The volume of container river at TETHYS_PERSIST has no name: the next `docker" in bed.said(done, "image")
    # The WebSockets of before are no longer in their groups: the run restarts what is older than Redis, once.
    assert bed.changed_on(done, "tethys") == 1, done.stdout
    assert_delivers(host, 2, "river")


def test_a_run_that_has_nothing_to_do_beside_one_that_is_refused(
    host: Any, several: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also not where all containers are new ones. The portal that runs names its Bokeh handlers."""
    with nothing_lost(host, "tethys"):
        host.check_output("cd /srv/tethys && docker compose down 2>&1 && docker compose up -d --wait 2>&1")
        wait_for(host, "docker exec tethys test -e /run/tethys_asgi1.sock")
    assert_delivers(host, 2)
    silent = silence(host, 2)
    # What `git pull` does to an editable install, whose package files stay. No process comes back from that one.
    host.check_output("docker exec river sh -c 'echo release 4.5.4 >> /usr/lib/tethys/tethys/.git/logs/HEAD'")
    put(host, "/root/daphne", "#!/bin/sh\necho The license of the model has expired\nexit 3\n")
    host.check_output(f"docker exec river mv {DAPHNE} {DAPHNE}.kept")
    host.check_output(f"chmod 0755 /root/daphne && docker cp /root/daphne river:{DAPHNE}")
    before = state(host)
    done = under(host, tmp_path_factory, tethys=FEWER, image=FROM_IMAGE, tutorial=TUTORIAL)
    assert "Traceback" not in done.stdout
    assert not [name for name in ("tethys", "image", "tutorial") if bed.changed_on(done, name)], done.stdout
    assert "fatal: [tethys]" not in done.stdout, done.stdout
    # The one log of all processes, as the image has it, and where that is.
    log = "/var/log/tethys/tethys.log"
    found = bed.fatal(done, "image")
    assert "In container river: Process asgi:tethys_asgi0 " in found
    assert f": read {log}. Still serving: tethys_asgi1." in found
    assert "The license of the model has expired" in inside(host, f"cat {log}", "river")
    host.check_output(f"docker exec river mv {DAPHNE}.kept {DAPHNE}")
    inside(host, "supervisorctl start asgi:tethys_asgi0", "river")
    # Apps enter the database when they are first found.
    assert "tethys_asgi_processes is 3 and Bokeh is in use (bokehplot" in refusal(done, "tutorial")
    assert state(host) == before
    assert_all_heard(silent.communicate(timeout=60)[0], 2)
    host.check_output(
        "cd /srv/tutorial && docker compose down -v 2>&1 && rm -r /srv/tutorial /etc/tethys-channels-tutorial"
    )


# --- the variables --------------------------------------------------------------------------------------------------


def set_up(host: Any, **options: str) -> dict[str, Any]:
    """What the first start of containers, all at once, makes of their variables, in Django's settings."""
    script = (
        f"{PYTHON} $TETHYS_HOME/states settings > /dev/null && DJANGO_SETTINGS_MODULE=tethys_portal.settings"
        f" {PYTHON} -c {shlex.quote(LAYERS)}"
    )
    variables = "-e TETHYS_DB_ENGINE=django.db.backends.sqlite3 -e TETHYS_DB_NAME=/tmp/portal.sqlite"
    line = f"docker run --rm --network none {variables}"
    starts = [f"{line} {option} sh -c {shlex.quote(script)} > /root/{name}.out &" for name, option in options.items()]
    host.check_output("\n".join([*starts, "wait"]))
    outs = {name: host.check_output(f"tail -n 1 /root/{name}.out") for name in options}
    return {name: json.loads(out)["default"].get("CONFIG") for name, out in outs.items()}


def test_the_manuals_values_arrive_by_each_carrier(host: Any) -> None:
    """By each but one, a recorded fact: of the manual's literal string for a Dockerfile the backslashes stay.

    They make one key of what is meant as a key and a value.
    """
    for name, value in (("carried", f"={docker_env(SEED)}"), ("literal", f" {MANUAL}")):
        put(host, f"/root/{name}.dockerfile", f"FROM {IMAGE}\nENV CHANNEL_LAYERS_CONFIG{value}\n")
        host.check_output(f"{BUILD} {name} - < /root/{name}.dockerfile")
    put(host, "/root/env", f"CHANNEL_LAYERS_CONFIG={docker_env(SEED, 'env_file')}\n")
    # The compose file of this scenario carried it on the fresh volume; what Compose hands over is what is tried here.
    config = json.loads(host.check_output("cd /srv/tethys && docker compose config --format json"))
    compose = config["services"]["tethys"]["environment"]["CHANNEL_LAYERS_CONFIG"]
    assert set_up(
        host,
        dockerfile="carried",
        literal="literal",
        env_file=f"--env-file /root/env {IMAGE}",
        compose=f"-e CHANNEL_LAYERS_CONFIG={shlex.quote(compose)} {IMAGE}",
    ) == {
        "dockerfile": SEED,
        "literal": {"hosts": [{"host": "\\ 'redis'", "\\ 'port':\\ 6379": None}]},
        "env_file": SEED,
        "compose": {"hosts": [{**SEED["hosts"][0], "socket_timeout": 15}]},
    }


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
def removed(host: Any, several: object, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The way back of three projects; the layer of an app's states that the first had until then."""
    before = layers(host)["tribs"]
    absent = {"tethys_docker_state": "absent"}
    done = passed(
        under(
            host,
            tmp_path_factory,
            tethys={**FEWER, **absent},
            image={**FROM_IMAGE, **absent},
            manual={**MANUALS, **absent},
        )
    )
    assert "is recreated, since only your own compose file applies again: the" in bed.said(done, "manual"), done.stdout
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
    assert running(host) == ["asgi:tethys_asgi0"]
    # The layer of an app's states is without the login of a Redis that is gone.
    for each in removed["CONFIG"]["hosts"]:
        assert each.pop("username") == "tethys"
        assert each.pop("password")
    assert layers(host) == {"default": MEMORY, "tribs": removed}
    names = host.check_output("docker ps -a --format '{{.Names}}'").split()
    assert sorted(names) == ["tethys", "tethys-db-1", "tethys-geoserver-1", "tethys-thredds-1"]
    assert host.run(f"docker exec tethys ls -d {PERSIST}/.tethys_channels").rc != 0
    assert host.run("ls -d /etc/tethys-channels-docker").rc != 0
    assert changed(run(host, tethys_docker_state="absent")) == 0
