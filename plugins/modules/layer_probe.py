#!/usr/bin/python
# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: layer_probe
short_description: Verify that a message reaches every ASGI process of a Tethys Portal
version_added: 0.9.0
description:
  - Opens WebSockets to the portal's built-in consumer C(ws/app-lifecycle), until every process on the portal's ports
    has at least one. Then another process, which uses the portal's own settings, sends a message to their group, and
    the module counts how many WebSockets receive it.
  - Checks again after a time without messages, because some faults of a channel layer only appear then.
  - If the delivery check fails, the module does not fail. RV(probe.ok) is then false, and RV(probe.problems) lists the
    reasons.
options:
  prefix:
    description: The environment in which Tethys is installed. The module starts its C(bin/python).
    type: path
    required: true
  home:
    description: The folder that contains C(portal_config.yml), TETHYS_HOME.
    type: path
    required: true
  user:
    description: The user who runs the portal's processes. By default, the user of the web server.
    type: str
  host:
    description: The IPv4 address on which the processes listen.
    type: str
    default: 127.0.0.1
  ports:
    description: The ports on which the processes listen. Processes that share a socket have one port.
    type: list
    elements: int
    default: [8000]
  processes:
    description: The expected number of processes. With V(0), the module accepts any number.
    type: int
    default: 0
  idle_seconds:
    description:
      - The number of seconds without a message after which the module checks again. With V(0), it does not check
        again.
    type: int
    default: 0
  idle_always:
    description:
      - Whether the module checks again even if the layer's settings and client library show that silence does no
        harm. This is the case for the classes of C(channels_redis) without a read timeout that ends before Redis
        answers.
    type: bool
    default: true
  expected_layers:
    description:
      - The expected value of the setting C(CHANNEL_LAYERS). If neither this nor O(settings_file) is set, the setting
        is not compared.
    type: dict
  settings_file:
    description: The C(portal_config.yml) that contains the expected value, instead of O(expected_layers).
    type: path
  name:
    description: The name of this portal in O(among).
    type: str
  among:
    description:
      - The portals, including this one, on which the module runs with the same options at the same time. Each portal
        sends messages until each of its WebSockets has received messages from all portals, and all portals have
        confirmed this. The module then sends nothing else.
    type: list
    elements: str
  word:
    description:
      - A word that the portals in O(among) share for this check. Otherwise, any word. It is part of the name of the
        group that receives the message.
    type: str
  front:
    description:
      - The web server on this server in front of the processes. The module also requests a page and WebSockets
        through it, and each of these WebSockets has to receive the messages.
    type: dict
    suboptions:
      called:
        description: What a person finds it by.
        type: str
        default: The web server in front
      address:
        description: The address that it listens on.
        type: str
        default: 127.0.0.1
      port:
        description: The port that it listens on.
        type: int
        required: true
      tls:
        description: Whether it speaks TLS there. A certificate for another name, or out of date, fails the check.
        type: bool
        default: false
      name:
        description: The name by which browsers reach it; without it one that ALLOWED_HOSTS has.
        type: str
        default: ""
      fix:
        description: The sentence to print where it lets no WebSockets through.
        type: str
        default: ""
      closes_after:
        description: The seconds after which it closes a silent WebSocket, if that is too early.
        type: float
  url:
    description:
      - The portal's address for browsers. The controller sends the same requests to it as to O(front). Use it for a
        proxy on another machine, such as a load balancer. Include C(PREFIX_URL).
    type: str
  redis_container:
    description:
      - The name of the Redis container that the collection runs on this server, if it runs one. Where it did not start
        after the processes, they have no connection that it closed, so a WebSocket that they refuse with HTTP 500 is
        reported also if they accept the next one.
    type: str
    default: ""
  redis_engine:
    description: The engine in which that container is.
    type: str
    choices: [docker, podman]
    default: docker
  timeout:
    description: The number of seconds after which the check is stopped, not including the time without messages.
    type: int
    default: 60
seealso:
  - module: tethys.channels.layer_health
extends_documentation_fragment:
  - tethys.channels.portal_name
  - tethys.channels.attributes
attributes:
  check_mode:
    support: full
    description: Can run in check mode and return the same, since it changes nothing.
  diff_mode:
    support: N/A
    description: Changes nothing.
  platform:
    description: Runs on Linux, on the portal's own server; as root, since it reads which process holds which
      connection.
author:
  - tethys.channels contributors (@tethys-channels)
"""

EXAMPLES = r"""
- name: Verify the delivery, also after seven seconds of silence
  tethys.channels.layer_probe:
    prefix: /opt/conda/envs/tethys
    home: /var/lib/tethys
    ports: [8000]
    processes: 3
    idle_seconds: 7
  register: proof

- name: Stop when a message does not arrive everywhere
  ansible.builtin.assert:
    that: proof.probe.ok
    fail_msg: "{{ proof.probe.problems | join(' ') }}"
"""

RETURN = r"""
probe:
  description: The result of the delivery check.
  returned: always
  type: dict
  contains:
    ok:
      description: Whether everything that could be verified holds.
      type: bool
    problems:
      description: What is wrong, in sentences.
      type: list
      elements: str
    codes:
      description:
        - The same for programs, in the order of RV(probe.problems), with C(code), which is C(port-closed) where nothing
          listens, and does not change when its sentence does, and C(subject), which it is wrong with.
      type: list
      elements: dict
    provable:
      description: Whether delivery could be verified; if not, only the answers of the processes were checked.
      type: bool
    reason:
      description:
        - Why delivery could not be verified. V(in_memory) is one process on the in-memory layer, which nothing outside
          of it can send to; V(no_consumer) is a Tethys before 4.4; V(not_started) means that the portal's Python
          could not be used.
      type: str
    processes:
      description:
        - The processes that accept on the ports, with C(pid), C(user), C(port), C(age_seconds), C(sockets) (how many
          of our WebSockets it held), C(received) (how many of these received the first message), C(alive) (still
          running at the end), C(name) (what Supervisor calls it, or null).
      type: list
      elements: dict
    listeners:
      description: How many processes accept on each port, with C(port) and C(processes).
      type: list
      elements: dict
    messages:
      description: How many messages were sent to the group; more than one where a delivery was missing.
      type: int
    sent:
      description: The deliveries to expect, which is the number of WebSockets that a message was sent to.
      type: int
    received:
      description: The deliveries that came.
      type: int
    delivery_seconds:
      description: The time until the last of them, or null.
      type: float
    idle:
      description:
        - What was left after the silence, with C(seconds), C(of) (WebSockets before it), C(alive), C(received)
          (deliveries of the second message), C(close_codes) (how often each code). Null when it was not asked for or
          not come to.
      type: dict
    among:
      description:
        - With O(among), how many WebSockets this portal had (C(sockets)), and how many of them received messages
          of each portal (C(heard)). Else null.
      type: dict
    front:
      description:
        - With O(front) or O(url), the address (C(at)), what is there (C(through)), the status of the page (C(page)),
          how many WebSockets were open (C(sockets)), and how many got the first message (C(received)). Else null.
      type: dict
    settings_match:
      description: Whether the portal's CHANNEL_LAYERS is what was expected; null when nothing was.
      type: bool
    backend:
      description: The class of the portal's channel layer.
      type: str
    versions:
      description: The versions of the packages that carry the message.
      type: dict
    warnings:
      description: Sentences about what did not fail the check but is worth knowing.
      type: list
      elements: str
    seconds:
      description: How long the check took.
      type: float
"""

import contextlib
from typing import TYPE_CHECKING, Any

from ansible_collections.tethys.channels.plugins.module_utils import (
    facts,
    portal_env,
    portal_user,
)
from ansible_collections.tethys.channels.plugins.module_utils.delivery import front, messages, pages, processes, sockets
from ansible_collections.tethys.channels.plugins.module_utils.delivery.check import Check
from ansible_collections.tethys.channels.plugins.module_utils.module import AnsibleModule
from ansible_collections.tethys.channels.plugins.module_utils.secrets import secrets_in
from ansible_collections.tethys.channels.plugins.module_utils.server import proc

if TYPE_CHECKING:
    # Ansible sends it along; only the portal's Python loads it.
    from ansible_collections.tethys.channels.plugins.module_utils import portal_wire  # noqa: F401

IN_MEMORY = "channels.layers.InMemoryChannelLayer"
# Through the web server in front, it is unknown which process answers.
LEAST_THROUGH_FRONT = 4
MOST_THROUGH_FRONT = 12


def verify(given: dict[str, Any]) -> dict[str, Any]:
    """Verify what can be verified; returns what the module returns."""
    check = Check(given)
    name = portal_user.resolve_user(given["user"])
    who = portal_user.runner_for(name, given["home"])
    params = {"address": check.address, "word": check.word}
    params.update({name: given[name] for name in ("expected_layers", "settings_file")})
    problem = None if who else portal_user.user_problem(name, who, given["home"])
    with contextlib.ExitStack() as stack:
        portal: portal_env.PortalProcess | None = None
        try:
            # First, since it takes longest to start.
            if who:
                program = (given["prefix"], given["home"], who, portal_env.DELIVERY)
                portal = portal_env.PortalProcess(*program, params, portal_name=given["portal_name"])
                stack.enter_context(portal)
        except portal_env.PortalEnded as error:
            problem = str(error)
        processes.find(check)
        processes.leave_out_strangers(check, who)
        if portal:
            problem = try_portal(check, portal)
    if problem:
        check.report_problem("check-not-possible", "portal", f"The delivery check could not be carried out: {problem}")
    for process in check.processes:
        if not proc.still_there(process):
            check.report_problem(
                "process-ended",
                str(process.pid),
                f"{check.called(process)} ended during the delivery check{check.log_of(process)}.",
            )
    return check.report()


def try_portal(check: Check, portal: portal_env.PortalProcess) -> str | None:
    """Do everything that needs the portal's Python; returns why it gave up, or None."""
    try:
        with_portal(check, portal)
    except (portal_env.PortalEnded, portal_env.PortalTimeout) as error:
        return str(error)
    finally:
        front.close_all(check)
        check.warnings += portal.warnings
    return None


def with_portal(check: Check, portal: portal_env.PortalProcess) -> None:
    """Everything that needs the portal's Python."""
    about = portal.receive(check.deadline, facts.WIRE_ABOUT)
    check.result.update({key: about[key] for key in ("backend", "settings_match", "versions")})
    check.short_reads.update(about["short_reads"])
    if about["settings_match"] is False:
        check.report_problem(
            "settings-differ",
            str(check.given["home"]),
            f"CHANNEL_LAYERS as Django reads it in {check.given['home']} is not what was written there; "
            "look for another value in ADDITIONAL_SETTINGS_FILES.",
        )
    if not about["consumer"]:
        check.result["reason"] = "no_consumer"
        pages.request_pages(check, about["host"], about["prefix_url"])
        front.open_all(check, about, 0)
        return
    in_memory = about["backend"] == IN_MEMORY
    check.result["provable"] = not (in_memory and len(check.processes) <= 1)
    check.result["reason"] = None if check.result["provable"] else "in_memory"
    if check.processes:
        sockets.open_enough(check, portal)
        keeps_closed = ".pubsub." in (about["backend"] or "") or sockets.keeps_closed_connections(check)
        may_be_stale = about["sentinel"] or (keeps_closed and sockets.may_have_been_closed(check))
        sockets.forgive_once(check, portal, may_be_stale)
        front.open_all(check, about, max(LEAST_THROUGH_FRONT, min(2 * len(check.processes), MOST_THROUGH_FRONT)))
    # Where no process serves, nobody can get a message, and whoever listens in the place of Redis would get the
    # password with which it is sent.
    if check.able() and check.given["among"]:
        messages.greet(check, portal, check.given["among"])
    elif check.able() and check.result["provable"]:
        messages.prove(check, portal, in_memory)
    sockets.judge(check)
    portal.send({"do": "quit"})


def secret_values(layers: Any) -> set[str]:
    """What has to stay hidden of CHANNEL_LAYERS: its passwords and keys, and whole URLs that hold one."""
    found = secrets_in(layers)

    def walk(value: Any) -> None:
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
            walk(item)
        if isinstance(value, str) and secrets_in(value):
            found.add(value)

    walk(layers)
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "home": {"type": "path", "required": True},
            "user": {"type": "str"},
            "portal_name": {"type": "str", "default": ""},
            "host": {"type": "str", "default": "127.0.0.1"},
            "ports": {"type": "list", "elements": "int", "default": [8000]},
            "processes": {"type": "int", "default": 0},
            "idle_seconds": {"type": "int", "default": 0},
            "idle_always": {"type": "bool", "default": True},
            "expected_layers": {"type": "dict", "no_log": True},
            "settings_file": {"type": "path"},
            "name": {"type": "str"},
            "among": {"type": "list", "elements": "str"},
            "word": {"type": "str"},
            "front": {
                "type": "dict",
                "options": {
                    "called": {"type": "str", "default": "The web server in front"},
                    "address": {"type": "str", "default": "127.0.0.1"},
                    "port": {"type": "int", "required": True},
                    "tls": {"type": "bool", "default": False},
                    "name": {"type": "str", "default": ""},
                    "fix": {"type": "str", "default": ""},
                    "closes_after": {"type": "float"},
                },
            },
            "url": {"type": "str"},
            "redis_container": {"type": "str", "default": ""},
            "redis_engine": {"type": "str", "choices": ["docker", "podman"], "default": "docker"},
            "timeout": {"type": "int", "default": 60},
        },
        mutually_exclusive=[("expected_layers", "settings_file")],
        required_together=[("name", "among")],
        required_by={"among": ["word"]},
        supports_check_mode=True,
    )
    # Ansible would mask every value of the setting wherever it stands in the answer, be it 127.0.0.1 or tethys.
    expected = module.params["expected_layers"] or {}
    module.no_log_values = {s for s in secret_values(expected) if s}
    module.exit_json(changed=False, probe=verify(dict(module.params)))


if __name__ == "__main__":
    main()
