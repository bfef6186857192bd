# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option of modules that write or compare the file with the processes' variables."""

from __future__ import annotations


class ModuleDocFragment:
    """Ansible's way to the fragment."""

    DOCUMENTATION = r"""
options:
  environment:
    description:
      - The file with the additional environment variables of the processes. The module writes it on the server, from
        conda's variables and those that are already in the file. If the file does not exist, the module takes the
        variables from O(environment.program).
    type: dict
    suboptions:
      path:
        description: Its path.
        type: path
        required: true
      group:
        description: The group that may read it.
        type: str
        required: true
      program:
        description: The program file that is replaced.
        type: path
        required: true
      prefix:
        description: The conda environment.
        type: path
        required: true
      given:
        description: The variables that replace the existing ones, in JSON.
        type: str
      portal_name:
        description: As O(portal_name). The module searches O(environment.program) for the groups of this portal.
        type: str
        default: ""
"""
