# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a portal: by its parts, and (with TETHYS_TEST_PYTHON) of a real one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any, Callable, Dict
from unittest.mock import Mock

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import (
    boundary,
    facts,
    portal_env,
    portal_look,
    portal_source,
    portal_state,
    portal_user,
)
from ansible_collections.tethys.channels.plugins.module_utils.server import accounts
from hypothesis import given
from hypothesis import strategies as st

Portal = Callable[..., Dict[str, Any]]
ME = accounts.account_of(os.geteuid())


# --- addresses of pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix_url", "root", "pattern", "url"),
    [
        ("", "plot", "^$", "/apps/plot/"),
        ("", "plot", "^wave/$", "/apps/plot/wave/"),
        ("portal", "plot", "^wave/$", "/portal/apps/plot/wave/"),
        ("/a/b/", "my_plot", "^$", "/a/b/apps/my-plot/"),
        ("", None, "^wave/$", "/wave/"),
        ("portal", None, "^$", "/portal/"),
        ("", None, "^$", "/"),
        ("", "plot", r"^y/(?P<year>[0-9]{4})/(?P<a>(x|\))+)/z/$", "/apps/plot/y/{year}/{a}/z/"),
        ("", "plot", r"^(?P<unclosed>[a-z]", "/apps/plot/{unclosed}/"),
    ],
)
def test_page_url(prefix_url: str, root: str | None, pattern: str, url: str) -> None:
    assert portal_source.page_url(prefix_url, root, pattern) == url


@given(st.text(alphabet="^$()?P<>\\ab[]/{}", max_size=40))
def test_any_pattern_gives_an_address(pattern: str) -> None:
    url = portal_source.page_url("", "plot", pattern)
    assert url.startswith("/apps/plot/")
    assert url.endswith("/")


# --- handlers in source ---------------------------------------------------------------------------------------------


def app_folder(tmp_path: Path, **files: str | None) -> Path:
    folder = tmp_path / "tethysapp" / "my_app"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("", encoding="utf-8")
    for name, text in files.items():
        if text is None:
            continue
        file = folder / f"{name.replace('__', '/').replace('INIT', '__init__')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("@handler\ndef my_plot(doc): ...", [("my_plot", "/apps/root/my-plot/")]),
        ("@handler()\nasync def plot(doc): ...", [("plot", "/apps/root/plot/")]),
        ("@routing.handler(name='n', url='/a/{b}/')\ndef plot(doc): ...", [("n", "/apps/root/a/{b}/")]),
        ("@handler(handler_type='bokeh', url='root')\ndef plot(doc): ...", [("plot", "/apps/root/")]),
        ("@handler(url=['a', 'b'])\ndef plot(doc): ...", [("plot", "/apps/root/a/"), ("plot_1", "/apps/root/b/")]),
        (
            "UrlMap(name='n', url='root/x', controller='c', handler='h', handler_type='bokeh')",
            [("n", "/apps/root/x/")],
        ),
        ("@handler(handler_type='other')\ndef plot(doc): ...", []),
        ("@controller\ndef handler(request): ...", []),
        ("handler = logging.StreamHandler()", []),
        ("# @handler\ndef plot(doc): ...", []),
        ("import numpy\ndef (", []),
        ("@handler\ndef plot(doc: ...", []),
    ],
)
def test_handlers_in_source(tmp_path: Path, source: str, found: list[tuple[str, str]]) -> None:
    folder = app_folder(tmp_path, app="class App:\n    root_url = 'root'", plots__page=source)
    assert portal_source.declared_handlers("my_app", folder) == [
        {"app": "my_app", "name": name, "url": url} for name, url in found
    ]


def test_handlers_in_source_as_served(tmp_path: Path) -> None:
    folder = app_folder(tmp_path, handlers="@handler\ndef plot(doc): ...")
    assert portal_source.declared_handlers("my_app", folder)[0]["url"] == "/apps/my-app/plot/"
    assert portal_source.declared_handlers("my_app", folder, "p", standalone=True)[0]["url"] == "/p/plot/"


APP = """
    from tethys_sdk.base import TethysAppBase

    class App(TethysAppBase):
        name = "My App"
        package = "my_app"
        index = "home"
        root_url = "my-app"
"""
CONTROLLERS = """
    from django.http import HttpResponse
    from tethys_sdk.routing import controller

    @controller
    def home(request):
        return HttpResponse()
"""
SDK = "from tethys_sdk.routing import handler\n"
MAPS = """
        def register_url_maps(self):
            from tethys_sdk.routing import url_map_maker
            UrlMap = url_map_maker(self.root_url)
            return [UrlMap("home", "my-app", "my_app.controllers.home"), %s]
"""
MAPPED = "controller='my_app.controllers.home', handler='my_app.handlers.h'"
PACKAGE: dict[str, str | None] = {"controllers": None, "controllers__INIT": CONTROLLERS}
# What the files of an app declare, and what Tethys then serves.
BOKEH: dict[str, tuple[dict[str, str | None], list[tuple[str, str]]]] = {
    "the index": (
        {"handlers": SDK + "@handler\ndef home(doc): ...", "controllers": None},
        [("home", "/apps/my-app/")],
    ),
    "the index with an address": (
        {"handlers": SDK + "@handler(name='home', url='start')\ndef h(doc): ...", "controllers": None},
        [("home", "/apps/my-app/")],
    ),
    "a submodule": (
        {**PACKAGE, "controllers__plots": SDK + "@handler\ndef a_river(doc): ..."},
        [("a_river", "/apps/my-app/a-river/")],
    ),
    "a submodule with a controller of its own": (
        {
            **PACKAGE,
            "controllers__plots": SDK
            + "def page(request, river_id): ...\n@handler(controller=page)\ndef river(doc): ...",
        },
        [("river", "/apps/my-app/plots/river/{river_id}/")],
    ),
    "a controller of another module": (
        {"handlers": SDK + "@handler(controller='my_app.controllers.home')\ndef river(doc): ..."},
        [("river", "/apps/my-app/river/")],
    ),
    "several addresses": (
        {"handlers": SDK + "@handler(url={'one': 'a', 'two': 'b/{c}'})\ndef h(doc): ..."},
        [("one", "/apps/my-app/a/"), ("two", "/apps/my-app/b/{c}/")],
    ),
    "another name": (
        {"handlers": "from tethys_sdk.routing import handler as page\n@page\ndef h(doc): ..."},
        [("h", "/apps/my-app/h/")],
    ),
    "another name given later": (
        {"handlers": SDK + "page = handler\n@page(name='x')\ndef h(doc): ..."},
        [("x", "/apps/my-app/h/")],
    ),
    "its module's name": (
        {"handlers": "import tethys_sdk.routing as routes\n@routes.handler\ndef h(doc): ..."},
        [("h", "/apps/my-app/h/")],
    ),
    "its module's whole name": (
        {"handlers": "import tethys_sdk.routing\n@tethys_sdk.routing.handler\ndef h(doc): ..."},
        [("h", "/apps/my-app/h/")],
    ),
    "everything imported": (
        {"handlers": "from tethys_sdk.routing import *\n@handler\ndef h(doc): ..."},
        [("h", "/apps/my-app/h/")],
    ),
    "a controller with a handler": (
        {
            "controllers": CONTROLLERS
            + "\n    @controller(_handler='my_app.handlers.h', _handler_type='bokeh')"
            + "\n    def a_page(request, a, b=1): ...\n",
            "handlers": "def h(doc): ...",
        },
        [("a_page", "/apps/my-app/a-page/{a}/"), ("a_page_1", "/apps/my-app/a-page/{a}/{b}/")],
    ),
    "a package called resources": (
        {
            **PACKAGE,
            "controllers__resources__INIT": "",
            "controllers__resources__plots": SDK + "@handler\ndef h(doc): ...",
        },
        [("h", "/apps/my-app/h/")],
    ),
    "a constant": (
        {
            "app": APP
            + MAPS % f"UrlMap(name='h', url=URL, {MAPPED}, handler_type=KIND)"
            + "\n    KIND = 'bokeh'\n    URL = 'my-app/x'\n",
            "handlers": "def h(doc): ...",
        },
        [("h", "/apps/my-app/x/")],
    ),
    "arguments by position": (
        {
            "app": APP
            + MAPS % "UrlMap('h', f'{self.root_url}/y', CONTROLLER, 'http', None, 'my_app.handlers.h', 'bokeh')"
            + "\n    CONTROLLER = 'my_app.controllers.home'\n",
            "handlers": "def h(doc): ...",
        },
        [("h", "/apps/my-app/y/")],
    ),
    "another library's decorator": (
        {"handlers": "class events:\n    handler = staticmethod(lambda f: f)\n@events.handler\ndef h(message): ..."},
        [],
    ),
    "another library's decorator, imported": (
        {
            "handlers": "from logging import handlers as events\nevents.handler = lambda f: f\n"
            "@events.handler\ndef h(message): ..."
        },
        [],
    ),
}


@pytest.mark.parametrize("case", BOKEH)
def test_bokeh_handlers_are_found_as_tethys_serves_them(tmp_path: Path, case: str) -> None:
    files, expected = BOKEH[case]
    folder = app_folder(tmp_path, **{"app": APP, "controllers": CONTROLLERS, **files})
    found = portal_source.declared_handlers("my_app", folder)
    assert sorted((handler["name"], handler["url"]) for handler in found) == expected


def test_what_an_extension_makes_cannot_be_told(tmp_path: Path) -> None:
    more = "        def register_url_maps(self):\n            return workflows.urls(self)\n"
    folder = app_folder(tmp_path, app="    from tethysext.other.urls import workflows\n" + APP + more)
    found = portal_source.declared_handlers("my_app", folder)
    assert found == []
    assert portal_look._bokeh_answer(found, ["Tethys cannot be started"])["bokeh"] == "unknown"


@pytest.mark.parametrize(
    ("files", "url"),
    [
        (
            {
                "app": APP
                + MAPS % f"UrlMap(name='h', url=BASE + '/x', {MAPPED}, handler_type=kinds.BOKEH)"
                + "\n    from . import kinds\n    BASE = 'my-app'\n",
                "kinds": "BOKEH = 'bokeh'",
            },
            "/apps/my-app/x/",
        ),
        ({"h": "from .deco import handler\n@handler(url='x')\ndef h(doc): ..."}, "/apps/my-app/x/"),
        ({"h": "from bus import handler\n@handler(url='x')\ndef h(doc): ..."}, None),
        ({"h": "import bus\n@bus.handler\ndef h(doc): ..."}, None),
        ({"h": "def handler(f): ...\n@handler\ndef h(doc): ..."}, None),
        ({"resources__h": SDK + "@handler\ndef h(doc): ..."}, None),
        ({"resources__INIT": "", "resources__h": SDK + "@handler\ndef h(doc): ..."}, "/apps/my-app/h/"),
        ({"h": "# handler_type\nUrlMap(name='h', url='x', controller='c', handler_type=KIND)"}, None),
        (
            {
                "h": SDK + "@handler(controller='my_app.pages.river.page')\ndef h(doc): ...",
                "pages__river": "def page(request, *, a, b=1, **c): ...",
            },
            "/apps/my-app/river/h/{a}/{c}/",
        ),
    ],
)
def test_handlers_in_the_files_of_an_app(tmp_path: Path, files: dict[str, str | None], url: str | None) -> None:
    folder = app_folder(tmp_path, **{"app": APP, **files})
    found = portal_source.declared_handlers("my_app", folder)
    assert [handler["url"] for handler in found][:1] == ([url] if url else [])


@given(st.binary(max_size=200))
def test_any_file_can_be_read_for_handlers(tmp_path_factory: pytest.TempPathFactory, source: bytes) -> None:
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_bytes(source)
    (folder / "handlers.py").write_bytes(b"handler\n" + source)
    assert isinstance(portal_source.declared_handlers("my_app", folder), list)


# --- unknown is not none --------------------------------------------------------------------------------------------

HANDLER = {"app": "a", "name": "n", "url": "/apps/a/n/"}


@pytest.mark.parametrize(
    ("handlers", "reasons", "bokeh", "problem"),
    [
        ([], [], [], None),
        ([HANDLER], [], [HANDLER], None),
        ([], ["it broke"], "unknown", "Whether an app has a Bokeh handler is not known: it broke."),
        ([HANDLER], ["x", "y"], [HANDLER], "There may be more Bokeh handlers than those listed: x; y."),
    ],
)
def test_bokeh_answer(handlers: list[dict[str, str]], reasons: list[str], bokeh: Any, problem: str | None) -> None:
    assert portal_look._bokeh_answer(handlers, reasons) == {"bokeh": bokeh, "bokeh_problem": problem}


@pytest.mark.parametrize(
    ("version", "handlers", "words"),
    [
        ("0.2.1", [HANDLER], None),
        ("1.0", [], None),
        ("0.2.0", [], "0.2.1 is the first version"),
        ("0.1.0rc1", "unknown", "0.2.1 is the first version"),
        (None, [HANDLER], "a has a Bokeh handler, but bokeh-django is not installed"),
        (None, "unknown", None),
    ],
)
def test_versions_that_misbehave_are_named(version: str | None, handlers: Any, words: str | None) -> None:
    said = portal_state.bokeh_warnings({"versions": {"bokeh_django": version}, "bokeh": handlers})
    assert len(said) == (1 if words else 0)
    assert words is None or words in said[0]


SECRET = "geheim&1234"


# --- files and rights -----------------------------------------------------------------------------------------------


def test_config_facts(tmp_path: Path) -> None:
    real = tmp_path / "real.yml"
    real.write_bytes(b"settings: {}\n")
    real.chmod(0o640)
    link = tmp_path / "portal_config.yml"
    link.symlink_to(real)
    facts = portal_state.config_facts(str(link))
    assert facts["exists"]
    assert facts["realpath"] == str(real)
    assert facts["mode"] == "0640"
    assert facts["owner"] == ME.name
    assert facts["others_can_read"] is False
    assert facts["sha256"] == hashlib.sha256(b"settings: {}\n").hexdigest()
    assert facts["problem"] is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b"settings:\n\tA: 1\n"), "line 2"),
        (lambda path: path.write_bytes(b"- a\n"), "line 1"),
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.symlink_to("/nowhere/at/all"), "is a link to /nowhere/at/all"),
    ],
)
def test_config_problems(tmp_path: Path, make: Any, words: str) -> None:
    path = tmp_path / "portal_config.yml"
    make(path)
    assert words in portal_state.config_facts(str(path))["problem"]


def test_others_can_read_only_where_every_folder_lets_them(tmp_path: Path) -> None:
    path = tmp_path / "closed" / "portal_config.yml"
    path.parent.mkdir(mode=0o750)
    path.write_text("{}", encoding="utf-8")
    path.chmod(0o644)
    assert portal_state.config_facts(str(path))["others_can_read"] is False


@pytest.mark.parametrize("kind", ["fifo", "device", "sparse", "kmsg", "socket"])
def test_a_config_that_is_no_ordinary_file_is_a_problem_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "portal_config.yml"
    started = time.monotonic()
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "sparse":
            with path.open("wb") as file:
                file.truncate(200 * 1024**3)
        elif kind == "socket":
            listening.bind(str(path))
        else:
            path.symlink_to({"device": "/dev/zero", "kmsg": "/proc/kmsg"}[kind])
        facts = portal_state.config_facts(str(path))
    assert time.monotonic() - started < 2
    assert facts["problem"].startswith(str(path))
    assert facts["sha256"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could read what its owner may not")
def test_a_config_that_links_to_a_file_of_roots_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("settings: {}\n", encoding="utf-8")
    secret.chmod(0o600)
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    nobody = accounts.account("nobody")
    assert nobody is not None
    os.chown(home, nobody.uid, nobody.gid)
    (home / "portal_config.yml").symlink_to(secret)
    facts = portal_state.config_facts(str(home / "portal_config.yml"), nobody)
    assert facts["problem"] == f"{home}/portal_config.yml cannot be read: Permission denied."
    assert facts["sha256"] is None


# What root is on NFS with root_squash: a user without rights to the files of others.
SQUASHED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown")
SQUASHED_LOOK = """
import json, sys
from ansible_collections.tethys.channels.plugins.module_utils import portal_state
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import owned_file
config = sys.argv[1] + "/portal_config.yml"
facts = portal_state.config_facts(config)
if facts["exists"]:
    with owned_file(config, 100) as file:
        file.rewrite(b"settings: {a: 1}", file.read())
print(json.dumps([portal_state.home_problem(sys.argv[1]), facts["exists"], facts["problem"]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(
    ("modes", "closed"),
    [((0o755, 0o711), None), ((0o755, 0o700), "home"), ((0o700, 0o755), "export")],
    ids=["others may enter", "a home of its owner's only", "a folder above it of its owner's only"],
)
def test_a_home_on_nfs_with_root_squash(tmp_path: Path, modes: tuple[int, int], closed: str | None) -> None:
    tmp_path.chmod(0o755)
    home = tmp_path / "export" / "home"
    home.mkdir(parents=True)
    config = home / "portal_config.yml"
    config.write_text("settings: {}\n", encoding="utf-8")
    config.chmod(0o600)
    nobody = accounts.account("nobody")
    assert nobody is not None
    for path, mode in ((config, 0o600), (home, modes[1]), (home.parent, modes[0])):
        os.chown(path, nobody.uid, nobody.gid)
        path.chmod(mode)
    child = subprocess.run(
        [*SQUASHED, sys.executable, "-c", SQUASHED_LOOK, str(home)], capture_output=True, text=True, check=True
    )
    folder = home if closed == "home" else home.parent
    problem = (
        f"root cannot enter {folder}, as on NFS with root_squash: let others enter it (`chmod o+x {folder}`)."
        if closed
        else None
    )
    assert json.loads(child.stdout) == [problem if closed == "export" else None, not closed, problem]
    assert config.read_text(encoding="utf-8") == ("settings: {}\n" if closed else "settings: {a: 1}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_config_that_its_folders_owner_may_not_read_is_read_as_the_portals_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    nobody, home = accounts.account("nobody"), tmp_path / "home"
    assert nobody is not None
    home.mkdir()
    os.chown(home, 4711, 4711)
    path = home / "portal_config.yml"
    path.write_text("settings: {}\n", encoding="utf-8")
    os.chown(path, nobody.uid, nobody.gid)
    path.chmod(0o600)
    assert portal_state.config_facts(str(path), nobody)["problem"] is None
    assert portal_state.config_facts(str(path))["problem"] == f"{path} cannot be read: Permission denied."


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody else could start anything as root")
@pytest.mark.parametrize(
    ("user", "web", "problem"),
    [
        (None, None, "No web server's user is found on this server, and {} is root's: nothing is started as root."),
        ("root", None, "The portal's apps would run as root."),
        ("toor", None, "The portal's apps would run as root."),
        (None, "root", "No web server's user is found on this server, and {} is root's: nothing is started as root."),
    ],
)
def test_nothing_is_started_as_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str | None, web: str | None, problem: str
) -> None:
    started = tmp_path / "started"
    prefix, home = tmp_path / "env", tmp_path / "home"
    for folder in (prefix / "bin", prefix / "lib" / "python3.12" / "site-packages", home):
        folder.mkdir(parents=True)
    (prefix / "bin" / "python").write_text(f"#!/bin/sh\ntouch {started}\n", encoding="utf-8")
    (prefix / "bin" / "python").chmod(0o755)
    root = accounts.account_of(0)
    monkeypatch.setattr(portal_user, "account", lambda name: root if name in ("root", "toor") else None)
    monkeypatch.setattr(portal_user, "nginx_user", lambda conf: web)
    monkeypatch.setattr(portal_user, "ROOT", 0)
    found = portal_state.look(str(prefix), str(home), user, 5)
    assert found["user_problem"] == problem.format(home)
    assert found["bokeh"] == "unknown"
    assert not started.exists()
    assert portal_user.runner_for(user, str(home)) is None
    with pytest.raises(portal_env.PortalEnded, match="not started as root"):
        portal_env.PortalProcess(str(prefix), str(home), root, portal_env.INSPECTION, {})
    assert not started.exists()


@pytest.mark.parametrize(
    ("names", "python", "found"),
    [
        (["python3.12"], "python3.12", "python3.12"),
        (["python3.9", "python3.12"], "python3.9", "python3.9"),
        (["python3.9", "python3.12"], None, "python3.12"),
        (["python3.13t"], "python3.13t", "python3.13t"),
        (["python3.12\ncommand=x", "python3.11"], None, "python3.11"),
        (["python3.12\ncommand=x"], None, None),
        (["python3", "perl5"], None, None),
        ([], None, None),
    ],
)
def test_site_packages_are_found_by_file_names(
    tmp_path: Path, names: list[str], python: str | None, found: str | None
) -> None:
    (tmp_path / "bin").mkdir()
    for name in names:
        (tmp_path / "lib" / name / "site-packages").mkdir(parents=True)
    if python:
        (tmp_path / "bin" / "python").symlink_to("python3")
        (tmp_path / "bin" / "python3").symlink_to(python)
    place = portal_env.site_packages_of(str(tmp_path))
    assert place == (str(tmp_path / "lib" / found / "site-packages") if found else None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_a_link_of_somebody_elses_is_no_site_packages(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.12").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "lib" / "python3.12" / "site-packages"
    link.symlink_to(tmp_path / "elsewhere")
    assert portal_env.site_packages_of(str(tmp_path)) == str(link)
    os.lchown(link, 4711, 4711)
    assert portal_env.site_packages_of(str(tmp_path)) is None
    os.chown(tmp_path, 4711, 4711)
    assert portal_env.site_packages_of(str(tmp_path)) == str(link)


def test_what_root_determines_is_never_taken_from_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = {"user": "root", "group": "root", "site_packages": "/\ncommand=x", "python": "/x", "prefix_owner": None}
    for key, value in {**root, "access": [], "config": {}, "warnings": [], "seconds": 1}.items():
        with pytest.raises(boundary.Rejected, match=f"the key {key}, which"):
            boundary.accept(json.dumps({key: value}), facts.LOOK_ANSWER)


def test_leftovers_take_their_time_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda *_args: False)
    assert portal_state.unwritable([str(tmp_path)], -1) == []
    assert [row["count"] for row in portal_state.unwritable([str(tmp_path)], 10)] == [2]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (["/x\ny"], facts.BLOCKED),
        ([1], facts.BLOCKED),
        ([{"folder": "/a", "uid": -1, "count": 1, "example": "x"}], facts.LEFTOVERS),
        ([{"folder": "/a", "uid": 1, "count": 1, "example": "x", "owner": "root"}], facts.LEFTOVERS),
    ],
)
def test_an_answer_of_a_child_that_is_not_listed_is_none(answer: Any, kind: Any) -> None:
    assert portal_state.as_user(ME, lambda: answer, kind, 10) is None


def test_a_child_that_hangs_is_no_answer() -> None:
    started = time.monotonic()
    assert portal_state.as_user(ME, lambda: time.sleep(60), facts.BLOCKED, 0.2) is None
    assert time.monotonic() - started < 2.2


@pytest.mark.parametrize(
    ("prefix", "home", "words"),
    [("none", "home", "There is no folder"), ("empty", "home", "is not a Python environment")],
)
def test_look_reports_what_is_not_there(tmp_path: Path, prefix: str, home: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "home").mkdir()
    portal = portal_state.look(str(tmp_path / prefix), str(tmp_path / home), ME.name, 5)
    assert words in portal["prefix_problem"]
    assert portal["home_problem"] is None
    assert portal["bokeh"] == "unknown"
    assert words in portal["bokeh_problem"]
    assert portal["versions"]["tethys_platform"] is None


def test_look_reports_an_unknown_user(tmp_path: Path) -> None:
    portal = portal_state.look(str(tmp_path), str(tmp_path), "no-such-user", 5)
    assert portal["user_problem"] == "There is no user no-such-user on this server."
    assert portal["access"] == []


def test_answers_before_a_timeout_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"versions": {"tethys_platform": "4.6.1", "bokeh_django": None}}
    run = portal_env.PortalRun({**answer, "settings": {"database": None}}, "It did not finish.", ["odd script"])
    monkeypatch.setattr(portal_env, "PortalJob", lambda *_args: Mock(result=lambda: run))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("", encoding="utf-8")
    (tmp_path / "bin" / "python").chmod(0o755)
    (tmp_path / "lib" / "python3.12" / "site-packages").mkdir(parents=True)
    portal = portal_state.look(str(tmp_path), str(tmp_path), ME.name, 5)
    assert portal["start_problem"] == "It did not finish."
    assert portal["prefix_problem"] is None
    assert portal["warnings"] == ["odd script"]
    assert portal["bokeh_problem"] == "Whether an app has a Bokeh handler is not known: It did not finish."


@pytest.mark.parametrize("handlers", ["unknown", [{"app": "a", "name": "wave", "url": "/apps/a/"}]])
def test_the_bokeh_problem_says_why_tethys_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handlers: Any
) -> None:
    """And not only that it did not: the administrator has to know of the timeout."""
    late = "did not finish within 60 seconds (raise preflight_timeout)"
    problem = f"There may be more: {portal_look.NO_END}."
    run = portal_env.PortalRun({"bokeh": handlers, "bokeh_problem": problem}, f"It {late}.", [])
    given: list[Any] = []
    monkeypatch.setattr(portal_env, "PortalJob", lambda *args: given.append(args[-2]) or Mock(result=lambda: run))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("", encoding="utf-8")
    (tmp_path / "bin" / "python").chmod(0o755)
    portal = portal_state.look(str(tmp_path), str(tmp_path), ME.name, 60, if_late=" (raise preflight_timeout)")
    assert given == [" (raise preflight_timeout)"]
    assert portal["bokeh_problem"] == f"There may be more: It {late}."


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask for another user")
def test_access_names_what_is_in_the_way(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    nobody = accounts.account("nobody")
    assert nobody is not None
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    (closed / "inner" / "file").write_text("", encoding="utf-8")
    closed.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(closed / "inner" / "file")
    open_file = tmp_path / "open"
    open_file.write_text("", encoding="utf-8")
    open_file.chmod(0o644)
    needs = [
        (str(tmp_path), "traverse"),
        (str(tmp_path), "write"),
        (str(closed / "inner" / "file"), "read"),
        (str(link), "read"),
        (str(open_file), "read"),
        (str(open_file), "write"),
    ]
    rows = portal_state.access(needs, nobody)
    assert [(row["ok"], row["blocked_by"]) for row in rows] == [
        (True, None),
        (False, str(tmp_path)),
        (False, str(closed)),
        (False, str(closed)),
        (True, None),
        (False, str(open_file)),
    ]
    assert [row["owner"] for row in rows] == [None, "root", "root", "root", None, "root"]
    assert all(row["ok"] for row in portal_state.access(needs, accounts.account_of(0)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask for another user")
def test_what_another_user_left_behind_is_counted_by_owner(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    nobody = accounts.account("nobody")
    assert nobody is not None
    data, other = tmp_path / "workspaces", tmp_path / "media"
    (data / "app").mkdir(parents=True)
    other.mkdir()
    for name in ("of_root", "own", "open"):
        (data / "app" / name).write_text("", encoding="utf-8")
    (data / "app" / "open").chmod(0o666)
    os.chown(data / "app" / "own", nobody.uid, nobody.gid)
    (other / "link").symlink_to(data / "app" / "of_root")
    found = portal_state.leftovers([str(data), str(other), str(tmp_path / "missing")], nobody)
    row = {"folder": str(data), "real": str(data), "uid": 0, "owner": "root", "count": 2, "example": str(data / "app")}
    assert found == [row]
    assert portal_state.leftovers([str(data)], accounts.account_of(0)) == []


def test_so_many_files_are_looked_at_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_state, "MOST_ENTRIES", 3)
    monkeypatch.setattr(os, "access", lambda *_args: False)
    for number in range(9):
        (tmp_path / str(number)).touch()
    assert [row["count"] for row in portal_state.unwritable([str(tmp_path)], 10)] == [3]


def test_a_folder_that_cannot_be_entered_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_path: Path) -> bool:
        raise PermissionError

    for name in ("exists", "is_dir", "is_symlink"):
        monkeypatch.setattr(Path, name, closed)
    assert portal_state.prefix_problem("/home/alice/env") == "There is no folder /home/alice/env."
    assert portal_state.home_problem("/home/alice/tethys") == "There is no folder /home/alice/tethys."
    assert portal_state.config_facts("/home/alice/tethys/portal_config.yml")["exists"] is False
    assert portal_state.wanted("/home/alice/env", "/home/alice/tethys", None) == []


def test_what_does_not_exist_yet_is_not_asked_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = str(tmp_path / "env")
    assert portal_state.wanted(env, str(home), None) == [(str(home), "traverse"), (str(home), "write")]
    (home / "media").mkdir()
    settings = {"database": {"engine": "django.db.backends.postgresql", "name": "tethys"}, "media_root": None}
    assert portal_state.wanted(env, str(home), settings) == [
        (str(home), "traverse"),
        (str(home / "media"), "write"),
    ]


# --- a real portal --------------------------------------------------------------------------------------------------

REAL = os.environ.get("TETHYS_TEST_PYTHON")
real = pytest.mark.portal
HANDLERS = """
    from tethys_sdk.routing import handler

    @handler(url="wave/{year}")
    def wave(doc): ...
"""


def environment(folder: Path) -> tuple[Path, Path]:
    """An environment that starts the real portal's Python and finds our app, and an empty TETHYS_HOME."""
    prefix, home = folder / "env", folder / "home"
    scripts = prefix / "etc" / "conda" / "activate.d"
    for each in (prefix / "bin", prefix / "lib" / "python3.12" / "site-packages", scripts, home):
        each.mkdir(parents=True)
    (prefix / "bin" / "python").write_text(f'#!/bin/sh\nexec {REAL} "$@"\n', encoding="utf-8")
    (prefix / "bin" / "python").chmod(0o755)
    (scripts / "apps.sh").write_text(f"export PYTHONPATH={folder}\n", encoding="utf-8")
    return prefix, home


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database; to make one takes longer than all the rest of a test."""
    folder = tmp_path_factory.mktemp("database")
    prefix, home = environment(folder)
    (folder / "migration.py").write_text(
        "import django\nfrom django.core.management import call_command\n\n\n"
        "def main(params, say, commands):\n    django.setup()\n    call_command('migrate', verbosity=0)\n",
        encoding="utf-8",
    )
    sys.path.insert(0, str(folder))
    try:
        problem = portal_env.run_in_portal(str(prefix), str(home), ME, "migration", {}, 120, facts.LOOK_ANSWER).problem
    finally:
        sys.path.remove(str(folder))
    assert problem is None
    return home / "tethys_platform.sqlite"


@pytest.fixture
def portal(tmp_path: Path, database: Path) -> Portal:
    """Inspects a real Tethys with an app of ours in it."""
    prefix, home = environment(tmp_path)

    def look(settings: str = "", migrated: bool = True, **files: str | None) -> dict[str, Any]:
        app_folder(tmp_path, **{"app": APP, "controllers": CONTROLLERS, "handlers": HANDLERS, **files})
        common = f"SECRET_KEY: {SECRET}\nALLOWED_HOSTS: [portal.example.org]\n"
        config = "settings:\n" + textwrap.indent(common + settings, "  ")
        (home / "portal_config.yml").write_text(config, encoding="utf-8")
        if migrated:
            shutil.copy(database, home)
        before = snapshot(tmp_path)
        found = portal_state.look(str(prefix), str(home), ME.name, 60)
        assert snapshot(tmp_path) == before, "A look changes nothing."
        assert SECRET not in repr(found)
        return found

    return look


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.rglob("*")
        if path.is_file()
    }


@real
@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ("", "/apps/my-app/wave/{year}/"),
        ("PREFIX_URL: /on/here", "/on/here/apps/my-app/wave/{year}/"),
        ("TETHYS_PORTAL_CONFIG: {MULTIPLE_APP_MODE: false, STANDALONE_APP: my_app}", "/wave/{year}/"),
    ],
)
def test_real_handlers(portal: Portal, settings: str, url: str) -> None:
    found = portal(settings)
    assert found["bokeh"] == [{"app": "my_app", "name": "wave", "url": url}]
    assert found["bokeh_problem"] is None
    assert found["database_problem"] is None
    assert found["app_problems"] == []
    assert found["apps"] == [{"package": "my_app", "name": "My App", "root_url": "my-app"}]
    assert found["settings"]["allowed_hosts"] == ["portal.example.org"]
    assert found["settings"]["layer_backend"] == "channels.layers.InMemoryChannelLayer"
    assert re.match(r"\d+\.\d+", found["versions"]["tethys_platform"])
    assert isinstance(found["lifecycle_consumer"], bool)


@real
@pytest.mark.parametrize("case", BOKEH)
def test_bokeh_handlers_are_served_as_listed(portal: Portal, case: str) -> None:
    files, expected = BOKEH[case]
    found = portal(**{"handlers": "", **files})
    assert [(handler["name"], handler["url"]) for handler in found["bokeh"]] == expected
    assert found["app_problems"] == []
    assert found["bokeh_problem"] is None


@real
def test_real_portal_without_bokeh(portal: Portal) -> None:
    found = portal(handlers="")
    assert found["bokeh"] == []
    assert found["bokeh_problem"] is None


@real
def test_real_portal_that_serves_another_app(portal: Portal) -> None:
    found = portal("TETHYS_PORTAL_CONFIG: {MULTIPLE_APP_MODE: false, STANDALONE_APP: other}")
    assert found["bokeh"] == []
    assert found["bokeh_problem"] is None


@real
@pytest.mark.parametrize(
    ("handlers", "listed"),
    [
        (HANDLERS, True),
        ("", False),
    ],
)
def test_real_portal_without_tables(portal: Portal, handlers: str, listed: bool) -> None:
    found = portal(migrated=False, handlers=handlers)
    assert "does not exist" in found["database_problem"]
    assert "does not exist" in found["bokeh_problem"]
    wave = {"app": "my_app", "name": "wave", "url": "/apps/my-app/wave/{year}/"}
    assert found["bokeh"] == ([wave] if listed else "unknown")


@real
@pytest.mark.parametrize(
    ("files", "listed", "words"),
    [
        ({"handlers": HANDLERS + "\n    import nothing_like_it\n"}, True, "nothing_like_it"),
        ({"handlers": "def ("}, False, "SyntaxError"),
        ({"handlers": "", "controllers": CONTROLLERS + "\n    1 / 0\n"}, False, "ZeroDivisionError"),
        ({"handlers": "", "app": APP + "\n    raise RuntimeError('no')\n"}, False, "RuntimeError: no"),
        ({"handlers": "", "app": "# nothing here\n"}, False, "no app class"),
        ({"app": APP + f"\n    raise RuntimeError('{SECRET}')\n"}, True, "RuntimeError: ********"),
    ],
)
def test_real_portal_with_a_broken_app(portal: Portal, files: dict[str, str], listed: bool, words: str) -> None:
    found = portal(**files)
    assert words in found["app_problems"][0]["problem"]
    assert found["app_problems"][0]["package"] == "my_app"
    assert words in found["bokeh_problem"]
    assert bool(found["bokeh"] != "unknown") is listed


@real
@pytest.mark.parametrize(
    ("code", "words"),
    [("import sys; sys.exit(3)", "SystemExit"), ("import os; os._exit(3)", "ended with status 3")],
)
def test_real_portal_with_an_app_that_leaves(portal: Portal, code: str, words: str) -> None:
    found = portal(controllers=code)
    assert words in found["bokeh_problem"]
    assert [handler["name"] for handler in found["bokeh"]] == ["wave"]


@real
def test_real_portal_that_cannot_start(portal: Portal) -> None:
    found = portal("INSTALLED_APPS: [nonsense.app]", migrated=False)
    assert "No module named 'nonsense'" in found["start_problem"]
    assert [handler["name"] for handler in found["bokeh"]] == ["wave"]
    assert found["bokeh_problem"].startswith("There may be more")


@real
@pytest.mark.parametrize(
    "code",
    [
        "from bokeh.models import *\nfrom bokeh.palettes import Category10\nSlider, Category10[10]\n",
        # What Tethys was to get later: only the repetition starts.
        "from tethys_apps.base import bokeh_handler\nbokeh_handler.Document | None\n",
    ],
)
def test_real_portal_with_a_django_app_that_uses_bokeh(portal: Portal, tmp_path: Path, code: str) -> None:
    (tmp_path / "with_bokeh").mkdir()
    (tmp_path / "with_bokeh" / "__init__.py").write_text(code, encoding="utf-8")
    found = portal("INSTALLED_APPS: [with_bokeh]")
    assert (found["settings_problem"], found["start_problem"], found["app_problems"]) == (None, None, [])
    assert [handler["name"] for handler in found["bokeh"]] == ["wave"]
    assert found["bokeh_problem"] is None


@real
def test_real_app_that_uses_bokeh_by_tethys(portal: Portal) -> None:
    uses = "\n    from tethys_apps.base import bokeh_handler\n    bokeh_handler.Document | None\n"
    found = portal(handlers=HANDLERS + uses)
    assert found["app_problems"] == []
    assert found["bokeh_problem"] is None


@real
def test_real_app_that_writes_to_the_database(portal: Portal) -> None:
    writes = "\n    from tethys_apps.models import TethysApp\n    TethysApp.objects.create(name='x', package='x')\n"
    found = portal(controllers=CONTROLLERS + writes)
    assert "nothing may be written" in found["app_problems"][0]["problem"]
