# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README says of messages, scenarios, playbooks and plugins is so."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFUSALS = README.partition("<!-- refusals:")[2].partition("<!-- end of refusals -->")[0]


def messages() -> list[str]:
    """The messages in the first column of the table of refusals."""
    cells = [line.split(" | ")[0] for line in REFUSALS.splitlines() if line.startswith(("| `", "| *"))]
    return [found for cell in cells for _ticks, found in re.findall(r"(`+)(.+?)\1(?!`)", cell)]


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


def rows(heading: str, mark: str = "") -> set[str]:
    """The first code in each row of the table under a heading."""
    part = README.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(rf"^\| `{mark}(\w+)`", part, re.MULTILINE))


def test_there_are_messages() -> None:
    assert len(messages()) > 30


@pytest.mark.parametrize("message", messages())
def test_the_code_says_what_the_readme_explains(message: str) -> None:
    pieces = [piece.strip() for piece in message.split("…") if piece.strip()]
    assert pieces
    pattern = re.compile(".*".join(re.escape(piece) for piece in pieces), re.DOTALL)
    assert any(pattern.search(text) for text in said()), message


def test_the_readme_tells_the_scenarios_that_there_are() -> None:
    assert rows("What is tested") == {path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")}


def test_the_readme_tells_the_playbooks_that_there_are() -> None:
    told = rows("Use it on your server", r"tethys\.channels\.")
    assert told | {"site"} == {path.stem for path in ROOT.glob("playbooks/*.yml")}


@pytest.mark.parametrize("kind", ["filter", "modules"])
def test_the_readme_tells_the_plugins_that_there_are(kind: str) -> None:
    table = README.partition("## Plugins\n")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith(f"| {kind.rstrip('s')}")]
    told = {name for line in lines for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert told == {path.stem for path in ROOT.glob(f"plugins/{kind}/*.py") if path.stem != "__init__"}


def support() -> list[tuple[str, str]]:
    """What the README calls tested, each with the scenario that shows it."""
    part = README.partition("## What is tested\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| ([^|]+) \| tested \| (.*?) \|$", part, re.MULTILINE)


def test_there_is_support() -> None:
    assert {"Debian 12", "Debian 13", "Redis 8.0"} <= {what for what, _how in support()}


@pytest.mark.parametrize(("what", "how"), support())
def test_what_is_called_tested_has_a_scenario_that_runs_it(what: str, how: str) -> None:
    command = re.match(r"`make scenario S=(\w+)`", how)
    assert command, f"{what}: name the command that tests it"
    name, version = what.rsplit(" ", 1)
    # As the scenarios name their servers and images.
    word = {
        "Debian": rf"image: {({'11': 'bullseye', '12': 'bookworm', '13': 'trixie'}).get(version)}(-\w+)?$",
        # What these releases have.
        "Docker": rf"image: {({'20.10': 'bookworm', '26.1': 'trixie'}).get(version)}$",
        "Podman": rf"image: {({'5.4': 'trixie'}).get(version)}-podman$",
        "Redis": rf"redis[-:]{re.escape(version)}\b",
        "Valkey": rf"valkey[-:]{re.escape(version)}\b",
    }[name]
    files = [path for path in (ROOT / "molecule" / command[1]).rglob("*") if path.suffix in (".py", ".yml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    if "redis_container_image" not in text:
        # What all scenarios share.
        text += (ROOT / ".config" / "molecule" / "config.yml").read_text(encoding="utf-8")
    assert re.search(word, text, re.MULTILINE), f"{command[1]} does not run {what}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/releasing.md", "molecule/shared/README.md"])
def test_every_command_that_is_told_is_there(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = re.findall(r"(?:^|`)make ([a-z-]+)(?: S=(\w+))?", text, re.MULTILINE)
    assert {target for target, _scenario in told} <= targets
    for _target, scenario in told:
        assert not scenario or (ROOT / "molecule" / scenario / "molecule.yml").is_file(), scenario
    for script in re.findall(r"(?:^|[` ])(scripts/[a-z_-]+(?:\.py)?)", text, re.MULTILINE):
        assert (ROOT / script).is_file(), script
