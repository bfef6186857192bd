# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of `site` would change, each a problem unless another one says it."""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.module_utils.engines import ENGINES
from ansible_collections.tethys.channels.plugins.plugin_utils.check.report import SITE, Report
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.image import image_name
from ansible_collections.tethys.channels.plugins.plugin_utils.model import TRANSPORT_LABEL


def judge(report: Report) -> None:
    """Add what a `site` run would change, each as a problem unless another problem already reports it."""
    drift = []
    for name, step in report.site.items():
        if step.get("failed") and step.get("msg"):
            report.report("site-would-fail", name, f"{SITE} would fail ({name}): {str(step['msg']).rstrip('.')}.")
    packages = report.site.get("packages", {})
    if packages.get("msg") and not packages.get("failed"):
        report.report("packages-unusable", "channels_redis", str(packages["msg"]))
    for move in packages.get("moves") or []:
        drift.append(f"the package {move['name']} {move['from'] or '(not installed)'} -> {move['to']}")
    drift += container_changes(report)
    if report.would_change("portal_config"):
        path = (report.portal.get("config") or {}).get("path") or "portal_config.yml"
        report.changes.append(f"CHANNEL_LAYERS in {path}")
        now, wanted = report.asked["backend"], report.plan["backend"]
        report.report(
            "config-differs",
            path,
            f"CHANNEL_LAYERS in {path} is not what {SITE} would write"
            f"{f' (the class changes from {now} to {wanted})' if now != wanted else ''}: run it, with --check --diff"
            " first to see the difference.",
        )
    recounted = report.health["supervisor"]["running"] and len(report.rows) != report.plan["processes"]
    programs = {program["path"] for program in report.server.get("programs") or []}
    for row in report.health["differs"]:
        change = f"{row['path']} (it {row['why']})"
        # Another number of processes also changes their program's text, and was reported already.
        (report.changes if recounted and row["path"] in programs else drift).append(change)
    if report.would_change("nginx_upstream"):
        drift.append("nginx's upstream block")
    if report.plan["watch_runs"] is not None and not report.plan["watch"]:
        drift.append("the watch of the processes (asgi_service_watch), which it would remove")
    report.changes += drift
    restarts = [
        row["name"] for row in report.rows if row["outdated"] or row["before_redis"] or row["frozen"] or not row["pid"]
    ]
    if restarts:
        noun = "process" if len(restarts) == 1 else "processes"
        report.changes.append(f"the {noun} {', '.join(restarts)} (restart)")
    if drift:
        report.report(
            "site-would-change",
            SITE,
            f"{SITE} would change {'; '.join(drift)}: run it, with --check --diff first to see the difference.",
        )


def container_changes(report: Report) -> list[str]:
    """What would change of the Redis that the collection runs."""
    if report.plan["redis"] != "container":
        return []
    found = []
    if report.would_change("redis_settings"):
        found.append("the configuration, the credentials or the socket's folder of Redis")
    container, name = report.server.get("container"), report.asked["container_name"]
    lost = any(server["problem"] for server in report.health["redis"])
    left = report.plan.get("left_container")
    if left:
        before, after = (ENGINES[name].title for name in (left["engine"], report.plan["engine"]))
        found.append(f"the engine of Redis's container, {before} -> {after}")
    elif container is None or not container["running"]:
        away = container is None and report.engine_answers
        change = f"the container {name} ({'create' if away else 'start'})"
        # This is the fix of the problem that Redis does not answer, which was reported already.
        (report.changes if lost else found).append(change)
    elif container["labels"].get(TRANSPORT_LABEL) != report.plan["redis_way"]:
        way = container["labels"].get(TRANSPORT_LABEL, "a port")
        found.append(f"how Redis is reached, {way} -> {report.plan['redis_way']}")
    elif image_name(container["image"]) != image_name(report.asked["image"]):
        found.append(f"the container's image {container['image']} -> {report.asked['image']}")
    elif report.would_change("container") and not report.would_change("redis_settings"):
        found.append(f"the container {name}, which is not as the roles' variables say")
    return found
