# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second portal beside the documented one: its TETHYS_HOME and site, and what must not change of the first one."""

from __future__ import annotations

import json
from typing import Any

import bed

NAME, PORT = "staging", 8010
HOME = f"{bed.HOME}-{NAME}"
STATE = f"/etc/tethys_channels-{NAME}"
SOCKET = f"/var/lib/tethys_channels-{NAME}/redis.sock"
GROUP = f"tethys_{NAME}_asgi"
CONTAINER = f"tethys-channels-redis-{NAME}"
CONTAINERS = "docker ps -a --format '{{.Names}}'"
PROGRAM = f"/etc/supervisor/conf.d/asgi_supervisord-{NAME}.conf"
SITE = f"/etc/nginx/conf.d/{NAME}.conf"
# As `tethys gen nginx` has it, with other names.
NGINX = f"""\
upstream channels-backend-{NAME} {{ server 127.0.0.1:{PORT}; }}
server {{
  listen 80; server_name {NAME}.example.org;
  location /static {{ alias {HOME}/static; }}
  location / {{
    proxy_pass http://channels-backend-{NAME}; proxy_http_version 1.1; proxy_set_header Host $host;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
  }}
}}
"""
# Besides TETHYS_HOME, whose portal_config.yml is all that the collection writes there.
FIRST = "/etc/tethys_channels /etc/tethys_channels.env /etc/tmpfiles.d/tethys_channels.conf /etc/supervisor/conf.d"
FIRST += f" /etc/nginx/sites-available {bed.CONFIG}"


def set_up(host: Any) -> None:
    """Make what the administrator has of it before the first run: a TETHYS_HOME in the same environment, and a site."""
    # The database, whose tables no run changes, may be the first one's here.
    host.check_output(
        f"install -d -o www-data -g www-data -m 0755 {HOME} && cp -pr {bed.HOME}/workspaces {HOME}"
        f" && cp -p /root/portal_config.before {HOME}/portal_config.yml"
    )
    host.check_output(
        f"sed -i 's,{bed.HOME}/,{HOME}/,; s/portal.example.org/{NAME}.example.org/' {HOME}/portal_config.yml"
        f" && cp -p {HOME}/portal_config.yml /root/{NAME}.before"
        f" && cat > {SITE} <<'END'\n{NGINX}END\ncp {SITE} /root/{NAME}.site && nginx -t -q && nginx -s reload"
    )


def left(host: Any) -> dict[str, Any]:
    """What is left after a removal of the second portal."""
    running = "docker ps --format '{{.Names}}'"
    return {
        "same settings": host.run(f"cmp {HOME}/portal_config.yml /root/{NAME}.before").rc == 0,
        "same site": host.run(f"cmp {SITE} /root/{NAME}.site").rc == 0,
        "folders": host.check_output(f"ls -d /etc/*-{NAME}* /var/lib/tethys_channels-{NAME}* || true").split(),
        "containers": host.check_output(running).split(),
    }


def clear_away(host: Any) -> None:
    """Remove what a removal leaves: the one process on the layer in memory, and what was there before."""
    host.check_output(f"rm {PROGRAM} {SITE} && supervisorctl update && nginx -s reload")
    host.check_output(f"rm -rf {HOME} /run/tethys-{NAME} /etc/tmpfiles.d/tethys_channels-{NAME}.conf {STATE}.env")
    host.check_output(f"rm -rf /var/log/tethys_channels-{NAME}")


def daphnes(host: Any) -> list[int]:
    """The processes of the second portal."""
    return [row["pid"] for row in bed.daphnes(host) if f"/run/tethys-{NAME}/" in row["command"]]


def first(host: Any) -> dict[str, Any]:
    """Return the state of the first portal and the server that a run for the second must not change."""
    # Supervisor's files and nginx's are all of them but the second portal's.
    # Supervisor reads a link into somebody's folder as a copy of root's, and the link is made again.
    rights = "%p %M %u %g %l"
    each = f"-type f -printf '{rights} %s %T@\\n' -o -printf '{rights}\\n'"
    files = f"find {FIRST} -not -path {PROGRAM} \\( {each} \\) | sort"
    sums = f"find {FIRST} -type f -not -path {PROGRAM} -exec sha256sum {{}} + | sort -k2"
    [container] = json.loads(host.check_output("docker inspect tethys-channels-redis"))
    return {
        "processes": [row["pid"] for row in bed.daphnes(host) if "/run/tethys/" in row["command"]],
        "files": host.check_output(files).splitlines(),
        "sums": host.check_output(sums).splitlines(),
        "sockets": host.check_output("ls -l /run/tethys /var/lib/tethys_channels"),
        "container": (container["Id"], container["State"]["StartedAt"]),
        "supervisor": host.check_output("supervisorctl pid"),
        "nginx": host.check_output("supervisorctl pid nginx"),
    }
