# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`CHANNEL_LAYERS` from hosts, credentials and options, as channels_redis 4 and redis-py 4.6 to 8 take them.

Three things that redis-py does are behind the forms chosen here. A read timeout of redis-py 8 by default ends the core
layer's reads, so each host has one of its own. A URL cannot carry every password, so a credential goes
beside the host in a mapping. And a mapping makes a plain TCP connection unless it has `address`: `path` or `ssl` in it
end in a TypeError when the portal first sends a message, so unix sockets and TLS are written as an address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, TypedDict
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, Refusal, refused
from ansible_collections.tethys.channels.plugins.plugin_utils.processes import (
    BACKENDS,
    CORE_BACKEND,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
    choice_refusal,
    closest,
    show,
    whole_number,
)

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
_TCP = _ANY_SOCKET | {"socket_keepalive", "socket_keepalive_options"}
_TLS = _TCP | {
    *("ssl_keyfile", "ssl_certfile", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"),
    *("ssl_check_hostname", "ssl_ciphers", "ssl_password"),
}
# What redis-py's connections take besides the address, by the URL's scheme. decode_responses and encoding are left
# out: messages are binary, and either would break them.
_SCHEMES: dict[str, frozenset[str]] = {"redis": _TCP, "rediss": _TLS, "unix": _ANY_SOCKET}
_SENTINEL = _TLS | {"master_name", "sentinels", "sentinel_kwargs", "ssl", "check_connection"}

# How redis-py reads "false" in a URL, and what it takes for a certificate that is verified.
_OFF = ("", "0", "F", "FALSE", "N", "NO")
_VERIFIED = ("required", "optional", 1, 2)

_HOST_NAME = re.compile(r"[^\s/@\[\]]+")


class Endpoint(TypedDict):
    """A Redis (or, with `sentinel` set, a Sentinel that knows that master) for a plain connection."""

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
class _Host:
    written: Any  # as it goes into CONFIG without a credential
    mapping: dict[str, Any]  # the same as a mapping, ready for a credential
    endpoints: list[Endpoint]
    secret: bool  # it has a user name or a password of its own


@dataclass(frozen=True)
class _Credentials:
    username: str | None
    password: str

    def beside(self, mapping: dict[str, Any]) -> dict[str, Any]:
        user = {"username": self.username} if self.username else {}
        return {**mapping, **user, "password": self.password}


def _endpoint(
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


def _port(where: str, value: Any) -> int:
    number = whole_number(value)
    if number is None or number > 65535:
        raise refused(
            "host-port-invalid", where, f"{where} has the port {show(value)}: write a number from 1 to 65535."
        )
    return number


def _host_name(where: str, value: Any) -> str:
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


def _secret(where: str, key: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return str(value) if value else None
    raise refused(
        "credential-not-text", where, f"{where} has a {key} that is no text ({type(value).__name__}): put it in quotes."
    )


def _has_secret(where: str, entry: Mapping[Any, Any]) -> bool:
    read = [_secret(where, key, entry.get(key)) for key in ("username", "password")]  # each may be refused
    return any(read)


def _database(where: str, value: Any) -> int:
    number = 0 if value in (None, "", 0, "0") and not isinstance(value, bool) else whole_number(value)
    if number is None:
        raise refused(
            "database-not-number",
            where,
            f"{where} has a database that is no number: write one, such as db: 1 or redis://127.0.0.1/1.",
        )
    return number


def _check_keys(where: str, keys: Sequence[Any], allowed: frozenset[str] | set[str], kind: str) -> None:
    for key in keys:
        if isinstance(key, str) and key in allowed:
            continue
        raise refused(
            "connection-key-unknown",
            where,
            f"{where} has the key {show(key)}{closest(key, allowed)}, which redis-py does not take for {kind}: "
            f"leave it out, or use one of {', '.join(sorted(allowed))}.",
        )


def _scalars(where: str, entry: Mapping[Any, Any]) -> dict[str, Any]:
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
                    f"{where} has a {key} that is no mapping of plain values: write it as key: value.",
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
        f"{where} has a {key} that is no plain value ({type(value).__name__}): write a text or a number.",
    )


def _verifying(where: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What makes redis-py verify a server's certificate and the host name in it, in addition to these options.

    By itself, redis-py verifies host names from 6.0 on only. Options of a URL are texts.
    """
    name = options.get("ssl_check_hostname", True)
    if not name or str(name).upper() in _OFF:
        raise refused(
            "host-name-not-verified",
            where,
            f"{where} has ssl_check_hostname switched off: a server with somebody else's certificate would be sent"
            " the password. Remove it, and use as the host a name or an address that the certificate has.",
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


def _from_url(where: str, url: str, beside: Mapping[str, Any]) -> tuple[Endpoint, bool]:
    """The endpoint of a URL, and whether the URL has a credential in it."""
    hint = "A password with special characters belongs apart from the address."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        # The error's own words may quote a password, when a sign in it ended the authority early.
        raise refused(
            "url-unreadable", where, f"{where} is a URL that cannot be read: write redis://host:{DEFAULT_PORT}. {hint}"
        ) from None
    scheme = parts.scheme
    if scheme not in _SCHEMES or not url[len(scheme) :].startswith("://"):
        raise refused(
            "url-scheme-unknown",
            where,
            f"{where} is a text that is no Redis URL: write redis://host:{DEFAULT_PORT}, rediss://… (TLS), "
            f"unix:///path or the pair [host, {DEFAULT_PORT}].",
        )
    if "#" in url or "@" in parts.path + parts.query or any(sign.isspace() for sign in url):
        raise refused(
            "url-not-encoded",
            where,
            f"{where} is a URL with a sign in it that belongs percent-encoded (#, @ or a blank). {hint}",
        )
    try:
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise refused(
            "url-query-unreadable",
            where,
            f"{where} is a URL whose part after the question mark is no list of key=value. {hint}",
        ) from None
    if not set(query) <= _SCHEMES[scheme]:
        # Not named here: what follows the question mark may be the rest of a password.
        raise refused(
            "url-parameter-unknown",
            where,
            f"{where} is a URL with a parameter that redis-py does not take for {scheme}:// addresses. {hint}",
        )
    asked = {key: values[0] for key, values in query.items()}

    # As redis-py reads them: what stands in the URL outranks what stands beside it.
    username = (
        unquote(parts.username or "") or asked.get("username") or _secret(where, "username", beside.get("username"))
    )
    password = (
        unquote(parts.password or "") or asked.get("password") or _secret(where, "password", beside.get("password"))
    )
    secret = bool(parts.username or parts.password or asked.get("username") or asked.get("password"))
    if scheme == "unix":
        path = unquote(parts.path)
        if host or not path.startswith("/") or path == "/":
            raise refused(
                "socket-path-invalid",
                where,
                f"{where} is no path of a unix socket: write unix:///run/redis/redis.sock, with three slashes.",
            )
        if len(path.encode()) > MOST_SOCKET_PATH:
            raise refused(
                "socket-path-too-long",
                where,
                f"{where} has a path of {len(path.encode())} bytes, and the kernel takes {MOST_SOCKET_PATH} for a"
                " unix socket: give Redis a socket in a folder with a shorter path.",
            )
        db = _database(where, asked.get("db", beside.get("db")))
        return _endpoint(path=path, username=username, password=password, db=db), secret
    if not host:
        raise refused(
            "url-without-host", where, f"{where} is a URL without a host: write {scheme}://host:{DEFAULT_PORT}. {hint}"
        )
    if port == 0:
        raise refused("host-port-invalid", where, f"{where} has the port 0: write a number from 1 to 65535.")
    in_path = unquote(parts.path).strip("/")
    db = _database(where, asked.get("db", in_path or beside.get("db")))
    found = _endpoint(
        host=unquote(host),
        port=port or DEFAULT_PORT,
        username=username,
        password=password,
        tls=scheme == "rediss",
        ca_beside=asked.get("ssl_ca_certs") or beside.get("ssl_ca_certs"),
        db=db,
    )
    return found, secret


def _verifying_beside(where: str, url: str, beside: Mapping[str, Any]) -> dict[str, Any]:
    """What has to stand beside a URL so that redis-py verifies the host name."""
    parts = urlsplit(url)
    asked = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return _verifying(where, {**beside, **asked}) if parts.scheme == "rediss" else {}


def _from_sentinel(where: str, entry: Mapping[str, Any]) -> _Host:
    _check_keys(where, list(entry), _SENTINEL, "a Sentinel entry")
    master = entry.get("master_name")
    if not isinstance(master, str) or not master:
        raise refused(
            "sentinel-without-master", where, f"{where} names sentinels without the master they watch: add master_name."
        )
    sentinels = entry.get("sentinels")
    if not isinstance(sentinels, (list, tuple)) or not sentinels:
        raise refused(
            "master-without-sentinels",
            where,
            f"{where} has a master_name without sentinels: add sentinels: [[host, {SENTINEL_PORT}]].",
        )
    addresses: list[list[Any]] = []
    for number, pair in enumerate(sentinels, start=1):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise refused(
                "sentinel-not-pair",
                where,
                f"{where} has a sentinel {number} that is no pair: write [host, {SENTINEL_PORT}].",
            )
        addresses.append([_host_name(where, pair[0]), _port(where, pair[1])])
    mapping: dict[str, Any] = {**_scalars(where, entry), "sentinels": addresses}
    login = mapping.get("sentinel_kwargs") or {}
    _check_keys(f"{where} under sentinel_kwargs", list(login), _TLS | {"ssl", "retry"}, "a Sentinel")
    if login.get("retry") is not None:
        # Null has a Sentinel that does not answer passed by at once; anything else would have to be an object of
        # redis-py's.
        raise refused(
            "sentinel-retry-not-null",
            where,
            f"{where} has a retry under sentinel_kwargs that is not null: write null, or leave it out.",
        )
    if mapping.get("ssl"):
        mapping.update(_verifying(where, mapping))
    if login.get("ssl"):
        login = {**login, **_verifying(f"{where} under sentinel_kwargs", login)}
        mapping["sentinel_kwargs"] = login
    endpoints = [
        _endpoint(
            host=host,
            port=port,
            username=_secret(where, "username", login.get("username")),
            password=_secret(where, "password", login.get("password")),
            tls=bool(login.get("ssl")),
            ca_beside=login.get("ssl_ca_certs"),
            sentinel=str(master),
        )
        for host, port in addresses
    ]
    return _Host(mapping, mapping, endpoints, _has_secret(where, entry))


def _from_mapping(where: str, entry: Mapping[Any, Any]) -> _Host:
    ways = [key for key in ("address", "path", "host", "master_name", "sentinels") if key in entry]
    if "master_name" in ways or "sentinels" in ways:
        return _from_sentinel(where, entry)
    if len(ways) != 1:
        has = " and ".join(ways) or "none of them"
        raise refused(
            "host-ambiguous",
            where,
            f"{where} needs one of host, address, path or master_name with sentinels, and has {has}.",
        )
    own_secret = _has_secret(where, entry)
    if ways == ["host"]:
        tls = [key for key in entry if isinstance(key, str) and key.startswith("ssl")]
        if tls:
            raise refused(
                "tls-beside-host",
                where,
                f"{where} has {tls[0]} beside host, which redis-py does not take: "
                f"write address: rediss://host:{DEFAULT_PORT} instead of host and port.",
            )
        _check_keys(where, list(entry), _TCP | {"host", "port"}, "a host")
        port = _port(where, entry["port"]) if entry.get("port") is not None else DEFAULT_PORT
        host = _host_name(where, entry["host"])
        mapping: dict[str, Any] = {**_scalars(where, entry), "host": host, "port": port}
        endpoint = _endpoint(
            host=host,
            port=port,
            username=mapping.get("username"),
            password=mapping.get("password"),
            db=_database(where, entry.get("db")),
        )
        return _Host(mapping, mapping, [endpoint], own_secret)

    mapping = _scalars(where, entry)
    if ways == ["path"]:
        path = mapping.pop("path")
        if not isinstance(path, str) or not path.startswith("/"):
            raise refused(
                "socket-path-relative",
                where,
                f"{where} has a path that is not absolute: write path: /run/redis/redis.sock.",
            )
        mapping = {"address": f"unix://{quote(path)}", **mapping}
    if not isinstance(mapping["address"], str):
        raise refused(
            "address-not-url", where, f"{where} has an address that is no URL: write redis://host:{DEFAULT_PORT}."
        )
    endpoint, url_secret = _from_url(where, mapping["address"], mapping)
    if url_secret and own_secret:
        raise refused(
            "credentials-twice",
            where,
            f"{where} has a user name or password both in its address and beside it: keep one of them.",
        )
    scheme = urlsplit(mapping["address"]).scheme
    _check_keys(where, list(mapping), _SCHEMES[scheme] | {"address"}, f"{scheme}:// addresses")
    mapping.update(_verifying_beside(where, mapping["address"], mapping))
    return _Host(mapping, mapping, [endpoint], url_secret or own_secret)


def sets_timeout(entry: Any) -> bool:
    """Return whether a host's entry, of any origin, has a socket_timeout or a URL with one."""
    if isinstance(entry, Mapping):
        return "socket_timeout" in entry or sets_timeout(entry.get("address"))
    try:
        return isinstance(entry, str) and "socket_timeout" in parse_qs(urlsplit(entry).query, keep_blank_values=True)
    except ValueError:
        return False


def _with_timeout(host: _Host) -> _Host:
    """The host with READ_TIMEOUT, unless it sets a socket_timeout, be it null."""
    if sets_timeout(host.mapping):
        return host
    mapping = {**host.mapping, "socket_timeout": READ_TIMEOUT}
    return replace(host, written=mapping, mapping=mapping)


def _read_host(where: str, entry: Any) -> _Host:
    if isinstance(entry, str):
        found, secret = _from_url(where, str(entry), {})
        more = _verifying_beside(where, entry, {})
        mapping = {"address": str(entry), **more}
        return _Host(mapping if more else str(entry), mapping, [found], secret)
    if isinstance(entry, Mapping):
        return _from_mapping(where, entry)
    if isinstance(entry, (list, tuple)):
        if len(entry) != 2:
            raise refused(
                "host-not-pair",
                where,
                f"{where} is a list of {len(entry)}: write the pair [127.0.0.1, {DEFAULT_PORT}].",
            )
        host, port = _host_name(where, entry[0]), _port(where, entry[1])
        return _Host([host, port], {"host": host, "port": port}, [_endpoint(host=host, port=port)], False)
    raise refused(
        "host-unreadable",
        where,
        f"{where} is no host ({type(entry).__name__}): write [127.0.0.1, {DEFAULT_PORT}], a redis:// URL or a mapping.",
    )


def _is_flat_pair(hosts: Sequence[Any]) -> bool:
    """`hosts: [127.0.0.1, 6379]`, a pair without the list around it; neither part alone is a host."""
    return (
        len(hosts) == 2
        and isinstance(hosts[0], str)
        and "://" not in hosts[0]
        and not isinstance(hosts[1], (bool, Mapping, list, tuple))
        and whole_number(hosts[1]) is not None
    )


def _read_hosts(hosts: Any) -> list[_Host]:
    if not isinstance(hosts, (list, tuple)) or not hosts:
        seen = "empty" if isinstance(hosts, (list, tuple)) or not hosts else f"a {type(hosts).__name__}"
        raise refused(
            "hosts-unreadable",
            HOSTS,
            f"{HOSTS} is {seen}: write a list of hosts, such as [[127.0.0.1, {DEFAULT_PORT}]] "
            f"or ['redis://127.0.0.1:{DEFAULT_PORT}'].",
        )
    entries = [hosts] if _is_flat_pair(hosts) else hosts
    read: list[_Host] = []
    problems: list[Problem] = []
    for number, entry in enumerate(entries, start=1):
        try:
            read.append(_with_timeout(_read_host(f"{HOSTS} entry {number}", entry)))
        except Refusal as refusal:
            problems.extend(refusal.problems)
    if problems:
        raise Refusal(*problems)
    return read


def _read_credentials(credentials: Any) -> _Credentials | None:
    what = "The layer's credentials"
    if credentials is None or credentials == {}:
        return None
    if not isinstance(credentials, Mapping):
        raise refused("credentials-not-mapping", what, f"{what} are no mapping: write {{username: …, password: …}}.")
    for key in credentials:
        if key not in ("username", "password"):
            raise refused(
                "credentials-key-unknown", what, f"{what} have the key {show(key)}: write username and password only."
            )
    username = _secret(what, "username", credentials.get("username"))
    password = _secret(what, "password", credentials.get("password"))
    if password:
        return _Credentials(username, password)
    if username:
        raise refused("user-without-password", what, f"{what} have a user name without a password: add the password.")
    return None


def _credentials_for(hosts: Sequence[_Host], credentials: Any) -> _Credentials | None:
    found = _read_credentials(credentials)
    twice = [number for number, host in enumerate(hosts, start=1) if host.secret]
    if found and twice:
        raise refused(
            "credentials-twice",
            f"{HOSTS} entry {twice[0]}",
            f"{HOSTS} entry {twice[0]} has a user name or password of its own, and the layer's credentials are"
            " given apart from the hosts as well: keep one of them.",
        )
    return found


def _number(name: str, value: Any) -> int:
    number = whole_number(value)
    if number is None:
        raise refused(
            "option-not-number",
            name,
            f"The channel layer's option {name} is {show(value)}: write a whole number of at least 1.",
        )
    return number


def _length(name: str, value: Any) -> int:
    return 0 if value in (0, "0") and not isinstance(value, bool) else _number(name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise refused(
            "option-not-text",
            name,
            f"The channel layer's option {name} is {show(value)}: write a text that is not empty.",
        )
    return str(value)


def _capacities(name: str, value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise refused(
            "option-not-mapping",
            name,
            f"The channel layer's option {name} is {show(value)}: write a mapping of channel name to number.",
        )
    return {_text(f"{name} (a key)", key): _number(f"{name}.{key}", held) for key, held in value.items()}


def _keys(name: str, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(key, str) and key for key in value):
        raise refused(
            "option-not-list",
            name,
            f"The channel layer's option {name} is no list of texts: write each key as a text, in a list.",
        )
    return [str(key) for key in value]


_COUNTED: dict[str, Callable[[str, Any], Any]] = {
    "capacity": _number,
    "channel_capacity": _capacities,
    "expiry": _number,
    "group_expiry": _number,
}
_SERIALIZED: dict[str, Callable[[str, Any], Any]] = {
    "prefix": _text,
    "serializer_format": _text,
    "symmetric_encryption_keys": _keys,
}
# What each layer's class takes besides hosts. The pub/sub layer takes any other option without a word and ignores it.
_OPTIONS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    CORE_BACKEND: {**_COUNTED, **_SERIALIZED, "random_prefix_length": _length},
    PUBSUB_BACKEND: {**_SERIALIZED, "on_disconnect": _text, "on_reconnect": _text},
    MEMORY_BACKEND: _COUNTED,
}


def _read_options(options: Any, backend: str) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise refused(
            "options-not-mapping",
            "options",
            "The channel layer's options are no mapping: write one, such as {capacity: 200}.",
        )
    readers = _OPTIONS[backend]
    problems: list[Problem] = []
    read: dict[str, Any] = {}
    for name, value in options.items():
        try:
            if name == "hosts":
                raise refused(
                    "options-have-hosts",
                    "hosts",
                    f"The channel layer's options have hosts among them: set {HOSTS} instead.",
                )
            if name not in readers:
                raise refused(
                    "option-unknown",
                    str(name),
                    f"The channel layer's option {show(name)}{closest(name, readers)} is none that {backend}"
                    f" heeds: leave it out, or use one of {', '.join(sorted(readers))}.",
                )
            # A role's defaults hand over what was not set as null.
            if value is not None:
                read[str(name)] = readers[name](name, value)
        except Refusal as refusal:
            problems.extend(refusal.problems)
    if problems:
        raise Refusal(*problems)
    return read


def channel_layers(
    hosts: Any, credentials: Any = None, options: Any = None, backend: str = CORE_BACKEND
) -> dict[str, dict[str, Any]]:
    """Return the mapping for `settings.CHANNEL_LAYERS`.

    Each host has READ_TIMEOUT as its `socket_timeout`, unless it sets one.

    Args:
        hosts: a list of `[host, port]`, of redis://, rediss:// and unix:// URLs, and of mappings (with `host`, with
            `address`, with `path`, or with `master_name` and `sentinels`). Not looked at for the in-memory layer.
        credentials: `{username, password}`, the user name optional, or nothing.
        options: what else the layer's class takes; null stands for not given. Times are in seconds.
        backend: the layer's class.

    Raises:
        Refusal: with every reason found. No password is in it.
    """
    wrong = choice_refusal("tethys_layer_backend", backend, BACKENDS)
    if wrong:
        raise Refusal(wrong)
    backend = str(backend)
    config: dict[str, Any] = {}
    problems: list[Problem] = []
    if backend != MEMORY_BACKEND:
        try:
            read = _read_hosts(hosts)
            login = _credentials_for(read, credentials)
            config["hosts"] = [login.beside(host.mapping) if login else host.written for host in read]
        except Refusal as refusal:
            problems.extend(refusal.problems)
    try:
        config.update(_read_options(options, backend))
    except Refusal as refusal:
        problems.extend(refusal.problems)
    if problems:
        raise Refusal(*problems)
    return {"default": {"BACKEND": backend, **({"CONFIG": config} if config else {})}}


def redis_endpoints(hosts: Any, credentials: Any = None) -> list[Endpoint]:
    """Where to connect to see whether the layer's Redis answers, in the order of the hosts.

    Behind Sentinel these are the sentinels (`sentinel` is the master's name) with the login for them; anywhere else
    Redis itself with the login that the portal will use.

    Raises:
        Refusal: as `channel_layers`.
    """
    read = _read_hosts(hosts)
    login = _credentials_for(read, credentials)
    found: list[Endpoint] = []
    for host in read:
        for endpoint in host.endpoints:
            if login and endpoint["sentinel"] is None:
                endpoint = {**endpoint, "username": login.username, "password": login.password}
            found.append(endpoint)
    return found
