"""One human with several accounts, one account used by another, an old session: with tokens of a real OpenID provider.

The API server maps employee id and time of sign-in to `userInfo.extra`; people use the command line; approvals are read
back and counted as the operator does it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.governed_namespace import DIGEST, Json, World, say_phase
from tests.support.sign_in import COMPLIANCE, ENGINEERS, RISK, Session, SignIn, running_issuer, wait_until_known
from tunegate.api.approvalpolicy import ApprovalRole, IdentityRule
from tunegate.api.modelrelease import ModelRelease
from tunegate.cli.main import main
from tunegate.controllers.approvals import read_approvals, still_backed
from tunegate.kube.client import KubeClient
from tunegate.reconcile.approvals import account, votes
from tunegate.release.ballot import Question, Verdict
from tunegate.release.counting import count

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("people sign in at the OpenID provider that the local API server trusts"),
]
ROLES = (ApprovalRole(name="risk", groups=[RISK]), ApprovalRole(name="compliance", groups=[COMPLIANCE]))
HUMANS = IdentityRule(require_person_id=True)


@pytest.fixture(scope="module")
def provider(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignIn]:
    with running_issuer(tmp_path_factory.mktemp("issuer")) as running:
        wait_until_known(world, running.session("rosa"))
        yield running


@dataclass
class Office:
    """People who sign in and use the command line."""

    world: World
    provider: SignIn
    kube: KubeClient
    folder: Path

    def run(self, session: Session, *arguments: str) -> int:
        config = self.world.token_kubeconfig(session.token, self.folder / "kubeconfig")
        return main(["--kubeconfig", config, "-n", self.world.namespace, *arguments])

    def ask(self, name: str, who: str = "erin") -> Json:
        """Let somebody ask for a release; return it when it waits for approvals."""
        document = self.world.release(name)
        del document["spec"]["requestedBy"]
        (self.folder / "release.yaml").write_text(yaml.safe_dump(document))
        assert self.run(self.provider.session(who), "create", "release", "-f", str(self.folder / "release.yaml")) == 0
        say_phase(self.world, name, "PendingApproval", releaseDigest=DIGEST)
        return self.live(name)

    def approve(self, session: Session, name: str, role: str) -> None:
        words = ("approve", name, "--role", role, "--reason", "report and data were read", "--yes")
        assert self.run(session, *words) == 0

    def live(self, name: str) -> Json:
        answer = self.world.kubectl("admin", "get", "modelrelease", name, "-n", self.world.namespace, "-o", "json")
        return dict(json.loads(answer.passes().out))

    async def count(self, name: str, identity: IdentityRule | None = HUMANS) -> Verdict:
        """Count as the release's controller does, under a policy with these two roles."""
        release = ModelRelease.model_validate(self.live(name))
        approvals = (await read_approvals(self.kube, release)).approvals
        backed = await still_backed(self.kube, release, approvals, DIGEST)
        requester = account(release.spec.requested_by)
        asked = Question(release.uid, DIGEST, frozenset({requester}), ROLES, timedelta(days=1), identity)
        return count(asked, votes(approvals, asked.roles, backed, ()), datetime.now(UTC))


@pytest.fixture
def office(world: World, provider: SignIn, kube: KubeClient, tmp_path: Path) -> Office:
    return Office(world, provider, kube, tmp_path)


def dropped(verdict: Verdict) -> dict[str, str]:
    return {entry.vote.account.username: entry.reason for entry in verdict.dropped}


def counted(verdict: Verdict) -> dict[str, str]:
    return {entry.vote.account.username: entry.role for entry in verdict.counted}


def claim(session: Session, group: str, **changes: str) -> Json:
    """Return the person as admission wants it, with changes; an empty value leaves the field out."""
    claims = session.claims
    signed_in = datetime.fromtimestamp(claims["auth_time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    person = {
        "username": claims["preferred_username"], "uid": claims["sub"], "personId": claims["employee_id"],
        "authTime": signed_in, **changes,
    }  # fmt: skip
    return {**{name: value for name, value in person.items() if value}, "groups": [group]}


def approve_raw(world: World, session: Session, approver: Json) -> Any:
    approval = world.approval(approver=approver)
    return world.with_token(session.token, "create", "-f", "-", "--dry-run=server", stdin=approval)


def test_the_api_server_knows_human_and_time_of_sign_in_from_the_token(world: World, provider: SignIn) -> None:
    session = provider.session("rosa-admin")
    user = wait_until_known(world, session)
    signed_in = datetime.fromtimestamp(session.claims["auth_time"], UTC)
    assert (user["username"], user["uid"]) == ("rosa-admin", "rosa-admin")
    assert user["extra"]["tunegate.io/person-id"] == ["E-1002"]
    assert [datetime.fromisoformat(text) for text in user["extra"]["tunegate.io/auth-time"]] == [signed_in]
    assert COMPLIANCE in user["groups"]


@pytest.mark.attack(4)
async def test_two_accounts_of_one_person_count_once(office: Office) -> None:
    office.ask("twice")
    office.approve(office.provider.session("rosa"), "twice", "risk")
    office.approve(office.provider.session("rosa-admin"), "twice", "compliance")
    verdict = await office.count("twice")
    assert (verdict.outcome, dropped(verdict)) == ("Waiting", {"rosa": "SamePerson"})
    office.approve(office.provider.session("carl"), "twice", "compliance")
    verdict = await office.count("twice")
    assert (verdict.outcome, counted(verdict)) == ("Quorum", {"rosa": "risk", "carl": "compliance"})


@pytest.mark.attack(3)
async def test_requester_does_not_approve_by_her_second_account(office: Office) -> None:
    asked = office.ask("hers")
    assert asked["spec"]["requestedBy"]["personId"] == "E-1001"
    office.approve(office.provider.session("erin-risk"), "hers", "risk")
    assert dropped(await office.count("hers")) == {"erin-risk": "IsRequester"}


@pytest.mark.attack(6)
async def test_impersonated_approval_without_the_extras_does_not_count(world: World, office: Office) -> None:
    release = office.ask("forged")
    subject = {"kind": "ModelRelease", "name": "forged", "uid": release["metadata"]["uid"]}
    groups = (RISK, "system:authenticated")
    forged = world.approval("rosa", RISK, subjectRef=subject)
    world.create("admin", forged, dry_run=False, as_="rosa", groups=groups).passes()
    verdict = await office.count("forged")
    assert dropped(verdict) == {"rosa": "NoPersonId"}
    assert counted(await office.count("forged", identity=None)) == {"rosa": "risk"}

    claiming = {"username": "rosa", "groups": [RISK], "personId": "E-1002"}
    answer = world.create("admin", world.approval(approver=claiming), as_="rosa", groups=groups)
    answer.refused("spec.approver must be you")


@pytest.fixture
def help_desk(world: World) -> Iterator[str]:
    """A group that may impersonate people and groups, as help desks do, and nothing else."""
    name, group = f"{world.namespace}-impersonator", "help-desk"
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["users", "groups"], "verbs": ["impersonate"]}
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]}
    binding = {
        "apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": rbac, "kind": "Group", "name": group}],
    }  # fmt: skip
    for obj in (role, binding):
        world.create("admin", obj, dry_run=False).passes()
    yield group
    world.kubectl("admin", "delete", "clusterrolebinding,clusterrole", name)


@pytest.mark.attack(6)
def test_who_may_impersonate_people_and_groups_takes_no_persons_id(
    world: World, provider: SignIn, help_desk: str
) -> None:
    token = provider.session("ina").token
    path = f"/apis/tunegate.io/v1alpha1/namespaces/{world.namespace}/approvals?dryRun=All"
    words = ("create", "--raw", path, "-f", "-", "--as", "rosa", "--as-group", RISK)
    world.with_token(token, *words, stdin=world.approval("rosa", RISK)).passes()
    forged = world.approval(approver={"username": "rosa", "groups": [RISK], "personId": "E-1002"})
    answer = world.with_token(token, *words, "--as-user-extra", "tunegate.io/person-id=E-1002", stdin=forged)
    answer.refused("cannot impersonate", "userextras/tunegate.io/person-id")


@pytest.mark.attack(2)
@pytest.mark.parametrize(
    ("field", "value"),
    [("personId", "E-1003"), ("personId", ""), ("authTime", "2099-01-01T00:00:00Z"), ("authTime", "")],
)
def test_claimed_person_id_or_sign_in_that_is_not_the_callers_is_refused(
    world: World, provider: SignIn, field: str, value: str
) -> None:
    session = provider.session("rosa")
    approve_raw(world, session, claim(session, RISK)).passes()
    answer = approve_raw(world, session, claim(session, RISK, **{field: value}))
    answer.refused("spec.approver must be you", 'uid: "rosa", personId: "E-1002", authTime: "20')


@pytest.mark.attack(3)
def test_request_that_leaves_its_authors_person_id_out_is_refused(world: World, provider: SignIn) -> None:
    session = provider.session("erin")
    words = ("create", "-f", "-", "--dry-run=server")
    mine = world.job(requestedBy=claim(session, ENGINEERS))
    mine["metadata"]["name"] = "signed-in"
    world.with_token(session.token, *words, stdin=mine).passes()
    nameless = world.job(requestedBy=claim(session, ENGINEERS, personId=""))
    world.with_token(session.token, *words, stdin=nameless).refused(
        "spec.requestedBy must be you", 'personId: "E-1001", authTime: "20'
    )


@pytest.mark.attack(7)
async def test_approval_from_an_old_session_does_not_count_until_its_author_signs_in_again(office: Office) -> None:
    office.ask("stale")
    lately = IdentityRule(max_auth_age_seconds=60)
    old = office.provider.session("rosa")
    office.approve(office.provider.session("carl"), "stale", "compliance")
    await asyncio.sleep(max(0.0, old.claims["auth_time"] + 61 - time.time()))
    renewed = office.provider.refreshed(old)
    assert (renewed.claims["auth_time"], renewed.claims["iat"] > old.claims["iat"]) == (old.claims["auth_time"], True)
    office.approve(renewed, "stale", "risk")
    verdict = await office.count("stale", lately)
    assert (counted(verdict), dropped(verdict)) == ({"carl": "compliance"}, {"rosa": "StaleSession"})
    office.approve(office.provider.session("rosa"), "stale", "risk")
    assert (await office.count("stale", lately)).outcome == "Quorum"


async def test_account_of_nobody_in_particular_does_not_count(office: Office) -> None:
    office.ask("nobody")
    office.approve(office.provider.session("nora"), "nobody", "risk")
    assert dropped(await office.count("nobody")) == {"nora": "NoPersonId"}
