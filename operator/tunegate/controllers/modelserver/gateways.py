"""Asks the gateways of a server's pods how they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tunegate.api.serving import STATUS_PORT, GatewayStatus
from tunegate.controllers.pod_answers import ask_pod
from tunegate.deadlines import GATEWAY_SECONDS

LARGEST_BYTES = 1024 * 1024
"""Of a status: that of 64 adapters has some ten thousand."""


async def ask_gateways(pods: Sequence[Mapping[str, Any]]) -> dict[str, GatewayStatus]:
    """Ask every running pod's gateway how it is; one that does not answer in time is left out."""
    addresses = {
        str(pod["metadata"]["name"]): str(address)
        for pod in pods
        if (address := (pod.get("status") or {}).get("podIP")) and pod["status"].get("phase") == "Running"
    }
    found = await asyncio.gather(*map(_ask, addresses.values()))
    return {name: status for name, status in zip(addresses, found, strict=True) if status is not None}


async def _ask(address: str) -> GatewayStatus | None:
    content = await ask_pod(address, STATUS_PORT, "/status", seconds=GATEWAY_SECONDS, largest=LARGEST_BYTES)
    try:
        return GatewayStatus.model_validate_json(content) if content is not None else None
    except ValidationError:
        return None
