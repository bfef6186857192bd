# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program that may be another user's, for a limited time, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import Callable


def run_bounded(
    command: list[str],
    env: dict[str, str],
    cwd: str,
    stdin: str,
    limit: float,
    switch: Callable[[], None] | None,
) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error.

    Args:
        limit: seconds.
        switch: called in the child before the program starts, to become another user; nobody else's threads run then.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be started.
        subprocess.TimeoutExpired: it has been killed after that time.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        preexec_fn=switch,
    )
    try:
        out, err = process.communicate(stdin, timeout=max(0.0, limit))
    finally:
        # However this ends, by an exception of a signal handler too: programs that it has started go with it.
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, out, err
