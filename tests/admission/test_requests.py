"""Jobs and releases at the door: only in one's own name, only with servers and pools that one may use."""

from __future__ import annotations

import pytest

from tests.support.governed_namespace import Answer, World

pytestmark = pytest.mark.cluster


def rights(world: World, name: str, *allowed: tuple[str, str], user: str = "") -> None:
    """Give a made-up person rights in the namespace, as pairs of verb and resource; ``user``: where not ``name``."""
    rules = [{"apiGroups": ["tunegate.io"], "resources": [resource], "verbs": [verb]} for verb, resource in allowed]
    rbac = "rbac.authorization.k8s.io"
    metadata = {"name": name, "namespace": world.namespace}
    role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    binding = {
        "apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user or name}],
    }  # fmt: skip
    for obj in (role, binding):
        world.create("admin", obj, dry_run=False).passes()


def test_engineer_submits_a_job_in_her_own_name(world: World) -> None:
    world.create("engineer", world.job("erin", poolRef={"name": "pool"})).passes()


def test_engineer_asks_for_a_release_in_her_own_name(world: World) -> None:
    world.create("engineer", world.release("mine", "erin")).passes()


@pytest.mark.attack(3)
def test_job_in_another_name_is_refused_and_the_line_to_paste_is_shown(world: World) -> None:
    world.create("engineer", world.job("ravi")).refused(
        'requestedBy: {username: "erin", groups: ["tunegate:engineers"]}'
    )


@pytest.mark.attack(3)
def test_release_in_another_name_is_refused(world: World) -> None:
    world.create("engineer", world.release("other", "ravi")).refused(
        'requestedBy: {username: "erin", groups: ["tunegate:engineers"]}'
    )


def test_job_with_a_uid_that_is_not_the_callers_is_refused(world: World) -> None:
    job = world.job(requestedBy={"username": "erin", "uid": "42"})
    world.create("engineer", job).refused("spec.requestedBy must be you")


def test_job_with_a_group_that_the_caller_does_not_hold_is_refused(world: World) -> None:
    job = world.job(requestedBy={"username": "erin", "groups": ["tunegate:model-risk"]})
    world.create("engineer", job).refused("a group that you are not in")


@pytest.mark.attack(5)
def test_service_account_cannot_ask_for_a_release(world: World) -> None:
    account = f"system:serviceaccount:{world.namespace}:bot"
    answer = world.create("admin", world.release("bot", account), as_=account, groups=("system:masters",))
    answer.refused("requested by people")


@pytest.mark.attack(43)
def test_what_a_gitops_tool_makes_says_that_nobody_knows_who_asked(world: World) -> None:
    account = f"system:serviceaccount:{world.namespace}:gitops"
    rights(world, account.replace(":", "-"), ("create", "modelreleases"), user=account)

    def ask(**more: object) -> Answer:
        asked = world.release("wanted", requestedBy={"username": account, **more})
        return world.create("admin", asked, as_=account, groups=("system:serviceaccounts",))

    ask(unverified=True).passes()
    ask().refused("which is so", "unverified: true")
    ask(unverified=False).refused("which is so", "unverified: true")
    ask(unverified=True, uid="another").refused("spec.requestedBy must be you")


@pytest.mark.attack(43)
def test_a_person_does_not_pass_for_a_tool(world: World) -> None:
    asked = world.release("mine", requestedBy={"username": "erin", "unverified": True})
    world.create("engineer", asked).refused("which is not so")


@pytest.mark.attack(41)
def test_job_for_a_server_without_the_verb_use_is_refused(world: World) -> None:
    rights(world, "ned", ("create", "finetunejobs"))
    world.create("admin", world.job("ned"), as_="ned").refused('verb "use" on modelservers/server')


@pytest.mark.attack(41)
def test_job_on_a_pool_without_the_verb_use_is_refused(world: World) -> None:
    rights(world, "nora", ("create", "finetunejobs"), ("use", "modelservers"))
    world.create("admin", world.job("nora"), as_="nora").passes()
    answer = world.create("admin", world.job("nora", poolRef={"name": "pool"}), as_="nora")
    answer.refused('verb "use" on computepools/pool')


def test_unknown_field_is_refused(world: World) -> None:
    world.create("engineer", world.job("erin", learningRate="1")).refused('unknown field "spec.learningRate"')


def test_outsider_may_not_submit(world: World) -> None:
    world.create("outsider", world.job("olga")).refused("olga", "cannot create resource")
