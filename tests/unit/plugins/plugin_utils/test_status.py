# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A check's status as data, as metrics and as a page."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.tethys.channels.plugins.plugin_utils import status, status_metrics, status_page
from ansible_collections.tethys.channels.plugins.plugin_utils.check import page
from ansible_collections.tethys.channels.tests.unit.plugins.plugin_utils.test_check import SEEN
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

HOSTS = ("a.example.org", "b.example.org")


def found(host: str = HOSTS[0], **probe: Any) -> status.Status:
    """The status of a host on which the probe saw something else than in the sample."""
    seen = copy.deepcopy(SEEN)
    seen["probe"].update(probe)
    return status.status(page.judged(seen), host, 1790000000.7)


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every sample by its name, as Prometheus's own parser reads them."""
    read: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation and family.type in ("gauge", "counter")
        for sample in family.samples:
            read.setdefault(sample.name.removeprefix("tethys_channels_"), []).append((sample.labels, sample.value))
    return read


class Page(HTMLParser):
    """What a page's elements are, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.words.append(data)


def test_status_is_what_json_can_hold() -> None:
    one = found()
    assert json.loads(json.dumps(one)) == one
    assert one["ok"] and one["checked_at"] == 1790000000 and one["delivery"]["is_verified"]
    assert [process["name"] for process in one["processes"]] == [row["name"] for row in SEEN["health"]["processes"]]
    assert set(one) == set(status.Status.__annotations__)


@pytest.mark.parametrize(
    ("probe", "verified"),
    [
        ({}, True),
        ({"received": 8}, False),
        ({"sent": 0, "received": 0}, False),
        ({"provable": False, "reason": "in_memory"}, False),
    ],
)
def test_delivery_counts_as_verified_only_if_each_socket_received(probe: dict[str, Any], verified: bool) -> None:
    assert found(**probe)["delivery"]["is_verified"] is verified


def test_metrics_are_read_by_prometheus() -> None:
    read = samples(status_metrics.as_metrics([found(host) for host in HOSTS]))
    assert [labels["host"] for labels, _value in read["ok"]] == list(HOSTS)
    assert {value for _labels, value in read["ok"]} == {1.0}
    assert len(read["process_memory_bytes"]) == 2 * len(SEEN["health"]["processes"])
    assert [value for _labels, value in read["redis_memory_limit_bytes"]] == [192 * 2**20] * 2
    assert all(value == 0 for _labels, value in read["redis_refused_writes_total"])


def test_what_is_not_known_has_no_sample() -> None:
    seen = copy.deepcopy(SEEN)
    seen["health"]["redis"][0].update(oom_errors=None, known=False)
    seen["health"]["processes"][0].update(
        pid=None, age_seconds=None, memory_bytes=None, connections=None, state="FATAL"
    )
    read = samples(status_metrics.as_metrics([status.status(page.judged(seen), "a", 0)]))
    assert "redis_refused_writes_total" not in read
    assert len(read["process_age_seconds"]) == len(SEEN["health"]["processes"]) - 1
    assert [value for _labels, value in read["process_up"]].count(0) == 1
    assert read["problem"] and {labels["code"] for labels, _value in read["problem"]} == {"process-not-running"}


@given(st.text(), st.text())
def test_any_text_is_one_label(host: str, place: str) -> None:
    one = found(host)
    one["redis"][0]["place"] = place
    (labels, value), *others = samples(status_metrics.as_metrics([one]))["redis_up"]
    assert (labels["host"], labels["place"], value, others) == (host, place, 1.0, [])


def test_each_sample_occurs_once() -> None:
    one = found()
    one["problems"] = [{"code": "c", "subject": "s", "text": text} for text in ("first", "second")]
    assert len(samples(status_metrics.as_metrics([one]))["problem"]) == 1


@given(st.text(min_size=1))
def test_no_text_becomes_an_element(text: str) -> None:
    one, plain = found(text), found("host")
    one["problems"] = [{"code": "c", "subject": text, "text": text}]
    plain["problems"] = [{"code": "c", "subject": "s", "text": "t"}]
    for each in (one, plain):
        each["ok"] = False
    assert Page(status_page.as_page([one])).tags == Page(status_page.as_page([plain])).tags


def test_page_loads_nothing() -> None:
    page = Page(status_page.as_page([found(host) for host in HOSTS]))
    for tag, attributes in page.tags:
        assert tag not in ("link", "img", "iframe", "object")
        assert not {"src", "href"} & set(attributes)


def test_page_has_hosts_with_problems_first() -> None:
    bad = found(HOSTS[1], received=8)
    bad.update(ok=False, problems=[{"code": "delivery-incomplete", "subject": "x", "text": "Not all received."}])
    words = Page(status_page.as_page([found(), bad])).words
    assert words.index(f"{HOSTS[1]} ") < words.index(f"{HOSTS[0]} ")
    assert "Not all received. " in words and "[delivery-incomplete]" in words
    assert "Channel layer: 1 of 2 portals without a problem" in words


def test_grid_names_who_received_what() -> None:
    heard = {HOSTS[0]: 8, HOSTS[1]: 8}
    probes = [{"among": {"sockets": 8, "heard": heard}}, {"among": {"sockets": 8, "heard": {**heard, HOSTS[0]: 3}}}]
    words = Page(
        status_page.as_page([status.with_fleet(found(host), probe) for host, probe in zip(HOSTS, probes)])
    ).words
    assert "Delivery between portals" in words
    assert words.count("8 of 8") == 3 and words.count("3 of 8") == 1


def test_no_grid_for_portals_of_their_own() -> None:
    assert "Delivery between portals" not in status_page.as_page([found(host) for host in HOSTS])
