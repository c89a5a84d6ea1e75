"""Sockets that listen on every address of a host or pod, whether it has IPv4, IPv6 or both."""

from __future__ import annotations

import errno
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BACKLOG = 512
"""Connections that wait to be accepted."""


def listening_socket(port: int, address: str | None = None) -> socket.socket:
    """Return a socket that listens on ``port`` (0: any free one) of ``address``, None: of all. Raises ``OSError``."""
    if address is not None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        except OSError as error:
            # A kernel may know IPv6 and have it switched off; then there is no such address to listen on.
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                raise
    return socket.create_server(("", port), backlog=BACKLOG)


class EveryAddressServer(ThreadingHTTPServer):
    """An HTTP server on every address, with a daemon thread for each request."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        """Listen on ``port``, 0: any free one. Raises ``OSError`` when it is taken."""
        listening = listening_socket(port)
        super().__init__(listening.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_address = listening.getsockname()
