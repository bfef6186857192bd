# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a server's programs, apps and containers are called: no text of a plan or page acts on a terminal."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.action import report
from ansible_collections.tethys.channels.plugins.plugin_utils.display import PRINTED, shown
from ansible_collections.tethys.channels.tests.unit.plugins.action.run_action import run_action
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.samples import plan

PLUGINS = Path(__file__).parents[4] / "plugins"
EVIL = "\x1b]0;pwned\x07\x9b2J\u202e\nfatal: [portal]: "
HOME = "/var/lib/tethys"
ASKED = samples.asked(tethys_asgi_processes=2, tethys_asgi_layout="socket_per_process")
OPTIONS = samples.options()


def poisoned(value: Any) -> Any:
    """A value with the sequences in each of its texts."""
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, dict):
        return {key: poisoned(held) for key, held in value.items()}
    return [poisoned(each) for each in value] if isinstance(value, list) else value


def texts(result: dict[str, Any]) -> list[str]:
    """Every text that a task prints."""
    found: list[str] = []
    left = [result.get(key) for key in PRINTED]
    while left:
        value = left.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            left += list(value.values())
        elif value:
            left += list(value)
    return found


def found() -> dict[str, Any]:
    """A server on which nothing is as it should be, and each of whose parts is named by somebody else."""
    server = {
        "root": True,
        "docker": {"installed": True, "running": True, "problem": "x"},
        "container": None,
        "redis_port_container": {"id": "0123", "name": "cache", "image": "redis:5", "redis": {"foreign_key": "x"}},
        "supervisor": {"installed": True, "running": True, "config": "/etc/supervisord.conf", "include": ["/x/*"]},
        "programs": [
            {"path": "/x/asgi.conf", "managed": False, "user": "root", "others": ["program:cron"], "numprocs": "1",
             "socket": "tcp://127.0.0.1:8000", "layout": "shared_socket"}
        ],
        "processes": [],
        "listeners": [{"port": 8000, "address": "loopback", "pid": 1, "user": "alice", "command": "http.server"}],
        "state": [],
        "nginx": {"problem": "nginx says", "running": True},
        "trust": {"files": 1, "open": [
            {"path": "/x/y", "use": "program", "target": "", "writers": [
                {"path": "/x", "how": "owner", "name": "alice", "who": ["alice"], "link": "", "fix": "chown root /x"}]}
        ]},
    }  # fmt: skip
    portal = {
        "user": "www-data",
        "versions": {"tethys_platform": "4.6"},
        "config": {"path": f"{HOME}/portal_config.yml", "problem": "line 3", "owner": "www-data"},
        "settings_problem": "the database",
        "bokeh": "unknown",
        "bokeh_problem": "an app said",
        "settings": {},
        "access": [{"path": "/srv/a", "need": "write", "ok": False, "blocked_by": "/srv/a", "owner": "bob"}],
        "leftovers": [{"folder": "/srv/w", "owner": "root", "uid": 0, "count": 2, "example": "/srv/w/x"}],
        "lifecycle_consumer": False,
    }
    return {"server": server, "portal": portal, "packages": {"msg": "pip said"}, "redis": {}}


def test_a_plan() -> None:
    seen = found()
    for part in ("portal", "packages"):
        seen[part] = poisoned(seen[part])
    server = seen["server"]
    for part in ("docker", "redis_port_container", "listeners", "nginx", "trust"):
        server[part] = poisoned(server[part])
    # These keys are words that decide.
    server["listeners"][0]["address"] = "loopback"
    row = server["trust"]["open"][0]
    row["use"], row["writers"][0]["how"] = "program", "owner"
    for row in seen["portal"]["access"]:
        row["need"] = "write"
    seen["portal"]["leftovers"][0]["owner"] = "root"
    seen["portal"]["bokeh"] = "unknown"
    before = copy.deepcopy(seen)
    result = shown(plan(ASKED, OPTIONS, seen))
    printed = texts(result)
    assert len(printed) > 8
    assert any("pwned" in text for text in printed)
    assert [text for text in printed if not text.isprintable()] == []
    assert seen == before


def test_the_page_of_a_check_and_of_a_proof() -> None:
    probe = {"provable": False, "reason": f"why{EVIL}", "processes": [{"pid": 1}], "backend": f"b{EVIL}",
             "versions": {}, "warnings": [EVIL], "problems": [EVIL], "sent": 0, "received": 0, "delivery_seconds": None,
             "codes": [{"code": "message-not-received", "subject": "1"}]}  # fmt: skip
    for ok in (True, False):
        said, _calls = run_action(report, args={"of": "delivery", "probe": {**probe, "ok": ok}})
        assert [text for text in said["lines" if ok else "msg"] if not text.isprintable()] == []
    health = {
        "redis": [], "differs": [{"path": f"/x{EVIL}", "why": "is a link"}],
        "supervisor": {"running": True, "version": EVIL, "socket": EVIL},
        "processes": [
            {"name": f"asgi{EVIL}", "state": "FATAL", "pid": 0, "problem": EVIL, "log": f"/x{EVIL}", "frozen": False,
             "outdated": None, "before_redis": False, "group": "asgi", "user": EVIL, "age_seconds": 1,
             "memory_bytes": 1, "connections": 1}
        ],
    }  # fmt: skip
    found = {
        "portal": {},
        "server": {"state": ["processes.json"]},
        "redis": "none",
        "processes": 1,
        "ports": [8000],
        "layout": "shared_socket",
        "portal_name": "",
        "watch": True,
        "watch_runs": True,
        "managed": True,
        "trust": {"lines": [EVIL], "problems": [EVIL]},
    }
    decided = {"plan": found, "asked": {"backend": "x", "container_name": "c"}, "packages": {}}
    args = {"of": "layer", "decided": decided, "health": health, "probe": probe, "site": {}}
    page, _calls = run_action(report, args=args)
    assert page["status"]["processes"][0]["name"].isprintable()
    assert [text for text in [*page["lines"], *page["problems"]] if not text.isprintable()] == []
    assert len(page["problems"]) > 3


def test_data_stays() -> None:
    assert shown({"refusals": ["\x1b"], "pins": ["^/apps/\x1b"], "user": "a\x1b"}) == {
        "refusals": ["\\x1b"], "pins": ["^/apps/\x1b"], "user": "a\x1b"
    }  # fmt: skip


@pytest.mark.parametrize("key", ["refusals", "problems"])
def test_each_problem_ends_with_its_code(key: str) -> None:
    codes = [{"code": "port-in-use", "subject": "8000"}, {"code": "not-root", "subject": "ansible_become"}]
    printed = shown({key: ["One.", "Two\x1b."], "codes": codes, "warnings": ["Three."]})
    assert printed[key] == ["One. [port-in-use]", "Two\\x1b. [not-root]"]
    assert printed["warnings"] == ["Three."]
    with pytest.raises(ValueError, match="zip"):
        shown({key: ["One."], "codes": codes})


@pytest.mark.parametrize("name", ["action/gather", "action/decide", "action/tethys_docker_plan", "action/report"])
def test_every_plugin_whose_texts_are_printed(name: str) -> None:
    assert "shown(" in (PLUGINS / f"{name}.py").read_text(encoding="utf-8")
