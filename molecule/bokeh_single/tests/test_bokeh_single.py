# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Bokeh rule under the default policy: found in every state of the portal, and kept in either order.

The tests stand in the order of the story: an untouched server that refuses, three processes without Bokeh, an app with
Bokeh installed beside them, one process that serves it. The refusals are tested in one run, in which each state of the
portal is a host of the inventory, with a separate home or environment.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import bed
import pytest
import yaml

N = 3
# With what a playbook ends where a host failed.
FAILED = 2
# The process that goes first when there is one process only.
RESTARTED = "asgi:tethys_asgi2"
START_SECONDS = 60
# WCAG 2.1, AA, for text of this size.
LEAST_CONTRAST = 4.5
HANDLER = "bokehplot: wave at /apps/bokehplot/wave/"
ONE = "set tethys_asgi_processes to 1"
PIN = "tethys_bokeh_policy to pin together with tethys_asgi_layout to socket_per_process"


class Case(NamedTuple):
    """The variables of a run, the commands that make what it needs beside the portal, and why nothing can be known."""

    variables: dict[str, Any]
    make: str
    why: str = ""


def home(name: str, change: str, why: str = "") -> Case:
    """Return the case of a portal with a separate home."""
    return Case({"tethys_home": f"{bed.HOME}-{name}"}, bed.home(name, change), why.format(home=f"{bed.HOME}-{name}"))


def database(name: str, engine: str, why: str) -> Case:
    """A portal whose database is on a server that takes the connection and says nothing, as behind a dead firewall."""
    there = (
        f"  DATABASES:\\n    default: {{ENGINE: django.db.backends.{engine}, NAME: tethys, USER: tethys,"
        " PASSWORD: pg-s3cret-word, HOST: 127.0.0.1, PORT: 5433}"
    )
    change = f"sed -i '/^    default:$/d; /sqlite/d; s/^  DATABASES:$/{there}/' portal_config.yml"
    return home(name, f"{change} && grep -q pg-s3cret-word portal_config.yml", why)


def broken(app: str, module: str, why: str = "") -> Case:
    """An environment with an app of which a module cannot be imported."""
    name = f"{app}-{module}"
    file = f"lib/python3*/site-packages/tethysapp/{app}/{module}.py"
    change = (
        f"sed -i 's/^from __future__.*/&\\nimport a_module_that_is_not_there/' {file}"
        f" && bin/python -Bc 'import tethysapp.{app}.{module}' 2>&1 | grep -q a_module_that_is_not_there"
    )
    return Case({"tethys_conda_prefix": f"{bed.PREFIX}-{name}"}, bed.prefix(name, change), why)


SETTING = "sed -i 's|^settings:$|&\\n{}|' portal_config.yml"
EMPTY = "mv tethys_platform.sqlite away && install -o www-data -g www-data -m 0644 {} tethys_platform.sqlite"
# Portals that have no Bokeh app as far as anybody can see, or have one.
STATES = {
    "database gone": home(
        "gone", "rm tethys_platform.sqlite", "The database {home}/tethys_platform.sqlite does not exist"
    ),
    "database unmigrated": home("unmigrated", EMPTY.format("/dev/null"), "'tethys db migrate'"),
    "database unreadable": home(
        "unreadable", EMPTY.format("/etc/hostname"), "The database {home}/tethys_platform.sqlite cannot be read"
    ),
    "database server silent": database("silent", "postgresql", "The database tethys on 127.0.0.1 cannot be read"),
    "Tethys cannot start": database("mysql", "mysql", "Tethys cannot be started"),
    "another app broken": broken("channelchat", "app", "a_module_that_is_not_there"),
}
WITH_THE_APP = {
    **STATES,
    "app broken": broken("bokehplot", "app"),
    "handlers broken": broken("bokehplot", "handlers"),
    "healthy": Case({}, "true"),
}
ADDRESSES = {
    "a prefix": (home("prefix", SETTING.format("  PREFIX_URL: /hydro")), "/hydro/apps/bokehplot/wave/"),
    "a standalone app": (
        home("standalone", SETTING.format("  MULTIPLE_APP_MODE: false\\n  STANDALONE_APP: bokehplot")),
        "/wave/",
    ),
}
ANOTHER = home("another", SETTING.format("  MULTIPLE_APP_MODE: false\\n  STANDALONE_APP: channelchat"))
SILENT = "import socket, time; s = socket.create_server(('127.0.0.1', 5433)); time.sleep(600)"
Runs = dict[str, "subprocess.CompletedProcess[str]"]


def rule(run: subprocess.CompletedProcess[str], *words: str) -> None:
    """See the run refused for Bokeh alone, with both ways out."""
    text = bed.refusal(run)
    for word in (f"tethys_asgi_processes is {N}", "tethys_bokeh_policy: single", ONE, PIN, *words):
        assert word in text, text
    assert text.count("tethys_asgi_processes is") == 1
    assert "pg-s3cret-word" not in text


@contextmanager
def made(host: Any, cases: Iterable[Case]) -> Iterator[None]:
    """What the cases need, as long as the block runs; what runs in it changes nothing."""
    host.check_output(f'systemd-run -q --unit silent /usr/bin/python3 -c "{SILENT}" && sleep 0.5')
    for case in cases:
        host.check_output(case.make)
    before = bed.snapshot(host)
    try:
        yield
        assert bed.snapshot(host) == before
    finally:
        host.check_output(f"systemctl stop silent; rm -rf {bed.HOME}-* {bed.PREFIX}-*")


# --- what cannot be known, on a portal that has no Bokeh app as far as anybody can see --------------------------------


@pytest.fixture(scope="module")
def unknown(host: Any) -> Runs:
    """A run for each state of the portal in which its apps cannot be found, all of them refused."""
    cases = {name: case.variables for name, case in STATES.items()}
    unmigrated = {"tethys_bokeh": "not_in_use", **STATES["database unmigrated"].variables}
    with made(host, STATES.values()):
        runs = bed.judge(host, {**cases, "in use": {"tethys_bokeh": "in_use"}})
        return {**runs, **bed.judge(host, {"not in use": unmigrated}, "--check")}


@pytest.mark.parametrize("state", STATES)
def test_what_cannot_be_known_counts_as_in_use(unknown: Runs, state: str) -> None:
    words = ["it could not be found out whether an app uses Bokeh", "tethys_bokeh to not_in_use"]
    rule(unknown[state], *words, STATES[state].why)


def test_the_administrator_who_knows_better_is_believed(unknown: Runs) -> None:
    assert unknown["not in use"].returncode == 0, unknown["not in use"].stdout
    text = bed.refusal(unknown["in use"])
    for words in ("tethys_bokeh: in_use", ONE, PIN):
        assert words in text


# --- the app with Bokeh is installed, on a server that was never provisioned ------------------------------------------


@pytest.fixture(scope="module")
def installed(host: Any) -> Iterator[Runs]:
    """A run for each state of the portal with the app, those of one address each, and two that may go on."""
    host.check_output(bed.INSTALL_PLOT)
    cases = {**WITH_THE_APP, **{name: case for name, (case, _address) in ADDRESSES.items()}}
    with made(host, [*cases.values(), ANOTHER]):
        runs = bed.judge(host, {name: case.variables for name, case in cases.items()})
        free = {"one process": {"tethys_asgi_processes": 1}, "another app": ANOTHER.variables}
        runs.update(bed.judge(host, free, "--check"))
    yield runs
    host.check_output(bed.UNINSTALL_PLOT)


@pytest.mark.parametrize("state", WITH_THE_APP)
def test_the_handler_is_found_in_every_state_of_the_portal(installed: Runs, state: str) -> None:
    rule(installed[state], HANDLER)


def test_one_process_is_no_reason_to_refuse(installed: Runs) -> None:
    assert installed["one process"].returncode == 0, installed["one process"].stdout


@pytest.mark.parametrize("name", ADDRESSES)
def test_the_address_is_the_one_at_which_the_portal_serves(installed: Runs, name: str) -> None:
    rule(installed[name], f"bokehplot: wave at {ADDRESSES[name][1]}")


def test_a_standalone_portal_that_serves_another_app_is_free_to_scale(installed: Runs) -> None:
    assert installed["another app"].returncode == 0, installed["another app"].stdout


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


@pytest.fixture(scope="module")
def alone(host: Any, later: list[int]) -> int:
    """The pid of one of them that no message reaches: it was restarted while its layer was set to its own memory.

    The file is as before again, so that nothing but the delivery shows it.
    """
    written = yaml.safe_load(host.file(bed.CONFIG).content_string)
    written["settings"]["CHANNEL_LAYERS"] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with bed.config(host, yaml.safe_dump(written).encode()):
        host.check_output(f"supervisorctl restart {RESTARTED}")
        pid = int(host.check_output(f"supervisorctl pid {RESTARTED}"))
        end = time.monotonic() + START_SECONDS
        while pid not in (found := bed.client(host, "ws_fanout", "--processes", str(N)))["pids"]:
            assert time.monotonic() < end, found
    assert found["missing_at"], found
    later[:] = [row["pid"] for row in bed.daphnes(host)]
    return pid


@pytest.fixture(scope="module")
def checked(host: Any, alone: int, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """One run of `check` for two names of the server: refused for the app, and accepted with `not_in_use`."""
    server = {"ansible_host": host.backend.get_hostname()}
    names = bed.names(tmp_path_factory.mktemp("names"), refused=server, told={**server, "tethys_bokeh": "not_in_use"})
    run = bed.playbook("check", *names, tethys_hosts="refused:told")
    assert run.returncode == FAILED, run.stdout
    assert bed.changed(run) == 0
    return run


def test_check_finds_an_app_that_came_later(checked: subprocess.CompletedProcess[str]) -> None:
    text = bed.fatal(checked, "refused")
    assert HANDLER in text, checked.stdout
    assert ONE in text
    assert PIN in text


def test_check_names_the_process_that_receives_nothing(alone: int, checked: subprocess.CompletedProcess[str]) -> None:
    text = bed.fatal(checked, "told")
    named = rf"The ASGI process {alone} \({RESTARTED}\) on port 8000 got the message on 0 of its [1-9]\d* WebSockets"
    assert re.search(rf"{named}[^\[]*\[message-not-received\]", text), checked.stdout
    # The others receive it.
    assert set(re.findall(r"The ASGI process (\d+) ", text)) == {str(alone)}, checked.stdout


def test_the_next_run_finds_it_too_and_leaves_the_processes(host: Any, later: list[int]) -> None:
    bed.refused(host, f"tethys_asgi_processes is {N}", "tethys_bokeh_policy: single", ONE, PIN, HANDLER)
    assert [row["pid"] for row in bed.daphnes(host)] == later


def test_one_process_serves_the_plot_in_a_browser(host: Any, later: list[int], tmp_path: Path) -> None:
    run: subprocess.CompletedProcess[str] = bed.playbook("site", tethys_asgi_processes=1)
    assert run.returncode == 0, run.stdout
    assert len(bed.daphnes(host)) == 1
    found = bed.browser(host, "--loads", "3")
    assert (found["plots"], found["moved"], found["errors"], found["elsewhere"]) == (3, 3, [], [])
    found = bed.plots(host, 12)
    assert (found["plots"], found["moved"]) == (12, 12), found
    page = tmp_path / "page.html"
    run = bed.playbook(
        "check", tethys_asgi_processes=1, layer_check_status_on="controller", layer_check_status_html=str(page)
    )
    assert run.returncode == 0, run.stdout
    assert bed.changed(run) == 0
    rows = bed.status_page(page)
    assert {(row["width"], row["scheme"]) for row in rows} == set(itertools.product((400, 1200), ("light", "dark")))
    for row in rows:
        assert row["scroll_width"] == row["width"], row
        assert row["contrast"] >= LEAST_CONTRAST, row
        assert row["errors"] == []
        assert "1 of 1 portal without a problem" in row["text"]
        assert "1 of 1 ASGI processes run" in row["text"]
        assert re.search(r"Checked \S+ \S+ UTC, less than 1 min ago", row["text"]), row["text"]
