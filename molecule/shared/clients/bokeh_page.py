# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the Bokeh page as a browser does, and print as JSON how often a plot came.

A browser fetches the page, then the script ``autoload.js``, then opens a socket with the token it found there. Each is
a connection of its own and may meet another ASGI process; the page stays blank where the socket's process cannot make
the document. ``moved`` says whether the slider changed the data on the server. Ends with 1 where a load was blank.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin
from urllib.request import ProxyHandler, build_opener

from bokeh.client import ClientSession
from bokeh.models import ColumnDataSource
from bokeh.util.token import get_session_id

TOKEN = re.compile(r"""["']?token["']?\s*:\s*["']([^"']+)["']""")
# The test server is never behind a proxy, whatever the environment says.
OPENER = build_opener(ProxyHandler({}))


class BrowserSession(ClientSession):  # type: ignore[misc]  # untyped where bokeh is not installed
    """A session that uses the token which the page got, since the server put the request's data into it."""

    def __init__(self, token: str, websocket_url: str) -> None:
        self._page_token = token
        super().__init__(session_id=get_session_id(token), websocket_url=websocket_url)

    @property
    def token(self) -> str:
        """Return the page's token."""
        return self._page_token


def fetch(url: str) -> str:
    """Return the text at a URL."""
    with OPENER.open(url, timeout=20) as answer:
        return str(answer.read().decode())


def load(url: str) -> bool:
    """Load the page once; return whether the slider moved the data, or raise where there is no plot."""
    script = re.search(r'"([^"]*/autoload\.js\?[^"]*)"', fetch(url))
    if not script:
        raise RuntimeError("the page has no autoload.js")
    token = TOKEN.search(fetch(urljoin(url, script[1].replace("&amp;", "&"))))
    if not token:
        raise RuntimeError("autoload.js has no token")
    session = BrowserSession(token[1], url.replace("http", "ws", 1).rstrip("/") + "/ws")
    try:
        session.connect()
        session.pull()
        document = session.document
        source = document.select_one({"type": ColumnDataSource})
        slider = document.select_one({"name": "frequency"})
        if source is None or slider is None:
            raise RuntimeError("the document is empty")
        before = list(source.data["y"])
        slider.value = 5
        session.force_roundtrip()
        # The server's own change is not relied on to come back by itself: the document is asked for again.
        session.pull()
        return before != list(document.select_one({"type": ColumnDataSource}).data["y"])
    finally:
        session.close()


def main() -> int:
    """Load the page as often as asked."""
    parser = argparse.ArgumentParser(description="Load the Bokeh page and count how often a plot came.")
    parser.add_argument("--url", default="http://127.0.0.1:8000/apps/bokehplot/wave/", help="(default: %(default)s)")
    parser.add_argument("--loads", type=int, default=40, help="(default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=1, help="loads that go on together (default: %(default)s)")
    args = parser.parse_args()
    logging.disable(logging.ERROR)
    moved: list[bool] = []
    errors: set[str] = set()

    def attempt(_load: int) -> None:
        try:
            moved.append(load(args.url))
        except (OSError, RuntimeError, ValueError) as error:
            errors.add(f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(args.at_once) as pool:
        list(pool.map(attempt, range(args.loads)))
    print(
        json.dumps({"loads": args.loads, "plots": len(moved), "moved": sum(moved), "errors": sorted(errors)}),
    )
    return int(len(moved) != args.loads)


if __name__ == "__main__":
    sys.exit(main())
