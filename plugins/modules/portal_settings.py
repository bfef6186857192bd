#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal_settings module; how the text is edited is in module_utils/portal_yaml.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: portal_settings
short_description: Set single settings in a portal_config.yml on a server
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Sets or removes settings under C(settings:) in a Tethys Portal's C(portal_config.yml). All bytes outside these
    settings stay the same, and the other secrets in the file never leave the server.
  - Does the same as the filter P(tethys.channels.merge_settings#filter), with the same code.
  - Replaces the file atomically, and only if it has not changed since the module read it. Keeps its owner, group, mode,
    access control list and user attributes. Does not copy set-ID bits and security attributes.
  - If the folder of the file belongs to another user, root reads the file as that user. If the file belongs to the same
    user, root also writes it as that user. The module follows a symbolic link at O(path) if it belongs to root, or if
    the link, the file and its folder belong to one user.
requirements:
  - PyYAML for the system's Python, from version 3.8 on. In check mode that of Tethys does, see O(prefix).
seealso:
  - plugin: tethys.channels.merge_settings
    plugin_type: filter
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return what would change without changing it.
  diff_mode:
    support: full
    description: Shows the named settings before and after, in one canonical form and with every secret masked.
  platform:
    description: Works on POSIX systems.
options:
  path:
    description: The C(portal_config.yml).
    type: path
    required: true
  state:
    description:
      - With V(present), the module merges O(settings) and removes the settings in O(remove).
      - With V(absent), it removes the settings in O(settings) and O(remove).
      - With V(restored), it undoes all changes of earlier runs with the same O(original), and deletes the record. If
        nothing else has changed the file since, the file is restored byte for byte. Otherwise, only the settings are
        restored.
    type: str
    choices: [present, absent, restored]
    default: present
  settings:
    description:
      - Names of settings and their values. If the old and the new value are mappings, their entries are merged one
        level deep. Any other value is replaced.
    type: dict
    default: {}
  remove:
    description: Names of settings to remove.
    type: list
    elements: str
    default: []
  original:
    description:
      - The path at which the module stores the file from before the first change, for O(state=restored). It is
        written once, and only the module's user can read it. A second file with the same name and C(.json) at its end
        contains the data that distinguishes the module's changes from others. If this option is not set, nothing is
        stored.
    type: path
  backup:
    description:
      - Whether the module keeps a copy of the file from before this change. The copy is in the same folder, with the
        process number, the time and C(~) at the end of its name, and with the same owner and mode.
      - Copies whose changes were recorded in O(original) are deleted by O(state=restored).
    type: bool
    default: true
  expected_sha256:
    description:
      - The SHA-256 digest of the file as it was read earlier. If it does not match, the module does not change the
        file.
    type: str
  prefix:
    description:
      - The environment in which Tethys is installed. If no Python of the system has PyYAML, check mode uses
        C(bin/python) from this environment, as O(user), to determine what would change. A real run never starts it.
    type: path
  user:
    description:
      - The user who runs the portal. If the owner of the file's folder cannot read the file, the module reads it as
        this user.
    type: str
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
  description: The value of O(path).
  type: str
  returned: always
realpath:
  description: The path of the file, with symbolic links resolved.
  type: str
  returned: always
sha256:
  description:
    - SHA-256 of the file's content after this run (in check mode, what it would be). Empty where there is no file.
  type: str
  returned: always
backup_file:
  description: The path of the copy. Empty if there is none.
  type: str
  returned: always
others_can_read:
  description: Whether users other than the file's owner and group can read the file.
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
import os
import time
from pathlib import Path
from typing import Any, Iterator

from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible_collections.tethys.channels.plugins.module_utils import boundary, portal_yaml
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Flag, Listing, Match, Text
from ansible_collections.tethys.channels.plugins.module_utils.files import owned_file
from ansible_collections.tethys.channels.plugins.module_utils.files.owned_file import Content, OwnedFile
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.portal_env import run_in_portal
from ansible_collections.tethys.channels.plugins.module_utils.portal_user import runner_for
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml import PortalYamlError, Touched
from ansible_collections.tethys.channels.plugins.module_utils.secrets import secrets_in
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import account
from ansible_collections.tethys.channels.plugins.module_utils.server.system_python import SYSTEM_PYTHONS, WITH_YAML
from ansible_collections.tethys.channels.plugins.module_utils.settings_record import (
    MAX_BYTES,
    Record,
    Refused,
    reading,
    sha256,
)

NO_YAML = (
    "PyYAML is needed to edit portal_config.yml, and the system's Python has none: install the package python3-yaml"
    " (python3-pyyaml on Red Hat and its kin)"
)
PREDICT_SECONDS = 60.0
# What the portal's Python may answer.
PREDICTED = boundary.Record(
    {
        "problem": Text(),
        "sha256": Match(r"[0-9a-f]{64}"),
        "before": Listing(Text()),
        "after": Listing(Text()),
        "done": Flag(),
    }
)


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
        try:
            with owned_file.owned_file(self.path, MAX_BYTES, account(self.params["user"])) as file:
                if not self.module.check_mode:
                    file.clear()
                with reading(self.realpath):
                    before = file.read()
                self.with_file(file, record, before)
        except FileNotFoundError as error:
            # Of the file or its folder; nothing that is written later ends so.
            if self.result["sha256"]:
                raise Refused(f"{error.filename} is gone since the run began; run again") from None
            return self.without_file(record)
        return self.result

    def with_file(self, file: OwnedFile, record: Record | None, before: Content) -> None:
        digest = sha256(before.raw)
        self.result["sha256"] = digest
        self.result["others_can_read"] = bool(before.mode & 0o004)
        expected = self.params["expected_sha256"]
        if expected and expected.lower() != digest:
            raise Refused(f"{self.path} has been changed since it was read at the start; run again")
        if self.state != "restored":
            self.edit(file, record, before)
        elif record is not None:  # asked for above
            self.restore(file, record, before)

    def without_file(self, record: Record | None) -> dict[str, Any]:
        if self.state == "present" and self.module.check_mode and (self.settings or self.params["remove"]):
            self.result["changed"] = bool(self.settings)
        elif self.state == "present":
            raise Refused(
                f"{self.path} does not exist; create it with `tethys gen portal_config`, or correct tethys_home"
            )
        elif self.state == "restored":
            self.result["restored"] = "nothing"
            if record:
                raise Refused(
                    f"{self.path} does not exist, so it cannot be restored; copy it back (the original is kept"
                    f" in {record.path}), or delete {record.path} and {record.notes_path}"
                )
        return self.result

    # -- edits -----------------------------------------------------------------------------------------------------

    def edit(self, file: OwnedFile, record: Record | None, before: Content) -> None:
        settings, remove = self.settings, list(self.params["remove"])
        if self.state == "absent":
            settings, remove = {}, list(dict.fromkeys([*remove, *settings]))
        text = self.decoded(before.raw)
        if not portal_yaml.HAS_YAML:
            self.predict(text, settings, remove)
            return
        with self.named():
            new = portal_yaml.merge_settings(text, settings, remove).encode()
        entries = portal_yaml.touched(settings, remove)
        if new != before.raw:
            self.change(file, record, before, new, entries)
        if self.result["others_can_read"] and secrets_in(portal_yaml.plain(settings)):
            self.module.warn(
                f"{self.path} can be read by every user of this server (mode {before.mode:04o}) and now holds a "
                "password; take that right away with `chmod o= …` unless the portal needs it."
            )

    def predict(self, text: str, settings: dict[str, Any], remove: list[str]) -> None:
        """In check mode, have the portal's own Python say what would change: it has PyYAML, and nothing is written."""
        prefix, home = self.params["prefix"], str(Path(self.path).parent)
        who = runner_for(self.params["user"], home)
        job = {"text": text, "settings": settings, "remove": remove}
        answer, problem, _warnings = run_in_portal(
            prefix,
            home,
            who,
            portal_yaml.__name__,
            job,
            PREDICT_SECONDS,
            PREDICTED,
            portal_name=self.params["portal_name"],
        )
        if problem or not answer:
            raise Refused(f"{NO_YAML}; and {problem or 'the portal has no answer'}".rstrip("."))
        if "problem" in answer:
            raise Refused(f"{self.path}: {answer['problem']}")
        self.result.update(changed=answer["sha256"] != self.result["sha256"], sha256=answer["sha256"])
        if self.module._diff and self.result["changed"]:
            self.show(*("".join(f"{line}\n" for line in answer[name]) for name in ("before", "after")))

    def show(self, before: str, after: str) -> None:
        header = f"{self.path} (secrets masked)"
        self.result["diff"] = {"before": before, "after": after, "before_header": header, "after_header": header}

    def restore(self, file: OwnedFile, record: Record, before: Content) -> None:
        self.result["restored"] = "nothing"
        if not record:
            return
        self.result["changed"] = True  # the record goes, whatever becomes of the file
        digest = sha256(before.raw)
        new = before.raw
        if digest != record.notes["original"]:
            if record.ours(digest):
                self.result["restored"] = "file"
                new = record.original
            else:
                self.result["restored"] = "setting"
                if not portal_yaml.HAS_YAML:
                    return  # in check mode
                text, original = self.decoded(before.raw), self.decoded(record.original)
                with self.named():
                    new = portal_yaml.restore_settings(text, original, record.notes["entries"]).encode()
        if new != before.raw:
            # Ours to undo: a backup would keep the password. Others' work in the file is another matter.
            keep = self.result["restored"] == "setting"
            self.change(file, None, before, new, record.notes["entries"], backup=keep)
        if not self.module.check_mode:
            record.forget(file)

    def change(
        self,
        file: OwnedFile,
        record: Record | None,
        before: Content,
        new: bytes,
        entries: Touched,
        backup: bool = True,
    ) -> None:
        self.result.update(changed=True, sha256=sha256(new))
        if self.module._diff and portal_yaml.HAS_YAML:
            self.show(*portal_yaml.masked_blocks(self.decoded(before.raw), self.decoded(new), entries))
        if self.module.check_mode:
            return
        fresh = record is not None and not record
        # The new file first: where the disk is full nothing else has happened yet.
        made = [file.temporary]
        file.create(made[0], new, before)
        try:
            backup_path = ""
            if backup and self.params["backup"]:
                made.append(self.make_backup(file, before))
                backup_path = str(Path(self.realpath).with_name(made[1]))
            if record is not None:
                record.remember(before, new, entries, backup_path)
            if not file.replace(made[0], before):
                raise Refused(f"{self.path} was changed by somebody else just now, so it was left alone; run again")
        except BaseException:
            for name in made:
                file.delete(name)
            if fresh and record is not None:
                with contextlib.suppress(OSError):
                    record.forget(file)
            raise
        self.result["backup_file"] = backup_path

    def make_backup(self, file: OwnedFile, before: Content) -> str:
        """Write the file as it was beside it, and return the name, as Ansible names its own backups."""
        name = f"{Path(self.realpath).name}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S')}"
        for more in ("", *range(2, 99)):
            with contextlib.suppress(FileExistsError):
                file.create(f"{name}{more}~", before.raw, before)
                return f"{name}{more}~"
        raise Refused(f"{self.realpath} has too many backups of this second; run again")

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
        errno.EBUSY: "it is a mount point, which cannot be replaced in one step; mount its folder instead",
        errno.EACCES: "permission denied to the owner of its folder; run with become, or correct its owner and mode",
        errno.EPERM: "its owner and mode could not be kept, or it is protected; run with become, and check `lsattr`",
        errno.ELOOP: "its symbolic links lead in a circle; correct them",
    }
    reason = reasons.get(error.errno or 0, f"{error.strerror}; correct that")
    return f"{path} was left as it was: at {name}, {reason}."


def find_yaml(module: AnsibleModule) -> None:
    """Go on with an interpreter of the system's that has PyYAML. That of an environment is its owner's, not root's."""
    if portal_yaml.HAS_YAML:
        return
    if not has_respawned():
        interpreter = probe_interpreters_for_module(SYSTEM_PYTHONS, WITH_YAML)
        if interpreter:
            respawn_module(interpreter)
    if not (module.check_mode and module.params["prefix"]):
        module.fail_json(msg=f"{NO_YAML}.")


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
            "user": {"type": "str"},
            "portal_name": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    find_yaml(module)
    # Otherwise, no_log masks every value of the mapping wherever it turns up, a port's digits inside a checksum
    # too. So the mapping is hidden as a whole, and only what is secret in it is blotted out.
    settings: dict[str, Any] = as_redis_takes_them(module.params["settings"])
    module.params["settings"] = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    try:
        module.no_log_values = {text for text in secrets_in(portal_yaml.plain(settings)) if len(text) > 3}
        result = PortalSettings(module, settings).run()
    except (Refused, owned_file.Refused, PortalYamlError) as error:
        module.fail_json(msg=f"{error}.")
    except OSError as error:
        module.fail_json(msg=explain(module.params["path"], error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
