"""What a server says when it accepts: subprotocol, headers, compression; and in which time."""

from __future__ import annotations

import inspect

import pytest
import trio
import trio_websocket
from transport.peer import HANDSHAKE, UPGRADE, MemoryListener, server_and_peer
from trio.testing import lockstep_stream_pair, memory_stream_pair

from wscore.trio import (
    ConnectionClosed,
    WebSocketServer,
    serve_websocket,
    wrap_server_stream,
)

DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"


async def accept(request):
    connection = await request.accept()
    await connection.get_message()


async def start(nursery, handler=accept, **options):
    listener = MemoryListener()
    await nursery.start(WebSocketServer(handler, [listener], **options).run)
    return listener


async def handshake(listener, *lines):
    """The response's head, as a list of pairs."""
    peer = listener.connect()
    await peer.stream.send_all(UPGRADE + b"".join(lines) + b"\r\n")
    status, *fields = (await peer.receive_head()).split(b"\r\n")
    assert status.startswith(b"HTTP/1.1 101 ")
    return [tuple(field.lower().split(b": ", 1)) for field in fields]


def offer(*subprotocols):
    return b"Sec-WebSocket-Protocol: " + ", ".join(subprotocols).encode() + b"\r\n"


def chosen(fields):
    values = [value for name, value in fields if name == b"sec-websocket-protocol"]
    assert len(values) <= 1
    return values[0].decode() if values else None


# The subprotocol


@pytest.mark.parametrize(
    ("spoken", "offered", "expected"),
    [
        (["a", "b"], ["b", "a"], "a"),
        (["a", "b"], ["b"], "b"),
        (["a", "b"], ["c"], None),
        (["a", "b"], [], None),
        ([], ["a"], None),
        (["a"], ["A"], None),
    ],
)
async def test_server_takes_the_first_of_its_own(
    nursery, autojump_clock, spoken, offered, expected
):
    seen = []

    async def handler(request):
        connection = await request.accept()
        seen.append(connection.subprotocol)

    listener = await start(nursery, handler, subprotocols=spoken)
    fields = await handshake(listener, *([offer(*offered)] if offered else []))
    assert chosen(fields) == expected
    assert seen == [expected]


async def test_offer_in_several_lines(nursery, autojump_clock):
    listener = await start(nursery, subprotocols=["c"])
    assert chosen(await handshake(listener, offer("a", "b"), offer("c"))) == "c"


async def test_handler_chooses_over_the_server(nursery, autojump_clock):
    async def handler(request):
        assert request.proposed_subprotocols == ("a", "b")
        await request.accept(subprotocol="b")

    listener = await start(nursery, handler, subprotocols=["a"])
    assert chosen(await handshake(listener, offer("a", "b"))) == "b"


def test_one_string_is_not_a_list_of_subprotocols():
    with pytest.raises(ValueError, match="several strings"):
        WebSocketServer(accept, [MemoryListener()], subprotocols="chat")


# Headers


async def test_headers_of_the_server_and_of_the_handler(nursery, autojump_clock):
    async def handler(request):
        await request.accept(extra_headers=[(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")])

    listener = await start(nursery, handler, extra_headers=[(b"Server", b"mine")])
    fields = await handshake(listener)
    assert fields[-3:] == [(b"server", b"mine"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


@pytest.mark.parametrize("header", [(b"X", b"a\r\nb: c"), (b"X Y", b"z"), (b"X", b"\0")])
def test_headers_that_cannot_be_sent_are_found_early(header):
    with pytest.raises(ValueError, match="extra_headers"):
        WebSocketServer(accept, [MemoryListener()], extra_headers=[header])


# Compression


@pytest.mark.parametrize(
    ("of_server", "of_handler", "expected"),
    [
        (False, None, False),
        (True, None, True),
        (True, False, False),
        (False, True, True),
    ],
)
async def test_compression_is_the_handlers_choice_or_the_servers(
    nursery, autojump_clock, of_server, of_handler, expected
):
    async def handler(request):
        await request.accept(compression=of_handler)

    listener = await start(nursery, handler, compression=of_server)
    names = [name for name, _ in await handshake(listener, DEFLATE)]
    assert (b"sec-websocket-extensions" in names) is expected
    # And only where the client offers it.
    assert b"sec-websocket-extensions" not in [name for name, _ in await handshake(listener)]


def test_what_is_no_compression_is_found_early():
    with pytest.raises(TypeError, match="compression"):
        WebSocketServer(accept, [MemoryListener()], compression="best")


# The request before and after


async def test_request_says_the_same_after_it_was_accepted(nursery):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(UPGRADE + offer("a", "b") + b"X-Y: z\r\nX-Empty:\r\n\r\n")
    request = await wrap_server_stream(nursery, ours)

    def seen():
        return (
            request.path,
            request.headers,
            request.proposed_subprotocols,
            str(request.local),
            str(request.remote),
        )

    before = seen()
    assert before[0] == "/chat?room=1"
    assert before[1][-2:] == [(b"x-y", b"z"), (b"x-empty", b"")]
    connection = await request.accept()
    assert request.connection is connection
    assert seen() == before


async def test_request_says_the_same_after_it_was_rejected(nursery):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(HANDSHAKE)
    await theirs.send_eof()
    request = await wrap_server_stream(nursery, ours)
    await request.reject(403)
    assert (request.path, request.proposed_subprotocols) == ("/chat?room=1", ())
    assert request.answered


# A client that does not take the answer


@pytest.mark.parametrize("answer", ["accept", "reject"])
async def test_answer_that_is_not_taken_is_given_up(nursery, autojump_clock, answer):
    ours, theirs = lockstep_stream_pair()
    async with trio.open_nursery() as sending:
        sending.start_soon(theirs.send_all, HANDSHAKE)
        request = await wrap_server_stream(nursery, ours, send_timeout=7)
    begin = trio.current_time()
    with pytest.raises(ConnectionClosed) as info:
        await (request.accept() if answer == "accept" else request.reject(403))
    assert trio.current_time() - begin == pytest.approx(7)
    assert info.value.reason.code == 1006
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x")


# The signatures


def keywords(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def test_both_doors_take_the_same_options():
    of_function = keywords(serve_websocket)
    assert of_function.pop("task_status") is trio.TASK_STATUS_IGNORED
    assert of_function == keywords(WebSocketServer)


@pytest.mark.parametrize("name", ["serve_websocket", "wrap_server_stream"])
def test_calls_that_suit_trio_websocket_suit_us(name):
    import wscore.trio

    theirs = inspect.signature(getattr(trio_websocket, name)).parameters
    ours = inspect.signature(getattr(wscore.trio, name)).parameters
    positional = [p.name for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(positional)] == positional
    assert set(theirs) <= set(ours)


async def test_options_reach_the_connection():
    """Those that the server does not use itself: a typo here would be a silent default."""
    given = {
        "message_queue_size": 3,
        "max_message_size": 4,
        "receive_buffer_size": 5,
        "disconnect_timeout": 6.0,
        "ping_interval": 7.0,
        "ping_timeout": 8.0,
        "send_timeout": 9.0,
    }
    server = WebSocketServer(accept, [MemoryListener()], **given)
    options = server._service.options
    assert {name: getattr(options, name) for name in given} == given
    connection, _ = await server_and_peer(**given)
    assert connection.closed is None
