"""The chart's admission rules as the demo installed them: they hold without the operator, and it holds still without one of them.

Runs after the demo, whose served release is attacked and whose job is released a second time. The operator is started again and
the rule put back, whatever happens.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.attempts import ADMIN, ATTEMPTS, AUTHOR, MANAGER, WARNS, Site
from tests.e2e.faults import SYSTEM, TEAM
from tests.e2e.test_demo_under_faults import CHECKOUT, USERS
from tests.support.governed_namespace import World
from tests.support.programs import CACHE, program
from tunegate_demo.application import Application
from tunegate_demo.command_line import tunegate
from tunegate_demo.journey import MODEL_NAME, SERVER
from tunegate_demo.kubectl import Kubectl

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(600)]
Json = dict[str, Any]
OPERATOR = "deployment/tunegate-operator"
OPERATOR_PODS = "app.kubernetes.io/name=tunegate,app.kubernetes.io/component=operator"
BY_HELM = "meta.helm.sh/release-name"
"""Annotation of what Helm installed: other tests may have copies of the rules, with their labels."""
RULE = "tunegate-approver"
POLICY = ("validatingadmissionpolicy", RULE)
STEPS_UP = {
    "ReleaseApproved",
    "BreakGlassGranted",
    "WaiverGranted",
    "RolloutStarted",
    "AdapterListed",
    "RouteOpened",
    "ShadowOpened",
}
WATCHED_SECONDS = 60


def person(role: str) -> Kubectl:
    return Kubectl(Path(program("kubectl")), USERS / f"{role}.kubeconfig")


def until(holds: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(1)


@pytest.fixture(scope="module")
def admin() -> Kubectl:
    return person(ADMIN)


@pytest.fixture(scope="module")
def world(kubeconfig: Callable[[str], str]) -> World:
    return World(TEAM, SYSTEM, kubeconfig)


@pytest.fixture(scope="module")
def site(admin: Kubectl, world: World) -> Site:
    """The release that the demo left behind, serving, and what belongs to it."""
    serving = [one for one in admin.items("modelreleases", TEAM) if one["status"].get("phase") == "Serving"]
    assert serving, "the demo has to run before: the release that it serves is attacked"
    release = serving[-1]
    engine = admin.items("pods", TEAM, f"tunegate.io/server={SERVER}")[0]
    return Site(
        world=world,
        release=release,
        approval=release["status"]["counted"][0]["name"],
        record=admin.items("auditrecords")[0]["metadata"]["name"],
        engine=engine["metadata"]["name"],
        node=engine["spec"]["nodeName"],
        routes=f"tunegate-routes-{SERVER}",
    )


@pytest.fixture(scope="module")
def answers(admin: Kubectl, site: Site) -> Callable[[], str]:
    """Asks the gateway for the served model, as an application with its own token; a refusal is a failure."""
    application = Application(admin, SERVER)
    application.start(json.loads((CACHE / "images.json").read_text())["operator"])

    def ask() -> str:
        answer = application.ask(MODEL_NAME, [{"role": "user", "content": "Copyright (c) 2019 Jane Doe"}])
        return str(answer["choices"][0]["message"]["content"])

    return ask


@pytest.fixture
def stopped(admin: Kubectl) -> Iterator[None]:
    """No operator: its last pod is gone."""
    replicas = admin.require("deployment", "tunegate-operator", SYSTEM)["spec"]["replicas"]
    scale = ("-n", SYSTEM, "scale", OPERATOR)
    try:
        admin.run(*scale, "--replicas=0")
        admin.run("-n", SYSTEM, "wait", "--for=delete", "pod", "-l", OPERATOR_PODS, "--timeout=60s")
        yield
    finally:
        admin.run(*scale, f"--replicas={replicas}")
        admin.run("-n", SYSTEM, "rollout", "status", OPERATOR, "--timeout=120s")


@pytest.fixture
def rights(world: World) -> Iterator[None]:
    """What two attackers hold: one may submit jobs, the other manages the operator's and the team's namespace; neither more."""
    name = f"attacker-{secrets.token_hex(3)}"
    role = ("create", "role", name, "--verb=create", "--resource=finetunejobs.tunegate.io", "-n", TEAM)
    author = ("create", "rolebinding", name, f"--role={name}", f"--user={AUTHOR}", "-n", TEAM)
    manager = ("create", "rolebinding", name, "--clusterrole=admin", f"--user={MANAGER}", "-n", SYSTEM)
    team = ("create", "rolebinding", f"{name}-manager", "--clusterrole=admin", f"--user={MANAGER}", "-n", TEAM)
    try:
        for command in (role, author, manager, team):
            world.kubectl(ADMIN, *command).passes()
        yield
    finally:
        world.kubectl(ADMIN, "delete", "role,rolebinding", name, f"{name}-manager", "-n", TEAM)
        world.kubectl(ADMIN, "delete", "rolebinding", name, "-n", SYSTEM)


@pytest.mark.attack(32)
def test_every_installed_rule_refuses_while_no_operator_runs(
    admin: Kubectl, site: Site, rights: None, stopped: None, answers: Callable[[], str]
) -> None:
    found = (one["metadata"] for one in admin.items("validatingadmissionpolicies"))
    installed = {one["name"] for one in found if one.get("annotations", {}).get(BY_HELM) == "tunegate"}
    assert installed == set(ATTEMPTS), "each rule of the chart needs an attempt in tests/e2e/attempts.py, and no other"

    said = {rule: attempt(site) for rule, attempt in ATTEMPTS.items()}

    named = "ValidatingAdmissionPolicy '{0}' with binding '{0}'"
    assert {rule: answer.err for rule, answer in said.items() if named.format(rule) not in answer.err} == {}
    assert {rule for rule, answer in said.items() if answer.code == 0} == WARNS
    assert not admin.items("pods", SYSTEM, OPERATOR_PODS), "an operator came back meanwhile"
    assert answers()


def upgrade() -> None:
    """Put the rules back as docs/operate.md says: by an upgrade that changes nothing else."""
    command = [program("helm"), "--kubeconfig", str(USERS / f"{ADMIN}.kubeconfig"), "upgrade", "tunegate"]
    command += ["charts/tunegate", "-n", SYSTEM, "--reuse-values"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"helm upgrade failed: {done.stderr}"


@pytest.fixture
def rules(admin: Kubectl) -> Iterator[None]:
    """The rule is there again at the end, even if Helm did not put it back."""
    kept = admin.require(*POLICY)
    kept["metadata"] = {field: kept["metadata"][field] for field in ("name", "labels", "annotations")}
    yield
    if admin.get(*POLICY) is None:
        admin.run("create", "-f", "-", document=json.dumps(kept))


@pytest.fixture
def second(admin: Kubectl, site: Site, rules: None) -> Iterator[str]:
    """The demo's job, asked to be released once more; it ends rejected, so that it never rolls out."""
    name = f"again-{secrets.token_hex(3)}"
    words = ("--model", MODEL_NAME, "--intended-use", "to see what is held back without a rule", "--risk", "Low")
    job = site.release["spec"]["jobRef"]["name"]
    tunegate(person("engineer"), "create", "release", name, "--from-job", job, "-n", TEAM, *words)
    try:
        until(lambda: "releaseDigest" in status(admin, name), f"{name} waits for approvals", 120)
        made = admin.require("modelrelease", name, TEAM)["metadata"]["creationTimestamp"]
        # What is made after the last look that found all rules in force counts as made without them.
        until(lambda: last_look(admin) > datetime.fromisoformat(made), "the operator looked at the rules", 60)
        yield name
    finally:
        decide(("reviewer-compliance", "reject"), name, "compliance")
        until(lambda: status(admin, name)["phase"] == "Denied", f"{name} is rejected", 60)


def decide(how: tuple[str, str], name: str, role: str) -> None:
    who, verb = how
    tunegate(person(who), verb, name, "-n", TEAM, "--role", role, "--reason", "the rules were tried", "--yes")


def status(admin: Kubectl, release: str) -> Json:
    found: Json = admin.require("modelrelease", release, TEAM).get("status", {})
    return found


def last_look(admin: Kubectl) -> datetime:
    """Return when the operator last found all rules in force."""
    lease = admin.require("lease", "tunegate-operator-admission", SYSTEM)
    return datetime.fromisoformat(lease["spec"]["renewTime"])


def recorded(admin: Kubectl, after: int) -> list[Json]:
    """Return what came into the ledger after its first so many records."""
    return [one["spec"] for one in admin.items("auditrecords") if one["spec"]["sequence"] > after]


@pytest.mark.attack(31)
def test_without_one_rule_nothing_new_happens_and_serving_goes_on(
    admin: Kubectl, world: World, site: Site, second: str, answers: Callable[[], str]
) -> None:
    before = len(recorded(admin, 0))
    served = admin.require("modelserver", SERVER, TEAM)["status"]["adapters"]
    release = admin.require("modelrelease", second, TEAM)
    subject = {"kind": "ModelRelease", "name": second, "uid": release["metadata"]["uid"]}
    digest = release["status"]["releaseDigest"]
    forged = {"role": "compliance", "subjectRef": subject, "subjectDigest": digest}

    admin.run("delete", *POLICY)
    cora = world.approval("cora", "tunegate:compliance", **forged)
    until(lambda: world.create("reviewer-risk", cora, dry_run=False).code == 0, "ravi decides as cora", 30)
    decide(("reviewer-risk", "approve"), second, "model-risk")

    deadline = time.monotonic() + WATCHED_SECONDS
    while time.monotonic() < deadline:
        assert answers()
        assert status(admin, second)["phase"] == "PendingApproval"
        assert admin.require("modelserver", SERVER, TEAM)["status"]["adapters"] == served
        time.sleep(2)
    seen = recorded(admin, before)
    assert not STEPS_UP & {one["type"] for one in seen}
    drifts = [one["payload"]["problems"] for one in seen if one["type"] == "AdmissionDrift"]
    assert drifts == [f"ValidatingAdmissionPolicy {RULE} is missing"]

    upgrade()
    dropped = [("cora", "RulesNotInForce"), ("ravi", "RulesNotInForce")]
    until(lambda: reasons(admin, second) == dropped, "what was decided without the rule does not count", 90)
    verified = next(one["payload"] for one in recorded(admin, before) if one["type"] == "AdmissionVerified")
    end = datetime.fromisoformat(verified["until"]) + timedelta(seconds=1)
    until(lambda: datetime.now(UTC) > end, "somebody vouches for the rules again", 60)
    decide(("reviewer-risk", "approve"), second, "model-risk")
    until(lambda: status(admin, second)["approvals"] == "1/2", "the new decision counts", 60)
    assert [one["username"] for one in status(admin, second)["counted"]] == ["ravi"]
    assert not STEPS_UP & {one["type"] for one in recorded(admin, before)}
    assert answers()


def reasons(admin: Kubectl, release: str) -> list[tuple[str, str]]:
    """Return whose decisions the release does not count, and why."""
    return sorted((one["username"], one["reason"]) for one in status(admin, release).get("dropped", []))
