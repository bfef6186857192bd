# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal's upstream block in the nginx that runs on this server: found, changed, validated and reloaded.

nginx is asked through its running master process: its binary, its options and its main file are those that a reload
will use, whoever holds it. A change is validated with the whole configuration before it is in place, what was found is
kept, and a run that was killed anywhere is finished by the next.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import re
import shutil
import signal
import stat
import tempfile
import time
from pathlib import Path
from typing import Any, Collection, Iterator, NamedTuple, Sequence, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils import nginx_config
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import (
    Content,
    OwnedFile,
    Refused,
    owned_file,
)
from ansible_collections.tethys.channels.plugins.module_utils.run_command import CommandFailed, TimedOut, run_command
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import who_can

# Where nginx is found when it does not run: Debian's, and what its own and OpenResty's sources install.
BINARIES = (
    "/usr/sbin/nginx",
    "/usr/local/sbin/nginx",
    "/usr/local/nginx/sbin/nginx",
    "/usr/local/openresty/nginx/sbin/nginx",
)
# Seconds. Names of servers in a configuration are looked up when it is read, which may take long.
TEST_SECONDS = 60.0
RELOAD_SECONDS = 10.0
# From this version on nginx speaks HTTP/1.1 to the servers behind it if nothing else is said.
HTTP_1_1_BY_DEFAULT = (1, 29, 7)
MAX_BYTES = 32 * 1024 * 1024
WAY_OUT = "set tethys_asgi_layout to shared_socket, which needs nothing of the web server"


class UpstreamServer(TypedDict):
    """A server of the upstream block."""

    address: str
    down: bool


class Upstream(TypedDict, total=False):
    """What nginx does with the upstream block."""

    installed: bool
    running: bool
    pid: int | None
    by: str | None
    version: str | None
    other_web_server: str | None
    problem: str | None
    path: str | None
    line: int | None
    servers: list[UpstreamServer]
    managed: bool
    method: str | None
    websocket_problem: str | None


class NginxError(Exception):
    """One sentence for the administrator."""


class _Absent(NginxError):
    """There is nothing here that could be given back."""


class Change(NamedTuple):
    """What a call changed, or would change; `before` and `after` are the texts of the whole file, for a diff."""

    changed: bool
    path: str
    before: str
    after: str


class Master(NamedTuple):
    """A running master process; `started` tells it from a later one with its pid."""

    pid: int
    started: int
    options: list[str]
    cwd: str
    by: str


class Site(NamedTuple):
    """Where the upstream is."""

    master: Master | None
    binary: str
    options: list[str]
    cwd: str
    tree: nginx_config.Tree
    block: nginx_config.Node
    # The real file behind symbolic links, and what is in it.
    path: str
    raw: bytes
    text: str
    # How many seconds nginx took to read its configuration.
    seconds: float


def decode(raw: bytes) -> str:
    """Text from which the very same bytes come back; nginx does not care for their encoding."""
    return raw.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """Text that can be printed."""
    return encode(text).decode("utf-8", "replace")


def read(path: str) -> bytes:
    """A regular file; without O_NONBLOCK a named pipe would wait for a writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return raw


def _include_word(path: str) -> str:
    """A file's name as the argument of an `include`, which takes it for a pattern where it looks like one."""
    if re.search(r"[*?\[]", path):
        path = re.sub(r"([*?\[\\])", r"\\\1", path)
    return nginx_config.quoted(path)


def title_options(title: str) -> list[str]:
    """The options in the title of a master process; its words are joined by single spaces there."""
    found: list[str] = []
    for option, value in re.findall(r" -([cpeg]) ?(.*?)(?= -[A-Za-z?]|$)", title):
        if value:
            found += ["-" + option, value]
    return found


class Processes:
    """nginx's processes."""

    def __init__(self, root: str = proc.ROOT) -> None:
        self.root = root

    def masters(self) -> list[Master]:
        """Return the master processes of this server's own nginx: root's, and none of a container."""
        found = []
        for pid in proc.pids(self.root):
            title = proc.title(pid, self.root)
            match = re.match(r"nginx: master process (\S+)", title)
            started = proc.started(pid, self.root) if match and self._is_ours(pid) else None
            if match and started is not None and proc.is_of_this_server(pid, self.root):
                options, cwd = title_options(title[match.end() :]), proc.working_folder(pid, self.root)
                found.append(Master(pid, started, options, cwd, self._by(pid)))
        return found

    def _is_ours(self, pid: int) -> bool:
        """Return whether the program of a process, with its options, may be started here: root starts root's alone."""
        if os.geteuid() == 0:
            return proc.is_roots(pid, self.root)
        return proc.user_id(pid, self.root) in (0, os.geteuid())

    def _by(self, pid: int) -> str:
        """Return who starts it again. nginx writes its title over its environment, so its ancestors tell."""
        ancestor = proc.parent(pid, self.root)
        while ancestor > 1:
            if re.search(r"(^|[/ ])supervisord( |$)", proc.title(ancestor, self.root)):
                return "supervisor"
            ancestor = proc.parent(ancestor, self.root)
        unit = re.search(r"/([^/\n]+)\.service(?:/|$)", proc.text(pid, "cgroup", self.root), re.MULTILINE)
        if unit and re.match(r"supervisor", unit.group(1)):
            return "supervisor"
        return "systemd" if unit else "other"

    def workers(self, master: int) -> set[tuple[int, int]]:
        """Return the workers that take new connections, each with its start."""
        found = set()
        for pid in proc.pids(self.root):
            started = proc.started(pid, self.root) if proc.parent(pid, self.root) == master else None
            title = proc.title(pid, self.root) if started is not None else ""
            if started is not None and title.startswith("nginx: worker process") and "shutting down" not in title:
                found.add((pid, started))
        return found

    def other_web_server(self) -> str | None:
        """Return the program that listens on port 80 or 443, where that is not this server's nginx."""
        own = {master.pid for master in self.masters()}
        for row in sorted(proc.listeners((80, 443), self.root), key=lambda row: row.pid):
            if not {row.pid, proc.parent(row.pid, self.root)} & own:
                name = proc.name_of(row.pid, self.root)
                return {"nginx": "an nginx in a container", "docker-proxy": "a container"}.get(name, name) or None
        return None


def includes(conf_dir: str, pattern: str) -> list[str]:
    """The files behind an include, as nginx finds them: from the main file's folder, sorted by name."""
    full = str(Path(conf_dir, pattern))
    if not re.search(r"[*?\[]", full):
        return [full]
    # The C library's glob takes a backslash as the sign that the next character is no pattern.
    full = re.sub(r"\\(.)", lambda match: f"[{match.group(1)}]" if match.group(1) in "*?[]\\" else match.group(1), full)
    return sorted(glob.glob(full), key=os.fsencode)  # noqa: PTH207


def failure(err: str) -> str:
    """nginx's own words on why it does not take a configuration."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    # With a date and a process number where nginx has a log open on standard error already.
    found = (re.search(r"\[(?:emerg|alert|crit|error)\] (?:\d+#\d+: )?(.+)", line) for line in lines)
    told = [match.group(1) for match in found if match] or [line for line in lines if "[warn]" not in line]
    return shown(told[0] if told else "it says nothing")


class Nginx:
    """The upstream of one name on this server."""

    def __init__(
        self, upstream: str = "channels-backend", state_dir: str = "/etc/tethys_channels", root: str = proc.ROOT
    ) -> None:
        self.upstream = upstream
        self.state_dir = state_dir
        self.processes = Processes(root)
        self._kept = str(Path(state_dir, "nginx_upstream.original"))
        self._pending = str(Path(state_dir, "nginx_upstream.pending"))

    # -- looking -------------------------------------------------------------------------------------------------------

    def look(self) -> Upstream:
        """What there is on this server; `problem` says in one sentence why the upstream cannot be managed."""
        found: Upstream = {
            "installed": False,
            "running": False,
            "pid": None,
            "by": None,
            "version": None,
            "other_web_server": None,
            "problem": None,
            "path": None,
            "line": None,
            "servers": [],
            "managed": False,
            "method": None,
            "websocket_problem": None,
        }
        with _explained(found):
            found["other_web_server"] = self.processes.other_web_server()
            self._survey(found)
        return found

    def _survey(self, found: Upstream, strict: bool = True) -> Site:
        """Where the upstream is; NginxError where it cannot be managed.

        Args:
            found: filled with what was seen, as far as it goes.
            strict: else what was made by us is only to be taken away: nginx need not run, and may be told anything.
        """
        master, binary, options, cwd = self._program(found, strict)
        started = time.monotonic()
        main = self._main_file(binary, options, cwd)
        seconds = time.monotonic() - started
        conf_dir = str(Path(main).parent)
        try:
            tree = nginx_config.Tree(main, lambda file: decode(read(file)), lambda pattern: includes(conf_dir, pattern))
        except nginx_config.NginxFileError as error:
            raise NginxError(
                f"nginx's configuration cannot be followed ({shown(str(error))}): write that place in another way, or"
                f" {WAY_OUT}."
            ) from error
        block = self._one_block(tree)
        path = os.path.realpath(block.file)
        text = tree.texts[block.file]
        method = nginx_config.own_method(block)
        self._read_kept()
        found.update(
            {
                "path": path,
                "line": nginx_config.line_of(text, block.directive.start),
                "servers": [
                    {"address": server.args[0], "down": "down" in server.args}
                    for server in block.named("server")
                    if server.args
                ],
                "managed": nginx_config.is_managed(text[block.directive.start : block.directive.end]),
                "method": " ".join([method.name, *method.args]) if method else None,
            }
        )
        if strict:
            self._refuse(found, tree, block)
        return Site(master, binary, options, cwd, tree, block, path, encode(text), text, seconds)

    def _program(self, found: Upstream, strict: bool) -> tuple[Master | None, str, list[str], str]:
        """The master process, its binary, options and folder."""
        masters = self.processes.masters()
        installed = next(
            (name for name in (shutil.which("nginx"), *BINARIES) if name and os.access(name, os.X_OK)), None
        )
        found["installed"] = bool(masters or installed)
        other = found.get("other_web_server")
        instead = f"; {other} listens on its ports" if other else ""
        if not found["installed"]:
            raise _Absent(
                f"nginx is not installed on this server{instead}: install it and put the portal behind it"
                f" (`tethys gen nginx` writes its site), or {WAY_OUT}."
            )
        if len(masters) > 1:
            # While nginx's binary is being exchanged there are two, the newer one a child of the older.
            pids = {master.pid for master in masters}
            masters = [master for master in masters if proc.parent(master.pid, self.processes.root) in pids] or masters
        if len(masters) > 1:
            raise NginxError(
                f"{len(masters)} nginx master processes run on this server (pids"
                f" {', '.join(str(master.pid) for master in masters)}): end those that do not serve the portal, or"
                f" {WAY_OUT}."
            )
        master = masters[0] if masters else None
        writers = proc.writers_of_program(master.pid, self.processes.root) if master and os.geteuid() == 0 else []
        if master and writers:
            raise NginxError(
                f"the program of nginx's master process, {shown(proc.program(master.pid, self.processes.root))}, is not"
                f" only root's: {writers[0]['path']} can be changed by {who_can(writers[0])}. Run an nginx that only"
                f" root can change, or {WAY_OUT}."
            )
        # The very program that runs, even where a newer package lies in its place.
        binary = str(Path(self.processes.root, str(master.pid), "exe")) if master else str(installed)
        found.update(
            {"running": bool(master), "pid": master.pid if master else None, "by": master.by if master else None}
        )
        found["version"] = self._version(binary)
        if not master and strict:
            raise NginxError(
                f"nginx is installed and does not run on this server{instead}: start it (systemctl start nginx), or"
                f" {WAY_OUT}."
            )
        return (master, binary, master.options, master.cwd) if master else (None, binary, [], "/")

    def _run(self, binary: str, options: Sequence[str], cwd: str = "/") -> tuple[int, str, str]:
        # Its messages in English, and by bytes that come back.
        environ = {**os.environ, "LC_ALL": "C"}
        try:
            return run_command([binary, *options], seconds=TEST_SECONDS, env=environ, cwd=cwd)
        except TimedOut as error:
            raise NginxError(
                f"nginx has not read its configuration within {TEST_SECONDS:.0f} s: see what `nginx -t` waits for, such"
                " as the name of a server that cannot be looked up."
            ) from error
        except CommandFailed as error:
            raise NginxError(f"nginx could not be run: {error}. See whether `nginx -t` works.") from error

    def _version(self, binary: str) -> str | None:
        _code, out, err = self._run(binary, ["-v"])
        match = re.search(r"\w+ version: [^/\s]*/?(\S+)", out + err)
        return match.group(1) if match else None

    def _main_file(self, binary: str, options: list[str], cwd: str) -> str:
        """The main file of a configuration that nginx takes."""
        code, out, err = self._run(binary, ["-T", *options], cwd)
        if code != 0:
            raise NginxError(
                f"nginx's configuration is not valid ({failure(err)}): correct that first, `nginx -t` shows it."
            )
        match = re.search(r"^# configuration file (.+):$", out, re.MULTILINE)
        if not match:
            raise NginxError(
                "nginx does not print its configuration (`nginx -T` names no file): install nginx 1.9.2 or later,"
                f" or {WAY_OUT}."
            )
        return str(Path(cwd, match.group(1)))

    def _one_block(self, tree: nginx_config.Tree) -> nginx_config.Node:
        upstreams = tree.upstreams()
        found = [node for node in upstreams if node.args == (self.upstream,)]
        if len(found) == 1:
            return found[0]
        if found:
            places = " and ".join(_place(node, tree) for node in found)
            raise NginxError(f"nginx has two blocks `upstream {self.upstream}`, {places}: leave one of them.")
        others = [
            node.args[0]
            for node in upstreams
            if any(nginx_config.is_this_server(server.args[0]) for server in node.named("server") if server.args)
        ]
        names = " or ".join(others)
        candidates = f" (or, if the portal is behind {names}, set nginx_upstream_name to that)" if others else ""
        raise _Absent(
            f"nginx has no block `upstream {self.upstream}`: add `upstream {self.upstream} {{ server"
            " 127.0.0.1:8000; }` to the portal's site, beside its `server` block, and have that block's location say"
            f" `proxy_pass http://{self.upstream};`{candidates}, or {WAY_OUT}."
        )

    def _refuse(self, found: Upstream, tree: nginx_config.Tree, block: nginx_config.Node) -> None:
        """The reasons against managing a block."""
        place = _place(block, tree)
        method = nginx_config.own_method(block)
        if method and method.name in nginx_config.LUA_METHODS:
            raise NginxError(
                f"`upstream {self.upstream}` ({place}) chooses its servers by a program ({method.name}), whatever its"
                f" `server` lines say: take that out or name another upstream in nginx_upstream_name, or {WAY_OUT}."
            )
        servers = [server for server in block.named("server") if server.args]
        for server in servers:
            if not nginx_config.is_this_server(server.args[0]):
                raise NginxError(
                    f"`upstream {self.upstream}` ({place}) also sends requests to {server.args[0]}, which is not this"
                    f" server: take that line out or name another upstream in nginx_upstream_name, or {WAY_OUT}."
                )
        for server in servers:
            if server.file != block.file:
                raise NginxError(
                    f"`upstream {self.upstream}` ({place}) takes its servers from {server.file}: write them into the"
                    f" block instead of the `include`, or {WAY_OUT}."
                )
        passes = tree.passes(self.upstream)
        if not passes and not tree.passes_by_variable():
            raise NginxError(
                f"no `proxy_pass` of nginx leads to `upstream {self.upstream}` ({place}): have the portal's location"
                f" say `proxy_pass http://{self.upstream};`, or name in nginx_upstream_name the upstream that it leads"
                f" to, or {WAY_OUT}."
            )
        version = tuple(int(number) for number in re.findall(r"\d+", str(found.get("version")))[:3])
        lacks = [nginx_config.missing_for_websockets(each, version >= HTTP_1_1_BY_DEFAULT) for each in passes]
        # One location for the sockets is enough, and which paths are sockets only the portal knows.
        if lacks and all(lacks):
            least = min(range(len(lacks)), key=lambda number: len(lacks[number]))
            found["websocket_problem"] = (
                f"WebSockets do not get through nginx to the portal: add `{' '.join(lacks[least])}` beside the"
                f" `proxy_pass` at {_place(passes[least], tree)}."
            )

    # -- changing ------------------------------------------------------------------------------------------------------

    def put(
        self, ports: Sequence[int], down: Collection[int] = (), pins: Sequence[str] | None = None, dry: bool = False
    ) -> Change:
        """Have the upstream list these ports of the loopback.

        Args:
            ports: in order; pinned requests go to the first.
            down: those of them that get no new requests. All of them would be an outage, so then none is.
            pins: regular expressions of the paths that go to one process; the others spread.
            dry: change nothing, and tell what would be changed.

        Raises:
            NginxError: the upstream cannot be managed, or nginx does not take the change; nothing has changed then.
        """
        if not ports:
            raise NginxError(f"an `upstream {self.upstream}` without a server is invalid: give at least one port.")
        with _explained():
            found: Upstream = {}
            site = self._survey(found)
            if pins and found["method"]:
                raise NginxError(
                    f"`upstream {self.upstream}` ({site.path}, line {found['line']}) chooses its servers by"
                    f" `{found['method']}`, and tethys_bokeh_policy: pin needs that choice: take that line out, or set"
                    " tethys_bokeh_policy to single."
                )
            out = set(down) if set(ports) - set(down) else set()
            servers = [(f"127.0.0.1:{port}", port in out) for port in ports]
            try:
                text = nginx_config.write_upstream(site.text, self.upstream, servers, pins)
            except ValueError as error:
                raise NginxError(f"{site.path} cannot be changed ({shown(str(error))}): correct that first.") from error
            return self._bring(site, text, dry)

    def give_back(self, port: int, dry: bool = False) -> Change:
        """Put the block back as it was found before our first change, and forget it.

        Where that one would not lead to `port`, on which the portal listens from now on, or is not known, the block
        gets that one server.
        """
        with _explained():
            kept = self._read_kept()
            nothing = Change(kept is not None, "", "", "")
            try:
                site = self._survey({}, strict=False)
            except _Absent:
                # With the block, or with nginx, all that we wrote has gone.
                if not dry:
                    self._forget()
                return nothing
            block = site.text[site.block.directive.start : site.block.directive.end]
            text = site.text
            if nginx_config.looks_like_ours(block) and (kept or nginx_config.is_managed(block)):
                text = self._given_back(site.text, kept, port)
            change = self._bring(site, text, dry, keep=False)
            if not dry:
                self._forget()
            return change._replace(changed=change.changed or nothing.changed)

    def _given_back(self, text: str, kept: dict[str, Any] | None, port: int) -> str:
        if kept is None:
            return nginx_config.plain_upstream(text, self.upstream, port)
        try:
            text = nginx_config.restored_upstream(text, self.upstream, str(kept["block"]))
            servers = nginx_config.blocks(nginx_config.parse(text), self.upstream)[0].children
        except (ValueError, IndexError):
            return nginx_config.plain_upstream(text, self.upstream, port)
        ports = [nginx_config.port_of(server.args[0]) for server in servers if server.name == "server" and server.args]
        return text if port in ports else nginx_config.plain_upstream(text, self.upstream, port)

    def _bring(self, site: Site, text: str, dry: bool, keep: bool = True) -> Change:
        """Make a text the portal's site, and have nginx read it."""
        pending = os.path.lexists(self._pending)
        change = Change(text != site.text or pending, site.path, shown(site.text), shown(text))
        if dry or not change.changed:
            return change
        atomic_file.remove_leftovers(site.tree.main)
        with owned_file(site.block.file, MAX_BYTES) as file:
            file.clear()
            if text == site.text:
                if site.master:
                    self._reload(site.master, site)
                self._done()
                return change
            before = file.read()
            if before.raw != site.raw or file.path != site.path:
                raise _changed_meanwhile(site)
            self._validate(site, text)
            if keep:
                self._keep(site)
            self._state_file(self._pending, {"path": site.path})
            if not file.rewrite(encode(text), before):
                raise _changed_meanwhile(site)
            if site.master:
                self._reload_or_undo(site.master, site, file, before._replace(raw=encode(text)))
        self._done()
        return change

    def _reload_or_undo(self, master: Master, site: Site, file: OwnedFile, written: Content) -> None:
        """Have nginx read what was written; if it does not, put back what was there, unless somebody changed it."""
        try:
            self._reload(master, site)
        except NginxError:
            file.rewrite(site.raw, written)
            with contextlib.suppress(OSError):
                os.kill(master.pid, signal.SIGHUP)
            self._done()
            raise

    def _validate(self, site: Site, text: str) -> None:
        """Have nginx read the whole configuration as it would be, from copies of the files that lead to the change.

        The copy of the main file has to be in that file's folder: relative names, of certificates too, begin there.
        """
        tree = site.tree
        main = atomic_file.temporary(tree.main)
        with tempfile.TemporaryDirectory(prefix="tethys_channels.") as folder:
            copies: dict[str, str | None] = {}

            def text_of(file: str) -> str | None:
                """The text that takes a file's place, or None where it is not on the way."""
                if os.path.realpath(file) == site.path:
                    return text
                new = tree.texts[file]
                on_the_way = False
                for directive, files in sorted(tree.includes[file], key=lambda each: each[0].start, reverse=True):
                    instead = [copy_of(each) for each in files]
                    if any(instead):
                        on_the_way = True
                        words = (f"include {_include_word(copy or each)};" for copy, each in zip(instead, files))
                        new = new[: directive.start] + " ".join(words) + new[directive.end :]
                return new if on_the_way else None

            def copy_of(file: str) -> str | None:
                if file not in copies:
                    copies[file] = None
                    copy = str(Path(folder, f"{len(copies)}.conf"))
                    new = text_of(file)
                    if new is not None:
                        copies[file] = copy
                        atomic_file.write_new(copy, encode(new))
                return copies[file]

            whole = text_of(tree.main)
            if whole is None:
                raise NginxError(f"{site.path} is no longer part of nginx's configuration: run again.")
            options = list(site.options)
            if "-c" in options:
                del options[options.index("-c") : options.index("-c") + 2]
            try:
                atomic_file.write_new(main, encode(whole))
                code, _out, err = self._run(site.binary, ["-t", *options, "-c", main], site.cwd)
            finally:
                atomic_file.unlink(main)
            if code != 0:
                told = failure(err)
                for file, copy in [*copies.items(), (tree.main, main)]:
                    if copy:
                        told = told.replace(copy, file)
                raise NginxError(
                    f"nginx does not take the changed `upstream {self.upstream}` ({told}), so {site.path} was left as"
                    " it was: correct what nginx names."
                )

    def _reload(self, master: Master, site: Site) -> None:
        """Have the master process read its configuration, and see that it did."""
        if proc.started(master.pid, self.processes.root) != master.started:
            raise NginxError("nginx stopped or restarted during the change, so nothing was changed: run again.")
        former = self.processes.workers(master.pid)
        limit = max(RELOAD_SECONDS, 5 * site.seconds)
        end = time.monotonic() + limit
        with contextlib.suppress(ProcessLookupError):
            os.kill(master.pid, signal.SIGHUP)
        while time.monotonic() < end:
            time.sleep(0.05)
            workers = self.processes.workers(master.pid)
            if workers - former and not workers & former:
                return
        raise NginxError(
            f"nginx has not loaded its configuration within {limit:.0f} s, so {site.path} was restored. Read"
            f" {_error_log(site.tree)}."
        )

    # -- what is remembered --------------------------------------------------------------------------------------------

    def _state_file(self, path: str, content: dict[str, Any]) -> None:
        Path(self.state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.remove_leftovers(path)
        atomic_file.replace(path, (json.dumps(content, indent=1) + "\n").encode())

    def _read_kept(self) -> dict[str, Any] | None:
        try:
            kept = json.loads(read(self._kept).decode())
        except FileNotFoundError:
            return None
        except ValueError:
            kept = None
        if not isinstance(kept, dict) or not isinstance(kept.get("block"), str):
            raise NginxError(
                f"{self._kept} is damaged, so the original text of nginx's `upstream {self.upstream}` is unknown."
                " Delete that file, and check the block after the run."
            )
        if kept.get("upstream") != self.upstream:
            other = kept.get("upstream")
            raise NginxError(
                f"nginx's `upstream {other}` is still as an earlier run wrote it, and nginx_upstream_name is"
                f" {self.upstream}: set it back to {other}, go back to shared_socket with a run of site, and change it"
                " then."
            )
        return kept

    def _keep(self, site: Site) -> None:
        """Keep the block as it is before our first change, or before the first since somebody wrote it anew."""
        block = site.text[site.block.directive.start : site.block.directive.end]
        known = self._read_kept() is not None
        if nginx_config.looks_like_ours(block) if known else nginx_config.is_managed(block):
            return
        self._state_file(self._kept, {"upstream": self.upstream, "path": site.path, "block": block, "text": site.text})

    def _done(self) -> None:
        atomic_file.unlink(self._pending)

    def _forget(self) -> None:
        atomic_file.unlink(self._kept)
        atomic_file.unlink(self._pending)


def _changed_meanwhile(site: Site) -> NginxError:
    return NginxError(f"{site.path} was changed by somebody else just now, so it was left alone: run again.")


def _place(node: nginx_config.Node, tree: nginx_config.Tree) -> str:
    return f"{shown(node.file)}, line {nginx_config.line_of(tree.texts[node.file], node.directive.start)}"


def _error_log(tree: nginx_config.Tree) -> str:
    logs = [node.args[0] for node in tree.root.named("error_log") if node.args]
    return logs[-1] if logs and logs[-1].startswith("/") else "nginx's error log"


@contextlib.contextmanager
def _explained(found: Upstream | None = None) -> Iterator[None]:
    """Turn what a strange server brings into one sentence, raised or, with `found`, put there."""
    try:
        try:
            yield
        except Refused as error:
            raise NginxError(f"nginx's configuration was left as it was: {error}.") from error
        except OSError as error:
            name = shown(str(error.filename or "a file of nginx"))
            reasons = {
                errno.ENOSPC: "the disk is full; free some space",
                errno.EDQUOT: "the quota is used up; free some space",
                errno.EROFS: "the file system is read-only; mount it writable",
                errno.EBUSY: "it is a mount point; mount its folder instead",
                errno.EACCES: "permission denied; run with become",
                errno.EPERM: "its owner or mode could not be kept, or it is protected; check `lsattr`",
            }
            raise NginxError(
                f"nginx's configuration was left as it was: {name}: {reasons.get(error.errno or 0, error.strerror)}."
            ) from error
        except (ValueError, RecursionError) as error:
            raise NginxError(
                f"nginx's configuration cannot be followed ({shown(str(error))}): write that place in another way, or"
                f" {WAY_OUT}."
            ) from error
    except NginxError as error:
        if found is None:
            raise
        found["problem"] = str(error)
