# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The chat's WebSocket."""

from __future__ import annotations

import os
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from tethys_sdk.routing import consumer

GROUP = "channelchat"


@consumer(name="chat", url="chat", login_required=False)
class Chat(AsyncJsonWebsocketConsumer):
    """Send every message to the whole group, and say which process answers."""

    async def authorized_connect(self) -> None:
        """Join, and only then greet: whoever has the greeting is in the group."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.send_json({"type": "hello", "pid": os.getpid()})

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Pass a client's message on to everybody, the sender included."""
        await self.channel_layer.group_send(
            GROUP, {"type": "chat.message", "text": str(content.get("text", "")), "sender_pid": os.getpid()}
        )

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Deliver a message of the group to this client."""
        await self.send_json(
            {"type": "message", "text": event["text"], "sender_pid": event["sender_pid"], "pid": os.getpid()}
        )

    async def disconnect(self, code: int) -> None:
        """Leave the group."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)
