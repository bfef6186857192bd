# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal's upstream block in the nginx that runs on this server: found, changed, validated and reloaded.

nginx is queried through its running master process: its binary, its options and its main file are those that a reload
will use, whoever holds it. A change is validated with the whole configuration before it is in place, what was found is
kept, and a run that was killed anywhere is finished by the next.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import tempfile
import time
from pathlib import Path
from typing import Any, Collection, Iterator, NamedTuple, Sequence

from ansible_collections.tethys.channels.plugins.module_utils import nginx_blocks, nginx_config
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import (
    Content,
    OwnedFile,
    owned_file,
)
from ansible_collections.tethys.channels.plugins.module_utils.nginx_processes import (
    MAX_BYTES,
    Master,
    encode,
    failure,
    shown,
)
from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import (
    Absent,
    NginxError,
    Search,
    Site,
    Upstream,
    explained,
)
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.lock import Busy, alone_on_server

RELOAD_SECONDS = 10.0


class Change(NamedTuple):
    """What a call changed, or would change; `before` and `after` are the texts of the whole file, for a diff."""

    changed: bool
    path: str
    before: str
    after: str


def _include_word(path: str) -> str:
    """A file's name as the argument of an `include`, which takes it for a pattern where it looks like one."""
    if re.search(r"[*?\[]", path):
        path = re.sub(r"([*?\[\\])", r"\\\1", path)
    return nginx_config.quoted(path)


@contextlib.contextmanager
def _no_other_edits(dry: bool) -> Iterator[None]:
    """Wait for a run for another portal of this server, whose block may be in the same file."""
    try:
        with contextlib.nullcontext() if dry else alone_on_server("nginx"):
            yield
    except Busy as error:
        raise NginxError(str(error)) from error


class Nginx(Search):
    """Changes the upstream of one name on this server."""

    def put(
        self, ports: Sequence[int], down: Collection[int] = (), pins: Sequence[str] | None = None, dry: bool = False
    ) -> Change:
        """Have the upstream list these ports of the loopback.

        Args:
            ports: in order; pinned requests go to the first.
            down: those of them that get no new requests. All of them would be an outage, so then none is.
            pins: regular expressions of the paths that go to one process; the others spread.
            dry: change nothing, and return what would be changed.

        Raises:
            NginxError: the upstream cannot be managed, or nginx does not take the change; nothing has changed then.
        """
        if not ports:
            raise NginxError(f"an `upstream {self.upstream}` without a server is invalid: give at least one port.")
        with explained(), _no_other_edits(dry):
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
                text = nginx_blocks.write_upstream(site.text, self.upstream, servers, pins, self.variable)
            except ValueError as error:
                raise NginxError(f"{site.path} cannot be changed ({shown(str(error))}): correct that first.") from error
            return self._bring(site, text, dry)

    def give_back(self, port: int, dry: bool = False) -> Change:
        """Restore the block to its state before our first change, and delete the record.

        Where that one would not lead to `port`, on which the portal listens from now on, or is not known, the block
        gets that one server.
        """
        with explained(), _no_other_edits(dry):
            kept = self._read_kept()
            nothing = Change(kept is not None, "", "", "")
            try:
                site = self._survey({}, strict=False)
            except Absent:
                # With the block, or with nginx, all that we wrote has gone.
                if not dry:
                    self._forget()
                return nothing
            block = site.text[site.block.directive.start : site.block.directive.end]
            text = site.text
            if nginx_blocks.looks_like_ours(block) and (kept or nginx_blocks.is_managed(block)):
                text = self._given_back(site.text, kept, port)
            change = self._bring(site, text, dry, keep=False)
            if not dry:
                self._forget()
            return change._replace(changed=change.changed or nothing.changed)

    def _given_back(self, text: str, kept: dict[str, Any] | None, port: int) -> str:
        if kept is None:
            return nginx_blocks.plain_upstream(text, self.upstream, port, self.variable)
        try:
            text = nginx_blocks.restored_upstream(text, self.upstream, str(kept["block"]), self.variable)
            servers = nginx_config.blocks(nginx_config.parse(text), self.upstream)[0].children
        except (ValueError, IndexError):
            return nginx_blocks.plain_upstream(text, self.upstream, port, self.variable)
        ports = [nginx_config.port_of(server.args[0]) for server in servers if server.name == "server" and server.args]
        return text if port in ports else nginx_blocks.plain_upstream(text, self.upstream, port, self.variable)

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
        """Make the master process reload its configuration, and check that it did."""
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

    def _state_file(self, path: str, content: dict[str, Any]) -> None:
        Path(self.state_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.remove_leftovers(path)
        atomic_file.replace(path, (json.dumps(content, indent=1) + "\n").encode())

    def _keep(self, site: Site) -> None:
        """Save the block before our first change, or before the first since another program rewrote it."""
        block = site.text[site.block.directive.start : site.block.directive.end]
        known = self._read_kept() is not None
        if nginx_blocks.looks_like_ours(block) if known else nginx_blocks.is_managed(block):
            return
        self._state_file(self._kept, {"upstream": self.upstream, "path": site.path, "block": block, "text": site.text})

    def _done(self) -> None:
        atomic_file.unlink(self._pending)

    def _forget(self) -> None:
        atomic_file.unlink(self._kept)
        atomic_file.unlink(self._pending)


def _changed_meanwhile(site: Site) -> NginxError:
    return NginxError(f"{site.path} was changed by somebody else just now, so it was left alone: run again.")


def _error_log(tree: nginx_config.Tree) -> str:
    logs = [node.args[0] for node in tree.root.named("error_log") if node.args]
    return logs[-1] if logs and logs[-1].startswith("/") else "nginx's error log"
