#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set the number of processes in the program file that `tethys gen asgi_service` wrote."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tethys_docker_program
short_description: Set the number of ASGI processes in a portal's Supervisor program
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Changes C(numprocs) in the program file that C(tethys gen asgi_service) wrote for the portal, and no other byte.
  - Intended for a portal in Tethys Docker, which stores its program file on the portal's volume and does not write it
    again after the first setup. The module runs in the container through M(tethys.channels.tethys_docker_exec).
  - Stores the previous value before the first change, so that it can be restored.
seealso:
  - module: tethys.channels.tethys_docker_info
extends_documentation_fragment:
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: full
    description: Shows the line that changes.
options:
  path:
    description: The program file.
    type: path
    required: true
  state:
    description:
      - With V(present), the module sets the number. With V(restored), it restores the earlier number and deletes the
        record.
    type: str
    choices: [present, restored]
    default: present
  processes:
    description: The number of processes. Required with O(state=present).
    type: int
  notes:
    description: The path at which the module stores the previous value.
    type: path
    required: true
  fresh:
    description:
      - Whether the portal was set up with the variables of this collection, so there is no previous value. With
        O(state=restored), it then gets one process.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Run two processes
  tethys.channels.tethys_docker_program:
    path: /var/lib/tethys_persist/asgi_supervisord.conf
    notes: /var/lib/tethys_persist/.tethys_channels/before.json
    processes: 2
"""

RETURN = r"""
before:
  description: The previous number in the file.
  returned: always
  type: int
  sample: 1
processes:
  description: The new number in the file.
  returned: always
  type: int
  sample: 3
fresh:
  description: Whether there was no previous value before the first change.
  returned: always
  type: bool
  sample: false
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Mapping

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_state import portal_program

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "state": {"type": "str", "choices": ["present", "restored"], "default": "present"},
    "processes": {"type": "int"},
    "notes": {"type": "path", "required": True},
    "fresh": {"type": "bool", "default": False},
}


def write_notes(path: Path, notes: Mapping[str, Any]) -> None:
    """Write what the file had before the first change."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    atomic_file.remove_leftovers(str(path))
    atomic_file.replace(str(path), (json.dumps(notes) + "\n").encode())


def remove_notes(path: Path) -> None:
    """Remove them, and their folder unless something else of ours is in it."""
    path.unlink()
    with contextlib.suppress(OSError):
        path.parent.rmdir()


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    path, notes_path = Path(os.path.realpath(params["path"])), Path(params["notes"])
    restore = params["state"] == "restored"
    if not restore and not params["processes"]:
        module.fail_json(msg="The parameter processes is missing: give the number of processes.")
    try:
        raw = path.read_bytes()
        mode = path.stat().st_mode & 0o7777
    except OSError as error:
        module.fail_json(msg=f"{path} cannot be read: {error.strerror}.")
    found = portal_program(raw)
    if found is None:
        module.fail_json(
            msg=f"{path} has no program of the portal's with a line numprocs=…: write it again with `tethys gen"
            " asgi_service`."
        )
        return
    before = found.processes
    kept = atomic_file.read_notes(notes_path)
    notes = kept or {"fresh": bool(params["fresh"]), "processes": 1 if params["fresh"] else before}
    wanted = (int(kept["processes"]) if kept else before) if restore else int(params["processes"])
    # The rest may have any encoding and any line ends.
    new = raw[: found.start] + str(wanted).encode() + raw[found.end :] if wanted != before else raw
    changed = new != raw or bool(kept) == restore
    if changed and not module.check_mode:
        try:
            if not restore and not kept:
                write_notes(notes_path, notes)
            if new != raw:
                atomic_file.remove_leftovers(str(path))
                atomic_file.replace(str(path), new, mode=mode)
            if restore and kept:
                remove_notes(notes_path)
        except OSError as error:
            module.fail_json(msg=f"{error.filename or path} could not be written: {error.strerror}.")
    module.exit_json(
        changed=changed,
        before=before,
        processes=wanted,
        fresh=bool(notes["fresh"]),
        diff={
            "before": f"numprocs={before}\n",
            "after": f"numprocs={wanted}\n",
            "before_header": str(path),
            "after_header": str(path),
        },
    )


if __name__ == "__main__":
    main()
