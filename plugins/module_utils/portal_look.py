# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the portal says about itself. This module runs in the portal's own Python.

It starts Django once, harvests the apps as Tethys does when it serves them, and changes nothing while it looks: what Tethys
writes to its database at every start is switched off, and the database connection lets only reading statements through.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import logging
import os
import pkgutil
import re
import sys
from typing import Any, Callable, Iterator
from urllib.parse import quote

from ansible_collections.tethys.channels.plugins.module_utils.portal_common import (
    Hider,
    masked,
    secrets_in,
    sentence,
    versions,
)

PACKAGES = (
    "tethys_platform",
    "django",
    "channels",
    "channels_redis",
    "redis",
    "daphne",
    "asgiref",
    "bokeh",
    "bokeh_django",
    "hiredis",
    "msgpack",
    "autobahn",
)
READING = re.compile(r"\s*(SELECT|PRAGMA|EXPLAIN|SHOW|WITH|BEGIN|SAVEPOINT|RELEASE|ROLLBACK|COMMIT|SET)\b", re.IGNORECASE)


def main(params: dict[str, Any], say: Callable[[dict[str, Any]], None], _commands: Any) -> None:
    """Look, and say each part as soon as it is known."""
    hide = Hider()

    def tell(message: dict[str, Any]) -> None:
        say(hide.everywhere(message))

    tell({"python": sys.executable, "site_packages": _site_packages(), "versions": versions(PACKAGES)})
    if params.get("yaml_check"):
        tell({"config_check": _check_yaml(params["yaml_check"], params["config_file"])})
    heard = _Listener()
    try:
        settings = importlib.import_module("django.conf").settings
        hide.learn(*_secrets(settings))
        found = _settings(settings)
    except Exception as error:
        tell({"settings_problem": "Django's settings cannot be loaded: %s." % sentence(error)})
        tell(_from_source_alone("Django's settings cannot be loaded"))
        return
    unread = [r for r in heard.records if r.name == "tethys_portal.settings" and r.levelno >= logging.ERROR]
    tell(
        {
            "settings": found,
            "settings_problem": "Tethys cannot read portal_config.yml and runs with its own defaults: %s."
            % sentence(_error_of(unread[-1]))
            if unread
            else None,
        }
    )
    try:
        _look_only(settings)
        # With a bare argv Tethys leaves the harvest to us.
        importlib.import_module("django").setup()
    except Exception as error:
        problem = "Tethys cannot be started: %s." % sentence(error)
        tell({"start_problem": problem})
        tell(_from_source_alone("Tethys cannot be started"))
        return
    database = _database_problem(settings)
    tell({"database_problem": database})
    tell(_harvest(settings, heard, database))
    tell({"lifecycle_consumer": _lifecycle_consumer()})


# --- packages -----------------------------------------------------------------------------------------------------------


def _site_packages() -> str | None:
    spec = importlib.util.find_spec("tethys_portal")
    if spec and spec.origin:
        return os.path.dirname(os.path.dirname(spec.origin))
    return next((p for p in sys.path if os.path.basename(p) == "site-packages"), None)


def _check_yaml(source: str, config_file: str) -> dict[str, Any]:
    """Run the collection's own check of portal_config.yml here, where PyYAML is."""
    scope: dict[str, Any] = {"__name__": "tethys_channels_portal_yaml"}
    try:
        with open(config_file, "rb") as handle:
            raw = handle.read()
        exec(compile(source, "portal_yaml", "exec"), scope)
    except Exception as error:
        return {"checked": False, "problem": None, "why": sentence(error)}
    try:
        scope["check_bytes"](raw)
    except scope["PortalYamlError"] as error:
        return {"checked": True, "problem": str(error)}
    return {"checked": True, "problem": None}


# --- settings -----------------------------------------------------------------------------------------------------------


def _secrets(settings: Any) -> list[Any]:
    found = [getattr(settings, "SECRET_KEY", None)]
    found += [database.get("PASSWORD") for database in getattr(settings, "DATABASES", {}).values()]
    return found + secrets_in(getattr(settings, "CHANNEL_LAYERS", {}))


def _error_of(record: logging.LogRecord) -> BaseException | None:
    if record.exc_info and record.exc_info[1] is not None:
        return record.exc_info[1]
    return RuntimeError(record.getMessage())


def _settings(settings: Any) -> dict[str, Any]:
    layers = settings.CHANNEL_LAYERS
    default = layers.get("default") if isinstance(layers, dict) else None
    default = default if isinstance(default, dict) else {}
    config = default.get("CONFIG")
    database = settings.DATABASES.get("default", {})
    return {
        "allowed_hosts": [str(host) for host in settings.ALLOWED_HOSTS],
        "debug": bool(settings.DEBUG),
        "prefix_url": _prefix_url(settings) or None,
        "multiple_app_mode": bool(getattr(settings, "MULTIPLE_APP_MODE", True)),
        "standalone_app": getattr(settings, "STANDALONE_APP", None),
        "static_root": _text(getattr(settings, "STATIC_ROOT", None)),
        "media_root": _text(getattr(settings, "MEDIA_ROOT", None)),
        "workspaces_root": _text(getattr(settings, "TETHYS_WORKSPACES_ROOT", None)),
        "channel_layers": masked(layers),
        "layer_backend": default.get("BACKEND"),
        "layer_hosts": masked(config.get("hosts")) if isinstance(config, dict) else None,
        "database": {
            "engine": database.get("ENGINE"),
            "name": masked(_text(database.get("NAME"))),
            "host": masked(_text(database.get("HOST"))) or None,
        },
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _prefix_url(settings: Any) -> str:
    return str(getattr(settings, "PREFIX_URL", None) or "").strip("/")


# --- the database, read only --------------------------------------------------------------------------------------------


def _look_only(settings: Any) -> None:
    """See to it that nothing is written, whatever Tethys and the apps do when they start."""
    for database in settings.DATABASES.values():
        engine, name = str(database.get("ENGINE", "")), str(database.get("NAME", ""))
        if "sqlite" in engine and not name.startswith((":", "file:")):
            # Opened the ordinary way, SQLite makes an empty file where there is none.
            database["NAME"] = "file:%s?mode=ro" % quote(name)
        elif "postgresql" in engine or "postgis" in engine or "mysql" in engine:
            options = dict(database.get("OPTIONS") or {})
            options.setdefault("connect_timeout", 5)
            database["OPTIONS"] = options
    refused = importlib.import_module("django.db.utils").OperationalError

    def guard(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if not READING.match(str(sql)):
            raise refused("nothing may be written while the portal is looked at")
        return execute(sql, params, many, context)

    def watch(connection: Any, **_more: Any) -> None:
        if guard not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, guard)

    signal = importlib.import_module("django.db.backends.signals").connection_created
    signal.connect(watch, weak=False, dispatch_uid="tethys_channels")

    def nothing(*_args: Any, **_kwargs: Any) -> None:
        return None

    for module, names in (
        ("tethys_apps.apps", ("sync_portal_cookies",)),
        ("tethys_apps.base.app_base", ("sync_cookies_from_yaml",)),
        ("tethys_apps.base.app_base.TethysAppBase", ("sync_with_tethys_db", "remove_from_db", "register_app_permissions")),
        ("tethys_apps.base.app_base.TethysExtensionBase", ("sync_with_tethys_db", "remove_from_db")),
        ("tethys_quotas.apps", ("sync_resource_quota_handlers",)),
    ):
        try:
            place = pkgutil.resolve_name(module) if hasattr(pkgutil, "resolve_name") else _resolve(module)
        except (ImportError, AttributeError):
            # Another version of Tethys; the guard above still stands.
            continue
        for name in names:
            if hasattr(place, name):
                setattr(place, name, nothing)


def _resolve(dotted: str) -> Any:
    # pkgutil.resolve_name came with Python 3.9.
    try:
        return importlib.import_module(dotted)
    except ImportError:
        module, _dot, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name)


def _database_problem(settings: Any) -> str | None:
    database = settings.DATABASES.get("default", {})
    name = str(database.get("NAME", ""))
    if name.startswith("file:") and name.endswith("?mode=ro"):
        path = importlib.import_module("urllib.parse").unquote(name[len("file:") : -len("?mode=ro")])
        if not os.path.exists(path):
            return "The database %s does not exist; 'tethys db migrate' makes it." % path
        name = path
    if database.get("HOST"):
        name = "%s on %s" % (name, database["HOST"])
    connection = importlib.import_module("django.db").connection
    try:
        connection.ensure_connection()
        executor = importlib.import_module("django.db.migrations.executor").MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if not executor.loader.applied_migrations:
            return "The database %s holds no tables of Tethys; 'tethys db migrate' makes them." % name
        if plan:
            first = plan[0][0]
            return "The database %s lacks %d migrations, the first being %s.%s; 'tethys db migrate' runs them." % (
                name,
                len(plan),
                first.app_label,
                first.name,
            )
    except Exception as error:
        return "The database %s cannot be read: %s." % (name, sentence(error))
    return None


# --- apps and Bokeh handlers --------------------------------------------------------------------------------------------


class _Listener(logging.Handler):
    """Tethys swallows what goes wrong and logs it; this keeps it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        logging.getLogger().addHandler(self)
        logging.getLogger("tethys").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record not in self.records:
            self.records.append(record)

    def again(self) -> None:
        # Django's own logging configuration may have thrown the handler out.
        for name in ("", "tethys"):
            logger = logging.getLogger(name)
            if self not in logger.handlers:
                logger.addHandler(self)


def _app_packages() -> dict[str, str]:
    """The folders of the installed app packages by name, found without importing one."""
    spec = importlib.util.find_spec("tethysapp")
    if spec is None or not spec.submodule_search_locations:
        return {}
    folders: dict[str, str] = {}
    for finder, name, is_package in pkgutil.iter_modules(list(spec.submodule_search_locations)):
        if is_package:
            inner = finder.find_spec(name)  # type: ignore[union-attr,call-arg]
            places = list(inner.submodule_search_locations or []) if inner else []
            folders[name] = places[0] if places else ""
    return folders


def _harvest(settings: Any, heard: _Listener, database_problem: str | None) -> dict[str, Any]:
    problems: dict[str, list[str]] = {}
    general: list[str] = []
    try:
        packages = _app_packages()
    except Exception as error:
        packages = {}
        general.append("the installed apps cannot be listed (%s)" % sentence(error))

    def app_problem(package: str, problem: str) -> None:
        said = problems.setdefault(package, [])
        if problem not in said:
            said.append(problem)

    def module_warning(message: str, *_args: Any, **_kwargs: Any) -> None:
        # Tethys serves an app without the modules that cannot be imported; only this line says so.
        module = re.search(r'controller module "tethysapp\.(\w+)([\w.]*)", but it could not be imported', message)
        if module:
            reason = re.search(r"following error: (.*)", message)
            app_problem(
                module.group(1),
                "its module %s%s cannot be imported (%s)"
                % (module.group(1), module.group(2), reason.group(1) if reason else "no reason was given"),
            )

    heard.again()
    heard.records.clear()
    harvester: Any = None
    try:
        importlib.import_module("tethys_apps.base.controller").write_warning = module_warning
        harvester = importlib.import_module("tethys_apps.harvester").SingletonHarvester()
        harvester.harvest()
    except Exception as error:
        general.append("Tethys cannot harvest its apps (%s)" % sentence(error))

    apps = list(getattr(harvester, "apps", []))
    loaded = dict(getattr(harvester, "app_modules", {}))
    for record in heard.records:
        if record.levelno < logging.ERROR or not record.name.startswith("tethys"):
            continue
        about = re.search(r"\btethysapp\.(\w+)", record.getMessage())
        if about and about.group(1) in packages:
            app_problem(about.group(1), "it cannot be loaded (%s)" % sentence(_error_of(record)))
    for package in packages:
        if package not in loaded and package not in problems:
            app_problem(package, "Tethys finds no app class in its module app")

    served = _served(settings, apps, database_problem)
    handlers: list[dict[str, str]] = []
    listed: list[dict[str, str]] = []
    for app in apps:
        listed.append({"package": app.package, "name": str(app.name), "root_url": str(app.root_url)})
        if served is not None and app.package != served:
            continue
        try:
            handlers += [
                {"app": app.package, "name": str(m.name), "url": page_url(settings, app.root_url, m.url)}
                for m in app.registered_url_maps
                if m.handler_type == "bokeh"
            ]
        except Exception as error:
            app_problem(app.package, "its URLs cannot be read (%s)" % sentence(error))
    for package in problems:
        if served is None or package == served:
            known = {(h["app"], h["name"]) for h in handlers}
            for handler in handlers_in_source(settings, package, packages.get(package, "")):
                if (handler["app"], handler["name"]) not in known:
                    handlers.append(handler)

    said = ["%s" % reason for reason in general]
    said += ["of the app %s: %s" % (package, "; ".join(reasons)) for package, reasons in problems.items()]
    if database_problem:
        said.append("of the database: %s" % database_problem.rstrip("."))
    return {
        **_bokeh_answer(handlers, said),
        "apps": sorted(listed, key=lambda a: a["package"]),
        "app_problems": [
            {"package": package, "problem": "The app %s has a problem: %s." % (package, "; ".join(reasons))}
            for package, reasons in sorted(problems.items())
        ],
    }


def _bokeh_answer(handlers: list[dict[str, str]], reasons: list[str]) -> dict[str, Any]:
    """An empty answer after an error is no answer: what cannot be known is 'unknown'."""
    handlers = sorted(handlers, key=lambda h: (h["app"], h["url"], h["name"]))
    if not reasons:
        return {"bokeh": handlers, "bokeh_problem": None}
    if handlers:
        start = "There may be more Bokeh handlers than those listed, because "
    else:
        start = "Whether an app has a Bokeh handler is not known, because "
    return {"bokeh": handlers or "unknown", "bokeh_problem": start + "; ".join(reasons) + "."}


def _from_source_alone(reason: str) -> dict[str, Any]:
    """The answer where Tethys does not run: what the installed apps' files say."""
    try:
        packages = _app_packages()
    except Exception:
        packages = {}
    handlers = [h for package, folder in packages.items() for h in handlers_in_source(None, package, folder)]
    apps = [{"package": package, "name": package, "root_url": _root_url(folder, package)} for package, folder in packages.items()]
    return {
        **_bokeh_answer(handlers, [reason]),
        "apps": sorted(apps, key=lambda a: a["package"]),
        "app_problems": [],
        "lifecycle_consumer": _lifecycle_consumer(),
    }


def _served(settings: Any, apps: list[Any], database_problem: str | None) -> str | None:
    """The one app that a standalone portal serves; None where all are served, or where it is not known which."""
    if getattr(settings, "MULTIPLE_APP_MODE", True):
        return None
    chosen = getattr(settings, "STANDALONE_APP", None)
    if chosen:
        return str(chosen)
    if database_problem is None:
        try:
            first = importlib.import_module("tethys_apps.utilities").get_configured_standalone_app()
            if first is not None:
                return str(first.package)
        except Exception:
            return None
    return None


def page_url(settings: Any, root_url: str, pattern: str) -> str:
    """The address of a handler's page as it is served, with its variables in braces."""
    path = plain_pattern(pattern).strip("/")
    parts = [_prefix_url(settings)] if settings is not None else []
    if settings is None or getattr(settings, "MULTIPLE_APP_MODE", True):
        parts += ["apps", str(root_url).replace("_", "-")]
    joined = "/".join(part for part in [*parts, path] if part)
    return "/%s/" % joined if joined else "/"


def plain_pattern(pattern: str) -> str:
    """``^plot/(?P<year>[0-9]{4})/$`` as ``plot/{year}/``."""
    text = str(pattern)
    text = text[1:] if text.startswith("^") else text
    text = text[:-1] if text.endswith("$") else text
    plain, at = "", 0
    while at < len(text):
        group = re.compile(r"\(\?P<(\w+)>").match(text, at)
        if not group:
            plain += text[at]
            at += 1
            continue
        depth, at = 1, group.end()
        while at < len(text) and depth:
            if text[at] == "\\":
                at += 1
            else:
                depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
        plain += "{%s}" % group.group(1)
    return plain


# --- handlers from source: an app that cannot be imported may still be read ------------------------------------------------


def _python_files(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("node_modules", "__pycache__", "public", "workspaces")]
        for name in names:
            if name.endswith(".py"):
                yield os.path.join(place, name)


def _constant(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _root_url(folder: str, package: str) -> str:
    try:
        with open(os.path.join(folder, "app.py"), "rb") as handle:
            tree = ast.parse(handle.read())
    except (OSError, SyntaxError, ValueError):
        return package.replace("_", "-")
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "root_url" for t in node.targets):
            found = _constant(node.value)
            if found is not None:
                return found
    return package.replace("_", "-")


def handlers_in_source(settings: Any, package: str, folder: str) -> list[dict[str, str]]:
    """The Bokeh handlers that an app's files declare, as far as they can be read without running them."""
    found: list[dict[str, str]] = []
    if not folder:
        return found
    root = _root_url(folder, package)

    def add(name: str | None, url: str | None) -> None:
        url = (url if url is not None else (name or "").replace("_", "-")).strip("/")
        parts = [part for part in url.split("/") if part != root]
        entry = {"app": package, "name": name or url or package, "url": page_url(settings, root, "/".join(parts))}
        if entry not in found:
            found.append(entry)

    for path in _python_files(folder):
        try:
            with open(path, "rb") as handle:
                tree = ast.parse(handle.read())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for mark in node.decorator_list:
                    call = mark if isinstance(mark, ast.Call) else None
                    target = call.func if call else mark
                    called = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)
                    words = {k.arg: k.value for k in call.keywords} if call else {}
                    if called == "handler" and _constant(words.get("handler_type")) in (None, "bokeh"):
                        add(_constant(words.get("name")) or node.name, _constant(words.get("url")) if "url" in words else None)
            elif isinstance(node, ast.Call):
                words = {k.arg: k.value for k in node.keywords}
                if _constant(words.get("handler_type")) == "bokeh" and ("url" in words and "controller" in words):
                    add(_constant(words.get("name")), _constant(words.get("url")))
    return found


def _lifecycle_consumer() -> bool | None:
    """Whether this Tethys has the consumer that delivery is proved with; its routes are asked, not its version."""
    try:
        routes = importlib.import_module("tethys_portal.urls").websocket_urlpatterns
        return any("ws/app-lifecycle" in str(route.pattern) for route in routes)
    except Exception:
        # The routes include every app's, one of which may be what fails.
        spec = importlib.util.find_spec("tethys_portal")
        if spec is None or not spec.submodule_search_locations:
            return None
        try:
            with open(os.path.join(list(spec.submodule_search_locations)[0], "urls.py"), encoding="utf-8") as handle:
                return "ws/app-lifecycle" in handle.read()
        except OSError:
            return None
