"""`--key`: a decision is signed with the approver's own key, after what is signed was shown."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from getpass import getpass
from pathlib import Path

from tunegate.api.approval import Approval
from tunegate.cli.cluster import Json
from tunegate.cli.decide.key_uri import SCHEME, KeyUri
from tunegate.cli.failure import CommandFailure
from tunegate.keys import Signing, SigningKey
from tunegate.release import signature

MODULE = "PKCS11_MODULE_PATH"
"""Environment variable that names the library of the token, as OpenSSL's and p11-kit's tools read it."""


def add_options(one: ArgumentParser) -> None:
    """Add the options that name a key."""
    one.add_argument(
        "--key", metavar="KEY",
        help="sign with your own key: a PEM file (ECDSA P-256 or Ed25519), or pkcs11:token=LABEL;object=LABEL for a smart card",
    )  # fmt: skip
    one.add_argument("--key-passphrase-file", metavar="FILE", help="of an encrypted PEM file; default: ask")
    one.add_argument("--pin-file", metavar="FILE", help="the smart card's PIN; default: ask")
    one.add_argument(
        "--pkcs11-module", metavar="FILE",
        help=f"the smart card's PKCS#11 library; default: the URI's module-path, else {MODULE}",
    )  # fmt: skip


def show(document: Json) -> None:
    """Print what would be signed, to the error stream: all of it, as it is signed but for spaces."""
    text = json.dumps(signature.statement(Approval.model_validate(document)), indent=2, ensure_ascii=False)
    print(f"Your key signs:\n{text}", file=sys.stderr)


def signed(document: Json, options: Namespace) -> Json:
    """Return the Approval with the signature of ``options.key``. Raises ``CommandFailure``: nothing is recorded."""
    try:
        made = signature.sign(Approval.model_validate(document), _key(options))
    except (OSError, ValueError) as error:
        name = SCHEME + "…" if options.key.startswith(SCHEME) else options.key
        raise CommandFailure(f"--key {name}: {str(error).removeprefix(f'{name}: ')}. Nothing was recorded") from None
    print(f"signed with key {made.signatures[0].keyid}", file=sys.stderr)
    return {**document, "spec": {**document["spec"], "signature": made.to_dict()}}


def _key(options: Namespace) -> Signing:
    if not options.key.startswith(SCHEME):
        return SigningKey.from_file(
            Path(options.key), lambda: _secret("key-passphrase-file", "Passphrase of the key", options).encode()
        )
    uri = KeyUri.parse(options.key)
    module = options.pkcs11_module or uri.module or os.environ.get(MODULE)
    if not module:
        raise ValueError(f"say which library speaks with the token: --pkcs11-module FILE, or {MODULE}")
    try:
        from tunegate.cli.decide.smart_card import TokenKey
    except ImportError:
        raise ValueError("smart cards need python-pkcs11: uv sync --extra cli --extra pkcs11") from None
    return TokenKey(uri, module, _secret("pin-file", "PIN of the token", options))


def _secret(option: str, prompt: str, options: Namespace) -> str:
    """Return the first line of the option's file, else what is typed without being shown."""
    path = getattr(options, option.replace("-", "_"))
    if path is not None:
        return Path(path).read_text().partition("\n")[0]
    if not sys.stdin.isatty():
        raise ValueError(f"nobody is there to type it: give --{option} FILE")
    return getpass(f"{prompt}: ", stream=sys.stderr)
