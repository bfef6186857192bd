# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs from one distribution to another: read from the files of the role preflight, one for each platform."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypedDict, cast

from ansible_collections.tethys.channels.plugins.module_utils.server_facts import Server
from ansible_collections.tethys.channels.plugins.plugin_utils import own_files

FILES = Path(__file__).parents[2] / "roles" / "preflight" / "vars" / "platforms"
UNKNOWN = "is not installed, and this collection cannot install it on this system: install it"


class EnginePackages(TypedDict, total=False):
    """A container engine: its packages, and what to do where there are none."""

    packages: list[str]
    way_out: str
    unit: str
    library: str


class SupervisorPackages(TypedDict, total=False):
    """Supervisor: its packages, and those that add the repository which has them."""

    packages: list[str]
    repository: str
    repository_packages: list[str]
    repository_way_out: str
    unit: str
    program_file: str


class Platform(TypedDict, total=False):
    """What a file says; `{python}` in a package's name stands for a version of Python."""

    ids: list[str]
    manager: str
    manager_problem: str
    system_python: str
    python_names: dict[str, str]
    docker: EnginePackages
    podman: EnginePackages
    yaml: str
    supervisor: SupervisorPackages


@lru_cache(maxsize=1)
def platform_files() -> dict[str, Platform]:
    """What each file says, by its name: a family, one of its versions, a distribution, or one of its versions."""
    return {path.stem: own_files.read(path)["__preflight_platform"] for path in sorted(FILES.glob("*.yml"))}


def platform(os: Mapping[str, str], python: str = "") -> Platform | None:
    """What holds for a system, the more particular file before the more general; None where its family is not known.

    Args:
        os: `id`, `id_like` and `version_id` of its os-release.
        python: the version of the Python that runs modules there, as `3.11`.
    """
    files = platform_files()
    words = [os.get("id", ""), *os.get("id_like", "").split()]
    family = next((name for name, about in files.items() if set(words) & set(about.get("ids") or [])), None)
    if family is None:
        return None
    major = os.get("version_id", "").partition(".")[0]
    found: Platform = {}
    for name in dict.fromkeys((family, f"{family}_{major}", words[0], f"{words[0]}_{major}")):
        found = _over(found, files.get(name, {}))
    docker = found["docker"]
    # A library is installed for the Python that is to import it.
    own = python in ("", found.get("system_python", python))
    named = "3" if own else found.get("python_names", {}).get(python, python)
    docker["library"] = docker["library"].format(python=named)
    found["yaml"] = found["yaml"].format(python=named)
    return found


def _over(general: Platform, particular: Platform) -> Platform:
    """Return what holds where the one has something besides the other."""
    found = dict(general)
    for key, value in particular.items():
        held = found.get(key)
        found[key] = {**(held if isinstance(held, dict) else {}), **value} if isinstance(value, dict) else value
    return cast(Platform, found)


def system_name(os: Mapping[str, str]) -> str:
    """What people call the system."""
    return " ".join(filter(None, (os.get("name") or os.get("id"), os.get("version_id")))) or "this system"


def engine_refusal(server: Server, engine: str, title: str) -> str | None:
    """Why a container engine, which is missing, cannot be installed on a server."""
    about = platform_of(server)
    if not about:
        return f"{title} {UNKNOWN}"
    wanted = about["podman"] if engine == "podman" else about["docker"]
    if not wanted["packages"]:
        return f"{title} is not installed, and {_name(server)} has no package of it: {wanted['way_out']}"
    if not about["manager"]:
        return f"{title} " + _by_hand(about, server, " ".join(wanted["packages"])).removesuffix(".")
    return None


def library_refusal(server: Server) -> str | None:
    """Why the library by which Ansible speaks to Docker, which is missing, cannot be installed on a server."""
    about = platform_of(server)
    what = f"The library requests of Python {server.get('python') or 3}, by which Ansible speaks to Docker,"
    if not about:
        return f"{what} {UNKNOWN} first."
    return None if about["manager"] else f"{what} {_by_hand(about, server, about['docker']['library'])}"


def yaml_refusal(server: Server) -> str | None:
    """Why PyYAML, which is missing, cannot be installed on a server."""
    about = platform_of(server)
    what = "PyYAML for the system's Python, with which portal_config.yml is edited,"
    if not about:
        return f"{what} {UNKNOWN} first."
    return None if about["manager"] else f"{what} {_by_hand(about, server, about['yaml'])}"


def supervisor_refusal(server: Server) -> str | None:
    """Why Supervisor, which is missing, cannot be installed on a server."""
    about = platform_of(server)
    if not about:
        return f"Supervisor {UNKNOWN} first."
    wanted = about["supervisor"]
    if wants_repository(server) and not wanted["repository_packages"]:
        return (
            f"Supervisor is not installed, and {_name(server)} has it in the repository {wanted['repository']} only:"
            f" add that ({wanted['repository_way_out']}), and run again."
        )
    if not about["manager"]:
        packages = [*(wanted["repository_packages"] if wants_repository(server) else []), *wanted["packages"]]
        return "Supervisor " + _by_hand(about, server, " && dnf install ".join(packages))
    return None


def wants_repository(server: Server) -> bool:
    """Whether Supervisor comes from a repository that the server does not have yet."""
    repository = ((platform_of(server) or {}).get("supervisor") or {}).get("repository")
    return bool(repository) and repository not in (server.get("repositories") or [])


def platform_of(server: Server) -> Platform | None:
    """The platform of an inspected server."""
    return platform(server.get("os") or {}, str(server.get("python") or ""))


def _name(server: Server) -> str:
    return system_name(server.get("os") or {})


def _by_hand(about: Platform, server: Server, packages: str) -> str:
    return (
        f"is not installed, and Ansible cannot install packages on {_name(server)} ({about['manager_problem']}):"
        f" install it (`dnf install {packages}`), and run again."
    )
