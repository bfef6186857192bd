# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a place of a portal_config.yml is: its line and column, and the sentence that names them."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NoReturn

BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class PortalYamlError(ValueError):
    """A file or an edit that is refused: one sentence, with the line and column (counted from 1) it is about.

    Line 0 says that it is not about the file but about what was to be written.
    """

    def __init__(self, sentence: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {sentence}" if line else sentence)
        self.sentence = sentence
        self.line = line
        self.column = column


class Lines:
    """The lines of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines: list[int] = []

    def place(self, index: int) -> tuple[int, int]:
        """Line and column, counted from 1."""
        if not self._lines:  # only computed on first use
            self._lines = [0, *(found.end() for found in BREAK.finditer(self.text))]
        line = bisect_right(self._lines, index)
        return line, index - self._lines[line - 1] + 1

    def fail(self, index: int, sentence: str) -> NoReturn:
        raise PortalYamlError(sentence, *self.place(index))

    def line_start(self, index: int) -> int:
        return index - self.place(index)[1] + 1

    def line_end(self, index: int) -> int:
        """Where the line's content ends: before its line break."""
        end = self.next_line(index)
        if self.text[end - 2 : end] == "\r\n" and end - 2 >= index:
            return end - 2
        return end - 1 if end > index and BREAK.match(self.text, end - 1) else end

    def next_line(self, index: int) -> int:
        line = self.place(index)[0]
        return self._lines[line] if line < len(self._lines) else len(self.text)

    def column(self, index: int) -> int:
        return index - self.line_start(index)

    def newline(self, index: int) -> str:
        """The line end used around `index`."""
        found = BREAK.search(self.text, index) or BREAK.search(self.text)
        return found.group() if found and found.group() in ("\n", "\r\n", "\r") else "\n"
