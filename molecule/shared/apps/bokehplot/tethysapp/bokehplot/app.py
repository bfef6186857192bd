# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plot that keeps a session in one ASGI process, as every Bokeh handler does."""

from __future__ import annotations

from tethys_sdk.base import TethysAppBase


class App(TethysAppBase):
    """The app's entry in the portal."""

    name = "Bokeh Plot"
    description = "A sine wave whose frequency is set by a slider."
    package = "bokehplot"
    index = "home"
    icon = ""
    root_url = "bokehplot"
    color = "#16a085"
    tags = "bokeh"
    enable_feedback = False
    feedback_emails: list[str] = []
