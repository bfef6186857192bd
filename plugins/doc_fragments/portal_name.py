# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option by which a module distinguishes the portals of a server."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragment `tethys.channels.portal_name`."""

    DOCUMENTATION = r"""
options:
  portal_name:
    description:
      - The portal's name, if the server has several portals. It is part of the names of the portal's files, folders and
        Supervisor groups. The first portal has no name.
    type: str
    default: ""
"""
