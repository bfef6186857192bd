#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check, from the server that will use it, whether a channel layer can work with a Redis."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_ping
short_description: Check whether a channel layer can work with a Redis
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Logs in to each server as the portal would, and sends it each kind of command that the layer class needs.
  - These commands do not change anything.
seealso:
  - module: tethys.channels.redis_settings
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.attributes.read_only
options:
  endpoints:
    description: The servers, as the plan lists them.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: The server's name or address.
        type: str
      port:
        description: Its port.
        type: int
      path:
        description: Its unix socket, instead of host and port.
        type: path
      username:
        description: The user to log in as, where the server has users.
        type: str
      password:
        description: The password to log in with.
        type: str
      tls:
        description: Whether the connection is encrypted.
        type: bool
        default: false
      ca:
        description: The file with the CA's certificate. With this or O(endpoints[].ca_data) the server has to
          show one that fits; without, the portal's CA is unknown here.
        type: path
      ca_data:
        description: The CA's certificate itself, in PEM form.
        type: str
      ca_beside:
        description: A file with certificates of CAs that the portal trusts besides those of the system.
        type: path
      inventory_name:
        description: The inventory's name of the server, where its Redis is the collection's own, for the messages.
        type: str
      db:
        description: The number of the database.
        type: int
        default: 0
      sentinel:
        description:
          - The name of the primary that a Sentinel watches, where the server is one.
          - With O(endpoints[].inventory_name) the primary that it names is checked as well, by the same login, and it
            does no harm where the fewer of several such sentinels do not answer.
        type: str
  backend:
    description: The layer class.
    type: str
    required: true
  prefix:
    description: The prefix of the layer's keys and channels.
    type: str
    default: asgi
  container:
    description:
      - The container of this server that has to answer at the one of O(endpoints). Nothing else is sent a password,
        unless it shows the certificate that O(endpoints[].ca) requires.
    type: str
  engine:
    description: The engine that O(container) is in.
    type: str
    choices: [docker, podman]
    default: docker
  retries:
    description: How many seconds to keep trying a server that does not answer.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Check the existing Redis
  tethys.channels.redis_ping:
    endpoints:
      - host: redis.example.org
        port: 6379
        password: "{{ vault_redis_password }}"
    backend: channels_redis.pubsub.RedisPubSubChannelLayer
"""

RETURN = r"""
problems:
  description: A sentence for each server that the layer cannot work with.
  returned: always
  type: list
  elements: str
versions:
  description: The version of each server that lets this user ask for it, else null.
  returned: always
  type: list
  elements: str
"""

import ssl
import time
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import Redis, RedisError
from ansible_collections.tethys.channels.plugins.module_utils.redis.peer import Container, answers, login
from ansible_collections.tethys.channels.plugins.module_utils.redis.sentinels import primary_of

# How a server of a Cluster answers for keys that are another's, or for keys of several servers at once.
CLUSTER = ("MOVED", "ASK ", "CLUSTERDOWN", "CROSSSLOT")

# How a server answers that lets a user in and does not let it send this.
NO_RIGHT = "NOPERM"
# What OpenSSL says of a certificate that has another host name, or another address.
OTHER_HOST = (62, 64)


def probes(backend: str, prefix: str) -> list[list[str]]:
    """Commands that need the layer's rights and change nothing."""
    name = f"{prefix}_tethys_channels_ping"
    if ".pubsub." in backend:
        # Nothing is published where it subscribes: no message of another portal's run comes between the answers.
        silent = f"{name}_silent"
        return [["PING"], ["PUBLISH", name, ""], ["SUBSCRIBE", silent], ["UNSUBSCRIBE", silent]]
    # A group's channels are keys of many slots, which a Cluster refuses to take at once, also one of a single server.
    return [["PING"], ["ZCOUNT", name, "-inf", "+inf"], ["EVAL", "return 1", "2", f"{name}:a", f"{name}:b"]]


def commands_for(endpoint: dict[str, Any], backend: str, prefix: str) -> list[list[str]]:
    """What to send to one server; a Sentinel answers nothing but PING of these."""
    return [["PING"]] if endpoint.get("sentinel") else probes(backend, prefix)


def ask_watched(endpoints: list[dict[str, Any]], backend: str, prefix: str) -> tuple[list[str], list[str | None]]:
    """The sentinels of a Redis of the collection's own, and the primary that they name."""
    problems, primaries = [], []
    for endpoint in endpoints:
        try:
            with Redis(endpoint) as redis:
                found = primary_of(redis)
        except ssl.SSLCertVerificationError as error:
            problems.append(sentence(endpoint, untrusted(endpoint, error), None, ""))
        except RedisError as error:
            problems.append(sentence(endpoint, f"refuses the portal ({error})", None, ""))
        except (OSError, ValueError) as error:
            problems.append(sentence(endpoint, f"cannot be reached ({error})", None, ""))
        else:
            primaries += [found] if found else []
    if len(primaries) <= len(endpoints) // 2:
        return [
            *problems,
            f"Of {len(endpoints)} sentinels {len(primaries)} can report the primary to this portal, and a majority"
            " is required: run tethys.channels.site without --limit, which shows what is wrong on their servers.",
        ], []
    # Whom most of them name.
    primary = max(primaries, key=primaries.count)
    known = {**endpoints[0], **primary, "sentinel": None, "inventory_name": "the primary by Sentinel's word"}
    problem, version = ask(known, commands_for(known, backend, prefix))
    return [sentence(known, problem, None, "")] if problem else [], [version]


def place(endpoint: dict[str, Any]) -> str:
    """Where a server is, without its password."""
    return str(endpoint.get("path") or f"{endpoint.get('host')}:{endpoint.get('port')}")


def sentence(endpoint: dict[str, Any], problem: str, container: str | None, logs: str) -> str:
    """What the administrator reads of a server that the layer cannot work with."""
    where = place(endpoint)
    if container:
        return f"Container {container}: its Redis at {where} {problem}: read `{logs}`."
    if endpoint.get("inventory_name"):
        kind = "Sentinel" if endpoint.get("sentinel") else "Redis"
        if NO_RIGHT in problem and not endpoint.get("sentinel"):
            return (
                f"The shared Redis at {where} ({endpoint['inventory_name']}) {problem}, queried from this portal: its"
                " user has the rights of another class of the layer (tethys_layer_backend), or of another prefix. Run"
                " tethys.channels.site without --limit, or with the Redis hosts in it."
            )
        return (
            f"The shared {kind} at {where} ({endpoint['inventory_name']}) {problem}, queried from this portal: let this"
            " server reach that port (firewalls included), or correct redis_container_address; if the"
            " password or the certificate is what differs, run tethys.channels.site without --limit."
        )
    hint = " Each class of the layer needs other rules; tethys_layer_backend selects the class."
    return (
        f"tethys_layer_hosts: the Redis at {where} {problem}: correct its address, its credentials or its access rules."
        f"{hint if NO_RIGHT in problem else ''}"
    )


def untrusted(endpoint: dict[str, Any], error: ssl.SSLCertVerificationError) -> str:
    """Why a server's certificate is not trusted."""
    return f"shows a certificate that its CA did not issue for {endpoint['host']} ({error.verify_message})"


def ask(
    endpoint: dict[str, Any], commands: list[list[str]], container: Container | None = None
) -> tuple[str | None, str | None]:
    """The problem, or None, and the version, or None; of a container of this server, where it has to be one."""
    try:
        if container:
            answers(endpoint, container)
        with login(endpoint, container) if container else Redis(endpoint) as redis:
            for command in commands:
                redis.command(*command)
            version = redis.version()
    except ssl.SSLCertVerificationError as error:
        # Which certificates the portal trusts is the portal's: what can be said here is that a server answers there, or
        # that a certificate which is trusted here is for another host.
        known = endpoint.get("ca") or endpoint.get("ca_data") or endpoint.get("ca_beside")
        if not known and error.verify_code not in OTHER_HOST:
            return None, None
        return untrusted(endpoint, error), None
    except RedisError as error:
        if str(error).startswith(CLUSTER):
            return "is part of a Redis Cluster, which channels_redis cannot use", None
        return f"refuses the layer ({error})", None
    except (OSError, ValueError) as error:
        return f"cannot be reached ({error})", None
    major = (version or "").split(".", maxsplit=1)[0]
    if major.isdecimal() and int(major) < 5:
        return f"is Redis {version}, and channels_redis needs 5.0 or later", version
    return None, version


ARGUMENTS = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "host": {"type": "str"},
            "port": {"type": "int"},
            "path": {"type": "path"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "tls": {"type": "bool", "default": False},
            "ca": {"type": "path"},
            "ca_data": {"type": "str"},
            "ca_beside": {"type": "path"},
            "inventory_name": {"type": "str"},
            "db": {"type": "int", "default": 0},
            "sentinel": {"type": "str"},
        },
    },
    "backend": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": "asgi"},
    "container": {"type": "str"},
    "engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
    "retries": {"type": "int", "default": 0},
}


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    params = module.params
    problems: list[str] = []
    versions: list[str | None] = []
    end = time.monotonic() + params["retries"]
    container = Container(params["engine"], params["container"]) if params["container"] else None
    watched = [one for one in params["endpoints"] if one["sentinel"] and one["inventory_name"]]
    if watched:
        problems, versions = ask_watched(watched, params["backend"], params["prefix"])
    for endpoint in params["endpoints"]:
        if endpoint in watched:
            continue
        commands = commands_for(endpoint, params["backend"], params["prefix"])
        problem, version = ask(endpoint, commands, container)
        while problem and time.monotonic() < end:
            time.sleep(0.2)
            problem, version = ask(endpoint, commands, container)
        versions.append(version)
        if problem:
            logs = ENGINES[params["engine"]].logs(params["container"] or "")
            problems.append(sentence(endpoint, problem, params["container"], logs))
    module.exit_json(changed=False, problems=problems, versions=versions)


if __name__ == "__main__":
    main()
