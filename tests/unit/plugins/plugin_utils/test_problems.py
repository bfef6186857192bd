# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems: codes that do not change, and decisions that depend on them, whatever the sentences say."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem, codes, texts
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.bokeh import asgi_processes
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_inputs import DockerInputs
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal
from ansible_collections.tethys.channels.plugins.plugin_utils.tethys_docker import docker_plan
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import test_shared as shared
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import test_tethys_docker as docker
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.scrambled import decided, random_texts

PLUGINS = Path(__file__).parents[4] / "plugins"
# Who makes a problem of a code and a subject, with the place of the code among the arguments.
MAKERS = ("Problem", "refuse", "warn", "report", "report_problem", "_problem")


def test_a_problem_is_its_code_and_its_subject() -> None:
    one, other = Problem("port-in-use", "8000", "By process 7."), Problem("port-in-use", "8000", "By process 8.")
    assert one == other
    assert one != Problem("port-in-use", "8001", "By process 7.")
    assert texts([one, other]) == ["By process 7.", "By process 8."]
    assert codes([one]) == [{"code": "port-in-use", "subject": "8000"}]
    assert str(Refusal(one, other)) == "By process 7. By process 8."


def made() -> dict[str, set[str]]:
    """Return the codes that the plugins' source makes problems of, each with its files."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PLUGINS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if name in MAKERS and len(node.args) > 1 and isinstance(first, ast.Constant):
                found[str(first.value)].add(path.name)
    return found


def test_every_code_is_a_slug() -> None:
    found = made()
    assert len(found) > 150
    assert [code for code in found if not re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", code)] == []


def test_no_decision_looks_into_a_text() -> None:
    """A comparison, a search or a match that has `text` of a problem in it."""
    found = []
    for path in sorted((PLUGINS / "plugin_utils").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                parts = [node.func.value, *node.args] if node.func.attr in ("startswith", "match", "split") else []
            found += [f"{path.name}:{node.lineno}" for part in parts if ast.unparse(part).endswith(".text")]
    assert found == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("redis_container_tls_renew_days", 900), ("redis_container_tls_crt", "x"), ("redis_container_tsl_dir", "/x")],
)
def test_what_is_wrong_with_the_certificate_is_reported_once(name: str, value: Any) -> None:
    values = {"redis_container_tls_dir": None, name: value}
    refused = shared.judge(values)
    assert [problem["subject"] for problem in refused["codes"]] == [name]
    with random_texts():
        again = shared.judge(values)
    assert again["codes"] == refused["codes"]


def test_a_certificate_that_is_missing_is_still_reported() -> None:
    refused = shared.judge({"redis_container_tls_dir": None, "redis_container_memory_mb": 1})
    assert [problem["code"] for problem in refused["codes"]] == ["value-invalid", "tls-folder-missing"]


@pytest.mark.parametrize("name", ["override_file", "user", "network"])
def test_a_variable_of_tethys_docker_is_reported_once(name: str) -> None:
    variables = docker.asked(**{name: ["x"]})
    refused = decided(docker_plan, DockerInputs.given(variables), {"values": variables, "docker": docker.look()})
    assert [problem["subject"] for problem in refused["codes"]].count(f"tethys_docker_{name}") == 1


def test_bokeh_has_a_code_of_its_own() -> None:
    with random_texts(), pytest.raises(Refusal) as caught:
        asgi_processes(4, bokeh=True, policy="single")
    assert codes(caught.value.problems) == [{"code": "bokeh-needs-one-process", "subject": "tethys_asgi_processes"}]


def test_without_root_there_is_one_reason() -> None:
    assert {"code": "not-root", "subject": "ansible_become"} in shared.judge(root=False)["codes"]
