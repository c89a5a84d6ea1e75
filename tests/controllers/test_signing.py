"""The operator signs what the registry really holds and attaches it to the adapter, as often as it is started anew."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registry_process import RunningRegistry, running_registry
from tests.support.released_adapter import ADAPTER_FILES, KEY, Released
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.controllers.modelrelease.signing import EvidenceSigner
from tunegate.deadlines import Threads
from tunegate.digests import sha256
from tunegate.evidence import layout
from tunegate.evidence.sources import pull_signatures
from tunegate.reconcile.modelrelease.ledger_entries import Frozen
from tunegate.reconcile.modelrelease.sealing import Signatures
from tunegate.registry import artifact, referrers
from tunegate.registry.client import RegistryClient
from tunegate.release.evidence import Shortfall

OWN, EARLIER = "team/job-0f0e0d0c", "team/earlier-12345678"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def client(registry: RunningRegistry) -> Iterator[RegistryClient]:
    with RegistryClient(registry.host, plain_http=True) as made:
        yield made


@pytest.fixture
def released(client: RegistryClient) -> Released:
    made = Released()
    made.documents.push(client, OWN, EARLIER)
    return made


def frozen(released: Released) -> Frozen:
    assert released.stored is not None
    return released.stored


async def signed(client: RegistryClient, released: Released) -> Signatures | Shortfall:
    """Sign as a freshly started operator would."""
    return await EvidenceSigner(client, KEY, Threads("the registry", 2)).sign(
        frozen(released), FineTuneJob.model_validate(released.job)
    )


def attached(client: RegistryClient, released: Released) -> list[str]:
    adapter = frozen(released).statement.adapter
    content = client.pull_index(adapter.repository, referrers.tag_of(adapter.digest))
    return [one["digest"] for one in json.loads(content)["manifests"]] if content else []


def made(released: Released) -> dict[str, str]:
    """The digests of everything that lies beside the adapter, by name."""
    return {one.name: one.digest for one in (*released.signatures(), *released.attached())}


async def test_signatures_lie_beside_the_adapter_and_are_those_of_the_folder(
    client: RegistryClient, released: Released
) -> None:
    found = await signed(client, released)
    assert found == {**made(released), "key": KEY.public.id}
    assert sorted(attached(client, released)) == sorted(made(released).values())
    assert not isinstance(found, Shortfall)
    pulled = pull_signatures(client, frozen(released).statement, found)
    assert pulled.items() <= released.files().items()
    assert pulled.keys() == set(layout.signature_paths(layout.SIGNATURES))


async def test_operator_that_stopped_half_way_ends_with_the_same_signatures(
    client: RegistryClient, released: Released
) -> None:
    half = released.signatures()[1]
    referrers.attach(client, frozen(released).statement.adapter.repository, half.artifact, half.content)
    first = await signed(client, released)
    assert await signed(client, released) == first
    assert sorted(attached(client, released)) == sorted(made(released).values())


class HeldClient(RegistryClient):
    """A client whose writes of lists of referrers wait at ``gate``, and that knows how many did at once."""

    def __init__(self, host: str) -> None:
        super().__init__(host, plain_http=True)
        self.gate, self.writing, self.both = threading.Event(), threading.Event(), threading.Event()
        self._lock, self._inside = threading.Lock(), 0

    def push_index(self, repository: str, tag: str, content: bytes) -> None:
        with self._lock:
            self._inside += 1
            (self.both if self._inside > 1 else self.writing).set()
        assert self.gate.wait(60)
        super().push_index(repository, tag, content)
        with self._lock:
            self._inside -= 1


async def test_signing_that_a_stop_cut_off_still_writes_and_no_other_writes_the_list_meanwhile(
    registry: RunningRegistry, released: Released
) -> None:
    client = HeldClient(registry.host)
    with client:
        signer = EvidenceSigner(client, KEY, Threads("the registry", 4))
        job = FineTuneJob.model_validate(released.job)
        first = asyncio.create_task(signer.sign(frozen(released), job))
        assert await asyncio.to_thread(client.writing.wait, 60)
        first.cancel()
        await asyncio.wait([first])

        second = asyncio.create_task(signer.sign(frozen(released), job))
        assert not await asyncio.to_thread(client.both.wait, 3), "two writers of one list lose an entry"
        client.gate.set()
        assert not isinstance(await second, Shortfall)
        assert sorted(attached(client, released)) == sorted(made(released).values())


async def test_documents_lie_beside_the_adapter_each_under_its_own_type(
    client: RegistryClient, released: Released
) -> None:
    found = await signed(client, released)
    assert not isinstance(found, Shortfall)
    adapter, files = frozen(released).statement.adapter, released.files()
    for name, type_, content in (
        ("mlbom", "application/vnd.cyclonedx+json", files["mlbom.cdx.json"]),
        ("modelCard", "application/vnd.tunegate.model-card.v1+markdown", files["model-card.md"]),
        ("dataStatement", "application/vnd.tunegate.data-statement.v1+json", files[layout.DATA]),
    ):
        assert client.pull_document(adapter.repository, found[name], media_type=type_) == content
        told = artifact.read(client.pull_manifest(adapter.repository, found[name]))
        assert (told.artifact_type, told.subject and told.subject.digest) == (type_, adapter.digest)


async def test_evaluation_beside_the_adapter_quotes_no_question_of_the_gate(
    client: RegistryClient, released: Released
) -> None:
    found = await signed(client, released)
    assert not isinstance(found, Shortfall)
    type_, repository = "application/vnd.tunegate.evaluation.v1+json", frozen(released).statement.adapter.repository
    told = json.loads(client.pull_document(repository, found["evaluation"], media_type=type_))
    whole = json.loads(released.files()[layout.EVALUATION])
    assert "probe" in whole
    assert told == {name: value for name, value in whole.items() if name != "probe"}


async def test_adapter_itself_stays_as_it_was(client: RegistryClient, released: Released) -> None:
    adapter = frozen(released).statement.adapter
    await signed(client, released)
    layers = client.pull_artifact(adapter.repository, adapter.digest).layers
    assert {layer.title: layer.digest for layer in layers} == {
        name: sha256(content) for name, content in ADAPTER_FILES.items()
    }


async def test_what_is_missing_in_the_registry_is_waited_for(client: RegistryClient) -> None:
    found = await signed(client, Released())
    assert isinstance(found, Shortfall)
    assert (found.reason, found.final) == ("WaitingForRegistry", False)
    assert "cannot be signed yet" in found.message


@pytest.mark.attack(28)
async def test_result_that_was_altered_in_the_registry_is_not_signed(
    registry: RunningRegistry, client: RegistryClient, released: Released
) -> None:
    content = released.documents.contents["Evaluate"]
    registry.blob(sha256(content)).write_bytes(content.replace(b'"Pass"', b'"Fail"'))
    found = await signed(client, released)
    assert isinstance(found, Shortfall)
    assert "hashes to" in found.message
    assert attached(client, released) == []


async def test_results_that_do_not_fit_together_are_never_signed(client: RegistryClient) -> None:
    other = Released(key=None)
    other.job["status"]["dataset"]["rows"] = 300
    other.start_again()
    other.documents.push(client, OWN, EARLIER)
    found = await signed(client, other)
    assert isinstance(found, Shortfall)
    assert (found.reason, found.final) == ("EvidenceDiffers", True)
    assert "the number of rows is 267" in found.message
    assert attached(client, other) == []
