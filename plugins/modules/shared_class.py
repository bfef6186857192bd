# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: shared_class
short_description: Find out whether portals that share a Redis need the core class
version_added: 0.10.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Portals of different classes of the channel layer do not receive each other's messages. Where one of them needs the
    core class, those without a class in the inventory get it as well.
  - It goes by the variables of all portals, by what this run has found on their servers, and by what
    M(tethys.channels.redis_login) has returned on those of the Redis. One task with C(run_once) is enough.
  - The role C(tethys.channels.preflight) uses it. It takes no options.
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
  description: Why all of them have the core class, empty where none needs it.
  returned: success
  type: str
"""
