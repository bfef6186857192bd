# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Portals that share a channel layer, as one page: what each of them has, and from whom it receives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.facts import Portal, Settings
from ansible_collections.tethys.channels.plugins.module_utils.layer_facts import Probe
from ansible_collections.tethys.channels.plugins.plugin_utils.hosts import Hosts

SITE = "tethys.channels.site"


class LayerOf(TypedDict):
    """What has to be the same on every portal."""

    backend: str
    hosts: list[str]
    prefix: str


# What is compared besides the hosts, and what it is called.
WORDS: tuple[tuple[str, Literal["backend", "prefix"]], ...] = (("class", "backend"), ("prefix", "prefix"))


class FleetPage(TypedDict):
    """What is printed of portals that share a layer."""

    ok: bool
    lines: list[str]
    problems: list[str]


def place(host: Any) -> str:
    """Where one of a layer's hosts is, in whatever form it is written."""
    if isinstance(host, Mapping):
        if host.get("sentinels") and isinstance(host["sentinels"], list):
            return f"{host.get('master_name')} of {', '.join(place(one) for one in host['sentinels'])}"
        return str(host.get("address") or host.get("path") or f"{host.get('host')}:{host.get('port', 6379)}")
    return ":".join(str(part) for part in host) if isinstance(host, (list, tuple)) else str(host)


def layer_of(portal: Portal) -> LayerOf:
    """What has to be the same on every portal, as its settings have it. An app can set anything instead."""
    settings: Settings = portal.get("settings") or {}
    config = settings.get("channel_layers")
    for name in ("default", "CONFIG"):
        config = config.get(name) if isinstance(config, Mapping) else None
    hosts = settings.get("layer_hosts")
    return {
        "backend": str(settings.get("layer_backend") or "none"),
        "hosts": [place(host) for host in hosts] if isinstance(hosts, list) else [],
        "prefix": str((config.get("prefix") if isinstance(config, Mapping) else None) or "asgi"),
    }


def _class(name: str) -> str:
    return name.rpartition(".")[2]


def _line(name: str, portal: Portal, probe: Probe, as_found: bool) -> str:
    layer, found, proved = layer_of(portal), portal.get("versions") or {}, probe.get("versions") or {}
    if as_found:
        about = f"{_class(layer['backend'])} at {' and '.join(layer['hosts']) or 'no host'}, prefix {layer['prefix']}"
    else:
        # The run may have changed what it found; the delivery check has what carried the messages.
        about = _class(str(probe.get("backend") or layer["backend"]))
    version = proved.get("channels_redis") or found.get("channels_redis")
    line = f"{name}: Tethys {found.get('tethys_platform')}, channels_redis {version}, {about}"
    among = probe.get("among")
    if not among:
        return f"{line}; delivery was not verified"
    sockets, heard = among["sockets"], among["heard"]
    deaf = [f"{one} on {number} of {sockets}" for one, number in heard.items() if number < sockets]
    if deaf:
        return f"{line}; receives messages of {', '.join(deaf)} WebSockets"
    every = "all " if len(heard) > 2 else ""
    return f"{line}; each of {sockets} WebSockets received messages of {every}{len(heard)} portals"


def page(names: Iterable[str], hosts: Hosts, compare: bool) -> FleetPage:
    """The page of all portals.

    Args:
        names: the portals.
        hosts: every host's variables by its name, with what this run has seen of it.
        compare: whether their settings, as the run found them, are theirs still, and have to be alike.

    Returns:
        `ok`, `lines` and `problems`.
    """
    lines: list[str] = []
    problems: list[str] = []
    portals: dict[str, Portal] = {}
    for name in sorted(names):
        seen = hosts[name]
        portals[name] = (seen.get("__preflight_found") or {}).get("portal") or {}
        probe: Probe = (seen.get("__fleet_check_result") or {}).get("probe") or {}
        lines.append(_line(name, portals[name], probe, compare))
        problems += probe.get("problems") or []
    if compare and portals:
        problems = [*differences(portals), *problems]
    return {"ok": not problems, "lines": lines, "problems": problems}


def differences(portals: Mapping[str, Portal]) -> list[str]:
    """A sentence for each portal whose layer is another one than the first portal's."""
    first, *others = portals
    model = layer_of(portals[first])
    found = []
    for name in others:
        layer = layer_of(portals[name])
        if layer["hosts"] != model["hosts"]:
            order = sorted(layer["hosts"]) == sorted(model["hosts"])
            found.append(
                f"CHANNEL_LAYERS has the hosts {', '.join(layer['hosts']) or '(none)'} on {name} and"
                f" {', '.join(model['hosts']) or '(none)'} on {first}:"
                + (" in another order a group's messages go to another Redis." if order else " they do not meet.")
                + f" Run {SITE}."
            )
        found += [
            f"CHANNEL_LAYERS has the {what} {layer[key]} on {name} and {model[key]} on {first}, so they do not meet:"
            f" run {SITE}."
            for what, key in WORDS
            if layer[key] != model[key]
        ]
    return found
