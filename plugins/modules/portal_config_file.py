#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create a portal_config.yml with the portal's own command, as the portal's user."""

from __future__ import annotations

DOCUMENTATION = r"""
module: portal_config_file
short_description: Create a portal_config.yml if there is none
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Runs C(<prefix>/bin/tethys gen portal_config) as the portal's user, never as root. The file belongs to that user and
    has the mode C(0600), because it contains SECRET_KEY.
  - Does not change an existing file.
  - After O(timeout) seconds, the module stops the command and every process that it started.
seealso:
  - module: tethys.channels.portal_settings
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Reports whether the file would be created.
  diff_mode:
    support: none
    description: The file holds SECRET_KEY, so it is not shown.
  platform:
    description: Runs on Linux, on the portal's server, and as root, since it becomes the portal's user.
options:
  prefix:
    description: The environment in which Tethys is installed. The module starts its C(bin/tethys).
    type: path
    required: true
  home:
    description: The folder that contains C(portal_config.yml), TETHYS_HOME.
    type: path
    required: true
  user:
    description: The user who runs the portal's processes. Not root.
    type: str
    required: true
  timeout:
    description: The number of seconds after which the command is stopped.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Create portal_config.yml
  tethys.channels.portal_config_file:
    prefix: /opt/conda/envs/tethys
    home: /var/lib/tethys
    user: www-data
"""

RETURN = r"""
path:
  description: The file.
  returned: always
  type: str
  sample: /var/lib/tethys/portal_config.yml
"""

import os
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.portal_env import environment
from ansible_collections.tethys.channels.plugins.module_utils.portal_user import runner_for
from ansible_collections.tethys.channels.plugins.module_utils.run_command import CommandFailed, run_command
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import become
from ansible_collections.tethys.channels.plugins.module_utils.server.kept_environment import of_portal

MOST_BYTES = 1024 * 1024
MOST_SHOWN = 1000


class Failed(Exception):
    """Why the file is not created, in one sentence for the administrator."""


def create(path: str, prefix: str, home: str, user: str, seconds: float, portal: str = "") -> None:
    """Run the portal's command for it, as a user.

    Raises:
        Failed: the file does not exist afterwards.
    """
    who = runner_for(user, home)
    if who is None or who.name != user:
        raise Failed(f"user is {user}: the portal's command cannot run as that user. Set another user")
    command = [str(Path(prefix, "bin", "tethys")), "gen", "portal_config"]
    switch = become(who)

    def closed_to_others() -> None:
        if switch:
            switch()
        # For root and the portal's user alone from its first moment on.
        os.umask(0o077)

    variables = environment(prefix, home, who, of_portal(prefix, home, who.name, portal))
    by_hand = f"Create it as that user (`tethys gen portal_config`, with TETHYS_HOME={home}), and run again"
    try:
        done = run_command(command, seconds=seconds, env=variables, most_bytes=MOST_BYTES, become=closed_to_others)
    except CommandFailed as error:
        raise Failed(f"{path} is not created: {error}, as user {who.name}. {by_hand}") from None
    if done.code == 0 and os.path.lexists(path):
        return
    said = (done.err.strip() or done.out.strip()).splitlines()
    last = f", and its last line is: {clean(said[-1], MOST_SHOWN)}" if said else ""
    how = f"ended with status {done.code}" if done.code else "ended without an error, and the file does not exist"
    raise Failed(f"{path} is not created: {command[0]}, as user {who.name}, {how}{last.rstrip('.')}. {by_hand}")


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "home": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
            "portal_name": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    prefix, home, user = (module.params[name] for name in ("prefix", "home", "user"))
    path = str(Path(home, "portal_config.yml"))
    exists = os.path.lexists(path)
    if not exists and not module.check_mode:
        try:
            create(path, prefix, home, user, module.params["timeout"], module.params["portal_name"])
        except Failed as error:
            module.fail_json(msg=f"{error}.")
    module.exit_json(changed=not exists, path=path)


if __name__ == "__main__":
    main()
