# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's configuration language: where each directive stands in a text, and the edits of one upstream block.

Nothing here reads a file or starts a program. Words are read as nginx's own ``ngx_conf_read_token`` reads them, so that
what is taken for a comment, a string or a brace is what nginx takes for one.
"""

from __future__ import annotations

import re
from typing import Callable, Iterator, NamedTuple

from ansible_collections.tethys.channels.plugins.module_utils.server.addresses import reaches_this_server

# Every comment of ours begins like this, so that a later run finds what it may remove.
MARK = "# tethys.channels.nginx_upstream"

# The directives by which an upstream chooses a server; the last one in a block counts.
LUA_METHODS = ("balancer_by_lua_block", "balancer_by_lua_file", "balancer_by_lua")
METHODS = ("ip_hash", "least_conn", "least_time", "random", "hash", "sticky", "fair", "consistent_hash", *LUA_METHODS)
# The blocks in which `include` brings directives; elsewhere (map, types, geo) it brings values.
CONTEXTS = ("http", "stream", "mail", "events", "server", "location", "upstream", "if", "limit_except")

_BLANK = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"(?:\\[\s\S]|\$\{*|[^ \t\r\n;{\\$])*")
_QUOTED = {'"': re.compile(r'"((?:\\[\s\S]|[^"\\])*)"'), "'": re.compile(r"'((?:\\[\s\S]|[^'\\])*)'")}
_ESCAPE = re.compile(r"\\([\"'\\trn])")
_LUA_NOISE = re.compile(
    r"--\[(?P<comment>=*)\[[\s\S]*?\](?P=comment)\]"
    r"|--[^\n]*"
    r"|\[(?P<string>=*)\[[\s\S]*?\](?P=string)\]"
    r'|"(?:\\[\s\S]|[^"\\\n])*"'
    r"|'(?:\\[\s\S]|[^'\\\n])*'"
)


class NginxSyntaxError(ValueError):
    """A text that nginx could not read either."""

    def __init__(self, text: str, offset: int, what: str) -> None:
        self.line = line_of(text, offset)
        super().__init__(f"line {self.line}: {what}")


class Directive(NamedTuple):
    """A directive; `start` and `end` (behind its `;` or `}`) are offsets in the text, so is `body`."""

    name: str
    args: tuple[str, ...]
    start: int
    end: int
    # What is between the braces, from behind the `{` to the `}`; None for a directive without any.
    body: tuple[int, int] | None
    children: list[Directive]


class Parsed(NamedTuple):
    """A file: its directives, and where its comments are (without the end of their lines)."""

    directives: list[Directive]
    comments: list[tuple[int, int]]


def line_of(text: str, offset: int) -> int:
    """The number of the line, from 1."""
    return text.count("\n", 0, offset) + 1


def _unescaped(word: str) -> str:
    return _ESCAPE.sub(lambda match: {"t": "\t", "r": "\r", "n": "\n"}.get(match.group(1), match.group(1)), word)


def _behind_lua(text: str, position: int, opening: int) -> int:
    """The offset of the brace that ends a block of Lua."""
    depth = 1
    while position < len(text):
        noise = _LUA_NOISE.match(text, position)
        if noise:
            position = noise.end()
            continue
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
        position += 1
    raise NginxSyntaxError(text, opening, "the Lua block that begins here does not end")


class _Open(NamedTuple):
    """A block whose end has not come yet."""

    words: list[str]
    start: int
    inside: int
    children: list[Directive]


class _Parser:
    """Reads a text from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.comments: list[tuple[int, int]] = []
        self.top: list[Directive] = []
        self.open_blocks: list[_Open] = []
        # Of the directive that has begun.
        self.words: list[str] = []
        self.start = 0
        # nginx reads no byte order mark. A file with one would not have come this far; here it is no part of a word.
        self.position = 1 if text.startswith("\ufeff") else 0

    def add(self, directive: Directive) -> None:
        """Add a directive that has ended to its block."""
        (self.open_blocks[-1].children if self.open_blocks else self.top).append(directive)
        self.position = directive.end
        self.words = []

    def comment(self) -> None:
        """Pass over a comment."""
        end = self.text.find("\n", self.position)
        end = len(self.text) if end < 0 else end
        self.comments.append((self.position, self.position + len(self.text[self.position : end].rstrip("\r"))))
        self.position = end

    def open_block(self) -> None:
        """Begin a block; one of Lua is passed over."""
        inside = self.position + 1
        if self.words[0].endswith("_by_lua_block"):
            end = _behind_lua(self.text, inside, self.position)
            self.add(Directive(self.words[0], tuple(self.words[1:]), self.start, end + 1, (inside, end), []))
            return
        self.open_blocks.append(_Open(self.words, self.start, inside, []))
        self.position = inside
        self.words = []

    def close_block(self) -> None:
        """End a block."""
        if self.words or not self.open_blocks:
            raise NginxSyntaxError(self.text, self.position, 'unexpected "}"')
        words, start, inside, children = self.open_blocks.pop()
        self.add(Directive(words[0], tuple(words[1:]), start, self.position + 1, (inside, self.position), children))

    def parse(self) -> Parsed:
        """Read all of it."""
        while True:
            blank = _BLANK.match(self.text, self.position)
            self.position = blank.end() if blank else self.position
            if self.position >= len(self.text):
                break
            char = self.text[self.position]
            if char in ";{" and not self.words:
                raise NginxSyntaxError(self.text, self.position, f'unexpected "{char}"')
            if char == "#":
                self.comment()
            elif char == ";":
                self.add(Directive(self.words[0], tuple(self.words[1:]), self.start, self.position + 1, None, []))
            elif char == "{":
                self.open_block()
            elif char == "}":
                self.close_block()
            else:
                self.start = self.start if self.words else self.position
                word, self.position = _read_word(self.text, self.position)
                self.words.append(word)
        if self.words:
            raise NginxSyntaxError(self.text, self.start, f'"{self.words[0]}" is not ended by ";"')
        if self.open_blocks:
            block = self.open_blocks[-1]
            raise NginxSyntaxError(self.text, block.start, f'the block "{block.words[0]}" is not closed')
        return Parsed(self.top, self.comments)


def parse(text: str) -> Parsed:
    """Return the directives of a text, as nginx reads them.

    Raises:
        NginxSyntaxError: it is not nginx's language, with the line.
    """
    return _Parser(text).parse()


def _read_word(text: str, position: int) -> tuple[str, int]:
    quote = text[position]
    if quote in _QUOTED:
        match = _QUOTED[quote].match(text, position)
        if not match:
            raise NginxSyntaxError(text, position, "a string is not closed")
        if text[match.end() : match.end() + 1] not in (" ", "\t", "\r", "\n", ";", "{", ")"):
            raise NginxSyntaxError(text, match.end(), "something stands directly behind a string")
        return _unescaped(match.group(1)), match.end()
    match = _WORD.match(text, position)
    if not match or match.end() == position:
        raise NginxSyntaxError(text, position, "a backslash ends the file")
    return _unescaped(match.group()), match.end()


# -- the whole configuration ------------------------------------------------------------------------------------------


class Node:
    """A directive where it takes effect: what an `include` brings stands in the place of the `include`."""

    def __init__(self, directive: Directive, file: str, parent: Node | None) -> None:
        self.directive = directive
        self.name = directive.name
        self.args = directive.args
        self.file = file
        self.parent = parent
        self.children: list[Node] = []

    def walk(self) -> Iterator[Node]:
        """This one and everything below."""
        yield self
        for child in self.children:
            yield from child.walk()

    def named(self, name: str) -> list[Node]:
        """The children of that name."""
        return [child for child in self.children if child.name == name]


class Tree:
    """A configuration read from its main file on, as nginx reads it."""

    def __init__(self, main: str, read: Callable[[str], str], files: Callable[[str], list[str]]) -> None:
        """Read it.

        Args:
            main: the main file.
            read: the text of a file.
            files: the files behind an `include`'s argument, in nginx's order.

        Raises:
            NginxFileError: a file is not in nginx's language.
        """
        self._read = read
        self._files = files
        self.main = main
        self.texts: dict[str, str] = {}
        self.parsed: dict[str, Parsed] = {}
        # The includes that each file has, with the files that they bring.
        self.includes: dict[str, list[tuple[Directive, list[str]]]] = {}
        root = Directive("", (), 0, 0, None, [])
        self.root = Node(root, main, None)
        self._fill(self.root, main, self._open(main), 0)

    def _open(self, file: str) -> list[Directive]:
        if file not in self.texts:
            self.texts[file] = self._read(file)
            try:
                self.parsed[file] = parse(self.texts[file])
            except NginxSyntaxError as error:
                raise NginxFileError(f"{file}, {error}") from error
            self.includes[file] = []
        return self.parsed[file].directives

    def _fill(self, node: Node, file: str, directives: list[Directive], depth: int) -> None:
        if depth > 200:
            raise NginxFileError(f"{file} includes itself")
        for directive in directives:
            if directive.name == "include" and len(directive.args) == 1 and directive.body is None:
                known = [files for seen, files in self.includes[file] if seen.start == directive.start]
                brought = known[0] if known else self._files(directive.args[0])
                if not known:
                    self.includes[file].append((directive, brought))
                for each in brought:
                    self._fill(node, each, self._open(each), depth + 1)
                continue
            child = Node(directive, file, node)
            node.children.append(child)
            if directive.name in CONTEXTS:
                self._fill(child, file, directive.children, depth + 1)
            else:
                child.children = [Node(inner, file, child) for inner in directive.children]

    def http(self) -> Iterator[Node]:
        """Everything at the level of http."""
        for node in self.root.named("http"):
            yield from node.children

    def upstreams(self) -> list[Node]:
        """The upstream blocks of http; those of `stream` carry no HTTP."""
        return [node for node in self.http() if node.name == "upstream" and len(node.args) == 1]

    def passes(self, upstream: str) -> list[Node]:
        """The `proxy_pass` directives that lead to an upstream."""
        return [node for node in self._proxy_passes() if leads_to(node, upstream)]

    def passes_by_variable(self) -> bool:
        """Whether a `proxy_pass` names its server by a variable, so that its target depends on the request."""
        return any(re.match(r"(?:https?://)?\$", node.args[0]) for node in self._proxy_passes())

    def _proxy_passes(self) -> Iterator[Node]:
        for child in self.http():
            for node in child.walk():
                if node.name == "proxy_pass" and len(node.args) == 1:
                    yield node


class NginxFileError(ValueError):
    """A file of the configuration that cannot be read; its name is in the message."""


def leads_to(proxy_pass: Node, upstream: str) -> bool:
    """Whether a `proxy_pass` goes to the upstream of that name; nginx ignores case there."""
    match = re.match(r"https?://([^/?#$:]+)([/?$]|$)", proxy_pass.args[0], re.IGNORECASE)
    return bool(match and match.group(1).lower() == upstream.lower())


def inherited(node: Node, name: str) -> list[Node]:
    """The directives of that name that hold for a node's level: its own, else those of the nearest level with any."""
    level = node.parent
    while level is not None:
        own = level.named(name)
        if own:
            return own
        level = level.parent
    return []


def missing_for_websockets(proxy_pass: Node, http_1_1_by_default: bool = False) -> list[str]:
    """What the level of a `proxy_pass` lacks so that a WebSocket gets through, as lines to add."""
    missing = []
    version = inherited(proxy_pass, "proxy_http_version")
    if not (version[-1].args[:1] != ("1.0",) if version else http_1_1_by_default):
        missing.append("proxy_http_version 1.1;")
    headers = {
        node.args[0].lower(): node.args[1] for node in inherited(proxy_pass, "proxy_set_header") if len(node.args) == 2
    }
    if not headers.get("upgrade"):
        missing.append("proxy_set_header Upgrade $http_upgrade;")
    connection = headers.get("connection", "").lower()
    if not ("upgrade" in connection or "$" in connection):
        missing.append('proxy_set_header Connection "upgrade";')
    return missing


def is_this_server(address: str) -> bool:
    """Return whether a `server` of an upstream is on this machine: a socket, or one of the machine's addresses."""
    host = re.sub(r":\d+$", "", address)
    return host.lower().startswith("unix:") or reaches_this_server(re.sub(r"^\[(.*)\]$", r"\1", host))


def port_of(address: str) -> int | None:
    """The port of a `server` of an upstream; None for a unix socket."""
    if address.lower().startswith("unix:"):
        return None
    match = re.search(r":(\d+)$", address)
    return int(match.group(1)) if match else 80


# -- the upstream block -----------------------------------------------------------------------------------------------


def quoted(word: str) -> str:
    """A word in double quotes, which nginx reads as that word.

    A backslash stays single where nginx leaves it alone, so that a regular expression stays readable.

    Raises:
        ValueError: it has a control character, which no configuration should.
    """
    if re.search(r"[\x00-\x1f\x7f]", word):
        raise ValueError(f"{word!r} has a control character")
    text = re.sub(r"\\(?=[\"'\\trn]|$)", r"\\\\", word)
    return '"' + text.replace('"', '\\"') + '"'


def blocks(parsed: Parsed, name: str) -> list[Directive]:
    """The `upstream` blocks of that name in one file: in its `http`, or at its top where another file includes it."""
    levels = [parsed.directives, *(block.children for block in parsed.directives if block.name == "http")]
    return [each for level in levels for each in level if each.name == "upstream" and each.args == (name,)]


def _block(text: str, name: str) -> Directive:
    found = [block for block in blocks(parse(text), name) if block.body is not None]
    if len(found) != 1:
        raise ValueError(f"{len(found)} blocks `upstream {name}` in this file, where one is expected")
    return found[0]


def block_text(text: str, name: str) -> str:
    """The block, from its name to its closing brace."""
    block = _block(text, name)
    return text[block.start : block.end]
