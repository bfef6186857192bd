# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only way in for data from a party with fewer rights than root.

Such a party is a portal's app, the owner of the environment or of a file, a container, or a peer on the network. What
it answers is accepted by a schema (``accept``): a key that is listed in it, with a value of the type that is listed,
within bounds, without control characters. What it keeps in a file is read as the user who can change the file
(``read_as.read_file``), so the kernel decides what that user may read.

A schema is data: a ``Record`` that holds kinds of values. Its bounds are bounds of memory and of what is shown, not of
meaning.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any, Callable, Mapping, NamedTuple, NoReturn, Union

# One answer, as JSON text. Django's settings and a thousand apps take some 100 KiB.
MOST_BYTES = 1024 * 1024
# Values in one answer. Each costs up to some hundred bytes of memory, whatever its text takes.
MOST_VALUES = 50_000
MOST_DEPTH = 20
MOST_TEXT = 20_000
MOST_PATH = 4096
# A number of more digits is no time, size or count; to read one of a million takes seconds.
MOST_DIGITS = 25
# Controls, formats (which change the direction of what follows, or cannot be seen), halves of a pair, line separators.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# `__ansible_type`, `__ansible_unsafe` and `__ansible_vault` say in a module's result which object of Ansible's it is.
ANSIBLES = "__ansible_"
_BLANKS = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")


class Rejected(Exception):
    """Data was not accepted; the text is one sentence without a period at its end, and quotes no value."""


# --- schemas ----------------------------------------------------------------------------------------------------------


class Text(NamedTuple):
    """A text to be shown or compared: control characters are removed, what is longer is cut."""

    most: int = MOST_TEXT


class Name(NamedTuple):
    """A text that names something, such as a path or an address: one with a control character is rejected."""

    most: int = MOST_PATH


class Match(NamedTuple):
    """A text that a regular expression matches whole."""

    pattern: str


class OneOf(NamedTuple):
    """One of these texts."""

    choices: tuple[str, ...]


class Whole(NamedTuple):
    """A whole number, no boolean."""

    least: int = 0
    most: int = 2**53


class Number(NamedTuple):
    """A finite number, no boolean."""

    least: float = 0
    most: float = 1e15


class Flag(NamedTuple):
    """True or false."""


class Maybe(NamedTuple):
    """That, or null."""

    kind: Any


class Either(NamedTuple):
    """The first of these that accepts the value."""

    kinds: tuple[Any, ...]


class Listing(NamedTuple):
    """A list of values of one kind."""

    kind: Any
    most: int = 10_000


class Table(NamedTuple):
    """A mapping of keys of one kind to values of another."""

    kind: Any
    key: Any = Name(200)
    most: int = 10_000


class Record(NamedTuple):
    """A mapping of known keys. Those in ``needs`` have to be there."""

    fields: Mapping[str, Any]
    needs: tuple[str, ...] = ()


class Plain(NamedTuple):
    """Whatever JSON can say, such as a setting whose form is the portal's."""

    depth: int = MOST_DEPTH


Kind = Union[Text, Name, Match, OneOf, Whole, Number, Flag, Maybe, Either, Listing, Table, Record, Plain]
Schema = Record


def needs_all(**fields: Kind) -> Record:
    """Return a Record whose keys all have to be there."""
    return Record(fields, tuple(fields))


# --- text -------------------------------------------------------------------------------------------------------------


def clean(text: str, most: int = MOST_TEXT) -> str:
    """Return a text in one line, without control characters, and cut to that length."""
    text = _BLANKS.sub(" ", text[: 2 * most])
    if not text.isprintable():
        text = "".join(sign for sign in text if unicodedata.category(sign) not in _HIDDEN)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def is_clean(text: str) -> bool:
    """Return whether a text holds no control characters, line breaks, or invisible characters."""
    return text.isprintable() or not any(unicodedata.category(sign) in _HIDDEN for sign in text)


# --- answers ----------------------------------------------------------------------------------------------------------


def accept(raw: bytes | str, schema: Schema, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return what an answer says in JSON, as far as the schema lists it.

    Raises:
        Rejected: it is not JSON, too large, or says something that the schema does not list.
    """
    accepted: dict[str, Any] = _accepted(load(raw, most_bytes), schema, "")
    return accepted


def load(raw: bytes | str, most_bytes: int = MOST_BYTES) -> Any:
    """Return the JSON of an answer within bounds of size and number, for ``accept_value`` to check.

    Raises:
        Rejected: it is not JSON, or too large.
    """
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(data) > most_bytes:
        raise Rejected(f"the answer is larger than {most_bytes} bytes")
    # At least as many as there are; signs in texts count too.
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise Rejected(f"the answer holds more than {MOST_VALUES} values")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_number,
        )
    except RecursionError:
        raise Rejected(f"the answer is nested more than {MOST_DEPTH} deep") from None
    except ValueError:
        raise Rejected("the answer is not JSON") from None


def accept_value(value: Any, kind: Kind) -> Any:
    """Return a value that JSON or another protocol gave, as far as that kind lists it; Rejected otherwise."""
    return _accepted(value, kind, "")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Rejected("the answer has a key twice")
    return found


def _no_constant(_text: str) -> NoReturn:
    raise Rejected("the answer holds NaN or Infinity")


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise Rejected(f"the answer holds a number of more than {MOST_DIGITS} digits")
    return int(text)


def _number(text: str) -> float:
    value = float(text) if len(text) <= 2 * MOST_DIGITS else math.inf
    if not math.isfinite(value):
        raise Rejected("the answer holds a number that is out of range")
    return value


def _wrong(where: str, what: str) -> Rejected:
    return Rejected(f"{where or 'the answer'} is not {what}")


def _accepted(value: Any, kind: Any, where: str) -> Any:
    return _CHECKS[type(kind)](value, kind, where)


def _text(value: Any, kind: Text, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, "a text")
    return clean(value, kind.most)


def _name(value: Any, kind: Name, where: str) -> str:
    if not isinstance(value, str) or len(value) > kind.most or not is_clean(value):
        raise _wrong(where, f"a text of at most {kind.most} printable characters")
    return value


def _match(value: Any, kind: Match, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(kind.pattern, value):
        raise _wrong(where, f"a text that matches {kind.pattern}")
    return value


def _one_of(value: Any, kind: OneOf, where: str) -> str:
    if not isinstance(value, str) or value not in kind.choices:
        raise _wrong(where, f"one of {', '.join(kind.choices)}")
    return value


def _whole_number(value: Any, kind: Whole, where: str) -> int:
    # In Python, True is 1.
    if isinstance(value, bool) or not isinstance(value, int) or not kind.least <= value <= kind.most:
        raise _wrong(where, f"a whole number from {kind.least} to {kind.most}")
    return value


def _finite(value: Any, kind: Number, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not kind.least <= value <= kind.most:
        raise _wrong(where, f"a number from {kind.least:g} to {kind.most:g}")
    return value


def _flag(value: Any, _kind: Flag, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(where, "true or false")
    return value


def _either(value: Any, kind: Either, where: str) -> Any:
    reasons = []
    for one in kind.kinds:
        try:
            return _accepted(value, one, where)
        except Rejected as error:
            reasons.append(str(error))
    raise Rejected(reasons[-1])


def _listing(value: Any, kind: Listing, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > kind.most:
        raise _wrong(where, f"a list of at most {kind.most}")
    return [_accepted(item, kind.kind, f"{where}[{number}]") for number, item in enumerate(value)]


def _key(key: Any, where: str) -> Any:
    """Return a key of a mapping; Rejected for one by which Ansible makes something else of the mapping."""
    if isinstance(key, str) and key.startswith(ANSIBLES):
        raise Rejected(f"{where or 'the answer'} has a key that begins with {ANSIBLES}")
    return key


def _table(value: Any, kind: Table, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > kind.most:
        raise _wrong(where, f"a mapping of at most {kind.most}")
    key_of = f"a key of {where or 'the answer'}"
    found = {
        _key(_accepted(key, kind.key, key_of), where): _accepted(item, kind.kind, f"{where}.*")
        for key, item in value.items()
    }
    if len(found) != len(value):
        raise Rejected(f"{where or 'the answer'} has a key twice")
    return found


def _record(value: Any, kind: Record, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "a mapping")
    unknown = next((key for key in value if key not in kind.fields), None)
    if unknown is not None:
        raise Rejected(f"{where or 'the answer'} has the key {clean(unknown, 50)}, which is not expected")
    lacking = next((key for key in kind.needs if key not in value), None)
    if lacking is not None:
        raise Rejected(f"{where or 'the answer'} lacks the key {lacking}")
    start = f"{where}." if where else ""
    return {key: _accepted(item, kind.fields[key], start + key) for key, item in value.items()}


def _plain(value: Any, kind: Plain, where: str) -> Any:
    if isinstance(value, (list, dict)) and kind.depth <= 0:
        raise Rejected(f"{where or 'the answer'} is nested too deep")
    if isinstance(value, str):
        return clean(value)
    below = Plain(kind.depth - 1)
    if isinstance(value, list):
        return [_plain(item, below, where) for item in value]
    if isinstance(value, dict):
        found = {_key(clean(key, 200), where): _plain(item, below, where) for key, item in value.items()}
        if len(found) != len(value):
            raise Rejected(f"{where or 'the answer'} has a key twice")
        return found
    return value


_CHECKS: dict[type, Callable[[Any, Any, str], Any]] = {
    Text: _text,
    Name: _name,
    Match: _match,
    OneOf: _one_of,
    Whole: _whole_number,
    Number: _finite,
    Flag: _flag,
    Maybe: lambda value, kind, where: None if value is None else _accepted(value, kind.kind, where),
    Either: _either,
    Listing: _listing,
    Table: _table,
    Record: _record,
    Plain: _plain,
}
