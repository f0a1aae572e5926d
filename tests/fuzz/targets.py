"""What must hold for any bytes that a peer sends: the fuzzed properties, one function each.

``frames``: whatever comes, in whatever pieces, with and without limits and permessage-deflate,

1. both framing twins give the same events, piece by piece, and the same state;
2. messages do not depend on how the bytes were cut, nor does the close; but which of two mistakes
   in a compressed message is seen first may;
3. there is at most one ``CloseConnection``, nothing behind it, and never an exception;
4. no message exceeds its limit;
5. a decoder without extensions holds at most 4 bytes for each that came;
6. what was read and is written again by one twin is read the same by the other;
7. permessage-deflate alone, which is asked directly, does what its hooks do.

``handshake``: a server and a client raise ``RemoteProtocolError`` or nothing; a server that does
can send the answer; its events do not depend on how the bytes were cut, nor does a connection that
results.

``negotiation``: an offer of extensions is accepted or declined, an answer finalised or refused with
``RemoteProtocolError``; what declines or refuses leaves no trace, and windows are ones zlib has.

An input is a byte of options, a byte that says how to cut, and the bytes of the peer.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from itertools import islice
from types import ModuleType
from typing import Any

from wscore import ConnectionType, WSConnection, _framing_c, _framing_py
from wscore.errors import RemoteProtocolError
from wscore.events import AcceptConnection, RejectConnection, Request
from wscore.extensions import PerMessageDeflate
from wscore.handshake import client_extensions_handshake, server_extensions_handshake
from wscore.utilities import split_comma_header

TWINS: tuple[ModuleType, ModuleType] = (_framing_py, _framing_c)
NONCE = b"dGhlIHNhbXBsZSBub25jZQ=="
DEFLATE = "permessage-deflate"
LIMITS = {"max_frame_size": 300, "max_message_size": 500, "max_fragments": 5}

#: The bits of the byte of options.
#: Compression is by the hooks of its extension, or directly, as where there is no other one.
CLIENT, WHOLE, COMPRESSED, LIMITED, MEASURED, SLOWLY, DIRECTLY = 1, 2, 4, 8, 16, 32, 64


def cut(stream: bytes, how: int) -> list[bytes]:
    """The stream in pieces: 0 in one, 1 byte by byte, else in random sizes, the same each time."""
    if how == 0:
        return [stream] if stream else []  # to a handshake, no bytes mean the end
    sizes = random.Random(how)
    pieces = []
    while stream:
        size = 1 if how == 1 else sizes.randint(1, 40)
        pieces.append(stream[:size])
        stream = stream[size:]
    return pieces


def shown(event: Any) -> tuple[Any, ...]:
    """An event without the class of its twin."""
    return type(event).__name__, *(getattr(event, name) for name in type(event).__match_args__)


def joined(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Events without the cuts: messages as (class, data), others as they are."""
    result: list[tuple[Any, ...]] = []
    data: Any = None
    for event in events:
        if event[0] in ("TextMessage", "BytesMessage"):
            data = event[1] if data is None else data + event[1]
            if event[3]:
                result.append((event[0], data))
                data = None
        else:
            result.append(event)
    return result


def decoder_of(twin: ModuleType, options: int) -> Any:
    extensions = []
    if options & (COMPRESSED | DIRECTLY):
        extensions.append(PerMessageDeflate())
        if options & CLIENT:
            extensions[0].finalize(DEFLATE)
        else:
            extensions[0].accept(DEFLATE)
    return twin.FrameDecoder(
        bool(options & CLIENT),
        extensions,
        deflate=extensions[0] if options & DIRECTLY else None,
        whole_messages=bool(options & WHOLE),
        **(LIMITS if options & LIMITED else {}),
    )


def read(decoder: Any, pieces: list[bytes], most: int | None = None) -> list[list[Any]]:
    """The events after each piece, the rest, and the state.

    Args:
        most: take no more events than this after each piece but the last, so that bytes wait.
    """
    events = []
    for piece in pieces:
        decoder.receive_data(piece)
        events.append([shown(event) for event in islice(decoder, most)])
    events.append([shown(event) for event in decoder])
    events.append([(decoder.closed, decoder.message_room)])
    return events


def flat(events: list[list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    return [event for some in events[:-1] for event in some]


def settled(events: list[tuple[Any, ...]], options: int) -> list[tuple[Any, ...]]:
    """What must not depend on the cuts: with compression, of a close only that it is there."""
    if not options & (COMPRESSED | DIRECTLY):
        return events
    return [event[:1] if event[0] == "CloseConnection" else event for event in events]


def frames(data: bytes) -> None:
    """See the top of this module."""
    options, how, stream = data[0], data[1], data[2:]
    pieces = cut(stream, how)
    most = 1 if options & SLOWLY else None
    ours, theirs = (read(decoder_of(twin, options), pieces, most) for twin in TWINS)
    assert ours == theirs, "1: the twins differ"
    if options & DIRECTLY:
        by_hooks = joined(
            flat(read(decoder_of(_framing_c, options ^ DIRECTLY | COMPRESSED), pieces))
        )
        assert settled(joined(flat(ours)), options) == settled(by_hooks, options), "7: hooks differ"
    once = joined(flat(read(decoder_of(_framing_c, options), [stream])))
    assert settled(joined(flat(ours)), options) == settled(once, options), "2: the cuts show"
    closes = [i for i, event in enumerate(once) if event[0] == "CloseConnection"]
    assert closes in ([], [len(once) - 1]), "3: more than a close at the end"
    messages = [event for event in once if event[0].endswith("Message")]
    if options & LIMITED:
        for _, said in messages:
            size = len(said.encode() if isinstance(said, str) else said)
            assert size <= LIMITS["max_message_size"], "4: a message exceeds its limit"
    if options & MEASURED and not options & (COMPRESSED | DIRECTLY):
        for twin in TWINS:
            check_memory(twin, options, pieces)
    for name, said in messages:
        for writer, reader in (TWINS, TWINS[::-1]):
            check_round_trip(writer, reader, name, said, options)


def check_memory(twin: ModuleType, options: int, pieces: list[bytes]) -> None:
    tracemalloc.start()
    try:
        decoder = decoder_of(twin, options)
        before, received = tracemalloc.get_traced_memory()[0], 0
        for piece in pieces:
            decoder.receive_data(piece)
            for _ in decoder:
                pass
            received += len(piece)
            held = tracemalloc.get_traced_memory()[0] - before
            assert held <= 4 * received + 4096, f"5: {held} bytes held of {received}"
    finally:
        tracemalloc.stop()


def check_round_trip(
    writer: ModuleType, reader: ModuleType, name: str, said: Any, options: int
) -> None:
    client = bool(options & CLIENT)
    writing = writer.OpenConnection(writer.FrameDecoder(not client), True)
    decoder = reader.FrameDecoder(client)
    decoder.receive_data(writing.send(getattr(writer, name)(said)))
    assert [shown(event) for event in decoder] == [(name, said, True, True)], "6: no round trip"


def handshake(data: bytes) -> None:
    """See the top of this module."""
    options, how, stream = data[0], data[1], data[2:]
    if options & CLIENT:
        respond(stream, cut(stream, how))
        return
    assert ask(options, cut(stream, 0)) == ask(options, cut(stream, how)), "cuts show"


def ask(options: int, pieces: list[bytes]) -> tuple[Any, ...]:
    """What a server makes of these bytes: its events, the status that it answers, its state."""
    limits: dict[str, Any] = LIMITS if options & LIMITED else {}
    server = WSConnection(ConnectionType.SERVER, whole_messages=bool(options & WHOLE), **limits)
    refusal = None
    try:
        for piece in pieces:
            server.receive_data(piece)
    except RemoteProtocolError as exc:
        refusal = exc.event_hint
        assert isinstance(refusal, RejectConnection), "nothing to answer with"
    requests = list(server.events())
    if refusal is not None:
        assert server.send(refusal).startswith(b"HTTP/1.1 %d " % refusal.status_code)
        return requests, refusal.status_code, server.state
    if not requests:
        return (server.state,)
    extensions: list[Any] = [PerMessageDeflate()] if options & COMPRESSED else []
    answer = server.send(AcceptConnection(extensions=extensions))
    assert answer.startswith(b"HTTP/1.1 101 ")
    return requests, answer, joined([shown(event) for event in server.events()]), server.state


def respond(stream: bytes, pieces: list[bytes]) -> None:
    """Gives a client these bytes in answer to its request, whole and in pieces."""
    for some in (cut(stream, 0), pieces):
        client = WSConnection(ConnectionType.CLIENT)
        client.send(Request(host="x", target="/", extensions=[PerMessageDeflate()]))
        client.handshake._nonce = NONCE
        try:
            for piece in some:
                client.receive_data(piece)
        except RemoteProtocolError:
            continue
        list(client.events())


def negotiation(data: bytes) -> None:
    """See the top of this module."""
    options, bits, members = data[0], data[1], split_comma_header(data[2:])
    windows: dict[str, Any] = {}
    if bits:
        windows = {
            "client_max_window_bits": 9 + (bits & 15) % 7,
            "server_max_window_bits": 9 + (bits >> 4) % 7,
        }
    takeover = {
        "client_no_context_takeover": bool(options & 1),
        "server_no_context_takeover": bool(options & 2),
    }
    extension = PerMessageDeflate(**windows, **takeover)
    before = vars(extension).copy()
    answer = server_extensions_handshake(members, [extension])
    assert extension.enabled() == (answer is not None)
    if answer is None:
        assert vars(extension) == before, "what declines leaves no trace"
    else:
        assert 9 <= (extension.server_max_window_bits or 15) <= 15
        assert 8 <= (extension.client_max_window_bits or 15) <= 15
    asking = PerMessageDeflate(**windows, **takeover)
    before = vars(asking).copy()
    try:
        agreed = client_extensions_handshake(members, [asking])
    except RemoteProtocolError:
        # One that was finalised before another member was refused is.
        assert vars(asking) == before or len(members) > 1, "what refuses leaves no trace"
    else:
        assert asking.enabled() == bool(agreed)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "handshake": handshake,
    "negotiation": negotiation,
}


def run(target: str, data: bytes) -> None:
    """Checks one input; too short ones say nothing."""
    if len(data) > 1:
        TARGETS[target](data)
