# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The last step of every text that the collection prints: nothing in it acts on the administrator's terminal."""

from __future__ import annotations

from typing import Any

from ansible_collections.tethys.channels.plugins.module_utils.text import each_text

# What the tasks print of a plan or of a page.
PRINTED = ("refusals", "warnings", "announce", "trust", "lines", "problems")


def shown(result: dict[str, Any]) -> dict[str, Any]:
    """Return a plan or a page whose printed texts are of one line each and act on no terminal; data stays."""
    return {key: each_text(value) if key in PRINTED else value for key, value in result.items()}
