# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.module_utils import boundary, read_as
from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Either,
    Flag,
    Listing,
    Match,
    Maybe,
    Name,
    Number,
    OneOf,
    Plain,
    Record,
    Rejected,
    Table,
    Text,
    Whole,
    accept,
    clean,
    needs_all,
)
from ansible_collections.tethys.channels.plugins.module_utils.read_as import read_file
from ansible_collections.tethys.channels.plugins.module_utils.server import proc
from ansible_collections.tethys.channels.plugins.module_utils.server.accounts import Account, account, account_of
from hypothesis import given, settings
from hypothesis import strategies as st

ME = account_of(os.geteuid())
SCHEMA = Record(
    {
        "text": Text(20),
        "name": Maybe(Name()),
        "kind": OneOf(("a", "b")),
        "whole": Whole(0, 10),
        "number": Number(),
        "flag": Flag(),
        "texts": Listing(Text(), 3),
        "table": Table(Whole(), most=3),
        "digits": Table(Flag(), Match("[0-9]+")),
        "either": Either((OneOf(("unknown",)), Listing(Flag()))),
        "record": needs_all(a=Flag(), b=Flag()),
        "plain": Plain(3),
    }
)
GOOD: dict[str, Any] = {
    "text": "Üben",
    "name": None,
    "kind": "a",
    "whole": 10,
    "number": 0.5,
    "flag": False,
    "texts": ["", "b"],
    "table": {"x": 1},
    "digits": {"1": True},
    "either": [True],
    "record": {"a": True, "b": False},
    "plain": {"a": [1, None, {"b": 1.5}]},
}
CONTROLS = [
    chr(code) for code in (0, 7, 8, 0x1B, 0x7F, 0x80, 0x9B, 0x9D, 0x200B, 0x200F, 0x202E, 0x2066, 0xFEFF, 0xE0041)
]
BREAKS = ["\n", "\r", "\r\n", "\t", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"]


def reason(raw: bytes | str, schema: Record = SCHEMA) -> str:
    with pytest.raises(Rejected) as raised:
        accept(raw, schema)
    said = str(raised.value)
    assert boundary.is_clean(said)
    assert len(said) < 300
    assert not said.endswith(".")
    return said


def test_what_is_listed_is_accepted() -> None:
    assert accept(json.dumps(GOOD), SCHEMA) == GOOD
    assert accept(json.dumps(GOOD, ensure_ascii=False).encode(), SCHEMA) == GOOD
    assert accept(b"{}", SCHEMA) == {}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "the answer is not JSON"),
        (b"no json", "the answer is not JSON"),
        (b'{"text": "a"} {}', "the answer is not JSON"),
        (b"\xff\xfe{\x00}\x00", "the answer is not JSON"),
        (b'{"text": "\xff"}', "the answer is not JSON"),
        (b"[]", "the answer is not a mapping"),
        (b"null", "the answer is not a mapping"),
        (b'{"text": 1, "text": 2}', "the answer has a key twice"),
        (b'{"number": NaN}', "the answer holds NaN or Infinity"),
        (b'{"number": -Infinity}', "the answer holds NaN or Infinity"),
        (b'{"number": 1e999}', "the answer holds a number that is out of range"),
        (b'{"whole": ' + b"9" * 900_000 + b"}", "the answer holds a number of more than 25 digits"),
        (b"[" * 100_000, "the answer holds more than 50000 values"),
        (b"[" * 10_000, "the answer is nested more than 20 deep"),
        (b'{"plain":' * 10_000, "the answer is nested more than 20 deep"),
        (b'{"plain":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "the answer is nested more than 20 deep"),
        (b'{"plain":[[[[]]]]}', "plain is nested too deep"),
        (b" " * 2_000_000, "the answer is larger than 1048576 bytes"),
        (json.dumps(dict.fromkeys(map(str, range(100_000)), 1)), "the answer is larger than 1048576 bytes"),
        (json.dumps(dict.fromkeys(map(str, range(60_000)), 1)), "the answer holds more than 50000 values"),
        (b'{"user": "root"}', "the answer has the key user, which is not expected"),
        (b'{"site_packages": "/\\ncommand=x"}', "the answer has the key site_packages, which is not expected"),
        (b'{"ansible_facts": {}}', "the answer has the key ansible_facts, which is not expected"),
        (b'{"a\\u001b[31m": 1}', "the answer has the key a[31m, which is not expected"),
        (b'{"record": {"a": true}}', "record lacks the key b"),
        (b'{"record": {"a": true, "b": 1}}', "record.b is not true or false"),
        (b'{"texts": ["a", {}]}', "texts[1] is not a text"),
        (b'{"texts": ["a", "b", "c", "d"]}', "texts is not a list of at most 3"),
        (b'{"table": {"a": true}}', "table.* is not a whole number from 0 to 9007199254740992"),
        (b'{"table": {"a\\n": 1}}', "a key of table is not a text of at most 200 printable characters"),
        (b'{"digits": {"1a": true}}', "a key of digits is not a text that matches [0-9]+"),
        (b'{"digits": {"1\\n": true}}', "a key of digits is not a text that matches [0-9]+"),
        (b'{"whole": true}', "whole is not a whole number from 0 to 10"),
        (b'{"whole": 1.0}', "whole is not a whole number from 0 to 10"),
        (b'{"whole": 11}', "whole is not a whole number from 0 to 10"),
        (b'{"number": "1"}', "number is not a number from 0 to 1e+15"),
        (b'{"kind": "c"}', "kind is not one of a, b"),
        (b'{"kind": ["a"]}', "kind is not one of a, b"),
        (b'{"flag": 0}', "flag is not true or false"),
        (b'{"either": "known"}', "either is not a list of at most 10000"),
        (b'{"text": null}', "text is not a text"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_anything_else_is_rejected_with_one_sentence(raw: bytes | str, said: str) -> None:
    assert reason(raw) == said


@pytest.mark.parametrize("sign", [*CONTROLS, *BREAKS, "\ud800"], ids=repr)
def test_control_characters_are_removed_from_texts_and_rejected_in_names(sign: str) -> None:
    raw = json.dumps({"text": f"a{sign}b", "plain": {f"c{sign}": [f"d{sign}e"]}})
    between = " " if sign in BREAKS else ""
    assert accept(raw, SCHEMA) == {"text": f"a{between}b", "plain": {f"c{between}": [f"d{between}e"]}}
    assert reason(json.dumps({"name": f"/srv{sign}"})) == "name is not a text of at most 4096 printable characters"


def test_keys_that_are_equal_once_cleaned_are_rejected() -> None:
    assert reason(r'{"plain": {"a": 1, "a\u0007": 2}}') == "plain has a key twice"


@pytest.mark.parametrize("key", ["__ansible_type", "__ansible_unsafe", "__ansible_vault", "__ansi\u0007ble_vault"])
@pytest.mark.parametrize("place", ["plain", "table"])
def test_keys_that_ansible_acts_on_are_rejected(key: str, place: str) -> None:
    hidden = place == "table" and not boundary.is_clean(key)
    words = (
        "has a key that begins with __ansible_" if not hidden else "is not a text of at most 200 printable characters"
    )
    assert reason(json.dumps({place: {key: 1}})) == f"{'a key of ' if hidden else ''}{place} {words}"
    assert reason(json.dumps({"plain": [{"a": {key: "x"}}]})) == "plain has a key that begins with __ansible_"


def test_a_long_text_is_cut() -> None:
    assert accept(json.dumps({"text": "x" * 100}), SCHEMA) == {"text": "x" * 17 + "..."}


@given(st.text(st.characters()))
def test_a_clean_text_is_clean_and_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)
    assert boundary.is_clean(cleaned)
    assert clean(cleaned) == cleaned
    cleaned.encode("utf-8")
    if boundary.is_clean(text):
        assert cleaned == text


def test_what_other_alphabets_need_is_kept() -> None:
    assert clean("Überlauf 洪水 سيل پایش\u00a0🌊") == "Überlauf 洪水 سيل پایش\u00a0🌊"


KEYS = [*GOOD, "user", "ansible_facts", "a", "b", "__ansible_type", "__ansible_unsafe", "__ansible_\u200bvault"]
BAD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from([*CONTROLS, *BREAKS, "a", "b", "unknown", "root"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=5),
    max_leaves=20,
)


def assert_bounded(value: Any) -> None:
    if isinstance(value, str):
        assert not any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") for sign in value)
    elif isinstance(value, dict):
        for key, item in value.items():
            assert_bounded(key)
            assert not key.startswith("__ansible_")
            assert_bounded(item)
    elif isinstance(value, list):
        for item in value:
            assert_bounded(item)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "user"]), BAD, max_size=4).map(json.dumps) | st.binary())
def test_no_other_key_passes_whatever_is_answered(raw: str | bytes) -> None:
    try:
        accepted = accept(raw, SCHEMA)
    except Rejected as error:
        assert boundary.is_clean(str(error))
        return
    assert accepted.keys() <= GOOD.keys()
    assert_bounded(accepted)
    assert json.loads(json.dumps(accepted, allow_nan=False)) == accepted


@pytest.mark.parametrize(
    "raw",
    [
        b"[" + b"{}," * 349_000 + b"{}]",
        b'{"a":' * 200_000,
        b'["' + b'","' * 49_000 + b'"]',
        b'{"text":"' + b"x" * 1_000_000 + b'"}',
    ],
)
def test_memory_is_bounded(raw: bytes) -> None:
    tracemalloc.start()
    with contextlib.suppress(Rejected):
        accept(raw, SCHEMA)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 1024 * 1024


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0content\n" * 10_000)
    (tmp_path / "link").symlink_to(path)
    assert read_file(str(path), ME, 90_000) == path.read_bytes()
    assert read_file(str(tmp_path / "link"), None, 90_000) == path.read_bytes()
    path.write_bytes(b"")
    assert read_file(str(path), ME, 0) == b""


def test_what_the_kernel_refuses_is_its_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        read_file(str(tmp_path / "none"), ME, 10)
    assert raised.value.filename == str(tmp_path / "none")
    with pytest.raises(NotADirectoryError):
        read_file("/etc/passwd/x", ME, 10)


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "device", "zero", "sparse", "large"])
def test_anything_else_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("device", "zero"):
        path.symlink_to("/dev/tty" if kind == "device" else "/dev/zero")
    elif kind == "sparse":
        with path.open("wb") as file:
            file.truncate(200 * 1024**3)
    elif kind == "large":
        path.write_bytes(b"x" * 1001)
    started = time.monotonic()
    with socket.socket(socket.AF_UNIX) as listening:
        if kind == "socket":
            listening.bind(str(path))
        with pytest.raises((Rejected, OSError)) as raised:
            read_file(str(path), ME, 1000)
    assert time.monotonic() - started < 2
    said = {"sparse": "larger than 1000 bytes", "large": "larger than 1000 bytes"}.get(kind, "no regular file")
    assert kind in ("device", "socket") or str(raised.value) == f"{path} is {said}"


def test_a_file_that_cannot_be_read_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_as, "_content", lambda path, most: time.sleep(60))
    started = time.monotonic()
    with pytest.raises(Rejected, match=r"^/srv/file cannot be read: there was no answer within 0.2 s$"):
        read_file("/srv/file", ME, 10, 0.2)
    assert time.monotonic() - started < 2.2


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (lambda: b"x" * 101, "the answer is larger than 100 bytes"),
        (lambda: os.kill(os.getpid(), 9), f"a child process, run as the user {ME.name}, failed"),
        (lambda: 1 / 0, f"a child process, run as the user {ME.name}, failed"),
    ],
)
def test_a_question_without_an_answer_is_one_sentence(question: Any, said: str) -> None:
    before = set(proc.children("self"))
    with pytest.raises(Rejected) as raised:
        read_as.ask_as(ME, question, 100, 10)
    assert str(raised.value) == said
    assert set(proc.children("self")) == before


def nobody() -> Account:
    found = account("nobody")
    assert found
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_file_is_read_as_the_user_who_can_change_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp_path = tmp_path_factory.mktemp("owned")
    for folder in [tmp_path, *tmp_path.parents][:3]:
        folder.chmod(0o755)
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, nobody().uid, nobody().gid)
    (theirs / "link").symlink_to(secret)
    assert read_as.reader_of(str(theirs / "link")) == nobody()
    with pytest.raises(PermissionError):
        read_file(str(theirs / "link"), None, 100)
    os.link(secret, theirs / "hard")
    with pytest.raises(PermissionError):
        read_file(str(theirs / "hard"), None, 100)
    assert read_file(str(secret), None, 100) == b"root's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees a difference")
def test_the_reader_is_the_first_owner_on_the_way_that_is_not_root(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "below").mkdir(parents=True)
    os.chown(theirs, nobody().uid, nobody().gid)
    (tmp_path / "roots").symlink_to("theirs/../theirs/below")
    (tmp_path / "loop").symlink_to("loop")
    assert read_as.reader_of(str(theirs / "below" / "file")) == nobody()
    assert read_as.reader_of(str(tmp_path / "roots" / "file")) == nobody()
    assert read_as.reader_of(str(tmp_path / "loop")).uid == 0
    assert read_as.reader_of(str(tmp_path / "none" / "file")).uid == 0
    os.lchown(tmp_path / "loop", 4711, 4711)
    assert read_as.reader_of(str(tmp_path / "loop")) == Account("4711", 4711, 4711, "/")
