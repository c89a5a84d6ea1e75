"""docs/suites.md, followed word for word by an evaluation owner on an API server of the test's own."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders import make_approvalpolicy, make_evaluationsuite
from tests.support.command_line import Cli
from tests.support.control_plane import Member
from tests.support.exchange_site import running_exchange
from tests.support.governed_namespace import World
from tests.support.pages import commands, section
from tests.support.registry_process import running_registry
from tests.support.separate_server import governed_alone
from tunegate.cli.main import main
from tunegate.maintenance.authority import token_pair

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.local_cluster("starts its own API server and etcd, from the binaries of the local cluster"),
    pytest.mark.timeout(900),
]
MEMBERS = (
    Member("admin", "tunegate-admin", ("system:masters",)),
    Member("reviewer-risk", "ravi", ("tunegate:model-risk",)),
    Member("engineer", "erin", ("tunegate:engineers",)),
    Member("evaluation-owner", "eva", ("tunegate:evaluation-owners",)),
    Member("policy-owner", "paul", ("tunegate:policy-owners",)),
    Member("exchange", "exchange"),
)
Json = dict[str, Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with governed_alone(tmp_path_factory.mktemp("plane"), MEMBERS) as world:
        yield world


@pytest.fixture(scope="module")
def settings(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The owner's settings, which name a registry and an exchange that run."""
    folder = tmp_path_factory.mktemp("registry")
    for name, content in token_pair("tunegate-operator").files().items():
        (folder / name).write_bytes(content)
    bound = ("create", "clusterrolebinding", "exchange", "--clusterrole=system:auth-delegator", "--user=exchange")
    world.kubectl("admin", *bound).passes()
    with (
        running_registry(folder / "registry", token_certificate=folder / "tls.crt") as registry,
        running_exchange(folder, world, registry, {"NAMESPACES": world.namespace}) as url,
    ):
        told = {"host": registry.host, "plainHTTP": True, "exchange": url.removeprefix("http://")}
        (folder / "config.yaml").write_text(yaml.safe_dump({"registry": told}))
        yield folder / "config.yaml"


def block(title: str, language: str, number: int = 0) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", section("suites.md", title), re.DOTALL)[number])


def write_files(folder: Path) -> None:
    """Write the page's files, and questions like the one that it shows."""
    shown = json.loads(block("The questions", "json"))
    rows = [shown]
    for number in range(1, 200):
        due, total = f"2026-03-{number % 28 + 1:02d}", f"{number}.50"
        asked = {"role": "user", "content": f"Inv. {number}, due {due}, total EUR {total}"}
        answer = {"role": "assistant", "content": json.dumps({"due": due, "total": total})}
        rows.append({"messages": [asked, answer], "vendor": f"vendor {number}"})
    (folder / "questions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    title = "Schema, labels and cheap alternatives"
    for name, language, number in (("schema.json", "json", 0), ("pattern.txt", "text", 0), ("template.txt", "text", 1)):
        (folder / name).write_text(block(title, language, number))


def follow(cli: Cli, line: str) -> str:
    """Run a line of the page as the evaluation owner; return what it printed, as one line."""
    words, _, file = line.replace("licenses-team", cli.world.namespace).partition(" > ")
    program, *arguments = shlex.split(words)
    if program == "kubectl":
        return cli.world.kubectl("evaluation-owner", *arguments).passes().out
    if file:
        assert main(arguments) == 0
        Path(file).write_text(cli.capsys.readouterr().out)
        return ""
    return " ".join(cli.run("evaluation-owner", *arguments).split())


def test_every_command_of_the_page_runs_as_an_evaluation_owner(
    world: World,
    settings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNEGATE_CONFIG", str(settings))
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = [line for title in ("Try it", "Create it") for line in commands("suites.md", title)]
    assert len(lines) == 7
    said = [follow(Cli(world, capsys), line) for line in lines]
    assert "200 questions, sha256:" in said[0]
    assert "200 of 200 expected answers are valid" in said[0]
    assert "your regular expression matched 199 of 200; right are 199" in said[0]
    assert f"EvaluationSuite {world.namespace}/invoices-1 would be created" in said[1]
    assert f"EvaluationSuite {world.namespace}/invoices-1 created" in said[2]
    assert f"The questions lie at oci://{world.namespace}/questions/invoices-1@sha256:" in said[2]
    assert f"EvaluationSuite {world.namespace}/invoices-2 would be created" in said[6]
    assert "PersistentVolumeClaim invoices does not exist: jobs with this suite wait until it is" in said[6]


def test_a_suite_is_made_once_and_another_name_is_the_advice(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path)
    create = (
        "create", "suite", "again", "--from", str(tmp_path / "questions.jsonl"), "--uri", "pvc://invoices/questions.jsonl",
        "--task", "Generation", "--metric", "ExactMatch", "-o", "name",
    )  # fmt: skip
    cli = Cli(world, capsys)
    assert cli.run("evaluation-owner", *create).startswith("evaluationsuite/again\n")
    assert "A suite never changes: give another NAME" in cli.run("evaluation-owner", *create, code=1)
    assert "cannot create resource" in cli.run("policy-owner", *create, code=1)


def test_evaluation_owners_make_suites_and_no_policies_and_policy_owners_the_reverse(world: World) -> None:
    made, policy = make_evaluationsuite("eva", world.namespace), make_approvalpolicy()
    world.create("evaluation-owner", made).passes()
    world.create("policy-owner", policy).passes()
    for role, obj in (
        ("evaluation-owner", policy),
        ("policy-owner", made),
        ("engineer", made),
        ("reviewer-risk", made),
    ):
        world.create(role, obj).refused("cannot create resource")
    world.create("evaluation-owner", world.job("eva")).refused("cannot create resource")
    elsewhere = make_evaluationsuite("eva", "default")
    world.create("evaluation-owner", elsewhere).refused("cannot create resource")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"primaryMetric": {"name": "MacroF1"}}, "MacroF1, as primaryMetric or in guardrails, needs task.type"),
        ({"guardrails": [{"name": "MacroF1"}]}, "MacroF1, as primaryMetric or in guardrails, needs task.type"),
        ({"guardrails": [{"name": "SchemaValidity"}]}, "SchemaValidity, as primaryMetric or in guardrails, needs"),
        ({"data": "pvc://data/questions.json"}, "data.uri names a file of rows"),
        ({"data": "pvc://data/../questions.jsonl"}, "data.uri names a file of rows"),
        ({"data": f"oci://team/datasets/a@sha256:{'0' * 64}"}, "spec.data.uri in body should match"),
        ({"data": "oci://team/questions/a:latest"}, "spec.data.uri in body should match"),
        ({"data": "pvc://data/a//questions.jsonl"}, "data.uri names a file of rows"),
        ({"data": "pvc://data/questions/"}, "data.uri names a file of rows"),
    ],
)
def test_what_cannot_work_is_refused_at_admission(changes: Json, says: str, world: World) -> None:
    made = make_evaluationsuite("bad", world.namespace)
    uri = changes.pop("data", None)
    made["spec"] |= {"task": {"type": "Generation"}, **changes}
    made["spec"]["data"] |= {"uri": uri} if uri else {}
    world.create("evaluation-owner", made).refused(says)


@pytest.mark.parametrize("path", ["questions.jsonl", "a/b.c/questions.parquet", "folder", "..hidden.jsonl", "a./b"])
def test_plain_paths_are_accepted(path: str, world: World) -> None:
    made = make_evaluationsuite("good", world.namespace)
    made["spec"]["data"] |= {"uri": f"pvc://data/{path}"}
    world.create("evaluation-owner", made).passes()
