# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: status_files
short_description: Render the results of check as files for a monitoring system
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Returns the text of files with the status of all hosts that P(tethys.channels.layer_check#role) has reported on in
    the same run. It runs on the controller and writes nothing.
options:
  hosts:
    description: The hosts by their names in the inventory. Hosts without a status are left out.
    type: list
    elements: str
    required: true
  json:
    description: The path of a file with a JSON list of all statuses. If it is empty, there is no such file.
    type: str
    default: ""
  prometheus:
    description: The path of a file in Prometheus's text format, for the textfile collector of node_exporter.
    type: str
    default: ""
  html:
    description: The path of a self-contained HTML page.
    type: str
    default: ""
seealso:
  - module: tethys.channels.layer_health
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Render one page of all portals
  tethys.channels.status_files:
    hosts: "{{ ansible_play_hosts_all }}"
    html: /var/www/html/portals.html
  register: rendered
"""

RETURN = r"""
files:
  description: The files, each with C(path) and C(content). Empty if no host has a status.
  returned: always
  type: list
  elements: dict
  sample: []
"""
