# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as YAML text: plain, in one line (flow), and in lines (block)."""

from __future__ import annotations

import re
from typing import Any, Mapping

from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_document import (
    MAX_DEPTH,
    TAG,
    UNPRINTABLE,
    yaml,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_lines import PortalYamlError


def plain(value: Any, what: str = "settings", depth: int = 0) -> Any:
    """A copy of `value` in plain Python types (Ansible has tagged and lazy ones), refused where YAML has none."""
    if depth > MAX_DEPTH:
        raise PortalYamlError(f"{what} is nested deeper than {MAX_DEPTH} levels, or contains itself")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = "".join(value)
        bad = UNPRINTABLE.search(text)
        if bad and 0xD800 <= ord(bad.group()) <= 0xDFFF:
            raise PortalYamlError(
                f"{what} holds half a surrogate pair, which no UTF-8 file can; replace that character"
            )
        return text
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        copy = {}
        for key, item in value.items():
            key = plain(key, what, depth + 1)
            if isinstance(key, (dict, list)):
                raise PortalYamlError(f"{what} has a key that is not a scalar; use text")
            copy[key] = plain(item, f"{what}[{key!r}]", depth + 1)
        return copy
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{what}[{number}]", depth + 1) for number, item in enumerate(value)]
    kind = type(value).__name__
    raise PortalYamlError(
        f"{what} is of type {kind}; only text, numbers, true, false, null, lists and mappings can be written"
    )


def flow(value: Any, quoted: bool = False) -> str:
    """`value` on one line, in ASCII (whatever locale Tethys opens the file with), text in double quotes if `quoted`."""

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_text(self, data: str) -> Any:
            # a line break in another style would take several lines
            double = quoted or bool(re.search("[^\x20-\x7e]", data))
            return self.represent_scalar(TAG + "str", data, style='"' if double else None)

    Dumper.add_representer(str, Dumper.represent_text)
    # In a list of one, a scalar comes without the document end mark, and safe to stand in any flow collection.
    text: str = yaml.dump([value], Dumper=Dumper, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.strip()[1:-1]


def inline(value: Any) -> bool:
    """Whether a value goes on its key's line in block style: scalars, empty collections, lists of scalars."""
    if isinstance(value, dict):
        return not value
    if isinstance(value, list):
        return not any(isinstance(item, (dict, list)) for item in value)
    return True


def block(value: Any, indent: int, step: int, indent_lists: bool) -> list[str]:
    """The lines of a mapping or list in block style."""
    pad = " " * indent
    lines: list[str] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if inline(item):
                lines.append(f"{pad}{flow(key)}: {flow(item)}")
            else:
                deeper = indent + (step if isinstance(item, dict) or indent_lists else 0)
                lines.append(f"{pad}{flow(key)}:")
                lines.extend(block(item, deeper, step, indent_lists))
        return lines
    for item in value:
        if isinstance(item, dict) and item:
            inner = block(item, indent + 2, step, indent_lists)
            lines.append(f"{pad}- {inner[0].lstrip(' ')}")
            lines.extend(inner[1:])
        else:
            lines.append(f"{pad}- {flow(item)}")
    return lines
