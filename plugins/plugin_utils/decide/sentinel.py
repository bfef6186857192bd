# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Redis under Sentinel: which server is the primary, and what is in the way of a failover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import ContainerFacts, Server
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.image import image_version
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import (
    Hosts,
    HostVariables,
    Place,
    SentinelStep,
    SentinelView,
    SharedServer,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import RedisOptions
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem
from ansible_collections.tethys.channels.plugins.plugin_utils.values import show, whole_number

STANDALONE = "standalone"
SENTINEL = "sentinel"
# The fewest servers of which most are left when one is gone.
FEWEST = 3
# The first Redis whose sentinels know users.
OLDEST = (6, 2)


def topology_of(variables: HostVariables) -> str:
    """How the Redis of a host stands to those of the others."""
    return str(variables.get("redis_container_topology") or STANDALONE)


def authority_reasons(name: str, hosts: Hosts, authority: str) -> list[Problem]:
    """Why the servers would not trust each other while one after the other gets another certificate.

    Args:
        name: the server's.
        hosts: every host's variables by its name, with what the sentinels said.
        authority: the certificate of the CA by which they will verify each other, empty if it is to be created.
    """
    present = str(_view(hosts[name]).get("authority") or "").strip()
    if not (_view(hosts[name]).get("set_up") and present) or authority.strip() == present:
        return []
    return [
        Problem(
            "authority-differs",
            "redis_container_tls_dir",
            f"The CA of the certificate of {name} is not the one that the servers verify each other with, and"
            " replicas would refuse their primary: run with redis_container_topology standalone once,"
            " and then with sentinel; or give redis_container_tls_dir the files of before.",
        )
    ]


def _view(variables: HostVariables) -> SentinelView:
    """What that server's own Sentinel said in this run; nothing where it was not asked."""
    return (variables.get("__preflight_found") or {}).get("sentinel") or {}


def _container(variables: HostVariables) -> ContainerFacts:
    """The Sentinel container that this run found on a server."""
    server: Server = (variables.get("__preflight_found") or {}).get("server") or {}
    return server.get("sentinel_container") or {}


def present_primary(servers: Sequence[SharedServer], hosts: Hosts) -> Place | None:
    """Where most sentinels have the primary, or all that answer; None where they do not agree, or there are none yet.

    If no Sentinel answers, it is the only Redis that is not a replica, or the one that all of them recorded last.
    """
    views = [_view(hosts[server["name"]]) for server in servers]
    agreed = _most([view.get("primary") for view in views], len(servers))
    if agreed or any(view.get("primary") for view in views) or not any(view.get("set_up") for view in views):
        return agreed
    alone = [server for server, view in zip(servers, views) if view.get("role") == "primary"]
    if len(alone) == 1:
        return {"host": alone[0]["address"], "port": alone[0]["port"]}
    return _most([view.get("last") for view in views], len(servers))


def _most(places: Sequence[Place | None], servers: int) -> Place | None:
    """The place that most of them name, or all that name any."""
    votes = Counter((str(place["host"]), int(place["port"])) for place in places if place)
    [(place, count)] = votes.most_common(1) or [(("", 0), 0)]
    agreed = count > servers // 2 or 0 < count == sum(votes.values())
    return {"host": place[0], "port": place[1]} if agreed else None


def plan_of(name: str, servers: Sequence[SharedServer], hosts: Hosts) -> SentinelStep:
    """What a run does with the Redis and the Sentinel of one server: who is, or begins as, the primary."""
    found = present_primary(servers, hosts)
    here = next((server for server in servers if server["name"] == name), servers[0])
    return {
        # Before there is one, the first of them begins.
        "primary": found or {"host": servers[0]["address"], "port": servers[0]["port"]},
        "is_primary": found == {"host": here["address"], "port": here["port"]},
        "port": here["sentinel_port"],
        "sentinels": [{"host": server["address"], "port": server["sentinel_port"]} for server in servers],
    }


def topology_reasons(name: str, servers: Sequence[SharedServer], hosts: Hosts) -> list[Problem]:
    """What speaks against the servers together, whatever was found on them."""
    topologies = {server["name"]: topology_of(hosts[server["name"]]) for server in servers}
    mine = topology_of(hosts[name])
    if mine not in (STANDALONE, SENTINEL):
        return []  # refused by its choices
    others = sorted(other for other, topology in topologies.items() if topology != mine)
    if others:
        return [
            Problem(
                "topologies-differ",
                "redis_container_topology",
                f"redis_container_topology is {mine} on {name} and {show(topologies[others[0]])} on {others[0]}: give"
                " all hosts of the group the same. Hosts that share the messages cannot be replaced by each other.",
            )
        ]
    if mine == SENTINEL and len({str(hosts[server["name"]].get("redis_container_password")) for server in servers}) > 1:
        return [
            Problem(
                "passwords-differ",
                "redis_container_password",
                "redis_container_password is not the same on all hosts of the group, and redis_container_topology is"
                " sentinel: give all of them one, since any of them may come to serve the portals.",
            )
        ]
    if mine == SENTINEL and (len(servers) < FEWEST or len(servers) % 2 == 0):
        return [
            Problem(
                "sentinels-not-odd",
                "redis_container_topology",
                f"redis_container_topology is sentinel, and the group of the shared Redis has {len(servers)}"
                f" host{'s' if len(servers) > 1 else ''} ({', '.join(topologies)}): Sentinel needs an odd number of at"
                f" least {FEWEST}, so that most of them can agree; add or take away one, or set"
                " redis_container_topology to standalone.",
            )
        ]
    return []


def host_reasons(options: RedisOptions, image: str, server: Server) -> Iterable[Problem]:
    """Yield what speaks against Sentinel on one server."""
    version = image_version(image)
    numbers = tuple(int(part) for part in (version or "").split(".") if part)
    # Of a whole number, the last that there was.
    if "redis" in image and numbers and (numbers if len(numbers) > 1 else (*numbers, 99)) < OLDEST:
        yield Problem(
            "image-without-users",
            "redis_container_image",
            f"redis_container_image is {image}, and redis_container_topology is sentinel, whose sentinels support"
            " users since Redis 6.2: set the image to a later one.",
        )
    if options["redis_container_engine"] != "docker":
        yield Problem(
            "sentinel-not-in-docker",
            "redis_container_engine",
            f"redis_container_engine is {options['redis_container_engine']}, and redis_container_topology is"
            " sentinel, which runs in Docker only: leave redis_container_engine away.",
        )
    if ":" in str(options.get("address")):
        yield Problem(
            "sentinel-needs-ipv4",
            "redis_container_address",
            f"redis_container_address is {options['address']}, and redis_container_topology is sentinel, which"
            " supports IPv4 addresses only: set an IPv4 address for each server.",
        )
    port = options["sentinel_port"]
    if port == whole_number(options["redis_container_port"]):
        yield Problem(
            "sentinel-port-of-redis",
            "redis_container_sentinel_port",
            f"redis_container_sentinel_port is {port}, on which Redis answers (redis_container_port): set it to"
            " another port.",
        )
    yield from _container_reasons(port, server)


def _container_reasons(port: int, server: Server) -> Iterable[Problem]:
    """Yield why the container of Sentinel cannot have its name, or its port."""
    ours: ContainerFacts = server.get("sentinel_container") or {}
    if ours and "tethys.channels.config" not in ours.get("labels", {}):
        yield Problem(
            "container-of-somebody",
            "redis_container_sentinel_name",
            f"redis_container_sentinel_name is {ours['name']}, and the container of that name ({ours['image']}) is"
            " not this collection's: set redis_container_sentinel_name to another name.",
        )
    elif ours.get("running") and ours.get("ports") and port not in ours["ports"]:
        yield Problem(
            "sentinel-port-differs",
            "redis_container_sentinel_port",
            f"redis_container_sentinel_port is {port}, and the Sentinel that runs on this server answers on"
            f" {ours['ports'][0]}, which the others use: set it to that, or run with"
            " redis_container_topology standalone once, and then with sentinel.",
        )
    elif not ours.get("running"):
        for row in server.get("listeners") or []:
            if row["port"] == port and row.get("address") in ("redis", "everything"):
                yield Problem(
                    "sentinel-port-in-use",
                    str(port),
                    f"Port {port}, on which Sentinel is to answer, is held by process {row['pid']} of"
                    f" {row['user']} ({row['command']}): stop it, or set redis_container_sentinel_port to a free"
                    " port on all hosts.",
                )
                break


def quorum_reasons(servers: Sequence[SharedServer], hosts: Hosts, container: str) -> list[Problem]:
    """Why nobody can say who the primary is, so that a run could only guess."""
    unseen = [str(server["name"]) for server in servers if not _view(hosts[server["name"]])]
    if unseen:
        return [
            Problem(
                "sentinels-unreached",
                "redis_container_topology",
                f"redis_container_topology is sentinel, and this run does not reach {', '.join(unseen)}: name all hosts"
                " of the group, or, with --limit, portals only.",
            )
        ]
    views = {str(server["name"]): _view(hosts[server["name"]]) for server in servers}
    silent = [f"on {name} it {view['problem']}" for name, view in views.items() if view["problem"]]
    answering, most = len(servers) - len(silent), len(servers) // 2 + 1
    # Where most were never started, a first run was stopped, and this one goes on with it.
    there = [name for name in views if _container(hosts[name])]
    if len(there) >= most > answering:
        trusted = all(view["problem_code"] != "certificate-not-trusted" for view in views.values())
        return [
            _silent(len(servers), answering, silent, container)
            if trusted
            else _untrusted(len(servers), answering, silent)
        ]
    primary = present_primary(servers, hosts)
    if primary is None and not any(view["set_up"] for view in views.values()):
        return []
    if primary is None:
        return [
            Problem(
                "primary-disputed",
                "redis_container_topology",
                "The sentinels do not agree on who the primary is, as during a failover: wait a minute, and run again.",
            )
        ]
    if primary not in [{"host": server["address"], "port": server["port"]} for server in servers]:
        return [
            Problem(
                "primary-not-in-group",
                "redis_container_topology",
                f"Sentinel has the primary at {primary['host']}:{primary['port']}, which is not a host of the group of"
                " the shared Redis: put that host back, with its redis_container_address and redis_container_port.",
            )
        ]
    return []


def _untrusted(servers: int, answering: int, silent: Sequence[str]) -> Problem:
    """Return the problem of sentinels whose certificate cannot be verified."""
    return Problem(
        "sentinels-not-trusted",
        "redis_container_topology",
        f"{answering} of {servers} sentinels have a valid certificate ({'; '.join(silent)}): run with"
        " redis_container_topology standalone once, which creates valid certificates, and then with sentinel.",
    )


def _silent(servers: int, answering: int, silent: Sequence[str], container: str) -> Problem:
    """Return the problem of sentinels that do not answer."""
    return Problem(
        "sentinels-silent",
        "redis_container_topology",
        f"Of {servers} sentinels {answering} {'answers' if answering == 1 else 'answer'}"
        f" ({'; '.join(silent)}), and only a majority can determine the primary: start them there"
        f" (`{shell_words('docker', 'start', container)}`), and run again.",
    )
