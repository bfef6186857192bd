# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a picture of a page in Chromium, as high as its content; with --slider after the slider of the Bokeh page moved.

`scripts/pictures --screenshots` runs it in the image of the browser. It ends with an error if the server's answer to
the slider does not arrive.
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path

from bokeh_slider import DRAWN, FIND, HANDLE, STATE, answered, options, until
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.chrome.service import Service

BOTTOM = """
return Math.max(...[...document.querySelectorAll("body *")].map((each) => each.getBoundingClientRect().bottom));
"""
MARGIN = 16


def move_slider(browser: Chrome) -> None:
    """Move the slider by two steps, and wait until the curve is the one that the server computed."""
    until(lambda: browser.execute_script(FIND + DRAWN), "no plot", 20)
    before = browser.execute_script(FIND + STATE)
    browser.execute_script(FIND + HANDLE).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    until(lambda: answered(browser, before), "no answer to the slider", 20)


def main() -> int:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Take a picture of a page.")
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--width", type=int, default=1000, help="of the window (default: %(default)s)")
    parser.add_argument("--slider", action="store_true", help="move the slider of the Bokeh page first")
    args = parser.parse_args()
    browser = Chrome(service=Service("/usr/bin/chromedriver"), options=options(args.url))
    try:
        # Lower than the content, since some elements are as high as the window.
        metrics = {"width": args.width, "height": 300, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(args.url)
        if args.slider:
            move_slider(browser)
        height = browser.execute_script(BOTTOM) + MARGIN
        clip = {"x": 0, "y": 0, "width": args.width, "height": height, "scale": 1}
        found = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    finally:
        browser.quit()
    args.file.write_bytes(base64.b64decode(found["data"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
