# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last step of every text that the collection prints: nothing in it acts on the administrator's terminal."""

from __future__ import annotations

from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem, codes, texts
from ansible_collections.tethys.channels.plugins.module_utils.text import each_text

# What the tasks print of a plan or of a page.
PRINTED = ("refusals", "warnings", "announce", "trust", "lines", "problems", "after_start")
# Which of these have a code for each sentence, in `codes`: a plan has one, a page the other.
WITH_CODES = ("refusals", "problems")


def shown(result: dict[str, Any]) -> dict[str, Any]:
    """Return a plan or a page for printing.

    Each text is one line that acts on no terminal, and each problem ends with its code, as in `[port-in-use]`, which is
    what the reference of messages is searched for. Data is returned unchanged.
    """
    printed = {key: each_text(value) if key in PRINTED else value for key, value in result.items()}
    for key in WITH_CODES:
        if key in printed and "codes" in printed:
            rows = zip(printed[key], printed["codes"], strict=True)
            printed[key] = [f"{text} [{row['code']}]" for text, row in rows]
    return printed


def refused(problems: list[Problem]) -> list[str]:
    """Return what a run says that has changed nothing, because of problems."""
    lines: list[str] = shown({"refusals": texts(problems), "codes": codes(problems)})["refusals"]
    return ["Refused; nothing was changed.", *lines]
