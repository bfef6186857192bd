#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal_settings module; how the text is edited is in module_utils/portal_yaml.py."""

# Much here goes by descriptor, which pathlib has no word for.
# ruff: noqa: PTH103, PTH105, PTH108, PTH118, PTH120

from __future__ import annotations

DOCUMENTATION = r"""
module: portal_settings
short_description: Set single settings in a portal_config.yml on a server
version_added: 1.0.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Sets or removes settings below C(settings:) of a Tethys Portal's C(portal_config.yml) in place. Every byte outside
    the named settings stays as it is, and the file's other secrets never leave the server.
  - It does what the P(tethys.channels.merge_settings#filter) filter does, with the same code.
  - The file is replaced in one step, and only if it is still the file that was read. Its owner, group, mode, access
    control lists and security context are kept. Where O(path) is a symbolic link, the file it points to is written.
requirements:
  - PyYAML, for any Python on the server. Tethys brings it into its own environment, see O(prefix).
seealso:
  - plugin: tethys.channels.merge_settings
    plugin_type: filter
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return what would change without changing it.
  diff_mode:
    support: full
    description: Shows the named settings before and after, in one canonical form and with every secret masked.
  platform:
    support: full
    platforms: posix
    description: Works on POSIX systems.
options:
  path:
    description: The C(portal_config.yml).
    type: path
    required: true
  state:
    description:
      - V(present) merges O(settings) in and takes out what O(remove) names.
      - V(absent) takes out what O(settings) and O(remove) name.
      - V(restored) undoes what earlier runs with the same O(original) did, and forgets it. The file becomes what it was
        before the first of them, byte for byte, if nobody else has changed it since; else only the settings go back to
        what they were.
    type: str
    choices: [present, absent, restored]
    default: present
  settings:
    description:
      - Names of settings and their values. Where the old and the new value are mappings, their entries are merged
        one level deep; any other value is replaced.
    type: dict
    default: {}
  remove:
    description: Names of settings to take out.
    type: list
    elements: str
    default: []
  original:
    description:
      - Where to keep the file as it was before the first change, for O(state=restored). It is written once, readable by
        the module's user alone. What is needed to tell our changes from others' is beside it, in a file of the same
        name with C(.json) added. Without this, nothing is kept.
    type: path
  backup:
    description:
      - Keep the file as it was before this change beside it, under its name with the process number, the time, and C(~)
        added, and with its owner and mode.
      - Backups whose changes were recorded in O(original) are deleted by O(state=restored).
    type: bool
    default: true
  expected_sha256:
    description: Refuse to change the file unless this is the SHA-256 of what it holds, as read earlier.
    type: str
  prefix:
    description:
      - The conda (or other) environment of Tethys. Where Ansible's Python on the server has no PyYAML, the module goes
        on with the system's Python if that has it, else with C(bin/python) in here.
    type: path
"""

EXAMPLES = r"""
- name: Give the portal a Redis channel layer
  tethys.channels.portal_settings:
    path: /var/lib/tethys/portal_config.yml
    original: /var/lib/tethys-channels/portal_config.original
    prefix: /opt/conda/envs/tethys
    settings:
      CHANNEL_LAYERS:
        default:
          BACKEND: channels_redis.core.RedisChannelLayer
          CONFIG:
            hosts:
              - [127.0.0.1, 6379]

- name: Go back to what the file was before
  tethys.channels.portal_settings:
    path: /var/lib/tethys/portal_config.yml
    original: /var/lib/tethys-channels/portal_config.original
    state: restored
"""

RETURN = r"""
path:
  description: The O(path) that was asked for.
  type: str
  returned: always
realpath:
  description: The file itself, symbolic links followed.
  type: str
  returned: always
sha256:
  description:
    - SHA-256 of the file's content after this run (in check mode, what it would be). Empty where there is no file.
  type: str
  returned: always
backup_file:
  description: The backup made. Empty where none was.
  type: str
  returned: always
others_can_read:
  description: Whether users beside the file's owner and group can read it.
  type: bool
  returned: always
  sample: false
restored:
  description:
    - What O(state=restored) came to. V(file) is the whole file, V(setting) only the settings since others have changed
      the file too, V(nothing) that the file already is what it was or that no change of ours is known.
  type: str
  returned: when O(state=restored)
"""

import contextlib
import errno
import hashlib
import json
import os
import stat
import time
from typing import Any, Iterator

from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible_collections.tethys.channels.plugins.module_utils import portal_yaml
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml import PortalYamlError, Touched
from ansible_collections.tethys.channels.plugins.module_utils.secrets import secrets_in

# A portal_config.yml has some kilobytes; a file beyond this is something else.
MAX_BYTES = 32 * 1024 * 1024
SYSTEM_PYTHONS = ["/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3"]


class Refused(Exception):
    """A reason not to go on, in one sentence."""


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def read_file(path: str) -> tuple[bytes, os.stat_result]:
    """Content and status of a regular file."""
    # without O_NONBLOCK a named pipe would wait for a writer
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} is not a regular file; correct tethys_home")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(raw) > MAX_BYTES:
        raise Refused(
            f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB, which no portal_config.yml is; correct tethys_home"
        )
    return raw, status


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
            self.original = read_file(path)[0]
            self.notes = json.loads(read_file(self.notes_path)[0].decode())
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

    def remember(self, raw: bytes, status: os.stat_result, new: bytes, entries: Touched, backup: str) -> None:
        """Note a change that is about to happen."""
        digest = sha256(raw)
        if not self.notes or digest == self.notes["original"]:
            earlier = self.notes.get("backups", [])
            self.notes = {
                "realpath": self.realpath,
                "original": digest,
                "uid": status.st_uid,
                "gid": status.st_gid,
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
                "shared": False,
                "written": [],
                "entries": {},
                "backups": earlier,
            }
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            atomic_file.remove_leftovers(self.path)
            atomic_file.replace(self.path, raw)
        elif digest not in self.notes["written"]:
            self.notes["shared"] = True  # from now on the file holds somebody else's changes too
        self.notes["written"] = [*(d for d in self.notes["written"] if d == digest), sha256(new)]
        known = self.notes["entries"]
        for name, keys in entries.items():
            before = known.get(name, [])
            both = None if keys is None or before is None else before + [key for key in keys if key not in before]
            known[name] = both
        if backup:
            self.notes["backups"].append(backup)
        atomic_file.replace(self.notes_path, json.dumps(self.notes, indent=1).encode())

    def forget(self) -> None:
        """Delete all of it, the notes first: without them the rest means nothing."""
        for path in [*self.notes.get("backups", []), self.notes_path, self.path]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


class PortalSettings:
    """One run of the module."""

    def __init__(self, module: AnsibleModule, settings: dict[str, Any]) -> None:
        self.module = module
        self.params = module.params
        self.settings = settings
        self.state: str = self.params["state"]
        self.path: str = self.params["path"]
        self.realpath = os.path.realpath(self.path)
        self.result: dict[str, Any] = {
            "changed": False,
            "path": self.path,
            "realpath": self.realpath,
            "sha256": "",
            "backup_file": "",
            "others_can_read": False,
        }

    def run(self) -> dict[str, Any]:
        if self.state == "restored" and not self.params["original"]:
            raise Refused("state=restored needs `original`, where earlier runs kept the file; name it")
        record = Record(self.params["original"], self.realpath) if self.params["original"] else None
        if not self.module.check_mode:
            atomic_file.remove_leftovers(self.realpath)
        try:
            raw, status = read_file(self.realpath)
        except FileNotFoundError:
            return self.without_file(record)
        digest = sha256(raw)
        self.result["sha256"] = digest
        self.result["others_can_read"] = bool(status.st_mode & stat.S_IROTH)
        expected = self.params["expected_sha256"]
        if expected and expected.lower() != digest:
            raise Refused(f"{self.path} has been changed since it was read at the start; run again")
        if self.state != "restored":
            self.edit(record, raw, status)
        elif record is not None:  # asked for above
            self.restore(record, raw, status)
        return self.result

    def without_file(self, record: Record | None) -> dict[str, Any]:
        if self.state == "present" and self.module.check_mode and (self.settings or self.params["remove"]):
            self.result["changed"] = bool(self.settings)
        elif self.state == "present":
            raise Refused(f"{self.path} is not there; make it with `tethys gen portal_config`, or correct tethys_home")
        elif self.state == "restored":
            self.result["restored"] = "nothing"
            if record:
                raise Refused(
                    f"{self.path} is not there, so it cannot be restored; put it back (as it was, it is kept in "
                    f"{record.path}), or delete {record.path} and {record.notes_path}"
                )
        return self.result

    # -- edits -----------------------------------------------------------------------------------------------------

    def edit(self, record: Record | None, raw: bytes, status: os.stat_result) -> None:
        settings, remove = self.settings, list(self.params["remove"])
        if self.state == "absent":
            settings, remove = {}, list(dict.fromkeys([*remove, *settings]))
        text = self.decoded(raw)
        with self.named():
            new = portal_yaml.merge_settings(text, settings, remove).encode()
        entries = portal_yaml.touched(settings, remove)
        if new != raw:
            self.change(record, raw, status, new, entries)
        if self.result["others_can_read"] and secrets_in(portal_yaml.plain(settings)):
            mode = stat.S_IMODE(status.st_mode)
            self.module.warn(
                f"{self.path} can be read by every user of this server (mode {mode:04o}) and now holds a password; "
                "take that right away with `chmod o= …` unless the portal needs it."
            )

    def restore(self, record: Record, raw: bytes, status: os.stat_result) -> None:
        self.result["restored"] = "nothing"
        if not record:
            return
        self.result["changed"] = True  # the record goes, whatever becomes of the file
        digest = sha256(raw)
        new = raw
        if digest != record.notes["original"]:
            if record.ours(digest):
                self.result["restored"] = "file"
                new = record.original
            else:
                self.result["restored"] = "setting"
                text, original = self.decoded(raw), self.decoded(record.original)
                with self.named():
                    new = portal_yaml.restore_settings(text, original, record.notes["entries"]).encode()
        if new != raw:
            # Ours to undo: a backup would keep the password. Others' work in the file is another matter.
            keep = self.result["restored"] == "setting"
            self.change(None, raw, status, new, record.notes["entries"], backup=keep)
        if not self.module.check_mode:
            record.forget()

    def change(
        self,
        record: Record | None,
        raw: bytes,
        status: os.stat_result,
        new: bytes,
        entries: Touched,
        backup: bool = True,
    ) -> None:
        self.result.update(changed=True, sha256=sha256(new))
        if self.module._diff:
            before, after = portal_yaml.masked_blocks(self.decoded(raw), self.decoded(new), entries)
            header = f"{self.path} (secrets masked)"
            self.result["diff"] = {"before": before, "after": after, "before_header": header, "after_header": header}
        if self.module.check_mode:
            return
        fresh = record is not None and not record
        # The new file first: where the disk is full nothing else has happened yet.
        new_path = atomic_file.temporary(self.realpath)
        atomic_file.write_new(new_path, new, like=self.realpath)
        made: list[str] = []
        try:
            backup_path = self.backup_name() if backup and self.params["backup"] else ""
            if backup_path:
                atomic_file.write_new(backup_path, raw, like=self.realpath)
                made.append(backup_path)
            if record is not None:
                record.remember(raw, status, new, entries, backup_path)
            if read_file(self.realpath)[0] != raw or os.path.realpath(self.path) != self.realpath:
                raise Refused(f"{self.path} was changed by somebody else just now, so it was left alone; run again")
            os.replace(new_path, self.realpath)
        except BaseException:
            for path in [new_path, *made]:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            if fresh and record is not None:
                record.forget()
            raise
        atomic_file.sync_folder(self.realpath)
        self.result["backup_file"] = backup_path

    def backup_name(self) -> str:
        """As Ansible names its own backups."""
        name = f"{self.realpath}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S')}"
        return next(path for path in (f"{name}{more}~" for more in ("", *range(2, 99))) if not os.path.lexists(path))

    def decoded(self, raw: bytes) -> str:
        with self.named():
            return portal_yaml.decode(raw)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Say which file a refusal is about."""
        try:
            yield
        except PortalYamlError as error:
            raise Refused(f"{self.path}, {error}" if error.line else str(error)) from None


def explain(path: str, error: OSError) -> str:
    name = error.filename or path
    reasons = {
        errno.ENOSPC: "the disk is full; free some space",
        errno.EDQUOT: "the quota is used up; free some space",
        errno.EROFS: "the file system is read-only; mount it writable",
        errno.EBUSY: "it is a mount point of its own, which cannot be replaced in one step; mount its folder instead",
        errno.EACCES: "permission denied; run with become",
        errno.EPERM: "its owner and mode could not be kept, or it is protected; run with become, and look at `lsattr`",
        errno.ELOOP: "its symbolic links lead in a circle; correct them",
    }
    reason = reasons.get(error.errno or 0, f"{error.strerror}; correct that")
    return f"{path} was left as it was: at {name}, {reason}."


def find_yaml(module: AnsibleModule) -> None:
    """Go on with an interpreter that has PyYAML."""
    if portal_yaml.HAS_YAML:
        return
    prefix: str | None = module.params["prefix"]
    own = [os.path.join(prefix, "bin", "python")] if prefix else []
    if not has_respawned():
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # the environment is not ours to leave files in
        interpreter = probe_interpreters_for_module([*SYSTEM_PYTHONS, *own], "yaml")
        if interpreter:
            respawn_module(interpreter)
    where = f"{own[0]} or the system's Python" if own else "the system's Python (or the one in tethys_conda_prefix)"
    module.fail_json(msg=f"PyYAML is needed to edit portal_config.yml, and {where} has none; install PyYAML there.")


def as_redis_takes_them(value: Any) -> Any:
    """The setting with the numbers of socket options as numbers: a key of a module's argument comes as a text."""
    if isinstance(value, dict):
        found = {key: as_redis_takes_them(held) for key, held in value.items()}
        options = found.get("socket_keepalive_options")
        if isinstance(options, dict):
            found["socket_keepalive_options"] = {
                int(key) if str(key).isdigit() else key: held for key, held in options.items()
            }
        return found
    return [as_redis_takes_them(held) for held in value] if isinstance(value, list) else value


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "restored"], "default": "present"},
            "settings": {"type": "dict", "default": {}, "no_log": True},
            "remove": {"type": "list", "elements": "str", "default": []},
            "original": {"type": "path"},
            "backup": {"type": "bool", "default": True},
            "expected_sha256": {"type": "str"},
            "prefix": {"type": "path"},
        },
        supports_check_mode=True,
    )
    find_yaml(module)
    # By itself no_log blots out every value of the mapping wherever it turns up, a port's digits inside a checksum
    # too. So the mapping is hidden as a whole, and only what is secret in it is blotted out.
    settings: dict[str, Any] = as_redis_takes_them(module.params["settings"])
    module.params["settings"] = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    try:
        module.no_log_values = {text for text in secrets_in(portal_yaml.plain(settings)) if len(text) > 3}
        result = PortalSettings(module, settings).run()
    except (Refused, PortalYamlError) as error:
        module.fail_json(msg=f"{error}.")
    except OSError as error:
        module.fail_json(msg=explain(module.params["path"], error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
