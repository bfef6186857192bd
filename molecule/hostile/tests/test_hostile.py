# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parties with fewer rights than root attack every run: each playbook runs through or refuses, and root stays root's.

The attackers (attackers/) work while the playbooks run. After each run, whatever it came to, `unharmed` compares
root's files, the set-user-id programs, who owns what, who runs as whom, what strangers were sent, and what reached the
terminal.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bed
import pytest

# What no text of somebody else may bring to a terminal: C0 without tab and line feed, C1, and what reorders lines.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# The attackers' own places, those that are theirs by the manual, and the tests' own copy of a file of theirs.
THEIRS = f"/opt/hostile {bed.PREFIX} {bed.HOME} /var/log/tethys /home/builder /root/kept"
STATE = r"""
sha256sum /etc/hostile/* /etc/passwd /etc/shadow /etc/group /etc/nginx/nginx.conf /root/portal_config.before
stat -c '%n %A %U %G' /etc/hostile/* /etc/passwd /etc/shadow /etc /etc/supervisor /etc/supervisor/conf.d /root /var/log
find / -xdev -type f -perm /6000 -printf 'rights %p %M %u\n' | sort
find / -xdev @THEIRS@ -prune -o ( -user www-data -o -user builder -o -user nobody ) -printf 'theirs %p %u\n' | sort
find @HOME@ -xdev ! -user www-data -printf 'not the portal user: %p %u\n' | sort
ls -d /root/hostile-* 2>/dev/null
ps -eo user:16=,args= -ww | grep '[s]leep 3141'
true
""".replace("(", r"\(").replace(")", r"\)")


def state(host: Any) -> str:
    """What an attack would change."""
    theirs = " -o ".join(f"-path {place}" for place in THEIRS.split())
    text = STATE.replace("@HOME@", bed.HOME).replace("@THEIRS@", rf"\( {theirs} \)")
    return str(host.run(text).stdout)


@pytest.fixture(scope="module", autouse=True)
def before(host: Any) -> str:
    """The server before the first run."""
    host.run("rm -rf /root/hostile-*")
    return state(host)


@pytest.fixture(autouse=True)
def clean(host: Any) -> Iterator[None]:
    """Each test begins with what root had, and with nothing in the attackers' records."""
    host.run("rm -rf /root/hostile-* /opt/hostile/seen/* /opt/hostile/plays/*; pkill -f '[s]leep 3141'")
    host.check_output("cp -a --remove-destination /root/canaries/. /etc/hostile/")
    yield
    host.run("rm -f /opt/hostile/plays/*; pkill -9 -f '[A]nsiballZ|[o]pt/hostile/measured'")


def unharmed(host: Any, before: str, output: str) -> None:
    """See that nothing of root's has changed hands or content, and that nobody else got anything."""
    changes = sorted(set(state(host).splitlines()) ^ set(before.splitlines()))
    assert not changes, "\n".join(changes)
    # Nobody but the environment's owner and the portal's user ran any of their code.
    users = {name.rpartition(".")[2] for name in host.check_output("ls /opt/hostile/seen").split()}
    assert "0" not in users
    assert {row["user"] for row in bed.daphnes(host)} <= {"www-data"}
    told = host.run("cat /opt/hostile/seen/*.told 2>/dev/null").stdout
    # The processes of the portal's user have no other way than to log in where their settings say.
    assert not re.search("tethys_admin|s3cret", told), told
    bad = CONTROL.findall(output)
    assert not bad, [line for line in output.splitlines() if CONTROL.search(line)][:3]


def attacked(host: Any, before: str, name: str, *arguments: str, app: str = "", **variables: Any) -> bool:
    """Run a playbook with an app that plays these attacks; whether it went well. If not, it says why."""
    host.check_output(f"echo {app} > /opt/hostile/plays/app")
    run = bed.playbook(name, *arguments, within=200, **variables)
    print(run.stdout[-3000:])
    unharmed(host, before, run.stdout)
    assert "PLAY RECAP" in run.stdout
    assert "Traceback" not in run.stdout
    return run.returncode == 0


def succeeds(host: Any, before: str, name: str, app: str = "") -> None:
    """Run a playbook under attack; if it did not go well, once more without those who swap files under its hands.

    The portal's user and the environment's owner can keep a run from its end, and nothing more.
    """
    if not attacked(host, before, name, app=app):
        host.check_output("touch /opt/hostile/off/config /opt/hostile/off/work && sleep 1")
        try:
            assert attacked(host, before, name, app=app)
        finally:
            host.check_output("rm /opt/hostile/off/config /opt/hostile/off/work")


@contextmanager
def instead(host: Any, path: str, command: str) -> Iterator[None]:
    """Something else in the place of a file."""
    host.check_output(f"mv {path} {path}.kept && {command}")
    try:
        yield
    finally:
        host.check_output(f"rm -rf {path}; mv -T {path}.kept {path}")


def test_a_dry_run_on_a_server_never_touched(host: Any, before: str) -> None:
    """No YAML for root, an environment and an app that attack: nothing of theirs runs as root, under --check either."""
    layer = (
        r'  CHANNEL_LAYERS: {"a\e[31m\x9b31m\u202e": {BACKEND: "b\e[31m\x9b31m\u202e", CONFIG: {hosts: ["\e[31m"]}}}'
    )
    with bed.setting(host, layer):
        attacked(host, before, "site", "--check", "--diff", app="root text children")


def test_a_setting_in_a_file_of_roots(host: Any, before: str) -> None:
    """The portal's user makes portal_config.yml a link to a file of root's that everybody can read."""
    with instead(host, bed.CONFIG, f"ln -s /etc/hostile/settings.yml {bed.CONFIG} && chown -h www-data {bed.CONFIG}"):
        attacked(host, before, "site")


def test_no_user_of_a_web_server(host: Any, before: str) -> None:
    """TETHYS_HOME is root's, so only root could run the portal; the manual's folder of logs is not root's: refused."""
    rename = "cp -p /etc/passwd /etc/passwd.kept && sed -i 's/^www-data:/web:/' /etc/passwd && chown root: "
    host.check_output(rename + bed.HOME)
    try:
        run = bed.playbook("site", "--check", within=200, asgi_service_log_dir="/var/log/tethys")
    finally:
        host.check_output(f"mv /etc/passwd.kept /etc/passwd && chown www-data: {bed.HOME}")
    refusal = bed.refusal(run)
    assert "tethys_user is not set" in refusal
    assert "asgi_service_log_dir is /var/log/tethys" in refusal
    unharmed(host, before, run.stdout)


def commands(text: str) -> list[str]:
    """The commands that a message asks the administrator to run."""
    return re.findall("`([^`]+)`", text)


def test_commands_that_are_pasted(host: Any, before: str) -> None:
    """A folder whose name is a command, and one of the system's: what the refusal has one paste touches neither."""
    folder = f"{bed.HOME}/w; touch hostile-pasted #"
    lines = f'  TETHYS_WORKSPACES_ROOT: "{folder}"\n  MEDIA_ROOT: /etc'
    host.check_output(f"mkdir -m 0 {shlex.quote(folder)} && chown builder: {shlex.quote(folder)}")
    try:
        with bed.setting(host, lines, drop="TETHYS_WORKSPACES_ROOT|MEDIA_ROOT"):
            run = bed.playbook("site", "--check", within=200)
    finally:
        host.check_output(f"rmdir {shlex.quote(folder)}")
    found = commands(bed.refusal(run))
    assert any("hostile-pasted" in command for command in found), run.stdout
    assert not [command for command in found if re.search(r"\s/etc(\s|$)", command)], found
    # Of all that a pasted command may name, this shell finds `touch` alone.
    host.check_output("mkdir -p /opt/hostile/nothing && ln -sf /usr/bin/touch /opt/hostile/nothing/")
    for command in found:
        host.run(f"cd /root && PATH=/opt/hostile/nothing /bin/sh -c {shlex.quote(command)}")
    unharmed(host, before, run.stdout)


def test_a_server_with_the_certificate_of_another(host: Any, before: str) -> None:
    """Its authority is one that this server trusts, its name is not the one asked for: it gets no password."""
    hosts = [{"address": "rediss://redis.example.org:7443", "password": "s3cret-of-the-layer"}]
    run = bed.playbook("site", within=200, tethys_layer_hosts=hosts)
    assert run.returncode != 0
    unharmed(host, before, run.stdout)


def call(host: Any, module: str, **arguments: Any) -> tuple[float, int, str]:
    """Run one module as root: for how many seconds, with how many MiB at the most, and what it said."""
    words = " ".join(f"{name}={value}" for name, value in arguments.items())
    command = ["ansible", "portals", "-i", os.environ["MOLECULE_INVENTORY_FILE"], "--become", "-m", module, "-a", words]
    command += ["-e", "ansible_python_interpreter=/opt/hostile/measured"]
    try:
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=40, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{module} did not end.")
    finally:
        host.run("pkill -9 -f '[o]pt/hostile/measured|[b]in/python -'")
    seconds, peak = host.check_output("cat /opt/hostile/measured.told").split()
    return float(seconds), int(peak) // 1024, run.stdout + run.stderr


# A module's own start on a busy machine, beyond its deadline.
START_SECONDS = 4
# 64 MiB beside what a module takes that reads little.
MOST_MEBIBYTES = 64 + 32
UNCAUGHT = "Traceback|MODULE FAILURE"


@pytest.mark.parametrize("attack", ["flood", "lines", "lies", "keys", "children drip", "hare wait"])
def test_answers_without_an_end(host: Any, before: str, attack: str) -> None:
    """The portal's Python answers what no program does: one sentence, in time, in little memory, and nothing left."""
    host.check_output(f"echo {attack} > /opt/hostile/plays/start")
    portal = {"prefix": bed.PREFIX, "home": bed.HOME, "timeout": 3}
    seconds, peak, text = call(host, "tethys.channels.portal_info", **portal)
    print(f"{attack}: {seconds} s, {peak} MiB")
    assert seconds <= portal["timeout"] + 2 + START_SECONDS
    assert peak <= MOST_MEBIBYTES
    # What is wrong with a portal is a fact about it, and no failure of the module.
    assert "| SUCCESS =>" in text, text[-2000:]
    assert len(text) < 100_000
    if "hare" in attack:
        time.sleep(max(0.0, 9 - seconds))
    unharmed(host, before, text)


@pytest.mark.parametrize("attack", ["output", "children", "report"])
def test_packages_without_an_end(host: Any, before: str, attack: str) -> None:
    """The same of the environment's Python and pip."""
    host.check_output(f"echo {attack} > /opt/hostile/plays/start")
    # Whether it ends at all is what `call` tests: it starts Python several times, each with a limit of its own.
    seconds, peak, text = call(
        host, "tethys.channels.layer_packages", prefix=bed.PREFIX, requirements="nosuch", no_index="true", timeout=10
    )
    print(f"{attack}: {seconds} s, {peak} MiB")
    assert peak <= MOST_MEBIBYTES
    assert not re.search(UNCAUGHT, text), text[-2000:]
    unharmed(host, before, text)


@pytest.mark.parametrize(
    "command",
    [
        "truncate -s 200G {} && chown www-data {}",
        "ln -s /proc/kmsg {}",
    ],
    ids=["200 GiB", "the kernel's messages"],
)
def test_what_is_no_settings_file(host: Any, before: str, command: str) -> None:
    """In the place of portal_config.yml: one sentence, in time and in little memory."""
    with instead(host, bed.CONFIG, command.replace("{}", bed.CONFIG)):
        seconds, peak, text = call(host, "tethys.channels.portal_info", prefix=bed.PREFIX, home=bed.HOME, timeout=3)
    print(f"{seconds} s, {peak} MiB")
    assert seconds <= 3 + 2 + START_SECONDS
    assert peak <= MOST_MEBIBYTES
    assert "| SUCCESS =>" in text, text[-2000:]
    assert "portal_config.yml" in text
    unharmed(host, before, text)


def test_an_environment_that_leads_elsewhere(host: Any, before: str) -> None:
    """The owner makes site-packages a link into a folder of root's: that does not make the environment root's."""
    lib = host.check_output(f"echo {bed.PREFIX}/lib/python3.*")
    there = "/opt/hostile/packages"
    host.check_output(f"cp -a {lib}/site-packages {there} && chown -hR root: {there}")
    with instead(host, f"{lib}/site-packages", f"ln -s {there} {lib}/ && mv {lib}/packages {lib}/site-packages"):
        host.check_output(f"chown -h builder {lib}/site-packages")
        call(host, "tethys.channels.layer_packages", prefix=bed.PREFIX, requirements="redis", timeout=20)
    host.check_output(f"rm -rf {there}")
    unharmed(host, before, "")


def test_site(host: Any, before: str) -> None:
    """The whole run, while links and a FIFO are planted where logs were, and names are swapped under root's hands."""
    succeeds(host, before, "site")
    assert len(bed.daphnes(host)) == 2


def test_an_app_that_says_it_is_root(host: Any, before: str) -> None:
    """On a server that serves: neither its user nor its program is the app's to say."""
    attacked(host, before, "site", app="root directory text children", preflight_trust_proof=False)
    assert "hostile" not in host.check_output("supervisorctl status; cat /etc/supervisor/conf.d/*")


def test_check_and_restart(host: Any, before: str) -> None:
    """What an app has to say reaches the terminal as plain text."""
    attacked(host, before, "check", app="root text")
    attacked(host, before, "restart", app="root text children")


def test_a_socket_of_somebody_elses(host: Any, before: str) -> None:
    """The portal's user answers in a process's place, one byte a second: a restart ends within its own timeout."""
    host.check_output("rm -f /opt/hostile/off/socket")
    try:
        run = bed.playbook("restart", within=90, asgi_service_start_timeout=8)
    finally:
        host.check_output("touch /opt/hostile/off/socket && sleep 2 && supervisorctl restart asgi:*")
    assert "Traceback" not in run.stdout
    unharmed(host, before, run.stdout)


def test_a_stranger_on_the_port_of_redis(host: Any, before: str) -> None:
    """Our container is away, and somebody else listens in its place: no run sends a password there."""
    # The portal's own processes log in to whoever is there, so they are down.
    host.check_output("supervisorctl stop asgi:* && docker stop tethys-channels-redis")
    host.check_output(
        "rm /opt/hostile/off/redis && timeout 10 sh -c 'until ss -ltn | grep -q :6379; do sleep 0.1; done'"
    )
    try:
        check = bed.playbook("check", within=120)
        unharmed(host, before, check.stdout)
        site = bed.playbook("site", within=200)
        unharmed(host, before, site.stdout)
    finally:
        host.check_output(
            "touch /opt/hostile/off/redis; systemctl restart hostile-redis; docker start tethys-channels-redis"
        )
    assert check.returncode != 0
    assert "Traceback" not in check.stdout + site.stdout


def test_remove(host: Any, before: str) -> None:
    """And all of it is undone, while they attack."""
    succeeds(host, before, "remove", app="text")
    assert host.check_output(f"cat {bed.CONFIG}") == host.check_output("cat /root/portal_config.before")
