# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit that runs Redis in Podman: how systemd reads it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_redis_container import options_of

ROLE = Path(__file__).parents[3] / "roles" / "redis_container"
SETTINGS = {"config_sum": "0123"}


def trusted(value: Any) -> Any:
    """The role's own texts, which Ansible templates."""
    if isinstance(value, dict):
        return {key: trusted(held) for key, held in value.items()}
    if isinstance(value, list):
        return [trusted(held) for held in value]
    return trust_as_template(value) if isinstance(value, str) else value


def unit(transport: str = "unix", group: str = "www-data", selinux: bool = False, **variables: Any) -> str:
    """The unit's text for these variables."""
    loader = DataLoader()
    known: dict[str, Any] = {}
    for part in ("defaults", "vars"):
        known.update(trusted(yaml.safe_load((ROLE / part / "main.yml").read_text(encoding="utf-8"))))
    socket = {"path": "/var/lib/tethys_channels/redis.sock"}
    place = socket if transport == "unix" else {"host": "127.0.0.1", "port": 6379}
    step = {
        "transport": transport,
        "endpoint": place,
        "place": "127.0.0.1:6379",
        "way": f"{transport} here (group {group})",
        "selinux": selinux,
    }
    options = options_of("podman", {"step": step, "settings": SETTINGS, "variables": variables})
    known.update(
        ansible_managed="Ansible managed",
        __preflight_plan={"redis_container": {"image": "docker.io/library/redis:8.2"}},
        __redis_container_options=options,
    )
    text = (ROLE / "templates" / "redis.service.j2").read_text(encoding="utf-8")
    # As the lookup that the role uses does.
    return str(Templar(loader=loader, variables=known).template(trust_as_template(text), escape_backslashes=False))


def command(text: str) -> list[str]:
    """The words of ExecStart, as systemd reads them."""
    line = re.search(r"^ExecStart=((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert line
    words = shlex.split(line.group(1).replace("\\\n", " "))
    assert not [word for word in words if re.search(r"(?<!\$)\$(?!\$)", word.replace("$$", ""))]
    return [word.replace("$$", "$").replace("%%", "%") for word in words]


def options(text: str) -> list[str]:
    """Return the options of `podman run` before the image."""
    words = command(text)
    assert words[:2] == ["/usr/bin/podman", "run"]
    return words[2 : words.index("docker.io/library/redis:8.2")]


def test_it_ends_with_the_image_and_the_configuration() -> None:
    assert command(unit())[-2:] == ["docker.io/library/redis:8.2", "/etc/tethys-channels/redis-unix.conf"]


@pytest.mark.parametrize(
    ("transport", "there"),
    [
        ("unix", ["--network=none", "--volume=/var/lib/tethys_channels:/run/tethys-channels"]),
        ("host", ["--network=host"]),
        ("published", ["--publish=127.0.0.1:6379:6379"]),
    ],
)
def test_each_way_to_it(transport: str, there: list[str]) -> None:
    told = options(unit(transport))
    ways = [word for word in told if word.startswith(("--network", "--publish", "--volume=/var"))]
    assert ways == there
    assert "--volume=/etc/tethys_channels/redis:/etc/tethys-channels:ro" in told


def test_under_selinux_it_may_read_its_folders() -> None:
    told = options(unit(selinux=True))
    assert "--volume=/etc/tethys_channels/redis:/etc/tethys-channels:ro,Z" in told
    assert "--volume=/var/lib/tethys_channels:/run/tethys-channels:Z" in told


@pytest.mark.parametrize("group", ["100% $HOME", 'a "b" c', "dom\\users", "o'neil"])
def test_what_systemd_would_read_is_told_as_it_is(group: str) -> None:
    assert f"--label=tethys.channels.transport=unix here (group {group})" in options(unit(group=group))


@pytest.mark.parametrize(
    "change",
    [
        {"redis_container_memory_mb": 99},
        {"redis_container_name": "other"},
        {"transport": "host"},
        {"group": "other"},
        {"config_sum": "4567"},
    ],
    ids=json.dumps,
)
def test_whatever_changes_makes_another_container(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def label(text: str) -> str:
        [found] = [word for word in options(text) if word.startswith("--label=tethys.channels.config=")]
        assert re.fullmatch(r"[0-9a-f]{32}", found.rpartition("=")[2])
        return found

    assert label(unit()) == label(unit())
    if "config_sum" in change:
        before = label(unit())
        monkeypatch.setitem(SETTINGS, "config_sum", "4567")
        assert label(unit()) != before
    else:
        assert label(unit(**change)) != label(unit())


def test_it_starts_by_itself_and_before_the_processes() -> None:
    lines = unit().splitlines()
    for line in (
        "Type=notify",
        "Restart=always",
        "Delegate=yes",
        "StartLimitIntervalSec=0",
        "WantedBy=multi-user.target",
        "Before=supervisor.service supervisord.service",
    ):
        assert line in lines
