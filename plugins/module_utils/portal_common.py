# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs in the portal's Python share: versions, and keeping secrets out of what is said."""

from __future__ import annotations

import importlib.metadata
import re
from typing import Any, Iterable
from urllib.parse import quote, unquote

MASK = "********"
_SECRET_NAME = re.compile(r"password|secret|token|encryption_key", re.IGNORECASE)
_USER_PART = re.compile(r"([a-z][a-z0-9+.-]*://)(?:([^/]*)@)?", re.IGNORECASE)
# redis-py takes a password behind the question mark too.
_QUERY_PART = re.compile(r"([?&])([^=&]*)=([^&]*)")


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """The installed versions of these distributions; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in names:
        found[name] = None
        # Older Pythons find a distribution only under the spelling it was installed with.
        for spelling in (name, name.replace("_", "-")):
            try:
                found[name] = importlib.metadata.version(spelling)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def is_secret(key: Any) -> bool:
    """Whether a password or key stands under that name."""
    return bool(_SECRET_NAME.search(str(key)))


def _in_query(url: str) -> list[str]:
    """The passwords behind a URL's question mark, as they stand there."""
    return [value for _sign, key, value in _QUERY_PART.findall(url) if value and is_secret(unquote(key))]


def url_without_secrets(text: str) -> str:
    """A URL without the user, the password and the keys in it; any other text as it is."""
    url = _USER_PART.match(text)
    if not url:
        return text
    base, _sign, query = (url.group(1) + text[url.end() :]).partition("?")
    if url.group(2) and "?" in url.group(2) and _in_query(text):
        # An @ behind the question mark: what stands before it is no user part.
        base, _sign, query = text.partition("?")
    kept = [pair for pair in query.split("&") if not is_secret(_key(pair)) and _key(pair) != "username"]
    return base + ("?" if any(kept) else "") + "&".join(kept)


def _key(pair: str) -> str:
    return unquote(pair.partition("=")[0])


def secrets_in(value: Any, secret: bool = False) -> list[str]:
    """The passwords and keys in a setting, also as they stand in a URL."""
    if isinstance(value, dict):
        return [s for key, item in value.items() for s in secrets_in(item, secret or is_secret(key))]
    if isinstance(value, (list, tuple)):
        return [s for item in value for s in secrets_in(item, secret)]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str) and secret:
        return [value]
    if isinstance(value, str):
        url = _USER_PART.match(value)
        user = [url.group(2).partition(":")[2] or url.group(2)] if url and url.group(2) else []
        query = _in_query(value) if url else []
        return [*user, *query, *(unquote(text) for text in query if unquote(text) != text)]
    return []


def masked(value: Any, secret: bool = False) -> Any:
    """A setting as it may be shown: passwords, keys and the user part of URLs are masked, everything is JSON."""
    if isinstance(value, dict):
        return {str(key): masked(item, secret or is_secret(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, secret) for item in value]
    if value is None:
        return None
    if secret:
        return MASK
    if isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    url = _USER_PART.match(text)
    query = _in_query(text) if url else []
    if url and url.group(2):
        # With a sign in the query that ends a user part, nobody can tell where the secret begins.
        text = url.group(1) + MASK + ("" if query and "?" in url.group(2) else "@" + text[url.end() :])
    if query:
        text = _QUERY_PART.sub(
            lambda pair: f"{pair[1]}{pair[2]}={MASK if pair[3] and is_secret(unquote(pair[2])) else pair[3]}", text
        )
    return text


class Hider:
    """Takes secrets out of everything that is said: an error message may quote one."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def learn(self, *values: Any) -> None:
        """Remember these secrets. One of three characters or less would be found everywhere."""
        texts = {value for value in values if isinstance(value, str) and len(value) > 3}
        spellings = {*self._secrets, *texts, *(quote(text, safe="") for text in texts)}
        self._secrets = sorted(spellings, key=len, reverse=True)

    def everywhere(self, value: Any) -> Any:
        """The same value without them."""
        if isinstance(value, dict):
            return {key: self.everywhere(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.everywhere(item) for item in value]
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MASK)
        return value


def sentence(error: BaseException | None) -> str:
    """An error as part of a sentence."""
    if error is None:
        return "no reason was given"
    said = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {said[:400]}" if said else type(error).__name__
