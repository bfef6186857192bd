# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a portal is like: its folders and their owners, and what its own Python says of it."""

from __future__ import annotations

import grp
import hashlib
import importlib.util
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from ansible_collections.tethys.channels.plugins.module_utils import (
    portal_env,
    portal_user,
)
from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    MOST_BYTES,
    Kind,
    Rejected,
    accept_value,
    load,
)
from ansible_collections.tethys.channels.plugins.module_utils.facts import BLOCKED, LEFTOVERS, LOOK_ANSWER, Leftover
from ansible_collections.tethys.channels.plugins.module_utils.portal_common import NO_END, PACKAGES
from ansible_collections.tethys.channels.plugins.module_utils.read_as import ask_as
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import (
    Account,
    account_of,
)
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

if TYPE_CHECKING:
    # Ansible sends them along; only the portal's Python loads them.
    from ansible_collections.tethys.channels.plugins.module_utils import layer_packages, portal_look  # noqa: F401

# The options of a module that inspects a portal.
OPTIONS: dict[str, Any] = {
    "prefix": {"type": "path", "required": True},
    "home": {"type": "path", "required": True},
    "user": {"type": "str"},
    "requirements": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "int", "default": 60},
    "portal_name": {"type": "str", "default": ""},
}
FIRST_GOOD_BOKEH_DJANGO = (0, 2, 1)
# If a portal's workspaces have more files than this, only these are checked, so that it does not take minutes.
MOST_ENTRIES = 100_000
MOST_OWNERS = 500
WALK_SECONDS = 10.0
# How long the kernel may take to answer for all paths; one may be on a file system that hangs.
ACCESS_SECONDS = 20.0
# A portal_config.yml holds some KiB.
MOST_CONFIG = 512 * 1024
# Answered by the portal's Python; null until it has answered.
ASKED = (
    *("lacking", "settings", "settings_problem", "start_problem", "database_problem", "connection_limit"),
    "lifecycle_consumer",
)


class Look:
    """The inspection of a portal. Its Python begins at once, and is waited for in ``facts``. A context manager."""

    def __init__(
        self,
        prefix: str,
        home: str,
        user: str | None,
        timeout: float,
        requirements: Sequence[str] = (),
        if_late: str = "",
        portal_name: str = "",
    ) -> None:
        """Begin.

        Args:
            if_late: what follows the problem where the portal's Python did not end in time, without a period.
            portal_name: its name, where the server has several.
        """
        self._started = time.monotonic()
        self._prefix, self._home, self._config = prefix, home, Path(home, "portal_config.yml")
        name = portal_user.resolve_user(user)
        self._who = portal_user.runner_for(name, home)
        self._portal: dict[str, Any] = dict.fromkeys(ASKED)
        self._portal.update(
            user=name,
            group=group_of(self._who) if name and self._who else None,
            user_problem=portal_user.user_problem(name, self._who, home),
            prefix_problem=prefix_problem(prefix),
            home_problem=home_problem(home),
            prefix_owner=owner_of(prefix),
            python=None,
            site_packages=portal_env.site_packages_of(prefix),
            versions=dict.fromkeys(PACKAGES),
            # While the portal's Python starts.
            config={},
            apps=[],
            app_problems=[],
            bokeh="unknown",
            bokeh_problem=None,
            warnings=[],
        )
        self._job: portal_env.PortalJob | None = None
        if self._who and not any(self._portal[f"{what}_problem"] for what in ("prefix", "home", "user")):
            params, extras = self._questions(requirements)
            program = (prefix, home, self._who, portal_env.INSPECTION)
            self._job = portal_env.PortalJob(*program, params, timeout, LOOK_ANSWER, extras, if_late, portal_name)

    def __enter__(self) -> Look:
        return self

    def __exit__(self, *_reason: object) -> None:
        if self._job:
            self._job.close()

    @property
    def user(self) -> str | None:
        """Who runs the portal, or would; None where it is not known."""
        return self._who.name if self._who else None

    def _questions(self, requirements: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """Return what the portal's Python is given, and the modules sent along."""
        params: dict[str, Any] = {}
        extras = []
        if portal_user.yes(self._config.exists) and importlib.util.find_spec("yaml") is None:
            # Tethys always brings PyYAML, the server's own Python may lack it.
            params = {"yaml_check": portal_env.YAML, "config_file": str(self._config)}
            extras.append(portal_env.YAML)
        if requirements:
            params.update(packages_look=portal_env.PACKAGES, requirements=requirements)
            extras.append(portal_env.PACKAGES)
        return params, extras

    def facts(self) -> dict[str, Any]:
        """Return everything there is to say about the portal; what is wrong is reported, not raised."""
        portal, home = self._portal, self._home
        portal["config"] = config_facts(str(self._config), self._who)
        why_not = portal["prefix_problem"] or portal["home_problem"] or portal["user_problem"]
        if self._job:
            why_not = fill_in(portal, self._prefix, self._job.result())
        if portal["bokeh"] == "unknown" and not portal["bokeh_problem"]:
            portal["bokeh_problem"] = f"Whether an app has a Bokeh handler is not known: {why_not}"
        # Without that user there is nobody to ask for.
        known = self._who if not portal["user_problem"] else None
        portal["access"] = access(wanted(self._prefix, home, portal["settings"]), known) if known else []
        portal["leftovers"] = leftovers(data_folders(home, portal["settings"]), known) if known else []
        portal["warnings"] += bokeh_warnings(portal)
        portal["seconds"] = round(time.monotonic() - self._started, 2)
        return portal


def look(*given: Any, **named: Any) -> dict[str, Any]:
    """Return everything there is to say about the portal; see Look."""
    with Look(*given, **named) as inspection:
        return inspection.facts()


def fill_in(portal: dict[str, Any], prefix: str, run: portal_env.PortalRun) -> str | None:
    """Add what the portal's Python answered; returns why it could not, or None."""
    config = portal["config"]
    answer = dict(run.answer)
    if answer.get("versions"):
        portal["python"] = portal_env.python_of(prefix)
        portal["versions"].update(answer.pop("versions"))
    config["problem"] = config["problem"] or answer.pop("config_problem", None)
    portal.update(answer)
    portal["warnings"] += run.warnings
    if run.problem and not portal["python"]:
        portal["prefix_problem"] = run.problem
    elif run.problem and portal["settings"] is None:
        portal["settings_problem"] = portal["settings_problem"] or run.problem
    elif run.problem:
        portal["start_problem"] = portal["start_problem"] or run.problem
    if run.problem and portal["bokeh_problem"]:
        # What the source showed was to hold until Tethys had started.
        portal["bokeh_problem"] = portal["bokeh_problem"].replace(NO_END, run.problem.rstrip("."))
    if portal["python"] and not portal["versions"]["tethys_platform"]:
        portal["prefix_problem"] = f"tethys-platform is not installed in {prefix}."
    elif portal["python"] and not portal["site_packages"]:
        portal["prefix_problem"] = f"There is no {prefix}/lib/python3.<version>/site-packages."
    return run.problem


def group_of(who: Account) -> str:
    """The primary group of that user, by name where it has one."""
    try:
        return grp.getgrgid(who.gid).gr_name
    except KeyError:
        return str(who.gid)


def prefix_problem(prefix: str) -> str | None:
    """Why that folder is no Tethys environment."""
    python = Path(portal_env.python_of(prefix))
    if not portal_user.yes(Path(prefix).is_dir):
        return f"There is no folder {prefix}."
    if not portal_user.yes(python.exists):
        return f"There is no {python}, so {prefix} is not a Python environment."
    if not python.is_file() or not python.stat().st_mode & 0o111:
        return f"{python} is no program."
    return None


def home_problem(home: str) -> str | None:
    """Why that folder cannot be TETHYS_HOME."""
    if portal_user.yes(Path(home).is_dir):
        return None
    closed = closed_to_root(Path(home))
    if closed:
        return f"{closed}."
    return f"{home} is not a folder." if portal_user.yes(Path(home).exists) else f"There is no folder {home}."


def owner_of(path: str) -> dict[str, Any] | None:
    """The owner of a path."""
    try:
        uid = Path(path).stat().st_uid
    except OSError:
        return None
    return {"user": account_of(uid).name, "uid": uid}


def closed_to_root(file: Path) -> str | None:
    """Return that root may not enter a folder on the way to a file, and the fix, without a period; usually None."""
    for folder in reversed(file.parents):
        try:
            # Looked up in the folder, which takes the right to enter it.
            Path(folder, "..").stat()
        except PermissionError:
            fix = shell_words("chmod", "o+x", folder)
            return f"root cannot enter {folder}, as on NFS with root_squash: let others enter it (`{fix}`)"
        except OSError:
            break
    return None


def config_facts(path: str, who: Account | None = None) -> dict[str, Any]:
    """Return facts of portal_config.yml that need no Tethys; ``who`` is the portal's user."""
    # Not above: the portal's Python starts before they are loaded.
    from ansible_collections.tethys.channels.plugins.module_utils import portal_yaml
    from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import Refused, owned_file

    file, real = Path(path), os.path.realpath(path)
    facts: dict[str, Any] = dict.fromkeys(("owner", "group", "mode", "others_can_read", "sha256", "problem"))
    facts.update(path=path, realpath=real, exists=portal_user.yes(file.exists))
    if not facts["exists"]:
        closed = closed_to_root(file)
        if closed:
            facts["problem"] = f"{closed}."
        elif portal_user.yes(file.is_symlink):
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
        owner=account_of(status.st_uid).name,
        group=group,
        mode=f"{stat.S_IMODE(status.st_mode):04o}",
        others_can_read=bool(status.st_mode & stat.S_IROTH)
        and all(folder.stat().st_mode & stat.S_IXOTH for folder in Path(real).parents),
    )
    try:
        # As it will be written: what is refused then is refused now.
        with owned_file(path, MOST_CONFIG, who) as opened:
            raw = opened.read().raw
    except OSError as error:
        facts["problem"] = f"{path} cannot be read: {error.strerror}."
        return facts
    except Refused as error:
        facts["problem"] = f"{error}."
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
    needs = (
        [(prefix, "traverse"), (portal_env.python_of(prefix), "execute")]
        if portal_user.yes(Path(prefix).is_dir)
        else []
    )
    if not portal_user.yes(Path(home).is_dir):
        return needs
    needs += [(home, "traverse"), (str(Path(home, "portal_config.yml")), "read")]
    database = settings.get("database") or {"engine": "sqlite3", "name": str(Path(home, "tethys_platform.sqlite"))}
    file = Path(database["name"] or "")
    if "sqlite" in (database["engine"] or "") and file.is_absolute():
        # SQLite keeps its journal beside the database.
        needs += [(str(file), "write"), (str(file.parent), "write")]
        needs += [(f"{file}-{kind}", "write") for kind in ("journal", "wal", "shm")]
    needs += [(folder, "write") for folder in data_folders(home, settings)]
    return [(path, need) for path, need in dict.fromkeys(needs) if portal_user.yes(Path(path).exists)]


def data_folders(home: str, settings: dict[str, Any] | None) -> list[str]:
    """Where the portal's apps keep what they write."""
    settings = settings or {}
    folders = (("workspaces_root", "workspaces"), ("media_root", "media"))
    return [settings.get(key) or str(Path(home, folder)) for key, folder in folders]


def access(needs: list[tuple[str, str]], who: Account) -> list[dict[str, Any]]:
    """Ask the kernel, as that user, for everything the user needs."""
    # A link's target is below other folders; only root can follow every link, so links are resolved beforehand.
    asked = [(path, os.path.realpath(path), need) for path, need in needs]
    found = as_user(who, lambda: [blocked(path, real, need) for path, real, need in asked], BLOCKED, ACCESS_SECONDS)
    found = [path for path, _need in needs] if found is None else found
    rows = []
    for (path, need), by in zip(needs, found):
        owner = owner_of(by) if by else None
        rows.append(
            {
                "path": path,
                "need": need,
                "ok": by is None,
                "blocked_by": by,
                "owner": owner["user"] if owner else None,
                # Where a link leads that an app may have put there.
                "real": os.path.realpath(by) if by else None,
            }
        )
    return rows


def leftovers(folders: list[str], who: Account) -> list[dict[str, Any]]:
    """What in the data folders that user cannot write, by its owner."""
    found = as_user(who, lambda: unwritable(folders, WALK_SECONDS), LEFTOVERS, WALK_SECONDS + ACCESS_SECONDS) or []
    return [{**row, "owner": account_of(row["uid"]).name, "real": os.path.realpath(row["folder"])} for row in found]


def unwritable(folders: list[str], seconds: float) -> list[Leftover]:
    """Return what this process cannot write in these folders, by owner, as far as found within the seconds."""
    found: dict[tuple[str, int], Leftover] = {}
    until = time.monotonic() + seconds
    seen = 0
    for top in folders:
        for entry in entries_below(top):
            seen += 1
            if seen > MOST_ENTRIES or time.monotonic() > until or len(found) >= MOST_OWNERS:
                return list(found.values())
            try:
                status = entry.stat(follow_symlinks=False)
                need = os.W_OK | os.X_OK if entry.is_dir(follow_symlinks=False) else os.W_OK
            except OSError:
                continue  # it went away
            if stat.S_ISLNK(status.st_mode) or os.access(entry.path, need):
                continue
            fresh = Leftover(folder=top, uid=status.st_uid, count=0, example=entry.path)
            found.setdefault((top, status.st_uid), fresh)["count"] += 1
    return list(found.values())


def entries_below(top: str) -> Iterator[os.DirEntry[str]]:
    """Yield what lies below a folder, one folder after the other, and keep no list of what a folder holds."""
    folders = [top]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    yield entry
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except OSError:
            continue  # it cannot be read, or went away


def as_user(who: Account, question: Callable[[], Any], kind: Kind, seconds: float) -> Any:
    """Call a function in a child process as that user, and return its result; None if there is none."""
    try:
        raw = ask_as(who, lambda: json.dumps(question()).encode("utf-8"), MOST_BYTES, seconds)
        return accept_value(load(raw), kind)
    except Rejected:
        return None


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
