# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option that says which of the server's Supervisors runs the portal."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragment `tethys.channels.supervisor_config`."""

    DOCUMENTATION = r"""
options:
  supervisor_config:
    description:
      - The configuration with which the Supervisor runs that the portal is under. Without it, the module finds the
        Supervisor that runs the portal, and otherwise uses that of the distribution.
    type: path
"""
