# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a plan, one for each role: all that a role goes by besides its own defaults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal
from ansible_collections.tethys.channels.plugins.module_utils.portal_common import host_name
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.plugin_utils.flat_plan import Plan
from ansible_collections.tethys.channels.plugins.plugin_utils.model import APART, CONFIG_LABEL, CORE_BACKEND
from ansible_collections.tethys.channels.plugins.plugin_utils.platforms import EnginePackages
from ansible_collections.tethys.channels.plugins.plugin_utils.step_types import (
    DeliveryStep,
    EnvironmentFile,
    FleetStep,
    NginxStep,
    PackagesStep,
    ProcessesStep,
    RedisStep,
    SettingsStep,
    Step,
)

NGINX_STATE = "nginx_upstream.original"
PROGRAM_STATE = "program.original"
WATCH_STATE = "watch.json"


def redis_step(plan: Plan) -> RedisStep:
    """Return the step of `redis_container`."""
    server: Server = plan["server"]
    engine, container = plan["engine"], server.get("container")
    labels = (container or {}).get("labels") or {}
    return RedisStep(
        is_unchanged=plan["as_proved"],
        runs=plan["redis"] == "container",
        tasks="shared" if "ports" not in plan or _has_sentinel(server) else "single",
        backend=plan["backend"],
        prefix=plan["prefix"],
        transport=plan["transport"],
        endpoint=plan["redis_endpoint"] or {},
        place=plan["redis_place"],
        way=plan["redis_way"],
        socket=plan["redis_socket"],
        socket_group=plan["portal"].get("group"),
        image=plan["redis_image"],
        image_present=bool(server.get("image_present")),
        unit=plan["redis_unit"],
        unit_path=plan["redis_unit_path"],
        has_unit=bool(server.get("redis_unit")),
        selinux=plan["selinux"],
        missing=_missing(plan),
        # Podman has no daemon to start.
        starts_docker=bool(plan["install_engine"] and engine == "docker"),
        docker_unit=_docker(plan).get("unit"),
        docker_library=bool(server.get("docker_library")),
        askable=_askable(plan),
        answers=_answers(plan),
        container=container,
        adopted=plan["adopted_container"],
        left=plan["left_container"],
        before=plan["adopted_container"] or plan["left_container"],
        ours_in=list(plan["ours_in"]),
        running_digest=str(labels.get(CONFIG_LABEL) or "") if plan["transport"] == "tls" and engine == "docker" else "",
        sentinel=plan.get("sentinel"),
        sentinel_container=server.get("sentinel_container"),
        certificate_due=plan.get("certificate_due"),
        authority_due=bool(plan.get("authority_due")),
        shared_ca=plan.get("shared_ca"),
        portal_name=plan.get("portal_name", ""),
        home=plan.get("home", ""),
        state_dir=plan["state_dir"],
        state=list(server.get("state") or []),
    )


def _docker(plan: Plan) -> EnginePackages:
    return (plan["platform"] or {}).get("docker") or {}


def _missing(plan: Plan) -> list[str]:
    """Return the packages of the container engine to install; only `site` is refused on a system that is not known."""
    docker = _docker(plan)
    about = (plan["platform"] or {}).get("podman") if plan["engine"] == "podman" else docker
    packages = (about or {}).get("packages") if plan["install_engine"] else None
    return [*(packages or []), *([docker["library"]] if plan["install_docker_library"] and docker else [])]


def _has_sentinel(server: Server) -> bool:
    return bool("sentinel" in (server.get("state") or []) or server.get("sentinel_container"))


def _answers(plan: Plan) -> bool:
    container = plan["server"].get("container")
    return bool(container and container["running"] and plan["redis_way_now"] == plan["redis_way"])


def _askable(plan: Plan) -> bool:
    server: Server = plan["server"]
    engine = (server.get("docker") if plan["engine"] == "docker" else server.get("podman")) or {}
    speaks = plan["engine"] == "podman" or server.get("docker_library")
    return bool(engine.get("running") and server.get("image_present") and speaks)


def packages_step(plan: Plan) -> PackagesStep:
    """Return the step of `channels_redis`. What is in place is not inspected again."""
    return PackagesStep(
        is_unchanged=plan["as_proved"],
        due=plan["redis"] != "none" and bool(plan["moves"]),
        requirements=plan["requirements"],
        user=plan["user"],
    )


def settings_step(plan: Plan) -> SettingsStep:
    """Return the step of `portal_config`."""
    portal: Portal = plan["portal"]
    return SettingsStep(
        is_unchanged=plan["as_proved"],
        backend=plan["backend"],
        redis=plan["redis"],
        endpoint=plan["redis_endpoint"] or {},
        place=plan["redis_place"],
        answers=_answers(plan),
        shared_ca=plan["shared_ca"],
        state_dir=plan["state_dir"],
        portal_name=plan["portal_name"],
        user=plan["user"],
        file_exists=bool((portal.get("config") or {}).get("exists")),
        install_yaml=plan["install_yaml"],
        yaml_package=(plan["platform"] or {}).get("yaml"),
    )


def processes_step(plan: Plan) -> ProcessesStep:
    """Return the step of `asgi_service`."""
    portal, server, names = plan["portal"], plan["server"], PortalNames(plan["portal_name"])
    loses_groups = plan["backend_now"] == CORE_BACKEND  # the pub/sub class subscribes again
    state, path = server.get("state") or [], plan["program_path"]
    kept = plan["upstream"] if NGINX_STATE in state else ""
    return ProcessesStep(
        is_unchanged=plan["as_proved"],
        portal_name=names.portal,
        state_dir=names.state,
        environment_path=names.environment,
        tmpfiles=names.tmpfiles,
        watch_unit=names.watch_unit,
        # Where the manual has its sockets; those of a server with several portals may be another one's.
        old_run_dirs=[] if names.portal else ["/run"],
        user=plan["user"],
        user_group=portal.get("group"),
        site_packages=portal.get("site_packages"),
        host_name=host_name((portal.get("settings") or {}).get("allowed_hosts") or []),
        bokeh=portal.get("bokeh", "unknown"),
        group=plan["group"],
        group_of_one=names.group_of_one,
        other_groups=plan["other_groups"],
        replaced_groups=plan["replaced_groups"],
        port=plan["port"],
        address=plan["address"],
        arguments=plan["arguments"],
        environment=plan["environment"],
        environment_file=_environment(plan),
        reads=_reads(plan),
        pins=plan["pins"],
        program_path=path,
        program_digest=next((each["sha256"] for each in server.get("programs") or [] if each["path"] == path), None),
        supervisor=(plan["platform"] or {}).get("supervisor") or {},
        supervisor_config=(server.get("supervisor") or {}).get("config"),
        install_supervisor=plan["install_supervisor"],
        start_supervisor=plan["start_supervisor"],
        adopts=bool(plan["adopted_program"]),
        managed=plan["managed"],
        has_original=PROGRAM_STATE in state,
        watch=plan["watch"],
        watch_runs=plan["watch_runs"],
        has_state=bool(state),
        is_running=bool(server.get("processes")),
        upstream=plan["upstream"] if plan["layout"] == APART else kept,
        kept_upstream=kept,
        redis_container=plan["container_name"] if plan["redis"] == "container" and loses_groups else "",
        redis_engine=plan["engine"],
        redis_started_at=plan["redis_started_at"] if plan["redis"] == "shared" and loses_groups else None,
    )


def nginx_step(plan: Plan) -> NginxStep:
    """Return the step of `nginx_upstream`."""
    return NginxStep(
        is_unchanged=plan["as_proved"],
        state_dir=plan["state_dir"],
        portal_name=plan["portal_name"],
        manages=plan["layout"] == APART,
        ports=plan["ports"],
        pins=plan["pins"],
    )


def delivery_step(plan: Plan) -> DeliveryStep:
    """Return the step of `layer_check`."""
    portal: Portal = plan["portal"]
    nginx = plan["server"].get("nginx")
    site = nginx["path"] if nginx else None
    unit = plan["redis_unit"]
    podman = [plan["redis_unit_path"], f"/etc/systemd/system/multi-user.target.wants/{unit}"]
    return DeliveryStep(
        is_unchanged=plan["as_proved"],
        portal_name=plan["portal_name"],
        state_dir=plan["state_dir"],
        digest=plan["sum"],
        records=plan["recorded"],
        redis_moves=plan["redis_way_now"] not in ("", plan["redis_way"]),
        apart=plan["layout"] == APART,
        port=plan["port"],
        processes=plan["processes"] or 1,
        reached_at=plan["reached_at"],
        front=plan["front"],
        user=plan["user"],
        site_packages=portal.get("site_packages"),
        other_groups=plan["other_groups"],
        reads=_reads(plan),
        environment_file=_environment(plan) if plan["environment"] else None,
        redis=plan["redis"],
        redis_container=plan["container_name"] if plan["redis"] == "container" else "",
        redis_image=plan["redis_image"],
        redis_engine=plan["engine"],
        redis_engine_now=plan["engine_now"],
        login_endpoint=plan["redis_endpoint"] if plan["redis"] == "container" and plan["redis_acl"] else None,
        redis_endpoint_now=plan["redis_now"],
        redis_answers=_answers(plan),
        redis_askable=_askable(plan),
        redis_started_at=plan["redis_started_at"] if plan["redis"] == "shared" else None,
        prefix=plan["prefix"],
        backlog=".pubsub." not in plan["backend_now"],
        files=[
            f"{plan['home']}/portal_config.yml",
            str(PurePosixPath(plan["redis_socket"]).parent),
            *(podman if plan["engine"] == "podman" else []),
            *([site] if site else []),
            *process_files(plan),
        ],
        supervisor_config=(plan["server"].get("supervisor") or {}).get("config"),
    )


def _reads(plan: Plan) -> list[str]:
    """Return what the processes read when they start."""
    return [
        f"{plan['home']}/portal_config.yml",
        *([PortalNames(plan["portal_name"]).environment] if plan["environment"] else []),
    ]


def _environment(plan: Plan) -> EnvironmentFile:
    names = PortalNames(plan["portal_name"])
    return {
        "path": names.environment,
        "portal_name": names.portal,
        "group": plan["portal"].get("group"),
        "program": plan["program_path"],
        "prefix": plan["conda_prefix"],
    }


def process_files(plan: Plan) -> list[str]:
    """Return the files and folders of the processes, of their watch and of their variables."""
    conda, names = plan["conda_prefix"], PortalNames(plan["portal_name"])
    variables = names.environment, f"{conda}/conda-meta/state", f"{conda}/etc/conda/env_vars.d"
    watch = f"{names.state}/asgi_watch.py", names.watch_unit_path, f"{names.state}/{WATCH_STATE}"
    return [
        *(plan["log_dir"], plan["run_dir"], names.tmpfiles, str(plan["program_path"])),
        *(watch if plan["watch"] else ()),
        *(variables if plan["environment"] else ()),
    ]


def fleet_step(plan: Plan) -> FleetStep:
    """Return the step of `fleet_check`."""
    return FleetStep(
        portal_name=plan["portal_name"], user=plan["user"], reached_at=plan["reached_at"], ports=plan["ports"]
    )


# The step of each role, in the order of a run.
STEPS: dict[str, Callable[[Plan], Step]] = {
    "redis_container": redis_step,
    "channels_redis": packages_step,
    "portal_config": settings_step,
    "asgi_service": processes_step,
    "nginx_upstream": nginx_step,
    "layer_check": delivery_step,
    "fleet_check": fleet_step,
}


def steps(plan: Plan) -> dict[str, Any]:
    """Return the steps of a plan by their roles, as plain data; a host of a shared Redis has one."""
    roles = list(STEPS) if "ports" in plan else ["redis_container"]
    return {role: asdict(STEPS[role](plan)) for role in roles}
