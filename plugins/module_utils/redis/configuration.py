# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of redis.conf, and of the script by which a Redis that Sentinel watches starts."""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.redis.users import (
    PEER_USER,
    PRIMARY_NAME,
)

# Where the container sees the configuration's folder.
MOUNT = "/etc/tethys-channels"
TLS_FILES = {"tls_cert": "redis.crt", "tls_key": "redis.key", "tls_ca": "ca.crt"}
TLS_OPTIONS = {"tls-cert-file": "tls_cert", "tls-key-file": "tls_key", "tls-ca-cert-file": "tls_ca"}
# The folder of Sentinel's own configuration is mounted there.
SENTINEL_MOUNT = "/etc/tethys-sentinel"
# The folder of the socket is mounted there.
SOCKET_INSIDE = "/run/tethys-channels/redis.sock"


def listening(transport: str, port: int) -> list[str]:
    """Where the server listens, as it sees that from inside the container."""
    if transport == "unix":
        return ["# No port at all.", "port 0", f"unixsocket {SOCKET_INSIDE}", "unixsocketperm 660"]
    if transport == "host":
        return ["bind 127.0.0.1", f"port {port}", "tcp-keepalive 60"]
    if transport == "tls":
        return [
            "# Inside the container every address; outside only the one that it publishes. Nothing in clear.",
            "bind 0.0.0.0",
            "protected-mode no",
            "port 0",
            "tls-port 6379",
            *(f"{option} {MOUNT}/{TLS_FILES[name]}" for option, name in TLS_OPTIONS.items()),
            "# Who comes in is told by name and password.",
            "tls-auth-clients no",
            'tls-protocols "TLSv1.2 TLSv1.3"',
            "tcp-keepalive 60",
        ]
    return [
        "# Inside the container every address; outside only what the container publishes.",
        "bind 0.0.0.0",
        "protected-mode no",
        "port 6379",
        "tcp-keepalive 60",
    ]


def copying(address: str, port: int) -> list[str]:
    """The replication settings of a server; Sentinel makes it a primary or a replica."""
    return [
        "# Copies go from server to server encrypted, and never by way of a file, which could not be written here.",
        f"replica-announce-ip {address}",
        f"replica-announce-port {port}",
        "tls-replication yes",
        "repl-diskless-sync yes",
        "repl-diskless-sync-delay 0",
        "repl-diskless-load swapdb",
        "# A server that has gone without a word is given up after so many seconds.",
        "repl-ping-replica-period 3",
        "repl-timeout 15",
        "# A copy that is slow begins anew, before what waits for it takes the memory of the container.",
        "client-output-buffer-limit replica 32mb 16mb 10",
    ]


# What the script does with Sentinel's answer, in `primary`. The host has to be an address and the port a number, since
# any other word could be an option of redis-server.
REPLICATE = """\
  host=${primary%% *} other=${primary#* } other=${other% }
  case "$host,$other" in
    "@ADDRESS@,@PORT@") ;;
    *[!0-9.,]*|,*|*,|*,*[!0-9]*) ;;
    *) exec redis-server @CONFIG@ --replicaof "$host" "$other" ;;
  esac"""
# The same before the answer was checked. The container's label is a digest of this text, so that a running Redis is not
# restarted for the check.
REPLICATE_LABELLED = """\
  case "$primary" in
    "@ADDRESS@ @PORT@ ") ;;
    *.*.*" "*) exec redis-server @CONFIG@ --replicaof $primary ;;
  esac"""


def start_script(params: dict[str, Any], config: str, replicate: str = REPLICATE) -> str:
    """Return the script by which a server starts that Sentinel watches.

    It comes back empty. As the primary it would have the others copy that, so it waits until one of them is it, which
    it copies from its first moment on. Where nobody is after that time, all of them have lost everything.
    """
    address, port = params["address"], params["port"]
    named = {"@ADDRESS@": address, "@PORT@": str(port), "@CONFIG@": f"{MOUNT}/{config}"}
    chosen = re.sub("@[A-Z]+@", lambda match: named[match.group()], replicate)
    ask = (
        f"redis-cli -h {address} -p {params['sentinel_port']} --tls --cacert {MOUNT}/{TLS_FILES['tls_ca']}"
        f" --user {PEER_USER} sentinel get-master-addr-by-name {PRIMARY_NAME}"
    )
    return f"""\
# Managed by tethys.channels: a change made here is lost.
# A Redis that starts is empty: it copies the primary. One that is the primary itself waits until another has its place.
auth=$(sed -n 's/^masterauth "\\(.*\\)"$/\\1/p' {MOUNT}/{config})
end=$(($(date +%s) + {params["start_wait"]}))
while ls {SENTINEL_MOUNT}/*.conf >/dev/null 2>&1 && [ "$(date +%s)" -lt "$end" ]; do
  primary=$(REDISCLI_AUTH=$auth timeout 3 {ask} 2>/dev/null | tr '\\n' ' ')
{chosen}
  sleep 1
done
exec redis-server {MOUNT}/{config}
"""


def configuration(
    maxmemory_mb: int, transport: str = "published", port: int = 6379, copied_at: str | None = None
) -> list[str]:
    """The server's own settings; `copied_at` is its address where servers copy each other."""
    # From `maxmemory` on, Redis refuses what core stores, but not what pub/sub publishes: for a subscriber that does
    # not read, its default of client-output-buffer-limit counts. A setting more would replace every running container.
    return [
        "# Managed by tethys.channels: a change made here is lost.",
        *listening(transport, port),
        *(copying(copied_at, port) if copied_at else []),
        "# A channel layer is a message bus whose messages expire after a minute: nothing is worth writing to disk.",
        'save ""',
        "appendonly no",
        f"maxmemory {maxmemory_mb}mb",
        "maxmemory-policy noeviction",
    ]
