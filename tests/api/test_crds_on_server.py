"""The real API server takes good objects, fills in their defaults and refuses bad ones with helpful words."""

from __future__ import annotations

import copy
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support import builders
from tunegate.api.kinds import KINDS
from tunegate.kube.client import KubeClient, ObjectRef, Refused

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
BUILDERS: dict[str, Callable[..., Json]] = {
    "BaseModel": builders.make_basemodel,
    "ComputePool": builders.make_computepool,
    "ApprovalPolicy": builders.make_approvalpolicy,
    "ModelServer": builders.make_modelserver,
    "EvaluationSuite": builders.make_evaluationsuite,
    "FineTuneJob": builders.make_finetunejob,
    "ModelRelease": builders.make_modelrelease,
    "Approval": builders.make_approval,
    "AuditRecord": builders.make_auditrecord,
    "Usage": builders.make_usage,
}
ROWS = builders.make_finetunejob()["spec"]["dataset"]
PRICES = {"replacedPricePerThousandTokens": "0.03", "ownPricePerThousandTokens": "0.01", "monthlyTokens": 1_000_000}
SCOPES = {model.KIND.kind: model.KIND.scope for model in KINDS}
Store = Callable[[Json], Any]


@pytest.fixture
async def store(kube: KubeClient, operator_kube: KubeClient, namespace: str) -> AsyncIterator[Store]:
    """Create objects in the test's namespace (cluster-scoped ones under a name of their own) and remove them.

    Audit records are only checked by the server, never stored: they could not be deleted, and would break the ledger.
    """
    made: list[ObjectRef] = []

    async def create(obj: Json) -> Json:
        obj = copy.deepcopy(obj)
        if SCOPES[obj["kind"]] == "Namespaced":
            obj["metadata"]["namespace"] = namespace
        elif obj["kind"] == "AuditRecord":
            obj["metadata"]["name"] = f"audit-9{secrets.randbelow(10**9):09d}"
        elif len(obj["metadata"]["name"]) < 30:
            obj["metadata"]["name"] = f"t-api-{secrets.token_hex(4)}"
        if obj["kind"] == "AuditRecord":
            return await operator_kube.create(obj, dry_run=True)
        stored = await kube.create(obj)
        made.append(ObjectRef.of(stored))
        return stored

    yield create
    for ref in made:
        await kube.delete(ref)


def pinned(*weights: tuple[str, int], track: str = "Pinned") -> Json:
    """Return a server whose one route leads to releases with their weights."""
    targets = [{"releaseRef": {"name": name}, "weight": weight} for name, weight in weights]
    return builders.make_modelserver(routes=[{"name": "a", "track": track, "targets": targets}])


def canary(*steps: tuple[int, int]) -> Json:
    """Return a server whose one route has steps: weight and seconds."""
    made = [{"weight": weight, "holdSeconds": seconds} for weight, seconds in steps]
    return builders.make_modelserver(routes=[{"name": "a", "canary": {"steps": made}}])


def merged(below: Any, above: Any) -> Any:
    """Return ``below`` with everything that ``above`` says in its place."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: merged(below.get(key), value) for key, value in above.items()}


@pytest.mark.parametrize("kind", BUILDERS)
async def test_a_minimal_object_is_stored_with_the_defaults_of_the_model(kind: str, store: Store) -> None:
    """Fields that came later are left out where the model writes them with their default; the server stores them all."""
    built = BUILDERS[kind]()
    stored = await store(built)

    model = next(model for model in KINDS if model.KIND.kind == kind)
    read = model.model_validate(stored)
    written = read.model_dump(mode="json", by_alias=True, exclude_none=True)["spec"]
    assert merged(stored["spec"], written) == stored["spec"]
    assert read.model_dump()["spec"] == model.model_validate(built).model_dump()["spec"]
    assert "status" not in stored


@pytest.mark.parametrize("rate", ["1e-3", "0.001", 0.001, 1])
async def test_a_number_is_taken_as_number_and_as_text(rate: Any, store: Store) -> None:
    stored = await store(builders.make_finetunejob(method={"type": "LoRA", "learningRate": rate, "dropout": 0.05}))
    assert (stored["spec"]["method"]["learningRate"], stored["spec"]["method"]["dropout"]) == (rate, 0.05)


@pytest.mark.parametrize("kind", BUILDERS)
async def test_an_unknown_field_is_refused(kind: str, store: Store) -> None:
    with pytest.raises(Refused, match='unknown field "spec.surprise"'):
        await store(BUILDERS[kind](surprise="x"))


NAMED = ("BaseModel", "ComputePool", "ApprovalPolicy", "ModelServer", "EvaluationSuite", "FineTuneJob", "ModelRelease")


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("name", ["n" * 41, f"{'n' * 30}.example.org"], ids=["long", "dots"])
async def test_a_name_that_would_break_what_it_becomes_part_of_is_refused(kind: str, name: str, store: Store) -> None:
    with pytest.raises(Refused, match="at most 40 characters, lower-case letters, digits and hyphens"):
        await store(BUILDERS[kind](name=name))


@pytest.mark.parametrize("kind", ["ModelServer", "FineTuneJob"])
async def test_a_name_of_services_begins_with_a_letter(kind: str, store: Store) -> None:
    with pytest.raises(Refused, match="beginning with a letter"):
        await store(BUILDERS[kind](name="7b-holders"))


async def test_a_server_can_be_scaled(kube: KubeClient, store: Store) -> None:
    stored = await store(builders.make_modelserver(replicas=3))
    scale = await kube.get(ObjectRef.of(stored), subresource="scale")
    assert scale is not None
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 3)


async def test_an_approval_may_have_a_longer_name(store: Store) -> None:
    await store(BUILDERS["Approval"](name="a" * 63))
    with pytest.raises(Refused, match="at most 63 characters"):
        await store(BUILDERS["Approval"](name="a" * 64))


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (builders.make_finetunejob(method=None), "source Train needs method and no adapter"),
        (builders.make_finetunejob(source="Import"), "source Import needs adapter and no method"),
        (
            builders.make_finetunejob(
                source="Import", method=None, adapter={"uri": "pvc://in/adapter"}, economics=PRICES
            ),
            "economics is for source Train",
        ),
        (builders.make_finetunejob(method={"type": "DPO"}), "supported values"),
        (builders.make_finetunejob(method={"type": "LoRA", "learningRate": "fast"}), "spec.method.learningRate"),
        (builders.make_finetunejob(method={"type": "LoRA", "learningRate": -1}), "spec.method.learningRate"),
        (builders.make_finetunejob(method={"type": "LoRA", "learningRate": True}), "spec.method.learningRate"),
        (builders.make_finetunejob(method={"type": "LoRA", "learningRate": [1]}), "spec.method.learningRate"),
        (builders.make_finetunejob(method={"type": "LoRA", "dropout": 1.5}), "spec.method.dropout"),
        (builders.make_finetunejob(dataset={"uri": "https://example.org/x"}), "spec.dataset.uri"),
        (builders.make_finetunejob(dataset={**ROWS, "uri": "s3://bucket/x"}), "needs secretName"),
        (builders.make_finetunejob(dataset={**ROWS, "secretName": "bucket"}), "needs secretName"),
        (builders.make_finetunejob(baseline={"documents": {"uri": "s3://bucket/x"}}), "needs secretName"),
        (builders.make_finetunejob(baseline={"documents": {"uri": "/manuals"}}), "spec.baseline.documents.uri"),
        (builders.make_basemodel(source="hf://acme/tiny"), "full commit hash behind the name"),
        (builders.make_basemodel(source="hf://acme/tiny@main"), "full commit hash behind the name"),
        (builders.make_basemodel(source=f"hf://{'a' * 40}@{'0' * 40}"), "spec.source"),
        (builders.make_basemodel(hub={"size": "3Gi"}), "hub is for a source hf://"),
        (builders.make_basemodel(source=builders.HUB_SOURCE, hub={"endpoint": "hub.example"}), "spec.hub.endpoint"),
        (
            builders.make_evaluationsuite(task={"type": "Classification"}),
            "labels are required for type Classification",
        ),
        (builders.make_evaluationsuite(primaryMetric={"name": "SchemaValidity"}), "needs task.jsonSchema"),
        (
            builders.make_evaluationsuite(task={"type": "Generation", "decoding": "Guided"}),
            "decoding: Guided needs jsonSchema",
        ),
        (builders.make_evaluationsuite(baselines={"regex": "(?P<a>x)"}), "regexTemplate belong together"),
        (builders.make_evaluationsuite(baselines={"classifier": True}), "needs task.type Classification"),
        (
            builders.make_modelserver(routes=[{"name": "a", "track": "Pinned"}]),
            "targets are required with track Pinned",
        ),
        (pinned(("one", 100), track="Latest"), "not allowed with track Latest"),
        (pinned(("one", 90), ("two", 20)), "must add up to 100"),
        (pinned(("one", 150), ("two", -50)), r"targets\[0\]\.weight"),
        (pinned(("one", 50), ("one", 50)), "each release may be a target once"),
        (canary((25, 60), (5, 60)), "the weights of steps must grow"),
        (canary((5, 60), (5, 60)), "the weights of steps must grow"),
        (canary((5, 60), (100, 60)), r"canary\.steps\[1\]\.weight"),
        (canary((5, 1)), r"canary\.steps\[0\]\.holdSeconds"),
        (canary(), r"routes\[0\]\.canary\.steps"),
        (
            builders.make_modelserver(
                routes=[
                    {
                        **pinned(("one", 100))["spec"]["routes"][0],
                        "shadow": {"releaseRef": {"name": "one"}, "percent": 5},
                    }
                ]
            ),
            "shadow names a release that answers itself",
        ),
        (
            builders.make_modelserver(routes=[{"name": "a", "shadow": {"releaseRef": {"name": "one"}, "percent": 0}}]),
            r"shadow\.percent",
        ),
        (pinned(), r"routes\[0\]\.targets"),
        (pinned(*((f"r-{n}", 10 * (n < 10)) for n in range(11))), r"routes\[0\]\.targets"),
        (
            builders.make_modelserver(profile={"image": "vllm:latest", "maxModelLen": 1024}),
            "spec.profile.image",
        ),
        (
            builders.make_approvalpolicy(roles=[{"name": "risk", "groups": ["system:masters"]}]),
            "may not name groups that start with 'system:'",
        ),
        (
            builders.make_approvalpolicy(
                roles=[{"name": "r", "groups": ["g"], "signers": [{"username": "ravi", "publicKey": "ravi.pem"}]}]
            ),
            r"spec\.roles\[0\]\.signers\[0\]\.publicKey",
        ),
        (
            builders.make_approvalpolicy(roles=[{"name": "r", "groups": ["g"], "signers": []}]),
            r"spec\.roles\[0\]\.signers",
        ),
        (builders.make_approvalpolicy(budget={"period": "Month"}), r"spec\.budget\W+must validate at least one schema"),
        (builders.make_approvalpolicy(budget={"period": "Month", "maxCost": "9"}), r"spec\.budget\.currency"),
        (
            builders.make_approvalpolicy(dataChecks=[{"name": "Template", "action": "Warn"}]),
            "BrokenRows, Template and ControlTokens always block",
        ),
        (
            builders.make_approvalpolicy(dataChecks=[{"name": "Refusals", "action": "Redact"}]),
            "action Redact is for PersonalData, HealthData and Secrets",
        ),
        (
            builders.make_finetunejob(
                dataset={**ROWS, "checks": [{"name": "Secrets", "action": "Redact", "maxShare": "0.1"}]}
            ),
            r"spec\.dataset\.checks\[0\]\W+must validate at least one schema",
        ),
        (
            builders.make_approvalpolicy(dataChecks=[{"name": "Names", "action": "Warn"}]),
            r"spec\.dataChecks\[0\]\.name",
        ),
        (
            builders.make_approvalpolicy(dataChecks=[{"name": "Refusals", "action": "Warn", "maxShare": "5 %"}]),
            r"spec\.dataChecks\[0\]\.maxShare",
        ),
        (builders.make_approval(decision="Reject", reason="no"), "at least 10 characters"),
        (builders.make_approval(subjectDigest="sha256:abc"), "spec.subjectDigest"),
        (
            builders.make_approval(
                subjectRef={"kind": "FineTuneJob", "name": "job", "uid": "1"},
                decision="Revoke",
                reason="not wanted any more",
            ),
            "Revoke stops a ModelRelease",
        ),
        (
            builders.make_approvalpolicy(
                waivers=[{"name": "steward", "groups": ["system:masters"], "findings": ["Budget"]}]
            ),
            r"waivers\[\].groups may not name groups",
        ),
        (
            builders.make_approvalpolicy(
                waivers=[{"name": "steward", "groups": ["stewards"], "findings": ["Template"]}]
            ),
            "cannot be waived",
        ),
        (
            builders.make_approvalpolicy(waivers=[{"name": "steward", "groups": ["stewards"], "findings": ["Memory"]}]),
            "supported values",
        ),
        (builders.make_computepool(nodeSelector={"k" * 400: "v"}), "keys may have at most 317 characters"),
        (builders.make_modelrelease(intendedUse="all"), "spec.intendedUse"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["kind"],
)
async def test_a_bad_object_is_refused_with_the_reason(obj: Json, message: str, store: Store) -> None:
    with pytest.raises(Refused, match=message):
        await store(obj)


@pytest.mark.attack(8)
@pytest.mark.parametrize(
    ("obj", "change", "message"),
    [
        (builders.make_basemodel(), {"license": "MIT"}, "A BaseModel cannot change"),
        (builders.make_evaluationsuite(), {"seed": 3}, "An EvaluationSuite cannot change"),
        (builders.make_modelrelease(), {"risk": "High"}, "A ModelRelease cannot change"),
        (builders.make_approval(), {"decision": "Revoke"}, "An Approval cannot change"),
        (builders.make_finetunejob(), {"serverRef": {"name": "other"}}, "only suspend and ttlSecondsAfterFinished"),
        (builders.make_finetunejob(), {"poolRef": {"name": "other"}}, "only suspend and ttlSecondsAfterFinished"),
        (builders.make_finetunejob(), {"budget": {"maxCost": "5"}}, "only suspend and ttlSecondsAfterFinished"),
        (builders.make_finetunejob(), {"baseline": {"prompt": "x"}}, "only suspend and ttlSecondsAfterFinished"),
        (builders.make_finetunejob(), {"economics": PRICES}, "only suspend and ttlSecondsAfterFinished"),
        (builders.make_modelserver(), {"baseModelRef": {"name": "other"}}, "create a new ModelServer"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_frozen_field_cannot_change(
    obj: Json, change: Json, message: str, store: Store, kube: KubeClient
) -> None:
    stored = await store(obj)

    with pytest.raises(Refused, match=message):
        await kube.apply(_again(obj, stored, change))


@pytest.mark.parametrize(
    ("obj", "change"),
    [
        (builders.make_finetunejob(), {"suspend": True}),
        (builders.make_finetunejob(), {"ttlSecondsAfterFinished": 60}),
        (builders.make_modelserver(), {"replicas": 0}),
        (builders.make_modelserver(), {"routes": [{"name": "extractor"}]}),
        (builders.make_modelserver(), {"routes": canary((5, 600), (25, 3600))["spec"]["routes"]}),
        (builders.make_modelserver(), {"routes": pinned(("one", 95), ("two", 5), ("three", 0))["spec"]["routes"]}),
        (builders.make_computepool(), {"maxNodes": 4}),
        (builders.make_approvalpolicy(), {"minMargin": "0.1"}),
        (builders.make_approvalpolicy(), {"budget": {"period": "Quarter", "maxCost": "9", "currency": "USD"}}),
    ],
    ids=lambda value: str(value)[:30] if "spec" not in value else None,
)
async def test_what_may_change_does(obj: Json, change: Json, store: Store, kube: KubeClient) -> None:
    stored = await store(obj)

    changed = await kube.apply(_again(obj, stored, change))

    assert changed["spec"].items() >= {k: v for k, v in change.items() if not isinstance(v, list)}.items()
    assert changed["metadata"]["generation"] == 2


async def test_status_is_written_through_its_own_path_only(store: Store, kube: KubeClient) -> None:
    stored = await store(builders.make_finetunejob())
    status = {"phase": "Validating", "message": "Checking the data."}
    patch = {key: stored[key] for key in ("apiVersion", "kind")} | {
        "metadata": {key: stored["metadata"][key] for key in ("name", "namespace")},
        "status": status,
    }

    after = await kube.apply(patch, subresource="status")

    assert status == after["status"], "the server fills nothing in"
    assert after["metadata"]["generation"] == 1


def _again(obj: Json, stored: Json, change: Json) -> Json:
    metadata = {key: value for key, value in stored["metadata"].items() if key in ("name", "namespace")}
    return {**obj, "metadata": metadata, "spec": {**obj["spec"], **change}}
