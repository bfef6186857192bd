# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A structure as the value of a variable of Tethys Docker's environment.

On its way into the portal's settings the value passes what carries it (a Dockerfile, a compose file or an env file),
then Salt, which pastes it into a folded block of YAML and hands that to a shell, then the shell, and at last YAML.
Instead of protecting every sign from every stage, no sign that a stage takes for its own is in the value: YAML, the
last stage, can write any of them as an escape. What is left is a line of plain ASCII between single quotes, exactly one
shell word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml
from ansible_collections.tethys.channels.plugins.plugin_utils.model import Refusal, refused
from ansible_collections.tethys.channels.plugins.plugin_utils.values import choice_refusal, type_name

CARRIERS = ("dockerfile", "compose", "env_file")

# Linux accepts no argument of more than 128 KiB, and the value arrives in one together with all other settings.
MAX_LENGTH = 64 * 1024

# The single quote would end the shell's word, the dollar sign is Compose's. The others take no harm on the way that
# Tethys Docker has today; they begin a comment, another escape, or a placeholder of Jinja and of percent formats.
_TAKEN = {sign: f"\\x{ord(sign):02x}" for sign in "'$`#%"}


class _Dumper(yaml.SafeDumper):
    """Writes everything on one line, every text between double quotes, since only there YAML has escapes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')


_Dumper.add_representer(str, _quoted)


def _text(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise refused(
            "text-not-writable",
            "value",
            "The value contains half of a character (a lone surrogate), which cannot be written to a file: "
            "write it again.",
        ) from None
    return str(text)


def _plain(value: Any) -> Any:
    """The value as plain Python, which is all that can be written so that it arrives the same."""
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, bool) or not isinstance(key, (str, int)):
                raise refused(
                    "key-invalid",
                    "value",
                    f"The value has a key that is neither a text nor a whole number ({type_name(key)}).",
                )
        return {_text(key) if isinstance(key, str) else int(key): _plain(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(held) for held in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    raise refused(
        "value-not-plain",
        "value",
        "The value has something in it that is not a text, number, boolean, list or mapping"
        f" ({type_name(value)}): write it as one of these.",
    )


def docker_env(value: Any, carrier: str = "dockerfile") -> str:
    """Return the text to write for a variable, so that the structure arrives in the portal's settings.

    Args:
        value: a mapping, a list or a text.
        carrier: `dockerfile` (what follows `ENV NAME=`), `compose` (the value in a compose file's `environment`, before
            it is written as YAML) or `env_file` (what follows `NAME=` in a file for `docker run --env-file`).

    Raises:
        Refusal: the value is none that can arrive, or the carrier does not exist. No part of the value is in it.
    """
    wrong = choice_refusal("carrier", carrier, CARRIERS)
    if wrong:
        raise Refusal(wrong)
    if not isinstance(value, (Mapping, list, tuple, str)):
        raise refused(
            "value-not-plain",
            "value",
            f"The value is not a mapping, list or text ({type_name(value)}): give the layer's CONFIG.",
        )
    try:
        plain = _plain(value)
    except RecursionError:
        raise refused(
            "value-endless", "value", "The value is nested without an end: give the layer's CONFIG."
        ) from None
    line = yaml.dump(
        plain, Dumper=_Dumper, default_flow_style=True, width=float("inf"), allow_unicode=False, sort_keys=False
    )
    for sign, escape in _TAKEN.items():
        line = line.replace(sign, escape)
    word = f"'{line.rstrip()}'"
    if carrier == "dockerfile":
        word = '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'
    if len(word) > MAX_LENGTH:
        raise refused(
            "value-too-long",
            "value",
            f"The value is {len(word)} characters long, and at most {MAX_LENGTH} are allowed: give a shorter one.",
        )
    return word
