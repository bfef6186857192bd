# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for a terminal and for a shell: nothing in a value acts on either.

A value in a message can come from an app, a container or another local user. A terminal obeys escape sequences (ESC and
the C1 controls), and shows text reordered by bidirectional controls. A shell obeys everything that is not quoted.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, Callable

# Line breaks that are data in a diff, and in a sentence are no more than a blank.
_BREAKS = re.compile(r"[\t\n\r\x0b\x0c\x85\u2028\u2029]+")


def _escape(character: str) -> str:
    """A character as Python writes it in a string, without its effect."""
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def printable(text: str) -> str:
    """Return the text in one line, with every character that does not print as its escape (`\\x1b`)."""
    text = _BREAKS.sub(" ", text)
    return text if text.isprintable() else "".join(each if each.isprintable() else _escape(each) for each in text)


def printable_lines(text: str) -> str:
    """Return the same for a text of several lines: line feeds and tabs stay."""
    return "".join(each if each.isprintable() or each in "\n\t" else _escape(each) for each in text)


def each_text(value: Any, change: Callable[[str], str] = printable) -> Any:
    """Return a value with every text in it changed, those in its lists and mappings too, but not a mapping's keys."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: each_text(held, change) for key, held in value.items()}
    return [each_text(held, change) for held in value] if isinstance(value, (list, tuple)) else value


def shell_words(*words: object) -> str:
    """Return a command that a POSIX shell reads as exactly these words.

    A word with characters that do not print is written as `$'…'`, which bash, ksh and zsh read: a message that has the
    command loses such characters on its way to the terminal.
    """
    return " ".join(_shell_word(str(word)) for word in words)


def _shell_word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    # A name of a file may have bytes that are no text, which Python has as surrogates.
    raw = word.encode("utf-8", "surrogateescape" if re.search("[\udc80-\udcff]", word) else "replace")
    shown = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}" for byte in raw)
    return "$'" + "".join(shown) + "'"
