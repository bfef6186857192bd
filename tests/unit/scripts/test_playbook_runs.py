# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback that records the playbook runs of a test step and lets them share packed modules."""

from __future__ import annotations

import importlib.util
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
    for name in ("/a/site.yml", "/a/check.yml"):
        plugin = callback.CallbackModule()
        plugin.v2_playbook_on_start(SimpleNamespace(_file_name=name))
        plugin.v2_playbook_on_stats(None)
    assert [line.split()[1] for line in (tmp_path / "runs").read_text().splitlines()] == ["site.yml", "check.yml"]
