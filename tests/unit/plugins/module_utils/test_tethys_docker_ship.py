# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of this collection in a Python that has no Ansible, as they run in a container."""

from __future__ import annotations

import json
import re
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.module_utils import tethys_docker_inside, tethys_docker_ship
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Flag, Plain, Record, Rejected, load
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_answers import ANSWERS, INSIDE
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_state import script
from ansible_collections.tethys.channels.plugins.modules import tethys_docker_exec
from hypothesis import given, settings
from hypothesis import strategies as st

MODULES = Path(str(tethys_docker_exec.__file__)).parent
SENT = ("asgi_roll", "layer_probe", "portal_info", "portal_settings", "tethys_docker_program")


# What the made-up modules return.
ANY = Record({"changed": Flag(), "params": Plain(), "check": Flag(), "diff": Plain(), "main": Flag()})


def ship(
    program: str, arguments: dict[str, Any] | None = None, schema: Record = ANY, **job: Any
) -> tethys_docker_ship.Answer:
    """Run a program as in a container: another process, without this one's packages."""
    line = tethys_docker_ship.command("docker", "c", "www", sys.executable)
    # From the interpreter on, what `docker exec` would start; -S hides the packages of this environment.
    line = [sys.executable, "-S", *line[line.index(sys.executable) + 1 :]]
    texts = tethys_docker_ship.sources(tethys_docker_exec.SHIPPED)
    full = {"arguments": arguments or {}, "check_mode": False, "diff": False, **job}
    return tethys_docker_ship.ship(line, "a_module", program, texts, full, 30, schema)


PROGRAM = """
from ansible.module_utils.basic import AnsibleModule
def main():
    module = AnsibleModule(
        argument_spec={
            "count": {"type": "int", "default": 3},
            "flag": {"type": "bool", "default": False},
            "name": {"type": "str", "required": True},
            "secret": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    print("noise on standard output")
    module.no_log_values = {module.params["secret"]}
    module.warn("mind")
    module.exit_json(changed=False, params=module.params, check=module.check_mode)
if __name__ == "__main__":
    main()
"""


def test_a_module_gets_its_parameters_and_answers() -> None:
    answer = ship(PROGRAM, {"name": "é", "count": "5", "flag": "yes", "secret": "geheim"}, check_mode=True)
    assert answer.result["params"] == {"count": 5, "flag": True, "name": "é", "secret": "********"}
    assert answer.result["check"] is True
    assert answer.warnings == ["mind"]


@pytest.mark.parametrize(("given", "words"), [({}, "name is missing"), ({"name": "x", "nmae": 1}, "no parameter nmae")])
def test_parameters_that_are_wrong(given: dict[str, Any], words: str) -> None:
    result = ship(PROGRAM, given).result
    assert result["failed"] is True
    assert words in result["msg"]


def test_a_module_that_breaks_is_told_with_its_last_words() -> None:
    with pytest.raises(tethys_docker_ship.ShipError, match=r"without an answer. The last it said is: ValueError: oh"):
        ship("raise ValueError('oh')")


def test_a_module_that_does_not_end() -> None:
    line = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(tethys_docker_ship.ShipError, match="did not finish within"):
        tethys_docker_ship.ship(line, "m", "", {}, {}, 0.3, ANY)


def test_nothing_secret_is_on_the_command_line(tmp_path: Path) -> None:
    """A program in docker's place writes down how it was called and with what environment, and what it was given."""
    seen, read = tmp_path / "seen", tmp_path / "read"
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"open({str(seen)!r}, 'w').write(repr(sys.argv) + repr(dict(os.environ)))\n"
        f"open({str(read)!r}, 'w').write(sys.stdin.read())\n"
        'print(\'{"result": {}, "warnings": []}\')\n'
    )
    docker.chmod(0o755)
    job = {"arguments": {"password": "geheim"}, "check_mode": False, "diff": False}
    line = tethys_docker_ship.command(str(docker), "c0ffee", "www", "/opt/python")
    tethys_docker_ship.ship(line, "m", "the program", {}, job, 30, ANY)
    assert "geheim" in read.read_text()
    assert "c0ffee" in seen.read_text()
    assert "geheim" not in seen.read_text()


def test_the_command_line() -> None:
    line = tethys_docker_ship.command("/usr/bin/docker", "c0ffee", "www", "/opt/python")
    assert line[:2] == ["/usr/bin/docker", "exec"]
    assert line[line.index("--user") + 1] == "www"
    assert "--user" not in tethys_docker_ship.command("docker", "c", "", "python")


@pytest.mark.parametrize("name", SENT)
def test_everything_that_a_module_imports_is_sent_along(name: str) -> None:
    """Its text is run up to its main, in a Python that has neither Ansible nor this collection."""
    text = (MODULES / f"{name}.py").read_text(encoding="utf-8")
    program = text.replace('if __name__ == "__main__":\n    main()', "")
    assert program != text
    end = "A(argument_spec={}).exit_json(main=callable(main))"
    assert ship(f"{program}\nfrom ansible.module_utils.basic import AnsibleModule as A\n{end}").result == {"main": True}


@pytest.mark.parametrize("name", SENT)
def test_a_module_asks_nothing_that_the_stand_in_lacks(name: str) -> None:
    text = (MODULES / f"{name}.py").read_text(encoding="utf-8")
    used = set(re.findall(r"\bmodule\.(\w+)", text))
    have = set(dir(tethys_docker_inside.AnsibleModule)) | {"params", "check_mode", "_diff", "no_log_values"}
    assert used - have == set()


def test_a_real_module_runs(tmp_path: Path) -> None:
    (tmp_path / "asgi.conf").write_text("[fcgi-program:asgi]\nnumprocs=1\n")
    text = (MODULES / "tethys_docker_program.py").read_text(encoding="utf-8")
    given = {"path": str(tmp_path / "asgi.conf"), "notes": str(tmp_path / "before.json"), "processes": 4}
    answer = ship(text, given, ANSWERS["tethys_docker_program"], diff=True)
    header = str(tmp_path / "asgi.conf")
    assert answer.result == {
        "changed": True,
        "before": 1,
        "processes": 4,
        "fresh": False,
        "diff": {
            "before": "numprocs=1\n",
            "after": "numprocs=4\n",
            "before_header": header,
            "after_header": header,
        },
    }
    assert (tmp_path / "asgi.conf").read_text() == "[fcgi-program:asgi]\nnumprocs=4\n"


# --- a container that answers what it likes ---------------------------------------------------------------------------

HONEST = {"changed": True, "before": 1, "processes": 3, "fresh": False}


def says(text: str, seconds: float = 30) -> tethys_docker_ship.Answer:
    """The answer of a container in which a program writes what it likes; the text is Python that writes it."""
    line = [sys.executable, "-c", f"import json, os, sys, time\nsys.stdin.read()\n{text}"]
    return tethys_docker_ship.ship(line, "m", "", {}, {}, seconds, ANSWERS["tethys_docker_program"])


def told(**result: Any) -> str:
    answer = {"result": {**HONEST, **result}, "warnings": []}
    return f"print(json.dumps({answer!r}))"


def test_an_honest_container() -> None:
    assert says(told()).result == HONEST


@pytest.mark.parametrize(
    "keys",
    [
        {"ansible_facts": {"ansible_remote_tmp": "/evil"}},
        {"ansible_facts": {}},
        {"invocation": {}},
        {"warnings": ["w"]},
        {"deprecations": [{"msg": "m"}]},
        {"exception": "trace"},
        {"skipped": True},
        {"results": []},
        {"ansible_async_watchdog": 1},
        {"_ansible_no_log": False},
        {"rc": 1},
        {"add_host": {}},
        {"unreachable": True},
        {"failed": True, "msg": "m", "ansible_facts": {}},
        {"failed": "yes"},
        {"failed": True},
        {"changed": 1},
        {"changed": None},
        {"before": True},
        {"processes": 10**9},
        {"processes": "3"},
        {"processes": {"__ansible_unsafe": "x"}},
        {"fresh": None},
        {"diff": {"before": "no list"}},
        {"diff": [[]]},
    ],
    ids=str,
)
def test_what_is_not_listed_does_not_pass(keys: dict[str, Any]) -> None:
    with pytest.raises(tethys_docker_ship.ShipError, match=r"^the answer of m was not accepted: [^\n]+\.$"):
        says(told(**keys))


@pytest.mark.parametrize("lacking", sorted(HONEST))
def test_what_a_module_always_returns_is_there(lacking: str) -> None:
    result = {key: value for key, value in HONEST.items() if key != lacking}
    answer = {"result": result, "warnings": []}
    with pytest.raises(tethys_docker_ship.ShipError, match=f"lacks the key {lacking}"):
        says(f"print(json.dumps({answer!r}))")


def test_a_failure_says_why() -> None:
    answer = says(told(failed=True, msg="no \x1b[2J\nroom\u202e"))
    assert answer.result["msg"] == "no [2J room"


@pytest.mark.parametrize(
    "text",
    [
        "print('no JSON')",
        "print('[]')",
        "print('{}')",
        'print(\'{"result": 1, "warnings": []}\')',
        'print(\'{"result": {}, "warnings": [], "hidden": ["1"]}\')',
        "print('[' * 10000)",
        "print('{\"result\":' * 10000)",
        "print(json.dumps({'result': {'before': float('nan')}, 'warnings': []}))",
        'print(\'{"result": {"fresh": true, "fresh": false}, "warnings": []}\')',
        "print(json.dumps({'result': {str(number): 1 for number in range(100000)}, 'warnings': []}))",
        "print('{\"result\": {\"before\": ' + '9' * 5000 + '}, \"warnings\": []}')",
        'sys.stdout.buffer.write(b\'{"result": {"\\xff": 1}, "warnings": []}\')',
        "while True: sys.stdout.write('a' * 65536)",
        "while True: sys.stderr.write('a' * 65536)",
    ],
)
def test_an_answer_that_is_none(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(tethys_docker_ship.ShipError) as error:
            says(text)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)


KEYS = [
    "ansible_facts",
    "changed",
    "failed",
    "msg",
    "diff",
    "before",
    "after",
    "processes",
    "fresh",
    "warnings",
    "result",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 10**6) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(ANSWERS)), st.dictionaries(st.sampled_from(KEYS), VALUES), st.booleans())
def test_whatever_a_container_answers(name: str, made_up: dict[str, Any], honest: bool) -> None:
    schema = ANSWERS[name]
    result = {**HONEST, **made_up} if honest else made_up
    try:
        text = json.dumps({"result": result, "warnings": made_up.get("warnings", [])})
        answer = tethys_docker_ship._accepted(load(text), schema)
    except Rejected as error:
        assert str(error).isprintable()
        return
    assert set(answer.result) <= {*schema.fields, "failed", "msg"}
    assert all(isinstance(text, str) and text.isprintable() for text in answer.warnings)


def test_one_byte_after_the_other() -> None:
    started = time.monotonic()
    with pytest.raises(tethys_docker_ship.ShipError, match="did not finish within 1 seconds"):
        says("while True: print(' ', end='', flush=True); time.sleep(0.1)", 1)
    assert time.monotonic() - started < 3


def test_the_last_words_of_a_container() -> None:
    with pytest.raises(tethys_docker_ship.ShipError) as error:
        says("sys.stderr.write('\\x1b]0;owned\\x07' + 'a' * 5000); sys.exit(3)")
    assert str(error.value).startswith("m ended with status 3 and without an answer. The last it said is: ]0;owneda")
    assert len(str(error.value)) < 600


def test_nothing_of_the_user_takes_part(tmp_path: Path) -> None:
    """What Python imports automatically when it starts, from the user's site and the working folder."""
    (tmp_path / "usercustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
    line = tethys_docker_ship.command("docker", "c", "www", sys.executable)
    inside = line[line.index(sys.executable) :]
    job = {"arguments": {"name": "x"}, "check_mode": False, "diff": False}
    texts = tethys_docker_ship.sources(tethys_docker_exec.SHIPPED)
    begin = ["env", f"PYTHONPATH={tmp_path}"]
    answer = tethys_docker_ship.ship([*begin, *inside], "m", PROGRAM, texts, job, 30, ANY)
    assert answer.result["changed"] is False
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", SENT)
def test_what_a_module_documents_is_what_passes(name: str) -> None:
    text = (MODULES / f"{name}.py").read_text(encoding="utf-8")
    documented = yaml.safe_load(text.partition('RETURN = r"""')[2].partition('"""')[0])
    assert set(ANSWERS[name].fields) - {"changed", "diff"} == set(documented)
    for key, held in documented.items():
        if "contains" in held:
            assert set(ANSWERS[name].fields[key].fields) == set(held["contains"]), key


def test_what_is_inside() -> None:
    printed = script().partition("print(json.dumps({")[2].partition("}))")[0]
    assert re.findall(r'^    "(\w+)":', printed, re.MULTILINE) == list(INSIDE.fields)


@pytest.mark.parametrize(
    ("says", "name"), [("echo /river", "river"), ("exit 1", "c0ffee"), ("printf '/a\\033[2Jb'", "a[2Jb")]
)
def test_messages_name_the_container(tmp_path: Path, says: str, name: str) -> None:
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\n{says}\n")
    docker.chmod(0o755)
    assert tethys_docker_ship.name_of(str(docker), "c0ffee") == name
    assert tethys_docker_ship.name_of(str(tmp_path / "none"), "c0ffee") == "c0ffee"
