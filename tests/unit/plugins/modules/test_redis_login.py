# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The login that a portal gets for a Redis on another server."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import asgi_record
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import rights, users
from ansible_collections.tethys.channels.plugins.modules import redis_login


@pytest.fixture
def login(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    monkeypatch.setattr(
        asgi_record, "groups_lost_at", lambda *given, here: 7.5 if (*given, here) == ("r", "docker", False) else 0
    )

    def run(**given: Any) -> dict[str, Any]:
        found: dict[str, Any] = run_module(redis_login.main, directory=str(tmp_path), container="r", **given)["login"]
        return found

    return run


def test_nothing_is_kept_yet(login: Callable[..., dict[str, Any]]) -> None:
    assert login() == {"username": "tethys", "password": None, "ca": None, "started_at": 7.5, "classes": []}


def test_the_login(login: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "ca.crt").write_text("authority", encoding="utf-8")
    kept = {"password": "p", "admin_password": "a", "previous": ["sum"]}
    (tmp_path / "credentials.json").write_text(json.dumps(kept), encoding="utf-8")
    lines = users(kept, rights("asgi", ["core"]))
    (tmp_path / "redis" / "redis-tls.conf").write_text("\n".join(lines), encoding="utf-8")
    found = {"username": "tethys", "password": "p", "ca": "authority", "started_at": 7.5, "classes": ["core"]}
    assert login() == found


def test_the_start_by_the_controllers_clock(login: Callable[..., dict[str, Any]]) -> None:
    # This server's clock is 20 s ahead.
    assert login(controller_time=time.time() - 20)["started_at"] == pytest.approx(7.5 - 20, abs=5)


def test_a_redis_that_does_not_run(login: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi_record, "groups_lost_at", lambda *_given, here: 0)
    assert login(controller_time=time.time() - 20)["started_at"] == 0


# --- for servers that copy each other --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (None, {"password": None, "peer_password": None}),
        # One that stood alone.
        ({"password": "p", "admin_password": "a"}, {"password": "p", "peer_password": None}),
        (
            {"password": "p", "admin_password": "a", "peer_password": "q", "previous": ["sum"]},
            {"password": "p", "peer_password": "q"},
        ),
    ],
)
def test_what_peers_are_told(
    login: Callable[..., dict[str, Any]], tmp_path: Path, kept: dict[str, Any] | None, told: dict[str, Any]
) -> None:
    path = tmp_path / "credentials.json"
    if kept:
        path.write_text(json.dumps(kept), encoding="utf-8")
    found = login(for_peers=True)
    assert found["kept"] == told
    assert found["password"] == told["password"]
    assert set(found) == {"username", "password", "ca", "started_at", "classes", "kept", "offered"}


def test_new_passwords_are_offered_and_kept_nowhere(login: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text(json.dumps({"password": "p", "peer_password": "q"}), encoding="utf-8")
    offered = [login(for_peers=True)["offered"] for _again in range(2)]
    words = [each[name] for each in offered for name in ("password", "peer_password")]
    assert len({*words, "p", "q"}) == 6
    # In Redis's and Sentinel's configuration they are words without quotes.
    assert all(re.fullmatch("[A-Za-z0-9_-]{40,}", word) for word in words)
    assert [path.name for path in tmp_path.iterdir()] == ["credentials.json"]
    assert json.loads((tmp_path / "credentials.json").read_text(encoding="utf-8")) == {
        "password": "p",
        "peer_password": "q",
    }


def test_nobody_else_is_told_of_peers(login: Callable[..., dict[str, Any]]) -> None:
    assert set(login()) == {"username", "password", "ca", "started_at", "classes"}
