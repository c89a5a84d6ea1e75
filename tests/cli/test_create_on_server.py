"""`create` against a real API server of the test's own: what is known before the operator decides, and what the messages say."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders import (
    make_approvalpolicy,
    make_basemodel,
    make_computepool,
    make_evaluationsuite,
    make_finetunejob,
    make_modelserver,
)
from tests.support.command_line import Cli, say
from tests.support.control_plane import Member
from tests.support.governed_namespace import World
from tests.support.separate_server import governed_alone
from tunegate.reconcile.naming import USABLE_BY_JOBS_LABEL

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("reviewer-risk", "ravi", ("tunegate:model-risk",)),
    Member("engineer", "erin", ("tunegate:engineers",)),
    Member("newcomer", "olga"),
)
Json = dict[str, Any]
ASK_ONLY: Json = {
    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "ask-only"},
    "rules": [
        {"apiGroups": ["tunegate.io"], "resources": ["*"], "verbs": ["get", "list", "create"]},
        {"apiGroups": ["tunegate.io"], "resources": ["modelservers"], "verbs": ["use"]},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The catalogue of one job, under a policy that accepts one suite of two."""
    with governed_alone(tmp_path_factory.mktemp("plane"), MEMBERS) as world:
        for made in (
            make_basemodel(),
            make_computepool(),
            make_modelserver(namespace=world.namespace, routes=[{"name": "holders"}]),
            make_evaluationsuite("accepted", world.namespace),
            make_evaluationsuite("own", world.namespace),
            make_approvalpolicy(requiredSuiteRefs=[{"name": "accepted"}]),
            claim(world, "data", {USABLE_BY_JOBS_LABEL: "true"}),
            claim(world, "closed", {}),
            ASK_ONLY,
        ):
            world.kubectl("admin", "create", "-f", "-", stdin=made).passes()
        world.kubectl(
            "admin", "create", "clusterrolebinding", "ask-only", "--clusterrole=ask-only", "--user=olga"
        ).passes()
        yield world


def claim(world: World, name: str, labels: Json) -> Json:
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": world.namespace, "labels": labels},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }  # fmt: skip


def ready(world: World) -> None:
    say(world, "basemodel", "base", {"phase": "Ready", "manifestDigest": DIGEST, "resultDigest": DIGEST})
    made = claim(world, "models", {})
    world.kubectl("admin", "apply", "-f", "-", stdin=made).passes()


def job(world: World, name: str = "job", **changes: Any) -> Json:
    made = make_finetunejob(name, world.namespace, **{"suiteRef": {"name": "accepted"}, **changes})
    del made["spec"]["requestedBy"]
    return made


def create(cli: Cli, folder: Path, document: Json | str, *options: str, code: int = 0) -> str:
    path = folder / "document.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return cli.run("engineer", "create", "job", "-f", str(path), *options, code=code)


def warnings(said: str) -> list[str]:
    return [line.removeprefix("warning: ") for line in said.splitlines() if line.startswith("warning: ")]


def dataset(**changes: Any) -> Json:
    return {**make_finetunejob()["spec"]["dataset"], **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"suiteRef": {"name": "own"}},
            "ApprovalPolicy policy does not accept EvaluationSuite own; it accepts accepted",
        ),
        ({"serverRef": {"name": "servre"}}, "or ask the platform team for one. Did you mean server?"),
        ({"suiteRef": {"name": "acepted"}}, "does not accept EvaluationSuite acepted"),
        (
            {"method": {"type": "LoRA", "rank": 64}},
            "spec.method.rank is 64, but profile.maxLoraRank of ModelServer server",
        ),
        ({"dataset": dataset(classification="PHI")}, "ask the policy's owner to allow this one first"),
    ],
)
def test_a_dry_run_warns_of_what_will_refuse_the_job_or_keep_it_waiting(
    changes: Json, says: str, world: World, cli: Cli, tmp_path: Path
) -> None:
    said = create(cli, tmp_path, job(world, **changes), "--dry-run")
    assert f"FineTuneJob {world.namespace}/job would be created" in said
    assert any(says in line for line in warnings(said)), said


def test_a_job_that_nothing_stops_is_created_without_a_warning(world: World, cli: Cli, tmp_path: Path) -> None:
    ready(world)
    said = create(cli, tmp_path, job(world, "fine"))
    assert warnings(said) == []
    assert f"FineTuneJob {world.namespace}/fine created\n" in said
    again = create(cli, tmp_path, job(world, "fine"), code=1)
    assert '"fine" already exists. Choose another name: change metadata.name' in again


@pytest.mark.parametrize(
    ("changes", "says", "code"),
    [
        ({"uri": "pvc://closed/train.jsonl"}, "which is not open for jobs", 2),
        ({"uri": "pvc://nowhere/train.jsonl"}, "PersistentVolumeClaim nowhere, which does not exist in namespace", 2),
        ({"expirationDate": "2020-01-01"}, "The data may be kept until 2020-01-01", 1),
        ({"uri": f"oci://other/datasets/rows@sha256:{'7' * 64}"}, "names data of namespace other", 1),
    ],
)
def test_what_only_the_cluster_knows_of_the_data_is_told_beforehand_by_create_and_plan(
    changes: Json, says: str, code: int, world: World, cli: Cli, tmp_path: Path
) -> None:
    ready(world)
    asked = job(world, dataset=dataset(**changes))
    assert any(says in line for line in warnings(create(cli, tmp_path, asked, "--dry-run")))
    path = tmp_path / "document.yaml"
    said = cli.run("engineer", "plan", "-f", str(path), "--from-cluster", "--policy", "policy", code=code)
    assert says in said


def test_a_pool_that_may_not_be_used_and_a_server_without_routes_are_told(
    world: World, cli: Cli, tmp_path: Path
) -> None:
    ready(world)
    path = tmp_path / "document.yaml"
    path.write_text(yaml.safe_dump(job(world)))
    said = cli.run("newcomer", "create", "job", "-f", str(path), "--dry-run")
    assert "olga may not use computepools/pool" in said
    bare = make_modelserver("bare", namespace=world.namespace)
    world.kubectl("admin", "apply", "-f", "-", stdin=bare).passes()
    said = create(cli, tmp_path, job(world, serverRef={"name": "bare"}), "--dry-run")
    assert "ModelServer bare has no route yet" in said
    world.kubectl("admin", "delete", "modelserver", "bare", "-n", world.namespace).passes()


def test_what_admission_refuses_is_refused_by_plan(world: World, cli: Cli, tmp_path: Path) -> None:
    ready(world)
    path = tmp_path / "document.yaml"
    stranger = {"username": "somebody-else", "groups": ["tunegate:engineers"]}
    path.write_text(yaml.safe_dump(job(world) | {"spec": {**job(world)["spec"], "requestedBy": stranger}}))
    plan = ("plan", "-f", str(path), "--from-cluster", "--policy", "policy")
    assert "the API server would refuse the job: spec.requestedBy must be you" in cli.run("engineer", *plan, code=1)
    path.write_text(yaml.safe_dump(job(world)))
    said = cli.run("reviewer-risk", *plan, code=2)
    assert f"you may not create jobs in namespace {world.namespace}" in said


def test_a_first_job_and_suite_pass_admission_and_plan_as_init_writes_them(
    world: World, cli: Cli, tmp_path: Path
) -> None:
    ready(world)
    rows = [{"prompt": f"Who holds notice {n}?", "completion": f'{{"holder": "H{n}"}}'} for n in range(300)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    said = ("--classification", "Public", "--license", "CC-BY-4.0", "--source", "tests: #1", "--steward", "no")
    asked = (
        "init",
        "first",
        "--from",
        str(tmp_path / "rows.jsonl"),
        "--folder",
        str(tmp_path / "first"),
        "--pool",
        "pool",
        *said,
    )
    told = cli.run("engineer", *asked, "--split", "60")
    assert "60 questions were split off" in told
    assert "REPLACE" not in told
    assert "ApprovalPolicy policy accepts the suites accepted only: give --suite with one of these" in told
    suite = (
        "create",
        "suite",
        "-f",
        str(tmp_path / "first/suite.yaml"),
        "--from",
        str(tmp_path / "first/questions.jsonl"),
    )
    assert f"{world.namespace}/first would be created" in cli.run("admin", *suite, "--dry-run")
    made = cli.run("engineer", "create", "job", "-f", str(tmp_path / "first/job.yaml"), "--dry-run")
    assert [line for line in warnings(made) if "EvaluationSuite first" not in line] == []

    asked = (*asked[:4], "--folder", str(tmp_path / "second"), *said, "--suite", "accepted")
    assert "REPLACE" not in cli.run("engineer", *asked)
    planned = ("plan", "-f", str(tmp_path / "second"), "--from-cluster", "--policy", "policy")
    assert "say where these lie on this machine: --volume data=… --volume models=…" in cli.run(
        "engineer", *planned, code=2
    )
    job = yaml.safe_load((tmp_path / "second/job.yaml").read_text())["spec"]
    assert (job["dataset"]["uri"], job["dataset"]["source"], job["dataset"]["steward"]) == (
        "pvc://data/first/train.jsonl",
        "tests: #1",
        "no",
    )
    wrong = (*asked[:4], "--folder", str(tmp_path / "third"), "--suite")
    assert "there is no such EvaluationSuite in namespace team. Did you mean accepted?" in cli.run(
        "engineer", *wrong, "acepted", code=2
    )
    assert "--server servre: there is no such ModelServer" in cli.run(
        "engineer", *wrong, "accepted", "--server", "servre", code=2
    )
    assert not (tmp_path / "third").exists()


def next_commands(said: str) -> list[list[str]]:
    """Return the commands that `init` prints at its end, without the program's name."""
    lines = said.partition("\nNext:\n")[2].splitlines()
    return [shlex.split(line.strip())[1:] for line in lines]


def test_the_commands_that_init_names_next_work(world: World, cli: Cli, tmp_path: Path) -> None:
    ready(world)
    rows = [{"prompt": f"Who holds notice {n}?", "completion": f'{{"holder": "H{n}"}}'} for n in range(300)]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    said = ("--classification", "Public", "--license", "CC-BY-4.0", "--source", "tests", "--steward", "stella")
    begun = ("init", "after-init", "--from", str(tmp_path / "rows.jsonl"), *said)

    def follow(role: str, words: list[str], *more: str, code: int = 0) -> str:
        assert words[:2] == ["--kubeconfig", world.kubeconfig("engineer")] or "--kubeconfig" in words
        place = words.index("--kubeconfig")
        return cli.run(role, *words[:place], *words[place + 2 :], *more, code=code)

    # Questions that are split off: the suite is made first, and then the cluster has all that `plan` asks it for.
    at = ("--questions-uri", "pvc://data/questions.jsonl", "--folder", str(tmp_path / "own folder"))
    suite, planned, job = next_commands(cli.run("engineer", *begun, "--split", "60", *at))
    assert (suite[:2], planned[0], job[:2]) == (["create", "suite"], "plan", ["create", "job"])
    assert "EvaluationSuite team/after-init created" in follow("admin", suite)
    filled = [word.replace("…", str(tmp_path)) for word in planned]
    assert "SuiteNotAccepted" in follow(
        "engineer", filled, code=1
    )  # the policy's word, and no file or object is missing
    assert "would be created" in follow("engineer", job, "--dry-run")

    # A suite that exists: everything on claims is named, and nothing else.
    planned, job = next_commands(
        cli.run("engineer", *begun, "--suite", "accepted", "--folder", str(tmp_path / "second"))
    )
    filled = [word.replace("…", str(tmp_path)) for word in planned]
    assert "is not a folder" in follow("engineer", filled, code=2)
    assert "would be created" in follow("engineer", job, "--dry-run")

    # Pushed data, which `plan` could not read for this person, and data in a store, which it never reads.
    for uri in (f"oci://{world.namespace}/datasets/rows@sha256:{'7' * 64}", "s3://bucket/rows.jsonl"):
        folder = str(tmp_path / uri[:3])
        (job,) = next_commands(cli.run("engineer", *begun, "--suite", "accepted", "--uri", uri, "--folder", folder))
        assert job[:2] == ["create", "job"]


def test_a_generated_name_is_told(world: World, cli: Cli, tmp_path: Path) -> None:
    document = job(world) | {"metadata": {"generateName": "weekly-", "namespace": world.namespace}}
    said = create(cli, tmp_path, document, "-o", "name")
    (name,) = (line.removeprefix("job/") for line in said.splitlines() if line.startswith("job/weekly-"))
    assert f"FineTuneJob {world.namespace}/weekly-…, requested by erin" in said
    world.kubectl("engineer", "get", "finetunejob", name, "-n", world.namespace).passes()


def test_metadata_that_are_no_object_are_refused_in_a_sentence(world: World, cli: Cli, tmp_path: Path) -> None:
    said = create(cli, tmp_path, job(world) | {"metadata": "job"}, code=1)
    assert "metadata must be an object with a name" in said


def test_another_namespace_than_the_files_is_refused(world: World, cli: Cli, tmp_path: Path) -> None:
    said = create(cli, tmp_path, job(world) | {"metadata": {"name": "job", "namespace": "other"}}, code=2)
    assert f"says namespace other and -n says {world.namespace}" in said
    assert "-n other" in said


def test_numbers_where_text_is_asked_are_named_with_what_to_do(world: World, cli: Cli, tmp_path: Path) -> None:
    said = create(cli, tmp_path, job(world, dataset=dataset(steward=2026)), "--dry-run", code=1)
    assert 'spec.dataset.steward in body must be of type string: "integer" (put it in quotes)' in said
    assert "<nil>" not in said


def test_days_and_numbers_are_read_as_kubectl_reads_them(world: World, cli: Cli, tmp_path: Path) -> None:
    text = yaml.safe_dump(job(world, "plain")).replace("dataset:\n", "dataset:\n    expirationDate: 2999-12-31\n")
    text = text.replace("method:\n", "method:\n    learningRate: 1e-3\n")
    assert "expirationDate: 2999-12-31\n" in text
    assert "learningRate: 1e-3\n" in text
    assert "would be created" in create(cli, tmp_path, text, "--dry-run")
    world.kubectl("engineer", "create", "--dry-run=server", "-f", "-", stdin=_asked(text)).passes()
    assert "metadata is given twice" in create(cli, tmp_path, text + "metadata: {}\n", "--dry-run", code=1)


def test_plan_takes_from_the_cluster_what_no_file_has(world: World, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job(world, method={"type": "LoRA", "rank": 64})))
    said = cli.run("engineer", "plan", "-f", str(path), "--from-cluster", code=1)
    assert "spec.method.rank is 64, but profile.maxLoraRank of ModelServer server" in said
    path.write_text(yaml.safe_dump(job(world)))
    assert "--volume models=" in cli.run(
        "engineer", "plan", "-f", str(path), "--from-cluster", "--policy", "policy", code=2
    )
    said = cli.run("engineer", "plan", "-f", str(path), "--from-cluster", "--policy", "polycy", code=2)
    assert "Did you mean policy?" in said


def test_a_release_of_an_unfit_job_is_warned_of(world: World, cli: Cli, tmp_path: Path) -> None:
    ready(world)
    create(cli, tmp_path, job(world, "unfit", suiteRef={"name": "own"}))
    asked = ("--risk", "Low", "--intended-use", "Fill the holder column of the inventory.", "--dry-run")
    said = cli.run("engineer", "create", "release", "--from-job", "unfit", "--model", "invoices", *asked)
    told = warnings(said)
    assert told[0] == "job unfit has no gate yet (it is Pending): the release waits until the job has ended"
    assert "does not accept EvaluationSuite own" in told[1]
    assert "has a route invoices" in told[2]
    near = cli.run("engineer", "create", "release", "--from-job", "unfit", "--model", "holder", *asked)
    assert warnings(near)[2].endswith("Did you mean holders?")
    routed = cli.run("engineer", "create", "release", "--from-job", "unfit", "--model", "holders", *asked)
    assert len(warnings(routed)) == 2


def test_what_policy_and_catalogue_will_say_of_a_release_is_told(world: World, cli: Cli, tmp_path: Path) -> None:
    ready(world)
    create(cli, tmp_path, job(world, "secret-data", dataset=dataset(classification="PHI")))
    asked = ("--risk", "Low", "--intended-use", "Fill the holder column of the inventory.", "--dry-run")
    release = ("create", "release", "--from-job", "secret-data", "--model", "holders", *asked)
    assert any("PHI data is not allowed by policy policy" in line for line in warnings(cli.run("engineer", *release)))
    say(world, "basemodel", "base", {"phase": "Hashing"})
    try:
        assert "BaseModel base is Hashing: the release waits until it is Ready" in warnings(
            cli.run("engineer", *release)
        )
    finally:
        ready(world)


def _asked(text: str) -> str:
    """As `create` fills the requester in."""
    return text.replace("spec:\n", 'spec:\n  requestedBy: {username: erin, groups: ["tunegate:engineers"]}\n')


DIGEST = "sha256:" + "7" * 64
