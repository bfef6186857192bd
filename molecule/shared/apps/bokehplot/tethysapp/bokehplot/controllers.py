# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app's first page, an ordinary one: an app's first URL has no name of its own, and the plot shall have one."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from tethys_sdk.routing import controller


@controller(login_required=False)
def home(request: HttpRequest) -> HttpResponse:
    """Link to the plot."""
    return HttpResponse('<!DOCTYPE html><title>Bokeh Plot</title><p><a href="wave/">A sine wave</a></p>')
