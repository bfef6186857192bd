# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The portal between the files of tests: with one socket for all processes, then with one for each."""

from __future__ import annotations

from typing import Any

import bed
import pytest

# What the administrator writes into the inventory after the upgrade: the class of the Tethys documentation, which is no
# longer the default. At the default capacity of 100 a process that is two seconds behind, as on a busy machine, drops
# messages: another question.
PRODUCTION = {
    "tethys_asgi_layout": "socket_per_process",
    "tethys_layer_backend": "channels_redis.core.RedisChannelLayer",
    "portal_config_layer_options": {"capacity": 2000},
}


@pytest.fixture(scope="module")
def shared_socket(host: Any) -> None:
    """The portal as the upgrade leaves it, also where the earlier state was not in the clone."""
    if not bed.inventory and not host.file("/etc/supervisor/conf.d/asgi_supervisord.conf").exists:
        run = bed.playbook("site")
        assert run.returncode == 0, run.stdout


@pytest.fixture(scope="module")
def production(host: Any, shared_socket: None) -> dict[str, Any]:
    """The portal with a port for each process, which begins with one; what the load saw if this brought it there."""
    figures: dict[str, Any] = {}
    if not bed.inventory:
        bed.inventory.update(PRODUCTION)
        with bed.load(host, "--connections", "4") as figures:
            run = bed.playbook("site", tethys_asgi_processes=1)
        assert run.returncode == 0, run.stdout
    return figures
