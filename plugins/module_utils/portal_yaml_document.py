# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the text of a portal_config.yml: where everything in it stands, and what it means.

See portal_yaml.py for what this is for.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn, Sequence

from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_lines import Lines, PortalYamlError

try:
    import yaml as _yaml

    HAS_YAML = True
except ImportError:  # the modules then start again with an interpreter that has it
    _yaml = None  # type: ignore[assignment,unused-ignore]
    HAS_YAML = False

yaml: Any = _yaml

# Tethys reads the file with PyYAML's own SafeLoader, so that is the reader that counts. It takes about 10 s for a
# megabyte; libyaml's takes a tenth of a second, and differs from it only in where tabs may stand.
PURE_LIMIT = 32 * 1024
# Deeper than any configuration, and far from where PyYAML's recursive composer (and so Tethys) gives up.
MAX_DEPTH = 64
# How many nodes an old value may have once its aliases and merge keys are written out ("billion laughs").
MAX_NODES = 100_000

TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {TAG + name for name in ("null", "bool", "int", "float", "binary", "timestamp", "str")}
_MAPPING_TAGS = {TAG + "map", TAG + "set"}
_SEQUENCE_TAGS = {TAG + "seq", TAG + "omap", TAG + "pairs"}
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MERGE = TAG + "merge"
_VALUE = TAG + "value"  # `=`; as a key PyYAML takes it for text
# Plain text that begins otherwise is text, a truth value or null, which all can be read.
_NEEDS_LOOK = frozenset("0123456789+-.<=")

SCALAR, ALIAS, SEQUENCE, MAPPING, END = "scalar", "alias", "sequence", "mapping", "end"


class Unexpandable(Exception):
    """An old value that cannot be written out: it contains itself, or its aliases multiply without end."""


class _Open:
    """A collection that is being read."""

    __slots__ = ("key_next", "merging", "node")

    def __init__(self, node: int, key_next: bool | None, merging: bool) -> None:
        self.node = node
        self.key_next = key_next  # whether a mapping's next node is a key; None in a list
        self.merging = merging  # a mapping: after a merge key; a list: the value of a merge key


class Document(Lines):
    """One parsed text: its YAML events in order, with their place in the text.

    A node is the index of its first event. `signatures` hold all of an event but its place, so that two texts can be
    compared slice by slice, which needs no recursion and does not follow aliases.
    """

    def __init__(self, text: str, loader: Any = None) -> None:
        super().__init__(text)
        self.loader = loader or (_fast_loader() if len(text) > PURE_LIMIT else yaml.SafeLoader)
        # PyYAML's rules for what a scalar means (`yes` is true, `08` is text)
        self.scalars = yaml.SafeLoader("")
        self.signatures: list[tuple[Any, ...]] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.close: dict[int, int] = {}
        self.target: dict[int, int] = {}
        self.merging: set[int] = set()  # aliases that a merge key takes up
        self._anchors: dict[str, int] = {}
        self._open: list[_Open] = []
        self._read()
        self.root = 0

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        bad = UNPRINTABLE.search(self.text)
        if bad:
            self.fail(bad.start(), f"the character U+{ord(bad.group()):04X} is not allowed in YAML; remove it")
        loader = self.loader(self.text)
        try:
            self._read_events(loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
            parts = [getattr(error, name, None) for name in ("context", "problem")]
            what = " ".join(part for part in parts if part) or "unreadable"
            where = min(mark.index, len(self.text)) if mark else 0  # marks of a stream's end can lie one past it
            if self.text[where : where + 1] == "\t":
                self.fail(where, "this is not YAML (a tab cannot stand here); use spaces")
            self.fail(where, f"this is not YAML ({what}); correct it")
        except (IndexError, KeyError, ValueError, OverflowError) as error:
            # PyYAML's scanner does not catch some of these, such as chr() of an escape that is not a character
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
        kinds = yaml.events
        documents = 0
        while True:
            event = loader.get_event()
            if event is None:
                return
            kind = type(event)
            if kind is kinds.ScalarEvent:
                self._read_scalar(event)
            elif kind is kinds.MappingStartEvent or kind is kinds.SequenceStartEvent:
                self._read_collection(event, kind is kinds.MappingStartEvent)
            elif kind is kinds.MappingEndEvent or kind is kinds.SequenceEndEvent:
                self.close[self._open.pop().node] = self._add((END,), event)
            elif kind is kinds.AliasEvent:
                self._read_alias(event)
            elif kind is kinds.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    where = event.start_mark.index
                    self.fail(where, "a second document begins here; Tethys reads a single one, so remove this `---`")

    def _add(self, signature: tuple[Any, ...], event: Any) -> int:
        self.signatures.append(signature)
        self.starts.append(event.start_mark.index)
        self.ends.append(event.end_mark.index)
        return len(self.signatures) - 1

    def _read_scalar(self, event: Any) -> None:
        value, plain = event.value, event.implicit[0]
        node = self._add((SCALAR, event.tag, event.anchor, value, plain), event)
        merges = False
        if event.tag is not None or (plain and value and value[0] in _NEEDS_LOOK and not value.isdecimal()):
            tag = self.scalar_tag(node)
            key = self._expects_key()
            merges = key and tag == _MERGE
            if not merges and not (key and tag == _VALUE):
                if tag not in _SCALAR_TAGS:
                    self._fail_tag(node, tag, value)
                self._check_value(node, tag)
        self._anchor(node, event.anchor)
        self._placed(node, SCALAR, merges)

    def _read_collection(self, event: Any, mapping: bool) -> None:
        kind, tags = (MAPPING, _MAPPING_TAGS) if mapping else (SEQUENCE, _SEQUENCE_TAGS)
        node = self._add((kind, event.tag, event.anchor, bool(event.flow_style)), event)
        if event.tag not in (None, "!") and event.tag not in tags:
            self._fail_tag(node, event.tag, "")
        if len(self._open) >= MAX_DEPTH:
            self.fail(self.starts[node], f"nested deeper than {MAX_DEPTH} levels; no configuration needs that")
        self._anchor(node, event.anchor)
        merge_list = self._placed(node, kind) and not mapping
        self._open.append(_Open(node, True if mapping else None, merge_list))

    def _read_alias(self, event: Any) -> None:
        node = self._add((ALIAS, None, event.anchor), event)
        if event.anchor not in self._anchors:
            self.fail(self.starts[node], f"the alias *{event.anchor} has no anchor before it; define it")
        target = self.target[node] = self._anchors[event.anchor]
        kind = self.signatures[target][0]
        if self.is_merge_key(target):
            self.fail(self.starts[node], f"*{event.anchor} is an alias of a merge key; write `<<` here")
        if self._placed(node, kind):
            self.merging.add(node)
            if kind == SEQUENCE:
                items = self.items(target) if target in self.close else [target]
                if any(self.signatures[self.resolved(item)][0] != MAPPING for item in items):
                    self._fail_merge(node)

    def _expects_key(self) -> bool:
        return bool(self._open) and self._open[-1].key_next is True

    def _placed(self, node: int, kind: str, merges: bool = False) -> bool:
        """Note that the open collection has got another node; True where a merge key takes this node up."""
        if not self._open:
            return False
        parent = self._open[-1]
        if parent.key_next is None:
            if parent.merging and kind != MAPPING:
                self._fail_merge(node)
            return parent.merging
        if parent.key_next:
            if kind != SCALAR:
                self.fail(self.starts[node], f"a {kind} cannot be a key in a Tethys configuration; use text")
            parent.key_next, parent.merging = False, merges
            return False
        parent.key_next = True
        if parent.merging and kind == SCALAR:
            self._fail_merge(node)
        return parent.merging

    def _anchor(self, node: int, name: str | None) -> None:
        if name is None:
            return
        if name in self._anchors:
            line = self.line(self._anchors[name])
            self.fail(self.starts[node], f"the anchor &{name} is in line {line} too, which Tethys refuses; rename one")
        self._anchors[name] = node

    def _check_value(self, node: int, tag: str) -> None:
        try:
            self.scalar(node)
        except (yaml.YAMLError, ValueError, OverflowError, KeyError, IndexError):
            name = tag[len(TAG) :]
            self.fail(self.starts[node], f"this value looks like a YAML {name} but is not one; quote it if it is text")

    def _fail_merge(self, node: int) -> NoReturn:
        self.fail(self.starts[node], "a merge key `<<` takes a mapping or a list of mappings; correct its value")

    def _fail_tag(self, node: int, tag: str, value: str) -> NoReturn:
        if tag in (_MERGE, _VALUE):
            self.fail(
                self.starts[node], f"`{value}` has a special meaning in YAML, which Tethys refuses here; quote it"
            )
        shown = "!!" + tag[len(TAG) :] if tag.startswith(TAG) else tag
        self.fail(self.starts[node], f"Tethys cannot read the tag {shown} here, nor can it be compared; remove the tag")

    # -- places ----------------------------------------------------------------------------------------------------

    def line(self, node: int) -> int:
        return self.place(self.starts[node])[0]

    # -- structure -------------------------------------------------------------------------------------------------

    def after(self, node: int) -> int:
        """The event after a node's last one."""
        return self.close.get(node, node) + 1

    def entries(self, mapping: int) -> list[tuple[int, int]]:
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
        _kind, tag, _style, value, plain = self.signatures[node]
        return str(self.scalars.resolve(yaml.ScalarNode, value, (plain, not plain)) if tag in (None, "!") else tag)

    def scalar(self, node: int) -> Any:
        tag = self.scalar_tag(node)
        return self.scalars.construct_object(
            yaml.ScalarNode(TAG + "str" if tag == _VALUE else tag, self.signatures[node][3])
        )

    def is_null(self, node: int) -> bool:
        return self.signatures[node][0] == SCALAR and self.scalar_tag(node) == TAG + "null"

    def is_mapping(self, node: int) -> bool:
        kind, tag = self.signatures[node][:2]
        return kind == MAPPING and tag in (None, "!", TAG + "map")

    def is_merge_key(self, key: int) -> bool:
        signature = self.signatures[key]
        if signature[0] != SCALAR or signature[3] != "<<":
            return False
        return self.scalar_tag(key) == _MERGE

    def find(self, mapping: int, name: Any) -> tuple[int, int] | None:
        """The entry called `name`, refused where there are two."""
        found: tuple[int, int] | None = None
        for key, value in self.entries(mapping):
            if self.is_merge_key(key) or not equal(self.scalar_of_key(key), name):
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

    def effective(self, mapping: int, budget: list[int] | None = None, inside: tuple[int, ...] = ()) -> dict[Any, int]:
        """Key to value node, merge keys followed, in the order of precedence that PyYAML has."""
        budget = [MAX_NODES] if budget is None else budget
        if mapping in inside or len(inside) > MAX_DEPTH:
            raise Unexpandable
        merged: dict[Any, int] = {}
        own: dict[Any, int] = {}
        for key, value in self.entries(mapping):
            budget[0] -= 1
            if budget[0] < 0:
                raise Unexpandable
            if not self.is_merge_key(key):
                own[hashable(self.scalar_of_key(key))] = value
                continue
            source = self.resolved(value)
            # the first of several wins
            sources = list(reversed(self.items(source))) if self.signatures[source][0] == SEQUENCE else [source]
            for item in map(self.resolved, sources):
                merged.update(self.effective(item, budget, (*inside, mapping)))
        merged.update(own)
        return merged

    def items(self, sequence: int) -> list[int]:
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
            except Unexpandable:
                return False
            return len(pairs) == len(value) and all(
                hashable(key) in pairs and self.same(pairs[hashable(key)], item) for key, item in value.items()
            )
        if isinstance(value, list):
            if kind != SEQUENCE or self.signatures[node][1] not in (None, "!", TAG + "seq"):
                return False
            items = self.items(node)
            return len(items) == len(value) and all(self.same(item, wanted) for item, wanted in zip(items, value))
        return kind == SCALAR and not self.is_merge_key(node) and equal(self.scalar(node), value)

    def expand(self, node: int, budget: list[int] | None = None, inside: tuple[int, ...] = ()) -> Any:
        """The Python value of a node, aliases and merge keys written out."""
        budget = [MAX_NODES] if budget is None else budget
        node = self.resolved(node)
        budget[0] -= 1
        if budget[0] < 0 or node in inside or len(inside) > MAX_DEPTH:
            raise Unexpandable
        kind = self.signatures[node][0]
        if kind == SCALAR:
            return self.scalar(node)
        if self.signatures[node][1] not in (None, "!", TAG + "map", TAG + "seq"):
            raise Unexpandable  # an ordered mapping or a set would become something else
        inside = (*inside, node)
        if kind == SEQUENCE:
            return [self.expand(item, budget, inside) for item in self.items(node)]
        return {key[1]: self.expand(value, budget, inside) for key, value in self.effective(node, budget).items()}

    # -- style -----------------------------------------------------------------------------------------------------

    def key_column(self, mapping: int) -> int | None:
        """The column of a block mapping's keys; None where no key is written plainly."""
        for key, _value in self.entries(mapping):
            start = self.line_start(self.starts[key])
            if not self.text[start : self.starts[key]].strip(" "):
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
            for _key, value in self.entries(mapping):
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
        keys = [key for key, _value in self.entries(near)]
        keys = keys or [key for key, _value in self.entries(self.root)]
        return bool(keys) and all(self.text[self.starts[key] : self.starts[key] + 1] == '"' for key in keys)

    # -- spans -----------------------------------------------------------------------------------------------------

    def content_end(self, node: int, trim: bool = True) -> int:
        """Where the last character of a node's own text ends.

        The end of a block collection is no use (it lies at the next token, beyond comments): its last leaf counts.
        """
        last = self.after(node) - 1
        while self.signatures[last][0] == END and not self._closes_flow(last):
            last -= 1
        start, end = self.starts[last], self.ends[last]
        if end == start or (trim and self.column(end) == 0):
            # An empty value, whose mark may lie beyond white space (libyaml), or a block scalar with blank lines.
            return len(self.text[:end].rstrip(" \t\r\n\x85\u2028\u2029"))
        return end

    def _closes_flow(self, end_event: int) -> bool:
        end = self.ends[end_event]
        return end > self.starts[end_event] and self.text[end - 1 : end] in ("]", "}")

    def owned_end(self, key: int, value: int, trim: bool = True) -> int:
        """Where an entry of a block mapping ends: after its last line and the comments below that stand deeper than it.

        A comment at the key's own column, or further left, belongs to what comes next.
        """
        column = self.column(self.starts[key])
        at = self.content_end(value, trim)
        here = at if at > 0 and self.column(at) == 0 else self.next_line(at)
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
            self.fail(start, "a key written with `?`, or not on a separate line, cannot be edited; write it as `NAME:`")
        return at + 1


def _fast_loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def hashable(value: Any) -> tuple[str, Any]:
    """A dictionary key that keeps `1`, `1.0` and `true` apart."""
    return type(value).__name__, value


def equal(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    # Only what is no number (NaN) is unlike itself.
    return bool(left == right) or (left != left and right != right)  # pylint: disable=comparison-with-itself
