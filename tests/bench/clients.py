# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of idle receivers with each redis-py, by the socket_timeout in the host's entry of CHANNEL_LAYERS."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server import CACHE, IMAGE, Program, say

NAME = "tethys-channels-bench-clients"
PROGRAM = Path(__file__).parent / "programs" / "idle_receivers.py"
VERSIONS = ("5.3.1", "6.4.0", "7.4.1", "8.0.1", "8.1.0")
PORT = 6379
LAYERS = ("core", "pubsub")
TIMEOUTS = ("absent", "null", "10", "15", "30")
IDLE_SECONDS = 17
# Shorter than 15 s less the core layer's read of 5 s, and longer than any read that is to end.
FREEZES = (8, 20)
# Longer than the longest timeout measured.
GONE_SECONDS = 40


def environment(version: str) -> Path:
    """The Python of an environment with that redis-py, made where it is missing."""
    folder = CACHE / "clients" / version
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "channels_redis", f"redis=={version}"], check=True)
        (folder / "ready").touch()
    return python


def docker(*words: str) -> str:
    """What Docker prints."""
    return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout.strip()


def wait_for(host: str) -> None:
    """Return as soon as Redis accepts connections, within 10 s."""
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((host, PORT), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


@contextmanager
def redis() -> Iterator[str]:
    """Yield the address of a Redis on a separate network, and remove both afterwards."""
    try:
        docker("network", "create", NAME)
        docker("run", "-d", "--name", NAME, "--network", NAME, IMAGE, "redis-server", "--protected-mode", "no")
        where = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", NAME)
        wait_for(where)
        yield f"redis://{where}:{PORT}"
    finally:
        subprocess.run(["docker", "rm", "-fv", NAME], capture_output=True, check=False)
        subprocess.run(["docker", "network", "rm", NAME], capture_output=True, check=False)


class Receivers(Program):
    """The program, in one environment with one class."""

    def __init__(self, version: str, layer: str, address: str) -> None:
        self.version, self.layer = version, layer
        command = [environment(version), PROGRAM, f"--address={address}", f"--layer={layer}", "--timeouts", *TIMEOUTS]
        super().__init__(command, f"redis-py {version}, {layer}")


def measured(fault: str, seconds: int) -> list[dict[str, Any]]:
    """One fault for all environments and classes at once."""
    with redis() as address:
        programs = [Receivers(version, layer, address) for version in VERSIONS for layer in LAYERS]
        try:
            for each in programs:
                each.line()
            # The core layer's reads of 5 s have all begun, at different moments.
            time.sleep(2)
            _do(fault, programs, seconds)
            rows = []
            for each in programs:
                each.tell("end")
                for timeout, found in json.loads(each.line()).items():
                    rows.append({"redis": each.version, "layer": each.layer, "timeout": timeout, **found})
            return rows
        finally:
            for each in programs:
                each.end()


def _do(fault: str, programs: list[Receivers], seconds: int) -> None:
    """Be idle, freeze Redis or take it off the network, and send where it is there again."""
    if fault == "frozen":
        docker("pause", NAME)
    elif fault == "gone":
        docker("network", "disconnect", "-f", NAME, NAME)
    for each in programs:
        each.tell("fault")
    time.sleep(seconds)
    if fault == "gone":
        return
    if fault == "frozen":
        docker("unpause", NAME)
        time.sleep(1)
    for each in programs:
        each.tell("send")


def clients(_rounds: int) -> dict[str, Any]:
    """Every fault, with every redis-py, class and timeout."""
    for version in VERSIONS:
        environment(version)
    found: dict[str, Any] = {"faults": []}
    for fault, seconds in (("idle", IDLE_SECONDS), *(("frozen", each) for each in FREEZES), ("gone", GONE_SECONDS)):
        rows = measured(fault, seconds)
        found["faults"].append({"fault": fault, "seconds": seconds, "rows": rows})
        say(f"clients: {fault} for {seconds} s: {sum(each['ended'] for each in rows)} receivers ended")
    return found
