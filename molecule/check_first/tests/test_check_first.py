# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dry run is reliable: it reports every change, makes none, and the run makes exactly these changes."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import bed

# What must be reported beforehand, each as the output of a dry run has it.
TOLD = [
    "Would install docker.io",
    "Would install supervisor",
    "Would run tethys-channels-test/redis:6.0 as tethys-channels-redis at /var/lib/tethys_channels/redis.sock",
    "+channels-redis==",
    "CHANNEL_LAYERS:",
    "numprocs=2",
    "/var/log/tethys_channels",
    "/run/tethys",
    "maxmemory 192mb",
    "Would check delivery to 2 process(es)",
]


# Changes that another task reports beforehand, since the module that will make them cannot run yet.
PREDICTED = {
    "Show planned installation of supervisor": "Install supervisor",
    "Show planned Redis container": "Run the Redis container",
}


def changed_tasks(run: subprocess.CompletedProcess[str]) -> set[str]:
    """The names of the tasks that changed, or would."""
    found, task = set(), ""
    for line in run.stdout.splitlines():
        heading = re.match(r"TASK \[(?:.* : )?(.*)\] \**", line)
        if heading:
            task = heading.group(1)
        elif line.startswith("changed:"):
            found.add(task)
    return found


def test_a_dry_run_tells_everything_and_changes_nothing(host: Any) -> None:
    assert host.run("command -v dockerd supervisord").rc != 0
    before = bed.snapshot(host)
    dry = bed.playbook("site", "--check", "--diff")
    assert dry.returncode == 0, dry.stdout
    assert bed.snapshot(host) == before
    for words in TOLD:
        assert words in dry.stdout, words
    key = re.search(r"SECRET_KEY: *(\S+)", host.check_output(f"cat {bed.CONFIG}"))
    assert key
    assert key.group(1) not in dry.stdout + bed.decoded(dry.stdout)

    # Images come from no registry here: what prepare does elsewhere waits until there is an engine.
    host.check_output(
        "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends docker.io"
        # Without it, Ansible fetches the lists to install it.
        " python3-apt"
        " && systemctl start docker && docker load -q -i /opt/images/redis-6.0.tar"
        # As on a fresh image: the lists count as fetched within the hour, and have no package.
        " && rm -rf /var/lib/apt/lists/*"
    )
    real = bed.playbook("site")
    assert real.returncode == 0, real.stdout
    told = {PREDICTED.get(task, task) for task in changed_tasks(dry)}
    # The lists were refreshed for the first package that was not found.
    refreshed = {task for task in changed_tasks(real) if task.startswith("Update lists and install ")}
    assert len(refreshed) == 1, real.stdout
    changed = {task.replace("Update lists and install ", "Install ") for task in changed_tasks(real)}
    # Services that start with what was installed or written.
    assert changed - {"Start Supervisor", "Restart the watch"} <= told
    # What was installed under the umask 077 can be read by the portal's user.
    modes = host.check_output(
        f"find {bed.PREFIX}/lib/python3*/site-packages \\( -path '*/channels_redis*' -o -path '*/redis*' \\)"
        " -not -perm -004 -printf '%m %p\\n'"
    )
    assert modes == ""
    again = bed.playbook("site")
    assert (again.returncode, bed.changed(again)) == (0, 0), again.stdout
    found = bed.client(host, "ws_fanout", "--url", bed.CHAT, "--clients", "6", "--processes", "2")
    assert found["delivered"] == found["clients"]
    assert len(found["pids"]) == 2
