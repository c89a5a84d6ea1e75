"""Tokens of a company's identity provider: taken as the provider signed them for this server, and in no other form."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.gateway.issuer import AUDIENCE, EC_KEY, OTHER_KEY, RSA_KEY, Issuer, issuer, private, public_pem, published
from tests.gateway.standins import GOOD, KEY, KNOWN_TOKEN, Scene, routes, scene, until
from tunegate.api.modelserver import ClientQuota
from tunegate.gateway.errors import ApiError
from tunegate.gateway.identity_provider import KEPT_SECONDS, REFRESH_SECONDS, RETRY_SECONDS, IdentityProviders


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncIterator[Issuer]:
    (tmp_path / "issuer").mkdir()
    async with issuer(tmp_path / "issuer") as running:
        yield running


async def outcome(checking: IdentityProviders, provider: Issuer, token: str, **changes: Any) -> str:
    """Return the username, or the code of the refusal."""
    try:
        return (await checking.person(token, provider.provider.model_copy(update=changes))).username
    except ApiError as error:
        return error.code


def unsigned(head: dict[str, Any], claims: dict[str, Any], secret: bytes | None) -> str:
    """Return a token that is signed with a secret, or not at all, whatever its head says."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims)]
    signature = hmac.new(secret, ".".join(parts).encode(), hashlib.sha256).digest() if secret is not None else b""
    return ".".join([*parts, base64.urlsafe_b64encode(signature).decode().rstrip("=")])


@pytest.mark.attack(73)
async def test_only_what_the_provider_signed_for_this_server_and_this_time_is_taken(provider: Issuer) -> None:
    checking, now = IdentityProviders(), int(time.time())
    assert await outcome(checking, provider, provider.token()) == "anna"
    assert await outcome(checking, provider, provider.token(algorithm="PS256")) == "anna"
    assert await outcome(checking, provider, provider.token(aud=["other", AUDIENCE])) == "anna"
    refused = {
        "expired": provider.token(exp=now - 120),
        "not yet": provider.token(nbf=now + 3600),
        "another audience": provider.token(aud="another"),
        "no audience": provider.token(aud=None),
        "another issuer": provider.token(iss="https://elsewhere.example"),
        "no end": provider.token(exp=None),
        "nobody": provider.token(sub=None),
        "an unreadable name": provider.token(sub="a\nb"),
        "an empty name": provider.token(sub=""),
        "another key": provider.token(key=OTHER_KEY),
        "a changed payload": _changed(provider.token()),
        "no signature": provider.token().rpartition(".")[0] + ".",
    }
    found = {what: await outcome(checking, provider, token) for what, token in refused.items()}
    assert set(found.values()) == {"invalid_credential"}, found


def _changed(token: str) -> str:
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) | {"sub": "root"}
    return f"{head}.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.{signature}"


@pytest.mark.attack(73)
async def test_a_token_chooses_neither_the_algorithm_nor_where_its_key_is_found(provider: Issuer) -> None:
    checking = IdentityProviders()
    claims, own = provider.claims(), published(OTHER_KEY, "own")
    forged = {
        "none": unsigned({"alg": "none", "kid": "first"}, claims, None),
        "None": unsigned({"alg": "None", "kid": "first"}, claims, b""),
        "the public key as a secret": unsigned({"alg": "HS256", "kid": "first"}, claims, public_pem(RSA_KEY)),
        "a key in the token": provider.token(key=OTHER_KEY, head={"jwk": own}),
        "a key elsewhere": provider.token(key=OTHER_KEY, head={"jku": "https://elsewhere.example/keys"}),
        "a certificate elsewhere": provider.token(key=OTHER_KEY, head={"x5u": "https://elsewhere.example/c"}),
        "a path as the key's name": provider.token(key=OTHER_KEY, head={"kid": "../../../dev/null"}),
        "a query as the key's name": provider.token(key=OTHER_KEY, head={"kid": "first' OR '1'='1"}),
        "no key's name": jwt.encode(claims, private(OTHER_KEY), "RS256"),
        "what must be understood": provider.token(head={"crit": ["x"], "x": 1}),
        "a curve for another kind of key": jwt.encode(claims, private(EC_KEY), "ES256", {"kid": "first"}),
    }
    found = {what: await outcome(checking, provider, token) for what, token in forged.items()}
    assert set(found.values()) == {"invalid_credential"}, found


@pytest.mark.attack(73)
async def test_a_published_secret_or_a_key_for_encryption_signs_nothing(provider: Issuer) -> None:
    secret = {
        "kty": "oct",
        "kid": "shared",
        "k": base64.urlsafe_b64encode(b"x" * 32).decode().rstrip("="),
        "alg": "HS256",
    }
    provider.keys = [secret, published(OTHER_KEY, "for-encryption", use="enc"), published(EC_KEY, "curve")]
    checking = IdentityProviders()
    forged = unsigned({"alg": "HS256", "kid": "shared"}, provider.claims(), b"x" * 32)
    assert await outcome(checking, provider, forged) == "invalid_credential"
    other = provider.token(key=OTHER_KEY, head={"kid": "for-encryption"})
    assert await outcome(checking, provider, other) == "invalid_credential"
    assert await outcome(checking, provider, provider.token(EC_KEY, "ES256", {"kid": "curve"})) == "anna"


async def test_groups_and_names_come_from_the_claims_that_the_owner_named(provider: Issuer) -> None:
    checking = IdentityProviders()
    assert await outcome(checking, provider, provider.token(), groups=["analysts"]) == "anna"
    assert await outcome(checking, provider, provider.token(), groups=["others"]) == "not_in_group"
    assert await outcome(checking, provider, provider.token(groups=None), groups=["analysts"]) == "not_in_group"
    assert (
        await outcome(checking, provider, provider.token(groups={"analysts": 1}), groups=["analysts"]) == "not_in_group"
    )
    token = provider.token(email="anna@example.com", roles="analysts")
    changes = {"username_claim": "email", "groups_claim": "roles", "groups": ["analysts"]}
    assert await outcome(checking, provider, token, **changes) == "anna@example.com"


@pytest.mark.attack(73)
async def test_keys_are_read_again_for_a_new_one_and_made_up_names_cost_the_issuer_little(provider: Issuer) -> None:
    clock = Clock()
    checking = IdentityProviders(clock)
    assert await outcome(checking, provider, provider.token()) == "anna"
    for number in range(15):
        await outcome(checking, provider, provider.token(head={"kid": f"made-up-{number}"}))
    assert provider.asked == 1
    provider.keys = [published(OTHER_KEY, "second")]
    clock.now += RETRY_SECONDS
    assert await outcome(checking, provider, provider.token(key=OTHER_KEY, head={"kid": "second"})) == "anna"
    assert await outcome(checking, provider, provider.token()) == "invalid_credential", (
        "a withdrawn key signs nothing more"
    )
    assert provider.asked == 2


@pytest.mark.parametrize(
    "unknown",
    [
        {**published(EC_KEY, "other"), "crv": "secp256k1"},
        {**published(EC_KEY, "other"), "crv": ["P-256"]},
        {**published(EC_KEY, "other"), "x": 7},
        {"kty": "OKP", "crv": "X448", "x": "AAAA", "kid": "other"},
        {"kty": "OKP", "kid": "other"},
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "other"},
        {"kty": [], "kid": "other"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "other"},
        "no key",
        None,
    ],
)
async def test_a_key_that_is_not_understood_is_ignored_and_the_others_hold(provider: Issuer, unknown: Any) -> None:
    provider.keys = [unknown, published(RSA_KEY, "first")]
    checking = IdentityProviders()
    assert await outcome(checking, provider, provider.token()) == "anna"
    assert await outcome(checking, provider, provider.token(head={"kid": "other"})) == "invalid_credential"


async def test_keys_hold_for_an_hour_while_the_issuer_cannot_be_read(provider: Issuer) -> None:
    clock = Clock()
    checking = IdentityProviders(clock)
    assert await outcome(checking, provider, provider.token()) == "anna"
    provider.away = True
    clock.now += REFRESH_SECONDS
    assert await outcome(checking, provider, provider.token()) == "anna"
    clock.now += KEPT_SECONDS
    assert await outcome(checking, provider, provider.token()) == "tokens_unchecked"
    provider.away = False
    clock.now += RETRY_SECONDS
    assert await outcome(checking, provider, provider.token()) == "anna"


@pytest.mark.attack(73)
@pytest.mark.parametrize(
    "published_as", [{"issuer": "https://elsewhere.example"}, {"jwks_uri": "http://localhost/keys"}, {"jwks_uri": None}]
)
async def test_a_document_of_another_issuer_or_keys_without_tls_are_not_followed(
    provider: Issuer, published_as: dict[str, Any]
) -> None:
    provider.document |= published_as
    assert await outcome(IdentityProviders(), provider, provider.token()) == "tokens_unchecked"


@pytest.mark.attack(73)
async def test_an_issuer_whose_certificate_nobody_vouches_for_is_not_followed(provider: Issuer) -> None:
    found = await outcome(IdentityProviders(), provider, provider.token(), certificate_authority=None)
    assert found == "tokens_unchecked"


async def told(stage: Scene, provider: Issuer, revision: int, **changes: Any) -> None:
    document = routes(revision=revision, kubernetes_groups=["analysts"], oidc=provider.provider, **changes)
    await stage.cluster.put(document)
    await until(lambda: stage.gateway.routes.revision == revision, "told")


async def test_a_companys_token_opens_the_door_beside_keys_and_the_clusters_tokens(
    provider: Issuer, tmp_path: Path
) -> None:
    async with scene(tmp_path) as stage:
        stage.headers = {"Authorization": f"Bearer {provider.token()}"}
        assert (await stage.ask())[0] == 401
        await told(stage, provider, 2)
        for credential in (provider.token(), KEY, KNOWN_TOKEN):
            stage.headers = {"Authorization": f"Bearer {credential}"}
            assert (await stage.ask())[0] == 200
        assert stage.cluster.reviewed == [KNOWN_TOKEN], "a company's token is shown to nobody"
        stage.headers = {"Authorization": f"Bearer {provider.token()}"}
        assert (await stage.post("/v1/messages", {"model": "extract", "max_tokens": 5, "messages": [
            {"role": "user", "content": "Hello"}]}))[0] == 200  # fmt: skip
        async with stage.http.get(f"{stage.status_url}/metrics") as answer:
            expected = f'tunegate_gateway_client_requests_total{{client="user:anna",model="{GOOD}",status="200"}} 2.0'
            assert expected in await answer.text()
        await told(stage, provider, 3, per_client=ClientQuota(requests_per_minute=1))
        assert [(await stage.ask())[0] for _ in range(2)] == [200, 429]
        await stage.cluster.put(routes(revision=4))
        await until(lambda: stage.gateway.routes.revision == 4, "told")
        assert (await stage.ask())[0] == 401


@pytest.mark.attack(53)
async def test_a_token_is_not_taken_by_routes_that_are_too_old(provider: Issuer, tmp_path: Path) -> None:
    async with scene(tmp_path) as stage:
        await told(stage, provider, 2)
        stage.gateway.routes._seconds = lambda: float("inf")
        for credential in (provider.token(), KNOWN_TOKEN):
            stage.headers = {"Authorization": f"Bearer {credential}"}
            status, answer, headers = await stage.ask("base")
            assert (status, answer["error"]["code"]) == (503, "tokens_unchecked"), "their owners may come back"
            assert int(headers["Retry-After"]) > 0
        stage.headers = {"Authorization": f"Bearer {KEY}"}
        assert (await stage.ask("base"))[0] == 200
