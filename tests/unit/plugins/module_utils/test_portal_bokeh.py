# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bokeh is loaded when it is used, and behaves as if it had been loaded before."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import portal_bokeh
from ansible_collections.tethys.channels.plugins.module_utils.portal_bokeh import Postponed

FILES = {
    "bokeh/__init__.py": "from .util import paths\n",
    "bokeh/settings.py": "folder = 'bokehjs'\n",
    "bokeh/util/__init__.py": "",
    "bokeh/util/paths.py": "",
    "bokeh/document/__init__.py": "from .document import Document\n",
    "bokeh/document/document.py": "class Document:\n    title = 'plot'\n",
    "bokeh_django/__init__.py": "import bokeh.document\ndef autoload(url):\n    return 'at ' + url\n",
    "bokeh_broken.py": "raise ImportError('not of Bokeh')\n",
}


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment with a small Bokeh."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    before, finders = set(sys.modules), list(sys.meta_path)
    yield
    assert sys.meta_path == finders
    for name in set(sys.modules) - before:
        del sys.modules[name]


def of_bokeh() -> list[str]:
    """Return the modules of Bokeh that are loaded."""
    return sorted(name for name in sys.modules if name.partition(".")[0] in ("bokeh", "bokeh_django"))


def imported(module: str, *names: str) -> list[object]:
    """Return what `from module import names` gives."""
    found = __import__(module, fromlist=names)
    return [getattr(found, name) for name in names]


def test_what_no_setting_depends_on_is_not_loaded() -> None:
    with Postponed():
        imported("bokeh_django", "autoload")
        imported("bokeh.document", "Document")
        [folder] = imported("bokeh.settings", "folder")
    assert folder == "bokehjs"
    assert of_bokeh() == ["bokeh", "bokeh.settings", "bokeh.util", "bokeh.util.paths"]


def test_a_name_is_loaded_when_it_is_used() -> None:
    with Postponed():
        [autoload] = imported("bokeh_django", "autoload")
        [document] = imported("bokeh.document", "Document")

        def shown(doc: document) -> None:  # type: ignore[valid-type]
            """As Tethys declares it."""

    assert "bokeh_django" not in sys.modules
    assert autoload("plots/") == "at plots/"  # type: ignore[operator]
    assert document.title == "plot"  # type: ignore[attr-defined]
    real = importlib.import_module("bokeh.document").Document
    assert type(document()) is real  # type: ignore[operator]
    assert isinstance(real(), document)  # type: ignore[arg-type]
    assert not isinstance(shown, document)  # type: ignore[arg-type]

    class Mine(document):  # type: ignore[valid-type,misc]
        pass

    assert Mine.__mro__[1] is real


def test_a_use_meanwhile_ends_it() -> None:
    with Postponed():
        [autoload] = imported("bokeh_django", "autoload")
        assert autoload("") == "at "  # type: ignore[operator]
        assert "bokeh.document.document" in sys.modules


def test_what_is_imported_later_is_the_real_one() -> None:
    with Postponed():
        imported("bokeh_django", "autoload")
        imported("bokeh.document", "Document")
    document = importlib.import_module("bokeh.document")
    assert document.Document.title == "plot"
    assert importlib.import_module("bokeh").document is document


def test_what_is_not_installed_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    with Postponed():
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("bokeh.absent")
        monkeypatch.setattr(sys, "path", [])
        sys.path_importer_cache.clear()
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("bokeh_django")


def test_other_packages_are_loaded_as_ever() -> None:
    with Postponed(), pytest.raises(ImportError, match="not of Bokeh"):
        importlib.import_module("bokeh_broken")


def test_it_has_no_names_of_pythons_own() -> None:
    with Postponed():
        module = importlib.import_module("bokeh_django")
        assert not hasattr(module, "__all__")


# --- a real portal --------------------------------------------------------------------------------------------------

SETTINGS = """
import contextlib, gc, json, sys

gc.disable()
with Postponed() if sys.argv[1] == "postponed" else contextlib.nullcontext():
    from django.conf import settings

    found = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
loaded = sorted(name for name in sys.modules if name.startswith("bokeh"))
texts = {name: sorted(map(repr, value)) if isinstance(value, set) else repr(value) for name, value in found.items()}
print("found:" + json.dumps([texts, loaded]))
"""


def settings_of(home: Path, how: str) -> tuple[dict[str, str], list[str]]:
    """Return a portal's settings as texts, and the modules of Bokeh that its Python has loaded by then."""
    program = f"{inspect.getsource(portal_bokeh)}\n{SETTINGS}"
    variables = {"TETHYS_HOME": str(home), "DJANGO_SETTINGS_MODULE": "tethys_portal.settings"}
    environment = {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **variables}
    command = [os.environ["TETHYS_TEST_PYTHON"], "-c", program, how]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
    texts, loaded = json.loads(done.stdout.rpartition("found:")[2])
    return texts, loaded


@pytest.mark.portal
def test_the_settings_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "portal_config.yml").write_text("settings:\n  SECRET_KEY: x\n  PREFIX_URL: on/here\n", encoding="utf-8")
    postponed, few = settings_of(tmp_path, "postponed")
    real, all_of_it = settings_of(tmp_path, "real")
    assert postponed == real
    assert postponed["PREFIX_URL"] == "'on/here'"
    assert "bokeh.document" in all_of_it and "bokeh.document" not in few
