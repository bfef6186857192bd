# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the role `tethys_docker`, as written: the plan has a problem for each wrong value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.model import AUTO, CORE_BACKEND

PREFIX = "tethys_docker_"


@dataclass(frozen=True)
class DockerInputs:
    """The variables by their names without `tethys_docker_`, the class of the layer chosen.

    What is not of its type here is refused by the plan.
    """

    state: str
    asgi_processes: object
    layer_backend: str
    layer_hosts: object
    layer_options: object
    bokeh: object
    carrier: str
    override_file: str
    dockerfile: str
    portal_service: str
    container: str
    user: str
    redis: str
    redis_service: str
    redis_image: str
    redis_memory_mb: object
    redis_uid: object
    network: str
    credentials_dir: str
    start: object
    project_name: str = ""
    # Those without a default.
    project_dir: str = ""
    redis_port: object = None

    @classmethod
    def given(cls, variables: Mapping[str, Any]) -> DockerInputs:
        """Return those among a host's variables."""
        names = [field.name for field in fields(cls) if f"{PREFIX}{field.name}" in variables]
        asked = cls(**{name: variables[f"{PREFIX}{name}"] for name in names})
        # Apps add layers of the core class on the same Redis, whose login is for the class of `default` alone.
        return replace(asked, layer_backend=CORE_BACKEND) if asked.layer_backend == AUTO else asked
