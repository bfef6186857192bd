# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What `tethys.channels.check` tells: one page, and a sentence with the way out for all that is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES
from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import (
    Health,
    Probe,
    ProcessHealth,
    RedisHealth,
)
from ansible_collections.tethys.channels.plugins.module_utils.services import asgi_number
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.redis import image_name
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan
from ansible_collections.tethys.channels.plugins.plugin_utils.model import TRANSPORT_LABEL, Problem, codes, texts

SITE = "tethys.channels.site"
RESTART = "tethys.channels.restart"
CHECK = "tethys.channels.check"
REMOVE = "tethys.channels.remove"
FULL_PERCENT = 90
MIB = 2**20
VERSIONS = {
    "tethys_platform": "Tethys",
    "channels": "channels",
    "channels_redis": "channels_redis",
    "redis": "redis-py",
    "daphne": "daphne",
}
# What layer_probe finds at a port on which no process accepts.
PORT_CODES = ("port-closed", "port-not-accepting")


def span(seconds: float) -> str:
    """A time as a person says it, in its two largest units."""
    left = int(seconds)
    found: list[str] = []
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, unit)
        if number or found or unit == 1:
            found.append(f"{number} {name}" if number else "")
    return " ".join(part for part in found[:2] if part) or "0 s"


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number} {one if number == 1 else many}"


def enumerated(names: Sequence[str]) -> str:
    """Return names as a sentence lists them."""
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + [names[-1]])


def listed(names: Sequence[str], verb_one: str, verb_many: str) -> str:
    """Names as the subject of a sentence, with the verb."""
    return f"{enumerated(names)} {verb_one if len(names) == 1 else verb_many}"


def delivery(probe: Probe) -> list[str]:
    """What the proof of delivery saw, in sentences."""
    processes = probe["processes"]
    if not probe["provable"]:
        why = {
            "in_memory": "one process on the in-memory layer receives only its own messages",
            "no_consumer": "Tethys before 4.4 has no consumer to verify it through",
            "not_started": "the delivery check could not start",
        }.get(str(probe["reason"]), str(probe["reason"]))
        pids = ", ".join(str(process["pid"]) for process in processes)
        there = f" ({pids})" if pids else ""
        return [f"{len(processes)} process(es) answer{there}; delivery was not verified: {why}."]
    if not probe["sent"]:
        return [f"None of our WebSockets was held by any of {len(processes)} process(es); delivery was not verified."]
    holders = [str(process["pid"]) for process in processes if process.get("sockets", 1)]
    line = f"A message reached {probe['received']} of {probe['sent']} WebSockets"
    line += f" over {len(holders)} process(es) ({', '.join(holders)})"
    if probe["delivery_seconds"] is not None:
        line += f" in {probe['delivery_seconds']:.3f} s"
    lines = [line + ", sent from another process with the portal's own settings."]
    idle = probe.get("idle")
    if idle:
        lines.append(
            f"After {idle['seconds']} s of silence {idle['alive']} of {idle['of']} WebSockets were open,"
            f" and {idle['received']} got the next message."
        )
    return lines


def through_front(probe: Probe) -> list[str]:
    """Return what was seen through the web server in front."""
    front = probe.get("front")
    if not front:
        is_told = probe["provable"] and probe["sent"]
        return ["The way through a web server in front of the portal was not checked."] if is_told else []
    if front["page"] is None:
        return [f"{front['through']} does not answer."]
    line = f"Through {front['through']}: {front['at']} answers HTTP {front['page']}"
    if front["sockets"]:
        line += f", and a message reached {front['received']} of {front['sockets']} WebSockets"
    return [f"{line}."]


def kind_of(server: RedisHealth) -> str:
    """What answers there."""
    return "Sentinel" if server.get("watches") else "Redis"


class Wanted(TypedDict):
    """The variables that it is evaluated by."""

    backend: str
    container_name: str
    image: str


class SiteStep(TypedDict, total=False):
    """What a task of `site` returned in check mode; `moves` is of the packages."""

    changed: bool
    skipped: bool
    failed: bool
    msg: str
    moves: list[dict[str, str]]


class Seen(TypedDict, total=False):
    """What a page is written from; `site` has what the steps of a `site` run would do."""

    plan: Plan
    asked: Wanted
    health: Health
    probe: Probe
    site: dict[str, SiteStep]


class Report:
    """One host's page."""

    def __init__(self, seen: Seen) -> None:
        self.plan, self.asked = seen["plan"], seen["asked"]
        self.portal, self.server = self.plan["portal"], self.plan["server"]
        self.health, self.probe = seen["health"], seen["probe"]
        # A step that was not asked is not there, or skipped.
        site: dict[str, SiteStep] = seen.get("site") or {}
        self.site = {name: step for name, step in site.items() if step and not step.get("skipped")}
        self.rows: Sequence[ProcessHealth] = self.health["processes"]
        self.problems: list[Problem] = []
        self.changes: list[str] = []

    def report(self, code: str, subject: str, text: str) -> None:
        """Add something that is wrong."""
        self.problems.append(Problem(code, subject, text))

    # --- the page ---------------------------------------------------------------------------------------------------

    def lines(self) -> list[str]:
        """What was seen, line by line."""
        lines = [f"Versions: {self.versions()}", f"Layout: {self.layout()}"]
        lines += [f"Process {self.process_line(row)}" for row in self.rows]
        lines += self.watch_lines()
        if self.plan["redis"] == "none":
            lines.append("Redis: none, since the layer is in memory")
        lines += [self.redis_line(server) for server in self.health["redis"]]
        lines += [
            f"Delivery: {line}"
            for line in [*delivery(self.probe), *through_front(self.probe), *(self.probe.get("warnings") or [])]
        ]
        lines += (self.plan.get("trust") or {}).get("lines", [])
        lines.append(f"A run of {SITE} would change {'; '.join(self.changes) or 'nothing'}")
        return lines

    def versions(self) -> str:
        """The versions of everything that carries a message."""
        portal = self.portal.get("versions") or {}
        found = [f"{name} {portal[key]}" for key, name in VERSIONS.items() if portal.get(key)]
        found += [f"Redis {server['version']}" for server in self.health["redis"] if server["version"]]
        container = self.server.get("container") or self.plan.get("left_container") or {}
        if self.plan["redis"] == "container" and container.get("image"):
            found.append(f"image {container['image']}")
        if self.health["supervisor"]["version"]:
            found.append(f"Supervisor {self.health['supervisor']['version']}")
        return ", ".join(found)

    def layout(self) -> str:
        """How the processes listen."""
        ports = self.plan["ports"]
        where = f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]} to {ports[-1]}"
        number = counted(self.plan["processes"] or 0, "process", "processes")
        return f"{self.plan['layout']}, {number} configured, {where}"

    def process_line(self, row: ProcessHealth) -> str:
        """One process."""
        if not row["pid"]:
            return f"{row['name']}: {row['state']}"
        state = "stopped by a signal" if row["frozen"] else row["state"]
        runs_with: dict[bool | None, str] = {
            True: ", with settings or packages older than those on disk",
            False: ", with the settings and packages on disk",
        }
        line = f"{row['name']}: {state}, pid {row['pid']}, for {span(row['age_seconds'] or 0)}, as {row['user']}"
        line += runs_with.get(row["outdated"], "")
        return line + (", older than Redis's last start" if row["before_redis"] else "")

    def watch_lines(self) -> list[str]:
        """What the watch has done."""
        acts = self.health.get("watch") or []
        if not acts:
            return []
        last = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(acts[-1]["time"]))
        times = counted(len(acts), "process", "processes")
        return [f"Watch: killed {times} that did not answer; the last was {acts[-1]['process']} at {last}"]

    def redis_line(self, server: RedisHealth) -> str:
        """One server's figures, or where a Sentinel has the primary."""
        place = f"{kind_of(server)} {server['place']}"
        if server.get("primary"):
            return (
                f"{place}: the primary is {server['primary']}, with {counted(server['copies'], 'replica', 'replicas')}"
            )
        if server["problem"]:
            return f"{place}: {server['problem']}"
        if not server["known"]:
            return f"{place}: its figures are unknown, since the portal's user may not read them"
        limit = f"{server['max_memory'] / MIB:.0f}" if server["max_memory"] else "unlimited"
        oom = "not known" if server["oom_errors"] is None else server["oom_errors"]
        parts = [
            f"for {span(server['uptime_seconds'])}",
            f"memory {server['used_memory'] / MIB:.1f} of {limit} MiB",
            counted(server["clients"], "client", "clients"),
            f"connections refused {server['rejected_connections']}",
            f"keys evicted {server['evicted_keys']}",
            f"writes refused because memory was full {oom}",
        ]
        backlog = server["backlog"]
        if backlog:
            least = "" if backlog["complete"] else "at least "
            messages = counted(backlog["messages"], "message", "messages")
            parts.append(f"backlog {least}{messages} in {counted(backlog['channels'], 'channel', 'channels')}")
        elif ".pubsub." not in self.asked["backend"]:
            parts.append("backlog not known")
        return f"{place}: {', '.join(parts)}"

    @property
    def untouched(self) -> bool:
        """Whether no run of `site` has come as far as the processes."""
        return not self.plan["managed"] and "processes.json" not in (self.server.get("state") or [])

    # --- what is wrong ----------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Everything that is wrong, the cause before what follows from it."""
        if self.untouched:
            # All of it is to come, so that one sentence says it.
            self.judge_site()
            self.problems = [Problem("never-run", SITE, f"{SITE} has not been run on this server yet: run it.")]
            self.judge_delivery()
            self.judge_trust()
            return
        for server in self.health["redis"]:
            self.judge_redis(server)
        primaries = {str(server["primary"]) for server in self.health["redis"] if server.get("primary")}
        wanted = sum(bool(server.get("watches")) for server in self.health["redis"]) - 1
        seen = [server["copies"] for server in self.health["redis"] if server.get("primary")]
        if seen and max(seen) < wanted:
            self.report(
                "replicas-missing",
                "redis",
                f"The layer's Redis has {max(seen)} of {counted(wanted, 'replica', 'replicas')} according to Sentinel:"
                f" read the log of the containers on their servers; {SITE} repairs it.",
            )
        if len(primaries) > 1:
            self.report(
                "primary-disputed",
                "redis",
                f"The sentinels have different primaries ({', '.join(sorted(primaries))}), as during a failover: check"
                " again in a minute, and then read their logs (`docker logs`).",
            )
        self.judge_processes()
        self.judge_site()
        self.judge_delivery()
        self.judge_trust()

    def judge_trust(self) -> None:
        """Add who besides root can steer a run."""
        for text in (self.plan.get("trust") or {}).get("problems", []):
            self.report("open-to-others", "trust", text)

    def judge_redis(self, server: RedisHealth) -> None:
        """One server of the layer."""
        who = f"The layer's {kind_of(server)} at {server['place']}"
        if server["problem"]:
            self.report("redis-unusable", str(server["place"]), f"{who} {server['problem']}: {self.redis_way_out()}.")
            return
        if not server["known"]:
            return
        up = span(server["uptime_seconds"])
        if server["max_memory"] and server["used_memory"] * 100 > server["max_memory"] * FULL_PERCENT:
            self.report(
                "redis-memory-full",
                str(server["place"]),
                f"{who} uses {server['used_memory'] / MIB:.1f} of the {server['max_memory'] / MIB:.0f} MiB after"
                f" which it"
                f" refuses messages: {self.more_memory()}, and look for a consumer that does not read its messages.",
            )
        if server["rejected_connections"]:
            limit = f" of {server['max_clients']}" if server["max_clients"] else ""
            self.report(
                "redis-refused-connections",
                str(server["place"]),
                f"{who} refused {counted(server['rejected_connections'], 'connection', 'connections')} since its start"
                f" {up} ago, because its limit{limit} clients was reached: look for who holds that many (CLIENT LIST),"
                " and restart Redis, which resets the count.",
            )
        if server["oom_errors"]:
            self.report(
                "redis-refused-writes",
                str(server["place"]),
                f"{who} refused {counted(server['oom_errors'], 'write', 'writes')} since its start {up} ago, because"
                f" its"
                f" memory was full, and the messages are lost: {self.more_memory()}; Redis's next start resets the"
                " count.",
            )
        if server["evicted_keys"]:
            self.report(
                "redis-evicted-keys",
                str(server["place"]),
                f"{who} evicted {counted(server['evicted_keys'], 'key', 'keys')} since its start {up} ago, and"
                f" messages or"
                " groups with them: set its maxmemory-policy to noeviction, and restart it, which resets the"
                " count.",
            )

    def more_memory(self) -> str:
        """How a Redis gets more memory."""
        return "raise redis_container_memory_mb" if self.plan["redis"] == "container" else "raise its maxmemory"

    def redis_way_out(self) -> str:
        """What to do where Redis cannot be used."""
        if self.plan["redis"] == "shared":
            return f"read the log of its container there; {SITE} repairs it"
        if self.plan["redis"] == "given":
            return "start it, or correct its address and credentials in tethys_layer_hosts"
        container, name = self.server.get("container"), self.asked["container_name"]
        engine = ENGINES[self.plan["engine"]]
        if not self.engine_answers:
            return f"{engine.back}, then run {SITE}"
        if container is None:
            return f"its container {name} does not exist, and {SITE} creates it"
        if not container["running"]:
            return f"its container {name} is stopped, and {SITE} starts it"
        return f"read `{engine.logs(name)}`; {SITE} repairs it"

    @property
    def engine_answers(self) -> bool:
        """Whether the engine that the container is to be in answers."""
        is_podman = self.plan["engine"] == "podman"
        engine = self.server.get("podman") if is_podman else self.server.get("docker")
        return bool(engine and engine.get("running"))

    def judge_processes(self) -> None:
        """The processes as Supervisor and the kernel have them."""
        supervisor, rows, wanted = self.health["supervisor"], self.rows, self.plan["processes"]
        if not supervisor["running"]:
            self.report(
                "supervisor-silent",
                "Supervisor",
                f"Supervisor does not answer on {supervisor['socket']}, so nothing starts a process that ends:"
                " read `systemctl status supervisor`.",
            )
            return
        if len(rows) != wanted:
            there = counted(len(rows), "process", "processes")
            self.report(
                "number-differs",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {wanted}, and Supervisor has {there}: run {SITE}.",
            )
        for state in dict.fromkeys(row["state"] for row in rows if row["state"] != "RUNNING"):
            self.state_problem(state, [row for row in rows if row["state"] == state])
        frozen = [row for row in rows if row["frozen"]]
        if frozen:
            pids = " ".join(str(row["pid"]) for row in frozen)
            it = "it" if len(frozen) == 1 else "them"
            self.report(
                "process-stopped",
                "processes",
                f"{listed([row['name'] for row in frozen], 'is', 'are')} stopped by a signal, and no answer comes"
                f" from {it}:"
                f" `kill -CONT {pids}` wakes {it}, {RESTART} replaces {it}.",
            )
        outdated = [row["name"] for row in rows if row["outdated"]]
        if outdated:
            self.report(
                "process-outdated",
                "processes",
                f"{listed(outdated, 'runs', 'run')} with settings or packages older than those on disk: run"
                f" {SITE if self.would_change('portal_config') else RESTART}.",
            )
        older = [row["name"] for row in rows if row["before_redis"]]
        if older:
            self.report(
                "process-before-redis",
                "processes",
                f"{listed(older, 'was', 'were')} started before Redis was, so the WebSockets that were open then have"
                f" lost their groups and receive nothing until they reconnect: run {RESTART}.",
            )

    def state_problem(self, state: str, rows: Sequence[ProcessHealth]) -> None:
        """The processes that Supervisor has in a state other than RUNNING."""
        names = listed([row["name"] for row in rows], "is", "are")
        words = "; ".join(dict.fromkeys(row["problem"] for row in rows if row["problem"] and state != "STOPPED"))
        why = f" ({words})" if words else ""
        logs = " and ".join(dict.fromkeys(row["log"] for row in rows if row["log"]))
        read = f"read {logs}, then run" if logs else "run"
        way_out = {
            "STOPPED": f"run {RESTART}, which starts {'it' if len(rows) == 1 else 'them'}",
            "STARTING": f"check again in 10 seconds; if that does not help, {read} {RESTART}",
            "STOPPING": f"check again in 10 seconds; if that does not help, run {RESTART}",
        }.get(state, f"{read} {RESTART}")
        self.report("process-not-running", state, f"{names} {state}{why}: {way_out}.")

    # --- what a site run would change -------------------------------------------------------------------------------

    def would_change(self, step: str) -> bool:
        """Whether a step of a `site` run would change something."""
        return bool(self.site.get(step, {}).get("changed"))

    def judge_site(self) -> None:
        """What a `site` run would change, each told as a problem where nothing else has told it."""
        drift = []
        for name, step in self.site.items():
            if step.get("failed") and step.get("msg"):
                self.report("site-would-fail", name, f"{SITE} would fail ({name}): {str(step['msg']).rstrip('.')}.")
        packages = self.site.get("packages", {})
        if packages.get("msg") and not packages.get("failed"):
            self.report("packages-unusable", "channels_redis", str(packages["msg"]))
        for move in packages.get("moves") or []:
            drift.append(f"the package {move['name']} {move['from'] or '(not installed)'} -> {move['to']}")
        drift += self.container_changes()
        if self.would_change("portal_config"):
            path = (self.portal.get("config") or {}).get("path") or "portal_config.yml"
            self.changes.append(f"CHANNEL_LAYERS in {path}")
            self.report(
                "config-differs",
                path,
                f"CHANNEL_LAYERS in {path} is not what {SITE} would write: run it, with --check --diff first to see the"
                " difference.",
            )
        recounted = self.health["supervisor"]["running"] and len(self.rows) != self.plan["processes"]
        programs = {program["path"] for program in self.server.get("programs") or []}
        for row in self.health["differs"]:
            change = f"{row['path']} (it {row['why']})"
            # Another number of processes is another text of their program, and told already.
            (self.changes if recounted and row["path"] in programs else drift).append(change)
        if self.would_change("nginx_upstream"):
            drift.append("nginx's upstream block")
        self.changes += drift
        restarts = [
            row["name"]
            for row in self.rows
            if row["outdated"] or row["before_redis"] or row["frozen"] or not row["pid"]
        ]
        if restarts:
            noun = "process" if len(restarts) == 1 else "processes"
            self.changes.append(f"the {noun} {', '.join(restarts)}, which it would restart")
        if drift:
            self.report(
                "site-would-change",
                SITE,
                f"{SITE} would change {'; '.join(drift)}: run it, with --check --diff first to see the difference.",
            )

    def container_changes(self) -> list[str]:
        """What would change of the Redis that the collection runs."""
        if self.plan["redis"] != "container":
            return []
        found = []
        if self.would_change("redis_settings"):
            found.append("the configuration, the credentials or the socket's folder of Redis")
        container, name = self.server.get("container"), self.asked["container_name"]
        lost = any(server["problem"] for server in self.health["redis"])
        left = self.plan.get("left_container")
        if left:
            before, after = (ENGINES[name].title for name in (left["engine"], self.plan["engine"]))
            found.append(f"the engine of Redis's container, {before} -> {after}")
        elif container is None or not container["running"]:
            away = container is None and self.engine_answers
            change = f"the container {name}, which it would {'make' if away else 'start'}"
            # That Redis does not answer was told with this as the way out.
            (self.changes if lost else found).append(change)
        elif container["labels"].get(TRANSPORT_LABEL) != self.plan["redis_way"]:
            way = container["labels"].get(TRANSPORT_LABEL, "a port")
            found.append(f"how Redis is reached, {way} -> {self.plan['redis_way']}")
        elif image_name(container["image"]) != image_name(self.asked["image"]):
            found.append(f"the container's image {container['image']} -> {self.asked['image']}")
        elif self.would_change("container") and not self.would_change("redis_settings"):
            found.append(f"the container {name}, which is not as the roles' variables say")
        return found

    # --- delivery ---------------------------------------------------------------------------------------------------

    def judge_delivery(self) -> None:
        """What the proof found wrong, less what follows from what was told already."""
        without_redis = any(server["problem"] for server in self.health["redis"]) and not self.untouched
        down_ports = {str(port) for port in self.down_ports()}
        frozen = {str(row["pid"]) for row in self.rows if row["frozen"]}
        for problem in probed(self.probe):
            follows = (
                # Without Redis nothing is delivered, and yet a stranger in the portal's place is no consequence of it.
                (without_redis and problem.code != "process-of-stranger")
                or (problem.code in PORT_CODES and problem.subject in down_ports)
                or (problem.code == "process-stopped" and problem.subject in frozen)
                or (problem.code == "settings-differ" and self.would_change("portal_config"))
            )
            if not follows:
                self.problems.append(problem)

    def down_ports(self) -> set[int]:
        """The ports on which nobody can answer, because the processes for them are not running."""
        ports = list(self.plan["ports"])
        if not self.health["supervisor"]["running"]:
            return set(ports)
        running = [row for row in self.rows if row["state"] == "RUNNING"]
        if self.plan["layout"] != "socket_per_process":
            return set() if running else set(ports)
        return set(ports) - {ports[0] + (asgi_number(row["group"]) or 0) for row in running}


def end_of_run(steps: Mapping[str, bool], unchanged: bool) -> list[str]:
    """Return what a run has changed, and what to do next.

    Args:
        steps: what a run may change, each with whether this one did.
        unchanged: whether the server is as the last verified run left it, so that only delivery was checked.
    """
    changed = [name for name, value in steps.items() if value]
    first = f"Changed: {enumerated(changed) if changed else 'nothing'}."
    if unchanged:
        first += " The server is unchanged since the last verified run, so only delivery was checked."
    undo = f"; {REMOVE} undoes all runs" if changed else ""
    return [first, f"Next: nothing to do. {CHECK} reports the layer's state at any time{undo}."]


def summary(probe: Probe, steps: Mapping[str, bool] | None = None, unchanged: bool = False) -> list[str]:
    """Return what the delivery check found, in lines; with `steps`, also what the run has changed and what is next."""
    versions = probe.get("versions") or {}
    known = ", ".join(f"{name} {versions[name]}" for name in sorted(versions) if versions[name])
    lines = [*delivery(probe), *through_front(probe), f"{probe['backend']}, {known}", *(probe.get("warnings") or [])]
    return lines if steps is None else [*lines, *end_of_run(steps, unchanged)]


def probed(probe: Probe) -> list[Problem]:
    """Return the problems that `layer_probe` found."""
    return [Problem(row["code"], row["subject"], text) for row, text in zip(probe["codes"], probe["problems"])]


def judged(seen: Seen) -> Report:
    """Return the report of one host, with what is wrong.

    Args:
        seen: `plan` (of `plan.decide`), `asked` (`backend`, `container_name`, `image`), `health` (of `layer_health`),
            `probe` (of `layer_probe`) and `site`, which has what the steps of a `site` run said in check mode:
            `packages`, `redis_settings`, `container`, `portal_config` and `nginx_upstream`.
    """
    found = Report(seen)
    found.judge()
    return found


class Page(TypedDict):
    """What `check` prints: what was seen, and what is wrong, as sentences and as codes."""

    ok: bool
    lines: list[str]
    problems: list[str]
    codes: list[dict[str, str]]


def page(found: Report) -> Page:
    """Return a report as `check` prints it: `ok`, `lines` (what was seen), `problems` (sentences) and `codes`."""
    return {
        "ok": not found.problems,
        "lines": found.lines(),
        "problems": texts(found.problems),
        "codes": codes(found.problems),
    }


def report(seen: Seen) -> Page:
    """Return the page of one host; see `judged` for what was seen."""
    return page(judged(seen))
