"""The client against the real API server: which answer becomes which error, and the verbs that reconcilers rely on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import ClientFactory, NamespaceFactory
from tests.support.builders import make_finetunejob
from tests.support.waiting import Cluster
from tunegate.api.shared import Person
from tunegate.errors import Transient
from tunegate.kube.client import AlreadyExists, Conflict, KubeClient, NotFound, ObjectRef, Refused

pytestmark = pytest.mark.cluster
Json = dict[str, Any]


def config_map(namespace: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}, "data": data}


async def test_what_is_not_there_is_none_and_deleting_it_is_a_success(kube: KubeClient, namespace: str) -> None:
    ref = ObjectRef("v1", "ConfigMap", "missing", namespace)

    assert await kube.get(ref) is None
    await kube.delete(ref)


async def test_creating_twice_says_so(kube: KubeClient, namespace: str) -> None:
    await kube.create(config_map(namespace))

    with pytest.raises(AlreadyExists):
        await kube.create(config_map(namespace))


async def test_applying_the_same_again_changes_nothing(kube: KubeClient, namespace: str) -> None:
    first = await kube.apply(config_map(namespace, a="1"))
    second = await kube.apply(config_map(namespace, a="1"))

    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def test_writing_back_an_old_reading_is_a_conflict(kube: KubeClient, namespace: str) -> None:
    old = await kube.create(config_map(namespace, a="1"))
    await kube.apply(config_map(namespace, b="2"))

    with pytest.raises(Conflict):
        await kube.replace(old)


async def test_an_unknown_kind_is_worth_another_try(kube: KubeClient) -> None:
    with pytest.raises(NotFound, match="is the CRD chart installed"):
        await kube.require_kind("tunegate.io/v1alpha1", "Unheard")


async def test_a_missing_right_is_for_a_person_to_repair(client_of: ClientFactory, namespace: str) -> None:
    outsider = await client_of("outsider")

    with pytest.raises(Refused, match="forbidden") as refused:
        await outsider.get(ObjectRef("v1", "Secret", "x", namespace))
    assert refused.value.code == 403


async def test_an_api_server_that_does_not_answer_is_worth_another_try(kube: KubeClient) -> None:
    kube._api.configuration.host = "https://127.0.0.1:1"

    with pytest.raises(Transient):
        await kube.list("v1", "ConfigMap", "default")


async def test_a_list_is_complete_over_pages_and_carries_kinds(
    kube: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunegate.kube.client.PAGE", 2)
    for number in range(5):
        obj = config_map(namespace)
        obj["metadata"] |= {"name": f"c{number}", "labels": {"even": str(number % 2 == 0)}}
        await kube.create(obj)

    found = await kube.list("v1", "ConfigMap", namespace, labels={"even": "True"})

    assert ["c0", "c2", "c4"] == [obj["metadata"]["name"] for obj in found]
    assert {("v1", "ConfigMap")} == {(obj["apiVersion"], obj["kind"]) for obj in found}


async def test_a_namesake_is_not_deleted(kube: KubeClient, namespace: str) -> None:
    obj = await kube.create(config_map(namespace))
    ref = ObjectRef.of(obj)

    await kube.delete(ref, uid="00000000-0000-0000-0000-000000000000")
    assert await kube.get(ref) is not None
    await kube.delete(ref, uid=obj["metadata"]["uid"])
    assert await kube.get(ref) is None


async def test_a_finalizer_is_added_once_and_removed_only_by_a_fresh_reading(
    kube: KubeClient, namespace: str, cluster: Cluster
) -> None:
    job = await kube.create(make_finetunejob(namespace=namespace))
    await kube.add_finalizer(job, "tunegate.io/finalizer")
    held = await kube.get(ObjectRef.of(job))
    assert held is not None
    assert ["tunegate.io/finalizer"] == held["metadata"]["finalizers"]

    with pytest.raises(Conflict):
        await kube.add_finalizer(job, "tunegate.io/finalizer")
    await kube.remove_finalizer(held, "tunegate.io/finalizer")
    await kube.delete(ObjectRef.of(job))
    await cluster.gone(ObjectRef.of(job))


async def test_rbac_is_asked_for_the_person(kube: KubeClient, namespaces: NamespaceFactory) -> None:
    allowed, denied = await asyncio.gather(
        kube.allowed(Person(username="x", groups=["system:masters"]), verb="use", resource="computepools", name="p"),
        kube.allowed(Person(username="nobody"), verb="use", resource="computepools", name="p"),
    )

    assert (True, False) == (allowed, denied)


async def test_an_event_is_found_on_its_object(kube: KubeClient, namespace: str) -> None:
    obj = await kube.create(config_map(namespace))

    await kube.create_event(obj, type_="Normal", reason="Hashed", message="m" * 3000)

    (event,) = await kube.list("v1", "Event", namespace, fields="involvedObject.name=c")
    assert ("Hashed", 1024, obj["metadata"]["uid"]) == (
        event["reason"],
        len(event["message"]),
        event["involvedObject"]["uid"],
    )
