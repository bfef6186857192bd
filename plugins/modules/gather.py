# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: gather
short_description: Gather facts about a portal and its server
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Checks the variables of the collection before it connects to the server. If any are invalid, the module fails and
    lists every reason.
  - Then runs C(tethys.channels.server_info) and, if required, C(tethys.channels.layer_packages) without installing
    anything, C(tethys.channels.redis_ping) and C(tethys.channels.sentinel_info).
  - Used by the role C(tethys.channels.preflight). It has no options. It reads the variables of that role and of the
    roles after it.
options: {}
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.attributes.read_only
attributes:
  platform:
    description: Needs what the modules need that it runs.
"""

EXAMPLES = r"""
- name: Gather facts about the server and the portal
  tethys.channels.gather:
  register: __preflight_found
"""

RETURN = r"""
portal:
  description: What C(tethys.channels.portal_info) returns of the portal.
  returned: for a portal
  type: dict
server:
  description: What C(tethys.channels.server_info) found on the server.
  returned: success
  type: dict
packages:
  description: What C(tethys.channels.layer_packages) would install, or why it cannot in RV(ignore:msg).
  returned: for a portal
  type: dict
redis:
  description: What the Redis of O(ignore:tethys_layer_hosts) answered.
  returned: where there is one
  type: dict
sentinel:
  description: What Sentinel answered on this host of a shared Redis.
  returned: where Sentinel watches it
  type: dict
recorded:
  description: Whether a later run may skip what has not changed since this one.
  returned: for a portal
  type: bool
"""
