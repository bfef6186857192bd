# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record each playbook run of a test step, and let the runs share the modules that Ansible packs.

Packing modules with their module_utils takes a quarter of a run's CPU time on the controller. Ansible keeps what it has
packed until the run ends; here the next run of the same collection finds it. Ansible also starts a process for each
task and imports the collection's Python in each; here they inherit it. Each of these processes would also collect
garbage among all objects of the run, which takes half of its CPU time; a run is over before memory is short.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import inspect
import os
import pkgutil
import time
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: playbook_runs
type: aggregate
short_description: Record each playbook run of a test step
description:
  - Writes a line for each playbook run into the file that E(TETHYS_TEST_RUNS) names.
  - The line has the run's seconds, its CPU seconds on the controller, and its playbook.
  - Keeps packed modules in the folder that E(TETHYS_TEST_MODULES) names, by the content of the installed collection.
author:
  - tethys.channels contributors
"""


def share_modules(folder: Path) -> None:
    """Have this run use the packed modules of earlier runs with the same installed collection."""
    try:
        collection = importlib.import_module("ansible_collections.tethys.channels")
        # Only a built collection has this file: the checksums of all others.
        content = (Path(next(iter(collection.__path__))) / "FILES.json").read_bytes()
    except (ImportError, OSError):
        return
    kept = folder / hashlib.sha256(content).hexdigest()[:16]
    kept.mkdir(parents=True, exist_ok=True)
    (Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache").symlink_to(kept)


def import_plugins() -> None:
    """Import what the collection's filters and actions are made of, before the first process for a task starts.

    What they read once of the collection's own files is read here too.
    """
    for kind in ("action", "filter", "plugin_utils"):
        try:
            package = importlib.import_module(f"ansible_collections.tethys.channels.plugins.{kind}")
        except ImportError:
            continue
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for kept in vars(module).values():
                if hasattr(kept, "cache_info") and not inspect.signature(kept).parameters:
                    kept()


class CallbackModule(CallbackBase):
    """Record each playbook run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "playbook_runs"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Remember when the run started."""
        self.started = time.monotonic()
        self.playbook = Path(playbook._file_name).name
        if os.environ.get("TETHYS_TEST_MODULES"):
            share_modules(Path(os.environ["TETHYS_TEST_MODULES"]))
        if "tethys" in str(playbook._file_name):
            import_plugins()
        gc.freeze()
        gc.disable()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the line."""
        with Path(os.environ["TETHYS_TEST_RUNS"]).open("a", encoding="utf-8") as stream:
            # What this process used since it started, and those for its tasks.
            cpu = sum(os.times()[:4])
            stream.write(f"{time.monotonic() - self.started:.1f} {cpu:.1f} {self.playbook}\n")
