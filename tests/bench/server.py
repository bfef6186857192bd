# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The throw-away servers that are measured, one set up by the playbook and one by hand as the manual says."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "bench"
COLLECTIONS = ROOT / ".cache" / "collections"
PREFIX = "/opt/conda/envs/tethys"
HOME = "/var/lib/tethys"
IMAGE = "tethys-channels-test/redis:7.0"
PROGRAMS = "/opt/bench"
HIREDIS = "/opt/bench-hiredis"
STARTED_AT_ONCE = 4
PORTAL = {
    "TETHYS_HOME": HOME,
    "DJANGO_SETTINGS_MODULE": "tethys_portal.settings",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": HOME,
}
# What both ways need before they begin: nothing of it is measured.
IN_PLACE = f"""
set -e
docker load -q -i /opt/images/redis-7.0.tar
{PREFIX}/bin/pip install -q --no-index --find-links /opt/wheels --root-user-action ignore channels_redis 'redis<8'
{PREFIX}/bin/pip install -q --no-index --find-links /opt/wheels --root-user-action ignore --target {HIREDIS} hiredis
chmod -R a+rX {PROGRAMS} {HIREDIS}
"""
SETTING = r"""
  CHANNEL_LAYERS:
    default:
      BACKEND: channels_redis.core.RedisChannelLayer
      CONFIG:
        hosts: [["127.0.0.1", 6379]]
"""
# What the manual has an administrator type, with a bound on redis-py without which its layer's sockets die.
PACKAGES_AND_REDIS = f"""
set -e
{PREFIX}/bin/pip install -q --root-user-action ignore channels_redis 'redis<8'
docker run -d -p 6379:6379 {IMAGE}
sed -i '/^settings:$/r /dev/stdin' {HOME}/portal_config.yml <<'END'
{SETTING.strip(chr(10))}
END
"""
PROCESSES = f"""
set -e
export TETHYS_HOME={HOME} PATH={PREFIX}/bin:$PATH
mkdir -p /var/log/tethys
tethys gen asgi_service --asgi-processes @PROCESSES@ --conda-prefix {PREFIX} --overwrite
ln -sf $TETHYS_HOME/asgi_supervisord.conf /etc/supervisor/conf.d/
supervisorctl update
for try in $(seq 600); do
  [ "$(ls /run/tethys_asgi*.sock 2>/dev/null | wc -l)" = @PROCESSES@ ] \\
    && curl -fso /dev/null -H 'Host: portal.example.org' http://127.0.0.1:8000/ && exit 0
  sleep 0.1
done
echo "The portal did not start." >&2
exit 1
"""
# The additional steps of a run of site: inspect the portal before, and verify after it that every process receives
# messages, and that sockets stay open while idle.
LOOK = f"TETHYS_HOME={HOME} {PREFIX}/bin/tethys list"
CHAT = "--url=ws://127.0.0.1:8000/apps/channelchat/chat/ws/"
PROOF = f"""
set -e
cd /opt/clients
{PREFIX}/bin/python ws_fanout.py {CHAT} --clients=12 --processes=@PROCESSES@
{PREFIX}/bin/python ws_idle.py {CHAT} --seconds=7
{PREFIX}/bin/python ws_fanout.py {CHAT} --clients=12 --processes=@PROCESSES@
"""
# The manual's processes leave their sockets behind, which could not be distinguished from those of the next ones.
STOP = "supervisorctl stop asgi:* >/dev/null; rm -f /run/tethys_asgi*"
FACTS = "- hosts: portals\n  gather_facts: true\n"
PING = "- hosts: portals\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n"


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def worked() -> float:
    """The CPU seconds that all cores of the machine have worked."""
    user, nice, system, _idle, _wait, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def counter_file(cgroups: str) -> str:
    """The file that counts a container's CPU, by what /proc/PID/cgroup says of its first process."""
    listed = {names: path for _number, names, path in (line.split(":", 2) for line in cgroups.splitlines())}
    # Under systemd that process has a part of the container's group to itself.
    old = next((path for names, path in listed.items() if "cpuacct" in names.split(",")), None)
    if old is not None:
        return f"/sys/fs/cgroup/cpuacct{old.removesuffix('/init.scope')}/cpuacct.usage"
    return f"/sys/fs/cgroup{listed[''].removesuffix('/init.scope')}/cpu.stat"


class Play(NamedTuple):
    """What a run of a playbook took."""

    seconds: float
    # How many modules were executed on all hosts.
    modules: int
    # Of the machine that Ansible runs on, its own processes and the clients by which it reaches the servers.
    controller_seconds: float
    changed: bool
    # What all else on this machine took of CPU: neither Ansible nor, if the tasks were noted, the servers it ran on.
    other_seconds: float = 0.0
    # What each task took, as callback/task_costs.py noted it.
    tasks: Sequence[Mapping[str, Any]] = ()


class Program:
    """A program that follows words and prints lines."""

    def __init__(self, command: Sequence[str | Path], what: str) -> None:
        self.what = what
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout
        found = self.process.stdout.readline().strip()
        if not found:
            sys.exit(f"{self.what}: the program ended.")
        return found

    def tell(self, word: str) -> None:
        """Have it do something."""
        assert self.process.stdin
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Have it gone."""
        self.process.kill()
        self.process.wait()


class Server:
    """A container that behaves like a server."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self) -> None:
        """Have it run, with the packages and the image in place."""
        self.remove()
        subprocess.run([ROOT / "scripts" / "start-server", self.name, "bookworm"], check=True)
        programs = str(Path(__file__).parent / "programs")
        subprocess.run(["docker", "cp", programs, f"{self.name}:{PROGRAMS}"], check=True, capture_output=True)
        self.inside(IN_PLACE)

    def cpu_counter(self) -> str:
        """Return the kernel's file with the CPU time of the server."""
        inspect = ["docker", "inspect", "--format", "{{.State.Pid}}", self.name]
        pid = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
        return counter_file(Path(f"/proc/{pid}/cgroup").read_text())

    def cpu_seconds(self) -> float:
        """The CPU seconds that the server has taken, all that runs on it included."""
        words = Path(self.cpu_counter()).read_text(encoding="ascii").split()
        return int(words[1]) / 1e6 if words[0] == "usage_usec" else int(words[0]) / 1e9

    def remove(self) -> None:
        """Have it gone, with its volume."""
        subprocess.run(["docker", "rm", "-fv", self.name], capture_output=True, check=False)

    def inside(self, script: str) -> str:
        """What a shell on the server prints."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.name, "bash", "-s"], input=script, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"On {self.name}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def command(self, program: str, *arguments: str, user: str = "www-data") -> list[str]:
        """The command that starts one of the programs in the portal's Python."""
        variables = [word for name, value in PORTAL.items() for word in ("-e", f"{name}={value}")]
        start = ["docker", "exec", "-i", "-u", user, "-w", "/", *variables, self.name]
        return [*start, f"{PREFIX}/bin/python", f"{PROGRAMS}/{program}.py", *arguments]

    def measure(self, program: str, *arguments: str, user: str = "www-data") -> dict[str, Any]:
        """What one of the programs has measured."""
        command = self.command(program, *arguments, user=user)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        if done.returncode or not lines or not lines[-1].startswith("{"):
            sys.exit(f"{program} on {self.name} measured nothing: {done.stdout.strip()} {done.stderr.strip()[-2000:]}")
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def timed(self, script: str) -> float:
        """The seconds that a shell on the server takes."""
        start = time.monotonic()
        self.inside(script)
        return time.monotonic() - start

    def by_hand(self, processes: int) -> float:
        """Type the manual's steps; the seconds they take, from the first to a portal that serves."""
        return self.timed(PACKAGES_AND_REDIS) + self.timed(PROCESSES.replace("@PROCESSES@", str(processes)))

    def look_and_proof_by_hand(self, processes: int) -> float:
        """Return the seconds of a run's additional steps: the inspection of the portal, and the delivery check."""
        return self.timed(LOOK) + self.timed(PROOF.replace("@PROCESSES@", str(processes)))

    def processes_by_hand(self, processes: int) -> None:
        """Have another number of processes as the manual says."""
        self.inside(STOP)
        self.inside(PROCESSES.replace("@PROCESSES@", str(processes)))


def has_commit(commit: str) -> bool:
    """Whether this clone has a commit; a shallow one lacks most."""
    command = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def built(commit: str) -> Path:
    """Build the collection of a commit, and return the folder that it is installed in."""
    place = CACHE / f"at-{commit}"
    if not (place / ".cache" / "collections").exists():
        place.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(place)], input=archive, check=True)
        subprocess.run([place / "scripts" / "install-collection"], check=True)
    return place / ".cache" / "collections"


@contextmanager
def servers(*names: str) -> Iterator[list[Server]]:
    """Servers that are gone afterwards, whatever happens."""
    found = [Server(name) for name in names]
    try:
        with ThreadPoolExecutor(STARTED_AT_ONCE) as pool:
            list(pool.map(Server.start, found))
        yield found
    finally:
        for server in found:
            server.remove()


def write_inventory(hosts: Sequence[Server], processes: int) -> Path:
    """The inventory of these servers."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / "inventory.json"
    variables = {
        "tethys_home": HOME,
        "tethys_conda_prefix": PREFIX,
        "tethys_asgi_processes": processes,
        "redis_container_image": IMAGE,
    }
    named = {host.name: {"ansible_connection": "community.docker.docker"} for host in hosts}
    path.write_text(json.dumps({"portals": {"hosts": named, "vars": variables}}), encoding="utf-8")
    (CACHE / "facts.yml").write_text(FACTS, encoding="utf-8")
    (CACHE / "ping.yml").write_text(PING, encoding="utf-8")
    return path


def play(
    book: str,
    hosts: Sequence[Server],
    processes: int = 1,
    forks: int = 16,
    variables: Mapping[str, Any] | None = None,
    note_tasks: bool = False,
    collections: Path = COLLECTIONS,
) -> Play:
    """Run a playbook, one of the collection's or `facts` or `ping`, on these servers."""
    inventory = write_inventory(hosts, processes)
    name = str(CACHE / f"{book}.yml") if book in ("facts", "ping") else f"tethys.channels.{book}"
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        "ANSIBLE_FORKS": str(forks),
        "ANSIBLE_NOCOLOR": "1",
    }
    noted = CACHE / "tasks.json"
    if note_tasks:
        environment["ANSIBLE_CALLBACK_PLUGINS"] = str(Path(__file__).parent / "callback")
        environment["TASK_COSTS"] = str(noted)
        environment["TASK_COSTS_COUNTERS"] = ":".join(host.cpu_counter() for host in hosts)
    # In JSON all keys are texts; socket_keepalive_options has numbers.
    more = yaml.safe_dump(dict(variables or {}), default_flow_style=True)
    command = ["ansible-playbook", "-vvv", "-i", str(inventory), name, "-e", more]
    busy, before = worked(), resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - start
    busy, after = worked() - busy, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-1000:]}")
    recap = done.stdout.rpartition("PLAY RECAP")[2]
    controller = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    tasks = json.loads(noted.read_text(encoding="utf-8")) if note_tasks else []
    return Play(
        seconds,
        done.stdout.count("Using module file"),
        controller,
        any("changed=0" not in line for line in recap.splitlines() if "changed=" in line),
        busy - controller - sum(task["on_hosts"] for task in tasks),
        tasks,
    )
