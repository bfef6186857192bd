# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write single entries into the text of a portal_config.yml.

See portal_yaml.py for what this is for.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, List, Sequence, Tuple

from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_document import (
    ALIAS,
    Document,
    Unexpandable,
    hashable,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_lines import PortalYamlError
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml_text import block, flow, inline

# Written after a new `settings:`, so that it can be removed again with the last setting in it.
SETTINGS_MARK = "  # added by tethys.channels"

Edit = Tuple[int, int, str]
# Edits, and which events of the document they are to change
Try = Tuple[List[Edit], int, int]


# -- writing -------------------------------------------------------------------------------------------------------


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

    def settings(self) -> tuple[int, int] | None:
        doc = self.document
        entry = doc.find(doc.root, "settings")
        if entry is None:
            try:
                inherited = doc.effective(doc.root).get(hashable("settings"))
            except Unexpandable:
                inherited = doc.root
            if inherited is not None:
                doc.fail(
                    doc.starts[inherited], "`settings` comes in by a merge key `<<`; write it out at the top level"
                )
            return None
        value = entry[1]
        if doc.signatures[value][0] == ALIAS:
            line = doc.line(doc.target[value])
            doc.fail(
                doc.starts[value],
                f"`settings` is an alias of line {line}, which a change would change too; write its entries out here",
            )
        if not doc.is_mapping(value) and not doc.is_null(value):
            doc.fail(doc.starts[value], "`settings` is not a mapping; write its entries below it as `NAME: value`")
        return entry

    def setting(self, name: str) -> tuple[int, int] | None:
        """The entry `name` below `settings:`, as written."""
        entry = self.settings()
        if entry is None or self.document.is_null(entry[1]):
            return None
        return self.document.find(entry[1], name)

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
                inherited = doc.effective(settings).get(hashable(name))
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
        except Unexpandable:
            doc.fail(
                doc.starts[settings if found is None else found[1]],
                f"`{name}` is built of aliases or tags that cannot be written out; write it without them",
            )
        for key in value:
            self._put_entry(name, key, value[key])

    def _merged(self, old: int | None, value: Any, merge: bool) -> Any:
        doc = self.document
        if not merge or old is None or not isinstance(value, dict) or not doc.is_mapping(doc.resolved(old)):
            return value
        return {**doc.expand(old), **value}

    def _put_entry(self, name: str, key: Any, value: Any) -> None:
        """One entry of a setting that is a mapping already, so that the other entries keep their text."""
        doc, found = self.document, self.setting(name)
        if found is None:
            return
        mapping = found[1]
        inner = doc.find(mapping, key)
        if inner is not None:
            if not doc.same(inner[1], value):
                self._replace(mapping, inner, value)
            return
        try:
            inherited = doc.effective(mapping).get(hashable(key))
        except Unexpandable:
            inherited = None
        if inherited is None or not doc.same(inherited, value):
            self._insert(mapping, key, value)

    def remove(self, name: str) -> None:
        """Take the entry `name` out of `settings:` (what a merge key brings in stays)."""
        entry, found = self.settings(), self.setting(name)
        if entry is not None and found is not None:
            self._remove(self.document.root, entry, found)

    def remove_entry(self, name: str, key: Any) -> None:
        """Take one entry out of a setting that is a mapping."""
        doc = self.document
        entry, found = self.settings(), self.setting(name)
        if entry is None or found is None or not doc.is_mapping(found[1]):
            return
        inner = doc.find(found[1], key)
        if inner is None:
            return
        if len(doc.entries(found[1])) == 1:
            self.remove(name)
        else:
            self._remove(entry[1], found, inner)

    def restore(self, name: str, keys: Sequence[Any] | None, source: Editor) -> None:
        """Restore `name` from `source`: whole, or (with `keys`) only those entries of it."""
        there, doc = source.document, self.document
        was, now = source.setting(name), self.setting(name)
        try:
            if keys is not None and now is None:
                return  # somebody took it out
            if keys is not None and now is not None and doc.is_mapping(now[1]):
                others = [k for k, _v in doc.entries(now[1]) if doc.is_merge_key(k) or doc.scalar_of_key(k) not in keys]
                if others:
                    old = None if was is None else there.resolved(was[1])
                    for key in keys:
                        inner = None if old is None or not there.is_mapping(old) else there.find(old, key)
                        if inner is None:
                            self.remove_entry(name, key)
                        else:
                            self.put(name, {key: there.expand(inner[1])})
                    return
            if was is None:
                self.remove(name)
            elif not self._splice(name, was, source):
                self.put(name, there.expand(was[1]), merge=False)
        except Unexpandable:
            raise PortalYamlError(
                f"`{name}` was built of aliases that cannot be written out; restore it by hand"
            ) from None

    def _splice(self, name: str, was: tuple[int, int], source: Editor) -> bool:
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
            self._guard(begin, after)
            new = self._outcome([(*here, there.text[start:end])], begin, after, [name, there.expand(was[1])])
        except (PortalYamlError, Unexpandable):
            return False
        if new is not None:
            self.document = new
        return new is not None

    # -- edits -----------------------------------------------------------------------------------------------------

    def _replace(self, parent: int, entry: tuple[int, int], value: Any) -> None:
        doc = self.document
        key, old = entry
        end = doc.after(old)
        self._guard(old, end)
        edits = self._flow_replacement if doc.is_flow(parent) else self._block_replacement
        self._try([(edits(parent, key, old, value), old, end)], [value], doc.starts[key])

    def _flow_replacement(self, parent: int, key: int, old: int, value: Any) -> list[Edit]:
        doc = self.document
        new = flow(value, doc.quotes_keys(parent))
        if doc.starts[old] < doc.ends[old]:
            return [(doc.starts[old], doc.ends[doc.after(old) - 1], new)]
        # Nothing was written: `{a: , b: 1}` or `{a}`
        colon = self._flow_colon(key)
        return [(colon, colon, " " + new)] if colon else [(doc.ends[key], doc.ends[key], ": " + new)]

    def _block_replacement(self, parent: int, key: int, old: int, value: Any) -> list[Edit]:
        doc = self.document
        start, end = doc.starts[old], doc.content_end(old)
        leaf = old not in doc.close or doc.is_flow(old)
        if doc.is_flow(old) and doc.close[old] > old + 1 and isinstance(value, (dict, list)):
            return [(start, end, flow(value, doc.is_mapping(old) and doc.quotes_keys(old)))]
        colon = doc.colon(key)
        key_line_end = doc.line_end(colon)
        newline = doc.newline(colon)
        inline, below = self._block_value(parent, key, value)
        lines = "".join(newline + line for line in below)
        if doc.is_null(old) and below:
            # Comments below the key, instead of a value, stay with it.
            at = doc.owned_end(key, old)
            if doc.column(at) == 0:
                lines = newline.join([*below, ""])
            return [(colon, max(colon, end), ""), (at, at, lines)]
        if start > key_line_end:  # written below the key, whose own line stays, as do comments above the value
            if below:
                return [(doc.line_start(start), doc.line_end(end), newline.join(below))]
            return [(colon, colon, inline), (key_line_end, doc.line_end(end), "")]
        last = doc.line_end(end)
        if leaf:  # what follows on the value's last line is a comment, and stays
            return [(colon, max(colon, end), inline), (last, last, lines)]
        return [(colon, last, inline + lines)]

    def _block_value(self, parent: int, key: int, value: Any) -> tuple[str, list[str]]:
        """What goes on the key's line after its colon, and the lines below."""
        if inline(value):
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
        self._guard(last, last)
        if doc.is_flow(mapping):
            tries = self._flow_insertions(mapping, key, value)
        else:
            tries = self._block_insertions(mapping, key, value, mark)
        self._try(tries, [key, value], doc.starts[mapping])

    def _flow_insertions(self, mapping: int, key: Any, value: Any) -> list[Try]:
        doc = self.document
        quoted = doc.quotes_keys(mapping)
        new = f"{flow(key, quoted)}: {flow(value, quoted)}"
        entries = doc.entries(mapping)
        first, last = mapping + 1, doc.close[mapping]
        opened = doc.text.index("{", doc.starts[mapping]) + 1
        if not entries:
            return [([(opened, opened, new)], first, first)]
        key, value = entries[-1]
        end = doc.content_end(value)
        indent = doc.text[doc.line_start(doc.starts[key]) : doc.starts[key]]
        own_line = not indent.strip(" \t") and not doc.text[end : doc.line_end(end)].strip(" \t")
        gap = doc.newline(end) + indent if own_line else " "
        return [([(end, end, "," + gap + new)], last, last), ([(opened, opened, new + ", ")], first, first)]

    def _block_insertions(self, mapping: int, key: Any, value: Any, mark: str) -> list[Try]:
        doc, text = self.document, self.document.text
        column = doc.key_column(mapping)
        if column is None:
            doc.fail(doc.starts[mapping], "these keys are all written with `?`; write them as `NAME:`")
        step = doc.step([mapping])
        lists = doc.indents_sequences()
        pad = " " * column
        newline = doc.newline(doc.starts[mapping])
        if inline(value):
            lines = [f"{pad}{flow(key)}: {flow(value)}"]
        else:
            deeper = column + (step if isinstance(value, dict) or lists else 0)
            lines = [f"{pad}{flow(key)}:{mark}", *block(value, deeper, step, lists)]
        body = newline.join(lines)
        entries = doc.entries(mapping)
        places = [doc.owned_end(*entries[-1]), doc.owned_end(*entries[-1], trim=False)]
        if mark:
            places.insert(0, self._document_end())
        first, last = mapping + 1, doc.close[mapping]
        tries: list[Try] = []
        for at in dict.fromkeys(places):
            ends_file = at == len(text) and doc.column(at) > 0  # without a line end, and so it stays
            tries.append(([(at, at, newline + body if ends_file else body + newline)], last, last))
        # After a block scalar that ends the file, a line end would become part of the scalar.
        top = doc.line_start(doc.starts[entries[0][0]])
        tries.append(([(top, top, body + newline)], first, first))
        return tries

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

    def _remove(self, outer: int, holder: tuple[int, int], entry: tuple[int, int]) -> None:
        """Remove `entry` from the mapping that is `holder`'s value; `outer` is the mapping `holder` stands in."""
        doc = self.document
        mapping = holder[1]
        key, value = entry
        begin, end, wish = key, doc.after(value), []
        if doc.is_flow(mapping):
            spans = self._flow_removals(mapping, key, value)
        else:
            if len(doc.entries(mapping)) == 1:
                colon = doc.colon(holder[0])
                ours = doc.text[colon : doc.line_end(colon)] == SETTINGS_MARK
                if ours and outer == doc.root and len(doc.entries(outer)) > 1:
                    # the `settings:` that came with the setting goes with it
                    begin, (key, value) = holder[0], holder
                else:
                    begin, wish = mapping, [None]
                end = doc.after(mapping)
            spans = self._block_removals(key, value)
        self._guard(begin, end)
        self._try([(edits, begin, end) for edits in spans], wish, doc.starts[key])

    def _block_removals(self, key: int, value: int) -> list[list[Edit]]:
        doc, text = self.document, self.document.text
        doc.colon(key)  # refuses what is not on separate lines
        start, end = doc.line_start(doc.starts[key]), doc.owned_end(key, value)
        found: list[list[Edit]] = []
        if end == len(text) and doc.column(end) and start > 0:
            # The last line of a text without a final line end: the text keeps having none, unless it ends in a block
            # scalar then, whose value would change.
            found.append([(start - (2 if text[start - 2 : start] == "\r\n" else 1), end, "")])
        # Blank lines below would become part of a `|+` scalar above.
        blank = end
        while blank < len(text) and not text[blank : doc.line_end(blank)].strip(" \t"):
            blank = doc.next_line(blank)
        return [*found, [(start, end, "")], [(start, blank, "")]]

    def _flow_removals(self, mapping: int, key: int, value: int) -> list[list[Edit]]:
        doc, text = self.document, self.document.text
        start, end = doc.starts[key], doc.ends[doc.after(value) - 1]
        if doc.starts[value] == doc.ends[value]:
            end = self._flow_colon(key) or doc.ends[key]
        entries = doc.entries(mapping)
        place = entries.index((key, value))
        before = doc.content_end(entries[place - 1][1]) if place else start
        found: list[list[Edit]] = []
        comma = _comma(text, end)
        line_start, rest_of_line = doc.line_start(start), text[comma or end : doc.line_end(comma or end)]
        if comma and not text[line_start:start].strip(" \t") and re.fullmatch(r"[ \t]*(#.*)?", rest_of_line):
            found.append([(line_start, doc.next_line(comma), "")])  # on separate lines, with a comment perhaps
        if re.fullmatch(r"\s*,\s*", text[before:start]):
            found.append([(before, end, "")])
        if comma:
            rest = re.compile(r"[ \t]*").match(text, comma)
            found.append([(start, end, ""), (comma - 1, rest.end() if rest else comma, "")])
        comma = _comma(text, before) if place else None
        if comma:
            found.append([(comma - 1, comma, ""), (start, end, "")])
        return [*found, [(start, end, "")]]

    def _flow_colon(self, key: int) -> int | None:
        """The end of the colon after a key in a flow mapping, where one is written."""
        found = re.compile(r"[ \t]*:").match(self.document.text, self.document.ends[key])
        return found.end() if found else None

    # -- safety ----------------------------------------------------------------------------------------------------

    def _guard(self, begin: int, end: int) -> None:
        """Refuse a change to the events [begin, end) whose effect would show elsewhere through an alias."""
        doc = self.document
        for alias, target in doc.target.items():
            if begin <= alias < end:
                continue
            name, line = doc.signatures[alias][2], doc.line(target)
            if begin <= target < end:
                doc.fail(
                    doc.starts[alias],
                    f"*{name} refers to the anchor in line {line}, in what is to be changed; write its value out here",
                )
            around = target < begin and doc.close.get(target, -1) >= end
            # A collection that contains itself is still itself afterwards; a merge makes a copy.
            itself = target < alias < doc.close.get(target, -1) and alias not in doc.merging
            if around and not itself:
                doc.fail(
                    doc.starts[alias],
                    f"*{name} repeats the mapping of line {line}, so a change there would show here too; "
                    "write its value out here",
                )

    def _try(self, tries: Sequence[Try], wish: Sequence[Any], where: int) -> None:
        for edits, begin, end in tries:
            new = self._outcome(edits, begin, end, wish)
            if new is not None:
                self.document = new
                return
        self.document.fail(
            where,
            "this cannot be edited without touching what is around it; write it in block style, each entry on a"
            " separate line as `NAME: value`",
        )

    def _outcome(self, edits: list[Edit], begin: int, end: int, wish: Sequence[Any]) -> Document | None:
        """The document after the edits, if its events outside [begin, end) are the same and those inside the wish."""
        old = self.document
        try:
            new = Document(apply(old.text, edits), old.loader)
        except PortalYamlError:
            return None
        until = end + len(new.signatures) - len(old.signatures)
        if new.signatures[:begin] != old.signatures[:begin] or new.signatures[until:] != old.signatures[end:]:
            return None
        node = begin
        for value in wish:
            if node >= until or not new.same(node, value):
                return None
            node = new.after(node)
        return new if node == until else None


def _comma(text: str, at: int) -> int | None:
    """Where the comma after an entry of a flow mapping ends; None where the mapping ends first."""
    found = re.compile(r"(?:\s|(?<=\s)#[^\n\r]*)*,").match(text, at)
    return found.end() if found else None
