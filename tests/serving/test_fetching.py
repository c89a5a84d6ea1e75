"""A serving pod gets exactly the approved bytes from a real registry, or says why it leaves an adapter out."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.chart_registry import ChartRegistry
from tests.support.sealed_adapter import Bench, evaluation, lora_weights
from tunegate.api.asked import AskedAs
from tunegate.api.manifest import Manifest
from tunegate.api.serving import AdapterEntry
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.digests import manifest_digest
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import RegistryError, Unavailable
from tunegate.registry.tokens import Access, ProgramCredential, mint


def reasons(bench: Bench) -> dict[str, str]:
    return {release: reason for release, reason in bench.fetch().items() if reason}


def folder(bench: Bench, entry: AdapterEntry) -> Path:
    return bench.target / entry.digest.removeprefix("sha256:")


def published(bench: Bench) -> list[str]:
    """Return the served names of the adapters that lie where the engine can read them."""
    there = {path.name for path in bench.target.iterdir()}
    return [one.served_name for one in bench.entries if one.digest.removeprefix("sha256:") in there]


def test_an_approved_adapter_is_published_in_a_folder_of_its_digest_that_nobody_can_write_to(bench: Bench) -> None:
    first, second = bench.seal("one"), bench.seal("two")
    adapters = bench.adapters()
    for entry in (first, second):
        found = adapters.fetch(entry)
        assert Path(found.folder) == folder(bench, entry)
        assert len(found.probe.items) == 8
        assert found.asked_as == AskedAs(max_tokens=48)
        assert stat.S_IMODE(folder(bench, entry).stat().st_mode) == 0o555
        for file in (bench.folder / f"source-{entry.release}").iterdir():
            assert (folder(bench, entry) / file.name).read_bytes() == file.read_bytes()
            assert stat.S_IMODE((folder(bench, entry) / file.name).stat().st_mode) == 0o444


@pytest.mark.attack(12)
def test_a_flipped_byte_leaves_out_that_adapter_alone(bench: Bench) -> None:
    good, bad = bench.seal("good"), bench.seal("flipped", weights=lora_weights(3.5))
    weights = next(file for file in bad.manifest.files if file.path.endswith(".safetensors"))
    blob = bench.registry.blob(f"sha256:{weights.sha256}")
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    left_out = reasons(bench)
    assert set(left_out) == {"flipped"}
    assert published(bench) == [good.served_name]
    assert not folder(bench, bad).exists()


def test_a_missing_file_is_found(bench: Bench) -> None:
    bad = bench.seal("missing", weights=lora_weights(5.5))
    weights = next(file for file in bad.manifest.files if file.path.endswith(".safetensors"))
    bench.registry.blob(f"sha256:{weights.sha256}").unlink()
    assert set(reasons(bench)) == {"missing"}
    assert not folder(bench, bad).exists()


@pytest.mark.attack(13)
def test_an_artifact_with_more_files_than_approved_is_found(bench: Bench) -> None:
    entry = bench.seal("extra")
    fewer = Manifest(files=[file for file in entry.manifest.files if file.path.endswith(".safetensors")])
    bench.replace(entry, manifest=fewer, manifest_digest=manifest_digest(fewer))
    assert "another adapter" in reasons(bench)["extra"]
    result = bench.client.push_document(
        entry.results_repository, evaluation(manifest_digest(fewer)).model_dump_json(by_alias=True).encode(),
        RESULT_MEDIA_TYPE,
    )  # fmt: skip
    bench.replace(bench.entries[0], evaluation_digest=result)
    assert "not those of the manifest" in reasons(bench)["extra"]


def test_a_file_list_with_another_digest_than_approved_is_found(bench: Bench) -> None:
    entry, other = bench.seal("one"), bench.seal("other")
    bench.replace(entry, manifest=other.manifest)
    assert "digest that was approved" in reasons(bench)["one"]


@pytest.mark.attack(12)
def test_another_adapter_under_the_approved_digest_is_found(bench: Bench) -> None:
    entry, other = bench.seal("one"), bench.seal("other")
    bench.replace(entry, repository=other.repository, digest=other.digest)
    assert set(reasons(bench)) == {"one"}


def test_content_that_the_registry_does_not_have_is_no_reason_to_wait(bench: Bench) -> None:
    entry = bench.seal("one")
    bench.replace(entry, digest="sha256:" + "1" * 64)
    assert set(reasons(bench)) == {"one"}


@pytest.mark.attack(22)
@pytest.mark.parametrize("name", ["base", "smollm2", "report.json", "one", "UPPER-00000000"])
def test_a_name_that_shadows_or_is_none_of_ours_is_refused(bench: Bench, name: str) -> None:
    bench.replace(bench.seal("one"), served_name=name)
    assert "shadows" in reasons(bench)["one"]
    assert list(bench.target.iterdir()) == []


@pytest.mark.attack(51)
def test_a_name_that_was_made_for_other_bytes_is_refused(bench: Bench) -> None:
    first, second = bench.seal("one"), bench.seal("other")
    bench.replace(second, served_name=first.served_name)
    assert reasons(bench) == {"other": "the name belongs to an adapter of another digest"}
    assert published(bench) == [first.served_name]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"r": 32}, "rank 32"),
        ({"r": 4}, "the weights have another rank"),
        ({"rank_pattern": {"q_proj": 64}}, "rank 64"),
        ({"lora_alpha": None}, "lora_alpha is missing"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"peft_type": "IA3"}, "peft_type"),
    ],
)
def test_what_the_engine_would_refuse_to_load_never_reaches_it(
    bench: Bench, config: dict[str, object], reason: str
) -> None:
    good = bench.seal("good")
    bench.seal("odd", config=config)
    assert reason in reasons(bench)["odd"]
    assert published(bench) == [good.served_name]


@pytest.mark.parametrize("weights", [b"", b"\x01", lora_weights(1.0)[:-1], b"\xff" * 64])
def test_weights_that_cannot_be_read_never_reach_the_engine(bench: Bench, weights: bytes) -> None:
    bench.seal("short", weights=weights or b"\x00")
    assert "safetensors" in reasons(bench)["short"]


def test_an_evaluation_without_probe_is_no_evaluation_to_serve_by(bench: Bench) -> None:
    entry = bench.seal("one")
    empty = evaluation(entry.manifest_digest, probes=0).model_dump_json(by_alias=True).encode()
    digest = bench.client.push_document(entry.results_repository, empty, RESULT_MEDIA_TYPE)
    bench.replace(entry, evaluation_digest=digest)
    assert reasons(bench) == {"one": "the evaluation recorded no probe"}


def test_an_unreachable_registry_is_no_reason_to_leave_out_and_what_was_fetched_needs_none(bench: Bench) -> None:
    entry, later = bench.seal("one"), bench.seal("later")
    adapters = bench.adapters()
    adapters.fetch(entry)
    before = (folder(bench, entry) / "adapter_model.safetensors").stat().st_ino
    away = bench.document().model_copy(update={"registry_host": "127.0.0.1:9"})
    adapters._server = away
    with pytest.raises(Unavailable):
        adapters.fetch(later)
    adapters.fetch(entry)
    assert (folder(bench, entry) / "adapter_model.safetensors").stat().st_ino == before


def test_a_file_that_changed_on_the_pods_disk_is_fetched_again(bench: Bench) -> None:
    entry = bench.seal("one")
    bench.fetch()
    weights = folder(bench, entry) / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"other")
    assert reasons(bench) == {}
    assert weights.read_bytes() == (bench.folder / "source-one/adapter_model.safetensors").read_bytes()


def test_a_credential_that_comes_with_the_question_opens_the_registry(bench: Bench) -> None:
    installed = ChartRegistry(bench.folder / "installed")
    source = ProgramCredential(installed.signer, writes=lambda _: True)
    with (
        installed.running() as guarded,
        RegistryClient(guarded.host, plain_http=True, token_source=source) as client,
    ):
        other = Bench(bench.folder, guarded, client)
        entry = other.seal("one")
        adapters = other.adapters()

        def auth(*repositories: str) -> str:
            access = [Access(name, ("pull",)) for name in repositories]
            now = datetime.now(UTC)
            return mint(
                installed.signer, guarded.host, access, subject="server", lifetime=timedelta(minutes=1), now=now
            )

        for closed in (None, auth(), auth(entry.results_repository), auth("team/another/adapter")):
            with pytest.raises(RegistryError):
                adapters.fetch(entry, closed)
            assert list(other.target.iterdir()) == []
        adapters.fetch(entry, auth(entry.repository, entry.results_repository))
        assert folder(other, entry).is_dir()


def test_only_what_is_to_be_kept_stays(bench: Bench) -> None:
    first, second = bench.seal("one"), bench.seal("other")
    adapters = bench.adapters()
    for entry in (first, second):
        adapters.fetch(entry)
    assert adapters.keep([first.digest]) == [second.digest.removeprefix("sha256:")]
    assert published(bench) == [first.served_name]
    assert adapters.keep([first.digest]) == []


def test_what_a_killed_container_left_half_fetched_is_gone_after_its_start(bench: Bench) -> None:
    entry = bench.seal("one")
    bench.target.mkdir()
    half = bench.target / ".fetch-abc"
    (half / ".pull-def").mkdir(parents=True)
    (half / ".pull-def/adapter_model.safetensors").write_bytes(b"half")
    bench.adapters().fetch(entry)
    assert [path.name for path in bench.target.iterdir()] == [folder(bench, entry).name]
