# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting the portal's Python: what it sees, what it may break, and how it ends."""

from __future__ import annotations

import importlib
import json
import os
import pwd
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import boundary, portal_env, portal_user
from ansible_collections.tethys.channels.plugins.module_utils.server import accounts

ME = accounts.account_of(os.geteuid())
Program = Callable[[str], str]
# What the programs of these tests say.
SAID = boundary.Record(
    dict.fromkeys((*"ab", "end", "env", "cwd", "pid", "two", "ids", "groups", "home", "done"), boundary.Plain())
)


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An environment whose Python is the one that runs the tests."""
    folder = tmp_path / "env"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes a module of the text, to be run in the portal's Python."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(body: str) -> str:
        name = f"program_{abs(hash(body))}"
        lines = "".join(f"    {line}\n" for line in body.splitlines())
        text = f"import os, sys, time\n\n\ndef main(params, say, commands):\n{lines}"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        return name

    return make


def run(prefix: Path, program: str, timeout: float = 20, **params: object) -> portal_env.PortalRun:
    return portal_env.run_in_portal(str(prefix), "/srv/portal", ME, program, params, timeout, SAID)


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("user www-data;\n", "www-data"),
        ("  user\tnginx web ;\nworker_processes 1;", "nginx"),
        ("user 'odd';", "odd"),
        ("# user nobody;\nevents {}\n", None),
        ("", None),
    ],
)
def test_nginx_user(tmp_path: Path, text: str, user: str | None) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(text, encoding="utf-8")
    assert portal_user.nginx_user(str(conf)) == user


def test_nginx_user_without_nginx(tmp_path: Path) -> None:
    assert portal_user.nginx_user(str(tmp_path / "none.conf")) is None


@pytest.mark.parametrize(
    ("given", "conf", "there", "user"),
    [
        ("somebody", "user nginx;", {"nginx"}, "somebody"),
        (None, "user nginx;", {"www-data", "nginx"}, "nginx"),
        (None, "user gone;", {"www-data", "nginx"}, "www-data"),
        (None, "", {"apache"}, "apache"),
        (None, "", set(), None),
        ("", "", {"www"}, "www"),
    ],
)
def test_resolve_user(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    conf: str,
    there: set[str],
    user: str | None,
) -> None:
    file = tmp_path / "nginx.conf"
    file.write_text(conf, encoding="utf-8")
    monkeypatch.setattr(portal_user, "account", lambda name: ME if name in there else None)
    assert portal_user.resolve_user(given, str(file)) == user


def test_answers_are_not_disturbed_by_prints(prefix: Path, program: Program) -> None:
    noisy = program("print('{\"a\": 2}' * 9999)\nos.write(1, b'x' * 99999)\nsay({'a': 1})\nsay({'b': params['b']})")
    assert run(prefix, noisy, b=[1, "ü"]) == portal_env.PortalRun({"a": 1, "b": [1, "ü"]}, None, [])


def test_nobody_waits_for_an_answer_to_a_question(prefix: Path, program: Program) -> None:
    asking = program("try:\n    input('[y/n]')\nexcept EOFError:\n    say({'end': True})")
    assert run(prefix, asking).answer == {"end": True}


def test_environment_is_the_portals_own(prefix: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_SECRET", "x")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    (prefix / "conda-meta").mkdir(exist_ok=True)
    state = {"env_vars": {"GDAL_DATA": "/opt/gdal", "TETHYS_HOME": "/elsewhere"}}
    (prefix / "conda-meta/state").write_text(json.dumps(state), encoding="utf-8")
    env = run(prefix, program("say({'env': dict(os.environ), 'cwd': os.getcwd()})")).answer
    assert env["cwd"] == "/"
    seen = env["env"]
    assert seen["PATH"].startswith(f"{prefix}/bin:")
    assert seen["CONDA_PREFIX"] == str(prefix)
    assert seen["TETHYS_HOME"] == "/srv/portal"
    assert seen["GDAL_DATA"] == "/opt/gdal"
    assert seen["PYTHONDONTWRITEBYTECODE"] == "1"
    assert seen["DJANGO_SETTINGS_MODULE"] == "tethys_portal.settings"
    assert not {"ANSIBLE_SECRET", "PYTHONPATH"} & seen.keys()


def test_the_variables_that_the_processes_get_are_used_and_not_shown(
    prefix: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    own = {"DB_PASSWORD": "s3cr3t-x", "TETHYS_HOME": "/elsewhere", "PORT": "7"}
    monkeypatch.setattr(portal_env, "of_portal", lambda *where: asked.append(where) or own)
    seen = run(prefix, program("say({'env': dict(os.environ)})")).answer["env"]
    assert (seen["DB_PASSWORD"], seen["TETHYS_HOME"]) == ("s3cr3t-x", "/srv/portal")
    assert asked == [(str(prefix), "/srv/portal", ME.name, "")]
    ended = run(prefix, program("raise ValueError('wrong: ' + os.environ['DB_PASSWORD'] + ' 7')"))
    assert ended.problem is not None
    assert ended.problem.endswith("ValueError: wrong: ******** 7")
    schema = boundary.Record({"start_problem": boundary.Text(99), "done": boundary.Plain()})
    said = program("say({'start_problem': 'KeyError ' + os.environ['DB_PASSWORD']})")
    found = portal_env.run_in_portal(str(prefix), "/srv/portal", ME, said, {}, 20, schema)
    assert found.answer == {"start_problem": "KeyError ********"}


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("sys.exit('no way')", "ended with status 1; the last it said is: no way"),
        ("os._exit(7)", "ended with status 7"),
        ("os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("raise KeyError('gone')", "the last it said is: KeyError: 'gone'"),
    ],
)
def test_what_was_said_before_the_end_is_kept(prefix: Path, program: Program, ending: str, said: str) -> None:
    answer, problem, _warnings = run(prefix, program(f"say({{'a': 1}})\n{ending}"))
    assert answer == {"a": 1}
    assert problem is not None
    assert said in problem
    assert ME.name in problem


def test_timeout_ends_everything_that_was_started(prefix: Path, program: Program) -> None:
    hanging = program(
        "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\nsay({'pid': child.pid})\ntime.sleep(60)"
    )
    started = time.monotonic()
    answer, problem, _warnings = run(prefix, hanging, timeout=2)
    assert time.monotonic() - started < 10
    assert problem is not None
    assert "within 2 seconds" in problem
    for _again in range(50):
        state = Path(f"/proc/{answer['pid']}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("The child of the portal's Python still runs.")


def test_python_that_cannot_be_started(tmp_path: Path, program: Program) -> None:
    answer, problem, _warnings = run(tmp_path, program("pass"))
    assert answer == {}
    assert problem is not None
    assert problem.startswith(f"{tmp_path}/bin/python cannot be started as the user {ME.name}")


SECONDS = 2
# What an app can write to the pipe of the answers, which it finds among its open files, and the sentence that follows.
BAD_ANSWERS = {
    "facts of root's": ("say({'user': 'root'})", "has the key user, which is not expected"),
    "a path of root's": (r"say({'site_packages': '/\ncommand=x'})", "has the key site_packages, which is not expected"),
    "not JSON": ("raw(b'{no json}')", "is not JSON"),
    "no mapping": ("raw(b'[]'); raw(b'{')", "is not JSON"),
    "two at once": ("raw(b'{} {}')", "is not JSON"),
    "depth": ("raw(b'{\"a\":' + b'[' * 10_000 + b']' * 10_000 + b'}')", "is nested more than 20 deep"),
    "keys": ("say({str(n): n for n in range(100_000)})", "bytes"),
    "values": ("say({'a': [0] * 100_000})", "holds more than 50000 values"),
    "a key twice": ('raw(b\'{"a": 1, "a": 2}\')', "has a key twice"),
    "NaN": ("say({'a': float('nan')})", "holds NaN or Infinity"),
    "a wrong type": ("say({'done': 'yes'})", "done is not true or false"),
    "half a pair": (r"say({'n': '\ud800'})", "n is not a text of at most 4096 printable characters"),
    "controls": (r"say({'n': '\x1b]0;\x07'})", "n is not a text of at most 4096 printable characters"),
    "2 GiB": ("while True: raw(b'{' + b'x' * 65536, b'')", "is larger than 1048576 bytes"),
    "2 GiB of small ones": (
        "while True: raw(b'{\"a\": 1' + b' ' * 65536 + b'}')",
        "answered more than 8388608 bytes",
    ),
    "2 GiB of nothing": ("while True: raw(b'x' * 65536)", "answered more than 8388608 bytes"),
    "2 GiB printed": ("while True: print('x' * 65536)", "did not finish within 2 seconds"),
    "one byte a second": ("while True: raw(b'{', b''); time.sleep(0.2)", "did not finish within 2 seconds"),
    "one line a second": ("while True: raw(b'{}'); time.sleep(0.2)", "did not finish within 2 seconds"),
    "silence": ("say.__globals__['_out'].close(); time.sleep(60)", "ended early"),
}


@pytest.mark.parametrize(("body", "said"), BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_a_bad_answer_is_one_sentence_in_time_and_changes_nothing(
    prefix: Path, program: Program, body: str, said: str
) -> None:
    # An app finds the pipe too.
    raw = "out = say.__globals__['_out'].buffer\nraw = lambda data, end=b'\\n': (out.write(data + end), out.flush())\n"
    schema = boundary.Record({"a": boundary.Plain(), "n": boundary.Name(), "done": boundary.Flag()})
    bad = program(f"say({{'a': 1}})\n{raw}{body}\nsay({{'a': 2}})")
    started = time.monotonic()
    tracemalloc.start()
    found = portal_env.run_in_portal(str(prefix), "/srv/portal", ME, bad, {}, SECONDS, schema)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - started < SECONDS + 2
    assert peak < 64 * 1024 * 1024
    assert found.problem is not None
    assert said in found.problem
    assert found.problem.endswith(".")
    assert boundary.is_clean(found.problem)
    assert found.answer == {"a": 1}


def activate(prefix: Path, **scripts: str) -> None:
    folder = prefix / "etc" / "conda" / "activate.d"
    folder.mkdir(parents=True)
    for name, text in scripts.items():
        (folder / f"{name}.sh").write_text(text, encoding="utf-8")


def test_activation_scripts_are_sourced_in_order(prefix: Path, program: Program) -> None:
    activate(prefix, a="export ONE=$CONDA_PREFIX; echo noise", b='export TWO="$ONE/two"\n')
    answer, problem, warnings = run(prefix, program("say({'two': os.environ.get('TWO')})"))
    assert (answer, problem, warnings) == ({"two": f"{prefix}/two"}, None, [])


@pytest.mark.parametrize(
    ("script", "warning"),
    [
        ("export A=1\nfalse", "a.sh failed."),
        ("syntax ( error", "a.sh failed."),
        ("export A=1\nexit 3", "a.sh left the shell; the scripts after it did not run."),
        ("set -eu\nfalse\nexport A=$UNSET", "a.sh left the shell; the scripts after it did not run."),
    ],
)
def test_a_failing_activation_script_is_a_warning(prefix: Path, program: Program, script: str, warning: str) -> None:
    activate(prefix, a=script)
    answer, problem, warnings = run(prefix, program("say({'a': 1})"))
    assert (answer, problem) == ({"a": 1}, None)
    assert len(warnings) == 1
    assert warnings[0].endswith(warning)


def test_an_activation_script_gets_none_of_the_commands(prefix: Path, program: Program) -> None:
    activate(prefix, a="read -r first; export FIRST=$first")
    talking = program("say({'line': commands.readline(), 'first': os.environ['FIRST']})")
    with portal_env.PortalProcess(str(prefix), "/srv/portal", ME, talking, {}) as process:
        process.send({"do": "it"})
        schema = boundary.Record({"line": boundary.Plain(), "first": boundary.Text()})
        # A text is one line.
        assert process.receive(time.monotonic() + 20, schema) == {"line": '{"do": "it"} ', "first": ""}


def test_a_hanging_activation_script_does_not_hold_a_big_job_up(prefix: Path, program: Program) -> None:
    activate(prefix, a="sleep 60")
    started = time.monotonic()
    assert run(prefix, program("pass"), timeout=1, big="x" * 1_000_000).problem is not None
    assert time.monotonic() - started < 10


def test_helpers_are_sent_along() -> None:
    here = portal_env.__name__.rpartition(".")[0]
    assert list(dict.fromkeys(portal_env.with_helpers(f"{here}.portal_wire"))) == [
        f"{here}.portal_common",
        f"{here}.portal_bokeh",
        f"{here}.secrets",
        f"{here}.portal_wire",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_portals_user(tmp_path: Path, program: Program) -> None:
    python = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(p).exists()), None)
    if python is None:
        pytest.skip("there is no Python that every user can start")
    tmp_path.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(python)
    nobody = accounts.account("nobody")
    assert nobody is not None
    me = program(
        "say({'ids': [os.getuid(), os.geteuid(), os.getgid()]})\n"
        "say({'groups': os.getgroups(), 'home': os.environ['HOME']})"
    )
    answer, problem, _warnings = portal_env.run_in_portal(str(tmp_path), "/srv/portal", nobody, me, {}, 20, SAID)
    assert problem is None
    assert answer["ids"] == [nobody.uid, nobody.uid, nobody.gid]
    assert 0 not in answer["groups"]
    assert answer["home"] == pwd.getpwnam("nobody").pw_dir


def test_what_is_sent_along_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    found = portal_env.importlib.util.find_spec
    monkeypatch.setattr(portal_env.importlib.util, "find_spec", lambda name: read.append(name) or found(name))
    portal_env.source_of.cache_clear()
    portal_env.with_helpers.cache_clear()
    assert portal_env.with_helpers(portal_env.INSPECTION)[-1] == portal_env.INSPECTION
    assert len(read) == len(set(read))
