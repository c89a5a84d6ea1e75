"""`--key`: keys in files and in a token, what is shown of them, and how it ends when they cannot be used."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.approvers import PrivateKey, private_pem
from tests.support.builders import make_approval
from tests.support.software_token import MODULE, PIN, SoftwareToken
from tunegate.api.approval import Approval
from tunegate.cli.decide import signing
from tunegate.cli.decide.key_uri import KeyUri
from tunegate.cli.failure import CommandFailure
from tunegate.keys import PublicKey
from tunegate.release.signature import signed_by, statement

Json = dict[str, Any]
PASSPHRASE = "correct horse"


def sign(key: Path | str, **options: Path | str | None) -> Json:
    """Sign an approval as the commands do."""
    texts = {name: None if value is None else str(value) for name, value in options.items()}
    defaults = {"key_passphrase_file": None, "pin_file": None, "pkcs11_module": None}
    return signing.signed(make_approval(), Namespace(key=str(key), **{**defaults, **texts}))


def holds(document: Json, key: PublicKey) -> bool:
    return signed_by(Approval.model_validate(document), [key]) == key


@pytest.fixture
def pin_file(tmp_path: Path) -> Path:
    (tmp_path / "pin").write_text(f"{PIN}\n")
    return tmp_path / "pin"


@pytest.mark.parametrize("private", [generate_private_key(SECP256R1()), Ed25519PrivateKey.generate()], ids=["ec", "ed"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE], ids=["plain", "encrypted"])
def test_a_key_file_signs_and_nothing_of_it_is_shown(
    private: PrivateKey, passphrase: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem = private_pem(private, passphrase.encode() if passphrase else None)
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "word").write_text(f"{PASSPHRASE}\n")
    made = sign(tmp_path / "key.pem", key_passphrase_file=tmp_path / "word" if passphrase else None)
    public = PublicKey.of(private.public_key())
    assert holds(made, public)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"signed with key {public.id}\n")
    secret = private_pem(private).decode().splitlines()[1]
    assert secret not in json.dumps(made)


def test_the_passphrase_is_typed_at_a_terminal_which_does_not_show_it(tmp_path: Path) -> None:
    private = generate_private_key(SECP256R1())
    (tmp_path / "key.pem").write_bytes(private_pem(private, PASSPHRASE.encode()))
    code = "import sys; from tests.cli.test_signing import sign; sign(sys.argv[1])"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", code, str(tmp_path / "key.pem")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = b""
        while not shown.endswith(b"Passphrase of the key: "):
            shown += os.read(ours, 1024)
        os.write(ours, f"{PASSPHRASE}\n".encode())
        assert process.wait(60) == 0
    shown += os.read(ours, 1024)
    os.close(ours)
    assert shown.decode().split("\r\n")[1:] == [f"signed with key {PublicKey.of(private.public_key()).id}", ""]


def test_what_is_shown_is_what_is_signed(capsys: pytest.CaptureFixture[str]) -> None:
    document = make_approval(
        reason="[bold]Ein Grund[/] mit Ümlaut, and words that go on for longer than a terminal is wide " * 3
    )
    signing.show(document)
    shown = capsys.readouterr().err
    assert json.loads(shown.partition("\n")[2]) == statement(Approval.model_validate(document))


def test_keys_that_cannot_be_used_are_refused_with_what_is_allowed(tmp_path: Path) -> None:
    rsa = generate_rsa(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    encrypted = private_pem(generate_private_key(SECP256R1()), PASSPHRASE.encode())
    for name, content in {"rsa.pem": rsa, "text.pem": b"none", "locked.pem": encrypted}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "word").write_text("wrong")
    allowed = "not an ECDSA P-256 or Ed25519 key in PEM form. Nothing was recorded"
    for name in ("rsa.pem", "text.pem"):
        with pytest.raises(CommandFailure, match=f"--key {tmp_path / name}: {allowed}"):
            sign(tmp_path / name)
    with pytest.raises(CommandFailure, match="the passphrase does not open this key"):
        sign(tmp_path / "locked.pem", key_passphrase_file=tmp_path / "word")
    with pytest.raises(CommandFailure, match="nobody is there to type it: give --key-passphrase-file FILE"):
        sign(tmp_path / "locked.pem")
    with pytest.raises(CommandFailure, match="No such file"):
        sign(tmp_path / "none.pem")


def test_a_key_in_a_token_signs_wherever_the_library_is_named(
    token: SoftwareToken, pin_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert holds(sign(token.uri, pin_file=pin_file, pkcs11_module=MODULE), token.key)
    assert holds(sign(f"{token.uri}?module-path={MODULE}", pin_file=pin_file), token.key)
    assert holds(sign(f"pkcs11:id=%01;type=private?module-path={MODULE}", pin_file=pin_file), token.key)
    monkeypatch.setenv(signing.MODULE, str(MODULE))
    assert holds(sign(token.uri, pin_file=pin_file), token.key)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("pkcs11:token=nobody;object=ravi", "sees no such token"),
        ("pkcs11:token=Approvers%27%20card;object=nobody", "has no such key"),
        ("pkcs11:token=Approvers%27%20card;object=other", "not an ECDSA P-256 key"),
        ("pkcs11:token=Approvers%27%20card", "names no key: give object=LABEL or id=%HEX"),
        ("pkcs11:object=ravi?pin-value=271828", "pin-value: a PIN is typed at the terminal or read from --pin-file"),
        ("pkcs11:object=ravi;pin-source=/pin", "pin-source: a PIN is typed"),
        ("pkcs11:object=ravi;vendor=x", "vendor: not an attribute that is understood here; allowed are token, serial"),
        ("pkcs11:object=ravi;object=other", "object: is there twice"),
        ("pkcs11:object=ravi;type=public", "only private keys sign"),
    ],
)
def test_a_token_that_cannot_sign_is_told_and_its_uri_is_not_repeated(
    uri: str, says: str, token: SoftwareToken, pin_file: Path
) -> None:
    with pytest.raises(CommandFailure) as caught:
        sign(uri, pin_file=pin_file, pkcs11_module=MODULE)
    assert says in str(caught.value)
    assert PIN not in str(caught.value)
    assert str(caught.value).startswith("--key pkcs11:…: ")


def test_wrong_pins_and_libraries_are_told(token: SoftwareToken, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("0000")
    with pytest.raises(CommandFailure, match="the token refused the PIN"):
        sign(token.uri, pin_file=tmp_path / "pin", pkcs11_module=MODULE)
    with pytest.raises(CommandFailure, match="nobody is there to type it: give --pin-file FILE"):
        sign(token.uri, pkcs11_module=MODULE)
    with pytest.raises(CommandFailure, match="cannot open shared object file"):
        sign(token.uri, pin_file=tmp_path / "pin", pkcs11_module=tmp_path / "none.so")
    with pytest.raises(CommandFailure, match="say which library speaks with the token: --pkcs11-module FILE"):
        sign(token.uri, pin_file=tmp_path / "pin")


def test_uris_are_read_as_rfc_7512_writes_them() -> None:
    read = KeyUri.parse(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;serial=0123;id=%69%95%3E?module-path=/a%20b.so"
    )
    assert read == KeyUri("The Software PKCS#11 Softtoken", b"0123", None, b"i\x95>", "/a b.so")
