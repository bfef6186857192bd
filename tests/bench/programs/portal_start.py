# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One start of Tethys with its apps, as an inspection of a portal does it. Runs in the portal's own Python."""

from __future__ import annotations

from importlib import import_module

import_module("django").setup()
# With a bare argv Tethys leaves the harvest to the caller.
import_module("tethys_apps.harvester").SingletonHarvester().harvest()
