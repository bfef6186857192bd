#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the channel layer's packages into the portal's Python environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_packages
short_description: Install the channel layer's packages in a Python environment without changing others
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Installs requirements with the environment's own pip, as the owner of the environment. It runs as root only if
    nobody but root can change the files that pip runs and writes, and the folders above them.
  - If it runs as root, Python does not read any C(.pth) file or C(sitecustomize), and imports only pip from the
    environment. In this case, pip installs only wheels, because building a package starts a Python that reads those
    files.
  - Resolves the requirements with pip first. If this changes an installed package outside the layer, or breaks the
    requirements of another package, the module fails, and nothing has changed.
  - Downloads everything before it installs anything. If an installation fails or is interrupted, the module restores a
    copy of the files, and reports whether the environment is the same as before.
  - If the installed versions and those of their direct dependencies match, the module does not start pip.
seealso:
  - module: tethys.channels.portal_info
extends_documentation_fragment:
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Resolves with pip, which needs the package index or the wheel folder, and installs nothing.
  diff_mode:
    support: full
    description: Shows the versions before and after.
options:
  prefix:
    description: The folder of the environment, which contains C(bin/python). The environment needs pip 22.2 or later.
    type: path
    required: true
  requirements:
    description: The packages to install, each with its allowed versions.
    type: list
    elements: str
    required: true
  allowed:
    description:
      - The packages that may be upgraded or downgraded.
      - A package that is not installed yet can always be added, because no other package depends on it.
    type: list
    elements: str
    default: [channels_redis, redis, msgpack, hiredis, async-timeout]
  allow_moves:
    description:
      - Whether other packages may be upgraded or downgraded too, even if their requirements are then no longer met.
    type: bool
    default: false
  index_url:
    description:
      - The URL of the package index, instead of the one in pip's configuration. It may contain a user name and
        password.
    type: str
  extra_index_urls:
    description: URLs of additional package indexes. They may contain a user name and password.
    type: list
    elements: str
  proxy:
    description: The URL of the proxy for the package index. It may contain a user name and password.
    type: str
  cert:
    description: The file with the CA certificates that verify the package index.
    type: path
  find_links:
    description:
      - Folders with wheels that the owner of the environment can read.
      - If root owns the environment, no other user may be able to change them.
    type: list
    elements: path
  no_index:
    description: Whether pip uses no package index, and installs only packages from O(find_links).
    type: bool
    default: false
  user:
    description:
      - The user who must be able to import the packages. By default, the module checks only the owner of the
        environment.
    type: str
  timeout:
    description: The number of seconds after which the installation is stopped and undone.
    type: int
    default: 900
notes:
  - What pip is configured for on the server, in its global configuration file and in C(PIP_) and proxy variables of the
    task's environment, holds here too.
"""

EXAMPLES = r"""
- name: Install the channel layer's packages
  tethys.channels.layer_packages:
    prefix: /opt/conda/envs/tethys
    requirements:
      - channels_redis>=4.2
      - redis>=4.6

- name: Install them without a network
  tethys.channels.layer_packages:
    prefix: /opt/conda/envs/tethys
    requirements: [channels_redis>=4.2]
    find_links: [/srv/wheels]
    no_index: true
"""

RETURN = r"""
moves:
  description:
    - The packages that were installed, or would be installed in check mode. For a new package, C(from) is null.
  returned: always
  type: list
  elements: dict
  sample: [{"name": "redis", "from": "8.1.0", "to": "7.4.0"}]
installed:
  description: The versions of the layer's own packages and of all changed packages after the run.
  returned: always
  type: dict
  sample: {"channels-redis": "4.3.0", "redis": "7.4.0"}
pip:
  description: The environment's pip. Its C(version) is null if there is no pip.
  returned: always
  type: dict
  sample: {"version": "24.0"}
reasons:
  description: The reasons why packages had to be installed. Empty if nothing had to be installed.
  returned: always
  type: list
  elements: str
  sample: ["redis is 8.1.0, not <8,>=4.6"]
"""

import contextlib
import os
import re
import signal
from types import FrameType
from typing import Any, Iterator

from ansible_collections.tethys.channels.plugins.module_utils import layer_packages as program
from ansible_collections.tethys.channels.plugins.module_utils import read_as
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.packages.environment import RESTORE_SECONDS, Environment
from ansible_collections.tethys.channels.plugins.module_utils.packages.trust import Failed
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import (
    account,
)
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone_on_server

OLDEST_PIP = (22, 2)  # the first with --dry-run and --report


class Interrupted(Exception):
    """Somebody ended the module."""


def as_versions(moves: list[dict[str, Any]]) -> str:
    """Moves as a person reads them."""
    return ", ".join(f"{move['name']} {move['from'] or '(new)'} -> {move['to']}" for move in moves)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn signals that would end the module into an exception, so that what was begun can be undone."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def look(environment: Environment, params: dict[str, Any]) -> dict[str, Any]:
    """What is installed, and why it is not enough."""
    found = environment.ask(
        "look",
        requirements=params["requirements"],
        allowed=params["allowed"],
        find_links=params["find_links"] or [],
    )
    user = account(params.get("user"))
    if user and os.geteuid() == 0 and user.uid not in (0, environment.owner.uid):
        names = [name for name in found["canonical"].values() if name in found["versions"]]
        for name in environment.ask("unreadable", who=user, names=names)["unreadable"]:
            if name not in found["damaged"]:
                # An installation with a mask like 027 left it for its owner alone.
                found["damaged"].append(name)
                found["reasons"].append(f"{name} cannot be read by the user {user.name}")
    return found


def plan(environment: Environment, params: dict[str, Any], before: dict[str, Any]) -> list[dict[str, Any]]:
    """What pip would install, as moves."""
    version = before["pip"]
    if version is None:
        raise Failed(f"{environment.prefix} has no pip: add it with `{environment.as_typed('ensurepip')}`.")
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < OLDEST_PIP:
        raise Failed(
            f"pip {version} in {environment.prefix} is too old to say what it would change: "
            f"upgrade it with `{environment.as_typed('pip', 'install', '--upgrade', 'pip>=22.2')}`."
        )
    report = environment.work / "tmp" / "report.json"
    environment.pip("install", "--dry-run", "--report", str(report), "--", *params["requirements"])
    planned = environment.report()
    # pip only reads metadata, and considers an incomplete distribution complete.
    for name in before["damaged"]:
        if name in before["versions"]:
            planned.setdefault(name, before["versions"][name])
    return [{"name": name, "from": before["versions"].get(name), "to": planned[name]} for name in sorted(planned)]


def refuse(environment: Environment, params: dict[str, Any], moves: list[dict[str, Any]], own: set[str]) -> None:
    """Fail where the moves would touch what is not the layer's own."""
    if params["allow_moves"]:
        return
    foreign = [move for move in moves if move["from"] and move["name"] not in own]
    broken = environment.ask("breaks", planned={move["name"]: move["to"] for move in moves})["breaks"]
    reasons = []
    if foreign:
        reasons.append(f"change packages that are not the channel layer's own ({as_versions(foreign)})")
    if broken:
        reasons.append(f"leave packages without what they need ({', '.join(broken)}; planned: {as_versions(moves)})")
    if reasons:
        raise Failed(
            f"To install {', '.join(params['requirements'])} in {environment.prefix}, pip would "
            f"{' and '.join(reasons)}: require versions that fit, or set channels_redis_allow_moves to true."
        )


def undo(
    environment: Environment, params: dict[str, Any], before: dict[str, Any], saved: dict[str, Any], why: str
) -> Failed:
    """Put the files back, look whether everything is as it was, and say so."""
    # Whoever ends the module now would leave the environment in pieces.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    try:
        environment.ask("restore", RESTORE_SECONDS, **saved)
        after = look(environment, params)
    except Failed as failure:
        return Failed(f"{why} And what was installed before could not be put back: {failure}")
    names = sorted({*before["versions"], *after["versions"]})
    wrong = [
        f"{name} was {before['versions'].get(name)} and is {after['versions'].get(name)}"
        for name in names
        if before["versions"].get(name) != after["versions"].get(name)
    ] + [f"{name} is incomplete" for name in after["damaged"] if name not in before["damaged"]]
    if wrong:
        return Failed(f"{why} And not everything could be put back: {', '.join(wrong)}.")
    return Failed(f"{why} The environment is as it was before.")


def install(
    environment: Environment, params: dict[str, Any], before: dict[str, Any], moves: list[dict[str, Any]]
) -> dict[str, Any]:
    """Install the moves, all of them or none, and return what is there now."""
    wheels = environment.work / "wheels"
    archive = environment.work / "before.tar"
    environment.pip(
        "wheel",
        "--no-deps",
        "--wheel-dir",
        str(wheels),
        *(f"{move['name']}=={move['to']}" for move in moves),
    )
    files = environment.as_owner(lambda: "\n".join(read_as.names_in(str(wheels))).encode()).decode().splitlines()
    files = [str(wheels / name) for name in files]
    saved = environment.ask(
        "save", RESTORE_SECONDS, wheels=str(wheels), archive=str(archive), damaged=before["damaged"]
    )
    if saved.get("refused"):
        raise Failed(" ".join(saved["refused"]))
    saved["archive"] = str(archive)
    environment.refuse_roots(saved["roots"])
    environment.touched = True
    try:
        environment.ask("clear", damaged=before["damaged"])
        environment.pip("install", "--no-index", "--no-deps", "--force-reinstall", "--", *files)
        after = look(environment, params)
        missed = [move["name"] for move in moves if after["versions"].get(move["name"]) != move["to"]]
        if after["reasons"] or missed:
            raise Failed(f"After the installation {'; '.join(after['reasons'] or missed)} in {environment.prefix}.")
        if saved["leftovers"]:
            environment.ask("tidy", roots=saved["roots"])
    except Failed as failure:
        raise undo(environment, params, before, saved, str(failure)) from failure
    except Interrupted as signalled:
        why = f"The installation in {environment.prefix} was interrupted ({signalled})."
        raise undo(environment, params, before, saved, why) from signalled
    return after


def provide(environment: Environment, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Look, plan, refuse, install; return the module's answer."""
    before = look(environment, params)
    if before["refused"]:
        raise Failed(" ".join(before["refused"]))
    own = set(before["canonical"].values())
    moves: list[dict[str, Any]] = []
    after = before
    if before["reasons"]:
        if not before["writable"]:
            raise Failed(
                f"The user {environment.owner.name} cannot write to {before['site_packages']}: run the task as root"
                " (become: true), and give that folder back to its owner."
            )
        moves = plan(environment, params, before)
        refuse(environment, params, moves, own)
        if moves and not check_mode:
            after = install(environment, params, before, moves)
    shown = sorted(own | {move["name"] for move in moves})
    return {
        "changed": bool(moves),
        "moves": moves,
        "installed": {name: after["versions"][name] for name in shown if name in after["versions"]},
        "pip": {"version": before["pip"]},
        "reasons": before["reasons"],
        "diff": {
            "before": "".join(f"{move['name']}=={move['from']}\n" for move in moves if move["from"]),
            "after": "".join(f"{move['name']}=={move['to']}\n" for move in moves),
        },
    }


def work(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do the module's task; if it fails, report whether anything has changed."""
    with interruptible(), Environment(params) as environment:
        try:
            return provide(environment, params, check_mode)
        except Failed as failure:
            raise Failed(f"{failure}{'' if environment.touched else ' Nothing has been changed.'}") from failure
        except Interrupted as signalled:
            done = "after the installation" if environment.touched else "before anything was changed"
            raise Failed(f"The installation in {params['prefix']} was ended by {signalled} {done}.") from signalled


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "requirements": {"type": "list", "elements": "str", "required": True},
            "allowed": {
                "type": "list",
                "elements": "str",
                "default": list(program.ITS_OWN),
            },
            "allow_moves": {"type": "bool", "default": False},
            "index_url": {"type": "str", "no_log": True},
            "extra_index_urls": {"type": "list", "elements": "str", "no_log": True},
            "proxy": {"type": "str", "no_log": True},
            "cert": {"type": "path"},
            "find_links": {"type": "list", "elements": "path"},
            "no_index": {"type": "bool", "default": False},
            "user": {"type": "str"},
            "timeout": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    try:
        # Another portal may have the same environment.
        with contextlib.nullcontext() if module.check_mode else alone_on_server("packages"):
            answer = work(module.params, module.check_mode)
    except (Failed, Busy) as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
