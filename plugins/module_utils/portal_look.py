# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the portal says about itself. This module runs in the portal's own Python.

It starts Django once, harvests the apps as Tethys does when it serves them, and changes nothing while it looks: what
Tethys writes to its database at every start is switched off, and the database connection lets only reading statements
through.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any, Callable

from ansible_collections.tethys.channels.plugins.module_utils.portal_bokeh import attempt
from ansible_collections.tethys.channels.plugins.module_utils.portal_common import (
    ANYTHING,
    NO_END,
    PACKAGES,
    sentence,
    versions,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_database import (
    connection_limit,
    database_problem,
    most_in_pool,
    prevent_writes,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_source import (
    app_packages,
    declared_handlers,
    declared_root_url,
    page_url,
)
from ansible_collections.tethys.channels.plugins.module_utils.secrets import Hider, masked, secrets_in


def main(params: dict[str, Any], say: Callable[[dict[str, Any]], None], _commands: Any) -> None:
    """Inspect the portal, and print each part as soon as it is known, since the next may end in a timeout."""
    hide = Hider()

    def tell(message: dict[str, Any]) -> None:
        say(hide.everywhere(message))

    tell({"versions": versions(PACKAGES)})
    if params.get("yaml_check"):
        tell({"config_problem": _check_yaml(params["yaml_check"], params["config_file"])})
    if params.get("requirements"):
        tell({"lacking": sys.modules[params["packages_look"]].lacking(params["requirements"])})
    with contextlib.suppress(_Doubtful):
        attempt(lambda: _look(tell, hide))


class _Doubtful(Exception):
    """What was told may be another with all of Bokeh loaded."""


def _look(tell: Callable[[dict[str, Any]], None], hide: Hider) -> None:
    """Start Tethys, and report what it says; a later report replaces an earlier one."""
    heard = _Listener()
    try:
        settings = importlib.import_module("django.conf").settings
        hide.learn(*_secrets(settings))
        unread = _unread_config(heard)
        tell({"settings": _settings(settings), "settings_problem": unread})
    except ANYTHING as error:
        tell({"settings_problem": f"Django's settings cannot be loaded: {sentence(error)}."})
        tell(_by_source(None, "Django's settings cannot be loaded"))
        raise _Doubtful from error
    tell(_by_source(settings, NO_END))
    try:
        prevent_writes(settings)
        # With a bare argv Tethys leaves the harvest to us.
        importlib.import_module("django").setup()
    except ANYTHING as error:
        tell({"start_problem": f"Tethys cannot be started: {sentence(error)}."})
        tell(_by_source(settings, "Tethys cannot be started"))
        raise _Doubtful from error
    database, usable = database_problem(settings)
    limit = connection_limit(settings) if usable else None
    tell({"start_problem": None, "database_problem": database, "connection_limit": limit})
    doubts = [doubt for doubt in (unread, None if usable else database) if doubt]
    harvest = _harvest(settings, heard, usable, doubts)
    tell(harvest)
    tell({"lifecycle_consumer": _lifecycle_consumer()})
    if harvest["app_problems"] or "apps" not in harvest:
        raise _Doubtful


# --- the environment ------------------------------------------------------------------------------------------------


def _tethys_portal() -> Path | None:
    """The folder of the package tethys_portal, found without importing it."""
    spec = importlib.util.find_spec("tethys_portal")
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def _check_yaml(checker: str, config_file: str) -> str | None:
    """Run the collection's own check of portal_config.yml here, where PyYAML is."""
    portal_yaml = sys.modules[checker]
    try:
        portal_yaml.check_bytes(Path(config_file).read_bytes())
    except portal_yaml.PortalYamlError as error:
        return str(error)
    except OSError:
        # That the user cannot read the file is said elsewhere, with the folder or file that is in the way.
        return None
    return None


def _lifecycle_consumer() -> bool | None:
    """Whether this Tethys has the consumer by which delivery is verified; read from its routes, not its version."""
    try:
        routes = importlib.import_module("tethys_portal.urls").websocket_urlpatterns
        return any("ws/app-lifecycle" in str(route.pattern) for route in routes)
    except ANYTHING:
        # The routes include every app's, one of which may be what fails.
        package = _tethys_portal()
        if package is None:
            return None
        try:
            return "ws/app-lifecycle" in (package / "urls.py").read_text(encoding="utf-8")
        except OSError:
            return None


# --- settings -------------------------------------------------------------------------------------------------------


class _Listener(logging.Handler):
    """Tethys swallows what goes wrong and logs it; this keeps it."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []
        self.listen()

    def listen(self) -> None:
        """Django's logging settings throw handlers out, so this is said again after they were applied."""
        for name in ("", "tethys"):
            logger = logging.getLogger(name)
            if self not in logger.handlers:
                logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record not in self.records:
            self.records.append(record)


def _reason(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return sentence(error) if error else " ".join(record.getMessage().split())[:400].rstrip(".")


def _unread_config(heard: _Listener) -> str | None:
    """Tethys goes on with its defaults when it cannot read its configuration, and only logs it."""
    for record in heard.records:
        if record.name == "tethys_portal.settings":
            return f"Tethys cannot read portal_config.yml and runs with its own defaults: {_reason(record)}."
    return None


def _secrets(settings: Any) -> list[Any]:
    found = [getattr(settings, "SECRET_KEY", None)]
    found += [database.get("PASSWORD") for database in getattr(settings, "DATABASES", {}).values()]
    return [*found, *secrets_in(getattr(settings, "CHANNEL_LAYERS", {}))]


def _settings(settings: Any) -> dict[str, Any]:
    layers = settings.CHANNEL_LAYERS
    default = layers.get("default") if isinstance(layers, dict) else None
    default = default if isinstance(default, dict) else {}
    config = default.get("CONFIG")
    database = settings.DATABASES.get("default", {})
    return {
        "allowed_hosts": [str(host) for host in settings.ALLOWED_HOSTS or []],
        "debug": bool(settings.DEBUG),
        "prefix_url": _prefix_url(settings) or None,
        "multiple_app_mode": not _standalone(settings),
        "standalone_app": _text(getattr(settings, "STANDALONE_APP", None)),
        "static_root": _text(getattr(settings, "STATIC_ROOT", None)),
        "media_root": _text(getattr(settings, "MEDIA_ROOT", None)),
        "workspaces_root": _text(getattr(settings, "TETHYS_WORKSPACES_ROOT", None)),
        "channel_layers": masked(layers),
        "layer_backend": _text(default.get("BACKEND")),
        "layer_hosts": masked(config.get("hosts")) if isinstance(config, dict) else None,
        "database": {
            "engine": _text(database.get("ENGINE")),
            "name": masked(_text(database.get("NAME"))),
            "host": masked(_text(database.get("HOST"))) or None,
            "keeps_connections": database.get("CONN_MAX_AGE", 0) != 0,
            "pool": most_in_pool(database),
        },
        "data": _data(settings),
    }


def _data(settings: Any) -> list[dict[str, Any]]:
    """The files and folders with data that the settings name by absolute paths, and whether they hold anything."""
    named = {name: getattr(settings, name, None) for name in ("MEDIA_ROOT", "TETHYS_WORKSPACES_ROOT")}
    for alias, database in settings.DATABASES.items():
        if str(database.get("ENGINE")).endswith(("sqlite3", "spatialite")):
            named[f"DATABASES.{alias}.NAME"] = database.get("NAME")
    found = []
    for setting, path in named.items():
        if path and Path(str(path)).is_absolute():
            real = os.path.realpath(str(path))
            found.append({"setting": setting[:200], "path": real, "holds": _holds(Path(real))})
    return found


def _holds(path: Path) -> bool:
    """Whether a file has content or a folder an entry; what cannot be read is taken to."""
    try:
        return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _prefix_url(settings: Any) -> str:
    return str(getattr(settings, "PREFIX_URL", None) or "").strip("/")


def _standalone(settings: Any) -> bool:
    return not getattr(settings, "MULTIPLE_APP_MODE", True)


# --- apps and Bokeh handlers ----------------------------------------------------------------------------------------


class _Apps:
    """The portal's apps as Tethys loads them, and what is wrong with each."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings
        self.packages = app_packages()
        self.apps: list[Any] = []
        self.problems: dict[str, list[str]] = {}
        self.general: list[str] = []

    def problem(self, package: str, text: str) -> None:
        """Add a problem of an app once."""
        said = self.problems.setdefault(package, [])
        if text not in said:
            said.append(text)

    def _module_warning(self, message: str, *_args: Any, **_kwargs: Any) -> None:
        # Tethys serves an app without those of its modules that cannot be imported; only this line says so.
        found = re.search(r'module "tethysapp\.(\w+)([\w.]*)", but it could not be imported because .*?: (.*)', message)
        if found:
            package, module, reason = found.groups()
            self.problem(package, f"its module {package}{module} cannot be imported ({reason})")

    def load(self, heard: _Listener) -> None:
        """Have Tethys load them."""
        heard.listen()
        heard.records.clear()
        loaded: set[str] = set()
        try:
            controller: Any = importlib.import_module("tethys_apps.base.controller")
            controller.write_warning = self._module_warning
            harvester = importlib.import_module("tethys_apps.harvester").SingletonHarvester()
            harvester.harvest()
            self.apps, loaded = list(harvester.apps), set(harvester.app_modules)
        except ANYTHING as error:
            self.general.append(f"Tethys cannot load its apps ({sentence(error)})")
        for record in heard.records:
            about = re.search(r"\btethysapp\.(\w+)", record.getMessage())
            if about and about.group(1) in self.packages and record.name.startswith("tethys"):
                self.problem(about.group(1), f"it cannot be loaded ({_reason(record)})")
        if not self.general:
            for package in self.packages.keys() - loaded - self.problems.keys():
                self.problem(package, "Tethys finds no app class in its module app")

    def handlers(self, served: str | None) -> list[dict[str, str]]:
        """Return the Bokeh handlers; those of an app that cannot be loaded are searched for in its source."""
        handlers: list[dict[str, str]] = []
        for app in self.apps:
            if served is None or app.package == served:
                try:
                    handlers += _handlers(self.settings, app)
                except ANYTHING as error:
                    self.problem(app.package, f"its URLs cannot be read ({sentence(error)})")
        for package in self.packages if self.general else self.problems:
            if package in self.packages and (served is None or package == served):
                known = {(handler["app"], handler["name"]) for handler in handlers}
                found = _in_source(self.settings, package, self.packages[package])
                handlers += [handler for handler in found if (handler["app"], handler["name"]) not in known]
        return handlers

    def reasons(self, served: str | None) -> list[str]:
        """Return why not every handler may be known. What a standalone portal does not serve cannot matter."""
        return self.general + [
            f"the app {package} has a problem, {'; '.join(said)}"
            for package, said in self.problems.items()
            if served is None or package == served
        ]


def _harvest(settings: Any, heard: _Listener, database_usable: bool, doubts: list[str]) -> dict[str, Any]:
    found = _Apps(settings)
    found.load(heard)
    served = _served_app(settings, database_usable)
    handlers = found.handlers(served)
    answer = _bokeh_answer(handlers, [*found.reasons(served), *(doubt.rstrip(".") for doubt in doubts)])
    answer["app_problems"] = [
        {"package": package, "problem": f"The app {package} has a problem: {'; '.join(said)}."}
        for package, said in sorted(found.problems.items())
    ]
    if not found.general:
        answer["apps"] = sorted(
            ({"package": app.package, "name": str(app.name), "root_url": str(app.root_url)} for app in found.apps),
            key=lambda app: app["package"],
        )
    return answer


def _handlers(settings: Any, app: Any) -> list[dict[str, str]]:
    root = None if _standalone(settings) else str(app.root_url)
    return [
        {
            "app": app.package,
            "name": str(m.name),
            "url": page_url(_prefix_url(settings), root, str(m.url)),
        }
        for m in app.registered_url_maps
        if m.handler_type == "bokeh"
    ]


def _in_source(settings: Any, package: str, folder: Path) -> list[dict[str, str]]:
    if settings is None:
        return declared_handlers(package, folder)
    return declared_handlers(package, folder, _prefix_url(settings), _standalone(settings))


def _bokeh_answer(handlers: list[dict[str, str]], reasons: list[str]) -> dict[str, Any]:
    """An empty answer after an error is no answer: what cannot be known is 'unknown'."""
    handlers = sorted(handlers, key=lambda h: (h["app"], h["url"], h["name"]))
    if not reasons:
        return {"bokeh": handlers, "bokeh_problem": None}
    if handlers:
        start = "There may be more Bokeh handlers than those listed: "
    else:
        start = "Whether an app has a Bokeh handler is not known: "
    return {"bokeh": handlers or "unknown", "bokeh_problem": f"{start}{'; '.join(reasons)}."}


def _by_source(settings: Any, reason: str) -> dict[str, Any]:
    """The answer for a Tethys that does not run: what the installed apps' files say."""
    packages = app_packages()
    handlers = [handler for name, folder in packages.items() for handler in _in_source(settings, name, folder)]
    return {
        **_bokeh_answer(handlers, [reason]),
        "apps": [
            {"package": name, "name": name, "root_url": declared_root_url(name, folder)}
            for name, folder in sorted(packages.items())
        ],
    }


def _served_app(settings: Any, database_usable: bool) -> str | None:
    """The one app that a standalone portal serves; None where all are served, or where it is not known which."""
    if not _standalone(settings):
        return None
    chosen = getattr(settings, "STANDALONE_APP", None)
    if chosen:
        return str(chosen)
    if not database_usable:
        return None
    try:
        first = importlib.import_module("tethys_apps.utilities").get_configured_standalone_app()
    except ANYTHING:
        return None
    return str(first.package) if first is not None else None
