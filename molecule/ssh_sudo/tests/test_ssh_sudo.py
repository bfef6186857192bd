# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Over ssh and sudo, to a portal in a home folder that nobody else may enter: refused with the fix, then run."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import bed
import pytest

N = 2
USER = "alice"
WITHIN = "/home/alice"


def folded(text: str) -> str:
    """Output without the line breaks and doubled quotes that YAML puts in."""
    return " ".join(text.replace("''", "'").split())


def reasons(run: subprocess.CompletedProcess[str], name: str) -> list[str]:
    """The reasons for which a run was refused on that host."""
    assert "Refused; nothing was changed." in bed.fatal(run, name), run.stdout
    return bed.fatal(run, name).partition("Refused; nothing was changed.")[2].split(" - ")[1:]


# The one that molecule.yml has.
PASSWORD = "100% of it: $ecret \\ 'quoted' \"too\""


def of_another_site(host: Any) -> str:
    """The program that another site has under Supervisor, and its processes."""
    rows = host.check_output("supervisorctl status | awk '$1 ~ /^asgi:/ {print $1, $2, $4}'")
    return str(rows) + str(host.check_output("sha256sum /etc/supervisor/conf.d/other.conf"))


@pytest.fixture(scope="module")
def another_site(host: Any) -> str:
    """The same as it was before the first run."""
    return of_another_site(host)


@pytest.fixture(scope="module")
def first(host: Any, another_site: str) -> str:
    """The first run, with modules copied to the server's temporary folder, and what it printed."""
    run = bed.playbook("site", "-vvv", tethys_user=USER, preflight_pipelining=False)
    assert run.returncode == 0, run.stdout
    return folded(run.stdout)


def test_the_way_is_ssh_and_sudo(host: Any) -> None:
    run = subprocess.run(
        [
            "ansible",
            "-i",
            os.environ["MOLECULE_INVENTORY_FILE"],
            "portals",
            "-m",
            "ansible.builtin.command",
            "-a",
            "id -un",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines()[-1] == "deploy", run.stdout + run.stderr
    assert host.check_output(f"stat -c '%a %U' {WITHIN}") == "750 alice"
    assert host.run("su -s /bin/sh deploy -c 'ls /home/alice'").rc != 0
    assert host.run("su -s /bin/sh www-data -c 'ls /home/alice'").rc != 0


@pytest.fixture(scope="module")
def refused(host: Any, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run on the server under two names, each with a variable that is wrong."""
    server = {"ansible_host": host.backend.get_hostname()}
    given = bed.names(
        tmp_path_factory.mktemp("names"),
        no_user=server,
        no_root={**server, "ansible_become": False, "tethys_user": USER},
    )
    before = bed.snapshot(host)
    run = bed.playbook("site", *given, tethys_hosts="no_user:no_root")
    assert bed.snapshot(host) == before
    assert run.returncode != 0
    assert bed.changed(run) == 0
    assert "Traceback" not in run.stdout
    return run


def test_the_web_servers_user_cannot_enter_the_home(refused: subprocess.CompletedProcess[str]) -> None:
    [reason] = reasons(refused, "no_user")
    assert "tethys_user www-data (who would run the portal) cannot enter /home/alice" in reason
    assert bed.PREFIX in reason
    assert "`setfacl -m u:www-data:x /home/alice`" in reason
    assert "or set tethys_user to alice, the owner" in reason


def test_without_becoming_root_there_is_one_reason(refused: subprocess.CompletedProcess[str]) -> None:
    [reason] = reasons(refused, "no_root")
    assert "The tasks do not run as root: set ansible_become to true" in reason


def test_a_dry_run_changes_nothing(host: Any) -> None:
    before = bed.snapshot(host)
    run = bed.playbook("site", "--check", "--diff", tethys_user=USER)
    assert run.returncode == 0, run.stdout
    assert bed.snapshot(host) == before
    assert "Would check delivery to 2 process(es)" in run.stdout


def test_the_processes_run_as_the_homes_owner(host: Any, first: str) -> None:
    assert [row["user"] for row in bed.daphnes(host)] == [USER] * N
    for row in bed.daphnes(host):
        environment = host.check_output(f"tr '\\0' '\\n' < /proc/{row['pid']}/environ").splitlines()
        assert {"TETHYS_TEST_ACTIVATED=yes", f"TETHYS_HOME={bed.HOME}", "HOME=/home/alice"} <= set(environment)


def test_a_program_of_another_site_that_is_named_asgi_is_left_alone(host: Any, another_site: str, first: str) -> None:
    assert another_site.count("RUNNING") == 2
    assert of_another_site(host) == another_site
    ours = host.check_output("supervisorctl status | awk '$1 !~ /^asgi:/ {print $1}'").split()
    assert ours == [f"tethys_asgi:tethys_asgi{number}" for number in range(N)]


def test_a_second_run_changes_nothing_copies_no_module_and_neither_skips_many_tasks(host: Any, first: str) -> None:
    run = bed.playbook("site", "-vvv", tethys_user=USER)
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0, run.stdout
    assert " PUT " in first
    assert " PUT " not in run.stdout
    # A user waits for each of them.
    assert run.stdout.count("Using module file") <= 9
    # And reads a line for each of these.
    name = host.backend.get_hostname()
    assert bed.skipped_on(first, name) <= 10, first
    assert bed.skipped_on(run.stdout, name) <= 10, run.stdout


def test_no_run_had_trouble_with_its_temporary_files(host: Any, first: str) -> None:
    assert "world-readable" not in first
    assert "WARNING" not in first
    assert host.check_output("ls -A /home/deploy/.ansible/tmp") == ""


def test_every_listener_hears(host: Any, first: str) -> None:
    found = bed.client(host, "ws_fanout", "--url", bed.CHAT, "--clients", "12", "--processes", str(N))
    assert found["delivered"] == found["clients"] >= 12
    assert len(found["pids"]) == N
    through_nginx = bed.CHAT.replace(":8000", "")
    found = bed.client(
        host, "ws_fanout", "--url", through_nginx, "--host-header", "portal.example.org", "--clients", "6"
    )
    assert found["delivered"] == 6


def test_redis_5_has_the_chosen_password_and_prefix(host: Any, first: str) -> None:
    assert "Redis 5 had its last security fix" in " ".join(first.split())
    assert "5.0" in host.check_output("docker exec tethys-channels-redis redis-server --version")
    assert bed.redis(host, "PING").startswith("NOAUTH")
    layer = bed.django_layers(host, "alice")["default"]["CONFIG"]
    assert layer["prefix"] == "hydrology"
    [server] = layer["hosts"]
    assert (server["host"], server["port"], server["password"]) == ("127.0.0.1", 6379, PASSWORD)
    # Docker's port: on the loopback, and nowhere else.
    assert host.check_output("ss -Hltn sport = :6379 | awk '{print $4}'").split() == ["127.0.0.1:6379"]
    assert "username" not in server
    assert PASSWORD not in first


def test_nothing_in_the_home_became_anybody_elses(host: Any, first: str) -> None:
    assert "channels_redis" in host.check_output(f"ls {bed.PREFIX}/lib/python3*/site-packages")
    assert host.check_output(f"find {WITHIN} -not -user {USER}") == ""
    assert host.check_output(f"find {WITHIN} -not -group {USER}") == ""
    config = host.file(bed.CONFIG)
    assert (config.user, config.mode) == (USER, 0o600)
    assert host.check_output(f"stat -c '%a %U' {WITHIN}") == "750 alice"


def test_the_owner_may_read_the_logs_and_write_the_run_folder(host: Any, first: str) -> None:
    logs = host.file("/var/log/tethys_channels")
    assert (logs.user, logs.group, logs.mode) == ("root", USER, 0o750)
    assert host.file("/run/tethys").user == USER


def test_a_restart_stops_at_a_process_that_crashes_and_the_others_serve(host: Any, first: str) -> None:
    before = {row["pid"] for row in bed.daphnes(host)}
    [module] = host.check_output(f"ls {bed.PREFIX}/lib/python3*/site-packages/tethys_portal/asgi.py").split()
    with bed.during(host, f"mv {module} {module}.kept", f"mv {module}.kept {module}"):
        run = bed.playbook("restart", tethys_user=USER)
        text = folded(run.stdout)
    assert run.returncode != 0, run.stdout
    ended = r"Process tethys_asgi:tethys_asgi\d (ended \d times while it started|does not answer)"
    log = r"read /var/log/tethys_channels/\S*\.log\. Still serving: tethys_asgi\d\."
    assert re.search(rf"{ended} .*{log}", text), text
    assert len({row["pid"] for row in bed.daphnes(host)} & before) == N - 1
    assert host.run("curl -sf -o /dev/null -H 'Host: portal.example.org' http://127.0.0.1/").rc == 0


@pytest.mark.parametrize("name", ["restart", "check"])
def test_the_other_playbooks_go_the_same_way(host: Any, first: str, name: str) -> None:
    before = {row["pid"] for row in bed.daphnes(host)}
    run = bed.playbook(name, tethys_user=USER)
    assert run.returncode == 0, run.stdout
    after = {row["pid"] for row in bed.daphnes(host)}
    assert len(after) == N
    assert (after == before) if name == "check" else not after & before


def test_remove_leaves_the_home_and_another_site_as_they_were(host: Any, another_site: str, first: str) -> None:
    run = bed.playbook("remove", tethys_user=USER)
    assert run.returncode == 0, run.stdout
    assert host.run(f"cmp {bed.CONFIG} /root/portal_config.before").rc == 0
    assert host.check_output(f"ls {bed.HOME}") == host.check_output("cat /root/home.before")
    assert host.check_output(f"find {WITHIN} -not -user {USER}") == ""
    assert of_another_site(host) == another_site
    assert host.check_output("docker ps -aq") == ""
    assert not host.file("/etc/tethys_channels").exists
    assert [row["user"] for row in bed.daphnes(host)] == [USER]
