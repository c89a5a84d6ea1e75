"""Makes the clients that controllers share, from the settings."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import yaml

from tunegate.admission.guard import Guard, GuardedLedger
from tunegate.admission.rules import parse
from tunegate.controllers.services import Services
from tunegate.errors import Terminal
from tunegate.kube.client import KubeClient
from tunegate.ledger.anchors import AnchorPlace, FolderAnchor, MlflowAnchor, read_folder
from tunegate.ledger.checkpoints import Checkpoints
from tunegate.ledger.seal import KeyRing
from tunegate.ledger.verify import Anchor
from tunegate.ledger.writer import LedgerWriter
from tunegate.registry.client import RegistryClient
from tunegate.registry.tokens import OperatorCredential, TokenSigner
from tunegate.settings import Settings
from tunegate.tracking.mlflow import Login, Tracking

logger = logging.getLogger(__name__)


@asynccontextmanager
async def connected(settings: Settings, kube: KubeClient) -> AsyncIterator[tuple[Services, Checkpoints | None]]:
    """Yield the clients and close them afterwards, and what signs the ledger where there is a key for it.

    Raises ``Terminal`` for a key or certificate that can't be read.
    """
    signer, keys = _signer(settings), _keys(settings)
    registry = RegistryClient(
        settings.registry_host,
        plain_http=settings.registry_plain_http,
        auth_file=settings.registry_auth_file,
        ca_file=settings.ca_file,
        token_source=OperatorCredential(signer) if signer is not None else None,
    )
    tracking = _tracking(settings)
    writer = LedgerWriter(kube, anchors=partial(_kept_anchors, settings.anchor_folder))
    guard = _guard(settings, kube, writer)
    try:
        services = Services(
            kube=kube,
            settings=settings,
            registry=registry,
            ledger=writer if guard is None else GuardedLedger(writer, guard),
            guard=guard,
            tracking=tracking,
            signer=signer,
            keys=keys,
        )
        yield services, _checkpoints(settings, keys, writer, tracking)
    finally:
        registry.close()
        if tracking is not None:
            tracking.close()


def _guard(settings: Settings, kube: KubeClient, ledger: LedgerWriter) -> Guard | None:
    if settings.admission_rules is None:
        logger.warning("TUNEGATE_ADMISSION_RULES is not set: nobody notices when the admission rules are taken away")
        return None
    try:
        expected = parse(settings.admission_rules.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Terminal("BadSettings", f"the file of TUNEGATE_ADMISSION_RULES cannot be read: {error}") from error
    return Guard(kube, ledger, expected, namespace=settings.system_namespace, lease=f"{settings.lease_name}-admission")


def _tracking(settings: Settings) -> Tracking | None:
    if settings.mlflow_uri is None:
        return None
    login = None
    if settings.mlflow_user_file is not None and settings.mlflow_password_file is not None:
        login = Login(settings.mlflow_user_file, settings.mlflow_password_file)
    return Tracking(settings.mlflow_uri, login=login, ca_file=settings.ca_file)


def _keys(settings: Settings) -> KeyRing | None:
    if settings.ledger_keys is None:
        return None
    try:
        return KeyRing.from_folder(settings.ledger_keys)
    except (OSError, ValueError) as error:
        raise Terminal("BadSettings", f"the ledger's signing key cannot be read: {error}") from error


def _checkpoints(
    settings: Settings, keys: KeyRing | None, ledger: LedgerWriter, tracking: Tracking | None
) -> Checkpoints | None:
    if keys is None:
        return None
    places: list[AnchorPlace] = []
    if settings.anchor_folder is not None:
        places.append(FolderAnchor(settings.anchor_folder))
    if tracking is not None:
        places.append(MlflowAnchor(tracking))
    return Checkpoints(
        ledger,
        keys,
        places,
        records=settings.checkpoint_records,
        age=timedelta(minutes=settings.checkpoint_minutes),
    )


def _kept_anchors(folder: Path | None) -> list[Anchor]:
    """Return what the ledger must still hold. A file without content is left out: its writing was cut short."""
    return [anchor for anchor in read_folder(folder) if anchor.text] if folder is not None else []


def _signer(settings: Settings) -> TokenSigner | None:
    key, certificate = settings.registry_token_key, settings.registry_token_cert
    if key is None or certificate is None:
        if key is not certificate:
            raise Terminal(
                "BadSettings", "TUNEGATE_REGISTRY_TOKEN_KEY and TUNEGATE_REGISTRY_TOKEN_CERT belong together"
            )
        return None
    try:
        return TokenSigner.from_files(key, certificate)
    except (OSError, ValueError) as error:
        raise Terminal("BadSettings", f"the registry's signing key cannot be read: {error}") from error
