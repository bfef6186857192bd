# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What code in the portal's environment can do to the run that starts it.

/opt/hostile/plays/app has the attacks of the portal's app, one word each; plays/start those that begin with Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path("/opt/hostile")
# ESC and C1: a title, a cleared screen, a color, a line that overwrites the one above; then what reorders a line.
ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m \x9b1A\x9b2K\x9d0;owned\x9c all is well \x85\u2028\u202e"
# And what Ansible, on the controller, would run if it took the text for a template.
ESCAPES += "{{ lookup('pipe', 'touch /tmp/hostile-template') }}"
# A directory that ends its line in Supervisor's program and adds a program of root's.
PROGRAM = "[program:hostile]\ncommand=/usr/bin/touch /root/hostile-program\nautorestart=false\nstartsecs=0"
DIRECTORY = f"/\ncommand=/bin/sleep 999\n{PROGRAM}\n[rest]"
# What only root may determine, and what Ansible acts on.
ROOTS = {
    "user": "root",
    "group": "root",
    "user_problem": None,
    "home_problem": None,
    "prefix_problem": None,
    "prefix_owner": {"user": "root", "uid": 0},
    "access": [],
    "leftovers": [],
    "config": {"path": "/etc/passwd", "realpath": "/etc/passwd", "exists": True, "problem": None},
    "warnings": [ESCAPES],
    "ansible_facts": {"ansible_python_interpreter": "/opt/hostile/interpreter", "ansible_remote_tmp": "/opt/hostile"},
    "invocation": {"module_args": {}},
}


def note(what: str) -> None:
    """Record as which user this ran; where it is root, in a folder that only root can write."""
    place = Path("/root", f"hostile-{what}") if os.getuid() == 0 else HERE / "seen" / f"{what}.{os.getuid()}"
    with contextlib.suppress(OSError):
        place.write_text(f"{os.getpid()} {sys.argv}\n", encoding="utf-8")


def write(raw: bytes) -> None:
    """Send these bytes into every pipe of this process besides its standard streams: one of them leads to the run."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        number = int(entry.name)
        with contextlib.suppress(OSError):
            if number > 2 and stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, raw)


def answer(message: dict[str, Any]) -> None:
    """Answer as the run's own program does: by its function, and past it."""
    said = getattr(sys.modules["__main__"], "_say", None)
    if said:
        said(message)
    write(json.dumps(message).encode() + b"\n")


def root() -> None:
    """Be root, by saying so."""
    answer(ROOTS)


def directory() -> None:
    """Have Supervisor run a program."""
    answer({"site_packages": DIRECTORY})


def text() -> None:
    """Reach the administrator's terminal."""
    answer({"settings_problem": ESCAPES, "bokeh_problem": ESCAPES, "database_problem": ESCAPES})
    answer({"app_problems": [{"package": ESCAPES, "problem": ESCAPES}]})
    os.write(2, ESCAPES.encode())


def children() -> None:
    """Leave processes behind, in separate sessions, which hold the run's pipes open."""
    for _each in range(3):
        subprocess.Popen(["setsid", "sleep", "3141"], start_new_session=True, close_fds=False)


def hare() -> None:
    """Leave one process behind that is always another one, until nobody looks for it any more."""
    if os.fork():
        return
    os.setsid()
    end = time.monotonic() + 8
    while time.monotonic() < end:
        if os.fork():
            os._exit(0)
    os.execvp("sleep", ["sleep", "3141"])  # noqa: S606 - what is left is found by this name


def lies() -> None:
    """Answer with the wrong types, what is no JSON, and what is nested too deep."""
    write(b'{"versions": 1, "settings": [], "apps": {}, "bokeh": 7, "lacking": "all", "python": {}}\n')
    write(b"[" * 10_000 + b"\n" + b'{"versions":' + b'{"a":' * 10_000 + b"\n")
    write(b'{"python": "\xff\xfe", "python": "twice", "site_packages": "\\ud800", "seconds": NaN}\n')
    write(b'{"settings": {"channel_layers": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}}\n")


def keys() -> None:
    """Answer with more keys than there are."""
    answer({f"key{number}": number for number in range(100_000)})


def drip() -> None:
    """Answer one byte a second, for ever."""
    while True:
        write(b"{")
        time.sleep(1)


def flood() -> None:
    """Answer 2 GiB in one line, from several processes: there is always more to read."""
    os.fork()
    os.fork()
    for _each in range(2 * 1024**3 // 65536):
        write(b"x" * 65536)


def lines() -> None:
    """Answer for ever, in good answers."""
    while True:
        write(b'{"versions": {"tethys_platform": "' + b"9" * 4000 + b'"}}\n')


def output() -> None:
    """Print 2 GiB."""
    for _each in range(2 * 1024**3 // 65536):
        os.write(1, b"x" * 65536)


def report() -> None:
    """As pip: be done at once, and have a FIFO in the place of the report."""
    if "--report" in sys.orig_argv:
        os.mkfifo(sys.orig_argv[sys.orig_argv.index("--report") + 1])
        os._exit(0)


def wait() -> None:
    """Never end."""
    time.sleep(3141)


def play(part: str) -> None:
    """Play what the file of that name says."""
    note(part)
    try:
        words = (HERE / "plays" / part).read_text(encoding="utf-8").split()
    except OSError:
        return
    # In a process that serves, there is no run to attack but by its log.
    serves = any("daphne" in word for word in sys.argv[:1])
    for word in words:
        if word == "text" or not serves:
            note(f"serving-{word}" if serves else f"played-{word}")
            globals()[word]()
