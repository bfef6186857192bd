# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bokeh, loaded when it is used. This module runs in the portal's own Python.

Tethys imports names of Bokeh when its settings are read, whether or not an app uses Bokeh. Loading Bokeh takes longer
than reading the settings, and only one setting depends on it: the folder of BokehJS, which is in bokeh.settings.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, TracebackType
from typing import Any, Sequence

PACKAGES = ("bokeh", "bokeh_django")
# What a setting depends on, and what these need.
AT_ONCE = ("bokeh", "bokeh.settings", "bokeh.util")


class Postponed(MetaPathFinder, Loader):
    """While this context lasts, an import of Bokeh gives names that load it when they are used."""

    def __init__(self) -> None:
        self._stand_ins: list[str] = []

    def __enter__(self) -> Postponed:
        sys.meta_path.insert(0, self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """From now on, an import loads the modules themselves."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name in self._stand_ins:
            sys.modules.pop(name, None)
            package, _dot, last = name.rpartition(".")
            vars(sys.modules.get(package, self)).pop(last, None)
        self._stand_ins = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a specification of this loader's for a module of Bokeh that is installed."""
        if fullname.partition(".")[0] not in PACKAGES or fullname in AT_ONCE or fullname.startswith(f"{AT_ONCE[-1]}."):
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is None:
            return None
        spec = ModuleSpec(fullname, self, origin=found.origin, is_package=found.submodule_search_locations is not None)
        spec.submodule_search_locations = found.submodule_search_locations
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Give a module each name when it is first used."""
        self._stand_ins.append(module.__name__)

        def name_of(name: str) -> Name:
            if name.startswith("__"):
                raise AttributeError(name)
            return Name(self, module.__name__, name)

        vars(module)["__getattr__"] = name_of


class Name:
    """A name of a module, which is loaded when the name is used."""

    def __init__(self, postponed: Postponed, module: str, name: str) -> None:
        self._postponed, self._module, self._name = postponed, module, name

    def _value(self) -> Any:
        self._postponed.end()
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *given: Any, **named: Any) -> Any:
        return self._value()(*given, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value(), name)

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._value(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self._value())
