# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of the portal's processes besides those that every portal has.

They are the administrator's (of the variable `asgi_service_environment`, else of the program that was adopted), and
conda's (`conda env config vars`, and the `env_vars.d` of packages). They are in a file of root's that the processes'
shell reads as the portal's user. Their values, which may be secret, do not leave the server.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Mapping, NamedTuple, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames, asgi_groups
from ansible_collections.tethys.channels.plugins.module_utils.read_as import read_file
from ansible_collections.tethys.channels.plugins.module_utils.server.conda_variables import accepted, of_conda
from ansible_collections.tethys.channels.plugins.module_utils.server.portal_program import environment_of, is_portals
from ansible_collections.tethys.channels.plugins.module_utils.server.supervisord import Portal
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import writable_by_others
from ansible_collections.tethys.channels.plugins.module_utils.services import Supervisor

# The kinds of sections that define a program.
PROGRAMS = ("program", "fcgi-program")
MOST_BYTES = 64 * 1024
HEADER = "# The role tethys.channels.asgi_service writes this file. The portal's processes get these variables.\n"
# The variables below this line are conda's, and are read again in each run.
CONDAS = "# By conda (`conda env config vars list`, etc/conda/env_vars.d):\n"
# The options of a module for this file.
OPTIONS: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "group": {"type": "str", "required": True},
    "program": {"type": "path", "required": True},
    "prefix": {"type": "path", "required": True},
    "given": {"type": "str", "no_log": True},
    "portal_name": {"type": "str", "default": ""},
}


class Unusable(Exception):
    """Why the file of an earlier run cannot be used.

    Args:
        path: the file.
        why: what is wrong with it, as the predicate of a sentence.
    """

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return (
            f"{self.path} {self.why}. It holds variables of the portal's processes. Correct it, or set"
            " asgi_service_environment to the variables that it is to have."
        )


class _State(TypedDict, total=False):
    # Why the file of an earlier run cannot be used, in sentences.
    problem: str
    # Of conda's, and not as in that file.
    changed: list[str]


class Names(_State):
    """The names of variables, without their values."""

    # Of the file that an earlier run has written; None where there is none.
    kept: list[str] | None
    conda: list[str]
    # Of conda's, and cannot be set.
    rejected: list[str]


class Written(NamedTuple):
    """The variables in the file of an earlier run: the administrator's and conda's."""

    own: dict[str, str]
    conda: dict[str, str]


def _of_file(path: str) -> Written | None:
    """Return what is in the file that an earlier run has written; None where there is no file.

    Raises:
        Unusable: there is one, and it cannot be read.
    """
    try:
        text = read_file(path, None, MOST_BYTES * 2).decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unusable(path, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise Unusable(path, "is not UTF-8 text") from None
    except Rejected as error:
        why = str(error)
        raise Unusable(path, why[len(path) + 1 :] if why.startswith(f"{path} ") else why) from None
    before, mark, after = text.partition(CONDAS)
    skipped = before.count("\n") + mark.count("\n")
    return Written(_exported(path, before, 0), _exported(path, after, skipped))


def _exported(path: str, text: str, skipped: int) -> dict[str, str]:
    """Return the variables that a text exports, which follows so many lines of its file."""
    found = {}
    for number, line in enumerate(text.splitlines(), skipped + 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            raise Unusable(path, f"cannot be read: line {number} has a quote or a backslash without its end") from None
        for word in words[1:] if words[:1] == ["export"] else []:
            name, equals, value = word.partition("=")
            if equals:
                found[name] = value
    return found


def names(prefix: str, path: str) -> Names:
    """Return what is there, by name."""
    conda, rejected = of_conda(prefix)
    try:
        kept = _of_file(path)
    except Unusable as error:
        return {"kept": [], "conda": sorted(conda), "rejected": rejected, "problem": str(error)}
    found: Names = {"kept": None if kept is None else sorted(kept.own), "conda": sorted(conda), "rejected": rejected}
    changed = set(conda.items()) ^ set(kept.conda.items()) if kept else ()
    if changed:
        found["changed"] = sorted({name for name, _value in changed})
    return found


def of_program(path: str, prefix: str, portal: str) -> dict[str, str]:
    """Return the variables that a program file gives the portal, besides those that every portal has."""
    for file in Supervisor().files():
        for title in asgi_groups_or_all(file.sections, portal) if file.path == path else ():
            return environment_of(file.sections[title], prefix, accepted)[0]
    return {}


def of_portal(prefix: str, home: str, user: str, portal: str = "") -> dict[str, str]:
    """Return the administrator's variables that a run keeps, for a child process of the portal's user.

    They are those of the file that an earlier run has written, else those of the portal's program. A file that a user
    other than root can change gives none.

    Args:
        prefix: the conda environment.
        home: the portal's TETHYS_HOME.
        user: the portal's user. A program of another user's gives none.
        portal: its name, where the server has several.
    """
    own_file = PortalNames(portal).environment
    try:
        kept = _of_file(own_file)
    except Unusable:
        return {}
    if kept is not None:
        # conda's come last there.
        own = {name: value for name, value in kept.own.items() if name not in kept.conda}
        return {} if writable_by_others(own_file) else own
    named: list[tuple[str, Mapping[str, str]]] = []
    others: list[tuple[str, Mapping[str, str]]] = []
    for file in Supervisor(portal=Portal(home, prefix, portal)).files():
        for title, section in file.sections.items():
            is_program = title.partition(":")[0].strip() in PROGRAMS
            runs = is_portals(title, section, home, prefix, portal) if is_program else False
            if asgi_groups([title], portal) and runs is not False:
                named.append((file.path, section))
            elif runs:
                others.append((file.path, section))
    for path, program in [*named, *others][:1]:
        if program.get("user", "root") in ("root", user) and not writable_by_others(path):
            conda = of_conda(prefix)[0]
            adopted = environment_of(program, prefix, accepted)[0]
            return {name: value for name, value in adopted.items() if name not in conda}
    return {}


def asgi_groups_or_all(sections: Mapping[str, Mapping[str, str]], portal: str) -> list[str]:
    """Return the sections of a file with a portal's name, or all programs, the portal's being the only ones there."""
    named = [title for title in sections if asgi_groups([title], portal)]
    return named or [title for title in sections if title.partition(":")[0] in PROGRAMS]


def text_of(path: str, program: str, prefix: str, given: str | None, portal: str = "") -> str:
    """Return what the file is to be.

    Args:
        path: the file.
        program: the program file, which is adopted where there is no such file yet.
        prefix: the conda environment.
        given: the administrator's variables as JSON, instead of the existing ones.
        portal: the portal's name, where the server has several.

    Raises:
        Unusable: there is a file that cannot be read, and no variables are given.
    """
    if given:
        own = {str(name): str(value) for name, value in json.loads(given).items()}
    else:
        kept = _of_file(path)
        own = of_program(program, prefix, portal) if kept is None else kept.own
    conda, _rejected = of_conda(prefix)
    # conda's are set by `conda activate`, after Supervisor's. What the administrator sets here comes last. A value that
    # conda replaces stays in the file: it counts again once conda has none.
    rest = {name: value for name, value in conda.items() if not given or name not in own}
    return HEADER + _exports(own) + CONDAS + _exports(rest)


def expected(environment: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the file as `expected_files` takes it, or nothing without an `environment` (`OPTIONS`).

    Raises:
        Unusable: there is a file that cannot be read, and no variables are given.
    """
    if not environment:
        return []
    given = environment["given"]
    portal = environment.get("portal_name", "")
    text = text_of(environment["path"], environment["program"], environment["prefix"], given, portal)
    rights = {"owner": "root", "group": environment["group"], "mode": "0640"}
    return [{"path": environment["path"], "content": text, "hidden": True, **rights}]


def _exports(values: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(values.items()))
