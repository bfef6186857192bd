# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules return and what the portal's Python answers: its shape, and the schema that the boundary accepts.

A ``TypedDict`` is for readers and mypy; the ``Record`` of the same name in capitals is the schema for the boundary. A
unit test compares the two.
"""

from __future__ import annotations

from typing import TypedDict

from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Either,
    Flag,
    Listing,
    Match,
    Maybe,
    Name,
    Number,
    OneOf,
    Plain,
    Record,
    Table,
    Text,
    Whole,
    needs_all,
)
from ansible_collections.tethys.channels.plugins.module_utils.portal_common import DELIVERY_PACKAGES, PACKAGES

# A number of a socket as a key, which JSON has as text.
_DIGITS = Match("[0-9]{1,9}")
_REASON = Maybe(Text())
# More sockets than a delivery check opens.
_SOCKETS = 20_000


# --- what the portal says of itself (portal_look) ---------------------------------------------------------------------


class Handler(TypedDict):
    """A Bokeh handler, with the address of its page."""

    app: str
    name: str
    url: str


class App(TypedDict):
    """An installed app."""

    package: str
    name: str
    root_url: str


class AppProblem(TypedDict):
    """An app that could not be loaded whole."""

    package: str
    problem: str


class Database(TypedDict):
    """The portal's database."""

    engine: str | None
    name: str | None
    host: str | None
    # Whether CONN_MAX_AGE keeps connections after a request.
    keeps_connections: bool
    # The most connections of a process's pool; None without a pool.
    pool: int | None


class DataPlace(TypedDict):
    """A file or folder with data of the portal, without links in its path, and whether it holds anything."""

    setting: str
    path: str
    holds: bool


class Settings(TypedDict, total=False):
    """Django's settings as Tethys made them; secrets are masked."""

    allowed_hosts: list[str]
    debug: bool
    prefix_url: str | None
    multiple_app_mode: bool
    standalone_app: str | None
    static_root: str | None
    media_root: str | None
    workspaces_root: str | None
    channel_layers: object
    layer_backend: str | None
    layer_hosts: object
    database: Database
    data: list[DataPlace]


class LookAnswer(TypedDict, total=False):
    """What the portal's Python answers, in parts."""

    versions: dict[str, str | None]
    config_problem: str | None
    lacking: list[str]
    settings: Settings
    settings_problem: str | None
    start_problem: str | None
    database_problem: str | None
    connection_limit: int | None
    bokeh: str | list[Handler]
    bokeh_problem: str | None
    apps: list[App]
    app_problems: list[AppProblem]
    lifecycle_consumer: bool | None
    done: bool


HANDLER = needs_all(app=Text(200), name=Text(200), url=Name(2000))
APP = needs_all(package=Text(200), name=Text(200), root_url=Text(200))
APP_PROBLEM = needs_all(package=Text(200), problem=Text())
DATABASE = needs_all(
    engine=Maybe(Text(200)),
    name=Maybe(Name()),
    host=Maybe(Text(200)),
    keeps_connections=Flag(),
    pool=Maybe(Whole(1)),
)
DATA_PLACE = needs_all(setting=Name(200), path=Name(), holds=Flag())
SETTINGS = needs_all(
    allowed_hosts=Listing(Text(300)),
    debug=Flag(),
    prefix_url=Maybe(Text(1000)),
    multiple_app_mode=Flag(),
    standalone_app=Maybe(Text(200)),
    static_root=Maybe(Name()),
    media_root=Maybe(Name()),
    workspaces_root=Maybe(Name()),
    channel_layers=Plain(),
    layer_backend=Maybe(Text(300)),
    layer_hosts=Plain(),
    database=DATABASE,
    data=Listing(DATA_PLACE, 100),
)
LOOK_ANSWER = Record(
    {
        "versions": Table(Maybe(Text(100)), OneOf(PACKAGES)),
        "config_problem": _REASON,
        "lacking": Listing(Text(1000), 1000),
        "settings": SETTINGS,
        "settings_problem": _REASON,
        "start_problem": _REASON,
        "database_problem": _REASON,
        "connection_limit": Maybe(Whole()),
        "bokeh": Either((OneOf(("unknown",)), Listing(HANDLER))),
        "bokeh_problem": _REASON,
        "apps": Listing(APP),
        "app_problems": Listing(APP_PROBLEM),
        "lifecycle_consumer": Maybe(Flag()),
        "done": Flag(),
    }
)


# --- what a child process sees as the portal's user (portal_state) ----------------------------------------------------


class Leftover(TypedDict):
    """Files in a folder that the portal's user cannot write, by their owner."""

    folder: str
    uid: int
    count: int
    example: str


LEFTOVER = needs_all(folder=Name(), uid=Whole(), count=Whole(), example=Text(5000))
LEFTOVERS = Listing(LEFTOVER, 1000)
BLOCKED = Listing(Maybe(Name()))


# --- what the sockets and the channel layer show (portal_wire) --------------------------------------------------------


class WireAbout(TypedDict):
    """The portal's channel layer, before anything is sent."""

    backend: str | None
    settings_match: bool | None
    versions: dict[str, str | None]
    host: str
    prefix_url: str
    consumer: bool
    sentinel: bool
    short_reads: dict[str, float]


class Opened(TypedDict):
    """A WebSocket that was opened."""

    id: int
    port: int
    local_port: int


class NotOpened(TypedDict):
    """A WebSocket that was refused."""

    port: int
    status: int
    why: str


class WireOpened(TypedDict):
    """What came of a batch of WebSockets."""

    opened: list[Opened]
    failed: list[NotOpened]


class WireSent(TypedDict):
    """Who received a message, after how many seconds, and which sockets were closed, with which code."""

    problem: str | None
    of: list[int]
    received: dict[str, float]
    closed: dict[str, int | None]


class WireRested(TypedDict):
    """Which sockets were closed during silence, with which code."""

    closed: dict[str, int | None]


class WireGreeted(TypedDict):
    """Which sockets received something from each portal."""

    problem: str | None
    of: list[int]
    heard: dict[str, list[int]]


_PORT = Whole(0, 65535)
_CLOSED = Table(Maybe(Whole(0, 65535)), _DIGITS, _SOCKETS)
_IDS = Listing(Whole(0, 10**9), _SOCKETS)
WIRE_ABOUT = needs_all(
    backend=Maybe(Text(300)),
    settings_match=Maybe(Flag()),
    versions=Table(Maybe(Text(100)), OneOf(DELIVERY_PACKAGES)),
    # They become part of an HTTP request.
    host=Match("[A-Za-z0-9.-]{1,253}"),
    prefix_url=Match("[!-~]{0,1000}"),
    consumer=Flag(),
    sentinel=Flag(),
    short_reads=Table(Number(0, 1e6)),
)
OPENED = needs_all(id=Whole(0, 10**9), port=_PORT, local_port=_PORT)
NOT_OPENED = needs_all(port=_PORT, status=Whole(-1, 999), why=Text(400))
WIRE_OPENED = needs_all(opened=Listing(OPENED, _SOCKETS), failed=Listing(NOT_OPENED, _SOCKETS))
WIRE_SENT = needs_all(
    problem=Maybe(Text(1000)), of=_IDS, received=Table(Number(0, 1e6), _DIGITS, _SOCKETS), closed=_CLOSED
)
WIRE_RESTED = needs_all(closed=_CLOSED)
WIRE_GREETED = needs_all(problem=Maybe(Text(1000)), of=_IDS, heard=Table(_IDS, Name(300)))


# --- what portal_info returns -----------------------------------------------------------------------------------------


class Owner(TypedDict):
    """The owner of a path."""

    user: str
    uid: int


class Config(TypedDict, total=False):
    """What is known of portal_config.yml without the portal's Python."""

    path: str
    realpath: str
    exists: bool
    owner: str | None
    group: str | None
    mode: str | None
    others_can_read: bool | None
    sha256: str | None
    problem: str | None


class Access(TypedDict):
    """What the portal's user needs of a path, and what stands in the way."""

    path: str
    need: str
    ok: bool
    blocked_by: str | None
    owner: str | None
    real: str | None


class OwnedLeftover(Leftover):
    """The same with the owner's name, and with what a link leads to."""

    owner: str
    real: str


class Portal(TypedDict, total=False):
    """Everything that portal_info returns."""

    user: str | None
    group: str | None
    user_problem: str | None
    prefix_problem: str | None
    home_problem: str | None
    prefix_owner: Owner | None
    python: str | None
    site_packages: str | None
    versions: dict[str, str | None]
    lacking: list[str] | None
    config: Config
    settings: Settings | None
    settings_problem: str | None
    start_problem: str | None
    database_problem: str | None
    connection_limit: int | None
    access: list[Access]
    leftovers: list[OwnedLeftover]
    apps: list[App]
    app_problems: list[AppProblem]
    bokeh: str | list[Handler]
    bokeh_problem: str | None
    lifecycle_consumer: bool | None
    warnings: list[str]
    seconds: float
