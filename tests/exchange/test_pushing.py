"""Data comes in by parts, each hashed; what completes a push is checked, recorded and logged with who and what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from tests.support.exchange_site import FREE, OTHER, OWN, Site
from tunegate.api.pushed import PART_BYTES, PushedPlace
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import read_push
from tunegate.registry.tokens import ProgramCredential

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROWS = b'{"prompt": "a", "completion": "b"}\n' * 100
DECLARED = {"classification": "Internal", "license": "CC-BY-4.0", "source": "invoices of 2025", "steward": "stella"}
FILE = "rows.jsonl"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def send(
    site: Site, token: str, content: bytes, where: str = f"{OWN}/datasets/invoices", **changed: Any
) -> httpx.Response:
    """Store one part."""
    namespace, kind, name = where.split("/")
    digest = changed.pop("digest", digest_of(content))
    return site.ask(
        "PUT", f"/v1/namespaces/{namespace}/{kind}/{name}/parts/{digest}", token, content=content, **changed
    )


def described(content: Sequence[bytes] = (ROWS,), path: str = FILE, **declared: Any) -> dict[str, Any]:
    """Return what completes a push of one file."""
    parts = [{"digest": digest_of(part), "size": len(part)} for part in content]
    return {"declaration": {**DECLARED, **declared}, "files": [{"path": path, "parts": parts}]}


def complete(site: Site, token: str, body: Any, where: str = f"{OWN}/datasets/invoices") -> httpx.Response:
    namespace, kind, name = where.split("/")
    return site.ask("POST", f"/v1/namespaces/{namespace}/{kind}/{name}", token, json=body)


def read(site: Site, uri: str) -> Any:
    with RegistryClient(site.registry.host, plain_http=True, token_source=ProgramCredential(site.signer)) as client:
        return read_push(client, PushedPlace.of(uri))


def pushed(site: Site, **declared: Any) -> str:
    """Push the rows as the steward and return their address."""
    token = site.token("steward")
    assert send(site, token, ROWS).status_code == 201
    answer = complete(site, token, described(**declared))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["uri"])


def message(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["message"])


def test_a_steward_pushes_and_the_address_says_what_was_declared_and_by_whom(site: Site) -> None:
    uri = pushed(site, expirationDate="2031-01-01")
    found = read(site, uri)
    assert found.pushed_by == "stella"
    assert found.declaration.to_dict() == {**DECLARED, "expirationDate": "2031-01-01"}
    assert (found.file, found.files, found.bytes) == (FILE, 1, len(ROWS))
    logged = site.events("DataPushed")[-1]
    assert (logged["person"], logged["digest"]) == ("stella", uri.partition("@")[2])


def test_a_part_that_is_there_need_not_be_sent_again(site: Site) -> None:
    token, content = site.token("steward"), b"x" * 1000
    path = f"/v1/namespaces/{OWN}/datasets/invoices/parts/{digest_of(content)}"
    assert site.ask("HEAD", path, token).status_code == 404
    assert send(site, token, content).status_code == 201
    assert site.ask("HEAD", path, token).status_code == 200


def test_a_file_in_parts_is_the_file(site: Site) -> None:
    token, parts = site.token("steward"), (ROWS, b'{"prompt": "c", "completion": "d"}\n')
    for part in parts:
        send(site, token, part)
    uri = complete(site, token, described(parts)).json()["uri"]
    place = PushedPlace.of(uri)
    with RegistryClient(site.registry.host, plain_http=True, token_source=ProgramCredential(site.signer)) as client:
        layers = client.pull_artifact(place.repository, place.digest).layers
    assert [(layer.title, layer.digest) for layer in layers] == [(FILE, digest_of(part)) for part in parts]


def test_pushes_are_listed_and_withdrawn_by_those_who_may(site: Site) -> None:
    uri = pushed(site, source="to be withdrawn")
    place = PushedPlace.of(uri)
    base, at = f"/v1/namespaces/{OWN}/datasets", f"/v1/namespaces/{OWN}/datasets/invoices/{place.digest}"
    listed = site.ask("GET", base, site.token("engineer"), params={"name": "invoices"}).json()["items"]
    assert uri in [one["uri"] for one in listed]
    assert site.ask("DELETE", at, site.token("engineer")).status_code == 403
    answer = site.ask("DELETE", at, site.token("steward"))
    assert (answer.status_code, answer.json()["withdrawnBy"]) == (200, "stella")
    assert site.ask("DELETE", at, site.token("steward")).json()["withdrawnTime"] == answer.json()["withdrawnTime"]
    assert read(site, uri).withdrawn_by == "stella"
    listed = site.ask("GET", base, site.token("auditor")).json()["items"]
    assert next(one for one in listed if one["uri"] == uri)["withdrawnBy"] == "stella"
    assert len([one for one in site.events("DataWithdrawn") if one["digest"] == place.digest]) == 1


def test_the_steward_reads_the_bytes_and_nobody_else_does(site: Site) -> None:
    repository = PushedPlace.of(pushed(site)).repository
    token = site.exchanged(site.token("steward"), repository).json()["token"]
    assert site.read(repository, token, f"blobs/{digest_of(ROWS)}") == 200
    for role in ("engineer", "reviewer", "auditor", "stranger"):
        assert site.exchanged(site.token(role), repository).status_code == 403


@pytest.mark.attack(75)
def test_nobody_pushes_where_they_may_not(site: Site) -> None:
    steward = site.token("steward")
    for where in (f"{OTHER}/datasets/invoices", f"{FREE}/datasets/invoices", "tunegate-system/datasets/invoices"):
        assert send(site, steward, ROWS, where).status_code == 403
        assert complete(site, steward, described(), where).status_code == 403
    for role in ("engineer", "reviewer", "auditor", "stranger"):
        assert send(site, site.token(role), ROWS).status_code == 403
        assert complete(site, site.token(role), described()).status_code == 403
    assert site.exchanged(steward, f"{OWN}/datasets/invoices", "push").status_code == 403
    assert site.exchanged(steward, f"{OWN}/datasets", "push").status_code == 403


@pytest.mark.attack(75)
def test_bytes_of_another_repository_are_not_taken_by_their_digest(site: Site) -> None:
    """Who knows the digest of a part elsewhere does not get it into a data set of their own."""
    secret = b"rows of another data set"
    assert send(site, site.token("steward"), secret, f"{OWN}/datasets/secret").status_code == 201
    refused = complete(site, site.token("steward"), described((secret,)), f"{OWN}/datasets/mine")
    assert refused.status_code == 409
    assert "1 parts are not there" in message(refused)


@pytest.mark.attack(76)
def test_what_is_declared_cannot_be_changed_nor_an_address_moved(site: Site) -> None:
    first = pushed(site, classification="Confidential")
    second = pushed(site, classification="Public")
    assert first != second
    assert read(site, first).declaration.classification == "Confidential"
    # Nobody outside gets a token that writes, so no tag of records can be moved either.
    place = PushedPlace.of(first)
    token = site.exchanged(site.token("steward"), place.records).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    address = f"http://{site.registry.host}/v2/{place.records}/manifests/{place.tag}"
    assert httpx.put(address, content=b"{}", headers=headers).status_code == 401
    assert httpx.delete(address, headers=headers).status_code == 401


@pytest.mark.attack(77)
def test_parts_that_are_too_large_or_not_what_they_say_are_refused(site: Site) -> None:
    token = site.token("steward")
    assert send(site, token, b"x" * (PART_BYTES + 1)).status_code == 413
    assert send(site, token, b"").status_code == 413
    lied = send(site, token, b"bytes", digest=digest_of(b"others"))
    assert lied.status_code == 400
    assert "digest" in lied.json()["error"]["code"]
    assert send(site, token, b"bytes", digest="sha256:abc").status_code == 400
    assert send(site, token, b"bytes", digest="sha512:" + "a" * 128).status_code == 400


@pytest.mark.attack(77)
@pytest.mark.parametrize(
    "path",
    [
        "../rows.jsonl", "/etc/rows.jsonl", "a/../rows.jsonl", "a//rows.jsonl", ".rows.jsonl", "a/.b/rows.jsonl", "rows.jsonl/",
        "rows\n.jsonl", "rows\x00.jsonl", "r" * 300 + ".jsonl", "rows.exe", "rows.pkl", "CON:rows.jsonl", "a\\rows.jsonl", "",
    ],
)  # fmt: skip
def test_no_path_leaves_the_data_set_or_hides_in_it(site: Site, path: str) -> None:
    token = site.token("steward")
    send(site, token, ROWS)
    assert complete(site, token, described(path=path)).status_code == 400


@pytest.mark.attack(77)
@pytest.mark.parametrize(
    "name", ["..", "a%2Fb", "a%2F..%2Fb", "Invoices", "a.b", "-a", "a" * 41, "a%00", "%2e%2e", "ä"]
)
def test_no_name_leaves_the_namespaces_repositories(site: Site, name: str) -> None:
    path = f"/v1/namespaces/{OWN}/datasets/{name}/parts/{digest_of(ROWS)}"
    assert site.ask("PUT", path, site.token("steward"), content=ROWS).status_code in {400, 403, 404, 405}


@pytest.mark.attack(77)
def test_a_malformed_description_is_refused_and_not_repeated(site: Site) -> None:
    token = site.token("steward")
    send(site, token, ROWS)
    good = described()
    part = good["files"][0]["parts"][0]
    bad: list[Any] = [
        {}, [], "x", {**good, "files": []}, {**good, "more": 1}, described(classification="Secret"), described(license=""),
        described(license=" "), described(steward="a\nb"), described(source="x" * 1025), described(expirationDate="soon"),
        {**good, "files": good["files"] * 2}, {**good, "files": [{"path": FILE, "parts": []}]},
        {**good, "files": [{"path": FILE, "parts": [{**part, "size": 0}]}]},
        {**good, "files": [{"path": FILE, "parts": [{**part, "size": 10**12}]}]},
        {**good, "files": [{"path": FILE, "parts": [part] * 5000}]},
        {**good, "files": [{"path": "a.jsonl", "parts": [part]}, {"path": "a.jsonl/b.jsonl", "parts": [part]}]},
    ]  # fmt: skip
    for body in bad:
        answer = complete(site, token, body)
        assert answer.status_code == 400, body
        assert "invoices of 2025" not in answer.text
    where = f"/v1/namespaces/{OWN}/datasets/invoices"
    assert site.ask("POST", where, token, content=b"{" * 100_000).status_code == 400
    assert site.ask("POST", where, token, content=b" " * (3 * 1024 * 1024)).status_code == 413


@pytest.mark.attack(77)
def test_sizes_that_are_not_those_of_the_parts_are_refused(site: Site) -> None:
    token, body = site.token("steward"), described()
    send(site, token, ROWS)
    body["files"][0]["parts"][0]["size"] = 1
    assert complete(site, token, body).status_code == 409


def test_documents_are_pushed_by_their_own_right_and_bounds(site: Site) -> None:
    token, text = site.token("steward"), b"# Terms\n"
    where = f"{OWN}/documents/terms"
    assert send(site, token, text, where).status_code == 201
    assert complete(site, token, described((text,), "terms.md"), where).status_code == 201
    assert complete(site, token, described((text,), "terms.jsonl"), where).status_code == 400


def test_a_pipeline_with_a_service_account_that_may_pushes_too(site: Site) -> None:
    token = site.account_token(OWN, "pipeline")
    assert send(site, token, ROWS).status_code == 403
    role = "--clusterrole=tunegate-data-steward"
    site.kubectl("create", "rolebinding", "pipeline-pushes", role, f"--serviceaccount={OWN}:pipeline", "-n", OWN)
    for _ in range(50):
        if send(site, token, ROWS).status_code == 201:
            break
    answer = complete(site, token, described())
    assert (answer.status_code, answer.json()["pushedBy"]) == (201, f"system:serviceaccount:{OWN}:pipeline")
    assert json.dumps(DECLARED["source"]) in answer.text
