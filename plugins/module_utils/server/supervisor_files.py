# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read Supervisor's configuration as supervisord reads it.

supervisord merges its own file and the included ones into one configuration. Both ` ;` and ` #` begin a comment behind
a value. `%(here)s` is the folder of the file that it stands in, and `%(ENV_X)s` a variable of supervisord's environment
or of `environment` in [supervisord]. A value that it could not expand, and so does not start with, stays as written.
"""

from __future__ import annotations

import configparser
import glob
import os
import platform
import posixpath
import re
import shlex
from pathlib import Path
from typing import Callable, Iterator, Mapping, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected
from ansible_collections.tethys.channels.plugins.module_utils.read_as import read_file, reader_of
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import account_of

MOST_BYTES = 1024 * 1024
# Bounds of a file that somebody besides root can change: of its size, of the names of its sections, with which each
# `%(program_name)s` is replaced, and of the blanks in a row, over which configparser takes quadratic time.
MOST_OF_OTHERS = 64 * 1024
MOST_NAME = 200
_MANY_BLANKS = re.compile(r"[^\S\n]{200}")
_HERE = "%(here)s"
# A width of more digits would take as much memory.
_FORMATS = re.compile(r"%%|%\([^()%]{0,200}\)[-#0 +]{0,5}[0-9]{0,2}[sd]")
_NAMED = re.compile(r"%\(([^()%]{0,200})\)")
# An expanded value. One of a file of 64 KiB could become a hundred times as long.
MOST_EXPANDED = 64 * 1024
_OPTION = re.compile(r"-c(.+)|--configuration=(.+)")
_PROGRAMS = ("program", "fcgi-program", "eventlistener")


class File(NamedTuple):
    """A file of Supervisor's configuration: its content, and its sections with each option's value as written."""

    path: str
    raw: bytes
    sections: dict[str, dict[str, str]]


def parse(text: str) -> dict[str, dict[str, str]]:
    """Return the sections of a configuration file; configparser.Error where it is none."""
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def read(path: str, kept: bool = False) -> File | None:
    """Return a file of the configuration, read as its owner, or None where it cannot be read or is out of bounds.

    Args:
        kept: whether it is a copy in a folder that only this user can enter, whoever owns the copy.
    """
    owner = reader_of(path)
    roots = owner.uid in (0, os.geteuid())
    reader = account_of(os.geteuid()) if kept else owner
    try:
        raw = read_file(path, reader, MOST_BYTES if roots else MOST_OF_OTHERS)
        text = raw.decode("utf-8", "replace")
        if not roots and _MANY_BLANKS.search(text):
            return None
        sections = parse(text)
        return File(path, raw, sections) if roots or all(len(name) <= MOST_NAME for name in sections) else None
    except (OSError, Rejected, configparser.Error):
        return None


def expanded(value: str, names: Mapping[str, object]) -> str:
    """Return a value with its `%(name)s` replaced, or as written where that is not possible or would be too long."""
    # Any other sign % in it, such as a password's, makes no text that anybody can mean.
    if "%" in _FORMATS.sub("", value):
        return value
    if len(value) + sum(len(str(names.get(name, ""))) for name in _NAMED.findall(value)) > MOST_EXPANDED:
        return value
    try:
        return value % names
    except (KeyError, ValueError, TypeError):
        return value


def pairs(text: str) -> dict[str, str]:
    """Return the variables of an `environment` option: KEY="value",KEY2=value2."""
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():"
    try:
        words = [word for word in lexer if word != ","]
    except ValueError:
        return {}
    rows = zip(words[::3], words[1::3], words[2::3])
    return {key: value.strip("'\"") for key, sign, value in rows if sign == "="}


def config_of(pid: int) -> str | None:
    """Return the configuration that a supervisord was started with, or None where its command does not show it."""
    words = proc.text(pid, "cmdline").split("\0")
    for word, following in zip(words, [*words[1:], ""]):
        found = _OPTION.fullmatch(word)
        given = following if word in ("-c", "--configuration") else (found.group(1) or found.group(2)) if found else ""
        if given:
            return posixpath.normpath(posixpath.join(proc.working_folder(pid), given))
    # As supervisord looks for it beside its own program, such as that of a conda environment.
    program = next((word for word in words if posixpath.basename(word) == "supervisord" and word.startswith("/")), "")
    prefix = posixpath.dirname(posixpath.dirname(program))
    places = [posixpath.join(prefix, name) for name in ("etc/supervisord.conf", "supervisord.conf")] if program else []
    return next((path for path in places if Path(path).is_file()), None)


def is_same(config: str | None, *others: str | None) -> bool:
    """Return whether a configuration is one of others: the same file, which links may give several paths."""
    paths = [None if path is None else os.path.realpath(path) for path in (config, *others)]
    return paths[0] in paths[1:]


def environment_of_supervisord(config: str | None) -> dict[str, str]:
    """Return the environment of root's supervisord that runs with a configuration, or an empty one.

    One whose command does not show its configuration counts too. Whoever can change its program gives it any
    environment.
    """
    pids = [pid for pid in proc.supervisords() if proc.is_roots(pid) and not proc.writers_of_program(pid)]
    known = [pid for of in (config, None) for pid in pids if is_same(config_of(pid), of)]
    return next(map(proc.environment, known or (pids if len(pids) == 1 else [])), {})


class SupervisorFiles:
    """The configuration that begins with one file."""

    def __init__(self, path: str | None, environment: Callable[[], Mapping[str, str]] | None = None) -> None:
        self.path = path
        self._environment = environment or (lambda: environment_of_supervisord(path))
        self._names: dict[str, str] | None = None
        self._files: dict[str, File | None] = {}
        self._merged: dict[str, dict[str, str]] | None = None
        self._main = (self._file(path) if path else None) or File(path or "", b"", {})

    def _file(self, path: str) -> File | None:
        if path not in self._files:
            self._files[path] = read(path)
        return self._files[path]

    def _folder(self, path: str) -> str:
        return posixpath.dirname(posixpath.abspath(path))

    def _variables(self) -> dict[str, str]:
        """Return ENV_X for each variable X of supervisord and of [supervisord]."""
        if self._names is None:
            given = {f"ENV_{key}": value for key, value in self._environment().items()}
            names = {"here": self._folder(self.path or "/"), "host_node_name": platform.node(), **given}
            own = pairs(expanded(self._values("supervisord").get("environment", ""), names))
            self._names = {**given, **{f"ENV_{key}": value for key, value in own.items()}}
        return self._names

    def _expand(self, value: str, folder: str, names: Mapping[str, object]) -> str:
        if "%" not in value:
            return value
        # supervisord replaces it as text, once it has read the [include] section, and expands the rest then.
        value = value.replace(_HERE, folder)
        return expanded(value, {"here": folder, **self._variables(), **names}) if "%" in value else value

    def _values(self, section: str) -> dict[str, str]:
        """Return the options of a section as written, but with the folder of their file.

        Of the files that others can change, such as the manual's link into TETHYS_HOME, none is read here: root would
        look for supervisord where they say, and log in there.
        """
        if self._merged is None:
            self._merged = {}
            for path in [self.path or "", *self.program_files()]:
                roots = path == (self.path or "") or reader_of(path).uid in (0, os.geteuid())
                file = self._file(path) if path and roots else None
                for name, options in (file.sections if file else {}).items():
                    here = self._folder(path)
                    into = self._merged.setdefault(name, {})
                    into.update({key: value.replace(_HERE, here) for key, value in options.items()})
        return self._merged.get(section, {})

    def get(self, section: str, option: str, default: str) -> str:
        """Return an option's value as supervisord has it."""
        value = self._values(section).get(option, default)
        return self._expand(value, self._folder(self.path or "/"), {}).strip()

    @property
    def include_globs(self) -> list[str]:
        """Return the patterns of the [include] section, absolute, in the order in which Supervisor reads them."""
        base = self._folder(self.path or "/")
        patterns = self._main.sections.get("include", {}).get("files", "")
        if "%" in patterns:
            environment = {f"ENV_{key}": value for key, value in self._environment().items()}
            names = {"here": base, "host_node_name": platform.node(), **environment}
            patterns = expanded(patterns.replace(_HERE, base), names)
        return [posixpath.join(base, pattern) for pattern in patterns.split()]

    def program_files(self) -> list[str]:
        """Return the files that Supervisor reads besides its own, sorted as it sorts them."""
        found: list[str] = []
        for pattern in self.include_globs:
            # Supervisor's own way to read a pattern; Path.glob takes no absolute one.
            found.extend(name for name in sorted(glob.glob(pattern)) if name not in found)  # noqa: PTH207
        return found

    def files(self) -> Iterator[File]:
        """Yield the files that can be read, Supervisor's own first, with their values expanded."""
        for path in [*([self.path] if self.path else []), *self.program_files()]:
            file = self._file(path)
            if file:
                yield file._replace(sections={name: self._section(file, name) for name in file.sections})

    def unread(self) -> list[str]:
        """Return the files besides Supervisor's own that are there and could not be read."""
        return [path for path in self.program_files() if self._file(path) is None and Path(path).exists()]

    def _section(self, file: File, name: str) -> dict[str, str]:
        kind, _colon, program = name.partition(":")
        names = {"host_node_name": platform.node()}
        if kind in _PROGRAMS:
            names.update(program_name=program, group_name=program)
        folder = self._folder(file.path)
        return {option: self._expand(value, folder, names) for option, value in file.sections[name].items()}
