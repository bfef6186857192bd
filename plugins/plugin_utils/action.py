# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action plugins share: the host's variables, and modules that they run on the server."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible_collections.tethys.channels.plugins.plugin_utils.inputs import Variables


@contextmanager
def uncollected() -> Iterator[None]:
    """Search for no garbage while Ansible packs a module.

    It parses over 100 files for it, and to search all that Ansible has loaded again and again meanwhile takes as long
    as the rest. What is left of that is not searched afterwards either: the process ends with its task.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


class Action(ActionBase):  # type: ignore[misc]  # ansible-core has no types
    """An action plugin of this collection."""

    def variables(self, task_vars: Mapping[str, Any]) -> Variables:
        """Return the host's variables."""
        return Variables(task_vars, self._templar.template, lambda path: self._text(path, task_vars))

    def ask(self, module: str, task_vars: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
        """Run a module of the collection on the server and return its answer; an argument of None is left out."""
        given = {name: value for name, value in arguments.items() if value is not None}
        with uncollected():
            answer: dict[str, Any] = self._execute_module(
                module_name=f"tethys.channels.{module}", module_args=given, task_vars=task_vars
            )
        return answer

    def _text(self, path: str, task_vars: Mapping[str, Any]) -> str:
        """Return the text of a file on the controller, decrypted by Ansible's vault, or nothing."""
        lookup = lookup_loader.get("ansible.builtin.file", loader=self._loader, templar=self._templar)
        try:
            return str(lookup.run([path], variables=task_vars)[0])
        except AnsibleError:
            return ""


def plain(value: Any) -> Any:
    """Return data without Ansible's own containers, as it goes into a result."""
    if isinstance(value, Mapping):
        return {str(key): plain(held) for key, held in value.items()}
    return [plain(held) for held in value] if isinstance(value, (list, tuple)) else value
