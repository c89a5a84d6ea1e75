"""The commands of every day against a real API server of the test's own, each person with their own rights."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_screen import read_on_terminal
from tests.gateway.standins import KEY, stand_ins
from tests.support.builders import (
    DIGEST,
    make_approvalpolicy,
    make_basemodel,
    make_computepool,
    make_evaluationsuite,
    make_finetunejob,
    make_modelserver,
    open_route,
)
from tests.support.command_line import Cli, get, say
from tests.support.control_plane import Member
from tests.support.governed_namespace import World
from tests.support.separate_server import governed_alone
from tunegate.api.asked import AskedAs, keeping_to
from tunegate.gateway.app import running

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(300),
]
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("reviewer-risk", "ravi", ("tunegate:model-risk",)),
    Member("engineer", "erin", ("tunegate:engineers",)),
    Member("serving", "sven", ("tunegate:serving-operators",)),
    Member("outsider", "otto", ()),
)
ERIN = {"username": "erin", "groups": ["tunegate:engineers"]}
ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]
GATE = {
    "outcome": "Pass", "metric": "ExactMatch", "tuned": "0.8625", "questions": 80, "adapterDigest": DIGEST,
    "arms": [
        {"name": "Regex", "score": "0.4500", "difference": "+0.41", "lower": "+0.3", "upper": "+0.5", "outcome": "Pass"},
    ],
    "askedAs": {"maxTokens": 48},
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with governed_alone(tmp_path_factory.mktemp("plane"), MEMBERS) as world:
        for made in (
            make_basemodel(), make_computepool(), make_modelserver(namespace=world.namespace),
            make_evaluationsuite(namespace=world.namespace), make_approvalpolicy(),
        ):  # fmt: skip
            world.kubectl("admin", "create", "-f", "-", stdin=made).passes()
        yield world


def submit(world: World, name: str, status: Json, **changes: Any) -> None:
    made = make_finetunejob(name, world.namespace, **{"requestedBy": ERIN, **changes})
    world.create("engineer", made, dry_run=False).passes()
    say(world, "finetunejob", name, status)


def spec(world: World, name: str) -> Json:
    return dict(json.loads(get(world, "finetunejob", name))["spec"])


def test_a_retry_is_a_new_job_with_one_field_changed_that_names_the_old_one(world: World, cli: Cli) -> None:
    submit(world, "tried", {"phase": "Training"})
    assert "has not ended (it is Training)" in cli.run("engineer", "retry", "job/tried", code=1)
    say(world, "finetunejob", "tried", {"phase": "Suspended"})
    assert "tunegate resume job/tried" in cli.run("engineer", "retry", "job/tried", code=1)
    say(world, "finetunejob", "tried", {"phase": "Failed"})
    rate = ("--set", "method.learningRate=0.0001")
    assert "would be created" in cli.run("engineer", "retry", "job/tried", *rate, "--dry-run")
    told = cli.run("engineer", "retry", "job/tried", *rate)
    assert "method.learningRate: 0.0002 becomes 0.0001" in told
    assert "FineTuneJob team/tried-2 created" in told
    old, new = json.loads(get(world, "finetunejob", "tried")), spec(world, "tried-2")
    assert new["derivedFrom"] == {"name": "tried", "uid": old["metadata"]["uid"]}
    assert str(new["method"]["learningRate"]) == "0.0001"
    assert {key: new[key] for key in ("dataset", "suiteRef", "serverRef")} == {
        key: old["spec"][key] for key in ("dataset", "suiteRef", "serverRef")
    }
    assert "tried-3 created" in cli.run("engineer", "retry", "job/tried")
    assert "derived from" in cli.run("engineer", "describe", "job/tried-2")
    assert "finetunejobs.tunegate.io is forbidden" in cli.run("reviewer-risk", "retry", "job/tried", code=1)


def test_what_a_retry_names_does_not_change_and_a_wrong_field_is_named_before_anything_is_asked(
    world: World, cli: Cli
) -> None:
    submit(world, "origin", {"phase": "Failed"})
    cli.run("engineer", "clone", "job/origin", "copy", "--set", "method.rank=8")
    change = json.dumps({"spec": {"derivedFrom": {"name": "other"}}})
    patched = world.kubectl(
        "engineer", "patch", "finetunejob", "copy", "-n", world.namespace, "--type=merge", "-p", change
    )
    patched.refused("only suspend and ttlSecondsAfterFinished can change")
    assert "did you mean rank?" in cli.run("engineer", "clone", "job/origin", "copy-2", "--set", "method.rnk=8", code=2)
    assert "already exists" in cli.run("engineer", "clone", "job/origin", "copy", code=1)


def test_a_job_is_suspended_and_resumed_by_whoever_may_ask_for_jobs(world: World, cli: Cli) -> None:
    submit(world, "paused", {"phase": "Training"})
    assert "tunegate resume job/paused" in cli.run("engineer", "suspend", "job/paused")
    assert spec(world, "paused")["suspend"] is True
    assert "suspended already" in cli.run("engineer", "suspend", "job/paused")
    assert "goes on" in cli.run("engineer", "resume", "job/paused")
    assert spec(world, "paused")["suspend"] is False
    assert "is forbidden" in cli.run("reviewer-risk", "suspend", "job/paused", code=1)
    say(world, "finetunejob", "paused", {"phase": "Succeeded"})
    assert "has ended (Succeeded)" in cli.run("engineer", "suspend", "job/paused", code=1)


def test_two_jobs_are_compared_and_one_is_drawn(world: World, cli: Cli) -> None:
    submit(world, "narrow", {"phase": "Succeeded", "gate": GATE})
    submit(world, "wide", {"phase": "Training"}, method={"type": "LoRA", "rank": 64})
    told = cli.run("reviewer-risk", "compare", "job/narrow", "job/wide")
    assert any(line.split() == ["method.rank", "16", "64"] for line in told.splitlines()), told
    assert "job/wide has not ended" in told
    found = json.loads(cli.run("engineer", "compare", "job/narrow", "job/wide", "-o", "json"))
    assert {"what": "tuned, ExactMatch", "values": ["0.8625", "-"]} in found["scores"]
    assert "cannot be compared with itself" in cli.run("engineer", "compare", "job/wide", "job/wide", code=2)

    drawn = cli.run("engineer", "plot", "job/narrow")
    assert "0.863 Pass" in drawn
    assert "no losses" in drawn
    assert cli.run("engineer", "plot", "job/narrow", "-o", "svg").count("</svg>") == 1
    assert "has neither losses nor scores (Training)" in cli.run("engineer", "plot", "job/wide", code=1)
    assert "asked with" in cli.run("engineer", "describe", "job/narrow")


def test_a_page_links_to_the_run_where_the_chart_says_where_mlflow_is(world: World, cli: Cli) -> None:
    submit(world, "linked", {"phase": "Training", "mlflowRunId": "0a1b"})
    addresses = json.loads(get(world, "configmap", "tunegate-addresses"))
    assert addresses["data"]["mlflow"] == "https://mlflow.example"
    assert "https://mlflow.example/#/runs/0a1b" in cli.run("engineer", "describe", "job/linked")
    refused = world.kubectl("engineer", "get", "configmap", "other", "-n", world.namespace)
    refused.refused("is forbidden")


def routes(world: World) -> list[Json]:
    return list(json.loads(get(world, "modelserver", "server"))["spec"].get("routes", []))


def test_a_serving_operator_adds_and_removes_routes_and_is_told_what_answers(world: World, cli: Cli) -> None:
    told = cli.run("serving", "route", "add", "server/server", "extractor")
    assert "nothing answers under it before a release with --model extractor is approved" in told
    world.create("engineer", world.release("asked"), dry_run=False).passes()
    assert "has a route extractor already" in cli.run("serving", "route", "add", "server/server", "extractor", code=1)
    assert [one["name"] for one in routes(world)] == ["extractor"]
    gone = cli.run("serving", "route", "remove", "server/server", "extractor")
    assert "404 model_not_found" in gone
    assert routes(world) == []
    pinned = cli.run("serving", "route", "add", "server/server", "extractor", "--release", "asked")
    assert "before an approval: asked is PendingEvidence" in pinned
    assert routes(world) == [
        {"name": "extractor", "track": "Pinned", "targets": [{"releaseRef": {"name": "asked"}, "weight": 100}]}
    ]
    assert "did you mean extractor?" in cli.run("serving", "route", "remove", "server/server", "extracter", code=1)
    assert "asks for the model name extractor" in cli.run(
        "serving", "route", "add", "server/server", "other", "--release", "asked", code=1
    )
    assert "every server's base model" in cli.run("serving", "route", "add", "server/server", "base", code=2)
    assert "at most 64 letters" in cli.run("serving", "route", "add", "server/server", "a b", code=2)
    assert "is forbidden" in cli.run("engineer", "route", "add", "server/server", "mine", code=1)
    assert "is forbidden" in cli.run("engineer", "route", "remove", "server/server", "extractor", code=1)
    cli.run("serving", "route", "remove", "server/server", "extractor")


def test_a_serving_operator_stops_pins_goes_back_and_resumes_in_one_command_each(world: World, cli: Cli) -> None:
    def command(verb: str, *words: str, code: int = 0) -> str:
        return cli.run("serving", "route", verb, "server/server", "extractor", *words, code=code)

    served = {"older": "older-00000001", "newer": "newer-00000002"}
    for minute, (name, served_name) in enumerate(served.items()):
        world.create("engineer", world.release(name), dry_run=False).passes()
        status = {"phase": "Serving", "servedName": served_name, "approvedTime": f"2026-11-01T00:0{minute}:00Z"}
        say(world, "modelrelease", name, status)
    for words in (
        ["--step", "5"],
        ["--step", "0=10m"],
        ["--step", "25=1h", "--step", "5=10m"],
        ["--release", "older=60"],
    ):
        command("add", *words, code=2)
    command("add", "--step", "5=10m", "--step", "25=1h")
    steps = [{"weight": 5, "holdSeconds": 600}, {"weight": 25, "holdSeconds": 3600}]
    assert routes(world)[0]["canary"]["steps"] == steps
    canary = {
        "state": "Stepping", "stable": served["older"], "candidate": served["newer"], "step": 1,
        "startTime": "2026-11-01T01:00:00Z", "message": "step 1 of 2", "measuredTime": "2026-11-01T01:01:00Z",
        "measured": [{"servedName": served["newer"], "requests": 31, "errors": 2, "latency": "0.71", "tokens": "48.2"}],
    }  # fmt: skip
    weights = {"older": 95, "newer": 5}
    shares = [
        {"servedName": served[name], "releaseRef": {"name": name}, "weight": weight} for name, weight in weights.items()
    ]
    say(
        world,
        "modelserver",
        "server",
        {"routes": [{"name": "extractor", "state": "Open", "targets": shares, "canary": canary}]},
    )
    assert f"extractor: {served['older']} 95 %, {served['newer']} 5 %" in cli.run(
        "serving", "get", "servers", "server", "-o", "json"
    )
    told = cli.run("serving", "describe", "server/server")
    assert all(
        part in told for part in ("Newer release of route extractor", "Stepping", "0.71", f"{served['newer']} 5 %")
    )

    command("stop")
    assert routes(world)[0]["canary"]["paused"] is True
    command("pin")
    targets = [{"releaseRef": {"name": name}, "weight": weight} for name, weight in weights.items()]
    assert (routes(world)[0]["track"], routes(world)[0]["targets"]) == ("Pinned", targets)
    assert "route pin" in command("stop", code=1)
    command("resume")
    (followed,) = routes(world)
    assert (followed["track"], followed["canary"]["paused"], "targets" in followed) == ("Latest", False, False)
    assert followed["canary"]["resumedAt"]
    assert "pinned to older 100 %" in command("back")
    say(world, "modelserver", "server", {"routes": [{"name": "extractor", "state": "Open", "targets": shares[1:]}]})
    command("pin", "--release", "newer")
    assert "copies of 10 %" in command("shadow", "--release", "older=10")
    assert routes(world)[0]["shadow"] == {"releaseRef": {"name": "older"}, "percent": 10}
    measured = {"releaseRef": {"name": "older"}, "state": "Open", "copies": 9, "errors": 1, "compared": 8, "agreed": 7}
    copied = {"name": "extractor", "state": "Open", "targets": shares[1:], "shadow": measured}
    say(world, "modelserver", "server", {"routes": [copied]})
    assert "7 of 8 compared" in cli.run("serving", "describe", "server/server")
    command("shadow", "--release", "older", code=2)
    command("shadow")
    assert "shadow" not in routes(world)[0]
    assert "pinned to older 100 %" in command("back")
    say(world, "modelserver", "server", {"routes": [{"name": "extractor", "state": "Open", "targets": shares[:1]}]})
    assert "no approved release is older" in command("back", code=1)
    assert "its routes are extractor" in cli.run("serving", "route", "stop", "server/server", "other", code=1)
    assert "is forbidden" in cli.run(
        "engineer", "route", "pin", "server/server", "extractor", "--release", "newer", code=1
    )
    command("remove")


def test_a_person_sees_which_rights_they_hold_and_which_value_gives_the_rest(world: World, cli: Cli) -> None:
    def rights(role: str) -> dict[str, Json]:
        return {one["right"]: one for one in json.loads(cli.run(role, "access", "-o", "json"))["rights"]}

    engineer, reviewer, serving, nobody = map(rights, ("engineer", "reviewer-risk", "serving", "outsider"))
    ask, logs, approve = "ask for jobs, suspend and delete them", "read logs of stages", "approve and revoke as risk"
    assert [one[ask]["held"] for one in (engineer, reviewer, serving, nobody)] == [True, False, False, False]
    assert [one[logs]["held"] for one in (engineer, reviewer, serving)] == [True, False, True]
    assert [one[approve]["held"] for one in (engineer, reviewer, serving)] == [False, True, False]
    assert reviewer["approve and revoke as compliance"]["held"] is False
    assert reviewer[ask]["givenBy"] == "people.requesters"
    assert not any(one["held"] for one in nobody.values())
    assert "approve and revoke as risk" not in nobody, "only those who may read policies know their roles"
    told = cli.run("engineer", "access")
    assert any(line.split() == ["read", "the", "ledger", "no", "people.auditors"] for line in told.splitlines()), told


def test_a_watch_prints_the_list_and_then_what_changes(world: World) -> None:
    submit(world, "watched", {"phase": "Training"})
    words = ["--kubeconfig", world.kubeconfig("engineer"), "-n", world.namespace, "get", "jobs", "watched", "-w"]
    program = "import sys; from tunegate.cli.main import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
    running_command = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert running_command.stdout is not None
    lines = [running_command.stdout.readline() for _ in range(2)]
    say(world, "finetunejob", "watched", {"phase": "Sealing"})
    lines.append(running_command.stdout.readline())
    running_command.send_signal(signal.SIGINT)
    running_command.communicate(timeout=30)
    assert running_command.returncode == 130
    assert lines[0].startswith("NAME")
    assert [line.split()[:2] for line in lines[1:]] == [["watched", "Training"], ["watched", "Sealing"]]
    assert lines[1].index("Training") == lines[2].index("Sealing") == lines[0].index("PHASE")


@contextmanager
def gateway(folder: Path, asked_as: AskedAs) -> Iterator[str]:
    """Run a real gateway before a scripted engine in a thread of its own; give its address."""
    ready, done = threading.Event(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        async with stand_ins(folder, asked_as=asked_as) as (_, _, _, settings), running(settings) as running_gateway:
            while not running_gateway.ready:  # noqa: ASYNC110 - what is waited for announces nothing
                await asyncio.sleep(0.05)
            address.append(f"http://127.0.0.1:{settings.port}")
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield address[0]
    finally:
        done.set()
        thread.join()


def test_a_model_is_asked_through_its_gateway_as_the_gate_asked(world: World, cli: Cli, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    route = open_route("extract", "good-00000001", "good")
    closed = {"name": "worthless", "state": "Closed", "reason": "no approved release"}
    say(world, "modelserver", "server", {"routes": [route, closed], "endpoint": "http://server.team.svc"})
    assert "the route worthless of server/server is closed" in cli.run("engineer", "ask", "worthless", "Hello", code=1)
    assert "routes are extract, worthless" in cli.run("engineer", "ask", "unknown", "Hello", code=1)
    assert "--service-account NAME" in cli.run("engineer", "ask", "extract", "Hello", code=1)
    refused = cli.run("engineer", "ask", "extract", "Hello", "--service-account", "default", code=1)
    assert "no token of service account default" in refused
    schema = {"type": "object", "required": ["holder"]}
    with gateway(tmp_path, AskedAs(max_tokens=48, json_schema=json.dumps(schema))) as address:
        there = ("--gateway", address, "--token-file", str(key))
        assert cli.run("engineer", "ask", "extract", "Hello", *there) == "good-00000001 answers\n"
        both = cli.run("engineer", "ask", "extract", "Hello", "--base", *there).splitlines()
        assert both == ["extract", "good-00000001 answers", "base", "base answers"]
        found = json.loads(cli.run("engineer", "ask", "extract", "Hello", "-o", "json", *there))
        assert found["askedAs"] == {"temperature": 0, "max_tokens": 48, "response_format": keeping_to(schema)}
        key.write_text("wrong-horse-battery-staple")
        assert "401 invalid_credential" in cli.run("engineer", "ask", "extract", "Hello", *there, code=1)
    away = cli.run("engineer", "ask", "extract", "Hello", *there, code=1)
    assert "does not answer" in away
    # In a governed namespace engineers open no port-forward: they get what they may do.
    assert "port-forward" not in away
    assert "ask the platform team for the gateways' address from outside" in away
    assert "port-forward service/server 8080:80" in cli.run("admin", "ask", "extract", "Hello", *there, code=1)


@pytest.mark.parametrize("width", [80, 120])
def test_lists_of_long_names_fit_a_terminal(world: World, width: int) -> None:
    """One line for each object, with its whole name and phase, whatever else has to go."""
    name = f"invoices-of-the-third-quarter-of-{width}"
    submit(world, name, {"phase": "PendingWaiver", "message": "Waits for people. " * 30})
    world.create("engineer", world.release(name, modelName="m" * 40), dry_run=False).passes()
    say(world, "modelrelease", name, {"phase": "PendingEvidence", "message": "The job has not ended yet. " * 20})
    for kind, phase in (("jobs", "PendingWaiver"), ("releases", "PendingEvidence")):
        words = ["--kubeconfig", world.kubeconfig("engineer"), "-n", world.namespace, "get", kind]
        lines = read_on_terminal(f"from tunegate.cli.main import main; main({words!r})", width)
        assert max(map(len, lines)) <= width, lines
        (line,) = [one for one in lines if name in one]
        assert phase in line
        assert len(lines) == 1 + len(cli_names(world, kind))


def cli_names(world: World, kind: str) -> list[str]:
    plural = {"jobs": "finetunejobs", "releases": "modelreleases"}[kind]
    return world.kubectl("engineer", "get", plural, "-n", world.namespace, "-o", "name").passes().out.split()
