# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Step 1 of a run: make the plan, or every reason to refuse it, from the inputs and the facts."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Program
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import front, trust, unchanged, variables
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.bokeh import Bokeh
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.layer_class import LayerClass
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.neighbors import Neighbors, shared_redis_problems
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.nginx import Nginx
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.portal import Portal
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.processes import kept_problems
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.programs import Programs
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import Redis, clock_reasons
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.subject import Subject, sentence
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    Facts,
    Found,
    Inputs,
    Problem,
    codes,
    texts,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import list_of
from ansible_collections.tethys.channels.plugins.plugin_utils.platforms import yaml_refusal
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number


@dataclass
class Decision(Found):
    """What a run is to do, and every reason against it."""

    step: Plan = field(default_factory=Plan)

    def printed(self) -> Plan:
        """Return it for the roles, with the sentences that they print."""
        return {
            "refusals": texts(self.problems),
            "codes": codes(self.problems),
            "warnings": texts(self.warnings),
            "announce": self.announce,
            **self.step,
        }


def of_variables(inputs: Inputs, goal: str) -> list[Problem]:
    """Return the problems of the variables, whatever the server is like."""
    values, asked = inputs.values, inputs.asked
    return [
        *variables.misspelt(inputs.names, inputs.known),
        *variables.wrong_role_values(values, asked),
        *variables.check_variables(asked),
        *shared_redis_problems(asked, values),
        *kept_problems(values),
        *front.url_problems(values),
        *variables.rotation_reasons(values, asked),
        *(variables.port_reasons(values, inputs.options, asked) if goal in ("site", "check") else []),
    ]


class Run(Subject):
    """What concerns the run and no single subject."""

    def clock(self) -> None:
        """Messages that cross servers are lost where the clocks differ."""
        if self.redis == "shared" and self.goal in ("site", "check"):
            found = self.problems if self.goal == "site" else self.warnings
            found.extend(clock_reasons(self.server, "this server"))

    def packages_reasons(self) -> None:
        """What is missing on the server, and cannot be installed."""
        refusal = yaml_refusal(self.server) if self.server.get("yaml_library") is False else None
        if refusal and self.goal in ("site", "remove") and self.is_root:
            self.refuse("yaml-not-installable", "PyYAML", refusal)

    def serial_reasons(self) -> None:
        """A play cannot see a variable of the inventory."""
        serial, at_once = (
            whole_number(self.values.get("tethys_serial")),
            whole_number(self.options.get("hosts_at_once")),
        )
        if self.goal == "site" and serial and at_once and at_once > serial:
            self.refuse(
                "serial-exceeded",
                "tethys_serial",
                f"tethys_serial is {serial}, and {at_once} portals would be done at once: a play cannot see a variable"
                f" of the inventory, so give it on the command line, with -e tethys_serial={serial}.",
            )

    def delivery_warning(self) -> None:
        """A portal without a consumer, through which delivery could be verified."""
        if self.portal.get("lifecycle_consumer") is False and self.could_look:
            version = (self.portal.get("versions") or {}).get("tethys_platform")
            self.warn(
                "delivery-not-verifiable",
                "tethys_platform",
                f"Tethys {version} has no consumer to verify delivery through (Tethys 4.4 has one):"
                " the layer is provisioned, and the run cannot verify that messages arrive.",
            )


def of_trust(run: Subject, adopted: Program | None) -> tuple[Found, trust.Verdict]:
    """Return who besides root could steer the run, and the report of it."""
    starts_nginx = run.apart or "nginx_upstream.original" in (run.server.get("state") or [])
    verdict = trust.verdict(
        run.server.get("trust"),
        starts_nginx=starts_nginx,
        adopted=str(adopted["path"]) if adopted else None,
        suffix=run.names.suffix,
    )
    found = Found(list(trust.others_programs(run.goal, run.server)))
    # Checks report everything on their page and change nothing.
    if run.goal != "check":
        found.problems += verdict.refusals
        found.warnings += verdict.warnings
    return found, verdict


def decide(inputs: Inputs, facts: Facts) -> Decision:
    """Return what a run is to do; without a server, what the variables alone allow."""
    run = Run(inputs, facts)
    decision = Decision(of_variables(inputs, run.goal))
    # Where to look is known before anything was seen.
    decision.step.update({"ports": run.ports, "port_count": len(run.ports)})
    return _with_server(decision, run, inputs, facts) if facts.server else decision


def _of_run(inputs: Inputs, facts: Facts) -> Run:
    """Return what concerns the run as a whole, which is shown last."""
    last = Run(inputs, facts)
    last.serial_reasons()
    last.delivery_warning()
    if last.goal == "site" and variables.rotates(inputs.values):
        last.announce.append(
            "redis_container_rotate is true: Redis gets a new password, and the processes restart one at a time."
        )
        last.warnings += variables.rotation_warnings(facts.server)
    return last


def _with_server(decision: Decision, run: Run, inputs: Inputs, facts: Facts) -> Decision:
    portal, redis, programs = Portal(inputs, facts), Redis(inputs, facts), Programs(inputs, facts)
    nginx, bokeh, neighbors = Nginx(inputs, facts), Bokeh(inputs, facts), Neighbors(inputs, facts)
    layer_class = LayerClass(inputs, facts)
    adopted_container = adopted_program = processes = None
    portal.portal_reasons()
    run.clock()
    run.packages_reasons()
    if run.goal == "site" and run.is_root:
        adopted_container = redis.redis_reasons()
        adopted_program = programs.program_reasons()
        if run.packages.get("msg"):
            programs.refuse("packages-unusable", "channels_redis", sentence(str(run.packages["msg"])))
    elif run.goal == "check" and run.is_root:
        programs.choice_warnings()
    elif run.goal in ("restart", "remove") and run.is_root:
        programs.present_reasons()
    if run.is_root:
        neighbors.reasons()
        nginx.front_reasons()
        nginx.nginx_reasons()
        nginx.selinux_warning()
    trusted, verdict = of_trust(run, adopted_program)
    if run.goal != "remove":
        processes = bokeh.processes()
    if run.goal in ("site", "check"):
        portal.database_warnings(processes)
    programs.gaps()
    if run.goal == "site":
        bokeh.watch_reasons()
        portal.announce += portal.layer_options_lines()
        layer_class.class_reasons()
        programs.moves(processes, bool(adopted_program))
    last = _of_run(inputs, facts)
    for found in (portal, run, neighbors, layer_class, redis, programs, nginx, trusted, bokeh, last):
        decision.problems += [problem for problem in dict.fromkeys(found.problems) if problem not in decision.problems]
        decision.warnings += found.warnings
        decision.announce += found.announce
    decision.step.update(_programs_step(programs, adopted_program))
    decision.step.update(redis.of_redis(adopted_container))
    decision.step.update(
        {
            "processes": processes,
            "pins": bokeh.pins,
            "watch": bokeh.has_watch,
            "watch_runs": facts.server.get("watch"),
            "trust": {"lines": trust.lines(verdict, facts.portal), "problems": texts(verdict.refusals)},
        }
    )
    decision.step.update(unchanged.verdict(run, decision.step, refused=bool(decision.problems)))
    return decision


def _programs_step(programs: Programs, adopted: Program | None) -> Plan:
    """Return what the roles of packages, settings and processes go by."""
    portal, server = programs.portal, programs.server
    supervisor = server.get("supervisor") or {}
    return {
        "layout": str(programs.asked["tethys_asgi_layout"]),
        "ports": programs.ports,
        "port": programs.place.port,
        "address": programs.place.address,
        "reached_at": programs.place.reached_at,
        "group": programs.group,
        "arguments": programs.kept.arguments,
        "environment": programs.kept.environment,
        "front": front.step(server, programs.place, programs.kept.arguments),
        "other_groups": programs.other_groups,
        "replaced_groups": programs.replaced_groups,
        "user": portal.get("user"),
        "shared_ca": programs.names.shared_ca,
        "portal_name": programs.names.portal,
        "moves": list_of(programs.packages.get("moves")),
        "program_path": programs.program_path,
        "install_supervisor": not supervisor.get("installed"),
        "start_supervisor": not supervisor.get("running"),
        "install_yaml": server.get("yaml_library") is False,
        "adopted_program": adopted,
        "managed": any(program["managed"] for program in server.get("programs") or []),
        "portal": portal,
    }
