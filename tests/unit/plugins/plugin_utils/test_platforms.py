# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each platform needs, and what is refused there, from the facts of such a server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils import platforms
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils import samples

# os-release as each of them has it.
DEBIAN_11 = {"id": "debian", "id_like": "", "name": "Debian GNU/Linux", "version_id": "11"}
DEBIAN_12 = {**DEBIAN_11, "version_id": "12"}
DEBIAN_13 = {**DEBIAN_11, "version_id": "13"}
UBUNTU_22 = {"id": "ubuntu", "id_like": "debian", "name": "Ubuntu", "version_id": "22.04"}
UBUNTU_24 = {**UBUNTU_22, "version_id": "24.04"}
ROCKY_9 = {"id": "rocky", "id_like": "rhel centos fedora", "name": "Rocky Linux", "version_id": "9.4"}
ROCKY_8 = {**ROCKY_9, "version_id": "8.10"}
ALMA_9 = {"id": "almalinux", "id_like": "rhel centos fedora", "name": "AlmaLinux", "version_id": "9.4"}
ALMA_8 = {**ALMA_9, "version_id": "8.10"}
RHEL_9 = {"id": "rhel", "id_like": "fedora", "name": "Red Hat Enterprise Linux", "version_id": "9.4"}
RHEL_8 = {**RHEL_9, "version_id": "8.10"}
FEDORA = {"id": "fedora", "id_like": "", "name": "Fedora Linux", "version_id": "42"}
ARCH = {"id": "arch", "id_like": "", "name": "Arch Linux", "version_id": ""}

CONF = "/etc/supervisor/conf.d/asgi_supervisord.conf"
INI = "/etc/supervisord.d/asgi_supervisord.ini"
GIVEN = " or set tethys_layer_hosts to a Redis that exists already."
BY_HAND = "(dnf can be used by Python 3.6 only there, which ansible-core no longer knows): install it"

RUNS: dict[str, Any] = {
    "installed": True,
    "running": True,
    "pid": 1,
    "config": "/etc/s.conf",
    "include": ["/etc/s/*.ini"],
}
ABSENT: dict[str, Any] = {"installed": False, "running": False, "config": None, "include": []}


def judge(os: dict[str, str], asked: dict[str, Any] | None = None, **server: Any) -> dict[str, Any]:
    """The plan for a server of this system that has nothing yet, with these differences."""
    bare = {"os": os, "docker": samples.MISSING, "docker_library": False, "supervisor": ABSENT}
    given = {"portal": samples.portal(user="nginx", group="nginx"), "server": samples.server(**{**bare, **server})}
    return samples.planned(samples.asked(**(asked or {})), samples.options(redis_container_transport="unix"), **given)


# --- what is installed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("os", "engine"),
    [
        (DEBIAN_11, ["docker.io"]),
        (DEBIAN_12, ["docker.io"]),
        (DEBIAN_13, ["docker.io", "docker-cli"]),
        (UBUNTU_22, ["docker.io"]),
        (UBUNTU_24, ["docker.io"]),
    ],
    ids=str,
)
def test_debian_and_ubuntu_have_all_of_it(os: dict[str, str], engine: list[str]) -> None:
    result = judge(os)
    assert (result["refusals"], result["warnings"], result["announce"]) == ([], [], [])
    about = result["platform"]
    assert about["manager"] == "apt"
    assert about["docker"]["packages"] == engine
    assert (about["docker"]["unit"], about["docker"]["library"]) == ("docker", "python3-requests")
    assert (about["supervisor"]["packages"], about["supervisor"]["unit"]) == (["supervisor"], "supervisor")
    assert result["program_path"] == CONF


@pytest.mark.parametrize("os", [ROCKY_9, ALMA_9], ids=str)
def test_rocky_and_alma_need_epel_and_an_engine(os: dict[str, str]) -> None:
    result = judge(os)
    assert result["refusals"] == [
        f"Docker is not installed, and {os['name']} 9.4 has no package of it: install it from Docker's own repository"
        f" (https://docs.docker.com/engine/install/), set redis_container_engine to podman,{GIVEN}"
    ]
    # With an engine that runs, everything else is installed.
    result = judge(os, docker=RUNS)
    assert result["refusals"] == []
    assert result["announce"] == [
        "Supervisor is not installed, and comes from EPEL: the package epel-release adds that repository to this"
        " server."
    ]
    about = result["platform"]
    assert (about["manager"], about["docker"]["library"]) == ("dnf", "python3.11-requests")
    assert about["supervisor"]["repository_packages"] == ["epel-release"]
    assert (about["supervisor"]["packages"], about["supervisor"]["unit"]) == (["supervisor"], "supervisord")
    assert result["program_path"] == INI
    # Where EPEL is there, it is not announced.
    assert judge(os, docker=RUNS, repositories=["baseos", "epel"])["announce"] == []


def test_the_library_is_for_the_python_that_ansible_runs() -> None:
    assert judge(ROCKY_9, docker=RUNS, python="3.9")["platform"]["docker"]["library"] == "python3-requests"
    assert judge(ROCKY_9, docker=RUNS, python="3.12")["platform"]["docker"]["library"] == "python3.12-requests"
    assert judge(DEBIAN_12, docker=RUNS, python="3.12")["platform"]["docker"]["library"] == "python3-requests"


def test_red_hats_own_has_no_package_for_epel() -> None:
    (reason,) = judge(RHEL_9, docker=RUNS)["refusals"]
    assert reason == (
        "Supervisor is not installed, and Red Hat Enterprise Linux 9.4 has it in the repository epel only: add that"
        " (https://docs.fedoraproject.org/en-US/epel/getting-started/ tells how), and run again."
    )
    result = judge(RHEL_9, docker=RUNS, repositories=["epel"])
    assert (result["refusals"], result["announce"]) == ([], [])


@pytest.mark.parametrize("os", [ROCKY_8, ALMA_8], ids=str)
def test_version_8_is_prepared_by_hand(os: dict[str, str]) -> None:
    name = f"{os['name']} 8.10"
    assert judge(os, docker=RUNS)["refusals"] == [
        "The library requests of Python 3.11, by which Ansible speaks to Docker, is not installed, and Ansible cannot"
        f" install packages on {name} {BY_HAND} (`dnf install python3.11-requests`), and run again.",
        f"Supervisor is not installed, and Ansible cannot install packages on {name} {BY_HAND} (`dnf install"
        " epel-release && dnf install supervisor`), and run again.",
    ]
    # Once that was done it is a server as any other.
    result = judge(os, docker=RUNS, docker_library=True, supervisor=RUNS, repositories=["epel"])
    assert (result["refusals"], result["announce"]) == ([], [])
    assert result["program_path"] == "/etc/s/asgi_supervisord.ini"


def test_red_hats_version_8() -> None:
    reasons = judge(RHEL_8, docker=RUNS, docker_library=True)["refusals"]
    assert len(reasons) == 1
    assert "in the repository epel only" in reasons[0]
    (reason,) = judge(RHEL_8, docker=RUNS, docker_library=True, repositories=["epel"])["refusals"]
    assert "(`dnf install supervisor`)" in reason


@pytest.mark.parametrize("os", [ARCH, FEDORA, {}], ids=str)
def test_an_unknown_system_is_refused_what_it_lacks(os: dict[str, str]) -> None:
    unknown = "is not installed, and this collection cannot install it on this system: install it"
    result = judge(os)
    assert result["refusals"] == [
        f"Docker {unknown},{GIVEN}",
        f"The library requests of Python 3.11, by which Ansible speaks to Docker, {unknown} first.",
        f"Supervisor {unknown} first.",
    ]
    assert (result["platform"], result["program_path"]) == (None, None)
    assert judge(os, docker=RUNS, docker_library=True, supervisor=RUNS)["refusals"] == []
    (reason,) = judge(os, docker=RUNS, docker_library=True, supervisor={**RUNS, "running": False})["refusals"]
    assert reason == (
        "Supervisor is installed and not running, and this collection cannot start it on this system: start it first."
    )


def test_who_brings_a_redis_needs_no_engine() -> None:
    result = judge(ROCKY_9, {"tethys_layer_hosts": [["redis", 6379]]}, supervisor=RUNS)
    assert result["refusals"] == []


# --- where Supervisor reads programs --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("include", "path"),
    [
        (["/etc/supervisor/conf.d/*.conf"], CONF),
        # As the manual has it on CentOS: Supervisor's own pattern, and one that was added.
        (["/etc/supervisord.d/*.ini", "/etc/supervisord.d/*.conf"], INI),
        # A file of somebody's is not written over.
        (["/etc/supervisord.d/queue.ini", "/etc/supervisord.d/*.ini"], INI),
        (["/etc/apps/*/*.ini", "/etc/supervisord.d/*.ini"], INI),
        (["/etc/supervisord.d/[a-m]*.ini", "/etc/supervisord.d/*.ini"], INI),
        (["/etc/supervisord.d/queue.ini"], None),
        ([], None),
    ],
)
def test_where_the_program_goes(include: list[str], path: str | None) -> None:
    result = judge(DEBIAN_12, supervisor={**RUNS, "include": include})
    assert result["program_path"] == path
    assert result["refusals"] == (
        []
        if path
        else [
            "/etc/s.conf names no folder in its [include] in which Supervisor reads every file: add one"
            " (`files = /etc/supervisord.d/*.ini`), restart Supervisor, and run again."
        ]
    )


# --- PyYAML ---------------------------------------------------------------------------------------------------------


def test_pyyaml_is_installed_where_it_is_missing() -> None:
    for there in (True, False):
        result = judge(ROCKY_9, docker=RUNS, docker_library=True, supervisor=RUNS, yaml_library=there)
        assert (result["refusals"], result["install_yaml"]) == ([], not there)
    assert result["platform"]["yaml"] == "python3.11-pyyaml"
    old = judge(
        {**ROCKY_9, "version_id": "8.10"}, docker=RUNS, docker_library=True, supervisor=RUNS, yaml_library=False
    )
    assert any("PyYAML for the system's Python" in reason for reason in old["refusals"])


@pytest.mark.parametrize(
    ("python", "package"),
    [("3.6", "python3-pyyaml"), ("3.8", "python38-pyyaml"), ("3.9", "python39-pyyaml"), ("3.12", "python3.12-pyyaml")],
)
def test_packages_of_a_python_of_version_8(python: str, package: str) -> None:
    found = platforms.platform(ROCKY_8, python)
    assert found
    assert found["yaml"] == package
    assert found["docker"]["library"] == package.replace("pyyaml", "requests")


# --- SELinux --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selinux", "labels", "warned"),
    [
        ({"mode": "disabled", "web_connects": None}, False, False),
        ({"mode": "permissive", "web_connects": False}, True, False),
        ({"mode": "enforcing", "web_connects": True}, True, False),
        ({"mode": "enforcing", "web_connects": None}, True, False),
        ({"mode": "enforcing", "web_connects": False}, True, True),
    ],
)
def test_selinux(selinux: dict[str, Any], labels: bool, warned: bool) -> None:
    result = judge(ROCKY_9, docker=RUNS, docker_library=True, supervisor=RUNS, selinux=selinux)
    assert (result["refusals"], result["selinux"], bool(result["warnings"])) == ([], labels, warned)
    if warned:
        (warning,) = result["warnings"]
        assert "(`setsebool -P httpd_can_network_connect on`)" in warning
        assert "`semanage port -a -t http_port_t -p tcp 8000`" in warning


def test_selinux_and_a_port_for_each_process() -> None:
    asked = {"tethys_asgi_layout": "socket_per_process", "tethys_asgi_processes": 3}
    (warning,) = judge(ROCKY_9, asked, selinux={"mode": "enforcing", "web_connects": False})["warnings"]
    assert "-p tcp 8000-8002`" in warning


# --- the files ------------------------------------------------------------------------------------------------------


KNOWN = {
    "docker": {"packages", "way_out", "unit", "library"},
    "podman": {"packages"},
    "supervisor": {"packages", "repository", "repository_packages", "repository_way_out", "unit", "program_file"},
}


@pytest.mark.parametrize("name", sorted(platforms.platform_files()))
def test_a_file_says_nothing_that_nobody_reads(name: str) -> None:
    about = platforms.platform_files()[name]
    assert set(about) <= {"ids", "manager", "manager_problem", "system_python", "python_names", "yaml", *KNOWN}
    for key, known in KNOWN.items():
        assert set(about.get(key, {})) <= known


@pytest.mark.parametrize("name", [name for name, about in platforms.platform_files().items() if "ids" in about])
def test_a_family_says_all_that_is_asked_of_it(name: str) -> None:
    about = platforms.platform_files()[name]
    assert {"packages", "unit", "library"} <= set(about["docker"])
    assert about["yaml"]
    assert about["docker"]["packages"] or about["docker"]["way_out"]
    assert about["podman"]["packages"]
    assert {"packages", "unit", "program_file"} <= set(about["supervisor"])
    assert about["manager"] in ("apt", "dnf")
