# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What decisions consist of."""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.module_utils.problem import Problem, codes, texts

__all__ = ("Problem", "Refusal", "codes", "refused", "texts")


class Refusal(Exception):
    """What was asked for would lose data or cannot work, with one problem for each thing that is wrong."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__(" ".join(problem.text for problem in problems))


def refused(code: str, subject: str, text: str) -> Refusal:
    """Return the refusal for one problem."""
    return Refusal(Problem(code, subject, text))
