# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a certificate, its key and its CA are valid for a Redis at an address, and whether we created them."""

from __future__ import annotations

import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

# The name of the private CA in a certificate.
AUTHORITY = "CN=Redis of Tethys portals"


def certificate_problem(cert: str, key: str, ca: str, address: str, days: int = 0) -> str | None:
    """Why these cannot serve, as the end of a sentence that begins with the certificate; None where they can.

    Args:
        cert: the server's certificate, then those between it and the CA, in PEM form.
        key: its private key.
        ca: the CA's certificate, or several.
        address: the IP address by which others reach the server.
        days: for how many days it has to be good still.
    """
    # Not above: it takes long to load, and only a Redis that portals share needs it.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        chain = x509.load_pem_x509_certificates(cert.encode())
    except ValueError:
        return "is not a certificate in PEM form"
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError):
        return "has a key that is not in PEM form, or has a passphrase, which Redis cannot read"
    try:
        authorities = x509.load_pem_x509_certificates(ca.encode())
    except ValueError:
        return "has a CA that is not a certificate in PEM form"
    if _public(private.public_key()) != _public(chain[0].public_key()):
        return "does not belong to its key"
    if not any(_signed(chain[-1], authority) for authority in authorities) or not all(
        _signed(lower, upper) for lower, upper in zip(chain, chain[1:])
    ):
        return "was not issued by its CA"
    if ip_address(address) not in addresses(chain[0]):
        return f"does not name the address {address} among its IP addresses (subjectAltName)"
    return _time_problem([*chain, *authorities], days)


def out_of_time(certificate: str, days: int) -> bool:
    """Whether a certificate in PEM form is not good yet, or not for so many days any more."""
    from cryptography import x509

    return _time_problem([x509.load_pem_x509_certificate(certificate.encode())], days) is not None


def not_made_here(name: str, cert: str, key: str, ca: str, ca_key: str) -> str | None:
    """Which of the files in the folder of a private CA belongs to somebody else, and why; None if none does.

    Args:
        name: the server's, by which its files are called.
        cert: the text of its certificate, empty where there is none, as all that follow.
        key: that of its key.
        ca: that of the CA's certificate.
        ca_key: that of the CA's key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    for file, text in (("ca.crt", ca), (f"{name}.crt", cert)):
        if not text:
            continue
        try:
            giver = x509.load_pem_x509_certificate(text.encode()).issuer.rfc4514_string()
        except ValueError:
            return f"{file}, which is not a certificate in PEM form"
        if giver != AUTHORITY:
            return f"{file}, which was given by {giver}"
    for file, text in (("ca.key", ca_key), (f"{name}.key", key)):
        if not text:
            continue
        try:
            private = load_pem_private_key(text.encode(), None)
        except (ValueError, TypeError):
            return f"{file}, which is not a private key in PEM form, or one with a passphrase"
        if not isinstance(private, EllipticCurvePrivateKey) or not isinstance(private.curve, SECP256R1):
            return f"{file}, which is not an elliptic curve key (secp256r1)"
        if file == "ca.key" and ca:
            authority = x509.load_pem_x509_certificate(ca.encode())
            if _public(private.public_key()) != _public(authority.public_key()):
                return f"{file}, which does not belong to ca.crt beside it"
    return None


def _public(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _signed(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def addresses(certificate: x509.Certificate) -> list[IPv4Address | IPv6Address]:
    """The IP addresses that a certificate is for."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name for name in names.get_values_for_type(x509.IPAddress) if isinstance(name, (IPv4Address, IPv6Address))]


def _time_problem(certificates: list[x509.Certificate], days: int) -> str | None:
    now = datetime.datetime.now(datetime.timezone.utc)
    begins = max(certificate.not_valid_before_utc for certificate in certificates)
    ends = min(certificate.not_valid_after_utc for certificate in certificates)
    if begins > now:
        return f"or its CA's begins on {begins:%Y-%m-%d %H:%M} UTC only"
    if ends <= now:
        return f"or its CA's ended on {ends:%Y-%m-%d}"
    if ends <= now + datetime.timedelta(days=days):
        return f"or its CA's ends on {ends:%Y-%m-%d}"
    return None
