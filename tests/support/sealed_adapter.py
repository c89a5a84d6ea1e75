"""An approved adapter in a real registry, and the document of a pod that shall serve it. Weights are a few numbers."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.registry_process import RunningRegistry
from tests.support.small_adapter import adapter_config
from tunegate.api.asked import AskedAs
from tunegate.api.manifest import HashedFolder, Manifest
from tunegate.api.serving import AdapterEntry, ServedBase, ServerDocument
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.api.stage.probe import Probe, ProbeItem
from tunegate.api.stage.results import EvaluateResult
from tunegate.digests import document_digest, file_entry, manifest_digest
from tunegate.registry.adapters import SealedAdapter, push_adapter
from tunegate.registry.client import RegistryClient
from tunegate.serving import check
from tunegate.serving.fetching import Adapters, LeftOut, Places

DIGEST = "sha256:" + "0" * 64


def lora_weights(value: float, rank: int = 8) -> bytes:
    """Return a weights file with one pair of LoRA matrices, of width 1 and full of ``value``. Source: the safetensors format."""
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    half = 4 * rank
    header = json.dumps(
        {
            f"{module}.lora_A.weight": {"dtype": "F32", "shape": [rank, 1], "data_offsets": [0, half]},
            f"{module}.lora_B.weight": {"dtype": "F32", "shape": [1, rank], "data_offsets": [half, 2 * half]},
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", value) * (2 * rank)


def evaluation(adapter_manifest_digest: str, probes: int = 8) -> EvaluateResult:
    items = [
        ProbeItem(messages=[{"role": "user", "content": str(n)}], answer="a", tuned_logprob=-0.1, base_logprob=-3.0)
        for n in range(probes)
    ]
    return EvaluateResult(
        outcome="Pass", metric="ExactMatch", margin=0.05, minimum=0.0, tuned={"ExactMatch": 0.8}, arms=[],
        guardrails=[], questions=100, groups=100, resamples=1000, seed=1,
        adapter_manifest_digest=adapter_manifest_digest, base_model_digest=DIGEST, profile_digest=DIGEST,
        suite_digest=DIGEST, answers_digest=DIGEST, probe=Probe(items=items, tolerance=0.1),
        asked_as=AskedAs(max_tokens=48), reasons=[],
    )  # fmt: skip


@dataclass
class Bench:
    """A registry, a base model's folder and a list of adapters to pull."""

    folder: Path
    registry: RunningRegistry
    client: RegistryClient
    entries: list[AdapterEntry] = field(default_factory=list)
    sealed: dict[str, SealedAdapter] = field(default_factory=dict)

    def seal(self, release: str, *, config: dict[str, Any] | None = None, weights: bytes | None = None) -> AdapterEntry:
        """Seal an adapter and its evaluation, and add it to the list."""
        source = self.folder / f"source-{release}"
        source.mkdir()
        (source / "adapter_config.json").write_text(json.dumps({**adapter_config(), **(config or {})}))
        (source / "adapter_model.safetensors").write_bytes(weights or lora_weights(float(len(release))))
        repository = f"team/{release}-00000000"
        sealed = push_adapter(self.client, f"{repository}/adapter", source)
        digest = manifest_digest(sealed.manifest)
        result = self.client.push_document(
            f"{repository}/results", evaluation(digest).model_dump_json(by_alias=True).encode(), RESULT_MEDIA_TYPE
        )
        entry = AdapterEntry(
            release=release, served_name=f"{release}-{sealed.digest.removeprefix('sha256:')[:8]}",
            repository=f"{repository}/adapter", digest=sealed.digest, manifest=sealed.manifest,
            manifest_digest=digest, results_repository=f"{repository}/results", evaluation_digest=result,
        )  # fmt: skip
        self.entries.append(entry)
        self.sealed[release] = sealed
        return entry

    def replace(self, entry: AdapterEntry, **changes: Any) -> AdapterEntry:
        """Change an entry of the list."""
        changed = entry.model_copy(update=changes)
        self.entries[self.entries.index(entry)] = changed
        return changed

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def target(self) -> Path:
        return self.folder / "adapters"

    def document(self) -> ServerDocument:
        files = [file_entry(self.base, path) for path in sorted(self.base.rglob("*")) if path.is_file()]
        manifest = Manifest(files=files)
        return ServerDocument(
            namespace="team", server="server", server_uid="5e5e5e5e-0000-0000-0000-000000000000",
            registry_host=self.registry.host, registry_plain_http=True,
            base=ServedBase(
                name="smollm2", path=str(self.base), manifest=manifest, manifest_digest=manifest_digest(manifest)
            ),
            max_lora_rank=16, max_cpu_loras=1,
        )  # fmt: skip

    def check(self, document: ServerDocument | None = None, promised: str | None = None) -> HashedFolder:
        """Run what `check-base` runs; ``promised``: the digest in the pod's template, by default the right one."""
        documents = self.folder / "documents"
        documents.mkdir(exist_ok=True)
        (documents / "server.json").write_text(json.dumps((document or self.document()).to_dict()))
        data = {file.name: file.read_text() for file in documents.iterdir()}
        return check.run(check.Places(documents, self.folder / "base.json"), promised or document_digest(data))

    def adapters(self, document: ServerDocument | None = None) -> Adapters:
        """Return what fetches adapters in a pod, as it is after a start of its container."""
        self.target.mkdir(exist_ok=True)
        return Adapters(document or self.document(), self.places)

    @property
    def places(self) -> Places:
        return Places(self.target, self.folder / "no-auth", self.folder / "no-ca")

    def fetch(self) -> dict[str, str]:
        """Fetch every adapter of the list; return why each is left out, by release, nothing for those that are not."""
        adapters, found = self.adapters(), {}
        for entry in self.entries:
            try:
                adapters.fetch(entry)
                found[entry.release] = ""
            except LeftOut as error:
                found[entry.release] = str(error)
        return found
