# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A chat that shows whether messages cross ASGI processes."""

from __future__ import annotations

from tethys_sdk.base import TethysAppBase


class App(TethysAppBase):
    """The app's entry in the portal."""

    name = "Channel Chat"
    description = "What one client says, every client hears."
    package = "channelchat"
    index = "home"
    icon = ""
    root_url = "channelchat"
    color = "#2c3e50"
    tags = "channels"
    enable_feedback = False
    feedback_emails: list[str] = []
