# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of this name does the work; this is its documentation."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: message
short_description: Show a message, or fail with it, if a condition is true
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Fails with a message if O(fails) is true, and shows it if O(shows) is true. Otherwise, the task is C(ok) and prints
    nothing. With C(when), M(ansible.builtin.fail) and M(ansible.builtin.debug) would be counted as skipped.
  - Used by the roles of this collection. It runs on the controller and changes nothing.
options:
  msg:
    description:
      - The message, as a string or a list of strings.
      - It is always evaluated, so variables that may be undefined need a default.
    type: raw
    required: true
  fails:
    description: Whether the task fails with the message.
    type: bool
    default: false
  shows:
    description: Whether the message is shown.
    type: bool
    default: false
seealso:
  - module: ansible.builtin.debug
  - module: ansible.builtin.fail
extends_documentation_fragment:
  - tethys.channels.attributes.controller
"""

EXAMPLES = r"""
- name: Check the Redis login
  tethys.channels.message:
    msg: "{{ login.problems }}"
    fails: "{{ login.problems | length > 0 }}"
"""

RETURN = r"""
msg:
  description: The message, if it is shown or the task fails.
  returned: if O(fails) or O(shows) is true
  type: raw
"""
