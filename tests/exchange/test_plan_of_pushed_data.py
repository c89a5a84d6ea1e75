"""`plan` of a job whose data was pushed: fetched with the person's own right, verified, bounded, and kept by digest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.exchange.test_push_command import ROWS, Desk
from tests.support.exchange_site import OWN, Site
from tests.support.model_folder import make_model
from tests.support.plan_files import write_plan_files
from tunegate.cli.exchange import address
from tunegate.cli.failure import CommandFailure
from tunegate.cli.local_files import chosen
from tunegate.cli.main import main, parser
from tunegate.cli.plan.pushed_data import Fetched, cache_folder, fetch
from tunegate.cli.sending import send
from tunegate_trainer.progress import ProgressBoard

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
DECLARED = ["--classification", "Public", "--license", "CC-BY-4.0", "--source", "tests", "--steward", "stella"]
Fetch = Callable[..., Fetched]


@pytest.fixture
def desk(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(site, tmp_path)
    made.settings()
    monkeypatch.setenv("TUNEGATE_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


@pytest.fixture
def fetched(desk: Desk) -> Fetch:
    def one(uri: str, role: str = "steward", *words: str) -> Fetched:
        options = parser().parse_args(["plan", "-f", "x", "--kubeconfig", desk.site.plane.kubeconfig(role), *words])
        return fetch([uri], options, ProgressBoard("Validate"))[uri]

    return one


def pushed(desk: Desk, *files: str, name: str) -> str:
    done = desk.run("steward", "data", "push", *files, "--name", name, *DECLARED)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_file_is_fetched_once_and_kept_by_digest(desk: Desk, fetched: Fetch) -> None:
    uri = pushed(desk, desk.file(), name="one")
    found = fetched(uri)
    assert found.pushed.pushed_by == "stella"
    assert [json.loads(line) for line in found.path.read_text().splitlines()] == ROWS
    assert found.path.parent == cache_folder() / uri.partition("@")[2].replace(":", "-")
    before = found.path.stat().st_ino
    assert fetched(uri).path.stat().st_ino == before
    assert list(cache_folder().glob("part-*")) == []


@pytest.mark.attack(76)
def test_what_was_changed_or_added_in_the_cache_is_fetched_again(desk: Desk, fetched: Fetch) -> None:
    desk.file("set/a/one.jsonl")
    desk.file("set/two.jsonl")
    uri = pushed(desk, str(desk.folder / "set"), name="several")
    path = fetched(uri).path
    assert sorted(file.relative_to(path).as_posix() for file in path.rglob("*.jsonl")) == ["a/one.jsonl", "two.jsonl"]
    content = (path / "two.jsonl").read_bytes()
    for change in ("other bytes", "a further file", "a link", "a missing file"):
        if change == "other bytes":
            (path / "two.jsonl").write_bytes(content.replace(b"2", b"3"))
        elif change == "a further file":
            (path / "three.jsonl").write_bytes(content)
        elif change == "a link":
            (path / "two.jsonl").unlink()
            (path / "two.jsonl").symlink_to(desk.folder / "set/two.jsonl")
        else:
            (path / "two.jsonl").unlink()
        assert fetched(uri).path == path
        assert (path / "two.jsonl").read_bytes() == content
        assert not (path / "two.jsonl").is_symlink()
        assert len([*path.rglob("*.jsonl")]) == 2


@pytest.mark.attack(74)
def test_what_is_kept_is_not_used_by_a_person_without_the_right_nor_after_it_was_withdrawn(
    desk: Desk, fetched: Fetch
) -> None:
    uri = pushed(desk, desk.file(rows=ROWS[:7]), name="taken-back")
    fetched(uri)
    for role, name in (("stranger", "mallory"), ("engineer", "erin")):
        with pytest.raises(CommandFailure, match=f"{name} may not (get|list) datasets"):
            fetched(uri, role)
    assert desk.run("steward", "data", "delete", uri, "--yes").returncode == 0
    with pytest.raises(CommandFailure, match="stella withdrew the data"):
        fetched(uri)
    with pytest.raises(CommandFailure, match="nothing was pushed at"):
        fetched(f"oci://{OWN}/datasets/taken-back@sha256:{'0' * 64}")


def test_more_than_is_allowed_is_refused_before_a_byte_is_fetched(desk: Desk, fetched: Fetch) -> None:
    uri = pushed(desk, desk.file(rows=ROWS[:9]), name="large")
    with pytest.raises(CommandFailure, match=r"at most 100 are read: give --max-download"):
        fetched(uri, "steward", "--max-download", "100")
    assert not list(cache_folder().rglob("*.jsonl"))


def test_plan_compares_a_job_with_what_was_declared_and_reads_what_was_pushed(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = pushed(desk, desk.file(), name="planned")
    (tmp_path / "models").mkdir()
    make_model(tmp_path / "models" / "smollm2")
    said = {"classification": "Public", "license": "CC-BY-4.0", "source": "tests", "steward": "stella", "uri": uri}
    person = [{"username": "stella"}]
    for name, dataset, more, expected in (
        ("other", {**said, "steward": "zoe"}, person, "spec.dataset.steward is 'zoe', but the data was pushed as 'stella'"),
        ("unnamed", said, [], "Create a new job with spec.contributors"),
        ("same", said, person, "tokenizer"),
    ):  # fmt: skip
        files = write_plan_files(tmp_path / name, dataset=dataset, contributors=more)
        job = yaml.safe_load((tmp_path / name / "job.yaml").read_text())
        job["metadata"]["namespace"] = OWN
        (tmp_path / name / "job.yaml").write_text(yaml.safe_dump(job))
        connection = ["--kubeconfig", desk.site.plane.kubeconfig("steward")]
        assert main([*files, "--volume", f"models={tmp_path / 'models'}", "--quiet", *connection]) == 1
        printed = capsys.readouterr().err
        assert expected in printed, printed


def asked(desk: Desk, name: str, file: Path) -> str:
    """Push questions and return their address."""
    options = parser().parse_args(["questions", "list", "--kubeconfig", desk.site.plane.kubeconfig("evaluation-owner")])
    return str(send("questions", chosen("questions", [str(file)]), name, OWN, None, address(options))["uri"])


def test_questions_are_read_by_people_who_may_and_a_job_is_planned_without_them_by_others(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models").mkdir()
    make_model(tmp_path / "models" / "smollm2")
    write_plan_files(tmp_path / "rows")
    uris = tuple(
        asked(desk, name, tmp_path / "rows/volume" / file)
        for name, file in (("suite", "gate.jsonl"), ("beside", "beside.jsonl"))
    )
    files = write_plan_files(tmp_path / "site", pushed=(uris[0], uris[1]))

    def plan(role: str) -> str:
        connection = ["--kubeconfig", desk.site.plane.kubeconfig(role)]
        assert main([*files, "--volume", f"models={tmp_path / 'models'}", "--quiet", *connection]) == 1
        return capsys.readouterr().err

    told = plan("engineer")
    assert "note: EvaluationSuite suite, the job's own: its questions were pushed, and only people with `get`" in told
    assert "note: rows are not compared with 1 suite of the namespace (beside) here: its questions were pushed" in told
    assert "warning" not in told
    assert "tokenizer" in told  # it went on to the checks
    assert not list(cache_folder().rglob("*.jsonl"))
    (tmp_path / "token").write_text("of nobody")
    desk.settings(tokenFile=str(tmp_path / "token"))
    told = plan("evaluation-owner")
    assert "warning: EvaluationSuite suite, the job's own: its questions cannot be read (" in told
    assert "people with `get`" not in told
    desk.settings()
    told = plan("evaluation-owner")
    assert ("note" in told, "warning" in told, "tokenizer" in told) == (False, False, True)
    assert {file.name for file in cache_folder().rglob("*.jsonl")} == {"gate.jsonl", "beside.jsonl"}
    assert desk.run("evaluation-owner", "questions", "delete", uris[0], "--yes").returncode == 0
    assert f"the questions of the suite suite cannot be used: eva withdrew {uris[0]}" in plan("evaluation-owner")
