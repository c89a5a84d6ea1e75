"""A Kubernetes token opens what its holder may read in the registry, for minutes, and nothing else."""

from __future__ import annotations

import base64
import json
import shlex

import jwt
import pytest

from tests.support.exchange_site import FREE, OTHER, OWN, Site
from tests.support.pages import commands
from tunegate.registry.tokens import SERVICE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ANSWERS = f"{OWN}/extract-0a1b2c3d/answers"
RESULTS = f"{OWN}/extract-0a1b2c3d/results"


def test_a_reviewer_reads_evidence_of_the_namespace_without_being_on_any_list(site: Site) -> None:
    for part in ("results", "answers", "data", "adapter"):
        repository = f"{OWN}/extract-0a1b2c3d/{part}"
        answer = site.exchanged(site.token("reviewer"), repository)
        assert answer.status_code == 200, answer.text
        assert site.read(repository, answer.json()["token"]) == 404

    issued = site.events("RegistryTokenIssued")[-1]
    assert (issued["person"], issued["repositories"]) == ("ravi", [f"{OWN}/extract-0a1b2c3d/adapter"])


def test_an_auditor_reads_evidence_of_every_namespace_and_no_training_data(site: Site) -> None:
    token = site.token("auditor")
    assert site.exchanged(token, f"{OTHER}/holders-1-0a1b2c3d/statement").status_code == 200
    assert site.exchanged(token, "catalogue/smollm2/results").status_code == 200
    assert site.exchanged(token, f"{OWN}/datasets/invoices").status_code == 403


def test_people_who_make_training_data_read_no_answers(site: Site) -> None:
    token = site.token("engineer")
    assert site.exchanged(token, RESULTS).status_code == 200
    refused = site.exchanged(token, ANSWERS)
    assert refused.status_code == 403
    assert (
        "erin may not get evidence/answers.tunegate.io in namespace licenses-team" in refused.json()["error"]["message"]
    )


@pytest.mark.attack(72)
@pytest.mark.parametrize(
    "repository",
    [
        f"{OTHER}/extract-0a1b2c3d/results", f"{FREE}/x/results", "catalogue", f"{OWN}", f"{OWN}/a/b/c",
        f"{OWN}/extract/secrets", f"{OWN}/../{OTHER}/results", f"{OWN}//results", "tunegate-system/tunegate/results",
    ],
)  # fmt: skip
def test_nothing_outside_a_persons_rights_is_opened(site: Site, repository: str) -> None:
    assert site.exchanged(site.token("reviewer"), repository).status_code in {400, 403}


@pytest.mark.attack(72)
def test_a_token_of_the_registry_opens_only_what_it_names_and_never_writes(site: Site) -> None:
    token = site.exchanged(site.token("reviewer"), RESULTS, "pull,push,delete").json()["token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["access"] == [{"type": "repository", "name": RESULTS, "actions": ["pull"]}]
    assert claims["exp"] - claims["iat"] <= 300
    assert site.read(RESULTS, token) == 404
    assert site.read(ANSWERS, token) == 401
    assert site.exchanged(site.token("reviewer"), RESULTS, "push").status_code == 403
    assert site.exchanged(site.token("reviewer"), RESULTS, "*").status_code == 403


@pytest.mark.attack(73)
def test_no_token_is_good_where_it_was_not_made_for(site: Site) -> None:
    mine = site.exchanged(site.token("reviewer"), RESULTS).json()["token"]
    assert site.exchanged(mine, RESULTS).status_code == 401  # the registry's token is none of Kubernetes
    account = site.account_token(OWN, "pipeline")
    assert site.read(RESULTS, account) == 401  # and the other way round
    gateway = site.account_token(OWN, "pipeline", "tunegate-gateway")
    plain = site.account_token(OWN, "pipeline", "https://kubernetes.default.svc")
    assert site.exchanged(gateway, RESULTS).status_code == 401
    refused = site.exchanged(plain, RESULTS)
    assert refused.status_code == 401
    assert "not for audience tunegate-exchange" in refused.json()["error"]["message"]
    forged = jwt.encode({"sub": "system:serviceaccount:licenses-team:pipeline", "aud": [SERVICE]}, "k" * 32)
    assert site.exchanged(forged, RESULTS).status_code == 401
    assert site.exchanged(None, RESULTS).status_code == 401
    assert site.exchanged("two words", RESULTS).status_code == 401


@pytest.mark.attack(74)
def test_a_right_that_is_taken_away_opens_nothing_from_then_on(site: Site) -> None:
    account, name = f"{OWN}:pipeline", "pipeline-reads"
    role = "--clusterrole=tunegate-evidence-reader"
    site.kubectl("create", "rolebinding", name, role, f"--serviceaccount={account}", "-n", OWN)
    token = site.account_token(OWN, "pipeline")
    assert site.exchanged(token, ANSWERS).status_code == 200
    site.kubectl("delete", "rolebinding", name, "-n", OWN)
    statuses = [site.exchanged(token, ANSWERS).status_code for _ in range(20)]
    assert statuses[-1] == 403
    site.kubectl("create", "serviceaccount", "short", "-n", OWN)
    gone = site.account_token(OWN, "short")
    site.kubectl("delete", "serviceaccount", "short", "-n", OWN)
    assert [site.exchanged(gone, ANSWERS).status_code for _ in range(20)][-1] in {401, 403}


def test_a_program_reads_with_a_token_that_the_pages_commands_make(site: Site) -> None:
    *makes, token = [
        shlex.split(line.partition(" > ")[0])[1:] for line in commands("operate.md", "Let somebody read the registry")
    ][:3]
    for words in makes:
        site.kubectl(*words)
    assert site.exchanged(site.kubectl(*token).strip(), ANSWERS).status_code == 200


def test_docker_clients_give_the_token_as_their_password(site: Site) -> None:
    pair = base64.b64encode(f"anybody:{site.token('reviewer')}".encode()).decode()
    scope = {"service": SERVICE, "scope": f"repository:{RESULTS}:pull"}
    answer = site.ask("GET", "/token", None, params=scope, headers={"Authorization": f"Basic {pair}"})
    assert answer.status_code == 200
    assert answer.json()["access_token"] == answer.json()["token"]


def test_the_registrys_log_names_person_and_digest_of_each_read(site: Site) -> None:
    token = site.exchanged(site.token("reviewer"), RESULTS).json()["token"]
    digest = f"sha256:{'a' * 64}"
    assert site.read(RESULTS, token, f"manifests/{digest}") == 404
    log = (site.registry.storage.parent / "log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    mine = [line for line in lines if line.get("auth.user.name") == "ravi"]
    assert any(line.get("vars.name") == RESULTS and line.get("vars.reference") == digest for line in mine), lines[-3:]


def test_no_credential_stands_in_the_exchanges_log(site: Site) -> None:
    for role in ("reviewer", "engineer"):
        site.exchanged(site.token(role), RESULTS)
        assert site.token(role) not in site.log.read_text()
