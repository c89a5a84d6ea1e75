"""People read runs and models in MLflow by RBAC: a real MLflow behind the exchange, two namespaces, each engineer sees theirs."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.exchange_site import OTHER, OWN, PROGRAMS, Site, running_site, unended
from tests.tracking import story
from tests.tracking.mlflow_process import PASSWORDS, MlflowServer
from tunegate.exchange.runs import LARGEST_QUESTION, PREFERENCES, RIGHT_SECONDS
from tunegate.reconcile.mlflow_records import job_record
from tunegate.tracking.mlflow import Login, Tracking
from tunegate.tracking.records import LEDGER_EXPERIMENT, ReleaseRecord

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
API = "/mlflow/ajax-api/2.0/mlflow"
Json = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """What MLflow has of a namespace."""

    namespace: str
    experiment: str
    run: str
    model: str


@dataclass(frozen=True)
class Door:
    """The exchange before MLflow, and what lies behind."""

    site: Site
    mlflow: MlflowServer
    own: Shown
    other: Shown

    def get(self, person: str, path: str, /, **query: Any) -> httpx.Response:
        return self.site.ask("GET", path, self.site.token(person), params=query)

    def post(self, person: str, path: str, body: Json) -> httpx.Response:
        return self.site.ask("POST", path, self.site.token(person), json=body)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    mlflow = MlflowServer.prepare(tmp_path_factory.mktemp("mlflow"))
    mlflow.start()
    settings = {
        "MLFLOW_URI": mlflow.uri, "CA_FILE": str(mlflow.ca_file),
        "MLFLOW_PASSWORD_FILE": str(mlflow.folder / "passwords/exchange"),
    }  # fmt: skip
    try:
        with running_site(tmp_path_factory.mktemp("site"), **settings) as site:
            own, other = written(mlflow)
            site.kubectl(
                "create", "rolebinding", "others", "--clusterrole=tunegate-requester", "--group=others", "-n", OTHER
            )
            yield Door(site, mlflow, own, other)
    finally:
        mlflow.stop()


def written(mlflow: MlflowServer) -> tuple[Shown, Shown]:
    tracking = Tracking(
        mlflow.uri, login=Login(mlflow.folder / "username", mlflow.folder / "password"), ca_file=mlflow.ca_file
    )

    async def of(namespace: str) -> Shown:
        record = dataclasses.replace(
            job_record(story.finished_job(), story.results()), namespace=namespace, uid=f"job-{namespace}"
        )
        run = await tracking.record_job(record)
        tags = {"gov.phase": "Approved"}
        model = f"{namespace}.holders"
        await tracking.record_release(
            ReleaseRecord(
                namespace, "r", f"release-{namespace}", model, "oci://r/a@sha256:1", run.identifier, "d", tags
            )
        )
        shown = mlflow.ask("operator", f"runs/get?run_id={run.identifier}").json()["run"]["info"]
        return Shown(namespace, shown["experiment_id"], run.identifier, model)

    async def both() -> tuple[Shown, Shown]:
        await tracking.record_checkpoint(1, "a checkpoint")
        return await of(OWN), await of(OTHER)

    return asyncio.run(both())


PEOPLE = [("engineer", "own", "other"), ("stranger", "other", "own")]
"""Who reads which of the two, and which not."""


@pytest.mark.parametrize(("person", "mine", "theirs"), PEOPLE)
def test_listings_hold_what_is_of_the_persons_namespace_and_nothing_else(
    door: Door, person: str, mine: str, theirs: str
) -> None:
    own, other = getattr(door, mine), getattr(door, theirs)
    found = door.post(person, f"{API}/experiments/search", {"max_results": 100}).json()["experiments"]
    assert [one["experiment_id"] for one in found] == [own.experiment]
    found = door.get(person, f"{API}/experiments/search", max_results=100).json()["experiments"]
    assert [one["experiment_id"] for one in found] == [own.experiment]
    both = {"experiment_ids": [own.experiment, other.experiment]}
    runs = door.post(person, f"{API}/runs/search", both).json()["runs"]
    assert [one["info"]["run_id"] for one in runs] == [own.run]
    assert door.post(person, f"{API}/runs/search", {"experiment_ids": [other.experiment]}).json().get("runs", []) == []
    models = door.get(person, f"{API}/registered-models/search").json()["registered_models"]
    assert [one["name"] for one in models] == [own.model]
    versions = door.get(person, f"{API}/model-versions/search").json()["model_versions"]
    assert [one["name"] for one in versions] == [own.model]
    filtered = {"filter": f"name='{other.model}'"}
    assert door.get(person, f"{API}/model-versions/search", **filtered).json().get("model_versions", []) == []
    data = door.post(person, f"{API}/experiments/search-datasets", both)
    assert data.status_code == 403, data.text
    data = door.post(person, f"{API}/experiments/search-datasets", {"experiment_ids": [own.experiment]})
    assert {one["experiment_id"] for one in data.json()["dataset_summaries"]} == {own.experiment}


def readings(one: Shown) -> list[tuple[str, Json]]:
    """Return every address by which pages and clients read one thing."""
    return [
        (f"{API}/experiments/get", {"experiment_id": one.experiment}),
        (f"{API}/experiments/get-by-name", {"experiment_name": f"tunegate/{one.namespace}"}),
        (f"{API}/runs/get", {"run_id": one.run}),
        (f"{API}/metrics/get-history", {"run_id": one.run, "metric_key": "result.train.loss"}),
        (f"{API}/metrics/get-history-bulk", {"run_id": one.run, "metric_key": "result.train.loss"}),
        (f"{API}/metrics/get-history-bulk-interval", {"run_ids": one.run, "metric_key": "result.train.loss"}),
        (f"{API}/artifacts/list", {"run_id": one.run, "path": "reports"}),
        (f"{API}/registered-models/get", {"name": one.model}),
        (f"{API}/registered-models/get-latest-versions", {"name": one.model}),
        (f"{API}/model-versions/get", {"name": one.model, "version": "1"}),
        (f"{API}/model-versions/get-download-uri", {"name": one.model, "version": "1"}),
        ("/mlflow/get-artifact", {"run_uuid": one.run, "path": "reports/train.json"}),
        (
            f"/mlflow/ajax-api/2.0/mlflow-artifacts/artifacts/{one.experiment}/{one.run}/artifacts/reports/train.json",
            {},
        ),
        ("/mlflow/api/2.0/mlflow-artifacts/artifacts", {"path": f"{one.experiment}/{one.run}/artifacts/reports"}),
        ("/mlflow/api/2.0/mlflow/runs/get", {"run_id": one.run}),
    ]


@pytest.mark.attack(80)
@pytest.mark.parametrize(("person", "mine", "theirs"), PEOPLE)
def test_a_persons_own_things_are_read_and_those_of_another_namespace_are_refused(
    door: Door, person: str, mine: str, theirs: str
) -> None:
    for path, query in readings(getattr(door, mine)):
        answer = door.get(person, path, **query)
        assert answer.status_code == 200, (path, answer.text)
    for path, query in readings(getattr(door, theirs)):
        answer = door.get(person, path, **query)
        assert answer.status_code in {403, 404}, (path, answer.text)
    model = getattr(door, theirs).model
    assert door.get(person, "/mlflow/model-versions/get-artifact", name=model, version="1", path="x").status_code == 403


QUERIES = {
    "GetRun": "query GetRun($data: MlflowGetRunInput!) { mlflowGetRun(input: $data) { run { info { runUuid } modelVersions { name } } } }",
    "GetExperiment": "query GetExperiment($data: MlflowGetExperimentInput!) { mlflowGetExperiment(input: $data) { experiment { name } } }",
    "SearchRuns": "query SearchRuns($data: MlflowSearchRunsInput!) { mlflowSearchRuns(input: $data) { runs { info { runUuid } } } }",
    "GetMetricHistoryBulkInterval": (
        "query GetMetricHistoryBulkInterval($data: MlflowGetMetricHistoryBulkIntervalInput!)"
        " { mlflowGetMetricHistoryBulkInterval(input: $data) { metrics { value runId } } }"
    ),
}


@pytest.mark.attack(80)
def test_graphql_which_pages_use_tells_nothing_of_another_namespace(door: Door) -> None:
    def asked(name: str, data: Json) -> Any:
        body = {"operationName": name, "query": QUERIES[name], "variables": {"data": data}}
        answer = door.post("engineer", "/mlflow/graphql", body)
        assert answer.status_code == 200, answer.text
        return next(iter(answer.json()["data"].values()))

    own, other = door.own, door.other
    run = asked("GetRun", {"runId": own.run})["run"]
    assert (run["info"]["runUuid"], [one["name"] for one in run["modelVersions"]]) == (own.run, [own.model])
    assert asked("GetExperiment", {"experimentId": own.experiment})["experiment"]["name"] == f"tunegate/{OWN}"
    points = asked("GetMetricHistoryBulkInterval", {"runIds": [own.run], "metricKey": "result.train.loss"})["metrics"]
    assert [one["value"] for one in points] == [2.0, 1.0, 0.4]
    found = asked("SearchRuns", {"experimentIds": [own.experiment, other.experiment]})["runs"]
    assert [one["info"]["runUuid"] for one in found] == [own.run]
    assert asked("GetRun", {"runId": other.run}) is None
    assert asked("GetExperiment", {"experimentId": other.experiment}) is None
    assert asked("GetMetricHistoryBulkInterval", {"runIds": [own.run, other.run], "metricKey": "x"}) is None
    assert asked("SearchRuns", {"experimentIds": [other.experiment]}) is None


@pytest.mark.attack(80)
def test_nobody_writes_by_the_door_and_nothing_besides_runs_and_models_is_opened(door: Door) -> None:
    run = door.own.run
    for path, body in (
        ("runs/set-tag", {"run_id": run, "key": "x", "value": "y"}), ("runs/delete", {"run_id": run}),
        ("runs/update", {"run_id": run, "run_name": "x"}), ("experiments/create", {"name": "tunegate/x"}),
        ("experiments/delete", {"experiment_id": door.own.experiment}), ("registered-models/create", {"name": "x"}),
        ("model-versions/set-tag", {"name": door.own.model, "version": "1", "key": "gov.phase", "value": "x"}),
        ("logged-models", {"experiment_id": door.own.experiment}), ("traces/search", {"experiment_ids": ["0"]}),
        ("users/create", {"username": "x", "password": "a long password"}),
    ):  # fmt: skip
        assert door.post("engineer", f"{API}/{path}", body).status_code == 403, path
    for path in (
        "users/list",
        "users/get?username=tunegate-operator",
        "../../ajax-api/3.0/mlflow/gateway/secrets/list",
        "webhooks",
    ):
        assert door.get("engineer", f"{API}/{path}").status_code in {403, 404}, path
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert door.site.ask(method, f"{API}/runs/get", door.site.token("engineer")).status_code == 405, method


@pytest.mark.attack(80)
def test_neither_header_nor_password_of_the_caller_opens_more(door: Door) -> None:
    forged = {"X-Tunegate-Namespaces": "*", "Cookie": "session=x", "Host": "tunegate-mlflow:5000"}
    answer = door.site.ask(
        "GET", f"{API}/runs/get", door.site.token("engineer"), params={"run_id": door.other.run}, headers=forged
    )
    assert answer.status_code == 403
    login = httpx.BasicAuth("tunegate-operator", PASSWORDS["operator"])
    assert httpx.get(f"{door.site.url}{API}/runs/get", auth=login, trust_env=False).status_code == 401
    for named in ("", f"{OWN},,{OTHER}", "../x", None):
        assert (
            door.mlflow.request(
                "exchange", "GET", f"/api/2.0/mlflow/runs/get?run_id={door.own.run}", namespaces=named
            ).status_code
            == 403
        )


@pytest.mark.attack(78)
def test_a_question_without_an_end_is_refused_when_it_is_too_long(door: Door) -> None:
    sent = b"x" * (LARGEST_QUESTION + 1)
    assert unended(door.site, f"{API}/runs/search", door.site.token("engineer"), sent) == 413


def test_an_auditor_reads_all_namespaces_and_the_ledgers_checkpoint(door: Door) -> None:
    found = door.post("auditor", f"{API}/experiments/search", {"max_results": 100}).json()["experiments"]
    assert {f"tunegate/{OWN}", f"tunegate/{OTHER}", LEDGER_EXPERIMENT} <= {one["name"] for one in found}


def test_anyone_without_the_right_is_told_which_one_they_lack(door: Door) -> None:
    refused = door.get("reviewer", "/mlflow/")
    assert refused.status_code == 403
    assert "ravi may not get runs.tunegate.io in any governed namespace" in refused.json()["error"]["message"]
    assert door.site.ask("GET", "/mlflow/", None).status_code == 401


def scripts_of(mlflow: MlflowServer) -> str:
    """Return MLflow's own pages as text."""
    (folder,) = mlflow.venv.glob("lib/python*/site-packages/mlflow/server/js/build/static/js")
    return "".join(file.read_text() for file in folder.glob("*.js"))


def test_pages_open_without_a_banner_and_load_what_they_name(door: Door) -> None:
    page = door.get("engineer", "/mlflow/")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert '"mlflow.telemetry.info.alert.dismissed_v1": "true"' in page.text
    scripts = scripts_of(door.mlflow)
    assert [name for name in PREFERENCES if name.removesuffix("_v1") not in scripts] == []
    script = page.text.partition('src="')[2].partition('"')[0]
    assert door.get("engineer", f"/mlflow/{script}").status_code == 200
    assert door.get("engineer", "/mlflow/ajax-api/3.0/mlflow/ui-telemetry").json()["disable_ui_telemetry"] is True
    assert door.get("engineer", f"{API}/users/current").json()["user"]["username"] == f"reader of {OWN}"
    assert door.site.ask("GET", "/mlflow", door.site.token("engineer")).headers["Location"] == "mlflow/"


def test_each_opening_is_logged_with_the_person_and_no_credential(door: Door) -> None:
    door.get("engineer", f"{API}/runs/get", run_id=door.own.run)
    opened = [one for one in door.site.events("RunsOpened") if one["person"] == "erin"]
    assert [one["namespaces"] for one in opened] == [OWN]
    text = door.site.log.read_text()
    assert door.site.token("engineer") not in text
    assert PASSWORDS["exchange"] not in text


@pytest.mark.attack(80)
def test_a_right_that_is_taken_away_closes_the_door_within_a_minute_and_a_new_one_opens_it(door: Door) -> None:
    who = f"{OWN}:pipeline"
    door.site.kubectl(
        "create", "rolebinding", "reads-runs", "--clusterrole=tunegate-requester", f"--serviceaccount={who}", "-n", OWN
    )
    token = door.site.account_token(OWN, "pipeline")

    def status() -> int:
        return door.site.ask("GET", f"{API}/runs/get", token, params={"run_id": door.own.run}).status_code

    assert status() == 200
    door.site.kubectl("delete", "rolebinding", "reads-runs", "-n", OWN)
    taken = time.monotonic()
    while status() == 200:
        time.sleep(1)
        assert time.monotonic() - taken < 60
    assert status() == 403
    assert RIGHT_SECONDS < 60


def test_what_the_operator_makes_later_is_seen_soon(door: Door) -> None:
    name = f"{OWN}.later"
    tags = [{"key": "gov.managedBy", "value": "tunegate"}, {"key": "gov.standsFor", "value": name}]
    assert door.mlflow.ask("operator", "registered-models/create", {"name": name, "tags": tags}).status_code == 200
    deadline = time.monotonic() + 60
    while door.get("engineer", f"{API}/registered-models/get", name=name).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert door.get("stranger", f"{API}/registered-models/get", name=name).status_code == 403


def test_a_person_opens_mlflow_on_their_machine_by_one_command_and_nobody_else_there_reads_it(door: Door) -> None:
    command = [
        sys.executable, "-m", "tunegate.cli", "mlflow", "--no-browser", "-n", OWN, "--registry-plain-http",
        "--exchange", door.site.url.removeprefix("http://"),
    ]  # fmt: skip
    environment = {**os.environ, "KUBECONFIG": door.site.plane.kubeconfig("engineer"), "PYTHONPATH": str(PROGRAMS)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        base = address.partition("/?")[0]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?key=[\w-]{32}#/experiments", address)
        assert httpx.get(base, trust_env=False).status_code == 403
        assert httpx.get(f"{base}/?key=wrong", trust_env=False).status_code == 403
        assert httpx.get(address, headers={"Host": "evil.example"}, trust_env=False).status_code == 403
        with httpx.Client(base_url=base, trust_env=False, timeout=60) as browser:
            assert "location.replace('/' + location.hash)" in browser.get(address).raise_for_status().text
            page = browser.get("/")
            assert page.status_code == 200
            assert "<title>MLflow</title>" in page.text
            assert httpx.get(address, trust_env=False).status_code == 403, "the address opens once"
            found = browser.post("/ajax-api/2.0/mlflow/runs/search", json={"experiment_ids": [door.own.experiment]})
            assert [one["info"]["run_id"] for one in found.json()["runs"]] == [door.own.run]
            hidden = browser.get("/ajax-api/2.0/mlflow/runs/get", params={"run_id": door.other.run})
            assert hidden.status_code == 403
            report = browser.get("/get-artifact", params={"run_uuid": door.own.run, "path": "reports/train.json"})
            assert report.json()["steps"] == 60
        assert httpx.post(f"{base}/ajax-api/2.0/mlflow/runs/search", json={}, trust_env=False).status_code == 403
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()


def test_the_command_says_whose_right_is_missing(door: Door) -> None:
    command = [
        sys.executable, "-m", "tunegate.cli", "mlflow", "--no-browser", "--registry-plain-http",
        "--exchange", door.site.url.removeprefix("http://"),
    ]  # fmt: skip
    environment = {**os.environ, "KUBECONFIG": door.site.plane.kubeconfig("reviewer"), "PYTHONPATH": str(PROGRAMS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "ravi may not get runs.tunegate.io in any governed namespace" in done.stderr
