"""What docs/review.md tells a reviewer to type, as a reviewer types it, against the real API server and a registry."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import release_evidence
from tests.support.builders import make_finetunejob
from tests.support.command_line import Cli, say
from tests.support.governed_namespace import World
from tests.support.pages import commands
from tests.support.registry_process import RunningRegistry
from tests.support.release_cluster import Settle

pytestmark = pytest.mark.cluster
DECISIONS = ("approve", "reject", "withdraw", "revoke")


class Reader:
    """Types the page's commands with what their capital words stand for."""

    def __init__(self, cli: Cli, namespace: str) -> None:
        self._cli = cli
        self._values = {"licenses-team": namespace}

    def types(self, command: str, person: str = "reviewer-risk", **names: str) -> str:
        """Run one line and return what it prints; a redirection is left to the shell."""
        tool, *words = shlex.split(command.partition(" > ")[0], comments=True)
        assert tool == "tunegate"
        typed = [self._values.get(word, self._named(word, names)) for word in words]
        return self._cli.run(person, *typed, *(["--yes"] if typed[0] in DECISIONS else []))

    def _named(self, word: str, names: dict[str, str]) -> str:
        kind, _, name = word.rpartition("/")
        return f"{kind}/{names[name]}" if kind and name in names else names.get(word, word)


@pytest.fixture
def reader(
    cli: Cli, world: World, registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Reader:
    """A reviewer whose settings name the registry, which here speaks plain HTTP and asks for no credential."""
    settings = {"registry": {"host": registry.host, "authFile": "auth.json", "plainHTTP": True}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setenv("TUNEGATE_CONFIG", str(tmp_path / "config.yaml"))
    return Reader(cli, world.namespace)


async def asked(cli: Cli, settle: Settle, name: str) -> None:
    use = "Extract holder and years; not for legal advice."
    about = ("--from-job", "job", "--model", name, "--risk", "Low", "--intended-use", use)
    cli.run("engineer", "create", "release", name, *about)
    assert (await settle(name))["phase"] == "PendingApproval"


async def test_looking_at_a_release_and_its_answers(cli: Cli, job: str, settle: Settle, reader: Reader) -> None:
    await asked(cli, settle, "looked-at")
    looks = [*commands("review.md", "Look before you decide"), *commands("review.md", "Read the answers")]
    printed = [reader.types(line, RELEASE="looked-at") for line in looks]
    assert len(printed) == len([line for line in looks if line.startswith("tunegate ")]) >= 6
    assert all(printed)


async def test_each_decision_on_a_release(cli: Cli, job: str, settle: Settle, reader: Reader) -> None:
    lines = {line.split()[1]: line for line in commands("review.md", "Decide")}
    assert set(lines) == set(DECISIONS)
    for decision, line in lines.items():
        name = f"{decision}-it"
        await asked(cli, settle, name)
        if decision == "withdraw":
            reader.types(lines["approve"], RELEASE=name)
        said = reader.types(line, "serving-operator" if decision == "revoke" else "reviewer-risk", RELEASE=name)
        assert f"{decision.capitalize()} of" in said
        status: dict[str, Any] = await settle(name)
        ended = {"approve": "PendingApproval", "reject": "Denied", "withdraw": "PendingApproval", "revoke": "Revoked"}
        assert status["phase"] == ended[decision]
        assert status["approvals"] == ("1/2" if decision == "approve" else "0/2")


def test_a_jobs_findings_and_each_decision_on_them(
    world: World, cli: Cli, catalogue: dict[str, Any], job: str, reader: Reader
) -> None:
    rule = {"name": "risk", "minApprovals": 1, "groups": ["tunegate:model-risk"], "findings": ["MinimumExamples"]}
    few = {"check": "MinimumExamples", "count": 37, "message": "there are 37 usable examples"}
    lines = {line.split()[1]: line for line in commands("review.md", "Waive findings of a job")}
    assert set(lines) == {"describe", "inspect", "approve", "reject", "withdraw"}
    assert reader.types(lines["inspect"], JOB="job")
    for decision in ("describe", "approve", "reject", "withdraw"):
        name = f"waived-{decision}"
        requester = {"username": "erin", "groups": ["tunegate:engineers"]}
        world.create("engineer", make_finetunejob(name, world.namespace, requestedBy=requester), dry_run=False).passes()
        missing = [{"role": "risk", "missing": 1}]
        waiver = {"digest": release_evidence.digest("7"), "findings": [few], "rules": [rule], "missing": missing}
        say(world, "finetunejob", name, {"phase": "PendingWaiver", "waiver": waiver})
        if decision == "withdraw":
            reader.types(lines["approve"], JOB=name)
        assert reader.types(lines[decision], JOB=name)
