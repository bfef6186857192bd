#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the channel layer's packages into the portal's Python environment."""

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_packages
short_description: Install the channel layer's packages into a Python environment, and move no others
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Installs requirements with the environment's own pip, running as the user that the environment belongs to. It runs
    as root only where root alone can change what pip then runs and writes, and every folder on the way to it.
  - Root's Python reads no C(.pth) file and no C(sitecustomize), and imports nothing of the environment but pip. Root's
    pip takes wheels alone, since building one starts a Python that reads them.
  - Resolves with pip beforehand. Where that changes an installed package that is not one of the layer's own, or
    breaks what another package needs, the module fails and nothing has changed.
  - Everything is downloaded before anything is installed. An installation that fails or is interrupted is undone from a
    copy of the files, and the module says whether the environment is as it was.
  - Where the installed versions and those of their direct dependencies fit, pip is not started.
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
    description: The environment's folder, in which there is C(bin/python). It needs pip 22.2 or later.
    type: path
    required: true
  requirements:
    description: What is to be installed, each a name with the versions that are allowed.
    type: list
    elements: str
    required: true
  allowed:
    description:
      - The distributions that may be upgraded or downgraded.
      - One that is not installed at all may always be added, since nothing depends on it.
    type: list
    elements: str
    default: [channels_redis, redis, msgpack, hiredis, async-timeout]
  allow_moves:
    description: Whether others may be upgraded and downgraded too, and be left with requirements that are not met.
    type: bool
    default: false
  index_url:
    description: The package index, instead of the one that pip is configured for. It may hold a user name and password.
    type: str
  extra_index_urls:
    description: Further package indexes. They may hold a user name and password.
    type: list
    elements: str
  proxy:
    description: The proxy for the package index. It may hold a user name and password.
    type: str
  cert:
    description: The file with the certificates that the package index is checked against.
    type: path
  find_links:
    description:
      - Folders with wheels, readable by the user that the environment belongs to.
      - Where that is root, nobody else may be able to change them.
    type: list
    elements: path
  no_index:
    description: Take everything from O(find_links) and ask no package index.
    type: bool
    default: false
  user:
    description: The user who has to be able to import the packages. By default only the environment's owner is checked.
    type: str
  timeout:
    description: The seconds after which the installation is given up and undone.
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
  description: What was installed, or would be in check mode. C(from) is null where the package is new.
  returned: always
  type: list
  elements: dict
  sample: [{"name": "redis", "from": "8.1.0", "to": "7.4.0"}]
installed:
  description: The versions of the layer's own packages and of those that moved, after the run.
  returned: always
  type: dict
  sample: {"channels-redis": "4.3.0", "redis": "7.4.0"}
pip:
  description: The environment's pip, its C(version) null where there is none.
  returned: always
  type: dict
  sample: {"version": "24.0"}
reasons:
  description: Why something had to be installed; empty where everything fitted.
  returned: always
  type: list
  elements: str
  sample: ["redis is 8.1.0, not <8,>=4.6"]
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, Callable, Iterator

from ansible_collections.tethys.channels.plugins.module_utils import boundary
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
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.portal_env import python_of, site_packages_of, source_of
from ansible_collections.tethys.channels.plugins.module_utils.run_command import (
    CommandFailed,
    Completed,
    TimedOut,
    run_command,
)
from ansible_collections.tethys.channels.plugins.module_utils.secrets import logins_in, without_logins
from ansible_collections.tethys.channels.plugins.module_utils.server import trust
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import (
    Account,
    account,
    account_of,
    become,
)
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

OLDEST_PIP = (22, 2)  # the first with --dry-run and --report
LOOK_SECONDS = 120
RESTORE_SECONDS = 300
# pip's report has the whole description of each package.
MOST_REPORT = 16 * 1024 * 1024
# Not what TMPDIR says: a root's own folder for temporary files may be closed to the environment's user.
TEMPORARY = "/tmp"  # noqa: S108 - what lies in it has a name of its own and mode 0700
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
# as pip does, and of the environment only these modules are found.
ITS_MODULES = ("pip", "packaging")
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


class Failed(Exception):
    """The module cannot do what was asked; its text is for the administrator."""


class Interrupted(Exception):
    """Somebody ended the module."""


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
    # One after the other: what is read to find the next has been judged.
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
        text = boundary.read_file(str(Path(prefix, "pyvenv.cfg")), None, boundary.MOST_BYTES).decode(errors="replace")
        homes.update(str(Path(home).parent) for home in re.findall(r"^home *= *(/.*\S)", text, re.MULTILINE))
    for home in sorted(homes):
        if home != prefix and trust.is_of_the_system(home):
            continue
        for folder in ("bin", "ssl") if home == prefix else ():
            yield from foreign_below(str(Path(home, folder)))
        for lib in ("lib", "lib64"):
            yield from foreign_below(str(Path(home, lib)), deep=False)
            for below in (Path(place).parent.name, "ossl-modules", "engines-3", "engines-1.1"):
                yield from foreign_below(str(Path(home, lib, below)), but="site-packages")
    used = {name.replace("-", "_").lower() for name in (*ITS_MODULES, *names)}
    for entry in sorted(Path(place).iterdir()):
        if re.split(r"[-.]", entry.name)[0].lower() in used:
            yield str(entry)
            yield from foreign_below(str(entry))


def foreign_below(folder: str, deep: bool = True, but: str = "") -> Iterator[str]:
    """What somebody besides root might change below a folder, or only of the files in it; what links lead to, too."""
    pending, seen = [folder], set()
    # That a group has no members is asked once, and not for each of some thousand files.
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


def in_one_variable(name: str, values: list[str]) -> str:
    """Several values as pip reads them from one variable of its environment."""
    for value in values:
        if value.split() != [value]:
            raise Failed(f"{name} has an entry with a blank in it, or an empty one: write %20 for a blank.")
    return " ".join(values)


def pip_environment(params: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """The variables that tell pip where packages come from.

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


def as_versions(moves: list[dict[str, Any]]) -> str:
    """Moves as a person reads them."""
    return ", ".join(f"{move['name']} {move['from'] or '(new)'} -> {move['to']}" for move in moves)


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
            return boundary.ask_as(self.owner, job, boundary.MOST_BYTES, seconds)
        except Rejected as error:
            raise Failed(f"The user {self.owner.name}, whose {self.prefix} is, has no {TEMPORARY}: {error}.") from None

    def _run(
        self, who: Account, code: str, arguments: tuple[str, ...], extra: dict[str, str], stdin: str, seconds: float
    ) -> Completed:
        """Have the environment's Python run code."""
        env = {
            "PATH": os.pathsep.join([str(Path(self.python).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            # Whoever the environment belongs to, nothing of their own settings and packages has a say.
            "HOME": str(self.work / "home"),
            "TMPDIR": str(self.work / "tmp"),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            **extra,
        }
        # -B, since -I ignores the variable of that meaning: a look leaves nothing behind, not even byte code.
        command = [self.python, "-I", "-B", "-c", code, *arguments]
        if who.uid == 0:
            # As text of its own, since a program may begin with an import from __future__.
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
            raw = boundary.read_file(str(self.work / "tmp" / "report.json"), self.owner, MOST_REPORT)
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
    # pip believes metadata, and takes an incomplete distribution for a good one.
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
    files = environment.as_owner(lambda: "\n".join(boundary.names_in(str(wheels))).encode()).decode().splitlines()
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
    """Do what the module is asked to do, and where that fails, say whether anything has changed."""
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
        answer = work(module.params, module.check_mode)
    except Failed as failure:
        module.fail_json(msg=str(failure))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
