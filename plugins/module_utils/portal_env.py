# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the portal's own Python the way the portal itself is started.

The program that runs in the portal's Python is a module of this collection (``portal_look``, ``portal_wire``). Its
source is handed over in an open file without a name, since the portal's user cannot read Ansible's temporary files, and
its answers come back as lines of JSON on a separate pipe, which nothing that Tethys and the apps print can disturb.
An app can write to that pipe too, so each line passes the boundary.

It never runs as root, and it runs without ``-I``, since the portal's processes run without it: an app that is found in
PYTHONPATH or in the user's site would be hidden.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import json
import os
import re
import select
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Iterable, Mapping, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils import boundary, portal_user, read_as
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, Schema, accept
from ansible_collections.tethys.channels.plugins.module_utils.run_command import NotStarted, Running
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, become
from ansible_collections.tethys.channels.plugins.module_utils.server.conda_variables import of_conda
from ansible_collections.tethys.channels.plugins.module_utils.server.kept_environment import of_portal

_HERE = __name__.rpartition(".")[0]
# The programs by name: the module that sends one need not load it.
INSPECTION = f"{_HERE}.portal_look"
DELIVERY = f"{_HERE}.portal_wire"
PACKAGES = f"{_HERE}.layer_packages"
YAML = f"{_HERE}.portal_yaml"
_COLOR = re.compile(rb"\x1b\[[0-9;]*m")
_VERSIONED = re.compile(r"python3\.[0-9]+t?")
# What one start may write to the pipe, and how much of what it prints is kept for a message.
MOST_BYTES = 8 * boundary.MOST_BYTES
MOST_SAID = 4000
MOST_WARNINGS = 20
# A shorter value of a variable is part of many words, and is not masked in messages.
SHORTEST_HIDDEN = 4
# A program reads its commands at once, or has ended, or hangs.
SEND_SECONDS = 10.0

# To search again and again all that Tethys has loaded for what is not used any more takes a fifth of its start, and
# these programs end soon after it.
# Only the program uses standard input: an app that prompts for an answer at import time gets an end of file instead of
# lines that are meant for another program.
_BOOTSTRAP = """
import gc, json, os, sys
gc.disable()
with os.fdopen(int(sys.argv[1]), "r", encoding="utf-8") as _file:
    _job = json.load(_file)
sys.path[:] = [p for p in sys.path if p]
_in = os.fdopen(os.dup(0), "r", encoding="utf-8")
_null = os.open(os.devnull, os.O_RDONLY)
os.dup2(_null, 0)
os.close(_null)
_out = os.fdopen(_job["answers"], "w", encoding="utf-8")
os.set_inheritable(_job["answers"], False)
def _say(message):
    _out.write(json.dumps(message, default=str) + "\\n")
    _out.flush()
sys.argv[:] = ["tethys.channels"]
for _name, _source in _job["modules"]:
    _module = sys.modules[_name] = type(sys)(_name)
    _package, _dot, _last = _name.rpartition(".")
    setattr(sys.modules.setdefault(_package, type(sys)(_package)), _last, _module)
    exec(compile(_source, _name, "exec"), _module.__dict__)
sys.modules[_job["program"]].main(_job["params"], _say, _in)
_say({"done": True})
os._exit(0)
"""

# The activation scripts of a conda environment are written for bash. One that fails or even leaves the shell must not
# take the run with it: the trap starts Python in either case.
_ACTIVATE = """
answers=$1; shift
current=
go() {
  trap - EXIT
  if [ -n "$current" ]; then printf 'activation left the shell: %s\\n' "$current" >&"$answers"; fi
  exec "$@"
}
trap 'go "$@"' EXIT
shopt -s nullglob
__scripts=("$CONDA_PREFIX"/etc/conda/activate.d/*.sh)
shopt -u nullglob
for __script in "${__scripts[@]}"; do
  current=$__script
  . "$__script" </dev/null || printf 'activation failed: %s\\n' "$__script" >&"$answers"
  current=
done
exit 0
"""


class PortalTimeout(Exception):
    """The portal's Python gave no answer in time."""


class PortalEnded(Exception):
    """The portal's Python ended before it had answered; the sentence says how."""


class PortalRun(NamedTuple):
    """What one run in the portal's Python gave."""

    answer: dict[str, Any]
    problem: str | None
    warnings: list[str]


def environment(prefix: str, home: str, who: Account, own: Mapping[str, str]) -> dict[str, str]:
    """The environment of the portal's Python before its activation scripts: nothing of Ansible's own is handed on.

    The variables that the processes get are among them. It is for a child process that has become that user.

    Args:
        own: the administrator's variables, as `of_portal` returns them.
    """
    return {
        **of_conda(prefix)[0],
        **own,
        "PATH": os.pathsep.join(
            [str(Path(prefix, "bin")), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        ),
        "CONDA_PREFIX": prefix,
        "CONDA_DEFAULT_ENV": Path(prefix).name,
        "TETHYS_HOME": home,
        "HOME": who.home,
        "USER": who.name,
        "LOGNAME": who.name,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "DJANGO_SETTINGS_MODULE": "tethys_portal.settings",
        # A look leaves nothing behind, not even byte code.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def python_of(prefix: str) -> str:
    """The Python of a Tethys environment."""
    return str(Path(prefix, "bin", "python"))


def site_packages_of(prefix: str) -> str | None:
    """Return the environment's site-packages, as its file names show it; None if they do not.

    The environment's Python would know, but what it answers is an app's to choose.
    """
    lib = Path(prefix, "lib")
    try:
        names = sorted(
            filter(_VERSIONED.fullmatch, read_as.names_in(str(lib))),
            key=lambda name: int(name.partition(".")[2].rstrip("t")),
        )
    except (OSError, Rejected):
        return None
    # A conda environment may keep the folder of a Python that it had before.
    linked = _linked_version(prefix)
    current = [name for name in names if name == linked] or [n for n in names if Path(prefix, "bin", n).is_symlink()]
    for name in reversed(current or names):
        folder = lib / name / "site-packages"
        if _is_folder_of(prefix, folder.parent) and _is_folder_of(prefix, folder):
            return str(folder)
    return None


def _is_folder_of(prefix: str, path: Path) -> bool:
    """Return whether a path is a folder, or a link to one that is root's or the environment's owner's."""
    try:
        found = path.lstat()
        owners = {0, Path(prefix).lstat().st_uid, Path(prefix).stat().st_uid}
        return path.is_dir() and (not stat.S_ISLNK(found.st_mode) or found.st_uid in owners)
    except OSError:
        return False


def _linked_version(prefix: str) -> str | None:
    """Return the name with a version that ``bin/python`` is a link to, such as python3.12."""
    path = python_of(prefix)
    for _again in range(10):
        try:
            path = os.path.normpath(Path(path).parent / os.readlink(path))
        except OSError:
            break
        if _VERSIONED.fullmatch(Path(path).name):
            return Path(path).name
    return None


@functools.lru_cache(maxsize=None)
def source_of(module: str) -> str | None:
    """The source of a module of this collection, from a file or from the zip that Ansible runs modules from."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    get_source = getattr(spec.loader, "get_source", None) if spec else None
    return get_source(module) if get_source else None


@functools.lru_cache(maxsize=None)
def with_helpers(module: str) -> tuple[str, ...]:
    """Return a module of this collection after those of the collection that it imports."""
    names: list[str] = []
    for node in ast.parse(source_of(module) or "").body:
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{_HERE}."):
            # Either a name from a module, or a module from a package.
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in [node.module or "", *inside]:
                if source_of(name):
                    names += with_helpers(name)
    return (*names, module)


def _has_activation_scripts(prefix: str) -> bool:
    try:
        return any(entry.suffix == ".sh" for entry in Path(prefix, "etc", "conda", "activate.d").iterdir())
    except OSError as error:
        # A folder that only the portal's user may read is left to the shell.
        return not isinstance(error, FileNotFoundError)


def _job_file(program: str, params: dict[str, Any], extras: Iterable[str], answers: int) -> int:
    """A file descriptor to read the program's job from: its source, its parameters, and where its answers go."""
    names = [*with_helpers(program), *(name for extra in extras for name in with_helpers(extra))]
    job = {
        "answers": answers,
        "program": program,
        "modules": [(name, source_of(name)) for name in dict.fromkeys(names)],
        "params": params,
    }
    # Not a pipe, which would have to be read before it could be closed.
    with tempfile.TemporaryFile() as handle:
        handle.write(json.dumps(job).encode("utf-8"))
        handle.seek(0)
        return os.dup(handle.fileno())


class PortalProcess:
    """One start of ``<prefix>/bin/python``, spoken to in lines of JSON. Use it as a context manager."""

    def __init__(
        self,
        prefix: str,
        home: str,
        who: Account | None,
        program: str,
        params: dict[str, Any],
        extras: Iterable[str] = (),
        portal_name: str = "",
    ) -> None:
        if who is None or who.uid == portal_user.ROOT:
            raise PortalEnded(f"{python_of(prefix)} is not started as root, since the portal's apps would run as root.")
        self.warnings: list[str] = []
        self._buffer = b""
        self._left = MOST_BYTES
        self._prefix = prefix
        self._who = who
        self._said = b""
        own = of_portal(prefix, home, who.name, portal_name)
        self._hidden = sorted((value for value in own.values() if len(value) >= SHORTEST_HIDDEN), key=len, reverse=True)
        read_end, write_end = os.pipe()
        self._answers = read_end
        job_file = _job_file(program, params, extras, write_end)
        command = [python_of(prefix), "-c", _BOOTSTRAP, str(job_file)]
        if _has_activation_scripts(prefix):
            command = ["bash", "--noprofile", "--norc", "-c", _ACTIVATE, "activate", str(write_end), *command]
        try:
            self._running = Running(
                command,
                env=environment(prefix, home, who, own),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end, job_file),
                become=become(who),
            )
        except NotStarted as error:
            os.close(read_end)
            raise PortalEnded(
                f"{python_of(prefix)} cannot be started as the user {who.name}: {error.reason}."
            ) from error
        finally:
            os.close(write_end)
            os.close(job_file)
        self._process = self._running.process
        streams = [stream.fileno() for stream in (self._process.stdin, self._process.stdout) if stream]
        for fd in streams:
            os.set_blocking(fd, False)
        self._printed: int | None = streams[-1]

    def __enter__(self) -> PortalProcess:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def send(self, message: dict[str, Any]) -> None:
        """Hand the program one line; a program that has ended is noticed by the next ``receive``."""
        stdin = self._process.stdin
        left = memoryview((json.dumps(message) + "\n").encode("utf-8"))
        deadline = time.monotonic() + SEND_SECONDS
        with contextlib.suppress(BrokenPipeError):
            while stdin is not None and left:
                if not select.select([], [stdin], [], max(0.0, deadline - time.monotonic()))[1]:
                    raise PortalTimeout(f"{python_of(self._prefix)} did not read what it was sent.")
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(stdin.fileno(), left) :]

    def receive(self, deadline: float, schema: Schema) -> dict[str, Any]:
        """Return the program's next line as that schema lists it; ``deadline`` is a moment of ``time.monotonic()``."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                if line.startswith(b"{"):
                    return self._accepted(line, schema)
                self._note(line.decode("utf-8", "replace"))
                continue
            if len(line) > boundary.MOST_BYTES:
                return self._accepted(line, schema)
            self._read(deadline)

    def _accepted(self, line: bytes, schema: Schema) -> dict[str, Any]:
        try:
            return accept(line, schema)
        except Rejected as error:
            raise PortalEnded(
                f"{python_of(self._prefix)}, started as the user {self._who.name}, gave an answer that is not accepted:"
                f" {error}."
            ) from None

    def _read(self, deadline: float) -> None:
        """Read what there is of answers and of what is printed, or wait for either."""
        wanted = [self._answers, *([] if self._printed is None else [self._printed])]
        ready = select.select(wanted, [], [], max(0.0, deadline - time.monotonic()))[0]
        if not ready or time.monotonic() > deadline:
            raise PortalTimeout(f"{python_of(self._prefix)} gave no answer in time.")
        if self._printed in ready:
            self._keep_printed()
        if self._answers in ready:
            chunk = os.read(self._answers, min(65536, self._left + 1))
            if not chunk:
                raise PortalEnded(self._how_it_ended())
            self._left -= len(chunk)
            if self._left < 0:
                raise PortalEnded(f"{python_of(self._prefix)} answered more than {MOST_BYTES} bytes.")
            self._buffer += chunk

    def _keep_printed(self) -> bool:
        """Keep the end of what is printed; return whether there was any."""
        chunk = b""
        if self._printed is not None:
            try:
                chunk = os.read(self._printed, 65536)
            except BlockingIOError:
                return False
            if not chunk:
                self._printed = None
        self._said = (self._said + chunk)[-MOST_SAID:]
        return bool(chunk)

    def _note(self, line: str) -> None:
        what, colon, script = line.partition(": ")
        if not (colon and script.startswith(f"{self._prefix}/etc/conda/activate.d/") and boundary.is_clean(script)):
            return
        if len(self.warnings) >= MOST_WARNINGS or len(script) > boundary.MOST_PATH:
            return
        if what == "activation failed":
            self.warnings.append(f"The activation script {script} failed.")
        elif what == "activation left the shell":
            self.warnings.append(f"The activation script {script} left the shell; the scripts after it did not run.")

    def _how_it_ended(self) -> str:
        status = self._running.exit_code(time.monotonic() + 2)
        # Only what is there: a process that it left behind may hold the pipe open, and go on printing.
        for _again in range(MOST_BYTES // 65536):
            if not self._keep_printed():
                break
        said = _COLOR.sub(b"", self._said).decode("utf-8", "replace").strip().splitlines()
        if status is None:
            how = "ended early"
        elif status < 0:
            how = f"was ended by signal {-status}"
        else:
            how = f"ended with status {status}"
        last = f"; the last it said is: {boundary.clean(self.masked(said[-1].strip()), 1000)}" if said else "."
        return f"{python_of(self._prefix)}, started as the user {self._who.name}, {how}{last}"

    def masked(self, text: str) -> str:
        """Return a message without the values of the administrator's variables, which may be secret."""
        for value in self._hidden:
            text = text.replace(value, "********")
        return text

    def close(self) -> None:
        """End the program and all that it has started."""
        self._running.end()
        os.close(self._answers)


class PortalJob:
    """A program in the portal's Python that runs to its end, while its caller does other things. A context manager.

    Args:
        extras: modules sent along with the program.
        if_late: what follows the problem where the program did not end in time: which variable sets the timeout.
        portal_name: the portal's name, where the server has several.
    """

    def __init__(
        self,
        prefix: str,
        home: str,
        who: Account | None,
        program: str,
        params: dict[str, Any],
        timeout: float,
        schema: Schema,
        extras: Iterable[str] = (),
        if_late: str = "",
        portal_name: str = "",
    ) -> None:
        self._late = f"{python_of(prefix)} did not finish within {timeout:g} seconds{if_late}."
        self._schema = schema
        self._deadline = time.monotonic() + timeout
        self._process: PortalProcess | None = None
        self._problem: str | None = None
        try:
            self._process = PortalProcess(prefix, home, who, program, params, extras, portal_name)
        except PortalEnded as error:
            self._problem = str(error)

    def __enter__(self) -> PortalJob:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def close(self) -> None:
        """End the program and all that it has started."""
        if self._process:
            self._process.close()

    def result(self) -> PortalRun:
        """Wait for the end, and return the answers that the program gave on the way, merged.

        An answer that came before a failure or the timeout is kept: half a look is worth more than none. With the first
        one that is not accepted, the program is ended.
        """
        answer: dict[str, Any] = {}
        process = self._process
        if process is None:
            return PortalRun(answer, self._problem, [])
        problem = None
        try:
            while True:
                message = process.receive(self._deadline, self._schema)
                if message.pop("done", False):
                    break
                for name, said in message.items():
                    is_message = name.endswith("_problem") and isinstance(said, str)
                    answer[name] = process.masked(said) if is_message else said
        except PortalEnded as error:
            problem = str(error)
        except PortalTimeout:
            problem = self._late
        return PortalRun(answer, problem, process.warnings)


def run_in_portal(
    prefix: str,
    home: str,
    who: Account | None,
    program: str,
    params: dict[str, Any],
    timeout: float,
    schema: Schema,
    portal_name: str = "",
) -> PortalRun:
    """Run a program to its end, and return the answers that it gave on the way; see PortalJob."""
    with PortalJob(prefix, home, who, program, params, timeout, schema, portal_name=portal_name) as job:
        return job.result()
