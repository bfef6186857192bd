# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of settings as it was before the first change, and what is known of the changes since."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
from pathlib import Path
from typing import Any, Iterator

from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import Content, OwnedFile
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml import Touched

# A portal_config.yml has some kilobytes; a file beyond this is something else.
MAX_BYTES = 512 * 1024


class Refused(Exception):
    """A reason not to go on, in one sentence."""


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what is no file of settings into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise Refused(f"{path} is not a regular file; correct tethys_home") from None
        if error.errno == errno.EFBIG:
            size = f"{MAX_BYTES // 1024} KiB"
            raise Refused(f"{path} is larger than {size}, which no portal_config.yml is; correct tethys_home") from None
        raise


class Record:
    """The file as it was before our first change, and what we know of our changes since.

    The copy and its `.json` are written before the portal's file, so a run killed in between is found out by comparing
    SHA-256 sums: `written` holds what the file may be if only we changed it.
    """

    def __init__(self, path: str, realpath: str) -> None:
        self.path = path
        self.notes_path = path + ".json"
        self.realpath = realpath
        self.notes: dict[str, Any] = {}
        self.original = b""
        try:
            with reading(path):
                self.original = atomic_file.read(path, MAX_BYTES)
                self.notes = json.loads(atomic_file.read(self.notes_path, MAX_BYTES).decode())
        except FileNotFoundError:
            return  # never changed, or killed before the notes were there, and so before the first change
        except ValueError:
            raise Refused(
                f"{self.notes_path} is damaged, so what {realpath} was before is not known; delete it and {path}"
            ) from None
        if self.notes.get("realpath") != realpath:
            raise Refused(
                f"{path} was kept for {self.notes.get('realpath')}, not for {realpath}; give another `original`"
            )

    def __bool__(self) -> bool:
        return bool(self.notes)

    def ours(self, digest: str) -> bool:
        """Whether a file with this sum has been changed by nobody but us."""
        return digest in self.notes["written"] and not self.notes["shared"]

    def remember(self, before: Content, new: bytes, entries: Touched, backup: str) -> None:
        """Note a change that is about to happen."""
        digest = sha256(before.raw)
        if not self.notes or digest == self.notes["original"]:
            earlier = self.notes.get("backups", [])
            self.notes = {
                "realpath": self.realpath,
                "original": digest,
                "uid": before.uid,
                "gid": before.gid,
                "mode": f"{before.mode:04o}",
                "shared": False,
                "written": [],
                "entries": {},
                "backups": earlier,
            }
            Path(self.path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic_file.remove_leftovers(self.path)
            atomic_file.replace(self.path, before.raw)
        elif digest not in self.notes["written"]:
            self.notes["shared"] = True  # the file now contains changes by others too
        self.notes["written"] = [*(d for d in self.notes["written"] if d == digest), sha256(new)]
        known = self.notes["entries"]
        for name, keys in entries.items():
            held = known.get(name, [])
            both = None if keys is None or held is None else held + [key for key in keys if key not in held]
            known[name] = both
        if backup:
            self.notes["backups"].append(backup)
        atomic_file.replace(self.notes_path, json.dumps(self.notes, indent=1).encode())

    def forget(self, file: OwnedFile) -> None:
        """Delete all of it and the backups beside the file, the notes before the copy, which means nothing alone."""
        for backup in self.notes.get("backups", []):
            file.delete(Path(backup).name)
        atomic_file.unlink(self.notes_path)
        atomic_file.unlink(self.path)
