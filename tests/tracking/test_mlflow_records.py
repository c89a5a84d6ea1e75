"""Records in a real MLflow with users and TLS: what is written, by whom, how often, and after an outage."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.governance.ledgers import new_key
from tests.tracking import story
from tests.tracking.mlflow_process import MlflowServer
from tunegate.ledger.anchors import Checkpoint, MlflowAnchor
from tunegate.ledger.seal import KeyRing, seal
from tunegate.reconcile.lineage import job_record
from tunegate.tracking.mlflow import Tracking, TrackingUnavailable
from tunegate.tracking.records import JobRecord, ReleaseRecord

pytestmark = pytest.mark.timeout(600)


def record_of(uid: str = story.UID, **status: Any) -> JobRecord:
    return dataclasses.replace(job_record(story.finished_job(**status), story.results()), uid=uid)


def run_of(server: MlflowServer, run_id: str, user: str = "operator") -> dict[str, Any]:
    answer = server.ask(user, f"runs/get?run_id={run_id}")
    assert answer.status_code == 200, answer.text
    run: dict[str, Any] = answer.json()["run"]
    return run


def values(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in entries}


async def test_a_job_becomes_one_run_however_often_it_is_recorded(server: MlflowServer, tracking: Tracking) -> None:
    record = record_of("once")
    run_id = await tracking.record_job(record)
    assert await tracking.record_job(record) == run_id
    again = dataclasses.replace(record, tags={**record.tags, "tunegate.phase": "Succeeded again"})
    assert await tracking.record_job(again) == run_id
    run = run_of(server, run_id)
    assert run["info"]["status"] == "FINISHED"
    assert values(run["data"]["params"])["dataset.digest"] == story.digest("3")
    assert values(run["data"]["metrics"])["result.Tuned.ExactMatch"] == 0.795
    assert values(run["data"]["tags"])["tunegate.phase"] == "Succeeded again"
    history = server.ask("operator", f"metrics/get-history?run_id={run_id}&metric_key=result.train.loss").json()
    assert [(point["step"], point["value"]) for point in history["metrics"]] == [(1, 2.0), (30, 1.0), (60, 0.4)]


async def test_data_sets_and_result_documents_are_shown_with_the_run(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await tracking.record_job(record_of("reports"))
    run = run_of(server, run_id)
    inputs = run["inputs"]["dataset_inputs"]
    assert {"key": "tunegate.digest", "value": story.digest("3")} in [tag for entry in inputs for tag in entry["tags"]]
    files = server.ask("operator", f"artifacts/list?run_id={run_id}&path=reports").json()["files"]
    assert {Path(file["path"]).name for file in files} == {f"{name}.json" for name in story.results()}
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
    try:
        assert await MlflowAnchor(nowhere, KeyRing(new_key())).read() == []
    finally:
        nowhere.close()


async def test_no_question_of_the_gate_is_shown(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await tracking.record_job(record_of("gate"))
    place = next((server.folder / "artifacts").rglob(f"{run_id}/artifacts/reports/evaluate.json"))
    assert story.GATE_QUESTION in story.results()["evaluate"].model_dump_json()
    assert story.GATE_QUESTION not in place.read_text()
    assert "probe" not in json.loads(place.read_text())


async def test_the_operator_joins_the_run_that_a_stage_began(server: MlflowServer, tracking: Tracking) -> None:
    found = server.ask("stage-team", "experiments/get-by-name?experiment_name=tunegate/team").json()
    body = {
        "experiment_id": found["experiment"]["experiment_id"],
        "tags": [{"key": "tunegate.jobUid", "value": "begun"}],
        "start_time": 1,
    }
    begun = server.ask("stage-team", "runs/create", body).json()["run"]["info"]["run_id"]
    metric = {"run_id": begun, "key": "loss", "value": 1.5, "timestamp": 1, "step": 1}
    assert server.ask("stage-team", "runs/log-metric", metric).status_code == 200
    assert await tracking.record_job(record_of("begun")) == begun


@pytest.mark.attack(27)
async def test_a_tag_that_somebody_changed_is_set_right(server: MlflowServer, tracking: Tracking) -> None:
    record = record_of("drift")
    run_id = await tracking.record_job(record)
    tag = {"run_id": run_id, "key": "tunegate.gate", "value": "Pass with honors"}
    assert server.ask("stage-team", "runs/set-tag", tag).status_code == 200
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
    number = await tracking.record_release(record)
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
    number, untouched = await tracking.record_release(record), await tracking.record_release(other)
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
    assert await tracking.record_release(record) == number
    assert await tracking.changed(record, known=True, recorded=True) == ()
    version = server.ask("viewer", f"model-versions/get?name=team.dressed&version={number}").json()["model_version"]
    assert (version["description"], version["current_stage"]) == ("what it is for", "None")
    model = server.ask("viewer", "registered-models/get?name=team.dressed").json()["registered_model"]
    assert "aliases" not in model
    assert untouched in {one["version"] for one in versions_of(server, "team.dressed")}


@pytest.mark.attack(27)
async def test_version_that_claims_a_release_and_points_elsewhere_is_named_and_taken_away(
    server: MlflowServer, tracking: Tracking
) -> None:
    record = displayed("claimed", "team.claimed")
    number = await tracking.record_release(record)
    forged = {"name": "team.claimed", "source": f"oci://registry:5000/elsewhere@{story.digest('e')}"}
    tags = [{"key": "gov.releaseUid", "value": "claimed"}, {"key": "gov.phase", "value": "Serving"}]
    for gone in (False, True):
        assert server.ask("operator", "model-versions/create", {**forged, "tags": tags}).status_code == 200
        if gone:
            at = {"name": "team.claimed", "version": number}
            assert server.ask("operator", "model-versions/delete", at, method="DELETE").status_code == 200
        wanted = ("gone", "source") if gone else ("source",)
        assert await tracking.changed(record, known=False, recorded=True) == wanted
        number = await tracking.record_release(record)
        assert [one["source"] for one in versions_of(server, "team.claimed")] == [record.source]
        assert await tracking.changed(record, known=True, recorded=True) == ()


@pytest.mark.attack(27)
async def test_version_or_run_that_was_deleted_is_gone_and_made_again(server: MlflowServer, tracking: Tracking) -> None:
    release, job = displayed("deleted", "team.deleted"), record_of("deleted")
    number, run = await tracking.record_release(release), await tracking.record_job(job)
    at = {"name": "team.deleted", "version": number}
    assert server.ask("operator", "model-versions/delete", at, method="DELETE").status_code == 200
    assert server.ask("operator", "runs/delete", {"run_id": run}).status_code == 200
    for record in (release, job):
        for recorded, wanted in ((True, ("gone",)), (False, ())):
            assert await tracking.changed(record, known=False, recorded=recorded) == wanted
    assert await tracking.record_release(release) != number
    assert await tracking.record_job(job) != run
    for record in (release, job):
        assert await tracking.changed(record, known=True, recorded=True) == ()


async def test_a_release_becomes_one_version_that_points_at_the_sealed_bytes(
    server: MlflowServer, tracking: Tracking
) -> None:
    run_id = await tracking.record_job(record_of("released"))
    record = ReleaseRecord(
        namespace="team", name="release", uid=story.RELEASE_UID, model="team.extractor",
        source=f"oci://registry:5000/team/job-11111111/adapter@{story.digest('c')}", run_id=run_id,
        description="what it is for", tags={"gov.phase": "PendingApproval", "gov.releaseDigest": story.digest("4")},
    )  # fmt: skip
    number = await tracking.record_release(record)
    serving = dataclasses.replace(record, tags={**record.tags, "gov.phase": "Serving"})
    assert await tracking.record_release(serving) == number
    other = dataclasses.replace(record, uid="another release")
    assert await tracking.record_release(other) != number
    version = server.ask("viewer", f"model-versions/get?name=team.extractor&version={number}").json()["model_version"]
    assert version["source"] == record.source
    assert version["run_id"] == run_id
    assert values(version["tags"])["gov.phase"] == "Serving"


@pytest.mark.attack(28)
async def test_a_stage_can_touch_neither_registered_models_nor_other_experiments(
    server: MlflowServer, tracking: Tracking
) -> None:
    assert server.ask("stage-team", "registered-models/create", {"name": "team.stolen"}).status_code == 403
    await tracking.record_release(
        ReleaseRecord("team", "r", "u", "team.governed", "oci://r/x@sha256:1", None, "", {"gov.phase": "Denied"})
    )
    version = {"name": "team.governed", "version": "1", "key": "gov.phase", "value": "Serving"}
    assert server.ask("stage-team", "model-versions/set-tag", version).status_code == 403
    elsewhere = server.ask("operator", "experiments/create", {"name": "tunegate/other-team"}).json()["experiment_id"]
    assert server.ask("stage-team", "runs/create", {"experiment_id": elsewhere}).status_code == 403
    assert server.ask("stage-team", f"experiments/get?experiment_id={elsewhere}").status_code == 403


async def test_a_viewer_reads_and_writes_nothing(server: MlflowServer, tracking: Tracking) -> None:
    run_id = await tracking.record_job(record_of("viewed"))
    assert run_of(server, run_id, "viewer")["info"]["run_id"] == run_id
    tag = {"run_id": run_id, "key": "x", "value": "y"}
    assert server.ask("viewer", "runs/set-tag", tag).status_code == 403


async def test_while_mlflow_is_down_nothing_is_lost(server: MlflowServer, tracking: Tracking) -> None:
    running = record_of("outage", phase="Training", completionTime=None)
    run_id = await tracking.record_job(running)
    server.stop()
    try:
        with pytest.raises(TrackingUnavailable, match="MLflow at https://localhost") as first:
            await tracking.record_job(record_of("outage"))
        with pytest.raises(TrackingUnavailable) as second:
            await tracking.record_job(record_of("outage"))
        # The message goes into a condition: it must not differ from try to try.
        assert str(first.value) == str(second.value)
    finally:
        server.start()
    assert await tracking.record_job(record_of("outage")) == run_id
    assert run_of(server, run_id)["info"]["status"] == "FINISHED"


def test_making_the_users_again_changes_nothing_and_a_namespace_that_left_loses_its_user(server: MlflowServer) -> None:
    assert "made user" not in server.make_users(["team"])
    (server.folder / "passwords" / "stage-late").write_text("late-password-1234")
    assert "made user tunegate-stage-late" in server.make_users(["team", "late"])
    assert "removed tunegate-stage-late" in server.make_users(["team"])
