"""Which of several releases answers a client: by weight, and the same one for the same client as long as weights allow.

Weighted rendezvous hashing (Thaler and Ravishankar, 1998; its logarithmic form by Schindelhauer and Schomaker, 2005): every
target draws a number for a client, and the highest wins. If a weight grows by a share, only that share of the clients moves,
all of them to this target; if a target goes, its clients spread over the others by their weights, and nobody else moves. No
gateway has to know of another one: all of them choose alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b

SESSION_HEADER = "X-Tunegate-Session"
"""A client that asks for many people names the conversation here: then that is what stays with its release."""
DRAWS = 2**64


def sticky_key(client: str, session: str | None) -> str:
    """Return what stays with its release: the session of a client that names one, else the client."""
    return f"{client}\n{session}" if session else client


def pick(route: str, key: str, weights: Mapping[str, int]) -> str | None:
    """Return the served name that answers ``key`` under a route, or None where nothing has a weight above zero."""
    able = [name for name, weight in weights.items() if weight > 0]
    if len(able) < 2:
        return able[0] if able else None
    return max(sorted(able), key=lambda name: weights[name] / -math.log(_draw(route, key, name)))


def _draw(route: str, key: str, name: str) -> float:
    """Return a number above 0 and below 1 that looks random and is always the same for these texts."""
    digest = blake2b("\0".join((route, key, name)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / (DRAWS + 1)
