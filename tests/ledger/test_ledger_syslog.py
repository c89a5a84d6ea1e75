"""Checkpoints reach a log server whole, over each transport, and what it kept is an anchor."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import write_localhost_certificate
from tests.support.ledgers import new_key, sealed_ledger
from tunegate.errors import Transient
from tunegate.ledger.anchors.places import Checkpoint
from tunegate.ledger.anchors.syslog import SyslogAnchor
from tunegate.ledger.comparison import Anchor
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import verify

RING = KeyRing(new_key())
MESSAGE = re.compile(r"<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+ tunegate-operator - checkpoint - (.*)", re.DOTALL)


@dataclass
class Listener:
    """A log server that takes one message."""

    port: int
    thread: threading.Thread
    heard: list[bytes]

    def message(self) -> bytes:
        self.thread.join(20)
        return self.heard[0]


def listening(context: ssl.SSLContext | None = None, *, abrupt: bool = False) -> Listener:
    """Take one connection and read until its end; ``abrupt``: only the message, and close without TLS's close_notify."""
    server, heard = socket.create_server(("127.0.0.1", 0)), list[bytes]()

    def take() -> None:
        with server, server.accept()[0] as plain:
            plain.settimeout(10)
            stream = plain if context is None else context.wrap_socket(plain, server_side=True)
            framed = b""
            while not (abrupt and _whole(framed)) and (part := stream.recv(4096)):
                framed += part
            heard.append(framed)
            if isinstance(stream, ssl.SSLSocket) and not abrupt:
                stream.unwrap()
            stream.close()

    thread = threading.Thread(target=take)
    thread.start()
    return Listener(server.getsockname()[1], thread, heard)


def _whole(framed: bytes) -> bool:
    length, found, message = framed.partition(b" ")
    return bool(found) and int(length) == len(message)


def unframed(framed: bytes) -> str:
    length, _, message = framed.partition(b" ")
    assert int(length) == len(message)
    return message.decode()


async def checkpoint() -> tuple[Checkpoint, list[dict[str, object]]]:
    records = (await sealed_ledger(RING, (3,))).records
    return Checkpoint.of(records[-1]["spec"]["payload"]["envelope"]), records


async def test_message_over_tls_is_framed_and_its_text_is_an_anchor(tmp_path: Path) -> None:
    certificate, key = write_localhost_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = listening(context)
    made, records = await checkpoint()
    await SyslogAnchor(f"tls://localhost:{server.port}", certificate).keep(made)
    found = MESSAGE.fullmatch(unframed(server.message()))
    assert found is not None
    assert verify(records, keys=RING.publics, anchors=[Anchor("log", found[1])]).problems == ()


async def test_a_server_that_closes_without_a_close_notify_has_the_message(tmp_path: Path) -> None:
    certificate, key = write_localhost_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = listening(context, abrupt=True)
    await SyslogAnchor(f"tls://localhost:{server.port}", certificate).keep((await checkpoint())[0])
    assert MESSAGE.fullmatch(unframed(server.message()))


async def test_datagrams_reach_a_server_that_has_an_ipv6_address_only() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as plain:
        plain.bind(("::1", 0))
        plain.settimeout(10)
        await SyslogAnchor(f"udp://[::1]:{plain.getsockname()[1]}").keep((await checkpoint())[0])
        assert MESSAGE.fullmatch(plain.recv(65536).decode())


async def test_server_whose_certificate_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    certificate, key = write_localhost_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with server.accept()[0] as plain, pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_side=True).recv(1)

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(Transient, match="does not take it"):
            await SyslogAnchor(f"tls://localhost:{server.getsockname()[1]}").keep((await checkpoint())[0])
        thread.join(20)


async def test_message_over_tcp_and_udp() -> None:
    made, _ = await checkpoint()
    server = listening()
    await SyslogAnchor(f"tcp://127.0.0.1:{server.port}").keep(made)
    assert MESSAGE.fullmatch(unframed(server.message()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind(("127.0.0.1", 0))
        plain.settimeout(10)
        await SyslogAnchor(f"udp://127.0.0.1:{plain.getsockname()[1]}").keep(made)
        assert MESSAGE.fullmatch(plain.recv(65536).decode())


async def test_server_that_is_down_is_named() -> None:
    made, _ = await checkpoint()
    with pytest.raises(Transient, match=r"tcp://127\.0\.0\.1:9 does not take it"):
        await SyslogAnchor("tcp://127.0.0.1:9").keep(made)
