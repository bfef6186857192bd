# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the Bokeh page in Chromium, move its slider with the keyboard, and print as JSON how often the answer came.

``plots`` counts the loads that drew the plot, ``moved`` those in which the server's answer to the slider arrived in the
page: the curve's data is computed by the server alone. ``elsewhere`` lists what the page wanted from other machines,
which this browser cannot reach. Ends with 1 where an answer is missing or something was wanted from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from typing import Any, Callable
from urllib.parse import urlsplit

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service

# Bokeh draws into shadow roots inside of shadow roots, which no selector reaches into.
FIND = """
const find = (root, selector) => {
  const found = root.querySelector(selector);
  if (found) return found;
  for (const element of root.querySelectorAll("*"))
    if (element.shadowRoot) {
      const inside = find(element.shadowRoot, selector);
      if (inside) return inside;
    }
  return null;
};
"""
DRAWN = """
const document_ = window.Bokeh && Bokeh.documents[0];
if (!document_ || !document_.is_idle) return false;
const canvas = find(document, "canvas");
return Boolean(canvas && canvas.width && canvas.height && find(document, ".noUi-handle"));
"""
HANDLE = 'return find(document, ".noUi-handle");'
STATE = """
const model = (name) => Bokeh.documents[0].get_model_by_name(name);
return {frequency: model("frequency").value, y: Array.from(model("curve").data.y)};
"""


def options(url: str) -> ChromeOptions:
    """A browser that reaches the portal on this machine under any name, and nothing else."""
    found = ChromeOptions()
    found.binary_location = "/usr/bin/chromium"
    for word in (
        "--headless=new",
        # The container is the sandbox; Chromium's own would need more rights than it has.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=1000,800",
        "--no-proxy-server",
        f"--host-resolver-rules=MAP {urlsplit(url).hostname} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ):
        found.add_argument(word)
    found.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return found


def until(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """What the condition gives, once that is true."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= end:
            raise TimeoutError(f"{what} within {seconds:.0f} s")
        time.sleep(0.1)


def answered(browser: Chrome, before: dict[str, Any]) -> bool:
    """Whether the curve in the page is what the server makes of the slider's new value."""
    now = browser.execute_script(FIND + STATE)
    last = len(now["y"]) - 1
    wanted = [math.sin(now["frequency"] * 2 * math.pi * number / last) for number in range(last + 1)]
    near = all(abs(one - other) < 1e-6 for one, other in zip(now["y"], wanted))
    return bool(now["frequency"] != before["frequency"] and near)


def wanted_from(browser: Chrome, host: str) -> set[str]:
    """What was asked of other machines since this was last called."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            address = message["params"]["request"]["url"]
            if urlsplit(address).scheme in ("http", "https", "ws", "wss") and urlsplit(address).hostname != host:
                found.add(address.partition("?")[0])
    return found


def main() -> int:
    """Load the page as often as asked."""
    parser = argparse.ArgumentParser(description="Move the slider of the Bokeh page in a browser.")
    parser.add_argument("url", nargs="?", default="http://portal.example.org/apps/bokehplot/wave/")
    parser.add_argument("--loads", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds to wait for the plot, and for the answer")
    parser.add_argument("--picture", help="file for a picture of the last page")
    args = parser.parse_args()
    plots = moved = 0
    errors: set[str] = set()
    elsewhere: set[str] = set()
    browser = Chrome(service=Service("/usr/bin/chromedriver"), options=options(args.url))
    try:
        browser.set_page_load_timeout(60)
        for _load in range(args.loads):
            try:
                browser.get(args.url)
                until(lambda: browser.execute_script(FIND + DRAWN), "no plot", args.timeout)
                plots += 1
                before = browser.execute_script(FIND + STATE)
                browser.execute_script(FIND + HANDLE).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
                until(lambda: answered(browser, before), "no answer to the slider", args.timeout)  # noqa: B023
                moved += 1
            except (TimeoutError, WebDriverException) as error:
                errors.add(f"{type(error).__name__}: {str(error).splitlines()[0]}")
                errors.update(entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE")
            elsewhere |= wanted_from(browser, str(urlsplit(args.url).hostname))
        if args.picture:
            browser.save_screenshot(args.picture)
    finally:
        browser.quit()
    print(
        json.dumps(
            {
                "loads": args.loads,
                "plots": plots,
                "moved": moved,
                "errors": sorted(errors),
                "elsewhere": sorted(elsewhere),
                "browser": browser.capabilities["browserVersion"],
            }
        )
    )
    return int(moved != args.loads or bool(elsewhere))


if __name__ == "__main__":
    sys.exit(main())
