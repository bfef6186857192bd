# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Select the tests that can see a change: unit tests by imports and names, and the scenario named for a role."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

COLLECTION = "ansible_collections.tethys.channels."
# Files that every unit test depends on.
EVERY_TEST = r"tests/(.*/)?conftest\.py|pyproject\.toml|requirements-dev\.txt"
# Folders whose files no test imports.
READ_AS_FILES = {"playbooks", "roles"}
# The scenario that shows most of a role, and of a playbook, in the fewest minutes.
SCENARIOS = {
    "roles/asgi_service": "default",
    "roles/channels_redis": "check_first",
    "roles/fleet_check": "shared_layer",
    "roles/layer_check": "default",
    "roles/nginx_upstream": "bokeh_pin",
    "roles/portal_config": "debian13",
    "roles/preflight": "refusals",
    "roles/redis_container": "debian13",
    "roles/tethys_docker": "tethys_docker",
    "playbooks/check.yml": "default",
    "playbooks/remove.yml": "adopt",
    "playbooks/restart.yml": "default",
    "playbooks/site.yml": "default",
    "playbooks/tethys_docker.yml": "tethys_docker",
}


def changed_files(root: Path, base: str) -> list[str]:
    """Return the files that differ from a commit, those not yet committed or added included."""
    diff = ["git", "diff", "--name-only", "-z", base]
    new = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    found = [subprocess.run(command, cwd=root, capture_output=True, check=True).stdout for command in (diff, new)]
    return sorted(set(filter(None, b"".join(found).decode().split("\0"))))


def imports(path: Path) -> set[str]:
    """Return the files below the collection's root that a Python file imports, as names without suffix."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found |= {name[len(COLLECTION) :].replace(".", "/") for name in names if name.startswith(COLLECTION)}
    # An import runs the packages around a module, too.
    return found | {str(parent) for name in found for parent in Path(name).parents}


def seen_by(root: Path, changed: Iterable[str]) -> set[str]:
    """Return the changed files and all Python files that import one of them, however far off."""
    files = {
        str(path.relative_to(root)): imports(path)
        for top in ("plugins", "tests")
        for path in root.glob(f"{top}/**/*.py")
    }
    seen, fresh = set(changed), set(changed)
    while fresh:
        names = {name.removesuffix(".py").removesuffix("/__init__") for name in fresh}
        fresh = {name for name, imported in files.items() if imported & names} - seen
        seen |= fresh
    return seen


def unit_tests(root: Path, changed: Iterable[str]) -> list[str]:
    """Return the unit tests that import a changed file, however far off, or have its name in their text.

    Of a change in a role or a playbook these are the tests that read files of roles or of playbooks: the name of a role
    or a playbook is also that of a package or a command, and so in most tests.
    """
    changed = list(changed)
    if any(re.fullmatch(EVERY_TEST, name) for name in changed):
        return ["tests/unit"]
    seen = seen_by(root, changed)
    words = {rf"\b{re.escape(word)}\b" for name in changed if (word := name_in_tests(name))}
    tops = {name.partition("/")[0] for name in changed} & READ_AS_FILES
    reads = {rf"[\"'/ ]{top}[\"'/]" for top in tops}
    pattern = re.compile("|".join(sorted(words | reads))) if words | reads else None
    found = []
    for path in sorted(root.glob("tests/unit/**/test_*.py")):
        name = str(path.relative_to(root))
        own = path.relative_to(root / "tests" / "unit").parts[0] in tops
        if own or name in seen or (pattern and pattern.search(path.read_text(encoding="utf-8"))):
            found.append(name)
    return found


def name_in_tests(name: str) -> str:
    """Return the name by which a test refers to a file: the folder of test data, or the file's own name."""
    parts = Path(name).parts
    if parts[0] in READ_AS_FILES:
        return ""
    if parts[:3] == ("tests", "unit", "corpus"):
        return "corpus"
    if parts[0] in ("molecule", "tests") and name.endswith(".py"):
        return "" if re.match(r"test_|conftest", parts[-1]) else Path(name).stem
    return Path(name).stem


def scenarios(root: Path, changed: Iterable[str]) -> list[str]:
    """Return the scenarios that are named for the changed roles and playbooks, and those that changed themselves."""
    found = set()
    for name in changed:
        found |= {scenario for place, scenario in SCENARIOS.items() if name == place or name.startswith(f"{place}/")}
        parts = Path(name).parts
        if parts[0] == "molecule" and (root / "molecule" / parts[1] / "molecule.yml").exists():
            found.add(parts[1])
    return sorted(found)
