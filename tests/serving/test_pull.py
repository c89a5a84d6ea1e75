"""A serving pod gets exactly the approved bytes from a real registry, or says which adapter it leaves out and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registry_process import RunningRegistry, running_registry
from tests.support.sealed_adapter import Bench, evaluation, lora_weights
from tunegate.__main__ import main
from tunegate.api.asked import AskedAs
from tunegate.api.manifest import Manifest
from tunegate.api.stage.layout import RESULT_MEDIA_TYPE
from tunegate.base_files import changed
from tunegate.digests import document_digest, manifest_digest
from tunegate.mounted import ConfigurationDiffers
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import Unavailable
from tunegate.serving.pull import BadInput, Places, run


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, registry: RunningRegistry) -> Iterator[Bench]:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text("{}")
    (tmp_path / "base/model.safetensors").write_bytes(lora_weights(1.0))
    with RegistryClient(registry.host, plain_http=True) as client:
        yield Bench(tmp_path, registry, client)


def reasons(bench: Bench) -> dict[str, str]:
    return {outcome.release: outcome.reason for outcome in bench.pull().adapters if outcome.state == "LeftOut"}


def test_approved_adapters_are_put_where_the_engine_loads_them(bench: Bench) -> None:
    first, second = bench.seal("one"), bench.seal("two")
    report = bench.pull()
    assert [(outcome.served_name, outcome.state) for outcome in report.adapters] == [
        (first.served_name, "Verified"),
        (second.served_name, "Verified"),
    ]
    assert bench.engine_modules() == [first.served_name, second.served_name]
    for name, release in ((first.served_name, "one"), (second.served_name, "two")):
        for file in (bench.folder / f"source-{release}").iterdir():
            assert (bench.target / name / file.name).read_bytes() == file.read_bytes()
    assert len(report.probes[first.served_name].items) == 8
    assert report.asked_as == dict.fromkeys((first.served_name, second.served_name), AskedAs(max_tokens=48))
    assert json.loads((bench.target / "engine.yaml").read_text())["max-cpu-loras"] == 2


def test_without_adapters_the_engine_starts_with_the_base_alone(bench: Bench) -> None:
    assert bench.pull().adapters == []
    assert json.loads((bench.target / "engine.yaml").read_text()) == {"max-cpu-loras": 1}


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
    assert bench.engine_modules() == [good.served_name]
    assert not (bench.target / bad.served_name).exists()


def test_a_missing_file_is_found(bench: Bench) -> None:
    bad = bench.seal("missing", weights=lora_weights(5.5))
    weights = next(file for file in bad.manifest.files if file.path.endswith(".safetensors"))
    bench.registry.blob(f"sha256:{weights.sha256}").unlink()
    assert set(reasons(bench)) == {"missing"}
    assert not (bench.target / bad.served_name).exists()


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
    assert sorted(path.name for path in bench.target.iterdir()) == ["engine.yaml", "report.json"]


def test_of_two_adapters_with_one_name_the_first_is_served(bench: Bench) -> None:
    first = bench.seal("one")
    bench.replace(bench.seal("two"), served_name=first.served_name)
    assert reasons(bench) == {"two": "two adapters have this name"}
    assert bench.engine_modules() == [first.served_name]


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
    assert bench.engine_modules() == [good.served_name]


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


def test_an_unreachable_registry_stops_the_pod_until_it_is_back_and_nothing_is_fetched_twice(bench: Bench) -> None:
    entry = bench.seal("one")
    bench.pull()
    weights = bench.target / entry.served_name / "adapter_model.safetensors"
    before = weights.stat().st_ino
    away = bench.document().model_copy(update={"registry_host": "127.0.0.1:9"})
    with pytest.raises(Unavailable):
        bench.pull(away)
    assert weights.exists()
    bench.pull()
    assert weights.stat().st_ino == before


def test_a_file_that_changed_on_the_pods_disk_is_fetched_again(bench: Bench) -> None:
    entry = bench.seal("one")
    bench.pull()
    weights = bench.target / entry.served_name / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"other")
    assert reasons(bench) == {}
    assert weights.read_bytes() == (bench.folder / "source-one/adapter_model.safetensors").read_bytes()


def _shorten(base: Path) -> None:
    (base / "model.safetensors").write_bytes(b"short")


def _remove(base: Path) -> None:
    (base / "config.json").unlink()


def _add(base: Path) -> None:
    (base / "model-2.safetensors").write_bytes(b"more")


@pytest.mark.attack(14)
@pytest.mark.parametrize(("change", "word"), [(_shorten, "bytes"), (_remove, "missing"), (_add, "not in the")])
def test_another_base_model_than_the_catalogues_is_never_served(bench: Bench, change: object, word: str) -> None:
    document = bench.document()
    assert callable(change)
    change(bench.base)
    with pytest.raises(BadInput, match=word):
        bench.pull(document)


@pytest.mark.attack(58)
def test_other_weights_of_the_same_size_are_never_served(bench: Bench) -> None:
    """Sizes, names and the small files agree: only the bytes of the weights are others."""
    document, weights = bench.document(), bench.base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BadInput, match="other bytes than the catalogue admitted"):
        bench.pull(document)
    assert list(bench.target.iterdir()) == []


@pytest.mark.attack(58)
def test_the_report_tells_the_gateway_which_files_were_hashed(bench: Bench) -> None:
    report = bench.pull()
    assert report.base.manifest_digest == bench.document().base.manifest_digest
    assert changed(report.base) is None
    weights = bench.base / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content)
    assert changed(report.base) == "model.safetensors", "the same bytes again, but they may have been others meanwhile"


@pytest.mark.attack(51)
@pytest.mark.parametrize("change", ["adapters.json", "server.json", "more.json", "binary"])
def test_other_documents_than_the_pod_was_made_with_are_refused_before_anything_is_read(
    bench: Bench, change: str
) -> None:
    bench.seal("one")
    bench.pull()
    documents = bench.folder / "documents"
    data = {file.name: file.read_text() for file in documents.iterdir()}
    places = Places(documents, bench.folder / "nothing", bench.folder / "no-auth", bench.folder / "no-ca")
    if change == "binary":
        (documents / "adapters.json").write_bytes(b"\xff")
    else:
        (documents / change).write_text("[]")
    (bench.base / "config.json").unlink()
    with pytest.raises(ConfigurationDiffers, match="somebody replaced the ConfigMap"):
        run(places, document_digest(data))
    assert not places.target.exists()


@pytest.mark.attack(51)
@pytest.mark.parametrize("command", ["pull", "gateway"])
@pytest.mark.parametrize("further", [[], ["--config-digest"], ["--config-digest", "a", "b"], ["--config", "a"]])
def test_there_is_no_way_to_run_without_the_digest(
    command: str, further: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *further]) == 2
    assert "--config-digest" in capsys.readouterr().err


def test_a_forged_file_list_of_the_base_model_is_found(bench: Bench) -> None:
    document = bench.document()
    forged = document.base.model_copy(update={"manifest": Manifest(files=document.base.manifest.files[:1])})
    with pytest.raises(BadInput, match="digest"):
        bench.pull(document.model_copy(update={"base": forged}))
