# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tethys_docker_plan
short_description: Decide what a run does in a Tethys Docker project, or list every reason to refuse it
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Makes the plan of P(tethys.channels.tethys_docker#role) from the variables of that role, or fails and lists every
    reason to refuse the run. It runs on the controller.
options:
  docker:
    description:
      - What M(tethys.channels.tethys_docker_info) returned as C(docker). Without it, only the variables are validated.
      - Without O(portal) as well, nothing on the server is refused yet.
    type: dict
  portal:
    description:
      - What M(tethys.channels.portal_info) returned as C(portal), or why it returned nothing as C(bokeh_problem).
    type: dict
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Validate variables
  tethys.channels.tethys_docker_plan:
  register: plan
"""

RETURN = r"""
cautions:
  description: Warnings, each a sentence.
  returned: success
  type: list
  elements: str
announce:
  description: What users of the portal notice of the run, each a sentence.
  returned: success
  type: list
  elements: str
"""
