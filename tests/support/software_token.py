"""A smart card in software: SoftHSM, spoken to over PKCS#11 as any other token."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key

from tests.support.approvers import private_pem
from tunegate.keys import PublicKey
from tunegate_local import debian

PACKAGES = {"softhsm2": "softhsm2-util"}
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "271828"


@dataclass(frozen=True)
class SoftwareToken:
    """An initialized token with two keys: `ravi` on the curve P-256, and `other` on P-384."""

    configuration: Path
    key: PublicKey
    label: str = "Approvers' card"

    @property
    def uri(self) -> str:
        return "pkcs11:token=Approvers%27%20card;object=ravi"


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareToken]:
    """One for the whole run: a process loads SoftHSM, and with it the place of its tokens, once."""
    debian.ensure(PACKAGES)
    folder = tmp_path_factory.mktemp("token")
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}\nobjectstore.backend = file\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    private = generate_private_key(SECP256R1())
    made = SoftwareToken(configuration, PublicKey.of(private.public_key()))
    softhsm("--init-token", "--free", "--label", made.label, "--pin", PIN, "--so-pin", PIN)
    for number, (name, key) in enumerate({"ravi": private, "other": generate_private_key(SECP384R1())}.items(), 1):
        (folder / name).write_bytes(private_pem(key))
        softhsm("--import", folder / name, "--token", made.label, "--label", name, "--id", f"0{number}", "--pin", PIN)
        (folder / name).unlink()
    yield made
    os.environ.pop("SOFTHSM2_CONF") if before is None else os.environ.update(SOFTHSM2_CONF=before)


def softhsm(*arguments: str | Path) -> None:
    subprocess.run(["softhsm2-util", *arguments], check=True, capture_output=True)
