# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No message, warning or difference of a module acts on a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible.module_utils import basic
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule, shown

MODULES = Path(__file__).parents[4] / "plugins" / "modules"
ESCAPE = "\x1b]0;title\x07\x9b2J"


def test_its_sentences_print_and_its_data_stays() -> None:
    result = {
        "msg": f"a{ESCAPE}\nfatal: all is well",
        "probe": {"problems": [f"b{ESCAPE}"], "warnings": ["c\u202e"], "start_problem": "\x1b", "password": "\x1b"},
        "rows": [{"problem": "\x9b", "name": "\x9b"}],
        "diff": [{"before": "one: \x1b[2J\n\ttwo\n", "after": "three\n", "before_header": "/x\x1b"}],
        "changed": True,
        "problem": None,
    }
    assert shown(result) == {
        "msg": "a\\x1b]0;title\\x07\\x9b2J fatal: all is well",
        "probe": {
            "problems": ["b\\x1b]0;title\\x07\\x9b2J"], "warnings": ["c\\u202e"], "start_problem": "\\x1b",
            "password": "\x1b",
        },
        "rows": [{"problem": "\\x9b", "name": "\x9b"}],
        "diff": [{"before": "one: \\x1b[2J\n\ttwo\n", "after": "three\n", "before_header": "/x\\x1b"}],
        "changed": True,
        "problem": None,
    }  # fmt: skip


@pytest.mark.parametrize("end", ["exit_json", "fail_json"])
def test_each_end_of_a_module(run_module: Callable[..., dict[str, Any]], end: str) -> None:
    def main() -> None:
        getattr(AnsibleModule(argument_spec={}), end)(msg=ESCAPE, diff={"before": f"{ESCAPE}\n"})

    found = run_module(main)
    assert found["msg"].isprintable()
    assert found["diff"]["before"] == "\\x1b]0;title\\x07\\x9b2J\n"


def test_its_warnings(run_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _self, text: told.append(text))

    def main() -> None:
        module = AnsibleModule(argument_spec={})
        module.warn(ESCAPE)
        module.exit_json()

    run_module(main)
    assert [text.isprintable() for text in told] == [True]


def test_every_module_is_one() -> None:
    for path in MODULES.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r"^from ansible\.module_utils\.basic import .*AnsibleModule", source, re.MULTILINE), (
            path.name
        )
