# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`tethys.channels.check` in each state of a server: its verdict, its exit code, and that it changes nothing.

Named so that it runs before test_default.py, whose delivery and dry run show that each state was put back.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import bed
import pytest

N = 3
STATUS, METRICS, PAGE_FILE = (f"/run/tethys_status.{kind}" for kind in ("json", "prom", "html"))
PAGE = "TASK [tethys.channels.layer_check : Report the layer's state]"
WRONG = "TASK [tethys.channels.layer_check : Fail if a problem was found]"
REDIS = "tethys-channels-redis"
# Until Redis answers again, and the processes.
PING = f"docker exec {REDIS} redis-cli -s /run/tethys-channels/redis.sock ping"
WAIT_REDIS = f"timeout 30 sh -c 'until {PING} 2>&1 | grep -q NOAUTH; do sleep 0.5; done'"
# Supervisor's state alone says nothing of a process that is still starting: each has a separate socket.
WAIT_PROCESSES = (
    "timeout 60 sh -c 'for i in 0 1 2; do until curl -s -o /dev/null --unix-socket /run/tethys/tethys_asgi$i.sock"
    " http://portal.example.org/; do sleep 0.5; done; done'"
)
RESTART = f"supervisorctl restart asgi:* && {WAIT_PROCESSES}"
RESTART_TWO = f"supervisorctl restart asgi:tethys_asgi0 asgi:tethys_asgi1 && {WAIT_PROCESSES}"
FIRST = "$(supervisorctl pid asgi:tethys_asgi0)"
# A file of another time, as an editor leaves it.
EDIT = f"cp -p {bed.CONFIG} /root/kept && sed -i '{{}}' {bed.CONFIG}"
BACK = f"cp -p /root/kept {bed.CONFIG} && rm /root/kept"


class State(NamedTuple):
    """A state of the server, and what the page is to say of it; each of `problems` begins one sentence, in order."""

    before: str
    problems: list[str]
    after: str


ALL = "asgi:tethys_asgi0, asgi:tethys_asgi1 and asgi:tethys_asgi2"
AT_REDIS = f"The layer's Redis at {bed.SOCKET}"
PROGRAM = "/etc/supervisor/conf.d/asgi_supervisord.conf"
STATES = {
    "a process frozen, and one stopped": State(
        # The watch would kill the frozen process after 40 s.
        f"systemctl stop tethys_channels_watch && kill -STOP {FIRST} && supervisorctl stop asgi:tethys_asgi1",
        [
            "The watch (asgi_service_watch) does not run, so no process that hangs is killed. Run tethys.channels.site",
            "asgi:tethys_asgi1 is STOPPED: run tethys.channels.restart, which starts it.",
            "asgi:tethys_asgi0 is stopped by a signal, and no answer comes from it: `kill -CONT ",
        ],
        f"kill -CONT {FIRST} && supervisorctl start asgi:tethys_asgi1 && {WAIT_PROCESSES}"
        " && systemctl start tethys_channels_watch",
    ),
    "Redis full": State(
        "python3 /root/fill.py",
        [
            f"{AT_REDIS} uses 19",
            f"{AT_REDIS} refused 1 write since its start",
        ],
        # It forgets the user that filled it. Messages pass all the while: the pub/sub class stores none.
        f"docker restart {REDIS} && {WAIT_REDIS}",
    ),
    "Redis and a process stopped": State(
        f"docker stop {REDIS} && supervisorctl stop asgi:tethys_asgi1",
        [
            f"{AT_REDIS} cannot be reached (container {REDIS} does not run): its container {REDIS} is stopped, and"
            " tethys.channels.site starts it.",
            "asgi:tethys_asgi1 is STOPPED: run tethys.channels.restart",
        ],
        f"docker start {REDIS} && {WAIT_REDIS} && {RESTART}",
    ),
    "another class in CHANNEL_LAYERS": State(
        EDIT.format("s/pubsub[.]RedisPubSubChannelLayer/core.RedisChannelLayer/"),
        [
            f"{ALL} run with settings or packages older than those on disk: run tethys.channels.site.",
            f"CHANNEL_LAYERS in {bed.CONFIG} is not what tethys.channels.site would write (the class changes from"
            " channels_redis.core.RedisChannelLayer to channels_redis.pubsub.RedisPubSubChannelLayer): run it,",
            "Nothing can be sent through the channel layer with the portal's settings",
        ],
        BACK,
    ),
    "a process outdated, and the program changed by hand": State(
        EDIT.format("s/# students ask by e-mail/# students ask by phone/")
        + f" && {RESTART_TWO}"
        + f" && sed -i.kept s/^stopwaitsecs=.*/stopwaitsecs=99/ {PROGRAM}",
        [
            "asgi:tethys_asgi2 runs with settings or packages older than those on disk: run tethys.channels.restart.",
            f"tethys.channels.site would change {PROGRAM} (it has another text): run it, with --check --diff",
        ],
        # The third process has never read the other text.
        f"mv {PROGRAM}.kept {PROGRAM} && {BACK} && {RESTART_TWO}",
    ),
    "a folder of programs that everybody can change, and a program of alice's": State(
        "useradd alice && chmod o+w /etc/supervisor/conf.d && mkdir /srv/alice && touch /srv/alice/job.conf"
        " && chown -R alice /srv/alice && ln -s /srv/alice/job.conf /etc/supervisor/conf.d/job.conf",
        [
            "Supervisor runs as root and reads /etc/supervisor/conf.d and 2 more, and every user can change"
            " /etc/supervisor/conf.d. Run `chmod o-w /etc/supervisor/conf.d`.",
            "Supervisor runs as root and reads /etc/supervisor/conf.d/job.conf, and its owner alice can change"
            " /srv/alice, to which the link /etc/supervisor/conf.d/job.conf leads. Read that file, then run"
            " `cp --remove-destination /srv/alice/job.conf /etc/supervisor/conf.d/job.conf`",
        ],
        "chmod o-w /etc/supervisor/conf.d && rm -r /etc/supervisor/conf.d/job.conf /srv/alice && userdel alice",
    ),
}
# Run on the server: a user that the admin makes fills the memory, until a write is refused.
FILL = """
import json, subprocess
kept = json.load(open("/etc/tethys_channels/credentials.json"))
command = ["docker", "exec", "-i", "tethys-channels-redis", "redis-cli", "-s", "/run/tethys-channels/redis.sock"]
command += ["--no-auth-warning"]
admin, filler = (["--user", "tethys_admin", "--pass", kept["admin_password"]], ["--user", "filler", "--pass", "filler"])
subprocess.run([*command, *admin, *"ACL SETUSER filler on >filler ~* +eval +zadd".split()], check=True)
for number in range(200):
    script = "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1] .. string.rep('x', 2097152))"
    words = f'EVAL "{script}" 1 filled {number}'
    run = subprocess.run([*command, *filler], input=words, capture_output=True, text=True)
    if "OOM" in run.stdout:
        break
"""


def told(output: str, task: str) -> list[str]:
    """Return the lines that a task prints, each in one piece."""
    text = re.split(r"\n(?:TASK|PLAY) ", output.partition(task)[2])[0]
    block = text.partition("\n    msg:")[2]
    # YAML folds long lines.
    lines = [re.sub(r"\s*\n\s+", " ", line).strip() for line in re.split(r"\n    - ", block)[1:]]
    return [line[1:-1].replace("''", "'") if line[:1] in "'\"" else line for line in lines]


def together(problems: list[str]) -> list[str]:
    """The problems, with one last sentence for all WebSockets that could not be opened.

    A process answers HTTP 500 or, on a busy machine, drops the connection; each reason has a separate sentence.
    """
    found = [re.match(r"(\d+)( of our WebSockets to \S+ could not be opened): ", problem) for problem in problems]
    rest = [problem for problem, match in zip(problems, found, strict=True) if not match]
    opened = [match for match in found if match]
    return rest + ([f"{sum(int(match[1]) for match in opened)}{opened[0][2]}"] if opened else [])


@contextmanager
def state(host: Any, wanted: State) -> Iterator[None]:
    """A state of the server that lasts as long as the block."""
    host.check_output(wanted.before)
    try:
        yield
    finally:
        host.check_output(wanted.after)


@pytest.fixture(scope="module", autouse=True)
def fill(host: Any) -> Iterator[None]:
    """The program that fills Redis."""
    host.check_output(f"cat > /root/fill.py <<'END'\n{FILL}\nEND")
    yield
    host.check_output("rm /root/fill.py")


def test_a_healthy_server(host: Any) -> None:
    # As after a reboot, which leaves no folder in /run.
    host.check_output("supervisorctl stop asgi:* && rm -rf /run/tethys && systemd-tmpfiles --create")
    host.check_output(f"supervisorctl start asgi:* && {WAIT_PROCESSES}")
    # The processes subscribe again, so nothing is lost with it.
    host.check_output(f"docker restart {REDIS} && {WAIT_REDIS}")
    assert host.file("/run/tethys").user == "www-data"
    before = bed.snapshot(host)
    run = bed.playbook("check", "--diff", "-vvv")
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    assert bed.snapshot(host) == before
    for secret in bed.secrets(host):
        assert secret not in run.stdout + bed.decoded(run.stdout)

    page = told(run.stdout, PAGE)
    versions, layout, *rest = page
    packages = r"Tethys 4\.\S+, channels 4\.\S+, channels_redis 4\.\S+, redis-py 8\.\S+, daphne 4\.\S+, Redis 7\.0\."
    assert re.match(rf"Versions: {packages}", versions)
    assert layout == f"Layout: shared_socket, {N} processes configured, port 8000"
    running = (
        r"Process asgi:tethys_asgi\d: RUNNING, pid (\d+), for \d.*, as www-data, with the settings and packages on disk"
    )
    found = [re.fullmatch(running, line) for line in rest[:N]]
    assert {int(match.group(1)) for match in found if match} == {row["pid"] for row in bed.daphnes(host)}
    none_refused = "connections refused 0, keys evicted 0, writes refused because memory was full 0"
    assert re.match(
        rf"Redis {re.escape(bed.SOCKET)}: for \d.*, memory \d+\.\d of 192 MiB, \d+ clients?, {none_refused}$",
        rest[N],
    )
    assert re.match(r"Delivery: A message reached (\d+) of \1 WebSockets in 3 processes ", rest[N + 1])
    front, trust, last = rest[N + 2 :]
    through = (
        r"Delivery: Through nginx \(/etc/nginx/sites-enabled/tethys, line 8\): http://portal\.example\.org/ answers"
    )
    assert re.match(rf"{through} HTTP 200, and a message reached (\d+) of \1 WebSockets\.$", front)
    assert re.match(r"Trust: only root can change the \d\d files and folders .*portal_config\.yml \(www-data\)", trust)
    assert last == "A run of tethys.channels.site would change nothing"


@pytest.mark.parametrize("name", STATES)
def test_what_is_wrong_is_told_once_with_the_way_out(host: Any, name: str) -> None:
    wanted = STATES[name]
    drift = any("tethys.channels.site would" in problem for problem in wanted.problems)
    with state(host, wanted):
        # Where there is something to change, somebody could.
        before = bed.snapshot(host) if drift else ""
        start = time.monotonic()
        run = bed.playbook("check", layer_check_status_json=STATUS)
        print(f"{name}: {time.monotonic() - start:.1f} s")
        assert not drift or bed.snapshot(host) == before
    page, problems = told(run.stdout, PAGE), told(run.stdout, WRONG)
    print("\n".join([*page, *problems]))
    status = json.loads(host.check_output(f"cat {STATUS} && rm {STATUS}"))
    assert len(status[0]["problems"]) == len(problems)
    assert status[0]["ok"] is False
    problems = together(problems)
    assert run.returncode == 2, run.stdout
    assert page[0].startswith("Versions: Tethys 4."), run.stdout
    assert len(problems) == len(wanted.problems), problems
    for problem, beginning in zip(problems, wanted.problems, strict=True):
        assert problem.startswith(beginning), problems
