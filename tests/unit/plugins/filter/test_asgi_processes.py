# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.asgi_processes import FilterModule
from ansible_collections.tethys.channels.plugins.plugin_utils.decide import bokeh as rule
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    BACKENDS,
    CORE_BACKEND,
    LAYOUTS,
    MEMORY_BACKEND,
    POLICIES,
    Refusal,
)
from hypothesis import example, given
from hypothesis import strategies as st

asgi_processes = FilterModule().filters()["asgi_processes"]

PLOT = {"app": "dam_inventory", "name": "plot", "url": "/apps/dam-inventory/plot/"}
MAP = {"app": "floods", "name": "map", "url": "/apps/floods/map/"}


def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(AnsibleFilterError) as caught:
        asgi_processes(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(("value", "number"), [(1, 1), (3, 3), ("3", 3), ("12", 12), (1000, 1000), ("1000", 1000)])
def test_numbers_and_their_digits(value: Any, number: int) -> None:
    result = asgi_processes(value, bokeh=False)
    assert result == number
    assert isinstance(result, int) and not isinstance(result, bool)


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, 0, -1, 2.5, 3.0, "three", "", "4 ", " 4", "4\n", "+4", "-1", "0", "03", "0x3", "1e1", "1_0"),
        *("٣", "\uff13", None, [], [3], {}, {"n": 3}, b"3", float("nan"), float("inf")),
    ],
)
def test_what_is_no_whole_number_of_at_least_1_is_refused(value: Any) -> None:
    message = refused(value, bokeh=False)
    assert message.startswith("asgi_processes: tethys_asgi_processes is ")
    assert repr(value) in message
    assert "whole number of at least 1" in message


@pytest.mark.parametrize("value", [1001, 8000, "8000", 10**30, pytest.param(10**5000, id="huge"), "9" * 5000])
def test_more_processes_than_a_server_holds(value: Any) -> None:
    message = refused(value, bokeh=False)
    assert "at most 1000" in message
    assert len(message) < 300


@pytest.mark.parametrize("bokeh", [False, [], (), "not_in_use"])
def test_without_bokeh_the_portal_scales(bokeh: Any) -> None:
    assert asgi_processes(3, bokeh=bokeh) == 3


@pytest.mark.parametrize("bokeh", [True, [PLOT], (PLOT,), "in_use", None, "unknown", "auto"])
def test_bokeh_in_use_means_one_process(bokeh: Any) -> None:
    message = refused(3, bokeh=bokeh)
    assert "tethys_asgi_processes is 3" in message
    assert "set tethys_asgi_processes to 1" in message
    assert "tethys_bokeh_policy to pin together with tethys_asgi_layout to socket_per_process" in message
    assert asgi_processes(1, bokeh=bokeh) == 1
    assert asgi_processes("4", bokeh=bokeh, policy="pin", layout="socket_per_process") == 4


def test_what_is_not_said_of_bokeh_counts_as_in_use() -> None:
    assert "tethys_bokeh to not_in_use" in refused(2)


def test_the_handlers_are_listed() -> None:
    message = refused(3, bokeh=[PLOT, MAP, {"url": "/apps/x/y/"}, {"app": "z"}])
    listed = "(dam_inventory: plot at /apps/dam-inventory/plot/, floods: map at /apps/floods/map/, /apps/x/y/, z)"
    assert listed in message
    # These handlers were found: the message must not suggest not_in_use.
    assert "not_in_use" not in message


@pytest.mark.parametrize("bokeh", ["yes", "true", "", 1, 0, 2.0, {"app": "x"}, ["x"], [{}], [{"app": ""}], [None]])
def test_what_says_nothing_of_bokeh_is_refused(bokeh: Any) -> None:
    assert "list of {app, name, url}" in refused(1, bokeh=bokeh)


@pytest.mark.parametrize("bokeh", [False, True])
def test_pin_needs_a_socket_for_each_process(bokeh: bool) -> None:
    message = refused(3, bokeh=bokeh, policy="pin")
    assert "tethys_bokeh_policy is pin" in message
    assert "set tethys_asgi_layout to socket_per_process" in message
    assert asgi_processes(1, bokeh=bokeh, policy="pin") == 1


def test_the_memory_layer_has_one_process() -> None:
    message = refused(3, bokeh=False, backend=MEMORY_BACKEND)
    assert "tethys_asgi_processes is 3 with tethys_layer_backend channels.layers.InMemoryChannelLayer" in message
    assert asgi_processes(1, bokeh=False, backend=MEMORY_BACKEND) == 1


@pytest.mark.parametrize(
    ("given_as", "variable", "allowed", "near"),
    [
        ({"policy": "maybe"}, "tethys_bokeh_policy", POLICIES, None),
        ({"policy": "singel"}, "tethys_bokeh_policy", POLICIES, "single"),
        ({"policy": None}, "tethys_bokeh_policy", POLICIES, None),
        ({"layout": "shared-socket"}, "tethys_asgi_layout", LAYOUTS, "shared_socket"),
        ({"layout": ["shared_socket"]}, "tethys_asgi_layout", LAYOUTS, None),
        ({"backend": "channels_redis.core.RedisChanelLayer"}, "tethys_layer_backend", BACKENDS, CORE_BACKEND),
    ],
)
def test_a_choice_that_does_not_exist(given_as: Any, variable: str, allowed: tuple[str, ...], near: str | None) -> None:
    message = refused(1, bokeh=False, **given_as)
    assert f"{variable} is " in message
    for choice in allowed:
        assert choice in message
    if near:
        assert f"did you mean '{near}'?" in message


def test_every_reason_is_told() -> None:
    with pytest.raises(Refusal) as caught:
        rule.asgi_processes(3, [PLOT], "single", MEMORY_BACKEND)
    assert len(caught.value.problems) == 2
    with pytest.raises(Refusal) as caught:
        rule.asgi_processes("three", "maybe", "maybe", "maybe", "maybe")
    assert len(caught.value.problems) == 5


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    value=anything,
    bokeh=anything | st.sampled_from(["in_use", "not_in_use", "unknown"]),
    policy=st.sampled_from(POLICIES),
)
@example(value="2", bokeh=[PLOT], policy="single")
def test_the_answer_is_an_allowed_number_or_a_refusal(value: Any, bokeh: Any, policy: str) -> None:
    before = copy.deepcopy((value, bokeh))
    try:
        number = asgi_processes(value, bokeh=bokeh, policy=policy, layout="socket_per_process")
    except AnsibleFilterError:
        pass
    else:
        assert isinstance(number, int) and not isinstance(number, bool)
        assert str(number) == str(value)
        assert number == 1 or policy == "pin" or bokeh in (False, [], "not_in_use")
    assert repr(before) == repr((value, bokeh))


# --- what nginx sends to one process ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bokeh", "together", "elsewhere"),
    [
        (
            [PLOT],
            ["/apps/dam-inventory/plot/", "/apps/dam-inventory/plot", "/apps/dam-inventory/plot/autoload.js"],
            ["/apps/dam-inventory/", "/apps/dam-inventory/plots/", "/ws/app-lifecycle/x/", "/apps/chat/chat/ws/"],
        ),
        (
            [{"app": "a", "name": "year", "url": "/portal/apps/a.b/{year}/plot/"}],
            ["/portal/apps/a.b/2026/plot/", "/portal/apps/a.b/2026/plot/ws", "/apps/installed-later/x/ws"],
            ["/portal/apps/aXb/2026/plot/", "/portal/apps/a.b/2026/07/plot/", "/apps/a/draws"],
        ),
        # A standalone app at its root.
        ([{"app": "a", "name": "home", "url": "/"}], ["/", "/autoload.js", "/ws"], ["/about/", "/static/x.js"]),
        ("unknown", ["/apps/any/plot/autoload.js", "/apps/any/plot/ws"], ["/apps/any/plot/"]),
        ("in_use", ["/apps/any/plot/ws"], []),
        (True, ["/ws"], []),
        ([], ["/apps/installed-later/plot/ws"], []),
    ],
)
def test_the_paths_that_meet_in_one_process(bokeh: Any, together: list[str], elsewhere: list[str]) -> None:
    pins = [re.compile(pin) for pin in rule.bokeh_pins(bokeh)]
    assert [path for path in together if not any(pin.search(path) for pin in pins)] == []
    assert [path for path in elsewhere if any(pin.search(path) for pin in pins)] == []


@pytest.mark.parametrize("bokeh", [False, "not_in_use"])
def test_no_path_where_no_app_uses_bokeh(bokeh: Any) -> None:
    assert rule.bokeh_pins(bokeh) == []
