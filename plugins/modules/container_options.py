# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_options
short_description: Render the options of the Redis or the Sentinel container
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Returns the options with which P(tethys.channels.redis_container#role) runs its container in Docker or Podman. It
    runs on the controller and runs nothing.
options:
  step:
    description: What the role does in this run, as M(tethys.channels.decide) returned it.
    type: dict
    required: true
  settings:
    description: What M(tethys.channels.redis_settings) returned.
    type: dict
    required: true
  start_wait:
    description: The number of seconds that a Redis that Sentinel watches may take to start.
    type: int
    default: 0
  sentinel:
    description: What M(tethys.channels.redis_sentinel) returned. With it, the options are those of Sentinel.
    type: dict
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Render the container's options
  tethys.channels.container_options:
    step: "{{ plan.redis_container }}"
    settings: "{{ settings }}"
  register: options
  no_log: true
"""

RETURN = r"""
docker:
  description: The options of C(community.docker.docker_container).
  returned: with Docker
  type: dict
podman:
  description: The options of C(podman run).
  returned: with Podman
  type: list
  elements: str
command:
  description: The words after the image.
  returned: with Podman
  type: list
  elements: str
digest:
  description: The label of a container with the current configuration.
  returned: for Redis
  type: str
"""
