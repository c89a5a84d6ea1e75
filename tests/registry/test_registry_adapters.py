"""Adapters in a real registry: only allowed files go in, only promised bytes come out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.registry_process import RunningRegistry
from tunegate.api.manifest import FileEntry, Manifest
from tunegate.registry.adapters import SealedAdapter, pull_adapter, push_adapter, read_manifest, verify
from tunegate.registry.client import RegistryClient
from tunegate.registry.failures import DigestMismatch, Refused

REPOSITORY = "team-a/job-1234abcd/adapter"


def make_folder(parent: Path, weights: bytes = bytes(range(256)) * 5000) -> Path:
    folder = parent / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text('{"r": 16}')
    return folder


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_adapter_comes_back_whole(client: RegistryClient, tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    sealed = push_adapter(client, REPOSITORY, folder)

    pull_adapter(client, REPOSITORY, sealed.digest, sealed.manifest, tmp_path / "back")

    assert read_manifest(tmp_path / "back") == read_manifest(folder) == sealed.manifest
    assert sealed == push_adapter(client, REPOSITORY, folder)


@pytest.mark.attack(12)
def test_a_byte_flipped_in_the_registry_is_found_and_nothing_is_left(
    client: RegistryClient, registry: RunningRegistry, tmp_path: Path
) -> None:
    sealed = push_adapter(client, REPOSITORY, make_folder(tmp_path, b"flip me" * 1000))
    weights = next(entry for entry in sealed.manifest.files if entry.path.endswith(".safetensors"))
    _flip_a_byte(registry.blob(f"sha256:{weights.sha256}"))

    with pytest.raises(DigestMismatch):
        pull_adapter(client, REPOSITORY, sealed.digest, sealed.manifest, tmp_path / "back")
    assert list((tmp_path / "back").iterdir()) == []


def test_a_byte_flipped_on_disk_is_found(client: RegistryClient, tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    manifest = read_manifest(folder)
    _flip_a_byte(folder / "adapter_model.safetensors")

    with pytest.raises(DigestMismatch, match=r"adapter_model\.safetensors"):
        verify(folder, manifest)


def test_an_artifact_with_other_files_than_the_manifest_is_refused(client: RegistryClient, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, b"one")
    first = push_adapter(client, REPOSITORY, folder)
    (folder / "adapter_config.json").write_text('{"r": 8}')
    second = push_adapter(client, REPOSITORY, folder)

    with pytest.raises(DigestMismatch, match="manifest"):
        pull_adapter(client, REPOSITORY, second.digest, first.manifest, tmp_path / "back")


@pytest.mark.attack(13)
@pytest.mark.parametrize("name", ["adapter_model.bin", "weights.pt", "modeling.py", ".hidden.json", "README.md"])
def test_other_formats_never_enter(client: RegistryClient, tmp_path: Path, name: str) -> None:
    folder = make_folder(tmp_path)
    (folder / name).write_bytes(b"x")

    with pytest.raises(Refused):
        push_adapter(client, REPOSITORY, folder)


@pytest.mark.attack(13)
def test_links_and_folders_never_enter(client: RegistryClient, tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "extra.json").symlink_to("/etc/hostname")

    with pytest.raises(Refused, match="regular"):
        push_adapter(client, REPOSITORY, folder)
    (folder / "extra.json").unlink()
    (folder / "deep").mkdir()
    with pytest.raises(Refused, match="regular"):
        push_adapter(client, REPOSITORY, folder)


@pytest.mark.attack(13)
@pytest.mark.parametrize("name", ["../escape.json", "/etc/escape.json", "a/b.json", "..json", "x.bin"])
def test_a_manifest_cannot_name_a_path_outside(client: RegistryClient, tmp_path: Path, name: str) -> None:
    manifest = Manifest(files=[FileEntry(path=name, size=1, sha256="0" * 64)])

    with pytest.raises(Refused):
        pull_adapter(client, REPOSITORY, "sha256:" + "0" * 64, manifest, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_folder_with_files_is_never_mixed(client: RegistryClient, tmp_path: Path) -> None:
    sealed: SealedAdapter = push_adapter(client, REPOSITORY, make_folder(tmp_path))
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "old.json").write_text("{}")

    with pytest.raises(Refused, match="not empty"):
        pull_adapter(client, REPOSITORY, sealed.digest, sealed.manifest, tmp_path / "back")
