# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the portal's own Python the way the portal itself is started.

The program that runs in the portal's Python is a module of this collection (``portal_look``, ``portal_wire``). Its
source is handed over in an open file without a name, since the portal's user cannot read Ansible's temporary files, and
its answers come back as lines of JSON on a pipe of their own, which nothing that Tethys and the apps print can disturb.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Iterable, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import (
    Account,
    account,
    account_of,
    become,
)

_HERE = __name__.rpartition(".")[0]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
NGINX_CONF = "/etc/nginx/nginx.conf"
WEB_SERVER_USERS = ("www-data", "nginx", "apache", "www")

# Standard input belongs to the program alone: an app that asks a question at import time gets an end of file instead of
# somebody else's lines.
_BOOTSTRAP = """
import json, os, sys
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


def nginx_user(conf: str = NGINX_CONF) -> str | None:
    """The user that nginx's main configuration names."""
    try:
        text = Path(conf).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^\s*user\s+([^\s;]+)[^;]*;", text, re.MULTILINE)
    return found.group(1).strip("'\"") if found else None


def resolve_user(user: str | None = None, conf: str = NGINX_CONF) -> str | None:
    """The portal's user: the one given, else the web server's, else None."""
    if user:
        return user
    for name in (nginx_user(conf), *WEB_SERVER_USERS):
        if name and account(name):
            return name
    return None


def runner_for(user: str | None, home: str) -> Account:
    """Who runs the portal's Python.

    Without a web server's user it is whoever owns TETHYS_HOME, and not root just because Ansible is. A module that does
    not run as root can only be itself.
    """
    if os.geteuid() != 0:
        return account_of(os.geteuid())
    known = account(user)
    if known:
        return known
    try:
        return account_of(Path(home).stat().st_uid)
    except OSError:
        return account_of(0)


def environment(prefix: str, home: str, who: Account) -> dict[str, str]:
    """The environment of the portal's Python before its activation scripts: nothing of Ansible's own is handed on."""
    return {
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


def source_of(module: str) -> str | None:
    """The source of a module of this collection, from a file or from the zip that Ansible runs modules from."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    get_source = getattr(spec.loader, "get_source", None) if spec else None
    return get_source(module) if get_source else None


def with_helpers(module: str) -> list[str]:
    """A module of this collection after those of the collection that it imports."""
    names: list[str] = []
    for name in re.findall(rf"^from ({re.escape(_HERE)}\.\w+) import", source_of(module) or "", re.MULTILINE):
        names += with_helpers(name)
    return [*names, module]


def _has_activation_scripts(prefix: str) -> bool:
    try:
        return any(entry.suffix == ".sh" for entry in Path(prefix, "etc", "conda", "activate.d").iterdir())
    except OSError as error:
        # A folder that only the portal's user may read is left to the shell.
        return not isinstance(error, FileNotFoundError)


def _unnamed(text: str) -> int:
    """A file descriptor to read the text from. It is no pipe: nobody may ever come to read it."""
    with tempfile.TemporaryFile() as handle:
        handle.write(text.encode("utf-8"))
        handle.flush()
        handle.seek(0)
        return os.dup(handle.fileno())


class PortalProcess:
    """One start of ``<prefix>/bin/python``, spoken to in lines of JSON. Use it as a context manager."""

    def __init__(
        self,
        prefix: str,
        home: str,
        who: Account,
        program: ModuleType,
        params: dict[str, Any],
        extras: Iterable[str] = (),
    ) -> None:
        self.warnings: list[str] = []
        self._buffer = b""
        self._prefix = prefix
        self._who = who
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process does
        read_end, write_end = os.pipe()
        self._answers = read_end
        names = [*with_helpers(program.__name__), *(name for extra in extras for name in with_helpers(extra))]
        job = {
            "answers": write_end,
            "program": program.__name__,
            "modules": [(name, source_of(name)) for name in dict.fromkeys(names)],
            "params": params,
        }
        job_file = _unnamed(json.dumps(job))
        command = [python_of(prefix), "-c", _BOOTSTRAP, str(job_file)]
        if _has_activation_scripts(prefix):
            command = ["bash", "--noprofile", "--norc", "-c", _ACTIVATE, "activate", str(write_end), *command]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=self._output,
                env=environment(prefix, home, who),
                cwd="/",
                pass_fds=(write_end, job_file),
                start_new_session=True,
                preexec_fn=become(who),
            )
        except OSError as error:
            os.close(read_end)
            self._output.close()
            raise PortalEnded(
                f"{python_of(prefix)} cannot be started as the user {who.name}: {error.strerror}."
            ) from error
        except subprocess.SubprocessError as error:
            os.close(read_end)
            self._output.close()
            raise PortalEnded(f"Nothing can be started as the user {who.name}: {error}.") from error
        finally:
            os.close(write_end)
            os.close(job_file)

    def __enter__(self) -> PortalProcess:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def send(self, message: dict[str, Any]) -> None:
        """Hand the program one line; a program that has ended is noticed by the next ``receive``."""
        stdin = self._process.stdin
        if stdin is not None:
            with contextlib.suppress(OSError):
                stdin.write((json.dumps(message) + "\n").encode("utf-8"))
                stdin.flush()

    def receive(self, deadline: float) -> dict[str, Any]:
        """The program's next line; ``deadline`` is a moment of ``time.monotonic()``."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                if line.startswith(b"{"):
                    return dict(json.loads(line.decode("utf-8")))
                self._note(line.decode("utf-8", "replace"))
                continue
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise PortalTimeout(f"{python_of(self._prefix)} gave no answer in time.")
            chunk = os.read(self._answers, 65536)
            if not chunk:
                raise PortalEnded(self._how_it_ended())
            self._buffer += chunk

    def _note(self, line: str) -> None:
        what, colon, script = line.partition(": ")
        if colon and what == "activation failed":
            self.warnings.append(f"The activation script {script} failed.")
        elif colon and what == "activation left the shell":
            self.warnings.append(f"The activation script {script} left the shell; the scripts after it did not run.")

    def _how_it_ended(self) -> str:
        try:
            status: int | None = self._process.wait(2)
        except subprocess.TimeoutExpired:
            status = None
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 4000))
        said = _COLOUR.sub("", self._output.read().decode("utf-8", "replace")).strip().splitlines()
        if status is None:
            how = "ended early"
        elif status < 0:
            how = f"was ended by signal {-status}"
        else:
            how = f"ended with status {status}"
        last = f"; the last it said is: {said[-1].strip()}" if said else "."
        return f"{python_of(self._prefix)}, started as the user {self._who.name}, {how}{last}"

    def close(self) -> None:
        """End the whole process group: whatever an app has started goes with it."""
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        os.close(self._answers)
        self._output.close()


def run_in_portal(
    prefix: str,
    home: str,
    who: Account,
    program: ModuleType,
    params: dict[str, Any],
    timeout: float,
    extras: Iterable[str] = (),
) -> PortalRun:
    """Run a program to its end and merge the answers it gave on the way; ``extras`` are modules sent along with it.

    An answer that came before a failure or the timeout is kept: half a look is worth more than none.
    """
    answer: dict[str, Any] = {}
    deadline = time.monotonic() + timeout
    try:
        process = PortalProcess(prefix, home, who, program, params, extras)
    except PortalEnded as error:
        return PortalRun(answer, str(error), [])
    with process:
        problem = None
        try:
            while True:
                message = process.receive(deadline)
                if message.get("done"):
                    break
                answer.update(message)
        except PortalEnded as error:
            problem = str(error)
        except PortalTimeout:
            problem = f"{python_of(prefix)} did not finish within {timeout:g} seconds."
        return PortalRun(answer, problem, process.warnings)
