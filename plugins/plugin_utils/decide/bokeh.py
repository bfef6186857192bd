# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many processes there may be, once it is known which apps use Bokeh, and what goes to one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject, sentence
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal
from ansible_collections.tethys.channels.plugins.plugin_utils.processes import asgi_processes, bokeh_pins

# The problems that depend on what is known of Bokeh.
BOKEH_CODES = ("bokeh-needs-one-process", "bokeh-facts-invalid")


class Bokeh(Subject):
    """What is known of Bokeh, and what follows for the processes."""

    @property
    def bokeh(self) -> Any:
        """What is known of Bokeh, as `asgi_processes` takes it."""
        if self.asked["tethys_bokeh"] != "auto":
            return self.asked["tethys_bokeh"]
        # Where nobody could look, the reason for that is told already.
        return self.portal.get("bokeh", "unknown") if self.could_look else "not_in_use"

    @property
    def pins(self) -> list[str]:
        """The paths that nginx is to send to one process."""
        return bokeh_pins(self.bokeh) if self.apart and self.asked["tethys_bokeh_policy"] == "pin" else []

    def processes(self) -> int | None:
        """The number of processes, once Bokeh is known."""
        asked, bokeh = self.asked, self.bokeh
        try:
            return asgi_processes(
                asked["tethys_asgi_processes"],
                bokeh=bokeh,
                policy=asked["tethys_bokeh_policy"],
                backend=asked["tethys_layer_backend"],
                layout=asked["tethys_asgi_layout"],
            )
        except Refusal as refusal:
            reason = self.portal.get("bokeh_problem") if bokeh == "unknown" or isinstance(bokeh, list) else None
            why = f" (Why it is not known: {sentence(reason)})" if reason else ""
            if reason and bokeh != "unknown":
                why = f" ({reason.rstrip('.')}.)"
            for problem in refusal.problems:
                told = problem.text + (why if problem.code in BOKEH_CODES else "")
                self.problems.append(replace(problem, text=told))
            return None
