#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the state of a server after a run, so that a later run detects changes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: proof_record
short_description: Record the state of a server after a run has verified delivery
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Writes C(proof.json), which only root can read. It contains a digest of everything on the server that the
    collection's roles write or use before delivery is verified. In a later run, M(tethys.channels.server_info) reports
    whether anything has changed.
  - This record is internal, so the module does not report a change.
seealso:
  - module: tethys.channels.server_info
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.supervisor_config
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Writes nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
  platform:
    description: Linux only, since it reads C(/proc).
options:
  inputs:
    description: The digest of the run's inputs, which the action plugin of this name adds.
    type: str
    required: true
  plan:
    description: The C(sum) of the run's plan.
    type: str
    required: true
  files:
    description: The files and folders that count besides those in O(state_dir).
    type: list
    elements: path
    required: true
  reads:
    description:
      - The files that the portal's processes read when they start. Where one runs with another text, nothing is kept.
    type: list
    elements: path
    required: true
  endpoint:
    description: Where the Redis of O(container) answers (C(path), or C(host) and C(port)), if it has users.
    type: dict
  site_packages:
    description: The folder of the portal's packages.
    type: path
    required: true
  other_groups:
    description: Groups of Supervisor's that have a name of the portal's and run something else.
    type: list
    elements: str
    default: []
  container:
    description: The name of the Redis container that the collection runs, if it runs one.
    type: str
  image:
    description: The image of that container.
    type: str
  engine:
    description: The engine in which that container is.
    type: str
    choices: [docker, podman]
    default: docker
  state_dir:
    description: The folder in which the collection keeps its state on a server.
    type: path
    default: /etc/tethys_channels
"""

EXAMPLES = r"""
- name: Record the server's state
  tethys.channels.proof_record:
    inputs: 5f0d1e
    plan: "{{ plan.sum }}"
    files: [/var/lib/tethys/portal_config.yml]
    reads: [/var/lib/tethys/portal_config.yml]
    site_packages: /opt/conda/envs/tethys/lib/python3.12/site-packages
    container: tethys-channels-redis
    image: redis:8.2
"""

RETURN = r"""
path:
  description: The record.
  returned: always
  type: str
  sample: /etc/tethys_channels/proof.json
"""

from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils import proof_record
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.server import supervisord

# The options that describe the server's part of the record.
PARTS = ("files", "reads", "site_packages", "container", "image", "engine", "endpoint", "other_groups")


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "inputs": {"type": "str", "required": True, "no_log": True},
            "plan": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "required": True},
            "reads": {"type": "list", "elements": "path", "required": True},
            "site_packages": {"type": "path", "required": True},
            "endpoint": {"type": "dict"},
            "other_groups": {"type": "list", "elements": "str", "default": []},
            "container": {"type": "str"},
            "image": {"type": "str"},
            "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
            "state_dir": {"type": "path", "default": "/etc/tethys_channels"},
            "portal_name": {"type": "str", "default": ""},
            "supervisor_config": {"type": "path"},
        },
        required_together=[("container", "image")],
        supports_check_mode=True,
    )
    params = module.params
    supervisord.select(params["supervisor_config"])
    state_dir = Path(params["state_dir"])
    path = state_dir / proof_record.NAME
    try:
        if not module.check_mode:
            of = {name: params[name] for name in PARTS}
            if params["portal_name"]:
                of["portal_name"] = params["portal_name"]
            proof_record.keep(state_dir, params["inputs"], params["plan"], of)
    except OSError as error:
        module.fail_json(msg=f"{path} cannot be written ({error.strerror}): fix that and run again.")
    module.exit_json(changed=False, path=str(path))


if __name__ == "__main__":
    main()
