#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: portal_info
short_description: Gather facts about a Tethys Portal
version_added: 0.9.0
description:
  - Starts the portal's own Python once, as the portal's user and with the environment's activation scripts. Reads its
    versions, settings, apps and Bokeh handlers.
  - Changes nothing. The module prevents Tethys from writing to its database at the start.
  - Never fails because of the state of the portal. Problems are returned as sentences.
options:
  prefix:
    description: The environment in which Tethys is installed. The module starts its C(bin/python).
    type: path
    required: true
  home:
    description: The folder that contains C(portal_config.yml), TETHYS_HOME.
    type: path
    required: true
  user:
    description:
      - The user who runs the portal's processes.
      - By default, the module uses the user of the web server. This is the user in C(/etc/nginx/nginx.conf), or the
        first of C(www-data), C(nginx), C(apache) and C(www) that exists.
      - If there is no such user, the owner of O(home) inspects the portal. The module never uses root.
    type: str
  requirements:
    description: The packages that the environment must have, as pip requirements. Only checked if set.
    type: list
    elements: str
    default: []
  timeout:
    description:
      - The number of seconds after which the portal's Python is stopped. The module returns what it has read until
        then.
    type: int
    default: 60
seealso:
  - module: tethys.channels.server_info
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the same, since it only reads.
  diff_mode:
    support: N/A
    description: Changes nothing.
  platform:
    description: Runs on Linux, on the portal's server, and as root, since it becomes the portal's user.
author:
  - tethys.channels contributors (@tethys-channels)
"""

EXAMPLES = r"""
- name: Gather portal facts
  tethys.channels.portal_info:
    prefix: /opt/conda/envs/tethys
    home: /var/lib/tethys
  register: look

- name: Name the Bokeh handlers
  ansible.builtin.debug:
    msg: "{{ look.portal.bokeh }}"
"""

RETURN = r"""
portal:
  description: The facts about the portal. A fact that could not be read is null, and the reason is next to it.
  returned: always
  type: dict
  contains:
    user:
      description: The user that the portal runs as; null where none was given and there is no web server's user.
      type: str
      sample: www-data
    group:
      description: The primary group of that user.
      type: str
      sample: www-data
    user_problem:
      description: What is wrong with that user, or null.
      type: str
    prefix_problem:
      description: Why the environment's Python cannot be used, or null.
      type: str
    home_problem:
      description: Why the folder of portal_config.yml cannot be used, or null.
      type: str
    prefix_owner:
      description: The user, uid of the environment's owner, or null.
      type: dict
      sample: {"user": "root", "uid": 0}
    python:
      description: The Python that was started, or null if it gave no answer.
      type: str
    site_packages:
      description: The environment's site-packages, as its file names show it, or null.
      type: str
    versions:
      description:
        - Versions of the packages that matter to the channel layer, by name with underscores; null where a package is
          not installed.
      type: dict
      sample: {"tethys_platform": "4.6.1", "channels_redis": null}
    lacking:
      description:
        - Each reason why O(requirements) are not met; empty where they are, null where they were not given or the
          environment's Python could not answer.
      type: list
      elements: str
      sample: ["channels_redis is not installed"]
    config:
      description:
        - Facts of portal_config.yml, being C(path), C(realpath), C(exists), C(owner), C(group), C(mode),
          C(others_can_read), C(sha256), and C(problem), which is a sentence with line and column where the file
          cannot be edited, or null.
      type: dict
    settings:
      description:
        - Django's settings as Tethys made them, being C(allowed_hosts), C(debug), C(prefix_url) (without slashes, or
          null), C(multiple_app_mode), C(standalone_app), C(static_root), C(media_root), C(workspaces_root),
          C(channel_layers), C(layer_backend), C(layer_hosts), C(database) (C(engine), C(name), C(host),
          C(keeps_connections), C(pool)) and C(data) (C(setting), C(path), C(holds)), the files and folders with data
          that are named by absolute paths.
          Passwords, keys and the user part of URLs are masked.
      type: dict
    settings_problem:
      description: Why the settings could not be read, or are not those of portal_config.yml, or null.
      type: str
    start_problem:
      description: Why Tethys could not be started with these settings, or null.
      type: str
    database_problem:
      description: Why the database is of no use (gone, unreachable, not migrated), or null.
      type: str
    connection_limit:
      description:
        - How many connections the database server accepts from ordinary users; null unless the portal has a pool of
          connections to PostgreSQL.
      type: int
    access:
      description:
        - What the portal's user needs on this server, and whether it has it. C(need) is V(traverse), V(read),
          V(write) or V(execute); C(blocked_by) is the first part of the path that stands in the way, and C(owner)
          whose that is.
      type: list
      elements: dict
      sample: [{"path": "/var/lib/tethys", "need": "traverse", "ok": true, "blocked_by": null, "owner": null}]
    leftovers:
      description:
        - What the portal's user cannot write in the folders of workspaces and of media, for each C(folder) and
          C(owner) its C(count) and an C(example).
        - Portals that ran as another user, such as root, have left such files there.
      type: list
      elements: dict
    apps:
      description: The installed apps with C(package), C(name) and C(root_url).
      type: list
      elements: dict
    app_problems:
      description: The apps that could not be loaded whole, each with C(package) and C(problem).
      type: list
      elements: dict
    bokeh:
      description:
        - The Bokeh handlers with C(app), C(name) and C(url), the address of the page as the portal serves it (with
          its variables in braces), or the string V(unknown). A portal in standalone mode serves the handlers of one
          app only.
        - An empty list means no handler for certain. Where RV(portal.bokeh_problem) is set, there may be more
          than those listed.
      type: raw
      sample: [{"app": "bokehplot", "name": "home", "url": "/apps/bokehplot/"}]
    bokeh_problem:
      description: Why the Bokeh handlers are not, or not all, known; null when they are.
      type: str
    lifecycle_consumer:
      description:
        - Whether this Tethys has the WebSocket consumer C(ws/app-lifecycle) that delivery can be verified with; null
          if unknown.
      type: bool
    warnings:
      description: Sentences about what is not a problem of the run but worth knowing.
      type: list
      elements: str
    seconds:
      description: How long the module took.
      type: float
"""

from ansible_collections.tethys.channels.plugins.module_utils import portal_state
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec=portal_state.OPTIONS,
        supports_check_mode=True,
    )
    module.exit_json(changed=False, portal=portal_state.look(**module.params))


if __name__ == "__main__":
    main()
