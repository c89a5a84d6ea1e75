"""Checkpoints get time stamps of a real authority, its failures are seen, and auditors check them offline."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.ledgers import Clock, Store, entry, new_key
from tests.support.time_authority import Authority, running_authority
from tunegate.cli.main import main
from tunegate.digests import canonical
from tunegate.errors import Transient
from tunegate.ledger.anchors.anchoring import STAMPS, Checkpoints
from tunegate.ledger.anchors.places import FolderAnchor
from tunegate.ledger.anchors.timestamps import TimeAuthority, read_chain, read_stamp
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.writer import LedgerWriter

KEY = new_key()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with running_authority(tmp_path_factory.mktemp("tsa") / "own") as running:
        yield running


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with running_authority(tmp_path_factory.mktemp("tsa") / "other") as running:
        yield running


def client(authority: Authority, chain: Path | None = None) -> TimeAuthority:
    return TimeAuthority(authority.url, read_chain((chain or authority.chain).read_bytes()))


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*{suffix}"))


def openssl_verifies(token: Path, data: Path, authority: Authority) -> bool:
    command: list[str | Path] = ["openssl", "ts", "-verify", "-data", data, "-in", token]
    command += ["-CAfile", authority.root, "-untrusted", authority.chain]
    return "OK" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def stamped_folder(authority: Authority, folder: Path) -> Store:
    store = Store()
    writer = LedgerWriter(store)
    checkpoints = Checkpoints(
        writer, KeyRing(KEY), [FolderAnchor(folder)], records=1, age=timedelta(days=1), authority=client(authority)
    )
    for number in range(2):
        await writer.append(entry(number))
        await checkpoints.look()
        await checkpoints.look()
    return store


async def test_stamp_is_over_the_checkpoint_and_openssl_agrees(authority: Authority, tmp_path: Path) -> None:
    asked = len(authority.asked)
    await stamped_folder(authority, tmp_path)
    assert len(authority.asked) == asked + 2
    tokens = files(tmp_path, ".tsr")
    assert len(tokens) == 2
    for token in tokens:
        data = token.with_suffix(".json")
        read_stamp(token.read_bytes(), data.read_bytes(), read_chain(authority.chain.read_bytes()))
        assert openssl_verifies(token, data, authority)


async def test_authority_that_is_down_or_wrong_delays_no_anchor_and_is_seen(
    authority: Authority, stranger: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = LedgerWriter(Store())
    await writer.append(entry(0))
    checkpoints = Checkpoints(
        writer, KeyRing(KEY), [FolderAnchor(tmp_path)], records=1, age=timedelta(days=1), authority=client(authority)
    )
    authority.answer = (503, b"")
    try:
        for _ in range(2):
            await checkpoints.look()
    finally:
        authority.answer = None
    assert len(files(tmp_path, ".json")) == 1
    assert files(tmp_path, ".tsr") == []
    assert not checkpoints.works(STAMPS)
    assert [one.levelno for one in caplog.records if "no time stamp" in one.message] == [logging.ERROR]
    await checkpoints.look()
    assert checkpoints.works(STAMPS)
    assert len(files(tmp_path, ".tsr")) == 1
    with pytest.raises(Transient, match="no good time stamp"):
        await client(stranger, authority.chain).stamp(b"checkpoint")


async def test_authority_whose_certificate_is_not_given_sends_it_along(authority: Authority) -> None:
    token = await client(authority, authority.root).stamp(b"checkpoint")
    for chain in (authority.root, authority.chain):
        read_stamp(token, b"checkpoint", read_chain(chain.read_bytes()))
    with pytest.raises(ValueError, match="Mismatch"):
        read_stamp(token, b"another", read_chain(authority.chain.read_bytes()))


async def test_old_answer_is_not_taken_for_a_new_request(authority: Authority) -> None:
    await client(authority).stamp(b"one")
    old = read_answer(authority)
    authority.answer = (200, old)
    try:
        with pytest.raises(Transient, match="Nonce mismatch"):
            await client(authority).stamp(b"one")
    finally:
        authority.answer = None


def read_answer(authority: Authority) -> bytes:
    """What the authority says to the last request once more."""
    folder = authority.root.parent
    command = ["openssl", "ts", "-reply", "-config", "openssl.cnf", "-section", "site", "-queryfile", "query"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout


@pytest.mark.attack(30)
async def test_auditor_learns_when_checkpoints_existed_and_which_stamp_is_wrong(
    authority: Authority, stranger: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    store = await stamped_folder(authority, anchors)
    exported, public = tmp_path / "records.jsonl", tmp_path / "key.pem"
    exported.write_bytes(b"".join(canonical(one) + b"\n" for one in store.records))
    public.write_text(KEY.public.pem)
    command = ["audit", "verify", "--file", str(exported), "--public-key", str(public), "--anchors", str(anchors)]
    assert main([*command, "--tsa-certificate", str(authority.chain)]) == 0
    said = capsys.readouterr().out
    assert "2 checkpoints with a time stamp, the last: 3 records existed at 20" in said
    assert main([*command, "--tsa-certificate", str(stranger.chain)]) == 1
    assert capsys.readouterr().out.count("BROKEN checkpoint-") == 2
    first, second = files(anchors, ".tsr")
    first.write_bytes(second.read_bytes())
    second.write_bytes(b"no stamp")
    assert main([*command, "--tsa-certificate", str(authority.chain)]) == 1
    said = capsys.readouterr().out
    assert f"BROKEN {first.name}: Mismatch between messages" in said
    assert f"BROKEN {second.name}: not a time stamp of RFC 3161" in said


async def test_stamp_from_before_the_time_that_the_operator_states_is_wrong(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store()
    ahead = Clock(Clock().now + timedelta(days=36500))
    writer = LedgerWriter(store, ahead)
    await writer.append(entry(0))
    await Checkpoints(
        writer, KeyRing(KEY), [FolderAnchor(tmp_path)], records=1, age=timedelta(days=1), authority=client(authority)
    ).look()
    exported = tmp_path / "records.jsonl"
    exported.write_bytes(b"".join(canonical(one) + b"\n" for one in store.records))
    command = ["audit", "verify", "--file", str(exported), "--anchors", str(tmp_path)]
    assert main([*command, "--tsa-certificate", str(authority.chain)]) == 1
    assert "the operator's clock was wrong" in capsys.readouterr().out


def test_certificates_without_stamps_or_of_another_form_are_refused(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported = tmp_path / "records.jsonl"
    exported.write_text("[]")
    command = ["audit", "verify", "--file", str(exported), "--tsa-certificate"]
    assert main([*command, str(authority.root)]) == 1
    assert "needs --anchors with a folder that holds files" in capsys.readouterr().err
    assert main([*command, str(exported)]) == 1
    assert "not certificates in PEM form" in capsys.readouterr().err
