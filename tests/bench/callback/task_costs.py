# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Ansible callback plugin that notes what each task of a run took of time and CPU.

It writes JSON to the file $TASK_COSTS: for each task how many hosts began it, the seconds until the next one, and the
CPU of the main process, of the workers and of the servers, which the files listed in $TASK_COSTS_COUNTERS count.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: task_costs
type: aggregate
short_description: Note what each task costs
description: For scripts/bench.
"""

WORKER_ENDS_SECONDS = 1.0


def cpu(who: int) -> float:
    """User and system time."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def counted(text: str) -> float:
    """The CPU seconds in a file of the kernel's: nanoseconds, or with cgroup v2 lines of which the first is this."""
    words = text.split()
    return int(words[1]) / 1e6 if words[0] == "usage_usec" else int(words[0]) / 1e9


class CallbackModule(CallbackBase):
    """Notes at the beginning of each task what there was until then."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "task_costs"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counters = [Path(each) for each in os.environ["TASK_COSTS_COUNTERS"].split(":") if each]
        self.play = ""
        self.marks: list[dict[str, Any]] = []

    def note(self, task: str) -> None:
        """A mark."""
        # A worker is counted among the children when it was waited for. It ends right after it has sent its result.
        for worker in multiprocessing.active_children():
            worker.join(WORKER_ENDS_SECONDS)
        self.marks.append(
            {
                "play": self.play,
                "task": task,
                "hosts": 0,
                "seconds": time.monotonic(),
                "main": cpu(resource.RUSAGE_SELF),
                "workers": cpu(resource.RUSAGE_CHILDREN),
                "on_hosts": sum(counted(each.read_text()) for each in self.counters),
            }
        )

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self.play = play.get_name()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        # A task of Ansible's main process is started for one host after the other, without a worker.
        by_itself = task.action in ("meta", "ansible.builtin.meta")
        if not (by_itself and self.marks and self.marks[-1]["task"] == task.get_name()):
            self.note(task.get_name())
        self.marks[-1]["hosts"] += by_itself

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.note(task.get_name())

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self.marks[-1]["hosts"] += 1

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self.note("")
        found = [
            {**mark, **{key: after[key] - mark[key] for key in ("seconds", "main", "workers", "on_hosts")}}
            for mark, after in zip(self.marks, self.marks[1:])
        ]
        Path(os.environ["TASK_COSTS"]).write_text(json.dumps(found), encoding="utf-8")
