"""Jobs that must not train: the installed operator and real pods stop each at validation, with a reason and what to do.

Runs after the demo, whose catalogue, base model and data it uses. Bad files are put where the data claim lies on this node;
the object store listens on the pods' gateway, which is this node.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faults import TEAM
from tests.e2e.test_demo_under_faults import ADMIN
from tests.programs import program
from tests.trainer.model_folder import make_adapter
from tests.trainer.object_store import running_store, secret
from tunegate.reconcile.naming import JOB_LABEL
from tunegate_local.settings import GATEWAY, STATE

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(900)]
Json = dict[str, Any]
CLAIM = "licenses-data"


def kubectl(*arguments: str, document: Json | None = None) -> str:
    """Run kubectl as the administrator and return what it prints."""
    command = [program("kubectl"), f"--kubeconfig={ADMIN}", *arguments]
    text = None if document is None else json.dumps(document)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def volume() -> Iterator[Path]:
    """A folder of this test's own on the data claim."""
    claim = json.loads(kubectl("-n", TEAM, "get", "pvc", CLAIM, "-o", "json"))
    spec = json.loads(kubectl("get", "pv", claim["spec"]["volumeName"], "-o", "json"))["spec"]
    folder = Path(spec["hostPath"]["path"]) / f"stopped-{secrets.token_hex(3)}"
    folder.mkdir()
    rows = (folder.parent / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "broken.jsonl").write_text("".join([*rows[:6], '{"messages": [\n', *rows[6:]]))
    (folder / "few.jsonl").write_text("".join(rows[:60]))
    make_adapter(folder / "adapter", r=64, use_dora=True)
    yield folder
    subprocess.run(["rm", "-r", str(folder)], check=True)


@pytest.fixture(scope="module")
def finished() -> Json:
    """The job of the demo, as a pattern for jobs that go wrong."""
    jobs: list[Json] = json.loads(kubectl("-n", TEAM, "get", "finetunejobs", "-o", "json"))["items"]
    done = [job for job in jobs if job["status"].get("phase") == "Succeeded"]
    assert done, "the demo has to run before: its job is the pattern"
    return done[-1]


def submit(finished: Json, name: str, **changes: Any) -> None:
    """Create a job like the demo's, in the administrator's own name."""
    spec = {**finished["spec"], "requestedBy": {"username": "petra", "groups": ["tunegate:platform-admins"]}, **changes}
    spec["dataset"].pop("digest", None)
    metadata = {"name": name, "namespace": TEAM}
    document = {"apiVersion": finished["apiVersion"], "kind": "FineTuneJob", "metadata": metadata, "spec": spec}
    kubectl("create", "-f", "-", document={**document, "spec": {k: v for k, v in spec.items() if v is not None}})


def awaited(name: str, seconds: float, look: Callable[[], Json | None]) -> Json:
    """Return what ``look`` finds at last; without it, the job of that name is described."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, kubectl("-n", TEAM, "describe", "finetunejob", name)
        time.sleep(1)
    return found


def status_of(name: str) -> Json:
    """Return the status of a job."""
    status: Json = json.loads(kubectl("-n", TEAM, "get", "finetunejob", name, "-o", "json")).get("status", {})
    return status


def end_of(name: str) -> Json:
    """Return the status of a job once it is over."""

    def ended() -> Json | None:
        status = status_of(name)
        return status if status.get("phase") in ("Succeeded", "Failed") else None

    return awaited(name, 600, ended)


def test_each_job_ends_at_validation_with_its_reason_and_what_to_do(volume: Path, finished: Json) -> None:
    run = volume.name
    dataset = finished["spec"]["dataset"]
    wrong: dict[str, tuple[Json, tuple[str, ...]]] = {
        "broken": (
            {"dataset": {**dataset, "uri": f"pvc://{CLAIM}/{run}/broken.jsonl"}},
            ("not JSON (rows 7)", "create a new job"),
        ),
        "few": (
            {"dataset": {**dataset, "uri": f"pvc://{CLAIM}/{run}/few.jsonl"}},
            ("needs at least 200", "create a new job"),
        ),
        "costly": ({"dataset": {**dataset}, "budget": {"maxCost": "0.000001"}}, ("the budget allows 0.000001", "create a new job")),
        "foreign": (
            {
                "dataset": {**dataset}, "source": "Import", "method": None,
                "adapter": {"uri": f"pvc://{CLAIM}/{run}/adapter"},
            },
            ("rank 64", "DoRA", "create a new job"),
        ),
    }  # fmt: skip
    for name, (changes, _) in wrong.items():
        submit(finished, f"{run}-{name}", **changes)
    for name, (_, words) in wrong.items():
        status = end_of(f"{run}-{name}")
        assert status["phase"] == "Failed", name
        assert [stage["state"] for stage in status["stages"]] == ["Refused"] + ["Waiting"] * (len(status["stages"]) - 1)
        for word in words:
            assert word in status["message"], f"{name}: {status['message']}"


def test_a_validation_whose_pod_is_killed_is_done_again_and_finds_the_same(volume: Path, finished: Json) -> None:
    name = f"{volume.name}-killed"
    submit(finished, name, budget={"maxCost": "0.000001"})
    pod = running_pod_of(name)
    kubectl("-n", TEAM, "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
    status = end_of(name)

    validate = status["stages"][0]
    assert (validate["attempt"], validate["disruptions"], validate["errors"]) == (2, 1, 0)
    assert "the budget allows 0.000001" in status["message"]
    assert status["dataset"] == finished["status"]["dataset"]


def running_pod_of(name: str) -> str:
    """Return the name of a job's pod as soon as its containers run."""

    def running() -> Json | None:
        pods = json.loads(kubectl("-n", TEAM, "get", "pods", "-l", f"{JOB_LABEL}={name}", "-o", "json"))["items"]
        return next((pod for pod in pods if pod["status"].get("phase") == "Running"), None)

    return str(awaited(name, 300, running)["metadata"]["name"])


def test_a_baseline_that_was_measured_before_is_taken_over(volume: Path, finished: Json) -> None:
    name = f"{volume.name}-again"
    # A pool without nodes: what comes after the baseline is not asked for here.
    server = json.loads(kubectl("-n", TEAM, "get", "modelserver", finished["spec"]["serverRef"], "-o", "json"))
    pool = json.loads(kubectl("get", "computepool", server["spec"]["poolRef"], "-o", "json"))
    spec = {**pool["spec"], "nodeSelector": {"kubernetes.io/hostname": name}}
    kind = {"apiVersion": pool["apiVersion"], "kind": pool["kind"]}
    kubectl("create", "-f", "-", document={**kind, "metadata": {"name": name}, "spec": spec})
    submit(finished, name, poolRef=name, baseline={"reuse": True})

    def baselined() -> Json | None:
        stages = status_of(name).get("stages", [])
        return next((one for one in stages if (one["name"], one["state"]) == ("baseline", "Done")), None)

    measured = awaited(name, 300, baselined)
    kubectl("-n", TEAM, "delete", "finetunejob", name)
    kubectl("delete", "computepool", name)

    first = next(stage for stage in finished["status"]["stages"] if stage["name"] == "baseline")
    assert (measured["attempt"], measured["resultDigest"]) == (0, first["resultDigest"])
    assert finished["metadata"]["name"] in measured["message"]


def test_what_a_check_found_stands_nowhere(volume: Path, finished: Json) -> None:
    word, key = f"zebra{secrets.token_hex(6)}", f"AKIA{secrets.token_hex(8).upper()}"
    claim = volume.parent
    rows = (claim / "train.jsonl").read_text().splitlines()
    suite = json.loads(kubectl("-n", TEAM, "get", "evaluationsuite", finished["spec"]["suiteRef"], "-o", "json"))
    question = json.loads((claim / suite["spec"]["data"]["uri"].rpartition("/")[2]).open().readline())["messages"][:-1]
    planted = {
        "BrokenRows": f'{{"messages": "{word}',
        "ControlTokens": conversation(f"{word} <|im_start|>system", word),
        "Overlap": json.dumps({"messages": [*question, {"role": "assistant", "content": word}], "holder": word}),
        "Secrets": conversation(f"{word} aws_access_key_id={key}", word),
        "PersonalData": conversation(f"{word} writes from {word}@university.ac.uk", word),
    }
    (volume / "planted.jsonl").write_text("\n".join([*rows, *planted.values()]) + "\n")
    name = f"{volume.name}-planted"
    submit(finished, name, dataset={**finished["spec"]["dataset"], "uri": f"pvc://{CLAIM}/{volume.name}/planted.jsonl"})
    status = end_of(name)

    for number, check in enumerate(list(planted)[:-1], start=len(rows) + 1):
        assert re.search(rf"{check}: [^.]*\(rows {number}\)", status["message"]), (check, number, status["message"])
    places = [STATE / place for place in ("volumes", "pod-logs", "logs", "etcd")]
    command: list[str | Path] = ["grep", "-rlF", f"--exclude-dir={volume.name}", "-e", word, "-e", key, *places]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (1, ""), "text of a row stands in these files"


def conversation(question: str, answer: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns, "holder": answer})


def test_data_of_a_store_is_downloaded_and_judged_like_data_of_a_claim(
    volume: Path, finished: Json, tmp_path: Path
) -> None:
    name = f"{volume.name}-store"
    with running_store(tmp_path, address=GATEWAY) as store:
        store.put("training", "holders/train.jsonl", (volume.parent / "train.jsonl").read_bytes())
        metadata = {"name": name, "namespace": TEAM, "labels": {"tunegate.io/usable-by-jobs": "true"}}
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret(store.url)}
        kubectl("create", "-f", "-", document=document)
        dataset = {**finished["spec"]["dataset"], "uri": "s3://training/holders/train.jsonl", "secretName": name}
        submit(finished, name, dataset=dataset, budget={"maxCost": "0.000001"})
        status = end_of(name)
    kubectl("-n", TEAM, "delete", "secret", name)

    assert "the budget allows 0.000001" in status["message"]
    assert status["dataset"] == finished["status"]["dataset"]
