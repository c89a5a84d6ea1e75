"""A released adapter whose approvers signed, and the same made up whole by somebody who rules the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import approvers
from tests.support.ledgers import new_key
from tests.support.released_adapter import Released
from tunegate.keys import SigningKey

Json = dict[str, Any]
KEYS = {name: new_key() for name in ("ravi", "cora", "rita")}


class SignedRelease(Released):
    """Each reviewer signs with their key, which the policy knows; ``keys`` are what they sign with."""

    def __init__(self, keys: Mapping[str, SigningKey] = KEYS, *, required: bool = True) -> None:
        """Not ``required``: the policy asks for no signatures, though people give them."""
        self.keys = keys
        self.required = required
        super().__init__()

    def start_again(self, phase: str = "Approved") -> None:
        signers = [approvers.signer(name, key.public) for name, key in self.keys.items()]
        for role in self.world["ApprovalPolicy"]["spec"]["roles"] if self.required else ():
            role["signers"] = signers
        super().start_again(phase)

    def signed(self, approval: Json) -> Json:
        key = self.keys.get(approval["spec"]["approver"]["username"])
        return approval if key is None else approvers.signed(approval, key)


def write_keys(folder: Path, keys: Mapping[str, SigningKey] = KEYS) -> Path:
    """Write the public keys as an auditor would collect them."""
    folder.mkdir(exist_ok=True)
    for name, key in keys.items():
        (folder / f"{name}.pem").write_text(key.public.pem)
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write an evidence folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_bytes(content)
    return folder
