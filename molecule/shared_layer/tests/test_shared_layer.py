# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two portals on one Redis, then on two: all receive from all, strangers are refused, a cut has no lasting effect."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import bed
import pytest
from fleet import AUTHORITY, NETWORK, A, B, across, address, all_hear, cut, pids, server, settings_of

ONE, TWO = (f"{NETWORK}-{name}" for name in ("redis1", "redis2"))
CUT_SECONDS = 10


def redis_cli(host: str, *words: str, target: str = ONE) -> str:
    """What Redis says to that server, asked with the command line's client of the image."""
    mount = "-v /root/known:/known:ro"
    command = f"docker run --rm --network host {mount} --entrypoint redis-cli tethys-channels-test/redis:7.0"
    ran = server(host).run(f"{command} -h {address(target)} {' '.join(words)}")
    return " ".join((ran.stdout + ran.stderr).split())


def told_root(name: str, command: str) -> str:
    """What a shared Redis answers to root of its server."""
    host = server(name)
    kept = json.loads(host.check_output("cat /etc/tethys_channels/credentials.json"))
    login = f"--user tethys_admin --pass {kept['admin_password']} --no-auth-warning"
    tls = "--tls --cacert /etc/tethys-channels/ca.crt"
    return str(host.check_output(f"docker exec tethys-channels-redis redis-cli {tls} {login} {command}"))


# --- one Redis ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", [A, B])
def test_what_one_portal_sends_is_heard_on_both(sender: str) -> None:
    all_hear(sender)


def test_redis_answers_on_its_address_only_and_encrypted() -> None:
    host = server(ONE)
    listening = host.check_output("ss -Hltn sport = :6379 | awk '{print $4}'").split()
    assert listening == [f"{address(ONE)}:6379"]
    assert bed.daphnes(host) == []
    for name in (A, B):
        assert server(name).check_output("docker ps -q") == ""
    rights = host.check_output("stat -c '%a %U %n' /etc/tethys_channels /etc/tethys_channels/redis/redis.key").split()
    assert rights[0] == "700"
    assert rights[3] == "400"
    assert (AUTHORITY / "ca.key").stat().st_mode & 0o777 == 0o600


def test_strangers_are_refused() -> None:
    known = server(ONE).check_output("cat /etc/tethys_channels/redis/ca.crt")
    stranger = server(TWO)
    stranger.check_output(
        "mkdir -p /root/known && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other"
        " -keyout /root/other.key -out /root/known/other.crt 2>/dev/null"
    )
    stranger.check_output(f"cat > /root/known/ca.crt <<'END'\n{known}\nEND")
    tls = ("--tls", "--cacert", "/known/ca.crt")
    assert redis_cli(TWO, *tls, "ping").startswith("NOAUTH")
    wrong = redis_cli(TWO, *tls, "--user", "tethys", "--pass", "guessed", "--no-auth-warning", "ping")
    assert "WRONGPASS" in wrong
    assert "PONG" not in wrong
    assert "certificate verify failed" in redis_cli(TWO, "--tls", "--cacert", "/known/other.crt", "ping")
    plain = redis_cli(TWO, "ping")
    assert "PONG" not in plain
    assert re.search(r"closed|reset", plain, re.IGNORECASE), plain


def test_the_portals_have_one_list_of_hosts() -> None:
    assert settings_of(A)["hosts"] == settings_of(B)["hosts"]
    [host] = settings_of(A)["hosts"]
    assert host["address"] == f"rediss://{address(ONE)}:6379"
    authority = server(A).file(host["ssl_ca_certs"])
    assert (authority.user, authority.mode) == ("root", 0o644)


def test_check_tells_of_both_portals(tmp_path: Path) -> None:
    status = tmp_path / "status.json"
    run = bed.playbook("check", layer_check_status_on="controller", layer_check_status_json=str(status))
    assert run.returncode == 0, run.stdout
    said = bed.words(run)
    assert said.count("A run of tethys.channels.site would change nothing") == 2
    for name in (A, B):
        assert re.search(rf"{name}: Tethys \S+ channels_redis \S+ RedisPubSubChannelLayer at rediss://", said), said
    assert said.count("WebSockets received messages of 2 portals") == 2
    assert bed.changed(run) == 0
    rows = json.loads(status.read_text(encoding="utf-8"))
    assert [row["host"] for row in rows] == [A, B]
    for row in rows:
        sockets = row["between"]["sockets"]
        assert sockets > 0
        assert row["between"]["received"] == {A: sockets, B: sockets}


def test_no_secret_is_shown() -> None:
    """In the second run, which compares everything and changes nothing."""
    run = bed.playbook("site", "-vvv", "--diff")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    kept = json.loads(server(ONE).check_output("cat /etc/tethys_channels/credentials.json"))
    text = run.stdout + bed.decoded(run.stdout)
    for secret in (kept["password"], kept["admin_password"], "PRIVATE KEY"):
        assert secret not in text


def granted() -> set[str]:
    """The commands that the shared Redis lets the portals send."""
    [row] = [row for row in told_root(ONE, "acl list").splitlines() if row.startswith("user tethys ")]
    return {word for word in row.split() if word[0] == "+"}


def test_both_classes_are_let_in_until_the_last_portal_has_changed() -> None:
    """One portal gets the other class, as a run with --limit leaves it, and the next run brings it back."""
    started = server(ONE).check_output("docker inspect -f {{.State.StartedAt}} tethys-channels-redis")
    core, classes = "channels_redis.core.RedisChannelLayer", {"+bzpopmin", "+publish"}
    run = bed.playbook("site", "--limit", f"{A},{ONE}", tethys_layer_backend=core)
    assert run.returncode == 0, run.stdout
    assert "nor of another portal that has the other class." in bed.words(run)
    assert bed.django_layers(server(A))["default"]["BACKEND"] == core
    assert bed.django_layers(server(B))["default"]["BACKEND"] != core
    assert granted() & classes == classes
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    assert f"CHANNEL_LAYERS changes from {core} to" in bed.said(run, A)
    assert granted() & classes == {"+publish"}
    all_hear(A)
    all_hear(B)
    assert server(ONE).check_output("docker inspect -f {{.State.StartedAt}} tethys-channels-redis") == started


def test_the_network_is_cut_and_comes_back() -> None:
    """Nothing is restarted, and nobody does anything."""
    before = pids(A, B)
    found: list[dict[str, Any]] = []
    with cut(ONE):
        start = time.monotonic()
        listening = threading.Thread(target=lambda: found.append(across(A, "--until-all", "--timeout", "120")))
        listening.start()
        time.sleep(CUT_SECONDS)
    back = time.monotonic()
    listening.join()
    print(f"everybody heard {time.monotonic() - back:.1f} s after the network was back, {back - start:.0f} s away")
    [figures] = found
    assert figures["heard"] == {address(A): 12, address(B): 12}, f"{figures}"
    all_hear(B)
    assert before == pids(A, B)


def test_a_portal_that_cannot_reach_redis_is_refused() -> None:
    portal = server(B)
    before = bed.snapshot(portal)
    rule = f"OUTPUT -p tcp -d {address(ONE)} --dport 6379 -j DROP"
    portal.check_output(f"iptables -I {rule}")
    try:
        run = bed.playbook("site", "--limit", B)
    finally:
        portal.check_output(f"iptables -D {rule}")
    assert run.returncode != 0
    said = bed.words(run)
    assert f"The shared Redis at {address(ONE)}:6379 ({ONE}) cannot be reached (timed out), queried from this" in said
    assert "Refused; nothing was changed on this server." in said
    assert bed.snapshot(portal) == before


@pytest.mark.parametrize(
    ("variables", "sentences"),
    [
        (
            {"redis_container_address": "0.0.0.0", "redis_container_transport": "host"},
            [
                "redis_container_address is 0.0.0.0, which is every address of this server",
                "whose Redis answers other servers and so by tls only",
            ],
        ),
        (
            {"tethys_layer_hosts": [["127.0.0.1", 6379]], "redis_container_topology": "cluster"},
            [
                "tethys_layer_hosts is given, and the inventory has hosts for a Redis that the portals share",
                "redis_container_topology is cluster, and channels_redis cannot use a Redis Cluster",
            ],
        ),
    ],
    ids=["redis", "portals"],
)
def test_a_refused_run_changes_nothing(variables: dict[str, Any], sentences: list[str]) -> None:
    before = [bed.snapshot(server(name)) for name in (A, ONE)]
    run = bed.playbook("site", **variables)
    assert run.returncode != 0
    for sentence in sentences:
        assert sentence in bed.words(run)
    assert "Refused; nothing was changed." in run.stdout
    assert bed.changed(run) == 0
    assert [bed.snapshot(server(name)) for name in (A, ONE)] == before


def openssl(*words: str | Path) -> str:
    """What openssl says on the controller."""
    return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True).stdout


# --- two of them ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The run that takes a second Redis, while the certificate of the first one is about to end; what it said."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, request, names = AUTHORITY / f"{ONE}.crt", folder / "request", folder / "names"
    # A certificate with 50 days left, issued by the same CA for the same key and address.
    names.write_text(f"subjectAltName=IP:{address(ONE)}\n", encoding="utf-8")
    openssl("req", "-new", "-key", AUTHORITY / f"{ONE}.key", "-subj", "/CN=redis", "-out", request)
    authority = ("-CA", AUTHORITY / "ca.crt", "-CAkey", AUTHORITY / "ca.key", "-set_serial", "7")
    openssl("x509", "-req", "-in", request, *authority, "-days", "50", "-extfile", names, "-out", certificate)
    run = bed.playbook("site", tethys_layer_redis="two_redis")
    assert run.returncode == 0, run.stdout
    return bed.words(run)


def test_a_certificate_is_made_anew_before_it_ends(sharded: str) -> None:
    openssl("x509", "-in", AUTHORITY / f"{ONE}.crt", "-noout", "-checkend", str(700 * 86400))
    assert f"Redis on {ONE} gets another configuration or certificate and is replaced" in sharded
    all_hear(A)


def calls(name: str) -> int:
    """How many messages went through a Redis."""
    found = re.search(r"cmdstat_publish:calls=(\d+)", told_root(name, "info commandstats"))
    return int(found.group(1)) if found else 0


@pytest.mark.parametrize("sender", [A, B])
def test_100_groups_are_heard_through_two_redis(sharded: str, sender: str) -> None:
    before = [calls(name) for name in (ONE, TWO)]
    all_hear(sender, groups=100)
    more = [calls(name) - count for name, count in zip((ONE, TWO), before)]
    print(f"calls of PUBLISH on the two: {more}")
    assert min(more) > 20


def test_both_are_in_one_order(sharded: str) -> None:
    expected = [f"rediss://{address(name)}:6379" for name in (ONE, TWO)]
    assert [host["address"] for host in settings_of(A)["hosts"]] == expected
    assert settings_of(A)["hosts"] == settings_of(B)["hosts"]
    # They do not share a password.
    assert len({host["password"] for host in settings_of(A)["hosts"]}) == 2


def test_another_order_is_told_by_check(sharded: str) -> None:
    portal = server(B)
    first, second = address(ONE), address(TWO)
    swap = f"sed -i 's/{first}:/first:/; s/{second}:/{first}:/; s/first:/{second}:/' {bed.CONFIG}"
    portal.check_output(f"cp -p {bed.CONFIG} /root/kept && {swap}")
    try:
        run = bed.playbook("check", tethys_layer_redis="two_redis")
    finally:
        portal.check_output(f"cp -p /root/kept {bed.CONFIG}")
    assert run.returncode != 0
    said = bed.words(run).replace("''", "'")
    assert "CHANNEL_LAYERS in /var/lib/tethys/portal_config.yml is not what tethys.channels.site would write" in said
    assert "in another order a group's messages go to another Redis. Run tethys.channels.site." in said


def test_the_way_back(sharded: str) -> None:
    run = bed.playbook("remove", tethys_layer_redis="two_redis")
    assert run.returncode == 0, run.stdout
    for name in (A, B):
        assert server(name).run(f"cmp {bed.CONFIG} /root/portal_config.before").rc == 0
        assert not server(name).file("/var/lib/tethys_channels").exists
    for name in (ONE, TWO):
        assert server(name).check_output("docker ps -aq") == ""
        assert not server(name).file("/etc/tethys_channels").exists
