# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a port for each process to what was there before, to one shared socket and back, and from a manual set-up."""

from __future__ import annotations

from typing import Any

import apart
import bed

PROGRAM = "/etc/supervisor/conf.d/asgi_supervisord.conf"
THEIRS = f"{bed.HOME}/asgi_supervisord.conf"
SHARED = {"tethys_asgi_layout": "shared_socket", "tethys_bokeh": "not_in_use", "tethys_bokeh_policy": "single"}
# What of the server a change of the layout touches.
TRACES = f"""
ls -A1 /run/tethys /etc/supervisor/conf.d /etc/nginx /etc/nginx/* /etc/tethys_channels /var/log/tethys_channels
ss -Hltn | awk '{{print $4}}' | sort
supervisorctl status | awk '{{print $1, $2}}'
cat {apart.SITE}
"""


def given_back(host: Any) -> None:
    """Check that nginx's site and the portal's settings are as they were before the first run, byte for byte."""
    assert host.run(f"cmp {apart.SITE} /root/nginx.before").rc == 0
    assert host.run(f"cmp {bed.CONFIG} /root/portal_config.before").rc == 0
    assert not host.file("/etc/tethys_channels").exists
    assert apart.listeners(host) == {"127.0.0.1:8000"}
    assert apart.programs(host) == {"asgi:tethys_asgi0": "RUNNING"}
    assert host.run("nginx -t").rc == 0
    assert apart.serves(host)


def test_remove_puts_nginx_back(host: Any) -> None:
    apart.remove()
    given_back(host)


def test_the_layout_changes_under_load_and_leaves_nothing_behind(host: Any) -> None:
    apart.site(**SHARED)
    before = host.check_output(TRACES)
    assert apart.listeners(host) == {"127.0.0.1:8000"}
    assert host.run(f"cmp {apart.SITE} /root/nginx.before").rc == 0

    with bed.load(host, "--websockets", "6") as there:
        apart.site()
    print(f"shared_socket to socket_per_process: {there}")
    assert apart.programs(host) == apart.EVERY_PROGRAM
    assert apart.listeners(host) == apart.EVERY_PORT
    apart.every_plot_moves(host, apart.FEW_LOADS)

    with bed.load(host, "--websockets", "6") as back:
        apart.site(**SHARED)
    print(f"socket_per_process to shared_socket: {back}")
    assert host.check_output(TRACES) == before
    assert len(bed.daphnes(host)) == apart.N
    # With several processes, one is always running in either direction, and nginx sends requests to it.
    for figures in (there, back):
        assert figures["requests"] > 200, f"{figures}"
        assert figures["failed"] == 0, f"{figures}"


def test_a_portal_set_up_by_the_manual_is_taken_over_and_given_back(host: Any) -> None:
    apart.remove()
    activated = f"source /opt/conda/bin/activate tethys; export TETHYS_HOME={bed.HOME}"
    host.check_output(
        # The manual has the administrator make the folder of the logs.
        f"rm {PROGRAM} && install -d -o www-data -g www-data /var/log/tethys && bash -c '{activated};"
        f" tethys gen asgi_service --asgi-processes 1 --conda-prefix {bed.PREFIX} --overwrite'"
        f" && ln -s {THEIRS} {PROGRAM} && supervisorctl update"
        " && for i in $(seq 60); do curl -s -o /dev/null http://127.0.0.1:8000/ && break; sleep 0.5; done"
    )
    [daphne] = bed.daphnes(host)
    assert daphne["user"] == "root"

    text = apart.site()
    assert f"{PROGRAM} will be replaced with a file that this collection manages" in text
    assert "The processes' user changes from root to www-data" in text
    assert apart.programs(host) == apart.EVERY_PROGRAM
    assert apart.listeners(host) == apart.EVERY_PORT
    assert host.check_output("ls -A /run | grep -c tethys_asgi || true") == "0"
    assert {row["user"] for row in bed.daphnes(host)} == {"www-data"}
    apart.every_plot_moves(host, apart.FEW_LOADS)
    apart.every_listener_hears(host)

    apart.remove()
    given_back(host)
    assert host.check_output(f"readlink {PROGRAM}") == THEIRS
    assert not host.file("/run/tethys").exists
    [daphne] = bed.daphnes(host)
    assert daphne["user"] == "root"
