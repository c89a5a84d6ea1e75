"""`tunegate data …` as people use it: their kubeconfig, their settings, files of theirs; and reading by the same door."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.exchange_site import OWN, PROGRAMS, Site
from tunegate.api.pushed import PART_BYTES, PushedPlace
from tunegate.cli.exchange import address
from tunegate.cli.failure import CommandFailure
from tunegate.cli.main import parser

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
ROWS = [{"prompt": f"What is {n}?", "completion": str(n)} for n in range(50)]
DECLARED = ["--classification", "Internal", "--license", "CC-BY-4.0", "--source", "tests", "--steward", "stella"]
TRAINER = PROGRAMS.parent / "trainer-image"


@dataclass
class Desk:
    """One person's machine."""

    site: Site
    folder: Path

    def environment(self, role: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("TUNEGATE_")}
        return {
            **kept, "KUBECONFIG": self.site.plane.kubeconfig(role), "PYTHONPATH": f"{PROGRAMS}:{TRAINER}",
            "TUNEGATE_CONFIG": str(self.folder / "config.yaml"),
        }  # fmt: skip

    def settings(self, **more: Any) -> None:
        told = {
            "host": self.site.registry.host,
            "plainHTTP": True,
            "exchange": self.site.url.removeprefix("http://"),
            **more,
        }
        (self.folder / "config.yaml").write_text(yaml.safe_dump({"registry": told}))

    def run(self, role: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tunegate.cli", *words, "-n", OWN]
        return subprocess.run(
            command, env=self.environment(role), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )

    def file(self, name: str = "train.jsonl", rows: Any = ROWS) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return str(path)


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    made = Desk(site, tmp_path)
    made.settings()
    return made


def test_an_owner_makes_a_suite_and_its_questions_are_pushed_only_if_it_is_accepted(desk: Desk) -> None:
    crds = PROGRAMS.parent / "crds/evaluationsuites.yaml"
    desk.site.kubectl("apply", "--server-side", "-f", str(crds))
    desk.site.kubectl("wait", "--for=condition=Established", "crd/evaluationsuites.tunegate.io", "--timeout=60s")
    create = [
        "create",
        "suite",
        "gate",
        "--from",
        desk.file("questions.jsonl"),
        "--task",
        "Generation",
        "--metric",
        "ExactMatch",
    ]
    tried = desk.run("evaluation-owner", *create, "--dry-run")
    assert (tried.returncode, "would be pushed" in tried.stdout) == (0, True), tried.stderr
    refused = desk.run("engineer", *create)
    assert (refused.returncode, "cannot create resource" in refused.stderr) == (1, True)
    assert json.loads(desk.run("evaluation-owner", "questions", "list", "-o", "json").stdout) == []

    done = desk.run("evaluation-owner", *create)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(desk.run("evaluation-owner", "questions", "list", "-o", "json").stdout)
    assert found["uri"].startswith(f"oci://{OWN}/questions/gate@sha256:")
    assert found["uri"] in done.stdout
    suite = json.loads(desk.site.kubectl("-n", OWN, "get", "evaluationsuite", "gate", "-o", "json"))
    assert suite["spec"]["data"]["uri"] == found["uri"]
    again = desk.run("evaluation-owner", *create)
    assert (again.returncode, "give another NAME" in again.stderr) == (1, True)
    assert len(json.loads(desk.run("evaluation-owner", "questions", "list", "-o", "json").stdout)) == 1


def test_a_steward_pushes_by_one_command_and_gets_what_to_paste(desk: Desk) -> None:
    done = desk.run("steward", "data", "push", desk.file(), *DECLARED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"oci://{OWN}/datasets/train@sha256:")
    assert PushedPlace.of(done.stdout.strip()).name == "train"
    assert "50 rows of form PromptCompletion" in done.stderr
    part = yaml.safe_load(desk.run("steward", "data", "push", desk.file(), *DECLARED, "-o", "yaml").stdout)
    assert part["dataset"]["classification"] == "Internal"
    assert part["dataset"]["uri"].startswith(f"oci://{OWN}/datasets/train@")


def test_a_folder_with_compressed_files_is_pushed_as_it_is(desk: Desk) -> None:
    desk.file("set/a/one.jsonl.gz")
    desk.file("set/two.jsonl")
    desk.file("set/.hidden.jsonl")
    done = desk.run("steward", "data", "push", str(desk.folder / "set"), "--name", "folder", *DECLARED, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["files"], json.loads(done.stdout).get("file")) == (2, None)


def test_rows_of_a_wrong_form_are_named_by_place_before_a_byte_is_sent(desk: Desk) -> None:
    file = desk.file("bad.jsonl", [*ROWS, {"question": "my secret", "answer": "no"}])
    done = desk.run("steward", "data", "push", file, *DECLARED)
    assert done.returncode == 1
    assert "1 of 51 rows cannot be trained on; nothing was pushed" in done.stderr
    assert "bad.jsonl, row 51: no prompt and completion" in done.stderr
    assert "my secret" not in done.stderr
    assert desk.run("steward", "data", "push", file, *DECLARED, "--unchecked").returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing.jsonl", *DECLARED], "nothing.jsonl: is not a file"),
        (["train.jsonl", *DECLARED, "--name", "No_Name"], "--name No_Name"),
        (["train.jsonl", *DECLARED, "--expires", "soon"], "a day as YYYY-MM-DD"),
        (["train.jsonl", *DECLARED[:-1], " "], "one line that is not empty"),
        (["train.csv", *DECLARED], "is none of .jsonl"),
        (["a/train.jsonl", "train.jsonl", *DECLARED], "two files have this name"),
        (["empty.jsonl", *DECLARED], "is empty"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_asked(desk: Desk, words: list[str], says: str) -> None:
    for name in ("train.jsonl", "train.csv", "a/train.jsonl"):
        desk.file(name)
    (desk.folder / "empty.jsonl").touch()
    done = desk.run(
        "steward",
        "data",
        "push",
        *(str(desk.folder / one) if one.endswith(("l", "csv")) and "." in one else one for one in words),
    )
    assert done.returncode == 2, done.stderr
    assert says in done.stderr


def test_pushes_are_listed_shown_and_withdrawn(desk: Desk) -> None:
    uri = desk.run("steward", "data", "push", desk.file(), "--name", "listed", *DECLARED).stdout.strip()
    listed = desk.run("engineer", "data", "list").stdout
    assert "listed" in listed
    assert uri.partition("@")[2] in listed
    shown = desk.run("engineer", "data", "show", uri).stdout
    for word in ("Internal", "CC-BY-4.0", "stella", uri):
        assert word in shown
    assert desk.run("steward", "data", "delete", uri).returncode == 2
    assert "may not delete datasets" in desk.run("engineer", "data", "delete", uri, "--yes").stderr
    assert desk.run("steward", "data", "delete", uri, "--yes").returncode == 0
    assert f"withdrawn {uri.partition('@')[2]}" in desk.run("engineer", "data", "list", "listed").stdout
    assert json.loads(desk.run("auditor", "data", "show", uri, "-o", "json").stdout)["withdrawnBy"] == "stella"


def test_documents_are_pushed_by_the_same_command(desk: Desk) -> None:
    (desk.folder / "manual.md").write_text("# Manual\n")
    done = desk.run("steward", "documents", "push", str(desk.folder / "manual.md"), *DECLARED, "-o", "yaml")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["baseline"]["documents"]["uri"].startswith(f"oci://{OWN}/documents/manual@")


def test_who_may_not_push_is_told_which_right_is_missing(desk: Desk) -> None:
    done = desk.run("engineer", "data", "push", desk.file(), *DECLARED)
    assert done.returncode == 1
    assert f"erin may not create datasets.tunegate.io in namespace {OWN}" in done.stderr


def test_a_push_that_is_interrupted_goes_on_where_it_stopped(desk: Desk) -> None:
    file = desk.folder / "large.jsonl"
    line = json.dumps({"prompt": "x" * 1000, "completion": "y"}).encode() + b"\n"
    file.write_bytes(b"".join(line.replace(b"y", b"%d" % n) for n in range(12 * PART_BYTES // len(line))))
    command = [sys.executable, "-m", "tunegate.cli", "data", "push", str(file), "--unchecked", *DECLARED, "-n", OWN]
    process = subprocess.Popen(
        command, env=desk.environment("steward"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background jobs ignore the signal, and so would this program.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    first = process.stderr.readline()
    assert " of " in first
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "what was sent is kept: run the same command again" in err
    assert "Traceback" not in err
    assert out == ""
    again = desk.run("steward", "data", "push", str(file), "--unchecked", *DECLARED)
    assert again.returncode == 0, again.stderr
    assert "were there already" in again.stderr


def test_a_certificate_is_no_token_and_a_service_account_helps(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = yaml.safe_load(Path(desk.site.plane.kubeconfig("steward")).read_text())
    certified = {**told, "users": [{"name": told["users"][0]["name"], "user": {"username": "x", "password": "y"}}]}
    (tmp_path / "certificate.kubeconfig").write_text(yaml.safe_dump(certified))
    monkeypatch.setenv("TUNEGATE_CONFIG", str(desk.folder / "config.yaml"))
    options = parser().parse_args(["data", "list", "--kubeconfig", str(tmp_path / "certificate.kubeconfig")])
    with pytest.raises(CommandFailure, match="such as a client certificate.*serviceAccount: NAME"):
        address(options).token()
    options = parser().parse_args(
        ["data", "list", "--kubeconfig", desk.site.plane.kubeconfig("steward"), "--as", "somebody"]
    )
    with pytest.raises(CommandFailure, match="not whom --as names"):
        address(options).token()
    role = (
        "create",
        "rolebinding",
        "by-account",
        "--clusterrole=tunegate-data-steward",
        f"--serviceaccount={OWN}:pipeline",
    )
    desk.site.kubectl(*role, "-n", OWN)
    time.sleep(1)
    done = desk.run("admin", "data", "push", desk.file(), *DECLARED, "--service-account", "pipeline", "-o", "json")
    assert json.loads(done.stdout)["pushedBy"] == f"system:serviceaccount:{OWN}:pipeline", done.stderr
    (tmp_path / "token").write_text(desk.site.account_token(OWN, "pipeline"))
    done = desk.run("stranger", "data", "list", "--token-file", str(tmp_path / "token"))
    assert done.returncode == 0, done.stderr


def test_without_an_exchange_the_settings_are_named(desk: Desk) -> None:
    (desk.folder / "config.yaml").write_text("{}")
    done = desk.run("steward", "data", "list")
    assert done.returncode == 1
    assert "which exchange? Give --exchange HOST:PORT" in done.stderr
