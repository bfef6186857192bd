#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask the Sentinel and the Redis of this server who the primary is, and how they are."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sentinel_info
short_description: Query a Sentinel of this collection for the primary
version_added: 0.9.0
author:
  - tethys.channels contributors (@tethys-channels)
description:
  - Queries this server's Sentinel for the primary and the number of other sentinels. Queries this server's Redis for
    whether it is the primary or a replica.
seealso:
  - module: tethys.channels.redis_sentinel
extends_documentation_fragment:
  - tethys.channels.attributes
  - tethys.channels.attributes.read_only
attributes:
  platform:
    description: Any POSIX system; as root.
options:
  directory:
    description: The folder in which M(tethys.channels.redis_settings) stores the credentials.
    type: path
    default: /etc/tethys_channels
  address:
    description: The address of this server on which Redis and Sentinel listen.
    type: str
    required: true
  port:
    description: The port of Redis.
    type: int
    default: 6379
  sentinel_port:
    description: The port of Sentinel.
    type: int
    default: 26379
  servers:
    description: The number of servers, each with a Redis and a Sentinel.
    type: int
    required: true
  wait:
    description: The number of seconds to wait until everything is fine, which is when RV(sentinel.lacking) is empty.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Wait for replication and Sentinel
  tethys.channels.sentinel_info:
    address: 192.0.2.5
    servers: 3
    wait: 60
"""

RETURN = r"""
sentinel:
  description: What was found.
  returned: always
  type: dict
  contains:
    set_up:
      description: Whether a Sentinel was set up on this server.
      type: bool
    problem:
      description: Why it does not answer, or null.
      type: str
    problem_code:
      description:
        - The same for programs, V(not-set-up), V(watches-nothing), V(certificate-not-trusted), where its certificate
          cannot be verified, or V(silent); or null.
      type: str
    primary:
      description: Where it has the primary, as C(host) and C(port), or null.
      type: dict
    last:
      description: Where it had the primary when it last wrote that down, in the same form, or null.
      type: dict
    authority:
      description: The certificate of the CA by which the servers verify each other, in PEM form, or null.
      type: str
    role:
      description: What the Redis of this server is, C(primary) or C(replica), or null where it does not answer.
      type: str
    lacking:
      description: What is not as it should be, each as the rest of a sentence that begins with the server.
      type: list
      elements: str
"""

import ssl
import time
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.boundary import clean
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.redis import sentinels
from ansible_collections.tethys.channels.plugins.module_utils.redis.client import (
    MOST_DIGITS,
    MOST_ERROR,
    NO_REDIS,
    RedisError,
    pairs,
)
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PRIMARY_NAME

PAUSE = 0.3


def _problem(code: str, text: str) -> dict[str, str]:
    """Return why a Sentinel cannot be queried, for programs and for people."""
    return {"problem_code": code, "problem": text}


def of_sentinel(server: sentinels.Server, servers: int) -> dict[str, Any]:
    """What the Sentinel of this server returns."""
    found: dict[str, Any] = {
        "set_up": bool(server.configurations()),
        "problem": None,
        "problem_code": None,
        "primary": None,
        "lacking": [],
    }
    if not found["set_up"]:
        return {**found, **_problem("not-set-up", "was not set up yet"), "lacking": ["has no Sentinel yet"]}
    lacking = found["lacking"]
    try:
        with server.sentinel() as sentinel:
            found["primary"] = sentinels.primary_of(sentinel)
            if not found["primary"]:
                lacking.append("has a Sentinel that watches no primary")
                return {**found, **_problem("watches-nothing", "watches no primary")}
            about = pairs(sentinel.command("SENTINEL", "MASTER", PRIMARY_NAME))
            copies = sentinels.healthy_copies(sentinel)
            flags, others = clean(str(about.get("flags")), MOST_ERROR), str(about.get("num-other-sentinels"))
            if not others.isdecimal() or len(others) > MOST_DIGITS:
                raise RedisError(NO_REDIS)
    except (OSError, RedisError) as error:
        code = "certificate-not-trusted" if isinstance(error, ssl.SSLCertVerificationError) else "silent"
        lacking.append(f"has a Sentinel that does not answer ({error})")
        return {**found, **_problem(code, f"does not answer ({error})")}
    if flags != "master":
        lacking.append(f"has a Sentinel to which the primary is {flags}")
    if int(others) < servers - 1:
        lacking.append(f"has a Sentinel that has found {others} of {servers - 1} others")
    if copies < servers - 1:
        lacking.append(f"has a Sentinel that sees {copies} of {servers - 1} replicas")
    return found


def of_redis(server: sentinels.Server, primary: dict[str, Any] | None) -> dict[str, Any]:
    """What the Redis of this server returns."""
    try:
        found = server.role()
    except (OSError, RedisError) as error:
        return {"role": None, "lacking": [f"has a Redis that does not answer ({error})"]}
    lacking = []
    here = {"host": server.place["host"], "port": server.port}
    if primary and (found["role"] == "primary") != (primary == here):
        lacking.append(f"has a Redis that is {found['role']} against Sentinel's word")
    elif found["role"] == "replica" and (found["of"] != primary or not found["link"]):
        lacking.append("has a Redis that does not replicate the primary yet")
    return {"role": found["role"], "lacking": lacking}


def look(server: sentinels.Server, servers: int) -> dict[str, Any]:
    """Both."""
    sentinel = of_sentinel(server, servers)
    redis = of_redis(server, sentinel["primary"]) if server.credentials else {"role": None, "lacking": []}
    return {
        **sentinel,
        **redis,
        "last": server.last_primary(),
        "authority": server.authority(),
        "lacking": sentinel["lacking"] + redis["lacking"],
    }


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "default": "/etc/tethys_channels"},
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "sentinel_port": {"type": "int", "default": 26379},
            "servers": {"type": "int", "required": True},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    server = sentinels.Server(params["directory"], params["address"], params["port"], params["sentinel_port"])
    end = time.monotonic() + params["wait"]
    found = look(server, params["servers"])
    while found["lacking"] and time.monotonic() < end:
        time.sleep(PAUSE)
        found = look(server, params["servers"])
    module.exit_json(changed=False, sentinel=found)


if __name__ == "__main__":
    main()
