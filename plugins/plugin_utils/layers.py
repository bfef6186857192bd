# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""`CHANNEL_LAYERS` from hosts, credentials and options, as channels_redis 4 takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypedDict, cast

from ansible_collections.tethys.channels.plugins.plugin_utils.layer_entry import HOSTS
from ansible_collections.tethys.channels.plugins.plugin_utils.layer_hosts import credentials_for, read_hosts
from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    BACKENDS,
    CORE_BACKEND,
    MEMORY_BACKEND,
    PUBSUB_BACKEND,
    Problem,
    Refusal,
    refused,
)
from ansible_collections.tethys.channels.plugins.plugin_utils.narrow import mapping_of
from ansible_collections.tethys.channels.plugins.plugin_utils.values import choice_refusal, closest, show, whole_number


class LayerConfig(TypedDict, total=False):
    """What a layer's class takes; each host has one of the forms that channels_redis takes."""

    hosts: list[object]
    capacity: int
    channel_capacity: dict[str, int]
    expiry: int
    group_expiry: int
    prefix: str
    serializer_format: str
    symmetric_encryption_keys: list[str]
    random_prefix_length: int
    on_disconnect: str
    on_reconnect: str


class Layer(TypedDict, total=False):
    """A channel layer in CHANNEL_LAYERS."""

    BACKEND: str
    CONFIG: LayerConfig


def _number(name: str, value: Any) -> int:
    number = whole_number(value)
    if number is None:
        raise refused(
            "option-not-number",
            name,
            f"The channel layer's option {name} is {show(value)}: write a whole number of at least 1.",
        )
    return number


def _length(name: str, value: Any) -> int:
    return 0 if value in (0, "0") and not isinstance(value, bool) else _number(name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise refused(
            "option-not-text",
            name,
            f"The channel layer's option {name} is {show(value)}: write a text that is not empty.",
        )
    return str(value)


def _capacities(name: str, value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        raise refused(
            "option-not-mapping",
            name,
            f"The channel layer's option {name} is {show(value)}: write a mapping of channel name to number.",
        )
    return {_text(f"{name} (a key)", key): _number(f"{name}.{key}", held) for key, held in value.items()}


def _keys(name: str, value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(key, str) and key for key in value):
        raise refused(
            "option-not-list",
            name,
            f"The channel layer's option {name} is not a list of texts: write each key as a text, in a list.",
        )
    return [str(key) for key in value]


_COUNTED: dict[str, Callable[[str, Any], Any]] = {
    "capacity": _number,
    "channel_capacity": _capacities,
    "expiry": _number,
    "group_expiry": _number,
}
_SERIALIZED: dict[str, Callable[[str, Any], Any]] = {
    "prefix": _text,
    "serializer_format": _text,
    "symmetric_encryption_keys": _keys,
}
# What each layer's class takes besides hosts. The pub/sub layer takes any other option without a word and ignores it.
_OPTIONS: dict[str, dict[str, Callable[[str, Any], Any]]] = {
    CORE_BACKEND: {**_COUNTED, **_SERIALIZED, "random_prefix_length": _length},
    PUBSUB_BACKEND: {**_SERIALIZED, "on_disconnect": _text, "on_reconnect": _text},
    MEMORY_BACKEND: _COUNTED,
}


def _read_options(options: Any, backend: str) -> LayerConfig:
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise refused(
            "options-not-mapping",
            "options",
            "The channel layer's options are not a mapping: write one, such as {capacity: 200}.",
        )
    readers = _OPTIONS[backend]
    problems: list[Problem] = []
    read: list[tuple[str, Any]] = []
    for name, value in options.items():
        try:
            if name == "hosts":
                raise refused(
                    "options-have-hosts",
                    "hosts",
                    f"The channel layer's options have hosts among them: set {HOSTS} instead.",
                )
            # A role's defaults hand over what was not set as null, also what another class takes.
            if value is None and any(name in others for others in _OPTIONS.values()):
                continue
            if name not in readers:
                raise refused(
                    "option-unknown",
                    str(name),
                    f"The channel layer's option {show(name)}{closest(name, readers)} is not an option of"
                    f" {backend}: remove it, or use one of {', '.join(sorted(readers))}.",
                )
            read.append((str(name), readers[name](name, value)))
        except Refusal as refusal:
            problems.extend(refusal.problems)
    if problems:
        raise Refusal(*problems)
    return cast(LayerConfig, dict(read))


def written_options(options: object, backend: object) -> dict[str, object]:
    """Return options as the layer is given them; unchanged where they are refused, which another check reports."""
    try:
        read = _read_options(options, backend) if isinstance(backend, str) and backend in _OPTIONS else options
    except Refusal:
        read = options
    return dict(mapping_of(read))


def only_of_core(options: object) -> list[str]:
    """Return the names of the options among these that the pub/sub class does not take."""
    given = {name for name, value in options.items() if value is not None} if isinstance(options, Mapping) else set()
    return sorted(given & (set(_OPTIONS[CORE_BACKEND]) - set(_OPTIONS[PUBSUB_BACKEND])))


def channel_layers(
    hosts: object, credentials: object = None, options: object = None, backend: str = CORE_BACKEND
) -> dict[str, Layer]:
    """Return the mapping for `settings.CHANNEL_LAYERS`.

    Each host has READ_TIMEOUT as its `socket_timeout`, unless it sets one.

    Args:
        hosts: a list of `[host, port]`, of redis://, rediss:// and unix:// URLs, and of mappings (with `host`, with
            `address`, with `path`, or with `master_name` and `sentinels`). Not read for the in-memory layer.
        credentials: `{username, password}`, the user name optional, or nothing.
        options: what else the layer's class takes; null stands for not given. Times are in seconds.
        backend: the layer's class.

    Raises:
        Refusal: with every reason found. No password is in it.
    """
    wrong = choice_refusal("tethys_layer_backend", backend, BACKENDS)
    if wrong:
        raise Refusal(wrong)
    backend = str(backend)
    config: LayerConfig = {}
    problems: list[Problem] = []
    if backend != MEMORY_BACKEND:
        try:
            read = read_hosts(hosts)
            login = credentials_for(read, credentials)
            config["hosts"] = [login.beside(host.mapping) if login else host.written for host in read]
        except Refusal as refusal:
            problems.extend(refusal.problems)
    try:
        config.update(_read_options(options, backend))
    except Refusal as refusal:
        problems.extend(refusal.problems)
    if problems:
        raise Refusal(*problems)
    return {"default": {"BACKEND": backend, "CONFIG": config} if config else {"BACKEND": backend}}
