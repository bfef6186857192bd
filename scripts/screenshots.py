# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The screenshots of the documentation: a portal with three processes on a throw-away server, in a real browser.

The server is that of the scenario bokeh_pin: a port for each process, and Bokeh's requests sent to one of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVER = "tethys-channels-pictures"
BROWSER = "tethys-channels-test/browser:bookworm"
PREFIX = "/opt/conda/envs/tethys"
PROCESSES = 3
INVENTORY = f"""\
portals:
  hosts:
    portal.example.org:
      ansible_host: {SERVER}
      ansible_connection: community.docker.docker
  vars:
    tethys_home: /var/lib/tethys
    tethys_conda_prefix: {PREFIX}
    tethys_asgi_processes: {PROCESSES}
    tethys_asgi_layout: socket_per_process
    tethys_bokeh_policy: pin
    redis_container_image: tethys-channels-test/redis:7.0
    channels_redis_find_links: /opt/wheels
"""
# As molecule/bokeh_pin/prepare.yml: no browser here reaches a CDN, so Bokeh's scripts come from the portal.
PREPARE = f"""
set -e
docker load -q -i /opt/images/redis-7.0.tar >/dev/null
{PREFIX}/bin/pip install -q --no-deps --no-index --root-user-action ignore /opt/apps/*.whl
sed -i 's/^settings:$/&\\n  BOKEH_RESOURCES: server/' /var/lib/tethys/portal_config.yml
su -s /bin/sh www-data -c 'cd / && TETHYS_HOME=/var/lib/tethys PATH={PREFIX}/bin:$PATH tethys db sync' >/dev/null
"""


def run(command: list[str], **options: str) -> str:
    """Return what a command prints, or end with it if the command fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])}: {done.stderr.strip()}\n{done.stdout.strip()}")
    return done.stdout


@contextmanager
def portal() -> Iterator[None]:
    """Have the server run, with an app that uses Bokeh, as long as the block does."""
    remove = ["docker", "rm", "-fv", SERVER]
    subprocess.run(remove, capture_output=True, check=False)
    run([str(ROOT / "scripts" / "start-server"), SERVER, "bookworm"])
    try:
        run(["docker", "exec", "-i", SERVER, "bash", "-s"], input=PREPARE)
        yield
    finally:
        subprocess.run(remove, capture_output=True, check=False)


def playbook(name: str, inventory: Path, **variables: str) -> None:
    """Run a playbook of the collection."""
    os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(ROOT / ".cache" / "collections")
    given = [word for pair in variables.items() for word in ("-e", "=".join(pair))]
    run(["ansible-playbook", "-i", str(inventory), f"tethys.channels.{name}", *given])


def picture(folder: Path, url: str, name: str, *options: str) -> bytes:
    """Return a picture of a page in a browser on the server's network."""
    program = ROOT / "scripts" / "browser_picture.py"
    mounts = ["-v", f"{folder}:/pictures", "-v", f"{program}:/usr/local/bin/browser_picture.py:ro"]
    command = ["docker", "run", "--rm", "--network", f"container:{SERVER}", *mounts, "--entrypoint", "python3", BROWSER]
    run([*command, "-B", "/usr/local/bin/browser_picture.py", url, f"/pictures/{name}", *options])
    return (folder / name).read_bytes()


def take() -> dict[str, bytes]:
    """Return each screenshot by its name."""
    run([str(ROOT / "scripts" / "install-collection")])
    with tempfile.TemporaryDirectory() as place, portal():
        folder = Path(place)
        # The browser runs as another user, in its container.
        folder.chmod(0o777)
        inventory = folder / "inventory.yml"
        inventory.write_text(INVENTORY, encoding="utf-8")
        playbook("site", inventory)
        status = {"layer_check_status_on": "controller", "layer_check_status_html": str(folder / "status.html")}
        playbook("check", inventory, **status)
        slider = ("--slider", "--width", "800")
        return {
            "bokeh_page.png": picture(folder, "http://portal.example.org/apps/bokehplot/wave/", "bokeh.png", *slider),
            "status_page.png": picture(folder, "file:///pictures/status.html", "status.png"),
        }
