"""What a count asks the API server: once for each person and role, however many decisions there are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.builders import DIGEST, make_approval, make_modelrelease
from tunegate.api.approval import Approval
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.shared import Person
from tunegate.controllers.approvals import read_approvals, still_backed
from tunegate.kube.client import KubeClient, ObjectRef

pytestmark = pytest.mark.cluster


class Asking:
    """Passes every question on to the API server and keeps whom it was about."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self.asked: list[str] = []

    async def allowed(self, person: Person, **about: Any) -> bool:
        self.asked.append(f"{person.username} {about['verb']} {about['name']}")
        return await self._kube.allowed(person, **about)


def approval(number: int, release: ModelRelease, username: str, role: str = "risk") -> Approval:
    approver = {"username": username, "groups": ["system:masters"] if username == "root" else ["a", "b"]}
    subject = {"kind": "ModelRelease", "name": release.name, "uid": release.uid}
    raw = make_approval(f"a-{number}", approver=approver, subjectRef=subject, subjectDigest=DIGEST, role=role)
    raw["metadata"] |= {"uid": f"uid-{number}", "creationTimestamp": "2026-11-29T11:00:00Z"}
    return Approval.model_validate(raw)


@pytest.mark.attack(70)
async def test_a_hundred_approvals_of_one_person_cost_one_question_for_each_role(
    kube: KubeClient, namespace: str
) -> None:
    raw = make_modelrelease(namespace=namespace)
    raw["metadata"] |= {"uid": "r", "creationTimestamp": "2026-11-29T11:00:00Z"}
    release = ModelRelease.model_validate(raw)
    everything = [approval(number, release, "root") for number in range(100)]
    everything += [approval(200 + number, release, "root", "compliance") for number in range(100)]
    everything += [approval(400, release, "nobody")]
    asking = Asking(kube)
    backed = await still_backed(asking, release, everything, DIGEST)  # type: ignore[arg-type]
    assert backed == {one.uid for one in everything[:-1]}
    assert asking.asked == ["root approve risk", "root approve compliance", "nobody approve risk"]


async def test_only_the_approvals_of_the_object_are_read(kube: KubeClient, namespace: str) -> None:
    release = ModelRelease.model_validate(make_modelrelease("wanted", namespace))
    subjects = {
        "mine": {"kind": "ModelRelease", "name": "wanted", "uid": "u"},
        "mine-of-an-earlier-uid": {"kind": "ModelRelease", "name": "wanted", "uid": "v"},
        "of-another-release": {"kind": "ModelRelease", "name": "other", "uid": "u"},
        "of-a-job": {"kind": "FineTuneJob", "name": "wanted", "uid": "u"},
    }
    made = [await kube.create(make_approval(name, namespace, subjectRef=subject)) for name, subject in subjects.items()]
    try:
        read = (await read_approvals(kube, release)).approvals
        assert {one.name for one in read} == {"mine", "mine-of-an-earlier-uid"}
    finally:
        for one in made:
            await kube.delete(ObjectRef.of(one))
