# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attributes that the documentation of several modules has alike; a module writes only what differs."""

from __future__ import annotations


class ModuleDocFragment:
    """Ansible's way to the fragments."""

    # Of a module that runs on a server.
    DOCUMENTATION = r"""
attributes:
  platform:
    support: full
    platforms: posix
    description: Any POSIX system.
"""

    # Of an action that runs no module.
    CONTROLLER = r"""
attributes:
  check_mode:
    support: full
    description: Changes nothing, so it does the same in check mode.
  diff_mode:
    support: none
    description: There is nothing to compare.
  platform:
    support: full
    platforms: posix
    description: Runs on the controller.
"""

    # Of a module that changes nothing.
    READ_ONLY = r"""
attributes:
  check_mode:
    support: full
    description: Only reads, so it does the same in check mode.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""
