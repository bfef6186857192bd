# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plot's Bokeh handler."""

from __future__ import annotations

import numpy as np
from bokeh.document import Document
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Div, Slider
from bokeh.plotting import figure
from tethys_sdk.routing import handler


# Tethys's own page for a handler is a script alone, which a browser takes into the head, where Bokeh 3.9 draws nothing.
@handler(url="wave", template="bokehplot/wave.html", login_required=False, with_request=True)
def wave(document: Document) -> None:
    """Draw a sine wave; the slider changes its data on the server.

    ``with_request`` is what goes wrong when page and socket meet different processes, so this plot uses it.
    """
    x = np.linspace(0, 2 * np.pi, 200)
    source = ColumnDataSource(data={"x": x, "y": np.sin(x)}, name="curve")
    plot = figure(title="A sine wave", width=600, height=300)
    plot.line("x", "y", source=source)
    slider = Slider(title="frequency", start=1, end=10, value=1, step=1, name="frequency")

    def change(attr: str, old: int, new: int) -> None:
        source.data = {"x": x, "y": np.sin(new * x)}

    slider.on_change("value", change)
    user = getattr(document.request, "user", None)
    document.add_root(column(slider, plot, Div(text=f"drawn for {user}")))
