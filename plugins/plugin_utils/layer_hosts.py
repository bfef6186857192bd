# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts of a channel layer in every form that they are written in, and where to connect to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import (
    DEFAULT_PORT,
    HOSTS,
    MOST_SOCKET_PATH,
    READ_TIMEOUT,
    SCHEMES,
    SENTINEL_KEYS,
    SENTINEL_PORT,
    TCP,
    TLS,
    Credentials,
    Endpoint,
    Host,
    check_keys,
    database_of,
    endpoint_of,
    has_secret,
    host_name_of,
    port_of,
    scalars,
    secret_of,
    verifying,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem, Refusal, refused
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show, type_name, whole_number

# What follows a refused URL.
HINT = "A password with special characters belongs apart from the address."


def _url_parts(where: str, url: str) -> tuple[SplitResult, dict[str, str]]:
    """Return the parts of a URL, and its parameters."""
    try:
        parts = urlsplit(url)
        _host, _port = parts.hostname, parts.port  # read here, since each may be refused
    except ValueError:
        # The error's own text may quote a password, if a character in it ended the URL's authority part early.
        raise refused(
            "url-unreadable", where, f"{where} is a URL that cannot be read: write redis://host:{DEFAULT_PORT}. {HINT}"
        ) from None
    scheme = parts.scheme
    if scheme not in SCHEMES or not url[len(scheme) :].startswith("://"):
        raise refused(
            "url-scheme-unknown",
            where,
            f"{where} is a text that is not a Redis URL: write redis://host:{DEFAULT_PORT}, rediss://… (TLS), "
            f"unix:///path or the pair [host, {DEFAULT_PORT}].",
        )
    if "#" in url or "@" in parts.path + parts.query or any(sign.isspace() for sign in url):
        raise refused(
            "url-not-encoded",
            where,
            f"{where} is a URL with a sign in it that belongs percent-encoded (#, @ or a blank). {HINT}",
        )
    try:
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise refused(
            "url-query-unreadable",
            where,
            f"{where} is a URL whose part after the question mark is not a list of key=value. {HINT}",
        ) from None
    if not set(query) <= SCHEMES[scheme]:
        # Not named here: what follows the question mark may be the rest of a password.
        raise refused(
            "url-parameter-unknown",
            where,
            f"{where} is a URL with a parameter that redis-py does not take for {scheme}:// addresses. {HINT}",
        )
    return parts, {key: values[0] for key, values in query.items()}


def _socket_path(where: str, parts: SplitResult) -> str:
    """Return the path of a unix socket in a URL."""
    path = unquote(parts.path)
    if parts.hostname or not path.startswith("/") or path == "/":
        raise refused(
            "socket-path-invalid",
            where,
            f"{where} is not the path of a unix socket: write unix:///run/redis/redis.sock, with three slashes.",
        )
    if len(path.encode()) > MOST_SOCKET_PATH:
        raise refused(
            "socket-path-too-long",
            where,
            f"{where} has a path of {len(path.encode())} bytes, and Linux allows {MOST_SOCKET_PATH} for a"
            " Unix socket: give Redis a socket in a folder with a shorter path.",
        )
    return path


def _from_url(where: str, url: str, beside: Mapping[str, Any]) -> tuple[Endpoint, bool]:
    """The endpoint of a URL, and whether the URL has a credential in it."""
    parts, asked = _url_parts(where, url)
    scheme, host, port = parts.scheme, parts.hostname, parts.port
    # As redis-py reads them: the URL wins over the other keys.
    username = (
        unquote(parts.username or "") or asked.get("username") or secret_of(where, "username", beside.get("username"))
    )
    password = (
        unquote(parts.password or "") or asked.get("password") or secret_of(where, "password", beside.get("password"))
    )
    secret = bool(parts.username or parts.password or asked.get("username") or asked.get("password"))
    if scheme == "unix":
        path = _socket_path(where, parts)
        db = database_of(where, asked.get("db", beside.get("db")))
        return endpoint_of(path=path, username=username, password=password, db=db), secret
    if not host:
        raise refused(
            "url-without-host", where, f"{where} is a URL without a host: write {scheme}://host:{DEFAULT_PORT}. {HINT}"
        )
    if port == 0:
        raise refused("host-port-invalid", where, f"{where} has the port 0: write a number from 1 to 65535.")
    in_path = unquote(parts.path).strip("/")
    db = database_of(where, asked.get("db", in_path or beside.get("db")))
    found = endpoint_of(
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
    """The keys that a URL needs with it so that redis-py verifies the host name."""
    parts = urlsplit(url)
    asked = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return verifying(where, {**beside, **asked}) if parts.scheme == "rediss" else {}


def _sentinel_addresses(where: str, sentinels: Any) -> list[list[Any]]:
    """Return the addresses of sentinels."""
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
                f"{where} has a sentinel {number} that is not a pair: write [host, {SENTINEL_PORT}].",
            )
        addresses.append([host_name_of(where, pair[0]), port_of(where, pair[1])])
    return addresses


def _from_sentinel(where: str, entry: Mapping[str, Any]) -> Host:
    check_keys(where, list(entry), SENTINEL_KEYS, "a Sentinel entry")
    master = entry.get("master_name")
    if not isinstance(master, str) or not master:
        raise refused(
            "sentinel-without-master", where, f"{where} names sentinels without the master they watch: add master_name."
        )
    addresses = _sentinel_addresses(where, entry.get("sentinels"))
    mapping: dict[str, Any] = {**scalars(where, entry), "sentinels": addresses}
    login = mapping.get("sentinel_kwargs") or {}
    check_keys(f"{where} under sentinel_kwargs", list(login), TLS | {"ssl", "retry"}, "a Sentinel")
    if login.get("retry") is not None:
        # Null has a Sentinel that does not answer passed by at once; anything else would have to be an object of
        # redis-py's.
        raise refused(
            "sentinel-retry-not-null",
            where,
            f"{where} has a retry under sentinel_kwargs that is not null: write null, or leave it out.",
        )
    if mapping.get("ssl"):
        mapping.update(verifying(where, mapping))
    if login.get("ssl"):
        login = {**login, **verifying(f"{where} under sentinel_kwargs", login)}
        mapping["sentinel_kwargs"] = login
    endpoints = [
        endpoint_of(
            host=host,
            port=port,
            username=secret_of(where, "username", login.get("username")),
            password=secret_of(where, "password", login.get("password")),
            tls=bool(login.get("ssl")),
            ca_beside=login.get("ssl_ca_certs"),
            sentinel=str(master),
        )
        for host, port in addresses
    ]
    return Host(mapping, mapping, endpoints, has_secret(where, entry))


def _from_host(where: str, entry: Mapping[Any, Any], own_secret: bool) -> Host:
    """Return a host that is written as `host` and `port`."""
    tls = [key for key in entry if isinstance(key, str) and key.startswith("ssl")]
    if tls:
        raise refused(
            "tls-beside-host",
            where,
            f"{where} has {tls[0]} beside host, which redis-py does not take: "
            f"write address: rediss://host:{DEFAULT_PORT} instead of host and port.",
        )
    check_keys(where, list(entry), TCP | {"host", "port"}, "a host")
    port = port_of(where, entry["port"]) if entry.get("port") is not None else DEFAULT_PORT
    host = host_name_of(where, entry["host"])
    mapping: dict[str, Any] = {**scalars(where, entry), "host": host, "port": port}
    endpoint = endpoint_of(
        host=host,
        port=port,
        username=mapping.get("username"),
        password=mapping.get("password"),
        db=database_of(where, entry.get("db")),
    )
    return Host(mapping, mapping, [endpoint], own_secret)


def _from_mapping(where: str, entry: Mapping[Any, Any]) -> Host:
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
    own_secret = has_secret(where, entry)
    if ways == ["host"]:
        return _from_host(where, entry, own_secret)

    mapping = scalars(where, entry)
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
            "address-not-url", where, f"{where} has an address that is not a URL: write redis://host:{DEFAULT_PORT}."
        )
    endpoint, url_secret = _from_url(where, mapping["address"], mapping)
    if url_secret and own_secret:
        raise refused(
            "credentials-twice",
            where,
            f"{where} has a user name or password both in its address and beside it: keep one of them.",
        )
    scheme = urlsplit(mapping["address"]).scheme
    check_keys(where, list(mapping), SCHEMES[scheme] | {"address"}, f"{scheme}:// addresses")
    mapping.update(_verifying_beside(where, mapping["address"], mapping))
    return Host(mapping, mapping, [endpoint], url_secret or own_secret)


def sets_timeout(entry: Any) -> bool:
    """Return whether a host's entry, of any origin, has a socket_timeout or a URL with one."""
    if isinstance(entry, Mapping):
        return "socket_timeout" in entry or sets_timeout(entry.get("address"))
    try:
        return isinstance(entry, str) and "socket_timeout" in parse_qs(urlsplit(entry).query, keep_blank_values=True)
    except ValueError:
        return False


def _with_timeout(host: Host) -> Host:
    """The host with READ_TIMEOUT, unless it sets a socket_timeout, be it null."""
    if sets_timeout(host.mapping):
        return host
    mapping = {**host.mapping, "socket_timeout": READ_TIMEOUT}
    return replace(host, written=mapping, mapping=mapping)


def _read_host(where: str, entry: Any) -> Host:
    if isinstance(entry, str):
        found, secret = _from_url(where, str(entry), {})
        more = _verifying_beside(where, entry, {})
        mapping = {"address": str(entry), **more}
        return Host(mapping if more else str(entry), mapping, [found], secret)
    if isinstance(entry, Mapping):
        return _from_mapping(where, entry)
    if isinstance(entry, (list, tuple)):
        if len(entry) != 2:
            raise refused(
                "host-not-pair",
                where,
                f"{where} is a list of {len(entry)}: write the pair [127.0.0.1, {DEFAULT_PORT}].",
            )
        host, port = host_name_of(where, entry[0]), port_of(where, entry[1])
        return Host([host, port], {"host": host, "port": port}, [endpoint_of(host=host, port=port)], False)
    raise refused(
        "host-unreadable",
        where,
        f"{where} is not a host ({type_name(entry)}): write [127.0.0.1, {DEFAULT_PORT}], a redis:// URL or a mapping.",
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


def read_hosts(hosts: Any) -> list[Host]:
    if not isinstance(hosts, (list, tuple)) or not hosts:
        seen = "empty" if isinstance(hosts, (list, tuple)) or not hosts else f"a {type_name(hosts)}"
        raise refused(
            "hosts-unreadable",
            HOSTS,
            f"{HOSTS} is {seen}: write a list of hosts, such as [[127.0.0.1, {DEFAULT_PORT}]] "
            f"or ['redis://127.0.0.1:{DEFAULT_PORT}'].",
        )
    entries = [hosts] if _is_flat_pair(hosts) else hosts
    read: list[Host] = []
    problems: list[Problem] = []
    for number, entry in enumerate(entries, start=1):
        try:
            read.append(_with_timeout(_read_host(f"{HOSTS} entry {number}", entry)))
        except Refusal as refusal:
            problems.extend(refusal.problems)
    if problems:
        raise Refusal(*problems)
    return read


def _read_credentials(credentials: Any) -> Credentials | None:
    what = "The layer's credentials"
    if credentials is None or credentials == {}:
        return None
    if not isinstance(credentials, Mapping):
        raise refused("credentials-not-mapping", what, f"{what} are not a mapping: write {{username: …, password: …}}.")
    for key in credentials:
        if key not in ("username", "password"):
            raise refused(
                "credentials-key-unknown", what, f"{what} have the key {show(key)}: write username and password only."
            )
    username = secret_of(what, "username", credentials.get("username"))
    password = secret_of(what, "password", credentials.get("password"))
    if password:
        return Credentials(username, password)
    if username:
        raise refused("user-without-password", what, f"{what} have a user name without a password: add the password.")
    return None


def credentials_for(hosts: Sequence[Host], credentials: Any) -> Credentials | None:
    found = _read_credentials(credentials)
    twice = [number for number, host in enumerate(hosts, start=1) if host.secret]
    if found and twice:
        raise refused(
            "credentials-twice",
            f"{HOSTS} entry {twice[0]}",
            f"{HOSTS} entry {twice[0]} has its own user name or password, and the layer's credentials are"
            " given apart from the hosts as well: keep one of them.",
        )
    return found


def redis_endpoints(hosts: object, credentials: object = None) -> list[Endpoint]:
    """Where to connect to see whether the layer's Redis answers, in the order of the hosts.

    Behind Sentinel these are the sentinels (`sentinel` is the master's name) with the login for them; anywhere else
    Redis itself with the login that the portal will use.

    Raises:
        Refusal: as `channel_layers`.
    """
    read = read_hosts(hosts)
    login = credentials_for(read, credentials)
    found: list[Endpoint] = []
    for host in read:
        for endpoint in host.endpoints:
            if login and endpoint["sentinel"] is None:
                endpoint = {**endpoint, "username": login.username, "password": login.password}
            found.append(endpoint)
    return found
