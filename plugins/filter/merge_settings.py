# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The merge_settings filter; the logic is in module_utils/portal_yaml.py."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible.errors import AnsibleFilterError


def merge_settings(text: Any, settings: Any, remove: Any | None = None) -> str:
    """The text of a portal_config.yml with the settings merged in and those named in `remove` taken out."""
    # Not above: to find one filter Ansible loads every file of this folder, in each process that it forks.
    from ansible_collections.tethys.channels.plugins.module_utils import portal_yaml

    if not isinstance(text, str):
        raise AnsibleFilterError(
            f"merge_settings: its input is the text of a portal_config.yml, not {_kind(text)}; "
            "read the file with the `file` lookup, without from_yaml."
        )
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(
            f"merge_settings: `settings` maps names of settings to their values, and is {_kind(settings)}; "
            "write it as {'CHANNEL_LAYERS': …}."
        )
    names: list[Any] = [remove] if isinstance(remove, str) else remove if remove is not None else []
    if not isinstance(names, (list, tuple)):
        raise AnsibleFilterError(
            f"merge_settings: `remove` is a list of names of settings, and is {_kind(remove)}; "
            "write it as ['CHANNEL_LAYERS']."
        )
    try:
        return portal_yaml.merge_settings("".join(text), settings, names)
    except portal_yaml.PortalYamlError as error:
        where = "portal_config.yml, " if error.line else ""
        raise AnsibleFilterError(f"merge_settings: {where}{error}.") from None


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"of type {type(value).__name__}"


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"merge_settings": merge_settings}
