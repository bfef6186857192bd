# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses are this server's."""

from __future__ import annotations

import socket
from ipaddress import ip_address


def is_address(text: str | None) -> bool:
    """Return whether it is an IP address."""
    try:
        ip_address(_plain(text or ""))
    except ValueError:
        return False
    return True


def _plain(address: str) -> str:
    """Return an address without the device of a link-local one, which Python parses from 3.9 on."""
    return address.partition("%")[0]


def is_own(address: str) -> bool:
    """Return whether an IP address is one of this server's.

    Nothing is sent: for one of its addresses, the kernel also uses that address as the source. Binding to it is less
    reliable, since a server may allow that for any address (net.ipv4.ip_nonlocal_bind, for failover).
    """
    if not is_address(address):
        return False
    if ip_address(_plain(address)).is_loopback:
        return True
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as plain:
            plain.connect((address, 9))
            return ip_address(_plain(plain.getsockname()[0])) == ip_address(_plain(address))
    except OSError:
        return False


def reaches_this_server(host: str) -> bool:
    """Return whether connecting to that host reaches this server: its name is localhost, or its address is here."""
    if host.lower() == "localhost":
        return True
    if not is_address(host):
        return False
    address = ip_address(_plain(host))
    address = getattr(address, "ipv4_mapped", None) or address
    # Linux connects to itself where no address is given.
    return address.is_loopback or address.is_unspecified or is_own(host)
