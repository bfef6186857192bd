# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host of the Redis that portals share: what is in the way of it, and what a run does there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.plugin_utils.class_choice import chosen_class, shared_reason
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import trust
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.certificate import (
    AUTHORITY_KEY,
    FILES,
    CertificateFound,
    authority_due,
    certificate_due,
    is_about_tls,
    next_authority,
    tls_reasons,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.image import image_version
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.portal import not_root
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import Redis, address_reason, clock_reasons
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis_way import shared_way
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.sentinel import (
    SENTINEL,
    authority_reasons,
    host_reasons,
    plan_of,
    quorum_reasons,
    topology_reasons,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import (
    misspelt,
    wrong_role_values,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import Hosts
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import RedisOptions
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    MEMORY_BACKEND,
    Data,
    Facts,
    Inputs,
    Problem,
    codes,
    texts,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.shared import servers_of
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show, truth


class Site(TypedDict):
    """What a portal needs of the Redis that it shares; `core_reason` is why it has core where it names no class."""

    name: str
    backend: str
    prefix: str
    core_reason: str


class RedisFound(CertificateFound):
    """What is known of a server of the shared Redis."""

    names: Sequence[str]
    values: Data
    known: object
    server: Server


# What all portals have alike.
COMMON: tuple[tuple[Literal["backend", "prefix"], str], ...] = (
    ("backend", "tethys_layer_backend"),
    ("prefix", "prefix (of portal_config_layer_options)"),
)


def site_reasons(portals: Sequence[Site]) -> list[Problem]:
    """Why these portals cannot have one login to one Redis."""
    reasons = []
    for key, variable in COMMON:
        values = {portal[key]: portal["name"] for portal in reversed(portals)}
        if len(values) > 1:
            told = " and ".join(f"{show(value)} on {name}" for value, name in sorted(values.items()))
            reason = portals[0]["core_reason"]
            why = f" ({reason})" if key == "backend" and reason else ""
            reasons.append(
                Problem(
                    "portals-differ",
                    key,
                    f"{variable} is {told}{why}, and they share one Redis: give them the same, or, where they have"
                    " nothing to say to each other, a group of Redis hosts each (-e tethys_layer_redis=… with -e"
                    " tethys_hosts=…).",
                )
            )
    return reasons


def _sites(names: Iterable[str], hosts: Hosts, core_reason: str) -> list[Site]:
    """Return what each portal requires of its Redis."""
    found: list[Site] = []
    for name in sorted(names):
        variables = hosts[name]
        options = variables.get("portal_config_layer_options")
        prefix = str((options.get("prefix") if isinstance(options, Mapping) else None) or "asgi")
        backend = chosen_class(variables.get("tethys_layer_backend"), core_reason)
        found.append({"name": str(name), "backend": backend, "prefix": prefix, "core_reason": core_reason})
    return found


def _own_reasons(name: str, options: RedisOptions) -> Iterable[Problem]:
    """Yield what a host that serves others cannot have: another transport, an old image, no access rules."""
    if options["transport_asked"] not in ("", "tls"):
        yield Problem(
            "transport-not-tls",
            "redis_container_transport",
            f"redis_container_transport is {show(options['transport_asked'])} for {name}, whose Redis answers"
            " other servers and so by tls only: remove it for this host.",
        )
    acl, image = options["redis_container_acl"], str(options["redis_container_image"])
    old = (image_version(image) or "9").split(".")[0] in ("1", "2", "3", "4", "5")
    if old and re.search(r"redis[^/]*:", image):
        yield Problem(
            "image-without-users",
            "redis_container_image",
            f"redis_container_image is {image}, and Redis 5 has neither users nor TLS: set it to Redis 6 or later.",
        )
    elif str(acl) != "auto" and not truth(acl):
        yield Problem(
            "acl-off",
            "redis_container_acl",
            f"redis_container_acl is {show(acl)} for {name}, which other servers reach: remove it.",
        )


def _portal_reasons(name: str, values: Data, portals: Sequence[Site]) -> Iterable[Problem]:
    """Yield what makes a host of the shared Redis a portal as well."""
    if values.get("tethys_portal_name"):
        yield Problem(
            "portal-name-on-redis-host",
            "tethys_portal_name",
            f"tethys_portal_name is {show(values['tethys_portal_name'])} for {name}, a host of the Redis that the"
            " portals share: set it for the portals only.",
        )
    if name in [portal["name"] for portal in portals]:
        yield Problem(
            "portal-is-redis-host",
            name,
            f"{name} is a portal and a host of the Redis that the portals share: remove it from one of the two"
            " groups; a Redis that serves other machines belongs on a separate server.",
        )


def _reasons(
    options: RedisOptions,
    found: RedisFound,
    portals: Sequence[Site],
    asked: Data,
    hosts: Hosts,
) -> list[Problem]:
    """Everything that the variables, the clock and the address say against it."""
    values, name, server = found.get("values") or {}, options["name"], found["server"]
    backend = asked["tethys_layer_backend"]
    own = {key: value for key, value in values.items() if key.startswith("redis_container_")}
    reasons = [*misspelt(found.get("names") or [], found.get("known") or []), *wrong_role_values(own, asked)]
    reasons += _portal_reasons(name, values, portals)
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
    reasons += _own_reasons(name, options)
    servers = servers_of(options["names"], hosts)
    reasons += topology_reasons(name, servers, hosts)
    if options["topology"] == SENTINEL:
        reasons += host_reasons(options, str(options["redis_container_image"]), server)
        if not reasons and server.get("root"):
            reasons += quorum_reasons(servers, hosts, options["sentinel_name"])
            reasons += authority_reasons(name, hosts, next_authority(options, found.get("files") or {}))
    reasons += clock_reasons(server, name)
    if not any(is_about_tls(reason) for reason in reasons):
        reasons += tls_reasons(name, own, found)
    return reasons


def _authority_key_missing(name: str) -> Problem:
    return Problem(
        "authority-key-missing",
        "redis_container_tls_dir",
        f"The certificate of {name} has to be recreated, and redis_container_tls_dir holds the"
        " CA's ca.crt without its ca.key: restore ca.key, or, for a new CA, delete ca.crt.",
    )


class Certificate(TypedDict):
    """Why the private CA is to give a certificate, or None, and whether its own is to be made again as well."""

    certificate_due: str | None
    authority_due: bool


NO_CERTIFICATE: Certificate = {"certificate_due": None, "authority_due": False}


def _certificate(options: RedisOptions, files: Mapping[str, str], reasons: list[Problem]) -> Certificate:
    """Return what is due, and add the problem of a CA that lacks its key."""
    due = certificate_due(options, files)
    if due and files.get(FILES[2]) and not files.get(AUTHORITY_KEY):
        reasons.append(_authority_key_missing(options["name"]))
    return {"certificate_due": due, "authority_due": authority_due(options, files)}


def redis_plan(options: RedisOptions, found: RedisFound, hosts: Hosts) -> Plan:
    """The plan for one server of the shared Redis, with every reason against it, in the form that `plan` has.

    Args:
        options: `goal`, `name` (the inventory's of this server), `names` (of all servers of that Redis), the names of
            its `portals`, `address`, and the role's variables that matter, each with its default.
        found: `names` and `values` of the host's variables, `known` ones of the user's own, `files` (the texts of the
            certificate's files on the controller, by variable, and of `authority_key`), `unreadable` (which of these,
            or of `redis_container_tls_dir`, are there and say nothing), and `server` as the module returned it.
        hosts: every host's variables by its name, with what the sentinels said.

    Returns:
        Besides what `plan` has, `certificate_due`, why the private CA has to issue a certificate, or None,
        `authority_due`, whether the CA's own certificate has to be renewed too, and `sentinel`, if it monitors this
        Redis.
    """
    core_reason = shared_reason(options["portals"], hosts, options["names"])
    portals = _sites(options["portals"], hosts, core_reason)
    backend = portals[0]["backend"] if portals else chosen_class(None, core_reason)
    # The part of the portals' variables that matters here.
    asked: dict[str, object] = {"tethys_layer_backend": backend, "tethys_layer_hosts": [], "tethys_layer_redis": []}
    watched = options.get("topology") == SENTINEL
    look = Redis(Inputs.given(asked, options, found), Facts(server=found["server"]), shared_way(options, watched))
    server = look.server
    # `remove` is allowed whatever the inventory says now.
    reasons = [] if look.goal == "remove" else _reasons(options, found, portals, asked, hosts)
    if not server.get("root"):
        reasons.append(not_root())
    elif look.goal == "site" and not reasons:
        look.redis_reasons()
        reasons += look.problems
    trusted = trust.verdict(server.get("trust"), uses=trust.OF_REDIS)
    if look.goal != "check":
        reasons += trusted.refusals
    # Where reasons were not asked for, the address may be none.
    judges_files = not reasons and look.goal in ("site", "check")
    certificate = _certificate(options, found.get("files") or {}, reasons) if judges_files else NO_CERTIFICATE
    return {
        **look.of_redis(),
        "refusals": texts(reasons),
        "codes": codes(reasons),
        "warnings": texts(look.warnings),
        "announce": look.announce,
        "trust": {"lines": trust.lines(trusted, {}), "problems": texts(trusted.refusals)},
        "backend": backend,
        "prefix": portals[0]["prefix"] if portals else "asgi",
        **certificate,
        "portal": {"group": ""},
        "sentinel": plan_of(options["name"], servers_of(options["names"], hosts), hosts) if watched else None,
    }
