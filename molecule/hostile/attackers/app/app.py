# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app that attacks whoever imports it."""

from __future__ import annotations

import hostile_play
from tethys_sdk.base import TethysAppBase


class App(TethysAppBase):
    """The app's entry in the portal."""

    name = "Hostile"
    package = "hostile"
    index = "home"
    root_url = "hostile"


hostile_play.play("app")
