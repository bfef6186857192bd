#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: portal_info
short_description: Read what a Tethys Portal is like
version_added: 1.0.0
description:
  - Starts the portal's own Python once, as the portal's user and with the environment's activation scripts, and asks
    it for its versions, settings, apps and Bokeh handlers.
  - Changes nothing. What Tethys writes to its database at every start is switched off while it is looked at.
  - Never fails for what the portal is like. What is wrong is reported in sentences for the caller to judge.
options:
  prefix:
    description: The conda (or other) environment that Tethys is installed in; C(<prefix>/bin/python) is started.
    type: path
    required: true
  home:
    description: The folder of C(portal_config.yml), TETHYS_HOME.
    type: path
    required: true
  user:
    description:
      - The user that the portal's processes run as.
      - Without it the web server's user is taken, which is the one that C(/etc/nginx/nginx.conf) names, else the
        first that exists of C(www-data), C(nginx), C(apache) and C(www).
    type: str
  timeout:
    description: Seconds after which the portal's Python is ended; what it has said until then is returned.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the same, since it only reads.
  diff_mode:
    support: N/A
    description: Changes nothing.
  platform:
    platforms: posix
    support: full
    description: Runs on Linux, on the portal's server, and as root, since it becomes the portal's user.
author:
  - tethys.channels contributors (@tethys-channels)
"""

EXAMPLES = r"""
- name: Look at the portal
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
  description: What was found. What could not be read is null, with the reason beside it.
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
      description: The Python that was started.
      type: str
    site_packages:
      description: The folder that Tethys is installed in.
      type: str
    versions:
      description:
        - Versions of the packages that matter to the channel layer, by name with underscores; null where a package is
          not installed.
      type: dict
      sample: {"tethys_platform": "4.6.1", "channels_redis": null}
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
          C(channel_layers), C(layer_backend), C(layer_hosts) and C(database) (C(engine), C(name), C(host)).
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
        - An empty list means that there is none for certain. Where RV(portal.bokeh_problem) is set, there may be more
          than those listed.
      type: raw
      sample: [{"app": "bokehplot", "name": "home", "url": "/apps/bokehplot/"}]
    bokeh_problem:
      description: Why the Bokeh handlers are not, or not all, known; null when they are.
      type: str
    lifecycle_consumer:
      description:
        - Whether this Tethys has the WebSocket consumer C(ws/app-lifecycle) that a delivery can be proved with; null
          when that is not known.
      type: bool
    warnings:
      description: Sentences about what is not a problem of the run but worth knowing.
      type: list
      elements: str
    seconds:
      description: How long the look took.
      type: float
"""

import grp
import hashlib
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils import (
    portal_env,
    portal_look,
    portal_yaml,
)

FIRST_GOOD_BOKEH_DJANGO = (0, 2, 1)
# A portal with more files than this in its workspaces is looked at in part: the look must not take minutes.
MOST_ENTRIES = 100_000
# Answered by the portal's Python; null until it has answered.
ASKED = (
    "python",
    "site_packages",
    "settings",
    "settings_problem",
    "start_problem",
    "database_problem",
    "lifecycle_consumer",
)


def look(prefix: str, home: str, user: str | None, timeout: float) -> dict[str, Any]:
    """Everything there is to say about the portal; what is wrong is said, not raised."""
    started = time.monotonic()
    name = portal_env.resolve_user(user)
    who = portal_env.runner_for(name, home)
    portal: dict[str, Any] = dict.fromkeys(ASKED)
    portal.update(
        user=name,
        group=group_of(who) if name else None,
        user_problem=user_problem(name, who),
        prefix_problem=prefix_problem(prefix),
        home_problem=home_problem(home),
        prefix_owner=owner_of(prefix),
        versions=dict.fromkeys(portal_look.PACKAGES),
        config=config_facts(str(Path(home, "portal_config.yml"))),
        apps=[],
        app_problems=[],
        bokeh="unknown",
        bokeh_problem=None,
        warnings=[],
    )
    why_not = portal["prefix_problem"] or portal["home_problem"] or portal["user_problem"]
    if not why_not:
        why_not = ask(portal, prefix, home, who, timeout)
    if portal["bokeh"] == "unknown" and not portal["bokeh_problem"]:
        portal["bokeh_problem"] = f"Whether an app has a Bokeh handler is not known: {why_not}"
    # Without that user there is nobody to ask for.
    known = not portal["user_problem"]
    portal["access"] = access(wanted(prefix, home, portal["settings"]), who) if known else []
    portal["leftovers"] = leftovers(data_folders(home, portal["settings"]), who) if known else []
    portal["warnings"] += bokeh_warnings(portal)
    portal["seconds"] = round(time.monotonic() - started, 2)
    return portal


def ask(portal: dict[str, Any], prefix: str, home: str, who: portal_env.Account, timeout: float) -> str | None:
    """Have the portal's Python fill in its part; returns why it could not, or None."""
    config = portal["config"]
    params: dict[str, Any] = {}
    if config["exists"] and not portal_yaml.HAS_YAML:
        # Tethys always brings PyYAML, the server's own Python may lack it.
        params = {"yaml_check": portal_yaml.__name__, "config_file": config["path"]}
    extras = [params["yaml_check"]] if params else []
    run = portal_env.run_in_portal(prefix, home, who, portal_look, params, timeout, extras)
    answer = dict(run.answer)
    config["problem"] = config["problem"] or answer.pop("config_problem", None)
    portal.update(answer)
    portal["warnings"] += run.warnings
    if run.problem and not portal["python"]:
        portal["prefix_problem"] = run.problem
    elif run.problem and portal["settings"] is None:
        portal["settings_problem"] = portal["settings_problem"] or run.problem
    elif run.problem:
        portal["start_problem"] = portal["start_problem"] or run.problem
    if portal["python"] and not portal["versions"]["tethys_platform"]:
        portal["prefix_problem"] = f"tethys-platform is not installed in {prefix}."
    return run.problem


def group_of(who: portal_env.Account) -> str:
    """The primary group of that user, by name where it has one."""
    try:
        return grp.getgrgid(who.gid).gr_name
    except KeyError:
        return str(who.gid)


def user_problem(name: str | None, who: portal_env.Account) -> str | None:
    """Why the portal cannot run as that user."""
    if name is None:
        return None
    if portal_env.account(name) is None:
        return f"There is no user {name} on this server."
    if who.name != name:
        return f"Only root can start the portal's Python as {name}, and this runs as {who.name} (become)."
    return None


def yes(question: Callable[[], bool]) -> bool:
    """The answer to a question about a path; who is not root may meet a folder on the way that it cannot enter."""
    try:
        return question()
    except OSError:
        return False


def prefix_problem(prefix: str) -> str | None:
    """Why that folder is no Tethys environment."""
    python = Path(portal_env.python_of(prefix))
    if not yes(Path(prefix).is_dir):
        return f"There is no folder {prefix}."
    if not yes(python.exists):
        return f"There is no {python}, so {prefix} is no Python environment."
    if not python.is_file() or not python.stat().st_mode & 0o111:
        return f"{python} is no program."
    return None


def home_problem(home: str) -> str | None:
    """Why that folder cannot be TETHYS_HOME."""
    if yes(Path(home).is_dir):
        return None
    return f"{home} is no folder." if yes(Path(home).exists) else f"There is no folder {home}."


def owner_of(path: str) -> dict[str, Any] | None:
    """The owner of a path."""
    try:
        uid = Path(path).stat().st_uid
    except OSError:
        return None
    return {"user": portal_env.account_of(uid).name, "uid": uid}


def config_facts(path: str) -> dict[str, Any]:
    """Facts of portal_config.yml that need no Tethys."""
    file, real = Path(path), os.path.realpath(path)
    facts: dict[str, Any] = dict.fromkeys(("owner", "group", "mode", "others_can_read", "sha256", "problem"))
    facts.update(path=path, realpath=real, exists=yes(file.exists))
    if not facts["exists"]:
        if yes(file.is_symlink):
            facts["problem"] = f"{path} is a link to {real}, which does not exist."
        return facts
    if not file.is_file():
        facts["problem"] = f"{path} is no file."
        return facts
    status = file.stat()
    try:
        group = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        group = str(status.st_gid)
    facts.update(
        owner=portal_env.account_of(status.st_uid).name,
        group=group,
        mode=f"{stat.S_IMODE(status.st_mode):04o}",
        others_can_read=bool(status.st_mode & stat.S_IROTH)
        and all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(real).parents),
    )
    try:
        raw = file.read_bytes()
    except OSError as error:
        facts["problem"] = f"{path} cannot be read: {error.strerror}."
        return facts
    facts["sha256"] = hashlib.sha256(raw).hexdigest()
    if portal_yaml.HAS_YAML:
        try:
            portal_yaml.check_bytes(raw)
        except portal_yaml.PortalYamlError as error:
            facts["problem"] = str(error)
    return facts


def wanted(prefix: str, home: str, settings: dict[str, Any] | None) -> list[tuple[str, str]]:
    """What the portal's user needs, as (path, need). What does not exist yet is not asked for."""
    settings = settings or {}
    needs = [(prefix, "traverse"), (portal_env.python_of(prefix), "execute")] if yes(Path(prefix).is_dir) else []
    if not yes(Path(home).is_dir):
        return needs
    needs += [(home, "traverse"), (str(Path(home, "portal_config.yml")), "read")]
    database = settings.get("database") or {"engine": "sqlite3", "name": str(Path(home, "tethys_platform.sqlite"))}
    file = Path(database["name"] or "")
    if "sqlite" in (database["engine"] or "") and file.is_absolute():
        # SQLite keeps its journal beside the database.
        needs += [(str(file), "write"), (str(file.parent), "write")]
        needs += [(f"{file}-{kind}", "write") for kind in ("journal", "wal", "shm")]
    needs += [(folder, "write") for folder in data_folders(home, settings)]
    return [(path, need) for path, need in dict.fromkeys(needs) if yes(Path(path).exists)]


def data_folders(home: str, settings: dict[str, Any] | None) -> list[str]:
    """Where the portal's apps keep what they write."""
    settings = settings or {}
    folders = (("workspaces_root", "workspaces"), ("media_root", "media"))
    return [settings.get(key) or str(Path(home, folder)) for key, folder in folders]


def access(needs: list[tuple[str, str]], who: portal_env.Account) -> list[dict[str, Any]]:
    """Ask the kernel, as that user, for everything the user needs."""
    # A link's target has folders of its own in the way; only root can follow every link, so this is done beforehand.
    asked = [(path, os.path.realpath(path), need) for path, need in needs]
    found = as_user(who, lambda: [blocked(path, real, need) for path, real, need in asked])
    found = [path for path, _need in needs] if found is None else found
    rows = []
    for (path, need), by in zip(needs, found):
        owner = owner_of(by) if by else None
        rows.append(
            {"path": path, "need": need, "ok": by is None, "blocked_by": by, "owner": owner["user"] if owner else None}
        )
    return rows


def leftovers(folders: list[str], who: portal_env.Account) -> list[dict[str, Any]]:
    """What in the data folders that user cannot write, by its owner."""
    found = as_user(who, lambda: unwritable(folders)) or []
    return [{**row, "owner": portal_env.account_of(row["uid"]).name} for row in found]


def unwritable(folders: list[str]) -> list[dict[str, Any]]:
    """The files and folders in these that this process cannot write, by their owner's number."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    seen = 0
    for top in folders:
        for folder, names, files in os.walk(top):
            for name in names + files:
                seen += 1
                if seen > MOST_ENTRIES:
                    return list(found.values())
                path = Path(folder, name)
                need = os.W_OK | os.X_OK if name in names else os.W_OK
                try:
                    status = path.lstat()
                except OSError:
                    continue  # it went away
                if stat.S_ISLNK(status.st_mode) or os.access(path, need):
                    continue
                fresh = {"folder": top, "uid": status.st_uid, "count": 0, "example": str(path)}
                found.setdefault((top, status.st_uid), fresh)["count"] += 1
    return list(found.values())


def as_user(who: portal_env.Account, question: Callable[[], Any]) -> Any:
    """The answer to a question that a child process asks as that user; None where it came to nothing."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read_end)
            switch = portal_env.become(who)
            if switch:
                switch()
            with os.fdopen(write_end, "w") as out:
                json.dump(question(), out)
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def blocked(path: str, real: str, need: str) -> str | None:
    """The first part of a path that keeps this process from what it needs there, or None."""
    for place in (path, real):
        for folder in reversed(Path(place).parents):
            if not os.access(folder, os.X_OK):
                return str(folder)
    asked = {"traverse": os.X_OK, "execute": os.X_OK | os.R_OK, "read": os.R_OK, "write": os.W_OK}[need]
    if Path(real).is_dir():
        # To write in a folder, or to read what is in it, one has to be able to enter it.
        asked |= os.X_OK
    return None if os.access(path, asked) else path


def bokeh_warnings(portal: dict[str, Any]) -> list[str]:
    """Versions of Bokeh's parts that are known to misbehave."""
    version = portal["versions"]["bokeh_django"]
    handlers = portal["bokeh"] if isinstance(portal["bokeh"], list) else []
    if version and version_numbers(version) < FIRST_GOOD_BOKEH_DJANGO:
        return [
            f"bokeh-django {version} answers only a part of the requests where there is more than one ASGI process; "
            "0.2.1 is the first version that can be pinned to one of several."
        ]
    if handlers and not version:
        return [
            "{} has a Bokeh handler, but bokeh-django is not installed in the environment.".format(handlers[0]["app"])
        ]
    return []


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version starts with: 0.2.1rc1 as (0, 2, 1)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found.group(0).split(".")) if found else ()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "home": {"type": "path", "required": True},
            "user": {"type": "str"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    given = module.params
    module.exit_json(changed=False, portal=look(given["prefix"], given["home"], given["user"], given["timeout"]))


if __name__ == "__main__":
    main()
