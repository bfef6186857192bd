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
from typing import Iterator

_NOT_CODE = {"__pycache__", "node_modules", "public", "resources", "templates", "workspaces"}
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
    """The address of a page as it is served, with its variables in braces; a standalone app has no root URL."""
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
    tree = _parsed(folder / "app.py")
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "root_url" for t in node.targets):
            found = _text(node.value)
            if found is not None:
                return found
    return package.replace("_", "-")


def declared_handlers(
    package: str, folder: Path, prefix_url: str = "", standalone: bool = False
) -> list[dict[str, str]]:
    """The Bokeh handlers that an app's files declare, as far as that can be read."""
    found: list[dict[str, str]] = []
    root = declared_root_url(package, folder)
    for name, url in _declared(folder):
        # Tethys drops the app's root URL where a handler's URL repeats it.
        path = "/".join(part for part in url.split("/") if part != root)
        entry = {"app": package, "name": name, "url": page_url(prefix_url, None if standalone else root, path)}
        if entry not in found:
            found.append(entry)
    return found


def _declared(folder: Path) -> Iterator[tuple[str, str]]:
    for path in _python_files(folder):
        tree = _parsed(path, only_with=b"handler")
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for mark in node.decorator_list:
                    yield from _decorated(node.name, mark)
            elif isinstance(node, ast.Call):
                words = {word.arg: word.value for word in node.keywords}
                if _text(words.get("handler_type")) == "bokeh" and "controller" in words:
                    url = _text(words.get("url")) or ""
                    yield _text(words.get("name")) or url, url


def _decorated(function: str, mark: ast.expr) -> Iterator[tuple[str, str]]:
    call = mark if isinstance(mark, ast.Call) else None
    target = call.func if call else mark
    called = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", None)
    words = {word.arg: word.value for word in call.keywords} if call else {}
    if called != "handler" or _text(words.get("handler_type")) not in (None, "bokeh"):
        return
    name = _text(words.get("name")) or function
    url = words.get("url")
    listed = url.elts if isinstance(url, (ast.List, ast.Tuple)) else [url]
    for number, one in enumerate(listed):
        text = _text(one)
        yield f"{name}_{number}" if number else name, function.replace("_", "-") if text is None else text


def _python_files(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.suffix == ".py":
            yield entry
        elif entry.is_dir() and not entry.is_symlink() and entry.name not in _NOT_CODE:
            yield from _python_files(entry)


def _parsed(path: Path, only_with: bytes = b"") -> ast.AST | None:
    try:
        source = path.read_bytes()
        return ast.parse(source) if only_with in source else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


def _text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
