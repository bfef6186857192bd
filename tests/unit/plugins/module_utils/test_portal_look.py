# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import portal_database, portal_look


def test_data_that_the_settings_name(tmp_path: Path) -> None:
    volume, home = tmp_path / "volume", tmp_path / "home"
    for folder in (volume, home / "media", home / "workspaces"):
        folder.mkdir(parents=True)
    (volume / "portal.sqlite").write_text("x")
    (home / "portal.sqlite").symlink_to(volume / "portal.sqlite")
    (home / "workspaces" / "a").touch()
    sqlite = "django.db.backends.sqlite3"
    found = portal_look._data(
        SimpleNamespace(
            DATABASES={
                "default": {"ENGINE": sqlite, "NAME": home / "portal.sqlite"},
                "empty": {"ENGINE": sqlite, "NAME": str(home / "none.sqlite")},
                "relative": {"ENGINE": sqlite, "NAME": "portal.sqlite"},
                "other": {"ENGINE": "django.db.backends.postgresql", "NAME": "/portal"},
            },
            MEDIA_ROOT=str(home / "media"),
            TETHYS_WORKSPACES_ROOT=str(home / "workspaces"),
        )
    )
    assert found == [
        {"setting": "MEDIA_ROOT", "path": str(home / "media"), "holds": False},
        {"setting": "TETHYS_WORKSPACES_ROOT", "path": str(home / "workspaces"), "holds": True},
        {"setting": "DATABASES.default.NAME", "path": str(volume / "portal.sqlite"), "holds": True},
        {"setting": "DATABASES.empty.NAME", "path": str(home / "none.sqlite"), "holds": False},
    ]
    assert portal_look._data(SimpleNamespace(DATABASES={}, MEDIA_ROOT="")) == []


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


def test_a_query_without_an_end_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_database, "_QUERY_SECONDS", 0.1)
    raw = sqlite3.connect(":memory:")
    guard = portal_database.Guard(OSError)

    def ask(sql: str, alias: str = "default") -> Any:
        def execute(sql: str, *_more: Any) -> Any:
            return raw.execute(sql).fetchall()

        return guard(execute, sql, None, False, {"connection": SimpleNamespace(connection=raw, alias=alias)})

    assert ask("SELECT 1") == [(1,)]
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        ask("SELECT * FROM missing")
    with pytest.raises(OSError, match="nothing may be written"):
        ask("CREATE TABLE a (b)")
    with pytest.raises(OSError, match="has not answered a query within"):
        ask(ENDLESS)
    # Each further one would take as long.
    with pytest.raises(OSError, match="has not answered a query within"):
        ask("SELECT 1")
    assert ask("SELECT 1", "another") == [(1,)]
