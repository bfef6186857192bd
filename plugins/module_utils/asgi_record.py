# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each ASGI process runs with: a digest of the files and packages that it read at its start, by its id."""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import http.client
import os
import stat
import time
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected
from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES
from ansible_collections.tethys.channels.plugins.module_utils.read_as import names_in, read_file
from ansible_collections.tethys.channels.plugins.module_utils.server.proc import process_key, started_at

# The kernel gives the time of a start, and how long it runs, in hundredths of a second. A process reads its files much
# later than this after its start, so one that started so shortly before a change has the change.
SLACK_SECONDS = 0.05
MOST_FILE = 8 * 1024 * 1024


def groups_lost_at(name: str, engine: str = "docker", here: bool = True) -> float:
    """When the groups in a container's Redis were last lost, as wall-clock time; 0 if that is unknown.

    That is when the running Redis started, taken from its process, because a change of the clock makes Docker's dates
    differ from those of the processes. If Redis last ended before this boot, no running process has lost anything,
    unless the processes do not run `here`. (A Podman container has no such date, because each start creates another
    one; its unit starts before Supervisor.)
    """
    try:
        pid, moment = ENGINES[engine]().process(name)
        ended = _moment(moment)
    except (OSError, http.client.HTTPException, ValueError):
        return 0
    key = process_key(pid)
    if key is None or (here and 0 < ended < started_at("boot:0")):
        return 0
    return started_at(key)


def _moment(text: str) -> float:
    """The whole second of one of Docker's dates. Its nanoseconds no Python reads."""
    return calendar.timegm(time.strptime(text.partition(".")[0].rstrip("Z"), "%Y-%m-%dT%H:%M:%S"))


def precedes(key: str, lost: float) -> bool:
    """Whether a process is older than that loss of the groups, so that its WebSockets receive nothing any more."""
    return started_at(key) + SLACK_SECONDS < lost


class Sources:
    """What a process reads at its start: its digest, and when it last changed.

    The portal's user or the environment's owner can change all of it, so it is read within bounds and as its owner.
    """

    def __init__(self, files: list[str], site_packages: str) -> None:
        self._digest = hashlib.sha256()
        self.newest = 0.0
        for name in files:
            self._add_file(name)
        try:
            names = names_in(site_packages)
        except (OSError, Rejected):
            names = []
        for name in names:
            if name.endswith(".dist-info"):
                self._digest.update(os.fsencode(name) + b"\0")
                with contextlib.suppress(OSError):
                    self.newest = max(self.newest, Path(site_packages, name).stat().st_mtime)
        self.sum = self._digest.hexdigest()

    def _add_file(self, name: str) -> None:
        try:
            found = Path(name).stat()
            if not stat.S_ISREG(found.st_mode):
                return
            try:
                content = read_file(name, None, MOST_FILE)
            except (OSError, Rejected):
                # It changed when this does.
                content = f"{found.st_size} {found.st_mtime_ns}".encode()
        except OSError:
            return
        self._digest.update(os.fsencode(name) + b"\0" + content)
        self.newest = max(self.newest, found.st_mtime)


def is_outdated(key: str, sources: Sources, record: dict[str, str]) -> bool:
    """Whether that process runs with something older than what is there now."""
    if key in record:
        return record[key] != sources.sum
    return started_at(key) + SLACK_SECONDS < sources.newest
