# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: portal_conflicts
short_description: Fail if two portals on one server have something in common that they must not share
version_added: 0.10.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Fails if two portals on one server have the same name, C(TETHYS_HOME) or port in the inventory. One of them is in
    O(portals). The other one is in O(portals) too, or in the inventory's group C(portals).
  - Used by the role C(tethys.channels.preflight). It reads the variables of the portals on the controller.
options:
  portals:
    description: The portals by their names in the inventory.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Check that a server's portals differ
  tethys.channels.portal_conflicts:
    portals: "{{ groups['portals'] }}"
"""

RETURN = r"""
msg:
  description: One sentence for each pair of portals with a conflict.
  returned: failure
  type: list
  elements: str
"""
