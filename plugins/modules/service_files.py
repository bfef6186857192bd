#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set the files and folders of the portal's service to the expected state, in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
module: service_files
short_description: Create and correct several files and folders in one task
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Writes files atomically and creates folders, with their owner and mode, in the given order. With a separate task for
    each of them, every run would open one connection for each.
  - Replaces a symbolic link at the path of a file. Does not change the link's target.
seealso:
  - module: tethys.channels.asgi_roll
extends_documentation_fragment:
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Shows what would be written, also where the folder for it does not exist yet.
  diff_mode:
    support: full
    description: Shows each file that is written before and after, and why a folder is put right.
  platform:
    description: Any POSIX system, as root.
options:
  files:
    description: The files and folders.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Its path.
        type: path
        required: true
      content:
        description: What is in the file. Without it, O(files[].path) is a folder.
        type: str
      owner:
        description: Its owner.
        type: str
        default: root
      group:
        description: Its group; without it, any group is right.
        type: str
      mode:
        description: Its mode as octal digits.
        type: str
        required: true
      logs:
        description:
          - Whether it is a folder in which root writes logs. Links and FIFOs of others and hard links are deleted.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Have the run folder, at every boot too
  tethys.channels.service_files:
    files:
      - path: /etc/tmpfiles.d/tethys.conf
        content: "d /run/tethys 0755 www-data - -\n"
        mode: "0644"
      - path: /run/tethys
        owner: www-data
        mode: "0755"
"""

RETURN = r"""
written:
  description: The paths that were changed.
  returned: always
  type: list
  elements: str
  sample: [/etc/tmpfiles.d/tethys_channels.conf]
"""

from ansible_collections.tethys.channels.plugins.module_utils.files.expected_files import OPTIONS, NotPut, put_all_right
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS}},
        supports_check_mode=True,
    )
    try:
        written, diff = put_all_right(module.params["files"], dry=module.check_mode)
    except NotPut as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(written), written=written, diff=diff)


if __name__ == "__main__":
    main()
