# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drawings of how the parts work together."""

from __future__ import annotations

from collections.abc import Sequence

from svg import Canvas


def node(
    canvas: Canvas,
    x: float,
    y: float,
    width: float,
    height: float,
    lines: Sequence[str],
    fill: str = "inner",
    stroke: str = "line",
) -> None:
    """Add a box with a name in its middle, and smaller lines below the name."""
    canvas.box(x, y, width, height, fill=fill, stroke=stroke)
    top = y + height / 2 - 8 * (len(lines) - 1) + 5
    canvas.text(x + width / 2, top, lines[0], anchor="middle", bold=True)
    canvas.lines(x + width / 2, top + 16, lines[1:], color="soft", size=12, anchor="middle")


def architecture() -> str:
    """Return the parts of a portal, and who writes the files that they read."""
    canvas = Canvas(
        "A portal with its channel layer",
        "Browsers reach nginx, which passes requests to the ASGI processes that Supervisor runs. The"
        " processes exchange messages through Redis, which runs in a container and listens on a unix socket."
        " Below are the files that these parts read, each with the role that writes it. The role layer_check"
        " sends a message to the WebSockets of every process.",
        548,
    )
    canvas.text(24, 34, "What runs", color="soft")
    node(canvas, 24, 112, 96, 76, ["Browsers", "pages and", "WebSockets"], fill="box")
    node(canvas, 172, 112, 130, 76, ["nginx", "upstream", "channels-backend"], fill="box")
    canvas.box(354, 46, 200, 208)
    canvas.text(368, 70, "Supervisor", bold=True)
    processes = ("daphne, as portal's user", "127.0.0.1, tethys_port", "tethys_asgi_processes")
    for place, words in enumerate(processes):
        name = f"ASGI process {place if place < 2 else '…'}"
        node(canvas, 366, 82 + 56 * place, 176, 46, [name, words])
    canvas.box(612, 70, 164, 160)
    canvas.text(626, 94, "Container", bold=True)
    node(canvas, 624, 106, 140, 76, ["Redis", "password, ACL,", "nothing on disk"])
    canvas.text(694, 210, "unix socket, no port", color="soft", size=12, anchor="middle")
    canvas.arrow((120, 150), (172, 150))
    for place in range(3):
        canvas.arrow((302, 142 + 8 * place), (366, 105 + 56 * place))
        canvas.arrow((542, 105 + 56 * place), (624, 136 + 8 * place), both=True)
    canvas.text(566, 250, "messages", color="soft", size=12)
    node(canvas, 24, 232, 130, 40, ["layer_check"], stroke="good")
    canvas.arrow((154, 252), (326, 252), (326, 220), (364, 220), color="good", dash="6 4")
    canvas.caption(
        294,
        "layer_check opens WebSockets to every process, sends one message through Redis, and counts the",
        "WebSockets that received it.",
    )

    canvas.text(24, 350, "What these parts read, what changes in it, and the role that writes it", color="soft")
    cards = (
        ("nginx reads", "portal's site", ("upstream block, in", "socket_per_process"), "nginx_upstream"),
        ("Supervisor reads", "asgi_supervisord.conf", ("the programs, log", "and run folders"), "asgi_service"),
        ("a process reads", "portal_config.yml", ("CHANNEL_LAYERS,", "no other byte"), "portal_config"),
        ("a process runs in", "environment", ("channels_redis,", "redis-py"), "channels_redis"),
        ("Redis reads", "/etc/tethys_channels", ("settings; passwords,", "root only"), "redis_container"),
    )
    for place, (reader, file, lines, role) in enumerate(cards):
        left = 24 + 152 * place
        canvas.box(left, 364, 144, 112)
        canvas.text(left + 9, 384, reader, color="soft", size=12)
        canvas.text(left + 9, 402, file, size=10, mono=True)
        canvas.lines(left + 9, 422, lines, color="soft", size=11)
        canvas.text(left + 9, 464, role, color="blue", bold=True)
    canvas.box(24, 488, 752, 40)
    canvas.text(36, 513, "preflight", color="blue", bold=True)
    words = "runs first: it reads the portal and the server, decides, and refuses what would lose data."
    canvas.text(108, 513, words, "soft")
    return canvas.svg()


def sockets(canvas: Canvas, x: float, y: float, received: bool) -> None:
    """Add the four WebSockets of a process: filled if they received the message, else rings."""
    for place in range(4):
        canvas.dot(x + 17 * place, y, 6, "good" if received else None, "good" if received else "bad")


def delivery() -> str:
    """Return who receives a message with the in-memory layer, and with Redis."""
    canvas = Canvas(
        "Who receives a message: three processes without and with Redis",
        "On the left, the in-memory layer: a message that is sent in process 0 reaches the 4 WebSockets of"
        " process 0, and none of the 8 in processes 1 and 2: 4 of 12. On the right, Redis passes the message to"
        " all three processes, and 12 of 12 WebSockets receive it.",
        374,
    )
    canvas.text(24, 34, "In-memory layer (Tethys's default)", bold=True, size=15)
    canvas.text(440, 34, "Redis layer", bold=True, size=15)
    canvas.line([(412, 20), (412, 354)], color="grid")
    for left, redis in ((24, False), (440, True)):
        for place in range(3):
            top = 56 + 76 * place
            node(canvas, left, top, 116, 54, [f"ASGI process {place}"], fill="box")
            received = redis or place == 0
            sockets(canvas, left + 280, top + 27, received)
            canvas.arrow(
                (left + (206 if redis else 116), top + 27),
                (left + 268, top + 27),
                color="good" if received else "gray",
                dash="" if received else "4 4",
            )
    canvas.text(156, 72, "message", color="soft", size=12)
    # Redis between the processes and their WebSockets.
    canvas.box(600, 56, 46, 206, fill="inner", stroke="blue")
    canvas.text(623, 164, "Redis", bold=True, size=12, anchor="middle")
    canvas.arrow((556, 83), (600, 83), color="good", both=True)
    canvas.arrow((556, 159), (600, 159), color="good", both=True)
    canvas.arrow((556, 235), (600, 235), color="good", both=True)
    canvas.text(24, 308, "4 of 12 WebSockets receive it", color="bad", size=15, bold=True)
    canvas.text(24, 330, "The others stay open and receive nothing.", color="soft", size=12)
    canvas.text(440, 308, "12 of 12 WebSockets receive it", color="good", size=15, bold=True)
    canvas.text(440, 330, "Every run sends such a message, and counts.", color="soft", size=12)
    return canvas.svg()


def layouts() -> str:
    """Return the two layouts of ASGI processes side by side."""
    canvas = Canvas(
        "The two layouts of ASGI processes",
        "On the left, shared_socket: the web server sends requests to one port, 8000, and all processes accept"
        " from it. On the right, socket_per_process: each process has its own port, and nginx's upstream block"
        " lists them, so nginx can drain one process before it restarts.",
        364,
    )
    canvas.text(24, 34, "shared_socket (default)", bold=True, size=15)
    canvas.text(424, 34, "socket_per_process", bold=True, size=15)
    canvas.line([(400, 20), (400, 344)], color="grid")
    node(canvas, 24, 116, 92, 62, ["Web server", "any proxy"], fill="box")
    node(canvas, 150, 116, 72, 62, ["one port", "8000"], stroke="blue")
    canvas.arrow((116, 147), (150, 147))
    node(canvas, 424, 116, 92, 62, ["nginx", "upstream"], fill="box")
    for place in range(3):
        top = 58 + 68 * place
        node(canvas, 262, top, 118, 42, [f"process {place}"])
        canvas.arrow((222, 147), (262, top + 21))
        node(canvas, 658, top, 118, 42, [f"process {place}"])
        node(canvas, 560, top, 66, 42, [f"{8000 + place}"], stroke="blue")
        color, dash = ("gray", "4 4") if place == 1 else ("line", "")
        canvas.arrow((516, 147), (560, top + 21), color=color, dash=dash)
        canvas.arrow((626, top + 21), (658, top + 21), color=color, dash=dash)
    facts = (
        (
            24,
            ("Restart, one at a time: requests that the stopping", "process is answering fail (3 to 5 of about 2500)"),
        ),
        (424, ("Restart: nginx drains a process first (dashed).", "0 of 4086 requests failed.")),
        (24, ("New number of processes: all restart at once.", "Requests fail until the port is open again.")),
        (424, ("New number of processes: the others keep running.", "0 of 11,291 requests failed.")),
    )
    for place, (x, lines) in enumerate(facts):
        canvas.lines(x, 284 + 40 * (place // 2), lines, color="soft", size=12)
    return canvas.svg()


def sentinel() -> str:
    """Return several portals with three Redis servers and Sentinel, before and after a failover."""
    canvas = Canvas(
        "Several portals, three Redis servers with Sentinel",
        "A load balancer spreads browsers over two portals. Both query the Sentinels on ports 26379 for"
        " the primary, and send messages to it on port 6379, over TLS. Two replicas copy the primary. When"
        " the primary fails, the Sentinels fail over to a replica; no portal process is restarted.",
        428,
    )
    node(canvas, 24, 122, 104, 56, ["Load", "balancer"], fill="box")
    for place in range(2):
        top = 52 + 148 * place
        node(canvas, 180, top, 168, 94, [f"portal{place + 1}", "nginx,", "ASGI processes"], fill="box")
        canvas.arrow((128, 150), (180, top + 47))
    for place in range(3):
        top = 36 + 100 * place
        primary = place == 0
        canvas.box(486, top, 290, 84, stroke="good" if primary else "line")
        canvas.text(500, top + 24, f"redis{place + 1}.example.org", bold=True)
        role, color = ("primary", "good") if primary else ("replica", "soft")
        canvas.text(764, top + 24, role, color, anchor="end", bold=True)
        node(canvas, 500, top + 36, 124, 38, ["Redis :6379"])
        node(canvas, 636, top + 36, 128, 38, ["Sentinel :26379"], stroke="blue")
    canvas.arrow((348, 99), (486, 78), color="good", both=True)
    canvas.arrow((348, 240), (486, 92), color="good", both=True)
    canvas.text(416, 62, "messages, TLS", color="good", size=12, anchor="middle")
    for place in (1, 2):
        canvas.arrow((348, 259), (486, 78 + 100 * place), color="gray", dash="4 4")
    canvas.text(300, 324, "dashed: queries for the primary", color="soft", size=12)
    canvas.caption(
        362,
        "If the primary is killed, every message reaches every WebSocket again after 5.1 to 7.2 s. If its server",
        "goes down, it takes 10.9 to 19.3 s. No portal process restarts, because the replicas have the groups.",
        "When the server comes back, it becomes a replica.",
    )
    return canvas.svg()


def bokeh_pinned() -> str:
    """Return how nginx sends Bokeh's requests to one process, and the rest to all."""
    canvas = Canvas(
        "Bokeh pinned to one of several processes",
        "nginx sends the three requests of a Bokeh page, the page, autoload.js and the WebSocket, to process"
        " 0. All other requests go to all three processes. 200 of 200 Bokeh pages worked. Without"
        " pinning, 56 of 200 did.",
        330,
    )
    requests = ("Bokeh page", "autoload.js", "Bokeh's WebSocket")
    canvas.box(24, 40, 176, 112)
    canvas.text(38, 62, "A Bokeh page requests", bold=True)
    for place, words in enumerate(requests):
        canvas.text(38, 86 + 24 * place, f"{place + 1}. {words}", color="blue")
    node(canvas, 24, 176, 176, 56, ["Everything else", "pages, WebSockets"], fill="box")
    node(canvas, 292, 96, 130, 84, ["nginx", "Bokeh's requests", "to process 0"], fill="box")
    canvas.arrow((200, 96), (292, 124), color="blue", width=2.5)
    canvas.arrow((200, 204), (292, 156))
    for place in range(3):
        top = 40 + 68 * place
        share = "Bokeh, plus a share of the rest" if place == 0 else "a share of the rest"
        node(canvas, 560, top, 216, 52, [f"process {place}", share], stroke="blue" if place == 0 else "line")
        canvas.arrow((422, 142 + 6 * place), (560, top + 32))
    canvas.arrow((422, 120), (560, 58), color="blue", width=2.5)
    words = "With 3 processes, 200 of 200 Bokeh pages rendered and responded to a change."
    canvas.text(24, 276, words, color="good", bold=True)
    canvas.caption(298, "Without pinning, 56 of 200 did. Every message reached every WebSocket in all three processes.")
    return canvas.svg()


def decision() -> str:
    """Return how a run gets from the inventory and the server to its steps."""
    canvas = Canvas(
        "Facts, decision, steps",
        "Variables from the inventory and facts from the server go into one decision. Problems end the run"
        " before anything changes. Otherwise the plan has one step for each role: Redis, packages,"
        " portal_config.yml, ASGI processes, the nginx upstream. A step without work is skipped. The delivery"
        " check ends every run.",
        436,
    )
    node(canvas, 24, 44, 190, 60, ["Inventory", "tethys_* and role variables"], fill="box")
    node(canvas, 24, 140, 190, 76, ["Server and portal", "one module reads both", "and changes nothing"], fill="box")
    node(canvas, 282, 84, 156, 80, ["Decision", "on the controller,", "before any change"], stroke="blue")
    canvas.arrow((214, 74), (282, 108))
    canvas.text(220, 62, "inputs", color="soft", size=12)
    canvas.arrow((214, 178), (282, 146))
    canvas.text(224, 196, "facts", color="soft", size=12)
    lines = ["Problems: refused", "variable, value, reason, fix;", "nothing was changed"]
    node(canvas, 262, 230, 196, 64, lines, stroke="bad")
    canvas.arrow((360, 164), (360, 230), color="bad")
    canvas.text(448, 112, "plan", color="soft", size=12)
    canvas.arrow((438, 124), (506, 124), color="good")
    canvas.box(506, 28, 270, 304, stroke="good")
    canvas.text(520, 52, "One step for each role", bold=True)
    steps = (
        ("1. Redis", "redis_container"),
        ("2. Packages", "channels_redis"),
        ("3. portal_config.yml", "portal_config"),
        ("4. ASGI processes", "asgi_service"),
        ("5. nginx upstream", "nginx_upstream"),
    )
    for place, (words, role) in enumerate(steps):
        top = 64 + 52 * place
        canvas.box(518, top, 246, 42, fill="inner")
        canvas.text(528, top + 26, words)
        canvas.text(756, top + 26, role, color="blue", size=11, anchor="end")
    node(canvas, 506, 354, 270, 54, ["Delivery check", "of every process (layer_check)"], stroke="good")
    canvas.arrow((641, 332), (641, 354), color="good")
    canvas.caption(
        364,
        "A step that has nothing to do is skipped. If nothing has changed",
        "since the last verified run, all five are skipped, and the run",
        "goes from the facts to the delivery check.",
    )
    return canvas.svg()
