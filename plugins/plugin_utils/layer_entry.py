# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one of a channel layer's hosts consists of, as channels_redis 4 and redis-py 4.6 to 8 take them.

Three things that redis-py does are behind the forms chosen here. A read timeout of redis-py 8 by default ends the core
layer's reads, so each host sets it. A URL cannot contain every password, so a credential is a
separate key of the host's mapping. And a mapping makes a plain TCP connection unless it has `address`: `path` or `ssl`
in it end in a TypeError when the portal first sends a message, so unix sockets and TLS are written as an address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypedDict

from ansible_collections.tethys.channels.plugins.plugin_utils.model import refused
from ansible_collections.tethys.channels.plugins.plugin_utils.values import closest, show, type_name, whole_number

HOSTS = "tethys_layer_hosts"
# Bytes: the kernel's sockaddr_un has 108 with the zero at the end.
MOST_SOCKET_PATH = 107
DEFAULT_PORT = 6379
SENTINEL_PORT = 26379
# Seconds after which a read fails that Redis does not answer. The core layer reads for 5 s at a time, and redis-py 8
# ends a read after 5 s unless the host's entry has this key. A Redis that stalls for up to 10 s then loses no receiver,
# and one that vanished without closing its connections is noticed.
READ_TIMEOUT = 15
_ANY_SOCKET = frozenset(
    (
        *("username", "password", "db", "client_name", "health_check_interval", "max_connections", "protocol"),
        *("retry_on_timeout", "socket_connect_timeout", "socket_read_size", "socket_timeout", "lib_name"),
        *("lib_version",),
    )
)
TCP = _ANY_SOCKET | {"socket_keepalive", "socket_keepalive_options"}
TLS = TCP | {
    *("ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"),
    *("ssl_check_hostname", "ssl_ciphers", "ssl_password"),
}
# What redis-py's connections take besides the address, by the URL's scheme. decode_responses and encoding are left
# out: messages are binary, and either would break them.
SCHEMES: dict[str, frozenset[str]] = {"redis": TCP, "rediss": TLS, "unix": _ANY_SOCKET}
SENTINEL_KEYS = TLS | {"master_name", "sentinels", "sentinel_kwargs", "ssl", "check_connection"}
# How redis-py reads "false" in a URL, and what it takes for a certificate that is verified.
_OFF = ("", "0", "F", "FALSE", "N", "NO")
_VERIFIED = ("required", "optional", 1, 2)
_HOST_NAME = re.compile(r"[^\s/@\[\]]+")


class Endpoint(TypedDict):
    """A Redis (or, with `sentinel` set, a Sentinel that has that master) for a plain connection."""

    host: str | None
    port: int | None
    path: str | None
    username: str | None
    password: str | None
    tls: bool
    ca_beside: str | None
    db: int
    sentinel: str | None


@dataclass(frozen=True)
class Host:
    written: Any  # as it goes into CONFIG without a credential
    mapping: dict[str, Any]  # the same as a mapping, ready for a credential
    endpoints: list[Endpoint]
    secret: bool  # it has its own user name or password


@dataclass(frozen=True)
class Credentials:
    username: str | None
    password: str

    def beside(self, mapping: dict[str, Any]) -> dict[str, Any]:
        user = {"username": self.username} if self.username else {}
        return {**mapping, **user, "password": self.password}


def endpoint_of(
    *,
    host: str | None = None,
    port: int | None = None,
    path: str | None = None,
    username: str | None = None,
    password: str | None = None,
    tls: bool = False,
    ca_beside: Any = None,
    db: int = 0,
    sentinel: str | None = None,
) -> Endpoint:
    return {
        "host": host,
        "port": port,
        "path": path,
        "username": username or None,
        "password": password or None,
        "tls": tls,
        "ca_beside": str(ca_beside) if tls and ca_beside else None,
        "db": db,
        "sentinel": sentinel,
    }


def port_of(where: str, value: Any) -> int:
    number = whole_number(value)
    if number is None or number > 65535:
        raise refused(
            "host-port-invalid", where, f"{where} has the port {show(value)}: write a number from 1 to 65535."
        )
    return number


def host_name_of(where: str, value: Any) -> str:
    named = isinstance(value, str) and bool(_HOST_NAME.fullmatch(value))
    if named and ":" in value:
        try:
            ip_address(value)
        except ValueError:
            named = False
    if not named:
        # The value is not shown: what has a sign in it that no name has may well hold a password.
        raise refused(
            "host-name-invalid",
            where,
            f"{where} has no host name or address where one belongs: write [127.0.0.1, {DEFAULT_PORT}].",
        )
    return str(value)


def secret_of(where: str, key: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return str(value) if value else None
    raise refused(
        "credential-not-text",
        where,
        f"{where} has a {key} that is not a text ({type_name(value)}): put it in quotes.",
    )


def has_secret(where: str, entry: Mapping[Any, Any]) -> bool:
    read = [secret_of(where, key, entry.get(key)) for key in ("username", "password")]  # each may be refused
    return any(read)


def database_of(where: str, value: Any) -> int:
    number = 0 if value in (None, "", 0, "0") and not isinstance(value, bool) else whole_number(value)
    if number is None:
        raise refused(
            "database-not-number",
            where,
            f"{where} has a database that is not a number: write one, such as db: 1 or redis://127.0.0.1/1.",
        )
    return number


def check_keys(where: str, keys: Sequence[Any], allowed: frozenset[str] | set[str], kind: str) -> None:
    for key in keys:
        if isinstance(key, str) and key in allowed:
            continue
        raise refused(
            "connection-key-unknown",
            where,
            f"{where} has the key {show(key)}{closest(key, allowed)}, which redis-py does not take for {kind}: "
            f"leave it out, or use one of {', '.join(sorted(allowed))}.",
        )


def scalars(where: str, entry: Mapping[Any, Any]) -> dict[str, Any]:
    """The entry as plain Python: what goes on to YAML must be nothing else."""
    plain: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "sentinels":
            continue
        if key in ("sentinel_kwargs", "socket_keepalive_options"):
            if not isinstance(value, Mapping) or any(
                isinstance(inner, (Mapping, list, tuple)) for inner in value.values()
            ):
                raise refused(
                    "connection-value-not-mapping",
                    where,
                    f"{where} has a {key} that is not a mapping of plain values: write it as key: value.",
                )
            plain[str(key)] = {
                int(inner) if isinstance(inner, int) else str(inner): _scalar(where, str(inner), held)
                for inner, held in value.items()
            }
        else:
            plain[str(key)] = _scalar(where, str(key), value)
    return plain


def _scalar(where: str, key: str, value: Any) -> Any:
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    raise refused(
        "connection-value-not-plain",
        where,
        f"{where} has a {key} that is not a plain value ({type_name(value)}): write a text or a number.",
    )


def verifying(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What makes redis-py verify a server's certificate and the host name in it, in addition to these options.

    Without an option, redis-py verifies host names from 6.0 on only. Options of a URL are texts.
    """
    name = options.get("ssl_check_hostname", True)
    if not name or str(name).upper() in _OFF:
        raise refused(
            "host-name-not-verified",
            where,
            f"{where} has ssl_check_hostname switched off: a server with any certificate would be sent the"
            " password. Remove it, and use as the host a name or an address that the certificate has.",
        )
    required = options.get("ssl_cert_reqs", "required")
    # None, too, stands for no verification.
    if isinstance(required, bool) or required not in _VERIFIED:
        raise refused(
            "certificate-not-verified",
            where,
            f"{where} has ssl_cert_reqs switched off: a server with any certificate would be sent the password."
            " Remove it, and name the file of the server's CA with ssl_ca_certs.",
        )
    return {} if "ssl_check_hostname" in options else {"ssl_check_hostname": True}
