# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is declared for readers is what the boundary accepts."""

from __future__ import annotations

import re
import typing
from typing import Any, Dict, List, Optional, Union

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import boundary, facts

RECORDS = {name: value for name, value in vars(facts).items() if isinstance(value, boundary.Record)}

# What portal_info makes of it and returns, which passes no boundary.
RETURNED = {"Access", "Config", "OwnedLeftover", "Owner", "Portal"}


def declared(name: str) -> type:
    """The TypedDict of a schema: that of LOOK_ANSWER is LookAnswer."""
    return getattr(facts, name.title().replace("_", ""))  # type: ignore[no-any-return]


def as_type(kind: Any) -> Any:
    """The type that a kind of the boundary lets through."""
    if isinstance(kind, (boundary.Text, boundary.Name, boundary.Match, boundary.OneOf)):
        return str
    if isinstance(kind, boundary.Maybe):
        return Optional[as_type(kind.kind)]
    if isinstance(kind, boundary.Listing):
        return List[as_type(kind.kind)]  # type: ignore[misc]
    if isinstance(kind, boundary.Table):
        return Dict[as_type(kind.key), as_type(kind.kind)]  # type: ignore[misc]
    if isinstance(kind, boundary.Either):
        return Union[tuple(as_type(one) for one in kind.kinds)]
    if isinstance(kind, boundary.Record):
        return declared(next(name for name, value in RECORDS.items() if value is kind))
    return {boundary.Flag: bool, boundary.Whole: int, boundary.Number: float, boundary.Plain: object}[type(kind)]


@pytest.mark.parametrize("name", RECORDS)
def test_a_schema_accepts_what_is_declared(name: str) -> None:
    record, shape = RECORDS[name], declared(name)
    hints = typing.get_type_hints(shape)
    spelled = {key: re.sub(r"typing\.", "", str(hint)) for key, hint in hints.items()}
    assert {key: as_type(kind) for key, kind in record.fields.items()}.keys() == hints.keys()
    for key, kind in record.fields.items():
        assert normal(as_type(kind)) == normal(hints[key]), (key, spelled[key])
    # A reader may take a key for optional that the boundary insists on, not the other way round.
    assert set(shape.__required_keys__) <= set(record.needs)  # type: ignore[attr-defined]


def normal(hint: Any) -> Any:
    """A type without the difference between list[str] and List[str]."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is None:
        return hint
    inner = tuple(normal(one) for one in inner)
    return ("either", frozenset(inner)) if origin not in (list, dict) else (origin, inner)


def test_every_declaration_has_a_schema() -> None:
    shapes = {name for name, value in vars(facts).items() if typing.is_typeddict(value)}
    assert shapes - RETURNED == {declared(name).__name__ for name in RECORDS}
