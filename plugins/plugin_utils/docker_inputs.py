# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The variables of the role `tethys_docker`, as written: the plan has a problem for each wrong value."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ansible_collections.tethys.channels.plugins.plugin_utils.model import Data

PREFIX = "tethys_docker_"


@dataclass(frozen=True)
class DockerInputs:
    """The variables by their names without `tethys_docker_`; the role's defaults have the others."""

    state: Any
    asgi_processes: Any
    layer_backend: Any
    layer_hosts: Any
    layer_options: Any
    bokeh: Any
    carrier: Any
    override_file: Any
    dockerfile: Any
    portal_service: Any
    container: Any
    user: Any
    redis: Any
    redis_service: Any
    redis_image: Any
    redis_memory_mb: Any
    redis_uid: Any
    network: Any
    credentials_dir: Any
    start: Any
    project_name: Any = ""
    # Those without a default.
    project_dir: Any = ""
    redis_port: Any = None

    @classmethod
    def given(cls, variables: Data) -> DockerInputs:
        """Return those among a host's variables."""
        names = [field.name for field in fields(cls) if f"{PREFIX}{field.name}" in variables]
        return cls(**{name: variables[f"{PREFIX}{name}"] for name in names})
