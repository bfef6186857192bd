# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""merge_settings measured: seconds by size, then its properties over 10,000 generated files.

Started by `make bench`; by hand from the collection's folder, which must be at .../ansible_collections/tethys/channels:

    PYTHONPATH=<the folder above ansible_collections> python tests/bench/bench_merge_settings.py [--sizes-only]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SIZES = [10, 30, 100, 300, 1000, 3000, 5000]  # kB
# PyYAML's own reader needs minutes beyond this, and is not used there where libyaml is.
SLOWEST = 300
LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [["127.0.0.1", 6379]]}}}


def portal_config(kilobytes: int) -> str:
    """A commented portal_config.yml of about that size, the setting in its middle."""
    head, middle, tail = ["# portal\nversion: 2.0\nsettings:\n"], "  CHANNEL_LAYERS:\n    default: {BACKEND: x}\n", []
    size = number = 0
    while size < kilobytes * 1000:
        entry = (
            f"  # setting {number}, kept for years\n  SETTING_{number}:\n    name: 'value {number}'\n"
            f"    hosts: [a.example.org, b.example.org]  # both\n    numbers:\n    - {number}\n    - 1.5\n"
            f"    text: |\n      some lines\n      of text\n"
        )
        (head if size < kilobytes * 500 else tail).append(entry)
        size += len(entry)
        number += 1
    return "".join([*head, middle, *tail])


def seconds(text: str, loader: Any) -> float:
    from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml import merge_settings

    started = time.perf_counter()
    result = merge_settings(text, {"CHANNEL_LAYERS": LAYERS}, loader=loader)
    taken = time.perf_counter() - started
    if "RedisChannelLayer" not in result:
        sys.exit("merge_settings did not set the setting")
    return taken


def sizes() -> None:
    fast = getattr(yaml, "CSafeLoader", None)
    print("merge_settings, one setting replaced and the result verified; default: what is used at that size")
    print(f"{'kB':>6} {'default s':>10} {'ms/kB':>7} {'libyaml s':>10} {'ms/kB':>7} {'python s':>10} {'ms/kB':>7}")
    for size in SIZES:
        text = portal_config(size)
        line = f"{size:>6}"
        for loader, runs in ((None, True), (fast, fast is not None), (yaml.SafeLoader, size <= SLOWEST)):
            if runs:
                taken = min(seconds(text, loader) for _each in range(3 if size <= 300 else 1))
                line += f" {taken:>10.3f} {1000 * taken / size:>7.2f}"
            else:
                line += f" {'-':>10} {'-':>7}"
        print(line, flush=True)


def generated() -> int:
    """5,000 files to insert the setting into and 5,000 to replace it in, side by side."""
    environment = {**os.environ, "TETHYS_EXAMPLES": "5000"}
    tests = "tests/unit/plugins/module_utils/test_portal_yaml_generated.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, "-k"]
    started = time.perf_counter()
    runs = [subprocess.Popen([*command, which], cwd=ROOT, env=environment) for which in ("insertion", "replacement")]
    codes = [run.wait() for run in runs]
    print(f"10,000 generated files: {time.perf_counter() - started:.0f} s, {'failed' if any(codes) else 'all hold'}")
    return max(codes)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure merge_settings.")
    parser.add_argument("--sizes-only", action="store_true", help="leave out the generated files")
    arguments = parser.parse_args()
    sizes()
    return 0 if arguments.sizes_only else generated()


if __name__ == "__main__":
    sys.exit(main())
