# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three processes, each with a separate port, and Bokeh's requests pinned to one of them by nginx.

The tests stand in the order of the story: pinned, plain round robin for comparison, pinned by the pattern alone and
under other addresses, and as at the beginning.
"""

from __future__ import annotations

import re
from typing import Any

import apart
import bed

LOADS = 40


def test_each_process_is_a_program_with_a_port_of_its_own(host: Any) -> None:
    assert apart.programs(host) == apart.EVERY_PROGRAM
    assert apart.listeners(host) == apart.EVERY_PORT
    assert [row["user"] for row in bed.daphnes(host)] == ["www-data"] * apart.N


def test_the_upstream_lists_the_ports_and_pins(host: Any) -> None:
    assert host.run("nginx -t").rc == 0
    found = apart.block(host)
    assert re.findall(r"^\s*server (\S+)", found, re.MULTILINE) == [f"127.0.0.1:{port}" for port in apart.PORTS]
    assert " down" not in found
    assert "hash $tethys_channels_process;" in found


def test_bokeh_and_groups_work_while_the_other_is_going_on(host: Any) -> None:
    before = apart.clock(host)
    # Late is not lost: a process that draws plots, on a busy machine, may take up to 15 s.
    clients = ["--clients=24", "--speakers=3", "--every=0.2", "--margin=15"]
    load = bed.load(host, "--connections", "2", "--pause", "0.1")
    with load as requests, bed.alongside(host, "ws_stream", *apart.THROUGH_NGINX, *clients) as messages:
        apart.every_plot_moves(host, LOADS)
    print(f"{LOADS} of {LOADS} plots, and beside them {messages} and {requests}")
    assert (messages["lost"], messages["unread"], messages["refused"]) == (0, 0, 0), f"{messages}"
    assert messages["due"] == messages["messages"] * messages["clients"] > LOADS, f"{messages}"
    assert len(messages["pids"]) == apart.N, f"{messages}"
    assert requests["failed"] == 0, f"{requests}"
    assert len(requests["pids"]) == apart.N, f"{requests}"
    # The page, its script and its socket all meet in the first process; other requests go to all of them.
    assert apart.asked(host, before, "/bokehplot/wave") == ["tethys_asgi0"]
    assert len(apart.asked(host, before, "/channelchat/")) == apart.N


def test_a_browser_sees_the_plot_move(host: Any) -> None:
    apart.moves_in_a_browser(host, 5)


def test_pinning_is_refused_where_nginx_could_not_tell_the_processes_apart(host: Any) -> None:
    bed.refused(
        host,
        f"tethys_bokeh_policy is pin with tethys_asgi_processes {apart.N} and tethys_asgi_layout shared_socket",
        "set tethys_asgi_layout to socket_per_process",
        tethys_asgi_layout="shared_socket",
    )


def test_plain_round_robin_leaves_pages_blank(host: Any) -> None:
    apart.site(tethys_bokeh="not_in_use", tethys_bokeh_policy="single")
    assert "hash" not in apart.block(host)
    assert "$tethys_channels_process" not in apart.nginx_file(host)
    before = apart.clock(host)
    found = bed.plots(host, 30)
    print(f"plain round robin: {found['plots']} of {found['loads']} plots, {found['errors']}")
    # So the loads that all succeed above would show the fault if it were there.
    assert found["plots"] < found["loads"] / 2, f"{found}"
    # And so would the logs.
    assert len(apart.asked(host, before, "/bokehplot/wave/(autoload|ws)")) == apart.N


def test_what_is_pinned_by_the_pattern_alone_works(host: Any) -> None:
    apart.site(tethys_bokeh="in_use")
    assert "bokehplot" not in apart.nginx_file(host)
    before = apart.clock(host)
    apart.every_plot_moves(host, apart.FEW_LOADS)
    assert apart.asked(host, before, "/bokehplot/wave/(autoload|ws)") == ["tethys_asgi0"]


def test_the_pin_follows_a_prefix(host: Any) -> None:
    host.check_output(f"sed -i 's/^settings:$/&\\n  PREFIX_URL: hydro/' {bed.CONFIG}")
    apart.site()
    assert "/hydro/apps/bokehplot/wave" in apart.nginx_file(host)
    before = apart.clock(host)
    apart.every_plot_moves(host, apart.FEW_LOADS, url="http://127.0.0.1/hydro/apps/bokehplot/wave/")
    apart.moves_in_a_browser(host, 2, url="http://portal.example.org/hydro/apps/bokehplot/wave/")
    assert apart.asked(host, before, "/hydro/apps/bokehplot/wave") == ["tethys_asgi0"]


def test_the_pin_follows_a_standalone_app(host: Any) -> None:
    host.check_output(
        f"sed -i 's/^  PREFIX_URL: hydro$/  MULTIPLE_APP_MODE: false\\n  STANDALONE_APP: bokehplot/' {bed.CONFIG}"
    )
    apart.site()
    assert "hydro" not in apart.nginx_file(host)
    before = apart.clock(host)
    apart.every_plot_moves(host, apart.FEW_LOADS, url="http://127.0.0.1/wave/")
    apart.moves_in_a_browser(host, 2, url="http://portal.example.org/wave/")
    assert apart.asked(host, before, "^/wave/") == ["tethys_asgi0"]


def test_all_is_as_at_the_beginning(host: Any) -> None:
    host.check_output(f"sed -i '/^  MULTIPLE_APP_MODE: false$/d; /^  STANDALONE_APP: bokehplot$/d' {bed.CONFIG}")
    apart.site()
    apart.every_plot_moves(host, apart.FEW_LOADS)
    apart.every_listener_hears(host)
    assert apart.programs(host) == apart.EVERY_PROGRAM
