#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the portal's ASGI processes to what their files say, one at a time where Supervisor allows it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: asgi_roll
short_description: Start, or restart one at a time, a portal's ASGI processes under Supervisor
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Loads new and changed programs in Supervisor, and removes dropped ones. Otherwise, restarts only the processes that
    run with older versions of the files that they read, one at a time.
  - Supervisor stops and starts all processes of one program together. If each process has its own program behind a
    managed nginx upstream block, a new process gets requests as soon as it answers, and an old one is drained before it
    stops.
  - If a process does not answer after its restart, the module stops, so that the other processes keep running.
  - The module stores the files of each process by its process ID. If a run is killed, the next run completes it.
seealso:
  - module: tethys.channels.nginx_upstream
  - module: tethys.channels.service_files
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.supervisor_config
  - tethys.channels.attributes
  - tethys.channels.environment_file
attributes:
  check_mode:
    support: full
    description: Shows what would be restarted, and leaves Supervisor alone.
  diff_mode:
    support: full
    description: Shows each of O(files) that is written before and after; processes have no text to compare.
  platform:
    description: Linux with Supervisor.
options:
  processes:
    description: The number of processes in the program file. 0 for a file that this collection does not manage.
    type: int
    required: true
  port:
    description: The port on the loopback interface on which the processes listen, or the first of these ports.
    type: int
    required: true
  layout:
    description:
      - With V(shared_socket), there is one Supervisor program, C(asgi), on O(port).
      - With V(socket_per_process), each process has its own program, C(tethys_asgi0), C(tethys_asgi1) and so on.
        Their ports start with O(port).
    type: str
    choices: [shared_socket, socket_per_process]
    default: shared_socket
  upstream:
    description:
      - The name of nginx's upstream block, if the block is managed. A process that has to restart is removed from the
        block first, and added again afterward.
      - With O(layout=shared_socket), the previous block is restored.
    type: str
  pins:
    description: Regular expressions of the paths that nginx sends to the first process, which are those of Bokeh.
    type: list
    elements: str
    default: []
  drain_seconds:
    description:
      - The number of seconds that requests get to complete in a process that nginx drains. WebSockets that are still
        open after that are closed.
    type: int
    default: 10
  run_dir:
    description: The folder of the processes' sockets, C(tethys_asgi0.sock) and so on.
    type: path
    required: true
  old_run_dirs:
    description: Folders that may contain such sockets from an earlier setup. Sockets that no process uses are removed.
    type: list
    elements: path
    default: ["/run"]
  log_dir:
    description: The folder of the processes' logs, for use in messages.
    type: path
    required: true
  reads:
    description: The files that a process reads when it starts.
    type: list
    elements: path
    required: true
  site_packages:
    description:
      - The environment's site-packages. A package that was installed, removed or changed there counts as a file that
        the processes read.
    type: path
    required: true
  redis_container:
    description:
      - The name of the layer's Redis container. A process that is older than the last start of this container is
        restarted, because its WebSockets have lost their groups and receive nothing.
    type: str
  redis_engine:
    description: The container engine of O(redis_container).
    type: str
    choices: [docker, podman]
    default: docker
  redis_started_at:
    description: The time of the last start of the layer's Redis in seconds since 1970, if it runs on another server.
    type: float
    default: 0
  files:
    description:
      - The files and folders that the processes need, including their program file. They are corrected first, as with
        M(tethys.channels.service_files), because a separate task would need another connection in every run.
    type: list
    elements: dict
    default: []
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
  program:
    description:
      - The program file. If another file defines groups, and a user other than root can change that file, these
        groups are not started.
      - With O(processes=0), the portal's groups are those that this file defines. Without a program file, this is
        only C(asgi).
    type: path
  group:
    description: The name of the group with all processes (V(shared_socket)).
    type: str
    default: asgi
  other_groups:
    description: Groups that have the name of one of the portal's groups but run something else. They are not changed.
    type: list
    elements: str
    default: []
  replaces:
    description: Groups with other names that run the portal. They are stopped if no file defines them anymore.
    type: list
    elements: str
    default: []
  record:
    description: The file in which the module stores the files of each process.
    type: path
    default: /etc/tethys_channels/processes.json
  pending:
    description: In check mode, whether earlier tasks would have changed a file that the processes read.
    type: bool
    default: false
  program_changed:
    description: In check mode, whether an earlier task would have changed the program file.
    type: bool
    default: false
  force:
    description: Whether every process is restarted, one at a time, even if nothing has changed.
    type: bool
    default: false
  host_name:
    description:
      - The host name in the request that tests whether a process answers. If C(ALLOWED_HOSTS) does not contain this
        name, Django writes an error with a traceback to the log.
    type: str
    default: localhost
  timeout:
    description: The number of seconds within which a process must answer.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Update ASGI processes
  tethys.channels.asgi_roll:
    processes: 3
    run_dir: /run/tethys
    log_dir: /var/log/tethys_channels
    reads: [/var/lib/tethys/portal_config.yml]
    site_packages: /opt/conda/envs/tethys/lib/python3.12/site-packages
"""

RETURN = r"""
restarted:
  description: The processes that were restarted one at a time.
  returned: always
  type: list
  elements: str
  sample: [tethys_asgi0, tethys_asgi1]
regrouped:
  description: Whether Supervisor loaded new or changed programs, or removed dropped ones.
  returned: always
  type: bool
  sample: false
written:
  description: The paths of O(files) that were not as expected.
  returned: always
  type: list
  elements: str
  sample: [/etc/supervisor/conf.d/asgi_supervisord.conf]
removed:
  description: Sockets and locks without a process, which the module removed.
  returned: always
  type: list
  elements: str
  sample: [/run/tethys/tethys_asgi2.sock]
"""

import http.client
import xmlrpc.client
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.asgi_record import Sources
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.expected_files import (
    OPTIONS,
    NotPut,
    how_differs,
    put_all_right,
)
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import NginxError
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Nginx
from ansible_collections.tethys.channels.plugins.module_utils.server import (
    kept_environment,
    supervisord,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.asgi_restart import Roll, RollError
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone
from ansible_collections.tethys.channels.plugins.module_utils.services import (
    SUPERVISOR_CONFIGS,
    Supervisor,
)


def changes_reads(files: list[dict[str, Any]], reads: list[str]) -> bool:
    """Return whether the text of a file is to change that the processes read when they start."""
    problems = [how_differs(expected) for expected in files if expected["path"] in reads]
    return any(problem and problem.code not in ("owner-differs", "mode-differs") for problem in problems)


def estimate(roll: Roll, params: dict[str, Any], files: list[dict[str, Any]], written: list[str]) -> bool:
    """Find out what a run would do; return whether nginx would be changed besides."""
    record = atomic_file.read_notes(Path(params["record"]))
    sources = Sources(params["reads"], params["site_packages"])
    is_pending = params["pending"] or params["force"] or changes_reads(files, params["reads"])
    roll.estimate(sources, record, written, is_pending)
    settled = bool(roll.nginx and not roll.apart and roll.nginx.give_back(params["port"], dry=True).changed)
    roll.sweep(dry=True)
    return settled


def update(roll: Roll, params: dict[str, Any]) -> bool:
    """Restart what is outdated, one at a time; return whether nginx was changed at the end."""
    record = atomic_file.read_notes(Path(params["record"]))
    # Before any process starts: one that reads a file which changes only then is outdated.
    sources = Sources(params["reads"], params["site_packages"])
    roll.reread()
    rows = roll.rows() if params["force"] else roll.outdated(sources, record)
    # Those that do not serve first, so that somebody serves while the others restart.
    for row in sorted(rows, key=lambda row: row["group"] not in roll.silent):
        if row["name"] not in roll.started:
            roll.restart(row)
    settled = roll.settle(roll.regrouped or bool(roll.restarted))
    running = [row for row in roll.rows() if row["statename"] == "RUNNING"]
    if params["processes"] and len(running) != params["processes"]:
        raise RollError(
            f"{len(running)} of {params['processes']} processes run under Supervisor:"
            f" `{supervisord.client(params['supervisor_config'], 'status')}` shows which are missing, their logs are in"
            f" {params['log_dir']}."
        )
    roll.keep(sources, record)
    roll.sweep(dry=False)
    return settled


ARGUMENTS = {
    "processes": {"type": "int", "required": True},
    "port": {"type": "int", "required": True},
    "layout": {
        "type": "str",
        "choices": ["shared_socket", "socket_per_process"],
        "default": "shared_socket",
    },
    "upstream": {"type": "str"},
    "pins": {"type": "list", "elements": "str", "default": []},
    "drain_seconds": {"type": "int", "default": 10},
    "run_dir": {"type": "path", "required": True},
    "old_run_dirs": {"type": "list", "elements": "path", "default": ["/run"]},
    "log_dir": {"type": "path", "required": True},
    "reads": {"type": "list", "elements": "path", "required": True},
    "site_packages": {"type": "path", "required": True},
    "redis_container": {"type": "str"},
    "redis_engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
    "redis_started_at": {"type": "float", "default": 0},
    "files": {"type": "list", "elements": "dict", "default": [], "options": OPTIONS},
    "program": {"type": "path"},
    "environment": {"type": "dict", "options": kept_environment.OPTIONS},
    "group": {"type": "str", "default": "asgi"},
    "other_groups": {"type": "list", "elements": "str", "default": []},
    "replaces": {"type": "list", "elements": "str", "default": []},
    "record": {"type": "path", "default": "/etc/tethys_channels/processes.json"},
    "pending": {"type": "bool", "default": False},
    "program_changed": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "host_name": {"type": "str", "default": "localhost"},
    "timeout": {"type": "int", "default": 90},
    "portal_name": {"type": "str", "default": ""},
    "supervisor_config": {"type": "path"},
}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    params = module.params
    supervisord.select(params["supervisor_config"])
    try:
        # First, while the program that is adopted is still there.
        files = [*kept_environment.expected(params["environment"]), *params["files"]]
        written, diff = put_all_right(files, dry=module.check_mode)
    except (NotPut, kept_environment.Unusable) as error:
        module.fail_json(msg=str(error))
    supervisor = Supervisor(timeout=params["timeout"] + 30.0)
    if supervisor.state() is None:
        if module.check_mode:
            module.exit_json(changed=True, restarted=[], regrouped=True, removed=[], written=written, diff=diff)
        why = f" ({supervisor.stranger})" if supervisor.stranger else ""
        module.fail_json(
            msg=f"Supervisor does not answer on {supervisor.socket_path}{why}: start it"
            f" (`{supervisord.starter(supervisor.config)}`) and run again."
        )
    state_dir = str(Path(params["record"]).parent)
    nginx = Nginx(params["upstream"], state_dir, portal_name=params["portal_name"]) if params["upstream"] else None
    roll = Roll(params, supervisor.rpc(), nginx, supervisor.files, supervisor.program_files)
    settled = False
    try:
        if module.check_mode:
            settled = estimate(roll, params, files, written)
        else:
            with alone(Path(state_dir)):
                supervisord.keep(Path(state_dir), supervisor.config, SUPERVISOR_CONFIGS)
                settled = update(roll, params)
    except (RollError, NginxError, Busy) as error:
        module.fail_json(msg=str(error), restarted=roll.restarted, regrouped=roll.regrouped, removed=roll.removed)
    except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
        if isinstance(error, OSError) and error.filename:
            name = error.filename2 or error.filename
            module.fail_json(msg=f"{name}: {error.strerror}. Correct that and run again; the processes serve.")
        module.fail_json(msg=f"Supervisor stopped answering: {error}. Read its log (logfile in {supervisor.config}).")
    module.exit_json(
        changed=bool(written) or roll.regrouped or bool(roll.restarted) or bool(roll.removed) or settled,
        restarted=roll.restarted,
        regrouped=roll.regrouped,
        removed=roll.removed,
        written=written,
        diff=diff,
    )


if __name__ == "__main__":
    main()
