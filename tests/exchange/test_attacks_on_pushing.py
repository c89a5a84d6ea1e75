"""People who push at the same time, one after the other, slowly, in disguise, without a right any more, or into a restart."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.exchange.test_pushing import FILE, ROWS, complete, described, digest_of, message, read, send
from tests.support.exchange_site import OWN, Site, running_exchange, unended
from tunegate.api.pushed import MAX_FILES, PART_BYTES, PushedPlace
from tunegate.exchange.pushes import LARGEST_DESCRIPTION
from tunegate.maintenance.authority import token_pair
from tunegate.registry.client import RegistryClient
from tunegate.registry.tokens import Access, ProgramCredential, TokenSigner

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
PLACE = f"{OWN}/datasets/invoices"


@pytest.fixture
def colleague(site: Site) -> Iterator[str]:
    """The token of a second steward, whose right ends with the test."""
    binding = ("rolebinding", "colleague", "-n", OWN)
    role = "--clusterrole=tunegate-data-steward"
    site.kubectl("create", *binding, role, f"--serviceaccount={OWN}:pipeline")
    token = site.account_token(OWN, "pipeline")
    wait_for(site, token, {200})
    yield token
    site.kubectl("delete", *binding, "--ignore-not-found")


def wait_for(site: Site, token: str, statuses: set[int]) -> None:
    """Wait until the API server's watch of rights has told it of a binding, for and against."""
    for _ in range(100):
        if site.ask("GET", f"/v1/namespaces/{OWN}/datasets", token).status_code in statuses:
            return
        time.sleep(0.1)
    raise AssertionError(f"never {statuses}")


def has(site: Site, content: bytes) -> bool:
    """Tell whether a part is stored."""
    path = f"/v1/namespaces/{OWN}/datasets/invoices/parts/{digest_of(content)}"
    return site.ask("HEAD", path, site.token("steward")).status_code == 200


def layers(site: Site, uri: str) -> list[str]:
    place = PushedPlace.of(uri)
    with RegistryClient(site.registry.host, plain_http=True, token_source=ProgramCredential(site.signer)) as client:
        return [layer.digest for layer in client.pull_artifact(place.repository, place.digest).layers]


@pytest.mark.attack(74)
def test_a_right_that_is_taken_away_between_two_parts_ends_the_push(site: Site, colleague: str) -> None:
    parts = (b"before\n", b"after\n")
    assert send(site, colleague, parts[0]).status_code == 201
    site.kubectl("delete", "rolebinding", "colleague", "-n", OWN)
    wait_for(site, colleague, {403})
    assert send(site, colleague, parts[1]).status_code == 403
    assert complete(site, colleague, described(parts[:1])).status_code == 403
    assert not has(site, parts[1])


@pytest.mark.attack(73)
def test_a_token_whose_time_is_over_opens_nothing(site: Site) -> None:
    token = site.account_token(OWN, "pipeline")
    claims = jwt.decode(token, options={"verify_signature": False})
    key = load_pem_private_key((site.plane.folder / "accounts.key").read_bytes(), None)
    header = jwt.get_unverified_header(token)

    def signed(**changes: Any) -> str:
        return jwt.encode({**claims, **changes}, key, algorithm=header["alg"], headers=header)  # type: ignore[arg-type]

    path = f"/v1/namespaces/{OWN}/datasets"
    assert site.ask("GET", path, signed()).status_code == 403, "known, and without a right"
    past = int(time.time()) - 3600
    assert site.ask("GET", path, signed(exp=past, nbf=past - 60, iat=past - 60)).status_code == 401
    assert site.ask("GET", path, signed(nbf=int(time.time()) + 3600)).status_code == 401
    assert site.ask("GET", path, signed(aud=["tunegate-gateway"])).status_code == 401


@pytest.mark.attack(73)
def test_the_registry_takes_no_token_that_is_old_or_signed_by_another_key(site: Site) -> None:
    repository, now = f"{OWN}/extract-0a1b2c3d/results", datetime.now(UTC)
    pair = token_pair("tunegate-operator").files()
    folder = site.folder / "other"
    folder.mkdir()
    for name, content in pair.items():
        (folder / name).write_bytes(content)
    stranger = TokenSigner.from_files(folder / "tls.key", folder / "tls.crt")
    access, hour = [Access(repository, ("pull",))], timedelta(hours=1)
    assert site.read(repository, site.signer.sign(access, subject="x", lifetime=hour, now=now)) == 404
    assert site.read(repository, site.signer.sign(access, subject="x", lifetime=hour, now=now - 2 * hour)) == 401
    assert site.read(repository, stranger.sign(access, subject="x", lifetime=hour, now=now)) == 401


@pytest.mark.attack(76)
def test_pushes_of_one_name_at_the_same_time_are_each_whole(site: Site) -> None:
    token, contents = site.token("steward"), [b"push %d\n" % number for number in range(6)]

    def push(content: bytes) -> str:
        assert send(site, token, content).status_code == 201
        answer = complete(site, token, described((content,)))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["uri"])

    with ThreadPoolExecutor(6) as people:
        addresses = list(people.map(push, contents))
    assert len(set(addresses)) == 6
    assert [layers(site, uri) for uri in addresses] == [[digest_of(content)] for content in contents]
    listed = site.ask("GET", f"/v1/namespaces/{OWN}/datasets", token, params={"name": "invoices"}).json()["items"]
    assert set(addresses) <= {one["uri"] for one in listed}


@pytest.mark.attack(75)
def test_who_completes_what_somebody_else_began_has_pushed_it(site: Site, colleague: str) -> None:
    begun = b"begun by stella\n"
    assert send(site, site.token("steward"), begun).status_code == 201
    for role in ("engineer", "auditor", "stranger"):
        assert complete(site, site.token(role), described((begun,))).status_code == 403
    answer = complete(site, colleague, described((begun,), steward="pipeline"))
    assert answer.status_code == 201, answer.text
    found = read(site, answer.json()["uri"])
    assert (found.pushed_by, found.declaration.steward) == (f"system:serviceaccount:{OWN}:pipeline", "pipeline")


@pytest.mark.attack(77)
def test_parts_come_in_any_order_and_the_address_says_in_which_they_belong(site: Site) -> None:
    token, parts = site.token("steward"), [b"first\n", b"second\n", b"third\n"]
    for part in reversed(parts):
        assert send(site, token, part).status_code == 201
    straight, turned = (complete(site, token, described(order)).json()["uri"] for order in (parts, parts[::-1]))
    assert straight != turned
    assert layers(site, straight) == [digest_of(part) for part in parts]
    assert layers(site, turned) == [digest_of(part) for part in reversed(parts)]


@pytest.mark.attack(77)
def test_a_body_is_stored_as_it_came_and_hashed_or_not_at_all(site: Site) -> None:
    token, content = site.token("steward"), b"compressed\n" * 1000
    packed = gzip.compress(content)
    headers = {"Content-Encoding": "gzip"}
    assert send(site, token, packed, digest=digest_of(content), headers=headers).status_code == 400
    assert not has(site, content)
    bomb = gzip.compress(b"\0" * (8 * PART_BYTES))
    assert send(site, token, bomb, headers=headers).status_code == 201, "bytes like any others"
    chunked = site.ask(
        "PUT",
        f"/v1/namespaces/{OWN}/datasets/invoices/parts/{digest_of(b'chunked')}",
        token,
        content=iter([b"chunked"]),
    )
    assert chunked.status_code == 411
    assert not has(site, b"chunked")


def begin(site: Site, token: str, content: bytes, sent: int) -> socket.socket:
    """Begin to send a part, and stop after some bytes."""
    where = urlsplit(site.url)
    connection = socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=30)
    path = f"/v1/namespaces/{OWN}/datasets/invoices/parts/{digest_of(content)}"
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n"
    connection.sendall(head.encode() + content[:sent])
    return connection


@pytest.mark.attack(77)
def test_a_part_that_breaks_off_is_not_there(site: Site) -> None:
    content = b"broken off\n" * 100
    begin(site, site.token("steward"), content, 500).close()
    assert not has(site, content)
    assert send(site, site.token("steward"), content).status_code == 201
    assert has(site, content)


@pytest.mark.attack(78)
def test_slow_parts_of_one_person_leave_room_for_those_of_others(site: Site, colleague: str) -> None:
    with ExitStack() as slow:
        for number in range(8):
            slow.enter_context(begin(site, site.token("steward"), b"slow %d\n" % number * 100, 10))
        time.sleep(1)
        assert send(site, colleague, b"quick\n").status_code == 201


@pytest.mark.attack(78)
def test_a_description_without_an_end_is_refused_when_it_is_too_long(site: Site) -> None:
    path, sent = f"/v1/namespaces/{OWN}/datasets/invoices", b"x" * (LARGEST_DESCRIPTION + 1)
    assert unended(site, path, site.token("steward"), sent) == 413


@pytest.mark.attack(78)
def test_ten_thousand_files_are_too_many_for_one_push(site: Site) -> None:
    token = site.token("steward")
    assert send(site, token, ROWS).status_code == 201
    part = described()["files"][0]["parts"]
    files = [{"path": f"{number}.jsonl", "parts": part} for number in range(10_000)]
    refused = complete(site, token, {**described(), "files": files})
    assert refused.status_code == 400
    assert f"files: List should have at most {MAX_FILES} items" in message(refused)


@pytest.mark.attack(77)
@pytest.mark.parametrize(
    "path",
    [
        "r\N{CYRILLIC SMALL LETTER O}ws.jsonl", "rows\N{RIGHT-TO-LEFT OVERRIDE}lnosj.jsonl", "\N{FULLWIDTH LATIN SMALL LETTER R}ows.jsonl",
        "ro\N{ZERO WIDTH SPACE}ws.jsonl", "u\N{COMBINING DIAERESIS}.jsonl", "rows.jsonl\n", "rows.jsonl ", "%2e%2e/rows.jsonl",
        "a/./rows.jsonl", "~/rows.jsonl", "rows.jsonl/..", "\N{DIVISION SLASH}rows.jsonl",
    ],
)  # fmt: skip
def test_paths_in_disguise_are_refused(site: Site, path: str) -> None:
    assert complete(site, site.token("steward"), described(path=path)).status_code == 400


@pytest.mark.attack(77)
@pytest.mark.parametrize(
    "place",
    [
        "datasets/..%2f..%2fteam-b%2fdatasets%2fx", "datasets/%252e%252e", "datasets/invoices%0a", "datasets/invoices;x",
        "datasets/invoices%ef%bc%8fx", "datasets/inv%D0%BEices", "datasets/invoices/", "datasets//invoices", "datasets/./invoices",
        "datasets/../../team-b/datasets/invoices", "models/invoices", "Datasets/invoices",
    ],
)  # fmt: skip
def test_names_in_disguise_are_refused(site: Site, place: str) -> None:
    path = f"/v1/namespaces/{OWN}/{place}/parts/{digest_of(ROWS)}"
    where = urlsplit(site.url)
    with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=30) as connection:
        # A client would make the path tidy before it sends it.
        head = (
            f"PUT {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {site.token('steward')}\r\nConnection: close\r\n"
        )
        connection.sendall(f"{head}Content-Length: {len(ROWS)}\r\n\r\n".encode() + ROWS)
        status = int(connection.recv(100).split()[1])
    assert status in {400, 403, 404, 405}


@pytest.mark.attack(77)
def test_a_push_goes_on_after_the_exchange_was_restarted_in_the_middle(site: Site) -> None:
    token, parts = site.token("steward"), [b"before the restart\n", b"during it\n" * 1000]
    with running_exchange(site.folder, site.plane, site.registry, {}, "first") as url:
        first = replace(site, url=url)
        assert send(first, token, parts[0]).status_code == 201
        connection = begin(first, token, parts[1], 100)
    connection.close()
    with running_exchange(site.folder, site.plane, site.registry, {}, "second") as url:
        second = replace(site, url=url)
        assert (has(second, parts[0]), has(second, parts[1])) == (True, False)
        assert complete(second, token, described(parts)).status_code == 409
        assert send(second, token, parts[1]).status_code == 201
        uri = complete(second, token, described(parts)).json()["uri"]
    assert layers(site, uri) == [digest_of(part) for part in parts]
    assert read(site, uri).file == FILE
