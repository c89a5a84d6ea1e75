"""How much one person may ask and decide: the API server refuses more, by what the operator says in a Usage.

On an API server of the test's own: the rule reads a kind that other tests' clusters may not know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.control_plane import Member
from tests.support.governed_namespace import OPERATOR, Answer, World
from tests.support.ledgers import Store
from tests.support.namespace_admin import ADMIN, act, bind, until_refused
from tests.support.separate_server import governed_alone
from tunegate.api.markers import API_VERSION
from tunegate.api.usage import Bound
from tunegate.controllers.quotas import Quotas
from tunegate.kube.client import KubeClient
from tunegate.ledger.writer import LedgerWriter
from tunegate.reconcile import quotas
from tunegate.reconcile.quotas import Made
from tunegate.settings import GovernedNamespace, PersonLimits, Settings

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("operator", OPERATOR, ("system:masters",)),
    Member("engineer", "erin", ("tunegate:engineers",)),
    Member("reviewer-risk", "ravi", ("tunegate:model-risk",)),
    Member("reviewer-compliance", "cora", ("tunegate:compliance",)),
)
NOW = datetime.now(UTC)
LIMITS = PersonLimits(
    open_jobs=2, jobs_per_day=3, open_releases=2, releases_per_day=3, approvals_per_day=3, approvals_per_subject=2,
    stops_per_day=4, stops_per_subject=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The chart's rules and the people's roles for one governed namespace, and nothing else."""
    with governed_alone(tmp_path_factory.mktemp("plane"), MEMBERS) as world:
        rule = {"apiGroups": ["tunegate.io"], "resources": ["modelservers"], "verbs": ["use"]}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [rule]}
        world.create("admin", {**role, "metadata": {"name": "use", "namespace": "team"}}, dry_run=False).passes()
        world.kubectl("admin", "create", "rolebinding", "use", "--role=use", "--user=erin", "-n", "team").passes()
        yield world


def made(number: int, bound: Bound, person: str, **more: object) -> Made:
    return Made(f"{bound}-{number}", bound, person, NOW - timedelta(minutes=number), **more)  # type: ignore[arg-type]


def say(world: World, everything: list[Made], now: datetime = NOW) -> None:
    """Write what the operator would write of these."""
    content = quotas.usage_object(world.namespace, quotas.usage(everything, LIMITS, now))
    args = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    world.kubectl("admin", *args, stdin=content, as_=OPERATOR, groups=("system:masters",)).passes()


def decide(world: World, decision: str = "Approve", subject: str = "u1", username: str = "ravi") -> Answer:
    """Let a reviewer decide; nothing is stored."""
    role, group, name = {
        "ravi": ("reviewer-risk", "tunegate:model-risk", "risk"),
        "cora": ("reviewer-compliance", "tunegate:compliance", "compliance"),
    }[username]
    reference = {"kind": "ModelRelease", "name": "release", "uid": subject}
    made = world.approval(
        username, group, decision=decision, reason="because it must be so", subjectRef=reference, role=name
    )
    return world.create(role, made)


def until_passes(probe: Callable[[], Answer]) -> None:
    deadline = time.monotonic() + 60
    while (answer := probe()).code != 0:
        assert time.monotonic() < deadline, answer.err
        time.sleep(0.3)


@pytest.mark.attack(70)
def test_who_decided_as_often_as_allowed_in_a_day_is_refused_till_it_is_over_and_can_still_stop(world: World) -> None:
    until_passes(lambda: decide(world))
    say(world, [made(number, "Approvals", "ravi", subject=f"other-{number}") for number in range(3)])
    until_refused(lambda: decide(world), "quotas.perPerson.approvalsPerDay of the chart is 3")
    decide(world).refused("ravi has made 3 decisions of this kind within a day", "possible after")
    for stop in ("Reject", "Withdraw", "Revoke"):
        decide(world, stop).passes()
    decide(world, username="cora").passes()

    past = NOW - quotas.DAY - timedelta(hours=1)
    say(
        world,
        [Made(f"old-{n}", "Approvals", "ravi", past, subject=f"s{n}") for n in range(3)],
        past + timedelta(minutes=1),
    )
    until_passes(lambda: decide(world))


@pytest.mark.attack(70)
def test_who_decided_on_one_subject_as_often_as_allowed_is_refused_there_alone(world: World) -> None:
    say(world, [made(number, "Approvals", "ravi", subject="u1") for number in range(2)])
    until_refused(lambda: decide(world), "as often as quotas.perPerson of the chart allows")
    decide(world, subject="u2").passes()
    decide(world, "Reject").passes()
    decide(world, username="cora").passes()
    say(world, [made(number, "Stops", "ravi", subject="u1") for number in range(2)])
    until_refused(lambda: decide(world, "Reject"), "as often as quotas.perPerson of the chart allows")
    decide(world, "Approve").passes()
    decide(world, "Revoke").passes()


@pytest.mark.attack(70)
@pytest.mark.parametrize("decision", ["Approve", "Reject", "Withdraw", "Revoke"])
def test_no_decision_is_taken_on_what_has_ended(world: World, decision: str) -> None:
    ended = [made(1, "Releases", "erin", ended=True), made(2, "Jobs", "erin", ended=True)]
    say(world, ended)
    for one in ended:
        until_refused(lambda uid=one.uid: decide(world, decision, uid), "has ended: no decision")  # type: ignore[misc]
    decide(world, decision, "releases-3").passes()


@pytest.mark.attack(70)
def test_who_has_as_many_open_jobs_or_releases_as_allowed_is_refused_and_others_go_on(world: World) -> None:
    until_passes(lambda: world.create("engineer", world.job()))
    say(
        world,
        [made(number, "Jobs", "erin", open=True) for number in range(2)]
        + [made(number, "Releases", "erin", open=True) for number in range(2)],
    )
    until_refused(lambda: world.create("engineer", world.job()), "quotas.perPerson.openJobs of the chart is 2")
    release = world.create("engineer", world.release())
    release.refused("erin has 2 open releases, and quotas.perPerson.openReleases of the chart is 2: end some first")
    say(world, [made(number, "Jobs", "eri", open=True) for number in range(5)])
    until_passes(lambda: world.create("engineer", world.job()))


@pytest.mark.attack(70)
def test_made_and_deleted_again_counts_for_its_day(world: World) -> None:
    say(world, [made(number, "Jobs", "erin") for number in range(3)])
    until_refused(lambda: world.create("engineer", world.job()), "erin has made 3 jobs within a day")


@pytest.mark.attack(70)
def test_nobody_but_the_operator_says_who_has_reached_a_bound(world: World) -> None:
    say(world, [made(number, "Jobs", "erin") for number in range(3)])
    bind(world)
    where = ("usage", quotas.NAME, "-n", world.namespace, "--dry-run=server")
    patch = ("patch", *where, "--type=merge", "-p", '{"spec": {"reached": []}}')
    for user in (ADMIN, "erin"):
        act(world, user, "delete", *where).refused("cannot")
        act(world, user, *patch).refused("cannot")
    world.kubectl("admin", *patch).refused("only the operator writes")
    world.kubectl("admin", "delete", *where).refused("only the operator writes")


@pytest.mark.attack(70)
async def test_a_flood_of_decisions_on_one_release_ends_at_the_bound_and_another_can_still_stop(world: World) -> None:
    governed = (GovernedNamespace(name=world.namespace, policy="none"),)
    settings = Settings(
        trainer_image="t", operator_image="o", registry_host="registry.invalid", governed=governed, quotas=LIMITS
    )
    async with await KubeClient.connect(world.kubeconfig("operator")) as kube:
        keeper = Quotas(kube, LedgerWriter(Store()), settings)
        stored = 0
        for _ in range(40):
            made = map(quotas.read, await kube.list(API_VERSION, "Approval", world.namespace))
            keeper.relist([(world.namespace, one) for one in made if one is not None])
            await keeper.try_write()
            flood = world.approval(subjectRef={"kind": "ModelRelease", "name": "flooded", "uid": "flooded"})
            answer = world.create("reviewer-risk", flood, dry_run=False)
            if answer.code != 0:
                break
            stored += 1
        answer.refused("as often as quotas.perPerson of the chart allows")
        assert stored < 40
        decide(world, "Reject", "flooded").passes()
        decide(world, "Revoke", "flooded", "cora").passes()
