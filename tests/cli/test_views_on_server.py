"""Lists, the page to decide on, and what is behind a name: on the real server, each person with their own kubeconfig."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tests.support import release_evidence
from tests.support.builders import make_evaluationsuite, make_finetunejob, make_modelserver, open_route
from tests.support.command_line import Cli, get, say
from tests.support.governed_namespace import World
from tunegate.cli.screen import PAGE_WIDTH
from tunegate.kube.client import KubeClient
from tunegate.ledger.entry import AuditEntry, AuditSubject
from tunegate.ledger.writer import LedgerWriter

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
MODEL, ERIN = "viewer", {"username": "erin", "groups": ["tunegate:engineers"]}
DIGEST = release_evidence.digest("7")
MISSING = [{"role": "risk", "missing": 1}, {"role": "compliance", "missing": 1}]


@pytest.fixture(scope="module")
def serving(world: World) -> Iterator[Callable[[str], str]]:
    """A release that serves as `viewer`, and one that asks to take its place; yields a function from name to uid."""
    world.create("admin", make_modelserver("viewed", world.namespace), dry_run=False).passes()
    world.create("admin", make_evaluationsuite("seen", world.namespace), dry_run=False).passes()
    say(world, "evaluationsuite", "seen", {"tries": {"total": 3}})
    uids = {name: _release(world, name, rank) for name, rank in (("older", 16), ("newer", 64))}
    say(
        world,
        "modelrelease",
        "older",
        {"phase": "Serving", "servedName": "older-cccccccc", "serverRef": {"name": "viewed"}},
    )
    waiting = {"phase": "PendingApproval", "approvals": "0/2", "missing": MISSING, "releaseDigest": DIGEST}
    say(world, "modelrelease", "newer", waiting)
    route = open_route(MODEL, "older-cccccccc", "older")
    say(world, "modelserver", "viewed", {"phase": "Ready", "readyReplicas": 1, "routes": [route]})
    yield lambda name: uids[name]
    # No record tells of its approval: other tests that verify the ledger would find that out.
    say(world, "modelrelease", "older", {"phase": "Failed"})


def _release(world: World, name: str, rank: int) -> str:
    """Make a job with a passed gate and a release of it."""
    method = {"type": "LoRA", "rank": rank}
    job = make_finetunejob(
        name, world.namespace, requestedBy=ERIN, suiteRef={"name": "seen"}, serverRef={"name": "viewed"}, method=method
    )
    world.create(
        "admin", job, dry_run=False, as_="erin", groups=("tunegate:engineers", "system:authenticated")
    ).passes()
    status = release_evidence.job_status(release_evidence.catalogue(world.namespace), DIGEST)
    base = {"name": "BasePlain", "score": "0.420", "difference": "0.375", "lower": "0.300", "upper": "0.450"}
    silent = {**base, "name": "Regex", "score": "0.000", "answered": 0}
    status["gate"]["arms"] = [{**base, "outcome": "Pass"}, {**silent, "outcome": "Pass"}]
    say(world, "finetunejob", name, status)
    uid = json.loads(get(world, "FineTuneJob", name))["metadata"]["uid"]
    asked = world.release(name, modelName=MODEL, jobRef={"name": name, "uid": uid})
    world.create("engineer", asked, dry_run=False).passes()
    return str(json.loads(get(world, "ModelRelease", name))["metadata"]["uid"])


def test_what_waits_for_people_stands_on_top_and_says_whom(cli: Cli, serving: Callable[[str], str]) -> None:
    rows = {one["name"]: one for one in json.loads(cli.run("reviewer-risk", "get", "releases", "-o", "json"))}
    assert (rows["newer"]["waitsFor"], rows["newer"]["approvals"]) == ("risk (you), compliance", "0/2")
    assert (rows["older"]["waitsFor"], rows["older"]["phase"]) == ("-", "Serving")
    hers = {one["name"]: one for one in yaml.safe_load(cli.run("engineer", "get", "releases", "-o", "yaml"))}
    assert hers["newer"]["waitsFor"] == "risk, compliance", "who asked cannot decide"
    lines = cli.run("reviewer-risk", "get", "releases").splitlines()
    assert lines[0].split("  ")[0] == "NAME"
    assert cli.run("reviewer-risk", "get", "releases", "newer", "-o", "name") == "release/newer\n"
    assert DIGEST in cli.run("reviewer-risk", "get", "releases", "newer", "-o", "wide")
    alone = json.loads(cli.run("reviewer-risk", "get", "releases", "newer", "-o", "json"))
    assert {**alone, "age": ""} == {**rows["newer"], "age": ""}
    assert "there is release/newer" in cli.run("reviewer-risk", "get", "releases", "newest", code=1)
    order = [line.split()[0] for line in lines[1:]]
    assert order.index("newer") < order.index("older")


def test_all_namespaces_are_listed_for_those_who_may_read_them(cli: Cli, serving: Callable[[str], str]) -> None:
    assert cli.world.namespace in cli.run("auditor", "get", "releases", "-A")
    assert "name a namespace with -n" in cli.run("engineer", "get", "releases", "-A", code=1)
    hint = cli.run("outsider", "get", "releases", code=1)
    assert f"of namespace {cli.world.namespace}\n" in hint, "who named a namespace needs no other hint"


def test_the_page_shows_what_a_decision_rests_on(cli: Cli, serving: Callable[[str], str]) -> None:
    page = json.loads(cli.run("reviewer-risk", "describe", "newer", "-o", "json"))
    assert page["evaluation"]["alternatives"][0] == {
        "name": "BasePlain", "score": "0.420", "difference": "0.375", "lower": "0.300", "upper": "0.450",
        "outcome": "Pass", "answered": None,
    }  # fmt: skip
    assert (page["evaluation"]["suiteMargin"], page["evaluation"]["suiteTries"]) == ("0.05", "3")
    assert page["evaluation"]["questions"] == 112
    assert page["data"]["classification"] == "Public"
    assert page["servingNow"]["release"] == "older"
    changes = {one["what"]: (one["then"], one["now"]) for one in page["servingNow"]["changes"]}
    assert changes["training: rank"] == ("16", "64")
    assert changes["policy"] == ("not seen", "not seen"), "a reviewer may not read the ledger"
    assert "data" not in changes
    text = cli.run("reviewer-risk", "describe", "newer")
    assert "says nothing: matched 0 of 112" in text, "a rival that never answered is not beaten"
    for words in ("PendingApproval", "0.300 to 0.450", "training: rank", "waits for 1 of role compliance"):
        assert words in text
    assert "policy: you may not read it" in text
    assert "nothing else differs" in text
    assert "Ledger you may not read the ledger; auditors may" in text
    order = [
        text.index(f"\n{title}") for title in ("What is asked", "Changes", "Evaluation", "Data", "Decisions", "Dig")
    ]
    assert order == sorted(order), "what decides comes first"
    assert max(map(len, text.splitlines())) <= PAGE_WIDTH
    assert "Ledger no record yet" in cli.run("auditor", "describe", "newer")


def test_a_server_and_a_job_are_shown_by_their_kind(cli: Cli, serving: Callable[[str], str]) -> None:
    assert "older-cccccccc" in cli.run("engineer", "describe", "server/viewed")
    assert f"{MODEL}: older-cccccccc" in cli.run("engineer", "get", "servers")
    assert "requested by   erin" in cli.run("engineer", "describe", "job/newer")
    assert "there is server/viewed" in cli.run("engineer", "describe", "viewed", code=1)
    assert "job/NAME or server/NAME" in cli.run("engineer", "describe", "pool/x", code=2)
    job = cli.run("engineer", "describe", "job/newer")
    assert "base model" in job
    assert "rank 64" in job
    elsewhere = cli.run("engineer", "describe", "job/newer", "--registry", "registry.example", code=1)
    assert "tunegate inspect data job/newer" in elsewhere


@pytest.mark.parametrize("name", [MODEL, "older-cccccccc", "older"])
def test_every_name_leads_to_what_is_behind_it(cli: Cli, serving: Callable[[str], str], name: str) -> None:
    (found,) = json.loads(cli.run("engineer", "who", name, "-o", "json"))
    assert (found["route"], found["servedName"], found["state"]) == (MODEL, "older-cccccccc", "Open")
    assert found["release"]["uid"] == serving("older")
    assert found["data"]["digest"] == release_evidence.digest("d")
    assert found["adapter"]["manifestDigest"] == release_evidence.digest("c")
    assert found["evaluation"]["tuned"] == "0.795"
    assert release_evidence.digest("d") in cli.run("engineer", "who", name)


def test_a_name_that_nobody_knows_and_the_base_model_are_said_plainly(cli: Cli, serving: Callable[[str], str]) -> None:
    assert f"its routes are {MODEL}" in cli.run("engineer", "who", "nothing", code=1)
    assert cli.run("engineer", "who", "newer").splitlines()[0] == f"{cli.world.namespace}/newer not served"
    assert "untuned base model" in cli.run("engineer", "who", "base", code=1)


async def test_what_answered_at_a_time_is_told_by_the_ledger(
    cli: Cli, serving: Callable[[str], str], operator_kube: KubeClient
) -> None:
    subject = AuditSubject("ModelRelease", cli.world.namespace, "older", serving("older"))
    ledger = LedgerWriter(operator_kube)
    asked = {"releaseDigest": DIGEST, "data": release_evidence.digest("d"), "policy": "two-person sha256:1"}
    await ledger.append(AuditEntry("ReleaseRequested", "erin", subject, "statement", asked))
    payload = {"server": "viewed", "route": MODEL, "servedName": "older-cccccccc", "revision": "1"}
    opened = await ledger.append(AuditEntry("RouteOpened", "tunegate-operator", subject, "opened", payload))

    then = ("who", MODEL, "--at", opened.time, "-o", "json")
    (found,) = json.loads(cli.run("auditor", *then))
    assert (found["servedName"], found["since"], found["record"]) == ("older-cccccccc", opened.time, opened.sequence)
    assert found["evidence"]["data"] == release_evidence.digest("d")
    earlier = datetime.fromisoformat(opened.time).astimezone(UTC) - timedelta(seconds=1)
    assert "nothing answered as viewer" in cli.run("auditor", "who", MODEL, "--at", earlier.isoformat(), code=1)
    assert "auditrecords" in cli.run("engineer", *then, code=1)
    changes = json.loads(cli.run("auditor", "describe", "newer", "-o", "json"))["servingNow"]["changes"]
    (policy,) = [one for one in changes if one["what"] == "policy"]
    assert (policy["then"], policy["now"]) == ("two-person sha256:1", "not seen")
