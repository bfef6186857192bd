# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the tables of versions in reference_support.rst from tests/versions.yml and from what runs them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, NamedTuple

import yaml

# What `make test` and `make check-all` run.
TEST, ALL = "``make test``", "``make check-all``"
RUNS = {"core": TEST, "extended": TEST, "platform": ALL}
# The packages whose versions a portal's line of Tethys is tested with, as pip and as people write them.
PACKAGES = {"tethys-platform": "Tethys", "channels_redis": "channels_redis", "redis": "redis-py"}


class Row(NamedTuple):
    """A version, whether it is tested, what runs that, and its command or a remark."""

    version: str
    state: str
    run: str
    how: str


def match(pattern: str, path: Path) -> str:
    """Return what a pattern's group has in a file."""
    found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"{path} has nothing like {pattern}")
    return found[1]


def ansible(root: Path) -> Iterator[Row]:
    """Return a row for each line of ansible-core: `make test` runs with the one that is installed."""
    pinned = match(r"^ansible-core==(\d+\.\d+)", root / "requirements-dev.txt")
    script = (root / "scripts" / "check-versions").read_text(encoding="utf-8")
    for line, pythons in re.findall(r'^    "(\d+\.\d+)": Line\(\((.*?)\), ', script, re.MULTILINE):
        how = f"controller with Python {pythons.replace(chr(34), '')}"
        if line == pinned:
            yield Row(f"ansible-core {line}", "tested", TEST, how)
        else:
            yield Row(f"ansible-core {line}", "tested", ALL, f"{how}; ``make versions L={line}``")


def portals(root: Path, lines: dict[str, list[str]]) -> Iterator[Row]:
    """Return a row for each environment with a portal."""
    pinned = match(r"^tethys-platform==(\S+)$", root / "molecule" / "shared" / "server" / "requirements.txt")
    yield Row(f"Tethys {pinned}", "tested", TEST, "every scenario; the newest channels_redis 4 and redis-py")
    older = root / "molecule" / "older_tethys" / "molecule.yml"
    on_server = set(re.findall(r'^ +portal_line: "(\S+)"$', older.read_text(encoding="utf-8"), re.MULTILINE))
    for step, packages in lines.items():
        found = {
            PACKAGES[name]: version.partition(",")[0].removesuffix(".*")
            for name, _equals, version in (package.partition("==") for package in packages)
            if name in PACKAGES and version
        }
        if len(found) == len(PACKAGES):
            tethys, *layer = (f"{name} {version}" for name, version in found.items())
            how = f"{', '.join(layer)}: ``scripts/run-tests {step}``"
            if found["Tethys"] in on_server:
                how = f"``make scenario S=older_tethys``; without a server, with {how}"
                yield Row(tethys, "tested", ALL, how)
            else:
                yield Row(tethys, "tested without a server", ALL, how)


def others(root: Path, rows: list[dict[str, str]]) -> Iterator[Row]:
    """Return the rows of a table in tests/versions.yml."""
    for row in rows:
        note = row.get("note", "")
        if "scenario" not in row:
            yield Row(row["version"], row["state"], "", note)
            continue
        mark = match(r"^# mark: (\w+)$", root / "molecule" / row["scenario"] / "molecule.yml")
        how = f"``make scenario S={row['scenario']}``" + (f"; {note}" if note else "")
        yield Row(row["version"], "tested", RUNS[mark], how)


def tables(root: Path) -> str:
    """Return the sections with all tables."""
    known = yaml.safe_load((root / "tests" / "versions.yml").read_text(encoding="utf-8"))
    sections = {"ansible-core": ansible(root), "Tethys and the layer's packages": portals(root, known["portals"])}
    sections.update({heading: others(root, rows) for heading, rows in known["tables"].items()})
    lines = [""]
    for heading, rows in sections.items():
        lines += [heading, "-" * len(heading), "", ".. list-table::", "   :header-rows: 1", ""]
        for row in [Row("version", "state", "runs in", "how"), *rows]:
            first, *rest = row
            lines += [f"   * - {first}", *(f"     - {cell}".rstrip() for cell in rest)]
        lines.append("")
    return "\n".join(lines)
