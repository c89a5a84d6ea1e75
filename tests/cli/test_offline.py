"""What the command line does without any cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tunegate.cli.decide import lifetime
from tunegate.cli.main import main
from tunegate.ledger import chain
from tunegate.ledger.entry import AuditEntry, AuditSubject


@pytest.fixture
def export(tmp_path: Path) -> Path:
    previous = None
    objects = []
    for number in range(3):
        entry = AuditEntry("JobFinished", "erin", AuditSubject("FineTuneJob", "team", "job", "u"), str(number))
        previous = chain.next_record(entry, previous, datetime(2026, 11, 24, tzinfo=UTC))
        objects.append(chain.record_object(previous))
    path = tmp_path / "records.json"
    path.write_text(json.dumps({"kind": "List", "items": objects}))
    return path


def test_exported_ledger_is_verified_without_a_cluster(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--file", str(export)]) == 0
    assert "ledger intact: 3 records, head 3:sha256:" in capsys.readouterr().out


@pytest.mark.attack(29, 38)
def test_edit_of_an_export_is_found(export: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export.write_text(export.read_text().replace('"erin"', '"eve"', 1))
    assert main(["audit", "verify", "--file", str(export)]) == 1
    assert "audit-0000000001: hash does not fit the content" in capsys.readouterr().out


def test_records_one_a_line_are_read_too(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps(one) for one in json.loads(export.read_text())["items"]]
    short = tmp_path / "records.jsonl"
    short.write_text("\n".join(lines[:2]))
    assert main(["audit", "verify", "--file", str(short)]) == 0
    head = "3:" + json.loads(lines[2])["spec"]["hash"]
    assert main(["audit", "verify", "--file", str(short), "--anchor", head]) == 1
    assert "the tail was cut" in capsys.readouterr().out


def test_missing_kubeconfig_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kubeconfig", str(tmp_path / "none"), "list"]) == 1
    assert "no usable kubeconfig" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "seconds"), [("90m", 5400), ("24h", 86_400), ("7d", 604_800)])
def test_lifetimes(text: str, seconds: int) -> None:
    assert lifetime(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "0d", "d", "1w", "-1d"])
def test_lifetime_in_other_words_is_refused(text: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["approve", "x", "--reason", "y", "--expires", text])
