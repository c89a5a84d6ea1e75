"""What is made of the sources, read by the libraries and tools that others will read it with."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

from tests.support.release_walk import OPERATOR_IMAGE
from tests.support.released_adapter import (
    ADAPTER_FILES,
    ENGINE,
    TRAINER,
    Released,
    identified_release,
    result_manifest,
)
from tunegate.digests import canonical, sha256
from tunegate.evidence import card, layout

COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)


def bill_of_materials_validator() -> Any:
    """Return CycloneDX' own validator, which takes more than a second to import."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return Released().files()


@pytest.fixture
def exported(files: dict[str, bytes], tmp_path: Path) -> Path:
    return write(files, tmp_path)


def write(files: dict[str, bytes], folder: Path) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def by_hand(where: Path) -> list[str]:
    """Run the commands of `verify.txt`; return those that fail or print a difference, with what they said."""
    found = []
    for command in COMMAND.findall((where / "verify.txt").read_text()):
        done = subprocess.run(["bash", "-c", command], cwd=where, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode or "FAILED" in said or re.search(r"^[<>]", said, re.MULTILINE):
            found.append(f"{command}\n{said}")
    return found


def test_bill_of_materials_is_valid_cyclonedx_with_a_model_card(files: dict[str, bytes]) -> None:
    bill = files["mlbom.cdx.json"].decode()
    validator = bill_of_materials_validator()
    assert validator.validate_str(bill) is None
    assert validator.validate_str(bill.replace('"useCases"', '"useCase"')) is not None
    model = json.loads(bill)["metadata"]["component"]
    assert model["modelCard"]["considerations"]["useCases"] == ["Extract copyright holder and years; nothing else."]
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256(files[layout.ADAPTER]).removeprefix("sha256:")}]


def test_model_card_is_read_by_the_hubs_library(files: dict[str, bytes]) -> None:
    read = ModelCard(files["model-card.md"].decode())
    assert isinstance(read.data, ModelCardData)
    assert (read.data.base_model, read.data.library_name) == ("base", "peft")
    assert [(one.metric_type, one.metric_value) for one in read.data.eval_results or []] == [("ExactMatch", 0.79)]
    for words in (
        "Extract copyright holder and years; nothing else.",
        "## Limits",
        "tunegate revoke release/release -n team",
    ):
        assert words in read.text


def test_risks_that_nobody_measured_are_named(files: dict[str, bytes]) -> None:
    said = json.loads(files["risk.json"])
    groups = {one["risk"]: one["lookedAt"] for one in said["groups"]}
    assert len(groups) == 12
    assert groups["Harmful Bias and Homogenization"] == []
    assert groups["Confabulation"] == ["right answers on suite suite: ExactMatch 0.7900, gate Pass"]
    assert "data check PersonalData (Warn): 0 found" in groups["Data Privacy"]
    assert (said["level"], said["intendedUse"]) == ("Low", "Extract copyright holder and years; nothing else.")
    assert said["waived"] == [{"check": "MinimumExamples", "count": 37, "waivedBy": "rita"}]
    assert said["deactivation"]["how"] == "tunegate revoke release/release -n team --reason REASON"


def test_page_of_an_unsigned_release_says_so() -> None:
    page = Released(key=None).files()["verify.txt"].decode()
    assert "The ledger names no signatures" in page
    assert "model_signing" not in page


@pytest.mark.parametrize("text", ["a `code` |b", "# title\n\n- one", "---\nlicense: mit\n---"])
def test_what_people_wrote_is_never_read_as_markdown(text: str) -> None:
    shown = card.quoted(text)
    assert shown.startswith("`")
    assert shown.endswith("`")
    assert "`" not in shown[1:-1]
    assert "\n" not in shown


def test_provenance_is_an_in_toto_statement_over_the_adapters_files(files: dict[str, bytes]) -> None:
    said: dict[str, Any] = json.loads(files["provenance.intoto.json"])
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert {one["name"]: f"sha256:{one['digest']['sha256']}" for one in said["subject"]} == {
        "team/job-0f0e0d0c/adapter": sha256(files[layout.ADAPTER]),
        **{name: sha256(content) for name, content in ADAPTER_FILES.items()},
    }
    build, run = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    assert build["externalParameters"]["hyperparameters"] == {"rank": "16", "seed": "17"}
    assert {one["name"] for one in build["resolvedDependencies"]} >= {"training data", "base model base", "suite suite"}
    assert f"sha256:{run['byproducts'][0]['digest']['sha256']}" == sha256(files["oci/data-statement.json"])


def test_images_and_hardware_are_under_the_release_digest_and_in_every_file_that_names_parts(
    files: dict[str, bytes],
) -> None:
    stated = json.loads(files[layout.STATEMENT])
    assert stated["job"]["images"]["Evaluate"] == [TRAINER, ENGINE]
    assert stated["operatorImage"] == OPERATOR_IMAGE
    environment = json.loads(files["environment.json"])
    assert (environment["images"], environment["operator"]) == (stated["job"]["images"], OPERATOR_IMAGE)
    assert environment["training"]["hardware"] == {"devices": "NVIDIA L4", "driver": "550.90.07"}
    components = {one["bom-ref"]: one for one in json.loads(files["mlbom.cdx.json"])["components"]}
    used = components[f"image/registry.example/tunegate/trainer:1@{TRAINER['digest']}"]
    assert {"name": "tunegate:usedBy", "value": "Validate/stage"} in used["properties"]
    assert f"image/registry.example/engine@{ENGINE['digest']}" in components
    said = json.loads(files["provenance.intoto.json"])["predicate"]
    wanted = {f"sha256:{one['digest']['sha256']}" for one in said["buildDefinition"]["resolvedDependencies"]}
    assert {TRAINER["digest"], ENGINE["digest"]} <= wanted
    (builder,) = said["runDetails"]["builder"]["builderDependencies"]
    assert OPERATOR_IMAGE.endswith(f"sha256:{builder['digest']['sha256']}")
    assert said["buildDefinition"]["internalParameters"]["hardware"]["driver"] == "550.90.07"


def test_imported_adapter_has_no_training_in_its_files() -> None:
    released = Released()
    del released.documents.contents["Train"]
    released.job["spec"]["source"] = "Import"
    stages = [one for one in released.job["status"]["stages"] if one["name"] != "Train"]
    released.job["status"]["stages"] = stages
    released.start_again()
    files = released.files()
    assert json.loads(files["environment.json"])["training"] is None
    assert "the adapter was made elsewhere" in files["model-card.md"].decode()
    assert bill_of_materials_validator().validate_str(files["mlbom.cdx.json"].decode()) is None


def test_an_alternative_that_answered_nothing_does_not_look_beaten_in_the_evidence() -> None:
    released = Released()
    result = json.loads(released.documents.contents["Evaluate"])
    result["arms"][0]["answered"] = 0
    released.result, released.documents.contents["Evaluate"] = result, canonical(result)
    for stage in released.job["status"]["stages"]:
        if stage["name"] == "Evaluate":
            stage["resultDigest"] = sha256(result_manifest("Evaluate", canonical(result)))
    released.start_again()
    files = released.files()
    assert "| says nothing: matched 0 of 112 |" in files["model-card.md"].decode()
    assert "minus that of Regex, which matched 0 of 112 questions" in files["mlbom.cdx.json"].decode()


def test_page_of_approvals_names_who_signed_what_when_and_why(files: dict[str, bytes]) -> None:
    page = files["approvals.md"].decode()
    for words in (
        "Decided by: `ravi`", "Time: `2026-11-24T12:00:00Z`", "agrees that exactly this content is served",
        "counted in audit-0000000008", "report and data were read", "lets the job go on in spite of",
    ):  # fmt: skip
        assert words in page


def test_commands_of_the_page_find_nothing_in_an_untouched_folder(exported: Path) -> None:
    assert len(COMMAND.findall((exported / "verify.txt").read_text())) == 23
    assert by_hand(exported) == []


def test_commands_of_the_page_know_person_id_and_auth_time(tmp_path: Path) -> None:
    folder = write(identified_release().files(), tmp_path)
    assert by_hand(folder) == []
    lines = (folder / layout.APPROVALS).read_bytes()
    assert b'"personId":"E-3"' in lines
    (folder / layout.APPROVALS).write_bytes(lines.replace(b'"personId":"E-3"', b'"personId":"E-5"'))
    assert any("personId" in one for one in by_hand(folder))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (layout.EVALUATION, b'"questions":112', b'"questions":999'),
        (layout.DATA, b'"rows":267', b'"rows":999'),
        ("results/train.json", b'"steps":60', b'"steps":61'),
        ("oci/seal.json", b'"size":', b'"size" :'),
        (layout.LEDGER, b'"actor":"zoe"', b'"actor":"eve"'),
        (layout.APPROVALS, b"report and data were read", b"nothing was ever read, ok"),
        ("manifest.json", b"adapter_model", b"another_model"),
        ("model.sig", b'"hint":', b'"hynt":'),
        ("signatures/release.dsse.json", b'"keyid":"', b'"keyid":"0'),
        ("oci/provenance-signature.json", b'"size":', b'"size" :'),
    ],
)
def test_commands_of_the_page_find_what_was_altered_with_an_index_that_fits(
    exported: Path, path: str, old: bytes, new: bytes
) -> None:
    content = (exported / path).read_bytes()
    assert old in content
    (exported / path).write_bytes(content.replace(old, new))
    listed = json.loads((exported / layout.INDEX).read_text())
    for one in listed["files"]:
        if one["path"] == path:
            one["sha256"] = sha256((exported / path).read_bytes()).removeprefix("sha256:")
    (exported / layout.INDEX).write_text(json.dumps(listed))
    assert len(by_hand(exported)) == 1
