# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""merge_settings over files from hypothesis, checked with PyYAML and with where the generator put the span."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml import PortalYamlError, merge_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# `make bench` runs 5,000 of each kind, see tests/bench/bench_merge_settings.py
EXAMPLES = int(os.environ.get("TETHYS_EXAMPLES", "150"))
LAYER = {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {"hosts": [{"host": "127.0.0.1", "port": 6379, "password": "p:#'\"é"}], "capacity": 100},
}

relaxed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@dataclass(frozen=True)
class File:
    """A generated file: what is before the setting's span, the span, what is after, all with their line ends."""

    before: str
    span: str
    after: str

    @property
    def text(self) -> str:
        return self.before + self.span + self.after


WORDS = st.sampled_from(
    [
        "a",
        "yes",
        "None",
        "0755",
        "1.5",
        "2026-01-02",
        "x y",
        "it's",
        "http://a:b@c/d?e#f",
        "é",
        "日本",
        "🐟",
        "~",
        "- a",
        "#no",
        "k: v",
        "*",
        "&",
        "%",
    ]
)
COMMENT = st.sampled_from(["#", "# note", "# CHANNEL_LAYERS:", "#   default: x", "# settings:", "# é 日本", "#\ttab"])


def quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def value_lines(draw: st.DrawFn, indent: int, step: int, anchors: list[str]) -> tuple[str, list[str]]:
    """What stands behind a neighbour's colon, and the lines below."""
    pad = " " * (indent + step)
    word = draw(WORDS)
    comment = draw(st.sampled_from(["", "", "  " + draw(COMMENT)]))
    kind = draw(st.integers(0, 15))
    deep = draw(st.lists(COMMENT, max_size=2))
    if kind == 0:
        return comment, []
    if kind == 1:
        return f" {quoted(word)}{comment}", []
    if kind == 2:
        return " '" + word.replace("'", "''") + "'" + comment, []
    if kind == 3:
        return f" [{quoted(word)}, b]{comment}", []
    if kind == 4:
        return f" {{a: {quoted(word)}, b: }}{comment}", []
    if kind == 5:
        return " {", [f"{pad}a: 1,  # {word}", f"{pad}b: [x,", "", f"{pad}  y],", f"{pad}}}{comment}"]
    if kind in (6, 7):
        style = draw(st.sampled_from(["|", ">", "|-", ">-", "|+", ">+"]))
        lines = [
            f"{pad}{word}",
            *draw(
                st.lists(
                    st.sampled_from(["", f"{pad}# no comment", f"{pad}  CHANNEL_LAYERS: x", pad + " "]), max_size=3
                )
            ),
        ]
        return f" {style}{comment}", lines
    if kind == 8:
        return " first", [f"{pad}second", "", f"{pad}third{comment}"]
    if kind == 9:
        return " " + quoted(word)[:-1], [f"{pad}more # no comment", "", f'{pad}end"{comment}']
    if kind == 10:
        at = draw(st.sampled_from(["", pad[:-step] if step else ""])) or pad
        return comment, [
            f"{at}- {quoted(word)}{comment}",
            f"{at}- k: v",
            f"{at}  l: [m]",
            f"{at}-",
            *(pad + c for c in deep),
        ]
    if kind == 11 and anchors:
        return f" *{draw(st.sampled_from(anchors))}{comment}", []
    if kind == 12:
        anchors.append(f"anchor{len(anchors)}")
        return f" &{anchors[-1]}{comment}", [f"{pad}x: {quoted(word)}", f"{pad}y:", f"{pad}{' ' * step}z: [1, 2]"]
    if kind == 13:
        return comment, [f"{pad}CHANNEL_LAYERS:", f"{pad} default: {quoted(word)}", *(pad + c for c in deep)]
    if kind == 14:
        return comment, [f"{pad}a: 1", *(pad + c for c in deep), f"{pad}b:{comment}"]
    return f" {word.strip('-*&%#~ ') or 'w'}".replace(": ", ":").replace(" #", "#") + comment, []


NAMES = [
    "DEBUG",
    "ALLOWED_HOSTS",
    "CHANNEL_LAYERS_OLD",
    "OLD_CHANNEL_LAYERS",
    "channel_layers",
    "DATABASES",
    "SECRET_KEY",
    "X-1",
]


@st.composite
def entry(draw: st.DrawFn, name: str, indent: int, step: int, anchors: list[str]) -> list[str]:
    first, below = draw(value_lines(indent, step, anchors))
    key = draw(st.sampled_from([name, name, f'"{name}"', f"'{name}'"]))
    return [" " * indent + key + ":" + first, *below]


@st.composite
def between(draw: st.DrawFn, indent: int) -> list[str]:
    """Comments and blank lines that belong to the key below."""
    return draw(st.lists(st.one_of(st.just(""), COMMENT.map(lambda c: " " * indent + c), COMMENT), max_size=3))


@st.composite
def old_setting(draw: st.DrawFn, indent: int, step: int) -> list[str]:
    """The lines of the setting as it was, with the comments that belong to it."""
    pad, inner, deep = (" " * (indent + step * n) for n in range(3))
    comment = draw(st.sampled_from(["", "  # mine"]))
    kind = draw(st.integers(0, 8))
    key = draw(st.sampled_from(["CHANNEL_LAYERS", '"CHANNEL_LAYERS"', "'CHANNEL_LAYERS'"]))
    deep_comments = [inner + c for c in draw(st.lists(COMMENT, max_size=2))]
    head = f"{pad}{key}:"
    if kind == 0:
        return [head + comment, *deep_comments]
    if kind == 1:
        return [head + " {}" + comment]
    if kind == 2:
        return [head + " {default: {BACKEND: x}, other: {BACKEND: y}}" + comment]
    if kind == 3:
        return [head + " {", inner + "default: {BACKEND: x},  # c", inner + "other: [1]", pad + "}" + comment]
    if kind == 4:
        return [head + " text" + comment]
    if kind == 5:
        return [head + comment, *deep_comments, inner + "other:", deep + "BACKEND: y  # c", *deep_comments]
    if kind == 6:
        return [head, inner + "default:", *deep_comments, deep + "BACKEND: |", deep + "  x", "", inner + "other: 1"]
    if kind == 7:
        return [head + draw(st.sampled_from([" null", " ~", " !!null"])) + comment, *deep_comments]
    return [head + " &mine" + comment, inner + "'default': &too {a: 1}", *deep_comments]


@st.composite
def files(draw: st.DrawFn, present: bool) -> File:
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    step = draw(st.sampled_from([2, 2, 3, 4, 1]))
    anchors: list[str] = []
    head: list[str] = draw(st.sampled_from([[], ["# top"], ["%YAML 1.1", "---"], ["---"], ["# é", "--- # start"]]))
    head = list(head)

    def other(name: str) -> list[str]:
        return draw(entry(name, 0, step, anchors))

    if draw(st.booleans()):
        head += draw(between(0)) + other("version")
    if draw(st.booleans()):
        head += draw(between(0)) + other("apps")
    names = draw(st.permutations(NAMES))
    count = draw(st.integers(0, 3))
    head += draw(between(0))
    head.append(draw(st.sampled_from(["settings:", '"settings":', "settings:  # ours", "'settings' :"])))
    before = list(head)
    for name in names[:count]:
        before += draw(between(step)) + draw(entry(name, step, step, anchors))
    after: list[str] = []
    following = draw(st.integers(0, 2))
    span: list[str] = []
    if present:
        before += draw(between(step))
        span = draw(old_setting(step, step))
        after += draw(between(step))
    elif not count:
        # an empty `settings:`, perhaps with comments instead of a value
        following = 0
        before += [" " * (step + 1) + c for c in draw(st.lists(COMMENT, max_size=2))]
    for name in names[count : count + following]:
        after += draw(entry(name, step, step, anchors)) + draw(between(step))
    if draw(st.booleans()):
        after += draw(between(0)) + other("site_settings")
        after += draw(st.lists(COMMENT, max_size=2))
    if draw(st.integers(0, 5)) == 0:
        after.append("...")
    parts = ["".join(line + newline for line in lines) for lines in (before, span, after)]
    if draw(st.integers(0, 3)) == 0:  # no line end at the end of the file
        for at in (2, 1, 0):
            if parts[at]:
                parts[at] = parts[at][: -len(newline)]
                break
    bom = draw(st.sampled_from(["", "", "", "\ufeff"]))
    return File(bom + parts[0], parts[1], parts[2])


def load(text: str) -> Any:
    return yaml.load(text, Loader=yaml.SafeLoader)


def expected(text: str, name: str, value: dict[str, Any]) -> Any:
    data = load(text)
    inside = data.get("settings") or {}
    old = inside.get(name)
    merged = {**old, **value} if isinstance(old, dict) else value
    return {**data, "settings": {**inside, name: merged}}


def readable(text: str) -> bool:
    try:
        return isinstance(load(text), dict)
    except yaml.YAMLError:
        return False


def assert_merged(file: File, value: dict[str, Any]) -> str:
    text = file.text
    result = merge_settings(text, {"CHANNEL_LAYERS": value})
    assert load(result) == expected(text, "CHANNEL_LAYERS", value)
    assert merge_settings(result, {"CHANNEL_LAYERS": value}) == result
    return result


def common(left: str, right: str) -> int:
    """How many characters two texts have in common at their beginning."""
    return next((at for at, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))


def check_insertion(file: File) -> None:
    text = file.text
    result = assert_merged(file, {"default": LAYER})
    # Everything of the old text is still there, around one insertion.
    assert common(text, result) + common(text[::-1], result[::-1]) >= len(text)
    assert merge_settings(result, {}, ["CHANNEL_LAYERS"]) == text


def check_replacement(file: File) -> None:
    result = assert_merged(file, {"default": LAYER})
    after = file.after
    assert result.startswith(file.before)
    assert result.endswith(after)
    removed = merge_settings(file.text, {}, ["CHANNEL_LAYERS"])
    data = load(file.text)
    del data["settings"]["CHANNEL_LAYERS"]
    data["settings"] = data["settings"] or None
    assert load(removed) == data
    assert merge_settings(removed, {}, ["CHANNEL_LAYERS"]) == removed
    if after:
        # Blank lines below go too where they would become part of a `|+` text above.
        assert removed in (file.before + after, file.before + re.sub(r"\A(?:[ \t]*\r?\n)+", "", after))
        assert removed == file.before + after or "+" in file.before


@relaxed
@given(files(present=False))
def test_insertion(file: File) -> None:
    if readable(file.text):
        check_insertion(file)


@relaxed
@given(files(present=True))
def test_replacement(file: File) -> None:
    if readable(file.text):
        check_replacement(file)


def test_most_generated_files_are_readable() -> None:
    """The two tests above skip what Tethys cannot read; that must stay the exception."""
    seen: list[bool] = []

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.booleans().flatmap(lambda present: files(present=present)))
    def count(file: File) -> None:
        seen.append(readable(file.text))

    count()
    assert sum(seen) > 0.8 * len(seen)


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@relaxed
@given(
    st.dictionaries(st.text(min_size=1, max_size=8), JSONISH, min_size=1, max_size=3),
    st.sampled_from(
        ["settings:\n    A: 1\n", "settings: {}\n", "a: 1", '{"settings": {"A": 1}}', "settings:\n A:\n - 1\n"]
    ),
)
def test_any_value_arrives_as_it_is(value: dict[str, Any], text: str) -> None:
    try:
        result = merge_settings(text, {"CHANNEL_LAYERS": value})
    except PortalYamlError as error:
        pytest.skip(str(error)) if "surrogate" in str(error) else pytest.fail(str(error))
    assert load(result)["settings"]["CHANNEL_LAYERS"] == value
    assert merge_settings(result, {"CHANNEL_LAYERS": value}) == result
