# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures render in every viewer, are up to date, are used, and show figures that the pages have."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[3]
SCRIPTS = ROOT / "scripts"
PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
SCREENSHOTS = sorted((ROOT / "docs" / "pictures").glob("*.png"))
PAGES = [ROOT / "README.md", ROOT / "docs" / "site" / "index.rst", *sorted((ROOT / "docs/docsite/rst").glob("*.rst"))]
SVG = "{http://www.w3.org/2000/svg}"
# The widest of the fonts that a viewer may take, as a part of the font's size.
SANS, MONO = 0.56, 0.605


class Extent(NamedTuple):
    """The rectangle that a text or a shape takes."""

    left: float
    top: float
    right: float
    bottom: float
    words: str = ""


def load(name: str) -> ModuleType:
    """Return a module that lies beside the programs."""
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(SCRIPTS))
    try:
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        assert spec
        assert spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPTS))
    return module


@pytest.fixture(scope="module")
def charts() -> ModuleType:
    """scripts/charts.py."""
    return load("charts")


@pytest.fixture(scope="module")
def recording() -> ModuleType:
    """scripts/recording.py."""
    return load("recording")


def parsed(text: str) -> ElementTree.Element:
    """Return a picture of ours as a tree."""
    return ElementTree.fromstring(text)  # noqa: S314 - our own text


def figure(element: ElementTree.Element, name: str) -> float:
    """Return a number of an element."""
    return float(element.get(name, "0"))


def texts(root: ElementTree.Element) -> Iterator[Extent]:
    """Yield the rectangle of each text, as wide as the widest font makes it."""
    for each in root.iter(f"{SVG}text"):
        words, size = each.text or "", figure(each, "font-size")
        width = len(words) * size * (MONO if "Mono" in each.get("font-family", "") else SANS)
        x, y = figure(each, "x"), figure(each, "y")
        left = {"middle": x - width / 2, "end": x - width}.get(each.get("text-anchor", ""), x)
        yield Extent(left, y - 0.75 * size, left + width, y + 0.2 * size, words)


def boxes(root: ElementTree.Element) -> list[Extent]:
    """Return the boxes with a border."""
    found = []
    for each in root.iter(f"{SVG}rect"):
        x, y = figure(each, "x"), figure(each, "y")
        if each.get("stroke"):
            found.append(Extent(x, y, x + figure(each, "width"), y + figure(each, "height")))
    return found


def test_there_are_pictures() -> None:
    assert len(PICTURES) >= 12


def test_the_pictures_are_those_of_the_figures_as_they_are() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "pictures"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_every_viewer_can_render_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = parsed(text)
    assert (root.findtext(f"{SVG}title") or "").strip()
    assert len(root.findtext(f"{SVG}desc") or "") > 40
    assert not re.search(r"var\(|url\(|@import|<image|<script|<foreignObject|<use", text)
    for kind in ("rect", "circle", "text", "path"):
        for each in root.iter(f"{SVG}{kind}"):
            # Without its own color, it is black where style sheets are not read.
            assert re.fullmatch(r"#[0-9a-f]{6}|none", each.get("fill", "")), ElementTree.tostring(each)
    assert all("sans-serif" in name or "monospace" in name for name in re.findall(r'font-family="([^"]+)"', text))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_no_text_is_cut_or_overlaps(path: Path) -> None:
    root = parsed(path.read_text(encoding="utf-8"))
    found = list(texts(root))
    for text in found:
        around = [box for box in boxes(root) if box.left <= text.left and box.top <= text.top <= box.bottom]
        inside = [box for box in around if text.left <= box.right]
        smallest = min(inside, key=lambda box: (box.right - box.left) * (box.bottom - box.top), default=None)
        right = smallest.right if smallest else figure(root, "width")
        assert 0 <= text.left < text.right <= right, f"{text.words!r} ends at {text.right:.0f}, its box at {right:.0f}"
        assert text.bottom <= figure(root, "height"), text.words
    for one, other in combinations(found, 2):
        apart = one.right <= other.left or other.right <= one.left or one.bottom <= other.top or other.bottom <= one.top
        assert apart, f"{one.words!r} overlaps {other.words!r}"


@pytest.mark.parametrize("path", SCREENSHOTS, ids=lambda path: path.stem)
def test_a_screenshot_is_of_a_size_that_pages_can_have(path: Path) -> None:
    image = path.read_bytes()
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", image[16:24])
    assert 800 <= width <= 1600
    assert height <= 1600
    assert len(image) < 200_000


@pytest.mark.parametrize("path", [*PICTURES, *SCREENSHOTS], ids=lambda path: path.stem)
def test_it_is_on_a_page_with_its_content_in_words(path: Path) -> None:
    alternatives = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        alternatives += re.findall(rf"!\[([^\]]*)\]\([^)]*pictures/{path.name}\)", text)
        alternatives += re.findall(
            rf"^\.\. image:: \S*pictures/{path.name}\n   :alt: ((?:.+\n)+?)(?:   :|\n)", text, re.MULTILINE
        )
    assert alternatives, f"no page shows {path.name}"
    assert all(len(words.strip()) > 30 for words in alternatives)


def said() -> str:
    """Return the words of all pages, without markup and line breaks."""
    pages = " ".join(path.read_text(encoding="utf-8") for path in PAGES)
    return re.sub(r"\s+", " ", re.sub(r"[`*]", "", pages))


def test_the_figures_of_requests_are_on_a_page(charts: ModuleType) -> None:
    words = said()
    assert [row.figure for row in (*charts.RESTART, *charts.SCALE) if row.figure not in words] == []


def test_the_figures_of_faults_are_on_a_page(charts: ModuleType) -> None:
    words = said()
    assert [row for row in (*charts.FAULTS, *charts.FAILOVERS) if f"{row.least} to {row.most} s" not in words] == []


@pytest.mark.parametrize("name", ["bokeh", "delivery", "layouts", "sentinel"])
def test_the_figures_of_a_drawing_are_on_a_page(name: str) -> None:
    words = said()
    text = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    found = re.findall(r"[\d,]+ of (?:about )?[\d,]*\d|[\d.]+ to [\d.]+ s\b", text)
    assert found
    assert [each for each in found if each not in words] == []


def test_the_readme_shows_the_table_of_the_recording() -> None:
    recorded = json.loads((ROOT / "docs" / "demo.json").read_text(encoding="utf-8"))
    lines = [re.sub(r" {2,}", " | ", line["text"].strip()) for line in recorded["lines"]]
    start = next(place for place, line in enumerate(lines) if line.startswith("before | after"))
    shown = [line for line in lines[start + 2 : lines.index("", start)] if not line.startswith("with ")]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    cells = re.findall(
        r"^\| (.+) \|$", readme.partition("| | before | after |\n")[2].partition("\n\n")[0], re.MULTILINE
    )
    assert [re.sub(r"(?: \|)? *\| *", " | ", row.replace("`", "")) for row in cells] == shown


def test_a_bar_is_as_long_as_its_value(charts: ModuleType) -> None:
    group = charts.Group("One", [charts.Bar("a", 1.0, "1"), charts.Bar("b", 2.0, "2"), charts.Bar("c", 12.4, "12")])
    root = parsed(charts.draw(charts.Chart("All", [group])))
    lengths = [figure(each, "width") for each in root.iter(f"{SVG}rect") if each.get("fill") == "#0b5cad"]
    assert [round(length / lengths[0], 1) for length in lengths] == [1.0, 2.0, 12.4]


def test_the_classes_are_drawn_with_their_losses_and_their_ends(charts: ModuleType) -> None:
    row = {"name": "killed", "short": "Redis is killed", "wanted": 400, "missed": 100, "watched_seconds": 15.0}
    table = {
        "measured": "2026-11-30 21:20",
        "groups": [5, 100],
        "processes": 3,
        "messages_a_second": 20,
        "rows": [
            {**row, "backend": "pubsub", "missed": 0, "until_seconds": 1.2},
            {**row, "backend": "core", "until_seconds": None},
            {
                **row,
                "backend": "core",
                "name": "steady",
                "short": "nothing breaks",
                "watched_seconds": None,
                "until_seconds": None,
            },
        ],
    }
    missed, again = charts.classes(table).groups
    assert [(each.label, each.value, each.figure) for each in missed.bars] == [
        ("Redis is killed, core", 25.0, "100 of 400"),
        ("Redis is killed, pub/sub", 0.0, "0 of 400"),
        ("nothing breaks, core", 25.0, "100 of 400"),
    ]
    assert [(each.label, each.value, each.figure) for each in again.bars] == [
        ("Redis is killed, core", 15.0, "not within 15 s"),
        ("Redis is killed, pub/sub", 1.2, "1.2 s"),
    ]


def test_a_logarithmic_scale_has_equal_steps(charts: ModuleType) -> None:
    group = charts.Group("One", [], ticks=(100, 1_000, 10_000), logarithmic=True)
    assert [round(charts.position(group, value, 200)) for value in (100, 1_000, 10_000)] == [0, 100, 200]


def test_the_terminal_shows_every_line_where_nothing_moves(recording: ModuleType) -> None:
    lines = [{"at": 0.0, "text": "$ make demo"}, {"at": 60.0, "text": "<a> & b"}]
    kept = {
        "recorded": "today",
        "busy": False,
        "lines": lines,
        "steps": [],
        "requests": 1,
        "failed": 0,
        "failed_between": [],
    }
    drawn = recording.terminal(kept)
    assert [each.text for each in parsed(drawn).iter(f"{SVG}text")] == ["$ make demo", "<a> & b"]
    # A wait of a minute is shown as a short one.
    assert f"animation-duration:{recording.LONGEST_WAIT}s" in drawn
    assert "prefers-reduced-motion" in drawn


def test_the_timeline_shows_the_downtime(recording: ModuleType) -> None:
    steps = [{"role": "", "start": 0.0, "end": 2.0}, {"role": "layer_check", "start": 2.0, "end": 10.0}]
    kept = {"recorded": "today", "busy": False, "lines": [], "steps": steps, "requests": 90}
    chart = recording.timeline({**kept, "failed": 7, "failed_between": [3.0, 5.5]})
    assert [(each.label, each.start, each.value) for each in chart.groups[0].bars] == [
        ("Ansible starts", 0.0, 2.0),
        ("Delivery check", 2.0, 10.0),
        ("Requests fail", 3.0, 5.5),
    ]
    assert "7 of 90 requests failed over 2.5 s." in chart.notes[1]
    chart = recording.timeline({**kept, "failed": 0, "failed_between": [], "busy": True})
    assert "Requests fail" not in [each.label for each in chart.groups[0].bars]
    assert "other work" in chart.notes[2]


def test_a_role_that_runs_twice_has_two_bars(recording: ModuleType) -> None:
    times = [("preflight", 0.0, 4.0), ("layer_check", 4.0, 7.0), ("preflight", 7.0, 7.5)]
    steps = [{"role": role, "start": start, "end": end} for role, start, end in times]
    kept = {"recorded": "today", "busy": False, "lines": [], "steps": steps, "requests": 1, "failed": 0}
    chart = recording.timeline({**kept, "failed_between": []})
    assert [(each.label, each.start, each.value, each.figure) for each in chart.groups[0].bars] == [
        ("Gather facts, decide", 0.0, 4.0, "4.0 s"),
        ("Delivery check", 4.0, 7.0, "3.0 s"),
        ("Last task", 7.0, 7.5, "0.5 s"),
    ]
