# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the web server on this host sends the portal's requests, by its configuration.

The files are read, and no program is started: a web server obeys its configuration even where it only tests it. Some
files are the portal's owner's, as the manual's link into TETHYS_HOME is. They are read through the boundary, and no
file that they include is read.
"""

from __future__ import annotations

import glob
import itertools
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Iterable, Iterator, Sequence, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils import nginx_blocks, nginx_config, nginx_processes
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, clean
from ansible_collections.tethys.channels.plugins.module_utils.read_as import read_file
from ansible_collections.tethys.channels.plugins.module_utils.server import front_door, proc, root_files
from ansible_collections.tethys.channels.plugins.module_utils.server.trust import writable_by_others

MOST_BYTES = 1024 * 1024
MOST_FILES = 500
# Of files that somebody besides root can change, all together.
MOST_OF_OTHERS = 256 * 1024
MOST_TARGETS = 50
MOST_SITES = 20
MOST_LINE = 4096
APACHE_NAMES = ("apache2", "httpd")
APACHE_FILES = (
    "/etc/apache2/sites-enabled/*",
    "/etc/apache2/conf-enabled/*.conf",
    "/etc/httpd/conf/httpd.conf",
    "/etc/httpd/conf.d/*.conf",
)
# The root of a site, as nginx's `location` names it.
_ROOTS = (("/",), ("^~", "/"), ("~", "/"), ("~*", "/"), ("~", "^/"), ("~*", "^/"))
_APACHE_URL = re.compile(r"(?:https?|wss?)://(\[[^\]]*\]|[^/:\s\"'$]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_APACHE_UNIX = re.compile(r"unix:([^|\s\"']+)\|", re.IGNORECASE)


class Target(TypedDict):
    """Where requests are sent: an address as written, and whether it is this server's."""

    address: str
    # None for a unix socket.
    port: int | None
    here: bool


class Front(TypedDict):
    """What sends the portal's requests on, and where to."""

    # nginx or Apache.
    server: str
    path: str
    line: int
    # Whether each target has to be the portal's, or any of them.
    each: bool
    # Whether the collection wrote it.
    ours: bool
    targets: list[Target]
    # Where browsers reach it; None if that is unknown, or not on this server.
    door: front_door.Door | None


class Fronts(TypedDict):
    """The web server on this host."""

    # None if it is unknown which of its sites is the portal's.
    portal: Front | None
    # All places to which it sends requests, as written.
    addresses: list[str]


@dataclass
class _Site:
    """A site of Apache's, with what it proxies: the path on the site, and the address."""

    path: str
    line: int
    listens: list[str] = field(default_factory=list)
    name: str = ""
    tls: bool = False
    folders: list[str] = field(default_factory=list)
    proxied: list[tuple[str, str]] = field(default_factory=list)


def find(processes: nginx_processes.Processes, upstream: str, folders: Iterable[str]) -> Fronts:
    """Return where the web server sends requests.

    Args:
        processes: nginx's.
        upstream: the name of nginx's upstream block for the portal.
        folders: those of the portal, by which a site that serves files from them is known.
    """
    own = [folder for folder in folders if folder]
    found: list[Front] = []
    addresses: list[str] = []
    if processes.masters() or not processes.other_web_server():
        for main in root_files.main_files(processes):
            tree = _tree(main)
            found += [front for front in [_of_nginx(tree, upstream, own)] if front] if tree else []
            addresses += [target["address"] for target in _of_passes(tree, _passes(tree.http()))] if tree else []
    of_nginx = bool(found)
    if any(proc.is_roots(pid) for name in APACHE_NAMES for pid in proc.named(name)):
        for site in _apache_sites():
            addresses += [_shown(address) for _path, address in site.proxied[:MOST_TARGETS]]
            if not of_nginx and len(found) < MOST_SITES and any(_within(folder, own) for folder in site.folders):
                found += [front for front in [_of_apache(site)] if front]
    # A site may be there without TLS too.
    chosen = next((front for front in found if front["door"] and front["door"]["tls"]), found[0] if found else None)
    return {"portal": chosen, "addresses": sorted(set(addresses))[:MOST_TARGETS]}


def _within(path: str, folders: Iterable[str]) -> bool:
    place = PurePosixPath(path)
    return any(PurePosixPath(folder) in (place, *place.parents) for folder in folders)


class _Files:
    """The files of a configuration, within the bounds."""

    def __init__(self) -> None:
        self._files = MOST_FILES
        self._of_others = MOST_OF_OTHERS

    def text(self, path: str, is_others: bool) -> str:
        """Return a file's text; an empty one where it cannot be read, or is larger than a configuration."""
        self._files -= 1
        try:
            # What only root can change is read without a separate process.
            raw = read_file(path, None, self._of_others) if is_others else nginx_processes.read(path)
        except (OSError, Rejected):
            return ""
        if self._files < 0 or len(raw) > MOST_BYTES:
            return ""
        self._of_others -= len(raw) if is_others else 0
        return nginx_processes.decode(raw)


def _shown(address: str) -> str:
    return clean(nginx_processes.shown(address), 300)


def _target(address: str) -> Target:
    return {
        "address": _shown(address),
        "port": nginx_config.port_of(address),
        "here": nginx_config.is_this_server(address),
    }


# -- nginx -------------------------------------------------------------------------------------------------------------


def _without_includes(text: str) -> str:
    """Return a text of nginx's with blanks in the place of each `include`."""

    def spans(directives: Sequence[nginx_config.Directive]) -> Iterator[tuple[int, int]]:
        for each in directives:
            if each.name == "include":
                yield each.start, each.end
            yield from spans(each.children)

    for start, end in spans(nginx_config.parse(text).directives):
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


def _tree(main: str) -> nginx_config.Tree | None:
    """Return nginx's configuration; None where it cannot be followed."""
    files = _Files()

    def read(path: str) -> str:
        is_others = bool(writable_by_others(path))
        text = files.text(path, is_others)
        return _without_includes(text) if is_others else text

    folder = posixpath.dirname(main)
    try:
        return nginx_config.Tree(main, read, lambda pattern: nginx_processes.includes(folder, pattern)[:MOST_FILES])
    except (ValueError, RecursionError):
        return None


def _of_block(block: nginx_config.Node) -> list[Target]:
    servers = [node.args for node in block.named("server") if node.args]
    serving = [args for args in servers if not {"down", "backup"} & set(args[1:])]
    # Whether an address is this server's takes the kernel, so no more are checked than are returned.
    return [_target(args[0]) for args in (serving or servers)[:MOST_TARGETS]]


def _passes(nodes: Iterable[nginx_config.Node]) -> list[nginx_config.Node]:
    found = (node for each in nodes for node in each.walk() if node.name == "proxy_pass" and node.args)
    return list(itertools.islice(found, MOST_TARGETS))


def _portals_passes(site: nginx_config.Node) -> list[nginx_config.Node]:
    """Return the `proxy_pass` directives of a site's root and WebSockets, or, where it has neither, all of them."""
    locations = [node for node in site.walk() if node.name == "location" and node.args]
    chosen = [node for node in locations if node.args in _ROOTS or re.search(r"/ws\b", node.args[-1])]
    # `try_files $uri @proxy_to_app` leads to the location of that name.
    levels = [node for each in chosen for node in _of_level(each)] + site.children
    names = {name for node in levels if node.name in ("try_files", "error_page") for name in node.args[-1:]}
    chosen += [node for node in locations if node.args[-1].startswith("@") and node.args[-1] in names]
    found = [node for each in chosen for node in _of_level(each) if node.name == "proxy_pass" and node.args]
    return found[:MOST_TARGETS] or _passes([site])


def _of_level(location: nginx_config.Node) -> Iterator[nginx_config.Node]:
    """Yield what is in a location, without the locations in it."""
    for node in location.children:
        if node.name != "location":
            yield node
            yield from _of_level(node)


def _of_passes(tree: nginx_config.Tree, nodes: Iterable[nginx_config.Node]) -> list[Target]:
    """Return where these `proxy_pass` directives lead, through an upstream block where they name one."""
    blocks = {block.args[0].lower(): block for block in tree.upstreams()}
    targets: list[Target] = []
    for node in nodes:
        if len(targets) >= MOST_TARGETS:
            break
        found = re.match(r"https?://(unix:[^:\s]+|\[[^\]]*\](?::[0-9]+)?|[^/?#$\s]+)", node.args[0], re.IGNORECASE)
        host = found.group(1) if found else ""
        if host.lower() in blocks:
            targets += _of_block(blocks[host.lower()])
        elif host:
            targets.append(_target(host))
    return targets[:MOST_TARGETS]


def _front(
    tree: nginx_config.Tree,
    node: nginx_config.Node,
    targets: list[Target],
    sites: Sequence[nginx_config.Node],
    ours: bool,
) -> Front:
    """Describe a front.

    Args:
        node: the upstream block, each of whose targets has to be the portal's, or what sends requests on.
        sites: those that lead there.
    """
    return {
        "server": "nginx",
        "path": clean(nginx_processes.shown(node.file), 4096),
        "line": nginx_config.line_of(tree.texts[node.file], node.directive.start),
        "each": node.name == "upstream",
        "ours": ours,
        "targets": targets,
        "door": front_door.best([door for site in sites for door in front_door.of_nginx(tree, site)]),
    }


def _of_nginx(tree: nginx_config.Tree, upstream: str, folders: Sequence[str]) -> Front | None:
    """Return the upstream block of that name, or what the site with the portal's files proxies."""
    servers = [node for node in tree.http() if node.name == "server"]
    for block in tree.upstreams():
        targets = _of_block(block) if block.args == (upstream,) else []
        if targets:
            text = tree.texts[block.file][block.directive.start : block.directive.end]
            sites = [site for site in servers if any(_leads_to(node, upstream) for node in _portals_passes(site))]
            return _front(tree, block, targets, sites[:MOST_SITES], nginx_blocks.looks_like_ours(text))
    for site in servers:
        files = [node.args[0] for node in site.walk() if node.name in ("alias", "root") and node.args]
        if any(_within(path, folders) for path in files):
            passes = _portals_passes(site)
            targets = _of_passes(tree, passes)
            if targets:
                return _front(tree, passes[0], targets, [site], False)
    return None


def _leads_to(proxy_pass: nginx_config.Node, upstream: str) -> bool:
    return len(proxy_pass.args) == 1 and nginx_config.leads_to(proxy_pass, upstream)


# -- Apache ------------------------------------------------------------------------------------------------------------


def _apache_sites() -> Iterator[_Site]:
    # Apache's own way to read a pattern; Path.glob takes no absolute one.
    paths = [path for pattern in APACHE_FILES for path in sorted(glob.glob(pattern))]  # noqa: PTH207
    files = _Files()
    for path in paths:
        yield from apache_sites(path, files.text(path, bool(writable_by_others(path))))


def apache_sites(path: str, text: str) -> Iterator[_Site]:
    """Yield the sites of a file of Apache's, and what stands outside of any, with what each proxies."""
    outside = _Site(path, 1)
    site, location = outside, "/"
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MOST_LINE:
            continue
        words = [word.strip("\"'") for word in re.findall(r"\"[^\"]*\"|'[^']*'|\S+", line.strip())]
        name = words[0].lower() if words else "#"
        if name.startswith("<virtualhost"):
            listens = [word.strip("\"'") for word in line.strip().rstrip(">").split()[1:]]
            site, location = _Site(path, number, listens, outside.name), "/"
        elif name == "</virtualhost>":
            yield site
            site = outside
        elif name in ("<location", "<locationmatch") and len(words) > 1:
            location = words[1].rstrip(">").strip("\"'")
        elif name in ("</location>", "</locationmatch>"):
            location = "/"
        elif name in ("alias", "aliasmatch", "documentroot"):
            site.folders.append(words[-1])
        elif name in ("servername", "sslengine", "sslverifyclient") and len(words) > 1:
            _set_apart(site, name, words[1])
        elif name in ("proxypass", "proxypassmatch", "rewriterule", "balancermember"):
            site.proxied.extend(_proxied(name, words[1:], location))
    yield outside


def _set_apart(site: _Site, name: str, value: str) -> None:
    if name == "servername":
        site.name = value
    elif name == "sslverifyclient":
        # A browser's own certificate is nothing that a check has.
        site.listens = [] if value.lower() == "require" else site.listens
    else:
        site.tls = value.lower() == "on"


def _proxied(name: str, words: list[str], location: str) -> Iterator[tuple[str, str]]:
    if name == "rewriterule" and not any(re.match(r"\[.*\bP\b.*\]", word) for word in words):
        return
    place = words[0] if words and not re.match(r"[a-z]+:", words[0], re.IGNORECASE) else location
    for word in words:
        unix, url = _APACHE_UNIX.match(word), _APACHE_URL.match(word)
        if unix:
            yield place, f"unix:{unix.group(1)}"
        elif url:
            standard = "443" if word.lower().startswith(("https", "wss")) else "80"
            yield place, f"{url.group(1)}:{url.group(2) or standard}"


def _of_apache(site: _Site) -> Front | None:
    """Return what a site sends on: its root and its WebSockets, or, where it proxies neither, whatever it does."""
    pages = [address for place, address in site.proxied if place in ("/", "^/(.*/ws)$")]
    addresses = list(dict.fromkeys(pages or (address for _place, address in site.proxied)))
    targets = [_target(address) for address in addresses[:MOST_TARGETS]]
    if not targets:
        return None
    return {
        "server": "Apache",
        "path": clean(nginx_processes.shown(site.path), 4096),
        "line": site.line,
        "each": True,
        "ours": False,
        "targets": targets,
        "door": front_door.best(front_door.of_apache(site.path, site.line, site.listens, site.name, site.tls)),
    }
