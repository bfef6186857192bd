# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules of this collection in a Python that has no Ansible, as they run in a container."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import tethys_docker_inside, tethys_docker_ship
from ansible_collections.tethys.channels.plugins.modules import tethys_docker_exec

MODULES = Path(str(tethys_docker_exec.__file__)).parent
SENT = ("asgi_roll", "layer_probe", "portal_info", "portal_settings", "tethys_docker_program")


def ship(program: str, arguments: dict[str, Any] | None = None, **job: Any) -> tethys_docker_ship.Answer:
    """Run a program as in a container: another process, without this one's packages."""
    line = tethys_docker_ship.command("docker", "c", "www", sys.executable)
    # From the interpreter on, what `docker exec` would start; -S hides the packages of this environment.
    line = [sys.executable, "-S", *line[line.index(sys.executable) + 1 :]]
    texts = tethys_docker_ship.sources(tethys_docker_exec.SHIPPED)
    full = {"arguments": arguments or {}, "check_mode": False, "diff": False, **job}
    return tethys_docker_ship.ship(line, "a_module", program, texts, full, 30)


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
    module.exit_json(changed=False, params=module.params, check=module.check_mode, diff=module._diff)
if __name__ == "__main__":
    main()
"""


def test_a_module_gets_its_parameters_and_answers() -> None:
    answer = ship(PROGRAM, {"name": "é", "count": "5", "flag": "yes", "secret": "s"}, check_mode=True)
    assert answer.result["params"] == {"count": 5, "flag": True, "name": "é", "secret": "s"}
    assert answer.result["check"] is True
    assert answer.result["diff"] is False
    assert answer.warnings == ["mind"]
    assert answer.hidden == ["s"]


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
        tethys_docker_ship.ship(line, "m", "", {}, {}, 0.3)


def test_nothing_secret_is_on_the_command_line(tmp_path: Path) -> None:
    """A program in docker's place writes down how it was called and with what environment, and what it was given."""
    seen, read = tmp_path / "seen", tmp_path / "read"
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"open({str(seen)!r}, 'w').write(repr(sys.argv) + repr(dict(os.environ)))\n"
        f"open({str(read)!r}, 'w').write(sys.stdin.read())\n"
        'print(\'{"result": {}, "warnings": [], "hidden": []}\')\n'
    )
    docker.chmod(0o755)
    job = {"arguments": {"password": "geheim"}, "check_mode": False, "diff": False}
    line = tethys_docker_ship.command(str(docker), "c0ffee", "www", "/opt/python")
    tethys_docker_ship.ship(line, "m", "the program", {}, job, 30)
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
    (tmp_path / "asgi.conf").write_text("numprocs=1\n")
    text = (MODULES / "tethys_docker_program.py").read_text(encoding="utf-8")
    given = {"path": str(tmp_path / "asgi.conf"), "notes": str(tmp_path / "before.json"), "processes": 4}
    assert ship(text, given).result["changed"] is True
    assert (tmp_path / "asgi.conf").read_text() == "numprocs=4\n"
