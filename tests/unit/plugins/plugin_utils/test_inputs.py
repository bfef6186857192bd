# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The digest of a run's inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils import inputs
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables, sum_of

VALUES = {"tethys_port": 8000, "redis_container_password": None, "portal_config_layer_options": {"expiry": 60}}


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    for name in ("playbooks/site.yml", "plugins/modules/a.py", "roles/a/tasks/main.yml", "tests/a.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def test_the_same_is_the_same() -> None:
    assert sum_of(VALUES) == sum_of(dict(reversed(VALUES.items())))
    assert len(sum_of(VALUES)) == 64


@pytest.mark.parametrize(
    "values",
    [
        {**VALUES, "tethys_port": 8001},
        {**VALUES, "tethys_port": "8000"},
        {**VALUES, "redis_container_password": ""},
        {**VALUES, "portal_config_layer_options": {"expiry": 61}},
        {**VALUES, "tethys_user": None},
        {},
    ],
)
def test_another_value_is_another_sum(values: dict[str, object]) -> None:
    assert sum_of(values) != sum_of(VALUES)


@pytest.mark.parametrize(
    "name", ["tethys_hosts", "tethys_serial", "preflight_pipelining", "preflight_portals", "layer_check_timeout"]
)
def test_what_decides_nothing_on_the_server_does_not_count(name: str) -> None:
    assert sum_of({**VALUES, name: "another"}) == sum_of(VALUES)


def test_keys_of_any_kind() -> None:
    mixed = {"redis_container_notes": {80: "a", "x": "b"}, "portal_config_layer_options": {6: 1, 18: 2}}
    assert sum_of(mixed) == sum_of(dict(reversed(mixed.items()))) != sum_of({})


@pytest.mark.parametrize("name", ["playbooks/site.yml", "plugins/modules/a.py", "roles/a/tasks/main.yml"])
def test_another_collection_is_another_sum(collection: Path, name: str) -> None:
    before = sum_of({}, collection)
    (collection / name).write_text("another")
    assert sum_of({}, collection) != before
    (collection / name).unlink()
    assert sum_of({}, collection) != before


def test_what_does_not_run_does_not_count(collection: Path) -> None:
    before = sum_of({}, collection)
    (collection / "tests" / "a.py").write_text("another")
    (collection / "plugins" / "modules" / "a.cpython-311.pyc").write_text("another")
    assert sum_of({}, collection) == before


def test_another_ansible_is_another_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sum_of({})
    monkeypatch.setattr(inputs, "__version__", "2.99")
    assert sum_of({}) != before


def test_keys_are_only_given_to_a_channels_redis_whose_classes_all_encrypt() -> None:
    values = {"channels_redis_requirements": ["channels_redis>=4.2,<5"], "channels_redis_hiredis": False}
    assert Variables(values, lambda value: value).requirements == ["channels_redis>=4.2,<5"]
    values["portal_config_layer_options"] = {"symmetric_encryption_keys": ["k" * 32]}
    needed = Variables(values, lambda value: value).requirements
    assert needed == ["channels_redis>=4.2,<5", "cryptography", "channels_redis>=4.2.1"]
