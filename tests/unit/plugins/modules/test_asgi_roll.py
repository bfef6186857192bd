# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A roll of ASGI processes: which are outdated, the order of a restart, where it stops, and what is left behind."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import engines, nginx_search, nginx_upstream
from ansible_collections.tethys.channels.plugins.module_utils.asgi_record import Sources
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    answers,
    asgi_restart,
    proc,
    supervisor_files,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.asgi_restart import Roll, RollError
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import alone
from ansible_collections.tethys.channels.plugins.modules import asgi_roll

Module = Callable[..., "dict[str, Any]"]


class FakeSupervisor:
    """Supervisor's RPC namespace over real processes: sleepers, so that the kernel has the start of each."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.states: dict[str, str] = {}
        self.reread: tuple[list[str], list[str], list[str]] = ([], [], [])
        self.calls: list[str] = []
        self.cannot_start: dict[str, str] = {}
        self.silent: set[str] = set()
        self.lingering: dict[str, int] = {}  # for how many more questions a stopped process is about to end
        self.program = 0  # how many processes the group `asgi` gets when it is added

    def answering(self, full: str) -> Path:
        group, _colon, name = full.partition(":")
        number = asgi_restart.asgi_number(group)
        return self.run_dir / f"{name if number is None else f'tethys_asgi_{8000 + number}'}.answers"

    def start(self, full: str) -> None:
        self.processes[full] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.states[full] = "RUNNING"
        # It is in /proc, with its start time, from the fork on.
        if full.partition(":")[2] not in self.silent:
            self.answering(full).touch()

    def end(self, full: str) -> None:
        process = self.processes.pop(full, None)
        if process:
            process.kill()
            process.wait()
        self.states[full] = "STOPPED"
        self.answering(full).unlink(missing_ok=True)

    def of(self, group: str) -> list[str]:
        return [full for full in self.states if full.startswith(f"{group}:")]

    def getAllProcessInfo(self) -> list[dict[str, Any]]:
        rows = [self.row(full) for full in self.states]
        return [*rows, {"group": "nginx", "name": "nginx", "statename": "RUNNING", "pid": 1}]

    def row(self, full: str) -> dict[str, Any]:
        pid = self.processes[full].pid if full in self.processes else 0
        group, _colon, name = full.partition(":")
        return {"group": group, "name": name, "statename": self.states[full], "pid": pid}

    def getProcessInfo(self, full: str) -> dict[str, Any]:
        if self.states[full] == "STOPPING":
            self.lingering[full] -= 1
            if not self.lingering[full]:
                self.end(full)
        return self.row(full)

    def reloadConfig(self) -> list[Any]:
        self.calls.append("reloadConfig")
        return [list(self.reread)]

    def stopProcess(self, full: str, wait: bool) -> None:
        self.calls.append(f"stop {full}")
        if self.states[full] != "RUNNING":
            raise xmlrpc.client.Fault(70, f"NOT_RUNNING: {full}")
        assert not wait, "Supervisor uses all of a core while it waits."
        if full in self.lingering:
            self.states[full] = "STOPPING"
        else:
            self.end(full)

    def startProcess(self, full: str, wait: bool) -> None:
        self.calls.append(f"start {full}")
        name = full.partition(":")[2]
        assert not wait, "What Supervisor says of a process that crashes depends on when."
        if name in self.cannot_start:
            self.states[full] = "FATAL"
            raise xmlrpc.client.Fault(50, self.cannot_start[name])
        assert self.states[full] != "STOPPING", "Supervisor fails for a process that has not ended."
        self.start(full)

    def stopProcessGroup(self, group: str, wait: bool) -> None:
        self.calls.append(f"stop {group}")
        assert not wait, "Supervisor uses all of a core while it waits."
        for full in self.of(group):
            if full in self.lingering:
                self.states[full] = "STOPPING"
            else:
                self.end(full)

    def removeProcessGroup(self, group: str) -> None:
        self.calls.append(f"remove {group}")
        assert "STOPPING" not in [self.states[full] for full in self.of(group)], "Supervisor fails: STILL_RUNNING."
        for full in self.of(group):
            del self.states[full]

    def addProcessGroup(self, group: str) -> None:
        self.calls.append(f"add {group}")
        if group == "asgi":
            for number in range(self.program):
                self.start(f"asgi:tethys_asgi{number}")
        else:
            self.start(f"{group}:{group}")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisor]:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    supervisor = FakeSupervisor(run_dir)
    monkeypatch.setattr(asgi_restart, "answers", lambda path, _host: Path(path).with_suffix(".answers").exists())
    yield supervisor
    for process in supervisor.processes.values():
        process.kill()
        process.wait()


class Ground:
    """The files that a process reads, and the parameters of a roll over them."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "portal_config.yml"
        self.site_packages = folder / "site-packages"
        self.record = folder / "state" / "processes.json"
        self.params: dict[str, Any] = {
            "group": "asgi",
            "other_groups": [],
            "replaces": [],
            "processes": 3,
            "port": 8000,
            "layout": "shared_socket",
            "upstream": None,
            "pins": [],
            "drain_seconds": 0,
            "run_dir": str(folder / "run"),
            "old_run_dirs": [str(folder / "old")],
            "log_dir": "/var/log/tethys",
            "reads": [str(self.config)],
            "site_packages": str(self.site_packages),
            "redis_container": None,
            "redis_started_at": 0,
            "record": str(self.record),
            "timeout": 1,
            "host_name": "portal.example.org",
        }
        for made in (self.site_packages, self.record.parent, folder / "old"):
            made.mkdir()
        self.config.write_text("settings: {}\n", encoding="utf-8")
        (self.site_packages / "redis-7.0.dist-info").mkdir()
        self.age(60)

    def age(self, seconds: float) -> None:
        """Let everything that is read have last changed that long ago."""
        then = time.time() - seconds
        for path in (self.config, *self.site_packages.iterdir()):
            os.utime(path, (then, then))

    def sources(self) -> Sources:
        return Sources(self.params["reads"], self.params["site_packages"])


@pytest.fixture
def ground(tmp_path: Path, fake: FakeSupervisor) -> Ground:
    return Ground(tmp_path)


@pytest.fixture
def roll(ground: Ground, fake: FakeSupervisor) -> Roll:
    """A roll over three processes that have just started."""
    for number in (10, 0, 1):
        fake.start(f"asgi:tethys_asgi{number}")
    return Roll(ground.params, fake)


@pytest.fixture
def module(
    run_module: Module, monkeypatch: pytest.MonkeyPatch, fake: FakeSupervisor, ground: Ground
) -> Callable[..., dict[str, Any]]:
    """Runs the module on the fake Supervisor."""

    class Connected:
        config = "/opt/conda/etc/supervisord.conf"
        socket_path = "/run/supervisor.sock"

        def __init__(self, timeout: float) -> None:
            assert timeout > ground.params["timeout"]

        def state(self) -> Any:
            return {"pid": 1}

        def rpc(self) -> Any:
            return fake

        def files(self) -> Any:
            return ()

        def program_files(self) -> Any:
            return ()

    monkeypatch.setattr(asgi_roll, "Supervisor", Connected)

    def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {name: value for name, value in {**ground.params, **arguments}.items() if value is not None}
        return run_module(asgi_roll.main, check, **given)

    return run


NAMES = ["tethys_asgi0", "tethys_asgi1", "tethys_asgi10"]


def outdated(roll: Roll, sources: Sources, record: dict[str, str]) -> list[str]:
    return [row["name"] for row in roll.outdated(sources, record)]


# --- what a process runs with ---------------------------------------------------------------------------------------


def test_the_rows_are_the_groups_own_in_order(roll: Roll) -> None:
    assert [row["name"] for row in roll.rows()] == NAMES


def test_a_process_is_told_by_its_start(roll: Roll, fake: FakeSupervisor) -> None:
    pid = fake.processes["asgi:tethys_asgi0"].pid
    key = proc.process_key(pid)
    assert key is not None
    assert key.partition(":")[0] == str(pid)
    assert abs(proc.started_at(key) - time.time()) < 30
    fake.end("asgi:tethys_asgi0")
    assert proc.process_key(pid) is None


def test_the_sum_is_over_everything_that_is_read(ground: Ground) -> None:
    sums = [ground.sources().sum]
    ground.config.write_text("settings: {A: 1}\n", encoding="utf-8")
    sums.append(ground.sources().sum)
    (ground.site_packages / "redis-7.0.dist-info").rename(ground.site_packages / "redis-7.1.dist-info")
    sums.append(ground.sources().sum)
    (ground.site_packages / "new.py").touch()
    assert ground.sources().sum == sums[-1], "Only what is installed counts, not what Python writes there."
    ground.age(3600)
    assert ground.sources().sum == sums[-1], "The time alone does not count."
    assert len(set(sums)) == 3


def test_newest_is_the_last_change(ground: Ground) -> None:
    assert abs(ground.sources().newest - (time.time() - 60)) < 5
    os.utime(ground.config, (time.time(), time.time()))
    assert abs(ground.sources().newest - time.time()) < 5


def test_without_a_record_the_time_tells(roll: Roll, ground: Ground) -> None:
    assert outdated(roll, ground.sources(), {}) == []
    later = time.time() + 60
    os.utime(ground.config, (later, later))
    assert outdated(roll, ground.sources(), {}) == NAMES


def test_what_hangs_is_outdated(roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    fake.answering("asgi:tethys_asgi1").unlink()
    assert outdated(roll, ground.sources(), {}) == ["tethys_asgi1"]


def test_the_record_tells_more_than_the_time(roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    sources = ground.sources()
    keys = {name: str(proc.process_key(fake.processes[f"asgi:{name}"].pid)) for name in NAMES}
    record = {keys[NAMES[0]]: sources.sum, keys[NAMES[1]]: "another sum", keys[NAMES[2]]: sources.sum}
    assert outdated(roll, sources, record) == [NAMES[1]]
    # A file that was only touched, or that came back as it was, is no reason to restart.
    later = time.time() + 60
    os.utime(ground.config, (later, later))
    assert outdated(roll, ground.sources(), {key: sources.sum for key in keys.values()}) == []


def test_what_does_not_run_is_outdated(roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    fake.end("asgi:tethys_asgi1")
    assert outdated(roll, ground.sources(), {}) == ["tethys_asgi1"]


def test_a_process_is_started_once_it_has_ended(roll: Roll, fake: FakeSupervisor) -> None:
    fake.lingering["asgi:tethys_asgi0"] = 3
    row = roll.rows()[0]
    roll.restart(row)
    assert fake.calls[-2:] == ["stop asgi:tethys_asgi0", "start asgi:tethys_asgi0"]
    assert roll.restarted == ["tethys_asgi0"]
    # One that has ended meanwhile is not waited for: Supervisor may start it again.
    fake.end("asgi:tethys_asgi0")
    fake.lingering["asgi:tethys_asgi0"] = 10**6
    roll.restart(row)
    assert roll.restarted == ["tethys_asgi0"] * 2


def test_a_group_is_removed_once_its_processes_have_ended(roll: Roll, fake: FakeSupervisor) -> None:
    """A program that was found may take minutes, longer than a connection to Supervisor is waited for."""
    fake.lingering["asgi:tethys_asgi0"] = 3
    roll.drop({"asgi"})
    assert fake.calls[-2:] == ["stop asgi", "remove asgi"]


def test_a_process_that_does_not_end(roll: Roll, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_restart, "STOP_SECONDS", 0.3)
    fake.lingering["asgi:tethys_asgi0"] = 10**6
    with pytest.raises(RollError, match=r"asgi:tethys_asgi0 has not ended \(STOPPING\) after 0\.3 s\. Still"):
        roll.restart(roll.rows()[0])
    assert fake.calls[-1] == "stop asgi:tethys_asgi0"


def redis_of(pid: int | None, ended: float | None) -> type:
    """An engine whose container runs with that process, and ended before so many seconds from now."""
    text = "0001-01-01T00:00:00Z"
    if ended is not None:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + ended)) + ".123456789Z"

    class Engine:
        def get(self, url: str) -> Any:
            assert url == "/containers/tethys-channels-redis/json"
            return {"State": {"Pid": pid, "FinishedAt": text}}

    return Engine


@pytest.mark.parametrize(
    ("ended", "stale"),
    [
        # Recreated, or restarted, while the processes ran; the clock may have been put back since.
        (None, NAMES),
        (-1, NAMES),
        (3600, NAMES),
        # After a reboot: the processes were there before Redis was, and have never known the one that ended.
        (-(10**9), []),
    ],
)
def test_a_process_older_than_redis_has_lost_its_groups(
    roll: Roll,
    ground: Ground,
    fake: FakeSupervisor,
    monkeypatch: pytest.MonkeyPatch,
    ended: float | None,
    stale: list[str],
) -> None:
    monkeypatch.setattr(engines, "Docker", None)
    assert outdated(roll, ground.sources(), {}) == [], "Where the collection runs no Redis, nobody is asked."
    roll.params.update(redis_container="tethys-channels-redis", redis_engine="docker")
    monkeypatch.setattr(engines, "Docker", redis_of(os.getpid(), ended))
    assert outdated(roll, ground.sources(), {}) == [], "This one is older than the processes."
    time.sleep(0.1)
    with subprocess.Popen(["sleep", "60"]) as redis:
        monkeypatch.setattr(engines, "Docker", redis_of(redis.pid, ended))
        assert outdated(roll, ground.sources(), {}) == stale
        redis.kill()


@pytest.mark.parametrize("answer", [None, {}, {"State": {"Pid": 0}}, {"State": {"FinishedAt": "?"}}, OSError("none")])
def test_a_start_of_redis_that_cannot_be_told(
    roll: Roll, ground: Ground, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    class Engine:
        def get(self, url: str) -> Any:
            if isinstance(answer, OSError):
                raise answer
            return answer

    monkeypatch.setattr(engines, "Docker", Engine)
    roll.params.update(redis_container="tethys-channels-redis", redis_engine="docker")
    assert outdated(roll, ground.sources(), {}) == []


def test_keep(roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    keys = {name: str(proc.process_key(fake.processes[f"asgi:{name}"].pid)) for name in NAMES}
    sources = ground.sources()
    roll.restarted.append(NAMES[1])
    roll.keep(sources, {keys[NAMES[0]]: "older", keys[NAMES[1]]: "older", "1:1": "gone"})
    kept = json.loads(ground.record.read_text(encoding="utf-8"))
    assert kept == {keys[NAMES[0]]: "older", keys[NAMES[1]]: sources.sum, keys[NAMES[2]]: sources.sum}
    assert atomic_file.read_notes(ground.record) == kept
    assert list(ground.record.parent.iterdir()) == [ground.record]


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "7"])
def test_a_record_that_is_none(ground: Ground, text: str | None) -> None:
    if text is not None:
        ground.record.write_text(text, encoding="utf-8")
    assert atomic_file.read_notes(ground.record) == {}


# --- rolls ----------------------------------------------------------------------------------------------------------


def test_nothing_to_do(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    result = module()
    assert (result["changed"], result["restarted"], result["regrouped"]) == (False, [], False)
    assert fake.calls == ["reloadConfig"]


def test_a_supervisor_elsewhere_is_recorded(module: Module, roll: Roll, ground: Ground) -> None:
    note = Path(ground.params["record"]).with_name("supervisor.json")
    module(check=True)
    assert not note.exists()
    module()
    assert json.loads(note.read_text(encoding="utf-8")) == {"config": "/opt/conda/etc/supervisord.conf"}


def test_one_after_the_other(module: Module, roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    module()
    fake.calls.clear()
    ground.config.write_text("settings: {A: 1}\n", encoding="utf-8")
    result = module()
    assert (result["changed"], result["restarted"]) == (True, NAMES)
    wanted = [f"{verb} asgi:{name}" for name in NAMES for verb in ("stop", "start")]
    assert fake.calls == ["reloadConfig", *wanted]
    assert module()["changed"] is False


def test_only_those_left_over_from_a_killed_run(
    module: Module, roll: Roll, ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    module()
    ground.config.write_text("settings: {A: 1}\n", encoding="utf-8")
    done: list[str] = []
    restart = Roll.restart

    def once(self: Roll, row: dict[str, Any]) -> None:
        if done:
            raise KeyboardInterrupt
        restart(self, row)
        done.append(row["name"])

    with monkeypatch.context() as patched:
        patched.setattr(Roll, "restart", once)
        with pytest.raises(KeyboardInterrupt):
            module()
    assert module()["restarted"] == NAMES[1:]


def test_a_process_that_does_not_come_back_stops_the_roll(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    fake.silent.add("tethys_asgi1")
    result = module(force=True)
    assert result["failed"]
    assert result["msg"] == (
        "Process asgi:tethys_asgi1 does not answer (RUNNING) after 1 s at the most: read"
        " /var/log/tethys/tethys_asgi1.log. Still serving: tethys_asgi0, tethys_asgi10."
    )
    assert result["restarted"] == ["tethys_asgi0"]
    assert "stop asgi:tethys_asgi10" not in fake.calls


def test_the_log_that_the_program_names_is_the_one_to_read(
    module: Module, roll: Roll, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Tethys Docker, where all processes write to one."""
    log = "/var/log/tethys/tethys.log"
    monkeypatch.setattr(fake, "getProcessInfo", lambda full: {**fake.row(full), "stdout_logfile": log})
    fake.silent.add("tethys_asgi1")
    assert f"read {log}. Still serving" in module(force=True)["msg"]
    fake.cannot_start["tethys_asgi0"] = "NO_FILE"
    assert f"Supervisor cannot start asgi:tethys_asgi0 (NO_FILE): read {log}. " in module(force=True)["msg"]


def test_a_process_that_cannot_be_started_stops_the_roll(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    fake.cannot_start["tethys_asgi0"] = "NOT_EXECUTABLE: asgi:tethys_asgi0"
    result = module(force=True)
    assert result["failed"]
    assert result["msg"] == (
        "Supervisor cannot start asgi:tethys_asgi0 (NOT_EXECUTABLE: asgi:tethys_asgi0): read"
        " /var/log/tethys/tethys_asgi0.log. Still serving: tethys_asgi1, tethys_asgi10."
    )
    assert "stop asgi:tethys_asgi1" not in fake.calls


def test_the_last_process_that_does_not_come_back(ground: Ground, fake: FakeSupervisor) -> None:
    fake.silent.add("tethys_asgi0")
    fake.start("asgi:tethys_asgi0")
    fake.states["asgi:tethys_asgi0"] = "FATAL"
    start = time.monotonic()
    with pytest.raises(RollError, match=r"\(FATAL\).*No other process answers\."):
        Roll({**ground.params, "timeout": 60}, fake).wait(fake.row("asgi:tethys_asgi0"))
    assert time.monotonic() - start < 5, "What Supervisor has given up is not waited for."


def test_one_that_crashes_as_it_starts_is_not_waited_for(
    ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.silent |= {"tethys_asgi0", "tethys_asgi1"}
    for number in range(3):
        fake.start(f"asgi:tethys_asgi{number}")
    fake.states["asgi:tethys_asgi1"] = "STARTING"
    pids = iter(range(1, 100))
    monkeypatch.setattr(fake, "getProcessInfo", lambda full: {**fake.row(full), "pid": next(pids)})
    start = time.monotonic()
    with pytest.raises(RollError) as failed:
        Roll({**ground.params, "timeout": 60}, fake).wait(fake.row("asgi:tethys_asgi0"))
    assert time.monotonic() - start < 5
    assert str(failed.value) == (
        "Process asgi:tethys_asgi0 ended 3 times while it started (RUNNING): read /var/log/tethys/tethys_asgi0.log."
        # Number 1 runs, for Supervisor, and does not answer.
        " Still serving: tethys_asgi2."
    )


def test_one_that_answers_is_waited_for_until_supervisor_calls_it_running(
    ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.start("asgi:tethys_asgi0")
    states = ["RUNNING", "STARTING", "STARTING"]
    monkeypatch.setattr(fake, "getProcessInfo", lambda full: {**fake.row(full), "statename": states.pop()})
    Roll({**ground.params, "timeout": 60}, fake).wait(fake.row("asgi:tethys_asgi0"))
    assert not states


def test_one_that_had_stopped_is_started(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    fake.end("asgi:tethys_asgi1")
    assert module()["restarted"] == ["tethys_asgi1"]


@pytest.mark.parametrize("kind", ["added", "changed"])
def test_a_new_program_file(module: Module, fake: FakeSupervisor, kind: str) -> None:
    if kind == "changed":
        fake.start("asgi:tethys_asgi0")
    fake.reread = (["asgi"], [], []) if kind == "added" else ([], ["asgi"], [])
    fake.program = 3
    result = module()
    assert (result["regrouped"], result["restarted"], result["changed"]) == (True, [], True)
    before = ["stop asgi", "remove asgi"] if kind == "changed" else []
    assert fake.calls == ["reloadConfig", *before, "add asgi"]
    fake.reread = ([], [], [])
    assert module()["changed"] is False


def test_the_change_of_another_program_is_left_alone(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    fake.reread = (["other"], ["nginx"], ["third"])
    assert module()["changed"] is False
    assert fake.calls == ["reloadConfig"]


@pytest.mark.parametrize("kind", ["added", "changed"])
def test_only_the_groups_of_the_layout_are_started(
    module: Module, apart: Module, roll: Roll, fake: FakeSupervisor, kind: str
) -> None:
    """Somebody who can change a file that Supervisor reads may add a program without `user`, which runs as root."""

    def found(*groups: str) -> tuple[list[str], list[str], list[str]]:
        return (list(groups), [], []) if kind == "added" else ([], list(groups), [])

    fake.reread = found("tethys_asgi7", "tethys_asgi0")
    assert module(layout="shared_socket", upstream=None)["changed"] is False
    assert fake.calls == ["reloadConfig"]
    for name in own(0, 1, 2):
        fake.start(f"{name}:{name}")
    fake.reread = found("asgi", "tethys_asgi7")
    assert apart()["regrouped"] is False
    assert fake.calls == ["reloadConfig"]


def test_a_file_of_somebody_else_starts_what_it_defines(ground: Ground, fake: FakeSupervisor, tmp_path: Path) -> None:
    program = tmp_path / "asgi.conf"
    program.write_text("[fcgi-program:tethys_asgi0]\n", encoding="utf-8")
    roll = Roll({**ground.params, "processes": 0, "program": str(program)}, fake)
    assert roll.expected() == {"tethys_asgi0"}
    program.unlink()
    roll = Roll({**ground.params, "processes": 0, "program": str(program)}, fake)
    assert roll.expected() == {"asgi"}, "One that cannot be read is the manual's."


def test_a_portal_with_a_name_has_groups_of_its_own(ground: Ground) -> None:
    ground.params.update(portal_name="staging", group="tethys_staging_asgi", layout="socket_per_process")
    roll = Roll(ground.params, None)
    assert roll.expected() == {f"tethys_staging_asgi{number}" for number in range(3)}
    for group, is_its in (("tethys_staging_asgi", True), ("tethys_staging_asgi7", True), ("asgi", False)):
        assert roll.is_portals(group) is is_its
    assert not roll.is_portals("tethys_asgi0")
    row = {"group": "tethys_staging_asgi1", "name": "tethys_asgi1"}
    assert roll.own_socket(row) == f"{ground.params['run_dir']}/tethys_asgi_8001.sock"


def test_a_group_that_others_define_besides_is_not_started(
    ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = str(tmp_path / "asgi.conf")
    other = supervisor_files.File(str(tmp_path / "nginx.conf"), b"", {"program: asgi": {"command": "/home/u/x"}})
    ours = supervisor_files.File(program, b"", {"fcgi-program:asgi": {}})
    roll = Roll({**ground.params, "program": program}, fake, None, lambda: [ours, other])
    fake.reread = (["asgi"], [], [])
    monkeypatch.setattr(asgi_restart, "writable_by_others", lambda path: [{"how": "everybody"}])
    with pytest.raises(RollError, match=r"nginx\.conf defines asgi besides .*asgi\.conf, and a user other than root"):
        roll.reread()
    assert fake.calls == ["reloadConfig"]
    monkeypatch.setattr(asgi_restart, "writable_by_others", lambda path: [])
    roll.reread()
    assert fake.calls[-1] == "add asgi"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_a_file_that_is_exchanged_while_supervisor_reads_it(
    ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The manual's link into TETHYS_HOME: what is checked is what Supervisor reads, and the link is back after it."""
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    program, link = tmp_path / "conf.d/asgi.conf", tmp_path / "conf.d/nginx.conf"
    target = tmp_path / "home/nginx.conf"
    for folder in (program.parent, target.parent):
        folder.mkdir()
    program.write_text("[fcgi-program:asgi]\ncommand=daphne\n", encoding="utf-8")
    target.write_text("[program:nginx]\ncommand=nginx\n", encoding="utf-8")
    os.chown(target.parent, 65534, 65534)
    os.chown(target, 65534, 65534)
    link.symlink_to(target)
    read: list[Any] = []
    target.chmod(0o4646)

    def reload_config() -> list[Any]:
        good = target.read_text(encoding="utf-8")
        target.write_text("[program:asgi]\ncommand=id\nuser=root\n", encoding="utf-8")
        copy = link.stat()
        read.append((link.read_text(encoding="utf-8"), oct(copy.st_mode), copy.st_uid, copy.st_gid))
        target.write_text(good, encoding="utf-8")
        return [[["asgi"], [], []]]

    monkeypatch.setattr(fake, "reloadConfig", reload_config)
    configuration = tmp_path / "supervisord.conf"
    configuration.write_text("[include]\nfiles = conf.d/*.conf\n", encoding="utf-8")
    found = supervisor_files.SupervisorFiles(str(configuration))
    roll = Roll({**ground.params, "program": str(program)}, fake, None, found.files, found.program_files)
    roll.reread()
    assert read == [("[program:nginx]\ncommand=nginx\n", "0o100644", 0, 65534)]
    assert fake.calls[-1] == "add asgi"
    assert os.readlink(link) == str(target)
    assert sorted(path.name for path in link.parent.iterdir()) == ["asgi.conf", "nginx.conf"]
    # One that cannot be copied is not read by Supervisor.
    target.unlink()
    os.mkfifo(target)
    os.chown(target, 65534, 65534)
    read.clear()
    with pytest.raises(RollError, match=r"nginx\.conf is no regular file: Supervisor reads it as root"):
        roll.reread()
    assert read == []
    assert os.readlink(link) == str(target)


@pytest.mark.parametrize("title", ["program:daphne", "group:daphne", "fcgi-program: daphne", "eventlistener:daphne"])
@pytest.mark.parametrize("writable", ["nginx.conf", "daphne.conf"])
def test_a_group_of_any_name_that_others_define_besides_is_not_started(
    ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, title: str, writable: str
) -> None:
    """Supervisor merges the sections of both files, and the later one wins: `user=root` would start as root."""
    program = tmp_path / "daphne.conf"
    program.write_text(PORTAL.replace("[program:portal]", "[program:daphne]"), encoding="utf-8")
    other = supervisor_files.File(str(tmp_path / "nginx.conf"), b"", {title: {"command": "/home/u/x", "user": "root"}})
    ours = supervisor_files.File(str(program), b"", supervisor_files.parse(program.read_text(encoding="utf-8")))
    roll = Roll({**ground.params, "processes": 0, "program": str(program)}, fake, None, lambda: [ours, other])
    monkeypatch.setattr(asgi_restart, "writable_by_others", lambda path: [1] if path.endswith(writable) else [])
    for fake.reread in ((["daphne"], [], []), ([], ["daphne"], [])):
        with pytest.raises(RollError, match=rf"{writable} defines daphne besides .*, and a user other than root"):
            roll.reread()
    assert set(fake.calls) == {"reloadConfig"}


def test_a_program_of_a_group_that_others_define_besides_is_not_started(
    ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "asgi.conf"
    program.write_text("[group:asgi]\nprograms=web, other\n[program:web]\ncommand=daphne\n", encoding="utf-8")
    other = supervisor_files.File(str(tmp_path / "nginx.conf"), b"", {"program:web": {"command": "/home/u/x"}})
    ours = supervisor_files.File(str(program), b"", supervisor_files.parse(program.read_text(encoding="utf-8")))
    roll = Roll({**ground.params, "processes": 0, "program": str(program)}, fake, None, lambda: [ours, other])
    fake.reread = (["asgi"], [], [])
    monkeypatch.setattr(asgi_restart, "writable_by_others", lambda path: [1] if path.endswith("nginx.conf") else [])
    with pytest.raises(RollError, match=r"nginx\.conf defines web besides .*asgi\.conf"):
        roll.reread()
    assert fake.calls == ["reloadConfig"]


@pytest.mark.parametrize("how", ["replaces", "put back"])
def test_a_group_of_roots_is_not_the_portals_because_a_file_of_its_user_names_it(
    ground: Ground, fake: FakeSupervisor, tmp_path: Path, how: str
) -> None:
    program = tmp_path / "asgi.conf"
    program.write_text(PORTAL if how == "put back" else "[fcgi-program:asgi]\n", encoding="utf-8")
    roots = supervisor_files.File(str(tmp_path / "portal.conf"), b"", {"program:portal": {"command": "/opt/x"}})
    fake.start("portal:portal")
    asked = {**ground.params, "program": str(program)}
    asked.update({"processes": 0} if how == "put back" else {"replaces": ["portal"]})
    assert [row["group"] for row in Roll(asked, fake).rows()] == ["portal"], "Only its own file defines it."
    assert Roll(asked, fake, None, lambda: [roots]).rows() == []


def test_a_group_that_is_left_alone_and_holds_the_port(
    apart: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Roll, "held_ports", lambda self, group: {8000})
    fake.start("tethys_asgi7:tethys_asgi7")
    fake.reread = (own(0), ["tethys_asgi7"], [])
    assert apart(processes=1)["msg"].startswith("Supervisor's tethys_asgi7 holds the port of tethys_asgi0 and is not")


def test_a_configuration_that_supervisor_cannot_read(
    module: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise xmlrpc.client.Fault(92, "CANT_REREAD: File contains no section headers.")

    monkeypatch.setattr(fake, "reloadConfig", fail)
    result = module()
    assert result["failed"]
    assert "cannot read its configuration (CANT_REREAD" in result["msg"]
    assert "supervisorctl reread" in result["msg"]


def test_fewer_processes_than_the_file_says(module: Module, fake: FakeSupervisor) -> None:
    fake.reread = (["asgi"], [], [])
    fake.program = 2
    result = module()
    assert result["failed"]
    assert result["msg"].startswith("2 of 3 processes run under Supervisor: `supervisorctl status`")


def test_a_program_file_of_somebody_else_is_asked_by_its_port(
    module: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(asgi_restart, "port_answers", lambda port, _address, _host: not asked.append(port))
    fake.silent.add("tethys_asgi0")
    fake.reread, fake.program = (["asgi"], [], []), 1
    assert module(processes=0, port=8000)["regrouped"] is True
    assert set(asked) == {8000}


# --- programs of other names ------------------------------------------------------------------------------------------

PORTAL = "[program:portal]\ncommand=daphne -b 10.0.0.5 -p 8001 tethys_portal.asgi:application\n"


def test_a_group_of_another_name_that_runs_the_portal_is_replaced(
    module: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.start("portal:portal")
    fake.reread, fake.program = (["asgi"], [], ["portal"]), 3
    assert module(replaces=["portal"])["regrouped"] is True
    # Its port has to be free first.
    assert fake.calls[1:] == ["stop portal", "remove portal", "add asgi"]


def test_a_program_that_holds_every_port_goes_before_the_first_new_process(
    apart: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Roll, "held_ports", lambda _roll, group: {8000, 8001, 8002} if group == "portal" else set())
    fake.start("portal:portal")
    fake.reread = (own(0, 1, 2), [], ["portal"])
    assert apart(replaces=["portal"], processes=3)["regrouped"] is True
    calls = [call for call in fake.calls if call.startswith(("stop", "remove", "add"))]
    assert calls == ["stop portal", "remove portal", *(f"add tethys_asgi{number}" for number in range(3))]


LISTENS = (
    "import socket, time; here = [socket.create_server(('127.0.0.1', 0)) for _each in range(2)];"
    " print(*(each.getsockname()[1] for each in here), flush=True); time.sleep(60)"
)


def test_the_ports_of_a_plain_programs_processes(
    ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As `bash -c` without exec has it, the server is a child of what Supervisor started.
    words = ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", LISTENS]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        needed, other = map(int, process.stdout.readline().split())
        monkeypatch.setattr(Roll, "rows", lambda _roll: [{"group": "portal", "pid": process.pid}])
        asked = {**ground.params, "layout": "socket_per_process", "port": needed, "processes": 1}
        # Nothing is sent to the other port, which may be an app's.
        assert Roll(asked, fake).held_ports("portal") == {needed}
        assert Roll({**asked, "port": other}, fake).held_ports("portal") == {other}
        for pid in proc.descendants(process.pid):
            os.kill(pid, signal.SIGKILL)


def test_a_group_of_another_name_that_runs_something_else_is_left_alone(module: Module, fake: FakeSupervisor) -> None:
    fake.start("portal:portal")
    fake.reread, fake.program = (["asgi"], [], ["portal"]), 3
    module()
    assert fake.calls[1:] == ["add asgi"]


def test_another_site_named_asgi_is_left_alone(module: Module, fake: FakeSupervisor) -> None:
    for number in range(3):
        fake.start(f"tethys_asgi:tethys_asgi{number}")
    fake.states["asgi:asgi0"] = "STOPPED"
    fake.reread = ([], ["asgi"], [])
    result = module(group="tethys_asgi", other_groups=["asgi"])
    assert (result["regrouped"], result["restarted"]) == (False, [])
    assert fake.calls == ["reloadConfig"]
    fake.reread = ([], [], ["asgi"])
    assert module(group="tethys_asgi", other_groups=["asgi"])["regrouped"] is False


def test_a_portal_of_another_name_comes_back(
    module: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[int, str, str]] = []
    monkeypatch.setattr(asgi_restart, "port_answers", lambda *where: not asked.append(where))
    (tmp_path / "portal.conf").write_text(PORTAL, encoding="utf-8")
    for number in range(3):
        fake.start(f"asgi:tethys_asgi{number}")
    fake.reread = (["portal"], [], ["asgi"])
    module(processes=0, program=str(tmp_path / "portal.conf"))
    # It has a separate port, so nothing blocks it.
    assert [call for call in fake.calls if "asgi" in call or "portal" in call] == [
        "add portal",
        "stop asgi",
        "remove asgi",
    ]
    assert set(asked) >= {(8001, "10.0.0.5", "portal.example.org")}


@pytest.mark.parametrize(
    "options",
    [
        "command=daphne -u /run/t/asgi%(process_num)d.sock tethys_portal.asgi:application",
        "command=daphne -b 10.0.0.5 -p 80%(process_num)02d tethys_portal.asgi:application",
        "command=daphne -b %(ENV_IP)s -p 8001 tethys_portal.asgi:application",
        "socket=tcp://%(ENV_IP)s:8001\ncommand=daphne --fd 0 tethys_portal.asgi:application",
        "socket=unix:///run/t/%(program_name)s.sock\ncommand=daphne --fd 0 tethys_portal.asgi:application",
    ],
)
def test_where_supervisor_expands_the_address_its_state_is_the_answer(
    module: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: str
) -> None:
    monkeypatch.setattr(asgi_restart, "port_answers", lambda *_where: False)
    (tmp_path / "asgi.conf").write_text(f"[program:asgi]\nnumprocs=2\n{options}\n", encoding="utf-8")
    fake.reread, fake.program = (["asgi"], [], []), 2
    fake.silent |= {"tethys_asgi0", "tethys_asgi1"}
    result = module(processes=0, program=str(tmp_path / "asgi.conf"))
    assert (result.get("msg"), result["regrouped"]) == (None, True)
    # One that ends as it starts is not up.
    fake.states["asgi:tethys_asgi1"] = "BACKOFF"
    fake.reread, fake.cannot_start = ([], [], []), {"tethys_asgi1": "SPAWN_ERROR"}
    assert "cannot start asgi:tethys_asgi1" in module(processes=0, program=str(tmp_path / "asgi.conf"))["msg"]


@pytest.mark.parametrize("options", ["-b 10.0.0.5 -p 8001", "-u /run/t/asgi.sock"])
def test_an_address_is_known_whatever_else_supervisor_expands(tmp_path: Path, options: str) -> None:
    text = f"[program:asgi]\ncommand=%(ENV_BIN)s/daphne {options} tethys_portal.asgi:application\n"
    (tmp_path / "asgi.conf").write_text(text, encoding="utf-8")
    assert asgi_restart.endpoints_of(str(tmp_path / "asgi.conf"))["asgi"] is not None


def test_supervisor_that_stops_answering(module: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(fake, "reloadConfig", fail)
    assert module()["msg"].startswith("Supervisor stopped answering: reset by peer.")


@pytest.mark.parametrize("check", [False, True])
def test_supervisor_that_does_not_run(
    run_module: Module, monkeypatch: pytest.MonkeyPatch, ground: Ground, check: bool
) -> None:
    class Gone:
        config = "/opt/conda/etc/supervisord.conf"
        socket_path = "/run/supervisor.sock"
        stranger = "process 7 of user nobody listens there instead"

        def __init__(self, timeout: float) -> None:
            pass

        def state(self) -> None:
            return None

    monkeypatch.setattr(asgi_roll, "Supervisor", Gone)
    given = {name: value for name, value in ground.params.items() if value is not None}
    result = run_module(asgi_roll.main, check, **given, **needed(ground.config.parent))
    if check:
        assert (result["changed"], result["regrouped"]) == (True, True)
        assert len(result["written"]) == len(result["diff"]) == 2
    else:
        assert result["msg"].startswith(f"Supervisor does not answer on {Gone.socket_path} ({Gone.stranger}): start it")
        assert "(`supervisord -c /opt/conda/etc/supervisord.conf`)" in result["msg"]


@pytest.mark.parametrize(
    ("arguments", "regrouped", "restarted"),
    [
        ({}, False, []),
        ({"pending": True}, False, NAMES),
        ({"force": True}, False, NAMES),
        ({"program_changed": True, "pending": True}, True, []),
    ],
)
def test_check_mode_tells_and_leaves_alone(
    module: Module,
    roll: Roll,
    ground: Ground,
    fake: FakeSupervisor,
    arguments: dict[str, bool],
    regrouped: bool,
    restarted: list[str],
) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(Path(ground.params["old_run_dirs"][0]) / "tethys_asgi0.sock"))
    stale.close()
    result = module(check=True, **arguments)
    assert (result["regrouped"], result["restarted"]) == (regrouped, restarted)
    assert result["removed"] == [str(Path(ground.params["old_run_dirs"][0]) / "tethys_asgi0.sock")]
    assert Path(result["removed"][0]).exists()
    assert (fake.calls, ground.record.exists()) == ([], False)


def needed(folder: Path, text: str = "[fcgi-program:asgi]\n") -> dict[str, Any]:
    """A program file and a folder of the present user's, as the roll is given them."""
    owner = str(os.geteuid())
    program = folder / "asgi.conf"
    return {
        "files": [
            {"path": str(folder / "logs"), "owner": owner, "mode": "0750"},
            {"path": str(program), "content": text, "owner": owner, "mode": "0644"},
        ],
        "program": str(program),
    }


def test_its_files_are_there_before_supervisor_is_told(
    module: Module, roll: Roll, fake: FakeSupervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        fake, "reloadConfig", lambda: seen.append((tmp_path / "asgi.conf").read_text()) or [[[], [], []]]
    )
    first = module(**needed(tmp_path))
    assert (first["changed"], first["written"]) == (True, [str(tmp_path / "logs"), str(tmp_path / "asgi.conf")])
    assert [change.get("after") for change in first["diff"]] == [None, "[fcgi-program:asgi]\n"]
    assert seen == ["[fcgi-program:asgi]\n"]
    again = module(**needed(tmp_path))
    assert (again["changed"], again["written"], again["diff"]) == (False, [], [])


def test_check_mode_tells_what_would_be_written(module: Module, roll: Roll, tmp_path: Path) -> None:
    told = module(check=True, **needed(tmp_path))
    assert (told["changed"], told["regrouped"], told["restarted"]) == (True, True, [])
    assert told["written"] == [str(tmp_path / "logs"), str(tmp_path / "asgi.conf")]
    assert not (tmp_path / "logs").exists()
    assert not (tmp_path / "asgi.conf").exists()
    module(**needed(tmp_path))
    (tmp_path / "logs").chmod(0o700)
    # Supervisor restarts nothing for a folder.
    told = module(check=True, **needed(tmp_path))
    assert (told["changed"], told["regrouped"], told["written"]) == (True, False, [str(tmp_path / "logs")])


def test_a_file_that_cannot_be_written_is_named(module: Module, fake: FakeSupervisor, tmp_path: Path) -> None:
    asked = needed(tmp_path)
    asked["files"][0]["owner"] = "nobody-by-that-name"
    assert module(**asked)["msg"].startswith(f"{tmp_path / 'logs'} cannot be written: its owner or group is unknown")
    assert fake.calls == []


def kept(folder: Path) -> dict[str, Any]:
    """The file of the processes' variables, as the roll is given it."""
    where = {"path": str(folder / "tethys.env"), "program": str(folder / "asgi.conf"), "prefix": str(folder)}
    return {"environment": {**where, "group": str(os.getegid())}}


@pytest.mark.parametrize("check", [False, True])
def test_variables_that_cannot_be_read_are_named(
    module: Module, roll: Roll, fake: FakeSupervisor, tmp_path: Path, check: bool
) -> None:
    (tmp_path / "tethys.env").write_text("export A='x\n", encoding="utf-8")
    told = module(check=check, **kept(tmp_path))
    assert told["failed"]
    assert told["msg"].startswith(f"{tmp_path / 'tethys.env'} cannot be read: line 1 has a quote")
    assert fake.calls == []


def test_check_mode_reports_the_restarts_for_new_variables(
    module: Module, roll: Roll, ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = str(tmp_path / "tethys.env")
    rights = {"owner": str(os.geteuid()), "group": str(os.getegid()), "mode": "0640"}
    rows = [{"path": path, "content": "export A=new\n", "hidden": True, **rights}]
    monkeypatch.setattr(asgi_roll.kept_environment, "expected", lambda _environment: rows)
    asked = {"reads": [str(ground.config), path], **kept(tmp_path)}
    for _again in range(2):
        told = module(check=True, **asked)
        assert (told["written"], told["restarted"], told["regrouped"]) == ([path], NAMES, False)
        (tmp_path / "tethys.env").write_text("export A=old\n", encoding="utf-8")
    (tmp_path / "tethys.env").write_text("export A=new\n", encoding="utf-8")
    os.utime(path, (time.time() - 60,) * 2)
    (tmp_path / "tethys.env").chmod(0o600)
    told = module(check=True, **asked)
    assert (told["written"], told["restarted"]) == ([path], []), "Its text stays."
    assert module(check=True, **{**asked, "reads": [str(ground.config)]})["restarted"] == []


def test_check_mode_where_there_is_no_program_yet(module: Module) -> None:
    assert module(check=True)["regrouped"] is True


# --- a program for each process, behind nginx -----------------------------------------------------------------------


class FakeNginx:
    """What was put into the upstream block, in order, with the calls to Supervisor in between."""

    def __init__(self, fake: FakeSupervisor) -> None:
        self.calls = fake.calls

    def put(self, ports: list[int], down: set[int], pins: list[str]) -> None:
        self.calls.append("nginx " + " ".join(f"{port}{'-' if port in down else ''}" for port in ports))

    def give_back(self, port: int, dry: bool = False) -> Any:
        if not dry:
            self.calls.append("nginx as found")
        return nginx_upstream.Change(True, "/etc/nginx/site", "", "")


@pytest.fixture
def apart(
    module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, fake: FakeSupervisor, ground: Ground
) -> Callable[..., dict[str, Any]]:
    """Runs the module on the fake Supervisor with a fake nginx beside it, and a port for each process."""
    monkeypatch.setattr(asgi_roll, "Nginx", lambda name, state_dir, **_more: FakeNginx(fake))
    ground.params.update(layout="socket_per_process", upstream="channels-backend")

    def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
        fake.calls.clear()
        result = module(check, **arguments)
        fake.reread = ([], [], [])
        return result

    return run


def own(*numbers: int) -> list[str]:
    return [f"tethys_asgi{number}" for number in numbers]


def test_each_process_leaves_nginx_before_it_ends(apart: Module, fake: FakeSupervisor) -> None:
    for name in own(0, 1, 2):
        fake.start(f"{name}:{name}")
    assert apart(force=True)["restarted"] == own(0, 1, 2)
    assert fake.calls == [
        "reloadConfig",
        "nginx 8000- 8001 8002", "stop tethys_asgi0:tethys_asgi0", "start tethys_asgi0:tethys_asgi0",
        "nginx 8000 8001- 8002", "stop tethys_asgi1:tethys_asgi1", "start tethys_asgi1:tethys_asgi1",
        "nginx 8000 8001 8002-", "stop tethys_asgi2:tethys_asgi2", "start tethys_asgi2:tethys_asgi2",
        "nginx 8000 8001 8002",
    ]  # fmt: skip
    assert apart()["changed"] is False
    assert fake.calls == ["reloadConfig"]


def test_one_that_does_not_come_back_stays_out_of_nginx(apart: Module, fake: FakeSupervisor) -> None:
    for name in own(0, 1, 2):
        fake.start(f"{name}:{name}")
    fake.silent.add("tethys_asgi1")
    assert "Still serving: tethys_asgi0, tethys_asgi2." in apart(force=True)["msg"]
    assert [call for call in fake.calls if call.startswith("nginx")][-1] == "nginx 8000 8001- 8002"


@pytest.mark.parametrize("ails", ["stopped", "hangs"])
def test_those_that_do_not_serve_come_first(apart: Module, fake: FakeSupervisor, ails: str) -> None:
    """While the one that serves restarts, nginx has somebody to send requests to."""
    for name in own(0, 1):
        fake.start(f"{name}:{name}")
    if ails == "stopped":
        fake.end("tethys_asgi1:tethys_asgi1")
    else:
        fake.answering("tethys_asgi1:tethys_asgi1").unlink()
    assert apart(force=True, processes=2)["restarted"] == own(1, 0)
    assert fake.calls == [
        "reloadConfig",
        "nginx 8000 8001-", "stop tethys_asgi1:tethys_asgi1", "start tethys_asgi1:tethys_asgi1",
        "nginx 8000- 8001", "stop tethys_asgi0:tethys_asgi0", "start tethys_asgi0:tethys_asgi0",
        "nginx 8000 8001",
    ]  # fmt: skip


def test_the_way_out_does_not_need_nginx(apart: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nginx was stopped, or gave way to another web server, shared_socket is what the refusal recommends."""
    for name in own(0, 1):
        fake.start(f"{name}:{name}")

    def put(self: FakeNginx, ports: list[int], down: set[int], pins: list[str]) -> None:
        raise nginx_search.NginxError("nginx does not run")

    monkeypatch.setattr(FakeNginx, "put", put)
    fake.reread, fake.program = (["asgi"], [], own(0, 1)), 3
    assert apart(layout="shared_socket")["regrouped"]
    assert fake.calls[-1] == "nginx as found"
    fake.start("tethys_asgi0:tethys_asgi0")
    assert apart(force=True)["msg"] == "nginx does not run"


def test_what_cannot_be_written_is_named(module: Module, roll: Roll, ground: Ground) -> None:
    ground.record.mkdir()
    assert module(force=True)["msg"].startswith(f"{ground.record}: Is a directory. Correct that")


def test_another_run_is_waited_for_and_not_for_ever(
    module: Module, ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_roll, "alone", functools.partial(alone, seconds=0))
    fake.calls.clear()
    with alone(ground.record.parent):
        assert module(force=True)["msg"].startswith("Another run is changing this server")
    assert fake.calls == []


def test_a_file_that_changes_while_a_process_starts_is_read_by_the_next(
    module: Module, ground: Ground, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.reread, fake.program = (["asgi"], [], []), 3
    add = fake.addProcessGroup

    def and_change(group: str) -> None:
        add(group)
        ground.config.write_text("settings: {B: 1}\n", encoding="utf-8")

    monkeypatch.setattr(fake, "addProcessGroup", and_change)
    module()
    fake.reread = ([], [], [])
    assert module()["restarted"] == ["tethys_asgi0", "tethys_asgi1", "tethys_asgi2"]


def test_one_process_alone_has_nobody_to_stand_in(apart: Module, fake: FakeSupervisor) -> None:
    fake.start("tethys_asgi0:tethys_asgi0")
    apart(force=True, processes=1)
    assert fake.calls[1:] == ["stop tethys_asgi0:tethys_asgi0", "start tethys_asgi0:tethys_asgi0", "nginx 8000"]


def test_added_processes_serve_once_they_answer(apart: Module, fake: FakeSupervisor) -> None:
    fake.start("tethys_asgi0:tethys_asgi0")
    kept = fake.processes["tethys_asgi0:tethys_asgi0"].pid
    fake.reread = (own(1, 2), [], [])
    assert apart()["regrouped"]
    assert fake.calls == ["reloadConfig", "add tethys_asgi1", "add tethys_asgi2", *["nginx 8000 8001 8002"] * 2]
    assert fake.processes["tethys_asgi0:tethys_asgi0"].pid == kept
    fake.silent.add("tethys_asgi3")
    fake.reread = (own(3), [], [])
    assert apart(processes=4)["failed"]
    assert fake.calls == ["reloadConfig", "add tethys_asgi3"], "Nothing is sent to one that does not answer."


def test_dropped_processes_leave_nginx_together(apart: Module, fake: FakeSupervisor) -> None:
    for name in own(0, 1, 2):
        fake.start(f"{name}:{name}")
    fake.reread = ([], [], own(1, 2))
    assert apart(processes=1)["changed"]
    assert fake.calls == [
        "reloadConfig", "nginx 8000",
        "stop tethys_asgi1", "remove tethys_asgi1", "stop tethys_asgi2", "remove tethys_asgi2", "nginx 8000",
    ]  # fmt: skip


def test_from_one_socket_for_all_to_one_each(apart: Module, fake: FakeSupervisor) -> None:
    for number in range(3):
        fake.start(f"asgi:tethys_asgi{number}")
    fake.reread = (own(0, 1, 2), [], ["asgi"])
    assert apart()["regrouped"]
    assert fake.calls == [
        "reloadConfig",
        # The first one's port is still taken.
        "add tethys_asgi1", "add tethys_asgi2", "nginx 8000 8001 8002",
        "nginx 8001 8002", "stop asgi", "remove asgi",
        "add tethys_asgi0", *["nginx 8000 8001 8002"] * 2,
    ]  # fmt: skip


def test_from_a_socket_each_to_one_for_all(apart: Module, fake: FakeSupervisor) -> None:
    for name in own(0, 1, 2):
        fake.start(f"{name}:{name}")
    fake.reread, fake.program = (["asgi"], [], own(0, 1, 2)), 3
    assert apart(layout="shared_socket")["regrouped"]
    assert fake.calls == [
        "reloadConfig",
        "nginx 8001 8002", "stop tethys_asgi0", "remove tethys_asgi0",
        "add asgi", "nginx 8000 8001 8002",
        "nginx 8000", *(f"{verb} {name}" for name in own(1, 2) for verb in ("stop", "remove")),
        "nginx as found",
    ]  # fmt: skip


@pytest.mark.parametrize(("step", "order"), [(1, [2, 1, 0]), (-1, [0, 1, 2]), (100, [0, 1, 2])])
def test_other_ports(
    apart: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch, step: int, order: list[int]
) -> None:
    """Each process waits until its new port is free; somebody serves all the time."""
    for name in own(0, 1, 2):
        fake.start(f"{name}:{name}")
    monkeypatch.setattr(Roll, "held_ports", lambda self, group: {8000 + int(group[-1])})
    monkeypatch.setattr(Roll, "own_socket", lambda self, row: str(fake.answering(f"{row['group']}:{row['name']}")))
    fake.reread = ([], own(0, 1, 2), [])
    assert apart(port=8000 + step)["regrouped"]
    assert [call for call in fake.calls if call.startswith("add")] == [f"add {name}" for name in own(*order)]
    first = 8000 + step
    assert fake.calls[-1] == f"nginx {first} {first + 1} {first + 2}"
    sent = [call.split()[1:] for call in fake.calls if call.startswith("nginx")]
    assert all(any(not port.endswith("-") for port in ports) for ports in sent)


def test_requests_in_flight_are_waited_for(
    apart: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in own(0, 1):
        fake.start(f"{name}:{name}")
    there = [3, 2, 1, 0, 0, 0]
    seen: list[str] = []

    def connections() -> Iterator[Any]:
        seen.append(fake.calls[-1])
        for _each in range(there.pop(0)):
            yield proc.Connection("0100007F", 8000, "0100007F", 40000, proc.ESTABLISHED, 1)

    monkeypatch.setattr(Roll, "held_ports", lambda self, group: set())
    monkeypatch.setattr(proc, "connections", connections)
    apart(force=True, processes=2, drain_seconds=30)
    assert seen[:4] == ["nginx 8000- 8001"] * 4, "The process was ended before its last request was answered."
    assert there == [0], "The other process had none."


def test_check_mode_leaves_nginx_alone(apart: Module, fake: FakeSupervisor) -> None:
    for name in own(0, 1, 2):
        fake.start(f"{name}:{name}")
    assert apart(check=True, force=True)["restarted"] == own(0, 1, 2)
    assert apart(check=True, layout="shared_socket")["changed"] is True
    assert fake.calls == []


def test_the_port_is_the_one_handed_over(roll: Roll) -> None:
    """An app may listen on another port too."""
    with socket.create_server(("127.0.0.1", 0)) as handed, socket.create_server(("127.0.0.1", 0)) as another:
        os.set_inheritable(another.fileno(), True)
        process = subprocess.Popen(["sleep", "60"], stdin=handed, close_fds=False)
        roll.rpc.processes = {"asgi:tethys_asgi0": process}
        roll.rpc.states = {"asgi:tethys_asgi0": "RUNNING"}
        assert roll.held_ports("asgi") == {handed.getsockname()[1]}


# --- sockets --------------------------------------------------------------------------------------------------------


def test_sockets_that_nobody_holds_are_removed(ground: Ground, fake: FakeSupervisor) -> None:
    run, old = Path(ground.params["run_dir"]), Path(ground.params["old_run_dirs"][0])
    living = socket.socket(socket.AF_UNIX)
    living.bind(str(run / "tethys_asgi0.sock"))
    living.listen()
    (run / "tethys_asgi0.sock.lock").symlink_to("1")
    for path in (run / "tethys_asgi1.sock", old / "tethys_asgi0.sock", old / "other.sock"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    (run / "tethys_asgi1.sock.lock").symlink_to("999999")
    roll = Roll(ground.params, fake)
    roll.sweep(dry=True)
    assert len(list(run.iterdir())) == 4
    roll.removed.clear()
    roll.sweep(dry=False)
    living.close()
    assert roll.removed == [
        *(str(run / name) for name in ("tethys_asgi1.sock", "tethys_asgi1.sock.lock")),
        str(old / "tethys_asgi0.sock"),
    ]
    assert sorted(path.name for path in run.iterdir()) == ["tethys_asgi0.sock", "tethys_asgi0.sock.lock"]
    assert [path.name for path in old.iterdir()] == ["other.sock"]


def test_a_sweep_of_a_folder_that_its_user_fills_ends(
    roll: Roll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with socket.socket(socket.AF_UNIX) as full, socket.socket(socket.AF_UNIX) as waiting:
        full.bind(str(tmp_path / "full"))
        full.listen(0)
        waiting.connect(str(tmp_path / "full"))
        (run / "tethys_asgi99.sock").mkdir()
        for number in range(100, 150):
            (run / f"tethys_asgi{number}.sock").symlink_to(tmp_path / "full")
            (run / f"tethys_asgi{number + 100}.sock").hardlink_to(tmp_path / "full")
        monkeypatch.setattr(asgi_restart, "SWEEP_SECONDS", 0.5)
        started = time.monotonic()
        roll.sweep(dry=True)
        roll.sweep(dry=False)
        assert time.monotonic() - started < 5
    assert roll.removed == []


def test_what_cannot_be_removed_stays(roll: Roll, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "run" / "tethys_asgi1.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    Path(f"{stale}.lock").mkdir()
    roll.sweep(dry=False)
    assert roll.removed == [str(stale)]
    monkeypatch.setattr(asgi_restart, "sockets_in", lambda folder: [stale])
    roll.sweep(dry=False)
    assert roll.removed == [str(stale)], "It is gone already."


def answering(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_a_server_answers_with_whatever_status(serve: Any, tmp_path: Path) -> None:
    serve(answering, tmp_path / "tethys_asgi0.sock")
    assert answers.answers(str(tmp_path / "tethys_asgi0.sock"))
    assert answers.held(tmp_path / "tethys_asgi0.sock")
    assert answers.port_answers(serve(answering).port)
    silent = serve(lambda connection: None)
    assert not answers.port_answers(silent.port)
    assert not answers.answers(str(tmp_path / "none.sock"))


def test_the_portal_is_called_by_a_name_that_it_accepts(serve: Any, tmp_path: Path) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(1000))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    serve(answer, tmp_path / "tethys_asgi0.sock")
    assert answers.answers(str(tmp_path / "tethys_asgi0.sock"), "portal.example.org")
    assert answers.port_answers(serve(answer).port, host="portal.example.org")
    for request in asked:
        assert request.count(b"Host:") == 1
        assert b"Host: portal.example.org\r\n" in request


def test_a_server_that_dribbles_or_floods_does_not_answer(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "ANSWER_SECONDS", 0.5)

    def dribble(connection: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.1)

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"".join(b"X%d: %s\r\n" % (number, b"x" * 60_000) for number in range(90)))

    for talk in (dribble, flood):
        started = time.monotonic()
        assert not answers.port_answers(serve(talk).port)
        assert time.monotonic() - started < 2.5
