# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Redis in production: a new password and a new image, while 50 messages a second are sent."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bed
import pytest

CHAT = bed.CHAT.replace(":8000", "")
# channels_redis takes a message out of Redis and only then puts it in safety (core.py, _brpop_with_clean; issue 1683 of
# django/channels). Where a socket of the process ends in between, such as one of the delivery check's, its other
# sockets miss that message. A portal on which sockets come and go loses them too, while no playbook runs.
MISSED = 5
OLD, NEW = "tethys-channels-test/redis:7.0", "tethys-channels-test/redis:8.0"


def show(what: str, figures: dict[str, Any]) -> None:
    """Print what the run of the tests keeps."""
    print(f"\n{what}: {json.dumps(figures)}")


def site(*arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run the site playbook, which has to end well."""
    run = bed.playbook("site", *arguments, **variables)
    assert run.returncode == 0, run.stdout
    return run


@contextmanager
def stream(host: Any, *arguments: str) -> Iterator[dict[str, Any]]:
    """Messages through nginx as long as the block runs; at its end, what is given holds their figures."""
    stop, told = "/run/stream.stop", "/run/stream.json"
    words = ("--url", CHAT, "--clients", "8", "--speakers", "2", "--stop", stop, *arguments)
    command = f"exec {bed.PREFIX}/bin/python -B /opt/clients/ws_stream.py {' '.join(words)} > {told}"
    host.check_output(f"rm -f {stop} && systemd-run --quiet --unit stream sh -c {shlex.quote(command)}")
    # It speaks once all sockets are open.
    time.sleep(3)
    figures: dict[str, Any] = {}
    try:
        yield figures
    finally:
        ended = "while systemctl is-active -q stream; do sleep 0.2; done; systemctl reset-failed stream 2>/dev/null"
        text = host.run(f"touch {stop}; timeout 60 sh -c {shlex.quote(ended)}; cat {told}").stdout
    assert text.startswith("{"), text + host.run("journalctl -u stream --no-pager | tail -50").stdout
    figures.update(json.loads(text))


def container(host: Any) -> dict[str, Any]:
    """Return what Docker reports of the container."""
    [found] = json.loads(host.check_output("docker inspect tethys-channels-redis"))
    return dict(found)


def password(host: Any) -> str:
    """The portal's password."""
    return str(bed.secrets(host)[0])


def opens(host: Any, word: str) -> bool:
    """Whether Redis lets the portal in with this password."""
    answer = bed.redis(host, "PING", user="tethys", password=word)
    assert answer == "PONG" or "WRONGPASS" in answer or "NOAUTH" in answer, answer
    return answer == "PONG"


def opening(host: Any) -> int:
    """How many passwords open, in the server that runs and in the file that it reads when it starts again."""
    admin = bed.secrets(host)[1]
    texts = (
        bed.redis(host, "ACL", "LIST", user="tethys_admin", password=admin),
        host.check_output("cat /etc/tethys_channels/redis/redis-unix.conf"),
    )
    rows = (next(line for line in text.splitlines() if line.startswith("user tethys ")) for text in texts)
    live, file = (sorted(word for word in row.split() if word.startswith("#")) for row in rows)
    assert live == file
    return len(file)


@pytest.fixture(scope="module", autouse=True)
def settled(host: Any, production: dict[str, Any]) -> None:
    """The portal as these tests have it."""
    assert opening(host) == 1


@contextmanager
def watched(host: Any) -> Iterator[None]:
    """Keep, for `betrayed`, every command line that is seen while the block runs."""
    loop = "touch /root/since; while :; do ps -eo args -ww; sleep 0.2; done > /root/commands"
    host.check_output(f"systemd-run --quiet --unit commands sh -c {shlex.quote(loop)}")
    try:
        yield
    finally:
        host.check_output("systemctl stop commands")


def betrayed(host: Any, secrets: list[str]) -> str:
    """Where a secret was to be read: in a command line, or in a file, written since, that anybody can read."""
    words = shlex.quote("\n".join(secrets) + "\n")
    assert "daphne" in host.check_output("cat /root/commands")
    everybodys = "find / -xdev -newer /root/since -type f -perm -o=r -not -path '/proc/*' -not -path '/sys/*' -print0"
    look = f"{{ printf '/root/commands\\0'; {everybodys}; }} | xargs -0 grep -lFf /root/secrets"
    return str(
        host.run(
            f"umask 077; printf %s {words} > /root/secrets; chmod 600 /root/commands; {look}; rm /root/secrets"
        ).stdout
    )


def test_a_dry_run_tells_of_the_new_password_and_makes_none(host: Any) -> None:
    """Where a worker runs that needs the core class, the default is that class."""
    before, was = bed.snapshot(host), password(host)
    manage = host.check_output(f"ls {bed.PREFIX}/lib/python3*/site-packages/tethys_portal/manage.py")
    command = f"{bed.PREFIX}/bin/python {manage} runworker thumbnails"
    kept = f"-E TETHYS_HOME={bed.HOME} -E PYTHONDONTWRITEBYTECODE=1"
    with bed.during(host, f"systemd-run -q --unit worker {kept} {command}", "systemctl stop worker"):
        default = {"tethys_layer_backend": "auto", "portal_config_layer_options": {}}
        run = site("--check", "--diff", redis_container_rotate=True, **default)
    assert bed.changed(run) >= 4, run.stdout
    said = bed.words(run).replace("''", "'")
    assert "Redis gets a new password" in said
    worker = rf"{command} \(process \d+ of root\)"
    assert re.search(rf"Redis will refuse the old password, .* portal_config.yml: {worker}\. Restart", said), said
    reason = "a worker receives from a channel by its name, which needs the core class"
    chosen = "so the layer's class is channels_redis.core.RedisChannelLayer"
    assert re.search(rf"tethys_layer_backend is auto: {reason}: {worker}, {chosen}\.", said), said
    assert "CHANNEL_LAYERS changes from" not in said
    assert (bed.snapshot(host), password(host), opening(host)) == (before, was, 1)


def test_a_new_password_refuses_nobody(host: Any) -> None:
    before, was = container(host), password(host)
    with watched(host), stream(host) as figures:
        run = site("--diff", "-vvv", redis_container_rotate=True)
    show("new password of Redis", figures)
    assert figures["due"] > 5000, figures
    assert figures["refused"] == 0, figures
    assert figures["lost_messages"] <= MISSED, figures
    # The sockets of each process are closed once, when it restarts, and opened again elsewhere.
    assert figures["reopened"] == sum(figures["closed"].values()) >= 8, figures
    assert len(set(figures["pids"])) >= 3
    after = container(host)
    assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
    now = password(host)
    assert (now != was, opens(host, now), opens(host, was), opening(host)) == (True, True, False, 1)
    assert now in json.dumps(bed.django_layers(host))
    text = run.stdout + bed.decoded(run.stdout)
    secrets = [was, *bed.secrets(host)]
    assert [secret for secret in secrets if secret in text] == []
    assert betrayed(host, secrets) == ""
    # The search can see.
    assert betrayed(host, ["daphne"]).startswith("/root/commands")
    assert bed.changed(site()) == 0


def test_a_rotation_that_was_stopped_is_ended_by_the_next(host: Any) -> None:
    first = password(host)
    with stream(host) as figures:
        site("--tags", "redis_container", redis_container_rotate=True)
        second = password(host)
        assert opens(host, first)
        assert opens(host, second)
        assert opening(host) == 2
        # Killed with its remote module, once it has made a third.
        kill_when(host, third_is_made, redis_container_rotate=True)
        assert opening(host) == 3
        third = password(host)
        assert len({first, second, third}) == 3
        assert opens(host, first)
        run = bed.playbook("check")
        assert run.returncode != 0
        assert "the configuration, the credentials or the socket's folder of Redis" in " ".join(run.stdout.split()), (
            run.stdout
        )
        site()
    show("new password of Redis, the run killed", figures)
    assert figures["refused"] == 0, figures
    assert figures["lost_messages"] <= MISSED, figures
    assert [opens(host, word) for word in (first, second, third)] == [False, False, True]
    assert opening(host) == 1


def third_is_made(host: Any) -> bool:
    """Whether two passwords were followed by another."""
    kept = json.loads(host.check_output("cat /etc/tethys_channels/credentials.json"))
    return len(kept.get("previous", [])) == 2


def kill_when(host: Any, happened: Any, **variables: Any) -> None:
    """Run the site playbook, and kill it and what it runs on the server some moments after something happened."""
    command = bed.command("site", **variables)
    run = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + 300
        while not happened(host):
            assert run.poll() is None
            assert time.monotonic() < end
            time.sleep(0.3)
        time.sleep(4)
        assert run.poll() is None, "the run was over before it could be killed"
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    host.run("for pid in $(pgrep -f '[A]nsiballZ|[a]nsible_module'); do kill -9 $pid; done")


def test_a_password_of_ones_own_and_a_redis_that_starts_again_in_between(host: Any) -> None:
    before, was, mine = container(host)["Id"], password(host), "only-for-this-test"
    run = site("--tags", "redis_container", redis_container_password=mine)
    assert mine not in run.stdout
    host.check_output("docker restart -t 2 tethys-channels-redis")
    assert [opens(host, word) for word in (was, mine)] == [True, True]
    assert opening(host) == 2
    # Redis is changed by hand at runtime: each run reads its users, too.
    admin = bed.secrets(host)[1]
    assert bed.redis(host, "ACL", "SETUSER", "tethys", f"'<{mine}'", user="tethys_admin", password=admin) == "OK"
    assert not opens(host, mine)
    # It is kept, so that a run without it finds it.
    site()
    assert [opens(host, word) for word in (was, mine)] == [False, True]
    assert opening(host) == 1
    assert container(host)["Id"] == before


def test_a_new_image_is_announced_and_heard_through_again(host: Any) -> None:
    was = password(host)
    with stream(host) as figures:
        run = site(redis_container_image=NEW)
    events = host.check_output(
        "docker events --since 15m --until 0s --filter container=tethys-channels-redis"
        " --format '{{.TimeNano}} {{.Action}}'"
    )
    times = {action: int(nano) for nano, action in (line.split()[:2] for line in events.splitlines())}
    figures["redis_away_seconds"] = round((times["start"] - times["kill"]) / 1e9, 2)
    show("new image of Redis", figures)
    told = " ".join(run.stdout.split())
    assert f"The Redis container runs {OLD} and redis_container_image is {NEW}: it is replaced" in told
    assert container(host)["Config"]["Image"] == NEW
    assert (password(host), opening(host)) == (was, 1)
    # Every client that was connected at that moment has reconnected, and all of them receive messages.
    assert figures["longest_silence_seconds"] < 20, figures
    assert figures["heard_by_nobody"] < 500, figures
    found = bed.client(host, "ws_fanout", "--url", CHAT, "--host-header=portal.example.org", "--clients", "12")
    assert found["delivered"] == 12


def test_remove_in_the_middle_of_a_rotation_leaves_what_came_first(host: Any) -> None:
    """The last one, since it takes the layer away: what was there before the very first run is back."""
    site("--tags", "redis_container", redis_container_image=NEW, redis_container_rotate=True)
    run = bed.playbook("remove")
    assert run.returncode == 0, run.stdout
    assert host.run(f"cmp /root/portal_config.before {bed.CONFIG}").rc == 0
    assert not host.file("/etc/tethys_channels").exists
    assert host.check_output("docker ps -aq") == ""
