#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one of this collection's modules inside the container of a portal."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tethys_docker_exec
short_description: Run a module of this collection inside a portal's container
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Starts the portal's own Python in a running container with C(docker exec), and runs a module of this collection
    there, as if the container were a server. The image needs neither Ansible nor any file of this collection.
  - Returns the result of that module, supports check mode and diff mode like that module, and hides the same values.
    Refuses anything else that the container returns, such as C(ansible_facts).
seealso:
  - module: tethys.channels.tethys_docker_info
extends_documentation_fragment:
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: The module in the container runs in check mode too.
  diff_mode:
    support: full
    description: Shows what the module in the container shows.
  platform:
    description: A server with Docker's client, as a user who may use it.
options:
  container:
    description: The running container, by its name or ID.
    type: str
    required: true
  user:
    description: The user in the container. This must be the user who runs the portal's processes.
    type: str
    default: www
  python:
    description: The portal's Python in the container.
    type: path
    required: true
  module:
    description:
      - The name of the module. From the container, only values that this module is known to return are accepted.
    type: str
    choices: [asgi_roll, layer_probe, portal_info, portal_settings, tethys_docker_program]
    required: true
  source:
    description: The text of the module.
    type: str
    required: true
  arguments:
    description: The parameters of the module. They are not shown.
    type: dict
    default: {}
  timeout:
    description: The number of seconds after which the module is stopped.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Verify delivery inside the container
  tethys.channels.tethys_docker_exec:
    container: tethys
    python: /opt/conda/envs/tethys/bin/python
    module: layer_probe
    source: "{{ lookup('ansible.builtin.file', role_path ~ '/../../plugins/modules/layer_probe.py') }}"
    arguments:
      prefix: /opt/conda/envs/tethys
      home: /usr/lib/tethys
      processes: 3
"""

RETURN = r"""
result:
  description: The values that the module returns have their own names, such as C(portal) or C(probe), not this one.
  returned: never
  type: dict
"""

import shutil
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils import (
    asgi_record,
    boundary,
    bounded_socket,
    engines,
    facts,
    front_check,
    layer_packages,
    nginx_blocks,
    nginx_config,
    nginx_processes,
    nginx_search,
    nginx_upstream,
    portal_bokeh,
    portal_common,
    portal_database,
    portal_env,
    portal_look,
    portal_names,
    portal_source,
    portal_state,
    portal_user,
    portal_wire,
    portal_yaml,
    portal_yaml_document,
    portal_yaml_editor,
    portal_yaml_lines,
    portal_yaml_text,
    problem,
    read_as,
    run_command,
    secrets,
    services,
    settings_record,
    tethys_docker_answers,
    tethys_docker_ship,
    tethys_docker_state,
    text,
    web_socket,
)
from ansible_collections.tethys.channels.plugins.module_utils import module as own_module
from ansible_collections.tethys.channels.plugins.module_utils.delivery import (
    check,
    front,
    messages,
    pages,
    processes,
    sockets,
)
from ansible_collections.tethys.channels.plugins.module_utils.files import (
    atomic_file,
    expected_files,
    folder,
    owned_file,
)
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    accounts,
    addresses,
    answers,
    asgi_restart,
    cgroup,
    conda_variables,
    copies,
    kept_environment,
    lock,
    portal_program,
    proc,
    supervisor_files,
    supervisord,
    system_python,
    trust,
)
from ansible_collections.tethys.channels.plugins.module_utils.tethys_docker_answers import ANSWERS

# All that a module sent to a container may import.
SHIPPED = (
    accounts,
    addresses,
    answers,
    asgi_record,
    asgi_restart,
    atomic_file,
    boundary,
    bounded_socket,
    cgroup,
    check,
    conda_variables,
    copies,
    engines,
    expected_files,
    facts,
    folder,
    front,
    front_check,
    kept_environment,
    layer_packages,
    lock,
    messages,
    nginx_blocks,
    nginx_config,
    nginx_processes,
    nginx_search,
    nginx_upstream,
    own_module,
    owned_file,
    pages,
    portal_bokeh,
    portal_common,
    portal_database,
    portal_env,
    portal_look,
    portal_names,
    portal_program,
    portal_source,
    portal_state,
    portal_user,
    portal_wire,
    portal_yaml,
    portal_yaml_document,
    portal_yaml_editor,
    portal_yaml_lines,
    portal_yaml_text,
    problem,
    proc,
    processes,
    read_as,
    run_command,
    secrets,
    services,
    settings_record,
    sockets,
    supervisor_files,
    supervisord,
    system_python,
    tethys_docker_answers,
    tethys_docker_state,
    text,
    trust,
    web_socket,
)


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "user": {"type": "str", "default": "www"},
            "python": {"type": "path", "required": True},
            "module": {"type": "str", "choices": sorted(ANSWERS), "required": True},
            "source": {"type": "str", "required": True},
            "arguments": {"type": "dict", "default": {}, "no_log": True},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    params = dict(module.params)
    # Otherwise, no_log masks every value of the mapping wherever it turns up, a port's digits too. The module in the
    # container says which are secret.
    module.params["arguments"] = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    module.params["source"] = f"the text of {params['module']}"
    module.no_log_values = {value for value in secrets.secrets_in(params["arguments"]) if len(value) > 3}
    docker = shutil.which("docker") or ""
    if not docker:
        module.fail_json(msg="There is no docker command on this server: install Docker's client.")
    line = tethys_docker_ship.command(docker, params["container"], params["user"], params["python"])
    job: dict[str, Any] = {
        "arguments": params["arguments"],
        "check_mode": module.check_mode,
        "diff": module._diff,
    }
    texts = tethys_docker_ship.sources(SHIPPED)
    try:
        answer = tethys_docker_ship.ship(
            line, params["module"], params["source"], texts, job, params["timeout"], ANSWERS[params["module"]]
        )
    except tethys_docker_ship.ShipError as error:
        module.fail_json(msg=f"In container {tethys_docker_ship.name_of(docker, params['container'])}, {error}")
    for warning in answer.warnings:
        module.warn(warning)
    if answer.result.get("failed"):
        # The files that it names are there, not on the server.
        where = f"In container {tethys_docker_ship.name_of(docker, params['container'])}: "
        module.fail_json(**{**answer.result, "msg": where + str(answer.result.get("msg") or "")})
    module.exit_json(**answer.result)


if __name__ == "__main__":
    main()
