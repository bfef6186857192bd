# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios of several servers ask of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bed
import testinfra

NETWORK = f"tethys-channels-{os.environ['MOLECULE_SCENARIO_NAME'].replace('_', '-')}"
# The portals of each of them.
A, B = f"{NETWORK}-a", f"{NETWORK}-b"
# The private CA, on the controller.
AUTHORITY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "authority")
HERE = Path(__file__).parent
CLIENT = f"{bed.PREFIX}/bin/python -B /root/across.py"


def server(name: str) -> Any:
    """One of the servers, asked as root."""
    return testinfra.get_host(f"docker://{name}")


def address(name: str) -> str:
    """Its address in the network of all."""
    told = subprocess.run(["docker", "inspect", name], capture_output=True, text=True, check=True).stdout
    return str(json.loads(told)[0]["NetworkSettings"]["Networks"][NETWORK]["IPAddress"])


def device(host: Any, name: str) -> str:
    """The network device with that address."""
    rows = host.check_output("ip -o -4 addr").splitlines()
    [found] = [row.split()[1] for row in rows if f" {address(name)}/" in row]
    return str(found)


def across(sender: str, *arguments: str) -> dict[str, Any]:
    """Send from one portal to sockets on both, and return the receivers."""
    subprocess.run(["docker", "cp", "-q", str(HERE / "across.py"), f"{sender}:/root/across.py"], check=True)
    settings = f"TETHYS_HOME={bed.HOME} DJANGO_SETTINGS_MODULE=tethys_portal.settings"
    words = " ".join([address(A), address(B), *arguments])
    ran = server(sender).run(f"{settings} {CLIENT} {words}")
    assert ran.stdout.startswith("{"), ran.stdout + ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def all_hear(sender: str, groups: int = 12) -> None:
    """Check that the messages of that portal are received on both."""
    found = across(sender, "--groups", str(groups))
    assert found["heard"] == {address(A): groups, address(B): groups}, f"{found}"


@contextmanager
def cut(name: str) -> Iterator[None]:
    """A server whose cable is pulled."""
    host = server(name)
    link = device(host, name)
    host.check_output(f"ip link set dev {link} down")
    try:
        yield
    finally:
        host.check_output(f"ip link set dev {link} up")


def settings_of(name: str) -> dict[str, Any]:
    """The layer's CONFIG as a portal's Django has it."""
    found: dict[str, Any] = bed.django_layers(server(name))["default"]["CONFIG"]
    return found


def pids(*names: str) -> dict[str, list[int]]:
    """The portals' processes."""
    return {name: [row["pid"] for row in bed.daphnes(server(name))] for name in names}
