# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses are this server's."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.server import addresses


@pytest.mark.parametrize(
    ("address", "here"), [("127.0.0.1", True), ("192.0.2.1", False), ("2001:db8::1", False), ("no address", False)]
)
def test_whether_an_address_is_here(address: str, here: bool) -> None:
    assert addresses.is_own(address) is here


@pytest.mark.parametrize(
    ("text", "known"), [("192.0.2.2", True), ("::1", True), ("host", False), ("", False), (None, False)]
)
def test_what_is_no_address_is_not_compared(text: str | None, known: bool) -> None:
    assert addresses.is_address(text) is known


def own_address() -> str:
    """Return an address of this machine that is not the loopback's, or the loopback's where there is no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        try:
            plain.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(plain.getsockname()[0])


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LocalHost", True),
        ("127.9.9.9", True),
        ("0.0.0.0", True),  # noqa: S104 - compared
        ("::", True),
        ("0:0::0", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.77", False),
        ("192.0.2.77", False),
        ("2001:db8::77", False),
        ("backend", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_what_reaches_this_server(host: str, here: bool) -> None:
    assert addresses.reaches_this_server(host) is here


def test_an_address_of_its_own_reaches_this_server() -> None:
    assert addresses.reaches_this_server(own_address())
