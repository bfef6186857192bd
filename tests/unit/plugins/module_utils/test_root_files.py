# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files root executes or reads as configuration, and which of them somebody else can change."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Iterator
from unittest.mock import Mock

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.nginx_processes import Master
from ansible_collections.tethys.channels.plugins.module_utils.server import proc, root_files

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
NOBODY = 65534


@pytest.fixture
def top(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server in a folder of root's."""
    folder = Path(tempfile.mkdtemp(dir="/var/lib"))
    folder.chmod(0o755)
    (folder / "nginx/conf.d").mkdir(parents=True)
    (folder / "nginx/sites").mkdir()
    (folder / "nginx/nginx.conf").write_text("user x; http { include conf.d/*.conf; include sites/portal; }\n")
    (folder / "nginx/conf.d/a.conf").write_text("map $a $b { default 1; }\n")
    (folder / "nginx/sites/portal").write_text("upstream channels-backend { server 127.0.0.1:8000; }\n")
    (folder / "supervisor/conf.d").mkdir(parents=True)
    (folder / "supervisor/supervisord.conf").write_text("[include]\nfiles = conf.d/*.conf\n")
    (folder / "supervisor/conf.d/asgi.conf").write_text("[fcgi-program:asgi]\n")
    monkeypatch.setattr(root_files, "NGINX_CONF", str(folder / "nginx/nginx.conf"))
    monkeypatch.setattr(root_files.PortalNames, "redis_unit_path", str(folder / "unit"))
    monkeypatch.setattr(root_files, "DOCKER_SOCKET", str(folder / "docker.sock"))
    monkeypatch.setattr(root_files, "of_python", lambda: ["/usr/bin/env"])
    yield folder
    shutil.rmtree(folder)


def survey(top: Path, *masters: Master, folders: tuple[str, ...] = (), log_dir: str | None = None) -> root_files.Trust:
    """What is found on that server."""
    supervisor = Mock(
        config=str(top / "supervisor/supervisord.conf"),
        socket_path=str(top / "supervisor.sock"),
        include_globs=[str(top / "supervisor/conf.d/*.conf")],
        program_files=lambda: [str(path) for path in sorted((top / "supervisor/conf.d").iterdir())],
    )
    return root_files.survey(supervisor, Mock(masters=lambda: list(masters)), str(top / "state"), folders, log_dir)


def opened(top: Path, *masters: Master, folders: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Those that others can change, as (use, path below the server's folder)."""
    trust = survey(top, *masters, folders=folders)
    return [(row["use"], str(Path(row["path"]).relative_to(top))) for row in trust["open"]]


def test_a_server_of_roots_alone(top: Path) -> None:
    trust = survey(top)
    assert trust["open"] == []
    assert trust["files"] > 8


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("supervisor/supervisord.conf", [("supervisor", "supervisor/supervisord.conf")]),
        ("supervisor/conf.d", [("supervisor", "supervisor/conf.d"), ("program", "supervisor/conf.d/asgi.conf")]),
        ("supervisor/conf.d/asgi.conf", [("program", "supervisor/conf.d/asgi.conf")]),
        ("nginx/nginx.conf", [("nginx", "nginx/nginx.conf")]),
        ("nginx/conf.d", [("site", "nginx/conf.d"), ("site", "nginx/conf.d/a.conf")]),
        ("nginx/sites/portal", [("site", "nginx/sites/portal")]),
    ],
)
def test_each_of_them(top: Path, path: str, found: list[tuple[str, str]]) -> None:
    os.chown(top / path, NOBODY, 0)
    assert opened(top) == found


def test_the_python_that_runs_supervisord(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is a script of root's, and its first line names the Python of somebody's environment."""
    python = top / "python3.12"
    python.touch()
    os.chown(python, NOBODY, 0)
    monkeypatch.setattr(proc, "supervisords", lambda: [os.getpid()])
    monkeypatch.setattr(proc, "is_roots", lambda _pid: True)
    monkeypatch.setattr(proc, "program", lambda _pid: str(python))
    assert opened(top) == [("supervisor", "python3.12")]


def test_what_a_link_leads_to(top: Path) -> None:
    home = top / "home"
    home.mkdir()
    (home / "nginx_supervisord.conf").write_text("")
    os.chown(home, NOBODY, NOBODY)
    link = top / "supervisor/conf.d/nginx.conf"
    link.symlink_to(home / "nginx_supervisord.conf")
    [row] = survey(top)["open"]
    assert (row["path"], row["target"]) == (str(link), str(home / "nginx_supervisord.conf"))
    [writer] = row["writers"]
    assert (writer["path"], writer["link"]) == (str(home), str(link))


def test_the_configuration_of_the_nginx_that_runs(top: Path) -> None:
    other = top / "other"
    (other / "conf").mkdir(parents=True)
    (other / "conf/portal.conf").write_text("http { include /dev/null; include *.more; }\n")
    (other / "conf/x.more").write_text("include fifo;\n")
    os.mkfifo(other / "conf/fifo")
    os.chown(other / "conf/fifo", NOBODY, 0)
    master = Master(1, "1", ["-p", "other", "-c", "conf/portal.conf"], str(top), "systemd")
    assert opened(top, master) == [("site", "other/conf/fifo")]
    os.chown(other, NOBODY, 0)
    assert opened(top, master) == [("nginx", "other/conf/portal.conf")]


def test_what_a_file_of_others_includes_is_not_read(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 30 files includes the next one twice; root would read a thousand million times."""
    home = top / "home"
    home.mkdir()
    for number in range(30):
        (home / f"{number}.conf").write_text(f"include {home}/{number + 1}.conf;\n" * 2)
    (home / "30.conf").write_text("include /root/.ssh/*;\n")
    (top / "nginx/conf.d/b.conf").symlink_to(home / "0.conf")
    os.chown(home, NOBODY, NOBODY)
    asked = []
    read = root_files.nginx_processes.read
    monkeypatch.setattr(root_files.nginx_processes, "read", lambda path: asked.append(path) or read(path))
    assert opened(top) == [("site", "nginx/conf.d/b.conf")]
    assert [Path(path).name for path in asked] == ["nginx.conf", "a.conf", "portal"]


def test_a_folder_of_others_with_many_files(top: Path) -> None:
    for number in range(300):
        (top / f"nginx/conf.d/{number}.conf").touch()
    assert survey(top)["files"] > 300
    os.chown(top / "nginx/conf.d", NOBODY, 0)
    found = opened(top)
    assert found[0] == ("site", "nginx/conf.d")
    assert len(found) == 1 + root_files.MOST_IN_FOLDER


def test_a_configuration_that_nginx_could_not_read_either(top: Path) -> None:
    (top / "nginx/conf.d/b.conf").write_text("}\n")
    os.chown(top / "nginx/conf.d/b.conf", NOBODY, 0)
    assert opened(top) == [("site", "nginx/conf.d/b.conf")]


def test_the_folders_above_those_that_root_makes(top: Path) -> None:
    theirs = top / "theirs"
    (theirs / "logs").mkdir(parents=True)
    os.chown(theirs / "logs", NOBODY, 0)
    folders = (f"{theirs}/logs/", f"{theirs}/run")
    # The folder itself gets the right owner.
    assert opened(top, folders=folders) == []
    os.chown(theirs, NOBODY, 0)
    assert opened(top, folders=folders) == [("folder", "theirs")]


def test_the_folder_of_the_logs_counts_itself(top: Path) -> None:
    """The manual gives it to the portal's user, and Supervisor writes there as root."""
    logs = top / "logs"
    assert survey(top, log_dir=str(logs))["open"] == []
    logs.mkdir()
    assert survey(top, log_dir=str(logs))["open"] == []
    os.chown(logs, NOBODY, 0)
    [row] = survey(top, log_dir=str(logs))["open"]
    assert (row["use"], row["path"]) == ("logs", str(logs))


def test_the_folder_of_the_socket_of_redis_is_the_containers(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = top / "lib" / "socket"
    folder.mkdir(parents=True)
    os.chown(folder, 16379, 33)
    monkeypatch.setattr(root_files.PortalNames, "socket_folder", str(folder))
    assert opened(top) == []
    os.chown(folder.parent, NOBODY, 0)
    assert opened(top) == [("folder", "lib")]


@pytest.mark.parametrize("name", ["docker.sock", "supervisor.sock"])
def test_a_socket_that_takes_commands(top: Path, name: str) -> None:
    (top / name).touch()
    assert opened(top) == []
    (top / name).chmod(0o666)
    assert opened(top) == [("socket", name)]


def test_roots_own_python_is_judged() -> None:
    found = root_files.of_python()
    assert os.path.realpath(found[0]) == os.path.realpath("/proc/self/exe")
    assert all(Path(each).exists() for each in found)


def test_a_project_of_compose(top: Path) -> None:
    project = top / "project"
    project.mkdir()
    for name in ("compose.yml", "more.yml"):
        (project / name).touch()
    os.chown(project / "more.yml", NOBODY, 0)
    trust = root_files.survey_project(str(project), ["compose.yml", "more.yml"], str(top / "state"))
    assert [(row["use"], row["path"]) for row in trust["open"]] == [("compose", f"{project}/more.yml")]
    assert root_files.survey_project(str(project), [], None)["open"] == []
