# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to one portal on a server: its files, folders, Supervisor groups, units, container and upstream block.

The first portal of a server needs no name. Each further one has a name (`tethys_portal_name`), which
is part of the names of everything that belongs to it.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, NamedTuple

# A folder's name is a dash longer; the socket of a process and Supervisor's group have it as well.
LONGEST_NAME = 32
_WORDS = r"[a-z0-9]+(?:[_-][a-z0-9]+)*"
_ASGI_GROUP = re.compile(rf"(?:asgi|tethys_(?:(?P<portal>{_WORDS})_)?asgi(?P<number>0|[1-9][0-9]*)?)")
_STATE = "tethys_channels"
REDIS_UNIT = "tethys-channels-redis"
# What the program file that tethys.channels.asgi_service writes begins with.
OUR_HEADER = "The role tethys.channels.asgi_service writes this file"


def is_name(name: Any) -> bool:
    """Return whether a portal can have that name; an empty one is that of a server's first portal."""
    return isinstance(name, str) and len(name) <= LONGEST_NAME and bool(not name or re.fullmatch(_WORDS, name))


def is_asgi_group(name: str, portal: str | None = None) -> bool:
    """Return whether a group of Supervisor's has a name of that portal's, or, without one, of any portal's.

    For the first portal that is `asgi`, `tethys_asgi` where another site has that one, or `tethys_asgi<i>` for each
    process; for another one `tethys_<portal>_asgi` or `tethys_<portal>_asgi<i>`.
    """
    found = _ASGI_GROUP.fullmatch(name)
    return found is not None and (portal is None or (found.group("portal") or "") == portal)


def portal_of(group: str) -> str | None:
    """Return the name of the portal that a group of Supervisor's is called by; None where it is no portal's."""
    found = _ASGI_GROUP.fullmatch(group)
    return (found.group("portal") or "") if found else None


def asgi_groups(sections: Iterable[str], portal: str) -> list[str]:
    """Return the portal's groups among the names of sections such as `program:asgi`; Supervisor strips blanks, too."""
    return [name for name in (section.partition(":")[2].strip() for section in sections) if is_asgi_group(name, portal)]


def asgi_number(group: str) -> int | None:
    """Return the process number of a group with one process; None for the group of all processes."""
    found = _ASGI_GROUP.fullmatch(group)
    return int(found.group("number")) if found and found.group("number") else None


class PortalNames(NamedTuple):
    """The names of what belongs to one portal.

    Args:
        portal: its name, empty for the first one of a server.
    """

    portal: str = ""

    @property
    def suffix(self) -> str:
        """What follows the name of a file, folder, unit or container."""
        return f"-{self.portal}" if self.portal else ""

    @property
    def state(self) -> str:
        """The folder with the collection's state."""
        return f"/etc/{_STATE}{self.suffix}"

    @property
    def environment(self) -> str:
        """The file with the variables that not every portal's processes have."""
        return f"{self.state}.env"

    @property
    def socket_folder(self) -> str:
        """The folder of Redis's socket. It outlives a reboot, since the container mounts it."""
        return f"/var/lib/{_STATE}{self.suffix}"

    @property
    def redis_socket(self) -> str:
        """The socket of the layer's Redis where it has no port."""
        return f"{self.socket_folder}/redis.sock"

    @property
    def shared_ca(self) -> str:
        """The CA certificate with which the portal verifies the Redis that it shares with others."""
        return f"{self.socket_folder}/redis-ca.pem"

    @property
    def tmpfiles(self) -> str:
        """The file by which the folder of the sockets is made again at a boot."""
        return f"/etc/tmpfiles.d/{_STATE}{self.suffix}.conf"

    @property
    def watch_unit(self) -> str:
        """The unit that restarts a process which hangs."""
        return f"{_STATE}_watch{self.suffix}"

    @property
    def watch_unit_path(self) -> str:
        """The file of that unit."""
        return f"/etc/systemd/system/{self.watch_unit}.service"

    @property
    def redis_unit(self) -> str:
        """The unit that starts Redis in Podman.

        Podman has nothing that runs all the time and could start a container at boot: systemd does. The unit's name is
        ours, whatever the container's is, so that it never stands before one of the distribution's.
        """
        return f"{REDIS_UNIT}{self.suffix}.service"

    @property
    def redis_unit_path(self) -> str:
        """The file of that unit."""
        return f"/etc/systemd/system/{self.redis_unit}"

    @property
    def map_variable(self) -> str:
        """The variable of nginx's by which the portal's requests are spread."""
        # Two dashes cannot stand together in a name.
        name = self.portal.replace("-", "__")
        return f"$tethys_channels_process{'_' if name else ''}{name}"

    @property
    def program_file(self) -> str:
        """The name of the program file, without what Supervisor's pattern puts behind it."""
        return f"asgi_supervisord{self.suffix}"

    @property
    def groups(self) -> tuple[str, ...]:
        """The names that the group of all processes may have, the usual one first.

        The second is used where the first is another site's.
        """
        return (f"tethys_{self.portal}_asgi",) if self.portal else ("asgi", "tethys_asgi")

    @property
    def group_of_one(self) -> str:
        """What the group of a single process is called, without its number."""
        return self.groups[-1]
