"""A serving pod starts its engine only on the catalogue's base model, and only with the document that it was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sealed_adapter import Bench
from tunegate.__main__ import main
from tunegate.api.manifest import HashedFolder, Manifest
from tunegate.base_files import changed
from tunegate.digests import document_digest
from tunegate.mounted import ConfigurationDiffers
from tunegate.serving.check import BadInput, Places, run


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
        bench.check(document)


@pytest.mark.attack(58)
def test_other_weights_of_the_same_size_are_never_served(bench: Bench) -> None:
    """Sizes, names and the small files agree: only the bytes of the weights are others."""
    document, weights = bench.document(), bench.base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BadInput, match="other bytes than the catalogue admitted"):
        bench.check(document)
    assert not (bench.folder / "base.json").exists()


@pytest.mark.attack(58)
def test_the_report_tells_the_gateway_which_files_were_hashed(bench: Bench) -> None:
    found = bench.check()
    assert found.manifest_digest == bench.document().base.manifest_digest
    assert HashedFolder.model_validate_json((bench.folder / "base.json").read_bytes()) == found
    assert changed(found) is None
    weights = bench.base / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content)
    assert changed(found) == "model.safetensors", "the same bytes again, but they may have been others meanwhile"


def test_a_forged_file_list_of_the_base_model_is_found(bench: Bench) -> None:
    document = bench.document()
    forged = document.base.model_copy(update={"manifest": Manifest(files=document.base.manifest.files[:1])})
    with pytest.raises(BadInput, match="digest"):
        bench.check(document.model_copy(update={"base": forged}))


@pytest.mark.attack(51)
@pytest.mark.parametrize("change", ["server.json", "more.json", "binary"])
def test_other_documents_than_the_pod_was_made_with_are_refused_before_anything_is_read(
    bench: Bench, change: str
) -> None:
    bench.check()
    documents = bench.folder / "documents"
    data = {file.name: file.read_text() for file in documents.iterdir()}
    places = Places(documents, bench.folder / "nothing")
    if change == "binary":
        (documents / "server.json").write_bytes(b"\xff")
    else:
        (documents / change).write_text("[]")
    (bench.base / "config.json").unlink()
    with pytest.raises(ConfigurationDiffers, match="somebody replaced the ConfigMap"):
        run(places, document_digest(data))
    assert not places.report.exists()


@pytest.mark.attack(51)
@pytest.mark.parametrize("command", ["check-base", "adapters", "gateway"])
@pytest.mark.parametrize("further", [[], ["--config-digest"], ["--config-digest", "a", "b"], ["--config", "a"]])
def test_there_is_no_way_to_run_without_the_digest(
    command: str, further: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *further]) == 2
    assert "--config-digest" in capsys.readouterr().err
