# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image of Redis: its name, its version, and whether it still gets security fixes."""

from __future__ import annotations

import re

from ansible_collections.tethys.channels.plugins.plugin_utils.model import (
    Problem,
)

# Redis 5 has no users and had its last fix in 2022; 6.0 and 7.0 have none for CVE-2025-49844 (Lua, by any user).
END_OF_LIFE = {"5": "2022-04-27", "6.0": "2022-05", "7.0": "2024-07"}


def image_version(image: str) -> str | None:
    """Return the version in an image's tag, as `8.2` or `5`, or None."""
    # A digest after the tag contains another colon.
    found = re.fullmatch(r".*:(\d+(?:\.\d+)?)[^/]*", image.partition("@")[0])
    return found.group(1) if found else None


def image_warning(image: str) -> Problem | None:
    """A warning for an image that no longer gets security fixes."""
    version = image_version(image)
    if version is None or not re.search(r"(^|/)redis:", image):
        return None
    for old, date in END_OF_LIFE.items():
        if version == old or version.startswith(f"{old}."):
            return Problem(
                "image-end-of-life",
                "redis_container_image",
                f"redis_container_image is {image}: Redis {old} had its last security fix by {date}. "
                "Set it to one that still gets them, such as redis:8.2.",
            )
    return None


def image_name(image: str) -> str:
    """An image's name without what an engine takes for granted in it."""
    name = image if re.search(r"[:@][^/]*$", image) else f"{image}:latest"
    return re.sub(r"^(docker\.io/|localhost/)?(library/)?", "", name)
