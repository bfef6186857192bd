#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the portal's upstream block of nginx list the ASGI processes, and give the block back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_upstream
short_description: List ports of the loopback interface in an upstream block of nginx
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Finds the C(upstream) block in the configuration of the running nginx, and replaces its C(server) lines. All other
    directives and comments in the block, all bytes outside it, and symbolic links stay the same.
  - Validates the whole configuration with the change before it puts the change in place. Then nginx's master process
    reloads it gracefully, and the module waits until there are new workers. If there are none, it restores the file.
  - With O(pins), a C(map) before the block and a C(hash) in it send the requests for certain paths to the first server,
    and all others to any server.
  - Stores the previous block in O(state_dir) for O(state=absent). If a run is killed, the next run completes it.
seealso:
  - module: tethys.channels.asgi_roll
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description:
      - Shows what would change. Only the validation with the change is left out, since it needs a file beside nginx's.
  diff_mode:
    support: full
    description: Shows the changed file before and after.
  platform:
    description: Linux with nginx 1.11 or later, whose master process is root's.
options:
  name:
    description: The name of the C(upstream) block, in the C(http) part of the configuration.
    type: str
    default: channels-backend
  state:
    description:
      - With V(present), the block lists O(ports).
      - With V(absent), the module restores the block from before the first change. If that block is unknown or does
        not lead to O(port), the block gets O(port) as its only server. The module deletes all of its files on the
        server.
    type: str
    choices: [present, absent]
    default: present
  ports:
    description: The ports on the loopback interface, in order. Required with O(state=present).
    type: list
    elements: int
  down:
    description: Those of O(ports) that must not get new requests. If this would affect all ports, it is ignored.
    type: list
    elements: int
    default: []
  pins:
    description:
      - Regular expressions of paths (nginx's C($uri), without the query) that all go to the first of O(ports). They
        are case-sensitive.
      - The block must then have no other balancing method.
    type: list
    elements: str
    default: []
  port:
    description: The port on the loopback interface on which the portal then listens. Required with O(state=absent).
    type: int
  state_dir:
    description: The folder in which the module stores the previous block.
    type: path
    default: /etc/tethys_channels
"""

EXAMPLES = r"""
- name: List three processes, and keep Bokeh in the first
  tethys.channels.nginx_upstream:
    ports: [8000, 8001, 8002]
    pins: ['^/apps/[^/]+/(?:.+/)?(?:autoload\.js|ws)$']

- name: Put the block back as it was found
  tethys.channels.nginx_upstream:
    state: absent
    port: 8000
"""

RETURN = r"""
path:
  description: The file with the block, with symbolic links resolved. Empty if there is no block to restore.
  returned: success
  type: str
  sample: /etc/nginx/sites-available/tethys
"""

from itertools import takewhile
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import NginxError
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Nginx
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone


def alike(some: list[str], others: list[str]) -> int:
    """How many lines are the same at the beginning of both."""
    return sum(1 for _pair in takewhile(lambda pair: pair[0] == pair[1], zip(some, others)))


def changed_lines(before: str, after: str, around: int = 3) -> tuple[str, str]:
    """Return what differs, with some lines around it: the rest of the site's file may contain secrets."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    first = alike(old, new)
    last = alike(old[first:][::-1], new[first:][::-1])
    begin, end = max(0, first - around), max(0, last - around)
    return "".join(old[begin : len(old) - end]), "".join(new[begin : len(new) - end])


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "channels-backend"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "ports": {"type": "list", "elements": "int"},
            "down": {"type": "list", "elements": "int", "default": []},
            "pins": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int"},
            "state_dir": {"type": "path", "default": "/etc/tethys_channels"},
            "portal_name": {"type": "str", "default": ""},
        },
        required_if=[("state", "present", ["ports"]), ("state", "absent", ["port"])],
        supports_check_mode=True,
    )
    params: dict[str, Any] = module.params
    nginx = Nginx(params["name"], params["state_dir"], portal_name=params["portal_name"])
    try:
        with alone(params["state_dir"]):
            if params["state"] == "present":
                change = nginx.put(params["ports"], params["down"], params["pins"], dry=module.check_mode)
            else:
                change = nginx.give_back(params["port"], dry=module.check_mode)
    except (NginxError, Busy) as error:
        module.fail_json(msg=str(error))
    result: dict[str, Any] = {"changed": change.changed, "path": change.path}
    if module._diff:
        header = {"before_header": change.path, "after_header": change.path}
        before, after = changed_lines(change.before, change.after)
        result["diff"] = {"before": before, "after": after, **header}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
