"""With Kubernetes' own `edit` or `admin` in a governed namespace nobody writes what the operator writes there.

Every object that a job and a server need is tried: to create it before the operator does, with and without its labels, to
change it, to take its labels off, to replace and to delete it, one by one and as a collection.
"""

from __future__ import annotations

import json
import time

import pytest

from tests.support.governed_namespace import Answer, World, as_list
from tests.support.operator_objects import Json, planned

pytestmark = pytest.mark.cluster
AUTHENTICATED = "system:authenticated"
PEOPLE = {"nils": "admin", "eddie": "edit"}
"""Who tries, and the ClusterRole that they hold in the namespace."""
BY_RULE = "ValidatingAdmissionPolicy"
DRY = "--dry-run=server"


def by(world: World, person: str, *args: str, stdin: Json | None = None) -> Answer:
    return world.kubectl("admin", *args, stdin=stdin, as_=person, groups=(AUTHENTICATED,))


def all_refused(answer: Answer, objects: list[Json], by_rule: bool) -> None:
    """Nothing was let through, and what `admin` may do by RBAC was refused by a rule."""
    done = [line for line in answer.out.splitlines() if line.strip()]
    assert done == [], f"let through: {done}"
    said = "\n".join(line for line in answer.err.splitlines() if not line.startswith("Warning:"))
    # RBAC answers for a binding to a Role that is not there, before any rule is asked.
    refused = said.count(" is forbidden: ") + said.count(" not found")
    assert refused == len(objects), said
    if by_rule:
        assert said.count(f"{BY_RULE} '") >= len(objects) - said.count(" not found"), said
        assert said.count(" not found") <= 1


def without_labels(objects: list[Json]) -> list[Json]:
    copies: list[Json] = json.loads(json.dumps(objects))
    for copy in copies:
        copy["metadata"].pop("labels", None)
    return copies


@pytest.fixture(scope="module")
def objects(world: World) -> list[Json]:
    for person, role in PEOPLE.items():
        words = ("create", "rolebinding", f"test-{person}", f"--clusterrole={role}", f"--user={person}")
        world.kubectl("admin", *words, "-n", world.namespace).passes()
    found = list(planned(world.namespace).values())
    deadline = time.monotonic() + 60
    while by(world, "nils", "create", "-f", "-", DRY, stdin=as_list(found)).out.strip():
        assert time.monotonic() < deadline, "the rules do not act after 60 s"
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def made(world: World, objects: list[Json]) -> list[Json]:
    world.as_operator(as_list(objects)).passes()
    return objects


@pytest.mark.attack(51, 52, 59, 61, 69)
@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("labels", [True, False], ids=["labelled", "bare"])
def test_nobody_makes_an_object_of_the_operators_first(
    world: World, objects: list[Json], person: str, labels: bool
) -> None:
    tried = objects if labels else without_labels(objects)
    answer = by(world, person, "create", "-f", "-", DRY, stdin=as_list(tried))
    all_refused(answer, tried, by_rule=person == "nils")


@pytest.mark.attack(51, 52, 59, 61, 69)
@pytest.mark.parametrize("name", ["plain", "tunegate-new"])
def test_nobody_puts_a_label_of_the_operators_on_an_object_of_their_own(
    world: World, objects: list[Json], name: str
) -> None:
    for label in ("tunegate.io/job", "tunegate.io/job-uid", "tunegate.io/server", "tunegate.io/stage"):
        metadata = {"name": name, "namespace": world.namespace, "labels": {label: "x"}}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        by(world, "nils", "create", "-f", "-", DRY, stdin=made).refused(BY_RULE)


def test_people_open_their_own_objects_to_jobs_and_servers(world: World, objects: list[Json]) -> None:
    for label in ("tunegate.io/usable-by-jobs", "tunegate.io/usable-by-servers"):
        metadata = {"name": "mine", "namespace": world.namespace, "labels": {label: "true"}}
        by(
            world, "eddie", "create", "-f", "-", DRY, stdin={"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
        ).passes()


@pytest.mark.attack(51, 52, 53, 59, 61, 69)
@pytest.mark.parametrize("person", PEOPLE)
def test_nobody_changes_relabels_or_deletes_an_object_of_the_operators(
    world: World, made: list[Json], person: str
) -> None:
    listed = as_list(made)
    by_rule = person == "nils"
    all_refused(by(world, person, "label", "-f", "-", DRY, "mine=now", stdin=listed), made, by_rule)
    strip = ("label", "-f", "-", DRY, "app.kubernetes.io/managed-by-")
    all_refused(by(world, person, *strip, stdin=listed), made, by_rule)
    all_refused(by(world, person, "delete", "-f", "-", DRY, stdin=listed), made, by_rule)


@pytest.mark.attack(51, 53, 59)
@pytest.mark.parametrize(
    "path",
    [
        "api/v1/namespaces/{}/configmaps", "api/v1/namespaces/{}/secrets", "api/v1/namespaces/{}/services",
        "api/v1/namespaces/{}/persistentvolumeclaims", "apis/batch/v1/namespaces/{}/jobs",
        "apis/apps/v1/namespaces/{}/deployments", "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
        "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    ],
)  # fmt: skip
def test_nobody_deletes_what_the_operator_made_as_a_collection(world: World, made: list[Json], path: str) -> None:
    where = f"/{path.format(world.namespace)}?labelSelector=app.kubernetes.io/managed-by=tunegate"
    by(world, "nils", "delete", "--raw", where).refused(BY_RULE)


@pytest.mark.attack(53)
def test_the_gateways_rights_are_not_led_to_another_role(world: World, made: list[Json]) -> None:
    binding = next(obj for obj in made if obj["kind"] == "RoleBinding")
    subject = {**binding["subjects"][0], "name": "default"}
    by(world, "nils", "replace", "-f", "-", DRY, stdin={**binding, "subjects": [subject]}).refused(BY_RULE)


@pytest.mark.attack(61)
def test_no_service_or_budget_of_somebody_else_claims_the_pods(world: World, objects: list[Json]) -> None:
    metadata = {"name": "mine", "namespace": world.namespace}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"type": "ExternalName", "externalName": "evil.example"},
    }
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {"maxUnavailable": 0},
    }
    for obj in (service, budget):
        for person in PEOPLE:
            by(world, person, "create", "-f", "-", DRY, stdin=obj).refused("are made by Tunegate")
        world.create("platform-admin", obj).passes()


@pytest.mark.attack(53)
def test_nobody_chooses_which_api_server_the_gateways_trust(world: World, objects: list[Json]) -> None:
    where = ("configmap", "kube-root-ca.crt", "-n", world.namespace)
    forged = json.dumps({"data": {"ca.crt": "forged"}})
    for words in (("patch", *where, "--type=merge", "-p", forged), ("delete", *where)):
        by(world, "nils", *words, DRY).refused("Kubernetes writes it, nobody else")


def test_whoever_maintains_the_installation_removes_what_was_planted(world: World, made: list[Json]) -> None:
    world.kubectl("platform-admin", "delete", "-f", "-", DRY, stdin=as_list(made)).passes()
