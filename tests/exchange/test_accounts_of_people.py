"""People whose credential is no token: the accounts of examples/licenses/accounts.yaml open registry and MLflow for them."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.exchange.test_push_command import DECLARED, Desk
from tests.support.builders import make_modelrelease
from tests.support.exchange_site import OWN, PROGRAMS, Site

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
CHECKOUT = PROGRAMS.parent
OPENS = {
    "erin": {("create", "datasets"), ("get", "evidence/results"), ("get", "runs"), ("list", "datasets")},
    "eva": {("create", "questions"), ("get", "evidence/answers"), ("get", "evidence/results"), ("list", "datasets")},
    "ravi": {("get", "evidence/answers"), ("get", "evidence/statement"), ("get", "runs"), ("list", "datasets")},
    "ada": {("get", "evidence/answers"), ("get", "evidence/statement"), ("get", "runs"), ("list", "datasets")},
}
NEVER = [("create", "finetunejobs"), ("create", "approvals"), ("create", "modelreleases"), ("create", "evaluationsuites")]
"""What an account would do in a second name of its person."""


@pytest.fixture(scope="module")
def kinds(site: Site) -> Site:
    """A site that knows our kinds, on which the platform team made the accounts."""
    for name in ("approvalpolicies", "modelreleases", "finetunejobs", "auditrecords", "approvals", "modelservers"):
        site.kubectl("apply", "--server-side", "-f", str(CHECKOUT / f"crds/{name}.yaml"))
        site.kubectl("wait", "--for=condition=Established", f"crd/{name}.tunegate.io", "--timeout=60s")
    site.kubectl("apply", "-f", str(CHECKOUT / "examples/licenses/accounts.yaml"))
    return site


@pytest.fixture
def desk(kinds: Site, tmp_path: object) -> Desk:
    made = Desk(kinds, tmp_path)  # type: ignore[arg-type]
    made.settings()
    return made


def may(site: Site, account: str, verb: str, resource: str) -> bool:
    kind, _, subresource = resource.partition("/")
    wanted = {"group": "tunegate.io", "verb": verb, "resource": kind, "subresource": subresource, "namespace": OWN}
    review = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": f"system:serviceaccount:{OWN}:{account}", "resourceAttributes": wanted},
    }  # fmt: skip
    return bool(json.loads(site.kubectl("create", "-o", "json", "-f", "-", stdin=review))["status"]["allowed"])


@pytest.mark.parametrize("person", OPENS)
def test_the_example_gives_each_role_what_the_exchange_asks_for_and_no_second_name_to_decide_in(
    kinds: Site, person: str
) -> None:
    assert {one: may(kinds, person, *one) for one in OPENS[person]} == dict.fromkeys(OPENS[person], True)
    assert [one for one in NEVER if may(kinds, person, *one)] == []


def test_a_person_pushes_through_their_account_and_nobody_elses(desk: Desk) -> None:
    desk.settings(serviceAccount=f"{OWN}/erin")
    done = desk.run("engineer", "data", "push", desk.file(), *DECLARED)
    assert done.returncode == 0, done.stderr
    stranger = desk.run("reviewer", "data", "list")
    assert stranger.returncode == 1
    assert 'cannot create resource "serviceaccounts/token"' in stranger.stderr


def test_access_shows_the_rights_of_the_account_that_the_settings_name(desk: Desk) -> None:
    plain = json.loads(desk.run("engineer", "access", "-o", "json").stdout)
    assert "account" not in plain
    desk.settings(serviceAccount="erin")
    told = json.loads(desk.run("engineer", "access", "-o", "json").stdout)
    rights = {one["right"]: (one["held"], one.get("heldByAccount")) for one in told["rights"]}
    assert told["account"] == f"{OWN}/erin"
    assert rights["push and read data and documents"] == (False, True)
    assert rights["see runs and models in MLflow"] == (True, True)
    assert rights["read answers, rows and statements"] == (False, False)
    assert rights["ask for jobs, suspend and delete them"] == (True, None)
    page = desk.run("engineer", "access").stdout
    assert "account erin" in page
    (row,) = [line for line in page.splitlines() if "push and read data" in line]
    assert row.split()[-2:] == ["no", "yes"]


def shown(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person whose token the exchange can't be shown."""
    return desk.run("admin", *words, "--as", "erin", "--as-group", "system:masters")


def test_a_release_is_shown_without_what_the_registry_holds_where_no_token_can_be_shown(desk: Desk) -> None:
    release = make_modelrelease("looked-at", OWN)
    desk.site.kubectl("create", "-f", "-", stdin=release)
    status = json.dumps({"status": {"phase": "PendingApproval", "statementDigest": "sha256:" + "1" * 64}})
    desk.site.kubectl(
        "-n", OWN, "patch", "modelrelease", "looked-at", "--type=merge", "--subresource=status", "-p", status
    )
    done = shown(desk, "describe", "release/looked-at")
    assert done.returncode == 0, done.stderr
    assert "licenses-team/looked-at" in done.stdout
    assert "note: the exchange sees the token" in done.stderr
    assert "The page is shown without what the registry holds" in done.stderr
