"""Ports on loopback for the servers that tests start."""

from __future__ import annotations

import random
import socket

# Below the range from which Linux takes the ports of outgoing connections (32768 on), so that none of those can slip in
# between the choice of a port and the bind of the server; and below the node ports of Kubernetes (30000 on).
_CHOICE = list(range(20000, 30000))
random.SystemRandom().shuffle(_CHOICE)


def free_port() -> int:
    """Return a port on which nothing listens and which this process was not given before."""
    while True:
        port = _CHOICE.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
