"""Makes the clients that controllers share, from the settings."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import yaml

from tunegate.admission.definitions import definitions
from tunegate.admission.guard import Guard, GuardedLedger
from tunegate.admission.rules import parse
from tunegate.controllers.recent import RECENT_SECONDS, Recent
from tunegate.controllers.services import Services
from tunegate.deadlines import REGISTRY_SECONDS
from tunegate.errors import Terminal
from tunegate.kube.client import KubeClient
from tunegate.ledger.anchors.anchoring import Checkpoints
from tunegate.ledger.writer import LedgerWriter
from tunegate.logs import event
from tunegate.rbac.watch import PowerWatch
from tunegate.registry.client import RegistryClient
from tunegate.registry.tokens import CATALOG, ISSUER, PROGRAM_LIFETIME, ProgramCredential, TokenSigner
from tunegate.registry.volume_client import VolumeClient
from tunegate.runtime import ledger_parts
from tunegate.settings import Settings
from tunegate.tracking.mlflow import Login, Tracking

logger = logging.getLogger(__name__)


@asynccontextmanager
async def connected(
    settings: Settings, kube: KubeClient
) -> AsyncIterator[tuple[Services, LedgerWriter, Checkpoints | None]]:
    """Yield the clients and close them afterwards, the ledger, and what signs it where there is a key for it.

    Raises ``Terminal`` for a key or certificate that can't be read.
    """
    signer = _signer(settings)
    registry = RegistryClient(
        settings.registry_host,
        plain_http=settings.registry_plain_http,
        auth_file=settings.registry_auth_file,
        ca_file=settings.ca_file,
        token_source=ProgramCredential(signer) if signer is not None else None,
        total=REGISTRY_SECONDS,
    )
    volume = _volume(settings, signer)
    tracking = tracking_of(settings)
    keys = ledger_parts.keys(settings)
    places = ledger_parts.places(settings, tracking, keys)
    writer = ledger_parts.writer(kube, places, keys)
    guard = _guard(settings, kube, writer)
    try:
        services = Services(
            kube=kube,
            settings=settings,
            registry=registry,
            ledger=writer if guard is None else GuardedLedger(writer, guard),
            guard=guard,
            powers=_powers(settings, kube, writer),
            tracking=tracking,
            signer=signer,
            registry_volume=volume,
            keys=keys,
            recent=Recent(RECENT_SECONDS),
        )
        yield services, writer, ledger_parts.checkpoints(settings, writer, places, keys)
    finally:
        registry.close()
        if volume is not None:
            volume.close()


def _volume(settings: Settings, signer: TokenSigner | None) -> VolumeClient | None:
    if settings.registry_volume_url is None or signer is None:
        return None

    def token() -> str:
        return signer.sign([CATALOG], subject=ISSUER, lifetime=PROGRAM_LIFETIME, now=datetime.now(UTC))

    return VolumeClient(settings.registry_volume_url, token, ca_file=settings.ca_file)


def _guard(settings: Settings, kube: KubeClient, ledger: LedgerWriter) -> Guard | None:
    if settings.admission_rules is None:
        logger.warning(
            "TUNEGATE_ADMISSION_RULES is not set: nobody notices when the admission rules are taken away",
            extra=event("AdmissionRulesUnwatched"),
        )
        return None
    try:
        expected = (*parse(settings.admission_rules.read_text()), *definitions())
    except (OSError, yaml.YAMLError) as error:
        raise Terminal("BadSettings", f"the file of TUNEGATE_ADMISSION_RULES cannot be read: {error}") from error
    return Guard(kube, ledger, expected, namespace=settings.system_namespace, lease=f"{settings.lease_name}-admission")


def _powers(settings: Settings, kube: KubeClient, ledger: LedgerWriter) -> PowerWatch | None:
    if settings.powers_seconds == 0:
        return None
    return PowerWatch(kube, ledger, system=settings.system_namespace, namespaces=settings.namespaces)


def tracking_of(settings: Settings) -> Tracking | None:
    """Return the client of MLflow; None where the settings name none."""
    if settings.mlflow_uri is None:
        return None
    login = None
    if settings.mlflow_user_file is not None and settings.mlflow_password_file is not None:
        login = Login(settings.mlflow_user_file, settings.mlflow_password_file)
    return Tracking(settings.mlflow_uri, login=login, ca_file=settings.ca_file)


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
