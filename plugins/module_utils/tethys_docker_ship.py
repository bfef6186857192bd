# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of this collection inside a container, in the portal's own Python.

The module and what it imports are sent as text on standard input, and nothing is left behind. Secrets travel the same
way, so no process list and no log of Docker's shows them.
"""

from __future__ import annotations

import json
import subprocess
from types import ModuleType
from typing import Any, Iterable, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils import portal_env, tethys_docker_inside

_ROOT = "ansible.module_utils"
# The answer goes where standard output was; what the module and the portal print goes to standard error.
_BOOTSTRAP = """
import importlib.abc, importlib.util, json, os, sys
_job = json.load(sys.stdin)
_null = os.open(os.devnull, os.O_RDONLY)
os.dup2(_null, 0)
_answers = os.dup(1)
os.dup2(2, 1)
_sources = _job["sources"]
_packages = {".".join(name.split(".")[:end]) for name in _sources for end in range(1, name.count(".") + 1)}
class _Shipped(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name in _sources or name in _packages else None
    def is_package(self, name):
        return name not in _sources
    def get_source(self, name):
        return _sources.get(name, "")
sys.meta_path.insert(0, _Shipped())
sys.path[:] = [path for path in sys.path if path]
from ansible.module_utils import basic
basic.JOB.update(_job["job"], answers=_answers)
sys.argv[:] = [_job["name"]]
exec(compile(_job["program"], _job["name"], "exec"), {"__name__": "__main__", "__file__": _job["name"]})
"""


class ShipError(Exception):
    """The module could not be run in the container; the sentence says why."""


class Answer(NamedTuple):
    """What the module answered."""

    result: dict[str, Any]
    warnings: list[str]
    hidden: list[str]


def sources(modules: Iterable[ModuleType]) -> dict[str, str]:
    """The text of the collection's own modules, and of what stands in for Ansible's."""
    found = {module.__name__: portal_env.source_of(module.__name__) or "" for module in modules}
    inside = portal_env.source_of(tethys_docker_inside.__name__) or ""
    return {**found, f"{_ROOT}.basic": inside, f"{_ROOT}.common.respawn": inside}


def command(docker: str, container: str, user: str, python: str) -> list[str]:
    """The command line; nothing secret is on it."""
    as_user = ["--user", user] if user else []
    return [docker, "exec", "-i", "-e", "PYTHONDONTWRITEBYTECODE=1", *as_user, container, python, "-c", _BOOTSTRAP]


def ship(
    line: list[str], name: str, program: str, texts: dict[str, str], job: dict[str, Any], timeout: float
) -> Answer:
    """Run the program and read its answer."""
    given = json.dumps({"name": name, "program": program, "sources": texts, "job": job})
    try:
        done = subprocess.run(line, input=given, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise ShipError(f"{name} did not finish within {timeout:g} seconds.") from None
    except OSError as error:
        raise ShipError(f"{line[0]} cannot be started: {error.strerror}.") from None
    try:
        answer = json.loads(done.stdout)
        return Answer(answer["result"], answer["warnings"], answer["hidden"])
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines()
        last = f" The last it said is: {said[-1].strip()}" if said else ""
        raise ShipError(f"{name} ended with status {done.returncode} and without an answer.{last}") from None
