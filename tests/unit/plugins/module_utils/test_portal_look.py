# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import sqlite3
import sys
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


@pytest.mark.parametrize(
    ("database", "most"),
    [
        ({}, None),
        ({"OPTIONS": {"connect_timeout": 5}}, None),
        ({"OPTIONS": {"pool": False}}, None),
        # What psycopg_pool has where nothing is given.
        ({"OPTIONS": {"pool": True}}, 4),
        ({"OPTIONS": {"pool": {"min_size": 6}}}, 6),
        ({"OPTIONS": {"pool": {"min_size": 2, "max_size": 20}}}, 20),
        ({"OPTIONS": {"pool": {"max_size": "many"}}}, None),
        ({"OPTIONS": ["pool"]}, None),
    ],
    ids=str,
)
def test_the_pool_of_a_process(database: dict[str, Any], most: int | None) -> None:
    assert portal_database.most_in_pool(database) == most


class FakeDatabase:
    """A connection to a database server that answers one query."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def cursor(self) -> Any:
        return contextlib.nullcontext(self)

    def execute(self, sql: str) -> None:
        self.asked.append(sql)
        if isinstance(self.answer, Exception):
            raise self.answer

    def fetchone(self) -> tuple[Any]:
        return (self.answer,)


@pytest.mark.parametrize(
    ("database", "answer", "limit", "queries"),
    [
        ({"OPTIONS": {"pool": True}}, 97, 97, 1),
        ({"OPTIONS": {"pool": True}}, sqlite3.OperationalError("no such function: current_setting"), None, 1),
        ({"CONN_MAX_AGE": 60}, 97, 97, 1),
        ({"CONN_MAX_AGE": None}, 97, 97, 1),
        ({"CONN_MAX_AGE": 0}, 97, None, 0),
        ({"OPTIONS": {}}, 97, None, 0),
    ],
)
def test_how_many_connections_the_database_accepts(
    monkeypatch: pytest.MonkeyPatch, database: dict[str, Any], answer: Any, limit: int | None, queries: int
) -> None:
    connection = FakeDatabase(answer)
    monkeypatch.setitem(sys.modules, "django", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "django.db", SimpleNamespace(connection=connection))
    settings = SimpleNamespace(DATABASES={"default": database})
    assert portal_database.connection_limit(settings) == limit
    assert len(connection.asked) == queries
    # The inspection lets only such a query through.
    assert all(portal_database._READING.match(sql) for sql in connection.asked)
