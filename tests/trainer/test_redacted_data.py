"""The redacted data set in the workspace: what it holds, what it never holds, and what ends its making."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.rows import SpaceTokenizer
from tunegate.api.datachecks import DEFAULTS, CheckSetting, DataCheck, effective
from tunegate.api.stage.configs import DatasetInput
from tunegate.api.stage.layout import REDACTED_FILE
from tunegate_trainer.checks.leakage import Questions
from tunegate_trainer.checks.meter import Meter
from tunegate_trainer.checks.scan import scan
from tunegate_trainer.data.rows import Row, RowStream, read_sound_rows
from tunegate_trainer.data.shards import find_shards, open_dataset
from tunegate_trainer.data.splitting import group_key, in_development
from tunegate_trainer.endings import BadInput, Unavailable
from tunegate_trainer.validation import data_checks
from tunegate_trainer.validation.data_checks import DataFacts, weigh
from tunegate_trainer.validation.redaction import Cut, Redacted, redact_data

PLANTED = (
    "ada.lovelace@example.org", "bob@mail.example.co.uk", "+1 212-555-0173", "943 476 5919", "AKIAIOSFODNN7EXAMPLE",
    "MIIEpAIBAAKCAQEA",
)  # fmt: skip
"""Every text that a check of the source matches, and the key that follows such a match."""
KEY = f"-----BEGIN PRIVATE KEY-----\n{PLANTED[5]}\n-----END PRIVATE KEY-----"
SETTINGS = effective(
    [CheckSetting(name=name, action="Redact") for name in ("PersonalData", "HealthData", "Secrets")], []
)


def planted() -> list[dict[str, Any]]:
    """Rows in two files' worth of conversations; groups are named by people."""
    questions = [
        f"Write to {PLANTED[0]} or {PLANTED[1]}", f"Call {PLANTED[2]}", f"The NHS number is {PLANTED[3]}",
        f"Log in with {PLANTED[4]}", f"Use {KEY} now", f"Ask {PLANTED[0]}, again {PLANTED[0]}",
    ]  # fmt: skip
    return [
        {
            "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"Answer {number}"}],
            "owner": PLANTED[number % 2], "note": PLANTED[2],
        }
        for number, text in enumerate([*questions, *(f"Plain question {at}" for at in range(20))])
    ]  # fmt: skip


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of two shards."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(lines(planted()[:4]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(lines(planted()[4:])))
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    place.mkdir()
    return place


def read(stream: RowStream, questions: tuple[Row, ...] = ()) -> DataFacts:
    enabled: frozenset[DataCheck] = frozenset(DEFAULTS)
    measured = scan(stream, Meter(SpaceTokenizer(), enabled, Questions.of(questions), "owner", 17), lambda _: None, 1)
    return weigh(measured, stream.form, 1000, enabled)


def redacted(
    source: Path, workspace: Path, settings: list[CheckSetting] = SETTINGS, scratch: Path | None = None
) -> Redacted:
    stream = RowStream(find_shards("data set", source))
    cut = Cut.of(read(stream), settings)
    assert cut is not None
    return redact_data(cut, stream, "owner", workspace, scratch or Path(tempfile.mkdtemp(dir=source.parent)), read)


def test_the_copy_has_a_digest_of_its_own_and_counts_of_each_kind(
    source: Path, workspace: Path, tmp_path: Path
) -> None:
    data = redacted(source, workspace).data

    shards, digest = open_dataset(DatasetInput(path=str(workspace / REDACTED_FILE)), tmp_path)
    assert data is not None
    assert data.digest == digest != open_dataset(DatasetInput(path=str(source)), tmp_path)[1]
    assert data.rows == 6
    assert data.replaced == {
        "<AWS_ACCESS_KEY>": 1, "<EMAIL_ADDRESS>": 4, "<PHONE_NUMBER>": 1, "<PRIVATE_KEY>": 1, "<UK_PATIENT_NUMBER>": 1,
    }  # fmt: skip
    assert [row.answer for row in read_sound_rows(shards)] == [f"Answer {number}" for number in range(26)]


def test_what_was_found_stands_nowhere(source: Path, workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {file: file.read_bytes() for file in source.iterdir()}

    made = redacted(source, workspace)

    said = capfd.readouterr()
    stream = RowStream(find_shards("data set", source))
    found = [*data_checks.findings(made.facts, SETTINGS, stream), *made.findings]
    everything = [
        *(file.read_text() for file in workspace.rglob("*")), made.data.model_dump_json() if made.data else "",
        *(finding.model_dump_json() for finding in found), said.out, said.err,
    ]  # fmt: skip
    assert names(workspace) == [REDACTED_FILE]
    assert "<EMAIL_ADDRESS>" in everything[0]
    assert not [text for text in PLANTED for each in everything if text in each]
    assert {file: file.read_bytes() for file in source.iterdir()} == before


def test_findings_say_what_was_found_in_the_source_at_its_places(source: Path, workspace: Path) -> None:
    made = redacted(source, workspace)
    stream = RowStream(find_shards("data set", source))
    list(stream)

    found = {
        finding.message.partition(":")[2].partition(";")[0].strip(): finding
        for finding in data_checks.findings(made.facts, SETTINGS, stream)
        if finding.action == "Redact"
    }

    assert found["e-mail address"].rows == ["a.jsonl:1", "b.jsonl.gz:2"]
    assert found["e-mail address"].message.endswith("training sees <EMAIL_ADDRESS> in its place")
    assert {"phone number", "UK patient number", "AWS Access Key", "Private Key"} <= set(found)


def test_a_second_run_writes_the_same_bytes(source: Path, workspace: Path) -> None:
    first = redacted(source, workspace)
    (workspace / f"draft-{REDACTED_FILE}").write_text("what a killed stage left")
    second = redacted(source, workspace)

    assert first.data == second.data
    assert names(workspace) == [REDACTED_FILE]


def test_what_is_redacted_needs_no_redaction(source: Path, workspace: Path) -> None:
    redacted(source, workspace)

    assert Cut.of(read(RowStream(find_shards("data set", workspace / REDACTED_FILE))), SETTINGS) is None


def test_groups_lose_their_names_and_stay_together(source: Path, workspace: Path) -> None:
    redacted(source, workspace)

    rows = read_sound_rows(find_shards("data set", workspace / REDACTED_FILE))
    development = in_development([group_key(row.group("owner"), 17) for row in rows], 0.5)
    assert [row.fields for row in rows[:4]] == [{"owner": 1}, {"owner": 2}, {"owner": 1}, {"owner": 2}]
    assert set(development[::2]) ^ set(development[1::2]) == {True, False}


def test_only_the_checks_that_redact_replace(source: Path, workspace: Path) -> None:
    settings = effective([CheckSetting(name="PersonalData", action="Redact")], [])

    made = redacted(source, workspace, settings)

    stream = RowStream(find_shards("data set", source))
    blocked = {
        finding.check for finding in data_checks.findings(made.facts, settings, stream) if finding.action == "Block"
    }
    assert PLANTED[4] in (workspace / REDACTED_FILE).read_text()
    # The patient number also looks like a phone number and went with them: it was in the data all the same.
    assert blocked == {"HealthData", "Secrets"}


def test_a_leak_is_found_whether_the_suite_was_redacted_or_not(source: Path, workspace: Path, tmp_path: Path) -> None:
    asked = ("Write to <EMAIL_ADDRESS> or <EMAIL_ADDRESS>", f"Call {PLANTED[2]}")
    questions = tuple(
        Row(at, ({"role": "user", "content": text}, {"role": "assistant", "content": "x"}), {})
        for at, text in enumerate(asked)
    )
    stream = RowStream(find_shards("data set", source))
    cut = Cut.of(read(stream, questions), SETTINGS)
    assert cut is not None

    made = redact_data(cut, stream, "owner", workspace, tmp_path, lambda rows: read(rows, questions))

    assert made.facts.found["Overlap"] == {"": [1, 2]}


def test_a_row_that_still_holds_something_refuses_the_job_and_nothing_is_kept(tmp_path: Path, workspace: Path) -> None:
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": '{"phone": 2125550173}'}]
    (tmp_path / "rows.jsonl").write_bytes(lines([*planted(), {"messages": turns, "owner": "x"}]))

    made = redacted(tmp_path / "rows.jsonl", workspace)

    assert made.data is None
    assert [(one.check, one.action, one.rows) for one in made.findings] == [("Redaction", "Block", ["27"])]
    assert "phone number" in made.findings[0].message
    assert names(workspace) == []


def test_nothing_is_written_when_nothing_was_found_or_training_refuses_the_rows(tmp_path: Path) -> None:
    for name, rows in (("plain", lines(planted()[6:])), ("broken", lines(planted()) + b"{\n")):
        (tmp_path / f"{name}.jsonl").write_bytes(rows)
        assert Cut.of(read(RowStream(find_shards("data set", tmp_path / f"{name}.jsonl"))), SETTINGS) is None


def test_a_full_workspace_is_said_and_tried_again(source: Path, workspace: Path) -> None:
    (workspace / f"draft-{REDACTED_FILE}").symlink_to("/dev/full")

    with pytest.raises(Unavailable, match=r"no room for the redacted data set: ask for a larger workspace\.size"):
        redacted(source, workspace)
    assert names(workspace) == []

    assert redacted(source, workspace).data is not None


def test_a_workspace_that_is_not_there_is_bad_input(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="workspace .* is missing or not writable"):
        redacted(source, tmp_path / "none")


def test_a_stage_that_was_killed_at_any_moment_does_it_again(source: Path, workspace: Path, tmp_path: Path) -> None:
    (source / "c.jsonl").write_bytes(lines(planted()[6:] * 50))
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    expected = redacted(source, undisturbed).data
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    draft, kept = scratch / REDACTED_FILE, workspace / REDACTED_FILE
    whole = (undisturbed / REDACTED_FILE).stat().st_size
    for least in (0, 20_000, whole):
        process = multiprocessing.get_context("fork").Process(
            target=redacted, args=(source, workspace, SETTINGS, scratch)
        )
        process.start()
        while not (draft.exists() and draft.stat().st_size >= least):
            assert process.is_alive()
            time.sleep(0.001)
        process.kill()
        process.join()
        assert not kept.exists()
        draft.unlink()

    assert redacted(source, workspace).data == expected
    assert names(workspace) == [REDACTED_FILE]


def test_the_source_may_not_change_while_it_is_read(source: Path, workspace: Path, tmp_path: Path) -> None:
    stream = RowStream(find_shards("data set", source))
    cut = Cut.of(read(stream), SETTINGS)
    assert cut is not None
    (source / "a.jsonl").write_text("{\n" * 4)

    with pytest.raises(BadInput, match="it changed while it was read"):
        redact_data(cut, stream, "owner", workspace, tmp_path, read)
    assert names(workspace) == []
