# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of words finds each kind of fault where users read it, and leaves code alone."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script, which has no suffix."""
    sys.dont_write_bytecode = True  # a cache beside it would be one more file in scripts/
    loader = importlib.machinery.SourceFileLoader("words", str(ROOT / "scripts" / "words"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    # A named tuple of the module looks for it there.
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def found(script: ModuleType, root: Path, name: str, text: str) -> list[str]:
    """Return what is wrong in a file, its spelling apart."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    rules = yaml.safe_load((ROOT / "scripts" / "words.yml").read_text(encoding="utf-8"))
    texts = list(script.texts(root, []))
    rows = [*script.vocabulary(texts, rules), *script.task_names(texts, rules), *script.links(root, [])]
    return [f"{row.line} {row.kind} {row.problem}" for row in rows]


VERIFY = "`proved`: write verify, verified, delivery check"


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("README.md", "One.\n\nDelivery was\nproved.\n", f"4 page {VERIFY}"),
        ("SECURITY.md", "Delivery was proved.\n", f"1 page {VERIFY}"),
        ("docs/docsite/rst/guide_x.rst", "Title\n=====\n\nIt was *proved*.\n", f"4 page {VERIFY}"),
        ("docs/docsite/rst/guide_x.rst", "* - ``a``\n  - Was proved.\n", f"2 page {VERIFY}"),
        (
            "docs/docsite/rst/guide_x.rst",
            ".. list-table::\n   :header-rows: 1\n\n   * - a\n   * - proved\n",
            f"5 page {VERIFY}",
        ),
        ("changelogs/fragments/x.yml", "bugfixes:\n  - x - delivery is proved.\n", f"2 page {VERIFY}"),
        ("roles/a/tasks/main.yml", "- name: Report what was proved\n", f"1 task {VERIFY}"),
        ("roles/a/tasks/main.yml", "- fail:\n    msg: >-\n      Not proved.\n", f"2 message {VERIFY}"),
        (
            "roles/a/meta/argument_specs.yml",
            "argument_specs:\n  main:\n    options:\n      x:\n        description: What is proved.\n",
            f"5 documentation {VERIFY}",
        ),
        ("plugins/modules/a.py", 'fail(msg=f"{x} was not proved.")\n', f"1 message {VERIFY}"),
        ("plugins/modules/a.py", 'fail(\n    "It was"\n    " proved."\n)\n', f"2 message {VERIFY}"),
        ("plugins/modules/a.py", 'RETURN = r"""\nx:\n  description: Was proved.\n"""\n', f"3 documentation {VERIFY}"),
        (
            "plugins/doc_fragments/a.py",
            'class ModuleDocFragment:\n    X = r"""\na:\n  description: Was proved.\n"""\n',
            f"4 documentation {VERIFY}",
        ),
        ("plugins/filter/a.yml", "DOCUMENTATION:\n  short_description: Was proved\n", f"2 documentation {VERIFY}"),
        (
            "roles/a/tasks/main.yml",
            "- name: Write the file that the two other tasks read\n",
            "1 task 'Write the file that the two other tasks read' has more than 6 words",
        ),
        ("roles/a/tasks/main.yml", "- name: Restart it\n", "1 task 'Restart it': name the object"),
        ("README.md", "[x](docs/none.md)\n", "1 link docs/none.md does not exist"),
        ("README.md", "# A b\n\n[x](#a-c)\n", "3 link #a-c: README.md has no such heading"),
        ("README.md", "[x](http:/example.org)\n", "1 link http:/example.org is not an address"),
        ("docs/docsite/rst/guide_x.rst", ".. image:: none.svg\n", "1 link none.svg does not exist"),
    ],
)
def test_a_fault_is_found(script: ModuleType, tmp_path: Path, name: str, text: str, problem: str) -> None:
    assert found(script, tmp_path, name, text) == [problem]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "`proved`\n\n```\nproved\n```\n\n[x](#a-b)\n\n# A b\n"),
        ("docs/docsite/rst/guide_x.rst", "A ``proved`` b::\n\n    proved\n\n.. code-block:: text\n\n    proved\n"),
        ("docs/docsite/rst/guide_x.rst", "See :ref:`this <proved>` and `that <https://example.org/proved>`__.\n"),
        ("roles/a/tasks/main.yml", "- name: Write {{ a_path_that_is_proved }} again\n  register: __a_proved\n"),
        ("plugins/modules/a.py", '"""What was proved."""\nproved = "is_proved"  # it was proved\n'),
        ("plugins/modules/a.py", 'script = """\nx = proved\nprint(x)\n"""\n'),
        ("plugins/modules/a.py", 'DOCUMENTATION = r"""\ndescription: Sets O(x.proved) to V(proved).\n"""\n'),
    ],
)
def test_code_is_left_alone(script: ModuleType, tmp_path: Path, name: str, text: str) -> None:
    assert found(script, tmp_path, name, text) == []


def test_spelling(script: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("codespell_lib", reason="an environment older than requirements-dev.txt; lint fails in it")
    rules = yaml.safe_load((ROOT / "scripts" / "words.yml").read_text(encoding="utf-8"))
    texts = [script.Text(tmp_path / "a", 7, "page", each) for each in ("It is right.", "The behaviour\nof teh `teh`.")]
    rows = list(script.spelling(tmp_path, texts, rules))
    assert [(row.line, row.problem) for row in rows] == [(7, "behaviour ==> behavior"), (7, "teh ==> the")]


def test_each_pattern_is_one(script: ModuleType) -> None:
    rules = yaml.safe_load((ROOT / "scripts" / "words.yml").read_text(encoding="utf-8"))
    assert len(rules["vocabulary"]) > 30
    # A pattern that the replacement itself has would never be satisfied.
    texts = [script.Text(ROOT, 1, "page", row["write"]) for row in rules["vocabulary"]]
    assert list(script.vocabulary(texts, rules)) == []
