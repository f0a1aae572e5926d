"""The client through real proxies: HTTP CONNECT and SOCKS, plain and over TLS, and refusals."""

from __future__ import annotations

import os
import struct
import sys
from base64 import b64encode
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address

import pytest
import trio
import trio.lowlevel

from wscore.trio import (
    ConnectionTimeout,
    HandshakeError,
    ProxyError,
    WebSocketServer,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    serve_websocket,
)

USER, PASSWORD = "me", "pass:wörd"
VARIABLES = ("http", "https", "ws", "wss", "socks", "all", "no")


@pytest.fixture(autouse=True)
def _no_proxy_of_the_system(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_PROXY", raising=False)


async def echo(request):
    connection = await request.accept()
    while True:
        await connection.send_message(await connection.get_message())


@asynccontextmanager
async def websocket_server(ssl_context=None):
    """An echo server; yields its port."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, ssl_context)
        yield server.port
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def websocket_on_unix_socket(handler, path, ssl_context):
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(os.fspath(path))
    sock.listen()
    listener = trio.SocketListener(sock)
    if ssl_context is not None:
        listener = trio.SSLListener(listener, ssl_context, https_compatible=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(WebSocketServer(handler, [listener]).run)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def proxy_server(handler, ssl_context=None):
    """A proxy with this handler for its clients; yields its port."""

    async def handle(stream):
        async with stream:
            with suppress(trio.BrokenResourceError, EOFError):
                await handler(stream)

    if ssl_context is None:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
    else:
        serve = partial(trio.serve_ssl_over_tcp, handle, 0, ssl_context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(serve)
        if isinstance(listener, trio.SSLListener):
            listener = listener.transport_listener
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def relay(one, other):
    """Carry bytes both ways until either end closes."""

    async def carry(source, sink):
        while data := await source.receive_some():
            await sink.send_all(data)
        nursery.cancel_scope.cancel()

    async with other, trio.open_nursery() as nursery:
        nursery.start_soon(carry, one, other)
        await carry(other, one)


class HTTPProxy:
    """CONNECT, with basic authentication; every name leads to this machine."""

    def __init__(self, credentials=None, status=b"200 OK", piece=None):
        self.targets = []
        self._credentials = credentials
        self._status = status
        self._piece = piece

    async def __call__(self, stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await stream.receive_some()
        start, *lines = head.decode().split("\r\n")
        method, target, version = start.split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        assert f"Host: {target}" in lines
        self.targets.append(target)
        if self._credentials is not None:
            value = b64encode(":".join(self._credentials).encode()).decode()
            if f"Proxy-Authorization: Basic {value}" not in lines:
                await stream.send_all(
                    b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\n"
                    b"Content-Length: 0\r\n\r\n"
                )
                return
        port = int(target.rpartition(":")[2])
        answer = b"HTTP/1.1 " + self._status + b"\r\nVia: test\r\n\r\n"
        for at in range(0, len(answer), self._piece or len(answer)):
            await stream.send_all(answer[at : at + (self._piece or len(answer))])
            await trio.lowlevel.checkpoint()
        if self._status.startswith(b"2"):
            await relay(stream, await trio.open_tcp_stream("127.0.0.1", port))


class SOCKSProxy:
    """SOCKS5 (RFC 1928, RFC 1929) and SOCKS4a; every name leads to this machine."""

    def __init__(self, credentials=None, reply=0):
        self.targets = []
        self._credentials = credentials
        self._reply = reply

    async def __call__(self, stream):
        async def take(count):
            data = b""
            while len(data) < count:
                piece = await stream.receive_some(count - len(data))
                if not piece:
                    raise EOFError
                data += piece
            return data

        async def take_string():
            text = b""
            while (byte := await take(1)) != b"\0":
                text += byte
            return text.decode()

        version = (await take(1))[0]
        if version == 4:
            command, port, address = struct.unpack("!BH4s", await take(7))
            await take_string()
            host = str(ip_address(address))
            if host.startswith("0.0.0."):
                host = await take_string()
            granted = b"\x00" + bytes([self._reply or 0x5A]) + bytes(6)
        else:
            assert version == 5
            methods = await take((await take(1))[0])
            method = 0 if self._credentials is None else 2
            if method not in methods:
                await stream.send_all(b"\x05\xff")
                return
            await stream.send_all(bytes([5, method]))
            if method == 2:
                assert await take(1) == b"\x01"
                user = (await take((await take(1))[0])).decode()
                password = (await take((await take(1))[0])).decode()
                right = (user, password) == self._credentials
                await stream.send_all(b"\x01\x00" if right else b"\x01\x01")
                if not right:
                    return
            _, command, _, kind = await take(4)
            if kind == 3:
                host = (await take((await take(1))[0])).decode()
            else:
                host = str(ip_address(await take(4 if kind == 1 else 16)))
            (port,) = struct.unpack("!H", await take(2))
            granted = bytes([5, self._reply, 0, 1, 0, 0, 0, 0, 0, 0])
        assert command == 1
        self.targets.append(f"{host}:{port}")
        await stream.send_all(granted)
        if self._reply == 0:
            await relay(stream, await trio.open_tcp_stream("127.0.0.1", port))


async def check_echo(connection):
    for message in ("hello", bytes(100_000)):
        await connection.send_message(message)
        assert await connection.get_message() == message


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("make", "scheme", "target"),
    [
        (HTTPProxy, "http", "example.invalid"),
        (partial(HTTPProxy, piece=1), "http", "example.invalid"),
        (partial(HTTPProxy, status=b"204 Fine"), "http", "example.invalid"),
        (SOCKSProxy, "socks5h", "example.invalid"),
        (SOCKSProxy, "socks4a", "example.invalid"),
    ],
)
async def test_through_a_proxy(server_context, client_context, make, scheme, target, tls):
    """The proxy, and nobody else, is asked for the server's name."""
    handler = make()
    context = client_context if tls else None
    async with websocket_server(server_context if tls else None) as port:  # noqa: SIM117
        async with proxy_server(handler) as proxy:
            url = f"{'wss' if tls else 'ws'}://{target}:{port}/x?y"
            way = f"{scheme}://localhost:{proxy}"
            async with open_websocket_url(url, context, proxy=way) as connection:
                assert connection.path == "/x?y"
                await check_echo(connection)
    assert handler.targets == [f"{target}:{port}"]


@pytest.mark.parametrize("scheme", ["socks5", "socks4"])
async def test_names_looked_up_here(scheme):
    handler = SOCKSProxy()
    async with websocket_server() as port, proxy_server(handler) as proxy:
        way = f"{scheme}://127.0.0.1:{proxy}"
        async with open_websocket_url(f"ws://127.0.0.1:{port}/", proxy=way) as connection:
            await check_echo(connection)
    assert handler.targets == [f"127.0.0.1:{port}"]


async def test_ipv6_target():
    handler = HTTPProxy(status=b"403 No")
    async with proxy_server(handler) as proxy:
        with pytest.raises(ProxyError):
            await connect_websocket_url(None, "ws://[::1]:7/", proxy=f"http://127.0.0.1:{proxy}")
    assert handler.targets == ["[::1]:7"]


async def test_proxy_over_tls(server_context, client_context, authority, tmp_path, monkeypatch):
    """TLS to the proxy, and in it TLS to the server."""
    certificate = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(certificate))
    handler = HTTPProxy()
    async with (
        websocket_server(server_context) as port,
        proxy_server(handler, server_context) as proxy,
        open_websocket_url(
            f"wss://example.invalid:{port}/", client_context, proxy=f"https://localhost:{proxy}"
        ) as connection,
    ):
        await check_echo(connection)
    assert handler.targets == [f"example.invalid:{port}"]


async def test_proxy_whose_certificate_nobody_trusts(server_context):
    async with proxy_server(HTTPProxy(), server_context) as proxy:
        with pytest.raises(HandshakeError, match="certificate") as info:
            await connect_websocket_url(
                None, "ws://example.invalid/", proxy=f"https://localhost:{proxy}"
            )
        assert not info.value.transient


@pytest.mark.parametrize(
    ("make", "scheme", "password"), [(HTTPProxy, "http", PASSWORD), (SOCKSProxy, "socks5h", "pass")]
)
async def test_credentials(make, scheme, password):
    async with websocket_server() as port, proxy_server(make((USER, password))) as proxy:
        url = f"ws://example.invalid:{port}/"
        quoted = password.replace(":", "%3A").replace("ö", "%C3%B6")
        right = f"{scheme}://{USER}:{quoted}@127.0.0.1:{proxy}"
        async with open_websocket_url(url, proxy=right) as connection:
            await check_echo(connection)
        for wrong in (f"{scheme}://127.0.0.1:{proxy}", f"{scheme}://{USER}:no@127.0.0.1:{proxy}"):
            with pytest.raises(ProxyError) as info:
                await connect_websocket_url(None, url, proxy=wrong)
            assert not info.value.transient
            assert info.value.status_code == (407 if make is HTTPProxy else None)
            assert "no@" not in str(info.value)


@pytest.mark.parametrize(
    ("status", "transient"),
    [(b"403 Forbidden", False), (b"502 Bad Gateway", True), (b"302 Elsewhere", False)],
)
async def test_http_proxy_refuses(status, transient):
    async with proxy_server(HTTPProxy(status=status)) as proxy:
        with pytest.raises(ProxyError, match=status.decode()) as info:
            async with open_websocket_url(
                "ws://example.invalid/", proxy=f"http://127.0.0.1:{proxy}"
            ):
                raise AssertionError
    assert info.value.status_code == int(status[:3])
    assert info.value.transient is transient


@pytest.mark.parametrize(
    ("scheme", "reply", "transient"),
    [
        ("socks5h", 1, True),
        ("socks5h", 2, False),
        ("socks5h", 5, True),
        ("socks5h", 7, False),
        ("socks5h", 99, False),
        ("socks4a", 0x5B, True),
        ("socks4a", 0x5D, False),
    ],
)
async def test_socks_proxy_refuses(scheme, reply, transient):
    async with proxy_server(SOCKSProxy(reply=reply)) as proxy:
        with pytest.raises(ProxyError) as info:
            await connect_websocket_url(
                None, "ws://example.invalid/", proxy=f"{scheme}://127.0.0.1:{proxy}"
            )
    assert info.value.transient is transient


@pytest.mark.parametrize("scheme", ["http", "socks5h", "socks4a"])
@pytest.mark.parametrize(
    ("answer", "transient"),
    [
        (b"", True),
        (b"\x00\x01\x02\x03\xff\xff\xff\xff\r\n\r\n", False),
        (b"220 mail.example ESMTP ready\r\n\r\n", False),
        (b"HTTP/1.1 abc\r\n\r\n", False),
        (b"X" * 200_000, False),
        (b"\x05\x00\x05\x00\x00\x03\x02\xff\xff\x00\x00", False),
    ],
)
async def test_proxy_that_is_none(scheme, answer, transient):
    async def nonsense(stream):
        await stream.receive_some()
        await stream.send_all(answer)

    async with proxy_server(nonsense) as proxy:
        with pytest.raises(ProxyError) as info:
            await connect_websocket_url(
                None, "ws://example.invalid/", proxy=f"{scheme}://127.0.0.1:{proxy}"
            )
    if scheme == "http" or not answer:
        assert info.value.transient is transient
    assert str(info.value)


async def test_data_before_its_time():
    """No server speaks before the client does; this would be read as the server's."""

    async def early(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n")

    async with proxy_server(early) as proxy:
        with pytest.raises(ProxyError, match="before"):
            await connect_websocket_url(
                None, "ws://example.invalid/", proxy=f"http://127.0.0.1:{proxy}"
            )


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_silent_proxy(scheme):
    ended = trio.Event()

    async def silent(stream):
        while await stream.receive_some():
            pass
        ended.set()

    async with proxy_server(silent) as proxy:
        with pytest.raises(ConnectionTimeout, match="through"):
            await connect_websocket_url(
                None,
                "ws://example.invalid/",
                proxy=f"{scheme}://127.0.0.1:{proxy}",
                connect_timeout=2,  # long enough to get there
            )
        with trio.fail_after(60):
            await ended.wait()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_nobody_at_the_proxy_s_port(scheme):
    async with proxy_server(HTTPProxy()) as port:
        pass
    with pytest.raises(HandshakeError) as info:
        async with open_websocket_url("ws://h.invalid/", proxy=f"{scheme}://127.0.0.1:{port}"):
            raise AssertionError
    assert info.value.transient
    assert isinstance(info.value.__cause__, OSError)
    with pytest.raises(OSError):
        await connect_websocket_url(None, "ws://h.invalid/", proxy=f"{scheme}://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:3128",
        "ftp://localhost/",
        "http://",
        "http://localhost:99999/",
        "http://localhost/path",
        "http://localhost/?q",
        "http://localhost/#f",
    ],
)
async def test_wrong_url_of_a_proxy(url):
    with pytest.raises(ValueError):
        await connect_websocket_url(None, "ws://h.invalid/", proxy=url)


async def test_python_socks_is_named_when_missing(monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "python_socks"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ImportError, match=r"pip install 'wscore\[proxy\]'"):
        await connect_websocket_url(None, "ws://h.invalid/", proxy="socks5://127.0.0.1:1")


# The proxy that the environment names


@pytest.mark.parametrize(
    ("variable", "tls", "used"),
    [
        ("http_proxy", False, True),
        ("http_proxy", True, False),
        ("HTTPS_PROXY", False, True),
        ("https_proxy", True, True),
        ("wss_proxy", True, True),
        ("ws_proxy", False, True),
        ("ws_proxy", True, False),
    ],
)
async def test_environment(monkeypatch, variable, tls, used):
    handler = HTTPProxy(status=b"403 No")
    async with proxy_server(handler) as proxy:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy}")
        with pytest.raises(HandshakeError) as info:
            async with open_websocket("h.invalid", 8, "/", use_ssl=tls):
                raise AssertionError
    assert isinstance(info.value, ProxyError) is used
    assert handler.targets == ["h.invalid:8"] * used


@pytest.mark.parametrize(
    ("host", "no_proxy", "used"),
    [
        ("h.invalid", "", True),
        ("h.invalid", "other.invalid", True),
        ("h.invalid", "invalid", False),
        ("h.invalid", ".invalid,x", False),
        ("h.invalid", "h.invalid:7", False),
        ("h.invalid", "*", False),
        ("localhost", "", False),
        ("x.localhost", "", False),
        ("127.8.9.10", "", False),
        ("::1", "", False),
    ],
)
async def test_exceptions_from_the_environment(monkeypatch, host, no_proxy, used):
    handler = HTTPProxy(status=b"403 No")
    async with proxy_server(handler) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
        monkeypatch.setenv("no_proxy", no_proxy)
        with pytest.raises(HandshakeError):
            async with open_websocket(host, 7, "/", use_ssl=False):
                raise AssertionError
    assert len(handler.targets) == used


@pytest.mark.parametrize("value", ["http://127.0.0.1:{}", "socks5h://127.0.0.1:{}"])
async def test_socks_from_the_environment(monkeypatch, value):
    """It comes before the others; some systems name it with the scheme of HTTP."""
    handler = SOCKSProxy(reply=2)
    async with proxy_server(handler) as proxy:
        monkeypatch.setenv("socks_proxy", value.format(proxy))
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        with pytest.raises(ProxyError):
            await connect_websocket_url(None, "ws://h.invalid:9/")
    assert handler.targets == ["h.invalid:9"]


async def test_no_proxy_at_all(monkeypatch):
    handler = HTTPProxy(status=b"403 No")
    async with proxy_server(handler) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
        with pytest.raises(OSError):
            await connect_websocket_url(None, "ws://h.invalid/", proxy=None)
    assert handler.targets == []


# Unix sockets


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such sockets in Python")
@pytest.mark.parametrize("tls", [False, True])
async def test_unix_socket(tmp_path, server_context, client_context, tls, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # concerns no Unix socket
    path = tmp_path / "socket"
    hosts = []

    async def handle(request):
        hosts.append(dict(request.headers)[b"host"])
        await echo(request)

    async with (
        websocket_on_unix_socket(handle, path, server_context if tls else None),
        open_websocket_url(
            "wss://example.invalid/" if tls else "ws://example.invalid/",
            client_context if tls else None,
            unix_socket=path,
        ) as connection,
    ):
        await check_echo(connection)
    assert hosts == [b"example.invalid"]
    with pytest.raises(HandshakeError, match=str(tmp_path)) as info:
        async with open_websocket_url("ws://h/", unix_socket=tmp_path / "none"):
            raise AssertionError
    assert info.value.transient
    with pytest.raises(ValueError, match="Unix"):
        await connect_websocket_url(None, "ws://h/", unix_socket=path, proxy="http://h")
