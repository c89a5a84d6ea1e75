"""`images --registry`: what is in the node's registry is copied as it is, not compressed again."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.support.registry_process import running_registry
from tunegate_local import image_layout, images, images_index
from tunegate_local.failure import Failure

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("tests the local cluster itself"),
    pytest.mark.timeout(300),
]
MANIFEST = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


def test_a_copy_has_the_digest_and_the_layers_of_the_node_s_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PUSHED", tmp_path / "pushed.json")
    with running_registry(tmp_path / "registry") as elsewhere:
        images.push_elsewhere(["pause", "operator"], f"{elsewhere.host}/team")

        pushed = json.loads((tmp_path / "pushed.json").read_text())
        assert pushed.keys() == {"pause", "operator"}
        own = images_index.read()["operator"]
        repository, _, digest = pushed["operator"].partition("@")
        assert (repository, digest) == (f"{elsewhere.host}/team/operator", own.rpartition("@")[2])
        url = f"http://{elsewhere.host}/v2/team/operator/manifests"
        manifest = httpx.get(f"{url}/{digest}", headers=MANIFEST).raise_for_status().json()
        assert all(layer["mediaType"].endswith("+zstd") for layer in manifest["layers"])
        assert all(elsewhere.blob(layer["digest"]).is_file() for layer in manifest["layers"])
        listed = httpx.get(f"{url}/latest", headers={"Accept": "application/vnd.oci.image.index.v1+json"})
        assert [entry["digest"] for entry in listed.raise_for_status().json()["manifests"]] == [digest]


def test_an_image_that_the_node_s_registry_lost_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="has lost sha256:0000"):
        image_layout.write(tmp_path / "layout", f"127.0.0.1:5050/tunegate/pause@sha256:{'0' * 64}")
