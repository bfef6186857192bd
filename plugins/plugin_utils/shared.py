# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Redis that several portals share: where it is, what speaks against it, and how the portals reach it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PORTAL_USER
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import trust
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.portal import not_root
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import Redis, clock_reasons, image_version
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import (
    misspelt,
    role_options,
    wrong_role_values,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.layers import DEFAULT_PORT
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    SHARED_CA_HERE,
    TRANSPORT_LABEL,
    Facts,
    Inputs,
    Problem,
    codes,
    texts,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.processes import (
    CORE_BACKEND,
    MEMORY_BACKEND,
    nearest,
    show,
    whole_number,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.sentinel import (
    NOT_KNOWN_YET,
    SENTINEL,
    authority_reasons,
    endpoints,
    host_reasons,
    layer_hosts,
    plan_of,
    quorum_reasons,
    sentinel_port,
    topology_of,
    topology_reasons,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.tls import certificate_problem, not_made_here, out_of_time

# Where the collection keeps the authority's certificate on Redis's own server.
CA_BESIDE_REDIS = "/etc/tethys_channels/redis/ca.crt"
# What a portal's connection to another machine needs besides: the core layer's read lasts 5 s, and one that lasts
# longer will never end, since the machine at the other end has gone without a word.
PATIENCE = {"socket_connect_timeout": 5, "socket_timeout": 15, "health_check_interval": 10}
NOBODY: dict[str, Any] = {"username": PORTAL_USER, "password": None, "ca": None, "started_at": 0}
FILES = ("redis_container_tls_cert", "redis_container_tls_key", "redis_container_tls_ca")
# The private authority's key, which has no variable, among the texts of the files.
AUTHORITY_KEY = "authority_key"
# How the names of all variables of the certificate begin.
TLS_VARIABLES = "redis_container_tls"


def shared_redis(names: Iterable[str], hosts: Mapping[str, Any], logins: Sequence[Any] = ()) -> dict[str, Any]:
    """How a portal reaches the Redis that it shares with others.

    Args:
        names: the inventory's names of that Redis's servers, in any order.
        hosts: every host's variables by its name.
        logins: what `redis_login` read on these servers, as a loop over the sorted names registers it.

    Returns:
        `servers` (`name`, `address`, `port`), `hosts` for the channel layer, `endpoints` for `redis_ping`,
        `authorities` (one file of certificates), `started_at` (the last of their starts), `missing` (those without a
        login yet) and `unreachable` (those that Ansible does not reach). Where Sentinel watches, one login is enough.
    """
    servers = servers_of(names, hosts)
    # A server that is away tells nothing.
    found: list[Mapping[str, Any]] = [row.get("login") or NOBODY for row in logins]
    authorities = "".join(dict.fromkeys(str(login["ca"]).strip() + "\n" for login in found if login["ca"]))
    ready = [bool(login["password"] and login["ca"]) for login in found]
    unreachable = [
        f"{server['name']} ({_first_line(row.get('msg'))})"
        for server, row in zip(servers, logins)
        if "login" not in row
    ]
    if servers and topology_of(hosts[servers[0]["name"]]) == SENTINEL:
        # All of them have the same, and which one serves is not known beforehand. What one of them holds, the others
        # have a copy of, so that nothing is lost when it starts anew.
        login = next((login for login, is_ready in zip(found, ready) if is_ready), NOBODY)
        return {
            "servers": servers,
            "hosts": layer_hosts(servers, login),
            "endpoints": endpoints(servers, login, authorities),
            "authorities": authorities,
            "started_at": 0,
            "missing": [] if any(ready) else [server["name"] for server in servers],
            "unreachable": [] if any(ready) else unreachable,
        }
    return {
        "servers": servers,
        "hosts": _hosts(servers, found),
        "endpoints": _endpoints(servers, found),
        "authorities": authorities,
        "started_at": max((login["started_at"] for login in found), default=0),
        "missing": [server["name"] for server, is_ready in zip(servers, ready) if not is_ready],
        "unreachable": unreachable,
    }


def _first_line(text: Any) -> str:
    return next(iter(str(text or "").strip().splitlines()), "no reason was told").rstrip(".:")


def servers_of(names: Iterable[str], hosts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The servers of the shared Redis as the inventory has them, in the order that every portal takes.

    A layer takes the first, second, … of its hosts by a sum over the group's name, so another order is another Redis.
    """
    found = []
    for name in sorted(names):
        variables = hosts[name]
        found.append(
            {
                "name": str(name),
                "address": str(variables.get("redis_container_address") or ""),
                "port": whole_number(variables.get("redis_container_port")) or DEFAULT_PORT,
                "sentinel_port": sentinel_port(variables),
            }
        )
    return found


def _authority(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _hosts(servers: Sequence[Mapping[str, Any]], logins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The shared Redis as `hosts` of a channel layer; a URL cannot carry every password, so that stands beside it."""
    return [
        {
            "address": f"rediss://{_authority(server['address'])}:{server['port']}",
            "username": login["username"],
            "password": login["password"] or NOT_KNOWN_YET,
            "ssl_ca_certs": SHARED_CA_HERE,
            "ssl_check_hostname": True,
            **PATIENCE,
        }
        for server, login in zip(servers, logins)
    ]


def _endpoints(servers: Sequence[Mapping[str, Any]], logins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same as `redis_ping` takes them, before anything is written on the portal's server."""
    return [
        {
            "host": server["address"],
            "port": server["port"],
            "username": login["username"],
            "password": login["password"],
            "tls": True,
            "ca_data": login["ca"],
            "inventory_name": server["name"],
        }
        for server, login in zip(servers, logins)
    ]


def site_reasons(portals: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """Why these portals cannot have one login to one Redis."""
    reasons = []
    for key, variable in (
        ("backend", "tethys_layer_backend"),
        ("prefix", "prefix (of portal_config_layer_options)"),
    ):
        values = {portal[key]: portal["name"] for portal in reversed(portals)}
        if len(values) > 1:
            told = " and ".join(f"{show(value)} on {name}" for value, name in sorted(values.items()))
            reasons.append(
                Problem(
                    "portals-differ",
                    key,
                    f"{variable} is {told}, and they share one Redis: give them the same, or, where they have nothing"
                    " to say to each other, a group of Redis hosts each (-e tethys_layer_redis=… with -e"
                    " tethys_hosts=…).",
                )
            )
    return reasons


def address_reason(value: Any, here: bool | None) -> Problem | None:
    """Why Redis cannot answer on that address of its server."""
    out = "set it, for this host, to the address of this server by which the portals reach it"
    if value in (None, ""):
        return Problem("address-missing", "redis_container_address", f"redis_container_address is not set: {out}.")
    try:
        address = ip_address(str(value))
    except ValueError:
        return Problem(
            "address-invalid",
            "redis_container_address",
            f"redis_container_address is {show(value)}, which is no IP address: {out}.",
        )
    if address.is_unspecified:
        every = "which is every address of this server, also those that face the internet"
        return Problem(
            "address-unspecified", "redis_container_address", f"redis_container_address is {address}, {every}: {out}."
        )
    if address.is_loopback:
        return Problem(
            "address-loopback",
            "redis_container_address",
            f"redis_container_address is {address}, which no other server reaches: {out}.",
        )
    if here is False:
        return Problem(
            "address-not-here",
            "redis_container_address",
            f"redis_container_address is {address}, which is none of this server's addresses: {out}.",
        )
    return None


def _authority_reasons(name: str, folder: str, found: Mapping[str, Any]) -> Iterable[Problem]:
    """What speaks against the folder of the private authority: nothing of somebody else's is written over."""
    out = f"set it to an empty folder, or give certificates of your own by {', '.join(FILES)}."
    unreadable = found.get("unreadable") or []
    files = found.get("files") or {}
    if name.lower() == "ca":
        yield (
            Problem(
                "host-named-ca",
                "redis_container_tls_dir",
                f"{name} is the name of this host, and redis_container_tls_dir is {show(folder)}, where ca.key and"
                " ca.crt are the authority's own: give the host another name in the inventory.",
            )
        )
    elif "redis_container_tls_dir" in unreadable:
        yield (
            Problem(
                "tls-folder-unusable",
                "redis_container_tls_dir",
                f"redis_container_tls_dir is {show(folder)}, which is no folder or one that this user of the controller"
                f" cannot enter: correct that, {out}",
            )
        )
    elif unreadable:
        whose = {FILES[0]: f"{name}.crt", FILES[1]: f"{name}.key", FILES[2]: "ca.crt", AUTHORITY_KEY: "ca.key"}
        names = " and ".join(whose[one] for one in unreadable)
        yield (
            Problem(
                "tls-file-unreadable",
                "redis_container_tls_dir",
                f"redis_container_tls_dir is {show(folder)}, and there this user of the controller cannot read {names}"
                f" (or it is empty): correct that, {out}",
            )
        )
    else:
        foreign = not_made_here(name, *(str(files.get(one) or "") for one in (*FILES, AUTHORITY_KEY)))
        if foreign:
            yield (
                Problem(
                    "tls-file-foreign",
                    "redis_container_tls_dir",
                    f"redis_container_tls_dir is {show(folder)}, and this collection did not make what is there:"
                    f" {foreign}. To keep that, {out}",
                )
            )


def _tls_reasons(name: str, values: Mapping[str, Any], found: Mapping[str, Any]) -> Iterable[Problem]:
    """What speaks against the certificate, the administrator's own or that of the private authority."""
    files: Mapping[str, str] = found.get("files") or {}
    given = [name for name in FILES if values.get(name)]
    missing = [name for name in FILES if name not in given]
    if not given:
        folder = values.get("redis_container_tls_dir")
        if folder and not str(folder).startswith(("/", "~/")):
            yield Problem(
                "tls-folder-relative",
                "redis_container_tls_dir",
                f"redis_container_tls_dir is {show(folder)}: set it to a folder of this controller, as a full path.",
            )
        elif not folder:
            yield (
                Problem(
                    "tls-folder-missing",
                    "redis_container_tls_dir",
                    "redis_container_tls_dir is not set: set it to a folder of this controller in which a private"
                    " authority for Redis's certificates is made and kept, or give certificates of your own by"
                    f" {', '.join(FILES)}.",
                )
            )
        else:
            yield from _authority_reasons(name, str(folder), found)
        return
    if missing:
        yield Problem(
            "tls-files-incomplete",
            given[0],
            f"{given[0]} is given without {' and '.join(missing)}: give all three, or none of them.",
        )
        return
    absent = [name for name in FILES if not files.get(name)]
    for one in absent:
        if one in (found.get("unreadable") or []):
            why = "that file is empty, or this user of the controller cannot read it"
        else:
            why = "there is no such file on the controller"
        yield Problem("tls-file-unreadable", one, f"{one} is {show(values[one])}, and {why}: correct it.")
    if absent or address_reason(values.get("redis_container_address"), None):
        return
    cert, key, ca = (str(files[name]) for name in FILES)
    problem = certificate_problem(cert, key, ca, str(values["redis_container_address"]))
    if problem:
        yield (
            Problem(
                "certificate-unusable",
                FILES[0],
                f"{FILES[0]} is {show(values[FILES[0]])}, and this certificate {problem}: correct {', '.join(FILES)}"
                " together.",
            )
        )


class RedisLook(Redis):
    """What the look at a server of the shared Redis found, and what follows from it."""

    @property
    def redis(self) -> str:
        """It is a container of ours."""
        return "container"

    @property
    def transport(self) -> str:
        """It answers other machines, encrypted."""
        return "tls"

    @property
    def redis_endpoint(self) -> dict[str, Any]:
        """Where it answers."""
        return {"host": self.options["address"], "port": self.redis_port, "tls": True, "ca": CA_BESIDE_REDIS}

    @property
    def redis_place(self) -> str:
        """The same in a word."""
        return f"{_authority(str(self.options['address']))}:{self.redis_port}"

    @property
    def redis_way(self) -> str:
        """What a container carries as its label that is reached as it shall be."""
        return f"{self.transport} {self.redis_place}"

    @property
    def redis_now(self) -> dict[str, Any]:
        """It answers where it shall, or not at all."""
        return self.redis_endpoint

    @property
    def watched(self) -> bool:
        """Whether Sentinel watches it, and another one takes its place."""
        return bool(self.options.get("topology") == SENTINEL)

    @property
    def loss_of_a_new_image(self) -> str:
        """Where there are copies, they are replaced one after the other."""
        if self.watched:
            return (
                "the primary after the others and once one of them has its place, and open WebSockets are closed then"
            )
        return super().loss_of_a_new_image

    def in_the_way(self, listener: Mapping[str, Any]) -> bool:
        """Whether a listener on the port is on this address as well; the loopback is another one."""
        return listener.get("address") in ("redis", "everything")

    def _holds_port(self, ours: Mapping[str, Any]) -> bool:
        """Whether a container of ours is why the port is taken: it may publish the same one of another address."""
        return bool(ours.get("running")) and ours.get("labels", {}).get(TRANSPORT_LABEL) == self.redis_way

    def _not_the_layers(self, other: Mapping[str, Any], port: int) -> str | None:
        """No portal is here, so that no container can be a portal's until now."""
        return "it is not this collection's"


def _sites(names: Iterable[str], hosts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each portal wants of its Redis."""
    found = []
    for name in sorted(names):
        options = hosts[name].get("portal_config_layer_options")
        prefix = options.get("prefix") if isinstance(options, Mapping) else None
        backend = hosts[name].get("tethys_layer_backend")
        found.append({"name": str(name), "backend": str(backend or CORE_BACKEND), "prefix": str(prefix or "asgi")})
    return found


def _reasons(
    options: Mapping[str, Any],
    found: Mapping[str, Any],
    portals: Sequence[Mapping[str, Any]],
    asked: Mapping[str, Any],
    hosts: Mapping[str, Any],
) -> list[Problem]:
    """Everything that the variables, the clock and the address say against it."""
    values, name, server = found.get("values") or {}, options["name"], found["server"]
    backend = asked["tethys_layer_backend"]
    own = {key: value for key, value in values.items() if key.startswith("redis_container_")}
    reasons = [*misspelt(found.get("names") or [], found.get("known") or []), *wrong_role_values(own, asked)]
    if name in [portal["name"] for portal in portals]:
        reasons.append(
            Problem(
                "portal-is-redis-host",
                name,
                f"{name} is a portal and a host of the Redis that the portals share: take it out of one of the two"
                " groups; a Redis that serves other machines belongs on a server of its own.",
            )
        )
    if backend == MEMORY_BACKEND:
        reasons.append(
            Problem(
                "memory-beside-shared",
                "tethys_layer_backend",
                f"tethys_layer_backend is {MEMORY_BACKEND} on {portals[0]['name']}, and the inventory has hosts for a"
                " Redis that the portals share: remove one of the two.",
            )
        )
    else:
        reasons += site_reasons(portals)
    reasons += filter(None, [address_reason(own.get("redis_container_address"), server.get("redis_address_here"))])
    if options["transport_asked"] not in ("", "tls"):
        reasons.append(
            Problem(
                "transport-not-tls",
                "redis_container_transport",
                f"redis_container_transport is {show(options['transport_asked'])} for {name}, whose Redis answers"
                " other servers and so by tls only: leave it away for this host.",
            )
        )
    acl, image = options["redis_container_acl"], str(options["redis_container_image"])
    old = (image_version(image) or "9").split(".")[0] in ("1", "2", "3", "4", "5")
    if old and re.search(r"redis[^/]*:", image):
        reasons.append(
            Problem(
                "image-without-users",
                "redis_container_image",
                f"redis_container_image is {image}, and Redis 5 knows neither users nor TLS: set it to Redis 6 or"
                " later.",
            )
        )
    elif str(acl) != "auto" and not boolean(acl, strict=False):
        reasons.append(
            Problem(
                "acl-off",
                "redis_container_acl",
                f"redis_container_acl is {show(acl)} for {name}, whom other servers reach: leave it away.",
            )
        )
    servers = servers_of(options["names"], hosts)
    together = topology_reasons(name, servers, hosts)
    reasons += together
    if options["topology"] == SENTINEL:
        reasons += host_reasons(options, image, server)
        if not reasons and server.get("root"):
            reasons += quorum_reasons(servers, hosts, options["sentinel_name"])
            reasons += authority_reasons(name, hosts, _next_authority(options, found.get("files") or {}))
    reasons += clock_reasons(server, name)
    if not any(_is_about_tls(reason) for reason in reasons):
        reasons += _tls_reasons(name, own, found)
    return reasons


def _is_about_tls(problem: Problem) -> bool:
    """Whether a problem of the certificate's variables is known already, be it a misspelt name."""
    meant = nearest(problem.subject, role_options()) if problem.code == "unknown-variable" else None
    return (meant or problem.subject).startswith(TLS_VARIABLES)


def _next_authority(options: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """The certificate of the authority as it will be; empty where it is to be made, or made anew."""
    authority = str(files.get(FILES[2]) or "")
    ends = authority and _certificate_due(options, files) and out_of_time(authority, int(options["renew_days"]))
    return "" if ends else authority


def redis_plan(options: Mapping[str, Any], found: Mapping[str, Any], hosts: Mapping[str, Any]) -> dict[str, Any]:
    """The plan for one server of the shared Redis, with every reason against it, in the form that `plan` has.

    Args:
        options: `goal`, `name` (the inventory's of this server), `names` (of all servers of that Redis), the names of
            its `portals`, `address`, and the role's variables that matter, each with its default.
        found: `names` and `values` of the host's variables, `known` ones of the user's own, `files` (the texts of the
            certificate's files on the controller, by variable, and of `authority_key`), `unreadable` (which of these,
            or of `redis_container_tls_dir`, are there and say nothing), and `server` as the module returned it.
        hosts: every host's variables by its name, with what the sentinels said.

    Returns:
        Besides what `plan` has, `certificate_due`, why the private authority is to give a certificate, or None,
        `authority_due`, whether its own is to be made anew as well, and `sentinel`, where it watches this Redis.
    """
    portals = _sites(options["portals"], hosts)
    backend = portals[0]["backend"] if portals else CORE_BACKEND
    # What the portals' plan is judged by, as far as it matters here.
    asked: dict[str, Any] = {"tethys_layer_backend": backend, "tethys_layer_hosts": [], "tethys_layer_redis": []}
    look = RedisLook(Inputs.given(asked, options, found), Facts.given(found))
    server = look.server
    # The way back is open whatever the inventory says by now.
    reasons = [] if look.goal == "remove" else _reasons(options, found, portals, asked, hosts)
    if not server.get("root"):
        reasons.append(not_root())
    elif look.goal == "site" and not reasons:
        look.redis_reasons()
        reasons += look.problems
    trusted = trust.verdict(server.get("trust"), uses=trust.OF_REDIS)
    if look.goal != "check":
        reasons += trusted.refusals
    files = found.get("files") or {}
    # Where reasons were not asked for, the address may be none.
    due = None if reasons or look.goal not in ("site", "check") else _certificate_due(options, files)
    authority = str(files.get(FILES[2]) or "")
    if due and authority and not files.get(AUTHORITY_KEY):
        reasons.append(
            Problem(
                "authority-key-missing",
                "redis_container_tls_dir",
                f"The certificate of {options['name']} has to be made anew, and redis_container_tls_dir holds the"
                " authority's ca.crt without its ca.key: put that back, or, for a new authority, take ca.crt away.",
            )
        )
    return {
        **look.of_redis(),
        "refusals": texts(reasons),
        "codes": codes(reasons),
        "warnings": texts(look.warnings),
        "announce": look.announce,
        "trust": {"lines": trust.lines(trusted, {}), "problems": texts(trusted.refusals)},
        "backend": backend,
        "prefix": portals[0]["prefix"] if portals else "asgi",
        "certificate_due": due,
        # Its key stays, so that what it has given is good until its own end.
        "authority_due": bool(due and authority and out_of_time(authority, int(options["renew_days"]))),
        "portal": {"group": ""},
        "sentinel": plan_of(options["name"], servers_of(options["names"], hosts), hosts) if look.watched else None,
    }


def _certificate_due(options: Mapping[str, Any], files: Mapping[str, str]) -> str | None:
    """Why the certificate of the private authority has to be made, or made again."""
    if options["certificate_given"]:
        return None
    cert, key, ca = (str(files.get(name) or "") for name in FILES)
    if not (cert and key and ca):
        return "is not there yet"
    return certificate_problem(cert, key, ca, str(options["address"]), int(options["renew_days"]))
