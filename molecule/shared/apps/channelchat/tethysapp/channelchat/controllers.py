# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chat's page, and a view that tells what of a request arrived."""

from __future__ import annotations

import hashlib
import os
import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from tethys_sdk.routing import controller

from .app import App


@controller(login_required=False)
def home(request: HttpRequest) -> HttpResponse:
    """Show the chat."""
    return App.render(request, "home.html")


@controller(url="echo", login_required=False)
@csrf_exempt
def echo(request: HttpRequest) -> JsonResponse:
    """Say what arrived and which process answers, after ``?sleep=`` seconds."""
    body = request.body
    time.sleep(min(float(request.GET.get("sleep", 0)), 10))
    return JsonResponse(
        {
            "query": request.META["QUERY_STRING"],
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "pid": os.getpid(),
        }
    )
