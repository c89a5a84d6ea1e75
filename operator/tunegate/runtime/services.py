"""Makes the clients that controllers share, from the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunegate.controllers.services import Services
from tunegate.errors import Terminal
from tunegate.kube.client import KubeClient
from tunegate.ledger.writer import LedgerWriter
from tunegate.registry.client import RegistryClient
from tunegate.registry.tokens import OperatorCredential, TokenSigner
from tunegate.settings import Settings
from tunegate.tracking.mlflow import Login, Tracking


@asynccontextmanager
async def connected(settings: Settings, kube: KubeClient) -> AsyncIterator[Services]:
    """Yield the clients and close them afterwards. Raises ``Terminal`` for a key or certificate that can't be read."""
    signer = _signer(settings)
    registry = RegistryClient(
        settings.registry_host,
        plain_http=settings.registry_plain_http,
        auth_file=settings.registry_auth_file,
        ca_file=settings.ca_file,
        token_source=OperatorCredential(signer) if signer is not None else None,
    )
    tracking = _tracking(settings)
    try:
        yield Services(
            kube=kube,
            settings=settings,
            registry=registry,
            ledger=LedgerWriter(kube),
            tracking=tracking,
            signer=signer,
        )
    finally:
        registry.close()
        if tracking is not None:
            tracking.close()


def _tracking(settings: Settings) -> Tracking | None:
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
