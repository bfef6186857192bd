# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every place on a server that starts a program, or reads a file, a socket or JSON, with the reason why it may.

What a party below root can change or answers is read by `boundary.py`, `read_as.py` and `bounded_socket.py`, and
programs are started by `run_command.py`. A new place that does either on its own fails here: let it call these, or add
it with its reason.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import boundary

PLUGINS = Path(str(boundary.__file__)).parents[1]
# Called by these names, whatever they are called on.
METHODS = {"read_text", "read_bytes", "recv", "recv_into", "makefile", "getresponse", "communicate"}
FUNCTIONS = {
    "os": {"open", "read", "fdopen", "popen", "system", "fork", "walk", "execv", "execve", "posix_spawn", "spawnv"},
    "json": {"load", "loads"},
    "io": {"open"},
    "subprocess": {"Popen", "run", "call", "check_call", "check_output", "getoutput"},
    "urllib": {"urlopen"},
    "request": {"urlopen"},
    "yaml": {"load", "safe_load"},
    "self": {"run_command"},
    "module": {"run_command"},
}
BUILTINS = {"open"}


# Each reader with the reason why it need not pass `boundary.py` or `run_command.py`.
ALLOWED: dict[str, tuple[set[str], str]] = {
    "module_utils/boundary.py": ({"json.loads"}, "is the boundary"),
    "module_utils/bounded_socket.py": ({"getresponse", "makefile"}, "is the boundary"),
    "module_utils/read_as.py": ({"os.fdopen", "os.fork", "os.open", "os.read"}, "is the boundary"),
    "module_utils/run_command.py": ({"os.read", "subprocess.Popen"}, "is the starter of programs"),
    "module_utils/engines.py": (
        {"json.loads", "open"},
        "reads what root's container engine prints, through run_command; looks for a word in root's command docker",
    ),
    "module_utils/files/atomic_file.py": (
        {"json.loads", "os.fdopen", "os.open", "os.read"},
        "opens by folder descriptor, without following links, regular files only, within a size; JSON is root's notes",
    ),
    "module_utils/files/expected_files.py": ({"os.open"}, "opens by folder descriptor, to set owner and mode"),
    "module_utils/files/folder.py": ({"os.open"}, "opens folders only, one after the other, without following links"),
    "module_utils/files/owned_file.py": (
        {"json.loads"},
        "reads what a child of read_as.ask_as answers",
    ),
    "module_utils/layer_packages.py": (
        {"json.load", "open", "read_text"},
        "runs as the environment's owner, on what root sent",
    ),
    "module_utils/nginx_processes.py": (
        {"os.fdopen", "os.open"},
        "reads nginx's files, regular ones within a size, which the trust report judges",
    ),
    "module_utils/nginx_search.py": ({"json.loads"}, "reads root's notes in the state folder, within a size"),
    "module_utils/settings_record.py": ({"json.loads"}, "reads root's notes in the state folder, through atomic_file"),
    "module_utils/portal_env.py": (
        {"os.read"},
        "reads the portal's pipe within bounds and hands each line to boundary.accept",
    ),
    "module_utils/portal_bokeh.py": ({"os.fork"}, "runs in the portal's Python, never as root"),
    "module_utils/portal_user.py": ({"read_text"}, "reads /etc/nginx/nginx.conf, which is root's"),
    "module_utils/portal_look.py": ({"read_bytes", "read_text"}, "runs in the portal's Python, never as root"),
    "module_utils/portal_source.py": ({"read_bytes"}, "runs in the portal's Python, never as root"),
    "module_utils/portal_wire.py": ({"json.loads", "read_text"}, "runs in the portal's Python, never as root"),
    "module_utils/redis/client.py": ({"recv"}, "has its own bounds of size, depth and time for Redis's protocol"),
    "module_utils/server/cgroup.py": ({"os.open", "read_text"}, "reads files of the kernel"),
    "module_utils/server/kept_environment.py": ({"json.loads"}, "reads what Ansible hands over"),
    "module_utils/server/lock.py": ({"os.open"}, "opens root's state folder to lock it"),
    "module_utils/server/proc.py": ({"open"}, "reads files of the kernel, within a size"),
    "module_utils/server/trust.py": ({"read_text"}, "reads /etc/group, which is root's"),
    "module_utils/services.py": ({"getresponse", "json.loads"}, "reads root's Docker engine within a size and time"),
    "module_utils/tethys_docker_inside.py": ({"os.fdopen"}, "runs in the container and writes the answer"),
    "module_utils/web_socket.py": ({"makefile"}, "reads through BoundedSocket, within bytes and a deadline"),
    "modules/layer_health.py": ({"json.loads", "read_text"}, "reads root's notes in the state folder"),
    "module_utils/server/operating_system.py": (
        {"read_text"},
        "reads /etc/os-release, dnf's repositories and /sys, which are root's",
    ),
    "module_utils/compose/project.py": (
        {"json.loads", "read_text"},
        "reads what root's container engine prints, through run_command, and root's note in the state folder",
    ),
    "modules/tethys_docker_program.py": ({"read_bytes"}, "runs in the container, as the container's user"),
}


def calls(tree: ast.AST) -> set[str]:
    """The calls in a module that read or start something, as written, without the object that they are called on."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in BUILTINS:
            found.add(function.id)
        elif isinstance(function, ast.Attribute):
            owner = function.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if function.attr in METHODS or (function.attr == "open" and name not in FUNCTIONS):
                found.add(function.attr)
            elif function.attr in FUNCTIONS.get(name, ()):
                found.add(f"{name}.{function.attr}")
    return found


def places() -> dict[str, set[str]]:
    """Each file that runs on a server, with its calls."""
    files = [*PLUGINS.glob("module_utils/**/*.py"), *PLUGINS.glob("modules/*.py")]
    found = {str(path.relative_to(PLUGINS)): calls(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    return {name: each for name, each in found.items() if each}


def test_nothing_else_reads_or_starts() -> None:
    assert places() == {name: allowed for name, (allowed, _reason) in ALLOWED.items()}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import json\njson.loads(x)", {"json.loads"}),
        ("Path(x).read_text()", {"read_text"}),
        ("path.open()", {"open"}),
        ("with open(x) as f: pass", {"open"}),
        ("subprocess.run(['x'])", {"subprocess.run"}),
        ("subprocess.Popen(['x'])", {"subprocess.Popen"}),
        ("os.walk('/')", {"os.walk"}),
        ("module.run_command('x')", {"module.run_command"}),
        ("self.module.run_command('x')", {"module.run_command"}),
        ("socket.recv(9)", {"recv"}),
        ("boundary.read_file(x, None, 9)\nrun_command(['x'])\njson.dumps(x)", set()),
    ],
)
def test_what_counts_as_reading(source: str, found: set[str]) -> None:
    assert calls(ast.parse(source)) == found
