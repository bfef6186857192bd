# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A roll of ASGI processes: which are outdated, the order of a restart, where it stops, and what is left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.modules import asgi_roll
from ansible_collections.tethys.channels.plugins.modules.asgi_roll import Roll, RollError, Sources, process_key

Module = Callable[..., "dict[str, Any]"]


class FakeSupervisor:
    """Supervisor's RPC namespace over real processes: sleepers, so that the kernel knows when each started."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.states: dict[str, str] = {}
        self.reread: tuple[list[str], list[str], list[str]] = ([], [], [])
        self.calls: list[str] = []
        self.cannot_start: dict[str, str] = {}
        self.silent: set[str] = set()
        self.program = 0  # how many processes the group gets when it is added

    def start(self, name: str) -> None:
        self.processes[name] = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.states[name] = "RUNNING"
        # It is in /proc, with its start time, from the fork on.
        if name not in self.silent:
            (self.run_dir / f"{name}.answers").touch()

    def end(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process:
            process.kill()
            process.wait()
        self.states[name] = "STOPPED"
        (self.run_dir / f"{name}.answers").unlink(missing_ok=True)

    def getAllProcessInfo(self) -> list[dict[str, Any]]:
        rows = [self.row(name) for name in self.states]
        return [*rows, {"group": "nginx", "name": "nginx", "statename": "RUNNING", "pid": 1}]

    def row(self, name: str) -> dict[str, Any]:
        pid = self.processes[name].pid if name in self.processes else 0
        return {"group": "asgi", "name": name, "statename": self.states[name], "pid": pid}

    def getProcessInfo(self, full: str) -> dict[str, Any]:
        return self.row(full.partition(":")[2])

    def reloadConfig(self) -> list[Any]:
        self.calls.append("reloadConfig")
        return [list(self.reread)]

    def stopProcess(self, full: str, wait: bool) -> None:
        self.calls.append(f"stop {full}")
        name = full.partition(":")[2]
        if self.states[name] != "RUNNING":
            raise xmlrpc.client.Fault(70, f"NOT_RUNNING: {full}")
        self.end(name)

    def startProcess(self, full: str, wait: bool) -> None:
        self.calls.append(f"start {full}")
        name = full.partition(":")[2]
        if name in self.cannot_start:
            self.states[name] = "FATAL"
            raise xmlrpc.client.Fault(50, self.cannot_start[name])
        self.start(name)

    def stopProcessGroup(self, group: str, wait: bool) -> None:
        self.calls.append(f"stop {group}")
        for name in list(self.states):
            self.end(name)

    def removeProcessGroup(self, group: str) -> None:
        self.calls.append(f"remove {group}")
        self.states.clear()

    def addProcessGroup(self, group: str) -> None:
        self.calls.append(f"add {group}")
        for number in range(self.program):
            self.start(f"tethys_asgi{number}")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSupervisor]:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    supervisor = FakeSupervisor(run_dir)
    monkeypatch.setattr(asgi_roll, "answers", lambda path: Path(path).with_suffix(".answers").exists())
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
            "program": "asgi",
            "processes": 3,
            "port": None,
            "run_dir": str(folder / "run"),
            "old_run_dirs": [str(folder / "old")],
            "log_dir": "/var/log/tethys",
            "reads": [str(self.config)],
            "site_packages": str(self.site_packages),
            "record": str(self.record),
            "timeout": 1,
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
        fake.start(f"tethys_asgi{number}")
    return Roll(ground.params, fake)


@pytest.fixture
def module(
    run_module: Module, monkeypatch: pytest.MonkeyPatch, fake: FakeSupervisor, ground: Ground
) -> Callable[..., dict[str, Any]]:
    """Runs the module on the fake Supervisor."""

    class Connected:
        socket_path = "/run/supervisor.sock"

        def __init__(self, timeout: float) -> None:
            assert timeout > ground.params["timeout"]

        def state(self) -> Any:
            return {"pid": 1}

        def rpc(self) -> Any:
            return fake

    monkeypatch.setattr(asgi_roll, "Supervisor", Connected)

    def run(check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {name: value for name, value in {**ground.params, **arguments}.items() if value is not None}
        return run_module(asgi_roll.main, check, **given)

    return run


NAMES = ["tethys_asgi0", "tethys_asgi1", "tethys_asgi10"]


# --- what a process runs with ---------------------------------------------------------------------------------------


def test_the_rows_are_the_groups_own_in_order(roll: Roll) -> None:
    assert [row["name"] for row in roll.rows()] == NAMES


def test_a_process_is_told_by_its_start(roll: Roll, fake: FakeSupervisor) -> None:
    pid = fake.processes["tethys_asgi0"].pid
    key = process_key(pid)
    assert key is not None
    assert key.partition(":")[0] == str(pid)
    assert abs(asgi_roll.started_at(key) - time.time()) < 30
    fake.end("tethys_asgi0")
    assert process_key(pid) is None


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
    assert roll.outdated(ground.sources(), {}) == []
    later = time.time() + 60
    os.utime(ground.config, (later, later))
    assert roll.outdated(ground.sources(), {}) == NAMES


def test_the_record_tells_more_than_the_time(roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    sources = ground.sources()
    keys = {name: str(process_key(fake.processes[name].pid)) for name in NAMES}
    record = {keys[NAMES[0]]: sources.sum, keys[NAMES[1]]: "another sum", keys[NAMES[2]]: sources.sum}
    assert roll.outdated(sources, record) == [NAMES[1]]
    # A file that was only touched, or that came back as it was, is no reason to restart.
    later = time.time() + 60
    os.utime(ground.config, (later, later))
    assert roll.outdated(ground.sources(), {key: sources.sum for key in keys.values()}) == []


def test_what_does_not_run_is_outdated(roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    fake.end("tethys_asgi1")
    assert roll.outdated(ground.sources(), {}) == ["tethys_asgi1"]


def test_keep(roll: Roll, ground: Ground, fake: FakeSupervisor) -> None:
    keys = {name: str(process_key(fake.processes[name].pid)) for name in NAMES}
    sources = ground.sources()
    roll.keep(sources, {keys[NAMES[0]]: "older", keys[NAMES[1]]: "older", "1:1": "gone"}, {NAMES[1]})
    kept = json.loads(ground.record.read_text(encoding="utf-8"))
    assert kept == {keys[NAMES[0]]: "older", keys[NAMES[1]]: sources.sum, keys[NAMES[2]]: sources.sum}
    assert asgi_roll.read_record(ground.record) == kept
    assert list(ground.record.parent.iterdir()) == [ground.record]


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "7"])
def test_a_record_that_is_none(ground: Ground, text: str | None) -> None:
    if text is not None:
        ground.record.write_text(text, encoding="utf-8")
    assert asgi_roll.read_record(ground.record) == {}


# --- rolls ----------------------------------------------------------------------------------------------------------


def test_nothing_to_do(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    result = module()
    assert (result["changed"], result["restarted"], result["regrouped"]) == (False, [], False)
    assert fake.calls == ["reloadConfig"]


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

    def once(self: Roll, name: str) -> None:
        if done:
            raise KeyboardInterrupt
        restart(self, name)
        done.append(name)

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


def test_a_process_that_cannot_be_started_stops_the_roll(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    fake.cannot_start["tethys_asgi0"] = "ABNORMAL_TERMINATION: asgi:tethys_asgi0"
    result = module(force=True)
    assert result["failed"]
    assert result["msg"] == (
        "Supervisor cannot start asgi:tethys_asgi0 (ABNORMAL_TERMINATION: asgi:tethys_asgi0): read"
        " /var/log/tethys/tethys_asgi0.log."
    )
    assert "stop asgi:tethys_asgi1" not in fake.calls


def test_the_last_process_that_does_not_come_back(ground: Ground, fake: FakeSupervisor) -> None:
    fake.silent.add("tethys_asgi0")
    fake.start("tethys_asgi0")
    fake.states["tethys_asgi0"] = "FATAL"
    start = time.monotonic()
    with pytest.raises(RollError, match=r"\(FATAL\).*No other process is running\."):
        Roll({**ground.params, "timeout": 60}, fake).wait("tethys_asgi0")
    assert time.monotonic() - start < 5, "What Supervisor has given up is not waited for."


def test_one_that_had_stopped_is_started(module: Module, roll: Roll, fake: FakeSupervisor) -> None:
    fake.end("tethys_asgi1")
    assert module()["restarted"] == ["tethys_asgi1"]


@pytest.mark.parametrize("kind", ["added", "changed"])
def test_a_new_program_file(module: Module, fake: FakeSupervisor, kind: str) -> None:
    if kind == "changed":
        fake.start("tethys_asgi0")
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
    assert result["msg"].startswith("2 of 3 processes run in Supervisor's group asgi: `supervisorctl status`")


def test_a_program_file_of_somebody_else_is_asked_by_its_port(
    module: Module, fake: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(asgi_roll, "port_answers", lambda port: not asked.append(port))
    fake.silent.add("tethys_asgi0")
    fake.reread, fake.program = (["asgi"], [], []), 1
    assert module(processes=0, port=8000)["regrouped"] is True
    assert asked == [8000]


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
        socket_path = "/run/supervisor.sock"

        def __init__(self, timeout: float) -> None:
            pass

        def state(self) -> None:
            return None

    monkeypatch.setattr(asgi_roll, "Supervisor", Gone)
    given = {name: value for name, value in ground.params.items() if value is not None}
    result = run_module(asgi_roll.main, check, **given)
    if check:
        assert (result["changed"], result["regrouped"]) == (True, True)
    else:
        assert result["msg"].startswith("Supervisor does not answer on /run/supervisor.sock: start it")


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


def test_check_mode_where_there_is_no_program_yet(module: Module) -> None:
    assert module(check=True)["regrouped"] is True


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


def answering(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def test_a_server_answers_with_whatever_status(serve: Any, tmp_path: Path) -> None:
    serve(answering, tmp_path / "tethys_asgi0.sock")
    assert asgi_roll.answers(str(tmp_path / "tethys_asgi0.sock"))
    assert asgi_roll.held(tmp_path / "tethys_asgi0.sock")
    assert asgi_roll.port_answers(serve(answering).port)
    silent = serve(lambda connection: None)
    assert not asgi_roll.port_answers(silent.port)
    assert not asgi_roll.answers(str(tmp_path / "none.sock"))
