# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a Compose project: its files, services, containers, and what runs in them."""

from __future__ import annotations

import json
import re
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils import asgi_record, tethys_docker_state
from ansible_collections.tethys.channels.plugins.module_utils.boundary import Rejected, clean, load
from ansible_collections.tethys.channels.plugins.module_utils.compose.command import (
    MARK,
    MOST_SAID,
    call,
    chosen,
    first,
    head,
    last_line,
    moment,
    named_in_dotenv,
    read,
)
from ansible_collections.tethys.channels.plugins.module_utils.secrets import may_hold_secret
from ansible_collections.tethys.channels.plugins.module_utils.text import shell_words

MOST_CONFIG = 4 * 1024 * 1024
# Files of the folder that are read.
MOST_ENTRIES = 2000
# By these labels a container or a network is known as this collection's, and as this folder's.
CONFIG_LABEL = "tethys.channels.config"
FOLDER_LABEL = "tethys.channels.project"
PERSIST = "/var/lib/tethys_persist"
# The order in which Compose looks for its files.
BASE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
# Those that every image of Tethys Docker sets.
ITS_VARIABLES = frozenset({"ASGI_PROCESSES", "CHANNEL_LAYERS_BACKEND", "TETHYS_HOME", "TETHYS_PERSIST"})
# The image's name, if the image is not on the server.
ITS_IMAGE = re.compile(r"(^|/)tethys-core([:@]|$)")
DEFAULT_SERVICE = "tethys"
_PROJECT_LABEL = "com.docker.compose.project"
# What Compose says of a variable that it takes for an empty one.
_UNSET = re.compile(r'The \\*"(\w{1,200})\\*" variable is not set')
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
# How a log shows that somebody printed portal_config.yml: what Tethys Docker itself prints has no such line.
_SETTINGS_LINE = re.compile(r"^\s*CHANNEL_LAYERS:\s*$", re.MULTILINE)
LAST_LINES = 5
# How long after its start a container's log is searched: what Tethys Docker prints before it serves.
LOG_SECONDS = 1200
MOST_RESTARTS = 3


def named(image: str) -> str:
    """Return an image's name as a container of a stack has it: without Docker Hub, with a tag, without a digest."""
    name = re.sub(r"^docker\.io/(library/)?", "", image.partition("@")[0])
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


class Look:
    """One look."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.folder = Path(params["project_dir"])
        self.docker = shutil.which("docker") or "docker"
        self.portal_service = str(params["portal_service"])
        # What the portal's service mounts, and the names of the project's volumes.
        self.mounts: list[dict[str, Any]] = []
        self.passed_on: list[str] = []
        self.volumes: dict[str, str | None] = {}
        self.found: dict[str, Any] = {
            "engine": None,
            "compose": None,
            "folder": None,
            "files": [],
            "reads_ours": False,
            "in_place": None,
            "earlier": [],
            "elsewhere": [],
            "override": {"exists": False, "ours": False, "text": ""},
            "dockerfile": {"exists": False, "ours": False, "problem": None},
            "problem": None,
            "portal_service": self.portal_service,
            "project_names": [],
            "stack": None,
            "unset": [],
            "log_has_settings": False,
            "candidate_problem": None,
            "project": None,
            "container": None,
            "volume": None,
            "persist_mounted": None,
            "is_tethys_docker": None,
            "image_id": None,
            "inside": None,
            "redis_container": None,
            "network": None,
            "groups_lost_at": 0,
            "credentials_of": None,
            "wait_problem": None,
        }

    def run(self) -> dict[str, Any]:
        """All facts that exist."""
        found = self.found
        code, out, _err = call(self.docker, "version", "--format", "{{.Server.Version}}")
        found["engine"] = out.strip() if code == 0 and out.strip() else None
        code, out, _err = call(self.docker, "compose", "version", "--short")
        found["compose"] = out.strip().lstrip("v") if code == 0 else None
        if not self.folder.is_dir():
            return found
        status = self.folder.stat()
        found["folder"] = {"owner": status.st_uid, "group": status.st_gid}
        if self.params["credentials_dir"]:
            try:
                note = Path(self.params["credentials_dir"]) / "project"
                found["credentials_of"] = note.read_text(encoding="utf-8").strip()
            except OSError:
                pass
        self.files()
        self.docker_file()
        if found["files"] and found["compose"]:
            self.compose()
        if found["engine"]:
            self.containers()
        return found

    def files(self) -> None:
        """Which files Compose reads, and whether ours is among them."""
        params, found = self.params, self.found
        ours = params["override_file"]
        path = self.folder / ours
        if path.exists():
            try:
                text = read(path)
            except (OSError, Rejected):
                text = ""
            mine = text.startswith(MARK)
            found["override"] = {"exists": True, "ours": mine, "text": text if mine else ""}
        self.choose(ours)
        found["earlier"] = [name for name in found["files"] if head(self.folder / name).startswith(MARK)]
        found["elsewhere"] = sorted(
            path.name
            for path in islice(self.folder.iterdir(), MOST_ENTRIES)
            if path.suffix in (".yml", ".yaml") and path.name != ours and path.is_file() and head(path).startswith(MARK)
        )

    def choose(self, ours: str) -> None:
        """The files that the variables, `.env` or Compose's own rules name."""
        params, found = self.params, self.found
        named = params["compose_files"] or named_in_dotenv(self.folder)
        if named:
            found["files"] = [name for name in named if name != ours]
            found["reads_ours"] = ours in named
            return
        base, other = first(self.folder, BASE_NAMES), first(self.folder, OVERRIDE_NAMES)
        if not base:
            return
        found["files"] = [base]
        if other and other != ours:
            found["files"].append(other)
            if ours in OVERRIDE_NAMES:
                found["in_place"] = other
        found["reads_ours"] = ours in OVERRIDE_NAMES and not found["in_place"]

    def docker_file(self) -> None:
        """Whether the Dockerfile is there and can take a block at its end."""
        path = self.folder / self.params["dockerfile"]
        try:
            text, problem = read(path), None
        except OSError:
            return
        except Rejected as error:
            self.found["dockerfile"] = {"exists": True, "ours": False, "problem": str(error)}
            return
        # Directives stand above everything else.
        head = re.match(r"(?:[ \t]*#[^\n]*\n)*", text)
        escape = re.search(
            r"^[ \t]*#[ \t]*escape[ \t]*=[ \t]*(\S)", head.group(0) if head else "", re.IGNORECASE | re.MULTILINE
        )
        if escape and escape.group(1) != "\\":
            problem = "escapes with another sign than the backslash"
        elif not re.search(r"^[ \t]*FROM\s", text, re.IGNORECASE | re.MULTILINE):
            problem = "has no FROM"
        elif text.rstrip().endswith("\\"):
            problem = "ends in the middle of an instruction"
        self.found["dockerfile"] = {"exists": True, "ours": MARK in text, "problem": problem}

    def compose(self) -> None:
        """What Compose makes of the files, without and with ours."""
        config = self.config(self.project_name())
        if config is None:
            return
        services = config.get("services") or {}
        self.portal_service = self.found["portal_service"] = self.its_service(config)
        portal = services.get(self.portal_service) or {}
        redis = self.params["redis_service"]
        self.mounts = portal.get("volumes") or []
        self.volumes = {key: (held or {}).get("name") for key, held in (config.get("volumes") or {}).items()}
        # Those that a service adopts by their names alone.
        self.passed_on = sorted(name for name, value in (portal.get("environment") or {}).items() if value is None)
        self.found["project"] = {
            "name": config.get("name"),
            "services": sorted(services),
            "networks": {key: (net or {}).get("name") for key, net in (config.get("networks") or {}).items()},
            "portal": self.service(services.get(self.portal_service)),
            "redis": self.service(services.get(redis)),
            "redis_users": sorted(
                name
                for name, service in services.items()
                if name not in (redis, self.portal_service)
                and (
                    redis in (service.get("depends_on") or {})
                    or any(str(link).partition(":")[0] == redis for link in service.get("links") or [])
                )
            ),
        }
        if self.params["candidate"]:
            line = self.compose_line(config.get("name"))
            code, out, err = call(*line, "-f", "-", "config", "--quiet", given=self.params["candidate"])
            self.found["candidate_problem"] = last_line(err or out) if code else None

    def project_name(self) -> str | None:
        """The name to give to Compose: the variable's, or the one that the folder's containers were started under."""
        if self.params["project_name"]:
            return str(self.params["project_name"])
        names: set[str] = set()
        for folder in sorted({str(self.folder), str(self.folder.resolve())}):
            label = f"label={_PROJECT_LABEL}.working_dir={folder}"
            shown = f'{{{{.Label "{_PROJECT_LABEL}"}}}}'
            _code, out, _err = call(self.docker, "ps", "-a", "--filter", label, "--format", shown)
            names.update(out.split())
        self.found["project_names"] = sorted(names) if len(names) > 1 else []
        return names.pop() if len(names) == 1 else None

    def compose_line(self, name: str | None) -> list[str]:
        """The beginning of a command of Compose for this project."""
        files = [word for file in self.found["files"] for word in ("-f", str(self.folder / file))]
        project = ["--project-name", name] if name else []
        return [self.docker, "compose", "--project-directory", str(self.folder), *project, *files]

    def config(self, name: str | None) -> dict[str, Any] | None:
        """What Compose makes of the files, or None with the reason noted."""
        code, out, err = call(*self.compose_line(name), "config", "--format", "json")
        if code:
            self.found["problem"] = last_line(err)
            return None
        self.found["unset"] = sorted(set(_UNSET.findall(err)))
        try:
            config = load(out, MOST_CONFIG)
        except Rejected as error:
            self.found["problem"] = str(error)
            return None
        return config if isinstance(config, dict) else {}

    def its_service(self, config: dict[str, Any]) -> str:
        """The portal's service; if the default is missing, the only one with an image of Tethys Docker."""
        services = config.get("services") or {}
        given = str(self.params["portal_service"])
        if given in services or given != DEFAULT_SERVICE:
            return given
        images = {name: held.get("image") or f"{config.get('name')}-{name}" for name, held in services.items()}
        found = []
        for name, image in sorted(images.items()):
            env = self.image_env(image)
            if ITS_IMAGE.search(image) if env is None else env.keys() >= ITS_VARIABLES:
                found.append(name)
        return str(found[0]) if len(found) == 1 else given

    def image_env(self, image: str) -> dict[str, str] | None:
        """The variables of an image, or None where it is not on the server."""
        code, out, _err = call(self.docker, "image", "inspect", "--format", "{{json .Config.Env}}", image)
        return chosen(json.loads(out) or []) if code == 0 and out.strip() else None

    @staticmethod
    def service(service: Any) -> dict[str, Any] | None:
        """What matters of a service."""
        if service is None:
            return None
        return {
            "image": service.get("image"),
            "build": bool(service.get("build")),
            "networks": sorted(service.get("networks") or {}),
            "network_mode": service.get("network_mode"),
            "container_name": service.get("container_name"),
            "env": chosen(service.get("environment")),
            "keys": sorted(key for key, value in service.items() if value not in (None, [], {})),
        }

    def containers(self) -> None:
        """The portal's container, the image that its next one would have, and what is inside."""
        project, found = self.found["project"], self.found
        image: str | None = None
        if project and project["portal"]:
            ids = self.of_service(self.portal_service)
            image = project["portal"]["image"] or f"{project['name']}-{self.portal_service}"
            env = self.image_env(image)
            found["is_tethys_docker"] = None if env is None else env.keys() >= ITS_VARIABLES
            self.volume(env or {})
            found["stack"] = None if ids else self.stack(image)
        else:
            ids = [self.params["container"]]
        found["container"] = self.container(ids[0]) if ids else None
        if found["container"] and not project:
            image = found["container"]["image"]
            found["is_tethys_docker"] = found["container"]["env"].keys() >= ITS_VARIABLES
        if image:
            code, out, _err = call(self.docker, "image", "inspect", "--format", "{{.Id}}", image)
            found["image_id"] = out.strip() if code == 0 else None
        other = self.inspect(self.params["redis_service"])
        if other:
            labels = other["Config"].get("Labels") or {}
            found["redis_container"] = {
                "id": other["Id"],
                "image": other["Config"]["Image"],
                "ours": CONFIG_LABEL in labels and self.of_folder(labels),
            }
        code, out, _err = call(
            *(self.docker, "network", "inspect", "--format", "{{json .Labels}}", self.params["network"])
        )
        if code == 0:
            found["network"] = {"ours": self.of_folder(json.loads(out) or {})}
        ours = self.of_service(self.params["redis_service"]) if project else []
        if found["redis_container"] and found["redis_container"]["ours"]:
            ours.append(found["redis_container"]["id"])
        found["groups_lost_at"] = max([0, *(asgi_record.groups_lost_at(name) for name in ours)])
        self.inside()

    def of_folder(self, labels: dict[str, str]) -> bool:
        """Whether what has these labels was made for this folder."""
        return FOLDER_LABEL in labels and Path(labels[FOLDER_LABEL]) == self.folder

    def volume(self, image_env: dict[str, str]) -> None:
        """Whether the portal's service mounts something at TETHYS_PERSIST, and whether that is there already."""
        env = {**image_env, **self.found["project"]["portal"]["env"]}
        persist = env.get("TETHYS_PERSIST", PERSIST).rstrip("/") + "/"
        above = [mount for mount in self.mounts if persist.startswith(str(mount.get("target", "")).rstrip("/") + "/")]
        # A volume that only the container names is another one in the next container.
        self.found["persist_mounted"] = any(mount.get("source") for mount in above)
        self.found["volume"] = any(map(self.is_there, above))

    def is_there(self, mount: dict[str, Any]) -> bool:
        """Whether a mount's volume, or something in its folder, is there already."""
        if mount.get("type") == "volume" and mount.get("source"):
            name = self.volumes.get(mount["source"]) or mount["source"]
            return call(self.docker, "volume", "inspect", name)[0] == 0
        folder = Path(str(mount.get("source") or "")) if mount.get("type") == "bind" else None
        return bool(folder and folder.is_dir() and any(folder.iterdir()))

    def stack(self, image: str) -> str | None:
        """The stack in which an image runs; Compose does not list it."""
        labels = '{{.Label "com.docker.stack.namespace"}}'
        line = ["ps", "-a", "--filter", "label=com.docker.stack.namespace", "--format", f"{labels} {{{{.Image}}}}"]
        _code, out, _err = call(self.docker, *line)
        rows = [row.split() for row in out.splitlines()]
        return next((row[0] for row in rows if len(row) == 2 and named(row[1]) == named(image)), None)

    def of_service(self, service: str) -> list[str]:
        """The ids of a service's containers."""
        label = "label=com.docker.compose."
        _code, out, _err = call(
            *(self.docker, "ps", "-aq", "--filter", f"{label}project={self.found['project']['name']}"),
            *("--filter", f"{label}service={service}", "--filter", f"{label}oneoff=False"),
        )
        return out.split()

    def inspect(self, name: str) -> Any:
        """What the engine returns of a container."""
        code, out, _err = call(self.docker, "container", "inspect", name)
        return json.loads(out)[0] if code == 0 else None

    def container(self, name: str) -> dict[str, Any] | None:
        """What matters of a container."""
        about = self.inspect(name)
        if not about:
            return None
        env = chosen(about["Config"]["Env"])
        persist = env.get("TETHYS_PERSIST", PERSIST)
        held = [mount for mount in about.get("Mounts") or [] if mount["Destination"] == persist]
        has = {str(pair).partition("=")[0] for pair in about["Config"]["Env"] or [] if not str(pair).endswith("=")}
        self.found["unset"] = sorted({*self.found["unset"], *has.intersection(self.passed_on)})
        return {
            "id": about["Id"],
            "name": about["Name"].lstrip("/"),
            "running": bool(about["State"]["Running"]) and not about["State"].get("Restarting"),
            "image": about["Config"]["Image"],
            "image_id": about["Image"],
            "env": env,
            "created": moment(about["Created"]),
            "started": moment(about["State"].get("StartedAt") or about["Created"]),
            "persisted": bool(held),
            "unnamed": any(
                mount.get("Type") == "volume" and _ANONYMOUS.fullmatch(str(mount.get("Name"))) for mount in held
            ),
            "ended": about["State"].get("Status") in ("exited", "dead"),
            "restarts": int(about.get("RestartCount") or 0),
            # What is on a tmpfs is gone with the container.
            "mounts": sorted(
                mount["Destination"] for mount in about.get("Mounts") or [] if mount.get("Type") != "tmpfs"
            ),
        }

    def inside(self) -> None:
        """What is on the volume of the container that runs."""
        container = self.found["container"]
        if not container or not container["running"]:
            return
        env = container["env"]
        python = f"{env.get('CONDA_HOME', '/opt/conda')}/envs/{env.get('CONDA_ENV_NAME', 'tethys')}/bin/python"
        as_user = ["--user", self.params["user"]]
        script = tethys_docker_state.script()
        code, out, err = call(self.docker, "exec", *as_user, container["id"], python, "-I", "-B", "-c", script)
        if code or not out.strip():
            self.found["inside"] = {"problem": last_line(err) if code else "no answer came"}
            return
        try:
            self.found["inside"] = tethys_docker_state.state_of(out)
        except Rejected as error:
            self.found["inside"] = {"problem": str(error)}

    def log(self) -> None:
        """Whether somebody's program printed portal_config.yml when the portal's container started."""
        container = self.found["container"]
        if container and container["running"]:
            since, until = int(container["started"]), int(container["started"] + LOG_SECONDS)
            span = ["--since", str(since), "--until", str(until)]
            _code, out, err = call(self.docker, "logs", *span, container["id"])
            self.found["log_has_settings"] = bool(_SETTINGS_LINE.search(out) or _SETTINGS_LINE.search(err))

    def last_words(self, container: str) -> str:
        """The last lines of a container's log, without those that may hold a secret."""
        _code, out, err = call(self.docker, "logs", "--tail", str(LAST_LINES), container)
        lines = [line.strip() for line in f"{out}{err}".splitlines() if line.strip()]
        shown = ["(not shown: it may hold a secret)" if may_hold_secret(line) else line for line in lines]
        return clean(" / ".join(shown), MOST_SAID) or "(it has none)"

    def has_ended(self, restarts: int) -> bool:
        """Whether the portal's container has ended, or ends again and again since it had so many restarts."""
        container = self.found["container"]
        return bool(container) and (container["ended"] or container["restarts"] - restarts >= MOST_RESTARTS)

    def wait_problem(self, restarts: int) -> str:
        """Why the portal has not become ready."""
        container, inside = self.found["container"] or {}, self.found["inside"] or {}
        name = container.get("name") or self.portal_service
        if self.has_ended(restarts):
            return (
                f"Container {name} ended before the portal answered. The last lines of its log:"
                f" {self.last_words(container['id'])}. Correct that, and run this again."
            )
        seconds = self.params["wait_seconds"]
        what = "accepted no connection" if inside.get("listens") else "did not listen"
        logs = shell_words("docker", "logs", name)
        return (
            f"The portal in container {name} {what} within {seconds} seconds. Read `{logs}`, or set"
            " tethys_docker_timeout to more seconds."
        )
