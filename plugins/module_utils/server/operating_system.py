# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What system this is: its release, its repositories and SELinux."""

from __future__ import annotations

import configparser
import contextlib
from pathlib import Path

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import (
    SELinux,
)


def os_release() -> dict[str, str]:
    """ID, ID_LIKE, NAME and VERSION_ID of this system."""
    found = {"id": "", "id_like": "", "name": "", "version_id": ""}
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return found
    for line in text.splitlines():
        name, _equals, value = line.partition("=")
        if name.lower() in found:
            found[name.lower()] = value.strip().strip("\"'")
    return found


def repositories(folder: str = "/etc/yum.repos.d") -> list[str]:
    """The repositories that dnf takes packages from."""
    parser = configparser.RawConfigParser(strict=False)
    for path in sorted(Path(folder).glob("*.repo")):
        # A file that dnf could not read either is ignored.
        with contextlib.suppress(OSError, UnicodeDecodeError, configparser.Error):
            parser.read_string(path.read_text(encoding="utf-8"))
    off = ("0", "no", "false", "off")
    return [name for name in parser.sections() if parser.get(name, "enabled", fallback="1").strip().lower() not in off]


def selinux(folder: str = "/sys/fs/selinux") -> SELinux:
    """How SELinux is set, and whether it lets a web server connect to any port."""

    def read(name: str) -> str | None:
        try:
            return Path(folder, name).read_text(encoding="ascii").split()[0]
        except (OSError, IndexError):
            return None

    mode = {"1": "enforcing", "0": "permissive"}.get(read("enforce") or "", "disabled")
    connects = read("booleans/httpd_can_network_connect")
    return {"mode": mode, "web_connects": None if connects is None else connects == "1"}
