"""A gateway with a certificate: who takes over its address, or listens in between, gets nothing."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.gateway.standins import KEY, scene, until
from tests.support.certificates import write_localhost_certificate
from tests.support.ports import free_port
from tunegate.gateway.settings import Limits
from tunegate.gateway.tls import Certificate

HOST = "holders.licenses-team.svc"
ASKED = {"model": "extract", "messages": [{"role": "user", "content": "Hello"}]}
HEADERS = {"Authorization": f"Bearer {KEY}"}


def folder(parent: Path, name: str, host: str = HOST) -> Path:
    made = parent / name
    made.mkdir()
    write_localhost_certificate(made, host)
    return made


def trust(place: Path) -> ssl.SSLContext:
    """Return what a client trusts: this authority, and only the name that it asked for."""
    return ssl.create_default_context(cafile=str(place / "tls.crt"))


async def ask(port: int, context: ssl.SSLContext) -> int:
    url = f"https://127.0.0.1:{port}/v1/chat/completions"
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, json=ASKED, headers=HEADERS, ssl=context, server_hostname=HOST) as answer,
    ):
        return answer.status


@pytest.mark.attack(62)
async def test_a_client_that_checks_the_servers_name_gives_an_impostor_nothing(tmp_path: Path) -> None:
    own, other_name, impostors = (
        folder(tmp_path, "own"),
        folder(tmp_path, "other", "evil.example"),
        folder(tmp_path, "impostor"),
    )
    async with scene(tmp_path, tls=own) as stage:
        assert await ask(stage.settings.port, trust(own)) == 200
        assert stage.engine.seen
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(10_000))
        writer.close()

    for place in (other_name, impostors):
        port = free_port()
        taken_over = await asyncio.start_server(listen, "127.0.0.1", port, ssl=Certificate(place).context)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await ask(port, trust(own))
        taken_over.close()
    assert [said for said in heard if said] == []


@pytest.mark.attack(62)
async def test_a_gateway_with_a_certificate_speaks_no_plain_http_and_no_old_tls(tmp_path: Path) -> None:
    own = folder(tmp_path, "own")
    async with scene(tmp_path, tls=own) as stage:
        plain = f"http://127.0.0.1:{stage.settings.port}/v1/chat/completions"
        with pytest.raises(aiohttp.ClientError):
            await stage.http.post(plain, json=ASKED, headers=HEADERS)
        old = trust(own)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(aiohttp.ClientError):
            await ask(stage.settings.port, old)
        assert not stage.engine.seen


async def test_a_rotated_certificate_is_taken_over_while_connections_go_on(tmp_path: Path) -> None:
    own, new = folder(tmp_path, "own"), folder(tmp_path, "new")
    first = trust(own)
    certificate = Certificate(own)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)

    port = free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", port, ssl=certificate.context)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=first, server_hostname=HOST)
    writer.write(b"before\n")
    assert await reader.readline() == b"before\n"

    (own / "tls.crt").write_bytes((new / "tls.crt").read_bytes())
    assert not certificate.reload(), "a certificate without its key is not taken"
    (own / "tls.key").write_bytes((new / "tls.key").read_bytes())
    assert certificate.reload()
    _, second = await asyncio.open_connection("127.0.0.1", port, ssl=trust(new), server_hostname=HOST)
    writer.write(b"after\n")
    assert await reader.readline() == b"after\n"
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection("127.0.0.1", port, ssl=first, server_hostname=HOST)
    for one in (writer, second):
        one.close()
    server.close()


async def test_without_its_certificate_a_gateway_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match="tls.crt"):
        async with scene(tmp_path, tls=tmp_path / "empty"):
            pass


@pytest.mark.attack(67)
async def test_connections_that_never_begin_to_speak_tls_are_bounded_too(tmp_path: Path) -> None:
    own = folder(tmp_path, "own")
    async with scene(tmp_path, Limits(connections=30, connections_each=20, head_seconds=120.0), own) as stage:
        silent = [await asyncio.open_connection("127.0.0.1", stage.settings.port) for _ in range(120)]
        await until(lambda: sum(r.at_eof() or r.exception() is not None for r, _ in silent) >= 100, "cut")
        assert await ask(stage.settings.port, trust(own)) == 200
        for _, writer in silent:
            writer.close()


@pytest.mark.attack(62)
async def test_what_comes_before_the_handshake_is_never_taken_for_a_request(tmp_path: Path) -> None:
    own = folder(tmp_path, "own")
    async with scene(tmp_path, tls=own) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.settings.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert await ask(stage.settings.port, trust(own)) == 200
