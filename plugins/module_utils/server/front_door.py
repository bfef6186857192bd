# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where browsers reach a site of the web server on this host, and what keeps WebSockets from getting through it."""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple, Sequence, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils import nginx_config, nginx_processes
from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.server.addresses import reaches_this_server

# The path of the consumer of the delivery check.
SOCKET_PATH = "/ws/app-lifecycle/x/"
MOST_LISTENS = 20
MOST_REPETITIONS = 4
LARGEST_PORT = 65535
_PLAIN_NAME = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d{1,9})(ms|[smhd]?)")
_ADDRESS = re.compile(r"(?:(\[[^\]]*\]|[^:\s]*):)?(\d{1,5})|(\[[^\]]*\]|[^:\s]+)")


class Door(TypedDict):
    """Where a site is reached, and what its configuration does to WebSockets."""

    # The site.
    path: str
    line: int
    # One of this server's addresses.
    address: str
    port: int
    tls: bool
    # What browsers call it; empty where the site has no plain name.
    name: str
    # The lines that nginx lacks for WebSockets, and the place of the `proxy_pass` that lacks them.
    missing: list[str]
    beside: str
    # The seconds after which a silent WebSocket is closed; None where that is not known.
    silence: float | None


class _Listen(NamedTuple):
    address: str
    port: int
    tls: bool


def _here(host: str) -> str | None:
    """Return the address at which this server reaches a host that a web server listens on, or None."""
    plain = host.strip("[]")
    if plain in ("", "*", "0.0.0.0", "localhost", "_default_"):  # noqa: S104 - it is compared
        return "127.0.0.1"
    if plain == "::":
        return "::1"
    return plain if reaches_this_server(plain) else None


def _parsed(text: str, standard: int) -> tuple[str, int] | None:
    """Return the host and port of `80`, `*:80`, `[::]:80` or a host."""
    found = _ADDRESS.fullmatch(text)
    if not found:
        return None
    port = int(found.group(2)) if found.group(2) else standard
    return (found.group(1) or found.group(3) or "*", port) if 0 < port <= LARGEST_PORT else None


def _name(names: Sequence[str]) -> str:
    """Return the first name that browsers can use; one with a dot rather than `localhost`."""
    plain = [name for name in names if len(name) <= 253 and _PLAIN_NAME.fullmatch(name)]
    return next((name for name in plain if "." in name), plain[0] if plain else "")


def best(doors: Sequence[Door]) -> Door | None:
    """Return the door that browsers most probably use: with TLS before without, with a name before without."""
    return max(doors, key=lambda door: (door["tls"], bool(door["name"])), default=None)


# -- nginx -------------------------------------------------------------------------------------------------------------


def of_nginx(tree: nginx_config.Tree, site: nginx_config.Node) -> list[Door]:
    """Return where a `server` block of nginx is reached."""
    proxy_pass = _pass_of(site)
    missing = nginx_config.missing_for_websockets(proxy_pass) if proxy_pass else []
    names = [name for node in site.named("server_name") for name in node.args]
    path, line = _where(tree, site)
    return [
        {
            "path": path,
            "line": line,
            "address": listen.address,
            "port": listen.port,
            "tls": listen.tls,
            "name": _name(names),
            "missing": missing,
            "beside": "{}, line {}".format(*_where(tree, proxy_pass)) if proxy_pass else "",
            "silence": _silence(proxy_pass),
        }
        for listen in _listens(site)
    ]


def _where(tree: nginx_config.Tree, node: nginx_config.Node) -> tuple[str, int]:
    """Return the file and line of a directive."""
    line = nginx_config.line_of(tree.texts[node.file], node.directive.start)
    return clean(nginx_processes.shown(node.file), 4096), line


def _listens(site: nginx_config.Node) -> Iterator[_Listen]:
    old_ssl = any(node.args == ("on",) for node in site.named("ssl"))
    # A browser's own certificate is nothing that a check has.
    is_closed = any(node.args == ("on",) for node in site.named("ssl_verify_client"))
    given = [node.args for node in site.named("listen") if node.args] or [("80",)]
    for args in given[:MOST_LISTENS]:
        # What expects a proxy's own protocol, or QUIC, is none of a browser's first requests.
        found = None if {"proxy_protocol", "quic", "udp"} & set(args) else _parsed(args[0], 80)
        address = _here(found[0]) if found else None
        tls = old_ssl or "ssl" in args[1:]
        if found and address and not (tls and is_closed):
            yield _Listen(address, found[1], tls)


def _locations(level: nginx_config.Node) -> list[nginx_config.Node]:
    return [node for node in level.children if node.name == "location" and node.args]


def _location_of(level: nginx_config.Node, path: str) -> nginx_config.Node | None:
    """Return the location that nginx takes for a path, or None."""
    locations = _locations(level)
    exact = next((node for node in locations if node.args == ("=", path)), None)
    prefixes = [
        node
        for node in locations
        if (len(node.args) == 1 or node.args[0] == "^~") and path.startswith(node.args[-1] or " ")
    ]
    longest = max(prefixes, key=lambda node: len(node.args[-1]), default=None)
    inner = _location_of(longest, path) if longest else None
    if exact or (longest and longest.args[0] == "^~"):
        return exact or inner or longest
    expressions = (node for node in locations if node.args[0] in ("~", "~*") and len(node.args) == 2)
    matching = next((node for node in expressions if _matches(node, path)), None)
    if matching:
        return _location_of(matching, path) or matching
    return inner or longest


def _matches(node: nginx_config.Node, path: str) -> bool:
    pattern = node.args[1]
    # Another user's expression may take forever, so those with much or nested repetition are not tried.
    if len(re.findall(r"[*+?{]", pattern)) > MOST_REPETITIONS or re.search(r"\)[*+?{]", pattern):
        return False
    try:
        return bool(re.search(pattern, path, re.IGNORECASE if node.args[0] == "~*" else 0))
    except re.error:
        return False


def _pass_of(site: nginx_config.Node) -> nginx_config.Node | None:
    """Return the `proxy_pass` to which a WebSocket of the delivery check leads, or None."""
    level = _location_of(site, SOCKET_PATH) or site
    for _again in range(2):
        own = level.named("proxy_pass")
        if own:
            return own[0] if own[0].args else None
        tries = [*level.named("try_files"), *level.named("error_page")]
        name = next((node.args[-1] for node in tries if node.args and node.args[-1].startswith("@")), None)
        named = [node for node in site.walk() if node.name == "location" and node.args == (name,)]
        if not named:
            return None
        level = named[0]
    return None


def _silence(proxy_pass: nginx_config.Node | None) -> float | None:
    given = nginx_config.inherited(proxy_pass, "proxy_read_timeout") if proxy_pass else []
    text = given[-1].args[0] if given and given[-1].args else ""
    parts = _TIME.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


# -- Apache ------------------------------------------------------------------------------------------------------------


def of_apache(path: str, line: int, listens: Sequence[str], name: str, tls: bool) -> list[Door]:
    """Return where a virtual host of Apache is reached.

    Args:
        listens: the addresses of the virtual host.
        name: its ServerName, or that of the server.
        tls: whether its SSLEngine is on.
    """
    # `https://portal.example.org:443` says the same as the name alone.
    plain = re.sub(r"^https?://|:\d+$", "", name)
    doors: list[Door] = []
    for text in listens[:MOST_LISTENS]:
        found = _parsed(text, 443 if tls else 80)
        address = _here(found[0]) if found else None
        if found and address:
            doors.append(
                {
                    "path": clean(nginx_processes.shown(path), 4096),
                    "line": line,
                    "address": address,
                    "port": found[1],
                    "tls": tls,
                    "name": _name([plain]),
                    "missing": [],
                    "beside": "",
                    "silence": None,
                }
            )
    return doors
