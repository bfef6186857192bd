# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: shared_class
short_description: Determine whether portals that share a Redis need the core class
version_added: 0.10.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Portals with different layer classes do not receive each other's messages. If one portal needs the core class, all
    portals without a class in the inventory get it too.
  - Uses the variables of all portals, the facts that this run has gathered on their servers, and the results of
    M(tethys.channels.redis_login) on the Redis servers. One task with C(run_once) is enough.
  - Used by the role C(tethys.channels.preflight). It has no options.
options: {}
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Find what needs the core class
  tethys.channels.shared_class:
  register: __preflight_class
  run_once: true
"""

RETURN = r"""
reason:
  description: The reason why all of them get the core class. Empty if none of them needs it.
  returned: success
  type: str
"""
