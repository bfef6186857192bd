# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of an upstream block: written for ASGI processes, read again, and given back as it was."""

from __future__ import annotations

import re
from typing import Sequence

from ansible_collections.tethys.channels.plugins.module_utils.nginx_config import (
    MARK,
    METHODS,
    Directive,
    Node,
    _block,
    parse,
    quoted,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_names import PortalNames

BLOCK_COMMENT = MARK + " writes the lines from here to the last server."
MAP_COMMENT = MARK + ": Bokeh goes to one process, everything else to any."
# Of the first portal; that of another one has its name behind it.
VARIABLE = PortalNames().map_variable
_OUR_VARIABLE = re.compile(rf"{re.escape(VARIABLE)}(?:_\w+)?")
# nginx's `hash` (without `consistent`) first tries the server number (crc32(key) >> 16 & 0x7fff) % (sum of the
# weights). For this key the first factor is 0: the first server, however many there are, so that a change of their
# number moves no Bokeh session. While that one is down, nginx hashes on, and again everything with this key meets in
# the same other one.
KEY = "bokeh-25332"


def is_managed(block: str) -> bool:
    """Whether a block's text holds lines of ours."""
    parsed = parse(block)
    children = parsed.directives[0].children
    return any(block.startswith(MARK, start) for start, _end in parsed.comments) or any(map(_is_our_hash, children))


def looks_like_ours(block: str) -> bool:
    """Whether a block's text holds lines of ours, or only servers as we write them: a comment is soon deleted."""
    servers = [child.args for child in parse(block).directives[0].children if child.name == "server"]
    return is_managed(block) or bool(
        servers
        and all(args[1:] in (("max_fails=0",), ("max_fails=0", "down")) for args in servers)
        and all(re.match(r"127\.0\.0\.1:\d+$", args[0]) for args in servers)
    )


def own_method(block: Node) -> Node | None:
    """The user's own balancing directive, the one that counts."""
    found = [child for child in block.children if child.name in METHODS and not _is_our_hash(child.directive)]
    return found[-1] if found else None


def write_upstream(
    text: str,
    name: str,
    servers: Sequence[tuple[str, bool]],
    pins: Sequence[str] | None = None,
    variable: str = VARIABLE,
) -> str:
    """The text with these servers in the upstream block of that name, and with the pins.

    Every other directive and comment of the block stays, and every byte outside it but our own map.

    Args:
        servers: addresses, each with whether it is down.
        pins: regular expressions of the paths that go to the first server; the others spread by the request's id.
        variable: the variable of our map.

    Raises:
        ValueError: the text has not exactly one such block, or there is no server, or a pin has a control character.
        NginxSyntaxError: the text cannot be read.
    """
    lines = [BLOCK_COMMENT]
    if pins:
        # Before all else: a `keepalive` of the user's has to come behind the balancing method.
        lines.append(f"hash {variable};")
    lines += [f"server {address} max_fails=0{' down' if down else ''};" for address, down in servers]
    return _written(text, name, lines, list(pins or []), variable)


def plain_upstream(text: str, name: str, port: int, variable: str = VARIABLE) -> str:
    """The text with nothing of ours, and one server on that port of the loopback."""
    return _written(text, name, [f"server 127.0.0.1:{port};"], [], variable)


def restored_upstream(text: str, name: str, block: str, variable: str = VARIABLE) -> str:
    """The text with nothing of ours, and that block instead of the one of that name.

    Where somebody has written something else into the block since, only the servers come back, and that stays.
    """
    text = _without_map(text, variable)
    found, emptied = _block(text, name), _emptied(text, name)
    now = _block(emptied, name)
    if "".join(emptied[now.start : now.end].split()) == "".join(_emptied(block, name).split()):
        return text[: found.start] + block + text[found.end :]
    servers = [child for child in _block(block, name).children if child.name == "server"]
    return _written(text, name, [" ".join(block[child.start : child.end].split()) for child in servers], [], variable)


def _written(text: str, name: str, lines: list[str], pins: list[str], variable: str) -> str:
    if not any(line.startswith("server ") for line in lines):
        raise ValueError("an upstream needs a server")
    text = _without_map(text, variable)
    block = _block(text, name)
    first_line = text[: text.find("\n") + 1]
    ending = "\r\n" if first_line.endswith("\r\n") else "\n"
    outer = _indentation(text, block.start)
    inner = _inner_indentation(text, block, outer)
    text = _emptied(text, name)
    block = _block(text, name)
    opening, closing = block.body or (block.end, block.end)
    line_end = text.find("\n", opening)
    behind = text[opening:line_end].strip(" \t\r") if opening <= line_end < closing else text[opening : opening + 1]
    if opening <= line_end < closing and (not behind or behind.startswith("#")):
        written = "".join(inner + line + ending for line in lines)
        text = text[: line_end + 1] + written + text[line_end + 1 :]
    else:
        # The block goes on in the line of its brace.
        rest = text[opening:].lstrip(" \t")
        written = "".join(inner + line + ending for line in lines)
        text = text[:opening] + ending + written + (outer if rest.startswith("}") else inner) + rest
    if pins:
        step = inner[len(outer) :] if inner.startswith(outer) and inner != outer else "    "
        rules = [f"{quoted('~' + pin)} {KEY};" for pin in pins]
        rows = [MAP_COMMENT, f"map $uri {variable} {{", *(step + row for row in ["default $request_id;", *rules]), "}"]
        # So that taking it away again leaves exactly what was there.
        text = text[: block.start] + "".join(row + ending + outer for row in rows) + text[block.start :]
    return text


def _indentation(text: str, offset: int) -> str:
    line = text[text.rfind("\n", 0, offset) + 1 :]
    if line.startswith("\ufeff"):
        return ""
    return line[: len(line) - len(line.lstrip(" \t"))]


def _inner_indentation(text: str, block: Directive, outer: str) -> str:
    """That of the first directive that begins a line of the block, else one step more than the block's."""
    for child in block.children:
        before = text[text.rfind("\n", 0, child.start) + 1 : child.start]
        if not before.strip(" \t"):
            return before
    indented = re.findall(r"^[ \t]", text, re.MULTILINE)
    return outer + ("\t" if indented.count("\t") > indented.count(" ") else "    ")


def _is_our_hash(directive: Directive) -> bool:
    return directive.name == "hash" and bool(directive.args) and _OUR_VARIABLE.fullmatch(directive.args[0]) is not None


def _without_map(text: str, variable: str) -> str:
    """The text without our map and the comment above it."""
    while True:
        parsed = parse(text)
        levels = [parsed.directives, *(block.children for block in parsed.directives if block.name == "http")]
        ours = [each for level in levels for each in level if each.name == "map" and each.args[1:] == (variable,)]
        if not ours:
            return text
        start = ours[0].start
        for begin, end in reversed(parsed.comments):
            if end <= start and text.startswith(MARK, begin) and not text[end:start].strip(" \t\r\n"):
                start = begin
        behind = re.compile(r"[ \t]*(?:\r?\n[ \t]*)?").match(text, ours[0].end)
        text = text[:start] + text[behind.end() if behind else ours[0].end :]


def _emptied(text: str, name: str) -> str:
    """The text with a block that has no server, and nothing of ours."""
    parsed = parse(text)
    block = _block(text, name)
    opening, closing = block.body or (block.end, block.end)
    spans = [(child.start, child.end) for child in block.children if child.name == "server" or _is_our_hash(child)]
    spans += [
        (start, end)
        for start, end in parsed.comments
        if opening <= start < closing
        and text.startswith(MARK, start)
        and not any(child.start < start < child.end for child in block.children)
    ]
    for start, end in sorted(spans, reverse=True):
        text = _cut(text, start, end)
    return text


def _cut(text: str, start: int, end: int) -> str:
    """The text without that span, and without the line where nothing else is in it."""
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end)
    line_end = len(text) if line_end < 0 else line_end
    last = not text[end:line_end].strip(" \t\r")
    if last and not text[line_start:start].strip(" \t"):
        return text[:line_start] + text[line_end + 1 :]
    if last:
        return text[:start].rstrip(" \t") + text[end:]
    return text[:start] + text[end:].lstrip(" \t")
