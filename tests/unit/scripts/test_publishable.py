# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Galaxy, ansible-builder and ansible-test read of the repository agrees with itself."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/check-versions, which has no suffix."""
    sys.dont_write_bytecode = True  # a cache beside it would be one more file in scripts/
    loader = importlib.machinery.SourceFileLoader("check_versions", str(ROOT / "scripts" / "check-versions"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def read(path: str) -> Any:
    """A YAML file of the repository."""
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


# --- the versions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "line", "wanted"),
    [
        ("ansible-core", "2.20", ["ansible-core==2.20.*"]),
        ("ansible", "2.20", ["ansible==13.*"]),
        ("ansible-core", "newest", ["--pre", "ansible-core"]),
        ("ansible", "newest", ["--pre", "ansible"]),
    ],
)
def test_what_is_installed_of_a_line(script: ModuleType, package: str, line: str, wanted: list[str]) -> None:
    assert script.wanted(package, line) == wanted


def test_the_oldest_line_is_the_one_that_the_collection_requires(script: ModuleType) -> None:
    oldest = min(script.LINES, key=script.order)
    assert read("meta/runtime.yml")["requires_ansible"] == f">={oldest}.0"


def test_every_line_has_its_ignore_file_with_reasons(script: ModuleType) -> None:
    files = {path.name for path in (ROOT / "tests" / "sanity").glob("ignore-*.txt")}
    # The next line has one as soon as it has a release candidate, for `make canary`.
    newest = max(int(line.partition(".")[2]) for line in script.LINES)
    assert files - {f"ignore-2.{newest + 1}.txt"} == {f"ignore-{line}.txt" for line in script.LINES}
    for name in files:
        lines = (ROOT / "tests" / "sanity" / name).read_text(encoding="utf-8").splitlines()
        assert lines == sorted(set(lines))
        for line in lines:
            assert re.fullmatch(r"\S+ \S+ # .+", line), line
            assert (ROOT / line.split()[0]).exists(), line


def test_what_one_line_ignores_the_newer_ones_ignore_too(script: ModuleType) -> None:
    before: set[str] = set()
    for line in sorted(script.LINES, key=script.order):
        now = set((ROOT / "tests" / "sanity" / f"ignore-{line}.txt").read_text(encoding="utf-8").splitlines())
        assert before <= now
        before = now


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # Debian 12 and 13 without other Pythons.
        (["3.11"], {"2.19": "3.11", "2.20": None, "2.21": None}),
        (["3.13"], {"2.19": "3.13", "2.20": "3.13", "2.21": "3.13"}),
        # Every Python gets its turn.
        (["3.11", "3.12", "3.13"], {"2.19": "3.11", "2.20": "3.12", "2.21": "3.13"}),
        (["3.9", "3.10"], {"2.19": None, "2.20": None, "2.21": None}),
        ([], {"2.19": None, "2.20": None, "2.21": None}),
    ],
)
def test_each_line_gets_a_python_that_it_supports(
    script: ModuleType, found: list[str], expected: dict[str, str | None]
) -> None:
    chosen = script.choose(["2.19", "2.20", "2.21"], found)
    assert chosen == expected
    assert list(chosen) == list(expected)


def program(path: Path, text: str) -> Path:
    """A program in a separate folder."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_python_that_does_not_start_is_passed_over(script: ModuleType, tmp_path: Path) -> None:
    shim = program(tmp_path / "shims" / "python3.12", "echo 'python3.12: command not found' >&2; exit 127")
    other = program(tmp_path / "other" / "python3.12", "echo 3.13")
    good = program(tmp_path / "good" / "python3.12", "echo 3.12")
    (tmp_path / "good" / "python3.13").write_text("not executable", encoding="utf-8")
    folders = [tmp_path / "absent", shim.parent, other.parent, good.parent]
    assert script.find_pythons(["3.12", "3.13", "3.14"], folders) == {"3.12": good}


def test_debians_python_without_venv_is_passed_over(script: ModuleType, tmp_path: Path) -> None:
    bare = program(
        tmp_path / "bin" / "python3.11", "echo \"ModuleNotFoundError: No module named 'ensurepip'\" >&2; exit 1"
    )
    assert script.find_pythons(["3.11"], [bare.parent]) == {}


def test_versions_are_ordered_as_numbers(script: ModuleType) -> None:
    assert sorted(["2.20", "2.9", "2.100"], key=script.order) == ["2.9", "2.20", "2.100"]


def test_collections_come_with_those_that_they_depend_on(script: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "ansible-14.0.0-py3-none-any.whl"
    depends: dict[str, dict[str, str]] = {
        "a.b": {"c.d": ">=1.0.0"},
        "c.d": {"e.f": "*"},
        "e.f": {"c.d": "*"},
        # Its name begins as another's does.
        "a.bb": {},
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, wanted in depends.items():
            folder = f"ansible_collections/{name.replace('.', '/')}"
            about = {"collection_info": {"version": "1.2.3", "dependencies": wanted}}
            archive.writestr(f"{folder}/MANIFEST.json", json.dumps(about))
            archive.writestr(f"{folder}/plugins/x.py", "")
    assert script.unpack_collections(wheel, ["a.b"], tmp_path / "to") == dict.fromkeys(["a.b", "c.d", "e.f"], "1.2.3")
    unpacked = {path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("x.py")}
    assert unpacked == {f"ansible_collections/{name}/plugins/x.py" for name in ("a/b", "c/d", "e/f")}
    with pytest.raises(script.Failure, match=r"does not hold the collection g\.h"):
        script.unpack_collections(wheel, ["g.h"], tmp_path / "to")


def test_the_table_says_what_was_not_run(script: ModuleType) -> None:
    rows = [
        script.Row("2.19.14", "3.11", "passed in 0.6 min", "by `make sanity`", "not asked for"),
        script.Row("2.20", "-", "not run: no Python of 3.12, 3.13, 3.14 here", "not run", "not run"),
    ]
    assert script.table(rows).splitlines() == [
        "  ansible-core  Python  bare controller                              sanity            on a server",
        "  2.19.14       3.11    passed in 0.6 min                            by `make sanity`  not asked for",
        "  2.20          -       not run: no Python of 3.12, 3.13, 3.14 here  not run           not run",
    ]


# --- what a controller needs ----------------------------------------------------------------------------------------


def test_the_files_that_the_execution_environment_names_are_there(script: ModuleType) -> None:
    listed = read("meta/execution-environment.yml")["dependencies"]
    assert sorted(listed) == ["galaxy", "python", "system"]
    for path in listed.values():
        assert (ROOT / path).is_file()
    python, collections = script.requirements()
    assert python == ROOT / "meta" / "ee-requirements.txt"
    assert collections == list(read("galaxy.yml")["dependencies"])


# --- what Galaxy shows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_readme_that_says_what_its_spec_says(role: str) -> None:
    text = " ".join((ROOT / "roles" / role / "README.md").read_text(encoding="utf-8").split())
    spec = read(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"]
    assert text.startswith(f"# tethys.channels.{role} {spec['short_description']}.")
    for sentence in spec["description"]:
        assert re.sub(r"\b[CVOP]\(([^()#]*)(?:#[^()]*)?\)", r"`\1`", " ".join(sentence.split())) in text


def test_the_requirements_that_the_guide_shows_are_those_of_the_manifest() -> None:
    guide = (ROOT / "docs" / "docsite" / "rst" / "guide_install.rst").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^    # requirements\.yml\n((?:    .*\n)+)", guide, re.MULTILINE)
    ours, *others = yaml.safe_load(shown)["collections"]
    galaxy = read("galaxy.yml")
    assert ours["name"] == galaxy["repository"]
    assert {entry["name"]: entry["version"] for entry in others} == galaxy["dependencies"]
