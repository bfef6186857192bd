# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run goes by that does not come from the server: variables, and the collection itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypedDict

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.release import __version__
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames
from ansible_collections.tethys.channels.plugins.plugin_utils import own_files
from ansible_collections.tethys.channels.plugins.plugin_utils.docker_inputs import DockerInputs
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    AUTO,
    CORE_BACKEND,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
    Data,
    Inputs,
    names_of,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.values import whole_number

ROOT = Path(__file__).parents[2]
FOLDERS = ("playbooks", "plugins", "roles")
# Variables that only affect the run itself, and no state on the server.
OF_THE_RUN = re.compile(
    r"(tethys_hosts|tethys_serial|preflight_pipelining|preflight_portals|(layer_check|fleet_check|tethys_docker)_.*)$"
)
# The variables that a run checks by their names.
JUDGED = re.compile(
    r"(tethys|preflight|redis_container|channels_redis|portal_config|asgi_service|nginx_upstream|layer_check|fleet_check)_"
)
# What follows a default that names something of the portal's, as the roles write it.
OF_NAME = "{{ '-' if tethys_portal_name | default('', true) else '' }}{{ tethys_portal_name | default('', true) }}"
# The collection-wide variables, and in which variable of the role each has its default.
ASKED = {
    "tethys_home": "preflight_home",
    "tethys_conda_prefix": "preflight_conda_prefix",
    "tethys_portal_name": "preflight_portal_name",
    "tethys_asgi_processes": "preflight_asgi_processes",
    "tethys_port": "preflight_port",
    "tethys_bind_address": "preflight_bind_address",
    "tethys_supervisor_config": "preflight_supervisor_config",
    "tethys_user": "preflight_user",
    "tethys_layer_backend": "preflight_layer_backend",
    "tethys_layer_hosts": "preflight_layer_hosts",
    "tethys_layer_redis": "preflight_layer_redis",
    "tethys_bokeh": "preflight_bokeh",
    "tethys_bokeh_policy": "preflight_bokeh_policy",
    "tethys_asgi_layout": "preflight_asgi_layout",
}
# The roles' variables by which the plan of a portal is made.
OF_PORTAL = (
    "redis_container_engine",
    "redis_container_image",
    "redis_container_port",
    "redis_container_transport",
    "asgi_service_log_dir",
    "asgi_service_run_dir",
    "asgi_service_start_timeout",
    "nginx_upstream_name",
)


def has_users(asked: Any, image: Any) -> bool:
    """Return whether a Redis has users, by the variable or, with `auto`, unless its image is Redis 5 or older."""
    if str(asked) != "auto":
        return bool(boolean(asked, strict=False))
    return re.search(r":[1-5]([.@-]|$)", str(image)) is None


def has_channel_rights(image: Any) -> bool | None:
    """Return whether a Redis can confine a user to channels, by its image's tag, or None where that does not say it.

    Redis 6.0 does not start with such rights. A tag that has only the 6 may be of an image that was fetched long ago.
    """
    tag = str(image).partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = re.match(r"(\d+)(?:\.(\d+))?(?:[.-]|$)", tag)
    if not found or (found.group(1) == "6" and not found.group(2)):
        return None
    return (int(found.group(1)), int(found.group(2) or 0)) >= (6, 2)


class RedisOptions(TypedDict):
    """What the plan of a host of the shared Redis is made by."""

    goal: str
    name: str
    names: list[str]
    portals: list[str]
    address: str
    transport_asked: str
    redis_container_engine: str
    redis_container_name: str
    redis_container_image: str
    redis_container_install_engine: bool
    redis_container_port: int
    redis_container_acl: str
    topology: str
    sentinel_name: str
    sentinel_port: int
    certificate_given: bool
    renew_days: int


def sum_of(values: Data, root: Path = ROOT) -> str:
    """Return a digest of the variables, the collection's files and ansible-core's version."""
    decisive = {name: value for name, value in values.items() if not OF_THE_RUN.match(name)}
    # Twice, since numbers and texts that are keys of one mapping cannot be sorted before they all are texts.
    texts = json.loads(json.dumps([decisive, __version__], default=str))
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*")):
        # What Python keeps beside a file for itself is made when it is first used.
        if path.suffix != ".pyc" and path.is_file():
            digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def defaults() -> Data:
    """Return the defaults of the roles that a play may not have, and a decision reads."""
    roles = ("redis_container", "channels_redis", "nginx_upstream", "asgi_service")
    files = [own_files.read(ROOT / "roles" / role / "defaults" / "main.yml") for role in roles]
    return {name: value for file in files for name, value in file.items()}


def _is_there(path: Path) -> bool:
    """Return whether there is something. Where this user may not look, Python before 3.12 has an error for it."""
    try:
        return path.exists()
    except OSError:
        return False


def _path(value: Any) -> Path:
    """Return a path on the controller, where `~` may begin it; one of an unknown user is returned unchanged."""
    return Path(os.path.expanduser(str(value)))  # noqa: PTH111 - Path.expanduser raises for an unknown user


class Variables:
    """The variables of one host, each templated when it is read.

    Args:
        held: the variables as Ansible has them for the task.
        template: what resolves the templates in a value.
        read_file: what returns the text of a file on the controller, empty where there is none.
    """

    def __init__(
        self, held: Mapping[str, Any], template: Callable[[Any], Any], read_file: Callable[[str], str] = str
    ) -> None:
        self.held, self.template, self.read_file = held, template, read_file

    def read(self, name: str, otherwise: Any = None) -> Any:
        """Return a variable's value, or another one where there is no such variable."""
        return self.template(self.held[name]) if name in self.held else otherwise

    def is_set(self, name: str) -> bool:
        """Return whether a variable is true, in whatever form it is written."""
        return bool(boolean(self.read(name, False), strict=False))

    def of_role(self, name: str) -> Any:
        """Return a role's variable, by its default where the play does not have that role.

        One that names something of the portal's has its default for this portal.
        """
        if name in self.held:
            return self.read(name)
        value = defaults().get(name)
        return value.replace(OF_NAME, self.names.suffix) if isinstance(value, str) else value

    @property
    def of_portal(self) -> dict[str, str]:
        """The parameters that a module gets for a portal that has a name."""
        return {"portal_name": self.names.portal, "state_dir": self.names.state} if self.names.portal else {}

    @cached_property
    def names(self) -> PortalNames:
        """The names of the portal's own; a host of a Redis that portals share has those of a first portal."""
        is_redis = self.read("preflight_kind") == "redis"
        return PortalNames() if is_redis else names_of({"tethys_portal_name": self.read("preflight_portal_name")})

    @cached_property
    def found(self) -> Any:
        """What `gather` found on the host, or None before it has."""
        return self.read("__preflight_found")

    def with_found(self, found: Any) -> Variables:
        """Return the variables with what was just found, by which a role's variable may be chosen."""
        more = Variables(self.held, self.template, self.read_file)
        more.found = found
        return more

    @cached_property
    def values(self) -> Data:
        """The host's variables that look like this collection's."""
        return {name: self.read(name) for name in self.held if JUDGED.match(name)}

    @cached_property
    def tethys(self) -> Data:
        """The host's variables that begin with `tethys_`, as the play for Tethys Docker checks them."""
        return {name: self.read(name) for name in self.held if name.startswith("tethys_")}

    @property
    def tethys_docker(self) -> DockerInputs:
        """The variables of the role `tethys_docker`."""
        return DockerInputs.given(self.tethys)

    @property
    def goal(self) -> str:
        """What the run is for."""
        return str(self.read("preflight_goal"))

    @property
    def inputs(self) -> Inputs:
        """What the plan of a portal is made by."""
        looks = self.goal == "look"
        return Inputs(
            asked={
                **{name: self.read(of_role) for name, of_role in ASKED.items()},
                "tethys_layer_backend": self.backend,
            },
            options={
                "layer_backend": self.read("preflight_layer_backend") or AUTO,
                "core_reason": self.core_reason,
                "goal": "site" if looks else self.goal,
                # As the play has them; the one that only looks has all at once.
                "hosts_at_once": 0 if looks else len(self.read("ansible_play_batch")),
                "redis_container_install_engine": self._installs_engine,
                **{name: self.of_role(name) for name in OF_PORTAL},
            },
            values=self.values,
            names=tuple(self.values),
            known=self.read("preflight_known_variables"),
        )

    @property
    def _installs_engine(self) -> bool:
        return bool(boolean(self.of_role("redis_container_install_engine"), strict=False))

    @property
    def redis_acl(self) -> bool:
        """Whether the layer's own Redis has users."""
        return has_users(self.of_role("redis_container_acl"), self.of_role("redis_container_image"))

    @property
    def channel_rights(self) -> bool | None:
        """Whether the layer's own Redis can confine a user to channels, None if its image does not show it."""
        return has_channel_rights(self.of_role("redis_container_image"))

    @property
    def layer_options(self) -> Data:
        """The entries of the layer's CONFIG that the administrator added."""
        given = self.read("portal_config_layer_options")
        return given if isinstance(given, Mapping) else {}

    @cached_property
    def backend(self) -> str:
        """The class of the layer."""
        # Not above: each process that Ansible forks would load it to find any action plugin.
        from ansible_collections.tethys.channels.plugins.plugin_utils.class_choice import chosen_class

        return chosen_class(self.read("preflight_layer_backend"), self.core_reason)

    @cached_property
    def core_reason(self) -> str:
        """What needs the core class, of the variables, of what was found so far, or of portals that share the Redis."""
        from ansible_collections.tethys.channels.plugins.plugin_utils.class_choice import core_reason

        redis = self.read("preflight_layer_redis")
        hosts = None if redis else self.read("preflight_layer_hosts")
        # Once for all portals, since it takes the variables of each.
        shared = (self.read("__preflight_class") or {}).get("reason") if redis else ""
        return core_reason(self.layer_options, hosts, self.found) or str(shared or "")

    @property
    def backend_now(self) -> str:
        """The class that the processes have: a run of `site` gives them its own, any other leaves them theirs."""
        portal = (self.found or {}).get("portal") or {}
        now = str((portal.get("settings") or {}).get("layer_backend"))
        return now if now in (CORE_BACKEND, PUBSUB_BACKEND) and self.goal not in ("site", "look") else self.backend

    @property
    def prefix(self) -> str:
        """The prefix of the layer's keys."""
        return str(self.layer_options.get("prefix") or "asgi")

    @property
    def requirements(self) -> list[Any]:
        """What the portal's environment must hold, with what other variables need there."""
        given = self.of_role("channels_redis_requirements")
        # As Ansible makes a list of a text.
        needed = [word.strip() for word in given.split(",")] if isinstance(given, str) else list(given)
        if boolean(self.of_role("channels_redis_hiredis"), strict=False):
            needed.append("hiredis>=3.2")
        # The pub/sub class of channels_redis 4.2.0 takes the keys, and encrypts nothing.
        encrypts = (
            ["cryptography", "channels_redis>=4.2.1"] if "symmetric_encryption_keys" in self.layer_options else []
        )
        return [*needed, *encrypts]

    @property
    def wants_packages(self) -> bool:
        """Whether the run may install them."""
        goals = ("site", "check", "look")
        return self.goal in goals and self.backend != MEMORY_BACKEND

    @property
    def digest(self) -> str:
        """Return a digest of the inputs for a portal's server, with which a run detects that nothing has changed.

        It may be one of passwords, so it goes into no result. It is empty where everything is compared in any case: in
        a dry run, where there is more than the server to inspect, with tags, with which nothing may be verified, and in
        plays of somebody's own, which may give a role other variables than all roles have.
        """
        compares_all = (
            not self.is_set("__preflight_of_site")
            or not self.is_set("preflight_trust_proof")
            or self.is_set("ansible_check_mode")
            or self.read("preflight_layer_redis")
            or self.is_set("redis_container_rotate")
            or list(self.read("ansible_run_tags", ())) != ["all"]
            or self.read("ansible_skip_tags")
        )
        return "" if compares_all else sum_of(self.values)

    @property
    def redis_options(self) -> RedisOptions:
        """What the plan of a host of the shared Redis is made by."""
        name = str(self.read("inventory_hostname"))
        return RedisOptions(
            goal=self.goal,
            name=name,
            names=self.read("preflight_layer_redis"),
            portals=self.read("preflight_portals"),
            address=str(self.read("redis_container_address", "")),
            # As the inventory or the command line has it: the role's default is meant for a portal's own Redis.
            transport_asked=str(self.held["hostvars"][name].get("redis_container_transport", "")),
            redis_container_engine=self.of_role("redis_container_engine"),
            redis_container_name=self.of_role("redis_container_name"),
            redis_container_image=self.of_role("redis_container_image"),
            redis_container_install_engine=self._installs_engine,
            redis_container_port=self.of_role("redis_container_port"),
            redis_container_acl=self.of_role("redis_container_acl"),
            topology=self.of_role("redis_container_topology"),
            sentinel_name=self.of_role("redis_container_sentinel_name"),
            # A value that is not a number is refused with the other variables.
            sentinel_port=whole_number(self.of_role("redis_container_sentinel_port")) or 0,
            certificate_given=bool(self.read("redis_container_tls_cert")),
            renew_days=self.of_role("redis_container_tls_renew_days"),
        )

    def certificate_files(self) -> tuple[dict[str, str], list[str]]:
        """Return the texts of a certificate's files on the controller, and the variables of those that say nothing.

        They are the administrator's own or those of the private CA. A file that exists and cannot be read does not
        count as missing, and is not overwritten.
        """
        folder = _path(self.read("redis_container_tls_dir") or "/")
        name = self.read("inventory_hostname")
        own = {"tls_cert": f"{name}.crt", "tls_key": f"{name}.key", "tls_ca": "ca.crt"}
        paths = {
            f"redis_container_{part}": _path(self.read(f"redis_container_{part}") or folder / file)
            for part, file in own.items()
        }
        paths["authority_key"] = folder / "ca.key"
        texts = {variable: self.read_file(str(path)) for variable, path in paths.items()}
        unread = [variable for variable, path in paths.items() if _is_there(path) and not texts[variable]]
        if _is_there(folder) and not (_is_there(folder / ".") and os.access(folder, os.X_OK)):
            unread.append("redis_container_tls_dir")
        return texts, unread
