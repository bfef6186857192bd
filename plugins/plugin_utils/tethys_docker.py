# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A channel layer for Tethys Docker: inputs and facts go in, the plan comes out."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.docker_facts import DockerFacts, Kept, PortalContainer
from ansible_collections.tethys.channels.plugins.module_utils.redis.users import PORTAL_USER
from ansible_collections.tethys.channels.plugins.module_utils.secrets import without_secrets
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words
from ansible_collections.tethys.channels.plugins.plugin_utils.compose_file import (
    REDIS,
    carried,
    dockerfile_block,
    environment,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import client, compose, trust
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.bokeh import bokeh_in_use
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.image import image_version
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.project import (
    NAME,
    PROJECT_NAME,
    DockerFound,
    Project,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.decide.variables import (
    is_system_folder,
    misspelt,
    wrong_role_values,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_inputs import DockerInputs
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    CORE_BACKEND,
    MAX_PROCESSES,
    MEMORY_BACKEND,
    Problem,
    Refusal,
    codes,
    texts,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import is_mapping, mapping_of
from ansible_collections.tethys.channels.plugins.plugin_utils.values import choice_refusal, show, whole_number

BOKEH = ("auto", "in_use", "not_in_use")
CARRIERS = ("compose", "dockerfile")


class _Plan(Project):
    """The decisions of one run."""

    def variables(self) -> None:
        """What can be refused without facts about the server."""
        asked = self.asked
        folder = asked.project_dir
        if not isinstance(folder, str) or not PurePosixPath(folder).is_absolute():
            seen = f"is {show(folder)}" if folder else "is not set"
            self.refuse(
                "path-relative",
                "tethys_docker_project_dir",
                f"tethys_docker_project_dir {seen}: set it to the folder of the compose file (or of the Dockerfile) on"
                " the server, as an absolute path.",
            )
        for name, choices in (("carrier", CARRIERS), ("redis", REDIS), ("state", ("present", "absent"))):
            wrong = choice_refusal(f"tethys_docker_{name}", getattr(asked, name), choices)
            if wrong:
                self.problems.append(wrong)
        for name in ("portal_service", "redis_service", "container", "network"):
            if not isinstance(getattr(asked, name), str) or not NAME.fullmatch(getattr(asked, name)):
                self.refuse(
                    "name-invalid",
                    f"tethys_docker_{name}",
                    f"tethys_docker_{name} is {show(getattr(asked, name))}: set it to a name as Docker takes it, of"
                    " letters, digits, and _ . - after the first.",
                )
        name = asked.project_name
        if name and not (isinstance(name, str) and PROJECT_NAME.fullmatch(name)):
            self.refuse(
                "name-invalid",
                "tethys_docker_project_name",
                f"tethys_docker_project_name is {show(name)}: set it to the name that you give to `docker compose -p`,"
                " of small letters, digits, and _ - after the first.",
            )
        kept = PurePosixPath(str(asked.credentials_dir))
        if not kept.is_absolute() or ".." in kept.parts or is_system_folder(kept):
            self.refuse(
                "folder-shared",
                "tethys_docker_credentials_dir",
                f"tethys_docker_credentials_dir is {show(asked.credentials_dir)}: set it to a separate folder, as an"
                " absolute path, such as /etc/tethys-channels-docker.",
            )
        for name in ("redis_image", "user"):
            if not isinstance(getattr(asked, name), str) or not getattr(asked, name):
                what = "an image with its tag" if name == "redis_image" else "the user that runs the portal in it"
                self.refuse(
                    "value-missing",
                    f"tethys_docker_{name}",
                    f"tethys_docker_{name} is {show(getattr(asked, name))}: set it to {what}.",
                )
        self._file_reasons()
        self._layer_reasons()

    def _file_reasons(self) -> None:
        """Why files cannot have the names that they are given."""
        asked = self.asked
        for name in ("override_file", "dockerfile"):
            value = getattr(asked, name)
            if not isinstance(value, str) or not value or "/" in value or value in (".", ".."):
                self.refuse(
                    "file-name-invalid",
                    f"tethys_docker_{name}",
                    f"tethys_docker_{name} is {show(value)}: set it to the name of a file in"
                    " tethys_docker_project_dir.",
                )
            elif name == "override_file" and PurePosixPath(value).suffix not in (".yml", ".yaml"):
                self.refuse(
                    "file-name-invalid",
                    "tethys_docker_override_file",
                    f"tethys_docker_override_file is {show(value)}: set it to a name that ends in .yml or .yaml.",
                )

    def _layer_reasons(self) -> None:
        """Why the layer or the number of processes cannot be what they are."""
        asked = self.asked
        wrong = choice_refusal("tethys_bokeh", asked.bokeh, BOKEH)
        if wrong:
            self.problems.append(wrong)
        number = whole_number(asked.asgi_processes)
        if number is None or number > MAX_PROCESSES:
            self.refuse(
                "processes-invalid",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {show(asked.asgi_processes)}: set it to a whole number from 1 to"
                f" {MAX_PROCESSES}, written in digits.",
            )
        else:
            self.processes = number
        try:
            # The name of Redis's service is checked above.
            dockerfile_block(replace(self.asked, redis_service="redis"))
        except Refusal as refusal:
            self.problems.extend(refusal.problems)
        prefix = (asked.layer_options or {}).get("prefix") if isinstance(asked.layer_options, Mapping) else None
        if prefix and self.redis in REDIS and not re.fullmatch(r"[A-Za-z0-9_.:-]+", str(prefix)):
            self.refuse(
                "prefix-not-for-acl",
                "tethys_docker_layer_options",
                f"tethys_docker_layer_options has the prefix {show(prefix)}, which Redis's access rules cannot name:"
                " use letters, digits and the signs _ . : - only.",
            )

    def bokeh(self) -> None:
        """The single-process rule, and what only several processes need."""
        number, asked = self.processes, self.asked
        if number is None or number == 1:
            return
        if asked.layer_backend == MEMORY_BACKEND:
            self.refuse(
                "memory-layer-needs-one-process",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {number} with tethys_layer_backend {MEMORY_BACKEND}, where only the sender's"
                f" own process receives a message: set tethys_asgi_processes to 1, or tethys_layer_backend to"
                f" {CORE_BACKEND}.",
            )
        if asked.bokeh not in BOKEH:
            return
        bokeh, why = asked.bokeh, ""
        if bokeh == "auto":
            bokeh, why = self.asked_portal()
        in_use = bokeh_in_use(bokeh)
        if in_use:
            known = ", or tethys_bokeh to not_in_use where no app uses it" if bokeh == "unknown" else ""
            self.refuse(
                "bokeh-needs-one-process",
                "tethys_asgi_processes",
                f"tethys_asgi_processes is {number} and {in_use}, whose pages work in a single process only: set"
                f" tethys_asgi_processes to 1{known}.{why}",
            )

    def old_redis(self) -> None:
        """An image of Redis that the portal's redis-py cannot connect to."""
        image = str(self.asked.redis_image)
        if self.redis in REDIS and re.search(r"(^|/)redis:", image):
            redis_py = (self.portal.get("versions") or {}).get("redis")
            fix = "Set it to docker.io/library/redis:8.2."
            wrong = client.hello_refusal(
                "tethys_docker_redis_image", image, image_version(image), redis_py, fix, ours=True
            )
            self.problems.extend([wrong] if wrong else [])

    def asked_portal(self) -> tuple[Any, str]:
        """What is known of Bokeh, and why it is not known."""
        container, image = self.look["container"], self.look["image_id"]
        if not container or not container["running"]:
            return "unknown", " (Why it is not known: the portal's container does not run, so it cannot be inspected.)"
        if image and image != container["image_id"]:
            return "unknown", " (Why it is not known: the portal's image is newer than the container that runs.)"
        problem = self.portal.get("bokeh_problem")
        return self.portal.get("bokeh", "unknown"), f" (Why it is not known: {problem})" if problem else ""

    def inside(self) -> None:
        """What a portal that runs has to put up with."""
        look, container, inside = self.look, self.look["container"], self.look["inside"] or {}
        if inside.get("problem"):
            self.refuse(
                "user-unusable",
                "tethys_docker_user",
                f"tethys_docker_user is {show(self.asked.user)}, and nothing can be run as that user in container"
                f" {self.container.get('name')}: {inside['problem']}. Set it to the user that runs the portal there.",
            )
            return
        self.problems += compose.cannot_serve(inside, self.container.get("name"))
        if container and self.recreates:
            self.loose_data(container)
            self.announce.append(
                f"Container {container['name']} is recreated, since {self.recreates}: the portal does not answer until"
                " it has started again."
            )
        elif container and not (self.absent or look["project"]):
            # The administrator replaces it, for the image with our variables.
            data = (self.portal.get("settings") or {}).get("data") or []
            self.warnings += compose.loose_data(data, container["mounts"], container["name"])
        if not self.absent:
            self.warnings += compose.volume_warnings(look, self.service)
            if container and look["log_has_settings"] and self.redis in REDIS:
                self.warnings.append(compose.log_warning(container["name"]))
        if not container or not self.processes or self.asked.state == "absent":
            return
        if inside.get("set_up"):
            self.old_volume(inside.get("processes"))
        if not container["persisted"]:
            self.warn(
                "volume-missing",
                str(container["name"]),
                f"Container {container['name']} has no volume at TETHYS_PERSIST: changes inside are lost when it is"
                " recreated, until the next run.",
            )

    def old_volume(self, before: int | None) -> None:
        """What changes inside the container, whose volume was set up before."""
        if before != self.processes:
            self.announce.append(
                f"The portal's volume was set up before, and Tethys Docker ignores ASGI_PROCESSES then: the number"
                f" of processes ({before} now, then {self.processes}) is changed inside the container."
                " Supervisor restarts all of them at once, and requests fail or wait until they answer."
            )
        settings = self.portal.get("settings") or {}
        layers = mapping_of(settings.get("channel_layers"))
        default = layers.get("default")
        # The in-memory layer needs no CONFIG, and the variables carry an empty one.
        default = {"CONFIG": {}, **mapping_of(default)} if is_mapping(default) else default
        # Layers besides `default` are the project's own.
        if settings.get("layer_backend", self.asked.layer_backend) != self.asked.layer_backend or (
            layers and without_secrets({"default": default}) != carried(self.asked)
        ):
            self.announce.append(
                "The portal's volume was set up before, and Tethys Docker ignores CHANNEL_LAYERS_BACKEND and"
                " CHANNEL_LAYERS_CONFIG then: CHANNEL_LAYERS is changed inside the container."
            )
        self.further_layers(settings.get("channel_layers"))

    def loose_data(self, container: PortalContainer) -> None:
        """What the container's own layer holds, which is gone with the container."""
        data = (self.portal.get("settings") or {}).get("data")
        if data is not None:
            self.problems += compose.loose_data(data, container["mounts"], container["name"])
        elif not container["persisted"]:
            start = shell_words("docker", "start", container["name"])
            self.refuse(
                "container-unreadable",
                "tethys_docker_portal_service",
                f"Container {container['name']} has no volume at TETHYS_PERSIST and is recreated, and the portal in it"
                " could not be inspected for data that is lost with it. Start the portal unchanged"
                f" (`{start}`), or remove the container if nothing in it is needed.",
            )

    @property
    def recreates(self) -> str:
        """Why the run makes Compose replace the portal's container; empty where it does not."""
        ours, asked, project = self.look["override"]["ours"], self.asked, self.project
        if not (asked.start and project):
            return ""
        if self.absent:
            return "only your own compose file applies again" if ours and self.container.get("running") else ""
        if not self.processes:
            return ""
        has, image = self.container.get("env") or {}, self.look["image_id"]
        wanted = environment(asked, "compose") if asked.carrier == "compose" else {}
        if any(has.get(name) != value for name, value in wanted.items()):
            return "its variables change"
        if image and image != self.container.get("image_id"):
            return "its image has changed"
        # Our file adds a network to it.
        return "its service in Compose changes" if self.redis in REDIS and not ours else ""

    def further_layers(self, layers: Any) -> None:
        """Layers besides `default` on the Redis that gets a password."""
        if self.redis not in REDIS:
            return
        served = compose.Served(self.asked.redis_service, PORTAL_USER, carried(self.asked)["default"])
        self.problems += compose.further_refusals(layers, served)
        new = compose.lacking_login(layers, served)
        if new:
            self.announce.append(compose.login_announcement(new))


def _of_names(plan: _Plan, found: DockerFound) -> list[Problem]:
    """Return the problems of names and types, without those of a variable that the plan has checked."""
    judged = {problem.subject for problem in plan.problems}
    wrong = wrong_role_values(
        {name: value for name, value in (found.get("values") or {}).items() if name.startswith("tethys_docker_")},
        {
            "tethys_asgi_processes": plan.asked.asgi_processes,
            "tethys_layer_backend": plan.asked.layer_backend,
            "tethys_layer_hosts": plan.asked.layer_hosts,
            "tethys_bokeh": plan.asked.bokeh,
        },
    )
    unknown = misspelt(found.get("names") or [], found.get("known") or [])
    return [*unknown, *(problem for problem in wrong if problem.subject not in judged)]


@dataclass(frozen=True)
class DockerStep:
    """What the role `tethys_docker` goes by.

    `set_up_here` is whether the volume was set up by the container that runs, `can_be_fresh` whether that can have been
    with our variables: there was no container yet, or our files were there. `is_theirs` is whether the project itself
    has a service with the name under which an earlier run had Compose run Redis. `own_network` is the network that
    goes with our file, as Docker calls it.
    """

    processes: int | None
    redis: str
    project_name: str | None
    portal_service: str
    services: list[str]
    files: list[str]
    paths: list[str]
    container: str | None
    running: bool
    kept: Kept | None
    ours: bool
    set_up_here: bool
    can_be_fresh: bool
    backend: str
    redis_before: str | None
    is_theirs: bool
    own_network: str
    prefix: str
    home: str
    persist: str
    port: int
    docker: DockerFacts


def _step(plan: _Plan) -> DockerStep:
    look = plan.look
    container, inside = plan.container, look["inside"] or {}
    env = container.get("env") or {}
    files = [*look["files"], plan.asked.override_file]
    services = (look["project"] or {}).get("services") or []
    running = bool(container.get("running"))
    return DockerStep(
        processes=plan.processes,
        redis=plan.redis,
        project_name=(look["project"] or {}).get("name"),
        portal_service=plan.service,
        services=[plan.service, *([plan.asked.redis_service] if plan.redis == "compose" else [])],
        files=files,
        paths=[posixpath.join(str(plan.asked.project_dir), str(name)) for name in files],
        container=container.get("id"),
        running=running,
        kept=inside.get("kept"),
        ours=plan.ours,
        set_up_here=(inside.get("set_up_at") or 0) >= container.get("created", 0) > 0,
        can_be_fresh=not container.get("id")
        # A run that was killed, or the user's own `docker run`, can have made it since.
        or (running and not inside.get("set_up"))
        or bool(look["override"]["ours"] or look["dockerfile"]["ours"]),
        backend=str(plan.asked.layer_backend),
        redis_before=plan.redis_before,
        is_theirs=plan.redis_before in services,
        own_network=_own_network(plan),
        prefix=f"{env.get('CONDA_HOME', '/opt/conda')}/envs/{env.get('CONDA_ENV_NAME', 'tethys')}",
        home=env.get("TETHYS_HOME", "/usr/lib/tethys"),
        persist=env.get("TETHYS_PERSIST", "/var/lib/tethys_persist"),
        port=whole_number(env.get("TETHYS_PORT")) or 8000,
        docker=look,
    )


def _own_network(plan: _Plan) -> str:
    """Return the network that was made for this project, or that only our file names; empty where there is none."""
    name, project, network = str(plan.asked.network), plan.project, plan.look["network"]
    if network and network["ours"]:
        return name
    is_of_our_file = plan.redis_before and project and name not in project["networks"]
    return f"{project['name']}_{name}" if is_of_our_file else ""


def docker_plan(asked: DockerInputs, found: DockerFound) -> dict[str, Any]:
    """Return the plan of a run, with every reason against it.

    Args:
        asked: the role's variables.
        found: the host's variables, and what the modules returned; without `docker`, only the variables are checked.

    Returns:
        `refusals`, `warnings` and `announce` (sentences), and what the role does.
    """
    plan = _Plan(asked, found)
    plan.variables()
    problems = _of_names(plan, found)
    if not found.get("docker"):
        refused = [*problems, *plan.problems]
        return {"refusals": texts(refused), "codes": codes(refused), "warnings": [], "announce": []}
    plan.server()
    if plan.absent:
        plan.removal()
    else:
        plan.bokeh()
        plan.old_redis()
    plan.inside()
    trusted = trust.verdict(plan.look.get("trust"))
    plan.problems += trusted.refusals
    plan.warnings += trusted.warnings
    refused = [*problems, *plan.problems]
    return {
        "refusals": texts(refused),
        "codes": codes(refused),
        "warnings": texts(plan.warnings),
        "announce": plan.announce,
        # The portal's own files are inside the container, whose user root never is.
        "trust": trust.lines(trusted, {}),
        # What is known only once the portal has started.
        "after_start": texts(compose.cannot_serve(plan.look["inside"] or {}, plan.container.get("name"))),
        **asdict(_step(plan)),
    }
