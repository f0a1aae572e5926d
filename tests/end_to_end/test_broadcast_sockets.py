"""One broadcast to members of every kind at once: plain, TLS, compressed, leaving and gone."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

import trio

from wscore.trio import broadcast, open_websocket, serve_websocket

TIMEOUT = 60


async def test_every_kind_of_member_at_once(server_context, client_context):
    members = []

    async def enter(request):
        connection = await request.accept()
        members.append(connection)
        async for _ in connection:
            pass

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery, AsyncExitStack() as clients:
            serve = partial(serve_websocket, enter, "127.0.0.1", 0, compression=True)
            plain = await nursery.start(partial(serve, None))
            tls = await nursery.start(partial(serve, server_context))

            async def join(server, *, secure, compression):
                count = len(members)
                client = await clients.enter_async_context(
                    open_websocket(
                        "localhost" if secure else "127.0.0.1",
                        server.port,
                        "/",
                        use_ssl=client_context if secure else False,
                        compression=compression,
                    )
                )
                while len(members) == count:
                    await trio.lowlevel.checkpoint()
                return client

            readers = [
                await join(plain, secure=False, compression=False),
                await join(plain, secure=False, compression=True),
                await join(tls, secure=True, compression=False),
                await join(tls, secure=True, compression=True),
            ]
            leaving = await join(plain, secure=False, compression=True)
            gone = await join(tls, secure=True, compression=False)
            await gone.aclose()
            while members[-1].closed is None:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(members[4].aclose)
            while members[4].closed is None:
                await trio.lowlevel.checkpoint()

            for text in ("first", "grüß " * 5000, "third"):
                result = broadcast(members, text)
                assert (result.delivered + result.queued, result.skipped) == (4, 2)
                assert result.cut == ()
                for reader in readers:
                    assert await reader.get_message() == text
            assert [message async for message in leaving] == []
            nursery.cancel_scope.cancel()


async def test_a_broadcast_within_another_comes_behind_it():
    """A handler that answers each message to all, with all of them doing so at once."""
    members = []

    async def answer(request):
        connection = await request.accept()
        members.append(connection)
        async for message in connection:
            if message.startswith("ask"):
                broadcast(members, f"re: {message}")

    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery, AsyncExitStack() as clients:
            server = await nursery.start(serve_websocket, answer, "127.0.0.1", 0, None)
            opened = [
                await clients.enter_async_context(
                    open_websocket("127.0.0.1", server.port, "/", use_ssl=False)
                )
                for _ in range(5)
            ]
            while len(members) < 5:
                await trio.lowlevel.checkpoint()
            broadcast(members, "begin")
            for number, client in enumerate(opened):
                await client.send_message(f"ask {number}")
            heard = []
            for client in opened:
                assert await client.get_message() == "begin"
                heard.append([await client.get_message() for _ in range(5)])
            assert sorted(heard[0]) == [f"re: ask {number}" for number in range(5)]
            assert all(each == heard[0] for each in heard)  # all in the same order
            nursery.cancel_scope.cancel()
