# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: decide
short_description: Decide what a run does, or list every reason to refuse it
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Makes the plan of a run from the variables and from the facts of C(tethys.channels.gather), or fails and lists every
    reason to refuse the run.
  - Used by the role C(tethys.channels.preflight). It reads the variables of that role and of the roles after it, and
    the result that is registered as C(__preflight_found).
options:
  compares_all:
    description: Whether the roles compare everything, although the server is unchanged since the last verified run.
    type: bool
    default: false
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Decide
  tethys.channels.decide:
  register: __preflight_plan
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
trust:
  description: The trust report, as C(lines) to print and as C(problems).
  returned: success
  type: dict
"""
