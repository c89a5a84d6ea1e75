"""Paths that a browser may ask MLflow for: none that could lead out of MLflow's part of the exchange."""

from __future__ import annotations

from urllib.parse import unquote


def leads_elsewhere(target: str) -> bool:
    """Tell whether a request's target has a path that somebody on the way may read as another one.

    The query is not looked at: it names no path of a server.
    """
    path = target.partition("?")[0]
    while (decoded := unquote(path)) != path:
        path = decoded
    return (
        not path.startswith("/")
        or "//" in path
        or "\\" in path
        or "#" in path
        or not path.isprintable()
        or any(segment in (".", "..") for segment in path.split("/"))
    )
