# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a certificate before a Redis gets it."""

from __future__ import annotations

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils.tls import (
    AUTHORITY as OURS,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.tls import (
    certificate_problem,
    not_made_here,
    out_of_time,
)
from ansible_collections.tethys.channels.tests.unit.plugins.certificates import make
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

ADDRESS = "192.0.2.7"
AUTHORITY = make("authority")
GOOD = make("redis", AUTHORITY, ADDRESS)


def test_a_certificate_that_is_good() -> None:
    assert certificate_problem(GOOD.text, GOOD.key_text, AUTHORITY.text, ADDRESS) is None
    other = make("other authority")
    assert certificate_problem(GOOD.text, GOOD.key_text, other.text + AUTHORITY.text, ADDRESS) is None
    six = make("redis", AUTHORITY, "2001:db8::7")
    assert certificate_problem(six.text, six.key_text, AUTHORITY.text, "2001:db8:0:0::7") is None


@pytest.mark.parametrize(
    ("cert", "key", "ca", "words"),
    [
        ("no", GOOD.key_text, AUTHORITY.text, "is not a certificate"),
        (GOOD.text, "no", AUTHORITY.text, "has a key that is not in PEM form"),
        (GOOD.text, GOOD.key_text, "no", "has a CA that is not a certificate"),
        (GOOD.text, AUTHORITY.key_text, AUTHORITY.text, "does not belong to its key"),
        (GOOD.text, GOOD.key_text, make("authority").text, "was not issued by its CA"),
        (GOOD.text, GOOD.key_text, make("somebody else").text, "was not issued by its CA"),
    ],
)
def test_what_does_not_fit_together(cert: str, key: str, ca: str, words: str) -> None:
    assert words in str(certificate_problem(cert, key, ca, ADDRESS))


def test_the_address_has_to_be_named() -> None:
    for other in (make("redis", AUTHORITY, "192.0.2.8"), make(ADDRESS, AUTHORITY)):
        problem = certificate_problem(other.text, other.key_text, AUTHORITY.text, ADDRESS)
        assert problem == f"does not name the address {ADDRESS} among its IP addresses (subjectAltName)"


@pytest.mark.parametrize(
    ("begins", "ends", "days", "words"),
    [(1, 10, 0, "begins on"), (-10, -1, 0, "ended on"), (-10, 5, 6, "ends on"), (-10, 5, 4, None)],
)
@pytest.mark.parametrize("whose", ["server", "authority"])
def test_the_time(whose: str, begins: float, ends: float, days: int, words: str | None) -> None:
    own = {"begins": begins, "ends": ends}
    authority = make("authority", **(own if whose == "authority" else {}))
    server = make("redis", authority, ADDRESS, **(own if whose == "server" else {}))
    problem = certificate_problem(server.text, server.key_text, authority.text, ADDRESS, days)
    assert words in str(problem) if words else problem is None


def test_a_chain() -> None:
    between = make("between", AUTHORITY)
    server = make("redis", between, ADDRESS)
    assert certificate_problem(server.text + between.text, server.key_text, AUTHORITY.text, ADDRESS) is None
    assert certificate_problem(server.text, server.key_text, AUTHORITY.text, ADDRESS) == "was not issued by its CA"


# --- whose the files are --------------------------------------------------------------------------------------------

PRIVATE = make(OURS.partition("=")[2])
MADE = make("redis", PRIVATE, ADDRESS)
OTHER = make("Corp")
RSA = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
LOCKED = OTHER.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


@pytest.mark.parametrize("there", range(16))
def test_what_was_made_here(there: int) -> None:
    files = [MADE.text, MADE.key_text, PRIVATE.text, PRIVATE.key_text]
    # All, and any part of them: a run may be killed, and a file be taken away.
    assert not_made_here("r", *(text if there >> number & 1 else "" for number, text in enumerate(files))) is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["", "", OTHER.text, ""], "ca.crt, which was given by CN=Corp"),
        (["", "", "no", ""], "ca.crt, which is not a certificate"),
        ([make("redis", OTHER).text, "", "", ""], "r.crt, which was given by CN=Corp"),
        (["", "", "", RSA], "ca.key, which is not an elliptic curve key"),
        (["", RSA, "", ""], "r.key, which is not an elliptic curve key"),
        (["", "", "", LOCKED], "ca.key, which is not a private key in PEM form, or one with a passphrase"),
        (["", "", PRIVATE.text, OTHER.key_text], "ca.key, which does not belong to ca.crt beside it"),
    ],
)
def test_what_was_not(files: list[str], words: str) -> None:
    assert words in str(not_made_here("r", *files))


def test_a_time_before_and_after() -> None:
    assert out_of_time(make("a", begins=1).text, 0)
    assert not out_of_time(make("a", ends=10).text, 9)
    assert out_of_time(make("a", ends=10).text, 11)
