# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A portal set up with the documented steps: what is adopted, left alone and refused, and `remove`.

The tests run in this order: refused, dry run, adopted, restored.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bed
import pytest
import second_portal as second

N = 2
PROGRAM = "/etc/supervisor/conf.d/asgi_supervisord.conf"
REPLACED = (
    f"{PROGRAM} will be replaced with a file that this collection manages. The processes' user changes from"
    " root to www-data"
)
NGINX = "/etc/supervisor/conf.d/nginx_supervisord.conf"
THEIRS = f"{bed.HOME}/asgi_supervisord.conf"
# The inventory names no port: this is the one of the manual's program and of nginx's site.
PORT = 8080
CHAT = bed.CHAT.replace(":8000", f":{PORT}")


def folded(text: str) -> str:
    """Output without the line breaks and doubled quotes that YAML puts in."""
    return " ".join(text.replace("''", "'").split())


def refused(host: Any, **variables: Any) -> str:
    """Run the playbook, check that it is refused and changes nothing; return the refusal."""
    before = bed.snapshot(host)
    run = bed.playbook("site", **variables)
    assert run.returncode != 0, run.stdout
    assert "Refused; nothing was changed." in run.stdout, run.stdout
    assert bed.snapshot(host) == before
    return folded(run.stdout[run.stdout.index("fatal:") :].partition("PLAY RECAP")[0])


def manual_container(host: Any) -> dict[str, Any]:
    """The container that the manual has one start, by its image."""
    [name] = host.check_output("docker ps -aq --filter ancestor=tethys-channels-test/redis:5.0").split()
    [found] = json.loads(host.check_output(f"docker inspect {name}"))
    return dict(found)


def nginx_master(host: Any) -> str:
    """Return the process ID of nginx's master process from Supervisor."""
    return str(host.check_output("supervisorctl pid nginx")).strip()


@pytest.fixture(scope="module")
def before(host: Any) -> dict[str, Any]:
    """What the manual's portal is like."""
    return {
        "nginx": nginx_master(host),
        "worker": host.check_output("supervisorctl pid worker"),
        "container": manual_container(host)["Id"],
        "link": host.check_output(f"readlink {PROGRAM}"),
        "nginx_link": host.check_output(f"readlink {NGINX}"),
        "processes": [row["pid"] for row in bed.daphnes(host)],
    }


@pytest.fixture(scope="module")
def taken_over(host: Any, before: dict[str, Any]) -> str:
    """The first run, and what it printed."""
    with asking(host):
        run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    return folded(run.stdout)


ANSWERS = "/root/answers"


@contextmanager
def asking(host: Any) -> Iterator[None]:
    """Ask for a page through nginx, five times a second, and write down when it was answered, and how."""
    ask = "curl -s -m 5 -o /dev/null -w '%{http_code}' -H 'Host: portal.example.org' http://127.0.0.1/"
    loop = f"while [ ! -e /root/asked ]; do echo $(date +%s.%N) $({ask}) >> {ANSWERS}; sleep 0.2; done"
    host.check_output(f"rm -f {ANSWERS} /root/asked; nohup setsid bash -c {shlex.quote(loop)} > /dev/null 2>&1 &")
    try:
        yield
    finally:
        host.check_output("touch /root/asked")


def test_the_server_is_the_manuals(host: Any, before: dict[str, Any]) -> None:
    [daphne] = bed.daphnes(host)
    assert daphne["user"] == "root"
    assert before["link"] == THEIRS
    assert host.check_output("systemctl is-active nginx || true") == "inactive"
    supervisor = host.check_output("supervisorctl pid").strip()
    assert host.check_output(f"ps -o ppid= -p {before['nginx']}").strip() == supervisor
    assert host.check_output("ss -Hltn sport = :6379 | awk '{print $4}'").split()[0] == "0.0.0.0:6379"
    assert "redis_version:5.0" in host.check_output(f"docker exec {before['container']} redis-cli INFO server")
    config = {"hosts": [["127.0.0.1", 6379]], "capacity": 500, "expiry": 90}
    assert bed.django_layers(host)["default"]["CONFIG"] == config
    assert host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0


def sql(statement: str, database: str = "postgres") -> str:
    """The command that has PostgreSQL do something."""
    return f"su postgres -c {shlex.quote(shlex.join(['psql', '-qtAc', statement, database]))}"


LOCK = sql("BEGIN; LOCK TABLE django_migrations; SELECT pg_sleep(600)", "tethys")
LOCKED = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock'"
    " AND relation = 'django_migrations'::regclass)"
)
HOLD = (
    f"systemd-run -q sh -c {shlex.quote(LOCK)}"
    f" && for i in $(seq 300); do {sql(LOCKED, 'tethys')} | grep -qx t && break; sleep 0.1; done"
)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
UNLOCK = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%LOCK TABLE%' AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize(
    ("change", "back", "words"),
    [
        ("systemctl stop postgresql", "systemctl start postgresql", "Connection refused"),
        (
            sql("ALTER ROLE tethys CONNECTION LIMIT 0"),
            sql("ALTER ROLE tethys CONNECTION LIMIT -1"),
            'too many connections for role "tethys"',
        ),
        (HOLD, sql(UNLOCK), "has not answered a query within 10 s"),
    ],
    ids=["stopped", "out of connections", "locked"],
)
def test_a_database_that_cannot_be_asked_is_named(
    host: Any, before: dict[str, Any], change: str, back: str, words: str
) -> None:
    with bed.during(host, change, back):
        said = refused(host)
        # What the run asked does not wait on after it.
        assert host.run(sql(WAITING)).stdout.strip() in ("", "0")
    assert "The database tethys on 127.0.0.1 cannot be read" in said
    assert words in said
    assert "pg-s3cret-word" not in said


def test_what_the_new_user_could_not_write_and_a_container_of_others_are_told_beforehand(
    host: Any, before: dict[str, Any]
) -> None:
    paths = [f"{bed.HOME}/media", f"{bed.HOME}/workspaces"]
    host.check_output("chown root:root " + " ".join(paths))
    # The container is left alone where the portal does not name it.
    host.check_output(f"sed -i 's/127.0.0.1, 6379/10.9.8.7, 6379/' {bed.CONFIG}")
    try:
        text = refused(host, redis_container_transport="published")
    finally:
        host.check_output("chown www-data:www-data " + " ".join(paths))
        host.check_output(f"cp -p /root/portal_config.before {bed.CONFIG}")
    for path in paths:
        assert f"tethys_user www-data (who would run the portal) cannot write to {path}" in text
        assert f"`chown -h www-data {path}`" in text
    assert "publishes port 6379, and portal_config.yml names no channel layer on that port of this server" in text
    assert f"`docker stop {before['container'][:12]}`" in text


def test_what_the_root_process_left_in_the_workspaces_is_told_beforehand(host: Any, before: dict[str, Any]) -> None:
    folder = f"{bed.HOME}/workspaces"
    host.check_output(f"cd {folder} && mkdir -p channelchat/app_workspace && touch channelchat/app_workspace/model.csv")
    text = refused(host)
    assert f"cannot write {folder}/channelchat and 2 more in {folder}, of root, who runs it now" in text
    way_out = f"find {folder} -user root -execdir chown -h www-data {{}} +"
    assert f"`{way_out}`" in text
    # The dry run below is not refused, so this is the fix.
    host.check_output(way_out)


@contextmanager
def program_named(host: Any, name: str) -> Iterator[None]:
    """Have the manual's program run under another name meanwhile."""
    other = f"/etc/supervisor/conf.d/{name}.conf"
    wait = (
        f"for i in $(seq 60); do curl -s -o /dev/null http://127.0.0.1:{PORT}/ && break; sleep 0.5; done"
        # For the program's startsecs its state is STARTING, even if it serves already.
        " && for i in $(seq 60); do supervisorctl status | grep -q STARTING || break; sleep 0.2; done"
    )
    host.check_output(
        f"rm {PROGRAM} && sed 's/fcgi-program:asgi/fcgi-program:{name}/' {THEIRS} > {other} && supervisorctl update"
        f" && {wait}"
    )
    try:
        yield
    finally:
        host.check_output(f"rm {other} && ln -s {THEIRS} {PROGRAM} && supervisorctl update && {wait}")


def test_a_program_of_another_name_is_the_portals(host: Any, before: dict[str, Any]) -> None:
    with program_named(host, "portal"):
        # Another port than nginx's is only a warning; a dry run shows both and changes nothing.
        run = bed.playbook("site", "--check", tethys_port=8000)
        assert run.returncode == 0, run.stdout
        text = folded(run.stdout)
    site = "/etc/nginx/sites-enabled/tethys"
    assert f"tethys_port is 8000: nginx sends the portal's requests to 127.0.0.1:{PORT} ({site}, line" in text
    assert f"Set tethys_port to {PORT}, or have nginx send them to 127.0.0.1:8000." in text
    assert "Supervisor's program portal (process" not in text


def test_a_dry_run_changes_nothing_and_tells_what_is_taken_over(host: Any, before: dict[str, Any]) -> None:
    state = bed.snapshot(host)
    run = bed.playbook("site", "--check", "--diff")
    assert run.returncode == 0, run.stdout
    assert bed.snapshot(host) == state
    text = folded(run.stdout)
    assert f"socket=tcp://127.0.0.1:{PORT}" in text
    assert "s3cr3t" not in text
    assert REPLACED in text
    assert "(tethys-channels-test/redis:5.0), currently the portal's Redis on port 6379, will be stopped but" in text
    # The run replaces one of the manual's two links into TETHYS_HOME by a file of root's, and names the other.
    copy = f"`cp --remove-destination {bed.HOME}/nginx_supervisord.conf {NGINX}`"
    assert f"Supervisor runs as root and reads {NGINX}, and its owner www-data can change {bed.HOME}" in text
    assert text.count(copy) == 1
    assert f"{THEIRS} {PROGRAM}`" not in text


def test_a_redis_that_does_not_come_up_leaves_the_old_one_serving(host: Any, before: dict[str, Any]) -> None:
    run = bed.playbook("site", redis_container_image="tethys-channels-test/redis:5.0", redis_container_acl=True,
                       redis_container_timeout=8)  # fmt: skip
    assert run.returncode != 0
    assert "serves as before" in folded(run.stdout), run.stdout
    assert manual_container(host)["State"]["Running"]
    assert host.check_output("docker ps -q").split() == [before["container"][:12]]
    assert host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0
    # This portal's next run goes on with what the failed one has left, and no other portal's does.
    assert not host.file("/etc/tethys_channels/portal_config.original.json").exists
    kept = json.loads(host.check_output("cat /etc/tethys_channels/credentials.json"))
    assert kept["portal_config"] == bed.CONFIG


def test_the_run_takes_over_and_says_so(host: Any, before: dict[str, Any], taken_over: str) -> None:
    assert REPLACED in taken_over
    found = bed.daphnes(host)
    assert [row["user"] for row in found] == ["www-data"] * N
    assert f"socket=tcp://127.0.0.1:{PORT}" in host.file(PROGRAM).content_string
    assert host.check_output("ss -Hltn sport = :8000") == "", "No second portal."
    assert host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0
    assert not {row["pid"] for row in found} & set(before["processes"])


def test_nginx_answers_but_for_the_announced_gap(host: Any, taken_over: str) -> None:
    announced = re.search(r"requests fail until the new ones answer, for at most (\d+) s\.", taken_over)
    assert announced, taken_over
    rows = [line.split() for line in host.check_output(f"cat {ANSWERS}").splitlines()]
    assert len(rows) > 20
    # From the first request that failed, or waited for longer than 5 s, to the answer that followed the last of them.
    failed = [number for number, (_when, status) in enumerate(rows) if status != "200"]
    seconds = float(rows[failed[-1] + 1][0]) - float(rows[failed[0]][0]) if failed else 0
    assert seconds <= int(announced[1]), rows


KEPT_OPTIONS = ("--websocket_timeout 3600", "--http-timeout 900", "--ping-interval 15", "--server-name hydro")
KEPT_VARIABLES = {
    "a variable of the program": "GDAL_CACHEMAX=512",
    "a variable with blanks": "EARTHDATA_TOKEN=s3cr3t of mk",
    "a variable of `conda env config vars`": "PROJ_NETWORK=ON",
    "a variable of a conda package": "PROJ_DATA=/opt/proj",
    "a variable of an activation script": "TETHYS_TEST_ACTIVATED=yes",
}
NAMED = {
    "user": "The processes' user changes from root to www-data",
    "--access-log": "the processes do not keep --access-log, ",
    "autorestart": ", autorestart=unexpected, ",
    "directory": f", directory={bed.HOME}, ",
    "priority": ", priority=10, ",
    "startsecs": ", startsecs=3, ",
    "stdout_logfile_maxbytes": ", stdout_logfile_maxbytes=20MB, ",
    "stopwaitsecs": ", stopwaitsecs=25, ",
    "umask": ", umask=027. Set asgi_service_arguments or asgi_service_log_max_mb or asgi_service_stop_timeout if",
    "stdout_logfile": "logs go to /var/log/tethys_channels (asgi_service_log_dir), and those in /var/log/tethys stay",
    "capacity of the layer": "of the channel layer's CONFIG, capacity 500 is removed, ",
    "expiry of the layer": ", expiry 90 is removed. To keep an option, add it to portal_config_layer_options.",
    "the manual's Redis": "currently the portal's Redis on port 6379, will be stopped but not removed",
}


@pytest.mark.parametrize("setting", KEPT_OPTIONS)
def test_an_option_of_daphne_is_kept(host: Any, taken_over: str, setting: str) -> None:
    assert all(f" {setting} " in row["command"] for row in bed.daphnes(host))
    assert setting in taken_over.partition("daphne's ")[2].partition(".")[0]


@pytest.mark.parametrize("setting", KEPT_VARIABLES)
def test_a_variable_is_kept(host: Any, taken_over: str, setting: str) -> None:
    for row in bed.daphnes(host):
        environ = host.check_output(f"tr '\\0' '\\n' < /proc/{row['pid']}/environ").splitlines()
        assert KEPT_VARIABLES[setting] in environ
    found = host.file("/etc/tethys_channels.env")
    assert (found.user, found.group, found.mode) == ("root", "www-data", 0o640)
    assert "s3cr3t" not in taken_over


def test_port_and_address_are_kept(host: Any, taken_over: str) -> None:
    names = "EARTHDATA_TOKEN, GDAL_CACHEMAX, PROJ_DATA, PROJ_NETWORK"
    assert f"{PROGRAM}: the processes keep address 127.0.0.1:{PORT}; variables {names}; daphne's" in taken_over
    assert host.check_output(f"ss -Hltn sport = :{PORT} | awk '{{print $4}}'").split() == [f"127.0.0.1:{PORT}"]


@pytest.mark.parametrize("setting", NAMED)
def test_a_setting_that_is_not_kept_is_named(taken_over: str, setting: str) -> None:
    assert NAMED[setting] in taken_over


def test_the_site_and_what_else_concerns_the_portal_is_not_changed(
    host: Any, before: dict[str, Any], taken_over: str
) -> None:
    # server_name, size and time limits of nginx's site; another program, a cron job, the rotation of the logs.
    files = host.check_output("cd /root/files.before && find . -type f -printf '/%P\\n'").splitlines()
    assert len(files) == 6
    for path in files:
        assert host.run(f"cmp {path} /root/files.before{path}").rc == 0, path
    assert host.check_output("supervisorctl pid worker") == before["worker"]


def test_portal_config_keeps_everything_but_the_layer(host: Any, taken_over: str) -> None:
    # ALLOWED_HOSTS, the connection to PostgreSQL, paths, comments.
    texts = [host.check_output(f"cat {path}") for path in ("/root/portal_config.before", bed.CONFIG)]
    before, after = (re.sub(r"(?m)^  CHANNEL_LAYERS:.*\n(?:   .*\n)+", "", text) for text in texts)
    assert before == after
    assert "PASSWORD: pg-s3cret-word" in after


def test_delivery_is_verified_through_nginx(taken_over: str) -> None:
    assert (
        "Through nginx (/etc/nginx/sites-enabled/tethys, line 8): http://portal.example.org/ answers HTTP 200, and a"
        " message reached 4 of 4 WebSockets." in taken_over
    )


def test_a_second_run_changes_nothing_and_the_controller_asks_the_address_of_the_portal(
    host: Any, taken_over: str
) -> None:
    address = host.check_output("ip -4 -o route get 192.0.2.1 | sed 's/.* src \\([0-9.]*\\).*/\\1/'")
    run = bed.playbook("site", layer_check_url=f"http://{address}/")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0, run.stdout
    assert "taken over" not in run.stdout
    assert f"Through http://{address}: http://{address}/ answers HTTP 200, and a message reached 6 of 6" in folded(
        run.stdout
    )


def test_every_listener_hears(host: Any, taken_over: str) -> None:
    found = bed.client(host, "ws_fanout", "--url", CHAT, "--clients", "12", "--processes", str(N))
    assert found["delivered"] == found["clients"] >= 12
    assert len(found["pids"]) == N
    through_nginx = bed.CHAT.replace(":8000", "")
    found = bed.client(
        host, "ws_fanout", "--url", through_nginx, "--host-header", "portal.example.org", "--clients", "6"
    )
    assert found["delivered"] == 6


def test_nginx_is_left_alone(host: Any, before: dict[str, Any], taken_over: str) -> None:
    assert nginx_master(host) == before["nginx"]
    assert host.check_output(f"readlink {NGINX}") == before["nginx_link"]
    assert host.check_output("systemctl is-enabled nginx || true") == "disabled"


def test_the_manuals_files_in_the_home_are_left_alone(host: Any, taken_over: str) -> None:
    assert host.run(f"cmp {THEIRS} /root/asgi_supervisord.before").rc == 0
    assert not host.file(PROGRAM).is_symlink
    assert "tethys.channels" in host.file(PROGRAM).content_string


def test_no_stale_socket_is_left(host: Any, taken_over: str) -> None:
    assert host.check_output("ls -A /run | grep -c tethys_asgi || true") == "0"
    assert len(host.check_output("ls -A /run/tethys").split()) == 2 * N


def test_the_old_container_is_stopped_and_kept(host: Any, before: dict[str, Any], taken_over: str) -> None:
    found = manual_container(host)
    assert found["Id"] == before["container"]
    assert not found["State"]["Running"]
    assert host.check_output("ss -Hltn sport = :6379") == ""
    assert bed.django_layers(host)["default"]["CONFIG"]["hosts"][0]["address"] == f"unix://{bed.SOCKET}"


def test_the_portal_still_writes_its_database_and_workspaces(host: Any, taken_over: str) -> None:
    host.check_output(f"su -s /bin/sh www-data -c 'touch {bed.HOME}/workspaces/channelchat/app_workspace/model.csv'")
    # A login writes the session and the time of the login.
    login = host.check_output(
        "cd /tmp && rm -f jar && page() { curl -s -b jar -c jar -H 'Host: portal.example.org' \"$@\"; }"
        " && token=$(page http://127.0.0.1/accounts/login/"
        " | grep -o 'csrfmiddlewaretoken\" value=\"[^\"]*' | cut -d'\"' -f3)"
        " && page -o /dev/null -w '%{http_code}' -H 'Origin: http://portal.example.org'"
        " --data-urlencode csrfmiddlewaretoken=$token -d 'username=admin&password=admin&login-submit=1'"
        " http://127.0.0.1/accounts/login/; rm -f jar"
    )
    assert login == "302"
    assert int(host.check_output(sql("SELECT count(*) FROM django_session", "tethys"))) > 0


@pytest.fixture(scope="module")
def beside(host: Any, taken_over: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every kind of run for a second portal, while requests through nginx to the first go on."""
    second.set_up(host)
    server = {"ansible_host": host.backend.get_hostname()}
    staging = {**server, "tethys_home": second.HOME, "tethys_port": second.PORT, "tethys_portal_name": second.NAME}
    staging["tethys_asgi_layout"] = "socket_per_process"
    # Docker's connection has no port: by it these count as portals of other servers, and the server itself is seen.
    unnamed = {**staging, "tethys_portal_name": "", "ansible_port": 2001}
    hosts = {"production": server, "staging": staging, "unnamed": unnamed}
    wrong = {**server, "tethys_portal_name": "Stag/ing", "ansible_port": 2002}
    given = bed.names(tmp_path_factory.mktemp("names"), **hosts, wrong=wrong)
    more = bed.names(tmp_path_factory.mktemp("more"), staging={**staging, "tethys_asgi_processes": N + 1})
    found: dict[str, Any] = {"before": second.first(host), "runs": {}, "processes": {}}

    def run(name: str, playbook: str, pattern: str, *arguments: str, **variables: Any) -> None:
        found["runs"][name] = bed.playbook(playbook, *given, *arguments, tethys_hosts=pattern, **variables)
        found["processes"][name] = second.daphnes(host)

    with bed.load(host, "--connections", "2", "--pause", "0.1") as figures:
        run("refused", "site", "unnamed:wrong")
        run("remove unnamed", "remove", "unnamed")
        run("site", "site", "production:staging", "--forks=2")
        found["layers"] = host.check_output(f"cat {second.HOME}/portal_config.yml")
        found["environ"] = host.check_output(f"cat /proc/{found['processes']['site'][0]}/environ | tr '\\0' '\\n'")
        found["state"] = host.check_output(f"ls {second.STATE}; supervisorctl status; {second.CONTAINERS}")
        run("check", "check", "staging")
        run("restart", "restart", "staging")
        run("rescale", "site", "staging", *more, redis_container_rotate=True)
        run("remove", "remove", "staging", *more)
    found.update(figures=figures, after=second.first(host), left=second.left(host))
    second.clear_away(host)
    return found


def test_a_second_portal_without_a_name_is_refused(beside: dict[str, Any]) -> None:
    refused = beside["runs"]["refused"]
    for run in (refused, beside["runs"]["remove unnamed"]):
        assert bed.changed(run) == 0
        said = bed.fatal(run, "unnamed")
        assert f"Supervisor's program asgi ({PROGRAM}) runs the portal of {bed.HOME}" in said
        assert f"the state in /etc/tethys_channels is that of {bed.CONFIG}" in said
        assert "Set tethys_portal_name to a name for this portal, such as staging" in said
    assert "tethys_portal_name is 'Stag/ing': set it to at most 32 lower-case letters" in bed.fatal(refused, "wrong")


@pytest.mark.parametrize("name", ["site", "check", "restart", "rescale", "remove"])
def test_each_run_for_a_second_portal_ends_well(beside: dict[str, Any], name: str) -> None:
    run = beside["runs"][name]
    assert run.returncode == 0, run.stdout
    if name == "site":
        assert bed.changed_on(run, "production") == 0, run.stdout
    if name in ("site", "restart", "rescale"):
        assert f"{second.NAME}.example.org/ answers HTTP 200" in folded(bed.said(run, "staging")), run.stdout


def test_a_second_portal_has_all_of_its_own(beside: dict[str, Any]) -> None:
    assert f"unix://{second.SOCKET}" in beside["layers"]
    assert bed.SOCKET not in beside["layers"]
    for line in (f"{second.GROUP}0:", f"{second.GROUP}1:", "credentials.json", second.CONTAINER, "asgi:tethys_asgi1"):
        assert line in beside["state"]
    # The environment's variables are for all of its portals; those of the first portal's program are not.
    assert "PROJ_NETWORK=ON" in beside["environ"]
    assert "EARTHDATA_TOKEN" not in beside["environ"]


def test_its_processes_are_restarted_and_rescaled(beside: dict[str, Any]) -> None:
    found = beside["processes"]
    assert found["remove unnamed"] == []
    assert [len(found[name]) for name in ("site", "check", "restart", "rescale", "remove")] == [N, N, N, N + 1, 1]
    assert found["check"] == found["site"]
    assert not set(found["restart"]) & set(found["site"])


def test_the_first_portal_does_not_notice(beside: dict[str, Any]) -> None:
    assert beside["figures"]["requests"] > 100, beside["figures"]
    assert beside["figures"]["failed"] == 0, beside["figures"]
    assert beside["after"] == beside["before"]


def test_a_second_portal_is_removed_without_a_trace(beside: dict[str, Any]) -> None:
    # In /etc, only its program and the files that the program needs are left, as for any portal that had no processes.
    assert beside["left"] == {
        "same settings": True,
        "same site": True,
        "folders": [f"/etc/tethys_channels-{second.NAME}.env"],
        "containers": ["tethys-channels-redis"],
    }


def test_remove_gives_everything_back(host: Any, before: dict[str, Any], taken_over: str) -> None:
    run = bed.playbook("remove")
    assert run.returncode == 0, run.stdout
    assert host.check_output(f"readlink {PROGRAM}") == before["link"]
    assert host.run(f"cmp {THEIRS} /root/asgi_supervisord.before").rc == 0
    assert host.run(f"cmp {bed.CONFIG} /root/portal_config.before").rc == 0
    assert host.check_output(f"ls {bed.HOME}") == host.check_output("cat /root/home.before")
    assert host.check_output("docker ps -aq --no-trunc").split() == [before["container"]]
    found = manual_container(host)
    assert found["State"]["Running"]
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert not host.file("/etc/tethys_channels").exists
    assert not host.file("/etc/tethys_channels.env").exists
    assert not host.file("/etc/tmpfiles.d/tethys_channels.conf").exists
    assert not host.file("/run/tethys").exists
    [daphne] = bed.daphnes(host)
    assert daphne["user"] == "root"
    assert nginx_master(host) == before["nginx"]
    assert host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0
    fanout = bed.client(host, "ws_fanout", "--url", CHAT, "--clients", "6")
    assert fanout["delivered"] == 6


def test_removed_twice_is_removed_once(host: Any, before: dict[str, Any]) -> None:
    state = bed.snapshot(host)
    run = bed.playbook("remove")
    assert run.returncode == 0, run.stdout
    assert bed.snapshot(host) == state
