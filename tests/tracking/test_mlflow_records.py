"""Records in a real MLflow with users and TLS: what is written, by whom, how often, and after an outage."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.ledgers import new_key
from tests.tracking import story
from tests.tracking.mlflow_process import MlflowServer
from tunegate.ledger.anchors.places import Checkpoint, MlflowAnchor
from tunegate.ledger.seal import KeyRing, seal
from tunegate.reconcile.mlflow_records import job_record
from tunegate.tracking.mlflow import Tracking, TrackingUnavailable
from tunegate.tracking.records import JobRecord, MetricPoint, ReleaseRecord

pytestmark = pytest.mark.timeout(600)


def record_of(uid: str = story.UID, known_as: str | None = None, **status: Any) -> JobRecord:
    record = job_record(story.finished_job(**status), story.results())
    return dataclasses.replace(record, uid=uid, known_as=known_as)


async def recorded(tracking: Tracking, record: JobRecord) -> str:
    return (await tracking.record_job(record)).identifier


async def released(tracking: Tracking, record: ReleaseRecord) -> str:
    return (await tracking.record_release(record)).identifier


def run_of(server: MlflowServer, run_id: str, user: str = "operator") -> dict[str, Any]:
    answer = server.ask(user, f"runs/get?run_id={run_id}")
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()["run"]
    return run


def values(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in entries}


async def test_a_job_becomes_one_run_however_often_it_is_recorded(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await recorded(tracking, record_of("once"))
    record = record_of("once", known_as=run_id)
    assert await recorded(tracking, record) == run_id
    again = dataclasses.replace(record, tags={**record.tags, "tunegate.phase": "Succeeded again"})
    assert await recorded(tracking, again) == run_id
    run = run_of(server, run_id)
    assert run["info"]["status"] == "FINISHED"
    assert values(run["data"]["params"])["dataset.digest"] == story.digest("3")
    assert values(run["data"]["metrics"])["result.Tuned.ExactMatch"] == 0.795
    assert values(run["data"]["tags"])["tunegate.phase"] == "Succeeded again"
    history = server.ask("operator", f"metrics/get-history?run_id={run_id}&metric_key=result.train.loss").json()
    assert [(point["step"], point["value"]) for point in history["metrics"]] == [(1, 2.0), (30, 1.0), (60, 0.4)]
    experiment = server.ask("operator", f"experiments/get?experiment_id={run['info']['experiment_id']}").json()
    # Its pages then open on runs, and not on traces.
    assert values(experiment["experiment"]["tags"])["mlflow.experimentKind"] == "custom_model_development"


async def test_data_sets_and_result_documents_are_shown_with_the_run(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await recorded(tracking, record_of("reports"))
    run = run_of(server, run_id)
    inputs = run["inputs"]["dataset_inputs"]
    assert {"key": "tunegate.digest", "value": story.digest("3")} in [tag for entry in inputs for tag in entry["tags"]]
    files = server.ask("operator", f"artifacts/list?run_id={run_id}&path=reports").json()["files"]
    assert {Path(file["path"]).name for file in files} == {f"{name.lower()}.json" for name in story.results()}
    place = next((server.folder / "artifacts").rglob(f"{run_id}/artifacts/reports/evaluate.json"))
    assert json.loads(place.read_text())["tuned"]["ExactMatch"] == 0.795


async def test_the_newest_checkpoint_of_the_ledger_is_shown_and_read_back(
    server: MlflowServer, tracking: Tracking
) -> None:
    ring = KeyRing(new_key())
    anchor = MlflowAnchor(tracking, ring)
    newest = ""
    for size in (7, 9):
        newest = seal({"size": size, "ts": "2026-11-24T12:00:00Z"}, [ring.key])
        await anchor.keep(Checkpoint.of(newest))
    answer = server.ask("operator", "experiments/get-by-name?experiment_name=tunegate-ledger")
    tags = values(answer.json()["experiment"]["tags"])
    assert (tags["tunegate.checkpointSize"], tags["tunegate.checkpoint"]) == ("9", newest)
    assert [one.text for one in await anchor.read()] == [newest]


async def test_checkpoint_in_mlflow_that_our_key_did_not_sign_stops_nobody(
    tracking: Tracking, caplog: pytest.LogCaptureFixture
) -> None:
    ring = KeyRing(new_key())
    for text in (seal({"size": 10**6, "ts": "2026-11-24T12:00:00Z"}, [new_key()]), "no checkpoint"):
        await tracking.record_checkpoint(10**6, text)
        assert await MlflowAnchor(tracking, ring).read() == []
    assert len([one for one in caplog.records if "compared" in one.message]) == 2


async def test_mlflow_that_does_not_answer_stops_nobody() -> None:
    nowhere = Tracking("http://127.0.0.1:9")
    assert await MlflowAnchor(nowhere, KeyRing(new_key())).read() == []


async def test_no_question_of_the_gate_is_shown(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await recorded(tracking, record_of("gate"))
    place = next((server.folder / "artifacts").rglob(f"{run_id}/artifacts/reports/evaluate.json"))
    assert story.GATE_QUESTION in story.results()["Evaluate"].model_dump_json()
    assert story.GATE_QUESTION not in place.read_text()
    assert "probe" not in json.loads(place.read_text())


@pytest.mark.attack(28, 64)
async def test_a_run_that_claims_to_be_the_jobs_is_named_and_none_of_it_is_shown_as_ours(
    server: MlflowServer, tracking: Tracking
) -> None:
    experiment = server.ask("operator", "experiments/get-by-name?experiment_name=tunegate/team").json()["experiment"]
    forged = {
        "experiment_id": experiment["experiment_id"],
        "tags": [{"key": "tunegate.jobUid", "value": "claimed"}],
        "start_time": 1,
    }
    begun = server.ask("operator", "runs/create", forged).json()["run"]["info"]["run_id"]
    parameter = {"run_id": begun, "key": "dataset.digest", "value": "sha256:forged"}
    assert server.ask("operator", "runs/log-parameter", parameter).status_code == 200
    assert await tracking.changed(record_of("claimed"), known=False, recorded=False) == ("run",)
    run_id = await recorded(tracking, record_of("claimed"))
    assert run_id != begun
    assert values(run_of(server, run_id)["data"]["params"])["dataset.digest"] == story.digest("3")
    assert run_of(server, begun)["info"]["lifecycle_stage"] == "deleted"
    assert await tracking.changed(record_of("claimed", known_as=run_id), known=True, recorded=True) == ()


@pytest.mark.attack(71)
async def test_an_experiment_that_somebody_took_is_named_and_runs_stand_beside_it_also_after_it_was_deleted(
    server: MlflowServer, tracking: Tracking
) -> None:
    made = server.ask("operator", "experiments/create", {"name": "tunegate/squatted"})
    assert made.status_code == 200, made.text
    record = dataclasses.replace(record_of("beside"), namespace="squatted")
    assert await tracking.changed(record, known=False, recorded=False) == ("name tunegate/squatted",)
    first = await tracking.record_job(record)
    assert first.name.startswith("tunegate/squatted-")
    other = await tracking.record_job(dataclasses.replace(record, uid="beside too"))
    assert other.name == first.name
    experiment = server.ask("operator", f"experiments/get-by-name?experiment_name={first.name}").json()["experiment"]
    gone = server.ask("operator", "experiments/delete", {"experiment_id": experiment["experiment_id"]})
    assert gone.status_code == 200, gone.text
    assert await tracking.changed(
        dataclasses.replace(record, known_as=first.identifier), known=True, recorded=True
    ) == ("gone",)
    third = await tracking.record_job(dataclasses.replace(record, known_as=first.identifier))
    assert third == first, "the experiment is restored, with its runs"


async def test_numbers_of_a_running_training_are_added_to_its_run(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await recorded(tracking, record_of("live", phase="Training", completionTime=None))
    for step, loss in ((1, 2.0), (2, 1.5), (2, 1.5)):
        await tracking.add_points(run_id, [MetricPoint("train/loss", loss, 1000 + step, step)])
    history = server.ask("exchange", f"metrics/get-history?run_id={run_id}&metric_key=train/loss").json()["metrics"]
    assert [(point["step"], point["value"]) for point in history] == [(1, 2.0), (2, 1.5)]


@pytest.mark.attack(27)
async def test_a_tag_that_somebody_changed_is_set_right(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await recorded(tracking, record_of("drift"))
    record = record_of("drift", known_as=run_id)
    tag = {"run_id": run_id, "key": "tunegate.gate", "value": "Pass with honors"}
    assert server.ask("operator", "runs/set-tag", tag).status_code == 200
    assert await tracking.changed(record, known=False, recorded=True) == ("tunegate.gate",)
    await tracking.record_job(record)
    assert values(run_of(server, run_id)["data"]["tags"])["tunegate.gate"] == "Pass"
    assert await tracking.changed(record, known=True, recorded=True) == ()


@pytest.mark.attack(27)
async def test_a_change_is_told_from_a_record_that_was_not_written_yet(
    server: MlflowServer, tracking: Tracking
) -> None:
    record = ReleaseRecord(
        "team", "r", "drifting", "team.drifting", "oci://r/x@sha256:1", None, "", {"gov.phase": "Denied"}
    )
    assert await tracking.changed(record, known=False, recorded=False) == ()
    number = await released(tracking, record)
    later = dataclasses.replace(record, tags={"gov.phase": "Serving"})
    assert await tracking.changed(later, known=False, recorded=True) == ()
    for key, value in (("gov.phase", "Serving"), ("tunegate.record", "sha256:0")):
        tag = {"name": "team.drifting", "version": number, "key": key, "value": value}
        assert server.ask("operator", "model-versions/set-tag", tag).status_code == 200
    assert await tracking.changed(record, known=False, recorded=True) == (), "as if another record had been written"
    assert await tracking.changed(record, known=True, recorded=True) == ("gov.phase", "tunegate.record")


def displayed(uid: str, model: str) -> ReleaseRecord:
    source = f"oci://registry:5000/team/job-11111111/adapter@{story.digest('c')}"
    return ReleaseRecord("team", "r", uid, model, source, None, "what it is for", {"gov.phase": "Denied"})


def versions_of(server: MlflowServer, model: str) -> list[dict[str, Any]]:
    answer = server.ask("operator", f"model-versions/search?filter=name='{model}'")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json().get("model_versions", [])
    return found


@pytest.mark.attack(27)
async def test_alias_stage_and_description_that_somebody_set_are_named_and_set_right(
    server: MlflowServer, tracking: Tracking
) -> None:
    record, other = displayed("dressed up", "team.dressed"), displayed("untouched", "team.dressed")
    number, untouched = await released(tracking, record), await released(tracking, other)
    at = {"name": "team.dressed", "version": number}
    for verb, method, body in (
        ("registered-models/alias", "POST", {**at, "alias": "champion"}),
        ("registered-models/alias", "POST", {**at, "alias": "approved"}),
        ("model-versions/transition-stage", "POST", {**at, "stage": "Production", "archive_existing_versions": False}),
        ("model-versions/update", "PATCH", {**at, "description": "Approved for everything."}),
    ):
        answer = server.ask("operator", verb, body, method=method)
        assert answer.status_code == 200, answer.text
    for known in (False, True):
        wanted = ("alias approved", "alias champion", "description", "stage")
        assert await tracking.changed(record, known=known, recorded=True) == wanted
    assert await tracking.changed(other, known=True, recorded=True) == ()
    assert await released(tracking, record) == number
    assert await tracking.changed(record, known=True, recorded=True) == ()
    version = server.ask("exchange", f"model-versions/get?name=team.dressed&version={number}").json()["model_version"]
    assert (version["description"], version["current_stage"]) == ("what it is for", "None")
    model = server.ask("exchange", "registered-models/get?name=team.dressed").json()["registered_model"]
    assert "aliases" not in model
    assert untouched in {one["version"] for one in versions_of(server, "team.dressed")}


@pytest.mark.attack(27)
async def test_version_that_claims_a_release_and_points_elsewhere_is_named_and_taken_away(
    server: MlflowServer, tracking: Tracking
) -> None:
    record = displayed("claimed", "team.claimed")
    number = await released(tracking, record)
    forged = {"name": "team.claimed", "source": f"oci://registry:5000/elsewhere@{story.digest('e')}"}
    tags = [{"key": "gov.releaseUid", "value": "claimed"}, {"key": "gov.phase", "value": "Serving"}]
    for gone in (False, True):
        assert server.ask("operator", "model-versions/create", {**forged, "tags": tags}).status_code == 200
        if gone:
            at = {"name": "team.claimed", "version": number}
            assert server.ask("operator", "model-versions/delete", at, method="DELETE").status_code == 200
        wanted = ("gone", "source") if gone else ("source",)
        assert await tracking.changed(record, known=False, recorded=True) == wanted
        number = await released(tracking, record)
        assert [one["source"] for one in versions_of(server, "team.claimed")] == [record.source]
        assert await tracking.changed(record, known=True, recorded=True) == ()


@pytest.mark.attack(27)
async def test_version_or_run_that_was_deleted_is_gone_and_made_again(server: MlflowServer, tracking: Tracking) -> None:
    release = displayed("deleted", "team.deleted")
    number, run = await released(tracking, release), await recorded(tracking, record_of("deleted"))
    job = record_of("deleted", known_as=run)
    at = {"name": "team.deleted", "version": number}
    assert server.ask("operator", "model-versions/delete", at, method="DELETE").status_code == 200
    assert server.ask("operator", "runs/delete", {"run_id": run}).status_code == 200
    for record in (release, job):
        for before, wanted in ((True, ("gone",)), (False, ())):
            assert await tracking.changed(record, known=False, recorded=before) == wanted
    assert await released(tracking, release) != number
    again = await recorded(tracking, job)
    assert again != run
    for record in (release, record_of("deleted", known_as=again)):
        assert await tracking.changed(record, known=True, recorded=True) == ()


async def test_a_release_becomes_one_version_that_points_at_the_sealed_bytes(
    server: MlflowServer, tracking: Tracking
) -> None:
    run_id = await recorded(tracking, record_of("released"))
    record = ReleaseRecord(
        namespace="team", name="release", uid=story.RELEASE_UID, model="team.extractor",
        source=f"oci://registry:5000/team/job-11111111/adapter@{story.digest('c')}", run_id=run_id,
        description="what it is for", tags={"gov.phase": "PendingApproval", "gov.releaseDigest": story.digest("4")},
    )  # fmt: skip
    number = await released(tracking, record)
    serving = dataclasses.replace(record, tags={**record.tags, "gov.phase": "Serving"})
    assert await released(tracking, serving) == number
    other = dataclasses.replace(record, uid="another release")
    assert await released(tracking, other) != number
    version = server.ask("exchange", f"model-versions/get?name=team.extractor&version={number}").json()["model_version"]
    assert version["source"] == record.source
    assert version["run_id"] == run_id
    assert values(version["tags"])["gov.phase"] == "Serving"


@pytest.mark.attack(27, 64)
@pytest.mark.parametrize("tag", ["mlflow.prompt.is_prompt", "somebodys"])
async def test_a_model_name_that_somebody_took_is_named_and_one_version_stands_beside_it(
    server: MlflowServer, tracking: Tracking, tag: str
) -> None:
    model = f"team.taken-{tag.rpartition('.')[2]}"
    squat = {"name": model, "tags": [{"key": tag, "value": "true"}]}
    assert server.ask("operator", "registered-models/create", squat).status_code == 200
    record = displayed(f"beside {tag}", model)
    assert await tracking.changed(record, known=False, recorded=False) == (f"name {model}",)
    first = await tracking.record_release(record)
    assert first.name.startswith(f"{model}-")
    record = dataclasses.replace(record, known_as=first.name)
    assert await tracking.changed(record, known=True, recorded=True) == ()
    for known in (record, dataclasses.replace(record, known_as=None)):
        assert await tracking.record_release(known) == first
    other = await tracking.record_release(displayed(f"beside {tag} too", model))
    assert (other.name, other.identifier) == (first.name, "2")
    assert len(versions_of(server, first.name)) == 2
    assert versions_of(server, model) == []
    assert (
        "aliases" not in server.ask("exchange", f"registered-models/get?name={first.name}").json()["registered_model"]
    )


@pytest.mark.attack(27, 64)
async def test_a_model_that_was_renamed_or_replaced_is_named_and_goes_on(
    server: MlflowServer, tracking: Tracking
) -> None:
    record = displayed("renamed", "team.renamed")
    first = await tracking.record_release(record)
    rename = {"name": "team.renamed", "new_name": "team.elsewhere"}
    assert server.ask("operator", "registered-models/rename", rename).status_code == 200
    assert server.ask("operator", "registered-models/create", {"name": "team.renamed"}).status_code == 200
    record = dataclasses.replace(record, known_as=first.name)
    assert await tracking.changed(record, known=True, recorded=True) == ("name team.renamed",)
    assert (await tracking.record_release(record)).name == "team.elsewhere"
    assert versions_of(server, "team.renamed") == []


async def test_the_exchange_reads_and_writes_nothing(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await recorded(tracking, record_of("viewed"))
    assert run_of(server, run_id, "exchange")["info"]["run_id"] == run_id
    experiment = run_of(server, run_id)["info"]["experiment_id"]
    found = server.ask("exchange", "runs/search", {"experiment_ids": [experiment]})
    assert run_id in {run["info"]["run_id"] for run in found.json()["runs"]}
    for path, body in (
        ("runs/set-tag", {"run_id": run_id, "key": "x", "value": "y"}),
        ("experiments/create", {"name": "an exchange's"}),
        ("registered-models/create", {"name": "team.stolen", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "1"}]}),
        ("gateway/secrets/create", {"secret_name": "s", "secret_value": {"api_key": "k"}, "provider": "openai"}),
    ):  # fmt: skip
        assert server.ask("exchange", path, body).status_code == 403, path
    for path in ("users/get?username=tunegate-operator", "users/list"):
        assert server.ask("exchange", path).status_code == 403, path


@pytest.mark.attack(64, 71)
def test_no_address_of_mlflow_lets_anybody_but_the_operator_write(server: MlflowServer) -> None:
    routes = server.routes()
    writing = [(path, method) for path, method in routes if method in ("POST", "PUT", "PATCH", "DELETE")]
    assert len(writing) > 100
    let_through = set()
    for path, method in writing:
        status = server.request("exchange", method, path, {}).status_code
        if status != 403:
            let_through.add((path.rpartition("/")[2], method))
    reading = ("search", "graphql", "search-datasets", "get-latest-versions")
    assert let_through <= {(name, "POST") for name in reading}


async def test_while_mlflow_is_down_nothing_is_lost(server: MlflowServer, tracking: Tracking) -> None:
    running = record_of("outage", phase="Training", completionTime=None)
    run_id = await recorded(tracking, running)
    server.stop()
    try:
        with pytest.raises(TrackingUnavailable, match="MLflow at https://localhost") as first:
            await recorded(tracking, record_of("outage"))
        with pytest.raises(TrackingUnavailable) as second:
            await recorded(tracking, record_of("outage"))
        # The message goes into a condition: it must not differ from try to try.
        assert str(first.value) == str(second.value)
    finally:
        server.start()
    assert await recorded(tracking, record_of("outage", known_as=run_id)) == run_id
    assert run_of(server, run_id)["info"]["status"] == "FINISHED"


def test_making_the_users_again_changes_nothing(server: MlflowServer) -> None:
    assert server.make_users() == ""
