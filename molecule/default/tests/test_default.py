# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three processes on Debian 12: what the first run promised."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import bed
import pytest

N = 3
AS_PROVED = "The server is unchanged since the last verified run, so only delivery was checked."
# What a run does that compares everything.
STEPS = ("redis_container : Write Redis", "portal_config : Set CHANNEL_LAYERS]", "asgi_service : Update Supervisor")


# What of a process depends on who started it.
ABOUT = """
env | sort; pwd; umask; id; readlink /proc/self/ns/*; ps -o ppid=,tty= -p $$; readlink /proc/self/fd/0
grep -E 'Cap(Inh|Amb)|NoNewPrivs|Seccomp:' /proc/self/status; grep @ID@ /proc/self/cgroup; exit 7
"""


def test_a_command_of_the_tests_runs_as_the_engine_would_run_it(host: Any) -> None:
    """The tests enter a server without the engine, by the `docker` that is first in their PATH."""
    server, ours = host.backend.get_hostname(), Path(bed.__file__).parent / "bin" / "docker"
    path = os.pathsep.join(folder for folder in os.get_exec_path() if Path(folder) != ours.parent)
    engine = shutil.which("docker", path=path)
    assert engine
    found = json.loads(subprocess.run([engine, "inspect", server], capture_output=True, text=True, check=True).stdout)
    about = ABOUT.replace("@ID@", found[0]["Id"])
    command = ["exec", server, "sh", "-c", about]
    by_both = [
        subprocess.run([docker, *command], capture_output=True, text=True, check=False) for docker in (engine, ours)
    ]
    assert by_both[0].stdout == by_both[1].stdout
    assert found[0]["Id"] in by_both[0].stdout
    assert [run.returncode for run in by_both] == [7, 7]
    # What is kept of a server that was entered.
    assert found[0]["Id"] in (ours.parents[4] / ".cache" / "servers" / server).read_text(encoding="utf-8")
    command = [ours, "exec", "-i", server, "cat"]
    assert subprocess.run(command, input=about, capture_output=True, text=True, check=True).stdout == about


def test_so_many_processes_as_asked_run_as_the_web_server(host: Any) -> None:
    found = bed.daphnes(host)
    assert len(found) == N
    assert {row["user"] for row in found} == {"www-data"}


def test_daphne_stands_directly_under_supervisor(host: Any) -> None:
    supervisor = host.check_output("supervisorctl pid").strip()
    parents = {host.check_output(f"ps -o ppid= -p {row['pid']}").strip() for row in bed.daphnes(host)}
    assert parents == {supervisor}


def test_the_environment_was_activated(host: Any) -> None:
    for row in bed.daphnes(host):
        environment = host.check_output(f"tr '\\0' '\\n' < /proc/{row['pid']}/environ")
        assert "TETHYS_TEST_ACTIVATED=yes" in environment.splitlines()
        assert "TETHYS_HOME=/var/lib/tethys" in environment.splitlines()


def test_a_process_may_hold_many_sockets(host: Any) -> None:
    hard = host.check_output("cat /proc/$(supervisorctl pid)/limits | awk '/open files/ {print $5}'").strip()
    expected = 65536 if hard == "unlimited" else min(65536, int(hard))
    for row in bed.daphnes(host):
        limit = host.check_output(f"awk '/open files/ {{print $4}}' /proc/{row['pid']}/limits").strip()
        assert int(limit) == expected


def test_every_listener_over_every_process_hears(host: Any) -> None:
    found = bed.client(host, "ws_fanout", "--url", bed.CHAT, "--clients", "12", "--processes", str(N))
    assert found["delivered"] == found["clients"] >= 12
    assert len(found["pids"]) == N
    assert found["duplicates"] == 0


def test_sockets_live_through_silence(host: Any) -> None:
    # The one that is installed without a bound.
    version = host.check_output("/opt/conda/envs/tethys/bin/python -c 'import redis; print(redis.__version__)'")
    assert int(version.partition(".")[0]) >= 8
    found = bed.client(host, "ws_idle", "--url", bed.CHAT, "--clients", "6", "--seconds", "12")
    assert (found["alive"], found["close_codes"]) == (6, [])


def test_messages_pass_through_nginx(host: Any) -> None:
    found = bed.client(
        host, "ws_fanout", f"--url={bed.CHAT.replace(':8000', '')}", "--host-header=portal.example.org", "--clients=6"
    )
    assert found["delivered"] == 6


def test_django_has_the_setting(host: Any) -> None:
    layer = bed.django_layers(host)["default"]
    assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    [server] = layer["CONFIG"]["hosts"]
    assert (server["address"], server["username"]) == (f"unix://{bed.SOCKET}", "tethys")
    assert server["socket_timeout"] == 15


def test_the_portal_config_keeps_owner_mode_and_comments(host: Any) -> None:
    file = host.file(bed.CONFIG)
    assert (file.user, file.group, file.mode) == ("www-data", "www-data", 0o600)
    before = host.file("/root/portal_config.before").content_string
    content = file.content_string
    added = len(content) - len(before)
    start = next(place for place, (one, other) in enumerate(zip(content, before, strict=False)) if one != other)
    assert content[:start] + content[start + added :] == before
    assert "CHANNEL_LAYERS:" in content[start : start + added]


@pytest.mark.parametrize(
    "words",
    ["PING", "CONFIG GET '*'", "FLUSHALL", "KEYS '*'", "INFO", "CLIENT LIST", "ACL LIST"],
)
def test_redis_refuses_whoever_does_not_log_in(host: Any, words: str) -> None:
    assert bed.redis(host, words).startswith("NOAUTH")


@pytest.mark.parametrize(
    "words",
    [
        ("CONFIG", "GET", "maxmemory"),
        ("FLUSHALL",),
        ("KEYS", "'*'"),
        ("ACL", "LIST"),
        ("SHUTDOWN",),
        ("SET", "other", "1"),
        ("ZCOUNT", "asgi", "0", "1"),
        ("PUBLISH", "other", "1"),
    ],
    ids=" ".join,
)
def test_redis_lets_the_portal_do_nothing_else(host: Any, words: tuple[str, ...]) -> None:
    password = bed.secrets(host)[0]
    assert bed.redis(host, "PING", user="tethys", password=password) == "PONG"
    assert bed.redis(host, *words, user="tethys", password=password).startswith("NOPERM")


def test_redis_lets_root_look_and_not_read_messages(host: Any) -> None:
    password = bed.secrets(host)[1]
    assert "redis_version:7.0" in bed.redis(host, "INFO", "server", user="tethys_admin", password=password)
    assert bed.redis(host, "ZRANGE", "asgi:x", "0", "1", user="tethys_admin", password=password).startswith("NOPERM")


def test_redis_is_in_reach_of_the_portal_alone(host: Any) -> None:
    """No network, no port, and a socket that only root and the portal's group get at."""
    [found] = json.loads(host.check_output("docker inspect tethys-channels-redis"))
    assert (found["HostConfig"]["NetworkMode"], found["NetworkSettings"]["Ports"]) == ("none", {})
    assert "redis" not in host.check_output("ss -Hltnp")
    assert host.check_output(f"stat -c '%A %u %G' {bed.SOCKET}") == "srw-rw---- 16379 www-data"
    assert host.check_output("stat -c '%a %u %G' /var/lib/tethys_channels") == "750 16379 www-data"
    connect = f"python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('{bed.SOCKET}')\""
    for user, allowed in (("www-data", True), ("root", True), ("nobody", False)):
        run = host.run(f"runuser -u {user} -- {connect}")
        assert (run.rc == 0) is allowed, run.stderr
        assert allowed or "PermissionError" in run.stderr


def test_the_container_has_its_limits(host: Any) -> None:
    # Docker's health check runs every 30 s.
    status = "docker inspect -f {{.State.Health.Status}} tethys-channels-redis"
    host.check_output(f"timeout 40 sh -c 'while {status} | grep -q starting; do sleep 0.5; done'")
    [found] = json.loads(host.check_output("docker inspect tethys-channels-redis"))
    settings = found["HostConfig"]
    assert settings["Memory"] == 256 * 2**20
    assert settings["ReadonlyRootfs"] is True
    assert settings["CapDrop"] == ["all"]
    assert not settings["Privileged"]
    assert settings["SecurityOpt"] == ["no-new-privileges:true"]
    assert settings["RestartPolicy"]["Name"] == "unless-stopped"
    assert found["State"]["Health"]["Status"] == "healthy"
    assert found["Config"]["User"] == f"16379:{host.group('www-data').gid}"
    admin = bed.secrets(host)[1]
    assert "maxmemory:201326592" in bed.redis(host, "INFO", "memory", user="tethys_admin", password=admin)
    assert "noeviction" in bed.redis(host, "INFO", "memory", user="tethys_admin", password=admin)
    persistence = bed.redis(host, "CONFIG", "GET", "save", user="tethys_admin", password=admin)
    assert persistence.split() == ["save"]


def test_files_and_folders_have_their_owners(host: Any) -> None:
    assert (host.file("/run/tethys").user, host.file("/run/tethys").mode) == ("www-data", 0o755)
    logs = host.file("/var/log/tethys_channels")
    # Supervisor opens the logs as root, so the portal's user must not be able to put a link there.
    assert (logs.user, logs.group, logs.mode) == ("root", "www-data", 0o750)
    assert host.file("/etc/tethys_channels").mode == 0o700
    assert host.file("/etc/tethys_channels/credentials.json").mode == 0o600
    assert host.run("su -s /bin/sh www-data -c 'ls /etc/tethys_channels'").rc != 0
    names = {name.rpartition("/")[2] for name in host.check_output("ls -1 /var/log/tethys_channels/*.log").split()}
    assert names == {f"tethys_asgi{number}.log" for number in range(N)}


def test_check_in_a_dry_run_changes_nothing_and_shows_nothing_to_do(host: Any) -> None:
    before = bed.snapshot(host)
    run = bed.playbook("site", "--check", "--diff")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    assert bed.snapshot(host) == before


def test_a_run_with_nothing_to_change_goes_from_the_look_to_the_proof(host: Any) -> None:
    # The first one may be the one that finds that all is well again.
    for run in (bed.playbook("site"), bed.playbook("site")):
        assert run.returncode == 0, run.stdout
        assert bed.changed(run) == 0
    assert AS_PROVED in bed.words(run)
    ok = rf"TASK \[(.*)\] \**\nok: \[{host.backend.get_hostname()}\]"
    assert re.findall(ok, run.stdout)[-3:] == [
        "tethys.channels.layer_check : Send a message to every process",
        "tethys.channels.layer_check : Evaluate the delivery check",
        "tethys.channels.layer_check : Report the delivery check",
    ]
    assert not [step for step in STEPS if step in run.stdout]
    # Where it compares piece by piece, it finds nothing either.
    run = bed.playbook("site", preflight_trust_proof=False)
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    assert AS_PROVED not in bed.words(run)
    assert not [step for step in STEPS if step not in run.stdout]


@pytest.mark.parametrize(
    ("change", "look", "wanted"),
    [
        ("chmod 755 /var/log/tethys_channels", "stat -c %a /var/log/tethys_channels", "750"),
        (
            "docker update --memory 300m --memory-swap 300m tethys-channels-redis",
            "docker inspect -f '{{.HostConfig.Memory}}' tethys-channels-redis",
            str(256 * 2**20),
        ),
        ("rm /etc/tmpfiles.d/tethys_channels.conf", "ls /etc/tmpfiles.d/tethys_channels.conf | wc -l", "1"),
    ],
)
def test_what_somebody_changed_since_the_proof_is_put_right(host: Any, change: str, look: str, wanted: str) -> None:
    host.check_output(change)
    assert host.check_output(look) != wanted
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    assert AS_PROVED not in bed.words(run)
    assert host.check_output(look) == wanted


def test_where_it_does_not_deliver_everything_is_compared_in_the_same_run(host: Any) -> None:
    """The inspection does not detect this fault, and no role can fix it."""
    rule = "INPUT -i lo -p tcp --dport 8000 -j REJECT --reject-with tcp-reset"
    host.check_output(f"iptables -I {rule}")
    try:
        run = bed.playbook("site")
    finally:
        host.check_output(f"iptables -D {rule}")
    assert run.returncode != 0, run.stdout
    assert "verified run and does not deliver: everything is compared now." in bed.words(run)
    assert not [step for step in STEPS if step not in run.stdout]
    assert "The channel layer does not deliver." in run.stdout
    # It is not trusted after that.
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    assert AS_PROVED not in bed.words(run)


def test_with_tags_everything_of_them_is_compared(host: Any) -> None:
    run = bed.playbook("site", "--tags", "portal_config,layer_check")
    assert run.returncode == 0, run.stdout
    assert STEPS[1] in run.stdout
    assert "A message reached" in run.stdout


def test_a_change_by_hand_is_found_and_only_the_processes_roll(host: Any) -> None:
    before = {row["pid"] for row in bed.daphnes(host)}
    host.check_output(f"sed -i 's/# students ask by e-mail/# students ask by phone/' {bed.CONFIG}")
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 1, run.stdout
    assert not before & {row["pid"] for row in bed.daphnes(host)}
    host.check_output(f"sed -i 's/# students ask by phone/# students ask by e-mail/' {bed.CONFIG}")


def test_a_restart_takes_one_process_after_the_other(host: Any) -> None:
    before = {row["pid"] for row in bed.daphnes(host)}
    log = "/var/log/supervisor/supervisord.log"
    lines = int(host.check_output(f"wc -l < {log}"))
    # Requests go on all the while, each over a new connection.
    host.check_output(
        'systemd-run -q --unit load sh -c \'while :; do curl -s -o /dev/null -w "%{http_code}\\n"'
        " -H Host:portal.example.org http://127.0.0.1/ >> /root/answers; sleep 0.05; done'"
    )
    try:
        run = bed.playbook("restart")
    finally:
        host.check_output("systemctl stop load")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 1
    after = {row["pid"] for row in bed.daphnes(host)}
    assert len(after) == N
    assert not before & after
    answers = host.check_output("cat /root/answers").split()
    good = [answer for answer in answers if answer in ("200", "302")]
    print(f"{len(good)} of {len(answers)} requests answered during the restart")
    # The few that a dying process holds fail on a shared socket, one at a time.
    assert len(answers) >= 20
    assert len(answers) - len(good) <= 2 * N
    # Where all are stopped at once, requests wait at the shared socket and are answered too: only the order shows it.
    events = re.findall(r"(stopped|spawned|success): '?(\w+)", host.check_output(f"tail -n +{lines + 1} {log}"))
    assert events == [(what, f"tethys_asgi{n}") for n in range(N) for what in ("stopped", "spawned", "success")]


def test_fewer_processes_leave_no_socket_behind(host: Any) -> None:
    run = bed.playbook("site", tethys_asgi_processes=1)
    assert run.returncode == 0, run.stdout
    assert len(bed.daphnes(host)) == 1
    assert host.check_output("ls /run/tethys").split() == ["tethys_asgi0.sock", "tethys_asgi0.sock.lock"]


def test_remove_leaves_what_was_found_and_no_run_shows_a_secret(host: Any) -> None:
    run = bed.playbook("remove")
    assert run.returncode == 0, run.stdout
    assert host.check_output(f"cat {bed.CONFIG}") == host.check_output("cat /root/portal_config.before")
    assert host.check_output(f"ls {bed.HOME}") == host.check_output("cat /root/home.before")
    assert host.check_output("docker ps -aq") == ""
    assert not host.file("/etc/tethys_channels").exists
    assert len(bed.daphnes(host)) == 1  # nothing served the portal before: one process stays, on the in-memory layer
    assert bed.django_layers(host)["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"
    assert host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0

    # The same server once more, with everything that Ansible can print.
    dry = bed.playbook("site", "--check", "--diff", "-vvv")
    first = bed.playbook("site", "--diff", "-vvv")
    assert (dry.returncode, first.returncode) == (0, 0), first.stdout
    assert "CHANNEL_LAYERS" in first.stdout
    # The dry run's own password is forgotten with it, so that any at all is looked for.
    assert not re.search(r"password['\"]?: *['\"]?(?![*'\" ]|null|VALUE_SPECIFIED)\w", dry.stdout)
    for output in (dry.stdout, first.stdout):
        text = output + decoded_once(output)
        for secret in bed.secrets(host):
            assert secret not in text
    shown = host.check_output(
        "docker inspect tethys-channels-redis; ps -eo args -ww; docker logs tethys-channels-redis 2>&1"
    )
    for secret in bed.secrets(host):
        assert secret not in shown + bed.decoded(shown)


def decoded_once(output: str) -> str:
    """What base64 in the output hides, with a check that the search can see."""
    probe = "c2VjcmV0IG1lc3NhZ2UgaGVyZQ=="
    assert "secret message here" in bed.decoded(f"xx {probe} yy")
    return bed.decoded(output)
