# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The most memory that new processes took at one moment, as JSON, until a file is there."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

# Long enough not to be the load itself, short enough to meet a module that runs for a second.
EVERY_SECONDS = 0.15


def pids() -> set[str]:
    """All processes."""
    return {folder.name for folder in Path("/proc").glob("[0-9]*")}


def pss_kb(pid: str) -> int:
    """A process's memory, its part of what it shares with others counted by the number of them."""
    try:
        text = Path("/proc", pid, "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def main() -> None:
    """Look again and again."""
    parser = argparse.ArgumentParser(description="Measure the memory of processes that come and go.")
    parser.add_argument("--stop", required=True, help="end as soon as this file is there")
    asked = parser.parse_args()
    known = {*pids(), str(os.getpid())}
    most = 0
    print("watching", flush=True)
    while not Path(asked.stop).exists():
        most = max(most, sum(pss_kb(pid) for pid in pids() - known))
        time.sleep(EVERY_SECONDS)
    print(json.dumps({"most_mb": round(most / 1024, 1)}))


if __name__ == "__main__":
    main()
