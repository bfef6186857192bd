# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary and two replicas: messages go on if any server dies, and a run does not override Sentinel."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bed
import pytest
from fleet import NETWORK, A, B, across, address, all_hear, cut, pids, server, settings_of

REDIS = [f"{NETWORK}-redis{number}" for number in (1, 2, 3)]
SECRETS = "/etc/tethys_channels/credentials.json"
# The file that ends the stream of messages.
STREAM = "/run/stream.stop"
# For how long every socket receives every message before a fault, and again before it counts as over.
BEFORE_SECONDS = 5
AFTER_SECONDS = 10
# The longest that a fault may last with nobody doing anything about it, and no more than the messages of so long may be
# missed by any socket. A quarter or a half of it is usual; the bound is for busy machines.
FAULT_SECONDS = 40
MOST_SECONDS = 35


def kept(name: str) -> dict[str, Any]:
    """The passwords that a server keeps."""
    found: dict[str, Any] = json.loads(server(name).check_output(f"cat {SECRETS}"))
    return found


def ask(name: str, *words: str, user: str = "tethys_admin", password: str = "", sentinel: bool = False) -> str:
    """Return the answer of a server's Redis or Sentinel to a command, with a login."""
    container, port = ("tethys-channels-sentinel", 26379) if sentinel else ("tethys-channels-redis", 6379)
    tls = "--tls --cacert /etc/tethys-channels/ca.crt"
    login = f"--user {user} --pass {password or kept(name)['admin_password']} --no-auth-warning" if user else ""
    ran = server(name).run(f"docker exec {container} redis-cli -p {port} {tls} {login} {' '.join(words)}")
    return " ".join((ran.stdout + ran.stderr).split())


def roles() -> dict[str, str]:
    """What each Redis says it is, and of whom."""
    return {name: " ".join(ask(name, "role").split()[:2]) for name in REDIS}


def primaries() -> dict[str, str]:
    """Return the primary that each server's Sentinel reports, or why it does not report one."""
    words = ("sentinel", "get-master-addr-by-name", "tethys-channels")
    return {name: ask(name, *words, sentinel=True) for name in REDIS}


def settled() -> str:
    """The primary, once every Sentinel has it for that and the others copy it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told, are = primaries(), roles()
        for name in REDIS:
            as_primary = set(told.values()) == {f"{address(name)} 6379"}
            if as_primary and list(are.values()).count(f"slave {address(name)}") == len(REDIS) - 1:
                return name
        time.sleep(1)
    raise AssertionError(f"the sentinels tell {told}, and the servers are {are}")


def whole(seconds: float, within: float) -> None:
    """Wait until every socket has received every message of so many seconds; the figures show where it did not."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if float(server(A).run(f"cat {STREAM}.whole").stdout or 0) >= seconds:
            return
        time.sleep(0.5)


def replaced(name: str) -> None:
    """Wait until most sentinels have another primary than that one."""
    end = time.monotonic() + FAULT_SECONDS
    while time.monotonic() < end:
        others = [told for told in primaries().values() if told.endswith(" 6379") and address(name) not in told]
        if len(others) > len(REDIS) / 2:
            return
        # Each look starts six programs on the servers, beside which Sentinel is at work.
        time.sleep(1)
    raise AssertionError(f"{name} is still the primary after {FAULT_SECONDS} s: {primaries()}")


@contextmanager
def stream() -> Iterator[dict[str, Any]]:
    """Send ten messages a second to four WebSockets on each portal; then give what was not received by all."""
    found: dict[str, Any] = {}
    stop = STREAM
    server(A).check_output(f"rm -f {stop} {stop}.whole")
    talking = threading.Thread(target=lambda: found.update(across(A, "--stream", stop, "--groups", "4")), daemon=True)
    talking.start()
    try:
        # The sockets of five servers that have just been busy may take a while to open.
        whole(BEFORE_SECONDS, 60)
        yield found
        # The figures are checked for what was missed.
        whole(AFTER_SECONDS, FAULT_SECONDS)
    finally:
        server(A).check_output(f"touch {stop}")
        talking.join()


def judge(what: str, figures: dict[str, Any]) -> None:
    """Print the figures of a stream, and check that all messages arrived again in time and to the end."""
    print(f"{what}: {json.dumps(figures)}")
    assert figures["sockets"] == 8
    # Ten a second. One that was missed long before the rest, by a page that connected again, is no longer silence.
    assert figures["refused_to_the_sender"] + figures["not_heard_by_all"] < 10 * MOST_SECONDS
    assert (figures["from"] or 0) + figures["seconds"] < figures["messages"] / 10 - AFTER_SECONDS / 2


@pytest.mark.parametrize("sender", [A, B])
def test_what_one_portal_sends_is_heard_on_both(sender: str) -> None:
    all_hear(sender)


def test_one_serves_and_the_others_copy_it() -> None:
    assert settled() == REDIS[0]
    for name in REDIS:
        listening = (
            server(name).check_output("ss -Hltn '( sport = :6379 or sport = :26379 )' | awk '{print $4}'").split()
        )
        assert sorted(listening) == [f"{address(name)}:{port}" for port in (26379, 6379)]
        assert server(name).check_output("stat -c '%a %u' /etc/tethys_channels/sentinel") == "700 16379"
    [entry] = settings_of(A)["hosts"]
    assert entry["sentinels"] == [[address(name), 26379] for name in REDIS]
    assert settings_of(A) == settings_of(B)
    # Portals get in wherever the primary is, and root of one server not on another.
    assert len({kept(name)["password"] for name in REDIS}) == 1
    assert len({kept(name)["admin_password"] for name in REDIS}) == len(REDIS)


def test_a_sentinel_lets_nobody_in_but_portals_and_its_like() -> None:
    name, password = REDIS[0], kept(REDIS[0])["password"]
    assert "NOAUTH" in ask(name, "sentinel", "masters", user="", sentinel=True)
    assert "WRONGPASS" in ask(name, "ping", user="tethys", password="guessed", sentinel=True)
    portal = {"user": "tethys", "password": password, "sentinel": True}
    assert ask(name, "sentinel", "get-master-addr-by-name", "tethys-channels", **portal).endswith(" 6379")
    for words in (
        ("sentinel", "failover", "tethys-channels"),
        ("sentinel", "remove", "tethys-channels"),
        ("acl", "list"),
    ):
        assert "NOPERM" in ask(name, *words, **portal)
    plain = server(name).run(
        f"docker run --rm --network host --entrypoint redis-cli tethys-channels-test/redis:7.0 -h {address(name)} -p"
        " 26379 ping"
    )
    assert "PONG" not in plain.stdout


def test_check_tells_of_the_sentinels() -> None:
    run = bed.playbook("check")
    assert run.returncode == 0, run.stdout
    said = bed.words(run)
    assert said.count(f"the primary is {address(REDIS[0])}:6379") == 2 * len(REDIS)
    assert said.count("A run of tethys.channels.site would change nothing") == 2


def test_no_secret_is_shown() -> None:
    """In the second run, which compares everything and changes nothing."""
    run = bed.playbook("site", "-vvv", "--diff")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    text = run.stdout + bed.decoded(run.stdout)
    secrets = {value for name in REDIS for value in kept(name).values() if isinstance(value, str)}
    assert len(secrets) == 2 + len(REDIS)
    for secret in [*secrets, "PRIVATE KEY"]:
        assert secret not in text


def test_a_primary_that_is_killed() -> None:
    """Nobody does anything, and no process of a portal is restarted."""
    before, name = pids(A, B), settled()
    with stream() as figures:
        server(name).check_output("kill -9 $(docker inspect -f '{{.State.Pid}}' tethys-channels-redis)")
        replaced(name)
    judge("primary killed", figures)
    assert settled() != name
    all_hear(B)
    assert pids(A, B) == before


def test_a_primary_whose_server_is_gone() -> None:
    before, name = pids(A, B), settled()
    with stream() as figures:
        start = time.monotonic()
        with cut(name):
            replaced(name)
            # While it is still gone.
            whole(AFTER_SECONDS, FAULT_SECONDS)
        gone = time.monotonic() - start
        # What it does when it is back must not disturb anything either.
        time.sleep(AFTER_SECONDS)
    judge(f"server gone for {gone:.0f} s", figures)
    after = settled()
    assert after != name
    assert pids(A, B) == before
    # It does not fight Sentinel: the primary stays, though it is not the first by name.
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    assert settled() == after
    all_hear(A)


def test_a_sentinel_that_is_down_is_told_and_most_of_them_refused() -> None:
    first, second, _third = REDIS
    stop, start = "docker stop -t 2 tethys-channels-sentinel", "docker start tethys-channels-sentinel"
    try:
        server(first).check_output(stop)
        run = bed.playbook("check", tethys_hosts=A)
        assert run.returncode != 0
        assert f"Sentinel at {address(first)}:26379 ({first}) does not answer" in bed.words(run)
        server(second).check_output(stop)
        before = [bed.snapshot(server(name)) for name in (A, *REDIS)]
        run = bed.playbook("site")
        said = bed.refusal(run)
        assert f"Of 3 sentinels 1 answers (on {first} it does not answer" in said
        assert "start them there (`docker start tethys-channels-sentinel`), and run again." in said
        assert [bed.snapshot(server(name)) for name in (A, *REDIS)] == before
        portal = bed.playbook("site", "--limit", A)
        assert "Of 3 sentinels 1 can report the primary to this portal" in bed.words(portal)
    finally:
        for name in (first, second):
            server(name).check_output(start)
    settled()


def test_another_configuration_goes_from_server_to_server() -> None:
    before, name = pids(A, B), settled()
    with stream() as figures:
        run = bed.playbook("site", redis_container_memory_mb=200)
    assert run.returncode == 0, run.stdout
    assert figures["opened_again"] > 0
    assert f"Redis on {name} gets another configuration or certificate and is replaced" in bed.words(run)
    judge("another configuration", figures)
    assert settled() != name
    for each in REDIS:
        assert ask(each, "config", "get", "maxmemory").endswith(str(150 * 2**20))
    # Who listens was copied, so no process had to be restarted.
    assert pids(A, B) == before


def test_another_password_is_known_to_all() -> None:
    old = kept(REDIS[0])["password"]
    run = bed.playbook("site", redis_container_rotate=True, redis_container_memory_mb=200)
    assert run.returncode == 0, run.stdout
    [new] = {kept(name)["password"] for name in REDIS}
    assert new != old
    all_hear(A)
    for name in REDIS:
        for sentinel in (False, True):
            assert ask(name, "ping", user="tethys", password=new, sentinel=sentinel) == "PONG"
            assert "WRONGPASS" in ask(name, "ping", user="tethys", password=old, sentinel=sentinel)
            # Also in the file that a restarted server would read.
            folder = "sentinel" if sentinel else "redis"
            users = server(name).check_output(f"cat /etc/tethys_channels/{folder}/*.conf | grep '^user tethys '")
            assert len(re.findall(r"#[0-9a-f]{64}", users)) == 1


def test_the_way_back() -> None:
    run = bed.playbook("remove")
    assert run.returncode == 0, run.stdout
    for name in (A, B):
        assert server(name).run(f"cmp {bed.CONFIG} /root/portal_config.before").rc == 0
    for name in REDIS:
        assert server(name).check_output("docker ps -aq") == ""
        assert not server(name).file("/etc/tethys_channels").exists
