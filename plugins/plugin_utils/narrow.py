# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a value of any type turns out to be: a mapping, a list, or words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard


def is_mapping(value: object) -> TypeGuard[Mapping[object, object]]:
    """Return whether it is a mapping."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Return whether it is a list."""
    return isinstance(value, (list, tuple))


def mapping_of(value: object) -> Mapping[str, object]:
    """Return a mapping with texts for keys; an empty one for what is none."""
    return {str(key): held for key, held in value.items()} if is_mapping(value) else {}


def list_of(value: object) -> list[object]:
    """Return the entries of a list; none for what is no list."""
    return list(value) if is_list(value) else []


def unique(words: Sequence[str]) -> list[str]:
    """Return each word once, in the order in which they came first."""
    return sorted(set(words), key=words.index)


def texts_of(value: object) -> list[str]:
    """Return the entries of a list as texts; none for what is no list."""
    return [str(each) for each in list_of(value)]
