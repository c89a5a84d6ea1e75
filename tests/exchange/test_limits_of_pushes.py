"""Many small pushes, and more bytes than one person may: bounded for the person and for the namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.exchange.test_pushing import complete, described, digest_of, message, send
from tests.support.exchange_site import OTHER, OWN, Site, running_site
from tunegate.exchange.allowances import DAY_SECONDS, LEAST_CHARGE, Allowances
from tunegate.gateway.errors import ApiError

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    limits = {"GIBIBYTES_PER_DAY": "0.005", "GIBIBYTES_PER_PUSH": "0.001", "PUSHES_PER_NAMESPACE": "5"}
    with running_site(tmp_path_factory.mktemp("site"), **limits) as running:
        yield running


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.attack(78)
def test_a_namespace_has_so_many_pushes_and_one_person_so_many_bytes_a_day(site: Site) -> None:
    token = site.token("steward")
    for number in range(5):
        row = b'{"prompt": "%d", "completion": "b"}\n' % number
        assert send(site, token, row).status_code == 201
        assert complete(site, token, described((row,))).status_code == 201
    full = complete(site, token, described((row,)))
    assert full.status_code == 429
    assert "exchange.limits.pushesPerNamespace" in message(full)
    statuses = [send(site, token, b"row %d\n" % number).status_code for number in range(100)]
    assert statuses[0] == 201
    assert statuses[-1] == 429
    # Another person is not concerned.
    role = "--clusterrole=tunegate-data-steward"
    site.kubectl("create", "rolebinding", "pipeline-pushes", role, f"--serviceaccount={OTHER}:pipeline", "-n", OWN)
    other = site.account_token(OTHER, "pipeline")
    assert 201 in [send(site, other, b"a row\n").status_code for _ in range(50)]


@pytest.mark.cluster
@pytest.mark.timeout(600)
@pytest.mark.attack(77)
def test_a_push_that_is_too_large_is_refused_before_its_parts_are_looked_for(site: Site) -> None:
    parts = [{"digest": digest_of(bytes([number])), "size": MIB} for number in range(2)]
    body = {**described(), "files": [{"path": "rows.jsonl", "parts": parts}]}
    refused = complete(site, site.token("steward"), body)
    assert refused.status_code == 413
    assert "at most 1073741 bytes" in message(refused)


@pytest.mark.attack(78)
def test_small_parts_count_as_more_than_they_are_and_a_day_gives_them_back() -> None:
    now = [0.0]
    allowances = Allowances(10 * LEAST_CHARGE, clock=lambda: now[0])
    for _ in range(10):
        allowances.take("stella", 1)
    with pytest.raises(ApiError, match="within a day"):
        allowances.take("stella", 1)
    allowances.take("erin", 1)
    now[0] = DAY_SECONDS + 1
    allowances.take("stella", 1)


@pytest.mark.attack(78)
def test_programs_of_one_namespace_share_what_one_person_may() -> None:
    allowances = Allowances(2 * LEAST_CHARGE)
    allowances.take(f"system:serviceaccount:{OWN}:one", 1)
    allowances.take(f"system:serviceaccount:{OWN}:two", 1)
    with pytest.raises(ApiError):
        allowances.take(f"system:serviceaccount:{OWN}:three", 1)
