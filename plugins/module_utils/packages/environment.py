# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python environment, spoken to as the user that it belongs to."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

from ansible_collections.tethys.channels.plugins.module_utils import boundary, read_as
from ansible_collections.tethys.channels.plugins.module_utils import layer_packages as program
from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Flag,
    Listing,
    Maybe,
    Name,
    Rejected,
    Table,
    Text,
)
from ansible_collections.tethys.channels.plugins.module_utils.packages.trust import (
    ITS_MODULES,
    Failed,
    foreign_below,
    owner_of,
    place_of,
    refuse_for_root,
    refuse_path,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_env import python_of, source_of
from ansible_collections.tethys.channels.plugins.module_utils.run_command import (
    CommandFailed,
    Completed,
    TimedOut,
    run_command,
)
from ansible_collections.tethys.channels.plugins.module_utils.secrets import logins_in, without_logins
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import (
    Account,
    account_of,
    become,
)
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

LOOK_SECONDS = 120
RESTORE_SECONDS = 300
# pip's report has the whole description of each package.
MOST_REPORT = 16 * 1024 * 1024
# Not what TMPDIR says: a root's own folder for temporary files may be closed to the environment's user.
TEMPORARY = "/tmp"  # noqa: S108 - each entry in it has a unique name and mode 0700
# Of the task's environment and the server's, what says where packages come from; nothing that says where they go.
HANDED_ON = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT", "PIP_CLIENT_CERT"),
    *("PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_CONFIG_FILE"),
    *("PIP_CONSTRAINT", "PIP_ONLY_BINARY", "PIP_NO_BINARY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
)
# What the program in the environment's Python, which is its owner's, may answer.
ANSWER = boundary.Record(
    {
        "problem": Text(),
        "pip": Maybe(Text(100)),
        "versions": Table(Text(200)),
        "canonical": Table(Text(200)),
        "reasons": Listing(Text(500)),
        "damaged": Listing(Text(200)),
        "refused": Listing(Text()),
        "site_packages": Name(),
        "writable": Flag(),
        "breaks": Listing(Text(500)),
        "unreadable": Listing(Text(200)),
        "roots": Listing(Name()),
        "leftovers": Listing(Name()),
    }
)
NAME = Text(200)
# How root's Python starts, with -S. What `site` would do is done here without .pth files and sitecustomize: everybody
# whose folder a .pth file names could have root import a module. Those folders are looked through for metadata alone,
# as pip does, and of the environment only ITS_MODULES are found.
_AS_ROOT = """
import os, sys
from importlib.machinery import PathFinder
_place, _names, _standard = sys.argv.pop(1), sys.argv.pop(1).split(","), list(sys.path)
class _Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if path is None:
            path = _standard + [_place] * (name in _names)
        return PathFinder.find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = _Finder
import site
_folders = []
site.addsitedir = lambda folder, known=None, **_more: _folders.append(folder) or known
site.addsitepackages(site.venv(set()))
for _folder in _folders:
    sys.path += [] if _folder in sys.path else [_folder]
for _folder in _folders:
    for _name in sorted(os.listdir(_folder)):
        if _name.endswith(".pth"):
            with open(os.path.join(_folder, _name), encoding="utf-8", errors="replace") as _file:
                for _line in map(str.strip, _file):
                    _path = os.path.join(_folder, _line)
                    if _line and not _line.startswith(("#", "import ", "import\t")) and os.path.isdir(_path):
                        sys.path += [] if _path in sys.path else [_path]
"""
_PIP = "import runpy\nrunpy.run_module('pip', run_name='__main__', alter_sys=True)\n"


def in_one_variable(name: str, values: list[str]) -> str:
    """Several values as pip reads them from one variable of its environment."""
    for value in values:
        if value.split() != [value]:
            raise Failed(f"{name} has an entry with a blank in it, or an empty one: write %20 for a blank.")
    return " ".join(values)


def pip_environment(params: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """Return the environment variables that set where pip gets packages.

    They are variables and not arguments because an address may hold a password, and the process list is for everybody.
    """
    env = {name: given[name] for name in HANDED_ON if name in given}
    if params["index_url"]:
        env["PIP_INDEX_URL"] = in_one_variable("index_url", [params["index_url"]])
    if params["extra_index_urls"]:
        env["PIP_EXTRA_INDEX_URL"] = in_one_variable("extra_index_urls", params["extra_index_urls"])
    if params["find_links"]:
        # As URLs, in which a blank is no blank.
        env["PIP_FIND_LINKS"] = " ".join(Path(folder).absolute().as_uri() for folder in params["find_links"])
    if params["no_index"]:
        env["PIP_NO_INDEX"] = "1"
    if params["proxy"]:
        env["PIP_PROXY"] = params["proxy"]
    if params["cert"]:
        env["PIP_CERT"] = params["cert"]
    env.update(
        PIP_NO_INPUT="1",
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_ROOT_USER_ACTION="ignore",
        PIP_USER="0",
    )
    return env


def errors_of(output: str) -> str:
    """What pip says went wrong, without its progress, its advice and the list of every version there is."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    # Where the index cannot be reached, the errors only say that no version was found.
    network = [line for line in lines if "connection broken by" in line][-1:]
    noise = r"^ERROR: | \(from versions: (?!none)[^)]*\)|^WARNING: Retrying \(.*\) after |<[^>]*>: "
    told = [re.sub(noise, "", line) for line in network + errors]
    text = "; ".join(line.rstrip(".") for line in told or lines[-3:] or ["it said nothing"])
    return f"{text}." if len(text) <= 800 else f"{text[:797]}..."


class Environment:
    """A Python environment, spoken to as the user that it belongs to. Use it as a context manager."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.prefix: str = params["prefix"]
        self.python = python_of(self.prefix)
        if not os.access(self.python, os.X_OK):
            raise Failed(
                f"tethys_conda_prefix is {self.prefix}, where there is no bin/python: "
                f"set it to the folder of the portal's Python environment."
            )
        self.pip_env = pip_environment(params, dict(os.environ))
        self._logins = logins_in([params["index_url"], *(params["extra_index_urls"] or []), params["proxy"]])
        self._place = place_of(self.prefix)
        self.owner = owner_of(self._place) if os.geteuid() == 0 else account_of(os.geteuid())
        if self.owner.uid == 0:
            refuse_for_root(self.prefix, self._place, params["allowed"], params["find_links"] or [])
        self.timeout: int = params["timeout"]
        self._deadline = time.monotonic() + self.timeout
        source = source_of(program.__name__)
        if source is None:
            raise Failed(f"The source of {program.__name__} cannot be read.")
        self._source = source
        self.work = Path(TEMPORARY)
        self.touched = False

    def as_typed(self, *words: str) -> str:
        """Return the command by which an administrator runs a module of its Python, which root is not to run."""
        as_owner = ("sudo", "-u", self.owner.name) if self.owner.uid else ()
        return shell_words(*as_owner, self.python, "-m", *words)

    def __enter__(self) -> Environment:
        # The owner makes it, so that root changes no owner of anything.
        self.work = Path(self.as_owner(_make_work).decode())
        return self

    def __exit__(self, *ignored: object) -> None:
        with contextlib.suppress(Failed):
            self.as_owner(lambda: _delete(str(self.work)), RESTORE_SECONDS)

    def as_owner(self, job: Callable[[], bytes], seconds: float = LOOK_SECONDS) -> bytes:
        """Do something in a child process that has become the environment's owner."""
        try:
            return read_as.ask_as(self.owner, job, boundary.MOST_BYTES, seconds)
        except Rejected as error:
            raise Failed(f"The user {self.owner.name}, whose {self.prefix} is, has no {TEMPORARY}: {error}.") from None

    def _run(
        self, who: Account, code: str, arguments: tuple[str, ...], extra: dict[str, str], stdin: str, seconds: float
    ) -> Completed:
        """Have the environment's Python run code."""
        env = {
            "PATH": os.pathsep.join([str(Path(self.python).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            # The settings and packages of the environment's owner have no effect, whoever that is.
            "HOME": str(self.work / "home"),
            "TMPDIR": str(self.work / "tmp"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            **extra,
        }
        # -B, since -I ignores the variable of that meaning: a look leaves nothing behind, not even byte code.
        command = [self.python, "-I", "-B", "-c", code, *arguments]
        if who.uid == 0:
            # As separate text, since a program may begin with an import from __future__.
            code = f"{_AS_ROOT}\nexec(compile({code!r}, 'program', 'exec'), {{'__name__': '__main__'}})"
            command = [self.python, "-I", "-S", "-B", "-c", code, self._place, ",".join(ITS_MODULES), *arguments]
        switch = become(who)

        def as_user() -> None:
            # Whatever this process has: what is installed is for the portal's user, too.
            os.umask(0o022)
            if switch:
                switch()

        try:
            return run_command(command, seconds=max(0.0, seconds), env=env, cwd="/", stdin=stdin, become=as_user)
        except TimedOut:
            raise
        except CommandFailed as error:
            raise Failed(f"As the user {who.name}, {error}.") from error

    def ask(self, job: str, limit: float = LOOK_SECONDS, who: Account | None = None, **params: Any) -> dict[str, Any]:
        """Have the environment's Python do one of the program's jobs, as its owner or another user."""
        who = who or self.owner
        try:
            done = self._run(who, self._source, (), {}, json.dumps({"job": job, **params}), limit)
        except TimedOut:
            raise Failed(f"{self.python} did not answer within {limit:.0f} seconds.") from None
        lines = done.out.strip().splitlines()
        if done.code != 0 or not lines:
            last = errors_of(done.err.strip().rpartition("\n")[2])
            raise Failed(f"{self.python}, started as the user {who.name}, failed: {last}")
        try:
            answer = boundary.accept(lines[-1], ANSWER)
        except Rejected as error:
            raise Failed(f"{self.python}, started as the user {who.name}, gave another answer: {error}.") from None
        if answer.get("problem"):
            raise Failed(answer["problem"])
        return answer

    def refuse_roots(self, roots: list[str]) -> None:
        """Fail where root would replace files that somebody else can lead elsewhere."""
        for root in roots if self.owner.uid == 0 else []:
            for path in (root, *foreign_below(root)):
                refuse_path(f"tethys_conda_prefix is {self.prefix}: its packages belong to root", path)

    def report(self) -> dict[str, str]:
        """Return what pip's report says that it would install: names and versions."""
        try:
            raw = read_as.read_file(str(self.work / "tmp" / "report.json"), self.owner, MOST_REPORT)
            entries = boundary.load(raw, MOST_REPORT)["install"]
            metadata = [(entry["metadata"]["name"], entry["metadata"]["version"]) for entry in entries]
            return {
                program.canonical(boundary.accept_value(name, NAME)): boundary.accept_value(version, NAME)
                for name, version in metadata
            }
        except (OSError, Rejected, LookupError, TypeError) as error:
            raise Failed(f"The report of pip in {self.prefix} cannot be read: {error}.") from None

    def pip(self, command: str, *arguments: str) -> None:
        """Run pip; its errors become the message."""
        wheels = ("--only-binary", ":all:") if self.owner.uid == 0 else ()
        extra = {**self.pip_env, "PIP_CACHE_DIR": str(self.work / "cache")}
        limit = self._deadline - time.monotonic()
        try:
            done = self._run(self.owner, _PIP, (command, *wheels, *arguments), extra, "", limit)
        except TimedOut:
            raise Failed(f"pip {command} was not done within the {self.timeout} s that timeout allows.") from None
        if done.code != 0:
            told = errors_of(without_logins(f"{done.out}\n{done.err}", self._logins))
            if wheels and "No matching distribution" in told:
                told += " (As root, pip takes wheels alone.)"
            raise Failed(f"pip {command} failed in {self.prefix}: {told}")


def _make_work() -> bytes:
    os.umask(0o022)
    work = tempfile.mkdtemp(prefix="tethys_channels_", dir=TEMPORARY)
    for name in ("wheels", "cache", "home", "tmp"):
        Path(work, name).mkdir()
    return work.encode()


def _delete(path: str) -> bytes:
    shutil.rmtree(path, ignore_errors=True)
    return b""
