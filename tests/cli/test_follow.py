"""What `wait` waits for and when it gives up, which pods `logs` reads, and how Ctrl-C ends a command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import make_finetunejob, make_modelrelease, make_modelserver
from tunegate.api.finetunejob.kind import FineTuneJob
from tunegate.api.finetunejob.status import Progress
from tunegate.api.modelrelease import ModelRelease
from tunegate.api.modelserver import ModelServer
from tunegate.cli.follow import logs, wait
from tunegate.cli.main import parser
from tunegate.reconcile.naming import ATTEMPT_LABEL, STAGE_LABEL

OPERATOR = Path(__file__).parents[2] / "operator"
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
"""
MORE_THAN_A_PIPE_HOLDS = 1 << 20
"""Bytes. Who has written them knows that the other side reads."""
Json = dict[str, Any]


def job(phase: str, *conditions: Json) -> FineTuneJob:
    return FineTuneJob.model_validate(
        {**make_finetunejob(), "status": {"phase": phase, "conditions": list(conditions)}}
    )


def release(phase: str) -> ModelRelease:
    return ModelRelease.model_validate({**make_modelrelease(), "status": {"phase": phase}})


def condition(type_: str, status: str) -> Json:
    return {"type": type_, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-11-24T12:00:00Z"}


def test_a_phase_is_awaited_by_its_name() -> None:
    wanted = wait.awaited("phase=Succeeded")
    assert str(wanted) == "phase=Succeeded"
    assert wanted.met(job("Succeeded"))
    assert not wanted.met(job("Training"))


def test_a_condition_is_awaited_with_its_status_and_true_when_none_is_said() -> None:
    assert wait.awaited("condition=Scheduled") == wait.awaited("condition=Scheduled=True")
    assert str(wait.awaited("condition=Scheduled=False")) == "condition=Scheduled=False"
    assert wait.awaited("condition=Scheduled").met(job("Training", condition("Scheduled", "True")))
    assert not wait.awaited("condition=Scheduled").met(job("Training"))
    assert wait.awaited("condition=Scheduled=False").met(job("Queued", condition("Scheduled", "False")))


def test_each_tenth_of_a_stage_is_news_and_no_percent_between() -> None:
    def at(percent: int) -> FineTuneJob:
        made = job("Training")
        return made.model_copy(
            update={"status": made.status.model_copy(update={"progress": Progress(percent=percent)})}
        )

    assert [wait.tenths(at(percent)) for percent in (0, 9, 10, 55, 100)] == [0, 0, 1, 5, 10]
    assert wait.tenths(job("Training")) is None
    assert wait.tenths(release("Serving")) is None


@pytest.mark.parametrize("stage", ["Train", "train", "TRAIN"])
def test_a_stage_is_named_in_any_case(stage: str) -> None:
    assert parser().parse_args(["logs", "job/holders", "--stage", stage]).stage == "Train"


@pytest.mark.parametrize("text", ["phase=Succeeded", "condition=Scheduled"])
def test_a_job_that_has_ended_is_not_waited_for(text: str) -> None:
    assert wait.awaited(text).hopeless(job("Failed"), "job")
    assert not wait.awaited(text).hopeless(job("Suspended"), "job")


def test_a_release_that_has_ended_can_only_end_in_another_way() -> None:
    assert wait.awaited("phase=Serving").hopeless(release("Denied"), "release")
    assert not wait.awaited("phase=Revoked").hopeless(release("Failed"), "release")
    assert not wait.awaited("condition=Tampered").hopeless(release("Revoked"), "release")
    assert not wait.awaited("phase=Serving").hopeless(release("Approved"), "release")


def test_every_end_is_a_phase_of_the_api() -> None:
    assert {*wait.ENDED["job"]} <= {*wait.phases(FineTuneJob)}
    assert {*wait.ENDED["release"]} <= {*wait.phases(ModelRelease)}
    assert "Ready" in wait.phases(ModelServer)
    assert ModelServer.model_validate(make_modelserver()).status.phase in wait.phases(ModelServer)


def pod(name: str, stage: str, attempt: int, minute: int) -> Json:
    created = f"2026-11-24T12:{minute:02}:00Z"
    labels = {STAGE_LABEL: stage, ATTEMPT_LABEL: str(attempt)}
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": created}}


def test_logs_are_those_of_the_attempt_that_was_begun_last_from_its_first_node_on() -> None:
    pods = [
        pod("a-validate-1-x", "Validate", 1, 0), pod("a-train-2-1-y", "Train", 2, 9), pod("a-train-2-0-z", "Train", 2, 8),
        pod("a-train-1-0-w", "Train", 1, 5),
    ]  # fmt: skip
    assert [one["metadata"]["name"] for one in logs.newest(pods)] == ["a-train-2-0-z", "a-train-2-1-y"]
    assert logs.newest([]) == []


def test_a_reader_that_has_seen_enough_ends_a_command_without_a_trace() -> None:
    start = f"import sys; sys.path.insert(0, {str(OPERATOR)!r}); from tunegate.cli.main import main; sys.exit(main())"
    script = f'{sys.executable} -c "$0" completion bash | (exec <&-; sleep 0.1; wait); exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", script, start], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_ctrl_c_ends_a_command_that_waits_with_its_own_status_and_without_a_trace(tmp_path: Path) -> None:
    """This one waits for its standard input. A background process of a shell script ignores SIGINT, and so would what it starts."""
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    program = f"import sys; sys.path.insert(0, {str(OPERATOR)!r}); from tunegate.cli.main import main; sys.exit(main())"
    words = ["--kubeconfig", str(tmp_path / "kubeconfig"), "create", "job", "-f", "-"]
    running = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", program, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdin is not None
    running.stdin.write("#" * MORE_THAN_A_PIPE_HOLDS)
    running.stdin.flush()
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=30)
    assert (running.returncode, told) == (130, "\n")
