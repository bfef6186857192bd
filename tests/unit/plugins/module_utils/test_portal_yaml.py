# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""portal_yaml over the hand-made corpus, over arbitrary text, and what the modules need beside merge_settings."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tethys.channels.plugins.module_utils import portal_yaml
from ansible_collections.tethys.channels.plugins.module_utils.portal_yaml import PortalYamlError, merge_settings
from hypothesis import example, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parents[3] / "unit" / "corpus" / "portal_config"
SUFFIXES = (".expected.yml", ".removed.yml")
CASES = sorted(path.stem for path in CORPUS.glob("*.yml") if not path.name.endswith(SUFFIXES))
LAYERS: dict[str, Any] = {
    "CHANNEL_LAYERS": {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [["127.0.0.1", 6379]]},
        }
    }
}
LOADERS = [
    pytest.param(yaml.SafeLoader, id="python"),
    pytest.param(
        getattr(yaml, "CSafeLoader", None),
        id="libyaml",
        marks=pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml"),
    ),
]


def corpus(case: str, suffix: str) -> str | None:
    path = CORPUS / (case + suffix)
    return portal_yaml.decode(path.read_bytes()) if path.exists() else None


def test_the_corpus_is_there() -> None:
    assert len(CASES) >= 30
    for case in CASES:
        assert (corpus(case, ".expected.yml") is None) != (corpus(case, ".error.txt") is None), case


@pytest.mark.parametrize("case", CASES)
def test_corpus(case: str) -> None:
    raw = (CORPUS / f"{case}.yml").read_bytes()
    error = corpus(case, ".error.txt")
    if error is not None:
        with pytest.raises(PortalYamlError) as refused:
            merge_settings(portal_yaml.decode(raw), LAYERS)
        assert str(refused.value) == error.strip()
        assert (refused.value.line, refused.value.column) > (0, 0)
        with pytest.raises(PortalYamlError):
            portal_yaml.check_bytes(raw)
        return
    portal_yaml.check_bytes(raw)
    text = portal_yaml.decode(raw)
    result = merge_settings(text, LAYERS)
    assert result == corpus(case, ".expected.yml")
    assert merge_settings(result, LAYERS) == result
    problem = corpus(case, ".remove-error.txt")
    if problem is not None:
        with pytest.raises(PortalYamlError) as refused:
            merge_settings(result, {}, ["CHANNEL_LAYERS"])
        assert str(refused.value) == problem.strip()
        return
    removed = merge_settings(result, {}, ["CHANNEL_LAYERS"])
    assert removed == (corpus(case, ".removed.yml") or text)
    assert merge_settings(removed, {}, ["CHANNEL_LAYERS"]) == removed


@pytest.mark.parametrize("case", [case for case in CASES if corpus(case, ".expected.yml") is not None])
def test_what_the_corpus_expects_is_the_merge(case: str) -> None:
    """The expected files themselves, checked with PyYAML alone."""
    before, after = (yaml.safe_load(corpus(case, suffix) or "") for suffix in (".yml", ".expected.yml"))
    inside = before.get("settings") or {}
    old = inside.get("CHANNEL_LAYERS")
    layers = {**old, **LAYERS["CHANNEL_LAYERS"]} if isinstance(old, dict) else LAYERS["CHANNEL_LAYERS"]
    if case.startswith("recursive"):  # == does not end on these
        assert after["settings"]["CHANNEL_LAYERS"] == layers
        return
    wanted = {**before, "settings": {**inside, "CHANNEL_LAYERS": layers}}
    if case == "dates-and-numbers":  # not a number is not itself
        for data in (after, wanted):
            assert data["settings"].pop("C") != 0
    assert after == wanted


# Where a tab may stand is all that PyYAML's two readers disagree on in the corpus.
TABS = ["tab-before-comment"]


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without libyaml")
@pytest.mark.parametrize("case", [case for case in CASES if case not in TABS])
def test_both_loaders_agree(case: str) -> None:
    try:
        text = portal_yaml.decode((CORPUS / f"{case}.yml").read_bytes())
    except PortalYamlError:
        return
    outcomes: list[Any] = []
    for loader in (yaml.SafeLoader, yaml.CSafeLoader):
        try:
            outcomes.append(merge_settings(text, LAYERS, loader=loader))
        except PortalYamlError as error:
            outcomes.append(error.line)
    assert outcomes[0] == outcomes[1]


# -- anything at all -----------------------------------------------------------------------------------------------

MANGLED = st.lists(
    st.sampled_from(
        [
            *"\n\t:-[]{},&*#'\"|>!%@`?=~",
            "\n  ",
            "\n    ",
            ": ",
            "- ",
            "a",
            "b: ",
            "&a ",
            "*a",
            " #",
            "|+\n",
            ">-\n",
            "!!str ",
            "!x ",
            "<<: ",
            "---\n",
            "...\n",
            "settings:",
            "\n  CHANNEL_LAYERS:",
            "default",
            "\r\n",
            "\r",
            "\x85",
            "\u2028",
            "\ufeff",
            "\x00",
            "é",
            "%YAML 1.1\n",
            "\\x41",
            "�",
            "2026-99-99",
            "0x",
            "null",
            "{}",
            "[]",
        ]
    ),
    max_size=25,
).map("".join)


def outcome_of(text: str, loader: Any = None) -> str | None:
    """The result, None where the text is refused; fails on anything else."""
    started = time.monotonic()
    try:
        result: str | None = merge_settings(text, LAYERS, loader=loader)
    except PortalYamlError as error:
        assert error.line >= 1
        assert error.column >= 1
        assert "\n" not in str(error)
        result = None
    assert time.monotonic() - started < 5
    return result


@pytest.mark.parametrize("loader", LOADERS)
@settings(deadline=None)
@given(text=st.one_of(MANGLED, MANGLED.map(lambda text: "settings:\n  A: 1\n" + text), st.text()))
@example(text="settings:\n  A: " + "[" * 3000)
@example(text="- " * 3000)
@example(text="{" * 3000)
@example(text="settings:\n" + "".join("  " * i + f"a{i}:\n" for i in range(1, 200)))
@example(text='settings: "\\UFFFFFFFF"')
@example(text="settings:\n? a\n: =")
@example(text="<<: {settings: {A: 1}}")
@example(text="a: &a\n  <<: *a\nsettings: {}")
@example(text="a: &a [{<<: *a}]\nsettings: {}")
@example(text="settings: 0b_")
def test_fuzz_text(text: str, loader: Any) -> None:
    result = outcome_of(text, loader)
    if result is None:
        return
    assert merge_settings(result, LAYERS, loader=loader) == result
    if loader is yaml.SafeLoader:
        assert yaml.safe_load(result)["settings"]["CHANNEL_LAYERS"]["default"] == LAYERS["CHANNEL_LAYERS"]["default"]


@settings(deadline=None)
@given(raw=st.one_of(st.binary(), MANGLED.map(lambda text: text.encode("utf-16", "surrogatepass"))))
def test_fuzz_bytes(raw: bytes) -> None:
    try:
        portal_yaml.check_bytes(raw)
    except PortalYamlError as error:
        assert (error.line, error.column) >= (1, 1)


@st.composite
def mangled_corpus(draw: st.DrawFn) -> str:
    path = CORPUS / f"{draw(st.sampled_from(CASES))}.yml"
    text = path.read_bytes().decode("utf-8", "replace")
    for _each in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(MANGLED) + text[at + draw(st.integers(0, 8)) :]
    return text


@settings(deadline=None, max_examples=200)
@given(mangled_corpus())
def test_fuzz_mangled_corpus(text: str) -> None:
    result = outcome_of(text)
    if result is not None:
        assert merge_settings(result, LAYERS) == result


# -- values --------------------------------------------------------------------------------------------------------


class Word(str):
    """Ansible passes text in special types."""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("1", 1, True),
        ("0x1", 1, True),
        ("1", True, False),
        ("1", 1.0, False),
        ("1", "1", False),
        ("'1'", "1", True),
        ("yes", True, True),
        ("yes", "yes", False),
        ("~", None, True),
        ("", None, True),
        ("''", None, False),
        ("''", "", True),
        ("text", Word("text"), True),
        ("[a, b]", ["a", "b"], True),
        ("[a, b]", ("a", "b"), True),
        ("[a, b]", ["b", "a"], False),
        ("[a, b]", ["a"], False),
        ("!!set {a}", {"a": None}, False),
        ("!!omap [a: 1]", [{"a": 1}], False),
        (".nan", float("nan"), True),
        ("2026-01-02", "2026-01-02", False),
        ("{b: 2, a: 1}", {"a": 1, "b": 2}, True),
    ],
)
def test_the_same_value_is_left_as_it_is(old: str, new: Any, same: bool) -> None:
    text = f"settings:\n  X: {old}\n"
    result = merge_settings(text, {"X": new})
    assert (result == text) is same
    value = yaml.safe_load(result)["settings"]["X"]
    wanted = list(new) if isinstance(new, tuple) else new
    assert value == wanted or repr(value) == repr(wanted)  # NaN is unlike itself
    assert value.__class__ is (str if isinstance(wanted, str) else wanted.__class__)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": object()}, "settings['X']['a'] is of type object; only text, numbers"),
        (datetime.date(2026, 1, 2), "is of type date"),
        (b"bytes", "is of type bytes"),
        ({("a", 1): 1}, "has a key that is not a scalar"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_values_that_cannot_be_written(value: Any, sentence: str) -> None:
    with pytest.raises(PortalYamlError) as refused:
        merge_settings("settings:\n", {"X": value})
    assert sentence in str(refused.value)
    assert refused.value.line == 0


def test_a_value_that_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["again"] = value
    with pytest.raises(PortalYamlError, match="contains itself"):
        merge_settings("settings:\n", {"X": value})


@pytest.mark.parametrize("name", ["", "a\nb", 5, None, "\0"])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(PortalYamlError, match="text on one line"):
        merge_settings("settings:\n", {name: 1})
    with pytest.raises(PortalYamlError, match="text on one line"):
        merge_settings("settings:\n", {}, [name])


def test_a_setting_cannot_be_set_and_removed() -> None:
    with pytest.raises(PortalYamlError, match="'A' is both to be set and to be removed"):
        merge_settings("settings:\n", {"A": 1}, ["A"])


def test_the_input_is_not_changed() -> None:
    value = {"CHANNEL_LAYERS": {"default": {"BACKEND": Word("x"), "CONFIG": {"hosts": [("a", 1)]}}}}
    before = repr(value)
    merge_settings("settings:\n  CHANNEL_LAYERS:\n    other: 1\n", value)
    assert repr(value) == before


def test_several_settings_at_once() -> None:
    text = "settings:\n  A: 1\n  B: [1]\n  C: x\n"
    result = merge_settings(text, {"D": {"e": [1, {"f": None}]}, "A": 2}, ["B", "NOT_THERE"])
    assert result == "settings:\n  A: 2\n  C: x\n  D:\n    e:\n      - 1\n      - f: null\n"


# -- what the portal_settings module needs -------------------------------------------------------------------------

ORIGINAL = "# a\nsettings:\n  A: 1\n  CHANNEL_LAYERS:   # mine\n    default: {BACKEND: old}   # odd\n  # b\n  B: 2\n"


@pytest.mark.parametrize(
    ("original", "change"),
    [
        (ORIGINAL, ("A: 1", "A: 11")),
        (ORIGINAL, ("# b", "# other")),
        ("settings:\n  A: 1\n", ("A: 1", "A: 11")),
        ("settings:\n  A: 1\n  CHANNEL_LAYERS: null\n", ("A: 1", "A: 11")),
        ("settings: {A: 1}\n", ("A: 1", "A: 11")),
        ("A: 1\n", ("A: 1", "A: 11")),
        (
            "settings:\n  A: 1\n  CHANNEL_LAYERS:\n    # note\n    audit: x\n    default:\n      BACKEND: y # c\n",
            ("A: 1", "A: 11"),
        ),
    ],
)
def test_restore_keeps_what_others_changed(original: str, change: tuple[str, str]) -> None:
    ours = merge_settings(original, LAYERS)
    theirs = ours.replace(*change)
    assert theirs != ours
    restored = portal_yaml.restore_settings(theirs, original, portal_yaml.touched(LAYERS))
    assert yaml.safe_load(restored) == yaml.safe_load(original.replace(*change))
    if "# note" not in original:  # there only the one entry goes back, in our formatting
        assert restored == original.replace(*change)


@pytest.mark.parametrize("old", ["", "  CHANNEL_LAYERS: null\n", "  CHANNEL_LAYERS:\n    default: 1\n"])
def test_restore_leaves_a_layer_that_others_added(old: str) -> None:
    original = f"settings:\n  A: 1\n{old}"
    theirs = merge_settings(merge_settings(original, LAYERS), {"CHANNEL_LAYERS": {"second": {"BACKEND": "x"}}})
    restored = yaml.safe_load(portal_yaml.restore_settings(theirs, original, portal_yaml.touched(LAYERS)))
    layers = restored["settings"]["CHANNEL_LAYERS"]
    assert layers.pop("second") == {"BACKEND": "x"}
    assert layers == ({"default": 1} if "default" in old else {})


def test_restore_leaves_alone_what_others_removed() -> None:
    original = "settings:\n  A: 1\n"
    assert (
        portal_yaml.restore_settings("settings:\n  A: 2\n", original, {"CHANNEL_LAYERS": ["default"]})
        == "settings:\n  A: 2\n"
    )


def test_restore_puts_a_removed_setting_back() -> None:
    original = "settings:\n  A: {x: 1}\n  B: 2\n"
    theirs = merge_settings(original, {"B": 3}, ["A"])
    assert yaml.safe_load(portal_yaml.restore_settings(theirs, original, {"A": None})) == {
        "settings": {"A": {"x": 1}, "B": 3}
    }


@pytest.mark.parametrize(
    ("text", "sign", "line", "column"),
    [
        ("settings:\n  SECRET_KEY: {{ secret_key }}\n", "{{", 2, 15),
        ("settings:\n  SECRET_KEY: {{ cookiecutter.secret }}\n", "{{", 2, 15),
        ("settings:\n{% if debug %}\n  DEBUG: true\n{% endif %}\n", "{%", 2, 1),
        ("{# the portal #}\nsettings:\n  A: 1\n", "{#", 1, 1),
        ("settings:\n  A: '{{ a }}'\n  B: {{ b }}\n", "{{", 3, 6),
        ("{{ everything }}\n", "{{", 1, 1),
    ],
)
def test_a_template_is_called_one(text: str, sign: str, line: int, column: int) -> None:
    with pytest.raises(PortalYamlError, match=r"template.*not rendered; replace the file") as caught:
        portal_yaml.check_text(text)
    assert f"`{sign}`" in caught.value.sentence
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize("text", ["settings:\n  A: '{{ a }}'\n", "settings:  # {{ x }}\n  A: 1\n"])
def test_a_placeholder_that_is_text_is_no_template(text: str) -> None:
    portal_yaml.check_text(text)
    with pytest.raises(PortalYamlError) as caught:
        portal_yaml.check_text(text + "  B: [\n")
    assert "template" not in str(caught.value)


SECRETS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [
                {"host": "127.0.0.1", "port": 6379, "password": "pw-one", "username": "tethys"},
                "redis://tethys:pw/tw@o@example.org:6379/0?password=pw-three&db=1",
                "rediss://:pw-four@example.org",
            ],
            "symmetric_encryption_keys": ["pw-five", {"old": "pw-six"}],
            "token": 123456789,
        },
    },
    "theirs": {"BACKEND": "another layer"},
}


def test_masked_blocks_show_no_secret() -> None:
    before = (
        "settings:\n  SECRET_KEY: pw-portal\n  CHANNEL_LAYERS:\n"
        "    default: {CONFIG: {token: pw-old}}  # pw-comment\n    theirs: {BACKEND: another layer}\n"
    )
    after = merge_settings(before, {"CHANNEL_LAYERS": SECRETS})
    shown = portal_yaml.masked_blocks(before, after, {"CHANNEL_LAYERS": ["default"]})
    for text in shown:
        assert "pw" not in text
        assert "123456789" not in text
        assert "another layer" not in text
        assert "SECRET" not in text
    assert "channels_redis.core.RedisChannelLayer" in shown[1]
    assert "redis://********@example.org:6379/0?password=********&db=1" in shown[1]
    assert "token: '******** (changed)'" in shown[1]
    assert yaml.safe_load(shown[1])["settings"]["CHANNEL_LAYERS"]["default"]["CONFIG"]["hosts"][0]["port"] == 6379


def test_a_changed_secret_shows_as_a_change() -> None:
    texts = [
        merge_settings("settings:\n", {"X": {"password": word, "url": f"redis://:{word}@h"}}) for word in ("one", "two")
    ]
    before, after = portal_yaml.masked_blocks(texts[0], texts[1], {"X": None})
    assert before != after
    assert portal_yaml.masked_blocks(texts[0], texts[0], {"X": None})[1] == before


@pytest.mark.parametrize("value", ["!!set {a}", "*loop", "2026-01-02", "[{x: 2026-01-02}, !!binary aGVsbG8=]"])
def test_any_old_value_can_be_shown(value: str) -> None:
    before = f"loop: &loop [*loop]\nsettings:\n  X: {value}\n"
    shown = portal_yaml.masked_blocks(before, "settings:\n", {"X": None})
    assert shown[0].startswith("settings:\n  X:")
    assert shown[1] == ""
