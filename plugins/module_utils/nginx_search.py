# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the portal's upstream block in the nginx that runs on this server, or say why it cannot be managed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Sequence, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils import nginx_blocks, nginx_config
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import (
    Refused,
)
from ansible_collections.tethys.channels.plugins.module_utils.nginx_processes import (
    Master,
    Processes,
    decode,
    encode,
    failure,
    includes,
    read,
    shown,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
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
# From this version on nginx speaks HTTP/1.1 to the servers behind it if nothing else is said.
HTTP_1_1_BY_DEFAULT = (1, 29, 7)
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


class Absent(NginxError):
    """There is nothing here that could be given back."""


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


class Search:
    """Finds the upstream of one name on this server."""

    def __init__(
        self,
        upstream: str = "channels-backend",
        state_dir: str = "/etc/tethys_channels",
        root: str = proc.ROOT,
        portal_name: str = "",
    ) -> None:
        self.upstream = upstream
        self.variable = PortalNames(portal_name).map_variable
        self.state_dir = state_dir
        self.processes = Processes(root)
        self._kept = str(Path(state_dir, "nginx_upstream.original"))
        self._pending = str(Path(state_dir, "nginx_upstream.pending"))

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
        with explained(found):
            found["other_web_server"] = self.processes.other_web_server()
            self._survey(found)
        return found

    def _survey(self, found: Upstream, strict: bool = True) -> Site:
        """Where the upstream is; NginxError where it cannot be managed.

        Args:
            found: filled with what was seen, as far as it goes.
            strict: if false, only our own changes are removed: nginx may be stopped, and its configuration invalid.
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
        method = nginx_blocks.own_method(block)
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
                "managed": nginx_blocks.is_managed(text[block.directive.start : block.directive.end]),
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
            raise Absent(
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
        # The program that runs, even if a newer package has replaced its file.
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
            places = " and ".join(place_of(node, tree) for node in found)
            raise NginxError(f"nginx has two blocks `upstream {self.upstream}`, {places}: leave one of them.")
        others = [
            node.args[0]
            for node in upstreams
            if any(nginx_config.is_this_server(server.args[0]) for server in node.named("server") if server.args)
        ]
        names = " or ".join(others)
        candidates = f" (or, if the portal is behind {names}, set nginx_upstream_name to that)" if others else ""
        raise Absent(
            f"nginx has no block `upstream {self.upstream}`: add `upstream {self.upstream} {{ server"
            " 127.0.0.1:8000; }` to the portal's site, beside its `server` block, and have that block's location say"
            f" `proxy_pass http://{self.upstream};`{candidates}, or {WAY_OUT}."
        )

    def _refuse(self, found: Upstream, tree: nginx_config.Tree, block: nginx_config.Node) -> None:
        """The reasons against managing a block."""
        place = place_of(block, tree)
        method = nginx_blocks.own_method(block)
        if method and method.name in nginx_config.LUA_METHODS:
            raise NginxError(
                f"`upstream {self.upstream}` ({place}) chooses its servers by a program ({method.name}), whatever its"
                f" `server` lines say: remove that directive, or name another upstream in nginx_upstream_name, or"
                f" {WAY_OUT}."
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
        # One location for the sockets is enough, and which paths are sockets depends on the portal.
        if lacks and all(lacks):
            least = min(range(len(lacks)), key=lambda number: len(lacks[number]))
            found["websocket_problem"] = (
                f"WebSockets do not get through nginx to the portal: add `{' '.join(lacks[least])}` beside the"
                f" `proxy_pass` at {place_of(passes[least], tree)}."
            )

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


def place_of(node: nginx_config.Node, tree: nginx_config.Tree) -> str:
    return f"{shown(node.file)}, line {nginx_config.line_of(tree.texts[node.file], node.directive.start)}"


@contextlib.contextmanager
def explained(found: Upstream | None = None) -> Iterator[None]:
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
