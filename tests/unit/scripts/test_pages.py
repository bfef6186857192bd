# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README and the pages say of messages, tasks, scenarios, playbooks and plugins is so."""

from __future__ import annotations

import ast
import re
import textwrap
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "docsite" / "rst"
TEXTS = [ROOT / "README.md", *sorted(PAGES.glob("*.rst"))]


def page(name: str) -> str:
    """Return a page of the documentation."""
    return (PAGES / f"{name}.rst").read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Return the section of a page under a heading."""
    text = page(name).partition(f"\n{heading}\n{'-' * len(heading)}\n")[2]
    assert text, f"{name} has no section {heading}"
    return re.split(r"\n[^\n]+\n-{4,}\n", text)[0]


def rows(name: str, heading: str) -> list[list[str]]:
    """Return the cells of the rows of a section's tables, without their headings."""
    tables = re.split(r"^   :header-rows: 1\n", section(name, heading), flags=re.MULTILINE)[1:]
    found = []
    for table in tables:
        lines = [
            re.split(r"^     - ?", row, flags=re.MULTILINE) for row in re.split(r"^   \* - ", table, flags=re.MULTILINE)
        ]
        found += [[cell.strip() for cell in line] for line in lines[2:]]
    return found


def messages() -> list[str]:
    """Return the messages in the first column of the tables of refusals."""
    table = page("reference_messages").partition(".. refusals:")[2].partition(".. end of refusals")[0]
    cells = re.findall(r"^   \* - (``.*|\*.*)$", table, re.MULTILINE)
    return [found for cell in cells for found in re.findall(r"``(.+?)``(?!`)", cell)]


@lru_cache(maxsize=1)
def said() -> tuple[str, ...]:
    """Every text in the code, with a blank spot where a value goes, and the roles' own tasks on one line."""
    found = []
    for path in sorted(ROOT.glob("plugins/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    for path in sorted(ROOT.glob("roles/*/tasks/*.yml")):
        found.append(" ".join(path.read_text(encoding="utf-8").split()))
    return tuple(found)


def test_there_are_messages() -> None:
    assert len(messages()) > 100


@pytest.mark.parametrize("message", messages())
def test_the_code_has_each_message_that_is_explained(message: str) -> None:
    pieces = [piece.strip() for piece in message.split("…") if piece.strip()]
    assert pieces
    pattern = re.compile(".*".join(re.escape(piece) for piece in pieces), re.DOTALL)
    assert any(pattern.search(text) for text in said()), message


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_the_roles_have_each_task_whose_output_is_shown(path: Path) -> None:
    for role, task in re.findall(r"TASK \[tethys\.channels\.(\w+) : (.+?)\]", path.read_text(encoding="utf-8")):
        tasks = "\n".join(each.read_text(encoding="utf-8") for each in ROOT.glob(f"roles/{role}/tasks/*.yml"))
        assert re.search(rf"^ *- name: {re.escape(task)}$", tasks, re.MULTILINE), f"{role} has no task {task!r}"


def test_all_scenarios_are_listed() -> None:
    listed = {row[0].strip("`") for row in rows("reference_support", "Scenarios")}
    assert listed == {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}


def test_all_playbooks_are_listed() -> None:
    listed = {
        row[0].strip("`").removeprefix("tethys.channels.") for row in rows("reference_playbooks", "The playbooks")
    }
    assert listed == {path.stem for path in ROOT.glob("playbooks/*.yml")}


def test_all_tags_are_listed() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("playbooks/*.yml"))
    used = {tag for tags in re.findall(r"^ +tags: \[(.+)\]$", text, re.MULTILINE) for tag in tags.split(", ")}
    assert {row[0].strip("`") for row in rows("reference_playbooks", "Tags")} == used
    assert "layer_check" in used


@pytest.mark.parametrize("kind", ["filter", "modules"])
def test_all_plugins_are_listed(kind: str) -> None:
    lines = re.findall(rf"^   \* - {kind.rstrip('s')}s? (.*)$", page("reference_plugins"), re.MULTILINE)
    listed = {name for line in lines for name in re.findall(r"``(\w+)``", line)}
    # The documentation of an action plugin is a sidecar among the modules.
    files = [path for ending in ("py", "yml") for path in ROOT.glob(f"plugins/{kind}/*.{ending}")]
    assert listed == {path.stem for path in files if path.stem != "__init__"}


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    assert len(text.split()) <= 2000


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_the_linked_files_exist(name: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text(encoding="utf-8")):
        assert (ROOT / link).is_file(), link


def test_every_page_is_linked() -> None:
    sections = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text(encoding="utf-8"))["sections"]
    listed = [name for each in sections for name in each["toctree"]]
    assert sorted(listed) == [path.stem for path in sorted(PAGES.glob("*.rst"))]
    index = (ROOT / "docs" / "site" / "index.rst").read_text(encoding="utf-8")
    assert re.findall(r"docsite/(\w+)$", index, re.MULTILINE) == listed
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {name for name in listed if f"docs/docsite/rst/{name}.rst" not in readme} == set()


@pytest.mark.parametrize("path", TEXTS[1:], ids=lambda path: path.name)
def test_no_page_points_back_to_the_readme(path: Path) -> None:
    assert "README" not in path.read_text(encoding="utf-8")


def support() -> list[tuple[str, str]]:
    """Return what is called tested, each with the scenario that shows it."""
    headings = ("Operating systems of the server", "Container engines", "Redis")
    found = [row for heading in headings for row in rows("reference_support", heading)]
    return [(what, how) for what, state, _run, how in found if state == "tested"]


def test_there_is_support() -> None:
    assert {"Debian 12", "Debian 13", "Redis 8.0"} <= {what for what, _how in support()}


@pytest.mark.parametrize(("what", "how"), support())
def test_what_is_called_tested_has_a_scenario_that_runs_it(what: str, how: str) -> None:
    command = re.match(r"``make scenario S=(\w+)``", how)
    assert command, f"{what}: name the command that tests it"
    name, version = what.rsplit(" ", 1)
    # As the scenarios name their servers and images.
    word = {
        "Debian": rf"image: {({'11': 'bullseye', '12': 'bookworm', '13': 'trixie'}).get(version)}(-\w+)?$",
        # What these releases have.
        "Docker": rf"image: {({'20.10': 'bookworm', '26.1': 'trixie'}).get(version)}(-micro)?$",
        "Podman": rf"image: {({'5.4': 'trixie'}).get(version)}-podman$",
        "Redis": rf"redis[-:]{re.escape(version)}\b",
        "Redis under": r"redis_container_topology: sentinel$",
        "Valkey": rf"valkey[-:]{re.escape(version)}\b",
    }[name]
    files = [path for path in (ROOT / "molecule" / command[1]).rglob("*") if path.suffix in (".py", ".yml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    if "redis_container_image" not in text:
        # What all scenarios share.
        text += (ROOT / ".config" / "molecule" / "config.yml").read_text(encoding="utf-8")
    assert re.search(word, text, re.MULTILINE), f"{command[1]} does not run {what}"


@pytest.mark.parametrize(
    "name",
    [
        *("CONTRIBUTING.md", "docs/releasing.md", "molecule/shared/README.md"),
        *(str(path.relative_to(ROOT)) for path in TEXTS),
    ],
)
def test_every_command_that_is_told_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = re.findall(r"(?:^|`)make ([a-z-]+)(?: S=(\w+))?", text, re.MULTILINE)
    assert {target for target, _scenario in told} <= targets
    for _target, scenario in told:
        assert not scenario or (ROOT / "molecule" / scenario / "molecule.yml").is_file(), scenario
    for script in re.findall(r"(?:^|[` ])(scripts/[a-z_-]+(?:\.py)?)", text, re.MULTILINE):
        assert (ROOT / script).is_file(), script


def command_lines() -> list[tuple[str, str]]:
    """Return each line of a console block with its page."""
    found = [
        (path.name, line)
        for path in TEXTS
        for line in re.findall(r"^ *\$ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(found) > 80
    return found


def test_every_playbook_is_called_as_the_inventory_of_the_tutorial_is_named() -> None:
    playbooks = {path.stem for path in ROOT.glob("playbooks/*.yml")}
    calls = [(name, line) for name, line in command_lines() if line.startswith("ansible-playbook")]
    options = r"--check|--diff|-v|-e (\w+=|@)\S+|-e @\S+\.yml|--limit \S+|--tags \w+"
    form = rf"ansible-playbook -i inventory\.yml tethys\.channels\.({'|'.join(playbooks)})( ({options}))*"
    assert [each for each in calls if not re.fullmatch(form, each[1])] == []


@pytest.mark.parametrize("path", TEXTS[1:], ids=lambda path: path.name)
def test_every_inventory_of_a_page_is_yaml(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^ *\.\. code-block:: yaml\n\n((?: +.*\n|\n)+)", text, re.MULTILINE):
        assert yaml.safe_load(textwrap.dedent(block)) is not None
