# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The upstream of a server: found in a /proc made here, changed with a program that reads files as nginx does."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import nginx_search, nginx_upstream
from ansible_collections.tethys.channels.plugins.module_utils.files import atomic_file
from ansible_collections.tethys.channels.plugins.module_utils.nginx_processes import (
    Processes,
    failure,
    includes,
    title_options,
)
from ansible_collections.tethys.channels.plugins.module_utils.nginx_search import NginxError
from ansible_collections.tethys.channels.plugins.module_utils.nginx_upstream import Nginx

# Follows the includes, and takes any text but one with BROKEN in it. Each configuration that it
# gets is recorded as it read it.
PROGRAM = r"""#!@PYTHON@ -IS
import glob, os, re, sys
arguments = sys.argv[1:]
if arguments == ["-v"]:
    sys.exit("nginx version: nginx/@VERSION@")
main = arguments[arguments.index("-c") + 1] if "-c" in arguments else "@MAIN@"
read = []
def follow(path):
    text = open(path, encoding="latin-1").read()
    read.append((path, text))
    for word in re.findall(r'^[^#\n]*?\binclude "?([^";]+)"?;', text, re.MULTILINE):
        for each in re.findall(r'include "?([^";]+)"?;', text):
            full = os.path.join(os.path.dirname(main), each)
            for name in sorted(glob.glob(full)) if re.search(r"[*?\[]", full) else [full]:
                follow(name)
        break
follow(main)
with open("@LOG@", "a") as log:
    log.write("".join("== %s\n%s" % each for each in read))
    log.write("\n-- %s\n" % " ".join(arguments))
for path, text in read:
    if "BROKEN" in text:
        line = text[: text.index("BROKEN")].count("\n") + 1
        print("nginx: [emerg] unknown directive \"BROKEN\" in %s:%d" % (path, line), file=sys.stderr)
        sys.exit("nginx: configuration file %s test failed" % main)
if arguments[0] == "-T":
    print("# configuration file %s:" % main)
"""

SITE = """# the portal
upstream channels-backend {
    server 127.0.0.1:8000;
}
server {
    listen 80;
    location / {
        proxy_pass http://channels-backend;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
    }
}
"""
MAIN = "error_log /var/log/nginx/error.log;\nevents {}\nhttp {\n  include conf.d/*.conf; include sites-enabled/*;\n}\n"


class Bed:
    """A server: its /proc, its nginx and nginx's files."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.proc = folder / "proc"
        self.etc = folder / "etc"
        self.state = folder / "state"
        self.log = folder / "log"
        self.monkeypatch = monkeypatch
        for name in ("proc", "etc/conf.d", "etc/sites-enabled", "etc/sites-available", "proc/net"):
            (folder / name).mkdir(parents=True)
        self.main = self.etc / "nginx.conf"
        self.main.write_text(MAIN)
        self.site = self.etc / "sites-available" / "tethys"
        self.site.write_text(SITE)
        (self.etc / "sites-enabled" / "tethys").symlink_to("../sites-available/tethys")
        self.program = folder / "nginx"
        self.install()
        self.reloads: list[int] = []
        self.takes_over = True
        self.process("self", "", 0)
        monkeypatch.setattr(nginx_upstream.os, "kill", self.kill)
        monkeypatch.setattr(nginx_upstream, "RELOAD_SECONDS", 0.4)
        monkeypatch.setattr(nginx_search, "BINARIES", ())
        monkeypatch.setenv("PATH", str(folder / "bin"))
        self.next_pid = 1000

    def install(self, version: str = "1.22.1") -> None:
        text = PROGRAM
        for name, value in (
            ("PYTHON", sys.executable),
            ("MAIN", str(self.main)),
            ("LOG", str(self.log)),
            ("VERSION", version),
        ):
            text = text.replace(f"@{name}@", value)
        self.program.write_text(text)
        self.program.chmod(0o755)

    def process(
        self,
        pid: int | str,
        title: str,
        parent: int,
        cgroup: str = "0::/",
        namespace: str = "pid:[1]",
        root: str = "/",
        comm: str = "nginx",
        sockets: tuple[int, ...] = (),
    ) -> Path:
        folder = self.proc / str(pid)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns" / "pid").symlink_to(namespace)
        (folder / "root").symlink_to(root)
        (folder / "cwd").symlink_to("/")
        (folder / "exe").symlink_to(self.program)
        (folder / "cmdline").write_text(title + "\0\0")
        (folder / "comm").write_text(comm + "\n")
        (folder / "status").write_text("Name:\tnginx\nUid:\t0\t0\t0\t0\n")
        (folder / "cgroup").write_text(cgroup + "\n")
        (folder / "stat").write_text(f"{pid} (a b) c) S {parent} " + " ".join(["0"] * 17) + f" {pid} 0\n")
        (folder / "fd").mkdir()
        for number, inode in enumerate(sockets):
            (folder / "fd" / str(number)).symlink_to(f"socket:[{inode}]")
        return folder

    def start(self, options: str = "", by: str = "0::/system.slice/nginx.service", parent: int = 1) -> None:
        self.process(56, f"nginx: master process /usr/sbin/nginx{options}", parent, by)
        self.process(57, "nginx: worker process", 56)
        self.process(58, "nginx: cache manager process", 56)

    def title(self, pid: int, title: str) -> None:
        (self.proc / str(pid) / "cmdline").write_text(title + "\0")

    def kill(self, pid: int, number: int) -> None:
        assert (pid, number) == (56, signal.SIGHUP)
        self.reloads.append(pid)
        if self.takes_over:
            for entry in self.proc.iterdir():
                if entry.name.isdigit() and (entry / "cmdline").read_text().startswith("nginx: worker process\0"):
                    self.title(int(entry.name), "nginx: worker process is shutting down")
            self.next_pid += 1
            self.process(self.next_pid, "nginx: worker process", 56)

    def nginx(self) -> Nginx:
        return Nginx("channels-backend", str(self.state), str(self.proc))

    def files(self) -> dict[str, str]:
        """Every file of nginx, and everything that should not be there."""
        return {
            str(path.relative_to(self.folder)): os.readlink(path) if path.is_symlink() else path.read_text("latin-1")
            for top in (self.etc, self.state)
            for path in sorted(top.rglob("*"))
            if path.is_symlink() or path.is_file()
        }

    def asked(self) -> str:
        """The configuration that was tested last, with the names of its files."""
        return self.log.read_text().split("\n-- ")[-2]

    def tests(self) -> int:
        return self.log.read_text().count("\n-- -t")


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    return Bed(tmp_path, monkeypatch)


@pytest.fixture
def running(bed: Bed) -> Bed:
    bed.start()
    return bed


# -- looking ----------------------------------------------------------------------------------------------------------


def test_an_ordinary_server(running: Bed) -> None:
    assert running.nginx().look() == {
        "installed": True,
        "running": True,
        "pid": 56,
        "by": "systemd",
        "version": "1.22.1",
        "other_web_server": None,
        "problem": None,
        "path": str(running.site),
        "line": 2,
        "servers": [{"address": "127.0.0.1:8000", "down": False}],
        "managed": False,
        "method": None,
        "websocket_problem": None,
    }
    assert not running.state.exists()


def test_what_a_put_leaves_is_seen(running: Bed) -> None:
    running.nginx().put([8000, 8001], down=[8001], pins=["^/a"])
    found = running.nginx().look()
    assert (found["managed"], found["method"], found["problem"]) == (True, None, None)
    assert found["servers"] == [
        {"address": "127.0.0.1:8000", "down": False},
        {"address": "127.0.0.1:8001", "down": True},
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("    server 127", "    server 10.1.2.3:8000;\n    server 127"), ["10.1.2.3:8000", "nginx_upstream_name"]),
        (("server 127.0.0.1:8000;", "include @ETC@/servers;"), ["@ETC@/servers", "instead of the `include`"]),
        (("http://channels-backend", "http://127.0.0.1:8000"), ["no `proxy_pass`", "http://channels-backend;"]),
        (("    server 127", "    balancer_by_lua_file a;\n    server 127"), ["balancer_by_lua_file"]),
        (("channels-backend {", "portal {"), ["no block", "{ server 127.0.0.1:8000; }", "behind portal", "proxy_pass"]),
        (("listen 80;", "BROKEN;"), ['unknown directive "BROKEN" in', "sites-enabled/tethys:6", "nginx -t"]),
        (("listen 80;", 'listen 80; add_header a "'), ["cannot be followed (@ETC@/sites-enabled/tethys, line "]),
        (("    server 127", "    }\nupstream channels-backend {\n    server 127"), ["two blocks", "line 2", "line 4"]),
    ],
)
def test_problems(running: Bed, change: tuple[str, str], words: list[str]) -> None:
    (running.etc / "servers").write_text("server 127.0.0.1:8000;\n")
    before, after = (text.replace("@ETC@", str(running.etc)) for text in change)
    running.site.write_text(SITE.replace(before, after))
    files = running.files()
    problem = running.nginx().look()["problem"]
    for word in words:
        assert word.replace("@ETC@", str(running.etc)) in problem
    assert problem.endswith(".")
    with pytest.raises(NginxError) as raised:
        running.nginx().put([8000, 8001])
    assert str(raised.value) == problem
    assert (running.files(), running.reloads) == (files, [])


def test_a_variable_may_lead_to_the_upstream(running: Bed) -> None:
    running.site.write_text(SITE.replace("http://channels-backend", "http://$backend"))
    assert running.nginx().look()["problem"] is None


def test_websockets_that_do_not_get_through(running: Bed) -> None:
    running.site.write_text(SITE.replace("        proxy_http_version 1.1;\n", "").replace('"upgrade"', '""'))
    problem = running.nginx().look()["websocket_problem"]
    assert 'add `proxy_http_version 1.1; proxy_set_header Connection "upgrade";`' in problem
    assert "sites-enabled/tethys, line 8" in problem
    running.install("1.29.7")
    problem = running.nginx().look()["websocket_problem"]
    assert 'add `proxy_set_header Connection "upgrade";`' in problem
    # One location for the sockets is enough.
    socket = (
        "location /ws { proxy_pass http://channels-backend; proxy_set_header Upgrade a; proxy_set_header Connection $a;"
    )
    running.site.write_text(SITE.replace("    listen", socket + "proxy_http_version 1.1; }\n    listen"))
    assert running.nginx().look()["websocket_problem"] is None


def test_the_method_is_told_and_keeps_pins_out(running: Bed) -> None:
    running.site.write_text(SITE.replace("    server 127", "    hash $uri consistent;\n    server 127"))
    assert running.nginx().look()["method"] == "hash $uri consistent"
    assert running.nginx().look()["problem"] is None
    with pytest.raises(NginxError, match=r"`hash \$uri consistent`, and tethys_bokeh_policy: pin"):
        running.nginx().put([8000, 8001], pins=["^/a"])
    assert running.nginx().put([8000, 8001]).changed
    assert "hash $uri consistent;" in running.site.read_text()


def test_no_nginx(bed: Bed) -> None:
    found = bed.nginx().look()
    assert (found["installed"], found["running"]) == (False, False)
    assert "not installed" in found["problem"]
    assert "tethys_asgi_layout to shared_socket" in found["problem"]


def test_nginx_that_does_not_run(bed: Bed) -> None:
    (bed.folder / "bin").mkdir()
    (bed.folder / "bin" / "nginx").symlink_to(bed.program)
    found = bed.nginx().look()
    assert (found["installed"], found["running"], found["version"]) == (True, False, "1.22.1")
    assert "does not run" in found["problem"]


def tcp(bed: Bed, *rows: tuple[int, int]) -> None:
    lines = [f"0: 00000000:{port:04X} 00000000:0000 0A 0:0 0:0 0 0 0 {inode} 1" for port, inode in rows]
    (bed.proc / "net" / "tcp").write_text("\n".join(["header", *lines]))


@pytest.mark.parametrize(
    ("comm", "port", "named"),
    [
        ("apache2", 80, "apache2"),
        ("caddy", 443, "caddy"),
        ("docker-proxy", 80, "a container"),
        ("nginx", 80, "an nginx in a container"),
        ("apache2", 8080, None),
    ],
)
def test_another_web_server(bed: Bed, comm: str, port: int, named: str | None) -> None:
    bed.process(300, comm, 1, namespace="pid:[2]", comm=comm, sockets=(7, 4711))
    tcp(bed, (port, 4711))
    found = bed.nginx().look()
    assert found["other_web_server"] == named
    assert (f"; {named} listens" in found["problem"]) == bool(named)


def test_nginx_itself_is_no_other_web_server(running: Bed) -> None:
    tcp(running, (80, 4711))
    for pid in ("56", "57"):
        (running.proc / pid / "fd" / "5").symlink_to("socket:[4711]")
    assert running.nginx().look()["other_web_server"] is None


@pytest.mark.parametrize("address", ["0.0.0.0:8001", "[::]:8001", "[::1]:8001"])
def test_the_any_address_is_this_server(running: Bed, address: str) -> None:
    running.site.write_text(SITE.replace("server 127.0.0.1:8000;", f"server {address};"))
    assert address in running.site.read_text()
    assert running.nginx().look()["problem"] is None


def test_an_nginx_of_a_container_or_of_another_user_is_not_asked(bed: Bed) -> None:
    title = "nginx: master process nginx -g daemon off;"
    bed.process(60, title, 1, namespace="pid:[2]")
    bed.process(61, title, 1, root=str(bed.etc))
    foreign = bed.process(62, title, 1)
    if os.geteuid() == 0:
        (foreign / "status").write_text("Name:\tnginx\nUid:\t12345\t12345\t12345\t12345\n")
    else:
        bed.monkeypatch.setattr(nginx_upstream.os, "geteuid", lambda: 12345)
    assert Processes(str(bed.proc)).masters() == []
    assert not bed.log.exists()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="Who is not root runs no program for root.")


@needs_root
def test_a_set_user_id_program_is_no_master(running: Bed) -> None:
    # Any user gives it such a command line, and its configuration.
    other = running.process(70, "nginx: master process /usr/sbin/nginx -c /mnt", 1)
    mount = running.folder / "mount"
    mount.touch()
    mount.chmod(0o4755)
    (other / "exe").unlink()
    (other / "exe").symlink_to(mount)
    assert [master.pid for master in running.nginx().processes.masters()] == [56]


@needs_root
def test_a_program_that_others_can_change_is_not_started(running: Bed) -> None:
    os.chown(running.program, 12345, 12345)
    problem = running.nginx().look()["problem"]
    assert problem.startswith(f"the program of nginx's master process, {running.program}, is not only root's")
    assert not running.log.exists()


def test_two_master_processes(running: Bed) -> None:
    running.process(70, "nginx: master process /opt/nginx", 1)
    assert "2 nginx master processes run on this server (pids 56, 70)" in running.nginx().look()["problem"]


def test_a_binary_that_is_being_exchanged(running: Bed) -> None:
    running.process(70, "nginx: master process /usr/sbin/nginx", 56)
    assert running.nginx().look()["pid"] == 70


@pytest.mark.parametrize(
    ("cgroup", "parents", "by"),
    [
        ("0::/system.slice/nginx.service", [], "systemd"),
        ("1:name=systemd:/docker/12ab/system.slice/openresty.service\n0::/docker/12ab", [], "systemd"),
        ("0::/system.slice/supervisor.service", [], "supervisor"),
        ("0::/", ["/usr/bin/python3 /usr/bin/supervisord -n"], "supervisor"),
        ("0::/", ["bash -c nginx", "/opt/bin/supervisord"], "supervisor"),
        ("0::/user.slice/session-3.scope", ["bash /opt/supervisord.d/run"], "other"),
        ("0::/", [], "other"),
    ],
)
def test_who_holds_it(bed: Bed, cgroup: str, parents: list[str], by: str) -> None:
    pid = 1
    for number, title in enumerate(reversed(parents)):
        bed.process(40 + number, title, pid)
        pid = 40 + number
    bed.start(by=cgroup, parent=pid)
    assert bed.nginx().look()["by"] == by


@pytest.mark.parametrize(
    ("title", "options"),
    [
        ("", []),
        (" -g daemon on; master_process on;", ["-g", "daemon on; master_process on;"]),
        (" -c /etc/a b/nginx.conf -g daemon off; -q", ["-c", "/etc/a b/nginx.conf", "-g", "daemon off;"]),
        (" -p/opt/nginx -e stderr", ["-p", "/opt/nginx", "-e", "stderr"]),
        (" -q -c nginx.conf", ["-c", "nginx.conf"]),
    ],
)
def test_options_in_a_title(title: str, options: list[str]) -> None:
    assert title_options(title) == options


def test_the_main_file_of_the_title_is_read(bed: Bed) -> None:
    other = bed.etc / "other.conf"
    other.write_text("http { include sites-available/*; }")
    bed.start(f" -c {other} -g daemon off;")
    assert bed.nginx().look()["path"] == str(bed.site)
    bed.nginx().put([8000, 8001])
    assert "-- -t -g daemon off; -c" in bed.log.read_text()
    assert f"-T -c {other} -g daemon off;" in bed.log.read_text()


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ('nginx: [emerg] unknown directive "a" in /x:1\nnginx: …', 'unknown directive "a" in /x:1'),
        ('2026/11/22 11:23:39 [emerg] 58#58: duplicate upstream "a"\nnginx: …', 'duplicate upstream "a"'),
        ("nginx: [warn] old\nnginx: [crit] no memory", "no memory"),
        ("nginx: [warn] old\nKilled", "Killed"),
        ("", "it says nothing"),
    ],
)
def test_nginxs_own_words(out: str, told: str) -> None:
    assert failure(out) == told


def test_files_behind_an_include(tmp_path: Path) -> None:
    for name in ("b.conf", "a.conf", "Z.conf", ".hidden.conf", "[x].conf", "a.txt"):
        (tmp_path / name).touch()
    folder = str(tmp_path)
    assert [Path(name).name for name in includes(folder, "*.conf")] == ["Z.conf", "[x].conf", "a.conf", "b.conf"]
    assert includes(folder, "\\[x\\].conf") == [f"{folder}/[x].conf"]
    assert includes(folder, "gone.conf") == [f"{folder}/gone.conf"]
    assert includes(folder, "/no/where/*") == []


# -- changing ---------------------------------------------------------------------------------------------------------


def test_put(running: Bed) -> None:
    running.site.chmod(0o640)
    before = running.files()
    change = running.nginx().put([8000, 8001], down=[8001], pins=["^/a"])
    text = running.site.read_text()
    assert change == (True, str(running.site), SITE, text)
    assert "server 127.0.0.1:8001 max_fails=0 down;" in text
    assert len(running.reloads) == 1
    assert stat.S_IMODE(running.site.stat().st_mode) == 0o640
    after = running.files()
    kept = after.pop("state/nginx_upstream.original")
    assert json.loads(kept)["text"] == SITE
    assert stat.S_IMODE(running.state.stat().st_mode) == 0o700
    assert stat.S_IMODE((running.state / "nginx_upstream.original").stat().st_mode) == 0o600
    assert {name for name in after if after[name] != before.get(name)} == {"etc/sites-available/tethys"}
    assert running.nginx().put([8000, 8001], down=[8001], pins=["^/a"]).changed is False
    assert len(running.reloads) == 1


def test_what_is_tested_is_the_whole_configuration_with_the_change(running: Bed) -> None:
    (running.etc / "conf.d" / "a.conf").write_text("include sub/[1].conf;\n")
    (running.etc / "sites-enabled" / "other").write_text("# another site\n")
    running.nginx().put([8000, 8001])
    asked = running.asked()
    read = [line[3:] for line in asked.splitlines() if line.startswith("== ")]
    # The main file's copy is in its own folder, by a name that no pattern matches; what leads nowhere is read itself.
    assert Path(read[0]).parent == running.etc
    assert Path(read[0]).name.startswith(".nginx.conf.")
    assert read[1:3] == [f"{running.etc}/conf.d/a.conf", f"{running.etc}/sites-enabled/other"]
    assert Path(read[3]).parent.parent == Path("/tmp")
    assert running.site.read_text() in asked
    assert "server 127.0.0.1:8000;\n" not in asked


@pytest.mark.parametrize(
    "name", ["up stream's.conf", '"quoted".conf', "[1]*.conf", "back\\slash.conf", "semi;colon{}.conf", "$dollar.conf"]
)
def test_the_chain_of_includes_with_strange_names(running: Bed, name: str) -> None:
    folder = running.etc / "conf.d"
    (folder / name).write_text(f"include {running.etc}/deep;\n")
    (running.etc / "deep").write_text(running.site.read_text())
    (running.etc / "sites-enabled" / "tethys").unlink()
    nginx = running.nginx()
    found: dict[str, Any] = {}
    site = nginx._survey(found)
    seen: list[str] = []

    def run(_binary: str, options: list[str], _cwd: str = "/") -> tuple[int, str, str]:
        main = Path(options[-1])
        assert main.parent == running.etc
        copied = nginx_upstream.nginx_config.Tree(
            str(main), lambda file: Path(file).read_text(), lambda pattern: includes(str(running.etc), pattern)
        )
        seen.extend(copied.texts)
        assert [node.file for node in copied.upstreams()] == [list(copied.texts)[-1]]
        assert "new text" in copied.texts[copied.upstreams()[0].file]
        return 0, "", ""

    running.monkeypatch.setattr(nginx, "_run", run)
    nginx._validate(site, running.site.read_text() + "# new text\n")
    assert len(seen) == 3
    assert not any(Path(file).exists() for file in seen)


def test_the_upstream_in_the_main_file(running: Bed) -> None:
    running.main.write_text("http {\n" + SITE + "}\n")
    running.nginx().put([8000, 8001])
    assert "server 127.0.0.1:8001 max_fails=0;" in running.main.read_text()
    assert running.asked().count("== ") == 1
    assert [path.name for path in running.etc.iterdir() if path.name.startswith(".")] == []


def test_a_change_that_nginx_does_not_take(running: Bed) -> None:
    before = running.files()
    with pytest.raises(NginxError) as raised:
        running.nginx().put([8000], pins=["^/BROKEN"])
    # With the administrator's path, not the path of the copy that was tested.
    assert f'unknown directive "BROKEN" in {running.etc}/sites-enabled/tethys:5' in str(raised.value)
    assert str(running.site) in str(raised.value)
    assert (running.files(), running.reloads) == (before, [])


def test_a_control_character_in_a_pin(running: Bed) -> None:
    with pytest.raises(NginxError, match="control character"):
        running.nginx().put([8000], pins=["a\nb"])


def test_dry(running: Bed) -> None:
    before = running.files()
    change = running.nginx().put([8000, 8001], dry=True)
    assert change.changed
    assert "8001" in change.after
    assert (running.files(), running.reloads, running.tests()) == (before, [], 0)
    running.nginx().put([8000, 8001])
    before = running.files()
    assert running.nginx().put([8000, 8001], dry=True).changed is False
    assert running.nginx().give_back(8000, dry=True) == (True, str(running.site), running.site.read_text(), SITE)
    assert running.files() == before


def test_all_down_is_none_down(running: Bed) -> None:
    running.nginx().put([8000, 8001], down=[8000, 8001])
    assert "down" not in running.site.read_text()


def test_no_ports(running: Bed) -> None:
    with pytest.raises(NginxError, match="at least one port"):
        running.nginx().put([])


def test_bytes_that_are_no_text(running: Bed) -> None:
    raw = SITE.encode().replace(b"the portal", b"f\xfcr das Portal")
    running.site.write_bytes(raw)
    change = running.nginx().put([8000, 8001])
    assert json.dumps(change.before)
    change.after.encode()
    assert b"f\xfcr das Portal" in running.site.read_bytes()
    running.nginx().give_back(8000)
    assert running.site.read_bytes() == raw


def test_a_file_that_changes_meanwhile(running: Bed) -> None:
    nginx = running.nginx()
    validate = nginx._validate

    def meanwhile(*arguments: Any) -> None:
        validate(*arguments)
        running.site.write_text(SITE + "# mine\n")

    running.monkeypatch.setattr(nginx, "_validate", meanwhile)
    with pytest.raises(NginxError, match="changed by somebody else"):
        nginx.put([8000, 8001])
    assert running.site.read_text() == SITE + "# mine\n"
    assert running.reloads == []


def test_nginx_that_does_not_take_over(running: Bed) -> None:
    running.takes_over = False
    with pytest.raises(NginxError, match=r"Read /var/log/nginx/error\.log"):
        running.nginx().put([8000, 8001])
    assert running.site.read_text() == SITE
    assert len(running.reloads) == 2
    running.takes_over = True
    assert running.nginx().put([8000, 8001]).changed


def test_nginx_that_is_started_anew_meanwhile(running: Bed) -> None:
    nginx = running.nginx()
    validate = nginx._validate

    def meanwhile(*arguments: Any) -> None:
        validate(*arguments)
        fields = (running.proc / "56" / "stat").read_text().split(" ")
        fields[-2] = "99"
        (running.proc / "56" / "stat").write_text(" ".join(fields))

    running.monkeypatch.setattr(nginx, "_validate", meanwhile)
    with pytest.raises(NginxError, match="stopped or restarted during the change"):
        nginx.put([8000, 8001])
    assert running.site.read_text() == SITE


def test_workers_that_still_end_do_not_count(running: Bed) -> None:
    running.title(57, "nginx: worker process is shutting down")
    running.process(59, "nginx: worker process", 56)
    running.nginx().put([8000, 8001])
    assert Processes(str(running.proc)).workers(56) == {(1001, 1001)}


def test_a_worker_that_goes_on_with_the_former_configuration(running: Bed) -> None:
    kill = running.kill

    def keeps_one(pid: int, number: int) -> None:
        kill(pid, number)
        running.title(57, "nginx: worker process")

    running.monkeypatch.setattr(nginx_upstream.os, "kill", keeps_one)
    with pytest.raises(NginxError, match="has not loaded"):
        running.nginx().put([8000, 8001])
    assert running.site.read_text() == SITE


class Killed(BaseException):
    """As if the program ended there."""


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_run_that_is_killed_is_finished_by_the_next(running: Bed, step: int, after: bool) -> None:
    steps: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            steps.append(name)
            if len(steps) == step + 1 and not after:
                raise Killed
            result = function(*arguments, **named)
            if len(steps) == step + 1:
                raise Killed
            return result

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", counted("rename", os.rename))
        patch.setattr(nginx_upstream.os, "kill", counted("kill", running.kill))
        patch.setattr(atomic_file, "unlink", counted("unlink", atomic_file.unlink))
        try:
            running.nginx().put([8000, 8001])
        except Killed:
            pass
        else:
            assert step >= len(steps)
    reloads = len(running.reloads)
    unfinished = running.site.read_text() == SITE or (running.state / "nginx_upstream.pending").exists()
    assert running.nginx().put([8000, 8001]).changed == unfinished
    assert len(running.reloads) == reloads + unfinished
    assert "8001" in running.site.read_text()
    assert running.nginx().put([8000, 8001]).changed is False
    assert sorted(path.name for path in running.state.iterdir()) == ["nginx_upstream.original"]
    running.nginx().give_back(8000)
    assert running.site.read_text() == SITE
    assert list(running.state.iterdir()) == []
    assert [path for path in running.etc.rglob(".*.tethys_channels") if str(os.getpid()) not in path.name] == []


def test_what_was_written_and_not_reloaded_is_reloaded(running: Bed) -> None:
    def killed(*_arguments: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nginx_upstream.os, "kill", killed)
        with pytest.raises(Killed):
            running.nginx().put([8000, 8001])
    assert "8001" in running.site.read_text()
    assert running.reloads == []
    assert running.nginx().put([8000, 8001], dry=True).changed
    assert running.nginx().put([8000, 8001]).changed
    assert len(running.reloads) == 1


def test_leftovers_of_a_killed_run_go(running: Bed) -> None:
    dead = 2**22 + 1  # beyond the kernel's largest
    leftovers = [
        running.etc / f".nginx.conf.{dead}.tethys_channels",
        running.site.parent / f".tethys.{dead}.tethys_channels",
    ]
    alive = running.etc / ".nginx.conf.1.tethys_channels"
    for path in [*leftovers, alive]:
        path.write_text("x")
    running.nginx().put([8000, 8001])
    assert not any(path.exists() for path in leftovers)
    assert alive.exists()


# -- giving back ------------------------------------------------------------------------------------------------------


def test_give_back(running: Bed) -> None:
    running.nginx().put([8000, 8001], pins=["^/a"])
    running.nginx().put([8000, 8001, 8002])
    change = running.nginx().give_back(8000)
    assert change == (True, str(running.site), change.before, SITE)
    assert running.site.read_text() == SITE
    assert list(running.state.iterdir()) == []
    assert len(running.reloads) == 3
    assert running.nginx().give_back(8000) == (False, str(running.site), SITE, SITE)


def test_give_back_to_another_port(running: Bed) -> None:
    running.nginx().put([9000, 9001], pins=["^/a"])
    running.nginx().give_back(9000)
    assert running.site.read_text() == SITE.replace("8000", "9000")


def test_give_back_keeps_what_others_wrote(running: Bed) -> None:
    running.nginx().put([8000, 8001], pins=["^/a"])
    running.site.write_text(running.site.read_text().replace("listen 80;", "listen 8080;") + "# mine\n")
    running.nginx().give_back(8000)
    assert running.site.read_text() == SITE.replace("listen 80;", "listen 8080;") + "# mine\n"


def test_give_back_without_what_was_kept(running: Bed) -> None:
    running.nginx().put([8000, 8001], pins=["^/a"])
    (running.state / "nginx_upstream.original").unlink()
    running.nginx().give_back(8000)
    assert running.site.read_text() == SITE


def test_a_block_that_is_not_ours_is_left_alone(running: Bed) -> None:
    running.nginx().put([8000, 8001])
    own = SITE.replace("server 127.0.0.1:8000;", "server 127.0.0.1:9999; keepalive 4;")
    running.site.write_text(own)
    running.nginx().give_back(8000)
    assert running.site.read_text() == own
    assert list(running.state.iterdir()) == []


def test_a_block_written_anew_is_what_is_given_back(running: Bed) -> None:
    running.nginx().put([8000, 8001])
    anew = SITE.replace("server 127.0.0.1:8000;", "server 127.0.0.1:8000; keepalive 4;")
    running.site.write_text(anew)
    running.nginx().put([8000, 8001])
    running.nginx().give_back(8000)
    assert running.site.read_text() == anew


def test_a_deleted_comment_of_ours_does_no_harm(running: Bed) -> None:
    running.nginx().put([8000, 8001])
    lines = [line for line in running.site.read_text().splitlines(True) if "tethys.channels" not in line]
    running.site.write_text("".join(lines))
    assert running.nginx().look()["managed"] is False
    running.nginx().put([8000, 8001, 8002])
    running.nginx().give_back(8000)
    assert running.site.read_text() == SITE


@pytest.mark.parametrize("text", ["{", "[]", '{"upstream": "channels-backend"}'])
def test_damaged_state(running: Bed, text: str) -> None:
    running.nginx().put([8000, 8001])
    (running.state / "nginx_upstream.original").write_text(text)
    with pytest.raises(NginxError, match=r"nginx_upstream\.original is damaged"):
        running.nginx().give_back(8000)


def test_give_back_where_the_block_has_gone(running: Bed) -> None:
    running.nginx().put([8000, 8001])
    running.site.write_text("# nothing\n")
    assert running.nginx().give_back(8000, dry=True).changed
    assert running.nginx().give_back(8000) == (True, "", "", "")
    assert list(running.state.iterdir()) == []
    assert running.nginx().give_back(8000).changed is False


def test_give_back_where_nginx_does_not_run(running: Bed) -> None:
    running.nginx().put([8000, 8001])
    (running.folder / "bin").mkdir()
    (running.folder / "bin" / "nginx").symlink_to(running.program)
    running.title(56, "something else")
    assert running.nginx().give_back(8000).changed
    assert running.site.read_text() == SITE
    assert len(running.reloads) == 1


def test_give_back_takes_what_put_would_refuse(running: Bed) -> None:
    running.nginx().put([8000, 8001])
    running.site.write_text(
        running.site.read_text().replace("max_fails=0;\n", "max_fails=0;\n server 10.0.0.1:1;\n", 1)
    )
    running.nginx().give_back(8000)
    assert running.site.read_text() == SITE


def test_give_back_that_fails_forgets_nothing(running: Bed) -> None:
    running.nginx().put([8000, 8001])
    running.takes_over = False
    with pytest.raises(NginxError):
        running.nginx().give_back(8000)
    assert (running.state / "nginx_upstream.original").exists()
    running.takes_over = True
    running.nginx().give_back(8000)
    assert running.site.read_text() == SITE


def test_a_folder_that_cannot_be_written(running: Bed) -> None:
    def full(*_arguments: Any, **_named: Any) -> None:
        raise OSError(28, "No space left on device", "/etc/nginx")

    running.monkeypatch.setattr(atomic_file, "write_new", full)
    with pytest.raises(NginxError, match="/etc/nginx: the disk is full"):
        running.nginx().put([8000, 8001])
    assert running.site.read_text() == SITE
