# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only way in for data from a party with fewer rights than root.

Such a party is a portal's app, the owner of the environment or of a file, a container, or a peer on the network. What
it answers is accepted by a schema (``accept``): a key that is listed in it, with a value of the type that is listed,
within bounds, without control characters. What it keeps in a file is read as the user who can change the file
(``read_file``), so the kernel decides what that user may read.

A schema is data: a ``Record`` that holds kinds of values. Its bounds are bounds of memory and of what is shown, not of
meaning.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import itertools
import json
import math
import os
import re
import select
import signal
import socket
import stat
import time
import unicodedata
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, NoReturn, Union

from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, account_of, become

# One answer, as JSON text. Django's settings and a thousand apps take some 100 KiB.
MOST_BYTES = 1024 * 1024
# Values in one answer. Each costs up to some hundred bytes of memory, whatever its text takes.
MOST_VALUES = 50_000
MOST_DEPTH = 20
MOST_TEXT = 20_000
MOST_PATH = 4096
# A number of more digits is no time, size or count; to read one of a million takes seconds.
MOST_DIGITS = 25
MOST_HEADERS = 64 * 1024
READ_SECONDS = 10.0
# An environment's site-packages holds some thousand.
MOST_NAMES = 50_000
# How long a child may take to disappear.
END_SECONDS = 2.0
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


# --- sockets ----------------------------------------------------------------------------------------------------------


class BoundedSocket:
    """A connected socket, or TLS on one, with one deadline for everything and a limit of what is read from it.

    It has what ``http.client`` and ``xmlrpc.client`` use of a socket. ``TimeoutError`` or another OSError ends them.
    """

    def __init__(self, plain: socket.socket, seconds: float, most_bytes: int) -> None:
        self.plain = plain
        self.deadline = time.monotonic() + seconds
        self.left = most_bytes

    def limit(self) -> None:
        """Let the next operation take what is left of the time."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self.plain.settimeout(left)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self.limit()
        self.plain.sendall(data)

    def makefile(self, _mode: str = "rb") -> io.BufferedReader:
        """Return a file to read from."""
        return io.BufferedReader(_BoundedRaw(self))

    def close(self) -> None:
        """Close it; a file that reads from it goes on until it is closed too."""
        self.plain.close()


class _BoundedRaw(io.RawIOBase):
    """The bytes of a BoundedSocket."""

    def __init__(self, owner: BoundedSocket) -> None:
        self._owner = owner
        self._raw = owner.plain.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._owner.limit()
        size = self._raw.readinto(buffer)
        self._owner.left -= size or 0
        if self._owner.left < 0:
            raise OSError("the answer is too large")
        return size

    def close(self) -> None:
        self._raw.close()
        super().close()


def ask_within(
    connection: http.client.HTTPConnection,
    seconds: float,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
) -> int:
    """Return the status of an HTTP answer, of which the body is not read, from whoever is at the other end.

    Raises:
        OSError, http.client.HTTPException: there is no complete status and headers in time, or they are too large.
    """
    if connection.sock is None:
        connection.timeout = seconds
        connection.connect()
    connection.sock = BoundedSocket(connection.sock, seconds, MOST_HEADERS)
    connection.request(method, url, headers=dict(headers or {}))
    return connection.getresponse().status


# --- files and questions as another user ------------------------------------------------------------------------------


def reader_of(path: str) -> Account:
    """Return who reads a path: the owner of the first part of it, from the root down, that is not root's.

    That user can put anything in the place of what follows. If root owns every part, root reads. Links of root's are
    followed. Who is not root can only be itself.
    """
    if os.geteuid() != 0:
        return account_of(os.geteuid())
    # Not resolved: a link is followed below, if it is root's.
    parts, at, links = list(Path(os.path.normpath(Path.cwd() / path)).parts[1:]), Path("/"), 0
    while parts:
        at = at / parts.pop(0)
        try:
            found = at.lstat()
            target = os.readlink(at) if stat.S_ISLNK(found.st_mode) else None
        except OSError:
            break
        if found.st_uid != 0:
            return account_of(found.st_uid)
        if target is not None:
            links += 1
            if links > 40:
                break
            whole = Path(os.path.normpath(at.parent / target))
            parts, at = [*whole.parts[1:], *parts], Path("/")
    return account_of(0)


def read_file(path: str, who: Account | None, most_bytes: int, seconds: float = READ_SECONDS) -> bytes:
    """Return the content of a regular file, read as that user.

    Args:
        who: the user; None for ``reader_of(path)``.
        most_bytes: the largest file that is read.

    Raises:
        OSError: that user cannot read it, or there is none.
        Rejected: it is a FIFO, device, socket or folder, is too large, or could not be read in time.
    """
    try:
        answer = ask_as(who or reader_of(path), lambda: _content(path, most_bytes), most_bytes + 8, seconds)
    except Rejected as error:
        raise Rejected(f"{clean(path)} cannot be read: {error}") from None
    kind, rest = answer[:1], answer[1:]
    if kind == b"E":
        number = int(rest)
        raise OSError(number, os.strerror(number), path)
    if kind != b"+":
        raise Rejected(
            f"{clean(path)} is " + (f"larger than {most_bytes} bytes" if kind == b"L" else "no regular file")
        )
    return rest


def names_in(folder: str, most: int = MOST_NAMES) -> list[str]:
    """Return the sorted names in a folder; OSError where it cannot be read, Rejected where there are more."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in itertools.islice(entries, most + 1)]
    if len(names) > most:
        raise Rejected(f"{clean(folder)} holds more than {most} names")
    return sorted(names)


def _content(path: str, most_bytes: int) -> bytes:
    """Return a file's content after a plus sign, or the reason why there is none."""
    try:
        # Without O_NONBLOCK a FIFO waits for its writer; a terminal must not become that of this process.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        return b"E%d" % (error.errno or 0)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        return b"N"
    if found.st_size > most_bytes:
        return b"L"
    try:
        with os.fdopen(fd, "rb") as file:
            # The files of /proc and /sys say that they have no size.
            data = file.read(most_bytes + 1)
    except OSError as error:
        return b"E%d" % (error.errno or 0)
    return b"L" if len(data) > most_bytes else b"+" + data


def ask_as(who: Account, question: Callable[[], bytes], most_bytes: int, seconds: float) -> bytes:
    """Return what a function answers in a child process that has become that user.

    The child runs this program's own code; the files that it meets are others'. That user can end or stop it, but not
    read it.

    Raises:
        Rejected: the answer is larger, did not come in time, or the child failed.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            os.close(read_end)
            switch = become(who)
            if switch:
                switch()
            with os.fdopen(write_end, "wb") as out:
                out.write(question())
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    deadline = time.monotonic() + seconds
    ended = None
    try:
        answer = _read_pipe(read_end, most_bytes, deadline)
        ended = _wait(child, deadline)
        if ended != 0:
            raise Rejected(f"a child process, run as the user {who.name}, failed")
        return answer
    except TimeoutError:
        raise Rejected(f"there was no answer within {seconds:g} s") from None
    finally:
        os.close(read_end)
        if ended is None:
            with contextlib.suppress(TimeoutError):
                os.kill(child, signal.SIGKILL)
                _wait(child, time.monotonic() + END_SECONDS)


def _read_pipe(fd: int, most_bytes: int, deadline: float) -> bytes:
    """Return what comes through a pipe until its other end closes; TimeoutError at the deadline."""
    chunks: list[bytes] = []
    size = 0
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        chunk = os.read(fd, 65536)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            raise Rejected(f"the answer is larger than {most_bytes} bytes")
    raise TimeoutError


def _wait(child: int, deadline: float) -> int:
    """Return how a child ended; TimeoutError at the deadline, since one may hang in the kernel."""
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.001)
