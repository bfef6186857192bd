# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parties with fewer rights than root attack every run: each playbook runs through or refuses, and root stays root's.

The attackers (attackers/) work while the playbooks run. Each test says whether its run goes through or is refused, in
which words, and that its attackers were active (`active`). After each run `unharmed` compares root's files, the
set-user-id programs, who owns what, who runs as whom, what strangers were sent, and what reached the terminal.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import bed
import pytest

# What no text of somebody else may bring to a terminal: C0 without tab and line feed, C1, and what reorders lines.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# What a text of an app makes on the controller if it is taken for a template.
TEMPLATE = Path("/tmp/hostile-template")
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
    host.check_output(
        "rm -rf /root/hostile-* /opt/hostile/seen/* /opt/hostile/plays/*; pkill -f '[s]leep 3141';"
        " cp -a --remove-destination /root/canaries/. /etc/hostile/"
    )
    yield
    host.run("rm -f /opt/hostile/plays/*; pkill -9 -f '[A]nsiballZ|[o]pt/hostile/measured'")


def unharmed(host: Any, before: str, output: str) -> None:
    """Check that no file of root's has changed its owner or content, and that nobody else got anything."""
    changes = sorted(set(state(host).splitlines()) ^ set(before.splitlines()))
    assert not changes, "\n".join(changes)
    # Nobody but the environment's owner and the portal's user ran any of their code.
    users = {name.rpartition(".")[2] for name in host.check_output("ls /opt/hostile/seen").split()}
    assert "0" not in users
    assert {row["user"] for row in bed.daphnes(host)} <= {"www-data"}
    told = host.run("cat /opt/hostile/seen/*.told 2>/dev/null").stdout
    # The processes of the portal's user have no other way than to log in where their settings say.
    assert not re.search("tethys_admin|s3cret", told), told
    assert not TEMPLATE.exists()
    bad = CONTROL.findall(output)
    assert not bad, [line for line in output.splitlines() if CONTROL.search(line)][:3]


def active(host: Any, *records: str) -> None:
    """Check that these attackers attacked since the test began; each leaves a record."""
    seen = host.check_output("ls /opt/hostile/seen").split()
    missing = [record for record in records if not any(fnmatch(name, record) for name in seen)]
    assert not missing, f"{missing} is not among {seen}"


def played(words: str) -> list[str]:
    """The records that these attacks of the portal's app leave when the portal's user runs it."""
    return [f"played-{word}.33" for word in words.split()]


def attacked(
    host: Any, before: str, name: str, *arguments: str, app: str = "", **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run a playbook with an app that plays these attacks, and return what the run came to."""
    host.check_output(f"echo {app} > /opt/hostile/plays/app")
    run = bed.playbook(name, *arguments, within=200, **variables)
    print(run.stdout, host.run("wc -c /opt/hostile/seen/*").stdout)
    unharmed(host, before, run.stdout)
    active(host, *played(app))
    assert "PLAY RECAP" in run.stdout
    assert "Traceback" not in run.stdout
    return run


def refuses(
    host: Any, before: str, name: str, *words: str, arguments: tuple[str, ...] = (), app: str = "", **variables: Any
) -> None:
    """Run a playbook under attack, and check that it is refused in these words."""
    refusal = bed.refusal(attacked(host, before, name, *arguments, app=app, **variables))
    for word in words:
        assert word in refusal, refusal


def succeeds(host: Any, before: str, name: str, app: str = "") -> str:
    """Run a playbook under attack; if it did not go well, once more without those who swap files under its hands.

    The portal's user and the environment's owner can keep a run from its end, and nothing more. Returns what the run
    printed.
    """
    run = attacked(host, before, name, app=app)
    if run.returncode:
        active(host, "*.swapped")
        host.check_output("touch /opt/hostile/off/config /opt/hostile/off/work && sleep 1")
        try:
            run = attacked(host, before, name, app=app)
        finally:
            host.check_output("rm /opt/hostile/off/config /opt/hostile/off/work")
    assert run.returncode == 0, run.stdout
    return bed.words(run)


@contextmanager
def instead(host: Any, path: str, command: str) -> Iterator[None]:
    """Something else in the place of a file."""
    host.check_output(f"mv {path} {path}.kept && {command}")
    try:
        yield
    finally:
        host.check_output(f"rm -rf {path}; mv -T {path}.kept {path}")


# What a refusal says of the manual's folder of logs, which is the portal user's.
LOGS = (
    "asgi_service_log_dir is /var/log/tethys, where Supervisor writes as root, and its owner {} can change it. Set"
    " asgi_service_log_dir to a folder that only root can change, such as /var/log/tethys_channels."
)
# The end of the text by which an app would reach the terminal.
PLAIN = "all is well"
UNKNOWN = "it could not be found out whether an app uses Bokeh"


def test_a_dry_run_on_a_server_never_touched(host: Any, before: str) -> None:
    """No YAML for root, an environment and an app that attack: nothing of theirs runs as root, under --check either."""
    layer = (
        r'  CHANNEL_LAYERS: {"a\e[31m\x9b31m\u202e": {BACKEND: "b\e[31m\x9b31m\u202e", CONFIG: {hosts: ["\e[31m"]}}}'
    )
    with bed.setting(host, layer):
        refuses(host, before, "site", UNKNOWN, PLAIN, arguments=("--check", "--diff"), app="children text directory")
    active(host, "python.33", "activate.33")


def test_no_user_of_a_web_server(host: Any, before: str) -> None:
    """TETHYS_HOME is root's, so only root could run the portal; the manual's folder of logs is not root's: refused."""
    rename = "cp -p /etc/passwd /etc/passwd.kept && sed -i 's/^www-data:/web:/' /etc/passwd && chown root: "
    host.check_output(rename + bed.HOME)
    try:
        run = bed.playbook("site", within=200, asgi_service_log_dir="/var/log/tethys")
    finally:
        host.check_output(f"mv /etc/passwd.kept /etc/passwd && chown www-data: {bed.HOME}")
    refusal = bed.refusal(run)
    assert "tethys_user is not set" in refusal
    assert LOGS.format("web") in refusal
    unharmed(host, before, run.stdout)


def commands(text: str) -> list[str]:
    """Return the commands that a message gives to the administrator."""
    return re.findall("`([^`]+)`", text)


# A folder whose name is a command.
PASTED = f"{bed.HOME}-pasted/w; touch hostile-pasted #"
CASES: dict[str, dict[str, Any]] = {
    # portal_config.yml is a link of the portal's user to a file of root's that everybody can read.
    "link": {"tethys_home": f"{bed.HOME}-link"},
    "commands": {"tethys_home": f"{bed.HOME}-pasted"},
    # A CA that this server trusts signed its certificate, for another name than the one in the URL.
    "certificate": {"tethys_layer_hosts": [{"address": "rediss://redis.example.org:7443", "password": "s3cret-layer"}]},
    # Supervisor would write through the links that the portal's user planted there.
    "logs": {"asgi_service_log_dir": "/var/log/tethys"},
    # The run would start nginx, and a program that a file of the portal's user defines.
    "sites": {"tethys_asgi_layout": "socket_per_process"},
}
HOMES = (
    bed.home("link", "ln -sf /etc/hostile/settings.yml portal_config.yml && chown -h www-data portal_config.yml"),
    bed.home(
        "pasted",
        "sed -i -E '/TETHYS_WORKSPACES_ROOT|MEDIA_ROOT/d; s|^settings:$|&\\n"
        f'  TETHYS_WORKSPACES_ROOT: "{PASTED}"\\n  MEDIA_ROOT: /etc|\' portal_config.yml'
        f" && mkdir -m 0 {shlex.quote(PASTED)} && chown builder: {shlex.quote(PASTED)}",
    ),
)


@pytest.fixture(scope="module")
def judged(host: Any, before: str) -> dict[str, str]:
    """What a run of `site` refuses, of the cases above."""
    host.run("rm -rf /opt/hostile/seen/*")
    host.check_output(" && ".join(f"({home})" for home in HOMES))
    program = f"printf '[program:tethys_asgi1]\\ncommand=/bin/sleep 4000\\n' >> {bed.HOME}/nginx_supervisord.conf"
    host.check_output(f"cp -p {bed.HOME}/nginx_supervisord.conf /root/kept && {program}")
    try:
        found = bed.judge(host, CASES)
    finally:
        host.check_output(f"cp -p /root/kept {bed.HOME}/nginx_supervisord.conf; rm -rf {bed.HOME}-*")
    output = "".join(run.stdout for run in found.values())
    print(output)
    unharmed(host, before, output)
    active(host, "tls.met", "tls.refused")
    assert not host.file("/opt/hostile/seen/tls.told").exists
    return {case: bed.refusal(run) for case, run in found.items()}


def test_a_setting_in_a_file_of_roots(judged: dict[str, str]) -> None:
    """The portal's user makes portal_config.yml a link to a file of root's that everybody can read."""
    assert (
        f"{bed.HOME}-link/portal_config.yml is a symbolic link of user www-data, and leads to a file of user root in a"
        " folder of user root" in judged["link"]
    )


def test_commands_that_are_pasted(host: Any, before: str, judged: dict[str, str]) -> None:
    """A folder whose name is a command, and one of the system's: what the refusal has one paste touches neither."""
    found = commands(judged["commands"])
    assert any("hostile-pasted" in command for command in found), judged["commands"]
    assert not [command for command in found if re.search(r"\s/etc(\s|$)", command)], found
    # Of all that a pasted command may name, this shell finds `touch` alone.
    host.check_output("mkdir -p /opt/hostile/nothing && ln -sf /usr/bin/touch /opt/hostile/nothing/")
    for command in found:
        host.run(f"cd /root && PATH=/opt/hostile/nothing /bin/sh -c {shlex.quote(command)}")
    unharmed(host, before, "")


def test_a_server_with_the_certificate_of_another(judged: dict[str, str]) -> None:
    """Its CA is one that this server trusts, its name is not the one in the URL: it gets no password."""
    assert (
        "the Redis at redis.example.org:7443 shows a certificate that its CA did not issue for redis.example.org"
        " (Hostname mismatch" in judged["certificate"]
    )


def test_logs_where_links_are_planted(host: Any, judged: dict[str, str]) -> None:
    """The manual's folder of logs is the portal user's, who planted a link and a FIFO there."""
    assert LOGS.format("www-data") in judged["logs"]
    planted = host.check_output(
        "readlink /var/log/tethys/tethys_asgi0.log; stat -c %F /var/log/tethys/tethys_asgi1.log"
    )
    assert planted == "/etc/hostile/log\nfifo"


def test_sites_and_programs_of_the_portals_user(judged: dict[str, str]) -> None:
    """The run would have nginx read a site, and Supervisor start a program, that the portal's user can change."""
    site = "/etc/nginx/sites-enabled/planted"
    assert f"nginx starts as root and reads {site}, and its owner www-data can change {bed.HOME}" in judged["sites"]
    planted = "/etc/supervisor/conf.d/nginx_supervisord.conf"
    assert f"{planted} defines program:planted besides the portal's program, and would lose it" in judged["sites"]


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
START_SECONDS = 8
# 64 MiB beside what a module takes that reads little.
MOST_MEBIBYTES = 64 + 32
UNCAUGHT = "Traceback|MODULE FAILURE"


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("flood", "gave an answer that is not accepted"),
        # On a busy machine the time is over before so much has come.
        ("lines", "answered more than|did not finish within 3 seconds"),
        ("lies", "gave an answer that is not accepted"),
        ("keys", "gave an answer that is not accepted"),
        ("children drip", "did not finish within 3 seconds"),
        ("hare wait", "did not finish within 3 seconds"),
    ],
)
def test_answers_without_an_end(host: Any, before: str, attack: str, words: str) -> None:
    """The portal's Python answers what no program does: one sentence, in time, in little memory, and nothing left."""
    host.check_output(f"echo {attack} > /opt/hostile/plays/start")
    portal = {"prefix": bed.PREFIX, "home": bed.HOME, "timeout": 3}
    seconds, peak, text = call(host, "tethys.channels.portal_info", **portal)
    print(f"{attack}: {seconds} s, {peak} MiB")
    assert seconds <= portal["timeout"] + 2 + START_SECONDS
    assert peak <= MOST_MEBIBYTES
    # What is wrong with a portal is a fact about it, and no failure of the module.
    assert "| SUCCESS =>" in text, text[-2000:]
    assert re.search(words, text), text[-2000:]
    assert len(text) < 100_000
    active(host, *played(attack))
    if "hare" in attack:
        time.sleep(max(0.0, 9 - seconds))
    unharmed(host, before, text)


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("output", "wrote more than"),
        ("children", "No matching distribution found for nosuch"),
        ("report", "report.json is no regular file"),
    ],
)
def test_packages_without_an_end(host: Any, before: str, attack: str, words: str) -> None:
    """The same of the environment's Python and pip."""
    host.check_output(f"echo {attack} > /opt/hostile/plays/start")
    # Whether it ends at all is what `call` tests: it starts Python several times, each with a separate limit.
    seconds, peak, text = call(
        host, "tethys.channels.layer_packages", prefix=bed.PREFIX, requirements="nosuch", no_index="true", timeout=10
    )
    print(f"{attack}: {seconds} s, {peak} MiB\n{text}")
    assert peak <= MOST_MEBIBYTES
    assert not re.search(UNCAUGHT, text), text[-2000:]
    assert words in text
    active(host, f"played-{attack}.*", "work.tried")
    unharmed(host, before, text)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("truncate -s 200G {} && chown www-data {}", f"{bed.CONFIG} cannot be read: File too large."),
        ("ln -s /proc/kmsg {}", f"{bed.CONFIG} cannot be read: Permission denied."),
    ],
    ids=["200 GiB", "the kernel's messages"],
)
def test_what_is_no_settings_file(host: Any, before: str, command: str, words: str) -> None:
    """In the place of portal_config.yml: one sentence, in time and in little memory."""
    with instead(host, bed.CONFIG, command.replace("{}", bed.CONFIG)):
        seconds, peak, text = call(host, "tethys.channels.portal_info", prefix=bed.PREFIX, home=bed.HOME, timeout=3)
    print(f"{seconds} s, {peak} MiB\n{text}")
    assert seconds <= 3 + 2 + START_SECONDS
    assert peak <= MOST_MEBIBYTES
    assert "| SUCCESS =>" in text, text[-2000:]
    assert words in text
    unharmed(host, before, text)


def test_an_environment_that_leads_elsewhere(host: Any, before: str) -> None:
    """The owner makes site-packages a link into a folder of root's: that does not make the environment root's."""
    lib = host.check_output(f"echo {bed.PREFIX}/lib/python3.*")
    there = "/opt/hostile/packages"
    host.check_output(f"cp -a {lib}/site-packages {there} && chown -hR root: {there}")
    with instead(host, f"{lib}/site-packages", f"ln -s {there} {lib}/ && mv {lib}/packages {lib}/site-packages"):
        host.check_output(f"chown -h builder {lib}/site-packages")
        _seconds, _peak, text = call(
            host, "tethys.channels.layer_packages", prefix=bed.PREFIX, requirements="redis", timeout=20
        )
    host.check_output(f"rm -rf {there}")
    print(text)
    active(host, "start.*", "python.*")
    unharmed(host, before, text)


def test_an_environment_of_roots(host: Any, before: str) -> None:
    """pip runs as root there, and what a .pth file would have it import does not."""
    python = f"{bed.PREFIX}/bin/python"
    host.check_output(
        f"chown -hR root: {bed.PREFIX} && mv {python} {python}.kept && ln -s $(basename {python}3.*[0-9]) {python}"
    )
    try:
        more = {"prefix": bed.PREFIX, "requirements": "nosuch", "no_index": "true", "timeout": 20}
        _seconds, _peak, text = call(host, "tethys.channels.layer_packages", **more)
        # The attack itself: what that Python does where nothing keeps it from it.
        host.check_output(f"cd / && {python} -c pass && rm /root/hostile-start")
    finally:
        host.check_output(f"mv -T {python}.kept {python} && chown -hR builder: {bed.PREFIX}")
    assert "No matching distribution found for nosuch" in text, text
    unharmed(host, before, text)


def test_programs_of_the_environment_first_in_path(host: Any, before: str) -> None:
    """Root's PATH begins with the environment, as after `conda activate`, and its owner has put a `runuser` there."""
    there = f"{bed.HOME}-new"
    host.check_output(f"install -d -o www-data -g www-data {there} && touch /opt/hostile/activated")
    try:
        more = {"prefix": bed.PREFIX, "home": there, "user": "www-data"}
        _seconds, _peak, text = call(host, "tethys.channels.portal_config_file", **more)
        made = host.run(f"stat -c '%U %a' {there}/portal_config.yml").stdout.strip()
    finally:
        host.check_output(f"rm -rf {there} /opt/hostile/activated")
    assert "| CHANGED =>" in text, text
    assert made == "www-data 600"
    active(host, "start.33")
    unharmed(host, before, text)


def test_site(host: Any, before: str) -> None:
    """The whole run, while links and a FIFO are planted where logs were, and names are swapped under root's hands."""
    printed = succeeds(host, before, "site")
    active(host, "config.swapped", "work.tried")
    assert len(bed.daphnes(host)) == 2
    # What the manual has nginx and Supervisor read from the portal user's folder is reported, with what to do.
    for link in ("/etc/nginx/sites-enabled/planted", "/etc/supervisor/conf.d/nginx_supervisord.conf"):
        assert f"{link}`, which replaces the link by a copy that root owns" in printed, printed
    assert "Trust: " in printed
    # A set-user-ID program of root's that calls itself nginx is not taken for it.
    assert "nginx -c /opt/hostile/nginx.conf" in host.check_output("ps -eo args -u root")
    assert "/opt/hostile" not in printed


def test_an_app_that_says_it_is_root(host: Any, before: str) -> None:
    """On a server that serves: neither its user nor its program is the app's to say."""
    refuses(host, before, "site", UNKNOWN, app="children root", preflight_trust_proof=False)
    assert "hostile" not in host.check_output("supervisorctl status; cat /etc/supervisor/conf.d/asgi_*")


def test_check_and_restart(host: Any, before: str) -> None:
    """What an app has to say reaches the terminal as plain text."""
    run = attacked(host, before, "check", app="text")
    assert PLAIN in run.stdout
    assert run.returncode == 0
    refuses(host, before, "restart", UNKNOWN, app="children text root")


def test_a_socket_of_somebody_elses(host: Any, before: str) -> None:
    """The portal's user answers in a process's place, one byte a second: a restart ends within its own timeout."""
    host.check_output("rm -f /opt/hostile/off/socket")
    try:
        run = bed.playbook("restart", within=90, asgi_service_start_timeout=8)
    finally:
        host.check_output("touch /opt/hostile/off/socket && sleep 2 && supervisorctl restart asgi:*")
    print(run.stdout)
    assert run.returncode != 0
    assert re.search(r"Process asgi:tethys_asgi0 does not answer \(\w+\) after 8 s at the most", bed.words(run))
    assert "Traceback" not in run.stdout
    active(host, "socket.met")
    unharmed(host, before, run.stdout)


def test_a_stranger_on_the_port_of_redis(host: Any, before: str) -> None:
    """Another user listens on the ports of our stopped container and the portal: no run sends a password there."""
    # The portal's own processes log in to whoever is there, so they are down.
    host.check_output("supervisorctl stop asgi:* && docker stop tethys-channels-redis")
    wait = "timeout 10 sh -c 'until ss -ltn | grep -q :{}; do sleep 0.1; done'"
    host.check_output(
        f"rm /opt/hostile/off/redis /opt/hostile/off/portal && {wait.format(6379)} && {wait.format(8000)}"
    )
    try:
        check = bed.playbook("check", within=120)
        unharmed(host, before, check.stdout)
        site = bed.playbook("site", within=200)
        unharmed(host, before, site.stdout)
        # The stranger records what it is sent, to the end.
        host.check_output("bash -c 'echo HELLO > /dev/tcp/127.0.0.1/6379' && sleep 0.5")
        active(host, "redis.met")
        sent = host.run("cat /opt/hostile/seen/redis.told").stdout
    finally:
        host.check_output(
            "touch /opt/hostile/off/redis /opt/hostile/off/portal; systemctl restart hostile-redis hostile-portal;"
            " docker start tethys-channels-redis"
        )
    print(check.stdout, site.stdout)
    passwords = [secret for secret in bed.secrets(host) if secret in sent]
    assert "HELLO\n" in sent
    # Neither root nor the delivery check sends a password: the portal's own processes are down.
    assert not re.search(r"\bAUTH\b", sent.upper()), sent
    assert not passwords
    assert check.returncode != 0
    assert "The layer's Redis at 127.0.0.1:6379 cannot be reached" in bed.words(check)
    assert f"on port 8000 is of user nobody, who cannot read {bed.CONFIG}" in bed.words(check)
    assert "Port 6379, on which Redis is to answer, is held by process" in bed.refusal(site)
    assert "Traceback" not in check.stdout + site.stdout


def test_remove(host: Any, before: str) -> None:
    """And all of it is undone, while they attack."""
    succeeds(host, before, "remove", app="text")
    active(host, "config.swapped")
    assert host.check_output(f"cat {bed.CONFIG}") == host.check_output("cat /root/portal_config.before")
