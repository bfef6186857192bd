# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The merge_settings filter as Ansible calls it; what it does to files is in module_utils/test_portal_yaml.py."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.merge_settings import FilterModule

merge_settings = FilterModule().filters()["merge_settings"]


def test_sets_and_removes() -> None:
    text = "# kept\nsettings:\n  A: 1  # kept\n  B: 2\n"
    assert merge_settings(text, {"C": {"d": [1]}}) == text + "  C:\n    d: [1]\n"
    assert merge_settings(text, {}, remove=["A"]) == "# kept\nsettings:\n  B: 2\n"
    assert merge_settings(text, {}, "A") == "# kept\nsettings:\n  B: 2\n"
    assert merge_settings(text, {}) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, {}), "merge_settings: its input is the text of a portal_config.yml, not nothing; read the file with"),
        (({"settings": {}}, {}), "not of type dict; read the file with the `file` lookup, without from_yaml."),
        ((b"settings:", {}), "not of type bytes"),
        (
            ("settings:", ["A"]),
            "merge_settings: `settings` maps names of settings to their values, and is of type list",
        ),
        (("settings:", None), "`settings` maps names of settings to their values, and is nothing"),
        (("settings:", {}, {"A": 1}), "merge_settings: `remove` is a list of names of settings, and is of type dict"),
        (
            ("settings: 1", {"A": 1}),
            "merge_settings: portal_config.yml, line 1, column 11: `settings` is not a mapping;",
        ),
        (("settings:", {"A": object()}), "merge_settings: settings['A'] is of type object; only text,"),
        (("settings:", {1: 1}), "merge_settings: settings names the setting 1; a setting's name is text on one line."),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        merge_settings(*arguments)
    assert message in str(refused.value)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
