# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change single settings in the text of a portal_config.yml and leave every other byte alone.

The text is never dumped again. PyYAML's parser says where an entry of ``settings:`` begins and ends
(portal_yaml_document), that span alone is written (portal_yaml_editor), and the outcome is parsed again: an edit only
counts when the stream of YAML events is the one that was there before, except for the entry to change. So a
mistake made here ends in a refusal, never in a damaged file.

Nothing in these files needs Ansible. The ``merge_settings`` filter and the ``portal_settings`` and ``portal_info``
modules share them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_document import (
    HAS_YAML,
    UNPRINTABLE,
    Unexpandable,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_editor import Editor
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_lines import BREAK, PortalYamlError
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_text import block, plain
from ansible_collections.tethys.channels.plugins.module_utils.secrets import masked

__all__ = [
    "HAS_YAML",
    "PortalYamlError",
    "Touched",
    "check_bytes",
    "check_text",
    "decode",
    "masked_blocks",
    "merge_settings",
    "plain",
    "restore_settings",
    "touched",
]


def _check_names(names: Iterable[Any], what: str) -> None:
    for name in names:
        if not isinstance(name, str) or not name or UNPRINTABLE.search(name) or BREAK.search(name):
            raise PortalYamlError(f"{what} names the setting {name!r}; a setting's name is text on one line")


def merge_settings(
    text: str, settings: Mapping[str, Any], remove: Iterable[str] | None = None, loader: Any = None
) -> str:
    """The text of a portal_config.yml with the settings set and those in `remove` taken out.

    Raises PortalYamlError. Everything outside the named settings is the same, byte for byte.
    """
    wanted = plain(settings)
    names = list(remove or [])
    _check_names(wanted, "settings")
    _check_names(names, "remove")
    both = sorted(set(wanted) & set(names))
    if both:
        raise PortalYamlError(f"the setting {both[0]!r} is both to be set and to be removed; name it once")
    bom = text[:1] == "\ufeff"
    try:
        editor = Editor(text[1:] if bom else text, loader)
        editor.settings()
        for name in names:
            editor.remove(name)
        for name, value in wanted.items():
            editor.put(name, value)
    except PortalYamlError as error:
        raise _template_error(text) or error from None
    return ("\ufeff" if bom else "") + editor.text


# Jinja's and cookiecutter's signs, neither in a comment nor in quotes, where they are text.
_TEMPLATE = re.compile(r"""^[^#'"\n]*?(\{\{|\{%|\{#)""", re.MULTILINE)


def _template_error(text: str) -> PortalYamlError | None:
    """Return why a file is not valid YAML, if it is a template that was not rendered."""
    found = _TEMPLATE.search(text)
    if not found:
        return None
    line, column = text.count("\n", 0, found.start(1)) + 1, found.end(1) - found.start() - 1
    return PortalYamlError(
        f"`{found.group(1)}` begins a placeholder of a template (Jinja, cookiecutter), which was not rendered; replace"
        " the file by the rendered one",
        line,
        column,
    )


def decode(raw: bytes) -> str:
    """UTF-8 with or without a byte order mark, which stays in the text."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        last = max(before.rfind(b"\n"), before.rfind(b"\r"))
        line = 1 + len(re.findall(b"\r\n|[\n\r]", before))
        column = len(before[last + 1 :].decode("utf-8", "replace")) + 1
        raise PortalYamlError(
            f"the byte 0x{raw[error.start]:02X} is not UTF-8; save the file in UTF-8", line, column
        ) from None


def check_text(text: str, names: Sequence[str] = ("CHANNEL_LAYERS",)) -> None:
    """Raise PortalYamlError where the named settings cannot be changed in this text."""
    probe: Any = {"default": {"BACKEND": "a value that no portal has"}}
    merge_settings(text, {name: probe for name in names})


def check_bytes(raw: bytes, names: Sequence[str] = ("CHANNEL_LAYERS",)) -> None:
    """As check_text, for a file as read from disk."""
    check_text(decode(raw), names)


# -- going back ----------------------------------------------------------------------------------------------------

# Name of a setting to the entries that were set in it; None where it was set or removed whole.
Touched = Dict[str, Optional[List[Any]]]


def touched(settings: Mapping[str, Any], remove: Iterable[str] = ()) -> Touched:
    """What merge_settings can change with these arguments."""
    entries: Touched = {name: None for name in remove}
    for name, value in settings.items():
        entries[name] = list(value) if isinstance(value, Mapping) and value else None
    return entries


def restore_settings(text: str, original: str, entries: Touched) -> str:
    """Return `text`, which others have changed too, with the touched entries restored from `original`."""
    bom = text[:1] == "\ufeff"
    editor = Editor(text[1:] if bom else text)
    source = Editor(original[1:] if original[:1] == "\ufeff" else original)
    for name, keys in entries.items():
        editor.restore(name, keys, source)
    return ("\ufeff" if bom else "") + editor.text


# -- showing -------------------------------------------------------------------------------------------------------


def masked_blocks(before: str, after: str, entries: Touched) -> tuple[str, str]:
    """The touched settings in two texts, in one canonical form, secrets masked: what a diff may show."""
    old, new = _values(before, entries), _values(after, entries)
    return _rendered(masked(old)), _rendered(masked(new, old))


def _values(text: str, entries: Touched) -> dict[str, Any]:
    editor = Editor(text[1:] if text[:1] == "\ufeff" else text)
    doc, entry = editor.document, editor.settings()
    found: dict[str, Any] = {}
    for name, keys in entries.items():
        setting = None if entry is None or doc.is_null(entry[1]) else doc.find(entry[1], name)
        if setting is None:
            continue
        try:
            value = doc.expand(setting[1])
        except Unexpandable:
            value = "(built of aliases without end)"
        if keys is not None and isinstance(value, dict):
            value = {key: item for key, item in value.items() if key in keys}
        found[name] = value
    return found


def _rendered(values: dict[str, Any]) -> str:
    if not values:
        return ""
    return "\n".join(block({"settings": _writable(values)}, 0, 2, True)) + "\n"


def _writable(value: Any) -> Any:
    """Values that only an old file can hold (dates, bytes) as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, (str, int, float)) else str(key): _writable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)


# -- in another Python -------------------------------------------------------------------------------------------------


def main(params: dict[str, Any], say: Callable[[dict[str, Any]], None], _commands: Any) -> None:
    """Say what a file would be, for a dry run on a server whose own Python has no PyYAML."""
    settings, remove = params["settings"], params["remove"]
    try:
        new = merge_settings(params["text"], settings, remove)
        before, after = masked_blocks(params["text"], new, touched(settings, remove))
    except PortalYamlError as error:
        say({"problem": str(error)})
    else:
        digest = hashlib.sha256(new.encode()).hexdigest()
        say({"sha256": digest, "before": before.splitlines(), "after": after.splitlines()})
