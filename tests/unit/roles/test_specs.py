# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role's argument specs and defaults say the same, and all roles read a collection-wide variable alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import OF_NAME

ROLES = Path(__file__).parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
# A variable without a default is in the defaults too, commented out.
COMMENTED_OUT = re.compile(r"^# (\w+):", re.MULTILINE)
# The one form in which a role reads a collection-wide variable.
READS = re.compile(r"\{\{ (?P<variable>tethys_\w+)(?: \| default\((?P<default>.*)\))? \}\}")


def defaults_text(role: str) -> str:
    """Return the text of the role's defaults."""
    return (ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8")


def defaults(role: str) -> dict[str, Any]:
    """The role's defaults."""
    found: dict[str, Any] = yaml.safe_load(defaults_text(role))
    return found


def entries(role: str) -> set[str]:
    """The entry points that the role's specs describe."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return set(yaml.safe_load(text)["argument_specs"])


def spec(role: str) -> dict[str, Any]:
    """The role's argument spec."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["argument_specs"]["main"]
    return found


def reads(value: Any) -> re.Match[str] | None:
    """The collection-wide variable that a default reads, if it reads one."""
    return READS.fullmatch(value) if isinstance(value, str) else None


def test_there_are_roles() -> None:
    assert {"preflight", "redis_container", "asgi_service"} <= set(NAMES)


@pytest.mark.parametrize("role", NAMES)
def test_the_specs_describe_every_default_and_nothing_else(role: str) -> None:
    commented = {name for name in COMMENTED_OUT.findall(defaults_text(role)) if name.startswith(f"{role}_")}
    assert set(spec(role)["options"]) == set(defaults(role)) | commented


@pytest.mark.parametrize("role", NAMES)
def test_the_defaults_are_the_same_in_both(role: str) -> None:
    # What names something of the portal's is described without the portal's name, which a text ends with.
    written = {
        name: value.removesuffix(OF_NAME) if isinstance(value, str) else value
        for name, value in defaults(role).items()
        if not reads(value)
    }
    told = {name: option["default"] for name, option in spec(role)["options"].items() if "default" in option}
    assert told == written
    assert {name: type(value) for name, value in told.items()} == {name: type(value) for name, value in written.items()}


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_carries_the_roles_name(role: str) -> None:
    assert [name for name in spec(role)["options"] if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_is_described(role: str) -> None:
    for name, option in spec(role)["options"].items():
        assert option["type"], name
        assert option["description"], name
        for sentence in option["description"]:
            assert re.fullmatch(r"([A-Z]|redis-py).*[.]", sentence), f"{name}: {sentence}"


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_has_a_comment_above_it(role: str) -> None:
    lines = defaults_text(role).splitlines()
    variable = re.compile(rf"(# )?{role}_\w+:")
    for above, line in zip(lines, lines[1:]):
        if variable.match(line):
            assert above.startswith("# ") and not variable.match(above), line


@pytest.mark.parametrize("role", NAMES)
def test_whatever_may_be_secret_is_not_logged(role: str) -> None:
    for name, option in spec(role)["options"].items():
        if re.search(r"password|secret|token|proxy|index_url", name):
            assert option.get("no_log") is True, name


@pytest.mark.parametrize("role", NAMES)
def test_a_role_describes_check_mode_diff_mode_and_platforms(role: str) -> None:
    # Not as `attributes`: ansible-doc warns of them.
    assert "attributes" not in spec(role)
    described = [text.partition(". ")[0] for text in spec(role)["description"]]
    assert described[-3:] == ["Check mode", "Diff mode", "Platforms"]


def test_all_roles_read_a_collection_wide_variable_with_one_default() -> None:
    found: dict[str, dict[str, set[str]]] = {}
    for role in NAMES:
        for name, value in defaults(role).items():
            match = reads(value)
            # Another form would hide a default from this test and from the reference of variables.
            rest = str(value).removesuffix(OF_NAME).replace("/tethys_channels", "")
            assert match or "tethys_" not in rest, f"{name}: {value}"
            if match:
                kinds = found.setdefault(match["variable"], {"preflight": set(), "others": set()})
                kinds["preflight" if role == "preflight" else "others"].add(str(match["default"]))
    for variable, kinds in found.items():
        # Preflight refuses a required one that is unset, and reads other roles' defaults before: they need the same.
        assert kinds["preflight"], f"{variable} is read without preflight having judged it"
        assert kinds["others"] <= kinds["preflight"], f"{variable}: {kinds}"


# What only the playbooks of this collection have a use for.
PRIVATE = {
    ("preflight", "inventory"),
    ("preflight", "reached"),
    ("redis_container", "retire"),
    ("tethys_docker", "validate"),
}


def test_every_entry_point_that_a_playbook_of_ones_own_may_call_is_described() -> None:
    pattern = re.compile(r"name: tethys\.channels\.(\w+)\n +tasks_from: (\w+)")
    called = {
        found
        for path in (ROLES.parent / "playbooks").glob("*.yml")
        for found in pattern.findall(path.read_text(encoding="utf-8"))
    }
    assert called > PRIVATE
    described = {(role, name) for role in NAMES for name in entries(role) - {"main"}}
    assert described == called - PRIVATE
    for role, name in described:
        assert (ROLES / role / "tasks" / f"{name}.yml").is_file()
