"""Jobs that must not train: the installed operator and real pods stop each at validation, with a reason and what to do.

Runs after the demo, whose catalogue, base model and data it uses. Bad files are put where the data claim lies on this node;
the object store listens on the pods' gateway, which is this node. All jobs are submitted first and run beside each other.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.administrator import kubectl
from tests.e2e.faults import TEAM
from tests.support.model_folder import make_adapter
from tests.support.object_store import running_store, secret
from tunegate.reconcile.naming import JOB_LABEL
from tunegate_local.settings import GATEWAY, STATE

pytestmark = [pytest.mark.e2e, pytest.mark.cluster, pytest.mark.timeout(900)]
Json = dict[str, Any]
CLAIM = "licenses-data"
COSTLY = {"maxCost": "0.000001"}
TOO_COSTLY = "the budget allows 0.000001"


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
    (folder / "manuals").mkdir()
    (folder / "manuals" / "scan.pdf").write_bytes(b"%PDF-1.7")
    yield folder
    subprocess.run(["rm", "-r", str(folder)], check=True)


@pytest.fixture(scope="module")
def finished() -> Json:
    """The job of the demo, as a pattern for jobs that go wrong."""
    jobs: list[Json] = json.loads(kubectl("-n", TEAM, "get", "finetunejobs", "-o", "json"))["items"]
    its = [job for job in jobs if job["spec"]["dataset"]["uri"].startswith(f"pvc://{CLAIM}/")]
    done = [job for job in its if job["status"].get("phase") == "Succeeded"]
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


def running_pod_of(name: str) -> str:
    """Return the name of a job's pod as soon as its containers run."""

    def running() -> Json | None:
        pods = json.loads(kubectl("-n", TEAM, "get", "pods", "-l", f"{JOB_LABEL}={name}", "-o", "json"))["items"]
        return next((pod for pod in pods if pod["status"].get("phase") == "Running"), None)

    return str(awaited(name, 300, running)["metadata"]["name"])


@dataclass(frozen=True)
class Planted:
    """Rows at the end of otherwise good data, each for one check, with words that stand nowhere else."""

    first: int
    rows: dict[str, str]
    words: tuple[str, str]


@pytest.fixture(scope="module")
def planted(volume: Path, finished: Json) -> Planted:
    word, key = f"zebra{secrets.token_hex(6)}", f"AKIA{secrets.token_hex(8).upper()}"
    claim = volume.parent
    rows = (claim / "train.jsonl").read_text().splitlines()
    suite = json.loads(
        kubectl("-n", TEAM, "get", "evaluationsuite", finished["spec"]["suiteRef"]["name"], "-o", "json")
    )
    question = json.loads((claim / suite["spec"]["data"]["uri"].rpartition("/")[2]).open().readline())["messages"][:-1]
    bad = {
        "BrokenRows": f'{{"messages": "{word}',
        "ControlTokens": conversation(f"{word} <|im_start|>system", word),
        "Overlap": json.dumps({"messages": [*question, {"role": "assistant", "content": word}], "holder": word}),
        "Secrets": conversation(f"{word} aws_access_key_id={key}", word),
        "PersonalData": conversation(f"{word} writes from {word}@university.ac.uk", word),
    }
    (volume / "planted.jsonl").write_text("\n".join([*rows, *bad.values()]) + "\n")
    return Planted(len(rows) + 1, bad, (word, key))


def conversation(question: str, answer: str) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns, "holder": answer})


@pytest.fixture(scope="module")
def store(volume: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The data of the demo in an object store; yields the Secret that opens it."""
    name = f"{volume.name}-store"
    with running_store(tmp_path_factory.mktemp("store"), address=GATEWAY) as running:
        running.put("training", "holders/train.jsonl", (volume.parent / "train.jsonl").read_bytes())
        running.put("training", "manuals/holders.md", b"# Holders\n\nWhoever wrote it holds it.\n")
        metadata = {"name": name, "namespace": TEAM, "labels": {"tunegate.io/usable-by-jobs": "true"}}
        document = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret(running.url)}
        kubectl("create", "-f", "-", document=document)
        yield name
        kubectl("-n", TEAM, "delete", "secret", name)


@pytest.fixture(scope="module")
def pool_without_nodes(volume: Path, finished: Json) -> Iterator[str]:
    """A pool like the demo's, on which nothing can start."""
    server = json.loads(kubectl("-n", TEAM, "get", "modelserver", finished["spec"]["serverRef"]["name"], "-o", "json"))
    pool = json.loads(kubectl("get", "computepool", server["spec"]["poolRef"]["name"], "-o", "json"))
    spec = {**pool["spec"], "nodeSelector": {"kubernetes.io/hostname": volume.name}}
    kind = {"apiVersion": pool["apiVersion"], "kind": pool["kind"]}
    kubectl("create", "-f", "-", document={**kind, "metadata": {"name": volume.name}, "spec": spec})
    yield volume.name
    kubectl("delete", "computepool", volume.name)


@pytest.fixture(scope="module")
def run(volume: Path, finished: Json, planted: Planted, store: str, pool_without_nodes: str) -> str:
    """Submit every job, and return what their names begin with. The first one's pod is killed as soon as it runs."""
    name, dataset = volume.name, finished["spec"]["dataset"]

    def file(path: str) -> Json:
        return {**dataset, "uri": f"pvc://{CLAIM}/{name}/{path}"}

    submit(finished, f"{name}-killed", budget=COSTLY)
    pod = running_pod_of(f"{name}-killed")
    kubectl("-n", TEAM, "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
    submit(finished, f"{name}-broken", dataset=file("broken.jsonl"))
    submit(finished, f"{name}-few", dataset=file("few.jsonl"))
    submit(finished, f"{name}-costly", budget=COSTLY)
    foreign = {"source": "Import", "method": None, "adapter": {"uri": f"pvc://{CLAIM}/{name}/adapter"}}
    submit(finished, f"{name}-foreign", **foreign)
    submit(finished, f"{name}-planted", dataset=file("planted.jsonl"))
    in_store = {**dataset, "uri": "s3://training/holders/train.jsonl", "secretName": store}
    manuals = {"documents": {"uri": "s3://training/manuals", "secretName": store}}
    submit(finished, f"{name}-store", dataset=in_store, baseline=manuals, budget=COSTLY)
    submit(finished, f"{name}-scanned", baseline={"documents": {"uri": f"pvc://{CLAIM}/{name}/manuals"}})
    submit(finished, f"{name}-again", poolRef={"name": pool_without_nodes}, baseline={"reuse": True})
    return name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", ("not JSON (rows 7)",)),
        ("few", ("needs at least 200",)),
        ("costly", (TOO_COSTLY,)),
        ("foreign", ("rank 64", "DoRA")),
    ],
)
def test_a_job_ends_at_validation_with_its_reason_and_what_to_do(run: str, name: str, words: tuple[str, ...]) -> None:
    status = end_of(f"{run}-{name}")

    assert status["phase"] == "Failed"
    assert [stage["state"] for stage in status["stages"]] == ["Refused"] + ["Waiting"] * (len(status["stages"]) - 1)
    for word in (*words, "create a new job"):
        assert word in status["message"]


def test_documents_that_are_no_text_end_the_job_by_their_name(run: str) -> None:
    status = end_of(f"{run}-scanned")

    assert (status["phase"], status["stages"][0]["reason"]) == ("Failed", "BadInput")
    assert "baseline.documents: scan.pdf is none of the .md, .markdown, .txt files" in status["message"]


def test_a_validation_whose_pod_is_killed_is_done_again_and_finds_the_same(run: str, finished: Json) -> None:
    status = end_of(f"{run}-killed")

    validate = status["stages"][0]
    assert (validate["attempt"], validate["disruptions"], validate["errors"]) == (2, 1, 0)
    assert TOO_COSTLY in status["message"]
    assert known(status) == known(finished["status"])


def known(status: Json) -> Json:
    """Return what is the same for every job with this data."""
    return {name: value for name, value in status["dataset"].items() if name != "statementDigest"}


def test_a_baseline_that_was_measured_before_is_taken_over(run: str, finished: Json) -> None:
    name = f"{run}-again"

    def baselined() -> Json | None:
        stages = status_of(name).get("stages", [])
        return next((one for one in stages if (one["name"], one["state"]) == ("Baseline", "Done")), None)

    measured = awaited(name, 600, baselined)
    kubectl("-n", TEAM, "delete", "finetunejob", name)

    first = next(stage for stage in finished["status"]["stages"] if stage["name"] == "Baseline")
    assert (measured["attempt"], measured["resultDigest"]) == (0, first["resultDigest"])
    assert finished["metadata"]["name"] in measured["message"]


def test_what_a_check_found_stands_nowhere(run: str, volume: Path, planted: Planted) -> None:
    status = end_of(f"{run}-planted")

    for number, check in enumerate(list(planted.rows)[:-1], start=planted.first):
        assert re.search(rf"{check}: [^.]*\(rows {number}\)", status["message"]), (check, number, status["message"])
    assert files_with(*planted.words) == [str(volume / "planted.jsonl")], "text of a row stands in these files"


def files_with(*words: str) -> list[str]:
    """Return the files of the cluster that hold one of the words; a file may vanish while it is looked for."""
    places = [STATE / place for place in ("volumes", "pod-logs", "logs", "etcd")]
    command: list[str | Path] = ["grep", "-rlF", *(part for word in words for part in ("-e", word)), *places]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    unread = [line for line in found.stderr.splitlines() if "No such file" not in line]
    assert not unread, unread
    return found.stdout.splitlines()


def test_data_of_a_store_is_downloaded_and_judged_like_data_of_a_claim(run: str, finished: Json) -> None:
    status = end_of(f"{run}-store")

    assert status["documentsDigest"].startswith("sha256:")
    assert TOO_COSTLY in status["message"]
    assert known(status) == known(finished["status"])
