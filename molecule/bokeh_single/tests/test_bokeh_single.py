# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Bokeh rule under the default policy: found in every state of the portal, and kept in either order.

The tests stand in the order of the story: an untouched server that refuses, three processes without Bokeh, an app with
Bokeh installed beside them, one process that serves it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Callable

import bed
import pytest

N = 3
DATABASE = f"{bed.HOME}/tethys_platform.sqlite"
APPS = f"{bed.PREFIX}/lib/python3*/site-packages/tethysapp"
HANDLER = "bokehplot: wave at /apps/bokehplot/wave/"
ONE = "set tethys_asgi_processes to 1"
PIN = "tethys_bokeh_policy to pin together with tethys_asgi_layout to socket_per_process"


def rule(host: Any, *words: str) -> str:
    """See the run refused for Bokeh alone, with both ways out."""
    text = bed.refused(host, f"tethys_asgi_processes is {N}", "tethys_bokeh_policy: single", ONE, PIN, *words)
    assert text.count("tethys_asgi_processes is") == 1
    return text


def broken(host: Any, app: str, module: str) -> AbstractContextManager[None]:
    """An app of which a module cannot be imported."""
    file = f"{APPS}/{app}/{module}.py"
    return bed.during(
        host,
        f"cp -p {file} /root/module && sed -i 's/^from __future__.*/&\\nimport a_module_that_is_not_there/' {file}"
        f" && {bed.PREFIX}/bin/python -Bc 'import tethysapp.{app}.{module}' 2>&1 | grep -q a_module_that_is_not_there",
        f"cp -p /root/module {file}",
    )


@contextmanager
def database(host: Any, engine: str = "postgresql") -> Iterator[None]:
    """A portal whose database is on a server that takes the connection and says nothing, as behind a dead firewall."""
    listen = "import socket, time; s = socket.create_server(('127.0.0.1', 5433)); time.sleep(600)"
    silent = bed.during(
        host, f'systemd-run -q --unit silent /usr/bin/python3 -c "{listen}" && sleep 0.5', "systemctl stop silent"
    )
    elsewhere = bed.setting(
        host,
        f"  DATABASES:\n    default: {{ENGINE: django.db.backends.{engine}, NAME: tethys, USER: tethys,"
        " PASSWORD: pg-s3cret-word, HOST: 127.0.0.1, PORT: 5433}",
        drop=r"^  DATABASES:$|^    default:$|sqlite",
    )
    with silent, elsewhere:
        yield


def no_database(host: Any) -> AbstractContextManager[None]:
    """A portal whose database file is gone."""
    return bed.during(host, f"mv {DATABASE} /root/", f"mv /root/tethys_platform.sqlite {DATABASE}")


def unmigrated(host: Any) -> AbstractContextManager[None]:
    """A portal whose database has no tables yet."""
    return bed.during(
        host,
        f"mv {DATABASE} /root/ && install -o www-data -g www-data -m 0644 /dev/null {DATABASE}",
        f"mv /root/tethys_platform.sqlite {DATABASE}",
    )


def unreadable(host: Any) -> AbstractContextManager[None]:
    """A portal whose database file is nobody's but root's, and not even a database."""
    return bed.during(
        host,
        f"mv {DATABASE} /root/ && install -o www-data -g www-data -m 0644 /etc/hostname {DATABASE}",
        f"mv /root/tethys_platform.sqlite {DATABASE}",
    )


STATES: dict[str, Callable[[Any], AbstractContextManager[None]]] = {
    "database gone": no_database,
    "database unmigrated": unmigrated,
    "database unreadable": unreadable,
    "database server silent": database,
    "Tethys cannot start": lambda host: database(host, "mysql"),
    "app broken": lambda host: broken(host, "bokehplot", "app"),
    "handlers broken": lambda host: broken(host, "bokehplot", "handlers"),
    "another app broken": lambda host: broken(host, "channelchat", "app"),
}


# --- what cannot be known, on a portal that has no Bokeh app as far as anybody can see --------------------------------


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("database gone", f"The database {DATABASE} does not exist"),
        ("database unmigrated", "'tethys db migrate'"),
        ("database unreadable", f"The database {DATABASE} cannot be read"),
        ("database server silent", "The database tethys on 127.0.0.1 cannot be read"),
        ("Tethys cannot start", "Tethys cannot be started"),
        ("another app broken", "a_module_that_is_not_there"),
    ],
)
def test_what_cannot_be_known_counts_as_in_use(host: Any, state: str, why: str) -> None:
    with STATES[state](host):
        text = rule(host, "it could not be found out whether an app uses Bokeh", "tethys_bokeh to not_in_use", why)
    assert "pg-s3cret-word" not in text


def test_the_administrator_who_knows_better_is_believed(host: Any) -> None:
    with unmigrated(host):
        run = bed.playbook("site", "--check", tethys_bokeh="not_in_use")
        assert run.returncode == 0, run.stdout
    bed.refused(host, "tethys_bokeh: in_use", ONE, PIN, tethys_bokeh="in_use")


# --- the app with Bokeh is installed ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(host: Any) -> Iterator[None]:
    """The Bokeh app in the environment, on a server that was never provisioned."""
    with bed.during(host, bed.INSTALL_PLOT, bed.UNINSTALL_PLOT):
        yield


def test_the_refusal_names_the_handler_and_both_ways_out(host: Any, installed: None) -> None:
    assert HANDLER in rule(host)
    # One process is no reason to refuse.
    run = bed.playbook("site", "--check", tethys_asgi_processes=1)
    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("state", STATES)
def test_the_handler_is_found_in_every_state_of_the_portal(host: Any, installed: None, state: str) -> None:
    with STATES[state](host):
        text = rule(host, HANDLER)
    assert "pg-s3cret-word" not in text


def test_the_address_has_the_prefix(host: Any, installed: None) -> None:
    with bed.setting(host, "  PREFIX_URL: /hydro"):
        rule(host, "bokehplot: wave at /hydro/apps/bokehplot/wave/")


def test_a_standalone_portal_serves_the_handler_at_its_root(host: Any, installed: None) -> None:
    with bed.setting(host, "  MULTIPLE_APP_MODE: false\n  STANDALONE_APP: bokehplot"):
        rule(host, "bokehplot: wave at /wave/")


def test_a_standalone_portal_that_serves_another_app_is_free_to_scale(host: Any, installed: None) -> None:
    with bed.setting(host, "  MULTIPLE_APP_MODE: false\n  STANDALONE_APP: channelchat"):
        run = bed.playbook("site", "--check")
        assert run.returncode == 0, run.stdout


# --- the other order: three processes first, the app later ------------------------------------------------------------


@pytest.fixture(scope="module")
def later(host: Any) -> list[int]:
    """Three processes without Bokeh, beside which the app is installed as its manual says; their pids."""
    # Tests before this one leave the app there.
    host.run(bed.UNINSTALL_PLOT)
    run = bed.playbook("site")
    assert run.returncode == 0, run.stdout
    pids = [row["pid"] for row in bed.daphnes(host)]
    assert len(pids) == N
    host.check_output(bed.INSTALL_PLOT)
    host.check_output(
        f"su -s /bin/sh www-data -c 'cd / && TETHYS_HOME={bed.HOME} PATH={bed.PREFIX}/bin:$PATH tethys db sync'"
    )
    # Bokeh's scripts from the portal instead of from a CDN, which no browser here could reach.
    host.check_output(f"sed -i 's/^settings:$/&\\n  BOKEH_RESOURCES: server/' {bed.CONFIG}")
    bed.seen.clear()
    return pids


def test_check_finds_an_app_that_came_later(host: Any, later: list[int]) -> None:
    run = bed.playbook("check")
    assert run.returncode != 0
    text = " ".join(run.stdout.replace("''", "'").split())
    assert HANDLER in text, run.stdout
    assert ONE in text
    assert PIN in text
    assert bed.changed(run) == 0


def test_the_next_run_finds_it_too_and_leaves_the_processes(host: Any, later: list[int]) -> None:
    rule(host, HANDLER)
    assert [row["pid"] for row in bed.daphnes(host)] == later


def test_one_process_serves_the_plot_in_a_browser(host: Any, later: list[int]) -> None:
    run: subprocess.CompletedProcess[str] = bed.playbook("site", tethys_asgi_processes=1)
    assert run.returncode == 0, run.stdout
    assert len(bed.daphnes(host)) == 1
    found = bed.browser(host, "--loads", "3")
    assert (found["plots"], found["moved"], found["errors"], found["elsewhere"]) == (3, 3, [], [])
    found = bed.plots(host, 40)
    assert (found["plots"], found["moved"]) == (40, 40), found
    run = bed.playbook("check", tethys_asgi_processes=1)
    assert run.returncode == 0, run.stdout
