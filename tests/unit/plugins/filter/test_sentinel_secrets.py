# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter sentinel_secrets; whose passwords it takes is tested beside the code behind it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tethys.channels.plugins.filter.sentinel_secrets import FilterModule, sentinel_secrets


def row(kept: str | None, offered: str) -> dict[str, Any]:
    """What was read on a server."""
    known = {"password": kept, "peer_password": kept and f"{kept} of peers"}
    new = {"password": offered, "peer_password": f"{offered} of peers"}
    return {"__redis_container_peers": {"login": {"kept": known, "offered": new}}}


@pytest.mark.parametrize(
    ("arguments", "password"),
    [((), "old"), ((False,), "old"), (("",), "old"), ((True,), "first"), ((1,), "first")],
)
def test_the_passwords_that_they_have(arguments: tuple[Any, ...], password: str) -> None:
    hosts = {"b": row("old", "second"), "a": row(None, "first")}
    found = sentinel_secrets(["b", "a"], hosts, *arguments)
    assert found == {"password": password, "peer_password": "old of peers"}


def test_a_refusal_is_a_sentence() -> None:
    with pytest.raises(AnsibleFilterError) as refused:
        sentinel_secrets(["a", "b"], {"a": {}, "b": {}})
    assert str(refused.value).startswith("sentinel_secrets: Nothing was read of what the servers keep")
    assert str(refused.value).endswith(".")


def test_the_filter_is_found() -> None:
    assert FilterModule().filters() == {"sentinel_secrets": sentinel_secrets}
