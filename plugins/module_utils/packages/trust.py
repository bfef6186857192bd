# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who besides root could change what root's pip runs, loads or reads: then root does not run it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path
from typing import Iterator

from ansible_collections.tethys.channels.plugins.module_utils import boundary, read_as
from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Rejected,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_env import python_of, site_packages_of
from ansible_collections.tethys.channels.plugins.module_utils.server import trust
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import (
    Account,
    account_of,
)
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

# What root's Python finds of the environment's modules.
ITS_MODULES = ("pip", "packaging")
# Where the distribution's own Python has its standard library, by /bin/python3 and by /usr/bin/python3. A Python in
# /usr/local or /dev/shm may belong to another user.
DISTRIBUTION = ("/", "/usr")


class Failed(Exception):
    """The module cannot do its task; the text is for the administrator."""


def place_of(prefix: str) -> str:
    """Return the environment's site-packages."""
    place = site_packages_of(prefix)
    if place is None:
        raise Failed(f"tethys_conda_prefix is {prefix}, which has no lib/python3.*/site-packages: correct it.")
    return place


def owner_of(place: str) -> Account:
    """Return the user that the packages in site-packages belong to."""
    # Of a link itself, and not of what it leads to: its owner may have it lead into a folder of root's.
    return account_of(Path(place).lstat().st_uid)


def refuse_for_root(prefix: str, place: str, names: list[str], find_links: list[str]) -> None:
    """Fail where somebody besides root can change what root's Python and pip run, load, read as settings or replace.

    What lies in other packages, such as an app's workspaces, is nothing of these.
    """
    said = f"tethys_conda_prefix is {prefix}: its packages belong to root"
    # One after the other: a file is checked before it is read to find the next.
    for path in itertools.chain((python_of(prefix), place), changeable(prefix, place, names)):
        refuse_path(said, path, prefix)
    for folder in find_links:
        said = f"channels_redis_find_links has {folder}: the packages in {prefix} belong to root"
        for path in (str(Path(folder).absolute()), *foreign_below(folder, deep=False)):
            refuse_path(said, path)


def refuse_path(said: str, path: str, prefix: str = "") -> None:
    """Fail where somebody besides root can change what a path leads to."""
    for writer in trust.writable_by_others(path):
        if writer["fix"] and not writer["link"]:
            way_out = f"run `{writer['fix']}`"
        elif writer["how"] == "owner" and not writer["link"] and prefix.startswith(f"{writer['path']}/"):
            # A home folder stays its user's, and the environment in it can be that user's.
            owner = shell_words("chown", "-hR", f"{writer['name']}:", prefix)
            way_out = f"run `{owner}`, after which pip runs as {writer['name']}"
        else:
            way_out = f"replace {path} by root's own"
        raise Failed(
            f"{said}, and pip runs as root only where nobody else can change it, and {trust.who_can(writer)} can "
            f"change {writer['path']}: {way_out}."
        )


def changeable(prefix: str, place: str, names: list[str]) -> Iterator[str]:
    """The files and folders that root's Python and pip use, and somebody besides root might change."""
    for name in ("pyvenv.cfg", "pip.conf"):
        yield str(Path(prefix, name))
    homes = {prefix, str(Path(os.path.realpath(python_of(prefix))).parent.parent)}
    with contextlib.suppress(OSError, Rejected):
        # What a venv was made from has its standard library.
        text = read_as.read_file(str(Path(prefix, "pyvenv.cfg")), None, boundary.MOST_BYTES).decode(errors="replace")
        homes.update(str(Path(home).parent) for home in re.findall(r"^home *= *(/.*\S)", text, re.MULTILINE))
    for home in sorted(homes):
        if home in DISTRIBUTION and home != prefix:
            continue
        for folder in ("bin", "ssl") if home == prefix else ():
            yield from foreign_below(str(Path(home, folder)))
        for lib in ("lib", "lib64"):
            yield str(Path(home, lib))
            yield from foreign_below(str(Path(home, lib)), deep=False)
            for below in (Path(place).parent.name, "ossl-modules", "engines-3", "engines-1.1"):
                yield str(Path(home, lib, below))
                yield from foreign_below(str(Path(home, lib, below)), but="site-packages")
    used = {name.replace("-", "_").lower() for name in (*ITS_MODULES, *names)}
    for entry in sorted(Path(place).iterdir()):
        if re.split(r"[-.]", entry.name)[0].lower() in used:
            yield str(entry)
            yield from foreign_below(str(entry))


def foreign_below(folder: str, deep: bool = True, but: str = "") -> Iterator[str]:
    """What somebody besides root might change below a folder, or only of the files in it; what links lead to, too."""
    pending, seen = [folder], set()
    # Whether a group has members is checked once, not for each of thousands of files.
    peopled: dict[int, bool] = {}
    while pending:
        current = pending.pop()
        real = os.path.realpath(current)
        if real in seen or not Path(real).is_dir():
            continue
        seen.add(real)
        with os.scandir(current) as entries:
            for entry in entries:
                is_folder = Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()
                if is_folder and (not deep or (entry.name == but and current == folder)):
                    continue
                if is_folder:
                    pending.append(entry.path)
                if entry.is_symlink():
                    if "/" in os.readlink(entry.path):
                        yield entry.path
                    continue
                status = entry.stat(follow_symlinks=False)
                shared = status.st_mode & 0o002
                if status.st_mode & 0o020:
                    if status.st_gid not in peopled:
                        peopled[status.st_gid] = bool(trust.members_of(status.st_gid))
                    shared = shared or peopled[status.st_gid] or bool(os.listxattr(entry.path))
                if status.st_uid != 0 or shared:
                    yield entry.path
