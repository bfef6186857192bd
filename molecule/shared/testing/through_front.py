# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a server: find the site of each case, decide how to query it, and verify delivery through it.

A playbook run does the same in several times as long. Cases come as JSON on the command line, their answers on standard
output.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.front_check import Front, FrontCheck
from ansible_collections.tethys.channels.plugins.module_utils.nginx_processes import Processes
from ansible_collections.tethys.channels.plugins.module_utils.problem import codes, texts
from ansible_collections.tethys.channels.plugins.module_utils.server import front
from ansible_collections.tethys.channels.plugins.module_utils.web_socket import status_of
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import front as decide
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import Place

MODULE = "ansible_collections.tethys.channels.plugins.modules.layer_probe"
# Each starts the portal's Python.
AT_ONCE = 2
NAME = "portal.example.org"


def look(option: Any, port: int) -> dict[str, Any]:
    """What the delivery check says before anything is sent, which takes no start of the portal's Python."""
    asked = Front.given(option, NAME, "")
    check = FrontCheck(asked, time.monotonic() + 60)
    if check.look(status_of(asked.place._replace(address="127.0.0.1", port=port, tls=False), "/", 20)):
        check.open_sockets("x", 2, 60)
    check.close()
    return {"codes": codes(check.problems), "problems": texts(check.problems), "front": check.answer()}


def probe(case: dict[str, Any]) -> dict[str, Any]:
    """What the delivery check says of one case."""
    sends, port = case.pop("sends"), case["ports"][0]
    found = front.find(Processes(), case.pop("upstream"), [case["home"]])
    case["front"] = decide.step({"fronts": found}, Place("127.0.0.1", port, ""), [])
    if not sends:
        return look(case["front"], port)
    run = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": case}),
        capture_output=True,
        text=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(run.stdout) if run.stdout else {"msg": run.stderr}
    return answer.get("probe") or answer


if __name__ == "__main__":
    cases = json.loads(sys.argv[1])
    with ThreadPoolExecutor(AT_ONCE) as pool:
        print(json.dumps(dict(zip(cases, pool.map(probe, cases.values())))))
