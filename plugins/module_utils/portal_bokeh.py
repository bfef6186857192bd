# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bokeh, loaded when it is used. This module runs in the portal's own Python.

Tethys imports names of Bokeh when its settings are read, whether or not an app uses Bokeh. Loading Bokeh takes longer
than reading the settings, and only one setting depends on it: the folder of BokehJS, which is in bokeh.settings.

Only Tethys's own modules get names that wait. Whatever else imports Bokeh gets Bokeh: it may do anything with it.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
import os
import sys
from types import ModuleType, TracebackType
from typing import Any, Callable, Iterable, Mapping, Sequence, TypeVar

from ansible_collections.tethys.channels.plugins.module_utils.portal_common import ANYTHING

PACKAGES = ("bokeh", "bokeh_django")
# What a setting depends on, and what these need.
AT_ONCE = ("bokeh", "bokeh.settings", "bokeh.util")
# The packages of Tethys that import Bokeh, and the module by which most of them do, as an app may too.
TETHYS = ("tethys_apps", "tethys_compute", "tethys_gizmos", "tethys_portal")
OPTIONAL = "tethys_portal.optional_dependencies"
# By this status a child says that it could not do what it was to do.
AGAIN = 75
Found = TypeVar("Found")


def attempt(run: Callable[[], Found]) -> Found:
    """Return what this returns with Bokeh postponed, in a child, by which the program goes on.

    If it raises, the child is gone with all that it had begun, and the program goes on here, where nothing has been
    loaded yet, without postponing anything. Otherwise this process ends as the child does.
    """
    try:
        child = os.fork()
    except OSError:
        return run()
    if child:
        status = os.waitpid(child, 0)[1]
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == AGAIN:
            return run()
        if os.WIFSIGNALED(status):
            os.kill(os.getpid(), os.WTERMSIG(status))
        os._exit(os.WEXITSTATUS(status))
    try:
        with Postponed():
            return run()
    except ANYTHING:
        os._exit(AGAIN)


class Postponed:
    """While this context lasts, what Tethys imports from Bokeh is loaded when it is used."""

    def __init__(self) -> None:
        self._lasts = False
        self._import: Callable[..., Any] = builtins.__import__
        self._optional: ModuleType | None = None

    def __enter__(self) -> Postponed:
        with contextlib.suppress(ImportError):
            optional = importlib.import_module(OPTIONAL)
            if vars(optional).get("import_module") is importlib.import_module:
                self._optional = optional
                vars(optional)["import_module"] = self._by_function
        self._lasts = True
        builtins.__import__ = self._by_statement
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._lasts = False
        if builtins.__import__ == self._by_statement:
            builtins.__import__ = self._import
        if self._optional:
            vars(self._optional)["import_module"] = importlib.import_module

    def _by_statement(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """An import statement, called as Python calls it; `fromlist` is what follows `from … import`."""
        of_tethys = _is_tethys(globals)
        if self._lasts and of_tethys and fromlist and "*" not in fromlist and not level and _can_wait(name):
            return Name(name)
        found = self._import(name, globals, locals, fromlist, level)
        if self._lasts and fromlist and not of_tethys:
            _load(found, fromlist)
        return found

    def _by_function(self, name: str, package: str | None = None) -> Any:
        """An import by Tethys's function for what may not be installed."""
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals.get("__name__") == OPTIONAL:
            frame = frame.f_back
        if self._lasts and _is_tethys(frame.f_globals) and _can_wait(name):
            return Name(name)
        return importlib.import_module(name, package)


def _is_tethys(importer: Mapping[str, Any] | None) -> bool:
    return str((importer or {}).get("__name__")).partition(".")[0] in TETHYS


def _can_wait(name: str) -> bool:
    """Whether this is a module of Bokeh that is installed, not loaded, and that no setting depends on."""
    if name.partition(".")[0] not in PACKAGES or name in AT_ONCE or name.startswith(f"{AT_ONCE[-1]}."):
        return False
    return name not in sys.modules and importlib.util.find_spec(name) is not None


def _load(module: Any, names: Iterable[str]) -> None:
    """Load what one of Tethys's modules has of Bokeh, before another module gets it from there."""
    own = vars(module) if isinstance(module, ModuleType) else {}
    for name in list(own) if "*" in names else names:
        found: Any = own.get(name)
        if issubclass(type(found), Name):
            own[name] = found._value()


class Name:
    """A module of Bokeh, or a name of one, which is loaded when it is used."""

    def __init__(self, module: str, name: str = "") -> None:
        self._module, self._name = module, name

    def _value(self) -> Any:
        module = importlib.import_module(self._module)
        return getattr(module, self._name) if self._name else module

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._value()(*given, **named)

    def __getattr__(self, name: str) -> Any:
        if self._name or name.startswith("__"):
            return getattr(self._value(), name)
        return Name(self._module, name)

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._value(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._value())
