# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every subject of a decision starts from: the inputs and the facts."""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import Kept, Place, kept, place
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    APART,
    MAX_PROCESSES,
    MEMORY_BACKEND,
    Facts,
    Found,
    Inputs,
    names_of,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number


class Subject(Found):
    """One subject of a decision, with what is found about it."""

    def __init__(self, inputs: Inputs, facts: Facts) -> None:
        super().__init__()
        self.inputs, self.facts = inputs, facts
        self.asked, self.options, self.values = inputs.asked, inputs.options, inputs.values
        self.portal, self.server, self.packages = facts.portal, facts.server, facts.packages
        self.given_redis = facts.redis

    @property
    def goal(self) -> str:
        """What the run is for: `site`, `check`, `restart` or `remove`."""
        return str(self.options.get("goal", "site"))

    @property
    def redis(self) -> str:
        """Where the layer's Redis comes from: `container`, `shared`, `given` or `none`."""
        if self.asked["tethys_layer_backend"] == MEMORY_BACKEND:
            return "none"
        if self.asked.get("tethys_layer_redis"):
            return "shared"
        return "given" if self.asked["tethys_layer_hosts"] else "container"

    @property
    def names(self) -> PortalNames:
        """The names of the portal's own files, folders, groups and units."""
        return names_of(self.asked)

    @property
    def is_root(self) -> bool:
        """Whether the tasks run as root."""
        return bool(self.server.get("root"))

    @property
    def could_look(self) -> bool:
        """Whether the portal's Python could be started at all, so that what it did not say means something."""
        return bool(self.server.get("root")) and not any(
            self.portal.get(problem) for problem in ("prefix_problem", "home_problem", "user_problem")
        )

    @property
    def apart(self) -> bool:
        """Return whether each process is a separate program with a separate port."""
        return bool(self.asked["tethys_asgi_layout"] == APART)

    @property
    def place(self) -> Place:
        """Where the processes listen; with a port for each, the first of them."""
        return place(self.asked, self.server)

    @property
    def kept(self) -> Kept:
        """What the processes get besides what every portal has."""
        return kept(self.values, self.server)

    @property
    def ports(self) -> list[int]:
        """The ports of the processes; one for all of them, or one for each."""
        first = self.place.port
        return [first + number for number in range(self.wanted if self.apart else 1)]

    @property
    def wanted(self) -> int:
        """The number of processes asked for, whether it is refused or not."""
        return min(whole_number(self.asked["tethys_asgi_processes"]) or 1, MAX_PROCESSES)

    @property
    def gapless(self) -> bool:
        """Whether somebody serves while a process is replaced."""
        return self.apart and self.wanted > 1


def sentence(text: str | None) -> str:
    """Return a text that ends as a sentence does."""
    text = (text or "").strip()
    return text if text.endswith((".", ")", "?")) else text + "."
