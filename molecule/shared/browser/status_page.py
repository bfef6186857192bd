# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the status page in Chromium, narrow and wide, light and dark, and print as JSON what a reader gets.

Each row has ``width`` and ``scheme``, ``scroll_width`` (the window's unless something sticks out), ``contrast``
(the lowest of any text, as WCAG computes it), ``text`` (what can be read) and ``errors`` (what the browser reports).
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bokeh_slider import options
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.service import Service

WIDTHS = (400, 1200)
SCHEMES = ("light", "dark")
MEASURE = """
const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parts = (color) => color.match(/[\\d.]+/g).map(Number);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const color = parts(getComputedStyle(element).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
let lowest = 21;
for (const element of document.querySelectorAll("body *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (element.tagName === "SCRIPT") continue;
  const pair = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a);
  lowest = Math.min(lowest, (pair[0] + 0.05) / (pair[1] + 0.05));
}
return {scroll_width: document.scrollingElement.scrollWidth, contrast: lowest, text: document.body.innerText};
"""


def read(browser: Chrome, url: str, width: int, scheme: str, picture: str) -> dict[str, Any]:
    """Return what a reader gets in a window of that width in that color scheme."""
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(url)
    found: dict[str, Any] = browser.execute_script(MEASURE)
    if picture:
        browser.save_screenshot(f"{picture}-{width}-{scheme}.png")
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return {"width": width, "scheme": scheme, "errors": errors, **found}


def main() -> int:
    """Read the page in each width and color scheme."""
    parser = argparse.ArgumentParser(description="Read the status page in a browser.")
    parser.add_argument("url")
    parser.add_argument("--pictures", default="", help="beginning of the names of pictures of each")
    args = parser.parse_args()
    browser = Chrome(service=Service("/usr/bin/chromedriver"), options=options(args.url))
    try:
        rows = [read(browser, args.url, width, scheme, args.pictures) for width in WIDTHS for scheme in SCHEMES]
    finally:
        browser.quit()
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
