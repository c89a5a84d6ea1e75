"""What a caller sends, taken into memory up to a limit: neither a body of unstated length nor a slow one holds more."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tunegate.gateway.errors import ApiError


async def received(request: web.Request, most: int, seconds: float, what: str) -> bytes:
    """Return a body of at most ``most`` bytes that arrives within so many ``seconds``. Raises ``ApiError`` 413, 408.

    ``what`` is sent, for the refusal.
    """
    too_large = ApiError(413, "too_large", f"{what} has at most {most} bytes")
    if (request.content_length or 0) > most:
        raise too_large
    content = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.content.iter_any():
                content += piece
                if len(content) > most:
                    raise too_large
    except TimeoutError:
        raise ApiError(408, "too_slow", f"the body did not arrive within {seconds:g} s") from None
    return bytes(content)
