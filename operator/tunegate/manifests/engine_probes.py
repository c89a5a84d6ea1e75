"""How the kubelet finds out about an engine: commands in its container, since it listens where only its pod reaches it."""

from __future__ import annotations

from typing import Any

ANSWERS = """\
import socket, sys
engine = socket.socket(socket.AF_UNIX)
engine.settimeout(10)
try:
    engine.connect(sys.argv[1])
except (FileNotFoundError, ConnectionRefusedError):
    sys.exit(0)
engine.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
sys.exit(engine.recv(64).split(b" ")[1:2] != [b"200"])
"""
"""Fails when the engine listens and does not say within ten seconds that it is well. An engine that does not listen is still
loading, or has ended, which the kubelet sees without a probe."""


def startup_probe(port: int) -> dict[str, Any]:
    """Return the probe that holds back the next container until the engine on ``port`` of loopback answers.

    It allows an hour: large weights from a slow network volume take that long.
    """
    check = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/health', timeout=4)"
    return {
        "exec": {"command": ["python3", "-c", check]},
        "periodSeconds": 5,
        "timeoutSeconds": 5,
        "failureThreshold": 720,
    }


def liveness_probe(uds: str) -> dict[str, Any]:
    """Return the probe that has an engine restarted which listens on ``uds`` and has not answered for five minutes.

    Less would restart engines that are only busy: a restart costs every client minutes.
    """
    return {
        "exec": {"command": ["python3", "-c", ANSWERS, uds]},
        "periodSeconds": 30,
        "timeoutSeconds": 20,
        "failureThreshold": 10,
    }
