"""Asks a pod for a short document. Pods run what people trained on, so time and size of their answer are bounded as a whole."""

from __future__ import annotations

import asyncio

import httpx

from tunegate.answers import read_bounded


async def ask_pod(address: str, port: int, path: str, *, seconds: float, largest: int) -> bytes | None:
    """Return the body of a GET, None where the pod gives none of at most ``largest`` bytes within so many ``seconds``.

    A limit for each read would be none: a pod that sends a byte a second would hold its reconcile forever.
    """
    host = f"[{address}]" if ":" in address else address
    try:
        async with (
            asyncio.timeout(seconds),
            httpx.AsyncClient(timeout=seconds, trust_env=False) as http,
            http.stream("GET", f"http://{host}:{port}{path}") as answer,
        ):
            if answer.status_code != 200:
                return None
            return await read_bounded(answer, largest)
    except (httpx.HTTPError, TimeoutError):
        return None
