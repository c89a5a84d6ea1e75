"""The API server itself takes addresses of pushed data in one form only."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_finetunejob
from tests.support.control_plane import ControlPlane, Member, running_control_plane
from tests.support.programs import program

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
CRD = Path(__file__).resolve().parents[2] / "crds/finetunejobs.yaml"
DIGEST = f"sha256:{'4' * 64}"
GOOD = f"oci://default/datasets/notices@{DIGEST}"
TEXTS = f"oci://default/documents/manuals@{DIGEST}"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running_control_plane(
        tmp_path_factory.mktemp("plane"), [Member("admin", "admin", ("system:masters",))]
    ) as made:
        assert kubectl(made, "apply", "--server-side", "-f", str(CRD)).returncode == 0
        kubectl(made, "wait", "--for=condition=Established", "crd/finetunejobs.tunegate.io", "--timeout=60s")
        yield made


def kubectl(plane: ControlPlane, *words: str, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    command = [program("kubectl"), "--kubeconfig", plane.kubeconfig("admin"), *words]
    text = None if stdin is None else json.dumps(stdin)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def created(plane: ControlPlane, **spec: Any) -> subprocess.CompletedProcess[str]:
    return kubectl(plane, "create", "--dry-run=server", "-f", "-", stdin=make_finetunejob(namespace="default", **spec))


def dataset(uri: str, **changes: Any) -> dict[str, Any]:
    return {**make_finetunejob()["spec"]["dataset"], "uri": uri, **changes}


def test_addresses_by_digest_are_accepted(plane: ControlPlane) -> None:
    done = created(plane, dataset=dataset(GOOD), baseline={"documents": {"uri": TEXTS}})
    assert done.returncode == 0, done.stderr


@pytest.mark.attack(76)
@pytest.mark.parametrize(
    "uri",
    [
        "oci://default/datasets/notices:v1", "oci://default/datasets/notices", TEXTS, f"oci://default/datasets/../x@{DIGEST}",
        f"oci://registry.example:5000/default/datasets/x@{DIGEST}", f"oci://datasets/documents/x@{DIGEST}", f"{GOOD}a",
    ],
)  # fmt: skip
def test_tags_other_registries_and_other_kinds_are_refused(plane: ControlPlane, uri: str) -> None:
    done = created(plane, dataset=dataset(uri))
    assert done.returncode != 0
    assert "spec.dataset" in done.stderr


def test_pushed_data_has_no_secret(plane: ControlPlane) -> None:
    done = created(plane, dataset=dataset(GOOD, secretName="bucket"))
    assert "pvc://… and oci://… have none" in done.stderr
