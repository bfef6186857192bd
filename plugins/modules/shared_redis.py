# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: shared_redis
short_description: Determine how a portal reaches the shared Redis
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Combines the results of C(tethys.channels.redis_login) on the hosts of the shared Redis, and runs
    C(tethys.channels.redis_ping) on the portal's server.
  - The result contains passwords, so the task needs C(no_log). Used by the role C(tethys.channels.preflight). It has no
    options.
options: {}
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.attributes.read_only
attributes:
  platform:
    description: Needs what the modules need that it runs.
"""

EXAMPLES = r"""
- name: Read how the portal reaches the shared Redis
  tethys.channels.shared_redis:
  register: __preflight_shared
"""

RETURN = r"""
hosts:
  description: The hosts of the channel layer, as channels_redis takes them.
  returned: success
  type: list
  elements: dict
endpoints:
  description: The same as C(tethys.channels.redis_ping) takes them.
  returned: success
  type: list
  elements: dict
authorities:
  description: The certificates of the CAs by which the portal verifies these hosts.
  returned: success
  type: str
missing:
  description: The hosts without a login.
  returned: success
  type: list
  elements: str
unreached:
  description: The hosts that Ansible does not reach, each with the reason.
  returned: success
  type: list
  elements: str
redis:
  description: What C(tethys.channels.redis_ping) returned.
  returned: where all hosts have a login, unless a dry run would change them
  type: dict
"""
