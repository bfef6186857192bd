# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' tests ask of a server."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import re
import shlex
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

# A scenario whose portal is elsewhere says so in its verifier's env.
PREFIX = os.environ.get("TETHYS_TEST_PREFIX", "/opt/conda/envs/tethys")
HOME = os.environ.get("TETHYS_TEST_HOME", "/var/lib/tethys")
CONFIG = f"{HOME}/portal_config.yml"
# Where Redis answers by default.
SOCKET = "/var/lib/tethys_channels/redis.sock"
CHAT = "ws://127.0.0.1:8000/apps/channelchat/chat/ws/"
# A scenario with a browser says in its verifier's env which image it runs.
BROWSER = os.environ.get("TETHYS_TEST_BROWSER", "")
PLOT = "http://127.0.0.1/apps/bokehplot/wave/"
INSTALL_PLOT = f"{PREFIX}/bin/pip install -q --no-deps --no-index /opt/apps/*.whl"
UNINSTALL_PLOT = f"{PREFIX}/bin/pip uninstall -q -y tethysapp-bokehplot"


# What the administrator has written into the inventory since the scenario began.
inventory: dict[str, Any] = {}


def command(name: str, *arguments: str, **variables: Any) -> list[str]:
    """Return the command that runs one of the collection's playbooks against this scenario's inventory."""
    words = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], f"tethys.channels.{name}", *arguments]
    given = {**inventory, **variables}
    return [*words, "-e", json.dumps(given)] if given else words


def playbook(name: str, *arguments: str, within: float = 600, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run one of the collection's playbooks as an administrator does, within so many seconds, on this inventory."""
    # In one stream, as on a terminal: molecule has failures go to stderr.
    return subprocess.run(
        command(name, *arguments, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within,
        check=False,
    )


def changed(run: subprocess.CompletedProcess[str]) -> int:
    """How many tasks of a run changed something, over all hosts."""
    assert "PLAY RECAP" in run.stdout, run.stdout
    return sum(int(number) for number in re.findall(r"changed=(\d+)", run.stdout))


def names(folder: Path, **hosts: dict[str, Any]) -> tuple[str, str]:
    """Write an inventory with more portals, and return the arguments that add it.

    Several names with one `ansible_host` and different variables are checked, or provisioned, by one run.
    """
    path = folder / "names.json"
    path.write_text(json.dumps({"portals": {"hosts": hosts}}), encoding="utf-8")
    return "-i", str(path)


def changed_on(run: subprocess.CompletedProcess[str], name: str) -> int:
    """How many tasks of a run changed something on that host."""
    [number] = re.findall(rf"^{re.escape(name)} .*\bchanged=(\d+)", run.stdout, re.MULTILINE)
    return int(number)


def skipped_on(output: str, name: str) -> int:
    """How many tasks a run skipped on that host: as the recap counts them, or as lines, whichever are more."""
    [number] = re.findall(rf"\b{re.escape(name)} +: ok=.*?\bskipped=(\d+)", output)
    return max(int(number), output.count(f"skipping: [{name}]"))


def said(run: subprocess.CompletedProcess[str], name: str, state: str = "ok|changed|fatal") -> str:
    """What a run printed of that host, its line breaks and doubled quotes folded."""
    found = re.findall(rf"^(?:{state}): \[{re.escape(name)}\].*\n(?:[ \t]+.*\n)*", run.stdout, re.MULTILINE)
    return " ".join("".join(found).replace("''", "'").split())


def fatal(run: subprocess.CompletedProcess[str], name: str) -> str:
    """The message by which a run failed on that host."""
    found = said(run, name, "fatal")
    assert found, run.stdout
    return found


def judge(
    host: Any, cases: Mapping[str, Mapping[str, Any]], *arguments: str
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run the playbook once on a server that has a name in the inventory for each case, with the case's variables.

    Returns for each case what a separate run would have: an exit code and an output.
    """
    server = host.backend.get_hostname()
    # Docker's connection has no port: by it the cases count as portals of different servers.
    hosts = {
        f"case-{n}": {"ansible_host": server, "ansible_port": 1000 + n, **given}
        for n, given in enumerate(cases.values())
    }
    more = names(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]), **hosts)
    # The inspection of a portal has a deadline, and other steps run at the same time.
    run = playbook("site", *more, "--forks=2", *arguments, tethys_hosts="case-*")
    assert "Traceback" not in run.stdout, run.stdout
    found = {}
    for case, name in zip(cases, hosts, strict=True):
        [recap] = re.findall(rf"^{name} +: .*$", run.stdout, re.MULTILINE) or [run.stdout]
        printed = re.findall(rf"^(?:ok|changed|fatal): \[{name}\].*\n(?:[ \t]+.*\n)*", run.stdout, re.MULTILINE)
        text = "".join([*printed, "PLAY RECAP\n", recap, "\n"])
        code = 0 if "unreachable=0" in recap and "failed=0" in recap else 2
        found[case] = subprocess.CompletedProcess(run.args, code, text)
    return found


def ship(host: Any, folder: str) -> None:
    """Put Ansible's own code for modules and the collection's plugins into a folder of the server.

    A module that is run there alone takes a tenth of a run through Ansible.
    """
    packed = io.BytesIO()
    plugins = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "plugins"
    ansible = Path(next(iter(importlib.import_module("ansible.module_utils").__path__)))
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("ansible/__init__.py"))
        archive.add(ansible.parent / "release.py", "ansible/release.py")
        archive.add(ansible, "ansible/module_utils")
        for name in ("modules", "module_utils", "plugin_utils"):
            archive.add(plugins / name, f"ansible_collections/tethys/channels/plugins/{name}")
        archive.add(Path(__file__).with_name("through_front.py"), "through_front.py")
    unpack = f"mkdir -p {folder} && tar -xf - --no-same-owner -C {folder}"
    command = ["docker", "exec", "-i", host.backend.get_hostname(), "sh", "-c", unpack]
    subprocess.run(command, input=packed.getvalue(), check=True)


def words(run: subprocess.CompletedProcess[str]) -> str:
    """What a run said, however its lines were wrapped."""
    return " ".join(run.stdout.split())


def client(host: Any, name: str, *arguments: str) -> dict[str, Any]:
    """Run one of the WebSocket clients on the server, and return what it saw."""
    script = f"/opt/clients/{name}.py"
    # -B: it runs as root, and the environment may belong to somebody else.
    result = host.run(f"{PREFIX}/bin/python -B {script} " + " ".join(arguments))
    assert result.stdout.startswith("{"), result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@contextmanager
def alongside(host: Any, name: str, *arguments: str) -> Iterator[dict[str, Any]]:
    """One of the clients that go on until they are stopped, as long as the block runs; at its end, what it saw."""
    unit = f"{name}-{uuid.uuid4().hex[:8]}"
    stop, told = f"/run/{unit}.stop", f"/run/{unit}.json"
    words = " ".join(shlex.quote(word) for word in ("--stop", stop, *arguments))
    command = f"exec {PREFIX}/bin/python -B /opt/clients/{name}.py {words} > {told}"
    host.check_output(f"systemd-run --quiet --unit {unit} sh -c {shlex.quote(command)}")
    figures: dict[str, Any] = {}
    try:
        yield figures
    finally:
        # It exits with 1 if something was missing, which the test has to check.
        ended = f"while systemctl is-active -q {unit}; do sleep 0.2; done; systemctl reset-failed {unit} 2>/dev/null"
        text = host.run(f"touch {stop}; timeout 60 sh -c {shlex.quote(ended)}; cat {told}; rm -f {stop} {told}").stdout
    assert text.startswith("{"), text + host.run(f"journalctl -u {unit} --no-pager").stdout
    figures.update(json.loads(text))


def load(host: Any, *arguments: str) -> AbstractContextManager[dict[str, Any]]:
    """Requests through nginx as long as the block runs; at its end, their figures."""
    # Each is in its process for 0.1 s: so there are as many in flight as without it, and fewer that cost CPU time.
    return alongside(host, "load", "--sleep", "0.1", *arguments)


def plots(host: Any, loads: int, *arguments: str, url: str = PLOT) -> dict[str, Any]:
    """Load the Bokeh page so often, as its protocol has it, and return how many answered a move of the slider."""
    return client(host, "bokeh_page", "--url", url, "--loads", str(loads), "--at-once", "4", *arguments)


def browser(host: Any, *arguments: str, url: str = PLOT.replace("127.0.0.1", "portal.example.org")) -> dict[str, Any]:
    """Load the Bokeh page in a real browser that stands in the server's own network, and move its slider."""
    server = host.backend.get_hostname()
    command = ["docker", "run", "--rm", "--network", f"container:{server}", f"tethys-channels-test/{BROWSER}"]
    run = subprocess.run([*command, *arguments, url], capture_output=True, text=True, timeout=300, check=False)
    assert run.stdout.startswith("{"), run.stdout + run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def status_page(page: Path) -> list[dict[str, Any]]:
    """Read the page of a check in a real browser: a row for each width of the window and color scheme."""
    script = Path(__file__).parent.parent / "browser" / "status_page.py"
    mounts = ("-v", f"{script}:/usr/local/bin/status_page.py:ro", "-v", f"{page}:/home/browser/page.html:ro")
    command = ["docker", "run", "--rm", "--network", "none", *mounts, "--entrypoint", "python3"]
    command += [
        f"tethys-channels-test/{BROWSER}",
        "-B",
        "/usr/local/bin/status_page.py",
        "file:///home/browser/page.html",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.stdout.startswith("["), run.stdout + run.stderr
    found: list[dict[str, Any]] = json.loads(run.stdout)
    return found


def daphnes(host: Any) -> list[dict[str, Any]]:
    """The portal's ASGI processes, as pid, user and command line."""
    rows = host.check_output("ps -eo pid=,user:32=,args= -ww").splitlines()
    found = []
    for row in rows:
        pid, user, command = row.split(None, 2)
        if re.match(r"\S*python\S* \S+/daphne ", command):
            found.append({"pid": int(pid), "user": user, "command": command})
    return found


def django_layers(host: Any, user: str = "www-data") -> Any:
    """CHANNEL_LAYERS as Django has it, not as a file spells it."""
    script = "import json; from django.conf import settings; print(json.dumps(settings.CHANNEL_LAYERS))"
    return json.loads(
        host.check_output(
            f"su -s /bin/sh {user} -c 'cd / && TETHYS_HOME={HOME} DJANGO_SETTINGS_MODULE=tethys_portal.settings"
            f' {PREFIX}/bin/python -c "{script}"\''
        )
    )


def redis(host: Any, *words: str, user: str = "", password: str = "") -> str:
    """Return the answer of Redis to one command, sent from the server with redis-cli."""
    login = f"--user {user} --pass {password} --no-auth-warning" if user else ""
    label = """docker inspect -f '{{index .Config.Labels "tethys.channels.transport"}}' tethys-channels-redis"""
    transport, _blank, where = host.check_output(label).partition(" ")
    place = {"unix": "-s /run/tethys-channels/redis.sock", "host": f"-p {where.rpartition(':')[2]}"}.get(transport, "")
    command = f"docker exec tethys-channels-redis redis-cli {place} {login} {' '.join(words)}"
    return str(host.run(command).stdout).strip()


def secrets(host: Any) -> list[str]:
    """Every secret that no output may show."""
    kept = json.loads(host.check_output("cat /etc/tethys_channels/credentials.json"))
    key = re.search(r"^ *SECRET_KEY: *(\S+)", host.check_output(f"cat {CONFIG}"), re.MULTILINE)
    assert key
    return [kept["password"], kept["admin_password"], key.group(1)]


def decoded(text: str) -> str:
    """The text with everything in it that could be base64 decoded: a plain search misses a slurped file."""
    found = []
    for word in re.findall(r"[A-Za-z0-9+/=_-]{16,}", text):
        for start in range(4):
            piece = word[start:]
            try:
                found.append(
                    base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=None).decode("utf-8", "replace")
                )
            except ValueError:
                continue
    return "\n".join(found)


# What a refused run must leave as it was: files with their modes and contents, packages, containers, units, programs.
SNAPSHOT = r"""
find /etc @CONDA@ -xdev -not -path '*/__pycache__*' -not -path /etc/mtab -printf '%p %M %u %g %s %T@ %l\n' | sort
# A portal that serves writes its logs and its database by itself.
find @HOME@ @HOME@-* /var/log /run/tethys -xdev -printf '%p %M %u %g %l\n' 2>/dev/null | sort
find /etc @HOME@ @HOME@-* -xdev -type f -not -name '*.sqlite*' -exec sha256sum {} + 2>/dev/null | sort -k2
dpkg-query -W -f '${Package} ${Version}\n' | sort
docker ps -a --no-trunc --format '{{.ID}} {{.Image}} {{.Names}} {{.State}}' 2>/dev/null | sort
docker images --no-trunc -q 2>/dev/null | sort
systemctl list-unit-files --no-legend --no-pager
systemctl list-units --type service --state running --no-legend --no-pager --plain | awk '{print $1}'
supervisorctl status 2>/dev/null | awk '{print $1, $2, $4}'
""".replace("@HOME@", HOME).replace("@CONDA@", str(Path(PREFIX).parents[1]))


def snapshot(host: Any) -> str:
    """Everything of the server that a refused run could have changed."""
    return str(host.run(SNAPSHOT).stdout)


def refusal(run: subprocess.CompletedProcess[str]) -> str:
    """The refusal as the administrator reads it, its line breaks folded."""
    assert run.returncode != 0, run.stdout
    assert "Refused; nothing was changed." in run.stdout, run.stdout
    assert changed(run) == 0
    assert "Traceback" not in run.stdout
    tail = run.stdout[run.stdout.index("fatal:") :].partition("PLAY RECAP")[0]
    return " ".join(tail.replace("''", "'").split())


# The server as it was when a test last looked: a refused run leaves it so, and the next test need not look again.
seen: list[str] = []


def refused(host: Any, *words: str, **variables: Any) -> str:
    """Run the playbook, check that it is refused in these words, and that the server has not changed."""
    if not seen:
        seen.append(snapshot(host))
    text = refusal(playbook("site", **variables))
    assert snapshot(host) == seen[0]
    for word in words:
        assert word in text, text
    return text


@contextmanager
def during(host: Any, before: str, after: str) -> Iterator[None]:
    """A state of the server that lasts as long as a test."""
    seen.clear()
    host.check_output(before)
    try:
        yield
    finally:
        seen.clear()
        host.check_output(after)


def home(name: str, change: str) -> str:
    """The command that makes another TETHYS_HOME, a copy of the portal's in which `change` is run."""
    there = f"{HOME}-{name}"
    return (
        f"install -d -o www-data -g www-data -m 0755 {there}"
        f" && cp -pr {CONFIG} {HOME}/tethys_platform.sqlite {HOME}/workspaces {there}"
        f" && sed -i s,{HOME}/tethys_platform,{there}/tethys_platform, {there}/portal_config.yml"
        f" && cd {there} && {change}"
    )


def prefix(name: str, change: str) -> str:
    """The command that makes another environment, a copy of the portal's in which `change` is run."""
    # Hard links: a changed file has to be replaced, not written in place.
    return f"cp -al {PREFIX} {PREFIX}-{name} && cd {PREFIX}-{name} && {change}"


@contextmanager
def config(host: Any, content: bytes) -> Iterator[None]:
    """Another portal_config.yml."""
    encoded = base64.b64encode(content).decode()
    with during(
        host, f"cp -p {CONFIG} /root/kept && echo {encoded} | base64 -d > {CONFIG}", f"cp -p /root/kept {CONFIG}"
    ):
        yield


@contextmanager
def setting(host: Any, text: str, drop: str = "") -> Iterator[None]:
    """The portal_config.yml with a setting more, and without the lines that the pattern matches."""
    lines = host.check_output(f"cat {CONFIG}").splitlines()
    kept = [line for line in lines if not (drop and re.search(drop, line))]
    at = kept.index("settings:") + 1
    with config(host, "\n".join([*kept[:at], text, *kept[at:], ""]).encode()):
        yield
