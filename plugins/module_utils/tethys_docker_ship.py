# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module of this collection inside a container, in the portal's own Python.

The module and what it imports are sent as text on standard input, and nothing is left behind. Secrets travel the same
way, so no process list and no log of Docker's shows them.
"""

from __future__ import annotations

import json
import os
from types import ModuleType
from typing import Any, Iterable, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils import portal_env, tethys_docker_inside
from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Flag,
    Listing,
    Plain,
    Record,
    Rejected,
    Table,
    Text,
    accept_value,
    clean,
    load,
    needs_all,
)
from ansible_collections.tethys.channels.plugins.module_utils.run_command import CommandFailed, TimedOut, run_command
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_answers import failed

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
from ansible.module_utils import basic
basic.JOB.update(_job["job"], answers=_answers)
sys.argv[:] = [_job["name"]]
exec(compile(_job["program"], _job["name"], "exec"), {"__name__": "__main__", "__file__": _job["name"]})
"""


_ENVELOPE = needs_all(result=Table(Plain(), most=50), warnings=Listing(Text(), 100))
_MOST_SAID = 500


class ShipError(Exception):
    """The module could not be run in the container; the sentence says why."""


class Answer(NamedTuple):
    """What the module answered, as far as its schema lists it."""

    result: dict[str, Any]
    warnings: list[str]


def sources(modules: Iterable[ModuleType]) -> dict[str, str]:
    """The text of the collection's own modules, and of what stands in for Ansible's."""
    found = {module.__name__: portal_env.source_of(module.__name__) or "" for module in modules}
    inside = portal_env.source_of(tethys_docker_inside.__name__) or ""
    return {**found, f"{_ROOT}.basic": inside, f"{_ROOT}.common.respawn": inside}


def command(docker: str, container: str, user: str, python: str) -> list[str]:
    """The command line; nothing secret is on it."""
    as_user = ["--user", user] if user else []
    # -I: nothing of the container's users takes part. For the portal's Python, the module starts another one.
    start = [python, "-I", "-B", "-c", _BOOTSTRAP]
    return [docker, "exec", "-i", "-e", "PYTHONDONTWRITEBYTECODE=1", *as_user, container, *start]


def name_of(docker: str, container: str) -> str:
    """Return the name of a container, for messages; its id where the engine does not answer."""
    line = [docker, "container", "inspect", "--format", "{{.Name}}", container]
    try:
        found = run_command(line, seconds=10, env=os.environ).out
    except CommandFailed:
        found = ""
    return clean(found.strip().lstrip("/"), 100) or container


def ship(
    line: list[str],
    name: str,
    program: str,
    texts: dict[str, str],
    job: dict[str, Any],
    timeout: float,
    schema: Record,
) -> Answer:
    """Run the program in the container and return its answer.

    Args:
        line: from `command`.
        name: the module's, for messages.
        program: the module's text.
        texts: from `sources`.
        job: `arguments`, `check_mode` and `diff`.
        timeout: seconds for all of it.
        schema: what the module may return.

    Raises:
        ShipError: there is no answer in time, or it is not one of this module.
    """
    given = json.dumps({"name": name, "program": program, "sources": texts, "job": job})
    try:
        done = run_command(line, seconds=timeout, env=os.environ, stdin=given)
    except TimedOut:
        raise ShipError(f"{name} did not finish within {timeout:g} seconds.") from None
    except CommandFailed as error:
        raise ShipError(f"{name} gave no answer: {error}.") from None
    if not done.out.strip():
        said = done.err.strip().splitlines()
        last = f" The last it said is: {clean(said[-1], _MOST_SAID)}" if said else ""
        raise ShipError(f"{name} ended with status {done.code} and without an answer.{last}")
    try:
        return _accepted(load(done.out), schema)
    except Rejected as error:
        raise ShipError(f"the answer of {name} was not accepted: {error}.") from None


def _accepted(answer: Any, schema: Record) -> Answer:
    envelope = accept_value(answer, _ENVELOPE)
    # Nothing of it passes but by the schema.
    result = answer["result"]
    is_failed = "failed" in result and accept_value(result["failed"], Flag())
    result = accept_value(result, failed(schema) if is_failed else schema)
    if "diff" in result:
        diff = result["diff"]
        result["diff"] = [_joined(each) for each in diff] if isinstance(diff, list) else _joined(diff)
    return Answer(result, envelope["warnings"])


def _joined(diff: dict[str, Any]) -> dict[str, Any]:
    """Put a difference together that came line by line."""
    return {key: "".join(f"{row}\n" for row in held) if isinstance(held, list) else held for key, held in diff.items()}
