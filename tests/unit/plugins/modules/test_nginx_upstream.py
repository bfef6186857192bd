# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module passes to the library, and what it returns of the answer."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import NginxError
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Change
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import alone
from ansible_collections.tethys.channels.plugins.modules import nginx_upstream

Module = Callable[..., "dict[str, Any]"]


class FakeNginx:
    """Records the calls."""

    asked: tuple[Any, ...] = ()
    answer = Change(True, "/etc/nginx/sites-available/tethys", "a\n", "b\n")
    error = ""

    def __init__(self, upstream: str, state_dir: str, portal_name: str) -> None:
        self.which = (upstream, state_dir)

    def put(self, *arguments: Any, dry: bool) -> Change:
        return self.note("put", *arguments, dry)

    def give_back(self, *arguments: Any, dry: bool) -> Change:
        return self.note("give_back", *arguments, dry)

    def note(self, *asked: Any) -> Change:
        FakeNginx.asked = (*self.which, *asked)
        if self.error:
            raise NginxError(self.error)
        return self.answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeNginx]:
    monkeypatch.setattr(nginx_upstream, "Nginx", FakeNginx)
    monkeypatch.setattr(FakeNginx, "error", "")
    return FakeNginx


def test_present(run_module: Module, fake: type[FakeNginx]) -> None:
    result = run_module(nginx_upstream.main, ports=[8000, "8001"], down=[8001], pins=["^/a"])
    assert fake.asked == ("channels-backend", "/etc/tethys_channels", "put", [8000, 8001], [8001], ["^/a"], False)
    assert result == {"changed": True, "path": "/etc/nginx/sites-available/tethys"}


def test_absent_in_check_mode_with_a_diff(run_module: Module, fake: type[FakeNginx]) -> None:
    result = run_module(
        nginx_upstream.main, check=True, name="portal", state="absent", port=8000, state_dir="/x", _ansible_diff=True
    )
    assert fake.asked == ("portal", "/x", "give_back", 8000, True)
    path = "/etc/nginx/sites-available/tethys"
    assert result["diff"] == {"before": "a\n", "after": "b\n", "before_header": path, "after_header": path}


@pytest.mark.parametrize(
    ("arguments", "missing"), [({}, "ports"), ({"state": "absent", "ports": [8000]}, "port"), ({"state": "x"}, "state")]
)
def test_what_it_needs(run_module: Module, fake: type[FakeNginx], arguments: dict[str, Any], missing: str) -> None:
    fake.asked = ()
    result = run_module(nginx_upstream.main, **arguments)
    assert result["failed"]
    assert missing in result["msg"]
    assert fake.asked == ()


def test_an_error_is_the_message(run_module: Module, fake: type[FakeNginx], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake, "error", "nginx is not valid: correct that.")
    result = run_module(nginx_upstream.main, ports=[8000])
    assert (result["failed"], result["msg"]) == (True, "nginx is not valid: correct that.")


def test_another_run_is_waited_for_and_not_for_ever(
    run_module: Module, fake: type[FakeNginx], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.asked = ()
    monkeypatch.setattr(nginx_upstream, "alone", functools.partial(alone, seconds=0))
    with alone(tmp_path):
        result = run_module(nginx_upstream.main, ports=[8000], state_dir=str(tmp_path))
    assert (result["failed"], fake.asked) == (True, ())
    assert result["msg"].startswith("Another run is changing this server")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "a\n", ("", "a\n")),
        ("a\n", "a\n", ("a\n", "a\n")),
        (
            "1\n2\n3\n4\nx\n5\n6\n7\n8\n",
            "1\n2\n3\n4\ny\nz\n5\n6\n7\n8\n",
            ("2\n3\n4\nx\n5\n6\n7\n", "2\n3\n4\ny\nz\n5\n6\n7\n"),
        ),
        ("1\n2\n3\n4\n4\n5\n", "1\n2\n3\n4\n5\n", ("2\n3\n4\n4\n5\n", "2\n3\n4\n5\n")),
    ],
)
def test_the_difference_shows_what_changes(before: str, after: str, shown: tuple[str, str]) -> None:
    """The rest of the site's file may contain secrets."""
    assert nginx_upstream.changed_lines(before, after) == shown
