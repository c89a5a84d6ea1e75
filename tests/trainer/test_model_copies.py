"""Base models from a real Hub mirror: what arrives, and how the stage ends when mirror, token or connection are bad."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import write_localhost_certificate
from tests.support.hub_mirror import TOKEN, HubMirror, guarded, running_mirror
from tests.support.model_folder import make_model
from tests.support.stage_process import Pod, StageEnding, base_model_input, stage_base
from tests.trainer.faulty_proxy import faulty_proxy
from tunegate.api.manifest import Manifest
from tunegate.api.stage.configs import CopyModelConfig, HashConfig
from tunegate.api.stage.ends import ExitCode
from tunegate.api.stage.results import HashResult

pytestmark = pytest.mark.timeout(600)

LARGE = 12_000_000
FOREIGN = {
    "pytorch_model.bin": b"pickle", "modeling.py": b"import os", "README.md": b"card", "adapter_config.json": b"{}",
    "original/model.safetensors": b"x", "consolidated.safetensors": b"x", ".gitattributes": b"*.bin",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = make_model(tmp_path_factory.mktemp("made") / "model")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubMirror]:
    with running_mirror(tmp_path_factory.mktemp("mirror")) as running:
        yield running


@pytest.fixture(scope="module")
def commit(mirror: HubMirror, files: dict[str, bytes]) -> str:
    return mirror.put("acme/tiny", files | FOREIGN)


@pytest.fixture(scope="module")
def large(mirror: HubMirror, files: dict[str, bytes]) -> str:
    return mirror.put("acme/large", files | {"model.safetensors": bytes(LARGE)})


def copy(pod: Pod, target: Path, endpoint: str, commit: str, **changes: Any) -> StageEnding:
    """Run the stage; `found`: the files of the Secret."""
    found = changes.pop("found", None)
    if found is not None:
        (pod.folder / "store").mkdir()
        for name, value in found.items():
            (pod.folder / "store" / name).write_text(value)
        changes = {"secret_name": "hub-reader", **changes}
    fields = {"repository": "acme/tiny", "max_bytes": 2 * LARGE, "path": str(target), **changes}
    ending = pod.run(CopyModelConfig(**stage_base(pod.host), endpoint=endpoint, revision=commit, **fields))
    assert TOKEN not in ending.log + ending.termination.message
    return ending


def test_a_model_arrives_without_pickles_and_code_and_is_hashed_as_on_a_volume(
    pod: Pod, mirror: HubMirror, commit: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    mirror.put("acme/tiny", {"config.json": b"{}"})  # the branch moves on; the commit does not
    ending = copy(pod, tmp_path / "tiny", mirror.url, commit)

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.VERDICT, "Completed"), ending.log
    assert {path.name: path.read_bytes() for path in (tmp_path / "tiny").iterdir()} == files
    hashed = pod.run(HashConfig(**stage_base(pod.host), path=str(tmp_path / "tiny"))).result
    assert isinstance(hashed, HashResult)
    assert hashed.outcome == "Passed"
    assert hashed.manifest_digest == base_model_input(make_model(tmp_path / "volume")).manifest_digest


def test_what_is_complete_when_a_copy_breaks_off_for_good_is_not_asked_for_again(
    pod: Pod, mirror: HubMirror, large: str, tmp_path: Path
) -> None:
    with faulty_proxy(mirror.port) as proxy:
        proxy.faults, proxy.cut = 1000, 5_000_000
        broken = copy(pod, tmp_path / "large", proxy.url, large, repository="acme/large")
    complete = {path: path.stat().st_mtime_ns for path in (tmp_path / "large").iterdir() if path.is_file()}
    ending = copy(pod, tmp_path / "large", mirror.url, large, repository="acme/large")

    assert (broken.exit_code, broken.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")
    assert "cannot be read (" in broken.termination.message
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert len(complete) == 4
    assert {path: path.stat().st_mtime_ns for path in complete} == complete
    assert (tmp_path / "large/model.safetensors").stat().st_size == LARGE


def test_after_admission_exactly_the_files_of_the_manifest_are_copied_and_compared(
    pod: Pod, mirror: HubMirror, commit: str, tmp_path: Path
) -> None:
    manifest = base_model_input(make_model(tmp_path / "made")).manifest
    few = Manifest(files=manifest.files[:2])
    ending = copy(pod, tmp_path / "few", mirror.url, commit, manifest=few)
    forged = manifest.model_copy(update={"files": [manifest.files[0].model_copy(update={"sha256": "0" * 64})]})
    differs = copy(Pod(tmp_path / "b", pod.host), tmp_path / "forged", mirror.url, commit, manifest=forged)
    more = Manifest(files=[manifest.files[0].model_copy(update={"path": "merges.txt"})])
    lacks = copy(Pod(tmp_path / "c", pod.host), tmp_path / "more", mirror.url, commit, manifest=more)

    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert {path.name for path in (tmp_path / "few").iterdir()} == {entry.path for entry in few.files}
    assert (differs.exit_code, lacks.exit_code) == (ExitCode.BAD_INPUT, ExitCode.BAD_INPUT)
    assert f"{manifest.files[0].path} on the mirror has other bytes" in differs.termination.message
    assert "lacks files that the catalogue admitted: merges.txt" in lacks.termination.message


def test_a_mirror_with_a_certificate_of_the_site_is_trusted_by_its_authority_only(
    pod: Pod, files: dict[str, bytes], tmp_path: Path
) -> None:
    certificate = write_localhost_certificate(tmp_path)
    with running_mirror(tmp_path / "mirror", certificate=certificate) as mirror:
        commit = mirror.put("acme/tiny", files)
        url = f"https://localhost:{mirror.port}"
        stranger = copy(Pod(tmp_path / "other", pod.host), tmp_path / "none", url, commit)
        garbled = copy(Pod(tmp_path / "b", pod.host), tmp_path / "none", url, commit, found={"ca.crt": "x"})
        ending = copy(pod, tmp_path / "tiny", url, commit, found={"ca.crt": certificate[0].read_text()})

    assert (stranger.exit_code, stranger.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")
    assert "cannot be read (SSL" in stranger.termination.message
    assert (garbled.exit_code, garbled.termination.message) == (
        ExitCode.UNAVAILABLE, "ca.crt of the Hub mirror is no certificate in PEM form: put it right",
    )  # fmt: skip
    assert ending.exit_code == ExitCode.VERDICT, ending.log


def test_a_mirror_that_asks_for_a_token_gets_the_secrets(
    pod: Pod, mirror: HubMirror, commit: str, tmp_path: Path
) -> None:
    with guarded(mirror) as url:
        none = copy(Pod(tmp_path / "a", pod.host), tmp_path / "none", url, commit)
        wrong = copy(Pod(tmp_path / "b", pod.host), tmp_path / "none", url, commit, found={"HF_TOKEN": "hf_old"})
        absent = copy(Pod(tmp_path / "c", pod.host), tmp_path / "none", url, commit, found={})
        odd = copy(Pod(tmp_path / "d", pod.host), tmp_path / "none", url, commit, found={"HF_TOKEN": "hf_“quoted”"})
        right = copy(pod, tmp_path / "tiny", url, commit, found={"HF_TOKEN": f"{TOKEN}\n"})

    assert {none.exit_code, wrong.exit_code, absent.exit_code, odd.exit_code} == {ExitCode.UNAVAILABLE}
    assert "refuses a request without a token (HTTP status 401)" in none.termination.message
    assert "refuses the token of Secret hub-reader (HTTP status 403)" in wrong.termination.message
    assert "Secret hub-reader of the Hub mirror does not exist in namespace team-a" in absent.termination.message
    assert "the Secret hub-reader of the Hub mirror has an HF_TOKEN that is not plain text" in odd.termination.message
    assert right.exit_code == ExitCode.VERDICT, right.log


def test_what_is_not_there_or_too_large_is_bad_input(pod: Pod, mirror: HubMirror, commit: str, tmp_path: Path) -> None:
    places = (Pod(tmp_path / name, pod.host) for name in "abcd")
    model = copy(next(places), tmp_path / "none", mirror.url, commit, repository="acme/absent")
    other = copy(next(places), tmp_path / "none", mirror.url, "0" * 40)
    size = copy(next(places), tmp_path / "none", mirror.url, commit, max_bytes=100)
    bare = mirror.put("acme/bare", {"model.bin": b"x"})
    empty = copy(next(places), tmp_path / "none", mirror.url, bare, repository="acme/bare")

    assert {one.exit_code for one in (model, other, size, empty)} == {ExitCode.BAD_INPUT}
    assert "has no such model, or not this commit" in model.termination.message
    assert "has no such model, or not this commit" in other.termination.message
    assert "ask for a larger hub.size" in size.termination.message
    assert "has no file there that a base model may have" in empty.termination.message
    assert not (tmp_path / "none").exists()


def test_a_mirror_that_is_away_is_unavailable(pod: Pod, tmp_path: Path) -> None:
    ending = copy(pod, tmp_path / "none", "http://127.0.0.1:9", "0" * 40)

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")
    assert "http://127.0.0.1:9 cannot be read (" in ending.termination.message


@pytest.mark.parametrize("stalls", [False, True])
def test_answers_that_break_off_or_stand_still_are_asked_for_again(
    pod: Pod, mirror: HubMirror, large: str, tmp_path: Path, stalls: bool
) -> None:
    with faulty_proxy(mirror.port) as proxy:
        proxy.faults, proxy.cut, proxy.stalls = (1 if stalls else 2), 5_000_000, stalls
        ending = copy(pod, tmp_path / "large", proxy.url, large, repository="acme/large")

    assert proxy.broken == (1 if stalls else 2)
    assert ending.exit_code == ExitCode.VERDICT, ending.log
    assert (tmp_path / "large/model.safetensors").stat().st_size == LARGE


def test_a_full_disk_is_said(pod: Pod, mirror: HubMirror, large: str, small_disk: Path) -> None:
    ending = copy(pod, small_disk / "large", mirror.url, large, repository="acme/large")

    assert (ending.exit_code, ending.termination.reason) == (ExitCode.UNAVAILABLE, "Unavailable")
    assert "no room" in ending.termination.message
