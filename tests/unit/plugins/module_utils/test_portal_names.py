# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a portal: for one without a name as it always was, for others nothing in common with another's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.tethys.channels.plugins.module_utils import portal_names
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import (
    PortalNames,
    asgi_groups,
    asgi_number,
    is_asgi_group,
    is_name,
    portal_of,
)
from ansible_collections.tethys.channels.plugins.module_utils.server import lock
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables
from hypothesis import given
from hypothesis import strategies as st

ROLES = Path(str(portal_names.__file__)).parents[2] / "roles"
NAMES = st.from_regex(rf"\A{portal_names._WORDS}\Z").filter(is_name)
DEFAULTS = {
    "redis_container_name": "tethys-channels-redis",
    "asgi_service_run_dir": "/run/tethys",
    "asgi_service_log_dir": "/var/log/tethys_channels",
    "nginx_upstream_name": "channels-backend",
}
# As they were before a portal could have a name.
FIRST = {
    "suffix": "",
    "state": "/etc/tethys_channels",
    "environment": "/etc/tethys_channels.env",
    "socket_folder": "/var/lib/tethys_channels",
    "redis_socket": "/var/lib/tethys_channels/redis.sock",
    "shared_ca": "/var/lib/tethys_channels/redis-ca.pem",
    "tmpfiles": "/etc/tmpfiles.d/tethys_channels.conf",
    "watch_unit": "tethys_channels_watch",
    "watch_unit_path": "/etc/systemd/system/tethys_channels_watch.service",
    "redis_unit": "tethys-channels-redis.service",
    "redis_unit_path": "/etc/systemd/system/tethys-channels-redis.service",
    "map_variable": "$tethys_channels_process",
    "program_file": "asgi_supervisord",
    "groups": ("asgi", "tethys_asgi"),
    "group_of_one": "tethys_asgi",
}


def all_of(names: PortalNames) -> dict[str, object]:
    """Everything that is named."""
    found = {name for name, value in vars(PortalNames).items() if isinstance(value, property)}
    return {name: getattr(names, name) for name in sorted(found)}


def test_without_a_name_all_is_as_before() -> None:
    assert all_of(PortalNames()) == all_of(PortalNames("")) == FIRST


@pytest.mark.parametrize(("name", "suffix"), [("", ""), (None, ""), ("staging", "-staging")])
def test_the_roles_defaults_have_the_name_behind_them(name: str | None, suffix: str) -> None:
    found = {}
    for role in ("asgi_service", "nginx_upstream", "redis_container"):
        found.update(yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8")))
    templar = Templar(loader=DataLoader(), variables={"tethys_portal_name": name})
    named = {key: value for key, value in found.items() if "tethys_portal_name" in str(value)}
    assert {key: templar.template(trust_as_template(value)) for key, value in named.items()} == {
        key: f"{value}{suffix}" for key, value in DEFAULTS.items()
    }
    # Where a play does not have the role.
    held = {"preflight_kind": "portal", "preflight_portal_name": name or ""}
    variables = Variables(held, lambda value: value)
    assert {key: variables.of_role(key) for key in DEFAULTS} == {k: f"{v}{suffix}" for k, v in DEFAULTS.items()}
    # What the administrator wrote stays, also where it is the default.
    assert Variables({**held, **DEFAULTS}, lambda value: value).of_role("redis_container_name") == (
        "tethys-channels-redis"
    )


@given(NAMES, NAMES)
def test_two_portals_have_nothing_in_common(one: str, other: str) -> None:
    for first, second in ((one, ""), *(((one, other),) if one != other else ())):
        names = [all_of(PortalNames(portal)) for portal in (first, second)]
        for name in FIRST:
            values = [found[name] for found in names]
            assert values[0] != values[1], name
        assert not set(PortalNames(first).groups) & set(PortalNames(second).groups)


@given(NAMES, st.integers(0, 200))
def test_a_group_is_one_portals(portal: str, number: int) -> None:
    for name in (portal, ""):
        names = PortalNames(name)
        for group, of in ((f"{names.group_of_one}{number}", number), *((group, None) for group in names.groups)):
            assert (portal_of(group), asgi_number(group)) == (name, of)
            assert is_asgi_group(group)
            assert is_asgi_group(group, name)
            assert not is_asgi_group(group, "" if name else portal)


@pytest.mark.parametrize("group", ["asgi0", "nginx", "tethys_asgi00", "tethys_asgi-1", "my_asgi", "tethys__asgi", ""])
def test_another_group_is_no_portals(group: str) -> None:
    assert not is_asgi_group(group)
    assert (portal_of(group), asgi_number(group)) == (None, None)


def test_the_groups_of_a_file_are_one_portals() -> None:
    sections = ["fcgi-program: asgi ", "program:tethys_staging_asgi", "fcgi-program:tethys_staging_asgi1", "include"]
    assert asgi_groups(sections, "") == ["asgi"]
    assert asgi_groups(sections, "staging") == ["tethys_staging_asgi", "tethys_staging_asgi1"]


@pytest.mark.parametrize("name", ["", "staging", "a", "v2", "2", "my-site", "my_site_2", "x" * 32])
def test_a_name(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["Staging", "a b", "a/b", "..", "-a", "a-", "a--b", "a_-b", "x" * 33, "a\n", "ä", 7, True, None, ["a"]]
)
def test_no_name(name: object) -> None:
    assert not is_name(name)


def test_portals_that_change_the_same_thing_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Before either has a folder.
    monkeypatch.setattr(lock, "LOCKS", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with lock.alone_on_server("packages"):
        with pytest.raises(lock.Busy), lock.alone_on_server("packages", seconds=0):
            pytest.fail("Another run changes the packages meanwhile.")
        with lock.alone_on_server("nginx", seconds=0):
            pass
    with lock.alone_on_server("packages", seconds=0):
        pass


def test_the_lock_of_a_portal_is_not_that_of_another(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with lock.alone(tmp_path / "one"):
        with lock.alone(tmp_path / "other", seconds=0):
            pass
        with pytest.raises(lock.Busy), lock.alone(tmp_path / "one", seconds=0):
            pytest.fail("Another run changes this portal meanwhile.")
