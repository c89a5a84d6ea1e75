"""Questions of a suite in the registry: their owner pushes and reads them; people who ask for jobs or make training data do neither."""

from __future__ import annotations

import pytest

from tests.exchange.test_pushing import FILE, ROWS, complete, described, digest_of, message, send
from tests.support.exchange_site import OTHER, OWN, Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
WHERE = f"{OWN}/questions/gate"
QUESTIONS = {"files": [{"path": FILE, "parts": [{"digest": digest_of(ROWS), "size": len(ROWS)}]}]}


def pushed(site: Site) -> str:
    token = site.token("evaluation-owner")
    assert send(site, token, ROWS, WHERE).status_code == 201
    answer = complete(site, token, QUESTIONS, WHERE)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["uri"])


def test_an_owner_pushes_questions_of_which_nothing_is_declared(site: Site) -> None:
    uri = pushed(site)
    assert uri.startswith(f"oci://{WHERE}@sha256:")
    found = site.ask("GET", f"/v1/namespaces/{OWN}/questions", site.token("evaluation-owner")).json()["items"]
    assert [(one["uri"], one["pushedBy"], "declaration" in one) for one in found] == [(uri, "eva", False)]


def test_a_declaration_belongs_to_data_and_not_to_questions(site: Site) -> None:
    token = site.token("evaluation-owner")
    assert send(site, token, ROWS, WHERE).status_code == 201
    answer = complete(site, token, described(), WHERE)
    assert (answer.status_code, message(answer)) == (400, "declaration: questions have none")
    steward = site.token("steward")
    assert send(site, steward, ROWS).status_code == 201
    answer = complete(site, steward, QUESTIONS)
    assert (answer.status_code, message(answer)) == (400, "declaration: datasets need one")


@pytest.mark.attack(75)
@pytest.mark.parametrize("role", ["engineer", "steward", "stranger"])
def test_who_asks_for_jobs_or_makes_training_data_neither_pushes_nor_reads_nor_lists_questions(
    site: Site, role: str
) -> None:
    pushed(site)
    token = site.token(role)
    assert send(site, token, ROWS, WHERE).status_code == 403
    assert site.exchanged(token, WHERE).status_code == 403
    assert site.exchanged(token, f"{OWN}/questions").status_code == 403
    assert site.ask("GET", f"/v1/namespaces/{OWN}/questions", token).status_code == 403


def test_an_owner_reads_and_an_auditor_sees_what_was_pushed(site: Site) -> None:
    pushed(site)
    assert site.exchanged(site.token("evaluation-owner"), WHERE).status_code == 200
    auditor = site.token("auditor")
    assert site.ask("GET", f"/v1/namespaces/{OWN}/questions", auditor).status_code == 200
    assert site.exchanged(auditor, WHERE).status_code == 403


@pytest.mark.attack(75)
def test_an_owner_pushes_nothing_into_another_namespace_and_no_data(site: Site) -> None:
    token = site.token("evaluation-owner")
    assert send(site, token, ROWS, f"{OTHER}/questions/gate").status_code == 403
    assert send(site, token, ROWS).status_code == 403
