# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the portal's own Python the way the portal itself is started.

The program that runs in the portal's Python is a module of this collection (``portal_look``, ``portal_wire``). Its source
travels over standard input, since the portal's user cannot read Ansible's temporary files, and its answers come back as
lines of JSON on a file descriptor of their own, so that whatever Tethys and the apps print disturbs nothing.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import select
import signal
import subprocess
import tempfile
import time
from types import ModuleType
from typing import Any, Callable, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils import portal_common

NGINX_CONF = "/etc/nginx/nginx.conf"
WEB_SERVER_USERS = ("www-data", "nginx", "apache", "www")

# The first line of standard input is the job; what follows belongs to the program. Standard input is then closed for
# everybody else: an app that asks a question at import time gets an end of file instead of somebody else's lines.
_BOOTSTRAP = """
import json, os, sys
sys.path[:] = [p for p in sys.path if p]
_in = os.fdopen(os.dup(0), "r", encoding="utf-8")
_job = json.loads(_in.readline())
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
    _module = type(sys)(_name)
    sys.modules[_name] = _module
    exec(compile(_source, _name, "exec"), _module.__dict__)
_module.main(_job["params"], _say, _in)
_say({"done": True})
os._exit(0)
"""

# The activation scripts of a conda environment are written for bash. One that fails or even leaves the shell must not take
# the run with it, as it does not take the portal's processes with it: the trap starts Python in either case.
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


class Account(NamedTuple):
    """A user of this server."""

    name: str
    uid: int
    gid: int
    home: str


class PortalRun(NamedTuple):
    """What one run in the portal's Python gave."""

    answer: dict[str, Any]
    problem: str | None
    warnings: list[str]


def account(name: str | None) -> Account | None:
    """The user of that name, or None where there is none."""
    if not name:
        return None
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def account_of(uid: int) -> Account:
    """The user with that number; a number without a name keeps the number as its name."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Account(str(uid), uid, uid, "/")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)


def nginx_user(conf: str = NGINX_CONF) -> str | None:
    """The user that nginx's main configuration names."""
    try:
        with open(conf, encoding="utf-8", errors="replace") as handle:
            text = handle.read()
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

    Without a web server's user it is whoever owns TETHYS_HOME, and never root just because Ansible is. A module that does not
    run as root can only be itself.
    """
    if os.geteuid() != 0:
        return account_of(os.geteuid())
    known = account(user)
    if known:
        return known
    try:
        return account_of(os.stat(home).st_uid)
    except OSError:
        return account_of(0)


def become(who: Account) -> Callable[[], None] | None:
    """A function for the child that turns root into that user; None where there is nothing to turn."""
    if os.geteuid() != 0 or who.uid == 0:
        return None

    def switch() -> None:
        try:
            os.initgroups(who.name, who.gid)
        except (KeyError, OSError):
            os.setgroups([who.gid])
        os.setgid(who.gid)
        os.setuid(who.uid)

    return switch


def environment(prefix: str, home: str, who: Account) -> dict[str, str]:
    """The environment of the portal's Python before its activation scripts: nothing of Ansible's own is handed on."""
    return {
        "PATH": os.pathsep.join(
            [os.path.join(prefix, "bin"), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        ),
        "CONDA_PREFIX": prefix,
        "CONDA_DEFAULT_ENV": os.path.basename(prefix.rstrip("/")),
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
    return os.path.join(prefix, "bin", "python")


def source_of(module: str) -> str | None:
    """The source of a module of this collection, from a file or from the zip that Ansible runs modules from."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:
        return None
    get_source = getattr(spec.loader, "get_source", None) if spec else None
    return get_source(module) if get_source else None


def _has_activation_scripts(prefix: str) -> bool:
    try:
        names = os.listdir(os.path.join(prefix, "etc", "conda", "activate.d"))
    except OSError:
        return False
    return any(name.endswith(".sh") for name in names)


class PortalProcess:
    """One start of ``<prefix>/bin/python``, spoken to in lines of JSON. Use it as a context manager."""

    def __init__(self, prefix: str, home: str, who: Account, program: ModuleType, params: dict[str, Any]) -> None:
        self.warnings: list[str] = []
        self._buffer = b""
        self._prefix = prefix
        self._who = who
        self._output = tempfile.TemporaryFile()
        read_end, write_end = os.pipe()
        self._answers = read_end
        command = [python_of(prefix), "-c", _BOOTSTRAP]
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
                pass_fds=(write_end,),
                start_new_session=True,
                preexec_fn=become(who),
            )
        except OSError as error:
            os.close(read_end)
            self._output.close()
            raise PortalEnded(
                "%s cannot be started as the user %s: %s." % (python_of(prefix), who.name, error.strerror)
            ) from error
        except subprocess.SubprocessError as error:
            os.close(read_end)
            self._output.close()
            raise PortalEnded("Nothing can be started as the user %s: %s." % (who.name, error)) from error
        finally:
            os.close(write_end)
        modules = [(name, source_of(name)) for name in (portal_common.__name__, program.__name__)]
        self.send({"answers": write_end, "modules": modules, "params": params})

    def __enter__(self) -> PortalProcess:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def send(self, message: dict[str, Any]) -> None:
        """Hand the program one line; a program that has ended is noticed by the next ``receive``."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(message) + "\n").encode("utf-8"))
            self._process.stdin.flush()
        except OSError:
            pass

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
                raise PortalTimeout("%s gave no answer in time." % python_of(self._prefix))
            chunk = os.read(self._answers, 65536)
            if not chunk:
                raise PortalEnded(self._how_it_ended())
            self._buffer += chunk

    def _note(self, line: str) -> None:
        what, colon, script = line.partition(": ")
        if colon and what == "activation failed":
            self.warnings.append("The activation script %s failed." % script)
        elif colon and what == "activation left the shell":
            self.warnings.append("The activation script %s left the shell; the scripts after it did not run." % script)

    def _how_it_ended(self) -> str:
        try:
            status: int | None = self._process.wait(2)
        except subprocess.TimeoutExpired:
            status = None
        self._output.seek(max(0, self._output.seek(0, os.SEEK_END) - 4000))
        lines = self._output.read().decode("utf-8", "replace").strip().splitlines()
        how = "ended early" if status is None else "was ended by signal %d" % -status if status < 0 else "failed"
        return "%s, started as the user %s, %s%s" % (
            python_of(self._prefix),
            self._who.name,
            how,
            ": %s" % lines[-1].strip() if lines else ".",
        )

    def close(self) -> None:
        """End the whole process group: whatever an app has started goes with it."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except OSError:
            pass
        self._process.wait()
        if self._process.stdin is not None:
            try:
                self._process.stdin.close()
            except OSError:
                pass
        os.close(self._answers)
        self._output.close()


def run_in_portal(
    prefix: str, home: str, who: Account, program: ModuleType, params: dict[str, Any], timeout: float
) -> PortalRun:
    """Run a program to its end and merge the answers it gave on the way.

    An answer that came before a failure or the timeout is kept: half a look is worth more than none.
    """
    answer: dict[str, Any] = {}
    deadline = time.monotonic() + timeout
    try:
        process = PortalProcess(prefix, home, who, program, params)
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
            problem = "%s did not finish within %g seconds." % (python_of(prefix), timeout)
        return PortalRun(answer, problem, process.warnings)
