# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal's database while the portal is inspected: nothing is written, and no query takes long.

This module runs in the portal's own Python.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ansible_collections.tethys.channels.plugins.module_utils.portal_common import ANYTHING, sentence

_READING = re.compile(r"\s*(SELECT|PRAGMA|EXPLAIN|SHOW|WITH|BEGIN|SAVEPOINT|RELEASE|ROLLBACK|COMMIT|SET)\b", re.I)
_READ_ONLY = "?mode=ro"
# psycopg_pool's own number of connections.
_POOL = 4
_LIMIT = "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
_QUERY_SECONDS = 10.0
_SLOW = f"it has not answered a query within {_QUERY_SECONDS:g} s, as where a table is locked"
# What Tethys does to its database when it starts, as (module, class or None, names).
_WRITERS = (
    ("tethys_apps.apps", None, ("sync_portal_cookies",)),
    ("tethys_apps.base.app_base", None, ("sync_cookies_from_yaml",)),
    (
        "tethys_apps.base.app_base",
        "TethysAppBase",
        ("sync_with_tethys_db", "remove_from_db", "register_app_permissions"),
    ),
    ("tethys_apps.base.app_base", "TethysExtensionBase", ("sync_with_tethys_db", "remove_from_db")),
    ("tethys_quotas.apps", None, ("sync_resource_quota_handlers",)),
)


class Guard:
    """Lets only reading statements through, and each for a limited time.

    A statement that waits for a lock would wait on in PostgreSQL, and keep its connection, when this process has ended.
    """

    def __init__(self, refused: type[Exception]) -> None:
        self._refused = refused
        # The databases, by their aliases in the settings, of which a query was canceled.
        self._slow: set[str] = set()

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if not _READING.match(str(sql)):
            raise self._refused("nothing may be written while the portal is inspected")
        alias = context["connection"].alias
        if alias in self._slow:
            raise self._refused(_SLOW)
        timer = threading.Timer(_QUERY_SECONDS, self._cancel, [context["connection"].connection, alias])
        timer.daemon = True
        timer.start()
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            if alias in self._slow:
                raise self._refused(_SLOW) from error
            raise
        finally:
            timer.cancel()

    def _cancel(self, connection: Any, alias: str) -> None:
        # psycopg has the one, sqlite3 the other, and a MySQL client neither.
        end = getattr(connection, "cancel", None) or getattr(connection, "interrupt", None)
        if end:
            self._slow.add(alias)
            end()


def prevent_writes(settings: Any) -> None:
    """Prevent every write, whatever Tethys and the apps do when they start."""
    for database in settings.DATABASES.values():
        engine, name = str(database.get("ENGINE", "")), str(database.get("NAME", ""))
        if "sqlite" in engine and not name.startswith((":", "file:")):
            # Opened the ordinary way, SQLite makes an empty file where there is none.
            database["NAME"] = f"file:{quote(name)}{_READ_ONLY}"
        elif re.search("postgres|postgis|mysql", engine):
            database["OPTIONS"] = {"connect_timeout": 5, **(database.get("OPTIONS") or {})}
    guard = Guard(importlib.import_module("django.db.utils").OperationalError)

    def watch(connection: Any, **_more: Any) -> None:
        if guard not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, guard)

    created = importlib.import_module("django.db.backends.signals").connection_created
    created.connect(watch, weak=False, dispatch_uid="tethys.channels")

    def nothing(*_args: Any, **_kwargs: Any) -> None:
        return None

    for module, owner, names in _WRITERS:
        try:
            place = importlib.import_module(module)
            place = getattr(place, owner) if owner else place
        except (ImportError, AttributeError):
            # Another version of Tethys; the guard above still stands.
            continue
        for name in names:
            if hasattr(place, name):
                setattr(place, name, nothing)


def database_problem(settings: Any) -> tuple[str | None, bool]:
    """What is wrong with the database, and whether it can be used nevertheless."""
    database = settings.DATABASES.get("default", {})
    name = str(database.get("NAME", ""))
    if name.endswith(_READ_ONLY):
        name = unquote(name[len("file:") : -len(_READ_ONLY)])
        if not Path(name).exists():
            return f"The database {name} does not exist; 'tethys db migrate' makes it.", False
    if database.get("HOST"):
        name = f"{name} on {database['HOST']}"
    connection = importlib.import_module("django.db").connection
    try:
        connection.ensure_connection()
        executor = importlib.import_module("django.db.migrations.executor").MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except ANYTHING as error:
        return f"The database {name} cannot be read: {sentence(error)}.", False
    if not executor.loader.applied_migrations:
        return f"The database {name} holds no tables of Tethys; 'tethys db migrate' makes them.", False
    if plan:
        first = f"{plan[0][0].app_label}.{plan[0][0].name}"
        lacks = f"lacks {len(plan)} migration{'s' if len(plan) > 1 else ''}, {first} first"
        return f"The database {name} {lacks}; 'tethys db migrate' runs what is missing.", True
    return None, True


def most_in_pool(database: Any) -> int | None:
    """Return the most connections of the pool that each process has to a database; None where it has no pool."""
    options = database.get("OPTIONS")
    pool = options.get("pool") if isinstance(options, dict) else None
    sizes = pool if isinstance(pool, dict) else {}
    most = sizes.get("max_size") or sizes.get("min_size") or _POOL
    return most if pool and isinstance(most, int) and most > 0 else None


def connection_limit(settings: Any) -> int | None:
    """Return how many connections PostgreSQL accepts from users like the portal's; None where that does not matter."""
    database = settings.DATABASES.get("default", {})
    if not most_in_pool(database) and database.get("CONN_MAX_AGE", 0) == 0:
        return None
    try:
        with importlib.import_module("django.db").connection.cursor() as cursor:
            cursor.execute(_LIMIT)
            return int(cursor.fetchone()[0])
    except ANYTHING:
        # Another database, whose limit has another name.
        return None
