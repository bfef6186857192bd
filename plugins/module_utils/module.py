# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's module, with nothing in what it shows that a terminal obeys.

Ansible prints a module's message, warnings and differences unchanged, and these quote files, programs and answers of
parties without root access.
"""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils import basic
from ansible_collections.tethys.channels.plugins.module_utils.text import each_text, printable, printable_lines

# The keys under which a result has sentences, at any depth.
SENTENCES = re.compile(r"msg|(\w+_)?problems?|(\w+_)?warnings?")


class AnsibleModule(basic.AnsibleModule):  # type: ignore[misc] # Ansible brings no types
    """Ansible's own class, whose sentences and differences print."""

    def exit_json(self, **result: Any) -> None:
        super().exit_json(**shown(result))

    def fail_json(self, msg: str, **result: Any) -> None:
        super().fail_json(msg=printable(str(msg)), **shown(result))

    def warn(self, warning: str, **help_text: Any) -> None:
        super().warn(printable(str(warning)), **help_text)


def shown(result: Any) -> Any:
    """Return a result whose sentences and differences print; everything else in it is unchanged."""
    if isinstance(result, dict):
        return {key: _shown(str(key), value) for key, value in result.items()}
    return [shown(each) for each in result] if isinstance(result, list) else result


def _shown(key: str, value: Any) -> Any:
    if key == "diff":
        return each_text(value, printable_lines)
    return each_text(value) if SENTENCES.fullmatch(key) else shown(value)
