# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that servers really have: what serves on, how long until every process receives again, what repairs it.

The tests stand in their order. Faults that do not hide each other are there at once, and one run repairs them.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bed
import pytest

THROUGH_NGINX = "ws://127.0.0.1/apps/channelchat/chat/ws/"
UPSTREAM = "grep -A6 'upstream channels-backend' /etc/nginx/sites-available/tethys"


def delivers(host: Any) -> bool:
    """Whether a message reaches everybody, over both processes, through nginx."""
    # The client takes half a second of CPU time to start, so it is not started while nobody answers.
    answers = "curl -sf -m 20 -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/"
    command = f"{bed.PREFIX}/bin/python -B /opt/clients/ws_fanout.py --clients 6 --processes 2 --timeout 3"
    return bool(host.run(f"{answers} && timeout 20 {command} --url {THROUGH_NGINX}").rc == 0)


def until(what: Callable[[], bool], seconds: float) -> float:
    """The seconds until something is so."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, f"Not so after {seconds} s."
        time.sleep(0.2)
    return round(time.monotonic() - start, 1)


def recovered(host: Any, fault: str, seconds: float = 60) -> None:
    """Wait until delivery is whole again, with no one's help, and print how long it took."""
    print(f"\n{fault}: every process hears again after {until(lambda: delivers(host), seconds)} s")


def heals() -> None:
    """Run site, which has to succeed, with its delivery check."""
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout


def daphne_pid(host: Any, number: int) -> int:
    return int(host.check_output(f"supervisorctl pid tethys_asgi{number}"))


@pytest.fixture(scope="module", autouse=True)
def portal(production: dict[str, Any]) -> None:
    """The portal as these tests have it."""


def test_redis_dies_and_a_process_is_stopped_dead(host: Any) -> None:
    host.check_output("kill -9 $(pidof redis-server)")
    recovered(host, "Redis killed")
    # The sockets that were open have lost their groups; a run finds the processes that hold them.
    pids = {daphne_pid(host, number) for number in (0, 1)}
    # The watch would kill it after 40 s.
    host.check_output(f"systemctl stop tethys_channels_watch && kill -STOP {daphne_pid(host, 1)}")
    run = bed.playbook("check")
    assert run.returncode != 0, "Sockets that hear nothing any more are not well."
    assert "lost their groups" in bed.words(run), run.stdout
    assert "tethys_asgi1 is stopped by a signal" in bed.words(run), run.stdout
    start = time.monotonic()
    heals()
    assert host.service("tethys_channels_watch").is_running
    print(f"\nAn ASGI process stopped dead: a run of site brings it back in {time.monotonic() - start:.0f} s")
    assert not pids & {daphne_pid(host, number) for number in (0, 1)}
    assert delivers(host)


def test_the_engine_is_restarted_and_redis_stopped_by_hand(host: Any) -> None:
    host.check_output("systemctl restart docker")
    recovered(host, "Docker's engine restarted")
    host.check_output("docker stop tethys-channels-redis")
    run = bed.playbook("check")
    assert run.returncode != 0
    assert "is stopped, and tethys.channels.site starts it" in bed.words(run), run.stdout
    heals()
    assert delivers(host)


def test_a_process_is_killed(host: Any) -> None:
    with bed.load(host, "--connections", "4") as figures:
        host.check_output(f"kill -9 {daphne_pid(host, 1)}")
        recovered(host, "An ASGI process killed")
    print(f"meanwhile: {figures['requests']} requests, {figures['failed']} failed")
    # What it had in hand is lost; the other process serves.
    assert figures["failed"] <= 8
    assert figures["requests"] > figures["failed"]


def test_the_server_is_rebooted(host: Any) -> None:
    subprocess.run(["docker", "restart", "-t", "20", host.backend.get_hostname()], check=True, capture_output=True)
    recovered(host, "The server rebooted", 120)
    # After it, and after the killed process, a run ends well.
    heals()


@contextmanager
def full(host: Any, folder: str) -> Iterator[None]:
    """Put a folder on a separate disk, which is full."""
    size = f"$(($(du -sm {folder} | cut -f1) + 1))m"
    host.check_output(f"cp -a {folder} {folder}.kept && mount -t tmpfs -o size={size} tmpfs {folder}")
    # What is left is filled to the last byte, and dd fails for it.
    host.run(
        f"cp -a {folder}.kept/. {folder}/; cd {folder}; dd if=/dev/zero of=fill bs=4k; dd if=/dev/zero of=rest bs=1"
    )
    try:
        yield
    finally:
        host.check_output(f"umount -l {folder} && rm -rf {folder}.kept")


def test_no_space_for_what_is_remembered(host: Any) -> None:
    """A run that cannot write its state changes nothing else, and reports why."""
    before = host.check_output(f"sha256sum {bed.CONFIG}")
    with full(host, "/etc/tethys_channels"):
        run = bed.playbook("site", redis_container_rotate=True)
        assert run.returncode != 0
        assert re.search("No space left on device|disk is full", run.stdout), run.stdout
        assert host.check_output(f"sha256sum {bed.CONFIG}") == before
        assert delivers(host)


def test_no_space_for_the_setting(host: Any) -> None:
    """The file stays complete and unchanged."""
    with full(host, bed.HOME):
        before = host.check_output(f"sha256sum {bed.CONFIG}")
        run = bed.playbook("site", portal_config_layer_options={"capacity": 150})
        assert run.returncode != 0
        assert re.search("No space left on device|disk is full", run.stdout), run.stdout
        assert host.check_output(f"sha256sum {bed.CONFIG}") == before
        left = set(host.check_output(f"ls -A {bed.HOME}").split())
        assert left == {"fill", "rest", *host.check_output(f"ls -A {bed.HOME}.kept").split()}


def test_no_space_in_the_log_folder(host: Any) -> None:
    """The processes serve on; what they would log is lost."""
    host.check_output("supervisorctl stop tethys_asgi0 tethys_asgi1")
    with full(host, "/var/log/tethys_channels"):
        host.check_output("supervisorctl start tethys_asgi0 tethys_asgi1")
        recovered(host, "No space for logs")
        assert bed.playbook("restart").returncode == 0
        host.check_output("supervisorctl stop tethys_asgi0 tethys_asgi1")
    host.check_output("supervisorctl start tethys_asgi0 tethys_asgi1")
    recovered(host, "Space for logs again")
    # After each of the three full disks.
    heals()


def start_site(**variables: Any) -> subprocess.Popen[str]:
    """Start a run in a separate process group, which can be killed with all that it has started here."""
    return subprocess.Popen(
        bed.command("site", **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


KILLED = [
    # What it leaves is repaired by the last run only: those in between are killed before they come to it.
    ("asgi_service : Update Supervisor program and ASGI processes", "true"),
    ("redis_container : Run the Redis container", "docker rm -f tethys-channels-redis"),
    (
        "channels_redis : Install packages in the environment",
        f"{bed.PREFIX}/bin/pip uninstall -q -y channels_redis redis",
    ),
    ("portal_config : Set CHANNEL_LAYERS", "true"),
]


@pytest.mark.parametrize("number", range(len(KILLED)))
def test_a_run_is_killed(host: Any, number: int) -> None:
    """Killed in each phase, with what it has just started on the server; the next one begins where it was left."""
    task, before = KILLED[number]
    host.check_output(before)
    config = host.check_output(f"sed /CHANNEL_LAYERS/,\\$d {bed.CONFIG}")
    # Another setting each time, so that each of them has one to write.
    options = {"capacity": 150 + number}
    with start_site(tethys_asgi_processes=3, portal_config_layer_options=options) as run:
        assert run.stdout
        for line in run.stdout:
            if line.startswith("TASK") and task in line:
                time.sleep(0.5)
                assert run.poll() is None
                os.killpg(run.pid, signal.SIGKILL)
                host.run("pkill -9 -f '[A]nsiballZ|[/]opt/conda/envs/tethys/bin/pip'")
                break
        else:
            pytest.fail(f"The run has no task '{task}'.")
    assert host.check_output(f"sed /CHANNEL_LAYERS/,\\$d {bed.CONFIG}") == config
    assert host.run(f"curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/ && {UPSTREAM}").rc == 0


def test_a_run_ends_what_the_killed_ones_began(host: Any) -> None:
    heals()
    assert delivers(host)


def test_two_runs_at_once(host: Any) -> None:
    """They wait for each other where they would be in each other's way, and the portal serves all the while."""
    with bed.load(host, "--connections", "2") as figures:
        runs = [start_site(tethys_asgi_processes=number) for number in (3, 2)]
        said = [run.communicate(timeout=300)[0] for run in runs]
    print(f"\nTwo runs at once: {figures['requests']} requests, {figures['failed']} failed")
    assert figures["failed"] == 0
    assert not any("Traceback" in text for text in said), said
    assert any(run.returncode == 0 for run in runs), said
    heals()
    assert delivers(host)


def test_nothing_is_left_to_do(host: Any) -> None:
    """After all of that the server is as if nothing had happened, also to a run that compares everything."""
    run = bed.playbook("site", preflight_trust_proof=False)
    assert (run.returncode, bed.changed(run)) == (0, 0), run.stdout
    check = bed.playbook("check")
    assert check.returncode == 0, check.stdout
    assert host.check_output("ls /run/tethys").split() == [
        f"tethys_asgi_{port}.sock{lock}" for port in (8000, 8001) for lock in ("", ".lock")
    ]
    assert host.run("ls -A /etc/nginx/sites-available /etc/nginx | grep tethys_channels").stdout == ""
