# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the delivery check saw, in sentences, and which of its problems follow from no other."""

from __future__ import annotations

from collections.abc import Sized

from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import Probe
from ansible_collections.tethys.channels.plugins.plugin_utils.check import processes
from ansible_collections.tethys.channels.plugins.plugin_utils.check.report import Report
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem

# What layer_probe finds at a port on which no process accepts.
PORT_CODES = ("port-closed", "port-not-accepting")


def _counted(processes: Sized) -> str:
    """Return how many processes there are, in words."""
    return f"{len(processes)} process{'' if len(processes) == 1 else 'es'}"


def delivery(probe: Probe) -> list[str]:
    """Return what the delivery check saw, in sentences."""
    processes = probe["processes"]
    if not probe["provable"]:
        why = {
            "in_memory": "one process on the in-memory layer receives only its own messages",
            "no_consumer": "Tethys before 4.4 has no consumer to verify it through",
            "not_started": "the delivery check could not start",
        }.get(str(probe["reason"]), str(probe["reason"]))
        pids = ", ".join(str(process["pid"]) for process in processes)
        there = f" ({pids})" if pids else ""
        answer = "answers" if len(processes) == 1 else "answer"
        return [f"{_counted(processes)} {answer}{there}. Delivery was not verified: {why}."]
    if not probe["sent"]:
        return [f"The check's WebSockets reached none of {_counted(processes)}, so delivery was not verified."]
    holders = [str(process["pid"]) for process in processes if process.get("sockets", 1)]
    line = f"A message reached {probe['received']} of {probe['sent']} WebSockets"
    line += f" in {_counted(holders)} ({', '.join(holders)})"
    if probe["delivery_seconds"] is not None:
        line += f" in {probe['delivery_seconds']:.3f} s"
    lines = [line + ". Another process sent it, using the portal's own settings."]
    idle = probe.get("idle")
    if idle:
        lines.append(
            f"After {idle['seconds']} s of silence, {idle['alive']} of {idle['of']} WebSockets were still open,"
            f" and {idle['received']} received the next message."
        )
    return lines


def through_front(probe: Probe) -> list[str]:
    """Return what was seen through the web server in front."""
    front = probe.get("front")
    if not front:
        is_told = probe["provable"] and probe["sent"]
        return ["Delivery through a web server in front of the portal was not checked."] if is_told else []
    if front["page"] is None:
        return [f"{front['through']} does not answer."]
    line = f"Through {front['through']}: {front['at']} answers HTTP {front['page']}"
    if front["sockets"]:
        line += f", and a message reached {front['received']} of {front['sockets']} WebSockets"
    return [f"{line}."]


def probed(probe: Probe) -> list[Problem]:
    """Return the problems that `layer_probe` found."""
    return [Problem(row["code"], row["subject"], text) for row, text in zip(probe["codes"], probe["problems"])]


def judge(report: Report) -> None:
    """Report what the delivery check found wrong, unless it follows from another problem."""
    without_redis = any(server["problem"] for server in report.health["redis"]) and not report.untouched
    down_ports = {str(port) for port in processes.down_ports(report)}
    frozen = {str(row["pid"]) for row in report.rows if row["frozen"]}
    for problem in probed(report.probe):
        follows = (
            # Without Redis nothing is delivered, and yet a stranger in the portal's place is no consequence of it.
            (without_redis and problem.code != "process-of-stranger")
            or (problem.code in PORT_CODES and problem.subject in down_ports)
            or (problem.code == "process-stopped" and problem.subject in frozen)
            or (problem.code == "settings-differ" and report.would_change("portal_config"))
        )
        if not follows:
            report.problems.append(problem)
