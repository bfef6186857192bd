# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects like public ones, from the inspection to our compose file.

The files in `compose` are what `docker compose config --format json` (Compose 2.26.1) makes of compose files with these
shapes: the one of Tethys's tutorial, Tethys's own, and one with a database, GeoServer, THREDDS and a Redis of others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.compose import project
from ansible_collections.tethys.channels.tests.unit.plugins.modules.test_tethys_docker_info import ITS, composed
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_tethys_docker import (
    asked,
    look,
    override,
    plan,
)

FILES = Path(__file__).parent / "compose"


def found(tmp_path: Path, name: str, images: tuple[str, ...] = (), **params: Any) -> dict[str, Any]:
    """Inspect a project without containers whose Tethys Docker images are these."""
    config = json.loads((FILES / f"{name}.json").read_text(encoding="utf-8"))
    answers = {f"image inspect {image}": {"out": ITS} for image in images}
    one: project.Look = composed(tmp_path, config, answers, **params)
    one.containers()
    return look(**{**one.found, **{key: look()[key] for key in ("engine", "compose", "folder", "reads_ours")}})


def test_the_tutorials_project(tmp_path: Path) -> None:
    """Its service is `web`, with `build` and `image`, an `env_file`, mounts, and a Redis on another network."""
    seen = found(tmp_path, "tutorial", ("tethys-portal-docker:latest",))
    assert (seen["portal_service"], seen["is_tethys_docker"], seen["persist_mounted"]) == ("web", True, True)
    decided = plan(asked(), seen)
    assert (decided["refusals"], decided["warnings"]) == ([], [])
    (told,) = decided["announce"]
    assert told.startswith("The service redis (redis:latest) of your compose file runs with")
    services = override(asked(), seen)["services"]
    # The variables of its env_file stay behind ours; its dependencies are Compose's to merge.
    assert services["web"]["environment"]["ASGI_PROCESSES"] == "1"
    assert services["web"]["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "networks" not in services["web"]
    assert services["redis"]["networks"] == ("override", {"internal": None})
    assert services["redis"]["ports"] == ("override", [])
    assert "a-password" not in json.dumps(seen)


def test_the_tutorials_project_before_its_image_is_built(tmp_path: Path) -> None:
    """Nothing shows which service it is."""
    (reason,) = plan(asked(), found(tmp_path, "tutorial"))["refusals"]
    assert "the services of docker-compose.yml are db, redis, thredds, web: set it to the portal's" in reason
    (tmp_path / "named").mkdir()
    assert plan(asked(), found(tmp_path / "named", "tutorial", portal_service="web"))["refusals"] == []


def test_tethys_own_project(tmp_path: Path) -> None:
    """Without a volume and without networks."""
    seen = found(tmp_path, "upstream")
    decided = plan(asked(), seen)
    assert decided["refusals"] == []
    (told,) = decided["warnings"]
    assert told.startswith("The service tethys mounts no volume at TETHYS_PERSIST")
    file = override(asked(), seen)
    assert file["networks"] == {"internal": {"internal": True}}
    assert file["services"]["tethys"]["networks"] == {"default": None, "internal": None}


def test_a_project_whose_redis_has_other_users(tmp_path: Path) -> None:
    """With a database, GeoServer and THREDDS; the login of another service would be lost."""
    seen = found(tmp_path, "many_services")
    (reason,) = plan(asked(), seen)["refusals"]
    assert "is used by geoserver as well" in reason
    (tmp_path / "named").mkdir()
    beside = found(tmp_path / "named", "many_services", redis_service="channels-redis")
    variables = asked(redis_service="channels-redis")
    decided = plan(variables, beside)
    assert (decided["refusals"], decided["warnings"], decided["announce"]) == ([], [], [])
    assert set(override(variables, beside)["services"]) == {"tethys", "channels-redis"}
