# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a measurement."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.tethys.channels.tests.bench import figures, picture
from hypothesis import given
from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\ufffe\uffff"))
RATIOS = st.tuples(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.01, 100)).map(
    lambda three: figures.Ratio(sorted(three)[1], min(three), max(three))
)
BARS = st.lists(st.builds(figures.Bar, label=TEXTS, ratio=RATIOS, reference=st.booleans()), min_size=1, max_size=8)


def bar(label: str, middle: float, reference: bool = False) -> figures.Bar:
    """A bar whose rounds were all the same."""
    return figures.Bar(label, figures.Ratio(middle, middle, middle), reference)


def test_bars_are_as_long_as_what_they_show() -> None:
    drawn = picture.draw("All", [figures.Bars("One", [bar("manual", 1, True), bar("a", 2), bar("b", 12.4)])], ["Note"])
    root = ElementTree.fromstring(drawn)  # noqa: S314 - our own text
    found = [each for each in root.iter(f"{SVG}rect") if each.get("class") != "card"]
    assert [each.get("class") for each in found] == ["manual", "ours", "ours"]
    lengths = [float(each.get("width", "0")) for each in found]
    assert abs(lengths[1] / lengths[0] - 2) < 0.02
    assert abs(lengths[2] / lengths[0] - 12.4) < 0.1
    words = [each.text for each in root.iter(f"{SVG}text")]
    assert words == ["All", "One", "manual", "1.0\u00d7", "a", "2.0\u00d7", "b", "12\u00d7", "Note"]


def test_dark_and_light_bring_their_own_ground() -> None:
    drawn = picture.draw("All", [figures.Bars("One", [bar("a", 1)])], [])
    assert "prefers-color-scheme: dark" in drawn
    assert 'class="card"' in drawn


@given(st.lists(st.builds(figures.Bars, heading=TEXTS, bars=BARS), max_size=3), TEXTS)
def test_whatever_it_shows_is_whole_and_inside(groups: list[figures.Bars], title: str) -> None:
    root = ElementTree.fromstring(picture.draw(title, groups, [title]))  # noqa: S314 - our own text
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for each in root.iter(f"{SVG}rect"):
        assert (
            float(each.get("x", "0")) + float(each.get("width", "0")) <= width - picture.MARGIN
            or each.get("class") == "card"
        )
        assert float(each.get("y", "0")) + float(each.get("height", "0")) <= height
