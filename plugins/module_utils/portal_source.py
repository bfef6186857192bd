# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the files of the installed Tethys apps say, read without running them.

This module runs in the portal's own Python. An app that cannot be imported still has files, and so have the apps of a
Tethys that cannot be started.
"""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
from pathlib import Path
from typing import Iterator, NamedTuple

_NOT_CODE = {"__pycache__", "node_modules"}
# Folders of an app's data, where they are no packages.
_DATA = {"public", "resources", "templates", "workspaces"}
# Where Tethys has its decorators, and where an app or an extension may pass them on.
_TETHYS = ("tethys_sdk", "tethys_apps", "tethysapp", "tethysext")
# The parameters of a UrlMap in their order.
_URL_MAP = ("name", "url", "controller", "protocol", "regex", "handler", "handler_type")
# The parameters of `controller` that have it pass another argument, behind the request.
_PATHS = ("app_workspace", "user_workspace", "user_media", "app_media", "app_public", "app_resources")
_VARIABLE = re.compile(r"\(\?P<(\w+)>")


def app_packages() -> dict[str, Path]:
    """The folders of the installed app packages by name, as Tethys discovers them."""
    spec = importlib.util.find_spec("tethysapp")
    places = list(spec.submodule_search_locations or []) if spec else []
    folders: dict[str, Path] = {}
    for finder, name, is_package in pkgutil.iter_modules(places):
        if is_package and name not in folders:
            folders[name] = Path(str(getattr(finder, "path", "")), name)
    return folders


def page_url(prefix_url: str, root_url: str | None, pattern: str) -> str:
    """The address at which a page is served, with its variables in braces; a standalone app has no root URL."""
    parts = [prefix_url.strip("/")]
    if root_url is not None:
        # Tethys routes by the app's namespace, which has no hyphens, and turns every underscore into one.
        parts += ["apps", root_url.replace("_", "-")]
    parts.append(plain_pattern(pattern).strip("/"))
    joined = "/".join(part for part in parts if part)
    return f"/{joined}/" if joined else "/"


def plain_pattern(pattern: str) -> str:
    """``^plot/(?P<year>[0-9]{4})/$`` as ``plot/{year}/``."""
    text = pattern[1:] if pattern.startswith("^") else pattern
    text = text[:-1] if text.endswith("$") else text
    plain, at = "", 0
    while at < len(text):
        variable = _VARIABLE.match(text, at)
        if not variable:
            plain += text[at]
            at += 1
            continue
        plain += f"{{{variable.group(1)}}}"
        at, depth = variable.end(), 1
        while at < len(text) and depth:
            if text[at] == "\\":
                at += 1
            else:
                depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
    return plain


def declared_root_url(package: str, folder: Path) -> str:
    """The app's root URL as its app.py assigns it, else what Tethys would have made of the package's name."""
    return _assigned(folder, "root_url") or package.replace("_", "-")


def _assigned(folder: Path, name: str) -> str | None:
    """The text that an app's app.py assigns to a name."""
    tree = _parsed(folder / "app.py")
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            found = _text(node.value)
            if found is not None:
                return found
    return None


def declared_handlers(
    package: str, folder: Path, prefix_url: str = "", standalone: bool = False
) -> list[dict[str, str]]:
    """The Bokeh handlers that an app's files declare, as far as that can be read.

    Handlers that an extension's code creates cannot be found: the caller has to report that there may be more.
    """
    found: list[dict[str, str]] = []
    root = declared_root_url(package, folder)
    for name, url in _App(package, folder, root).declared():
        parts = url.strip("/").split("/")
        # Tethys drops the app's root URL where a handler's URL repeats it.
        if root in parts:
            parts.remove(root)
        entry = {
            "app": package,
            "name": name,
            "url": page_url(prefix_url, None if standalone else root, "/".join(parts)),
        }
        if entry not in found:
            found.append(entry)
    return found


class _Function(NamedTuple):
    """A function that serves a page: the modules between the app's and it, and its parameters."""

    modules: list[str]
    needed: list[str]
    optional: list[str]


class _File:
    """A file of an app: what its names stand for."""

    def __init__(self, module: list[str], is_package: bool, tree: ast.AST) -> None:
        self.module = module
        self.tree = tree
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.constants: dict[str, ast.expr] = {}
        # The dotted place that a name stands for; empty for what is made in this file.
        self.names: dict[str, str] = {}
        package = module if is_package else module[:-1]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.name if alias.asname else alias.name.partition(".")[0]
                    self.names[alias.asname or name] = name
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                origin = ".".join([*above, *([node.module] if node.module else [])])
                for alias in node.names:
                    self.names[alias.asname or alias.name] = f"{origin}.{alias.name}"
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions[node.name] = node
        for node in getattr(tree, "body", []):
            self._define(node)

    def _define(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.names[node.name] = ""
        if isinstance(node, ast.ClassDef):
            self.constants.update({name: value for each in node.body for name, value in _assignments(each)})
        for name, value in _assignments(node):
            self.constants[name] = value
            self.names[name] = self.origin(value)

    def origin(self, node: ast.expr) -> str:
        """The dotted place of what an expression names; a name that nothing defines begins with a question mark."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, f"?.{node.id}")
        if isinstance(node, ast.Attribute):
            origin = self.origin(node.value)
            return f"{origin}.{node.attr}" if origin else ""
        return ""

    def is_tethys(self, node: ast.expr, name: str) -> bool:
        """Whether an expression names that decorator of Tethys."""
        first, *_more, last = self.origin(node).split(".") if "." in self.origin(node) else ["", ""]
        return last == name and first in (*_TETHYS, "?")


def _assignments(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value


class _App:
    """An app's files."""

    def __init__(self, package: str, folder: Path, root: str) -> None:
        self.package = package
        self.folder = folder
        self.root = root
        self.index = _assigned(folder, "index")

    def declared(self) -> Iterator[tuple[str, str]]:
        """The name and URL of each Bokeh handler."""
        for path in _python_files(self.folder):
            file = self._file(path, only_with=b"handler")
            for node in ast.walk(file.tree) if file else ():
                if file and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    for mark in node.decorator_list:
                        yield from self._decorated(file, node, mark)
                elif file and isinstance(node, ast.Call):
                    yield from self._mapped(file, node)

    def _file(self, path: Path, only_with: bytes = b"") -> _File | None:
        tree = _parsed(path, only_with)
        parts = list(path.relative_to(self.folder).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        module = ["tethysapp", self.package, *(parts[:-1] if is_package else parts)]
        return _File(module, is_package, tree) if tree else None

    def _module(self, parts: list[str]) -> _File | None:
        """The file of a module of this app."""
        path = self.folder.joinpath(*parts)
        return self._file(path.with_suffix(".py") if parts else path) or self._file(path / "__init__.py")

    def _value(self, file: _File, node: ast.expr | None, depth: int = 0) -> str | None:
        """The text of a constant expression, if it is one."""
        if depth > 5 or node is None:
            return None
        if isinstance(node, ast.JoinedStr):
            parts = [self._value(file, part, depth + 1) for part in node.values]
            return None if None in parts else "".join(map(str, parts))
        if isinstance(node, ast.FormattedValue):
            return self._value(file, node.value, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._value(file, node.left, depth + 1), self._value(file, node.right, depth + 1)
            return None if left is None or right is None else left + right
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = node.id if isinstance(node, ast.Name) else node.attr
            if name in file.constants:
                return self._value(file, file.constants[name], depth + 1)
            if name == "root_url":
                return self.root
            origin = file.origin(node).split(".")
            other = self._module(origin[2:-1]) if origin[:2] == ["tethysapp", self.package] else None
            return self._value(other, other.constants.get(name), depth + 1) if other else None
        return _text(node)

    def _mapped(self, file: _File, call: ast.Call) -> Iterator[tuple[str, str]]:
        words = {word.arg: word.value for word in call.keywords}
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if called.lower().endswith("urlmap"):
            words.update(zip(_URL_MAP, call.args))
        if "controller" in words and self._value(file, words.get("handler_type")) == "bokeh":
            url = self._value(file, words.get("url")) or ""
            yield self._value(file, words.get("name")) or url, url

    def _decorated(
        self, file: _File, function: ast.FunctionDef | ast.AsyncFunctionDef, mark: ast.expr
    ) -> Iterator[tuple[str, str]]:
        call = mark if isinstance(mark, ast.Call) else None
        target = call.func if call else mark
        words = {word.arg: word.value for word in call.keywords} if call else {}
        if file.is_tethys(target, "handler"):
            kind = self._value(file, words["handler_type"]) if "handler_type" in words else "bokeh"
            served = self._controller(file, words.get("controller"))
        elif file.is_tethys(target, "controller") and "_handler" in words:
            kind = self._value(file, words.get("_handler_type"))
            given = [name for name in _PATHS if isinstance(words.get(name), ast.Constant) and words[name].value]  # type: ignore[attr-defined]
            served = _signature(file, function, len(given))
        else:
            return
        if kind == "bokeh":
            for name, url in self._urls(file, function.name, words, served):
                yield name, self.root if name == self.index else url

    def _controller(self, file: _File, given: ast.expr | None) -> _Function:
        """The function behind a handler's page; Tethys's own has no module of the app and no parameters."""
        text = self._value(file, given) if isinstance(given, ast.Constant) else None
        place = (text or (file.origin(given) if given is not None else "")).split(".")
        if isinstance(given, ast.Name) and given.id in file.functions and not file.names.get(given.id):
            return _signature(file, file.functions[given.id])
        if place[0] == "tethysapp":
            place = place[1:]
        other = self._module(place[1:-1]) if place[0] == self.package else None
        if other and place[-1] in other.functions:
            return _signature(other, other.functions[place[-1]])
        return _Function([], [], [])

    def _urls(
        self, file: _File, function: str, words: dict[str | None, ast.expr], served: _Function
    ) -> Iterator[tuple[str, str]]:
        name = self._value(file, words.get("name")) or function
        url = words.get("url")
        if isinstance(url, ast.Dict):
            for key, value in zip(url.keys, url.values):
                yield self._value(file, key) or name, self._value(file, value) or ""
            return
        if isinstance(url, (ast.List, ast.Tuple)):
            urls = [self._value(file, one) or "" for one in url.elts]
        elif url is not None and not (isinstance(url, ast.Constant) and url.value is None):
            urls = [self._value(file, url) or ""]
        else:
            plain = "/".join([*served.modules, function]).replace("_", "-")
            urls = ["/".join([plain, *(f"{{{each}}}" for each in served.needed)])]
            for each in served.optional:
                urls.append(f"{urls[-1]}/{{{each}}}")
        for number, one in enumerate(urls):
            yield f"{name}_{number}" if number else name, one


def _signature(file: _File, function: ast.FunctionDef | ast.AsyncFunctionDef, paths: int = 0) -> _Function:
    """What Tethys makes an address of: a function's module and parameters, less the request and the paths behind it."""
    given = function.args
    placed = [arg.arg for arg in [*getattr(given, "posonlyargs", []), *given.args]]
    defaults = set(placed[len(placed) - len(given.defaults) :])
    defaults |= {arg.arg for arg, value in zip(given.kwonlyargs, given.kw_defaults) if value is not None}
    names = [*placed, *([given.vararg.arg] if given.vararg else []), *(arg.arg for arg in given.kwonlyargs)]
    names += [given.kwarg.arg] if given.kwarg else []
    names[1 : 1 + paths] = []
    needed = [name for name in names if name != "request" and name not in defaults]
    return _Function(file.module[3:], needed, [name for name in names if name != "request" and name in defaults])


def _python_files(folder: Path, inside: bool = False) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name in _NOT_CODE:
            continue
        if entry.suffix == ".py":
            yield entry
        elif entry.is_dir() and not entry.is_symlink() and (inside or _may_be_code(entry)):
            yield from _python_files(entry, inside=True)


def _may_be_code(folder: Path) -> bool:
    return folder.name not in _DATA or (folder / "__init__.py").exists()


def _parsed(path: Path, only_with: bytes = b"") -> ast.AST | None:
    try:
        source = path.read_bytes()
        return ast.parse(source) if only_with in source else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
