# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change single settings in the text of a portal_config.yml and leave every other byte alone.

The text is never dumped anew. PyYAML's parser says where an entry of ``settings:`` begins and ends, that span alone is
written, and the outcome is parsed again: an edit only counts when the stream of YAML events is the one that was there
before, but for the entry that was asked for. So a mistake made here ends in a refusal, never in a damaged file.

Nothing in this file needs Ansible: the ``merge_settings`` filter and the ``portal_settings`` and ``portal_info`` modules
share it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, Dict, Iterable, List, Mapping, NoReturn, Optional, Sequence, Set, Tuple

try:
    import yaml
    from yaml.constructor import SafeConstructor
    from yaml.resolver import Resolver

    HAS_YAML = True
except ImportError:  # the modules then start again with an interpreter that has it
    HAS_YAML = False
    SafeConstructor = Resolver = object  # type: ignore[assignment,misc]

# Tethys reads the file with PyYAML's own SafeLoader, so that is the reader that counts. It takes about 10 s for a
# megabyte; libyaml's takes a tenth of a second, and differs from it only in where tabs may stand.
PURE_LIMIT = 32 * 1024
# Deeper than any configuration, and far from where PyYAML's recursive composer (and so Tethys) gives up.
MAX_DEPTH = 64
# How many nodes an old value may have once its aliases and merge keys are written out ("billion laughs").
MAX_NODES = 100_000

# Written after a `settings:` that was not there before, so that it can go again with the last setting in it.
SETTINGS_MARK = "  # added by tethys.channels"

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "binary", "timestamp", "str")}
_MAPPING_TAGS = {_TAG + "map", _TAG + "set"}
_SEQUENCE_TAGS = {_TAG + "seq", _TAG + "omap", _TAG + "pairs"}
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER_START = frozenset("0123456789+-.")

SCALAR, ALIAS, SEQUENCE, MAPPING, END = "scalar", "alias", "sequence", "mapping", "end"

Edit = Tuple[int, int, str]


class PortalYamlError(ValueError):
    """A file or an edit that is refused: one sentence, with the line and column (counted from 1) it is about.

    Line 0 says that it is not about the file but about what was to be written.
    """

    def __init__(self, sentence: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {sentence}" if line else sentence)
        self.sentence = sentence
        self.line = line
        self.column = column


class _Unexpandable(Exception):
    """An old value that cannot be written out: it contains itself, or its aliases multiply without end."""


class _Scalars(SafeConstructor, Resolver):  # type: ignore[misc]
    """PyYAML's rules for what a scalar means (`yes` is true, `08` is text), without its loaders."""

    def __init__(self) -> None:
        SafeConstructor.__init__(self)
        Resolver.__init__(self)

    def tag(self, tag: Optional[str], value: str, implicit: Tuple[bool, bool]) -> str:
        return self.resolve(yaml.ScalarNode, value, implicit) if tag in (None, "!") else str(tag)

    def value(self, tag: str, value: str) -> Any:
        return self.construct_object(yaml.ScalarNode(tag, value))


class Document:
    """One parsed text: its YAML events in order, with their place in the text.

    A node is the index of its first event. `signatures` hold all of an event but its place, so that two texts can be
    compared slice by slice, which needs no recursion and does not follow aliases.
    """

    def __init__(self, text: str, loader: Any = None) -> None:
        self.text = text
        self.loader = loader or (_fast_loader() if len(text) > PURE_LIMIT else yaml.SafeLoader)
        self.scalars = _Scalars()
        self.signatures: List[Tuple[Any, ...]] = []
        self.starts: List[int] = []
        self.ends: List[int] = []
        self.close: Dict[int, int] = {}
        self.target: Dict[int, int] = {}
        self.merging: Set[int] = set()  # aliases that a merge key takes up
        self._lines: List[int] = []
        self._read()
        self.root = 0

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        bad = _UNPRINTABLE.search(self.text)
        if bad:
            self.fail(bad.start(), f"the character U+{ord(bad.group()):04X} is not allowed in YAML; remove it")
        loader = self.loader(self.text)
        try:
            self._read_events(loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            parts = [getattr(error, name, None) for name in ("context", "problem")]
            what = " ".join(part for part in parts if part) or "unreadable"
            # marks of a stream's end can lie one past it
            self.fail(min(mark.index, len(self.text)) if mark else 0, f"this is not YAML ({what}); correct it")
        except (IndexError, KeyError, ValueError, OverflowError) as error:
            # PyYAML's scanner lets a few of these through, such as chr() of an escape that is no character
            if isinstance(error, PortalYamlError):
                raise
            self.fail(self.ends[-1] if self.ends else 0, "what follows is not YAML; correct it")
        finally:
            loader.dispose()
        if not self.signatures or self.signatures[0][0] != MAPPING:
            where = self.starts[0] if self.starts else 0
            self.fail(
                where,
                "the top level is not a mapping; a portal_config.yml (`tethys gen portal_config` makes one) "
                "begins with entries such as `settings:`",
            )

    def _read_events(self, loader: Any) -> None:
        events = yaml.events
        anchors: Dict[str, int] = {}
        stack: List[int] = []
        documents = 0
        # Whether the next node of each open collection is a key; None in a sequence.
        key_next: List[Optional[bool]] = []
        # Whether each open collection is the list of a merge key.
        merges: List[bool] = [False]
        while True:
            event = loader.get_event()
            if event is None:
                return
            kind = type(event)
            index = len(self.signatures)
            if kind is events.ScalarEvent:
                implicit = tuple(event.implicit)
                self._add((SCALAR, event.tag, event.anchor, event.value, implicit[0]), event)
                self._check_scalar(index, event.tag, event.value, implicit)
            elif kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
                mapping = kind is events.MappingStartEvent
                name, tags = (MAPPING, _MAPPING_TAGS) if mapping else (SEQUENCE, _SEQUENCE_TAGS)
                self._add((name, event.tag, event.anchor, bool(event.flow_style)), event)
                if event.tag not in (None, "!") and event.tag not in tags:
                    self._fail_tag(index, event.tag)
                if key_next and key_next[-1]:
                    self.fail(self.starts[index], f"a {name} cannot be a key in a Tethys configuration; use text")
                if len(stack) >= MAX_DEPTH:
                    self.fail(self.starts[index], f"nested deeper than {MAX_DEPTH} levels; no configuration needs that")
            elif kind is events.AliasEvent:
                self._add((ALIAS, None, event.anchor), event)
                if event.anchor not in anchors:
                    self.fail(self.starts[index], f"the alias *{event.anchor} has no anchor before it; define it")
                self.target[index] = anchors[event.anchor]
                if merges[-1] or self._follows_merge_key(index, key_next):
                    self.merging.add(index)
                if key_next and key_next[-1] and self.signatures[self.target[index]][0] != SCALAR:
                    self.fail(self.starts[index], "a collection cannot be a key in a Tethys configuration; use text")
            elif kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
                self._add((END,), event)
                self.close[stack.pop()] = index
                key_next.pop()
                merges.pop()
            elif kind is events.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    where = event.start_mark.index
                    self.fail(where, "a second document begins here; Tethys reads a single one, so remove this `---`")
                continue
            else:
                continue
            if kind is events.MappingEndEvent or kind is events.SequenceEndEvent:
                continue
            if key_next and key_next[-1] is not None:
                key_next[-1] = not key_next[-1]
            if kind is not events.AliasEvent and event.anchor is not None:
                if event.anchor in anchors:
                    self.fail(
                        self.starts[index],
                        f"the anchor &{event.anchor} stands in line {self.line(anchors[event.anchor])} too, which Tethys "
                        "cannot read; rename one of them",
                    )
                anchors[event.anchor] = index
            if kind is events.MappingStartEvent or kind is events.SequenceStartEvent:
                stack.append(index)
                merges.append(kind is events.SequenceStartEvent and self._follows_merge_key(index, key_next, False))
                key_next.append(True if kind is events.MappingStartEvent else None)

    def _follows_merge_key(self, index: int, key_next: List[Optional[bool]], is_key: bool = False) -> bool:
        return bool(key_next) and key_next[-1] is is_key and self.is_merge_key(index - 1)

    def _add(self, signature: Tuple[Any, ...], event: Any) -> None:
        self.signatures.append(signature)
        self.starts.append(event.start_mark.index)
        self.ends.append(event.end_mark.index)

    def _check_scalar(self, index: int, tag: Optional[str], value: str, implicit: Tuple[bool, bool]) -> None:
        if tag is None and not (implicit[0] and value and value[0] in _NUMBER_START):
            return  # can only be text, a truth value, null or a merge key
        tag = self.scalars.tag(tag, value, implicit)
        if tag not in _SCALAR_TAGS:
            self._fail_tag(index, tag)
        try:
            self.scalars.value(tag, value)
        except (yaml.YAMLError, ValueError, OverflowError, KeyError, IndexError):
            name = tag[len(_TAG) :]
            self.fail(self.starts[index], f"this value looks like a YAML {name} but is none; quote it if it is text")

    def _fail_tag(self, index: int, tag: str) -> NoReturn:
        shown = "!!" + tag[len(_TAG) :] if tag.startswith(_TAG) else tag
        self.fail(self.starts[index], f"Tethys cannot read the tag {shown} here, nor can it be compared; remove the tag")

    # -- places ----------------------------------------------------------------------------------------------------

    def place(self, index: int) -> Tuple[int, int]:
        """Line and column, counted from 1."""
        if not self._lines:  # only made when somebody asks
            self._lines = [0, *(found.end() for found in _BREAK.finditer(self.text))]
        line = bisect_right(self._lines, index)
        return line, index - self._lines[line - 1] + 1

    def line(self, node: int) -> int:
        return self.place(self.starts[node])[0]

    def fail(self, index: int, sentence: str) -> NoReturn:
        raise PortalYamlError(sentence, *self.place(index))

    def line_start(self, index: int) -> int:
        return index - self.place(index)[1] + 1

    def line_end(self, index: int) -> int:
        """Where the line's content ends: before its line break."""
        end = self.next_line(index)
        if self.text[end - 2 : end] == "\r\n" and end - 2 >= index:
            return end - 2
        return end - 1 if end > index and _BREAK.match(self.text, end - 1) else end

    def next_line(self, index: int) -> int:
        line = self.place(index)[0]
        return self._lines[line] if line < len(self._lines) else len(self.text)

    def column(self, index: int) -> int:
        return index - self.line_start(index)

    def newline(self, index: int) -> str:
        """The line end used around `index`."""
        found = _BREAK.search(self.text, index) or _BREAK.search(self.text)
        return found.group() if found and found.group() in ("\n", "\r\n", "\r") else "\n"

    # -- structure -------------------------------------------------------------------------------------------------

    def after(self, node: int) -> int:
        """The event after a node's last one."""
        return self.close.get(node, node) + 1

    def entries(self, mapping: int) -> List[Tuple[int, int]]:
        """Key and value nodes of a mapping, as written (merge keys among them)."""
        found = []
        key = mapping + 1
        while key != self.close[mapping]:
            value = self.after(key)
            found.append((key, value))
            key = self.after(value)
        return found

    def resolved(self, node: int) -> int:
        return self.target.get(node, node)

    def is_flow(self, node: int) -> bool:
        return self.signatures[node][0] in (MAPPING, SEQUENCE) and bool(self.signatures[node][3])

    def scalar_tag(self, node: int) -> str:
        _, tag, _, value, plain = self.signatures[node]
        return self.scalars.tag(tag, value, (plain, not plain))

    def scalar(self, node: int) -> Any:
        return self.scalars.value(self.scalar_tag(node), self.signatures[node][3])

    def is_null(self, node: int) -> bool:
        return self.signatures[node][0] == SCALAR and self.scalar_tag(node) == _TAG + "null"

    def is_mapping(self, node: int) -> bool:
        kind, tag = self.signatures[node][:2]
        return kind == MAPPING and tag in (None, "!", _TAG + "map")

    def is_merge_key(self, key: int) -> bool:
        signature = self.signatures[key]
        if signature[0] != SCALAR or signature[3] != "<<":
            return False
        return self.scalar_tag(key) == _TAG + "merge"

    def find(self, mapping: int, name: Any) -> Optional[Tuple[int, int]]:
        """The entry called `name`, refused where there are two."""
        found: Optional[Tuple[int, int]] = None
        for key, value in self.entries(mapping):
            if self.is_merge_key(key) or not _equal(self.scalar_of_key(key), name):
                continue
            if found:
                self.fail(
                    self.starts[key],
                    f"the key `{name}` stands here again after line {self.line(found[0])}; remove one of the two",
                )
            found = (key, value)
        return found

    def scalar_of_key(self, key: int) -> Any:
        return self.scalar(self.resolved(key))

    def effective(self, mapping: int, budget: Optional[List[int]] = None, inside: Tuple[int, ...] = ()) -> Dict[Any, int]:
        """Key to value node, merge keys followed, in the order of precedence that PyYAML has."""
        budget = [MAX_NODES] if budget is None else budget
        if mapping in inside or len(inside) > MAX_DEPTH:
            raise _Unexpandable
        merged: Dict[Any, int] = {}
        own: Dict[Any, int] = {}
        for key, value in self.entries(mapping):
            budget[0] -= 1
            if budget[0] < 0:
                raise _Unexpandable
            if not self.is_merge_key(key):
                own[_hashable(self.scalar_of_key(key))] = value
                continue
            source = self.resolved(value)
            sources = [source]
            if self.signatures[source][0] == SEQUENCE:
                # the first of several wins
                sources = [self.resolved(item) for item in reversed(self.items(source))]
            for item in sources:
                if self.signatures[item][0] != MAPPING:
                    self.fail(self.starts[value], "a merge key `<<` takes a mapping or a list of mappings; correct it")
                merged.update(self.effective(item, budget, (*inside, mapping)))
        merged.update(own)
        return merged

    def items(self, sequence: int) -> List[int]:
        found = []
        item = sequence + 1
        while item != self.close[sequence]:
            found.append(item)
            item = self.after(item)
        return found

    def same(self, node: int, value: Any) -> bool:
        """Whether a node stands for `value`: types count (`1`, `1.0`, `true` and `'1'` differ), formatting does not.

        Walks along `value`, which is finite, so that recursive aliases end too.
        """
        node = self.resolved(node)
        kind = self.signatures[node][0]
        if isinstance(value, dict):
            if not self.is_mapping(node):
                return False
            try:
                pairs = self.effective(node)
            except _Unexpandable:
                return False
            return len(pairs) == len(value) and all(
                _hashable(key) in pairs and self.same(pairs[_hashable(key)], item) for key, item in value.items()
            )
        if isinstance(value, list):
            if kind != SEQUENCE or self.signatures[node][1] not in (None, "!", _TAG + "seq"):
                return False
            items = self.items(node)
            return len(items) == len(value) and all(self.same(item, wanted) for item, wanted in zip(items, value))
        return kind == SCALAR and not self.is_merge_key(node) and _equal(self.scalar(node), value)

    def expand(self, node: int, budget: Optional[List[int]] = None, inside: Tuple[int, ...] = ()) -> Any:
        """The Python value of a node, aliases and merge keys written out."""
        budget = [MAX_NODES] if budget is None else budget
        node = self.resolved(node)
        budget[0] -= 1
        if budget[0] < 0 or node in inside or len(inside) > MAX_DEPTH:
            raise _Unexpandable
        kind = self.signatures[node][0]
        if kind == SCALAR:
            return self.scalar(node)
        inside = (*inside, node)
        if kind == SEQUENCE:
            return [self.expand(item, budget, inside) for item in self.items(node)]
        return {key[1]: self.expand(value, budget, inside) for key, value in self.effective(node, budget).items()}

    # -- style -----------------------------------------------------------------------------------------------------

    def key_column(self, mapping: int) -> Optional[int]:
        """The column of a block mapping's keys; None where no key is written plainly."""
        for key, value in self.entries(mapping):
            start = self.line_start(self.starts[key])
            if not self.text[start : self.starts[key]].strip(" "):
                if self.signatures[self.resolved(value)][0] == END:
                    continue
                return self.starts[key] - start
        return None

    def step(self, near: Sequence[int] = ()) -> int:
        """How far this file indents: as the mapping `near` does, else as its first nested block mapping, else two."""
        for mapping in [*near, *self.close]:
            if self.signatures[mapping][0] != MAPPING or self.is_flow(mapping):
                continue
            outer = self.key_column(mapping)
            if outer is None:
                continue
            for _, value in self.entries(mapping):
                if self.signatures[value][0] == MAPPING and not self.is_flow(value):
                    inner = self.key_column(value)
                    if inner is not None and inner > outer:
                        return inner - outer
        return 2

    def indents_sequences(self) -> bool:
        """Whether a list under a key stands deeper than the key (as the first one in the file does)."""
        for sequence in self.close:
            if self.signatures[sequence][0] != SEQUENCE or self.is_flow(sequence):
                continue
            if self.text[self.starts[sequence] : self.starts[sequence] + 1] != "-":
                continue
            key = sequence - 1
            if key < 0 or self.signatures[key][0] != SCALAR or self.line(key) == self.line(sequence):
                continue
            return self.column(self.starts[sequence]) > self.column(self.starts[key])
        return True

    def quotes_keys(self, near: int) -> bool:
        """Whether the keys around stand in double quotes, as in JSON."""
        keys = [key for key, _ in self.entries(near)] or [key for key, _ in self.entries(self.root)]
        return bool(keys) and all(self.text[self.starts[key] : self.starts[key] + 1] == '"' for key in keys)

    # -- spans -----------------------------------------------------------------------------------------------------

    def content_end(self, node: int, trim: bool = True) -> int:
        """Where the last character of a node's own text ends.

        The end of a block collection is no use (it lies at the next token, beyond comments), so the last leaf in it counts.
        """
        last = self.after(node) - 1
        while self.signatures[last][0] == END and not self._closes_flow(last):
            last -= 1
        if self.signatures[last][0] in (MAPPING, SEQUENCE):  # cannot be: a block collection has a leaf
            return self.ends[last]
        end = self.ends[last]
        start = self.starts[last]
        if self.signatures[last][0] == SCALAR and end > start:
            if self.column(end) == 0 and trim:
                return self._trimmed(start, end)
            return end
        if end == start:  # an empty value: libyaml's mark lies after the white space that follows it
            while end > 0 and self.text[end - 1] in " \t\r\n":
                end -= 1
        return end

    def _trimmed(self, start: int, end: int) -> int:
        """The end of a block scalar without the blank lines after it."""
        return start + len(self.text[start:end].rstrip(" \t\r\n\x85\u2028\u2029"))

    def _closes_flow(self, end_event: int) -> bool:
        end = self.ends[end_event]
        return end > self.starts[end_event] and self.text[end - 1 : end] in ("]", "}")

    def owned_end(self, key: int, value: int, trim: bool = True) -> int:
        """Where an entry of a block mapping ends: after its last line and the comments below that stand deeper than it.

        A comment at the key's own column, or further left, belongs to what comes next.
        """
        column = self.column(self.starts[key])
        at = self.content_end(value, trim)
        if at > 0 and self.column(at) == 0:
            here = at
        else:
            here = self.next_line(at)
        end = here
        while here < len(self.text):
            line = self.text[here : self.line_end(here)]
            bare = line.lstrip(" ")
            if bare.startswith("#") and len(line) - len(bare) > column:
                end = self.next_line(here)
            elif line.strip(" \t"):
                break
            here = self.next_line(here)
        return end

    def colon(self, key: int) -> int:
        """Where the value part of a block entry begins: after the colon of its key."""
        at = self.ends[key]
        while self.text[at : at + 1] in (" ", "\t"):
            at += 1
        start = self.starts[key]
        if self.text[at : at + 1] != ":" or self.text[self.line_start(start) : start].strip(" "):
            self.fail(start, "a key written with `?`, or not on a line of its own, cannot be edited; write it as `NAME:`")
        return at + 1


def _fast_loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _hashable(value: Any) -> Tuple[str, Any]:
    """A dictionary key that keeps `1`, `1.0` and `true` apart."""
    return type(value).__name__, value


def _equal(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    return bool(left == right) or (left != left and right != right)


def plain(value: Any, what: str = "settings", depth: int = 0) -> Any:
    """A copy of `value` in plain Python types (Ansible hands over tagged and lazy ones), refused where YAML has none."""
    if depth > MAX_DEPTH:
        raise PortalYamlError(f"{what} is nested deeper than {MAX_DEPTH} levels, or contains itself")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = "".join(value)
        bad = _UNPRINTABLE.search(text)
        if bad and 0xD800 <= ord(bad.group()) <= 0xDFFF:
            raise PortalYamlError(f"{what} holds half a surrogate pair, which no UTF-8 file can; replace that character")
        return text
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        copy = {}
        for key, item in value.items():
            key = plain(key, what, depth + 1)
            if isinstance(key, (dict, list)):
                raise PortalYamlError(f"{what} has a key that is no scalar; use text")
            copy[key] = plain(item, f"{what}[{key!r}]", depth + 1)
        return copy
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{what}[{number}]", depth + 1) for number, item in enumerate(value)]
    kind = type(value).__name__
    raise PortalYamlError(f"{what} is of type {kind}; only text, numbers, true, false, null, lists and mappings can be written")


# -- writing -------------------------------------------------------------------------------------------------------


def flow(value: Any, quoted: bool = False) -> str:
    """`value` on one line, in ASCII (whatever locale Tethys opens the file with), text in double quotes if `quoted`."""

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_text(self, data: str) -> Any:
            # a line break in another style would take several lines
            double = quoted or bool(re.search("[^\x20-\x7e]", data))
            return self.represent_scalar(_TAG + "str", data, style='"' if double else None)

    Dumper.add_representer(str, Dumper.represent_text)
    # In a list of one, a scalar comes without the document end mark, and safe to stand in any flow collection.
    text: str = yaml.dump([value], Dumper=Dumper, default_flow_style=True, width=float("inf"), sort_keys=False)
    return text.strip()[1:-1]


def _inline(value: Any) -> bool:
    """Whether a value goes on its key's line in block style: scalars, empty collections, lists of scalars."""
    if isinstance(value, dict):
        return not value
    if isinstance(value, list):
        return not any(isinstance(item, (dict, list)) for item in value)
    return True


def block(value: Any, indent: int, step: int, indent_lists: bool) -> List[str]:
    """The lines of a mapping or list in block style."""
    pad = " " * indent
    lines: List[str] = []
    if isinstance(value, dict):
        for key, item in value.items():
            if _inline(item):
                lines.append(f"{pad}{flow(key)}: {flow(item)}")
            else:
                deeper = indent + (step if isinstance(item, dict) or indent_lists else 0)
                lines.append(f"{pad}{flow(key)}:")
                lines.extend(block(item, deeper, step, indent_lists))
        return lines
    for item in value:
        if isinstance(item, dict) and item:
            inner = block(item, indent + 2, step, indent_lists)
            lines.append(f"{pad}- {inner[0].lstrip(' ')}")
            lines.extend(inner[1:])
        else:
            lines.append(f"{pad}- {flow(item)}")
    return lines


def apply(text: str, edits: Iterable[Edit]) -> str:
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


class Editor:
    """Turns a wish into edits of a document, tries them, and keeps the first whose outcome is exactly the wish."""

    def __init__(self, text: str, loader: Any = None) -> None:
        self.loader = loader
        self.document = Document(text, loader)

    @property
    def text(self) -> str:
        return self.document.text

    # -- entry points ----------------------------------------------------------------------------------------------

    def settings(self) -> Optional[Tuple[int, int]]:
        doc = self.document
        entry = doc.find(doc.root, "settings")
        if entry is None:
            return None
        value = entry[1]
        if doc.signatures[value][0] == ALIAS:
            line = doc.line(doc.target[value])
            doc.fail(
                doc.starts[value],
                f"`settings` is an alias of line {line}, which a change would change too; write its entries out here",
            )
        if not doc.is_mapping(value) and not doc.is_null(value):
            doc.fail(
                doc.starts[value], "`settings` is not a mapping; write its entries below it as `NAME: value`"
            )
        return entry

    def put(self, name: str, value: Any, merge: bool = True) -> None:
        """Make the setting `name` stand for `value`; mappings are merged one level deep if `merge`."""
        doc = self.document
        entry = self.settings()
        if entry is None:
            self._insert(doc.root, "settings", {name: value}, SETTINGS_MARK)
            return
        settings = entry[1]
        if doc.is_null(settings):
            self._replace(doc.root, entry, {name: value})
            return
        found = doc.find(settings, name)
        try:
            if found is None:
                inherited = doc.effective(settings).get(_hashable(name))
                wanted = self._merged(inherited, value, merge)
                if inherited is None or not doc.same(inherited, wanted):
                    self._insert(settings, name, wanted)
                return
            old = found[1]
            merge = merge and isinstance(value, dict) and doc.is_mapping(doc.resolved(old))
            if not merge or doc.signatures[old][0] == ALIAS:
                wanted = self._merged(old, value, merge)
                if not doc.same(old, wanted):
                    self._replace(settings, found, wanted)
                return
        except _Unexpandable:
            doc.fail(
                doc.starts[settings if found is None else found[1]],
                f"`{name}` is built of aliases that contain themselves or multiply without end; write it out",
            )
        for key in value:
            self._put_entry(name, key, value[key])

    def _merged(self, old: Optional[int], value: Any, merge: bool) -> Any:
        doc = self.document
        if not merge or old is None or not isinstance(value, dict) or not doc.is_mapping(doc.resolved(old)):
            return value
        return {**doc.expand(old), **value}

    def _put_entry(self, name: str, key: Any, value: Any) -> None:
        """One entry of a setting that is a mapping already, so that the other entries keep their text."""
        doc = self.document
        entry = self.settings()
        assert entry is not None  # noqa: S101 - put() has been here
        found = doc.find(entry[1], name)
        assert found is not None  # noqa: S101
        mapping = found[1]
        inner = doc.find(mapping, key)
        if inner is None:
            try:
                inherited = doc.effective(mapping).get(_hashable(key))
            except _Unexpandable:
                inherited = None
            if inherited is None or not doc.same(inherited, value):
                self._insert(mapping, key, value)
        elif not doc.same(inner[1], value):
            self._replace(mapping, inner, value)

    def remove(self, name: str) -> None:
        """Take the entry `name` out of `settings:` (what a merge key brings in stays)."""
        doc = self.document
        entry = self.settings()
        if entry is None or doc.is_null(entry[1]):
            return
        found = doc.find(entry[1], name)
        if found is None:
            return
        self._remove(doc.root, entry, found)

    def remove_entry(self, name: str, key: Any) -> None:
        """Take one entry out of a setting that is a mapping."""
        doc = self.document
        entry = self.settings()
        if entry is None or doc.is_null(entry[1]):
            return
        found = doc.find(entry[1], name)
        if found is None or not doc.is_mapping(found[1]):
            return
        inner = doc.find(found[1], key)
        if inner is None:
            return
        if len(doc.entries(found[1])) == 1:
            self.remove(name)
        else:
            self._remove(entry[1], found, inner)

    def restore(self, name: str, keys: Optional[Sequence[Any]], source: Editor) -> None:
        """Put `name` back as it is in `source`: whole, or (with `keys`) only those entries of it."""
        there, origin = source.document, source.settings()
        was = None if origin is None or there.is_null(origin[1]) else there.find(origin[1], name)
        if keys is not None:
            old = None if was is None else there.resolved(was[1])
            entry = self.settings()
            doc = self.document
            now = None if entry is None or doc.is_null(entry[1]) else doc.find(entry[1], name)
            if now is None:
                return  # somebody took it out
            if doc.is_mapping(now[1]):
                others = [key for key, _ in doc.entries(now[1]) if doc.is_merge_key(key) or doc.scalar_of_key(key) not in keys]
                if others and (old is None or there.is_mapping(old)):
                    for key in keys:
                        inner = None if old is None else there.find(old, key)
                        if inner is None:
                            self.remove_entry(name, key)
                        else:
                            self.put(name, {key: there.expand(inner[1])})
                    return
        if was is None:
            self.remove(name)
        elif not self._splice(name, was, source):
            self.put(name, there.expand(was[1]), merge=False)

    def _splice(self, name: str, was: Tuple[int, int], source: Editor) -> bool:
        """Put the very lines of an entry back where both files are in block style and indented alike."""
        doc, there = self.document, source.document
        entry = self.settings()
        if entry is None or not doc.is_mapping(entry[1]) or doc.is_flow(entry[1]):
            return False
        now = doc.find(entry[1], name)
        if now is None or there.place(there.starts[was[0]])[1] != doc.place(doc.starts[now[0]])[1]:
            return False
        start, end = there.line_start(there.starts[was[0]]), there.owned_end(*was)
        if there.text[start : there.starts[was[0]]].strip(" ") or not there.text[start:end].endswith(("\n", "\r")):
            return False
        here = doc.line_start(doc.starts[now[0]]), doc.owned_end(*now)
        begin, after = now[0], doc.after(now[1])
        try:
            self._guard(begin, after, [doc.root, entry[1]])
            new = self._outcome(
                [(*here, there.text[start:end])], begin, after, [("key", name, there.expand(was[1]))]
            )
        except (PortalYamlError, _Unexpandable):
            return False
        if new is not None:
            self.document = new
        return new is not None

    # -- edits -----------------------------------------------------------------------------------------------------

    def _replace(self, parent: int, entry: Tuple[int, int], value: Any) -> None:
        doc = self.document
        key, old = entry
        self._guard(old, doc.after(old), [doc.root, parent])
        self._try(
            [self._replace_edits(parent, key, old, value)], old, doc.after(old), [("value", None, value)], doc.starts[key]
        )

    def _replace_edits(self, parent: int, key: int, old: int, value: Any) -> List[Edit]:
        doc, text = self.document, self.document.text
        start, end = doc.starts[old], doc.content_end(old)
        if doc.is_flow(parent):
            new = flow(value, doc.quotes_keys(parent))
            if end <= start:  # nothing was written: `{a: , b: 1}` or `{a}`
                colon = _skip_white(text, doc.ends[key])
                if text[colon : colon + 1] == ":":
                    return [(colon + 1, colon + 1, " " + new)]
                return [(doc.ends[key], doc.ends[key], ": " + new)]
            return [(start, end, new)]
        if doc.is_flow(old) and doc.close[old] != old + 1 and not _scalar(value):
            return [(start, end, flow(value, doc.quotes_keys(old) if doc.is_mapping(old) else False))]
        colon = doc.colon(key)
        key_line_end = doc.line_end(colon)
        newline = doc.newline(colon)
        inline, below = self._block_value(parent, key, value)
        lines = "".join(newline + line for line in below)
        if end <= start or end <= colon:  # nothing was written, a comment may follow
            return [(colon, colon, inline), (key_line_end, key_line_end, lines)]
        if start > key_line_end:  # written below the key, whose own line stays
            return [(colon, colon, inline), (key_line_end, doc.line_end(end), lines)]
        if doc.close.get(old, old) == old or doc.is_flow(old):
            if doc.signatures[old][0] != SCALAR or text[start : start + 1] not in ("|", ">", "&", "!"):
                # written on the key's line: what follows on the value's last line is a comment, and stays
                last = doc.line_end(end)
                return [(colon, end, inline), (last, last, lines)]
        return [(colon, doc.line_end(end), inline + lines)]

    def _block_value(self, parent: int, key: int, value: Any) -> Tuple[str, List[str]]:
        """What goes on the key's line after its colon, and the lines below."""
        if _inline(value):
            return " " + flow(value), []
        doc = self.document
        step = doc.step([parent])
        column = doc.column(doc.starts[key])
        lists = doc.indents_sequences()
        deeper = column + (step if isinstance(value, dict) or lists else 0)
        return "", block(value, deeper, step, lists)

    def _insert(self, mapping: int, key: Any, value: Any, mark: str = "") -> None:
        doc = self.document
        last = doc.close[mapping]
        self._guard(last, last, [doc.root, mapping])
        candidates = self._flow_insertions(mapping, key, value) if doc.is_flow(mapping) else []
        if not doc.is_flow(mapping):
            candidates = self._block_insertions(mapping, key, value, mark)
        inside = [("key", key, value)]
        first = mapping + 1
        tries = [(edits, first if at_start else last) for edits, at_start in candidates]
        self._try_each(tries, inside, doc.starts[mapping])

    def _flow_insertions(self, mapping: int, key: Any, value: Any) -> List[Tuple[List[Edit], bool]]:
        doc = self.document
        quoted = doc.quotes_keys(mapping)
        new = f"{flow(key, quoted)}: {flow(value, quoted)}"
        entries = doc.entries(mapping)
        opened = doc.text.index("{", doc.starts[mapping]) + 1
        if not entries:
            return [([(opened, opened, new)], True)]
        end = doc.content_end(entries[-1][1])
        return [([(end, end, ", " + new)], False), ([(opened, opened, new + ", ")], True)]

    def _block_insertions(self, mapping: int, key: Any, value: Any, mark: str) -> List[Tuple[List[Edit], bool]]:
        doc, text = self.document, self.document.text
        column = doc.key_column(mapping)
        if column is None:
            doc.fail(doc.starts[mapping], "these keys are all written with `?`; write them as `NAME:`")
        step = doc.step([mapping])
        lists = doc.indents_sequences()
        pad = " " * column
        newline = doc.newline(doc.starts[mapping])
        if _inline(value):
            lines = [f"{pad}{flow(key)}: {flow(value)}"]
        else:
            deeper = column + (step if isinstance(value, dict) or lists else 0)
            lines = [f"{pad}{flow(key)}:{mark}", *block(value, deeper, step, lists)]
        body = newline.join(lines)
        candidates: List[Tuple[List[Edit], bool]] = []
        last_key, last_value = doc.entries(mapping)[-1]
        places = [doc.owned_end(last_key, last_value), doc.owned_end(last_key, last_value, trim=False)]
        if mark:
            places.insert(0, self._document_end())
        for at in dict.fromkeys(places):
            if at == len(text) and doc.column(at):
                candidates.append(([(at, at, newline + body)], False))
            else:
                candidates.append(([(at, at, body + newline)], False))
        first = doc.line_start(doc.starts[doc.entries(mapping)[0][0]])
        candidates.append(([(first, first, body + newline)], True))
        return candidates

    def _document_end(self) -> int:
        """Where a new top-level key goes: the end of the text, or before the mark that ends the document."""
        doc = self.document
        at = doc.content_end(doc.root, trim=False)
        here = at if doc.column(at) == 0 else doc.next_line(at)
        while here < len(doc.text):
            if re.match(r"\.\.\.(\s|$)", doc.text[here : here + 4]):
                return here
            here = doc.next_line(here)
        return len(doc.text)

    def _remove(self, outer: int, holder: Tuple[int, int], entry: Tuple[int, int]) -> None:
        """Remove `entry` from the mapping that is `holder`'s value; `outer` is the mapping `holder` stands in."""
        doc = self.document
        mapping = holder[1]
        key, value = entry
        sole = len(doc.entries(mapping)) == 1
        begin, end = key, doc.after(value)
        flowing = doc.is_flow(mapping)
        wish: List[Tuple[str, Any, Any]] = []
        if sole and not flowing:
            colon = doc.colon(holder[0]) if not doc.is_flow(outer) else 0
            ours = doc.text[colon : doc.line_end(colon)] == SETTINGS_MARK
            if ours and outer == doc.root and len(doc.entries(outer)) > 1:
                # the `settings:` that came with the setting goes with it
                begin, end = holder[0], doc.after(mapping)
                key, value, mapping = holder[0], mapping, outer
            else:
                begin, end = mapping, doc.after(mapping)
                wish = [("value", None, None)]
        self._guard(begin, end, [doc.root, outer, holder[1]])
        edits = self._flow_removal(mapping, key, value) if flowing else self._block_removal(key, value)
        self._try([edits], begin, end, wish, doc.starts[key])

    def _block_removal(self, key: int, value: int) -> List[Edit]:
        doc, text = self.document, self.document.text
        doc.colon(key)  # refuses what is not written on lines of its own
        start = doc.line_start(doc.starts[key])
        end = doc.owned_end(key, value)
        if end == len(text) and doc.column(end) and start > 0:
            # the last line of a text without a final line break: the text keeps having none
            start -= 2 if text[start - 2 : start] == "\r\n" else 1
        return [(start, end, "")]

    def _flow_removal(self, mapping: int, key: int, value: int) -> List[Edit]:
        doc, text = self.document, self.document.text
        start = doc.starts[key]
        end = doc.content_end(value)
        if end < doc.ends[key]:
            end = doc.ends[key]
        if end <= doc.ends[key] or doc.starts[value] == doc.ends[value]:
            colon = _skip_white(text, doc.ends[key])
            end = max(end, colon + 1 if text[colon : colon + 1] == ":" else doc.ends[key])
        entries = doc.entries(mapping)
        place = entries.index((key, value))
        if place:
            before = doc.content_end(entries[place - 1][1])
            gap = text[before:start]
            if re.fullmatch(r"[ \t]*,[ \t]*", gap):
                return [(before, start, ""), (start, end, "")]
        comma = _skip_to_comma(text, end)
        if comma is not None:
            after = _skip_white(text, comma + 1)
            return [(start, end, ""), (end, comma, ""), (comma, after, "")] if text[end:comma].strip() == "" else [
                (start, end, ""),
                (comma, comma + 1, ""),
            ]
        if not place:
            return [(start, end, "")]
        comma = _skip_to_comma(text, doc.content_end(entries[place - 1][1]))
        return [(start, end, "")] + ([(comma, comma + 1, "")] if comma is not None else [])

    # -- safety ----------------------------------------------------------------------------------------------------

    def _guard(self, begin: int, end: int, ancestors: Sequence[int]) -> None:
        """Refuse a change whose effect would show elsewhere through an alias."""
        doc = self.document
        for alias, target in doc.target.items():
            if begin <= alias < end:
                continue
            name = doc.signatures[alias][2]
            if begin <= target < end:
                doc.fail(
                    doc.starts[alias],
                    f"*{name} refers to the anchor in line {doc.line(target)}, in the block to be changed; "
                    "write the value out here",
                )
            if target in ancestors:
                inside = target < alias < doc.close[target]
                if not inside or alias in doc.merging:
                    doc.fail(
                        doc.starts[alias],
                        f"*{name} repeats the mapping of line {doc.line(target)}, so a change there would show here too; "
                        "write the value out here",
                    )

    def _try(
        self, candidates: Sequence[List[Edit]], begin: int, end: int, wish: Sequence[Tuple[str, Any, Any]], where: int
    ) -> None:
        doc = self.document
        for edits in candidates:
            new = self._outcome(edits, begin, end, wish)
            if new is not None:
                self.document = new
                return
        doc.fail(where, "this entry is written in a way that cannot be edited without touching what is around it; rewrite it "
                        "as a plain `NAME:` with its value indented below")

    def _try_each(
        self, tries: Sequence[Tuple[List[Edit], int]], wish: Sequence[Tuple[str, Any, Any]], where: int
    ) -> None:
        doc = self.document
        for edits, at in tries:
            new = self._outcome(edits, at, at, wish)
            if new is not None:
                self.document = new
                return
        doc.fail(where, "no entry can be added to this mapping without touching what is around it; rewrite it with one "
                        "`NAME: value` on each line")

    def _outcome(
        self, edits: List[Edit], begin: int, end: int, wish: Sequence[Tuple[str, Any, Any]]
    ) -> Optional[Document]:
        """The document after the edits if events outside [begin, end) are the same and those inside are the wish."""
        old = self.document
        try:
            new = Document(apply(old.text, edits), old.loader)
        except PortalYamlError:
            return None
        size = len(new.signatures) - (len(old.signatures) - (end - begin))
        if size < 0 or new.signatures[:begin] != old.signatures[:begin]:
            return None
        if new.signatures[begin + size :] != old.signatures[end:]:
            return None
        node = begin
        for what, key, value in wish:
            if what == "key":
                if node >= begin + size or new.signatures[node][0] != SCALAR or not _equal(new.scalar(node), key):
                    return None
                node += 1
            if node >= begin + size or not new.same(node, value):
                return None
            node = new.after(node)
        return new if node == begin + size else None


def _scalar(value: Any) -> bool:
    return not isinstance(value, (dict, list))


def _skip_white(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t") and at < len(text):
        at += 1
    return at


def _skip_to_comma(text: str, at: int) -> Optional[int]:
    """The comma that follows an entry of a flow mapping; None where the mapping ends first."""
    found = re.compile(r"(?:\s|(?<=\s)#[^\n\r]*)*").match(text, at)
    at = found.end() if found else at
    return at if text[at : at + 1] == "," else None


# -- what the filter and the modules call --------------------------------------------------------------------------


def _check_names(names: Iterable[Any], what: str) -> None:
    for name in names:
        if not isinstance(name, str) or not name or _UNPRINTABLE.search(name) or _BREAK.search(name):
            raise PortalYamlError(f"{what} names the setting {name!r}; a setting's name is text on one line")


def merge_settings(
    text: str, settings: Mapping[str, Any], remove: Optional[Iterable[str]] = None, loader: Any = None
) -> str:
    """The text of a portal_config.yml with the settings set and those in `remove` taken out.

    Raises PortalYamlError. Everything outside the named settings is the same, byte for byte.
    """
    wanted = plain(settings)
    names = list(remove or [])
    _check_names(wanted, "settings")
    _check_names(names, "remove")
    both = sorted(set(wanted) & set(names))
    if both:
        raise PortalYamlError(f"the setting {both[0]!r} is both to be set and to be removed; name it once")
    bom = text[:1] == "\ufeff"
    editor = Editor(text[1:] if bom else text, loader)
    editor.settings()
    for name in names:
        editor.remove(name)
    for name, value in wanted.items():
        editor.put(name, value)
    return ("\ufeff" if bom else "") + editor.text


def decode(raw: bytes) -> str:
    """UTF-8 with or without a byte order mark, which stays in the text."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        last = max(before.rfind(b"\n"), before.rfind(b"\r"))
        line = 1 + len(re.findall(b"\r\n|[\n\r]", before))
        column = len(before[last + 1 :].decode("utf-8", "replace")) + 1
        raise PortalYamlError(
            f"the byte 0x{raw[error.start]:02X} is not UTF-8; save the file in UTF-8", line, column
        ) from None


def check_text(text: str, names: Sequence[str] = ("CHANNEL_LAYERS",)) -> None:
    """Raise PortalYamlError where the named settings cannot be changed in this text."""
    probe: Any = {"default": {"BACKEND": "a value that no portal has"}}
    merge_settings(text, {name: probe for name in names})


def check_bytes(raw: bytes, names: Sequence[str] = ("CHANNEL_LAYERS",)) -> None:
    """As check_text, for a file as read from disk."""
    check_text(decode(raw), names)


# -- going back ----------------------------------------------------------------------------------------------------

# Name of a setting to the entries that were set in it; None where it was set or removed whole.
Touched = Dict[str, Optional[List[Any]]]


def touched(settings: Mapping[str, Any], remove: Iterable[str] = ()) -> Touched:
    """What merge_settings can change with these arguments."""
    entries: Touched = {name: None for name in remove}
    for name, value in settings.items():
        entries[name] = list(value) if isinstance(value, Mapping) and value else None
    return entries


def restore_settings(text: str, original: str, entries: Touched) -> str:
    """`text`, which others have changed too, with the touched entries as they are in `original`."""
    bom = text[:1] == "\ufeff"
    editor = Editor(text[1:] if bom else text)
    source = Editor(original[1:] if original[:1] == "\ufeff" else original)
    for name, keys in entries.items():
        editor.restore(name, keys, source)
    return ("\ufeff" if bom else "") + editor.text


# -- showing -------------------------------------------------------------------------------------------------------

MASK = "********"
_SECRET_NAME = re.compile("pass|pwd|secret|key|token|cred|auth", re.IGNORECASE)
_USERINFO = re.compile("(?<=://).*@", re.DOTALL)
_ASSIGNMENT = re.compile("((?:pass|pwd|secret|key|token|cred|auth)[a-z_]*=)[^&;, ]+", re.IGNORECASE)


def secrets(value: Any, name: str = "") -> Set[str]:
    """Every text in a value that is a secret by its name, or by its place in a URL."""
    found: Set[str] = set()
    if isinstance(value, dict):
        for key, item in value.items():
            found |= secrets(item, str(key) if not _SECRET_NAME.search(name) else name)
    elif isinstance(value, list):
        for item in value:
            found |= secrets(item, name)
    elif value is not None and not isinstance(value, bool):
        text = str(value)
        if _SECRET_NAME.search(name):
            found.add(text)
        else:
            for part in _USERINFO.findall(text):
                found |= {part[:-1], part[:-1].partition(":")[2]}
            found |= {match.group().partition("=")[2] for match in _ASSIGNMENT.finditer(text)}
    return found - {""}


def _masked(value: Any, other: Any, name: str = "") -> Any:
    """`value` without its secrets; one that hides a difference to `other` says so."""
    if isinstance(value, dict) and not _SECRET_NAME.search(name):
        get = other.get if isinstance(other, dict) else lambda _key: None
        return {key: _masked(item, get(key), str(key)) for key, item in value.items()}
    if isinstance(value, list) and not _SECRET_NAME.search(name):
        others = other if isinstance(other, list) else []
        return [_masked(item, others[at] if at < len(others) else None, name) for at, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if _SECRET_NAME.search(name):
        shown = MASK
    elif isinstance(value, str):
        shown = _ASSIGNMENT.sub(rf"\g<1>{MASK}", _USERINFO.sub(MASK + "@", value))
        if shown == value:
            return value
    else:
        return value
    return shown + " (changed)" if other is not None and other != value else shown


def masked_blocks(before: str, after: str, entries: Touched) -> Tuple[str, str]:
    """The touched settings in two texts, in one canonical form, secrets masked: what a diff may show."""
    old, new = _values(before, entries), _values(after, entries)
    return _rendered(_masked(old, None)), _rendered(_masked(new, old))


def _values(text: str, entries: Touched) -> Dict[str, Any]:
    editor = Editor(text[1:] if text[:1] == "\ufeff" else text)
    doc, entry = editor.document, editor.settings()
    found: Dict[str, Any] = {}
    for name, keys in entries.items():
        setting = None if entry is None or doc.is_null(entry[1]) else doc.find(entry[1], name)
        if setting is None:
            continue
        try:
            value = doc.expand(setting[1])
        except _Unexpandable:
            value = "(built of aliases without end)"
        if keys is not None and isinstance(value, dict):
            value = {key: item for key, item in value.items() if key in keys}
        found[name] = value
    return found


def _rendered(values: Dict[str, Any]) -> str:
    if not values:
        return ""
    return "\n".join(block({"settings": _writable(values)}, 0, 2, True)) + "\n"


def _writable(value: Any) -> Any:
    """Values that only an old file can hold (dates, bytes) as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, (str, int, float)) else str(key): _writable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)
