# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the page of `check` is written from, and the problems that are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import Health, Probe, ProcessHealth
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem

SITE = "tethys.channels.site"
RESTART = "tethys.channels.restart"


class Wanted(TypedDict):
    """The variables that it is evaluated by; `backend` is the class that the portal has now."""

    backend: str
    container_name: str
    image: str


class SiteStep(TypedDict, total=False):
    """What a task of `site` returned in check mode; `moves` is of the packages."""

    changed: bool
    skipped: bool
    failed: bool
    msg: str
    moves: list[dict[str, str]]


class Seen(TypedDict, total=False):
    """What a page is written from; `site` has what the steps of a `site` run would do."""

    plan: Plan
    asked: Wanted
    health: Health
    probe: Probe
    site: dict[str, SiteStep]


class Report:
    """What was seen of one host, and what is wrong there."""

    def __init__(self, seen: Seen) -> None:
        self.plan, self.asked = seen["plan"], seen["asked"]
        self.portal, self.server = self.plan["portal"], self.plan["server"]
        self.health, self.probe = seen["health"], seen["probe"]
        # A step that did not run is missing, or skipped.
        site: dict[str, SiteStep] = seen.get("site") or {}
        self.site = {name: step for name, step in site.items() if step and not step.get("skipped")}
        self.rows: Sequence[ProcessHealth] = self.health["processes"]
        self.problems: list[Problem] = []
        self.changes: list[str] = []

    def report(self, code: str, subject: str, text: str) -> None:
        """Add something that is wrong."""
        self.problems.append(Problem(code, subject, text))

    @property
    def untouched(self) -> bool:
        """Whether no run of `site` has come as far as the processes."""
        return not self.plan["managed"] and "processes.json" not in (self.server.get("state") or [])

    @property
    def engine_answers(self) -> bool:
        """Whether the engine that the container is to be in answers."""
        is_podman = self.plan["engine"] == "podman"
        engine = self.server.get("podman") if is_podman else self.server.get("docker")
        return bool(engine and engine.get("running"))

    def would_change(self, step: str) -> bool:
        """Whether a step of a `site` run would change something."""
        return bool(self.site.get(step, {}).get("changed"))
