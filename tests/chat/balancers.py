"""Real nginx and HAProxy, configured as the guide says but for ports and files."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trustme
from ports import port_of, reserve_port

GUIDE = Path(__file__).parents[2] / "docs" / "several-processes.md"
KINDS = ("nginx", "haproxy")
NAME = "localhost"

_SECONDS = 60
_NGINX = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/balancer.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {configuration}
}}
"""
"""As little of a distribution's nginx.conf as the guide's file needs around it."""


def configuration(kind: str) -> str:
    """What the guide says."""
    (found,) = re.findall(
        rf"^```{kind}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert isinstance(found, str)
    return found


def replaced(text: str, changes: dict[str, str]) -> str:
    """Replace words that have to be there."""
    for old, new in changes.items():
        assert old in text, f"the guide says nothing of {old}"
        text = text.replace(old, new)
    return text


class Balancer:
    """A running balancer; TLS ends there."""

    def __init__(self, port: int, authority: trustme.CA) -> None:
        self.port = port
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)

    @property
    def authority(self) -> str:
        return f"{NAME}:{self.port}"

    @property
    def page(self) -> str:
        return f"https://{self.authority}/"

    @property
    def url(self) -> str:
        return f"wss://{self.authority}/ws"


@contextmanager
def balancer(
    kind: str, folder: Path, ports: Sequence[int], timeout: str | None = None
) -> Iterator[Balancer]:
    """Run one before two processes, until the end of the block.

    ``timeout`` takes the place of the guide's 60 seconds.
    """
    program = shutil.which(kind, path=os.environ.get("PATH", "") + ":/usr/sbin")
    assert program is not None, f"{kind} is missing: apt-get install {kind}"
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "chat.pem")
    certificate.private_key_pem.write_to_path(folder / "chat.key")
    holder = reserve_port()
    port = port_of(holder)
    changes = {f":800{n}": f":{each}" for n, each in enumerate(ports, 1)}
    if timeout is not None:
        changes[" 60s"] = f" {timeout}"
    file = folder / "balancer.conf"
    if kind == "nginx":
        changes |= {"listen 443": f"listen 127.0.0.1:{port}", "/etc/ssl/": f"{folder}/"}
        user = "user root;" if os.getuid() == 0 else ""
        text = _NGINX.format(
            user=user, folder=folder, configuration=replaced(configuration(kind), changes)
        )
        command = [program, "-e", str(folder / "balancer.log"), "-c", str(file)]
    else:
        changes |= {"bind :443": f"bind 127.0.0.1:{port}", "/etc/haproxy/": f"{folder}/"}
        changes["maxconn 100000"] = "maxconn 500"  # it asks for twice as many descriptors
        changes["inter 2s"] = "inter 100ms"
        text = replaced(configuration(kind), changes)
        command = [program, "-db", "-f", str(file)]
    file.write_text(text)
    with (folder / "said.log").open("ab") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        deadline = time.monotonic() + _SECONDS
        while not _listens(port):
            assert process.poll() is None, (folder / "said.log").read_text()
            assert time.monotonic() < deadline, f"{kind} does not get ready"
            time.sleep(0.01)
        yield Balancer(port, authority)
    finally:
        process.terminate()
        process.wait()
        holder.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
