"""Pushed data from a real registry: what arrives is what was pushed, part by part, or the stage ends and says why."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.registry_process import RunningRegistry
from tests.support.stage_process import Pod, StageEnding, stage_base
from tunegate.api.pushed import PART_TYPE, Declaration, Part, Push, Pushed, PushedFile, PushedPlace
from tunegate.api.stage.configs import DatasetInput, Pull, PullDataConfig
from tunegate.api.stage.ends import ExitCode
from tunegate.registry.client import RegistryClient
from tunegate.registry.pushed import withdraw, write_push
from tunegate_trainer.data.shards import open_dataset

ROWS = [b'{"prompt": "a", "completion": "b"}\n' * 1000, b'{"prompt": "c", "completion": "d"}\n' * 10]
DECLARED = Declaration(classification="Internal", license="CC-BY-4.0", source="tests", steward="stella")


@pytest.fixture
def client(registry: RunningRegistry) -> RegistryClient:
    return RegistryClient(registry.host, plain_http=True)


def pushed(client: RegistryClient, files: Mapping[str, Sequence[bytes]], name: str = "rows") -> PushedPlace:
    """Store files as the exchange does."""
    place = PushedPlace(namespace="team-a", kind="datasets", name=name, digest=f"sha256:{'0' * 64}")
    described = []
    for path, content in files.items():
        layers = [client.push_blob(place.repository, one, PART_TYPE) for one in content]
        parts = [Part(digest=one.digest, size=one.size) for one in layers]
        described.append(PushedFile(path=path, parts=parts))
    push = Push(declaration=DECLARED, files=described)
    only = described[0].path if len(described) == 1 else None
    by = Pushed(
        place=place, declaration=DECLARED, pushed_by="stella", pushed_time="2026-11-29T10:00:00Z", files=len(described),
        bytes=push.bytes, file=only,
    )  # fmt: skip
    return write_push(client, "team-a", "datasets", name, push, by).place


def pull(pod: Pod, uri: str, target: Path, *, max_bytes: int = 64 * 1024 * 1024) -> StageEnding:
    config = PullDataConfig(
        **stage_base(pod.host), pulls=[Pull(uri=uri, path=str(target))], max_bytes=max_bytes, too_large="take fewer"
    )
    return pod.run(config)


def test_a_file_in_parts_arrives_whole_with_the_digest_that_it_has_on_a_volume(
    pod: Pod, client: RegistryClient, tmp_path: Path
) -> None:
    ending = pull(pod, pushed(client, {"train/rows.jsonl": ROWS}).uri, tmp_path / "rows.jsonl")

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.VERDICT, "Completed"), ending.log
    assert (tmp_path / "rows.jsonl").read_bytes() == b"".join(ROWS)
    _, digest = open_dataset(DatasetInput(path=str(tmp_path / "rows.jsonl")), tmp_path)
    assert digest == f"sha256:{hashlib.sha256(b''.join(ROWS)).hexdigest()}"


def test_files_arrive_as_the_folder_that_they_were(pod: Pod, client: RegistryClient, tmp_path: Path) -> None:
    files = {"a/one.jsonl": ROWS, "two.jsonl": ROWS[:1]}
    ending = pull(pod, pushed(client, files, "folder").uri, tmp_path / "folder")

    assert ending.exit_code == ExitCode.VERDICT, ending.log
    found = {
        one.relative_to(tmp_path / "folder").as_posix(): one.read_bytes()
        for one in (tmp_path / "folder").rglob("*.jsonl")
    }
    assert found == {path: b"".join(content) for path, content in files.items()}


def test_withdrawn_absent_and_too_large_data_are_bad_input(pod: Pod, client: RegistryClient, tmp_path: Path) -> None:
    place = pushed(client, {"rows.jsonl": ROWS}, "gone")
    large = pull(Pod(tmp_path / "large", pod.host), place.uri, tmp_path / "a", max_bytes=100)
    withdraw(client, place, "stella", "2026-11-29T11:00:00Z")
    gone = pull(Pod(tmp_path / "gone", pod.host), place.uri, tmp_path / "b")
    absent = pull(pod, f"oci://team-a/datasets/rows@sha256:{'1' * 64}", tmp_path / "c")

    assert {one.exit_code for one in (large, gone, absent)} == {ExitCode.BAD_INPUT}
    assert "take fewer" in large.termination.message
    assert "stella withdrew the data" in gone.termination.message
    assert "nothing was pushed there" in absent.termination.message
    assert not any((tmp_path / name).exists() for name in "abc")


def test_what_is_not_required_is_left_out_and_the_rest_arrives(
    pod: Pod, client: RegistryClient, tmp_path: Path
) -> None:
    place = pushed(client, {"rows.jsonl": ROWS}, "own")
    absent = Pull(uri=f"oci://team-a/questions/gone@sha256:{'1' * 64}", path=str(tmp_path / "gone"), required=False)
    own = Pull(uri=place.uri, path=str(tmp_path / "rows.jsonl"))
    ending = pod.run(PullDataConfig(**stage_base(pod.host), pulls=[absent, own], max_bytes=10**6, too_large="less"))
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert (tmp_path / "rows.jsonl").read_bytes() == b"".join(ROWS)
    assert not (tmp_path / "gone").exists()


@pytest.mark.attack(76)
def test_data_that_is_withdrawn_while_a_stage_reads_it_arrives_whole_or_not_at_all(
    pod: Pod, client: RegistryClient, tmp_path: Path
) -> None:
    parts = [b'{"prompt": "%d", "completion": "b"}\n' % number * 1000 for number in range(40)]
    place, target = pushed(client, {"rows.jsonl": parts}, "leaving"), tmp_path / "rows.jsonl"
    with ThreadPoolExecutor(1) as stage:
        reading = stage.submit(pull, pod, place.uri, target)
        withdraw(client, place, "stella", "2026-11-29T11:00:00Z")
        ending = reading.result()
    if ending.exit_code == ExitCode.VERDICT:
        assert target.read_bytes() == b"".join(parts)
    else:
        assert "stella withdrew the data" in ending.termination.message
        assert not target.exists()
    after = pull(Pod(tmp_path / "after", pod.host), place.uri, tmp_path / "again.jsonl")
    assert after.exit_code == ExitCode.BAD_INPUT
    assert client.pull_artifact(place.repository, place.digest).layers, "what was trained on stays verifiable"


@pytest.mark.attack(76)
def test_bytes_that_changed_in_the_registry_are_refused(
    pod: Pod, registry: RunningRegistry, client: RegistryClient, tmp_path: Path
) -> None:
    content = b'{"prompt": "x", "completion": "y"}\n'
    place = pushed(client, {"rows.jsonl": [content]}, "altered")
    blob = registry.blob(f"sha256:{hashlib.sha256(content).hexdigest()}")
    blob.write_bytes(content.replace(b"y", b"z"))
    ending = pull(pod, place.uri, tmp_path / "rows.jsonl")
    assert ending.exit_code == ExitCode.BAD_INPUT
    assert "hashes to" in ending.termination.message


@pytest.mark.attack(76)
def test_an_address_follows_no_tag(pod: Pod, client: RegistryClient, tmp_path: Path) -> None:
    """Who could move the tag of a record would change nothing: bytes and declaration are those of the digest."""
    first = pushed(client, {"rows.jsonl": ROWS[:1]}, "moved")
    second = pushed(client, {"rows.jsonl": ROWS[1:]}, "moved")
    manifest = client.pull_tagged(second.records, second.tag)
    assert manifest is not None
    client.push_manifest(first.records, manifest, tag=first.tag)
    ending = pull(pod, first.uri, tmp_path / "rows.jsonl")
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert (tmp_path / "rows.jsonl").read_bytes() == ROWS[0]
