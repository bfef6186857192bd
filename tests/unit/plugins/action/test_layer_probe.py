# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The delivery check through an address that the controller requests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.tethys.channels.plugins.action import layer_probe
from ansible_collections.tethys.channels.tests.unit.plugins.fake_front import FakeFront

PROBE = {"ok": True, "sent": 3, "received": 3, "idle": None, "problems": [], "codes": [], "warnings": ["One."]}


@pytest.fixture
def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFront]:
    monkeypatch.setattr(ActionBase, "run", lambda *_args: {})
    monkeypatch.setattr(layer_probe, "ARRIVAL_SECONDS", 0.3)
    found = FakeFront(tmp_path)
    yield found
    found.close()


def run(fake: FakeFront, probe: dict[str, Any] | None = None, says: int = 1, **arguments: Any) -> Any:
    """Run the action; meanwhile the module sends so many messages. Returns the answer and the module's arguments."""
    asked: list[dict[str, Any]] = []

    def module(**given: Any) -> dict[str, Any]:
        assert not gc.isenabled()
        asked.append(given["module_args"])
        for number in range(says):
            fake.say(f"token {number}", *fake.gets)
        return {"changed": False, "probe": {**PROBE, **(probe or {})}}

    given = {"prefix": "/env", "home": "/home", "url": f"http://127.0.0.1:{fake.place.port}/", **arguments}
    action = layer_probe.ActionModule(
        task=Mock(args=given, async_val=0), connection=Mock(), play_context=Mock(), loader=Mock(), templar=Mock(),
        shared_loader_obj=Mock(),
    )  # fmt: skip
    action._execute_module = module
    answer = action.run(None, {})
    return answer.get("probe"), asked


def test_an_address_that_is_right(front: FakeFront) -> None:
    probe, [asked] = run(front)
    assert probe["ok"], probe["problems"]
    assert probe["warnings"] == ["One."]
    at = f"http://127.0.0.1:{front.place.port}"
    assert probe["front"] == {"at": f"{at}/", "through": at, "page": 200, "sockets": 6, "received": 6}
    assert "url" not in asked
    # The module sends to the group in which the controller's WebSockets are.
    assert {request.split()[1] for request in front.requests} == {
        "/",
        f"/ws/app-lifecycle/layer_probe_{asked['word']}/",
    }


def test_one_that_leads_to_another_portal(front: FakeFront) -> None:
    front.gets = [1]
    probe, _asked = run(front)
    assert not probe["ok"]
    assert [row["code"] for row in probe["codes"]] == ["front-message-not-received"]
    assert "arrived on 1 of 6 WebSockets through http://127.0.0.1" in probe["problems"][0]


def test_one_that_does_not_answer(front: FakeFront) -> None:
    front.close()
    probe, [_asked] = run(front)
    assert [row["code"] for row in probe["codes"]] == ["front-unreachable"]


@pytest.mark.parametrize(("says", "ok"), [(2, True), (1, False)])
def test_after_silence_another_message_has_to_arrive(front: FakeFront, says: int, ok: bool) -> None:
    probe, _asked = run(front, {"idle": {"seconds": 7}}, says=says)
    assert probe["ok"] is ok
    assert all("after 7 seconds of silence" in text for text in probe["problems"])


@pytest.mark.parametrize("probe", [{"sent": 0, "received": 0}, {"received": 2, "ok": False, "problems": ["x"]}])
def test_what_the_processes_did_not_get_cannot_arrive(front: FakeFront, probe: dict[str, Any]) -> None:
    found, _asked = run(front, probe, says=0)
    assert found["problems"] == probe.get("problems", [])


def test_without_an_address_the_module_is_all(front: FakeFront) -> None:
    probe, [asked] = run(front, url="", word=None)
    assert probe == PROBE
    assert asked == {"prefix": "/env", "home": "/home", "word": None}
    assert front.requests == []


@pytest.mark.parametrize("more", [{"url": "https://a:b@c/"}, {"front": {"port": 80}}, {"among": ["a", "b"]}])
def test_what_does_not_go_together(front: FakeFront, more: dict[str, Any]) -> None:
    with pytest.raises(AnsibleActionFail, match="and neither front nor among"):
        run(front, **more)
