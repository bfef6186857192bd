# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tethys does not load an app without a page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from tethys_sdk.routing import controller


@controller(login_required=False)
def home(_request: HttpRequest) -> HttpResponse:
    """Answer."""
    return HttpResponse("hostile")
