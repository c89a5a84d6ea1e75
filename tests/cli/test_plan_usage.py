"""What `tunegate plan` says of files that it cannot make sense of; no library of the stages is needed for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import builders
from tests.support.model_folder import make_model
from tests.support.plan_files import write_plan_files
from tests.support.stage_documents import validated
from tunegate.api.computepool import ComputePool
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.stage.findings import Finding
from tunegate.cli.main import main
from tunegate.cli.plan.report import FORMATS, _location

Capture = pytest.CaptureFixture[str]


def refused(arguments: list[str], capsys: Capture, *, status: int = 1) -> str:
    assert main(arguments) == status
    said = capsys.readouterr()
    assert not said.out
    return said.err


@pytest.fixture
def site(tmp_path: Path) -> list[str]:
    (tmp_path / "models").mkdir()
    make_model(tmp_path / "models" / "smollm2")
    return [*write_plan_files(tmp_path / "files"), "--volume", f"models={tmp_path / 'models'}"]


@pytest.mark.parametrize("field", ["metadata", "spec"])
def test_a_field_that_must_be_an_object_is_named(field: str, tmp_path: Path, capsys: Capture) -> None:
    arguments = write_plan_files(tmp_path / "files")
    file = tmp_path / "files" / "job.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), field: ["x"]}))
    assert f"FineTuneJob: {field} must be an object" in refused(arguments, capsys)


def test_an_object_without_a_name_is_named_by_its_kind(tmp_path: Path, capsys: Capture) -> None:
    arguments = write_plan_files(tmp_path / "files")
    file = tmp_path / "files" / "job.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "metadata": {"namespace": "team"}}))
    assert "FineTuneJob: metadata.name is missing or no text" in refused(arguments, capsys)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "\x80",
        "[" * 5000,
        "contexts: 5",
        "clusters: [{name: a, cluster: 7}]",
        "current-context: [a]",
        "users: {a: {}}",
    ],
)
@pytest.mark.parametrize("command", [["get", "jobs"], ["create", "job", "-f", "none.yaml"]])
def test_a_kubeconfig_that_is_none_is_said(content: str, command: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "kubeconfig").write_text(content, encoding="latin-1")
    assert "no usable kubeconfig" in refused(["--kubeconfig", str(tmp_path / "kubeconfig"), *command], capsys)


@pytest.mark.parametrize(
    ("job", "says"),
    [
        ({"method": {"type": "DPO"}}, "FineTuneJob job: these fields are wrong: spec.method.type"),
        ({"intent": {"taskType": "Format", "speed": 3}}, "there are no such fields: spec.intent.speed"),
        ({"suiteRef": {"name": 7}}, "spec.suiteRef.name is text: put 7 in quotes"),
    ],
)
def test_a_job_that_the_server_would_not_take_is_refused(
    job: dict[str, Any], says: str, tmp_path: Path, capsys: Capture
) -> None:
    assert says in refused(write_plan_files(tmp_path / "files", **job), capsys)


def test_an_object_that_is_in_no_file_is_wrong_usage(tmp_path: Path, capsys: Capture) -> None:
    said = refused(write_plan_files(tmp_path / "files", serverRef={"name": "servre"}), capsys, status=2)
    assert "ModelServer servre (spec.serverRef of the job) is in none of the files" in said
    assert "Did you mean server?" in said
    assert "no such file or folder" in refused(["plan", "-f", str(tmp_path / "none.yaml")], capsys, status=2)


def test_everything_that_refuses_the_job_is_told_before_a_folder_is_asked_for(tmp_path: Path, capsys: Capture) -> None:
    dataset = {**builders.make_finetunejob()["spec"]["dataset"], "classification": "PHI"}
    method = {"type": "LoRA", "rank": 64}
    arguments = write_plan_files(
        tmp_path / "files", dataset=dataset, method=method, policy={"requiredSuiteRefs": [{"name": "beside"}]}
    )
    said = refused(arguments, capsys)
    assert "SuiteNotAccepted: ApprovalPolicy policy does not accept EvaluationSuite suite; it accepts beside." in said
    assert "NotAllowed: The data is classified PHI" in said
    assert "spec.method.rank is 64, but profile.maxLoraRank of ModelServer server is 16." in said
    assert "--volume" not in said


def test_data_of_a_class_that_the_policy_does_not_allow_is_refused_as_the_operator_would(
    tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "models").mkdir()
    make_model(tmp_path / "models" / "smollm2")
    dataset = {**builders.make_finetunejob()["spec"]["dataset"], "classification": "PHI"}
    arguments = [*write_plan_files(tmp_path / "files", dataset=dataset), "--volume", f"models={tmp_path / 'models'}"]

    assert "NotAllowed: The data is classified PHI" in refused(arguments, capsys)


def test_claims_without_a_folder_are_named(tmp_path: Path, capsys: Capture) -> None:
    said = refused(write_plan_files(tmp_path / "files"), capsys, status=2)

    assert said == "tunegate: say where these lie on this machine: --volume models=…\n"


def test_a_model_of_a_mirror_is_mapped_by_its_name(tmp_path: Path, capsys: Capture) -> None:
    arguments = write_plan_files(tmp_path / "files", base={"source": builders.HUB_SOURCE})
    source = tmp_path / "files" / "volume" / "gate.jsonl"
    source.unlink()

    assert refused(arguments, capsys, status=2).endswith("this machine: --volume acme/tiny-1b=…\n")
    arguments += ["--volume", f"acme/tiny-1b={make_model(tmp_path / 'model')}"]
    assert "gate.jsonl" in refused(arguments, capsys)


def test_two_policies_are_one_too_many(site: list[str], tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "policy.yaml"
    other.write_text(yaml.safe_dump(builders.make_approvalpolicy("second")))

    assert "2 ApprovalPolicies" in refused([*site, "--with", str(other)], capsys, status=2)


def test_data_in_a_store_has_to_be_downloaded_first(tmp_path: Path, capsys: Capture) -> None:
    dataset = {**builders.make_finetunejob()["spec"]["dataset"], "uri": "s3://bucket/rows.jsonl", "secretName": "b"}

    assert "Download it" in refused(write_plan_files(tmp_path / "files", dataset=dataset), capsys, status=2)
    documents = {"uri": "s3://bucket/manuals", "secretName": "b"}
    said = refused(write_plan_files(tmp_path / "more", baseline={"documents": documents}), capsys, status=2)
    assert "s3://bucket/manuals: only data on this machine" in said


def test_a_volume_that_is_no_folder_is_refused(site: list[str], capsys: Capture) -> None:
    assert "expected CLAIM=FOLDER" in refused([*site, "--volume", "data"], capsys, status=2)


def test_the_wide_outcome_breaks_no_line_and_lists_every_row_number() -> None:
    digest = "sha256:" + "7" * 64
    found = Finding(
        check="SuiteData", action="Warn", count=14, rows=[str(n) for n in range(14)], message=f"has {digest}; " * 3
    )
    result = validated(findings=[found])
    job = FineTuneJob.model_validate(builders.make_finetunejob())
    pool = ComputePool.model_validate(builders.make_computepool()).spec
    short, wide = (FORMATS[name](job, result, pool) for name in ("text", "wide"))
    assert "9, … (10 of 14 row" in " ".join(short.split())
    (line,) = [line for line in wide.splitlines() if "SuiteData" in line]
    assert found.message.strip() in line
    assert line.endswith("9, 10, 11, 12, 13")
    assert max(map(len, short.splitlines())) <= 120


def test_a_place_of_a_finding_is_a_line_of_its_file() -> None:
    found = Finding(check="Secrets", action="Block", count=30, rows=["7", "9"], message="m")

    assert found.places() == "7, 9, … (2 of 30 row numbers)"
    assert found.places(1) == "7, … (1 of 30 row numbers)"
    assert _location("part-2.jsonl:7", "pvc://data/rows") == {
        "physicalLocation": {
            "artifactLocation": {"uri": "pvc://data/rows/part-2.jsonl"},
            "region": {"startLine": 7},
        }
    }


def test_a_job_as_the_cluster_shows_it_has_no_unknown_fields(tmp_path: Path, capsys: Capture) -> None:
    """The API server fills in every default, also of fields that our documents leave out while they have it."""
    limits = {"maxErrors": 2, "maxDisruptions": 10, "maxSecondsWithoutProgress": 7200}
    said = refused(write_plan_files(tmp_path / "files", limits=limits, suiteRef={"name": "none"}), capsys, status=2)
    assert "no such fields" not in said
    assert "EvaluationSuite none" in said
