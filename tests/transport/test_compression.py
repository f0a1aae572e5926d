"""The settings of permessage-deflate: their checks, and what they do on the wire."""

from __future__ import annotations

import platform
import random
import sys
import types
import zlib

import pytest
from transport.peer import Peer
from trio.testing import memory_stream_pair

from wscore.trio import Compression, wrap_client_stream
from wscore.trio._compression import new_extensions

# The other implementations have wheels for CPython.
NAMES = ["zlib", "zlib_ng", "isal"] if platform.python_implementation() == "CPython" else ["zlib"]


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("server_max_window_bits", 9, 15),
        ("client_max_window_bits", 9, 15),
        ("mem_level", 1, 9),
        ("level", 0, 9),
    ],
)
def test_ranges(name, lowest, highest):
    for value in (lowest, highest):
        assert getattr(Compression(**{name: value}), name) == value
    for value in (lowest - 1, highest + 1):
        with pytest.raises(ValueError, match=f"{name} must be {lowest} to {highest}"):
            Compression(**{name: value})


@pytest.mark.skipif("isal" not in NAMES, reason="isal is for CPython")
def test_isal_has_fewer_levels():
    assert Compression(zlib="isal", level=3)
    with pytest.raises(ValueError, match="level must be 0 to 3"):
        Compression(zlib="isal", level=4)


def test_unknown_implementation():
    with pytest.raises(ValueError, match="zlib, zlib_ng, isal"):
        Compression(zlib="brotli")


@pytest.mark.parametrize(
    ("name", "package", "distribution"),
    [("zlib_ng", "zlib_ng", "zlib-ng"), ("isal", "isal", "isal")],
)
def test_missing_implementation_says_what_to_install(monkeypatch, name, package, distribution):
    for module in list(sys.modules):
        if module.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {distribution}"):
        Compression(zlib=name)


def test_module_that_is_not_like_zlib():
    with pytest.raises(TypeError, match="compressobj"):
        Compression(zlib=types)


def test_settings_are_frozen_and_comparable():
    assert Compression() == Compression(level=1)
    assert len({Compression(), Compression(), Compression(level=2)}) == 2
    with pytest.raises(AttributeError):
        Compression().level = 3


@pytest.mark.parametrize("value", [None, 1, "deflate", 0])
def test_argument_is_a_bool_or_settings(value):
    with pytest.raises(TypeError, match="bool or a Compression"):
        new_extensions(value)


def test_one_extension_for_each_connection():
    assert new_extensions(False) == []
    (first,), (second,) = new_extensions(True), new_extensions(True)
    assert first is not second


@pytest.mark.parametrize(
    ("compression", "offer"),
    [
        (True, {"client_max_window_bits=12", "server_max_window_bits=12"}),
        (
            Compression(client_max_window_bits=9, server_max_window_bits=15),
            {"client_max_window_bits=9", "server_max_window_bits=15"},
        ),
        (
            Compression(client_no_context_takeover=True, server_no_context_takeover=True),
            {
                "client_max_window_bits=12",
                "server_max_window_bits=12",
                "client_no_context_takeover",
                "server_no_context_takeover",
            },
        ),
    ],
)
async def test_offer(nursery, compression, offer):
    ours, theirs = memory_stream_pair()
    nursery.start_soon(
        lambda: wrap_client_stream(None, ours, "h", "/", compression=compression),
    )
    head = (await Peer(theirs, masks=False).receive_head()).decode()
    (line,) = [x for x in head.split("\r\n") if x.startswith("Sec-WebSocket-Extensions: ")]
    name, *parameters = line.partition(": ")[2].split("; ")
    assert name == "permessage-deflate"
    assert set(parameters) == offer
    assert len(parameters) == len(offer)
    nursery.cancel_scope.cancel()


class Recorder(types.ModuleType):
    """A zlib that notes how its compressors and decompressors are made."""

    def __init__(self):
        super().__init__("recorder")
        self.made = []

    def __getattr__(self, name):
        return getattr(zlib, name)

    def compressobj(self, *args, **kwargs):
        self.made.append(("compressobj", args, kwargs))
        return zlib.compressobj(*args, **kwargs)

    def decompressobj(self, *args, **kwargs):
        self.made.append(("decompressobj", args, kwargs))
        return zlib.decompressobj(*args, **kwargs)


async def connected(nursery, compression, parameters):
    """A client's connection, and the server that accepted its offer with these parameters."""
    ours, theirs = memory_stream_pair()
    peer = Peer(theirs, masks=False)
    extension = f"Sec-WebSocket-Extensions: permessage-deflate{parameters}\r\n".encode()
    nursery.start_soon(peer.accept, extension)
    return await wrap_client_stream(None, ours, "h", "/", compression=compression), peer


async def test_settings_reach_the_implementation(nursery):
    """The smaller window of the server's answer counts."""
    recorder = Recorder()
    settings = Compression(client_max_window_bits=11, mem_level=3, level=2, zlib=recorder)
    connection, peer = await connected(
        nursery, settings, "; client_max_window_bits=10; server_max_window_bits=9"
    )
    await connection.send_message("x" * 1000)
    payload = (await peer.receive()).payload
    inflated = zlib.decompressobj(-10).decompress(payload + b"\0\0\xff\xff")
    assert inflated == b"x" * 1000
    made = recorder.made[-1]
    assert made == (
        "compressobj",
        (),
        {"level": 2, "method": zlib.DEFLATED, "wbits": -10, "memLevel": 3},
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("takeover", [True, False])
async def test_every_implementation_works(nursery, name, takeover):
    settings = Compression(
        zlib=name, client_no_context_takeover=not takeover, server_no_context_takeover=not takeover
    )
    flags = "" if takeover else "; client_no_context_takeover; server_no_context_takeover"
    parameters = f"; client_max_window_bits=12; server_max_window_bits=12{flags}"
    connection, peer = await connected(nursery, settings, parameters)
    inflate, deflate = zlib.decompressobj(-12), zlib.compressobj(wbits=-12)
    sizes = []
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyzäöüß", k=100))
    for message in [text] * 3:
        await connection.send_message(message)
        payload = (await peer.receive()).payload
        sizes.append(len(payload))
        assert inflate.decompress(payload + b"\0\0\xff\xff") == message.encode()
        answer = deflate.compress(message.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
        head = bytes([0xC1, len(answer) - 4])
        await peer.stream.send_all(head + answer[:-4])
        assert await connection.get_message() == message
        if not takeover:
            inflate, deflate = zlib.decompressobj(-12), zlib.compressobj(wbits=-12)
    assert sizes[0] > 70
    assert (sizes[1] < sizes[0] / 2) is takeover
