# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find, mask and remove secrets: the one definition of what is secret in a setting, a URL or a text.

It also runs in the portal's Python, which gets it as text: the standard library is all that it may import.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Mapping
from urllib.parse import quote, unquote

MASK = "********"
_WORDS = "pass|pwd|secret|key|token|cred|auth"
_SECRET_NAME = re.compile(_WORDS, re.IGNORECASE)
# redis-py's option for the path of a key's file. The path is no secret, and a portal cannot connect without it.
_KEY_FILE = "ssl_keyfile"
# What else identifies a client to Redis or Sentinel, and is not for a log.
_LOGIN_NAMES = ("username", "sentinel_kwargs")
_USER_PART = re.compile("(?<=://).*@", re.DOTALL)
_AUTHORITY_USER_PART = re.compile("(?<=://)[^/]*@")
_URL = re.compile(r"([a-z][a-z0-9+.-]*://)(?:([^/]*)@)?", re.IGNORECASE)
# redis-py reads a password from a URL's query too.
_QUERY_PART = re.compile(r"([?&])([^=&]*)=([^&]*)")
_ASSIGNMENT = re.compile(rf"((?!(?<=\bssl_)keyfile=)(?:{_WORDS})[^\s&;,?=/@]*=)([^&;, ]+)", re.IGNORECASE)
_LOGIN_IN_TEXT = re.compile(r"(://)[^/\s@]+@")
# Of a text in no known form. "Key" and "auth" are in too many words.
_HINTS = re.compile(r"passw|secret|token|encryption|://[^'\"\s]*@", re.IGNORECASE)


def is_secret(name: Any) -> bool:
    """Return whether the value of a setting, an option or a query parameter of that name is a secret."""
    return str(name) != _KEY_FILE and bool(_SECRET_NAME.search(str(name)))


def may_hold_secret(text: str) -> bool:
    """Return whether a text in no known form, such as a line of a log, is not to be shown at all."""
    return bool(_HINTS.search(text))


# -- find ----------------------------------------------------------------------------------------------------------


def _spellings(texts: Iterable[str]) -> set[str]:
    """Return the texts unchanged and percent-decoded, without empty ones."""
    return {spelling for text in texts for spelling in (text, unquote(text))} - {""}


def _in_query(url: str) -> list[str]:
    """Return the secrets in a URL's query, as written."""
    return [value for _sign, name, value in _QUERY_PART.findall(url) if value and is_secret(unquote(name))]


def _in_text(text: str) -> set[str]:
    found = [value for _name, value in _ASSIGNMENT.findall(text)]
    # A password may have a slash, and what comes after the host an @.
    for part in [*_USER_PART.findall(text), *_AUTHORITY_USER_PART.findall(text)]:
        found += [part[:-1], part[:-1].partition(":")[2]]
    return _spellings([*found, *(_in_query(text) if "://" in text else [])])


def secrets_in(value: Any, secret: bool = False) -> set[str]:
    """Return every secret in a setting, also those in URLs; with ``secret`` all of its values are secrets."""
    if isinstance(value, Mapping):
        return {text for key, item in value.items() for text in secrets_in(item, secret or is_secret(key))}
    if isinstance(value, (list, tuple)):
        return {text for item in value for text in secrets_in(item, secret)}
    if value is None or isinstance(value, bool):
        return set()
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return _in_text(text) | ({text} - {""} if secret else set())


def logins_in(addresses: Iterable[str | None]) -> list[str]:
    """Return the user names and passwords in these addresses as written and percent-decoded, the longest first.

    The addresses are not parsed as URLs, since one that cannot be parsed holds its password too.
    """
    found: set[str] = set()
    for address in addresses:
        authority = (address or "").rpartition("@")[0].rpartition("//")[2]
        found |= _spellings([authority, *authority.split(":", 1)])
    return sorted(found, key=len, reverse=True)


# -- mask ----------------------------------------------------------------------------------------------------------


def _masked_text(text: str) -> str:
    shown = text
    user = _USER_PART.search(text)
    if user:
        # With an @ in the query it is ambiguous where the secret begins.
        after = "" if "?" in user.group() and _in_query(text) else "@" + text[user.end() :]
        shown = text[: user.start()] + MASK + after
    if "://" in text:
        shown = _QUERY_PART.sub(
            lambda pair: f"{pair[1]}{pair[2]}={MASK if pair[3] and is_secret(unquote(pair[2])) else pair[3]}", shown
        )
    return _ASSIGNMENT.sub(rf"\g<1>{MASK}", shown)


def masked(value: Any, before: Any = None, secret: bool = False) -> Any:
    """Return a setting that can be shown and written as JSON or YAML.

    Args:
        value: the setting.
        before: its previous value. A masked text whose secret differs from the previous one says so.
        secret: whether all of it is secret.
    """
    if value is None:
        return None
    if not secret:
        if isinstance(value, Mapping):
            get = before.get if isinstance(before, Mapping) else lambda _key: None
            return {
                key if isinstance(key, (str, int, float)) else str(key): masked(item, get(key), is_secret(key))
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            others = before if isinstance(before, (list, tuple)) else ()
            return [masked(item, others[at] if at < len(others) else None) for at, item in enumerate(value)]
        if isinstance(value, (bool, int, float)):
            return value
    text = str(value)
    shown = MASK if secret else _masked_text(text)
    return shown + " (changed)" if shown != text and before is not None and before != value else shown


def without_logins(text: str, logins: Iterable[str]) -> str:
    """Return the text of a program's output without these logins and those of the URLs in it."""
    for login in logins:
        text = text.replace(login, MASK)
    return _LOGIN_IN_TEXT.sub(rf"\1{MASK}@", text)


class Hider:
    """Mask learned secrets in everything that is reported: an error message may quote one."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def learn(self, *values: Any) -> None:
        """Keep these secrets. One of three characters or less would be found everywhere."""
        texts = {value for value in values if isinstance(value, str) and len(value) > 3}
        spellings = {*self._secrets, *texts, *(quote(text, safe="") for text in texts)}
        self._secrets = sorted(spellings, key=len, reverse=True)

    def everywhere(self, value: Any) -> Any:
        """Return the same value without them."""
        if isinstance(value, dict):
            return {key: self.everywhere(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.everywhere(item) for item in value]
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MASK)
        return value


# -- remove --------------------------------------------------------------------------------------------------------


def url_without_secrets(text: str) -> str:
    """Return a URL without its user, its password and the secrets in its query; any other text unchanged."""
    url = _URL.match(text)
    if not url:
        return text
    base, _sign, query = (url.group(1) + text[url.end() :]).partition("?")
    if url.group(2) and "?" in url.group(2) and _in_query(text):
        # An @ behind the question mark: what stands before it is no user part.
        base, _sign, query = text.partition("?")
    names = ((pair, unquote(pair.partition("=")[0])) for pair in query.split("&"))
    kept = [pair for pair, name in names if not is_secret(name) and name != "username"]
    return base + ("?" if any(kept) else "") + "&".join(kept)


def without_secrets(value: Any) -> Any:
    """Return a layer's CONFIG without secrets and logins, for a place that others read, such as a log."""
    if isinstance(value, Mapping):
        return {
            key: without_secrets(held) for key, held in value.items() if key not in _LOGIN_NAMES and not is_secret(key)
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(held) for held in value]
    return url_without_secrets(value) if isinstance(value, str) else value
