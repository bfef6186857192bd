# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a portal's container may answer, as schemas for the boundary.

Whoever runs code in the container writes these answers. So nothing passes that is not listed: of the keys that Ansible
acts on (`ansible_facts` and others), only `changed`, `failed`, `msg` and `diff`.
"""

from __future__ import annotations

from ansible_collections.tethys.channels.plugins.module_utils.boundary import (
    Either,
    Flag,
    Kind,
    Listing,
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
from ansible_collections.tethys.channels.plugins.module_utils.facts import APP, APP_PROBLEM, HANDLER, SETTINGS

_PROCESSES = Whole(0, 1000)
_COUNT = Whole(0, 10**9)
_SENTENCES = Listing(Text(), 500)
_NAMES = Listing(Name(), 5000)
# The boundary takes no line breaks, so a difference comes line by line (tethys_docker_inside).
_LINES = Listing(Text(2000), 20_000)
_DIFF = Record(
    {"before": _LINES, "after": _LINES, "before_header": Text(), "after_header": Text(), "prepared": Text()},
)
_COMMON: dict[str, Kind] = {
    "changed": Flag(),
    "diff": Either((_DIFF, Listing(_DIFF, 100))),
}


def _answer(**fields: Kind) -> Record:
    """Return the schema of a module that returns these keys if it does not fail."""
    return Record({**_COMMON, **fields}, ("changed", *fields))


def failed(schema: Record) -> Record:
    """Return the schema of the same module where it fails."""
    return Record({**schema.fields, "failed": Flag(), "msg": Text()}, ("failed", "msg"))


_REASON = Maybe(Text())
_PORTAL = needs_all(
    user=Maybe(Name()),
    group=Maybe(Name()),
    user_problem=_REASON,
    prefix_problem=_REASON,
    home_problem=_REASON,
    prefix_owner=Maybe(needs_all(user=Name(), uid=Whole())),
    python=Maybe(Name()),
    site_packages=Maybe(Name()),
    versions=Table(Maybe(Text(100)), most=50),
    lacking=Maybe(_SENTENCES),
    config=Table(Plain(2), most=20),
    settings=Maybe(SETTINGS),
    settings_problem=_REASON,
    start_problem=_REASON,
    database_problem=_REASON,
    connection_limit=Maybe(Whole()),
    access=Listing(Table(Plain(1), most=10)),
    leftovers=Listing(Table(Plain(1), most=10)),
    apps=Listing(APP),
    app_problems=Listing(APP_PROBLEM),
    bokeh=Either((OneOf(("unknown",)), Listing(HANDLER))),
    bokeh_problem=_REASON,
    lifecycle_consumer=Maybe(Flag()),
    warnings=_SENTENCES,
    seconds=Number(),
)
_IDLE = needs_all(seconds=Number(), of=_COUNT, alive=_COUNT, received=_COUNT, close_codes=Table(_COUNT, most=100))
_PROBE = needs_all(
    ok=Flag(),
    problems=_SENTENCES,
    codes=Listing(needs_all(code=Text(100), subject=Text(5000)), 500),
    provable=Flag(),
    reason=Maybe(Text(200)),
    processes=Listing(
        needs_all(
            pid=_COUNT,
            user=Text(200),
            port=Whole(0, 65535),
            age_seconds=Number(),
            sockets=_COUNT,
            received=_COUNT,
            alive=Flag(),
            name=Maybe(Text(200)),
        ),
        1000,
    ),
    listeners=Listing(needs_all(port=Whole(0, 65535), processes=_PROCESSES), 1000),
    messages=_COUNT,
    sent=_COUNT,
    received=_COUNT,
    delivery_seconds=Maybe(Number()),
    idle=Maybe(_IDLE),
    among=Maybe(Plain(3)),
    # No web server is checked in a container.
    front=Maybe(OneOf(())),  # the container's own web server is not asked
    settings_match=Maybe(Flag()),
    backend=Maybe(Text(300)),
    versions=Table(Maybe(Text(100)), most=50),
    warnings=_SENTENCES,
    seconds=Number(),
)

# The modules that may be run in a container, and what each returns.
ANSWERS: dict[str, Record] = {
    "asgi_roll": _answer(restarted=_NAMES, regrouped=Flag(), removed=_NAMES, written=_NAMES),
    "layer_probe": _answer(probe=_PROBE),
    "portal_info": _answer(portal=_PORTAL),
    "portal_settings": Record(
        {
            **_COMMON,
            "path": Name(),
            "realpath": Name(),
            "sha256": Name(64),
            "backup_file": Name(),
            "others_can_read": Flag(),
            "restored": OneOf(("file", "setting", "nothing")),
        },
        ("changed", "path"),
    ),
    "tethys_docker_program": _answer(before=_PROCESSES, processes=_PROCESSES, fresh=Flag()),
}

# What the script of tethys_docker_state prints.
INSIDE = needs_all(
    set_up=Flag(),
    set_up_at=Maybe(Number()),
    listens=Flag(),
    answers=Flag(),
    program=Listing(Text(2000), 500),
    lacks_endpoint=Flag(),
    others_can_read=Flag(),
    kept=Maybe(needs_all(fresh=Flag(), processes=_PROCESSES)),
    oldest=Maybe(Number()),
)
