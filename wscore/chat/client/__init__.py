"""A client of the chat, on trio: stays connected, misses nothing, and checks that.

::

    async with open_chat("http://127.0.0.1:8765/", "Anna") as chat:
        await chat.join("lobby")
        await chat.post("lobby", "hello")
        async for event in chat:
            if isinstance(event, Message):
                print(event.sender, event.text)
"""

from wscore.chat.protocol import ChatError, Limits, Position, RoomInfo

from .chat import ChatClient, open_chat
from .errors import ContiguityError, ProtocolError
from .events import (
    Connected,
    Direct,
    Disconnected,
    Event,
    Gap,
    History,
    Joined,
    Left,
    Message,
    Positions,
    Presence,
    Stored,
    Typing,
)
from .terms import new_id

__all__ = [
    "ChatClient",
    "ChatError",
    "Connected",
    "ContiguityError",
    "Direct",
    "Disconnected",
    "Event",
    "Gap",
    "History",
    "Joined",
    "Left",
    "Limits",
    "Message",
    "Position",
    "Positions",
    "Presence",
    "ProtocolError",
    "RoomInfo",
    "Stored",
    "Typing",
    "new_id",
    "open_chat",
]
