# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the Redis of each place of the fault table is, and how a portal reaches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# A Redis that is not on the portal's server, and three parts of one under Sentinel, on a bridge that can be cut.
NETWORK, SHARED, PRIMARY, REPLICA, SENTINEL = (f"10.213.0.{last}" for last in ("0/24", 2, 3, 4, 5))
MASTER = "tethys-channels"
# As a run writes them into the entry of a shared Redis and of one under Sentinel; a test compares.
PATIENCE: Mapping[str, Mapping[str, Any]] = {
    "shared": {"socket_connect_timeout": 5, "socket_timeout": 15, "health_check_interval": 10},
    "sentinel": {
        "socket_connect_timeout": 2,
        "socket_timeout": 10,
        "socket_keepalive": True,
        "socket_keepalive_options": {4: 1, 5: 1, 6: 3, 18: 4000},
        "health_check_interval": 10,
        "retry_on_timeout": True,
    },
}
SENTINEL_PATIENCE: Mapping[str, Any] = {"socket_connect_timeout": 1, "socket_timeout": 1, "retry": None}
HOSTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "local": [],
    "shared": [{"host": SHARED, "port": 6379, **PATIENCE["shared"]}],
    "sentinel": [
        {
            "master_name": MASTER,
            "sentinels": [[SENTINEL, 26379]],
            "sentinel_kwargs": SENTINEL_PATIENCE,
            **PATIENCE["sentinel"],
        }
    ],
}
