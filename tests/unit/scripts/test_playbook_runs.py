# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback that records the playbook runs of a test step and lets them share packed modules."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

FILE = Path(__file__).parents[3] / "molecule" / "shared" / "testing" / "callback" / "playbook_runs.py"


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The plugin's file, in a run whose temporary folder is empty."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("playbook_runs", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "constants", SimpleNamespace(DEFAULT_LOCAL_TMP=str(tmp_path / "run")))
    (tmp_path / "run").mkdir()
    return module


def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    """A collection as it is installed."""
    (tmp_path / "collection").mkdir(exist_ok=True)
    if content:
        (tmp_path / "collection" / "FILES.json").write_text(content)
    package = ModuleType("ansible_collections.tethys.channels")
    package.__path__ = [str(tmp_path / "collection")]
    monkeypatch.setitem(sys.modules, package.__name__, package)


def test_runs_of_the_same_collection_share_modules(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache, kept = tmp_path / "run" / "ansiballz_cache", []
    for content in ("one", "one", "two"):
        installed(monkeypatch, tmp_path, content)
        callback.share_modules(tmp_path / "modules")
        kept.append(cache.resolve(strict=True))
        cache.unlink()
    assert kept[0] == kept[1] != kept[2]


def test_a_tree_that_is_not_installed_shares_nothing(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, tmp_path, "")
    callback.share_modules(tmp_path / "modules")
    assert not (tmp_path / "run" / "ansiballz_cache").exists()


def test_each_run_is_one_line(callback: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TETHYS_TEST_RUNS", str(tmp_path / "runs"))
    monkeypatch.delenv("TETHYS_TEST_MODULES", raising=False)
    calls: list[str] = []
    monkeypatch.setattr(
        callback, "gc", SimpleNamespace(freeze=lambda: calls.append("freeze"), disable=lambda: calls.append("disable"))
    )
    for name in ("/a/site.yml", "/a/check.yml"):
        plugin = callback.CallbackModule()
        plugin.v2_playbook_on_start(SimpleNamespace(_file_name=name))
        plugin.v2_playbook_on_stats(None)
    rows = [line.split() for line in (tmp_path / "runs").read_text().splitlines()]
    assert [row[2] for row in rows] == ["site.yml", "check.yml"]
    # What the process has used since it started.
    assert all(0 < float(row[1]) <= sum(os.times()[:4]) + 0.1 for row in rows)
    assert calls == ["freeze", "disable"] * 2


def test_what_plugins_read_once_is_read_before_the_first_task(
    callback: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    held = ModuleType("ansible_collections.tethys.channels.plugins.filter.held")
    held.of_the_collection = functools.lru_cache(lambda: read.append("once"))  # type: ignore[attr-defined]
    held.of_an_argument = functools.lru_cache(read.append)  # type: ignore[attr-defined]
    package = ModuleType("ansible_collections.tethys.channels.plugins.filter")
    package.__path__ = []
    found = {package.__name__: package, held.__name__: held}

    def import_module(name: str) -> ModuleType:
        if name not in found:
            raise ImportError(name)
        return found[name]

    monkeypatch.setattr(callback, "importlib", SimpleNamespace(import_module=import_module))
    monkeypatch.setattr(
        callback, "pkgutil", SimpleNamespace(walk_packages=lambda _path, _prefix: [SimpleNamespace(name=held.__name__)])
    )
    callback.import_plugins()
    assert read == ["once"]
