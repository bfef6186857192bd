# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis in Podman: hardened as in Docker, back after a kill and a reboot, moved to Docker and back, removed."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import bed

NAME = "tethys-channels-redis"
UNIT = f"{NAME}.service"
# How long a Redis that was killed may be away, and a server until the portal answers.
AWAY_SECONDS = 30
BOOT_SECONDS = 90
# A process that hangs: until the watch queries one that just started, until three queries failed, until it is back.
HANGS_SECONDS = 90 + 55 + 45


def delivered(host: Any) -> bool:
    """Return whether all clients, over both processes, receive a message."""
    found = bed.client(host, "ws_fanout", "--url", bed.CHAT, "--clients", "8", "--processes", "2")
    return bool(found["delivered"] == found["clients"] and len(found["pids"]) == 2)


def is_back(host: Any) -> bool:
    """Whether a message is received through both processes by now."""
    command = f"{bed.PREFIX}/bin/python -B /opt/clients/ws_fanout.py --clients 8 --processes 2 --timeout 3"
    return bool(host.run(f"timeout 20 {command} --url {bed.CHAT}").rc == 0)


def inspected(host: Any) -> dict[str, Any]:
    """What Podman says of the container."""
    [found] = json.loads(host.check_output(f"podman container inspect {NAME}"))
    return dict(found)


def redis_pid(host: Any) -> int:
    """The process id of the Redis that answers, 0 where none does."""
    run = host.run(f"podman container inspect -f '{{{{.State.Pid}}}}' {NAME}")
    return int(run.stdout) if run.rc == 0 else 0


def ran(name: str, *arguments: str, **variables: Any) -> str:
    """What a run said that had to succeed."""
    run = bed.playbook(name, *arguments, **variables)
    assert run.returncode == 0, run.stdout
    return bed.words(run)


def test_redis_runs_in_podman_alone_and_messages_arrive(host: Any) -> None:
    assert host.check_output("docker ps -aq") == ""
    assert host.service(UNIT).is_enabled
    assert host.service(UNIT).is_running
    found = inspected(host)
    # systemd has all of it under the unit, so that nothing outlives a stop.
    assert f"/{UNIT}/" in host.check_output(f"cat /proc/{found['State']['Pid']}/cgroup")
    assert found["ImageName"] == "localhost/tethys-channels-test/redis:8.0"
    assert delivered(host)
    assert bed.client(host, "ws_idle", "--url", bed.CHAT)["alive"] == 6


def test_the_container_may_do_no_more_than_dockers(host: Any) -> None:
    pid = redis_pid(host)
    status = dict(line.split(":\t", 1) for line in host.check_output(f"cat /proc/{pid}/status").splitlines())
    assert status["Uid"].split() == ["16379"] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    # In the first version of control groups, each controller has a separate tree.
    told = [line.split(":", 2) for line in host.check_output(f"cat /proc/{pid}/cgroup").splitlines()]
    trees = {name: f"{name}{path}" for _number, names, path in told for name in names.split(",")}
    if trees.get("memory"):
        limits = [f"{trees['memory']}/memory.limit_in_bytes", f"{trees['pids']}/pids.max"]
    else:
        limits = [f"{trees[''].lstrip('/')}/memory.max", f"{trees[''].lstrip('/')}/pids.max"]
    found = host.check_output("cd /sys/fs/cgroup && cat " + " ".join(limits))
    assert found.split() == [str(256 * 2**20), "64"]
    mounts = host.check_output(f"cat /proc/{pid}/mounts").splitlines()
    writable = {row.split()[1] for row in mounts if row.split()[3].startswith("rw")}
    # The socket's folder, and what is the kernel's or root's.
    assert writable <= {"/run/tethys-channels", "/proc", "/dev/pts", "/dev/mqueue", "/sys/fs/cgroup"}, mounts
    assert host.check_output(f"nsenter --target {pid} --net ss -Hltn") == ""
    assert host.check_output("podman volume ls -q") == ""
    assert host.check_output("stat -c '%U:%G %a' /var/lib/tethys_channels") == "UNKNOWN:www-data 750"


def test_a_process_that_hangs_is_restarted(host: Any) -> None:
    pids = [row["pid"] for row in bed.daphnes(host)]
    host.check_output(f"kill -STOP {pids[0]}")
    start = time.monotonic()
    while pids[0] in (now := [row["pid"] for row in bed.daphnes(host)]) or len(now) < len(pids) or not is_back(host):
        assert time.monotonic() - start < HANGS_SECONDS, host.run("journalctl -u tethys_channels_watch").stdout
        time.sleep(2)
    print(f"{time.monotonic() - start:.0f} s until both processes answered again")
    assert set(now) & set(pids) == set(pids[1:])
    [act] = json.loads(host.check_output("cat /etc/tethys_channels/watch_acts.json"))
    assert act["pid"] == pids[0]
    assert delivered(host)


def test_its_health_and_its_words_can_be_asked(host: Any) -> None:
    assert host.run(f"podman healthcheck run {NAME}").rc == 0
    assert "Ready to accept connections" in host.check_output(f"journalctl --no-pager -u {NAME}")
    assert bed.secrets(host)[0] not in host.check_output(
        f"podman container inspect {NAME}; cat /etc/systemd/system/{UNIT}"
    )


def test_a_killed_redis_comes_back_by_itself_and_a_changed_unit_is_mended(host: Any) -> None:
    before = redis_pid(host)
    start = time.monotonic()
    host.check_output(f"kill -KILL {before}")
    while redis_pid(host) in (0, before):
        assert time.monotonic() - start < AWAY_SECONDS, host.check_output(f"systemctl status {UNIT} || true")
        time.sleep(0.1)
    print(f"After a kill another Redis runs in {time.monotonic() - start:.1f} s.")
    host.check_output(f"sed -i /--read-only/d /etc/systemd/system/{UNIT}; systemctl disable {UNIT}")
    run = bed.playbook("check")
    assert run.returncode != 0
    # The processes have subscribed again.
    assert "were started before Redis was" not in bed.words(run)
    assert f"would change the container {NAME}, which is not as the roles" in bed.words(run)
    before = redis_pid(host)
    ran("site")
    assert redis_pid(host) not in (0, before)
    assert host.service(UNIT).is_enabled
    assert "--read-only" in host.file(f"/etc/systemd/system/{UNIT}").content_string
    assert delivered(host)


def test_it_comes_back_with_the_server(host: Any) -> None:
    server = host.backend.get_hostname()
    start = time.monotonic()
    subprocess.run(["docker", "restart", "--time", "20", server], check=True, capture_output=True, timeout=120)
    # Of two processes on one socket, one answers while the other is still starting, which `check` would report.
    while not (redis_pid(host) and is_back(host)):
        assert time.monotonic() - start < BOOT_SECONDS, host.check_output(f"systemctl status {UNIT} || true")
        time.sleep(0.5)
    print(f"After a reboot the portal answers in {time.monotonic() - start:.0f} s.")
    # Redis was there before the processes, so none of them has lost anything.
    assert "would change nothing" in ran("check")
    assert delivered(host)


def test_an_image_that_is_nowhere_stops_nothing(host: Any) -> None:
    pid = redis_pid(host)
    run = bed.playbook("site", redis_container_image="127.0.0.1:9/redis:8.0")
    assert run.returncode != 0
    assert "redis_container_image is 127.0.0.1:9/redis:8.0, which is not on this server and could not" in bed.words(run)
    assert redis_pid(host) == pid


def test_a_move_to_docker_that_fails_is_taken_back(host: Any) -> None:
    host.check_output("tar c -C / usr/bin/true | docker import - empty:1.0")
    run = bed.playbook("site", redis_container_engine="docker", redis_container_image="empty:1.0")
    assert run.returncode != 0
    assert f"Container {NAME} serves as before." in bed.words(run)
    assert host.check_output("docker ps -aq") == ""
    assert host.service(UNIT).is_enabled
    assert redis_pid(host)


def test_to_docker_and_back(host: Any) -> None:
    with bed.alongside(host, "ws_stream", "--url", bed.CHAT, "--clients", "4") as figures:
        assert "Redis currently runs in Podman, and will run in Docker" in ran("site", redis_container_engine="docker")
    print(f"To Docker: silent for {figures['longest_silence_seconds']} s, {figures['lost']} of {figures['due']} lost.")
    assert host.check_output("docker ps --format '{{.Names}}'") == NAME
    assert host.check_output("podman ps -aq") == ""
    assert not host.file(f"/etc/systemd/system/{UNIT}").exists
    assert delivered(host)
    run = bed.playbook("check")
    assert run.returncode != 0
    assert "s container, Docker -> Podman" in bed.words(run)

    # In one move to another way, so that a port is published too.
    way = {"redis_container_transport": "published", "redis_container_port": 6390}
    with bed.alongside(host, "ws_stream", "--url", bed.CHAT, "--clients", "4") as figures:
        assert "currently runs in Docker, and will run in Podman" in ran("site", **way)
    print(f"To Podman: silent for {figures['longest_silence_seconds']} s, {figures['lost']} of {figures['due']} lost.")
    assert host.check_output("docker ps -aq") == ""
    [listening] = host.check_output("ss -Hltn sport = :6390").splitlines()
    assert listening.split()[3] == "127.0.0.1:6390"
    assert delivered(host)
    # It compares everything, and so stands for molecule's second run.
    again = bed.playbook("site", preflight_trust_proof=False, **way)
    assert (again.returncode, bed.changed(again)) == (0, 0), again.stdout


def test_remove_takes_it_away(host: Any) -> None:
    # Whatever the inventory says by now.
    ran("remove", redis_container_engine="docker")
    assert host.check_output("podman ps -aq; podman volume ls -q; docker ps -aq") == ""
    assert host.run(f"systemctl cat {UNIT}").rc != 0
    assert host.run("ls -d /etc/tethys_channels /var/lib/tethys_channels /run/tethys-channels-redis.cid").stdout == ""
    assert host.run("pgrep -x 'redis-server|conmon'").stdout == ""
    assert host.run("systemctl cat tethys_channels_watch").rc != 0
    # Not the shell that this very command runs in.
    assert host.run("pgrep -f '[a]sgi_watch.py'").stdout == ""
    assert bed.django_layers(host)["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"
