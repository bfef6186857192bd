# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference of variables comes from the roles, the tables of versions from what runs them."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGE = Path("docs", "docsite", "rst", "reference_variables.rst")
SUPPORT = PAGE.with_name("reference_support.rst")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script, which has no suffix."""
    sys.dont_write_bytecode = True  # a cache beside it would be one more file in scripts/
    sys.path.insert(0, str(ROOT / "scripts"))
    loader = importlib.machinery.SourceFileLoader("readme_variables", str(ROOT / "scripts" / "readme-variables"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    sys.path.remove(str(ROOT / "scripts"))
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the script reads and writes."""
    for name in ("roles", "playbooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    requirements = "molecule/shared/server/requirements.txt"
    files = [PAGE, SUPPORT, "scripts/check-versions", "tests/versions.yml", "requirements-dev.txt", requirements]
    files += [path.relative_to(ROOT) for path in ROOT.glob("molecule/*/molecule.yml")]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def test_the_page_is_up_to_date(script: ModuleType) -> None:
    assert script.main(["--check"], ROOT) == 0


def test_every_variable_is_on_the_page(script: ModuleType) -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for name in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]:
            assert f"`{name}`" in text


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("molecule/debian11/molecule.yml", "# mark: platform", "# mark: core"),
        ("molecule/older_tethys/molecule.yml", 'portal_line: "4.4"', 'portal_line: "4.2"'),
        ("tests/versions.yml", "redis==5.*", "redis==4.*"),
        ("tests/versions.yml", "Podman 4.3\n      state: run by hand", "Podman 4.3\n      state: not tested"),
        ("scripts/check-versions", '"2.20": Line(("3.12", "3.13"', '"2.20": Line(("3.13"'),
        ("molecule/shared/server/requirements.txt", "tethys-platform==4.6.1", "tethys-platform==4.7.0"),
        ("roles/redis_container/meta/argument_specs.yml", "default: 256", "default: 512"),
        ("roles/redis_container/meta/argument_specs.yml", "The container's name.", "What it is called."),
        ("roles/preflight/defaults/main.yml", "default(1)", "default(2)"),
        ("playbooks/site.yml", "default('portals')", "default('webservers')"),
    ],
)
def test_a_change_makes_the_tables_out_of_date(
    script: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str], path: str, old: str, new: str
) -> None:
    file = tree / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    page = PAGE if path.startswith(("roles", "playbooks")) else SUPPORT
    before = (tree / page).read_text(encoding="utf-8")
    assert script.main(["--check"], tree) == 1
    assert f"{page} is out of date: run scripts/readme-variables" in capsys.readouterr().err
    assert (tree / page).read_text(encoding="utf-8") == before

    assert script.main([], tree) == 0
    assert script.main(["--check"], tree) == 0
    after = (tree / page).read_text(encoding="utf-8")
    assert after != before
    # Nothing but the tables is touched.
    assert after.partition(script.BEGIN)[0] == before.partition(script.BEGIN)[0]
    assert after.partition(script.END)[2] == before.partition(script.END)[2]


@pytest.mark.parametrize("page", [PAGE, SUPPORT], ids=["variables", "support"])
def test_a_page_without_the_marks_is_refused(
    script: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str], page: Path
) -> None:
    (tree / page).write_text("# Nothing\n", encoding="utf-8")
    assert script.main([], tree) == 1
    assert script.BEGIN in capsys.readouterr().err
    assert (tree / page).read_text(encoding="utf-8") == "# Nothing\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C(<prefix>/bin/python) exists.", "``<prefix>/bin/python`` exists."),
        ("V(auto) or O(other)", "``auto`` or ``other``"),
        ("a|b, x_ and all*", "a\\|b, x\\_ and all\\*"),
        ("C(a_) of a_b", "``a_`` of a_b"),
        ("ABC(x)", "ABC(x)"),
    ],
)
def test_ansibles_markup_becomes_restructuredtext(script: ModuleType, text: str, expected: str) -> None:
    assert script.rst(text) == expected
