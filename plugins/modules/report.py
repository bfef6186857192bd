# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: report
short_description: Evaluate the results of a run, and return the lines that it prints
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Returns the lines that P(tethys.channels.layer_check#role), P(tethys.channels.fleet_check#role) and
    P(tethys.channels.tethys_docker#role) print. It runs on the controller and writes nothing.
options:
  of:
    description:
      - What is evaluated.
      - With V(delivery), O(probe). It fails if messages did not arrive.
      - With V(layer), the layer of one portal. It does not fail for a problem.
      - With V(portals), delivery between O(portals). It does not fail for a problem.
    type: str
    choices: [delivery, layer, portals]
    required: true
  probe:
    description: What M(tethys.channels.layer_probe) returned as C(probe).
    type: dict
  changed_steps:
    description:
      - What a run can change, each with whether this one did. With it, the lines end with that and the next step.
    type: dict
  unchanged:
    description: Whether the server is unchanged since the last verified run.
    type: bool
    default: false
  decided:
    description:
      - The plan, the variables and the packages that a check is evaluated by, from M(tethys.channels.decide).
    type: dict
  health:
    description: What M(tethys.channels.layer_health) returned as C(health).
    type: dict
  site:
    description:
      - What tasks of C(tethys.channels.site) returned in check mode, by C(redis_settings), C(container),
        C(portal_config) and C(nginx_upstream).
    type: dict
  portals:
    description: The portals by their names in the inventory.
    type: list
    elements: str
seealso:
  - module: tethys.channels.layer_health
  - module: tethys.channels.layer_probe
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Fail if delivery is incomplete
  tethys.channels.report:
    of: delivery
    probe: "{{ found.probe }}"
  register: report
"""

RETURN = r"""
lines:
  description: What was found.
  returned: success
  type: list
  elements: str
problems:
  description: What is wrong, each a sentence.
  returned: with O(of=layer) or O(of=portals)
  type: list
  elements: str
ok:
  description: Whether there is no problem.
  returned: with O(of=layer) or O(of=portals)
  type: bool
status:
  description: The same as data, for M(tethys.channels.status_files).
  returned: with O(of=layer)
  type: dict
"""
