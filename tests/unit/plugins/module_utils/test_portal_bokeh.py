# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bokeh is loaded when it is used, and whoever is not Tethys gets it as if it had been loaded before."""

from __future__ import annotations

import builtins
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import portal_bokeh
from ansible_collections.tethys.channels.plugins.module_utils.portal_bokeh import Postponed

ROOT = str(Path(portal_bokeh.__file__).parents[5])
FILES = {
    "bokeh/__init__.py": "from .util import paths\n",
    "bokeh/settings.py": "folder = 'bokehjs'\n",
    "bokeh/util/__init__.py": "",
    "bokeh/util/paths.py": "",
    "bokeh/document/__init__.py": "from .document import Document\n",
    "bokeh/document/document.py": "class Document:\n    title = 'plot'\n",
    "bokeh_django/__init__.py": "import bokeh.document\ndef autoload(url):\n    return 'at ' + url\n",
    "tethys_portal/__init__.py": "",
    "tethys_portal/optional_dependencies.py": """
from importlib import import_module

def optional_import(module, from_module=None):
    try:
        return getattr(import_module(from_module), module) if from_module else import_module(module)
    except ImportError:
        return None
""",
    "tethys_apps/__init__.py": "",
    "tethys_apps/base.py": """
from bokeh_django import autoload
from bokeh.settings import folder
from tethys_portal.optional_dependencies import optional_import

Document = optional_import("Document", from_module="bokeh.document")
whole = optional_import("bokeh_django")
absent = optional_import("bokeh.absent"), optional_import("Name", from_module="bokeh.absent")

def shown(doc: Document): ...
""",
    "tethys_apps/derived.py": "from bokeh.document import Document\n\nclass Mine(Document): ...\n",
    "tethys_apps/without.py": "from bokeh.absent import Name\n",
}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A small Tethys, loaded with a small Bokeh postponed, which lasts."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    before, statement = set(sys.modules), builtins.__import__
    with Postponed():
        yield importlib.import_module("tethys_apps.base")
    assert builtins.__import__ is statement
    assert vars(sys.modules["tethys_portal.optional_dependencies"])["import_module"] is importlib.import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


def run(code: str) -> dict[str, Any]:
    """Return the names of an app's module after it ran."""
    app = ModuleType("tethysapp.my_app.app")
    vars(app)["WHERE"] = ("Document", "bokeh.document")
    exec(code, vars(app))  # noqa: S102 -- the tests' own
    return vars(app)


def test_what_no_setting_depends_on_is_not_loaded(base: Any) -> None:
    assert base.folder == "bokehjs"
    loaded = sorted(name for name in sys.modules if name.startswith("bokeh"))
    assert loaded == ["bokeh", "bokeh.settings", "bokeh.util", "bokeh.util.paths"]


def test_a_name_is_loaded_when_it_is_used(base: Any) -> None:
    assert base.autoload("plots/") == base.whole.autoload("plots/") == "at plots/"
    real = importlib.import_module("bokeh.document").Document
    assert issubclass(type(base.Document()), real)
    assert base.Document.title == "plot"
    assert isinstance(real(), base.Document)
    assert not isinstance(base.shown, base.Document)
    assert importlib.import_module("bokeh").document.Document is real


def test_tethys_derives_from_the_real_class(base: Any) -> None:
    derived = importlib.import_module("tethys_apps.derived")
    assert derived.Mine.__mro__[1] is importlib.import_module("bokeh.document").Document


def test_what_is_not_installed_cannot_be_imported(base: Any) -> None:
    assert base.absent == (None, None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("tethys_apps.without")


@pytest.mark.parametrize(
    "code",
    [
        "from bokeh.document import Document",
        "from bokeh.document import *",
        "import bokeh.document; Document = bokeh.document.Document",
        "import bokeh.document as d; Document = d.Document",
        "from tethys_portal.optional_dependencies import optional_import; Document = optional_import(*WHERE)",
        "from tethys_apps.base import Document",
        "from tethys_apps.base import *",
    ],
)
def test_whoever_is_not_tethys_gets_the_real_one(base: Any, code: str) -> None:
    found = run(code)["Document"]
    assert isinstance(found, type)
    assert found is importlib.import_module("bokeh.document").Document


ATTEMPT = """
import builtins, importlib, os, sys

from ansible_collections.tethys.channels.plugins.module_utils.portal_bokeh import attempt

first, statement = os.getpid(), builtins.__import__

def run():
    postponed = builtins.__import__ is not statement
    print("postponed" if postponed else "real", os.getpid() == first, "loaded" in globals(), flush=True)
    globals()["loaded"] = True
    HOW
    return "found"

print(attempt(run), flush=True)
"""


@pytest.mark.parametrize(
    ("how", "printed", "status"),
    [
        ("pass", ["postponed False False", "found"], 0),
        ("if postponed: raise ValueError", ["postponed False False", "real True False", "found"], 0),
        ("if postponed: sys.exit(0)", ["postponed False False", "real True False", "found"], 0),
        ("sys.exit(3)", ["postponed False False", "real True False"], 3),
        (
            "if postponed: raise ValueError\n    os.kill(os.getpid(), 9)",
            ["postponed False False", "real True False"],
            -9,
        ),
    ],
)
def test_what_fails_is_repeated_in_a_fresh_process(how: str, printed: list[str], status: int) -> None:
    command = [sys.executable, "-c", ATTEMPT.replace("HOW", how)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": ROOT}, stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.stdout.splitlines() == printed
    assert done.returncode == status


# --- a real portal --------------------------------------------------------------------------------------------------

SETTINGS = """
import contextlib, gc, json, sys

from ansible_collections.tethys.channels.plugins.module_utils.portal_bokeh import Postponed

gc.disable()
with Postponed() if sys.argv[1] == "postponed" else contextlib.nullcontext():
    from django.conf import settings

    found = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
loaded = sorted(name for name in sys.modules if name.startswith("bokeh"))
texts = {name: sorted(map(repr, value)) if isinstance(value, set) else repr(value) for name, value in found.items()}
print("found:" + json.dumps([texts, loaded]))
"""
# What a Django app may do with Bokeh while it is imported.
USES = {
    "an item": "from bokeh.palettes import Category10; assert len(Category10[10]) == 10",
    "an item by the module": "import bokeh.palettes as p; assert len(p.Category10[3]) == 3",
    "a union": "from bokeh.document import Document; Document | None",
    "a union of Tethys's": "from tethys_apps.base.bokeh_handler import Document; Document | None",
    "all names": "from bokeh.models import *; Slider, Plot",
    "a module": "from bokeh import models; assert issubclass(models.Slider, models.Model)",
    "dispatch": "import functools\nfrom bokeh.models import Slider\n"
    "f = functools.singledispatch(lambda x: 0)\nf.register(Slider)(lambda x: 1)\nassert f(Slider()) == 1",
    "a subclass": "from bokeh.core.properties import Int\nfrom bokeh.models import Slider\n"
    "class Mine(Slider):\n    more = Int(default=4)\nassert Mine().more == 4",
    "a decorator": "from bokeh.core.property.wrappers import notify_owner\n@notify_owner\ndef f(self): ...\nf.__name__",
    "instances": "from bokeh.models import ColumnDataSource, Slider\n"
    "assert isinstance(Slider(), Slider) and not isinstance(Slider(), ColumnDataSource)",
    "a finder": "from django.utils.module_loading import import_string\n"
    "assert isinstance(import_string('bokeh_django.static.BokehExtensionFinder'), type)\n"
    "import bokeh_django.static; bokeh_django.static.BokehExtensionFinder",
}
EACH = """
import json, os, sys, traceback

from ansible_collections.tethys.channels.plugins.module_utils.portal_bokeh import Postponed

failed = []
with Postponed():
    from django.conf import settings
    settings.DEBUG
    import django
    django.setup()
    loaded = sorted(name for name in sys.modules if name.startswith("bokeh"))
    for name, code in json.loads(sys.argv[1]).items():
        child = os.fork()
        if not child:
            try:
                exec(code, {"__name__": "an_app"})
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            failed.append(name)
print("found:" + json.dumps([failed, loaded]))
"""


def in_portal(home: Path, program: str, argument: str) -> Any:
    """Return what a program finds in a portal's Python."""
    (home / "portal_config.yml").write_text("settings:\n  SECRET_KEY: x\n  PREFIX_URL: on/here\n", encoding="utf-8")
    variables = {"TETHYS_HOME": str(home), "DJANGO_SETTINGS_MODULE": "tethys_portal.settings", "PYTHONPATH": ROOT}
    command = [os.environ["TETHYS_TEST_PYTHON"], "-c", program, argument]
    done = subprocess.run(
        command, env={**os.environ, **variables}, cwd="/", stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == 0
    return json.loads(done.stdout.rpartition("found:")[2])


@pytest.mark.portal
def test_the_settings_are_the_same(tmp_path: Path) -> None:
    postponed, few = in_portal(tmp_path, SETTINGS, "postponed")
    real, all_of_it = in_portal(tmp_path, SETTINGS, "real")
    assert postponed == real
    assert postponed["PREFIX_URL"] == "'on/here'"
    assert "bokeh.document" in all_of_it and "bokeh.document" not in few


@pytest.mark.portal
def test_a_django_app_may_do_anything_with_it(tmp_path: Path) -> None:
    failed, loaded = in_portal(tmp_path, EACH, json.dumps(USES))
    assert failed == []
    assert [name for name in loaded if name.partition(".")[2].partition(".")[0] not in ("", "settings", "util")] == []
