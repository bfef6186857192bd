# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: tethys_docker_files
short_description: Render the files of a Tethys Docker project
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Returns the text of the files that P(tethys.channels.tethys_docker#role) writes, and CHANNEL_LAYERS with the Redis
    password. It runs on the controller and writes nothing.
options:
  docker:
    description: What M(tethys.channels.tethys_docker_info) returned as C(docker).
    type: dict
    required: true
  redis:
    description: What M(tethys.channels.redis_settings) returned. Empty if it has not run yet.
    type: dict
    default: {}
  portal:
    description: What M(tethys.channels.portal_info) returned as C(portal).
    type: dict
    default: {}
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Render files and CHANNEL_LAYERS
  tethys.channels.tethys_docker_files:
    docker: "{{ found.docker }}"
  register: files
  no_log: true
"""

RETURN = r"""
override:
  description: The text of the compose file. Empty if the folder has none.
  returned: always
  type: str
dockerfile:
  description: The block in the Dockerfile.
  returned: always
  type: str
layers:
  description: CHANNEL_LAYERS, with the password.
  returned: always
  type: dict
"""
