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
      - The file with the variables of the processes besides those that every portal has. Its text is made on the
        server, of conda's variables and those that it has already, or, where it does not exist,
        of O(environment.program).
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
        description: The program file that is adopted.
        type: path
        required: true
      prefix:
        description: The conda environment.
        type: path
        required: true
      given:
        description: The variables in JSON that replace those that it has already.
        type: str
      portal_name:
        description: As O(portal_name), whose groups are searched for in O(environment.program).
        type: str
        default: ""
"""
