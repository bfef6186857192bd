# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module of this collection finds as ``ansible.module_utils.basic`` in a container without Ansible.

It is sent along with the module and has of AnsibleModule what the collection's modules use: parameters with their
defaults, check mode, diff, warnings, values that may not be shown, and an answer.
"""

from __future__ import annotations

import json
import os
from typing import Any, NoReturn

# Filled in by the program that starts the module (tethys_docker_ship).
JOB: dict[str, Any] = {}
_CONVERSIONS = {"int": int, "str": str, "path": str, "float": float}


def convert(value: Any, kind: str) -> Any:
    """A value in the parameter's type; templates deliver digits as text."""
    if value is None:
        return None
    if kind == "bool" and isinstance(value, str):
        return value.lower() in ("true", "yes", "on", "1")
    return _CONVERSIONS.get(kind, lambda same: same)(value)


def by_line(diff: dict[str, Any]) -> dict[str, Any]:
    """A difference with its texts as lists of lines: whoever reads it takes no line breaks."""
    return {key: str(held).splitlines() if key in ("before", "after") else held for key, held in diff.items()}


def without(hidden: set[str], value: Any) -> Any:
    """A value in whose texts these are blotted out, as Ansible does it."""
    if isinstance(value, str):
        for secret in sorted(filter(None, hidden), key=len, reverse=True):
            value = value.replace(secret, "********")
        return value
    if isinstance(value, dict):
        return {key: without(hidden, held) for key, held in value.items()}
    return [without(hidden, held) for held in value] if isinstance(value, (list, tuple)) else value


class AnsibleModule:
    """One run of a module."""

    def __init__(self, argument_spec: dict[str, dict[str, Any]], **_ignored: Any) -> None:
        given = JOB["arguments"]
        self.check_mode = bool(JOB["check_mode"])
        self._diff = bool(JOB["diff"])
        self.no_log_values: set[str] = set()
        self.params: dict[str, Any] = {}
        self._warnings: list[str] = []
        unknown = sorted(set(given) - set(argument_spec))
        if unknown:
            self.fail_json(msg=f"The module has no parameter {', '.join(unknown)}.")
        for name, option in argument_spec.items():
            if option.get("required") and given.get(name) is None:
                self.fail_json(msg=f"The module's parameter {name} is missing.")
            value = given.get(name)
            self.params[name] = convert(option.get("default") if value is None else value, option.get("type", "str"))

    def warn(self, text: str) -> None:
        """A warning that the run shows."""
        self._warnings.append(text)

    def exit_json(self, **result: Any) -> NoReturn:
        """Answer, and end."""
        if "diff" in result:
            diff = result["diff"]
            result["diff"] = [by_line(each) for each in diff] if isinstance(diff, list) else by_line(diff)
        answer = without(self.no_log_values, {"result": result, "warnings": self._warnings})
        with os.fdopen(JOB["answers"], "w", encoding="utf-8") as out:
            json.dump(answer, out, default=str)
        raise SystemExit(0)

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        """Answer with a failure, and end."""
        self.exit_json(failed=True, msg=msg, **result)


def has_respawned() -> bool:
    """Whether the module goes on in another Python: the portal's own is the only one here."""
    return True


def probe_interpreters_for_module(_interpreters: list[str], _name: str) -> str | None:
    """Another Python that has a package: none is looked for."""
    return None


def respawn_module(interpreter: str) -> NoReturn:
    """Never called, since no other Python is found."""
    raise NotImplementedError(interpreter)
