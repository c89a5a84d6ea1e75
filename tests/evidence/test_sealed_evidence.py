"""Signed evidence: who holds the operator's public key finds what others signed; stock tools read it as well."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope

from tests.support import forgery
from tests.support.ledgers import new_key
from tests.support.released_adapter import ADAPTER_FILES, KEY, Released
from tunegate import __version__
from tunegate.digests import canonical, sha256
from tunegate.evidence import folder, layout
from tunegate.evidence.envelopes import written
from tunegate.evidence.folder import Noted
from tunegate.evidence.referrer import Referrer
from tunegate.intoto import PAYLOAD_TYPE
from tunegate.keys import PublicKey, SigningKey
from tunegate.ledger.seal import KeyRing, seal
from tunegate.registry.artifact import Layer

RING = KeyRing(KEY)
FILES = {path for path, _ in layout.SIGNATURES.values()}
Json = dict[str, Any]


def signed_release(key: SigningKey | None = KEY) -> Released:
    """A release whose evidence ``key`` signed, in a ledger that the operator signed."""
    released = Released(key)
    released.checkpoint(RING)
    return released


@pytest.fixture(scope="module")
def released() -> Released:
    return signed_release()


def found(files: dict[str, bytes], *keys: PublicKey, noted: Noted | None = None) -> dict[str, str]:
    report = folder.verify(files, replace(noted or Noted(), keys=keys))
    return {one.file: one.message for one in report.differences}


def statement_in(envelope: bytes) -> Json:
    """Return what an envelope states."""
    return dict(json.loads(base64.b64decode(json.loads(envelope)["payload"])))


def by_operator(statement: Json) -> str:
    """Return an envelope that the operator's key really signed."""
    envelope = Envelope(canonical(statement), PAYLOAD_TYPE, {})
    KEY.sign(envelope)
    return written(envelope, layout.DSSE_TYPE, KEY.public).decode()


class Resigned(Released):
    """A release of which one signed file is replaced by another text, and the ledger names it: only its content can tell."""

    def __init__(self, name: str, change: Callable[[str], str]) -> None:
        self._name = name
        self._change = change
        self.path = layout.SIGNATURES[name][0]
        super().__init__()
        self.checkpoint(RING)

    def signatures(self) -> tuple[Referrer, ...]:
        return tuple(self._altered(one) if one.name == self._name else one for one in super().signatures())

    def files(self) -> dict[str, bytes]:
        """Return the folder; what is made of the sources is left out where they do not fit."""
        return folder.complete(self.sources())[0]

    def _altered(self, one: Referrer) -> Referrer:
        content = self._change(one.content.decode()).encode()
        layer = Layer(one.artifact.artifact_type, sha256(content), len(content))
        return replace(one, content=content, artifact=replace(one.artifact, layers=(layer,)))


def test_evidence_fits_the_operators_key_and_no_other(released: Released) -> None:
    files = released.files()
    assert found(files, KEY.public) == {}
    assert "signed nothing here" in found(files, new_key().public)[layout.LEDGER]


@pytest.mark.attack(28, 38)
def test_evidence_that_another_key_signed_is_found_though_every_digest_fits() -> None:
    """Somebody who may write records, but holds no key, replaces what the operator would have signed."""
    files = signed_release(new_key()).files()
    assert found(files) == {}
    differences = found(files, KEY.public)
    assert differences.keys() >= FILES
    assert all("not signed by the given key" in differences[path] for path in FILES)


def test_after_a_rotation_either_key_is_enough() -> None:
    following = new_key()
    later = signed_release()
    later.checkpoint(KeyRing(following, KEY))
    files = later.files()
    assert found(files, following.public) == {}
    assert found(files, KEY.public) == {}


def test_unsigned_evidence_is_no_evidence_for_who_gives_a_key() -> None:
    files = signed_release(None).files()
    assert found(files) == {}
    assert "no record says that the evidence" in found(files, KEY.public)[layout.LEDGER]


def test_ledger_without_a_checkpoint_proves_no_signature() -> None:
    assert "is signed: nothing shows" in found(Released().files(), KEY.public)[layout.LEDGER]


def test_signing_again_gives_the_same_bytes(released: Released) -> None:
    assert released.signatures() == released.signatures()
    assert [one.digest for one in released.signatures()] == [one.digest for one in signed_release().signatures()]


def test_signatures_name_the_adapter_as_their_subject(released: Released) -> None:
    files = released.files()
    adapter = json.loads(files[layout.STATEMENT])["adapter"]
    for one in layout.signatures({}).values():
        manifest = json.loads(files[one.manifest_path])
        assert manifest["subject"]["digest"] == adapter["digest"]
        assert manifest["artifactType"] == one.media_type
    release = statement_in(files["signatures/release.dsse.json"])
    assert release["subject"] == [
        {"name": adapter["repository"], "digest": {"sha256": adapter["digest"].removeprefix("sha256:")}}
    ]
    assert release["predicate"]["releaseDigest"] == released.noted().digest


@pytest.mark.parametrize("fitted", [False, True], ids=["index left as it was", "index made to fit"])
def test_signature_files_that_are_swapped_or_altered_are_named(released: Released, fitted: bool) -> None:
    for path in sorted(FILES | {one.manifest_path for one in layout.signatures({}).values()}):
        files = released.files()
        files[path] = files[path].replace(b"sha256", b"sha265", 1) if b"sha256" in files[path] else files[path] + b" "
        if fitted:
            forgery.fit_the_index(files)
        assert path in found(files, noted=released.noted())


def test_checkpoint_of_the_ledger_is_no_attestation() -> None:
    """One key signs both, so the type of the payload tells them apart."""
    taken = Resigned("release", lambda text: seal({"size": 1, "ts": "now"}, [KEY]))
    assert "its payload type must be application/vnd.in-toto+json" in found(taken.files(), KEY.public)[taken.path]


def test_attestation_of_another_release_is_found_though_the_operator_signed_it() -> None:
    def of_another_release(text: str) -> str:
        said = statement_in(text.encode())
        said["predicate"]["releaseDigest"] = "sha256:" + "1" * 64
        return by_operator(said)

    taken = Resigned("release", of_another_release)
    assert found(taken.files(), KEY.public)[taken.path] == "states something else than the other files give"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"dsseEnvelope": 1}', '{"payload": "", "payloadType": "", "signatures": []}']
)
@pytest.mark.parametrize("name", ["release", "model"])
def test_signature_of_nonsense_is_named(name: str, text: str) -> None:
    taken = Resigned(name, lambda _: text)
    assert "is no signed in-toto statement" in found(taken.files(), KEY.public)[taken.path]


def test_provenance_by_another_version_is_held_to_its_subject() -> None:
    def by(version: str, name: str) -> Resigned:
        def changed(text: str) -> str:
            said = statement_in(text.encode())
            said["predicate"]["runDetails"]["builder"]["version"]["tunegate"] = version
            said["predicate"]["more"] = "worded in another way"
            said["subject"][0]["name"] = name
            return by_operator(said)

        return Resigned("provenance", changed)

    repository = Released().job["status"]["adapter"]["repository"]
    assert found(by("0.0.1", repository).files(), KEY.public) == {}
    assert by("0.0.1", "elsewhere").path in found(by("0.0.1", "elsewhere").files(), KEY.public)
    assert by(__version__, repository).path in found(by(__version__, repository).files(), KEY.public)


class Renamed(Released):
    """A release whose record names another document of one name beside the adapter."""

    def __init__(self, name: str) -> None:
        self._name = name
        super().__init__()
        self.checkpoint(RING)

    def attached(self) -> tuple[Referrer, ...]:
        return tuple(
            replace(one, artifact=replace(one.artifact, artifact_type="x/y")) if one.name == self._name else one
            for one in super().attached()
        )


@pytest.mark.parametrize("name", ["mlbom", "modelCard", "evaluation", "dataStatement"])
def test_document_beside_the_adapter_that_is_another_is_found(name: str) -> None:
    files = folder.complete(Renamed(name).sources())[0]
    assert f"names another {name} than the other files give" in found(files, KEY.public)[layout.LEDGER]


# Other tools


@pytest.fixture
def exported(released: Released, tmp_path: Path) -> Path:
    where = tmp_path / "folder"
    for path, content in released.files().items():
        (where / path).parent.mkdir(exist_ok=True, parents=True)
        (where / path).write_bytes(content)
    (where / "ledger-key.pem").write_text(KEY.public.pem)
    adapter = where / "ADAPTER"
    adapter.mkdir()
    for name, content in ADAPTER_FILES.items():
        (adapter / name).write_bytes(content)
    return where


def by_page(where: Path, begins: str) -> subprocess.CompletedProcess[str]:
    """Run the commands of `verify.txt` that are indented and begin so, as an auditor with the key would."""
    block = next(
        part for part in re.findall(r"^(?:  .*\n)+", (where / "verify.txt").read_text(), re.MULTILINE)
        if part.strip().startswith(begins)
    )  # fmt: skip
    command = block.replace("model_signing verify", f"{sys.executable} -m model_signing verify")
    return subprocess.run(["bash", "-c", command], cwd=where, capture_output=True, text=True, check=False)


def test_stock_verifier_of_signed_models_accepts_the_adapter(exported: Path) -> None:
    done = by_page(exported, "model_signing")
    assert (done.returncode, done.stdout) == (0, "Verification succeeded\n"), done.stderr


@pytest.mark.attack(12)
@pytest.mark.parametrize("change", ["weights", "file", "git", "gone", "key"])
def test_stock_verifier_finds_what_was_changed(exported: Path, change: str) -> None:
    adapter = exported / "ADAPTER"
    match change:
        case "weights":
            (adapter / "adapter_model.safetensors").write_bytes(b"weightz")
        case "file":
            (adapter / "adapter_model.bin").write_bytes(b"x")
        case "git":
            (adapter / ".gitattributes").write_bytes(b"x")
        case "gone":
            (adapter / "adapter_config.json").unlink()
        case _:
            (exported / "ledger-key.pem").write_text(new_key().public.pem)
    done = by_page(exported, "model_signing")
    assert done.returncode == 1
    assert "Verification failed" in done.stderr


def test_openssl_verifies_every_signature(exported: Path) -> None:
    assert by_page(exported, "for file in signatures").stdout == "Verified OK\n" * 3
    (exported / "ledger-key.pem").write_text(new_key().public.pem)
    assert "Verified OK" not in by_page(exported, "for file in signatures").stdout


def test_payload_is_canonical(released: Released) -> None:
    payload = base64.b64decode(json.loads(released.files()["signatures/provenance.dsse.json"])["payload"])
    assert canonical(json.loads(payload)) == payload
