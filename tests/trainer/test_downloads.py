"""Training data from a real S3 server: what arrives, and how the stage ends when store, credential or connection are bad."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import write_localhost_certificate
from tests.support.object_store import SECRET_KEY, ObjectStore, running_store, secret
from tests.support.stage_process import Pod, StageEnding, stage_base
from tests.trainer.faulty_proxy import faulty_proxy
from tunegate.api.stage.configs import DatasetInput, DownloadConfig
from tunegate.api.stage.ends import ExitCode
from tunegate_trainer.data.shards import open_dataset

ROWS = b'{"messages": []}\n' * 1000
PIECES = 40 * 1024 * 1024
"""Bytes that take three requests."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with running_store(tmp_path_factory.mktemp("store")) as running:
        running.put("training", "sets/plain.jsonl", ROWS)
        running.put("training", "sets/folder/part-1.jsonl", ROWS)
        running.put("training", "sets/folder/day=2/part-2.jsonl.gz", gzip.compress(ROWS))
        running.put("training", "sets/large.jsonl", b"x" * PIECES)
        yield running


def download(
    pod: Pod, target: Path, key: str, found: dict[str, str], *, max_bytes: int = 64 * 1024 * 1024
) -> StageEnding:
    """Run the stage with these files of the Secret."""
    folder = pod.folder / "store"
    folder.mkdir()
    for name, value in found.items():
        (folder / name).write_text(value)
    config = DownloadConfig(
        **stage_base(pod.host),
        bucket="training",
        key=key,
        path=str(target),
        max_bytes=max_bytes,
        too_large="take fewer",
    )
    ending = pod.run(config)
    assert SECRET_KEY not in ending.log + ending.termination.message
    return ending


def test_an_object_arrives_as_a_file(pod: Pod, store: ObjectStore, tmp_path: Path) -> None:
    ending = download(pod, tmp_path / "plain.jsonl", "sets/plain.jsonl", secret(store.url))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.VERDICT, "Completed"), ending.log
    assert (tmp_path / "plain.jsonl").read_bytes() == ROWS


def test_a_folder_arrives_with_the_digest_that_the_same_files_have_on_a_volume(
    pod: Pod, store: ObjectStore, tmp_path: Path
) -> None:
    ending = download(pod, tmp_path / "folder", "sets/folder", secret(store.url))

    assert ending.exit_code == ExitCode.VERDICT, ending.log
    _, arrived = open_dataset(DatasetInput(path=str(tmp_path / "folder")), tmp_path)
    _, original = open_dataset(DatasetInput(path=str(store.root / "training/sets/folder")), tmp_path)
    assert arrived == original


def test_a_store_with_a_certificate_of_the_site_is_trusted_by_its_authority_only(pod: Pod, tmp_path: Path) -> None:
    certificate = write_localhost_certificate(tmp_path)
    with running_store(tmp_path / "store", certificate=certificate) as store:
        store.put("training", "a.jsonl", ROWS)
        found = secret(f"https://localhost:{store.port}")
        stranger = download(Pod(tmp_path / "other", pod.host), tmp_path / "none.jsonl", "a.jsonl", found)
        ending = download(pod, tmp_path / "a.jsonl", "a.jsonl", {**found, "ca.crt": certificate[0].read_text()})

    assert stranger.termination.reason == "Unavailable"
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert (tmp_path / "a.jsonl").read_bytes() == ROWS


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "refuses the Secret's access key"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "lacks AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "cannot be read"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "NETWORK_CONNECTION"),
        ({"AWS_ENDPOINT_URL": "store.example"}, "https://host:port"),
        ({"AWS_ENDPOINT_URL": "http://[store"}, "https://host:port"),
        ({"AWS_ACCESS_KEY_ID": "schlüssel"}, "the Secret of the store has an AWS_ACCESS_KEY_ID that is not plain text"),
        (
            {"AWS_SECRET_ACCESS_KEY": "one\ntwo"},
            "the Secret of the store has an AWS_SECRET_ACCESS_KEY with more than one line",
        ),
    ],
)
def test_what_the_owner_of_the_secret_can_put_right_is_tried_again(
    pod: Pod, store: ObjectStore, tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    ending = download(pod, tmp_path / "a", "sets/plain.jsonl", secret(store.url, **changes))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")
    assert says in ending.termination.message


def test_what_is_not_there_or_too_large_is_bad_input(pod: Pod, store: ObjectStore, tmp_path: Path) -> None:
    absent = download(Pod(tmp_path / "other", pod.host), tmp_path / "a", "sets/nothing", secret(store.url))
    large = download(pod, tmp_path / "b", "sets/large.jsonl", secret(store.url), max_bytes=PIECES - 1)

    assert (absent.exit_code, large.exit_code) == (ExitCode.BAD_INPUT, ExitCode.BAD_INPUT)
    assert "neither an object nor a folder" in absent.termination.message
    assert "are read: take fewer" in large.termination.message
    assert not (tmp_path / "b").exists()


def test_answers_that_break_off_are_asked_for_again(pod: Pod, store: ObjectStore, tmp_path: Path) -> None:
    with faulty_proxy(store.port) as proxy:
        proxy.faults, proxy.cut = 3, 5_000_000
        ending = download(pod, tmp_path / "large.jsonl", "sets/large.jsonl", secret(proxy.url))

    assert proxy.broken == 3
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert (tmp_path / "large.jsonl").stat().st_size == PIECES


def test_a_store_that_crawls_is_waited_for(pod: Pod, store: ObjectStore, tmp_path: Path) -> None:
    with faulty_proxy(store.port) as proxy:
        proxy.piece, proxy.pause = 1000, 0.2
        ending = download(pod, tmp_path / "plain.jsonl", "sets/plain.jsonl", secret(proxy.url))

    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert (tmp_path / "plain.jsonl").read_bytes() == ROWS


def test_an_answer_that_stands_still_is_asked_for_again(pod: Pod, store: ObjectStore, tmp_path: Path) -> None:
    with faulty_proxy(store.port) as proxy:
        proxy.faults, proxy.cut, proxy.stalls = 1, 5_000_000, True
        ending = download(pod, tmp_path / "large.jsonl", "sets/large.jsonl", secret(proxy.url))

    assert proxy.broken == 1
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert (tmp_path / "large.jsonl").stat().st_size == PIECES


@pytest.mark.timeout(600)
def test_a_store_that_always_stands_still_is_unavailable(pod: Pod, store: ObjectStore, tmp_path: Path) -> None:
    with faulty_proxy(store.port) as proxy:
        proxy.faults, proxy.stalls = 1000, True
        ending = download(pod, tmp_path / "large.jsonl", "sets/large.jsonl", secret(proxy.url))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")
    assert "s3://training/sets/large.jsonl: the store cannot be read (" in ending.termination.message


def test_a_connection_that_never_holds_is_unavailable(pod: Pod, store: ObjectStore, tmp_path: Path) -> None:
    with faulty_proxy(store.port) as proxy:
        proxy.faults, proxy.cut = 1000, 5_000_000
        ending = download(pod, tmp_path / "large.jsonl", "sets/large.jsonl", secret(proxy.url))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")


def test_a_full_disk_is_said(pod: Pod, store: ObjectStore, tmp_path: Path, small_disk: Path) -> None:
    ending = download(pod, small_disk / "large.jsonl", "sets/large.jsonl", secret(store.url))

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")
    assert "no room" in ending.termination.message
