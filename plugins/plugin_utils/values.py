# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as an administrator wrote them: what they stand for, and how a message shows them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Problem

_DIGITS = re.compile(r"[1-9][0-9]*")


def show(value: object) -> str:
    """A value for a message: on one line and not too long."""
    try:
        text = repr(str(value)) if isinstance(value, str) else repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def type_name(value: object) -> str:
    """Return the name of a value's type in YAML; Ansible has its own types for texts, numbers and lists."""
    kinds = (bool, int, float, str, list, dict)
    return next((kind.__name__ for kind in kinds if isinstance(value, kind)), type(value).__name__)


def nearest(word: object, choices: Iterable[str]) -> str | None:
    """Return the choice that a misspelt word is probably meant to be, or None."""
    return next(iter(difflib.get_close_matches(str(word), list(choices), n=1)), None)


def closest(word: object, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for a misspelt choice, or nothing."""
    meant = nearest(word, choices)
    return f" (did you mean '{meant}'?)" if meant else ""


def choice_refusal(variable: str, value: object, choices: Iterable[str]) -> Problem | None:
    """Return the problem of a value that is not one of the choices, or None."""
    if isinstance(value, str) and value in choices:
        return None
    return Problem(
        "choice-unknown",
        variable,
        f"{variable} is {show(value)}{closest(value, choices)}: set it to one of {', '.join(choices)}.",
    )


def truth(value: object) -> bool:
    """Return whether a value is true, in whatever form it is written."""
    return bool(boolean(value, strict=False))


def is_of_option(name: str, option: Mapping[str, object], value: object) -> bool:
    """Return whether a value is one that an option of an argument specification takes."""
    return not ArgumentSpecValidator({name: option}).validate({name: value}).error_messages


def whole_number(value: object) -> int | None:
    """The whole number of at least 1 that a value stands for, or None.

    Inventories deliver numbers as text, so plain ASCII digits count. A leading zero does not: YAML 1.1 reads 010 as 8.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return int(value) if value >= 1 else None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        # Beyond 4300 digits int() itself refuses, and any number of that size is too large.
        return int(value[:1000])
    return None
